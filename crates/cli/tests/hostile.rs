//! Patches that no `siding diff` makes, signed by a trusted key all the same: trees that would write outside
//! their output. `apply` and `install` refuse each for its flaw, and nothing is written anywhere.
#![cfg(feature = "make")]

mod common;

use common::{Lab, tree};
use siding_image::{Changes, Digest, Entry, FileRef, Identity, Image, Kind, Meta, Node, verity};
use siding_patch::{ImageRef, Limits, Manifest, PrivateKey, Trust};
use std::fs;
use std::path::Path;

const CONTENT: &[u8] = b"this should be nowhere\n";

/// A device with a tree, and a directory `outside` that a hostile patch aims at.
struct Target {
    lab: Lab,
    entries: Vec<Entry>,
}

impl Target {
    fn new() -> Self {
        let lab = Lab::tree_device();
        tree::small(&lab.path("outside"), 9);
        let entries = Image::open(&lab.path("old")).unwrap().tree().unwrap().entries().to_vec();
        Self { lab, entries }
    }

    /// A patch that changes the base by `removed` and `put`, and whose manifest promises just that tree,
    /// signed by `maker`.
    fn patch(&self, removed: &[&[u8]], mut put: Vec<Entry>) -> Vec<u8> {
        put.sort_by(|a, b| a.path.cmp(&b.path));
        let mut all = self.entries.clone();
        all.retain(|entry| {
            !removed.contains(&entry.path.as_slice()) && put.iter().all(|p| p.path != entry.path)
        });
        all.extend(put.clone());
        all.sort_by(|a, b| a.path.cmp(&b.path));
        let sizes = all.iter().filter_map(|entry| match &entry.node {
            Node::File(_, file) => Some(file.size),
            _ => None,
        });
        let identity = Identity { kind: Kind::Tree, size: sizes.sum(), digest: digest(&all) };
        let is_fresh = |entry: &Entry| matches!(entry.node, Node::File(_, file) if file == content());
        let fresh: Vec<usize> = put.iter().position(is_fresh).into_iter().collect();
        let made = if fresh.is_empty() { &b""[..] } else { CONTENT };
        let removed = removed.iter().map(|path| path.to_vec()).collect();
        let changes = Changes { removed, put, fresh, ..Changes::default() };
        let mut chunks =
            vec![siding_patch::encode_changes(&changes, siding_patch::Packing::zstd(3)).unwrap()];
        if !made.is_empty() {
            let place = siding_patch::Instruction { literals: made, from: 0, source: &[], target: &[] };
            chunks
                .push(siding_patch::encode_delta(&[place], 0, siding_patch::Packing::zstd(3), None).unwrap());
        }
        let good = self.lab.read("a.siding");
        let good = siding_patch::open(good.as_slice(), &Trust::anyone(), &Limits::default()).unwrap();
        let target = ImageRef { version: "1.0 (x)".parse().unwrap(), identity };
        let manifest = Manifest { target, ..good.manifest().clone() };
        let key = fs::read_to_string(self.lab.path("maker.key")).unwrap();
        let key = PrivateKey::from_pem(&key).unwrap();
        let mut bytes = Vec::new();
        siding_patch::write(&manifest, &chunks, &[key], &mut bytes).unwrap();
        bytes
    }

    #[track_caller]
    fn refuses(&self, rule: &str, removed: &[&[u8]], put: Vec<Entry>) {
        let lab = &self.lab;
        let patch = self.patch(removed, put);
        let current = || tree::facts(&lab.path("store/current/lib").canonicalize().unwrap());
        let (outside, before) = (tree::facts(&lab.path("outside")), current());
        let words = &["not well formed", rule, "report it to its maker"];
        fs::create_dir_all(lab.path("made")).unwrap();
        lab.piped("apply - old made/out --trust maker.pub", &patch).ends_with(6).complains(words);
        assert!(lab.names("made").is_empty(), "{rule}: {:?}", lab.names("made"));
        lab.piped("install - --trust maker.pub --switch", &patch).ends_with(6).complains(words);
        assert_eq!(current(), before, "{rule}: what runs has changed");
        assert_eq!(tree::facts(&lab.path("outside")), outside, "{rule}: something outside has changed");
        assert_eq!(find("escaped", lab.root()), 0, "{rule}: it escaped");
    }

    /// The next good patch finds nothing in its way.
    fn still_takes_a_good_one(&self) {
        self.lab.ok("install a.siding --trust maker.pub --switch");
        let current = self.lab.path("store/current/lib").canonicalize().unwrap();
        assert_eq!(tree::facts(&current), tree::facts(&self.lab.path("new-a")));
    }
}

/// A tree's digest by the definition (`docs/format.md` section 6), of lists that are no trees too: the entries
/// are encoded as in changes, with empty lists around them.
fn digest(entries: &[Entry]) -> Digest {
    let encoded = Changes { put: entries.to_vec(), ..Changes::default() }.encode();
    // The head of the whole list, the empty list before, the empty ones after: a byte each.
    let around = Changes::default().encode().len() - 1;
    Digest::of_parts(&[b"siding tree 1\n", &encoded[2..encoded.len() - (around - 2)]])
}

fn find(name: &str, dir: &Path) -> usize {
    let list = fs::read_dir(dir).unwrap().map(|item| item.unwrap());
    list.map(|item| {
        let below = if item.file_type().unwrap().is_dir() { find(name, &item.path()) } else { 0 };
        below + usize::from(item.file_name().to_string_lossy().contains(name))
    })
    .sum()
}

fn content() -> FileRef {
    FileRef { size: CONTENT.len() as u64, digest: verity::digest(CONTENT) }
}

fn file(path: impl AsRef<[u8]>) -> Entry {
    Entry { path: path.as_ref().to_vec(), node: Node::File(meta(), content()) }
}

fn directory(path: impl AsRef<[u8]>) -> Entry {
    Entry { path: path.as_ref().to_vec(), node: Node::Directory(meta()) }
}

fn symlink(path: &str, to: impl AsRef<[u8]>) -> Entry {
    Entry { path: path.into(), node: Node::Symlink(Meta { mode: 0o777, ..meta() }, to.as_ref().to_vec()) }
}

fn hard_link(path: &str, to: &str) -> Entry {
    Entry { path: path.into(), node: Node::HardLink(to.into()) }
}

fn meta() -> Meta {
    Meta { mode: 0o755, ..Meta::default() }
}

#[test]
fn what_these_tests_make_is_good_but_for_its_flaw() {
    let target = Target::new();
    let patch = target.patch(&[b"empty"], vec![file("bin/new"), symlink("to-outside", "../outside")]);
    target.lab.piped("apply - old out --trust maker.pub", &patch).ends_with(0);
    assert_eq!(target.lab.read("out/bin/new"), CONTENT);
    target.lab.piped("install - --trust maker.pub --switch", &patch).ends_with(0);
}

#[test]
fn a_path_that_climbs_out() {
    let target = Target::new();
    target.refuses("a path contains . or ..", &[], vec![file("../escaped")]);
    target.refuses("a path contains . or ..", &[], vec![file("bin/../../escaped")]);
    target.refuses("a path contains . or ..", &[], vec![directory(".."), file("../escaped")]);
    target.refuses("a path contains . or ..", &[], vec![file("bin/./escaped")]);
    target.still_takes_a_good_one();
}

#[test]
fn an_absolute_path() {
    let target = Target::new();
    // Beside the output of `apply`, beside its directory, and in the directory that is aimed at.
    for aim in ["made/escaped", "escaped", "outside/escaped"] {
        let aim = target.lab.path(aim);
        target.refuses("a path is absolute", &[], vec![file(aim.to_str().unwrap())]);
    }
    target.refuses("a path is absolute, or has an empty name", &[], vec![file("bin//escaped")]);
    target.refuses("a path is absolute, or has an empty name", &[], vec![directory("escaped/")]);
    target.still_takes_a_good_one();
}

#[test]
fn a_path_through_a_symbolic_link() {
    let target = Target::new();
    let outside = target.lab.path("outside").to_str().unwrap().to_owned();
    let rule = "its parent is not a directory of the tree";
    target.refuses(rule, &[], vec![symlink("way", &outside), file("way/escaped")]);
    // One that the source has, and a directory of the source that becomes one.
    target.refuses(rule, &[], vec![file("link/escaped")]);
    target.refuses(rule, &[b"empty"], vec![symlink("bin", &outside)]);
    target.refuses(rule, &[], vec![file("no-such-directory/escaped")]);
    target.refuses(rule, &[], vec![file("same/escaped")]);
    target.still_takes_a_good_one();
}

#[test]
fn an_entry_that_occurs_twice() {
    let target = Target::new();
    let outside = target.lab.path("outside").to_str().unwrap().to_owned();
    target.refuses("a path occurs twice", &[], vec![file("escaped"), file("escaped")]);
    target.refuses(
        "a path occurs twice",
        &[],
        vec![symlink("twin", &outside), directory("twin"), file("twin/escaped")],
    );
    target.refuses("a path is both removed and put", &[b"empty"], vec![file("empty")]);
    target.still_takes_a_good_one();
}

#[test]
fn a_hard_link_to_what_is_not_in_the_tree() {
    let target = Target::new();
    let outside = target.lab.path("outside/same").to_str().unwrap().to_owned();
    for to in ["../outside/same", &outside, "link", "bin", "nothing", "zzz-later"] {
        target.refuses("hard link", &[], vec![hard_link("escaped", to)]);
    }
    target.still_takes_a_good_one();
}

#[test]
fn names_and_removals_that_cannot_be() {
    let target = Target::new();
    target.refuses("a path contains NUL", &[], vec![file(b"escaped\0")]);
    target.refuses("a name is longer than 255 bytes", &[], vec![file("escaped".repeat(40))]);
    target.refuses(
        "a path is removed that the source does not have",
        &[b"../outside/same"],
        vec![file("escaped")],
    );
    target.refuses("not a directory of the tree", &[b"bin"], vec![]);
    target.refuses("symbolic link's target", &[], vec![symlink("escaped", "")]);
    target.still_takes_a_good_one();
}
