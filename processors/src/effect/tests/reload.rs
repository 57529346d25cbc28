use telemetry::Value;
use telemetry::schema::{dead_letter, firing};

use super::*;
use crate::firing::Firing;

fn shown(registry: &Registry) -> String {
    prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
}

fn written_to(streams: &Scripted, stream: &StreamName) -> Vec<RecordBatch> {
    let mut decoder = ipc::Decoder::new(schema::of_stream(stream.as_str())).unwrap();
    let records = streams.written().into_iter().flatten().filter(|append| append.to.stream == *stream);
    records.map(|append| decoder.decode(append.payload).unwrap()).collect()
}

#[tokio::test]
async fn new_rules_are_used_from_the_next_record_on() {
    let streams = Scripted::new([]);
    let registry = Registry::new();
    let (newer, source) = watch::channel(Arc::new(rules(&[("old", "value > 80"), ("both", "value > 80")])));
    let clock = ManualClock::new(Timestamp::from_micros(0));
    let metrics = RulesMetrics::register(&registry).unwrap();
    let mut effect = RulesEffect::new(source, streams.clone(), metrics, clock, Tracing::default());
    effect.apply(delivered(0, &[90.0])).await.unwrap();
    newer.send(Arc::new(rules(&[("both", "value > 80"), ("new", "value > 0"), ("third", "false")]))).unwrap();
    assert!(shown(&registry).contains("weir_rules_loaded 2"));
    effect.apply(delivered(1, &[90.0])).await.unwrap();
    // Nobody can send any more: the last rules stay.
    drop(newer);
    effect.apply(delivered(2, &[10.0])).await.unwrap();
    effect.flush(&[]).await.unwrap();
    let fired: Vec<_> =
        written_to(&streams, &StreamName::alerts()).iter().map(|one| texts(one, alert::RULE_ID)).collect();
    assert_eq!(fired, [vec!["old", "both"], vec!["both", "new"], vec!["new"]]);
    assert!(metric(&registry, "weir_rules_loaded 3"));
    assert!(metric(&registry, r#"weir_rules_matches_total{rule="both"} 2"#));
    assert!(metric(&registry, r#"weir_rules_errors_total{rule="new"} 0"#));
    assert!(!shown(&registry).contains(r#"rule="old""#));
}

#[tokio::test]
async fn firings_go_before_alerts_and_failures_to_the_dead_letters() {
    let streams = Scripted::new([]);
    let file = "[[rule]]\nid = 'a'\nwhen = 'CAST(value_text AS INT) > 2'\nseverity = 'info'\nmessage = '{value}'\n\
                [[rule.step]]\nlog = true\n";
    let rules = constant(RuleSet::parse(file, "f").unwrap());
    let metrics = RulesMetrics::register(&Registry::new()).unwrap();
    let mut effect = RulesEffect::new(
        rules,
        streams.clone(),
        metrics,
        ManualClock::new(Timestamp::from_micros(0)),
        Tracing::default(),
    );
    let readings = ["3", "x", "y"].map(|text| reading("m", Value::Text(text.into()))).to_vec();
    let batch = batch(&[message("d", Some((4, 5)), readings)]);
    effect
        .apply(Delivered {
            partition: 1,
            offset: 9,
            appended_at: Timestamp::from_micros(0),
            batch,
            contexts: Vec::new(),
        })
        .await
        .unwrap();
    effect.flush(&[]).await.unwrap();
    let to: Vec<_> = streams.written().iter().flatten().map(|append| append.to.to_string()).collect();
    assert_eq!(to, ["workflows/1", "alerts/1", "workflow_dead_letters/0"]);
    let firings = &written_to(&streams, &StreamName::workflows())[0];
    assert_eq!(texts(firings, firing::SOURCE_OFFSET), ["9"]);
    assert_eq!(Firing::decode(firings).unwrap()[0].message, "3");
    let letters = &written_to(&streams, &StreamName::workflow_dead_letters())[0];
    assert_eq!(texts(letters, dead_letter::TOPIC), ["rules/a"]);
    assert!(texts(letters, dead_letter::DETAIL)[0].contains("failed on 2 readings"), "{letters:?}");
}
