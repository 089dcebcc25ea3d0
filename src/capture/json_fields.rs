//! Typed access to one JSON object; what is not there is `None`, as is `null`.

use serde_json::{Map, Value as Json};

use crate::model::Timestamp;

/// An object's members.
pub(super) type Object = Map<String, Json>;

/// Parses a line that must be an object.
///
/// # Errors
/// What is no JSON, or no object.
pub(super) fn object_of_line(line: &str) -> Result<Object, String> {
    match serde_json::from_str(line) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err("expected a JSON object".to_owned()),
        Err(error) => Err(json_reason(&error)),
    }
}

/// serde_json's message without its line number, which is always 1.
pub(super) fn json_reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rsplit_once(" at line ") {
        Some((what, _)) => format!("no valid JSON at column {}: {what}", error.column()),
        None => format!("no valid JSON: {message}"),
    }
}

/// A member that is there and is not `null`.
pub(super) fn member<'json>(object: &'json Object, name: &str) -> Option<&'json Json> {
    object.get(name).filter(|value| !value.is_null())
}

/// A text; a number will do, digit for digit.
///
/// # Errors
/// A member of another kind.
pub(super) fn text(object: &Object, name: &str) -> Result<Option<String>, String> {
    match member(object, name) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(Json::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(format!("`{name}` must be a text")),
    }
}

/// A text that is not empty.
///
/// # Errors
/// A member that is missing, empty or of another kind.
pub(super) fn required_text(object: &Object, name: &str) -> Result<String, String> {
    text(object, name)?.filter(|text| !text.is_empty()).ok_or_else(|| format!("`{name}` is missing"))
}

/// A list; empty where it is missing.
///
/// # Errors
/// A member of another kind.
pub(super) fn list<'json>(object: &'json Object, name: &str) -> Result<&'json [Json], String> {
    match member(object, name) {
        None => Ok(&[]),
        Some(Json::Array(items)) => Ok(items),
        Some(_) => Err(format!("`{name}` must be a list")),
    }
}

/// An object.
///
/// # Errors
/// A member of another kind.
pub(super) fn object<'json>(object: &'json Object, name: &str) -> Result<Option<&'json Object>, String> {
    match member(object, name) {
        None => Ok(None),
        Some(Json::Object(inner)) => Ok(Some(inner)),
        Some(_) => Err(format!("`{name}` must be an object")),
    }
}

/// An integer, as a number or a text.
///
/// # Errors
/// A member of another kind, or outside of 64 bits.
pub(super) fn integer(object: &Object, name: &str) -> Result<Option<i64>, String> {
    let Some(written) = text(object, name)? else { return Ok(None) };
    written.parse().map(Some).map_err(|_| format!("`{name}` is {written}: expected an integer of 64 bits"))
}

/// A time, as RFC 3339 or as PostgreSQL prints it.
///
/// # Errors
/// A member of another kind, or no time.
pub(super) fn time(object: &Object, name: &str) -> Result<Option<Timestamp>, String> {
    let Some(written) = text(object, name)? else { return Ok(None) };
    written.parse().map(Some).map_err(|error| format!("`{name}`: failed to {error}"))
}
