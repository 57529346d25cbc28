//! The JSON of a SenML pack, record by record and field by field, without a tree in between.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Pack;
use super::fields::{Field, Record};
use crate::formats::refusal;
use crate::formats::scalar::{Key, Scalar};
use crate::rejection::Rejection;

/// Reads `text` into `pack`.
pub(super) fn read<'a>(text: &'a str, pack: &mut Pack<'a>) -> Result<(), Rejection> {
    let mut reader = Reader { pack, index: 0, field: None, rejection: None };
    let mut input = serde_json::Deserializer::from_str(text);
    let outcome = Records(&mut reader).deserialize(&mut input).and_then(|()| input.end());
    let place = |reader: &Reader<'_, '_>| match &reader.field {
        Some(field) => format!("record {}, field {}", reader.index, refusal::named(field)),
        None => format!("record {}", reader.index),
    };
    match (reader.rejection.take(), outcome) {
        (Some(rejection), _) => {
            Err(Rejection { detail: format!("record {}, {}", reader.index, rejection.detail), ..rejection })
        }
        (None, Err(error)) => Err(refusal::not_json(text, &place(&reader), &error)),
        (None, Ok(())) => Ok(()),
    }
}

/// Where the reader stands, and why it stopped.
struct Reader<'p, 'a> {
    pack: &'p mut Pack<'a>,
    /// Index of the record being read.
    index: usize,
    /// The field whose value is no JSON, if that is what stopped it.
    field: Option<Cow<'a, str>>,
    /// The refusal that stopped it. It travels beside serde's error, which holds nothing but a text.
    rejection: Option<Rejection>,
}

impl Reader<'_, '_> {
    fn checked<T, E: Error>(&mut self, outcome: Result<T, Rejection>) -> Result<T, E> {
        outcome.map_err(|rejection| {
            self.rejection = Some(rejection);
            E::custom("refused")
        })
    }
}

struct Records<'r, 'p, 'a>(&'r mut Reader<'p, 'a>);

impl<'de> DeserializeSeed<'de> for Records<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Records<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of SenML records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while records.next_element_seed(Fields(&mut *self.0))?.is_some() {
            self.0.index += 1;
        }
        Ok(())
    }
}

struct Fields<'r, 'p, 'a>(&'r mut Reader<'p, 'a>);

impl<'de> DeserializeSeed<'de> for Fields<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, the SenML record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let reader = self.0;
        let mut record = Record::default();
        while let Some(Key(key)) = fields.next_key()? {
            let Some(field) = reader.checked(Field::of(&key))? else {
                reader.pack.ignored = reader.pack.ignored.saturating_add(1);
                fields.next_value::<IgnoredAny>()?;
                continue;
            };
            reader.checked(record.note(field))?;
            let value: Scalar<'de> = match fields.next_value() {
                Ok(value) => value,
                Err(error) => {
                    reader.field = Some(key);
                    return Err(error);
                }
            };
            let taken = reader.pack.field(&mut record, field, value);
            reader.checked(taken)?;
        }
        let resolved = reader.pack.record(record);
        reader.checked(resolved)
    }
}
