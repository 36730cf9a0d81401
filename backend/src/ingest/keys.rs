//! Which keys agents may send with. The backend knows their SHA-256 only; a key is random or long, so nothing slower is
//! needed.

use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// A key as it is known here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownKey {
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// The one agent that may use it; any where `None`.
    pub agent_id: Option<u32>,
    /// Whose is what comes with it, where it is somebody's.
    pub tenant: Option<Arc<str>>,
}

/// What a key opens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opened {
    /// Whose is what came with it, where it is somebody's.
    pub tenant: Option<Arc<str>>,
}

/// The keys in force, shared and replaced as a whole.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    known: Arc<RwLock<Arc<Known>>>,
}

/// The keys that were in force at one time.
#[derive(Debug, Default)]
pub struct Known {
    keys: Vec<KnownKey>,
    tell_tenants: bool,
}

impl Keys {
    /// Puts other keys in force.
    pub fn replace(&self, keys: Vec<KnownKey>) {
        let tell_tenants = keys.iter().any(|key| key.tenant.is_some());
        let known = Arc::new(Known { keys, tell_tenants });
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known().keys.is_empty()
    }

    /// Those in force now.
    #[must_use]
    pub fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    /// Whether some of them tell whose a packet is.
    #[must_use]
    pub const fn tell_tenants(&self) -> bool {
        self.tell_tenants
    }

    /// What an agent may send with this key; `None` where it may not. Takes the same time wherever the key differs.
    #[must_use]
    pub fn open(&self, key: &[u8], agent_id: Option<u32>) -> Option<Opened> {
        let presented: [u8; 32] = Sha256::digest(key).into();
        let mut place = u64::MAX;
        for (candidate, known) in (0..).zip(&self.keys) {
            let for_agent = known.agent_id.is_none() || known.agent_id == agent_id;
            let fits = known.hash.ct_eq(&presented) & Choice::from(u8::from(for_agent));
            place.conditional_assign(&candidate, fits);
        }
        let opened = usize::try_from(place).ok().and_then(|place| self.keys.get(place))?;
        Some(Opened { tenant: opened.tenant.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_for_its_agent_only() {
        let keys = Keys::default();
        let known =
            |key: &str, agent_id| KnownKey { hash: Sha256::digest(key).into(), agent_id, tenant: None };
        assert_eq!(keys.known().open(b"", None), None);
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
            assert_eq!(keys.known().open(key.as_bytes(), agent_id).is_some(), opens, "{key} {agent_id:?}");
        }
        keys.replace(Vec::new());
        assert_eq!(keys.known().open(b"for all", None), None);
    }

    #[test]
    fn a_key_tells_whose_a_packet_is() {
        let keys = Keys::default();
        let known = |key: &str, tenant: Option<&str>| KnownKey {
            hash: Sha256::digest(key).into(),
            agent_id: None,
            tenant: tenant.map(Into::into),
        };
        keys.replace(vec![known("nobody's", None)]);
        assert!(!keys.known().tell_tenants());
        keys.replace(vec![
            known("nobody's", None),
            known("acme's", Some("acme")),
            known("bell's", Some("bell")),
        ]);
        assert!(keys.known().tell_tenants());
        for (key, tenant) in [("nobody's", None), ("acme's", Some("acme")), ("bell's", Some("bell"))] {
            let opened = keys.known().open(key.as_bytes(), None).expect("a key");
            assert_eq!(opened.tenant.as_deref(), tenant);
        }
    }
}
