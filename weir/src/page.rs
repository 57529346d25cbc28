//! The live page at `/` of the HTTP port: what the process does, as a picture that moves.
//!
//! ```text
//! GET /                 the page      GET /assets/…   what it is made of, embedded in the binary
//! GET /events           a snapshot a second, as server-sent events
//! ```
//!
//! Nothing is loaded from elsewhere, and nothing on the page changes anything. Like the API it keeps other people's
//! pages out: see `api::guard`.

mod assets;
mod events;
mod feed;
mod headers;

use axum::Router;
use axum::routing::get;

use self::feed::Feed;
use crate::api::guard;
use crate::snapshot::Source;

/// The page itself: served from the first moment, it says what a start waits for.
pub(crate) fn page() -> Router {
    guarded(assets::router())
}

/// What moves it, once there is something to tell.
pub(crate) fn live(source: Source) -> Router {
    guarded(Router::new().route("/events", get(events::stream)).with_state(Feed::new(source)))
}

fn guarded(router: Router) -> Router {
    // Of these routes only: a layer would also be around what no route is for.
    router.route_layer(axum::middleware::from_fn(guard::check)).route_layer(axum::middleware::from_fn(headers::add))
}

#[cfg(test)]
mod tests;
