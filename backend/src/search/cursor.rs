//! Where a list goes on: opaque to clients, and bound to the order of its list, so that what arrives meanwhile neither
//! repeats nor hides an item.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::SearchError;
use crate::call::message::{Message, MessageId};

/// A kind of list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum List {
    /// Messages, newest first.
    Messages,
    /// Calls, newest first.
    Calls,
}

/// A place in the order of a list: a message that was listed last, or that the call that was listed last is listed by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cursor {
    /// When it was captured, µs since the epoch.
    pub captured_at_us: i64,
    /// Which it is.
    pub id: MessageId,
}

impl List {
    const fn tag(self) -> u8 {
        match self {
            Self::Messages => b'm',
            // Not that of lists by slice, which were before.
            Self::Calls => b'l',
        }
    }
}

impl Cursor {
    /// The place of this message.
    #[must_use]
    pub fn at(message: &Message) -> Self {
        let (captured_at_us, id) = message.order();
        Self { captured_at_us, id }
    }

    /// Everything captured at that time or before is still to come.
    #[must_use]
    pub fn just_after(captured_at_us: i64) -> Self {
        Self { captured_at_us, id: MessageId { slice: i64::MAX, index: u32::MAX } }
    }

    /// What the list is ordered by.
    #[must_use]
    pub fn order(&self) -> (i64, MessageId) {
        (self.captured_at_us, self.id)
    }

    /// The text that a client gets.
    #[must_use]
    pub fn encode(&self, list: List) -> String {
        let mut octets = Vec::with_capacity(21);
        octets.push(list.tag());
        octets.extend_from_slice(&self.captured_at_us.to_be_bytes());
        octets.extend_from_slice(&self.id.slice.to_be_bytes());
        octets.extend_from_slice(&self.id.index.to_be_bytes());
        URL_SAFE_NO_PAD.encode(octets)
    }

    /// Reads what [`Self::encode`] made for the same list.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn decode(list: List, text: &str) -> Result<Self, SearchError> {
        let octets: [u8; 21] = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|octets| octets.try_into().ok())
            .ok_or(SearchError::Cursor)?;
        let (head, rest) = octets.split_at(1);
        let (time_us, rest) = rest.split_at(8);
        let (slice, index) = rest.split_at(8);
        if head != [list.tag()] {
            return Err(SearchError::Cursor);
        }
        let number =
            |octets: &[u8]| octets.try_into().map(i64::from_be_bytes).map_err(|_| SearchError::Cursor);
        let index = index.try_into().map(u32::from_be_bytes).map_err(|_| SearchError::Cursor)?;
        Ok(Self { captured_at_us: number(time_us)?, id: MessageId { slice: number(slice)?, index } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let cursor = Cursor { captured_at_us: 1_700_000_000_000_000, id: MessageId { slice: 42, index: 7 } };
        let encoded = cursor.encode(List::Calls);
        assert_eq!(Cursor::decode(List::Calls, &encoded).expect("own cursor"), cursor);
        assert!(Cursor::decode(List::Messages, &encoded).is_err());
        assert!(Cursor::decode(List::Calls, "").is_err());
        assert!(Cursor::decode(List::Calls, "%%%").is_err());
    }
}
