//! Reading JSON as the API of seed 001 does: keys match without regard to case.
//!
//! A [`serde::Deserialize`] struct tells its deserializer the names of its fields. This one renames
//! each key of the input to the field name that equals it without regard to ASCII case, so it works
//! for any derived type, at any depth, and no type needs aliases. Unknown keys are left to the type
//! (derived types ignore them); a `null` counts as absent. If several keys mean one field, the exact
//! spelling wins, else the last in text order.
//!
//! Structs with `#[serde(flatten)]`, and the contents of enum variants, do not tell their field
//! names: their keys match exactly.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Map, Value};

/// Reads `bytes` as JSON into `T`, matching the keys of objects without regard to case.
///
/// # Errors
/// If the bytes are not JSON (nested at most 128 deep) or not a `T`.
pub fn from_slice_insensitive<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    from_value_insensitive(serde_json::from_slice(bytes)?)
}

/// Reads a JSON value into `T`, matching the keys of objects without regard to case.
///
/// # Errors
/// If the value is not a `T`.
pub fn from_value_insensitive<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Insensitive(value))
}

/// A JSON value whose object keys match the fields of a struct without regard to case.
struct Insensitive(Value);

impl IntoDeserializer<'_, Error> for Insensitive {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Renames the keys of `object` to the names in `fields` that they mean.
fn rename_keys(object: Map<String, Value>, fields: &'static [&'static str]) -> Map<String, Value> {
    let mut renamed = Map::new();
    let mut exact = Vec::new();
    for (key, value) in object {
        if value.is_null() {
            continue;
        }
        if fields.contains(&key.as_str()) {
            exact.push((key, value));
            continue;
        }
        let name = fields.iter().find(|field| field.eq_ignore_ascii_case(&key));
        renamed.insert(name.map_or(key, |name| (*name).to_owned()), value);
    }
    renamed.extend(exact);
    renamed
}

fn visit_map<'de, V: Visitor<'de>>(
    object: Map<String, Value>,
    visitor: V,
) -> Result<V::Value, Error> {
    let entries = object.into_iter().map(|(key, value)| (key, Insensitive(value)));
    visitor.visit_map(MapDeserializer::new(entries))
}

impl<'de> Deserializer<'de> for Insensitive {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Insensitive)))
            }
            Value::Object(object) => visit_map(object, visitor),
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(object) => visit_map(rename_keys(object, fields), visitor),
            // Derived structs also read arrays; the API does not.
            Value::Array(_) => {
                Err(serde::de::Error::custom(format!("expected an object ({name})")))
            }
            scalar => scalar.deserialize_struct(name, fields, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// A time as a field: written as a decimal string, read from a string or a number.
pub(crate) mod decimal_i64 {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Input {
        Number(i64),
        Text(String),
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
    pub(crate) fn serialize<S: Serializer>(value: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        value.to_string().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        match Input::deserialize(deserializer)? {
            Input::Number(value) => Ok(value),
            Input::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
