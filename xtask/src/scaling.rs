//! `cargo xtask scaling`: what an apply costs as images grow and their change does not.
//!
//! The change is always 100 pieces of 1 KiB. Once the image is a single file that has them spread all over it, once a
//! tree of files of 1 MiB of which one has them all. Both are applied as whole processes, on one thread and on all,
//! beside `cp -a` of the old image; the slope says what each further megabyte costs.

use crate::corpus::{median, remove};
use crate::report::duration;
use crate::{Result, compare, machine, measure, tools, workspace};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
cargo xtask scaling [options]        needs a quiet machine and room in memory

  --sizes LIST      images of so many MiB (16,64,256,1024; those with no room are left out)
  --runs N          apply N times and take the median (5)
  --siding FILE     use this binary and build none";

struct Options {
    /// In MiB.
    sizes: Vec<u64>,
    runs: usize,
    siding: Option<PathBuf>,
}

/// What one image costs.
#[derive(Clone, Copy)]
struct Point {
    /// In MiB.
    size: u64,
    one_thread: Duration,
    all_threads: Duration,
    copy: Duration,
}

/// How an image is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    File,
    Tree,
}

const MIB: u64 = 1 << 20;
/// So many pieces of [`PIECE`] bytes change.
const PIECES: u64 = 100;
const PIECE: u64 = 1024;
/// Old, new, what is made of them, a patch and some air.
const ROOM: u64 = 4;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let siding = match &options.siding {
        Some(siding) => siding.clone(),
        None => tools::build_siding(&workspace())?,
    };
    let mut out = format!(
        "## Cost against size, at a constant change of {} KiB\n\nMeasured {} at {} on {}; whole processes, images \
         in {}, median of {} runs.\n",
        PIECES * PIECE / 1024,
        machine::today(),
        machine::commit(&workspace()),
        machine::facts(),
        machine::scratch().display(),
        options.runs
    );
    for (shape, title) in [(Shape::File, "One file"), (Shape::Tree, "A tree with one changed file")] {
        let mut points = Vec::new();
        for size in &options.sizes {
            if !has_room(*size) {
                eprintln!("no room for images of {size} MiB in {}", machine::scratch().display());
                continue;
            }
            eprintln!("{title}, {size} MiB");
            points.push(measure_point(&siding, shape, *size, options.runs)?);
        }
        let _ = write!(out, "\n### {title}\n\n{}", table(&points));
    }
    println!("{out}");
    Ok(())
}

fn has_room(size: u64) -> bool {
    let place = machine::scratch();
    let free = measure::ask("df", &["-B1", "--output=avail", &place.to_string_lossy()]);
    let free = free.and_then(|text| text.lines().last()?.trim().parse::<u64>().ok());
    free.is_none_or(|free| free > size * MIB * ROOM)
}

fn measure_point(siding: &Path, shape: Shape, size: u64, runs: usize) -> Result<Point> {
    let scratch = tempfile::Builder::new().prefix("siding-scaling").tempdir_in(machine::scratch());
    let scratch = scratch.map_err(|e| format!("no scratch directory: {e}"))?;
    let [old, new, patch, out] = ["old", "new", "patch", "out"].map(|name| scratch.path().join(name));
    make(shape, &old, size, false)
        .and_then(|()| make(shape, &new, size, true))
        .map_err(|e| format!("cannot make an image of {size} MiB: {e}"))?;
    let mut diff = Command::new(siding);
    diff.arg("diff").args([&old, &new]).arg("-o").arg(&patch);
    diff.args(["--unsigned", "--level", "fast", "--from", "1", "--to", "2", "--component", "scaling"]);
    measure::run(&mut diff, None)?;
    let apply = |threads: Option<&str>| {
        let mut command = Command::new(siding);
        command.arg("apply").args([&patch, &old, &out]).arg("--allow-unsigned");
        if let Some(threads) = threads {
            command.args(["--threads", threads]);
        }
        command
    };
    let mut copy = Command::new("cp");
    copy.args(["-a", "--reflink=never"]).args([&old, &out]);
    let one_thread = median_of(&mut apply(Some("1")), &out, runs)?;
    let all_threads = median_of(&mut apply(None), &out, runs)?;
    compare::same(&new, &out)?;
    Ok(Point { size, one_thread, all_threads, copy: median_of(&mut copy, &out, runs)? })
}

/// The median of `runs` runs after one that is not timed; what is at `out` is removed before each.
fn median_of(command: &mut Command, out: &Path, runs: usize) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..=runs {
        remove(out)?;
        times.push(measure::run(command, None)?.0.wall);
    }
    Ok(median(times.split_off(1)))
}

fn make(shape: Shape, path: &Path, size: u64, changed: bool) -> std::io::Result<()> {
    if shape == Shape::File {
        return write(&mut File::create(path)?, size, changed.then_some(size * MIB / PIECES), 0);
    }
    fs::create_dir(path)?;
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for number in 0..size {
        let mut file = File::create(path.join(format!("{number:06}")))?;
        let every = (changed && number == size / 2).then_some(MIB / PIECES);
        write(&mut file, 1, every, number)?;
        file.set_modified(time)?;
    }
    File::open(path)?.set_modified(time)
}

/// `size` MiB of seeded noise; with `every`, a piece is another one after each so many bytes.
fn write(file: &mut File, size: u64, every: Option<u64>, seed: u64) -> std::io::Result<()> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut block = vec![0u8; 1 << 20];
    for number in 0..size {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        if let Some(every) = every {
            let changes = |at: u64| at % every < PIECE && at / every < PIECES;
            let places = (number * MIB..).zip(&mut block).filter(|(at, _)| changes(*at));
            places.for_each(|(_, byte)| *byte ^= 0x55);
        }
        file.write_all(&block)?;
    }
    Ok(())
}

fn table(points: &[Point]) -> String {
    let mut out = String::from(
        "| image, MiB | apply, 1 thread | apply, all threads | 1 thread ÷ all | cp | apply ÷ cp |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64().max(1e-9);
    for point in points {
        let Point { size, one_thread, all_threads, copy } = *point;
        let [one, all, cp] = [one_thread, all_threads, copy].map(duration);
        let (speedup, against) = (ratio(one_thread, all_threads), ratio(all_threads, copy));
        let _ = writeln!(out, "| {size} | {one} | {all} | {speedup:.2} | {cp} | {against:.2} |");
    }
    let slopes = [|p: &Point| p.one_thread, |p: &Point| p.all_threads, |p: &Point| p.copy].map(|of| {
        let line = points.iter().map(|point| (point.size as f64, of(point).as_secs_f64() * 1e3));
        slope(&line.collect::<Vec<_>>()).map_or("–".to_owned(), |slope| format!("{slope:.3} ms"))
    });
    let [one, all, cp] = slopes;
    let _ = writeln!(out, "| each further MiB | {one} | {all} |  | {cp} |  |");
    out
}

/// The slope of the straight line through these points, by least squares.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let both: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let width: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    (width > 0.0).then(|| both / width)
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self { sizes: vec![16, 64, 256, 1024], runs: 5, siding: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value\n\n{USAGE}"));
            let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number > 0);
            let odd = || format!("{arg} needs positive numbers\n\n{USAGE}");
            match arg.as_str() {
                "--sizes" => {
                    let sizes = value()?.split(',').map(number).collect::<Option<_>>();
                    options.sizes = sizes.ok_or_else(odd)?;
                }
                "--runs" => {
                    let runs = number(value()?).and_then(|runs| usize::try_from(runs).ok());
                    options.runs = runs.ok_or_else(odd)?;
                }
                "--siding" => options.siding = Some(value()?.into()),
                odd => return Err(format!("what is {odd:?}?\n\n{USAGE}")),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_image_differs_in_100_pieces_wherever_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let differences = |old: &Path, new: &Path| {
            let (old, new) = (fs::read(old).unwrap(), fs::read(new).unwrap());
            old.iter().zip(&new).filter(|(old, new)| old != new).count() as u64
        };
        for (shape, name, file) in [(Shape::File, "f", ""), (Shape::Tree, "t", "000001")] {
            let [old, new] = ["old", "new"].map(|age| dir.path().join(format!("{name}-{age}")));
            make(shape, &old, 2, false).unwrap();
            make(shape, &new, 2, true).unwrap();
            assert_eq!(compare::size(&new, 1).unwrap(), 2 * MIB);
            let [old, new] = [old, new].map(|path| if file.is_empty() { path } else { path.join(file) });
            assert_eq!(differences(&old, &new), PIECES * PIECE);
        }
    }

    #[test]
    fn the_slope_is_that_of_the_line() {
        assert_eq!(slope(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]), Some(2.0));
        assert_eq!(slope(&[(1.0, 5.0)]), None);
        let point = |size, ms| {
            let time = Duration::from_millis(ms);
            Point { size, one_thread: time * 2, all_threads: time, copy: time }
        };
        let text = table(&[point(16, 20), point(64, 68)]);
        assert!(text.contains("| 16 | 40.0 ms | 20.0 ms | 2.00 | 20.0 ms | 1.00 |"), "{text}");
        assert!(text.contains("| each further MiB | 2.000 ms | 1.000 ms |  | 1.000 ms |  |"), "{text}");
    }

    #[test]
    fn odd_options_are_refused() {
        let parsed = |line: &str| Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parsed("--sizes 1,2 --runs 3").unwrap().sizes, [1, 2]);
        for line in ["--sizes", "--sizes 1,x", "--sizes 0", "--runs 0", "--odd"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
