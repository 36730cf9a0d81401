//! Any row of Homer's: the payload is kept as it is, and a time is one that a message can have.
#![no_main]

use libfuzzer_sys::{arbitrary, fuzz_target};
use siplens_backend::homer::row::{HEADER, LeftOut, Row, Whose, read};

#[derive(arbitrary::Arbitrary, Debug)]
struct Input<'a> {
    at_us: i64,
    sid: Option<&'a str>,
    raw: Option<&'a [u8]>,
    header: [Option<Field<'a>>; HEADER.len()],
    protocol_type: u8,
}

/// What stands in a column, mostly something that belongs there.
#[derive(arbitrary::Arbitrary, Debug)]
enum Field<'a> {
    Number(i64),
    Ip(std::net::IpAddr),
    Text(&'a str),
}

impl Field<'_> {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Ip(ip) => ip.to_string(),
            Self::Text(text) => (*text).to_owned(),
        }
    }
}

fuzz_target!(|input: Input| {
    let row = Row {
        at_us: input.at_us,
        sid: input.sid.map(str::to_owned),
        raw: input.raw.map(<[u8]>::to_vec),
        header: input.header.each_ref().map(|field| field.as_ref().map(Field::text)),
    };
    let (bytes, at_us) = (row.bytes(), row.at_us);
    match read(row, input.protocol_type, &Whose::default()) {
        Err(LeftOut::WithoutPayload) => assert!(input.raw.is_none_or(<[u8]>::is_empty)),
        Ok((captured, located)) => {
            assert_eq!(Some(&*captured.raw), input.raw);
            assert!(bytes >= captured.raw.len());
            let told = 1_000_000..(i64::from(u32::MAX) + 1) * 1_000_000;
            assert!(captured.captured_at_us == at_us || told.contains(&captured.captured_at_us));
            assert!(!located || input.header[0].is_some() && input.header[3].is_some());
            assert!(captured.correlation_id.is_none_or(|id| !id.is_empty()));
        }
    }
});
