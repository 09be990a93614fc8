//! How a story is explored, on the smallest one: a record that is written three times.

use super::*;
use crate::disk::{Lock, Room, Seen};
use crate::record::{self, Record};
use siding_image::Tree;
use std::collections::HashSet;
use std::ffi::OsString;

const PATH: &str = "/record";
const LAST: u64 = 4;

fn payload(sequence: u64) -> Vec<u8> {
    vec![sequence as u8; 700 * sequence as usize]
}

/// Writes records up to the last, and says after how many operations each was promised.
fn story(disk: &dyn Disk, operations: &dyn Fn() -> u64) -> Vec<u64> {
    Record::create(disk, Path::new(PATH), &payload(1)).unwrap();
    disk.flush_directory(Path::new("/")).unwrap();
    let mut promised = vec![operations()];
    let (mut record, _) = Record::open(disk, Path::new(PATH)).unwrap();
    for sequence in 2..=LAST {
        record.write(&payload(sequence)).unwrap();
        promised.push(operations());
    }
    promised
}

/// Cuts at every moment in many ways. Gives how many worlds there were, or what was broken in the first bad one.
fn explore(disk: &SimDisk, promised: &[u64]) -> Result<usize, String> {
    let mut seen = HashSet::new();
    for moment in disk.decisive_moments() {
        let done = promised.iter().filter(|at| **at <= moment.operations()).count() as u64;
        for choice in moment.choices(Effort::default()) {
            let after = moment.cut(&choice);
            // A promise more makes a world another one.
            if seen.insert((done, after.fingerprint())) {
                let broken = |what| format!("{what}, with {done} promised and\n{}", moment.tell(&choice));
                judge(&after, done).map_err(broken)?;
            }
        }
    }
    Ok(seen.len())
}

fn judge(disk: &SimDisk, done: u64) -> Result<(), String> {
    let newest = match record::read(disk, Path::new(PATH)) {
        Err(_) if done == 0 => return Ok(()),
        other => other.map_err(|error| error.to_string())?,
    };
    let whole = newest.payload == payload(newest.sequence) && (done..=done + 1).contains(&newest.sequence);
    whole.then_some(()).ok_or(format!("number {} is not what was written", newest.sequence))?;
    // It works on, and the power may go in that too.
    let (mut record, _) = Record::open(disk, Path::new(PATH)).map_err(|error| error.to_string())?;
    disk.plan(disk.operations() + 2, Fault::Cut { inside: true });
    record.write(&payload(newest.sequence + 1)).unwrap_err();
    for choice in disk.choices(Effort { all_of: 3, random: 2, torn: 0, seed: 1, ..Effort::default() }) {
        let again = record::read(&disk.cut(&choice), Path::new(PATH)).map_err(|error| error.to_string())?;
        let is_next = (newest.sequence..=newest.sequence + 1).contains(&again.sequence);
        (is_next && again.payload == payload(again.sequence)).then_some(()).ok_or("a cut after a cut")?;
    }
    Ok(())
}

#[test]
fn a_record_survives_every_cut_and_the_cuts_after_it() {
    let disk = SimDisk::new();
    disk.keep_moments();
    let promised = story(&disk, &|| disk.operations());
    let worlds = explore(&disk, &promised).unwrap();
    assert!(worlds > 200, "{worlds} worlds");
}

#[test]
fn a_record_on_a_disk_that_lies_or_leaves_out_a_flush_does_not() {
    let disk = SimDisk::new();
    disk.keep_moments();
    disk.plan_from(8, Fault::FlushLies);
    let promised = story(&disk, &|| disk.operations());
    assert!(explore(&disk, &promised).unwrap_err().contains("promised"));
    for left_out in 1..=6 {
        let disk = SimDisk::new();
        disk.keep_moments();
        let careless = Careless { disk: disk.same(), flushes: Arc::default(), left_out };
        let promised = story(&careless, &|| disk.operations());
        // The third comes before anything is written: it is for what a process that died left.
        assert_eq!(explore(&disk, &promised).is_err(), left_out != 3, "without flush {left_out}");
    }
}

/// A disk whose user forgets one flush; how bugs are planted.
#[derive(Clone, Debug)]
struct Careless {
    disk: SimDisk,
    flushes: Arc<Mutex<u32>>,
    left_out: u32,
}

impl Disk for Careless {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.disk.resolve(path)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.open(path, access)?;
        Ok(Box::new(CarelessFile { file, disk: self.clone() }))
    }
    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.disk.make_directory(path, mode)
    }
    fn make_symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.disk.make_symlink(target, path)
    }
    fn make_hard_link(&self, existing: &Path, path: &Path) -> io::Result<()> {
        self.disk.make_hard_link(existing, path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_tree(path)
    }
    fn set(&self, path: &Path, attribute: Attribute<'_>) -> io::Result<()> {
        self.disk.set(path, attribute)
    }
    fn look(&self, path: &Path) -> io::Result<Seen> {
        self.disk.look(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.disk.list(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.disk.read_link(path)
    }
    fn xattr_names(&self, path: &Path) -> io::Result<Vec<Vec<u8>>> {
        self.disk.xattr_names(path)
    }
    fn scan(&self, root: &Path) -> Result<Tree, siding_image::Error> {
        self.disk.scan(root)
    }
    fn check(&self, image: &Image) -> Result<(), siding_image::Error> {
        self.disk.check(image)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.disk.lock(path)
    }
    fn room(&self, path: &Path) -> io::Result<Room> {
        self.disk.room(path)
    }
}

#[derive(Debug)]
struct CarelessFile {
    file: Box<dyn DiskFile>,
    disk: Careless,
}

impl DiskFile for CarelessFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn copy_from(&self, source: &Path, len: u64) -> io::Result<()> {
        self.file.copy_from(source, len)
    }
    fn flush(&self) -> io::Result<()> {
        let mut flushes = self.disk.flushes.lock().unwrap();
        *flushes += 1;
        if *flushes == self.disk.left_out { Ok(()) } else { self.file.flush() }
    }
    fn flush_filesystem(&self) -> io::Result<()> {
        self.file.flush_filesystem()
    }
    fn forget_cache(&self) -> io::Result<()> {
        self.file.forget_cache()
    }
    fn is_device(&self) -> bool {
        self.file.is_device()
    }
}
