//! The JSON of a flat object, field by field, without a tree in between.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::Object;
use crate::formats::refusal;
use crate::formats::scalar::{Key, Scalar};
use crate::rejection::Rejection;

/// Reads `text` into `object`.
pub(super) fn read<'a>(text: &'a str, object: &mut Object<'a>) -> Result<(), Rejection> {
    let mut reader = Reader { object, field: None, rejection: None };
    let mut input = serde_json::Deserializer::from_str(text);
    let outcome = Fields(&mut reader).deserialize(&mut input).and_then(|()| input.end());
    match (reader.rejection, outcome) {
        (Some(rejection), _) => Err(rejection),
        (None, Err(error)) => {
            let place = reader.field.map_or("object".into(), |field| format!("field {}", refusal::named(&field)));
            Err(refusal::not_json(text, &place, &error))
        }
        (None, Ok(())) => Ok(()),
    }
}

/// Why the reader stopped, as in SenML's.
struct Reader<'o, 'a> {
    object: &'o mut Object<'a>,
    field: Option<Cow<'a, str>>,
    rejection: Option<Rejection>,
}

struct Fields<'r, 'o, 'a>(&'r mut Reader<'o, 'a>);

impl<'de> DeserializeSeed<'de> for Fields<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a flat object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let reader = self.0;
        while let Some(Key(key)) = fields.next_key()? {
            let value: Scalar<'de> = match fields.next_value() {
                Ok(value) => value,
                Err(error) => {
                    reader.field = Some(key);
                    return Err(error);
                }
            };
            if let Err(rejection) = reader.object.field(key, value) {
                reader.rejection = Some(rejection);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}
