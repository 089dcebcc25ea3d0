//! `wal2json`: what PostgreSQL's output plugin of that name writes, in both its formats.
//!
//! In: a transaction a line (format 1), its changes a line each between two more (format 1 with `write-in-chunks`), or a
//! change a line (format 2); each also behind the `lsn|xid|` with which psql prints a slot's changes. Out: a
//! [`crate::model::RecordedWrite`] for each row change, and a stamp for each message of our trigger.
//!
//! What the plugin does not tell stays unknown: an oversized value that did not change is no part of the image after,
//! and format 1 leaves NULLs out of the image before. `NaN` and infinite numbers it writes as `null`.

use std::sync::Arc;

use serde_json::Value as Json;

use super::change_stream::{ChangeStream, LogPosition, RowChange, TransactionHead, add_column, with_unchanged};
use super::format::{Format, LineOutcome, LineReader};
use super::json_fields::{self as fields, Object};
use super::names::Names;
use super::stamp::{STAMP_PREFIX, Stamp};
use crate::model::{Operation, Recording, Row, TableName, TransactionId, Value};

/// PostgreSQL's `bytea`, by its object id.
const BYTEA_OID: u64 = 17;

/// The format `wal2json`.
pub(super) struct Wal2json;

impl Format for Wal2json {
    fn name(&self) -> &'static str {
        "wal2json"
    }

    fn recognises(&self, line: &str) -> bool {
        let (_, line) = without_slot_columns(line.trim_start());
        let is_action = line.strip_prefix(r#"{"action":""#).is_some_and(|rest| {
            let mut rest = rest.chars();
            rest.next().is_some_and(|action| "BCIUDTM".contains(action)) && rest.next() == Some('"')
        });
        is_action || line.starts_with('{') && line.contains(r#""change":["#)
    }

    fn reader(&self) -> Box<dyn LineReader> {
        Box::new(Wal2jsonReader::default())
    }
}

#[derive(Default)]
struct Wal2jsonReader {
    names: Names,
    stream: ChangeStream,
}

/// What psql prints before a slot's change.
#[derive(Default)]
struct SlotColumns<'line> {
    position: Option<LogPosition>,
    transaction: Option<&'line str>,
}

/// `0/33F27A0|1179|{…}`, also with tabs.
fn without_slot_columns(line: &str) -> (SlotColumns<'_>, &str) {
    let columns = || {
        let (position, rest) = line.split_once(['|', '\t'])?;
        let (transaction, rest) = rest.split_once(['|', '\t'])?;
        let position = LogPosition::parse(position.trim()).ok()?;
        let transaction = transaction.trim();
        let is_number = !transaction.is_empty() && transaction.bytes().all(|digit| digit.is_ascii_digit());
        let columns = SlotColumns { position: Some(position), transaction: Some(transaction) };
        is_number.then_some((columns, rest.trim_start()))
    };
    let whole_line = || (SlotColumns::default(), line);
    if line.starts_with('{') { whole_line() } else { columns().unwrap_or_else(whole_line) }
}

impl LineReader for Wal2jsonReader {
    fn read_line(&mut self, line: &str, recording: &mut Recording) -> Result<LineOutcome, String> {
        let (columns, line) = without_slot_columns(line.trim());
        // With write-in-chunks a transaction's brackets stand on lines of their own.
        if line == "]}" {
            return Ok(LineOutcome::Ignored);
        }
        let line = line.strip_prefix(',').unwrap_or(line);
        let object = if line.starts_with('{') && line.ends_with(r#""change":["#) {
            fields::object_of_line(&format!("{line}]}}"))?
        } else if line.starts_with(r#"{"change":[,"#) {
            // So format 1 writes a message that belongs to no transaction.
            fields::object_of_line(&line.replacen(r#"{"change":[,"#, r#"{"change":["#, 1))?
        } else {
            fields::object_of_line(line)?
        };
        if object.contains_key("action") {
            self.action(&object, &columns, recording)
        } else if object.contains_key("change") {
            self.transaction(&object, &columns, recording)
        } else if object.contains_key("kind") {
            self.change(&object, recording)
        } else {
            Err("neither `action` nor `change` nor `kind`: written by wal2json with pretty-print=off?".to_owned())
        }
    }

    fn finish(&mut self, _recording: &mut Recording) {}
}

impl Wal2jsonReader {
    /// A line of format 2.
    fn action(
        &mut self,
        object: &Object,
        columns: &SlotColumns<'_>,
        recording: &mut Recording,
    ) -> Result<LineOutcome, String> {
        let action = fields::required_text(object, "action")?;
        if action == "B" {
            let head = self.head(object, columns)?;
            self.stream.begin(head);
            return Ok(LineOutcome::Ignored);
        }
        if action == "C" {
            return Ok(LineOutcome::Ignored);
        }
        if action == "M" && !is_stamp(object)? {
            return Ok(LineOutcome::Ignored);
        }
        let head = self.head(object, columns)?;
        self.stream.belongs_to(head.id, head.committed);
        let operation = match action.as_str() {
            "M" => return self.stamp(object, recording),
            "I" => Operation::Insert,
            "U" => Operation::Update,
            "D" => Operation::Delete,
            "T" => Operation::Truncate,
            other => return Err(format!("`action` is '{other}': expected one of B, I, U, D, T, M, C")),
        };
        let after = self.image_of_columns(fields::list(object, "columns")?)?;
        let before = self.image_of_columns(fields::list(object, "identity")?)?;
        let key = fields::list(object, "pk")?.iter().map(|column| {
            column.get("name").and_then(Json::as_str).ok_or_else(|| "`pk` must be a list of columns".to_owned())
        });
        let key: Vec<&str> = key.collect::<Result<_, _>>()?;
        self.row_change(object, operation, before, after, &key, recording)
    }

    /// A line of format 1: a transaction with all its changes. What of it can be read is recorded, whatever else
    /// stands in the line.
    fn transaction(
        &mut self,
        object: &Object,
        columns: &SlotColumns<'_>,
        recording: &mut Recording,
    ) -> Result<LineOutcome, String> {
        let head = self.head(object, columns)?;
        self.stream.begin(head);
        let changes = fields::list(object, "change")?;
        let mut outcome = LineOutcome::Ignored;
        let mut damage: Vec<String> = Vec::new();
        for (number, change) in (1_usize..).zip(changes) {
            let read = match change {
                Json::Object(change) => self.change(change, recording),
                _ => Err("it must be an object".to_owned()),
            };
            match read {
                Ok(LineOutcome::Used) => outcome = LineOutcome::Used,
                Ok(LineOutcome::Ignored) => {}
                Err(reason) => damage.push(format!("change {number} of {}: {reason}", changes.len())),
            }
        }
        match damage.first() {
            None => Ok(outcome),
            Some(first) if damage.len() == changes.len() => Err(first.clone()),
            Some(first) => Err(format!("{first} ({} such changes; the others are recorded)", damage.len())),
        }
    }

    /// One change of format 1.
    fn change(&mut self, object: &Object, recording: &mut Recording) -> Result<LineOutcome, String> {
        let operation = match fields::required_text(object, "kind")?.as_str() {
            "message" if is_stamp(object)? => return self.stamp(object, recording),
            "message" => return Ok(LineOutcome::Ignored),
            other => Operation::from_contract(other).ok_or_else(|| {
                format!("`kind` is '{other}': expected one of insert, update, delete, truncate, message")
            })?,
        };
        let after = self.image_of_lists(object, "column")?;
        let before = match fields::object(object, "oldkeys")? {
            Some(old) => self.image_of_lists(old, "key")?,
            None => None,
        };
        let key = match fields::object(object, "pk")? {
            Some(key) => texts(key, "pknames")?,
            None => Vec::new(),
        };
        self.row_change(object, operation, before, after, &key, recording)
    }

    fn row_change(
        &mut self,
        object: &Object,
        operation: Operation,
        before: Option<Row>,
        after: Option<Row>,
        key: &[&str],
        recording: &mut Recording,
    ) -> Result<LineOutcome, String> {
        let schema = fields::text(object, "schema")?.unwrap_or_else(|| "public".to_owned());
        let table = fields::required_text(object, "table")?;
        let table = TableName::new(self.names.shared(&schema), self.names.shared(&table));
        let (before, after) = match operation {
            Operation::Insert => (None, after),
            Operation::Update => {
                let after = after.map(|after| with_unchanged(after, before.as_ref()));
                (before, after)
            }
            Operation::Delete => (before, None),
            Operation::Truncate => (None, None),
        };
        if operation != Operation::Truncate && before.is_none() && after.is_none() {
            return Err("neither `columns` nor `identity` says which record".to_owned());
        }
        let image = after.as_ref().or(before.as_ref());
        let cell = |name: &&str| Some((self.names.shared(name), image?.get(name)?.clone()));
        let key: Option<Row> = key.iter().map(cell).collect();
        let change = RowChange { table, operation, key: key.unwrap_or_default(), before, after };
        recording.writes.push(self.stream.write(change)?);
        Ok(LineOutcome::Used)
    }

    fn stamp(&mut self, object: &Object, recording: &mut Recording) -> Result<LineOutcome, String> {
        let stamp = Stamp::parse(&fields::required_text(object, "content")?)?;
        recording.stamps.push(self.stream.stamp(stamp)?);
        Ok(LineOutcome::Used)
    }

    fn head(&mut self, object: &Object, columns: &SlotColumns<'_>) -> Result<TransactionHead, String> {
        let id = fields::text(object, "xid")?;
        let id = id.as_deref().or(columns.transaction).map(|id| TransactionId(self.names.shared(id)));
        // Where the commit ends, which both formats tell; else where it stands.
        let end = fields::text(object, "nextlsn")?.or(fields::text(object, "lsn")?);
        let position = end.map(|end| LogPosition::parse(&end)).transpose()?.or(columns.position);
        Ok(TransactionHead { id, committed: fields::time(object, "timestamp")?, position })
    }

    /// `[{"name":"id","type":"bigint","value":1}, …]`; `None` for no column at all.
    fn image_of_columns(&mut self, columns: &[Json]) -> Result<Option<Row>, String> {
        let mut row = Row::new();
        for column in columns {
            let Json::Object(column) = column else { return Err("each column must be an object".to_owned()) };
            let name = fields::required_text(column, "name")?;
            let Some(value) = column.get("value") else { return Err(format!("column `{name}` has no `value`")) };
            let type_name = column.get("type").and_then(Json::as_str);
            let type_id = column.get("typeoid");
            let not_null = column.get("optional").and_then(Json::as_bool) == Some(false);
            let value = cell(&name, value, type_name, type_id, not_null)?;
            add_column(&mut row, self.names.shared(&name), value)?;
        }
        Ok(Some(row).filter(|row| !row.is_empty()))
    }

    /// `"columnnames":["id"],"columntypes":["bigint"],"columnvalues":[1]`; `None` for no column at all.
    fn image_of_lists(&mut self, object: &Object, kind: &str) -> Result<Option<Row>, String> {
        let names = texts(object, &format!("{kind}names"))?;
        let values = fields::list(object, &format!("{kind}values"))?;
        if names.len() != values.len() {
            return Err(format!("{} names and {} values of `{kind}names`", names.len(), values.len()));
        }
        let types = fields::list(object, &format!("{kind}types"))?;
        let type_ids = fields::list(object, &format!("{kind}typeoids"))?;
        let optionals = fields::list(object, &format!("{kind}optionals"))?;
        let mut row = Row::new();
        for (place, (name, value)) in names.iter().zip(values).enumerate() {
            let type_name = types.get(place).and_then(Json::as_str);
            let not_null = optionals.get(place).and_then(Json::as_bool) == Some(false);
            let value = cell(name, value, type_name, type_ids.get(place), not_null)?;
            add_column(&mut row, self.names.shared(name), value)?;
        }
        Ok(Some(row).filter(|row| !row.is_empty()))
    }
}

fn is_stamp(object: &Object) -> Result<bool, String> {
    // A message outside of the transaction stays when the transaction is rolled back.
    let transactional = fields::member(object, "transactional").and_then(Json::as_bool) == Some(true);
    Ok(transactional && fields::text(object, "prefix")?.as_deref() == Some(STAMP_PREFIX))
}

fn texts<'json>(object: &'json Object, name: &str) -> Result<Vec<&'json str>, String> {
    let texts = fields::list(object, name)?.iter().map(Json::as_str).collect::<Option<_>>();
    texts.ok_or_else(|| format!("`{name}` must be a list of texts"))
}

/// A value as PostgreSQL prints it: the plugin writes numbers and booleans as JSON's, and `bytea` without its `\x`.
fn cell(
    column: &str,
    value: &Json,
    type_name: Option<&str>,
    type_id: Option<&Json>,
    not_null: bool,
) -> Result<Value, String> {
    Ok(match value {
        Json::Null if not_null => {
            return Err(format!(
                "column `{column}` is NOT NULL and null: wal2json writes NaN and Infinity so, and which it was is lost"
            ));
        }
        Json::Null => Value::NULL,
        Json::Bool(true) => Value::text("t"),
        Json::Bool(false) => Value::text("f"),
        Json::Number(number) => Value::text(number.to_string()),
        Json::String(text) => {
            let is_bytea = type_name == Some("bytea") || type_id.and_then(Json::as_u64) == Some(BYTEA_OID);
            let is_hex = || text.len() % 2 == 0 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_bytea && is_hex() { Value::text(format!("\\x{text}")) } else { Value::text(Arc::from(text.as_str())) }
        }
        Json::Array(_) | Json::Object(_) => return Err(format!("column `{column}` must hold a plain value")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SessionId;

    const HEAD: &str = r#""xid":7,"timestamp":"2026-03-02 10:15:30.5+00""#;

    fn read(lines: &[&str]) -> (Recording, Vec<String>) {
        let mut recording = Recording::default();
        let mut reader = Wal2jsonReader::default();
        let refused = lines.iter().filter_map(|line| reader.read_line(line, &mut recording).err()).collect();
        (recording, refused)
    }

    fn read_all(lines: &[&str]) -> Recording {
        let (recording, refused) = read(lines);
        assert_eq!(refused, [] as [String; 0]);
        recording
    }

    fn text(row: Option<&Row>, column: &str) -> Option<Option<String>> {
        row.and_then(|row| row.get(column)).map(|value| value.as_str().map(str::to_owned))
    }

    #[test]
    fn both_formats_tell_the_same_writes() {
        let second = read_all(&[
            &format!(r#"{{"action":"B",{HEAD},"lsn":"0/33F27A0","nextlsn":"0/33F27D0"}}"#),
            &format!(
                r#"{{"action":"U",{HEAD},"lsn":"0/1","schema":"public","table":"Weird Name","columns":[{{"name":"id","type":"bigint","value":1}},{{"name":"n","type":"numeric","value":12345678901234567890.10}}],"identity":[{{"name":"id","type":"bigint","value":1}}],"pk":[{{"name":"id","type":"bigint"}}]}}"#
            ),
            &format!(r#"{{"action":"C",{HEAD},"lsn":"0/33F27A0","nextlsn":"0/33F27D0"}}"#),
        ]);
        let change = r#"{"kind":"update","schema":"public","table":"Weird Name","columnnames":["id","n"],"columntypes":["bigint","numeric"],"columnvalues":[1,12345678901234567890.10],"pk":{"pknames":["id"],"pktypes":["bigint"]},"oldkeys":{"keynames":["id"],"keytypes":["bigint"],"keyvalues":[1]}}"#;
        let first = read_all(&[&format!(r#"{{{HEAD},"nextlsn":"0/33F27D0","change":[{change}]}}"#)]);
        let head = format!(r#"{{{HEAD},"nextlsn":"0/33F27D0","change":["#);
        let chunks = read_all(&[&head, change, "]}"]);
        let from_slot = read_all(&[&format!(r#"0/33F27D0|7|{{{HEAD},"change":[{change}]}}"#)]);
        assert_eq!(second.writes.len(), 1);
        assert_eq!(second.writes[0].seq, Some(0x33F_27D0 * 4096));
        assert_eq!(second.writes[0].key.get("id"), Some(&Value::text("1")));
        assert_eq!(text(second.writes[0].after.as_ref(), "n"), Some(Some("12345678901234567890.10".into())));
        assert_eq!(first, second);
        assert_eq!(chunks, second);
        assert_eq!(from_slot, second);
    }

    #[test]
    fn values_are_postgresql_s_text() {
        let recording = read_all(&[&format!(
            r#"{{"action":"I",{HEAD},"schema":"s","table":"t","columns":[
                {{"name":"b","type":"bytea","value":"00ff"}},{{"name":"t","type":"text","value":"00ff"}},
                {{"name":"y","type":"boolean","value":true}},{{"name":"f","type":"double precision","value":1e+20}},
                {{"name":"a","type":"integer[]","value":"{{1,NULL}}"}},{{"name":"o","typeoid":17,"value":"0a"}},
                {{"name":"x","type":"numeric","value":null}},{{"name":"ts","type":"timestamp without time zone","value":"infinity"}}]}}"#
        )]);
        let after = recording.writes[0].after.as_ref();
        for (column, printed) in [
            ("b", Some("\\x00ff")),
            ("t", Some("00ff")),
            ("y", Some("t")),
            ("f", Some("1e+20")),
            ("a", Some("{1,NULL}")),
            ("o", Some("\\x0a")),
            ("x", None),
            ("ts", Some("infinity")),
        ] {
            assert_eq!(text(after, column), Some(printed.map(str::to_owned)), "{column}");
        }
    }

    #[test]
    fn what_did_not_change_comes_from_the_identity_or_is_unknown() {
        let update = |identity: &str| {
            let recording = read_all(&[&format!(
                r#"{{"action":"U",{HEAD},"schema":"s","table":"t","columns":[{{"name":"id","type":"int","value":1}}],"identity":[{identity}]}}"#
            )]);
            text(recording.writes[0].after.as_ref(), "big")
        };
        let key = r#"{"name":"id","type":"int","value":1}"#;
        assert_eq!(update(key), None, "unknown, which is not NULL");
        assert_eq!(update(&format!(r#"{key},{{"name":"big","type":"text","value":"x"}}"#)), Some(Some("x".into())));
    }

    #[test]
    fn a_stamp_tells_the_session_and_other_messages_are_passed_over() {
        let stamp = r#"{"action":"M","xid":7,"timestamp":"2026-03-02 10:15:30.5+00","transactional":true,"prefix":"blast_radius","content":"{\"session_id\":\"69a5b1c2.1a2b\",\"application_name\":\"shop@v42\"}"}"#;
        let recording = read_all(&[
            r#"{"action":"M","xid":null,"timestamp":null,"lsn":"0/1","transactional":false,"prefix":"blast_radius","content":"x"}"#,
            r#"{"action":"M","xid":6,"transactional":true,"prefix":"app","content":"free text"}"#,
            r#"{"change":[,{"kind":"message","transactional":false,"prefix":"heartbeat","content":"x"}]}"#,
            &format!(r#"{{"action":"B",{HEAD},"nextlsn":"0/10"}}"#),
            stamp,
            r#"{"action":"T","xid":7,"schema":"s","table":"t"}"#,
        ]);
        assert_eq!(recording.stamps.len(), 1);
        assert_eq!(recording.stamps[0].session, Some(SessionId("69a5b1c2.1a2b".into())));
        assert_eq!(recording.stamps[0].application_name.as_deref(), Some("shop@v42"));
        assert_eq!(recording.writes[0].operation, Operation::Truncate);
        assert_eq!(Some(&recording.stamps[0].transaction), recording.writes[0].transaction.as_ref());
        assert!(recording.stamps[0].seq < recording.writes[0].seq);
    }

    #[test]
    fn damage_is_named_and_costs_nothing_else_in_the_line() {
        for (line, reason) in [
            (r#"{"action":"B""#, "no valid JSON"),
            ("{", "no valid JSON"),
            ("[]", "a JSON object"),
            ("{}", "pretty-print=off"),
            (r#"{"action":"X"}"#, "`action` is 'X'"),
            (r#"{"action":"I","schema":"s","columns":[{"name":"a","value":1}]}"#, "`table` is missing"),
            (r#"{"action":"I","table":"t","columns":[]}"#, "which record"),
            (r#"{"action":"I","table":"t","columns":[{"name":"a","value":1}]}"#, "include-timestamp"),
            (r#"{"action":"I","table":"t","columns":[{"name":"a"}]}"#, "column `a` has no `value`"),
            (r#"{"action":"I","table":"t","columns":[{"name":"a","value":1},{"name":"a","value":1}]}"#, "twice"),
            (r#"{"action":"I","table":"t","columns":[{"name":"a","optional":false,"value":null}]}"#, "NaN"),
            (r#"{"kind":"insert","table":"t","columnnames":["a"],"columnvalues":[]}"#, "1 names and 0 values"),
            (r#"{"change":{}}"#, "`change` must be a list"),
        ] {
            let (recording, refused) = read(&[line]);
            assert_eq!(recording, Recording::default(), "{line}");
            assert!(refused[0].contains(reason), "{line}: {refused:?}");
        }
        let sound = r#"{"kind":"insert","table":"t","columnnames":["a"],"columnvalues":[1]}"#;
        let (recording, refused) = read(&[&format!(r#"{{{HEAD},"change":[{sound},{{"kind":"merge"}},{sound}]}}"#)]);
        assert_eq!(recording.writes.len(), 2);
        assert!(refused[0].starts_with("change 2 of 3: `kind` is 'merge'"), "{refused:?}");
    }

    #[test]
    fn its_lines_are_recognised_and_no_others() {
        for line in [
            r#"{"action":"B","xid":1}"#,
            r#"{"action":"B"}"#,
            r#"{"change":[{"kind":"insert""#,
            r#"{"xid":1179,"change":["#,
            r#"0/33F27A0|1179|{"action":"C"}"#,
        ] {
            assert!(Wal2json.recognises(line), "{line}");
        }
        for line in [r#"{"ts":"2026","table":"t","op":"insert"}"#, r#"{"action":"checkout"}"#, "0/1|7|COMMIT 7", ""] {
            assert!(!Wal2json.recognises(line), "{line}");
        }
    }
}
