//! A line as the Kafka message it holds: what each tool that writes messages down puts around them, taken off.
//!
//! In: a bare value; `{"schema":…,"payload":…}`; `key<TAB>value`; `{"key":…,"value":…}`; `kcat -J`'s `{"topic":…,"key":…,
//! "payload":…}`; a CloudEvent. Out: a [`Message`].

use serde_json::Value as Json;

use super::json_fields::{Object, json_reason, member};

/// A part of a message, with the schema that describes it where it carries one.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Part {
    pub(super) value: Json,
    pub(super) schema: Option<Object>,
}

/// One message.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Message {
    pub(super) key: Option<Part>,
    /// `null` for a tombstone.
    pub(super) value: Part,
    pub(super) topic: Option<String>,
    /// Topic, partition and offset, where they are told: no two messages share them.
    pub(super) place: Option<String>,
    /// When the broker got it, in milliseconds.
    pub(super) received: Option<i64>,
}

impl Message {
    /// Takes a line apart.
    ///
    /// # Errors
    /// What is no JSON, inside or outside.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        // No tab stands in a JSON text unescaped: the first parts key and value.
        if let Some((key, value)) = line.split_once('\t')
            && let (Ok(key), Ok(value)) = (parse(key), parse(value))
        {
            return Ok(Message { key: Some(part(key)), value: part(value), ..Message::default() });
        }
        match parse(line)? {
            Json::Object(object) => Message::of_object(object),
            value => Ok(Message { value: part(value), ..Message::default() }),
        }
    }

    fn of_object(mut object: Object) -> Result<Self, String> {
        let written_by_kcat = object.contains_key("topic") && object.contains_key("payload");
        let is_pair = object.contains_key("value") && object.contains_key("key") && !object.contains_key("op");
        if written_by_kcat || is_pair {
            let topic = member(&object, "topic").and_then(Json::as_str).map(str::to_owned);
            let number = |name: &str| member(&object, name).and_then(Json::as_i64);
            let place = match (&topic, number("partition"), number("offset")) {
                (Some(topic), Some(partition), Some(offset)) => Some(format!("{topic}/{partition}/{offset}")),
                _ => None,
            };
            let received = number("ts").or_else(|| number("timestamp"));
            let key = object.remove("key").filter(|key| !key.is_null());
            let value = object.remove(if written_by_kcat { "payload" } else { "value" }).unwrap_or_default();
            let key = key.map(inner).transpose()?.map(part);
            return Ok(Message { key, value: part(inner(value)?), topic, place, received });
        }
        if object.contains_key("specversion")
            && let Some(data) = object.remove("data")
        {
            return Ok(Message { value: part(inner(data)?), ..Message::default() });
        }
        Ok(Message { value: part(Json::Object(object)), ..Message::default() })
    }
}

fn parse(text: &str) -> Result<Json, String> {
    serde_json::from_str(text).map_err(|error| json_reason(&error))
}

/// Tools write a message's JSON as a text, or as it is.
fn inner(value: Json) -> Result<Json, String> {
    match value {
        Json::String(text) if text.is_empty() => Ok(Json::Null),
        // A key may be any text.
        Json::String(text) if text.trim_start().starts_with(['{', '[']) => {
            parse(&text).map_err(|reason| format!("the message within: {reason}"))
        }
        Json::String(text) if text == "null" => Ok(Json::Null),
        value => Ok(value),
    }
}

/// Parts schema and payload where the converter wrote both.
fn part(value: Json) -> Part {
    match value {
        Json::Object(mut object) if object.contains_key("payload") && object.contains_key("schema") => {
            let schema = object.remove("schema").and_then(|schema| match schema {
                Json::Object(schema) => Some(schema),
                _ => None,
            });
            Part { value: object.remove("payload").unwrap_or_default(), schema }
        }
        value => Part { value, schema: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_same_whatever_is_around_it() {
        let bare = Message::parse(r#"{"op":"c"}"#).expect("a message").value;
        for line in [
            r#"{"schema":null,"payload":{"op":"c"}}"#,
            "{\"id\":1}\t{\"op\":\"c\"}",
            r#"{"key":{"id":1},"value":{"op":"c"}}"#,
            r#"{"topic":"s.public.t","partition":0,"offset":7,"ts":5,"key":"{\"id\":1}","payload":"{\"op\":\"c\"}"}"#,
            r#"{"specversion":"1.0","id":"x","data":{"schema":null,"payload":{"op":"c"}}}"#,
        ] {
            assert_eq!(Message::parse(line).expect(line).value, bare, "{line}");
        }
        let kcat = r#"{"topic":"s.public.t","partition":0,"offset":7,"ts":5,"key":"k","payload":null}"#;
        let message = Message::parse(kcat).expect("a message");
        assert_eq!((message.value.value, message.received), (Json::Null, Some(5)));
        assert_eq!(message.place.as_deref(), Some("s.public.t/0/7"));
        assert_eq!(Message::parse("null").expect("a tombstone").value.value, Json::Null);
        assert!(Message::parse("{").is_err());
        assert!(Message::parse(r#"{"key":null,"value":"{"}"#).expect_err("damaged").contains("the message within"));
    }
}
