//! A collector that counts packets and keeps none of them.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use hep::framing::Frame;

/// Counts HEP packets over TCP, for as long as the program runs.
pub struct Counting {
    pub address: SocketAddr,
    packets: Arc<AtomicU64>,
}

impl Counting {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let packets = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&packets);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || count(stream, &counted));
            }
        });
        Ok(Self { address, packets })
    }

    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }
}

fn count(mut stream: TcpStream, packets: &AtomicU64) {
    let (mut pending, mut part) = (Vec::new(), vec![0; 65_536]);
    while let Ok(len @ 1..) = stream.read(&mut part) {
        pending.extend_from_slice(&part[..len]);
        let mut done = 0;
        while let Ok(Frame::Complete(len)) = hep::framing::frame(&pending[done..]) {
            // What does not decode does not count, and then the sums differ.
            if hep::decode(&pending[done..done + len]).is_ok() {
                packets.fetch_add(1, Ordering::Relaxed);
            }
            done += len;
        }
        pending.drain(..done);
    }
}
