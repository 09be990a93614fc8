//! A worked example of each fault.

use super::*;

/// A file with a flushed name, its bytes flushed, and its operations so far.
fn flushed() -> (SimDisk, Box<dyn DiskFile>, u64) {
    let disk = SimDisk::new();
    let file = write(&disk, "/f", &[1; 1024]);
    file.flush().unwrap();
    flush_names(&disk, "/");
    let operations = disk.operations();
    (disk, file, operations)
}

#[test]
fn a_machine_that_is_off_does_nothing() {
    let (disk, file, before) = flushed();
    disk.plan(before + 1, Fault::Cut { inside: false });
    let (path, new) = (Path::new("/f"), Path::new("/new"));
    assert!(is_power_off(&file.write_at(0, b"2").unwrap_err()));
    assert!(is_power_off(&file.read_at(0, &mut [0]).unwrap_err()));
    let errors = [
        file.len().map(drop),
        file.set_len(1),
        file.copy_from(path, 1),
        file.flush(),
        file.flush_filesystem(),
        file.forget_cache(),
        disk.open(path, Access::Read).map(drop),
        disk.open(new, Access::Log).map(drop),
        disk.make_directory(new, 0o700),
        disk.make_symlink(path, new),
        disk.make_hard_link(path, new),
        disk.rename(path, new),
        disk.remove_tree(path),
        disk.set(path, Attribute::Mode(0)),
        disk.look(path).map(drop),
        disk.list(Path::new("/")).map(drop),
        disk.read_link(path).map(drop),
        disk.xattr_names(path).map(drop),
        disk.lock(new).map(drop),
        disk.room(path).map(drop),
    ];
    assert!(errors.into_iter().all(|result| result.is_err_and(|error| is_power_off(&error))));
    assert!(disk.scan(Path::new("/")).is_err());
    assert_eq!((disk.operations(), disk.pending_len()), (before + 1, 0));
    assert_eq!(read(&disk.cut(&Choice::none()), "/f").unwrap(), [1; 1024]);
}

#[test]
fn an_operation_that_the_power_goes_inside_of_may_be_there_in_part() {
    let (disk, file, before) = flushed();
    disk.plan(before + 1, Fault::Cut { inside: true });
    assert!(is_power_off(&file.write_at(0, &[2; 1024]).unwrap_err()));
    assert_eq!(outcomes(&disk, "/f", Effort { torn: 0, ..ALL }).len(), 4);
    let (disk, file, before) = flushed();
    file.write_at(0, &[2; 512]).unwrap();
    disk.plan(before + 2, Fault::Cut { inside: true });
    assert!(is_power_off(&file.flush().unwrap_err()));
    assert_eq!(
        outcomes(&disk, "/f", Effort { torn: 0, ..ALL }).len(),
        2,
        "a flush under way promises nothing"
    );
}

#[test]
fn a_failure_comes_once_or_stays() {
    let (disk, file, before) = flushed();
    disk.plan(before + 1, Fault::Fail(Errno::IO));
    assert_eq!(file.write_at(0, b"2").unwrap_err().raw_os_error(), Some(Errno::IO.raw_os_error()));
    assert_eq!(read(&disk, "/f").unwrap(), [1; 1024]);
    file.write_at(0, b"2").unwrap();
    disk.plan_from(before + 3, Fault::Fail(Errno::NOSPC));
    assert_eq!(file.write_at(0, b"3").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.set_len(0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(read(&disk, "/f").unwrap()[..2], [b'2', 1]);
}

#[test]
fn a_short_write_leaves_what_it_had_room_for() {
    let (disk, file, before) = flushed();
    disk.plan(before + 1, Fault::ShortWrite(700, Errno::NOSPC));
    assert_eq!(file.write_at(1000, &[2; 1000]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 1700);
    let copy = disk.open(Path::new("/copy"), Access::New(0o600)).unwrap();
    disk.plan_from(before + 3, Fault::ShortWrite(10, Errno::NOSPC));
    assert!(copy.copy_from(Path::new("/f"), 1000).is_err());
    assert_eq!(read(&disk, "/copy").unwrap(), [1; 10]);
    assert!(copy.set_len(5).is_err() && disk.make_directory(Path::new("/d"), 0o700).is_err());
    assert!(copy.flush().is_err() && copy.flush_filesystem().is_err());
}

#[test]
fn a_flush_that_fails_forgets_what_it_should_have_written() {
    let (disk, file, before) = flushed();
    file.write_at(0, &[2; 512]).unwrap();
    file.write_at(1024, &[3; 512]).unwrap();
    disk.plan(before + 3, Fault::FlushFails);
    assert_eq!(file.flush().unwrap_err().raw_os_error(), Some(Errno::IO.raw_os_error()));
    let shown = [vec![2; 512], vec![1; 512], vec![3; 512]].concat();
    assert_eq!(read(&disk, "/f").unwrap(), shown, "the cache shows what is lost");
    file.flush().unwrap();
    assert_eq!(read(&disk, "/f").unwrap(), shown, "and the next flush says nothing");
    // What is written after that is not forgotten.
    file.write_at(512, &[4; 512]).unwrap();
    file.forget_cache().unwrap();
    let there = [vec![1; 512], vec![4; 512], vec![0; 512]].concat();
    assert_eq!(read(&disk, "/f").unwrap(), there);
    file.flush().unwrap();
    assert_eq!(outcomes(&disk, "/f", ALL), [Some(there)].into());
}

#[test]
fn a_flush_of_the_filesystem_that_fails_forgets_the_bytes_of_all_files() {
    let (disk, file, before) = flushed();
    file.write_at(0, b"2").unwrap();
    write(&disk, "/g", b"g");
    disk.plan(before + 4, Fault::FlushFails);
    assert!(file.flush_filesystem().is_err());
    file.flush_filesystem().unwrap();
    let after = disk.cut(&Choice::none());
    assert_eq!((read(&after, "/f").unwrap(), read(&after, "/g").unwrap()), (vec![1; 1024], vec![0]));
}

#[test]
fn a_flush_of_a_directory_that_fails_leaves_its_names_in_doubt() {
    let (disk, _, before) = flushed();
    disk.make_directory(Path::new("/d"), 0o700).unwrap();
    disk.plan(before + 2, Fault::FlushFails);
    assert!(disk.flush_directory(Path::new("/")).is_err());
    let there = |choice| disk.cut(&choice).look(Path::new("/d")).is_ok();
    assert_eq!((there(Choice::none()), there(Choice::of(0..1))), (false, true));
}

#[test]
fn a_flush_that_lies_leaves_everything_in_doubt() {
    let (disk, file, before) = flushed();
    disk.plan_from(before + 1, Fault::FlushLies);
    file.write_at(0, &[2; 1024]).unwrap();
    file.flush().unwrap();
    file.flush_filesystem().unwrap();
    flush_names(&disk, "/");
    assert_eq!(outcomes(&disk, "/f", Effort { torn: 0, ..ALL }).len(), 4);
    assert_eq!(read(&disk, "/f").unwrap(), [2; 1024]);
}

#[test]
fn rot_shows_once_the_cache_is_forgotten() {
    let (disk, file, _) = flushed();
    disk.rot(Path::new("/f"), 3, 0x80).unwrap();
    assert_eq!(read(&disk, "/f").unwrap(), [1; 1024]);
    assert_eq!(read(&disk.cut(&Choice::none()), "/f").unwrap()[..5], [1, 1, 1, 0x81, 1]);
    let whole = FileRef { size: 1024, digest: verity::digest(&[1; 1024]) };
    let image = Image::assume(Path::new("/f"), Content::File(whole));
    disk.check(&image).unwrap();
    file.forget_cache().unwrap();
    assert!(matches!(disk.check(&image), Err(siding_image::Error::Differs { .. })));
}

#[test]
fn bytes_that_cannot_be_read_are_an_error_where_they_are() {
    let (disk, file, _) = flushed();
    disk.fail_reads(Path::new("/f"), 512..513).unwrap();
    let after = disk.cut(&Choice::none());
    for disk in [&disk, &after] {
        let file = disk.open(Path::new("/f"), Access::Read).unwrap();
        file.read_at(0, &mut [0; 512]).unwrap();
        file.read_at(513, &mut [0; 511]).unwrap();
        let error = file.read_at(0, &mut [0; 513]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
        assert!(matches!(disk.scan(Path::new("/")), Err(siding_image::Error::Io { doing: "read", .. })));
    }
    disk.fail_reads(Path::new("/f"), 0..0).unwrap();
    file.read_at(0, &mut [0; 1024]).unwrap();
}
