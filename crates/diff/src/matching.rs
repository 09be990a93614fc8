//! Cover, predict, cover again.

use crate::binary::Binary;
use crate::cover::{self, Anchor, Cover};
use crate::fit::{Vote, fit, votes};
use crate::parse::{Copied, Prices};
use crate::refs::{Meaning, Piece, Ref, Refs, collect, rewrite};
use crate::text::{Fresh, Text};
use crate::worth::{needed, overlaps, plain_but, worth};
use crate::{Error, Job, Level, Progress, Step};
use rayon::prelude::*;
use siding_image::Image;
use siding_patch::Layout;
use siding_predict::{Kind, Model, Region, Segment, ShiftMap, Streams};
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
    refs: Refs,
}

/// Finds covers of `new`, in order and apart, and the model under which they differ least; encoded it takes no more
/// than `limit` bytes.
pub(crate) fn find(job: &Job<'_>, level: Level, limit: u64, progress: Progress<'_>) -> Result<Found, Error> {
    let Job { old, new, layout, text, fresh } = *job;
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
    let copies = match programs {
        true => search.by_meaning(&model, &new_model)?,
        false => search.plain()?,
    };
    progress(Step::Match, total, total);
    let covers = cover::covers(text, &copies, &fresh.zeros);
    let model = if programs { search.model(model, &copies, &covers, old, limit) } else { Model::default() };
    Ok(Found { covers, model })
}

/// How many bytes a model takes beside its map, and how many its map does.
fn encoded_len(model: &Model) -> [u64; 2] {
    let Streams { regions, addresses, shifts } = model.encode();
    [regions.len() as u64, (addresses.len() + shifts.len()) as u64]
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
    fn by_meaning(&self, model: &Model, new_model: &Model) -> Result<Vec<Copied>, Error> {
        let (mut known, copies) = self.hidden(new_model)?;
        let in_code = self.votes(&copies, |reference| reference.code);
        let (mut map, now) = rayon::join(
            || fit(self.with_covers(in_code, &copies, model), |_| true),
            || rewrite(self.to.bytes, &self.to.refs, Meaning::Now),
        );
        for round in 1..=ROUNDS {
            let moved = rewrite(self.from.bytes, &self.from.refs, Meaning::Moved(&map));
            let found = cover::anchors(&moved, &now, &self.pieces, self.level, self.tick)?;
            known.iter_mut().zip(found).for_each(|(known, found)| known.extend(found));
            let copies = cover::choose(&moved, &now, &self.pieces, &known, Prices::SEARCH);
            drop(moved);
            let mut votes = self.votes(&copies, |_| true);
            if round < ROUNDS {
                votes = self.with_covers(votes, &copies, model);
            }
            map = fit(votes, |_| true);
        }
        let moved = rewrite(self.from.bytes, &self.from.refs, Meaning::Moved(&map));
        Ok(cover::choose(&moved, &now, &self.pieces, &known, Prices::FINAL))
    }

    /// What a device needs to predict these copies, as far as that does good; encoded in `limit` bytes at most.
    ///
    /// Where nothing moved that is worth saying, nothing.
    fn model(&self, model: Model, copies: &[Copied], covers: &[Cover], old: &Image, limit: u64) -> Model {
        let bytes_of = |region: &Region| old.slice(region.start, region.len).ok().flatten();
        let worth = |model: &Model| worth(model, covers, self.from.bytes, self.to.bytes, bytes_of);
        let map = fit(self.votes(copies, |_| true), |_| true);
        let model = model.with_map(map);
        let first = worth(&model);
        // What a region says that is mostly wrong counts for nothing in the map either.
        let harmful = first.iter().any(|worth| *worth < 0);
        let believed = plain_but(model.clone(), |index, _| first[index] >= 0);
        let model = needed(model, &first);
        let [head, steps] = encoded_len(&model);
        let model = match harmful || head + steps > limit {
            false => model,
            true => {
                let counts = |reference: &Ref| {
                    let (flat, _) = self.text.flat(reference.at);
                    believed.around(flat).is_ok_and(|region| region.kind != Kind::Plain)
                };
                let fits = |map: &ShiftMap| {
                    let [_, steps] = encoded_len(&Model::default().with_map(map.clone()));
                    head + steps <= limit
                };
                let model = model.with_map(fit(self.votes(copies, counts), fits));
                let second = worth(&model);
                needed(model, &second)
            }
        };
        let nothing = model.regions().is_empty() || model.map().steps().is_empty();
        if nothing || encoded_len(&model).iter().sum::<u64>() > limit { Model::default() } else { model }
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

    /// What the references in these copies say, those that count. Takes sixteen bytes for each.
    fn votes(&self, copies: &[Copied], counts: impl Fn(&Ref) -> bool + Sync) -> Vec<Vote> {
        /// One task's share, in bytes.
        const SHARE: usize = 64 << 10;
        let shares = |copy: &Copied| {
            let Copied { len, .. } = *copy;
            (0..len).step_by(SHARE).map(move |at| at..(at + SHARE).min(len))
        };
        let tasks: Vec<(&Copied, Range<usize>)> =
            copies.iter().flat_map(|copy| shares(copy).map(move |share| (copy, share))).collect();
        let each = |(copy, share): &(&Copied, Range<usize>), vote: &mut dyn FnMut(Vote)| {
            votes(&self.from.refs, &self.to.refs, copy, share.clone(), &counts, vote);
        };
        // Counted first, so that they are never in two places.
        let lens = tasks.par_iter().map(|task| {
            let mut len = 0;
            each(task, &mut |_| len += 1);
            len
        });
        let lens: Vec<usize> = lens.collect();
        let mut all = vec![Vote::default(); lens.iter().sum()];
        let (mut rest, mut places) = (all.as_mut_slice(), Vec::with_capacity(lens.len()));
        for len in lens {
            let (place, later) = std::mem::take(&mut rest).split_at_mut(len);
            places.push(place.iter_mut());
            rest = later;
        }
        tasks.par_iter().zip(places).for_each(|(task, mut places)| {
            each(task, &mut |vote| places.next().into_iter().for_each(|place| *place = vote));
        });
        all
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
                votes.push(Vote::place(address, shift));
            }
        }
        votes
    }
}

/// The parts of `piece` that lie in none of `tables`, which are in order and apart.
fn outside(piece: &Range<usize>, tables: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut at = piece.start;
    let first = tables.partition_point(|table| table.end <= piece.start);
    for table in tables[first..].iter().take_while(|table| table.start < piece.end) {
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

fn old_refs(old: &Image, text: &Text<'_>, model: &Model) -> Result<Refs, Error> {
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

fn new_refs(fresh: &Fresh<'_>, model: &Model) -> Refs {
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
