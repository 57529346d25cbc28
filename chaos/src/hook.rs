//! The stub of a web server that rules call: it does badly what servers do badly, and writes down what it was asked.
//!
//! ```text
//!   weir ── POST, idempotency-key ──▶ hook        one port a hook, one thread a connection
//!                                     └─ hooks.csv, shared by the hooks of a round
//! ```
//! A hook *does* what a request asks once for each key, when it has read the request to its end, and counts the new
//! keys. Some of its moods ([`Mood`]) keep it from doing it, others from saying so.

mod mood;
mod record;
mod request;
mod serve;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};

pub(crate) use self::mood::{Mood, Plan};
pub(crate) use self::record::{Record, Tally};
use self::serve::Server;

/// A running hook; ended when dropped.
#[derive(Debug)]
pub(crate) struct Hook {
    server: Arc<Server>,
    address: SocketAddr,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Hook {
    /// Listens on `listen` (port 0 for any) and does well, until told otherwise; its moods follow from `seed`. Requests
    /// are written to `record` under `name`.
    ///
    /// # Errors
    /// If it cannot listen there.
    pub(crate) fn start(
        name: &'static str,
        listen: SocketAddr,
        record: &Arc<Mutex<Record>>,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen).with_context(|| format!("listen on {listen}"))?;
        let address = listener.local_addr().context("address of a hook")?;
        let server = Arc::new(Server::new(name, Arc::clone(record), seed));
        let serving = Arc::clone(&server);
        let thread =
            thread::Builder::new().name(format!("hook {name}")).spawn(move || serve::run(&listener, &serving))?;
        Ok(Self { server, address, thread: Some(thread) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on its moods come by `plan`. A request under way ends as it began.
    pub(crate) fn plan(&self, plan: Plan) {
        *self.server.plan.lock().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    /// What it has seen so far.
    pub(crate) fn tally(&self) -> Tally {
        let record = self.server.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.tally(self.server.name)
    }

    /// Closes all connections; what it saw.
    ///
    /// # Errors
    /// If something could not be written down.
    pub(crate) fn finish(mut self) -> anyhow::Result<Tally> {
        self.end().context("the hook has ended before")??;
        Ok(self.tally())
    }

    fn end(&mut self) -> Option<anyhow::Result<()>> {
        let thread = self.thread.take()?;
        self.server.ended.store(true, Ordering::SeqCst);
        // Whoever accepts looks up at this; an error means that nobody accepts any more.
        TcpStream::connect(self.address).ok();
        Some(thread.join().unwrap_or_else(|_| Err(anyhow!("a hook panicked"))))
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.end() {
            eprintln!("warning: hook {}: {error:#}", self.server.name);
        }
    }
}

#[cfg(test)]
mod tests;
