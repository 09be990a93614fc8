//! The rules of a tree, one by one, and what is said of one that is broken.

use super::super::rules::MAX_PATH;
use super::*;

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

#[test]
fn an_error_names_path_and_rule() {
    let error = Tree::new(sample_and(file("etc/../x", ""))).unwrap_err();
    assert_eq!(error.to_string(), "\"etc/../x\": a path contains . or ..");
    assert_eq!(Tree::decode(&[]).unwrap_err().to_string(), "the encoding is not canonical");
    let odd = Entry { path: b"\xff\x1b[2J/".to_vec(), node: Node::HardLink(vec![]) };
    let printed = Tree::new(sample_and(odd)).unwrap_err().to_string();
    assert!(!printed.contains('\x1b'), "a hostile name does not reach the terminal: {printed}");
}
