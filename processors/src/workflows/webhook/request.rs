//! The request of a webhook.

use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, Method, Request};
use sha2::Sha256;
use telemetry::Timestamp;
use url::Url;

use crate::firing::Firing;
use crate::plan::Webhook;
use crate::workflows::body::{self, Body};
use crate::workflows::outside::reason::brief;
use crate::workflows::places;
use crate::workflows::secret::{self, Hidden};
use crate::workflows::target::{Attempt, Outcome};

const AGENT: &str = concat!("weir/", env!("CARGO_PKG_VERSION"));
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TIMESTAMP: HeaderName = HeaderName::from_static("weir-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("weir-signature");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Whether a header is not the rule's to set: it is Weir's, or the connection's.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let reserved = [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "idempotency-key",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    ];
    reserved.contains(&name.as_str()) || name.starts_with("weir-")
}

/// The headers as they would be sent, the places of secrets instead of secrets.
#[must_use]
pub(crate) fn preview_headers(webhook: &Webhook, key: &str, body: &Body) -> Vec<(String, String)> {
    let mut headers = vec![
        (CONTENT_TYPE.to_string(), body.content_type.to_owned()),
        (USER_AGENT.to_string(), AGENT.to_owned()),
        (KEY.to_string(), key.to_owned()),
    ];
    if let Some(secret) = &webhook.secret {
        headers.push((TIMESTAMP.to_string(), "<seconds since 1970>".to_owned()));
        headers.push((SIGNATURE.to_string(), format!("sha256=<HMAC-SHA256 with ${{{secret}}}>")));
    }
    headers.extend(webhook.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    headers
}

/// Where to post.
///
/// # Errors
/// A text for a person: it will never be a URL to post to.
pub(crate) fn url(webhook: &Webhook, firing: &Firing) -> Result<Url, String> {
    let url = places::url(&webhook.url, firing)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{}` is not a URL of a webhook: expected `http` or `https`", webhook.url));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL of a webhook cannot hold user and password: use a header with `${env:NAME}`".to_owned());
    }
    Ok(url)
}

/// The request, and the secrets in it.
pub(super) async fn build(
    client: &Client,
    attempt: &Attempt,
    webhook: &Webhook,
    url: Url,
    now: Timestamp,
) -> Result<(Request, Vec<Hidden>), Outcome> {
    let refused = |problem: String| Outcome::Refused(brief(&problem));
    let failed = |problem: String| Outcome::Failed(brief(&problem));
    let body = body::render(attempt).map_err(refused)?;
    let (mut headers, mut secrets) = (HeaderMap::new(), Vec::new());
    for (name, value) in &webhook.headers {
        let known = HeaderName::from_bytes(name.as_bytes()).ok().filter(|_| !is_reserved(name));
        let known = known.ok_or_else(|| refused(format!("header `{name}` cannot be set by a rule")))?;
        let expanded = secret::expand(value).await.map_err(|problem| failed(format!("header `{name}`: {problem}")))?;
        let mut value = HeaderValue::from_str(expanded.text.reveal())
            .map_err(|_| failed(format!("header `{name}` has characters that a header cannot hold")))?;
        value.set_sensitive(!expanded.secrets.is_empty());
        headers.insert(known, value);
        secrets.extend(expanded.secrets);
    }
    if let Some(secret) = &webhook.secret {
        let secret = secret::read(secret).await.map_err(failed)?;
        let seconds = now.as_micros().div_euclid(1_000_000).to_string();
        let signature = format!("sha256={}", sign(secret.reveal().as_bytes(), &seconds, body.text.as_bytes()));
        headers.insert(TIMESTAMP, ascii(&seconds)?);
        headers.insert(SIGNATURE, ascii(&signature)?);
        secrets.push(secret);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(body.content_type));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(KEY, ascii(&attempt.key)?);
    if let Some(span) = &attempt.span {
        headers.insert(TRACEPARENT, ascii(&span.context().to_string())?);
    }
    let request = client.request(Method::POST, url).headers(headers).body(body.into_bytes()).build();
    Ok((request.map_err(super::failed)?, secrets))
}

fn ascii(text: &str) -> Result<HeaderValue, Outcome> {
    HeaderValue::from_str(text).map_err(|_| Outcome::Refused(brief(&format!("`{text}` cannot be a header"))))
}

/// HMAC-SHA256 over time, full stop and body, in hex.
pub(super) fn sign(secret: &[u8], seconds: &str, body: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length");
    mac.update(seconds.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
