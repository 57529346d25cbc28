//! A decoded payload: one message of one device, with its readings.

use std::borrow::Cow;

use crate::clock::Timestamp;

/// One message as a device sent it. It borrows from the payload and the topic where it can.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    /// Who measured.
    pub device_id: Cow<'a, str>,
    /// Where, if the topic or the payload says so.
    pub site: Option<Cow<'a, str>>,
    /// What makes the message unique, if the device gives it. Without it a resend cannot be told from a
    /// new message, and the device gets at-least-once.
    pub identity: Option<Identity>,
    /// At least one reading, in the order of the payload.
    pub readings: Vec<Reading<'a>>,
    /// Fields of the payload that have a meaning elsewhere but none here, such as SenML's `ut`.
    /// Counted, so that nothing is dropped unseen.
    pub ignored_fields: u32,
}

/// Restart counter and message number of a device: the identity of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Grows with each restart of the device.
    pub boot: i64,
    /// Number of the message since that restart.
    pub seq: i64,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading<'a> {
    /// What was measured, e.g. `temperature`.
    pub metric: Cow<'a, str>,
    /// When, by the device's clock.
    pub time: Timestamp,
    /// The measured value.
    pub value: Value<'a>,
    /// SenML unit, e.g. `Cel`.
    pub unit: Option<Cow<'a, str>>,
}

/// The kinds of value of SenML that Weir keeps.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A finite number.
    Number(f64),
    /// A boolean.
    Bool(bool),
    /// A text.
    Text(Cow<'a, str>),
}
