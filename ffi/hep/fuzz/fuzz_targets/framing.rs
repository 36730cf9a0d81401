//! A frame lies within the bytes it was found in, and more bytes do not change it.
#![no_main]

use hep::framing::{Frame, frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match frame(bytes) {
        Ok(Frame::Complete(len)) => {
            assert!((6..=bytes.len()).contains(&len));
            assert_eq!(frame(&bytes[..len]), Ok(Frame::Complete(len)));
            for end in 0..len {
                assert!(
                    matches!(frame(&bytes[..end]), Ok(Frame::Incomplete { needed }) if end + needed <= len)
                );
            }
        }
        Ok(Frame::Incomplete { needed }) => assert!(needed > 0),
        Err(error) => assert!(frame(&[bytes, b"more"].concat()).is_err(), "{error}"),
    }
});
