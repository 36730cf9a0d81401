//! Login sessions: who logged in with which browser, and until when.

use super::secret::{kept, random_text};
use super::{Accounts, AccountsError};
use crate::telemetry::clock::now_us;

/// How long a login lasts, s: a working day.
pub const LOGIN_SECONDS: i64 = 12 * 3600;

impl Accounts {
    /// Begins a login session of a user; its key, which is what the browser's cookie holds.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn begin_session(&self, user: &str) -> Result<String, AccountsError> {
        let now_us = now_us();
        let sql = "delete from login_session where expires_at_us < $1";
        self.database.execute(sql, vec![now_us.into()]).await?;
        let key = random_text()?;
        let expires_at_us = now_us + LOGIN_SECONDS * 1_000_000;
        self.database
            .execute(
                "insert into login_session (hash, user_name, expires_at_us) values ($1, $2, $3)",
                vec![kept(&key).as_str().into(), user.into(), expires_at_us.into()],
            )
            .await?;
        Ok(key)
    }

    /// Whose session this is; `None` where it is none, or has expired.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn session_user(&self, key: &str) -> Result<Option<String>, AccountsError> {
        // Joined with the user: a session does not outlive one who is removed while it begins.
        let sql = "select u.name from login_session s join account_user u on u.name = s.user_name
                   where s.hash = $1 and s.expires_at_us >= $2";
        let rows = self.database.rows(sql, vec![kept(key).as_str().into(), now_us().into()]).await?;
        Ok(rows.first().and_then(|row| row.text(0)))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn end_session(&self, key: &str) -> Result<(), AccountsError> {
        let sql = "delete from login_session where hash = $1";
        self.database.execute(sql, vec![kept(key).as_str().into()]).await?;
        Ok(())
    }
}
