//! File descriptors: connections, streams and readers of the store take one each.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many are wanted: more than the largest settings need.
const WANTED: u64 = 65_536;

/// Raises the limit of this process to what it may have and has a use for, and says how many it may open. Where nobody has said otherwise the limit
/// is 1,024, for programs that cannot count further.
pub fn allow() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let now = current.unwrap_or(u64::MAX);
    let wanted = WANTED.min(maximum.unwrap_or(u64::MAX));
    if wanted <= now {
        return usize::try_from(now).unwrap_or(usize::MAX);
    }
    let allowed = match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, limit = now, "the limit of open files stays as it is");
            now
        }
    };
    usize::try_from(allowed).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_can_be_opened_as_is_said() {
        let said = allow();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current.map_or(usize::MAX, |current| usize::try_from(current).expect("few")), said);
        assert!(said as u64 >= WANTED.min(maximum.unwrap_or(u64::MAX)), "{said} of {maximum:?}");
        assert_eq!(allow(), said);
    }
}
