use std::borrow::Cow;

use super::*;
use crate::batch::{DeadLetter, DeadLettersBuilder, ReadingsBuilder};
use crate::message::{Identity, Message, Reading, Value};
use crate::{Timestamp, schema};

fn batch(devices: &[&str]) -> RecordBatch {
    let mut builder = ReadingsBuilder::default();
    for (seq, device) in (0..).zip(devices) {
        let reading = |metric: &'static str, value| Reading {
            metric: Cow::Borrowed(metric),
            time: Timestamp::from_micros(1_700_000_000_000_000 + seq),
            value,
            unit: Some(Cow::Borrowed("Cel")),
        };
        let message = Message {
            device_id: Cow::Borrowed(device),
            site: None,
            identity: Some(Identity { boot: 1, seq }),
            readings: vec![
                reading("temperature", Value::Number(0.1 + 0.2)),
                reading("door", Value::Bool(true)),
                reading("state", Value::Text(Cow::Borrowed("läuft"))),
            ],
            ignored_fields: 0,
        };
        builder.push(&message, Timestamp::from_micros(1));
    }
    builder.finish()
}

#[test]
fn records_of_one_stream_decode_one_after_the_other() {
    let mut encoder = Encoder::new(schema::readings_stream()).unwrap();
    let mut decoder = Decoder::new(schema::readings_stream()).unwrap();
    for devices in [&["a", "b", "a"][..], &["c"], &["a"], &["x", "y", "z", "a"]] {
        let written = batch(devices);
        let record = encoder.encode(&written).unwrap();
        assert_eq!(record.len() % ALIGNMENT, 0);
        assert_eq!(decoder.decode(record).unwrap(), written);
    }
}

#[test]
fn a_record_of_no_dictionary_entries_decodes_after_one_that_had_some() {
    let mut encoder = Encoder::new(schema::readings_stream()).unwrap();
    let mut decoder = Decoder::new(schema::readings_stream()).unwrap();
    decoder.decode(encoder.encode(&batch(&["a"])).unwrap()).unwrap();
    let empty = batch(&[]);
    assert_eq!(decoder.decode(encoder.encode(&empty).unwrap()).unwrap().num_rows(), 0);
}

#[test]
fn every_truncation_is_an_error() {
    let record = Encoder::new(schema::readings_stream()).unwrap().encode(&batch(&["a"])).unwrap();
    for length in 0..record.len() {
        let mut decoder = Decoder::new(schema::readings_stream()).unwrap();
        assert!(decoder.decode(record.slice(..length)).is_err(), "cut at {length}");
    }
}

#[test]
fn another_version_and_another_schema_are_named() {
    let mut encoder = Encoder::new(schema::readings_stream()).unwrap();
    let mut record = encoder.encode(&batch(&["a"])).unwrap().to_vec();
    record[2] = 9;
    let error = Decoder::new(schema::readings_stream()).unwrap().decode(record.into()).unwrap_err();
    assert!(error.to_string().contains("version 9, expected 1"), "{error}");
    assert!(Encoder::new(schema::dead_letters()).unwrap().encode(&batch(&["a"])).is_err());
}

/// The columns of a dead letter as the program had them that wrote layout version 1.
fn old_dead_letters() -> SchemaRef {
    use arrow::datatypes::{Field, TimeUnit};
    let text = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Arc::new(Schema::new(vec![
        Field::new("received_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("reason", text(), false),
        Field::new("detail", DataType::Utf8, false),
        Field::new("topic", DataType::Utf8, false),
        Field::new("client_id", DataType::Utf8, false),
        Field::new("payload", DataType::Binary, false),
    ]))
}

fn letters(identities: &[Option<Identity>]) -> RecordBatch {
    let mut builder = DeadLettersBuilder::default();
    for (number, identity) in (0..).zip(identities) {
        builder.push(&DeadLetter {
            received_at: Timestamp::from_micros(1_700_000_000_000_000 + number),
            reason: if number == 0 { "undecodable" } else { "future_time" },
            detail: "payload is neither",
            topic: "hall/pump/telemetry",
            client_id: "pump",
            payload: b"\x00\xFFx",
            identity: *identity,
        });
    }
    builder.finish()
}

/// Two letters as the program of layout version 1 wrote them.
const OLD_LETTERS: &[u8] = include_bytes!("dead_letters_v1.bin");

#[test]
fn dead_letters_of_version_1_are_read_without_identity() {
    let written = letters(&[None, None]);
    let decoded = Decoder::new(schema::dead_letters()).unwrap().decode(Bytes::from_static(OLD_LETTERS)).unwrap();
    assert_eq!(decoded, written);
    let identity =
        [schema::dead_letter::BOOT, schema::dead_letter::SEQ].map(|column| decoded.column(column).null_count());
    assert_eq!(identity, [2, 2]);
}

#[test]
fn the_columns_of_version_1_encode_to_what_is_read_as_version_1() {
    let batch = letters(&[None, None]);
    let old = RecordBatch::try_new(old_dead_letters(), batch.columns()[..6].to_vec()).unwrap();
    let record = Encoder::new(old_dead_letters()).unwrap().encode(&old).unwrap();
    assert_eq!(record[2..4], [1, 0]);
    assert_eq!(Decoder::new(schema::dead_letters()).unwrap().decode(record).unwrap(), batch);
    assert_eq!(Decoder::new(old_dead_letters()).unwrap().decode(Bytes::from_static(OLD_LETTERS)).unwrap(), old);
}

#[test]
fn dead_letters_of_both_versions_decode_in_turn_and_others_are_named() {
    let identity = Some(Identity { boot: 3, seq: i64::MAX });
    let mut encoder = Encoder::new(schema::dead_letters()).unwrap();
    let mut decoder = Decoder::new(schema::dead_letters()).unwrap();
    for identities in [&[identity][..], &[None, identity], &[]] {
        let written = letters(identities);
        let record = encoder.encode(&written).unwrap();
        assert_eq!(record[2..4], [2, 0]);
        assert_eq!(decoder.decode(record).unwrap(), written);
        assert_eq!(decoder.decode(Bytes::from_static(OLD_LETTERS)).unwrap(), letters(&[None, None]));
    }
    let mut record = encoder.encode(&letters(&[None])).unwrap().to_vec();
    record[2] = 3;
    let error = decoder.decode(record.into()).unwrap_err();
    assert!(error.to_string().contains("version 3, expected 1 or 2"), "{error}");
    let mut record = Encoder::new(schema::readings_stream()).unwrap().encode(&batch(&["a"])).unwrap().to_vec();
    record[2] = 2;
    let error = Decoder::new(schema::readings_stream()).unwrap().decode(record.into()).unwrap_err();
    assert!(error.to_string().contains("version 2, expected 1"), "{error}");
}

#[test]
fn every_truncation_of_an_old_letter_is_an_error() {
    for length in 0..OLD_LETTERS.len() {
        let mut decoder = Decoder::new(schema::dead_letters()).unwrap();
        assert!(decoder.decode(Bytes::from_static(&OLD_LETTERS[..length])).is_err(), "cut at {length}");
    }
}

fn row_context(row: u32) -> RowContext {
    let number = u64::from(row) + 1;
    RowContext { row, context: Context { trace: TraceId(u128::from(number) << 64 | 7), span: SpanId(number) } }
}

#[test]
fn contexts_are_carried_and_the_batch_is_as_without() {
    let written = batch(&["a", "b", "c"]);
    let carried = [row_context(0), row_context(6)];
    let mut encoder = Encoder::new(schema::readings_stream()).unwrap();
    let record = encoder.encode_traced(&written, &carried).unwrap();
    assert_eq!(contexts(&record), carried);
    let plain = encoder.encode(&written).unwrap();
    assert_eq!(plain[..HEADER_BYTES], *b"WR\x01\0\0\0\0\0");
    assert_eq!(record[HEADER_BYTES + 2 * CONTEXT_BYTES..], plain[HEADER_BYTES..]);
    assert_eq!(contexts(&plain), []);
    let mut decoder = Decoder::new(schema::readings_stream()).unwrap();
    for record in [record, plain] {
        assert_eq!(decoder.decode(record).unwrap(), written);
    }
}

/// Two messages of two rows' contexts, as version 1 with contexts was first written.
#[test]
fn the_bytes_of_a_context_never_change() {
    let context = Context::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let mut encoder = Encoder::new(schema::readings_stream()).unwrap();
    let record = encoder.encode_traced(&batch(&["a"]), &[RowContext { row: 0x0201, context }]).unwrap();
    let expected = b"WR\x01\0\x20\0\0\0\x01\x02\0\0\x01\0\0\0\
        \x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36\x00\xf0\x67\xaa\x0b\xa9\x02\xb7";
    assert_eq!(record[..HEADER_BYTES + CONTEXT_BYTES], *expected);
}

#[test]
fn contexts_over_the_bound_are_left_out() {
    let many: Vec<_> = (0..100).map(row_context).collect();
    let mut encoder = Encoder::new(schema::readings_stream()).unwrap();
    let record = encoder.encode_traced(&batch(&["a"]), &many).unwrap();
    assert_eq!(contexts(&record), many[..MOST_CONTEXTS]);
}

#[test]
fn what_is_no_context_is_passed_over_and_what_is_no_block_is_refused() {
    let carried = [row_context(0), row_context(3)];
    let mut encoder = Encoder::new(schema::readings_stream()).unwrap();
    let record = encoder.encode_traced(&batch(&["a", "b"]), &carried).unwrap().to_vec();
    let with = |at: usize, byte: u8| {
        let mut record = record.clone();
        record[at] = byte;
        record
    };
    // Not sampled; no trace; no span.
    let no_trace = {
        let mut record = record.clone();
        record[16..32].fill(0);
        record
    };
    for record in [with(12, 0), no_trace, with(HEADER_BYTES + CONTEXT_BYTES - 1, 0)] {
        assert_eq!(contexts(&record), carried[1..]);
        Decoder::new(schema::readings_stream()).unwrap().decode(record.into()).unwrap();
    }
    // Not whole contexts; more than there may be; more than there are bytes.
    for (at, byte) in [(4, 65), (5, 255), (7, 255)] {
        assert_eq!(contexts(&with(at, byte)), []);
        let error = Decoder::new(schema::readings_stream()).unwrap().decode(with(at, byte).into()).unwrap_err();
        assert!(error.to_string().contains("`WR`"), "{error}");
    }
    for length in 0..record.len() {
        let mut decoder = Decoder::new(schema::readings_stream()).unwrap();
        assert!(decoder.decode(Bytes::copy_from_slice(&record[..length])).is_err(), "cut at {length}");
    }
}
