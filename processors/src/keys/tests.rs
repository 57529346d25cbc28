use std::borrow::Cow;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use proptest::prelude::*;
use telemetry::{Message, Timestamp, Value};

use crate::rules::RuleSet;
use crate::testing::{NEW_YEAR, batch, message, reading};

/// A rule that always fires, with more keys.
fn always(keys: &str) -> RuleSet {
    let when = if keys.contains("when_message") { "" } else { "when = 'true'\n" };
    let rule = format!("[[rule]]\nid = 'r'\nseverity = 'info'\nmessage = 'm'\n{when}{keys}\n");
    RuleSet::parse(&rule, "f").unwrap_or_else(|error| panic!("{error}"))
}

const OVER_MESSAGES: &str = "when_message = 'm IS NULL OR m IS NOT NULL'";

fn ids(rules: &RuleSet, batch: &RecordBatch) -> Vec<String> {
    let evaluation = rules.evaluate(0, 0, batch).unwrap();
    evaluation.firings_of_all().map(|fired| fired.run_id.to_string()).collect()
}

fn two_readings(device: &'static str, identity: Option<(i64, i64)>) -> Message<'static> {
    message(device, identity, vec![reading("m", Value::Number(1.0)), reading("n", Value::Number(2.0))])
}

fn distinct(mut ids: Vec<String>) -> usize {
    ids.sort();
    ids.dedup();
    ids.len()
}

#[test]
fn ids_never_change() {
    let named = batch(&[message("d", Some((1, 2)), vec![reading("m", Value::Number(1.0))])]);
    let unnamed = batch(&[message("d", None, vec![reading("m", Value::Number(1.0))])]);
    let cases = [
        (&named, "", "1d4a4cfbbc5b448840f4a080c11f8f13"),
        (&unnamed, "", "e2dbafd7aa97ea5708f62d89f0e58ffb"),
        (&named, "cooldown = '10m'", "3ed2f3aca929cb1763cd95c2e7ed451b"),
        (&unnamed, "cooldown = '10m'", "3ed2f3aca929cb1763cd95c2e7ed451b"),
        (&named, "version = 2", "bab485871cdf413d4c5651832268c5c9"),
        (&named, OVER_MESSAGES, "2774087d45a2da44c7bfd1125700d37b"),
        (&unnamed, OVER_MESSAGES, "c14f89dca349ebeb037b0eaf4286481d"),
    ];
    for (batch, keys, expected) in cases {
        // XXH3-128 of the bytes described at `Keys`, by another implementation (python xxhash 3).
        assert_eq!(ids(&always(keys), batch), [expected], "{keys}");
    }
}

#[test]
fn ids_differ_by_device_message_metric_and_time() {
    let mut later = two_readings("d", Some((1, 2)));
    later.readings[0].time = Timestamp::from_micros(NEW_YEAR);
    later.readings.truncate(1);
    let batch = batch(&[
        two_readings("d", Some((1, 2))),
        two_readings("d", Some((1, 3))),
        two_readings("d", Some((2, 2))),
        two_readings("e", Some((1, 2))),
        two_readings("d", None),
        two_readings("e", None),
        later,
    ]);
    let mut ids_of_all = ids(&always(""), &batch);
    assert_eq!(ids_of_all.len(), 13);
    ids_of_all.extend(ids(&always("version = 2"), &batch));
    assert_eq!(distinct(ids_of_all), 26);
    let over_messages = ids(&always(OVER_MESSAGES), &batch);
    // The last message has the name of the first.
    assert_eq!((over_messages.len(), distinct(over_messages)), (7, 6));
}

#[test]
fn a_cool_down_is_a_grid_of_event_time() {
    let at = |seconds: i64| {
        let mut one = message("d", Some((1, seconds)), vec![reading("m", Value::Number(1.0))]);
        one.readings[0].time = Timestamp::from_micros(seconds * 1_000_000);
        one
    };
    let batch = batch(&[at(-61), at(-60), at(-1), at(0), at(59), at(60), at(119)]);
    let ids = ids(&always("cooldown = '1m'"), &batch);
    let same: Vec<bool> = ids.windows(2).map(|pair| pair[0] == pair[1]).collect();
    assert_eq!(same, [false, true, false, true, false, true]);
}

fn any_message() -> impl Strategy<Value = Message<'static>> {
    let one = (prop::sample::select(vec!["m", "n"]), 0..3_i64);
    let identity = prop::option::of((0..2_i64, 0..3_i64));
    (prop::sample::select(vec!["a", "b"]), identity, prop::collection::vec(one, 1..4)).prop_map(
        |(device, identity, readings)| {
            let of = |(metric, time): (&'static str, i64)| {
                let mut one = reading(metric, Value::Text(Cow::Borrowed("x")));
                one.time = Timestamp::from_micros(NEW_YEAR + time);
                one
            };
            message(device, identity, readings.into_iter().map(of).collect())
        },
    )
}

proptest! {
    #[test]
    fn a_reading_has_one_name_wherever_it_is(
        messages in prop::collection::vec(any_message(), 1..12),
        order in any::<prop::sample::Index>(),
        cooldown in any::<bool>(),
    ) {
        let rules = always(if cooldown { "cooldown = '1s'" } else { "" });
        let whole = batch(&messages);
        let names = ids(&rules, &whole);
        prop_assert_eq!(names.len(), whole.num_rows());
        // In another order of rows, in another record.
        let shift = order.index(whole.num_rows());
        let mut rows: Vec<u32> = (0..u32::try_from(whole.num_rows()).unwrap()).rev().collect();
        rows.rotate_left(shift);
        let moved = take_record_batch(&whole, &UInt32Array::from(rows.clone())).unwrap();
        let evaluation = rules.evaluate(7, 99, &moved).unwrap();
        for fired in evaluation.firings_of_all() {
            let row = usize::try_from(rows[fired.row]).unwrap();
            prop_assert_eq!(&fired.run_id.to_string(), &names[row]);
        }
        // One message by itself.
        let mut first = 0;
        for message in &messages {
            let alone = batch(std::slice::from_ref(message));
            prop_assert_eq!(&ids(&rules, &alone)[..], &names[first..first + alone.num_rows()]);
            first += alone.num_rows();
        }
    }

    #[test]
    fn a_message_has_one_name_however_its_readings_are_ordered(
        messages in prop::collection::vec(any_message(), 1..12),
        cooldown in any::<bool>(),
    ) {
        let keys = "when_message = 'm IS NULL AND n IS NULL'";
        let rules = always(&if cooldown { format!("{keys}\ncooldown = '1s'") } else { keys.to_owned() });
        let names = ids(&rules, &batch(&messages));
        prop_assert_eq!(names.len(), messages.len());
        let turned = messages.into_iter().rev().map(|mut message| {
            message.readings.reverse();
            message
        });
        let mut again = ids(&rules, &batch(&turned.collect::<Vec<_>>()));
        again.reverse();
        prop_assert_eq!(again, names);
    }
}
