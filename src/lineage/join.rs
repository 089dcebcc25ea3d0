//! Recorded transactions joined to the log's: by transaction id, by a session's order, by time.
//!
//! A plain log names the id of only some transactions, so an id is a proof where it is there and no more. Both sides
//! have a session's transactions in the same order: the two sequences are aligned, and what each wrote and when decides
//! between them.

use std::collections::{BTreeMap, HashMap};

use super::alignment::{Candidate, Ranked, align};
use super::clocks::{ClockEvidence, Clocks};
use super::sessions::LoggedTransaction;
use super::steps::{Assignment, JoinedWrite, Targets, assign};
use crate::model::{RecordedStamp, SessionId, StatementLink, Timestamp, TransactionId};
use crate::sql::Schemas;

/// The writes of one committed transaction, as recorded.
#[derive(Debug)]
pub struct RecordedTransaction<'a> {
    /// Its id, where the recording says.
    pub id: Option<TransactionId>,
    /// Its session, where the recording or a stamp says.
    pub session: Option<SessionId>,
    /// When its last write was recorded.
    pub ts: Timestamp,
    /// What it says of itself, in order.
    pub stamps: Vec<&'a RecordedStamp>,
    /// In order.
    pub writes: Vec<JoinedWrite<'a>>,
}

/// A logged transaction that made the writes of a recorded one.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Its session.
    pub session: SessionId,
    /// Its place among the session's logged transactions.
    pub place: usize,
    /// How sure it is.
    pub link: StatementLink,
    /// Which statement made which write.
    pub assignment: Assignment,
    /// Whether both sides name the transaction's id.
    pub by_id: bool,
}

/// The committed transactions of a log, each session's in its order.
pub type Log = BTreeMap<SessionId, Vec<LoggedTransaction>>;

/// How far a recorded time may lie from the logged commit, in microseconds, where nothing but time and content joins
/// them: clocks of two machines, and a commit that waited.
pub const FAR: u64 = 60_000_000;

/// How many of the nearest transactions that fit are weighed against each other …
const RIVALS: usize = 9;

/// … and how many more are looked at for them, once one fits.
const LOOKED_AT: usize = 32;

/// Joins each recorded transaction to the log, `None` where the log does not have it; and says how their clocks compare,
/// what is known of them `before` included.
pub fn join(
    recorded: &[RecordedTransaction<'_>],
    log: &Log,
    schemas: &Schemas,
    before: &ClockEvidence,
) -> (Vec<Option<Joined>>, Clocks) {
    let times = before.and(&ClockEvidence::of_times(recorded.iter(), log.values().flatten()));
    let mut joining = Joining {
        log,
        targets: Targets::of(log.values().flatten(), schemas),
        clocks: times.clocks(),
        taken: HashMap::new(),
        by_id: ids(log),
        by_commit: by_commit(log),
    };
    let mut joined: Vec<Option<Joined>> =
        recorded.iter().map(|transaction| joining.by_transaction_id(transaction)).collect();
    joining.clocks = times.and(&joining.witnesses(recorded, &joined)).clocks();
    let mut by_session: BTreeMap<SessionId, Vec<usize>> = BTreeMap::new();
    for (place, transaction) in recorded.iter().enumerate().filter(|(place, _)| joined[*place].is_none()) {
        if let Some(session) = joining.logged_session(transaction) {
            by_session.entry(session).or_default().push(place);
        }
    }
    for (session, places) in &by_session {
        for (place, found) in joining.by_session_order(session, places, recorded) {
            joined[place] = Some(found);
        }
    }
    for (transaction, joined) in recorded.iter().zip(&mut joined) {
        if joined.is_none() && transaction.session.is_none() && process_of(transaction).is_none() {
            *joined = joining.by_time(transaction);
        }
    }
    for (transaction, joined) in recorded.iter().zip(&mut joined) {
        if joined.is_none() {
            *joined = joining.within_call(transaction);
        }
    }
    (joined, joining.clocks)
}

fn ids(log: &Log) -> HashMap<TransactionId, Vec<(SessionId, usize)>> {
    let mut ids: HashMap<TransactionId, Vec<(SessionId, usize)>> = HashMap::new();
    for (session, transactions) in log {
        for (place, transaction) in transactions.iter().enumerate() {
            if let Some(id) = &transaction.transaction {
                ids.entry(id.clone()).or_default().push((session.clone(), place));
            }
        }
    }
    ids
}

fn by_commit(log: &Log) -> Vec<(Timestamp, SessionId, usize)> {
    let mut order: Vec<_> = log
        .iter()
        .flat_map(|(session, transactions)| {
            let writing = transactions.iter().enumerate().filter(|(_, transaction)| transaction.may_write());
            writing.map(|(place, transaction)| (transaction.committed, session.clone(), place))
        })
        .collect();
    order.sort();
    order
}

/// The process that a stamp names, where it names no session.
fn process_of(recorded: &RecordedTransaction<'_>) -> Option<u32> {
    recorded.stamps.iter().find_map(|stamp| stamp.process_id)
}

struct Joining<'a> {
    log: &'a Log,
    targets: Targets<'a>,
    clocks: Clocks,
    /// Places of each session that are joined already.
    taken: HashMap<SessionId, Vec<bool>>,
    by_id: HashMap<TransactionId, Vec<(SessionId, usize)>>,
    by_commit: Vec<(Timestamp, SessionId, usize)>,
}

impl Joining<'_> {
    /// What the transactions tell that both sides name.
    fn witnesses(&self, recorded: &[RecordedTransaction<'_>], joined: &[Option<Joined>]) -> ClockEvidence {
        let pairs = recorded.iter().zip(joined).filter_map(|(recorded, joined)| Some((recorded, joined.as_ref()?)));
        ClockEvidence::of_witnesses(pairs, self.log, &self.clocks)
    }

    fn is_free(&self, session: &SessionId, place: usize) -> bool {
        self.taken.get(session).is_none_or(|taken| !taken.get(place).copied().unwrap_or(false))
    }

    fn take(&mut self, session: &SessionId, place: usize, link: StatementLink, assignment: Assignment) -> Joined {
        let length = self.log.get(session).map_or(0, Vec::len);
        let taken = self.taken.entry(session.clone()).or_insert_with(|| vec![false; length]);
        if let Some(taken) = taken.get_mut(place) {
            *taken = true;
        }
        let by_id = link == StatementLink::TransactionId;
        let link = if assignment.ambiguous { link.max(StatementLink::AmbiguousStatement) } else { link };
        Joined { session: session.clone(), place, link, assignment, by_id }
    }

    fn by_transaction_id(&mut self, recorded: &RecordedTransaction<'_>) -> Option<Joined> {
        let named = self.by_id.get(recorded.id.as_ref()?)?.clone();
        let own = self.logged_session(recorded);
        let fitting: Vec<_> = named
            .into_iter()
            .filter(|(session, _)| own.as_ref().is_none_or(|own| own == session))
            .filter(|(session, place)| self.is_free(session, *place))
            .filter_map(|(session, place)| {
                let transaction = self.log.get(&session)?.get(place)?;
                assign(&recorded.writes, transaction, &self.targets).map(|assignment| (session, place, assignment))
            })
            .collect();
        // Transaction ids wrap around after four thousand million: the nearest in time is meant.
        let (session, place, assignment) = fitting.into_iter().min_by_key(|(session, place, _)| {
            self.log
                .get(session)
                .and_then(|log| log.get(*place))
                .map_or(u64::MAX, |one| apart(one.committed, recorded.ts))
        })?;
        Some(self.take(&session, place, StatementLink::TransactionId, assignment))
    }

    /// The session as the log calls it: by its id, or by its process where one of the sides knows no more.
    fn logged_session(&self, recorded: &RecordedTransaction<'_>) -> Option<SessionId> {
        let process = match &recorded.session {
            Some(session) if self.log.contains_key(session) => return Some(session.clone()),
            Some(session) => session.0.split_once('.')?.1.to_owned(),
            None => format!("{:x}", process_of(recorded)?),
        };
        let unknown_start = SessionId(format!("?.{process}").into());
        if self.log.contains_key(&unknown_start) {
            return Some(unknown_start);
        }
        if recorded.session.is_some() {
            return None;
        }
        // Of the sessions that a process served one after the other, the one at work at that time.
        let of_process =
            self.log.iter().filter(|(session, _)| session.0.rsplit_once('.').is_some_and(|(_, own)| own == process));
        let distance = |log: &[LoggedTransaction]| log.iter().map(|one| apart(one.committed, recorded.ts)).min();
        of_process.min_by_key(|(_, log)| distance(log).unwrap_or(u64::MAX)).map(|(session, _)| session.clone())
    }

    /// Aligns what was recorded of a session with what was logged of it. Where another alignment is as good, it is
    /// ambiguous.
    fn by_session_order(
        &mut self,
        session: &SessionId,
        places: &[usize],
        recorded: &[RecordedTransaction<'_>],
    ) -> Vec<(usize, Joined)> {
        let Some(log) = self.log.get(session) else { return Vec::new() };
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut assignments: HashMap<(usize, usize), Assignment> = HashMap::new();
        for (left, transaction) in places.iter().enumerate() {
            let transaction = &recorded[*transaction];
            let from = candidates.len();
            let mut looked_at = 0;
            for right in nearest_first(log, transaction.ts, |logged| logged.committed) {
                if candidates.len() - from >= RIVALS || looked_at >= LOOKED_AT {
                    break;
                }
                looked_at += usize::from(candidates.len() > from);
                let logged = &log[right];
                let fits = self.may_be(transaction, session, right, logged);
                if let Some(assignment) = fits.then(|| assign(&transaction.writes, logged, &self.targets)).flatten() {
                    candidates.push(Candidate { left, right, distance: distance(logged, transaction.ts) });
                    assignments.insert((left, right), assignment);
                }
            }
            candidates[from..].sort_by_key(|candidate| candidate.right);
        }
        let ranked = align(&candidates, log.len());
        let mut found = Vec::new();
        for chosen in ranked.iter().filter(|ranked| ranked.chosen) {
            let Candidate { left, right, .. } = chosen.candidate;
            let Some(assignment) = assignments.remove(&(left, right)) else { continue };
            let of_left = ranked.partition_point(|one| one.candidate.left < left);
            let rivals = ranked[of_left..].iter().take_while(|one| one.candidate.left == left);
            let ambiguous = rivals.filter(|rival| rival.candidate.right != right).any(|rival| {
                self.is_as_good(chosen, rival) && !same_statements(&log[right], &log[rival.candidate.right])
            });
            found.push((places[left], right, ambiguous, assignment));
        }
        let link = |ambiguous| if ambiguous { StatementLink::Ambiguous } else { StatementLink::SessionOrder };
        found
            .into_iter()
            .map(|(place, right, ambiguous, assignment)| {
                (place, self.take(session, right, link(ambiguous), assignment))
            })
            .collect()
    }

    /// Where time does not decide for the chosen one, it decides for none.
    fn is_as_good(&self, chosen: &Ranked, rival: &Ranked) -> bool {
        let tolerance = i64::try_from(self.clocks.tolerance).unwrap_or(i64::MAX);
        rival.pairs_lost == 0 && (rival.distance_lost <= tolerance || chosen.candidate.distance > self.clocks.tolerance)
    }

    /// A procedure may commit more than once: each commit while it ran, in its session, is its own.
    fn within_call(&mut self, recorded: &RecordedTransaction<'_>) -> Option<Joined> {
        let session = self.logged_session(recorded);
        let is_elsewhere = session.is_none() && (recorded.session.is_some() || process_of(recorded).is_some());
        let in_session = |known: &SessionId| session.as_ref().is_none_or(|session| session == known);
        let from = Timestamp::from_micros(recorded.ts.as_micros().saturating_sub(1_000));
        let first = self.by_commit.partition_point(|(committed, _, _)| *committed < from);
        let mut running = self.by_commit[first..].iter().filter(|(_, session, _)| in_session(session)).filter_map(
            |(_, session, place)| {
                let logged = self.log.get(session)?.get(*place)?;
                let possible = self.clocks.allow(logged, recorded.ts);
                let fits = logged.is_call() && distance(logged, recorded.ts) <= self.clocks.tolerance && possible;
                let assignment = fits.then(|| assign(&recorded.writes, logged, &self.targets)).flatten()?;
                Some((session.clone(), *place, assignment))
            },
        );
        let (session, place, assignment) = running.next().filter(|_| !is_elsewhere)?;
        let link = if running.next().is_some() { StatementLink::Ambiguous } else { StatementLink::SessionOrder };
        drop(running);
        Some(self.take(&session, place, link, assignment))
    }

    fn may_be(
        &self,
        recorded: &RecordedTransaction<'_>,
        session: &SessionId,
        place: usize,
        logged: &LoggedTransaction,
    ) -> bool {
        let other_id = !logged.is_call()
            && logged.transaction.is_some()
            && recorded.id.is_some()
            && logged.transaction != recorded.id;
        // What a procedure or a DO block wrote is not to be seen: only that it ran at that time speaks for it.
        let elsewhen = logged.is_call() && distance(logged, recorded.ts) > self.clocks.tolerance;
        // It may have committed more than once.
        let free = logged.is_call() || self.is_free(session, place);
        let possible = self.clocks.allow(logged, recorded.ts);
        logged.may_write() && !other_id && !elsewhen && free && possible
    }

    /// Over all sessions, the nearest in time that fits.
    fn by_time(&mut self, recorded: &RecordedTransaction<'_>) -> Option<Joined> {
        let mut fitting = Vec::new();
        // Those that time cannot tell from the first that fits are all looked at, up to here …
        let mut undecided = u64::MAX;
        // … and so many more.
        let mut looked_at = 0;
        for near in nearest_first(&self.by_commit, recorded.ts, |(committed, _, _)| *committed) {
            let (committed, session, place) = &self.by_commit[near];
            let apart = apart(*committed, recorded.ts);
            if fitting.len() >= RIVALS || looked_at >= LOOKED_AT {
                break;
            }
            looked_at += usize::from(apart > undecided);
            let Some(transaction) = self.log.get(session).and_then(|log| log.get(*place)) else { continue };
            if !self.may_be(recorded, session, *place, transaction) {
                continue;
            }
            if let Some(assignment) = assign(&recorded.writes, transaction, &self.targets) {
                undecided = undecided.min(apart.saturating_add(self.clocks.tolerance * 1_000));
                fitting.push((distance(transaction, recorded.ts), transaction, session.clone(), *place, assignment));
            }
        }
        fitting.sort_by(|one, other| (one.0, &one.2, one.3).cmp(&(other.0, &other.2, other.3)));
        let mut fitting = fitting.into_iter();
        let (nearest, meant, session, place, assignment) = fitting.next()?;
        let ambiguous = fitting.any(|(distance, transaction, _, _, rival)| {
            let decided = nearest <= self.clocks.tolerance && distance > nearest + self.clocks.tolerance;
            // That a call may have written anything is nothing against statements which tell that they wrote this.
            let is_outdone = assignment.is_told && !rival.is_told;
            !decided && !is_outdone && !same_statements(transaction, meant)
        });
        let link = if ambiguous { StatementLink::Ambiguous } else { StatementLink::SessionOrder };
        Some(self.take(&session, place, link, assignment))
    }
}

/// The places of transactions that are in the order of their commits, those nearest to `ts` first, none that is far.
fn nearest_first<T>(log: &[T], ts: Timestamp, committed: impl Fn(&T) -> Timestamp) -> impl Iterator<Item = usize> {
    let middle = log.partition_point(|transaction| committed(transaction) < ts);
    let (mut before, mut after) = (middle, middle);
    std::iter::from_fn(move || {
        let distance = |place: usize| log.get(place).map(|transaction| apart(committed(transaction), ts));
        let earlier = before.checked_sub(1).and_then(|place| Some((distance(place)?, place)));
        let later = distance(after).map(|distance| (distance, after));
        let is_earlier = match (earlier, later) {
            (Some((earlier, _)), Some((later, _))) => earlier < later,
            (earlier, _) => earlier.is_some(),
        };
        let (distance, place) = if is_earlier { earlier? } else { later? };
        if is_earlier {
            before = place;
        } else {
            after = place + 1;
        }
        (distance <= FAR).then_some(place)
    })
}

/// How far a recorded commit lies outside of the time in which a logged transaction ran, in milliseconds.
fn distance(logged: &LoggedTransaction, ts: Timestamp) -> u64 {
    let outside = if ts < logged.begun {
        apart(logged.begun, ts)
    } else if ts > logged.committed {
        apart(logged.committed, ts)
    } else {
        0
    };
    outside / 1_000
}

fn same_statements(one: &LoggedTransaction, other: &LoggedTransaction) -> bool {
    let same = |(one, other): (&super::sessions::LoggedStatement, &super::sessions::LoggedStatement)| {
        one.sql == other.sql && one.parameters == other.parameters
    };
    one.application_name == other.application_name
        && one.statements.len() == other.statements.len()
        && one.statements.iter().zip(&other.statements).all(same)
}

fn apart(one: Timestamp, other: Timestamp) -> u64 {
    one.as_micros().abs_diff(other.as_micros())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::images::Images;
    use super::super::sessions::LoggedStatement;
    use super::*;
    use crate::model::{
        Column, ColumnType, Operation, RecordKey, RecordedWrite, RecordingId, Row, Snapshots, TableName, TableSchema,
        Value,
    };
    use crate::sql::Role;

    fn schemas() -> Schemas {
        let column = |name: &str| Column {
            name: name.into(),
            column_type: ColumnType::Integer,
            not_null: true,
            generated: false,
        };
        let name = TableName::new("public", "t");
        let schema = TableSchema {
            name: name.clone(),
            columns: vec![column("id"), column("a")],
            key: vec!["id".into()],
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
        };
        Schemas::from([(name, Arc::new(schema))])
    }

    fn row(id: &str, a: &str) -> Row {
        [("id".into(), Value::text(id)), ("a".into(), Value::text(a))].into_iter().collect()
    }

    /// An insert of this id.
    fn insert(id: &str, ts: i64) -> (RecordedWrite, Images) {
        let after = Some(row(id, "1"));
        let write = RecordedWrite {
            id: RecordingId([0; 16]),
            seq: None,
            ts: Timestamp::from_micros(ts),
            table: TableName::new("public", "t"),
            operation: Operation::Insert,
            key: Row::new(),
            before: None,
            after: after.clone(),
            reads: Vec::new(),
            transaction: Some(TransactionId(id.into())),
            session: None,
            trace: None,
            release: None,
            service: None,
            statement: None,
            parameters: Vec::new(),
        };
        let key = RecordKey::new(vec![("id".into(), Value::text(id))]);
        (write, Images { key, before: None, after })
    }

    /// A transaction of one statement, from one time to another, after which its session goes on.
    fn logged(sql: &str, id: Option<&str>, [begun, committed, followed]: [i64; 3]) -> LoggedTransaction {
        let parsed = crate::sql::parse(sql).ok().and_then(|mut parsed| parsed.pop()).map(Arc::new);
        let statement = LoggedStatement {
            sql: sql.into(),
            parsed,
            parameters: Vec::new(),
            started: Timestamp::from_micros(begun),
            role: Role::Write,
            time_zone: None,
        };
        LoggedTransaction {
            begun: Timestamp::from_micros(begun),
            committed: Timestamp::from_micros(committed),
            followed: Some(Timestamp::from_micros(followed)),
            transaction: id.map(|id| TransactionId(id.into())),
            snapshots: Snapshots::default(),
            application_name: None,
            database: None,
            statements: vec![statement],
        }
    }

    /// How the last of the recorded transactions is joined: the place of its partner, and how surely.
    fn last_link(
        session: Vec<LoggedTransaction>,
        recorded: &[(RecordedWrite, Images)],
    ) -> Option<(usize, StatementLink)> {
        let log = Log::from([(SessionId("s".into()), session)]);
        let recorded: Vec<RecordedTransaction<'_>> = recorded
            .iter()
            .map(|(write, images)| RecordedTransaction {
                id: write.transaction.clone(),
                session: None,
                ts: write.ts,
                stamps: Vec::new(),
                writes: vec![JoinedWrite { recorded: write, images }],
            })
            .collect();
        let (joined, _) = join(&recorded, &log, &schemas(), &ClockEvidence::default());
        joined.last()?.as_ref().map(|joined| (joined.place, joined.link))
    }

    #[test]
    fn in_a_busy_log_the_nearest_in_time_that_fits_is_meant() {
        // Thousands within the minute that fit by what they wrote: looking at all of them for each would take hours.
        let count = 3_000;
        let text = |place: i64| format!("UPDATE t SET a = {place} WHERE a >= 0");
        let sessions = (0..count).map(|place| {
            let times = [place * 10_000, place * 10_000 + 100, place * 10_000 + 5_000];
            (SessionId(format!("s{place:05}").into()), vec![logged(&text(place), None, times)])
        });
        let log: Log = sessions.collect();
        let written: Vec<(RecordedWrite, Images)> = (0..count)
            .map(|place| {
                let (mut write, mut images) = insert(&place.to_string(), place * 10_000 + 50);
                write.operation = Operation::Update;
                images.before = Some(row(&place.to_string(), "0"));
                images.after = Some(row(&place.to_string(), &place.to_string()));
                (write, images)
            })
            .collect();
        let recorded: Vec<RecordedTransaction<'_>> = written
            .iter()
            .map(|(write, images)| RecordedTransaction {
                id: None,
                session: None,
                ts: write.ts,
                stamps: Vec::new(),
                writes: vec![JoinedWrite { recorded: write, images }],
            })
            .collect();
        let began = std::time::Instant::now();
        let (joined, _) = join(&recorded, &log, &schemas(), &ClockEvidence::default());
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
        for (place, joined) in joined.iter().enumerate() {
            let joined = joined.as_ref().expect("each is joined");
            assert_eq!(
                (joined.session.0.as_ref(), joined.link),
                (format!("s{place:05}").as_str(), StatementLink::SessionOrder)
            );
        }
    }

    #[test]
    fn by_one_clock_a_transaction_commits_before_its_session_goes_on() {
        let times = |place: i64| [place * 10_000, place * 10_000 + 2_000, place * 10_000 + 2_500];
        let named = |is_named: bool| -> Vec<LoggedTransaction> {
            let of = |place: i64| {
                let id = place.to_string();
                logged(&format!("INSERT INTO t VALUES ({place}, 1)"), is_named.then_some(id.as_str()), times(place))
            };
            (1..=5).map(of).collect()
        };
        let recorded = |drift: i64| -> Vec<(RecordedWrite, Images)> {
            let witness = |place: i64| insert(&place.to_string(), place * 10_000 + 1_501 + drift);
            (1..=5).map(witness).chain([insert("9", 61_901)]).collect()
        };
        // Nothing of what a block wrote is to be seen, so that time alone decides between two that are near.
        let blocks = || {
            [
                logged("DO $$ BEGIN PERFORM f(1); END $$", None, [60_000, 60_000, 60_200]),
                logged("DO $$ BEGIN PERFORM f(2); END $$", None, [60_200, 62_000, 63_000]),
            ]
        };
        let session = |is_named| -> Vec<LoggedTransaction> { named(is_named).into_iter().chain(blocks()).collect() };
        assert_eq!(last_link(session(true), &recorded(0)), Some((6, StatementLink::SessionOrder)));
        let doubtful = Some((6, StatementLink::Ambiguous));
        assert_eq!(last_link(session(false), &recorded(0)), doubtful, "nothing tells that the clocks agree");
        assert_eq!(last_link(session(true), &recorded(-9_000)), doubtful, "they do not");
    }
}
