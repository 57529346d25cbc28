//! What `/metrics` of the binary shows, and what `docs/metrics.md` says that it shows.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::client::Client;
use crate::process::{Up, free_address, pause, succeed, until, weir};

const RULES: &str = "[[rule]]\nid = \"hot\"\nwhen = \"metric = 'temperature' AND value > 80\"\nseverity = \"warning\"\n\
                     message = \"{value}\"\n[[rule.step]]\nlog = true\n";

/// The body of `/metrics`.
fn scrape(up: &Up) -> String {
    get(up, "/metrics")
}

/// The body of what is at `path`.
fn get(up: &Up, path: &str) -> String {
    let mut stream = TcpStream::connect(up.http).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Waits, longer than for anything else, until the values of a full minute are shown.
fn until_values_are_shown(up: &Up) {
    for _ in 0..2_000 {
        if up.metric("weir_fleet_value_mean").is_some() {
            return;
        }
        pause(Duration::from_millis(50));
    }
    panic!("no values of the last full minute");
}

fn send(device: &mut Client, seq: u32) {
    let payload = format!(
        r#"[{{"n":"boot","v":1}},{{"n":"seq","v":{seq}}},{{"n":"temperature","v":99.5}},{{"n":"humidity","v":40}}]"#
    );
    device.publish("hall/pump-1/telemetry", payload.as_bytes());
}

/// A metric as it is told: type, meaning, names of its labels.
type Told = (String, String, BTreeSet<String>);

/// What a scrape tells, by name.
fn shown(text: &str) -> BTreeMap<String, Told> {
    let mut told = BTreeMap::<String, Told>::new();
    let mut of = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            name.clone_into(&mut of);
            told.entry(of.clone()).or_default().1 = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            told.entry(name.to_owned()).or_default().0 = kind.to_owned();
        } else if let Some((_, labels)) = line.split_once('{') {
            let names = labels.rsplit_once('}').unwrap().0.split("\",").map(|label| label.split_once('=').unwrap().0);
            let names = names.filter(|name| *name != "le").map(str::to_owned);
            told.get_mut(&of).unwrap().2.extend(names);
        }
    }
    told
}

/// What the page says, by name, but for what needs a broker or a cluster.
fn documented() -> BTreeMap<String, Told> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `weir_") || line.starts_with("| `process_"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let name = cells[0].trim_matches('`').to_owned();
        let labels = cells[3].split("; `").filter_map(|label| label.split_once("`: "));
        let labels = labels.map(|(label, _)| label.trim_matches('`').to_owned()).collect();
        (name, (cells[1].to_owned(), cells[4].to_owned(), labels))
    };
    let elsewhere = |name: &str| name.starts_with("weir_bridge_") || name.starts_with("weir_fluvio_");
    rows.map(row).filter(|(name, _)| !elsewhere(name)).collect()
}

/// A process that did something of everything.
fn busy(data: &Path, rules: &Path) -> Up {
    std::fs::write(rules, RULES).unwrap();
    let up = Up::start(data, free_address(), Some(rules));
    let mut device = Client::connect(up.mqtt, "pump-1");
    send(&mut device, 1);
    device.publish("hall/pump-1/telemetry", b"no payload");
    until("the step is done", || up.metric("weir_workflows_steps_total{outcome=\"done\"") == Some(1.0));
    until("the alert is stored", || up.metric("weir_sink_committed_rows_total{table=\"alerts\"}") == Some(1.0));
    until_values_are_shown(&up);
    let acknowledged = up.metric("weir_ingest_acknowledged_messages_total");
    assert_eq!((up.metric("weir_ingest_acknowledge_seconds_count"), acknowledged), (Some(2.0), Some(2.0)));
    assert_eq!(up.metric("weir_fleet_value_mean{metric=\"temperature\",site=\"hall\"}"), Some(99.5));
    up
}

#[test]
fn requests_are_counted_by_route_never_by_path() {
    let directory = tempfile::tempdir().unwrap();
    let up = Up::start(&directory.path().join("data"), free_address(), None);
    for path in ["/nothing/0f", "/api/v1/nothing/0f", "/api/v1/workflows/0f", "/api/v1/workflows/1f", "/api/v1/rules"] {
        get(&up, path);
    }
    let count =
        |route: &str, code: &str| up.metric(&format!("weir_http_requests_total{{code=\"{code}\",route=\"{route}\"}}"));
    assert_eq!(count("/api/v1/workflows/{id}", "404"), Some(2.0));
    assert_eq!((count("none", "404"), count("/api/v1/rules", "200")), (Some(2.0), Some(1.0)));
    assert_eq!(count("/healthz", "200"), Some(0.0), "there from the start");
    assert!(!scrape(&up).contains("0f"), "a path became a label");
    up.stop();
}

#[test]
fn every_metric_is_documented_and_every_documented_one_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let up = busy(&directory.path().join("data"), &directory.path().join("rules.toml"));
    let (shown, documented) = (shown(&scrape(&up)), documented());
    up.stop();
    let names = |of: &BTreeMap<String, Told>| of.keys().cloned().collect::<BTreeSet<_>>();
    let (shown_names, documented_names) = (names(&shown), names(&documented));
    assert_eq!(shown_names.difference(&documented_names).collect::<Vec<_>>(), Vec::<&String>::new(), "undocumented");
    assert_eq!(documented_names.difference(&shown_names).collect::<Vec<_>>(), Vec::<&String>::new(), "not there");
    for (name, told) in &shown {
        assert_eq!(told, &documented[name], "{name}");
    }
    assert!(shown.len() > 80, "{}", shown.len());
}

#[test]
#[ignore = "needs promtool"]
fn promtool_finds_nothing_to_complain_of() {
    let directory = tempfile::tempdir().unwrap();
    let up = busy(&directory.path().join("data"), &directory.path().join("rules.toml"));
    let text = scrape(&up);
    up.stop();
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
    assert_eq!((said(&output.stdout), said(&output.stderr)), (String::new(), String::new()));
}

/// The balance of readings: received, stored, deduplicated, in flight, difference.
fn readings(up: &Up) -> [f64; 5] {
    let part = |part: &str| up.metric(&format!("weir_balance_readings{{part=\"{part}\"}}")).unwrap();
    let difference = up.metric("weir_balance_difference_readings").unwrap();
    [part("received"), part("stored"), part("deduplicated"), part("in_flight"), difference]
}

/// The balance of messages: received, accepted, dead-lettered, rejected, in flight, difference.
fn messages(up: &Up) -> [f64; 6] {
    let part = |part: &str| up.metric(&format!("weir_balance_messages{{part=\"{part}\"}}")).unwrap();
    let difference = up.metric("weir_balance_difference_messages").unwrap();
    [part("received"), part("accepted"), part("dead_lettered"), part("rejected"), part("in_flight"), difference]
}

/// A client that sends more than it may, and is cut off.
fn send_too_much(up: &Up) {
    let mut stream = TcpStream::connect(up.mqtt).unwrap();
    stream.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x").unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    // PUBLISH at QoS 1 of 128 * 128 - 1 bytes, topic `h/d/telemetry`, packet 1.
    let mut packet = b"\x32\xff\x7f\x00\x0dh/d/telemetry\x00\x01".to_vec();
    packet.resize(3 + 128 * 128 - 1, b' ');
    // The other side may have closed before all of it was sent.
    drop(stream.write_all(&packet));
    until("it is counted", || messages(up)[3] == 1.0);
}

#[test]
fn the_balance_is_0_at_rest_also_after_a_kill_with_a_backlog() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    // Nothing is stored before the kill.
    let held = [("WEIR_SINK__ROLL_AGE_SECONDS", "3600"), ("WEIR_MQTT__MAX_PAYLOAD_BYTES", "8000")];
    let up = Up::start_with(&data, free_address(), None, &held);
    assert_eq!((readings(&up), messages(&up)), ([0.0; 5], [0.0; 6]));
    let mut device = Client::connect(up.mqtt, "pump-1");
    (0..40).for_each(|seq| send(&mut device, seq));
    send(&mut device, 39);
    device.publish("hall/pump-1/telemetry", b"no payload");
    send_too_much(&up);
    until("all is read", || readings(&up)[2] == 2.0);
    assert_eq!(readings(&up), [82.0, 0.0, 2.0, 80.0, 0.0]);
    assert_eq!(messages(&up), [43.0, 41.0, 1.0, 1.0, 0.0, 0.0]);
    up.kill();

    let up = Up::start(&data, free_address(), None);
    let mut device = Client::connect(up.mqtt, "pump-1");
    // Ten that were acknowledged before the kill, and five new ones.
    (30..45).for_each(|seq| send(&mut device, seq));
    until("all is stored", || up.metric("weir_sink_committed_rows_total{table=\"readings\"}") == Some(90.0));
    until("the group stands at the end", || readings(&up)[3] == 0.0);
    assert_eq!(readings(&up), [30.0, 10.0, 20.0, 0.0, 0.0]);
    assert_eq!(messages(&up), [15.0, 15.0, 0.0, 0.0, 0.0, 0.0]);
    up.stop();
}

#[test]
fn the_balance_is_0_after_a_kill_under_load() {
    let directory = tempfile::tempdir().unwrap();
    let (data, ledger) = (directory.path().join("data"), directory.path().join("ledger.csv"));
    let mqtt = free_address();
    let up = Up::start(&data, mqtt, None);
    let mut fleet = weir();
    fleet.args(["simulate", "--mqtt", &mqtt.to_string(), "--devices", "50", "--rate", "500", "--for", "3s"]);
    let mut fleet = fleet.arg("--ledger").arg(&ledger).spawn().unwrap();
    until("readings come in", || readings(&up)[0] > 200.0);
    up.kill();
    let up = Up::start(&data, mqtt, None);
    assert!(fleet.wait().unwrap().success(), "not everything was acknowledged in the end");
    until("nothing is in flight", || readings(&up)[3] == 0.0);
    let [received, stored, deduplicated, _, difference] = readings(&up);
    println!("{received} received = {stored} stored + {deduplicated} deduplicated");
    assert_eq!((received - stored - deduplicated, difference), (0.0, 0.0));
    assert!(stored > 100.0, "{stored}");
    up.stop();
    let table = data.join("tables/readings");
    succeed(weir().args(["verify", "--json", "--ledger"]).arg(&ledger).arg("--table").arg(table));
}
