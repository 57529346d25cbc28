//! Why a payload is refused. A refused payload goes, whole, to the dead-letter stream.

use std::fmt;

/// The kind of refusal: a metric label and a column of the dead letters, so the set is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The payload is not of any format accepted here.
    Undecodable,
    /// A field has a type or content that its format does not allow.
    InvalidField,
    /// A required field is in neither topic nor payload.
    MissingField,
    /// A number that is not finite.
    NonFinite,
    /// A time further ahead of our clock than configured.
    FutureTime,
    /// A time before 1970.
    PastTime,
    /// A name, unit or text longer than its limit.
    TooLong,
    /// More readings than one message may hold.
    TooManyReadings,
    /// A payload larger than the limit.
    TooLarge,
    /// A field Weir does not keep and the format says must be understood, or data it cannot store.
    Unsupported,
}

impl Reason {
    /// Every reason, for metrics that start at zero.
    pub const ALL: [Self; 10] = [
        Self::Undecodable,
        Self::InvalidField,
        Self::MissingField,
        Self::NonFinite,
        Self::FutureTime,
        Self::PastTime,
        Self::TooLong,
        Self::TooManyReadings,
        Self::TooLarge,
        Self::Unsupported,
    ];

    /// The name in metrics and dead letters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::InvalidField => "invalid_field",
            Self::MissingField => "missing_field",
            Self::NonFinite => "non_finite",
            Self::FutureTime => "future_time",
            Self::PastTime => "past_time",
            Self::TooLong => "too_long",
            Self::TooManyReadings => "too_many_readings",
            Self::TooLarge => "too_large",
            Self::Unsupported => "unsupported",
        }
    }
}

/// A refusal: its kind, and a sentence that names the field, the value and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The kind of refusal.
    pub reason: Reason,
    /// What exactly, for a person.
    pub detail: String,
}

impl Rejection {
    /// A refusal of kind `reason`, explained by `detail`.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.detail)
    }
}

impl std::error::Error for Rejection {}
