//! A session's log lines as transactions: what was committed, what never happened.
//!
//! The log has a line per statement and one per error. Transactions are rebuilt from the statements themselves: BEGIN
//! to COMMIT, savepoints as a stack, an error aborts until the next ROLLBACK, a lost connection rolls back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sqlparser::ast;

use super::isolation::{self, Declared};
use super::prepared::{Expansion, PreparedStatements, TwoPhase};
use super::time_zones::{SessionZone, Zone, ZoneChange, may_set_zone, zone_change};
use crate::model::{LogEvent, LogEventKind, SessionId, Snapshots, Timestamp, TransactionId, Value};
use crate::sql::{self, Role, Views};

/// One committed statement of the log.
#[derive(Clone, Debug)]
pub struct LoggedStatement {
    /// The text as sent.
    pub sql: Arc<str>,
    /// The statement, where it is more than a query and the parser knows it.
    pub parsed: Option<Arc<ast::Statement>>,
    /// `$1` and on; `None` for one that the log does not tell.
    pub parameters: Vec<Option<Value>>,
    /// When it began.
    pub started: Timestamp,
    /// What it does; [`Role::Write`] where the parser does not know it.
    pub role: Role,
    /// The time zone that its session has set, if any.
    pub time_zone: Zone,
}

/// One committed transaction of the log.
#[derive(Clone, Debug)]
pub struct LoggedTransaction {
    /// When it began.
    pub begun: Timestamp,
    /// When its commit was logged.
    pub committed: Timestamp,
    /// When its session went on, by which time it had committed; `None` where that is not known.
    pub followed: Option<Timestamp>,
    /// PostgreSQL's id, where a line names it.
    pub transaction: Option<TransactionId>,
    /// Which snapshot its statements see.
    pub snapshots: Snapshots,
    /// The session's `application_name`.
    pub application_name: Option<Arc<str>>,
    /// The session's database, where the log says.
    pub database: Option<Arc<str>>,
    /// Its reads and writes.
    pub statements: Vec<LoggedStatement>,
}

impl LoggedTransaction {
    /// Whether any statement writes, or may.
    pub fn may_write(&self) -> bool {
        self.statements.iter().any(|statement| statement.role == Role::Write)
    }

    /// Whether it is nothing but code that may commit by itself, and so be several transactions.
    pub fn is_call(&self) -> bool {
        let is_call = |statement: &LoggedStatement| match statement.parsed.as_deref() {
            Some(parsed) => matches!(parsed, ast::Statement::Call(_)),
            None => statement.sql.trim_start().get(..3).is_some_and(|word| word.eq_ignore_ascii_case("DO ")),
        };
        matches!(self.statements.as_slice(), [statement] if is_call(statement))
    }
}

/// A statement of a text.
#[derive(Clone, Debug)]
struct ParsedStatement {
    /// Its part in its session.
    role: Role,
    /// The statement, where it is more than a query and the parser knows it.
    parsed: Option<Arc<ast::Statement>>,
    /// What it makes of its session's time zone.
    zone: Option<ZoneChange>,
}

/// Statements by their text: the same text is parsed once.
#[derive(Debug)]
struct ParsedTexts<'a> {
    texts: HashMap<Arc<str>, Vec<ParsedStatement>>,
    views: &'a Views,
}

impl ParsedTexts<'_> {
    fn of(&mut self, sql: &Arc<str>) -> &[ParsedStatement] {
        self.texts.entry(sql.clone()).or_insert_with(|| match sql::parse(sql) {
            Ok(statements) => {
                let may_set = may_set_zone(sql) || role_by_first_word(sql) == Role::Other;
                let parsed = |mut statement: ast::Statement| {
                    sql::expand_views(&mut statement, self.views);
                    let role = match sql::role_of(&statement) {
                        Role::Read if sql::may_write_by_call(&statement) => Role::Write,
                        role => role,
                    };
                    let zone = may_set.then(|| zone_change(&statement)).flatten();
                    // Of a query nobody asks more, and a log of literals has many.
                    let parsed = (role != Role::Read).then(|| Arc::new(statement));
                    ParsedStatement { role, parsed, zone }
                };
                statements.into_iter().map(parsed).collect()
            }
            Err(_) => {
                let zone = may_set_zone(sql).then(|| ZoneChange::OfSession(Some(sql.as_ref().into())));
                let role = role_by_first_word(sql);
                let zone = zone.filter(|_| role == Role::Other);
                vec![ParsedStatement { role, parsed: None, zone }]
            }
        })
    }
}

fn role_by_first_word(sql: &str) -> Role {
    let mut words = sql.split_whitespace().map(str::to_ascii_uppercase);
    let word: String = words.next().unwrap_or_default().chars().take_while(char::is_ascii_alphabetic).collect();
    match word.as_str() {
        "BEGIN" | "START" => Role::Begin,
        "COMMIT" | "END" => Role::Commit { chain: false },
        "ROLLBACK" | "ABORT" => Role::Rollback { chain: false },
        "SELECT" | "VALUES" | "TABLE" => Role::Read,
        "SET" | "RESET" | "SHOW" | "DISCARD" | "DEALLOCATE" | "PREPARE" | "LISTEN" | "UNLISTEN" | "NOTIFY" => {
            Role::Other
        }
        // Definitions and maintenance write no row that a change stream tells of, save a table made from a query.
        "CREATE" if !words.any(|word| word == "TABLE") => Role::Other,
        "REFRESH" => Role::Unrecorded,
        "ALTER" | "DROP" | "GRANT" | "REVOKE" | "COMMENT" | "VACUUM" | "ANALYZE" | "CLUSTER" | "REINDEX"
        | "CHECKPOINT" | "DECLARE" | "FETCH" | "MOVE" | "CLOSE" | "LOCK" => Role::Other,
        _ => Role::Write,
    }
}

#[derive(Debug)]
struct Open {
    transaction: LoggedTransaction,
    aborted: bool,
    /// Its virtual transaction, where the log says.
    within: Option<Arc<str>>,
    /// Name, the number of statements before it, and the session's time zone then.
    savepoints: Vec<(String, usize, SessionZone)>,
    /// The session's time zone before it.
    zone_before: SessionZone,
}

impl Open {
    /// Whether the event is known to be of another transaction.
    fn is_left_by(&self, event: &LogEvent) -> bool {
        self.within.is_some() && event.virtual_transaction.is_some() && self.within != event.virtual_transaction
    }
}

/// The sessions of a log, rebuilt.
#[derive(Debug, Default)]
pub struct Sessions {
    /// Every session's committed transactions that may have written or that hold several statements, in session order.
    pub committed: BTreeMap<SessionId, Vec<LoggedTransaction>>,
    /// Sessions of which more may be told by what comes after: within a transaction, with a statement prepared or a
    /// temporary table made; and those that took part in a two-phase commit.
    pub unfinished: BTreeSet<SessionId>,
}

/// Rebuilds the sessions of a log; `is_virtual`: what was read of it before names virtual transactions. What
/// they write through one of the views is written to the table behind it.
pub fn rebuilt(log: &[&LogEvent], is_virtual: bool, views: &Views) -> Sessions {
    let mut sessions: BTreeMap<SessionId, Vec<&LogEvent>> = BTreeMap::new();
    for event in log {
        sessions.entry(event.session.clone()).or_default().push(event);
    }
    let has_virtual_transactions = is_virtual || log.iter().any(|event| event.virtual_transaction.is_some());
    let mut texts = ParsedTexts { texts: HashMap::new(), views };
    let mut two_phase = TwoPhaseCommits::default();
    let mut rebuilt = Sessions::default();
    for (session, mut events) in sessions {
        let two_phase_before = two_phase.commands();
        events.sort_by_key(|event| event.line);
        let mut rebuilding = Rebuilding {
            open: None,
            last_implicit: None,
            has_virtual_transactions,
            last_is_closed: false,
            committed: Vec::new(),
            has_ended: false,
            snapshots: Snapshots::default(),
            zone: SessionZone::default(),
            statements: PreparedStatements::default(),
            two_phase: &mut two_phase,
        };
        for event in events {
            rebuilding.event(event, &mut texts);
        }
        let is_unfinished = rebuilding.is_unfinished();
        let committed = rebuilding.committed;
        if is_unfinished || two_phase.commands() > two_phase_before {
            rebuilt.unfinished.insert(session.clone());
        }
        rebuilt.committed.insert(session, committed);
    }
    two_phase.finish(&mut rebuilt.committed);
    rebuilt
}

/// Transactions that were prepared in one session, and the commands that ended them in any.
#[derive(Default)]
struct TwoPhaseCommits {
    prepared: Vec<(String, SessionId, LoggedTransaction)>,
    ended: Vec<(String, Timestamp, bool)>,
}

impl TwoPhaseCommits {
    /// How many commands were met.
    fn commands(&self) -> usize {
        self.prepared.len() + self.ended.len()
    }

    /// Gives each session the transactions that it prepared and somebody committed, at the time of that. A name may be
    /// used again once its transaction has ended.
    fn finish(mut self, sessions: &mut BTreeMap<SessionId, Vec<LoggedTransaction>>) {
        self.prepared.sort_by_key(|(_, _, transaction)| transaction.committed);
        self.ended.sort_by_key(|(_, ended, _)| *ended);
        for (name, session, mut transaction) in self.prepared {
            let end = |(ended, time, _): &(String, Timestamp, bool)| *ended == name && *time >= transaction.committed;
            let Some(place) = self.ended.iter().position(end) else { continue };
            let (_, time, is_commit) = self.ended.remove(place);
            if is_commit && let Some(committed) = sessions.get_mut(&session) {
                transaction.committed = time;
                let place = committed.partition_point(|earlier| earlier.committed <= time);
                committed.insert(place, transaction);
            }
        }
    }
}

struct Rebuilding<'a> {
    open: Option<Open>,
    /// The virtual transaction of the last statement outside BEGIN and COMMIT: where the log lacks those, statements of
    /// the same one belong together.
    last_implicit: Option<Arc<str>>,
    /// Whether the log says which statements are of one transaction, also where it has neither BEGIN nor COMMIT.
    has_virtual_transactions: bool,
    /// Whether the last transaction ended with a COMMIT of the log.
    last_is_closed: bool,
    committed: Vec<LoggedTransaction>,
    /// Whether its connection ended.
    has_ended: bool,
    /// Which snapshot the statements of its transactions see, where they say no other.
    snapshots: Snapshots,
    /// Its time zone.
    zone: SessionZone,
    /// What the session has prepared by SQL.
    statements: PreparedStatements,
    two_phase: &'a mut TwoPhaseCommits,
}

impl Rebuilding<'_> {
    /// Whether what the session does next may depend on what it did before.
    fn is_unfinished(&self) -> bool {
        let makes_temporary = |statement: &LoggedStatement| {
            statement.parsed.as_deref().is_some_and(|parsed| sql::temporary_table(parsed).is_some())
        };
        self.open.is_some()
            || !self.has_ended
                && (!self.statements.is_empty()
                    || self.committed.iter().flat_map(|transaction| &transaction.statements).any(makes_temporary))
    }

    fn event(&mut self, event: &LogEvent, texts: &mut ParsedTexts<'_>) {
        let goes_on = event.virtual_transaction.is_some() && event.virtual_transaction == self.last_implicit;
        if (self.last_is_closed || self.has_virtual_transactions)
            && !goes_on
            && let Some(last) = self.committed.last_mut()
        {
            last.followed.get_or_insert(event.started);
        }
        self.has_ended = event.kind == LogEventKind::Disconnection;
        match event.kind {
            LogEventKind::Disconnection => self.take_back(),
            LogEventKind::Error => self.error(event, texts),
            LogEventKind::Statement => {
                let Some(sql) = &event.sql else { return };
                // Nothing but its end succeeds in an aborted transaction; pgaudit does not tell of its ROLLBACK.
                if self.open.as_ref().is_some_and(|open| open.aborted && open.is_left_by(event)) {
                    self.take_back();
                }
                if let Some(command) = TwoPhase::of(sql) {
                    return self.two_phase(event, command);
                }
                self.statements.note(sql);
                let statements = texts.of(sql).to_vec();
                // Several statements in one text are one transaction of their own.
                let implicit = statements.len() > 1 && self.open.is_none();
                if implicit {
                    self.begin(event, self.snapshots);
                }
                for statement in statements {
                    match self.statements.expand(event, statement.parsed.as_deref()) {
                        Some(expansion) => self.expanded(event, &expansion, texts),
                        None => self.statement(event, sql, statement),
                    }
                }
                if implicit && self.open.is_some() {
                    self.commit(event, false);
                }
            }
        }
    }

    fn two_phase(&mut self, event: &LogEvent, command: TwoPhase) {
        match command {
            TwoPhase::Prepare(name) => {
                if let Some(Open { mut transaction, aborted: false, .. }) = self.open.take() {
                    note(&mut transaction, event);
                    transaction.committed = event.ts;
                    self.two_phase.prepared.push((name, event.session.clone(), transaction));
                }
            }
            TwoPhase::Commit(name) => self.two_phase.ended.push((name, event.ts, true)),
            TwoPhase::Rollback(name) => self.two_phase.ended.push((name, event.ts, false)),
        }
    }

    /// An `EXECUTE` counts as the statement that it ran.
    fn expanded(&mut self, event: &LogEvent, expansion: &Expansion, texts: &mut ParsedTexts<'_>) {
        let event = LogEvent { parameters: expansion.parameters.clone(), ..event.clone() };
        for statement in texts.of(&expansion.sql).to_vec() {
            if matches!(statement.role, Role::Read | Role::Write) {
                self.statement(&event, &expansion.sql, statement);
            }
        }
    }

    fn error(&mut self, event: &LogEvent, texts: &mut ParsedTexts<'_>) {
        let Some(open) = &mut self.open else { return };
        open.aborted = true;
        let at_commit = event
            .sql
            .as_ref()
            .is_some_and(|sql| texts.of(sql).iter().any(|one| matches!(one.role, Role::Commit { .. })));
        // A deferred constraint or a serialization failure: the COMMIT itself rolled back.
        if at_commit {
            self.take_back();
        }
    }

    fn statement(&mut self, event: &LogEvent, sql: &Arc<str>, statement: ParsedStatement) {
        let ParsedStatement { role, parsed, zone } = statement;
        if let Some(zone) = zone {
            self.set_zone(zone.with(&event.parameters));
        }
        match role {
            Role::Begin | Role::Other => {
                if role == Role::Begin && self.open.as_ref().is_none_or(|open| open.aborted) {
                    self.begin(event, self.snapshots);
                }
                self.declare(parsed.as_deref());
            }
            Role::Commit { chain } => self.commit(event, chain),
            Role::Rollback { chain } => {
                self.take_back();
                if chain {
                    self.begin(event, self.snapshots);
                }
            }
            Role::Savepoint(name) => {
                if let Some(open) = &mut self.open {
                    let before = open.transaction.statements.len();
                    open.savepoints.push((name, before, self.zone.clone()));
                }
            }
            Role::RollbackTo(name) => {
                if let Some(open) = &mut self.open
                    && let Some(place) = open.savepoints.iter().rposition(|(known, ..)| *known == name)
                {
                    open.transaction.statements.truncate(open.savepoints[place].1);
                    self.zone.clone_from(&open.savepoints[place].2);
                    open.savepoints.truncate(place + 1);
                    open.aborted = false;
                }
            }
            Role::Release(name) => {
                if let Some(open) = &mut self.open
                    && let Some(place) = open.savepoints.iter().rposition(|(known, ..)| *known == name)
                {
                    open.savepoints.truncate(place);
                }
            }
            Role::Read | Role::Write | Role::Unrecorded => self.work(event, sql, role, parsed),
        }
    }

    fn declare(&mut self, parsed: Option<&ast::Statement>) {
        match (parsed.and_then(isolation::declared), &mut self.open) {
            (Some(Declared::OfTransaction(snapshots)), Some(open)) => open.transaction.snapshots = snapshots,
            (Some(Declared::OfSession(snapshots)), _) => self.snapshots = snapshots,
            (Some(Declared::OfTransaction(_)), None) | (None, _) => {}
        }
    }

    fn work(&mut self, event: &LogEvent, sql: &Arc<str>, role: Role, parsed: Option<Arc<ast::Statement>>) {
        let statement = LoggedStatement {
            sql: sql.clone(),
            parsed,
            parameters: event.parameters.clone(),
            started: event.started,
            role,
            time_zone: self.zone.now().clone(),
        };
        if let Some(open) = &mut self.open {
            note(&mut open.transaction, event);
            if !open.aborted {
                open.transaction.statements.push(statement);
            }
            return;
        }
        let within = event.virtual_transaction.as_ref().filter(|id| !id.ends_with("/0"));
        if within.is_some()
            && within == self.last_implicit.as_ref()
            && let Some(last) = self.committed.last_mut()
        {
            note(last, event);
            last.committed = event.ts;
            last.followed = None;
            last.statements.push(statement);
            return;
        }
        self.last_implicit = within.cloned();
        self.last_is_closed = false;
        let mut transaction = opened(event, self.snapshots);
        note(&mut transaction, event);
        transaction.statements.push(statement);
        self.committed.push(transaction);
    }

    fn begin(&mut self, event: &LogEvent, snapshots: Snapshots) {
        let within = event.virtual_transaction.clone();
        self.open = Some(Open {
            transaction: opened(event, snapshots),
            aborted: false,
            within,
            savepoints: Vec::new(),
            zone_before: self.zone.clone(),
        });
    }

    /// Outside of a transaction, there is none to set it for.
    fn set_zone(&mut self, change: ZoneChange) {
        let is_open = self.open.as_ref().map(|open| !open.aborted);
        if is_open.unwrap_or(matches!(change, ZoneChange::OfSession(_))) {
            self.zone.change(change);
        }
    }

    /// The open transaction never happened.
    fn take_back(&mut self) {
        if let Some(open) = self.open.take() {
            self.zone = open.zone_before;
        }
    }

    fn commit(&mut self, event: &LogEvent, chain: bool) {
        let snapshots = self.open.as_ref().map_or(self.snapshots, |open| open.transaction.snapshots);
        if self.open.as_ref().is_some_and(|open| open.aborted) {
            self.take_back();
        }
        if let Some(Open { mut transaction, aborted: false, .. }) = self.open.take()
            && !transaction.statements.is_empty()
        {
            note(&mut transaction, event);
            transaction.committed = event.ts;
            self.committed.push(transaction);
            self.last_is_closed = true;
        }
        self.zone.committed();
        if chain {
            // The next one is as the one before.
            self.begin(event, snapshots);
        }
    }
}

fn opened(event: &LogEvent, snapshots: Snapshots) -> LoggedTransaction {
    LoggedTransaction {
        begun: event.started,
        committed: event.ts,
        followed: None,
        transaction: None,
        snapshots,
        application_name: event.application_name.clone(),
        database: event.database.clone(),
        statements: Vec::new(),
    }
}

/// What a line tells of the transaction it belongs to.
fn note(transaction: &mut LoggedTransaction, event: &LogEvent) {
    if transaction.transaction.is_none() {
        transaction.transaction.clone_from(&event.transaction);
    }
    if transaction.database.is_none() {
        transaction.database.clone_from(&event.database);
    }
    if event.application_name.is_some() {
        transaction.application_name.clone_from(&event.application_name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RecordingId;

    fn log(lines: &[(&str, &str)]) -> Vec<LogEvent> {
        let event = |(place, (kind, sql)): (usize, &(&str, &str))| LogEvent {
            id: RecordingId([0; 16]),
            session: SessionId("s".into()),
            line: place as u64,
            ts: Timestamp::from_micros(place as i64),
            started: Timestamp::from_micros(place as i64),
            kind: match *kind {
                "error" => LogEventKind::Error,
                "end" => LogEventKind::Disconnection,
                _ => LogEventKind::Statement,
            },
            transaction: None,
            virtual_transaction: None,
            application_name: None,
            database: None,
            sql: Some((*sql).into()),
            prepared: None,
            parameters: vec![],
            message: None,
        };
        lines.iter().enumerate().map(event).collect()
    }

    fn texts(lines: &[(&str, &str)]) -> Vec<Vec<String>> {
        let events = log(lines);
        let sessions = rebuilt(&events.iter().collect::<Vec<_>>(), false, &Views::new()).committed;
        let transactions = sessions.into_values().flatten();
        transactions.map(|transaction| transaction.statements.iter().map(|one| one.sql.to_string()).collect()).collect()
    }

    #[test]
    fn what_was_rolled_back_never_happened() {
        let lines = [
            ("ok", "BEGIN"),
            ("ok", "UPDATE t SET a = 1"),
            ("ok", "ROLLBACK"),
            ("ok", "BEGIN"),
            ("ok", "UPDATE t SET a = 2"),
            ("error", "UPDATE t SET a = 'x'"),
            ("ok", "COMMIT"),
            ("ok", "UPDATE t SET a = 3"),
            ("error", "UPDATE t SET a = 4"),
            ("ok", "BEGIN"),
            ("ok", "UPDATE t SET a = 5"),
            ("end", ""),
        ];
        assert_eq!(texts(&lines), [["UPDATE t SET a = 3"]]);
    }

    #[test]
    fn savepoints_are_a_stack() {
        let lines = [
            ("ok", "BEGIN"),
            ("ok", "UPDATE t SET a = 1"),
            ("ok", "SAVEPOINT one"),
            ("ok", "UPDATE t SET a = 2"),
            ("ok", "SAVEPOINT two"),
            ("error", "UPDATE t SET a = 'x'"),
            ("ok", "ROLLBACK TO one"),
            ("ok", "UPDATE t SET a = 3"),
            ("ok", "COMMIT"),
        ];
        assert_eq!(texts(&lines), [["UPDATE t SET a = 1", "UPDATE t SET a = 3"]]);
    }

    #[test]
    fn a_transaction_has_committed_once_its_session_goes_on() {
        let followed = |mut events: Vec<LogEvent>, within: &[Option<&str>]| -> Vec<Option<i64>> {
            for (event, within) in events.iter_mut().zip(within) {
                event.virtual_transaction = within.map(Arc::from);
            }
            let sessions =
                rebuilt(&events.iter().collect::<Vec<_>>(), false, &Views::new()).committed.into_values().flatten();
            sessions.map(|transaction| transaction.followed.map(Timestamp::as_micros)).collect()
        };
        let closed = || log(&[("ok", "BEGIN"), ("ok", "UPDATE t SET a = 1"), ("ok", "COMMIT"), ("ok", "BEGIN")]);
        assert_eq!(followed(closed(), &[]), [Some(3)]);
        let alone =
            || log(&[("ok", "UPDATE t SET a = 1"), ("ok", "UPDATE u SET a = 1"), ("ok", "SET x = 1"), ("end", "")]);
        assert_eq!(followed(alone(), &[]), [None, None], "it may be one transaction, of which the log has no BEGIN");
        let two = [Some("3/1"), Some("3/2"), Some("3/2"), None];
        assert_eq!(followed(alone(), &two), [Some(1), Some(3)]);
        let one = [Some("3/1"), Some("3/1"), Some("3/1"), None];
        assert_eq!(followed(alone(), &one), [Some(3)]);
    }

    #[test]
    fn an_aborted_transaction_ends_though_nobody_tells() {
        let lines = [
            ("ok", "BEGIN"),
            ("error", "UPDATE t SET a = 1"),
            ("ok", "BEGIN"),
            ("ok", "UPDATE t SET a = 2"),
            ("ok", "COMMIT"),
            ("ok", "BEGIN"),
            ("error", "UPDATE t SET a = 3"),
            ("ok", "UPDATE t SET a = 4"),
        ];
        assert_eq!(texts(&lines), [["UPDATE t SET a = 2"]]);
        let mut events = log(&lines);
        for (event, within) in events.iter_mut().zip(["3/1", "3/1", "3/2", "3/2", "3/2", "3/3", "3/3", "3/4"]) {
            event.virtual_transaction = Some(within.into());
        }
        let sessions =
            rebuilt(&events.iter().collect::<Vec<_>>(), false, &Views::new()).committed.into_values().flatten();
        let texts: Vec<String> = sessions.map(|transaction| transaction.statements[0].sql.to_string()).collect();
        assert_eq!(texts, ["UPDATE t SET a = 2", "UPDATE t SET a = 4"]);
    }

    #[test]
    fn a_commit_that_fails_rolls_back() {
        let lines = [("ok", "BEGIN"), ("ok", "UPDATE t SET a = 1"), ("error", "COMMIT"), ("ok", "SELECT 1")];
        assert_eq!(texts(&lines), [["SELECT 1"]]);
    }

    #[test]
    fn an_execute_counts_as_what_it_ran() {
        let lines = [
            ("ok", "PREPARE p(int, text) AS UPDATE t SET a = $1 WHERE b = $2"),
            ("ok", "EXECUTE p(-7, 'it''s') /*release='v42'*/"),
            ("ok", "EXECUTE p(1 + 1, NULL)"),
        ];
        let transactions: Vec<_> = rebuilt(&log(&lines).iter().collect::<Vec<_>>(), false, &Views::new())
            .committed
            .into_values()
            .flatten()
            .collect();
        let statements: Vec<_> = transactions.iter().flat_map(|transaction| &transaction.statements).collect();
        let sql = "UPDATE t SET a = $1 WHERE b = $2";
        assert_eq!(
            statements.iter().map(|one| one.sql.to_string()).collect::<Vec<_>>(),
            [format!("{sql} /*release='v42'*/"), sql.to_owned()]
        );
        assert_eq!(statements[0].parameters, [Some(Value::text("-7")), Some(Value::text("it's"))]);
        assert_eq!(statements[1].parameters, [None, Some(Value::NULL)]);
    }

    #[test]
    fn a_prepared_transaction_happens_when_and_if_it_is_committed() {
        let session = |name: &str, from: u64, lines: &[&str]| -> Vec<LogEvent> {
            let mut events = log(&lines.iter().map(|sql| ("ok", *sql)).collect::<Vec<_>>());
            for (place, event) in (from..).zip(&mut events) {
                event.session = SessionId(name.into());
                event.ts = Timestamp::from_micros(place as i64);
            }
            events
        };
        let mut events = session("a", 0, &["BEGIN", "UPDATE t SET a = 1", "PREPARE TRANSACTION 'x'"]);
        let later = ["UPDATE t SET a = 2", "BEGIN", "UPDATE t SET a = 3", "PREPARE TRANSACTION 'y'"];
        events.extend(session("b", 10, &later));
        events.extend(session("c", 20, &["COMMIT PREPARED 'x'", "ROLLBACK PREPARED 'y'", "COMMIT PREPARED 'gone'"]));
        let committed = rebuilt(&events.iter().collect::<Vec<_>>(), false, &Views::new()).committed;
        let of = |name: &str| -> Vec<(i64, String)> {
            let transactions = &committed[&SessionId(name.into())];
            let told = |one: &LoggedTransaction| (one.committed.as_micros(), one.statements[0].sql.to_string());
            transactions.iter().map(told).collect()
        };
        assert_eq!(of("a"), [(20, "UPDATE t SET a = 1".to_owned())]);
        assert_eq!(of("b"), [(10, "UPDATE t SET a = 2".to_owned())]);
        assert_eq!(of("c"), []);
    }

    #[test]
    fn a_statement_has_the_time_zone_that_its_session_had_then() {
        let zones = |lines: &[(&str, &str)]| -> Vec<String> {
            let sessions = rebuilt(&log(lines).iter().collect::<Vec<_>>(), false, &Views::new()).committed;
            let statements = sessions.into_values().flatten().flat_map(|transaction| transaction.statements);
            let writes = statements.filter(|statement| statement.role == Role::Write);
            writes.map(|one| one.time_zone.as_deref().unwrap_or("its own").to_owned()).collect()
        };
        let write = ("ok", "UPDATE t SET a = 1");
        let lines = [
            write,
            ("ok", "SET TIME ZONE 'Europe/Berlin'"),
            write,
            ("ok", "SET LOCAL TIME ZONE 'Asia/Tokyo'"),
            write,
            ("ok", "BEGIN"),
            ("ok", "SET LOCAL TIME ZONE 'Asia/Tokyo'"),
            write,
            ("ok", "SAVEPOINT one"),
            ("ok", "SET timezone = 'Asia/Kolkata'"),
            ("ok", "ROLLBACK TO one"),
            write,
            ("ok", "COMMIT"),
            write,
            ("ok", "BEGIN"),
            ("ok", "SET timezone = 'Asia/Kolkata'"),
            ("error", "UPDATE t SET a = 'x'"),
            ("ok", "COMMIT"),
            write,
            ("ok", "RESET timezone"),
            write,
            ("ok", "SELECT set_config('timezone', 'Asia/Tokyo', false)"),
            write,
        ];
        let berlin = "Europe/Berlin";
        let expected = ["its own", berlin, berlin, "Asia/Tokyo", "Asia/Tokyo", berlin, berlin, "its own", "Asia/Tokyo"];
        assert_eq!(zones(&lines), expected);
    }

    #[test]
    fn several_statements_in_one_text_are_one_transaction() {
        let lines = [("ok", "UPDATE t SET a = 1; UPDATE t SET a = 2")];
        assert_eq!(
            rebuilt(&log(&lines).iter().collect::<Vec<_>>(), false, &Views::new())
                .committed
                .into_values()
                .flatten()
                .map(|one| one.statements.len())
                .collect::<Vec<_>>(),
            [2]
        );
    }
}
