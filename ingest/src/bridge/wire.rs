//! The bytes of a connection: TCP or TLS, and a buffer for each direction.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::config::{Address, TlsFiles};
use super::limits::{FAREWELL, READ_BYTES};
use super::problem::Problem;
use super::tls;

/// TCP or TLS.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open connection.
pub(super) struct Wire {
    io: Box<dyn Io>,
    /// What was read and not yet taken.
    pub(super) incoming: BytesMut,
    /// What is to be written.
    pub(super) outgoing: BytesMut,
    /// Whether something written may not have left TLS.
    unflushed: bool,
}

/// What an exchange did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) read: bool,
    pub(super) written: bool,
}

impl Wire {
    /// Connects to `address`.
    pub(super) async fn dial(address: &Address, files: &TlsFiles) -> Result<Self, Problem> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        // Acknowledgements are written a batch at a time.
        stream.set_nodelay(true)?;
        let io: Box<dyn Io> =
            if address.tls { Box::new(tls::wrap(stream, &address.host, files).await?) } else { Box::new(stream) };
        Ok(Self { io, incoming: BytesMut::new(), outgoing: BytesMut::new(), unflushed: false })
    }

    /// Waits until something was written, or read if `reading`. Nothing is lost if the future is dropped.
    pub(super) async fn exchange(&mut self, reading: bool) -> Result<Moved, Problem> {
        poll_fn(|context| self.poll_exchange(context, reading)).await
    }

    fn poll_exchange(&mut self, context: &mut Context<'_>, reading: bool) -> Poll<Result<Moved, Problem>> {
        let mut moved = Moved { written: self.poll_write(context)?, read: false };
        if reading {
            if self.incoming.capacity() - self.incoming.len() < READ_BYTES / 4 {
                self.incoming.reserve(READ_BYTES);
            }
            match pin!(self.io.read_buf(&mut self.incoming)).poll(context)? {
                Poll::Ready(0) => return Poll::Ready(Err(Problem::Closed)),
                Poll::Ready(_) => moved.read = true,
                Poll::Pending => {}
            }
        }
        if moved.read || moved.written { Poll::Ready(Ok(moved)) } else { Poll::Pending }
    }

    /// Writes what the connection takes; says whether that was anything.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Result<bool, Problem> {
        let mut written = false;
        while !self.outgoing.is_empty() {
            match pin!(self.io.write_buf(&mut self.outgoing)).poll(context)? {
                Poll::Ready(0) => return Err(Problem::Closed),
                Poll::Ready(_) => (written, self.unflushed) = (true, true),
                Poll::Pending => return Ok(written),
            }
        }
        if self.unflushed && Pin::new(&mut self.io).poll_flush(context)?.is_ready() {
            self.unflushed = false;
        }
        Ok(written)
    }

    /// Writes what there is to write, and closes. Best effort: nobody waits for it.
    pub(super) async fn close(&mut self) {
        let farewell = async {
            self.io.write_all_buf(&mut self.outgoing).await?;
            self.io.shutdown().await
        };
        if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
            tracing::debug!("connection to the broker ended without a goodbye");
        }
    }
}
