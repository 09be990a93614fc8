//! Installs that meet a damaged slot, or a patch that stops coming.

use siding_agent::{Error, Installed, Outcome, Request, install, plan};
use siding_apply::NoProgress;
use siding_image::{Component, Image};
use siding_patch::{
    Encoded, History, ImageRef, Instruction, Limits, Manifest, Packing, PrivateKey, Trust, encode_delta,
};
use siding_slot::{Held, Slot, Store, What};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

const NOW: u64 = 1_772_355_900;

/// A store with a base, and a patch for it.
struct Bench {
    dir: tempfile::TempDir,
    patch: Vec<u8>,
}

impl Bench {
    fn file() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let old: Vec<u8> = (0..200_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        let new: Vec<u8> = old.iter().enumerate().map(|(i, b)| if i % 1000 == 0 { !b } else { *b }).collect();
        fs::write(dir.path().join("old"), old).unwrap();
        fs::write(dir.path().join("new"), new).unwrap();
        Self::with(dir)
    }

    fn tree() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("old", "one"), ("new", "two")] {
            let root = dir.path().join(name);
            fs::create_dir(&root).unwrap();
            fs::write(root.join("lib.so"), text.repeat(3000)).unwrap();
            fs::write(root.join("LICENCE"), "the same in both").unwrap();
        }
        Self::with(dir)
    }

    fn with(dir: tempfile::TempDir) -> Self {
        let (old, new) = (image(dir.path(), "old"), image(dir.path(), "new"));
        let delta = siding_diff::make(&old, &new, siding_diff::Level::Fast, &|_, _, _| {}).unwrap();
        Self::of(dir, &delta.chunks)
    }

    /// Of two chunks, the second of which has a coder that looks back at 4 MiB of the source.
    fn leaning() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut seed = 1u64;
        let mut noise = |len: usize| -> Vec<u8> {
            let byte = |_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed.to_be_bytes()[0]
            };
            (0..len).map(byte).collect()
        };
        let (old, new) = (noise(4 << 20), noise(128 << 10));
        let (first, _) = new.split_at(64 << 10);
        let second = &old[1 << 20..][..64 << 10];
        fs::write(dir.path().join("old"), &old).unwrap();
        fs::write(dir.path().join("new"), [first, second].concat()).unwrap();
        let whole = History { source_offset: 0, source_len: old.len() as u64, target_len: 0 };
        let chunk = |literals, start, history| {
            let list = [Instruction { literals, from: 0, source: &[], target: &[] }];
            encode_delta(&list, start, Packing::zstd(19), history).unwrap()
        };
        let chunks = [chunk(first, 0, None), chunk(second, 64 << 10, Some((whole, &old[..])))];
        Self::of(dir, &chunks)
    }

    fn of(dir: tempfile::TempDir, chunks: &[Encoded]) -> Self {
        let (old, new) = (image(dir.path(), "old"), image(dir.path(), "new"));
        let named = |version: &str, image: &Image| ImageRef {
            version: version.parse().unwrap(),
            identity: image.identity(),
        };
        let manifest = Manifest::new(component(), named("1", &old), named("1 (a)", &new));
        let mut patch = Vec::new();
        siding_patch::write(&Manifest { epoch: 1, ..manifest }, chunks, &[key()], &mut patch).unwrap();
        let mut store = Store::create(&dir.path().join("store")).unwrap();
        store.init(&component(), &"1".parse().unwrap(), 1, &dir.path().join("old"), NOW).unwrap();
        Self { dir, patch }
    }

    fn store(&self) -> Store {
        Store::open(&self.dir.path().join("store")).unwrap()
    }

    fn install(&self, reader: impl Read + Send) -> Result<Installed, Error> {
        self.install_as(reader, &Request::at(NOW))
    }

    fn install_as(&self, reader: impl Read + Send, request: &Request) -> Result<Installed, Error> {
        let trust = Trust::new(vec![key().public()], 1).unwrap();
        install(&mut self.store(), reader, &trust, &Limits::default(), request, &mut NoProgress)
    }

    /// Flips a byte in the middle of a slot's image.
    fn damage(&self, slot: Slot) {
        let path = self.content(slot);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 5000).unwrap();
        file.write_all_at(&[!byte[0]], 5000).unwrap();
    }

    fn content(&self, slot: Slot) -> PathBuf {
        let image = self.store().image_path(&component(), slot);
        if image.is_dir() { image.join("lib.so") } else { image }
    }

    fn check_installed(&self, slot: Slot) {
        let store = self.store();
        let image = store.image(&component(), slot).unwrap();
        image.check().unwrap();
        assert_eq!(image.identity(), image_identity(self.dir.path()));
    }
}

fn image(dir: &Path, name: &str) -> Image {
    Image::open(&dir.join(name)).unwrap()
}

fn image_identity(dir: &Path) -> siding_image::Identity {
    image(dir, "new").identity()
}

fn component() -> Component {
    "lib".parse().unwrap()
}

fn key() -> PrivateKey {
    PrivateKey::from_seed(&[7; 32])
}

#[test]
fn a_damaged_copy_of_the_target_is_written_anew_from_the_source() {
    for bench in [Bench::file(), Bench::tree()] {
        assert_eq!(bench.install(&bench.patch[..]).unwrap().outcome, Outcome::Applied);
        assert_eq!(bench.install(&bench.patch[..]).unwrap().outcome, Outcome::WasThere);
        bench.damage(Slot::A);
        let installed = bench.install(&bench.patch[..]).unwrap();
        assert_eq!((installed.outcome, installed.slot), (Outcome::Applied, Slot::A));
        bench.check_installed(Slot::A);
        let log = bench.store().log().unwrap().entries;
        let reason = |entry: &&siding_slot::LogEntry| {
            entry.slot == Some(Slot::A)
                && entry.reason.as_ref().is_some_and(|reason| reason.contains("damaged"))
        };
        assert_eq!(log.iter().find(reason).map(|entry| entry.what), Some(What::Vacuum), "{log:?}");
        assert_eq!(bench.install(&bench.patch[..]).unwrap().outcome, Outcome::WasThere);
    }
}

#[test]
fn a_copy_of_the_target_that_cannot_be_read_is_written_anew_from_the_source() {
    let bench = Bench::tree();
    bench.install(&bench.patch[..]).unwrap();
    // The description, and another time the image itself, is gone.
    for lost in ["tree", "image/lib.so"] {
        let slot = bench.content(Slot::A).ancestors().nth(2).unwrap().to_owned();
        fs::set_permissions(&slot, fs::Permissions::from_mode(0o755)).unwrap();
        fs::remove_file(slot.join(lost)).unwrap();
        assert_eq!(bench.install(&bench.patch[..]).unwrap().outcome, Outcome::Applied, "{lost}");
        bench.check_installed(Slot::A);
    }
}

#[test]
fn a_damaged_source_is_the_only_one_that_is_called_the_source() {
    let bench = Bench::file();
    bench.install(&bench.patch[..]).unwrap();
    bench.damage(Slot::A);
    bench.damage(Slot::Base);
    let error = bench.install(&bench.patch[..]).unwrap_err();
    assert!(matches!(error, Error::Source(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("components/lib/base/image") && !text.contains("lib/a/"), "{text}");
    // And the damaged copy is not called an image any more.
    assert_eq!(*bench.store().state().get(&component()).unwrap().held(Slot::A), Held::Empty);
}

/// A patch that stops coming.
struct Stops<'a>(&'a [u8]);

impl Read for Stops<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.0.read(out)
    }
}

#[test]
fn a_patch_that_stops_coming_is_installed_when_it_comes_again() {
    for bench in [Bench::file(), Bench::tree()] {
        for cut in [bench.patch.len() - 1, bench.patch.len() / 2] {
            assert!(bench.install(Stops(&bench.patch[..cut])).is_err());
        }
        let installed = bench.install(&bench.patch[..]).unwrap();
        assert_eq!((installed.outcome, installed.slot), (Outcome::Applied, Slot::A));
        bench.check_installed(Slot::A);
    }
}

#[test]
fn what_was_written_before_memory_ran_out_is_gone_on_with() {
    let bench = Bench::leaning();
    let little = Request { memory: 8 << 20, ..Request::at(NOW) };
    let refused = bench.install_as(&bench.patch[..], &little).unwrap_err();
    assert!(matches!(refused, Error::Apply(siding_apply::Error::Memory { chunk: Some(1), .. })), "{refused}");
    assert!(refused.to_string().contains("chunk 1 takes"), "{refused}");
    let installed = bench.install(&bench.patch[..]).unwrap();
    assert_eq!((installed.outcome, installed.resumed), (Outcome::Applied, 64 << 10));
    bench.check_installed(Slot::A);
}

#[test]
fn a_plan_of_what_cannot_fit_is_refused_as_staging_would() {
    let bench = Bench::tree();
    let checked = siding_patch::open(&bench.patch[..], &Trust::anyone(), &Limits::default()).unwrap();
    let mut manifest = checked.manifest().clone();
    let store = Store::view(&bench.dir.path().join("store")).unwrap();
    let space = plan(&store, &manifest, &Request::at(NOW)).unwrap().space.unwrap();
    assert!(space.fits() && space.needed >= 9000, "{space:?}");
    manifest.chunks.last_mut().unwrap().target = 1 << 60;
    let refused = plan(&store, &manifest, &Request::at(NOW)).unwrap_err();
    assert!(matches!(refused, Error::Slot(siding_slot::Error::NoSpace { .. })), "{refused}");
}
