//! A real Prometheus scrapes a running pipeline in which everything happens that can: load, rules, steps, a target that
//! fails, messages that are refused. Each query of each dashboard must return data, each alert must be evaluated.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{alerts, root, script};
use crate::client::Client;
use crate::process::{Up, free_address, pause, weir};

/// How long a query may be without data: values of the fleet are there after two full minutes.
const WAIT_SECONDS: &str = "240";
/// Between two messages that are refused.
const MISCHIEF: Duration = Duration::from_millis(200);

/// Ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        if self.0.kill().is_ok() {
            self.0.wait().unwrap();
        }
    }
}

/// A web server that answers every request with one status.
fn target(status: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the process of the tests.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            // A client that went away is its own affair.
            drop(answer(stream, status));
        }
    });
    address
}

fn answer(mut stream: TcpStream, status: u16) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length])?;
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

/// Rules of every kind of step, one that fails, each at most once in ten seconds for a device.
fn rules(good: SocketAddr, bad: SocketAddr) -> String {
    let rule = |id: &str, when: &str, steps: &str| {
        format!(
            "[[rule]]\nid = \"{id}\"\nwhen = \"{when}\"\nseverity = \"warning\"\nmessage = \"{{device_id}} {{value}}\"\n\
             cooldown = \"10s\"\n{steps}\n"
        )
    };
    let retry = "retry = { attempts = 2, initial = \"10ms\", cap = \"50ms\" }";
    [
        rule("told", "metric = 'battery' AND value < 60", &format!("[[rule.step]]\nwebhook = \"http://{good}/told\"")),
        rule(
            "untold",
            "metric = 'battery' AND value < 30",
            &format!("[[rule.step]]\nwebhook = \"http://{bad}/untold\"\n{retry}"),
        ),
        rule("kept", "metric = 'vibration' AND value > 1.5", "[[rule.step]]\nemit = \"maintenance\""),
        rule(
            "commanded",
            "metric = 'battery' AND value < 45",
            "[[rule.step]]\nmqtt = \"{site}/{device_id}/commands\"\nttl = \"1m\"",
        ),
        rule("broken", "CAST(value_text AS INT) > 0", ""),
    ]
    .concat()
}

fn prometheus(folder: &Path, weir: SocketAddr) -> (Running, String) {
    let address = free_address().to_string();
    let alerts = root().join("deploy/prometheus/alerts.yml").canonicalize().unwrap();
    let configuration = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [\"{}\"]\nscrape_configs:\n\
         - job_name: weir\n  static_configs: [{{ targets: [\"{weir}\"], labels: {{ stage: up }} }}]\n",
        alerts.display()
    );
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, configuration).unwrap();
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()));
    command.arg(format!("--web.listen-address={address}")).arg("--log.level=error");
    (Running(command.stdin(Stdio::null()).spawn().unwrap()), format!("http://{address}"))
}

fn fleet(folder: &Path, mqtt: SocketAddr) -> Running {
    let mut command = weir();
    command.args(["simulate", "--mqtt", &mqtt.to_string(), "--devices", "60", "--rate", "150", "--mischief", "0.05"]);
    command.args(["--surge", "6x@60s+20s", "--boot-each", "60s"]);
    command.arg("--ledger").arg(folder.join("ledger.csv")).arg("--commands").arg(folder.join("commands.csv"));
    Running(command.stdout(Stdio::null()).spawn().unwrap())
}

/// `WEIR_PICTURES` names a folder for pictures of the dashboards; then it runs for as long as they show.
#[test]
#[ignore = "needs prometheus and python"]
fn every_query_of_every_dashboard_returns_data_and_every_alert_is_evaluated() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path();
    let rule_file = folder.join("rules.toml");
    std::fs::write(&rule_file, rules(target(200), target(500))).unwrap();
    let up = Up::start_with(
        &folder.join("data"),
        free_address(),
        Some(&rule_file),
        &[
            ("WEIR_WORKFLOWS__ALLOW_ADDRESSES", "[\"127.0.0.0/8\"]"),
            ("WEIR_WORKFLOWS__BREAKER_OPEN_SECONDS", "2.0"),
            ("WEIR_WORKFLOWS__BREAKER_LONGEST_OPEN_SECONDS", "8.0"),
            ("WEIR_STREAMS__EMIT", "[\"maintenance\"]"),
            ("WEIR_SINK__ROLL_AGE_SECONDS", "5.0"),
        ],
    );
    let (_prometheus, address) = prometheus(folder, up.http);
    let _fleet = fleet(folder, up.mqtt);
    let pictures = std::env::var_os("WEIR_PICTURES");
    let mut ask = script("query.py");
    ask.args([&address, "--wait", WAIT_SECONDS, "--alerts"]);
    if pictures.is_some() {
        ask.args(["--least", "230"]);
    }
    let mut asking = ask.spawn().unwrap();
    misbehave_until(up.mqtt, &mut asking);
    assert!(asking.wait().unwrap().success(), "the queries above return no data");
    let evaluated = crate::process::succeed(script("query.py").args([&address, "--alerts"]));
    let said = String::from_utf8(evaluated.stdout).unwrap();
    assert!(said.contains(&format!("{} alerts were evaluated", alerts::count())), "{said}");
    if let Some(pictures) = pictures {
        let mut draw = script("draw.py");
        draw.args([&address, "--minutes", "4", "--into"]).arg(root().join(pictures));
        crate::process::succeed(&mut draw);
    }
    up.stop();
}

/// Sends what is refused, and what the rule `broken` fails on, as long as `asking` runs.
fn misbehave_until(mqtt: SocketAddr, asking: &mut Child) {
    let mut device = Client::connect(mqtt, "gremlin");
    let mut seq = 0;
    while asking.try_wait().unwrap().is_none() {
        seq += 1;
        device.publish("hall-a/gremlin/telemetry", &[0xff, 0xfe]);
        device.publish("hall-a/gremlin/telemetry", b"{\"temperature\": ");
        device.publish("hall-a/gremlin/telemetry", format!("{{\"state\":\"on\",\"boot\":1,\"seq\":{seq}}}").as_bytes());
        pause(MISCHIEF);
    }
}
