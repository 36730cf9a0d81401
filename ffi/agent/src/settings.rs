//! What a sender must know beside the queues.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{ffi::OsStr, fmt};

use capture::{Config, Limits, Tls};

/// The first line: whoever reads another one is of another version.
const TITLE: &[u8] = b"siplens sender 2";
/// Octets of the longest text: four paths, and room for the rest.
pub const MAX_SETTINGS_BYTES: usize = 5 * 4096;

/// Settings of the sender; they travel as lines of a name, a space and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Octets that may wait for each collector.
    pub backlog_bytes: usize,
    /// Whether packets are numbered, and kept until a collector that acknowledges them has done so.
    pub acknowledge: bool,
    /// How to know TLS collectors, and to be known by them. The files are read by the sender.
    pub tls: Tls,
    /// How old the queues are: their clock begins with them.
    pub age: Duration,
}

/// The settings that another program sent are not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingsError;

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "settings of another kind: proxy module and siplens-agent must be of the same version")
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// Those of a checked configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            backlog_bytes: config.backlog_bytes,
            acknowledge: config.acknowledge,
            tls: config.tls.clone(),
            age: Duration::ZERO,
        }
    }

    /// The limits of a sender with these settings.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits { backlog_bytes: self.backlog_bytes, acknowledge: self.acknowledge, ..Limits::default() }
    }

    /// As text. Paths are made absolute: the reader's working directory is another one.
    #[must_use]
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = TITLE.to_vec();
        let mut line = |name: &str, value: &[u8]| {
            text.push(b'\n');
            text.extend_from_slice(name.as_bytes());
            text.push(b' ');
            text.extend_from_slice(value);
        };
        line("backlog_bytes", self.backlog_bytes.to_string().as_bytes());
        line("acknowledge", if self.acknowledge { b"1" } else { b"0" });
        line("age_ms", self.age.as_millis().to_string().as_bytes());
        line("tls_ca", absolute(&self.tls.ca).as_os_str().as_bytes());
        if let Some((chain, key)) = &self.tls.identity {
            line("tls_cert", absolute(chain).as_os_str().as_bytes());
            line("tls_key", absolute(key).as_os_str().as_bytes());
        }
        if let Some(name) = &self.tls.server_name {
            line("tls_server_name", name.as_bytes());
        }
        text
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    ///
    /// # Errors
    /// [`SettingsError`] for anything else.
    pub fn parse(text: &[u8]) -> Result<Self, SettingsError> {
        let mut lines = text.split(|&octet| octet == b'\n');
        if lines.next() != Some(TITLE) {
            return Err(SettingsError);
        }
        let mut backlog_bytes = None;
        let mut acknowledge = None;
        let mut age = Duration::ZERO;
        let mut tls = Tls::default();
        let (mut chain, mut key) = (None, None);
        for line in lines {
            let space = line.iter().position(|&octet| octet == b' ').ok_or(SettingsError)?;
            let (name, value) = (line.get(..space), line.get(space + 1..).unwrap_or_default());
            let path = || PathBuf::from(OsStr::from_bytes(value));
            let text = || String::from_utf8(value.to_vec()).map_err(|_not_text| SettingsError);
            match name {
                Some(b"backlog_bytes") => {
                    backlog_bytes = Some(text()?.parse().map_err(|_no_number| SettingsError)?);
                }
                Some(b"acknowledge") => {
                    acknowledge = Some(match value {
                        b"0" => false,
                        b"1" => true,
                        _ => return Err(SettingsError),
                    });
                }
                Some(b"age_ms") => {
                    age = Duration::from_millis(text()?.parse().map_err(|_no_number| SettingsError)?);
                }
                Some(b"tls_ca") => tls.ca = path(),
                Some(b"tls_cert") => chain = Some(path()),
                Some(b"tls_key") => key = Some(path()),
                Some(b"tls_server_name") => tls.server_name = Some(text()?),
                _ => return Err(SettingsError),
            }
        }
        tls.identity = chain.zip(key);
        let backlog_bytes = backlog_bytes.ok_or(SettingsError)?;
        Ok(Self { backlog_bytes, acknowledge: acknowledge.ok_or(SettingsError)?, tls, age })
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_empty| path.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn settings_come_out_as_they_went_in() {
        let tls = Tls { ca: "/ca.pem".into(), ..Tls::default() };
        let age = Duration::from_millis(1234);
        let plain = Settings { backlog_bytes: 1 << 20, acknowledge: true, tls, age };
        assert_eq!(Settings::parse(&plain.to_text()), Ok(plain.clone()));
        let tls = Tls {
            ca: "/with space.pem".into(),
            identity: Some(("/c".into(), "/k".into())),
            server_name: Some("collector.example".to_owned()),
        };
        let all = Settings { acknowledge: false, tls, ..plain };
        assert_eq!(Settings::parse(&all.to_text()), Ok(all));
    }

    #[test]
    fn a_relative_path_is_that_of_the_proxy() {
        let tls = Tls { ca: "ca.pem".into(), ..Tls::default() };
        let relative = Settings { backlog_bytes: 1, acknowledge: true, tls, age: Duration::ZERO };
        let here = std::env::current_dir().unwrap();
        assert_eq!(Settings::parse(&relative.to_text()).unwrap().tls.ca, here.join("ca.pem"));
    }

    #[test]
    fn another_version_is_refused() {
        for text in ["", "siplens sender 1\nbacklog_bytes 1", "siplens sender 2", "siplens sender 2\nnew 1"] {
            assert_eq!(Settings::parse(text.as_bytes()), Err(SettingsError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in prop::collection::vec(any::<u8>(), 0..200), titled: bool) {
            let title: &[u8] = if titled { b"siplens sender 2\n" } else { b"" };
            let _ = Settings::parse(&[title, &text].concat());
        }
    }
}
