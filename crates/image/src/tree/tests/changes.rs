//! Changes lead from one tree to another, and have one spelling.

use super::*;

#[test]
fn changes_name_only_what_differs() {
    let old = tree(sample());
    let mut entries = sample();
    entries.retain(|e| e.path != b"link" && e.path != b"empty");
    entries.push(file("new", "n"));
    entries[2] = file("etc/a", "changed");
    let new = tree(entries);
    let changes = old.changes_to(&new);
    assert_eq!(changes.removed, [b"empty".to_vec(), b"link".to_vec()]);
    assert_eq!(changes.put, [file("etc/a", "changed"), file("new", "n")]);
    assert_eq!(old.with(&changes), Ok(new));
    assert_eq!(old.changes_to(&old), Changes::default());
    assert_eq!(old.with(&Changes::default()), Ok(old));
}

/// The entry with other metadata.
fn touched(mut entry: Entry) -> Entry {
    entry.meta_mut().unwrap().seconds += 1;
    entry
}

#[test]
fn metadata_alone_is_named_by_number() {
    let old = tree(sample());
    // In order: the root, empty, etc, etc/a, etc/b (a hard link), etc/tagged, link, ümläut.
    let other = |index: usize| old.entries()[index].clone();
    let mut entries = old.entries().to_vec();
    for index in [0, 3, 6, 7] {
        entries[index] = touched(other(index));
    }
    entries[5] = touched(file("etc/tagged", "other"));
    let new = tree(entries);
    let changes = old.changes_to(&new);
    assert_eq!(changes.removed, [b""; 0]);
    assert_eq!(changes.put, [touched(file("etc/tagged", "other"))], "more than its metadata differs");
    assert_eq!(changes.fresh, [0]);
    let meta = |index| touched(other(index)).meta().unwrap().clone();
    assert_eq!(changes.touched, [0, 3, 6, 7].map(|index| (index, meta(index))));
    assert_eq!(old.with(&changes), Ok(new));
    assert_eq!(Changes::decode(&changes.encode()), Ok(changes));
}

#[test]
fn entries_of_another_kind_or_content_are_put() {
    let old = tree(sample());
    let with = |path: &str, entry: Entry| {
        let mut entries = sample();
        entries.retain(|e| e.path != path.as_bytes());
        entries.push(entry);
        let new = tree(entries);
        let changes = old.changes_to(&new);
        assert_eq!(old.with(&changes).as_ref(), Ok(&new));
        (changes.put.len(), changes.touched.len())
    };
    assert_eq!(with("empty", file("empty", "")), (1, 0));
    assert_eq!(with("empty", symlink("empty", b"etc")), (1, 0));
    assert_eq!(with("etc/b", file("etc/b", "one")), (1, 0), "no hard link any more");
    assert_eq!(with("link", symlink("link", b"elsewhere")), (1, 0));
    assert_eq!(with("link", touched(symlink("link", b"../dangling"))), (0, 1));
    assert_eq!(with("empty", touched(dir("empty"))), (0, 1));
}

#[test]
fn touched_entries_have_one_spelling() {
    let old = tree(sample());
    let new_meta = |index: usize| touched(old.entries()[index].clone()).meta().unwrap().clone();
    let rule = |change: &dyn Fn(&mut Changes)| {
        let mut changes = Changes { touched: vec![(1, new_meta(1)), (3, new_meta(3))], ..Changes::default() };
        assert!(old.with(&changes).is_ok());
        change(&mut changes);
        old.with(&changes).unwrap_err().rule
    };
    for index in [old.entries().len(), 1 << 20, usize::MAX] {
        assert!(rule(&|c| c.touched.push((index, meta()))).contains("has none"), "{index}");
    }
    assert!(rule(&|c| c.touched.push((4, meta()))).contains("has none"), "a hard link");
    assert!(rule(&|c| c.removed.push(b"empty".to_vec())).contains("has none"), "it goes");
    let wrong = "those that do";
    assert!(rule(&|c| c.touched.push((5, old.entries()[5].meta().unwrap().clone()))).contains(wrong));
    assert!(rule(&|c| c.touched.reverse()).contains(wrong));
    assert!(rule(&|c| c.touched.push(c.touched[1].clone())).contains(wrong));
    assert!(rule(&|c| c.put.push(touched(dir("etc")))).contains(wrong), "put for its metadata alone");
    assert!(rule(&|c| c.put.push(symlink("empty", b"etc"))).contains("0777"), "put and touched");
    assert!(rule(&|c| c.put.push(file("empty", "one"))).contains(wrong), "put and touched");
    assert!(rule(&|c| c.touched[0].1.mode = 0o10000).contains("12 bits"));
    assert!(rule(&|c| c.touched.push((6, meta()))).contains("0777"));
}

#[test]
fn touched_entries_are_read_by_the_gaps_between_them() {
    let [one, two] = [1, 2].map(|uid| Meta { uid, ..Meta::default() });
    let changes = Changes { touched: vec![(2, one.clone()), (3, two)], ..Changes::default() };
    let (gap, meta_of) = (|gap: &[u8]| [&[0x82], gap].concat(), |uid| [0x85, 0, uid, 0, 0, 0]);
    let list =
        [&[0x84, 0x80, 0x80, 0x80, 0x82], &gap(&[2])[..], &meta_of(1), &gap(&[0]), &meta_of(2)].concat();
    assert_eq!(changes.encode(), list);
    assert_eq!(Changes::decode(&list), Ok(changes));
    let most = [&[0x1b][..], &[0xff; 8]].concat();
    for (first, second) in [(&most[..], &[0][..]), (&[1], &most)] {
        let list = [&[0x84, 0x80, 0x80, 0x80, 0x82], &gap(first)[..], &meta_of(1), &gap(second), &meta_of(2)];
        assert_eq!(Changes::decode(&list.concat()), Err(TreeError::encoding()), "an index past 2^64");
    }
    // The numbers of a part begin anew: the parts' lists are joined as they are.
    let mut whole = Changes { touched: vec![(2, one.clone())], ..Changes::default() };
    whole.append(Changes { touched: vec![(5, one.clone())], ..Changes::default() });
    assert_eq!(whole.touched, [(2, one.clone()), (5, one)]);
}

#[test]
fn changes_that_do_not_fit_are_refused() {
    let old = tree(sample());
    let rule = |removed: &[&str], put: &[Entry]| {
        let removed = removed.iter().map(|p| p.as_bytes().to_vec()).collect();
        old.with(&Changes { removed, put: put.to_vec(), fresh: vec![], touched: vec![] }).unwrap_err().rule
    };
    assert!(rule(&["absent"], &[]).contains("does not have"));
    assert!(rule(&["link", "link"], &[]).contains("twice"));
    assert!(rule(&[], &[file("new", "1"), file("new", "2")]).contains("twice"));
    assert!(rule(&[], &[file("../x", "1")]).contains(". or .."));
    assert!(rule(&["etc"], &[]).contains("parent is not a directory"), "children would dangle");
    assert!(rule(&[], &[symlink("etc", b"/etc")]).contains("parent is not a directory"));
    assert!(rule(&["etc/a"], &[]).contains("earlier regular file"), "its hard link would dangle");
    assert!(rule(&[""], &[]).contains("not the root"));
}

#[test]
fn changes_have_one_spelling() {
    let old = tree(sample());
    let new = tree(vec![dir(""), file("b", "1"), file("c", "1"), file("d", "two"), file("e", "2")]);
    let right = old.changes_to(&new);
    assert_eq!(old.with(&right), Ok(new));
    let rule = |change: &dyn Fn(&mut Changes)| {
        let mut changes = right.clone();
        change(&mut changes);
        old.with(&changes).unwrap_err().rule
    };
    assert_eq!(right.fresh, [0, 3], "c has b's content, d the source's");
    assert!(rule(&|c| c.removed.swap(0, 1)).contains("out of order"));
    assert!(rule(&|c| c.put.swap(0, 1)).contains("out of order"));
    assert!(rule(&|c| c.put.insert(0, dir(""))).contains("has already"));
    assert!(rule(&|c| c.put.push(symlink("link", b"../dangling"))).contains("both removed and put"));
    for fresh in [&[0][..], &[3], &[0, 1, 3], &[0, 2, 3], &[0, 3, 3], &[3, 0], &[1, 3], &[]] {
        assert!(rule(&|c| c.fresh = fresh.to_vec()).contains("fresh"), "{fresh:?}");
    }
}

#[test]
fn parts_of_changes_ascend_as_one() {
    let old = tree(sample());
    let new =
        tree(vec![touched(dir("")), touched(dir("empty")), file("b", "x"), file("c", "y"), file("d", "z")]);
    let join = |parts: &[Changes]| {
        let mut whole = Changes::default();
        parts.iter().for_each(|part| whole.append(part.clone()));
        old.with(&whole)
    };
    let mut parts = old.changes_to(&new).split(150);
    assert!(parts.len() > 2);
    assert_eq!(join(&parts), Ok(new));
    parts.reverse();
    assert!(join(&parts).unwrap_err().rule.contains("out of order"));
}

#[test]
fn one_digest_has_one_size_in_source_and_target() {
    let old = tree(sample());
    let mut lie = file("etc/a", "one");
    let Node::File(_, content) = &mut lie.node else { unreachable!() };
    content.size += 1;
    let changes = Changes { removed: vec![], put: vec![lie], fresh: vec![], touched: vec![] };
    let error = old.with(&changes).unwrap_err();
    assert_eq!((error.path.as_str(), error.rule), ("etc/a", "one digest has two sizes"));
}

#[test]
fn changes_are_read_from_one_encoding_only() {
    let bytes =
        tree(sample()).changes_to(&tree(vec![touched(dir("")), dir("etc"), file("new", "n")])).encode();
    for len in 0..bytes.len() {
        assert!(Changes::decode(&bytes[..len]).is_err(), "cut at {len}");
    }
    assert!(Changes::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    for i in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[i] ^= 1 << bit;
            if let Ok(changes) = Changes::decode(&changed) {
                assert_eq!(changes.encode(), changed);
            }
        }
    }
}
