//! Statement snapshots: a statement sees what was committed when it began, and its transaction may commit long after.
//!
//! The sweep takes transactions as they committed. What others committed while this one stood open is taken back, in both
//! worlds, for as long as a statement is run that began before: rows that it wrote itself, or its transaction before it,
//! stay, because their locks made it wait for the others. Where the log's clock leaves open which commits it saw, what
//! it wrote tells: it saw all of them that it may have seen, unless it did not do what it would have done then.

use std::collections::BTreeSet;

use super::rerun::Evaluated;
use super::{Sweep, record_of};
use crate::model::{
    ColumnName, RecordKey, SessionId, Snapshots, Statement, StatementLink, TableName, Timestamp, Transaction, Value,
    Write,
};
use crate::sql::TableReference;
use crate::trace::changes::Changes;
use crate::trace::reenact::{CompiledWrite, constant_values};
use crate::trace::worlds::RecordName;

/// How long before a statement began, in microseconds, another's commit may have been recorded and not yet be seen: it is
/// recorded before it is flushed …
const NOT_YET_SEEN: i64 = 5_000;

/// … and how long after it began, which the log tells cut to milliseconds or seconds, a statement may still see another's
/// commit: the snapshot is taken once the statement is parsed.
const STILL_SEEN: i64 = 1_000;

/// Which commits a statement saw is asked of what it wrote, among so many more answers at most.
const MOST_STATES: usize = 16;

/// A commit that a statement to come may not have seen.
pub(super) struct Recent {
    committed: Timestamp,
    session: Option<SessionId>,
    changes: Changes,
}

/// A statement with its place, for the states that it may have seen.
#[derive(Clone, Copy)]
pub(super) struct Looking<'a> {
    pub(super) transaction: &'a Transaction,
    /// The step's place in the transaction.
    pub(super) place: usize,
    pub(super) statement: &'a Statement,
    pub(super) references: &'a [&'a TableReference],
}

impl Looking<'_> {
    /// What the statement wrote.
    pub(super) fn writes(&self) -> &[Write] {
        self.transaction.steps.get(self.place).map_or(&[], |step| step.writes.as_slice())
    }
}

impl Sweep {
    /// Whether a statement to come began before this commit: then it may have to be taken back for it.
    pub(super) fn begin_recent(&mut self, committed: Timestamp, oldest_to_come: Option<Timestamp>) -> bool {
        let margin = Timestamp::from_micros(committed.as_micros().saturating_add(NOT_YET_SEEN));
        let overlaps = oldest_to_come.is_some_and(|oldest| oldest < margin);
        if overlaps {
            self.worlds.begin();
        }
        overlaps
    }

    /// Remembers what the transaction changed, where a statement to come may not have seen it, and forgets what all have.
    pub(super) fn end_recent(&mut self, transaction: &Transaction, overlaps: bool, oldest_to_come: Option<Timestamp>) {
        if overlaps {
            let changes = self.worlds.end();
            let session = transaction.session.clone();
            self.recent.push_back(Recent { committed: transaction.committed, session, changes });
        }
        let is_seen_by_all = |recent: &mut Recent| {
            let margin = recent.committed.as_micros().saturating_add(NOT_YET_SEEN);
            oldest_to_come.is_none_or(|oldest| margin <= oldest.as_micros())
        };
        while self.recent.pop_front_if(is_seen_by_all).is_some() {}
    }

    /// The states that the statement may have seen, the likeliest, the latest, first: how many of the latest commits it
    /// did not see, of those that changed something that it reads. `[0]` where it surely saw all of them.
    pub(super) fn states(&self, looking: Looking<'_>) -> Vec<usize> {
        let Some(latest) = self.recent.back() else { return vec![0] };
        let statement = looking.statement;
        // An event's own time is all that there is: no clock of a log beside it.
        let is_event = statement.link == StatementLink::Event;
        let (not_yet_seen, still_seen) =
            if is_event { (0, 0) } else { (NOT_YET_SEEN, STILL_SEEN + self.log_precision) };
        let looked = match looking.transaction.snapshots {
            Snapshots::OfStatements => statement.started,
            Snapshots::OfTransaction => first_statement(looking.transaction).unwrap_or(statement.started),
        };
        let earliest = Timestamp::from_micros(looked.as_micros().saturating_sub(not_yet_seen));
        if latest.committed <= earliest {
            return vec![0];
        }
        // Its own session's commits it has seen, and all before them.
        let own = |recent: &&Recent| recent.session.is_some() && recent.session == looking.transaction.session;
        let unseen = |moment: Timestamp| {
            let since = self.recent.iter().rev().take_while(|recent| recent.committed > moment && !own(recent));
            since.count()
        };
        let after = Timestamp::from_micros(looked.as_micros().saturating_add(still_seen));
        let (fewest, most) = (unseen(after), unseen(earliest));
        let bounds = self.read_bounds(looking);
        // A state differs from the one with a commit less where that commit changed something that the statement reads.
        let matters = |unseen: &usize| {
            let recent = unseen.checked_sub(1).and_then(|place| self.recent.iter().rev().nth(place));
            recent.is_some_and(|recent| bounds.iter().any(|bounds| bounds.reads_of(&recent.changes).next().is_some()))
        };
        let mut states = vec![(1..=fewest).rev().find(matters).unwrap_or(0)];
        states.extend((fewest + 1..=most).filter(matters).take(MOST_STATES));
        states
    }

    /// Takes the latest commits back, as far as the statement reads what they changed; to be rolled back.
    pub(super) fn hide(&mut self, unseen: usize, looking: Looking<'_>) -> BTreeSet<RecordName> {
        let mut hidden = BTreeSet::new();
        self.worlds.begin();
        if unseen == 0 {
            return hidden;
        }
        let written = self.written_so_far(looking);
        let bounds = self.read_bounds(looking);
        for place in (self.recent.len().saturating_sub(unseen)..self.recent.len()).rev() {
            let Some(recent) = self.recent.get(place) else { continue };
            let read: BTreeSet<RecordName> =
                bounds.iter().flat_map(|bounds| bounds.reads_of(&recent.changes)).collect();
            for record in read.into_iter().filter(|record| !written.contains(record)) {
                let earlier = self.recent.get(place).and_then(|recent| recent.changes.of_record(&record.0, &record.1));
                if let Some((_, earlier)) = earlier {
                    self.worlds.put_back(&record, earlier);
                    hidden.insert(record);
                }
            }
        }
        hidden
    }

    /// What the transaction wrote up to the statement, its own rows included: those are as they stand.
    fn written_so_far(&self, looking: Looking<'_>) -> BTreeSet<RecordName> {
        let steps = looking.transaction.steps.iter().take(looking.place + 1);
        steps.flat_map(|step| &step.writes).flat_map(|write| [record_of(write), self.old_record(write)]).collect()
    }

    /// What the statement's references read, as far as it fixes the key.
    fn read_bounds<'a>(&self, looking: Looking<'a>) -> Vec<ReadBounds<'a>> {
        let of_reference = |reference: &&'a TableReference| {
            let table = &reference.table;
            let Some(schema) = self.worlds.schema(table) else {
                return ReadBounds { table, fixed: Vec::new(), is_whole_key: false };
            };
            let of_key = reference.bounds.iter().filter(|bound| schema.key.contains(&bound.column));
            let fixed: Vec<(ColumnName, BTreeSet<Value>)> = of_key
                .filter_map(|bound| {
                    let known = schema.column(&bound.column)?;
                    let values = constant_values(bound, &known.column_type, &looking.statement.parameters)?;
                    Some((bound.column.clone(), values.into_iter().collect()))
                })
                .collect();
            let is_whole_key = matches!(fixed.as_slice(), [(column, _)] if schema.key == [column.clone()]);
            ReadBounds { table, fixed, is_whole_key }
        };
        looking.references.iter().map(of_reference).collect()
    }

    /// What comes of the statement, run over the state that it saw.
    pub(super) async fn evaluated_then(
        &mut self,
        looking: Looking<'_>,
        write: &CompiledWrite,
        states: &[usize],
    ) -> Evaluated {
        if !self.is_touched_in_one_of(states, looking, write) {
            return Evaluated::Untouched;
        }
        let mut refused: Option<Evaluated> = None;
        for unseen in states {
            let hidden = self.hide(*unseen, looking);
            let evaluated = self.evaluated_surely(looking, write, &hidden).await;
            self.worlds.roll_back();
            match evaluated {
                Evaluated::Refused { .. } => {
                    refused.get_or_insert(evaluated);
                }
                Evaluated::Untouched | Evaluated::Ran { .. } => return evaluated,
            }
        }
        refused.unwrap_or(Evaluated::Untouched)
    }

    /// Whether the worlds differ, in one of the states, on something that the statement touches.
    fn is_touched_in_one_of(&mut self, states: &[usize], looking: Looking<'_>, write: &CompiledWrite) -> bool {
        states.iter().any(|unseen| {
            self.hide(*unseen, looking);
            let touched = self.touched(write.references(), &looking.statement.parameters);
            self.worlds.roll_back();
            !touched.records.is_empty() || self.source_of_unnamed(write.references_of_others()).is_some()
        })
    }
}

/// What a statement reads of a table, as far as it fixes the key.
struct ReadBounds<'a> {
    table: &'a TableName,
    /// The key's columns that are fixed, each with the values let through.
    fixed: Vec<(ColumnName, BTreeSet<Value>)>,
    /// Whether the one column that is fixed is the whole key.
    is_whole_key: bool,
}

impl ReadBounds<'_> {
    /// The records that these changes are about and that the statement may read.
    fn reads_of<'a>(&'a self, changes: &'a Changes) -> Box<dyn Iterator<Item = RecordName> + 'a> {
        match self.fixed.as_slice() {
            [(column, values)] if self.is_whole_key => {
                let keys = values.iter().map(|value| RecordKey::new(vec![(column.clone(), value.clone())]));
                let changed = keys.filter_map(|key| Some(changes.of_record(self.table, &key)?.0.clone()));
                Box::new(changed.map(|key| (self.table.clone(), key)))
            }
            fixed => {
                let is_let_through = |key: &RecordKey| {
                    fixed.iter().all(|(column, values)| key.get(column).is_none_or(|held| values.contains(held)))
                };
                let changed = changes.of_table(self.table).filter(move |(key, _)| is_let_through(key));
                Box::new(changed.map(|(key, _)| (self.table.clone(), key.clone())))
            }
        }
    }
}

fn first_statement(transaction: &Transaction) -> Option<Timestamp> {
    transaction.steps.iter().filter_map(|step| step.statement.as_ref()).map(|statement| statement.started).min()
}

/// For each transaction, when the first statement of those after it began.
pub(super) fn oldest_to_come(transactions: &[Transaction]) -> Vec<Option<Timestamp>> {
    let mut oldest: Vec<Option<Timestamp>> = Vec::with_capacity(transactions.len());
    let mut to_come: Option<Timestamp> = None;
    for transaction in transactions.iter().rev() {
        oldest.push(to_come);
        to_come = match (to_come, first_statement(transaction)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    oldest.reverse();
    oldest
}
