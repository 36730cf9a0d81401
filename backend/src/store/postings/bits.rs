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
    let (mut waiting, mut bits) = (0_u64, 0);
    for number in column {
        waiting |= number << bits;
        bits += u32::from(width);
        while bits >= 8 {
            packed.push(waiting as u8);
            waiting >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        packed.push(waiting as u8);
    }
}

/// Reads a column of so many numbers of this width, at most 56; what lies beyond its end reads as zeros.
pub fn unpack(packed: &[u8], width: u8, numbers: usize) -> impl Iterator<Item = u64> {
    let mask = (1_u64 << width) - 1;
    let mut octets = packed.iter();
    let (mut waiting, mut bits) = (0_u64, 0);
    (0..numbers).map(move |_| {
        while bits < u32::from(width) {
            waiting |= u64::from(octets.next().copied().unwrap_or(0)) << bits;
            bits += 8;
        }
        let number = waiting & mask;
        waiting >>= width;
        bits -= u32::from(width);
        number
    })
}
