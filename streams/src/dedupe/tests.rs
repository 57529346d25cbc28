use std::borrow::Cow;
use std::collections::HashSet;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use proptest::prelude::*;
use telemetry::batch::ReadingsBuilder;
use telemetry::schema::reading;
use telemetry::{Identity, Message, Reading, Timestamp, Value};

use super::devices::{BOOTS, RANGES};
use super::*;

/// One message of `rows` readings.
type Sent = (&'static str, Option<(i64, i64)>, usize);

fn batch(messages: &[Sent]) -> RecordBatch {
    let mut builder = ReadingsBuilder::default();
    for (device, identity, rows) in messages {
        let reading = Reading {
            metric: Cow::Borrowed("m"),
            time: Timestamp::from_micros(0),
            value: Value::Number(1.0),
            unit: None,
        };
        let message = Message {
            device_id: Cow::Borrowed(device),
            site: None,
            identity: identity.map(|(boot, seq)| Identity { boot, seq }),
            readings: vec![reading; *rows],
            ignored_fields: 0,
        };
        builder.push(&message, Timestamp::from_micros(0));
    }
    builder.finish()
}

fn kept(dedupe: &mut Dedupe, messages: &[Sent]) -> (Vec<i64>, u64, u64) {
    let batch = batch(messages);
    let verdict = dedupe.check(&batch).unwrap();
    let batch = match &verdict.keep {
        Some(keep) => arrow::compute::filter_record_batch(&batch, keep).unwrap(),
        None => batch,
    };
    let seqs = batch.column(reading::SEQ).as_primitive::<Int64Type>();
    (seqs.iter().map(|seq| seq.unwrap_or(-1)).collect(), verdict.duplicates, verdict.undecided)
}

fn devices() -> Dedupe {
    Dedupe::Devices(Devices::default())
}

#[test]
fn a_resent_message_is_left_out_whole_even_right_behind_the_first() {
    let mut dedupe = devices();
    let sent: &[Sent] =
        &[("a", Some((1, 0)), 2), ("a", Some((1, 0)), 2), ("b", Some((1, 0)), 1), ("a", Some((1, 1)), 1)];
    assert_eq!(kept(&mut dedupe, sent), (vec![0, 0, 0, 1], 1, 0));
    assert_eq!(kept(&mut dedupe, sent), (vec![], 4, 0));
}

#[test]
fn a_message_that_comes_late_is_new_however_late() {
    let mut dedupe = devices();
    assert_eq!(kept(&mut dedupe, &[("a", Some((1, 100_000)), 1), ("a", Some((1, 3)), 1)]), (vec![100_000, 3], 0, 0));
    assert_eq!(kept(&mut dedupe, &[("a", Some((1, 3)), 1)]), (vec![], 1, 0));
}

#[test]
fn a_restarted_device_begins_again_and_its_old_boot_is_remembered() {
    let mut dedupe = devices();
    let sent: &[Sent] =
        &[("a", Some((1, 0)), 1), ("a", Some((2, 0)), 1), ("a", Some((1, 0)), 1), ("a", Some((1, 1)), 1)];
    assert_eq!(kept(&mut dedupe, sent), (vec![0, 0, 1], 1, 0));
}

#[test]
fn without_identity_every_message_is_kept() {
    let mut dedupe = devices();
    assert_eq!(kept(&mut dedupe, &[("a", None, 1), ("a", None, 1), ("a", Some((1, 0)), 1)]), (vec![-1, -1, 0], 0, 0));
}

#[test]
fn beyond_its_bounds_a_message_is_kept_and_counted_never_lost() {
    let mut dedupe = devices();
    let gaps = i64::try_from(RANGES).unwrap() + 1;
    for seq in 0..gaps {
        assert_eq!(kept(&mut dedupe, &[("a", Some((9, seq * 2)), 1)]).1, 0);
    }
    // The oldest range was forgotten: 0 is kept again, and said to be undecided.
    assert_eq!(kept(&mut dedupe, &[("a", Some((9, 0)), 1)]), (vec![0], 0, 1));
    for boot in 10..10 + i64::try_from(BOOTS).unwrap() {
        kept(&mut dedupe, &[("a", Some((boot, 0)), 1)]);
    }
    assert_eq!(kept(&mut dedupe, &[("a", Some((9, 2)), 1)]), (vec![2], 0, 1));
}

#[test]
fn the_ends_of_the_numbers_do_not_overflow() {
    let mut dedupe = devices();
    for seq in [i64::MAX, i64::MAX - 1, 0, i64::MIN, i64::MAX] {
        kept(&mut dedupe, &[("a", Some((i64::MAX, seq)), 1)]);
    }
    assert_eq!(kept(&mut dedupe, &[("a", Some((i64::MAX, i64::MIN)), 1)]).1, 1);
}

#[test]
fn a_damaged_snapshot_is_an_error_and_never_a_panic() {
    let mut dedupe = devices();
    kept(&mut dedupe, &[("a", Some((1, 0)), 1), ("b", Some((1, 5)), 1)]);
    let snapshot = dedupe.snapshot();
    for cut in 2..snapshot.len() {
        let restored = devices().restore(&snapshot.slice(..cut));
        assert!(restored.is_err() || cut == snapshot.len() / 2 + 1, "cut at {cut}");
    }
    assert_eq!(devices().restore(&Bytes::from_static(&[9])), Err(StateError::Snapshot("unknown version")));
}

/// Checks a batch of alerts and returns what is kept of it.
fn kept_alerts(sources: &mut Sources, batch: &[Alert]) -> Vec<Alert> {
    let verdict = sources.check(&alerts(batch)).unwrap();
    let keep = verdict.keep.unwrap_or_else(|| BooleanArray::from(vec![true; batch.len()]));
    assert_eq!(verdict.duplicates, u64::try_from(keep.false_count()).unwrap());
    batch.iter().zip(keep.values()).filter_map(|(alert, keep)| keep.then_some(*alert)).collect()
}

#[test]
fn alerts_of_a_repeated_source_record_are_left_out() {
    let mut sources = Sources::of_alerts();
    assert_eq!(sources.check(&alerts(&[(0, 5, 0), (0, 5, 1), (1, 2, 0)])).unwrap(), Verdict::default());
    let restored = restored(&sources);
    assert_eq!(restored, sources);
    let verdict = sources.check(&alerts(&[(0, 5, 0), (0, 5, 1), (0, 6, 0), (0, 6, 1), (1, 2, 0)])).unwrap();
    assert_eq!(verdict.keep, Some(BooleanArray::from(vec![false, false, true, true, false])));
    assert_eq!(verdict.duplicates, 3);
}

#[test]
fn alerts_of_one_source_record_go_on_where_a_crash_cut_them() {
    let mut sources = Sources::of_alerts();
    let all: Vec<Alert> = (0..10).map(|index| (0, 5, index)).collect();
    assert_eq!(kept_alerts(&mut sources, &all[..3]), all[..3]);
    let mut sources = restored(&sources);
    // The repetition is cut into other records, and is cut off in its turn, before anything new.
    assert_eq!(kept_alerts(&mut sources, &all[..2]), []);
    assert_eq!(kept_alerts(&mut sources, &all[..7]), all[3..7]);
    assert_eq!(kept_alerts(&mut sources, &all[7..]), all[7..]);
    assert_eq!(kept_alerts(&mut sources, &all), []);
    assert_eq!(kept_alerts(&mut sources, &[(0, 6, 0), (0, 6, 0), (0, 5, 11)]), [(0, 6, 0)]);
}

#[test]
fn a_damaged_snapshot_of_sources_is_an_error() {
    let mut sources = Sources::of_alerts();
    sources.check(&alerts(&[(0, 5, 0), (1, 2, 7)])).unwrap();
    let snapshot = sources.snapshot();
    for cut in (2..snapshot.len()).filter(|cut| *cut != snapshot.len() / 2 + 1) {
        assert_eq!(
            Sources::of_alerts().restore(snapshot.slice(..cut)),
            Err(StateError::Snapshot("length does not fit"))
        );
    }
    assert_eq!(Sources::of_alerts().restore(Bytes::from_static(&[9])), Err(StateError::Snapshot("unknown version")));
}

/// Source partition, source offset, index.
type Alert = (i32, i64, i32);

fn alerts(sources: &[Alert]) -> RecordBatch {
    use arrow::array::{ArrayRef, Int32Array, Int64Array, new_null_array};
    use std::sync::Arc;
    use telemetry::schema;
    let stream = schema::alerts_stream();
    let columns: Vec<ArrayRef> = stream
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "source_partition" => Arc::new(Int32Array::from_iter_values(sources.iter().map(|s| s.0))) as ArrayRef,
            "source_offset" => Arc::new(Int64Array::from_iter_values(sources.iter().map(|s| s.1))) as ArrayRef,
            "source_index" => Arc::new(Int32Array::from_iter_values(sources.iter().map(|s| s.2))) as ArrayRef,
            _ => new_null_array(field.data_type(), sources.len()),
        })
        .collect();
    let nullable: Vec<_> = stream.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(nullable)), columns).unwrap()
}

proptest! {
    /// Within its bounds the state answers as a set of all identities would, also across snapshots.
    #[test]
    fn answers_as_a_set_would(
        sent in prop::collection::vec((0..3_usize, 0..3_i64, 0..60_i64, any::<bool>()), 1..200),
    ) {
        let mut dedupe = devices();
        let mut model = HashSet::new();
        for (device, boot, seq, reopen) in sent {
            let device = ["a", "b", "c"][device];
            let new = model.insert((device, boot, seq));
            let (kept, duplicates, undecided) = kept(&mut dedupe, &[(device, Some((boot, seq)), 2)]);
            prop_assert_eq!((kept.len(), duplicates, undecided), if new { (2, 0, 0) } else { (0, 1, 0) });
            if reopen {
                let mut restored = devices();
                restored.restore(&dedupe.snapshot()).unwrap();
                dedupe = restored;
            }
        }
    }

    /// However a processor is cut off, repeats and cuts into records: every alert is kept once, in order.
    #[test]
    fn alerts_are_kept_once_wherever_a_processor_is_cut_off(
        per_source in prop::collection::vec(1..5_i32, 1..6),
        runs in prop::collection::vec((0..20_usize, 0..20_usize, 1..6_usize), 0..12),
    ) {
        let all: Vec<Alert> =
            (0..).zip(&per_source).flat_map(|(offset, alerts)| (0..*alerts).map(move |index| (0, offset, index))).collect();
        let mut sources = Sources::of_alerts();
        let (mut kept, mut appended) = (Vec::new(), 0);
        // Each run begins at a source record that was reached before, the last one runs to the end.
        for (from, to, per_record) in runs.into_iter().chain([(0, all.len(), 3)]) {
            let begins = all[..=from.min(appended).min(all.len() - 1)].iter().rposition(|alert| alert.2 == 0).unwrap();
            let ends = to.clamp(begins, all.len());
            for record in all[begins..ends].chunks(per_record) {
                kept.extend(kept_alerts(&mut sources, record));
                sources = restored(&sources);
            }
            appended = appended.max(ends);
        }
        prop_assert_eq!(kept, all);
    }
}

fn restored(sources: &Sources) -> Sources {
    let mut restored = Sources::of_alerts();
    restored.restore(sources.snapshot()).unwrap();
    restored
}
