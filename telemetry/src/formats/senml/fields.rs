//! The fields of a SenML record.

use std::borrow::Cow;

use crate::formats::refusal;
use crate::formats::scalar::Number;
use crate::message::Value;
use crate::rejection::Rejection;

/// The fields whose value is looked at, and `ut`, which is not but must not occur twice either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Name,
    Unit,
    Time,
    Value,
    BoolValue,
    TextValue,
    UpdateTime,
    BaseName,
    BaseTime,
    BaseUnit,
    BaseValue,
    BaseVersion,
}

impl Field {
    /// The field of `key`; none if the key is unknown and may be ignored.
    pub(super) fn of(key: &str) -> Result<Option<Self>, Rejection> {
        Ok(Some(match key.as_bytes() {
            b"n" => Self::Name,
            b"u" => Self::Unit,
            b"t" => Self::Time,
            b"v" => Self::Value,
            b"vb" => Self::BoolValue,
            b"vs" => Self::TextValue,
            b"ut" => Self::UpdateTime,
            b"bn" => Self::BaseName,
            b"bt" => Self::BaseTime,
            b"bu" => Self::BaseUnit,
            b"bv" => Self::BaseValue,
            b"bver" => Self::BaseVersion,
            b"vd" => return Err(refusal::unsupported(key, "data values cannot be stored")),
            b"s" | b"bs" => return Err(refusal::unsupported(key, "sums cannot be stored")),
            [.., b'_'] => return Err(refusal::unsupported(key, "it is unknown and must be understood")),
            _ => return Ok(None),
        }))
    }

    /// The key of the field.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Name => "n",
            Self::Unit => "u",
            Self::Time => "t",
            Self::Value => "v",
            Self::BoolValue => "vb",
            Self::TextValue => "vs",
            Self::UpdateTime => "ut",
            Self::BaseName => "bn",
            Self::BaseTime => "bt",
            Self::BaseUnit => "bu",
            Self::BaseValue => "bv",
            Self::BaseVersion => "bver",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The fields of a record that hold for it alone.
#[derive(Default)]
pub(super) struct Record<'a> {
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) unit: Option<Cow<'a, str>>,
    /// `t`, in microseconds.
    pub(super) micros: Option<i64>,
    /// `v`.
    pub(super) number: Option<Number>,
    /// `vb` or `vs`.
    pub(super) other: Option<Value<'a>>,
    seen: u16,
}

impl Record<'_> {
    /// Notes that `field` occurs, and refuses its second occurrence.
    pub(super) fn note(&mut self, field: Field) -> Result<(), Rejection> {
        if self.seen & field.bit() != 0 {
            return Err(refusal::repeated(field.name()));
        }
        self.seen |= field.bit();
        Ok(())
    }

    /// Whether it has base fields only.
    pub(super) const fn is_header(&self) -> bool {
        const REGULAR: u16 = Field::Name.bit()
            | Field::Unit.bit()
            | Field::Time.bit()
            | Field::Value.bit()
            | Field::BoolValue.bit()
            | Field::TextValue.bit()
            | Field::UpdateTime.bit();
        self.seen & REGULAR == 0
    }

    /// Whether it has more than one of `v`, `vb`, `vs`.
    pub(super) const fn has_two_values(&self) -> bool {
        const VALUES: u16 = Field::Value.bit() | Field::BoolValue.bit() | Field::TextValue.bit();
        (self.seen & VALUES).count_ones() > 1
    }
}
