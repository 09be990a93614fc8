//! What a script sees: JSON on standard output, JSON errors on standard error, exit codes, progress in lines,
//! and help that shows an example.
#![cfg(feature = "make")]

mod common;

use common::{Lab, noise};
use serde_json::{Value, json};
use std::fs;
use std::process::Stdio;

/// Each of the fields is there, and not null.
#[track_caller]
fn has(value: &Value, fields: &[&str]) {
    for field in fields {
        assert!(value.get(field).is_some_and(|value| !value.is_null()), "no {field:?} in {value:#}");
    }
}

#[test]
fn every_verb_answers_in_json() {
    let lab = Lab::new();
    lab.write("old", &noise(1, 30_000));
    lab.write("new", &common::changed(&noise(1, 30_000), 4));
    lab.write("advisory", br#"{"id": "CVE-2026-0001", "severity": "high", "text": "Reads past the end."}"#);

    let keygen = lab.json("keygen second");
    has(&keygen, &["private", "public", "id"]);
    let diff = lab.json(
        "diff old new -o p --key maker.key --component lib --from 1.0 --advisory advisory --epoch 3 --created 2026-01-01",
    );
    assert_eq!(
        (&diff["from"], &diff["to"], &diff["component"]),
        (&json!("1.0"), &json!("1.0 (a)"), &json!("lib"))
    );
    assert_eq!(diff["bytes"], lab.read("p").len());
    assert_eq!((&diff["new_bytes"], &diff["signatures"]), (&json!(lab.read("new").len()), &json!(1)));
    has(&diff, &["chunks", "covers", "copied", "literals", "seconds", "patch"]);
    let sign = lab.json("sign p --key second.key -o p2");
    assert_eq!(sign["signed_by"], keygen["id"]);
    let inspect = lab.json("inspect p2");
    assert_eq!((&inspect["signatures"], &inspect["epoch"]), (&json!(2), &json!(3)));
    assert_eq!(inspect["advisories"][0]["id"], "CVE-2026-0001");
    assert_eq!(inspect["created"], 1_767_225_600);
    assert_eq!(inspect["source"]["version"], "1.0");
    assert_eq!(inspect["target"]["bytes"], lab.read("new").len());
    has(
        &inspect,
        &["bytes", "manifest_bytes", "streams", "files", "restart", "products", "chunks", "removed", "put"],
    );
    let verify =
        lab.json("verify p2 --trust maker.pub --trust second.pub --threshold 2 --source old --target new");
    assert_eq!((&verify["ok"], &verify["rebuilt"]), (&json!(true), &json!(true)));
    assert_eq!(verify["signers"].as_array().unwrap().len(), 2);
    assert_eq!(lab.json("verify p --trust maker.pub")["rebuilt"], false);
    let apply = lab.json("apply p old out --trust maker.pub");
    assert_eq!((&apply["version"], &apply["written"]), (&json!("1.0 (a)"), &json!(lab.read("new").len())));
    assert_eq!(apply["digest"], inspect["target"]["digest"]);
    let bench = lab.json("bench p old --runs 1");
    has(
        &bench,
        &["runs", "seconds", "stages", "copy_seconds", "ratio", "peak_private_bytes", "target_bytes"],
    );

    let event = |value: &Value, index: usize| value[index]["event"].as_str().unwrap().to_owned();
    let init = lab.json("init lib old --version 1.0");
    assert_eq!(event(&init, 0), "init");
    let install = lab.json("install p --trust maker.pub");
    assert_eq!(
        (&install["outcome"], &install["slot"], &install["switched"]),
        (&json!("applied"), &json!("a"), &json!(false))
    );
    assert_eq!(lab.json("install p --trust maker.pub")["outcome"], "was-there");
    assert_eq!(lab.status("lib")["ready"], "a");
    let switch = lab.json("switch --tries 2");
    assert_eq!(
        (event(&switch, 0), &switch[0]["from"], &switch[0]["to"]),
        ("switch".into(), &json!("1.0"), &json!("1.0 (a)"))
    );
    assert_eq!(lab.json("install p --trust maker.pub")["outcome"], "was-active");
    let status = lab.status("lib");
    has(
        &status,
        &[
            "component",
            "path",
            "active",
            "version",
            "slots",
            "trial",
            "next_restart",
            "epoch_floor",
            "denied",
        ],
    );
    assert_eq!((&status["active"], &status["trial"]["tries_left"]), (&json!("a"), &json!(2)));
    assert_eq!(status["next_restart"], json!({ "does": "spends-try", "slot": "a", "tries_left": 1 }));
    assert_eq!(status["slots"]["a"]["advisories"], json!(["CVE-2026-0001"]));
    assert_eq!(status["slots"]["b"], json!({ "state": "empty" }));
    assert_eq!(fs::read(status["path"].as_str().unwrap()).unwrap(), lab.read("new"));
    let boot = lab.json("boot");
    assert_eq!((event(&boot, 0), &boot[0]["reason"]), ("try".into(), &json!("1 left after this one")));
    assert_eq!(event(&lab.json("confirm"), 0), "confirm");
    assert_eq!(lab.json("confirm"), json!([]));
    assert_eq!(event(&lab.json("remove lib"), 0), "remove");
    // What was removed by hand comes back only by name.
    assert_eq!(lab.json("switch"), json!([]));
    lab.json("switch lib");
    let rollback = lab.json("rollback --reason 'a \"quoted\" reason\n'");
    assert_eq!(
        (event(&rollback, 0), &rollback[0]["reason"]),
        ("rollback".into(), &json!("a \"quoted\" reason\n"))
    );
    let vacuum = lab.json("vacuum");
    assert_eq!(event(&vacuum["events"], 0), "vacuum");
    assert!(vacuum["freed_bytes"].as_u64().unwrap() >= 28_000, "{vacuum}");
    let log = lab.json("log");
    has(&log["entries"][0], &["at", "event", "component", "to", "slot"]);
    assert_eq!(lab.events().last().unwrap(), "vacuum");
    has(&lab.json("status"), &["store", "components"]);
}

#[test]
fn an_exit_code_of_restart_needed_comes_with_its_answer() {
    let lab = Lab::device();
    lab.diff("old new-b -o r.siding --restart reboot");
    let done = lab.run("install r.siding --trust maker.pub --switch --json").ends_with(4);
    assert_eq!((&done.json()["restart"], &done.json()["switched"]), (&json!(["reboot"]), &json!(true)));
    assert!(done.err.is_empty(), "{done}");
    lab.run("rollback").ends_with(4);
    lab.ok("install r.siding --trust maker.pub --retry-denied");
    lab.run("switch --json").ends_with(4).json();
}

#[test]
fn a_failure_is_json_too_and_names_its_exit_code() {
    let lab = Lab::device();
    lab.write("garbage", b"garbage, garbage");
    lab.ok("keygen other");
    let cases = [
        ("install garbage --trust maker.pub", 6),
        ("install a.siding --trust other.pub", 5),
        ("switch nothing", 3),
        ("status --store nowhere", 3),
        ("apply a.siding old new-a --trust maker.pub", 2),
        ("verify missing --trust maker.pub", 1),
        ("inspect garbage", 6),
        ("diff old missing -o p --key maker.key", 1),
    ];
    for (line, code) in cases {
        let done = lab.run(&format!("{line} --json")).ends_with(code);
        let error: Value = serde_json::from_str(&done.err).unwrap_or_else(|e| panic!("{e}: {done}"));
        assert_eq!(error["code"], code, "{done}");
        assert!(error["error"].as_str().is_some_and(|text| text.len() > 15), "{done}");
        assert!(done.out.is_empty(), "{done}");
        // The same words as for people.
        let text = lab.run(line).ends_with(code).err;
        assert_eq!(text.trim_end(), format!("siding: {}", error["error"].as_str().unwrap()));
    }
    lab.run("install").ends_with(2);
    lab.run("no-such-verb").ends_with(2);
    lab.run("diff old new-a -o p").ends_with(2).complains(&["--key"]);
    lab.run("init lib old --version").ends_with(2);
    lab.run("init Bad/Name old --version 1").ends_with(2);
    lab.run("init more old --version 'one two'").ends_with(2);
    lab.run("switch --no-trial --tries 2").ends_with(2);
}

#[test]
fn help_lists_the_exit_codes() {
    let lab = Lab::new();
    // The lines are broken where the terminal ends.
    let help = lab.ok("--help").out.split_whitespace().collect::<Vec<_>>().join(" ");
    let codes = "0 done · 1 failed · 2 usage · 3 not for this device or base · 4 done, restart needed · \
                 5 not trusted · 6 corrupt · 7 no space · 8 busy";
    assert!(help.contains(codes) && help.contains("siding demo"), "{help}");
}

#[test]
fn the_version_is_that_of_siding() {
    Lab::new().ok("--version").says(&["siding 0."]);
}

#[test]
fn the_help_of_every_verb_has_an_example() {
    let lab = Lab::new();
    let help = lab.ok("--help").out;
    let (_, verbs) = help.split_once("Commands:\n").unwrap();
    let verbs = verbs.lines().take_while(|line| !line.is_empty());
    let named = verbs.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let verbs: Vec<&str> = named.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(verbs.len() >= 18, "{verbs:?}");
    for verb in verbs.iter().filter(|verb| **verb != "help") {
        lab.ok(&format!("{verb} --help")).says(&["Example: ", "Usage: siding", "--json"]);
    }
}

#[test]
fn progress_comes_as_lines_of_json() {
    let lab = Lab::device();
    let cases = [
        (
            "diff old new-a -o p --key maker.key --component lib --from 1.0",
            ["index", "match", "pack"].as_slice(),
        ),
        ("apply a.siding old out --trust maker.pub", &["apply"]),
        ("verify a.siding --trust maker.pub --source old", &["apply"]),
        ("install a.siding --trust maker.pub", &["apply"]),
    ];
    for (line, steps) in cases {
        let done = lab.run(&format!("{line} --progress json")).ends_with(0);
        let lines: Vec<Value> =
            done.err.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        assert!(!lines.is_empty(), "{done}");
        for step in &lines {
            has(step, &["step", "done", "total", "seconds_left"]);
            assert!(step["done"].as_u64() <= step["total"].as_u64(), "{step}");
            assert!(steps.contains(&step["step"].as_str().unwrap()), "{step}");
        }
        assert_eq!(lines.last().unwrap()["done"], lines.last().unwrap()["total"], "{done}");
    }
    // Within a step it only goes forward, and each step reaches its end.
    let lines = lab.run("diff old new-a -o p --key maker.key --progress json").err;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for (line, next) in lines.iter().zip(lines.iter().skip(1).map(Some).chain([None])) {
        match next.filter(|next| next["step"] == line["step"]) {
            Some(next) => assert!(next["done"].as_u64() > line["done"].as_u64(), "{line} then {next}"),
            None => assert_eq!(line["done"], line["total"]),
        }
    }
    // Nothing is shown where nobody looks.
    assert_eq!(lab.ok("apply a.siding old out-2 --trust maker.pub").err, "");
    assert_eq!(lab.ok("apply a.siding old out-3 --trust maker.pub --progress none").err, "");
}

#[test]
fn a_plan_says_what_is_matched_and_makes_nothing() {
    let lab = Lab::new();
    for (version, name) in [("3.0.20", "old"), ("3.0.22", "new")] {
        let from = common::testdata().join("libssl").join(version).join("libssl.so.3");
        fs::copy(from, lab.path(name)).unwrap();
    }
    let before = lab.names(".");
    lab.ok("diff --plan old new").says(&["688.2 KB, a file", "ELF x86-64", "are predicted", "memory"]);
    let plan = lab.json("diff --plan old new --level best");
    assert_eq!(plan["level"], "best");
    assert_eq!((&plan["changed_files"], &plan["changed_bytes"]), (&json!(1), &json!(688_160)));
    let program = json!({
        "format": "ELF", "architecture": "x86-64", "files": 1, "bytes": 688_160,
        "code_predicted": true, "tables_predicted": true,
    });
    assert_eq!(plan["programs"], json!([program]));
    let memory = plan["memory_bytes"].as_u64().unwrap();
    assert!((688_160..=12 * 2 * 688_160 + (80 << 20)).contains(&memory), "{memory}");
    assert_eq!(lab.names("."), before);
}

#[test]
fn a_plan_is_about_the_pair() {
    let lab = Lab::new();
    let library = fs::read(common::testdata().join("libssl/3.0.22/libssl.so.3")).unwrap();
    lab.write("new", &library);
    lab.write("text", b"no program");
    lab.ok("diff --plan text new").says(&["ELF x86-64", "matched as plain bytes", "none in the old image"]);
    assert_eq!(lab.json("diff --plan text new")["programs"][0]["tables_predicted"], false);
    lab.ok("diff --plan new text").says(&["to match", "10 B"]);
    // RISC-V code has no finder; tables are tables.
    let mut riscv = library.clone();
    riscv[18] = 243;
    lab.write("riscv", &riscv);
    riscv[library.len() - 1] ^= 1;
    lab.write("riscv-2", &riscv);
    lab.ok("diff --plan riscv riscv-2")
        .says(&["RISC-V", "its tables are predicted, its code matched as plain"]);
    lab.ok("diff --plan riscv new").says(&["ELF x86-64", "none in the old image"]);
}

#[test]
fn a_plan_of_the_same_twice_says_that_nothing_changed() {
    let lab = Lab::new();
    fs::copy(common::testdata().join("libssl/3.0.22/libssl.so.3"), lab.path("new")).unwrap();
    let plan = lab.ok("diff --plan new new").says(&["nothing changed"]);
    assert!(!plan.out.contains("program"), "{plan}");
    let plan = lab.json("diff --plan new new");
    assert_eq!((&plan["changed_files"], &plan["changed_bytes"]), (&json!(0), &json!(0)));
}

#[test]
fn a_plan_makes_nothing_so_it_takes_no_output_and_no_key() {
    let lab = Lab::new();
    lab.write("old", b"old");
    for with in ["-o p", "--key maker.key", "--unsigned"] {
        let name = with.split(' ').next().unwrap().trim_start_matches("-o");
        lab.run(&format!("diff --plan old old {with}"))
            .ends_with(2)
            .complains(&["cannot be used with", name]);
    }
}

#[test]
fn a_file_and_a_tree_are_refused_before_the_tree_is_read() {
    let lab = Lab::new();
    lab.write("old", b"old");
    // To open this one is refused, so whoever reads the tree says something else.
    fs::create_dir(lab.path("tree")).unwrap();
    std::os::unix::net::UnixListener::bind(lab.path("tree/socket")).unwrap();
    for line in ["old tree", "tree old"] {
        let plan = lab.run(&format!("diff --plan {line}")).ends_with(2).err;
        let diff = lab.run(&format!("diff {line} -o p --unsigned --component c")).ends_with(2).err;
        assert_eq!(plan, diff);
        assert!(plan.contains("from file to file or from tree to tree"), "{plan}");
    }
    lab.run("diff old missing -o p --unsigned").ends_with(1).complains(&["missing"]);
}

#[test]
fn a_patch_does_not_lie_within_its_inputs() {
    let lab = Lab::new();
    for (tree, bytes) in [("one", b"1"), ("two", b"2")] {
        fs::create_dir_all(lab.path(tree).join("sub")).unwrap();
        fs::write(lab.path(tree).join("file"), bytes).unwrap();
    }
    for output in ["one/p", "two/sub/p", "two/../two/p"] {
        lab.run(&format!("diff one two -o {output} --unsigned --component c")).ends_with(2).complains(&[
            output,
            "would lie within the input",
            "name an output elsewhere",
        ]);
    }
    assert_eq!(lab.names("one"), ["file", "sub"]);
    lab.ok("diff one two -o one-two --unsigned --component c");
}

#[test]
fn a_lot_of_memory_is_announced() {
    let lab = Lab::new();
    for name in ["old", "new"] {
        fs::File::create(lab.path(name)).unwrap().set_len(400 << 20).unwrap();
    }
    lab.write("small", b"small");
    assert!(lab.diff("old new -o p").err.contains("needs about "));
    assert_eq!(lab.diff("old new -o p --progress none").err, "");
    assert_eq!(lab.diff("old small -o p --json --level fast --progress none").err, "");
    let line: Value = serde_json::from_str(&lab.diff("old new -o p --json").err).unwrap();
    assert!(line["memory_bytes"].as_u64() > Some(1_000_000_000), "{line}");
    has(&line, &["step", "done", "total"]);
    assert_eq!(lab.diff("small small -o p").err, "");
}

/// The stored bytes by stream, with heads and manifest, are the whole file; a frame that several streams share
/// is divided with a remainder.
#[track_caller]
fn bytes_add_up(lab: &Lab, patch: &str) {
    let text = lab.ok(&format!("inspect {patch}")).out;
    let (_, table) = text.split_once("Where the bytes go, stream by stream").expect("no table of streams");
    let (_, table) = table.split_once('\n').expect("no table of streams");
    let number =
        |line: &str| line.split_whitespace().next().unwrap().replace(',', "").parse::<u64>().unwrap();
    let rows: Vec<&str> = table.lines().skip(1).filter(|line| !line.trim().is_empty()).collect();
    assert!(table.contains("heads of frames") && table.contains("manifest and signatures"), "{text}");
    let (sum, whole) = (rows.iter().map(|row| number(row)).sum::<u64>(), lab.read(patch).len() as u64);
    let rounding = 10 * rows.len() as u64;
    assert!(sum <= whole && sum + rounding >= whole, "the rows sum to {sum}, the file has {whole}\n{text}");
    let json = lab.json(&format!("inspect {patch}"));
    assert_eq!(json["bytes"], whole);
    let streams = json["streams"].as_array().unwrap().iter();
    let stored: u64 = streams.map(|stream| stream["stored"].as_u64().unwrap()).sum();
    assert!(stored + json["manifest_bytes"].as_u64().unwrap() <= whole, "{json}");
}

#[test]
fn inspect_tells_where_the_bytes_of_a_file_patch_go() {
    let lab = Lab::device();
    bytes_add_up(&lab, "a.siding");
    lab.ok("inspect a.siding").says(&[
        "lib 1.0 → 1.0 (a)",
        "literals",
        "copied",
        "not checked here; `siding verify`",
    ]);
    let file = &lab.json("inspect a.siding")["files"][0];
    let (literals, copied) = (file["literals"].as_u64().unwrap(), file["copied"].as_u64().unwrap());
    assert_eq!(literals + copied, lab.read("new-a").len() as u64);
    assert_eq!(file["file"], "lib");
    lab.piped("inspect -", &lab.read("a.siding")).ends_with(0);
}

#[test]
fn inspect_tells_where_the_bytes_of_a_tree_patch_go() {
    let lab = Lab::tree_device();
    bytes_add_up(&lab, "a.siding");
    lab.ok("inspect a.siding").says(&[
        "Changes of the tree",
        "removed    only-in-1",
        "content    bin/tool",
        "symlink    link",
    ]);
    let json = lab.json("inspect a.siding");
    assert_eq!(json["removed"], json!(["only-in-1"]));
    let put = json["put"].as_array().unwrap();
    assert!(put.contains(&json!({ "path": "only-in-2", "what": "content" })), "{json}");
    assert!(put.iter().all(|entry| entry["path"] != "same" || entry["what"] == "as old"), "{json}");
    let files: Vec<&str> =
        json["files"].as_array().unwrap().iter().map(|f| f["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["bin/tool", "only-in-2"]);
}

#[test]
fn inspect_counts_a_long_copy_once() {
    let lab = Lab::new();
    lab.write("old", &noise(1, 1 << 20));
    lab.diff("old old -o p --to '1.0 (a)'");
    let json = lab.json("inspect p");
    assert_eq!(json["files"][0]["copies"], 1);
    assert!(json["files"][0]["patch_share"].as_f64().unwrap() <= json["bytes"].as_f64().unwrap(), "{json}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let lab = Lab::device();
    for line in ["log", "status", "inspect a.siding"] {
        let mut child = lab.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_name_is_guessed_from_the_file_and_the_letter_from_the_version() {
    let lab = Lab::new();
    lab.write("libz.so.1", b"old");
    lab.write("libz.so.2", b"new");
    let guessed = lab.json("diff libz.so.1 libz.so.2 -o p --key maker.key --from '2.1 (a)'");
    assert_eq!((&guessed["component"], &guessed["to"]), (&json!("libz"), &json!("2.1 (b)")));
    lab.write("-", b"new");
    lab.run("diff libz.so.1 ./- -o p --key maker.key").ends_with(2).complains(&["use --component"]);
    lab.write("bad-advisory", b"{\"id\": 1}");
    lab.run("diff libz.so.1 libz.so.2 -o p --key maker.key --advisory bad-advisory")
        .ends_with(2)
        .complains(&["bad-advisory", "severity"]);
}
