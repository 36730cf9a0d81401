//! Memory that all processes of the host share.

use std::io;
use std::sync::atomic::AtomicU64;

/// Maps `words` zeroed 64-bit words that every process forked from this one sees, for the life of the process.
///
/// Address space is reserved at once; a page takes memory only when it is first touched. The mapping needs nothing
/// of the host's own shared pool (`-m`), and disappears with the last process.
///
/// # Errors
/// What `mmap` reports, or `InvalidInput` when the size is zero or overflows.
pub fn map_shared(words: usize) -> io::Result<&'static [AtomicU64]> {
    let bytes = words
        .checked_mul(size_of::<AtomicU64>())
        .filter(|&bytes| bytes > 0 && isize::try_from(bytes).is_ok())
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no existing memory.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is `bytes` long, page-aligned, zeroed (a valid AtomicU64), and never unmapped; whoever else
    // sees it, in this process or another, uses atomic operations only.
    Ok(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>(), words) })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn a_child_process_writes_where_the_parent_reads() {
        let words = map_shared(1024).unwrap();
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        // SAFETY: the child only stores to an atomic and leaves through _exit, both allowed after a fork.
        let child = unsafe { libc::fork() };
        if child == 0 {
            words[1023].store(7, Ordering::Release);
            // SAFETY: ends the child without running what the parent registered.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: `status` is ours, the child is ours.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!((waited, status), (child, 0));
        assert_eq!(words[1023].load(Ordering::Acquire), 7);
    }

    #[test]
    fn an_empty_or_overflowing_size_is_refused() {
        assert!(map_shared(0).is_err());
        assert!(map_shared(usize::MAX).is_err());
    }
}
