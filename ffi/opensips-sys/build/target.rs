//! What `opensips -V` says.

use anyhow::{Context, Result, ensure};

use crate::rows::Version;

/// The strings that the core compares with a module's, and what follows from them.
#[derive(Debug)]
pub struct Target {
    /// `opensips 3.6.8 (x86_64/linux)`
    pub full_version: String,
    /// `x86_64`
    pub arch: String,
    /// `STATS: On, DISABLE_NAGLE, …`
    pub flags: String,
    /// `git` or `unknown`
    pub scm_type: String,
    /// The three numbers in `full_version`.
    pub version: Version,
}

impl Target {
    /// Takes the text apart.
    pub fn parse(text: &str) -> Result<Self> {
        let line = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::to_owned)
                .with_context(|| format!("no line \"{name}…\": expected what `opensips -V` prints"))
        };
        let full_version = line("version: ")?;
        let flags = line("flags: ")?;
        let scm_type = text
            .lines()
            .find_map(|line| line.split_once(" revision: "))
            .map(|(kind, _)| kind.to_owned())
            .context("no line \"… revision: …\": expected what `opensips -V` prints")?;
        let wrong = || format!("\"{full_version}\": expected \"opensips 3.6.8 (x86_64/linux)\"");
        let (number, platform) = full_version
            .strip_prefix("opensips ")
            .and_then(|rest| rest.split_once(" ("))
            .with_context(wrong)?;
        let version = release(number).with_context(wrong)?;
        let platform = platform.strip_suffix(')').with_context(wrong)?;
        // The table is one of 64-bit machines whose C types have the same sizes.
        let arch = platform.strip_suffix("/linux").unwrap_or_default().to_owned();
        ensure!(
            matches!(arch.as_str(), "x86_64" | "aarch64"),
            "\"{full_version}\": the table is for x86_64/linux and aarch64/linux only"
        );
        Ok(Self { full_version, arch, flags, scm_type, version })
    }
}

/// `3.6.8`; what follows the numbers (`4.0.0-rc1`) is another matter, and refused.
pub fn release(text: &str) -> Option<Version> {
    let mut parts = text.split('.');
    let mut next = || parts.next()?.parse().ok();
    let version = (next()?, next()?, next()?);
    parts.next().is_none().then_some(version)
}

/// `3.6.8`
pub fn dotted((major, minor, patch): Version) -> String {
    format!("{major}.{minor}.{patch}")
}
