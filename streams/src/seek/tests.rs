use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use telemetry::clock::ManualClock;

use super::*;
use crate::contract::{Append, StreamName, StreamSpec};
use crate::memory::MemoryStreams;

const BEGAN: Timestamp = Timestamp::from_micros(1_000_000);

/// A partition whose records were appended these seconds apart.
async fn appended(gaps: &[u64]) -> (Arc<MemoryStreams>, Partition, Vec<Timestamp>) {
    let clock = ManualClock::new(BEGAN);
    let spec = StreamSpec { name: StreamName::readings(), partitions: 1 };
    let (streams, of) = (MemoryStreams::new(vec![spec], clock.clone()), Partition::new(StreamName::readings(), 0));
    let mut times = Vec::new();
    for gap in gaps {
        clock.advance(Duration::from_secs(*gap));
        let append = Append::new(of.clone(), 1, Bytes::from_static(b"x"));
        streams.submit(vec![append]).await.unwrap().await.unwrap();
        times.push(BEGAN + clock_offset(gaps, times.len()));
    }
    (streams, of, times)
}

fn clock_offset(gaps: &[u64], index: usize) -> Duration {
    Duration::from_secs(gaps[..=index].iter().sum())
}

proptest! {
    #[test]
    fn the_first_record_of_a_time_is_found(gaps in prop::collection::vec(0..4_u64, 0..40), after in 0..120_u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (streams, of, times) = appended(&gaps).await;
            let time = BEGAN + Duration::from_secs(after);
            let expected = times.iter().take_while(|at| **at < time).count() as u64;
            prop_assert_eq!(at_time(streams.as_ref(), &of, time).await.unwrap(), expected);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn places_are_found_in_what_is_retained() {
    let (streams, of, _) = appended(&[1, 1, 1]).await;
    let at = async |place| offset(streams.as_ref(), &of, place).await;
    assert_eq!((at(Place::Beginning).await.unwrap(), at(Place::Now).await.unwrap()), (0, 3));
    assert_eq!((at(Place::Offset(3)).await.unwrap(), at(Place::Time(BEGAN)).await.unwrap()), (3, 0));
    assert!(matches!(at(Place::Offset(4)).await, Err(Error::OutOfRange { offset: 4, end: 3, .. })));
}
