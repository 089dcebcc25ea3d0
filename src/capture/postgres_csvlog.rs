//! `postgres-csvlog`: PostgreSQL's `log_destination = 'csvlog'`.
//!
//! In: one record of comma-separated columns, which may span lines; 23 columns up to PostgreSQL 12, 24 with 13, 26 with
//! 14 and newer, and what later versions add behind them is passed over. Out: [`crate::model::LogEvent`]s, as from
//! jsonlog.

use super::format::{Format, LineOutcome, LineReader};
use super::postgres_session::{LogLine, Sessions};
use crate::model::Recording;

/// The columns that every version has.
const FEWEST_COLUMNS: usize = 23;

/// The format `postgres-csvlog`.
pub(super) struct PostgresCsvlog;

impl Format for PostgresCsvlog {
    fn name(&self) -> &'static str {
        "postgres-csvlog"
    }

    fn recognises(&self, line: &str) -> bool {
        begins_record(line.as_bytes())
    }

    fn reader(&self) -> Box<dyn LineReader> {
        Box::new(CsvlogReader::default())
    }
}

#[derive(Default)]
struct CsvlogReader {
    sessions: Sessions,
    /// Whether the record so far ends within a quoted column.
    quoted: bool,
}

impl LineReader for CsvlogReader {
    fn continues(&mut self, line: &[u8]) -> bool {
        let odd_quotes = line.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        // A record that was cut off leaves its column open: what looks like a new one is one.
        let continues = self.quoted && !begins_record(line);
        self.quoted = if continues { self.quoted != odd_quotes } else { odd_quotes };
        continues
    }

    fn read_line(&mut self, line: &str, recording: &mut Recording) -> Result<LineOutcome, String> {
        let columns = columns(line)?;
        if columns.len() < FEWEST_COLUMNS {
            return Err(format!("it has {} columns: a csvlog has {FEWEST_COLUMNS} or more", columns.len()));
        }
        let column = |place: usize| columns.get(place).filter(|text| !text.is_empty()).cloned();
        let required = |place: usize, name: &str| column(place).ok_or_else(|| format!("column {name} is empty"));
        let number = |place: usize, name: &str| -> Result<u64, String> {
            let text = required(place, name)?;
            text.parse().map_err(|_| format!("column {name} is '{text}': expected a number"))
        };
        let line_number = number(6, "session_line_num")?;
        let line = LogLine {
            time: required(0, "log_time")?,
            session: required(5, "session_id")?.into(),
            number: line_number,
            log_number: line_number,
            earlier_ended: None,
            next_number: Some(line_number.saturating_add(1)),
            severity: required(11, "error_severity")?,
            message: column(13).unwrap_or_default(),
            detail: column(14),
            context: column(18),
            statement: column(19),
            transaction: Some(number(10, "transaction_id")?).filter(|xid| *xid != 0),
            virtual_transaction: column(9),
            application_name: column(22),
            database: column(2),
            backend_type: column(23),
        };
        self.sessions.read(line, &mut recording.log)
    }

    fn finish(&mut self, recording: &mut Recording) {
        self.sessions.finish(&mut recording.log);
    }
}

/// Whether a line begins with the columns that every record begins with: time, user, database, process, client,
/// session. Within a quoted column, the quotes around user and database would stand doubled.
fn begins_record(line: &[u8]) -> bool {
    let Ok(beginning) = std::str::from_utf8(line).or_else(|error| std::str::from_utf8(&line[..error.valid_up_to()]))
    else {
        return false;
    };
    let Some((time, rest)) = beginning.split_once(',') else { return false };
    let shape = |byte: u8| if byte.is_ascii_digit() { b'0' } else { byte };
    if !time.bytes().map(shape).take(24).eq(*b"0000-00-00 00:00:00.000 ") {
        return false;
    }
    let mut rest = rest;
    let mut column = || -> Option<String> {
        let (column, after) = first_column(rest)?;
        rest = after?;
        Some(column)
    };
    let (_user, _database) = (column(), column());
    let (process, _client, session) = (column(), column(), column());
    let is_number = |text: String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_session = |text: String| {
        text.split_once('.').is_some_and(|(start, process)| {
            [start, process]
                .into_iter()
                .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
        })
    };
    process.is_some_and(is_number) && session.is_some_and(is_session)
}

fn columns(record: &str) -> Result<Vec<String>, String> {
    let mut columns = Vec::with_capacity(26);
    let mut rest = Some(record);
    while let Some(text) = rest {
        let unreadable = || format!("column {} is not closed: the record is cut off or damaged", columns.len() + 1);
        let (column, after) = first_column(text).ok_or_else(unreadable)?;
        columns.push(column);
        rest = after;
    }
    Ok(columns)
}

/// The first column's text, and what follows the comma behind it; `None` where its quotes are not closed.
pub(super) fn first_column(text: &str) -> Option<(String, Option<&str>)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        return Some(match text.split_once(',') {
            Some((column, after)) => (column.to_owned(), Some(after)),
            None => (text.to_owned(), None),
        });
    };
    let mut column = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        column.push_str(part);
        match after.as_bytes().first() {
            Some(b'"') => {
                column.push('"');
                rest = &after[1..];
            }
            Some(b',') => return Some((column, Some(&after[1..]))),
            None => return Some((column, None)),
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LogEventKind, Value};

    fn record(message: &str, columns_behind: &str) -> String {
        format!(
            "2026-11-23 08:05:46.723 UTC,\"shop\",\"shop\",12893,\"[local]\",6b03f3da.325d,3,\"INSERT\",\
             2026-11-23 08:05:46 UTC,3/45,747,LOG,00000,\"{message}\",\"parameters: $1 = 'a''\"\"b', $2 = NULL\",,,,,,,,\"shop@v42\"{columns_behind}"
        )
    }

    #[test]
    fn every_version_has_the_columns_that_count() {
        for behind in ["", ",\"client backend\"", ",\"client backend\",,0", ",\"client backend\",,0,\"later\""] {
            let mut reader = CsvlogReader::default();
            let mut recording = Recording::default();
            let line = record("duration: 2.500 ms  execute <unnamed>: INSERT\nINTO t", behind);
            assert!(PostgresCsvlog.recognises(&line));
            assert_eq!(reader.read_line(&line, &mut recording), Ok(LineOutcome::Used));
            let [event] = recording.log.as_slice() else { panic!("{:?}", recording.log) };
            assert_eq!(event.kind, LogEventKind::Statement);
            assert_eq!(event.sql.as_deref(), Some("INSERT\nINTO t"));
            assert_eq!(event.parameters, [Some(Value::text("a'\"b")), Some(Value::NULL)]);
            assert_eq!(
                (event.application_name.as_deref(), event.database.as_deref()),
                (Some("shop@v42"), Some("shop"))
            );
        }
        let mut reader = CsvlogReader::default();
        for (damaged, reason) in [("a,b", "2 columns"), ("\"a", "not closed"), ("\"a\"b,c", "not closed")] {
            let refused = reader.read_line(damaged, &mut Recording::default()).expect_err("damaged");
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn a_record_spans_lines_until_its_quotes_close_or_another_begins() {
        let mut reader = CsvlogReader::default();
        let whole = record("statement: SELECT '\"\"\nx\n'", "");
        let mut lines = whole.lines();
        let first = lines.next().expect("a line");
        assert!(!reader.continues(first.as_bytes()));
        assert!(lines.all(|line| reader.continues(line.as_bytes())));
        assert!(!reader.continues(first.as_bytes()));
        assert!(reader.continues(b"cut off here"));
        assert!(!reader.continues(first.as_bytes()), "a new record, though the quotes of the last are open");
        let quoted = first.replace('"', "\"\"");
        assert!(reader.continues(quoted.as_bytes()), "a record that a statement quotes");
    }
}
