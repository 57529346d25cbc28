//! Sockets that never block.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, sockopt};

/// Connections that wait to be accepted: a whole fleet comes back at once.
const BACKLOG: i32 = 4096;

/// A listener on `address`.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts a connection; `None` if nobody waits.
pub(super) fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok(Some(stream))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        // The device went away while it waited, or a signal came: the next turn looks again.
        Err(error) if [io::ErrorKind::ConnectionAborted, io::ErrorKind::Interrupted].contains(&error.kind()) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Begins to connect to `address`; how that ended is known when the socket is writable.
pub(super) fn begin_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Closes with RST instead of FIN.
pub(super) fn reset(stream: TcpStream) {
    // It fails for a socket that the peer has reset: just as well.
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).ok();
}

/// What wakes the thread from outside.
pub(super) fn waker() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// Wakes the thread.
pub(super) fn wake(waker: &OwnedFd) -> io::Result<()> {
    rustix::io::write(waker, &1_u64.to_ne_bytes())?;
    Ok(())
}

/// Takes the wake-ups so far.
pub(super) fn woken(waker: &OwnedFd) -> io::Result<()> {
    match rustix::io::read(waker, &mut [0; 8]) {
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
