//! The story, told on a filesystem whose medium is recorded.

use super::super::device::Device;
use super::super::lab::{run, text};
use super::super::tale::Line;
use super::super::workshop::{Done, Workshop};
use super::blocklog::{self, Entry};
use super::filesystem::Filesystem;
use crate::Result;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
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

/// What was recorded.
pub(super) struct Recorded {
    pub(super) filesystem: Filesystem,
    /// Whether a bug was put in, so that bad images are good news.
    pub(super) spoiled: bool,
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

/// How the story is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling<'a> {
    pub(super) filesystem: Filesystem,
    /// Whether somebody else writes to the filesystem meanwhile.
    pub(super) noise: bool,
    /// A system call that does nothing and says that it succeeded: a bug that the checks must find.
    pub(super) lose: Option<&'a str>,
}

/// Tells the story and records what that does to the medium.
pub(super) fn record(shop: &Workshop, telling: Telling<'_>, dir: &Path) -> Result<Recorded> {
    let filesystem = telling.filesystem;
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
    let marks = with_noise(telling.noise, mount.path(), || {
        let verb = |line: &&str| {
            tell(&device, line, telling.lose)?;
            let entries = recorder.entries()?.len();
            Ok((entries, device.log()?.0.len()))
        };
        STORY.iter().map(verb).collect::<Result<Vec<_>>>()
    })?;
    let (tale, borders) = (device.log()?.0, device.borders()?);
    drop(mount);
    let entries = recorder.entries()?;
    let spoiled = telling.lose.is_some();
    Ok(Recorded { filesystem, spoiled, blank, entries, start, marks, tale, borders })
}

/// Runs a verb, or one from which a system call is kept.
fn tell(device: &Device<'_>, line: &str, lose: Option<&str>) -> Result<()> {
    let Some(call) = lose else { return device.ok(line) };
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:retval=0")]).arg(device.shop.siding());
    device.shop.prepare(&mut strace, &device.store);
    let output =
        strace.args(device.shop.words(line)).output().map_err(|e| format!("cannot run strace: {e}"))?;
    match output.status.code() {
        Some(0 | 4) => Ok(()),
        _ => Err(format!("`{line}` without {call}: {}", Done::of(&output).said())),
    }
}

/// Does something while somebody else writes, and now and then flushes, files beside the store.
fn with_noise<T>(noise: bool, dir: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let over = AtomicBool::new(!noise);
    let write = |round: usize| {
        let file = File::create(dir.join(format!("noise-{}", round % 7)))?;
        std::io::Write::write_all(&mut &file, &vec![round.to_le_bytes()[0]; 3_000 + round % 5 * 9_000])?;
        if round.is_multiple_of(5) { file.sync_all() } else { Ok(()) }
    };
    std::thread::scope(|scope| {
        let noise = scope.spawn(|| {
            let rounds = (0_usize..).take_while(|_| !over.load(Ordering::Relaxed));
            rounds
                .map(|round| {
                    std::thread::sleep(Duration::from_millis(3));
                    write(round)
                })
                .collect::<std::io::Result<Vec<()>>>()
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        let noise = noise.join().map_err(|_| "the noise failed".to_owned())?;
        noise.map_err(|e| format!("cannot write beside the store: {e}"))?;
        done
    })
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
        let file =
            |name: &str, path: &Path| format!("driver=file,node-name={name},filename={}", path.display());
        command.arg("--blockdev").arg(file("base", base)).arg("--blockdev").arg(file("log", &log));
        command.args([
            "--blockdev",
            "driver=blklogwrites,node-name=noting,file=base,log=log,log-sector-size=512",
        ]);
        let place = export.display();
        command
            .arg("--export")
            .arg(format!("type=fuse,id=medium,node-name=noting,mountpoint={place},writable=on"));
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
