//! Which connection of which thread wants which commands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntGauge;
use telemetry::topic::Filter;
use tokio::sync::{broadcast, mpsc};

use super::errand::{Answer, Command, Errand, Reply, Wish};
use super::limits::{ARRIVALS, RECIPIENTS_PER_TOPIC, WATCHERS};
use super::mailbox::Mailbox;

/// The command subscriptions of all connections. Its lock is taken when one subscribes or leaves and when a command
/// is sent, never for a message that comes in.
#[derive(Debug)]
pub(crate) struct Switchboard {
    lines: Mutex<Lines>,
    arrivals: broadcast::Sender<Arc<str>>,
    subscriptions: IntGauge,
}

#[derive(Debug, Default)]
struct Lines {
    /// By topic: a connection once.
    recipients: HashMap<Arc<str>, Vec<Line>>,
    watchers: Vec<(Filter, Line)>,
}

/// The way to one connection.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) connection: u64,
    pub(super) mailbox: Arc<Mailbox>,
}

impl Line {
    fn send(&self, command: &Arc<Command>, wish: Wish) {
        self.mailbox.send(self.connection, Errand { command: command.clone(), wish });
    }
}

/// There are as many subscriptions of this kind as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Switchboard {
    /// No subscriptions; `subscriptions` shows how many there are.
    pub(crate) fn new(subscriptions: IntGauge) -> Self {
        Self { lines: Mutex::default(), arrivals: broadcast::Sender::new(ARRIVALS), subscriptions }
    }

    /// The topics that get a recipient from now on, each when its SUBACK was written.
    pub(crate) fn arrivals(&self) -> broadcast::Receiver<Arc<str>> {
        self.arrivals.subscribe()
    }

    /// Sends `command` to every recipient of its topic, and a copy to who watches it; their answers come out of
    /// what is returned, which ends when no recipient is left that could answer. `None`: there is no recipient, and
    /// nothing was sent.
    pub(crate) fn dispatch(&self, command: &Arc<Command>) -> Option<mpsc::Receiver<Answer>> {
        // Held until all is posted, so that two commands of a topic are in the same order everywhere.
        let lines = self.lock();
        let recipients = lines.recipients.get(&command.topic)?;
        let (reply, answers) = Reply::new(recipients.len());
        for line in recipients {
            line.send(command, Wish::Deliver(reply.clone()));
        }
        let is_recipient = |watcher: &Line| recipients.iter().any(|line| line.connection == watcher.connection);
        for (filter, line) in &lines.watchers {
            if filter.matches(&command.topic) && !is_recipient(line) {
                line.send(command, Wish::Show);
            }
        }
        Some(answers)
    }

    /// `line` takes commands of `topic`.
    pub(super) fn receive(&self, topic: &str, line: Line) -> Result<Arc<str>, Full> {
        let mut lines = self.lock();
        let topic = lines.recipients.get_key_value(topic).map_or_else(|| Arc::from(topic), |(topic, _)| topic.clone());
        let recipients = lines.recipients.entry(topic.clone()).or_default();
        if recipients.len() >= RECIPIENTS_PER_TOPIC {
            return Err(Full);
        }
        recipients.push(line);
        self.subscriptions.inc();
        Ok(topic)
    }

    /// `line` gets copies of the commands that `filter` matches.
    pub(super) fn watch(&self, filter: Filter, line: Line) -> Result<(), Full> {
        let mut lines = self.lock();
        if lines.watchers.len() >= WATCHERS {
            return Err(Full);
        }
        lines.watchers.push((filter, line));
        self.subscriptions.inc();
        Ok(())
    }

    /// Takes the subscription of `connection` to `topic` away.
    pub(super) fn stop_receiving(&self, topic: &str, connection: u64) {
        let mut lines = self.lock();
        let Some(recipients) = lines.recipients.get_mut(topic) else { return };
        if let Some(index) = recipients.iter().position(|line| line.connection == connection) {
            recipients.remove(index);
            self.subscriptions.dec();
        }
        if recipients.is_empty() {
            lines.recipients.remove(topic);
        }
    }

    /// Takes the filter of `connection` away.
    pub(super) fn stop_watching(&self, filter: &Filter, connection: u64) {
        let mut lines = self.lock();
        let mine = |(other, line): &(Filter, Line)| line.connection == connection && other == filter;
        if let Some(index) = lines.watchers.iter().position(mine) {
            lines.watchers.remove(index);
            self.subscriptions.dec();
        }
    }

    /// Tells that `topic` has a recipient more, which knows it.
    pub(super) fn announce(&self, topic: Arc<str>) {
        // An error means that nobody asked.
        self.arrivals.send(topic).unwrap_or_default();
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // A panic in between leaves at most a line that leads nowhere: a command to it is lost, and is sent again.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
