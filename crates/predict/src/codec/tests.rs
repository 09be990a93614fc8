use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// Parts of any valid model, from steps that are not.
pub(crate) fn models() -> impl Strategy<Value = Model> {
    let gap = || prop_oneof![3 => Just(0u64), 3 => 0..300u64, 1 => 0..SPACE];
    let region = (gap(), gap(), gap(), 0..Kind::ALL.len(), any::<u64>(), 0..3u64);
    let span = (gap(), gap(), any::<bool>(), 0..3u64);
    let segment = (gap(), gap(), gap());
    let step =
        (prop_oneof![0..2000u64, any::<u64>()], prop_oneof![-3..3i64, -100_000..100_000i64, any::<i64>()]);
    (vec(region, 0..20), vec(span, 0..20), vec(segment, 0..20), vec(step, 0..60)).prop_map(
        |(regions, spans, segments, steps)| {
            let regions = regions_of(regions);
            Model::new(regions, spans_of(spans), segments_of(segments), ShiftMap::new(steps)).unwrap()
        },
    )
}

fn regions_of(parts: Vec<(u64, u64, u64, usize, u64, u64)>) -> Vec<Region> {
    let (mut end, mut space) = (0, 0);
    let region = |(gap, len, address, kind, link, more): (u64, u64, u64, usize, u64, u64)| {
        space += more * SPACE;
        let kind: Kind = Kind::ALL[kind];
        let address: u64 = address & (SPACE - 1);
        let len = u64::min(len, SPACE - address);
        let link = if kind.has_link() { space + low(link) } else { 0 };
        let region = Region { start: end + gap, len, address: space + address, kind, link };
        end = region.end();
        region
    };
    parts.into_iter().map(region).collect()
}

fn spans_of(parts: Vec<(u64, u64, bool, u64)>) -> Vec<Span> {
    let (mut end, mut space) = (0, 0);
    let span = |(gap, len, code, more): (u64, u64, bool, u64)| {
        space += more * SPACE;
        let start: u64 = u64::max(end, space) + gap % 1000;
        let span = Span { start, end: start + 1 + len % 1000, code };
        end = span.end;
        span
    };
    parts.into_iter().map(span).collect()
}

fn segments_of(parts: Vec<(u64, u64, u64)>) -> Vec<Segment> {
    let mut end = 0;
    let segment = |(gap, len, address): (u64, u64, u64)| {
        let address = low(address);
        let segment = Segment { start: end + gap, len: len.min(SPACE - address), address };
        end = segment.start + segment.len;
        segment
    };
    parts.into_iter().map(segment).collect()
}

fn decode(streams: &Streams) -> Result<Model, Broken> {
    Model::decode(&streams.regions, &streams.addresses, &streams.shifts)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn what_is_encoded_is_decoded(model in models()) {
        let streams = model.encode();
        let again = decode(&streams).unwrap();
        prop_assert_eq!(&again, &model);
        prop_assert_eq!(again.encode(), streams);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(
        regions in vec(prop_oneof![0..4u8, any::<u8>()], 0..60),
        addresses in vec(any::<u8>(), 0..60),
        shifts in vec(any::<u8>(), 0..60),
    ) {
        let streams = Streams { regions, addresses, shifts };
        if let Ok(model) = decode(&streams) {
            bounded(&model, &streams);
            prop_assert_eq!(&decode(&model.encode()).unwrap(), &model);
        }
    }

    #[test]
    fn mutated_models_do_no_harm(
        model in models(),
        edits in vec((0..3usize, any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..5),
    ) {
        let mut streams = model.encode();
        for (stream, at, byte, how) in edits {
            let stream = [&mut streams.regions, &mut streams.addresses, &mut streams.shifts].into_iter().nth(stream);
            let stream = stream.unwrap();
            if stream.is_empty() {
                continue;
            }
            let at = at.index(stream.len());
            match how {
                0 => stream[at] = byte,
                1 => stream.insert(at, byte),
                2 => drop(stream.remove(at)),
                _ => stream.truncate(at),
            }
        }
        if let Ok(model) = decode(&streams) {
            bounded(&model, &streams);
            prop_assert_eq!(&decode(&model.encode()).unwrap(), &model);
        }
    }

    #[test]
    fn numbers_have_one_form(value: u64) {
        let mut bytes = Vec::new();
        put(&mut bytes, value);
        let mut numbers = Numbers(&bytes);
        prop_assert_eq!(numbers.next(), Ok(value));
        prop_assert_eq!(numbers.end(), Ok(()));
        prop_assert_eq!(unzigzag(zigzag(value.cast_signed())), value.cast_signed());
    }
}

/// Every item takes at least so many bytes of its stream, so memory follows the streams' lengths.
fn bounded(model: &Model, streams: &Streams) {
    let items = 5 * model.regions().len() + 2 * model.spans().len() + 3 * model.segments().len();
    assert!(items <= streams.regions.len());
    assert!(model.map().steps().len() <= streams.addresses.len().min(streams.shifts.len()));
}

#[test]
fn numbers_too_long_or_too_large() {
    let next = |bytes: &[u8]| Numbers(bytes).next();
    assert_eq!(next(&[0x80, 0]), Err(NUMBERS), "zero in two bytes");
    assert_eq!(next(&[0xff; 12]), Err(NUMBERS));
    let mut largest = [0xff; 10];
    largest[9] = 1;
    assert_eq!(next(&largest), Ok(u64::MAX));
    largest[9] = 2;
    assert_eq!(next(&largest), Err(NUMBERS), "2^64 and more");
    assert_eq!(next(&[]), Err(NUMBERS));
}

#[test]
fn counts_are_not_believed() {
    let mut regions = Vec::new();
    put(&mut regions, u64::MAX);
    assert!(Model::decode(&regions, &[], &[]).is_err());
    assert!(Model::decode(&[0, 0, 0, 0], &[], &[]).is_err(), "left over");
    assert!(Model::decode(&[0, 0, 0], &[1], &[]).is_err(), "a step without a shift");
    assert!(Model::decode(&[0, 0, 0], &[], &[1]).is_err(), "a shift without a step");
    assert!(Model::decode(&[0, 0, 0], &[1, 0], &[8, 9]).is_err(), "two steps at one address");
    assert_eq!(Model::decode(&[0, 0, 0], &[], &[]), Ok(Model::default()));
}

#[test]
fn a_model_s_bytes() {
    let region = Region { start: 0x40, len: 0x100, address: 0x1040, kind: Kind::X86_64, link: 0 };
    let span = Span { start: 0x1000, end: 0x1200, code: true };
    let segment = Segment { start: 0x40, len: 0x140, address: 0x1040 };
    let map = ShiftMap::new(vec![(0x1080, 0x40), (0x1100, 0), (0x1180, 0x40)]);
    let model = Model::new(vec![region], vec![span], vec![segment], map).unwrap();
    let streams = model.encode();
    let regions = [
        &[1, 1, 0x40, 0x80, 2, 0, 0x80, 0x41][..], // one: x86-64, from 0x40 on, 0x100, space 0, +0x1040
        &[1, 0x80, 0x20, 0x81, 8],                 // one: from 0x1000 on, 0x200, code
        &[1, 0x40, 0xc0, 2, 0x80, 0x41],           // one: from 0x40 on, 0x140, +0x1040
    ];
    assert_eq!(streams.regions, regions.concat());
    assert_eq!(streams.addresses, [0x80, 0x21, 0x80, 1, 0x80, 1]);
    // 0x40 more than the latest, 0x40 less, the one before the latest.
    assert_eq!(streams.shifts, [0x88, 1, 0x87, 1, 1]);
}
