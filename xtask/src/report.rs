//! The measurements as Markdown tables, and the promises they are held to. Reads and writes nothing.

use crate::corpus::Outcome;
use crate::tools::Tool;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// One pair and what every tool made of it.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) kind: String,
    /// Whether it is an ELF program or a tree of little else.
    pub(crate) elf: bool,
    /// The new version's bytes, as one file.
    pub(crate) new_bytes: u64,
    /// What the old version takes when mapped: each of its files in whole pages.
    pub(crate) old_pages: u64,
    pub(crate) outcomes: Vec<(Tool, Outcome)>,
    /// The promises that do not hold on this pair.
    pub(crate) broken: Vec<String>,
}

/// What the tables are headed with.
pub(crate) struct Heading {
    pub(crate) machine: String,
    pub(crate) today: String,
    pub(crate) commit: String,
    pub(crate) command: String,
    pub(crate) in_memory: bool,
    pub(crate) runs: usize,
    /// Whether there are reference figures beside what was measured.
    pub(crate) reference: bool,
}

/// What a peer makes of a pair, by the pair's name, measured elsewhere.
pub(crate) type Reference = BTreeMap<String, u64>;
type Versions = [(Tool, String)];

/// A patch may be larger than the better of two zstd runs by this much: its manifest.
const OVERHEAD: u64 = 2048;
/// An apply may use this much memory beside the mapped old image.
const MEMORY: u64 = 64 << 20;
const NONE: &str = "–";
const BEGIN: &str = "<!-- corpus:begin -->";
const END: &str = "<!-- corpus:end -->";

impl Row {
    pub(crate) fn outcome(&self, tool: Tool) -> Option<&Outcome> {
        self.outcomes.iter().find(|(other, _)| *other == tool).map(|(_, outcome)| outcome)
    }

    /// Notes which of our promises are broken: the size beside zstd, the memory of an apply.
    pub(crate) fn check_promises(&mut self) {
        let Some(ours) = self.outcome(Tool::Siding).copied() else { return };
        let zstd = [Tool::Zstd, Tool::ZstdFrom].map(|tool| self.outcome(tool).map(|o| o.patch));
        if let Some(limit) = zstd.into_iter().flatten().min().map(|bytes| bytes + OVERHEAD)
            && ours.patch > limit
        {
            self.broken.push(format!("the patch has {} bytes, zstd and 2 KiB make {limit}", ours.patch));
        }
        let limit = self.old_pages + MEMORY;
        if ours.apply.resident > limit {
            let used = ours.apply.resident;
            self.broken.push(format!("apply used {used} bytes, the old image and 64 MiB make {limit}"));
        }
    }

    /// Our patch against the smallest of any peer.
    fn ratio(&self, reference: &Reference) -> Option<f64> {
        let ours = self.outcome(Tool::Siding)?.patch;
        self.best_peer(reference).map(|best| ours as f64 / best.max(1) as f64)
    }

    /// Whether it is a security fix, or OpenSSL's libraries: small changes to the same sources.
    fn is_fix(&self) -> bool {
        ["sec-", "libssl", "libcrypto"].iter().any(|start| self.name.starts_with(start))
    }

    /// The smallest patch of any peer, the reference figure included.
    fn best_peer(&self, reference: &Reference) -> Option<u64> {
        let measured = self.outcomes.iter().filter(|(tool, _)| tool.is_peer()).map(|(_, o)| o.patch);
        measured.chain(reference.get(&self.name).copied()).min()
    }
}

/// Everything between the markers.
pub(crate) fn markdown(head: &Heading, tools: &Versions, rows: &[Row], reference: &Reference) -> String {
    let mut out = heading(head, tools);
    out += "\n### Size of a patch, bytes\n\n";
    out += &sizes(tools, rows, reference);
    out += "\n### Time to make a patch\n\n";
    out += &table(tools, rows, |o| duration(o.make.wall));
    out += "\n### Peak memory of making a patch, resident, MiB\n\n";
    out += &table(tools, rows, |o| mebibytes(o.make.resident));
    out += "\n### Time to apply a patch\n\n";
    out += &table(tools, rows, |o| duration(o.apply.wall));
    out += "\n### Peak memory of applying a patch, private / resident, MiB\n\n";
    out +=
        &table(tools, rows, |o| format!("{} / {}", mebibytes(o.apply.private), mebibytes(o.apply.resident)));
    out
}

/// `before` with what stands between the markers replaced, or added at its end.
pub(crate) fn between_markers(before: &str, text: &str) -> String {
    let (above, below) = match (before.find(BEGIN), before.find(END)) {
        (Some(begin), Some(end)) if begin < end => (&before[..begin], &before[end + END.len()..]),
        _ => (before, "\n"),
    };
    let gap = if above.ends_with("\n\n") || above.is_empty() { "" } else { "\n" };
    format!("{above}{gap}{BEGIN}\n{}\n{END}{below}", text.trim_end())
}

/// What stands between the markers of `text`, if they are there.
pub(crate) fn within_markers(text: &str) -> Option<&str> {
    let (_, after) = text.split_once(BEGIN)?;
    after.split_once(END).map(|(within, _)| within)
}

fn heading(head: &Heading, tools: &Versions) -> String {
    let Heading { machine, today, commit, command, .. } = head;
    let place =
        if head.in_memory { "patch and output in memory (tmpfs)" } else { "patch and output on disk" };
    let mut out = format!(
        "## Real pairs, beside other tools\n\n\
         Measured {today} at {commit} on {machine}, made again by (DIR is what the corpus' `fetch.sh` made):\n\n\
         ```\n{command}\n```\n\n\
         Whole processes, one at a time; old image in the page cache, {place}. A patch is made once; an apply is \
         the median of {} runs after a first one that is not timed. Every result was compared with the new \
         version. siding is given trees as they are, the others as sorted tar files. *Private* memory is the \
         largest `RssAnon` sampled from `/proc` every 0.2 ms in that first run, *resident* is `VmHWM`: it counts \
         mapped files, so the old image too. HDiffPatch's times leave out the start of the Python interpreter, \
         its memory does not. {NONE}: not run (bsdiff above 60 MB), or no figure.\n\n",
        head.runs
    );
    for (tool, version) in tools {
        let version = if version.is_empty() { String::new() } else { format!(" {version}") };
        let _ = writeln!(out, "* {}{version}: {}", tool.name(), tool.settings());
    }
    if head.reference {
        out += "* zucchini: reference figures, zucchini and `xz -9e`, measured once elsewhere\n";
    }
    out
}

fn sizes(tools: &Versions, rows: &[Row], reference: &Reference) -> String {
    let mut out = String::from("| pair | kind | new image |");
    tools.iter().for_each(|(tool, _)| out += &format!(" {} |", tool.name()));
    out += " zucchini | siding ÷ best peer |\n| --- | --- | ---: |";
    out += &" ---: |".repeat(tools.len() + 2);
    out.push('\n');
    for row in rows {
        let ours = row.outcome(Tool::Siding).map(|o| o.patch);
        let best = row.best_peer(reference);
        let smallest = best.into_iter().chain(ours).min();
        let cell = |bytes: Option<u64>| match bytes {
            Some(bytes) if Some(bytes) == smallest => format!("**{}**", grouped(bytes)),
            Some(bytes) => grouped(bytes),
            None => NONE.to_owned(),
        };
        let _ = write!(out, "| {} | {} | {} |", row.name, row.kind, grouped(row.new_bytes));
        for (tool, _) in tools {
            let _ = write!(out, " {} |", cell(row.outcome(*tool).map(|o| o.patch)));
        }
        let ratio = row.ratio(reference).map_or(NONE.to_owned(), |ratio| format!("{ratio:.3}"));
        let _ = writeln!(out, " {} | {ratio} |", cell(reference.get(&row.name).copied()));
    }
    let none = Reference::new();
    type Belongs = fn(&Row) -> bool;
    let groups: [(Option<&str>, Belongs, &Reference); 3] = [
        (None, |_| true, reference),
        (Some("security fixes and OpenSSL, zucchini aside"), Row::is_fix, &none),
        (Some("other ELF pairs"), |row| row.elf && !row.is_fix(), reference),
    ];
    for (group, belongs, reference) in groups {
        let ratios: Vec<f64> =
            rows.iter().filter(|row| belongs(row)).filter_map(|row| row.ratio(reference)).collect();
        if let Some(mean) = geometric_mean(&ratios) {
            let empty = "  |".repeat(tools.len() + 3);
            let group = group.map(|group| format!(": {group}")).unwrap_or_default();
            let _ = writeln!(out, "| geometric mean{group} ({}) |{empty} {mean:.3} |", ratios.len());
        }
    }
    out
}

/// One column a tool, one line a pair.
fn table(tools: &Versions, rows: &[Row], cell: impl Fn(&Outcome) -> String) -> String {
    let mut out = String::from("| pair |");
    tools.iter().for_each(|(tool, _)| out += &format!(" {} |", tool.name()));
    out += &format!("\n| --- |{}\n", " ---: |".repeat(tools.len()));
    for row in rows {
        let _ = write!(out, "| {} |", row.name);
        for (tool, _) in tools {
            let _ = write!(out, " {} |", row.outcome(*tool).map_or(NONE.to_owned(), &cell));
        }
        out.push('\n');
    }
    out
}

pub(crate) fn geometric_mean(ratios: &[f64]) -> Option<f64> {
    let logarithms: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (!ratios.is_empty()).then(|| (logarithms / ratios.len() as f64).exp())
}

/// 1234567 → 1,234,567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Three digits that matter: 1.23 ms, 45.6 ms, 789 ms, 1.23 s, 456 s.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (value, unit) = if seconds < 1.0 { (seconds * 1e3, "ms") } else { (seconds, "s") };
    let places = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.places$} {unit}")
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Cost;

    fn outcome(patch: u64, resident: u64) -> Outcome {
        let apply = Cost { resident, ..Cost::default() };
        Outcome { patch, make: Cost::default(), apply }
    }

    fn row(outcomes: Vec<(Tool, Outcome)>) -> Row {
        let (name, kind) = ("p".to_owned(), "file".to_owned());
        Row { name, kind, elf: false, new_bytes: 1_000_000, old_pages: 4096, outcomes, broken: vec![] }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let printed =
            [1_234u64, 45_600, 789_000, 1_234_000, 456_000_000].map(|us| duration(Duration::from_micros(us)));
        assert_eq!(printed, ["1.23 ms", "45.6 ms", "789 ms", "1.23 s", "456 s"]);
        assert_eq!(mebibytes(3 << 19), "1.5");
        assert!((geometric_mean(&[0.5, 2.0, 1.0]).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(geometric_mean(&[]), None);
    }

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let first = between_markers("# Performance\n", "one\n");
        assert_eq!(first, format!("# Performance\n\n{BEGIN}\none\n{END}\n"));
        let kept = format!("{first}\nother words\n");
        assert_eq!(between_markers(&kept, "two"), kept.replace("one", "two"));
    }

    #[test]
    fn the_ratio_is_to_the_best_peer_and_zstd_alone_is_none() {
        let rows = [row(vec![
            (Tool::Siding, outcome(50, 0)),
            (Tool::Bsdiff, outcome(200, 0)),
            (Tool::Zstd, outcome(10, 0)),
        ])];
        let tools = [Tool::Siding, Tool::Bsdiff, Tool::Zstd].map(|tool| (tool, String::new()));
        let table = sizes(&tools, &rows, &Reference::new());
        assert!(table.contains("| p | file | 1,000,000 | **50** | 200 | 10 | – | 0.250 |"), "{table}");
        let table = sizes(&tools, &rows, &Reference::from([("p".to_owned(), 100)]));
        assert!(table.contains("| 100 | 0.500 |"), "{table}");
        let columns = |line: &str| line.matches('|').count();
        assert!(table.lines().all(|line| columns(line) == columns(table.lines().next().unwrap())), "{table}");
    }

    #[test]
    fn groups_have_means_of_their_own() {
        let named = |name: &str, elf: bool, ours: u64| {
            let outcomes = vec![(Tool::Siding, outcome(ours, 0)), (Tool::Bsdiff, outcome(100, 0))];
            Row { name: name.to_owned(), elf, ..row(outcomes) }
        };
        let rows = [
            named("sec-x", true, 10),
            named("libssl-y", true, 40),
            named("jsc", true, 50),
            named("text", false, 90),
        ];
        let tools = [Tool::Siding, Tool::Bsdiff].map(|tool| (tool, String::new()));
        // Zucchini's figure counts for other ELF pairs alone.
        let reference = ["sec-x", "jsc"].map(|name| (name.to_owned(), 80)).into();
        let table = sizes(&tools, &rows, &reference);
        assert!(
            table.contains(
                "| geometric mean: security fixes and OpenSSL, zucchini aside (2) |  |  |  |  |  | 0.200 |"
            ),
            "{table}"
        );
        assert!(table.contains("| geometric mean: other ELF pairs (1) |  |  |  |  |  | 0.625 |"), "{table}");
        let columns = |line: &str| line.matches('|').count();
        assert!(table.lines().all(|line| columns(line) == columns(table.lines().next().unwrap())), "{table}");
    }

    #[test]
    fn broken_promises_are_noticed() {
        let broken = |ours: Outcome, zstd: &[(Tool, Outcome)]| {
            let mut row = row([&[(Tool::Siding, ours)], zstd].concat());
            row.check_promises();
            row.broken.len()
        };
        let zstd = [(Tool::Zstd, outcome(9000, 0)), (Tool::ZstdFrom, outcome(1000, 0))];
        assert_eq!(broken(outcome(3048, 0), &zstd), 0);
        assert_eq!(broken(outcome(3049, 0), &zstd), 1);
        assert_eq!(broken(outcome(u64::MAX, 0), &[]), 0);
        assert_eq!(broken(outcome(1, (64 << 20) + 4096), &zstd), 0);
        assert_eq!(broken(outcome(1, (64 << 20) + 4097), &zstd), 1);
    }
}
