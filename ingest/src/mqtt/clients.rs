//! Who is connected, on all threads: for the limit on connections, and so that a client id has one
//! connection at a time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::mailbox::Mailbox;

/// Connections over the limit that are still told so; more are closed without a word.
const TOLD: usize = 1024;

/// The connected clients.
#[derive(Debug)]
pub(super) struct Clients {
    most: usize,
    seats: watch::Sender<usize>,
    next_id: AtomicU64,
    by_name: Mutex<HashMap<Box<str>, Entry>>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    mailbox: Arc<Mailbox>,
}

/// The place of a connection among those counted; free again when dropped.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    clients: &'a Clients,
    /// Number of the connection, never used again.
    pub(super) id: u64,
    /// Whether it is within the limit; else it is to be refused.
    pub(super) within_limit: bool,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.clients.seats.send_modify(|seats| *seats -= 1);
    }
}

impl Clients {
    pub(super) fn new(most: usize) -> Self {
        Self { most, seats: watch::Sender::new(0), next_id: AtomicU64::new(1), by_name: Mutex::default() }
    }

    /// A seat for a new connection; `None` if it is not even to be told that the server is busy.
    pub(super) fn seat(&self) -> Option<Seat<'_>> {
        let mut taken = 0;
        self.seats.send_modify(|seats| {
            *seats += 1;
            taken = *seats;
        });
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let seat = Seat { clients: self, id, within_limit: taken <= self.most };
        (taken <= self.most + TOLD).then_some(seat)
    }

    /// Waits until every seat is free.
    pub(super) async fn gone(&self) {
        let mut seats = self.seats.subscribe();
        // An error would mean that the sender is gone, which is part of `self`.
        drop(seats.wait_for(|seats| *seats == 0).await);
    }

    /// Enters connection `id` under its client id; the one that had the name before is told to leave.
    pub(super) fn enter(&self, name: &str, id: u64, mailbox: Arc<Mailbox>) {
        let before = self.lock().insert(name.into(), Entry { id, mailbox });
        if let Some(before) = before {
            before.mailbox.kick(before.id);
        }
    }

    /// Takes connection `id` off the list, unless another one has the name by now.
    pub(super) fn leave(&self, name: &str, id: u64) {
        let mut by_name = self.lock();
        if by_name.get(name).is_some_and(|entry| entry.id == id) {
            by_name.remove(name);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Box<str>, Entry>> {
        // Each change is one call on the map: it is whole, whoever panicked.
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_connection() {
        let clients = Clients::new(1);
        let mailbox = Arc::new(Mailbox::default());
        clients.enter("pump", 1, mailbox.clone());
        clients.enter("pump", 2, mailbox.clone());
        assert_eq!(mailbox.take().kicked, [1]);
        clients.leave("pump", 1);
        clients.enter("pump", 3, mailbox.clone());
        assert_eq!(mailbox.take().kicked, [2], "the old one leaving does not take the new one's name");
        clients.leave("pump", 3);
        clients.enter("pump", 4, mailbox.clone());
        assert!(mailbox.take().kicked.is_empty());
    }

    #[test]
    fn seats_are_counted() {
        let clients = Clients::new(1);
        let first = clients.seat().unwrap();
        let second = clients.seat().unwrap();
        assert!(first.within_limit && !second.within_limit && first.id != second.id);
        drop(first);
        drop(second);
        assert!(clients.seat().unwrap().within_limit);
    }
}
