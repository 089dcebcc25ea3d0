//! Logged transactions that wrote no recorded row: where they stand in the history.
//!
//! An UPDATE that found no row is no news to a change stream, but in the right world it might have found one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::clocks::Clocks;
use super::join::{Joined, Log, RecordedTransaction};
use super::sessions::LoggedTransaction;
use crate::model::{SessionId, TableName, Timestamp, TraceId};
use crate::sql::{self, Schemas};

/// A logged transaction that no recorded one is joined to.
#[derive(Clone, Copy, Debug)]
pub struct Unwritten<'a> {
    /// Its session.
    pub session: &'a SessionId,
    /// As logged.
    pub logged: &'a LoggedTransaction,
    /// The place of the recorded transaction that it stands before.
    pub before: usize,
}

/// Those that matter for what comes after, because they may write a table that is known or belong to a trace, in order:
/// between their session's neighbours, and by time; and the others, with their sessions. A log of which nothing is joined,
/// here or `before`, may be another database's, as a session of a database to which nothing is joined: they are left out.
pub fn unwritten<'a>(
    recorded: &[RecordedTransaction<'_>],
    joined: &[Option<Joined>],
    log: &'a Log,
    schemas: &Schemas,
    clocks: &Clocks,
    is_joined_before: bool,
) -> (Vec<Unwritten<'a>>, Vec<(&'a SessionId, &'a LoggedTransaction)>) {
    let links = joined.iter().enumerate().filter_map(|(place, joined)| Some((place, joined.as_ref()?)));
    // By session: the recorded place of each logged one that is joined.
    let mut of_session: BTreeMap<&SessionId, BTreeMap<usize, usize>> = BTreeMap::new();
    let mut databases: BTreeSet<&Arc<str>> = BTreeSet::new();
    for (place, link) in links {
        of_session.entry(&link.session).or_default().insert(link.place, place);
        let logged = log.get(&link.session).and_then(|session| session.get(link.place));
        databases.extend(logged.and_then(|logged| logged.database.as_ref()));
    }
    if of_session.is_empty() && !is_joined_before {
        return (Vec::new(), Vec::new());
    }
    let times = Times { recorded, joined, log, latest: latest_times(recorded), log_precision: clocks.log_precision() };
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for (session, transactions) in log {
        let links = of_session.remove(session).unwrap_or_default();
        let mut temporary: BTreeSet<TableName> = BTreeSet::new();
        for (place, logged) in transactions.iter().enumerate() {
            let fills_temporary = fills_temporary(logged, schemas, &mut temporary);
            let elsewhere =
                logged.database.as_ref().is_some_and(|name| !databases.is_empty() && !databases.contains(name));
            if links.contains_key(&place) || elsewhere {
                continue;
            }
            if !(fills_temporary || matters(logged, schemas)) {
                others.push((session, logged));
                continue;
            }
            let after = links.range(..place).next_back().map_or(0, |(_, earlier)| earlier + 1);
            let until = links.range(place..).next().map_or(recorded.len(), |(_, later)| *later);
            // A session's order holds where times disagree with it.
            let before = times.place_of(logged).max(after).min(until.max(after));
            found.push(Unwritten { session, logged, before });
        }
    }
    found.sort_by_key(|one| (one.before, one.logged.committed));
    (found, others)
}

/// Where a logged transaction stands among the recorded ones by time alone.
struct Times<'a> {
    recorded: &'a [RecordedTransaction<'a>],
    joined: &'a [Option<Joined>],
    log: &'a Log,
    /// The latest time up to each place.
    latest: Vec<Timestamp>,
    log_precision: i64,
}

impl Times<'_> {
    /// The place that it stands before. The log's times are cut: of what committed meanwhile it stands behind all but what
    /// its own trace wrote; what it had not seen of that, the sweep asks of what it wrote.
    fn place_of(&self, logged: &LoggedTransaction) -> usize {
        let end = logged.committed.as_micros().saturating_add(self.log_precision);
        let last = self.latest.partition_point(|time| time.as_micros() < end);
        let traces = traces_of(logged);
        if traces.is_empty() {
            return last;
        }
        let first = self.latest.partition_point(|time| *time <= logged.committed);
        (first..last).find(|place| !traces.is_disjoint(&self.traces_at(*place))).unwrap_or(last)
    }

    fn traces_at(&self, place: usize) -> BTreeSet<TraceId> {
        let recorded = self.recorded.get(place);
        let written = recorded.into_iter().flat_map(|recorded| &recorded.writes);
        let mut traces: BTreeSet<TraceId> = written.filter_map(|write| write.recorded.trace.clone()).collect();
        let stamps = recorded.into_iter().flat_map(|recorded| &recorded.stamps);
        traces.extend(stamps.filter_map(|stamp| TraceId::of_tags(&stamp.tags)));
        let link = self.joined.get(place).and_then(Option::as_ref);
        let logged = link.and_then(|link| self.log.get(&link.session)?.get(link.place));
        traces.extend(logged.into_iter().flat_map(traces_of));
        traces
    }
}

/// The latest time up to each place: what is in commit order need not be in the order of its times.
fn latest_times(recorded: &[RecordedTransaction<'_>]) -> Vec<Timestamp> {
    let mut latest = None;
    let times = recorded.iter().map(|transaction| {
        *latest.insert(latest.map_or(transaction.ts, |latest: Timestamp| latest.max(transaction.ts)))
    });
    times.collect()
}

/// What it read counts, too, where its trace says who goes on from there.
fn matters(logged: &LoggedTransaction, schemas: &Schemas) -> bool {
    may_write_known_table(logged, schemas) || !traces_of(logged).is_empty()
}

/// The traces that its statements belong to.
fn traces_of(logged: &LoggedTransaction) -> BTreeSet<TraceId> {
    logged.statements.iter().filter_map(|statement| TraceId::of_comment(&statement.sql)).collect()
}

/// Whether it refreshes a view, makes a temporary table or writes one of its session, of which these are known so far.
fn fills_temporary(logged: &LoggedTransaction, schemas: &Schemas, temporary: &mut BTreeSet<TableName>) -> bool {
    let mut fills = logged.statements.iter().any(|statement| sql::refreshed_view(&statement.sql).is_some());
    for parsed in logged.statements.iter().filter_map(|statement| statement.parsed.as_deref()) {
        if let Some(table) = sql::temporary_table(parsed) {
            temporary.insert(table);
            fills = true;
        } else if let Some(dropped) = sql::DroppedTables::of(parsed) {
            fills |= temporary.iter().any(|table| dropped.contains(table));
            temporary.retain(|table| !dropped.contains(table));
        } else if !temporary.is_empty() {
            fills |= sql::write_targets(parsed, schemas).iter().any(|target| temporary.contains(&target.table));
        }
    }
    fills
}

fn may_write_known_table(logged: &LoggedTransaction, schemas: &Schemas) -> bool {
    let parsed = logged.statements.iter().filter_map(|statement| statement.parsed.as_deref());
    parsed.flat_map(|parsed| sql::write_targets(parsed, schemas)).any(|target| schemas.contains_key(&target.table))
}
