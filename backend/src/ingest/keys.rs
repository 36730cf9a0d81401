//! Which keys agents may send with. The backend knows their SHA-256 only; a key is random or long, so nothing slower is
//! needed.

use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// A key as it is known here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownKey {
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// The one agent that may use it; any where `None`.
    pub agent_id: Option<u32>,
}

/// The keys in force, shared and replaced as a whole.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    known: Arc<RwLock<Arc<[KnownKey]>>>,
}

impl Keys {
    /// Puts other keys in force.
    pub fn replace(&self, known: Vec<KnownKey>) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known.into();
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.snapshot().is_empty()
    }

    /// Whether an agent may send with this key. Takes the same time wherever the key differs.
    #[must_use]
    pub fn open(&self, key: &[u8], agent_id: Option<u32>) -> bool {
        let presented: [u8; 32] = Sha256::digest(key).into();
        let fits = |known: &KnownKey| {
            let for_agent = known.agent_id.is_none() || known.agent_id == agent_id;
            known.hash.ct_eq(&presented) & Choice::from(u8::from(for_agent))
        };
        self.snapshot().iter().map(fits).fold(Choice::from(0), |any, one| any | one).into()
    }

    fn snapshot(&self) -> Arc<[KnownKey]> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_for_its_agent_only() {
        let keys = Keys::default();
        let known = |key: &str, agent_id| KnownKey { hash: Sha256::digest(key).into(), agent_id };
        assert!(!keys.open(b"", None));
        keys.replace(vec![known("for all", None), known("for one", Some(7))]);
        for (key, agent_id, opens) in [
            ("for all", None, true),
            ("for all", Some(7), true),
            ("for one", Some(7), true),
            ("for one", Some(8), false),
            ("for one", None, false),
            ("for al", Some(7), false),
            ("", Some(7), false),
        ] {
            assert_eq!(keys.open(key.as_bytes(), agent_id), opens, "{key} {agent_id:?}");
        }
        keys.replace(Vec::new());
        assert!(!keys.open(b"for all", None));
    }
}
