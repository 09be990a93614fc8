//! Stages that are interrupted and gone on with, and a naive applier that believes what it has read back.

use super::*;
use crate::checkpoint;
use crate::disk::Disk;
use siding_image::Checkpoint;

/// What an applier would write of an image: its fresh contents, one after the other.
pub(super) struct Fresh {
    contents: Vec<FileRef>,
    bytes: Vec<Vec<u8>>,
}

impl Fresh {
    pub(super) fn of(image: &Image, source: Option<&Image>) -> Self {
        let lacks = |blob: &&siding_image::Blob| {
            source.is_none_or(|source| source.blob(&blob.content.digest).is_none())
        };
        let blobs: Vec<_> = image.blobs().iter().filter(lacks).collect();
        let bytes = blobs.iter().map(|blob| blob.bytes().unwrap().to_vec()).collect();
        Self { contents: blobs.iter().map(|blob| blob.content).collect(), bytes }
    }

    fn len(&self) -> u64 {
        self.bytes.iter().map(|bytes| bytes.len() as u64).sum()
    }

    fn claim(&self, written: u64) -> Checkpoint {
        let prefix: Vec<u8> = self.bytes.concat().into_iter().take(written as usize).collect();
        Checkpoint { chunks: written / 100, written, digest: Digest::of(&prefix) }
    }

    /// Begins, and says from which byte it goes on.
    pub(super) fn begin(&self, image: &Image, sink: &mut impl Sink) -> io::Result<u64> {
        sink.begin(image.content(), &self.contents)?;
        let mut from = None;
        for claim in sink.checkpoints() {
            let mut prefix = Vec::new();
            for (blob, bytes) in self.bytes.iter().enumerate() {
                let left = claim.written as usize - prefix.len();
                let mut read = vec![0; bytes.len().min(left)];
                if !read.is_empty() {
                    sink.read_at(blob, 0, &mut read)?;
                }
                prefix.extend(read);
            }
            if Digest::of(&prefix) == claim.digest {
                from = Some(claim.written);
                break;
            }
        }
        let (blob, offset) = self.place(from.unwrap_or(0));
        sink.forget_from(blob, offset)?;
        Ok(from.unwrap_or(0))
    }

    /// Writes from byte `from` to byte `to`, with a checkpoint after each `piece` bytes.
    pub(super) fn write(&self, sink: &mut impl Sink, mut from: u64, to: u64, piece: u64) -> io::Result<()> {
        while from < self.len().min(to) {
            let (blob, offset) = self.place(from);
            let rest = &self.bytes[blob][offset as usize..];
            let now = rest.len().min((self.len().min(to) - from).min(piece) as usize);
            sink.write_at(blob, offset, &rest[..now])?;
            from += now as u64;
            sink.checkpoint(&self.claim(from))?;
        }
        Ok(())
    }

    /// The blob and the offset in it of a byte; the end is in a blob that there is not.
    fn place(&self, mut at: u64) -> (usize, u64) {
        for (blob, bytes) in self.bytes.iter().enumerate() {
            match at.checked_sub(bytes.len() as u64) {
                None => return (blob, at),
                Some(left) => at = left,
            }
        }
        (self.bytes.len(), 0)
    }
}

/// One component and what is staged for it.
struct Story {
    yard: Yard,
    component: Component,
    of: &'static str,
}

impl Story {
    /// A file image of a few thousand bytes.
    fn file() -> Self {
        let yard = Yard::new();
        fs::write(yard.at("kernel"), vec![1; 10_000]).unwrap();
        fs::write(yard.at("kernel (a)"), (0..20_000).map(|i| (i / 97) as u8).collect::<Vec<_>>()).unwrap();
        let mut store = Store::create(&yard.root()).unwrap();
        store.init(&name("k"), &version("1"), 1, &yard.at("kernel"), NOW).unwrap();
        Self { yard, component: name("k"), of: "kernel (a)" }
    }

    /// A tree with several fresh contents, copies, links, and a directory that may not be written.
    fn tree() -> Self {
        let yard = Yard::new();
        drop(yard.store());
        let root = yard.at("larger");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir_all(root.join("closed/deep")).unwrap();
        for (path, len) in
            [("bin/a", 7000_usize), ("bin/b", 5000), ("closed/c", 6000), ("closed/deep/d", 3000)]
        {
            fs::write(root.join(path), (0..len).map(|i| (i * len / 1000) as u8).collect::<Vec<_>>()).unwrap();
        }
        fs::write(root.join("empty"), b"").unwrap();
        fs::copy(root.join("bin/b"), root.join("twin of b")).unwrap();
        fs::copy(yard.at("old/LICENCE"), root.join("LICENCE")).unwrap();
        fs::hard_link(root.join("bin/a"), root.join("closed/a")).unwrap();
        std::os::unix::fs::symlink("bin/a", root.join("link")).unwrap();
        Real.set(&root.join("closed/c"), Attribute::Mode(0o444)).unwrap();
        if rustix::process::geteuid().is_root() {
            Real.set(&root.join("closed/c"), Attribute::Owner(12, 34)).unwrap();
        }
        for closed in ["closed/deep", "closed", ""] {
            Real.set(&root.join(closed), Attribute::Mode(0o555)).unwrap();
        }
        Self { yard, component: name("c"), of: "larger" }
    }

    fn both(check: impl Fn(&Self)) {
        [Self::file(), Self::tree()].iter().for_each(check);
    }

    fn image(&self) -> Image {
        self.yard.image(self.of)
    }

    fn fresh(&self) -> Fresh {
        Fresh::of(&self.image(), Some(&self.source()))
    }

    fn source(&self) -> Image {
        Store::view(&self.yard.root()).unwrap().image(&self.component, Slot::Base).unwrap()
    }

    fn target(&self) -> Target {
        self.yard.target(self.of, "1 (a)")
    }

    fn open(&self) -> Store {
        open(&self.yard).unwrap()
    }

    fn held(&self) -> Held {
        let view = Store::view(&self.yard.root()).unwrap();
        view.state().get(&self.component).unwrap().held(Slot::A).clone()
    }

    fn dir(&self) -> PathBuf {
        self.yard.root().join("components").join(self.component.as_str()).join("a")
    }

    /// The file of the first fresh content.
    fn first(&self) -> PathBuf {
        let image = self.dir().join("image");
        if image.is_dir() { image.join("bin/a") } else { image }
    }

    /// Stages up to byte `to`, and ends the process as it were.
    fn interrupt(&self, to: u64) {
        let mut store = self.open();
        let mut staging = store.stage(&self.component, &self.target(), false, NOW).unwrap();
        let fresh = self.fresh();
        let from = fresh.begin(&self.image(), &mut staging).unwrap();
        fresh.write(&mut staging, from, to, 1000).unwrap();
    }

    /// Stages again and seals; says from which byte it went on.
    fn go_on(&self) -> u64 {
        let mut store = self.open();
        let resumed = self.go_on_in(&mut store).unwrap();
        assert_eq!(store.holding(&self.component, &self.image().identity()), Some(Slot::A));
        let sealed = store.image(&self.component, Slot::A).unwrap();
        sealed.check().unwrap();
        if let Some(tree) = self.image().tree() {
            assert_eq!(&scan(sealed.root()).unwrap(), tree);
        }
        assert!(!self.dir().join("checkpoint").exists());
        resumed
    }

    fn go_on_in(&self, store: &mut Store) -> Result<u64> {
        let mut staging = store.stage(&self.component, &self.target(), false, NOW)?;
        let (fresh, io) = (self.fresh(), |e| Error::io("stage", Path::new(self.of), e));
        let from = fresh.begin(&self.image(), &mut staging).map_err(io)?;
        let resumed = staging.resumed();
        assert_eq!(resumed, from);
        fresh.write(&mut staging, from, u64::MAX, 1000).map_err(io)?;
        staging.seal(Some(&self.source())).map(|_| resumed)
    }

    fn told(&self) -> Vec<(What, Option<String>)> {
        let entries = Store::view(&self.yard.root()).unwrap().log().unwrap().entries;
        entries.into_iter().map(|entry| (entry.what, entry.reason)).collect()
    }
}

#[test]
fn a_stage_that_was_interrupted_goes_on_where_it_was() {
    Story::both(|story| {
        story.interrupt(9000);
        let record = fs::read(story.yard.root().join("record")).unwrap();
        assert_eq!(story.held(), Held::Staging);
        drop(story.open());
        assert_eq!(story.held(), Held::Staging, "opening the store leaves it");
        assert!(fs::read(story.yard.root().join("record")).unwrap() == record);
        assert_eq!(story.go_on(), 9000);
        let reason = Some("going on: 9000 bytes were there".to_owned());
        let told = story.told();
        assert_eq!(told[1..], [(What::Stage, None), (What::Stage, reason), (What::Seal, None)], "{told:?}");
    });
}

#[test]
fn a_stage_that_was_interrupted_after_each_of_its_bytes_goes_on_in_the_end() {
    Story::both(|story| {
        for to in (1000..story.fresh().len()).step_by(1700) {
            story.interrupt(to);
        }
        assert!(story.go_on() > story.fresh().len() - 1700 - 1);
    });
}

#[test]
fn a_stage_of_which_all_is_there_goes_on_from_its_end() {
    Story::both(|story| {
        story.interrupt(u64::MAX);
        assert_eq!(story.go_on(), story.fresh().len());
    });
}

#[test]
fn a_stage_that_is_staged_again_in_the_same_store_goes_on() {
    Story::both(|story| {
        let mut store = story.open();
        let mut staging = store.stage(&story.component, &story.target(), false, NOW).unwrap();
        let fresh = story.fresh();
        fresh.begin(&story.image(), &mut staging).unwrap();
        fresh.write(&mut staging, 0, 4000, 1000).unwrap();
        drop(staging);
        assert_eq!(story.go_on_in(&mut store).unwrap(), 4000);
    });
}

#[test]
fn another_patch_another_target_and_no_patch_begin_anew() {
    Story::both(|story| {
        let other = Target { patch: Some(Digest::of(b"another")), ..story.target() };
        let none = Target { patch: None, ..story.target() };
        for target in [other, none, story.yard.target("newer", "1 (b)")] {
            story.interrupt(9000);
            let mut store = story.open();
            let before = store.record.sequence();
            let staging = store.stage(&story.component, &target, false, NOW).unwrap();
            assert_eq!(staging.slot(), Slot::A, "what was there is given up first");
            drop(staging);
            assert!(store.record.sequence() > before && !story.dir().join("image").exists());
            assert!(!story.dir().join("checkpoint").exists());
        }
        story.interrupt(9000);
        story.open().vacuum(NOW).unwrap();
        assert!(story.held() == Held::Empty && !story.dir().exists());
        assert_eq!(story.go_on(), 0);
    });
}

#[test]
fn a_checkpoint_that_is_torn_garbage_or_gone_is_none() {
    Story::both(|story| {
        let path = story.dir().join("checkpoint");
        for garbage in [&b""[..], b"SIDINGCP", &[0; 5000], &[0xff; 9000]] {
            story.interrupt(9000);
            fs::write(&path, garbage).unwrap();
            drop(story.open());
            assert!(story.held() == Held::Empty && !story.dir().exists());
        }
        story.interrupt(9000);
        let mut torn = fs::read(&path).unwrap();
        torn[100..].fill(0);
        fs::write(&path, torn).unwrap();
        assert_eq!(story.go_on(), 0);
    });
}

/// The naive applier's belief is its own; what it writes over a wrong beginning must not be sealed.
#[test]
fn a_changed_beginning_that_is_believed_is_not_sealed_and_the_next_stage_begins_anew() {
    Story::both(|story| {
        story.interrupt(9000);
        let mut store = story.open();
        let mut staging = store.stage(&story.component, &story.target(), false, NOW).unwrap();
        let fresh = story.fresh();
        staging.begin(story.image().content(), &fresh.contents).unwrap();
        assert_eq!(staging.checkpoints(), [fresh.claim(9000)]);
        let (blob, offset) = fresh.place(9000);
        staging.forget_from(blob, offset).unwrap();
        staging.write_at(0, 10, b"tampered").unwrap();
        fresh.write(&mut staging, 9000, u64::MAX, 1000).unwrap();
        assert_eq!(staging.seal(Some(&story.source())).unwrap_err().kind(), Kind::Corrupt);
        assert!(!story.dir().join("checkpoint").exists());
        drop(store);
        assert_eq!(story.go_on(), 0);
    });
}

/// What a power cut may leave: both entries, and not all that the latest one speaks of.
#[test]
fn a_latest_entry_whose_bytes_were_lost_leaves_the_durable_one() {
    Story::both(|story| {
        let path = story.dir().join("checkpoint");
        story.interrupt(3000);
        let durable = fs::read(&path).unwrap();
        story.interrupt(9000);
        let note = fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&note, &durable, 4096).unwrap();
        let image = story.dir().join("image");
        let file = fs::OpenOptions::new().write(true).open(story.first()).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0; 2000], 5000).unwrap();
        drop(file);
        if image.is_dir() {
            // A name whose length was not on the medium yet.
            fs::write(image.join("bin/b"), b"").unwrap();
        }
        assert_eq!(story.go_on(), 3000);
    });
}

#[test]
fn a_changed_beginning_is_seen_when_it_is_read_back() {
    Story::both(|story| {
        story.interrupt(9000);
        let file = fs::OpenOptions::new().write(true).open(story.first()).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"tampered", 10).unwrap();
        drop(file);
        assert_eq!(story.go_on(), 0);
    });
}

#[test]
fn a_stage_that_is_given_up_begins_anew() {
    Story::both(|story| {
        story.interrupt(9000);
        let mut store = story.open();
        store.stage(&story.component, &story.target(), false, NOW).unwrap().give_up().unwrap();
        drop(store);
        assert_eq!(story.go_on(), 0);
    });
}

/// A process killed while it finishes the image leaves links, copies, owners, modes and times. It is simulated
/// by everything there is to the finished image, with the checkpoint put back.
#[test]
fn a_stage_that_was_killed_while_it_finished_goes_on() {
    Story::both(|story| {
        story.interrupt(u64::MAX);
        let checkpoint = fs::read(story.dir().join("checkpoint")).unwrap();
        let mut store = story.open();
        let mut staging = store.stage(&story.component, &story.target(), false, NOW).unwrap();
        let fresh = story.fresh();
        fresh.begin(&story.image(), &mut staging).unwrap();
        staging.builder.finish_in_place(Some(&story.source())).unwrap();
        // Even the slot was frozen, and only the record does not say that it is sealed.
        let content = Some(story.image().content().clone());
        crate::staging::freeze(
            store.disk.as_ref(),
            &store.snapshot.layout,
            (&story.component, Home::A),
            &store.image_path(&story.component, Slot::A),
            content.as_ref(),
        )
        .unwrap();
        drop(store);
        Real.set(&story.dir(), Attribute::Mode(0o755)).unwrap();
        fs::write(story.dir().join("checkpoint"), checkpoint).unwrap();
        Real.set(&story.dir(), Attribute::Mode(0o555)).unwrap();
        // What the kernel lets nobody write any more is written anew.
        let enforced = Real.protected(&story.first()).unwrap().is_some();
        assert_eq!(story.go_on(), if enforced { 0 } else { fresh.len() });
    });
}

#[test]
fn odd_leftovers_are_cleared() {
    let in_image = |story: &Story, path: &str| story.dir().join("image").join(path);
    type Oddity<'a> = (&'a dyn Fn(&Story), u64);
    let oddities: [Oddity<'_>; 6] = [
        // A directory is missing, or is none.
        (&|story| fs::remove_dir(in_image(story, "closed/deep")).unwrap(), 0),
        (&|story| std::os::unix::fs::symlink("/etc", in_image(story, "x")).unwrap(), 9000),
        (&|story| fs::write(in_image(story, "bin/b"), b"short").unwrap(), 0),
        (&|story| fs::remove_file(in_image(story, "bin/a")).unwrap(), 0),
        (
            &|story| {
                fs::remove_file(in_image(story, "bin/a")).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", in_image(story, "bin/a")).unwrap();
            },
            0,
        ),
        (&|story| Real.remove_tree(&story.dir().join("image")).unwrap(), 0),
    ];
    for (number, (make_odd, from)) in oddities.into_iter().enumerate() {
        let story = Story::tree();
        story.interrupt(9000);
        make_odd(&story);
        assert_eq!(story.go_on(), from, "oddity {number}");
    }
    let story = Story::file();
    story.interrupt(9000);
    fs::write(story.dir().join("image"), b"short").unwrap();
    assert_eq!(story.go_on(), 0);
}

#[test]
fn a_lost_directory_of_the_slot_is_made_anew() {
    Story::both(|story| {
        story.interrupt(9000);
        let mut store = story.open();
        Real.remove_tree(&story.dir()).unwrap();
        assert_eq!(story.go_on_in(&mut store).unwrap(), 0);
    });
}

#[test]
fn what_was_written_beyond_the_checkpoint_is_forgotten() {
    Story::both(|story| {
        let fresh = story.fresh();
        let mut store = story.open();
        let mut staging = store.stage(&story.component, &story.target(), false, NOW).unwrap();
        fresh.begin(&story.image(), &mut staging).unwrap();
        fresh.write(&mut staging, 0, 2000, 1000).unwrap();
        // As a process that is killed between a write and its checkpoint: bytes that are not zeros.
        for (blob, bytes) in fresh.bytes.iter().enumerate() {
            let from = if blob == 0 { 2000 } else { 0 };
            staging.write_at(blob, from, &vec![0xee; bytes.len() - from as usize]).unwrap();
        }
        drop(staging);
        let mut staging = store.stage(&story.component, &story.target(), false, NOW).unwrap();
        assert_eq!(fresh.begin(&story.image(), &mut staging).unwrap(), 2000);
        let mut rest = vec![1; 1000];
        staging.read_at(0, 2000, &mut rest).unwrap();
        assert_eq!(rest, [0; 1000]);
        drop(staging);
        drop(store);
        assert_eq!(story.go_on(), 2000);
    });
}

#[test]
fn a_full_disk_at_a_checkpoint_does_not_end_the_stage_and_an_interrupted_stage_is_not_in_the_way_of_others() {
    let story = Story::tree();
    let full = Arc::new(AtomicBool::new(false));
    let disk = Failing::new(Rule::Full(full.clone()));
    let mut store = Store::open_on(Arc::new(disk), &story.yard.root()).unwrap();
    fs::write(story.yard.at("other"), b"other").unwrap();
    store.init(&name("other"), &version("1"), 1, &story.yard.at("other"), NOW).unwrap();
    let mut staging = store.stage(&story.component, &story.target(), false, NOW).unwrap();
    let fresh = story.fresh();
    fresh.begin(&story.image(), &mut staging).unwrap();
    full.store(true, Ordering::Relaxed);
    staging.checkpoint(&fresh.claim(0)).unwrap();
    full.store(false, Ordering::Relaxed);
    fresh.write(&mut staging, 0, 3000, 1000).unwrap();
    drop(staging);
    assert_eq!(store.boot(NOW).unwrap(), vec![]);
    story.yard.stage(&mut store, "other", "new", "1 (a)").unwrap();
    store.switch(&[name("other")], None, NOW).unwrap();
    drop(store);
    assert_eq!(story.held(), Held::Staging);
    assert_eq!(story.go_on(), 3000);
}

#[test]
fn a_denied_image_is_not_gone_on_with_unless_it_is_retried() {
    let story = Story::file();
    story.interrupt(9000);
    let mut store = story.open();
    let digest = story.image().identity().digest;
    let denied = crate::Denied { digest, version: version("1 (a)"), reason: "it was bad".into(), at: NOW };
    let held = store.snapshot.state.components.get_mut(&story.component).unwrap();
    held.denied.push(denied);
    assert_eq!(story.go_on_in(&mut store).unwrap_err().kind(), Kind::Denied);
    let mut staging = store.stage(&story.component, &story.target(), true, NOW).unwrap();
    assert_eq!(story.fresh().begin(&story.image(), &mut staging).unwrap(), 9000);
    drop(staging);
    assert_eq!(store.state().get(&story.component).unwrap().denied, vec![]);
}

#[test]
fn a_durable_checkpoint_comes_after_its_bytes_and_names() {
    let yard = Yard::new();
    let len = checkpoint::BETWEEN + 5000;
    fs::write(yard.at("old file"), b"old").unwrap();
    let file = fs::File::create(yard.at("file")).unwrap();
    file.set_len(len).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", len - 3).unwrap();
    let disk = Failing::new(Rule::Once(u64::MAX, io::ErrorKind::Other));
    let flushed = disk.flushed.clone();
    let mut store = Store::create_on(Arc::new(disk), &yard.root()).unwrap();
    store.init(&name("f"), &version("1"), 1, &yard.at("old file"), NOW).unwrap();
    let (image, claim) =
        (yard.image("file"), |written| Checkpoint { chunks: 1, written, digest: Digest::of(b"any") });
    let content = image.blobs()[0].content;
    let mut staging = store.stage(&name("f"), &yard.target("file", "1 (a)"), false, NOW).unwrap();
    staging.begin(image.content(), &[content]).unwrap();
    flushed.lock().unwrap().clear();
    staging.checkpoint(&claim(checkpoint::BETWEEN - 1)).unwrap();
    assert_eq!(*flushed.lock().unwrap(), Vec::<PathBuf>::new());
    staging.checkpoint(&claim(checkpoint::BETWEEN)).unwrap();
    staging.checkpoint(&claim(checkpoint::BETWEEN + 5000)).unwrap();
    let (path, slot) = (yard.root().join("components/f/a/image"), yard.root().join("components/f/a"));
    let note = slot.join("checkpoint");
    let component = yard.root().join("components/f");
    assert_eq!(*flushed.lock().unwrap(), [path, note.clone(), slot, component]);
    let entries: Vec<u64> = checkpoint::read(&Real, &note).iter().map(|(_, claim)| claim.written).collect();
    assert_eq!(entries, [checkpoint::BETWEEN + 5000, checkpoint::BETWEEN]);
    drop(staging);
    let mut staging = store.stage(&name("f"), &yard.target("file", "1 (a)"), false, NOW).unwrap();
    staging.begin(image.content(), &[content]).unwrap();
    let claims: Vec<u64> = staging.checkpoints().iter().map(|claim| claim.written).collect();
    assert_eq!(claims, entries, "the furthest first");
}

#[test]
fn a_damaged_image_is_emptied_and_is_no_way_back() {
    let (yard, c) = (Yard::new(), name("c"));
    let mut store = yard.store();
    assert_eq!(store.condemn(&c, Slot::Base, "no", NOW).unwrap_err().kind(), Kind::Refused);
    assert_eq!(store.condemn(&c, Slot::A, "no", NOW).unwrap_err().kind(), Kind::Refused);
    yard.stage(&mut store, "c", "new", "1 (a)").unwrap();
    store.switch(std::slice::from_ref(&c), None, NOW).unwrap();
    yard.stage(&mut store, "c", "newer", "1 (b)").unwrap();
    store.switch(std::slice::from_ref(&c), None, NOW).unwrap();
    assert_eq!(store.condemn(&c, Slot::B, "no", NOW).unwrap_err().kind(), Kind::Refused, "active");
    let told = store.condemn(&c, Slot::A, "its image is damaged: it is", NOW).unwrap();
    assert_eq!((told[0].what, told[0].slot), (What::Vacuum, Some(Slot::A)));
    assert_eq!(told[0].reason.as_deref(), Some("its image is damaged: it is"));
    assert_eq!(store.state().get(&c).unwrap().way_back(), Some(Slot::Base));
    assert!(!yard.root().join("components/c/a").exists());
    drop(store);
    check_store(&yard, "after a damaged slot");
}

#[test]
fn a_stage_that_cannot_fit_is_refused_before_anything_is_written() {
    let story = Story::tree();
    let target = Target { source: Some(story.source().identity()), ..story.target() };
    let fresh = story.fresh();
    let needed = crate::space::needed(story.image().content(), &fresh.contents, false);
    for (free, fits) in [(0, false), (needed / 2, false), (needed, true)] {
        let mut store =
            Store::open_on(Arc::new(Failing::new(Rule::Small(free))), &story.yard.root()).unwrap();
        let mut staging = store.stage(&story.component, &target, false, NOW).unwrap();
        let begun = fresh.begin(&story.image(), &mut staging);
        assert_eq!(begun.is_ok(), fits, "{free} of {needed} free: {begun:?}");
        drop(staging);
        assert_eq!(story.dir().join("image").exists(), fits);
        let Err(error) = begun else { continue };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let text = error.to_string();
        assert!(text.contains(&format!("needs {needed} bytes")), "{text}");
        assert!(text.contains(&format!("{free} are free")) && text.contains("siding vacuum"), "{text}");
        assert_eq!(Error::io("begin", Path::new(""), error).kind(), Kind::NoSpace);
        assert!(store.poison.is_none());
    }
    // What is there already needs no room again.
    story.interrupt(15_000);
    let disk = Failing::new(Rule::Small(needed - 3 * 4096));
    let mut store = Store::open_on(Arc::new(disk), &story.yard.root()).unwrap();
    let mut staging = store.stage(&story.component, &target, false, NOW).unwrap();
    assert_eq!(fresh.begin(&story.image(), &mut staging).unwrap(), 15_000);
}

#[test]
fn a_plan_can_ask_for_the_space_without_writing() {
    let story = Story::tree();
    let view = Store::view(&story.yard.root()).unwrap();
    let space = view.space(&story.component, story.image().content(), &story.fresh().contents).unwrap();
    assert!(space.needed >= story.fresh().len() && space.fits());
    assert_eq!(space.at, story.dir().parent().unwrap());
    let (source, target) = (story.yard.image("old"), story.image().identity());
    let plan = |fresh| view.space_for(&story.component, Slot::A, (fresh, &target), &source);
    let space = plan(1000).unwrap();
    assert!(space.needed >= 1000 && space.fits(), "{space:?}");
    assert!(matches!(plan(u64::MAX - 1), Err(Error::NoSpace { .. })));
}
