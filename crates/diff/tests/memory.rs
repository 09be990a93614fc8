//! What making a patch allocates stays below what [`siding_diff::memory`] says.

// An allocator that counts cannot be written without; it hands everything on to the system's.
#![allow(unsafe_code, reason = "an allocator is")]

mod common;

use common::testdata;
use siding_diff::Level;
use siding_image::Image;
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: memory comes from and goes to `System`, with the layouts the caller vouches for.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(NOW.fetch_add(layout.size(), SeqCst) + layout.size(), SeqCst);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), SeqCst);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `make` allocates at a time, and what it says.
fn peak(old: &Image, new: &Image, level: Level) -> (usize, u64) {
    let before = NOW.load(SeqCst);
    PEAK.store(before, SeqCst);
    siding_diff::make(old, new, level, &|_, _, _| {}).unwrap();
    (PEAK.load(SeqCst) - before, siding_diff::memory(old.len(), new.len(), level))
}

/// Bytes without structure.
fn noise(mut seed: u64, len: usize) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// An ELF file for x86-64 with one section: a table in which each word is an offset from its place to anywhere,
/// `further` on for two of three.
fn offsets(words: usize, further: i32) -> Vec<u8> {
    let mut to = noise(3, 4 * words).into_iter();
    let mut table = Vec::new();
    for word in 0..words {
        let random: [u8; 4] = std::array::from_fn(|_| to.next().unwrap());
        let target = u32::from_le_bytes(random) as usize % (4 * words);
        let by = target as i32 - 4 * word as i32 + if word % 3 == 0 { 0 } else { further };
        table.extend_from_slice(&by.to_le_bytes());
    }
    let names = b"\0.gcc_except_table\0.shstrtab\0";
    let [at, names_at] = [64, 64 + table.len() as u64];
    let section = |name: u32, kind: u32, flags: u64, address: u64, at: u64, len: u64| {
        let [name, kind] = [name, kind].map(u32::to_le_bytes);
        let words = [flags, address, at, len, 0, 16, 0].map(u64::to_le_bytes);
        [&name[..], &kind, &words.concat()].concat()
    };
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
    file.extend([0, 0, names_at + names.len() as u64].map(u64::to_le_bytes).concat());
    file.extend(b"\0\0\0\0\x40\0\x38\0\0\0\x40\0\x03\0\x02\0");
    [
        file,
        table.clone(),
        names.to_vec(),
        section(0, 0, 0, 0, 0, 0),
        section(1, 1, 2, 0x10_0000, at, table.len() as u64),
        section(19, 3, 0, 0, names_at, names.len() as u64),
    ]
    .concat()
}

/// One test, because what others allocate would count too.
#[test]
fn no_more_is_allocated_than_announced() {
    let dir = tempfile::tempdir().unwrap();
    let image = |name: &str, bytes: &[u8]| {
        fs::write(dir.path().join(name), bytes).unwrap();
        Image::open(&dir.path().join(name)).unwrap()
    };
    let library =
        |version: &str| Image::open(&testdata().join("libssl").join(version).join("libssl.so.3")).unwrap();
    let (large, small) = (noise(1, 4 << 20), noise(2, 256 << 10));
    let dense = |further| offsets(512 << 10, further);
    let pairs = [
        ("a table of offsets", image("e", &dense(0)), image("f", &dense(4))),
        ("a program", library("3.0.20"), library("3.0.22")),
        ("much old that matches nothing", image("a", &large), image("b", &small)),
        ("much new that matches nothing", image("c", &small), image("d", &large)),
    ];
    for (what, old, new) in &pairs {
        for level in [Level::Fast, Level::Default, Level::Best] {
            // That tries everything on what does not pack; to index much is what matters.
            if level == Level::Best && new.len() >= old.len() && !what.contains("program") {
                continue;
            }
            let (peak, announced) = peak(old, new, level);
            println!("{what}, {level:?}: {peak} of {announced}");
            assert!(peak as u64 <= announced, "{what}, {level:?}: {peak} bytes, announced were {announced}");
        }
    }
}
