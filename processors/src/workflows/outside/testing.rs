//! Firings, attempts and servers for tests of targets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use telemetry::Timestamp;
use telemetry::clock::{Clock, ManualClock};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::file::Severity;
use crate::firing::Firing;
use crate::plan::{Action, Mqtt, OnFailure, Plan, Retry, Step, Webhook};
use crate::workflows::address::{Guard, SystemLookup};
use crate::workflows::target::{Attempt, Command, CommandError, Devices};

/// 2026-01-01T00:00:00Z, when readings were taken.
pub(crate) const NEW_YEAR: i64 = 1_767_225_600_000_000;

/// A firing on a reading.
pub(crate) fn firing() -> Firing {
    Firing {
        run_id: "00112233445566778899aabbccddeeff".to_owned(),
        rule_id: "overheating".to_owned(),
        rule_version: 2,
        severity: Severity::Critical,
        message: "oven-1 is at 81.5 Cel".to_owned(),
        device_id: "oven-1".to_owned(),
        site: Some("hall-1".to_owned()),
        time: Timestamp::from_micros(NEW_YEAR),
        received_at: Timestamp::from_micros(NEW_YEAR + 1_500_000),
        boot: Some(3),
        seq: Some(17),
        data: r#"{"metric":"temperature","value":81.5,"unit":"Cel"}"#.to_owned(),
        plan: "".into(),
        trace: None,
    }
}

/// A plan of one step.
pub(crate) fn plan(action: Action, body: Option<&str>) -> Plan {
    let labels = BTreeMap::from([("team".to_owned(), "ovens".to_owned())]);
    let body = body.map(str::to_owned);
    Plan { labels, steps: vec![Step { action, body, retry: Retry::default(), on_failure: OnFailure::default() }] }
}

/// An attempt at the only step of `plan`.
pub(crate) fn attempt(plan: Plan) -> Attempt {
    let firing = firing();
    Attempt { key: firing.step_key(0).into(), firing: Arc::new(firing), plan: Arc::new(plan), step: 0, span: None }
}

/// A webhook without headers and secret.
pub(crate) fn webhook(url: &str) -> Webhook {
    Webhook { url: url.to_owned(), headers: BTreeMap::new(), secret: None, timeout: Duration::from_secs(20) }
}

/// A command that lives for a minute.
pub(crate) fn mqtt(topic: &str, broker: Option<String>) -> Action {
    Action::Mqtt(Mqtt { topic: topic.to_owned(), broker, ttl: Duration::from_secs(60) })
}

/// A clock that stands two seconds after the firing was received.
pub(crate) fn clock() -> Arc<dyn Clock> {
    ManualClock::new(Timestamp::from_micros(NEW_YEAR + 3_500_000))
}

/// A guard that allows `networks`, with the resolver of the machine.
pub(crate) fn guard(networks: &[&str]) -> Guard {
    let allowed: Vec<_> = networks.iter().map(|network| network.parse().unwrap()).collect();
    Guard::new(Arc::new(SystemLookup), &allowed)
}

/// What came in one request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

type Answer = Arc<dyn Fn(&Seen) -> Response + Send + Sync>;

/// An HTTP server on a free port of 127.0.0.1 that answers as it is told and remembers what it was asked.
#[derive(Clone)]
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _server: Arc<Server>,
}

struct Server(AbortHandle);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Stub {
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer: Answer = Arc::new(answer);
        let router = Router::new().fallback(take).with_state((seen.clone(), answer));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen, _server: Arc::new(Server(server.abort_handle())) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn take(
    State((seen, answer)): State<(Arc<Mutex<Vec<Seen>>>, Answer)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Seen { uri: uri.to_string(), headers, body };
    let response = answer(&request);
    seen.lock().unwrap().push(request);
    response
}

/// An endpoint that ends each command in the same way.
#[derive(Debug)]
pub(crate) struct StubDevices {
    pub(crate) answer: Result<(), CommandError>,
    pub(crate) sent: Mutex<Vec<Command>>,
}

impl StubDevices {
    pub(crate) fn new(answer: Result<(), CommandError>) -> Arc<Self> {
        Arc::new(Self { answer, sent: Mutex::new(Vec::new()) })
    }
}

#[async_trait]
impl Devices for StubDevices {
    async fn send(&self, command: Command) -> Result<(), CommandError> {
        self.sent.lock().unwrap().push(command);
        self.answer.clone()
    }
}
