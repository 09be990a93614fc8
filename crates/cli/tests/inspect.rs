//! What `siding inspect` counts adds up, on real libraries whose references moved.
#![cfg(feature = "make")]

mod common;

use common::{Lab, testdata};
use serde_json::{Value, json};
use std::fs;

/// The sum of a field over a list of objects.
fn sum(list: &Value, field: &str) -> u64 {
    let list = list.as_array().unwrap_or_else(|| panic!("no list in {list}"));
    list.iter().map(|item| item[field].as_u64().or(item[field].as_f64().map(|f| f as u64)).unwrap()).sum()
}

/// A lab with the two versions of a library as `old` and `new`, and the patch between them as `p`.
fn library(name: &str) -> Option<Lab> {
    let lab = Lab::new();
    for (version, to) in [("3.0.20", "old"), ("3.0.22", "new")] {
        let from = testdata().join(name).join(version).join("libssl.so.3");
        if fs::copy(&from, lab.path(to)).is_err() {
            eprintln!("skipped: there is no {}", from.display());
            return None;
        }
    }
    lab.diff("old new -o p");
    Some(lab)
}

/// Regions and files describe the same bytes, and share what the delta's streams take.
fn regions_add_up(lab: &Lab, json: &Value) {
    let model = &json["model"];
    let outside = &model["outside"];
    for field in ["bytes", "literals", "copied", "changed", "copies"] {
        let regions = sum(&model["regions"], field) + outside[field].as_u64().unwrap();
        assert_eq!(regions, sum(&json["files"], field), "{field}: {json:#}");
    }
    assert_eq!(sum(&json["files"], "bytes"), lab.read("new").len() as u64);
    let shares = sum(&model["regions"], "patch_share") + outside["patch_share"].as_f64().unwrap() as u64;
    let of_files = sum(&json["files"], "patch_share");
    let streams = sum(&json["streams"], "stored") - model["stored"].as_u64().unwrap();
    assert!(of_files.abs_diff(streams) <= 16, "files take {of_files}, their streams {streams}: {json:#}");
    assert!(shares.abs_diff(of_files) <= 32, "regions take {shares}, files {of_files}: {json:#}");
}

/// What is known of the model without the old image.
fn without_sections(model: &Value) -> Value {
    let mut model = model.clone();
    for region in model["regions"].as_array_mut().unwrap() {
        region["sections"] = json!([]);
    }
    model
}

/// A patch says where a region is; what it is called is in the old image's headers.
#[test]
fn regions_are_called_by_the_sections_of_the_old_image() {
    for (name, code) in [("libssl", "x86-64"), ("libssl-arm64", "aarch64")] {
        let Some(lab) = library(name) else { continue };
        let model = &lab.json("inspect p --old old")["model"];
        let regions = model["regions"].as_array().unwrap();
        let sections_of = |kind: &str| -> Vec<&Value> {
            let of_kind = regions.iter().filter(|region| region["kind"] == kind);
            of_kind.flat_map(|region| region["sections"].as_array().unwrap()).collect()
        };
        for (kind, section) in [
            (code, ".text"),
            ("rela64", ".rela.dyn"),
            ("symbols64", ".dynsym"),
            ("words64", ".data.rel.ro"),
            ("eh-frame", ".eh_frame"),
            ("eh-frame-hdr", ".eh_frame_hdr"),
        ] {
            assert!(sections_of(kind).contains(&&json!(section)), "{name}: no {section} in {model:#}");
        }
        assert!(regions.iter().all(|region| region["sections"] != json!([])), "{name}: {model:#}");
        let done = lab.ok("inspect p --old old");
        let text = done.says(&[".rela.dyn rela64", ".eh_frame eh-frame"]).out;
        let of_code = text.lines().find(|line| line.contains(" .text "));
        assert!(of_code.is_some_and(|line| line.contains(code)), "{text}");
        lab.ok("inspect p").says_not(&[".text", ".eh_frame"]);
    }
}

#[test]
fn regions_and_references_of_a_real_library_add_up() {
    for (name, code) in [("libssl", "x86-64"), ("libssl-arm64", "aarch64")] {
        let Some(lab) = library(name) else { continue };
        let alone = lab.json("inspect p");
        assert!(alone["references"].is_null(), "{alone}");
        regions_add_up(&lab, &alone);
        let json = lab.json("inspect p --old old");
        regions_add_up(&lab, &json);
        assert_eq!(
            alone["model"],
            without_sections(&json["model"]),
            "{name}: the old image adds to what is known"
        );
        let all = &json["references"];
        let number = |field: &str| all[field].as_u64().unwrap();
        for field in ["found", "changed", "changed_and_right", "moved", "right", "wrong"] {
            assert_eq!(sum(&all["kinds"], field), number(field), "{name}: {field}");
        }
        assert_eq!(number("right") + number("wrong"), number("found"));
        assert!(number("changed_and_right") <= number("changed").min(number("right")));
        // What did not change and came out right, or changed and did not, was not moved by the map as it should be.
        assert!(number("changed_and_right") <= number("moved"));
        assert!(number("changed") > 10_000, "{name}: {all:#}");
        assert!(number("changed_and_right") * 100 > number("changed") * 95, "{name}: {all:#}");
        let of_code = all["kinds"].as_array().unwrap().iter().find(|kind| kind["kind"] == code).expect(code);
        assert!(of_code["found"].as_u64().unwrap() > 10_000, "{name}: {of_code}");
        // Each wrong reference needs a byte of difference at least, and each byte of difference is counted once.
        assert!(number("wrong") <= sum(&json["files"], "changed"));
        lab.ok("inspect p --old old")
            .says(&["references that changed were predicted right", "steps of the map"]);
    }
}

#[test]
fn an_old_image_that_is_another_one_is_refused() {
    let lab = Lab::device();
    lab.run("inspect a.siding --old new-b").ends_with(3).complains(&["for another image"]);
    lab.run("inspect a.siding --old missing").ends_with(1).complains(&["missing"]);
    // Where nothing is predicted, nothing is said about it.
    let json = lab.json("inspect a.siding --old old");
    assert!(json["model"].is_null() && json["references"]["found"] == 0, "{json}");
}

#[test]
fn a_tree_with_the_old_image_is_told_by_its_files() {
    let lab = Lab::new();
    let tree = testdata().join("ossl-tree");
    let (old, new) = (tree.join("3.0.20"), tree.join("3.0.22"));
    let (old, new) = (old.display(), new.display());
    lab.diff(&format!("{old} {new} -o p"));
    let json = lab.json(&format!("inspect p --old {old}"));
    let regions = json["model"]["regions"].as_array().expect("a model");
    let lies = |region: &Value| tree.join("3.0.20").join(region["file"].as_str().unwrap()).is_file();
    assert!(!regions.is_empty() && regions.iter().all(lies), "{json:#}");
    let code = regions.iter().find(|region| region["kind"] == "x86-64").expect("code");
    assert!(code["sections"].as_array().unwrap().contains(&json!(".text")), "{code:#}");
    assert_eq!(lab.json("inspect p")["files"], json["files"]);
    lab.ok(&format!("inspect p --old {old}")).says(&["engines-3/", "references that changed"]);
}
