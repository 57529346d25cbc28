//! The files of the page, part of the binary.

use axum::Router;
use axum::http::header;
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! asset {
    ($path:literal, $kind:expr, $file:literal) => {
        ($path, $kind, include_str!(concat!("../../assets/", $file)))
    };
}

/// Path, content type, content.
const ASSETS: [(&str, &str, &str); 17] = [
    asset!("/", HTML, "index.html"),
    asset!("/assets/page.css", CSS, "page.css"),
    asset!("/assets/way.css", CSS, "way.css"),
    asset!("/assets/icon.svg", SVG, "icon.svg"),
    asset!("/assets/theme.js", SCRIPT, "theme.js"),
    asset!("/assets/page.js", SCRIPT, "page.js"),
    asset!("/assets/live.js", SCRIPT, "live.js"),
    asset!("/assets/rates.js", SCRIPT, "rates.js"),
    asset!("/assets/show.js", SCRIPT, "show.js"),
    asset!("/assets/verdict.js", SCRIPT, "verdict.js"),
    asset!("/assets/hops.js", SCRIPT, "hops.js"),
    asset!("/assets/way.js", SCRIPT, "way.js"),
    asset!("/assets/charts.js", SCRIPT, "charts.js"),
    asset!("/assets/fleet.js", SCRIPT, "fleet.js"),
    asset!("/assets/lists.js", SCRIPT, "lists.js"),
    asset!("/assets/uplot.js", SCRIPT, "vendor/uPlot.iife.min.js"),
    asset!("/assets/uplot.css", CSS, "vendor/uPlot.min.css"),
];

/// A route for each file.
pub(super) fn router() -> Router {
    let mut router = Router::new();
    for (path, kind, content) in ASSETS {
        router = router.route(path, get(async move || ([(header::CONTENT_TYPE, kind)], content)));
    }
    router
}
