//! Where a list goes on: opaque to clients, and bound to the order of its list, so that what arrives meanwhile neither
//! repeats nor hides an item.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::SearchError;
use crate::call::message::MessageId;

const MESSAGES: u8 = b'm';
const CALLS: u8 = b'c';

/// The last message that was listed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageCursor {
    pub captured_at_us: i64,
    pub id: MessageId,
}

/// The slice at which the last call was listed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CallCursor {
    pub place: (i64, i64),
}

impl MessageCursor {
    pub fn order(&self) -> (i64, MessageId) {
        (self.captured_at_us, self.id)
    }

    pub fn encode(&self) -> String {
        encode(MESSAGES, self.captured_at_us, self.id.slice, self.id.index)
    }

    pub fn decode(text: &str) -> Result<Self, SearchError> {
        let (captured_at_us, slice, index) = decode(MESSAGES, text)?;
        Ok(Self { captured_at_us, id: MessageId { slice, index } })
    }
}

impl CallCursor {
    pub fn encode(&self) -> String {
        encode(CALLS, self.place.0, self.place.1, 0)
    }

    pub fn decode(text: &str) -> Result<Self, SearchError> {
        let (first_us, id, _) = decode(CALLS, text)?;
        Ok(Self { place: (first_us, id) })
    }
}

fn encode(list: u8, time_us: i64, slice: i64, index: u32) -> String {
    let mut octets = Vec::with_capacity(21);
    octets.push(list);
    octets.extend_from_slice(&time_us.to_be_bytes());
    octets.extend_from_slice(&slice.to_be_bytes());
    octets.extend_from_slice(&index.to_be_bytes());
    URL_SAFE_NO_PAD.encode(octets)
}

fn decode(list: u8, text: &str) -> Result<(i64, i64, u32), SearchError> {
    let octets: [u8; 21] = URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|octets| octets.try_into().ok())
        .ok_or(SearchError::Cursor)?;
    let (head, rest) = octets.split_at(1);
    let (time_us, rest) = rest.split_at(8);
    let (slice, index) = rest.split_at(8);
    if head != [list] {
        return Err(SearchError::Cursor);
    }
    let number = |octets: &[u8]| octets.try_into().map(i64::from_be_bytes).map_err(|_| SearchError::Cursor);
    let index = index.try_into().map(u32::from_be_bytes).map_err(|_| SearchError::Cursor)?;
    Ok((number(time_us)?, number(slice)?, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let cursor = CallCursor { place: (1_700_000_000_000_000, 42) };
        assert_eq!(CallCursor::decode(&cursor.encode()).expect("own cursor"), cursor);
        assert!(MessageCursor::decode(&cursor.encode()).is_err());
        assert!(CallCursor::decode("").is_err());
        assert!(CallCursor::decode("%%%").is_err());
    }
}
