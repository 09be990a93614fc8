//! Images, keys and patches, made once in a directory by the very binary that is tried.
//!
//! A component's images are called by their version: `1.0` is its base, `1.0 (a)` and so on its supplements, and `2.0`
//! the base that supersedes it. The image of component `lib` in version `1.0 (a)` lies in `lib/a`, and the patch that
//! makes it in `lib-a.siding`.

use super::lab::{run, text};
use crate::Result;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

/// A directory with images and patches.
pub(super) struct Workshop {
    siding: PathBuf,
    dir: PathBuf,
}

/// How a process ended.
#[derive(Debug)]
pub(super) struct Done {
    /// The exit code; `None` if a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

/// What a component is made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// Two real versions of a library, 688 KB.
    Library,
    /// A real loadable module, 27 KB.
    Module,
    /// A small tree with one thing of each kind.
    Tree,
}

/// The letters that every component has patches for.
const LETTERS: [&str; 4] = ["a", "b", "c", "d"];
/// What the next base is called.
const NEXT: &str = "next";

impl Workshop {
    pub(super) fn new(siding: PathBuf, dir: PathBuf) -> Result<Self> {
        fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
        let shop = Self { siding, dir };
        shop.verb(&["keygen", &shop.named("maker")])?;
        Ok(shop)
    }

    /// Makes the images of a component and a patch from its base to each.
    pub(super) fn component(&self, name: &str, shape: Shape) -> Result<()> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
        let made = match shape {
            Shape::Library => files(&dir, "libssl/3.0.20/libssl.so.3", "libssl/3.0.22/libssl.so.3"),
            Shape::Module => {
                let module = |version| format!("ossl-tree/{version}/engines-3/padlock.so");
                files(&dir, &module("3.0.20"), &module("3.0.22"))
            }
            Shape::Tree => [(&"base", 0)]
                .into_iter()
                .chain(LETTERS.iter().chain([&NEXT]).zip(1..))
                .try_for_each(|(letter, version)| tree(&dir.join(letter), version)),
        };
        made.map_err(|e| format!("cannot make the images of {name}: {e}"))?;
        let (base, key) = (text(&dir.join("base")), self.named("maker.key"));
        for letter in LETTERS {
            let (new, patch) = (text(&dir.join(letter)), self.named(&format!("{name}-{letter}.siding")));
            let to = format!("1.0 ({letter})");
            self.verb(&[
                "diff",
                &base,
                &new,
                "-o",
                &patch,
                "--key",
                &key,
                "--component",
                name,
                "--from",
                "1.0",
                "--to",
                &to,
            ])?;
        }
        Ok(())
    }

    /// The image of a component in a version.
    pub(super) fn image(&self, component: &str, version: &str) -> PathBuf {
        let base = if version == "2.0" { NEXT } else { "base" };
        let letter = version.split_once('(').map_or(base, |(_, rest)| rest.trim_end_matches(')'));
        self.dir.join(component).join(letter)
    }

    /// The words of a line such as `install lib-a --switch`, `init lib` or `init lib --replace`, with paths and what else each verb needs.
    pub(super) fn words(&self, line: &str) -> Vec<String> {
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if let [verb, name, ..] = words.as_mut_slice() {
            match verb.as_str() {
                "install" => {
                    *name = self.named(&format!("{name}.siding"));
                    words.extend(["--trust".to_owned(), self.named("maker.pub")]);
                }
                "init" => {
                    let version = if line.contains("--replace") { "2.0" } else { "1.0" };
                    let base = text(&self.image(name, version));
                    words.extend([base, "--version".to_owned(), version.to_owned()]);
                }
                _ => {}
            }
        }
        words
    }

    /// The binary, with the words of a line and this store, not started yet.
    pub(super) fn command(&self, line: &str, store: &Path) -> Command {
        let mut command = Command::new(&self.siding);
        self.prepare(&mut command, store);
        command.args(self.words(line));
        command
    }

    /// What every run of the binary has.
    pub(super) fn prepare(&self, command: &mut Command, store: &Path) {
        for name in ["SIDING_PRODUCT", "SIDING_TRUST", "SIDING_THRESHOLD", "SOURCE_DATE_EPOCH"] {
            command.env_remove(name);
        }
        command.env("NO_COLOR", "1").env("SIDING_STORE", store).stdin(Stdio::null()).current_dir(&self.dir);
    }

    pub(super) fn run(&self, line: &str, store: &Path) -> Result<Done> {
        let output = self.command(line, store).output().map_err(|e| format!("cannot run siding: {e}"))?;
        Ok(Done::of(&output))
    }

    pub(super) fn siding(&self) -> &Path {
        &self.siding
    }

    fn verb(&self, words: &[&str]) -> Result<()> {
        run(&text(&self.siding), words).map(drop)
    }

    fn named(&self, name: &str) -> String {
        text(&self.dir.join(name))
    }
}

impl Done {
    pub(super) fn of(output: &std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// What it said, for a message.
    pub(super) fn said(&self) -> String {
        format!("code {:?}: {} {}", self.code, self.out.trim(), self.err.trim())
    }
}

/// The base and `a` are real; the others have some bytes changed.
fn files(dir: &Path, old: &str, new: &str) -> std::io::Result<()> {
    let testdata = crate::workspace().join("testdata");
    let newer = fs::read(testdata.join(new))?;
    fs::copy(testdata.join(old), dir.join("base"))?;
    for (letter, version) in LETTERS.iter().chain([&NEXT]).zip(0_u8..) {
        let mut bytes = newer.clone();
        // Where the real pair does not differ, the first must.
        bytes.iter_mut().skip(1000).step_by(9973).for_each(|byte| *byte ^= version.wrapping_mul(7));
        bytes.extend([version; 3]);
        fs::write(dir.join(letter), bytes)?;
    }
    Ok(())
}

/// A small tree with one thing of each kind; the version changes some of it.
fn tree(root: &Path, version: u8) -> std::io::Result<()> {
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(root.join("empty"))?;
    fs::write(root.join("same"), noise(7, 5_000))?;
    let mut tool = noise(8, 9_000);
    tool.iter_mut().skip(4_000).take(10).for_each(|byte| *byte = version);
    fs::write(root.join("bin/tool"), tool)?;
    fs::hard_link(root.join("bin/tool"), root.join("bin/tool-too"))?;
    fs::write(root.join(format!("only-in-{version}")), noise(version, 300))?;
    symlink(format!("bin/{version}"), root.join("link"))?;
    fs::set_permissions(root.join("bin/tool"), Permissions::from_mode(0o755))?;
    for (name, index) in ["bin/tool", "same", "bin", "empty", ""].into_iter().zip(0..) {
        let time = UNIX_EPOCH + Duration::new(1_700_000_000 + u64::from(version) * 100 + index, 123_456_789);
        File::open(root.join(name))?.set_times(FileTimes::new().set_modified(time))?;
    }
    Ok(())
}

fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut dice = super::lab::Dice::new(u64::from(seed));
    (0..len).map(|_| dice.roll().to_le_bytes()[0]).collect()
}
