//! The record's payload: a state, and the end of the log, as deterministic CBOR.
//!
//! `docs/design.md` ("The record") is the definition. Decoding accepts exactly what encoding gives, and only
//! states in which every component has its base or two places, and an active image.

use crate::log::{LogEntry, Numbered, Tail};
use crate::state::{
    ComponentState, Denied, Fallback, Held, Places, SealedImage, Slot, State, Trial, TrialTerms,
};
use minicbor::{Decoder, Encoder};
use siding_image::{Component, Digest, Identity, Kind, Version};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

/// Why a payload is not one.
pub(crate) type Bad = minicbor::decode::Error;

pub(crate) fn encode(state: &State, tail: &Tail) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    array(&mut out, 3);
    array(&mut out, state.components.len());
    state.components.iter().for_each(|(name, component)| encode_component(&mut out, name, component));
    number(&mut out, tail.after);
    array(&mut out, tail.entries.len());
    tail.entries.iter().for_each(|entry| encode_entry(&mut out, entry));
    out.into_writer()
}

pub(crate) fn decode(payload: &[u8]) -> Result<(State, Tail), Bad> {
    let mut input = Decoder::new(payload);
    fields(&mut input, 3)?;
    let components = list(&mut input, decode_component)?;
    let tail = Tail { after: input.u64()?, entries: list(&mut input, decode_entry)? };
    let state = State { components: BTreeMap::from_iter(components) };
    // Equal bytes exclude leftovers, other orders, duplicates and longer encodings, all at once.
    if encode(&state, &tail) != payload {
        return Err(Bad::message("the encoding is not canonical"));
    }
    state.components.values().try_for_each(check)?;
    Ok((state, tail))
}

/// What must be true of every component, whoever wrote the record.
fn check(component: &ComponentState) -> Result<(), Bad> {
    if component.image(Slot::Base).is_some() == component.places.is_some() {
        return Err(Bad::message("a component has neither a base nor two places, or both"));
    }
    if component.places.is_some() && component.generation != 0 {
        return Err(Bad::message("two places have had a base"));
    }
    if component.active_image().is_none() {
        return Err(Bad::message("an active slot holds no image"));
    }
    if component.active == Slot::Base && component.trial.is_some() {
        return Err(Bad::message("a base is on trial"));
    }
    if component.trial.is_some() && component.way_back().is_none() {
        return Err(Bad::message("a trial has no way back"));
    }
    if component.denied.len() > Denied::MOST {
        return Err(Bad::message("more denials than are ever kept"));
    }
    Ok(())
}

// ---- encoding

type Out = Encoder<Vec<u8>>;

/// Writing to a `Vec` cannot fail.
fn infallible<T>(result: Result<T, minicbor::encode::Error<std::convert::Infallible>>) {
    debug_assert!(result.is_ok());
}

fn array(out: &mut Out, len: usize) {
    infallible(out.array(len as u64));
}

fn text(out: &mut Out, text: &str) {
    infallible(out.str(text));
}

fn number(out: &mut Out, number: u64) {
    infallible(out.u64(number));
}

fn digest(out: &mut Out, digest: &Digest) {
    infallible(out.bytes(&digest.0));
}

fn texts(out: &mut Out, list: &[String]) {
    array(out, list.len());
    list.iter().for_each(|item| text(out, item));
}

fn optional<T>(out: &mut Out, value: Option<T>, encode: impl FnOnce(&mut Out, T)) {
    match value {
        Some(value) => encode(out, value),
        None => infallible(out.null()),
    }
}

fn encode_component(out: &mut Out, name: &Component, component: &ComponentState) {
    array(out, 13);
    text(out, name.as_str());
    Slot::ALL.into_iter().for_each(|slot| encode_held(out, component.held(slot)));
    text(out, component.active.name());
    optional(out, component.previous, |out, slot| text(out, slot.name()));
    optional(out, component.trial.as_ref(), encode_trial);
    number(out, component.floor);
    array(out, component.denied.len());
    component.denied.iter().for_each(|denied| encode_denied(out, denied));
    optional(out, component.last_rollback.as_ref(), encode_fallback);
    number(out, component.turn);
    optional(out, component.places.as_ref(), |out, places| {
        array(out, 2);
        for place in [&places.a, &places.b] {
            infallible(out.bytes(place.as_os_str().as_bytes()));
        }
    });
    number(out, component.generation);
}

fn encode_held(out: &mut Out, held: &Held) {
    let image = match held {
        Held::Empty => return number(out, EMPTY),
        Held::Staging => return number(out, STAGING),
        Held::Sealed(image) => image,
    };
    array(out, 8);
    text(out, &image.version.to_string());
    number(out, if image.identity.kind == Kind::File { FILE } else { TREE });
    number(out, image.identity.size);
    digest(out, &image.identity.digest);
    number(out, image.epoch);
    texts(out, &image.restart);
    texts(out, &image.advisories);
    number(out, image.installed_at);
}

fn encode_trial(out: &mut Out, trial: &Trial) {
    array(out, 5);
    number(out, trial.terms.tries.into());
    optional(out, trial.terms.deadline, number);
    number(out, trial.tries_left.into());
    number(out, trial.started);
    optional(out, trial.failed.as_deref(), text);
}

fn encode_denied(out: &mut Out, denied: &Denied) {
    array(out, 4);
    digest(out, &denied.digest);
    text(out, &denied.version.to_string());
    text(out, &denied.reason);
    number(out, denied.at);
}

fn encode_fallback(out: &mut Out, fallback: &Fallback) {
    array(out, 3);
    text(out, &fallback.version.to_string());
    text(out, &fallback.reason);
    number(out, fallback.at);
}

fn encode_entry(out: &mut Out, Numbered { sequence, entry }: &Numbered) {
    array(out, 8);
    number(out, *sequence);
    number(out, entry.at);
    text(out, entry.what.name());
    text(out, entry.component.as_str());
    optional(out, entry.from.as_ref(), |out, version| text(out, &version.to_string()));
    optional(out, entry.to.as_ref(), |out, version| text(out, &version.to_string()));
    optional(out, entry.slot, |out, slot| text(out, slot.name()));
    optional(out, entry.reason.as_deref(), text);
}

// ---- decoding

const EMPTY: u64 = 0;
const STAGING: u64 = 1;
const FILE: u64 = 0;
const TREE: u64 = 1;

type In<'b> = Decoder<'b>;

fn fields(input: &mut In<'_>, wanted: u64) -> Result<(), Bad> {
    if input.array()? == Some(wanted) { Ok(()) } else { Err(Bad::message("a list of another length")) }
}

/// Grown as items are read, never by the stated count: the input's own length bounds the memory.
fn list<'b, T>(input: &mut In<'b>, item: impl Fn(&mut In<'b>) -> Result<T, Bad>) -> Result<Vec<T>, Bad> {
    let count = input.array()?.ok_or_else(|| Bad::message("a list without a length"))?;
    (0..count).map(|_| item(input)).collect()
}

fn maybe<'b, T>(
    input: &mut In<'b>,
    item: impl FnOnce(&mut In<'b>) -> Result<T, Bad>,
) -> Result<Option<T>, Bad> {
    if input.datatype()? == minicbor::data::Type::Null {
        input.null()?;
        return Ok(None);
    }
    item(input).map(Some)
}

fn parsed<T: FromStr>(input: &mut In<'_>) -> Result<T, Bad> {
    input.str()?.parse().map_err(|_| Bad::message("a name that is not one"))
}

fn owned(input: &mut In<'_>) -> Result<String, Bad> {
    Ok(input.str()?.to_owned())
}

fn decode_digest(input: &mut In<'_>) -> Result<Digest, Bad> {
    Ok(Digest(input.bytes()?.try_into().map_err(|_| Bad::message("a digest is 32 bytes"))?))
}

fn decode_component(input: &mut In<'_>) -> Result<(Component, ComponentState), Bad> {
    fields(input, 13)?;
    let name = parsed(input)?;
    let state = ComponentState {
        base: decode_held(input)?,
        a: decode_held(input)?,
        b: decode_held(input)?,
        active: parsed(input)?,
        previous: maybe(input, parsed)?,
        trial: maybe(input, decode_trial)?,
        floor: input.u64()?,
        denied: list(input, decode_denied)?,
        last_rollback: maybe(input, decode_fallback)?,
        turn: input.u64()?,
        places: maybe(input, decode_places)?,
        generation: input.u64()?,
    };
    Ok((name, state))
}

fn decode_held(input: &mut In<'_>) -> Result<Held, Bad> {
    if input.datatype()? != minicbor::data::Type::Array {
        return match input.u64()? {
            EMPTY => Ok(Held::Empty),
            STAGING => Ok(Held::Staging),
            _ => Err(Bad::message("a slot of an unknown kind")),
        };
    }
    fields(input, 8)?;
    Ok(Held::Sealed(SealedImage {
        version: parsed::<Version>(input)?,
        identity: Identity {
            kind: match input.u64()? {
                FILE => Kind::File,
                TREE => Kind::Tree,
                _ => return Err(Bad::message("an image of an unknown kind")),
            },
            size: input.u64()?,
            digest: decode_digest(input)?,
        },
        epoch: input.u64()?,
        restart: list(input, owned)?,
        advisories: list(input, owned)?,
        installed_at: input.u64()?,
    }))
}

fn decode_trial(input: &mut In<'_>) -> Result<Trial, Bad> {
    fields(input, 5)?;
    let terms = TrialTerms { tries: input.u32()?, deadline: maybe(input, In::u64)? };
    Ok(Trial { terms, tries_left: input.u32()?, started: input.u64()?, failed: maybe(input, owned)? })
}

fn decode_places(input: &mut In<'_>) -> Result<Places, Bad> {
    fields(input, 2)?;
    let mut place = || Ok(PathBuf::from(OsStr::from_bytes(input.bytes()?)));
    Ok(Places { a: place()?, b: place()? })
}

fn decode_denied(input: &mut In<'_>) -> Result<Denied, Bad> {
    fields(input, 4)?;
    let digest = decode_digest(input)?;
    Ok(Denied { digest, version: parsed(input)?, reason: owned(input)?, at: input.u64()? })
}

fn decode_fallback(input: &mut In<'_>) -> Result<Fallback, Bad> {
    fields(input, 3)?;
    Ok(Fallback { version: parsed(input)?, reason: owned(input)?, at: input.u64()? })
}

fn decode_entry(input: &mut In<'_>) -> Result<Numbered, Bad> {
    fields(input, 8)?;
    let sequence = input.u64()?;
    let entry = LogEntry {
        at: input.u64()?,
        what: parsed(input)?,
        component: parsed(input)?,
        from: maybe(input, parsed)?,
        to: maybe(input, parsed)?,
        slot: maybe(input, parsed)?,
        reason: maybe(input, owned)?,
    };
    Ok(Numbered { sequence, entry })
}

#[cfg(test)]
mod tests;
