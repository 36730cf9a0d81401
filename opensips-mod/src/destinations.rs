//! `hep_id` and `trace_id`, as configurations for proto_hep and tracer have them: names for collectors.
//!
//! ```text
//! modparam("siplens", "hep_id", "[hep_dst] 10.0.0.2:9060; transport=tcp; version=3")
//! modparam("siplens", "trace_id", "[tid]uri=hep:hep_dst")
//! modparam("siplens", "trace_id", "[other]uri=tls:collector.example.net:9061")
//! ```

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::Mutex;

use boundary::fence;

use crate::log::{Level, log};
use crate::params;

/// Names, and what each stands for.
type Names = Vec<(String, String)>;

static HEP_IDS: Mutex<Names> = Mutex::new(Vec::new());
static TRACE_IDS: Mutex<Names> = Mutex::new(Vec::new());

const REFUSED: c_int = -1;
const FINE: c_int = 0;

/// One more `hep_id`.
pub unsafe extern "C" fn add_hep_id(_: c_uint, value: *mut c_void) -> c_int {
    // SAFETY: the host passes the parameter's text.
    unsafe { add("hep_id", value, &HEP_IDS, hep_id) }
}

/// One more `trace_id`.
pub unsafe extern "C" fn add_trace_id(_: c_uint, value: *mut c_void) -> c_int {
    // SAFETY: the host passes the parameter's text.
    unsafe { add("trace_id", value, &TRACE_IDS, trace_id) }
}

/// # Safety
/// The value must be a text ended by a NUL.
unsafe fn add(
    parameter: &str,
    value: *mut c_void,
    names: &Mutex<Names>,
    parse: fn(&str) -> Result<(String, String), String>,
) -> c_int {
    fence(REFUSED, || {
        // SAFETY: the caller's promise.
        let text = unsafe { params::octets(value.cast::<c_char>()) };
        let text = String::from_utf8_lossy(text);
        let added = parse(&text).and_then(|(name, collector)| {
            let mut names = names.lock().map_err(|error| error.to_string())?;
            if names.iter().any(|(known, _)| *known == name) {
                return Err(format!(
                    "\"{name}\" has a collector already; several stand in one text, separated by commas"
                ));
            }
            names.push((name, collector));
            Ok(())
        });
        match added {
            Ok(()) => FINE,
            Err(error) => {
                log(Level::Error, format_args!("modparam {parameter} \"{text}\": {error}"));
                REFUSED
            }
        }
    })
}

/// The collector that a `trace_id` stands for.
pub fn named(name: &[u8]) -> Option<String> {
    let names = TRACE_IDS.lock().ok()?;
    names.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, collector)| collector.clone())
}

/// Replaces each `hep:name` by its collector, now that all parameters are known, and checks what came out.
pub fn resolve() -> Result<(), Vec<String>> {
    let hep_ids = HEP_IDS.lock().map_err(|error| vec![error.to_string()])?;
    let mut trace_ids = TRACE_IDS.lock().map_err(|error| vec![error.to_string()])?;
    let mut errors = Vec::new();
    for (name, collector) in trace_ids.iter_mut() {
        if let Some(wanted) = collector.strip_prefix("hep:") {
            match hep_ids.iter().find(|(known, _)| known == wanted) {
                Some((_, found)) => *collector = found.clone(),
                None => {
                    errors.push(format!("modparam trace_id [{name}]: no hep_id has the name \"{wanted}\""))
                }
            }
        }
    }
    for (parameter, (name, collector)) in
        hep_ids.iter().map(|entry| ("hep_id", entry)).chain(trace_ids.iter().map(|entry| ("trace_id", entry)))
    {
        if !collector.starts_with("hep:")
            && let Err(error) = capture::collectors(collector.as_bytes())
        {
            errors.push(format!("modparam {parameter} [{name}]: {error}"));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// `[name] host:port; transport=udp; version=3`
fn hep_id(text: &str) -> Result<(String, String), String> {
    let (name, rest) = name(text)?;
    let mut parts = rest.split(';').map(str::trim);
    let end = parts.next().filter(|end| !end.is_empty()).ok_or("expected [name] host:port")?;
    let (mut transport, mut version) = (None, "3");
    for part in parts.filter(|part| !part.is_empty()) {
        match part.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("transport", value)) => transport = Some(value),
            Some(("version", value)) => version = value,
            _ => return Err(format!("\"{part}\": expected transport or version")),
        }
    }
    if version != "3" {
        return Err(format!("version {version}: only 3 is sent"));
    }
    let transport = transport.unwrap_or("tcp").to_ascii_lowercase();
    if !matches!(transport.as_str(), "udp" | "tcp" | "tls") {
        return Err(format!("transport {transport}: expected udp, tcp or tls"));
    }
    // For TLS, too, as proto_hep does; collectors have another one for it.
    let port = if has_port(end) { "" } else { ":9060" };
    Ok((name, format!("{transport}:{end}{port}")))
}

/// Whether a port stands behind the host, which may be an IPv6 address in brackets.
fn has_port(end: &str) -> bool {
    let behind = end.rsplit_once(']').map_or(end, |(_, behind)| behind);
    behind.contains(':')
}

/// `[name]uri=hep:other` or `[name]uri=` and a collector.
fn trace_id(text: &str) -> Result<(String, String), String> {
    let (name, rest) = name(text)?;
    let uri = rest.split(';').map(str::trim).find_map(|part| part.strip_prefix("uri="));
    let uri = uri.map(str::trim).ok_or("expected [name]uri=…")?;
    let ours = ["hep:", "udp:", "tcp:", "tls:"].iter().any(|kind| uri.starts_with(kind));
    if !ours {
        return Err(format!("\"{uri}\": expected hep:, udp:, tcp: or tls:; only HEP is sent"));
    }
    Ok((name, uri.to_owned()))
}

fn name(text: &str) -> Result<(String, &str), String> {
    let inner = text.trim().strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (name, rest) = inner.ok_or("expected [name] first")?;
    Ok((name.trim().to_owned(), rest.trim()))
}
