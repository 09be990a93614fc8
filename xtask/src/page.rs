//! The page in a real browser: accessibility by axe, two widths, dark and light, the keyboard, screenshots.
//!
//! Chromium comes from Debian, axe and the driver from npm, both only if they are missing; the made-up devices from
//! `crates/page/examples/gallery.rs`. What is looked at is in `page.mjs`.

use crate::{Result, measure, tools, workspace};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(crate) const USAGE: &str = "\
cargo xtask page [--quick]
  looks at the local page in a browser and leaves screenshots in target/page; what it takes is fetched if missing;
  quickly: narrow and light, wide and dark, and not the other two";

pub(crate) fn run(args: &[String]) -> Result<()> {
    let looks = match args {
        [] => "all",
        [flag] if flag == "--quick" => "some",
        _ => return Err(USAGE.to_owned()),
    };
    let target = target();
    let Some(modules) = prepare(&target)? else { return Ok(()) };
    let out = target.join("page");
    fs::create_dir_all(&out).map_err(|e| format!("{}: {e}", out.display()))?;
    let (mut gallery, states) = gallery(&target)?;
    let looked = Command::new("node")
        .arg(workspace().join("xtask/src/page.mjs"))
        .args([&modules, Path::new(BROWSER), &out])
        .arg(looks)
        .args(states.iter().map(|(state, url)| format!("{state}={url}")))
        .status();
    drop(gallery.stdin.take()); // it ends with its input
    drop(gallery.wait());
    match looked {
        Ok(status) if status.success() => {
            println!("screenshots: {}", out.display());
            Ok(())
        }
        Ok(_) => Err(format!("the page is not as it should be; screenshots: {}", out.display())),
        Err(e) => Err(format!("node: {e}")),
    }
}

/// Where builds go.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// Fetches what is missing; `None`, after saying so, if it cannot be had.
fn prepare(target: &Path) -> Result<Option<PathBuf>> {
    let missing = |program: &str| !tools::in_path(program);
    let packages = [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];
    let packages: Vec<&str> =
        packages.iter().filter(|(p, _)| missing(p)).map(|(_, package)| *package).collect();
    if !packages.is_empty() && tools::in_path("apt-get") {
        drop(measure::ask("apt-get", &["update", "-q"]));
        let args = [&["install", "-y", "-q", "--no-install-recommends", "fonts-dejavu-core"], &packages[..]]
            .concat();
        drop(measure::ask("apt-get", &args));
    }
    if let Some(program) = ["chromium", "node", "npm"].into_iter().find(|program| missing(program)) {
        println!("skipped: there is no {program}, and it cannot be installed");
        return Ok(None);
    }
    let modules = target.join("page-tools");
    let wanted = |(name, version): (&str, &str)| {
        let said = fs::read_to_string(modules.join("node_modules").join(name).join("package.json"));
        said.is_ok_and(|said| said.contains(&format!("\"version\": \"{version}\"")))
    };
    if !MODULES.into_iter().all(wanted) {
        fs::create_dir_all(&modules).map_err(|e| format!("{}: {e}", modules.display()))?;
        let place = modules.to_string_lossy();
        let mut args = vec!["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", &place];
        let named = MODULES.map(|(name, version)| format!("{name}@{version}"));
        args.extend(named.iter().map(String::as_str));
        drop(measure::ask("npm", &args));
    }
    if MODULES.into_iter().all(wanted) {
        return Ok(Some(modules));
    }
    println!("skipped: npm cannot fetch {}", MODULES.map(|(name, _)| name).join(" and "));
    Ok(None)
}

/// Starts the made-up devices: the process, and each state with its address.
fn gallery(target: &Path) -> Result<(Child, Vec<(String, String)>)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "-q", "-p", "siding-page", "--example", "gallery"];
    let built = Command::new(cargo).args(build).current_dir(workspace()).status();
    if !built.is_ok_and(|status| status.success()) {
        return Err("the example gallery of siding-page does not build".to_owned());
    }
    let binary = target.join("debug/examples/gallery");
    let mut child = Command::new(&binary)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{}: {e}", binary.display()))?;
    let output = child.stdout.take().ok_or("the gallery has no output")?;
    let lines = BufReader::new(output).lines().map_while(std::result::Result::ok);
    let states = lines.take_while(|line| line != "ready");
    let states: Vec<_> =
        states.filter_map(|line| line.split_once(' ').map(|(s, u)| (s.into(), u.into()))).collect();
    Ok((child, states))
}

/// Debian's.
const BROWSER: &str = "/usr/bin/chromium";

/// What is fetched from npm; neither has dependencies.
const MODULES: [(&str, &str); 2] = [("playwright-core", "1.65.1"), ("axe-core", "4.14.1")];
