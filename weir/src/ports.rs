//! Ports that stay ours while nobody listens on them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;

/// Below the ports that the kernel gives to outgoing connections, of which one would keep a stopped server from
/// coming back.
const PORTS: std::ops::Range<u16> = 16_000..24_000;

/// Ports asked for so far.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// An address of this machine where nobody listens, and that this process gives away once.
///
/// # Errors
/// If all ports are taken.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    let ports = u32::from(PORTS.end - PORTS.start);
    // Processes beside each other begin at places of their own.
    let first = std::process::id().wrapping_mul(97);
    (0..ports)
        .find_map(|_| {
            let offset = first.wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed)) % ports;
            let port = PORTS.start + u16::try_from(offset).ok()?;
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?.local_addr().ok()
        })
        .with_context(|| format!("no free port in {PORTS:?}"))
}
