use std::time::Duration;

use telemetry::Timestamp;
use telemetry::clock::ManualClock;

use super::*;
use crate::workflows::outside::testing::{NEW_YEAR, StubDevices, attempt, clock, mqtt, plan};

async fn ends(answer: Result<(), CommandError>) -> (Outcome, Vec<Command>) {
    let endpoint = StubDevices::new(answer);
    let target = ConnectedDevices::new(endpoint.clone(), clock());
    let outcome = target.attempt(&attempt(plan(mqtt("{site}/{device_id}/set", None), Some("off")))).await;
    let sent = endpoint.sent.lock().unwrap().clone();
    (outcome, sent)
}

#[tokio::test]
async fn a_command_goes_to_its_topic_with_its_key_and_what_is_left_of_its_life() {
    let (outcome, sent) = ends(Ok(())).await;
    assert_eq!(outcome, Outcome::Done("acknowledged by the device".to_owned()));
    let expected = Command {
        topic: "hall-1/oven-1/set".into(),
        payload: "off".into(),
        key: "00112233445566778899aabbccddeeff-0".into(),
        expiry: Duration::from_secs(58),
        trace: None,
    };
    assert_eq!(sent, vec![expected]);
}

#[tokio::test]
async fn who_is_away_is_waited_for_and_who_hangs_up_does_not_count_against_all() {
    assert_eq!(ends(Err(CommandError::Absent)).await.0, Outcome::Absent { topic: "hall-1/oven-1/set".into() });
    let lost = ends(Err(CommandError::Lost)).await.0;
    assert!(matches!(lost, Outcome::Busy { after: None, .. }), "{lost:?}");
    let refused = ends(Err(CommandError::Refused("packet too large".to_owned()))).await.0;
    assert_eq!(refused, Outcome::Refused("packet too large".to_owned()));
}

#[tokio::test]
async fn after_its_time_to_live_a_command_is_not_sent() {
    let endpoint = StubDevices::new(Ok(()));
    let clock = ManualClock::new(Timestamp::from_micros(NEW_YEAR + 1_500_000));
    let target = ConnectedDevices::new(endpoint.clone(), clock.clone());
    let attempt = attempt(plan(mqtt("x", None), None));
    clock.advance(Duration::from_secs(59));
    assert!(matches!(target.attempt(&attempt).await, Outcome::Done(_)));
    clock.advance(Duration::from_secs(1));
    assert_eq!(target.attempt(&attempt).await, Outcome::Refused("time to live of 60s is over".to_owned()));
    assert_eq!(endpoint.sent.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_topic_that_cannot_be_is_refused() {
    let endpoint = StubDevices::new(Ok(()));
    let target = ConnectedDevices::new(endpoint.clone(), clock());
    let outcome = target.attempt(&attempt(plan(mqtt("{value_text}", None), None))).await;
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    assert!(endpoint.sent.lock().unwrap().is_empty());
}
