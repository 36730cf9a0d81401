//! A call as a file: pcap for other tools, text for people, JSON for programs.

mod pcap;
mod text;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::api::error::ApiError;
use crate::api::model;
use crate::call::Call;

pub use pcap::pcap;
pub use text::text;

/// What kind of file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// As the API shows it.
    Json,
    /// For Wireshark and its like.
    Pcap,
    /// For people.
    Text,
}

impl Format {
    /// The format with that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn parse(name: &str) -> Result<Self, ApiError> {
        match name {
            "json" => Ok(Self::Json),
            "pcap" => Ok(Self::Pcap),
            "text" => Ok(Self::Text),
            _ => Err(ApiError::BadRequest("format: expected pcap, text or json".into())),
        }
    }

    /// A call in this format, to be saved.
    pub fn attachment(self, call: &Call) -> Response {
        let (kind, extension, body) = match self {
            Self::Json => match serde_json::to_vec_pretty(&model::Call::from(call)) {
                Ok(json) => ("application/json", "json", json),
                Err(error) => {
                    tracing::error!(%error, "a call cannot be written as JSON");
                    return ApiError::Internal.into_response();
                }
            },
            Self::Pcap => ("application/vnd.tcpdump.pcap", "pcap", pcap(call)),
            Self::Text => ("text/plain; charset=utf-8", "txt", text(call).into_bytes()),
        };
        let name = format!("attachment; filename=\"{}.{extension}\"", file_name(&call.call_id));
        let Ok(disposition) = HeaderValue::from_str(&name) else { return ApiError::Internal.into_response() };
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
            (header::CONTENT_DISPOSITION, disposition),
        ];
        (headers, Body::from(body)).into_response()
    }
}

/// A Call-ID as a name that every system takes for a file, and that no header, shell or folder reads as more.
fn file_name(call_id: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    format!("call-{}", call_id.chars().take(80).map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_holds_nothing_but_plain_characters() {
        assert_eq!(file_name("a84b4c76e66710@192.0.2.1"), "call-a84b4c76e66710_192.0.2.1");
        assert_eq!(file_name("../../etc/\"\r\nx;é"), "call-.._.._etc____x__");
        assert_eq!(file_name(&"x".repeat(500)).len(), 85);
    }
}
