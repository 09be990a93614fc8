//! However large the image, an apply keeps to the memory it is allowed: counted on an image of 1 GiB.
//!
//! The allocator counts what Rust code asks for. What Zstandard takes in C, some 150 KiB for each frame under way, is
//! not seen; `siding bench` measures the whole process.
#![allow(unsafe_code, reason = "an allocator is")]

use siding_apply::{Error, MEMORY, NoProgress, Sink};
use siding_image::verity::{self, Merkle};
use siding_image::{Content, FileRef, Identity, Image, Kind};
use siding_patch::{Encoded, ImageRef, Instruction, Limits, Manifest, Packing, Trust, encode_delta};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Takes everything, keeps nothing.
#[derive(Default)]
struct Forgets {
    begun: bool,
    given: u64,
}

impl Sink for Forgets {
    fn begin(&mut self, _target: &Content, _fresh: &[FileRef]) -> io::Result<()> {
        self.begun = true;
        Ok(())
    }

    fn write_at(&mut self, _blob: usize, _offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.given += bytes.len() as u64;
        Ok(())
    }

    fn read_at(&mut self, _blob: usize, _offset: u64, _out: &mut [u8]) -> io::Result<()> {
        Err(io::Error::other("nothing is kept"))
    }
}

/// What one chunk makes.
const CHUNK: usize = 64 << 20;

/// A sparse old image of so many times 64 MiB; the new one begins each with `literals` new bytes.
fn pair(chunk_count: usize, literals: usize) -> (tempfile::NamedTempFile, Vec<u8>) {
    let old = tempfile::NamedTempFile::new().unwrap();
    old.as_file().set_len((CHUNK * chunk_count) as u64).unwrap();
    let words = |chunk: usize| (0..literals).map(move |i| b"siding "[(i + chunk) % 7] ^ (i / 4096) as u8);
    let (source, mut target) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut merkle = Merkle::new();
    let mut chunks: Vec<Encoded> = Vec::new();
    for chunk in 0..chunk_count {
        target[..literals].iter_mut().zip(words(chunk)).for_each(|(byte, new)| *byte = new);
        merkle.push(&verity::leaves(&target));
        let start = (chunk * CHUNK) as u64;
        let (literals, target) = target.split_at(literals);
        let from = start + literals.len() as u64;
        let list = [Instruction { literals, from, source: &source[literals.len()..], target }];
        let packing = Packing { dense: chunk == 0, ..Packing::zstd(3) };
        chunks.push(encode_delta(&list, start, packing, None).unwrap());
    }
    let size = (CHUNK * chunk_count) as u64;
    let target = Identity { kind: Kind::File, size, digest: merkle.finish(size) };
    let image = |version: &str, identity| ImageRef { version: version.parse().unwrap(), identity };
    let source = Image::open(old.path()).unwrap().identity();
    let manifest = Manifest::new("test".parse().unwrap(), image("1", source), image("2", target));
    let mut patch = Vec::new();
    siding_patch::write(&manifest, &chunks, &[], &mut patch).unwrap();
    (old, patch)
}

/// Applies, and says how many bytes it held at most.
fn peak(old: &Image, patch: &[u8], memory: u64) -> Result<usize, Error> {
    let mut sink = Forgets::default();
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let checked = siding_patch::open(patch, &Trust::anyone(), &Limits::default())?;
    let done = siding_apply::run(checked, old, &mut sink, memory, &mut NoProgress);
    assert_eq!(sink.begun, done.is_ok(), "what needs too much is refused before anything is begun");
    assert_eq!(done?.written, sink.given);
    Ok(PEAK.load(Ordering::Relaxed) - before)
}

/// One test, since the allocator counts for the whole process.
#[test]
fn memory_stays_within_what_is_allowed() {
    let (file, patch) = pair(16, 3 << 20);
    let old = Image::open(file.path()).unwrap();
    let mut peaks = Vec::new();
    for memory in [8 << 20, MEMORY] {
        let peak = peak(&old, &patch, memory).unwrap();
        println!("chunks of 3 MiB, {} MiB allowed: {peak} bytes at the most", memory >> 20);
        assert!(peak as u64 <= memory, "{peak} bytes of {memory}");
        peaks.push(peak);
    }
    assert!(peaks[0] < peaks[1], "more memory is used where it is allowed: {peaks:?}");
    let refused = peak(&old, &patch, 6 << 20).unwrap_err();
    assert!(matches!(refused, Error::Memory { .. }), "{refused}");
    assert!(refused.to_string().contains("6291456 are allowed"), "{refused}");
    let (file, patch) = pair(2, 100 << 10);
    let old = Image::open(file.path()).unwrap();
    let peak = peak(&old, &patch, 8 << 20).unwrap();
    println!("chunks of 100 KiB, 8 MiB allowed: {peak} bytes at the most");
    assert!(peak <= 8 << 20, "{peak}");
}
