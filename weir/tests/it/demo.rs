//! `weir demo`.

use std::net::TcpListener;

use crate::process::{free_address, last_json, succeed, weir};

#[test]
fn the_demo_keeps_the_promise_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (mqtt, http) = (free_address().to_string(), free_address().to_string());
    let output = succeed(
        weir()
            .args([
                "demo",
                "--for",
                "3s",
                "--devices",
                "20",
                "--rate",
                "200",
                "--json",
                "--mqtt",
                &mqtt,
                "--http",
                &http,
            ])
            .arg("--data")
            .arg(directory.path()),
    );
    let verdict = last_json(&output);
    let count = |key: &str| verdict[key].as_u64().unwrap();
    assert_eq!((count("lost"), count("duplicated")), (0, 0));
    // 200 messages/s of 5 readings for 3 s, of which the first may wait for a connection.
    assert!(count("acknowledged") > 1_000, "{verdict}");
    assert_eq!(count("stored"), count("acknowledged"));
    assert!(verdict["readings_per_second"].as_f64().unwrap() > 0.0);
    assert!(count("alerts") <= count("stored"));
    let table = std::path::PathBuf::from(verdict["table"].as_str().unwrap());
    assert!(table.join("_delta_log/00000000000000000000.json").exists());
}

#[test]
fn a_taken_port_is_named_with_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    for (flag, other) in [("--mqtt", "--http"), ("--http", "--mqtt")] {
        let directory = tempfile::tempdir().unwrap();
        let output = weir()
            .args(["demo", "--for", "1s", flag, &taken.to_string(), other, &free_address().to_string()])
            .arg("--data")
            .arg(directory.path())
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(error.contains(&format!("port {}", taken.port())) && error.contains(flag), "{error}");
    }
}
