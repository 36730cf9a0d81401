//! What is looked for, typed: no text of a client ever becomes a column or an operator.

mod condition;

use super::Window;
use crate::call::Call;
use crate::call::event::EventPaths;
use crate::call::message::{CapturedRef, Kind, Message, MessageRef, PROTOCOL_SIP, Transport};
use crate::call::summary::Summary;
use crate::store::Key;

pub use condition::{AddressFilter, FilterError, HeaderFilter, JsonFilter, Octets, StatusFilter, UserFilter};

/// The conditions that a message must meet, all of them. Empty takes everything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// Exact correlation id.
    pub correlation_id: Option<String>,
    /// Exact Call-ID.
    pub call_id: Option<String>,
    /// Tenant.
    pub tenant: Option<String>,
    /// User of From.
    pub from_user: Option<UserFilter>,
    /// User of To.
    pub to_user: Option<UserFilter>,
    /// User of the Request-URI.
    pub request_user: Option<UserFilter>,
    /// Method, any case; for a reply that of its CSeq.
    pub method: Option<String>,
    /// Status of a reply.
    pub status: Option<StatusFilter>,
    /// Sender.
    pub src: Option<AddressFilter>,
    /// Receiver.
    pub dst: Option<AddressFilter>,
    /// Part of User-Agent or Server, any case.
    pub user_agent: Option<String>,
    /// Capture agent id.
    pub agent_id: Option<u32>,
    /// Transport of the hop.
    pub transport: Option<Transport>,
    /// Kind of message.
    pub kind: Option<Kind>,
    /// HEP protocol type.
    pub protocol_type: Option<u8>,
    /// Value of a JSON payload.
    pub json: Option<JsonFilter>,
    /// A header.
    pub header: Option<HeaderFilter>,
    /// Octets that the payload holds.
    pub contains: Option<Octets>,
    /// Captured at or after, µs since the epoch.
    pub since_us: Option<i64>,
    /// Captured before or at, µs since the epoch.
    pub until_us: Option<i64>,
    /// Conditions of which none may be met.
    pub not: Option<Box<Filter>>,
}

impl Filter {
    /// Whether it can only find events.
    #[must_use]
    pub fn wants_events(&self) -> bool {
        self.kind == Some(Kind::Other)
            || self.json.is_some()
            || self.protocol_type.is_some_and(|wanted| wanted != PROTOCOL_SIP)
    }

    /// Whether it wants of each slice of its walk all messages, but for the times.
    #[must_use]
    pub fn wants_whole_slices(&self) -> bool {
        let Self { since_us, until_us, .. } = *self;
        let of_slices = Self {
            correlation_id: self.correlation_id.clone(),
            call_id: self.call_id.clone(),
            tenant: self.tenant.clone(),
            since_us,
            until_us,
            ..Self::default()
        };
        *self == of_slices
    }

    /// The narrowest of the conditions that slices are keyed by, with the times, and its key. `paths` are those that
    /// events are keyed by.
    #[must_use]
    pub fn narrowest(&self, paths: &EventPaths) -> (Option<Key>, Self) {
        let times = Self { since_us: self.since_us, until_us: self.until_us, ..Self::default() };
        let host =
            |address: &Option<AddressFilter>| address.as_ref().and_then(AddressFilter::host).map(Key::host);
        if let Some(id) = &self.call_id {
            return (Some(Key::call(id)), Self { call_id: Some(id.clone()), ..times });
        }
        if let Some(id) = &self.correlation_id {
            // A session's events are few beside its SIP.
            let key = if self.wants_events() { Key::event(id) } else { Key::correlation(id) };
            return (Some(key), Self { correlation_id: Some(id.clone()), ..times });
        }
        let exact = |user: &Option<UserFilter>| user.as_ref().and_then(UserFilter::exact).map(str::to_owned);
        if let Some(user) = exact(&self.from_user) {
            return (Some(Key::from_user(&user)), Self { from_user: self.from_user.clone(), ..times });
        }
        if let Some(user) = exact(&self.to_user) {
            return (Some(Key::to_user(&user)), Self { to_user: self.to_user.clone(), ..times });
        }
        if let Some(user) = exact(&self.request_user) {
            return (
                Some(Key::request_user(&user)),
                Self { request_user: self.request_user.clone(), ..times },
            );
        }
        if let Some(json) = self.json.as_ref().filter(|json| paths.is_indexed(&json.path)) {
            return (Some(Key::json(&json.path, &json.value)), Self { json: self.json.clone(), ..times });
        }
        let of_status = || Self { status: self.status, ..times.clone() };
        match (self.status, &self.method) {
            (Some(StatusFilter::Code(code)), Some(method)) => {
                return (Some(Key::reply(code, method)), Self { method: self.method.clone(), ..of_status() });
            }
            (Some(StatusFilter::Code(code)), None) => return (Some(Key::status(code)), of_status()),
            (Some(StatusFilter::Class(class)), _) if let Some(key) = Key::status_class(class) => {
                return (Some(key), of_status());
            }
            _ => {}
        }
        if let Some(key) = host(&self.src) {
            return (Some(key), Self { src: self.src.clone(), ..times });
        }
        if let Some(key) = host(&self.dst) {
            return (Some(key), Self { dst: self.dst.clone(), ..times });
        }
        if let Some(wanted) = self.protocol_type.filter(|wanted| *wanted != PROTOCOL_SIP) {
            return (Some(Key::protocol(wanted)), Self { protocol_type: self.protocol_type, ..times });
        }
        if let Some(method) = &self.method {
            return (Some(Key::method(method)), Self { method: self.method.clone(), ..times });
        }
        if let Some(tenant) = &self.tenant {
            return (Some(Key::tenant(tenant)), Self { tenant: self.tenant.clone(), ..times });
        }
        (None, times)
    }

    /// Whether the message meets every condition, and none of those that it must not.
    #[must_use]
    pub fn accepts(&self, message: &Message) -> bool {
        let message = message.lent();
        self.may_accept(&message.captured) && self.accepts_facts(&message)
    }

    /// Whether a message meets what can be told before its facts are read.
    #[must_use]
    pub fn may_accept(&self, captured: &CapturedRef<'_>) -> bool {
        !self.any_captured_is(captured, false)
            && self.not.as_ref().is_none_or(|not| !not.any_captured_is(captured, true))
    }

    /// Whether a message meets the rest.
    #[must_use]
    pub fn accepts_facts(&self, message: &MessageRef<'_>) -> bool {
        !self.any_fact_is(message, false)
            && self.not.as_ref().is_none_or(|not| !not.any_fact_is(message, true))
    }

    /// What is in the payload of every message of it, as far as nothing is keyed by it: a payload without is not worth
    /// reading.
    #[must_use]
    pub fn needles(&self) -> Vec<Octets> {
        let users = [&self.from_user, &self.to_user, &self.request_user];
        let parts = users.into_iter().flatten().filter_map(UserFilter::needle);
        let header = self.header.iter().filter_map(HeaderFilter::needle);
        self.contains.iter().cloned().chain(parts).chain(header).collect()
    }

    /// Whether a message of the call meets every condition, and none of them one that must not be met. The users of
    /// From and To are those of the call: who called, who was called.
    #[must_use]
    pub fn accepts_call(&self, call: &Call) -> bool {
        let summary = Summary::read(call);
        let parties = |filter: &Self, verdict: bool| {
            let is = |wanted: &Option<UserFilter>, found: &Option<String>| {
                let accepts = |wanted: &UserFilter| found.as_deref().is_some_and(|user| wanted.accepts(user));
                wanted.as_ref().is_some_and(|wanted| accepts(wanted) == verdict)
            };
            is(&filter.from_user, &summary.from_user) || is(&filter.to_user, &summary.to_user)
        };
        let of_messages =
            |filter: &Self| Self { from_user: None, to_user: None, not: None, ..filter.clone() };
        let wanted = of_messages(self);
        if parties(self, false) || !call.messages.iter().any(|m| wanted.accepts(m)) {
            return false;
        }
        self.not.as_deref().is_none_or(|not| {
            let unwanted = of_messages(not);
            let mut in_range = call.messages.iter().filter(|m| self.holds(m.captured.captured_at_us));
            !parties(not, true) && !in_range.any(|m| unwanted.any_is(m, true))
        })
    }

    /// What the messages of a call must meet for the call to be listed at their slice: all conditions on messages, or,
    /// where who called or was called is asked for, what the walk's key and the times say.
    #[must_use]
    pub fn of_place(&self, paths: &EventPaths) -> Self {
        if self.from_user.is_some() || self.to_user.is_some() {
            return self.narrowest(paths).1;
        }
        Self { not: None, ..self.clone() }
    }

    /// The correlation id of the session whose calls are wanted, where each is listed by its first message in it: then they are found by
    /// their [first slices](Key::firsts). `of_place` is what [`Self::of_place`] gives.
    #[must_use]
    pub fn session_of_calls<'a>(&self, of_place: &'a Self) -> Option<&'a str> {
        // With `since`, a call may be listed by a message in its middle.
        let is_by_first = of_place.since_us.is_none() && of_place.call_id.is_none();
        let is_wanted = is_by_first && of_place.wants_whole_slices() && !self.wants_events();
        of_place.correlation_id.as_deref().filter(|_| is_wanted)
    }

    /// Whether a time, µs since the epoch, is within that of the filter.
    fn holds(&self, time_us: i64) -> bool {
        Window { since_us: self.since_us, until_us: self.until_us }.holds(time_us)
    }

    /// Whether one of the conditions that are set comes out as this.
    fn any_is(&self, message: &Message, verdict: bool) -> bool {
        let message = message.lent();
        self.any_captured_is(&message.captured, verdict) || self.any_fact_is(&message, verdict)
    }

    fn any_captured_is(&self, captured: &CapturedRef<'_>, verdict: bool) -> bool {
        let is = |verdict_of: Option<bool>| verdict_of == Some(verdict);
        is(self.since_us.map(|t| captured.captured_at_us >= t))
            || is(self.until_us.map(|t| captured.captured_at_us <= t))
            || is(self
                .correlation_id
                .as_deref()
                .map(|wanted| captured.correlation_id.as_deref() == Some(wanted)))
            || is(self.tenant.as_deref().map(|wanted| captured.tenant.as_deref() == Some(wanted)))
            || is(self.src.as_ref().map(|wanted| wanted.accepts(&captured.src)))
            || is(self.dst.as_ref().map(|wanted| wanted.accepts(&captured.dst)))
            || is(self.agent_id.map(|wanted| captured.agent_id == wanted))
            || is(self.transport.map(|wanted| captured.transport == wanted))
            || is(self.protocol_type.map(|wanted| captured.protocol_type == wanted))
            || is(self.status.map(|wanted| captured.status().is_some_and(|found| wanted.accepts(found))))
            || is(self.contains.as_ref().map(|wanted| wanted.are_in(&captured.raw)))
    }

    fn any_fact_is(&self, message: &MessageRef<'_>, verdict: bool) -> bool {
        let sip = &message.sip;
        let user = |wanted: &Option<UserFilter>, found: Option<&str>| {
            wanted.as_ref().is_some_and(|wanted| found.is_some_and(|user| wanted.accepts(user)) == verdict)
        };
        let is = |verdict_of: Option<bool>| verdict_of == Some(verdict);
        is(self.call_id.as_deref().map(|wanted| sip.call_id.as_deref() == Some(wanted)))
            || user(&self.from_user, sip.from_user.as_deref())
            || user(&self.to_user, sip.to_user.as_deref())
            || user(&self.request_user, sip.request_user())
            || is(self
                .method
                .as_deref()
                .map(|wanted| sip.method.as_deref().is_some_and(|found| found.eq_ignore_ascii_case(wanted))))
            || is(self.user_agent.as_deref().map(|wanted| {
                sip.user_agent
                    .as_deref()
                    .is_some_and(|found| found.to_lowercase().contains(&wanted.to_lowercase()))
            }))
            || is(self.kind.map(|wanted| message.kind == wanted))
            || is(self.json.as_ref().map(|wanted| wanted.accepts(message)))
            || is(self.header.as_ref().map(|wanted| wanted.accepts(message)))
    }
}
