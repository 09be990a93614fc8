//! `siding demo --fleet`: published once, found by every device it is for, installed by itself; and who wants it
//! otherwise has it otherwise.
//!
//! Five devices and a maker, each a folder. Every line after a prompt is a process of the real command, run in that
//! folder; its output is what is shown.

mod files;

use super::{say, shown};
use crate::args::Demo;
use crate::failure::Failure;
use crate::output::{Paint, Reply, table};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// The devices and their bases. One has a check that fails, one has automatic install off, one will remove.
const DEVICES: [(&str, &str); 5] = [
    ("kiosk", "3.0.20"),
    ("till", "3.0.21"),
    ("laptop", "3.0.21"),
    ("gateway", "3.0.20"),
    ("office", "3.0.20"),
];
const RELEASE: &str = "2026-11-openssl";

pub(super) fn fleet(args: &Demo) -> Result<Reply, Failure> {
    let started = Instant::now();
    let dir = tempfile::tempdir().map_err(|e| Failure::failed(format!("no temporary directory: {e}")))?;
    let fleet = Fleet { dir: dir.path().to_owned(), paint: Paint::stdout() };
    fleet.tell()?;
    let mut text = format!("\nAll of it took {:.1} s.", started.elapsed().as_secs_f64());
    if args.keep {
        text += &format!("\nEverything is kept in {}", dir.keep().display());
    }
    Ok(Reply::new(text, json!({ "ok": true })))
}

struct Fleet {
    dir: PathBuf,
    paint: Paint,
}

/// How a command ended, and what it said.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Fleet {
    fn tell(&self) -> Result<(), Failure> {
        self.title("1. The maker publishes once: one advisory, two components, two bases of each");
        files::write(&self.dir.join("maker"))?;
        self.show_file("maker/release.toml")?;
        self.run("maker", &["publish", "init", "--repo", "repo", "--keys", "keys"])?;
        self.run("maker", &["keygen", "release"])?;
        self.run("maker", &["publish", "make", "release.toml", "--repo", "repo"])?;
        let commit =
            ["commit", "release.toml", "--repo", "repo", "--keys", "keys", "--sign-with", "release.key"];
        self.run("maker", &[&["publish"], &commit[..]].concat())?;
        let server = self.serve()?;

        self.title("2. Five devices, each with a base of its own and the maker's two public keys");
        for (n, (device, base)) in DEVICES.into_iter().enumerate() {
            self.device(device, base, &server.url, n == 0)?;
        }

        self.title("3. A timer starts the agent, and what is published installs itself");
        for (device, _) in DEVICES.iter().take(3) {
            self.run(device, &["agent", "--once"])?;
        }
        self.run("kiosk", &["list"])?;

        self.title("4. On the gateway a health check fails: it goes back, and is not offered the same again");
        self.health_check("gateway")?;
        self.run("gateway", &["agent", "--once"])?;
        self.run("gateway", &["agent", "--once"])?;
        self.run("gateway", &["list"])?;

        self.title(
            "5. In the office automatic install is off: it is listed, and installed when somebody says so",
        );
        self.run("office", &["set", "automatic-install", "off"])?;
        self.run("office", &["agent", "--once"])?;
        self.run("office", &["list"])?;
        self.run("office", &["install", RELEASE])?;

        self.title("6. The laptop's owner removes it, and the agent does not put it back");
        self.run("laptop", &["remove", "libssl", "ossl"])?;
        self.run("laptop", &["agent", "--once"])?;
        self.run("laptop", &["list"])?;

        self.title("Where each device stands");
        self.standings()
    }

    /// Runs `siding` in a folder of the fleet and shows it; it must end well, or with "restart needed".
    fn run(&self, place: &str, words: &[&str]) -> Result<(), Failure> {
        say(&self.paint.bold(&format!("{place}$ siding {}", shown(words))));
        let ran = self.siding(place, words)?;
        [&ran.out, &ran.err].into_iter().for_each(|text| self.indent(text));
        match ran.code {
            Some(0 | 4) => Ok(()),
            code => Err(Failure::failed(format!("siding {} ended with {code:?}: {}", shown(words), ran.err))),
        }
    }

    fn siding(&self, place: &str, words: &[&str]) -> Result<Ran, Failure> {
        let output = self.command(place, words)?.output();
        let output = output.map_err(|e| Failure::failed(format!("cannot run siding: {e}")))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) })
    }

    /// Of the environment nothing counts; on a device it says where the store and the policy are.
    fn command(&self, place: &str, words: &[&str]) -> Result<Command, Failure> {
        let program = std::env::current_exe().map_err(Failure::failed)?;
        let folder = self.dir.join(place);
        let mut command = Command::new(program);
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SIDING_"))
        {
            command.env_remove(name);
        }
        if place != "maker" {
            command.env("SIDING_STORE", folder.join("store")).env("SIDING_CONFIG", folder.join("etc"));
        }
        command.args(words).current_dir(folder).stdin(Stdio::null());
        Ok(command)
    }

    fn serve(&self) -> Result<Server, Failure> {
        let words = ["publish", "serve", "--repo", "repo", "--listen", "127.0.0.1:0"];
        say(&self.paint.bold(&format!("maker$ siding {} &", shown(&words))));
        let spawned = self.command("maker", &words)?.stdout(Stdio::piped()).spawn();
        let mut server = Server {
            child: spawned.map_err(|e| Failure::failed(format!("cannot run siding: {e}")))?,
            url: String::new(),
        };
        let mut out = BufReader::new(server.child.stdout.take().ok_or_else(|| Failure::failed("no pipe"))?);
        out.read_line(&mut server.url)
            .map_err(|e| Failure::failed(format!("the server says nothing: {e}")))?;
        server.url = server.url.trim().to_owned();
        self.indent(&server.url);
        Ok(server)
    }

    /// A device as its maker hands it over. They are all made alike, so one is shown.
    fn device(&self, device: &str, base: &str, url: &str, show: bool) -> Result<(), Failure> {
        let folder = self.dir.join(device);
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            let made = fs::create_dir_all(path.parent().unwrap_or(&path));
            made.and_then(|()| fs::write(&path, bytes)).map_err(|e| Failure::io("write", &path, &e))
        };
        let read = |name: &str| {
            let path = self.dir.join("maker").join(name);
            fs::read(&path).map_err(|e| Failure::io("read", &path, &e))
        };
        let root = folder.join("etc/root.json");
        let policy =
            format!("mirrors = [{url:?}]\nroot = {root:?}\ntrust = {:?}\n", folder.join("etc/trust"));
        write("etc/agent.toml", policy.as_bytes())?;
        write("etc/root.json", &read("keys/root.json")?)?;
        write("etc/trust/release.pub", &read("release.pub")?)?;
        if show {
            self.show_file(&format!("{device}/etc/agent.toml"))?;
        }
        for (component, image) in [("libssl", "libssl.so.3"), ("ossl", "tree")] {
            let image = format!("../maker/{base}/{image}");
            let words = ["init", component, &image, "--version", base];
            if show {
                self.run(device, &words)?;
            } else if let ran @ Ran { code: None | Some(1..), .. } = self.siding(device, &words)? {
                return Err(Failure::failed(ran.err));
            }
        }
        if !show {
            say(&self.paint.dim(&format!("  # {device}: the same, with {base}")));
        }
        Ok(())
    }

    fn health_check(&self, device: &str) -> Result<(), Failure> {
        let path = self.dir.join(device).join("store/health.d/tunnel");
        let script = "#!/bin/sh\n# The tunnel of this site comes up with the old library only.\n\
                      cmp -s \"$SIDING_STORE/current/libssl\" \"$SIDING_STORE/components/libssl/base/image\" && exit 0\n\
                      echo 'the tunnel does not come up'; exit 1\n";
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        let made = made.and_then(|()| fs::write(&path, script));
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        let made = made.and_then(|()| fs::set_permissions(&path, executable));
        made.map_err(|e| Failure::io("write", &path, &e))?;
        self.show_file(&format!("{device}/store/health.d/tunnel"))
    }

    /// From what each device says of itself.
    fn standings(&self) -> Result<(), Failure> {
        let mut rows = vec![["device", "libssl", "ossl", RELEASE, "why"].map(str::to_owned).to_vec()];
        for (device, _) in DEVICES {
            let told = |words: &[&str]| -> Result<Value, Failure> {
                let ran = self.siding(device, words)?;
                serde_json::from_str(&ran.out)
                    .map_err(|e| Failure::failed(format!("{}: {e}: {}", shown(words), ran.err)))
            };
            let (status, list) = (told(&["status", "--json"])?, told(&["list", "--json"])?);
            let text = |value: &Value| value.as_str().unwrap_or("–").to_owned();
            let find = |all: &Value, key: &str, name: &str| {
                let mut all = all.as_array().into_iter().flatten();
                all.find(|one| one[key] == name).cloned().unwrap_or_default()
            };
            let version = |name: &str| text(&find(&status["components"], "component", name)["version"]);
            let offer = find(&list["releases"], "id", RELEASE);
            rows.push(vec![
                device.to_owned(),
                version("libssl"),
                version("ossl"),
                text(&offer["code"]),
                text(&offer["reason"]),
            ]);
        }
        say(table(&rows, &[]).trim_end());
        Ok(())
    }

    fn show_file(&self, name: &str) -> Result<(), Failure> {
        let path = self.dir.join(name);
        let text = fs::read_to_string(&path).map_err(|e| Failure::io("read", &path, &e))?;
        say(&self.paint.dim(&format!("  # {name}")));
        self.indent(&text);
        Ok(())
    }

    fn title(&self, text: &str) {
        say(&format!("\n{}", self.paint.bold(text)));
    }

    /// Output with the temporary directory left out of paths.
    fn indent(&self, text: &str) {
        let text = text.replace(&format!("{}/", self.dir.display()), "/");
        text.trim_end().lines().for_each(|line| say(&format!("    {line}")));
    }
}

/// The maker's web server; it ends with the story.
struct Server {
    child: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
