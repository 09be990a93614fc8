//! Lines over hours, as SVG that reads on white and on black.

use crate::plot::escaped;
use std::fmt::Write as _;

/// A line of a picture.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) class: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 70.0;
const HEIGHT: f64 = 260.0;

/// The lines, with a mark for each thing that happened.
pub(crate) fn lines(title: &str, unit: &str, lines: &[Line], marks: &[(u64, &str)]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let (last, most) = (all().map(|p| p.0).fold(1.0, f64::max), all().map(|p| p.1).fold(1.0, f64::max));
    let x = |hour: f64| LEFT + hour / last * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| TOP + (1.0 - value / most) * HEIGHT;
    let bottom = TOP + HEIGHT;
    let height = bottom + 72.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{0}\">\n\
         {STYLE}<text class=\"title\" x=\"12\" y=\"26\">{0}</text>\n",
        escaped(title)
    );
    for part in 0..=4 {
        let (value, right) = (most * f64::from(part) / 4.0, WIDTH - RIGHT);
        let at = y(value);
        let _ = writeln!(out, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>");
        let _ = writeln!(
            out,
            "<text class=\"left\" x=\"{:.1}\" y=\"{:.1}\">{value:.0}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    for hour in (0..=last as u64).step_by(16) {
        let _ = writeln!(
            out,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{hour} h</text>",
            x(hour as f64),
            bottom + 16.0
        );
    }
    for (n, (hour, what)) in marks.iter().enumerate() {
        let (at, up) = (x(*hour as f64), TOP - 8.0 - 14.0 * (n % 2) as f64);
        let _ = writeln!(out, "<path class=\"mark\" d=\"M{at:.1} {up:.1}V{bottom:.1}\"/>");
        let _ = writeln!(
            out,
            "<text class=\"what\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            at + 4.0,
            up + 4.0,
            escaped(what)
        );
    }
    let mut beside = LEFT;
    for line in lines {
        let step = |(n, (hour, value)): (usize, &(f64, f64))| {
            format!("{}{:.1} {:.1}", if n == 0 { "M" } else { "L" }, x(*hour), y(*value))
        };
        let path: String = line.points.iter().enumerate().map(step).collect();
        let _ = writeln!(out, "<path class=\"line {}\" d=\"{path}\"/>", line.class);
        let at = bottom + 44.0;
        let _ = writeln!(out, "<path class=\"line {}\" d=\"M{beside:.1} {:.1}h24\"/>", line.class, at - 4.0);
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{at:.1}\">{}</text>", beside + 30.0, escaped(line.name));
        beside += 60.0 + 7.0 * line.name.chars().count() as f64;
    }
    let _ = writeln!(
        out,
        "<text class=\"left\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n</svg>",
        LEFT - 6.0,
        TOP - 10.0,
        escaped(unit)
    );
    out
}

const STYLE: &str = "\
<style>
text { font: 12px system-ui, sans-serif; fill: #333 }
.title { font-size: 15px; font-weight: 600 }
.tick { text-anchor: middle; fill: #666 }
.left { text-anchor: end; fill: #666 }
.what { fill: #666 }
.grid { stroke: #999; stroke-opacity: .35 }
.mark { stroke: #999; stroke-dasharray: 3 3 }
.line { fill: none; stroke-width: 2 }
.main { stroke: #3b82c4; stroke-width: 3 }
.one { stroke: #888 }
.two { stroke: #c2410c }
.three { stroke: #4d7c0f }
@media (prefers-color-scheme: dark) {
text { fill: #ddd }
.tick, .left, .what { fill: #aaa }
.main { stroke: #5a9bd8 }
.two { stroke: #ea7a45 }
.three { stroke: #84b43c }
}
</style>
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_lines_and_marks() {
        let points = vec![(0.0, 0.0), (64.0, 500.0), (128.0, 1000.0)];
        let picture =
            lines("a & b", "devices", &[Line { name: "safe", class: "main", points }], &[(56, "now")]);
        assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"));
        assert!(
            picture.contains("a &amp; b") && picture.contains("M60.0 330.0L400.0 200.0L740.0 70.0"),
            "{picture}"
        );
        assert_eq!(picture.matches("class=\"mark\"").count(), 1);
        assert_eq!(picture.matches("<text").count(), picture.matches("</text>").count());
    }
}
