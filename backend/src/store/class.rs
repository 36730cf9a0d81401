//! What a slice is about, as far as it matters for how long it is kept.

use super::slice::Facts;
use crate::call::message::Kind;

/// What all messages of a slice are about.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// A call, or any other SIP that is none of the following.
    #[default]
    Call,
    /// REGISTER and its replies.
    Registration,
    /// OPTIONS and its replies, outside a dialog: what hosts ask each other to see whether they are there.
    Options,
    /// What is captured besides SIP.
    Event,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 4] = [Self::Call, Self::Registration, Self::Options, Self::Event];

    /// Its name in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Registration => "registration",
            Self::Options => "options",
            Self::Event => "event",
        }
    }

    /// The class of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }
}

/// Tells the class of a slice, message by message. Events and SIP are never in one slice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Teller {
    events: bool,
    registers: bool,
    options: bool,
    /// OPTIONS without a To tag, which is outside a dialog (RFC 3261 §12.2). A reply has one in any case.
    options_outside: bool,
    others: bool,
}

impl Teller {
    /// Takes one message of the slice into account.
    pub fn see(&mut self, facts: &Facts<'_>) {
        let is_request = facts.kind == Kind::Request;
        match facts.method.as_deref() {
            _ if facts.kind == Kind::Other => self.events = true,
            Some("REGISTER") => self.registers = true,
            Some("OPTIONS") if is_request && facts.has_to_tag => self.others = true,
            Some("OPTIONS") => {
                self.options = true;
                self.options_outside |= is_request;
            }
            _ => self.others = true,
        }
    }

    /// The class of what was seen. Where it cannot be told, that of calls, which are worth most.
    pub const fn class(self) -> Class {
        let Self { events, registers, options, options_outside, others } = self;
        match (events, registers, options, others) {
            (true, false, false, false) => Class::Event,
            (false, true, false, false) => Class::Registration,
            (false, false, true, false) if options_outside => Class::Options,
            _ => Class::Call,
        }
    }
}
