//! The header that a load balancer puts before a stream to say whose it is: PROXY protocol version 2
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, §2.2). Version 1 is not read.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header that is read, octets after its first 16: addresses and more additions than balancers send.
const MOST_BYTES: usize = 4096;

/// Reads the header at the start of a stream: who is behind the balancer; `None` where the balancer itself connects,
/// to see whether anybody listens, or does not say.
///
/// # Errors
/// When there is no such header.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    let [signature @ .., version_and_command, family, high, low] = head;
    if signature != SIGNATURE {
        return Err(wrong("expected a PROXY protocol v2 header"));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MOST_BYTES {
        return Err(wrong("its PROXY protocol header is too long"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match version_and_command {
        0x20 => Ok(None),
        0x21 => addresses(family, &rest).ok_or_else(|| wrong("its PROXY protocol header is cut short")),
        _ => Err(wrong("expected version 2 of the PROXY protocol")),
    }
}

/// The source address; the inner `None` for families that have none.
fn addresses(family: u8, rest: &[u8]) -> Option<Option<SocketAddr>> {
    let port = |at: usize| Some(u16::from_be_bytes(rest.get(at..)?.first_chunk().copied()?));
    match family >> 4 {
        1 => {
            let ip = Ipv4Addr::from(*rest.first_chunk::<4>()?);
            Some(Some(SocketAddr::new(IpAddr::V4(ip), port(8)?)))
        }
        2 => {
            let ip = Ipv6Addr::from(*rest.first_chunk::<16>()?);
            Some(Some(SocketAddr::new(IpAddr::V6(ip), port(32)?)))
        }
        _ => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([version_and_command, family]);
        header.extend(u16::try_from(rest.len()).expect("short").to_be_bytes());
        header.extend(rest);
        header
    }

    async fn source(header: &[u8]) -> Result<Option<String>, io::ErrorKind> {
        let mut stream = header;
        let source = read(&mut stream).await.map_err(|error| error.kind())?;
        assert!(stream.is_empty(), "all of the header is read, and nothing after it");
        Ok(source.map(|source| source.to_string()))
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x13, 0xc4, 0x23, 0x64];

    #[tokio::test]
    async fn the_source_is_read_and_what_is_added_is_passed_over() {
        assert_eq!(source(&header(0x21, 0x11, &V4)).await, Ok(Some("192.0.2.1:5060".into())));
        let mut with_additions = V4.to_vec();
        with_additions.extend([0x04, 0, 3, 1, 2, 3]);
        assert_eq!(source(&header(0x21, 0x11, &with_additions)).await, Ok(Some("192.0.2.1:5060".into())));
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        v6[15] = 1;
        v6[32..34].copy_from_slice(&[0x13, 0xc4]);
        assert_eq!(source(&header(0x21, 0x21, &v6)).await, Ok(Some("[2001:db8::1]:5060".into())));
    }

    #[tokio::test]
    async fn a_balancer_that_speaks_for_itself_has_no_source() {
        assert_eq!(source(&header(0x20, 0x00, &[])).await, Ok(None));
        assert_eq!(source(&header(0x20, 0x11, &V4)).await, Ok(None));
        assert_eq!(source(&header(0x21, 0x00, &[])).await, Ok(None));
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let good = header(0x21, 0x11, &V4);
        for length in 0..good.len() {
            assert!(source(&good[..length]).await.is_err(), "{length}");
        }
        for bad in [
            header(0x11, 0x11, &V4),
            header(0x22, 0x11, &V4),
            header(0x21, 0x11, &V4[..9]),
            header(0x21, 0x21, &V4),
        ] {
            assert_eq!(source(&bad).await, Err(io::ErrorKind::InvalidData));
        }
        assert_eq!(
            source(b"PROXY TCP4 192.0.2.1 198.51.100.1 5060 9060\r\n").await,
            Err(io::ErrorKind::InvalidData)
        );
        assert_eq!(source(&header(0x21, 0x11, &[0; 5000])).await, Err(io::ErrorKind::InvalidData));
    }
}
