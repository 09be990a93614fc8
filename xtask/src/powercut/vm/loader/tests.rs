use super::super::world::Component;
use super::{Environment, Loader};

fn started(lines: &[&str]) -> Loader {
    let mut loader = Loader::default();
    lines.iter().for_each(|line| loader.start(line).unwrap());
    loader
}

fn on_trial(granted: u64, left: u64, turn: u64) -> Component {
    let (trial, granted) = (Some(left), Some(granted));
    Component { active: "b".into(), trial, granted, turn, ..Component::default() }
}

#[test]
fn the_block_and_the_printed_line_say_the_same() {
    let block = "# GRUB Environment Block|siding_rootfs_slot=b|\
                 siding_rootfs_back=a|siding_rootfs_tries=1|siding_rootfs_turn=7|####";
    let loader = started(&["\u{1b}[1;1HLOADER slot=b back=a tries=1 turn=7 boot=b"]);
    assert_eq!(loader.started, (Environment::of_block(block), "b".to_owned()));
}

#[test]
fn a_slot_that_the_variables_do_not_allow_is_found() {
    let mut loader = Loader::default();
    loader.start("LOADER slot= back= tries= turn= boot=base").unwrap();
    loader.start("LOADER slot=a back=b tries= turn=1 boot=a").unwrap();
    loader.start("LOADER slot=a back=b tries= turn=1 boot=b").unwrap_err();
    loader.start("LOADER slot=b back=a tries=1 turn=2 boot=a").unwrap_err();
}

#[test]
fn a_trial_that_is_started_too_often_is_found() {
    let lines = ["LOADER slot=b back=a tries=1 turn=7 boot=b", "LOADER slot=b back=a tries=0 turn=7 boot=b"];
    started(&lines).check_trial(&on_trial(2, 0, 7)).unwrap();
    started(&lines).check_trial(&on_trial(1, 0, 7)).unwrap_err();
}

#[test]
fn a_loader_may_give_up_once_the_tries_are_gone_and_be_stale_only_after_a_cut() {
    let loader = started(&["LOADER slot=b back=a tries=0 turn=7 boot=a"]);
    assert_eq!(loader.gave_up, 1);
    let (told, _) = loader.started.clone();
    loader.check(("a", Some(7)), &told, &on_trial(2, 1, 7), false).unwrap();
    loader.check(("b", Some(7)), &told, &on_trial(2, 1, 7), false).unwrap_err();
    loader.check(("a", None), &told, &on_trial(2, 1, 7), false).unwrap_err();

    let loader = started(&["LOADER slot=a back= tries= turn=6 boot=a"]);
    let (told, _) = loader.started.clone();
    loader.check(("a", Some(6)), &told, &on_trial(2, 2, 7), true).unwrap();
    loader.check(("a", Some(6)), &told, &on_trial(2, 2, 7), false).unwrap_err();
}
