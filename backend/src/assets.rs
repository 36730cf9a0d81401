//! The built web pages, embedded.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

/// What `npm run build` made in `backend/web`; nothing but a placeholder where that was not run.
#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Dist;

const NOT_BUILT: &str = "<!doctype html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><title>Siplens</title></head>
<body>
<h1>This build of Siplens has no pages</h1>
<p>Build them, then build the backend again:</p>
<pre>cd backend/web
npm ci
npm run build</pre>
</body>
</html>
";

/// The page of `operator` or `customer`.
#[must_use]
pub fn page(name: &str) -> Response {
    let Some(file) = Dist::get(&format!("{name}/index.html")) else {
        return (StatusCode::OK, [(header::CACHE_CONTROL, "no-store")], Html(NOT_BUILT)).into_response();
    };
    ([(header::CACHE_CONTROL, "no-store")], Html(file.data)).into_response()
}

/// A file below `assets/`; `None` where there is none. Pages are no files. Nearly all names change with their content;
/// a day is for those that don't.
#[must_use]
pub fn file(path: &str, headers: &HeaderMap) -> Option<Response> {
    if !path.starts_with("assets/") || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return None;
    }
    let file = Dist::get(path)?;
    let tag = etag(&file)?;
    let cached = (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    if headers.get_all(header::IF_NONE_MATCH).iter().any(|known| known == tag) {
        return Some((StatusCode::NOT_MODIFIED, [cached, (header::ETAG, tag)]).into_response());
    }
    let kind = HeaderValue::from_str(file.metadata.mimetype()).ok()?;
    Some(([cached, (header::ETAG, tag), (header::CONTENT_TYPE, kind)], file.data).into_response())
}

fn etag(file: &EmbeddedFile) -> Option<HeaderValue> {
    let hash = file.metadata.sha256_hash();
    let digits: String = hash.iter().take(16).map(|octet| format!("{octet:02x}")).collect();
    HeaderValue::from_str(&format!("\"{digits}\"")).ok()
}
