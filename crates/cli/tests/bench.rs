//! `siding bench` measures; what it measures is not asserted, only that it is all there and that it refuses well.
#![cfg(feature = "make")]

mod common;

use common::{Lab, has_tool, testdata, tool};
use serde_json::json;
use std::fs;

/// A lab with libssl's update as `p`, `old` and `new`.
fn libssl() -> Lab {
    let lab = Lab::new();
    for (name, version) in [("old", "3.0.20"), ("new", "3.0.22")] {
        let library = fs::read(testdata().join("libssl").join(version).join("libssl.so.3")).unwrap();
        lab.write(name, &library);
    }
    lab.diff("old new -o p");
    lab
}

#[test]
fn a_bench_says_how_far_the_machines_limits_are() {
    let lab = libssl();
    let bench = lab.json("bench p old --runs 2");
    let size = lab.read("new").len();
    assert_eq!((&bench["target_bytes"], &bench["limits"]["bytes"]), (&json!(size), &json!(size)));
    for limit in ["memcpy", "sha256", "write"] {
        assert!(bench["limits"]["seconds"][limit].as_f64().is_some_and(|spent| spent > 0.0), "{bench:#}");
    }
    assert_eq!(bench["peers"], json!([]));
    lab.ok("bench p old --runs 1").says(&[
        "stages overlap",
        "copy in memory",
        "fs-verity digest",
        "plain copy",
    ]);
}

#[test]
fn a_bench_takes_other_tools_with_their_patches() {
    let lab = libssl();
    if has_tool("zstd") {
        let (old, new, out) = (lab.path("old"), lab.path("new"), lab.path("z"));
        let (old, new, out) = (old.display(), new.display(), out.display());
        tool(&format!("zstd -q -3 --long=27 --patch-from={old} {new} -o {out}"));
        let bench = lab.json("bench p old --runs 1 --peer zstd=z --peer zstd=z");
        let peers = bench["peers"].as_array().unwrap();
        assert_eq!((peers.len(), &peers[0]["tool"]), (2, &json!("zstd")));
        assert!(peers[0]["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{bench:#}");
        lab.run("bench p old --runs 1 --peer zstd=new").ends_with(1).complains(&["zstd failed"]);
    }
    lab.run("bench p old --runs 1 --peer tar=x").ends_with(2).complains(&["hpatchz, bspatch, zstd"]);
    if !has_tool("hpatchz") {
        lab.run("bench p old --runs 1 --peer hpatchz=p")
            .ends_with(1)
            .complains(&["hpatchz is not installed"]);
    }
}
