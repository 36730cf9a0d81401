//! Users, who log in with a password.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use super::{Accounts, AccountsError, check_name, password};
use crate::telemetry::clock::now_us;

/// For how long it is not asked again whether a user or token still exists, µs.
const CLOSED_FOR_US: i64 = 1_000_000;

/// An engineer who may log in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Name to log in with.
    pub name: String,
    /// When it was added, µs since the epoch.
    pub created_at_us: i64,
}

impl Accounts {
    /// Whether there is a user or a token. As long as there is none, the API is open to this machine.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn exist(&self) -> Result<bool, AccountsError> {
        // That there is none is asked anew each time: the first user shuts the door at once.
        let now_us = now_us();
        if now_us < self.closed_until_us.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let sql = "select name from account_user union all select name from api_token limit 1";
        let exist = !self.database.rows(sql, Vec::new()).await?.is_empty();
        self.closed_until_us.store(if exist { now_us + CLOSED_FOR_US } else { 0 }, Ordering::Relaxed);
        Ok(exist)
    }

    /// Adds a user.
    ///
    /// # Errors
    /// When the name is taken or either is not usable.
    pub async fn add_user(&self, name: &str, password: &str) -> Result<(), AccountsError> {
        check_name(name)?;
        let password = password.to_owned();
        let hash = self.hashing(move || password::hash(&password)).await?;
        let added = self
            .database
            .execute(
                "insert into account_user (name, password_hash, created_at_us) values ($1, $2, $3)
                 on conflict (name) do nothing",
                vec![name.into(), hash.as_str().into(), now_us().into()],
            )
            .await?;
        if added == 0 { Err(AccountsError::Taken(format!("user {name}"))) } else { Ok(()) }
    }

    /// All users, by name.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn users(&self) -> Result<Vec<User>, AccountsError> {
        let sql = "select name, created_at_us from account_user order by name";
        let rows = self.database.rows(sql, Vec::new()).await?;
        let user = |row: &super::database::Row| User {
            name: row.text(0).unwrap_or_default(),
            created_at_us: row.integer(1).unwrap_or_default(),
        };
        Ok(rows.iter().map(user).collect())
    }

    /// Removes a user and ends all logins; whether there was one.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn remove_user(&self, name: &str) -> Result<bool, AccountsError> {
        let sql = "delete from account_user where name = $1";
        let removed = self.database.execute(sql, vec![name.into()]).await?;
        self.database.execute("delete from login_session where user_name = $1", vec![name.into()]).await?;
        Ok(removed > 0)
    }

    /// Whether there is a user with this name and password, which somebody at `peer` sent.
    ///
    /// # Errors
    /// [`AccountsError::Failures`] while this name had too many wrong passwords from there; and when the database is
    /// away.
    pub async fn check_password(
        &self,
        peer: IpAddr,
        name: &str,
        password: &str,
    ) -> Result<bool, AccountsError> {
        if !self.failures.may_try(peer, name) {
            return Err(AccountsError::Failures);
        }
        let right = self.is_password(name, password).await?;
        self.failures.note(peer, name, right);
        Ok(right)
    }

    async fn is_password(&self, name: &str, password: &str) -> Result<bool, AccountsError> {
        let sql = "select password_hash from account_user where name = $1";
        // No user has such a name, and PostgreSQL refuses text with a NUL.
        let rows = if check_name(name).is_ok() {
            self.database.rows(sql, vec![name.into()]).await?
        } else {
            Vec::new()
        };
        let hash = rows.first().and_then(|row| row.text(0));
        if hash.as_ref().is_some_and(|hash| self.passwords.knows(name, password, hash)) {
            return Ok(true);
        }
        let (offered, kept) = (password.to_owned(), hash.clone());
        let right = self.hashing(move || password::verify(&offered, kept.as_deref())).await?;
        if let (true, Some(hash)) = (right, hash) {
            self.passwords.learn(name, password, &hash);
        }
        Ok(right)
    }

    /// Hashes aside from the threads that serve, and few at a time.
    async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, AccountsError> + Send + 'static,
    ) -> Result<T, AccountsError> {
        let failed = |error: &dyn std::fmt::Display| AccountsError::Hash(error.to_string());
        let _turn = self.hashing.acquire().await.map_err(|error| failed(&error))?;
        tokio::task::spawn_blocking(work).await.map_err(|error| failed(&error))?
    }
}
