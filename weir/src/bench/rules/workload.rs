//! Rules and readings to measure with: fifty devices that send five metrics a message.

use arrow::array::RecordBatch;
use telemetry::batch::ReadingsBuilder;
use telemetry::{Identity, Message, Reading, Timestamp, Value};

const METRICS: [(&str, &str); 5] =
    [("temperature", "Cel"), ("humidity", "%RH"), ("pressure", "Pa"), ("vibration", "mm/s"), ("battery", "%")];
const DEVICES: i64 = 50;
/// 2026-01-01T00:00:00Z, in microseconds.
const START: i64 = 1_767_225_600_000_000;
/// Rows of all batches of a case: more than the caches of a core hold.
const ROWS: usize = 65_536;
/// A value in so many is beyond every threshold: rules seldom fire.
const RARE: i64 = 10_000;

/// What sort of rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A metric and a threshold.
    Simple,
    /// A threshold whatever the metric, so that no rule can pass over a batch for lack of its metric.
    AnyMetric,
    /// Two metrics of one message.
    Message,
    /// A pattern on the device.
    Like,
    /// A regular expression on the device.
    Regex,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Simple => "metric and threshold",
            Self::AnyMetric => "threshold",
            Self::Message => "message of two metrics",
            Self::Like => "LIKE",
            Self::Regex => "regexp_like",
        }
    }

    fn when(self, number: usize) -> String {
        let metric = |at: usize| METRICS.iter().map(|(name, _)| *name).cycle().nth(at).unwrap_or_default();
        let threshold = 100 + number;
        match self {
            Self::Simple => format!("when = \"metric = '{}' AND value > {threshold}\"", metric(number)),
            Self::AnyMetric => format!("when = \"value > {threshold}\""),
            Self::Message => {
                let (one, other) = (metric(number), metric(number + 1));
                format!("when_message = \"{one} > {threshold} AND {other} < 20\"")
            }
            Self::Like => format!("when = \"device_id LIKE '%-7' AND value > {threshold}\""),
            Self::Regex => format!("when = \"regexp_like(device_id, '^pump-[0-9]7$') AND value > {threshold}\""),
        }
    }
}

/// A rule file of `count` rules.
pub(super) fn rules(kind: Kind, count: usize) -> String {
    let rule = |number: usize| {
        let when = kind.when(number);
        format!("[[rule]]\nid = \"r{number}\"\n{when}\nseverity = \"warning\"\nmessage = \"{{device_id}}\"\n")
    };
    (0..count).map(rule).collect()
}

/// Batches of `rows` rows, of whole messages where one fits.
pub(super) fn batches(rows: usize) -> Vec<RecordBatch> {
    let mut seq = 0;
    let one = |_| {
        let mut builder = ReadingsBuilder::default();
        while builder.rows() < rows {
            seq += 1;
            let metrics = METRICS.len().min(rows - builder.rows());
            builder.push(&message(seq, metrics), Timestamp::from_micros(START + seq * 1_000));
        }
        builder.finish()
    };
    // A batch of one row has the first metric only, were it not for the turn.
    (0..(ROWS / rows).clamp(1, 1_000)).map(one).collect()
}

fn message(seq: i64, metrics: usize) -> Message<'static> {
    let turn = usize::try_from(seq).unwrap_or_default();
    let reading = |at: usize| {
        let (metric, unit) = METRICS.iter().copied().cycle().nth(turn % METRICS.len() + at).unwrap_or_default();
        let at = i64::try_from(at).unwrap_or_default();
        let number = (seq * 7_919 + at * 104_729) % RARE;
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let value = if number == 0 { 1_000.0 } else { 15.0 + (number % 1_000) as f64 / 100.0 };
        Reading {
            metric: metric.into(),
            time: Timestamp::from_micros(START + seq * 1_000),
            value: Value::Number(value),
            unit: Some(unit.into()),
        }
    };
    Message {
        device_id: format!("pump-{}", seq % DEVICES).into(),
        site: Some("hall-1".into()),
        identity: Some(Identity { boot: 1, seq }),
        readings: (0..metrics).map(reading).collect(),
        ignored_fields: 0,
    }
}

#[cfg(test)]
mod tests {
    use processors::RuleSet;

    use super::*;

    #[test]
    fn every_kind_of_rule_compiles_and_seldom_fires() {
        let batches = batches(8_192);
        for kind in [Kind::Simple, Kind::AnyMetric, Kind::Message, Kind::Like, Kind::Regex] {
            let rules = RuleSet::parse(&rules(kind, 3), kind.name()).unwrap();
            let evaluation = rules.evaluate(0, 0, &batches[0]).unwrap();
            for outcome in &evaluation.rules {
                assert_eq!(outcome.errors, 0, "{kind:?}");
                assert!(outcome.matches < 82, "{kind:?}: {}", outcome.matches);
            }
        }
    }

    #[test]
    fn a_rule_with_a_threshold_fires_now_and_then() {
        let batches = batches(8_192);
        let rules = RuleSet::parse(&rules(Kind::AnyMetric, 1), "test").unwrap();
        let matches = |batch: &RecordBatch| rules.evaluate(0, 0, batch).unwrap().rules[0].matches;
        assert!(batches.iter().map(matches).sum::<u64>() > 0);
    }

    #[test]
    fn batches_have_the_rows_asked_for_and_all_metrics_in_turn() {
        for rows in [1, 16, 8_192] {
            assert!(batches(rows).iter().all(|batch| batch.num_rows() == rows), "{rows}");
        }
        assert_ne!(batches(1)[0], batches(1)[1]);
    }
}
