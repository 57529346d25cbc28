//! What the broker sends on a connection, and what is done with it.

use bytes::{Buf, BytesMut};
use telemetry::{Reason, Rejection};

use super::connection::{Asked, Connection, Skip};
use super::debts::Debt;
use super::drops;
use super::frame::{self, Frame, PUBLISH};
use super::packets::{self, Answer};
use super::problem::Problem;
use crate::intake::{Closed, Incoming, Receiving, Taken, Until};
use crate::mqtt::Version;
use crate::mqtt::publish::{self, Delivery, Malformed, Publish};

/// The bit of a PUBLISH's first byte that says it was sent before.
const DUP: u8 = 0b1000;

/// Messages taken in one go.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    forgotten: u64,
    owed: u64,
    redelivered: u64,
    refused: u64,
}

impl Connection<'_> {
    /// Takes the packets that were read, as far as there is room for messages.
    pub(super) fn take(&mut self) -> Result<(), Problem> {
        self.received = self.shared.clock.monotonic();
        let mut incoming = std::mem::take(&mut self.wire.incoming);
        let mut tally = Tally::default();
        let taken = self.take_from(&mut incoming, &mut tally);
        self.wire.incoming = incoming;
        let metrics = &self.shared.metrics;
        if tally.forgotten > 0 {
            metrics.messages.with_label_values(&["0"]).inc_by(tally.forgotten);
        }
        if tally.owed > 0 {
            metrics.messages.with_label_values(&["1"]).inc_by(tally.owed);
        }
        metrics.redelivered.inc_by(tally.redelivered);
        metrics.refused.inc_by(tally.refused);
        taken
    }

    fn take_from(&mut self, incoming: &mut BytesMut, tally: &mut Tally) -> Result<(), Problem> {
        let most = packets::most_bytes(&self.shared.config);
        while self.skipped(incoming) && !self.closed && self.may_read() {
            let Some(frame) = frame::next(incoming, most)? else { break };
            if frame.kind() == PUBLISH {
                self.publish(&frame, tally)?;
                if self.closed {
                    // Not taken, and so not to be acknowledged.
                    break;
                }
            } else {
                self.answer(packets::answer(self.shared.config.protocol, frame.bytes)?)?;
            }
            let shown = frame.bytes.len();
            incoming.advance(shown);
        }
        Ok(())
    }

    /// Passes over the rest of a message over the limit; says whether all of it has come.
    fn skipped(&mut self, incoming: &mut BytesMut) -> bool {
        let Some(skip) = &mut self.skip else { return true };
        let here = skip.left.min(incoming.len());
        incoming.advance(here);
        skip.left -= here;
        if skip.left > 0 {
            return false;
        }
        if let Some(Skip { debt: Some(debt), receiving, .. }) = self.skip.take() {
            self.debts.push(debt, receiving);
        }
        true
    }

    fn publish(&mut self, frame: &Frame<'_>, tally: &mut Tally) -> Result<(), Problem> {
        let version = match self.shared.config.protocol {
            super::Protocol::V4 => Version::V3,
            super::Protocol::V5 => Version::V5,
        };
        let publish = publish::parse(version, frame.first, frame.body, self.shared.intake.is_traced())
            .map_err(|Malformed| Problem::protocol("a malformed PUBLISH"))?;
        let id = match publish.delivery {
            Delivery::Forget => None,
            Delivery::AtLeastOnce(id) => Some(id),
            Delivery::ExactlyOnce(_) => {
                return Err(Problem::protocol("a message of QoS 2 for a subscription of QoS 1"));
            }
        };
        if publish.topic.is_empty() || publish.alias.is_some() {
            return Err(Problem::protocol("a topic alias, though we allow none"));
        }
        if publish.topic == drops::TOPIC && self.shared.config.watch_drops {
            self.told_of_drops(publish.payload);
            self.owe(frame, id.map(|id| Debt { group: 0, readings: 0, received: self.received, id }), None);
            return Ok(());
        }
        let Ok(Taken { receipt, receiving }) = self.receive(frame, &publish) else {
            self.closed = true;
            return Ok(());
        };
        match id {
            Some(_) => tally.owed += 1,
            None => tally.forgotten += 1,
        }
        tally.redelivered += u64::from(frame.first & DUP != 0);
        tally.refused += u64::from(receipt.is_refused());
        let (group, readings, received) = (receipt.group, receipt.readings, self.received);
        self.owe(frame, id.map(|id| Debt { group, readings, received, id }), receiving);
        Ok(())
    }

    fn receive(&mut self, frame: &Frame<'_>, publish: &Publish<'_>) -> Result<Taken, Closed> {
        let shared = self.shared;
        let Publish { topic, payload, identity, traceparent, .. } = *publish;
        let incoming = Incoming { topic, payload, identity, client_id: &shared.config.client_id, traceparent };
        let until = if publish.delivery == Delivery::Forget { Until::Durable } else { Until::Acknowledged };
        let most = shared.config.payload_bytes;
        if frame.missing() > 0 {
            shared.metrics.oversized.inc();
            let bytes = payload.len() + frame.missing();
            tracing::warn!(bytes, "message over the size limit, only its beginning goes to the dead letters");
            let kept = payload.get(..most).unwrap_or(payload);
            let detail =
                format!("payload has {bytes} bytes, at most {most} allowed; these are the first {}", kept.len());
            let incoming = Incoming { payload: kept, ..incoming };
            return shared.intake.receive_refused(&incoming, &Rejection::new(Reason::TooLarge, detail), until);
        }
        if payload.len() > most {
            let detail = format!("payload has {} bytes, at most {most} allowed", payload.len());
            return shared.intake.receive_refused(&incoming, &Rejection::new(Reason::TooLarge, detail), until);
        }
        if let Some(admission) = shared.routes.admission(topic) {
            return shared.intake.receive(Some(admission), &incoming, until);
        }
        shared.metrics.unmatched.inc();
        if !std::mem::replace(&mut self.told_unmatched, true) {
            tracing::warn!(
                client_id = %shared.config.client_id,
                "the session at the broker has filters that are not configured any more; what they bring goes to the \
                 dead letters"
            );
        }
        let detail = "topic matches none of the bridge's filters: the session at the broker has older ones";
        shared.intake.receive_refused(&incoming, &Rejection::new(Reason::Unsupported, detail), until)
    }

    /// Owes for a message, if it is to be acknowledged, when all of it has come.
    fn owe(&mut self, frame: &Frame<'_>, debt: Option<Debt>, receiving: Option<Receiving>) {
        if frame.missing() > 0 {
            self.skip = Some(Skip { left: frame.missing(), debt, receiving });
        } else if let Some(debt) = debt {
            self.debts.push(debt, receiving);
        }
    }

    fn told_of_drops(&mut self, payload: &[u8]) {
        let Some((count, more)) = self.drops.told(payload) else { return };
        self.shared.metrics.broker_dropped.set(count);
        if more > 0 {
            tracing::warn!(
                dropped = more,
                since_its_start = count,
                "the broker dropped messages that it had acknowledged, raise its queues (see deploy/mosquitto.conf)"
            );
        }
    }

    fn answer(&mut self, answer: Answer) -> Result<(), Problem> {
        match answer {
            Answer::Pong => self.watchdog.pong(),
            Answer::Granted(id, codes) => self.granted(id, &codes)?,
            Answer::Dismissed(why) => return Err(Problem::Dismissed(why)),
            other => return Err(Problem::protocol(format!("{other:?} out of turn"))),
        }
        Ok(())
    }

    fn granted(&mut self, id: u16, codes: &[Result<u8, String>]) -> Result<(), Problem> {
        let Some(index) = self.asked.iter().position(|(asked, _)| *asked == id) else {
            return Err(Problem::protocol(format!("SUBACK {id}, which nobody asked for")));
        };
        match self.asked.swap_remove(index).1 {
            Asked::Messages(filters) => check_grants(filters, codes)?,
            Asked::Drops => {
                if let Some(Err(why)) = codes.first() {
                    tracing::warn!(%why, "the broker does not tell what it drops");
                }
            }
        }
        let waits = self.asked.iter().any(|(_, asked)| matches!(asked, Asked::Messages(_)));
        if !waits && !self.presence.is_connected() {
            self.presence.connected(self.shared.clock.monotonic());
        }
        Ok(())
    }
}

fn check_grants(filters: Vec<String>, codes: &[Result<u8, String>]) -> Result<(), Problem> {
    if filters.len() != codes.len() {
        return Err(Problem::protocol(format!("SUBACK for {} filters instead of {}", codes.len(), filters.len())));
    }
    for (filter, code) in filters.into_iter().zip(codes) {
        match code {
            Ok(1) => {}
            Ok(qos) => return Err(Problem::NotGranted { filter, why: format!("granted QoS {qos} instead of 1") }),
            Err(why) => return Err(Problem::NotGranted { filter, why: why.clone() }),
        }
    }
    Ok(())
}
