//! `diff`, `apply` and `verify` on trees: paths, types, modes, owners, times, links and attributes come back.
#![cfg(feature = "make")]

mod common;

use common::{Lab, has_tool, is_root, noise, testdata, tree};
use rustix::fs::XattrFlags;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

/// The trees `old` and `new` of the lab through diff, verify and apply; both ways.
fn there_and_back(lab: &Lab, name: &str) {
    lab.diff("old new -o forth");
    lab.diff("new old -o back");
    lab.ok("verify forth --trust maker.pub --source old --target new");
    let (old, new) = (tree::facts(&lab.path("old")), tree::facts(&lab.path("new")));
    fs::create_dir(lab.path("made")).unwrap();
    lab.ok("apply forth old made/new --trust maker.pub");
    lab.ok("apply back made/new made/old --trust maker.pub");
    assert_eq!(tree::facts(&lab.path("made/new")), new, "{name}");
    assert_eq!(tree::facts(&lab.path("made/old")), old, "{name}");
    assert_eq!(tree::facts(&lab.path("old")), old, "{name}: the source has changed");
    assert_eq!(lab.names("made"), ["new", "old"], "{name}");
    same_for_diff(lab, "new", "made/new");
}

/// Another opinion, where there is one.
fn same_for_diff(lab: &Lab, a: &str, b: &str) {
    if has_tool("diff") && is_root() {
        let output =
            Command::new("diff").args(["-r", "--no-dereference", a, b]).current_dir(lab.root()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// A lab whose `old` and `new` are what these two make of an empty directory.
fn pair(old: impl Fn(&Path), new: impl Fn(&Path)) -> Lab {
    let lab = Lab::new();
    for (name, make) in [("old", &old as &dyn Fn(&Path)), ("new", &new)] {
        fs::create_dir(lab.path(name)).unwrap();
        make(&lab.path(name));
    }
    lab
}

fn file(path: impl AsRef<Path>, bytes: &[u8]) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn the_real_tree_comes_back() {
    let lab = Lab::new();
    for (version, name) in [("3.0.20", "old"), ("3.0.22", "new")] {
        let from = testdata().join("ossl-tree").join(version);
        let copied = Command::new("cp").arg("-a").args([from, lab.path(name)]).status().unwrap();
        assert!(copied.success());
    }
    there_and_back(&lab, "ossl-tree");
    lab.diff("old new -o one --threads 1");
    lab.diff("old new -o three --threads 3");
    assert!(lab.read("one") == lab.read("three") && lab.read("one") == lab.read("forth"));
}

#[test]
fn empty_and_identical_trees() {
    there_and_back(&pair(|_| {}, |_| {}), "both empty");
    there_and_back(&pair(|_| {}, |new| tree::small(new, 1)), "from nothing");
    let same = |root: &Path| tree::small(root, 1);
    let lab = pair(same, same);
    there_and_back(&lab, "identical");
}

#[test]
fn contents_that_move_between_names() {
    let contents = [noise(1, 50_000), noise(2, 50_000), Vec::new()];
    let lab = pair(
        |old| {
            file(old.join("a"), &contents[0]);
            file(old.join("b"), &contents[1]);
            file(old.join("c"), &contents[2]);
            file(old.join("gone/deep/x"), &contents[1]);
        },
        |new| {
            file(new.join("a"), &contents[1]);
            file(new.join("b"), &contents[0]);
            file(new.join("moved/deep/c"), &contents[0]);
            file(new.join("empty-too"), &contents[2]);
        },
    );
    there_and_back(&lab, "swapped");
    let patch = fs::metadata(lab.path("forth")).unwrap().len();
    assert!(patch < 2_000, "contents that only move cost nothing: {patch} bytes");
}

#[test]
fn odd_names() {
    let names: [&[u8]; 10] = [
        b"-rf",
        b"--help",
        b"new\nline",
        b"tab\there",
        b"\xff\xfe not text",
        b" ",
        b"...",
        b"quote'\"\\",
        b"\x1b[31mred",
        "ünïcödé ☃".as_bytes(),
    ];
    let long = vec![b'n'; 255];
    let make = |seed: u64| {
        let (names, long) = (names, long.clone());
        move |root: &Path| {
            for (index, name) in names.into_iter().chain([long.as_slice()]).enumerate() {
                let name = OsStr::from_bytes(name);
                file(root.join("files").join(name), &noise(seed + index as u64 % 2, 100 + index));
                fs::create_dir_all(root.join("dirs").join(name).join(name)).unwrap();
                symlink(name, root.join(format!("link-{index}"))).unwrap();
            }
        }
    };
    let lab = pair(make(1), make(2));
    there_and_back(&lab, "odd names");
    let shown = lab.ok("inspect forth");
    assert!(shown.out.chars().all(|c| c == '\n' || !c.is_control()), "{shown}");
}

#[test]
fn one_kind_becomes_another() {
    let lab = pair(
        |old| {
            file(old.join("file-to-dir"), b"file");
            file(old.join("dir-to-file/x/y"), b"deep");
            file(old.join("file-to-link"), b"file");
            symlink("file-to-dir", old.join("link-to-dir")).unwrap();
            symlink("dir-to-file", old.join("link-to-file")).unwrap();
            fs::create_dir(old.join("dir-to-link")).unwrap();
            fs::create_dir(old.join("empty-goes")).unwrap();
        },
        |new| {
            file(new.join("file-to-dir/x"), b"file");
            file(new.join("dir-to-file"), b"flat");
            symlink("/etc/passwd", new.join("file-to-link")).unwrap();
            file(new.join("link-to-dir/z"), b"behind what was a link");
            file(new.join("link-to-file"), b"was a link");
            symlink("../..", new.join("dir-to-link")).unwrap();
            fs::create_dir_all(new.join("empty-comes/in/depth")).unwrap();
        },
    );
    there_and_back(&lab, "kinds");
}

#[test]
fn hard_links_come_and_go() {
    let lab = pair(
        |old| {
            file(old.join("a"), &noise(1, 5_000));
            fs::hard_link(old.join("a"), old.join("b")).unwrap();
            file(old.join("c"), &noise(1, 5_000));
            file(old.join("d/e"), b"alone");
        },
        |new| {
            file(new.join("a"), &noise(1, 5_000));
            file(new.join("b"), &noise(1, 5_000));
            fs::hard_link(new.join("a"), new.join("c")).unwrap();
            fs::create_dir(new.join("d")).unwrap();
            fs::hard_link(new.join("b"), new.join("d/e")).unwrap();
            fs::hard_link(new.join("b"), new.join("z")).unwrap();
        },
    );
    there_and_back(&lab, "hard links");
}

#[test]
fn modes_times_and_symlinks_alone_make_a_patch() {
    let make = |modes: [u32; 5], seconds: u64| {
        move |root: &Path| {
            for (index, mode) in modes.into_iter().enumerate() {
                let path = root.join(format!("file-{index}"));
                file(&path, b"the same");
                tree::set_time(&path, seconds, 1 + index as u32);
                tree::set_mode(&path, mode);
            }
            fs::create_dir(root.join("dir")).unwrap();
            symlink(format!("to-{seconds}"), root.join("dir/link")).unwrap();
            tree::set_time(&root.join("dir"), seconds, 999_999_999);
            tree::set_mode(&root.join("dir"), modes[4]);
            tree::set_time(root, 0, 0);
        }
    };
    there_and_back(
        &pair(
            make([0o644, 0o755, 0o600, 0o444, 0o755], 1),
            make([0o755, 0o600, 0o640, 0o400, 0o700], 4_102_444_800),
        ),
        "plain",
    );
    if !is_root() {
        return eprintln!("skipped: files that cannot be read, only root can read back");
    }
    there_and_back(
        &pair(make([0o644; 5], 1), make([0o000, 0o4755, 0o2711, 0o1777, 0o000], 2)),
        "0000 and set-uid",
    );
}

#[test]
fn owners_come_back_for_root() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let make = |owner: u32| {
        move |root: &Path| {
            file(root.join("file"), b"x");
            symlink("file", root.join("link")).unwrap();
            chown(root.join("file"), Some(owner), Some(owner + 1)).unwrap();
            lchown(root.join("link"), Some(owner), None).unwrap();
            // What set-uid means depends on the owner, and a change of owner clears it.
            tree::set_mode(&root.join("file"), 0o4755);
        }
    };
    let lab = pair(make(1_000), make(70_000));
    there_and_back(&lab, "owners");
    assert_eq!(fs::metadata(lab.path("made/new/file")).unwrap().uid(), 70_000);
}

#[test]
fn extended_attributes_come_back() {
    let lab = Lab::new();
    for (name, value) in [("old", "1"), ("new", "2")] {
        let root = lab.path(name);
        file(root.join("dir/file"), b"x");
        file(root.join("plain"), b"x");
        let set = |path: &Path, name: &str, value: &[u8]| {
            rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
        };
        if set(&root.join("dir/file"), "user.siding", value.as_bytes()).is_err() {
            return eprintln!("skipped: this filesystem keeps no extended attributes");
        }
        set(&root.join("dir"), "user.binary", &[0, 255, value.as_bytes()[0]]).unwrap();
        set(&root.join("dir"), &format!("user.only-{value}"), b"").unwrap();
        if is_root() {
            // cap_net_raw, and an attribute on a link itself.
            let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let _ = set(&root.join("plain"), "security.capability", &capability);
            symlink("plain", root.join("link")).unwrap();
            let _ = set(&root.join("link"), "trusted.siding", value.as_bytes());
        }
    }
    assert!(tree::facts(&lab.path("old")).values().any(|fact| fact.contains("user.siding")));
    there_and_back(&lab, "attributes");
}

#[test]
fn holes_in_files_of_a_tree_stay_holes() {
    let make = |seed: u64| {
        move |root: &Path| {
            let sparse = fs::File::create(root.join("sparse")).unwrap();
            sparse.set_len(64 << 20).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&sparse, &noise(seed, 1_000), 32 << 20).unwrap();
            let unchanged = fs::File::create(root.join("unchanged")).unwrap();
            unchanged.set_len(64 << 20).unwrap();
        }
    };
    let lab = pair(make(1), make(2));
    lab.diff("old new -o p");
    lab.ok("apply p old out --trust maker.pub");
    for name in ["sparse", "unchanged"] {
        let path = format!("out/{name}");
        assert!(lab.read(&path) == lab.read(&format!("new/{name}")));
        let blocks = fs::metadata(lab.path(&path)).unwrap().blocks();
        assert!(blocks * 512 < 1 << 20, "{name} takes {} bytes of disk", blocks * 512);
    }
}

#[test]
fn what_a_patch_cannot_carry_is_named() {
    type Make = fn(&Path);
    let kinds: [(&str, &str, Make); 3] = [
        ("socket", "socket", |path| drop(UnixListener::bind(path).unwrap())),
        ("fifo", "named pipe", |path| drop(common::tool(&format!("mkfifo {}", path.display())))),
        ("null", "character device", |path| drop(common::tool(&format!("mknod {} c 1 3", path.display())))),
    ];
    for (name, what, make) in kinds {
        let lab = pair(|old| tree::small(old, 1), |new| tree::small(new, 2));
        let path = lab.path("new/bin").join(name);
        make(&path);
        if fs::symlink_metadata(&path).is_err() {
            eprintln!("skipped: no {what} can be made here");
            continue;
        }
        let words = &[path.to_str().unwrap(), what, "remove it from the tree"];
        for verb in ["diff old new", "diff new old"] {
            lab.run(&format!("{verb} -o p --key maker.key --component lib")).ends_with(3).complains(words);
        }
        lab.run("init lib new --version 1").ends_with(3).complains(words);
        assert!(!lab.path("p").exists());
        lab.run("status").complains(&[]).ends_with(0).says(&["the store is empty"]);
    }
}

#[test]
fn a_failure_leaves_no_part_of_a_tree() {
    let lab = Lab::tree_device();
    fs::create_dir(lab.path("made")).unwrap();
    let mut bad = lab.read("a.siding");
    *bad.last_mut().unwrap() ^= 1;
    lab.write("bad.siding", &bad);
    lab.run("apply bad.siding old made/out --trust maker.pub").ends_with(6).complains(&["is damaged"]);
    // The source is a tree of the same contents, but not the same tree.
    tree::set_mode(&lab.path("old/same"), 0o700);
    lab.run("apply a.siding old made/out --trust maker.pub").ends_with(3).complains(&["for another image"]);
    lab.run("apply a.siding new-a/bin/tool made/out --trust maker.pub")
        .ends_with(3)
        .complains(&["for another image"]);
    assert!(lab.names("made").is_empty());
}

#[test]
fn a_tree_that_holds_files_of_mode_0000_is_a_base_for_root_only() {
    let lab = Lab::new();
    tree::small(&lab.path("old"), 1);
    tree::set_mode(&lab.path("old/same"), 0o000);
    if is_root() {
        lab.ok("init lib old --version 1.0");
        let base = lab.path("store/components/lib/base/image");
        assert_eq!(tree::facts(&base), tree::facts(&lab.path("old")));
    } else {
        lab.run("init lib old --version 1.0").complains(&["same"]);
    }
}
