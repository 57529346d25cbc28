//! What an answer that goes on for long knows of the connection it is on.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

/// The connection that a request came on. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    ends: watch::Receiver<bool>,
    cut: Arc<Notify>,
}

/// The other side, held by who serves the connection.
#[derive(Debug)]
pub(crate) struct Life {
    ends: watch::Sender<bool>,
    cut: Arc<Notify>,
}

impl Connection {
    /// A connection, and the other side of it.
    pub(crate) fn new() -> (Life, Self) {
        let (cut, (sender, ends)) = (Arc::<Notify>::default(), watch::channel(false));
        (Life { ends: sender, cut: cut.clone() }, Self { ends, cut })
    }

    /// Resolves when the connection takes no further request: what is streamed on it should end by itself, because soon
    /// it is cut.
    pub(crate) async fn ends(&mut self) {
        // Without anybody who serves it, it has ended.
        drop(self.ends.wait_for(|ends| *ends).await);
    }

    /// Ends the connection at once, whatever is on its way.
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }
}

impl Life {
    pub(super) fn end(&self) {
        self.ends.send_replace(true);
    }

    /// Resolves when the connection is to end at once.
    pub(crate) async fn cut(&self) {
        self.cut.notified().await;
    }
}
