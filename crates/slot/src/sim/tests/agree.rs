//! The simulated disk does what the real one does.

use super::*;
use crate::disk::Real;
use proptest::prelude::*;
use siding_image::{Node, Tree};
use std::os::unix::ffi::OsStrExt;

/// One verb with what it needs; paths are below the directory that both disks work in.
#[derive(Clone, Debug)]
enum Verb {
    Open(String, Access, Vec<Use>),
    MakeDirectory(String),
    MakeSymlink(String),
    MakeHardLink(String, String),
    Rename(String, String),
    RemoveTree(String),
    Mode(String, u32),
    Owner(String, u32, u32),
    Xattr(String, u8),
    NoXattr(String, u8),
    Modified(String, i64, u32),
    Lock(String),
    /// Shows nothing; done by the simulated disk only.
    Flush(String),
}

/// What is done with an open file.
#[derive(Clone, Debug)]
enum Use {
    Write(u64, u8, usize),
    SetLen(u64),
    Read(u64, usize),
    /// To a file that is new.
    Copy(String, u64),
    Len,
}

fn path() -> impl Strategy<Value = String> {
    // Few names, so that they meet.
    proptest::sample::select(vec!["a", "b", "c", "a/a", "a/b", "b/a", "b/c", "a/a/a", "b/a/c", "a/b/c"])
        .prop_map(str::to_owned)
}

fn access() -> impl Strategy<Value = Access> {
    let all = [Access::Read, Access::Existing, Access::New(0o600), Access::Log, Access::Directory];
    proptest::sample::select(all.to_vec())
}

fn file_use() -> impl Strategy<Value = Use> {
    let (offset, len) = (0u64..10_000, 0usize..6000);
    prop_oneof![
        (offset.clone(), any::<u8>(), len.clone()).prop_map(|(at, byte, len)| Use::Write(at, byte % 3, len)),
        offset.clone().prop_map(Use::SetLen),
        (offset.clone(), len).prop_map(|(at, len)| Use::Read(at, len)),
        (path(), offset).prop_map(|(from, len)| Use::Copy(from, len)),
        Just(Use::Len),
    ]
}

fn verb() -> impl Strategy<Value = Verb> {
    let modes = proptest::sample::select(vec![0o700, 0o755, 0o744, 0o4755, 0o1711]);
    prop_oneof![
        6 => (path(), access(), proptest::collection::vec(file_use(), 0..4))
            .prop_map(|(path, access, uses)| Verb::Open(path, access, uses)),
        4 => path().prop_map(Verb::MakeDirectory),
        1 => path().prop_map(Verb::MakeSymlink),
        2 => (path(), path()).prop_map(|(from, to)| Verb::MakeHardLink(from, to)),
        5 => (path(), path()).prop_map(|(from, to)| Verb::Rename(from, to)),
        1 => path().prop_map(Verb::RemoveTree),
        1 => (path(), modes).prop_map(|(path, mode)| Verb::Mode(path, mode)),
        1 => (path(), 0u32..3, 0u32..3).prop_map(|(path, user, group)| Verb::Owner(path, user, group)),
        1 => (path(), 0u8..3).prop_map(|(path, name)| Verb::Xattr(path, name)),
        1 => (path(), 0u8..3).prop_map(|(path, name)| Verb::NoXattr(path, name)),
        2 => (path(), 0i64..1000, 0u32..1_000_000_001).prop_map(|(path, s, n)| Verb::Modified(path, s, n)),
        1 => path().prop_map(Verb::Lock),
        2 => path().prop_map(Verb::Flush),
    ]
}

/// What a verb said: something to compare, or which error.
type Said = Result<String, (io::ErrorKind, Option<i32>)>;

fn said<T: fmt::Debug>(result: io::Result<T>) -> Said {
    result.map(|value| format!("{value:?}")).map_err(|error| (error.kind(), error.raw_os_error()))
}

/// A disk, the directory it works in, and a symbolic link that leads nowhere but to itself.
struct Side<'a> {
    disk: &'a dyn Disk,
    root: &'a Path,
    knot: &'a Path,
    is_real: bool,
}

impl Side<'_> {
    fn carry_out(&self, verb: &Verb, as_root: bool) -> Vec<Said> {
        let at = |path: &String| self.root.join(path);
        let set = |path: &String, attribute: Attribute<'_>| said(self.disk.set(&at(path), attribute));
        let name = |name: u8| format!("user.{name}").into_bytes();
        let one = match verb {
            Verb::Open(path, access, uses) => return self.open(&at(path), *access, uses),
            Verb::MakeDirectory(path) => said(self.disk.make_directory(&at(path), 0o700)),
            Verb::MakeSymlink(path) => said(self.disk.make_symlink(self.knot, &at(path))),
            Verb::MakeHardLink(from, to) => said(self.disk.make_hard_link(&at(from), &at(to))),
            Verb::Rename(from, to) => said(self.disk.rename(&at(from), &at(to))),
            Verb::RemoveTree(path) => said(self.disk.remove_tree(&at(path))),
            Verb::Mode(path, mode) => set(path, Attribute::Mode(if as_root { *mode } else { 0o700 })),
            Verb::Owner(path, user, group) if as_root => set(path, Attribute::Owner(*user, *group)),
            Verb::Owner(..) => return Vec::new(),
            Verb::Xattr(path, number) => set(path, Attribute::Xattr(&name(*number), path.as_bytes())),
            Verb::NoXattr(path, number) => set(path, Attribute::NoXattr(&name(*number))),
            Verb::Modified(path, seconds, nanoseconds) => {
                set(path, Attribute::Modified(*seconds, *nanoseconds))
            }
            Verb::Lock(path) => said(self.disk.lock(&at(path)).map(|lock| lock.is_some())),
            Verb::Flush(path) => {
                if !self.is_real {
                    for access in [Access::Read, Access::Existing] {
                        let open = self.disk.open(&at(path), access);
                        let _ = open.and_then(|file| file.flush().and_then(|()| file.forget_cache()));
                    }
                }
                return Vec::new();
            }
        };
        vec![one]
    }

    fn open(&self, path: &Path, access: Access, uses: &[Use]) -> Vec<Said> {
        let file = match self.disk.open(path, access) {
            Ok(file) => file,
            Err(error) => return vec![said::<()>(Err(error))],
        };
        if let Access::Log = access {
            // What the process masks is not the same everywhere.
            self.disk.set(path, Attribute::Mode(0o600)).unwrap();
        }
        if self.disk.look(path).unwrap().is_directory() {
            return vec![said(file.write_at(0, b"1")), said(file.set_len(5))];
        }
        uses.iter().map(|how| self.use_file(file.as_ref(), access, how)).collect()
    }

    fn use_file(&self, file: &dyn DiskFile, access: Access, how: &Use) -> Said {
        match how {
            Use::Write(at, byte, len) => said(file.write_at(*at, &vec![*byte; *len])),
            Use::SetLen(len) => said(file.set_len(*len)),
            Use::Read(at, len) => {
                let mut out = vec![9; *len];
                said(file.read_at(*at, &mut out).map(|()| out))
            }
            Use::Copy(from, len) => {
                let from = self.root.join(from);
                let is_new = matches!(access, Access::New(_)) && file.len().unwrap() == 0;
                if !is_new || self.disk.look(&from).is_ok_and(|seen| seen.is_directory()) {
                    return Ok("left out".to_owned());
                }
                file.set_len(*len).unwrap();
                said(file.copy_from(&from, *len))
            }
            Use::Len => said(file.len()),
        }
    }

    /// Everything that can be seen, with the names of what differs from run to run left out.
    fn picture(&self) -> Vec<String> {
        let tree = self.disk.scan(self.root).unwrap();
        let mut lines = Vec::new();
        for entry in tree.entries() {
            let path = self.root.join(std::ffi::OsStr::from_bytes(&entry.path));
            let seen = self.disk.look(&path).unwrap();
            let len = if seen.is_directory() { 0 } else { seen.len };
            let mut names = said(self.disk.list(&path).map(|mut names| {
                names.sort();
                names
            }));
            if seen.kind == crate::disk::SeenKind::Symlink {
                names = said(self.disk.read_link(&path));
            }
            let mut xattrs = self.disk.xattr_names(&path).unwrap();
            xattrs.retain(|name| name.starts_with(b"user."));
            xattrs.sort();
            let node = plain(entry.node.clone());
            lines.push(format!(
                "{:?} {node:?} {:?} {:o} {:?} {len} {names:?} {xattrs:?}",
                entry.path.escape_ascii().to_string(),
                seen.kind,
                seen.mode,
                seen.owner
            ));
        }
        lines
    }
}

/// A node without the times that nobody set, and without the attributes that the system gave.
fn plain(mut node: Node) -> Node {
    if let Node::Directory(meta) | Node::File(meta, _) | Node::Symlink(meta, _) = &mut node {
        meta.xattrs.retain(|name, _| name.starts_with(b"user."));
        if meta.seconds >= 1000 {
            (meta.seconds, meta.nanoseconds) = (i64::MAX, 0);
        }
    }
    node
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_verbs_give_the_same_results_as_on_the_real_disk(
        verbs in proptest::collection::vec(verb(), 1..40),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (knot, root) = (dir.path().join("knot"), dir.path().join("root"));
        std::os::unix::fs::symlink(&knot, &knot).unwrap();
        let disk = SimDisk::new();
        let real = Side { disk: &Real, root: &root, knot: &knot, is_real: true };
        let sim = Side { disk: &disk, root: Path::new("/top"), knot: &knot, is_real: false };
        for side in [&real, &sim] {
            side.disk.make_directory(side.root, 0o700).unwrap();
        }
        let xattr = Real.set(&root, Attribute::Xattr(b"user.probe", b"")).and_then(|()| {
            Real.set(&root, Attribute::NoXattr(b"user.probe"))
        });
        let as_root = rustix::process::geteuid().is_root();
        for (number, verb) in verbs.iter().enumerate() {
            if xattr.is_err() && matches!(verb, Verb::Xattr(..) | Verb::NoXattr(..)) {
                continue;
            }
            let (on_real, on_sim) = (real.carry_out(verb, as_root), sim.carry_out(verb, as_root));
            prop_assert_eq!(on_sim, on_real, "verb {}: {:?}", number, verb);
            prop_assert_eq!(sim.picture(), real.picture(), "after verb {}: {:?}", number, verb);
        }
        // What is cached is what the medium has with all that is pending.
        let all = disk.cut(&Choice::of(0..disk.pending_len()));
        prop_assert!(all.shows_same(&disk), "{}", disk.tell(&Choice::none()));
        for choice in disk.choices(Effort { all_of: 0, random: 20, torn: 1, seed: 1, ..Effort::default() }) {
            let after = disk.cut(&choice);
            prop_assert!(after.scan(Path::new("/")).is_ok(), "whatever is lost, a tree is left");
            prop_assert!(after.cut(&Choice::none()).shows_same(&after));
        }
    }
}

// ---- what was flushed stays, whatever else goes on

#[derive(Clone, Debug)]
enum Step {
    Move(usize, usize),
    Make(usize),
    Flush(usize),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Files and directories are moved about, and each file stays somewhere, once.
    #[test]
    fn nothing_is_lost_or_doubled_by_moves(
        moves in proptest::collection::vec(
            prop_oneof![
                4 => (0usize..20, 0usize..100).prop_map(|(what, to)| Step::Move(what, to)),
                1 => (0usize..100).prop_map(Step::Make),
                1 => (0usize..100).prop_map(Step::Flush),
            ],
            1..20,
        ),
        seed in any::<u64>(),
    ) {
        let disk = SimDisk::new();
        for dir in ["/a", "/b", "/b/c", "/d"] {
            disk.make_directory(Path::new(dir), 0o755).unwrap();
        }
        let files = ["/f", "/a/f", "/b/c/f"];
        files.iter().for_each(|file| drop(write(&disk, file, file.as_bytes())));
        disk.open(Path::new("/"), Access::Directory).unwrap().flush_filesystem().unwrap();
        for (number, step) in moves.iter().enumerate() {
            let paths = disk.paths();
            let directories = paths.iter().filter(|path| disk.look(path).unwrap().is_directory());
            let directories: Vec<_> = directories.collect();
            let directory = |at: usize| directories[at % directories.len()];
            let name = number.to_string();
            // A directory does not go into itself; then nothing happens.
            match step {
                Step::Move(what, to) => {
                    drop(disk.rename(&paths[what % paths.len()], &directory(*to).join(name)));
                }
                Step::Make(at) => disk.make_directory(&directory(*at).join(name), 0o755).unwrap(),
                Step::Flush(at) => disk.flush_directory(directory(*at)).unwrap(),
            }
        }
        for choice in disk.choices(Effort { all_of: 8, random: 50, torn: 0, seed, ..Effort::default() }) {
            let after = disk.cut(&choice);
            let mut left: Vec<Vec<u8>> = after.paths().iter().filter_map(|path| after.read(path).ok()).collect();
            left.sort();
            let mut all = files.map(|file| file.as_bytes().to_vec());
            all.sort();
            prop_assert_eq!(left, all, "{}", disk.tell(&choice));
        }
    }

    #[test]
    fn what_was_flushed_with_its_names_is_there_after_any_cut(
        before in proptest::collection::vec(verb(), 0..15),
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        after in proptest::collection::vec(verb(), 0..15),
        seed in any::<u64>(),
    ) {
        let disk = SimDisk::new();
        let root = Path::new("/top");
        disk.make_directory(root, 0o700).unwrap();
        let side = Side { disk: &disk, root, knot: root, is_real: false };
        before.iter().for_each(|verb| drop(side.carry_out(verb, true)));
        disk.make_directory(Path::new("/top/kept"), 0o700).unwrap();
        write(&disk, "/top/kept/f", &bytes).flush().unwrap();
        ["/top/kept", "/top", "/"].iter().for_each(|dir| flush_names(&disk, dir));
        after.iter().for_each(|verb| drop(side.carry_out(verb, true)));
        for choice in disk.choices(Effort { all_of: 6, random: 30, torn: 2, seed, ..Effort::default() }) {
            let left = read(&disk.cut(&choice), "/top/kept/f");
            prop_assert_eq!(left.ok(), Some(bytes.clone()), "{}", disk.tell(&choice));
        }
    }
}

#[test]
fn trees_are_described_as_on_the_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimDisk::new();
    let trees =
        [(&Real as &dyn Disk, dir.path().join("t")), (&disk, "/t".into())].map(|(disk, root)| -> Tree {
            disk.make_directory(&root, 0o755).unwrap();
            let file = disk.open(&root.join("b"), Access::New(0o640)).unwrap();
            file.set_len(1 << 20).unwrap();
            file.write_at(70_000, &[5; 9000]).unwrap();
            disk.make_hard_link(&root.join("b"), &root.join("a")).unwrap();
            disk.make_symlink(Path::new("b"), &root.join("l")).unwrap();
            let copy = disk.open(&root.join("c"), Access::New(0o600)).unwrap();
            copy.set_len(1 << 20).unwrap();
            copy.copy_from(&root.join("a"), 1 << 20).unwrap();
            let seen = disk.look(&root.join("c")).unwrap();
            assert!(seen.taken < 100_000 && seen.len == 1 << 20, "{seen:?}");
            for path in ["a", "c", "l", ""] {
                disk.set(&root.join(path), Attribute::Modified(-5, 6)).unwrap();
            }
            disk.scan(&root).unwrap()
        });
    assert_eq!(trees[0], trees[1]);
}
