//! Calls, registrations and pings as several proxies see them, living in time: which message comes when. The same seed
//! gives the same traffic on every machine. Nothing here makes text; that is `forms`.

use super::forms::{Form, Names};

/// Simulated milliseconds that a calendar holds: longer than any pause between two messages of a dialog.
const CALENDAR_MS: usize = 1 << 18;

/// So long, simulated, the traffic runs before its first message is given out, so that as many dialogs end as begin.
const WARM_UP_MS: u64 = 200_000;

/// After so many messages at least another session of many calls begins.
const LARGE_SESSION_EVERY: u64 = 200_000;

/// Of each so many messages one call at most is of such a session: half of the traffic.
const MESSAGES_OF_ITS_CALL: u64 = 14;

/// One message after another of a dialog: what, and how long after the one before at least and at most, ms.
struct Step(Form, u32, u32);

/// The life of a dialog.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Life {
    Answered,
    /// With this place in [`FAILURES`].
    Failed(u8),
    Cancelled,
    Registration,
    Options,
}

const ANSWERED: &[Step] = &[
    Step(Form::Invite, 0, 0),
    Step(Form::Trying, 2, 42),
    Step(Form::Ringing, 100, 1600),
    Step(Form::Answer, 1000, 9000),
    Step(Form::Ack, 5, 60),
    Step(Form::Bye, 5000, 180_000),
    Step(Form::ByeOk, 5, 60),
];

const CANCELLED: &[Step] = &[
    Step(Form::Invite, 0, 0),
    Step(Form::Trying, 2, 42),
    Step(Form::Ringing, 100, 1600),
    Step(Form::Cancel, 1000, 9000),
    Step(Form::CancelOk, 2, 20),
    Step(Form::Terminated, 2, 20),
    Step(Form::AckOfFailure, 5, 60),
];

const REGISTRATION: &[Step] = &[
    Step(Form::Register, 0, 0),
    Step(Form::Challenge, 1, 20),
    Step(Form::RegisterWithDigest, 5, 50),
    Step(Form::Registered, 1, 20),
];

const OPTIONS: &[Step] = &[Step(Form::Options, 0, 0), Step(Form::OptionsOk, 1, 50)];

/// How calls fail, with how many of a hundred failures are such. Those left over are cancelled.
const FAILURES: [(u32, &[Step]); 5] = [
    (40, &failed(Form::Busy)),
    (20, &failed(Form::Unavailable)),
    (15, &failed(Form::NotFound)),
    (5, &failed(Form::ServerError)),
    (5, &failed(Form::Declined)),
];

const fn failed(form: Form) -> [Step; 5] {
    [
        Step(Form::Invite, 0, 0),
        Step(Form::Trying, 2, 42),
        Step(Form::Ringing, 100, 1600),
        Step(form, 500, 9000),
        Step(Form::AckOfFailure, 5, 60),
    ]
}

impl Life {
    fn steps(self) -> &'static [Step] {
        match self {
            Self::Answered => ANSWERED,
            Self::Failed(how) => FAILURES.get(usize::from(how)).map_or(CANCELLED, |(_, steps)| steps),
            Self::Cancelled => CANCELLED,
            Self::Registration => REGISTRATION,
            Self::Options => OPTIONS,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Dialog {
    names: Names,
    life: Life,
    step: u8,
    /// Whether its first message was given out.
    whole: bool,
    /// The next dialog whose message is due in the same millisecond.
    next: Option<u32>,
}

/// A message that is due.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// When, simulated, µs since the first one that was given out.
    pub at_us: u64,
    /// What.
    pub form: Form,
    /// Whose.
    pub names: Names,
    /// Set at the last message of a dialog all of whose messages were given out: how many these are.
    pub ends_after: Option<usize>,
}

/// A source of messages that never ends.
pub struct Traffic {
    random: Random,
    /// First and last dialog due in each millisecond.
    calendar: Vec<Option<(u32, u32)>>,
    dialogs: Vec<Dialog>,
    free: Vec<u32>,
    now_ms: u64,
    /// What was given out in this millisecond.
    in_now: u64,
    warm: bool,
    /// Messages that dialogs may yet begin with, to keep the rate.
    credit: f64,
    per_ms: f64,
    given: u64,
    session: u64,
    /// Calls of a large session.
    session_size: u64,
    session_calls: u64,
}

impl Traffic {
    /// Traffic of so many messages a second, simulated, with sessions of so many calls. Dialogs have lived for a while when
    /// it begins.
    #[must_use]
    pub fn new(seed: u64, per_second: u32, session_size: u32) -> Self {
        let mut random = Random(seed);
        let session = random.next();
        let mut traffic = Self {
            random,
            calendar: vec![None; CALENDAR_MS],
            dialogs: Vec::new(),
            free: Vec::new(),
            now_ms: 0,
            in_now: 0,
            warm: false,
            credit: 0.0,
            per_ms: f64::from(per_second.max(1)) / 1000.0,
            given: 0,
            session,
            session_size: u64::from(session_size.max(1)),
            session_calls: 0,
        };
        while traffic.now_ms < WARM_UP_MS {
            traffic.next_due();
        }
        traffic.warm = true;
        traffic.given = 0;
        traffic.session_calls = 0;
        traffic
    }

    /// The next message, in order of time.
    pub fn next_due(&mut self) -> Due {
        loop {
            let slot = slot(self.now_ms);
            let Some(index) = self.calendar.get(slot).copied().flatten().map(|(first, _)| first) else {
                self.now_ms += 1;
                self.in_now = 0;
                self.credit += self.per_ms;
                while self.credit > 0.0 {
                    self.begin();
                }
                continue;
            };
            if let Some(due) = self.take(index, slot) {
                return due;
            }
        }
    }

    fn take(&mut self, index: u32, slot: usize) -> Option<Due> {
        let dialog = self.dialogs.get_mut(index as usize)?;
        let steps = dialog.life.steps();
        let place = usize::from(dialog.step);
        let next = dialog.next.take();
        if let Some(entry) = self.calendar.get_mut(slot) {
            *entry = entry.and_then(|(_, last)| next.map(|next| (next, last)));
        }
        let Step(form, ..) = steps.get(place)?;
        dialog.whole |= place == 0 && self.warm;
        dialog.step += 1;
        let mut due = Due {
            at_us: self.now_ms.saturating_sub(WARM_UP_MS) * 1000 + self.in_now.min(999),
            form: *form,
            names: dialog.names,
            ends_after: None,
        };
        if let Some(Step(_, least, most)) = steps.get(place + 1) {
            let wait = self.random.between(*least, *most).max(1);
            self.schedule(index, wait);
        } else {
            due.ends_after = dialog.whole.then_some(steps.len());
            self.free.push(index);
        }
        self.in_now += 1;
        self.given += 1;
        Some(due)
    }

    /// Begins a dialog now, and with some calls their second leg.
    fn begin(&mut self) {
        let each = (LARGE_SESSION_EVERY / self.session_size).max(MESSAGES_OF_ITS_CALL);
        let of_session = self.given / each > self.session_calls;
        let mut names = Names::new(&mut self.random);
        if of_session {
            if self.session_calls.is_multiple_of(self.session_size) {
                self.session = self.random.next();
            }
            self.session_calls += 1;
            return self.start(names.in_large_session(self.session), Life::Answered, 0);
        }
        let life = match self.random.between(0, 99) {
            0..45 => self.life_of_call(),
            45..80 => Life::Registration,
            _ => Life::Options,
        };
        if !matches!(life, Life::Registration | Life::Options) && self.random.between(0, 3) == 0 {
            let leg = names.second_leg(&mut self.random);
            let wait = self.random.between(5, 20);
            self.start(leg, life, wait);
        }
        if life == Life::Options {
            names = names.of_a_trunk();
        }
        self.start(names, life, 0);
    }

    fn life_of_call(&mut self) -> Life {
        if self.random.between(0, 9) > 0 {
            return Life::Answered;
        }
        let mut how = self.random.between(0, 99);
        for (place, (share, _)) in (0..).zip(FAILURES) {
            if how < share {
                return Life::Failed(place);
            }
            how -= share;
        }
        Life::Cancelled
    }

    fn start(&mut self, names: Names, life: Life, wait_ms: u32) {
        self.credit -= life.steps().len() as f64;
        let dialog = Dialog { names, life, step: 0, whole: false, next: None };
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.dialogs.push(dialog);
                u32::try_from(self.dialogs.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(place) = self.dialogs.get_mut(index as usize) {
            *place = dialog;
        }
        self.schedule(index, wait_ms);
    }

    fn schedule(&mut self, index: u32, wait_ms: u32) {
        let Some(entry) = self.calendar.get_mut(slot(self.now_ms + u64::from(wait_ms))) else { return };
        match entry {
            None => *entry = Some((index, index)),
            Some((_, last)) => {
                if let Some(before) = self.dialogs.get_mut(*last as usize) {
                    before.next = Some(index);
                }
                *last = index;
            }
        }
    }
}

fn slot(at_ms: u64) -> usize {
    usize::try_from(at_ms).unwrap_or(0) & (CALENDAR_MS - 1)
}

/// Numbers that look random, the same for the same seed: SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number in a range, both ends included.
    pub fn between(&mut self, least: u32, most: u32) -> u32 {
        let span = u64::from(most.saturating_sub(least)) + 1;
        // The high half of a product: no division.
        let within = (u128::from(self.next()) * u128::from(span)) >> 64;
        least + u32::try_from(within).unwrap_or(0)
    }
}

/// Another number for each number, without a pattern: SplitMix64's last step.
#[must_use]
pub const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_traffic_in_order_of_time() {
        let (mut one, mut other) = (Traffic::new(7, 2000, 1000), Traffic::new(7, 2000, 1000));
        let mut last = 0;
        for _ in 0..50_000 {
            let (a, b) = (one.next_due(), other.next_due());
            assert_eq!((a.at_us, a.form, a.names), (b.at_us, b.form, b.names));
            assert!(a.at_us >= last);
            last = a.at_us;
        }
        assert_ne!(
            Traffic::new(8, 2000, 1000).next_due().names,
            Traffic::new(7, 2000, 1000).next_due().names
        );
    }

    #[test]
    fn the_rate_is_kept_and_dialogs_are_whole() {
        let mut traffic = Traffic::new(1, 5000, 1000);
        let (mut messages, mut ended) = (HashMap::<_, usize>::new(), 0);
        let mut last = 0;
        for _ in 0..1_000_000 {
            let due = traffic.next_due();
            *messages.entry(due.names.call_id()).or_default() += 1;
            if let Some(count) = due.ends_after {
                assert_eq!(messages.get(&due.names.call_id()), Some(&count));
                ended += 1;
            }
            last = due.at_us;
        }
        assert!((190_000_000..210_000_000).contains(&last), "{last}");
        assert!(ended > 100_000, "{ended}");
    }

    #[test]
    fn every_200_000_messages_bring_a_large_session_if_it_is_not_too_large() {
        let sessions = |size| {
            let mut traffic = Traffic::new(3, 20_000, size);
            let mut calls = HashMap::<_, u32>::new();
            for _ in 0..800_000 {
                let due = traffic.next_due();
                if due.names.is_in_large_session() && due.form == Form::Invite {
                    *calls.entry(due.names.correlation_id()).or_default() += 1;
                }
            }
            calls.into_values().filter(|count| *count == size).count()
        };
        assert!(sessions(1000) >= 3);
        assert!(sessions(40_000) == 1);
    }
}
