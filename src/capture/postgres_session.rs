//! Log lines of PostgreSQL's sessions, put together: each execution becomes one event.
//!
//! With `log_statement` the SQL stands on a first line, and what came of it (the transaction id, or an error) on a
//! later one of the same session; with `log_min_duration_statement` alone, all of it stands on one line.

use std::collections::HashMap;
use std::sync::Arc;

use super::format::LineOutcome;
use super::postgres_audit::AuditLine;
use super::postgres_message::{Message, parameters_of_context, parameters_of_detail, parse_log_time};
use super::postgres_plan::PlannedStatement;
use super::read::identity;
use crate::model::{LogEvent, LogEventKind, RecordingId, SessionId, Timestamp, TransactionId, Value};

/// Sessions that may wait for the second line of a statement; past it the older half is let go.
const MOST_WAITING: usize = 65_536;

/// One line of a log, its fields told apart.
pub(super) struct LogLine {
    /// When it was written, as the log prints it.
    pub(super) time: String,
    pub(super) session: Arc<str>,
    /// Its place within the session.
    pub(super) number: u64,
    /// The number of the session's next line; `None` where the log does not number them.
    pub(super) next_number: Option<u64>,
    pub(super) severity: String,
    pub(super) message: String,
    pub(super) detail: Option<String>,
    pub(super) context: Option<String>,
    /// The statement that an error stopped.
    pub(super) statement: Option<String>,
    /// The transaction id, where the line names one that is not 0.
    pub(super) transaction: Option<u64>,
    pub(super) virtual_transaction: Option<String>,
    pub(super) application_name: Option<String>,
    pub(super) database: Option<String>,
    pub(super) backend_type: Option<String>,
}

/// Every session's statement that has begun and whose end was not read yet.
#[derive(Default)]
pub(super) struct Sessions {
    waiting: HashMap<Arc<str>, Waiting>,
}

struct Waiting {
    /// The execution as its first line tells it; `None` for rows fetched from one that was told before.
    event: Option<LogEvent>,
    /// The number that the session's next line must have; `None` where the log does not number them.
    next_number: Option<u64>,
    teller: Teller,
}

/// Who told of an execution that waits. What an extension tells, the server may tell once more, with more about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Teller {
    Server,
    AutoExplain,
    Pgaudit {
        /// The statement's number.
        statement: u64,
        /// See [`AuditLine::may_be_nested`].
        may_be_nested: bool,
    },
}

impl Sessions {
    /// Takes the next line of the log.
    ///
    /// # Errors
    /// Why a line that tells of statements cannot be read.
    pub(super) fn read(&mut self, line: LogLine, events: &mut Vec<LogEvent>) -> Result<LineOutcome, String> {
        self.follow(&line, events);
        // A parallel worker repeats what its leader says.
        if line.backend_type.as_deref() == Some("parallel worker") {
            return Ok(LineOutcome::Ignored);
        }
        match line.severity.as_str() {
            "ERROR" | "FATAL" | "PANIC" => self.failed(&line, events),
            "LOG" => self.logged(&line, events),
            "WARNING" | "NOTICE" | "INFO" | "DEBUG" | "DEBUG1" | "DEBUG2" | "DEBUG3" | "DEBUG4" | "DEBUG5" => {
                Ok(LineOutcome::Ignored)
            }
            other => Err(format!("the severity '{other}' is no English one: set lc_messages = 'C'")),
        }
    }

    /// Hands over what still waits: of it, only the beginning is known.
    pub(super) fn finish(&mut self, events: &mut Vec<LogEvent>) {
        let mut left: Vec<LogEvent> = self.waiting.drain().filter_map(|(_, waiting)| waiting.event).collect();
        left.sort_by(|left, right| (left.ts, &left.session, left.line).cmp(&(right.ts, &right.session, right.line)));
        events.extend(left.into_iter().map(only_begun));
    }

    /// A gap in a session's numbers means lost lines: what comes after it belongs to another statement.
    fn follow(&mut self, line: &LogLine, events: &mut Vec<LogEvent>) {
        let Some(waiting) = self.waiting.get_mut(&line.session) else { return };
        if waiting.next_number.is_none_or(|next| next == line.number) {
            waiting.next_number = line.next_number;
        } else {
            self.let_go(&line.session, events);
        }
    }

    fn let_go(&mut self, session: &Arc<str>, events: &mut Vec<LogEvent>) {
        let waiting = self.waiting.remove(session);
        events.extend(waiting.and_then(|waiting| waiting.event).map(only_begun));
    }

    fn logged(&mut self, line: &LogLine, events: &mut Vec<LogEvent>) -> Result<LineOutcome, String> {
        // Said from inside a statement (RAISE LOG, auto_explain), whatever it looks like.
        if line.context.is_some() {
            return Ok(LineOutcome::Ignored);
        }
        match Message::parse(&line.message) {
            Message::Begins { sql } => {
                let time = parse_log_time(&line.time)?;
                let parameters = parameters_of_detail(line.detail.as_deref().unwrap_or_default())?;
                let event = line.event(LogEventKind::Statement, time, time, Some(sql), parameters);
                self.wait(line, Some(event), events);
            }
            Message::Fetches => self.wait(line, None, events),
            Message::Done => {
                let Some(waiting) = self.waiting.remove(&line.session) else { return Ok(LineOutcome::Ignored) };
                let Some(mut event) = waiting.event else { return Ok(LineOutcome::Used) };
                match parse_log_time(&line.time) {
                    Ok(time) => event.ts = time,
                    Err(reason) => {
                        events.push(only_begun(event));
                        return Err(reason);
                    }
                }
                event.transaction = line.transaction_id().or(event.transaction);
                event.virtual_transaction = event.virtual_transaction.or_else(|| line.virtual_transaction());
                events.push(event);
            }
            Message::Executed { micros, sql } => {
                let time = parse_log_time(&line.time)?;
                let parameters = parameters_of_detail(line.detail.as_deref().unwrap_or_default())?;
                let event = self.told_before(&line.session, sql);
                self.let_go(&line.session, events);
                let started = Timestamp::from_micros(time.as_micros().saturating_sub(micros));
                let told = line.event(LogEventKind::Statement, started, time, Some(sql), parameters);
                events.push(match event {
                    Some(planned) => LogEvent {
                        id: planned.id,
                        line: planned.line,
                        started: planned.started,
                        transaction: planned.transaction.or(told.transaction),
                        virtual_transaction: planned.virtual_transaction.or(told.virtual_transaction),
                        parameters: if told.parameters.is_empty() { planned.parameters } else { told.parameters },
                        ..told
                    },
                    None => told,
                });
            }
            Message::Planned { micros, plan } => {
                let Some(PlannedStatement { sql, parameters }) = PlannedStatement::parse(plan)? else {
                    return Ok(LineOutcome::Ignored);
                };
                let time = parse_log_time(&line.time)?;
                if let Some(begun) = self.begun(line, &sql) {
                    begun.transaction = line.transaction_id().or(begun.transaction.take());
                    begun.ts = time;
                    return Ok(LineOutcome::Used);
                }
                let started = Timestamp::from_micros(time.as_micros().saturating_sub(micros));
                let event = line.event(LogEventKind::Statement, started, time, Some(&sql), parameters);
                self.wait(line, Some(event), events);
                self.told_by(&line.session, Teller::AutoExplain);
            }
            Message::Audited { line: audit } => return self.audited(line, audit, events),
            Message::Disconnection => {
                let time = parse_log_time(&line.time)?;
                self.let_go(&line.session, events);
                events.push(line.event(LogEventKind::Disconnection, time, time, None, Vec::new()));
            }
            Message::Translated => {
                return Err("the log's messages are not in English: set lc_messages = 'C'".to_owned());
            }
            Message::Other => return Ok(LineOutcome::Ignored),
        }
        Ok(LineOutcome::Used)
    }

    fn told_by(&mut self, session: &Arc<str>, teller: Teller) {
        if let Some(waiting) = self.waiting.get_mut(session) {
            waiting.teller = teller;
        }
    }

    /// Takes a line of pgaudit's.
    fn audited(&mut self, line: &LogLine, audit: &str, events: &mut Vec<LogEvent>) -> Result<LineOutcome, String> {
        let Some(audit) = AuditLine::parse(audit)? else { return Ok(LineOutcome::Ignored) };
        let time = parse_log_time(&line.time)?;
        let teller = Teller::Pgaudit { statement: audit.statement, may_be_nested: audit.may_be_nested };
        match self.waiting.get(&line.session).map(|waiting| (waiting.teller, waiting.is_part_of(line, &audit.sql))) {
            Some((Teller::Pgaudit { statement, may_be_nested: false }, _)) if statement == audit.statement => {
                self.note_transaction(line);
                return Ok(LineOutcome::Used);
            }
            // What was told before ran within this one.
            Some((Teller::Pgaudit { statement, .. }, _)) if statement == audit.statement => {
                let earlier = self.waiting.remove(&line.session).and_then(|waiting| waiting.event);
                let earlier_transaction = earlier.and_then(|event| event.transaction);
                let mut event = line.event(LogEventKind::Statement, time, time, Some(&audit.sql), audit.parameters);
                event.transaction = event.transaction.or(earlier_transaction);
                self.wait(line, Some(event), events);
                self.told_by(&line.session, teller);
                return Ok(LineOutcome::Used);
            }
            Some((_, true)) => {
                self.note_transaction(line);
                return Ok(LineOutcome::Used);
            }
            _ => {}
        }
        let event = line.event(LogEventKind::Statement, time, time, Some(&audit.sql), audit.parameters);
        self.wait(line, Some(event), events);
        self.told_by(&line.session, teller);
        Ok(LineOutcome::Used)
    }

    fn note_transaction(&mut self, line: &LogLine) {
        let waiting = self.waiting.get_mut(&line.session).and_then(|waiting| waiting.event.as_mut());
        if let Some(event) = waiting.filter(|event| event.virtual_transaction == line.virtual_transaction()) {
            event.transaction = event.transaction.take().or(line.transaction_id());
        }
    }

    /// The execution that an extension told of last, where it is of this statement.
    fn told_before(&mut self, session: &Arc<str>, sql: &str) -> Option<LogEvent> {
        let waiting = self.waiting.get(session)?;
        let is_same = waiting.teller != Teller::Server && waiting.is_of(sql);
        if is_same { self.waiting.remove(session)?.event } else { None }
    }

    /// The execution that a plan of this text belongs to: one that `log_statement` or pgaudit told, or one of whose several
    /// statements another was planned before. Each of them is headed by the whole text.
    fn begun(&mut self, line: &LogLine, sql: &str) -> Option<&mut LogEvent> {
        let waiting = self.waiting.get_mut(&line.session).filter(|waiting| waiting.is_of(sql))?;
        let is_planned = waiting.teller == Teller::AutoExplain;
        let event = waiting.event.as_mut()?;
        let is_next = event.virtual_transaction == line.virtual_transaction() && has_several_statements(sql);
        (!is_planned || is_next).then_some(event)
    }

    fn failed(&mut self, line: &LogLine, events: &mut Vec<LogEvent>) -> Result<LineOutcome, String> {
        let time = parse_log_time(&line.time)?;
        // A failed statement is never run again, so that it failed counts for more than with which parameters.
        let in_context = parameters_of_context(line.context.as_deref().unwrap_or_default()).unwrap_or_default();
        let waiting = self.waiting.remove(&line.session).and_then(|waiting| waiting.event);
        let (failed, earlier) = match waiting {
            Some(event) if line.stopped(&event) => (Some(event), None),
            earlier => (None, earlier),
        };
        events.extend(earlier.map(only_begun));
        let message = Some(Arc::from(line.message.as_str()));
        let event = match failed {
            Some(begun) => LogEvent {
                kind: LogEventKind::Error,
                ts: time,
                transaction: line.transaction_id().or(begun.transaction),
                parameters: if begun.parameters.is_empty() { in_context } else { begun.parameters },
                message,
                ..begun
            },
            // A session that dies between two statements, or before its first: whatever was open is rolled back.
            None if line.severity != "ERROR" && line.statement.is_none() => {
                LogEvent { message, ..line.event(LogEventKind::Disconnection, time, time, None, Vec::new()) }
            }
            None => {
                let sql = line.statement.as_deref();
                LogEvent { message, ..line.event(LogEventKind::Error, time, time, sql, in_context) }
            }
        };
        events.push(event);
        Ok(LineOutcome::Used)
    }

    fn wait(&mut self, line: &LogLine, event: Option<LogEvent>, events: &mut Vec<LogEvent>) {
        self.let_go(&line.session, events);
        if self.waiting.len() >= MOST_WAITING {
            let mut times: Vec<Timestamp> = self.waiting.values().filter_map(Waiting::started).collect();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied();
            let old = self.waiting.extract_if(|_, waiting| waiting.started() <= middle);
            let mut old: Vec<LogEvent> = old.filter_map(|(_, waiting)| waiting.event).collect();
            old.sort_by_key(|event| event.started);
            events.extend(old.into_iter().map(only_begun));
        }
        self.waiting.insert(
            Arc::clone(&line.session),
            Waiting { event, next_number: line.next_number, teller: Teller::Server },
        );
    }
}

fn has_several_statements(sql: &str) -> bool {
    sql.split_once(';').is_some_and(|(_, rest)| !rest.trim().is_empty())
}

impl Waiting {
    /// Whether what pgaudit tells is this execution, or runs within it.
    fn is_part_of(&self, line: &LogLine, sql: &str) -> bool {
        let Some(event) = &self.event else { return false };
        let is_same_transaction = event.virtual_transaction == line.virtual_transaction();
        match self.teller {
            Teller::Server => self.is_of(sql) || is_same_transaction,
            Teller::AutoExplain => self.is_of(sql) && is_same_transaction,
            Teller::Pgaudit { .. } => self.is_of(sql) && is_same_transaction && has_several_statements(sql),
        }
    }

    fn is_of(&self, sql: &str) -> bool {
        self.event.as_ref().is_some_and(|event| event.sql.as_deref() == Some(sql))
    }

    fn started(&self) -> Option<Timestamp> {
        self.event.as_ref().map(|event| event.started)
    }
}

impl LogLine {
    fn event(
        &self,
        kind: LogEventKind,
        started: Timestamp,
        ts: Timestamp,
        sql: Option<&str>,
        parameters: Vec<Option<Value>>,
    ) -> LogEvent {
        LogEvent {
            id: event_id("log event", &self.session, self.number, ts),
            session: SessionId(Arc::clone(&self.session)),
            line: self.number,
            ts,
            started,
            kind,
            transaction: self.transaction_id(),
            virtual_transaction: self.virtual_transaction(),
            application_name: self.application_name.as_deref().map(Arc::from),
            database: self.database.as_deref().map(Arc::from),
            sql: sql.map(Arc::from),
            prepared: self.detail.as_deref().and_then(|detail| detail.strip_prefix("prepare: ")).map(Arc::from),
            parameters,
            message: None,
        }
    }

    fn transaction_id(&self) -> Option<TransactionId> {
        self.transaction.map(|xid| TransactionId(xid.to_string().into()))
    }

    /// `3/0` is a session outside of any transaction.
    fn virtual_transaction(&self) -> Option<Arc<str>> {
        self.virtual_transaction.as_deref().filter(|vxid| !vxid.ends_with("/0")).map(Arc::from)
    }

    /// Whether this error stopped the statement that waits. `statement` is missing with `log_min_error_statement`
    /// set high; the same SQL in another transaction is another execution.
    fn stopped(&self, begun: &LogEvent) -> bool {
        let same_statement = match (&self.statement, &begun.sql) {
            (Some(stopped), Some(begun)) => stopped.as_str() == begun.as_ref(),
            _ => true,
        };
        same_statement && self.virtual_transaction() == begun.virtual_transaction
    }
}

/// What is known of an execution until its end is read has an identity of its own: once a grown log tells the end,
/// that is stored beside it, under the same session and line.
fn only_begun(event: LogEvent) -> LogEvent {
    LogEvent { id: event_id("log event begun", &event.session.0, event.line, event.ts), ..event }
}

fn event_id(kind: &str, session: &str, line: u64, time: Timestamp) -> RecordingId {
    let mut hasher = blake3::Hasher::new();
    for part in [kind.as_bytes(), b"\0", session.as_bytes(), b"\0"] {
        hasher.update(part);
    }
    hasher.update(&line.to_le_bytes());
    hasher.update(&time.as_micros().to_le_bytes());
    identity(&hasher)
}
