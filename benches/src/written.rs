//! Made-up pairs whose patches are written here, instruction by instruction.
//!
//! They do not change when the maker does, and no maker would make the worst of them: they are what a device may
//! be sent by someone who wishes it to be slow.

use crate::Pair;
use crate::made::{noise, placed, sprinkle};
use siding_patch::{Encoded, Instruction, Packing, encode_delta};

/// So many literals, then so many bytes copied from there.
#[derive(Clone, Copy)]
struct Piece {
    literals: usize,
    from: usize,
    copied: usize,
}

impl Piece {
    fn len(self) -> usize {
        self.literals + self.copied
    }
}

/// Each chunk makes so many bytes; pieces end where chunks do.
const CHUNK: usize = 256 << 10;

impl Pair {
    /// One long copy in which every 997th byte differs: the difference streams' case.
    pub fn sparse(len: usize) -> Self {
        let old = noise(len);
        let new = sprinkle(&old, 997);
        let pieces = (0..len).step_by(CHUNK).map(|from| Piece { literals: 0, from, copied: CHUNK });
        Self::written("sparse-written", &old, &new, pieces)
    }

    /// Copies of 64 bytes from all over the source: the gathering's case.
    pub fn scattered_copies(len: usize) -> Self {
        const PIECE: usize = 64;
        let old = noise(len);
        let places: Vec<usize> = shuffled(len / PIECE).iter().map(|i| i * PIECE).collect();
        let places = places.iter().copied();
        Self::copied("scattered-copies", &old, places, PIECE)
    }

    /// Copies of 64 bytes, each from just before the last: no read-ahead helps.
    pub fn backward(len: usize) -> Self {
        const PIECE: usize = 64;
        let old = noise(len);
        Self::copied("backward-covers", &old, (0..len / PIECE).rev().map(|i| i * PIECE), PIECE)
    }

    /// One byte copied, one placed, one copied: as many instructions as a chunk of this length can have.
    pub fn alternating(len: usize) -> Self {
        let old = noise(len);
        let mut new = old.clone();
        new.iter_mut().step_by(2).for_each(|byte| *byte = !*byte);
        let pieces = (0..len).step_by(2).map(|at| Piece { literals: 1, from: at + 1, copied: 1 });
        Self::written("alternating-covers", &old, &new, pieces)
    }

    /// Nothing of the source is used.
    pub fn all_literal(len: usize) -> Self {
        let mut new = noise(len);
        new.reverse();
        let pieces = (0..len).step_by(CHUNK).map(|_| Piece { literals: CHUNK, from: 0, copied: 0 });
        Self::written("all-literal", &noise(4096), &new, pieces)
    }

    /// Nothing but copies of `piece` bytes from these places.
    fn copied(
        name: &'static str,
        old: &[u8],
        places: impl Iterator<Item = usize> + Clone,
        piece: usize,
    ) -> Self {
        let new: Vec<u8> = places.clone().flat_map(|from| old[from..from + piece].iter().copied()).collect();
        Self::written(name, old, &new, places.map(|from| Piece { literals: 0, from, copied: piece }))
    }

    fn written(name: &'static str, old: &[u8], new: &[u8], pieces: impl Iterator<Item = Piece>) -> Self {
        let mut chunks = Vec::new();
        let (mut start, mut at, mut group) = (0, 0, Vec::new());
        for piece in pieces {
            group.push(piece);
            at += piece.len();
            if at - start == CHUNK || at == new.len() {
                chunks.push(chunk(old, new, start, &group));
                (start, group) = (at, Vec::new());
            }
        }
        assert_eq!((start, at), (new.len(), new.len()), "{name}: the pieces are not the target");
        let (old, new, dir) = placed(old, new);
        Self::with(name, old, new, &chunks, Some(dir))
    }
}

/// The numbers below `count` in an order without structure, the same on every machine.
fn shuffled(count: usize) -> Vec<usize> {
    let mut keyed: Vec<([u8; 8], usize)> =
        noise(count * 8).chunks_exact(8).map(|key| key.try_into().expect("eight")).zip(0..).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, number)| number).collect()
}

/// The chunk that makes the target from `start` on out of these pieces.
fn chunk(old: &[u8], new: &[u8], start: usize, pieces: &[Piece]) -> Encoded {
    let mut at = start;
    let instructions = pieces.iter().map(|piece| {
        let (literals, target) = new[at..at + piece.len()].split_at(piece.literals);
        at += piece.len();
        let source = &old[piece.from..piece.from + piece.copied];
        Instruction { literals, from: piece.from as u64, source, target }
    });
    let instructions: Vec<Instruction<'_>> = instructions.collect();
    encode_delta(&instructions, start as u64, Packing::zstd(3), None).expect("packing in memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use siding_image::verity;

    #[test]
    fn what_is_written_makes_the_target() {
        let len = 2 * CHUNK;
        let pairs = [
            Pair::sparse(len),
            Pair::scattered_copies(len),
            Pair::backward(len),
            Pair::alternating(len),
            Pair::all_literal(len),
        ];
        for pair in pairs {
            // The applier compares digests by itself.
            assert_eq!(pair.apply().written, len as u64, "{}", pair.name);
            assert_eq!(pair.new.identity().digest, verity::digest(pair.target()));
        }
    }
}
