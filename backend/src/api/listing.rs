//! A page of messages as JSON. No answer is larger, so several threads write it, and each message is written as soon as it is made
//! into what the API shows. A large page is sent while it is looked for.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::try_join_all;
use futures_util::stream::{StreamExt, unfold};
use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};
use tokio_util::task::AbortOnDropHandle;

use super::error::ApiError;
use super::model::{Listing, Message};
use crate::call::message;
use crate::search::filter::Filter;
use crate::search::{self, Messages, PART, Page, Search, SearchError};

/// At most so many messages are written at once, by whoever has them.
const FEW: usize = 32;

/// So many threads write.
const THREADS: usize = 2;

/// What a message takes beside its payload, and what is escaped in that, octets.
const AROUND: usize = 1024;

/// What a page begins with.
const HEAD: &[u8] = b"{\"items\":[";

/// A page as an answer, the same as [`Listing`] would be.
///
/// # Errors
/// When it cannot be searched. What fails after the first part of a large page ends that page; its cursor goes on from there.
pub async fn answer(search: &Search, filter: &Filter, asked: &Page) -> Result<Response, SearchError> {
    let body = if asked.limit > PART {
        in_parts(search.messages_in_parts(filter, asked).await?).await?
    } else {
        match page(search.messages(filter, asked).await?).await {
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
    Part(Vec<message::Message>),
    End(search::Listing<message::Message>),
}

/// A page that is sent part by part: while one is sent the next is written, and the one after that looked for.
async fn in_parts(mut messages: Messages) -> Result<Body, SearchError> {
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
    let pieces = unfold((pieces, search, true), async |(mut pieces, search, is_first)| {
        let piece = pieces.recv().await?;
        Some(((piece, is_first), (pieces, search, false)))
    });
    let written = pieces.map(|(piece, is_first)| async move {
        spawn_blocking(move || write_piece(piece, is_first)).await.map_err(WriteError::from)?
    });
    Ok(Body::from_stream(written.buffered(THREADS)))
}

fn write_piece(piece: Piece, is_first: bool) -> Result<Bytes, WriteError> {
    Ok(match piece {
        Piece::Part(messages) => write(if is_first { HEAD } else { b"," }, messages)?.into(),
        Piece::End(listing) => {
            let around = Bytes::from(around(listing)?);
            if is_first { around } else { around.slice(HEAD.len()..) }
        }
    })
}

/// A page cannot be written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Thread(#[from] JoinError),
}

async fn page(listing: search::Listing<message::Message>) -> Result<Vec<u8>, WriteError> {
    let search::Listing { items, next_cursor, partial, reached_us } = listing;
    let around = around(search::Listing { items: Vec::new(), next_cursor, partial, reached_us })?;
    let tail = around.strip_prefix(HEAD).unwrap_or_default();
    let mut parts = if items.len() <= FEW {
        vec![write(HEAD, items)?].into_iter()
    } else {
        let share = items.len().div_ceil(THREADS);
        let mut items = items.into_iter();
        let first: Vec<_> = items.by_ref().take(share).collect();
        let first = spawn_blocking(|| write(HEAD, first));
        let parts = std::iter::from_fn(|| {
            let part: Vec<_> = items.by_ref().take(share).collect();
            (!part.is_empty()).then(|| spawn_blocking(|| write(b",", part)))
        });
        let parts = try_join_all(std::iter::once(first).chain(parts)).await?;
        parts.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter()
    };
    let mut json = parts.next().unwrap_or_default();
    parts.for_each(|part| json.extend_from_slice(&part));
    json.extend_from_slice(tail);
    Ok(json)
}

/// A page without items.
fn around(listing: search::Listing<message::Message>) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Listing::<Message>::from(listing))
}

/// Messages with commas between, behind what they begin with.
fn write(begin: &[u8], messages: Vec<message::Message>) -> Result<Vec<u8>, serde_json::Error> {
    let bytes: usize = messages.iter().map(|m| m.captured.raw.len() * 9 / 8 + AROUND).sum();
    let mut json = Vec::with_capacity(begin.len() + bytes);
    json.extend_from_slice(begin);
    for (n, message) in messages.into_iter().enumerate() {
        if n > 0 {
            json.push(b',');
        }
        serde_json::to_writer(&mut json, &Message::from(message))?;
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::sample::{answered, call};

    #[tokio::test]
    async fn a_page_of_any_length_is_written_as_its_type_says() {
        let some = call(&answered()).messages;
        for count in [0, 1, 2, FEW, FEW + 1, 101] {
            let items: Vec<_> = some.iter().cycle().take(count).cloned().collect();
            let next_cursor = (count > 1).then(|| "next".to_owned());
            let listing = search::Listing { items, next_cursor, partial: true, reached_us: Some(7) };
            let plain = serde_json::to_string(&Listing::<Message>::from(listing.clone())).expect("JSON");
            let written = page(listing).await.expect("written");
            assert_eq!(String::from_utf8(written).expect("text"), plain);
        }
    }
}
