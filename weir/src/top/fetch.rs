//! Asks processes for their snapshots, each in its own time: one that is away or slow holds up no other.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::clean;
use crate::admin::AdminClient;
use crate::snapshot::Snapshot;

const PATH: &str = "/api/v1/snapshot";
/// A process that has not answered by then is away: a snapshot is made from memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Answer of the process of a number.
pub(super) type Answer = (usize, Result<Snapshot, String>);

/// Asks all processes again and again, until dropped.
#[derive(Debug)]
pub(super) struct Polls {
    answers: mpsc::Receiver<Answer>,
    /// Ended by its drop.
    tasks: JoinSet<()>,
}

impl Polls {
    /// Asks each of `addresses` once an `interval`, away or not.
    pub(super) fn start(addresses: &[SocketAddr], interval: Duration) -> Self {
        // One answer of each process may wait; then the process is asked later.
        let (sender, answers) = mpsc::channel(addresses.len().max(1));
        let mut tasks = JoinSet::new();
        for (number, address) in addresses.iter().copied().enumerate() {
            let sender = sender.clone();
            tasks.spawn(async move {
                let mut times = tokio::time::interval(interval);
                times.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    times.tick().await;
                    let answer = snapshot(address).await.map_err(|error| clean::text(&format!("{error:#}")));
                    if sender.send((number, answer)).await.is_err() {
                        return;
                    }
                }
            });
        }
        Self { answers, tasks }
    }

    /// The next answer. Whoever stops to wait for it loses none.
    ///
    /// # Errors
    /// If a task panicked that asks.
    pub(super) async fn next(&mut self) -> anyhow::Result<Answer> {
        tokio::select! {
            Some(answer) = self.answers.recv() => Ok(answer),
            Some(ended) = self.tasks.join_next() => {
                ended.context("a task that asks for snapshots")?;
                bail!("a task that asks for snapshots ended")
            }
            else => bail!("nobody is asked"),
        }
    }
}

/// The snapshot of the process at `address`, without texts that steer a terminal.
pub(super) async fn snapshot(address: SocketAddr) -> anyhow::Result<Snapshot> {
    let value = clean::value(raw(address).await?);
    serde_json::from_value(value).with_context(|| format!("snapshot of weir at {address}"))
}

/// The snapshot of the process at `address`, as it is.
pub(super) async fn raw(address: SocketAddr) -> anyhow::Result<Value> {
    let client = AdminClient::new(address);
    let answer = tokio::time::timeout(ANSWER_WITHIN, client.get(PATH)).await;
    answer.with_context(|| format!("weir at {address} did not answer within {} s", ANSWER_WITHIN.as_secs()))?
}

#[cfg(test)]
mod tests;
