use super::length::{measured, measured_slowly};
use super::*;
use crate::Span;
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, OpKind};
use object::read::{Object, ObjectSection};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

const ADDRESS: u64 = 0x40_1000;

/// The references in `code`, which lies at [`ADDRESS`] in 64 KiB of addresses.
fn references(code: &[u8]) -> Vec<(usize, u64)> {
    let spans = [Span { start: 0x40_0000, end: 0x41_0000, code: true }];
    let place = Place { bytes: code, address: ADDRESS, link: 0, spans: &spans };
    let mut found = Vec::new();
    find(&place, 0..code.len(), &mut |_, reference| {
        assert_eq!((reference.form, reference.base), (Form::U32, Base::Place));
        found.push((reference.at, reference.target));
    });
    found
}

#[test]
fn calls_and_jumps() {
    assert_eq!(references(&[0xe8, 0x10, 0, 0, 0]), [(1, ADDRESS + 5 + 0x10)], "call +0x10");
    assert_eq!(references(&[0xe9, 0xfb, 0xff, 0xff, 0xff]), [(1, ADDRESS)], "jmp to itself");
    assert_eq!(references(&[0x0f, 0x84, 0, 1, 0, 0]), [(2, ADDRESS + 6 + 0x100)], "je +0x100");
    assert_eq!(references(&[0xf2, 0xe8, 4, 0, 0, 0]), [(2, ADDRESS + 6 + 4)], "bnd call +4");
    assert_eq!(references(&[0xeb, 0x10, 0x74, 0x10]), [], "short jumps have no room for a moved target");
    let tls = [0x66, 0x66, 0x48, 0xe8, 8, 0, 0, 0];
    assert_eq!(references(&tls), [(4, ADDRESS + 8 + 8)], "call __tls_get_addr, padded");
}

#[test]
fn operands_relative_to_the_end_of_the_instruction() {
    assert_eq!(
        references(&[0x48, 0x8d, 0x3d, 0, 2, 0, 0]),
        [(3, ADDRESS + 7 + 0x200)],
        "lea rdi, [rip+0x200]"
    );
    assert_eq!(references(&[0x8b, 0x05, 4, 0, 0, 0]), [(2, ADDRESS + 6 + 4)], "mov eax, [rip+4]");
    assert_eq!(references(&[0xff, 0x25, 4, 0, 0, 0]), [(2, ADDRESS + 6 + 4)], "jmp [rip+4]");
    let store = [0xc7, 0x05, 0x20, 0, 0, 0, 1, 0, 0, 0];
    assert_eq!(references(&store), [(2, ADDRESS + 10 + 0x20)], "mov dword [rip+0x20], 1: ends after the 1");
    let narrow = [0x66, 0xc7, 0x05, 0x20, 0, 0, 0, 1, 0];
    assert_eq!(references(&narrow), [(3, ADDRESS + 9 + 0x20)], "mov word [rip+0x20], 1");
    let compare = [0x80, 0x3d, 0x20, 0, 0, 0, 7];
    assert_eq!(references(&compare), [(2, ADDRESS + 7 + 0x20)], "cmp byte [rip+0x20], 7");
    let test = [0xf7, 0x05, 0x20, 0, 0, 0, 1, 0, 0, 0];
    assert_eq!(references(&test), [(2, ADDRESS + 10 + 0x20)], "test dword [rip+0x20], 1");
    let not = [0xf7, 0x15, 0x20, 0, 0, 0];
    assert_eq!(references(&not), [(2, ADDRESS + 6 + 0x20)], "not dword [rip+0x20]");
    let insert = [0x66, 0x0f, 0x3a, 0x22, 0x05, 0x20, 0, 0, 0, 1];
    assert_eq!(references(&insert), [(5, ADDRESS + 10 + 0x20)], "pinsrd xmm0, [rip+0x20], 1");
    assert_eq!(references(&[0xc5, 0xfa, 0x10, 0x05, 8, 0, 0, 0]), [(4, ADDRESS + 8 + 8)], "vmovss (VEX)");
    let evex = [0x62, 0xf1, 0x7c, 0x48, 0x28, 0x05, 8, 0, 0, 0];
    assert_eq!(references(&evex), [(6, ADDRESS + 10 + 8)], "vmovaps zmm0, [rip+8] (EVEX)");
}

#[test]
fn what_is_not_relative() {
    assert_eq!(references(&[0x8b, 0x04, 0x25, 4, 0, 0, 0]), [], "mov eax, [4]: absolute");
    assert_eq!(references(&[0x8b, 0x45, 4]), [], "mov eax, [rbp+4]");
    assert_eq!(references(&[0x8b, 0x85, 4, 0, 0, 0]), [], "mov eax, [rbp+4], long");
    assert_eq!(references(&[0xb8, 0xe8, 0, 0, 0, 0x90]), [], "mov eax, 0xe8");
    assert_eq!(references(&[0xe8, 0, 0, 0, 0x70]), [], "a call to where nothing is");
    assert_eq!(references(&[0xe8, 0, 0]), [], "a call cut off");
}

#[test]
fn lengths() {
    let cases: &[(&str, &[u8], usize)] = &[
        ("nop", &[0x90], 1),
        ("push rbp", &[0x55], 1),
        ("mov rax, imm64", &[0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8], 10),
        ("mov eax, imm32", &[0xb8, 1, 2, 3, 4], 5),
        ("mov ax, imm16", &[0x66, 0xb8, 1, 2], 4),
        ("a REX ahead of a prefix does not count", &[0x48, 0x66, 0xb8, 1, 2], 5),
        ("mov al, [moffs64]", &[0xa0, 1, 2, 3, 4, 5, 6, 7, 8], 9),
        ("mov al, [moffs32]", &[0x67, 0xa0, 1, 2, 3, 4], 6),
        ("mov rax, [rax+rcx*8+disp8]", &[0x48, 0x8b, 0x44, 0xc8, 0x10], 5),
        ("mov rax, [rcx*8+disp32]", &[0x48, 0x8b, 0x04, 0xcd, 1, 0, 0, 0], 8),
        ("nopw cs:[rax+rax+disp32]", &[0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0], 10),
        ("endbr64", &[0xf3, 0x0f, 0x1e, 0xfa], 4),
        ("pshufb xmm0, xmm1", &[0x66, 0x0f, 0x38, 0x00, 0xc1], 5),
        ("palignr xmm0, xmm1, 8", &[0x66, 0x0f, 0x3a, 0x0f, 0xc1, 8], 6),
        ("vzeroupper", &[0xc5, 0xf8, 0x77], 3),
        ("vpshufb ymm0, ymm1, ymm2", &[0xc4, 0xe2, 0x75, 0x00, 0xc2], 5),
        ("vperm2i128 ymm0, ymm1, ymm2, 1", &[0xc4, 0xe3, 0x75, 0x46, 0xc2, 1], 6),
        ("vpternlogd zmm0, zmm1, zmm2, 0x96", &[0x62, 0xf3, 0x75, 0x48, 0x25, 0xc2, 0x96], 7),
        ("vprotd xmm0, xmm1, 7 (XOP)", &[0x8f, 0xe8, 0x78, 0xc2, 0xc1, 7], 6),
        ("pop [rax]", &[0x8f, 0x00], 2),
        ("ret 8", &[0xc2, 8, 0], 3),
        ("enter 8, 0", &[0xc8, 8, 0, 0], 4),
        ("test al, 1", &[0xf6, 0xc0, 1], 3),
        ("not al", &[0xf6, 0xd0], 2),
        ("push imm16", &[0x66, 0x68, 1, 2], 4),
        ("add rax, imm32 under 66 and REX.W", &[0x66, 0x48, 0x05, 1, 2, 3, 4], 7),
        ("not an instruction", &[0x06], 1),
        ("sixteen prefixes", &[0x66; 16], 1),
    ];
    for (name, bytes, len) in cases {
        let mut padded = bytes.to_vec();
        padded.extend([0x90; 16]);
        assert_eq!(measure(&padded).0, *len, "{name}");
        let (short, _) = measure(&bytes[..len - 1]);
        assert!(*len == 1 || short == 1, "{name}: cut off, so counted as one byte");
    }
}

#[test]
fn short_cuts_say_what_the_long_way_says() {
    let prefixes: [&[u8]; 8] = [&[], &[0x66], &[0xf2], &[0xf3], &[0x64], &[0xf0], &[0x2e], &[0x67]];
    for prefix in prefixes {
        for rex in [&[][..], &[0x41], &[0x48]] {
            for escape in [&[][..], &[0x0f]] {
                for (opcode, next, sib) in
                    (0..=255).flat_map(|a| (0..=255).flat_map(move |b| [0x24, 0x25].map(|c| (a, b, c))))
                {
                    let bytes = [prefix, rex, escape, &[opcode, next, sib], &[0; 16]].concat();
                    let head = bytes.first_chunk().unwrap();
                    assert_eq!(measured(head), measured_slowly(head), "{:02x?}", &bytes[..8]);
                }
            }
        }
    }
}

/// The code of the library `path` below `testdata`: bytes and address of `.text`.
fn text(path: &str) -> (Vec<u8>, u64) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(path);
    let bytes = fs::read(path).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let section = file.section_by_name(".text").unwrap();
    (section.data().unwrap().to_vec(), section.address())
}

/// Compares lengths and relative fields instruction by instruction; says how many there were.
fn agrees(code: &[u8], address: u64) -> usize {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let (mut at, mut count) = (0, 0);
    while decoder.can_decode() {
        let instruction: Instruction = decoder.decode();
        let constants = decoder.get_constant_offsets(&instruction);
        let (len, field) = measure(&code[at..]);
        if instruction.is_invalid() {
            decoder.set_position(at + len).unwrap();
            decoder.set_ip(address + (at + len) as u64);
        } else {
            assert_eq!(len, instruction.len(), "at {:#x}: {:02x?}", address + at as u64, &code[at..][..15]);
            // XBEGIN leads to its own function, so its field never changes and is not looked for.
            let is_branch =
                instruction.op0_kind() == OpKind::NearBranch64 && instruction.code() != Code::Xbegin_rel32;
            let relative = if instruction.is_ip_rel_memory_operand() {
                Some(constants.displacement_offset())
            } else if is_branch && constants.immediate_size() == 4 {
                Some(constants.immediate_offset())
            } else {
                None
            };
            assert_eq!(
                field,
                relative.unwrap_or(0),
                "at {:#x}: {:02x?}",
                address + at as u64,
                &code[at..][..15]
            );
            count += 1;
        }
        at += len;
    }
    count
}

#[test]
fn lengths_agree_with_another_decoder_on_real_code() {
    let mut count = 0;
    for path in ["libssl/3.0.20/libssl.so.3", "libssl/3.0.22/libssl.so.3"] {
        let (code, address) = text(path);
        count += agrees(&code, address);
    }
    println!("{count} instructions compared");
    assert!(count > 180_000, "{count}");
}

#[test]
fn pages_find_what_one_sweep_finds() {
    let (code, address) = text("libssl/3.0.20/libssl.so.3");
    let spans = [Span { start: 0, end: 1 << 24, code: true }];
    let place = Place { bytes: &code, address, link: 0, spans: &spans };
    let (mut swept, mut paged) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < code.len() {
        let (len, field) = measure(&code[at..]);
        swept.extend(reference(&place, &(0..0), at + field, at + len).filter(|_| field > 0));
        at += len;
    }
    find(&place, 0..code.len(), &mut |part, reference| {
        if part.contains(&reference.at) {
            paged.push(reference);
        }
    });
    let missed = swept.iter().filter(|reference| !paged.contains(reference)).count();
    println!("{} references, {missed} missed by pages", swept.len());
    assert!(swept.len() > 19_000 && missed * 1000 < swept.len(), "{missed} of {}", swept.len());
}

/// Page by page, each from its own run-up on, as the format says: what `find` skips must make no difference.
fn page_by_page(place: &Place<'_>, window: Range<usize>) -> Vec<(Range<usize>, Reference)> {
    let mut all = Vec::new();
    for page in (0..place.bytes.len()).step_by(PAGE) {
        let part = page.max(window.start)..(page + PAGE).min(window.end);
        let mut at = page.saturating_sub(RUN_UP);
        while at < part.end {
            let (len, field) = measure(&place.bytes[at..]);
            let reference = reference(place, &(0..0), at + field, at + len).filter(|_| field > 0);
            let inside = |reference: &Reference| {
                !part.is_empty() && reference.at < part.end && reference.end() > part.start
            };
            all.extend(reference.filter(inside).map(|reference| (part.clone(), reference)));
            at += len;
        }
    }
    all
}

#[test]
fn joining_the_sweep_before_changes_nothing() {
    let spans = [Span { start: 0, end: 1 << 47, code: true }];
    let (code, _) = text("libssl/3.0.20/libssl.so.3");
    // Sweeps of five-byte instructions never meet; those of these prefixes meet late.
    let calls = vec![0xe8; 10_000];
    let prefixes: Vec<u8> = [0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0xe8, 1, 0, 0, 0].repeat(900);
    for (name, bytes) in [("libssl", &code), ("calls", &calls), ("prefixes", &prefixes)] {
        let place = Place { bytes, address: 1 << 40, link: 0, spans: &spans };
        for window in [0..bytes.len(), 1000..7777, 640..641, 127..129] {
            let mut found = Vec::new();
            find(&place, window.clone(), &mut |part, reference| found.push((part, reference)));
            assert_eq!(found, page_by_page(&place, window.clone()), "{name}, {window:?}");
            assert!(!found.is_empty() || window.len() < 3, "{name}, {window:?}");
        }
    }
}

const PREFIXES: &[u8] = &[0x66, 0xf2, 0xf3, 0x67, 0x48, 0x41, 0x64];
const ESCAPES: &[&[u8]] = &[&[], &[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a], &[0xc5], &[0xc4], &[0x62], &[0x8f]];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lengths_agree_on_random_bytes(
        prefixes in prop::collection::vec(prop::sample::select(PREFIXES), 0..3),
        escape in prop::sample::select(ESCAPES),
        rest in prop::collection::vec(any::<u8>(), 24),
    ) {
        let bytes = [&prefixes[..], escape, &rest[..]].concat();
        let instruction = Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE).decode();
        // SSE4a's two immediates are known to AMD's processors of 2007 and to no compiler.
        let odd = [Code::Extrq_xmm_imm8_imm8, Code::Insertq_xmm_xmm_imm8_imm8].contains(&instruction.code());
        if !instruction.is_invalid() && !odd {
            prop_assert_eq!(measure(&bytes).0, instruction.len(), "{:?} {:02x?}", instruction.code(), bytes);
        }
    }
}
