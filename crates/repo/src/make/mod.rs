//! The maker's half: what must be made, making it on any number of machines, and publishing it.
//!
//! ```text
//! RELEASE.toml ─► Draft ─► Plan ─► jobs ─► work/KEY.siding     by any number of workers, which hold no keys
//!                                   └────► targets/ ─► metadata/     by one committer, who holds them
//! ```
//!
//! A [`Plan`] says which patches a release takes. Each is a [`Job`] with a key over all that goes into it, so that a
//! job that was done, here or elsewhere, now or before, is not done again. [`commit`] signs what was made and
//! publishes it: everything under a new name, and `metadata/timestamp.json` last, which is the only file that is ever
//! replaced. So a reader at any moment, and a commit that is cut at any moment, see the whole old repository or the
//! whole new one.
//!
//! Metadata that is changed is checked first, from a root that the maker holds: nothing is signed because it was there.

mod change;
mod commit;
mod draft;
mod error;
mod files;
mod job;
mod keys;
mod plan;
mod rotate;
mod share;
mod sign;
mod span;
mod state;
mod work;

pub use change::{Listed, change, list};
pub use commit::{Committed, commit};
pub use draft::{Base, Draft};
pub use error::Error;
pub use files::{Files, Objects};
pub use job::{Job, JobKind, MakePatch};
pub use keys::{Keys, Role, RoleSetting};
pub use plan::{Plan, Planned};
pub use rotate::{Rotation, init, refresh, rotate};
pub use share::share;
pub use span::{Span, WaveText};
pub use work::{Made, make};
