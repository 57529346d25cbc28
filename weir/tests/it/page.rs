//! The live page in a browser: `weir/tests/browser/look.mjs` looks, this is what it looks at.
//!
//! `npm ci` in `weir/tests/browser` installs what it needs, `WEIR_CHROMIUM` names a browser other than
//! /usr/bin/chromium, and with `WEIR_PAGE_IMAGES=1` the screenshots in docs/images are made anew.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::client::Client;
use crate::process::{Up, free_address, weir};

/// The text of a rule is as hostile as text of a device: it must stay text.
const RULES: &str = r#"
[[rule]]
id = "overheating"
when = "metric = 'temperature' AND value > 80"
severity = "warning"
message = "{device_id} in {site} is at {value} {unit}"
[[rule.step]]
emit = "maintenance"

[[rule]]
id = "shock"
when = "metric = 'vibration' AND value > 12"
severity = "critical"
message = "{device_id} in {site} was hit: {value} {unit}"
[[rule.step]]
emit = "maintenance"

[[rule]]
id = "battery-low"
when = "metric = 'battery' AND value < 21"
severity = "info"
message = "battery of {device_id} is at {value} {unit}"
cooldown = "10m"

[[rule]]
id = "burst"
when = "metric = 'burst' AND value > 7"
severity = "critical"
message = "pipe of {device_id} is at <b>{value}</b> bar"
[[rule.step]]
webhook = "http://127.0.0.1:NOBODY/hook"
"#;

/// A process that ends with the test.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        if self.0.kill().is_ok() {
            self.0.wait().unwrap();
        }
    }
}

#[test]
#[ignore = "needs chromium and node"]
fn the_page_moves_tells_of_alerts_and_is_of_use_to_everybody() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.toml");
    std::fs::write(&rules, RULES.replace("NOBODY", &free_address().port().to_string())).unwrap();
    let environment =
        [("WEIR_WORKFLOWS__ALLOW_ADDRESSES", "[\"127.0.0.0/8\"]"), ("WEIR_STREAMS__EMIT", "[\"maintenance\"]")];
    let mut up = Some(Up::start_with(&directory.path().join("data"), free_address(), Some(&rules), &environment));
    let (mqtt, http) = up.as_ref().map(|up| (up.mqtt, up.http)).unwrap();
    let mut simulate = weir();
    simulate.args(["simulate", "--devices", "60", "--rate", "250", "--mischief", "0.02", "--mqtt", &mqtt.to_string()]);
    let fleet = Held(simulate.arg("--ledger").arg(directory.path().join("ledger.csv")).spawn().unwrap());
    let mut device = Client::connect(mqtt, "pump-7");

    let mut look = look(&format!("http://{http}"), &images(directory.path()));
    let lines = BufReader::new(look.0.stdout.take().unwrap()).lines();
    for line in lines {
        let line = line.unwrap();
        println!("{line}");
        match line.as_str() {
            "fire" => device.publish("hall-a/pump-7/telemetry", br#"{"burst":7.5}"#),
            "refuse" => device.publish("hall-a/pump-7/telemetry", b"{neither this"),
            "stop" => up.take().unwrap().kill(),
            _ => {}
        }
    }
    let status = look.0.wait().unwrap();
    drop(fleet);
    assert!(status.success(), "{status}: what is wrong stands above");
}

/// Looks at `page`, in lines on its stdout.
fn look(page: &str, images: &Path) -> Held {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    assert!(folder.join("node_modules").is_dir(), "run `npm ci` in {}", folder.display());
    let mut node = Command::new("node");
    node.arg("look.mjs").current_dir(folder).env("WEIR_PAGE", page).env("WEIR_IMAGES", images);
    Held(node.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap())
}

/// Where screenshots go.
fn images(else_in: &Path) -> PathBuf {
    match std::env::var_os("WEIR_PAGE_IMAGES") {
        Some(_) => Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images"),
        None => else_in.to_owned(),
    }
}
