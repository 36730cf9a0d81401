//! What the API sends and takes, as types: the JSON and its description are both made from these.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::time::{Rfc3339, rfc3339};
use crate::accounts::LinkRow;
use crate::call;
use crate::call::ladder::{self, RowKind};
use crate::call::message::{Kind, MessageId, MessageRef, Transport};
use crate::call::outcome::Outcome;
use crate::call::summary::Summary;
use crate::search;
use crate::search::scope::Subject;

/// One page of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listing<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page starts; null at the end.
    pub next_cursor: Option<String>,
    /// Whether something that belongs here may be missing: the search ran into its time limit (the cursor goes on from
    /// there), or a part of the store is away or damaged.
    pub partial: bool,
    /// Where the time limit was reached: all that was captured after this has been looked at.
    #[schema(required)]
    pub reached_at: Option<String>,
}

/// A captured message.
#[derive(Debug, Serialize, ToSchema)]
pub struct Message<'a> {
    /// Unique in this store.
    #[serde(serialize_with = "displayed")]
    #[schema(value_type = String)]
    pub id: MessageId,
    /// When the agent saw it.
    #[serde(serialize_with = "displayed")]
    #[schema(value_type = String, example = "2026-11-21T10:00:00.123456Z")]
    pub captured_at: Rfc3339,
    /// Sender, address:port.
    #[serde(serialize_with = "displayed")]
    #[schema(value_type = String, example = "[::1]:5060")]
    pub src: SocketAddr,
    /// Receiver, address:port.
    #[serde(serialize_with = "displayed")]
    #[schema(value_type = String)]
    pub dst: SocketAddr,
    /// How it travelled.
    pub transport: Transport,
    /// Capture agent's id.
    pub agent_id: u32,
    /// Capture agent's name.
    #[schema(required)]
    pub agent_name: Option<Cow<'a, str>>,
    /// What joins calls into a session.
    #[schema(required)]
    pub correlation_id: Option<Cow<'a, str>>,
    /// Call-ID.
    #[schema(required)]
    pub call_id: Option<Cow<'a, str>>,
    /// What it turned out to be.
    pub kind: Kind,
    /// HEP protocol type; 1 is SIP, 100 a log line.
    pub protocol_type: u8,
    /// Method, or status and reason; of an event, a log line's text or the name of its type.
    pub label: Cow<'a, str>,
    /// Method; of a reply, that of its CSeq.
    #[schema(required)]
    pub method: Option<Cow<'a, str>>,
    /// Status of a reply.
    #[schema(required)]
    pub status: Option<u16>,
    /// Reason phrase of a reply.
    #[schema(required)]
    pub reason: Option<Cow<'a, str>>,
    /// CSeq number.
    #[schema(required)]
    pub cseq: Option<u32>,
    /// User of From.
    #[schema(required)]
    pub from_user: Option<Cow<'a, str>>,
    /// Tag of From.
    #[schema(required)]
    pub from_tag: Option<Cow<'a, str>>,
    /// User of To.
    #[schema(required)]
    pub to_user: Option<Cow<'a, str>>,
    /// Tag of To.
    #[schema(required)]
    pub to_tag: Option<Cow<'a, str>>,
    /// Request-URI of a request.
    #[schema(required)]
    pub request_uri: Option<Cow<'a, str>>,
    /// User-Agent, or Server.
    #[schema(required)]
    pub user_agent: Option<Cow<'a, str>>,
    /// Branch of the topmost Via.
    #[schema(required)]
    pub branch: Option<Cow<'a, str>>,
    /// The size of what is stored, octets.
    pub size_bytes: usize,
    /// The size that it had before its agent cut its end off, octets; null of one that is whole.
    #[schema(required)]
    pub full_size_bytes: Option<u32>,
    /// The message itself; octets that are not UTF-8 are shown as U+FFFD.
    pub raw: Cow<'a, str>,
    /// All octets in base64, where `raw` cannot show them.
    #[schema(required)]
    pub raw_base64: Option<String>,
}

/// What a call comes to.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallSummary {
    /// Call-ID.
    pub call_id: String,
    /// Correlation ids of its messages.
    pub correlation_ids: Vec<String>,
    /// Method of its first request.
    #[schema(required)]
    pub method: Option<String>,
    /// Who called.
    #[schema(required)]
    pub from_user: Option<String>,
    /// Who was called.
    #[schema(required)]
    pub to_user: Option<String>,
    /// Request-URI of its first request.
    #[schema(required)]
    pub request_uri: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// The final status of its last try.
    #[schema(required)]
    pub final_status: Option<u16>,
    /// Its first message.
    pub first_seen: String,
    /// Its last message.
    pub last_seen: String,
    /// The first request.
    #[schema(required)]
    pub started_at: Option<String>,
    /// The first 180 to 183.
    #[schema(required)]
    pub ringing_at: Option<String>,
    /// The 2xx to the INVITE.
    #[schema(required)]
    pub answered_at: Option<String>,
    /// The BYE; for a call that was not answered, the final reply.
    #[schema(required)]
    pub ended_at: Option<String>,
    /// INVITE to 2xx, ms.
    #[schema(required)]
    pub setup_time_ms: Option<i64>,
    /// Ringing to the final reply, ms.
    #[schema(required)]
    pub ring_time_ms: Option<i64>,
    /// 2xx to BYE, ms.
    #[schema(required)]
    pub duration_ms: Option<i64>,
    /// How many messages were captured, events not counted.
    pub message_count: usize,
    /// Who sent or was sent a message, in order of appearance.
    pub hosts: Vec<String>,
    /// Who captured.
    pub agent_ids: Vec<u32>,
    /// How it travelled.
    pub transports: Vec<Transport>,
}

/// A call in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedCall {
    /// What it comes to.
    #[serde(flatten)]
    pub summary: CallSummary,
    /// The time that the list is ordered by: when what was looked for began. Without conditions, its first message.
    pub listed_at: String,
}

/// A call with its messages and its ladder.
#[derive(Debug, Serialize, ToSchema)]
pub struct Call<'a> {
    /// What it comes to.
    #[serde(flatten)]
    pub summary: CallSummary,
    /// Whether it has more messages than could be read, or a part of the store is away or damaged.
    pub partial: bool,
    /// Its messages and events, oldest first.
    pub messages: Vec<Message<'a>>,
    /// Its picture.
    pub ladder: Ladder,
}

/// A call as a picture: hosts as columns, messages as arrows, events as notes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ladder {
    /// The columns, in order of appearance.
    pub hosts: Vec<LadderHost>,
    /// Arrows and notes, oldest first, except that no reply stands before its request and no ACK before what it acknowledges.
    pub rows: Vec<LadderRow>,
}

/// A column of a ladder.
#[derive(Debug, Serialize, ToSchema)]
pub struct LadderHost {
    /// address:port. A connection that this host has opened from another port is in the same column.
    pub address: String,
}

/// A row of a ladder.
#[derive(Debug, Serialize, ToSchema)]
pub struct LadderRow {
    /// An arrow for a message, a note across all hosts for an event.
    pub kind: RowKind,
    /// Index into `messages`.
    pub message: usize,
    /// Index into `hosts`: the sender; of a note, the first.
    pub from: usize,
    /// Index into `hosts`: the receiver; of a note, the last.
    pub to: usize,
    /// The message's label.
    #[schema(example = "200 OK")]
    pub label: String,
    /// Time since the first row, ms.
    pub offset_ms: f64,
    /// Time since the row before, ms.
    pub delta_ms: f64,
    /// Whether the same message was seen on the same hop before.
    pub retransmission: bool,
    /// Number of its dialog, from 0 on; null of a note.
    #[schema(required)]
    pub dialog: Option<usize>,
}

/// A pcap file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct Pcap(pub Vec<u8>);

/// What a session comes to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Session {
    /// Its correlation id.
    pub correlation_id: String,
    /// How many SIP messages carry it.
    pub messages: u64,
    /// How many events carry it.
    pub events: u64,
    /// How many calls.
    pub calls: u64,
    /// Its first message.
    pub first_seen: String,
    /// Its last message.
    pub last_seen: String,
    /// Calls by outcome.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Calls by final status.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub responses: BTreeMap<u16, u64>,
    /// Whether something may be missing: a part of the store is away or damaged.
    pub partial: bool,
}

/// A customer link to be made: for a call or for a session.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLink {
    /// The call that it shows.
    pub call_id: Option<String>,
    /// Or the session.
    pub correlation_id: Option<String>,
    /// Seconds until it ends; a day if not given.
    #[schema(minimum = 1, default = 86_400)]
    pub expires_in: Option<u64>,
    /// Shows only what was captured then or later: RFC 3339, or relative to now.
    pub since: Option<String>,
    /// Shows only what was captured then or earlier.
    pub until: Option<String>,
}

/// A customer link that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct MadeLink {
    /// By which it is revoked.
    pub id: String,
    /// The address to give to the customer. It cannot be asked for again.
    pub url: String,
    /// When it ends.
    pub expires_at: String,
}

/// A customer link, without its address.
#[derive(Debug, Serialize, ToSchema)]
pub struct Link {
    /// By which it is revoked.
    pub id: String,
    /// The call that it shows.
    #[schema(required)]
    pub call_id: Option<String>,
    /// Or the session.
    #[schema(required)]
    pub correlation_id: Option<String>,
    /// Shows only what was captured then or later.
    #[schema(required)]
    pub since: Option<String>,
    /// Shows only what was captured then or earlier.
    #[schema(required)]
    pub until: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// By whom; null where nobody had to log in.
    #[schema(required)]
    pub created_by: Option<String>,
    /// When it ends.
    pub expires_at: String,
    /// When it was revoked.
    #[schema(required)]
    pub revoked_at: Option<String>,
}

/// What a customer link is for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ViewKind {
    /// One call.
    Call,
    /// All calls of a session.
    Session,
}

/// What a customer link shows.
#[derive(Debug, Serialize, ToSchema)]
pub struct CustomerView {
    /// Which of the two.
    pub kind: ViewKind,
    /// The call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// Or the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Captured then or later.
    #[schema(required)]
    pub since: Option<String>,
    /// Captured then or earlier.
    #[schema(required)]
    pub until: Option<String>,
    /// When the link ends.
    pub expires_at: String,
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// User or token; null where nobody is logged in.
    #[schema(required)]
    pub name: Option<String>,
    /// Whether one must log in.
    pub auth: Auth,
}

/// Whether one must log in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// No: there is no user and no token yet, and this is the machine itself.
    Open,
    /// Yes.
    User,
}

/// A user's name and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Name.
    pub name: String,
    /// Password.
    #[schema(format = Password)]
    pub password: String,
}

/// Whether the backend does its work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    pub status: &'static str,
}

impl<S, T: for<'a> From<&'a S>> From<search::Listing<S>> for Listing<T> {
    fn from(listing: search::Listing<S>) -> Self {
        Self {
            items: listing.items.iter().map(T::from).collect(),
            next_cursor: listing.next_cursor,
            partial: listing.partial,
            reached_at: listing.reached_us.map(rfc3339),
        }
    }
}

impl<'a> From<MessageRef<'a>> for Message<'a> {
    fn from(message: MessageRef<'a>) -> Self {
        let label = ladder::label(&message);
        let MessageRef { id, captured, kind, sip } = message;
        let size_bytes = captured.raw.len();
        let (raw, raw_base64) = match captured.raw {
            Cow::Borrowed(raw) => shown(raw),
            Cow::Owned(raw) => {
                let (text, octets) = shown(&raw);
                (text.into_owned().into(), octets)
            }
        };
        Self {
            id,
            captured_at: Rfc3339(captured.captured_at_us),
            src: captured.src,
            dst: captured.dst,
            transport: captured.transport,
            agent_id: captured.agent_id,
            agent_name: captured.agent_name,
            correlation_id: captured.correlation_id,
            call_id: sip.call_id.or(captured.call_id),
            kind,
            protocol_type: captured.protocol_type,
            label,
            method: sip.method,
            status: sip.status,
            reason: sip.reason,
            cseq: sip.cseq,
            from_user: sip.from_user,
            from_tag: sip.from_tag,
            to_user: sip.to_user,
            to_tag: sip.to_tag,
            request_uri: sip.request_uri,
            user_agent: sip.user_agent,
            branch: sip.branch,
            size_bytes,
            full_size_bytes: captured.full_length,
            raw,
            raw_base64,
        }
    }
}

impl From<&call::Call> for CallSummary {
    fn from(call: &call::Call) -> Self {
        let summary = Summary::read(call);
        let ms = |us: Option<i64>| us.map(|us| us / 1000);
        Self {
            call_id: summary.call_id,
            correlation_ids: summary.correlation_ids,
            method: summary.method,
            from_user: summary.from_user,
            to_user: summary.to_user,
            request_uri: summary.request_uri,
            outcome: summary.course.outcome,
            final_status: summary.course.final_status,
            first_seen: rfc3339(summary.first_seen_us),
            last_seen: rfc3339(summary.last_seen_us),
            started_at: summary.course.started_at_us.map(rfc3339),
            ringing_at: summary.course.ringing_at_us.map(rfc3339),
            answered_at: summary.course.answered_at_us.map(rfc3339),
            ended_at: summary.course.ended_at_us.map(rfc3339),
            setup_time_ms: ms(summary.course.setup_time_us),
            ring_time_ms: ms(summary.course.ring_time_us),
            duration_ms: ms(summary.course.duration_us),
            message_count: summary.message_count,
            hosts: summary.hosts.iter().map(ToString::to_string).collect(),
            agent_ids: summary.agent_ids,
            transports: summary.transports,
        }
    }
}

impl From<&call::Call> for ListedCall {
    fn from(call: &call::Call) -> Self {
        let summary = CallSummary::from(call);
        let listed_at = call.listed_us.map_or_else(|| summary.first_seen.clone(), rfc3339);
        Self { summary, listed_at }
    }
}

impl<'a> From<&'a call::Call> for Call<'a> {
    fn from(call: &'a call::Call) -> Self {
        Self {
            summary: call.into(),
            partial: call.partial,
            messages: call.timeline().into_iter().map(|message| message.lent().into()).collect(),
            ladder: ladder::Ladder::draw(call).into(),
        }
    }
}

impl From<ladder::Ladder> for Ladder {
    fn from(ladder: ladder::Ladder) -> Self {
        let row = |row: ladder::Row| LadderRow {
            kind: row.kind,
            message: row.message,
            from: row.from,
            to: row.to,
            label: row.label,
            offset_ms: milliseconds(row.offset_us),
            delta_ms: milliseconds(row.delta_us),
            retransmission: row.retransmission,
            dialog: row.dialog,
        };
        Self {
            hosts: ladder.hosts.iter().map(|host| LadderHost { address: host.to_string() }).collect(),
            rows: ladder.rows.into_iter().map(row).collect(),
        }
    }
}

impl From<search::Session> for Session {
    fn from(session: search::Session) -> Self {
        Self {
            correlation_id: session.correlation_id,
            messages: session.messages,
            events: session.events,
            calls: session.calls,
            first_seen: rfc3339(session.first_seen_us),
            last_seen: rfc3339(session.last_seen_us),
            outcomes: session.outcomes,
            responses: session.responses,
            partial: session.partial,
        }
    }
}

impl From<&LinkRow> for Link {
    fn from(link: &LinkRow) -> Self {
        let (call_id, correlation_id) = ids(&link.scope.subject);
        Self {
            id: link.id.to_string(),
            call_id,
            correlation_id,
            since: link.scope.window.since_us.map(rfc3339),
            until: link.scope.window.until_us.map(rfc3339),
            created_at: rfc3339(link.created_at_us),
            created_by: link.created_by.clone(),
            expires_at: rfc3339(link.expires_at_us),
            revoked_at: link.revoked_at_us.map(rfc3339),
        }
    }
}

impl From<&LinkRow> for CustomerView {
    fn from(link: &LinkRow) -> Self {
        let (call_id, correlation_id) = ids(&link.scope.subject);
        Self {
            kind: if call_id.is_some() { ViewKind::Call } else { ViewKind::Session },
            call_id,
            correlation_id,
            since: link.scope.window.since_us.map(rfc3339),
            until: link.scope.window.until_us.map(rfc3339),
            expires_at: rfc3339(link.expires_at_us),
        }
    }
}

fn ids(subject: &Subject) -> (Option<String>, Option<String>) {
    match subject {
        Subject::Call(id) => (Some(id.clone()), None),
        Subject::Session(id) => (None, Some(id.clone())),
    }
}

/// A payload as text; and in base64, where it is none.
fn shown(raw: &[u8]) -> (Cow<'_, str>, Option<String>) {
    match str::from_utf8(raw) {
        Ok(text) => (text.into(), None),
        Err(_) => (String::from_utf8_lossy(raw), Some(STANDARD.encode(raw))),
    }
}

/// Writes a value as its text.
fn displayed<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Microseconds as milliseconds with a fraction. Exact: intervals within a call are far below 2⁵³ µs.
#[expect(clippy::cast_precision_loss, reason = "a call of 285 years would lose a microsecond")]
fn milliseconds(us: i64) -> f64 {
    us as f64 / 1000.0
}
