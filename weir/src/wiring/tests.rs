//! What is done before the door opens.

use streams::Partition;
use streams::Position;
use telemetry::clock::SystemClock;

use super::*;

#[tokio::test]
async fn every_group_holds_the_log_before_anything_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.data.dir = dir.path().to_owned();
    config.streams.emit = vec!["maintenance".to_owned()];
    let (registry, clock) = (Registry::new(), SystemClock::shared());
    let log = open_log(&config, Behind::Everything, &registry, clock.clone()).unwrap();
    let metrics = ConsumerMetrics::register(&registry).unwrap();
    let context = consume::Context { streams: log.clone(), clock, metrics };
    let (_sender, rules) = watch::channel(Arc::new(RuleSet::empty()));
    let consumers = Consumers::open(&config, rules, context, &registry, Connected::default()).await.unwrap();
    for (group, stream) in [
        ("rules", StreamName::readings()),
        ("workflows", StreamName::workflows()),
        ("sink/maintenance", StreamName::new("maintenance").unwrap()),
        ("sink/readings", StreamName::readings()),
        ("sink/alerts", StreamName::alerts()),
    ] {
        for index in 0..config.streams.partitions {
            let position = log.position(&group.into(), &Partition::new(stream.clone(), index)).await.unwrap();
            assert_eq!(position, Some(Position::default()), "{group} of {stream}/{index}");
        }
    }
    drop(consumers);
}

#[tokio::test]
async fn a_damaged_table_is_found_before_the_port_listens() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.data.dir = dir.path().to_owned();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    (config.mqtt.listen, config.http.listen) = (free(), free());
    let commits = table(&config, "readings").join("_delta_log");
    std::fs::create_dir_all(&commits).unwrap();
    std::fs::write(commits.join("00000000000000000000.json"), "no commit\n").unwrap();
    let started = Pipeline::start(&config, RuleSet::empty(), Behind::Everything, SystemClock::shared()).await;
    assert!(started.is_err());
    // Nobody has the port: had the door been open, its thread would still hold it.
    assert!(std::net::TcpListener::bind(config.mqtt.listen).is_ok());
}
