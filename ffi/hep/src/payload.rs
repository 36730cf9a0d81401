use std::borrow::Cow;

use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::{
    DecompressError, TINFLStatus, decompress_to_vec_with_limit, decompress_to_vec_zlib_with_limit,
};

use crate::InflateError;

/// The captured message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payload<'a> {
    /// There is none.
    #[default]
    None,
    /// As it was captured. Chunk 0x000f.
    Plain(&'a [u8]),
    /// Compressed with zlib (or raw deflate). Chunk 0x0010.
    Compressed(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// The message as it was captured. Plain octets are lent as they are, compressed ones inflated, to `limit` octets
    /// at most; never is more memory taken than that. Without a payload the message is empty.
    pub fn inflate(&self, limit: usize) -> Result<Cow<'a, [u8]>, InflateError> {
        match *self {
            Payload::None => Ok(Cow::Borrowed(&[])),
            Payload::Plain(octets) => Ok(Cow::Borrowed(octets)),
            Payload::Compressed(octets) => inflate(octets, limit).map(Cow::Owned),
        }
    }

    /// The octets of chunk 0x000f.
    pub fn plain(&self) -> Option<&'a [u8]> {
        match *self {
            Payload::Plain(octets) => Some(octets),
            _ => None,
        }
    }

    /// The octets of chunk 0x0010, as they are.
    pub fn compressed(&self) -> Option<&'a [u8]> {
        match *self {
            Payload::Compressed(octets) => Some(octets),
            _ => None,
        }
    }
}

/// A message as [`Payload::Compressed`] carries it: zlib. It allocates.
pub fn compress(message: &[u8]) -> Vec<u8> {
    const LEVEL: u8 = 6;
    compress_to_vec_zlib(message, LEVEL)
}

/// Rev. 37 names no format: zlib is what senders use, raw deflate is what its wording allows. A raw stream can begin
/// like a zlib header by chance, hence the second try.
fn inflate(octets: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
    match decompress_to_vec_zlib_with_limit(octets, limit) {
        Ok(inflated) => Ok(inflated),
        Err(zlib) if is_too_long(&zlib) => Err(InflateError::TooLong { limit }),
        Err(_) => decompress_to_vec_with_limit(octets, limit).map_err(|raw| {
            if is_too_long(&raw) { InflateError::TooLong { limit } } else { InflateError::Corrupt }
        }),
    }
}

fn is_too_long(error: &DecompressError) -> bool {
    error.status == TINFLStatus::HasMoreOutput
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::compress_to_vec;

    use super::*;

    const MESSAGE: &[u8] = b"OPTIONS sip:bob@example.com SIP/2.0\r\nCall-ID: 1\r\n\r\n";

    #[test]
    fn plain_payload_is_lent() {
        assert!(matches!(Payload::Plain(MESSAGE).inflate(0), Ok(Cow::Borrowed(MESSAGE))));
    }

    #[test]
    fn zlib_and_raw_deflate_are_inflated() {
        for compressed in [compress(MESSAGE), compress_to_vec(MESSAGE, 6)] {
            let inflated = Payload::Compressed(&compressed).inflate(MESSAGE.len());
            assert_eq!(inflated.as_deref(), Ok(MESSAGE));
        }
    }

    #[test]
    fn what_inflates_beyond_the_limit_is_refused() {
        let bomb = vec![b' '; 10 << 20];
        for compressed in [compress_to_vec_zlib(&bomb, 9), compress_to_vec(&bomb, 9)] {
            let refused = Payload::Compressed(&compressed).inflate(65_535);
            assert_eq!(refused, Err(InflateError::TooLong { limit: 65_535 }));
        }
    }

    #[test]
    fn data_that_is_no_deflate_stream_is_refused() {
        for octets in [&b""[..], b"\x78\x9c", MESSAGE, &compress_to_vec_zlib(MESSAGE, 6)[..20]] {
            assert_eq!(Payload::Compressed(octets).inflate(1000), Err(InflateError::Corrupt));
        }
    }
}
