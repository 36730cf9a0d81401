//! Settings as an operator writes them, and as the agent uses them. The names are the same on every proxy.

use std::path::PathBuf;

use thiserror::Error;

use crate::collector::{CollectorUri, Protocol, UriError, collectors};
use crate::network::Network;
use crate::tls::Tls;

/// Module parameters, each with its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The name of this agent, sent as HEP chunk 0x0013; empty sends none.
    pub agent_name: String,
    /// The socket at which `siplens-agent` asks for the queues; empty for a sender that the proxy starts itself.
    pub agent_socket: String,
    /// 1: packets are numbered, and kept until a collector that acknowledges them has done so; 0: neither.
    pub acknowledge: i32,
    /// Sent in clear as HEP chunk 0x000e; empty sends none.
    pub auth_key: String,
    /// What may wait for each collector in the sender, in KiB, 128 to 1048576; as much again may be on its way.
    pub backlog_kib: i32,
    /// The header whose value is the correlation id when the script gives none; empty for none.
    pub correlation_header: String,
    /// 1: the addresses that listening sockets advertise stand for those that they are bound to; 0: the bound ones.
    pub data_mode: i32,
    /// Seconds that an established dialog is followed after its last message, 1 to 31536000.
    pub dialog_expires: i32,
    /// Where messages go when the script names no collector; empty for none.
    pub duplicate_uri: String,
    /// The number of this agent, 0 to 2147483647, HEP chunk 0x000c.
    pub hep_capture_id: i32,
    /// Only 1: what is sent is always HEP.
    pub hep_mode_on: i32,
    /// Only 3.
    pub hep_version: i32,
    /// Content types of bodies that are masked, separated by commas: `all`, `text/plain`, `text/*`, and exceptions with a
    /// leading `!`; empty or `none` for none.
    pub mask_body: String,
    /// Headers whose values are masked, separated by commas; empty for none.
    pub mask_headers: String,
    /// Collectors that get a copy of every message, the first that is there; empty for none.
    pub mirror: String,
    /// Size of each process's queue in KiB, 128 to 1048576, rounded up to a power of two.
    pub ring_size_kib: i32,
    /// What the host makes the correlation id of when script and header give none; empty for the Call-ID.
    pub session_id: String,
    /// Transactions and dialogs that can be followed at once, 16 to 4194304, rounded up to a power of two.
    pub sessions: i32,
    /// A file with the certificates, PEM, of those who may vouch for a TLS collector.
    pub tls_ca: String,
    /// A file with our certificate and those between it and its authority, PEM; empty shows none.
    pub tls_cert: String,
    /// A file with the key of `tls_cert`, PEM.
    pub tls_key: String,
    /// The name that a TLS collector's certificate must have; empty for the host of its URI.
    pub tls_server_name: String,
    /// Trace filters that can be active at once, 0 to 64; 0 for none ever.
    pub trace_filters: i32,
    /// 0: script and `trace_mode`; 1: `trace_mode` only, which must be on; 2: script only, whatever `trace_mode` says.
    pub trace_init_mode: i32,
    /// Methods to capture, separated by commas, with their replies; empty for all.
    pub trace_method: String,
    /// 1 to capture everything without a call in the script, 0 for what the script names.
    pub trace_mode: i32,
    /// Networks, addresses or sockets of which one must be an end of a message to capture, separated by commas; empty for
    /// all.
    pub trace_network: String,
    /// 1 to start capturing at once, 0 to wait for the command `siplens.enable`.
    pub trace_on: i32,
    /// Only 0: the agent writes to no database.
    pub trace_to_database: i32,
    /// Seconds that a transaction is followed after its last message, 1 to 86400; longer while a call rings.
    pub transaction_expires: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            agent_name: String::new(),
            agent_socket: String::new(),
            acknowledge: 1,
            auth_key: String::new(),
            backlog_kib: 8192,
            correlation_header: String::new(),
            data_mode: 0,
            dialog_expires: 43_200,
            duplicate_uri: String::new(),
            hep_capture_id: 1,
            hep_mode_on: 1,
            hep_version: 3,
            mask_body: String::new(),
            mask_headers: String::new(),
            mirror: String::new(),
            ring_size_kib: 4096,
            session_id: String::new(),
            sessions: 65_536,
            tls_ca: String::from("/etc/ssl/certs/ca-certificates.crt"),
            tls_cert: String::new(),
            tls_key: String::new(),
            tls_server_name: String::new(),
            trace_filters: 16,
            trace_init_mode: 0,
            trace_method: String::new(),
            trace_mode: 0,
            trace_network: String::new(),
            trace_on: 1,
            trace_to_database: 0,
            transaction_expires: 64,
        }
    }
}

/// Settings that were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether the address that a listening socket advertises stands for the one that it is bound to.
    pub advertised: bool,
    /// HEP chunk 0x000c.
    pub agent_id: u32,
    /// HEP chunk 0x0013.
    pub agent_name: Option<String>,
    /// Where `siplens-agent` asks for the queues.
    pub agent_socket: Option<PathBuf>,
    /// Whether packets are numbered, and kept until they are acknowledged.
    pub acknowledge: bool,
    /// HEP chunk 0x000e.
    pub auth_key: Option<String>,
    /// Whether everything is captured without a call in the script.
    pub automatic: bool,
    /// Octets that may wait for each collector in the sender.
    pub backlog_bytes: usize,
    /// The collector for messages for which the script names none.
    pub collector: Option<String>,
    /// The header that names the correlation id.
    pub correlation_header: Option<String>,
    /// Seconds that an established dialog is followed after its last message.
    pub dialog_expires: u32,
    /// Whether messages are taken from the start.
    pub enabled: bool,
    /// Methods to capture, in upper case; empty for all.
    pub methods: Vec<String>,
    /// What of a message is masked.
    pub mask: sip::Mask,
    /// Who gets copies.
    pub mirror: Option<String>,
    /// Where messages to capture come from or go to; empty for everywhere.
    pub networks: Vec<Network>,
    /// Size of each process's queue in KiB.
    pub ring_size_kib: u32,
    /// Whether the script's calls are followed at all.
    pub scripted: bool,
    /// The host's template of correlation ids.
    pub session_id: Option<String>,
    /// Sessions that can be followed at once.
    pub sessions: u32,
    /// How to know TLS collectors, and to be known by them.
    pub tls: Tls,
    /// Trace filters that can be active at once.
    pub trace_filters: u32,
    /// Seconds that a transaction is followed after its last message.
    pub transaction_expires: u32,
}

/// What is wrong with a setting.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Not a URI that [`CollectorUri`] understands.
    #[error("{name} \"{value}\": {reason}")]
    Collector {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: String,
        /// The rule broken.
        reason: UriError,
    },
    /// Only one of the two files of an identity.
    #[error("tls_cert and tls_key: expected both or none")]
    HalfIdentity,
    /// Everything is to be captured, but for nobody.
    #[error("trace_mode = 1: set duplicate_uri, too; it says where the messages go")]
    NoCollector,
    /// A number outside its range.
    #[error("{name} = {value}: expected {expected}")]
    Number {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: i32,
        /// What is allowed.
        expected: &'static str,
    },
    /// A text that is no list of what it should be.
    #[error("{name} \"{value}\": expected {expected}")]
    Token {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A text that would leave too little room for the message in each packet.
    #[error("{name}: longer than {limit} octets")]
    TooLong {
        /// The parameter.
        name: &'static str,
        /// Octets allowed.
        limit: usize,
    },
}

impl Config {
    /// Whether a collector of the configuration is reached over TLS. Those of the script may be, too.
    #[must_use]
    pub fn needs_tls(&self) -> bool {
        let named = [&self.collector, &self.mirror].into_iter().flatten();
        named
            .flat_map(|text| collectors(text.as_bytes()).unwrap_or_default())
            .any(|uri| uri.protocol == Protocol::Tls)
            || self.tls.identity.is_some()
            || self.tls.server_name.is_some()
    }

    /// Whether something is made unreadable before it leaves.
    #[must_use]
    pub fn masks(&self) -> bool {
        self.mask.is_any()
    }

    /// Octets of the longest agent name and key.
    pub const MAX_TEXT_BYTES: usize = 255;
    /// Octets of the longest path of a socket: the system's 107, less what its name has while it is being made.
    pub const MAX_SOCKET_BYTES: usize = 103;
    /// Octets of the longest text of the mirror.
    pub const MAX_MIRROR_BYTES: usize = CollectorUri::MAX_BYTES - 1;

    /// Checks all settings.
    ///
    /// # Errors
    /// Every mistake that was found, not just the first.
    pub fn check(settings: Settings) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut number = |name, value: i32, fine: bool, expected| {
            if !fine {
                errors.push(ConfigError::Number { name, value, expected });
            }
        };
        let Settings {
            acknowledge,
            backlog_kib,
            data_mode,
            hep_capture_id,
            hep_mode_on,
            hep_version,
            ring_size_kib,
            trace_on,
            trace_to_database,
            dialog_expires,
            sessions,
            trace_filters,
            trace_init_mode,
            trace_mode,
            transaction_expires,
            ..
        } = settings;
        number("acknowledge", acknowledge, matches!(acknowledge, 0 | 1), "0 or 1");
        number("backlog_kib", backlog_kib, (128..=1_048_576).contains(&backlog_kib), "128 to 1048576");
        number("data_mode", data_mode, matches!(data_mode, 0 | 1), "0 or 1");
        number(
            "dialog_expires",
            dialog_expires,
            (1..=31_536_000).contains(&dialog_expires),
            "1 to 31536000 seconds",
        );
        number("hep_capture_id", hep_capture_id, hep_capture_id >= 0, "0 to 2147483647");
        number("hep_mode_on", hep_mode_on, hep_mode_on == 1, "1 (messages always leave as HEP)");
        number("hep_version", hep_version, hep_version == 3, "3 (versions 1 and 2 are not sent)");
        number("ring_size_kib", ring_size_kib, (128..=1_048_576).contains(&ring_size_kib), "128 to 1048576");
        number("sessions", sessions, (16..=4_194_304).contains(&sessions), "16 to 4194304");
        number("trace_filters", trace_filters, (0..=64).contains(&trace_filters), "0 to 64");
        number("trace_init_mode", trace_init_mode, (0..=2).contains(&trace_init_mode), "0, 1 or 2");
        number("trace_mode", trace_mode, matches!(trace_mode, 0 | 1), "0 or 1");
        number(
            "trace_init_mode",
            trace_init_mode,
            trace_init_mode != 1 || trace_mode == 1,
            "0 or 2, as trace_mode is off and nothing would be captured",
        );
        number(
            "transaction_expires",
            transaction_expires,
            (1..=86_400).contains(&transaction_expires),
            "1 to 86400 seconds",
        );
        number("trace_on", trace_on, matches!(trace_on, 0 | 1), "0 or 1");
        number(
            "trace_to_database",
            trace_to_database,
            trace_to_database == 0,
            "0 (there is no database here)",
        );

        for (name, text) in [("agent_name", &settings.agent_name), ("auth_key", &settings.auth_key)] {
            if text.len() > Self::MAX_TEXT_BYTES {
                errors.push(ConfigError::TooLong { name, limit: Self::MAX_TEXT_BYTES });
            }
        }
        let collector = Some(settings.duplicate_uri).filter(|uri| !uri.is_empty());
        let mirror = Some(settings.mirror).filter(|uri| !uri.is_empty());
        for (name, limit, uri) in [
            ("duplicate_uri", CollectorUri::MAX_BYTES, &collector),
            ("mirror", Self::MAX_MIRROR_BYTES, &mirror),
        ] {
            let Some(uri) = uri else { continue };
            if uri.len() > limit {
                errors.push(ConfigError::TooLong { name, limit });
            } else if let Err(reason) = collectors(uri.as_bytes()) {
                errors.push(ConfigError::Collector { name, value: uri.clone(), reason });
            }
        }
        let agent_socket = Some(settings.agent_socket).filter(|path| !path.is_empty());
        if let Some(path) = agent_socket.as_ref() {
            if path.len() > Self::MAX_SOCKET_BYTES {
                errors.push(ConfigError::TooLong { name: "agent_socket", limit: Self::MAX_SOCKET_BYTES });
            } else if !path.starts_with('/') {
                errors.push(ConfigError::Token {
                    name: "agent_socket",
                    value: path.clone(),
                    expected: "the path of a socket from the root on, such as /run/kamailio/siplens-agent.sock",
                });
            }
        }
        if settings.tls_cert.is_empty() != settings.tls_key.is_empty() {
            errors.push(ConfigError::HalfIdentity);
        }
        let automatic = trace_mode == 1 && trace_init_mode != 2;
        if automatic && collector.is_none() {
            errors.push(ConfigError::NoCollector);
        }
        let networks: Option<Vec<_>> = listed(&settings.trace_network).map(Network::parse).collect();
        if networks.is_none() {
            errors.push(ConfigError::Token {
                name: "trace_network",
                value: settings.trace_network,
                expected: "networks, addresses or sockets separated by commas, such as 10.0.0.0/8,192.0.2.1:5060",
            });
        }
        let methods: Vec<_> = listed(&settings.trace_method).map(str::to_ascii_uppercase).collect();
        if !methods.iter().all(|method| is_token(method)) {
            errors.push(ConfigError::Token {
                name: "trace_method",
                value: settings.trace_method,
                expected: "methods separated by commas, such as INVITE,BYE",
            });
        }
        let correlation_header = Some(settings.correlation_header).filter(|name| !name.is_empty());
        if let Some(name) = correlation_header.as_ref().filter(|name| !is_token(name)) {
            errors.push(ConfigError::Token {
                name: "correlation_header",
                value: name.clone(),
                expected: "the name of a header, without colon",
            });
        }
        let mask_body = sip::BodyMask::parse(listed(&settings.mask_body));
        let mask = sip::Mask {
            headers: listed(&settings.mask_headers).map(str::to_owned).collect(),
            body: mask_body.clone().unwrap_or_default(),
            body_lines: Vec::new(),
        };
        if !mask.headers.iter().all(|name| is_token(name)) {
            errors.push(ConfigError::Token {
                name: "mask_headers",
                value: settings.mask_headers,
                expected: "names of headers separated by commas, such as Authorization,Proxy-Authorization",
            });
        } else if let Some(name) = mask.headers.iter().find(|name| sip::Mask::is_needed(name)) {
            errors.push(ConfigError::Token {
                name: "mask_headers",
                value: name.clone(),
                expected: "none of From, To, Call-ID, CSeq, Via and Content-Length, by which messages are found and read",
            });
        } else if let Some(name) = correlation_header.as_deref().filter(|name| mask.names(name)) {
            errors.push(ConfigError::Token {
                name: "mask_headers",
                value: name.to_owned(),
                expected: "not the correlation_header, whose value is sent as the correlation id",
            });
        }
        if mask_body.is_none() {
            errors.push(ConfigError::Token {
                name: "mask_body",
                value: settings.mask_body,
                expected: "none, or all and content types separated by commas, such as text/*,application/dtmf-relay \
                           or all,!application/sdp",
            });
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let natural = |value: i32| u32::try_from(value).unwrap_or_default();
        Ok(Self {
            acknowledge: acknowledge == 1,
            advertised: data_mode == 1,
            agent_id: natural(hep_capture_id),
            agent_name: Some(settings.agent_name).filter(|name| !name.is_empty()),
            agent_socket: agent_socket.map(PathBuf::from),
            auth_key: Some(settings.auth_key).filter(|key| !key.is_empty()),
            automatic,
            backlog_bytes: usize::try_from(backlog_kib).unwrap_or_default() * 1024,
            collector,
            correlation_header,
            dialog_expires: natural(dialog_expires),
            enabled: trace_on == 1,
            mask,
            methods,
            mirror,
            networks: networks.unwrap_or_default(),
            ring_size_kib: natural(ring_size_kib),
            scripted: trace_init_mode != 1,
            session_id: Some(settings.session_id).filter(|template| !template.is_empty()),
            sessions: natural(sessions),
            tls: Tls {
                ca: settings.tls_ca.into(),
                identity: Some((settings.tls_cert.into(), settings.tls_key.into()))
                    .filter(|(cert, _): &(PathBuf, PathBuf)| !cert.as_os_str().is_empty()),
                server_name: Some(settings.tls_server_name).filter(|name| !name.is_empty()),
            },
            trace_filters: natural(trace_filters),
            transaction_expires: natural(transaction_expires),
        })
    }
}

/// What stands between the commas of a list; semicolons and spaces separate, too.
fn listed(list: &str) -> impl Iterator<Item = &str> {
    let separates = |letter: char| letter == ',' || letter == ';' || letter.is_whitespace();
    list.split(separates).filter(|entry| !entry.is_empty())
}

/// RFC 3261 §25.1.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        let config = Config::check(Settings::default()).unwrap();
        assert!(config.enabled);
        assert_eq!(config.collector, None);
    }

    #[test]
    fn capturing_everything_needs_somebody_to_send_it_to() {
        let settings = Settings { trace_mode: 1, ..Settings::default() };
        assert_eq!(Config::check(settings.clone()), Err(vec![ConfigError::NoCollector]));
        let duplicate_uri = "udp:127.0.0.1:9060".to_owned();
        let config = Config::check(Settings { duplicate_uri, ..settings }).unwrap();
        assert!(config.automatic && config.scripted);
    }

    #[test]
    fn methods_are_a_list_of_tokens() {
        let trace_method = "invite, BYE".to_owned();
        let config = Config::check(Settings { trace_method, ..Settings::default() }).unwrap();
        assert_eq!(config.methods, ["INVITE", "BYE"]);
        let trace_method = "INVITE|BYE".to_owned();
        assert!(Config::check(Settings { trace_method, ..Settings::default() }).is_err());
    }

    #[test]
    fn networks_are_a_list() {
        let check =
            |text: &str| Config::check(Settings { trace_network: text.to_owned(), ..Settings::default() });
        assert_eq!(check("10.0.0.0/8, [::1]:5060").unwrap().networks.len(), 2);
        assert!(check("10.0.0.0/8, edge.example").is_err());
    }

    #[test]
    fn what_may_not_be_masked_is_refused() {
        let check = |headers: &str, body: &str| {
            Config::check(Settings {
                mask_headers: headers.to_owned(),
                mask_body: body.to_owned(),
                correlation_header: "X-Session-Id".to_owned(),
                ..Settings::default()
            })
        };
        let config = check("Authorization, Proxy-Authorization", "all,!application/sdp").unwrap();
        assert_eq!(config.mask.headers, ["Authorization", "Proxy-Authorization"]);
        for (headers, body) in [
            ("i", ""),
            ("Via", ""),
            ("from", ""),
            ("x-session-id", ""),
            ("a b:", ""),
            ("", "text"),
            ("", "text/"),
            ("", "none,text/plain"),
            ("", "!text/plain"),
        ] {
            assert_eq!(check(headers, body).unwrap_err().len(), 1, "{headers} {body}");
        }
    }

    #[test]
    fn the_agents_socket_is_a_path_from_the_root_on() {
        let check = |text: &str| {
            let settings = Settings { agent_socket: text.to_owned(), ..Settings::default() };
            Config::check(settings).map(|config| config.agent_socket)
        };
        assert_eq!(check("/run/agent.sock"), Ok(Some("/run/agent.sock".into())));
        assert!(check("agent.sock").is_err());
        assert!(check(&format!("/{}", "x".repeat(103))).is_err());
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let settings = Settings {
            duplicate_uri: "nowhere".to_owned(),
            hep_mode_on: 0,
            hep_version: 2,
            ring_size_kib: 1,
            agent_name: "n".repeat(256),
            mirror: "udp:m:0".to_owned(),
            tls_key: "key.pem".to_owned(),
            ..Settings::default()
        };
        let errors: Vec<String> =
            Config::check(settings).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 7, "{errors:?}");
        assert_eq!(errors[0], "hep_mode_on = 0: expected 1 (messages always leave as HEP)");
        assert!(errors[4].starts_with("duplicate_uri \"nowhere\": expected udp:"), "{}", errors[4]);
        assert!(errors[5].starts_with("mirror \"udp:m:0\": the port"), "{}", errors[5]);
        assert_eq!(errors[6], "tls_cert and tls_key: expected both or none");
    }
}
