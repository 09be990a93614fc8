use super::*;
use proptest::prelude::*;

const GOLDEN: &[u8] = include_bytes!("../../../../testdata/loaders/grub.env");

fn settings<'a>(values: &'a [(&'a str, &'a str)]) -> Vec<Setting<'a>> {
    values.iter().map(|(name, value)| Setting { name, value, width: 8 }).collect()
}

fn block(lines: &str, len: usize) -> Block {
    let mut bytes = [HEADER, lines.as_bytes()].concat();
    bytes.resize(len, b'#');
    Block::parse(&bytes).expect("a block")
}

/// Every variable but these.
fn foreign(block: &Block, mine: &[Setting<'_>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let named = |name: &[u8]| mine.iter().any(|setting| setting.name.as_bytes() == name);
    block.variables().filter(|(name, _)| !named(name)).map(|(name, value)| (name.to_vec(), value)).collect()
}

fn differing_sectors(old: &Block, new: &Block) -> Vec<usize> {
    let pairs = old.as_bytes().chunks(SECTOR).zip(new.as_bytes().chunks(SECTOR));
    pairs.enumerate().filter(|(_, (old, new))| old != new).map(|(i, _)| i).collect()
}

/// What the block would be if of the differing sectors only those in `kept` were written.
fn torn(old: &Block, new: &Block, kept: usize) -> Vec<u8> {
    let pairs = old.as_bytes().chunks(SECTOR).zip(new.as_bytes().chunks(SECTOR));
    pairs
        .enumerate()
        .flat_map(|(i, (old, new))| if kept >> i & 1 == 1 { new } else { old })
        .copied()
        .collect()
}

#[test]
fn a_block_of_grub_editenv_is_read() {
    let block = Block::parse(GOLDEN).expect("a block");
    let text = |name| block.get(name).map(|value| String::from_utf8(value).expect("text"));
    assert_eq!(text("saved_entry").as_deref(), Some("0"));
    assert_eq!(text("title").as_deref(), Some("back\\slash = and\ntwo lines"));
    assert_eq!(text("siding_rootfs_tries").as_deref(), Some("3"));
    assert_eq!(text("next_entry").as_deref(), Some(""));
    assert_eq!(text("two lines"), None);
    assert_eq!(block.variables().count(), 8);
}

#[test]
fn what_is_no_block_is_refused_and_says_where() {
    let refused = |bytes: &[u8]| Block::parse(bytes).expect_err("no block").to_string();
    assert!(refused(b"").contains("byte 0"));
    assert!(refused(b"# GRUB Environment Blocks\n").contains("byte 0"));
    assert!(refused(b"# GRUB Environment Block\na=1").contains("no end (byte 25)"));
    assert!(refused(b"# GRUB Environment Block\na=1\n\0\0\0").contains("no end (byte 29)"));
    assert!(
        refused(b"# GRUB Environment Block\na\n##").contains("neither NAME=VALUE nor a comment (byte 25)")
    );
    assert!(refused(b"# GRUB Environment Block\n=1\n##").contains("byte 25"));
    assert!(refused(b"# GRUB Environment Block\na=1\\\n##").contains("no end"));
}

#[test]
fn values_change_in_place_and_in_one_sector() {
    let old = block("x=1\n", 1024);
    let first = old.with(&settings(&[("slot", "base"), ("tries", "")])).expect("room");
    assert_eq!(first.len(), 1);
    let second = first[0].with(&settings(&[("slot", "a"), ("tries", "3")])).expect("room");
    assert_eq!(second.len(), 1);
    assert_eq!(differing_sectors(&first[0], &second[0]), [0]);
    assert_eq!(second[0].as_bytes().len(), 1024);
    assert_eq!(second[0].with(&settings(&[("slot", "a"), ("tries", "3")])).expect("room"), []);
    let text = String::from_utf8_lossy(second[0].as_bytes());
    assert!(text.contains("x=1\n##"), "{text}");
    assert!(text.contains("#\nslot=a\ntries=3\n##"), "{text}");
}

#[test]
fn variables_that_someone_else_set_are_brought_together_before_they_change() {
    let old = Block::parse(GOLDEN).expect("a block");
    let wanted = [("siding_rootfs_slot", "b"), ("siding_rootfs_tries", "2")];
    let steps = old.with(&settings(&wanted)).expect("room");
    let slots = steps.iter().map(|step| step.get("siding_rootfs_slot").expect("a slot"));
    assert_eq!(slots.collect::<Vec<_>>(), [b"a", b"a", b"b"]);
    for step in &steps {
        assert_eq!(foreign(step, &settings(&wanted)), foreign(&old, &settings(&wanted)));
    }
    assert_eq!(steps[2].variables().filter(|(name, _)| *name == b"siding_rootfs_slot").count(), 1);
}

#[test]
fn too_little_room_names_the_need() {
    let full = block(&format!("x={}\n", "y".repeat(980)), 1024);
    let error = full.with(&settings(&[("slot", "a"), ("turn", "12345678")])).expect_err("no room");
    let (slot, turn) = ("slot=........\n".len(), "turn=........\n".len());
    assert_eq!(error, Problem::NoRoom { needed: 2 + slot + turn, len: 1024 });
    assert!(error.to_string().contains("30 free ones"), "{error}");
}

#[test]
fn a_group_goes_to_the_next_sector_rather_than_across_the_border() {
    let old = block(&format!("x={}\n", "y".repeat(470)), 1024);
    let wanted = settings(&[("slot", "a"), ("turn", "1")]);
    let steps = old.with(&wanted).expect("room");
    assert_eq!(steps.len(), 1);
    assert_eq!(differing_sectors(&old, &steps[0]), [0, 1]);
    let changed = old.as_bytes().iter().zip(steps[0].as_bytes()).take(SECTOR).filter(|(a, b)| a != b);
    assert_eq!(changed.collect::<Vec<_>>(), [(&b'#', &b'\n')]);
}

proptest! {
    #[test]
    fn after_any_cut_each_group_is_old_or_new_and_the_rest_is_untouched(
        lines in prop::collection::vec(("[a-z_]{1,9}", "[ -~\n]{0,60}"), 0..9),
        changes in prop::collection::vec((0..3_usize, "[a-z0-9]{0,8}", "[0-9]{0,8}"), 1..9),
        kibibytes in 1..3_usize,
    ) {
        let escaped = |value: &str| String::from_utf8(escape(value)).expect("text");
        let lines: String = lines.iter().map(|(name, value)| format!("{name}={}\n", escaped(value))).collect();
        prop_assume!(lines.len() < 700);
        let mut now = block(&lines, kibibytes * 1024);
        for (group, slot, tries) in changes {
            let names = [format!("{group}SLOT"), format!("{group}TRIES")];
            let wanted = settings(&[]).into_iter().chain([(&names[0], &slot), (&names[1], &tries)].map(
                |(name, value)| Setting { name, value, width: 8 })).collect::<Vec<_>>();
            let Ok(steps) = now.with(&wanted) else { break };
            let before = foreign(&now, &wanted);
            let read = |block: &Block| names.each_ref().map(|name| block.get(name));
            let (old, new) = (read(&now), names.each_ref().map(|name| {
                Some(if *name == names[0] { slot.clone() } else { tries.clone() }.into_bytes())
            }));
            for step in steps {
                for kept in 0..1 << (now.as_bytes().len() / SECTOR) {
                    let torn = Block::parse(&torn(&now, &step, kept)).expect("still a block");
                    prop_assert!([&old, &new].contains(&&read(&torn)));
                    prop_assert_eq!(foreign(&torn, &wanted), before.clone());
                }
                now = step;
            }
            prop_assert_eq!(read(&now), new);
            prop_assert_eq!(now.as_bytes().len(), kibibytes * 1024);
            prop_assert_eq!(now.with(&wanted).expect("room"), []);
        }
    }

    #[test]
    fn a_block_that_someone_else_wrote_survives_any_cut_too(
        before in "[a-z]{0,300}", between in "[a-z]{0,300}", old in "[a-z]{1,8}", new in "[a-z]{1,8}",
    ) {
        let lines = format!("x={before}\nslot={old}\ny={between}\ntries={old}\nz=1\n");
        let (mut now, new_pairs) = (block(&lines, 1024), [("slot", new.as_str()), ("tries", &new)]);
        let wanted = settings(&new_pairs);
        let others = foreign(&now, &wanted);
        let Ok(steps) = now.with(&wanted) else { return Ok(()) };
        for step in steps {
            for kept in 0..4 {
                let torn = Block::parse(&torn(&now, &step, kept)).expect("still a block");
                let read = ["slot", "tries"].map(|name| torn.get(name).expect("a value"));
                prop_assert!([[old.as_bytes(); 2], [new.as_bytes(); 2]].iter().any(|pair| read == *pair));
                prop_assert_eq!(foreign(&torn, &wanted), others.clone());
            }
            now = step;
        }
        prop_assert_eq!(now.with(&wanted).expect("room"), []);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, values in prop::collection::vec("[ -~\n]{0,300}", 4)) {
        let with = [HEADER, &bytes].concat();
        for bytes in [bytes, with] {
            if let Ok(block) = Block::parse(&bytes) {
                let wanted = [("a", values[0].as_str()), ("b", values[1].as_str())];
                drop(block.with(&settings(&wanted)));
            }
        }
    }
}
