use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use telemetry::clock::SystemClock;
use tempfile::TempDir;

use super::*;
use crate::broker::{Action, Broker, Moment};
use crate::payload;

/// This many messages, due at once.
struct Burst(i64);

impl Source for Burst {
    fn due(&self) -> Option<Duration> {
        (self.0 > 0).then_some(Duration::ZERO)
    }

    fn write(&mut self, seq: i64, payload: &mut String) -> u32 {
        self.0 -= 1;
        payload::senml_start(payload, "pump-1", None, 1, seq);
        payload::senml_reading(payload, "\"level\"", None, None, 0.5);
        payload::senml_end(payload);
        1
    }
}

struct Outcome {
    progress: Arc<Progress>,
    /// Sequence number, and whether it was acknowledged.
    ledger: Vec<(i64, bool)>,
    /// Connection and sequence number, as the server got them.
    received: Vec<(u64, i64)>,
}

async fn publish(count: i64, in_flight: usize, patience: Patience, script: fn(Moment) -> Action) -> Outcome {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger.csv");
    let broker = Broker::start(script).await;
    let progress = Arc::new(Progress::default());
    let run = Arc::new(Run {
        mqtt: broker.address.clone(),
        clock: SystemClock::shared(),
        progress: Arc::clone(&progress),
        until: None,
        drain: Duration::from_secs(60),
        patience,
    });
    let (_running, stop) = watch::channel(false);
    let ledger = ledger::Writer::open(&path).unwrap();
    let device = Device { name: "pump-1".into(), topic: "hall/pump-1/telemetry".into(), boot: 1 };
    let backoff = Backoff::new(ChaCha8Rng::seed_from_u64(1));
    let publisher = Publisher::new(run, stop, ledger.sender(), device, Burst(count), in_flight, backoff);
    publisher.run(Duration::ZERO).await.unwrap();
    ledger.finish().await.unwrap();
    let entries = ledger::read(&path).unwrap().map(Result::unwrap);
    let received = broker.received();
    Outcome {
        progress,
        ledger: entries.map(|entry| (entry.seq, entry.acknowledged_at.is_some())).collect(),
        received: received.iter().map(|received| (received.connection, received.identity().seq)).collect(),
    }
}

fn all(count: i64) -> Vec<(i64, bool)> {
    (1..=count).map(|seq| (seq, true)).collect()
}

#[tokio::test]
async fn what_a_lost_connection_left_open_is_sent_again_before_anything_new() {
    // The third message of each of the first ten connections is lost with the connection.
    let script = |Moment { connection, publish }| match publish {
        3 if connection <= 10 => Action::Drop,
        _ => Action::Ack,
    };
    let outcome = publish(40, 5, Patience::default(), script).await;
    assert_eq!(outcome.ledger, all(40));
    assert_eq!(outcome.progress.reconnects.load(Ordering::SeqCst), 10);
    for connection in 1..=11 {
        let first = outcome.received.iter().find(|(on, _)| *on == connection).unwrap().1;
        // Two were acknowledged on each connection before, unless the answer was lost with it.
        assert!(first < 2 * i64::try_from(connection).unwrap(), "{first} on connection {connection}");
    }
    let on_last: Vec<i64> = outcome.received.iter().filter(|(on, _)| *on == 11).map(|(_, seq)| *seq).collect();
    assert!(on_last.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert_eq!(on_last.last(), Some(&40));
}

#[tokio::test]
async fn acknowledgements_out_of_order_are_taken_as_they_come() {
    let script =
        |moment: Moment| if moment.publish.is_multiple_of(8) { Action::AckAndRelease } else { moment_hold(moment) };
    let outcome = publish(64, 8, Patience::default(), script).await;
    let mut sorted = outcome.ledger.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, all(64));
    assert_ne!(outcome.ledger, sorted);
    assert_eq!(outcome.received.len(), 64);
}

fn moment_hold(moment: Moment) -> Action {
    if moment.publish == 0 { Action::Ack } else { Action::Hold }
}

#[tokio::test]
async fn acknowledgements_of_an_earlier_connection_count_for_nothing() {
    // The second connection answers the connect, and at once acknowledges what the first one had open.
    let script = |Moment { connection, publish }| match (connection, publish) {
        (1, 4) => Action::Drop,
        (1, 1..) => Action::Withhold,
        (2, 0) => Action::AckAndStrays(4),
        _ => Action::Ack,
    };
    let outcome = publish(4, 4, Patience::default(), script).await;
    let mut sorted = outcome.ledger.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, all(4));
    let again: Vec<i64> = outcome.received.iter().filter(|(on, _)| *on == 2).map(|(_, seq)| *seq).collect();
    assert_eq!(again, [1, 2, 3, 4]);
    assert!(outcome.progress.stray_acknowledgements.load(Ordering::SeqCst) > 0);
    assert_eq!(outcome.progress.acknowledged_messages.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_server_that_stops_acknowledging_is_left_and_asked_again() {
    let patience = Patience { acknowledgement: Duration::from_millis(200), ..Patience::default() };
    let script = |Moment { connection, publish }| match (connection, publish) {
        (1, 3..) => Action::Withhold,
        _ => Action::Ack,
    };
    let outcome = publish(6, 6, patience, script).await;
    assert_eq!(outcome.ledger, all(6));
    let again: Vec<i64> = outcome.received.iter().filter(|(on, _)| *on == 2).map(|(_, seq)| *seq).collect();
    assert_eq!(again, [3, 4, 5, 6]);
}

#[tokio::test]
async fn a_silent_connection_is_pinged_and_lives() {
    let patience = Patience {
        ping_after: Duration::from_millis(1),
        silence: Duration::from_secs(60),
        acknowledgement: Duration::from_millis(200),
    };
    let script = |Moment { connection, publish }| match (connection, publish) {
        (1, 1..) => Action::Withhold,
        _ => Action::Ack,
    };
    let outcome = publish(1, 1, patience, script).await;
    // Pings were answered all the time, so the connection lived until patience with the acknowledgement ended.
    assert_eq!(outcome.ledger, all(1));
    assert_eq!(outcome.progress.reconnects.load(Ordering::SeqCst), 1);
}
