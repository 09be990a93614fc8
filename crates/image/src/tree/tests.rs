//! Every rule of a tree is broken alone, and the properties that patches lean on are tried on random trees.

use super::rules::MAX_PATH;
use super::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

// ---- small trees

fn meta() -> Meta {
    Meta { mode: 0o644, uid: 1, gid: 2, seconds: 1_700_000_000, nanoseconds: 5, xattrs: Xattrs::new() }
}

fn dir(path: &str) -> Entry {
    Entry { path: path.into(), node: Node::Directory(Meta { mode: 0o755, ..meta() }) }
}

fn file(path: &str, content: &str) -> Entry {
    let content = FileRef { size: content.len() as u64, digest: Digest::of(content.as_bytes()) };
    Entry { path: path.into(), node: Node::File(meta(), content) }
}

fn symlink(path: &str, target: &[u8]) -> Entry {
    Entry {
        path: path.into(),
        node: Node::Symlink(Meta { mode: Meta::SYMLINK_MODE, ..meta() }, target.to_vec()),
    }
}

fn hard_link(path: &str, to: &str) -> Entry {
    Entry { path: path.into(), node: Node::HardLink(to.into()) }
}

/// One of everything.
fn sample() -> Vec<Entry> {
    let xattrs = [(b"user.a".to_vec(), b"1".to_vec()), (b"user.b".to_vec(), vec![])];
    let mut tagged = file("etc/tagged", "three");
    tagged.node =
        Node::File(Meta { xattrs: xattrs.into(), ..meta() }, FileRef { size: 5, digest: Digest::of(b"3") });
    vec![
        dir(""),
        dir("empty"),
        dir("etc"),
        file("etc/a", "one"),
        hard_link("etc/b", "etc/a"),
        tagged,
        symlink("link", b"../dangling"),
        file("\u{fc}ml\u{e4}ut", "two"),
    ]
}

fn tree(entries: Vec<Entry>) -> Tree {
    Tree::new(entries).unwrap()
}

/// The sample with one more entry.
fn sample_and(extra: Entry) -> Vec<Entry> {
    let mut entries = sample();
    entries.push(extra);
    entries
}

/// `Tree::new` and `Tree::decode` both refuse `entries`, naming `path` and a rule that contains `rule`.
#[track_caller]
fn refused(mut entries: Vec<Entry>, path: &str, rule: &str) {
    let error = Tree::new(entries.clone()).expect_err("Tree::new takes it");
    assert!(error.rule.contains(rule), "{error}");
    assert_eq!(error.path, path, "{error}");
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(Tree::decode(&encoded(&entries)), Err(error));
}

/// The sample is refused with `path` in it as a file.
#[track_caller]
fn path_refused(path: &str, rule: &str) {
    refused(sample_and(file(path, "x")), path, rule);
}

/// The sample is refused if the file `etc/a` has this metadata.
#[track_caller]
fn meta_refused(meta: Meta, rule: &str) {
    let content = FileRef { size: 0, digest: Digest::of(b"") };
    // A symbolic link's mode is another rule's.
    let link = Meta { mode: if meta.mode > 0o7777 { meta.mode } else { Meta::SYMLINK_MODE }, ..meta.clone() };
    let nodes = [
        Node::File(meta.clone(), content),
        Node::Directory(meta.clone()),
        Node::Symlink(link, b"to".to_vec()),
    ];
    for node in nodes {
        refused(sample_and(Entry { path: b"odd".to_vec(), node }), "odd", rule);
    }
}

/// An encoding of entries that need not be a tree.
fn encoded(entries: &[Entry]) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    encode_entries(&mut out, entries);
    out.into_writer()
}

#[track_caller]
fn not_canonical(bytes: &[u8]) {
    assert_eq!(Tree::decode(bytes), Err(TreeError::encoding()), "{bytes:02x?}");
}

// ---- the rules, one by one

#[test]
fn the_sample_breaks_no_rule() {
    let tree = tree(sample());
    assert_eq!(Tree::decode(&tree.encode()).unwrap(), tree);
    assert_eq!(tree.size(), 11);
    assert_eq!(tree.get(b"etc/b"), Some(&hard_link("etc/b", "etc/a")));
    assert_eq!(tree.get(b"etc/c"), None);
}

#[test]
fn a_path_may_not_lead_out_of_the_root() {
    for path in ["..", "../x", "etc/..", "etc/../x", "../../etc/passwd", "etc/../../x"] {
        path_refused(path, ". or ..");
    }
    path_refused(".", ". or ..");
    path_refused("./x", ". or ..");
    path_refused("etc/./x", ". or ..");
}

#[test]
fn dots_within_a_name_are_only_dots() {
    for name in ["...", "..a", "a..", ".a", "a.", "etc/...", "etc/.hidden"] {
        tree(sample_and(file(name, "x")));
    }
}

#[test]
fn a_path_may_not_be_absolute() {
    path_refused("/", "absolute");
    path_refused("/etc/passwd", "absolute");
}

#[test]
fn a_name_may_not_be_empty() {
    path_refused("etc/", "empty name");
    path_refused("etc//x", "empty name");
    path_refused("//", "empty name");
}

#[test]
fn a_path_may_not_contain_nul() {
    path_refused("\0", "NUL");
    path_refused("etc/a\0b", "NUL");
}

#[test]
fn a_name_has_at_most_255_bytes() {
    tree(sample_and(file(&"n".repeat(255), "x")));
    path_refused(&"n".repeat(256), "longer than 255");
    path_refused(&format!("etc/{}", "n".repeat(256)), "longer than 255");
}

#[test]
fn a_path_has_at_most_4095_bytes() {
    // 255 bytes and a slash, sixteen times, make 4096.
    let name = "n".repeat(255);
    let parents = (1..16).map(|depth| dir(&vec![name.as_str(); depth].join("/")));
    let mut entries: Vec<Entry> = [dir("")].into_iter().chain(parents).collect();
    let deepest = vec![name.as_str(); 16].join("/");
    assert_eq!(deepest.len(), MAX_PATH);
    entries.push(dir(&deepest));
    tree(entries.clone());
    let just_below = &deepest[..MAX_PATH - 1];
    entries.push(dir(just_below));
    for (parent, len) in [(just_below, MAX_PATH + 1), (&deepest, MAX_PATH + 2)] {
        let too_long = format!("{parent}/x");
        assert_eq!(too_long.len(), len);
        let entries = [entries.as_slice(), &[file(&too_long, "x")]].concat();
        refused(entries, &too_long, "longer than 4095");
    }
}

#[test]
fn nothing_leads_through_a_symbolic_link() {
    path_refused("link/x", "parent is not a directory");
    let mut entries = sample_and(symlink("out", b"/etc"));
    entries.push(file("out/passwd", "x"));
    refused(entries, "out/passwd", "parent is not a directory");
}

#[test]
fn nothing_leads_through_a_file_or_a_hard_link() {
    path_refused("etc/a/x", "parent is not a directory");
    path_refused("etc/b/x", "parent is not a directory");
}

#[test]
fn a_parent_must_be_listed() {
    path_refused("absent/x", "parent is not a directory");
    path_refused("empty/absent/x", "parent is not a directory");
}

#[test]
fn a_path_occurs_once() {
    path_refused("etc/a", "twice");
    refused(sample_and(symlink("etc", b"/")), "etc", "twice");
    refused(sample_and(dir("")), "", "twice");
}

#[test]
fn the_root_is_there_and_is_a_directory() {
    refused(vec![], "", "no root");
    refused(sample().split_off(1), "empty", "not the root");
    refused(vec![file("", "x")], "", "not the root");
    refused(vec![symlink("", b"/etc")], "", "not the root");
    refused(vec![hard_link("", "")], "", "not the root");
}

#[test]
fn an_encoding_must_be_in_order() {
    let tree = tree(sample());
    for i in 1..sample().len() {
        let mut entries = tree.entries().to_vec();
        entries.swap(i - 1, i);
        assert!(Tree::decode(&encoded(&entries)).is_err(), "swapped {i}");
        assert_eq!(Tree::new(entries).unwrap(), tree);
    }
    let error = Tree::decode(&encoded(&[dir(""), dir("b"), dir("a")])).unwrap_err();
    assert_eq!((error.path.as_str(), error.rule), ("a", "paths are out of order"));
}

#[test]
fn a_hard_link_names_an_earlier_regular_file() {
    let rule = "earlier regular file";
    for to in ["etc/z", "absent", "", "etc", "link", "empty", "etc/b", "etc/m", "/etc/passwd", "../x"] {
        let mut entries = sample_and(file("etc/z", "later"));
        entries.push(hard_link("etc/m", to));
        refused(entries, "etc/m", rule);
    }
}

#[test]
fn one_digest_has_one_size() {
    let other = FileRef { size: 4, digest: Digest::of(b"one") };
    let entry = Entry { path: b"z".to_vec(), node: Node::File(meta(), other) };
    refused(sample_and(entry), "z", "two sizes");
}

/// The sum overflowed: a panic in a debug build, a small sum in a release build.
#[test]
fn sizes_that_sum_past_what_a_file_offset_holds_are_refused() {
    let sized = |path: &str, size| Entry {
        path: path.into(),
        node: Node::File(meta(), FileRef { size, digest: Digest::of(path.as_bytes()) }),
    };
    let most = i64::MAX as u64;
    assert_eq!(tree(vec![dir(""), sized("a", most)]).size(), most);
    assert_eq!(tree(vec![dir(""), sized("a", most - 1), sized("b", 1)]).size(), most);
    for pair in [[most, 1], [0, most + 1], [1 << 62, 1 << 62], [1, u64::MAX], [most, u64::MAX]] {
        refused(vec![dir(""), sized("a", pair[0]), sized("b", pair[1])], "b", "2^63");
    }
}

#[test]
fn a_mode_has_12_bits() {
    for mode in [0, 0o644, 0o4755, 0o7777] {
        let node = Node::Directory(Meta { mode, ..meta() });
        tree(sample_and(Entry { path: b"d".to_vec(), node }));
    }
    for mode in [0o10000, 0o100644, u16::MAX] {
        meta_refused(Meta { mode, ..meta() }, "12 bits");
    }
}

#[test]
fn a_symbolic_link_has_one_mode() {
    for mode in [0, 0o644, 0o755, 0o776, 0o1777] {
        let node = Node::Symlink(Meta { mode, ..meta() }, b"to".to_vec());
        refused(sample_and(Entry { path: b"s".to_vec(), node }), "s", "mode is 0777");
    }
}

#[test]
fn nanoseconds_stay_below_a_second() {
    let node = Node::Directory(Meta { nanoseconds: 999_999_999, seconds: i64::MIN, ..meta() });
    tree(sample_and(Entry { path: b"d".to_vec(), node }));
    for nanoseconds in [1_000_000_000, u32::MAX] {
        meta_refused(Meta { nanoseconds, ..meta() }, "reach a second");
    }
}

#[test]
fn an_extended_attribute_has_a_proper_name() {
    let named = |name: &[u8]| Meta { xattrs: [(name.to_vec(), vec![0])].into(), ..meta() };
    tree(sample_and(Entry { path: b"d".to_vec(), node: Node::Directory(named(&[b'n'; 255])) }));
    for name in [b"".as_slice(), b"\0", b"user.\0a", &[b'n'; 256]] {
        meta_refused(named(name), "extended attribute");
    }
}

#[test]
fn a_symbolic_link_has_a_proper_target() {
    tree(sample_and(symlink("s", &[b'/'; MAX_PATH])));
    tree(sample_and(symlink("s", b"../../../etc/passwd")));
    for target in [b"".as_slice(), b"\0", b"a\0b", &[b'/'; MAX_PATH + 1]] {
        refused(sample_and(symlink("s", target)), "s", "target");
    }
}

// ---- the encoding

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

// ---- changes

#[test]
fn changes_name_only_what_differs() {
    let old = tree(sample());
    let mut entries = sample();
    entries.retain(|e| e.path != b"link" && e.path != b"empty");
    entries.push(file("new", "n"));
    entries[2] = file("etc/a", "changed");
    let new = tree(entries);
    let changes = old.changes_to(&new);
    assert_eq!(changes.removed, [b"empty".to_vec(), b"link".to_vec()]);
    assert_eq!(changes.put, [file("etc/a", "changed"), file("new", "n")]);
    assert_eq!(old.with(&changes), Ok(new));
    assert_eq!(old.changes_to(&old), Changes::default());
    assert_eq!(old.with(&Changes::default()), Ok(old));
}

/// The entry with other metadata.
fn touched(mut entry: Entry) -> Entry {
    entry.meta_mut().unwrap().seconds += 1;
    entry
}

#[test]
fn metadata_alone_is_named_by_number() {
    let old = tree(sample());
    // In order: the root, empty, etc, etc/a, etc/b (a hard link), etc/tagged, link, ümläut.
    let other = |index: usize| old.entries()[index].clone();
    let mut entries = old.entries().to_vec();
    for index in [0, 3, 6, 7] {
        entries[index] = touched(other(index));
    }
    entries[5] = touched(file("etc/tagged", "other"));
    let new = tree(entries);
    let changes = old.changes_to(&new);
    assert_eq!(changes.removed, [b""; 0]);
    assert_eq!(changes.put, [touched(file("etc/tagged", "other"))], "more than its metadata differs");
    assert_eq!(changes.fresh, [0]);
    let meta = |index| touched(other(index)).meta().unwrap().clone();
    assert_eq!(changes.touched, [0, 3, 6, 7].map(|index| (index, meta(index))));
    assert_eq!(old.with(&changes), Ok(new));
    assert_eq!(Changes::decode(&changes.encode()), Ok(changes));
}

#[test]
fn entries_of_another_kind_or_content_are_put() {
    let old = tree(sample());
    let with = |path: &str, entry: Entry| {
        let mut entries = sample();
        entries.retain(|e| e.path != path.as_bytes());
        entries.push(entry);
        let new = tree(entries);
        let changes = old.changes_to(&new);
        assert_eq!(old.with(&changes).as_ref(), Ok(&new));
        (changes.put.len(), changes.touched.len())
    };
    assert_eq!(with("empty", file("empty", "")), (1, 0));
    assert_eq!(with("empty", symlink("empty", b"etc")), (1, 0));
    assert_eq!(with("etc/b", file("etc/b", "one")), (1, 0), "no hard link any more");
    assert_eq!(with("link", symlink("link", b"elsewhere")), (1, 0));
    assert_eq!(with("link", touched(symlink("link", b"../dangling"))), (0, 1));
    assert_eq!(with("empty", touched(dir("empty"))), (0, 1));
}

#[test]
fn touched_entries_have_one_spelling() {
    let old = tree(sample());
    let new_meta = |index: usize| touched(old.entries()[index].clone()).meta().unwrap().clone();
    let rule = |change: &dyn Fn(&mut Changes)| {
        let mut changes = Changes { touched: vec![(1, new_meta(1)), (3, new_meta(3))], ..Changes::default() };
        assert!(old.with(&changes).is_ok());
        change(&mut changes);
        old.with(&changes).unwrap_err().rule
    };
    for index in [old.entries().len(), 1 << 20, usize::MAX] {
        assert!(rule(&|c| c.touched.push((index, meta()))).contains("has none"), "{index}");
    }
    assert!(rule(&|c| c.touched.push((4, meta()))).contains("has none"), "a hard link");
    assert!(rule(&|c| c.removed.push(b"empty".to_vec())).contains("has none"), "it goes");
    let wrong = "those that do";
    assert!(rule(&|c| c.touched.push((5, old.entries()[5].meta().unwrap().clone()))).contains(wrong));
    assert!(rule(&|c| c.touched.reverse()).contains(wrong));
    assert!(rule(&|c| c.touched.push(c.touched[1].clone())).contains(wrong));
    assert!(rule(&|c| c.put.push(touched(dir("etc")))).contains(wrong), "put for its metadata alone");
    assert!(rule(&|c| c.put.push(symlink("empty", b"etc"))).contains("0777"), "put and touched");
    assert!(rule(&|c| c.put.push(file("empty", "one"))).contains(wrong), "put and touched");
    assert!(rule(&|c| c.touched[0].1.mode = 0o10000).contains("12 bits"));
    assert!(rule(&|c| c.touched.push((6, meta()))).contains("0777"));
}

#[test]
fn touched_entries_are_read_by_the_gaps_between_them() {
    let [one, two] = [1, 2].map(|uid| Meta { uid, ..Meta::default() });
    let changes = Changes { touched: vec![(2, one.clone()), (3, two)], ..Changes::default() };
    let (gap, meta_of) = (|gap: &[u8]| [&[0x82], gap].concat(), |uid| [0x85, 0, uid, 0, 0, 0]);
    let list =
        [&[0x84, 0x80, 0x80, 0x80, 0x82], &gap(&[2])[..], &meta_of(1), &gap(&[0]), &meta_of(2)].concat();
    assert_eq!(changes.encode(), list);
    assert_eq!(Changes::decode(&list), Ok(changes));
    let most = [&[0x1b][..], &[0xff; 8]].concat();
    for (first, second) in [(&most[..], &[0][..]), (&[1], &most)] {
        let list = [&[0x84, 0x80, 0x80, 0x80, 0x82], &gap(first)[..], &meta_of(1), &gap(second), &meta_of(2)];
        assert_eq!(Changes::decode(&list.concat()), Err(TreeError::encoding()), "an index past 2^64");
    }
    // The numbers of a part begin anew: the parts' lists are joined as they are.
    let mut whole = Changes { touched: vec![(2, one.clone())], ..Changes::default() };
    whole.append(Changes { touched: vec![(5, one.clone())], ..Changes::default() });
    assert_eq!(whole.touched, [(2, one.clone()), (5, one)]);
}

#[test]
fn changes_that_do_not_fit_are_refused() {
    let old = tree(sample());
    let rule = |removed: &[&str], put: &[Entry]| {
        let removed = removed.iter().map(|p| p.as_bytes().to_vec()).collect();
        old.with(&Changes { removed, put: put.to_vec(), fresh: vec![], touched: vec![] }).unwrap_err().rule
    };
    assert!(rule(&["absent"], &[]).contains("does not have"));
    assert!(rule(&["link", "link"], &[]).contains("twice"));
    assert!(rule(&[], &[file("new", "1"), file("new", "2")]).contains("twice"));
    assert!(rule(&[], &[file("../x", "1")]).contains(". or .."));
    assert!(rule(&["etc"], &[]).contains("parent is not a directory"), "children would dangle");
    assert!(rule(&[], &[symlink("etc", b"/etc")]).contains("parent is not a directory"));
    assert!(rule(&["etc/a"], &[]).contains("earlier regular file"), "its hard link would dangle");
    assert!(rule(&[""], &[]).contains("not the root"));
}

#[test]
fn changes_have_one_spelling() {
    let old = tree(sample());
    let new = tree(vec![dir(""), file("b", "1"), file("c", "1"), file("d", "two"), file("e", "2")]);
    let right = old.changes_to(&new);
    assert_eq!(old.with(&right), Ok(new));
    let rule = |change: &dyn Fn(&mut Changes)| {
        let mut changes = right.clone();
        change(&mut changes);
        old.with(&changes).unwrap_err().rule
    };
    assert_eq!(right.fresh, [0, 3], "c has b's content, d the source's");
    assert!(rule(&|c| c.removed.swap(0, 1)).contains("out of order"));
    assert!(rule(&|c| c.put.swap(0, 1)).contains("out of order"));
    assert!(rule(&|c| c.put.insert(0, dir(""))).contains("has already"));
    assert!(rule(&|c| c.put.push(symlink("link", b"../dangling"))).contains("both removed and put"));
    for fresh in [&[0][..], &[3], &[0, 1, 3], &[0, 2, 3], &[0, 3, 3], &[3, 0], &[1, 3], &[]] {
        assert!(rule(&|c| c.fresh = fresh.to_vec()).contains("fresh"), "{fresh:?}");
    }
}

#[test]
fn parts_of_changes_ascend_as_one() {
    let old = tree(sample());
    let new =
        tree(vec![touched(dir("")), touched(dir("empty")), file("b", "x"), file("c", "y"), file("d", "z")]);
    let join = |parts: &[Changes]| {
        let mut whole = Changes::default();
        parts.iter().for_each(|part| whole.append(part.clone()));
        old.with(&whole)
    };
    let mut parts = old.changes_to(&new).split(150);
    assert!(parts.len() > 2);
    assert_eq!(join(&parts), Ok(new));
    parts.reverse();
    assert!(join(&parts).unwrap_err().rule.contains("out of order"));
}

#[test]
fn one_digest_has_one_size_in_source_and_target() {
    let old = tree(sample());
    let mut lie = file("etc/a", "one");
    let Node::File(_, content) = &mut lie.node else { unreachable!() };
    content.size += 1;
    let changes = Changes { removed: vec![], put: vec![lie], fresh: vec![], touched: vec![] };
    let error = old.with(&changes).unwrap_err();
    assert_eq!((error.path.as_str(), error.rule), ("etc/a", "one digest has two sizes"));
}

#[test]
fn changes_are_read_from_one_encoding_only() {
    let bytes =
        tree(sample()).changes_to(&tree(vec![touched(dir("")), dir("etc"), file("new", "n")])).encode();
    for len in 0..bytes.len() {
        assert!(Changes::decode(&bytes[..len]).is_err(), "cut at {len}");
    }
    assert!(Changes::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    for i in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[i] ^= 1 << bit;
            if let Ok(changes) = Changes::decode(&changed) {
                assert_eq!(changes.encode(), changed);
            }
        }
    }
}

// ---- errors

#[test]
fn an_error_names_path_and_rule() {
    let error = Tree::new(sample_and(file("etc/../x", ""))).unwrap_err();
    assert_eq!(error.to_string(), "\"etc/../x\": a path contains . or ..");
    assert_eq!(Tree::decode(&[]).unwrap_err().to_string(), "the encoding is not canonical");
    let odd = Entry { path: b"\xff\x1b[2J/".to_vec(), node: Node::HardLink(vec![]) };
    let printed = Tree::new(sample_and(odd)).unwrap_err().to_string();
    assert!(!printed.contains('\x1b'), "a hostile name does not reach the terminal: {printed}");
}

// ---- properties, on random trees

prop_compose! {
    fn any_meta()(
        mode in 0u16..=0o7777, uid in any::<u32>(), gid in 0u32..70_000,
        seconds in any::<i64>(), nanoseconds in 0u32..1_000_000_000,
        xattrs in btree_map("user\\.[a-c]{1,2}".prop_map(String::into_bytes), vec(any::<u8>(), 0..4), 0..3),
    ) -> Meta {
        Meta { mode, uid, gid, seconds, nanoseconds, xattrs }
    }
}

/// A wish: a name (any bytes but `/` and NUL, often alike), where to hang it, what it is to be.
type Wish = (Vec<u8>, prop::sample::Index, u8, u8, Meta);

fn any_wish() -> impl Strategy<Value = Wish> {
    let short = "[a-d]".prop_map(String::into_bytes);
    let odd = vec(any::<u8>().prop_filter("no / or NUL", |b| !b"/\0".contains(b)), 1..5);
    let name = prop_oneof![3 => short, 1 => odd].prop_filter("no dots", |name| name != b"." && name != b"..");
    (name, any::<prop::sample::Index>(), 0u8..8, 0u8..6, any_meta())
}

/// Grants the wishes that can be granted: names that are taken are skipped.
fn any_tree() -> impl Strategy<Value = Tree> {
    (any_meta(), vec(any_wish(), 0..24)).prop_map(|(root, wishes)| {
        let mut entries = BTreeMap::from([(vec![], Node::Directory(root))]);
        let mut directories = vec![vec![]];
        for (name, place, kind, content, meta) in wishes {
            let above = place.get(&directories).clone();
            let path = if above.is_empty() { name } else { [above.as_slice(), b"/", &name].concat() };
            if entries.contains_key(&path) {
                continue;
            }
            let earlier = entries.range(..path.clone()).rev();
            let mut earlier_files = earlier.filter(|(_, node)| matches!(node, Node::File(..)));
            let node = match (kind, earlier_files.next()) {
                (0..=2, _) => Node::Directory(meta),
                (3, _) => {
                    let meta = Meta { mode: Meta::SYMLINK_MODE, ..meta };
                    Node::Symlink(meta, vec![b'.'; usize::from(content) + 1])
                }
                (4, Some((to, _))) => Node::HardLink(to.clone()),
                _ => Node::File(
                    meta,
                    FileRef { size: u64::from(content) << 30, digest: Digest::of(&[content]) },
                ),
            };
            if matches!(node, Node::Directory(_)) {
                directories.push(path.clone());
            }
            entries.insert(path, node);
        }
        Tree::new(entries.into_iter().map(|(path, node)| Entry { path, node }).collect()).unwrap()
    })
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(tree in any_tree()) {
        prop_assert_eq!(Tree::decode(&tree.encode()), Ok(tree));
    }

    #[test]
    fn changes_lead_from_any_tree_to_any_other(a in any_tree(), b in any_tree()) {
        let changes = a.changes_to(&b);
        prop_assert_eq!(Changes::decode(&changes.encode()), Ok(changes.clone()));
        prop_assert_eq!(a.with(&changes), Ok(b));
    }

    #[test]
    fn other_metadata_alone_put_nothing(tree in any_tree(), which in vec(any::<bool>(), 24), meta in any_meta()) {
        let mut entries = tree.entries().to_vec();
        let mut wanted = 0;
        for (entry, _) in entries.iter_mut().zip(which).filter(|(_, which)| *which) {
            let is_link = matches!(entry.node, Node::Symlink(..));
            let Some(there) = entry.meta_mut() else { continue };
            let meta = Meta { mode: if is_link { Meta::SYMLINK_MODE } else { meta.mode }, ..meta.clone() };
            wanted += usize::from(*there != meta);
            *there = meta;
        }
        let new = Tree::new(entries).unwrap();
        let changes = tree.changes_to(&new);
        prop_assert_eq!((changes.removed.len(), changes.put.len(), changes.fresh.len()), (0, 0, 0));
        prop_assert_eq!(changes.touched.len(), wanted);
        let mut joined = Changes::default();
        changes.split(100).into_iter().for_each(|part| joined.append(Changes::decode(&part.encode()).unwrap()));
        prop_assert_eq!(tree.with(&joined), Ok(new));
    }

    #[test]
    fn the_order_of_the_entries_does_not_matter(
        (tree, shuffled) in any_tree().prop_flat_map(|t| (Just(t.clone()), Just(t.entries().to_vec()).prop_shuffle()))
    ) {
        let again = Tree::new(shuffled).unwrap();
        prop_assert_eq!(again.digest(), tree.digest());
        prop_assert_eq!(again, tree);
    }

    #[test]
    fn the_flat_space_holds_each_content_once(tree in any_tree()) {
        let contents = tree.contents();
        let distinct: BTreeSet<FileRef> = tree.files().map(|(_, file)| file).collect();
        prop_assert_eq!(contents.len(), distinct.len());
        prop_assert!(contents.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn noise_neither_decodes_nor_panics(bytes in vec(any::<u8>(), 0..64)) {
        if let Ok(tree) = Tree::decode(&bytes) {
            prop_assert_eq!(tree.encode(), bytes);
        }
    }

    #[test]
    fn a_bent_encoding_neither_panics_nor_reads_as_another(
        tree in any_tree(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = tree.encode();
        *at.get_mut(&mut bytes) = byte;
        if let Ok(other) = Tree::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
        }
    }
}
