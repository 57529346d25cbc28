//! One thread's connections: what a change elsewhere means for them, looked at once for each ring of the bell.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use ntex::io::IoRef;
use prometheus::local::LocalHistogram;

use super::clients::Clients;
use super::connection::Connection;
use super::mailbox::{Mailbox, Post};
use super::server::Settings;
use super::switchboard::Switchboard;
use crate::intake::Intake;
use crate::live::LiveReading;

/// What all threads of the endpoint share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) intake: Intake,
    pub(super) settings: Settings,
    pub(super) clients: Clients,
    pub(super) switchboard: Arc<Switchboard>,
}

/// The connections of this thread.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) mailbox: Arc<Mailbox>,
    /// Those in their handshake.
    greeting: RefCell<HashMap<u64, IoRef>>,
    connections: RefCell<HashMap<u64, Rc<Connection>>>,
    /// Those that wait for a group.
    waiting: RefCell<Vec<Rc<Connection>>>,
    /// Those that are not read until the open group has room.
    paused: RefCell<Vec<Rc<Connection>>>,
    watching: RefCell<Vec<Rc<Connection>>>,
    /// Times of acknowledgements, handed on a group at a time.
    pub(super) waited: LocalHistogram,
}

impl Worker {
    /// A worker of the calling thread, with a task that answers its bell.
    pub(super) fn start(shared: Arc<Shared>) -> Rc<Self> {
        let mailbox = Arc::new(Mailbox::default());
        shared.intake.add_bell(mailbox.bell.clone());
        let waited = shared.intake.metrics().acknowledge_seconds.local();
        let worker = Rc::new(Self {
            shared,
            mailbox,
            greeting: RefCell::default(),
            connections: RefCell::default(),
            waiting: RefCell::default(),
            paused: RefCell::default(),
            watching: RefCell::default(),
            waited,
        });
        let answering = worker.clone();
        ntex::rt::spawn(poll_fn(move |context| {
            answering.mailbox.bell.register(context.waker());
            answering.look();
            Poll::<()>::Pending
        }));
        worker
    }

    /// Connection `id` begins its handshake.
    pub(super) fn greet(&self, id: u64, io: IoRef) {
        if self.shared.intake.is_closed() {
            io.terminate();
        } else {
            self.greeting.borrow_mut().insert(id, io);
        }
    }

    /// Connection `id` ended its handshake.
    pub(super) fn greeted(&self, id: u64) {
        self.greeting.borrow_mut().remove(&id);
    }

    pub(super) fn enter(&self, connection: Rc<Connection>) {
        self.connections.borrow_mut().insert(connection.id, connection);
    }

    pub(super) fn leave(&self, connection: &Connection) {
        let is_it = |other: &Rc<Connection>| other.id == connection.id;
        self.connections.borrow_mut().remove(&connection.id);
        self.waiting.borrow_mut().retain(|other| !is_it(other));
        self.paused.borrow_mut().retain(|other| !is_it(other));
        self.stop_watching(connection);
    }

    /// Calls back when a group becomes durable.
    pub(super) fn wait_for_group(&self, connection: Rc<Connection>) {
        self.waiting.borrow_mut().push(connection);
    }

    /// Calls back when the open group has room.
    pub(super) fn wait_for_room(&self, connection: Rc<Connection>) {
        self.paused.borrow_mut().push(connection);
    }

    pub(super) fn watch(&self, connection: Rc<Connection>) {
        self.shared.intake.audience().join();
        self.shared.intake.metrics().live_subscribers.inc();
        self.watching.borrow_mut().push(connection);
    }

    pub(super) fn stop_watching(&self, connection: &Connection) {
        let mut watching = self.watching.borrow_mut();
        if let Some(index) = watching.iter().position(|other| other.id == connection.id) {
            watching.swap_remove(index);
            self.shared.intake.audience().leave();
            self.shared.intake.metrics().live_subscribers.dec();
        }
    }

    fn look(&self) {
        // Acknowledgements first: senders wait for them.
        self.acknowledge();
        self.open_mail();
        self.resume();
        self.show();
        if self.shared.intake.is_closed() {
            // Who is still in its handshake is owed nothing.
            self.greeting.borrow().values().for_each(IoRef::terminate);
            self.connections.borrow().values().for_each(|connection| connection.wake());
        }
    }

    fn open_mail(&self) {
        let Post { kicked, errands } = self.mailbox.take();
        let connections = self.connections.borrow();
        kicked.iter().filter_map(|id| connections.get(id)).for_each(|connection| connection.take_over());
        for (id, errand) in errands {
            // Who is gone by now loses it.
            if let Some(connection) = connections.get(&id) {
                connection.run(errand);
            }
        }
    }

    fn acknowledge(&self) {
        let durable = self.shared.intake.last_durable();
        let (mut messages, mut readings) = (0, 0);
        self.waiting.borrow_mut().retain(|connection| {
            let sent = connection.acknowledge(durable);
            messages += sent.messages;
            readings += sent.readings;
            connection.waits_for_group()
        });
        let metrics = self.shared.intake.metrics();
        metrics.acknowledged_messages.inc_by(messages);
        metrics.acknowledged_readings.inc_by(readings);
        self.waited.flush();
    }

    fn resume(&self) {
        if self.shared.intake.has_room() {
            self.paused.borrow_mut().drain(..).for_each(|connection| connection.room_again());
        }
    }

    fn show(&self) {
        let groups = self.mailbox.bell.take_live();
        let watching = self.watching.borrow();
        let mut dropped = 0;
        for readings in groups {
            for connection in watching.iter() {
                dropped += show_all(connection, &readings);
            }
        }
        self.shared.intake.metrics().live_dropped.inc_by(dropped);
    }
}

fn show_all(connection: &Connection, readings: &[LiveReading]) -> u64 {
    let dropped = readings.iter().filter(|reading| !connection.show(reading)).count();
    u64::try_from(dropped).unwrap_or(0)
}
