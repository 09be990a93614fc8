//! What holds for any bytes, maps and windows.

use proptest::collection::vec;
use proptest::prelude::*;
use siding_predict::{Kind, Model, PAGE, Place, Reference, Region, SPACE, Segment, ShiftMap, Span};
use std::ops::Range;

/// Regions in a row, the bytes of all of them, and a model with room to move them.
#[derive(Clone, Debug)]
struct Case {
    source: Vec<u8>,
    model: Model,
}

impl Case {
    fn bytes(&self, region: &Region) -> Option<&[u8]> {
        self.source.get(region.start as usize..)?.get(..region.len as usize)
    }

    fn place<'a>(&'a self, region: &Region) -> Place<'a> {
        Place {
            bytes: self.bytes(region).unwrap(),
            address: region.address,
            link: region.link,
            spans: self.model.spans_of(region.address),
        }
    }

    /// The source's bytes `range` as they read once copied to `to`.
    fn predicted(&self, range: Range<usize>, to: u64) -> Vec<u8> {
        let mut out = self.source[range.clone()].to_vec();
        self.model.predict_copy(range.start as u64, to, &mut out, |region| self.bytes(region));
        out
    }
}

fn near() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0x1000..0x4000u32, 1 => any::<u32>()]
}

fn offset() -> impl Strategy<Value = u32> {
    prop_oneof![6 => (-0x2000..0x2000i32).prop_map(i32::cast_unsigned), 1 => any::<u32>()]
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 1..20), (0..50usize).prop_map(|len| vec![0; len])]
}

fn x86() -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(X86), offset()).prop_map(|(op, by)| [op, &by.to_le_bytes()].concat())
}

fn arm() -> impl Strategy<Value = Vec<u8>> {
    let one =
        (prop::sample::select(ARM), any::<u32>()).prop_map(|((op, free), bits)| bytes(&[op | bits & free]));
    let pair = (0..4u32, 0..32u32, 0..4096u32).prop_map(|(page, register, low)| {
        let other = [0x9100_0000, 0xf940_0000, 0xb900_0000, 0x3dc0_0000][low as usize % 4];
        bytes(&[0x9000_0000 | page << 29 | register, other | low << 10 | register << 5 | 7])
    });
    prop_oneof![one, pair]
}

/// An entry as symbol tables and relocations have them.
fn entry() -> impl Strategy<Value = Vec<u8>> {
    let symbol = (near(), 0..4u32, 0..400u32).prop_map(|(at, name, size)| bytes(&[name, 6, at, 0, size, 0]));
    let relocation = (near(), 0..4u32, near()).prop_map(|(at, symbol, to)| bytes(&[at, 0, 6, symbol, to, 0]));
    prop_oneof![symbol, relocation]
}

fn words() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(offset(), 1..9), vec(near(), 1..9)].prop_map(|words| bytes(&words))
}

/// A common part of call frame information, and entries of it.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![4 => Just(24u32), 1 => any::<u32>()];
    let head = [&[28, 0, 0, 0, 0, 0, 0, 0, 1][..], b"zPLR\0", &[0; 18]].concat();
    vec((len, 0..8u32, offset(), near(), offset()), 0..9).prop_map(move |entries| {
        let mut out = head.clone();
        for (len, off, start, size, table) in entries {
            out.extend(bytes(&[len, out.len() as u32 + 4 - off / 7 * 4, start, size]));
            out.push(4);
            out.extend(table.to_le_bytes());
            out.extend([0; 7]);
        }
        out
    })
}

/// A region's kind and bytes with shapes in them that its finder looks for, or another one's.
fn content() -> impl Strategy<Value = (Kind, Vec<Vec<u8>>)> {
    let any_kind = || prop::sample::select(&Kind::ALL[..]);
    let piece = || prop_oneof![noise(), x86(), arm(), entry(), words(), frame()];
    prop_oneof![
        2 => (any_kind(), vec(piece(), 0..60)),
        4 => (any_kind(), vec(entry(), 0..60)),
        2 => (any_kind(), vec(words(), 0..60)),
        2 => (Just(Kind::X86_64), vec(prop_oneof![2 => x86(), 1 => noise()], 0..300)),
        1 => (Just(Kind::AArch64), vec(arm(), 0..200)),
        1 => (Just(Kind::EhFrame), vec(frame(), 0..6)),
    ]
}

/// What stands ahead of an offset relative to the end of an instruction.
const X86: &[&[u8]] =
    &[&[0xe8], &[0xe9], &[0x0f, 0x84], &[0x48, 0x8d, 0x3d], &[0xff, 0x15], &[0xc5, 0xfa, 0x10, 5]];

/// Instructions, and which of their bits are free.
const ARM: &[(u32, u32)] = &[
    (0x9400_0000, 0x0000_0fff),
    (0x17ff_f000, 0x0000_0fff),
    (0x5400_0000, 0x00ff_ffe1),
    (0x3600_0000, 0x0007_ffff),
    (0x1000_0000, 0x6000_ffff),
    (0x9000_0000, 0x60ff_ffff),
    (0xf940_0000, 0x003f_ffff),
    (0x3dc0_0000, 0x003f_ffff),
];

fn case() -> impl Strategy<Value = Case> {
    let address = prop_oneof![6 => 0x1000..0x3000u64, 2 => 0..64u64, 1 => SPACE - 5000..SPACE];
    let region = (content(), 0..40usize, address);
    let space = prop_oneof![3 => Just(0), 1 => Just(1), 1 => Just(0xffff_u64)];
    let spans = vec((0..0x800u64, 0x800..0x4000u64, any::<bool>()), 0..5);
    let segments = vec((0..900u64, 1..900u64, 0..0x4000u64), 0..5);
    let shift = prop_oneof![-64..64i64, -0x3000..0x3000i64, any::<i64>()];
    let steps = vec((prop_oneof![6 => 0..0x5000u64, 1 => any::<u64>()], shift), 0..30);
    (vec(region, 1..4), space, spans, segments, steps).prop_map(|(regions, space, spans, segments, steps)| {
        let (mut source, mut list) = (Vec::new(), Vec::new());
        for ((kind, pieces), gap, address) in regions {
            source.resize(source.len() + gap, 0xe8);
            let bytes = pieces.concat();
            let (start, len) = (source.len() as u64, bytes.len() as u64);
            let address = space * SPACE + address.min(SPACE - len);
            let link = if kind.has_link() { space * SPACE + 0x1000 } else { 0 };
            list.push(Region { start, len, address, kind, link });
            source.extend(bytes);
        }
        let mut end = space * SPACE;
        let span = |(gap, len, code): (u64, u64, bool)| {
            let span = Span { start: end + gap, end: end + gap + len, code };
            end = span.end;
            span
        };
        let spans = spans.into_iter().map(span).collect();
        let mut end = 0;
        let segment = |(gap, len, address): (u64, u64, u64)| {
            let segment = Segment { start: end + gap, len, address };
            end = segment.start + len;
            segment
        };
        let segments = segments.into_iter().map(segment).collect();
        let steps = steps.into_iter().map(|(at, shift)| (at.wrapping_add(space * SPACE), shift)).collect();
        Case { source, model: Model::new(list, spans, segments, ShiftMap::new(steps)).unwrap() }
    })
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn a_copy_s_window_is_a_slice_of_the_whole(
        case in case(),
        to in prop_oneof![0..3000u64, any::<u64>()],
        from: prop::sample::Index,
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let to = to.min(i64::MAX as u64);
        let from = from.index(case.source.len() + 1);
        let whole = case.predicted(from..case.source.len(), to);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).chain([0, whole.len()]).collect();
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            let window = case.predicted(from + pair[0]..from + pair[1], to + pair[0] as u64);
            prop_assert_eq!(&window, &whole[pair[0]..pair[1]], "{:?}", pair);
        }
        let bytewise: Vec<u8> =
            (0..whole.len()).flat_map(|at| case.predicted(from + at..from + at + 1, to + at as u64)).collect();
        prop_assert_eq!(bytewise, whole);
    }

    #[test]
    fn a_region_s_window_is_a_slice_of_the_whole(
        case in case(),
        moved in prop_oneof![-64..64i64, any::<i64>()],
        start: prop::sample::Index,
        end: prop::sample::Index,
    ) {
        for region in case.model.regions() {
            let bytes = case.bytes(region).unwrap();
            let mut whole = bytes.to_vec();
            case.model.predict(region, bytes, 0..bytes.len(), moved, &mut whole);
            let (a, b) = (start.index(bytes.len() + 1), end.index(bytes.len() + 1));
            let window = a.min(b)..a.max(b);
            let mut out = bytes[window.clone()].to_vec();
            case.model.predict(region, bytes, window.clone(), moved, &mut out);
            prop_assert_eq!(&out, &whole[window]);
        }
    }

    #[test]
    fn where_nothing_moves_nothing_changes(case in case()) {
        let still = case.model.clone().with_map(ShiftMap::default());
        for region in still.regions() {
            let bytes = case.bytes(region).unwrap();
            let mut out = bytes.to_vec();
            still.predict(region, bytes, 0..bytes.len(), 0, &mut out);
            prop_assert_eq!(out, bytes, "{:?}", region.kind);
        }
    }

    #[test]
    fn references_lie_in_their_page_window_and_region(case in case(), start: prop::sample::Index, len in 0..700usize) {
        for region in case.model.regions() {
            let place = case.place(region);
            let size = place.bytes.len();
            let from = start.index(size + 1);
            let window = from..(from + len).min(size);
            let (mut inside, mut all) = (Vec::new(), Vec::new());
            region.kind.find(&place, window.clone(), &mut |page, reference| inside.push((page, reference)));
            region.kind.find(&place, 0..size, &mut |page, reference| all.push((page, reference)));
            for (part, reference) in &all {
                prop_assert!(reference.end() <= size && part.end <= size, "{:?}", reference);
                prop_assert!(touches(reference, part), "{:?} {:?}", reference, part);
            }
            // A window sees what the whole sees there, no more and no less.
            for (part, _) in &mut all {
                *part = part.start.max(window.start)..part.end.min(window.end);
            }
            all.retain(|(part, reference)| touches(reference, part));
            prop_assert_eq!(&inside, &all, "{:?} {:?}", region.kind, window);
            // No more references than bytes, but for those that reach across a border.
            prop_assert!(all.len() <= window.len() + 8 * (1 + window.len() / PAGE), "{}", all.len());
        }
    }
}

fn touches(reference: &Reference, range: &Range<usize>) -> bool {
    !range.is_empty() && reference.at < range.end && reference.end() > range.start
}

/// The generators above are of use only if finders find something in what they make.
#[test]
fn the_cases_have_references_of_every_kind() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut counts = [0usize; Kind::ALL.len()];
    let mut changed = [0usize; Kind::ALL.len()];
    for _ in 0..400 {
        let case = case().new_tree(&mut runner).unwrap().current();
        for region in case.model.regions() {
            let place = case.place(region);
            region.kind.find(&place, 0..place.bytes.len(), &mut |_, _| counts[region.kind as usize] += 1);
            let mut out = place.bytes.to_vec();
            case.model.predict(region, place.bytes, 0..out.len(), 16, &mut out);
            changed[region.kind as usize] += usize::from(out != place.bytes);
        }
    }
    for kind in &Kind::ALL[1..] {
        assert!(counts[*kind as usize] > 50, "{}: {}", kind.name(), counts[*kind as usize]);
        assert!(changed[*kind as usize] > 5, "{}: {}", kind.name(), changed[*kind as usize]);
    }
}
