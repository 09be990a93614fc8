//! The worked examples of `docs/prediction.md`, and what a model refuses.

use super::*;
use crate::{Base, Form, Kind};

/// Old code at 0x1000, data at 0x4000; new code 0x20 further on from 0x1200 on, data 0x1000 further on.
fn map() -> ShiftMap {
    ShiftMap::new(vec![(0x1200, 0x20), (0x4000, 0x1000)])
}

fn spans() -> Vec<Span> {
    vec![Span { start: 0x1000, end: 0x3000, code: true }, Span { start: 0x4000, end: 0x6000, code: false }]
}

/// What `old`, which lies at `from`, reads once it lies at `to`.
fn example(kind: Kind, old: &[u8], from: u64, to: u64) -> Vec<u8> {
    let len = old.len() as u64;
    let region = Region { start: 0, len, address: from, kind, link: 0 };
    let segment = Segment { start: 0, len, address: to };
    let model = Model::new(vec![region], spans(), vec![segment], map()).unwrap();
    let mut out = old.to_vec();
    model.predict_copy(0, 0, &mut out, |_| Some(old));
    out
}

#[test]
fn a_call() {
    // 1100: call 1340 becomes 1100: call 1360
    assert_eq!(example(Kind::X86_64, &[0xe8, 0x3b, 2, 0, 0], 0x1100, 0x1100), [0xe8, 0x5b, 2, 0, 0]);
    // 1300: call 1340 becomes 1320: call 1360
    assert_eq!(example(Kind::X86_64, &[0xe8, 0x3b, 0, 0, 0], 0x1300, 0x1320), [0xe8, 0x3b, 0, 0, 0]);
    // 1300: call 1100 becomes 1320: call 1100
    assert_eq!(
        example(Kind::X86_64, &[0xe8, 0xfb, 0xfd, 0xff, 0xff], 0x1300, 0x1320),
        [0xe8, 0xdb, 0xfd, 0xff, 0xff]
    );
}

#[test]
fn a_relocation() {
    let entry = |at: u64, to: u64| [at.to_le_bytes(), 8u64.to_le_bytes(), to.to_le_bytes()].concat();
    // At 4010 stands the address 1340; it will stand at 5010 and be 1360.
    assert_eq!(example(Kind::Rela64, &entry(0x4010, 0x1340), 0x600, 0x608), entry(0x5010, 0x1360));
}

#[test]
fn a_page_and_its_rest() {
    let words = |words: [u32; 2]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    // 1100: adrp x0, 1000; add x0, x0, #0xff0: the address 1ff0, which becomes 2010: another page.
    let old = words([0x9000_0000, 0x913f_c000]);
    assert_eq!(example(Kind::AArch64, &old, 0x1100, 0x1100), words([0xb000_0000, 0x9100_4000]));
    // The same at 1ffc becomes 201c: the page of the place counts too.
    assert_eq!(example(Kind::AArch64, &old, 0x1ff8, 0x2018), words([0x9000_0000, 0x9100_4000]));
}

#[test]
fn a_field_knows_its_meaning() {
    let map = map();
    let call = Reference { at: 1, form: Form::U32, target: 0x1340, base: Base::Place };
    assert_eq!(call.predicted(0x3b, 0x1301, 0x20, &map), 0x3b);
    assert_eq!(call.absolute(0x3b, 0x20), 0x1360);
    let back = Reference { form: Form::Back32, ..call };
    assert_eq!(back.predicted(0x100, 0x1301, 0x30, &map), 0x110, "counted backwards");
    let number =
        Reference { form: Form::Number(24), target: 0x4000 + 24, base: Base::Address(0x1000), ..call };
    assert_eq!(number.predicted(1, 0, 0, &map), 1 + 0x1000 / 24, "by how many entries the distance grew");
    let size = Reference { form: Form::U64, target: 0x1210, base: Base::Address(0x11f0), ..call };
    assert_eq!(size.predicted(0x21, 0, 0, &map), 0x41, "a function that grew in between");
    let place = 0x10_0000;
    let adr = Reference { at: 0, form: Form::Adr, target: 0x1340, base: Base::Place };
    assert_eq!(adr.predicted(0x1000_0000, place, 0x1d, &map), 0x7000_0000, "three bytes further on");
}

#[test]
fn what_a_model_refuses() {
    let region = Region { start: 0, len: 8, address: 0, kind: Kind::Plain, link: 0 };
    let refused =
        |regions: &[Region]| Model::new(regions.to_vec(), vec![], vec![], ShiftMap::default()).is_err();
    assert!(!refused(&[region, Region { start: 8, ..region }]));
    assert!(refused(&[region, Region { start: 7, ..region }]), "overlap");
    assert!(refused(&[Region { start: u64::MAX, ..region }]), "past all offsets");
    assert!(refused(&[Region { address: SPACE - 7, ..region }]), "across two spaces");
    assert!(refused(&[Region { address: u64::MAX, ..region }]), "past all addresses");
    assert!(refused(&[Region { address: SPACE, ..region }, Region { start: 8, ..region }]), "spaces descend");
    assert!(refused(&[Region { link: 1, ..region }]), "a link of a kind without");
    assert!(refused(&[Region { link: SPACE, kind: Kind::Rela64, ..region }]), "a link to another space");
    let refused = |spans: &[Span]| Model::new(vec![], spans.to_vec(), vec![], ShiftMap::default()).is_err();
    let span = Span { start: SPACE - 8, end: SPACE, code: true };
    assert!(!refused(&[span, Span { start: SPACE, end: SPACE + 1, code: false }]));
    assert!(refused(&[Span { end: SPACE + 1, ..span }]), "across two spaces");
    assert!(refused(&[Span { end: SPACE - 8, ..span }]), "empty");
    assert!(refused(&[span, span]), "overlap");
    let refused = |segment: Segment| Model::new(vec![], vec![], vec![segment], ShiftMap::default()).is_err();
    assert!(!refused(Segment { start: 0, len: 8, address: SPACE - 8 }));
    assert!(refused(Segment { start: 0, len: 9, address: SPACE - 8 }));
    assert!(refused(Segment { start: 0, len: 0, address: SPACE }));
    assert!(refused(Segment { start: i64::MAX as u64, len: 1, address: 0 }));
}

#[test]
fn a_region_whose_bytes_cannot_be_had_stays() {
    let region = Region { start: 4, len: 5, address: 0x1300, kind: Kind::X86_64, link: 0 };
    let model = Model::new(vec![region], spans(), vec![], map()).unwrap();
    let bytes = [0x90, 0x90, 0x90, 0x90, 0xe8, 0x3b, 0, 0, 0, 0x90];
    let mut out = bytes;
    model.predict_copy(0, 0, &mut out, |_| None);
    assert_eq!(out, bytes);
    // Where the target has no addresses its offsets stand for them: here 1300 moves to 4.
    model.predict_copy(0, 0, &mut out, |_| bytes.get(4..9));
    assert_eq!(out, [0x90, 0x90, 0x90, 0x90, 0xe8, 0x57, 0x13, 0, 0, 0x90]);
}
