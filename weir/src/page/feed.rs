//! One snapshot a second, made once for all pages, and only while one is open.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::snapshot::{Snapshot, Source};

/// How often the page moves.
const EVERY: Duration = Duration::from_secs(1);
/// Pages open at once: a quarter of the connections of the port, which probes and scrapes need, too.
pub(super) const CLIENTS: usize = 16;

/// The snapshots for all pages. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Feed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    /// The newest only: who is too slow for one gets the next.
    newest: watch::Sender<Bytes>,
    maker: Mutex<Option<JoinHandle<()>>>,
    places: Arc<Semaphore>,
}

/// One page's view of it.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) newest: watch::Receiver<Bytes>,
    /// Free again when dropped.
    pub(super) place: OwnedSemaphorePermit,
}

impl Feed {
    pub(super) fn new(source: Source) -> Self {
        let (newest, places) = (watch::Sender::new(Bytes::new()), Arc::new(Semaphore::new(CLIENTS)));
        Self(Arc::new(Inner { source, newest, maker: Mutex::default(), places }))
    }

    /// `None` if all places are taken.
    pub(super) fn subscribe(&self) -> Option<Subscription> {
        let place = self.0.places.clone().try_acquire_owned().ok()?;
        let mut maker = self.0.maker.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = self.0.newest.subscribe();
        if maker.as_ref().is_none_or(JoinHandle::is_finished) {
            // The first snapshot is made at once.
            *maker = Some(tokio::spawn(make(self.clone())));
        } else if !newest.borrow().is_empty() {
            newest.mark_changed();
        }
        Some(Subscription { newest, place })
    }

    /// Whether snapshots are being made.
    #[cfg(test)]
    pub(super) fn is_made(&self) -> bool {
        self.0.maker.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether nobody looks; then the maker ends. Decided under the lock that a new page takes.
    fn ends(&self) -> bool {
        let mut maker = self.0.maker.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = self.0.newest.receiver_count() == 0;
        if ends {
            *maker = None;
            // Not of use to the next page, which may come tomorrow.
            self.0.newest.send_replace(Bytes::new());
        }
        ends
    }
}

async fn make(feed: Feed) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if feed.ends() {
            return;
        }
        let snapshot = feed.0.source.snapshot().await;
        match event(&snapshot) {
            Ok(event) => drop(feed.0.newest.send_replace(event)),
            Err(error) => tracing::warn!(%error, "a snapshot cannot be written as JSON"),
        }
    }
}

/// One event of a stream of server-sent events. JSON has no line breaks here, so it is one line of data.
fn event(snapshot: &Snapshot) -> serde_json::Result<Bytes> {
    let mut event = b"data: ".to_vec();
    serde_json::to_writer(&mut event, snapshot)?;
    event.extend_from_slice(b"\n\n");
    Ok(event.into())
}
