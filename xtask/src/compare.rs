//! Whether two images are the same, told without any code of the product.

use crate::{Result, measure};
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Fails, naming the first difference, unless `got` is `expected`: byte for byte, and for trees in every
/// path's type, mode, owner, modification time, link target and hard links as well.
pub(crate) fn same(expected: &Path, got: &Path) -> Result<()> {
    if !expected.is_dir() {
        return same_bytes(expected, got);
    }
    let diff = &mut Command::new("diff");
    measure::run(diff.args(["-r", "--no-dereference"]).args([expected, got]), None)?;
    let (expected, got) = (list(expected)?, list(got)?);
    for (path, wanted) in &expected {
        match got.get(path) {
            Some(found) if found == wanted => {}
            Some(found) => {
                return Err(format!("{} differs: expected {wanted:?}, got {found:?}", path.display()));
            }
            None => return Err(format!("{} is missing", path.display())),
        }
    }
    match got.keys().find(|path| !expected.contains_key(*path)) {
        Some(path) => Err(format!("{} should not be there", path.display())),
        None => Ok(()),
    }
}

/// The bytes of a file, or of all regular files of a tree, each counted once; with `round`, in whole pages.
pub(crate) fn size(image: &Path, round: u64) -> Result<u64> {
    let one = |meta: &Metadata| meta.len().next_multiple_of(round);
    if !image.is_dir() {
        return Ok(one(&metadata(image)?));
    }
    let files: BTreeMap<(u64, u64), u64> = walk(image)?
        .iter()
        .filter(|(_, meta)| meta.is_file())
        .map(|(_, meta)| ((meta.dev(), meta.ino()), one(meta)))
        .collect();
    Ok(files.values().sum())
}

/// Whether `image` is a tree in which ELF programs have at least half of the bytes.
pub(crate) fn is_elf_tree(image: &Path) -> Result<bool> {
    if !image.is_dir() {
        return Ok(false);
    }
    let (mut elf, mut all) = (0, 0);
    for (path, meta) in walk(image)?.iter().filter(|(_, meta)| meta.is_file()) {
        let mut magic = Vec::new();
        let read = File::open(path).and_then(|file| file.take(4).read_to_end(&mut magic));
        read.map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        all += meta.len();
        elf += if magic == b"\x7fELF" { meta.len() } else { 0 };
    }
    Ok(elf > 0 && elf * 2 >= all)
}

/// What is compared of a path, beside its content.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    /// Type and permissions.
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    /// 0 for directories, whose size is the filesystem's business.
    size: u64,
    target: Option<PathBuf>,
    /// The smallest path of the same file.
    first_name: PathBuf,
}

fn list(root: &Path) -> Result<BTreeMap<PathBuf, Facts>> {
    let mut first_names: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    let mut out = BTreeMap::new();
    let mut all = walk(root)?;
    all.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, meta) in all {
        let relative = path.strip_prefix(root).unwrap_or(&path).to_owned();
        let first_name = first_names.entry((meta.dev(), meta.ino())).or_insert_with(|| relative.clone());
        let facts = Facts {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            size: if meta.is_dir() { 0 } else { meta.len() },
            target: meta.is_symlink().then(|| fs::read_link(&path).unwrap_or_default()),
            first_name: first_name.clone(),
        };
        out.insert(relative, facts);
    }
    Ok(out)
}

/// Every path at and below `root`, following nothing.
fn walk(root: &Path) -> Result<Vec<(PathBuf, Metadata)>> {
    let mut out = vec![(root.to_owned(), metadata(root)?)];
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        let list = |e: std::io::Error| format!("cannot list {}: {e}", directory.display());
        for item in fs::read_dir(&directory).map_err(list)? {
            let path = item.map_err(list)?.path();
            let meta = metadata(&path)?;
            if meta.is_dir() {
                waiting.push(path.clone());
            }
            out.push((path, meta));
        }
    }
    Ok(out)
}

fn metadata(path: &Path) -> Result<Metadata> {
    fs::symlink_metadata(path).map_err(|e| format!("cannot read the metadata of {}: {e}", path.display()))
}

fn same_bytes(expected: &Path, got: &Path) -> Result<()> {
    let differ = |why: &dyn std::fmt::Display| {
        Err(format!("{} and {} differ: {why}", expected.display(), got.display()))
    };
    let open = |path: &Path| File::open(path).map_err(|e| format!("cannot open {}: {e}", path.display()));
    let (mut a, mut b) = (open(expected)?, open(got)?);
    let mut at = 0usize;
    loop {
        let (left, right) = match (block(&mut a), block(&mut b)) {
            (Ok(left), Ok(right)) => (left, right),
            (Err(error), _) | (_, Err(error)) => return differ(&error),
        };
        if left != right {
            let equal = left.iter().zip(&right).take_while(|(l, r)| l == r).count();
            return differ(&format!("first at byte {}", at + equal));
        }
        if left.is_empty() {
            return Ok(());
        }
        at += left.len();
    }
}

fn block(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    file.take(1 << 20).read_to_end(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    /// A small tree whose every time is fixed, bent by `bend` before the times are set.
    fn tree(bend: &dyn Fn(&Path)) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), b"bytes").unwrap();
        fs::hard_link(root.join("d/f"), root.join("g")).unwrap();
        bend(root);
        for path in ["d/f", "g", "d", ""] {
            let file = File::open(root.join(path)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        }
        dir
    }

    #[test]
    fn files_are_compared_to_the_last_byte() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            fs::write(dir.path().join(name), bytes).unwrap();
            dir.path().join(name)
        };
        let big = vec![1u8; (2 << 20) + 5];
        let mut bent = big.clone();
        bent[(2 << 20) + 4] = 2;
        assert_eq!(same(&write("a", &big), &write("b", &big)), Ok(()));
        let error = same(&write("a", &big), &write("b", &bent)).unwrap_err();
        assert!(error.contains("first at byte 2097156"), "{error}");
        assert!(same(&write("a", &big), &write("b", &big[..1000])).is_err());
        assert!(same(&write("a", b""), &write("b", b"x")).is_err());
    }

    #[test]
    fn trees_are_compared_in_everything() {
        let good = tree(&|_| ());
        assert_eq!(same(good.path(), tree(&|_| ()).path()), Ok(()));
        assert_eq!(size(good.path(), 1), Ok(5));
        assert_eq!(size(good.path(), 4096), Ok(4096));
        let bends: [&dyn Fn(&Path); 7] = [
            &|root| fs::write(root.join("g"), b"BYTES").unwrap(),
            &|root| fs::set_permissions(root.join("g"), fs::Permissions::from_mode(0o600)).unwrap(),
            &|root| fs::set_permissions(root.join("d"), fs::Permissions::from_mode(0o700)).unwrap(),
            &|root| fs::write(root.join("extra"), b"").unwrap(),
            &|root| fs::create_dir(root.join("extra")).unwrap(),
            &|root| symlink("f", root.join("d/l")).unwrap(),
            &|root| {
                fs::remove_file(root.join("g")).unwrap();
                fs::write(root.join("g"), b"bytes").unwrap();
            },
        ];
        for (i, bend) in bends.iter().enumerate() {
            assert!(same(good.path(), tree(bend).path()).is_err(), "bend {i}");
            assert!(same(tree(bend).path(), good.path()).is_err(), "bend {i}");
        }
        let late = tree(&|_| ());
        File::open(late.path().join("d")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(same(good.path(), late.path()).is_err(), "a directory's time");
    }
}
