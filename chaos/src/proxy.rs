//! The proxy between devices and endpoint: the second witness, and the bad network.
//!
//! ```text
//!   device ── CONNECT, PUBLISH ──▶  up  ──▶ endpoint
//!   device ◀── CONNACK, PUBACK ──  down ◀── endpoint          one pair of sockets a device, one thread for all
//! ```
//! It passes bytes on as they come, reads along, and writes a line for each acknowledgement that it handed to
//! the socket of a device to its last byte. An acknowledgement for which no message is open on that connection
//! is stale: the device may take it for that of another message.
//!
//! By a [`Plan`] it does what networks do. Apart from that it neither loses nor changes a byte, and reads a side
//! only when the other has taken what was read before.

mod engine;
mod flow;
mod identity;
mod link;
mod packet;
mod plan;
mod record;
mod session;
mod socket;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use rustix::fd::OwnedFd;

use self::engine::{Engine, Order};
pub(crate) use self::identity::Identity;
pub(crate) use self::plan::{Fault, Plan};
use self::record::Record;
pub(crate) use self::record::Witness;

/// Orders that wait for the thread.
const ORDERS: usize = 8;

/// A running proxy; ended when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    orders: SyncSender<Order>,
    waker: Arc<OwnedFd>,
    thread: Option<JoinHandle<anyhow::Result<Witness>>>,
}

impl Proxy {
    /// Listens on `listen` (port 0 for any), connects each device to `target`, and writes the file `pubacks`
    /// anew. No faults yet; those to come follow from `seed`.
    ///
    /// # Errors
    /// If it cannot listen there, or not write the file.
    pub(crate) fn start(listen: SocketAddr, target: SocketAddr, pubacks: &Path, seed: u64) -> anyhow::Result<Self> {
        let listener = socket::listen(listen).with_context(|| format!("listen on {listen}"))?;
        let address = listener.local_addr().context("address of the proxy")?;
        let record = Record::create(pubacks)?;
        let waker = Arc::new(socket::waker().context("make an eventfd")?);
        let (orders, received) = sync_channel(ORDERS);
        let engine = Engine::new(listener, target, Arc::clone(&waker), received, record, seed)?;
        let thread = thread::Builder::new().name("proxy".into()).spawn(move || engine.run())?;
        Ok(Self { address, orders, waker, thread: Some(thread) })
    }

    /// Where devices connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on faults come by `plan`, on open connections too. A fault under way goes on: what fell into a
    /// black hole stays there until its peers close.
    ///
    /// # Errors
    /// If the proxy has ended; [`Proxy::finish`] says why.
    pub(crate) fn faults(&self, plan: Plan) -> anyhow::Result<()> {
        self.order(Order::Plan(plan))
    }

    /// Resets all connections, and returns how many there were once it is done.
    ///
    /// # Errors
    /// If the proxy has ended; [`Proxy::finish`] says why.
    pub(crate) fn cut_all(&self) -> anyhow::Result<u64> {
        let (answer, answered) = sync_channel(1);
        self.order(Order::Cut(answer))?;
        answered.recv().context("the proxy has ended")
    }

    /// What it has seen so far.
    ///
    /// # Errors
    /// If the proxy has ended; [`Proxy::finish`] says why.
    pub(crate) fn witness(&self) -> anyhow::Result<Witness> {
        let (answer, answered) = sync_channel(1);
        self.order(Order::Tell(answer))?;
        answered.recv().context("the proxy has ended")
    }

    /// Closes all connections and completes the file.
    ///
    /// # Errors
    /// If the file could not be written, or the proxy ended before.
    pub(crate) fn finish(mut self) -> anyhow::Result<Witness> {
        self.end().context("the proxy has ended before")?
    }

    fn order(&self, order: Order) -> anyhow::Result<()> {
        self.orders.send(order).map_err(|_| anyhow!("the proxy has ended"))?;
        socket::wake(&self.waker).context("wake the proxy")
    }

    fn end(&mut self) -> Option<anyhow::Result<Witness>> {
        let thread = self.thread.take()?;
        // An error means that it has ended already, and the thread says why.
        self.order(Order::Finish).ok();
        Some(thread.join().unwrap_or_else(|_| Err(anyhow!("the proxy panicked"))))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.end() {
            eprintln!("warning: proxy: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests;
