//! The thread of the committer.

use std::io;

use tokio::sync::oneshot;

use super::committer::Committer;

/// Runs the committer on a thread and a runtime of its own, so that nothing else computes between a message
/// and its commit, and a wake costs one thread. Dropped, it ends the committer where it waits.
#[derive(Debug)]
pub(crate) struct CommitThread {
    ended: oneshot::Receiver<()>,
    _running: oneshot::Sender<()>,
}

impl CommitThread {
    pub(crate) fn start(committer: Committer) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (running, dropped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let work = move || {
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = committer.run() => {}
                    // An error: the sender is never used, only dropped.
                    _ = dropped => {}
                }
            });
            drop(end);
        };
        std::thread::Builder::new().name("weir-commit".to_owned()).spawn(work)?;
        Ok(Self { ended, _running: running })
    }

    /// Waits until the committer has ended; how, the intake tells.
    pub(crate) async fn ended(&mut self) {
        // Nothing is ever sent: the other side goes away, also by a panic.
        (&mut self.ended).await.unwrap_or_default();
    }
}
