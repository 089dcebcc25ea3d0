//! `log`: the events of the SQL logs.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};

use super::StoreError;
use super::batch::{BatchBuilder, POSITION, ReadBatch, integer_at, text_at, time_at};
use super::writes_table::Texts;
use crate::model::{LogEvent, LogEventKind, SessionId, Timestamp, TransactionId, Value};

/// The table's folder within the store.
pub(super) const FOLDER: &str = "log";

fn kind_name(kind: LogEventKind) -> &'static str {
    match kind {
        LogEventKind::Statement => "statement",
        LogEventKind::Error => "error",
        LogEventKind::Disconnection => "disconnection",
    }
}

fn kind_of_name(name: &str) -> Option<LogEventKind> {
    [LogEventKind::Statement, LogEventKind::Error, LogEventKind::Disconnection]
        .into_iter()
        .find(|kind| kind_name(*kind) == name)
}

/// Events, each with its place in the order of arrival, as one batch.
pub(super) fn batch_of_log(rows: &[(i64, &LogEvent)]) -> Result<RecordBatch, StoreError> {
    let lines: Result<Vec<i64>, _> = rows.iter().map(|(_, event)| i64::try_from(event.line)).collect();
    let lines = lines.map_err(|_| StoreError::record(FOLDER, format!("its line number is over {}", i64::MAX)))?;
    let events = || rows.iter().map(|(_, event)| *event);
    let parameters: Vec<Option<String>> = events().map(|event| json_of_parameters(&event.parameters)).collect();
    let mut batch = BatchBuilder::default();
    batch.integer(POSITION, rows.iter().map(|(position, _)| Some(*position)));
    batch.time("ts", events().map(|event| Some(event.ts)));
    batch.time("started", events().map(|event| Some(event.started)));
    batch.text("session", events().map(|event| Some(event.session.0.as_ref())));
    batch.integer("line", lines.into_iter().map(Some));
    batch.text("kind", events().map(|event| Some(kind_name(event.kind))));
    batch.text("tx", events().map(|event| event.transaction.as_ref().map(|id| id.0.as_ref())));
    batch.text("vxid", events().map(|event| event.virtual_transaction.as_deref()));
    batch.text("application_name", events().map(|event| event.application_name.as_deref()));
    batch.text("database", events().map(|event| event.database.as_deref()));
    batch.text("sql", events().map(|event| event.sql.as_deref()));
    batch.text("prepared", events().map(|event| event.prepared.as_deref()));
    batch.text("params", parameters.iter().map(Option::as_deref));
    batch.text("message", events().map(|event| event.message.as_deref()));
    batch.identities(events().map(|event| &event.id));
    batch.finish(FOLDER)
}

/// What [`batch_of_log`] wrote, read back.
pub(super) fn log_of_batch(batch: &RecordBatch, texts: &mut Texts) -> Result<Vec<(i64, LogEvent)>, StoreError> {
    let read = ReadBatch { batch, table: FOLDER };
    let ids = read.identities()?;
    let (positions, lines) = (read.integer(POSITION)?, read.integer("line")?);
    let (times, starts) = (read.time("ts")?, read.time("started")?);
    let (sessions, kinds, transactions) = (read.text("session")?, read.text("kind")?, read.text("tx")?);
    let (virtual_transactions, applications) = (read.text("vxid")?, read.text("application_name")?);
    let (statements, parameters, messages) = (read.text("sql")?, read.text("params")?, read.text("message")?);
    let (databases, prepared) = (read.text("database")?, read.text("prepared")?);
    let mut events = Vec::with_capacity(batch.num_rows());
    for (row, id) in ids.into_iter().enumerate() {
        let mut shared = |column: &StringArray| text_at(column, row).map(|text| texts.shared(text));
        let line = integer_at(&lines, row).and_then(|line| u64::try_from(line).ok());
        let parameters = parameters_of_json(text_at(&parameters, row));
        let event = LogEvent {
            id,
            session: SessionId(read.required(shared(&sessions), "session")?),
            line: read.required(line, "line")?,
            ts: read.required(time_at(&times, row), "ts")?,
            started: read.required(time_at(&starts, row), "started")?,
            kind: read.required(text_at(&kinds, row).and_then(kind_of_name), "kind")?,
            transaction: shared(&transactions).map(TransactionId),
            virtual_transaction: shared(&virtual_transactions),
            application_name: shared(&applications),
            database: shared(&databases),
            sql: shared(&statements),
            prepared: shared(&prepared),
            parameters: parameters.map_err(|error| StoreError::content(FOLDER, error))?,
            message: shared(&messages),
        };
        events.push((read.required(integer_at(&positions, row), POSITION)?, event));
    }
    Ok(events)
}

/// Parameters as a JSON list: a text, `null` for NULL, `false` for one that is not known; `None` for no parameters.
fn json_of_parameters(parameters: &[Option<Value>]) -> Option<String> {
    let json = |parameter: &Option<Value>| match parameter {
        None => serde_json::Value::Bool(false),
        Some(value) => value.as_str().map(serde_json::Value::from).unwrap_or_default(),
    };
    (!parameters.is_empty()).then(|| serde_json::Value::Array(parameters.iter().map(json).collect()).to_string())
}

/// What [`json_of_parameters`] wrote.
fn parameters_of_json(json: Option<&str>) -> Result<Vec<Option<Value>>, String> {
    let Some(json) = json else { return Ok(Vec::new()) };
    let parameters: Vec<serde_json::Value> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let parameter = |json| match json {
        serde_json::Value::Null => Ok(Some(Value::NULL)),
        serde_json::Value::Bool(false) => Ok(None),
        serde_json::Value::String(text) => Ok(Some(Value::text(text))),
        other => Err(format!("{other} is no parameter")),
    };
    parameters.into_iter().map(parameter).collect()
}

/// Each execution once: where a log was read before the end of a statement was in it, and again when it was, the end
/// is what counts. In the order of arrival.
pub fn complete(mut events: Vec<(i64, LogEvent)>) -> Vec<LogEvent> {
    events.sort_by_key(|(position, _)| *position);
    let length = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
    let told = |event: &LogEvent| -> (bool, Timestamp, bool, [usize; 3]) {
        // Of a line that was read before it was written to its end the longer text is the whole one.
        let lengths = [length(&event.sql), event.parameters.len(), length(&event.message)];
        (event.kind != LogEventKind::Statement, event.ts, event.transaction.is_some(), lengths)
    };
    let mut places: HashMap<(SessionId, u64, Timestamp), usize> = HashMap::with_capacity(events.len());
    let mut complete: Vec<LogEvent> = Vec::with_capacity(events.len());
    for (_, event) in events {
        let place = (event.session.clone(), event.line, event.started);
        match places.get(&place) {
            None => {
                places.insert(place, complete.len());
                complete.push(event);
            }
            Some(held) => {
                if let Some(held) = complete.get_mut(*held).filter(|held| told(held) < told(&event)) {
                    *held = event;
                }
            }
        }
    }
    complete
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RecordingId;

    #[test]
    fn of_a_statement_read_twice_the_end_counts() {
        let begun = LogEvent {
            id: RecordingId([1; 16]),
            session: SessionId("s".into()),
            line: 1,
            ts: Timestamp::from_micros(10),
            started: Timestamp::from_micros(10),
            kind: LogEventKind::Statement,
            transaction: None,
            virtual_transaction: None,
            application_name: None,
            database: None,
            sql: Some("INSERT".into()),
            prepared: None,
            parameters: Vec::new(),
            message: None,
        };
        let ended = LogEvent { id: RecordingId([2; 16]), ts: Timestamp::from_micros(20), ..begun.clone() };
        let failed = LogEvent { id: RecordingId([3; 16]), kind: LogEventKind::Error, ..begun.clone() };
        let other = LogEvent { id: RecordingId([4; 16]), line: 2, ..begun.clone() };
        for order in [[&begun, &ended], [&ended, &begun]] {
            let events = vec![(1, order[0].clone()), (2, other.clone()), (3, order[1].clone())];
            assert_eq!(complete(events), [ended.clone(), other.clone()]);
        }
        assert_eq!(complete(vec![(1, begun), (2, failed.clone())]), [failed]);
        // Read before it was written to its end.
        let cut = LogEvent { id: RecordingId([5; 16]), sql: Some("INS".into()), ..ended.clone() };
        let bound = LogEvent { id: RecordingId([6; 16]), parameters: vec![None], ..ended.clone() };
        for (part, whole) in [(&cut, &ended), (&ended, &bound)] {
            for order in [[part, whole], [whole, part]] {
                let events = order.into_iter().cloned().enumerate().map(|(place, event)| (place as i64, event));
                assert_eq!(complete(events.collect()), std::slice::from_ref(whole));
            }
        }
    }
}
