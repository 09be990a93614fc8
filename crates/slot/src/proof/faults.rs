//! Every operation of a story failing, in every way.
//!
//! The story is told again for each operation and each [`Fault`], with that one planned. Acts that fail are acts that were
//! not acknowledged; the story goes on with the next one, as a device would that tries again later. Then the machine
//! is checked twice: as it stands, by a process that comes after; and after a power cut.

use super::act::{self, Act};
use super::check::{Check, Depth};
use super::run::{Run, Wrap};
use crate::disk::Disk;
use crate::sim::{Effort, Fault, SimDisk};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::Path;

/// What can go wrong with an operation, once, or from then on for as long as the act takes.
const FAULTS: [Fault; 6] = [
    Fault::Fail(Errno::IO),
    Fault::Fail(Errno::NOSPC),
    Fault::ShortWrite(100, Errno::IO),
    Fault::ShortWrite(600, Errno::NOSPC),
    Fault::FlushFails,
    Fault::Cut { inside: true },
];

/// Fails each operation of a story in each of these ways, and checks what is left. Returns how many machines were
/// checked.
fn explore_faults(story: &[Act], wrap: &Wrap, faults: &[Fault]) -> Result<u64, String> {
    let whole = Run::of(story, wrap)?;
    let start = act::disk().operations();
    let end = whole.moments.last().map_or(start, |moment| moment.machine.operations());
    // A decisive moment is one before a flush.
    let flushes: BTreeSet<u64> = whole.moments.iter().map(|moment| moment.machine.operations() + 1).collect();
    let fits = |at: &u64, fault: &Fault| *fault != Fault::FlushFails || flushes.contains(at);
    let all = (start + 1..=end).flat_map(|at| faults.iter().map(move |fault| (at, *fault)));
    let mut states = 0;
    for (at, fault) in all.filter(|(at, fault)| fits(at, fault)) {
        let at_what = || format!("{fault:?} at operation {at}");
        states += one(story, wrap, at, fault).map_err(|why| format!("{}: {why}", at_what()))?;
    }
    Ok(states)
}

/// As [`explore_faults`], with flushes that fail.
pub(super) fn explore_flushes(story: &[Act], wrap: &Wrap) -> Result<u64, String> {
    explore_faults(story, wrap, &[Fault::FlushFails])
}

/// Lets one copy of the record rot, at every moment of a story and after a cut there. The other one may undo the last
/// change; but every component still has its base, whole, and what it says of its active slot is not without one.
pub(super) fn explore_rot(run: &Run<'_>) -> Result<u64, String> {
    let record = Path::new(act::ROOT).join("record");
    let mut states = 0;
    for moment in &run.moments {
        for choice in moment.machine.choices(Effort { all_of: 2, spread: 6, random: 2, torn: 0, seed: 1 }) {
            for copy in [0, crate::record::COPY as u64] {
                let machine = moment.machine.cut(&choice);
                // Of a store that has one copy, or none, nothing is said.
                let whole =
                    [0, crate::record::COPY as u64].iter().all(|copy| is_whole(&machine, &record, *copy));
                if !whole {
                    break;
                }
                machine.rot(&record, copy + 100, 1).map_err(|error| error.to_string())?;
                states += 1;
                let told = |why: String| {
                    let (when, act) = (moment.machine.operations(), moment.act);
                    format!(
                        "{why}\nwith byte 100 of the copy at {copy} rotten, {when} operations in, in {act:?}"
                    )
                };
                every_base_is_whole(run, &machine).map_err(told)?;
            }
        }
    }
    Ok(states)
}

fn is_whole(machine: &SimDisk, record: &Path, copy: u64) -> bool {
    let Ok(file) = machine.open(record, crate::disk::Access::Read) else { return false };
    let mut bytes = vec![0; 64 << 10];
    let written = |bytes: &[u8]| crate::record::rewritten(bytes, |payload| Some(payload.to_vec()));
    file.read_at(copy, &mut bytes).is_ok() && written(&bytes).is_some_and(|copy| bytes.starts_with(&copy))
}

fn every_base_is_whole(run: &Run<'_>, machine: &SimDisk) -> Result<(), String> {
    let store = crate::Store::open_on((run.wrap)(machine.same()), Path::new(act::ROOT));
    let store = store.map_err(|error| format!("it does not open: {error}"))?;
    for (component, _) in store.state().components().filter(|(_, held)| held.places.is_none()) {
        let image = store.image(component, crate::Slot::Base);
        let checked = image.and_then(|image| Ok(machine.check(&image)?));
        checked.map_err(|error| format!("the base of {component}: {error}"))?;
    }
    Ok(())
}

fn one(story: &[Act], wrap: &Wrap, at: u64, fault: Fault) -> Result<u64, String> {
    let machine = act::disk();
    machine.plan(at, fault);
    // What is refused, or fails, was not acknowledged.
    let run = Run::on(machine, story, wrap, |_, done| Ok(done.is_ok()))?;
    let run = Run { is_undisturbed: false, ..run };
    let moments = run.moments.iter().filter(|moment| moment.machine.operations() >= at);
    let mut states = 0;
    // The moment after the fault, and the end.
    let ends = moments.clone().take(1).chain(run.moments.last());
    for moment in ends {
        let check = Check { run: &run, moment };
        let as_it_stands = moment.machine.clone();
        if !as_it_stands.is_off() {
            states += 1;
            check.machine(&as_it_stands, Depth::LifeGoesOn).map_err(|why| format!("as it stands: {why}"))?;
        }
        for choice in moment.machine.choices(Effort { all_of: 2, spread: 2, random: 2, torn: 0, seed: at }) {
            states += 1;
            let told = |why: String| format!("after a cut: {why}\nwith\n{}", moment.machine.tell(&choice));
            check.machine(&moment.machine.cut(&choice), Depth::Here).map_err(told)?;
        }
    }
    Ok(states)
}

#[test]
fn any_operation_may_fail_in_any_way() {
    let mut states = 0;
    for (name, story) in act::stories() {
        let seen = explore_faults(&story, &super::run::plain, &FAULTS);
        states += seen.unwrap_or_else(|why| panic!("{name}: {why}"));
    }
    println!("{states} states after a fault");
    assert!(states > 10_000);
}

#[test]
fn one_copy_of_the_record_may_rot() {
    for (name, story) in act::stories() {
        let run = Run::of(&story, &super::run::plain).unwrap();
        let moment = run.moments.last().unwrap();
        // The copy that rots may be the newest: then the change before it is what is known.
        let before = super::run::Moment {
            machine: moment.machine.clone(),
            act: None,
            acknowledged: moment.acknowledged - 1,
            written: moment.written,
        };
        for copy in [0, crate::record::COPY as u64] {
            for offset in 0..1024 {
                let machine = moment.machine.clone();
                let record = std::path::Path::new(act::ROOT).join("record");
                machine.rot(&record, copy + offset, 1 << (offset % 8)).unwrap();
                let file = machine.open(&record, crate::disk::Access::Read).unwrap();
                file.forget_cache().unwrap();
                let says =
                    crate::Store::open_on(super::run::plain(machine.same()), std::path::Path::new(act::ROOT));
                let says = says.unwrap_or_else(|error| panic!("{name}: byte {offset} of {copy}: {error}"));
                let check = Check { run: &run, moment: &before };
                check
                    .says_what_it_may(&says)
                    .unwrap_or_else(|why| panic!("{name}: byte {offset} of {copy}: {why}"));
            }
        }
    }
}

#[test]
fn a_rotten_copy_of_the_record_costs_no_component_its_base() {
    let mut states = 0;
    for (name, story) in act::stories() {
        let run = Run::of(&story, &super::run::plain).unwrap();
        states += explore_rot(&run).unwrap_or_else(|why| panic!("{name}: {why}"));
    }
    println!("{states} states with a rotten copy");
    assert!(states > 1000);
}

#[test]
fn devices_never_take_the_place_of_a_base_that_the_record_has_lost() {
    let machine = act::disk();
    let disk = super::run::plain(machine.same());
    for act in [Act::Create, Act::Init("c", "1")] {
        act::perform(&disk, act).unwrap();
    }
    // The record that knows the component is the second one, in the second copy.
    let record = std::path::Path::new(act::ROOT).join("record");
    machine.rot(&record, crate::record::COPY as u64, 1).unwrap();
    let error = act::perform(&disk, Act::InitPlaces("c", "1")).unwrap_err();
    assert!(matches!(error, crate::Error::StrayBase { .. }), "{error}");
    act::perform(&disk, Act::Init("c", "1")).expect("the base is there still, and is taken back");
}
