//! References of real libraries, predicted: x86-64 and AArch64, a security update of each.

mod common;

use common::{Memory, testdata};
use object::read::{Object, ObjectSection};
use siding_apply::NoProgress;
use siding_diff::Level;
use siding_image::Image;
use siding_patch::{ChunkKind, ImageRef, Limits, Manifest, Stream, Trust};
use siding_predict::{Kind, Model};

struct Pair {
    old: Image,
    new: Image,
}

impl Pair {
    fn of(folder: &str) -> Self {
        let open =
            |version: &str| Image::open(&testdata().join(folder).join(version).join("libssl.so.3")).unwrap();
        Self { old: open("3.0.20"), new: open("3.0.22") }
    }

    fn bytes(&self) -> [&[u8]; 2] {
        [&self.old, &self.new].map(|image| image.blobs()[0].bytes().unwrap())
    }

    fn patch(&self, level: Level) -> Vec<u8> {
        let delta = siding_diff::make(&self.old, &self.new, level, &|_, _, _| {}).unwrap();
        let image = |version: &str, image: &Image| ImageRef {
            version: version.parse().unwrap(),
            identity: image.identity(),
        };
        let (from, to) = (image("3.0.20", &self.old), image("3.0.22", &self.new));
        let manifest = Manifest::new("openssl".parse().unwrap(), from, to);
        let mut out = Vec::new();
        siding_patch::write(&manifest, &delta.chunks, &[], &mut out).unwrap();
        out
    }

    fn applied(&self, patch: &[u8]) -> Vec<u8> {
        let checked = siding_patch::open(patch, &Trust::anyone(), &Limits::default()).unwrap();
        let mut sink = Memory::default();
        siding_apply::run(checked, &self.old, &mut sink, siding_apply::MEMORY, &mut NoProgress).unwrap();
        sink.0.remove(0)
    }

    /// A plain cover's size: `bsdiff`'s, packed by Zstandard.
    fn plain(&self) -> usize {
        let [old, new] = self.bytes();
        let mut stream = Vec::new();
        bsdiff::diff(old, new, &mut stream).unwrap();
        zstd::bulk::compress(&stream, 19).unwrap().len()
    }
}

/// The model that a patch carries.
fn model(patch: &[u8]) -> Model {
    let mut checked = siding_patch::open(patch, &Trust::anyone(), &Limits::default()).unwrap();
    while let Some(stored) = checked.next_chunk().unwrap() {
        if stored.chunk().kind == ChunkKind::Model {
            let streams = stored
                .decode(|_| -> Result<Vec<u8>, siding_patch::Error> { panic!("a model has no history") })
                .unwrap();
            let [regions, addresses, shifts] = [Stream::Regions, Stream::StepAddresses, Stream::StepShifts]
                .map(|stream| streams.get(stream));
            return Model::decode(regions, addresses, shifts).unwrap();
        }
    }
    panic!("the patch has no model");
}

/// Where the section `name` lies in a file.
fn section(file: &[u8], name: &str) -> (usize, usize) {
    let file = object::File::parse(file).unwrap();
    let (at, len) = file.section_by_name(name).unwrap().file_range().unwrap();
    (at as usize, len as usize)
}

/// How many of the relocations, which all changed, the model predicts to the byte; and how many there are.
fn relocations(pair: &Pair, model: &Model) -> [usize; 3] {
    const ENTRY: usize = 24;
    let [old, new] = pair.bytes();
    let ((from, len), (to, new_len)) = (section(old, ".rela.dyn"), section(new, ".rela.dyn"));
    assert_eq!(len, new_len, "the tables have as many entries");
    let mut predicted = old[from..from + len].to_vec();
    let bytes_of =
        |region: &siding_predict::Region| old.get(region.start as usize..)?.get(..region.len as usize);
    model.predict_copy(from as u64, to as u64, &mut predicted, bytes_of);
    let right =
        |old: &[u8]| old.chunks(ENTRY).zip(new[to..to + len].chunks(ENTRY)).filter(|(a, b)| a == b).count();
    [right(&predicted), right(&old[from..from + len]), len / ENTRY]
}

#[track_caller]
fn check(folder: &str, code: Kind) {
    let pair = Pair::of(folder);
    let plain = pair.plain();
    for level in [Level::Fast, Level::Default] {
        let patch = pair.patch(level);
        assert!(pair.applied(&patch) == pair.bytes()[1], "{level:?}");
        let model = model(&patch);
        for kind in [code, Kind::Rela64, Kind::Symbols64, Kind::EhFrame, Kind::EhFrameHdr, Kind::GnuHash64] {
            assert!(model.regions().iter().any(|region| region.kind == kind), "{level:?}: {}", kind.name());
        }
        let [right, same, all] = relocations(&pair, &model);
        println!(
            "{level:?}: patch {}, plain {plain}; relocations {right} of {all}, {same} unmoved",
            patch.len()
        );
        assert!(right * 100 >= all * 95 && same * 100 < all * 10, "{right} of {all}, {same} before");
        assert!(patch.len() * 10 < plain * 8, "{level:?}: {} of {plain}", patch.len());
    }
}

#[test]
fn x86_64() {
    check("libssl", Kind::X86_64);
}

#[test]
fn aarch64() {
    check("libssl-arm64", Kind::AArch64);
}
