//! Threads and port of the endpoint: an `ntex` system of its own, apart from tokio.

use std::net::TcpListener;
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use ntex::io::{Io, IoConfig};
use ntex::rt::{DefaultRuntime, System};
use ntex::server::{Server, ServerBuilder};
use ntex::time::Seconds;
use ntex::{SharedCfg, fn_service};
use tokio::sync::oneshot;

use super::clients::Clients;
use super::connection;
use super::handshake;
use super::switchboard::Switchboard;
use super::worker::{Shared, Worker};
use crate::intake::Intake;

/// Bytes of a packet beside its payload: topic, properties, header. Names are far below it.
const PACKET_OVERHEAD_BYTES: usize = 8 * 1024;
/// Size at which a connection is not read, or not written to, until some of it is gone.
const BUFFER_BYTES: usize = 32 * 1024;
/// Free space at which a read buffer grows.
const BUFFER_LOW_BYTES: usize = 4 * 1024;
/// Buffers kept for reuse by each thread.
const BUFFERS_KEPT: usize = 64;

/// Settings of the endpoint, within their bounds; see [`crate::IngestConfig`].
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) workers: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) in_flight: NonZeroU16,
    pub(crate) in_flight_bytes: usize,
    pub(crate) connections: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) keep_alive: Duration,
}

impl Settings {
    pub(super) fn most_packet_bytes(&self) -> usize {
        self.payload_bytes + PACKET_OVERHEAD_BYTES
    }
}

/// Whole seconds, as timers here count them; at least one.
pub(super) fn seconds(duration: Duration) -> Seconds {
    Seconds(u16::try_from(duration.as_secs()).unwrap_or(u16::MAX).max(1))
}

/// The running endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    shared: Arc<Shared>,
    /// Behind a lock only because it is not `Sync`.
    server: Mutex<Server>,
    stopping: Arc<AtomicBool>,
    ended: oneshot::Receiver<()>,
}

impl Endpoint {
    /// Serves connections of `listener` on threads of its own. If they end before [`Endpoint::stop`], the
    /// intake fails.
    pub(crate) async fn start(
        listener: TcpListener,
        intake: Intake,
        switchboard: Arc<Switchboard>,
        settings: Settings,
    ) -> io::Result<Self> {
        let clients = Clients::new(settings.connections);
        let shared = Arc::new(Shared { intake, settings, clients, switchboard });
        let stopping = Arc::new(AtomicBool::new(false));
        let (started, server) = oneshot::channel();
        let (ends, ended) = oneshot::channel();
        let last_words = LastWords { shared: shared.clone(), stopping: stopping.clone(), ends: Some(ends) };
        let serving = shared.clone();
        thread::Builder::new().name("weir-mqtt".to_owned()).spawn(move || {
            let last_words = last_words;
            run(listener, serving, started);
            drop(last_words);
        })?;
        let server = server.await.map_err(|_| io::Error::other("mqtt thread ended while it started"))??;
        Ok(Self { shared, server: Mutex::new(server), stopping, ended })
    }

    /// Accepts no more connections; those there are stay.
    pub(crate) async fn pause(&self) {
        let paused = self.server().pause();
        paused.await;
    }

    /// Waits until no connection is left.
    pub(crate) async fn gone(&self) {
        self.shared.clients.gone().await;
    }

    /// Ends the threads, whatever they still serve.
    pub(crate) async fn stop(self) {
        self.stopping.store(true, Ordering::Release);
        let stopped = self.server().stop(false);
        stopped.await;
        // An error is the thread's end, too.
        self.ended.await.unwrap_or_default();
    }

    /// Ends the threads without waiting for them.
    pub(crate) fn abandon(&self) {
        self.stopping.store(true, Ordering::Release);
        // The command is sent by the call; what it returns only waits.
        drop(self.server().stop(false));
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells, on whatever way the thread ends, that it did.
struct LastWords {
    shared: Arc<Shared>,
    stopping: Arc<AtomicBool>,
    ends: Option<oneshot::Sender<()>>,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        if !self.stopping.load(Ordering::Acquire) {
            self.shared.intake.fail("the mqtt endpoint ended");
        }
        if let Some(ends) = self.ends.take() {
            // Nobody waits if the endpoint was abandoned.
            ends.send(()).unwrap_or_default();
        }
    }
}

fn run(listener: TcpListener, shared: Arc<Shared>, started: oneshot::Sender<io::Result<Server>>) {
    let system = System::build().name("weir-mqtt").ping_interval(0).build(DefaultRuntime);
    system.block_on(async move {
        match serve(listener, shared) {
            Ok(server) => {
                let running = server.clone();
                if started.send(Ok(server)).is_err() {
                    return;
                }
                if let Err(error) = running.await {
                    tracing::error!(%error, "mqtt server ended");
                }
            }
            Err(error) => started.send(Err(error)).unwrap_or_default(),
        }
    });
}

fn serve(listener: TcpListener, shared: Arc<Shared>) -> io::Result<Server> {
    let workers = shared.settings.workers;
    let io = IoConfig::new()
        .set_read_buf(BUFFER_BYTES, BUFFER_LOW_BYTES, BUFFERS_KEPT)
        .set_write_buf(BUFFER_BYTES, BUFFER_LOW_BYTES, BUFFERS_KEPT)
        .set_disconnect_timeout(Seconds(1));
    let server = ServerBuilder::new()
        .name("weir-mqtt")
        .workers(workers)
        .disable_signals()
        .stop_on_panic()
        .listen("mqtt", listener, async move |_| {
            let worker = Worker::start(shared.clone());
            fn_service(async move |io: Io| {
                welcome(worker.clone(), io).await;
                Ok::<(), ()>(())
            })
        })?
        .config("mqtt", SharedCfg::new("MQTT").add(io));
    Ok(server.run())
}

async fn welcome(worker: Rc<Worker>, io: Io) {
    let shared = worker.shared.clone();
    let Some(seat) = shared.clients.seat() else { return };
    worker.greet(seat.id, io.get_ref());
    let client = handshake::shake(&io, &shared, &seat).await;
    worker.greeted(seat.id);
    match client {
        Some(client) => connection::serve(worker, io, seat.id, client).await,
        None => {
            if let Err(error) = io.shutdown().await {
                tracing::debug!(%error, "connection closed by its peer");
            }
        }
    }
}
