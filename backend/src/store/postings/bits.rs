//! Numbers in packed bits, the lowest first.

/// Bits that a number takes.
pub fn width(number: u64) -> u8 {
    // At most 64.
    (u64::BITS - number.leading_zeros()) as u8
}

/// Octets that so many numbers of this width take.
pub fn octets(width: u8, numbers: usize) -> usize {
    (usize::from(width) * numbers).div_ceil(8)
}

/// Appends a column: each number in so many bits, and bits of zero up to the next octet. No number may take more bits,
/// and the width is at most 56.
pub fn pack(column: impl Iterator<Item = u64>, width: u8, packed: &mut Vec<u8>) {
    let width = u32::from(width);
    // The bits that wait are fewer than 64.
    let (mut waiting, mut bits) = (0_u64, 0);
    for number in column {
        waiting |= number << bits;
        bits += width;
        if bits >= u64::BITS {
            packed.extend_from_slice(&waiting.to_le_bytes());
            bits -= u64::BITS;
            waiting = number >> (width - bits);
        }
    }
    let rest = waiting.to_le_bytes();
    packed.extend_from_slice(rest.get(..bits.div_ceil(8) as usize).unwrap_or(&rest));
}

/// Reads a column of so many numbers of this width, at most 56; what lies beyond its end reads as zeros.
pub fn unpack(packed: &[u8], width: u8, numbers: usize) -> Vec<u64> {
    // So that eight octets can be read wherever a number begins.
    let mut padded = Vec::with_capacity(packed.len() + 8);
    padded.extend_from_slice(packed);
    padded.extend_from_slice(&[0; 8]);
    let (width, mask) = (usize::from(width), (1_u64 << width) - 1);
    let number = |bit: usize| {
        let octets = padded.get(bit / 8..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        // At most 7 bits of those before, and 56 wanted ones.
        u64::from_le_bytes(octets) >> (bit % 8) & mask
    };
    (0..numbers).map(|place| number(place * width)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_of_any_width_are_read_as_they_were_packed(
            width in 0..57_u8,
            numbers in proptest::collection::vec(any::<u64>(), 0..100),
            before in 0..9_usize,
        ) {
            let numbers: Vec<_> = numbers.into_iter().map(|number| number & ((1 << width) - 1)).collect();
            let mut packed = vec![0xff; before];
            pack(numbers.iter().copied(), width, &mut packed);
            prop_assert_eq!(packed.len(), before + octets(width, numbers.len()));
            prop_assert_eq!(unpack(&packed[before..], width, numbers.len()), numbers);
        }
    }

    #[test]
    fn the_lowest_bits_come_first_and_zeros_behind_the_end() {
        let mut packed = Vec::new();
        pack([1, 2, 3, 7].into_iter(), 3, &mut packed);
        assert_eq!(packed, [0b1101_0001, 0b1110]);
        assert_eq!(unpack(&packed, 3, 7), [1, 2, 3, 7, 0, 0, 0]);
    }
}
