//! Keeps web pages out: a browser on this machine reaches the admin port, and runs what any page tells it to.
//!
//! A page can send a simple request to any address, but without a header of its own choice, so what changes something
//! needs one. A page whose name its owner suddenly resolves to 127.0.0.1 may send and read anything, but the browser
//! names the page's host, so the host must be an address or `localhost`.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;

/// Header of requests that change something, with value `1`.
const ADMIN: &str = "weir-admin";

/// Refuses what a web page could have sent.
pub(crate) async fn check(request: Request, next: Next) -> Response {
    if let Err(error) = refusal(&request) {
        return error.into_response();
    }
    next.run(request).await
}

fn refusal(request: &Request) -> Result<(), ApiError> {
    let host = host(request.headers()).filter(|host| is_address(host));
    // A request to a proxy names the host in its target.
    let target = request.uri().host();
    if host.is_none() || target.is_some_and(|target| !is_address(target)) {
        return Err(ApiError::forbidden("header host: expected an IP address or localhost, with or without a port"));
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && request.headers().get(ADMIN).is_none_or(|value| value.as_bytes() != b"1") {
        return Err(ApiError::forbidden(format!("header {ADMIN}: expected 1 in a request that changes something")));
    }
    Ok(())
}

/// The one host that the headers name.
fn host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    if hosts.next().is_some() { None } else { Some(host) }
}

/// Whether `host`, with or without a port, is an address or `localhost`.
fn is_address(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    port.is_none_or(is_port) && (name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok())
}

fn is_port(port: &str) -> bool {
    port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_address;

    #[test]
    fn addresses_and_localhost_are_hosts() {
        for host in ["127.0.0.1", "127.0.0.1:9464", "10.1.2.3:80", "[::1]", "[::1]:9464", "localhost:1", "LocalHost"] {
            assert!(is_address(host), "{host}");
        }
        let names = ["", "evil.example", "evil.example:9464", "127.0.0.1.evil.example", "localhost.evil.example"];
        let malformed = ["127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999", "[::1", "[evil]", "[::1]x", "::1", "127.1"];
        for host in names.into_iter().chain(malformed) {
            assert!(!is_address(host), "{host}");
        }
    }
}
