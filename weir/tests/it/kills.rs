//! `kill -9` of `weir up` under load, from a fleet that reconnects and resends.

use std::time::Duration;

use crate::process::{Up, free_address, last_json, pause, succeed, weir};

/// Kills `weir up` `kills` times at moments drawn from `seed`.
fn survive(kills: u32, seed: u64) {
    let directory = tempfile::tempdir().unwrap();
    let (data, ledger) = (directory.path().join("data"), directory.path().join("ledger.csv"));
    let mqtt = free_address();
    let mut up = Up::start(&data, mqtt, None);
    let time = format!("{}s", kills * 3 / 2 + 1);
    let mut fleet = weir()
        .args(["simulate", "--mqtt", &mqtt.to_string(), "--devices", "50", "--rate", "1000", "--for", &time])
        .arg("--ledger")
        .arg(&ledger)
        .spawn()
        .unwrap();
    let mut random = seed;
    for _ in 0..kills {
        // A linear congruential step: moments need be scattered, not good.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        pause(Duration::from_millis(200 + (random >> 33) % 1000));
        up.kill();
        up = Up::start(&data, mqtt, None);
    }
    let fleet = fleet.wait().unwrap();
    up.stop();
    let table = data.join("tables/readings");
    let verdict =
        last_json(&succeed(weir().args(["verify", "--json", "--ledger"]).arg(&ledger).arg("--table").arg(table)));
    println!("seed {seed}, {kills} kills: {verdict}");
    assert!(fleet.success(), "not everything was acknowledged in the end");
    assert_eq!(
        (verdict["lost"].as_u64(), verdict["duplicated"].as_u64()),
        (Some(0), Some(0)),
        "seed {seed}: {verdict}"
    );
    assert!(verdict["acknowledged"].as_u64().unwrap() > u64::from(kills) * 500, "{verdict}");
}

#[test]
fn nothing_is_lost_or_doubled_by_two_kills() {
    survive(2, 1);
}

#[test]
#[ignore = "takes half a minute"]
fn nothing_is_lost_or_doubled_by_ten_kills() {
    survive(10, 20_261_123);
}
