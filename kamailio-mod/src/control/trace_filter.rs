//! `siplens.trace_filter add|list|remove|clear`.

use capture::{Config, FilterError, Shared};

use super::answer::{Answer, Code};
use crate::hooks;
use crate::log::{Level, log};

const EXPECTED: &str = "expected add caller=… (or callee=, ip=, call_id=), list, remove NUMBER, or clear";

/// One command.
pub fn run(answer: &Answer<'_>, shared: Shared, config: &Config) {
    let words: Vec<_> = std::iter::from_fn(|| answer.argument()).collect();
    let Some((action, words)) = words.split_first() else { return answer.fault(Code::BadRequest, EXPECTED) };
    match (action.as_slice(), words) {
        (b"add", words) => add(answer, shared, config, words),
        (b"list", []) => list(answer, shared),
        (b"remove", [number]) => remove(answer, shared, number),
        (b"clear", []) => match shared.clear_trace_filters() {
            Ok(removed) => {
                log(Level::Notice, format_args!("{removed} trace filters removed"));
                count(answer, removed);
            }
            Err(error) => fault(answer, &error),
        },
        _ => answer.fault(Code::BadRequest, EXPECTED),
    }
}

fn add(answer: &Answer<'_>, shared: Shared, config: &Config, words: &[Vec<u8>]) {
    if config.trace_filters > 0 && !hooks::are_registered() {
        let text = "another module has the core's capture events; the log names it at start";
        return answer.fault(Code::Unavailable, text);
    }
    match shared.add_trace_filter(words.iter().map(Vec::as_slice), config) {
        Ok(number) => {
            let added = shared.trace_filters().into_iter().find(|filter| filter.number == number);
            let Some(root) = answer.root() else { return };
            answer.number(root, c"number", number);
            if let Some(added) = added {
                let (text, seconds) = (&added.text, added.seconds_left);
                log(Level::Notice, format_args!("trace filter {number} for {seconds} s: {text}"));
                answer.number(root, c"seconds_left", seconds);
            }
        }
        Err(error) => fault(answer, &error),
    }
}

fn list(answer: &Answer<'_>, shared: Shared) {
    let Some(root) = answer.root() else { return };
    let Some(list) = answer.list(root, c"trace_filters") else { return };
    for filter in shared.trace_filters() {
        let Some(entry) = answer.entry(list) else { return };
        answer.number(entry, c"number", filter.number);
        answer.text(entry, c"filter", &filter.text);
        answer.number(entry, c"seconds_left", filter.seconds_left);
        answer.number(entry, c"matches", filter.matches);
    }
}

fn remove(answer: &Answer<'_>, shared: Shared, number: &[u8]) {
    let Some(number) = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok()) else {
        return answer.fault(Code::BadRequest, "remove: expected the number of a filter");
    };
    match shared.remove_trace_filter(number) {
        Ok(true) => {
            log(Level::Notice, format_args!("trace filter {number} removed"));
            count(answer, 1);
        }
        Ok(false) => answer.fault(Code::NotFound, format_args!("no active filter has the number {number}")),
        Err(error) => fault(answer, &error),
    }
}

fn count(answer: &Answer<'_>, removed: usize) {
    if let Some(root) = answer.root() {
        answer.number(root, c"removed", removed as u64);
    }
}

fn fault(answer: &Answer<'_>, error: &FilterError) {
    let code = match error {
        FilterError::Rule(_) | FilterError::NoCollector => Code::BadRequest,
        FilterError::Busy | FilterError::Full(_) | FilterError::Off | FilterError::TooManyCollectors => {
            Code::Unavailable
        }
    };
    answer.fault(code, error);
}
