//! Whole messages, good and bad.

use sip::{CSeq, NotSip, StartLine, parse};

/// RFC 3261 §24.2, F1, with a second Via in its own header.
const INVITE: &[u8] = b"INVITE sip:bob@biloxi.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bKnashds8\r\n\
    Via: SIP/2.0/TCP other.atlanta.com;branch=z9hG4bKsecond\r\n\
    Max-Forwards: 70\r\n\
    To: Bob <sip:bob@biloxi.com>\r\n\
    From: Alice <sip:alice@atlanta.com>;tag=1928301774\r\n\
    Call-ID: a84b4c76e66710\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:alice@pc33.atlanta.com>\r\n\
    User-Agent: softphone/1.0\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 4\r\n\
    \r\n\
    v=0\n";

#[test]
fn every_field_of_an_ordinary_request_is_read() {
    let message = parse(INVITE).unwrap();
    assert_eq!(message.start(), StartLine::Request { method: b"INVITE", uri: b"sip:bob@biloxi.com" });
    assert_eq!(message.method(), Some(&b"INVITE"[..]));
    assert_eq!(message.call_id(), Some(&b"a84b4c76e66710"[..]));
    assert_eq!(sip::call_id(INVITE), message.call_id());
    assert_eq!(message.cseq(), Some(CSeq { number: 314_159, method: b"INVITE" }));
    let from = message.from().unwrap();
    assert_eq!(from.display, Some(&b"Alice"[..]));
    assert_eq!(from.uri, b"sip:alice@atlanta.com");
    assert_eq!((from.user, from.host), (Some(&b"alice"[..]), Some(&b"atlanta.com"[..])));
    assert_eq!(from.tag, Some(&b"1928301774"[..]));
    assert_eq!(message.to().unwrap().tag, None);
    assert_eq!(message.branch(), Some(&b"z9hG4bKnashds8"[..]), "the topmost");
    assert_eq!(message.contact_user(), Some(&b"alice"[..]));
    assert_eq!(message.contact_host(), Some(&b"pc33.atlanta.com"[..]));
    assert_eq!(message.user_agent(), Some(&b"softphone/1.0"[..]));
    assert_eq!(message.content_type(), Some(&b"application/sdp"[..]));
    assert_eq!(message.content_length(), Some(4));
    assert_eq!(message.body(), b"v=0\n");
    assert_eq!(message.header("max-forwards"), Some(&b"70"[..]));
    assert_eq!(message.header("v"), Some(&b"SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bKnashds8"[..]));
    assert_eq!(message.header("Subject"), None);
    assert_eq!(message.headers().filter(|header| header.is(b"Via")).count(), 2);
}

#[test]
fn reply_belongs_to_the_method_of_its_cseq() {
    let raw = b"SIP/2.0 486 Busy Here\r\nCSeq: 2 INVITE\r\nServer: proxy/5\r\n\r\n";
    let message = parse(raw).unwrap();
    assert_eq!(message.start(), StartLine::Reply { status: 486, reason: b"Busy Here" });
    assert_eq!(message.method(), Some(&b"INVITE"[..]));
    assert_eq!(message.user_agent(), Some(&b"proxy/5"[..]), "Server where there is no User-Agent");
}

#[test]
fn compact_names_are_read_as_the_long_ones() {
    let raw = b"BYE sip:x@h SIP/2.0\r\nv: SIP/2.0/WSS h;branch=z9hG4bKb\r\nf: <sip:a@h>;tag=1\r\n\
        T: <sip:b@h>;tag=2\r\ni: call\r\nCSeq: 1 BYE\r\nm: <sip:c@h>\r\nl: 0\r\nc: text/plain\r\n\r\n";
    let message = parse(raw).unwrap();
    assert_eq!(message.branch(), Some(&b"z9hG4bKb"[..]));
    assert_eq!(message.via().unwrap().transport, b"WSS");
    assert_eq!(message.from().unwrap().tag, Some(&b"1"[..]));
    assert_eq!(message.to().unwrap().tag, Some(&b"2"[..]));
    assert_eq!(message.call_id(), Some(&b"call"[..]));
    assert_eq!(message.contact_user(), Some(&b"c"[..]));
    assert_eq!(message.content_length(), Some(0));
    assert_eq!(message.content_type(), Some(&b"text/plain"[..]));
}

#[test]
fn folded_headers_and_bare_line_feeds_are_read() {
    let raw = b"\nOPTIONS sip:h SIP/2.0\nVia: SIP/2.0/UDP h\n ;branch=z9hG4bKf\nCall-ID:\n call\nFrom: A\n\t<sip:a@h>\n\
        \t;tag=1\nCSeq: 1\n OPTIONS\n\nbody";
    let message = parse(raw).unwrap();
    assert_eq!(message.branch(), Some(&b"z9hG4bKf"[..]));
    assert_eq!(message.call_id(), Some(&b"call"[..]));
    assert_eq!(message.from().unwrap().tag, Some(&b"1"[..]));
    assert_eq!(message.cseq(), Some(CSeq { number: 1, method: b"OPTIONS" }));
    assert_eq!(message.body(), b"body");
}

#[test]
fn broken_headers_are_none_and_the_others_are_read() {
    let raw =
        b"REGISTER sip:h SIP/2.0\r\nVia: nonsense\r\nFrom:\r\nTo <sip:no-colon@h>\r\nCSeq: many REGISTER\r\n\
        Contact: *\r\nContent-Length: -1\r\nUser-Agent: \xe9\xff\r\n\r\n";
    let message = parse(raw).unwrap();
    assert_eq!(message.via(), None);
    assert_eq!(message.from(), None);
    assert_eq!(message.to(), None);
    assert_eq!(message.cseq(), None);
    assert_eq!(message.call_id(), None, "there is none");
    assert_eq!(message.contact(), None);
    assert_eq!(message.content_length(), None);
    assert_eq!(message.user_agent(), Some(&b"\xe9\xff"[..]), "bytes that are no UTF-8 are lent");
}

#[test]
fn cseq_out_of_range_or_without_method_is_none() {
    for (value, number) in
        [("4294967295 ACK", Some(4_294_967_295)), ("4294967296 ACK", None), ("1", None), ("1 ", None)]
    {
        let raw = format!("ACK sip:h SIP/2.0\r\nCSeq: {value}\r\n\r\n");
        assert_eq!(parse(raw.as_bytes()).unwrap().cseq().map(|cseq| cseq.number), number, "{value}");
    }
}

#[test]
fn request_uris_of_every_kind_are_lent_as_they_are() {
    for uri in [
        "tel:+491234;phone-context=example.com",
        "sip:bob@[2001:db8::1]:5061;transport=ws",
        "urn:service:sos",
    ] {
        let raw = format!("INVITE {uri} SIP/2.0\r\n\r\n");
        let expected = StartLine::Request { method: b"INVITE", uri: uri.as_bytes() };
        assert_eq!(parse(raw.as_bytes()).unwrap().start(), expected);
    }
}

#[test]
fn message_cut_at_any_octet_is_read_as_far_as_it_goes() {
    let whole = parse(INVITE).unwrap();
    let first_line = INVITE.iter().position(|&octet| octet == b'\r').unwrap();
    for end in 0..INVITE.len() {
        match parse(&INVITE[..end]) {
            Ok(cut) => {
                assert!(end >= first_line);
                assert_eq!(cut.start(), whole.start());
                // A value may be cut short, never be another one.
                let call_id = cut.call_id().unwrap_or_default();
                assert!(whole.call_id().unwrap().starts_with(call_id));
            }
            Err(NotSip) => assert!(end < first_line),
        }
    }
}

#[test]
fn identity_is_read_of_names_of_any_form_with_white_space_before_them() {
    for space in ["", "\r", "\x0c", "\x0c\t "] {
        for [from, to, call_id, cseq] in
            [["From", "To", "Call-ID", "CSeq"], ["f", "t", "i", "cseq"], ["F", "T", "I", "CSEQ"]]
        {
            let raw = format!(
                "OPTIONS sip:h SIP/2.0\r\n{space}X: 1\r\n{space}{from}: <sip:a@h>;tag=1\r\n{space}{to}: <tel:2>;tag=3\r\n\
                 {space}{call_id}: c\r\n{space}{cseq}: 7 OPTIONS\r\n\r\n"
            );
            let message = sip::parse_identity(raw.as_bytes()).unwrap();
            assert_eq!(message.from_user(), Some(&b"a"[..]), "{raw:?}");
            assert_eq!(message.to_user_and_tag(), (Some(&b"2"[..]), Some(&b"3"[..])), "{raw:?}");
            assert_eq!(
                (message.call_id(), message.cseq().map(|cseq| cseq.number)),
                (Some(&b"c"[..]), Some(7))
            );
        }
    }
}
