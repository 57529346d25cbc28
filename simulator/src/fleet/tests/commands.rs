//! Commands that devices take.

use super::*;

#[tokio::test]
async fn each_command_is_written_down_and_acknowledged_on_every_connection() {
    let folder = TempDir::new().unwrap();
    // Each of the first three connections ends with its fifth message.
    let broker = Broker::start(|Moment { connection, publish }| match publish {
        5 if connection <= 3 => Action::AckAndDrop,
        _ => Action::Ack,
    })
    .await;
    let file = folder.path().join("commands.csv");
    let config = FleetConfig { devices: 3, commands: Some(file.clone()), ..config(&folder, &broker) };
    let (summary, entries) = run_fleet(config, |progress| progress.commands.load(Ordering::SeqCst) >= 6).await;
    assert_eq!(summary.commands, 6);
    assert!(!entries.is_empty() && entries.iter().all(|entry| entry.acknowledged_at.is_some()));

    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("device,received_at,id"));
    let mut written: Vec<(String, u64)> = lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let (client, connection) = fields[2].split_once(" on ").unwrap();
            assert_eq!(fields[0], client);
            (client.to_owned(), connection.parse().unwrap())
        })
        .collect();
    written.sort();
    assert_eq!(written.len(), 6);
    let mut connections: Vec<u64> = written.iter().map(|(_, connection)| *connection).collect();
    connections.sort_unstable();
    assert_eq!(connections, [1, 2, 3, 4, 5, 6]);
    // What a device acknowledged is written; the last one's PUBACK may still be under way when it stops.
    let acknowledged = broker.commanded();
    assert!(acknowledged.len() >= 3);
    assert!(acknowledged.iter().all(|command| written.contains(command)));
}

#[tokio::test]
async fn without_the_file_nobody_subscribes_and_a_bad_topic_is_named() {
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(|_| Action::Ack).await;
    let enough = |progress: &Progress| progress.acknowledged_messages.load(Ordering::SeqCst) > 50;
    let (summary, _) = run_fleet(config(&folder, &broker), enough).await;
    assert_eq!((summary.commands, broker.commanded()), (0, vec![]));

    let bad = FleetConfig {
        commands: Some(folder.path().join("commands.csv")),
        commands_topic: "{room}/x".into(),
        ..config(&folder, &broker)
    };
    let (_running, stop) = watch::channel(false);
    let error = run(bad, SystemClock::shared(), stop, Arc::new(Progress::default())).await.unwrap_err();
    assert!(error.to_string().contains("{room}"), "{error}");
}
