//! Reads untrusted bytes front to back: every read is checked, leftovers are noticed.

/// What is left of a run of bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor<'a>(&'a [u8]);

/// The bytes ran out, or a number is not in its shortest form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bad;

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: u64) -> Result<&'a [u8], Bad> {
        let len = usize::try_from(len).map_err(|_| Bad)?;
        let (head, tail) = self.0.split_at_checked(len).ok_or(Bad)?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Bad> {
        let (first, rest) = self.0.split_first().ok_or(Bad)?;
        self.0 = rest;
        Ok(*first)
    }

    /// An unsigned number, `docs/format.md` section 4.1: seven bits a byte, lowest first, shortest form only.
    pub(crate) fn number(&mut self) -> Result<u64, Bad> {
        let mut value = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let overflows = bits.leading_zeros() < shift;
            let padded = byte == 0 && shift > 0;
            if overflows || padded {
                return Err(Bad);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Bad)
    }

    /// A signed number: zigzag over [`Cursor::number`].
    pub(crate) fn signed(&mut self) -> Result<i64, Bad> {
        let n = self.number()?;
        Ok((n >> 1).cast_signed() ^ (n & 1).cast_signed().wrapping_neg())
    }
}

/// Appends `value` as [`Cursor::number`] reads it.
#[cfg(feature = "make")]
pub(crate) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Appends `value` as [`Cursor::signed`] reads it.
#[cfg(feature = "make")]
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_number(out, (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_at_every_edge_survive() {
        for value in (0..64).flat_map(|b| [(1u64 << b) - 1, 1 << b, (1 << b) + 1]).chain([u64::MAX]) {
            let mut bytes = Vec::new();
            put_number(&mut bytes, value);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(cursor.number(), Ok(value));
            assert!(cursor.is_empty());
        }
    }

    #[test]
    fn overlong_and_oversized_numbers_are_refused() {
        let bad: [&[u8]; 5] = [
            &[],
            &[0x80],
            &[0x80, 0],
            &[0xff; 10],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ];
        for bytes in bad {
            assert_eq!(Cursor::new(bytes).number(), Err(Bad), "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn signed_numbers_survive(value: i64) {
            let mut bytes = Vec::new();
            put_signed(&mut bytes, value);
            prop_assert_eq!(Cursor::new(&bytes).signed(), Ok(value));
        }

        #[test]
        fn a_number_has_one_spelling(bytes in proptest::collection::vec(any::<u8>(), 1..12)) {
            let mut cursor = Cursor::new(&bytes);
            if let Ok(value) = cursor.number() {
                let mut again = Vec::new();
                put_number(&mut again, value);
                prop_assert_eq!(&again[..], &bytes[..again.len()]);
            }
        }
    }
}
