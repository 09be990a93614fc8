//! Going on with what an interrupted apply left.
//!
//! A sink claims how far an earlier apply of the same patch had come. The claim is believed only as far as the bytes
//! bear it out: they are read back and hashed, and a checkpoint counts if they give its digest. So a note that a power
//! cut kept while it lost what the note speaks of does no harm.

use crate::Error;
use crate::core::TILE;
use crate::output::{Output, Position};
use siding_image::{Checkpoint, verity};
use siding_patch::{Layout, Manifest};

/// How much is read back at a time, in bytes: a whole number of digest blocks.
const PIECE: usize = 4 * TILE;

/// Finds the furthest checkpoint that is true, has the sink forget what comes after it, and puts `output` there.
/// Returns the number of chunks that are done.
pub(crate) fn resume(output: &mut Output<'_>, layout: &Layout, manifest: &Manifest) -> Result<u64, Error> {
    let mut claims = output.sink.checkpoints();
    if claims.is_empty() {
        return Ok(0);
    }
    claims.retain(|claim| is_border(claim, manifest));
    claims.sort_by_key(|claim| claim.chunks);
    let (mut at, mut best, mut done) = (output.at.clone(), output.at.clone(), 0);
    for claim in claims {
        // Whatever cannot be read back, or is not the content that was promised, is where belief ends.
        if read_back(output, &mut at, layout, claim.written).is_none() {
            break;
        }
        if at.digest() == claim.digest {
            (best, done) = (at.clone(), claim.chunks);
        }
    }
    if best.blob < layout.fresh().len() {
        let within = best.written.saturating_sub(best.blob_start);
        let failed = |source| Error::Sink { offset: best.written, source };
        output.sink.forget_from(best.blob, within).map_err(failed)?;
    }
    output.at = best;
    Ok(done)
}

/// Whether the patch has a border of chunks there.
fn is_border(claim: &Checkpoint, manifest: &Manifest) -> bool {
    let chunks = usize::try_from(claim.chunks).unwrap_or(usize::MAX);
    let done = manifest.chunks.get(..chunks);
    done.is_some_and(|done| done.iter().map(|chunk| chunk.target).sum::<u64>() == claim.written)
}

/// Goes on from `at` to `upto` of the flat space over what the sink has.
fn read_back(output: &mut Output<'_>, at: &mut Position, layout: &Layout, upto: u64) -> Option<()> {
    let mut bytes = Vec::new();
    while at.written < upto {
        let (blob, file) = layout.around(at.written)?;
        let room = file.end.min(upto).saturating_sub(at.written);
        bytes.resize(usize::try_from(room).unwrap_or(PIECE).min(PIECE), 0);
        output.sink.read_at(blob, at.written.saturating_sub(file.start), &mut bytes).ok()?;
        at.push(layout, bytes.len() as u64, &verity::leaves(&bytes)).ok()?;
    }
    Some(())
}
