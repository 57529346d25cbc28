//! `weir top`, on a process that runs.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::client::Client;
use crate::process::{Up, free_address, last_json, succeed, until, weir};

const SIGTERM: i32 = 15;

fn top(arguments: &[&str]) -> Command {
    let mut command = weir();
    command.arg("top").args(arguments).env_remove("NO_COLOR");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Publishes as one device until `work` is done.
fn while_publishing<T>(up: &Up, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut device = Client::connect(up.mqtt, "pump-1");
            for seq in 1.. {
                let fields = format!(r#"{{"n":"boot","v":1}},{{"n":"seq","v":{seq}}},{{"n":"temperature","v":21.5}}"#);
                device.publish("hall/pump-1/telemetry", format!("[{fields}]").as_bytes());
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
fn one_frame_tells_rates_and_rows() {
    let directory = tempfile::tempdir().unwrap();
    let up = Up::start(directory.path(), free_address(), None);
    let http = up.http.to_string();
    let (overview, storage, fleet) = while_publishing(&up, || {
        until("rows are committed", || up.metric("weir_sink_committed_rows_total{table=\"readings\"}") > Some(0.0));
        let frame = |view| text(&succeed(&mut top(&["--http", &http, "--once", "--view", view])).stdout);
        (frame("overview"), frame("storage"), frame("fleet"))
    });
    // The first line in the boxes of the way: connections, then what the door receives.
    let boxes = overview.lines().find(|line| line.contains(" conn")).unwrap_or_else(|| panic!("{overview}"));
    let received = boxes.split('│').find(|text| text.ends_with("/s") || text.contains("/s ")).unwrap();
    assert!(received.trim().trim_end_matches("/s").parse::<f64>().unwrap() > 0.0, "{overview}");
    assert!(overview.contains("ready") && overview.contains("balance"), "{overview}");
    let readings = storage.lines().find(|line| line.starts_with("readings ")).unwrap_or_else(|| panic!("{storage}"));
    assert!(rows(readings) > 0, "{storage}");
    assert!(fleet.lines().any(|line| line.starts_with("temperature ") && line.contains(" hall ")), "{fleet}");
    assert!(!overview.contains('\u{1b}'), "plain text");
    up.stop();
}

/// Rows in a line of the tables: after the name, the rate, and bars.
fn rows(line: &str) -> u64 {
    let is_bars = |word: &str| word.chars().all(|c| ('▁'..='█').contains(&c));
    let words: Vec<&str> = line.split_whitespace().filter(|word| !is_bars(word)).collect();
    words[2].parse().unwrap()
}

#[test]
fn who_is_away_is_told_and_counts_as_failure() {
    let directory = tempfile::tempdir().unwrap();
    let up = Up::start(directory.path(), free_address(), None);
    let addresses = format!("{},{}", up.http, free_address());
    let Output { status, stdout, .. } = top(&["--http", &addresses, "--once", "--interval", "100ms"]).output().unwrap();
    let frame = text(&stdout);
    assert!(!status.success() && frame.contains("! away for") && frame.contains("ready"), "{frame}");

    let snapshot = last_json(&succeed(&mut top(&["--http", &up.http.to_string(), "--json"])));
    assert_eq!((snapshot["stage"].as_str(), snapshot["ready"]["ok"].as_bool()), (Some("up"), Some(true)));
    let Output { status, stdout, stderr } = top(&["--http", &addresses, "--json"]).output().unwrap();
    assert!(!status.success() && text(&stdout).lines().count() == 1, "{}", text(&stdout));
    assert!(text(&stderr).contains("no weir answers at"), "{}", text(&stderr));
    up.stop();
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let output = top(&["--http", &free_address().to_string()]).output().unwrap();
    let error = text(&output.stderr);
    assert!(!output.status.success() && error.contains("--once") && output.stdout.is_empty(), "{error}");
}

/// What became of a terminal in which `weir top` ran and `steps` were done.
fn in_terminal(arguments: &[&str], steps: &Value) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/terminal.py");
    let watched = top(arguments);
    let mut python = Command::new("python3");
    python.arg(script).arg(steps.to_string()).arg(watched.get_program()).args(watched.get_args());
    python.env("TERM", "xterm-256color").env("RUST_LOG", "warn").env_remove("NO_COLOR");
    last_json(&succeed(&mut python))
}

fn assert_restored(terminal: &Value) {
    for what in ["settings_restored", "other_screen_left", "cursor_shown"] {
        assert_eq!(terminal[what], true, "{what}: {terminal}");
    }
}

#[test]
fn keys_and_signals_end_it_and_the_terminal_is_as_before() {
    let directory = tempfile::tempdir().unwrap();
    let up = Up::start(directory.path(), free_address(), None);
    let http = up.http.to_string();
    let arguments = ["--http", http.as_str(), "--interval", "100ms"];
    let views = json!([
        {"wait": "ready"}, {"send": "\t"}, {"wait": "[fleet]"}, {"resize": [15, 60]}, {"wait": "[fleet]"},
        {"send": "?"}, {"wait": "Ctrl-C"}, {"send": "q"},
    ]);
    let ended = in_terminal(&arguments, &views);
    assert_eq!((ended["code"].as_i64(), ended["coloured"].as_bool()), (Some(0), Some(true)), "{ended}");
    assert_restored(&ended);
    for end in [json!({"send": "\u{3}"}), json!({"send": "\u{1b}"}), json!({ "signal": SIGTERM })] {
        let ended = in_terminal(&arguments, &json!([{"wait": "ready"}, end]));
        assert_eq!(ended["code"].as_i64(), Some(0), "{ended}");
        assert_restored(&ended);
    }
    let mut uncoloured = arguments.to_vec();
    uncoloured.push("--no-color");
    let ended = in_terminal(&uncoloured, &json!([{"wait": "ready"}, {"send": "q"}]));
    assert_eq!(ended["coloured"].as_bool(), Some(false), "{ended}");
    up.stop();
}

#[test]
fn nobody_there_is_shown_and_keys_go_on_to_work() {
    let http = free_address().to_string();
    let steps = json!([{"wait": "! away for"}, {"send": "p"}, {"wait": "PAUSED"}, {"send": "q"}]);
    let ended = in_terminal(&["--http", &http, "--interval", "100ms"], &steps);
    assert_eq!(ended["code"].as_i64(), Some(0), "{ended}");
    assert_restored(&ended);
}
