//! Boot loaders made to follow the record: what is compared, and what is written in which order.
//!
//! Each function gives whether it changed anything. None writes what agrees already; that is flushed, though, since
//! a process that was killed may have written it without.

use crate::config::UBoot;
use crate::efi::{self, BOOT_NEXT, BOOT_ORDER};
use crate::error::Reason;
use crate::grub::{Block, Setting};
use crate::io;
use crate::systemd_boot::{Counter, SlotEntry};
use crate::uboot::{Copies, FLAGS_AT, Writes};
use crate::variables::{Names, Told, Wanted};
use siding_image::Component;
use siding_slot::Slot;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type Outcome = Result<bool, Reason>;

/// The most tries that the scripts in `contrib/` can count: GRUB cannot subtract, and U-Boot does so in base 16.
const SCRIPTS_COUNT_TO: u32 = 9;

/// Once Ok, the block survives a power cut; a cut before that leaves this component's variables old or new.
pub(crate) fn grub(file: &Path, names: &Names, wanted: Wanted) -> Outcome {
    let mut block = grub_block(file)?;
    let wanted = wanted.at_most(SCRIPTS_COUNT_TO).after(&Told::read(names, |name| block.get(name)));
    let values = names.with(wanted);
    let settings = values.each_ref().map(|(name, value, width)| Setting { name, value, width: *width });
    let steps = block.with(&settings).map_err(|problem| Reason::file(file, problem))?;
    if steps.is_empty() {
        return io::flush(file).map_err(Reason::io("flush", file)).map(|()| false);
    }
    for step in steps {
        io::overwrite(file, 0, block.as_bytes(), step.as_bytes()).map_err(Reason::io("write", file))?;
        block = step;
    }
    Ok(true)
}

pub(crate) fn grub_told(file: &Path, names: &Names) -> Option<Told> {
    let block = grub_block(file).ok()?;
    Some(Told::read(names, |name| block.get(name)))
}

fn grub_block(file: &Path) -> Result<Block, Reason> {
    let bytes = io::read(file).map_err(Reason::io("read", file))?;
    Block::parse(&bytes).map_err(|problem| Reason::file(file, problem))
}

/// Once Ok, the environment survives a power cut. With two copies a cut before that leaves the old one or the new.
pub(crate) fn uboot(places: &UBoot, names: &Names, wanted: Wanted) -> Outcome {
    let (bytes, copies) = uboot_copies(places)?;
    let environment = copies.environment();
    let wanted = wanted
        .at_most(SCRIPTS_COUNT_TO)
        .after(&Told::read(names, |name| environment.get(name).map(<[u8]>::to_owned)));
    let values = names.with(wanted);
    let new = values.iter().fold(environment.clone(), |new, (name, value, _)| new.with(name, value));
    if new == *environment {
        let each = places.copies.iter().map(|(file, _)| io::flush(file).map_err(Reason::io("flush", file)));
        return each.collect::<Result<Vec<()>, _>>().map(|_| false);
    }
    let place = |copy: usize| places.copies.get(copy).zip(bytes.get(copy));
    let Writes { copy, bytes: new, then } =
        copies.write(&new).map_err(|problem| uboot_reason(places, &problem))?;
    if let Some(((file, offset), old)) = place(copy) {
        io::overwrite(file, *offset, old, &new).map_err(Reason::io("write", file))?;
    }
    if let Some((copy, flags)) = then
        && let Some(((file, offset), old)) = place(copy)
    {
        let mut new = old.clone();
        new.iter_mut().skip(FLAGS_AT).take(1).for_each(|byte| *byte = flags);
        io::overwrite(file, *offset, old, &new).map_err(Reason::io("write", file))?;
    }
    Ok(true)
}

pub(crate) fn uboot_told(places: &UBoot, names: &Names) -> Option<Told> {
    let (_, copies) = uboot_copies(places).ok()?;
    Some(Told::read(names, |name| copies.environment().get(name).map(<[u8]>::to_owned)))
}

fn uboot_copies(places: &UBoot) -> Result<(Vec<Vec<u8>>, Copies), Reason> {
    let read = |(file, offset): &(PathBuf, u64)| {
        io::read_part(file, *offset, places.size).map_err(Reason::io("read the U-Boot environment in", file))
    };
    let bytes = places.copies.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let copies = Copies::parse(&bytes, places.scheme).map_err(|problem| uboot_reason(places, &problem))?;
    Ok((bytes, copies))
}

fn uboot_reason(places: &UBoot, problem: &crate::uboot::Problem) -> Reason {
    let file = places.copies.first().map_or(Path::new(""), |(file, _)| file);
    Reason::file(file, problem)
}

/// Once Ok, the names survive a power cut. A cut before that leaves the old slot next to be booted, or the new.
///
/// The way back is made good first, then the active slot's entry gets its turn, which makes it the next to be
/// booted; last, every other entry is made bad, so that it is no way back.
pub(crate) fn systemd_boot(directory: &Path, component: &Component, wanted: Wanted) -> Outcome {
    let entries = slot_entries(directory, component)?;
    let wanted = wanted.after(&told_by(&entries));
    let need = |slot: Slot| {
        let missing = || {
            let name = SlotEntry { slot, turn: None, counter: None }.file_name(component);
            Reason::file(directory, format!("there is no entry for slot {slot}; make one called {name}"))
        };
        find(&entries, slot).ok_or_else(missing)
    };
    let (back, active) = (wanted.back.map(need).transpose()?, need(wanted.active)?);
    let mut changed = false;
    let mut become_ = |(file, _): &(String, SlotEntry), entry: SlotEntry| -> Result<(), Reason> {
        let name = entry.file_name(component);
        if *file != name {
            io::rename(directory, file, &name).map_err(Reason::io("rename an entry in", directory))?;
            changed = true;
        }
        Ok(())
    };
    if let Some(back) = back.filter(|(_, entry)| entry.slot != wanted.active) {
        let turn = back.1.turn.filter(|turn| *turn < wanted.turn).or(Some(0));
        become_(back, SlotEntry { slot: back.1.slot, turn, counter: None })?;
    }
    let done =
        active.1.counter.filter(|_| active.1.turn == Some(wanted.turn)).map_or(0, |counter| counter.done);
    let counter = wanted.tries.map(|left| Counter { left, done });
    become_(active, SlotEntry { slot: wanted.active, turn: Some(wanted.turn), counter })?;
    let in_use = |slot: Slot| slot == wanted.active || Some(slot) == wanted.back;
    for other in entries.iter().filter(|(_, entry)| !in_use(entry.slot)) {
        let counter = Some(Counter { left: 0, done: 0 });
        become_(other, SlotEntry { slot: other.1.slot, turn: Some(0), counter })?;
    }
    Ok(changed)
}

pub(crate) fn systemd_boot_told(directory: &Path, component: &Component) -> Option<Told> {
    slot_entries(directory, component).ok().map(|entries| told_by(&entries))
}

/// The entry with the highest turn is the one that was switched to last.
fn told_by(entries: &[(String, SlotEntry)]) -> Told {
    let newest = entries.iter().map(|(_, entry)| entry).filter(|entry| entry.turn.is_some());
    let Some(newest) = newest.max_by_key(|entry| (entry.turn, !entry.is_bad())) else {
        return Told::default();
    };
    Told { slot: Some(newest.slot), tries: newest.counter.map(|counter| counter.left), turn: newest.turn }
}

fn slot_entries(directory: &Path, component: &Component) -> Result<Vec<(String, SlotEntry)>, Reason> {
    let mut names = io::list(directory).map_err(Reason::io("list", directory))?;
    names.sort();
    let entries =
        names.into_iter().filter_map(|name| SlotEntry::parse(component, &name).map(|entry| (name, entry)));
    let entries: Vec<_> = entries.collect();
    for (i, (name, entry)) in entries.iter().enumerate() {
        if let Some((twin, _)) = entries.iter().take(i).find(|(_, other)| other.slot == entry.slot) {
            let what = format!(
                "{twin} and {name} are both for slot {}; check the filesystem, then remove one",
                entry.slot
            );
            return Err(Reason::file(directory, what));
        }
    }
    Ok(entries)
}

fn find(entries: &[(String, SlotEntry)], slot: Slot) -> Option<&(String, SlotEntry)> {
    entries.iter().find(|(_, entry)| entry.slot == slot)
}

/// Once Ok, the firmware has it. A power cut before that leaves the old slot next, or the new.
///
/// On trial `BootOrder` begins with the way back and `BootNext` is the active slot, which the firmware forgets as
/// it boots it: what hangs is left by the next start. Otherwise the order begins with the active slot. The order
/// goes first; the turn, which says that all of it is there, goes last.
pub(crate) fn efi(variables: &Path, entries: &BTreeMap<Slot, u16>, names: &Names, wanted: Wanted) -> Outcome {
    let number = |slot: Slot| {
        let missing = || Reason::unfit(format!("no boot entry is given for slot {slot}; add `{slot} = 0x…`"));
        entries.get(&slot).copied().ok_or_else(missing)
    };
    let first = number(wanted.back.filter(|_| wanted.tries.is_some()).unwrap_or(wanted.active))?;
    let active = number(wanted.active)?;
    let order = numbers(variables, BOOT_ORDER)?.unwrap_or_default();
    let mut changed = false;
    if order.first() != Some(&first) {
        write_variable(variables, BOOT_ORDER, &efi::encode(&efi::with_first(&order, first)))?;
        changed = true;
    }
    let next = numbers(variables, BOOT_NEXT)?.and_then(|next| next.first().copied());
    let one_more = wanted.tries.is_some_and(|left| left > 0);
    if one_more && next != Some(active) {
        write_variable(variables, BOOT_NEXT, &efi::encode(&[active]))?;
        changed = true;
    } else if !one_more && next.is_some_and(|next| entries.values().any(|entry| *entry == next)) {
        let path = variables.join(BOOT_NEXT);
        io::remove(&path).map_err(Reason::io("remove", &path))?;
        changed = true;
    }
    if efi_told(variables, names).and_then(|told| told.turn) != Some(wanted.turn) {
        write_variable(variables, &efi::own(&names.turn), &efi::encode_turn(wanted.turn))?;
        changed = true;
    }
    Ok(changed)
}

/// Only the turn: the firmware counts no tries.
pub(crate) fn efi_told(variables: &Path, names: &Names) -> Option<Told> {
    let bytes = io::read(&variables.join(efi::own(&names.turn))).ok()?;
    Some(Told { turn: efi::parse_turn(&bytes).ok(), ..Told::default() })
}

fn numbers(variables: &Path, name: &str) -> Result<Option<Vec<u16>>, Reason> {
    let path = variables.join(name);
    let bytes = io::read_if_there(&path).map_err(Reason::io("read", &path))?;
    bytes.map(|bytes| efi::parse(&bytes)).transpose().map_err(|malformed| Reason::file(&path, malformed))
}

fn write_variable(variables: &Path, name: &str, bytes: &[u8]) -> Result<(), Reason> {
    let path = variables.join(name);
    io::write_variable(&path, bytes).map_err(Reason::io("write", &path))
}
