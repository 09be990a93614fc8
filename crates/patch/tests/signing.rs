//! Who vouches: thresholds, added signatures, signatures over something else.

mod forge;

use forge::{ALICE, BOB, Forge, HEAD, envelope, kid, signature_entry};
use siding_patch::{Checked, Error, Fault, Limits, PrivateKey, Trust, add_signature, open};

const CAROL: u8 = 3;

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32])
}

fn try_open<'a>(patch: &'a [u8], trusted: &[u8], threshold: usize) -> Result<Checked<&'a [u8]>, Error> {
    let keys = trusted.iter().map(|seed| key(*seed).public()).collect();
    open(patch, &Trust::new(keys, threshold)?, &Limits::default())
}

/// The example, signed by these, in the order the format asks for.
fn signed_by(signers: &[u8]) -> Vec<u8> {
    let mut signers = signers.to_vec();
    signers.sort_by_key(|seed| kid(*seed));
    Forge { signers, ..Forge::example() }.build()
}

/// Who signed, who is trusted, the threshold, and how many count if it is met.
type Case = (&'static [u8], &'static [u8], usize, Option<usize>);

#[test]
fn a_threshold_counts_distinct_trusted_keys() {
    let cases: [Case; 10] = [
        (&[ALICE], &[ALICE], 1, Some(1)),
        (&[ALICE, BOB], &[ALICE, BOB], 2, Some(2)),
        (&[ALICE, BOB], &[ALICE], 1, Some(1)),
        (&[ALICE, BOB], &[BOB, CAROL], 1, Some(1)),
        (&[ALICE, BOB, CAROL], &[ALICE, BOB, CAROL], 2, Some(3)),
        (&[ALICE], &[ALICE, BOB], 2, None),
        (&[ALICE, CAROL], &[ALICE, BOB], 2, None),
        (&[BOB], &[ALICE], 1, None),
        (&[], &[ALICE], 1, None),
        (&[ALICE, BOB], &[CAROL], 1, None),
    ];
    for (signers, trusted, threshold, good) in cases {
        let patch = signed_by(signers);
        match (try_open(&patch, trusted, threshold), good) {
            (Ok(checked), Some(good)) => assert_eq!(checked.signers().len(), good),
            (Err(error), None) => assert_eq!(error.fault(), Fault::NotTrusted, "{error}"),
            (result, good) => panic!("{signers:?} {trusted:?} {threshold}: {good:?} {result:?}"),
        }
    }
}

#[test]
fn an_unsigned_patch_opens_only_for_those_who_trust_anyone() {
    let patch = signed_by(&[]);
    assert!(matches!(try_open(&patch, &[ALICE], 1), Err(Error::Unsigned)));
    let checked = open(&patch[..], &Trust::anyone(), &Limits::default()).unwrap();
    assert_eq!((checked.signers().len(), checked.signatures()), (0, 0));
    let patch = signed_by(&[ALICE]);
    let checked = open(&patch[..], &Trust::anyone(), &Limits::default()).unwrap();
    assert_eq!((checked.signers().len(), checked.signatures()), (0, 1));
}

#[test]
fn one_key_cannot_sign_twice() {
    let good = Forge::example();
    let manifest = good.manifest();
    let entry = good.signature(ALICE, &manifest);
    // Named twice by its own kid, in a row and under the kid of another.
    let twice = good.with_envelope(&envelope(&manifest, vec![entry.clone(), entry.clone()]));
    assert!(try_open(&twice, &[ALICE, BOB], 2).is_err());
    let signature = &entry[entry.len() - 64..];
    let mut entries = vec![entry.clone(), signature_entry(&kid(BOB), signature)];
    entries.sort();
    let borrowed = good.with_envelope(&envelope(&manifest, entries));
    let error = try_open(&borrowed, &[ALICE, BOB], 2).unwrap_err();
    assert!(matches!(error, Error::TooFewSignatures { good: 1, threshold: 2, .. }), "{error}");
}

#[test]
fn a_signature_for_another_format_version_does_not_count() {
    for at in 0..HEAD.len() {
        let mut forge = Forge::example();
        forge.signed_head[at] ^= 1;
        let error = try_open(&forge.build(), &[ALICE], 1).unwrap_err();
        let Error::TooFewSignatures { named, broken, .. } = &error else { panic!("byte {at}: {error}") };
        assert!(named == broken && named.len() == 1, "byte {at}: {error}");
        assert!(error.to_string().contains(&format!("trusted {} does not match", named[0])), "{error}");
    }
}

#[test]
fn a_signature_over_the_manifest_alone_does_not_count() {
    use ed25519_dalek::Signer;
    let good = Forge::example();
    let manifest = good.manifest();
    let bare = forge::key(ALICE).sign(&manifest).to_bytes();
    let patch = good.with_envelope(&envelope(&manifest, vec![signature_entry(&kid(ALICE), &bare)]));
    assert!(matches!(try_open(&patch, &[ALICE], 1), Err(Error::TooFewSignatures { .. })));
}

#[test]
fn added_signatures_are_as_if_made_at_once() {
    let add = |patch: &[u8], seed| {
        let mut out = Vec::new();
        add_signature(&mut &*patch, &key(seed), &mut out).unwrap();
        out
    };
    let all = signed_by(&[ALICE, BOB, CAROL]);
    for order in [[ALICE, BOB, CAROL], [CAROL, BOB, ALICE], [BOB, CAROL, ALICE]] {
        let patch = order.iter().fold(signed_by(&[]), |patch, seed| add(&patch, *seed));
        assert_eq!(patch, all, "{order:?}");
    }
    assert_eq!(add(&all, BOB), all, "signing again changes nothing");
    assert_eq!(try_open(&all, &[ALICE, BOB, CAROL], 3).unwrap().signers().len(), 3);
}

#[test]
fn nonsense_is_not_signed() {
    let mut out = Vec::new();
    for patch in [&b"no patch"[..], &Forge::example().with_manifest(b"\xa0")] {
        assert!(add_signature(&mut &*patch, &key(ALICE), &mut out).is_err());
        assert!(out.is_empty());
    }
}

#[test]
fn no_more_than_64_signatures() {
    let seeds: Vec<u8> = (1..=65).collect();
    assert!(try_open(&signed_by(&seeds[..64]), &[ALICE], 1).is_ok());
    assert!(matches!(try_open(&signed_by(&seeds), &[ALICE], 1), Err(Error::Malformed { .. })));
}

#[test]
fn what_is_unknown_is_named_and_asks_for_a_newer_program() {
    let unknown = |patch: Vec<u8>| {
        let mut checked = match try_open(&patch, &[ALICE], 1) {
            Ok(checked) => checked,
            Err(error) => return error,
        };
        checked.next_chunk().unwrap().unwrap().decode(|_| Ok::<_, Error>(vec![])).unwrap_err()
    };
    let field = Forge { more: vec![(12, vec![0])], ..Forge::example() };
    let mut kind = Forge::example();
    kind.chunk().kind = 3;
    let chunk = |bytes: Vec<u8>| {
        let mut forge = Forge::example();
        forge.chunks = vec![forge::Chunk::of(1, 1, 21, bytes)];
        forge.build()
    };
    let coder = chunk(forge::frame(5, &[(6, 1)], None, b"x"));
    let stream = chunk(forge::frame(0, &[(11, 1)], None, b"x"));
    let version = Forge { head: *b"\x89SIDE\r\n\x1a\x02\0\0\0", ..Forge::example() };
    for patch in [field.build(), kind.build(), coder, stream, version.build()] {
        let error = unknown(patch);
        assert_eq!(error.fault(), Fault::TooNew, "{error}");
        assert!(error.to_string().contains("install a newer siding"), "{error}");
    }
}
