//! LZMA frames: a byte of properties, then the coder's output, without a header or an end mark.
//!
//! `docs/format.md` section 4.4. The length is that of the frame's streams, so it is known beforehand.

use lzma_rust2::LzmaReader;
use std::io::Read;

/// Any rule a frame breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bad;

/// The dictionary reaches back over everything; the library wants at least this much.
const LEAST: u32 = 4096;

/// Decodes exactly `len` bytes from exactly `bytes`. Takes `len` bytes of memory twice, and up to 32 KiB.
pub(crate) fn decode(bytes: &[u8], len: usize) -> Result<Vec<u8>, Bad> {
    let (props, bytes) = bytes.split_first().ok_or(Bad)?;
    // Literal contexts and positions together take up to 4 bits, as in LZMA2: that bounds the tables.
    let (lc, lp) = (props % 9, props / 9 % 5);
    if *props >= 225 || lc.saturating_add(lp) > 4 {
        return Err(Bad);
    }
    let dictionary = u32::try_from(len).map_err(|_| Bad)?.max(LEAST);
    let mut reader =
        LzmaReader::new_with_props(bytes, len as u64, *props, dictionary, None).map_err(|_| Bad)?;
    let mut out = Vec::new();
    out.try_reserve_exact(len).map_err(|_| Bad)?;
    out.resize(len, 0);
    // Asked for all at once, the dictionary need not grow bit by bit, which takes more while it is moved.
    reader.read_exact(&mut out).map_err(|_| Bad)?;
    let over = reader.read(&mut [0]).map_err(|_| Bad)?;
    let (rest, buffered) = reader.into_parts();
    let exact = over == 0 && rest.is_empty() && buffered.is_empty();
    if exact { Ok(out) } else { Err(Bad) }
}

/// Encodes `plain` with the given numbers of bits of literal context, literal position and position.
#[cfg(feature = "make")]
pub(crate) fn encode(plain: &[u8], [lc, lp, pb]: [u32; 3]) -> std::io::Result<Vec<u8>> {
    use lzma_rust2::{LzmaOptions, LzmaWriter};
    use std::io::Write;
    let mut options = LzmaOptions::with_preset(9);
    let len = u32::try_from(plain.len()).unwrap_or(u32::MAX);
    (options.dict_size, options.lc, options.lp, options.pb) = (len.max(LEAST), lc, lp, pb);
    options.nice_len = LzmaOptions::NICE_LEN_MAX;
    let mut writer = LzmaWriter::new_no_header(Vec::new(), &options, false)?;
    let props = writer.props();
    writer.write_all(plain)?;
    let mut out = vec![props];
    out.extend(writer.finish()?);
    Ok(out)
}

#[cfg(all(test, feature = "make"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_goes_in_comes_out(plain in proptest::collection::vec(0u8..20, 0..3000), props in 0usize..3) {
            let packed = encode(&plain, [[3, 0, 2], [0, 2, 2], [0, 0, 0]][props]).unwrap();
            prop_assert_eq!(decode(&packed, plain.len()), Ok(plain));
        }

        #[test]
        fn garbage_is_refused_or_as_long_as_it_should_be(bytes in proptest::collection::vec(any::<u8>(), 0..200), len in 0usize..5000) {
            if let Ok(out) = decode(&bytes, len) {
                prop_assert_eq!(out.len(), len);
            }
        }
    }

    #[test]
    fn cut_short_and_with_trailing_bytes_it_is_refused() {
        let plain: Vec<u8> = (0..2000u32).map(|i| ((i * i) >> 7) as u8).collect();
        let packed = encode(&plain, [3, 0, 0]).unwrap();
        for len in 0..packed.len() {
            assert_eq!(decode(&packed[..len], plain.len()), Err(Bad), "{len}");
        }
        for extra in [0u8, 1, 255] {
            assert_eq!(decode(&[&packed[..], &[extra]].concat(), plain.len()), Err(Bad));
        }
        // A coder at rest has a byte or two of zeros left in it.
        assert_eq!(decode(&packed, plain.len() + 100), Err(Bad));
        assert_eq!(decode(&packed, plain.len() - 1), Err(Bad));
    }
}
