//! Random values, and what is kept of them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{Accounts, AccountsError};

impl Accounts {
    /// The secret of this name: 32 random octets, made at the first call and the same ever after, also where several
    /// backends ask at once.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn secret(&self, name: &str) -> Result<[u8; 32], AccountsError> {
        let fresh = URL_SAFE_NO_PAD.encode(random()?);
        self.database
            .execute(
                "insert into secret (name, value) values ($1, $2) on conflict (name) do nothing",
                vec![name.into(), fresh.as_str().into()],
            )
            .await?;
        let rows = self.database.rows("select value from secret where name = $1", vec![name.into()]).await?;
        rows.first()
            .and_then(|row| URL_SAFE_NO_PAD.decode(row.text(0)?).ok()?.try_into().ok())
            .ok_or_else(|| AccountsError::Database(sqlx::Error::RowNotFound))
    }
}

/// 256 random bits.
pub(super) fn random() -> Result<[u8; 32], AccountsError> {
    let mut octets = [0; 32];
    getrandom::fill(&mut octets).map_err(AccountsError::Random)?;
    Ok(octets)
}

/// A random value to hand out: 43 characters of base64url.
pub(super) fn random_text() -> Result<String, AccountsError> {
    Ok(URL_SAFE_NO_PAD.encode(random()?))
}

/// What is kept of a value. A random one has 256 random bits, so neither salt nor a slow hash adds anything, and finding
/// a row by its hash tells nothing by the time it takes.
pub(super) fn kept(value: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(value.as_bytes()))
}

/// The hash that is kept, as octets; `None` where it is damaged.
pub(super) fn hash_of(kept: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(kept).ok()?.try_into().ok()
}
