//! A file descriptor and a few octets, handed from one process to another over a Unix socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Ends the octets of one handover, which hold no zero themselves.
const END: u8 = 0;

/// Sends `text`, which must hold no zero octet, together with `file`.
///
/// # Errors
/// What the socket reports; `WriteZero` if it took only a part.
pub fn give(to: &UnixStream, text: &[u8], file: BorrowedFd<'_>) -> io::Result<()> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut room);
    let files = [file];
    ancillary.push(SendAncillaryMessage::ScmRights(&files));
    let parts = [IoSlice::new(text), IoSlice::new(&[END])];
    let sent = sendmsg(to, &parts, &mut ancillary, SendFlags::NOSIGNAL)?;
    if sent == text.len() + 1 { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives what [`give`] sent: the text, of at most `limit` octets, and the file.
///
/// # Errors
/// What the socket reports, its time limit for one; `UnexpectedEof` if the other side has gone; `InvalidData` for
/// anything but one text and one file.
pub fn take(from: &UnixStream, limit: usize) -> io::Result<(Vec<u8>, OwnedFd)> {
    let mut text = Vec::new();
    let mut file = None;
    while text.last() != Some(&END) {
        let mut octets = [0; 1024];
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut room);
        let received =
            recvmsg(from, &mut [IoSliceMut::new(&mut octets)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                // Those that are replaced are closed.
                files.for_each(|received| file = Some(received));
            }
        }
        match octets.get(..received.bytes) {
            None | Some([]) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(more) => text.extend_from_slice(more),
        }
        if text.len() > limit + 1 {
            return Err(invalid("more text than expected"));
        }
    }
    text.pop();
    Ok((text, file.ok_or_else(|| invalid("a text without a file"))?))
}

/// Waits until there is something to read, or the other side has gone; `false` after `limit`, or when a signal came.
///
/// # Errors
/// What the system reports.
pub fn wait_readable(file: impl AsFd, limit: Duration) -> io::Result<bool> {
    let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: limit.subsec_nanos().into() };
    match poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&limit)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The process at the other end of a connected Unix socket, as it was when it connected.
#[must_use]
pub fn peer(socket: &UnixStream) -> Option<u32> {
    let peer = rustix::net::sockopt::socket_peercred(socket).ok()?;
    u32::try_from(peer.pid.as_raw_nonzero().get()).ok()
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn text_and_file_arrive_together() {
        let (left, right) = UnixStream::pair().unwrap();
        let (words, file) = crate::map_shareable(512).unwrap();
        words[3].store(9, std::sync::atomic::Ordering::Relaxed);
        give(&left, b"hello", file.as_fd()).unwrap();
        let (text, file) = take(&right, 100).unwrap();
        assert_eq!(text, b"hello");
        let same = crate::map_received(&file).unwrap();
        assert_eq!(same[3].load(std::sync::atomic::Ordering::Relaxed), 9);
        assert_eq!(peer(&right), Some(std::process::id()));
    }

    #[test]
    fn what_is_no_handover_is_refused() {
        let refused = |bytes: &[u8]| {
            let (mut left, right) = UnixStream::pair().unwrap();
            left.write_all(bytes).unwrap();
            drop(left);
            take(&right, 100).unwrap_err().kind()
        };
        assert_eq!(refused(b"text without a file\0"), io::ErrorKind::InvalidData);
        assert_eq!(refused(b"cut off"), io::ErrorKind::UnexpectedEof);
        assert_eq!(refused(&[b'x'; 3000]), io::ErrorKind::InvalidData);
    }

    #[test]
    fn waiting_ends_with_an_octet_with_the_other_side_or_with_the_time() {
        let (mut left, right) = UnixStream::pair().unwrap();
        assert!(!wait_readable(&right, Duration::from_millis(1)).unwrap());
        left.write_all(b"x").unwrap();
        assert!(wait_readable(&right, Duration::from_secs(10)).unwrap());
        let (left, right) = UnixStream::pair().unwrap();
        drop(left);
        assert!(wait_readable(&right, Duration::from_secs(10)).unwrap());
    }
}
