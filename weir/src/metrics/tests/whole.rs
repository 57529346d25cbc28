//! A process with everything in it that shows metrics: door, bridge, rules, workflows, tables, and those of a cluster;
//! or a stage apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use processors::RuleSet;
use prometheus::Registry;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use telemetry::clock::SystemClock;
use telemetry::{Clock, Timestamp};
use tempfile::TempDir;

use crate::config::{Config, Subscription};
use crate::ports::free_address;
use crate::wiring::{Pipeline, Role};

const RULES: &str = "[[rule]]\nid = \"hot\"\nwhen = \"metric = 'temperature' AND value > 80\"\nseverity = \"warning\"\n\
                     message = \"{value}\"\n[[rule.step]]\nlog = true\n";

/// The process.
pub(super) struct Whole {
    pipeline: Pipeline,
    clock: Arc<Ahead>,
    _dir: TempDir,
}

/// The time, or a minute later, once somebody says so.
#[derive(Debug)]
struct Ahead {
    clock: Arc<dyn Clock>,
    micros: AtomicI64,
}

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.now().as_micros() + self.micros.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

impl Whole {
    pub(super) async fn start(role: Role) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.data.dir = dir.path().join("data");
        let free = || free_address().unwrap();
        (config.mqtt.listen, config.http.listen) = (free(), free());
        config.sink.roll_age_seconds = 0.1;
        config.rules.file = dir.path().join("rules.toml");
        std::fs::write(&config.rules.file, RULES).unwrap();
        // Nobody is there, which the bridge takes as it comes.
        config.bridge.url = format!("mqtt://{}", free());
        let filter = Subscription {
            filter: "devices/#".to_owned(),
            share: String::new(),
            topic_template: String::new(),
            format: crate::config::Format::Auto,
        };
        config.bridge.subscriptions = vec![filter];
        let rules = RuleSet::load(&config.rules.file).unwrap();
        let clock = Arc::new(Ahead { clock: SystemClock::shared(), micros: AtomicI64::new(0) });
        let pipeline = Pipeline::start(&config, rules, &role, clock.clone(), std::future::pending()).await;
        let whole = Self { pipeline: pipeline.unwrap().unwrap(), clock, _dir: dir };
        #[cfg(feature = "fluvio")]
        crate::wiring::show_cluster(whole.registry()).unwrap();
        whole
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.pipeline.registry
    }

    /// Publishes a reading that fires a rule with a step, and waits until all of it is shown, a minute later.
    pub(super) async fn does_everything(&self) {
        let mqtt = self.pipeline.mqtt.unwrap();
        let (client, mut events) = AsyncClient::new(MqttOptions::new("pump-1", mqtt.ip().to_string(), mqtt.port()), 10);
        let payload = r#"[{"n":"temperature","v":99.5}]"#;
        client.publish("hall/pump-1/telemetry", QoS::AtLeastOnce, false, payload).await.unwrap();
        while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::PubAck(_))) {}
        for name in ["weir_fleet_readings_total", "weir_workflows_attempts_total", "weir_consumer_group_lag_records"] {
            self.until_shown(name).await;
        }
        self.clock.micros.store(60_000_000, Ordering::SeqCst);
        self.until_shown("weir_fleet_value_mean").await;
    }

    async fn until_shown(&self, name: &str) {
        let shown = async {
            while !self.registry().gather().iter().any(|family| family.name() == name) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), shown).await.unwrap_or_else(|_| panic!("{name} is not shown"));
    }

    pub(super) async fn stop(self) {
        self.pipeline.stop().await.unwrap();
    }
}
