//! Tells whether words in shared memory are as one writer left them.

/// Never 0, so that zeroed memory is not taken for something whole.
pub fn checksum(words: impl Iterator<Item = u64>) -> u64 {
    let odd = 0x9E37_79B9_7F4A_7C15;
    words.fold(odd, |sum: u64, word| (sum.rotate_left(23) ^ word).wrapping_mul(odd)) | 1
}
