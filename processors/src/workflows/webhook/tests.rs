use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;

use axum::http::StatusCode as Status;
use axum::response::IntoResponse;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::plan::{Plan, Secret};
use crate::workflows::address::{Lookup, SystemLookup};
use crate::workflows::outside::testing::{NEW_YEAR, Stub, attempt, clock, guard, plan, webhook};

const LOOPBACK: &[&str] = &["127.0.0.1/32"];

fn webhooks(allowed: &[&str]) -> Webhooks {
    Webhooks::new(guard(allowed), clock()).unwrap()
}

async fn post(webhook: Webhook) -> Outcome {
    webhooks(LOOPBACK).attempt(&attempt(of(webhook))).await
}

fn of(webhook: Webhook) -> Plan {
    plan(Action::Webhook(webhook), Some("body of {{ device_id }}"))
}

/// What becomes of a webhook whose answer has this status and this header.
async fn answered(status: u16, header: Option<(&'static str, &'static str)>) -> Outcome {
    let status = Status::from_u16(status).unwrap();
    let stub = Stub::start(move |_| match header {
        Some(header) => (status, [header], "said\r\nthis").into_response(),
        None => (status, "said\r\nthis").into_response(),
    });
    let stub = stub.await;
    let outcome = post(webhook(&stub.url("/"))).await;
    assert_eq!(stub.seen().len(), 1);
    outcome
}

/// A server that does with each connection what it is told, after it has read the head of a request.
async fn raw<F: Future<Output = ()> + Send>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            serve(stream).await;
        }
    });
    address
}

#[tokio::test]
async fn the_request_has_key_type_body_and_the_headers_of_the_rule() {
    let stub = Stub::start(|_| "thanks".into_response()).await;
    let mut webhook = webhook(&stub.url("/hook/{device_id}?at={site}"));
    webhook.headers.insert("X-Team".to_owned(), "ovens ${env:CARGO_PKG_NAME}".to_owned());
    assert_eq!(post(webhook).await, Outcome::Done("200 OK".to_owned()));
    let seen = &stub.seen()[0];
    assert_eq!(seen.uri, "/hook/oven-1?at=hall-1");
    assert_eq!(seen.body, "body of oven-1");
    assert_eq!(seen.headers["idempotency-key"], "00112233445566778899aabbccddeeff-0");
    assert_eq!(seen.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(seen.headers["user-agent"], format!("weir/{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(seen.headers["x-team"], "ovens processors");
    assert!(!seen.headers.contains_key("weir-signature") && !seen.headers.contains_key("weir-timestamp"));
}

#[tokio::test]
async fn every_status_has_its_outcome() {
    for status in [200, 201, 202, 204] {
        let outcome = answered(status, None).await;
        assert!(matches!(outcome, Outcome::Done(_)), "{status}: {outcome:?}");
    }
    for status in [408, 425, 500, 502, 503, 504, 599] {
        let outcome = answered(status, None).await;
        assert!(matches!(outcome, Outcome::Failed(_)), "{status}: {outcome:?}");
    }
    for status in [300, 304, 400, 401, 403, 404, 409, 410, 422] {
        let outcome = answered(status, None).await;
        assert!(matches!(outcome, Outcome::Refused(_)), "{status}: {outcome:?}");
    }
    let told = Outcome::Failed("500 Internal Server Error: said this".to_owned());
    assert_eq!(answered(500, None).await, told);
}

#[tokio::test]
async fn who_asks_for_patience_gets_it_but_not_for_ever() {
    let busy = |status: &str, after| Outcome::Busy { reason: format!("{status}: said this"), after };
    let (many, away) = ("429 Too Many Requests", "503 Service Unavailable");
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(answered(429, None).await, busy(many, None));
    assert_eq!(answered(429, Some(("retry-after", "7"))).await, busy(many, seconds(7)));
    assert_eq!(answered(503, Some(("retry-after", "7"))).await, busy(away, seconds(7)));
    assert_eq!(answered(429, Some(("retry-after", "86400"))).await, busy(many, seconds(3600)));
    assert_eq!(answered(429, Some(("retry-after", "99999999999999999999999"))).await, busy(many, seconds(3600)));
    // The clock shows 00:00:03.5.
    let date = Some(("retry-after", "Thu, 01 Jan 2026 00:00:13 GMT"));
    assert_eq!(answered(429, date).await, busy(many, Some(Duration::from_millis(9_500))));
    let past = Some(("retry-after", "Wed, 31 Dec 2025 00:00:00 GMT"));
    assert_eq!(answered(503, past).await, busy(away, Some(Duration::ZERO)));
    assert_eq!(answered(429, Some(("retry-after", "soon"))).await, busy(many, None));
    assert!(matches!(answered(503, Some(("retry-after", "-1"))).await, Outcome::Failed(_)));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let second = Stub::start(|_| "got you".into_response()).await;
    let to = second.url("/stolen");
    for status in [301, 302, 303, 307, 308] {
        let (status, to) = (Status::from_u16(status).unwrap(), to.clone());
        let location = to.clone();
        let first = Stub::start(move |_| (status, [("location", location.clone())]).into_response()).await;
        let outcome = post(webhook(&first.url("/"))).await;
        let Outcome::Refused(reason) = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains(&format!("redirect to `{to}`, not followed")), "{reason}");
    }
    assert!(second.seen().is_empty());
}

/// HMAC-SHA256 as RFC 2104 defines it.
fn hmac(key: &[u8], message: &[u8]) -> String {
    let mut block = [0_u8; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key))
    } else {
        block[..key.len()].copy_from_slice(key)
    }
    let inner = Sha256::digest([block.map(|byte| byte ^ 0x36).as_slice(), message].concat());
    let outer = Sha256::digest([block.map(|byte| byte ^ 0x5c).as_slice(), inner.as_slice()].concat());
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn the_signature_is_over_time_and_body() {
    // RFC 4231, test case 2: the check of the check.
    let known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(hmac(b"Jefe", b"what do ya want for nothing?"), known);
    for secret in ["hunter2", &"long".repeat(40)] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{secret}\n")).unwrap();
        let stub = Stub::start(|_| "".into_response()).await;
        let place = Secret::File(file.path().to_str().unwrap().to_owned());
        let outcome = post(Webhook { secret: Some(place), ..webhook(&stub.url("/")) }).await;
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        let seen = &stub.seen()[0];
        let seconds = seen.headers["weir-timestamp"].to_str().unwrap();
        assert_eq!(seconds.parse::<i64>().unwrap(), NEW_YEAR / 1_000_000 + 3);
        let expected = hmac(secret.as_bytes(), &[seconds.as_bytes(), b".", &seen.body].concat());
        assert_eq!(seen.headers["weir-signature"], format!("sha256={expected}"));
    }
}

#[tokio::test]
async fn a_secret_is_never_in_an_outcome() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2-0123456789").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let with = |url: String| {
        let mut webhook = webhook(&url);
        webhook.headers.insert("authorization".to_owned(), format!("Bearer ${{file:{path}}}"));
        Webhook { secret: Some(Secret::File(path.clone())), ..webhook }
    };
    let echo = Stub::start(|seen| {
        let header = String::from_utf8_lossy(seen.headers["authorization"].as_bytes()).into_owned();
        let status = if seen.uri.starts_with("/302") { 302 } else { 401 };
        let body = match seen.uri.as_str() {
            "/cut" => header.chars().take(header.len() - 4).collect(),
            _ => format!("{}no such token: {header}", " ".repeat(490)),
        };
        (Status::from_u16(status).unwrap(), [("location", format!("http://x/?{header}"))], body).into_response()
    });
    let echo = echo.await;
    for path in ["/401", "/302", "/cut"] {
        let outcome = post(with(echo.url(path))).await;
        let Outcome::Refused(reason) = &outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("repeats a secret") && !reason.contains("hunter2"), "{reason}");
    }
    let dead = raw(|stream| async move { drop(stream) }).await;
    let outcome = format!("{:?}", post(with(format!("http://{dead}/"))).await);
    assert!(outcome.starts_with("Failed") && !outcome.contains("hunter2"), "{outcome}");
}

#[tokio::test]
async fn a_secret_that_is_missing_or_no_header_fails_and_is_tried_again() {
    let stub = Stub::start(|_| "".into_response()).await;
    let missing = Secret::Env("WEIR_NO_SUCH_VARIABLE".to_owned());
    let outcome = post(Webhook { secret: Some(missing), ..webhook(&stub.url("/")) }).await;
    assert_eq!(outcome, Outcome::Failed("secret `env:WEIR_NO_SUCH_VARIABLE`: the variable is not set".to_owned()));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2\nhunter3").unwrap();
    let mut lines = webhook(&stub.url("/"));
    lines.headers.insert("x-key".to_owned(), format!("${{file:{}}}", file.path().display()));
    let outcome = post(lines).await;
    assert_eq!(outcome, Outcome::Failed("header `x-key` has characters that a header cannot hold".to_owned()));
    assert!(stub.seen().is_empty());
}

#[tokio::test]
async fn headers_of_weir_and_of_the_connection_are_not_the_rules() {
    let stub = Stub::start(|_| "".into_response()).await;
    for name in ["Idempotency-Key", "content-type", "Weir-Signature", "weir-x", "Host", "content-length", "a b"] {
        let mut webhook = webhook(&stub.url("/"));
        webhook.headers.insert(name.to_owned(), "x".to_owned());
        let outcome = post(webhook).await;
        assert_eq!(outcome, Outcome::Refused(format!("header `{name}` cannot be set by a rule")));
    }
    assert!(stub.seen().is_empty());
}

#[tokio::test]
async fn a_server_that_hangs_resets_or_is_away_fails() {
    let hangs = raw(|mut stream| async move {
        // Until the client goes.
        while stream.read_u8().await.is_ok() {}
    });
    let url = format!("http://{}/", hangs.await);
    let outcome = post(Webhook { timeout: Duration::from_millis(300), ..webhook(&url) }).await;
    assert_eq!(outcome, Outcome::Failed("no answer within 300ms".to_owned()));

    let resets = raw(|stream| async move { stream.set_zero_linger().unwrap() }).await;
    let outcome = post(webhook(&format!("http://{resets}/"))).await;
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");

    let garbage = raw(|mut stream| async move { stream.write_all(b"SSH-2.0-x\r\n\r\n").await.unwrap() }).await;
    let outcome = post(webhook(&format!("http://{garbage}/"))).await;
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = free.local_addr().unwrap();
    drop(free);
    let outcome = post(webhook(&format!("http://{away}/"))).await;
    let Outcome::Failed(reason) = &outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("refused"), "{reason}");

    let plain = Stub::start(|_| "".into_response()).await;
    let outcome = post(webhook(&plain.url("/").replace("http", "https"))).await;
    assert!(matches!(outcome, Outcome::Failed(_)), "no TLS there: {outcome:?}");
}

#[tokio::test]
async fn a_slow_or_endless_answer_does_not_undo_its_status() {
    for (status, ends) in [("200 OK", "Done(\"200 OK\")"), ("500 Oops", "Failed(\"500 Internal Server Error: begun\")")]
    {
        let slow = raw(move |mut stream| async move {
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: 1000\r\n\r\nbegun");
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.read_u8().await.is_ok() {}
        });
        let url = format!("http://{}/", slow.await);
        let outcome = post(Webhook { timeout: Duration::from_millis(500), ..webhook(&url) }).await;
        assert_eq!(format!("{outcome:?}"), ends);
    }
    let endless = raw(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 500 Oops\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    let outcome = post(webhook(&format!("http://{}/", endless.await))).await;
    let Outcome::Failed(reason) = &outcome else { panic!("{outcome:?}") };
    assert!(reason.starts_with("500 Internal Server Error: xxx") && reason.chars().count() == 500, "{reason}");
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused_unless_allowed() {
    let stub = Stub::start(|_| "".into_response()).await;
    let port = stub.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "0.0.0.0",
    ] {
        let attempt = attempt(of(webhook(&format!("http://{host}:{port}/"))));
        let outcome = webhooks(&[]).attempt(&attempt).await;
        let Outcome::Refused(reason) = &outcome else { panic!("{host}: {outcome:?}") };
        assert!(reason.contains("`workflows.allow_addresses` can allow it"), "{host}: {reason}");
    }
    assert!(stub.seen().is_empty());
    let outcome = post(webhook(&format!("http://localhost:{port}/"))).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_url_that_is_none_for_webhooks_is_refused() {
    for url in ["ftp://127.0.0.1/", "http://u:p@127.0.0.1/", "/hook", "http://127.0.0.1/{place}", "http://{device_id}/"]
    {
        let outcome = post(webhook(url)).await;
        assert!(matches!(outcome, Outcome::Refused(_)), "{url}: {outcome:?}");
    }
}

/// First one address, then another.
#[derive(Debug)]
struct Rebinding(Mutex<VecDeque<&'static str>>);

#[async_trait]
impl Lookup for Rebinding {
    async fn lookup(&self, _host: &str) -> io::Result<Vec<SocketAddr>> {
        let next = self.0.lock().unwrap().pop_front().ok_or_else(|| io::Error::other("no such name"))?;
        Ok(vec![SocketAddr::new(next.parse().unwrap(), 0)])
    }
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_connected_to() {
    // 127.0.0.1 plays the public address, 127.0.0.2 the private one.
    let public = Stub::start(|_| ([("connection", "close")], "").into_response()).await;
    let private = TcpListener::bind(("127.0.0.2", public.address.port())).await.unwrap();
    let lookup = Arc::new(Rebinding(Mutex::new(["127.0.0.1", "127.0.0.2"].into())));
    let guard = Guard::new(lookup.clone(), &["127.0.0.1/32".parse().unwrap()]);
    let webhooks = Webhooks::new(guard, clock()).unwrap();
    let attempt = attempt(of(webhook(&format!("http://rebind.example:{}/", public.address.port()))));
    let outcome = webhooks.attempt(&attempt).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    assert_eq!(lookup.0.lock().unwrap().len(), 1, "resolved once for one connection");
    let Outcome::Refused(reason) = webhooks.attempt(&attempt).await else { panic!("the second address passed") };
    assert!(reason.contains("`rebind.example` is 127.0.0.2"), "{reason}");
    let Outcome::Failed(reason) = webhooks.attempt(&attempt).await else { panic!("there is no third address") };
    assert!(reason.contains("cannot resolve `rebind.example`"), "{reason}");
    assert_eq!(public.seen().len(), 1);
    let polled = std::future::poll_fn(|context| std::task::Poll::Ready(private.poll_accept(context))).await;
    assert!(polled.is_pending(), "nobody connected to the second address");
}

#[tokio::test]
async fn nothing_of_a_client_shows_secrets() {
    let mut webhook = webhook("http://127.0.0.1:1/");
    webhook.headers.insert("x".to_owned(), "${env:CARGO_MANIFEST_DIR}".to_owned());
    let webhooks = Webhooks::new(Guard::new(Arc::new(SystemLookup), &["127.0.0.1".parse().unwrap()]), clock()).unwrap();
    let attempt = attempt(of(webhook));
    let outcome = webhooks.attempt(&attempt).await;
    let shown = format!("{webhooks:?} {attempt:?} {outcome:?}");
    assert!(!shown.contains(env!("CARGO_MANIFEST_DIR")), "{shown}");
}
