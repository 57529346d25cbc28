//! How old the oldest reading of a commit was when it was in the table.

use std::time::Duration;

use streams::consume::Effect;

use super::support::{Fixture, HOUR, START, batch, delivered, passed, row};

fn freshness(fixture: &Fixture) -> (u64, f64) {
    let families = fixture.registry.gather();
    let family = families.iter().find(|family| family.name() == "weir_sink_freshness_seconds").unwrap();
    let histogram = family.get_metric()[0].get_histogram();
    (histogram.get_sample_count(), histogram.get_sample_sum())
}

#[tokio::test]
async fn freshness_is_told_of_the_oldest_reading_by_when_it_was_received() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    assert_eq!(freshness(&fixture), (0, 0.0), "there from the start");
    fixture.clock.advance(Duration::from_secs(2));
    // What the device says of its time does not matter.
    sink.apply(delivered(0, 0, batch(&[row("a", START - HOUR, 1)]))).await.unwrap();
    fixture.clock.advance(Duration::from_millis(500));
    sink.apply(delivered(1, 0, batch(&[row("b", START, 1)]))).await.unwrap();
    sink.flush(&passed(&[(0, 1), (1, 1)])).await.unwrap();
    assert_eq!(freshness(&fixture), (1, 2.5));
    // A commit of positions alone has nothing that could be old.
    sink.flush(&passed(&[(0, 2), (1, 1)])).await.unwrap();
    assert_eq!(freshness(&fixture), (1, 2.5));
}
