//! The admin port: `/metrics`, `/healthz`, `/readyz`, the live page, and the API.
//!
//! Its own accept loop, because `axum::serve` waits for ever for a client's headers.

mod connection;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub(crate) use self::connection::Connection;
use crate::metrics::Requests;
use crate::page;

/// A client that has not sent its request by then is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection, with all its requests, ends by then.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// It takes no request from this age on, and what it streams is asked to end: a browser complains of streams cut off.
const LAST_REQUEST: Duration = Duration::from_secs(55);
/// Connections served at once; further ones wait in the listen queue.
const CONNECTIONS: usize = 64;

/// Says why the process cannot take readings just now, if so.
pub(crate) type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

#[derive(Clone)]
struct Admin {
    registry: Registry,
    readiness: Readiness,
}

/// A served port; closed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    task: JoinHandle<()>,
    health: Router,
    routes: Routes,
    requests: Requests,
    /// When it is gone, connections take no more requests.
    _open: watch::Sender<()>,
}

/// What is served now.
#[derive(Clone, Debug)]
struct Routes {
    /// Metrics, health and the page, from the first moment; of the API that it is not there yet.
    first: Router,
    /// These and the API, once there is something behind it.
    all: Arc<OnceLock<Router>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// From now on `api` is served, too.
    pub(crate) fn open(&self, api: Router) {
        // A process opens its API once.
        self.routes.all.get_or_init(|| self.requests.clone().counted(self.health.clone().merge(api)));
    }
}

impl Routes {
    fn now(&self) -> &Router {
        self.all.get().unwrap_or(&self.first)
    }
}

/// Serves the admin port, without an API at first.
///
/// # Errors
/// If another port of this registry counts its requests.
pub(crate) fn serve(
    listener: TcpListener,
    registry: Registry,
    readiness: Readiness,
) -> Result<Server, prometheus::Error> {
    let requests = Requests::register(&registry)?;
    let health = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(Admin { registry, readiness: readiness.clone() })
        .merge(page::page());
    let not_yet = async move || {
        let reason = readiness().err().unwrap_or_else(|| "starting".to_owned());
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": format!("not ready: {reason}") })))
    };
    let first = health.clone().route("/api/{*path}", any(not_yet.clone())).route("/events", any(not_yet));
    let routes = Routes { first: requests.clone().counted(first), all: Arc::default() };
    let (open, closed) = watch::channel(());
    let task = tokio::spawn(accept(listener, routes.clone(), closed));
    Ok(Server { task, health, routes, requests, _open: open })
}

/// Binds `address`, saying which flag chose it if that fails.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    use anyhow::Context;
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} for HTTP (port {}); choose another with --http", address.port())
    })
}

async fn accept(listener: TcpListener, routes: Routes, closed: watch::Receiver<()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (routes, closed) = (routes.clone(), closed.clone());
                tokio::spawn(async move {
                    let _place = place;
                    connection(stream, routes, closed).await;
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

async fn connection(stream: TcpStream, routes: Routes, mut closed: watch::Receiver<()>) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    // Looked up for each request: a client may keep its connection from before the API was there.
    let (life, connection) = Connection::new();
    let answer = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(connection.clone());
        TowerToHyperService::new(routes.now().clone()).call(request)
    });
    let mut serve = pin!(server.serve_connection(TokioIo::new(stream), answer));
    let served = async {
        tokio::select! {
            served = serve.as_mut() => return served,
            () = tokio::time::sleep(LAST_REQUEST) => {}
            _ = closed.changed() => {}
        }
        life.end();
        serve.as_mut().graceful_shutdown();
        serve.await
    };
    tokio::select! {
        served = tokio::time::timeout(CONNECTION_TIMEOUT, served) => match served {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => tracing::debug!(%error, "HTTP connection ended"),
        },
        () = life.cut() => {}
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
