//! The ends of the connections that messages are sent by.

use std::cell::Cell;
use std::net::SocketAddr;

use capture::{Message, Transport};
use kamailio_sys::{dest_info, onsend_info, receive_info, socket_info};

use crate::message;

/// Connections whose ends a process remembers; one with the same remainder takes the place of an earlier one.
const REMEMBERED: usize = 64;

/// Id, our end, theirs. Ids are not used again before they have run through all numbers.
type Known = (i32, SocketAddr, SocketAddr);

thread_local! {
    static KNOWN: [Cell<Option<Known>>; REMEMBERED] = const { [const { Cell::new(None) }; REMEMBERED] };
}

/// Whether the message's transport has connections, each with two ends of its own.
pub fn is_needed(message: &Message<'_>) -> bool {
    matches!(message.transport, Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss)
}

/// Remembers the ends of the connection that a message came in by, for the replies to it.
#[inline]
pub fn remember(message: &Message<'_>, id: i32) {
    if is_needed(message) {
        keep(id, message.destination, message.source);
    }
}

fn keep(id: i32, ours: Option<SocketAddr>, theirs: Option<SocketAddr>) {
    if id > 0
        && let Some((ours, theirs)) = ours.zip(theirs)
    {
        KNOWN.with(|known| known[id as usize % REMEMBERED].set(Some((id, ours, theirs))));
    }
}

fn remembered(id: i32) -> Option<(SocketAddr, SocketAddr)> {
    let place = usize::try_from(id).ok()? % REMEMBERED;
    let (found, ours, theirs) = KNOWN.with(|known| known[place].get())?;
    (id > 0 && found == id).then_some((ours, theirs))
}

/// Puts both ends of the connection in place of the listening socket and of where the message was to go: the port of a
/// connection that the host has opened is the system's choice, and who is behind a load balancer is known by what the
/// connection began with. Costs nothing for what goes by no connection.
///
/// The answer is `false` if the host does not know our end, or not at this moment; then it stays as it was.
///
/// # Safety
/// The socket in the destination must be null or valid, which holds while the host sends.
pub unsafe fn locate(message: &mut Message<'_>, to: &dest_info) -> bool {
    if !is_needed(message) {
        return true;
    }
    // SAFETY: null pointers and numbers.
    let mut ends: receive_info = unsafe { std::mem::zeroed() };
    // SAFETY: both are valid, and the host's socket is, as the caller says.
    if unsafe { kamailio_sys::siplens_connection(to, &raw mut ends) } <= 0 {
        // It was closed by the sending, or the far side has done so since; a reply's, as a rule, is known from before.
        let Some((ours, theirs)) = remembered(to.id) else { return false };
        (message.source, message.destination) = (Some(ours), Some(theirs));
        return true;
    }
    message.destination = message::address(&ends.src_ip, ends.src_port).or(message.destination);
    if ends.dst_port == 0 {
        return false;
    }
    // SAFETY: null or the listening socket's struct, which lives as long as the host.
    let socket: Option<&socket_info> = unsafe { ends.bind_address.as_ref() };
    message.source = message::told(message::address(&ends.dst_ip, ends.dst_port), socket);
    keep(to.id, message.source, message.destination);
    true
}

/// The same inside `onsend_route`, before the sending: for a connection that is open already. `false` elsewhere.
pub fn before_sending(message: &mut Message<'_>) -> bool {
    // SAFETY: a plain question to the host.
    let leaving = unsafe { kamailio_sys::siplens_onsend() };
    // SAFETY: null, or what the host set up for the onsend_route that we are called from.
    let Some(leaving) = (unsafe { leaving.as_ref() }) else { return false };
    // SAFETY: as above.
    let to = unsafe { destination(leaving) };
    // SAFETY: its socket is the one in the struct.
    unsafe { locate(message, &to) }
}

/// Where the message of an `onsend_route` goes, as far as the host says so there: not by which connection.
///
/// # Safety
/// The pointers in the struct must be null or valid, which holds while the host runs `onsend_route`.
unsafe fn destination(info: &onsend_info) -> dest_info {
    // Not from `dst`: the host leaves that empty, and tm and sl leave in it whatever was there before.
    // SAFETY: a destination of nowhere: null pointers and numbers.
    let mut to: dest_info = unsafe { std::mem::zeroed() };
    to.send_sock = info.send_sock;
    // SAFETY: null or valid, as the caller says.
    if let Some(address) = unsafe { info.to.as_ref() } {
        to.to = *address;
    }
    // SAFETY: null or the listening socket's struct, which lives as long as the host.
    if let Some(socket) = unsafe { info.send_sock.as_ref() } {
        to.proto = socket.proto;
    }
    to
}
