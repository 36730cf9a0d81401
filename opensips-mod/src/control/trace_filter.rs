//! `siplens:trace_filter add|list|remove|clear`.

use capture::{Config, FilterError, Shared};

use super::answer::{Code, Response, fault, object};
use crate::log::{Level, log};

const EXPECTED: &str = "expected add \"caller=…\" (or callee=, ip=, call_id=), list, remove NUMBER, or clear";

/// One command: what to do, and the words after it.
pub fn run(shared: Shared, config: &Config, action: &[u8], rest: Option<&[u8]>) -> Response {
    match (action, rest) {
        (b"add", Some(words)) => add(shared, config, words),
        (b"list", None) => list(shared),
        (b"remove", Some(number)) => remove(shared, number),
        (b"clear", None) => match shared.clear_trace_filters() {
            Ok(removed) => {
                log(Level::Notice, format_args!("{removed} trace filters removed"));
                count(removed)
            }
            Err(error) => refuse(&error),
        },
        _ => fault(Code::BadRequest, EXPECTED),
    }
}

fn add(shared: Shared, config: &Config, words: &[u8]) -> Response {
    let words = words.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    match shared.add_trace_filter(words, config) {
        Ok(number) => {
            let added = shared.trace_filters().into_iter().find(|filter| filter.number == number);
            object(|root| {
                root.number(c"number", number);
                if let Some(added) = added {
                    let (text, seconds) = (&added.text, added.seconds_left);
                    log(Level::Notice, format_args!("trace filter {number} for {seconds} s: {text}"));
                    root.number(c"seconds_left", seconds);
                }
            })
        }
        Err(error) => refuse(&error),
    }
}

fn list(shared: Shared) -> Response {
    object(|root| {
        let Some(list) = root.list(c"trace_filters") else { return };
        for filter in shared.trace_filters() {
            let Some(entry) = list.entry() else { return };
            entry.number(c"number", filter.number);
            entry.text(c"filter", &filter.text);
            entry.number(c"seconds_left", filter.seconds_left);
            entry.number(c"matches", filter.matches);
        }
    })
}

fn remove(shared: Shared, number: &[u8]) -> Response {
    let Some(number) = std::str::from_utf8(number).ok().and_then(|text| text.trim().parse().ok()) else {
        return fault(Code::BadRequest, "remove: expected the number of a filter");
    };
    match shared.remove_trace_filter(number) {
        Ok(true) => {
            log(Level::Notice, format_args!("trace filter {number} removed"));
            count(1)
        }
        Ok(false) => fault(Code::NotFound, format_args!("no active filter has the number {number}")),
        Err(error) => refuse(&error),
    }
}

fn count(removed: usize) -> Response {
    object(|root| root.number(c"removed", removed as u64))
}

fn refuse(error: &FilterError) -> Response {
    let code = match error {
        FilterError::Rule(_) | FilterError::NoCollector => Code::BadRequest,
        FilterError::Busy | FilterError::Full(_) | FilterError::Off | FilterError::TooManyCollectors => {
            Code::Unavailable
        }
    };
    fault(code, error)
}
