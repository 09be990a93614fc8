use super::*;
use crate::log::{LogEntry, What};
use proptest::prelude::*;

fn image(version: &str, kind: Kind) -> SealedImage {
    SealedImage {
        version: version.parse().unwrap(),
        identity: Identity { kind, size: 1 << 40, digest: Digest::of(version.as_bytes()) },
        epoch: 3,
        restart: vec!["nginx.service".into()],
        advisories: vec!["CVE-2026-0001".into(), "CVE-2026-0002".into()],
        installed_at: 1_700_000_000,
    }
}

/// A state in which every optional part is there once and missing once.
fn full() -> (State, Tail) {
    let mut rich = ComponentState::with_base(image("1", Kind::Tree));
    rich.a = Held::Sealed(image("1 (a)", Kind::Tree));
    rich.b = Held::Staging;
    rich.active = Slot::A;
    rich.previous = Some(Slot::Base);
    let terms = TrialTerms { tries: 3, deadline: Some(1_800_000_000) };
    rich.trial =
        Some(Trial { terms, tries_left: 2, started: 1_700_000_001, failed: Some("it is slow".into()) });
    let digest = Digest::of(b"bad");
    let version: Version = "1 (z)".parse().unwrap();
    rich.denied.push(Denied { digest, version: version.clone(), reason: "it crashed".into(), at: 5 });
    rich.last_rollback = Some(Fallback { version, reason: "it crashed".into(), at: 5 });
    rich.generation = 1 << 32;
    let poor = ComponentState::with_base(image("2", Kind::File));
    let names: [Component; 2] = ["rich".parse().unwrap(), "poor".parse().unwrap()];
    let entries = names.iter().map(|name| LogEntry::new(What::Switch, name));
    let entries = entries.map(|entry| Numbered { sequence: 7, entry }).collect();
    let tail = Tail { after: 1 << 33, entries };
    let [rich_name, poor_name] = names;
    (State { components: BTreeMap::from([(rich_name, rich), (poor_name, poor)]) }, tail)
}

#[test]
fn a_state_reads_back() {
    let (mut state, mut tail) = full();
    let rich = &mut tail.entries[0].entry;
    *rich = rich.clone().slot(Slot::B).to(&image("1 (a)", Kind::File)).reason("why");
    assert_eq!(decode(&encode(&state, &tail)).unwrap(), (state.clone(), tail.clone()));
    let places = Places { a: "/dev/a".into(), b: "/dev/b \u{fc}".into() };
    let pair = ComponentState::with_places(places, Slot::B, image("3", Kind::File));
    state.components.insert("pair".parse().unwrap(), pair);
    assert_eq!(decode(&encode(&state, &tail)).unwrap(), (state, tail));
    let nothing = (State::default(), Tail::default());
    assert_eq!(decode(&encode(&nothing.0, &nothing.1)).unwrap(), nothing);
}

#[test]
fn every_truncation_and_anything_left_over_is_refused() {
    let (state, entries) = full();
    let mut good = encode(&state, &entries);
    for len in 0..good.len() {
        assert!(decode(&good[..len]).is_err(), "{len} bytes");
    }
    good.push(0);
    assert!(decode(&good).is_err());
}

#[test]
fn a_longer_encoding_of_the_same_is_refused() {
    // [[], 0, []], with the outer length in a byte of its own, and so on.
    assert!(decode(&[0x83, 0x80, 0x00, 0x80]).is_ok());
    assert!(decode(&[0x98, 0x03, 0x80, 0x00, 0x80]).is_err());
    assert!(decode(&[0x83, 0x80, 0x18, 0x00, 0x80]).is_err());
    assert!(decode(&[0x9f, 0x80, 0x00, 0x80, 0xff]).is_err());
}

#[test]
fn a_state_without_a_bootable_answer_is_refused() {
    let spoil: [fn(&mut ComponentState); 8] = [
        |c| c.base = Held::Empty,
        |c| c.a = Held::Staging,
        |c| c.places = Some(Places { a: "/dev/a".into(), b: "/dev/b".into() }),
        |c| {
            // On trial with two slots, and the other one is no way back.
            c.places = Some(Places { a: "/dev/a".into(), b: "/dev/b".into() });
            c.base = Held::Empty;
        },
        |c| {
            // Sound but for that two devices have no base, and have had none.
            let places = Places { a: "/dev/a".into(), b: "/dev/b".into() };
            let pair = ComponentState::with_places(places, Slot::B, image("3", Kind::File));
            *c = ComponentState { generation: 1, ..pair };
        },
        |c| c.active = Slot::B,
        |c| c.active = Slot::Base,
        |c| c.denied = vec![c.denied[0].clone(); Denied::MOST + 1],
    ];
    for (number, spoil) in spoil.into_iter().enumerate() {
        let (mut state, _) = full();
        spoil(state.components.get_mut(&"rich".parse().unwrap()).unwrap());
        assert!(decode(&encode(&state, &Tail::default())).is_err(), "{number}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_decodes_is_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Ok((state, entries)) = decode(&bytes) {
            prop_assert_eq!(encode(&state, &entries), bytes);
        }
    }

    #[test]
    fn a_flipped_bit_gives_an_error_or_another_state(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (state, entries) = full();
        let mut bytes = encode(&state, &entries);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(read) = decode(&bytes) {
            prop_assert_ne!(read, (state, entries));
        }
    }
}
