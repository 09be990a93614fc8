//! The story, told on a filesystem whose medium is recorded.

use super::super::device::Device;
use super::super::lab::{run, text};
use super::super::tale::Line;
use super::super::workshop::Workshop;
use super::blocklog::{self, Entry};
use crate::Result;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Every verb that writes, and every way a trial can end.
pub(super) const STORY: &[&str] = &[
    "init engine",
    "init ssl",
    "init doc",
    "install engine-a",
    "install ssl-a",
    "install doc-a",
    "switch",
    "boot",
    "confirm",
    "install engine-b --switch",
    "boot",
    "rollback engine --reason handshakes-fail",
    "install engine-c --switch --tries 1",
    "boot",
    "boot",
    "install doc-b --switch --no-trial",
    "remove ssl",
    "install doc-c",
    "install ssl-b --switch",
    "confirm ssl",
    "vacuum",
];

/// A filesystem to tell the story on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filesystem {
    Ext4,
    Xfs,
    Btrfs,
}

impl Filesystem {
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Ext4, Self::Xfs, Self::Btrfs].into_iter().find(|one| one.to_string() == name)
    }

    pub(super) fn maker(self) -> &'static str {
        match self {
            Self::Ext4 => "mkfs.ext4",
            Self::Xfs => "mkfs.xfs",
            Self::Btrfs => "mkfs.btrfs",
        }
    }

    pub(super) fn package(self) -> &'static str {
        match self {
            Self::Ext4 => "e2fsprogs",
            Self::Xfs => "xfsprogs",
            Self::Btrfs => "btrfs-progs",
        }
    }

    /// The smallest that its maker makes, or little more.
    fn mebibytes(self) -> u64 {
        match self {
            Self::Ext4 => 64,
            Self::Xfs => 300,
            Self::Btrfs => 128,
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &["-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"],
            Self::Xfs => &["-q", "-K", "-m", "reflink=1"],
            Self::Btrfs => &["-q", "-K"],
        }
    }

    /// What a write never tears below, in bytes: a sector. Btrfs takes a block of 4096 bytes to be written whole, its
    /// superblock, so it is for media that have such sectors.
    pub(super) fn unit(self) -> usize {
        match self {
            Self::Ext4 | Self::Xfs => 512,
            Self::Btrfs => 4096,
        }
    }

    /// Images of one filesystem are mounted side by side, and a discarded block is not read back.
    fn mount_options(self) -> &'static str {
        match self {
            Self::Ext4 => "loop",
            Self::Xfs => "loop,nouuid",
            Self::Btrfs => "loop,nodiscard",
        }
    }

    /// Mounts the filesystem in the file; the loop device goes with the mount.
    pub(super) fn mount(self, image: &Path, at: &Path) -> Result<Mount> {
        fs::create_dir_all(at).map_err(|e| format!("cannot make {}: {e}", at.display()))?;
        let kind = self.to_string();
        run("mount", &["-t", &kind, "-o", self.mount_options(), &text(image), &text(at)])?;
        Ok(Mount(at.to_owned()))
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        })
    }
}

/// A mount, until it is dropped.
pub(super) struct Mount(PathBuf);

impl Mount {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mount {
    /// Tries again: a process that another thread is just starting has our open files until it runs its program.
    fn drop(&mut self) {
        let unmounted = |_| run("umount", &[&text(&self.0)]).is_ok() || {
            std::thread::sleep(Duration::from_millis(5));
            false
        };
        if !(0..200).any(unmounted) {
            eprintln!("cannot unmount {}", self.0.display());
        }
    }
}

/// What was recorded.
pub(super) struct Recorded {
    pub(super) filesystem: Filesystem,
    /// The medium before the first entry.
    pub(super) blank: PathBuf,
    pub(super) entries: Vec<Entry>,
    /// How many entries there were when the story began.
    pub(super) start: usize,
    /// For each verb, how many entries there were once it had returned, and how many lines the log had.
    pub(super) marks: Vec<(usize, usize)>,
    /// The log of the whole story, and after how many lines each record write was told.
    pub(super) tale: Vec<Line>,
    pub(super) borders: Vec<usize>,
}

impl Recorded {
    /// How many verbs had returned when so many entries had been sent.
    pub(super) fn acknowledged(&self, sent: usize) -> usize {
        self.marks.iter().take_while(|(entries, _)| *entries <= sent).count()
    }

    pub(super) fn summary(&self) -> String {
        let flushes = self.entries.iter().filter(|entry| **entry == Entry::Flush).count();
        let writes = self.entries.iter().filter(|entry| matches!(entry, Entry::Write { .. })).count();
        format!("{} verbs made {writes} writes and {flushes} flushes of the medium", self.marks.len())
    }
}

/// Whether the kernel and QEMU can do what is needed.
pub(super) fn can_record(dir: &Path) -> Result<()> {
    if !Path::new("/dev/fuse").exists() || !Path::new("/dev/loop-control").exists() {
        return Err("there is no /dev/fuse or no /dev/loop-control".to_owned());
    }
    let blank = dir.join("try");
    let made = File::create(&blank).and_then(|file| file.set_len(1 << 20));
    made.map_err(|e| format!("cannot make {}: {e}", blank.display()))?;
    Recorder::start(&blank, &dir.join("try-medium")).map(drop)
}

/// Tells the story and records what that does to the medium.
pub(super) fn record(shop: &Workshop, filesystem: Filesystem, dir: &Path) -> Result<Recorded> {
    let io = |e| format!("cannot prepare {}: {e}", dir.display());
    fs::create_dir_all(dir).map_err(io)?;
    let (made, blank, base) = (dir.join("made"), dir.join("blank"), dir.join("base"));
    File::create(&made).and_then(|file| file.set_len(filesystem.mebibytes() << 20)).map_err(io)?;
    run(filesystem.maker(), &[filesystem.options(), &[text(&made).as_str()]].concat())?;
    for copy in [&blank, &base] {
        run("cp", &["--sparse=always", &text(&made), &text(copy)])?;
    }

    let recorder = Recorder::start(&base, &dir.join("medium"))?;
    let mount = filesystem.mount(&recorder.export, &dir.join("m"))?;
    run("sync", &["-f", &text(mount.path())])?;
    let start = recorder.entries()?.len();
    let device = Device { shop, store: mount.path().join("store") };
    let mut marks = Vec::new();
    for line in STORY {
        device.ok(line)?;
        let entries = recorder.entries()?.len();
        marks.push((entries, device.log()?.0.len()));
    }
    let (tale, borders) = (device.log()?.0, device.borders()?);
    drop(mount);
    let entries = recorder.entries()?;
    Ok(Recorded { filesystem, blank, entries, start, marks, tale, borders })
}

/// A medium that notes what is done to it.
struct Recorder {
    daemon: Child,
    export: PathBuf,
    log: PathBuf,
}

impl Recorder {
    /// Shows the file `base` as `export`, and logs what is written and flushed there.
    fn start(base: &Path, export: &Path) -> Result<Self> {
        let log = export.with_extension("log");
        for path in [export, &log] {
            File::create(path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        }
        let mut command = Command::new("qemu-storage-daemon");
        let file = |name: &str, path: &Path| format!("driver=file,node-name={name},filename={}", path.display());
        command.arg("--blockdev").arg(file("base", base)).arg("--blockdev").arg(file("log", &log));
        command.args(["--blockdev", "driver=blklogwrites,node-name=noting,file=base,log=log,log-sector-size=512"]);
        let place = export.display();
        command.arg("--export").arg(format!("type=fuse,id=medium,node-name=noting,mountpoint={place},writable=on"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut daemon = command.spawn().map_err(|e| format!("cannot run qemu-storage-daemon: {e}"))?;
        let begun = Instant::now();
        while fs::metadata(export).map_or(0, |meta| meta.len()) == 0 {
            let ended = daemon.try_wait().ok().flatten();
            if ended.is_some() || begun.elapsed() > Duration::from_secs(10) {
                drop(daemon.kill());
                drop(daemon.wait());
                return Err(format!("qemu-storage-daemon shows no medium: {ended:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { daemon, export: export.to_owned(), log })
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let log = fs::read(&self.log).map_err(|e| format!("cannot read {}: {e}", self.log.display()))?;
        blocklog::parse(&log)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.daemon.kill());
        drop(self.daemon.wait());
        drop(run("umount", &["-l", &text(&self.export)]));
    }
}
