use prometheus::Registry;
use telemetry::Timestamp;
use telemetry::clock::ManualClock;

use super::*;

fn bounds() -> (Bounds, Place, Arc<ManualClock>) {
    let clock = ManualClock::new(Timestamp::from_micros(0));
    let metrics = FluvioMetrics::register(&Registry::new()).unwrap();
    let place: Place = ("weir-readings".into(), 0);
    (Bounds::new([place.clone()], clock.clone(), metrics), place, clock)
}

#[test]
fn ends_rise_with_what_is_told_and_found() {
    let (bounds, place, _clock) = bounds();
    let mut changed = bounds.changed();
    bounds.told(&place, 3..10);
    assert_eq!(bounds.of(&place), Some(3..10));
    assert!(changed.has_changed().unwrap());
    changed.borrow_and_update();
    bounds.raise(&place, 12);
    bounds.raise(&place, 11);
    assert_eq!(bounds.of(&place), Some(3..12));
    assert!(changed.has_changed().unwrap());
    assert_eq!(bounds.of(&("weir-readings".into(), 1)), None);
}

#[test]
fn a_lower_end_is_believed_only_when_insisted_upon() {
    let (bounds, place, clock) = bounds();
    bounds.told(&place, 0..10);
    bounds.told(&place, 0..7);
    assert_eq!(bounds.of(&place), Some(0..10), "a leader that has just started does not know its end yet");
    clock.advance(LOWER_END);
    bounds.told(&place, 0..10);
    bounds.told(&place, 0..7);
    assert_eq!(bounds.of(&place), Some(0..10), "patience begins anew when it knew better in between");
    clock.advance(LOWER_END);
    bounds.told(&place, 0..7);
    assert_eq!(bounds.of(&place), Some(0..7));
    assert_eq!(bounds.metrics.went_back.with_label_values(&["weir-readings"]).get(), 1);
}

#[test]
fn partitions_count_as_read_for_a_while() {
    let (bounds, place, clock) = bounds();
    assert_eq!(bounds.places(true), std::slice::from_ref(&place));
    assert_eq!(bounds.places(false), []);
    bounds.wanted(&place);
    assert_eq!(bounds.places(false), [place]);
    clock.advance(READ_LATELY);
    assert_eq!(bounds.places(false), []);
}
