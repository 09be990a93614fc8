//! `cargo xtask plot`: the corpus' tables as pictures.
//!
//! Reads the tables between the markers of `docs/performance.md` and draws for each pair how siding stands to the best
//! peer: one bar a pair, on a logarithmic axis, with a line where both are even. The pictures are SVG written by
//! hand, in greys and one blue that read on white and on black; a reader's colour scheme chooses between them.

use crate::report::{geometric_mean, within_markers};
use crate::{Result, workspace};
use std::fmt::Write;
use std::fs;

pub(crate) const USAGE: &str = "\
cargo xtask plot                     draws docs/plots/*.svg from the tables of docs/performance.md";

/// A picture: which table it is of and what it says.
struct Chart {
    file: &'static str,
    /// The heading above the table.
    table: &'static str,
    title: &'static str,
}

const CHARTS: [Chart; 3] = [
    Chart {
        file: "size.svg",
        table: "### Size of a patch, bytes",
        title: "Size of a patch, relative to the best of the other tools",
    },
    Chart {
        file: "make.svg",
        table: "### Time to make a patch",
        title: "Time to make a patch, relative to the fastest of the other tools",
    },
    Chart {
        file: "apply.svg",
        table: "### Time to apply a patch",
        title: "Time to apply a patch, relative to the fastest of the other tools",
    },
];

/// A pair and siding's figure divided by the best peer's.
type Bar = (String, f64);

pub(crate) fn run(args: &[String]) -> Result<()> {
    if !args.is_empty() {
        return Err(USAGE.to_owned());
    }
    let source = workspace().join("docs/performance.md");
    let text = fs::read_to_string(&source).map_err(|e| format!("cannot read {}: {e}", source.display()))?;
    let dir = workspace().join("docs/plots");
    fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    for chart in CHARTS {
        let path = dir.join(chart.file);
        let drawn = svg(chart.title, &bars(&text, chart.table)?);
        fs::write(&path, drawn).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

// ---- from a table to bars

/// One bar for each pair of the table under `heading`.
fn bars(text: &str, heading: &str) -> Result<Vec<Bar>> {
    let tables = within_markers(text).ok_or("docs/performance.md has no tables between corpus markers")?;
    let lines = tables.split_once(heading).ok_or_else(|| format!("there is no {heading:?}"))?.1;
    let mut rows = lines.lines().skip_while(|line| !line.starts_with('|')).map_while(cells);
    let head = rows.next().unwrap_or_default();
    let ours = head.iter().position(|name| *name == "siding").ok_or("the table has no column siding")?;
    let peers: Vec<usize> = (0..head.len()).filter(|column| is_peer(head[*column])).collect();
    let figure = |row: &[&str], column: usize| row.get(column).and_then(|cell| number(cell));
    let bar = |row: Vec<&str>| {
        let best = peers.iter().filter_map(|peer| figure(&row, *peer)).reduce(f64::min)?;
        Some((row.first()?.to_string(), figure(&row, ours)? / best))
    };
    let bars: Vec<Bar> = rows.filter_map(bar).collect();
    if bars.is_empty() { Err(format!("there is no pair under {heading:?}")) } else { Ok(bars) }
}

/// Whether siding is held against what this column has.
fn is_peer(column: &str) -> bool {
    ["bsdiff", "xdelta3", "zstd --patch-from", "HDiffPatch", "zucchini"].contains(&column)
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let within = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(within.split('|').map(str::trim).collect())
}

/// `**1,234**`, `56.7 ms`, `1.23 s`: as bytes, as seconds. Nothing for a dash or an empty cell.
fn number(cell: &str) -> Option<f64> {
    let cell = cell.trim_matches('*').replace(',', "");
    let (digits, unit) = cell.split_once(' ').unwrap_or((&cell, ""));
    let scale = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        _ => return None,
    };
    digits.parse::<f64>().ok().map(|value| value * scale)
}

// ---- from bars to a picture

const WIDTH: f64 = 760.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 60.0;
const TOP: f64 = 58.0;
const ROW: f64 = 26.0;

/// Where ratios lie: a logarithmic axis that has room for all of them and for 1.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn over(bars: &[Bar]) -> Self {
        let low = bars.iter().map(|bar| bar.1).fold(0.5, f64::min);
        let high = bars.iter().map(|bar| bar.1).fold(1.0, f64::max);
        Self { low: low / 1.3, high: high * 1.3 }
    }

    fn x(&self, ratio: f64) -> f64 {
        let part = (ratio / self.low).ln() / (self.high / self.low).ln();
        LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn ticks(&self) -> Vec<f64> {
        const TICKS: [f64; 11] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0];
        TICKS.into_iter().filter(|tick| (self.low..=self.high).contains(tick)).collect()
    }
}

fn svg(title: &str, bars: &[Bar]) -> String {
    let axis = Axis::over(bars);
    let bottom = TOP + ROW * bars.len() as f64;
    let height = bottom + 44.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{}\">\n{STYLE}<text class=\"title\" x=\"12\" y=\"26\">{}</text>\n",
        escaped(title),
        escaped(title)
    );
    for tick in axis.ticks() {
        let (x, class) = (axis.x(tick), if tick == 1.0 { "even" } else { "grid" });
        let (from, label) = (TOP - 6.0, bottom + 16.0);
        let _ = writeln!(out, "<path class=\"{class}\" d=\"M{x:.1} {from:.1}V{bottom:.1}\"/>");
        let _ = writeln!(out, "<text class=\"tick\" x=\"{x:.1}\" y=\"{label:.1}\">{tick}</text>");
    }
    for (row, bar) in bars.iter().enumerate() {
        out += &drawn(bar, TOP + ROW * row as f64, &axis);
    }
    let mean = geometric_mean(&bars.iter().map(|bar| bar.1).collect::<Vec<_>>()).unwrap_or(1.0);
    let _ = writeln!(
        out,
        "<text class=\"note\" x=\"12\" y=\"{:.1}\">bars left of 1: siding is better; geometric mean of {} \
         pairs {mean:.2}; logarithmic axis</text>\n</svg>",
        bottom + 36.0,
        bars.len()
    );
    out
}

/// A row: the pair's name, its bar from 1 to its ratio, the ratio.
fn drawn((name, ratio): &Bar, y: f64, axis: &Axis) -> String {
    let (one, end) = (axis.x(1.0), axis.x(*ratio));
    let (x, width) = (one.min(end), (one - end).abs().max(1.0));
    let class = if *ratio <= 1.0 { "better" } else { "worse" };
    let (middle, thick) = (y + ROW / 2.0 + 4.0, ROW - 8.0);
    let (beside, anchor) = if *ratio <= 1.0 { (x - 5.0, "end") } else { (end + 5.0, "start") };
    format!(
        "<text class=\"name\" x=\"12\" y=\"{middle:.1}\">{}</text>\n\
         <rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{thick:.1}\"/>\n\
         <text class=\"value\" x=\"{beside:.1}\" y=\"{middle:.1}\" text-anchor=\"{anchor}\">{}</text>\n",
        escaped(name),
        y + 4.0,
        if *ratio < 0.1 { format!("{ratio:.3}") } else { format!("{ratio:.2}") }
    )
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "\
<style>
text { font: 12px system-ui, sans-serif; fill: #333 }
.title { font-size: 15px; font-weight: 600 }
.tick { text-anchor: middle; fill: #666 }
.note { fill: #666 }
.grid { stroke: #999; stroke-opacity: .35 }
.even { stroke: #333; stroke-width: 1.5 }
.better { fill: #3b82c4 }
.worse { fill: #999 }
@media (prefers-color-scheme: dark) {
text { fill: #ddd }
.tick, .note { fill: #aaa }
.even { stroke: #ddd }
.better { fill: #5a9bd8 }
}
</style>
";

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "words\n<!-- corpus:begin -->\n### Size of a patch, bytes\n\n\
        | pair | kind | new image | siding | bsdiff | zstd --patch-from | zstd alone | zucchini | siding ÷ best peer |\n\
        | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n\
        | a<b | elf | 9,000 | **1,000** | 4,000 | 5,000 | 10 | 2,000 | 0.500 |\n\
        | c | elf | 9,000 | 3,000 | – | **1,500** | 10 | – | 2.000 |\n\
        | geometric mean (2) |  |  |  |  |  |  |  | 1.000 |\n\n\
        ### Time to apply a patch\n\n| pair | siding | bsdiff |\n| --- | ---: | ---: |\n| a | 50.0 ms | 1.00 s |\n\
        <!-- corpus:end -->\n";

    #[test]
    fn bars_are_ratios_to_the_best_peer() {
        let size = bars(TEXT, CHARTS[0].table).unwrap();
        assert_eq!(size, [("a<b".to_owned(), 0.5), ("c".to_owned(), 2.0)]);
        let apply = bars(TEXT, CHARTS[2].table).unwrap();
        assert!(apply.len() == 1 && (apply[0].1 - 0.05).abs() < 1e-9, "{apply:?}");
        assert!(bars(TEXT, "### Nothing").is_err() && bars("no markers", CHARTS[0].table).is_err());
    }

    #[test]
    fn a_picture_is_well_formed_and_has_one_bar_a_row() {
        let bars = bars(TEXT, CHARTS[0].table).unwrap();
        let picture = svg("a & \"b\"", &bars);
        well_formed(&picture);
        assert_eq!(picture.matches("<rect ").count(), bars.len());
        assert_eq!(picture.matches("class=\"even\"").count(), 1);
        assert!(picture.contains(">a&lt;b</text>") && picture.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn the_committed_tables_make_pictures() {
        let text = fs::read_to_string(workspace().join("docs/performance.md")).unwrap();
        for chart in CHARTS {
            let bars = bars(&text, chart.table).unwrap();
            well_formed(&svg(chart.title, &bars));
            assert!(bars.iter().all(|bar| bar.1 > 0.0 && !bar.0.contains("mean")), "{bars:?}");
        }
    }

    /// Every tag is closed in order, every attribute quoted, every ampersand an entity.
    #[track_caller]
    fn well_formed(text: &str) {
        let mut open: Vec<&str> = Vec::new();
        for part in text.split('<').skip(1) {
            let (tag, _) = part.split_once('>').expect("a tag ends");
            assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
            let name = tag.split([' ', '/']).find(|name| !name.is_empty()).expect("a name");
            match (tag.starts_with('/'), tag.ends_with('/')) {
                (true, _) => assert_eq!(open.pop(), Some(name)),
                (false, true) => {}
                (false, false) => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
        let entities = ["amp;", "lt;", "gt;", "quot;"];
        assert!(text.split('&').skip(1).all(|rest| entities.iter().any(|entity| rest.starts_with(entity))));
    }
}
