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
/// Returns the number of chunks that are done; of the next one a part may be.
pub(crate) fn resume(output: &mut Output<'_>, layout: &Layout, manifest: &Manifest) -> Result<u64, Error> {
    let mut claims = output.sink.checkpoints();
    if claims.is_empty() {
        return Ok(0);
    }
    claims.retain(|claim| is_border(claim, manifest, layout));
    claims.sort_by_key(|claim| (claim.chunks, claim.written));
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

/// Whether the patch has a border of chunks there, or the chunk that is under way a border of tiles.
fn is_border(claim: &Checkpoint, manifest: &Manifest, layout: &Layout) -> bool {
    let chunks = usize::try_from(claim.chunks).unwrap_or(usize::MAX);
    let Some(done) = manifest.chunks.get(..chunks) else { return false };
    let start = done.iter().fold(0u64, |sum, chunk| sum.saturating_add(chunk.target));
    let Some(within) = claim.written.checked_sub(start) else { return false };
    let tile = || {
        let (_, file) = layout.around(claim.written)?;
        Some(claim.written.saturating_sub(file.start).is_multiple_of(TILE as u64))
    };
    within == 0 || manifest.chunks.get(chunks).is_some_and(|now| within < now.target) && tile() == Some(true)
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
