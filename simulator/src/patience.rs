//! How long a device waits for a connection that says nothing.

use std::time::Duration;

/// Told to the server, which gives up on us after one and a half of it.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// What a device waits if nobody says otherwise.
pub(crate) const USUAL: Duration = Duration::from_secs(30);
/// The shortest patience: below it a busy server would never get to answer.
pub(crate) const SHORTEST: Duration = Duration::from_millis(100);
/// From the first SYN to CONNACK, at most.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection may say nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Wait for the answer to a connect.
    pub(crate) connect: Duration,
    /// Silence before a ping.
    pub(crate) ping_after: Duration,
    /// Silence before a new connection.
    pub(crate) silence: Duration,
    /// Wait for any acknowledgement before a new connection: a server may have lost track of us.
    pub(crate) acknowledgement: Duration,
}

impl Patience {
    /// Gives a connection up after `patience` of silence, or without acknowledgement. A ping goes out in time for
    /// its answer, and for the server to know that we live.
    pub(crate) fn of(patience: Duration) -> Self {
        Self {
            connect: patience.min(CONNECT),
            ping_after: (patience * 2 / 3).min(KEEP_ALIVE / 3),
            silence: patience,
            acknowledgement: patience,
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::of(USUAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_leaves_time_for_its_answer_and_keeps_the_server_from_giving_up() {
        let seconds = Duration::from_secs;
        for patience in [SHORTEST, seconds(1), USUAL, seconds(3600)] {
            let Patience { connect, ping_after, silence, acknowledgement } = Patience::of(patience);
            assert_eq!((silence, acknowledgement), (patience, patience));
            assert!(connect <= patience && ping_after < patience && ping_after < KEEP_ALIVE);
        }
        assert_eq!(Patience::default().ping_after, seconds(20));
    }
}
