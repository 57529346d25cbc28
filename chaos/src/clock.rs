//! Time for the harness: it measures, and lets time pass where a fault must come at a moment of its own.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// From when [`micros`] counts.
static START: LazyLock<Instant> = LazyLock::new(now);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(2);

/// Now, to measure from.
#[expect(clippy::disallowed_methods, reason = "the harness stands outside Weir and measures it")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Time since `began`.
pub(crate) fn since(began: Instant) -> Duration {
    now().saturating_duration_since(began)
}

/// Microseconds since somebody asked first, to compare what different threads wrote down.
pub(crate) fn micros() -> u64 {
    let start = *START;
    u64::try_from(since(start).as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds since the Unix epoch, to compare with what devices wrote down.
#[expect(clippy::disallowed_methods, reason = "the devices of the harness tell the time of the machine")]
pub(crate) fn wall_micros() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

/// Lets time pass.
#[expect(clippy::disallowed_methods, reason = "a fault comes at a moment of its own")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Waits until `found` gives something; `None` after `patience`.
pub(crate) fn wait_for<T>(patience: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let began = now();
    loop {
        if let Some(found) = found() {
            return Some(found);
        }
        if since(began) >= patience {
            return None;
        }
        pause(POLL);
    }
}
