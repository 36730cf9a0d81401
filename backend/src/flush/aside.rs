//! What cannot be stored is put aside: segment files of the spool's format, which `siplens spool inspect` and `replay` read.

use std::path::PathBuf;

use crate::call::message::Message;
use crate::spool::{self, Record};
use crate::store::Pack;

/// So much is kept, octets; what comes on top is counted and lost.
const MOST_BYTES: u64 = 64 << 20;

/// The folder of what could not be stored.
#[derive(Clone, Debug)]
pub struct Aside {
    dir: PathBuf,
}

impl Aside {
    /// In this folder, which is made when it is needed.
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Keeps records in a file of their own, and says where, or why not.
    pub fn keep(&self, records: &[&Record]) {
        match self.write(records) {
            Ok(Some(path)) => {
                tracing::error!(path = %path.display(), records = records.len(), "what cannot be stored is put aside")
            }
            Ok(None) => tracing::error!(
                folder = %self.dir.display(),
                records = records.len(),
                "what cannot be stored is lost: as much as is kept of it is there already"
            ),
            Err(error) => tracing::error!(
                folder = %self.dir.display(), %error, records = records.len(), "what cannot be stored is lost"
            ),
        }
    }

    /// Keeps what a pack holds.
    pub fn keep_pack(&self, pack: &Pack) {
        match pack.read() {
            Ok(messages) => {
                let records: Vec<_> = messages.iter().filter_map(record).collect();
                if records.len() < messages.len() {
                    let lost = messages.len() - records.len();
                    tracing::error!(
                        records = lost,
                        "what cannot be stored, and is too long for a packet, is lost"
                    );
                }
                self.keep(&records.iter().collect::<Vec<_>>());
            }
            Err(error) => tracing::error!(%error, "what the store refuses is lost"),
        }
    }

    fn write(&self, records: &[&Record]) -> std::io::Result<Option<PathBuf>> {
        std::fs::create_dir_all(&self.dir)?;
        let (mut bytes, mut last) = (0, 0);
        for file in std::fs::read_dir(&self.dir)? {
            let file = file?;
            bytes += file.metadata()?.len();
            last = last.max(spool::segment_number(&file.file_name()).unwrap_or(0));
        }
        let Some(number) = last.checked_add(1) else {
            return Err(std::io::Error::other("no number is left for a file"));
        };
        let (name, octets) = spool::segment_of(number, records);
        if bytes + octets.len() as u64 > MOST_BYTES {
            return Ok(None);
        }
        let path = self.dir.join(name);
        std::fs::write(&path, octets)?;
        Ok(Some(path))
    }
}

/// A message as its agent could have sent it.
fn record(message: &Message) -> Option<Record> {
    let captured = &message.captured;
    let transport = hep::Transport::from_code(captured.transport as u8)?;
    let packet = hep::Packet {
        src_ip: Some(captured.src.ip()),
        dst_ip: Some(captured.dst.ip()),
        src_port: Some(captured.src.port()),
        dst_port: Some(captured.dst.port()),
        time: hep::Timestamp::from_micros(captured.captured_at_us),
        protocol_type: Some(captured.protocol_type),
        agent_id: Some(captured.agent_id),
        agent_name: captured.agent_name.as_deref().map(str::as_bytes),
        correlation_id: captured.correlation_id.as_deref().map(str::as_bytes),
        transport: Some(transport),
        full_length: captured.full_length,
        call_id: captured.call_id.as_deref().map(str::as_bytes),
        payload: hep::Payload::Plain(&captured.raw),
        ..hep::Packet::default()
    };
    let mut hep = Vec::new();
    if hep::encode(&packet, &mut hep).is_err() {
        // One that was compressed may be longer than a packet.
        let compressed = hep::compress(&captured.raw);
        let payload = hep::Payload::Compressed(&compressed);
        hep::encode(&hep::Packet { payload, ..packet }, &mut hep).ok()?;
    }
    Some(Record { received_at_us: captured.captured_at_us, peer: captured.src, transport, hep: hep.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::sample::{answered, call};
    use crate::store::slice::Cutter;

    fn kept(aside: &Aside) -> Vec<Record> {
        let paths = spool::inspect::segments(&aside.dir).expect("a folder");
        paths.iter().flat_map(|path| spool::inspect::inspect(path).expect("a segment").records).collect()
    }

    #[test]
    fn a_message_that_is_longer_than_a_packet_is_kept_compressed() {
        let dir = tempfile::tempdir().expect("a folder");
        let aside = Aside::new(dir.path().join("aside"));
        let mut message = call(&answered()).messages.remove(0);
        message.captured.raw = [&message.captured.raw[..], &[b'x'; 100_000]].concat().into();
        let raw = message.captured.raw.clone();
        let packs = Cutter::default().cut(vec![message]).expect("a slice");
        aside.keep_pack(&packs[0]);
        let [record] = &kept(&aside)[..] else { panic!("one is kept") };
        let packet = hep::decode(&record.hep).expect("a packet");
        assert_eq!(&*packet.payload.inflate(1 << 20).expect("it inflates"), &*raw);
    }

    #[test]
    fn a_file_with_the_greatest_number_is_not_written_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let aside = Aside::new(dir.path().to_owned());
        let stray = dir.path().join(format!("{}.seg", u64::MAX));
        std::fs::write(&stray, "not ours").expect("written");
        let packs = Cutter::default().cut(call(&answered()).messages).expect("a slice");
        aside.keep_pack(&packs[0]);
        assert_eq!(std::fs::read(stray).expect("still there"), b"not ours");
    }
}
