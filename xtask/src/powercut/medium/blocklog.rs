//! The log of a medium: every write and flush that reached it, as `dm-log-writes` and QEMU's `blklogwrites` have it.
//!
//! One sector with a magic number, then for each entry a sector that says what it is, and the sectors it wrote. All
//! numbers are little endian. The log can be read while it grows: what is not whole yet is left out.

use crate::Result;

/// What reached the medium at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// These bytes at this byte offset.
    Write { at: u64, bytes: Vec<u8>, durable: bool },
    /// All that was written before is durable.
    Flush,
    /// What these bytes hold does not matter any more; nothing is done about it.
    Discard,
}

const MAGIC: u64 = 0x006a_7366_7773_6872;
const SECTOR: u64 = 512;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const HEADER: usize = 32;

/// Reads all whole entries. The first sector is written with the first flush; before that the log counts as empty.
pub(super) fn parse(log: &[u8]) -> Result<Vec<Entry>> {
    let magic = number(log, 0);
    if magic.is_none_or(|magic| magic == 0) {
        return Ok(Vec::new());
    }
    if magic != Some(MAGIC) {
        return Err(format!("this is no log of a medium: it begins with {magic:x?}, not with {MAGIC:x}"));
    }
    let mut entries = Vec::new();
    let mut at = SECTOR;
    while let Some((more, length)) = entry(log, at)? {
        entries.extend(more);
        at = at.saturating_add(length);
    }
    Ok(entries)
}

/// The entry at an offset and how long it is in the log; `None` where it is not whole. A flush with data comes first.
fn entry(log: &[u8], at: u64) -> Result<Option<(Vec<Entry>, u64)>> {
    let Ok(start) = usize::try_from(at) else { return Ok(None) };
    let Some(header) = log.get(start..).and_then(|rest| rest.get(..HEADER)) else { return Ok(None) };
    let field = |index: usize| number(header, index * 8).unwrap_or(0);
    let (sector, sectors, flags, extra) = (field(0), field(1), field(2), field(3));
    if sectors == 0 && flags == 0 {
        return Ok(None); // not written yet
    }
    if flags > (FLUSH | FUA | DISCARD) || extra != 0 {
        return Err(format!(
            "an entry at {at} is of a kind that is not known: flags {flags}, {extra} more bytes"
        ));
    }
    let mut found = Vec::new();
    if flags & FLUSH != 0 {
        found.push(Entry::Flush);
    }
    if flags & DISCARD != 0 {
        found.push(Entry::Discard);
        return Ok(Some((found, SECTOR)));
    }
    let length = sectors.saturating_mul(SECTOR);
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let data = log.get(start.saturating_add(size(SECTOR))..).and_then(|rest| rest.get(..size(length)));
    let Some(bytes) = data.map(<[u8]>::to_vec) else { return Ok(None) };
    if sectors > 0 {
        found.push(Entry::Write { at: sector.saturating_mul(SECTOR), bytes, durable: flags & FUA != 0 });
    }
    Ok(Some((found, SECTOR.saturating_add(length))))
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(fields: &[u64]) -> Vec<u8> {
        let mut bytes: Vec<u8> = fields.iter().flat_map(|field| field.to_le_bytes()).collect();
        bytes.resize(512, 0);
        bytes
    }

    #[test]
    fn a_log_is_read_up_to_where_it_is_whole() {
        let begin = sector(&[MAGIC, 1, 0, 512]);
        let write = [sector(&[3, 2, 0, 0]), vec![7; 1024]].concat();
        let flush = sector(&[0, 0, FLUSH, 0]);
        let forced = [sector(&[9, 1, FUA, 0]), vec![8; 512]].concat();
        let log = [begin, write, flush, forced].concat();
        let entries = parse(&log).unwrap();
        let first = Entry::Write { at: 1536, bytes: vec![7; 1024], durable: false };
        let last = Entry::Write { at: 4608, bytes: vec![8; 512], durable: true };
        assert_eq!(entries, [first.clone(), Entry::Flush, last]);
        for cut in 512..log.len() {
            let entries = parse(&log[..cut]).unwrap();
            assert!(entries.len() < 3 && entries.first().is_none_or(|one| *one == first), "{cut}");
        }
        assert_eq!(parse(&[log, vec![0; 5000]].concat()).unwrap().len(), 3);
        assert_eq!(parse(&[0; 512]), Ok(vec![]));
        assert!(parse(&[1; 512]).is_err());
    }
}
