//! Every cut and every changed byte of a small signed patch is refused; a reader without trust may take a
//! changed one, but never panics. (That what it takes never yields the wrong target is tested with the applier.)

mod forge;

use forge::Forge;
use siding_patch::{Error, Limits, PublicKey, Trust, Walker, open};
use std::io::Read;

fn trust() -> Trust {
    let key = siding_patch::PrivateKey::from_seed(&[forge::ALICE; 32]).public();
    Trust::new(vec![key], 1).unwrap()
}

/// Reads everything there is; returns what the instructions of all chunks make in bytes.
fn read(reader: impl Read, trust: &Trust) -> Result<u64, Error> {
    let mut patch = open(reader, trust, &Limits::default())?;
    let mut made = 0;
    while let Some(stored) = patch.next_chunk()? {
        let streams = stored.decode(|_| Ok::<_, Error>(vec![]))?;
        let len = stored.chunk().target;
        let Ok(mut walker) = Walker::new(&streams, made, len) else { continue };
        while let Ok(Some(step)) = walker.step(7) {
            if let siding_patch::Step::Copy { len, .. } = step
                && walker.adjust(&mut vec![0; len]).is_err()
            {
                break;
            }
        }
        made += len;
    }
    Ok(made)
}

#[test]
fn every_cut_is_refused() {
    let good = Forge::example().build();
    assert_eq!(read(&good[..], &trust()).unwrap(), 21);
    for len in 0..good.len() {
        for trust in [trust(), Trust::anyone()] {
            let error = read(&good[..len], &trust).expect_err("a part was taken for the whole");
            assert!(matches!(error, Error::Truncated { .. }), "cut to {len}: {error}");
        }
    }
}

#[test]
fn every_other_value_of_every_byte_is_refused() {
    let good = Forge::example().build();
    for at in 0..good.len() {
        for flip in 1..=255u8 {
            let mut bad = good.clone();
            bad[at] ^= flip;
            assert!(read(&bad[..], &trust()).is_err(), "byte {at} ^ {flip:02x}");
            let _ = read(&bad[..], &Trust::anyone());
        }
    }
}

#[test]
fn every_byte_more_is_refused() {
    let good = Forge::example().build();
    for at in 0..=good.len() {
        let bad = [&good[..at], &[0], &good[at..]].concat();
        assert!(read(&bad[..], &trust()).is_err(), "one more at {at}");
    }
}

/// Asked again, a reader once found the end behind the byte that should not be there.
#[test]
fn what_trails_is_refused_however_often_it_is_asked() {
    let bad = [Forge::example().build(), vec![0]].concat();
    let mut patch = open(&bad[..], &trust(), &Limits::default()).unwrap();
    assert!(patch.next_chunk().unwrap().is_some());
    for _ in 0..3 {
        assert!(matches!(patch.next_chunk(), Err(Error::Trailing)));
    }
}

/// A pipe hands out bytes as it likes.
struct OneByOne<'a>(&'a [u8]);

impl Read for OneByOne<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = out.len().min(1);
        self.0.read(&mut out[..len])
    }
}

#[test]
fn a_reader_that_gives_single_bytes_is_as_good() {
    assert_eq!(read(OneByOne(&Forge::example().build()), &trust()).unwrap(), 21);
}

#[test]
fn a_trickle_that_fails_says_where() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(out)? {
                0 => Err(std::io::ErrorKind::ConnectionReset.into()),
                len => Ok(len),
            }
        }
    }
    let good = Forge::example().build();
    for len in 0..good.len() {
        assert!(matches!(read(Failing(&good[..len]), &trust()), Err(Error::Io { .. })), "failed at {len}");
    }
}

/// Key files are read from disks too.
#[test]
fn damaged_key_files_are_refused_or_another_key() {
    let pem = siding_patch::PrivateKey::from_seed(&[forge::ALICE; 32]).public().to_pem().unwrap();
    let key = PublicKey::from_pem(&pem).unwrap();
    for at in 0..pem.len() {
        let mut bad = pem.clone().into_bytes();
        bad[at] ^= 1;
        let other = String::from_utf8(bad).ok().and_then(|text| PublicKey::from_pem(&text).ok());
        assert!(other.is_none_or(|other| other != key), "byte {at}");
    }
}
