//! `events`: one write event a line, as an application emits it (docs: the write event).
//!
//! In: `{"ts":…, "table":…, "op":…, "key":{…}, "before":{…}, "after":{…}, …}`. Out: [`RecordedWrite`]s, their cells the
//! text that JSON shows: numbers digit for digit, `true` as PostgreSQL's `t`, objects and lists as their JSON.
//! Keys that the format does not know are let be, and are part of an event's identity.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value as Json;

use super::format::{Format, LineOutcome, LineReader};
use super::json_fields::json_reason;
use super::names::Names;
use super::read::identity;
use crate::model::{
    ColumnName, Operation, RecordKey, RecordRead, RecordedWrite, Recording, RecordingId, ReleaseName, Row, ServiceName,
    SessionId, TableName, Timestamp, TraceId, TransactionId, Value,
};

/// The format `events`.
pub(super) struct Events;

impl Format for Events {
    fn name(&self) -> &'static str {
        "events"
    }

    fn recognises(&self, line: &str) -> bool {
        let line = line.trim_start();
        // Inside a JSON text these names would be escaped, so they are keys.
        line.starts_with('{') && line.contains("\"table\"") && line.contains("\"op\"")
    }

    fn reader(&self) -> Box<dyn LineReader> {
        Box::new(EventReader::default())
    }
}

#[derive(Default)]
struct EventReader {
    names: Names,
}

impl LineReader for EventReader {
    fn read_line(&mut self, line: &str, recording: &mut Recording) -> Result<LineOutcome, String> {
        let fields: Fields = serde_json::from_str(line).map_err(|error| json_reason(&error))?;
        let write = self.write(fields)?;
        recording.writes.push(write);
        Ok(LineOutcome::Used)
    }

    fn finish(&mut self, _recording: &mut Recording) {}
}

/// Whether a line is an event that can be read.
///
/// # Errors
/// Why it cannot.
pub(super) fn check_event(line: &str) -> Result<(), String> {
    EventReader::default().read_line(line, &mut Recording::default()).map(|_| ())
}

impl EventReader {
    fn write(&mut self, fields: Fields) -> Result<RecordedWrite, String> {
        let id = fields.identity()?;
        let ts = fields.required_text("ts")?;
        let ts: Timestamp = ts.parse().map_err(|error| format!("`ts`: failed to {error}"))?;
        let table = self.table_name(&fields.required_text("table")?)?;
        let operation = fields.required_text("op")?;
        let operation = Operation::from_contract(&operation)
            .ok_or_else(|| format!("`op` is '{operation}': expected one of insert, update, delete, truncate"))?;
        let write = RecordedWrite {
            id,
            seq: fields.seq()?,
            ts,
            table,
            operation,
            key: self.image(&fields, "key").unwrap_or_default(),
            before: self.image(&fields, "before"),
            after: self.image(&fields, "after"),
            reads: self.reads(&fields)?,
            transaction: fields.text("tx")?.map(|id| TransactionId(self.names.shared(&id))),
            session: fields.text("session")?.map(|id| SessionId(self.names.shared(&id))),
            trace: fields.text("trace")?.map(|id| TraceId(id.into())),
            release: fields.text("release")?.map(|name| ReleaseName::new(self.names.shared(&name))),
            service: fields.text("service")?.map(|name| ServiceName::new(self.names.shared(&name))),
            statement: fields.text("statement")?.map(|sql| self.names.shared(&sql)),
            parameters: fields.list("params")?.iter().map(cell).collect(),
        };
        let has_image = [Some(&write.key), write.before.as_ref(), write.after.as_ref()];
        if operation != Operation::Truncate && has_image.into_iter().flatten().all(Row::is_empty) {
            return Err("neither `key` nor an image (`before`, `after`) says which record".to_owned());
        }
        Ok(write)
    }

    fn table_name(&mut self, text: &str) -> Result<TableName, String> {
        let name: TableName = text.parse().map_err(|error| format!("`table`: failed to {error}"))?;
        Ok(TableName::new(self.names.shared(&name.schema), self.names.shared(&name.table)))
    }

    fn image(&mut self, fields: &Fields, name: &str) -> Option<Row> {
        let Some(Field::Image(Some(Image(cells)))) = fields.get(name) else { return None };
        Some(self.row(cells.iter().map(|(column, value)| (column.as_str(), value))))
    }

    fn row<'a>(&mut self, cells: impl Iterator<Item = (&'a str, &'a Json)>) -> Row {
        let mut row = Row::new();
        for (column, value) in cells {
            row.push(self.names.shared(column), cell(value));
        }
        row
    }

    fn reads(&mut self, fields: &Fields) -> Result<Vec<RecordRead>, String> {
        fields
            .list("reads")?
            .iter()
            .map(|read| self.read(read).map_err(|reason| format!("`reads`: {reason}")))
            .collect()
    }

    fn read(&mut self, read: &Json) -> Result<RecordRead, String> {
        let table = read.get("table").and_then(Json::as_str).ok_or("each must name its `table`")?;
        let key = read.get("key").and_then(Json::as_object).filter(|key| !key.is_empty());
        let key = key.ok_or("each must hold its `key`: an object such as {\"id\": 17}")?;
        let cells = key.iter().map(|(column, value)| (self.names.shared(column), cell(value))).collect();
        let columns: Option<Vec<ColumnName>> = match read.get("columns") {
            None | Some(Json::Null) => Some(Vec::new()),
            Some(Json::Array(columns)) => {
                columns.iter().map(|column| column.as_str().map(|column| self.names.shared(column))).collect()
            }
            Some(_) => None,
        };
        Ok(RecordRead {
            table: self.table_name(table)?,
            key: RecordKey::new(cells),
            columns: columns.ok_or("`columns` must be a list of names")?,
        })
    }
}

/// A JSON value as PostgreSQL would print it in a column that takes it.
fn cell(value: &Json) -> Value {
    match value {
        Json::Null => Value::NULL,
        Json::Bool(true) => Value::text("t"),
        Json::Bool(false) => Value::text("f"),
        Json::String(text) => Value::text(text.as_str()),
        Json::Number(_) | Json::Array(_) | Json::Object(_) => Value::text(value.to_string()),
    }
}

/// An event's fields in the order they came, none twice.
struct Fields(Vec<(String, Field)>);

enum Field {
    /// `key`, `before` or `after`.
    Image(Option<Image>),
    /// Any other.
    Plain(Json),
}

/// The columns of an image in the order they came, none twice.
struct Image(Vec<(String, Json)>);

impl Fields {
    fn get(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    fn plain(&self, name: &str) -> Option<&Json> {
        match self.get(name) {
            Some(Field::Plain(Json::Null)) | Some(Field::Image(_)) | None => None,
            Some(Field::Plain(value)) => Some(value),
        }
    }

    /// A text; a number will do, digit for digit.
    fn text(&self, name: &str) -> Result<Option<String>, String> {
        match self.plain(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            Some(Json::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(format!("`{name}` must be a text")),
        }
    }

    fn required_text(&self, name: &str) -> Result<String, String> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| format!("`{name}` is missing"))
    }

    fn list(&self, name: &str) -> Result<&[Json], String> {
        match self.plain(name) {
            None => Ok(&[]),
            Some(Json::Array(items)) => Ok(items),
            Some(_) => Err(format!("`{name}` must be a list")),
        }
    }

    fn seq(&self) -> Result<Option<u64>, String> {
        let Some(text) = self.text("seq")? else { return Ok(None) };
        // The store keeps it as a signed 64-bit integer, as Delta Lake knows no other.
        match text.parse::<u64>() {
            Ok(seq) if i64::try_from(seq).is_ok() => Ok(Some(seq)),
            _ => Err(format!("`seq` is {text}: expected an integer from 0 to {}", i64::MAX)),
        }
    }

    /// Of its `id`; else of everything it says, whatever the order of its keys and the spaces between them.
    fn identity(&self) -> Result<RecordingId, String> {
        let mut hasher = blake3::Hasher::new();
        if let Some(id) = self.text("id")? {
            hasher.update(b"event id\0");
            hasher.update(id.as_bytes());
            return Ok(identity(&hasher));
        }
        hasher.update(b"event\0");
        let mut canonical = String::new();
        let mut fields: Vec<&(String, Field)> = self.0.iter().collect();
        fields.sort_by(|(left, _), (right, _)| left.cmp(right));
        for (name, field) in fields {
            write_text(&mut canonical, name);
            match field {
                Field::Plain(value) => write_canonical(&mut canonical, value),
                Field::Image(None) => canonical.push('n'),
                Field::Image(Some(Image(cells))) => {
                    write_object(&mut canonical, cells.iter().map(|(column, value)| (column, value)).collect());
                }
            }
        }
        hasher.update(canonical.as_bytes());
        Ok(identity(&hasher))
    }
}

/// Writes a value so that no two different ones are written alike: every part with its kind and its length.
fn write_canonical(canonical: &mut String, value: &Json) {
    match value {
        Json::Null => canonical.push('n'),
        Json::Bool(boolean) => canonical.push(if *boolean { 't' } else { 'f' }),
        Json::Number(number) => {
            canonical.push('#');
            write_text(canonical, &number.to_string());
        }
        Json::String(text) => write_text(canonical, text),
        Json::Array(items) => {
            canonical.push('[');
            items.iter().for_each(|item| write_canonical(canonical, item));
            canonical.push(']');
        }
        Json::Object(members) => write_object(canonical, members.iter().collect()),
    }
}

fn write_object(canonical: &mut String, mut members: Vec<(&String, &Json)>) {
    members.sort_by_key(|(name, _)| *name);
    canonical.push('{');
    for (name, value) in members {
        write_text(canonical, name);
        write_canonical(canonical, value);
    }
    canonical.push('}');
}

fn write_text(canonical: &mut String, text: &str) {
    canonical.push_str(&text.len().to_string());
    canonical.push(':');
    canonical.push_str(text);
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an event: an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields: Vec<(String, Field)> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if fields.iter().any(|(held, _)| *held == name) {
                        return Err(A::Error::custom(format_args!("`{name}` stands there twice")));
                    }
                    let field = match name.as_str() {
                        "key" | "before" | "after" => Field::Image(map.next_value()?),
                        _ => Field::Plain(map.next_value()?),
                    };
                    fields.push((name, field));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ImageVisitor;
        impl<'de> Visitor<'de> for ImageVisitor {
            type Value = Image;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of columns, such as {\"id\": 17}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Image, A::Error> {
                let mut cells: Vec<(String, Json)> = Vec::new();
                while let Some(column) = map.next_key::<String>()? {
                    if cells.iter().any(|(held, _)| *held == column) {
                        return Err(A::Error::custom(format_args!("column `{column}` stands twice in one image")));
                    }
                    cells.push((column, map.next_value()?));
                }
                Ok(Image(cells))
            }
        }
        deserializer.deserialize_map(ImageVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<RecordedWrite, String> {
        let mut recording = Recording::default();
        EventReader::default().read_line(line, &mut recording)?;
        recording.writes.pop().ok_or_else(|| "nothing recorded".to_owned())
    }

    fn event(rest: &str) -> String {
        format!(r#"{{"ts":"2026-03-02T10:15:30.123456Z","table":"orders","op":"update",{rest}}}"#)
    }

    #[test]
    fn the_event_of_the_contract_is_read_whole() {
        let write = read(
            r#"{"ts":"2026-03-02T10:15:30.123456Z", "release":"v42", "service":"shop", "tx":"733", "seq":120033,
                "table":"public.orders", "op":"update", "key":{"id":17},
                "before":{"id":17,"total":"10.00"}, "after":{"id":17,"total":"1000.00"},
                "reads":[{"table":"public.prices","key":{"sku":"A1"},"columns":["amount"]}],
                "trace":"4bf92f3577b34da6a3ce929d0e0e4736", "session":"69a5b1c2.1a2b", "statement":"UPDATE …",
                "params":["1000.00",17,null], "id":"e1"}"#,
        )
        .expect("a sound event");
        assert_eq!(write.seq, Some(120_033));
        assert_eq!(write.table, TableName::new("public", "orders"));
        assert_eq!(write.key.get("id"), Some(&Value::text("17")));
        assert_eq!(write.after.as_ref().and_then(|row| row.get("total")), Some(&Value::text("1000.00")));
        assert_eq!(write.reads[0].key.to_string(), "A1");
        assert_eq!(write.parameters, [Value::text("1000.00"), Value::text("17"), Value::NULL]);
        assert_eq!(write.transaction, Some(TransactionId("733".into())));
        assert_eq!(write.session, Some(SessionId("69a5b1c2.1a2b".into())));
    }

    #[test]
    fn values_keep_every_digit_and_null_is_not_absence() {
        let write = read(&event(
            r#""after":{"a":12345678901234567890.123456789012345678901,"b":1.10,"c":-0,"d":true,"e":false,"f":null,
               "g":{"k":[1,2.50]},"h":[1,null],"i":"","j":1E400}"#,
        ))
        .expect("a sound event");
        let after = write.after.expect("an image");
        let text = |column: &str| after.get(column).and_then(Value::as_str).map(str::to_owned);
        assert_eq!(text("a").as_deref(), Some("12345678901234567890.123456789012345678901"));
        assert_eq!(text("b").as_deref(), Some("1.10"));
        assert_eq!(text("c").as_deref(), Some("-0"));
        assert_eq!((text("d").as_deref(), text("e").as_deref()), (Some("t"), Some("f")));
        assert_eq!(after.get("f"), Some(&Value::NULL));
        assert_eq!(text("g").as_deref(), Some(r#"{"k":[1,2.50]}"#));
        assert_eq!(text("h").as_deref(), Some("[1,null]"));
        assert_eq!(text("i").as_deref(), Some(""));
        assert!(
            text("j").is_some_and(|text| text.eq_ignore_ascii_case("1e400") || text.eq_ignore_ascii_case("1e+400"))
        );
        assert_eq!(after.get("z"), None);
    }

    #[test]
    fn identity_is_the_id_or_else_the_whole_content() {
        let id = |rest: &str| read(&event(rest)).expect("a sound event").id;
        assert_eq!(id(r#""id":"1","key":{"a":1}"#), id(r#""key":{"a":2},"id":"1""#));
        assert_eq!(id(r#""key":{"a":1,"b":2},"x":1"#), id(r#""x":1, "key":{"b":2, "a":1}"#));
        assert_ne!(id(r#""key":{"a":1},"x":1"#), id(r#""key":{"a":1},"x":2"#), "unknown keys count");
        assert_ne!(id(r#""key":{"a":1}"#), id(r#""key":{"a":"1"}"#));
        assert_ne!(id(r#""key":{"a":1}"#), id(r#""key":{"a":1},"after":{}"#));
        assert_ne!(id(r#""key":{"a":1},"seq":1"#), id(r#""key":{"a":1},"seq":2"#));
    }

    #[test]
    fn damage_is_named() {
        for (line, reason) in [
            (r#"{"ts":"2026"#.to_owned(), "no valid JSON at column"),
            ("[1]".to_owned(), "an event: an object"),
            (event(r#""key":17"#), "an object of columns"),
            (event(r#""key":{}"#), "neither `key` nor an image"),
            (event(r#""x":1"#), "neither `key` nor an image"),
            (event(r#""key":{"a":1,"a":2}"#), "column `a` stands twice"),
            (event(r#""op":"insert""#), "`op` stands there twice"),
            (event(r#""key":{"a":1},"seq":-1"#), "`seq` is -1"),
            (event(r#""key":{"a":1},"seq":18446744073709551615"#), "`seq` is 18446744073709551615"),
            (event(r#""key":{"a":1},"reads":[{"table":"t"}]"#), "`reads`: each must hold its `key`"),
            (event(r#""key":{"a":1},"params":{}"#), "`params` must be a list"),
            (event(r#""key":{"a":1},"release":{}"#), "`release` must be a text"),
            (r#"{"table":"t","op":"insert","key":{"a":1}}"#.to_owned(), "`ts` is missing"),
            (r#"{"ts":"today","table":"t","op":"insert","key":{"a":1}}"#.to_owned(), "`ts`: failed to read 'today'"),
            (r#"{"ts":"2026-03-02T10:15:30Z","table":"a.b.c","op":"insert","key":{"a":1}}"#.to_owned(), "'a.b.c'"),
            (r#"{"ts":"2026-03-02T10:15:30Z","table":"t","op":"upsert","key":{"a":1}}"#.to_owned(), "`op` is 'upsert'"),
        ] {
            let error = read(&line).expect_err(&line);
            assert!(error.contains(reason), "{line}: {error}");
        }
        let truncate = r#"{"ts":"2026-03-02T10:15:30Z","table":"t","op":"truncate"}"#;
        assert_eq!(read(truncate).expect("a truncate needs no key").operation, Operation::Truncate);
    }
}
