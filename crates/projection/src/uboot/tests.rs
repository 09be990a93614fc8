use super::*;
use proptest::prelude::*;

const TWO: &[u8] = include_bytes!("../../../../testdata/loaders/uboot-two.env");
const ONE: &[u8] = include_bytes!("../../../../testdata/loaders/uboot-one.env");

fn golden() -> Vec<Vec<u8>> {
    vec![TWO[..0x2000].to_vec(), TWO[0x4000..0x6000].to_vec()]
}

fn text(environment: &Environment, name: &str) -> Option<String> {
    environment.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
}

fn environment(entries: &[(&str, &str)]) -> Environment {
    entries.iter().fold(Environment { entries: vec![] }, |all, (name, value)| all.with(name, value))
}

#[test]
fn environments_of_fw_setenv_are_read() {
    let two = Copies::parse(&golden(), Scheme::Incremental).expect("two copies");
    let one = Copies::parse(&[ONE.to_vec()], Scheme::Incremental).expect("one copy");
    for copies in [&two, &one] {
        let environment = copies.environment();
        assert_eq!(text(environment, "bootcmd").as_deref(), Some("run siding"));
        assert_eq!(text(environment, "siding_rootfs_turn").as_deref(), Some("7"));
        assert_eq!(text(environment, "siding_rootfs"), None);
        assert_eq!(environment.entries().count(), 7);
        assert_eq!(copies.other_is_damaged(), None);
    }
    assert_eq!(two.current(), 0);
}

#[test]
fn what_is_written_again_is_what_fw_setenv_wrote() {
    let copies = Copies::parse(&[ONE.to_vec()], Scheme::Incremental).expect("one copy");
    let written = copies.write(copies.environment()).expect("room").bytes;
    // fw_setenv leaves what was in its memory behind the last entry; ours is zeros.
    let entries: usize = copies.environment().entries().map(|entry| entry.len() + 1).sum();
    assert_eq!(written.len(), ONE.len());
    assert!(
        written[4..][..entries + 1] == ONE[4..][..entries + 1]
            && written[4 + entries..].iter().all(|b| *b == 0)
    );
}

#[test]
fn the_flags_say_which_copy_is_current() {
    let known = [
        (Scheme::Incremental, 1, 2, 1),
        (Scheme::Incremental, 2, 1, 0),
        (Scheme::Incremental, 255, 0, 1),
        (Scheme::Incremental, 0, 255, 0),
        (Scheme::Incremental, 254, 255, 1),
        (Scheme::Incremental, 7, 7, 0),
        (Scheme::Boolean, 1, 0, 0),
        (Scheme::Boolean, 0, 1, 1),
        (Scheme::Boolean, 1, 1, 0),
        (Scheme::Boolean, 255, 0, 0),
        (Scheme::Boolean, 255, 1, 0),
        (Scheme::Boolean, 0, 255, 1),
    ];
    for (scheme, first, second, current) in known {
        let copy = |flags| encode(&environment(&[("a", "1")]), Some(flags), 64).expect("room");
        let copies = Copies::parse(&[copy(first), copy(second)], scheme).expect("two copies");
        assert_eq!(copies.current(), current, "{scheme:?} {first} {second}");
    }
}

#[test]
fn one_bad_copy_is_survived_and_written_over() {
    for bad in [0, 1] {
        let mut copies = golden();
        copies[bad][100] ^= 1;
        let read = Copies::parse(&copies, Scheme::Incremental).expect("one whole copy");
        assert_eq!(read.current(), 1 - bad);
        assert!(matches!(read.other_is_damaged(), Some(Problem::Checksum { .. })));
        let writes = read.write(read.environment()).expect("room");
        assert_eq!((writes.copy, writes.then), (bad, None));
        copies[bad] = writes.bytes;
        assert_eq!(Copies::parse(&copies, Scheme::Incremental).expect("two").current(), bad);
    }
}

#[test]
fn two_bad_copies_are_an_error_that_says_what_to_do() {
    let blank = vec![vec![0xff; 64], vec![0; 64]];
    let error = Copies::parse(&blank, Scheme::Incremental).expect_err("none is whole").to_string();
    assert!(error.contains("copy 0: its checksum is"), "{error}");
    assert!(error.contains("/etc/fw_env.config"), "{error}");
    assert!(Copies::parse(&[], Scheme::Incremental).is_err());
    assert!(Copies::parse(&[vec![], vec![1]], Scheme::Boolean).is_err());
}

#[test]
fn too_little_room_names_the_need() {
    let copies = Copies::parse(&[encode(&environment(&[]), None, 24).expect("room")], Scheme::Incremental);
    let long = environment(&[("name", "a value that is long")]);
    let error = copies.expect("a copy").write(&long).expect_err("no room");
    assert_eq!(error, Problem::NoRoom { needed: 27, room: 20 });
}

#[test]
fn an_empty_value_unsets() {
    let all = environment(&[("a", "1"), ("ab", "2"), ("a", "3")]);
    assert_eq!(all.entries().collect::<Vec<_>>(), [b"a=3", &b"ab=2"[..]]);
    assert_eq!(all.with("a", "").entries().collect::<Vec<_>>(), [b"ab=2"]);
}

fn entries() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[a-z]{1,9}", "[ -~]{1,90}"), 0..20)
}

proptest! {
    #[test]
    fn foreign_entries_survive_and_writes_alternate(
        foreign in entries(), values in prop::collection::vec("[a-z]{0,9}", 1..9),
    ) {
        let foreign = foreign.iter().fold(environment(&[]), |all, (name, value)| all.with(name, value));
        let empty = encode(&foreign, Some(254), 2048).expect("room");
        for scheme in [Scheme::Incremental, Scheme::Boolean] {
            let mut copies = vec![empty.clone(), empty.clone()];
            for value in &values {
                let read = Copies::parse(&copies, scheme).expect("whole");
                let writes = read.write(&read.environment().with("SIDING", value)).expect("room");
                prop_assert_ne!(writes.copy, read.current());
                copies[writes.copy] = writes.bytes;
                if let Some((copy, flags)) = writes.then { copies[copy][FLAGS_AT] = flags; }
                let read = Copies::parse(&copies, scheme).expect("whole");
                prop_assert_eq!(read.current(), writes.copy);
                prop_assert_eq!(read.environment().with("SIDING", ""), foreign.clone());
                prop_assert_eq!(text(read.environment(), "SIDING").unwrap_or_default(), value.clone());
            }
        }
    }

    // Any mixture of the old and the new bytes of the copy being written, in parts of any size, is refused by its
    // checksum or is one of them; so what is read is the old environment or the new.
    #[test]
    fn any_torn_write_reads_as_old_or_new(
        old in "[a-z]{1,600}", new in "[a-z]{1,600}", part in 1..700_usize, kept: u32,
    ) {
        for scheme in [Scheme::Incremental, Scheme::Boolean] {
            let first = encode(&environment(&[("v", &old)]), Some(1), 1024).expect("room");
            let stale = encode(&environment(&[("v", "stale")]), Some(0), 1024).expect("room");
            let before = Copies::parse(&[first.clone(), stale.clone()], scheme).expect("whole");
            let writes = before.write(&environment(&[("v", &new)])).expect("room");
            prop_assert_eq!(writes.copy, 1);
            let pairs = stale.chunks(part).zip(writes.bytes.chunks(part)).enumerate();
            let torn: Vec<u8> = pairs
                .flat_map(|(i, (old, new))| if kept >> (i % 32) & 1 == 1 { new } else { old }).copied().collect();
            let whole = torn == writes.bytes;
            let after = Copies::parse(&[first, torn], scheme).expect("one is whole");
            let value = text(after.environment(), "v").expect("a value");
            prop_assert!(value == old || (whole && value == new), "{}", value);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(first: Vec<u8>, second: Vec<u8>) {
        let data = [&crc32(&second).to_le_bytes()[..], &second].concat();
        for copies in [vec![first.clone(), data.clone()], vec![data], vec![first]] {
            if let Ok(copies) = Copies::parse(&copies, Scheme::Incremental) {
                drop(copies.write(&environment(&[("a", "b")])));
            }
        }
    }
}
