//! U-Boot's environment, as `saveenv` and `fw_setenv` write it.
//!
//! A copy is a CRC32 of what follows (little endian), with redundancy a byte of flags that the CRC leaves out, then
//! `NAME=VALUE` entries that each end in a zero byte, an empty entry, and zeros up to the end. With redundancy there
//! are two copies, of which the flags say which one is current; a change goes over the other one, so that a power
//! cut leaves the old environment or the new. A lone copy that is torn reads as damaged, by its CRC: U-Boot then
//! uses the defaults it was built with, so a device that is to survive a power cut has two.

use std::fmt;

/// How the flags of two copies say which one is current.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// A count that grows by one with each write, and after 255 goes on with 0. For files, block devices, NAND, UBI.
    #[default]
    Incremental,
    /// 1 in the copy that is current, 0 in the other. For NOR flash, where bits can be cleared in place.
    Boolean,
}

/// The entries of one whole copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    entries: Vec<Vec<u8>>,
}

/// Two copies as they were read, or one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copies {
    scheme: Scheme,
    /// Each with its flags, if it is whole.
    copies: Vec<Result<(Environment, u8), Problem>>,
    len: usize,
    current: usize,
}

/// What to write so that a changed environment is current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writes {
    /// Which copy is written, from 0.
    pub copy: usize,
    /// The bytes of that copy.
    pub bytes: Vec<u8>,
    /// After that is on the medium: which copy gets these flags at [`FLAGS_AT`], if one does.
    pub then: Option<(usize, u8)>,
}

/// Where a redundant copy has its flags.
pub const FLAGS_AT: usize = 4;

/// Why an environment cannot be read, or not be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The checksum is another one.
    Checksum {
        /// What the copy says.
        expected: u32,
        /// What its bytes give.
        got: u32,
    },
    /// The checksum fits, and what it covers is no environment.
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// No copy is whole.
    NoneWhole {
        /// What is wrong with each.
        each: Vec<Problem>,
    },
    /// There is not enough room.
    NoRoom {
        /// How many bytes all entries need.
        needed: usize,
        /// How many there are for them.
        room: usize,
    },
}

impl Copies {
    /// Reads one copy without flags, or two with flags; both are equally long.
    pub fn parse(copies: &[Vec<u8>], scheme: Scheme) -> Result<Self, Problem> {
        let redundant = copies.len() > 1;
        let copies_read: Vec<_> = copies.iter().map(|bytes| read(bytes, redundant)).collect();
        let len = copies.first().map_or(0, Vec::len);
        let whole =
            |i: usize| copies_read.get(i).and_then(|copy| copy.as_ref().ok()).map(|(_, flags)| *flags);
        let current = match (whole(0), whole(1)) {
            (Some(first), Some(second)) => usize::from(scheme.second_is_current(first, second)),
            (Some(_), None) => 0,
            (None, Some(_)) => 1,
            (None, None) => {
                return Err(Problem::NoneWhole {
                    each: copies_read.into_iter().filter_map(Result::err).collect(),
                });
            }
        };
        Ok(Self { scheme, copies: copies_read, len, current })
    }

    /// Which copy is current, from 0.
    pub fn current(&self) -> usize {
        self.current
    }

    /// What is wrong with the other copy, if something is.
    pub fn other_is_damaged(&self) -> Option<&Problem> {
        self.copies.iter().find_map(|copy| copy.as_ref().err())
    }

    /// The current environment.
    pub fn environment(&self) -> &Environment {
        static NONE: Environment = Environment { entries: Vec::new() };
        self.copies.get(self.current).and_then(|copy| copy.as_ref().ok()).map_or(&NONE, |(found, _)| found)
    }

    /// What to write so that `environment` is the current one.
    pub fn write(&self, environment: &Environment) -> Result<Writes, Problem> {
        if self.copies.len() < 2 {
            return Ok(Writes { copy: 0, bytes: encode(environment, None, self.len)?, then: None });
        }
        let flags =
            self.copies.get(self.current).and_then(|copy| copy.as_ref().ok()).map_or(0, |(_, flags)| *flags);
        let other = 1_usize.saturating_sub(self.current);
        let (next, then) = match self.scheme {
            Scheme::Incremental => (flags.wrapping_add(1), None),
            Scheme::Boolean => (1, Some((self.current, 0))),
        };
        Ok(Writes { copy: other, bytes: encode(environment, Some(next), self.len)?, then })
    }
}

impl Scheme {
    /// Of two whole copies.
    fn second_is_current(self, first: u8, second: u8) -> bool {
        match (self, first, second) {
            (Self::Incremental, 255, 0) => true,
            (Self::Incremental, 0, 255) => false,
            (Self::Incremental, _, _) => second > first,
            // 255 is what a freshly written copy has until its flags are set; two of a kind leave the first.
            (Self::Boolean, 0, 1) | (Self::Boolean, 0..=254, 255) => true,
            (Self::Boolean, _, _) => false,
        }
    }
}

impl Environment {
    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.entries.iter().rev().find_map(|entry| value_of(entry, name))
    }

    /// Every entry, `NAME=VALUE`, in the order they lie.
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(Vec::as_slice)
    }

    /// This environment with a variable set, where it lies or else at the end; an empty value unsets it.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut entries = self.entries.clone();
        let at = entries.iter().position(|entry| value_of(entry, name).is_some());
        let new = [name.as_bytes(), b"=", value.as_bytes()].concat();
        match at.and_then(|at| entries.get_mut(at)) {
            Some(entry) => *entry = new.clone(),
            None => entries.push(new.clone()),
        }
        entries.retain(|entry| value_of(entry, name).is_none() || (*entry == new && !value.is_empty()));
        Self { entries }
    }
}

fn value_of<'a>(entry: &'a [u8], name: &str) -> Option<&'a [u8]> {
    entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

fn read(bytes: &[u8], redundant: bool) -> Result<(Environment, u8), Problem> {
    let short = || Problem::Malformed { what: "it is too short" };
    let (crc, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
    let (flags, data) = if redundant { rest.split_first().ok_or_else(short)? } else { (&0, rest) };
    let (expected, got) = (u32::from_le_bytes(*crc), crc32(data));
    if expected != got {
        return Err(Problem::Checksum { expected, got });
    }
    let mut entries = Vec::new();
    let mut left = data;
    loop {
        let end = left.iter().position(|byte| *byte == 0);
        let (entry, rest) = end
            .and_then(|end| left.split_at_checked(end))
            .ok_or(Problem::Malformed { what: "it does not end in an empty entry" })?;
        if entry.is_empty() {
            return Ok((Environment { entries }, *flags));
        }
        entries.push(entry.to_owned());
        left = rest.get(1..).unwrap_or_default();
    }
}

fn encode(environment: &Environment, flags: Option<u8>, len: usize) -> Result<Vec<u8>, Problem> {
    let head = if flags.is_some() { 5 } else { 4 };
    let room = len.saturating_sub(head);
    let mut data = Vec::with_capacity(room);
    for entry in &environment.entries {
        data.extend_from_slice(entry);
        data.push(0);
    }
    data.push(0);
    if data.len() > room {
        return Err(Problem::NoRoom { needed: data.len(), room });
    }
    data.resize(room, 0);
    let flags: Vec<u8> = flags.into_iter().collect();
    Ok([&crc32(&data).to_le_bytes()[..], &flags, &data].concat())
}

/// The CRC32 of Ethernet and zlib.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc = (crc >> 1) ^ (0xEDB8_8320 & carry.wrapping_neg());
        }
    }
    !crc
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksum { expected, got } => {
                write!(f, "its checksum is {got:08x}, and it says {expected:08x}")
            }
            Self::Malformed { what } => f.write_str(what),
            Self::NoneWhole { each } => {
                f.write_str("no copy of the U-Boot environment is whole (")?;
                for (i, problem) in each.iter().enumerate() {
                    write!(f, "{}copy {i}: {problem}", if i == 0 { "" } else { "; " })?;
                }
                f.write_str(
                    "); compare file, offset and size with /etc/fw_env.config, and if they agree write a new \
                     environment with U-Boot's `saveenv` or with fw_setenv",
                )
            }
            Self::NoRoom { needed, room } => write!(
                f,
                "the U-Boot environment has room for {room} bytes and {needed} are needed; unset variables in it, \
                 or build U-Boot with a larger CONFIG_ENV_SIZE"
            ),
        }
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests;
