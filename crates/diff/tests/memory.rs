//! What making a patch allocates stays below what [`siding_diff::memory`] says.

// An allocator that counts cannot be written without; it hands everything on to the system's.
#![allow(unsafe_code)]

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
    let pairs = [
        ("a program", library("3.0.20"), library("3.0.22")),
        ("much old that matches nothing", image("a", &large), image("b", &small)),
        ("much new that matches nothing", image("c", &small), image("d", &large)),
    ];
    for (what, old, new) in &pairs {
        for level in [Level::Fast, Level::Default, Level::Best] {
            // That tries everything on what does not pack; to index much is what matters.
            if level == Level::Best && new.len() > old.len() {
                continue;
            }
            let (peak, announced) = peak(old, new, level);
            println!("{what}, {level:?}: {peak} of {announced}");
            assert!(peak as u64 <= announced, "{what}, {level:?}: {peak} bytes, announced were {announced}");
        }
    }
}
