//! A server's log tells of all its databases: whose lines are ours.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::stamps::ID_HOLDS_FOR;
use crate::model::{LogEvent, RecordedStamp, RecordedWrite, SessionId, Timestamp, TransactionId};

/// The log's lines that are of the database the writes were recorded in.
#[derive(Debug, Default)]
pub struct OwnLog<'a> {
    /// Those, and those that do not tell their database.
    pub events: Vec<&'a LogEvent>,
    /// The databases of the log, where nothing tells which of them is ours: all of its lines are taken then.
    pub undecided: BTreeSet<Arc<str>>,
}

/// Leaves out what was logged of other databases. Which one is ours is told by the sessions that writes and stamps name,
/// else by the name of the database under audit, else by transaction ids, which all databases of a server share.
pub fn own_log<'a>(
    log: &'a [LogEvent],
    writes: &[RecordedWrite],
    stamps: &[RecordedStamp],
    name: Option<&str>,
) -> OwnLog<'a> {
    let databases: BTreeSet<Arc<str>> = log.iter().filter_map(|event| event.database.clone()).collect();
    let undecided = |databases| OwnLog { events: log.iter().collect(), undecided: databases };
    if databases.len() < 2 {
        return undecided(BTreeSet::new());
    }
    let mut own = by_session(log, writes, stamps);
    if own.is_empty() {
        own.extend(databases.iter().filter(|database| Some(database.as_ref()) == name).cloned());
    }
    if own.is_empty() {
        own = by_transaction_id(log, writes);
    }
    if own.is_empty() {
        return undecided(databases);
    }
    let is_own = |event: &&LogEvent| event.database.as_ref().is_none_or(|database| own.contains(database));
    OwnLog { events: log.iter().filter(is_own).collect(), undecided: BTreeSet::new() }
}

/// A session is connected to one database for as long as it lives.
fn by_session(log: &[LogEvent], writes: &[RecordedWrite], stamps: &[RecordedStamp]) -> BTreeSet<Arc<str>> {
    let of_writes = writes.iter().filter_map(|write| write.session.as_ref());
    let sessions: HashSet<&SessionId> =
        of_writes.chain(stamps.iter().filter_map(|stamp| stamp.session.as_ref())).collect();
    let known = log.iter().filter(|event| sessions.contains(&event.session));
    known.filter_map(|event| event.database.clone()).collect()
}

fn by_transaction_id(log: &[LogEvent], writes: &[RecordedWrite]) -> BTreeSet<Arc<str>> {
    let mut times: HashMap<&TransactionId, Vec<Timestamp>> = HashMap::new();
    for write in writes {
        if let Some(id) = &write.transaction {
            times.entry(id).or_default().push(write.ts);
        }
    }
    let is_near = |event: &&LogEvent| {
        let times = event.transaction.as_ref().and_then(|id| times.get(id));
        times.is_some_and(|times| times.iter().any(|ts| ts.as_micros().abs_diff(event.ts.as_micros()) <= ID_HOLDS_FOR))
    };
    log.iter().filter(is_near).filter_map(|event| event.database.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LogEventKind, Operation, RecordingId, Row, TableName};

    fn event(database: Option<&str>, session: &str, transaction: Option<&str>) -> LogEvent {
        LogEvent {
            id: RecordingId([0; 16]),
            session: SessionId(session.into()),
            line: 1,
            ts: Timestamp::from_micros(5),
            started: Timestamp::from_micros(5),
            kind: LogEventKind::Statement,
            transaction: transaction.map(|id| TransactionId(id.into())),
            virtual_transaction: None,
            application_name: None,
            database: database.map(Arc::from),
            sql: Some("UPDATE t SET a = 1".into()),
            prepared: None,
            parameters: Vec::new(),
            message: None,
        }
    }

    fn write(session: Option<&str>, transaction: Option<&str>) -> RecordedWrite {
        RecordedWrite {
            id: RecordingId([0; 16]),
            seq: None,
            ts: Timestamp::from_micros(5),
            table: TableName::new("public", "t"),
            operation: Operation::Update,
            key: Row::new(),
            before: None,
            after: None,
            reads: Vec::new(),
            transaction: transaction.map(|id| TransactionId(id.into())),
            session: session.map(|id| SessionId(id.into())),
            trace: None,
            release: None,
            service: None,
            statement: None,
            parameters: Vec::new(),
        }
    }

    #[test]
    fn sessions_then_the_name_then_transaction_ids_tell_which_database_is_ours() {
        let log = [event(Some("shop"), "a", Some("7")), event(Some("crm"), "b", Some("8")), event(None, "c", None)];
        let sessions = |writes: &[RecordedWrite], name| {
            let own = own_log(&log, writes, &[], name);
            let sessions: Vec<String> = own.events.iter().map(|event| event.session.0.to_string()).collect();
            (sessions.join(","), own.undecided.len())
        };
        let (shop, crm, all) = (("a,c".to_owned(), 0), ("b,c".to_owned(), 0), ("a,b,c".to_owned(), 2));
        assert_eq!(sessions(&[write(Some("b"), Some("7"))], Some("shop")), crm, "a session is in one database");
        assert_eq!(sessions(&[write(None, Some("8"))], Some("shop")), shop, "the name of the database under audit");
        assert_eq!(sessions(&[write(None, Some("8"))], Some("restored_copy")), crm, "an id is one server's");
        assert_eq!(sessions(&[write(None, None)], None), all, "nothing tells: nothing is left out, and it is said");
        let one = &log[..1];
        assert!(own_log(one, &[write(None, None)], &[], Some("restored_copy")).undecided.is_empty(), "one database");
    }
}
