//! `cargo xtask instructions`: what the applier's core has the processor do for fixed inputs, counted by callgrind.
//!
//! Time differs from run to run and from machine to machine; the number of instructions hardly does, so a change of
//! a few percent shows in review. Only the apply is counted, not making the patch nor opening the source:
//! collection is switched on by the one function that carries the patch out. Valgrind's processor has no SHA
//! instructions, so hashing takes far more than on a real one and would drown the rest; that is why what remains
//! without it is counted as well.
//!
//! Figures of another compiler, machine or valgrind are not comparable; then they are shown and not judged.

use crate::report::grouped;
use crate::{Result, measure, tools, workspace};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

pub(crate) const USAGE: &str = "\
cargo xtask instructions [options]   compares with benches/instructions.txt

  --update          write the figures there instead
  --require         fail where valgrind is missing or the figures are not comparable (else: say so, and succeed)";

/// What may differ without a reason, in percent.
const TOLERANCE: u64 = 2;
const COMMITTED: &str = "benches/instructions.txt";
/// The function whose instructions are collected; patterns match it however its name is mangled.
const COUNTED: &str = "*carry_out*";

/// What one input takes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Count {
    name: String,
    /// All instructions.
    all: u64,
    /// Those that are not SHA-256.
    core: u64,
}

/// An input as it was made, with what it takes.
struct Input {
    count: Count,
    target: u64,
    patch: u64,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let (mut update, mut require) = (false, false);
    for arg in args {
        match arg.as_str() {
            "--update" => update = true,
            "--require" => require = true,
            odd => return Err(format!("what is {odd:?}?\n\n{USAGE}")),
        }
    }
    if !tools::in_path("valgrind") {
        return skipped("valgrind is not installed", require);
    }
    let (inputs, with) = (count_all()?, tools_used());
    println!("{}", table(&inputs));
    let counts: Vec<Count> = inputs.into_iter().map(|input| input.count).collect();
    let file = workspace().join(COMMITTED);
    if update {
        return fs::write(&file, written(&with, &counts))
            .map_err(|e| format!("cannot write {COMMITTED}: {e}"));
    }
    let text = fs::read_to_string(&file).map_err(|e| format!("cannot read {COMMITTED}: {e}"))?;
    let (counted_with, committed) = read(&text)?;
    if counted_with != with {
        let why = format!("{COMMITTED} was counted with {counted_with}, and here is {with}");
        return skipped(&why, require);
    }
    match deviations(&committed, &counts) {
        none if none.is_empty() => Ok(()),
        some => Err(format!(
            "not what {COMMITTED} says, within {TOLERANCE} %:\n\n{some}\nIf that is meant, commit what \
             `cargo xtask instructions --update` writes, and say why."
        )),
    }
}

fn skipped(why: &str, require: bool) -> Result<()> {
    if require {
        return Err(format!("cannot compare instructions: {why}"));
    }
    println!("skipped: {why}");
    Ok(())
}

/// Everything that decides what is counted, beside the code.
fn tools_used() -> String {
    let version = |program: &str| measure::ask(program, &["--version"]).unwrap_or_default();
    let rustc = version("rustc");
    let rustc = rustc.split(" (").next().unwrap_or_default();
    format!("{rustc}, {}, {}", std::env::consts::ARCH, version("valgrind"))
}

fn count_all() -> Result<Vec<Input>> {
    let program = tools::build(&workspace(), "siding-benches", "counted")?;
    let dir = tempfile::tempdir().map_err(|e| format!("no scratch directory: {e}"))?;
    let (_, list) = measure::run(Command::new(&program).arg("make").arg(dir.path()), None)?;
    list.lines().map(|line| count(&program, dir.path(), line)).collect()
}

/// Counts the input of this line, a name and the length of its target.
fn count(program: &Path, dir: &Path, line: &str) -> Result<Input> {
    let odd = || format!("{} said {line:?}", program.display());
    let (name, target) = line.split_once('\t').ok_or_else(odd)?;
    let target = target.parse().map_err(|_| odd())?;
    let out = dir.join(format!("{name}.callgrind"));
    // Without an environment: its length moves the stack, and with it what copying memory takes.
    let mut command = Command::new("env");
    command.args(["-i", "valgrind", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no"]);
    command.arg(format!("--toggle-collect={COUNTED}"));
    command.arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(program).arg("apply").arg(dir.join(name));
    measure::run(&mut command, None)?;
    let costs = fs::read_to_string(&out).map_err(|e| format!("cannot read {}: {e}", out.display()))?;
    let (all, hashing) = costs_of(&costs, "sha2");
    if all == 0 {
        return Err(format!("callgrind found no function {COUNTED} in {}", program.display()));
    }
    let patch = fs::metadata(dir.join(name).join("patch")).map_or(0, |meta| meta.len());
    Ok(Input {
        count: Count { name: name.to_owned(), all, core: all.saturating_sub(hashing) },
        target,
        patch,
    })
}

/// What callgrind's file says was spent in all, and in functions with `part` in their names.
///
/// Such a file has, under each `fn=NAME`, lines of a position and a cost; the line after a `calls=` is the cost of
/// what was called, which that function has on lines of its own.
fn costs_of(text: &str, part: &str) -> (u64, u64) {
    let (mut all, mut some, mut matches, mut called) = (0, 0, false, false);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            matches = name.contains(part);
        } else if line.starts_with("calls=") {
            called = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit()) {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse().ok()).unwrap_or(0u64);
            if !std::mem::take(&mut called) {
                all += cost;
                some += if matches { cost } else { 0 };
            }
        }
    }
    (all, some)
}

fn table(inputs: &[Input]) -> String {
    let mut out = String::from(
        "| input | target | patch | instructions | a byte | without SHA-256 | a byte |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for Input { count, target, patch } in inputs {
        let each = |count: u64| count as f64 / (*target).max(1) as f64;
        let Count { name, all, core } = count;
        let [bytes, patch, first, second] = [*target, *patch, *all, *core].map(grouped);
        let (whole, rest) = (each(*all), each(*core));
        let _ = writeln!(out, "| {name} | {bytes} | {patch} | {first} | {whole:.2} | {second} | {rest:.2} |");
    }
    out
}

fn written(with: &str, counts: &[Count]) -> String {
    let mut out = String::from(
        "# Instructions of an apply in memory on one thread, by input: all, and those that are not SHA-256.\n\
         # Written by `cargo xtask instructions --update`; counted with:\n",
    );
    let _ = writeln!(out, "{with}");
    for Count { name, all, core } in counts {
        let _ = writeln!(out, "{name} {all} {core}");
    }
    out
}

fn read(text: &str) -> Result<(String, Vec<Count>)> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let with = lines.next().ok_or_else(|| format!("{COMMITTED} is empty"))?.to_owned();
    let count = |line: &str| {
        let odd = || format!("{COMMITTED}: a line is a name and two numbers; got {line:?}");
        let [name, all, core] = line.split(' ').collect::<Vec<_>>()[..] else { return Err(odd()) };
        let number = |text: &str| text.parse().map_err(|_| odd());
        Ok(Count { name: name.to_owned(), all: number(all)?, core: number(core)? })
    };
    Ok((with, lines.map(count).collect::<Result<_>>()?))
}

/// A table of what is not as committed; empty if all is.
fn deviations(committed: &[Count], got: &[Count]) -> String {
    let find = |list: &[Count], name: &str| list.iter().find(|count| count.name == name).cloned();
    let mut names: Vec<&str> = committed.iter().chain(got).map(|count| count.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut rows = String::new();
    for name in names {
        let (was, is) = (find(committed, name), find(got, name));
        for (what, figure) in [("all", Count::all as Figure), ("without SHA-256", Count::core)] {
            let (was, is) = (was.as_ref().map_or(0, figure), is.as_ref().map_or(0, figure));
            if is.abs_diff(was) * 100 > was * TOLERANCE {
                let ratio = is as f64 / was.max(1) as f64;
                let (was, is) = (grouped(was), grouped(is));
                let _ = writeln!(rows, "| {name} | {what} | {was} | {is} | {ratio:.3} |");
            }
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!("| input | instructions | committed | got | ratio |\n| --- | --- | ---: | ---: | ---: |\n{rows}")
}

type Figure = fn(&Count) -> u64;

impl Count {
    fn all(&self) -> u64 {
        self.all
    }

    fn core(&self) -> u64 {
        self.core
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(list: &[(&str, u64, u64)]) -> Vec<Count> {
        list.iter().map(|&(name, all, core)| Count { name: name.to_owned(), all, core }).collect()
    }

    #[test]
    fn what_is_called_is_counted_once() {
        let text = "version: 1\nevents: Ir\nfn=a\n10 5\ncfn=sha2::x\ncalls=3 20\n11 700\n12 2\n\n\
                    fn=sha2::x\n20 600\n21 100\ntotals: 707\n";
        assert_eq!(costs_of(text, "sha2"), (707, 700));
    }

    #[test]
    fn figures_come_back_as_they_were_written() {
        let figures = counts(&[("a", 100, 50), ("b", 7, 7)]);
        assert_eq!(read(&written("rustc 1, x, v", &figures)), Ok(("rustc 1, x, v".to_owned(), figures)));
        assert!(read("with\na 1").is_err() && read("").is_err());
    }

    #[test]
    fn two_percent_pass_and_more_is_named() {
        let committed = counts(&[("a", 10_000, 1_000), ("b", 500, 500)]);
        assert_eq!(deviations(&committed, &counts(&[("a", 10_200, 981), ("b", 500, 500)])), "");
        let rows = deviations(&committed, &counts(&[("a", 10_100, 1_100), ("b", 500, 500)]));
        assert!(rows.contains("| a | without SHA-256 | 1,000 | 1,100 | 1.100 |"), "{rows}");
        assert!(!rows.contains("| all |") && !rows.contains("| b |"), "{rows}");
        // What came or went is a deviation, too.
        assert!(deviations(&committed, &committed[..1]).contains("| b | all | 500 | 0 |"));
        assert!(deviations(&committed[..1], &committed).contains("| b | all | 0 | 500 |"));
    }
}
