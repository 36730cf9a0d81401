//! `hlog([correlation_id], text)` and `sip_trace_msg(text, [source], [destination], [uri], [correlation_id])`: what the script
//! itself has to say. The same as in Kamailio, except that what is not given is left out.

use std::ffi::{c_int, c_void};

use capture::{Endpoint, Message, Notice, Offer};
use opensips_sys::{LOCAL_ROUTE, sip_msg};

use crate::commands::{complain_of, run, say_once};
use crate::worker::Worker;
use crate::{argument, message, template};

/// What an end must be.
pub const BAD_END: &str =
    "sip_trace_msg: source and destination: expected transport:address:port, such as udp:192.0.2.1:5060";

/// The arguments, valid until the host evaluates another.
struct Text<'a> {
    text: &'a [u8],
    ends: [Option<&'a [u8]>; 2],
    collector: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
}

/// What becomes of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A line about the message that the script works on.
    Log,
    /// A message if it is one, else such a line.
    Message,
}

pub unsafe extern "C" fn hlog(
    msg: *mut sip_msg,
    first: *mut c_void,
    second: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
) -> c_int {
    run(|worker| {
        // SAFETY: the host's argument, valid until the call returns.
        let one = unsafe { argument::value(first) };
        // SAFETY: as above.
        let two = unsafe { argument::value(second) };
        let (id, text) = if second.is_null() { (None, one) } else { (one, two) };
        take(
            worker,
            msg,
            Kind::Log,
            &Text { text: text.unwrap_or_default(), ends: [None; 2], collector: None, id },
        );
    })
}

pub unsafe extern "C" fn sip_trace_msg(
    msg: *mut sip_msg,
    text: *mut c_void,
    source: *mut c_void,
    destination: *mut c_void,
    uri: *mut c_void,
    id: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
) -> c_int {
    run(|worker| {
        let [text, source, destination, collector, id] = [text, source, destination, uri, id].map(|given| {
            // SAFETY: the host's argument, valid until the call returns.
            unsafe { argument::value(given) }
        });
        let text = text.unwrap_or_default();
        take(worker, msg, Kind::Message, &Text { text, ends: [source, destination], collector, id });
    })
}

fn take(worker: &mut Worker, msg: *mut sip_msg, kind: Kind, given: &Text<'_>) {
    let ends = given.ends.map(|end| end.map(Endpoint::parse).transpose());
    let [Ok(source), Ok(destination)] = ends else {
        worker.agent.count_refused();
        say_once(Notice::BadEnd, BAD_END);
        return;
    };
    let captured_at = message::now();
    let mut about = Message::NONE;
    if !msg.is_null() {
        // SAFETY: the host's message, which lives longer than this call; nothing changes its octets meanwhile.
        about = unsafe { message::received(msg, captured_at) };
    }
    // SAFETY: a plain question to the host.
    let is_ours = unsafe { opensips_sys::route_type } == LOCAL_ROUTE;
    // What the proxy has made itself was received by nobody.
    let (from, to) = if is_ours { (None, None) } else { (about.source, about.destination) };
    let (source, destination) = match kind {
        // The proxy has said it, and to nobody.
        Kind::Log => (to, to),
        Kind::Message => {
            (source.map_or(from, |end| Some(end.address)), destination.map_or(to, |end| Some(end.address)))
        }
    };
    let transport = ends[0].ok().flatten().map_or(about.transport, |end| end.transport);
    let id = given.id.or_else(|| worker.name.of(&about));
    let (mut text, mut collector, mut from_template) = (given.text, given.collector, None);
    if id.is_none() && template::is_set() {
        // The host may use the arguments' places again.
        worker.text.clear();
        worker.text.extend_from_slice(text);
        worker.collector.clear();
        worker.collector.extend_from_slice(collector.unwrap_or_default());
        collector = collector.map(|_| worker.collector.as_slice());
        text = &worker.text;
        if template::evaluate(msg, &mut worker.template) {
            from_template = Some(worker.template.as_slice());
        }
    }
    let message = Message { raw: text, source, destination, transport, captured_at, inner_call_id: None };
    let offer = Offer { message, collector, correlation: id, template: from_template };
    let outcome = match kind {
        Kind::Log => worker.agent.log(&offer, &about),
        Kind::Message => worker.agent.offer_text(&offer, &about),
    };
    if let Err(refusal) = outcome {
        complain_of(refusal, collector);
    }
}
