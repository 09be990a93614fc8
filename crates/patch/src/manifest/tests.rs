//! What is written reads back, and in one spelling only.

use super::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn any_image(kind: Kind) -> impl Strategy<Value = ImageRef> {
    let version = "[0-9a-zA-Z.+:~_-]{1,12}( \\([a-z]{1,4}\\))?";
    (version, 0..=MAX_SIZE, any::<[u8; 32]>()).prop_map(move |(version, size, digest)| ImageRef {
        version: version.parse().unwrap(),
        identity: Identity { kind, size, digest: Digest(digest) },
    })
}

fn any_chunk(kind: ChunkKind) -> impl Strategy<Value = ChunkRef> {
    (any::<u64>(), any::<u64>(), 1u64..1 << 40, any::<[u8; 32]>()).prop_map(
        move |(stored, decoded, target, digest)| {
            let target = if kind == ChunkKind::Delta { target } else { 0 };
            ChunkRef { kind, stored, decoded, target, digest: Digest(digest) }
        },
    )
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::File), Just(Kind::Tree)]
}

prop_compose! {
    fn any_advisory()(id in "[A-Z0-9-]{1,16}", severity in 0u8..5, text in "([ -~äß∞\n]{0,40})") -> Advisory {
        Advisory { id, severity: Severity::of_code(severity).unwrap(), text }
    }
}

prop_compose! {
    fn any_manifest()(kind in any_kind())(
        component in "[a-zA-Z0-9][a-zA-Z0-9._+-]{0,20}",
        source in any_image(kind), mut target in any_image(kind),
        changes in vec(any_chunk(ChunkKind::Changes), 1..3), model in vec(any_chunk(ChunkKind::Model), 0..2),
        delta in vec(any_chunk(ChunkKind::Delta), 0..4),
        epoch in prop_oneof![Just(0), any::<u64>()],
        advisories in vec(any_advisory(), 0..3),
        restart in vec("[a-z.@-]{1,10}", 0..3), products in vec("\\PC{1,10}", 0..3),
        created in any::<Option<u64>>(), expires in any::<Option<u64>>(), minimum in any::<Option<[u64; 3]>>(),
        notes in btree_map(key::NOTES, vec(any::<u8>(), 0..9), 0..3),
    ) -> Manifest {
        let made: u64 = delta.iter().map(|chunk| chunk.target).sum();
        let (kind, size) = (source.identity.kind, &mut target.identity.size);
        *size = if kind == Kind::File { made } else { made.max(*size) };
        let changes = if kind == Kind::File { vec![] } else { changes };
        let chunks = [changes, model, delta].concat();
        let component = component.parse().unwrap();
        Manifest {
            chunks, epoch, advisories, restart, products, created, expires, minimum, notes,
            ..Manifest::new(component, source, target)
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(manifest in any_manifest()) {
        prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
    }

    #[test]
    fn a_bent_encoding_is_refused_or_reads_as_just_that(
        manifest in any_manifest(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = manifest.encode();
        *at.get_mut(&mut bytes) = byte;
        if let Ok(other) = Manifest::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
        }
    }

    #[test]
    fn every_cut_and_every_extension_is_refused(manifest in any_manifest(), at in any::<prop::sample::Index>()) {
        let bytes = manifest.encode();
        prop_assert!(Manifest::decode(&bytes[..at.index(bytes.len())]).is_err());
        prop_assert!(Manifest::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    }

    #[test]
    fn noise_does_not_panic(bytes in vec(any::<u8>(), 0..80)) {
        let _ = Manifest::decode(&bytes);
    }
}

#[test]
fn notes_are_kept_and_other_unknown_fields_refused() {
    let image = |version: &str| ImageRef {
        version: version.parse().unwrap(),
        identity: Identity { kind: Kind::File, size: 0, digest: Digest([0; 32]) },
    };
    let plain = Manifest::new("a".parse().unwrap(), image("1"), image("2")).encode();
    // One field more, after the four that must be there: two bytes of key, then the value.
    let with = |key: u8, value: &[u8]| [&[0xa5], &plain[1..], &[0x18, key], value].concat();
    for key in [64, 65, 100, 127] {
        for (value, note) in [(&[0x40][..], &b""[..]), (b"\x42hi", b"hi")] {
            let manifest = Manifest::decode(&with(key, value)).unwrap();
            assert_eq!(manifest.notes, BTreeMap::from([(key, note.to_vec())]));
            assert_eq!(manifest.encode(), with(key, value), "kept as it came");
        }
        for value in [&[0][..], b"\x62hi", &[0x80], &[0xf6], &[0x5f, 0x40, 0xff], &[0x58, 0]] {
            let error = Manifest::decode(&with(key, value)).unwrap_err();
            assert!(matches!(error, Error::Malformed { .. }), "{key} {value:02x?}: {error}");
        }
    }
    for key in [24, 63, 128, 192, 255] {
        let error = Manifest::decode(&with(key, &[0x40])).unwrap_err();
        assert!(matches!(error, Error::Unknown { number, .. } if number == u64::from(key)), "{key}: {error}");
    }
    let twice = [&[0xa6], &plain[1..], &[0x18, 64, 0x40, 0x18, 64, 0x40]].concat();
    assert!(matches!(Manifest::decode(&twice), Err(Error::Malformed { .. })));
}

#[test]
fn severities_print_parse_and_order() {
    for (code, (severity, name)) in (0u8..).zip(Severity::ALL) {
        assert_eq!(Severity::of_code(code), Some(severity));
        assert_eq!(severity.to_string(), name);
        assert_eq!(name.parse(), Ok(severity));
    }
    assert_eq!(Severity::of_code(5), None);
    assert!("awful".parse::<Severity>().is_err());
    assert!(Severity::Low < Severity::Critical);
}

#[test]
fn texts_may_have_lines_where_names_may_not() {
    assert!(is_plain_text("") && is_plain_text("one\ntwo") && is_plain("CVE-1 ü"));
    for bad in ["", "a\nb", "\x1b[2J", "\u{9b}2J", "\u{7f}", "a\0"] {
        assert!(!is_plain(bad), "{bad:?}");
    }
    for bad in ["\r", "\t", "\u{85}", "\x07"] {
        assert!(!is_plain_text(bad), "{bad:?}");
    }
}
