//! Several collectors in order of preference: the first that is there gets the messages.

use std::time::{Duration, Instant};

use crate::sender::Limits;
use crate::sender::backlog::Batch;
use crate::sender::lane::{Change, Delivery, Step};

/// Sends through one of several ways, and looks now and then whether a better one is back.
///
/// All have one backlog, so no message is lost by a change: what the one did not take, or has not acknowledged, the next
/// one gets.
pub struct Failover {
    members: Vec<Box<dyn Delivery>>,
    active: usize,
    /// Whether it was told that the active one is away.
    away: bool,
    /// When those before the active one are tried again.
    look_at: Instant,
    look: Duration,
}

impl Failover {
    /// At least one.
    pub fn new(members: Vec<Box<dyn Delivery>>, limits: &Limits) -> Self {
        Self { members, active: 0, away: false, look_at: Instant::now(), look: limits.prefer }
    }

    /// The first of these that can be connected now; the least time until one may be tried.
    fn first_ready(
        &mut self,
        now: Instant,
        among: std::ops::Range<usize>,
        batch: &mut Batch,
    ) -> Result<Step, Duration> {
        let mut least = Duration::MAX;
        for index in among {
            let Some(member) = self.members.get_mut(index) else { continue };
            // With nothing to send, a step connects or says how long it will wait.
            let mut step = member.step(now, &mut Batch::default());
            if step.change == Some(Change::Connected) {
                if let Some(left) = self.members.get_mut(self.active).filter(|_| index != self.active) {
                    step = step.and(left.rest(batch));
                    batch.elsewhere();
                }
                self.active = index;
                self.away = false;
                self.look_at = now + self.look;
                return Ok(step);
            }
            if !step.pause.is_zero() {
                least = least.min(step.pause);
            }
        }
        Err(least)
    }
}

impl Delivery for Failover {
    fn step(&mut self, now: Instant, batch: &mut Batch) -> Step {
        if self.active > 0 && now >= self.look_at {
            self.look_at = now + self.look;
            if let Ok(back) = self.first_ready(now, 0..self.active, batch) {
                return back;
            }
        }
        let Some(member) = self.members.get_mut(self.active) else { return Step::default() };
        let step = member.step(now, batch);
        match step.change {
            Some(Change::Connected) => self.away = false,
            // Told before anything else is done about it.
            Some(Change::Lost(_)) if !self.away => {
                self.away = true;
                return step;
            }
            Some(Change::Lost(_)) | None => {}
        }
        if !self.away {
            return step;
        }
        match self.first_ready(now, 0..self.members.len(), batch) {
            Ok(other) => Step { pause: Duration::ZERO, change: None, ..step }.and(other),
            Err(least) => Step { pause: step.pause.min(least), ..step },
        }
    }

    fn rest(&mut self, batch: &mut Batch) -> Step {
        self.members.iter_mut().fold(Step::default(), |step, member| step.and(member.rest(batch)))
    }

    fn reason(&self) -> Option<&str> {
        self.members.get(self.active).and_then(|member| member.reason())
    }

    fn active(&self) -> usize {
        self.active
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    /// There or not, as the test says.
    #[derive(Clone, Default)]
    struct Played {
        there: Arc<AtomicBool>,
        sent: Arc<AtomicU64>,
        up: bool,
        again_at: Option<Instant>,
    }

    impl Delivery for Played {
        fn step(&mut self, now: Instant, batch: &mut Batch) -> Step {
            let there = self.there.load(Ordering::Relaxed);
            let change = match (self.up, there) {
                (true, true) => {
                    let sent = batch.len();
                    while !batch.is_empty() {
                        batch.advance();
                    }
                    batch.forget();
                    self.sent.fetch_add(sent, Ordering::Relaxed);
                    return Step { sent, ..Step::default() };
                }
                (false, _) if self.again_at.is_some_and(|at| now < at) => {
                    return Step { pause: self.again_at.unwrap() - now, ..Step::default() };
                }
                (false, true) => Change::Connected,
                (_, false) => {
                    self.again_at = Some(now + Duration::from_millis(100));
                    Change::Lost(ErrorKind::ConnectionRefused)
                }
            };
            self.up = there;
            Step { change: Some(change), ..Step::default() }
        }

        fn rest(&mut self, _batch: &mut Batch) -> Step {
            self.up = false;
            self.again_at = None;
            Step::default()
        }
    }

    /// Steps until the packet is gone; answers how long that took.
    fn send(failover: &mut Failover, now: &mut Instant) -> Duration {
        let start = *now;
        let mut batch = Batch::of(&[b"HEP3\0\x06"]);
        while !batch.is_empty() {
            *now += failover.step(*now, &mut batch).pause;
        }
        *now - start
    }

    #[test]
    fn the_first_that_is_there_gets_the_messages_and_the_first_of_all_when_it_is_back() {
        let (first, second) = (Played::default(), Played::default());
        second.there.store(true, Ordering::Relaxed);
        let limits = Limits::default();
        let mut failover = Failover::new(vec![Box::new(first.clone()), Box::new(second.clone())], &limits);
        let mut now = Instant::now();
        let sent = || (first.sent.load(Ordering::Relaxed), second.sent.load(Ordering::Relaxed));

        assert_eq!(send(&mut failover, &mut now), Duration::ZERO, "the second is there at once");
        assert_eq!((sent(), failover.active()), ((0, 1), 1));
        first.there.store(true, Ordering::Relaxed);
        send(&mut failover, &mut now);
        assert_eq!(sent(), (0, 2), "not asked yet");
        now += limits.prefer;
        send(&mut failover, &mut now);
        assert_eq!((sent(), failover.active()), ((1, 2), 0));
        first.there.store(false, Ordering::Relaxed);
        send(&mut failover, &mut now);
        assert_eq!(sent(), (1, 3));
    }

    #[test]
    fn when_none_is_there_it_waits_as_long_as_the_most_impatient() {
        let (first, second) = (Played::default(), Played::default());
        let mut failover = Failover::new(vec![Box::new(first), Box::new(second.clone())], &Limits::default());
        let now = Instant::now();
        let mut batch = Batch::of(&[b"HEP3\0\x06"]);
        assert_eq!(failover.step(now, &mut batch).change, Some(Change::Lost(ErrorKind::ConnectionRefused)));
        failover.step(now, &mut batch);
        assert_eq!(failover.step(now, &mut batch).pause, Duration::from_millis(100));
        assert_eq!(batch.len(), 1);
    }
}
