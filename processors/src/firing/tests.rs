use proptest::prelude::*;

use super::*;

fn any_firing() -> impl Strategy<Value = Firing> {
    let texts = ("[a-z]{0,9}", "[a-z]{1,3}", "\\PC{0,20}", prop::option::of("[a-c]"), "[a-c]", "\\PC{0,9}");
    let severity = prop::sample::select(vec![Severity::Info, Severity::Warning, Severity::Critical]);
    let numbers = (any::<i64>(), any::<i64>(), prop::option::of(any::<i64>()), prop::option::of(any::<i64>()));
    (texts, severity, numbers, 0..3_usize).prop_map(|(texts, severity, numbers, plan)| {
        let (run_id, rule_id, message, site, device_id, data) = texts;
        let (time, version, boot, seq) = numbers;
        Firing {
            run_id,
            rule_id,
            rule_version: version,
            severity,
            message,
            device_id,
            site,
            time: Timestamp::from_micros(time),
            received_at: Timestamp::from_micros(time.wrapping_add(1)),
            boot,
            seq,
            data,
            plan: "x".repeat(plan).into(),
            trace: None,
        }
    })
}

fn batch(firings: &[Firing]) -> RecordBatch {
    let mut builder = FiringsBuilder::default();
    for (index, firing) in (0..).zip(firings) {
        builder.push(firing, Source { partition: 3, offset: 7, index });
    }
    assert_eq!(builder.rows(), firings.len());
    builder.finish().unwrap()
}

fn encoded(batch: &RecordBatch) -> usize {
    telemetry::ipc::Encoder::new(schema::workflows()).unwrap().encode(batch).unwrap().len()
}

proptest! {
    #[test]
    fn firings_survive_their_columns(firings in prop::collection::vec(any_firing(), 0..20)) {
        let batch = batch(&firings);
        prop_assert_eq!(Firing::decode(&batch).unwrap(), firings.clone());
        let slice = batch.slice(firings.len() / 2, firings.len() - firings.len() / 2);
        prop_assert_eq!(&Firing::decode(&slice).unwrap(), &firings[firings.len() / 2..]);
    }

    #[test]
    fn a_record_is_estimated_from_above(firings in prop::collection::vec(any_firing(), 1..40)) {
        let mut builder = FiringsBuilder::default();
        for firing in &firings {
            builder.push(firing, Source { partition: 0, offset: 0, index: 0 });
        }
        let estimate = builder.bytes();
        prop_assert!(encoded(&builder.finish().unwrap()) <= estimate);
    }
}

#[test]
fn a_plan_is_stored_once() {
    let plan: Arc<str> = "p".repeat(50_000).into();
    let firing = Firing {
        run_id: "r".to_owned(),
        rule_id: "r".to_owned(),
        rule_version: 1,
        severity: Severity::Info,
        message: String::new(),
        device_id: "d".to_owned(),
        site: None,
        time: Timestamp::from_micros(0),
        received_at: Timestamp::from_micros(0),
        boot: None,
        seq: None,
        data: "{}".to_owned(),
        plan,
        trace: None,
    };
    let batch = batch(&vec![firing; 100]);
    assert!(encoded(&batch) < 80_000, "{}", encoded(&batch));
    let decoded = Firing::decode(&batch).unwrap();
    assert!(decoded.iter().all(|firing| Arc::ptr_eq(&firing.plan, &decoded[0].plan)));
}

#[test]
fn another_schema_is_refused() {
    let error = Firing::decode(&crate::testing::numbers("m", &[1.0])).unwrap_err();
    assert!(error.to_string().contains("batch has schema"), "{error}");
}
