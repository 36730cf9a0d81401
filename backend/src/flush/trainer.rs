//! Dictionaries made of what comes in: the first one soon, another after a day, or when what comes in has changed so much
//! that the one in use has become clearly worse. Training takes a second or two of a processor, on a thread of its own.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::store::Dictionary;
use crate::store::slice::Cut;
use crate::telemetry::clock;

/// Longest dictionary, octets. Twice as much gains a hundredth.
const DICTIONARY_BYTES: usize = 64 * 1024;

/// What the first dictionary is made of, octets, so that it is there soon; and every other.
const FIRST_SAMPLE_BYTES: usize = 2 << 20;
const SAMPLE_BYTES: usize = 6 << 20;

/// So many of these go to each of several flushes, so that no single moment decides.
const FLUSHES: usize = 4;

/// The shortest time from one training to the next: what bounds the processor time that they take.
const PAUSE: Duration = Duration::from_secs(300);

/// After so long a dictionary is looked at again, µs.
const AGE_US: i64 = 24 * 3600 * 1_000_000;

/// So many octets of slices' content tell how well a dictionary does.
const MEASURED_BYTES: usize = 16 << 20;

/// What it does this much worse than at first is clearly worse.
const WORSE: f64 = 1.25;

/// A new dictionary is taken up if it leaves no more than this part of what the one before does.
const BETTER: f64 = 0.97;

/// Makes dictionaries.
pub struct Trainer {
    current: Option<Arc<Dictionary>>,
    samples: Vec<u8>,
    lengths: Vec<usize>,
    /// Content and compressed octets since the last measurement.
    measuring: (usize, usize),
    /// Compressed part of the content, as first measured with the dictionary in use; and now.
    ratio: Option<(f64, f64)>,
    training: Option<JoinHandle<Option<Dictionary>>>,
    begun: Option<Instant>,
}

impl Trainer {
    /// Begins with this dictionary in use.
    pub fn new(current: Option<Arc<Dictionary>>) -> Self {
        Self {
            current,
            samples: Vec::new(),
            lengths: Vec::new(),
            measuring: (0, 0),
            ratio: None,
            training: None,
            begun: None,
        }
    }

    /// The dictionary in use; one that was trained meanwhile is taken up.
    pub fn dictionary(&mut self) -> Option<Arc<Dictionary>> {
        if let Some(training) = self.training.take_if(|training| training.is_finished())
            && let Ok(Some(dictionary)) = training.join()
        {
            tracing::info!(
                id = dictionary.id(),
                octets = dictionary.octets().len(),
                "a new dictionary is in use"
            );
            self.current = Some(Arc::new(dictionary));
            self.measuring = (0, 0);
            self.ratio = None;
        }
        self.current.clone()
    }

    /// How many octets of samples the next flush should bring.
    pub fn wanted_bytes(&self) -> usize {
        let goal = self.goal();
        if self.is_due() { (goal / FLUSHES).min(goal.saturating_sub(self.samples.len())) } else { 0 }
    }

    /// Takes a flush into account, and begins a training when there is enough to train with.
    pub fn see(&mut self, cut: &mut Cut) {
        self.measure(cut.content_bytes, cut.blob_bytes);
        self.samples.append(&mut cut.samples);
        self.lengths.append(&mut cut.lengths);
        if self.samples.len() < self.goal() || !self.is_due() {
            return;
        }
        let (samples, lengths) = (std::mem::take(&mut self.samples), std::mem::take(&mut self.lengths));
        let current = self.current.clone();
        self.begun = Some(Instant::now());
        let thread = std::thread::Builder::new().name("dictionary".into());
        match thread.spawn(move || train(&samples, &lengths, current.as_deref())) {
            Ok(training) => self.training = Some(training),
            Err(error) => tracing::error!(%error, "no thread to train a dictionary on"),
        }
    }

    fn measure(&mut self, content_bytes: usize, blob_bytes: usize) {
        let (content, blobs) = &mut self.measuring;
        *content += content_bytes;
        *blobs += blob_bytes;
        if *content >= MEASURED_BYTES {
            let now = *blobs as f64 / *content as f64;
            self.ratio = Some((self.ratio.map_or(now, |(first, _)| first), now));
            self.measuring = (0, 0);
        }
    }

    fn goal(&self) -> usize {
        if self.current.is_none() { FIRST_SAMPLE_BYTES } else { SAMPLE_BYTES }
    }

    /// Whether a dictionary should be made.
    fn is_due(&self) -> bool {
        if self.training.is_some() || self.begun.is_some_and(|begun| begun.elapsed() < PAUSE) {
            return false;
        }
        let Some(current) = &self.current else { return true };
        let is_old = clock::now_us().saturating_sub(current.made_at_us()) > AGE_US;
        is_old || self.ratio.is_some_and(|(first, now)| now > first * WORSE)
    }
}

/// Trains with most of the samples, and tries the result on the rest; nothing where it is no better than `current`.
fn train(samples: &[u8], lengths: &[usize], current: Option<&Dictionary>) -> Option<Dictionary> {
    // Whatever else there is to do on this machine comes first.
    if let Err(error) = rustix::process::setpriority_process(None, 10) {
        tracing::debug!(%error, "a dictionary is trained at normal priority");
    }
    let (to_train, to_try) = lengths.split_at(lengths.len() / 10 * 9);
    let (train_with, try_with) = samples.split_at_checked(to_train.iter().sum())?;
    let made = match Dictionary::train(train_with, to_train, DICTIONARY_BYTES, clock::now_us()) {
        Ok(made) => made,
        Err(error) => {
            tracing::warn!(%error, samples = lengths.len(), "a dictionary cannot be trained");
            return None;
        }
    };
    let before = compressed_bytes(try_with, to_try, current)?;
    let after = compressed_bytes(try_with, to_try, Some(&made))?;
    tracing::info!(
        before,
        after,
        content = try_with.len(),
        "a dictionary is trained; octets of samples without and with it"
    );
    ((after as f64) < before as f64 * BETTER).then_some(made)
}

fn compressed_bytes(samples: &[u8], lengths: &[usize], dictionary: Option<&Dictionary>) -> Option<usize> {
    let mut rest = samples;
    let mut bytes = 0;
    for length in lengths {
        let (sample, others) = rest.split_at_checked(*length)?;
        bytes += Dictionary::compressed_bytes(dictionary, sample)?;
        rest = others;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(from: usize) -> Cut {
        let slices: Vec<_> = (from..from + 5000)
            .map(|n| {
                format!(
                    "INVITE sip:{n}@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.{};branch=z9hG4bK{:x}\r\n\
                     From: <sip:{n}@example.net>;tag={:x}\r\nUser-Agent: Phone/1.{}\r\nAllow: INVITE, ACK, BYE, CANCEL\r\n\
                     Content-Type: application/sdp\r\n\r\nv=0\r\no=- {n} 1 IN IP4 192.0.2.1\r\nm=audio {n} RTP/AVP 0 8 101\r\n",
                    n % 99,
                    n * 7919,
                    n * 104_729,
                    n % 7,
                )
            })
            .collect();
        Cut {
            content_bytes: 0,
            samples: slices.concat().into_bytes(),
            lengths: slices.iter().map(String::len).collect(),
            ..Cut::default()
        }
    }

    fn wait_for(trainer: &mut Trainer) -> Option<Arc<Dictionary>> {
        let limit = Instant::now() + Duration::from_secs(60);
        while trainer.training.as_ref().is_some_and(|t| !t.is_finished()) && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(10));
        }
        trainer.dictionary()
    }

    #[test]
    fn the_first_dictionary_is_trained_soon_and_the_next_not_at_once() {
        let mut trainer = Trainer::new(None);
        let mut from = 0;
        while trainer.training.is_none() {
            assert!(trainer.wanted_bytes() > 0 && from < 100_000);
            trainer.see(&mut cut(from));
            from += 5000;
        }
        assert_eq!(trainer.wanted_bytes(), 0, "while one is trained");
        let made = wait_for(&mut trainer).expect("a dictionary");
        assert!(made.octets().len() <= DICTIONARY_BYTES);
        let Cut { samples, lengths, .. } = cut(1_000_000);
        let with = compressed_bytes(&samples, &lengths, Some(&made)).expect("sizes");
        let without = compressed_bytes(&samples, &lengths, None).expect("sizes");
        assert!(with * 2 < without, "{with} {without}");
        assert_eq!(trainer.wanted_bytes(), 0, "nothing is due");
    }

    #[test]
    fn another_is_due_after_a_day_or_when_it_has_become_worse_but_never_twice_in_a_while() {
        let Cut { samples, lengths, .. } = cut(0);
        let made = |at_us| Dictionary::train(&samples, &lengths, 16 * 1024, at_us).expect("a dictionary");
        let now_us = clock::now_us();
        let mut trainer = Trainer::new(Some(Arc::new(made(now_us - AGE_US / 2))));
        assert!(!trainer.is_due());
        trainer.current = Some(Arc::new(made(now_us - AGE_US - 1)));
        assert!(trainer.is_due());
        trainer.current = Some(Arc::new(made(now_us)));
        for (blobs, due) in [(10, false), (12, false), (13, true), (11, false)] {
            trainer.see(&mut Cut {
                content_bytes: MEASURED_BYTES,
                blob_bytes: MEASURED_BYTES / 100 * blobs,
                ..Cut::default()
            });
            assert_eq!(trainer.is_due(), due, "{blobs}");
        }
        trainer.measure(MEASURED_BYTES, MEASURED_BYTES);
        trainer.begun = Some(Instant::now());
        assert!(!trainer.is_due());
        trainer.begun = Instant::now().checked_sub(PAUSE);
        assert!(trainer.is_due());
    }

    #[test]
    fn a_dictionary_that_is_no_better_is_not_taken_up() {
        let Cut { samples, lengths, .. } = cut(0);
        let made = train(&samples, &lengths, None).expect("better than none");
        assert!(train(&samples, &lengths, Some(&made)).is_none());
    }
}
