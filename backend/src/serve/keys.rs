//! The keys that agents may send with. They are read from the accounts again and again; what was read last is also kept in
//! a file, so that a backend that starts while the database is away knows them.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::accounts::{Accounts, AccountsError};
use crate::ingest::keys::{Keys, KnownKey};

/// How often the keys are read again.
const INTERVAL: Duration = Duration::from_secs(5);

const FILE: &str = "agent-keys.json";
const NEW_FILE: &str = "agent-keys.new";

/// The file of the keys that were read last: their hashes, for its owner only.
pub struct KeyFile {
    dir: PathBuf,
    /// What is known to stand in it.
    written: Vec<KnownKey>,
}

/// A key in the file.
#[derive(Deserialize, Serialize)]
struct Entry {
    sha256: String,
    agent_id: Option<u32>,
    tenant: Option<String>,
}

impl KeyFile {
    /// That of this data folder.
    pub fn of(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), written: Vec::new() }
    }

    /// The keys in it; none where it is not there.
    fn read(&self) -> io::Result<Vec<KnownKey>> {
        let text = match fs::read(self.dir.join(FILE)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            read => read?,
        };
        let entries: Vec<Entry> = serde_json::from_slice(&text)?;
        let read = |entry: Entry| {
            let hash = URL_SAFE_NO_PAD.decode(entry.sha256).ok()?.try_into().ok()?;
            Some(KnownKey { hash, agent_id: entry.agent_id, tenant: entry.tenant.map(Into::into) })
        };
        Ok(entries.into_iter().filter_map(read).collect())
    }

    /// Writes the keys, unless they stand in it; whole or not at all.
    fn write(&mut self, keys: &[KnownKey]) -> io::Result<()> {
        if self.written == keys {
            return Ok(());
        }
        let entries: Vec<_> = keys
            .iter()
            .map(|key| Entry {
                sha256: URL_SAFE_NO_PAD.encode(key.hash),
                agent_id: key.agent_id,
                tenant: key.tenant.as_deref().map(str::to_owned),
            })
            .collect();
        let new = self.dir.join(NEW_FILE);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(&entries)?)?;
        file.sync_all()?;
        fs::rename(&new, self.dir.join(FILE))?;
        keys.clone_into(&mut self.written);
        Ok(())
    }
}

/// Puts the keys in force; those of the file where the accounts cannot be read.
pub async fn begin(accounts: &Accounts, keys: &Keys, file: &mut KeyFile) {
    if let Err(error) = load(accounts, keys, file).await {
        let known = file.read().unwrap_or_else(|error| {
            tracing::error!(%error, file = FILE, "cannot be read");
            Vec::new()
        });
        let known_keys = known.len();
        tracing::error!(%error, known_keys, "agents' keys cannot be read; those known from before are in force");
        keys.replace(known);
    }
}

/// Takes over keys that are added and removed while the backend runs. While they cannot be read, those it has stay in
/// force.
pub async fn watch(accounts: Arc<Accounts>, keys: Keys, mut file: KeyFile, stop: CancellationToken) {
    let mut readable = true;
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = stop.cancelled() => return,
        }
        let loaded = load(&accounts, &keys, &mut file).await;
        if let (true, Err(error)) = (readable, &loaded) {
            tracing::error!(%error, "agents' keys cannot be read; those known so far stay in force");
        }
        readable = loaded.is_ok();
    }
}

async fn load(accounts: &Accounts, keys: &Keys, file: &mut KeyFile) -> Result<(), AccountsError> {
    let known = accounts.agent_keys().await?;
    let known: Vec<_> = known
        .into_iter()
        .map(|key| KnownKey { hash: key.hash, agent_id: key.agent_id, tenant: key.tenant.map(Into::into) })
        .collect();
    if let Err(error) = file.write(&known) {
        tracing::warn!(%error, file = FILE, "cannot be written; a start without the database would not know agents' keys");
    }
    keys.replace(known);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let key = |octet, agent_id, tenant: Option<&str>| KnownKey {
            hash: [octet; 32],
            agent_id,
            tenant: tenant.map(Into::into),
        };
        assert!(KeyFile::of(dir.path()).read().expect("no file").is_empty());
        for keys in
            [vec![key(1, None, None), key(2, Some(7), Some("acme"))], vec![key(3, None, None)], Vec::new()]
        {
            let mut file = KeyFile::of(dir.path());
            file.written = vec![key(9, None, None)];
            file.write(&keys).expect("written");
            assert_eq!(KeyFile::of(dir.path()).read().expect("readable"), keys);
        }
        let mode = fs::metadata(dir.path().join(FILE)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(dir.path().join(FILE), "[{").expect("damaged");
        KeyFile::of(dir.path()).read().expect_err("damaged");
    }
}
