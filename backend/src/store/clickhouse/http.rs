//! HTTP to one ClickHouse server: a few connections that stay open, TLS if its URL says https, a bound on each wait.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// Connections that are kept for the next question.
const IDLE: usize = 8;

/// How long they are kept: less than servers do, whose default was 3 s for long.
const KEPT: Duration = Duration::from_secs(2);

/// The longest answer that is taken, octets: twice what the slices of one step of a walk can come to.
pub const ANSWER_BYTES: usize = 1 << 30;

/// The longest part of a server's complaint that is repeated.
const COMPLAINT_BYTES: usize = 500;

/// What all servers are asked with.
#[derive(Clone)]
pub struct Access {
    /// The password of the users that the URLs name; empty for none.
    pub password: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Replicas that must have what is inserted; 0 and 1 for the one that is asked.
    pub insert_quorum: u32,
    /// What a certificate is checked against: this PEM file, or the system's authorities.
    pub tls: TlsConnector,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// A URL names no ClickHouse server, or TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// Not of the form `http://user@host:port/database`.
    #[error("expected http[s]://[user@]host[:port]/database, found {0:?}")]
    Form(String),
    /// A password would end in logs and process lists.
    #[error("expected no password in {0:?}: it goes into the environment, SIPLENS_CLICKHOUSE_PASSWORD")]
    Password(String),
}

/// Where a server is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerUrl {
    tls: bool,
    host: String,
    port: u16,
    user: String,
    database: String,
}

impl ServerUrl {
    /// Reads `http[s]://[user@]host[:port]/database`; 8123 and 8443 are the ports where none is given.
    ///
    /// # Errors
    /// When it has another form, or holds a password.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let form = || UrlError::Form(without_password(text));
        let uri: Uri = text.parse().map_err(|_error| form())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(form()),
        };
        let authority = uri.authority().ok_or_else(form)?;
        let user = match authority.as_str().rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(UrlError::Password(without_password(text))),
            Some((user, _)) => user,
            None => "default",
        };
        let database = uri.path().trim_start_matches('/');
        let is_name = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        if !is_name(database) || !is_name(user) || uri.query().is_some() || authority.host().is_empty() {
            return Err(form());
        }
        Ok(Self {
            tls,
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 8443 } else { 8123 }),
            user: user.to_owned(),
            database: database.to_owned(),
        })
    }

    /// The name of its database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.database)
    }
}

/// The text with what stands between a user's name and the host left out.
fn without_password(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 < at => {
            let user = text[scheme + 3..at].split(':').next().unwrap_or_default();
            format!("{}{user}@{}", &text[..scheme + 3], &text[at + 1..])
        }
        _ => text.to_owned(),
    }
}

/// What checks a server's certificate.
///
/// # Errors
/// When the file cannot be read or holds no certificate.
pub fn tls(authorities: Option<&Path>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = authorities {
        let named = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
        for certificate in CertificateDer::pem_file_iter(path).map_err(|e| named(&e))? {
            roots.add(certificate.map_err(|e| named(&e))?).map_err(|e| named(&e))?;
        }
        if roots.is_empty() {
            return Err(named(&"expected certificates, found none"));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A server did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// It cannot be reached, or did not answer in time. Whether it did what it was asked is not known.
    #[error("{0}")]
    Away(String),
    /// It answered, with a complaint.
    #[error("{0}")]
    Refused(String),
    /// It answered more than was to be read.
    #[error("{0}: its answer is too long")]
    TooMuch(ServerUrl),
}

type Connection = SendRequest<Full<Bytes>>;

/// One server.
pub struct Server {
    url: ServerUrl,
    access: Access,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Server {
    /// A server that is not connected to yet.
    pub fn new(url: ServerUrl, access: Access) -> Self {
        Self { url, access, idle: Mutex::default() }
    }

    /// Where it is.
    pub const fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Asks a question; the answer in the format that it names.
    pub async fn ask(&self, sql: String) -> Result<Bytes, Failure> {
        self.ask_within(sql, ANSWER_BYTES).await
    }

    /// The same, for an answer of so many octets at most.
    pub async fn ask_within(&self, sql: String, most: usize) -> Result<Bytes, Failure> {
        let longest = format!("&max_execution_time={}", self.access.timeout.as_secs());
        self.post(longest, sql.into(), most, self.access.timeout).await
    }

    /// Asks for a sign of life.
    pub async fn ping(&self) -> Result<(), Failure> {
        self.post(String::new(), "select 1".into(), ANSWER_BYTES, CONNECT).await.map(drop)
    }

    /// Asks outside the server's database, which may not be there yet.
    pub async fn ask_server(&self, sql: String) -> Result<Bytes, Failure> {
        self.post("&database=system".to_owned(), sql.into(), ANSWER_BYTES, self.access.timeout).await
    }

    /// Gives rows to an `insert … format RowBinary`, with a token by which a repetition is known.
    pub async fn insert(&self, sql: &str, token: Option<&str>, rows: Bytes) -> Result<Bytes, Failure> {
        let token = token.map(|token| format!("&insert_deduplication_token={}", escape(token)));
        let quorum = Some(self.access.insert_quorum).filter(|least| *least > 1);
        let quorum = quorum.map(|least| format!("&insert_quorum={least}")).unwrap_or_default();
        let query = format!("&query={}{}{quorum}", escape(sql), token.unwrap_or_default());
        self.post(query, rows, ANSWER_BYTES, self.access.timeout).await
    }

    async fn post(
        &self,
        query: String,
        body: Bytes,
        most: usize,
        patience: Duration,
    ) -> Result<Bytes, Failure> {
        let away = |error: &dyn fmt::Display| Failure::Away(format!("{}: {error}", self.url));
        let late = |_elapsed| away(&format_args!("no answer within {patience:?}"));
        tokio::time::timeout(patience, self.exchange(query, body, most)).await.map_err(late)?
    }

    async fn exchange(&self, query: String, body: Bytes, most: usize) -> Result<Bytes, Failure> {
        let away = |error: &dyn fmt::Display| Failure::Away(format!("{}: {error}", self.url));
        let database = if query.contains("&database=") {
            String::new()
        } else {
            format!("&database={}", self.url.database)
        };
        // The answer is held back until the question is done, so that a late complaint is not taken for data.
        let path = format!("/?wait_end_of_query=1{database}{query}");
        let mut request = Request::post(path).body(Full::new(body)).map_err(|error| away(&error))?;
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| away(&error));
        let headers = request.headers_mut();
        headers.insert(header::HOST, value(&format!("{}:{}", self.url.host, self.url.port))?);
        headers.insert("x-clickhouse-user", value(&self.url.user)?);
        if !self.access.password.is_empty() {
            let mut password = value(&self.access.password)?;
            password.set_sensitive(true);
            headers.insert("x-clickhouse-key", password);
        }

        // A connection that stayed open may have been closed by the server just now, so it is tried once more on a
        // new one: every question may be asked twice, and rows that are inserted twice are read once.
        if let Some(mut connection) = self.reuse()
            && connection.ready().await.is_ok()
            && let Ok(response) = connection.send_request(request.clone()).await
        {
            return self.answer(connection, response, most).await;
        }
        let mut connection = self.connect().await?;
        let response = connection.send_request(request).await.map_err(|error| away(&error))?;
        self.answer(connection, response, most).await
    }

    async fn answer(
        &self,
        connection: Connection,
        response: Response<Incoming>,
        most: usize,
    ) -> Result<Bytes, Failure> {
        let failure = |error: Box<dyn Error + Send + Sync>| {
            if error.is::<LengthLimitError>() {
                return Failure::TooMuch(self.url.clone());
            }
            Failure::Away(format!("{}: {error}", self.url))
        };
        let status = response.status();
        let body = Limited::new(response.into_body(), most).collect().await.map_err(failure)?.to_bytes();
        if connection.is_ready() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE {
                idle.push((connection, Instant::now()));
            }
        }
        if status.is_success() {
            return Ok(body);
        }
        let complaint = String::from_utf8_lossy(&body[..body.len().min(COMPLAINT_BYTES)]);
        Err(Failure::Refused(format!("{}: {status}: {}", self.url, complaint.trim())))
    }

    fn reuse(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(connection, since)| !connection.is_closed() && since.elapsed() < KEPT);
        Some(idle.pop()?.0)
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let away = |error: &dyn fmt::Display| Failure::Away(format!("{}: {error}", self.url));
        let host = self.url.host.trim_matches(['[', ']']);
        let opened = tokio::time::timeout(CONNECT, TcpStream::connect((host, self.url.port))).await;
        let stream = opened
            .map_err(|_elapsed| away(&format_args!("no connection within {CONNECT:?}")))?
            .map_err(|error| away(&error))?;
        stream.set_nodelay(true).map_err(|error| away(&error))?;
        if !self.url.tls {
            return self.speak(stream).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|error| away(&error))?;
        let stream = tokio::time::timeout(CONNECT, self.access.tls.connect(name, stream)).await;
        let stream = stream
            .map_err(|_elapsed| away(&format_args!("no TLS within {CONNECT:?}")))?
            .map_err(|error| away(&error))?;
        self.speak(stream).await
    }

    async fn speak<S>(&self, stream: S) -> Result<Connection, Failure>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::Away(format!("{}: {error}", self.url)))?;
        // Ends with the connection; how is told by the request that it ends.
        tokio::spawn(async move {
            let _ended = connection.await;
        });
        Ok(sender)
    }
}

/// A value for a query string: every octet but letters and digits escaped.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() * 2);
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() {
            escaped.push(char::from(octet));
        } else {
            escaped.push_str(&format!("%{octet:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_with_its_defaults() {
        let url = ServerUrl::parse("http://ch1/siplens").expect("a URL");
        assert_eq!(
            (url.tls, url.host.as_str(), url.port, url.user.as_str()),
            (false, "ch1", 8123, "default")
        );
        let url = ServerUrl::parse("https://writer@[2001:db8::1]:9443/calls").expect("a URL");
        assert_eq!(
            (url.tls, url.host.as_str(), url.port, url.user.as_str()),
            (true, "[2001:db8::1]", 9443, "writer")
        );
        assert_eq!((url.database(), url.to_string().as_str()), ("calls", "[2001:db8::1]:9443/calls"));
    }

    #[test]
    fn what_names_no_server_is_refused() {
        for text in [
            "",
            "ch1",
            "ftp://ch1/d",
            "http://ch1",
            "http://ch1/",
            "http://ch1/a b",
            "http://ch1/d?x=1",
            "http:///d",
        ] {
            assert!(matches!(ServerUrl::parse(text), Err(UrlError::Form(_))), "{text}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        for text in ["http://u:secret@ch1/d", "http://u:secret@ch1/", "ftp://u:sec@ret@ch1/d"] {
            let error = ServerUrl::parse(text).expect_err("refused").to_string();
            assert!(!error.contains("secret") && !error.contains("sec@"), "{error}");
        }
    }
}
