//! A page of messages as JSON. No answer is larger, so several threads write it, and each message is written as soon as it is made
//! into what the API shows.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::try_join_all;
use tokio::task::{JoinError, spawn_blocking};

use super::error::ApiError;
use super::model::{Listing, Message};
use crate::call::message;
use crate::search;

/// At most so many messages are written at once, by whoever has them.
const FEW: usize = 32;

/// So many threads write.
const THREADS: usize = 2;

/// What a message takes beside its payload, and what is escaped in that, octets.
const AROUND: usize = 1024;

/// What a page begins with.
const HEAD: &[u8] = b"{\"items\":[";

/// The page as an answer, the same as [`Listing`] would be.
pub async fn answer(listing: search::Listing<message::Message>) -> Response {
    let json = match page(listing).await {
        Ok(json) => json,
        Err(error) => {
            tracing::error!(%error, "messages cannot be written as JSON");
            return ApiError::Internal.into_response();
        }
    };
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], Body::from(json)).into_response()
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
    let around = Listing::<Message>::from(search::Listing {
        items: Vec::<message::Message>::new(),
        next_cursor,
        partial,
        reached_us,
    });
    let around = serde_json::to_vec(&around)?;
    let tail = around.strip_prefix(HEAD).unwrap_or_default();
    let mut parts = if items.len() <= FEW {
        vec![write(items)?].into_iter()
    } else {
        let share = items.len().div_ceil(THREADS);
        let mut items = items.into_iter();
        let parts = std::iter::from_fn(|| {
            let part: Vec<_> = items.by_ref().take(share).collect();
            (!part.is_empty()).then(|| spawn_blocking(|| write(part)))
        });
        let parts = try_join_all(parts).await?;
        parts.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter()
    };
    let mut json = parts.next().unwrap_or_default();
    for part in parts {
        json.push(b',');
        // Without what each part begins with.
        json.extend_from_slice(part.get(HEAD.len()..).unwrap_or_default());
    }
    json.extend_from_slice(tail);
    Ok(json)
}

/// Messages with commas between, behind what a page begins with.
fn write(messages: Vec<message::Message>) -> Result<Vec<u8>, serde_json::Error> {
    let bytes: usize = messages.iter().map(|m| m.captured.raw.len() * 9 / 8 + AROUND).sum();
    let mut json = Vec::with_capacity(HEAD.len() + bytes);
    json.extend_from_slice(HEAD);
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
