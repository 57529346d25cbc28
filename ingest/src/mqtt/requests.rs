//! What a client asks for on its connection, and what is done about it.

use std::rc::Rc;

use ntex_mqtt::v5::codec::DisconnectReasonCode as Code;

use super::connection::{Connection, Ending};
use super::frame::Frame;
use super::handshake::TOPIC_ALIASES;
use super::owed::Owed;
use super::packet::{self, Ack, Granted, Request};
use super::publish::{self, Delivery, Malformed, Publish};
use crate::intake::{Incoming, Taken, Until};

impl Connection {
    /// Does what `frame` asks for.
    pub(super) fn handle(self: &Rc<Self>, frame: &Frame) -> Result<(), Ending> {
        const PUBLISH: u8 = 3;
        if frame.kind() == PUBLISH {
            let traced = self.worker.shared.intake.is_traced();
            let publish = publish::parse(self.version, frame.first, frame.body(), traced)
                .map_err(|Malformed| Ending::Closed(Code::MalformedPacket))?;
            if publish.identified {
                return Err(Ending::Closed(Code::MalformedPacket));
            }
            return self.receive(&publish);
        }
        match packet::request(self.version, frame).ok_or(Ending::Closed(Code::MalformedPacket))? {
            Request::Release(id) => {
                let found = self.unreleased.borrow_mut().remove(&id);
                self.write(|buffer| packet::put_pubcomp(buffer, self.version, id, found))
            }
            Request::Subscribe { identifier: true, .. } => {
                Err(Ending::Closed(Code::SubscriptionIdentifiersNotSupported))
            }
            Request::Subscribe { filters, .. } if filters.is_empty() => Err(Ending::Closed(Code::ProtocolError)),
            Request::Unsubscribe { filters, .. } if filters.is_empty() => Err(Ending::Closed(Code::ProtocolError)),
            Request::Subscribe { id, filters, .. } => {
                let mut arrived = Vec::new();
                let granted: Vec<Granted> =
                    filters.iter().map(|(filter, qos)| self.subscribe(filter, *qos, &mut arrived)).collect();
                self.write(|buffer| packet::put_suback(buffer, self.version, id, &granted))?;
                arrived.into_iter().for_each(|topic| self.worker.shared.switchboard.announce(topic));
                Ok(())
            }
            Request::Unsubscribe { id, filters } => {
                let found: Vec<bool> = filters.iter().map(|filter| self.unsubscribe(filter)).collect();
                self.write(|buffer| packet::put_unsuback(buffer, self.version, id, &found))
            }
            Request::Acknowledge { id, reason } => {
                self.acknowledged(id, reason);
                Ok(())
            }
            Request::Ping => self.write(packet::put_pong),
            Request::Disconnect { with_will } => Err(Ending::Goodbye { with_will }),
            Request::Unexpected => Err(Ending::Closed(Code::ProtocolError)),
        }
    }

    fn receive(self: &Rc<Self>, publish: &Publish<'_>) -> Result<(), Ending> {
        if publish.payload.len() > self.worker.shared.settings.payload_bytes {
            return Err(self.too_large(publish.payload.len()));
        }
        if let Some(alias) = publish.alias {
            return self.receive_aliased(publish, alias);
        }
        self.receive_on(publish.topic, publish)
    }

    fn receive_aliased(self: &Rc<Self>, publish: &Publish<'_>, alias: u16) -> Result<(), Ending> {
        if alias > TOPIC_ALIASES {
            return Err(Ending::Closed(Code::TopicAliasInvalid));
        }
        if publish.topic.is_empty() {
            let aliases = self.aliases.borrow();
            let topic = aliases.get(&alias).ok_or(Ending::Closed(Code::TopicAliasInvalid))?;
            return self.receive_on(topic, publish);
        }
        self.aliases.borrow_mut().insert(alias, publish.topic.into());
        self.receive_on(publish.topic, publish)
    }

    fn receive_on(self: &Rc<Self>, topic: &str, publish: &Publish<'_>) -> Result<(), Ending> {
        if !is_topic_name(topic) {
            return Err(Ending::Closed(Code::TopicNameInvalid));
        }
        if let Delivery::ExactlyOnce(id) = publish.delivery
            && !self.unreleased.borrow_mut().insert(id)
        {
            // Sent again without a release in between: it was taken, and only its answer is owed once more.
            let group = self.debts.borrow().newest_group();
            self.owe(Owed { group, readings: 0, received: self.received_at(), bytes: 0, id, ack: Ack::Pubrec }, None);
            return Ok(());
        }
        let Publish { payload, identity, traceparent, .. } = *publish;
        let incoming = Incoming { topic, payload, identity, client_id: &self.name, traceparent };
        let until = if publish.delivery == Delivery::Forget { Until::Durable } else { Until::Acknowledged };
        // Closed: not taken, so nothing is owed; the next step sees it.
        let Ok(taken) = self.worker.shared.intake.receive(None, &incoming, until) else { return Ok(()) };
        let Taken { receipt, receiving } = taken;
        let (id, ack) = match publish.delivery {
            Delivery::Forget => return Ok(()),
            Delivery::AtLeastOnce(id) => (id, Ack::Puback),
            Delivery::ExactlyOnce(id) => (id, Ack::Pubrec),
        };
        let bytes = u32::try_from(publish.payload.len()).unwrap_or(u32::MAX);
        let received = self.received_at();
        self.owe(Owed { group: receipt.group, readings: receipt.readings, received, bytes, id, ack }, receiving);
        Ok(())
    }
}

/// Whether messages can be published to `topic`: not empty, without wildcards.
pub(super) fn is_topic_name(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#', '\0'])
}
