use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use super::*;
use crate::top::state::tests::everything;

/// A process that is not ready when it is asked first.
async fn starting(snapshot: Value) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = async move || match asked.fetch_add(1, Ordering::SeqCst) {
        0 => (StatusCode::SERVICE_UNAVAILABLE, Json(serde_json::json!({ "error": "not \u{1b}[2Jready" })))
            .into_response(),
        _ => Json(snapshot).into_response(),
    };
    let router = Router::new().route(PATH, get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

#[tokio::test]
async fn who_is_away_is_asked_again() {
    let hostile = "\u{1b}]0;x\u{7}\u{202e}";
    let mut snapshot = everything(1);
    snapshot.alerts[0].device = hostile.to_owned();
    snapshot.totals.rejected.insert(hostile.to_owned(), 1);
    let address = starting(serde_json::to_value(&snapshot).unwrap()).await;
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();

    let mut polls = Polls::start(&[nobody, address], Duration::from_millis(10));
    let (mut refused, mut came) = (Vec::new(), None);
    while came.is_none() || !refused.iter().any(|(number, _)| *number == 0) {
        match polls.next().await.unwrap() {
            (number, Err(reason)) => refused.push((number, reason)),
            (number, Ok(snapshot)) => came = Some((number, snapshot)),
        }
    }
    let reason = |number| refused.iter().find(|(of, _)| *of == number).map(|(_, reason)| reason.as_str()).unwrap();
    assert!(reason(0).contains("no weir answers at"), "{}", reason(0));
    assert!(reason(1).contains("not \u{fffd}[2Jready"), "{}", reason(1));
    let (number, came) = came.unwrap();
    assert_eq!((number, came.alerts[0].device.as_str()), (1, "\u{fffd}]0;x\u{fffd}\u{fffd}"));
    assert!(came.totals.rejected.keys().all(|reason| !reason.contains('\u{1b}')));
    let raw = raw(address).await.unwrap();
    assert_eq!(raw["alerts"][0]["device"], hostile, "as it is, for --json");
}
