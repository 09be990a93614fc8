//! One fault each: a bad sector, a full disk, a crowded record.

use super::*;

fn on(yard: &Yard, rule: Rule) -> Result<Store> {
    Store::open_on(Arc::new(Failing::new(rule)), &yard.root())
}

#[test]
fn one_copy_of_the_record_that_cannot_be_read_does_not_lock_the_store() {
    for bad in [0, record::COPY as u64] {
        let yard = Yard::new();
        drop(yard.store());
        let path = yard.root().join("record");
        let rule = Rule::Reads(path.clone(), bad);
        // The newest copy is gone, or the one before it: the other is the truth, and life goes on from there.
        let mut store = on(&yard, rule).unwrap();
        if store.state().get(&name("c")).is_none() {
            store.init(&name("c"), &version("1"), 1, &yard.at("old"), NOW).unwrap();
        }
        drop(store);
        check_store(&yard, &format!("copy at {bad}"));
    }
}

#[test]
fn a_record_of_which_nothing_can_be_read_gives_the_error_of_the_medium() {
    let yard = Yard::new();
    drop(yard.store());
    let path = yard.root().join("record");
    let mut bytes = fs::read(&path).unwrap();
    bytes[..100].fill(0);
    fs::write(&path, bytes).unwrap();
    let error = on(&yard, Rule::Reads(path, record::COPY as u64)).unwrap_err();
    assert_eq!(error.kind(), Kind::Io, "{error}");
}
