//! A process of ours beside those of the host.

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use crate::fence;
use crate::signals::block_all;

/// How much more readily than the host's processes the kernel, short of memory, ends a child of ours; 1000 is most.
const EXPENDABLE: i32 = 500;

/// A child of this process; the host knows nothing of it, so its end does not end the host.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    stream: UnixStream,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

impl Child {
    /// Forks a child that runs `body` and then ends. Between it and us is a stream: each side reads its end when the
    /// other has gone.
    ///
    /// The child keeps of all open files only the standard ones and the stream: it must not hold on to the host's sockets
    /// when the host is gone. It has all signals blocked, for they are meant for the host. `name`, of at most 15 octets, is
    /// what `ps` calls it.
    ///
    /// # Errors
    /// What the system reports.
    ///
    /// # Safety
    /// This process must have one thread only, and `body` must use nothing of the host: its files are closed, and its
    /// memory is a copy that nobody keeps up to date.
    pub unsafe fn fork(name: &CStr, body: impl FnOnce(UnixStream)) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        // SAFETY: the caller promises that no other thread could hold a lock at this moment.
        match unsafe { libc::fork() } {
            0 => {
                fence((), || {
                    block_all();
                    keep_only(theirs.as_raw_fd());
                    // Closed already, by number.
                    std::mem::forget(ours);
                    rename(name);
                    become_expendable();
                    body(theirs);
                });
                // SAFETY: ends the child without running what the host registered for its own end.
                unsafe { libc::_exit(0) }
            }
            pid if pid > 0 => Ok(Self { pid, stream: ours }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid.cast_unsigned()
    }

    /// Our end of the stream.
    #[must_use]
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Waits for its end. To be called when the stream has ended, else it may take for ever.
    #[must_use]
    pub fn wait(self) -> Ended {
        let mut status = 0;
        loop {
            // SAFETY: the child is ours, nobody else waits for it, and `status` lives until the call is over.
            let waited = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
            if waited == self.pid {
                break;
            }
            if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                // Somebody else has waited for it: it has ended, and nobody knows how.
                return Ended::Status(0);
            }
        }
        if libc::WIFSIGNALED(status) {
            Ended::Signal(libc::WTERMSIG(status))
        } else {
            Ended::Status(libc::WEXITSTATUS(status))
        }
    }
}

/// Closes every file but this one and the standard ones.
fn keep_only(file: libc::c_int) {
    let file = libc::c_uint::try_from(file).unwrap_or_default();
    for (first, last) in [(3, file.saturating_sub(1)), (file.max(2) + 1, libc::c_uint::MAX)] {
        if first <= last {
            // SAFETY: the child uses none of them; what owned them in this process is never run or dropped.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}

fn rename(name: &CStr) {
    // SAFETY: the kernel copies the octets of a C string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Lets the kernel, when memory runs out, take this process before one of the host's.
fn become_expendable() {
    let file = "/proc/self/oom_score_adj";
    let now = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<i32>().ok());
    // To raise it needs no right; if it cannot be done, the kernel chooses as it always does.
    if now.is_some_and(|now| now < EXPENDABLE) {
        let _ = std::fs::write(file, EXPENDABLE.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    // The test runner has threads, so these bodies do only what needs no lock of theirs.

    #[test]
    fn a_child_talks_over_its_stream_and_its_end_is_seen() {
        // SAFETY: the body allocates nothing and takes no lock.
        let child = unsafe {
            Child::fork(c"siplens test", |mut stream| {
                let _ = stream.write_all(b"hello");
            })
        }
        .unwrap();
        let mut said = String::new();
        child.stream().read_to_string(&mut said).unwrap();
        assert_eq!(said, "hello");
        assert_eq!(child.wait(), Ended::Status(0));
    }

    #[test]
    fn a_child_has_no_file_of_its_parent_and_sees_its_end() {
        let (mut here, there) = UnixStream::pair().unwrap();
        // SAFETY: as above.
        let child = unsafe {
            Child::fork(c"siplens test", |mut stream| {
                let mut octet = [0];
                let _ = stream.read(&mut octet);
            })
        }
        .unwrap();
        drop(there);
        // The only other holder would be the child.
        assert_eq!(here.read(&mut [0]).unwrap(), 0);
        child.stream().shutdown(std::net::Shutdown::Both).unwrap();
        assert_eq!(child.wait(), Ended::Status(0));
    }

    #[test]
    fn a_child_that_is_killed_is_told_from_one_that_ended() {
        // SAFETY: as above.
        let child = unsafe {
            Child::fork(c"siplens test", |mut stream| {
                let _ = stream.read(&mut [0]);
            })
        }
        .unwrap();
        // SAFETY: our own child, which is still there.
        unsafe { libc::kill(child.pid, libc::SIGKILL) };
        assert_eq!(child.wait(), Ended::Signal(libc::SIGKILL));
    }
}
