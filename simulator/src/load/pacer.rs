//! The schedule of an open loop, and the thread that keeps it: the runtime's own timers are a millisecond or two
//! late, which is as long as the latencies to be measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use telemetry::Clock;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// When message `number` of all connections is due. Connections take turns, so that the server sees an even flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub(super) start: Duration,
    /// Messages a second.
    pub(super) rate: f64,
    pub(super) connections: u32,
}

impl Schedule {
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^53 messages")]
    fn due(&self, number: u64) -> Duration {
        let after = Duration::try_from_secs_f64(number as f64 / self.rate).unwrap_or(Duration::MAX);
        self.start.saturating_add(after)
    }

    /// When message `number` of one connection is due.
    pub(super) fn due_on(&self, connection: u32, number: u64) -> Duration {
        self.due(number.saturating_mul(u64::from(self.connections)).saturating_add(u64::from(connection)))
    }
}

/// Wakes each connection when its next message is due, until it is dropped.
pub(super) struct Pacer {
    over: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// The longest a pacer sleeps without a look at whether it is over.
const LONGEST_SLEEP: Duration = Duration::from_millis(20);

impl Pacer {
    pub(super) fn start(schedule: Schedule, clock: Arc<dyn Clock>, wakers: Vec<Arc<Notify>>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let task = tokio::task::spawn_blocking(move || keep(schedule, &*clock, &wakers, &seen));
        Self { over, task }
    }

    /// Ends the thread.
    pub(super) async fn finish(mut self) -> Result<(), tokio::task::JoinError> {
        self.over.store(true, Ordering::Relaxed);
        (&mut self.task).await
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn keep(schedule: Schedule, clock: &dyn Clock, wakers: &[Arc<Notify>], over: &AtomicBool) {
    let turns = (0_u64..).zip(wakers.iter().cycle());
    for (number, waker) in turns {
        let due = schedule.due(number);
        loop {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let now = clock.monotonic();
            if due <= now {
                break;
            }
            std::thread::park_timeout((due - now).min(LONGEST_SLEEP));
        }
        waker.notify_one();
    }
}
