//! Boot loaders made to follow the record: what is compared, and what is written in which order.
//!
//! Each kind has a plan, which only reads, and is carried out by a function that gives whether it changed anything.
//! None writes what agrees already; that is flushed, though, since a process that was killed may have written it
//! without.

use crate::config::UBoot;
use crate::efi::{self, BOOT_NEXT, BOOT_ORDER};
use crate::error::Reason;
use crate::grub::{Block, Setting};
use crate::io;
use crate::systemd_boot::{Counter, SlotEntry};
use crate::uboot::{Copies, Environment, FLAGS_AT, Writes};
use crate::variables::{Names, Told, Wanted};
use siding_image::Component;
use siding_slot::Slot;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type Outcome = Result<bool, Reason>;

/// Nothing if it agrees, else what it says instead.
type Compared = Result<Option<Told>, Reason>;

/// The most tries that the scripts in `contrib/` can count: GRUB cannot subtract, and U-Boot does so in base 16.
const SCRIPTS_COUNT_TO: u32 = 9;

/// Once Ok, the block survives a power cut; a cut before that leaves this component's variables old or new.
pub(crate) fn grub(file: &Path, names: &Names, wanted: Wanted) -> Outcome {
    let (mut block, steps) = grub_plan(file, names, wanted)?;
    if steps.is_empty() {
        return io::flush(file).map_err(Reason::io("flush", file)).map(|()| false);
    }
    for step in steps {
        io::overwrite(file, 0, block.as_bytes(), step.as_bytes()).map_err(Reason::io("write", file))?;
        block = step;
    }
    Ok(true)
}

/// The block as it is, and those to write.
fn grub_plan(file: &Path, names: &Names, wanted: Wanted) -> Result<(Block, Vec<Block>), Reason> {
    let block = grub_block(file)?;
    let wanted = wanted.at_most(SCRIPTS_COUNT_TO).after(&Told::read(names, |name| block.get(name)));
    let values = names.with(wanted);
    let settings = values.each_ref().map(|(name, value, width)| Setting { name, value, width: *width });
    let steps = block.with(&settings).map_err(|problem| Reason::file(file, problem))?;
    Ok((block, steps))
}

pub(crate) fn grub_compared(file: &Path, names: &Names, wanted: Wanted) -> Compared {
    let (block, steps) = grub_plan(file, names, wanted)?;
    Ok((!steps.is_empty()).then(|| Told::read(names, |name| block.get(name))))
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
    let new = uboot_plan(&copies, names, wanted);
    if new == *copies.environment() {
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

/// The environment as it is to be.
fn uboot_plan(copies: &Copies, names: &Names, wanted: Wanted) -> Environment {
    let environment = copies.environment();
    let wanted = wanted.at_most(SCRIPTS_COUNT_TO).after(&uboot_says(copies, names));
    let values = names.with(wanted);
    values.iter().fold(environment.clone(), |new, (name, value, _)| new.with(name, value))
}

pub(crate) fn uboot_compared(places: &UBoot, names: &Names, wanted: Wanted) -> Compared {
    let (_, copies) = uboot_copies(places)?;
    let differs = uboot_plan(&copies, names, wanted) != *copies.environment();
    Ok(differs.then(|| uboot_says(&copies, names)))
}

pub(crate) fn uboot_told(places: &UBoot, names: &Names) -> Option<Told> {
    uboot_copies(places).ok().map(|(_, copies)| uboot_says(&copies, names))
}

fn uboot_says(copies: &Copies, names: &Names) -> Told {
    Told::read(names, |name| copies.environment().get(name).map(<[u8]>::to_owned))
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
pub(crate) fn systemd_boot(directory: &Path, component: &Component, wanted: Wanted) -> Outcome {
    let renames = systemd_boot_plan(&slot_entries(directory, component)?, directory, component, wanted)?;
    for (from, to) in &renames {
        io::rename(directory, from, to).map_err(Reason::io("rename an entry in", directory))?;
    }
    Ok(!renames.is_empty())
}

/// The way back is made good first, then the active slot's entry gets its turn, which makes it the next to be
/// booted; last, every other entry is made bad, so that it is no way back.
fn systemd_boot_plan(
    entries: &[(String, SlotEntry)],
    directory: &Path,
    component: &Component,
    wanted: Wanted,
) -> Result<Vec<(String, String)>, Reason> {
    let wanted = wanted.after(&told_by(entries));
    let need = |slot: Slot| {
        let missing = || {
            let name = SlotEntry { slot, turn: None, counter: None }.file_name(component);
            Reason::file(directory, format!("there is no entry for slot {slot}; make one called {name}"))
        };
        find(entries, slot).ok_or_else(missing)
    };
    let (back, active) = (wanted.back.map(need).transpose()?, need(wanted.active)?);
    let mut renames = Vec::new();
    let mut become_ = |(file, _): &(String, SlotEntry), entry: SlotEntry| {
        let name = entry.file_name(component);
        if *file != name {
            renames.push((file.clone(), name));
        }
    };
    if let Some(back) = back.filter(|(_, entry)| entry.slot != wanted.active) {
        let turn = back.1.turn.filter(|turn| *turn < wanted.turn).or(Some(0));
        become_(back, SlotEntry { slot: back.1.slot, turn, counter: None });
    }
    let done =
        active.1.counter.filter(|_| active.1.turn == Some(wanted.turn)).map_or(0, |counter| counter.done);
    let counter = wanted.tries.map(|left| Counter { left, done });
    become_(active, SlotEntry { slot: wanted.active, turn: Some(wanted.turn), counter });
    let in_use = |slot: Slot| slot == wanted.active || Some(slot) == wanted.back;
    for other in entries.iter().filter(|(_, entry)| !in_use(entry.slot)) {
        let counter = Some(Counter { left: 0, done: 0 });
        become_(other, SlotEntry { slot: other.1.slot, turn: Some(0), counter });
    }
    Ok(renames)
}

pub(crate) fn systemd_boot_compared(directory: &Path, component: &Component, wanted: Wanted) -> Compared {
    let entries = slot_entries(directory, component)?;
    let renames = systemd_boot_plan(&entries, directory, component, wanted)?;
    Ok((!renames.is_empty()).then(|| told_by(&entries)))
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
    let tries = newest.counter.map(|counter| counter.left);
    Told { slot: Some(newest.slot), tries, turn: newest.turn, ..Told::default() }
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
    let steps = efi_plan(variables, entries, names, wanted)?;
    for (name, value) in &steps {
        let path = variables.join(name);
        match value {
            Some(bytes) => io::write_variable(&path, bytes).map_err(Reason::io("write", &path))?,
            None => io::remove(&path).map_err(Reason::io("remove", &path))?,
        }
    }
    Ok(!steps.is_empty())
}

/// A variable with the bytes to write, or to be removed.
type Step = (String, Option<Vec<u8>>);

/// What to do to which variables, in this order.
fn efi_plan(
    variables: &Path,
    entries: &BTreeMap<Slot, u16>,
    names: &Names,
    wanted: Wanted,
) -> Result<Vec<Step>, Reason> {
    let number = |slot: Slot| {
        let missing = || Reason::unfit(format!("no boot entry is given for slot {slot}; add `{slot} = 0x…`"));
        entries.get(&slot).copied().ok_or_else(missing)
    };
    let first = number(wanted.back.filter(|_| wanted.tries.is_some()).unwrap_or(wanted.active))?;
    let active = number(wanted.active)?;
    let order = numbers(variables, BOOT_ORDER)?.unwrap_or_default();
    let mut steps = Vec::new();
    if order.first() != Some(&first) {
        steps.push((BOOT_ORDER.to_owned(), Some(efi::encode(&efi::with_first(&order, first)))));
    }
    let next = numbers(variables, BOOT_NEXT)?.and_then(|next| next.first().copied());
    let one_more = wanted.tries.is_some_and(|left| left > 0);
    if one_more && next != Some(active) {
        steps.push((BOOT_NEXT.to_owned(), Some(efi::encode(&[active]))));
    } else if !one_more && next.is_some_and(|next| entries.values().any(|entry| *entry == next)) {
        steps.push((BOOT_NEXT.to_owned(), None));
    }
    if efi_told(variables, names).and_then(|told| told.turn) != Some(wanted.turn) {
        steps.push((efi::own(&names.turn), Some(efi::encode_turn(wanted.turn))));
    }
    Ok(steps)
}

/// Says the slot that comes next by `BootNext` and `BootOrder`.
pub(crate) fn efi_compared(
    variables: &Path,
    entries: &BTreeMap<Slot, u16>,
    names: &Names,
    wanted: Wanted,
) -> Compared {
    if efi_plan(variables, entries, names, wanted)?.is_empty() {
        return Ok(None);
    }
    let first = |name: &str| Ok(numbers(variables, name)?.and_then(|numbers| numbers.first().copied()));
    let next: Option<u16> = match first(BOOT_NEXT)? {
        None => first(BOOT_ORDER)?,
        next => next,
    };
    let slot = entries.iter().find(|(_, entry)| Some(**entry) == next).map(|(slot, _)| *slot);
    Ok(Some(Told { slot, ..efi_told(variables, names).unwrap_or_default() }))
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
