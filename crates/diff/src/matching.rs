//! Cover, predict, cover again.

use crate::binary::Binary;
use crate::cover::{self, Anchor, Cover};
use crate::fit::{MISS, Vote, fit, votes};
use crate::parse::{Copied, Prices};
use crate::refs::{Meaning, Piece, Ref, collect, rewrite};
use crate::text::{Fresh, Text};
use crate::{Error, Level, Progress, Step};
use rayon::prelude::*;
use siding_image::Image;
use siding_patch::Layout;
use siding_predict::{Model, Region, Segment, ShiftMap};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// What matching found out.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) covers: Vec<Cover>,
    pub(crate) model: Model,
}

/// How often to cover again once there is a map. The first finds tables of addresses of code, the second those
/// of addresses in such tables; a third gained less than 0.2 % on all pairs it was tried on.
const ROUNDS: usize = 2;

/// One side of the comparison: its bytes, its addresses and its references.
struct Side<'a> {
    bytes: &'a [u8],
    refs: Vec<Ref>,
}

/// Finds covers of `new`, in order and apart, and the model under which they differ least.
pub(crate) fn find(
    old: &Image,
    text: &Text<'_>,
    new: &Image,
    fresh: &Fresh<'_>,
    layout: &Layout,
    level: Level,
    progress: Progress<'_>,
) -> Result<Found, Error> {
    let new_model = new_model(new, layout)?;
    let model = old_model(old, new_model.segments().to_vec())?;
    let (from, to) = (
        Side { bytes: text.bytes(), refs: old_refs(old, text, &model)? },
        Side { bytes: &fresh.bytes, refs: new_refs(fresh, &new_model) },
    );
    let programs = !from.refs.is_empty() && !to.refs.is_empty();
    let (total, rounds) = (fresh.bytes.len() as u64, if programs { 1 + ROUNDS as u64 } else { 1 });
    let done = AtomicU64::new(0);
    let tick = |len: usize| {
        let before = done.fetch_add(len as u64, Ordering::Relaxed);
        progress(Step::Match, (before + len as u64) / rounds, total);
    };
    progress(Step::Index, from.bytes.len() as u64, from.bytes.len() as u64);
    let pieces = cover::pieces(fresh.bytes.len(), &fresh.zeros);
    let search = Search { from, to, text, pieces, level, tick: &tick };
    let (copies, map) = match programs {
        true => search.by_meaning(&model, &new_model)?,
        false => (search.plain()?, ShiftMap::default()),
    };
    progress(Step::Match, total, total);
    // Without steps nothing travels, so the device predicts nothing, and neither may the maker.
    let model = if map.steps().is_empty() { Model::default() } else { model.with_map(map) };
    Ok(Found { covers: cover::covers(text, &copies, &fresh.zeros), model })
}

/// Two sides and how to compare them.
struct Search<'a> {
    from: Side<'a>,
    to: Side<'a>,
    text: &'a Text<'a>,
    pieces: Vec<Range<usize>>,
    level: Level,
    /// Told how many bytes of new have been looked at.
    tick: &'a (dyn Fn(usize) + Sync),
}

impl Search<'_> {
    /// For what holds no references.
    fn plain(&self) -> Result<Vec<Copied>, Error> {
        let (old, new) = (self.from.bytes, self.to.bytes);
        let anchors = cover::anchors(old, new, &self.pieces, self.level, self.tick)?;
        Ok(cover::choose(old, new, &self.pieces, &anchors, Prices::FINAL))
    }

    /// Comparing what references mean: first not at all, then by where they will point to.
    fn by_meaning(&self, model: &Model, new_model: &Model) -> Result<(Vec<Copied>, ShiftMap), Error> {
        let (mut known, copies) = self.hidden(new_model)?;
        let in_code = votes_of(&copies, &self.from, &self.to, |reference| reference.code);
        let (mut map, now) = rayon::join(
            || fit(self.with_covers(in_code, &copies, model)),
            || rewrite(self.to.bytes, &self.to.refs, Meaning::Now),
        );
        for round in 1..=ROUNDS {
            let moved = rewrite(self.from.bytes, &self.from.refs, Meaning::Moved(&map));
            let found = cover::anchors(&moved, &now, &self.pieces, self.level, self.tick)?;
            known.iter_mut().zip(found).for_each(|(known, found)| known.extend(found));
            let copies = cover::choose(&moved, &now, &self.pieces, &known, Prices::SEARCH);
            let votes = votes_of(&copies, &self.from, &self.to, |_| true);
            map = if round < ROUNDS { fit(self.with_covers(votes, &copies, model)) } else { fit(votes) };
        }
        let moved = rewrite(self.from.bytes, &self.from.refs, Meaning::Moved(&map));
        let copies = cover::choose(&moved, &now, &self.pieces, &known, Prices::FINAL);
        let map = fit(votes_of(&copies, &self.from, &self.to, |_| true));
        Ok((copies, map))
    }

    /// Anchors by piece, and copies, where all references look alike. They stay: an alignment that a later map
    /// speaks against may still be the best there is.
    fn hidden(&self, new_model: &Model) -> Result<(Vec<Vec<Anchor>>, Vec<Copied>), Error> {
        // Tables say nothing before their addresses are predicted.
        let range = |region: &Region| region.start as usize..(region.start + region.len) as usize;
        let tables = new_model.regions().iter().filter(|region| region.kind.is_table()).map(range);
        let tables: Vec<Range<usize>> = tables.collect();
        let pieces: Vec<Range<usize>> =
            self.pieces.iter().flat_map(|piece| outside(piece, &tables)).collect();
        let (old, new) = rayon::join(
            || rewrite(self.from.bytes, &self.from.refs, Meaning::Hidden),
            || rewrite(self.to.bytes, &self.to.refs, Meaning::Hidden),
        );
        let anchors = cover::anchors(&old, &new, &pieces, self.level, self.tick)?;
        let copies = cover::choose(&old, &new, &pieces, &anchors, Prices::SEARCH);
        let mut known: Vec<Vec<Anchor>> = vec![Vec::new(); self.pieces.len()];
        for anchor in anchors.into_iter().flatten() {
            known[self.pieces.partition_point(|piece| piece.end <= anchor.new)].push(anchor);
        }
        Ok((known, copies))
    }

    /// For addresses no reference names, what the covers say.
    fn with_covers(&self, mut votes: Vec<Vote>, copies: &[Copied], model: &Model) -> Vec<Vote> {
        /// Shorter copies are too often chance.
        const LEAST: usize = 32;
        /// A copy is a witness every so many bytes, and at its end.
        const EVERY: usize = 64;
        for copy in copies.iter().filter(|copy| copy.len >= LEAST) {
            let steps = (0..copy.len - 1).step_by(EVERY).chain(std::iter::once(copy.len - 1));
            for step in steps {
                let (flat, _) = self.text.flat(copy.old + step);
                let Ok(region) = model.around(flat) else { continue };
                let shift = model.moved(region, flat, (copy.new + step) as u64);
                let address = region.address + (flat - region.start);
                votes.push(Vote { address, shift, weight: MISS / 4 });
            }
        }
        votes
    }
}

fn votes_of(
    copies: &[Copied],
    from: &Side<'_>,
    to: &Side<'_>,
    counts: impl Fn(&Ref) -> bool + Sync,
) -> Vec<Vote> {
    /// One task's share, in copies.
    const SHARE: usize = 256;
    let shares = copies.par_chunks(SHARE).map(|copies| {
        let mut share = Vec::new();
        copies.iter().for_each(|copy| votes(&from.refs, &to.refs, copy, &counts, &mut share));
        share
    });
    shares.collect::<Vec<_>>().concat()
}

/// The parts of `piece` that lie in none of `tables`, which are in order and apart.
fn outside(piece: &Range<usize>, tables: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut at = piece.start;
    for table in tables.iter().filter(|table| table.end > piece.start && table.start < piece.end) {
        parts.push(at..table.start.max(at));
        at = table.end.max(at);
    }
    parts.push(at..piece.end.max(at));
    parts.retain(|part| !part.is_empty());
    parts
}

fn old_model(old: &Image, segments: Vec<Segment>) -> Result<Model, Error> {
    let (mut all, mut space) = (Binary::default(), 0);
    for blob in old.blobs() {
        space += u64::from(all.append(Binary::of(blob.bytes()?, blob.start, space)));
    }
    Ok(all.model(segments))
}

fn new_model(new: &Image, layout: &Layout) -> Result<Model, Error> {
    let (mut all, mut segments, mut space) = (Binary::default(), Vec::new(), 0);
    let mut start = 0;
    for file in layout.fresh() {
        let Some(blob) = new.blob(&file.digest) else { continue };
        let binary = Binary::of(blob.bytes()?, start, space);
        segments.extend(binary.segments());
        space += u64::from(all.append(binary));
        start += file.size;
    }
    Ok(all.model(segments))
}

fn old_refs(old: &Image, text: &Text<'_>, model: &Model) -> Result<Vec<Ref>, Error> {
    let mut pieces = Vec::new();
    for (start, flat, len) in text.stretches() {
        pieces.extend(overlaps(model, flat..flat + len as u64).map(|(region, range)| Piece {
            text: start + (range.start - flat) as usize,
            region,
            within: (range.start - model.regions()[region].start) as usize,
            len: (range.end - range.start) as usize,
        }));
    }
    let blobs = old.blobs().iter().map(|blob| Ok((blob.start, blob.bytes()?)));
    let blobs = blobs.collect::<Result<Vec<_>, Error>>()?;
    Ok(collect(model, &pieces, |region| {
        let (start, bytes) = blobs[blobs.partition_point(|(start, _)| *start <= region.start) - 1];
        let at = (region.start - start) as usize;
        bytes.get(at..at + region.len as usize)
    }))
}

fn new_refs(fresh: &Fresh<'_>, model: &Model) -> Vec<Ref> {
    let whole = |(index, region): (usize, &Region)| Piece {
        text: region.start as usize,
        region: index,
        within: 0,
        len: region.len as usize,
    };
    let pieces: Vec<Piece> = model.regions().iter().enumerate().map(whole).collect();
    collect(model, &pieces, |region| {
        let start = region.start as usize;
        fresh.bytes.get(start..start + region.len as usize)
    })
}

/// The regions that have bytes in `range` of the flat space, and which.
fn overlaps(model: &Model, range: Range<u64>) -> impl Iterator<Item = (usize, Range<u64>)> + '_ {
    let first = model.regions().partition_point(|region| region.start + region.len <= range.start);
    let upto = range.end;
    model.regions().iter().enumerate().skip(first).take_while(move |(_, region)| region.start < upto).map(
        move |(index, region)| {
            let start = region.start.max(range.start);
            (index, start..(region.start + region.len).min(upto))
        },
    )
}
