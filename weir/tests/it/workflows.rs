//! What rules start, seen and steered from the command line.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::AsArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::client::Client;
use crate::dlq::{dlq, waiting};
use crate::process::{Up, free_address, last_json, parquet_files, succeed, until, weir};

/// A web server that answers with one status, and remembers the idempotency keys it saw.
struct Hook {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    keys: Arc<Mutex<Vec<String>>>,
}

impl Hook {
    fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (status, keys) = (Arc::new(AtomicU16::new(status)), Arc::<Mutex<Vec<String>>>::default());
        let (answers, seen) = (status.clone(), keys.clone());
        // Ends with the process of the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                if let Some(key) = key_of(&mut stream) {
                    seen.lock().unwrap().push(key);
                    let status = answers.load(Ordering::SeqCst);
                    let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                    // A client that went away is its own affair.
                    drop(stream.write_all(answer.as_bytes()));
                }
            }
        });
        Self { address, status, keys }
    }

    fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }
}

/// Reads one request, and returns its idempotency key.
fn key_of(stream: &mut TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut key, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "idempotency-key" => key = Some(value.trim().to_owned()),
            "content-length" => length = value.trim().parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    key
}

const ENVIRONMENT: [(&str, &str); 2] =
    [("WEIR_WORKFLOWS__ALLOW_ADDRESSES", "[\"127.0.0.0/8\"]"), ("WEIR_STREAMS__EMIT", "[\"maintenance\"]")];

fn workflows(up: &Up, arguments: &[&str]) -> Command {
    let mut command = weir();
    command.arg("workflows").args(arguments).args(["--http", &up.http.to_string()]);
    command
}

/// Runs in `state`, newest first.
fn runs(up: &Up, state: &str) -> Vec<Value> {
    let listed = succeed(&mut workflows(up, &["list", "--state", state, "--json"]));
    String::from_utf8(listed.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn hot(device: &mut Client, seq: i64) {
    let payload = format!(r#"[{{"n":"boot","v":1}},{{"n":"seq","v":{seq}}},{{"n":"temperature","v":99.5}}]"#);
    device.publish("hall/pump-1/telemetry", payload.as_bytes());
}

/// Ids of the events in the table.
fn events(data: &Path) -> Vec<String> {
    let mut ids = Vec::new();
    for path in parquet_files(&data.join("tables/maintenance")) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap()).unwrap();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let column = batch.column_by_name("event_id").unwrap().as_string::<i32>().clone();
            ids.extend(column.iter().map(|id| id.unwrap().to_owned()));
        }
    }
    ids.sort_unstable();
    ids
}

#[test]
fn a_step_that_was_given_up_is_redriven_with_its_key_and_the_run_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (data, rules) = (directory.path().join("data"), directory.path().join("rules.toml"));
    let hook = Hook::start(500);
    let rule = format!(
        "[[rule]]\nid = \"hot\"\nversion = 3\nwhen = \"metric = 'temperature' AND value > 40\"\nseverity = \"warning\"\n\
         message = \"{{device_id}} {{value}}\"\n\
         [[rule.step]]\nwebhook = \"http://{}/hook/{{device_id}}\"\nretry = {{ attempts = 2, initial = \"10ms\", cap = \"20ms\" }}\n\
         [[rule.step]]\nemit = \"maintenance\"\n",
        hook.address
    );
    std::fs::write(&rules, rule).unwrap();
    let up = Up::start_with(&data, free_address(), Some(&rules), &ENVIRONMENT);
    let mut device = Client::connect(up.mqtt, "pump-1");
    hot(&mut device, 1);
    until("the step is given up", || !waiting(up.http).is_empty());

    let letters = waiting(up.http);
    let letter = last_json(&succeed(&mut dlq(up.http, &["show", &letters[0], "--json"])));
    assert_eq!((letter["reason"].as_str(), letter["client_id"].as_str()), (Some("workflow_step"), Some("hot")));
    assert_eq!(letter["attempts"].as_u64(), Some(2), "{letter}");
    let dead = runs(&up, "dead");
    assert_eq!(dead.len(), 1, "{dead:?}");
    let id = dead[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(letter["topic"].as_str(), Some(&*format!("workflows/{id}/0")));
    let shown = last_json(&succeed(&mut workflows(&up, &["show", &id, "--json"])));
    assert_eq!(shown["progress"][0]["state"], "dead", "{shown}");
    assert_eq!(shown["progress"][1]["state"], "pending", "{shown}");

    hook.status.store(200, Ordering::SeqCst);
    succeed(&mut dlq(up.http, &["redrive", "--all"]));
    until("the run is done", || runs(&up, "done").len() == 1);
    assert_eq!(waiting(up.http), Vec::<String>::new());
    let keys: BTreeSet<String> = hook.keys().into_iter().collect();
    assert_eq!(keys, BTreeSet::from([format!("{id}-0")]), "one key in all attempts");
    assert_eq!(hook.keys().len(), 3);

    hook.status.store(500, Ordering::SeqCst);
    hot(&mut device, 2);
    until("another run waits", || runs(&up, "dead").len() == 1);
    let other = runs(&up, "dead")[0]["id"].as_str().unwrap().to_owned();
    hook.status.store(200, Ordering::SeqCst);
    succeed(&mut workflows(&up, &["redrive", "--all"]));
    until("it is done without its letter", || runs(&up, "done").len() == 2);
    let again = workflows(&up, &["redrive", &other]).output().unwrap();
    assert!(String::from_utf8_lossy(&again.stderr).contains("does not wait with a dead letter"), "{again:?}");
    up.stop();
    let mut expected = [format!("{id}-1"), format!("{other}-1")];
    expected.sort_unstable();
    assert_eq!(events(&data), expected);
}

#[test]
fn a_run_that_waits_is_cancelled_and_a_dropped_letter_ends_its_run() {
    let directory = tempfile::tempdir().unwrap();
    let (data, rules) = (directory.path().join("data"), directory.path().join("rules.toml"));
    let hook = Hook::start(404);
    let rule = format!(
        "[[rule]]\nid = \"hot\"\nwhen = \"value > 40\"\nseverity = \"warning\"\nmessage = \"hot\"\n\
         [[rule.step]]\nmqtt = \"{{site}}/{{device_id}}/commands\"\nttl = \"10m\"\n\
         [[rule]]\nid = \"gone\"\nwhen = \"value > 40\"\nseverity = \"info\"\nmessage = \"gone\"\n\
         [[rule.step]]\nwebhook = \"http://{}/gone\"\n",
        hook.address
    );
    std::fs::write(&rules, rule).unwrap();
    let up = Up::start_with(&data, free_address(), Some(&rules), &ENVIRONMENT);
    let mut device = Client::connect(up.mqtt, "pump-1");
    hot(&mut device, 1);
    until("one run waits for its device, the other with a letter", || {
        runs(&up, "pending").len() == 1 && runs(&up, "dead").len() == 1
    });
    let pending = runs(&up, "pending")[0]["id"].as_str().unwrap().to_owned();
    let cancelled = last_json(&succeed(&mut workflows(&up, &["cancel", &pending, "--json"])));
    assert_eq!(cancelled["state"], "cancelled", "{cancelled}");
    let again = workflows(&up, &["cancel", &pending]).output().unwrap();
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("is cancelled"), "{again:?}");

    succeed(&mut dlq(up.http, &["drop", "--all"]));
    assert_eq!(waiting(up.http), Vec::<String>::new());
    assert_eq!((runs(&up, "dead").len(), runs(&up, "dropped").len()), (0, 1));
    let unknown = workflows(&up, &["show", "0f"]).output().unwrap();
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no run 0f"), "{unknown:?}");
    up.stop();
}
