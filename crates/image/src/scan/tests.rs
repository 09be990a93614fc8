//! Directories are made for real in a temporary place, scanned, and compared with what was made.

use super::*;
use crate::verity;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use tempfile::TempDir;

fn place() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn node(tree: &Tree, path: impl AsRef<[u8]>) -> &Node {
    let path = path.as_ref();
    &tree.get(path).unwrap_or_else(|| panic!("no {} in the tree", path.escape_ascii())).node
}

#[track_caller]
fn meta_of<'a>(tree: &'a Tree, path: &str) -> &'a Meta {
    match node(tree, path) {
        Node::Directory(meta) | Node::File(meta, _) | Node::Symlink(meta, _) => meta,
        Node::HardLink(to) => panic!("{path} is a hard link to {}", to.escape_ascii()),
    }
}

fn paths(tree: &Tree) -> Vec<&[u8]> {
    tree.entries().iter().map(|entry| entry.path.as_slice()).collect()
}

/// Sets the modification time of whatever is at `path`, a symbolic link included.
fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Scans the entries of a flat directory in the order given, as if it had been listed so.
fn scan_in_order(root: &Path, names: &[&str]) -> Tree {
    let known = &mut |_: &Path| None;
    let mut scan = Scan { root, known, entries: Vec::new(), first_names: HashMap::new() };
    let meta = fs::symlink_metadata(root).unwrap();
    let node = Node::Directory(read_meta(root, &meta).unwrap());
    scan.entries.push(Entry { path: vec![], node });
    for name in names {
        scan.entry(name.as_bytes().to_vec()).unwrap();
    }
    scan.resolve_hard_links();
    Tree::new(scan.entries).unwrap()
}

fn permutations<'a>(items: &[&'a str]) -> Vec<Vec<&'a str>> {
    if items.is_empty() {
        return vec![vec![]];
    }
    let with_first = |i: usize| {
        let mut rest = items.to_vec();
        let first = rest.remove(i);
        permutations(&rest).into_iter().map(move |tail| [vec![first], tail].concat())
    };
    (0..items.len()).flat_map(with_first).collect()
}

// ---- what is kept

#[test]
fn an_empty_directory_is_a_tree_with_a_root() {
    let dir = place();
    assert_eq!(paths(&scan(dir.path()).unwrap()), [b""]);
}

#[test]
fn empty_directories_and_empty_files_are_kept() {
    let dir = place();
    fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
    fs::write(dir.path().join("a/zero"), b"").unwrap();
    let tree = scan(dir.path()).unwrap();
    assert_eq!(paths(&tree), [b"".as_slice(), b"a", b"a/b", b"a/b/c", b"a/zero"]);
    assert!(matches!(node(&tree, "a/b/c"), Node::Directory(_)));
    let zero = FileRef { size: 0, digest: verity::digest(b"") };
    assert!(matches!(node(&tree, "a/zero"), Node::File(_, content) if *content == zero));
}

#[test]
fn files_have_their_length_and_fsverity_digest() {
    let dir = place();
    let bytes = vec![7u8; 100_000];
    fs::write(dir.path().join("f"), &bytes).unwrap();
    let tree = scan(dir.path()).unwrap();
    let expected = FileRef { size: 100_000, digest: verity::digest(&bytes) };
    assert_eq!(tree.files().collect::<Vec<_>>(), [(b"f".as_slice(), expected)]);
    assert_ne!(expected.digest, Digest::of(&bytes));
}

#[test]
fn names_are_bytes_and_need_not_be_text() {
    let dir = place();
    let names: [&[u8]; 6] = [b"\xff\xfe", b"new\nline", b"\x1b[2J", b" ", b"...", "\u{e4}".as_bytes()];
    for name in names {
        fs::write(dir.path().join(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::create_dir(dir.path().join(OsStr::from_bytes(b"\x80dir"))).unwrap();
    fs::write(dir.path().join(OsStr::from_bytes(b"\x80dir/\x81")), b"in").unwrap();
    let tree = scan(dir.path()).unwrap();
    for name in names {
        assert!(
            matches!(node(&tree, name), Node::File(_, content) if content.digest == verity::digest(name))
        );
    }
    assert!(matches!(node(&tree, b"\x80dir/\x81"), Node::File(..)));
    assert_eq!(Tree::decode(&tree.encode()).unwrap(), tree);
}

#[test]
fn symbolic_links_are_kept_as_they_are_and_never_followed() {
    let dir = place();
    fs::create_dir(dir.path().join("real")).unwrap();
    fs::write(dir.path().join("real/f"), b"x").unwrap();
    let targets = ["real", "real/f", "absent", "/etc/passwd", "../..", ".", "loop"];
    for (i, target) in targets.iter().enumerate() {
        let name = if *target == "loop" { "loop".to_owned() } else { format!("link{i}") };
        symlink(target, dir.path().join(name)).unwrap();
    }
    let tree = scan(dir.path()).unwrap();
    for (i, target) in targets.iter().enumerate() {
        let name = if *target == "loop" { "loop".to_owned() } else { format!("link{i}") };
        assert!(matches!(node(&tree, &name), Node::Symlink(_, to) if to == target.as_bytes()), "{name}");
        assert_eq!(meta_of(&tree, &name).mode, 0o777, "{name}: not the system's own idea of it");
    }
    assert_eq!(tree.entries().len(), 1 + 2 + targets.len(), "nothing behind a link is listed");
    assert_eq!(tree.files().count(), 1);
}

#[test]
fn modes_are_kept_with_their_special_bits() {
    let dir = place();
    for mode in [0o000, 0o400, 0o644, 0o755, 0o4755, 0o2755, 0o6711, 0o1644, 0o7777] {
        let path = dir.path().join(format!("f{mode:o}"));
        fs::write(&path, b"x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        if fs::File::open(&path).is_err() {
            fs::remove_file(&path).unwrap(); // without root a file of mode 0 cannot be read
        }
    }
    fs::create_dir(dir.path().join("sticky")).unwrap();
    fs::set_permissions(dir.path().join("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
    let tree = scan(dir.path()).unwrap();
    for (path, _) in tree.files() {
        let path = std::str::from_utf8(path).unwrap();
        assert_eq!(format!("f{:o}", meta_of(&tree, path).mode), path);
    }
    assert_eq!(meta_of(&tree, "sticky").mode, 0o1777);
    assert!(tree.files().count() >= 8);
}

#[test]
fn times_are_kept_to_the_nanosecond() {
    let dir = place();
    fs::write(dir.path().join("f"), b"x").unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    symlink("f", dir.path().join("l")).unwrap();
    for (seconds, nanoseconds) in [(1_700_000_000, 123_456_789), (0, 0), (1, 999_999_999), (-1, 500_000_000)]
    {
        for name in ["f", "d", "l", "."] {
            set_mtime(&dir.path().join(name), seconds, nanoseconds);
        }
        let tree = scan(dir.path()).unwrap();
        for path in ["f", "d", "l", ""] {
            let meta = meta_of(&tree, path);
            let time = (meta.seconds, i64::from(meta.nanoseconds));
            assert_eq!(time, (seconds, nanoseconds), "{path:?}");
        }
    }
}

#[test]
fn owners_are_kept() {
    let dir = place();
    let path = dir.path().join("f");
    fs::write(&path, b"x").unwrap();
    if std::os::unix::fs::chown(&path, Some(12345), Some(70000)).is_err() {
        return eprintln!("skipped: only root gives files away");
    }
    let tree = scan(dir.path()).unwrap();
    assert_eq!((meta_of(&tree, "f").uid, meta_of(&tree, "f").gid), (12345, 70000));
}

#[test]
fn extended_attributes_are_kept() {
    let dir = place();
    fs::write(dir.path().join("f"), b"x").unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    let set = |name: &str, key: &str, value: &[u8]| {
        rustix::fs::lsetxattr(dir.path().join(name), key, value, XattrFlags::empty())
    };
    if set("f", "user.empty", b"").is_err() {
        return eprintln!("skipped: no user attributes on this filesystem");
    }
    set("f", "user.bytes", b"\0\xff\n").unwrap();
    set("d", "user.on-directory", b"d").unwrap();
    let tree = scan(dir.path()).unwrap();
    let xattrs = &meta_of(&tree, "f").xattrs;
    assert_eq!(xattrs.get(b"user.empty".as_slice()), Some(&vec![]));
    assert_eq!(xattrs.get(b"user.bytes".as_slice()), Some(&b"\0\xff\n".to_vec()));
    assert_eq!(meta_of(&tree, "d").xattrs.get(b"user.on-directory".as_slice()), Some(&b"d".to_vec()));
    assert!(!meta_of(&tree, "").xattrs.contains_key(b"user.on-directory".as_slice()));
}

#[test]
fn a_long_value_and_a_long_list_of_extended_attributes_are_kept_whole() {
    let dir = place();
    fs::write(dir.path().join("f"), b"x").unwrap();
    let set = |key: &str, value: &[u8]| {
        rustix::fs::lsetxattr(dir.path().join("f"), key, value, XattrFlags::empty())
    };
    let value = vec![b'v'; 1500];
    let keys: Vec<String> = (0..30).map(|i| format!("user.{i:02}-{}", "n".repeat(40))).collect();
    if set("user.long", &value).is_err() || keys.iter().any(|key| set(key, b"").is_err()) {
        return eprintln!("skipped: this filesystem has no room for that many attributes");
    }
    let tree = scan(dir.path()).unwrap();
    let xattrs = &meta_of(&tree, "f").xattrs;
    assert_eq!(xattrs.get(b"user.long".as_slice()), Some(&value));
    assert!(keys.iter().all(|key| xattrs.contains_key(key.as_bytes())));
}

#[test]
fn holes_read_as_zeros() {
    let dir = place();
    fs::File::create(dir.path().join("sparse")).unwrap().set_len(3 << 20).unwrap();
    fs::write(dir.path().join("full"), vec![0u8; 3 << 20]).unwrap();
    let tree = scan(dir.path()).unwrap();
    assert_eq!(tree.contents().len(), 1);
}

// ---- hard links

#[test]
fn the_smallest_name_of_a_file_is_the_file_in_any_listing_order() {
    let dir = place();
    let names = ["a", "b", "c", "d", "e"];
    fs::write(dir.path().join("c"), b"linked").unwrap();
    for other in ["e", "b", "d"] {
        fs::hard_link(dir.path().join("c"), dir.path().join(other)).unwrap();
    }
    fs::write(dir.path().join("a"), b"alone").unwrap();
    let tree = scan(dir.path()).unwrap();
    assert!(matches!(node(&tree, "a"), Node::File(..)));
    assert!(matches!(node(&tree, "b"), Node::File(..)));
    for name in ["c", "d", "e"] {
        assert_eq!(node(&tree, name), &Node::HardLink(b"b".to_vec()));
    }
    for order in permutations(&names) {
        assert_eq!(scan_in_order(dir.path(), &order), tree, "{order:?}");
    }
}

#[test]
fn the_smallest_path_counts_not_the_smallest_name() {
    let dir = place();
    for sub in ["x", "x.d", "y"] {
        fs::create_dir(dir.path().join(sub)).unwrap();
    }
    fs::write(dir.path().join("y/a"), b"linked").unwrap();
    fs::hard_link(dir.path().join("y/a"), dir.path().join("x/z")).unwrap();
    fs::hard_link(dir.path().join("y/a"), dir.path().join("x.d/a")).unwrap();
    // '.' sorts before '/'
    let tree = scan(dir.path()).unwrap();
    assert!(matches!(node(&tree, "x.d/a"), Node::File(..)));
    assert_eq!(node(&tree, "x/z"), &Node::HardLink(b"x.d/a".to_vec()));
    assert_eq!(node(&tree, "y/a"), &Node::HardLink(b"x.d/a".to_vec()));
}

#[test]
fn a_link_from_outside_the_tree_does_not_count() {
    let dir = place();
    fs::create_dir(dir.path().join("tree")).unwrap();
    fs::write(dir.path().join("outside"), b"x").unwrap();
    fs::hard_link(dir.path().join("outside"), dir.path().join("tree/inside")).unwrap();
    let tree = scan(&dir.path().join("tree")).unwrap();
    assert!(matches!(node(&tree, "inside"), Node::File(..)));
}

#[test]
fn equal_files_are_not_hard_links() {
    let dir = place();
    fs::write(dir.path().join("a"), b"same").unwrap();
    fs::write(dir.path().join("b"), b"same").unwrap();
    let tree = scan(dir.path()).unwrap();
    assert_eq!((tree.files().count(), tree.contents().len()), (2, 1));
}

// ---- order

#[test]
fn the_order_in_which_a_directory_was_filled_does_not_matter() {
    let names = ["b", "a", "c", "0", "Z", "a.b", "a-"];
    let made = |order: &[&str]| {
        let dir = place();
        for name in order {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("f"), name).unwrap();
            fs::write(dir.path().join(format!("{name}.txt")), name).unwrap();
        }
        for name in order {
            for path in [format!("{name}/f"), (*name).to_owned(), format!("{name}.txt")] {
                set_mtime(&dir.path().join(path), 1_000_000, 0);
            }
        }
        set_mtime(dir.path(), 1_000_000, 0);
        scan(dir.path()).unwrap()
    };
    let forwards = made(&names);
    let mut reversed = names;
    reversed.reverse();
    assert_eq!(forwards, made(&reversed));
    assert_eq!(forwards.digest(), made(&reversed).digest());
    assert!(paths(&forwards).is_sorted());
}

#[test]
fn a_file_whose_digest_is_known_is_not_read() {
    let dir = place();
    fs::write(dir.path().join("a"), b"is what it says").unwrap();
    fs::write(dir.path().join("b"), b"is believed").unwrap();
    fs::hard_link(dir.path().join("b"), dir.path().join("c")).unwrap();
    let (mut asked, told) = (0, verity::digest(b"what the kernel says"));
    let tree = scan_with(dir.path(), &mut |path| {
        asked += 1;
        (!path.ends_with("a")).then_some(told)
    });
    let tree = tree.unwrap();
    let contents: Vec<_> = tree.files().map(|(_, file)| (file.size, file.digest)).collect();
    assert_eq!(contents, [(15, verity::digest(b"is what it says")), (11, told)]);
    assert_eq!((asked, node(&tree, "c")), (2, &Node::HardLink(b"b".to_vec())));
}

// ---- what is refused

/// The scan names the path and what is there.
#[track_caller]
fn refused(root: &Path, path: &Path, what: &str) {
    let error = scan(root).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { path: at, .. } if at == path), "{error}");
    let message = error.to_string();
    assert!(message.contains(&format!("{} is a {what}", path.display())), "{message}");
}

#[test]
fn a_socket_is_refused_by_name() {
    let dir = place();
    fs::create_dir(dir.path().join("run")).unwrap();
    let path = dir.path().join("run/my.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    refused(dir.path(), &path, "socket");
}

#[test]
fn a_named_pipe_is_refused_by_name_and_not_opened() {
    let dir = place();
    let path = dir.path().join("my.fifo");
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from(0o644), 0).unwrap();
    refused(dir.path(), &path, "named pipe");
}

#[test]
fn a_device_is_refused_by_name() {
    let dir = place();
    let path = dir.path().join("null");
    if rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, Mode::from(0o644), 0x103).is_err() {
        return eprintln!("skipped: only root makes devices");
    }
    refused(dir.path(), &path, "character device");
}

#[test]
fn only_a_directory_can_be_scanned() {
    let dir = place();
    let file = dir.path().join("f");
    fs::write(&file, b"x").unwrap();
    let link = dir.path().join("l");
    symlink(".", &link).unwrap();
    for path in [&file, &link, &dir.path().join("absent")] {
        let error = scan(path).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}
