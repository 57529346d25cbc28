//! One connection to one server of a cluster: a request, its response, in turn.
//!
//! Not the client's socket, for three reasons. It waits 60 seconds for a response unless the environment says otherwise.
//! One slow reader stops everybody else's responses on it. And the server sends a reply in two parts without
//! `TCP_NODELAY`, so that the second waits for the acknowledgement of the first, which the kernel delays by 40 ms unless
//! it is asked not to.

use std::fmt;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use fluvio::dataplane::Encoder;
use fluvio::dataplane::api::{Request, RequestMessage, ResponseMessage};
use fluvio::dataplane::link::versions::{ApiVersions, ApiVersionsRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::limits::REPLY_BYTES;
use super::tls::Identity;
use crate::contract::Error;

/// A server to connect to.
#[derive(Clone)]
pub(super) struct Server {
    /// Host and port.
    pub(super) address: String,
    /// What its certificate begins with; the controller's is that of the domain.
    pub(super) name: Option<String>,
    pub(super) tls: Option<Identity>,
}

/// A connection that works: dropped when a request fails or is given up, because its response may still come.
pub(super) struct Connection {
    socket: Socket,
    versions: ApiVersions,
    peer: String,
    /// Whether a request was sent whose response was not read.
    waiting: bool,
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects, shakes hands and learns which versions of requests the server knows.
    pub(super) async fn open(server: Server, timeout: Duration) -> Result<Self, Error> {
        let peer = server.address.clone();
        let opened = tokio::time::timeout(timeout, Socket::open(&server)).await;
        let socket = opened
            .map_err(|_| unavailable(&peer, format_args!("no connection within {} s", timeout.as_secs_f64())))?
            .map_err(|error| unavailable(&peer, error))?;
        let mut connection = Self { socket, versions: Vec::new(), peer, waiting: false };
        let hello = ApiVersionsRequest {
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            client_os: std::env::consts::OS.to_owned(),
            client_arch: std::env::consts::ARCH.to_owned(),
        };
        connection.versions =
            connection.call_as(hello, ApiVersionsRequest::DEFAULT_API_VERSION, timeout).await?.api_keys;
        Ok(connection)
    }

    /// Sends `request` and waits for its response, up to `timeout`.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; the connection is then of no use. [`Error::Incompatible`].
    pub(super) async fn call<R: Request>(&mut self, request: R, timeout: Duration) -> Result<R::Response, Error> {
        let version = self.version::<R>()?;
        self.call_as(request, version, timeout).await
    }

    /// The newest version of requests `R` that both sides know.
    ///
    /// # Errors
    /// [`Error::Incompatible`] if there is none.
    pub(super) fn version<R: Request>(&self) -> Result<i16, Error> {
        let mut known = self.versions.iter().filter(|known| i32::from(known.api_key) == i32::from(R::API_KEY));
        let known =
            known.find(|known| known.max_version >= R::MIN_API_VERSION && known.min_version <= R::MAX_API_VERSION);
        known.map(|known| known.max_version.min(R::MAX_API_VERSION)).ok_or_else(|| {
            Error::Incompatible(format!(
                "the server at {} knows no version of request {} from {} to {}",
                self.peer,
                R::API_KEY,
                R::MIN_API_VERSION,
                R::MAX_API_VERSION
            ))
        })
    }

    async fn call_as<R: Request>(&mut self, request: R, version: i16, timeout: Duration) -> Result<R::Response, Error> {
        if self.waiting {
            return Err(unavailable(&self.peer, "a request before was given up"));
        }
        self.waiting = true;
        let answered = tokio::time::timeout(timeout, self.exchange(request, version)).await;
        let response = answered
            .map_err(|_| unavailable(&self.peer, format_args!("no response within {} s", timeout.as_secs_f64())))?
            .map_err(|error| unavailable(&self.peer, error))?;
        self.waiting = false;
        Ok(response)
    }

    async fn exchange<R: Request>(&mut self, request: R, version: i16) -> std::io::Result<R::Response> {
        let mut message = RequestMessage::new_request(request);
        message.header.set_client_id("weir");
        message.header.set_api_version(version);
        let size = message.write_size(0);
        let mut frame = BytesMut::with_capacity(4 + size);
        frame.put_u32(u32::try_from(size).map_err(std::io::Error::other)?);
        message.encode(&mut frame, 0)?;
        self.socket.write(&frame).await?;
        let mut reply = self.socket.read_frame().await?;
        Ok(ResponseMessage::decode_from(&mut reply, version)?.response)
    }
}

impl Socket {
    async fn open(server: &Server) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::Unavailable(error.to_string());
        let stream = TcpStream::connect(&*server.address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let Some(tls) = &server.tls else { return Ok(Self::Plain(stream)) };
        let (connector, name) = tls.of(server.name.as_deref())?;
        Ok(Self::Tls(Box::new(connector.connect(name, stream).await.map_err(failed)?)))
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// The next frame: its length in four bytes, then itself.
    async fn read_frame(&mut self) -> std::io::Result<Bytes> {
        let mut frame = BytesMut::with_capacity(8 * 1024);
        let mut whole = 4;
        while frame.len() < whole {
            self.acknowledge_at_once();
            let read = match self {
                Self::Plain(stream) => stream.read_buf(&mut frame).await?,
                Self::Tls(stream) => stream.read_buf(&mut frame).await?,
            };
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let (4, Some(len)) = (whole, frame.first_chunk::<4>()) {
                let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
                if len > REPLY_BYTES {
                    return Err(std::io::Error::other(format!("a reply of {len} bytes, of {REPLY_BYTES} at most")));
                }
                whole += len;
                frame.reserve(whole.saturating_sub(frame.len()));
            }
        }
        Ok(frame.freeze().slice(4..whole))
    }

    /// Linux takes this back as it likes, so it is asked for before each read.
    #[cfg(target_os = "linux")]
    fn acknowledge_at_once(&self) {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        if let Err(error) = stream.set_quickack(true) {
            tracing::trace!(%error, "acknowledgements are delayed");
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn acknowledge_at_once(&self) {}
}

fn unavailable(peer: &str, why: impl fmt::Display) -> Error {
    Error::Unavailable(format!("fluvio at {peer}: {why}"))
}
