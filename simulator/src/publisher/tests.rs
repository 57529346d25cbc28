use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use telemetry::clock::SystemClock;
use tempfile::TempDir;

use super::*;
use crate::backoff;
use crate::broker::{Action, Broker, Moment};
use crate::ledger;
use crate::payload;
use crate::witness::Writers;

/// This many messages, due at once.
struct Burst(i64);

impl Source for Burst {
    fn due(&self) -> Option<Duration> {
        (self.0 > 0).then_some(Duration::ZERO)
    }

    fn boot(&self) -> i64 {
        1
    }

    fn write(&mut self, seq: i64, payload: &mut String, _: Option<&mut String>) -> u32 {
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
    entries: Vec<Entry>,
    /// Connection and sequence number, as the server got them.
    received: Vec<(u64, i64)>,
    /// The same with boot and sequence number.
    identities: Vec<(u64, (i64, i64))>,
}

async fn publish(count: i64, in_flight: usize, patience: Patience, script: fn(Moment) -> Action) -> Outcome {
    publish_from(Burst(count), in_flight, patience, script).await
}

async fn publish_from(
    source: impl Source,
    in_flight: usize,
    patience: Patience,
    script: fn(Moment) -> Action,
) -> Outcome {
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
    let witness = Writers::open(&path, None, None).unwrap();
    let device = Device { name: "pump-1".into(), topic: "hall/pump-1/telemetry".into(), commands: None };
    let random = ChaCha8Rng::seed_from_u64(1);
    let backoff = Backoff::new(backoff::USUAL_LONGEST, random.clone());
    let habits = Habits { in_flight, backoff, mischief: Mischief::new(0.0, random) };
    let publisher = Publisher::new(run, stop, witness.senders(), device, source, habits);
    assert!(publisher.run(Duration::ZERO).await.is_ok());
    witness.finish().await.unwrap();
    let entries: Vec<Entry> = ledger::read(&path).unwrap().map(Result::unwrap).collect();
    let received = broker.received();
    let identities = received.iter().map(|received| {
        let telemetry::Identity { boot, seq } = received.identity();
        (received.connection, (boot, seq))
    });
    Outcome {
        progress,
        ledger: entries.iter().map(|entry| (entry.seq, entry.acknowledged_at.is_some())).collect(),
        identities: identities.collect(),
        entries,
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
        ..Patience::default()
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

/// A device that restarts after each third message.
struct Restarting(i64);

impl Source for Restarting {
    fn due(&self) -> Option<Duration> {
        (self.0 < 12).then_some(Duration::ZERO)
    }

    fn boot(&self) -> i64 {
        7 + self.0 / 3
    }

    fn write(&mut self, seq: i64, payload: &mut String, _: Option<&mut String>) -> u32 {
        payload::senml_start(payload, "pump-1", None, self.boot(), seq);
        payload::senml_reading(payload, "\"level\"", None, None, 0.5);
        payload::senml_end(payload);
        self.0 += 1;
        1
    }
}

#[tokio::test]
async fn a_device_that_restarts_resends_what_was_open_and_begins_with_one() {
    // The first connection acknowledges nothing, and is lost with the restart.
    let script = |Moment { connection, publish }| match (connection, publish) {
        (1, 1..) => Action::Withhold,
        _ => Action::Ack,
    };
    let outcome = publish_from(Restarting(0), 8, Patience::default(), script).await;
    let expected: Vec<(i64, i64)> = (7..=10).flat_map(|boot| (1..=3).map(move |seq| (boot, seq))).collect();
    let mut acknowledged: Vec<(i64, i64)> = outcome.entries.iter().map(|entry| (entry.boot, entry.seq)).collect();
    assert!(outcome.entries.iter().all(|entry| entry.acknowledged_at.is_some()));
    acknowledged.sort_unstable();
    assert_eq!(acknowledged, expected);
    assert_eq!(outcome.progress.restarts.load(Ordering::SeqCst), 3);
    assert_eq!(outcome.progress.reconnects.load(Ordering::SeqCst), 3);
    // Each boot in order on each connection, and never one before what an earlier boot left open.
    for connection in 1..=4 {
        let on: Vec<(i64, i64)> =
            outcome.identities.iter().filter(|(c, _)| *c == connection).map(|(_, i)| *i).collect();
        assert!(on.is_sorted(), "{on:?}");
    }
}
