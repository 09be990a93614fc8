//! The references of a whole text, and texts in which they are written by what they mean.

use rayon::prelude::*;
use siding_predict::{Base, Form, Model, PAGE, Place, Region, ShiftMap};
use std::ops::Range;

/// A reference at a place of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ref {
    /// Offset in the text.
    pub(crate) at: usize,
    pub(crate) target: u64,
    pub(crate) base: Base,
    pub(crate) form: Form,
    /// Whether it stands in machine code.
    pub(crate) code: bool,
}

/// A stretch of a text that lies in one region: where in the text, and where in the region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) text: usize,
    pub(crate) region: usize,
    pub(crate) within: usize,
    pub(crate) len: usize,
}

/// Finds the references in all `pieces`, in order. `bytes_of` delivers a region's bytes.
pub(crate) fn collect<'a>(
    model: &Model,
    pieces: &[Piece],
    bytes_of: impl Fn(&Region) -> Option<&'a [u8]> + Sync,
) -> Vec<Ref> {
    /// One task's share, in bytes.
    const SHARE: usize = 256 * PAGE;
    let shares: Vec<Piece> = pieces
        .iter()
        .flat_map(|piece| {
            (0..piece.len).step_by(SHARE).map(move |at| Piece {
                text: piece.text + at,
                within: piece.within + at,
                len: SHARE.min(piece.len - at),
                ..*piece
            })
        })
        .collect();
    let found: Vec<Vec<Ref>> = shares
        .par_iter()
        .map(|share| {
            let region = &model.regions()[share.region];
            let Some(bytes) = bytes_of(region) else { return Vec::new() };
            let place = Place {
                bytes,
                address: region.address,
                link: region.link,
                spans: model.spans_of(region.address),
            };
            let window = share.within..share.within + share.len;
            let mut refs: Vec<Ref> = Vec::new();
            region.kind.find(&place, window.clone(), &mut |page: Range<usize>, reference| {
                let at = reference.at;
                let whole =
                    page.contains(&at) && window.contains(&at) && at + reference.form.len() <= window.end;
                let text = share.text.wrapping_add(at.wrapping_sub(share.within));
                if whole && refs.last().is_none_or(|last| last.at + last.form.len() <= text) {
                    refs.push(Ref {
                        at: text,
                        target: reference.target,
                        base: reference.base,
                        form: reference.form,
                        code: region.kind.is_code(),
                    });
                }
            });
            refs
        })
        .collect();
    let mut refs: Vec<Ref> = Vec::with_capacity(found.iter().map(Vec::len).sum());
    for here in found {
        for reference in here {
            if refs.last().is_none_or(|last| last.at + last.form.len() <= reference.at) {
                refs.push(reference);
            }
        }
    }
    refs
}

/// How a field is rewritten for comparing texts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meaning<'a> {
    /// All that point anywhere look alike.
    Hidden,
    /// By the address they will point to once moved by the map.
    Moved(&'a ShiftMap),
    /// By the address they point to.
    Now,
}

/// A copy of `text` whose references, `refs`, are rewritten.
pub(crate) fn rewrite(text: &[u8], refs: &[Ref], meaning: Meaning<'_>) -> Vec<u8> {
    /// One task's share, in references.
    const SHARE: usize = 16 << 10;
    let mut out = text.to_vec();
    let mut rest = out.as_mut_slice();
    let mut shares = Vec::with_capacity(refs.len() / SHARE + 1);
    // References are in order and apart, so none reaches into the next one's share.
    for refs in refs.chunks(SHARE).rev() {
        let (before, share) = rest.split_at_mut(refs[0].at);
        shares.push((refs, share));
        rest = before;
    }
    shares.into_par_iter().for_each(|(refs, share)| {
        for reference in refs {
            let at = reference.at - refs[0].at;
            write(reference, meaning, &mut share[at..at + reference.form.len()]);
        }
    });
    out
}

fn write(reference: &Ref, meaning: Meaning<'_>, field: &mut [u8]) {
    let old = field_value(field);
    let new = match meaning {
        Meaning::Hidden => hidden(reference.form, old),
        Meaning::Now => absolute(reference, old, 0, 0),
        Meaning::Moved(map) => {
            let base = match reference.base {
                Base::Address(base) => map.shift(base),
                _ => 0,
            };
            absolute(reference, old, map.shift(reference.target), base)
        }
    };
    let len = field.len();
    field.copy_from_slice(&new.to_le_bytes()[..len]);
}

fn absolute(reference: &Ref, old: u64, target_moved: i64, base_moved: i64) -> u64 {
    let plain = siding_predict::Reference {
        at: 0,
        form: reference.form,
        target: reference.target,
        base: reference.base,
    };
    match reference.base {
        Base::Place => plain.absolute(old, target_moved),
        _ => plain.rewritten(old, 0, target_moved, base_moved),
    }
}

fn hidden(form: Form, old: u64) -> u64 {
    match form {
        Form::U32 | Form::Back32 | Form::U64 | Form::Number(_) => 0,
        Form::Branch26 => old & !0x03ff_ffff,
        Form::Adr | Form::Adrp => old & !0x60ff_ffe0,
        Form::Low12(_) => old & !0x003f_fc00,
        // Jumps within a function: they tell functions apart.
        Form::Branch19 | Form::Branch14 => old,
    }
}

fn field_value(field: &[u8]) -> u64 {
    field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
