//! The admin port: `/metrics`, `/healthz`, `/readyz`, and the API.
//!
//! Its own accept loop, because `axum::serve` waits for ever for a client's headers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// A client that has not sent its request by then is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection, with all its requests, ends by then.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections served at once; further ones wait in the listen queue.
const CONNECTIONS: usize = 64;

/// Says why the process cannot take readings just now, if so.
pub(crate) type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

#[derive(Clone)]
struct Admin {
    registry: Registry,
    readiness: Readiness,
}

/// Serves the admin port, with `api` besides, until the returned task is aborted.
pub(crate) fn serve(listener: TcpListener, registry: Registry, readiness: Readiness, api: Router) -> JoinHandle<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(Admin { registry, readiness })
        .merge(api);
    tokio::spawn(accept(listener, router))
}

/// Binds `address`, saying which flag chose it if that fails.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    use anyhow::Context;
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} for HTTP (port {}); choose another with --http", address.port())
    })
}

async fn accept(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    let _place = place;
                    connection(stream, router).await;
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: the others must end first.
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let serve = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(CONNECTION_TIMEOUT, serve).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "HTTP connection ended"),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&admin.registry.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn readyz(State(admin): State<Admin>) -> Response {
    match (admin.readiness)() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests;
