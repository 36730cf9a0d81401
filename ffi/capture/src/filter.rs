//! Which messages are taken.

use crate::message::Message;
use crate::network::Network;
use crate::shared::Shared;

/// Whether this message is to be captured at all; read first, so that a message that is not wanted costs one load.
///
/// An empty message is what a keep-alive leaves; there is nothing in it to find later.
pub fn wants(shared: &Shared, raw: &[u8]) -> bool {
    shared.is_enabled() && raw.first().is_some_and(u8::is_ascii_graphic)
}

/// Whether messages with this method are captured; an empty list stands for all of them.
pub fn wants_method(methods: &[Box<[u8]>], method: Option<&[u8]>) -> bool {
    methods.is_empty()
        || method.is_some_and(|method| methods.iter().any(|wanted| wanted.eq_ignore_ascii_case(method)))
}

/// Whether this message comes from or goes to one of these; an empty list stands for everywhere.
pub fn wants_ends(networks: &[Network], message: &Message<'_>) -> bool {
    let ends = [message.source, message.destination];
    networks.is_empty()
        || networks.iter().any(|network| ends.into_iter().flatten().any(|end| network.contains(end)))
}
