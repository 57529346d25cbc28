//! Which partition a device belongs to: stable for ever, on every machine (docs/adr/0002).

use twox_hash::XxHash64;

/// The partition of `device_id` among `partitions`: XXH64 with seed 0, modulo.
///
/// All messages of a device are in one partition, and so in one order. `partitions` is fixed when a stream
/// is created; zero counts as one.
#[must_use]
pub fn of_device(device_id: &str, partitions: u32) -> u32 {
    let hash = XxHash64::oneshot(0, device_id.as_bytes());
    u32::try_from(hash % u64::from(partitions.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::of_device;

    #[test]
    fn the_hash_never_changes() {
        // Reference values from the xxHash specification's own implementation (python xxhash.xxh64_intdigest).
        assert_eq!(twox_hash::XxHash64::oneshot(0, b""), 0xEF46_DB37_51D8_E999);
        assert_eq!(twox_hash::XxHash64::oneshot(0, b"a"), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(of_device("a", 8), 3);
        assert_eq!(of_device("a", 1), 0);
        assert_eq!(of_device("a", 0), 0);
    }
}
