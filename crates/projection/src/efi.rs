//! EFI variables as Linux shows them in efivarfs: four bytes of attributes (little endian), then the value.
//!
//! A variable is written by one write of all of it, which the firmware carries out as a whole or not at all.

use std::fmt;

/// The file of `BootNext`: the entry for the next start alone. The firmware deletes it before it boots.
pub const BOOT_NEXT: &str = "BootNext-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// The file of `BootOrder`: the entries in the order they are tried.
pub const BOOT_ORDER: &str = "BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// The vendor that Siding's own variables have: a random number, and no one else's.
const SIDING: &str = "8c0e4f6a-2d57-4b19-9f83-61b7a05c3de4";

/// Kept without power, there before and after the operating system starts.
const ATTRIBUTES: u32 = 0b111;

/// Bytes that are no such variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// How many bytes there are.
    pub len: usize,
}

/// The numbers in a variable that is a list of them, as `BootOrder` is.
///
/// ```
/// use siding_projection::efi;
/// let file = efi::encode(&[0x0002, 0x0001]);
/// assert_eq!(file, [7, 0, 0, 0, 2, 0, 1, 0]);
/// assert_eq!(efi::parse(&file), Ok(vec![2, 1]));
/// ```
pub fn parse(file: &[u8]) -> Result<Vec<u16>, Malformed> {
    let malformed = Malformed { len: file.len() };
    let (_attributes, value) = file.split_first_chunk::<4>().ok_or_else(|| malformed.clone())?;
    let (numbers, rest) = value.as_chunks::<2>();
    if rest.is_empty() {
        Ok(numbers.iter().map(|n| u16::from_le_bytes(*n)).collect())
    } else {
        Err(malformed)
    }
}

/// A file with these numbers.
pub fn encode(numbers: &[u16]) -> Vec<u8> {
    let value = numbers.iter().flat_map(|number| number.to_le_bytes());
    ATTRIBUTES.to_le_bytes().into_iter().chain(value).collect()
}

/// The file of a variable of Siding's own.
pub fn own(name: &str) -> String {
    format!("{name}-{SIDING}")
}

/// The turn in a variable of Siding's own.
pub fn parse_turn(file: &[u8]) -> Result<u64, Malformed> {
    let turn = file.split_first_chunk::<4>().and_then(|(_attributes, value)| value.try_into().ok());
    turn.map(u64::from_le_bytes).ok_or(Malformed { len: file.len() })
}

/// A file with this turn.
pub fn encode_turn(turn: u64) -> Vec<u8> {
    ATTRIBUTES.to_le_bytes().into_iter().chain(turn.to_le_bytes()).collect()
}

/// This order with `first` at its head; the others keep theirs.
pub fn with_first(order: &[u16], first: u16) -> Vec<u16> {
    [first].into_iter().chain(order.iter().copied().filter(|entry| *entry != first)).collect()
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected four bytes of attributes, then numbers of two bytes or a turn of eight; got {} bytes",
            self.len
        )
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_list_is_refused() {
        for len in [0, 3, 5, 7] {
            assert_eq!(parse(&vec![0; len]), Err(Malformed { len }));
        }
        assert_eq!(parse(&[7, 0, 0, 0]), Ok(vec![]));
        assert_eq!(parse_turn(&[7, 0, 0, 0, 1, 0]), Err(Malformed { len: 6 }));
        assert_eq!(parse_turn(&encode_turn(u64::MAX - 1)), Ok(u64::MAX - 1));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_an_order_loses_none(order: Vec<u16>, first: u16) {
            prop_assert_eq!(parse(&encode(&order)), Ok(order.clone()));
            let new = with_first(&order, first);
            prop_assert_eq!(new.first(), Some(&first));
            let others = |order: &[u16]| order.iter().copied().filter(|e| *e != first).collect::<Vec<_>>();
            prop_assert_eq!(others(&new), others(&order));
        }
    }
}
