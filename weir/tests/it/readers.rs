//! The readers the README names, on what the demo wrote.

use crate::process::{free_address, last_json, python, succeed, weir};

#[test]
#[ignore = "needs python with duckdb, pyarrow, deltalake, polars, pandas"]
fn every_reader_counts_what_the_verdict_says() {
    let directory = tempfile::tempdir().unwrap();
    let (mqtt, http) = (free_address().to_string(), free_address().to_string());
    let time = std::env::var("WEIR_DEMO_FOR").unwrap_or_else(|_| "10s".to_owned());
    let output = succeed(
        weir()
            .args(["demo", "--for", &time, "--json", "--mqtt", &mqtt, "--http", &http])
            .arg("--data")
            .arg(directory.path()),
    );
    let verdict = last_json(&output);
    let counts = last_json(&succeed(python("count.py").arg(verdict["table"].as_str().unwrap())));
    println!("{verdict}\n{counts}");
    assert_eq!((verdict["lost"].as_u64(), verdict["duplicated"].as_u64()), (Some(0), Some(0)));
    for (reader, count) in counts.as_object().unwrap() {
        assert_eq!(count.as_u64(), verdict["stored"].as_u64(), "{reader}");
    }
}
