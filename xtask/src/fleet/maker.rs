//! The maker: images of two components on three bases, releases, and the verbs that publish them.
//!
//! The images are Debian's libssl and OpenSSL modules of `testdata/`. Supplement `(b)` is the real security update;
//! the others differ from it in a few hundred bytes. `(c)` holds the word that the devices' health check looks for.

use crate::{Result, measure, workspace};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(crate) const COMPONENTS: [&str; 2] = ["libssl", "ossl"];
/// The bases that the maker makes patches for, and an older one, whose devices take whole images.
pub(crate) const BASES: [&str; 3] = ["3.0.20", "3.0.21", "3.0.19"];
/// What makes a health check fail.
pub(crate) const BAD: &str = "this build went wrong";

pub(crate) struct Maker {
    pub(crate) siding: PathBuf,
    pub(crate) dir: PathBuf,
    /// Bytes of both components of the real update.
    pub(crate) full: u64,
    server: std::sync::Mutex<Option<Child>>,
}

/// From when on a release is for how many percent: hours after the start.
pub(crate) type Waves = [(u64, u8)];

impl Maker {
    /// Keys, an empty repository, and all images.
    pub(crate) fn new(siding: &Path, dir: &Path) -> Result<Self> {
        let dir = dir.join("maker");
        let mut maker = Self { siding: siding.to_owned(), dir, full: 0, server: None.into() };
        for (n, base) in BASES.into_iter().enumerate() {
            maker.image(base, "3.0.20", &format!("base {n}"))?;
        }
        for base in ["3.0.20", "3.0.21"] {
            maker.image(&format!("{base}-a"), "3.0.20", &format!("{base} a"))?;
            maker.image(&format!("{base}-b"), "3.0.22", &format!("{base} b"))?;
            maker.image(&format!("{base}-c"), "3.0.22", &format!("{base} c: {BAD}"))?;
            maker.image(&format!("{base}-d"), "3.0.22", &format!("{base} d"))?;
        }
        maker.full = size_of(&maker.dir.join("images/3.0.20-b"))?;
        maker.run("publish init --repo repo --keys keys --expires timestamp=60d --expires snapshot=60d")?;
        maker.run("keygen release")?;
        Ok(maker)
    }

    /// Publishes a release that brings a letter to both bases.
    pub(crate) fn publish(&self, id: &str, letter: &str, start: u64, waves: &Waves) -> Result<()> {
        let at = |hours: u64| {
            siding_slot::date(start + hours * 3600).replace(" UTC", ":00Z").replacen(' ', "T", 1)
        };
        let waves: Vec<String> =
            waves.iter().map(|(hours, percent)| format!("\"{percent}% at {}\"", at(*hours))).collect();
        let mut text = format!(
            "id = \"{id}\"\ntitle = \"OpenSSL ({letter})\"\nseverity = \"high\"\nadvisories = [\"CVE-{id}\"]\n\
             waves = [{}]\nlevel = \"fast\"\n",
            waves.join(", ")
        );
        for component in COMPONENTS {
            let base = |base: &str| {
                format!(
                    "  {{ version = \"{base}\", image = \"images/{base}/{component}\", target = {{ version = \"{base} \
                     ({letter})\", image = \"images/{base}-{letter}/{component}\" }} }},\n"
                )
            };
            // Devices on 3.0.19 take the whole image that is made for 3.0.20.
            for (name, more) in [("3.0.20", "full = true\nminimum = \"3.0.19\"\n"), ("3.0.21", "")] {
                text += &format!("[[component]]\nname = \"{component}\"\n{more}base = [\n{}]\n", base(name));
            }
        }
        let file = format!("{id}.toml");
        fs::write(self.dir.join(&file), text).map_err(|e| format!("{file}: {e}"))?;
        self.run(&format!("publish make {file} --repo repo"))?;
        self.run(&format!("publish commit {file} --repo repo --keys keys --sign-with release.key"))
    }

    pub(crate) fn withdraw(&self, id: &str) -> Result<()> {
        self.run(&format!("publish withdraw {id} --reason devices-went-back --repo repo --keys keys"))
    }

    /// Starts the web server and says where it is.
    pub(crate) fn serve(&self) -> Result<String> {
        let mut command = self.command("publish serve --repo repo --listen 127.0.0.1:0");
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| format!("the server: {e}"))?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or("the server has no output")?;
        BufReader::new(out).read_line(&mut line).map_err(|e| format!("the server: {e}"))?;
        self.server.lock().map_err(|e| e.to_string())?.replace(child);
        let address = line.trim().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/'));
        address.map(str::to_owned).ok_or_else(|| format!("the server says {line:?}"))
    }

    fn run(&self, words: &str) -> Result<()> {
        measure::run(&mut self.command(words), None).map(drop)
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(&self.siding);
        command.args(words.split(' ')).current_dir(&self.dir);
        command
    }

    /// An image of each component: what `testdata/` has of a version, and a text that only this one has.
    fn image(&self, name: &str, version: &str, text: &str) -> Result<()> {
        let (to, data) = (self.dir.join("images").join(name), workspace().join("testdata"));
        let failed = |e: std::io::Error| format!("{}: {e}", to.display());
        fs::create_dir_all(&to).map_err(failed)?;
        let mut library = fs::read(data.join(format!("libssl/{version}/libssl.so.3"))).map_err(failed)?;
        // Into the middle, so that the devices' map of it has something to move.
        library.splice(400_000..400_000, text.bytes().cycle().take(300));
        fs::write(to.join("libssl"), library).map_err(failed)?;
        let tree = to.join("ossl");
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(data.join(format!("ossl-tree/{version}"))).arg(&tree);
        measure::run(&mut copy, None)?;
        fs::write(tree.join("doc/note"), text.repeat(20)).map_err(failed)
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        for child in self.server.get_mut().into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Bytes of all files below.
fn size_of(path: &Path) -> Result<u64> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut sum = 0;
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let meta = entry.metadata().map_err(failed)?;
        sum += if meta.is_dir() { size_of(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}
