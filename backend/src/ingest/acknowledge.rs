//! What a stream is answered: how far its packets are safe in the spool. Only senders that number their packets are
//! answered, on the connection that the packets came by, and at most once for each sync of the spool.
//!
//! An answer never holds a stream up: while the other side does not read, nothing more is written, and what has become
//! safe meanwhile is in the next answer.

use std::future::{pending, ready};
use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use hep::{Acknowledged, Packet, Sequence};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use crate::telemetry::Metrics;

/// How long the last answers of a stream may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A numbered packet that need not come again once so many records are synced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// Which.
    pub sequence: Sequence,
    /// How many records; as [`Taken::ticket`](crate::spool::Taken::ticket).
    pub ticket: u64,
}

/// The answers of one stream.
pub(super) struct Answers<'a, W> {
    writer: W,
    metrics: &'a Metrics,
    durable: watch::Receiver<u64>,
    /// Whose packets these are, once that is known. A stream of packets of several senders is answered for the first.
    stream: Option<u64>,
    /// What the sync is waited for of.
    waiting: Option<Receipt>,
    /// What came last.
    latest: Option<Receipt>,
    /// What the other side has not read yet.
    out: BytesMut,
    unflushed: bool,
    broken: bool,
}

impl<'a, W: AsyncWrite + Unpin> Answers<'a, W> {
    pub(super) fn new(writer: W, durable: watch::Receiver<u64>, metrics: &'a Metrics) -> Self {
        let (out, unflushed, broken) = (BytesMut::new(), false, false);
        Self { writer, metrics, durable, stream: None, waiting: None, latest: None, out, unflushed, broken }
    }

    /// Whether there is somebody to be answered.
    pub(super) fn are_wanted(&self) -> bool {
        self.stream.is_some()
    }

    /// Says that packets of this stream will be acknowledged, if it is the first.
    pub(super) fn begin(&mut self, stream: u64) {
        if self.stream.is_none() {
            self.stream = Some(stream);
            self.say(0);
        }
    }

    /// Notes what is to be acknowledged.
    pub(super) fn note(&mut self, receipt: Receipt) {
        self.begin(receipt.sequence.stream);
        if self.stream == Some(receipt.sequence.stream) {
            self.latest = Some(receipt);
        }
    }

    /// Does this, and answers meanwhile.
    pub(super) async fn during<T>(&mut self, what: impl Future<Output = T>) -> T {
        let mut what = pin!(what);
        loop {
            tokio::select! {
                biased;
                done = &mut what => return done,
                () = self.progress() => {}
            }
        }
    }

    /// Answers as far as that needs no waiting.
    pub(super) async fn now(&mut self) {
        let mut moves = true;
        while moves && self.stream.is_some() {
            moves = tokio::select! {
                biased;
                () = self.progress() => true,
                () = ready(()) => false,
            };
        }
    }

    /// Answers all that was taken, if the other side reads and the disk works.
    pub(super) async fn finish(&mut self) {
        let all = async {
            while !self.broken && (self.waiting.is_some() || self.latest.is_some() || self.is_writing()) {
                self.progress().await;
            }
        };
        let _in_time = tokio::time::timeout(FAREWELL, all).await;
    }

    fn is_writing(&self) -> bool {
        !self.out.is_empty() || self.unflushed
    }

    /// Does the next thing; never ends while there is nothing to do. May be given up at any moment.
    async fn progress(&mut self) {
        if self.broken {
            return pending().await;
        }
        if self.is_writing() {
            let written = match self.out.is_empty() {
                true => self.writer.flush().await.map(|()| self.unflushed = false),
                false => self.writer.write_buf(&mut self.out).await.map(|_octets| self.unflushed = true),
            };
            // That the stream is broken is found out by who reads it.
            self.broken = written.is_err();
            return;
        }
        let Some(waiting) = self.waiting.or_else(|| self.latest.take()) else { return pending().await };
        self.waiting = Some(waiting);
        match self.durable.wait_for(|durable| *durable >= waiting.ticket).await.map(drop) {
            Ok(()) => {
                self.waiting = None;
                self.say(waiting.sequence.number);
            }
            Err(_closed) => self.broken = true,
        }
    }

    fn say(&mut self, number: u64) {
        let Some(stream) = self.stream else { return };
        let mut octets = Vec::with_capacity(32);
        let acknowledged = Some(Acknowledged { stream, number });
        if hep::encode(&Packet { acknowledged, ..Packet::default() }, &mut octets).is_ok() {
            self.out.extend_from_slice(&octets);
            self.metrics.acknowledgements.inc();
        }
    }
}
