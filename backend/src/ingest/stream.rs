//! HEP in a stream of octets: packets back to back, framed by their length. A stream that is not HEP3 is closed, since
//! nothing says where the next packet would begin. A full spool holds the stream back instead of losing from it.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use hep::framing::{self, Frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::acknowledge::Answers;
use super::places::Place;
use super::{Admission, Arrival, Outcome, Refusal, Way};

const READ_BYTES: usize = 64 * 1024;

/// How long a packet may take, from its first octets to its last.
const PACKET_PATIENCE: Duration = Duration::from_secs(30);

/// Where a stream comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// How.
    pub way: Way,
    /// From whom.
    pub peer: SocketAddr,
}

impl Origin {
    /// A packet of the stream.
    #[must_use]
    pub fn packet(self, packet: &[u8]) -> Arrival<'_> {
        Arrival { way: self.way, peer: self.peer, packet }
    }
}

/// Takes all packets of a stream until it ends, or, between two packets, until stopped. It is given up after nothing
/// came for `idle`, if that is set, and when a packet is not there 30 s after it began. It keeps its place once it has
/// brought a packet. Who numbers the packets is told which are safe.
///
/// # Errors
/// When the stream breaks, is not HEP, or its agent may not send.
pub async fn receive(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    origin: Origin,
    idle: Option<Duration>,
    place: &Place,
    admission: &Admission,
    stop: &CancellationToken,
) -> io::Result<()> {
    let (mut stream, writer) = tokio::io::split(stream);
    let mut answers = Answers::new(writer, admission.durable_records(), admission.metrics());
    let mut is_first = true;
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    // Since when the packet comes that is not whole yet.
    let mut begun: Option<Instant> = None;
    loop {
        buffer.reserve(READ_BYTES);
        let read = stream.read_buf(&mut buffer);
        let read = async {
            // Who begins a packet and does not go on, or goes on by the octet, takes a place from others.
            let left = begun.map(|begun| PACKET_PATIENCE.saturating_sub(begun.elapsed()));
            let patience = left.map_or(idle, |left| Some(idle.unwrap_or(left).min(left)));
            let late = |_| {
                let (reason, what) = match begun {
                    Some(_) => ("packet", "a packet took too long"),
                    None => ("idle", "nothing came for too long"),
                };
                admission.metrics().stream_refused(reason);
                Err(io::Error::new(io::ErrorKind::TimedOut, what))
            };
            match patience {
                Some(patience) => tokio::time::timeout(patience, read).await.unwrap_or_else(late),
                None => read.await,
            }
        };
        // A stream that always has more to read is answered, too.
        answers.now().await;
        let octets = tokio::select! {
            octets = answers.during(read) => octets?,
            () = stop.cancelled() => {
                answers.finish().await;
                return Ok(());
            }
        };
        if octets == 0 {
            if !buffer.is_empty() {
                admission.refuse(origin.packet(&buffer), Refusal::Malformed);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed in the middle of a packet"));
            }
            return Ok(());
        }
        let mut batch = admission.batch();
        let mut length = 0;
        let mut closing = None;
        while closing.is_none() {
            let rest = buffer.get(length..).unwrap_or_default();
            match framing::frame(rest) {
                Ok(Frame::Complete(of_packet)) => {
                    let packet = rest.get(..of_packet).unwrap_or(rest);
                    // At once, so that its sender knows also while the spool is full.
                    if std::mem::take(&mut is_first)
                        && let Some(sequence) = hep::decode(packet).ok().and_then(|packet| packet.sequence)
                    {
                        answers.begin(sequence.stream);
                    }
                    if batch.add(origin.packet(packet)) == Err(Refusal::Key) {
                        closing = Some(Closing::Key);
                    }
                    length += packet.len();
                    begun = None;
                }
                Ok(Frame::Incomplete { .. }) => {
                    begun = begun.or_else(|| (!rest.is_empty()).then(Instant::now));
                    break;
                }
                Err(error) => closing = Some(Closing::Garbage(error)),
            }
        }
        let (mut brought, mut stopped) = (false, false);
        loop {
            let all = batch.take(stop.is_cancelled(), |Outcome { result, receipt }| {
                brought |= result.is_ok();
                stopped |= matches!(result, Err(Refusal::SpoolFull | Refusal::Closed));
                if let Some(receipt) = receipt {
                    answers.note(receipt);
                }
            });
            if std::mem::take(&mut brought) {
                place.keep();
            }
            if all {
                break;
            }
            answers.during(admission.hold_back()).await;
        }
        if stopped && answers.are_wanted() {
            // It will be sent again.
            answers.finish().await;
            return Ok(());
        }
        match closing {
            None => {}
            Some(Closing::Key) => {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "its key opens nothing"));
            }
            Some(Closing::Garbage(error)) => {
                admission.refuse(origin.packet(buffer.get(length..).unwrap_or_default()), Refusal::Malformed);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        buffer.advance(length.min(buffer.len()));
    }
}

/// Why a stream is closed after what came before is taken.
enum Closing {
    /// One of its packets may not be sent.
    Key,
    /// What follows is no packet.
    Garbage(hep::FramingError),
}
