//! An image is mounted, and what is in it must be what the story had.

use super::super::device::{Device, Status};
use super::super::tale::{self, Held, Line, State};
use super::super::workshop::Workshop;
use super::cuts::Cut;
use super::record::{Recorded, STORY};
use crate::Result;
use std::path::{Path, PathBuf};

/// Checks one image after the other.
pub(super) struct Checker<'a> {
    pub(super) shop: &'a Workshop,
    pub(super) recorded: &'a Recorded,
    pub(super) mountpoint: PathBuf,
}

/// Where the store stood.
pub(super) struct Found {
    /// How many verbs had returned.
    pub(super) acknowledged: usize,
    /// Whether it had lines of the next verb.
    pub(super) ahead: bool,
}

impl Checker<'_> {
    /// Mounts the image, lets the device boot, and installs something.
    pub(super) fn check(&self, cut: &Cut, image: &Path) -> Result<Found> {
        let mount = self.recorded.filesystem.mount(image, &self.mountpoint)?;
        let device = Device { shop: self.shop, store: mount.path().join("store") };
        let acknowledged = self.recorded.acknowledged(cut.sent);
        let told = acknowledged
            .checked_sub(1)
            .and_then(|last| self.recorded.marks.get(last))
            .map_or(0, |mark| mark.1);
        let ahead = self.check_store(&device, acknowledged, told)?;
        Ok(Found { acknowledged, ahead })
    }

    fn check_store(&self, device: &Device<'_>, acknowledged: usize, told: usize) -> Result<bool> {
        let next = self.recorded.marks.get(acknowledged).map_or(told, |mark| mark.1);
        let Some(seen) = device.status()? else {
            if acknowledged > 0 {
                return Err("there is no store any more".to_owned());
            }
            device.ok("init engine")?;
            return self.check_standing(device).map(|_| false);
        };
        let legal = self.recorded.borders.iter().copied().filter(|lines| (told..=next).contains(lines));
        let possible: Vec<usize> =
            legal.filter(|&lines| self.state(lines).as_ref() == Ok(&seen.state)).collect();
        if possible.is_empty() {
            let wanted = format!("none between {told} and {next} lines of the story");
            return Err(format!("the state is {wanted}: {:?}", seen.state));
        }
        device.images_are_right(&seen.state)?;

        device.ok("boot")?;
        let (status, lines) = self.check_standing(device)?;
        let fits = |&told: &usize| self.is_after_boot(&lines, told, &seen.state);
        let Some(lines) = possible.iter().copied().find(fits) else {
            return Err(format!("the log is not {possible:?} lines of the story and a boot: {lines:?}"));
        };
        self.go_on(device, status, acknowledged)?;
        Ok(lines > told)
    }

    fn state(&self, lines: usize) -> Result<State> {
        tale::replay(self.recorded.tale.get(..lines).unwrap_or_default())
    }

    /// What must be so after every opening for writing; gives what the store says.
    fn check_standing(&self, device: &Device<'_>) -> Result<(Status, Vec<Line>)> {
        let status = device.status()?.ok_or("there is no store")?;
        let (lines, damaged) = device.log()?;
        if damaged > 0 {
            return Err(format!("{damaged} lines of the log are damaged"));
        }
        let replayed = tale::replay(&lines)?;
        if replayed != status.state {
            return Err(format!("the log says {replayed:?}, the status {:?}", status.state));
        }
        device.images_are_right(&status.state)?;
        device.current_is_right(&status)?;
        Ok((status, lines))
    }

    /// Whether these are so many lines of the story, then what one boot does from there.
    fn is_after_boot(&self, lines: &[Line], told: usize, before: &State) -> bool {
        let (story, boot) = lines.split_at(told.min(lines.len()));
        let tries = |line: &&Line| line.event == "try" || line.event == "fall-back";
        let once = |name: &str| boot.iter().filter(tries).filter(|line| line.component == name).count();
        let on_trial = |name: &String| before.get(name).is_some_and(|one| one.tries.is_some());
        self.recorded.tale.get(..told) == Some(story)
            && boot.iter().all(|line| tries(&line) || line.event == "abandon")
            && before.keys().all(|name| once(name) == usize::from(on_trial(name)))
    }

    /// The device goes on: what is on trial is confirmed, and the patch that came is installed, or another.
    fn go_on(&self, device: &Device<'_>, status: Status, acknowledged: usize) -> Result<()> {
        if status.state.values().any(|one| one.tries.is_some()) {
            device.ok("confirm")?;
        }
        if !status.state.contains_key("engine") {
            device.ok("init engine")?;
        }
        let interrupted = STORY.get(acknowledged).and_then(|line| line.strip_prefix("install "));
        let wanted =
            interrupted.and_then(|rest| rest.split(' ').next()).filter(|patch| fresh(&status, patch));
        let patch = wanted.unwrap_or("engine-d");
        device.ok(&format!("install {patch}"))?;
        let (status, _) =
            self.check_standing(device).map_err(|why| format!("after {patch} was installed: {why}"))?;
        match fresh(&status, patch) {
            true => Err(format!("{patch} was installed and is in no slot: {:?}", status.state)),
            false => Ok(()),
        }
    }
}

/// Whether no slot holds what the patch makes; a denied image is refused, and here always lies in a slot.
fn fresh(status: &Status, patch: &str) -> bool {
    let Some((name, letter)) = patch.split_once('-') else { return false };
    let image = Held::Sealed(format!("1.0 ({letter})"));
    status.state.get(name).is_some_and(|one| one.slots.values().all(|held| *held != image))
}
