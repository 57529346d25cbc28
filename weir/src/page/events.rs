//! `/events`: the snapshots on one connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::feed::{CLIENTS, Feed, Subscription};
use crate::http::Connection;

/// The browser comes back that long after a stream ended, as each does before its connection's time is over.
const BEGIN: &[u8] = b"retry: 1000\n\n";
/// A comment, so that both ends learn whether the other is there while no snapshot can be made.
const HEARTBEAT: &[u8] = b": waiting for a snapshot\n\n";
const HEARTBEAT_AFTER: Duration = Duration::from_secs(5);
/// A page that takes nothing for so long is gone or far too slow: its connection is cut.
const TAKES_WITHIN: Duration = Duration::from_secs(10);
/// Events on their way to the connection, apart from what it is writing: a snapshot that waits is worth less each second.
const WAITING: usize = 1;

/// A snapshot a second until the connection ends; 503 if too many look on already.
pub(super) async fn stream(State(feed): State<Feed>, Extension(connection): Extension<Connection>) -> Response {
    let Some(Subscription { newest, place }) = feed.subscribe() else {
        let text = format!("{CLIENTS} pages are open already: close one, and this one goes on\n");
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let (sender, events) = mpsc::channel(WAITING);
    tokio::spawn(forward(newest, sender, connection, TAKES_WITHIN));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::new(Events { events, _place: place })).into_response()
}

/// Hands on the newest snapshot whenever the page has taken the one before.
pub(super) async fn forward(
    mut newest: watch::Receiver<Bytes>,
    page: mpsc::Sender<Bytes>,
    mut connection: Connection,
    takes_within: Duration,
) {
    let mut event = Bytes::from_static(BEGIN);
    loop {
        match tokio::time::timeout(takes_within, page.send(event)).await {
            Ok(Ok(())) => {}
            // The page was closed.
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::debug!("a live page takes no events, its connection is cut");
                return connection.cut();
            }
        }
        event = tokio::select! {
            changed = newest.changed() => match changed {
                Ok(()) => newest.borrow_and_update().clone(),
                Err(_) => return,
            },
            () = tokio::time::sleep(HEARTBEAT_AFTER) => Bytes::from_static(HEARTBEAT),
            () = connection.ends() => return,
            () = page.closed() => return,
        };
    }
}

/// The body of the answer.
struct Events {
    events: mpsc::Receiver<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.get_mut().events.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
