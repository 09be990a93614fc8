//! A tree has one encoding and one digest.

use super::*;

#[track_caller]
fn not_canonical(bytes: &[u8]) {
    assert_eq!(Tree::decode(bytes), Err(TreeError::encoding()), "{bytes:02x?}");
}

/// `[["", 0, [0o755, 1, 2, 0, 0]]]`: the smallest tree, to be bent by hand.
const SMALLEST: [u8; 14] =
    [0x81, 0x83, 0x40, 0x00, 0x85, 0x19, 0x01, 0xed, 0x01, 0x02, 0x00, 0x00, 0xff, 0xff];

fn smallest() -> &'static [u8] {
    &SMALLEST[..12]
}

fn replaced(at: usize, len: usize, with: &[u8]) -> Vec<u8> {
    [&smallest()[..at], with, &smallest()[at + len..]].concat()
}

#[test]
fn the_smallest_tree_reads_as_written_by_hand() {
    let meta = Meta { mode: 0o755, uid: 1, gid: 2, ..Meta::default() };
    let expected = tree(vec![Entry { path: vec![], node: Node::Directory(meta) }]);
    assert_eq!(Tree::decode(smallest()), Ok(expected));
}

#[test]
fn numbers_and_lengths_are_as_short_as_can_be() {
    not_canonical(&replaced(0, 1, &[0x98, 0x01])); // entries: one, in two bytes
    not_canonical(&replaced(0, 1, &[0x9b, 0, 0, 0, 0, 0, 0, 0, 1]));
    not_canonical(&replaced(1, 1, &[0x98, 0x03])); // fields
    not_canonical(&replaced(2, 1, &[0x58, 0x00])); // path
    not_canonical(&replaced(3, 1, &[0x18, 0x00])); // kind
    not_canonical(&replaced(4, 1, &[0x98, 0x05])); // metadata
    not_canonical(&replaced(5, 3, &[0x1a, 0, 0, 0x01, 0xed])); // mode
    not_canonical(&replaced(8, 1, &[0x18, 0x01])); // uid
    not_canonical(&replaced(10, 1, &[0x1b, 0, 0, 0, 0, 0, 0, 0, 0])); // seconds
}

#[test]
fn indefinite_lengths_are_refused() {
    not_canonical(&[&[0x9f], &smallest()[1..], &[0xff]].concat());
    not_canonical(&[&[0x81, 0x9f], &smallest()[2..], &[0xff]].concat());
    not_canonical(&replaced(2, 1, &[0x5f, 0xff]));
    not_canonical(&[&smallest()[..4], &[0x9f], &smallest()[5..], &[0xff]].concat());
}

#[test]
fn other_types_are_refused() {
    not_canonical(&replaced(2, 1, &[0x60])); // path as text
    not_canonical(&replaced(3, 1, &[0xf4])); // kind as false
    not_canonical(&replaced(3, 1, &[0x20])); // kind as -1
    not_canonical(&replaced(8, 1, &[0x20])); // uid as -1
    not_canonical(&replaced(10, 1, &[0xf9, 0, 0])); // seconds as a float
    not_canonical(&replaced(0, 0, &[0xc1])); // a tag in front
    not_canonical(&replaced(8, 1, &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0])); // uid 2^32
    not_canonical(&[0xa0]);
    not_canonical(&[0xf6]);
    not_canonical(&[]);
}

#[test]
fn kinds_and_their_numbers_of_fields_are_fixed() {
    for kind in 1..=0x17 {
        not_canonical(&replaced(3, 1, &[kind]));
    }
    not_canonical(&replaced(1, 1, &[0x84]));
    not_canonical(&replaced(1, 1, &[0x82]));
    not_canonical(&replaced(4, 1, &[0x84]));
    not_canonical(&replaced(4, 1, &[0x87]));
}

#[test]
fn extended_attributes_are_sorted_distinct_and_absent_when_none() {
    let with = |list: &[u8]| [&smallest()[..4], &[0x86], &smallest()[5..], list].concat();
    let (a, b) = ([0x82, 0x41, b'a', 0x40], [0x82, 0x41, b'b', 0x40]);
    assert!(Tree::decode(&with(&[&[0x82], &a[..], &b[..]].concat())).is_ok());
    not_canonical(&with(&[&[0x82], &b[..], &a[..]].concat()));
    not_canonical(&with(&[&[0x82], &a[..], &a[..]].concat()));
    not_canonical(&with(&[0x80]));
    not_canonical(&with(&[0x81, 0x83, 0x41, b'a', 0x40, 0x40]));
}

#[test]
fn a_digest_has_32_bytes() {
    let good = encoded(&[dir(""), file("f", "x")]);
    assert!(Tree::decode(&good).is_ok());
    let cut = good.len() - 34;
    assert_eq!(good[cut..cut + 2], [0x58, 32]);
    not_canonical(&[&good[..cut], &[0x58, 31], &good[cut + 2..good.len() - 1]].concat());
    not_canonical(&[&good[..cut], &[0x58, 33], &good[cut + 2..], &[0]].concat());
    not_canonical(&[&good[..cut], &[0x40]].concat());
}

#[test]
fn nothing_may_trail() {
    let bytes = tree(sample()).encode();
    for extra in [0x00, 0x80, 0xf6, 0xff] {
        not_canonical(&[bytes.as_slice(), &[extra]].concat());
    }
    not_canonical(&[bytes.as_slice(), &bytes].concat());
}

#[test]
fn every_truncation_is_refused() {
    let bytes = tree(sample()).encode();
    for len in 0..bytes.len() {
        not_canonical(&bytes[..len]);
    }
}

#[test]
fn every_changed_byte_is_refused_or_means_just_that_change() {
    let bytes = tree(sample()).encode();
    let digest = tree(sample()).digest();
    let mut accepted = 0;
    for i in 0..bytes.len() {
        for flip in 1..=255u8 {
            let mut changed = bytes.clone();
            changed[i] ^= flip;
            let Ok(tree) = Tree::decode(&changed) else { continue };
            assert_eq!(tree.encode(), changed, "byte {i} ^ {flip:02x}");
            assert_ne!(tree.digest(), digest, "byte {i} ^ {flip:02x}");
            accepted += 1;
        }
    }
    assert!(accepted > 0, "names, modes and times can be changed into others that are as good");
}

/// If one of the claimed counts were allocated for, this would not end: 2^32 entries are 600 GB.
#[test]
fn counts_without_the_entries_allocate_nothing() {
    let huge: [&[u8]; 4] = [
        &[0x9a, 0xff, 0xff, 0xff, 0xff],
        &[0x9b, 0, 0, 0, 1, 0, 0, 0, 0],
        &[0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    for count in huge {
        let bytes = [0x5a | (count[0] & 1)].iter().chain(&count[1..]).copied().collect::<Vec<u8>>();
        not_canonical(count); // entries, none there
        not_canonical(&replaced(0, 1, count)); // entries, one there
        not_canonical(&replaced(1, 1, count)); // fields of an entry
        not_canonical(&replaced(2, 1, &bytes)); // length of a path
        not_canonical(&replaced(4, 1, count)); // fields of the metadata
        not_canonical(&[&smallest()[..4], &[0x86], &smallest()[5..], count].concat()); // attributes
        not_canonical(&[&smallest()[..4], &[0x86], &smallest()[5..], &[0x81, 0x82], &bytes].concat());
        let refused = Err(TreeError::encoding());
        for before in [&[][..], &[0x80], &[0x80, 0x80], &[0x80, 0x80, 0x80]] {
            let list = [&[0x84], before, count].concat(); // paths removed, entries put, fresh, touched
            assert_eq!(Changes::decode(&list), refused, "{list:02x?}");
        }
        assert_eq!(Changes::decode(&[&[0x84, 0x81], bytes.as_slice()].concat()), refused);
        assert_eq!(Changes::decode(&[&[0x84, 0x80, 0x80, 0x80, 0x81], count].concat()), refused);
    }
}

// ---- identity

#[test]
fn the_digest_is_not_that_of_the_encoding_alone() {
    let tree = tree(sample());
    assert_ne!(tree.digest(), Digest::of(&tree.encode()));
    assert_eq!(tree.digest(), Digest::of(&[b"siding tree 1\n", tree.encode().as_slice()].concat()));
}

#[test]
fn every_field_counts_for_the_digest() {
    let with = |change: &dyn Fn(&mut Meta)| {
        let mut meta = meta();
        change(&mut meta);
        tree(vec![Entry { path: vec![], node: Node::Directory(meta) }]).digest()
    };
    let digests = [
        with(&|_| ()),
        with(&|m| m.mode += 1),
        with(&|m| m.uid += 1),
        with(&|m| m.gid += 1),
        with(&|m| m.seconds += 1),
        with(&|m| m.nanoseconds += 1),
        with(&|m| drop(m.xattrs.insert(b"user.x".to_vec(), vec![]))),
        with(&|m| drop(m.xattrs.insert(b"user.x".to_vec(), vec![0]))),
        tree(vec![dir(""), dir("x")]).digest(),
        tree(vec![dir(""), file("x", "")]).digest(),
        tree(vec![dir(""), file("x", "y")]).digest(),
        tree(vec![dir(""), symlink("x", b"y")]).digest(),
        tree(vec![dir(""), symlink("x", b"z")]).digest(),
        tree(vec![dir(""), file("x", "y"), file("z", "y")]).digest(),
        tree(vec![dir(""), file("x", "y"), hard_link("z", "x")]).digest(),
    ];
    let distinct: BTreeSet<Digest> = digests.into();
    assert_eq!(distinct.len(), digests.len());
}
