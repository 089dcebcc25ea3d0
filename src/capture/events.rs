//! `events`: one write event a line, as an application emits it (docs: the write event).
//!
//! In: `{"ts":…, "table":…, "op":…, "key":{…}, "before":{…}, "after":{…}, …}`. Out: [`RecordedWrite`]s, their cells the
//! text that JSON shows: numbers digit for digit, `true` as PostgreSQL's `t`, objects and lists as their JSON.
//! Keys that the format does not know are let be, and are part of an event's identity.

use std::sync::Arc;

use serde_json::Value as Json;

use super::event_fields::{Fields, Known, value_of_json};
use super::format::{Format, LineOutcome, LineReader};
use super::json_fields::json_reason;
use super::names::Names;
use crate::model::{
    ColumnName, Operation, RecordKey, RecordRead, RecordedWrite, Recording, ReleaseName, Row, ServiceName, SessionId,
    TableName, Timestamp, TraceId, TransactionId,
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

/// What an event says is mostly what the event before it said: that is compared before it is looked up.
#[derive(Default)]
struct EventReader {
    names: Names,
    last_table: Option<(Box<str>, TableName)>,
    last_transaction: Option<Arc<str>>,
    /// The columns of the last `key`, `before` and `after`.
    layouts: [Vec<ColumnName>; 3],
    /// Room for what an event's identity is made of.
    canonical: String,
}

const IMAGES: [Known; 3] = [Known::Key, Known::Before, Known::After];

impl LineReader for EventReader {
    fn read_line(&mut self, line: &str, recording: &mut Recording) -> Result<LineOutcome, String> {
        let fields: Fields<'_> = serde_json::from_str(line).map_err(|error| json_reason(&error))?;
        let write = self.write(&fields)?;
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
    fn write(&mut self, fields: &Fields<'_>) -> Result<RecordedWrite, String> {
        let id = fields.identity(&mut self.canonical)?;
        let ts = fields.required_text(Known::Ts)?;
        let ts: Timestamp = ts.parse().map_err(|error| format!("`ts`: failed to {error}"))?;
        let table = self.table_name(&fields.required_text(Known::Table)?)?;
        let operation = fields.required_text(Known::Op)?;
        let operation = Operation::from_contract(&operation)
            .ok_or_else(|| format!("`op` is '{operation}': expected one of insert, update, delete, truncate"))?;
        let [key, before, after] = [0, 1, 2].map(|kind| self.image(fields, kind));
        let write = RecordedWrite {
            id,
            seq: fields.seq()?,
            ts,
            table,
            operation,
            key: key.unwrap_or_default(),
            before,
            after,
            reads: self.reads(fields)?,
            transaction: fields.text(Known::Tx)?.map(|id| TransactionId(self.transaction_id(&id))),
            session: fields.text(Known::Session)?.map(|id| SessionId(self.names.shared(&id))),
            trace: fields.text(Known::Trace)?.map(|id| TraceId(id.as_ref().into())),
            release: fields.text(Known::Release)?.map(|name| ReleaseName::new(self.names.shared(&name))),
            service: fields.text(Known::Service)?.map(|name| ServiceName::new(self.names.shared(&name))),
            statement: fields.text(Known::Statement)?.map(|sql| self.names.shared(&sql)),
            parameters: fields.list(Known::Params)?.iter().map(value_of_json).collect(),
        };
        let has_image = [Some(&write.key), write.before.as_ref(), write.after.as_ref()];
        if operation != Operation::Truncate && has_image.into_iter().flatten().all(Row::is_empty) {
            return Err("neither `key` nor an image (`before`, `after`) says which record".to_owned());
        }
        Ok(write)
    }

    fn table_name(&mut self, text: &str) -> Result<TableName, String> {
        if let Some((_, name)) = self.last_table.as_ref().filter(|(last, _)| last.as_ref() == text) {
            return Ok(name.clone());
        }
        let name: TableName = text.parse().map_err(|error| format!("`table`: failed to {error}"))?;
        let name = TableName::new(self.names.shared(&name.schema), self.names.shared(&name.table));
        self.last_table = Some((text.into(), name.clone()));
        Ok(name)
    }

    fn transaction_id(&mut self, text: &str) -> Arc<str> {
        if let Some(last) = self.last_transaction.as_ref().filter(|last| last.as_ref() == text) {
            return Arc::clone(last);
        }
        Arc::clone(self.last_transaction.insert(Arc::from(text)))
    }

    /// An image of a kind, by its place in [`IMAGES`].
    fn image(&mut self, fields: &Fields<'_>, kind: usize) -> Option<Row> {
        let (known, layout) = (IMAGES.get(kind)?, self.layouts.get_mut(kind)?);
        let cells = fields.image(*known)?.cells();
        let mut row = Row::with_capacity(cells.len());
        for (place, (column, cell)) in cells.iter().enumerate() {
            let known = layout.get(place).filter(|known| known.as_ref() == column.as_ref());
            let column = match known {
                Some(known) => Arc::clone(known),
                None => {
                    layout.truncate(place);
                    let column = self.names.shared(column);
                    layout.push(Arc::clone(&column));
                    column
                }
            };
            row.push(column, cell.value());
        }
        Some(row)
    }

    fn reads(&mut self, fields: &Fields<'_>) -> Result<Vec<RecordRead>, String> {
        fields
            .list(Known::Reads)?
            .iter()
            .map(|read| self.read(read).map_err(|reason| format!("`reads`: {reason}")))
            .collect()
    }

    fn read(&mut self, read: &Json) -> Result<RecordRead, String> {
        let table = read.get("table").and_then(Json::as_str).ok_or("each must name its `table`")?;
        let key = read.get("key").and_then(Json::as_object).filter(|key| !key.is_empty());
        let key = key.ok_or("each must hold its `key`: an object such as {\"id\": 17}")?;
        let cells = key.iter().map(|(column, value)| (self.names.shared(column), value_of_json(value))).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Value;

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
