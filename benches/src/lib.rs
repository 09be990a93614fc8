//! What the benches share: images to measure on, real ones and seeded ones, and an apply without a disk.
//!
//! * [`Pair`]: two versions with the patch between them. The real ones lie in `testdata/`.
//! * `made.rs`: made-up families, whose patches are the maker's.
//! * `written.rs`: made-up families whose patches are written instruction by instruction, so that they stay what
//!   they are whatever the maker learns, and may be worse than any maker's.
//!
//! `cargo bench -p siding-benches` measures time; `cargo xtask instructions` counts what the processor does for
//! [`fixed`] inputs, which is the same in every run.

mod made;
mod pair;
mod written;

pub use made::noise;
pub use pair::{Forget, Pair, carry_out};

/// The inputs whose instructions are counted.
pub fn fixed() -> Vec<Pair> {
    vec![
        Pair::libssl(),
        Pair::libssl_arm64(),
        Pair::sparse(2 << 20),
        Pair::scattered_copies(1 << 20),
        Pair::all_literal(2 << 20),
    ]
}

/// One thread, for what is measured of a single core.
pub fn one_thread() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread")
}
