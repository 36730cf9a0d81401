//! CRC32C, Castagnoli's polynomial: of the spool's records, of pages of postings, of SCTP.

use crc_fast::{CrcAlgorithm, Digest};

/// The checksum of these octets, one part after the other.
#[must_use]
pub fn crc32c<const N: usize>(parts: [&[u8]; N]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    parts.into_iter().for_each(|part| digest.update(part));
    // It has 32 bits.
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bit by bit, as RFC 9260 defines it.
    fn slowly(octets: &[u8]) -> u32 {
        let step = |crc: u32| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0x82f6_3b78 };
        !octets.iter().fold(!0, |crc, &octet| (0..8).fold(crc ^ u32::from(octet), |crc, _| step(crc)))
    }

    #[test]
    fn known_octets_have_the_known_checksum() {
        // RFC 3720, B.4.
        assert_eq!(crc32c([&[0; 32]]), 0x8a91_36aa);
        assert_eq!(crc32c([&[0xff; 32]]), 0x62a8_ab43);
        assert_eq!(crc32c([b"1234", b"", b"56789"]), 0xe306_9283);
        assert_eq!(crc32c([]), 0);
    }

    proptest! {
        /// There are ways of its own for short, long and very long octets, wherever they begin.
        #[test]
        fn octets_of_all_lengths_in_parts_and_as_a_whole_have_the_checksum_of_the_definition(
            octets in prop::collection::vec(any::<u8>(), 0..5000), from in 0usize..64, cut in 0usize..5000,
        ) {
            let octets = octets.get(from..).unwrap_or_default();
            let (before, after) = octets.split_at(cut.min(octets.len()));
            prop_assert_eq!(crc32c([before, after]), slowly(octets));
            prop_assert_eq!(crc32c([octets]), slowly(octets));
        }
    }
}
