//! Nothing panics, what is lent lies within the message, and identity read alone is that of the whole message.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let within = |slice: &[u8]| {
        assert!(
            raw.as_ptr_range().start <= slice.as_ptr() && slice.as_ptr_range().end <= raw.as_ptr_range().end
        )
    };
    let quick = sip::call_id(raw);
    let _ = (sip::uri_user(raw), sip::uri_host(raw));
    let Ok(message) = sip::parse(raw) else { return };
    if raw.len() <= sip::QUICK_SCAN_LEN {
        assert_eq!(quick, message.call_id());
    }
    let parties = [message.from(), message.to(), message.contact()].into_iter().flatten();
    for party in parties {
        [Some(party.uri), party.display, party.user, party.host, party.tag]
            .into_iter()
            .flatten()
            .for_each(within);
    }
    [message.branch(), message.user_agent(), message.content_type(), message.method(), Some(message.body())]
        .into_iter()
        .flatten()
        .for_each(within);
    let _ = (message.cseq(), message.content_length(), message.header("Route"));
    let identity = sip::parse_identity(raw).expect("it was read as a whole");
    assert_eq!((identity.from(), identity.to()), (message.from(), message.to()));
    assert_eq!((identity.call_id(), identity.cseq()), (message.call_id(), message.cseq()));
    assert_eq!(identity.from_user(), message.from().and_then(|from| from.user));
    assert_eq!(identity.to_tag(), message.to().and_then(|to| to.tag));
    for header in message.headers() {
        within(header.name);
        within(header.value);
    }
});
