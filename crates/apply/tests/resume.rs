//! An apply that was interrupted goes on where it was, and however the patch trickles in, the result is the same.

mod memory;

use memory::{Memory, image, patch};
use proptest::prelude::*;
use siding_apply::{Error, MEMORY, NoProgress, Report, Sink};
use siding_image::{Checkpoint, Content, Digest, FileRef, Image};
use siding_patch::{Encoded, History, Instruction, Limits, Packing, Trust, encode_delta};
use std::io::{self, Read};

/// What a chunk makes: a whole number of digest blocks, tiles and a bit.
const CHUNK: usize = (300 << 10) + 4096 * 3;
const CHUNKS: usize = 5;

/// A sink that remembers, and fails once it has been given so many bytes.
#[derive(Default)]
struct Remembers {
    bytes: Memory,
    begun: bool,
    notes: Vec<Checkpoint>,
    given: u64,
    dies_at: Option<u64>,
    forgotten: Vec<(usize, u64)>,
}

impl Sink for Remembers {
    fn begin(&mut self, target: &Content, fresh: &[FileRef]) -> io::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.bytes.begin(target, fresh)?;
        }
        Ok(())
    }

    fn write_at(&mut self, blob: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.given += bytes.len() as u64;
        if self.dies_at.is_some_and(|at| self.given > at) {
            return Err(io::Error::other("killed"));
        }
        self.bytes.write_at(blob, offset, bytes)
    }

    fn read_at(&mut self, blob: usize, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read_at(blob, offset, out)
    }

    fn checkpoints(&mut self) -> Vec<Checkpoint> {
        self.notes.clone()
    }

    fn forget_from(&mut self, blob: usize, offset: u64) -> io::Result<()> {
        self.forgotten.push((blob, offset));
        self.bytes.0[blob][offset as usize..].fill(0xee);
        Ok(())
    }

    fn checkpoint(&mut self, done: &Checkpoint) -> io::Result<()> {
        self.notes.push(*done);
        Ok(())
    }
}

/// A pair and its patch, of [`CHUNKS`] chunks: copies with differences, literals, and one that leans on the target.
struct Case {
    old: Image,
    new: Vec<u8>,
    patch: Vec<u8>,
}

fn case() -> Case {
    let old: Vec<u8> = (0..CHUNK * CHUNKS).map(|i| (i * 31 + i / 251) as u8).collect();
    let mut new: Vec<u8> = old.clone();
    new.iter_mut().step_by(509).for_each(|byte| *byte = byte.wrapping_add(3));
    let chunks: Vec<Encoded> = (0..CHUNKS)
        .map(|chunk| {
            let all = chunk * CHUNK..(chunk + 1) * CHUNK;
            let (literals, rest) = new[all.clone()].split_at(5000);
            let from = (all.start + 5000) as u64;
            let source = &old[all.start + 5000..all.end];
            let list = [Instruction { literals, from, source, target: rest }];
            encode_delta(&list, all.start as u64, Packing::zstd(3), None).unwrap()
        })
        .collect();
    let old = image(&old);
    let patch = patch(&old, &new, &chunks);
    Case { old, new, patch }
}

fn run(case: &Case, sink: &mut Remembers, reader: impl Read + Send) -> Result<Report, Error> {
    let checked = siding_patch::open(reader, &Trust::anyone(), &Limits::default())?;
    siding_apply::run(checked, &case.old, sink, MEMORY, &mut NoProgress)
}

/// Interrupts an apply after `killed_at` bytes, then lets it go on; returns what the second run reports.
fn interrupted(case: &Case, killed_at: u64) -> Report {
    let mut sink = Remembers { dies_at: Some(killed_at), ..Remembers::default() };
    run(case, &mut sink, case.patch.as_slice()).unwrap_err();
    let handed = sink.given;
    (sink.dies_at, sink.given) = (None, 0);
    let report = run(case, &mut sink, case.patch.as_slice()).unwrap();
    assert_eq!(sink.bytes.0[0], case.new, "killed at {killed_at}");
    assert_eq!(report.written, sink.given);
    assert_eq!(report.written + report.resumed, case.new.len() as u64);
    // Done again: less than one chunk.
    let done_before = handed.min(killed_at);
    let again = done_before.saturating_sub(report.resumed);
    assert!(again <= CHUNK as u64, "{again} bytes again after {killed_at}");
    assert_eq!(report.resumed % CHUNK as u64, 0);
    report
}

#[test]
fn a_kill_at_any_border_of_chunks_costs_nothing_again() {
    let case = case();
    for chunk in 1..CHUNKS {
        let killed_at = (chunk * CHUNK) as u64;
        assert_eq!(interrupted(&case, killed_at).resumed, killed_at);
    }
    assert_eq!(interrupted(&case, 0).resumed, 0);
}

#[test]
fn what_is_done_is_done() {
    let case = case();
    let mut sink = Remembers::default();
    let first = run(&case, &mut sink, case.patch.as_slice()).unwrap();
    assert_eq!((first.written, first.resumed), (case.new.len() as u64, 0));
    assert_eq!(sink.notes.len(), CHUNKS);
    sink.given = 0;
    let second = run(&case, &mut sink, case.patch.as_slice()).unwrap();
    assert_eq!((second.written, second.resumed, sink.given), (0, case.new.len() as u64, 0));
}

#[test]
fn a_claim_that_is_not_true_is_not_believed() {
    let case = case();
    let done = |chunks: usize, digest| Checkpoint {
        chunks: chunks as u64,
        written: (chunks * CHUNK) as u64,
        digest,
    };
    let mut honest = Remembers::default();
    run(&case, &mut honest, case.patch.as_slice()).unwrap();
    let notes = honest.notes.clone();
    let good = |chunks: usize| notes[chunks - 1];
    let odd = Digest::of(b"odd");
    let lies: [(&str, Vec<Checkpoint>, usize); 6] = [
        ("a digest of something else", vec![done(3, odd)], 0),
        ("a digest of something else after a good one", vec![done(3, odd), good(2)], 2),
        ("more chunks than there are", vec![done(99, odd)], 0),
        ("no border of chunks", vec![Checkpoint { written: 4096, ..good(2) }], 0),
        ("another chunk's digest", vec![done(3, good(2).digest)], 0),
        ("twice the same", vec![good(4), good(4)], 4),
    ];
    for (name, notes, believed) in lies {
        let mut sink = Remembers { notes, ..Remembers::default() };
        sink.begun = true;
        sink.bytes.0 = vec![case.new.clone()];
        let report = run(&case, &mut sink, case.patch.as_slice()).expect(name);
        assert_eq!(report.resumed, (believed * CHUNK) as u64, "{name}");
        assert_eq!(sink.forgotten, [(0, (believed * CHUNK) as u64)], "{name}");
        assert_eq!(sink.bytes.0[0], case.new, "{name}");
    }
}

/// A note survived, what it speaks of did not.
#[test]
fn lost_bytes_are_made_again() {
    let case = case();
    for lost in [0, CHUNK - 1, CHUNK, 2 * CHUNK + 70_000] {
        let mut sink = Remembers { dies_at: Some((3 * CHUNK) as u64), ..Remembers::default() };
        run(&case, &mut sink, case.patch.as_slice()).unwrap_err();
        sink.bytes.0[0][lost] ^= 1;
        sink.dies_at = None;
        let report = run(&case, &mut sink, case.patch.as_slice()).unwrap();
        assert_eq!(report.resumed, (lost / CHUNK * CHUNK) as u64, "lost at {lost}");
        assert_eq!(sink.bytes.0[0], case.new, "lost at {lost}");
    }
}

/// A chunk of a few stored bytes may make much: a kill in its middle costs no more than some MiB of that.
#[test]
fn a_kill_within_a_long_chunk_costs_a_part_of_it() {
    const LONG: usize = (20 << 20) + 4096 * 5;
    /// What is noted at least so often, and two batches of what was on the way.
    const AGAIN: u64 = (4 + 2 * 2) << 20;
    let old: Vec<u8> = (0..LONG + 9000).map(|i| (i * 31 + i / 251) as u8).collect();
    let mut new = old[9000..].to_vec();
    new.iter_mut().step_by(100_003).for_each(|byte| *byte ^= 9);
    let half = 512 << 10;
    let mut seed = 1u64;
    new[half - 4000..half - 3000].fill_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed.to_be_bytes()[0]
    });
    new.copy_within(half - 4000..half - 3000, LONG - 1000);
    let chunk = |all: std::ops::Range<usize>, history| {
        // A copy, and at the end literals: they are made after any kill.
        let (target, literals) = new[all.clone()].split_at(all.len() - 1000);
        let source = &old[9000 + all.start..][..target.len()];
        let copy = Instruction { literals: &[], from: (9000 + all.start) as u64, source, target };
        let list = [copy, Instruction { literals, from: 0, source: &[], target: &[] }];
        encode_delta(&list, all.start as u64, Packing::zstd(3), history).unwrap()
    };
    // The long one's coder looks back at the first, and at nothing that it makes itself.
    let history = History { source_offset: 0, source_len: 0, target_len: 4000 };
    let long = chunk(half..LONG, Some((history, &new[half - 4000..half])));
    assert!(long.bytes.len() < 900, "it does look back: {}", long.bytes.len());
    let case = {
        let (chunks, old) = ([chunk(0..half, None), long], image(&old));
        let patch = patch(&old, &new, &chunks);
        Case { old, new, patch }
    };
    for killed_at in [half as u64 + 1, 6 << 20, 11 << 20, LONG as u64 - 1] {
        let mut sink = Remembers { dies_at: Some(killed_at), ..Remembers::default() };
        run(&case, &mut sink, case.patch.as_slice()).unwrap_err();
        let had = sink.given.min(killed_at);
        sink.dies_at = None;
        let report = run(&case, &mut sink, case.patch.as_slice()).unwrap();
        assert!(sink.bytes.0[0] == case.new, "killed at {killed_at}");
        assert!(report.resumed + AGAIN >= had, "killed at {killed_at}: only {} are kept", report.resumed);
        assert_eq!(report.written + report.resumed, LONG as u64);
    }
}

/// Delivers what it has in pieces of these lengths, and is interrupted in between.
struct Trickle<'a> {
    bytes: &'a [u8],
    lens: std::iter::Cycle<std::vec::IntoIter<usize>>,
}

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.lens.next() {
            None | Some(0) => Err(io::ErrorKind::Interrupted.into()),
            Some(len) => {
                let len = len.min(out.len()).min(self.bytes.len());
                let (now, later) = self.bytes.split_at(len);
                out[..len].copy_from_slice(now);
                self.bytes = later;
                Ok(len)
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn a_kill_at_any_byte_costs_less_than_a_chunk_again(at in 0..(CHUNK * CHUNKS) as u64 - 1) {
        interrupted(&case(), at);
    }

    #[test]
    fn any_split_of_the_patch_gives_the_same(lens in proptest::collection::vec(0..5000usize, 1..20)) {
        let case = case();
        let lens: Vec<usize> = lens.into_iter().chain([1]).collect();
        let mut sink = Remembers::default();
        let reader = Trickle { bytes: &case.patch, lens: lens.into_iter().cycle() };
        run(&case, &mut sink, reader).unwrap();
        prop_assert!(sink.bytes.0[0] == case.new);
    }
}

#[test]
fn byte_by_byte_gives_the_same() {
    let case = case();
    let mut sink = Remembers::default();
    run(&case, &mut sink, Trickle { bytes: &case.patch, lens: vec![1, 0].into_iter().cycle() }).unwrap();
    assert!(sink.bytes.0[0] == case.new);
}
