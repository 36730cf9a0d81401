//! Keys that capture agents send with (HEP3 rev. 37, chunk 0x000e).

use super::secret::{hash_of, kept, random_text};
use super::{Accounts, AccountsError, check_name};
use crate::telemetry::clock::now_us;

/// Shortest key that is taken from outside, characters. It is kept as a plain hash, so it must not be one to guess.
const SHORTEST: usize = 16;

/// Longest key, characters.
const LONGEST: usize = 255;

/// A key, by what is known of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentKey {
    /// What it is for.
    pub name: String,
    /// The one agent that may use it; any where `None`.
    pub agent_id: Option<u32>,
    /// Whose is what comes with it, where it is somebody's.
    pub tenant: Option<String>,
    /// When it was added, µs since the epoch.
    pub created_at_us: i64,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
}

impl Accounts {
    /// Adds a key for an agent, or for any, and for a tenant, or for nobody: the given one, or else a random one. This is the only time that it can be
    /// seen.
    ///
    /// # Errors
    /// When the name or the key is taken or not usable.
    pub async fn add_agent_key(
        &self,
        name: &str,
        agent_id: Option<u32>,
        tenant: Option<&str>,
        key: Option<String>,
    ) -> Result<String, AccountsError> {
        check_name(name)?;
        let key = match key {
            Some(key) if !(SHORTEST..=LONGEST).contains(&key.len()) => {
                return Err(AccountsError::AgentKey(key.len()));
            }
            Some(key) => key,
            None => random_text()?,
        };
        let values = vec![
            name.into(),
            kept(&key).as_str().into(),
            agent_id.map(i64::from).into(),
            tenant.into(),
            now_us().into(),
        ];
        let added = self
            .database
            .execute(
                "insert into agent_key (name, hash, agent_id, tenant, created_at_us) values ($1, $2, $3, $4, $5)
                 on conflict do nothing",
                values,
            )
            .await?;
        if added == 0 {
            Err(AccountsError::Taken(format!("agent key {name}, or one like it,")))
        } else {
            Ok(key)
        }
    }

    /// All keys, by name.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn agent_keys(&self) -> Result<Vec<AgentKey>, AccountsError> {
        let sql = "select name, agent_id, tenant, created_at_us, hash from agent_key order by name";
        let rows = self.database.rows(sql, Vec::new()).await?;
        let key = |row: &super::database::Row| {
            Some(AgentKey {
                name: row.text(0)?,
                agent_id: row.integer(1).and_then(|id| u32::try_from(id).ok()),
                tenant: row.text(2),
                created_at_us: row.integer(3)?,
                hash: hash_of(&row.text(4)?)?,
            })
        };
        Ok(rows.iter().filter_map(key).collect())
    }

    /// Removes a key; whether there was one.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn remove_agent_key(&self, name: &str) -> Result<bool, AccountsError> {
        let sql = "delete from agent_key where name = $1";
        Ok(self.database.execute(sql, vec![name.into()]).await? > 0)
    }
}
