//! Whatever is decoded can be encoded, and decodes to the same again. Nothing panics.
#![no_main]

use hep::Packet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(packet) = hep::decode(bytes) else { return };
    let _ = packet.payload.inflate(1 << 16);
    let mut wire = Vec::new();
    // A HEP1 packet of the greatest length is a little longer as HEP3.
    let Ok(len) = hep::encode(&packet, &mut wire) else { return };
    assert_eq!(len, wire.len());
    let again = hep::decode(&wire).expect("what was encoded can be decoded");
    assert_eq!(Packet { version: packet.version, ..again }, packet);
});
