//! One value of a JSON field, before it is known what the field wants.
//!
//! Fields are read as a [`Scalar`] first and then asked for the type they need, so that a refusal can name
//! what was found. Nothing is allocated unless a text has escapes.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::refusal;
use crate::limits;
use crate::rejection::Rejection;

/// A JSON value; arrays and objects only by their kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Number(Number),
    Bool(bool),
    Text(Cow<'a, str>),
    Null,
    Array,
    Object,
}

/// A JSON number as the text wrote it: integers keep all their bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

impl<'a> Scalar<'a> {
    /// The number of `field`.
    pub(super) fn number(self, field: &str) -> Result<Number, Rejection> {
        match self {
            Self::Number(number) => Ok(number),
            other => Err(refusal::invalid(field, &other, "a number")),
        }
    }

    /// The truth value of `field`.
    pub(super) fn boolean(self, field: &str) -> Result<bool, Rejection> {
        match self {
            Self::Bool(truth) => Ok(truth),
            other => Err(refusal::invalid(field, &other, "true or false")),
        }
    }

    /// The text of `field`, of any length.
    pub(super) fn text(self, field: &str) -> Result<Cow<'a, str>, Rejection> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(refusal::invalid(field, &other, "a text")),
        }
    }

    /// The text of `field`, as a value: it is bounded.
    pub(super) fn text_value(self, field: &str) -> Result<Cow<'a, str>, Rejection> {
        let text = self.text(field)?;
        if text.len() > limits::TEXT_VALUE_BYTES {
            return Err(refusal::too_long(field, &text, limits::TEXT_VALUE_BYTES));
        }
        Ok(text)
    }
}

impl Number {
    /// The nearest double. Finite: JSON has no other numbers, and one too large does not parse.
    #[expect(clippy::cast_precision_loss, reason = "integers past 2^53 become the nearest double, as documented")]
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(number) => number as f64,
            Self::Signed(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    /// The integer it stands for exactly, if it does: `3` and `3.0`, not `3.5`, not `1e300`.
    pub(super) fn as_integer(self) -> Option<i64> {
        match self {
            Self::Unsigned(number) => i64::try_from(number).ok(),
            Self::Signed(number) => Some(number),
            Self::Float(number) => integer_of(number),
        }
    }

    /// These seconds in microseconds, rounded to the nearest, unless they overflow.
    pub(super) fn as_micros(self) -> Option<i64> {
        match self {
            Self::Unsigned(seconds) => i64::try_from(seconds).ok()?.checked_mul(1_000_000),
            Self::Signed(seconds) => seconds.checked_mul(1_000_000),
            Self::Float(seconds) => micros_of(seconds),
        }
    }
}

/// 2^53: every integer below is a double, and no other integer is written as that double.
const EXACT: f64 = 9_007_199_254_740_992.0;

#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and below 2^53")]
fn integer_of(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64)
}

/// Whole seconds and their fraction are converted apart: in one product, its rounding adds to that of the
/// double, and times after the year 2106 come out a microsecond off.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "checked to be below 2^53")]
fn micros_of(seconds: f64) -> Option<i64> {
    if seconds.abs() > EXACT {
        return None;
    }
    let whole = seconds as i64;
    let fraction = ((seconds - whole as f64) * 1e6).round() as i64;
    whole.checked_mul(1_000_000)?.checked_add(fraction)
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(Number::Float(number)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(Number::Unsigned(number)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(Number::Signed(number)))
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(truth))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.into())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }

    // The rest of an array or object is read past, without recursion, so that the refusal can name its kind.
    fn visit_seq<A: SeqAccess<'de>>(self, mut rest: A) -> Result<Self::Value, A::Error> {
        while rest.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut rest: A) -> Result<Self::Value, A::Error> {
        while rest.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Object)
    }
}

/// A key of an object, borrowed unless it has escapes.
pub(super) struct Key<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Owned(key.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::Number::{Float, Signed, Unsigned};

    #[test]
    fn integers_are_exact_or_none() {
        assert_eq!(Unsigned(9_223_372_036_854_775_807).as_integer(), Some(i64::MAX));
        assert_eq!(Unsigned(9_223_372_036_854_775_808).as_integer(), None);
        assert_eq!(Signed(-1).as_integer(), Some(-1));
        assert_eq!(Float(3.0).as_integer(), Some(3));
        assert_eq!(Float(-0.0).as_integer(), Some(0));
        assert_eq!(Float(3.5).as_integer(), None);
        assert_eq!(Float(9_007_199_254_740_991.0).as_integer(), Some(9_007_199_254_740_991));
        // What 9007199254740993.0 becomes: two message numbers must never become one.
        assert_eq!(Float(9_007_199_254_740_992.0).as_integer(), None);
        assert_eq!(Float(1e300).as_integer(), None);
    }

    #[test]
    fn seconds_round_to_the_nearest_microsecond() {
        assert_eq!(Unsigned(1_700_000_000).as_micros(), Some(1_700_000_000_000_000));
        assert_eq!(Signed(-5).as_micros(), Some(-5_000_000));
        assert_eq!(Float(1.320_067_464e9).as_micros(), Some(1_320_067_464_000_000));
        assert_eq!(Float(1_276_020_076.001).as_micros(), Some(1_276_020_076_001_000));
        assert_eq!(Float(0.000_000_4).as_micros(), Some(0));
        assert_eq!(Float(0.000_000_6).as_micros(), Some(1));
        assert_eq!(Float(-0.000_000_6).as_micros(), Some(-1));
        // In the year 2106: one product, seconds * 1e6, is 4306947510533179.5 and rounds up.
        assert_eq!(Float(4_306_947_510.533_179).as_micros(), Some(4_306_947_510_533_179));
    }

    #[test]
    fn seconds_that_overflow_are_none() {
        assert_eq!(Unsigned(u64::MAX).as_micros(), None);
        assert_eq!(Unsigned(9_223_372_036_855).as_micros(), None);
        assert_eq!(Signed(i64::MIN).as_micros(), None);
        assert_eq!(Float(9.3e12).as_micros(), None);
        assert_eq!(Float(-1e300).as_micros(), None);
        assert_eq!(Float(1e-300).as_micros(), Some(0));
    }
}
