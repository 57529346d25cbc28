use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use telemetry::Timestamp;
use telemetry::batch::ReadingsBuilder;
use telemetry::formats::decode;
use telemetry::schema::{self, reading};
use telemetry::topic::TopicTemplate;

#[test]
fn payloads_become_columns() {
    let template = TopicTemplate::parse("{site}/{device_id}/telemetry").unwrap();
    let payloads = [
        (
            "plant/press-7/telemetry",
            r#"[{"bn":"urn:press-7:","bt":1600000000.25,"bu":"Cel","n":"boot","v":4},{"n":"seq","v":9007199254740993},
                {"n":"temperature","v":21.7},{"n":"open","vb":true,"t":1},{"n":"state","vs":"idle","u":"1"}]"#,
        ),
        ("somewhere/else/entirely/d2", r#"{"device_id":"d2","temperature":-0.0}"#),
    ];
    let received = [Timestamp::from_micros(1_700_000_000_000_001), Timestamp::from_micros(1_700_000_000_000_002)];
    let mut builder = ReadingsBuilder::default();
    for ((topic, payload), received_at) in payloads.iter().zip(received) {
        let message = decode(payload.as_bytes(), &template.fields(topic), received_at).unwrap();
        builder.push(&message, received_at);
    }
    let batch = builder.finish();
    assert_eq!(batch.schema(), schema::readings_stream());

    let texts = |column: usize| -> Vec<Option<String>> {
        let column = arrow::compute::cast(batch.column(column), &arrow::datatypes::DataType::Utf8).unwrap();
        column.as_string::<i32>().iter().map(|text| text.map(Into::into)).collect()
    };
    let some = |texts: &[&str]| -> Vec<Option<String>> { texts.iter().map(|text| Some((*text).into())).collect() };
    assert_eq!(texts(reading::DEVICE_ID), some(&["press-7", "press-7", "press-7", "d2"]));
    assert_eq!(texts(reading::METRIC), some(&["temperature", "open", "state", "temperature"]));
    assert_eq!(texts(reading::VALUE_TEXT), [None, None, Some("idle".into()), None]);
    assert_eq!(texts(reading::UNIT), [some(&["Cel", "Cel", "1"]), vec![None]].concat());
    assert_eq!(texts(reading::SITE), [some(&["plant", "plant", "plant"]), vec![None]].concat());

    let times = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>().values().to_vec();
    let base = 1_600_000_000_250_000;
    assert_eq!(times(reading::TIME), [base, base + 1_000_000, base, 1_700_000_000_000_002]);
    let (first, second) = (received[0].as_micros(), received[1].as_micros());
    assert_eq!(times(reading::RECEIVED_AT), [first, first, first, second]);

    let values = batch.column(reading::VALUE).as_primitive::<Float64Type>();
    let bits: Vec<_> = values.iter().map(|value| value.map(f64::to_bits)).collect();
    assert_eq!(bits, [Some(21.7_f64.to_bits()), None, None, Some((-0.0_f64).to_bits())]);
    let truths: Vec<_> = batch.column(reading::VALUE_BOOL).as_boolean().iter().collect();
    assert_eq!(truths, [None, Some(true), None, None]);

    let integers =
        |column: usize| -> Vec<Option<i64>> { batch.column(column).as_primitive::<Int64Type>().iter().collect() };
    assert_eq!(integers(reading::BOOT), [Some(4), Some(4), Some(4), None]);
    let seq = Some(9_007_199_254_740_993);
    assert_eq!(integers(reading::SEQ), [seq, seq, seq, None]);
    assert_eq!(batch.column(reading::ROW).as_primitive::<Int32Type>().values().to_vec(), [0, 1, 2, 0]);
}
