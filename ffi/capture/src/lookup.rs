//! Where a message belongs: to which session, and under which id it is captured.

use crate::agent::Scope;
use crate::config::Config;
use crate::correlation::{MAX_CORRELATION_BYTES, Sources, correlation_id};
use crate::message::Message;
use crate::sessions::{Facts, Keys, Session, Sessions};
use crate::shared::Shared;

/// Answers for one process what is known of a message. It captures nothing, and needs no queue.
#[derive(Clone, Debug)]
pub struct Lookup {
    shared: Shared,
    sessions: Option<Sessions>,
    correlation_header: Option<Box<str>>,
}

impl Lookup {
    /// For a process that shares this memory.
    #[must_use]
    pub fn new(shared: Shared, config: &Config) -> Self {
        Self {
            shared,
            sessions: shared.sessions(),
            correlation_header: config.correlation_header.as_deref().map(Into::into),
        }
    }

    /// Leaves in `id` what the message would be captured under if the script gave no id: that of its session, of the
    /// configured header, of `template`, or its Call-ID. Empty if there is none of these.
    pub fn correlation_id(&self, message: &Message<'_>, template: Option<&[u8]>, id: &mut Vec<u8>) {
        id.clear();
        let facts = Facts::of(message);
        let session = facts.as_ref().and_then(|facts| self.session(Keys::of(facts, self.shared.seed())?));
        let chosen = Sources {
            given: None,
            session: session.as_ref().map(|(_, session)| session.id()),
            header: facts.as_ref().and_then(|facts| self.header(facts)),
            template,
        }
        .chosen();
        id.extend_from_slice(correlation_id(chosen, message).unwrap_or_default());
        debug_assert!(id.len() <= MAX_CORRELATION_BYTES, "longer ids are cut");
    }

    /// What is being followed that the message belongs to: [`Scope::Transaction`], [`Scope::Dialog`], or just
    /// [`Scope::Message`].
    #[must_use]
    pub fn scope(&self, message: &Message<'_>) -> Scope {
        Facts::of(message)
            .and_then(|facts| self.session(Keys::of(&facts, self.shared.seed())?))
            .map_or(Scope::Message, |(scope, _)| scope)
    }

    /// The session that a message belongs to, the narrower one if there are two, and what it follows.
    pub(crate) fn session(&self, keys: Keys) -> Option<(Scope, Session)> {
        let sessions = self.sessions.filter(|_| self.shared.is_following())?;
        let now = self.shared.seconds();
        let transaction = keys.transaction.and_then(|key| sessions.find(key, now));
        transaction
            .map(|session| (Scope::Transaction, session))
            .or_else(|| Some((Scope::Dialog, sessions.find(keys.dialog, now)?)))
    }

    /// The value of the header that names the correlation id.
    pub(crate) fn header<'m>(&self, facts: &Facts<'m>) -> Option<&'m [u8]> {
        let name = self.correlation_header.as_deref()?;
        facts.message.header(name).filter(|value| !value.is_empty())
    }

    /// Whether a header may give the id, so that messages must be read for it.
    pub(crate) fn names_header(&self) -> bool {
        self.correlation_header.is_some()
    }

    pub(crate) fn sessions(&self) -> Option<Sessions> {
        self.sessions
    }
}
