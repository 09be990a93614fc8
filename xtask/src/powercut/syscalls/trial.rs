//! One verb, spoiled in every way, and what must be true after each.

use super::super::device::{Device, Status, active};
use super::super::lab::{run, text};
use super::super::tale::{self, Line, State};
use super::super::workshop::{Done, Workshop};
use super::cases::{Case, INTERRUPTED};
use super::strace::{Injection, Kind, Learned, spoiling};
use crate::Result;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A verb, the store it starts from, and how it ends when nothing is in its way.
pub(super) struct Bench<'a> {
    shop: &'a Workshop,
    case: &'a Case,
    dir: PathBuf,
    learned: Learned,
    before: Option<Status>,
    /// Where the store may stand in between.
    between: Vec<State>,
    /// Where it stands after the verb, and after the verb once more.
    once: End,
    twice: End,
}

/// Where a run ends.
struct End {
    code: i32,
    status: Status,
    tale: Vec<Line>,
    names: BTreeMap<PathBuf, Option<Vec<u8>>>,
}

impl<'a> Bench<'a> {
    pub(super) fn prepare(shop: &'a Workshop, case: &'a Case, dir: &Path) -> Result<Self> {
        let io = |e| format!("cannot make {}: {e}", dir.display());
        fs::create_dir_all(dir).map_err(io)?;
        let template = Device { shop, store: dir.join("template") };
        for line in case.before {
            match line.strip_prefix(INTERRUPTED) {
                Some(line) => interrupt(&template, line)?,
                None => template.ok(line)?,
            }
        }
        let before = template.status()?;
        let told = if before.is_some() { template.log()?.0.len() } else { 0 };
        let blank = |code| End { code, status: Status::nothing(), tale: vec![], names: BTreeMap::new() };
        let mut bench = Self {
            shop,
            case,
            dir: dir.to_owned(),
            learned: Learned::default(),
            before,
            between: vec![],
            once: blank(0),
            twice: blank(0),
        };
        let device = bench.restore(0)?;
        bench.once = bench.end(&device)?;
        let (lines, _) = device.log()?;
        let within = device.borders()?.into_iter().filter(|&at| at > told && at < lines.len());
        bench.between = within.map(|at| tale::replay(&lines[..at])).collect::<Result<_>>()?;
        bench.twice = bench.end(&device)?;
        bench.learned = bench.learn()?;
        Ok(bench)
    }

    pub(super) fn injections(&self) -> Vec<Injection> {
        self.learned.injections()
    }

    /// Spoils one call of the verb, and checks everything.
    pub(super) fn try_one(&self, job: usize, injection: &Injection) -> Result<()> {
        let device = self.restore(job)?;
        let (here, learned_at) = (text(&self.job(job)), text(&self.job(0)));
        let paths = self.learned.paths.iter().map(|path| path.replace(&learned_at, &here)).collect();
        let mut strace = spoiling(injection, &self.job(job).join("trace"), &paths);
        let done = self.under(&mut strace, job)?;
        self.check(&device, injection, &done).map_err(|why| format!("{why}\n      it said {}", done.said()))
    }

    fn check(&self, device: &Device<'_>, injection: &Injection, done: &Done) -> Result<()> {
        let kind = injection.kind;
        let killed = done.code.is_none() && kind == Kind::Kill;
        if !killed && !matches!(done.code, Some(0..=8)) || done.err.contains("panicked") {
            return Err("it ended in no documented way".to_owned());
        }
        if injection.loses_a_record() {
            return self.check_sane(device);
        }
        let acknowledged = matches!(done.code, Some(0 | 4));
        let finished = self.check_as_left(device, kind, acknowledged)?;
        // The same verb again, with nothing in its way.
        let wanted = if finished { &self.twice } else { &self.once };
        let again = self.shop.run(self.case.verb, &device.store)?;
        if again.code != Some(wanted.code) {
            return Err(format!("run again, finished before: {finished}; {}", again.said()));
        }
        self.check_end(device, kind, wanted).map_err(|why| format!("after it was run again: {why}"))
    }

    /// What holds even if one copy of the record could not be read: then the change before the last is the truth, as
    /// `docs/design.md` says, and what the verb meant may make no sense any more.
    fn check_sane(&self, device: &Device<'_>) -> Result<()> {
        device.verb(self.case.verb)?;
        let status = device.status()?.ok_or("there is no store any more")?;
        device.images_are_right(&status.state)?;
        device.current_is_right(&status)?;
        let (_, damaged) = device.log()?;
        if damaged == 0 { Ok(()) } else { Err(format!("{damaged} lines of the log are damaged")) }
    }

    /// What whoever only looks finds; says whether the verb has done its work.
    fn check_as_left(&self, device: &Device<'_>, kind: Kind, acknowledged: bool) -> Result<bool> {
        let status = match device.status()? {
            Some(status) => status,
            None if self.before.is_none() && !acknowledged => return Ok(false),
            None => return Err("there is no store any more".to_owned()),
        };
        let finished = status.timeless() == self.once.status.timeless();
        if acknowledged && !finished {
            return Err(format!("it said that it is done, and is not: {:?}", status.state));
        }
        let nothing = State::new();
        let before = self.before.as_ref().map_or(&nothing, |status| &status.state);
        if !finished && status.state != *before && !self.between.contains(&status.state) {
            return Err(format!("the store stands where it never may: {:?}", status.state));
        }
        self.check_log(device, kind, &self.once.tale, false)?;
        device.images_are_right(&status.state)?;
        for (name, standing) in &status.state {
            let legal = [before.get(name), self.once.status.state.get(name), Some(standing)];
            match device.current(&status, name)? {
                Some(version) if legal.iter().flatten().any(|one| active(one) == Some(&version)) => {}
                None if !before.contains_key(name) && !acknowledged => {}
                other => return Err(format!("current of {name} leads to {other:?}")),
            }
        }
        Ok(finished)
    }

    fn check_end(&self, device: &Device<'_>, kind: Kind, wanted: &End) -> Result<()> {
        let status = device.status()?.ok_or("there is no store")?;
        if status.timeless() != wanted.status.timeless() {
            return Err(format!("the store is not where it leads to: {}", status.timeless()));
        }
        self.check_log(device, kind, &wanted.tale, true)?;
        device.images_are_right(&status.state)?;
        device.current_is_right(&status)?;
        let names = device.names()?;
        let (more, less) = (differing(&names, &wanted.names), differing(&wanted.names, &names));
        match more.or(less) {
            Some(name) => {
                Err(format!("{} is there and should not be, or is not, or differs", name.display()))
            }
            None => Ok(()),
        }
    }

    /// The log tells what happened, once, in order; only a write that lied may have spoiled a line, which is named.
    fn check_log(&self, device: &Device<'_>, kind: Kind, wanted: &[Line], to_the_end: bool) -> Result<()> {
        let (lines, damaged) = device.log()?;
        let told = tale::settled(&lines);
        if damaged > usize::from(kind == Kind::Lie) {
            return Err(format!("{damaged} lines of the log are damaged"));
        }
        if damaged > 0 {
            return Ok(());
        }
        let good = if to_the_end { told == wanted } else { wanted.starts_with(&told) };
        if good { Ok(()) } else { Err(format!("the log tells {told:?}, not {wanted:?}")) }
    }

    /// Runs the verb as it is, and notes where that leads.
    fn end(&self, device: &Device<'_>) -> Result<End> {
        let code = device.verb(self.case.verb)?;
        let status = device.status()?.ok_or("there is no store after the verb")?;
        let tale = tale::settled(&device.log()?.0);
        device.images_are_right(&status.state)?;
        device.current_is_right(&status)?;
        Ok(End { code, status, tale, names: device.names()? })
    }

    fn learn(&self) -> Result<Learned> {
        let job = self.job(0);
        let (trace, shop) = (job.join("trace"), self.dir.with_file_name("shop"));
        let run = |strace: &mut Command| {
            self.restore(0)?;
            self.under(strace, 0).map(drop)
        };
        let mut learned = Learned::paths(run, &trace, &[&job.join("store"), &shop])?;
        learned.paths.insert(text(&job.join("out")));
        learned.calls(run, &trace)
    }

    /// Runs the verb under this `strace`, its output in a file so that it counts.
    fn under(&self, strace: &mut Command, job: usize) -> Result<Done> {
        let job = self.job(job);
        let (out, err) = (job.join("out"), job.join("err"));
        let create =
            |path: &Path| File::create(path).map_err(|e| format!("cannot make {}: {e}", path.display()));
        strace.arg(self.shop.siding()).args(["--threads", "1"]).args(self.shop.words(self.case.verb));
        self.shop.prepare(strace, &job.join("store"));
        strace.stdout(create(&out)?).stderr(create(&err)?);
        let status = strace.status().map_err(|e| format!("cannot run strace: {e}"))?;
        if status.signal().is_some_and(|signal| signal != 9) {
            return Err(format!("it ended with {status}"));
        }
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let ours: Vec<String> =
            read(&err).lines().filter(|line| !line.starts_with("strace: ")).map(str::to_owned).collect();
        Ok(Done { code: status.code(), out: read(&out), err: ours.join("\n") })
    }

    /// A fresh copy of the store that the verb starts from.
    fn restore(&self, job: usize) -> Result<Device<'a>> {
        let (template, store) = (self.dir.join("template"), self.job(job).join("store"));
        let io = |e| format!("cannot copy the store to {}: {e}", store.display());
        fs::create_dir_all(self.job(job)).map_err(io)?;
        if store.exists() {
            run("chmod", &["-R", "u+rwX", &text(&store)])?;
            fs::remove_dir_all(&store).map_err(io)?;
        }
        if template.exists() {
            run("cp", &["-a", "--reflink=auto", &text(&template), &text(&store)])?;
        }
        Ok(Device { shop: self.shop, store })
    }

    fn job(&self, job: usize) -> PathBuf {
        self.dir.join(format!("job-{job}"))
    }
}

/// The first name that is not in the other, or not with the same content.
fn differing<'a>(
    names: &'a BTreeMap<PathBuf, Option<Vec<u8>>>,
    other: &BTreeMap<PathBuf, Option<Vec<u8>>>,
) -> Option<&'a PathBuf> {
    names.iter().find(|(name, content)| other.get(*name) != Some(content)).map(|(name, _)| name)
}

/// Kills an install when all is written and nothing is sealed: where its checkpoint would go.
fn interrupt(device: &Device<'_>, line: &str) -> Result<()> {
    let checkpoint = device.store.join("components/lib/a/checkpoint");
    let paths = BTreeSet::from([text(&checkpoint)]);
    let trace = device.store.with_extension("trace");
    for call in ["unlink", "unlinkat"] {
        let at = Injection { call: call.to_owned(), kind: Kind::Kill, nth: 1, of_record: false };
        let mut strace = spoiling(&at, &trace, &paths);
        strace.arg(device.shop.siding()).args(device.shop.words(line));
        device.shop.prepare(&mut strace, &device.store);
        let status = strace.output().map_err(|e| format!("cannot run strace: {e}"))?.status;
        if status.signal().is_some() {
            return Ok(());
        }
    }
    Err(format!("`{line}` was not interrupted"))
}

impl Injection {
    /// Whether one of the record's two copies could not be read.
    fn loses_a_record(&self) -> bool {
        self.of_record && self.kind == Kind::Eio && matches!(self.call.as_str(), "read" | "pread64")
    }
}

impl Status {
    /// Of a store that says nothing.
    fn nothing() -> Self {
        Self::of(Value::Null)
    }
}
