use super::*;
use crate::disk::Real;
use proptest::prelude::*;
use std::fs;

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    Record::create(&Real, &path, b"one").unwrap();
    Place { _dir: dir, path }
}

fn newest(path: &Path) -> Result<(u64, Vec<u8>)> {
    let one = read(&Real, path).map(|newest| (newest.sequence, newest.payload));
    let other = Record::open(&Real, path).map(|(_, newest)| (newest.sequence, newest.payload));
    assert_eq!(one.is_ok(), other.is_ok());
    if let (Ok(one), Ok(other)) = (&one, &other) {
        assert_eq!(one, other);
    }
    one
}

#[test]
fn the_newest_write_is_read_and_the_copies_take_turns() {
    let place = place();
    for n in 2..7_u64 {
        let (mut record, before) = Record::open(&Real, &place.path).unwrap();
        assert_eq!(before.sequence, n - 1);
        record.write(format!("number {n}").as_bytes()).unwrap();
        assert_eq!(newest(&place.path).unwrap(), (n, format!("number {n}").into_bytes()));
    }
    assert_eq!(fs::metadata(&place.path).unwrap().len(), 2 * COPY as u64);
}

#[test]
fn a_write_torn_at_any_byte_leaves_the_old_or_the_new() {
    let place = place();
    let old = fs::read(&place.path).unwrap();
    Record::open(&Real, &place.path).unwrap().0.write(b"two, which is longer").unwrap();
    let new = fs::read(&place.path).unwrap();
    let end = COPY + HEADER + b"two, which is longer".len() + CHECKSUM;
    for cut in COPY..=end {
        let torn = [&new[..cut], &old[cut..]].concat();
        fs::write(&place.path, &torn).unwrap();
        let expected = if cut == end { (2, b"two, which is longer".to_vec()) } else { (1, b"one".to_vec()) };
        assert_eq!(newest(&place.path).unwrap(), expected, "front of the write, up to {cut}");
        let torn = [&old[..cut], &new[cut..]].concat();
        fs::write(&place.path, &torn).unwrap();
        let expected = if cut == COPY { (2, b"two, which is longer".to_vec()) } else { (1, b"one".to_vec()) };
        assert_eq!(newest(&place.path).unwrap(), expected, "back of the write, from {cut}");
    }
}

#[test]
fn a_record_that_is_too_short_is_damaged_and_not_merely_hard_to_read() {
    let place = place();
    let whole = fs::read(&place.path).unwrap();
    for len in [0, 1, HEADER, 100, BLOCK - 1] {
        fs::write(&place.path, &whole[..len]).unwrap();
        let error = newest(&place.path).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Corrupt, "{len}: {error}");
        let text = error.to_string();
        assert!(
            text.contains(&format!("it has {len} bytes of 524288")) && text.contains("keep the store"),
            "{text}"
        );
    }
    fs::write(&place.path, &whole[..BLOCK]).unwrap();
    assert_eq!(newest(&place.path).unwrap(), (1, b"one".to_vec()), "one whole copy is enough");
}

#[test]
fn the_record_survives_any_third_write_torn_over_a_valid_older_copy() {
    let place = place();
    Record::open(&Real, &place.path).unwrap().0.write(b"two").unwrap();
    let old = fs::read(&place.path).unwrap();
    Record::open(&Real, &place.path).unwrap().0.write(b"three").unwrap();
    let new = fs::read(&place.path).unwrap();
    for cut in 0..HEADER + 5 + CHECKSUM {
        fs::write(&place.path, [&new[..cut], &old[cut..]].concat()).unwrap();
        let (sequence, payload) = newest(&place.path).unwrap();
        assert!((sequence, payload.as_slice()) == (2, b"two"), "cut at {cut}");
        // And from there it can be written again.
        Record::open(&Real, &place.path).unwrap().0.write(b"again").unwrap();
        assert_eq!(newest(&place.path).unwrap(), (3, b"again".to_vec()));
    }
}

#[test]
fn a_flipped_bit_is_seen_and_the_other_copy_wins() {
    let place = place();
    Record::open(&Real, &place.path).unwrap().0.write(b"two").unwrap();
    let good = fs::read(&place.path).unwrap();
    for at in 0..(HEADER + 3 + CHECKSUM) * 8 {
        let mut bad = good.clone();
        bad[COPY + at / 8] ^= 1 << (at % 8);
        fs::write(&place.path, &bad).unwrap();
        assert_eq!(newest(&place.path).unwrap(), (1, b"one".to_vec()), "bit {at}");
    }
}

#[test]
fn two_bad_copies_are_an_error_that_says_the_bases_are_whole() {
    let place = place();
    for bytes in [vec![0; 2 * COPY], vec![0xff; 2 * COPY]] {
        fs::write(&place.path, bytes).unwrap();
        let error = newest(&place.path).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Corrupt);
        assert!(error.to_string().contains("each base is whole"), "{error}");
    }
}

#[test]
fn a_record_of_the_wrong_length_is_an_error() {
    let place = place();
    for len in [0, 1, COPY, 2 * COPY - 1] {
        fs::write(&place.path, vec![0; len]).unwrap();
        assert!(newest(&place.path).is_err());
    }
}

#[test]
fn two_copies_with_one_number_are_an_error() {
    let place = place();
    let mut bytes = fs::read(&place.path).unwrap();
    let other = seal(1, b"another one").unwrap();
    bytes[COPY..][..other.len()].copy_from_slice(&other);
    fs::write(&place.path, bytes).unwrap();
    assert!(newest(&place.path).unwrap_err().to_string().contains("same number"));
}

#[test]
fn a_later_version_is_not_overwritten() {
    let place = place();
    let mut bytes = fs::read(&place.path).unwrap();
    let mut other = seal(2, b"").unwrap();
    other[8] = 2;
    let checksum = Digest::of(&other[..HEADER]);
    other[HEADER..][..CHECKSUM].copy_from_slice(&checksum.0);
    bytes[COPY..][..other.len()].copy_from_slice(&other);
    fs::write(&place.path, bytes).unwrap();
    assert!(matches!(newest(&place.path).unwrap_err(), Error::NewerRecord { version: 2, .. }));
}

#[test]
fn a_payload_that_does_not_fit_is_refused_before_anything_is_written() {
    let place = place();
    let before = fs::read(&place.path).unwrap();
    let (mut record, _) = Record::open(&Real, &place.path).unwrap();
    assert!(matches!(record.write(&vec![0; CAPACITY + 1]), Err(Error::RecordFull { .. })));
    assert_eq!(fs::read(&place.path).unwrap(), before);
    record.write(&vec![7; CAPACITY]).unwrap();
    assert_eq!(newest(&place.path).unwrap().1.len(), CAPACITY);
}

#[test]
fn a_killed_create_leaves_no_record_and_can_be_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    fs::write(dir.path().join("record.new"), b"half").unwrap();
    Record::create(&Real, &path, b"x").unwrap();
    assert_eq!(newest(&path).unwrap(), (1, b"x".to_vec()));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        parse(&bytes);
        let mut copy = seal(1, b"abc").unwrap();
        copy.iter_mut().zip(&bytes).skip(8).for_each(|(to, from)| *to = *from);
        parse(&copy);
    }
}
