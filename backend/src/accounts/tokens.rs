//! Tokens, by which programs use the API.

use super::secret::{kept, random_text};
use super::{Accounts, AccountsError, check_name};
use crate::telemetry::clock::now_us;

/// What every token begins with, so that one that got lost is recognised.
const PREFIX: &str = "siplens_";

/// A token, by what is known of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    /// What it is for.
    pub name: String,
    /// When it was made, µs since the epoch.
    pub created_at_us: i64,
}

impl Accounts {
    /// Makes a token. This is the only time that it can be seen.
    ///
    /// # Errors
    /// When the name is taken or not usable.
    pub async fn add_token(&self, name: &str) -> Result<String, AccountsError> {
        check_name(name)?;
        let token = format!("{PREFIX}{}", random_text()?);
        let added = self
            .database
            .execute(
                "insert into api_token (name, hash, created_at_us) values ($1, $2, $3)
                 on conflict (name) do nothing",
                vec![name.into(), kept(&token).as_str().into(), now_us().into()],
            )
            .await?;
        if added == 0 { Err(AccountsError::Taken(format!("token {name}"))) } else { Ok(token) }
    }

    /// All tokens, by name.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn tokens(&self) -> Result<Vec<Token>, AccountsError> {
        let sql = "select name, created_at_us from api_token order by name";
        let rows = self.database.rows(sql, Vec::new()).await?;
        let token = |row: &super::database::Row| Token {
            name: row.text(0).unwrap_or_default(),
            created_at_us: row.integer(1).unwrap_or_default(),
        };
        Ok(rows.iter().map(token).collect())
    }

    /// Removes a token; whether there was one.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn remove_token(&self, name: &str) -> Result<bool, AccountsError> {
        let sql = "delete from api_token where name = $1";
        Ok(self.database.execute(sql, vec![name.into()]).await? > 0)
    }

    /// The name of this token; `None` where it is none.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn token_name(&self, token: &str) -> Result<Option<String>, AccountsError> {
        let sql = "select name from api_token where hash = $1";
        let rows = self.database.rows(sql, vec![kept(token).as_str().into()]).await?;
        Ok(rows.first().and_then(|row| row.text(0)))
    }
}
