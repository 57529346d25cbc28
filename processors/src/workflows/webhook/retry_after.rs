//! The header `Retry-After`.

use std::time::Duration;

use chrono::DateTime;
use telemetry::Timestamp;

use crate::workflows::outside::limits;

/// The pause that `value` asks for, seconds or an HTTP date; `None` if it is neither.
pub(super) fn pause(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let pause = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are more seconds than are waited.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = DateTime::parse_from_rfc2822(value).ok()?;
        Timestamp::from_micros(date.timestamp_micros()).since(now)
    };
    Some(pause.min(limits::RETRY_AFTER))
}
