//! How many messages there are, by time and by what they say.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use super::duplicates::Seen;
use super::filter::Filter;
use super::steps::Steps;
use super::{Search, SearchError, TIME_LIMIT};
use crate::call::message::Message;

/// How many values of a fact are told apart; more are counted together.
const MOST_VALUES: usize = 10_000;

/// A fact that messages are counted by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fact {
    /// Capture agent's id.
    Agent,
    /// Receiving address.
    Dst,
    /// User of From.
    FromUser,
    /// What it turned out to be.
    Kind,
    /// Method; of a reply, that of its CSeq.
    Method,
    /// HEP protocol type.
    ProtocolType,
    /// User of the Request-URI.
    RequestUser,
    /// Sending address.
    Src,
    /// Status of a reply.
    Status,
    /// First digit of the status of a reply.
    StatusClass,
    /// Tenant.
    Tenant,
    /// User of To.
    ToUser,
    /// How it travelled.
    Transport,
    /// User-Agent, or Server.
    UserAgent,
}

impl Fact {
    /// All facts with their names.
    pub const ALL: [(&'static str, Self); 14] = [
        ("agent_id", Self::Agent),
        ("dst", Self::Dst),
        ("from_user", Self::FromUser),
        ("kind", Self::Kind),
        ("method", Self::Method),
        ("protocol_type", Self::ProtocolType),
        ("request_user", Self::RequestUser),
        ("src", Self::Src),
        ("status", Self::Status),
        ("status_class", Self::StatusClass),
        ("tenant", Self::Tenant),
        ("to_user", Self::ToUser),
        ("transport", Self::Transport),
        ("user_agent", Self::UserAgent),
    ];

    /// The fact with that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, fact)| fact)
    }

    /// What a message says, as a filter takes it.
    fn of(self, message: &Message) -> Option<String> {
        let Message { captured, sip, kind, .. } = message;
        match self {
            Self::Agent => Some(captured.agent_id.to_string()),
            Self::Dst => Some(captured.dst.ip().to_string()),
            Self::FromUser => sip.from_user.clone(),
            Self::Kind => Some(kind.as_str().to_owned()),
            Self::Method => sip.method.clone(),
            Self::ProtocolType => Some(captured.protocol_type.to_string()),
            Self::RequestUser => sip.request_user().map(str::to_owned),
            Self::Src => Some(captured.src.ip().to_string()),
            Self::Status => sip.status.map(|status| status.to_string()),
            Self::StatusClass => sip.status.map(|status| format!("{}xx", status / 100)),
            Self::Tenant => captured.tenant.as_deref().map(str::to_owned),
            Self::ToUser => sip.to_user.clone(),
            Self::Transport => Some(captured.transport.as_str().to_owned()),
            Self::UserAgent => sip.user_agent.clone(),
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub struct Counting {
    /// By what; only by time where `None`.
    pub by: Option<Fact>,
    /// How long a bucket of time is, µs; more than 0. Buckets begin at multiples of it.
    pub interval_us: i64,
}

/// Messages in a bucket of time, or in all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// How many.
    pub messages: u64,
    /// How many of each value of the fact.
    pub by_value: BTreeMap<String, u64>,
    /// How many do not say.
    pub without: u64,
    /// How many of values beyond the first 10,000 that were met.
    pub others: u64,
}

/// How many messages meet a filter.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// All of them.
    pub total: Count,
    /// By time: where each bucket that is not empty begins, µs since the epoch.
    pub buckets: BTreeMap<i64, Count>,
    /// Whether there may be more: the time limit was reached, or a part of the store is away or damaged.
    pub partial: bool,
    /// Where the time limit was reached: all that was captured after this is counted, µs since the epoch.
    pub reached_us: Option<i64>,
}

impl Count {
    fn add(&mut self, value: Option<&str>, told_apart: bool) {
        self.messages += 1;
        match value {
            None => self.without += 1,
            Some(_) if !told_apart => self.others += 1,
            Some(value) => match self.by_value.get_mut(value) {
                Some(count) => *count += 1,
                None => {
                    self.by_value.insert(value.to_owned(), 1);
                }
            },
        }
    }
}

impl Search {
    /// Counts the messages that meet the filter.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn counts(&self, filter: &Filter, counting: Counting) -> Result<Counts, SearchError> {
        let mut steps = Steps::new(self, self.walk_for(filter).await?, filter.clone());
        let deadline = Instant::now() + TIME_LIMIT;
        let mut seen = Seen::default();
        let mut values: HashSet<String> = HashSet::new();
        let mut counts = Counts::default();
        loop {
            let step = steps.next().await?;
            counts.partial |= step.partial;
            let mut messages: Vec<_> = step.slices.into_iter().flat_map(|slice| slice.messages).collect();
            self.leave_out(&mut messages, |m| seen.is_new(m));
            for message in &messages {
                let value = counting.by.and_then(|fact| fact.of(message));
                let told_apart = value.as_ref().is_none_or(|value| {
                    values.contains(value) || values.len() < MOST_VALUES && values.insert(value.clone())
                });
                let at_us = message.captured.captured_at_us;
                let bucket = at_us.saturating_sub(at_us.rem_euclid(counting.interval_us));
                for count in [&mut counts.total, counts.buckets.entry(bucket).or_default()] {
                    count.add(value.as_deref(), told_apart);
                }
            }
            let Some((last_us, _)) = step.next else { return Ok(counts) };
            seen.reached(last_us);
            if Instant::now() > deadline {
                return Ok(Counts { partial: true, reached_us: Some(last_us), ..counts });
            }
        }
    }
}
