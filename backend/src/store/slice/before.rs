//! Slices as earlier versions wrote them.
//!
//! Format 2: one octet `2`; the length of the header, u32 little endian; the header (postcard); the payloads as one zstd
//! frame. Format 1 lacks the header's last two fields.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde::Deserialize;

use super::{Entry, Header, MAX_CONTENT_BYTES, SliceError};
use crate::store::dictionary;

const FORMAT_1: u8 = 1;
const FORMAT_2: u8 = 2;

/// What the fields that format 1 lacks are where there is nothing to say: none, and an empty list (postcard).
const ADDED_SINCE_1: [u8; 2] = [0, 0];

#[derive(Deserialize)]
struct Header2<'a> {
    first_us: i64,
    correlation_id: Option<&'a str>,
    hosts: Vec<SocketAddr>,
    #[serde(borrow)]
    agents: Vec<(u32, Option<&'a str>)>,
    entries: Vec<Entry>,
    call_id: Option<&'a str>,
    cut: Vec<(u32, u32)>,
}

/// Whether this is a format that was written once.
pub fn is_known(format: u8) -> bool {
    matches!(format, FORMAT_1 | FORMAT_2)
}

/// Gives header and payloads of what follows the format's octet to `take`.
pub fn read<T>(format: u8, rest: &[u8], take: impl FnOnce(Header<'_>, &[u8]) -> T) -> Result<T, SliceError> {
    let too_short = || SliceError::Header("cut short".into());
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(too_short)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (header, frame) = rest.split_at_checked(length).ok_or_else(too_short)?;
    let mut header = Cow::Borrowed(header);
    if format == FORMAT_1 {
        header.to_mut().extend_from_slice(&ADDED_SINCE_1);
    }
    let Header2 { first_us, correlation_id, hosts, agents, entries, call_id, cut } =
        postcard::from_bytes(&header).map_err(|e| SliceError::Header(e.to_string()))?;
    let header = Header { first_us, tenant: None, correlation_id, call_id, hosts, agents, entries, cut };
    Ok(dictionary::inflate(frame, None, MAX_CONTENT_BYTES, |payloads| take(header, payloads))?)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use crate::store::StoredSlice;

    // As the versions that wrote them left them.
    const SLICE_1: &str = "AUUAAACAgILiiNKjBgEHc2Vzc2lvbgIAwAACAcQnAMYzZAHEJwHRDwEEZWRnZQMAAAEBAQDMAYgnAAEBAQC8AaCcAQABAQEAwwEo\
        tS/9YEsB7QUA8oomIjBr7JuAJ3YRavOWo4gCnu3pOVz5E6XSdRk32iJYQSVQBRjtScjAPfAkhIgY7l6sq9vszvSkU0gm6SY5F11e\
        7A4Osui6CD0vsTtYEuMvuo3J6D7j/bRouAbGdwhKBOzPjA50V5LQABAcRQTDaeRHbdECHeBLKaqVolj8cDQk/GFEt5WSeDAIP7NR\
        LkLPP7iCNptDUGIDhkUWWAoAFdwjnSsACbTUwH5GfZPlhswG50MHRjNvW+AQQcwy";
    const SLICE_2: &str = "AksAAACAgILiiNKjBgEHc2Vzc2lvbgIAwAACAcQnAMYzZAHEJwHRDwEEZWRnZQMAAAEBAQDMAYgnAAEBAQC8AaCcAQABAQEAwwEA\
        AQHwogQotS/9YEsB7QUA8oomIjBr7JuAJ3YRavOWo4gCnu3pOVz5E6XSdRk32iJYQSVQBRjtScjAPfAkhIgY7l6sq9vszvSkU0gm\
        6SY5F11e7A4Osui6CD0vsTtYEuMvuo3J6D7j/bRouAbGdwhKBOzPjA50V5LQABAcRQTDaeRHbdECHeBLKaqVolj8cDQk/GFEt5WS\
        eDAIP7NRLkLPP7iCNptDUGIDhkUWWAoAFdwjnSsACbTUwH5GfZPlhswG50MHRjNvW+AQQcwy";

    fn stored(base64: &str) -> StoredSlice {
        let blob = STANDARD.decode(base64).expect("base64");
        StoredSlice { id: 1, last_us: 0, dictionary: None, blob: blob.into() }
    }

    #[test]
    fn slices_of_earlier_formats_are_read() {
        for (slice, cut) in [(stored(SLICE_1), None), (stored(SLICE_2), Some(70_000))] {
            let messages = slice.messages().expect("readable");
            let facts: Vec<_> = messages.iter().map(|m| (m.sip.method.as_deref(), m.sip.status)).collect();
            assert_eq!(
                facts,
                [(Some("INVITE"), None), (Some("INVITE"), Some(100)), (Some("INVITE"), Some(180))]
            );
            assert!(messages.iter().all(|m| m.sip.call_id.as_deref() == Some("sample")));
            assert_eq!(messages[1].captured.full_length, cut);
            assert_eq!(messages[0].captured.tenant, None);
        }
    }
}
