//! The HTTP API of a running process, `/api/v1/…`: what the commands `weir dlq`, `weir workflows` and
//! `weir rules list` ask.
//!
//! ```text
//! GET  workflows?state&rule&device&limit&after      runs           GET  dlq?source&reason&state&limit&after
//! GET  workflows/{id}                               one run        GET  dlq/{id}
//! POST workflows/{id}/cancel, workflows/{id}/redrive               POST dlq/redrive, dlq/drop
//! GET  streams, streams/groups                      offsets, positions
//! GET  streams/{stream}/tail?partition&from&limit   rows
//! GET  rules                                        rules in force
//! GET  explain?device&boot&seq                      the way of one message
//! GET  snapshot                                     the process now
//! ```
//!
//! Who reaches the port may use it: it has no users. So that a web page of somebody else's cannot use it through a
//! browser on this machine, see `guard`. Errors are `{"error": "…"}`.

mod dlq;
mod error;
mod explain;
pub(crate) mod guard;
mod rules;
mod snapshot;
pub(crate) mod streams;
mod workflows;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use processors::RuleSet;
use processors::workflows::Workflows;
use prometheus::Registry;
use tokio::sync::watch;

use self::error::ApiError;
use crate::dlq::Dlq;
use crate::snapshot::Source;

/// Largest body of a request: 1,000 ids of letters of at most 43 bytes each.
const BODY_BYTES: usize = 64 * 1024;

/// What the API tells of and changes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ApiState {
    /// `None` where no workflows run.
    pub(crate) workflows: Option<Workflows>,
    /// `None` where there is neither a door nor workflows.
    pub(crate) dlq: Option<Dlq>,
    /// `None` where no rules run.
    pub(crate) rules: Option<watch::Receiver<Arc<RuleSet>>>,
    pub(crate) registry: Registry,
    pub(crate) streams: Arc<dyn ::streams::Streams>,
    /// Data directory, for its tables.
    pub(crate) data: PathBuf,
    pub(crate) snapshot: Source,
}

/// The routes, to be merged into those of the admin port.
pub(crate) fn router(state: ApiState) -> Router {
    let routes = Router::new()
        .route("/workflows", get(workflows::list))
        .route("/workflows/{id}", get(workflows::show))
        .route("/workflows/{id}/cancel", post(workflows::cancel))
        .route("/workflows/{id}/redrive", post(workflows::redrive))
        .route("/dlq", get(dlq::list))
        .route("/dlq/{id}", get(dlq::show))
        .route("/dlq/redrive", post(dlq::redrive))
        .route("/dlq/drop", post(dlq::drop_letters))
        .route("/rules", get(rules::list))
        .route("/snapshot", get(snapshot::show))
        .route("/explain", get(explain::explain))
        .route("/streams", get(streams::list))
        .route("/streams/groups", get(streams::groups))
        .route("/streams/{stream}/tail", get(streams::tail))
        .fallback(async || ApiError::not_found("there is no such path below /api/v1"))
        .method_not_allowed_fallback(async || ApiError::wrong_method())
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(axum::middleware::from_fn(guard::check))
        .with_state(state);
    Router::new().nest("/api/v1", routes)
}

#[cfg(test)]
mod tests;
