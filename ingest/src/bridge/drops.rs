//! What the broker says that it dropped.

/// Where Mosquitto tells how many messages it dropped since it started, every `sys_interval` seconds.
pub(super) const TOPIC: &str = "$SYS/broker/publish/messages/dropped";

/// The broker's count, as last told.
#[derive(Debug, Default)]
pub(super) struct Drops {
    last: i64,
}

impl Drops {
    /// Takes what the broker says; gives back its count, and by how much it grew. A count below the last one is that of
    /// a broker that was started anew. Nothing if the payload is no count.
    pub(super) fn told(&mut self, payload: &[u8]) -> Option<(i64, i64)> {
        let count: i64 = std::str::from_utf8(payload).ok()?.trim().parse().ok().filter(|count| *count >= 0)?;
        let before = if count < self.last { 0 } else { self.last };
        self.last = count;
        Some((count, count - before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_seen_also_after_a_restart_of_the_broker() {
        let mut drops = Drops::default();
        assert_eq!(drops.told(b"0"), Some((0, 0)));
        assert_eq!(drops.told(b"44024"), Some((44_024, 44_024)));
        assert_eq!(drops.told(b"44024"), Some((44_024, 0)));
        assert_eq!(drops.told(b"3"), Some((3, 3)));
        for nonsense in [&b"-1"[..], b"", b"many", b"\xFF"] {
            assert_eq!(drops.told(nonsense), None);
        }
    }
}
