//! Customer links, as rows: what each shows, until when, and whether it was revoked.

use std::sync::Arc;

use uuid::Uuid;

use super::AccountsError;
use super::database::{Database, Row};
use crate::search::Window;
use crate::search::scope::{Scope, Subject};

/// The rows of all links. It reads and changes nothing else.
#[derive(Clone)]
pub struct LinkTable {
    database: Arc<dyn Database>,
}

/// A link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkRow {
    /// Its id; later ones are greater.
    pub id: Uuid,
    /// What it shows.
    pub scope: Scope,
    /// When it was made, µs since the epoch.
    pub created_at_us: i64,
    /// Who made it; `None` where nobody had to log in.
    pub created_by: Option<String>,
    /// Its end, µs since the epoch.
    pub expires_at_us: i64,
    /// When it was revoked, µs since the epoch.
    pub revoked_at_us: Option<i64>,
}

impl LinkTable {
    pub(super) fn new(database: Arc<dyn Database>) -> Self {
        Self { database }
    }

    /// Keeps a link.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn add(&self, link: &LinkRow) -> Result<(), AccountsError> {
        let (call_id, correlation_id) = match &link.scope.subject {
            Subject::Call(id) => (Some(id.as_str()), None),
            Subject::Session(id) => (None, Some(id.as_str())),
        };
        self.database
            .execute(
                "insert into customer_link (id, call_id, correlation_id, since_us, until_us, created_at_us,
                    created_by, expires_at_us, revoked_at_us)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                vec![
                    link.id.to_string().as_str().into(),
                    call_id.into(),
                    correlation_id.into(),
                    link.scope.window.since_us.into(),
                    link.scope.window.until_us.into(),
                    link.created_at_us.into(),
                    link.created_by.as_deref().into(),
                    link.expires_at_us.into(),
                    link.revoked_at_us.into(),
                ],
            )
            .await?;
        Ok(())
    }

    /// The link with this id.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn find(&self, id: Uuid) -> Result<Option<LinkRow>, AccountsError> {
        let sql = "select id, call_id, correlation_id, since_us, until_us, created_at_us, created_by, expires_at_us,
                   revoked_at_us from customer_link where id = $1";
        let rows = self.database.rows(sql, vec![id.to_string().as_str().into()]).await?;
        Ok(rows.first().and_then(read))
    }

    /// Up to so many links that were made before this one, the newest first.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn list(&self, before: Uuid, limit: usize) -> Result<Vec<LinkRow>, AccountsError> {
        let sql = "select id, call_id, correlation_id, since_us, until_us, created_at_us, created_by, expires_at_us,
                   revoked_at_us from customer_link where id < $1 order by id desc limit $2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.database.rows(sql, vec![before.to_string().as_str().into(), limit.into()]).await?;
        Ok(rows.iter().filter_map(read).collect())
    }

    /// Ends a link for good; whether there is one with this id.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn revoke(&self, id: Uuid, now_us: i64) -> Result<bool, AccountsError> {
        let sql = "update customer_link set revoked_at_us = coalesce(revoked_at_us, $1) where id = $2";
        Ok(self.database.execute(sql, vec![now_us.into(), id.to_string().as_str().into()]).await? > 0)
    }
}

/// `None` for a row that no version of ours wrote.
fn read(row: &Row) -> Option<LinkRow> {
    let subject = match (row.text(1), row.text(2)) {
        (Some(id), None) => Subject::Call(id),
        (None, Some(id)) => Subject::Session(id),
        _ => return None,
    };
    let window = Window { since_us: row.integer(3), until_us: row.integer(4) };
    Some(LinkRow {
        id: row.text(0)?.parse().ok()?,
        scope: Scope { subject, window },
        created_at_us: row.integer(5)?,
        created_by: row.text(6),
        expires_at_us: row.integer(7)?,
        revoked_at_us: row.integer(8),
    })
}
