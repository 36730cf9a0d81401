//! Whatever is masked keeps its length and its lines, and masking again changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;

fn masked(mask: &sip::Mask, raw: &[u8]) -> Vec<u8> {
    let mut copy = raw.to_vec();
    let mut end = 0;
    mask.find(raw, |place| {
        assert!(end <= place.start && place.start < place.end, "places are in their order, and none is empty");
        end = place.end;
        sip::cover(&mut copy[place]);
    });
    copy
}

fuzz_target!(|raw: &[u8]| {
    let body = sip::BodyMask::parse(["text/*"].into_iter()).expect("a content type");
    let headers = vec!["Authorization".to_owned(), "s".to_owned()];
    let mask = sip::Mask { headers, body, body_lines: vec!["a=crypto:".to_owned()] };
    let once = masked(&mask, raw);
    let ends = |octets: &[u8]| octets.iter().map(|octet| *octet == b'\n').collect::<Vec<_>>();
    assert_eq!(ends(&once), ends(raw));
    assert_eq!(masked(&mask, &once), once);
});
