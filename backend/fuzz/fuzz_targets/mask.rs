//! Rules that mask: no octet of what is to be masked is left in what is kept, in whatever chunk, compressed or not, and
//! nothing else is changed.
#![no_main]

use hep::{Packet, Payload};
use libfuzzer_sys::{arbitrary, fuzz_target};
use siplens_backend::ingest::content::{ContentRules, Duplicates, MaskRule, Verdict};

/// Found nowhere by chance.
const SECRET: &[u8] = b"S3CR3T-4711";

#[derive(arbitrary::Arbitrary, Debug)]
struct Input<'a> {
    start: Start<'a>,
    lines: Vec<Line<'a>>,
    body: &'a [u8],
    compressed: bool,
    /// Another payload before the one that counts.
    before: Option<&'a [u8]>,
    /// What stands behind the packet's own length.
    behind: &'a [u8],
    is_secret_behind: bool,
    only_of: Option<bool>,
}

#[derive(arbitrary::Arbitrary, Debug)]
enum Start<'a> {
    Request,
    Reply,
    Raw(&'a [u8]),
}

#[derive(arbitrary::Arbitrary, Debug)]
enum Line<'a> {
    /// A header whose value is secret.
    Secret {
        compact: bool,
        name: u8,
        blanks: u8,
        value: &'a [u8],
        fold: bool,
        bare: bool,
    },
    Other(&'a [u8]),
}

/// The same names in other letters.
const NAMES: [&str; 4] = ["Authorization", "authorization", "AUTHORIZATION", "AuThOrIzAtIoN"];

fn without_line_ends(octets: &[u8]) -> Vec<u8> {
    octets.iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n')).collect()
}

fn message(input: &Input) -> Vec<u8> {
    let mut raw = match &input.start {
        Start::Request => b"MESSAGE sip:b@h SIP/2.0".to_vec(),
        Start::Reply => b"SIP/2.0 200 OK\r\nCSeq: 1 MESSAGE".to_vec(),
        Start::Raw(start) => without_line_ends(start),
    };
    if raw.is_empty() {
        // Empty lines before the first are passed over, and that one is not masked.
        raw.push(b'-');
    }
    raw.extend_from_slice(b"\r\n");
    for line in &input.lines {
        match line {
            Line::Other(line) => {
                raw.extend(without_line_ends(line));
                raw.extend_from_slice(b"\r\n");
            }
            Line::Secret { compact, name, blanks, value, fold, bare } => {
                let name = if *compact { "s" } else { NAMES[usize::from(*name) % NAMES.len()] };
                raw.extend_from_slice(name.as_bytes());
                raw.extend(std::iter::repeat_n(b' ', usize::from(blanks % 3)));
                raw.push(b':');
                raw.extend(without_line_ends(value));
                raw.extend_from_slice(if *fold { b"\r\n " } else { b" " });
                raw.extend_from_slice(SECRET);
                raw.extend_from_slice(if *bare { b"\n" } else { b"\r\n" });
            }
        }
    }
    raw.extend_from_slice(b"\r\n");
    raw.extend_from_slice(input.body);
    raw.extend_from_slice(SECRET);
    raw
}

fn has_secret(octets: &[u8]) -> bool {
    octets.windows(SECRET.len()).any(|part| part == SECRET)
}

fuzz_target!(|input: Input| {
    let raw = message(&input);
    let methods = match input.only_of {
        None => Vec::new(),
        Some(true) => vec!["MESSAGE".to_owned()],
        Some(false) => vec!["INVITE".to_owned()],
    };
    let body = sip::BodyMask::parse(["all"].into_iter()).expect("a word");
    let headers = vec!["Authorization".to_owned(), "Subject".to_owned()];
    let mask = sip::Mask { headers, body, body_lines: Vec::new() };
    let rules = ContentRules {
        mask: vec![MaskRule { methods: methods.clone(), mask, ..MaskRule::default() }],
        ..ContentRules::default()
    };

    let compressed = hep::compress(&raw);
    let payload = if input.compressed { Payload::Compressed(&compressed) } else { Payload::Plain(&raw) };
    let whole = Packet { agent_id: Some(7), payload, ..Packet::default() };
    let mut octets = Vec::new();
    if hep::encode(&whole, &mut octets).is_err() {
        return;
    }
    if let Some(before) = input.before {
        // The last payload counts; one before it may say the same.
        let body = [before, SECRET].concat();
        let Ok(chunk) = u16::try_from(6 + body.len()) else { return };
        let Ok(length) = u16::try_from(octets.len() + usize::from(chunk)) else { return };
        octets.splice(6..6, [&[0, 0, 0, 15][..], &chunk.to_be_bytes(), &body].concat());
        octets[4..6].copy_from_slice(&length.to_be_bytes());
    }
    octets.extend_from_slice(input.behind);
    if input.is_secret_behind {
        octets.extend_from_slice(SECRET);
    }
    let packet = hep::decode(&octets).expect("a packet");
    if packet.payload != payload {
        return;
    }
    match rules.apply(&octets, &packet, 1 << 20, &Duplicates::default(), 0) {
        Verdict::LeftOut(why) => panic!("{why}"),
        Verdict::Unmaskable => {}
        Verdict::Keep { masked: None, .. } => {
            let of_another = sip::parse(&raw).is_ok_and(|message| {
                message.method().is_some_and(|method| methods.iter().all(|of| of.as_bytes() != method))
            });
            assert!(of_another && !methods.is_empty(), "nothing was masked: {}", raw.escape_ascii());
        }
        Verdict::Keep { masked: Some(masked), .. } => {
            assert!(!has_secret(&masked), "{}", masked.escape_ascii());
            let kept = hep::decode(&masked).expect("still a packet");
            let sip = kept.payload.inflate(1 << 20).expect("it inflates");
            assert!(!has_secret(&sip), "{}", sip.escape_ascii());
            assert_eq!((kept.agent_id, sip.len()), (Some(7), raw.len()));
            let changed = |(old, new): (&u8, &u8)| old == new || *new == b'x';
            assert!(raw.iter().zip(&*sip).all(changed));
        }
    }
});
