//! Memory that all processes of the host share, and perhaps one that is not the host's.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};

const WORD: usize = size_of::<AtomicU64>();

/// Maps `words` zeroed 64-bit words that every process forked from this one sees, for the life of the process.
///
/// Address space is reserved at once; a page takes memory only when it is first touched. The mapping needs nothing
/// of the host's own shared pool (`-m`), and disappears with the last process.
///
/// # Errors
/// What `mmap` reports, or `InvalidInput` when the size is zero or overflows.
pub fn map_shared(words: usize) -> io::Result<&'static [AtomicU64]> {
    map(words, libc::MAP_ANONYMOUS, -1)
}

/// The same as a file without a name, which can be given to another process ([`give`](crate::give)).
///
/// Its size is sealed: whoever has it, nobody can cut it short, which would kill each process that reads behind its
/// end. It is gone with the last process that has it.
///
/// # Errors
/// As [`map_shared`], or what making the file reports.
pub fn map_shareable(words: usize) -> io::Result<(&'static [AtomicU64], OwnedFd)> {
    let bytes = bytes(words)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know that nothing in it is ever to be executed.
    let file = memfd_create("siplens", flags | MemfdFlags::NOEXEC_SEAL)
        .or_else(|_unknown| memfd_create("siplens", flags))?;
    ftruncate(&file, bytes as u64)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok((map(words, 0, file.as_raw_fd())?, file))
}

/// Maps all of what another process made with [`map_shareable`].
///
/// # Errors
/// What the system reports, or `InvalidData` for a file whose size is not sealed or is no number of words.
pub fn map_received(file: impl AsFd) -> io::Result<&'static [AtomicU64]> {
    let file = file.as_fd();
    let unsafe_size = || io::Error::new(io::ErrorKind::InvalidData, "the size of the memory is not sealed");
    let seals = fcntl_get_seals(file).map_err(|_not_sealable| unsafe_size())?;
    if !seals.contains(SealFlags::SHRINK) {
        return Err(unsafe_size());
    }
    let bytes = usize::try_from(fstat(file)?.st_size).unwrap_or_default();
    if !bytes.is_multiple_of(WORD) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the memory is no number of words"));
    }
    map(bytes / WORD, 0, file.as_raw_fd())
}

fn bytes(words: usize) -> io::Result<usize> {
    words
        .checked_mul(WORD)
        .filter(|&bytes| bytes > 0 && isize::try_from(bytes).is_ok())
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn map(words: usize, flags: libc::c_int, file: libc::c_int) -> io::Result<&'static [AtomicU64]> {
    let bytes = bytes(words)?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = flags | libc::MAP_SHARED | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, file, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is `bytes` long, all of it behind memory or a file that cannot shrink, page-aligned, made
    // of valid AtomicU64 whatever is in them, and never unmapped; whoever else sees it, in this process or another,
    // uses atomic operations only.
    Ok(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>(), words) })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
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
        assert!(map_shareable(0).is_err());
    }

    #[test]
    fn what_is_given_away_is_the_same_memory_and_can_neither_shrink_nor_grow() {
        let (ours, file) = map_shareable(1024).unwrap();
        let theirs = map_received(&file).unwrap();
        ours[1023].store(7, Ordering::Release);
        assert_eq!((theirs.len(), theirs[1023].load(Ordering::Acquire)), (1024, 7));
        let file = File::from(file);
        assert!(file.set_len(0).is_err());
        assert!(file.set_len(1 << 20).is_err());
    }

    #[test]
    fn memory_that_somebody_could_cut_short_is_refused() {
        let plain = tempfile();
        plain.set_len(8192).unwrap();
        assert_eq!(map_received(&plain).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let unsealed = memfd_create("unsealed", MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&unsealed, 8192).unwrap();
        assert_eq!(map_received(&unsealed).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn memory_of_no_or_half_a_word_is_refused() {
        for size in [0, 12] {
            let file = memfd_create("small", MemfdFlags::ALLOW_SEALING).unwrap();
            ftruncate(&file, size).unwrap();
            fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
            assert!(map_received(&file).is_err(), "{size}");
        }
    }

    fn tempfile() -> File {
        let path = std::env::temp_dir().join(format!("siplens-mapping-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }
}
