//! Which spool this is. A store keeps how far it has each spool, so that one that is new, moved or restored is read from
//! where *it* stands, whatever other spools the store has seen.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use uuid::Uuid;

use super::SpoolError;

const FILE: &str = "id";
const NEW_FILE: &str = "id.new";

/// The name of the spool in this directory, a UUID; given to it at the first call.
///
/// # Errors
/// When the directory cannot be made, read or written, or its `id` is not a UUID.
pub fn identity(dir: &Path) -> Result<String, SpoolError> {
    fs::create_dir_all(dir).map_err(SpoolError::io("make", dir))?;
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => match Uuid::parse_str(text.trim()) {
            Ok(id) => Ok(id.to_string()),
            Err(error) => {
                Err(SpoolError::io("read", path)(io::Error::new(io::ErrorKind::InvalidData, error)))
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = Uuid::now_v7().to_string();
            // Whole or not there at all, whenever the machine stops.
            let new = dir.join(NEW_FILE);
            let written = fs::File::create(&new).and_then(|mut file| {
                writeln!(file, "{id}")?;
                file.sync_all()
            });
            written.map_err(SpoolError::io("write", &new))?;
            fs::rename(&new, &path).map_err(SpoolError::io("rename", &new))?;
            fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(SpoolError::io("sync", dir))?;
            Ok(id)
        }
        Err(error) => Err(SpoolError::io("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_keeps_its_name_and_no_other_has_it() {
        let (one, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let name = identity(&one.path().join("spool")).expect("a name");
        assert_eq!(identity(&one.path().join("spool")).expect("a name"), name);
        assert_ne!(identity(other.path()).expect("a name"), name);
    }

    #[test]
    fn a_damaged_name_is_refused_rather_than_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join(FILE), "").expect("written");
        assert!(identity(dir.path()).is_err());
    }
}
