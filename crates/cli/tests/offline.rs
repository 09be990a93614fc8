//! `keygen`, `diff`, `apply` and `verify` on files: every pair comes back bit for bit, and nothing is left
//! behind where something fails. Trees are in `trees.rs`.
#![cfg(feature = "make")]

mod common;

use common::{Lab, changed, has_tool, is_root, noise, testdata, tool};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process::Command;

/// Old and new through diff, verify and apply, in a directory of their own.
fn round_trip(name: &str, old: &[u8], new: &[u8]) -> u64 {
    let lab = Lab::new();
    lab.write("old", old);
    lab.write("new", new);
    there_and_back(&lab, name)
}

/// `old` and `new` in the lab; returns the patch's length.
fn there_and_back(lab: &Lab, name: &str) -> u64 {
    lab.diff("old new -o patch");
    lab.ok("verify patch --trust maker.pub --source old --target new")
        .says(&["signed by", "make the target of old"]);
    fs::create_dir(lab.path("made")).unwrap();
    lab.ok("apply patch old made/out --trust maker.pub").says(&["every digest is the signed one"]);
    assert_eq!(lab.names("made"), ["out"], "{name}");
    assert!(lab.read("made/out") == lab.read("new"), "{name}: not what it should be");
    fs::metadata(lab.path("patch")).unwrap().len()
}

#[test]
fn made_up_pairs_come_back() {
    let (big, other) = (noise(1, 300_000), noise(2, 300_000));
    let swapped = [&big[150_000..], &big[..150_000]].concat();
    let cases: [(&str, &[u8], &[u8]); 12] = [
        ("both empty", b"", b""),
        ("from nothing", b"", &big),
        ("to nothing", &big, b""),
        ("identical", &big, &big),
        ("identical, one byte", b"x", b"x"),
        ("one byte to another", b"x", b"y"),
        ("swapped halves", &big, &swapped),
        ("unrelated", &big, &other),
        ("a little changed", &big, &changed(&big, 5)),
        ("longer", &big[..100_000], &big),
        ("shorter", &big, &big[100_000..100_001]),
        ("zeros to noise", &[0; 100_000], &other[..100_000]),
    ];
    for (name, old, new) in cases {
        let patch = round_trip(name, old, new);
        let small = ["both empty", "to nothing", "identical", "swapped halves", "shorter"];
        assert!(!small.contains(&name) || patch < 700, "{name}: {patch} bytes");
        assert!(patch < new.len() as u64 + 2048, "{name}: {patch} bytes");
    }
}

#[test]
fn the_real_library_comes_back() {
    let lab = Lab::new();
    for (version, name) in [("3.0.20", "old"), ("3.0.22", "new")] {
        fs::copy(testdata().join("libssl").join(version).join("libssl.so.3"), lab.path(name)).unwrap();
    }
    let patch = there_and_back(&lab, "libssl");
    assert!(patch < 60_000, "{patch} bytes");
    // The same inputs give the same bytes, however many threads worked.
    lab.diff("old new -o one --threads 1");
    lab.diff("old new -o three --threads 3");
    assert!(lab.read("one") == lab.read("three"));
    assert!(lab.read("one") == lab.read("patch"));
    for threads in [1, 3] {
        lab.ok(&format!("apply one old out-{threads} --trust maker.pub --threads {threads}"));
        assert!(lab.read(&format!("out-{threads}")) == lab.read("new"));
    }
}

#[test]
fn every_level_comes_back() {
    let lab = Lab::new();
    lab.write("old", &noise(1, 100_000));
    lab.write("new", &changed(&lab.read("old"), 3));
    for level in ["fast", "default", "best"] {
        lab.diff(&format!("old new -o {level}.siding --level {level}"));
        lab.ok(&format!("apply {level}.siding old {level}.out --trust maker.pub"));
        assert!(lab.read(&format!("{level}.out")) == lab.read("new"), "{level}");
    }
}

/// Where an image of a little more than 4 GiB has its few islands of data; the rest are holes.
const ISLANDS: [u64; 5] = [0, (1 << 31) - 100, 3 << 30, (1 << 32) - 50, LEN - 5_000];
const LEN: u64 = (4 << 30) + 12_345;

/// Makes such an image; some bytes of every other island depend on the `seed`.
fn sparse(lab: &Lab, name: &str, seed: u64) {
    let file = File::create(lab.path(name)).unwrap();
    file.set_len(LEN).unwrap();
    for (index, offset) in ISLANDS.into_iter().enumerate() {
        let mut island = noise(index as u64, 5_000);
        if index % 2 == 1 {
            island[2_000..2_100].copy_from_slice(&noise(seed * 100, 100));
        }
        file.write_all_at(&island, offset).unwrap();
    }
}

/// `name` takes little disk, and has the islands of `like`.
fn is_sparse_and_like(lab: &Lab, name: &str, like: &str) {
    let meta = fs::metadata(lab.path(name)).unwrap();
    assert_eq!(meta.len(), LEN);
    assert!(meta.blocks() * 512 < 8 << 20, "{name} takes {} bytes of disk", meta.blocks() * 512);
    let read = |name: &str, offset: u64| {
        let mut bytes = vec![0; 5_100];
        let from = offset.saturating_sub(50).min(LEN - 5_100);
        File::open(lab.path(name)).unwrap().read_exact_at(&mut bytes, from).unwrap();
        bytes
    };
    // The applier compared every digest; here the islands and a hole, once more by hand.
    for offset in ISLANDS.into_iter().chain([1 << 30]) {
        assert!(read(name, offset) == read(like, offset), "{name} at {offset}");
    }
}

/// Only one of the two is large: for each large one `diff` looks at every hole, which takes seconds.
#[test]
fn a_sparse_image_of_more_than_four_gib_stays_sparse() {
    let lab = Lab::new();
    lab.write("small", &(0..5).flat_map(|index| noise(index, 5_000)).collect::<Vec<u8>>());
    sparse(&lab, "large", 1);
    lab.diff("small large -o forth");
    lab.ok("apply forth small out --trust maker.pub");
    is_sparse_and_like(&lab, "out", "large");
    // What is new, and the manifest's list of chunks; the islands themselves lie in the other file.
    let len = lab.read("forth").len();
    assert!(len < 6_000, "{len} bytes");
}

#[test]
fn a_pair_of_sparse_images_of_more_than_four_gib() {
    let lab = Lab::new();
    sparse(&lab, "old", 1);
    sparse(&lab, "new", 2);
    lab.write("small", &(0..5).flat_map(|index| noise(index, 5_000)).collect::<Vec<u8>>());
    lab.diff("old new -o patch");
    lab.ok("apply patch old out --trust maker.pub");
    is_sparse_and_like(&lab, "out", "new");
    assert!(lab.read("patch").len() < 6_000);
    lab.diff("old small -o back");
    lab.ok("apply back old small-again --trust maker.pub");
    assert!(lab.read("small-again") == lab.read("small"));
    assert!(lab.read("back").len() < 2_000);
}

#[test]
fn what_is_there_is_not_overwritten() {
    let lab = Lab::device();
    lab.write("precious", b"mine");
    lab.run("apply a.siding old precious --trust maker.pub")
        .ends_with(2)
        .complains(&["precious exists already"]);
    assert_eq!(lab.read("precious"), b"mine");
    fs::create_dir(lab.path("folder")).unwrap();
    lab.run("apply a.siding old folder --trust maker.pub").ends_with(2).complains(&["folder exists already"]);
    assert!(lab.names("folder").is_empty());
}

#[test]
fn a_link_that_leads_nowhere_is_something_that_is_there() {
    let lab = Lab::device();
    std::os::unix::fs::symlink("nowhere", lab.path("dangling")).unwrap();
    lab.run("apply a.siding old dangling --trust maker.pub")
        .ends_with(2)
        .complains(&["dangling exists already"]);
    assert_eq!(fs::read_link(lab.path("dangling")).unwrap().to_str(), Some("nowhere"));
}

#[test]
fn a_failure_leaves_nothing_behind() {
    let lab = Lab::device();
    fs::create_dir(lab.path("made")).unwrap();
    let good = lab.read("a.siding");
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    lab.write("bad.siding", &bad);
    lab.write("short.siding", &good[..good.len() - 1]);
    lab.run("apply a.siding new-b made/out --trust maker.pub")
        .ends_with(3)
        .complains(&["for another image", "get the patch made for this one"]);
    lab.run("apply bad.siding old made/out --trust maker.pub")
        .ends_with(6)
        .complains(&["chunk", "is damaged"]);
    lab.run("apply short.siding old made/out --trust maker.pub").ends_with(6).complains(&["ends inside"]);
    lab.run("apply a.siding missing made/out --trust maker.pub").ends_with(1).complains(&["missing"]);
    lab.run("apply a.siding old made/no/out --trust maker.pub").ends_with(1).complains(&["made/no"]);
    lab.run("diff old missing -o made/patch --key maker.key").ends_with(1).complains(&["missing"]);
    lab.run("diff old new-a -o made/no/patch --key maker.key --component lib")
        .ends_with(1)
        .complains(&["made/no"]);
    assert!(lab.names("made").is_empty(), "{:?}", lab.names("made"));
}

#[test]
fn verify_says_what_does_not_fit() {
    let lab = Lab::device();
    lab.run("verify a.siding --trust maker.pub --target new-b")
        .ends_with(3)
        .complains(&["new-b is not what the patch makes"]);
    lab.run("verify a.siding --trust maker.pub --source new-b")
        .ends_with(3)
        .complains(&["for another image"]);
    lab.piped("verify - --trust maker.pub --source old", &lab.read("a.siding"))
        .ends_with(0)
        .says(&["signed by"]);
}

#[test]
fn a_patch_is_applied_from_standard_input() {
    let lab = Lab::device();
    lab.piped("apply - old out --trust maker.pub", &lab.read("a.siding")).ends_with(0);
    assert!(lab.read("out") == lab.read("new-a"));
    lab.piped("apply - old out-2 --trust maker.pub", b"").ends_with(6).complains(&["ends inside"]);
    assert!(!lab.path("out-2").exists());
}

/// `verify` said "ok" of a model that no device takes: it compared the chunk's digest and looked no further.
#[test]
fn verify_refuses_a_malformed_model_without_the_source() {
    let lab = Lab::new();
    let v1 = testdata().join("v1");
    let verify = |name: &str, key: &str| {
        let [patch, key] = [name, key].map(|name| v1.join(name).display().to_string());
        lab.run(&format!("verify {patch} --trust {key}"))
    };
    let instructions = "the instructions of chunk 0 are malformed";
    let of_models = ["region", "span-", "segment-", "step-", "model-with-a-history"];
    let mut refused = 0;
    for file in fs::read_dir(v1.join("bad")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if of_models.iter().any(|start| name.starts_with(start)) {
            verify(&format!("bad/{name}"), "alice.pub").ends_with(6).complains(&[instructions, "maker"]);
            refused += 1;
        }
    }
    assert!(refused >= 18, "only {refused} bad files of models are there");
    // What is wrong with the chunk around a model.
    for (name, code, words) in [
        ("delta-stream-in-a-model", 6, "chunk 0"),
        ("model-too-long", 1, "chunk 0"),
        ("model-makes-bytes", 6, "the manifest"),
        ("model-twice", 6, "the manifest"),
        ("model-after-a-delta", 6, "the manifest"),
    ] {
        verify(&format!("bad/{name}.siding"), "alice.pub").ends_with(code).complains(&[words]);
    }
    verify("moved.siding", "bob.pub").ends_with(0);
}

#[test]
fn a_file_and_a_tree_make_no_pair() {
    let lab = Lab::device();
    fs::create_dir(lab.path("tree")).unwrap();
    lab.run("diff old tree -o p --key maker.key").ends_with(2);
    lab.run("diff tree old -o p --key maker.key").ends_with(2);
    assert!(!lab.path("p").exists());
}

/// A file as a block device, for as long as it lives.
struct Loop(String);

impl Loop {
    fn new(lab: &Lab, name: &str) -> Option<Self> {
        Some(Self(tool(&format!("losetup -f --show {}", lab.path(name).display()))?))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        tool(&format!("losetup -d {}", self.0));
    }
}

#[test]
fn block_devices_are_read_and_written_in_place() {
    if !is_root() {
        return eprintln!("skipped: only root can make loop devices");
    }
    let lab = Lab::new();
    lab.write("old", &noise(1, 1 << 20));
    lab.write("new", &changed(&noise(1, 1 << 20), 9)[..786_432]);
    lab.write("target", &[0xee; 1 << 20]);
    lab.write("small", &[0xee; 1 << 19]);
    let devices = ["old", "target", "small"].map(|name| Loop::new(&lab, name));
    let [Some(old), Some(target), Some(small)] = devices else {
        return eprintln!("skipped: no loop device can be made here");
    };
    lab.diff(&format!("{} new -o patch", old.0));
    let done = lab.run(&format!("apply patch {} {} --trust maker.pub", old.0, small.0));
    let done = done.complains(&["has 524288 bytes and the image needs 786432", "use a larger one"]);
    done.ends_with(7);
    lab.ok(&format!("apply patch {} {} --trust maker.pub", old.0, target.0));
    lab.ok(&format!("apply patch {} out --trust maker.pub", old.0));
    // A file with the same bytes is the same image.
    lab.ok("apply patch old out-2 --trust maker.pub");
    drop((old, target, small));
    let written = lab.read("target");
    assert!(written[..786_432] == lab.read("new")[..] && written[786_432..].iter().all(|byte| *byte == 0xee));
    assert!(lab.read("small").iter().all(|byte| *byte == 0xee), "a device that is too small is not touched");
    assert!(lab.read("out") == lab.read("new") && lab.read("out-2") == lab.read("new"));
}

#[test]
fn a_fifo_as_an_image_is_refused_and_not_waited_for() {
    let lab = Lab::device();
    if tool(&format!("mkfifo {}", lab.path("pipe").display())).is_none() {
        return eprintln!("skipped: no named pipe can be made here");
    }
    lab.run("diff pipe new-a -o p --key maker.key --component lib").ends_with(1).complains(&["pipe"]);
    lab.run("init more pipe --version 1.0").complains(&["pipe"]);
    lab.run("apply a.siding pipe out --trust maker.pub").complains(&["pipe"]);
    assert!(!lab.path("p").exists() && !lab.path("out").exists());
}

// ---- keys

#[test]
fn keys_are_private_and_never_overwritten() {
    let lab = Lab::new();
    let mode = |name: &str| fs::metadata(lab.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("maker.key"), mode("maker.pub") & 0o600), (0o600, 0o600));
    let before = (lab.read("maker.key"), lab.read("maker.pub"));
    lab.run("keygen maker").ends_with(1).complains(&["maker.key exists already"]);
    assert!((lab.read("maker.key"), lab.read("maker.pub")) == before);
    lab.ok("keygen other");
    assert!(lab.read("other.key") != before.0);
}

#[test]
fn a_private_key_without_its_public_half_gets_none_that_does_not_fit() {
    let lab = Lab::new();
    fs::remove_file(lab.path("maker.pub")).unwrap();
    lab.run("keygen maker").ends_with(1).complains(&["maker.key", "exists"]);
    assert_eq!(lab.names("."), ["maker.key"]);
}

#[test]
fn openssl_reads_the_keys() {
    if !has_tool("openssl") {
        return;
    }
    let lab = Lab::new();
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).current_dir(lab.root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(openssl(&["pkey", "-in", "maker.key", "-noout", "-text"]).contains("ED25519"));
    assert!(openssl(&["pkey", "-pubin", "-in", "maker.pub", "-noout", "-text"]).contains("ED25519"));
    let public = openssl(&["pkey", "-in", "maker.key", "-pubout"]);
    assert_eq!(public.trim(), String::from_utf8(lab.read("maker.pub")).unwrap().trim());
    // And the other way: a key that openssl made signs and verifies.
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", "theirs.key"]);
    openssl(&["pkey", "-in", "theirs.key", "-pubout", "-out", "theirs.pub"]);
    lab.write("old", b"one");
    lab.write("new", b"two");
    lab.diff("old new -o p --key theirs.key");
    lab.ok("verify p --trust theirs.pub --source old --target new");
    lab.run("verify p --trust maker.pub").ends_with(5);
}

#[test]
fn a_patch_overwrites_neither_its_inputs_nor_what_is_no_file() {
    let lab = Lab::device();
    let (old, new) = (lab.read("old"), lab.read("new-a"));
    for output in ["old", "./new-a"] {
        let line = format!("diff old new-a -o {output} --key maker.key");
        lab.run(&line).ends_with(2).complains(&["would overwrite the input"]);
    }
    fs::create_dir(lab.path("folder")).unwrap();
    lab.run("diff old new-a -o folder --key maker.key").ends_with(2).complains(&["no regular file"]);
    lab.run("sign a.siding --key maker.key -o folder").ends_with(2).complains(&["no regular file"]);
    assert!(lab.read("old") == old && lab.read("new-a") == new);
}

#[test]
fn what_appears_at_the_result_meanwhile_stays_and_what_killed_runs_left_goes() {
    let lab = Lab::new();
    lab.write("old", &noise(1, 300_000));
    lab.write("new", &changed(&noise(1, 300_000), 5));
    lab.diff("old new -o patch");
    // No process has this number; ours is alive.
    let (dead, alive) = (".out.4200000.partial".to_owned(), format!(".out.{}.partial", std::process::id()));
    lab.write(&dead, b"left by a killed run");
    lab.write(&alive, b"being written");
    let mut slow = lab.command("apply patch old out --trust maker.pub --rate 200K").spawn().unwrap();
    while lab.path(&dead).exists() {
        std::thread::yield_now();
    }
    lab.write("out", b"precious");
    assert!(!slow.wait().unwrap().success());
    assert_eq!((lab.read("out"), lab.read(&alive)), (b"precious".to_vec(), b"being written".to_vec()));
    let left = lab.names("").into_iter().filter(|name| name.contains("partial")).collect::<Vec<_>>();
    assert_eq!(left, [alive]);
}

#[test]
fn what_is_wrong_with_a_patch_names_its_file() {
    let lab = Lab::new();
    lab.write("old", &noise(1, 100_000));
    lab.write("new", &changed(&noise(1, 100_000), 5));
    lab.diff("old new -o good.siding");
    let whole = lab.read("good.siding");
    lab.write("cut.siding", &whole[..whole.len() - 1]);
    lab.run("verify cut.siding --trust maker.pub").complains(&["siding: cut.siding: the patch ends inside"]);
    lab.run("apply good.siding new out --trust maker.pub")
        .ends_with(3)
        .complains(&["good.siding: this patch is for another image"]);
    lab.piped("verify - --trust maker.pub", &whole[..20])
        .complains(&["standard input: the patch ends inside"]);
    lab.run("verify missing --trust maker.pub").complains(&["siding: cannot open the patch missing"]);
}

/// A device with two slots and no base goes back by a patch of its own.
#[test]
fn a_patch_and_its_reverse_lead_there_and_back_byte_for_byte() {
    let [file, tree] = [Lab::device(), Lab::tree_device()];
    for lab in [&file, &tree] {
        lab.write("advisory.json", br#"{"id": "CVE-1", "severity": "high", "text": "a hole"}"#);
        lab.diff("old new-a -o there --reverse back --to '1.0 (q)' --epoch 3 --product p --restart web --advisory advisory.json")
            .says(&["there: lib 1.0 → 1.0 (q)", "back: lib 1.0 (q) → 1.0"]);
        lab.ok("apply there old out --trust maker.pub");
        lab.ok("apply back out again --trust maker.pub");
        lab.ok("verify back --trust maker.pub --source new-a --target old");
        let [there, back] = ["there", "back"].map(|patch| lab.json(&format!("inspect {patch}")));
        for same in ["component", "epoch", "products", "restart"] {
            assert_eq!(there[same], back[same], "{same}");
        }
    }
    assert_eq!(file.read("again"), file.read("old"));
    let facts = |name: &str| common::tree::facts(&tree.path(name));
    assert_eq!(facts("again"), facts("old"));
    file.run("diff old new-a -o there --reverse ./there --unsigned")
        .ends_with(2)
        .complains(&["the same file as -o"]);
    file.run("diff old new-a -o there --reverse old --unsigned")
        .ends_with(2)
        .complains(&["would overwrite the input"]);
}
