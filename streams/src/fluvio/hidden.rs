//! Records that a server keeps to itself.
//!
//! After a crash a server has all its records, but what it remembers of how far they count is older: it shows those
//! behind only once the next record comes. Until then a reader would wait for what it was promised, and who reads the
//! end of a partition to learn what it has appended already would append its last record again. So the next record
//! is made to come: one that says nothing.

use std::sync::Arc;

use super::bounds::Bounds;
use super::cluster::{Cluster, Place};
use super::envelope::{Envelope, HEADER, Kind};
use super::fetch::Fetcher;
use super::limits::{SHOWN_SOON, TOPIC_ATTEMPTS, pause};
use super::produce::produce_again;
use super::records::Packer;
use super::watcher::ask;
use crate::contract::Error;

/// Makes the server show all it has of `place`. Its end is known afterwards.
///
/// # Errors
/// [`Error::Unavailable`].
pub(super) async fn reveal(cluster: &Arc<Cluster>, bounds: &Arc<Bounds>, place: &Place) -> Result<(), Error> {
    let shown = ask(cluster, bounds, place).await?.end;
    let mut fetcher = Fetcher::new(cluster.clone(), bounds.clone(), place.clone());
    let mut failures = 0;
    let there = loop {
        match fetcher.end(shown).await {
            Ok(there) => break there,
            Err(error) if failures >= TOPIC_ATTEMPTS => return Err(error),
            Err(_) => {
                failures += 1;
                cluster.doubt().await;
                tokio::time::sleep(pause(u64::from(place.1), failures)).await;
            }
        }
    };
    if there == shown {
        return Ok(());
    }
    // On their way, most likely.
    tokio::time::sleep(SHOWN_SOON).await;
    if ask(cluster, bounds, place).await?.end >= there {
        return Ok(());
    }
    tracing::info!(topic = %place.0, partition = place.1, records = there - shown, "the cluster hides records: appending an empty one");
    append_nothing(cluster, bounds, place).await
}

async fn append_nothing(cluster: &Cluster, bounds: &Bounds, place: &Place) -> Result<(), Error> {
    let mut packer = Packer::default();
    let now = cluster.clock.now();
    let envelope = Envelope { kind: Kind::Nothing, writer: 0, sequence: 0, rows: 0, appended_at: now };
    packer.add(HEADER, |out| envelope.put(&[], out));
    produce_again(cluster, bounds, &mut None, place, packer.batch(now)).await.map(drop)
}
