//! One client takes what the broker has gathered for it.

use std::time::Duration;

/// What is to be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) messages: u64,
    pub(super) readings_per_message: usize,
}

/// How it went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drained {
    /// Messages after the first look, and the time they took.
    pub(super) messages: u64,
    pub(super) time: Duration,
    /// All readings, from the start of the process until it has ended with everything in the table. Nothing of a bare
    /// subscriber.
    pub(super) stored: Option<(u64, Duration)>,
    /// Readings that all of it was.
    pub(super) readings: u64,
    pub(super) cpu_seconds: f64,
    pub(super) broker_cpu_seconds: f64,
    pub(super) peak_bytes: Option<u64>,
}

/// Rounds by client, in the order in which clients came first.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    clients: Vec<(&'static str, Vec<Drained>)>,
}

impl Taken {
    pub(super) fn new(messages: u64, readings_per_message: usize) -> Self {
        Self { messages, readings_per_message }
    }

    /// Readings in it.
    pub(super) fn readings(self) -> u64 {
        self.messages * self.readings_per_message as u64
    }
}

impl Drained {
    pub(super) fn messages_per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count of messages")]
        let messages = self.messages as f64;
        messages / self.time.as_secs_f64()
    }
}

impl Rounds {
    pub(super) fn add(&mut self, client: &'static str, drained: Drained) {
        match self.clients.iter_mut().find(|(name, _)| *name == client) {
            Some((_, rounds)) => rounds.push(drained),
            None => self.clients.push((client, vec![drained])),
        }
    }

    /// The round of each client whose rate is the median, the lower of two.
    pub(super) fn medians(mut self) -> Vec<(&'static str, Drained)> {
        let median = |rounds: &mut Vec<Drained>| {
            rounds.sort_by(|a, b| a.messages_per_second().total_cmp(&b.messages_per_second()));
            rounds.get((rounds.len() - 1) / 2).copied()
        };
        self.clients.iter_mut().filter_map(|(name, rounds)| Some((*name, median(rounds)?))).collect()
    }
}
