//! Properties, on random trees.

use super::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

prop_compose! {
    fn any_meta()(
        mode in 0u16..=0o7777, uid in any::<u32>(), gid in 0u32..70_000,
        seconds in any::<i64>(), nanoseconds in 0u32..1_000_000_000,
        xattrs in btree_map("user\\.[a-c]{1,2}".prop_map(String::into_bytes), vec(any::<u8>(), 0..4), 0..3),
    ) -> Meta {
        Meta { mode, uid, gid, seconds, nanoseconds, xattrs }
    }
}

/// A wish: a name (any bytes but `/` and NUL, often alike), where to hang it, what it is to be.
type Wish = (Vec<u8>, prop::sample::Index, u8, u8, Meta);

fn any_wish() -> impl Strategy<Value = Wish> {
    let short = "[a-d]".prop_map(String::into_bytes);
    let odd = vec(any::<u8>().prop_filter("no / or NUL", |b| !b"/\0".contains(b)), 1..5);
    let name = prop_oneof![3 => short, 1 => odd].prop_filter("no dots", |name| name != b"." && name != b"..");
    (name, any::<prop::sample::Index>(), 0u8..8, 0u8..6, any_meta())
}

/// Grants the wishes that can be granted: names that are taken are skipped.
fn any_tree() -> impl Strategy<Value = Tree> {
    (any_meta(), vec(any_wish(), 0..24)).prop_map(|(root, wishes)| {
        let mut entries = BTreeMap::from([(vec![], Node::Directory(root))]);
        let mut directories = vec![vec![]];
        for (name, place, kind, content, meta) in wishes {
            let above = place.get(&directories).clone();
            let path = if above.is_empty() { name } else { [above.as_slice(), b"/", &name].concat() };
            if entries.contains_key(&path) {
                continue;
            }
            let earlier = entries.range(..path.clone()).rev();
            let mut earlier_files = earlier.filter(|(_, node)| matches!(node, Node::File(..)));
            let node = match (kind, earlier_files.next()) {
                (0..=2, _) => Node::Directory(meta),
                (3, _) => {
                    let meta = Meta { mode: Meta::SYMLINK_MODE, ..meta };
                    Node::Symlink(meta, vec![b'.'; usize::from(content) + 1])
                }
                (4, Some((to, _))) => Node::HardLink(to.clone()),
                _ => Node::File(
                    meta,
                    FileRef { size: u64::from(content) << 30, digest: Digest::of(&[content]) },
                ),
            };
            if matches!(node, Node::Directory(_)) {
                directories.push(path.clone());
            }
            entries.insert(path, node);
        }
        Tree::new(entries.into_iter().map(|(path, node)| Entry { path, node }).collect()).unwrap()
    })
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(tree in any_tree()) {
        prop_assert_eq!(Tree::decode(&tree.encode()), Ok(tree));
    }

    #[test]
    fn changes_lead_from_any_tree_to_any_other(a in any_tree(), b in any_tree()) {
        let changes = a.changes_to(&b);
        prop_assert_eq!(Changes::decode(&changes.encode()), Ok(changes.clone()));
        prop_assert_eq!(a.with(&changes), Ok(b));
    }

    #[test]
    fn other_metadata_alone_put_nothing(tree in any_tree(), which in vec(any::<bool>(), 24), meta in any_meta()) {
        let mut entries = tree.entries().to_vec();
        let mut wanted = 0;
        for (entry, _) in entries.iter_mut().zip(which).filter(|(_, which)| *which) {
            let is_link = matches!(entry.node, Node::Symlink(..));
            let Some(there) = entry.meta_mut() else { continue };
            let meta = Meta { mode: if is_link { Meta::SYMLINK_MODE } else { meta.mode }, ..meta.clone() };
            wanted += usize::from(*there != meta);
            *there = meta;
        }
        let new = Tree::new(entries).unwrap();
        let changes = tree.changes_to(&new);
        prop_assert_eq!((changes.removed.len(), changes.put.len(), changes.fresh.len()), (0, 0, 0));
        prop_assert_eq!(changes.touched.len(), wanted);
        let mut joined = Changes::default();
        changes.split(100).into_iter().for_each(|part| joined.append(Changes::decode(&part.encode()).unwrap()));
        prop_assert_eq!(tree.with(&joined), Ok(new));
    }

    #[test]
    fn the_order_of_the_entries_does_not_matter(
        (tree, shuffled) in any_tree().prop_flat_map(|t| (Just(t.clone()), Just(t.entries().to_vec()).prop_shuffle()))
    ) {
        let again = Tree::new(shuffled).unwrap();
        prop_assert_eq!(again.digest(), tree.digest());
        prop_assert_eq!(again, tree);
    }

    #[test]
    fn the_flat_space_holds_each_content_once(tree in any_tree()) {
        let contents = tree.contents();
        let distinct: BTreeSet<FileRef> = tree.files().map(|(_, file)| file).collect();
        prop_assert_eq!(contents.len(), distinct.len());
        prop_assert!(contents.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn noise_neither_decodes_nor_panics(bytes in vec(any::<u8>(), 0..64)) {
        if let Ok(tree) = Tree::decode(&bytes) {
            prop_assert_eq!(tree.encode(), bytes);
        }
    }

    #[test]
    fn a_bent_encoding_neither_panics_nor_reads_as_another(
        tree in any_tree(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = tree.encode();
        *at.get_mut(&mut bytes) = byte;
        if let Ok(other) = Tree::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
        }
    }
}
