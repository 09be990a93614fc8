//! Another process that maps a file: this test's own program, which then runs only [`hold`].

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The process, until it ends or is dropped.
pub(crate) struct Holder {
    child: Child,
    /// It ends when this does.
    _line: UnixStream,
}

impl Holder {
    /// Returns once the file is mapped. A test that uses it has a test `hold_a_map` that calls [`hold`].
    pub(crate) fn of(file: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "hold_a_map"]).env("HOLD", file).env("HOLD_SOCKET", &socket);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let (line, _) = listener.accept().unwrap();
        let mut word = String::new();
        BufReader::new(line.try_clone().unwrap()).read_line(&mut word).unwrap();
        assert_eq!(word, "mapped\n");
        Self { child, _line: line }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end, and says by which signal.
    pub(crate) fn signal(mut self) -> Option<i32> {
        self.child.wait().unwrap().signal()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the other process: maps the file, says so, and waits. In a test run by itself it does nothing.
pub(crate) fn hold() {
    let (Some(file), Some(socket)) = (std::env::var_os("HOLD"), std::env::var_os("HOLD_SOCKET")) else {
        return;
    };
    let map = siding_image::Map::open(Path::new(&file)).unwrap();
    assert!(map.as_slice().len() > 64 << 10, "small files are not mapped");
    let mut line = UnixStream::connect(Path::new(&socket)).unwrap();
    line.write_all(b"mapped\n").unwrap();
    let _ = line.read(&mut [0]);
    drop(map);
}
