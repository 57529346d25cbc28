//! A client of `/api/v1`: JSON over one HTTP connection a request. It speaks to a process on this machine or in this
//! network, without TLS, as the port does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, bail};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// A process that listens takes a connection at once.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// The port ends a connection after 60 s, whatever it is about.
const ANSWER_WITHIN: Duration = Duration::from_secs(65);
/// Most bytes of an answer: a page of 1,000 dead letters with the longest texts.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// No simple request of a web page has it: the server asks for it where something changes.
const ADMIN_HEADER: (&str, &str) = ("weir-admin", "1");

/// Asks the process whose HTTP port is at an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdminClient {
    address: SocketAddr,
}

impl AdminClient {
    /// A client of the process that listens on `address`; an unspecified address stands for this machine.
    pub(crate) fn new(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        Self { address: SocketAddr::new(ip, address.port()) }
    }

    /// The answer to GET `path`, which may have a query ([`with_query`]).
    ///
    /// # Errors
    /// If no weir answers there, or with what it says is wrong.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.ask(Method::GET, path, String::new()).await
    }

    /// The answer to POST of `body` to `path`.
    ///
    /// # Errors
    /// As [`AdminClient::get`].
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        self.ask(Method::POST, path, serde_json::to_string(body).context("request")?).await
    }

    /// The answer to GET `path` as text: of `/metrics`.
    ///
    /// # Errors
    /// As [`AdminClient::get`].
    pub(crate) async fn text(&self, path: &str) -> anyhow::Result<String> {
        let bytes = self.answer(Method::GET, path, String::new()).await?;
        String::from_utf8(bytes).with_context(|| format!("answer of weir at {} to {path}", self.address))
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: String) -> anyhow::Result<T> {
        let bytes = self.answer(method, path, body).await?;
        serde_json::from_slice(&bytes).with_context(|| format!("answer of weir at {} to {path}", self.address))
    }

    async fn answer(&self, method: Method, path: &str, body: String) -> anyhow::Result<Vec<u8>> {
        let address = self.address;
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.exchange(method, path, body)).await;
        let (status, bytes) = answer
            .with_context(|| format!("weir at {address} did not answer within {} s", ANSWER_WITHIN.as_secs()))??;
        if !status.is_success() {
            bail!("weir at {address}: {}", complaint(status, &bytes));
        }
        Ok(bytes)
    }

    async fn exchange(&self, method: Method, path: &str, body: String) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let address = self.address;
        let nobody = || format!("no weir answers at {address}: is `weir up` running? --http names another address");
        let stream = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await;
        let stream = stream.with_context(nobody)?.with_context(nobody)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.with_context(nobody)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, address.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .header(ADMIN_HEADER.0, ADMIN_HEADER.1)
            .body(body)
            .with_context(|| format!("request of {path}"))?;
        let answer = async {
            let response = sender.send_request(request).await.with_context(nobody)?;
            let status = response.status();
            anyhow::Ok((status, read(response.into_body()).await?))
        };
        tokio::pin!(answer, connection);
        let mut connected = true;
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                // What it has read is still handed out after its end.
                ended = &mut connection, if connected => {
                    connected = false;
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection to weir ended");
                    }
                }
            }
        }
    }
}

/// `path` with the parameters that have a value.
pub(crate) fn with_query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut uri = path.to_owned();
    let given = parameters.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    for (at, (name, value)) in given.enumerate() {
        uri.push(if at == 0 { '?' } else { '&' });
        uri.push_str(name);
        uri.push('=');
        push_encoded(&mut uri, value);
    }
    uri
}

/// Appends `text` as one segment of a path, or as a value of a query.
pub(crate) fn push_encoded(uri: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
}

async fn read(mut body: Incoming) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Ok(data) = frame.context("answer of weir broke off")?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > ANSWER_BYTES {
            bail!("answer has more than {ANSWER_BYTES} bytes");
        }
    }
    Ok(bytes)
}

/// What the server says is wrong, `{"error": "..."}`; another server says something else.
fn complaint(status: StatusCode, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Answer {
        error: String,
    }
    serde_json::from_slice::<Answer>(body).map_or_else(|_| format!("{status}"), |answer| answer.error)
}

#[cfg(test)]
mod tests;
