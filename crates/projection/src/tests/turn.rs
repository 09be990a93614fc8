//! The turn on the kernel's command line: a start of the device is judged once, however often `boot` is called in it.

use super::*;
use proptest::prelude::*;

impl Device {
    /// A start of the device: the loader acts, then `boot` is called so many times, with the loader's turn on the
    /// command line. Gives what it started.
    fn start<L: Loader>(&mut self, projections: &Projections, id: u32, calls: usize) -> Slot {
        let (slot, turn) = (L::start(self), projections.told_turn(&name()).expect("a turn"));
        let cmdline = format!("ro siding.root_fs={slot}:{turn}");
        let start = Start::of(&self.file("store"), &self.file("run"), id.to_le_bytes().to_vec());
        for _ in 0..calls {
            if !start.is_counted(self.store.state(), &cmdline) {
                let seen = projections.seen(self.store.state(), &cmdline);
                self.store.boot_with(&seen, NOW).expect("a boot");
                start.note(self.store.state(), &cmdline).expect("a note");
            }
            projections.apply(&self.store).expect("projections");
        }
        slot
    }
}

/// Without any note, as where `/run` cannot be written: what the loader says is enough for the second call.
fn a_second_call_in_a_start<L: Loader>() {
    let mut device = Device::new();
    let projections = device.projections(&[L::KIND]);
    projections.apply(&device.store).expect("projections");
    device.switch(b"new", "1 (a)", 3);
    assert_eq!(L::start(&device), Slot::Base);
    device.boot(&projections, "siding.root_fs=base:0");
    assert_eq!(projections.told_turn(&name()), Some(1));
    device.boot(&projections, "siding.root_fs=base:0");
    assert_eq!((device.held().active, device.held().denied.len()), (Slot::A, 0));
    assert_eq!(device.held().trial.as_ref().map(|trial| trial.tries_left), Some(1));
    assert_eq!(L::start(&device), Slot::A);
}

#[test]
fn a_second_call_in_a_start_that_had_not_heard_of_a_switch_ends_no_trial() {
    a_second_call_in_a_start::<Grub>();
    a_second_call_in_a_start::<UBoot>();
}

#[test]
fn a_trial_of_one_try_outlives_any_calls_in_a_start_before_it_runs() {
    let mut device = Device::new();
    let projections = device.projections(&["grub"]);
    projections.apply(&device.store).expect("projections");
    device.switch(b"new", "1 (a)", 1);
    assert_eq!(device.start::<Grub>(&projections, 1, 9), Slot::Base);
    assert_eq!((device.held().active, device.held().denied.len()), (Slot::A, 0));
    assert_eq!(device.held().trial.as_ref().map(|trial| trial.tries_left), Some(0));
}

#[test]
fn what_the_variables_say_of_tries_counts_for_their_own_turn_alone() {
    let mut device = Device::new();
    let projections = device.projections(&["grub"]);
    device.switch(b"new", "1 (a)", 3);
    projections.apply(&device.store).expect("projections");
    let seen = |cmdline: &str| projections.seen(device.store.state(), cmdline).remove(&name());
    let booted = |tries_left, turn| Some(Booted { slot: Some(Slot::A), tries_left, turn });
    assert_eq!(seen("siding.root-fs=a"), booted(Some(3), Some(1)));
    assert_eq!(seen("siding.root-fs=a:1"), booted(Some(3), Some(1)));
    assert_eq!(seen("siding.root-fs=a:0"), booted(None, Some(0)));
    assert_eq!(seen("siding.root-fs=a:x").map(|seen| seen.slot), Some(None));
    // A loader whose variables cannot be read has said its turn all the same.
    std::fs::remove_file(device.file("grubenv")).expect("a file");
    let seen = projections.seen(device.store.state(), "siding.root-fs=base:1").remove(&name());
    assert_eq!(seen, Some(Booted { slot: Some(Slot::Base), tries_left: None, turn: Some(1) }));
}

#[derive(Clone, Copy, Debug)]
enum Act {
    /// A switch on trial; if it is cut, the power goes before the loader is told.
    Switch {
        tries: u32,
        cut: bool,
    },
    Confirm,
    Rollback,
    /// A start of the device with so many calls of `boot`.
    Start {
        calls: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (1..4_u32, any::<bool>()).prop_map(|(tries, cut)| Act::Switch { tries, cut }),
        1 => Just(Act::Confirm),
        1 => Just(Act::Rollback),
        6 => (1..6_usize).prop_map(|calls| Act::Start { calls }),
    ]
}

/// What a device went through: after each act, what its loader started and where the component stands.
fn history<L: Loader>(acts: &[Act], one_call_a_start: bool) -> Vec<(Option<Slot>, ComponentState)> {
    let mut device = Device::new();
    let projections = device.projections(&[L::KIND]);
    projections.apply(&device.store).expect("projections");
    let mut history = Vec::new();
    for (i, act) in acts.iter().enumerate() {
        let (on_trial, mut told, mut started) = (device.held().trial.is_some(), true, None);
        match *act {
            Act::Switch { tries, cut } if !on_trial => {
                let letter = char::from(b'a' + u8::try_from(i).expect("few acts"));
                device.switch(format!("image {i}").as_bytes(), &format!("1 ({letter})"), tries);
                told = !cut;
            }
            Act::Confirm if on_trial => drop(device.store.confirm(&[name()], NOW).expect("a confirm")),
            Act::Rollback if on_trial => {
                drop(device.store.rollback(&[name()], "a story", NOW).expect("a rollback"));
            }
            Act::Start { calls } => {
                let calls = if one_call_a_start { 1 } else { calls };
                let id = u32::try_from(i).expect("few acts");
                started = Some(device.start::<L>(&projections, id, calls));
            }
            _ => {}
        }
        if told {
            projections.apply(&device.store).expect("projections");
        }
        history.push((started, device.held().clone()));
    }
    history
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn further_calls_in_a_start_change_nothing(acts in prop::collection::vec(act(), 1..14)) {
        prop_assert_eq!(history::<Grub>(&acts, false), history::<Grub>(&acts, true));
        prop_assert_eq!(history::<UBoot>(&acts, false), history::<UBoot>(&acts, true));
    }
}
