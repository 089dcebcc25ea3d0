//! A statement run again: first over the rows as they were, until it does what was recorded of it; then over the rows as
//! they should have been.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::amendment::Amendment;
use super::learn::{Differences, Lesson};
use super::run::{Asked, Given, Ran};
use super::server::Scratch;
use crate::catalog::{RollingTables, World};
use crate::model::{ColumnName, Operation, Row, Statement, Timestamp, Transaction, Write};
use crate::sql::Schemas;
use crate::trace::reach::Reached;
use crate::trace::reenact::Refusal;
use crate::trace::worlds::{RecordName, Worlds};

/// How often a run may teach the next one.
const LESSONS: usize = 4;

/// What was recorded of a statement: each record that it wrote, as it was before and after.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    pub(super) rows: BTreeMap<RecordName, RecordedRow>,
    before: BTreeMap<RecordName, Option<Row>>,
}

/// A record after a statement.
#[derive(Clone, Debug)]
pub(super) struct RecordedRow {
    row: Option<Arc<Row>>,
    /// Whether its image told the column.
    told: Option<BTreeSet<ColumnName>>,
}

impl Recorded {
    /// The record after the statement.
    pub fn after(&self, record: &RecordName) -> Option<Row> {
        match self.rows.get(record) {
            Some(written) => written.row.as_deref().cloned(),
            None => self.before(record),
        }
    }

    /// The record before it.
    pub(super) fn before(&self, record: &RecordName) -> Option<Row> {
        self.before.get(record).cloned().flatten()
    }

    /// Whether the recording tells what the column holds.
    pub fn tells(&self, record: &RecordName, column: &ColumnName) -> bool {
        let told = self.rows.get(record).and_then(|written| written.told.as_ref());
        told.is_none_or(|told| told.contains(column))
    }

    /// From now on, nothing is known of the record.
    pub fn forget(&mut self, record: &RecordName) {
        self.rows.remove(record);
    }

    /// The records that were written.
    pub fn records(&self) -> impl Iterator<Item = &RecordName> {
        self.rows.keys()
    }
}

/// What was recorded of a statement's writes, over the actual world before it.
pub fn recorded_of(worlds: &Worlds, writes: &[Write]) -> Recorded {
    let mut recorded = Recorded::default();
    for write in writes {
        let Some(table) = worlds.tables.table(&write.table) else { continue };
        let record = (write.table.clone(), write.key.clone());
        let old_key = write.before.as_ref().and_then(|before| before.key(&table.schema().key));
        let old = (write.table.clone(), old_key.unwrap_or_else(|| write.key.clone()));
        for name in [&record, &old] {
            let stood = || worlds.row(World::Actual, name).map(|row| row.as_ref().clone());
            recorded.before.entry(name.clone()).or_insert_with(stood);
        }
        let known = |recorded: &Recorded, name: &RecordName| recorded.after(name);
        let row = match write.operation {
            Operation::Delete | Operation::Truncate => None,
            Operation::Insert | Operation::Update => {
                let older = known(&recorded, &old).filter(|_| write.operation == Operation::Update);
                let key = write.key.to_row();
                let newer = write.after.as_ref().map_or_else(|| key.clone(), |after| key.overlaid(after));
                Some(Arc::new(table.whole(older.as_ref(), &newer)))
            }
        };
        let told = write
            .after
            .as_ref()
            .map(|after| after.iter().chain(write.key.to_row().iter()).map(|(name, _)| name.clone()).collect());
        if old != record {
            recorded.rows.insert(old, RecordedRow { row: None, told: None });
        }
        let told = row.is_some().then(|| told.unwrap_or_default());
        recorded.rows.insert(record, RecordedRow { row, told });
    }
    recorded
}

/// A statement with its place in the history.
#[derive(Clone, Copy)]
pub struct Replay<'a> {
    /// Its transaction.
    pub transaction: &'a Transaction,
    /// The statement.
    pub statement: &'a Statement,
    /// What it can come to.
    pub reached: &'a Reached,
    /// What was recorded of it.
    pub recorded: &'a Recorded,
}

/// A statement that did what was recorded of it.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Every row that it wrote, as it was in the end.
    pub rows: BTreeMap<RecordName, Option<Row>>,
    returned: Vec<Vec<Option<Vec<u8>>>>,
    calls: BTreeMap<String, i32>,
    now: Timestamp,
    given: Given,
    /// Cells that chance decided.
    by_chance: BTreeSet<(RecordName, ColumnName)>,
}

/// What the statement does in the right world.
#[derive(Clone, Debug)]
pub struct InRightWorld {
    /// Every row that it writes, as it is in the end.
    pub rows: BTreeMap<RecordName, Option<Row>>,
    /// Whether it hands back something else.
    pub returns_otherwise: bool,
    /// Cells whose value chance alone could give.
    pub unknown: BTreeSet<(RecordName, ColumnName)>,
}

impl Scratch {
    /// Runs the statement over the actual world.
    ///
    /// # Errors
    /// What cannot be run there, or does not do what was recorded.
    pub async fn replay(
        &mut self,
        tables: &mut RollingTables,
        schemas: &Schemas,
        replay: Replay<'_>,
    ) -> Result<Replayed, Refusal> {
        self.knows(replay.reached)?;
        self.keep_up(tables, &replay.reached.tables).await?;
        let mut asked = self.asked(replay, &[]);
        asked.now = self.learned_time(replay.transaction).unwrap_or(replay.transaction.started);
        let mut lessons = 0;
        let (ran, differences) = loop {
            let is_first = replay.statement.started <= replay.transaction.started;
            asked.statement = if is_first { asked.now } else { replay.statement.started };
            let ran = self.run(tables, World::Actual, &asked).await?;
            let differences = Differences::between(&ran, &with_before(replay.recorded, &ran, tables), schemas);
            if differences.is_empty() || lessons == LESSONS {
                break (ran, differences);
            }
            let lesson =
                Lesson { now: asked.now, statement: asked.statement, calls: &ran.calls, sequences: &self.sequences };
            let learned = lesson.learned(&differences, &ran, replay.recorded, schemas);
            if learned.is_empty() {
                break (ran, differences);
            }
            asked.given.extend(learned.given);
            asked.now = learned.now.unwrap_or(asked.now);
            lessons += 1;
        };
        let by_chance = match differences.is_empty() && !uses_chance(&ran) {
            true => BTreeSet::new(),
            false => self.by_chance(tables, World::Actual, &ran, &asked).await?,
        };
        let is_explained = |cell: &(RecordName, ColumnName)| by_chance.contains(cell);
        if !differences.is_of_cells_alone() || !differences.cells.iter().all(is_explained) {
            let example = differences.example();
            return Err(Refusal(format!("did something else on the scratch server than was recorded ({example})")));
        }
        if asked.now != replay.transaction.started {
            self.note_time(replay.transaction, asked.now);
        }
        Ok(Replayed {
            rows: ran.rows,
            returned: ran.returned,
            calls: ran.calls,
            now: asked.now,
            given: asked.given,
            by_chance,
        })
    }

    /// Runs a statement that was replayed over the right world as it stands, with what it should have written.
    ///
    /// # Errors
    /// What the server refuses; rows whose keys only the database could give.
    pub async fn run_right(
        &mut self,
        tables: &RollingTables,
        replay: Replay<'_>,
        replayed: &Replayed,
        amendments: &[Amendment],
    ) -> Result<InRightWorld, Refusal> {
        let mut asked = self.asked(replay, amendments);
        asked.now = replayed.now;
        let is_first = replay.statement.started <= replay.transaction.started;
        asked.statement = if is_first { asked.now } else { replay.statement.started };
        asked.given.clone_from(&replayed.given);
        let mut ran = self.run(tables, World::Right, &asked).await?;
        for (kind, count) in ran.calls.iter().filter(|(kind, _)| kind.as_str() != "chance") {
            if replayed.calls.get(kind) != Some(count) {
                return Err(Refusal(
                    "asks in the right world for keys or times that only the database could give".to_owned(),
                ));
            }
        }
        let mut by_chance = match replayed.by_chance.is_empty() && !uses_chance(&ran) {
            true => BTreeSet::new(),
            false => self.by_chance(tables, World::Right, &ran, &asked).await?,
        };
        by_chance.extend(replayed.by_chance.iter().cloned());
        // Chance would have decided the same.
        let mut unknown = BTreeSet::new();
        for (record, column) in by_chance {
            let Some(Some(row)) = ran.rows.get_mut(&record) else { continue };
            let given = replay.recorded.after(&record).filter(|_| replay.recorded.rows.contains_key(&record));
            match given.as_ref().and_then(|given| given.get(&column)) {
                Some(value) => row.set(column, value.clone()),
                None => _ = unknown.insert((record, column)),
            }
        }
        let returns_otherwise = ran.returned != replayed.returned;
        Ok(InRightWorld { rows: ran.rows, returns_otherwise, unknown })
    }

    fn asked<'a>(&self, replay: Replay<'a>, amendments: &'a [Amendment]) -> Asked<'a> {
        Asked {
            sql: &replay.statement.sql,
            parameters: &replay.statement.parameters,
            zone: replay.statement.time_zone.as_ref().unwrap_or_else(|| self.zone.name()).clone(),
            now: replay.transaction.started,
            statement: replay.statement.started,
            transaction: replay.transaction.id.as_ref().map(|id| id.0.as_ref()),
            given: Given::new(),
            seed: 1,
            amendments,
            reached: &replay.reached.tables,
        }
    }

    /// The cells that come out otherwise by another chance.
    async fn by_chance(
        &mut self,
        tables: &RollingTables,
        world: World,
        ran: &Ran,
        asked: &Asked<'_>,
    ) -> Result<BTreeSet<(RecordName, ColumnName)>, Refusal> {
        let chances = if uses_chance(ran) { 6 } else { 2 };
        let mut cells = BTreeSet::new();
        for seed in 2..=chances {
            let other = self.run(tables, world, &Asked { seed, ..asked.clone() }).await?;
            let is_there = |rows: &BTreeMap<RecordName, Option<Row>>| -> Vec<(RecordName, bool)> {
                rows.iter().map(|(record, row)| (record.clone(), row.is_some())).collect()
            };
            if is_there(&other.rows) != is_there(&ran.rows) {
                return Err(Refusal("writes other rows by another chance".to_owned()));
            }
            for (record, row) in &ran.rows {
                let (Some(row), Some(Some(other))) = (row, other.rows.get(record)) else { continue };
                let moved = row.iter().filter(|(column, value)| other.get(column) != Some(*value));
                cells.extend(moved.map(|(column, _)| (record.clone(), column.clone())));
            }
        }
        Ok(cells)
    }
}

fn uses_chance(ran: &Ran) -> bool {
    ran.calls.contains_key("chance")
}

/// With what stood before of the rows that the run alone wrote.
fn with_before(recorded: &Recorded, ran: &Ran, tables: &RollingTables) -> Recorded {
    let mut recorded = recorded.clone();
    for record in ran.rows.keys() {
        let stood = || tables.table(&record.0)?.row(World::Actual, &record.1).map(|row| row.as_ref().clone());
        recorded.before.entry(record.clone()).or_insert_with(stood);
    }
    recorded
}
