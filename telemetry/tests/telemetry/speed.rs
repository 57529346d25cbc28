use std::hint::black_box;

use telemetry::clock::{Clock, SystemClock};
use telemetry::formats::decode;
use telemetry::topic::TopicTemplate;

/// Nanoseconds a message takes, topic included, on one thread: the best of five rounds.
fn nanoseconds_a_message(clock: &dyn Clock, payload: &str) -> f64 {
    const MESSAGES: u32 = 200_000;
    let template = TopicTemplate::parse("{site}/{device_id}/telemetry").unwrap();
    let received_at = clock.now();
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = clock.monotonic();
        for _ in 0..MESSAGES {
            let fields = template.fields(black_box("plant-3/sim-000123/telemetry"));
            black_box(decode(black_box(payload).as_bytes(), &fields, received_at).unwrap());
        }
        best = best.min((clock.monotonic() - start).as_secs_f64() * 1e9 / f64::from(MESSAGES));
    }
    best
}

fn pack(readings: u32) -> String {
    let mut records = vec![
        r#"{"bn":"sim-000123:","bt":1700000000.123456,"n":"boot","v":3}"#.into(),
        r#"{"n":"seq","v":123456}"#.into(),
    ];
    for reading in 0..readings {
        records.push(format!(r#"{{"n":"temperature","u":"Cel","v":{}}}"#, 21.0 + f64::from(reading) * 0.137));
    }
    format!("[{}]", records.join(","))
}

#[test]
#[ignore = "measurement"]
fn decoding_speed() {
    let clock = SystemClock::shared();
    for (what, readings, payload) in [
        ("SenML, 1 reading", 1.0, pack(1)),
        ("SenML, 10 readings", 10.0, pack(10)),
        ("flat, 3 readings", 3.0, r#"{"boot":3,"seq":123456,"temperature":21.137,"humidity":40.5,"open":true}"#.into()),
    ] {
        let nanoseconds = nanoseconds_a_message(&*clock, &payload);
        assert!(nanoseconds > 0.0, "the clock stands still");
        let bytes = payload.len();
        println!("{what}: {bytes} bytes, {nanoseconds:.0} ns a message, {:.0} ns a reading", nanoseconds / readings);
    }
}
