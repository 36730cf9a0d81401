//! What the script itself has to say about a message.

use super::packet::Payload;
use super::{Agent, Delivered, Offer, Refusal, Scope};
use crate::correlation::{MAX_CORRELATION_BYTES, Sources, correlation_id};
use crate::message::Message;
use crate::sessions::{Facts, Keys, Session};
use crate::stats::Count;

impl Agent {
    /// Takes a line of text, the offer's `raw`, about a message: it goes where the message's session goes, else to the
    /// default collector, under the id that the message itself is or would be captured under, unless the offer says
    /// otherwise. It also says the message's Call-ID, so that of a session of many calls it is shown in the right one.
    /// Never waits.
    ///
    /// Filters of methods and networks are for messages. An empty text is not wanted, and counted as such.
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub fn log(&mut self, offer: &Offer<'_>, about: &Message<'_>) -> Result<(), Refusal> {
        if !self.scripted || !self.shared.is_enabled() || offer.message.raw.is_empty() {
            self.counters.add(Count::Filtered);
            return Ok(());
        }
        let facts = Facts::of(about);
        let session = facts
            .as_ref()
            .and_then(|facts| self.lookup.session(Keys::of(facts, self.shared.seed())?))
            .map(|(_, session)| session);
        let slot = match (offer.collector, &session) {
            (None, Some(session)) => session.collector,
            (named, _) => self.slot(named).inspect_err(|_refusal| self.counters.add(Count::Refused))?,
        };
        let chosen = Sources {
            given: offer.correlation,
            session: session.as_ref().map(Session::id),
            header: facts.as_ref().and_then(|facts| self.lookup.header(facts)),
            template: offer.template,
        }
        .chosen();
        let id = correlation_id(chosen, about);
        // One that is cut would be another call's.
        let call_id = about
            .call_id()
            .filter(|call_id| Some(*call_id) != id && (1..=MAX_CORRELATION_BYTES).contains(&call_id.len()));
        self.queue::<false>(Payload::Log(call_id), slot, &offer.message, id)
    }

    /// Takes a text that the script has made: as a message if it is SIP, else as a line about the message `about`.
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub fn offer_text(&mut self, offer: &Offer<'_>, about: &Message<'_>) -> Result<(), Refusal> {
        if Facts::of(&offer.message).is_none() {
            return self.log(offer, about);
        }
        // Whatever the script works on, this is another message.
        self.follow(offer, Scope::Message, &mut Delivered::default()).map(|_followed| ())
    }
}
