//! What is published: shown, paused, gone on with, withdrawn, given other waves.

use super::commit::put;
use super::state::State;
use super::{Error, Files, Keys, Role};
use crate::Release;

/// A repository's releases and dates.
#[derive(Clone, Debug)]
pub struct Listed {
    /// All releases, by name.
    pub releases: Vec<Release>,
    /// The root's version.
    pub root: u64,
    /// Until when each role's metadata holds, in seconds since 1970.
    pub expires: Vec<(Role, u64)>,
}

/// Changes one release, and publishes it. Returns it as it is now, and whether that is different.
///
/// `alter` says in its error why it cannot be. Once this returned, the change survives a power cut; a cut before leaves
/// the release as it was.
pub fn change(
    files: &dyn Files,
    keys: &Keys,
    id: &str,
    alter: impl FnOnce(&mut Release) -> Result<(), String>,
    now: u64,
) -> Result<(Release, bool), Error> {
    let state = State::load(files, &keys.anchor()?)?;
    let found = state.releases(files)?.into_iter().find(|release| release.id == id);
    let mut release = found.ok_or_else(|| Error::NoRelease { id: id.to_owned() })?;
    alter(&mut release).map_err(Error::Asked)?;
    let release = Release::parse(&release.to_json())?;
    let changed = put(files, keys, &state, &release, &[], now)?;
    Ok((release, changed))
}

/// What is published, checked from the root `anchor` on. Needs no private keys.
pub fn list(files: &dyn Files, anchor: &[u8]) -> Result<Listed, Error> {
    let state = State::load(files, anchor)?;
    Ok(Listed {
        releases: state.releases(files)?,
        root: state.root.signed.version.get(),
        expires: Role::ALL.into_iter().map(|role| (role, state.expires(role))).collect(),
    })
}
