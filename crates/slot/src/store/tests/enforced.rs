//! What a seal and a check make of a kernel that has fs-verity, has none, or fails at it; and, in the last test, of the
//! kernel that runs the test.

use super::*;
use crate::Verified;
use crate::disk::{Access, DiskFile, Real, Room, reading_goes_below};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What the kernel does when it is told to hold a file to its digest.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Does,
    /// With another digest than the file's.
    DoesWrongly,
    Cannot,
    Fails(io::ErrorKind),
}

/// The real disk, with a kernel that answers so.
#[derive(Clone, Debug)]
struct Pretending {
    answer: Answer,
    /// What it enforces. By path: no file here has two names.
    enforced: Arc<Mutex<BTreeMap<PathBuf, Digest>>>,
    /// What is enforced and not flushed yet.
    unflushed: Arc<AtomicBool>,
}

#[derive(Debug)]
struct PretendingFile(Box<dyn DiskFile>, Arc<AtomicBool>);

impl Pretending {
    fn new(answer: Answer) -> Self {
        Self { answer, enforced: Arc::default(), unflushed: Arc::default() }
    }

    fn below(&self) -> &Real {
        &Real
    }

    fn enforces(&self, path: &Path) -> Option<Digest> {
        self.enforced.lock().unwrap().get(path).copied()
    }
}

impl Disk for Pretending {
    reading_goes_below!();
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        if matches!(access, Access::Existing | Access::Alone) && self.enforces(path).is_some() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Box::new(PretendingFile(Real.open(path, access)?, self.unflushed.clone())))
    }
    fn scan_with(
        &self,
        root: &Path,
        known: &mut dyn FnMut(&Path) -> Option<Digest>,
    ) -> Result<siding_image::Tree, siding_image::Error> {
        Real.scan_with(root, known)
    }
    fn protect(&self, path: &Path) -> io::Result<Option<Digest>> {
        let digest = match self.answer {
            Answer::Does => verity::digest(&fs::read(path)?),
            Answer::DoesWrongly => verity::digest(b"something else"),
            Answer::Cannot => return Ok(None),
            Answer::Fails(kind) => return Err(kind.into()),
        };
        self.unflushed.store(true, Ordering::Relaxed);
        // As ext4 does.
        fs::File::open(path)?.set_modified(std::time::SystemTime::now())?;
        // It may be on already: then that is what it says.
        Ok(Some(*self.enforced.lock().unwrap().entry(path.to_owned()).or_insert(digest)))
    }
    fn protected(&self, path: &Path) -> io::Result<Option<Digest>> {
        Ok(self.enforces(path))
    }
    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        Real.make_directory(path, mode)
    }
    fn make_symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        Real.make_symlink(target, path)
    }
    fn make_hard_link(&self, existing: &Path, path: &Path) -> io::Result<()> {
        Real.make_hard_link(existing, path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.rename(from, to)
    }
    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        self.enforced.lock().unwrap().retain(|enforced, _| !enforced.starts_with(path));
        Real.remove_tree(path)
    }
    fn set(&self, path: &Path, attribute: Attribute<'_>) -> io::Result<()> {
        Real.set(path, attribute)
    }
    fn room(&self, path: &Path) -> io::Result<Room> {
        Real.room(path)
    }
}

impl DiskFile for PretendingFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let is_record = bytes.starts_with(b"SIDING\r\n");
        assert!(!is_record || !self.1.load(Ordering::Relaxed), "sealed before it was flushed");
        self.0.write_at(offset, bytes)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn copy_from(&self, source: &Path, len: u64) -> io::Result<()> {
        self.0.copy_from(source, len)
    }
    fn flush(&self) -> io::Result<()> {
        // No story here seals two images without a flush of the filesystem between, but for a file image.
        self.1.store(false, Ordering::Relaxed);
        self.0.flush()
    }
    fn flush_filesystem(&self) -> io::Result<()> {
        self.1.store(false, Ordering::Relaxed);
        self.0.flush_filesystem()
    }
    fn forget_cache(&self) -> io::Result<()> {
        self.0.forget_cache()
    }
    fn is_device(&self) -> bool {
        self.0.is_device()
    }
}

const FILES: u64 = 2;

/// A store with a tree's base and its successor in `a`, and a component that is a file.
fn sealed(yard: &Yard, disk: Pretending) -> Result<Store> {
    let mut store = Store::create_on(Arc::new(disk), &yard.root())?;
    store.init(&name("c"), &version("1"), 1, &yard.at("old"), NOW)?;
    store.init(&name("k"), &version("1"), 1, &yard.at("old/LICENCE"), NOW)?;
    assert_eq!(yard.stage(&mut store, "c", "new", "1 (a)")?, Slot::A);
    Ok(store)
}

fn enforced(enforced: u64) -> Verified {
    Verified { enforced, read: 0 }
}

fn read(read: u64) -> Verified {
    Verified { enforced: 0, read }
}

#[test]
fn what_the_kernel_enforces_is_sealed_and_not_read_again() {
    let yard = Yard::new();
    let disk = Pretending::new(Answer::Does);
    let store = sealed(&yard, disk.clone()).unwrap();
    assert_eq!(disk.enforced.lock().unwrap().len() as u64, 2 * FILES + 1);
    for slot in [Slot::Base, Slot::A] {
        assert_eq!(store.verify(&name("c"), slot).unwrap(), enforced(FILES));
    }
    assert_eq!(store.verify(&name("k"), Slot::Base).unwrap(), enforced(1));
    assert!(matches!(store.verify(&name("c"), Slot::B), Err(Error::Refused(Refusal::NotSealed { .. }))));
    // A real kernel would not let this happen.
    let file = store.image_path(&name("c"), Slot::A).join("LICENCE");
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, b"not so with all").unwrap();
    fs::File::open(&file).unwrap().set_modified(modified).unwrap();
    assert_eq!(store.verify(&name("c"), Slot::A).unwrap(), enforced(FILES));
    // But for what it enforces, all is compared.
    Real.set(&file, Attribute::Mode(0o600)).unwrap();
    let error = store.verify(&name("c"), Slot::A).unwrap_err();
    assert!(matches!(error, Error::NotAsWritten { what: "mode", .. }), "{error}");
}

#[test]
fn what_the_kernel_does_not_enforce_is_read() {
    let full = io::ErrorKind::StorageFull;
    for answer in [Answer::Cannot, Answer::Fails(full), Answer::Fails(io::ErrorKind::QuotaExceeded)] {
        let yard = Yard::new();
        let store = sealed(&yard, Pretending::new(answer)).unwrap();
        assert_eq!(store.verify(&name("c"), Slot::A).unwrap(), read(FILES));
        assert_eq!(store.verify(&name("k"), Slot::Base).unwrap(), read(1));
        let file = store.image_path(&name("k"), Slot::Base);
        Real.set(&file, Attribute::Mode(0o600)).unwrap();
        fs::write(&file, b"the sane in all").unwrap();
        assert_eq!(store.verify(&name("k"), Slot::Base).unwrap_err().kind(), Kind::Corrupt);
        let file = store.image_path(&name("c"), Slot::A).join("lib/libc.so");
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "tow".repeat(3000)).unwrap();
        fs::File::open(&file).unwrap().set_modified(modified).unwrap();
        let error = store.verify(&name("c"), Slot::A).unwrap_err();
        assert!(matches!(error, Error::NotAsWritten { what: "content", .. }), "{error}");
    }
}

#[test]
fn a_digest_by_other_rules_does_not_count_and_the_bytes_decide() {
    let yard = Yard::new();
    let disk = Pretending::new(Answer::Cannot);
    let store = sealed(&yard, disk.clone()).unwrap();
    let salted = verity::digest(b"as if it had a salt");
    for path in
        [store.image_path(&name("c"), Slot::A).join("LICENCE"), store.image_path(&name("k"), Slot::Base)]
    {
        disk.enforced.lock().unwrap().insert(path, salted);
    }
    assert_eq!(store.verify(&name("c"), Slot::A).unwrap(), read(FILES));
    assert_eq!(store.verify(&name("k"), Slot::Base).unwrap(), read(1));
}

#[test]
fn one_of_several_contents_in_the_wrong_place_is_found() {
    let yard = Yard::new();
    let disk = Pretending::new(Answer::Does);
    let store = sealed(&yard, disk.clone()).unwrap();
    let root = store.image_path(&name("c"), Slot::A);
    let other = disk.enforces(&root.join("lib/libc.so")).unwrap();
    fs::copy(root.join("lib/libc.so"), root.join("LICENCE")).unwrap();
    disk.enforced.lock().unwrap().insert(root.join("LICENCE"), other);
    let error = store.verify(&name("c"), Slot::A).unwrap_err();
    assert!(matches!(error, Error::NotAsWritten { what: "content", .. }), "{error}");
}

#[test]
fn a_kernel_that_says_another_digest_or_fails_leaves_nothing_sealed() {
    let failing = [Answer::DoesWrongly, Answer::Fails(io::ErrorKind::Other)];
    for answer in failing {
        let yard = Yard::new();
        drop(yard.store());
        let mut store = Store::open_on(Arc::new(Pretending::new(answer)), &yard.root()).unwrap();
        let error = yard.stage(&mut store, "c", "new", "1 (a)").unwrap_err();
        match answer {
            Answer::DoesWrongly => {
                let what = "fs-verity digest";
                assert!(matches!(&error, Error::NotAsWritten { what: w, .. } if *w == what), "{error}");
                let expected = verity::digest(b"the same in all").to_string();
                assert!(error.to_string().contains(&expected), "{error}");
                assert!(error.to_string().contains("a/image/LICENCE"), "{error}");
            }
            _ => assert_eq!(error.kind(), Kind::Io, "{error}"),
        }
        // It is an error of the medium, and what is there is not gone on with.
        assert!(matches!(store.boot(NOW), Err(Error::Poisoned { .. })));
        drop(store);
        let mut store = Store::open(&yard.root()).unwrap();
        assert_eq!(*store.state().get(&name("c")).unwrap().held(Slot::A), Held::Empty);
        assert_eq!(yard.stage(&mut store, "c", "new", "1 (a)").unwrap(), Slot::A);
    }
}

/// No cut leaves that, since the notes go before anything is protected; but if they came back, nothing that cannot
/// be written would be in the way.
#[test]
fn protected_leftovers_are_written_anew() {
    let yard = Yard::new();
    let disk = Pretending::new(Answer::Does);
    drop(yard.store());
    let mut store = Store::open_on(Arc::new(disk.clone()), &yard.root()).unwrap();
    let (image, source) = (yard.image("new"), store.image(&name("c"), Slot::Base).unwrap());
    let fresh = resume::Fresh::of(&image, Some(&source));
    let mut staging = store.stage(&name("c"), &yard.target("new", "1 (a)"), false, NOW).unwrap();
    fresh.begin(&image, &mut staging).unwrap();
    fresh.write(&mut staging, 0, 6000, 5000).unwrap();
    drop(staging);
    drop(store);
    let begun = yard.root().join("components/c/a/image/lib/libc.so");
    disk.protect(&begun).unwrap().unwrap();
    let mut store = Store::open_on(Arc::new(disk.clone()), &yard.root()).unwrap();
    assert_eq!(yard.stage(&mut store, "c", "new", "1 (a)").unwrap(), Slot::A);
    assert_eq!(store.verify(&name("c"), Slot::A).unwrap(), enforced(FILES));
}

/// Whether or not this kernel and the filesystem of the temporary directory have fs-verity.
#[test]
fn this_kernel_enforces_all_of_an_image_or_nothing() {
    let yard = Yard::new();
    let mut store = yard.store();
    store.init(&name("k"), &version("1"), 1, &yard.at("old/LICENCE"), NOW).unwrap();
    assert_eq!(yard.stage(&mut store, "c", "new", "1 (a)").unwrap(), Slot::A);
    let images = [(name("c"), Slot::Base), (name("c"), Slot::A), (name("k"), Slot::Base)];
    let paths = ["LICENCE", "LICENCE", ""].map(Path::new);
    for ((component, slot), file) in images.iter().zip(paths) {
        let verified = store.verify(component, *slot).unwrap();
        let Verified { enforced, read } = verified;
        assert!(enforced == 0 || read == 0, "{verified:?}");
        let path = store.image_path(component, *slot);
        let path = if file.as_os_str().is_empty() { path } else { path.join(file) };
        Real.set(&path, Attribute::Mode(0o600)).unwrap();
        let written = fs::OpenOptions::new().write(true).open(&path);
        assert_eq!(written.is_err(), enforced > 0, "{written:?}");
        eprintln!("{component} in {slot}: {verified:?}");
    }
    // A slot whose files cannot be written can be emptied, and staged again.
    drop(store);
    let mut store = Store::open(&yard.root()).unwrap();
    store.switch(&[name("c")], None, NOW).unwrap();
    assert_eq!(yard.stage(&mut store, "c", "newer", "1 (b)").unwrap(), Slot::B);
    store.switch(&[name("c")], None, NOW).unwrap();
    store.rollback(&[name("c")], "it fails", NOW).unwrap();
    store.vacuum(NOW).unwrap();
    assert!(!yard.root().join("components/c/b").exists());
}
