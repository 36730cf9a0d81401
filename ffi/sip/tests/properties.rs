//! What holds for every input.

use proptest::collection::vec;
use proptest::prelude::*;
use sip::{CSeq, StartLine, parse, parse_identity};

/// Text that looks like a message far enough to reach the code behind the first line.
fn nearly_a_message() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&[u8]; 26] = [
        b"Via",
        b"f:",
        b"To: ",
        b"Contact:",
        b"CSeq: 1 ",
        b"Call-ID",
        b"\r\n",
        b"\n ",
        b":",
        b"\"",
        b"\\",
        b"<sip:",
        b">",
        b";tag=",
        b";branch",
        b"=",
        b"@",
        b"[",
        b",",
        b"SIP/2.0/UDP ",
        b"\xff\0",
        b"x",
        b" ",
        b"\x0c",
        b"From",
        b"tel:",
    ];
    let piece = (0..PIECES.len()).prop_map(|at| PIECES[at]);
    vec(piece, 0..60).prop_map(|pieces| [b"OPTIONS sip:h SIP/2.0\r\n", pieces.concat().as_slice()].concat())
}

/// Asks for everything there is.
fn ask(raw: &[u8]) {
    let _ = sip::call_id(raw);
    let _ = (sip::uri_user(raw), sip::uri_host(raw));
    let Ok(message) = parse(raw) else { return };
    let _ =
        (message.start(), message.method(), message.call_id(), message.cseq(), message.from(), message.to());
    let _ =
        (message.contact(), message.contact_user(), message.contact_host(), message.via(), message.branch());
    let _ = (message.user_agent(), message.content_type(), message.content_length(), message.header("Route"));
    let of_headers: usize = message.headers().map(|header| header.name.len() + header.value.len()).sum();
    assert!(of_headers + message.body().len() <= raw.len());
}

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.!%*_+`'~-]{1,12}"
}

proptest! {
    #[test]
    fn no_octets_panic(raw in vec(any::<u8>(), 0..300)) {
        ask(&raw);
    }

    #[test]
    fn nothing_that_looks_like_a_message_panics(raw in nearly_a_message()) {
        ask(&raw);
    }

    #[test]
    fn quick_scan_finds_the_call_id_that_the_full_one_finds(raw in nearly_a_message()) {
        prop_assert_eq!(sip::call_id(&raw), parse(&raw).unwrap().call_id());
    }

    #[test]
    fn identity_read_alone_is_that_of_the_whole_message(raw in nearly_a_message()) {
        let (whole, identity) = (parse(&raw).unwrap(), parse_identity(&raw).unwrap());
        prop_assert_eq!(identity.start(), whole.start());
        prop_assert_eq!(identity.call_id(), whole.call_id());
        prop_assert_eq!(identity.cseq(), whole.cseq());
        prop_assert_eq!((identity.from(), identity.to()), (whole.from(), whole.to()));
        prop_assert!(identity.via().is_none() || identity.via() == whole.via());
        prop_assert_eq!(identity.from_user(), whole.from().and_then(|from| from.user));
        let (user, tag) = whole.to().map_or((None, None), |to| (to.user, to.tag));
        prop_assert_eq!(identity.to_user_and_tag(), (user, tag));
    }

    #[test]
    fn what_was_put_in_is_read(
        method in "[A-Z]{1,12}",
        user in token(),
        display in "[^\"\\\\\r\n]{1,20}",
        tags in (token(), token()),
        call_id in token(),
        branch in token(),
        number: u32,
        body in vec(any::<u8>(), 0..50),
        line_end in prop_oneof![Just("\r\n"), Just("\n")],
        fold in prop_oneof![Just(" "), Just("\r\n "), Just("\n\t")],
    ) {
        let head = [
            format!("{method} sip:{user}@example.com SIP/2.0"),
            format!("Via:{fold}SIP/2.0/TLS h:5061{fold};x=\"a;b,c\";branch={branch}"),
            format!("From:{fold}\"{display}\" <sip:{user}@[::1]:5060;lr>{fold};tag={}", tags.0),
            format!("To: sip:{user}@example.com;tag={}", tags.1),
            format!("Call-ID:{fold}{call_id}"),
            format!("CSeq: {number}{fold}{method}"),
            String::new(),
            String::new(),
        ];
        let raw = [head.join(line_end).as_bytes(), &body].concat();
        let message = parse(&raw).unwrap();
        let uri = format!("sip:{user}@example.com");
        prop_assert_eq!(message.start(), StartLine::Request { method: method.as_bytes(), uri: uri.as_bytes() });
        prop_assert_eq!(message.branch(), Some(branch.as_bytes()));
        let from = message.from().unwrap();
        prop_assert_eq!(from.display, Some(display.as_bytes()));
        prop_assert_eq!(from.user, Some(user.as_bytes()));
        prop_assert_eq!(from.host, Some(&b"[::1]"[..]));
        prop_assert_eq!(from.tag, Some(tags.0.as_bytes()));
        prop_assert_eq!(message.to().unwrap().tag, Some(tags.1.as_bytes()));
        prop_assert_eq!(message.call_id(), Some(call_id.as_bytes()));
        prop_assert_eq!(message.cseq(), Some(CSeq { number, method: method.as_bytes() }));
        prop_assert_eq!(message.body(), body.as_slice());
    }
}
