//! Log lines of PostgreSQL's sessions, put together: each execution becomes one event.
//!
//! With `log_statement` the SQL stands on a first line, and what came of it (the transaction id, or an error) on a
//! later one of the same session; with `log_min_duration_statement` alone, all of it stands on one line.

use std::collections::HashMap;
use std::sync::Arc;

use super::format::LineOutcome;
use super::postgres_audit::AuditLine;
use super::postgres_message::{
    Message, is_of_portal_alone, parameters_of_context, parameters_of_detail, parse_log_time,
};
use super::postgres_plan::PlannedStatement;
use super::postgres_waiting::{AuditVerdict, Audited, Teller, Waiting, is_execute, prepares};
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
    /// The number that the log itself gives the line, where it gives one: its place too, unless several sessions have to
    /// share their id.
    pub(super) log_number: u64,
    /// The place of the end of an earlier session with the same id, where this line is known to begin another.
    pub(super) earlier_ended: Option<u64>,
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

impl Sessions {
    /// Takes the next line of the log.
    ///
    /// # Errors
    /// Why a line that tells of statements cannot be read.
    pub(super) fn read(&mut self, line: LogLine, events: &mut Vec<LogEvent>) -> Result<LineOutcome, String> {
        if let Some(place) = line.earlier_ended {
            self.let_go(&line.session, events);
            let time = parse_log_time(&line.time)?;
            let ended = line.event(LogEventKind::Disconnection, time, time, None, Vec::new());
            events.push(LogEvent {
                id: event_id("log event", &line.session, place, time),
                line: place,
                transaction: None,
                virtual_transaction: None,
                ..ended
            });
        }
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
        if waiting.next_number.is_none_or(|next| next == line.log_number) {
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
        // Said from inside a statement (RAISE LOG, auto_explain), whatever it looks like; a portal is none.
        if line.context.as_deref().is_some_and(|context| !is_of_portal_alone(context)) {
            return Ok(LineOutcome::Ignored);
        }
        match Message::parse(&line.message) {
            Message::Begins { sql, by_portal } => {
                let time = parse_log_time(&line.time)?;
                let parameters = parameters_of_detail(line.detail.as_deref().unwrap_or_default())?;
                let event = line.event(LogEventKind::Statement, time, time, Some(sql), parameters);
                self.wait(line, Some(event), Teller::Server, events).by_portal = by_portal;
            }
            Message::Fetches => {
                // From what has ended and may still be told of once more, that goes on.
                if self.waiting.get(&line.session).is_none_or(|waiting| waiting.ended.is_none()) {
                    self.wait(line, None, Teller::Server, events);
                }
            }
            Message::Done => return self.done(line, events),
            Message::Executed { micros, sql, by_portal } => self.executed(line, (micros, sql, by_portal), events)?,
            Message::Planned { micros, plan } => return self.planned(line, micros, plan, events),
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

    /// Takes the bare duration of what began before.
    fn done(&mut self, line: &LogLine, events: &mut Vec<LogEvent>) -> Result<LineOutcome, String> {
        // What has ended is not done again: this is the duration of a parse, a bind or a fetch.
        if self.waiting.get(&line.session).is_none_or(|waiting| waiting.ended.is_some()) {
            return Ok(LineOutcome::Ignored);
        }
        let Some(waiting) = self.waiting.remove(&line.session) else { return Ok(LineOutcome::Ignored) };
        let (by_portal, is_planned, is_audited) = (waiting.by_portal, waiting.is_planned, waiting.audited.is_some());
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
        if by_portal && let Some(ended) = Waiting::ended(&event, is_planned, is_audited, line.next_number) {
            self.make_room(events);
            self.waiting.insert(Arc::clone(&line.session), ended);
        }
        events.push(event);
        Ok(LineOutcome::Used)
    }

    /// Takes a whole execution, which an extension may have told of before, or tells of when its portal is closed.
    fn executed(
        &mut self,
        line: &LogLine,
        (micros, sql, by_portal): (i64, &str, bool),
        events: &mut Vec<LogEvent>,
    ) -> Result<(), String> {
        let time = parse_log_time(&line.time)?;
        let parameters = parameters_of_detail(line.detail.as_deref().unwrap_or_default())?;
        let started = Timestamp::from_micros(time.as_micros().saturating_sub(micros));
        let told = line.event(LogEventKind::Statement, started, time, Some(sql), parameters);
        let (same, other) = match self.waiting.remove(&line.session) {
            Some(waiting) if waiting.is_told_as(sql) => (Some(waiting), None),
            other => (None, other),
        };
        let (is_planned, is_audited) =
            same.as_ref().map_or((false, false), |waiting| (waiting.is_planned, waiting.audited.is_some()));
        let event = match same.and_then(|waiting| waiting.event) {
            Some(earlier) => LogEvent {
                id: earlier.id,
                line: earlier.line,
                started: earlier.started,
                transaction: earlier.transaction.or(told.transaction),
                virtual_transaction: earlier.virtual_transaction.or(told.virtual_transaction),
                prepared: told.prepared.or(earlier.prepared),
                parameters: if told.parameters.is_empty() { earlier.parameters } else { told.parameters },
                ..told
            },
            None => told,
        };
        let ended = Waiting::ended(&event, is_planned, is_audited, line.next_number).filter(|_| by_portal);
        let is_within = |other: &Waiting| {
            other.audited.is_some_and(|told| told.may_be_nested) && other.is_in(event.virtual_transaction.as_ref())
        };
        self.make_room(events);
        match (ended, other) {
            // What pgaudit told of may have run within this one: that is known once pgaudit tells of this one.
            (Some(ended), Some(other)) if is_within(&other) => {
                let both = Waiting { next_number: line.next_number, ended: ended.ended, ..other };
                self.waiting.insert(Arc::clone(&line.session), both);
            }
            (ended, other) => {
                events.extend(other.and_then(|waiting| waiting.event).map(only_begun));
                self.waiting.extend(ended.map(|ended| (Arc::clone(&line.session), ended)));
            }
        }
        events.push(event);
        Ok(())
    }

    /// Takes a line of auto_explain's.
    fn planned(
        &mut self,
        line: &LogLine,
        micros: i64,
        plan: &str,
        events: &mut Vec<LogEvent>,
    ) -> Result<LineOutcome, String> {
        let Some(PlannedStatement { sql, parameters }) = PlannedStatement::parse(plan)? else {
            return Ok(LineOutcome::Ignored);
        };
        let time = parse_log_time(&line.time)?;
        // Before PostgreSQL 16 a plan has none of its own.
        let parameters = match (parameters.is_empty(), &line.context) {
            (true, Some(context)) => parameters_of_context(context)?,
            _ => parameters,
        };
        let virtual_transaction = line.virtual_transaction();
        if let Some(waiting) = self.waiting.get_mut(&line.session) {
            if waiting.takes_plan(&sql, virtual_transaction.as_ref()) {
                return Ok(LineOutcome::Used);
            }
            if waiting.is_planned_by(&sql, virtual_transaction.as_ref()) {
                waiting.is_planned = true;
                if let Some(event) = &mut waiting.event {
                    event.transaction = line.transaction_id().or(event.transaction.take());
                    event.ts = time;
                    if event.parameters.is_empty() {
                        event.parameters = parameters;
                    }
                }
                return Ok(LineOutcome::Used);
            }
        }
        let started = Timestamp::from_micros(time.as_micros().saturating_sub(micros));
        let mut event = line.event(LogEventKind::Statement, started, time, Some(&sql), parameters);
        if prepares(&sql) {
            event.prepared.clone_from(&event.sql);
        }
        self.wait(line, Some(event), Teller::AutoExplain, events);
        Ok(LineOutcome::Used)
    }

    /// Takes a line of pgaudit's.
    fn audited(&mut self, line: &LogLine, audit: &str, events: &mut Vec<LogEvent>) -> Result<LineOutcome, String> {
        let Some(audit) = AuditLine::parse(audit)? else { return Ok(LineOutcome::Ignored) };
        let time = parse_log_time(&line.time)?;
        let told = Audited { statement: audit.statement, may_be_nested: audit.may_be_nested };
        let virtual_transaction = line.virtual_transaction();
        if let Some(waiting) = self.waiting.get_mut(&line.session) {
            if waiting.takes_audit(&audit, virtual_transaction.as_ref()) {
                waiting.audited = Some(Audited { may_be_nested: false, ..told });
                return Ok(LineOutcome::Used);
            }
            let verdict = waiting.verdict(&audit, virtual_transaction.as_ref());
            if verdict == AuditVerdict::Part {
                waiting.audited = Some(Audited { may_be_nested: false, ..told });
                waiting.note_time(time);
            }
            if verdict == AuditVerdict::Part || audit.is_foreign_key_check() {
                waiting.note_transaction(line.transaction_id(), virtual_transaction.as_ref());
                return Ok(LineOutcome::Used);
            }
            if verdict == AuditVerdict::Outer {
                let within = waiting.event.take();
                waiting.event = Some(audited_event(line, audit, time, within));
                waiting.audited = Some(told);
                return Ok(LineOutcome::Used);
            }
        }
        if audit.is_foreign_key_check() {
            return Ok(LineOutcome::Ignored);
        }
        let event = audited_event(line, audit, time, None);
        self.wait(line, Some(event), Teller::Pgaudit, events).audited = Some(told);
        Ok(LineOutcome::Used)
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

    fn wait(
        &mut self,
        line: &LogLine,
        event: Option<LogEvent>,
        teller: Teller,
        events: &mut Vec<LogEvent>,
    ) -> &mut Waiting {
        self.let_go(&line.session, events);
        self.make_room(events);
        let waiting = Waiting::new(event, line.next_number, teller);
        self.waiting.entry(Arc::clone(&line.session)).insert_entry(waiting).into_mut()
    }

    /// Lets the older half go where too many wait.
    fn make_room(&mut self, events: &mut Vec<LogEvent>) {
        if self.waiting.len() < MOST_WAITING {
            return;
        }
        let mut times: Vec<Timestamp> = self.waiting.values().filter_map(Waiting::started).collect();
        times.sort_unstable();
        let middle = times.get(times.len() / 2).copied();
        let old = self.waiting.extract_if(|_, waiting| waiting.started() <= middle);
        let mut old: Vec<LogEvent> = old.filter_map(|(_, waiting)| waiting.event).collect();
        old.sort_by_key(|event| event.started);
        events.extend(old.into_iter().map(only_begun));
    }
}

/// The execution that a line of pgaudit's tells of, and what of it was told as `within` it before.
fn audited_event(line: &LogLine, audit: AuditLine, time: Timestamp, within: Option<LogEvent>) -> LogEvent {
    let mut event = line.event(LogEventKind::Statement, time, time, Some(&audit.sql), audit.parameters);
    if audit.command != "PREPARE" && prepares(&audit.sql) {
        event.prepared.clone_from(&event.sql);
    }
    let Some(within) = within else { return event };
    event.started = within.started;
    event.transaction = event.transaction.or(within.transaction);
    if within.prepared.is_some() && is_execute(&audit.sql) {
        event.prepared = within.prepared;
        event.parameters = within.parameters;
    }
    event
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
        let virtual_transaction = self.virtual_transaction();
        let same_transaction = virtual_transaction == begun.virtual_transaction;
        match (&self.statement, &begun.sql) {
            (Some(stopped), Some(sql)) => {
                let is_prepared = begun.prepared.is_some() && is_execute(stopped);
                same_transaction && (stopped.as_str() == sql.as_ref() || is_prepared)
            }
            _ => same_transaction && virtual_transaction.is_some(),
        }
    }
}

/// What is known of an execution until its end is read has an identity of its own: once a grown log tells the end,
/// that is stored beside it, under the same session and line.
fn only_begun(event: LogEvent) -> LogEvent {
    LogEvent { id: event_id("log event begun", &event.session.0, event.line, event.ts), ..event }
}

/// What the input's last record says may be a part of it: under an identity of what it says, it is stored beside what the
/// grown log says, under the same session and line.
pub(super) fn read_so_far(event: LogEvent) -> LogEvent {
    let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
    let told = format!("{}\0{}\0{}", text(&event.sql), event.parameters.len(), text(&event.message));
    LogEvent { id: event_id(&format!("log event so far\0{told}"), &event.session.0, event.line, event.ts), ..event }
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
