//! A device with real files, libssl and a small tree, and a repository in a folder.
#![allow(dead_code, reason = "not every test needs all of it")]

use siding_agent::background::{Agent, Look, Passed};
use siding_agent::memory::{Told, history};
use siding_agent::policy::Policy;
use siding_agent::restart::Host;
use siding_agent::source::{Folder, Source};
use siding_agent::{Shared, boot};
use siding_image::{Component, Image};
use siding_patch::{ImageRef, Manifest, PrivateKey, Severity, Trust};
use siding_repo::{Blob, FORMAT, ImageSpec, Item, Release, Standing};
use siding_slot::Store;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const NOW: u64 = 1_772_355_900;

pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

pub(crate) fn key() -> PrivateKey {
    PrivateKey::from_seed(&[7; 32])
}

pub(crate) fn component(name: &str) -> Component {
    name.parse().unwrap()
}

/// A device and its repository.
pub(crate) struct Lab {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: AtomicU64,
    /// Components of which this start of the device runs another slot.
    pub(crate) not_started: Vec<Component>,
}

impl Lab {
    /// `libssl` 3.0.20, and `conf` 1.0, a tree.
    pub(crate) fn new() -> Self {
        let lab = Self { dir: tempfile::tempdir().unwrap(), clock: AtomicU64::new(NOW), not_started: vec![] };
        for (name, text) in [("conf-old", "one"), ("conf-new", "two")] {
            fs::create_dir(lab.path(name)).unwrap();
            fs::write(lab.path(name).join("app.conf"), text.repeat(2000)).unwrap();
            fs::write(lab.path(name).join("LICENCE"), "the same in both").unwrap();
        }
        fs::create_dir_all(lab.path("repo/releases")).unwrap();
        fs::create_dir_all(lab.path("repo/blobs")).unwrap();
        let mut store = Store::create(&lab.path("store")).unwrap();
        store.init(&component("libssl"), &"3.0.20".parse().unwrap(), 0, &libssl("3.0.20"), NOW).unwrap();
        store.init(&component("conf"), &"1.0".parse().unwrap(), 0, &lab.path("conf-old"), NOW).unwrap();
        lab
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn etc(&self, text: &str) {
        fs::create_dir_all(self.path("etc")).unwrap();
        fs::write(self.path("etc/agent.toml"), text).unwrap();
    }

    pub(crate) fn program(&self, name: &str, script: &str) {
        let path = self.path("store").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A patch from `old` to `new`, as a blob.
    pub(crate) fn blob(
        &self,
        name: &str,
        (from, old): (&str, &Image),
        (to, new): (&str, &Image),
        item: (&str, &[&str]),
    ) -> Blob {
        let delta = siding_diff::make(old, new, siding_diff::Level::Fast, &|_, _, _| {}).unwrap();
        let named = |version: &str, image: &Image| ImageRef {
            version: version.parse().unwrap(),
            identity: image.identity(),
        };
        let manifest = Manifest::new(component(item.0), named(from, old), named(to, new));
        let restart = item.1.iter().map(|&word| word.to_owned()).collect();
        let mut bytes = Vec::new();
        siding_patch::write(&Manifest { restart, ..manifest }, &delta.chunks, &[key()], &mut bytes).unwrap();
        let name = format!("blobs/{name}.siding");
        fs::write(self.path("repo").join(&name), &bytes).unwrap();
        Blob { name, length: bytes.len() as u64, sha256: siding_image::Digest::of(&bytes) }
    }

    pub(crate) fn item(&self, name: &str, from: (&str, &Path), to: (&str, &Path), restart: &[&str]) -> Item {
        let (old, new) = (Image::open(from.1).unwrap(), Image::open(to.1).unwrap());
        let blob = self.blob(
            &format!("{name}-{}", to.0.replace([' ', '(', ')'], "")),
            (from.0, &old),
            (to.0, &new),
            (name, restart),
        );
        Item {
            component: component(name),
            products: vec![],
            source: ImageSpec::new(from.0.parse().unwrap(), old.identity()),
            target: ImageSpec::new(to.0.parse().unwrap(), new.identity()),
            epoch: 0,
            restart: restart.iter().map(|&word| word.to_owned()).collect(),
            patch: Some(blob),
            full: None,
            reverse: None,
        }
    }

    pub(crate) fn libssl(&self) -> Item {
        self.item("libssl", ("3.0.20", &libssl("3.0.20")), ("3.0.20 (a)", &libssl("3.0.22")), &[])
    }

    pub(crate) fn conf(&self, restart: &[&str]) -> Item {
        self.item("conf", ("1.0", &self.path("conf-old")), ("1.0 (a)", &self.path("conf-new")), restart)
    }

    pub(crate) fn publish(&self, release: &Release) {
        fs::write(self.path("repo").join(release.target_name()), release.to_json()).unwrap();
    }

    pub(crate) fn store(&self) -> siding_slot::Snapshot {
        Store::view(&self.path("store")).unwrap()
    }

    pub(crate) fn active(&self, name: &str) -> (String, bool) {
        let store = self.store();
        let held = store.state().get(&component(name)).unwrap();
        (held.active_image().unwrap().version.to_string(), held.trial.is_some())
    }

    pub(crate) fn pass(&self) -> Passed {
        self.pass_from(&Folder::new(&self.path("repo")), Look::Now)
    }

    pub(crate) fn pass_from(&self, source: &dyn Source, look: Look) -> Passed {
        self.pass_as(source, look, &boot())
    }

    pub(crate) fn pass_as(&self, source: &dyn Source, look: Look, boot: &str) -> Passed {
        let store = self.path("store");
        let policy = Policy::load(&self.path("etc"), &store).unwrap();
        let host = Host { proc: "/proc".into(), systemctl: None };
        let agent = Agent {
            store: &store,
            policy: &policy,
            source,
            trust: Some(&Trust::new(vec![key().public()], 1).unwrap()),
            host: &host,
            clock: &|| self.clock.load(Ordering::Relaxed),
            offset: 0,
            boot: boot.to_owned(),
            not_started: self.not_started.clone(),
            follow: &|_| {},
            shared: &Shared::default(),
        };
        agent.pass(look).unwrap().expect("no other agent is at it")
    }

    pub(crate) fn codes(&self) -> Vec<String> {
        let code =
            |told: Told| Some(format!("{} {}", told.what, told.code.unwrap_or_default()).trim().to_owned());
        history(&self.path("store")).unwrap().into_iter().filter_map(code).collect()
    }

    pub(crate) fn later(&self, seconds: u64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }
}

pub(crate) fn libssl(version: &str) -> PathBuf {
    testdata().join("libssl").join(version).join("libssl.so.3")
}

pub(crate) fn release(id: &str, items: Vec<Item>) -> Release {
    Release {
        format: FORMAT,
        id: id.to_owned(),
        title: format!("Release {id}"),
        text: String::new(),
        severity: Severity::High,
        advisories: vec!["CVE-2026-0001".to_owned()],
        channel: "stable".to_owned(),
        published: NOW - 10,
        standing: Standing::Active,
        waves: vec![],
        items,
    }
}
