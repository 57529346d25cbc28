//! Webhooks: the body of the step, posted.
//!
//! Headers: `content-type`, `user-agent: weir/<version>`, `idempotency-key: <key of the step>`, and those of the rule.
//! With a secret also `weir-timestamp`, seconds since 1970 when the attempt began, and `weir-signature:
//! sha256=<hex>`. To verify: compute HMAC-SHA256 with the secret over the timestamp as sent, a full stop, and the raw
//! bytes of the body; compare in constant time; refuse timestamps that are too old. If the message is traced also
//! `traceparent`, of the attempt's span.
//!
//! A 2xx means done, whatever becomes of the rest of the answer. Redirects are not followed: they could lead anywhere,
//! with the secrets. Proxies of the environment are not used: they would connect where the address filter cannot see.

mod request;
mod retry_after;

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use telemetry::Clock;
use tokio::time::sleep;

use crate::plan::{Action, Step, Webhook};
use crate::workflows::address::{Denied, Guard};
use crate::workflows::outside::limits;
use crate::workflows::outside::reason::{brief, foreign};
use crate::workflows::secret::Hidden;
use crate::workflows::span::StepSpan;
use crate::workflows::target::{Attempt, Outcome, Target};

pub use request::is_reserved;
pub(crate) use request::{preview_headers, url};

/// All webhooks: connections are kept by host.
#[derive(Debug)]
pub struct Webhooks {
    client: reqwest::Client,
    guard: Guard,
    clock: Arc<dyn Clock>,
}

impl Webhooks {
    /// A client that connects only where `guard` lets it.
    ///
    /// # Errors
    /// A text for a person: there is no store of certificates.
    pub fn new(guard: Guard, clock: Arc<dyn Clock>) -> Result<Self, String> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Fails only if somebody was faster, and then there is one.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .http1_only()
            .tcp_nodelay(true)
            .dns_resolver(Arc::new(guard.clone()))
            .pool_max_idle_per_host(limits::IDLE_CONNECTIONS)
            .pool_idle_timeout(limits::IDLE)
            .build()
            .map_err(|error| format!("cannot make a client for webhooks: {}", chain(error)))?;
        Ok(Self { client, guard, clock })
    }

    async fn send(&self, attempt: &Attempt, webhook: &Webhook) -> Result<(Response, Vec<Hidden>), Outcome> {
        let url = request::url(webhook, &attempt.firing).map_err(|problem| Outcome::Refused(brief(&problem)))?;
        self.check_literal(&url)?;
        if let Some(span) = &attempt.span {
            describe(span, &url);
        }
        let (request, secrets) = request::build(&self.client, attempt, webhook, url, self.clock.now()).await?;
        let response = self.client.execute(request).await.map_err(failed)?;
        Ok((response, secrets))
    }

    /// Addresses in URLs are not resolved, so the client's resolver does not see them.
    fn check_literal(&self, url: &url::Url) -> Result<(), Outcome> {
        let address = match url.host() {
            Some(url::Host::Ipv4(address)) => IpAddr::V4(address),
            Some(url::Host::Ipv6(address)) => IpAddr::V6(address),
            _ => return Ok(()),
        };
        self.guard
            .check(url.host_str().unwrap_or_default(), address)
            .map_err(|denied| Outcome::Refused(denied.to_string()))
    }
}

#[async_trait]
impl Target for Webhooks {
    async fn attempt(&self, attempt: &Attempt) -> Outcome {
        let Some(Step { action: Action::Webhook(webhook), .. }) = attempt.step() else {
            return Outcome::Refused("the step is not a webhook".to_owned());
        };
        let mut timeout = Box::pin(sleep(webhook.timeout));
        let sent = tokio::select! {
            sent = self.send(attempt, webhook) => sent,
            () = &mut timeout => Err(Outcome::Failed(format!("no answer within {:?}", webhook.timeout))),
        };
        let (mut response, secrets) = match sent {
            Ok(sent) => sent,
            Err(outcome) => return outcome,
        };
        if let Some(span) = &attempt.span {
            span.say("http.response.status_code", i64::from(response.status().as_u16()));
        }
        let mut answer = Vec::new();
        tokio::select! {
            () = read(&mut response, &mut answer) => {}
            () = sleep(limits::DRAIN) => {}
            () = &mut timeout => {}
        }
        self.outcome(&response, &answer, &secrets)
    }
}

impl Webhooks {
    fn outcome(&self, response: &Response, answer: &[u8], secrets: &[Hidden]) -> Outcome {
        let status = response.status();
        if status.is_success() {
            return Outcome::Done(status.to_string());
        }
        if status.is_redirection() {
            let location = response.headers().get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()));
            let to = foreign(&location.unwrap_or_default(), secrets);
            return Outcome::Refused(brief(&format!("{status}: redirect to `{to}`, not followed")));
        }
        let said = foreign(&String::from_utf8_lossy(answer), secrets);
        let reason = if said.is_empty() { status.to_string() } else { brief(&format!("{status}: {said}")) };
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|value| retry_after::pause(value, self.clock.now()));
        judge(status, after, reason)
    }
}

/// Where a request goes. The rest of the URL may hold secrets.
fn describe(span: &StepSpan, url: &url::Url) {
    span.say("http.request.method", "POST");
    span.say("server.address", url.host_str().unwrap_or_default());
    span.say("server.port", i64::from(url.port_or_known_default().unwrap_or(0)));
}

/// What an answer that is neither success nor redirect means.
fn judge(status: StatusCode, after: Option<Duration>, reason: String) -> Outcome {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Outcome::Busy { reason, after },
        StatusCode::SERVICE_UNAVAILABLE if after.is_some() => Outcome::Busy { reason, after },
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => Outcome::Failed(reason),
        status if status.is_client_error() => Outcome::Refused(reason),
        _ => Outcome::Failed(reason),
    }
}

/// Reads as much of the answer as a text of an outcome may need. An answer that breaks off is as good as it is.
async fn read(response: &mut Response, answer: &mut Vec<u8>) {
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = limits::ANSWER_BYTES.saturating_sub(answer.len());
        answer.extend(chunk.iter().take(room));
        if chunk.len() >= room {
            return;
        }
    }
}

/// There was no answer.
fn failed(error: reqwest::Error) -> Outcome {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(denied @ Denied::Refused { .. }) = cause.downcast_ref::<Denied>() {
            return Outcome::Refused(denied.to_string());
        }
        source = cause.source();
    }
    if error.is_builder() { Outcome::Refused(chain(error)) } else { Outcome::Failed(chain(error)) }
}

/// An error with its causes, without the URL.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    brief(&text)
}

#[cfg(test)]
mod tests;
