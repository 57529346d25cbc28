//! What rules cost. Figures for a person, in release builds only.

use std::hint::black_box;

use telemetry::clock::SystemClock;

use super::*;

/// Messages of one reading each; one in five hundred, a temperature, is a spike.
fn usual(rows: i64) -> RecordBatch {
    let metrics = ["temperature", "humidity", "vibration", "pressure", "battery"];
    let devices: Vec<String> = (0..200).map(|device| format!("device-{device}")).collect();
    let messages: Vec<_> = (0..rows)
        .map(|seq| {
            let at = usize::try_from(seq).unwrap();
            let value = if at % 500 == 0 { 90.0 } else { f64::from(u8::try_from(at % 40).unwrap()) };
            message(&devices[at % 200], Some((1, seq)), vec![reading(metrics[at % 5], Value::Number(value))])
        })
        .collect();
    batch(&messages)
}

/// A hundred rules on five metrics that seldom fire.
fn hundred(form: impl Fn(&str, usize) -> String) -> RuleSet {
    let metrics = ["temperature", "humidity", "vibration", "pressure", "battery"];
    let all: Vec<_> = (0..100).map(|at| (format!("r{at}"), form(metrics[at % 5], at))).collect();
    rules(&all.iter().map(|(id, when)| (id.as_str(), when.as_str())).collect::<Vec<_>>())
}

fn measure(name: &str, rules: &RuleSet, batch: &RecordBatch) {
    let clock = SystemClock::shared();
    let rounds = u32::try_from(20_000 / batch.num_rows().max(100)).unwrap() * 10;
    let mut best = std::time::Duration::MAX;
    let mut fired = 0_u64;
    for _ in 0..5 {
        let begun = clock.monotonic();
        for _ in 0..rounds {
            let evaluation = black_box(rules.evaluate(0, 0, black_box(batch)).unwrap());
            let alerts = evaluation.alerts(crate::limits::ALERT_BYTES_PER_RECORD);
            fired = alerts.map(|one| count(one.unwrap().num_rows())).sum();
        }
        best = best.min((clock.monotonic() - begun) / rounds);
    }
    let rows = f64::from(u32::try_from(batch.num_rows()).unwrap());
    let per = best.as_secs_f64() * 1e9 / rows;
    let of = f64::from(u32::try_from(rules.rules().len()).unwrap());
    println!("{name}: {rows} rows in {best:?}, {per:.1} ns a row, {:.1} ns a row and rule, {fired} alerts", per / of);
}

/// `cargo test --release -p processors -- --ignored --nocapture measure`
#[test]
#[ignore = "measurement"]
fn measure_rules_on_batches() {
    let one = |when: &str| rules(&[("r", when)]);
    let sets = [
        ("metric = 'temperature' AND value > 80", one("metric = 'temperature' AND value > 80")),
        ("value > 80", one("value > 80")),
        ("metric IN (three) AND value > 80", one("metric IN ('temperature', 'a', 'b') AND value > 80")),
        ("device_id LIKE 'device-1%' AND value > 80", one("device_id LIKE 'device-1%' AND value > 80")),
        ("value_text is cast, none fails", one("CAST(value_text AS INT) > 5")),
        ("each row fails", one("10 / (seq - seq) > 5")),
        ("each second row fails", one("10 / (seq % 2) > 50")),
        ("each hundredth row fails", one("10 / (seq % 100) > 50")),
        ("true (each reading an alert)", one("true")),
        ("the three sample rules", RuleSet::parse(crate::SAMPLE_RULES, "demo.toml").unwrap()),
        (
            "100 of metric = ... AND value > n",
            hundred(|metric, at| format!("metric = '{metric}' AND value > {}", 91 + at)),
        ),
        (
            "100 of value > n AND metric = ...",
            hundred(|metric, at| format!("value > {} AND metric = '{metric}'", 91 + at)),
        ),
    ];
    for (name, rules) in sets {
        for rows in [8192, 16, 1] {
            measure(name, &rules, &usual(rows));
        }
    }
    let over_messages: String = (0..100)
        .map(|at| {
            let when = format!("temperature > {} AND humidity < 20", 91 + at);
            crate::testing::rule(&format!("r{at}"), &when, "m").replace("when =", "when_message =")
        })
        .collect();
    let over_messages = RuleSet::parse(&over_messages, "f").unwrap();
    for rows in [8192, 16, 1] {
        measure("100 over messages", &over_messages, &usual(rows));
    }
    let clock = SystemClock::shared();
    let begun = clock.monotonic();
    for _ in 0..100 {
        black_box(one("metric = 'temperature' AND value > 80"));
    }
    println!("compiling a rule: {:?}", (clock.monotonic() - begun) / 100);
}
