//! One connection: the loop that reads its messages and pays what it owes for them.
//!
//! A message goes into the open group in the same call that takes it off the read buffer, so messages cannot change
//! places. When a group is durable, everything owed up to it is written at once. What is owed, and what was read and
//! not taken, ends with the connection.

use std::time::Duration;

use prometheus::local::LocalHistogram;
use streams::faults::{Point, Tooth, point, tooth};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::Order;
use super::debts::{Debt, Debts};
use super::drops::{self, Drops};
use super::limits::{FILTERS_PER_SUBSCRIBE, OUTGOING_BYTES};
use super::packets::{self, Accepted};
use super::presence::Presence;
use super::problem::Problem;
use super::session::Shared;
use super::watchdog::{Seen, Watchdog};
use super::wire::{Moved, Wire};
use crate::intake::Receiving;

/// A connection that the broker took.
pub(super) struct Connection<'a> {
    pub(super) shared: &'a Shared,
    pub(super) wire: Wire,
    pub(super) debts: Debts,
    pub(super) watchdog: Watchdog,
    /// SUBSCRIBEs without an answer, by packet id.
    pub(super) asked: Vec<(u16, Asked)>,
    pub(super) presence: &'a mut Presence,
    pub(super) drops: &'a mut Drops,
    /// The rest of a message over the limit.
    pub(super) skip: Option<Skip>,
    /// The intake takes nothing more.
    pub(super) closed: bool,
    /// A message that matched no filter was told of.
    pub(super) told_unmatched: bool,
    /// When the packets at hand were read, by the monotonic clock.
    pub(super) received: Duration,
    /// Times of acknowledgements, handed on whenever some were written.
    waited: LocalHistogram,
    /// What the gauges show of the debts.
    shown: i64,
}

/// What a SUBSCRIBE asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Filters that the bridge is for.
    Messages(Vec<String>),
    /// What the broker dropped, if it tells.
    Drops,
}

/// The rest of a message over the limit, which is passed over.
#[derive(Debug)]
pub(super) struct Skip {
    /// Bytes to come.
    pub(super) left: usize,
    /// Owed when all of it has come.
    pub(super) debt: Option<Debt>,
    /// The span of the message, if it is traced.
    pub(super) receiving: Option<Receiving>,
}

impl<'a> Connection<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        wire: Wire,
        accepted: Accepted,
        presence: &'a mut Presence,
        drops: &'a mut Drops,
    ) -> Result<Self, Problem> {
        let config = &shared.config;
        let keep_alive = accepted.keep_alive.map_or(config.keep_alive, |wanted| {
            std::time::Duration::from_secs(u64::from(wanted.max(1))).min(config.keep_alive)
        });
        if let Some(kept) = accepted.session_expiry.filter(|kept| u64::from(*kept) < config.session_expiry.as_secs()) {
            tracing::warn!(
                seconds = kept,
                "the broker keeps the session of the bridge for a shorter time than asked for"
            );
        }
        tracing::debug!(session_present = accepted.session_present, "the broker took the connection");
        let watchdog = Watchdog::new(shared.clock.monotonic(), config.patience, keep_alive);
        let mut connection = Self {
            shared,
            wire,
            debts: Debts::new(),
            watchdog,
            asked: Vec::new(),
            presence,
            drops,
            skip: None,
            closed: false,
            told_unmatched: false,
            received: Duration::ZERO,
            waited: shared.intake.metrics().acknowledge_seconds.local(),
            shown: 0,
        };
        connection.subscribe()?;
        Ok(connection)
    }

    /// Subscribes to everything, also in a session that was there: the broker may have saved it before the
    /// subscription, and the filters may be others than those of last time.
    fn subscribe(&mut self) -> Result<(), Problem> {
        let config = &self.shared.config;
        let paths: Vec<String> = config.subscriptions.iter().map(super::Subscription::path).collect();
        let mut id = 0;
        for paths in paths.chunks(FILTERS_PER_SUBSCRIBE) {
            id += 1;
            let filters = paths.iter().map(String::as_str);
            packets::subscribe(config.protocol, id, filters, true, &mut self.wire.outgoing)?;
            self.asked.push((id, Asked::Messages(paths.to_vec())));
        }
        if config.watch_drops {
            id += 1;
            packets::subscribe(config.protocol, id, [drops::TOPIC].into_iter(), false, &mut self.wire.outgoing)?;
            self.asked.push((id, Asked::Drops));
        }
        Ok(())
    }

    /// Serves until the connection ends; `Ok` if it was told to stop, and everything read is acknowledged.
    pub(super) async fn serve(mut self, orders: &mut watch::Receiver<Order>) -> Result<(), Problem> {
        let intake = &self.shared.intake;
        let mut durable = intake.durable_changes();
        let mut ticks = tokio::time::interval(self.watchdog.period());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let order = *orders.borrow_and_update();
            self.pay();
            if order == Order::Run {
                self.take()?;
            }
            self.show();
            if (order == Order::Stop || self.closed) && self.debts.is_empty() {
                return self.say_goodbye().await;
            }
            let wanted = order == Order::Run && !self.closed;
            let reading = wanted && self.may_read();
            tokio::select! {
                biased;
                // An error: the handle is gone, and nobody waits for what is owed.
                ordered = orders.changed() => if ordered.is_err() { return Ok(()) },
                _ = ticks.tick() => self.tick(reading)?,
                // An error would mean that the intake is gone, which we hold.
                _ = durable.changed(), if !self.debts.is_empty() => {}
                room = intake.room(), if wanted && !intake.has_room() => self.closed |= room.is_err(),
                moved = self.wire.exchange(reading) => {
                    let Moved { read, written } = moved?;
                    self.watchdog.moved(read, written);
                }
            }
        }
    }

    /// Whether another message may be taken.
    pub(super) fn may_read(&self) -> bool {
        self.debts.len() < usize::from(self.shared.config.in_flight)
            && self.wire.outgoing.len() < OUTGOING_BYTES
            && self.shared.intake.has_room()
    }

    /// Writes every acknowledgement that is due, in one piece.
    fn pay(&mut self) {
        let durable = self.shared.intake.last_durable() + u64::from(tooth(Tooth::StaleAck));
        if !self.debts.is_due(durable) {
            return;
        }
        point(Point::AckWrite);
        let now = self.shared.clock.monotonic();
        let paid = self.debts.pay(durable, &mut self.wire.outgoing, now, &self.waited);
        point(Point::AckWritten);
        self.shared.intake.acknowledged(self.debts.take_received(durable));
        self.waited.flush();
        self.shared.metrics.acknowledged.inc_by(paid.messages);
        let door = self.shared.intake.metrics();
        door.acknowledged_messages.inc_by(paid.messages);
        door.acknowledged_readings.inc_by(paid.readings);
    }

    fn tick(&mut self, reading: bool) -> Result<(), Problem> {
        let intake = &self.shared.intake;
        if intake.failed().borrow().is_some() {
            return Err(Problem::IntakeClosed);
        }
        self.closed |= intake.is_closed();
        let now = self.shared.clock.monotonic();
        self.presence.show(now);
        let unwritten = !self.wire.outgoing.is_empty();
        let seen = Seen { reading, unwritten, ungranted: !self.asked.is_empty() };
        if self.watchdog.tick(now, seen)? {
            packets::ping(&mut self.wire.outgoing);
        }
        Ok(())
    }

    fn show(&mut self) {
        let owed = i64::try_from(self.debts.len()).unwrap_or(i64::MAX);
        if owed != self.shown {
            self.shared.metrics.in_flight.set(owed);
            self.shared.intake.metrics().unacknowledged_messages.add(owed - self.shown);
            self.shown = owed;
        }
    }

    /// Everything read is acknowledged: leaves, and leaves the session to the broker.
    async fn say_goodbye(mut self) -> Result<(), Problem> {
        packets::disconnect(&mut self.wire.outgoing);
        self.wire.close().await;
        if self.closed { Err(Problem::IntakeClosed) } else { Ok(()) }
    }
}

impl Drop for Connection<'_> {
    /// Nothing of what is owed can be paid any more.
    fn drop(&mut self) {
        let mut messages = self.debts.take_received(u64::MAX);
        messages.extend(self.skip.take().and_then(|skip| skip.receiving));
        self.shared.intake.forgiven(messages);
        self.shared.metrics.in_flight.set(0);
        self.shared.intake.metrics().unacknowledged_messages.sub(self.shown);
    }
}
