use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use prometheus::Registry;
use serde_json::Value;
use streams::memory::MemoryStreams;
use telemetry::clock::SystemClock;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::feed::CLIENTS;
use super::*;
use crate::http::{self, Connection, Server};

const PATIENCE: Duration = Duration::from_secs(20);

fn source() -> Source {
    let clock = SystemClock::shared();
    let streams = MemoryStreams::new(Vec::new(), clock.clone());
    Source::new("up", Registry::new(), Arc::new(|| Ok(())), streams, clock)
}

/// A port with the page on it, not yet live.
async fn served() -> (SocketAddr, Server) {
    let listener = http::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, http::serve(listener, Registry::new(), Arc::new(|| Err("waiting for a lease".to_owned()))).unwrap())
}

/// A port with the page on it, live.
async fn live() -> (SocketAddr, Server) {
    let (address, server) = served().await;
    server.open(super::live(source()));
    (address, server)
}

async fn ask(address: SocketAddr, path: &str, host: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    BufReader::new(stream)
}

async fn get(address: SocketAddr, path: &str) -> String {
    rest(&mut ask(address, path, "127.0.0.1").await).await
}

/// All that comes until the connection ends.
async fn rest(stream: &mut BufReader<TcpStream>) -> String {
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("it ends").unwrap();
    text
}

/// The next line that begins so, without that.
async fn line(stream: &mut BufReader<TcpStream>, begin: &str) -> String {
    let find = async {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(stream.read_line(&mut line).await.unwrap(), 0, "ended before a line with {begin}");
            if let Some(rest) = line.strip_prefix(begin) {
                return rest.trim_end().to_owned();
            }
        }
    };
    tokio::time::timeout(PATIENCE, find).await.expect(begin)
}

/// Paths between quotes that begin with `begin`.
fn quoted<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    text.split('"').filter(|part| part.starts_with(begin)).collect()
}

#[tokio::test]
async fn the_page_and_its_files_come_with_headers_that_forbid_all_else() {
    let (address, _server) = served().await;
    let page = get(address, "/").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("text/html"), "{page}");
    let mut files: Vec<String> = quoted(&page, "/assets/").into_iter().map(str::to_owned).collect();
    files
        .extend(quoted(&get(address, "/assets/page.js").await, "./").iter().map(|file| file.replace("./", "/assets/")));
    assert!(files.len() > 10, "{files:?}");
    for path in files.iter().map(String::as_str).chain(["/"]) {
        let answer = get(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert!(answer.contains("content-security-policy: default-src 'none'; script-src 'self';"), "{path}");
        assert!(
            answer.contains("x-content-type-options: nosniff") && answer.contains("frame-ancestors 'none'"),
            "{path}"
        );
        for (end, imports) in [(".js", quoted(&answer, "./")), (".css", quoted(&answer, "url("))] {
            for import in imports.iter().filter(|_| path.ends_with(end)) {
                assert!(files.contains(&import.replace("./", "/assets/")), "{path} wants {import}");
            }
        }
    }
    // What the policy would forbid.
    for inline in ["<style", " style=", "<script>", " onclick=", " onload=", "http://", "https://"] {
        assert!(!page.contains(inline), "{inline}");
    }
}

#[tokio::test]
async fn nothing_makes_markup_of_a_text() {
    let (address, _server) = served().await;
    let page = get(address, "/assets/page.js").await;
    for file in quoted(&page, "./") {
        let script = get(address, &file.replace("./", "/assets/")).await;
        for call in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!script.contains(call), "{file}: {call}");
        }
    }
}

#[tokio::test]
async fn a_page_of_somebody_else_reads_nothing() {
    let (address, _server) = live().await;
    for path in ["/", "/events", "/assets/page.js"] {
        let answer = rest(&mut ask(address, path, "evil.example").await).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("header host"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn before_the_start_is_done_events_say_what_it_waits_for() {
    let (address, server) = served().await;
    let early = get(address, "/events").await;
    assert!(early.starts_with("HTTP/1.1 503") && early.contains("waiting for a lease"), "{early}");
    server.open(super::live(source()));
    let mut page = ask(address, "/events", "localhost:1").await;
    assert_eq!(line(&mut page, "content-type: ").await, "text/event-stream");
    let snapshot: Value = serde_json::from_str(&line(&mut page, "data: ").await).unwrap();
    assert_eq!((snapshot["stage"].as_str(), snapshot["ready"]["ok"].as_bool()), (Some("up"), Some(true)));
}

#[tokio::test]
async fn all_pages_get_the_same_snapshots_and_there_is_room_for_so_many() {
    let (address, _server) = live().await;
    let mut pages = Vec::new();
    for _ in 0..CLIENTS {
        let mut page = ask(address, "/events", "127.0.0.1").await;
        let first = line(&mut page, "data: ").await;
        pages.push((page, first));
    }
    let refused = get(address, "/events").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("16 pages are open"), "{refused}");
    let (mut one, seen) = pages.remove(0);
    let (other, _) = &mut pages[0];
    // The others began later, perhaps by some seconds: one of the next is the same.
    let mut of_one = vec![seen];
    for _ in 0..3 {
        of_one.push(line(&mut one, "data: ").await);
    }
    let mut same = line(other, "data: ").await;
    while time(&same) < time(&of_one[0]) {
        same = line(other, "data: ").await;
    }
    while time(of_one.last().unwrap()) < time(&same) {
        of_one.push(line(&mut one, "data: ").await);
    }
    assert!(of_one.contains(&same), "{same}\n{of_one:?}");
    // Who leaves makes room.
    drop(one);
    let next = async || loop {
        let mut page = ask(address, "/events", "127.0.0.1").await;
        if line(&mut page, "HTTP/1.1 ").await == "200 OK" {
            return line(&mut page, "data: ").await;
        }
    };
    assert!(!tokio::time::timeout(PATIENCE, next()).await.unwrap().is_empty());
}

fn time(event: &str) -> i64 {
    serde_json::from_str::<Value>(event).unwrap()["time_ms"].as_i64().unwrap()
}

#[tokio::test]
async fn when_the_server_ends_a_stream_ends_whole() {
    let (address, server) = live().await;
    let mut page = ask(address, "/events", "127.0.0.1").await;
    line(&mut page, "data: ").await;
    drop(server);
    // The last chunk of an answer in chunks is an empty one.
    assert!(rest(&mut page).await.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_page_that_takes_nothing_is_cut_off() {
    let (life, connection) = Connection::new();
    let (newest, received) = watch::channel(Bytes::from_static(b"data: {}\n\n"));
    let (sender, events) = mpsc::channel(1);
    let forward = tokio::spawn(super::events::forward(received, sender, connection, Duration::from_millis(1)));
    // The first event takes the one place there is.
    newest.send_replace(Bytes::from_static(b"data: {}\n\n"));
    tokio::time::timeout(PATIENCE, life.cut()).await.expect("it is cut");
    tokio::time::timeout(PATIENCE, forward).await.expect("nothing goes on").unwrap();
    assert_eq!(events.len(), 1, "no more than one waits");
}

#[tokio::test]
async fn snapshots_are_made_only_while_somebody_looks() {
    let feed = Feed::new(source());
    let mut page = feed.subscribe().unwrap();
    page.newest.changed().await.unwrap();
    assert!(page.newest.borrow().starts_with(b"data: {"));
    assert!(feed.is_made());
    drop(page);
    let ended = async {
        while feed.is_made() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
    let mut again = feed.subscribe().unwrap();
    tokio::time::timeout(PATIENCE, again.newest.changed()).await.expect("it begins anew").unwrap();
}
