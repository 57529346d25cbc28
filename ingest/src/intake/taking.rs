//! How a message gets into the open group: as rows of its partition, or whole into the dead letters.

use std::sync::MutexGuard;

use telemetry::batch::DeadLetter;
use telemetry::{Rejection, Timestamp, partition};

use super::receiving::Receiving;
use super::{Closed, Incoming, Intake, Open, Receipt, Shared};
use crate::admission::{Admission, Admitted};
use crate::live;

/// What the span `receive` of a message lasts until, if the message is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Until its group is durable: nobody is told.
    Durable,
    /// Until whoever brought it has acknowledged it, and says so.
    Acknowledged,
}

/// A message that was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) receipt: Receipt,
    /// There if the message is traced, and its span ends with its acknowledgement.
    pub(crate) receiving: Option<Receiving>,
}

/// When a message came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// What its rows say. Long ago, if it is put back.
    pub(super) received_at: Timestamp,
    /// What is in the future is judged by.
    pub(super) now: Timestamp,
    pub(super) until: Until,
}

impl Intake {
    /// As [`Intake::accept`], by the rules `admission` if there are some, and with the span of a message that is traced.
    ///
    /// # Errors
    /// [`Closed`]: the message was not taken.
    pub(crate) fn receive(
        &self,
        admission: Option<&Admission>,
        incoming: &Incoming<'_>,
        until: Until,
    ) -> Result<Taken, Closed> {
        let now = self.shared.clock.now();
        let arrival = Arrival { received_at: now, now, until };
        self.shared.take_in(admission.unwrap_or(&self.shared.admission), incoming, arrival)
    }

    /// As [`Intake::refuse`], with the span of a message that is traced.
    ///
    /// # Errors
    /// [`Closed`]: the message was not taken.
    pub(crate) fn receive_refused(
        &self,
        incoming: &Incoming<'_>,
        rejection: &Rejection,
        until: Until,
    ) -> Result<Taken, Closed> {
        let now = self.shared.clock.now();
        self.shared.append_dead_letter(incoming, rejection, Arrival { received_at: now, now, until })
    }
}

impl Shared {
    pub(super) fn take_in(
        &self,
        admission: &Admission,
        incoming: &Incoming<'_>,
        arrival: Arrival,
    ) -> Result<Taken, Closed> {
        let Arrival { received_at, now, .. } = arrival;
        match admission.admit(incoming.topic, incoming.payload, incoming.identity, received_at, now) {
            Ok(admitted) => self.append(&admitted, incoming, arrival),
            Err(rejection) => self.append_dead_letter(incoming, &rejection, arrival),
        }
    }

    fn append(&self, admitted: &Admitted<'_>, incoming: &Incoming<'_>, arrival: Arrival) -> Result<Taken, Closed> {
        let message = admitted.message();
        let Arrival { received_at, now, until } = arrival;
        let partition = partition::of_device(&message.device_id, self.partitions);
        let live = if self.audience.is_empty() { Vec::new() } else { live::readings(message) };
        let receiving = Receiving::admitted(&self.tracing, incoming, message, received_at, now);
        let mut open = self.open()?;
        let receiving = receiving.and_then(|receiving| open.group.trace(Some(partition), receiving));
        open.group.push(message, partition, incoming.payload.len(), received_at);
        if !live.is_empty() {
            open.group.push_live(live);
        }
        let readings = u32::try_from(message.readings.len()).unwrap_or(u32::MAX);
        Ok(self.appended(open, readings, receiving, until))
    }

    fn append_dead_letter(
        &self,
        incoming: &Incoming<'_>,
        rejection: &Rejection,
        arrival: Arrival,
    ) -> Result<Taken, Closed> {
        let Incoming { topic, client_id, payload, identity, traceparent: _ } = *incoming;
        let Arrival { received_at, now, until } = arrival;
        let receiving = Receiving::refused(&self.tracing, incoming, rejection.reason, received_at, now);
        let mut open = self.open()?;
        let receiving = receiving.and_then(|receiving| open.group.trace(None, receiving));
        let (reason, detail) = (rejection.reason.as_str(), &*rejection.detail);
        open.group.push_dead_letter(&DeadLetter { received_at, reason, detail, topic, client_id, payload, identity });
        let taken = self.appended(open, 0, receiving, until);
        self.metrics.rejected.with_label_values(&[rejection.reason.as_str()]).inc();
        tracing::debug!(reason = rejection.reason.as_str(), detail = %rejection.detail, "message refused");
        Ok(taken)
    }

    fn appended(
        &self,
        mut open: MutexGuard<'_, Open>,
        readings: u32,
        mut receiving: Option<Receiving>,
        until: Until,
    ) -> Taken {
        let receipt = Receipt { group: open.group.number, readings };
        let first = open.group.tally.messages == 1;
        if until == Until::Durable {
            open.group.receiving.extend(receiving.take());
        }
        self.set_open_bytes(open.group.bytes);
        drop(open);
        if first {
            self.work.notify_one();
        }
        Taken { receipt, receiving }
    }
}
