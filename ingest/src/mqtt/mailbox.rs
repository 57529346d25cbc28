//! How other threads reach the connections of one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::errand::Errand;
use super::limits::POSTED;
use crate::intake::Bell;

/// The mailbox of one thread.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) bell: Arc<Bell>,
    post: Mutex<Post>,
}

/// What lies in a mailbox, each for a connection.
#[derive(Debug, Default)]
pub(super) struct Post {
    /// Connections whose client connected anew.
    pub(super) kicked: Vec<u64>,
    /// Commands to deliver, in order.
    pub(super) errands: Vec<(u64, Errand)>,
}

impl Mailbox {
    /// Tells connection `id` that its client connected anew.
    pub(super) fn kick(&self, id: u64) {
        self.lock().kicked.push(id);
        self.ring();
    }

    /// Gives connection `id` a command to deliver, behind those before it. Dropped, and so lost, if there are too
    /// many.
    pub(super) fn send(&self, id: u64, errand: Errand) {
        let mut post = self.lock();
        if post.errands.len() >= POSTED {
            return;
        }
        post.errands.push((id, errand));
        drop(post);
        self.ring();
    }

    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    pub(super) fn take(&self) -> Post {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Post> {
        // Each change is one push: it is whole, whoever panicked.
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
