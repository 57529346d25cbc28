use telemetry::clock::ManualClock;

use super::*;

const RULES: &str = r#"
[[rule]]
id = "hot"
version = 2
when = "metric = 'temperature' AND value > 80"
severity = "critical"
message = "{device_id} in {site} is at {value} {unit}"
[[rule.step]]
webhook = "https://ops.example.com/hook/{device_id}"
headers = { authorization = "Bearer ${env:WEIR_TEST_TRIAL_TOKEN}" }
secret = "env:WEIR_TEST_TRIAL_KEY"
[[rule.step]]
mqtt = "{site}/{device_id}/commands"
body = "stop {{ device_id }}"

[[rule]]
id = "dry"
when_message = "temperature > 80 AND humidity < 20"
severity = "info"
message = "{device_id} is dry"

[[rule]]
id = "broken"
when = "CAST(value_text AS BIGINT) > 3"
severity = "info"
message = "{device_id}"
"#;

fn try_on(readings: &[&str], topic: Option<&str>) -> anyhow::Result<Outcome> {
    let arguments = Trial {
        rules: "unused".into(),
        readings: readings.iter().map(|reading| (*reading).to_owned()).collect(),
        topic: topic.map(str::to_owned),
        json: false,
    };
    let clock = ManualClock::new(Timestamp::from_micros(1_767_225_600_000_000));
    let batch = readings_of(&arguments, clock.as_ref())?;
    outcome(&RuleSet::parse(RULES, "test").unwrap(), &batch)
}

fn readings_of(arguments: &Trial, clock: &ManualClock) -> anyhow::Result<RecordBatch> {
    super::readings(arguments, &Config::default(), clock.now())
}

#[test]
fn it_says_what_fires_and_what_would_be_sent() {
    let outcome =
        try_on(&[r#"[{"n":"temperature","u":"Cel","v":90},{"n":"humidity","v":10}]"#], Some("hall/pump-7/telemetry"))
            .unwrap();
    let [hot, dry, broken] = outcome.rules.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((hot.matches, hot.alerts.as_slice()), (1, ["pump-7 in hall is at 90 Cel".to_owned()].as_slice()));
    let [webhook, command] = hot.runs[0].steps.as_slice() else { panic!("{hot:?}") };
    assert_eq!(webhook.url.as_deref(), Some("https://ops.example.com/hook/pump-7"));
    assert_eq!(webhook.key, format!("{}-0", hot.runs[0].run_id));
    assert_eq!(command.topic.as_deref(), Some("hall/pump-7/commands"));
    assert_eq!(command.body.as_deref(), Some("stop pump-7"));
    assert_eq!((dry.matches, dry.runs.len()), (1, 0));
    assert_eq!((broken.matches, broken.error.is_some()), (0, false), "a NULL is no failure");
}

#[test]
fn a_rule_that_fails_says_why() {
    let outcome = try_on(&[r#"{"state":"open"}"#], None).unwrap();
    assert!(outcome.rules[2].error.as_deref().unwrap().contains("open"), "{outcome:?}");
    assert!(outcome.to_string().contains("fails: "), "{outcome}");
}

#[test]
fn secrets_are_shown_as_their_places_only() {
    let shown = try_on(&[r#"{"temperature":90}"#], None).unwrap().to_string();
    assert!(shown.contains("${env:WEIR_TEST_TRIAL_TOKEN}"), "{shown}");
    assert!(shown.contains("https://ops.example.com/hook/device"), "{shown}");
    assert!(shown.contains("idempotency-key"), "{shown}");
}

#[test]
fn readings_given_apart_are_messages_of_their_own() {
    let outcome = try_on(&[r#"{"temperature":90}"#, r#"{"humidity":10}"#], None).unwrap();
    assert_eq!((outcome.readings, outcome.rules[1].matches), (2, 0));
}

#[test]
fn what_the_door_would_refuse_is_an_error() {
    let error = try_on(&[r#"{"temperature":1}"#, "21.5"], None).unwrap_err().to_string();
    assert!(error.contains("reading 2 would be refused"), "{error}");
}

#[test]
fn the_default_topic_fills_every_level() {
    assert_eq!(default_topic("{site}/{device_id}/telemetry"), "site/device/telemetry");
    assert_eq!(default_topic("plant/+/{device_id}/#"), "plant/x/device/x");
}
