//! The API over a socket, as a client sees it.

use std::net::SocketAddr;

use processors::workflows::RunState;
use prometheus::{IntCounterVec, Opts};
use serde_json::{Value, json};
use telemetry::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::dlq::tests::Fixture;
use crate::dlq::tests::running::Running;
use crate::snapshot::Snapshot;

const RULES: &str = "[[rule]]\nid = \"hot\"\nwhen = \"value > 80\"\nseverity = \"warning\"\nmessage = \"{value}\"\n";

/// A served API; the fixture must outlive the requests.
struct Served {
    address: SocketAddr,
    letters: Fixture,
    rules: watch::Sender<Arc<RuleSet>>,
}

impl Served {
    async fn new() -> Self {
        Self::of(Fixture::new().await, None).await
    }

    async fn of(letters: Fixture, workflows: Option<Workflows>) -> Self {
        let registry = Registry::new();
        for (name, count) in [("weir_rules_matches_total", 7), ("weir_rules_errors_total", 2)] {
            let counter = IntCounterVec::new(Opts::new(name, "A test"), &["rule"]).unwrap();
            counter.with_label_values(&["hot"]).inc_by(count);
            counter.with_label_values(&["of yesterday"]).inc_by(99);
            registry.register(Box::new(counter)).unwrap();
        }
        let (sender, rules) = watch::channel(Arc::new(RuleSet::parse(RULES, "rules.toml").unwrap()));
        let state = ApiState {
            workflows,
            dlq: Some(letters.dlq.clone()),
            rules: Some(rules),
            registry: registry.clone(),
            streams: letters.streams.clone(),
            data: std::path::PathBuf::new(),
            snapshot: Source::new("up", registry, Arc::new(|| Ok(())), letters.streams.clone(), letters.clock.clone()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router(state)).await });
        Self { address, letters, rules: sender }
    }

    /// Status and body of the answer to a request of these lines and this body.
    async fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        let request =
            format!("{method} {path} HTTP/1.1\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", &format!("/api/v1/{path}"), &["host: 127.0.0.1:9464"], "").await
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let headers = ["host: localhost", "weir-admin: 1", "content-type: application/json"];
        self.ask("POST", &format!("/api/v1/{path}"), &headers, body).await
    }
}

fn error((status, body): (u16, Value)) -> (u16, String) {
    (status, body["error"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned())
}

#[tokio::test]
async fn letters_are_listed_shown_redriven_and_dropped() {
    let served = Served::new().await;
    for _ in 0..3 {
        served.letters.publish(3600, None).await;
    }
    let (status, page) = served.get("dlq?limit=2&source=ingest&reason=future_time&state=waiting").await;
    assert_eq!((status, page["letters"].as_array().unwrap().len()), (200, 2), "{page}");
    assert_eq!(page["next"], "ingest-1-0");
    let (_, rest) = served.get("dlq?after=ingest-1-0").await;
    assert_eq!((rest["letters"][0]["id"].as_str(), &rest["next"]), (Some("ingest-2-0"), &Value::Null));

    let (status, letter) = served.get("dlq/ingest-0-0").await;
    assert_eq!((status, letter["state"].as_str()), (200, Some("waiting")), "{letter}");
    assert!(letter["text"].as_str().unwrap().contains("temperature"), "{letter}");

    served.letters.clock.advance(std::time::Duration::from_secs(3600));
    let (status, done) = served.post("dlq/redrive", r#"{"ids":["ingest-0-0","ingest-9-0"]}"#).await;
    assert_eq!((status, done["done"].as_u64()), (200, Some(1)), "{done}");
    assert_eq!(done["failed"][0]["id"], "ingest-9-0");
    let (_, done) = served.post("dlq/drop", r#"{"all":true,"reason":"future_time"}"#).await;
    assert_eq!(done["done"].as_u64(), Some(2), "{done}");
    let (_, left) = served.get("dlq?state=waiting").await;
    assert_eq!(left["letters"], json!([]));
}

#[tokio::test]
async fn rules_are_told_with_what_they_did() {
    let served = Served::new().await;
    let (status, rules) = served.get("rules").await;
    assert_eq!(status, 200);
    let [rule] = rules["rules"].as_array().unwrap().as_slice() else { panic!("{rules}") };
    assert_eq!((rule["id"].as_str(), rule["when"].as_str()), (Some("hot"), Some("value > 80")));
    assert_eq!(
        (rule["severity"].as_str(), rule["matches"].as_u64(), rule["errors"].as_u64()),
        (Some("warning"), Some(7), Some(2))
    );
    served.rules.send_replace(Arc::new(RuleSet::empty()));
    assert_eq!(served.get("rules").await.1, json!({ "rules": [] }), "the rules in force");
}

#[tokio::test]
async fn what_a_web_page_could_send_is_refused() {
    let served = Served::new().await;
    served.letters.publish(3600, None).await;
    let path = "/api/v1/dlq/drop";
    let json = "content-type: application/json";
    let all = r#"{"all":true}"#;
    for headers in [
        // A form of a page, which needs nobody's leave.
        &["host: 127.0.0.1:9464", "content-type: text/plain"][..],
        &["host: 127.0.0.1:9464", json],
        &["host: 127.0.0.1:9464", json, "weir-admin: 0"],
        // A name that now leads here.
        &["host: evil.example:9464", json, "weir-admin: 1"],
        &["host: 127.0.0.1", "host: evil.example", json, "weir-admin: 1"],
        &[json, "weir-admin: 1"],
    ] {
        let (status, text) = error(served.ask("POST", path, headers, all).await);
        assert_eq!(status, 403, "{headers:?}");
        assert!(text.contains("header host") || text.contains("header weir-admin"), "{text}");
    }
    let (status, _) = error(served.ask("GET", "/api/v1/dlq", &["host: evil.example"], "").await);
    assert_eq!(status, 403);
    let (status, _) = error(served.ask("GET", "http://evil.example/api/v1/dlq", &["host: 127.0.0.1"], "").await);
    assert_eq!(status, 403);
    let (_, page) = served.get("dlq?state=waiting").await;
    assert_eq!(page["letters"].as_array().unwrap().len(), 1, "nothing was dropped");
}

#[tokio::test]
async fn bad_requests_name_what_is_wrong() {
    let served = Served::new().await;
    for (path, part) in [
        ("dlq?limit=0", "limit = 0"),
        ("dlq?limit=1001", "1 to 1000"),
        ("dlq?limt=5", "limt"),
        ("dlq?state=lost", "lost"),
        ("dlq?source=door", "door"),
        ("dlq?after=x-1-2", "x-1-2"),
        ("dlq/x-1-2", "x-1-2"),
    ] {
        let (status, text) = error(served.get(path).await);
        assert!(status == 400 && text.contains(part), "{path}: {status} {text}");
    }
    assert_eq!(error(served.get("dlq/ingest-5-0").await).0, 404);
    assert_eq!(error(served.get("nothing").await).0, 404);
    assert_eq!(error(served.get("dlq/redrive").await).0, 405);
    assert_eq!(error(served.post("rules", "{}").await).0, 405);
    for (body, status) in [("{}", 400), (r#"{"all":true,"ids":["ingest-0-0"]}"#, 400), ("nonsense", 400)] {
        assert_eq!(error(served.post("dlq/redrive", body).await).0, status, "{body}");
    }
    let (status, text) = error(served.post("dlq/drop", r#"{"everything":true}"#).await);
    assert!(status == 422 && text.contains("everything"), "{status} {text}");
    let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(BODY_BYTES));
    assert_eq!(error(served.post("dlq/drop", &long).await).0, 413);
    let form = ["host: localhost", "weir-admin: 1", "content-type: text/plain"];
    assert_eq!(error(served.ask("POST", "/api/v1/dlq/drop", &form, r#"{"all":true}"#).await).0, 415);
}

#[tokio::test]
async fn runs_are_listed_shown_and_cancelled() {
    let running = Running::new().await;
    let ids = ["0f", "1f"].map(|start| start.repeat(16));
    running.admit(&ids[0], RunState::Dead).await;
    running.works(true);
    running.admit(&ids[1], RunState::Done).await;
    let served = Served::of(running.fixture, Some(running.workflows.clone())).await;
    let (status, page) = served.get("workflows?limit=1").await;
    assert_eq!((status, page["runs"][0]["id"].as_str()), (200, Some(&*ids[1])), "newest first: {page}");
    let next = page["next"].as_u64().unwrap();
    let (_, page) = served.get(&format!("workflows?after={next}&rule=hot&device=pump-1")).await;
    assert_eq!(page["runs"][0]["id"].as_str(), Some(&*ids[0]), "{page}");
    let (_, page) = served.get("workflows?state=dead").await;
    assert_eq!(page["runs"].as_array().unwrap().len(), 1, "{page}");
    let (_, page) = served.get("workflows?rule=cold").await;
    assert_eq!(page["runs"], json!([]));

    let (status, run) = served.get(&format!("workflows/{}", ids[0])).await;
    assert_eq!((status, run["progress"][0]["state"].as_str()), (200, Some("dead")), "{run}");
    let (status, run) = served.post(&format!("workflows/{}/cancel", ids[0]), "").await;
    assert_eq!((status, run["state"].as_str()), (200, Some("cancelled")), "{run}");
    let (status, text) = error(served.post(&format!("workflows/{}/cancel", ids[0]), "").await);
    assert!(status == 409 && text.contains("is cancelled"), "{status} {text}");
    assert_eq!(error(served.get("workflows/0f").await).0, 404);
    assert_eq!(error(served.post("workflows/0f/cancel", "").await).0, 404);
    for (path, part) in [("workflows?limit=0", "limit = 0"), ("workflows?state=lost", "lost"), ("workflows?x=1", "x")] {
        let (status, text) = error(served.get(path).await);
        assert!(status == 400 && text.contains(part), "{path}: {status} {text}");
    }
}

#[tokio::test]
async fn without_workflows_their_part_says_so() {
    let served = Served::new().await;
    let (status, text) = error(served.get("workflows").await);
    assert!(status == 409 && text.contains("no workflows run"), "{status} {text}");
}

#[tokio::test]
async fn a_snapshot_tells_the_process_now() {
    let served = Served::new().await;
    let (status, shown) = served.get("snapshot").await;
    assert_eq!(status, 200);
    let snapshot: Snapshot = serde_json::from_value(shown).unwrap();
    let hot = snapshot.rules.iter().find(|rule| rule.rule == "hot").unwrap();
    assert_eq!((snapshot.stage.as_str(), hot.matches, hot.errors), ("up", 7, 2));
    assert_eq!(snapshot.time_ms, served.letters.clock.now().as_micros() / 1000);
}
