//! `cargo xtask corpus`: every pair of real versions through whole processes, ours and other people's.
//!
//! Each patch is made once and carried out several times, one process at a time. Every result is compared
//! with the new version; a wrong result is a failure, of ours or of theirs.

use crate::measure::{self, Cost};
use crate::report::{self, Row};
use crate::tools::{self, Job, Tool, Toolbox};
use crate::{Result, compare, machine, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
cargo xtask corpus DIR [options]     DIR is what the corpus' fetch.sh made

  --pair NAME       only this pair (may be repeated)
  --runs N          apply N times and take the median (5)
  --out FILE        write the tables between the corpus markers of this Markdown file, not to the terminal
  --check           only our own round trips and promises; fails on the first broken one (for CI)
  --peers-only      only the other tools
  --peers FILE      reference figures, a table with columns name and zucchini_xz (dashes without)
  --siding FILE     use this binary and build none";

/// What a tool made of a pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// The patch's length in bytes.
    pub(crate) patch: u64,
    /// Making it: sampled.
    pub(crate) make: Cost,
    /// Carrying it out: the median time of the timed runs, the memory of the one before them.
    pub(crate) apply: Cost,
}

#[derive(Default)]
struct Options {
    dir: PathBuf,
    pairs: Vec<String>,
    runs: usize,
    out: Option<PathBuf>,
    check: bool,
    peers_only: bool,
    peers: Option<PathBuf>,
    siding: Option<PathBuf>,
}

struct Pair {
    name: String,
    kind: String,
    old: PathBuf,
    new: PathBuf,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let workspace = workspace();
    let pairs = pairs(&options)?;
    let reference = options.peers.as_deref().map(reference).transpose()?.unwrap_or_default();
    let siding = match (&options.siding, options.peers_only) {
        (_, true) => None,
        (Some(siding), _) => Some(siding.clone()),
        (None, _) => Some(tools::build_siding(&workspace)?),
    };
    let toolbox = match siding {
        Some(siding) if options.check => Toolbox::ours(siding),
        siding => Toolbox::all(siding, &workspace.join("target/xtask")),
    };
    toolbox.missing.iter().for_each(|note| eprintln!("{note}"));
    let mut rows = Vec::new();
    let mut broken = Vec::new();
    for pair in &pairs {
        eprintln!("{}", pair.name);
        let row = measure_pair(&toolbox, pair, &options)?;
        row.broken.iter().for_each(|promise| eprintln!("  BROKEN: {promise}"));
        broken.extend(row.broken.iter().map(|promise| format!("{}: {promise}", pair.name)));
        rows.push(row);
    }
    if !options.check {
        publish(&options, &toolbox, &rows, &reference, &workspace)?;
    }
    if broken.is_empty() { Ok(()) } else { Err(format!("broken promises:\n{}", broken.join("\n"))) }
}

/// One pair through every tool.
fn measure_pair(toolbox: &Toolbox, pair: &Pair, options: &Options) -> Result<Row> {
    let scratch =
        tempfile::tempdir_in(machine::scratch()).map_err(|e| format!("no scratch directory: {e}"))?;
    let scratch = scratch.path();
    let (old_tar, new_tar) =
        (as_file(&pair.old, &scratch.join("old"))?, as_file(&pair.new, &scratch.join("new"))?);
    let length = |path: &Path| compare::size(path, 1);
    let mut row = Row {
        name: pair.name.clone(),
        kind: pair.kind.clone(),
        elf: pair.kind.starts_with("elf-") || compare::is_elf_tree(&pair.new)?,
        new_bytes: length(&new_tar)?,
        old_pages: compare::size(&pair.old, 4096)?,
        outcomes: Vec::new(),
        broken: Vec::new(),
    };
    let largest = length(&old_tar)?.max(row.new_bytes);
    let tools = toolbox.tools.iter().map(|(tool, _)| *tool).filter(|tool| tool.can_take(largest));
    let one = |tool: Tool| {
        let (old, new) = if tool.takes_trees() { (&pair.old, &pair.new) } else { (&old_tar, &new_tar) };
        let (patch, out) = (&scratch.join(format!("{tool:?}.patch")), &scratch.join(format!("{tool:?}.out")));
        let job = Job { name: &pair.name, old, new, patch, out };
        let outcome = measure_tool(toolbox, tool, &job, options);
        remove(patch).and_then(|()| remove(out)).and(outcome)
    };
    let outcomes: Vec<(Tool, Result<Outcome>)> =
        if options.check { at_once(tools, &one) } else { tools.map(|tool| (tool, one(tool))).collect() };
    for (tool, outcome) in outcomes {
        match outcome {
            Ok(outcome) => {
                eprintln!("  {:<18} {:>12} bytes", tool.name(), outcome.patch);
                row.outcomes.push((tool, outcome));
            }
            Err(why) if tool == Tool::Siding => row.broken.push(why),
            Err(why) => eprintln!("  {} failed and is left out: {why}", tool.name()),
        }
    }
    row.check_promises();
    Ok(row)
}

/// All tools side by side: for a check, where no time counts.
fn at_once(
    tools: impl Iterator<Item = Tool>,
    one: &(impl Fn(Tool) -> Result<Outcome> + Sync),
) -> Vec<(Tool, Result<Outcome>)> {
    std::thread::scope(|scope| {
        let started: Vec<_> = tools.map(|tool| (tool, scope.spawn(move || one(tool)))).collect();
        let ended = |(tool, thread): (_, std::thread::ScopedJoinHandle<'_, _>)| {
            (tool, thread.join().unwrap_or_else(|_| Err("its thread ended by a panic".to_owned())))
        };
        started.into_iter().map(ended).collect()
    })
}

/// One tool on one pair; the result is compared with the new version before anything is timed, and after.
fn measure_tool(toolbox: &Toolbox, tool: Tool, job: &Job<'_>, options: &Options) -> Result<Outcome> {
    const COARSE: Duration = Duration::from_millis(1);
    const FINE: Duration = Duration::from_micros(200);
    let make = timed(tool, &mut toolbox.encode(tool, job), Some(COARSE))?;
    let patch = compare::size(job.patch, 1)?;
    if options.check && tool != Tool::Siding {
        return Ok(Outcome { patch, make, apply: Cost::default() });
    }
    let mut decode = toolbox.decode(tool, job);
    let mut apply = timed(tool, &mut decode, Some(FINE))?;
    compare::same(job.new, job.out)?;
    if tool == Tool::Siding {
        measure::run(&mut toolbox.verify(job), None)?;
    }
    let mut times = Vec::new();
    let runs = if options.check { 0 } else { options.runs };
    for _ in 0..runs {
        remove(job.out)?;
        times.push(timed(tool, &mut decode, None)?.wall);
    }
    if !times.is_empty() {
        compare::same(job.new, job.out)?;
        apply.wall = median(times);
    }
    Ok(Outcome { patch, make, apply })
}

/// The cost of a run; the Python wheel says itself how long it took without the interpreter's start.
fn timed(tool: Tool, command: &mut Command, interval: Option<Duration>) -> Result<Cost> {
    let (mut cost, said) = measure::run(command, interval)?;
    if tool == Tool::HDiffPatch {
        let seconds: f64 =
            said.trim().parse().map_err(|_| format!("HDiffPatch said no time but {said:?}"))?;
        cost.wall = Duration::from_secs_f64(seconds);
    }
    Ok(cost)
}

/// The same image as one file: trees as a tar file that depends on the tree's content only.
fn as_file(image: &Path, tar: &Path) -> Result<PathBuf> {
    if !image.is_dir() {
        return Ok(image.to_owned());
    }
    let mut command = Command::new("tar");
    command.args(["--format=gnu", "--sort=name", "--numeric-owner", "--mtime=@0", "-cf"]);
    command.arg(tar).arg("-C").arg(image).arg(".");
    measure::run(&mut command, None)?;
    Ok(tar.to_owned())
}

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    let (below, above) = (times.len().saturating_sub(1) / 2, times.len() / 2);
    match (times.get(below), times.get(above)) {
        (Some(&below), Some(&above)) => (below + above) / 2,
        _ => Duration::ZERO,
    }
}

pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.map_err(|e| format!("cannot remove {}: {e}", path.display()))
}

fn publish(
    options: &Options,
    toolbox: &Toolbox,
    rows: &[Row],
    reference: &report::Reference,
    workspace: &Path,
) -> Result<()> {
    let heading = report::Heading {
        machine: machine::facts(),
        today: machine::today(),
        commit: machine::commit(workspace),
        command: options.command(),
        in_memory: machine::scratch().starts_with("/dev/shm"),
        runs: options.runs,
        reference: !reference.is_empty(),
    };
    let text = report::markdown(&heading, &toolbox.tools, rows, reference);
    let Some(out) = &options.out else {
        println!("{text}");
        return Ok(());
    };
    let before = match fs::read_to_string(out) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        before => Ok(before.unwrap_or_else(|_| "# Performance\n".to_owned())),
    };
    before
        .and_then(|before| fs::write(out, report::between_markers(&before, &text)))
        .map_err(|e| format!("cannot write {}: {e}", out.display()))
}

/// Patch sizes of zucchini, measured once: pair → bytes.
fn reference(file: &Path) -> Result<report::Reference> {
    let text = fs::read_to_string(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
    let mut lines = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t'));
    let column = lines.next().and_then(|mut names| names.position(|name| name == "zucchini_xz"));
    let column = column.and_then(|column| column.checked_sub(1));
    let column = column.ok_or_else(|| format!("{} has no column zucchini_xz", file.display()))?;
    let figure = |mut fields: std::str::Split<'_, char>| {
        let name = fields.next()?.to_owned();
        Some((name, fields.nth(column)?.parse().ok()?))
    };
    Ok(lines.filter_map(figure).collect())
}

fn pairs(options: &Options) -> Result<Vec<Pair>> {
    let list = options.dir.join("pairs.tsv");
    let text = fs::read_to_string(&list).map_err(|e| format!("cannot read {}: {e}", list.display()))?;
    let all: Vec<Pair> = text.lines().map(parse_pair).collect::<Result<_>>()?;
    if let Some(unknown) = options.pairs.iter().find(|name| all.iter().all(|pair| pair.name != **name)) {
        return Err(format!("{} lists no pair called {unknown}", list.display()));
    }
    let wanted = |pair: &Pair| options.pairs.is_empty() || options.pairs.contains(&pair.name);
    Ok(all.into_iter().filter(wanted).collect())
}

fn parse_pair(line: &str) -> Result<Pair> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, kind, old, new] = fields[..] else {
        return Err(format!("a line of pairs.tsv is name, kind, old, new; got {line:?}"));
    };
    Ok(Pair { name: name.into(), kind: kind.into(), old: old.into(), new: new.into() })
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self { runs: 5, ..Self::default() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value\n\n{USAGE}"));
            match arg.as_str() {
                "--pair" => options.pairs.push(value()?.clone()),
                "--runs" => {
                    options.runs = value()?.parse().map_err(|_| "--runs needs a number".to_owned())?;
                }
                "--out" => options.out = Some(value()?.into()),
                "--peers" => options.peers = Some(value()?.into()),
                "--siding" => options.siding = Some(value()?.into()),
                "--check" => options.check = true,
                "--peers-only" => options.peers_only = true,
                dir if options.dir.as_os_str().is_empty() && !dir.starts_with('-') => {
                    options.dir = dir.into();
                }
                odd => return Err(format!("what is {odd:?}?\n\n{USAGE}")),
            }
        }
        if options.dir.as_os_str().is_empty() || options.runs == 0 || options.check && options.peers_only {
            return Err(USAGE.to_owned());
        }
        Ok(options)
    }

    /// The command that makes the tables again, without this machine's paths.
    fn command(&self) -> String {
        let pairs = self.pairs.iter().map(|name| format!(" --pair {name}"));
        let only = if self.peers_only { " --peers-only" } else { "" };
        let peers = if self.peers.is_some() { " --peers FILE" } else { "" };
        let out = self.out.as_ref().and_then(|out| out.file_name()).map(|name| name.to_string_lossy());
        let out = out.map(|name| format!(" --out docs/{name}")).unwrap_or_default();
        format!("cargo xtask corpus DIR{} --runs {}{only}{peers}{out}", pairs.collect::<String>(), self.runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options> {
        Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_and_printed_without_paths() {
        let options = parsed("/some/where --pair a --pair b --runs 3 --out /x/docs/performance.md").unwrap();
        let expected = "cargo xtask corpus DIR --pair a --pair b --runs 3 --out docs/performance.md";
        assert_eq!(options.command(), expected);
    }

    #[test]
    fn reference_figures_come_from_the_file_that_is_named_and_from_nowhere_else() {
        assert!(parsed("d").unwrap().peers.is_none());
        let options = parsed("d --peers /x/peers.tsv").unwrap();
        assert_eq!(options.command(), "cargo xtask corpus DIR --runs 5 --peers FILE");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("peers.tsv");
        assert!(reference(&file).unwrap_err().contains("cannot read"));
        fs::write(&file, "# words\nname\tkind\tzucchini_xz\na\telf\t12\nb\telf\t-\n").unwrap();
        assert_eq!(reference(&file).unwrap(), [("a".to_owned(), 12)].into());
        fs::write(&file, "name\tkind\n").unwrap();
        assert!(reference(&file).unwrap_err().contains("no column zucchini_xz"));
    }

    #[test]
    fn odd_options_are_refused() {
        for line in
            ["", "--runs", "d --runs x", "d --runs 0", "d e", "d --odd", "--check", "d --check --peers-only"]
        {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_median_is_the_middle() {
        let ms = |list: &[u64]| median(list.iter().map(|&n| Duration::from_millis(n)).collect()).as_millis();
        assert_eq!((ms(&[]), ms(&[7]), ms(&[9, 1, 2]), ms(&[4, 1, 2, 90])), (0, 7, 2, 3));
    }
}
