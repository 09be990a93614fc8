use super::*;
use crate::{Kind, Span};

const ADDRESS: u64 = 0x10_0000;
const SPANS: [Span; 1] = [Span { start: 0x0f_0000, end: 0x12_0000, code: true }];

const NOP: u32 = 0xd503_201f;
/// `adrp x0, +0x3000`
const ADRP: u32 = 0xf000_0000;
/// `add x0, x0, #0x678`
const ADD: u32 = 0x9119_e000;

fn references(code: &[u32]) -> Vec<Reference> {
    let bytes: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    let place = Place { bytes: &bytes, address: ADDRESS, link: 0, spans: &SPANS };
    let mut found = Vec::new();
    Kind::AArch64.find(&place, 0..bytes.len(), &mut |_, reference| found.push(reference));
    found
}

fn relative(at: usize, form: Form, target: u64) -> Reference {
    Reference { at, form, target, base: Base::Place }
}

fn low(at: usize, scale: u8, target: u64) -> Reference {
    Reference { at, form: Form::Low12(scale), target, base: Base::Zero }
}

#[test]
fn branches_and_literals() {
    let cases = [
        ("bl +0x100", 0x9400_0040, Form::Branch26, 0x100),
        ("b -4", 0x17ff_ffff, Form::Branch26, -4),
        ("b.ne +0x20", 0x5400_0101, Form::Branch19, 0x20),
        ("cbz x3, +0x40", 0xb400_0203, Form::Branch19, 0x40),
        ("cbnz w3, +0x40", 0x3500_0203, Form::Branch19, 0x40),
        ("tbz w4, #3, +0x80", 0x3618_0404, Form::Branch14, 0x80),
        ("tbnz x4, #40, -0x80", 0xb747_fc04, Form::Branch14, -0x80),
        ("adr x5, +0x123", 0x7000_0905, Form::Adr, 0x123),
        ("ldr x9, +0x200", 0x5800_1009, Form::Branch19, 0x200),
        ("ldrsw x9, +0x200", 0x9800_1009, Form::Branch19, 0x200),
        ("prfm pldl1keep, +0x200", 0xd800_1000, Form::Branch19, 0x200),
        ("ldr d3, +0x200", 0x5c00_1003, Form::Branch19, 0x200),
    ];
    for (name, word, form, by) in cases {
        let target = (ADDRESS + 4).wrapping_add_signed(by);
        assert_eq!(references(&[NOP, word]), [relative(4, form, target)], "{name}");
    }
    assert_eq!(references(&[0x9600_0000]), [], "bl to where nothing is");
    assert_eq!(references(&[NOP, 0xd65f_03c0, 0xaa01_03e0, 0xd280_0020]), [], "nop, ret, mov, mov");
}

#[test]
fn a_page_and_what_completes_it() {
    let cases = [
        ("add x0, x0, #0x678", ADD, 0, 0x678),
        ("ldr x1, [x0, #0x678]", 0xf943_3c01, 3, 0x678),
        ("ldr w1, [x0, #0x678]", 0xb946_7801, 2, 0x678),
        ("ldrb w1, [x0, #0x67]", 0x3941_9c01, 0, 0x67),
        ("ldrh w1, [x0, #0x66]", 0x7940_cc01, 1, 0x66),
        ("str x2, [x0, #0x678]", 0xf903_3c02, 3, 0x678),
        ("ldr q0, [x0, #0x670]", 0x3dc1_9c00, 4, 0x670),
        ("ldr d0, [x0, #0x678]", 0xfd43_3c00, 3, 0x678),
        ("ldr b0, [x0, #0x67]", 0x3d41_9c00, 0, 0x67),
    ];
    for (name, word, scale, offset) in cases {
        let target = 0x10_3000 + offset;
        let wanted = [relative(0, Form::Adrp, target), low(8, scale, target)];
        assert_eq!(references(&[ADRP, NOP, word]), wanted, "{name}");
    }
}

#[test]
fn pages_that_nothing_completes() {
    let page = relative(0, Form::Adrp, 0x10_3000);
    assert_eq!(references(&[ADRP, 0x9159_e001]), [page], "add x1, x0, #0x678, lsl #12");
    assert_eq!(references(&[ADRP, 0xf963_3c01]), [page], "ldr x1, [x0, #0x4678]: past the page");
    let far: Vec<u32> = [ADRP].into_iter().chain([NOP; 16]).chain([ADD]).collect();
    assert_eq!(references(&far), [page], "too far away");
    assert_eq!(references(&[ADD]), [], "no page");
    assert_eq!(references(&[0xd0ff_fe00, ADD]), [], "adrp x0 to where nothing is, add");
}

#[test]
fn several_of_one_page() {
    // adrp x0; ldr x1, [x0, #0x678]; str x2, [x0, #0x678]; add x0, x0, #0x678; add x0, x0, #0x678
    let code = [ADRP, 0xf943_3c01, 0xf903_3c02, ADD, ADD];
    let wanted = [
        relative(0, Form::Adrp, 0x10_3678),
        low(4, 3, 0x10_3678),
        low(8, 3, 0x10_3678),
        low(12, 0, 0x10_3678),
    ];
    assert_eq!(references(&code), wanted, "after the add x0 is no page any more");
    // ldrsw x0, [x0, #0x10] and sub x0, x0, #1 write x0 too.
    assert_eq!(references(&[ADRP, 0xb980_1000, ADD]).len(), 2);
    assert_eq!(references(&[ADRP, 0xd100_0400, ADD]), [relative(0, Form::Adrp, 0x10_3678)]);
    // Two pages at once: adrp x0, +3 pages; adrp x1, -3 pages; add x0, x0; add x1, x1.
    let code = [ADRP, 0xb0ff_ffe1, ADD, ADD | 1 << 5 | 1];
    let (up, down) = (0x10_3678, 0x0f_d678);
    let wanted =
        [relative(0, Form::Adrp, up), relative(4, Form::Adrp, down), low(8, 0, up), low(12, 0, down)];
    assert_eq!(references(&code), wanted);
}

#[test]
fn a_pair_far_into_the_region() {
    let mut code = vec![NOP; 127];
    code.extend([ADRP, ADD]);
    let wanted = [relative(508, Form::Adrp, 0x10_3678), low(512, 0, 0x10_3678)];
    assert_eq!(references(&code), wanted);
}

#[test]
fn a_word_that_is_passed_over_says_nothing() {
    let mut passed = 0;
    for top in 0..=0xffu32 {
        for low in (0..1 << 24).step_by(0x1_0001) {
            let word = top << 24 | low;
            if concerns(word) {
                continue;
            }
            passed += 1;
            let mut found = references(&[NOP, word]);
            assert_eq!(found.pop(), None, "{word:#x}");
            assert!(!is_adrp(word) && LowHalf::of(word).is_none(), "{word:#x}");
            let mut pages: Pages = [Some((0, 0)); 32];
            forget_written(word, &mut pages);
            assert!(pages.iter().all(Option::is_some), "{word:#x}");
        }
    }
    assert!(passed > 10_000, "the table passes something over");
}
