//! `postgres-stderr`: PostgreSQL's plain log (`log_destination = 'stderr'`), with any `log_line_prefix`.
//!
//! In: lines that begin with the prefix; a message goes on in lines that begin with a tab, and in the lines of the same
//! process that say `DETAIL`, `STATEMENT` and the like. Out: [`crate::model::LogEvent`]s, as from jsonlog. Without `%c` or
//! `%s` a session is known by its process alone, which serves several: then, and without `%l`, lines are numbered by their
//! time.

use std::collections::HashMap;
use std::sync::Arc;

use super::CaptureError;
use super::format::{Beginning, Format, LineOutcome, LineReader};
use super::postgres_message::{connection_of_message, parse_log_time};
use super::postgres_prefix::{LogLinePrefix, PrefixFields};
use super::postgres_session::{LogLine, Sessions, read_so_far};
use crate::model::{Recording, Timestamp};

/// What a message's own line says, the severities.
const SEVERITIES: &[&str] = &[
    "LOG", "ERROR", "FATAL", "PANIC", "WARNING", "NOTICE", "INFO", "DEBUG", "DEBUG1", "DEBUG2", "DEBUG3", "DEBUG4",
    "DEBUG5",
];
/// What further lines of a message say.
const FURTHER: &[&str] = &["DETAIL", "HINT", "QUERY", "CONTEXT", "STATEMENT", "LOCATION", "BACKTRACE"];
/// How a session's first message begins, with `log_connections`.
const CONNECTION_RECEIVED: &str = "connection received: ";
/// Sessions whose last line is remembered; past it those that were silent for longest are forgotten.
const MOST_SESSIONS: usize = 131_072;
/// Lines of one session in one tick of the log's clock.
const LINES_A_TICK: u64 = 1_000_000;

/// The format `postgres-stderr`.
pub(super) struct PostgresStderr;

impl Format for PostgresStderr {
    fn name(&self) -> &'static str {
        "postgres-stderr"
    }

    fn recognises(&self, line: &str) -> bool {
        let looks_structured = line.trim_start().starts_with(['{', '[', '"']);
        let tells = |word: &&str| line.split_once(&format!("{word}:  ")).is_some_and(|(before, _)| has_a_time(before));
        !looks_structured && SEVERITIES.iter().any(tells)
    }

    fn reader(&self) -> Box<dyn LineReader> {
        Box::new(StderrReader::default())
    }
}

/// `08:05:46`, or seconds since 1970.
fn has_a_time(text: &str) -> bool {
    let shape: Vec<u8> = text.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte }).collect();
    shape.windows(8).any(|window| window == b"00:00:00") || shape.windows(14).any(|window| window == b"0000000000.000")
}

#[derive(Default)]
struct StderrReader {
    prefix: Option<LogLinePrefix>,
    sessions: Sessions,
    known: HashMap<Arc<str>, Known>,
    /// The process of the message that was begun.
    speaking: Option<String>,
}

/// What is remembered of a session between its lines.
#[derive(Default)]
struct Known {
    last_time: i64,
    lines_then: u64,
    /// The last number of the log's own.
    last_number: Option<u64>,
    application_name: Option<String>,
    database: Option<String>,
}

impl LineReader for StderrReader {
    fn prepare(&mut self, beginning: &Beginning<'_>) -> Result<(), CaptureError> {
        let lines: Vec<_> = beginning.lines.iter().map(|line| String::from_utf8_lossy(&line.bytes)).collect();
        let detected = || LogLinePrefix::detect(lines.iter().map(AsRef::as_ref));
        self.prefix = beginning.log_line_prefix.cloned().or_else(detected);
        match self.prefix {
            Some(_) => Ok(()),
            None => Err(CaptureError::UnknownPrefix { input: Arc::clone(beginning.input) }),
        }
    }

    fn continues(&mut self, line: &[u8]) -> bool {
        if line.first() == Some(&b'\t') {
            return self.speaking.is_some();
        }
        let text = String::from_utf8_lossy(line);
        let fields = self.prefix.as_ref().and_then(|prefix| prefix.fields(&text));
        let speaker = fields.as_ref().and_then(|fields| fields.session.or(fields.process)).unwrap_or_default();
        let continues = fields.as_ref().is_some_and(|fields| FURTHER.contains(&fields.kind))
            && self.speaking.as_deref() == Some(speaker);
        if !continues {
            self.speaking = Some(speaker.to_owned());
        }
        continues
    }

    fn read_line(&mut self, record: &str, recording: &mut Recording) -> Result<LineOutcome, String> {
        let line = self.log_line(record)?;
        self.sessions.read(line, &mut recording.log)
    }

    /// The server may have written a part of it so far, and the rest may be read with the grown log.
    fn read_last(&mut self, record: &str, recording: &mut Recording) -> Result<LineOutcome, String> {
        let before = recording.log.len();
        let outcome = self.read_line(record, recording);
        let last = recording.log.split_off(before.min(recording.log.len()));
        recording.log.extend(last.into_iter().map(read_so_far));
        outcome
    }

    fn finish(&mut self, recording: &mut Recording) {
        self.sessions.finish(&mut recording.log);
    }
}

impl StderrReader {
    fn log_line(&mut self, record: &str) -> Result<LogLine, String> {
        let Some(prefix) = &self.prefix else { return Err("its log_line_prefix is not known".to_owned()) };
        let mut parts: Vec<(PrefixFields<'_>, String)> = Vec::new();
        for line in record.split('\n') {
            match (line.strip_prefix('\t'), parts.last_mut()) {
                (Some(more), Some((_, text))) => {
                    text.push('\n');
                    text.push_str(more);
                }
                _ => {
                    let unknown = "it does not begin with the log_line_prefix of the lines before it: \
                                   name the server's own with --log-line-prefix";
                    let fields = prefix.fields(line).ok_or(unknown)?;
                    let text = fields.text.to_owned();
                    parts.push((fields, text));
                }
            }
        }
        let mut parts = parts.into_iter();
        let (first, message) = parts.next().ok_or("it is empty")?;
        if !SEVERITIES.contains(&first.kind) {
            return Err(if FURTHER.contains(&first.kind) {
                format!("its {} belongs to a message that does not stand before it", first.kind)
            } else {
                format!("the severity '{}' is no English one: set lc_messages = 'C'", first.kind)
            });
        }
        let further: Vec<(PrefixFields<'_>, String)> = parts.collect();
        self.assembled(&first, message, &further)
    }

    fn assembled(
        &mut self,
        first: &PrefixFields<'_>,
        message: String,
        further: &[(PrefixFields<'_>, String)],
    ) -> Result<LogLine, String> {
        let part = |kind: &str| further.iter().find(|(fields, _)| fields.kind == kind).map(|(_, text)| text.clone());
        let time = first.time.or(first.epoch).ok_or("its time is missing")?.to_owned();
        let session = session_id(first)?;
        let own_number = |fields: &PrefixFields<'_>| fields.number.and_then(|number| number.parse::<u64>().ok());
        let log_number = own_number(first);
        let last_number = further.iter().filter_map(|(fields, _)| own_number(fields)).max().max(log_number);
        let is_one_session = first.session.is_some() || first.session_start.is_some();
        let (number, earlier_ended) = match log_number.filter(|_| is_one_session) {
            Some(number) => (number, None),
            None => {
                let at = parse_log_time(&time)?;
                let begins = !is_one_session && self.begins_another(&session, log_number, &message);
                let ended = begins.then(|| self.number_by_time(&session, at));
                (self.number_by_time(&session, at), ended)
            }
        };
        if let Some(known) = self.known.get_mut(&session) {
            known.last_number = last_number;
        }
        let (application_name, database) = self.connection(&session, first, &message);
        Ok(LogLine {
            time,
            session,
            number,
            log_number: log_number.unwrap_or(number),
            earlier_ended,
            next_number: last_number.map(|last| last.saturating_add(1)),
            severity: first.kind.to_owned(),
            message: if first.kind == "ERROR" { without_position(message) } else { message },
            detail: part("DETAIL"),
            context: part("CONTEXT"),
            statement: part("STATEMENT"),
            transaction: first.transaction.and_then(|xid| xid.parse().ok()).filter(|xid| *xid != 0),
            virtual_transaction: first.virtual_transaction.map(str::to_owned),
            application_name,
            database,
            backend_type: first.backend_type.map(str::to_owned),
        })
    }

    /// Whether another session has the process now: its own numbers begin again.
    fn begins_another(&self, session: &Arc<str>, log_number: Option<u64>, message: &str) -> bool {
        let Some(number) = log_number else { return message.starts_with(CONNECTION_RECEIVED) };
        let last = self.known.get(session).and_then(|known| known.last_number);
        number == 1 || last.is_some_and(|last| number <= last)
    }

    /// Two lines of a session in one tick of the clock keep their order; the next tick's are behind them.
    fn number_by_time(&mut self, session: &Arc<str>, time: Timestamp) -> u64 {
        let millis = time.as_micros() / 1_000;
        let known = self.known(session, millis);
        if millis > known.last_time {
            (known.last_time, known.lines_then) = (millis, 0);
        }
        known.lines_then += 1;
        let tick = u64::try_from(known.last_time).unwrap_or_default();
        tick.saturating_mul(LINES_A_TICK).saturating_add(known.lines_then.min(LINES_A_TICK) - 1)
    }

    /// Application and database, which the line or the session's first message tells.
    fn connection(
        &mut self,
        session: &Arc<str>,
        fields: &PrefixFields<'_>,
        message: &str,
    ) -> (Option<String>, Option<String>) {
        if message.starts_with(CONNECTION_RECEIVED) {
            // A process id that is used again: nothing of the session before holds any more.
            if let Some(known) = self.known.get_mut(session) {
                (known.application_name, known.database) = (None, None);
            }
        } else if let Some(connection) = connection_of_message(message) {
            let last_time = self.known.get(session).map_or(0, |known| known.last_time);
            let known = self.known(session, last_time);
            known.application_name = connection.application_name.map(str::to_owned);
            known.database = connection.database.map(str::to_owned);
        }
        let known = self.known.get(session);
        let application_name = fields.application_name.map(str::to_owned);
        let database = fields.database.map(str::to_owned);
        (application_name.or_else(|| known?.application_name.clone()), database.or_else(|| known?.database.clone()))
    }

    fn known(&mut self, session: &Arc<str>, now: i64) -> &mut Known {
        if !self.known.contains_key(session) && self.known.len() >= MOST_SESSIONS {
            let mut times: Vec<i64> = self.known.values().map(|known| known.last_time).collect();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied().unwrap_or(now);
            self.known.retain(|_, known| known.last_time > middle);
        }
        self.known.entry(Arc::clone(session)).or_default()
    }
}

/// The plain log adds ` at character 12` to an error's message; the other renderings have a column for it.
fn without_position(mut message: String) -> String {
    if let Some((before, position)) = message.rsplit_once(" at character ")
        && position.bytes().all(|byte| byte.is_ascii_digit())
    {
        message.truncate(before.len());
    }
    message
}

/// `%c`, or what it would be; with `%p` alone a session whose start is not known.
fn session_id(fields: &PrefixFields<'_>) -> Result<Arc<str>, String> {
    if let Some(session) = fields.session {
        return Ok(session.into());
    }
    // A process that is no session (`%q`): its messages say nothing of statements.
    let Some(process) = fields.process else { return Ok("".into()) };
    let process: u32 = process.parse().map_err(|_| format!("'{process}' is no process id"))?;
    let start = fields.session_start.map(parse_log_time).transpose()?;
    Ok(match start {
        Some(start) => format!("{:x}.{process:x}", start.as_micros().div_euclid(1_000_000)).into(),
        None => format!("?.{process:x}").into(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::capture::lines::Line;
    use crate::model::{LogEvent, LogEventKind, Value};

    fn read(text: &str, prefix: Option<&str>) -> (Vec<LogEvent>, Vec<String>) {
        let line = |(number, text): (u64, &str)| Line::whole(number, text.as_bytes().to_vec());
        let lines: VecDeque<Line> = (1..).zip(text.lines()).map(line).collect();
        let prefix = prefix.map(|prefix| LogLinePrefix::parse(prefix).expect("a prefix"));
        let input: Arc<str> = "test".into();
        let mut reader = StderrReader::default();
        let beginning = Beginning { input: &input, lines: &lines, log_line_prefix: prefix.as_ref() };
        reader.prepare(&beginning).expect("a prefix");
        let mut records: Vec<String> = Vec::new();
        for line in text.lines() {
            match (reader.continues(line.as_bytes()), records.last_mut()) {
                (true, Some(record)) => *record = format!("{record}\n{line}"),
                _ => records.push(line.to_owned()),
            }
        }
        let mut recording = Recording::default();
        let refused = records.iter().filter_map(|record| reader.read_line(record, &mut recording).err()).collect();
        reader.finish(&mut recording);
        (recording.log, refused)
    }

    #[test]
    fn a_message_is_put_together_from_its_lines() {
        let text = "\
2026-11-23 08:31:29.416 UTC [1665] LOG:  connection authorized: user=postgres database=shop application_name=shop@v41 SSL enabled (x)
2026-11-23 08:31:29.418 UTC [1665] LOG:  duration: 0.470 ms  execute <unnamed>: INSERT INTO t
\tVALUES ($1,
\t
\t$2)
2026-11-23 08:31:29.418 UTC [1665] DETAIL:  parameters: $1 = 'a
\tb', $2 = NULL
2026-11-23 08:31:29.418 UTC [1665] LOG:  duration: 0.100 ms  statement: COMMIT
2026-11-23 08:31:29.419 UTC [1665] ERROR:  division by zero
2026-11-23 08:31:29.419 UTC [1665] STATEMENT:  SELECT 1/0
";
        let (events, refused) = read(text, None);
        assert_eq!(refused, Vec::<String>::new());
        let told: Vec<_> = events.iter().map(|event| (event.kind, event.sql.as_deref().unwrap_or_default())).collect();
        let expected = [
            (LogEventKind::Statement, "INSERT INTO t\nVALUES ($1,\n\n$2)"),
            (LogEventKind::Statement, "COMMIT"),
            (LogEventKind::Error, "SELECT 1/0"),
        ];
        assert_eq!(told, expected);
        assert_eq!(events[0].parameters, [Some(Value::text("a\nb")), Some(Value::NULL)]);
        assert_eq!(events[0].session.0.as_ref(), "?.681");
        assert_eq!(events[0].application_name.as_deref(), Some("shop@v41"));
        assert_eq!(events[0].database.as_deref(), Some("shop"));
        assert!(events[0].line < events[1].line, "two lines of one millisecond keep their order");
        assert_eq!(read(text, None).0, events, "read again, the events are the same");
    }

    #[test]
    fn lines_that_belong_to_nothing_are_refused() {
        let text = "\
2026-11-23 08:31:29.418 UTC [1665] LOG:  duration: 0.1 ms  statement: SELECT 1
2026-11-23 08:31:29.418 UTC [1666] DETAIL:  parameters: $1 = 'x'
something else
2026-11-23 08:31:29.418 UTC [1665] FEHLER:  Division durch Null
";
        let (events, refused) = read(text, None);
        assert_eq!(events.len(), 1);
        let reasons = ["does not stand before it", "--log-line-prefix", "lc_messages"];
        assert_eq!(refused.len(), reasons.len(), "{refused:?}");
        for (refused, reason) in refused.iter().zip(reasons) {
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn a_named_prefix_gives_the_session_its_id() {
        let text =
            "1764000000.123|1823|2025-11-24 16:00:00 UTC|46 LOG:  00000: duration: 0.1 ms  statement: SELECT 1\n";
        let (events, refused) = read(text, Some("%n|%p|%s|%l "));
        assert_eq!(refused, Vec::<String>::new());
        assert_eq!(events[0].session.0.as_ref(), "69248100.71f");
        assert_eq!((events[0].line, events[0].ts.to_string().as_str()), (46, "2025-11-24T16:00:00.123Z"));
    }

    #[test]
    fn sessions_that_share_a_process_one_after_the_other_stay_apart() {
        // The first session's transaction is left open, and rolled back without a word.
        let text = "\
2026-11-23 08:00:00.000 UTC [1665] [1] LOG:  duration: 0.1 ms  statement: BEGIN
2026-11-23 08:00:01.000 UTC [1665] [2] LOG:  duration: 0.1 ms  statement: UPDATE t SET a = 1
2026-11-23 08:00:02.000 UTC [1665] [3] LOG:  statement: UPDATE t SET a = 2
2026-11-23 09:00:00.000 UTC [1665] [1] LOG:  statement: BEGIN
2026-11-23 09:00:00.500 UTC [1665] [2] LOG:  duration: 0.1 ms
2026-11-23 09:00:01.000 UTC [1665] [3] LOG:  duration: 0.1 ms  statement: UPDATE t SET a = 3
2026-11-23 09:00:02.000 UTC [1665] [4] LOG:  duration: 0.1 ms  statement: COMMIT
";
        let (mut events, refused) = read(text, Some("%m [%p] [%l] "));
        assert_eq!(refused, Vec::<String>::new());
        events.sort_by_key(|event| event.line);
        let told: Vec<_> = events.iter().map(|event| event.sql.as_deref().unwrap_or("(ended)")).collect();
        let updates = ["UPDATE t SET a = 1", "UPDATE t SET a = 2", "UPDATE t SET a = 3"];
        let expected = ["(ended)", "BEGIN", updates[0], updates[1], "(ended)", "BEGIN", updates[2], "COMMIT"];
        assert_eq!(told, expected);
        assert!(events.windows(2).all(|pair| pair[0].line < pair[1].line), "no two share a place");
        assert_eq!(events[5].ts.to_string(), "2026-11-23T09:00:00.5Z", "numbers still tell what follows what");
    }

    #[test]
    fn the_lines_of_other_formats_are_not_its() {
        let line = "2026-11-23 08:31:29.418 UTC [1665] LOG:  duration: 0.1 ms  statement: SELECT 1";
        assert!(PostgresStderr.recognises(line));
        assert!(!PostgresStderr.recognises(&format!("{{\"message\":\"{line}\"}}")));
        assert!(!PostgresStderr.recognises("LOG:  without a time"));
    }
}
