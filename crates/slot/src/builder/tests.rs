use super::*;
use crate::Kind;
use proptest::prelude::*;
use rustix::fs::XattrFlags;
use siding_image::{Tree, scan, verity};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn set_time(path: &Path, seconds: i64, nanoseconds: u32) {
    Real.set(path, crate::disk::Attribute::Modified(seconds, nanoseconds)).unwrap();
}

fn odd(name: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(name))
}

/// A tree with everything that trees can have.
fn odd_tree(root: &Path) {
    fs::create_dir(root).unwrap();
    let at = |name: &[u8]| root.join(odd(name));
    for name in [&b"-rf"[..], b" ", b"a\nb", b"\xff\xfe", b"...", "ü".as_bytes(), &[b'n'; 255]] {
        fs::write(at(name), name).unwrap();
    }
    fs::create_dir_all(at(b"empty/directory")).unwrap();
    fs::write(at(b"empty file"), b"").unwrap();
    fs::create_dir_all(at(&b"deep/".repeat(60))).unwrap();
    fs::write(at(&[&b"deep/".repeat(60)[..], b"file"].concat()), b"deep").unwrap();
    symlink("nowhere", at(b"dangling")).unwrap();
    symlink("/etc/passwd", at(b"absolute")).unwrap();
    symlink("../../..", at(b"up")).unwrap();
    symlink(odd(b"\xff"), at(b"odd target")).unwrap();
    set_time(&at(b"dangling"), 86_400, 5);
    fs::write(at(b"z first name"), b"linked").unwrap();
    fs::create_dir(at(b"links")).unwrap();
    fs::hard_link(at(b"z first name"), at(b"links/a")).unwrap();
    fs::hard_link(at(b"z first name"), at(b"links/b")).unwrap();
    fs::write(at(b"same 1"), b"the same").unwrap();
    fs::write(at(b"same 2"), b"the same").unwrap();
    fs::write(at(b"setuid"), b"#!").unwrap();
    set_mode(&at(b"setuid"), 0o4755);
    fs::create_dir(at(b"sticky")).unwrap();
    set_mode(&at(b"sticky"), 0o3777);
    fs::write(at(b"before 1970"), b"").unwrap();
    set_time(&at(b"before 1970"), -1_000_000_000, 123_456_789);
    fs::create_dir(at(b"closed")).unwrap();
    fs::write(at(b"closed/in"), b"in").unwrap();
    set_mode(&at(b"closed/in"), 0o400);
    if is_root() {
        fs::write(at(b"no mode"), b"secret").unwrap();
        set_mode(&at(b"no mode"), 0);
        std::os::unix::fs::lchown(at(b"no mode"), Some(12), Some(34)).unwrap();
        std::os::unix::fs::lchown(at(b"dangling"), Some(56), Some(78)).unwrap();
    }
    // Not every filesystem has these; where it has not, the rest is still tested.
    for (name, value) in [(b"same 1", &b"value\0\xff"[..]), (b"closed", b"")] as [(&[u8], &[u8]); 2] {
        let _ = rustix::fs::lsetxattr(at(name), "user.siding", value, XattrFlags::empty());
    }
    let sparse = fs::File::create(at(b"sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"x", 40 << 20).unwrap();
    set_time(&at(b"empty/directory"), 1, 0);
    set_mode(&at(b"closed"), 0o500);
    set_time(root, 1_000_000_000, 1);
    set_mode(root, 0o751);
}

/// Builds `target` with the contents at `fresh_every` written and the others taken from `source`.
fn build(out: &Path, target: &Image, source: Option<&Image>, fresh_every: usize) -> Result<Identity> {
    let fresh: Vec<&siding_image::Blob> = target
        .blobs()
        .iter()
        .enumerate()
        .filter(|(i, _)| i % fresh_every == 0)
        .map(|(_, blob)| blob)
        .collect();
    let contents: Vec<FileRef> = fresh.iter().map(|blob| blob.content).collect();
    let mut builder = Builder::create(out)?;
    builder.begin(target.content(), &contents).map_err(|e| Error::io("begin", out, e))?;
    for (number, blob) in fresh.iter().enumerate() {
        let mut offset = 0;
        for piece in blob.bytes().unwrap().chunks(1 << 20) {
            builder.write_at(number, offset, piece).map_err(|e| Error::io("write", out, e))?;
            let mut back = vec![1; piece.len()];
            builder.read_at(number, offset, &mut back).unwrap();
            assert!(back == piece);
            offset += piece.len() as u64;
        }
    }
    builder.finish(source)
}

#[test]
fn a_tree_with_everything_is_rebuilt_from_writes_from_a_source_and_from_both() {
    let dir = tempfile::tempdir().unwrap();
    odd_tree(&dir.path().join("in"));
    let image = Image::open(&dir.path().join("in")).unwrap();
    for fresh_every in [1, 2, usize::MAX] {
        let out = dir.path().join(format!("out {fresh_every}"));
        let source = (fresh_every != 1).then_some(&image);
        assert_eq!(build(&out, &image, source, fresh_every).unwrap(), image.identity());
        assert_eq!(&scan(&out).unwrap(), image.tree().unwrap());
        let sparse = fs::metadata(out.join("sparse")).unwrap();
        assert_eq!(sparse.len(), 64 << 20);
        assert!(sparse.blocks() * 512 < 1 << 20, "{} blocks", sparse.blocks());
        Real.remove_tree(&out).unwrap();
        assert!(!out.exists());
    }
}

#[test]
fn nothing_is_shared_with_the_source() {
    let dir = tempfile::tempdir().unwrap();
    odd_tree(&dir.path().join("in"));
    let image = Image::open(&dir.path().join("in")).unwrap();
    let out = dir.path().join("out");
    build(&out, &image, Some(&image), usize::MAX).unwrap();
    let (old, new) = (dir.path().join("in/same 2"), out.join("same 2"));
    assert_ne!(fs::metadata(&old).unwrap().ino(), fs::metadata(&new).unwrap().ino());
    fs::write(&new, b"written").unwrap();
    assert_eq!(fs::read(&old).unwrap(), b"the same");
}

#[test]
fn files_of_awkward_sizes_are_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    for size in [0, 1, 4095, 4096, 4097, (1 << 20) + 1, 3 << 20] {
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        fs::write(&old, (0..size).map(|i| (i / 5000 % 3) as u8).collect::<Vec<_>>()).unwrap();
        set_mode(&old, 0o755);
        let image = Image::open(&old).unwrap();
        for (fresh_every, source) in [(1, None), (usize::MAX, Some(&image))] {
            // With every blob from the source there is no first one to write.
            let fresh: Vec<FileRef> = source.map_or_else(|| vec![image.blobs()[0].content], |_| vec![]);
            let mut builder = Builder::create(&new).unwrap();
            builder.begin(image.content(), &fresh).unwrap();
            if fresh_every == 1 {
                builder.write_at(0, 0, image.blobs()[0].bytes().unwrap()).unwrap();
            }
            assert_eq!(builder.finish(source).unwrap(), image.identity());
            assert!(fs::read(&old).unwrap() == fs::read(&new).unwrap());
            fs::remove_file(&new).unwrap();
        }
    }
}

#[test]
fn a_file_larger_than_four_gibibytes_takes_no_space_for_its_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let size = (4 << 30) + 12_345_u64;
    let file = fs::File::create(&old).unwrap();
    file.set_len(size).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", size - 3).unwrap();
    // Its digest without reading four gibibytes: all blocks but the last are alike.
    let mut last = vec![0; usize::try_from(size % 4096).unwrap()];
    let at = last.len() - 3;
    last[at..].copy_from_slice(b"end");
    let mut merkle = verity::Merkle::new();
    let zero = verity::leaves(&[0; 4096])[0];
    (0..size / 4096).for_each(|_| merkle.push(&[zero]));
    merkle.push(&verity::leaves(&last));
    let content = Content::File(FileRef { size, digest: merkle.finish(size) });
    let image = Image::assume(&old, content);
    let mut builder = Builder::create(&new).unwrap();
    builder.begin(image.content(), &[]).unwrap();
    builder.finish(Some(&image)).unwrap();
    let meta = fs::metadata(&new).unwrap();
    assert!(meta.len() == size && meta.blocks() * 512 < 1 << 20);
}

#[test]
fn wrong_bytes_are_seen_when_read_back() {
    let dir = tempfile::tempdir().unwrap();
    odd_tree(&dir.path().join("in"));
    let image = Image::open(&dir.path().join("in")).unwrap();
    let fresh: Vec<FileRef> = image.blobs().iter().map(|blob| blob.content).collect();
    let mut builder = Builder::create(&dir.path().join("out")).unwrap();
    builder.begin(image.content(), &fresh).unwrap();
    builder.write_at(0, 0, b"?").unwrap();
    let error = builder.finish(None).unwrap_err();
    assert!(matches!(&error, Error::NotAsWritten { what: "content", .. }), "{error}");
    assert_eq!(error.kind(), Kind::Corrupt);

    let file = dir.path().join("file");
    let mut builder = Builder::create(&file).unwrap();
    let content = FileRef { size: 3, digest: verity::digest(b"abc") };
    builder.begin(&Content::File(content), &[content]).unwrap();
    builder.write_at(0, 0, b"abd").unwrap();
    assert!(builder.finish(None).unwrap_err().to_string().contains("file has changed"));
}

#[test]
fn a_source_that_changed_since_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("in")).unwrap();
    fs::write(dir.path().join("in/f"), b"old").unwrap();
    let image = Image::open(&dir.path().join("in")).unwrap();
    fs::write(dir.path().join("in/f"), b"new").unwrap();
    let error = build(&dir.path().join("out"), &image, Some(&image), usize::MAX);
    assert!(error.is_ok() || matches!(error, Err(Error::NotAsWritten { .. })));
    let mut builder = Builder::create(&dir.path().join("out 2")).unwrap();
    builder.begin(image.content(), &[]).unwrap();
    assert!(matches!(builder.finish(Some(&image)), Err(Error::NotAsWritten { what: "content", .. })));
}

#[test]
fn what_is_there_is_never_touched_or_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link, file) = (dir.path().join("target"), dir.path().join("link"), dir.path().join("file"));
    fs::create_dir(&target).unwrap();
    symlink(&target, &link).unwrap();
    fs::write(&file, b"mine").unwrap();
    for there in [&target, &link, &file] {
        assert!(Builder::create(there).is_err());
    }
    // Planted between `create` and `begin`.
    let late = dir.path().join("late");
    let mut builder = Builder::create(&late).unwrap();
    symlink(&file, &late).unwrap();
    let content = FileRef { size: 3, digest: verity::digest(b"abc") };
    assert!(builder.begin(&Content::File(content), &[content]).is_err());
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

/// A loop device over a file, where the machine lets tests have one.
struct Loop(String);

impl Loop {
    fn over(file: &Path) -> Option<Self> {
        let output =
            std::process::Command::new("losetup").args(["--find", "--show"]).arg(file).output().ok()?;
        output.status.success().then(|| Self(String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn a_block_device_is_written_in_place_with_its_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let backing = dir.path().join("backing");
    fs::write(&backing, vec![0xff; 1 << 20]).unwrap();
    let Some(device) = Loop::over(&backing) else {
        println!("skipped: no loop device to be had");
        return;
    };
    let out = Path::new(&device.0);
    let mut bytes = vec![7; 300_000];
    bytes[8192..200_000].fill(0);
    let content = FileRef { size: 300_000, digest: verity::digest(&bytes) };
    let mut builder = Builder::create(out).unwrap();
    builder.begin(&Content::File(content), &[content]).unwrap();
    builder.write_at(0, 0, &bytes).unwrap();
    builder.finish(None).unwrap();
    assert!(fs::read(out).unwrap()[..300_000] == bytes);

    let old = dir.path().join("old");
    bytes[5] = 5;
    fs::write(&old, &bytes).unwrap();
    let image = Image::open(&old).unwrap();
    let mut builder = Builder::create(out).unwrap();
    builder.begin(image.content(), &[]).unwrap();
    builder.finish(Some(&image)).unwrap();
    assert!(fs::read(out).unwrap()[..300_000] == bytes);

    let big = FileRef { size: 2 << 20, ..content };
    let error = Builder::create(out).unwrap().begin(&Content::File(big), &[big]).unwrap_err();
    assert!(error.to_string().contains("use a larger one"), "{error}");
}

#[test]
fn misuse_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let builder = || Builder::create(&dir.path().join("out")).unwrap();
    let content = FileRef { size: 3, digest: verity::digest(b"abc") };
    let other = FileRef { size: 4, digest: verity::digest(b"abcd") };
    assert!(matches!(builder().finish(None), Err(Error::Misused { .. })));
    assert!(builder().write_at(0, 0, b"a").is_err());
    assert!(builder().begin(&Content::File(content), &[other]).is_err());
    let mut begun = builder();
    begun.begin(&Content::File(content), &[content]).unwrap();
    assert!(begun.begin(&Content::File(content), &[content]).is_err());
    assert!(begun.write_at(1, 0, b"a").is_err());
    assert!(begun.write_at(0, 2, b"ab").is_err());
    assert!(begun.write_at(0, u64::MAX, b"ab").is_err());
    fs::remove_file(dir.path().join("out")).unwrap();
    let mut sourceless = builder();
    sourceless.begin(&Content::File(content), &[]).unwrap();
    assert!(matches!(sourceless.finish(None), Err(Error::NoContent { .. })));
}

#[test]
fn an_inherited_access_control_list_is_taken_away() {
    // A default list, as setfacl -d -m u::rwx,g::rwx,o::rwx,u:1:rwx,m::rwx writes it.
    let entry = |tag: u16, id: u32| [&tag.to_le_bytes()[..], &7u16.to_le_bytes(), &id.to_le_bytes()].concat();
    let nobody = u32::MAX;
    let entries = [entry(1, nobody), entry(2, 1), entry(4, nobody), entry(16, nobody), entry(32, nobody)];
    let acl = [&2u32.to_le_bytes()[..], &entries.concat()].concat();
    let dir = tempfile::tempdir().unwrap();
    odd_tree(&dir.path().join("in"));
    let image = Image::open(&dir.path().join("in")).unwrap();
    let inherits = dir.path().join("inherits");
    fs::create_dir(&inherits).unwrap();
    let _ = rustix::fs::lsetxattr(&inherits, "system.posix_acl_default", &acl, XattrFlags::empty());
    build(&inherits.join("out"), &image, None, 1).unwrap();
}

#[test]
fn each_difference_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("t");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("f"), b"1").unwrap();
    symlink("to", root.join("l")).unwrap();
    let before = scan(&root).unwrap();
    let changed = |change: &dyn Fn()| -> &'static str {
        change();
        match compare::compare(&root, &before, &scan(&root).unwrap(), true) {
            Err(Error::NotAsWritten { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    };
    let meta = fs::symlink_metadata(root.join("f")).unwrap();
    let restore_time = || set_time(&root.join("f"), meta.mtime(), u32::try_from(meta.mtime_nsec()).unwrap());
    assert_eq!(changed(&|| set_mode(&root.join("f"), 0o600 ^ 0o644 ^ 0o777)), "mode");
    set_mode(&root.join("f"), meta.mode() & 0o7777);
    assert_eq!(changed(&|| set_time(&root.join("f"), 5, 5)), "modification time");
    assert_eq!(changed(&|| fs::write(root.join("f"), b"2").unwrap()), "content");
    fs::write(root.join("f"), b"1").unwrap();
    restore_time();
    compare::compare(&root, &before, &scan(&root).unwrap(), true).unwrap();
    let tree = |path: &Path| -> Tree { scan(path).unwrap() };
    let bigger = dir.path().join("bigger");
    build(&bigger, &Image::open(&root).unwrap(), None, 1).unwrap();
    let got = tree(&bigger);
    fs::write(bigger.join("more"), b"").unwrap();
    let root_time = fs::metadata(&root).unwrap();
    set_time(&bigger, root_time.mtime(), u32::try_from(root_time.mtime_nsec()).unwrap());
    for (a, b) in [(&got, &tree(&bigger)), (&tree(&bigger), &got)] {
        assert!(matches!(
            compare::compare(&root, a, b, true),
            Err(Error::NotAsWritten { what: "presence", .. })
        ));
    }
}

/// One entry of a random tree: where, what, which content.
fn entries() -> impl Strategy<Value = Vec<(Vec<u8>, u8, u8, u16, i64)>> {
    let name = proptest::collection::vec(prop_oneof![1u8..=46, 48u8..=255], 1..6);
    let entry = (name, 0u8..5, 0u8..4, 0u16..0o1000, -10_000_000_000i64..10_000_000_000);
    proptest::collection::vec(entry, 0..14)
}

fn random_tree(root: &Path, entries: &[(Vec<u8>, u8, u8, u16, i64)]) {
    fs::create_dir(root).unwrap();
    let mut dirs = vec![root.to_owned()];
    let mut files: Vec<PathBuf> = vec![];
    for (name, kind, content, mode, time) in entries {
        let path = dirs[usize::from(*content) % dirs.len()].join(odd(name));
        if name == b"." || name == b".." || fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        let body = vec![*content; usize::from(*content) * 3000];
        match (kind, files.last()) {
            (0, _) => dirs.push({
                fs::create_dir(&path).unwrap();
                path.clone()
            }),
            (1, _) => symlink(odd(name), &path).unwrap(),
            (2, Some(first)) => fs::hard_link(first, &path).unwrap(),
            _ => {
                fs::write(&path, body).unwrap();
                set_mode(&path, u32::from(*mode) | 0o400);
                files.push(path.clone());
            }
        }
        set_time(&path, *time, 7);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_built_from_a_scan_scans_the_same(entries in entries(), fresh_every in 1usize..4) {
        let dir = tempfile::tempdir().unwrap();
        random_tree(&dir.path().join("in"), &entries);
        let image = Image::open(&dir.path().join("in")).unwrap();
        let out = dir.path().join("out");
        build(&out, &image, Some(&image), fresh_every).unwrap();
        prop_assert_eq!(&scan(&out).unwrap(), image.tree().unwrap());
    }
}

#[test]
fn what_is_discarded_may_have_forbidden_it() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
    std::fs::write(&outside, b"stays").unwrap();
    std::fs::create_dir_all(tree.join("closed/deeper")).unwrap();
    std::fs::write(tree.join("closed/deeper/file"), b"goes").unwrap();
    std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
    for closed in ["closed/deeper", "closed"] {
        crate::disk::Real.set(&tree.join(closed), crate::disk::Attribute::Mode(0o500)).unwrap();
    }
    crate::discard(&tree).unwrap();
    crate::discard(&tree).unwrap();
    assert!(!tree.exists() && outside.exists());
}
