//! A page of messages as JSON. No answer is larger, so each message is written where it lies, by the threads that read it, and a large
//! page is sent while it is looked for.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::error::ApiError;
use super::model::{Listing, Message};
use super::time::rfc3339;
use crate::call::message::MessageRef;
use crate::search::filter::Filter;
use crate::search::{self, Found, Listed, Messages, PART, Page, Search, SearchError};

/// What a page begins with.
const HEAD: &[u8] = b"{\"items\":[";

/// A message that was written as JSON.
struct Written(sonic_rs::Result<()>);

impl Listed for Written {
    fn read(message: MessageRef<'_>, text: &mut Vec<u8>) -> Self {
        // What JSON escapes is in every line of SIP, and this looks for it by vectors.
        Self(sonic_rs::to_writer(text, &Message::from(message)))
    }
}

/// A page as an answer, the same as [`Listing`] would be.
///
/// # Errors
/// When it cannot be searched. What fails after the first part of a large page ends that page; its cursor goes on from there.
pub async fn answer(search: &Search, filter: &Filter, asked: &Page) -> Result<Response, SearchError> {
    let mut messages = search.messages_in_parts(filter, asked).await?;
    let body = if asked.limit > PART {
        in_parts(messages).await?
    } else {
        let mut parts = Vec::new();
        loop {
            let part = messages.next().await?;
            if part.is_empty() {
                break;
            }
            parts.extend(part);
        }
        let json = part(HEAD, &parts).and_then(|mut json| {
            json.extend_from_slice(&tail(messages.end())?);
            Ok(json)
        });
        match json {
            Ok(json) => Body::from(json),
            Err(error) => {
                tracing::error!(%error, "messages cannot be written as JSON");
                return Ok(ApiError::Internal.into_response());
            }
        }
    };
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

/// A piece of a large page.
enum Piece {
    Part(Vec<Found<Written>>),
    End(search::Listing<Written>),
}

/// A page that is sent part by part: while one is sent the next is looked for.
async fn in_parts(mut messages: Messages<Written>) -> Result<Body, SearchError> {
    let first = messages.next().await?;
    let (sender, pieces) = mpsc::channel(1);
    let search = async move {
        let mut found = Ok(first);
        loop {
            match found {
                Ok(part) if part.is_empty() => break,
                Ok(part) => {
                    if sender.send(Piece::Part(part)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "a page of messages ends early");
                    messages.break_off();
                    break;
                }
            }
            found = messages.next().await;
        }
        // Nobody reads it any more where the connection has ended.
        let _sent = sender.send(Piece::End(messages.end())).await;
    };
    // Who goes away ends the search.
    let search = AbortOnDropHandle::new(tokio::spawn(search));
    let pieces = unfold((pieces, search, HEAD), async |(mut pieces, search, begin)| {
        let json = match pieces.recv().await? {
            Piece::Part(messages) => part(begin, &messages),
            Piece::End(listing) => {
                tail(listing).map(|tail| if begin == HEAD { [HEAD, &tail].concat() } else { tail })
            }
        };
        Some((json.map(Bytes::from), (pieces, search, &b","[..])))
    });
    Ok(Body::from_stream(pieces))
}

/// Messages with commas between, behind what they begin with.
fn part(begin: &[u8], messages: &[Found<Written>]) -> serde_json::Result<Vec<u8>> {
    let bytes: usize = messages.iter().map(|found| found.text.len() + 1).sum();
    let mut json = Vec::with_capacity(begin.len() + bytes);
    json.extend_from_slice(begin);
    for (n, found) in messages.iter().enumerate() {
        if let Written(Err(error)) = &found.item {
            return Err(serde::ser::Error::custom(error));
        }
        if n > 0 {
            json.push(b',');
        }
        json.extend_from_slice(&found.text);
    }
    Ok(json)
}

/// What stands behind the messages of a page.
fn tail(listing: search::Listing<Written>) -> serde_json::Result<Vec<u8>> {
    let search::Listing { next_cursor, partial, reached_us, .. } = listing;
    let none: Vec<Message<'_>> = Vec::new();
    let around = serde_json::to_vec(&Listing {
        items: none,
        next_cursor,
        partial,
        reached_at: reached_us.map(rfc3339),
    })?;
    Ok(around.strip_prefix(HEAD).unwrap_or(&around).to_vec())
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::*;
    use crate::call::message::{self, Captured};
    use crate::call::sample::{answered, call};

    /// Messages as they come: SIP, cut off, no UTF-8, malformed, and events.
    fn odd() -> Vec<message::Message> {
        let mut messages = call(&answered()).messages;
        let sample = messages[0].captured.clone();
        let other = |raw: &[u8], protocol_type, full_length| Captured {
            raw: raw.to_vec().into(),
            protocol_type,
            full_length,
            agent_name: Some("\"é\\\u{7f}".into()),
            correlation_id: None,
            call_id: (protocol_type != 1).then(|| "named@example.net".into()),
            captured_at_us: -1,
            src: "[2001:db8::1]:5060".parse().expect("an address"),
            ..sample.clone()
        };
        let captured = [
            other(
                b"INVITE sip:\xff@h SIP/2.0\r\nFrom: \"\xfe\" <sip:\xe9@h>;tag=\xfe\r\nCall-ID: c\r\n\r\n",
                1,
                Some(9000),
            ),
            other(b"SIP/2.0 200  \r\nCSeq: 7 OPTIONS\r\nServer: \x00\x1f\"\\/\x7f\r\n\r\n", 1, None),
            other(b"nonsense\r\nCall-ID: c\r\n\r\n", 1, None),
            other(b"", 1, None),
            other("\u{2028} route 1 \u{1f600}\r\nmore".as_bytes(), 100, None),
            other(b"\x80\xc8\x00\x01", 5, Some(70)),
            other(b"{\"a\":1}", 100, None),
        ];
        messages.extend((0..).zip(captured).map(|(index, captured)| {
            message::Message::read(message::MessageId { slice: i64::MAX, index }, captured)
        }));
        messages
    }

    fn found(message: &message::Message) -> Found<Written> {
        let mut text = b"what is written of others".to_vec();
        let begin = text.len();
        let item = Written::read(message.lent(), &mut text);
        Found::of(message, item, Bytes::from(text).slice(begin..))
    }

    /// Every character up to there and some beyond, each at several places of a word.
    #[test]
    fn what_is_escaped_is_escaped_as_serde_json_does() {
        let sample = odd().remove(0).captured;
        for character in (0..0x180).chain([0x2028, 0xfffd, 0x1f600]).filter_map(char::from_u32) {
            for before in 0..40 {
                let text =
                    format!("{}{character}{character}\r\nmore", "é".repeat(before % 2) + &"x".repeat(before));
                let raw =
                    format!("INVITE sip:b@h SIP/2.0\r\nSubject: {text}\r\n\r\n{text}").into_bytes().into();
                let captured = Captured { agent_name: Some(text.into()), raw, ..sample.clone() };
                let message = message::Message::read(message::MessageId::default(), captured);
                let plain = serde_json::to_vec(&Message::from(message.lent())).expect("JSON");
                assert_eq!(found(&message).text, plain, "{character:?} after {before}");
            }
        }
    }

    #[test]
    fn a_message_is_written_where_it_lies_with_all_that_was_read_of_it() {
        for message in odd() {
            let written: Value = serde_json::from_slice(&found(&message).text).expect("JSON");
            let message::Message { id, captured, kind, sip } = message;
            let text = String::from_utf8_lossy(&captured.raw);
            let is_text = str::from_utf8(&captured.raw).is_ok();
            let call_id = sip.call_id.or(captured.call_id.map(String::from));
            let expected = json!({
                "id": id.to_string(),
                "captured_at": rfc3339(captured.captured_at_us),
                "src": captured.src.to_string(),
                "dst": captured.dst.to_string(),
                "transport": captured.transport.as_str(),
                "agent_id": captured.agent_id,
                "agent_name": captured.agent_name,
                "correlation_id": captured.correlation_id,
                "call_id": call_id,
                "kind": kind.as_str(),
                "protocol_type": captured.protocol_type,
                "label": written["label"],
                "method": sip.method,
                "status": sip.status,
                "reason": sip.reason,
                "cseq": sip.cseq,
                "from_user": sip.from_user,
                "from_tag": sip.from_tag,
                "to_user": sip.to_user,
                "to_tag": sip.to_tag,
                "request_uri": sip.request_uri,
                "user_agent": sip.user_agent,
                "branch": sip.branch,
                "size_bytes": captured.raw.len(),
                "full_size_bytes": captured.full_length,
                "raw": text,
                "raw_base64": (!is_text).then(|| STANDARD.encode(&captured.raw)),
            });
            assert_eq!(written, expected);
        }
    }

    #[test]
    fn a_page_of_any_length_is_written_as_its_type_says() {
        let some = odd();
        for count in [0, 1, 2, 33] {
            let items: Vec<_> = some.iter().cycle().take(count).collect();
            let next_cursor = (count > 1).then(|| "next".to_owned());
            let end = search::Listing {
                items: Vec::new(),
                next_cursor: next_cursor.clone(),
                partial: true,
                reached_us: Some(7),
            };
            let items_found: Vec<_> = items.iter().map(|message| found(message)).collect();
            let written = [part(HEAD, &items_found).expect("JSON"), tail(end).expect("JSON")].concat();
            let items: Vec<_> = items.into_iter().map(|message| Message::from(message.lent())).collect();
            let plain = Listing { items, next_cursor, partial: true, reached_at: Some(rfc3339(7)) };
            assert_eq!(
                String::from_utf8(written).expect("text"),
                serde_json::to_string(&plain).expect("JSON")
            );
        }
    }
}
