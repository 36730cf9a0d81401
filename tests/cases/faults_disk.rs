//! The disk runs full under load, and then there is room again: nothing is lost over TCP, and it is told meanwhile.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Agent, Backend, BackendSetup, eventually, skipped};
use tempfile::TempDir;

use crate::numbered::{STORED, exactly, load_while};

const LIMIT: Duration = Duration::from_secs(60);

/// A small disk of the case's own, gone with its value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one; `None` where this is not allowed.
    fn mount(at: &Path) -> Result<Option<Self>> {
        fs::create_dir_all(at)?;
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(at).output()?;
        Ok(mounted.status.success().then(|| Self(at.to_owned())))
    }

    /// Leaves no room on it.
    fn fill(&self) -> Result<()> {
        let mut file = File::create(self.0.join("filler"))?;
        let block = [0; 4096];
        while file.write_all(&block).is_ok() {}
        Ok(())
    }

    fn make_room(&self) -> Result<()> {
        Ok(fs::remove_file(self.0.join("filler"))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also while files on it are open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// A backend one of whose folders is on a small disk. `full_told` is why it then is not ready, in its log.
fn survives(case: &str, folder: &str, full_told: &str) -> Result<()> {
    let dir: TempDir = tempfile::Builder::new().prefix("siplens-backend-").tempdir()?;
    let Some(disk) = SmallDisk::mount(&dir.path().join("data").join(folder))? else {
        skipped(case, "mounting a disk takes root");
        return Ok(());
    };
    let config = "[retention]\ndisk_free_bytes = 0\n[spool]\nsegment_bytes = 1_048_576\n".to_owned();
    let setup = BackendSetup { config: Some(config), ..BackendSetup::default() };
    let backend = Backend::start_in(dir, setup)?;
    // Gone before the backend's folder.
    let disk = disk;
    let sent = load_while(Agent::tcp(backend.hep())?, "full", Duration::from_millis(1), || {
        eventually("stored messages", LIMIT, || {
            ensure!(backend.api().metric(STORED)? > 100.0);
            Ok(())
        })?;
        disk.fill()?;
        eventually("a word about the disk", LIMIT, || {
            let ready = backend.api().fetch("/readyz")?;
            ensure!(ready.status == 503, "{}", ready.text());
            ensure!(backend.log().contains(full_told), "{}", backend.log());
            Ok(())
        })?;
        // It stays full for a while, under load.
        std::thread::sleep(Duration::from_secs(3));
        let before = backend.api().metric(STORED)?;
        disk.make_room()?;
        eventually("more stored messages", LIMIT, || {
            ensure!(backend.api().metric(STORED)? > before);
            Ok(())
        })
    })?;
    exactly(&backend, "full", sent)?;
    eventually("readiness", LIMIT, || {
        let ready = backend.api().fetch("/readyz")?;
        ensure!(ready.status == 200, "{}", ready.text());
        Ok(())
    })
}

#[test]
fn a_full_disk_under_the_spool_costs_nothing() -> Result<()> {
    survives("a full disk under the spool", "spool", "the spool cannot write")
}

#[test]
fn a_full_disk_under_the_embedded_store_costs_nothing() -> Result<()> {
    survives("a full disk under the store", "store", "the store is away")
}
