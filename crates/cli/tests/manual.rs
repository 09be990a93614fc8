//! Man pages and completions say what the command line says, all of it, and the same everywhere.
#![cfg(feature = "make")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn siding(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siding"));
    command.current_dir(dir).args(args).env_remove("SOURCE_DATE_EPOCH").output().unwrap()
}

/// Every file that `siding manual` writes, by its place.
fn written(args: &[&str]) -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let output = siding(dir.path(), &[&["manual", "share"], args].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (mut files, mut folders) = (BTreeMap::new(), vec![dir.path().join("share")]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let place = path.strip_prefix(dir.path().join("share")).unwrap().display().to_string();
                files.insert(place, fs::read_to_string(path).unwrap());
            }
        }
    }
    files
}

/// What `--help` lists below `Commands:`.
fn verbs(above: &[&str]) -> Vec<String> {
    let output = siding(Path::new("."), &[above, &["--help"]].concat());
    let help = String::from_utf8(output.stdout).unwrap();
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

/// The words of every page's name, without `siding`.
fn commands() -> Vec<Vec<String>> {
    let mut commands = vec![vec![]];
    commands.extend(verbs(&[]).into_iter().map(|verb| vec![verb]));
    commands.extend(verbs(&["publish"]).into_iter().map(|verb| vec!["publish".to_owned(), verb]));
    assert!(commands.len() > 35, "{commands:?}");
    commands
}

#[test]
fn every_verb_has_a_page_with_every_section() {
    let files = written(&[]);
    let commands = commands();
    for words in &commands {
        let name = [vec!["siding".to_owned()], words.clone()].concat().join("-");
        let page = files.get(&format!("man/man1/{name}.1")).unwrap_or_else(|| panic!("{name} has no page"));
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS OF EVERY VERB",
            "EXIT STATUS",
            "EXAMPLES",
            "SEE ALSO",
        ] {
            let heading = if section.contains(' ') { format!("\"{section}\"") } else { section.to_owned() };
            let (_, body) = page
                .split_once(&format!("\n.SH {heading}\n"))
                .unwrap_or_else(|| panic!("{name}: no {section}"));
            assert!(!body.starts_with(".SH"), "{name}: {section} is empty");
        }
        for code in 0..=8 {
            assert!(page.contains(&format!("\n\\fB{code}\\fR\n")), "{name} does not tell exit code {code}");
        }
        assert!(page.is_ascii(), "{name}");
    }
    assert_eq!(files.keys().filter(|place| place.starts_with("man/")).count(), commands.len());
}

#[test]
fn pages_name_the_files_and_the_verbs_that_their_help_speaks_of() {
    let files = written(&[]);
    let install = &files["man/man1/siding-install.1"];
    assert!(install.contains("/var/lib/siding") && !install.contains("/etc/siding"), "{install}");
    assert!(install.contains(".BR siding-switch (1)") && install.contains(".BR siding (1),\n"), "{install}");
    // Its own option, not that of every verb.
    let init = &files["man/man1/siding-init.1"];
    assert!(
        init.find("\\-\\-version\\fR \\fI<VERSION>") < init.find(".SH \"OPTIONS OF EVERY VERB\""),
        "{init}"
    );
    assert!(files["man/man1/siding-agent.1"].contains("/etc/siding/admin.toml"));
    assert!(files["man/man1/siding-publish.1"].contains(".BR siding-publish-plan (1)"));
}

#[test]
fn completions_offer_every_verb() {
    let files = written(&[]);
    for place in [
        "bash-completion/completions/siding",
        "fish/vendor_completions.d/siding.fish",
        "zsh/site-functions/_siding",
    ] {
        for words in commands() {
            for word in words {
                assert!(files[place].contains(&word), "{place} does not know {word}");
            }
        }
    }
}

#[test]
fn what_is_written_depends_on_the_date_alone() {
    let once = written(&["--date", "1700000000"]);
    assert_eq!(once, written(&["--date", "2023-11-14"]));
    assert!(
        once["man/man1/siding.1"].contains(".TH SIDING 1 2023-11-14 \"siding "),
        "{}",
        once["man/man1/siding.1"]
    );
    assert_ne!(once, written(&[]));
    for (place, text) in once {
        for path in [
            env!("CARGO_MANIFEST_DIR"),
            env!("CARGO_BIN_EXE_siding"),
            &std::env::temp_dir().to_string_lossy(),
        ] {
            // Help may speak of the folder for temporary files in general.
            assert!(!text.contains(&format!("{path}/")), "{place} names {path}");
        }
    }
}

#[test]
fn a_folder_that_cannot_be_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let output = siding(dir.path(), &["manual", "file"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("cannot create file/man/man1"), "{said}");
}
