//! Who vouches for a collector that is reached over TLS, and who we are.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

/// Files and a name; they are read anew for each connection, so that a renewed certificate needs no restart.
///
/// A collector's certificate is always verified: its chain, its time and its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of those who may vouch for a collector, PEM.
    pub ca: PathBuf,
    /// Our certificate chain and its key, PEM; without them none is shown.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the certificate must have; without one, the host of the collector's URI.
    pub server_name: Option<String>,
}

/// Why TLS cannot be used as set.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file that cannot be read, or is not what it should be.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Certificate and key do not go together, or are of a kind that is not understood.
    #[error("certificate and key: {0}")]
    Identity(rustls::Error),
    /// What is neither a host name nor an address.
    #[error("server name \"{0}\" is neither a name nor an address")]
    Name(String, #[source] InvalidDnsNameError),
}

impl Tls {
    /// Reads all files, as each connection will.
    ///
    /// # Errors
    /// [`TlsError`], for the first that is wrong.
    pub fn check(&self) -> Result<(), TlsError> {
        self.client().map(drop)?;
        self.server_name.as_deref().map_or(Ok(()), |name| self.name(name).map(drop))
    }

    /// What a connection needs.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut roots = RootCertStore::empty();
        // A system's collection may hold some that are no longer understood.
        let (added, _ignored) = roots.add_parsable_certificates(certificates(&self.ca)?);
        if added == 0 {
            return Err(wrong(&self.ca, "no usable certificate in it"));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Identity)?
            .with_root_certificates(roots);
        let client = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let secret = PrivateKeyDer::from_pem_reader(open(key)?).map_err(|error| wrong(key, error))?;
                builder.with_client_auth_cert(certificates(chain)?, secret).map_err(TlsError::Identity)?
            }
        };
        Ok(Arc::new(client))
    }

    /// The name that a collector at this host must have.
    pub(crate) fn name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        ServerName::try_from(name.clone()).map_err(|error| TlsError::Name(name, error))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_reader_iter(open(path)?).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| wrong(path, error))?;
    if found.is_empty() { Err(wrong(path, "no certificate in it")) } else { Ok(found) }
}

fn open(path: &Path) -> Result<BufReader<File>, TlsError> {
    File::open(path).map(BufReader::new).map_err(|error| wrong(path, error))
}

fn wrong(path: &Path, reason: impl ToString) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}
