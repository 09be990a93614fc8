//! What a checked patch's chunks say, read without carrying them out: for `verify` and `inspect`.

use crate::failure::Failure;
use siding_patch::{Stored, Stream};
use siding_predict::Model;

/// The model that a chunk of that kind holds.
pub(crate) fn model(chunk: &Stored) -> Result<Model, Failure> {
    let broken = |rule| siding_apply::Error::Instructions { chunk: chunk.index(), rule };
    let streams = chunk.decode(|_| Err(broken("a model refers to a history")))?;
    let [regions, addresses, shifts] =
        [Stream::Regions, Stream::StepAddresses, Stream::StepShifts].map(|stream| streams.get(stream));
    Ok(Model::decode(regions, addresses, shifts).map_err(broken)?)
}
