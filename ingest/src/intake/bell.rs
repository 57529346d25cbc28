//! How threads outside tokio learn that something changed: one wake for each thread and group, not one for
//! each message.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use futures::task::AtomicWaker;

use crate::live::{GROUPS_BEHIND, LiveReading};

/// Wakes one task, from any thread. Rings may merge: the task looks at everything it cares about.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    waker: AtomicWaker,
    live: Mutex<VecDeque<Arc<[LiveReading]>>>,
}

impl Bell {
    /// Registers the task to wake; it must look for changes after this, or it misses one.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    pub(crate) fn ring(&self) {
        self.waker.wake();
    }

    /// Hands over live readings; gives back how many were dropped because the task fell behind.
    pub(crate) fn push_live(&self, readings: Arc<[LiveReading]>) -> usize {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.push_back(readings);
        if live.len() > GROUPS_BEHIND { live.pop_front().map_or(0, |oldest| oldest.len()) } else { 0 }
    }

    pub(crate) fn take_live(&self) -> VecDeque<Arc<[LiveReading]>> {
        std::mem::take(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
