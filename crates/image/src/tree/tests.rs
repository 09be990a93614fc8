//! Every rule of a tree is broken alone, and the properties that patches lean on are tried on random trees.
//!
//! Here are the small trees that the tests by subject start from.

mod changes;
mod codec;
mod random;
mod rules;

use super::*;

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
