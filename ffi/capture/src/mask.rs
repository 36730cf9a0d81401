//! What must not leave the proxy is made unreadable on the way into the queue.

use crate::config::Config;

/// What one process needs to mask messages.
#[derive(Debug)]
pub(crate) struct Mask {
    what: sip::Mask,
    /// Room for a message that is masked, used again and again.
    copy: Vec<u8>,
}

impl Mask {
    /// `None` if nothing is to be masked.
    pub fn new(config: &Config) -> Option<Self> {
        let what = config.mask.clone();
        what.is_any().then(|| Self { what, copy: Vec::with_capacity(4096) })
    }

    /// The message with everything masked that is to be; `None` if there is nothing of that in it.
    #[inline(never)]
    pub fn apply(&mut self, raw: &[u8]) -> Option<&[u8]> {
        let Self { what, copy } = self;
        copy.clear();
        what.find(raw, |place| {
            if copy.is_empty() {
                copy.extend_from_slice(raw);
            }
            if let Some(part) = copy.get_mut(place) {
                sip::cover(part);
            }
        });
        (!copy.is_empty()).then_some(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    #[test]
    fn what_is_masked_is_a_copy_and_what_holds_nothing_to_mask_is_not_copied() {
        let (mask_headers, mask_body) = ("Authorization".to_owned(), "text/*".to_owned());
        let config = Config::check(Settings { mask_headers, mask_body, ..Settings::default() }).unwrap();
        let mut mask = Mask::new(&config).unwrap();
        let raw = b"MESSAGE sip:b@h SIP/2.0\r\nAuthorization: Digest x\r\nc: text/plain\r\n\r\nPIN 4711";
        let masked = b"MESSAGE sip:b@h SIP/2.0\r\nAuthorization: xxxxxxxx\r\nc: text/plain\r\n\r\nxxxxxxxx";
        assert_eq!(mask.apply(raw), Some(&masked[..]));
        assert_eq!(mask.apply(b"BYE sip:b@h SIP/2.0\r\nAuthorization:\r\nc: text/plain\r\n\r\n"), None);
        assert_eq!(mask.apply(raw), Some(&masked[..]), "the room is used again");
        assert!(Mask::new(&Config::check(Settings::default()).unwrap()).is_none());
    }
}
