//! C's pointer and length as a slice.

use std::ffi::{c_char, c_int};

/// The octets at `start`, `len` of them; none if the pointer is null or the length is not positive.
///
/// # Safety
/// If `start` is not null, `len` octets from it must be readable and unchanged for as long as the slice is used. The
/// lifetime is the caller's choice; it must end with the callback in which the host handed the pointer over.
#[must_use]
pub unsafe fn bytes<'a>(start: *const c_char, len: c_int) -> &'a [u8] {
    match usize::try_from(len) {
        Ok(len) if len > 0 && !start.is_null() => {
            // SAFETY: not null, and the caller promises `len` readable octets for the lifetime of the slice.
            unsafe { std::slice::from_raw_parts(start.cast(), len) }
        }
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_negative_lengths_are_empty() {
        let text = c"abc";
        // SAFETY: null is allowed.
        assert!(unsafe { bytes(std::ptr::null(), 3) }.is_empty());
        // SAFETY: a negative length is allowed and reads nothing.
        assert!(unsafe { bytes(text.as_ptr(), -1) }.is_empty());
        // SAFETY: the literal has three octets before its end.
        assert_eq!(unsafe { bytes(text.as_ptr(), 3) }, b"abc");
    }
}
