//! Publishing a release whose jobs are done.

use super::state::{State, target_path};
use super::{Error, Files, Job, Keys, Plan, work};
use crate::{Blob, Release, Standing};
use serde_json::json;
use siding_image::Digest;
use siding_patch::{Limits, Manifest, PrivateKey, Trust};
use std::collections::{BTreeSet, HashMap};
use tough::TargetName;
use tough::schema::{Hashes, Target};

/// What was published.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The release as it is now.
    pub release: Release,
    /// False if it was so before, and nothing was written.
    pub changed: bool,
    /// Whether there was a release of this name before.
    pub was_there: bool,
    /// How many files were signed, and how many bytes they have; others were signed before.
    pub signed: (usize, u64),
}

/// Signs what was made with each of `signers`, and publishes the release.
///
/// All jobs must be done, and what they made must be what the plan says; else nothing is changed. A release of this name
/// is changed: it keeps when it was published, its waves, and whether it is paused or withdrawn. Where nothing is new nothing is done.
/// Once this returned, it survives a power cut; a cut before leaves what was published before, and it can be run again.
pub fn commit(
    plan: &Plan<'_>,
    files: &dyn Files,
    keys: &Keys,
    signers: &[PrivateKey],
    now: u64,
) -> Result<Committed, Error> {
    let state = State::load(files, &keys.anchor()?)?;
    state.can_publish(keys)?;
    let old = state.releases(files)?.into_iter().find(|release| release.id == plan.id());
    let committing = Committing::new(plan, files, &state, signers)?;
    let (blobs, signed) = committing.blobs()?;
    let published = old.as_ref().map_or(now, |old| old.published);
    let standing = old.as_ref().map_or(Standing::Active, |old| old.standing.clone());
    let release = plan.release(published, &blobs, standing)?;
    // Who gave them others by hand braked for a reason, and a file that is committed again does not know.
    let waves = old.as_ref().map_or_else(|| release.waves.clone(), |old| old.waves.clone());
    let release = Release { waves, ..release };
    let changed = put(files, keys, &state, &release, &committing.targets(&blobs)?, now)?;
    Ok(Committed { release, changed, was_there: old.is_some(), signed })
}

/// Makes the repository say this of a release; false if it says so already.
///
/// What no release names any more is no target any more; its file stays, for readers that come from before.
pub(crate) fn put(
    files: &dyn Files,
    keys: &Keys,
    state: &State,
    release: &Release,
    blobs: &[(TargetName, Target)],
    now: u64,
) -> Result<bool, Error> {
    let bytes = release.to_json();
    let (name, target) = target(&release.target_name(), bytes.len() as u64, Digest::of(&bytes))?;
    let mut targets = state.targets.signed.targets.clone();
    targets.extend(blobs.iter().cloned());
    targets.insert(name.clone(), target.clone());
    let mut others = state.releases(files)?;
    others.retain(|other| other.id != release.id);
    let named: BTreeSet<&str> = others
        .iter()
        .chain([release])
        .flat_map(|release| release.items.iter().flat_map(crate::Item::blobs))
        .map(|blob| blob.name.as_str())
        .collect();
    targets.retain(|name, _| name.raw().starts_with("releases/") || named.contains(name.raw()));
    if targets == state.targets.signed.targets {
        return Ok(false);
    }
    files.create(&target_path(name.raw(), target.hashes.sha256.as_ref()), bytes)?;
    state.advance(files, &[&state.root.signed], keys, now, Some(targets), &[])?;
    Ok(true)
}

struct Committing<'a> {
    plan: &'a Plan<'a>,
    files: &'a dyn Files,
    state: &'a State,
    signers: &'a [PrivateKey],
    /// By what a target says who signed it.
    names: Vec<String>,
    keys: Vec<Digest>,
}

impl<'a> Committing<'a> {
    fn new(
        plan: &'a Plan<'a>,
        files: &'a dyn Files,
        state: &'a State,
        signers: &'a [PrivateKey],
    ) -> Result<Self, Error> {
        let mut names: Vec<String> = signers.iter().map(|key| key.public().id().to_string()).collect();
        names.sort();
        names.dedup();
        let keys = plan.jobs().iter().map(|job| plan.key(job)).collect::<Result<Vec<_>, Error>>()?;
        Ok(Self { plan, files, state, signers, names, keys })
    }

    /// Every job's file, signed and in place; and how many were signed now.
    fn blobs(&self) -> Result<(Vec<Blob>, (usize, u64)), Error> {
        let known = self.keys.iter().map(|key| self.known(key)).collect::<Result<Vec<_>, _>>()?;
        let mut missing = Vec::new();
        for ((job, key), known) in self.plan.jobs().iter().zip(&self.keys).zip(&known) {
            if known.is_none() && self.files.length(&work::name(key))?.is_none() {
                missing.push(job.clone());
            }
        }
        if !missing.is_empty() {
            return Err(Error::NotMade { jobs: missing, of: self.keys.len() });
        }
        let (mut blobs, mut signed) = (Vec::new(), (0, 0u64));
        for ((job, key), known) in self.plan.jobs().iter().zip(&self.keys).zip(known) {
            let blob = match known {
                Some(blob) => blob,
                None => {
                    let blob = self.publish(job, key)?;
                    signed = (signed.0 + 1, signed.1.saturating_add(blob.length));
                    blob
                }
            };
            blobs.push(blob);
        }
        Ok((blobs, signed))
    }

    /// The job's file, if it is a target already, signed by the same keys, and there.
    fn known(&self, key: &Digest) -> Result<Option<Blob>, Error> {
        let Some(blob) = self.named(key) else { return Ok(None) };
        let there = self.files.length(&target_path(&blob.name, &blob.sha256.0))?;
        Ok(Some(blob).filter(|blob| there == Some(blob.length)))
    }

    fn named(&self, key: &Digest) -> Option<Blob> {
        let name = TargetName::new(blob_name(key)).ok()?;
        let target = self.state.targets.signed.targets.get(&name)?;
        let same = target.custom.get(SIGNERS) == Some(&json!(self.names));
        let sha256 = Digest(target.hashes.sha256.as_ref().try_into().ok()?);
        same.then(|| Blob { name: blob_name(key), length: target.length, sha256 })
    }

    /// Checks what a worker made, signs it and puts it where readers will find it.
    fn publish(&self, job: &Job, key: &Digest) -> Result<Blob, Error> {
        let from = work::name(key);
        let mut bytes = self.files.get(&from)?.ok_or_else(|| Error::damaged(&from, "it has just gone"))?;
        check(&from, &bytes, &self.plan.manifest(job)?)?;
        for signer in self.signers {
            let mut signed = Vec::with_capacity(bytes.len() + 256);
            siding_patch::add_signature(&mut bytes.as_slice(), signer, &mut signed)
                .map_err(Error::patch(&from))?;
            bytes = signed;
        }
        let blob = Blob { name: blob_name(key), length: bytes.len() as u64, sha256: Digest::of(&bytes) };
        self.files.create(&target_path(&blob.name, &blob.sha256.0), bytes)?;
        Ok(blob)
    }

    fn targets(&self, blobs: &[Blob]) -> Result<Vec<(TargetName, Target)>, Error> {
        let target = |blob: &Blob| {
            let (name, mut target) = target(&blob.name, blob.length, blob.sha256)?;
            target.custom.insert(SIGNERS.to_owned(), json!(self.names));
            Ok((name, target))
        };
        blobs.iter().map(target).collect()
    }
}

/// Whose patch signatures a target carries, in its `custom` field.
const SIGNERS: &str = "siding-signers";

/// What a worker made is believed by its bytes alone: whole, of these images, and saying just what the plan says.
fn check(name: &str, bytes: &[u8], expected: &Manifest) -> Result<(), Error> {
    let opened = siding_patch::open(bytes, &Trust::anyone(), &Limits::default());
    let mut patch = opened.map_err(Error::patch(name))?;
    let said = Manifest { chunks: Vec::new(), ..patch.manifest().clone() };
    if said != *expected {
        return Err(Error::damaged(
            name,
            "it says something else than the plan; remove it and make it again",
        ));
    }
    while patch.next_chunk().map_err(Error::patch(name))?.is_some() {}
    Ok(())
}

fn blob_name(key: &Digest) -> String {
    format!("blobs/{key}.siding")
}

fn target(name: &str, length: u64, sha256: Digest) -> Result<(TargetName, Target), Error> {
    let bad = |e| Error::Asked(format!("{name:?} is no name of a target: {e}"));
    let hashes = Hashes { sha256: sha256.0.to_vec().into(), _extra: HashMap::new() };
    let target = Target { length, hashes, custom: HashMap::new(), _extra: HashMap::new() };
    Ok((TargetName::new(name).map_err(bad)?, target))
}
