//! When to ping, and when a silent broker is given up. Time is an argument; it is looked at a tick at a time.

use std::time::Duration;

use super::problem::Problem;

/// Between two looks: a fourth of what is measured, and often enough to end soon when told to.
const LONGEST_PERIOD: Duration = Duration::from_secs(1);
const SHORTEST_PERIOD: Duration = Duration::from_millis(5);

/// What the watchdog sees at a tick.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Whether the connection is being read. If not, silence is our own.
    pub(super) reading: bool,
    /// Whether bytes wait to be written.
    pub(super) unwritten: bool,
    /// Whether an answer to SUBSCRIBE has not come.
    pub(super) ungranted: bool,
}

/// The times of one connection, since some fixed start.
#[derive(Debug)]
pub(super) struct Watchdog {
    patience: Duration,
    keep_alive: Duration,
    /// Since the last tick.
    read: bool,
    written: bool,
    heard: Duration,
    sent: Duration,
    /// When the answer we wait for was asked for.
    pinged: Option<Duration>,
    subscribed: Duration,
    stuck: Option<Duration>,
}

impl Watchdog {
    pub(super) fn new(now: Duration, patience: Duration, keep_alive: Duration) -> Self {
        Self {
            patience,
            keep_alive,
            read: false,
            written: false,
            heard: now,
            sent: now,
            pinged: None,
            subscribed: now,
            stuck: None,
        }
    }

    /// How often to call [`Watchdog::tick`].
    pub(super) fn period(&self) -> Duration {
        (self.patience.min(self.keep_alive) / 4).clamp(SHORTEST_PERIOD, LONGEST_PERIOD)
    }

    /// Something was read, or written.
    pub(super) fn moved(&mut self, read: bool, written: bool) {
        self.read |= read;
        self.written |= written;
    }

    /// The answer to a ping came.
    pub(super) fn pong(&mut self) {
        self.pinged = None;
    }

    /// Whether to ping now.
    ///
    /// # Errors
    /// The broker owes us something and has been silent for too long.
    pub(super) fn tick(&mut self, now: Duration, seen: Seen) -> Result<bool, Problem> {
        if std::mem::take(&mut self.read) || !seen.reading {
            self.heard = now;
        }
        if !seen.reading {
            self.subscribed = now;
        }
        if std::mem::take(&mut self.written) {
            self.sent = now;
            self.stuck = None;
        }
        self.check(now, seen)?;
        let quiet = self.keep_alive / 4 * 3;
        let idle = self.pinged.is_none() && now.saturating_sub(self.heard) >= quiet;
        let ping = (idle || now.saturating_sub(self.sent) >= quiet) && !seen.unwritten;
        if ping {
            self.sent = now;
            self.pinged.get_or_insert(now);
        }
        Ok(ping)
    }

    fn check(&mut self, now: Duration, seen: Seen) -> Result<(), Problem> {
        if seen.unwritten {
            let since = *self.stuck.get_or_insert(now);
            if now.saturating_sub(since) >= self.patience {
                return Err(Problem::Stuck(self.patience));
            }
        } else {
            self.stuck = None;
        }
        if seen.ungranted && now.saturating_sub(self.subscribed) >= self.patience {
            return Err(Problem::NoAnswer { to: "subscribe", within: self.patience });
        }
        match self.pinged {
            Some(pinged) if now.saturating_sub(pinged.max(self.heard)) >= self.patience => {
                Err(Problem::Silent(self.patience))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READING: Seen = Seen { reading: true, unwritten: false, ungranted: false };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn watchdog() -> Watchdog {
        Watchdog::new(at(0), at(10), at(20))
    }

    #[test]
    fn a_quiet_connection_is_pinged_and_given_up_only_without_an_answer() {
        let mut watchdog = watchdog();
        assert!(!watchdog.tick(at(14), READING).unwrap());
        assert!(watchdog.tick(at(15), READING).unwrap());
        assert!(!watchdog.tick(at(24), READING).unwrap(), "one ping at a time");
        watchdog.pong();
        watchdog.moved(true, false);
        assert!(!watchdog.tick(at(26), READING).unwrap());
        assert!(watchdog.tick(at(30), READING).unwrap(), "nothing was sent since 15");
        assert!(matches!(watchdog.tick(at(40), READING), Err(Problem::Silent(_))));
    }

    #[test]
    fn messages_are_signs_of_life_also_while_a_ping_waits() {
        let mut watchdog = watchdog();
        assert!(watchdog.tick(at(15), READING).unwrap());
        for second in 16..60 {
            watchdog.moved(true, true);
            watchdog.tick(at(second), READING).unwrap();
        }
    }

    #[test]
    fn while_we_do_not_read_silence_is_our_own_and_pings_go_on() {
        let mut watchdog = watchdog();
        let paused = Seen { reading: false, unwritten: false, ungranted: true };
        let pings = (0..200).filter(|second| watchdog.tick(at(*second), paused).unwrap()).count();
        assert!(pings >= 10, "{pings} pings in 200 s");
        watchdog.tick(at(205), READING).unwrap();
        assert!(matches!(watchdog.tick(at(209), READING), Err(Problem::Silent(_))), "10 s after it was read last");
    }

    #[test]
    fn answers_to_subscribe_and_room_for_what_is_written_are_waited_for() {
        let ungranted = Seen { ungranted: true, ..READING };
        let mut waiting = watchdog();
        waiting.moved(true, true);
        waiting.tick(at(9), ungranted).unwrap();
        waiting.moved(true, true);
        assert!(matches!(waiting.tick(at(10), ungranted), Err(Problem::NoAnswer { .. })));

        let unwritten = Seen { unwritten: true, ..READING };
        let mut stuck = watchdog();
        for (second, written) in [(1, false), (10, true), (11, false), (19, false)] {
            stuck.moved(true, written);
            stuck.tick(at(second), unwritten).unwrap();
        }
        assert!(matches!(stuck.tick(at(20), unwritten), Err(Problem::Stuck(_))));
    }
}
