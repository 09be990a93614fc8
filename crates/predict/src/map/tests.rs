use super::*;
use proptest::prelude::*;

/// What the documentation says, word for word.
fn naive(steps: &[(u64, i64)], address: u64) -> i64 {
    let mut shift = (0, 0);
    for step in steps {
        if step.0 <= address && step.0 >= shift.0 {
            shift = *step;
        }
    }
    shift.1
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn it_is_a_scan_of_its_steps(
        steps in prop::collection::vec((prop_oneof![0..300u64, 0..100_000u64, any::<u64>()], -9..9i64), 0..80),
        addresses in prop::collection::vec(prop_oneof![0..300u64, 0..100_000u64, any::<u64>()], 40),
    ) {
        let map = ShiftMap::new(steps.clone());
        let near = steps.iter().flat_map(|(at, _)| [at.saturating_sub(1), *at, at.saturating_add(1)]);
        for address in addresses.into_iter().chain(near).chain([0, u64::MAX]) {
            prop_assert_eq!(map.shift(address), naive(&steps, address), "{}", address);
        }
        prop_assert_eq!(ShiftMap::new(map.steps().to_vec()), map.clone());
        prop_assert!(map.index.len() <= 2 * map.steps.len() + 1, "{} {}", map.index.len(), map.steps.len());
    }
}

#[test]
fn steps_that_say_nothing_are_left_out() {
    let map = ShiftMap::new(vec![(5, 0), (30, 2), (10, 1), (20, 1), (30, 3)]);
    assert_eq!(map.steps(), [(10, 1), (30, 3)]);
    assert_eq!([9, 10, 29, 30, u64::MAX].map(|address| map.shift(address)), [0, 1, 1, 3, 3]);
    assert_eq!(ShiftMap::new(vec![(10, 0)]), ShiftMap::default());
    assert_eq!(ShiftMap::default().shift(7), 0);
}

#[test]
fn all_steps_but_one_in_one_bucket() {
    let mut steps: Vec<(u64, i64)> = (0..1000).map(|at| (at, at as i64 + 1)).collect();
    steps.push((u64::MAX, -1));
    let map = ShiftMap::new(steps);
    assert_eq!([0, 500, 999, 1000, u64::MAX].map(|at| map.shift(at)), [1, 501, 1000, 1000, -1]);
}
