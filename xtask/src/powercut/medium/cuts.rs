//! Which images a power cut may leave, and which of them are tried.
//!
//! The power goes when some number of entries have been sent. What was sent before the last flush is on the
//! medium, and so is what was forced there. Of the rest any writes may be, and of each of these any sectors.

use super::super::lab::Dice;
use super::blocklog::Entry;
use std::collections::HashSet;

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Cut {
    /// How many entries were sent.
    pub(super) sent: usize,
    /// How many of them are on the medium for certain, from the first.
    pub(super) flushed: usize,
    /// Which of the others are there, in order, and which of their sectors.
    pub(super) survivors: Vec<(usize, Sectors)>,
}

/// Which parts of a write are on the medium.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sectors {
    All,
    /// Those whose bit is set, in units that do not tear; the bits repeat.
    Some(u64),
}

/// All entries from `start` on are where the power may go.
pub(super) struct Cuts<'a> {
    pub(super) entries: &'a [Entry],
    pub(super) start: usize,
}

impl Cuts<'_> {
    /// So many images, in the order of their cuts, none of them twice: half of them prefixes, every one if there
    /// are not more; the others with writes lost and torn.
    pub(super) fn choose(&self, images: usize, seed: u64) -> Vec<Cut> {
        let mut dice = Dice::new(seed);
        let mut prefixes: Vec<usize> = (self.start..=self.entries.len()).collect();
        let wanted = images.div_ceil(2);
        while prefixes.len() > wanted {
            prefixes.swap_remove(dice.below(prefixes.len()));
        }
        let mut cuts: Vec<Cut> = prefixes.into_iter().map(|sent| self.prefix(sent)).collect();
        let open: Vec<usize> =
            (self.start..=self.entries.len()).filter(|&sent| !self.pending(sent).is_empty()).collect();
        let mut seen: HashSet<Cut> = cuts.iter().cloned().collect();
        for _ in 0..images.saturating_mul(20) {
            let Some(sent) = open.get(dice.below(open.len())).filter(|_| cuts.len() < images) else { break };
            let cut = self.subset(*sent, &mut dice);
            if seen.insert(cut.clone()) {
                cuts.push(cut);
            }
        }
        cuts.sort_by_key(|cut| cut.sent);
        cuts
    }

    /// Everything that was sent.
    fn prefix(&self, sent: usize) -> Cut {
        let survivors = self.pending(sent).into_iter().map(|at| (at, Sectors::All)).collect();
        Cut { sent, flushed: self.flushed(sent), survivors }
    }

    /// Some of what was sent.
    fn subset(&self, sent: usize, dice: &mut Dice) -> Cut {
        let chance = [10, 50, 90].get(dice.below(3)).copied().unwrap_or(50);
        let mut survivors = Vec::new();
        for at in self.pending(sent) {
            let forced = matches!(self.entries.get(at), Some(Entry::Write { durable: true, .. }));
            if forced {
                survivors.push((at, Sectors::All));
            } else if dice.percent(chance) {
                let torn = dice.percent(25);
                survivors.push((at, if torn { Sectors::Some(dice.roll()) } else { Sectors::All }));
            }
        }
        Cut { sent, flushed: self.flushed(sent), survivors }
    }

    fn flushed(&self, sent: usize) -> usize {
        let sent = self.entries.get(..sent).unwrap_or_default();
        sent.iter().rposition(|entry| *entry == Entry::Flush).map_or(0, |at| at + 1)
    }

    fn pending(&self, sent: usize) -> Vec<usize> {
        let is_write = |at: &usize| matches!(self.entries.get(*at), Some(Entry::Write { .. }));
        (self.flushed(sent)..sent).filter(is_write).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(durable: bool) -> Entry {
        Entry::Write { at: 0, bytes: vec![0; 512], durable }
    }

    #[test]
    fn what_was_flushed_or_forced_is_never_lost() {
        let entries = [write(false), Entry::Flush, write(false), write(true), write(false), Entry::Flush];
        let cuts = Cuts { entries: &entries, start: 1 }.choose(500, 1);
        assert!(cuts.len() > 20 && cuts.iter().collect::<HashSet<_>>().len() == cuts.len());
        for cut in &cuts {
            let flushed = match cut.sent {
                0..2 => 0,
                2..6 => 2,
                _ => 6,
            };
            assert_eq!(cut.flushed, flushed);
            let forced = cut.survivors.contains(&(3, Sectors::All));
            assert_eq!(forced, (4..6).contains(&cut.sent), "{cut:?}");
            assert!(cut.survivors.iter().all(|(at, _)| (flushed..cut.sent).contains(at)));
        }
        let lost =
            |at: usize| cuts.iter().any(|cut| cut.sent == 5 && cut.survivors.iter().all(|(s, _)| *s != at));
        assert!(lost(2) && lost(4) && !lost(3));
    }

    #[test]
    fn every_prefix_is_tried_if_there_is_room() {
        let entries = [write(false), write(false), write(false)];
        let sent = |images| -> Vec<usize> {
            let cuts = Cuts { entries: &entries, start: 0 }.choose(images, 7);
            let whole = cuts
                .iter()
                .filter(|c| c.survivors.len() == c.sent && c.survivors.iter().all(|s| s.1 == Sectors::All));
            let mut sent: Vec<usize> = whole.map(|c| c.sent).collect();
            sent.dedup();
            sent
        };
        assert_eq!(sent(100), [0, 1, 2, 3]);
        assert!(sent(4).len() <= 4);
    }
}
