//! `siding demo`: the whole story on two real versions of a library, in a temporary store.
//!
//! The demo has no code of its own for the story: it runs the very verbs it shows, and prints what they print.

mod fleet;

use crate::args::{Args, Demo};
use crate::bytes::{percent, thousands};
use crate::failure::Failure;
use crate::output::{Paint, Reply};
use clap::Parser;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Debian's libssl of OpenSSL 3.0.20 and 3.0.22 (Apache-2.0; see testdata/README.md).
const OLD: &[u8] = include_bytes!("../../../testdata/libssl/3.0.20/libssl.so.3");
const NEW: &[u8] = include_bytes!("../../../testdata/libssl/3.0.22/libssl.so.3");

pub(crate) fn demo(args: &Demo) -> Result<Reply, Failure> {
    if args.fleet {
        return fleet::fleet(args);
    }
    let dir = tempfile::tempdir().map_err(|e| Failure::failed(format!("no temporary directory: {e}")))?;
    let story = Story { dir: dir.path().to_owned(), paint: Paint::stdout() };
    story.tell()?;
    if args.keep {
        let kept = dir.keep();
        return Ok(Reply::new(
            format!("\nEverything is kept in {}", kept.display()),
            json!({ "kept": kept }),
        ));
    }
    Ok(Reply::new("", json!({ "ok": true })))
}

struct Story {
    dir: PathBuf,
    paint: Paint,
}

impl Story {
    fn tell(&self) -> Result<(), Failure> {
        self.title("1. The maker: two patches for the base, both signed");
        self.files()?;
        self.verb(&["keygen", "demo"])?;
        self.make("bad", "a build that went wrong, but is signed all the same", "3.0.20 (a)")?;
        self.make("good", "the real 3.0.22", "3.0.20 (b)")?;
        self.sizes()?;

        self.title("2. The device: its base is in place");
        self.verb(&["init", "libssl", "base.so", "--version", "3.0.20"])?;
        self.verb(&["status"])?;

        self.title("3. The bad patch comes in while the base is in use, then one write switches");
        let install = self.verb(&["install", "bad.siding", "--trust", "demo.pub"])?;
        let switch = self.verb(&["switch"])?;
        self.verb(&["status"])?;

        self.title("4. A health check fails, so the device goes back and remembers why");
        self.health_check()?;
        let rollback = self.verb(&["health"])?;
        self.verb(&["status"])?;
        self.refused(&["install", "bad.siding", "--trust", "demo.pub"], "the same image is not taken twice")?;

        self.title("5. The good patch, from a pipe; it names the base as its source, so nothing was missed");
        self.pipe("good.siding", &["install", "-", "--trust", "demo.pub", "--switch"])?;
        self.verb(&["health"])?;
        self.verb(&["status"])?;

        self.title("6. Second thoughts: back to the base, at once and offline; and here again, as fast");
        let remove = self.verb(&["remove", "libssl"])?;
        let again =
            self.verb(&["install", "good.siding", "--trust", "demo.pub", "--switch", "--no-trial"])?;
        self.verb(&["log"])?;

        self.title("How long it took");
        let times = [
            ("install: check, rebuild, flush, read back, compare", install),
            ("switch: check, one record write", switch),
            ("health: run the check, roll back in one record write", rollback),
            ("remove: one record write", remove),
            ("install again what is still in its slot", again),
        ];
        for (what, time) in times {
            say(&format!("  {what:<52} {:>8.2} ms", time.as_secs_f64() * 1e3));
        }
        Ok(())
    }

    fn files(&self) -> Result<(), Failure> {
        let mut bad = NEW.to_vec();
        bad.iter_mut().take(4096).for_each(|byte| *byte = 0);
        for (name, bytes) in [("base.so", OLD), ("good.so", NEW), ("bad.so", &bad)] {
            let path = self.dir.join(name);
            std::fs::write(&path, bytes).map_err(|e| Failure::io("write", &path, &e))?;
        }
        Ok(())
    }

    fn make(&self, name: &str, what: &str, version: &str) -> Result<(), Failure> {
        let (image, patch) = (format!("{name}.so"), format!("{name}.siding"));
        say(&format!("  {}", self.paint.dim(&format!("# {name}.so: {what}"))));
        self.verb(&[
            "diff",
            "base.so",
            &image,
            "-o",
            &patch,
            "--key",
            "demo.key",
            "--component",
            "libssl",
            "--from",
            "3.0.20",
            "--to",
            version,
        ])?;
        Ok(())
    }

    /// What would have to be sent otherwise.
    fn sizes(&self) -> Result<(), Failure> {
        let failed = |e: std::io::Error| Failure::failed(e);
        let packed = |bytes: &[u8]| zstd::bulk::compress(bytes, 19).map(|packed| packed.len() as u64);
        let mut stream = Vec::new();
        bsdiff::diff(OLD, NEW, &mut stream).map_err(failed)?;
        let patch = self.dir.join("good.siding");
        let ours = std::fs::metadata(&patch).map_err(|e| Failure::io("read", &patch, &e))?.len();
        let whole = NEW.len() as u64;
        let rows = [
            ("the new file", whole),
            ("the new file, zstd -19", packed(NEW).map_err(failed)?),
            ("bsdiff's delta, zstd -19", packed(&stream).map_err(failed)?),
            ("good.siding, signature included", ours),
        ];
        for (name, bytes) in rows {
            say(&format!("  {name:<34} {:>9} bytes {:>8}", thousands(bytes), percent(bytes, whole)));
        }
        Ok(())
    }

    /// Runs a verb, shows it and what it says; returns how long it took.
    fn verb(&self, words: &[&str]) -> Result<Duration, Failure> {
        say(&self.paint.bold(&format!("$ siding {}", shown(words))));
        let args = self.args(words)?;
        let started = Instant::now();
        let reply = crate::run(&args)?;
        let spent = started.elapsed();
        self.indent(reply.text());
        Ok(spent)
    }

    fn refused(&self, words: &[&str], because: &str) -> Result<(), Failure> {
        say(&self.paint.bold(&format!("$ siding {}", shown(words))));
        let Err(failure) = self.args(words).and_then(|args| crate::run(&args)) else {
            return Err(Failure::failed("the demo expected a refusal there"));
        };
        self.indent(&format!("siding: {failure}"));
        say(&format!("  {}", self.paint.dim(&format!("# {because}"))));
        Ok(())
    }

    /// Runs the verb as a process of its own, with a file on its standard input.
    fn pipe(&self, file: &str, words: &[&str]) -> Result<(), Failure> {
        say(&self.paint.bold(&format!("$ cat {file} | siding {}", shown(words))));
        let path = self.dir.join(file);
        let input = std::fs::File::open(&path).map_err(|e| Failure::io("open", &path, &e))?;
        let program = std::env::current_exe().map_err(Failure::failed)?;
        let run = Command::new(program).args(self.words(words)).stdin(input).output();
        let output = run.map_err(|e| Failure::failed(format!("cannot run siding: {e}")))?;
        self.indent(&String::from_utf8_lossy(&output.stdout));
        match output.status.success() {
            true => Ok(()),
            false => Err(Failure::failed(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())),
        }
    }

    /// What the device asks after a restart: is the library one that the loader takes?
    fn health_check(&self) -> Result<(), Failure> {
        let path = self.dir.join("store/health.d/libssl");
        let script = "#!/bin/sh\nmagic=$(head -c 4 \"$SIDING_STORE/current/libssl\" | od -An -tx1)\n\
                      test \"$magic\" = ' 7f 45 4c 46' || { echo \"not an ELF file:$magic\"; exit 1; }\n";
        let made = std::fs::create_dir_all(path.parent().unwrap_or(&path));
        let made = made.and_then(|()| std::fs::write(&path, script));
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        let made = made.and_then(|()| std::fs::set_permissions(&path, executable));
        made.map_err(|e| Failure::io("write", &path, &e))?;
        say(&self.paint.dim("  # store/health.d/libssl: does the library begin as an ELF file does?"));
        Ok(())
    }

    fn args(&self, words: &[&str]) -> Result<Args, Failure> {
        let words = std::iter::once("siding".into()).chain(self.words(words));
        Args::try_parse_from(words).map_err(Failure::usage)
    }

    /// The words with file names made paths and the store named.
    fn words(&self, words: &[&str]) -> Vec<String> {
        let is_file =
            |word: &str| ["so", "siding", "key", "pub"].iter().any(|end| word.ends_with(&format!(".{end}")));
        let in_dir = |word: &str| self.dir.join(word).to_string_lossy().into_owned();
        let mut out: Vec<String> = Vec::new();
        for word in words {
            let is_key_name = out.last().is_some_and(|last| last == "keygen");
            out.push(if is_file(word) || is_key_name { in_dir(word) } else { (*word).to_owned() });
        }
        if !["keygen", "diff"].contains(&words[0]) {
            out.extend(["--store".to_owned(), in_dir("store")]);
        }
        out
    }

    fn title(&self, text: &str) {
        say(&format!("\n{}", self.paint.bold(text)));
    }

    /// Output with the temporary directory left out of paths.
    fn indent(&self, text: &str) {
        let dir = format!("{}/", self.dir.display());
        let text = text.replace(&dir, "");
        text.trim_end().lines().for_each(|line| say(&format!("    {line}")));
    }
}

/// Prints a line; a reader that went away is not the story's fault.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn shown(words: &[&str]) -> String {
    let quoted =
        |word: &&str| if word.contains([' ', '(']) { format!("'{word}'") } else { (*word).to_owned() };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_files_in_the_directory() {
        let story = Story { dir: "/d".into(), paint: Paint::stdout() };
        assert_eq!(story.words(&["keygen", "demo"]), ["keygen", "/d/demo"]);
        assert_eq!(story.words(&["status"]), ["status", "--store", "/d/store"]);
        assert_eq!(story.words(&["diff", "a.so"]), ["diff", "/d/a.so"]);
    }
}
