//! Recorded transactions joined to the log's: by transaction id, by a session's order, by time.
//!
//! A plain log names the id of only some transactions, so an id is a proof where it is there and no more. Both sides
//! have a session's transactions in the same order; what each wrote and when decides between them.

use std::collections::{BTreeMap, HashMap};

use super::sessions::LoggedTransaction;
use super::steps::{Assignment, JoinedWrite, assign};
use crate::model::{SessionId, StatementLink, Timestamp, TransactionId};
use crate::sql::Schemas;

/// The writes of one committed transaction, as recorded.
#[derive(Debug)]
pub struct RecordedTransaction<'a> {
    /// Its id, where the recording says.
    pub id: Option<TransactionId>,
    /// Its session, where the recording says.
    pub session: Option<SessionId>,
    /// When its last write was recorded.
    pub ts: Timestamp,
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
}

/// How far a recorded time may lie from the logged commit, in microseconds, where nothing but time and content joins
/// them: clocks of two machines, and a commit that waited.
const FAR: u64 = 60_000_000;

/// How many more of a session's transactions are looked at, once one fits, for one that fits as well.
const RIVALS: usize = 8;

/// Joins each recorded transaction to the log; `None` where the log does not have it.
pub fn join(
    recorded: &[RecordedTransaction<'_>],
    log: &BTreeMap<SessionId, Vec<LoggedTransaction>>,
    schemas: &Schemas,
) -> Vec<Option<Joined>> {
    let mut joining = Joining { log, schemas, taken: HashMap::new(), by_id: ids(log), by_commit: by_commit(log) };
    let mut joined: Vec<Option<Joined>> =
        recorded.iter().map(|transaction| joining.by_transaction_id(transaction)).collect();
    for (transaction, joined) in recorded.iter().zip(&mut joined) {
        if joined.is_none() && transaction.session.is_some() {
            *joined = joining.by_session_order(transaction);
        }
    }
    for (transaction, joined) in recorded.iter().zip(&mut joined) {
        if joined.is_none() && transaction.session.is_none() {
            *joined = joining.by_time(transaction);
        }
    }
    joined
}

fn ids(log: &BTreeMap<SessionId, Vec<LoggedTransaction>>) -> HashMap<TransactionId, Vec<(SessionId, usize)>> {
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

fn by_commit(log: &BTreeMap<SessionId, Vec<LoggedTransaction>>) -> Vec<(Timestamp, SessionId, usize)> {
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

struct Joining<'a> {
    log: &'a BTreeMap<SessionId, Vec<LoggedTransaction>>,
    schemas: &'a Schemas,
    /// Places of each session that are joined already; the last one joined by order.
    taken: HashMap<SessionId, Vec<bool>>,
    by_id: HashMap<TransactionId, Vec<(SessionId, usize)>>,
    by_commit: Vec<(Timestamp, SessionId, usize)>,
}

impl Joining<'_> {
    fn is_free(&self, session: &SessionId, place: usize) -> bool {
        self.taken.get(session).is_none_or(|taken| !taken.get(place).copied().unwrap_or(false))
    }

    fn take(&mut self, session: &SessionId, place: usize, link: StatementLink, assignment: Assignment) -> Joined {
        let length = self.log.get(session).map_or(0, Vec::len);
        let taken = self.taken.entry(session.clone()).or_insert_with(|| vec![false; length]);
        if let Some(taken) = taken.get_mut(place) {
            *taken = true;
        }
        let link = if assignment.ambiguous { StatementLink::Ambiguous } else { link };
        Joined { session: session.clone(), place, link, assignment }
    }

    fn by_transaction_id(&mut self, recorded: &RecordedTransaction<'_>) -> Option<Joined> {
        let named = self.by_id.get(recorded.id.as_ref()?)?.clone();
        let fitting: Vec<_> = named
            .into_iter()
            .filter(|(session, _)| recorded.session.as_ref().is_none_or(|own| own == session))
            .filter(|(session, place)| self.is_free(session, *place))
            .filter_map(|(session, place)| {
                let transaction = self.log.get(&session)?.get(place)?;
                assign(&recorded.writes, transaction, self.schemas).map(|assignment| (session, place, assignment))
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

    /// Among the session's transactions that still can be meant, the nearest in time that fits; another one near that
    /// fits as well and says something else makes it ambiguous.
    fn by_session_order(&mut self, recorded: &RecordedTransaction<'_>) -> Option<Joined> {
        let session = recorded.session.as_ref()?;
        let log = self.log.get(session)?;
        let mut rivals = 0;
        let mut meant: Option<(usize, Assignment)> = None;
        let mut ambiguous = false;
        for place in nearest_first(log, recorded.ts) {
            let transaction = &log[place];
            let other_id =
                transaction.transaction.is_some() && recorded.id.is_some() && transaction.transaction != recorded.id;
            if !transaction.may_write() || other_id || !self.is_free(session, place) {
                continue;
            }
            let fits = assign(&recorded.writes, transaction, self.schemas);
            match (&meant, fits) {
                (None, Some(assignment)) => meant = Some((place, assignment)),
                (Some((nearest, _)), Some(_)) => ambiguous |= !same_statements(transaction, &log[*nearest]),
                (_, None) => {}
            }
            if meant.is_some() {
                rivals += 1;
            }
            if rivals > RIVALS {
                break;
            }
        }
        let (place, assignment) = meant?;
        let link = if ambiguous { StatementLink::Ambiguous } else { StatementLink::SessionOrder };
        Some(self.take(session, place, link, assignment))
    }

    fn by_time(&mut self, recorded: &RecordedTransaction<'_>) -> Option<Joined> {
        let middle = self.by_commit.partition_point(|(committed, _, _)| *committed < recorded.ts);
        let near = |entry: &&(Timestamp, SessionId, usize)| apart(entry.0, recorded.ts) <= FAR;
        let after = self.by_commit[middle..].iter().take_while(near);
        let before = self.by_commit[..middle].iter().rev().take_while(near);
        let mut fitting = Vec::new();
        for (committed, session, place) in after.chain(before) {
            let Some(transaction) = self.log.get(session).and_then(|log| log.get(*place)) else { continue };
            let other_id =
                transaction.transaction.is_some() && recorded.id.is_some() && transaction.transaction != recorded.id;
            if other_id || !self.is_free(session, *place) {
                continue;
            }
            if let Some(assignment) = assign(&recorded.writes, transaction, self.schemas) {
                fitting.push((apart(*committed, recorded.ts), session.clone(), *place, assignment));
            }
        }
        fitting.sort_by(|one, other| (one.0, &one.1, one.2).cmp(&(other.0, &other.1, other.2)));
        let mut fitting = fitting.into_iter();
        let (_, session, place, assignment) = fitting.next()?;
        let meant = &self.log[&session][place];
        let ambiguous = fitting.any(|(_, session, place, _)| !same_statements(&self.log[&session][place], meant));
        let link = if ambiguous { StatementLink::Ambiguous } else { StatementLink::SessionOrder };
        Some(self.take(&session, place, link, assignment))
    }
}

/// The places of a session's transactions (in order of time), those nearest to `ts` first, none that is far.
fn nearest_first(log: &[LoggedTransaction], ts: Timestamp) -> impl Iterator<Item = usize> {
    let middle = log.partition_point(|transaction| transaction.committed < ts);
    let (mut before, mut after) = (middle, middle);
    std::iter::from_fn(move || {
        let distance = |place: usize| log.get(place).map(|transaction| apart(transaction.committed, ts));
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

fn same_statements(one: &LoggedTransaction, other: &LoggedTransaction) -> bool {
    let same = |(one, other): (&super::sessions::LoggedStatement, &super::sessions::LoggedStatement)| {
        one.sql == other.sql && one.parameters == other.parameters
    };
    one.statements.len() == other.statements.len() && one.statements.iter().zip(&other.statements).all(same)
}

fn apart(one: Timestamp, other: Timestamp) -> u64 {
    one.as_micros().abs_diff(other.as_micros())
}
