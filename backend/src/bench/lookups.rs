//! What engineers ask for, timed: the answers come over the HTTP API, as they would to a browser.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::client::Client;
use super::cost;
use super::load::Sent;
use super::report::{Spread, fraction};
use super::samples::Call;
use crate::api::time::rfc3339;
use crate::cli::print;

/// How many questions of each kind, if there is so much to ask for.
const QUESTIONS: usize = 200;

/// How many sessions are read whole.
const SESSIONS: usize = 10;

/// How often a text is looked for.
const SCANS: usize = 5;

/// So long one kind is asked.
const TIME: Duration = Duration::from_secs(20);

const HOUR_US: i64 = 3_600_000_000;

/// Asks the backend, whose process this is, and prints a row for each kind.
///
/// # Errors
/// When the backend does not answer, or an answer lacks something that was sent.
pub fn ask(client: &Client, sent: &Sent, backend: u32) -> Result<()> {
    let until_us = sent.captured_us.1;
    let hour = format!("since={}&until={}", rfc3339(until_us - HOUR_US), rfc3339(until_us));
    let newest = |condition: &str| format!("/api/v1/messages?limit=200&{hour}&{condition}");
    let calls = &sent.samples.calls;
    let asked: Vec<&Call> = calls.iter().step_by((calls.len() / QUESTIONS).max(1)).collect();
    print(&format!(
        "\n{:<44} {:>5} {:>10} {:>10} {:>10}",
        "lookup over HTTP", "times", "p50 ms", "p99 ms", "max ms"
    ))?;

    row("messages of a Call-ID", asked.iter(), |call| {
        let found =
            client.count_messages(&format!("/api/v1/messages?limit=10000&call_id={}", call.call_id))?;
        ensure!(found == call.messages, "{found} of {} messages of {}", call.messages, call.call_id);
        Ok(())
    })?;
    row("a call with its ladder", asked.iter(), |call| {
        client.get(&format!("/api/v1/calls/{}", call.call_id)).map(drop)
    })?;
    row(
        &format!("all messages of a session of {} calls", sent.session_calls),
        sent.samples.sessions.iter().take(SESSIONS),
        |session| {
            let (id, messages) = session;
            let found =
                client.count_messages(&format!("/api/v1/messages?limit=10000&correlation_id={id}"))?;
            ensure!(found == *messages, "{found} of {messages} messages of {id}");
            Ok(())
        },
    )?;
    row("summary of such a session", sent.samples.sessions.iter().take(SESSIONS), |(id, messages)| {
        let found = client.get(&format!("/api/v1/sessions/{id}"))?["messages"].as_u64();
        ensure!(found == Some(*messages as u64), "{found:?} of {messages} messages of {id}");
        Ok(())
    })?;
    row("its newest 100 calls", sent.samples.sessions.iter().take(SESSIONS), |(id, _)| {
        let found = client.page(&format!("/api/v1/calls?limit=100&correlation_id={id}"))?.items.len();
        ensure!(found == 100.min(sent.session_calls as usize), "{found} calls of {id}");
        Ok(())
    })?;
    let recent = || asked.iter().filter(|call| call.ended_us > until_us - HOUR_US);
    let some = |path: String| {
        ensure!(!client.page(&path)?.items.is_empty(), "nothing found: {path}");
        Ok(())
    };
    row("a user in an hour, newest 200", recent().filter(|call| !call.is_hot), |call| {
        some(newest(&format!("from_user={}", call.caller)))
    })?;
    let hot = calls.iter().filter(|call| call.is_hot && call.ended_us > until_us - HOUR_US).take(QUESTIONS);
    row("a busy user in an hour, newest 200", hot, |call| {
        some(newest(&format!("from_user={}", call.caller)))
    })?;
    row("a telephone's address in an hour, newest 200", recent(), |call| {
        some(newest(&format!("src={}", call.host)))
    })?;
    row("a proxy's address in an hour, newest 200", 0..20, |_| some(newest("src=10.250.100.101")))?;
    for status in ["503", "486", "200", "4xx"] {
        row(&format!("status {status} in an hour, newest 200"), 0..20, |_| {
            some(newest(&format!("status={status}")))
        })?;
    }
    row("newest 200 of all", 0..20, |_| some("/api/v1/messages?limit=200".to_owned()))?;

    // What has no index: all of the hour is read.
    let (before, scans) = (cost::cpu(backend)?, Cell::new(0_u32));
    row("a text in an hour, nowhere", 0..SCANS, |_| {
        scans.set(scans.get() + 1);
        let found = client.count_messages(&newest("contains=nowhere+to+be+found"))?;
        ensure!(found == 0, "{found} messages hold what was never sent");
        Ok(())
    })?;
    let each = cost::cpu(backend)?.saturating_sub(before) / scans.get().max(1);
    let whole = recent().filter(|call| call.ended_us > until_us - HOUR_US / 10 * 9).take(SCANS);
    row("a text in an hour, in one call", whole, |call| {
        let found = client.count_messages(&newest(&format!("contains={}", call.call_id)))?;
        ensure!(found == call.messages, "{found} of {} messages hold {}", call.messages, call.call_id);
        Ok(())
    })?;
    fraction("processor time of a search for what is nowhere", each.as_secs_f64() * 1000.0, "ms")
}

fn row<T>(name: &str, questions: impl IntoIterator<Item = T>, ask: impl Fn(T) -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    let mut times = Vec::new();
    for question in questions {
        let asked = Instant::now();
        ask(question)?;
        times.push(asked.elapsed());
        if begun.elapsed() > TIME {
            break;
        }
    }
    let spread = Spread::of(times);
    if spread.count() == 0 {
        return print(&format!("{name:<44}     0   (too few messages were sent for one)"));
    }
    print(&format!("{name:<44} {:>5} {}", spread.count(), spread.columns()))
}
