//! The header of a load balancer, PROXY protocol version 2: what follows it stays in the stream, and a header that was made
//! says what was put into it.
#![no_main]

use std::io::{Cursor, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use siplens_backend::ingest::proxied::read;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn read_all(octets: &[u8]) -> (std::io::Result<Option<SocketAddr>>, usize) {
    let mut stream = Cursor::new(octets);
    let read = {
        let mut reading = std::pin::pin!(read(&mut stream));
        // A cursor never waits.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(read) = reading.as_mut().poll(&mut context) else {
            panic!("it waits for nothing")
        };
        read
    };
    (read, stream.position() as usize)
}

fuzz_target!(|octets: &[u8]| {
    let (read, end) = read_all(octets);
    match &read {
        Ok(_) => {
            assert!(octets.starts_with(SIGNATURE));
            let length = usize::from(u16::from_be_bytes([octets[14], octets[15]]));
            assert_eq!(end, 16 + length);
            let (cut, _) = read_all(&octets[..end - 1]);
            assert_eq!(cut.expect_err("it is cut short").kind(), ErrorKind::UnexpectedEof);
        }
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof));
            assert!(error.kind() != ErrorKind::UnexpectedEof || octets.len() < 16 + 4096);
        }
    }

    let Some((made, additions)) = octets.split_first_chunk::<19>() else { return };
    let [kind, ip @ .., high, low] = *made;
    let ip = match kind % 2 {
        0 => IpAddr::from(<[u8; 4]>::try_from(&ip[..4]).expect("four octets")),
        _ => IpAddr::from(ip),
    };
    let peer = SocketAddr::new(ip, u16::from_be_bytes([high, low]));
    let (family, zeros) = if ip.is_ipv4() { (0x11, 4) } else { (0x21, 16) };
    let source = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let additions = &additions[..additions.len().min(1000)];
    let length = (2 * zeros + 4 + additions.len()) as u16;
    let header = [
        SIGNATURE,
        &[0x21, family],
        &length.to_be_bytes(),
        &source,
        &vec![0; zeros],
        &[high, low, 0, 0],
        additions,
    ];
    let (read, end) = read_all(&[&header.concat()[..], b"HEP3"].concat());
    assert_eq!(read.expect("a header"), Some(peer));
    assert_eq!(end, 16 + usize::from(length));
});
