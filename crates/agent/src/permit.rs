//! May this patch be installed on this device now? Decides; does not write to disk.

use crate::{Error, Request};
use siding_patch::Manifest;
use siding_slot::{ComponentState, Slot, State};

/// Checks a manifest against the device: component, product, date, security epoch, version of siding.
///
/// Whether a slot holds its source, and whether its target is denied, is asked later, by what needs the answer.
pub fn permit<'a>(
    manifest: &Manifest,
    state: &'a State,
    request: &Request,
) -> Result<&'a ComponentState, Error> {
    let no_component = || Error::NoComponent { component: manifest.component.clone() };
    let component = state.get(&manifest.component).ok_or_else(no_component)?;
    let product_fits = request.product.as_ref().is_some_and(|product| manifest.products.contains(product));
    if !manifest.products.is_empty() && !product_fits {
        return Err(Error::WrongProduct {
            expected: manifest.products.clone(),
            got: request.product.clone(),
        });
    }
    if let Some(at) = manifest.expires.filter(|at| *at <= request.now) {
        return Err(Error::Expired { at, now: request.now });
    }
    if manifest.epoch < component.floor {
        return Err(Error::OldEpoch { got: manifest.epoch, floor: component.floor });
    }
    if let Some(needed) = manifest.minimum.filter(|needed| *needed > own_version()) {
        return Err(Error::TooOldSiding { needed });
    }
    Ok(component)
}

/// What the slots hold, in a sentence.
pub(crate) fn held(component: &ComponentState) -> String {
    let each = Slot::ALL.into_iter().filter_map(|slot| {
        let image = component.image(slot)?;
        Some(format!("{} in {slot}", image.name()))
    });
    each.collect::<Vec<_>>().join(", ")
}

fn own_version() -> [u64; 3] {
    let mut parts = env!("CARGO_PKG_VERSION").split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}
