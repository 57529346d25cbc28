//! Requests to the admin port, counted by route and status.

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use prometheus::{IntCounterVec, Opts, Registry};

/// The route of requests that no route matches.
const NONE: &str = "none";
/// What is asked for by machines, and how it is answered: there from the start.
const USUAL: [(&str, StatusCode); 4] = [
    ("/metrics", StatusCode::OK),
    ("/healthz", StatusCode::OK),
    ("/readyz", StatusCode::OK),
    ("/readyz", StatusCode::SERVICE_UNAVAILABLE),
];

/// Counts requests. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Requests(IntCounterVec);

impl Requests {
    /// Registers the counter.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Requests to the admin port, by route, `none` for what no route matches, and status code";
        let counter = IntCounterVec::new(Opts::new("weir_http_requests_total", help), &["route", "code"])?;
        registry.register(Box::new(counter.clone()))?;
        let requests = Self(counter);
        for (route, code) in USUAL {
            requests.counter(route, code).inc_by(0);
        }
        Ok(requests)
    }

    /// `router`, counted. To be the outermost layer: what is matched is seen from there.
    pub(crate) fn counted(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self, count))
    }

    fn counter(&self, route: &str, code: StatusCode) -> prometheus::IntCounter {
        self.0.with_label_values(&[route, code.as_str()])
    }
}

async fn count(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    // The route as it is written in the program, never the path that was asked for.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(NONE, MatchedPath::as_str);
    // What axum calls a fallback of a nested router has a name of its own making.
    let route = if route.contains("__private") { NONE } else { route };
    requests.counter(route, response.status()).inc();
    response
}
