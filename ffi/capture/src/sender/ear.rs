//! What a collector answers. Nothing in it is trusted, and no more of it is kept than an answer has octets.

use hep::framing::{Frame, frame};

/// Octets of the longest answer; ours has 28.
const MOST_BYTES: usize = 256;

/// Listens for acknowledgements of one stream.
#[derive(Debug)]
pub struct Ear {
    /// The start of an answer.
    held: Vec<u8>,
    /// The highest number acknowledged since it was asked for.
    number: Option<u64>,
    is_rubbish: bool,
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Nothing,
    /// Packets up to this number are safe.
    Number(u64),
    /// Something that is no answer. All that follows it is thrown away.
    Rubbish,
}

impl Ear {
    pub fn new() -> Self {
        Self { held: Vec::with_capacity(MOST_BYTES), number: None, is_rubbish: false }
    }

    /// Begins anew, for another connection.
    pub fn forget(&mut self) {
        self.held.clear();
        self.number = None;
        self.is_rubbish = false;
    }

    /// Takes what a collector said to the sender of this stream.
    pub fn hear(&mut self, octets: &[u8], stream: u64) {
        for piece in octets.chunks(MOST_BYTES) {
            if self.is_rubbish {
                return;
            }
            self.held.extend_from_slice(piece);
            while !self.held.is_empty() {
                match frame(&self.held) {
                    Ok(Frame::Complete(len)) if len <= MOST_BYTES => self.answer(len, stream),
                    Ok(Frame::Incomplete { needed }) if self.held.len() + needed <= MOST_BYTES => break,
                    Ok(Frame::Complete(_) | Frame::Incomplete { .. }) | Err(_) => self.is_rubbish = true,
                }
                if self.is_rubbish {
                    self.held.clear();
                }
            }
        }
    }

    fn answer(&mut self, len: usize, stream: u64) {
        let packet = self.held.get(..len).and_then(|packet| hep::decode(packet).ok());
        match packet.and_then(|packet| packet.acknowledged) {
            Some(acknowledged) if acknowledged.stream == stream => {
                self.number = self.number.max(Some(acknowledged.number));
            }
            // Of an earlier sender, perhaps.
            Some(_) => {}
            None => self.is_rubbish = true,
        }
        self.held.drain(..len.min(self.held.len()));
    }

    /// What was heard since this was last asked. Rubbish is told after all that came before it.
    pub fn take(&mut self) -> Heard {
        match self.number.take() {
            Some(number) => Heard::Number(number),
            None if self.is_rubbish => Heard::Rubbish,
            None => Heard::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use hep::{Acknowledged, Packet};
    use proptest::prelude::*;

    use super::*;

    fn answer(stream: u64, number: u64) -> Vec<u8> {
        let mut octets = Vec::new();
        let acknowledged = Some(Acknowledged { stream, number });
        hep::encode(&Packet { acknowledged, ..Packet::default() }, &mut octets).unwrap();
        octets
    }

    #[test]
    fn answers_are_heard_wherever_they_are_cut_and_those_of_others_passed_over() {
        let said = [answer(7, 3), answer(8, 100), answer(7, 5), answer(7, 4)].concat();
        for size in 1..=said.len() {
            let mut ear = Ear::new();
            said.chunks(size).for_each(|piece| ear.hear(piece, 7));
            assert_eq!(ear.take(), Heard::Number(5));
            assert_eq!(ear.take(), Heard::Nothing);
        }
    }

    #[test]
    fn rubbish_is_told_after_what_came_before_it_and_nothing_more_is_kept() {
        let packet = Packet { payload: hep::Payload::Plain(&[b'x'; 300]), ..Packet::default() };
        let mut long = Vec::new();
        hep::encode(&packet, &mut long).unwrap();
        let mut unasked = Vec::new();
        hep::encode(&Packet { agent_id: Some(1), ..Packet::default() }, &mut unasked).unwrap();
        for rubbish in [&b"HTTP/1.1 400 Bad Request\r\n"[..], &long, &long[..6], &unasked, b"HEP3\0\x05"] {
            let mut ear = Ear::new();
            ear.hear(&[&answer(7, 3), rubbish].concat(), 7);
            assert_eq!((ear.take(), ear.take()), (Heard::Number(3), Heard::Rubbish));
            // What would be gigabytes.
            (0..1000).for_each(|_| ear.hear(&[b'z'; 65_536], 7));
            assert_eq!((ear.take(), ear.held.len()), (Heard::Rubbish, 0));
            assert!(ear.held.capacity() <= 4 * MOST_BYTES);
            ear.forget();
            ear.hear(&answer(7, 4), 7);
            assert_eq!(ear.take(), Heard::Number(4));
        }
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic_or_keep_more_than_an_answer(
            pieces in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..700),
                    (0u64..3, any::<u64>()).prop_map(|(stream, number)| answer(stream, number)),
                    Just(b"HEP3\0\x1c".to_vec()),
                ],
                0..20,
            ),
        ) {
            let mut ear = Ear::new();
            for piece in pieces {
                ear.hear(&piece, 1);
                prop_assert!(ear.held.len() <= 2 * MOST_BYTES);
                ear.take();
            }
        }
    }
}
