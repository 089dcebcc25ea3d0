//! `debezium`: the change events of Debezium's connectors, one message a line.
//!
//! In: events with their envelope, with the schema or without; rows that `ExtractNewRecordState` unwrapped; alone or as
//! Kafka's tools write messages down. Out: [`RecordedWrite`]s, and a stamp for each logical message of our trigger.
//! A snapshot's reads are states and not writes; tombstones, heartbeats, transaction marks and DDL say nothing of rows.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value as Json;

use super::base64;
use super::change_stream::{IdentityParts, LogPosition, PLACES_PER_BYTE, with_unchanged};
use super::debezium_message::{Message, Part};
use super::debezium_values::{cell, field_schema};
use super::format::{Format, LineOutcome, LineReader};
use super::json_fields::{self as fields, Object, member};
use super::names::Names;
use super::read::identity;
use super::stamp::{STAMP_PREFIX, Stamp};
use crate::model::{Operation, RecordedWrite, Recording, RecordingId, Row, TableName, Timestamp, TransactionId, Value};

/// The format `debezium`.
pub(super) struct Debezium;

impl Format for Debezium {
    fn name(&self) -> &'static str {
        "debezium"
    }

    fn recognises(&self, line: &str) -> bool {
        let plain = line.replace('\\', "");
        let is_envelope = has_operation(&plain, "\"op\"") && plain.contains("\"source\"");
        let is_unwrapped = ["\"__deleted\"", "\"__source_ts_ms\"", "\"__op\"", "\"__table\""];
        is_envelope || plain.contains("\"io.debezium.") || is_unwrapped.iter().any(|name| plain.contains(name))
    }

    fn reader(&self) -> Box<dyn LineReader> {
        Box::new(DebeziumReader::default())
    }
}

/// Whether a member of this name holds one of Debezium's letters.
fn has_operation(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(place, _)| {
        let rest = line.get(place + name.len()..).unwrap_or_default().trim_start();
        let letter = rest.strip_prefix(':').map(str::trim_start).and_then(|rest| rest.strip_prefix('"'));
        letter.is_some_and(|rest| rest.starts_with(['c', 'u', 'd', 'r', 't', 'm']) && rest.get(1..2) == Some("\""))
    })
}

#[derive(Default)]
struct DebeziumReader {
    names: Names,
    /// Tables of PostgreSQL that were seen to have REPLICA IDENTITY FULL.
    full: HashSet<TableName>,
    /// The commit before the transaction under way, and the last place given to one of its changes.
    last: Option<(u64, u64)>,
    /// Of everything so far: the identity of rows that nothing else tells apart.
    content: blake3::Hasher,
}

/// One change, its envelope taken off.
struct Change<'message> {
    operation: Operation,
    table: TableName,
    ts: Timestamp,
    before: Option<&'message Object>,
    after: Option<&'message Object>,
    before_schema: Option<&'message Object>,
    after_schema: Option<&'message Object>,
    /// What orders and identifies it; empty for a row that was unwrapped without.
    source: &'message Object,
    key: Option<&'message Part>,
    /// The order within its transaction, from 1.
    order: Option<u64>,
    transaction: Option<String>,
}

impl LineReader for DebeziumReader {
    fn read_line(&mut self, line: &str, recording: &mut Recording) -> Result<LineOutcome, String> {
        let message = Message::parse(line)?;
        let value = match &message.value.value {
            Json::Null => return Ok(LineOutcome::Ignored),
            Json::Object(value) => value,
            _ => return Err("expected a JSON object".to_owned()),
        };
        let is_envelope = value.contains_key("op") && value.get("source").is_some_and(Json::is_object);
        if is_envelope {
            return self.envelope(&message, value, recording);
        }
        // Transaction marks, heartbeats, and MySQL's schema changes.
        let is_mark = value.contains_key("status") && value.contains_key("event_count");
        let is_heartbeat = value.len() == 1 && value.contains_key("ts_ms");
        if is_mark || is_heartbeat || value.contains_key("ddl") {
            return Ok(LineOutcome::Ignored);
        }
        self.unwrapped(&message, value, recording)
    }

    fn finish(&mut self, _recording: &mut Recording) {}
}

impl DebeziumReader {
    fn envelope(
        &mut self,
        message: &Message,
        value: &Object,
        recording: &mut Recording,
    ) -> Result<LineOutcome, String> {
        let source = fields::object(value, "source")?.ok_or("`source` is missing")?;
        let operation = match fields::required_text(value, "op")?.as_str() {
            "c" => Operation::Insert,
            "u" => Operation::Update,
            "d" => Operation::Delete,
            "t" => Operation::Truncate,
            "r" => return Ok(LineOutcome::Ignored),
            "m" => return self.logical_message(value, source, recording),
            other => return Err(format!("`op` is '{other}': expected one of c, u, d, r, t, m")),
        };
        let schema = message.value.schema.as_ref();
        let transaction = fields::object(value, "transaction")?;
        let order = transaction.map(|transaction| fields::integer(transaction, "total_order")).transpose()?.flatten();
        let change = Change {
            operation,
            table: self.table_of_source(source)?,
            ts: time_of(source, "")?.or(time_of(value, "")?).ok_or("`source` says not when: `ts_ms` is missing")?,
            before: fields::object(value, "before")?,
            after: fields::object(value, "after")?,
            before_schema: field_schema(schema, "before"),
            after_schema: field_schema(schema, "after"),
            source,
            key: message.key.as_ref(),
            order: order.and_then(|order| u64::try_from(order).ok()),
            transaction: transaction_of(source, transaction)?,
        };
        let write = self.write(&change)?;
        recording.writes.push(write);
        Ok(LineOutcome::Used)
    }

    /// A row without its envelope: what is known beside its columns stands in fields of their own.
    fn unwrapped(
        &mut self,
        message: &Message,
        value: &Object,
        recording: &mut Recording,
    ) -> Result<LineOutcome, String> {
        let (columns, source) = parted(value);
        let is_deleted = fields::text(&source, "deleted")?;
        let operation = match (fields::text(&source, "op")?.as_deref(), is_deleted.as_deref()) {
            (Some("d"), _) | (_, Some("true")) => Operation::Delete,
            (Some("c"), _) => Operation::Insert,
            (Some("r"), _) => return Ok(LineOutcome::Ignored),
            (Some("t"), _) => Operation::Truncate,
            // Not told: an update claims the least of what stood before.
            (Some("u") | None, _) => Operation::Update,
            (Some(other), _) => return Err(format!("`__op` is '{other}': expected one of c, u, d, r, t")),
        };
        let received = message.received.and_then(|millis| millis.checked_mul(1_000)).map(Timestamp::from_micros);
        let ts = time_of(&source, "source_")?.or(time_of(&source, "")?).or(received);
        let schema = message.value.schema.as_ref();
        let is_delete = operation == Operation::Delete;
        let change = Change {
            operation,
            table: self.table_of_row(&source, schema, message.topic.as_deref())?,
            ts: ts.ok_or("nothing says when: unwrap with add.fields=op,table,source.ts_ms,lsn")?,
            before: is_delete.then_some(&columns),
            after: (!is_delete).then_some(&columns),
            before_schema: schema,
            after_schema: schema,
            source: &source,
            key: message.key.as_ref(),
            order: None,
            transaction: transaction_of(&source, None)?,
        };
        let mut write = self.write(&change)?;
        // What a row is unwrapped from may be told twice, and the row alone says nothing of that.
        if let Some(place) = &message.place
            && !has_position(&source)
        {
            let mut parts = IdentityParts::new("message");
            parts.add(place.as_bytes());
            write.id = parts.finish();
        }
        recording.writes.push(write);
        Ok(LineOutcome::Used)
    }

    fn write(&mut self, change: &Change<'_>) -> Result<RecordedWrite, String> {
        let after = change.after.filter(|_| matches!(change.operation, Operation::Insert | Operation::Update));
        let after = after.map(|columns| self.image(columns, change.after_schema)).transpose()?;
        let before = change.before.filter(|_| matches!(change.operation, Operation::Delete | Operation::Update));
        let before = before.map(|columns| self.image(columns, change.before_schema)).transpose()?;
        let key = match change.key.map(|part| (&part.value, part.schema.as_ref())) {
            Some((Json::Object(columns), schema)) => self.image(columns, schema)?,
            _ => Row::new(),
        };
        let id = self.identity_of(change, &key, before.as_ref(), after.as_ref())?;
        // Without a message key the image before a delete is all that says which record, whatever else it may say.
        let is_named_by_image = change.operation == Operation::Delete && key.is_empty() && self.may_be_filled(change);
        let named = before.as_ref().filter(|_| is_named_by_image).map(naming);
        let before = before.and_then(|before| self.known_before(before, change, &key, after.as_ref()));
        let key = named.unwrap_or(key);
        let after = after.map(|after| with_unchanged(after, before.as_ref()));
        let images = [Some(&key), before.as_ref(), after.as_ref()];
        if change.operation != Operation::Truncate && images.into_iter().flatten().all(Row::is_empty) {
            return Err("neither key nor `before` nor `after` says which record".to_owned());
        }
        Ok(RecordedWrite {
            id,
            seq: self.place(change)?,
            ts: change.ts,
            table: change.table.clone(),
            operation: change.operation,
            key,
            before,
            after,
            reads: Vec::new(),
            transaction: change.transaction.as_deref().map(|id| TransactionId(self.names.shared(id))),
            session: None,
            trace: None,
            release: None,
            service: None,
            statement: None,
            parameters: Vec::new(),
        })
    }

    /// PostgreSQL tells the image before only with REPLICA IDENTITY FULL. Else Debezium fills all but the key with
    /// NULL, or with the default or the zero of a column that cannot be NULL: those are not what stood there.
    fn known_before(&mut self, before: Row, change: &Change<'_>, key: &Row, after: Option<&Row>) -> Option<Row> {
        if !self.may_be_filled(change) {
            return Some(before);
        }
        let is_update = change.operation == Operation::Update;
        let has_the_key = |row: &Row| key.iter().all(|(column, value)| row.get(column) == Some(value));
        let names_a_record = key.iter().any(|(_, value)| !is_filler(value));
        // Of an update that left the key as it was nothing is told of before, unless with FULL. A delete is never
        // proof: what looks like a value may be its column's default.
        if is_update && names_a_record && has_the_key(&before) && after.is_some_and(has_the_key) {
            self.full.insert(change.table.clone());
            return Some(before);
        }
        let told = |(column, value): &(&Arc<str>, &Value)| {
            let of_key = key.get(column).is_some() && !is_update;
            let is_value = !is_filler(value);
            let schema = field_schema(change.before_schema, column);
            of_key || is_value && schema.map_or(is_update && key.is_empty(), |schema| !is_default(value, schema))
        };
        let known = before.iter().filter(told).map(|(column, value)| (Arc::clone(column), value.clone()));
        Some(known.collect::<Row>()).filter(|known| !known.is_empty())
    }

    /// Whether an image before may hold what the connector filled in. MySQL and others always tell the whole row.
    fn may_be_filled(&self, change: &Change<'_>) -> bool {
        let is_postgresql = match fields::text(change.source, "connector").ok().flatten().as_deref() {
            Some(connector) => connector == "postgresql",
            None => member(change.source, "file").is_none(),
        };
        is_postgresql && !self.full.contains(&change.table)
    }

    fn image(&mut self, columns: &Object, schema: Option<&Object>) -> Result<Row, String> {
        let mut row = Row::new();
        for (name, value) in columns {
            let value =
                cell(value, field_schema(schema, name)).map_err(|reason| format!("column `{name}`: {reason}"))?;
            if let Some(value) = value {
                row.push(self.names.shared(name), value);
            }
        }
        Ok(row)
    }

    /// MySQL has no schemas within a database: its database is one.
    fn table_of_source(&mut self, source: &Object) -> Result<TableName, String> {
        let schema =
            fields::text(source, "schema")?.filter(|schema| !schema.is_empty()).or(fields::text(source, "db")?);
        let table = fields::required_text(source, "table").map_err(|reason| format!("`source`: {reason}"))?;
        let schema = schema.unwrap_or_else(|| "public".to_owned());
        Ok(TableName::new(self.names.shared(&schema), self.names.shared(&table)))
    }

    /// From the fields that were added; else from the schema's name or the topic: `server.schema.table`.
    fn table_of_row(
        &mut self,
        source: &Object,
        schema: Option<&Object>,
        topic: Option<&str>,
    ) -> Result<TableName, String> {
        let either = |name: &str| -> Result<Option<String>, String> {
            Ok(fields::text(source, name)?.or(fields::text(source, &format!("source_{name}"))?))
        };
        let named = schema.and_then(|schema| schema.get("name")).and_then(Json::as_str);
        let dotted = named.map(|name| name.strip_suffix(".Value").unwrap_or(name)).or(topic);
        let mut parts = dotted.unwrap_or_default().rsplit('.');
        let (last, before_last) = (parts.next().filter(|part| !part.is_empty()), parts.next());
        let table = either("table")?.or(last.map(str::to_owned));
        let table = table.ok_or("nothing says which table: unwrap with add.fields=op,table,source.ts_ms,lsn")?;
        let schema = either("schema")?.or(before_last.map(str::to_owned)).or(either("db")?);
        let schema = schema.unwrap_or_else(|| "public".to_owned());
        Ok(TableName::new(self.names.shared(&schema), self.names.shared(&table)))
    }

    /// A place in the order of commits: after the commit that PostgreSQL's `sequence` names, or at MySQL's position in
    /// its binary log. Topics come one after the other, so nothing is concluded from the order of lines.
    fn place(&mut self, change: &Change<'_>) -> Result<Option<u64>, String> {
        if let Some(place) = place_in_binary_log(change.source)? {
            return Ok(Some(place));
        }
        let Some(commit) = earlier_commit(change.source) else { return Ok(None) };
        let Some(base) = commit.0.checked_mul(PLACES_PER_BYTE) else { return Ok(None) };
        let place = match (change.order, self.last) {
            (Some(order), _) => base.checked_add(order.min(PLACES_PER_BYTE - 1)),
            (None, Some((before, last))) if before == commit.0 => last.checked_add(1),
            (None, _) => Some(base),
        };
        self.last = place.map(|place| (commit.0, place));
        Ok(place.filter(|place| i64::try_from(*place).is_ok()))
    }

    /// Delivered again, an event says the same of its source.
    fn identity_of(
        &mut self,
        change: &Change<'_>,
        key: &Row,
        before: Option<&Row>,
        after: Option<&Row>,
    ) -> Result<RecordingId, String> {
        let mut parts = IdentityParts::new("debezium");
        for part in [&change.table.schema, &change.table.table] {
            parts.add(part.as_bytes());
        }
        parts.add(change.operation.as_str().as_bytes());
        parts.add(&change.ts.as_micros().to_le_bytes());
        parts.add(&change.order.unwrap_or_default().to_le_bytes());
        parts.add(change.transaction.as_deref().unwrap_or_default().as_bytes());
        for name in POSITIONS {
            parts.add(fields::text(change.source, name)?.unwrap_or_default().as_bytes());
        }
        for row in [Some(key), before, after].into_iter().flatten() {
            for (column, value) in row.iter() {
                parts.add(column.as_bytes());
                parts.add(value.as_str().map_or(b"".as_slice(), str::as_bytes));
                parts.add(&[u8::from(value.is_null())]);
            }
            parts.add(b"");
        }
        if has_position(change.source) || change.order.is_some() {
            return Ok(parts.finish());
        }
        self.content.update(&parts.finish().0);
        Ok(identity(&self.content))
    }

    /// `pg_logical_emit_message`.
    fn logical_message(
        &mut self,
        value: &Object,
        source: &Object,
        recording: &mut Recording,
    ) -> Result<LineOutcome, String> {
        let message = fields::object(value, "message")?.ok_or("`message` is missing")?;
        let transaction = transaction_of(source, None)?;
        let Some(transaction) = transaction.filter(|_| {
            // A message outside of any transaction stays when what it speaks of is rolled back.
            member(message, "prefix").and_then(Json::as_str) == Some(STAMP_PREFIX)
        }) else {
            return Ok(LineOutcome::Ignored);
        };
        let content = fields::required_text(message, "content")?;
        let content = base64::decode(&content).and_then(|bytes| String::from_utf8(bytes).ok());
        let stamp = Stamp::parse(&content.ok_or("`content` is no text in base64")?)?;
        let ts = time_of(source, "")?.ok_or("`source` says not when: `ts_ms` is missing")?;
        let mut parts = IdentityParts::new("debezium stamp");
        parts.add(transaction.as_bytes());
        parts.add(&ts.as_micros().to_le_bytes());
        parts.add(fields::text(source, "lsn")?.unwrap_or_default().as_bytes());
        let base = earlier_commit(source).and_then(|commit| commit.0.checked_mul(PLACES_PER_BYTE));
        let id = TransactionId(self.names.shared(&transaction));
        recording.stamps.push(stamp.of_transaction(id, parts.finish(), base, ts));
        Ok(LineOutcome::Used)
    }
}

/// What tells one change of a source from every other.
const POSITIONS: [&str; 7] = ["lsn", "file", "pos", "row", "change_lsn", "event_serial_no", "scn"];

fn has_position(source: &Object) -> bool {
    POSITIONS.iter().any(|name| member(source, name).is_some())
}

/// NULL, or the zero of a type.
fn is_filler(value: &Value) -> bool {
    match value.as_str() {
        None | Some("" | "f" | "{}" | "\\x" | "1970-01-01" | "1970-01-01 00:00:00" | "1970-01-01 00:00:00+00") => true,
        Some(text) => text.bytes().all(|byte| matches!(byte, b'0' | b'.' | b':' | b'+' | b'(' | b')' | b',')),
    }
}

/// Whether a value is the one that its column takes by itself.
fn is_default(value: &Value, schema: &Object) -> bool {
    let default = schema.get("default").filter(|default| !default.is_null());
    // A default that cannot be read may be any value.
    default.is_some_and(|default| cell(default, Some(schema)).map_or(true, |default| default.as_ref() == Some(value)))
}

/// What may name a record: all but NULLs, and but zeros unless its key is zero itself.
fn naming(row: &Row) -> Row {
    let of = |is_kept: &dyn Fn(&Value) -> bool| -> Row {
        let kept = row.iter().filter(|(_, value)| is_kept(value));
        kept.map(|(column, value)| (Arc::clone(column), value.clone())).collect()
    };
    let values = of(&|value| !is_filler(value));
    if values.is_empty() { of(&|value| !value.is_null()) } else { values }
}

/// Columns, and what stands beside them with `__` before its name.
fn parted(value: &Object) -> (Object, Object) {
    const ADDED: [&str; 15] = [
        "op",
        "deleted",
        "table",
        "schema",
        "db",
        "lsn",
        "txId",
        "ts_ms",
        "ts_us",
        "ts_ns",
        "name",
        "connector",
        "file",
        "pos",
        "row",
    ];
    let (mut columns, mut source) = (Object::new(), Object::new());
    for (name, value) in value {
        let added = name
            .strip_prefix("__")
            .filter(|added| ADDED.contains(added) || added.starts_with("source_") || added.starts_with("transaction_"));
        match added {
            Some(added) => source.insert(added.to_owned(), value.clone()),
            None => columns.insert(name.clone(), value.clone()),
        };
    }
    for name in POSITIONS.into_iter().chain(["connector", "sequence", "txId"]) {
        if let Some(value) = source.get(&format!("source_{name}")).cloned() {
            source.entry(name).or_insert(value);
        }
    }
    (columns, source)
}

/// To the microsecond where the connector tells it.
fn time_of(object: &Object, prefix: &str) -> Result<Option<Timestamp>, String> {
    let number = |unit: &str| fields::integer(object, &format!("{prefix}ts_{unit}")).map(|n| n.filter(|n| *n > 0));
    let micros = match (number("us")?, number("ns")?, number("ms")?) {
        (Some(micros), _, _) => Some(micros),
        (None, Some(nanos), _) => Some(nanos.div_euclid(1_000)),
        (None, None, Some(millis)) => millis.checked_mul(1_000),
        (None, None, None) => None,
    };
    Ok(micros.map(Timestamp::from_micros))
}

fn transaction_of(source: &Object, transaction: Option<&Object>) -> Result<Option<String>, String> {
    for name in ["txId", "gtid", "commit_lsn"] {
        if let Some(id) = fields::text(source, name)?.filter(|id| !id.is_empty()) {
            return Ok(Some(id));
        }
    }
    transaction.map_or(Ok(None), |transaction| fields::text(transaction, "id"))
}

/// `"sequence":"[\"24023119\",\"24023128\"]"`: the last commit before this transaction, and the change itself.
fn earlier_commit(source: &Object) -> Option<LogPosition> {
    let sequence: Vec<Option<String>> = serde_json::from_str(member(source, "sequence")?.as_str()?).ok()?;
    sequence.first()?.as_ref()?.parse().ok().map(LogPosition)
}

/// MySQL writes whole transactions, in the order of commits: `mysql-bin.000003`, the event's position, the row in it.
fn place_in_binary_log(source: &Object) -> Result<Option<u64>, String> {
    let (Some(file), Some(position)) = (fields::text(source, "file")?, fields::integer(source, "pos")?) else {
        return Ok(None);
    };
    let number = file.rsplit('.').next().and_then(|number| number.parse::<u64>().ok()).filter(|file| *file < 1 << 20);
    let position = u64::try_from(position).ok().filter(|position| *position < 1 << 32);
    let row = fields::integer(source, "row")?.and_then(|row| u64::try_from(row).ok()).unwrap_or_default();
    Ok(number.zip(position).map(|(number, position)| number << 43 | position << 11 | row.min(2_047)))
}
