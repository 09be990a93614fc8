//! Making a share of the jobs. A worker holds no keys: what it makes is unsigned, and believed by nobody yet.

use super::{Error, Files, Job, Plan};
use siding_image::Digest;

/// A job that is done.
#[derive(Clone, Debug)]
pub struct Made {
    /// The job.
    pub job: Job,
    /// Its name.
    pub key: Digest,
    /// The length of what was made.
    pub bytes: u64,
    /// Whether it was there already.
    pub was_there: bool,
}

/// Makes one job, unless that is done: puts `work/KEY.siding`, whole or not at all.
///
/// May be run again, killed, and run by several workers at once: the same job makes the same bytes. Once this returned,
/// what it made survives a power cut.
pub fn make(plan: &Plan<'_>, files: &dyn Files, job: &Job) -> Result<Made, Error> {
    let key = plan.key(job)?;
    let name = name(&key);
    let done = |bytes, was_there| Made { job: job.clone(), key, bytes, was_there };
    if let Some(bytes) = files.length(&name)? {
        return Ok(done(bytes, true));
    }
    let bytes = make_bytes(plan, job, &name)?;
    let length = bytes.len() as u64;
    if files.create(&name, bytes)? {
        return Ok(done(length, false));
    }
    match files.length(&name)? {
        Some(there) if there == length => Ok(done(length, true)),
        there => Err(Error::damaged(
            &name,
            format!(
                "{length} bytes were expected of {job}, got {}; remove the file and make it again",
                there.unwrap_or(0)
            ),
        )),
    }
}

fn make_bytes(plan: &Plan<'_>, job: &Job, name: &str) -> Result<Vec<u8>, Error> {
    let (source, target) = plan.images(job)?;
    let failed = |source| Error::Making { job: Box::new(job.clone()), source };
    let chunks = plan.maker.make(&source, &target, plan.level()).map_err(failed)?;
    let mut bytes = Vec::new();
    siding_patch::write(&plan.manifest(job)?, &chunks, &[], &mut bytes).map_err(Error::patch(name))?;
    Ok(bytes)
}

/// Where a job's result lies until it is signed.
pub(crate) fn name(key: &Digest) -> String {
    format!("work/{key}.siding")
}
