//! What the simulated disk promises, by worked examples. That it does what a real one does is in `tests/agree.rs`.

use super::random::Random;
use super::*;
use crate::disk::{Access, Attribute, Disk, DiskFile};
use rustix::io::Errno;
use siding_image::{Content, FileRef, Image, verity};
use std::collections::BTreeSet;

mod agree;
mod faults;
mod record;
mod speed;

/// Everything that can be seen, for short stories.
const ALL: Effort = Effort { all_of: 16, random: 200, torn: 8, seed: 1, spread: usize::MAX };

fn write(disk: &SimDisk, path: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
    let file = disk.open(Path::new(path), Access::New(0o644)).unwrap();
    file.write_at(0, bytes).unwrap();
    file
}

fn read(disk: &SimDisk, path: &str) -> io::Result<Vec<u8>> {
    disk.read(Path::new(path))
}

fn flush_names(disk: &SimDisk, path: &str) {
    disk.flush_directory(Path::new(path)).unwrap();
}

/// What a file may hold after a cut now; `None` is no file.
fn outcomes(disk: &SimDisk, path: &str, effort: Effort) -> BTreeSet<Option<Vec<u8>>> {
    disk.choices(effort).map(|choice| read(&disk.cut(&choice), path).ok()).collect()
}

#[test]
fn a_flushed_file_under_a_flushed_name_survives_every_cut() {
    let disk = SimDisk::new();
    write(&disk, "/f", b"bytes").flush().unwrap();
    flush_names(&disk, "/");
    disk.make_directory(Path::new("/other"), 0o700).unwrap();
    write(&disk, "/other/g", &[7; 3000]);
    assert_eq!(outcomes(&disk, "/f", ALL), [Some(b"bytes".to_vec())].into());
}

#[test]
fn a_flushed_file_may_lose_a_name_that_was_not_flushed() {
    let disk = SimDisk::new();
    write(&disk, "/f", b"bytes").flush().unwrap();
    assert_eq!(outcomes(&disk, "/f", ALL), [None, Some(b"bytes".to_vec())].into());
}

#[test]
fn a_flushed_name_may_lose_bytes_that_were_not_flushed() {
    let disk = SimDisk::new();
    write(&disk, "/f", &[1; 1024]);
    flush_names(&disk, "/");
    let got = outcomes(&disk, "/f", Effort { torn: 0, ..ALL });
    let half = |a, b| Some([[a; 512], [b; 512]].concat());
    let expected = [Some(Vec::new()), Some(vec![1; 512]), half(0, 0), half(1, 0), half(0, 1), half(1, 1)];
    assert_eq!(got, expected.into());
    let torn = outcomes(&disk, "/f", ALL);
    assert!(torn.contains(&Some([vec![1; 511], vec![0; 513]].concat())));
    assert!(torn.len() > got.len() + 20, "{} ways", torn.len());
}

#[test]
fn an_overwrite_may_leave_old_new_and_torn_sectors() {
    let disk = SimDisk::new();
    let file = write(&disk, "/f", &[1; 1024]);
    disk.open(Path::new("/"), Access::Directory).unwrap().flush_filesystem().unwrap();
    file.write_at(256, &[2; 512]).unwrap();
    assert_eq!(disk.pending_len(), 2);
    let at = |choice: &Choice| read(&disk.cut(choice), "/f").unwrap();
    let [first, second] = [Choice::of_bits(1), Choice::of_bits(2)].map(|choice| at(&choice));
    assert_eq!(first, [vec![1; 256], vec![2; 256], vec![1; 512]].concat());
    assert_eq!(second, [vec![1; 512], vec![2; 256], vec![1; 256]].concat());
    let torn = Torn { unit: 0, bytes: 10, garbage: false };
    assert_eq!(at(&Choice::none().tearing(torn)), [vec![1; 256], vec![2; 10], vec![1; 758]].concat());
    let garbage = at(&Choice::none().tearing(Torn { garbage: true, ..torn }));
    assert_eq!(
        (&garbage[..266], &garbage[512..]),
        (&[vec![1; 256], vec![2; 10]].concat()[..], &[1; 512][..])
    );
    assert!(garbage[266..512].iter().any(|byte| ![1, 2].contains(byte)));
}

#[test]
fn after_a_flush_of_the_filesystem_every_cut_gives_the_same_world() {
    let disk = SimDisk::new();
    tale(&disk);
    let flushed = disk.clone();
    flushed.open(Path::new("/"), Access::Directory).unwrap().flush_filesystem().unwrap();
    assert_eq!(flushed.pending_len(), 0);
    assert!(flushed.choices(ALL).all(|choice| flushed.cut(&choice).shows_same(&disk)));
    let units = disk.pending_len();
    assert!(disk.cut(&Choice::of(0..units)).shows_same(&disk), "all of it is all of it");
    assert!(!disk.cut(&Choice::none()).shows_same(&disk));
}

/// A bit of everything.
fn tale(disk: &SimDisk) {
    let path = Path::new;
    disk.make_directory(path("/d"), 0o755).unwrap();
    write(disk, "/d/f", &[3; 5000]).set_len(4000).unwrap();
    disk.make_hard_link(path("/d/f"), path("/d/g")).unwrap();
    disk.make_symlink(path("../x"), path("/d/l")).unwrap();
    disk.set(path("/d/f"), Attribute::Xattr(b"user.a", b"b")).unwrap();
    disk.set(path("/d/f"), Attribute::Modified(5, 6)).unwrap();
    disk.make_directory(path("/e"), 0o700).unwrap();
    disk.rename(path("/d/g"), path("/e/h")).unwrap();
    write(disk, "/gone", b"gone");
    disk.remove_tree(path("/gone")).unwrap();
}

#[test]
fn a_rename_is_whole_or_not_at_all() {
    let disk = SimDisk::new();
    for dir in ["/a", "/b"] {
        disk.make_directory(Path::new(dir), 0o755).unwrap();
    }
    write(&disk, "/a/old", b"old").flush().unwrap();
    disk.open(Path::new("/"), Access::Directory).unwrap().flush_filesystem().unwrap();
    write(&disk, "/b/new", b"new").flush().unwrap();
    disk.rename(Path::new("/b/new"), Path::new("/a/old")).unwrap();
    let names = |disk: &SimDisk| (read(disk, "/a/old").unwrap(), read(disk, "/b/new").ok());
    let seen: BTreeSet<_> = disk.choices(ALL).map(|choice| names(&disk.cut(&choice))).collect();
    let (old, new) = (b"old".to_vec(), b"new".to_vec());
    assert_eq!(seen, [(old.clone(), None), (old, Some(new.clone())), (new.clone(), None)].into());
    for dir in ["/a", "/b"] {
        let disk = disk.clone();
        flush_names(&disk, dir);
        assert_eq!(disk.pending_len(), 0, "the name before it comes along");
        assert_eq!(names(&disk.cut(&Choice::none())), (new.clone(), None), "{dir} was flushed");
    }
}

#[test]
fn what_is_moved_into_a_new_directory_does_not_vanish() {
    let disk = SimDisk::new();
    write(&disk, "/f", b"bytes").flush().unwrap();
    flush_names(&disk, "/");
    disk.make_directory(Path::new("/new"), 0o755).unwrap();
    disk.rename(Path::new("/f"), Path::new("/new/f")).unwrap();
    let there = |disk: &SimDisk| ["/f", "/new/f"].iter().filter(|path| read(disk, path).is_ok()).count();
    assert!(disk.choices(ALL).all(|choice| there(&disk.cut(&choice)) == 1));
    flush_names(&disk, "/new");
    assert!(read(&disk.cut(&Choice::none()), "/new/f").is_ok(), "the directory's own name comes along");
}

#[test]
fn a_data_flush_leaves_attributes_pending_and_a_full_flush_does_not() {
    for (access, survives) in [(Access::Existing, 0o644), (Access::Log, 0o644), (Access::Read, 0o444)] {
        let disk = SimDisk::new();
        let file = write(&disk, "/f", b"1");
        flush_names(&disk, "/");
        file.write_at(0, b"2").unwrap();
        disk.set(Path::new("/f"), Attribute::Mode(0o444)).unwrap();
        disk.open(Path::new("/f"), access).unwrap().flush().unwrap();
        let after = disk.cut(&Choice::none());
        assert_eq!(read(&after, "/f").unwrap(), b"2");
        assert_eq!(after.look(Path::new("/f")).unwrap().mode, survives, "{access:?}");
    }
}

#[test]
fn a_tree_that_is_being_removed_may_be_there_in_part() {
    let disk = SimDisk::new();
    disk.make_directory(Path::new("/d"), 0o755).unwrap();
    write(&disk, "/d/a", b"a");
    write(&disk, "/d/b", b"b");
    disk.open(Path::new("/"), Access::Directory).unwrap().flush_filesystem().unwrap();
    let before = disk.operations();
    disk.remove_tree(Path::new("/d")).unwrap();
    assert_eq!(disk.operations() - before, 4);
    let seen: BTreeSet<_> = disk.choices(ALL).map(|choice| disk.cut(&choice).paths()).collect();
    assert_eq!(seen.len(), 5, "both, either, none, and no directory: {seen:?}");
    // A process that dies in between leaves it in part too.
    let disk = SimDisk::new();
    disk.make_directory(Path::new("/d"), 0o755).unwrap();
    write(&disk, "/d/a", b"a");
    disk.plan(disk.operations() + 3, Fault::Fail(Errno::IO));
    assert!(disk.remove_tree(Path::new("/d")).is_err());
    assert_eq!(disk.paths(), [Path::new("/"), Path::new("/d")]);
}

#[test]
fn a_lock_has_one_holder_and_ends_with_the_power() {
    let disk = SimDisk::new();
    let path = Path::new("/lock");
    let held = disk.lock(path).unwrap();
    assert!(held.is_some() && disk.lock(path).unwrap().is_none());
    assert!(disk.cut(&Choice::of(0..1)).lock(path).unwrap().is_some());
    assert!(disk.clone().lock(path).unwrap().is_some());
    assert!(disk.lock(path).unwrap().is_none());
    drop(held);
    assert!(disk.lock(path).unwrap().is_some());
}

#[test]
fn a_check_tells_a_changed_image_from_a_missing_one() {
    let disk = SimDisk::new();
    disk.make_directory(Path::new("/d"), 0o755).unwrap();
    write(&disk, "/d/f", b"one");
    let tree = disk.scan(Path::new("/d")).unwrap();
    let images = [
        Image::assume(Path::new("/d"), Content::Tree(tree)),
        Image::assume(Path::new("/d/f"), Content::File(FileRef { size: 3, digest: verity::digest(b"one") })),
    ];
    let check = || images.each_ref().map(|image| disk.check(image));
    assert!(check().iter().all(Result::is_ok));
    disk.open(Path::new("/d/f"), Access::Existing).unwrap().write_at(1, b"N").unwrap();
    assert!(check().iter().all(|checked| matches!(checked, Err(siding_image::Error::Differs { .. }))));
    disk.remove_tree(Path::new("/d")).unwrap();
    assert!(check().iter().all(|checked| matches!(checked, Err(siding_image::Error::Io { .. }))));
}

#[test]
fn choices_are_all_of_few_and_some_of_many_and_always_the_same() {
    let disk = SimDisk::new();
    let file = write(&disk, "/f", &[1; 1024]);
    let effort = Effort { torn: 0, ..Effort::default() };
    assert_eq!(disk.pending_len(), 4);
    assert_eq!(disk.choices(effort).count(), 16);
    file.write_at(1024, &[1; 100 * 512]).unwrap();
    let units = disk.pending_len();
    let some: Vec<Choice> = disk.choices(effort).collect();
    assert_eq!(some.len(), units + 1 + 2 * units + effort.random);
    assert!(some.contains(&Choice::none()) && some.contains(&Choice::of(0..units)));
    assert_eq!(some, disk.choices(effort).collect::<Vec<_>>());
    assert_eq!(disk.choices(Effort { torn: 3, ..effort }).count(), some.len() + 3 * 32);
    assert!(disk.tell(&Choice::none().with(2)).contains("1/2 write /f from 0, 1024 bytes"));
}

#[test]
fn moments_are_the_machine_before_each_operation_and_now() {
    let disk = SimDisk::new();
    disk.keep_moments();
    write(&disk, "/f", b"1").flush().unwrap();
    flush_names(&disk, "/");
    let moments = disk.moments();
    let pending: Vec<usize> = moments.iter().map(SimDisk::pending_len).collect();
    assert_eq!(pending, [0, 1, 3, 1, 0]);
    assert_eq!(moments.last().map(SimDisk::operations), Some(4));
    let decisive = disk.decisive_moments();
    assert_eq!(decisive.iter().map(SimDisk::pending_len).collect::<Vec<_>>(), [3, 1, 0]);
}

#[test]
fn another_machine_does_not_see_what_comes_after() {
    let disk = SimDisk::new();
    let file = write(&disk, "/f", b"1");
    let other = disk.clone();
    file.write_at(0, b"2").unwrap();
    assert_eq!((read(&disk, "/f").unwrap(), read(&other, "/f").unwrap()), (b"2".to_vec(), b"1".to_vec()));
    assert!(disk.reads() > 0 && !disk.shows_same(&other));
    disk.set_room(5, true);
    let room = disk.room(Path::new("/")).unwrap();
    assert_eq!(
        (room.free, room.shares_blocks, other.room(Path::new("/")).unwrap().free),
        (5, true, u64::MAX)
    );
}
