//! Lengths that lie, properly signed so that they reach the parser: refused, and not allocated for.

mod forge;

use forge::{Chunk, Forge, array, bytes, envelope, frame, head, number, numbers, text, uint};
use siding_patch::{Error, Limits, PrivateKey, Trust, Walker, open};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what each thread asks for.
struct Counting;

thread_local! {
    /// Bytes asked for since the last reset.
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    let _ = ASKED.try_with(|asked| asked.set(asked.get().saturating_add(bytes)));
}

// SAFETY: every call is handed on to the system's allocator as it came; counting allocates nothing.
#[allow(unsafe_code, reason = "an allocator is")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Refusing a patch of some hundred bytes takes no more than this, in bytes.
const LITTLE: usize = 64 << 10;

const HOSTILE: [u64; 8] =
    [(1 << 31) - 1, 1 << 31, (1 << 31) + 1, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, u64::MAX - 1, u64::MAX];

fn read(patch: &[u8], limits: &Limits) -> Result<(), Error> {
    let trust = Trust::new(vec![PrivateKey::from_seed(&[forge::ALICE; 32]).public()], 1)?;
    let mut patch = open(patch, &trust, limits)?;
    let broken = |rule| Error::Key(format!("broken: {rule}"));
    while let Some(stored) = patch.next_chunk()? {
        let streams = stored.decode(|_| Ok::<_, Error>(vec![]))?;
        let mut walker = Walker::new(&streams, 0, stored.chunk().target).map_err(broken)?;
        while let Some(step) = walker.step(4096).map_err(broken)? {
            if let siding_patch::Step::Copy { len, .. } = step {
                walker.skip_adjust(len).map_err(broken)?;
            }
        }
    }
    Ok(())
}

#[track_caller]
fn refused(what: &str, patch: &[u8]) {
    ASKED.set(0);
    let result = read(patch, &Limits::default());
    let asked = ASKED.get();
    assert!(result.is_err(), "{what} is taken");
    assert!(asked < LITTLE, "{what}: {asked} bytes asked for to say {result:?}");
}

#[test]
fn the_counter_counts() {
    ASKED.set(0);
    drop(std::hint::black_box(vec![0u8; 100_000]));
    assert!(ASKED.get() >= 100_000);
}

#[test]
fn the_envelopes_length() {
    for len in [(1 << 31) - 1, 1 << 31, (1 << 31) + 1, u32::MAX] {
        let mut patch = Forge::example().build();
        patch[12..16].copy_from_slice(&u32::to_le_bytes(len));
        refused("the envelope", &patch);
    }
}

#[test]
fn lengths_in_the_envelope() {
    let good = Forge::example();
    let manifest = good.manifest();
    let spelled = envelope(&manifest, vec![good.signature(forge::ALICE, &manifest)]);
    for len in HOSTILE {
        // The head of each byte string and array says more than there is.
        let payload = [vec![0xd8, 98, 0x84, 0x40, 0xa0], head(2, len), manifest.clone()].concat();
        refused("the payload", &good.with_envelope(&payload));
        let signatures = [&spelled[..5], &bytes(&manifest), &head(4, len), &spelled[5..]].concat();
        refused("the signatures", &good.with_envelope(&signatures));
        refused("the message", &good.with_envelope(&[vec![0xd8, 98], head(4, len)].concat()));
        refused("the protected header", &good.with_envelope(&[vec![0xd8, 98, 0x84], head(2, len)].concat()));
        let entry = [head(4, 3), head(2, len)].concat();
        refused("a signature's header", &good.with_envelope(&envelope(&manifest, vec![entry])));
    }
}

#[test]
fn lengths_in_the_manifest() {
    let good = Forge::example();
    let with = |change: &dyn Fn(&mut Forge)| {
        let mut forge = good.clone();
        change(&mut forge);
        forge.build()
    };
    for len in HOSTILE {
        refused("stored", &with(&|f| f.chunk().stored = len));
        refused("decoded", &with(&|f| f.chunk().decoded = len));
        refused("target", &with(&|f| f.chunk().target = len));
        refused(
            "the target's size and the chunk's",
            &with(&|f| (f.target.size, f.chunk().target) = (len, len)),
        );
        refused("the target's size", &with(&|f| f.target.size = len));
        refused("the digest", &with(&|f| f.chunk().digest = vec![0; 33]));
        for (key, item) in [(6, head(4, len)), (7, head(4, len)), (8, [head(4, 1), head(3, len)].concat())] {
            refused("a list", &with(&|f| f.more = vec![(key, item.clone())]));
        }
        let advisory = array(&[[head(4, 3), text("CVE"), uint(1), head(3, len)].concat()]);
        refused("an advisory's text", &with(&|f| f.more = vec![(6, advisory.clone())]));
        refused("the map", &good.with_manifest(&[head(5, len), good.manifest()[1..].to_vec()].concat()));
        refused("the component", &good.with_manifest(&[vec![0xa4, 1], head(3, len)].concat()));
        let cut = good.manifest();
        let chunks = cut.len() - 2 - (1 + 1 + 2 + 1 + 1 + 34);
        assert_eq!(cut[chunks..chunks + 2], [4, 0x81]);
        refused(
            "the chunks",
            &good.with_manifest(&[&cut[..=chunks], &head(4, len), &cut[chunks + 2..]].concat()),
        );
    }
}

#[test]
fn lengths_in_frames() {
    let good = Forge::example();
    let with = |decoded: u64, bytes: Vec<u8>| {
        let mut forge = good.clone();
        forge.chunks = vec![Chunk::of(1, decoded, 21, bytes)];
        forge.build()
    };
    for len in HOSTILE {
        for coder in [0, 1, 2, 3, 4] {
            let history = (coder == 2).then_some([0, 0, 1]);
            refused("a stream", &with(1, frame(coder, &[(6, len)], history, b"x")));
            refused(
                "two streams",
                &with(1, frame(coder, &[(5, len), (6, len.wrapping_neg())], history, b"x")),
            );
            let history = history.map(|history| numbers(&history)).unwrap_or_default();
            let stored = [&[coder, 1, 6, 1][..], &history, &number(len)].concat();
            refused("stored", &with(1, stored));
        }
        for history in
            [[len, 0, 0], [0, len, 0], [0, 0, len], [len, 1, 0], [1, len, 1], [0, len, len.wrapping_neg()]]
        {
            refused("history", &with(1, frame(2, &[(6, 1)], Some(history), b"x")));
        }
    }
}

#[test]
fn lengths_in_a_zstd_frame() {
    for len in HOSTILE {
        // One segment of so many bytes (an 8-byte length), then a block of one byte repeated.
        let block = [3 | 0xf8, 0xff, 0xff, b'x'];
        let coded = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &len.to_le_bytes(), &block].concat();
        let mut forge = Forge::example();
        forge.chunks = vec![Chunk::of(1, 21, 21, frame(1, &[(6, 21)], None, &coded))];
        // zstd's own context is not counted here: it comes from C.
        refused("a zstd frame", &forge.build());
    }
}

#[test]
fn lengths_in_instructions() {
    for len in HOSTILE {
        let streams = |l: u64, c: u64, gap: u64, run: u64| {
            vec![
                (0, numbers(&[l])),
                (1, numbers(&[c])),
                (2, vec![0]),
                (3, numbers(&[gap])),
                (4, numbers(&[run])),
                (5, vec![1]),
                (6, b"x".to_vec()),
            ]
        };
        for streams in [streams(len, 0, 0, 0), streams(0, len, 0, 0), streams(len, len.wrapping_neg(), 0, 0)]
        {
            let mut forge = Forge::example();
            forge.chunks = vec![Chunk::delta(21, &streams)];
            refused("an instruction", &forge.build());
        }
        for streams in [streams(1, 20, len, 0), streams(1, 20, 0, len), streams(1, 20, len, len)] {
            let mut forge = Forge::example();
            forge.chunks = vec![Chunk::delta(21, &streams)];
            refused("a run", &forge.build());
        }
    }
}

#[test]
fn lengths_in_changes() {
    for len in HOSTILE {
        let lists = [
            [head(4, len)].concat(),
            [head(4, 4), head(4, len)].concat(),
            [head(4, 4), head(4, 1), head(2, len)].concat(),
            [head(4, 4), head(4, 0), head(4, len)].concat(),
            [head(4, 4), head(4, 0), head(4, 0), head(4, len)].concat(),
            [head(4, 4), head(4, 0), head(4, 0), head(4, 1), uint(len)].concat(),
            [head(4, 4), head(4, 0), head(4, 0), head(4, 0), head(4, len)].concat(),
            [head(4, 4), head(4, 0), head(4, 0), head(4, 0), head(4, 1), head(4, len)].concat(),
        ];
        for list in lists {
            let mut forge = Forge::example();
            (forge.source.kind, forge.target.kind) = (1, 1);
            forge.chunks.insert(0, Chunk::changes(&list));
            ASKED.set(0);
            let trust = Trust::new(vec![PrivateKey::from_seed(&[forge::ALICE; 32]).public()], 1).unwrap();
            let patch = forge.build();
            ASKED.set(0);
            let mut patch = open(&patch[..], &trust, &Limits::default()).unwrap();
            let error = patch.next_chunk().unwrap().unwrap().decode_changes().unwrap_err();
            assert!(matches!(error, Error::Tree(_)), "{error}");
            assert!(ASKED.get() < LITTLE, "{} bytes for {list:x?}", ASKED.get());
        }
    }
}

#[test]
fn limits_are_the_callers() {
    let patch = Forge::example().build();
    let limited = |change: &dyn Fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        read(&patch, &limits)
    };
    assert!(limited(&|_| ()).is_ok());
    let chunk = Forge::example().chunk().clone();
    assert!(
        limited(&|l| (l.stored, l.decoded, l.target) = (chunk.stored, chunk.decoded, chunk.target)).is_ok()
    );
    for result in [
        limited(&|l| l.envelope = 229),
        limited(&|l| l.stored = chunk.stored - 1),
        limited(&|l| l.decoded = chunk.decoded - 1),
        limited(&|l| l.target = chunk.target - 1),
    ] {
        assert!(matches!(result, Err(Error::TooLarge { .. })), "{result:?}");
    }
}
