//! One MQTT connection of a publisher, from CONNECT to its end. Nothing outlives it: a publisher that is cut
//! off opens a new one, and what was acknowledged on the old one is in the publisher's outbox, not here.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{Connect, ConnectReturnCode, Packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::packet::{self, Incoming};

/// For DISCONNECT, which nobody waits for, to leave.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest packet of our own apart from PUBLISH.
const MAX_CONTROL: usize = 1024;

/// Why a connection ended. The publisher opens a new one whatever it is; the kinds are for people.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("closed by the server")]
    Closed,
    #[error("no answer to connect or subscribe within {0:?}")]
    NoAnswer(Duration),
    #[error("refused by the server: {0:?}")]
    Refused(ConnectReturnCode),
    #[error("the server sent what is no MQTT 3.1.1: {0}")]
    NotMqtt(#[from] rumqttc::mqttbytes::Error),
    #[error("the server sent {0:?} to a publisher")]
    Unexpected(Box<Incoming>),
    #[error("the server did not grant a subscription to {0} at QoS 1")]
    NotGranted(String),
    #[error("the server has been silent for {0:?}")]
    Silent(Duration),
    #[error("the server has acknowledged nothing for {0:?}")]
    NotAcknowledged(Duration),
}

/// An open connection and its two buffers.
pub(crate) struct Connection {
    stream: TcpStream,
    incoming: BytesMut,
    /// Packets to write.
    pub(crate) outgoing: BytesMut,
    read_size: usize,
}

impl Connection {
    /// Connects to `address` (`host:port`) as `client_id`, with a clean session, `within` that time from the first
    /// SYN to CONNACK. `read_size`: bytes to read at once, four a PUBACK.
    pub(crate) async fn open(
        address: &str,
        client_id: &str,
        keep_alive: Duration,
        read_size: usize,
        within: Duration,
    ) -> Result<Self, Error> {
        tokio::time::timeout(within, handshake(address, client_id, keep_alive, read_size))
            .await
            .unwrap_or(Err(Error::NoAnswer(within)))
    }

    /// As [`Self::open`], and subscribed to `commands`, if there are any, at QoS 1, `within` that time again.
    pub(crate) async fn open_for(
        commands: Option<&str>,
        address: &str,
        client_id: &str,
        keep_alive: Duration,
        read_size: usize,
        within: Duration,
    ) -> Result<Self, Error> {
        let mut connection = Self::open(address, client_id, keep_alive, read_size, within).await?;
        if let Some(filter) = commands {
            // Before anything is published: the packet id is one that a publish may have.
            let subscribed = tokio::time::timeout(within, connection.subscribed(filter));
            subscribed.await.unwrap_or(Err(Error::NoAnswer(within)))?;
        }
        Ok(connection)
    }

    async fn subscribed(&mut self, filter: &str) -> Result<(), Error> {
        packet::subscribe(&mut self.outgoing, filter)?;
        loop {
            self.exchange().await?;
            match self.next()? {
                None => continue,
                Some(Incoming::Subscribed(true)) => return Ok(()),
                Some(Incoming::Subscribed(false)) => return Err(Error::NotGranted(filter.to_owned())),
                Some(other) => return Err(Error::Unexpected(Box::new(other))),
            }
        }
    }

    /// Waits until something was read, or a part of `outgoing` was written. Nothing is lost if the future is
    /// dropped.
    pub(crate) async fn exchange(&mut self) -> Result<(), Error> {
        let Self { stream, incoming, outgoing, read_size } = self;
        let (mut reader, mut writer) = stream.split();
        incoming.reserve(*read_size);
        tokio::select! {
            read = reader.read_buf(incoming) => if read? == 0 { Err(Error::Closed) } else { Ok(()) },
            written = writer.write_buf(outgoing), if !outgoing.is_empty() => {
                if written? == 0 { Err(Error::Closed) } else { Ok(()) }
            }
        }
    }

    /// The next packet that was read.
    pub(crate) fn next(&mut self) -> Result<Option<Incoming>, Error> {
        Ok(packet::next(&mut self.incoming)?)
    }

    pub(crate) fn ping(&mut self) -> Result<(), Error> {
        Packet::PingReq.write(&mut self.outgoing, MAX_CONTROL)?;
        Ok(())
    }

    /// Says good-bye. What it is worth is best effort: all that counts was acknowledged before.
    pub(crate) async fn close(mut self) {
        if Packet::Disconnect.write(&mut self.outgoing, MAX_CONTROL).is_err() {
            return;
        }
        let farewell = async {
            self.stream.write_all_buf(&mut self.outgoing).await?;
            self.stream.shutdown().await
        };
        if !matches!(tokio::time::timeout(DISCONNECT_TIMEOUT, farewell).await, Ok(Ok(()))) {
            tracing::debug!("connection ended without a disconnect");
        }
    }
}

async fn handshake(
    address: &str,
    client_id: &str,
    keep_alive: Duration,
    read_size: usize,
) -> Result<Connection, Error> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut connection = Connection { stream, incoming: BytesMut::new(), outgoing: BytesMut::new(), read_size };
    let mut connect = Connect::new(client_id);
    connect.keep_alive = u16::try_from(keep_alive.as_secs()).unwrap_or(u16::MAX);
    connect.write(&mut connection.outgoing)?;
    loop {
        connection.exchange().await?;
        match connection.next()? {
            None => continue,
            Some(Incoming::Connected(ConnectReturnCode::Success)) => return Ok(connection),
            Some(Incoming::Connected(code)) => return Err(Error::Refused(code)),
            Some(other) => return Err(Error::Unexpected(Box::new(other))),
        }
    }
}
