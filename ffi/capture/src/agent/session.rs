//! The sessions that messages open and belong to.

use super::{Agent, Followed, Scope};
use crate::message::Message;
use crate::sessions::{Facts, Keys, Refused, Session};
use crate::stats::Count;
use crate::trace_filter::Match;

impl Agent {
    /// Opens the session of a message that matches a trace filter, for a host that will show it to
    /// [`observe`](Self::observe) only later: what it causes meanwhile belongs to the session, too.
    pub fn expect(&mut self, message: &Message<'_>) {
        if !self.shared.is_enabled() || self.shared.filters_serial() == 0 {
            return;
        }
        let Some(facts) = Facts::of(message) else { return };
        let Some(keys) = Keys::of(&facts, self.shared.seed()) else { return };
        if self.lookup.session(keys).is_none()
            && let Some(found) = self.found(message, &facts)
        {
            self.open_found(&found, &facts, Some(keys));
        }
    }

    /// Opens the session of a message that a trace filter has found; answers its correlation id.
    pub(super) fn open_found<'m>(
        &self,
        found: &'m Match,
        facts: &Facts<'m>,
        keys: Option<Keys>,
    ) -> Option<&'m [u8]> {
        let id = found.id().or_else(|| self.lookup.header(facts));
        self.open(Scope::Dialog, Some(facts).zip(keys), found.collector, id);
        id
    }

    /// The trace filter that a message matches. Costs a load while there is none.
    pub(super) fn found(&mut self, message: &Message<'_>, facts: &Facts<'_>) -> Option<Match> {
        match self.shared.filters_serial() {
            0 => None,
            serial => self.filters.find(self.shared, serial, message, facts),
        }
    }

    /// The session that a message belongs to, the narrower one if there are two; this message prolongs its life, or
    /// shortens it.
    pub(super) fn refreshed(&self, keys: Keys, facts: &Facts<'_>) -> Option<Session> {
        let sessions = self.lookup.sessions()?;
        let now = self.shared.seconds();
        let refresh = |key, scope| {
            let session = sessions.find(key, now)?;
            sessions.extend(&session, self.lifetimes.after(facts, scope, session.life.established, now));
            Some(session)
        };
        let transaction = keys.transaction.and_then(|key| refresh(key, Scope::Transaction));
        let dialog = refresh(keys.dialog, Scope::Dialog);
        transaction.or(dialog)
    }

    /// Opens the session of a message, so that all processes know it.
    pub(super) fn open(
        &self,
        scope: Scope,
        message: Option<(&Facts<'_>, Keys)>,
        collector: u8,
        id: Option<&[u8]>,
    ) -> Followed {
        if scope == Scope::Message {
            return Followed::Yes;
        }
        let known = message.and_then(|(facts, keys)| {
            let key = if scope == Scope::Dialog { Some(keys.dialog) } else { keys.transaction };
            Some((facts, key?))
        });
        let Some((facts, key)) = known else {
            self.counters.add(Count::NotFollowed);
            return Followed::NoCallId;
        };
        let now = self.shared.seconds();
        let established = self
            .lookup
            .sessions()
            .and_then(|sessions| sessions.find(key, now))
            .is_some_and(|session| session.life.established);
        let life = self.lifetimes.after(facts, scope, established, now);
        let opened = self
            .lookup
            .sessions()
            .ok_or(Refused::Full)
            .and_then(|sessions| sessions.open(key, collector, id.unwrap_or_default(), life, now));
        match opened {
            Ok(()) => {
                // Nearly always so already: a load spares the other processes a contended write.
                if !self.shared.is_following() {
                    self.shared.set_following();
                }
                Followed::Yes
            }
            Err(Refused::Full) => {
                self.counters.add(Count::TableFull);
                Followed::TableFull
            }
            Err(Refused::TooLong) => {
                self.counters.add(Count::NotFollowed);
                Followed::IdTooLong
            }
        }
    }
}
