//! A deep tree under a low limit on open files; a process of its own, because the limit is the process'.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Each level kept its directory open, so that a tree deeper than the limit on open files could not be read.
#[test]
fn depth_does_not_use_up_file_descriptors() {
    const DEPTH: usize = 200;
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join(vec!["d"; DEPTH].join("/"))).unwrap();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: before.maximum }).unwrap();
    let result = siding_image::scan(dir.path());
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(result.unwrap().entries().len(), DEPTH + 1);
}
