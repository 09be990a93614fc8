//! Cover, predict, cover again.

use crate::binary::Binary;
use crate::cover::{self, Anchor, Cover};
use crate::fit::{Vote, fit, votes};
use crate::parse::{Copy, Prices};
use crate::refs::{Meaning, Piece, Ref, collect, rewrite};
use crate::text::{Fresh, Text};
use crate::{Error, Level, Progress, Step};
use siding_image::Image;
use siding_patch::Layout;
use siding_predict::{Model, Region, Segment};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// What matching found out.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) covers: Vec<Cover>,
    pub(crate) model: Model,
}

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
    let clock = std::time::Instant::now();
    let lap = |what: &str| {
        if std::env::var_os("SIDING_DEBUG").is_some() {
            eprintln!("{:6.3} {what}", clock.elapsed().as_secs_f64());
        }
    };
    let pieces = cover::pieces(fresh.bytes.len(), &fresh.zeros);
    let (total, rounds) = (fresh.bytes.len() as u64, 1 + u64::from(!from.refs.is_empty()));
    let done = AtomicU64::new(0);
    let tick = |len: usize| {
        let before = done.fetch_add(len as u64, Ordering::Relaxed);
        progress(Step::Match, (before + len as u64) / rounds, total);
    };
    let debug = std::env::var_os("SIDING_DEBUG").is_some();
    if from.refs.is_empty() || to.refs.is_empty() {
        let anchors = cover::anchors(from.bytes, to.bytes, &pieces, level, &tick)?;
        let copies = cover::choose(from.bytes, to.bytes, &pieces, &anchors, Prices::FINAL);
        return Ok(Found { covers: cover::covers(text, &copies, &fresh.zeros), model: Model::default() });
    }
    let hidden = (rewrite(from.bytes, &from.refs, Meaning::Hidden), rewrite(to.bytes, &to.refs, Meaning::Hidden));
    lap("hidden");
    // Tables say nothing before their addresses are predicted.
    let tables: Vec<Range<usize>> = new_model.regions().iter().filter(|region| region.kind.is_table())
        .map(|region| region.start as usize..(region.start + region.len) as usize).collect();
    let without: Vec<Range<usize>> = pieces.iter().flat_map(|piece| outside(piece, &tables)).collect();
    let first = cover::anchors(&hidden.0, &hidden.1, &without, level, &tick)?;
    lap("first anchors");
    let copies = cover::choose(&hidden.0, &hidden.1, &without, &first, Prices::SEARCH);
    drop(hidden);
    lap("first choice");
    let now = rewrite(to.bytes, &to.refs, Meaning::Now);
    let mut map = fit(with_covers(votes_of(&copies, &from, &to, |reference| reference.code), &copies, text, &model));
    if debug {
        eprintln!("refs {} {} copies {} map {}", from.refs.len(), to.refs.len(), copies.len(), map.steps().len());
    }
    // Each round's anchors stay: an alignment that a later map speaks against may still be the best there is.
    let mut known: Vec<Vec<Anchor>> = vec![Vec::new(); pieces.len()];
    for anchor in first.into_iter().flatten() {
        known[pieces.partition_point(|piece| piece.end <= anchor.new)].push(anchor);
    }
    let mut copies;
    let again: usize = std::env::var("ROUNDS").map_or(2, |r| r.parse().unwrap());
    for round in 0..again {
        let moved = rewrite(from.bytes, &from.refs, Meaning::Moved(&map));
        let found = cover::anchors(&moved, &now, &pieces, level, &tick)?;
        known.iter_mut().zip(found).for_each(|(known, found)| known.extend(found));
        lap("anchors");
        copies = cover::choose(&moved, &now, &pieces, &known, Prices::SEARCH);
        lap("choice");
        let votes = votes_of(&copies, &from, &to, |_| true);
        map = if round + 1 < again { fit(with_covers(votes, &copies, text, &model)) } else { fit(votes) };
        lap("map");
        if debug {
            eprintln!("copies {} map {}", copies.len(), map.steps().len());
        }
    }
    let moved = rewrite(from.bytes, &from.refs, Meaning::Moved(&map));
    let copies = cover::choose(&moved, &now, &pieces, &known, if std::env::var_os("SEARCH").is_some() { Prices::SEARCH } else { Prices::FINAL });
    let map = fit(votes_of(&copies, &from, &to, |_| true));
    lap("final");
    Ok(Found { covers: cover::covers(text, &copies, &fresh.zeros), model: model.with_map(map) })
}

fn votes_of(
    copies: &[Copy],
    from: &Side<'_>,
    to: &Side<'_>,
    counts: impl Fn(&Ref) -> bool,
) -> Vec<Vote> {
    let mut all = Vec::new();
    for copy in copies {
        votes(&from.refs, &to.refs, copy, &counts, &mut all);
    }
    all
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

/// For addresses no reference names, what the covers say.
fn with_covers(mut votes: Vec<Vote>, copies: &[Copy], text: &Text<'_>, model: &Model) -> Vec<Vote> {
    for copy in copies.iter().filter(|copy| copy.len >= 32) {
        let steps = (0..copy.len - 1).step_by(64).chain(std::iter::once(copy.len - 1));
        for step in steps {
            let (flat, _) = text.flat(copy.old + step);
            let Ok(region) = model.around(flat) else { continue };
            let shift = model.moved(region, flat, (copy.new + step) as u64);
            let address = region.address + (flat - region.start);
            votes.push(Vote { address, shift, weight: crate::fit::MISS / 4 });
        }
    }
    votes
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
