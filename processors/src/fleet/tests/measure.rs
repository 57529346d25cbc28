//! What watching the fleet costs. Figures for a person, in release builds only.

use std::hint::black_box;

use telemetry::clock::SystemClock;

use super::*;
use crate::testing::rules;

/// Messages of `pack` readings each, of 1,000 devices at 4 sites.
fn usual(rows: usize, pack: usize) -> RecordBatch {
    let metrics =
        ["temperature", "humidity", "vibration", "pressure", "battery", "power", "flow", "level", "speed", "on"];
    let mut builder = ReadingsBuilder::default();
    for at in 0..rows / pack {
        let (device, site) = (format!("device-{}", at % 1_000), format!("hall-{}", at % 4));
        let readings = (0..pack).map(|row| reading(metrics[(at + row) % 10], Value::Number(21.5))).collect();
        builder.push(&message(&device, Some(&site), readings), NOON);
    }
    builder.finish()
}

/// `cargo test --release -p processors -- --ignored --nocapture measure_the_fleet`
#[test]
#[ignore = "measurement"]
fn measure_the_fleet() {
    let clock = SystemClock::shared();
    let set = rules(&[("hot", "metric = 'temperature' AND value > 80")]);
    for (rows, pack) in [(10_000, 1), (10_000, 10), (100, 10), (10, 10), (1, 1)] {
        let (batch, (_registry, fleet)) = (usual(rows, pack), fleet(&ManualClock::new(NOON)));
        let rounds = u32::try_from(1_000_000 / rows).unwrap().min(20_000);
        let time = |work: &dyn Fn()| {
            let begun = clock.monotonic();
            (0..rounds).for_each(|_| work());
            (clock.monotonic() - begun).as_secs_f64() * 1e9
                / f64::from(rounds)
                / f64::from(u32::try_from(rows).unwrap())
        };
        let observed = time(&|| fleet.observe(black_box(&batch)));
        let evaluated = time(&|| drop(black_box(set.evaluate(0, 0, black_box(&batch)).unwrap())));
        println!("{rows} rows in packs of {pack}: {observed:.1} ns a row; one rule {evaluated:.1} ns");
    }
}
