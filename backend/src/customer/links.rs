//! Makes, opens, lists and revokes links.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::token::{self, Claim};
use crate::accounts::{Accounts, AccountsError, LinkRow, LinkTable};
use crate::search::scope::Scope;
use crate::search::{Listing, Page};
use crate::telemetry::clock::now_us;

/// Life of a link whose maker names none, s: a day.
const USUAL_SECONDS: u64 = 86_400;

/// The name of the signing secret.
const KEY_NAME: &str = "customer-link-1";

/// All links of this backend, and the key that signs them.
#[derive(Clone)]
pub struct Links {
    accounts: Arc<Accounts>,
    table: LinkTable,
    /// Read when it is first needed: at the start the database may be away.
    key: Arc<OnceCell<[u8; 32]>>,
    base_url: Arc<str>,
    max_seconds: u64,
}

/// A link to be made.
#[derive(Clone, Debug)]
pub struct NewLink {
    /// What it shows.
    pub scope: Scope,
    /// Its life, s; a day where not given.
    pub seconds: Option<u64>,
    /// Who makes it.
    pub created_by: Option<String>,
}

/// A link does not open, or cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The links cannot be read or changed.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// The cursor is not one that the list of links gave.
    #[error("cursor: not one of this list")]
    Cursor,
    /// Its time is over.
    #[error("link has expired")]
    Expired,
    /// No link of ours.
    #[error("link is not valid")]
    Invalid,
    /// It would live too long, or not at all.
    #[error("expires_in: expected 1 to {most} seconds, found {found}")]
    Life {
        /// The longest life.
        most: u64,
        /// What was asked for.
        found: u64,
    },
    /// It was ended.
    #[error("link has been revoked")]
    Revoked,
}

impl Links {
    /// `base_url` is where customers reach their listener, without a slash at its end.
    #[must_use]
    pub fn new(accounts: Arc<Accounts>, base_url: String, max_seconds: u64) -> Self {
        let table = accounts.links();
        Self { accounts, table, key: Arc::default(), base_url: base_url.into(), max_seconds }
    }

    /// What links are signed with.
    async fn key(&self) -> Result<&[u8; 32], AccountsError> {
        self.key.get_or_try_init(|| self.accounts.secret(KEY_NAME)).await
    }

    /// Makes a link: what is kept of it, and its address.
    ///
    /// # Errors
    /// When its life is out of range, or the database is away.
    pub async fn make(&self, new: NewLink) -> Result<(LinkRow, String), LinkError> {
        let seconds = new.seconds.unwrap_or(USUAL_SECONDS.min(self.max_seconds));
        if !(1..=self.max_seconds).contains(&seconds) {
            return Err(LinkError::Life { most: self.max_seconds, found: seconds });
        }
        let now_us = now_us();
        let life_us = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let link = LinkRow {
            id: Uuid::now_v7(),
            scope: new.scope,
            created_at_us: now_us,
            created_by: new.created_by,
            expires_at_us: now_us.saturating_add(life_us),
            revoked_at_us: None,
        };
        self.table.add(&link).await?;
        let token = token::sign(Claim { id: link.id, expires_at_us: link.expires_at_us }, self.key().await?);
        Ok((link, format!("{}/v/{token}", self.base_url)))
    }

    /// The link that a token is for, if it may be opened now.
    ///
    /// # Errors
    /// When it may not, or the database is away.
    pub(super) async fn open_token(&self, token: &str) -> Result<LinkRow, LinkError> {
        let claim = token::verify(token, self.key().await?).ok_or(LinkError::Invalid)?;
        if claim.expires_at_us <= now_us() {
            return Err(LinkError::Expired);
        }
        // The row, not the token, says what is shown: a token outlives neither a revocation nor its row.
        let link = self.table.find(claim.id).await?.ok_or(LinkError::Invalid)?;
        if link.revoked_at_us.is_some() {
            return Err(LinkError::Revoked);
        }
        if link.expires_at_us != claim.expires_at_us {
            return Err(LinkError::Invalid);
        }
        Ok(link)
    }

    /// All links, the newest first.
    ///
    /// # Errors
    /// When the cursor is not of this list, or the database is away.
    pub async fn list(&self, page: &Page) -> Result<Listing<LinkRow>, LinkError> {
        let before = match page.cursor.as_deref().map(decode_cursor) {
            None => Uuid::max(),
            Some(Some(id)) => id,
            Some(None) => return Err(LinkError::Cursor),
        };
        let mut items = self.table.list(before, page.limit + 1).await?;
        let more = items.len() > page.limit;
        items.truncate(page.limit);
        let last = items.last().filter(|_| more);
        let next_cursor = last.map(|link| URL_SAFE_NO_PAD.encode(link.id.as_bytes()));
        Ok(Listing { items, next_cursor, partial: false, reached_us: None })
    }

    /// Ends a link for good; whether there is one with this id.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn revoke(&self, id: Uuid) -> Result<bool, AccountsError> {
        self.table.revoke(id, now_us()).await
    }
}

fn decode_cursor(text: &str) -> Option<Uuid> {
    Uuid::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
