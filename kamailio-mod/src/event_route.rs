//! `event_route[siplens:msg]`, or the function that `evcb_msg` names in a script of another language: the script's last word
//! on a message that would be captured. It may drop it, no more.
//!
//! The route runs on a message that the host parses anew of a copy of the octets, so that nothing it does can reach the
//! real one. That costs a copy, a parse and the route for each captured message, and nothing without the route.

use std::ffi::{c_char, c_int};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use capture::{Message, Transport};
use kamailio_sys::{
    AF_INET, AF_INET6, ip_addr, sip_protos_PROTO_SCTP, sip_protos_PROTO_TCP, sip_protos_PROTO_TLS,
    sip_protos_PROTO_UDP, sip_protos_PROTO_WS, sip_protos_PROTO_WSS,
};

use crate::params;

/// The host's index of the route; negative without one.
static ROUTE: AtomicI32 = AtomicI32::new(-1);
/// Whether there is none, but a function of a script in another language.
static CALLBACK: AtomicBool = AtomicBool::new(false);
/// Whether the route runs: what it sends or points at is not captured. Each process has its own.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// Looks for the route, else for the function; to be called from `mod_init`, when the configuration has been read.
pub fn find() -> Result<(), String> {
    // SAFETY: the host reads its table of routes.
    let route = unsafe { kamailio_sys::siplens_event_route() };
    ROUTE.store(route, Ordering::Relaxed);
    if !params::has_callback() {
        return Ok(());
    }
    // SAFETY: a plain question to the host, which has read its configuration.
    if unsafe { kamailio_sys::sr_kemi_eng_get() }.is_null() {
        return Err("modparam evcb_msg: expected routing logic in another language (cfgengine); else write event_route[siplens:msg]".to_owned());
    }
    CALLBACK.store(route < 0, Ordering::Relaxed);
    Ok(())
}

/// Whether the script has the route.
pub fn exists() -> bool {
    ROUTE.load(Ordering::Relaxed) >= 0 || CALLBACK.load(Ordering::Relaxed)
}

/// Whether the route is running in this process.
pub fn is_running() -> bool {
    RUNNING.load(Ordering::Relaxed)
}

/// What the agent asks about each message; `None` without the route.
pub fn drops() -> Option<fn(&Message<'_>) -> bool> {
    exists().then_some(run)
}

/// Whether the script dropped the message. One that the host cannot parse is not shown to it, and kept.
fn run(message: &Message<'_>) -> bool {
    let Ok(len) = c_int::try_from(message.raw.len()) else { return false };
    let (from, from_port) = address(message.source);
    let (to, to_port) = address(message.destination);
    RUNNING.store(true, Ordering::Relaxed);
    // SAFETY: the host copies `len` octets before it parses them; the addresses are ours and read only. The route is one
    // that the host has found, the function's name its own copy, and the script runs as it does for any event, in the process's only thread.
    let dropped = unsafe {
        kamailio_sys::siplens_run_event_route(
            ROUTE.load(Ordering::Relaxed),
            params::callback(),
            message.raw.as_ptr().cast::<c_char>(),
            len,
            &raw const from,
            from_port,
            &raw const to,
            to_port,
            proto(message.transport),
        )
    };
    RUNNING.store(false, Ordering::Relaxed);
    dropped > 0
}

/// The host's form of an address; family 0 stands for none.
fn address(address: Option<SocketAddr>) -> (ip_addr, u16) {
    // SAFETY: plain numbers, for which zeroes are values.
    let mut host: ip_addr = unsafe { std::mem::zeroed() };
    let Some(address) = address else { return (host, 0) };
    let mut octets = [0; 16];
    (host.af, host.len) = match address.ip() {
        IpAddr::V4(ip) => {
            octets[..4].copy_from_slice(&ip.octets());
            (AF_INET, 4)
        }
        IpAddr::V6(ip) => {
            octets = ip.octets();
            (AF_INET6, 16)
        }
    };
    host.u.addr = octets;
    (host, address.port())
}

fn proto(transport: Transport) -> c_int {
    let proto = match transport {
        Transport::Udp => sip_protos_PROTO_UDP,
        Transport::Tcp => sip_protos_PROTO_TCP,
        Transport::Tls => sip_protos_PROTO_TLS,
        Transport::Ws => sip_protos_PROTO_WS,
        Transport::Wss => sip_protos_PROTO_WSS,
        Transport::Sctp => sip_protos_PROTO_SCTP,
    };
    c_int::try_from(proto).unwrap_or_default()
}
