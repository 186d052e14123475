//! Requests: a JSON object whose keys match without regard to case, and query parameters.
//!
//! Messages are those of the reference's validator, on the JSON name of the field.

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use quorate_ledger::ids::GroupId;
use serde_json::{Map, Value};

use super::{ApiError, MAX_BODY};

/// A request's object; keys in lower case.
#[derive(Debug, Default)]
pub struct Input(Map<String, Value>);

/// Reads the body whatever its content type says.
async fn body<S: Send + Sync>(request: Request, _state: &S) -> Result<Value, ApiError> {
    let bytes = to_bytes(request.into_body(), MAX_BODY).await.map_err(|error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        // The limit is the innermost cause; everything else is a broken connection.
        if cause.to_string().contains("length limit exceeded") {
            ApiError::too_large()
        } else {
            ApiError::body(format!("the body could not be read: {error}"))
        }
    })?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_slice(&bytes).map_err(|error| ApiError::body(format!("Syntax error: {error}")))
}

impl<S: Send + Sync> FromRequest<S> for Input {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match body(request, state).await? {
            Value::Object(map) => Ok(Self::new(map)),
            other => Err(ApiError::body(format!(
                "Unmarshal type error: expected=object, got={}",
                type_name(&other)
            ))),
        }
    }
}

/// Any JSON value as a request.
#[derive(Debug)]
pub struct Raw(pub Value);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        body(request, state).await.map(Self)
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type(expected: &str, value: &Value, field: &str) -> ApiError {
    let got = type_name(value);
    ApiError::body(format!("Unmarshal type error: expected={expected}, got={got}, field={field}"))
}

fn required(name: &str) -> ApiError {
    ApiError::invalid(format!("{name} is a required field"))
}

impl Input {
    /// The exact spelling of a key wins over others.
    fn new(map: Map<String, Value>) -> Self {
        let mut keys = Map::new();
        for (key, value) in map {
            let lower = key.to_lowercase();
            if lower == key || !keys.contains_key(&lower) {
                keys.insert(lower, value);
            }
        }
        Self(keys)
    }

    /// A field; `null` counts as absent.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text; empty if absent.
    ///
    /// # Errors
    /// If it is no text.
    pub fn text(&self, name: &str) -> Result<String, ApiError> {
        match self.value(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(wrong_type("string", other, name)),
        }
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// If it is absent, empty or no text.
    pub fn required_text(&self, name: &str) -> Result<String, ApiError> {
        let text = self.text(name)?;
        if text.is_empty() { Err(required(name)) } else { Ok(text) }
    }

    /// A text of `min` to `max` characters.
    ///
    /// # Errors
    /// If it is absent, too short or too long.
    pub fn sized_text(&self, name: &str, min: usize, max: usize) -> Result<String, ApiError> {
        let text = self.required_text(name)?;
        let count = text.chars().count();
        if count > max {
            return Err(ApiError::invalid(format!(
                "{name} must be a maximum of {max} characters in length"
            )));
        }
        if count < min {
            return Err(ApiError::invalid(format!(
                "{name} must be at least {min} characters in length"
            )));
        }
        Ok(text)
    }

    /// One of some words.
    ///
    /// # Errors
    /// If it is absent or another one.
    pub fn one_of(&self, name: &str, words: &[&str]) -> Result<String, ApiError> {
        let text = self.required_text(name)?;
        if words.contains(&text.as_str()) {
            return Ok(text);
        }
        Err(ApiError::invalid(format!("{name} must be one of [{}]", words.join(" "))))
    }

    /// The id of a group, in the spelling of the reference.
    ///
    /// # Errors
    /// If it is absent or no version 4 UUID.
    pub fn group_id(&self) -> Result<GroupId, ApiError> {
        let text = self.required_text("group_id")?;
        let id = text.parse::<GroupId>().ok();
        let good = |id: &GroupId| {
            id.0.get_version_num() == 4
                && id.0.get_variant() == uuid::Variant::RFC4122
                && id.to_string() == text
        };
        id.filter(good).ok_or_else(|| ApiError::invalid("group_id must be a valid version 4 UUID"))
    }

    /// A number that must be there; 0 counts as absent.
    ///
    /// # Errors
    /// If it is absent, 0 or no whole number from 0.
    pub fn required_number(&self, name: &str) -> Result<u64, ApiError> {
        match self.value(name) {
            None => Err(required(name)),
            Some(value) => match value.as_u64() {
                Some(0) => Err(required(name)),
                Some(number) => Ok(number),
                None => Err(wrong_type("uint64", value, name)),
            },
        }
    }

    /// A list of texts that must be there, possibly empty.
    ///
    /// # Errors
    /// If it is absent or not a list of texts.
    pub fn required_texts(&self, name: &str) -> Result<Vec<String>, ApiError> {
        let value = self.value(name).ok_or_else(|| required(name))?;
        texts(value).ok_or_else(|| wrong_type("[]string", value, name))
    }

    /// A truth value; absent is `default`.
    ///
    /// # Errors
    /// If it is no truth value.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, ApiError> {
        match self.value(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(wrong_type("bool", other, name)),
        }
    }

    /// An object inside the request, its keys as they are.
    pub fn object(&self, name: &str) -> Result<&Map<String, Value>, ApiError> {
        match self.value(name) {
            None => Err(required(name)),
            Some(Value::Object(map)) => Ok(map),
            Some(other) => Err(wrong_type("object", other, name)),
        }
    }

    /// A text that holds a JSON object (`config` of chainconfig).
    ///
    /// # Errors
    /// If it is absent or holds none.
    pub fn nested(&self, name: &str) -> Result<Self, ApiError> {
        let text = self.required_text(name)?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| ApiError::invalid(format!("{name} is not JSON: {error}")))?;
        match value {
            Value::Object(map) => Ok(Self::new(map)),
            _ => Err(ApiError::invalid(format!("{name} must hold a JSON object"))),
        }
    }
}

/// The texts of a list.
pub fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Query parameters, in order.
#[derive(Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Params {
    /// Reads a query string.
    pub fn parse(query: &str) -> Self {
        let decode = |text: &str| {
            percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// The last value of a parameter; empty counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub fn all(&self, name: &str) -> Vec<String> {
        let found = self.0.iter().filter(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.clone()).collect()
    }

    /// A truth value as Go reads it; absent is `default`.
    ///
    /// # Errors
    /// If it is none.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, ApiError> {
        match self.get(name) {
            None => Ok(default),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => {
                Err(ApiError::invalid(format!("{name} must be true or false, not {other}")))
            }
        }
    }

    /// A number; absent is `default`.
    ///
    /// # Errors
    /// If it is none.
    pub fn number(&self, name: &str, default: usize) -> Result<usize, ApiError> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| ApiError::invalid(format!("{name} must be a number, not {text}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Input, Params};
    use serde_json::{Value, json};

    fn input(value: Value) -> Input {
        match value {
            Value::Object(map) => Input::new(map),
            _ => panic!("an object"),
        }
    }

    #[test]
    fn keys_match_without_regard_to_case_and_the_exact_one_wins() {
        let input = input(json!({ "Group_Name": "a", "MEMO": "b", "memo": "c", "n": null }));
        assert_eq!(input.text("group_name").expect("a text"), "a");
        assert_eq!(input.text("memo").expect("a text"), "c");
        assert_eq!(input.text("n").expect("absent"), "");
    }

    #[test]
    fn sentences_are_the_validators() {
        let input = input(json!({ "short": "a", "long": "abcdef", "zero": 0, "word": "x",
            "group_id": "no", "text": 5, "list": ["a", 1] }));
        let message = |error: super::ApiError| format!("{error:?}");
        for (error, sentence) in [
            (input.required_text("gone").err(), "gone is a required field"),
            (
                input.sized_text("short", 2, 5).err(),
                "short must be at least 2 characters in length",
            ),
            (
                input.sized_text("long", 2, 5).err(),
                "long must be a maximum of 5 characters in length",
            ),
            (input.required_number("zero").err(), "zero is a required field"),
            (input.one_of("word", &["a", "b"]).err(), "word must be one of [a b]"),
            (input.group_id().err(), "group_id must be a valid version 4 UUID"),
            (input.text("text").err(), "expected=string, got=number, field=text"),
            (input.required_texts("list").err(), "expected=[]string, got=array, field=list"),
        ] {
            let text = message(error.expect(sentence));
            assert!(text.contains(sentence), "{text} should be: {sentence}");
        }
    }

    #[test]
    fn query_parameters_are_read_as_go_reads_them() {
        let params = Params::parse("num=5&reverse=False&senders=a%2Bb&senders=c+d&empty=");
        assert_eq!(params.number("num", 20).expect("a number"), 5);
        assert!(!params.flag("reverse", true).expect("a flag"));
        assert_eq!(params.all("senders"), ["a+b", "c d"]);
        assert_eq!(params.get("empty"), None);
        assert!(params.flag("num", true).is_err());
    }
}
