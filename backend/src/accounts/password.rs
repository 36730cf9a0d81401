//! Passwords: argon2id, at its authors' recommended cost (RFC 9106 §4 by way of OWASP: 19 MiB, two passes).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::AccountsError;

/// The fewest characters of a password.
pub const SHORTEST: usize = 8;

/// The most characters of a password; more would only cost time to hash.
pub const LONGEST: usize = 1024;

/// The hash of a password, with its salt and cost, as a PHC string. Takes tens of milliseconds.
pub(super) fn hash(password: &str) -> Result<String, AccountsError> {
    let length = password.chars().count();
    if !(SHORTEST..=LONGEST).contains(&length) {
        return Err(AccountsError::Password(length));
    }
    let hash: PasswordHash = Argon2::default().hash_password(password.as_bytes()).map_err(bad_hash)?;
    Ok(hash.to_string())
}

/// Whether this is the password. Takes as long as [`hash`], also where there is no hash to compare with, so that the
/// answer does not tell which names exist.
pub(super) fn verify(password: &str, hash: Option<&str>) -> Result<bool, AccountsError> {
    if password.chars().count() > LONGEST {
        return Ok(false);
    }
    let Some(hash) = hash else {
        let _thrown_away: PasswordHash =
            Argon2::default().hash_password(password.as_bytes()).map_err(bad_hash)?;
        return Ok(false);
    };
    let hash = PasswordHash::new(hash).map_err(bad_hash)?;
    Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

fn bad_hash(error: impl std::fmt::Display) -> AccountsError {
    AccountsError::Hash(error.to_string())
}

/// Passwords that were right: programs that send HTTP Basic do so with each request. Kept as a digest of the password
/// together with the hash it was right for, so that a user who is removed or changed is out at once.
#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<String, [u8; 32]>>);

impl Cache {
    /// The most names that are remembered.
    const SIZE: usize = 1024;

    pub fn knows(&self, name: &str, password: &str, hash: &str) -> bool {
        let digests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        digests.get(name).is_some_and(|known| known.ct_eq(&digest(password, hash)).into())
    }

    pub fn learn(&self, name: &str, password: &str, hash: &str) {
        let mut digests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if digests.len() >= Self::SIZE {
            digests.clear();
        }
        digests.insert(name.to_owned(), digest(password, hash));
    }
}

fn digest(password: &str, hash: &str) -> [u8; 32] {
    Sha256::new().chain_update(hash).chain_update([0]).chain_update(password).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_kept_as_argon2id_and_recognised() {
        let hash = hash("a long enough password").expect("a hash");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify("a long enough password", Some(&hash)).expect("readable"));
        assert!(!verify("a long enough passwore", Some(&hash)).expect("readable"));
        assert!(!verify("a long enough password", None).expect("readable"));
    }

    #[test]
    fn short_passwords_are_refused() {
        assert!(matches!(hash("seven77"), Err(AccountsError::Password(7))));
        assert!(hash(&"x".repeat(LONGEST + 1)).is_err());
    }

    #[test]
    fn a_remembered_password_is_forgotten_with_its_hash() {
        let cache = Cache::default();
        cache.learn("anna", "right", "hash-1");
        assert!(cache.knows("anna", "right", "hash-1"));
        assert!(!cache.knows("anna", "wrong", "hash-1"));
        assert!(!cache.knows("anna", "right", "hash-2"));
        assert!(!cache.knows("berta", "right", "hash-1"));
    }
}
