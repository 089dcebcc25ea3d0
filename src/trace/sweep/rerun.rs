//! A statement run again: what it would have written in the right world, against what it did write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::distort::Sensitivity;
use super::effects::name_rows;
use super::judge::Before;
use super::snapshot::Looking;
use super::touch::Touched;
use super::unrecorded::UnrecordedWrite;
use super::{Origin, Progress, Sweep, carry, record_of, unwritten_by, written_by};
use crate::catalog::World;
use crate::model::{ColumnName, Operation, RecordKey, Row, Statement, Step, Transaction, Write};
use crate::trace::blast_radius::{Role, WrittenBy};
use crate::trace::reenact::{CompiledWrite, Effect, Effects, Execution, Refusal, TableWrite, Updated};
use crate::trace::worlds::{Difference, RecordName};

impl Sweep {
    /// A write of known SQL.
    pub(super) async fn rerun_write(
        &mut self,
        looking: Looking<'_>,
        step: &Step,
        write: &CompiledWrite,
        progress: &mut Progress,
    ) {
        let Looking { transaction, statement, .. } = looking;
        let states = self.states(looking);
        let evaluated = match states.as_slice() {
            [0] => self.evaluated_now(looking, write).await,
            states => self.evaluated_then(looking, write, states).await,
        };
        match evaluated {
            Evaluated::Untouched => self.carry_rerun(transaction, step, statement, write),
            Evaluated::Ran { touched, outcomes } => {
                self.take_over(transaction, step, statement, write, &touched, outcomes, progress);
            }
            // The log tells of it, and no recorded write does: it may be of another database.
            Evaluated::Refused { .. }
                if transaction.writes().next().is_none() && self.writes_rows(write, execution(looking)).await =>
            {
                self.notes.inexact(&statement.sql, "wrote rows that no recorded write tells");
            }
            Evaluated::Refused { reason, .. } if self.is_reenacted(looking, step, &reason, progress).await => {}
            Evaluated::Refused { touched, reason } => {
                let source = touched.records.first().cloned();
                self.affected_by_unknown(transaction, step, &write.targets, source.as_ref(), &reason.to_string());
                // Where only its own table differs, and it reads that once, it can reach just what it reads there.
                let is_own = |record: &RecordName| matches!(write.tables.as_slice(), [only] if only.target == record.0);
                let own = |table: &TableWrite| table.references().filter(|one| one.table == table.target).count();
                let only_own =
                    touched.records.iter().all(is_own) && write.tables.first().is_some_and(|table| own(table) <= 1);
                let reached = only_own.then_some(touched.records.as_slice());
                self.doubt_what_it_may_write(transaction, (step, statement), &write.targets, source, reached);
            }
        }
    }

    /// Nothing on which the worlds differ was touched: what it wrote is the same in both.
    fn carry_rerun(&mut self, transaction: &Transaction, step: &Step, statement: &Statement, write: &CompiledWrite) {
        for one in &step.writes {
            match write.of_table(&one.table) {
                Some(table) if one.operation == Operation::Update => {
                    let set = table.assigned_by(Operation::Update).map(|assigned| assigned.column.clone());
                    self.carry(one, Some(&set.collect()));
                }
                Some(_) => self.carry(one, None),
                None => self.carry_side_effect(transaction, statement, one),
            }
        }
    }

    /// What comes of the statement, run over the state as it stands.
    async fn evaluated_now(&mut self, looking: Looking<'_>, write: &CompiledWrite) -> Evaluated {
        let mut touched = self.touched(write.references(), &looking.statement.parameters);
        let unnamed = self.source_of_unnamed(write.references_of_others());
        touched.records.extend(unnamed.iter().map(|(source, _)| source.clone()));
        if touched.records.is_empty() {
            return Evaluated::Untouched;
        }
        let unnamed = unnamed.map(|(_, reason)| reason);
        if let Some(reason) = self.unknown_temporary(write.references()).or(unnamed) {
            return Evaluated::Refused { touched, reason };
        }
        match self.outcomes(looking, write, &touched, Check::WhereTouched).await {
            Ok(outcomes) => Evaluated::Ran { touched, outcomes },
            Err(reason) => Evaluated::Refused { touched, reason },
        }
    }

    /// The same over a state in which later commits are hidden: what it does in the actual world must be what was
    /// recorded, whether or not the worlds differ on what it touches.
    pub(super) async fn evaluated_surely(
        &mut self,
        looking: Looking<'_>,
        write: &CompiledWrite,
        hidden: &BTreeSet<RecordName>,
    ) -> Evaluated {
        let mut touched = self.touched(write.references(), &looking.statement.parameters);
        let unnamed = self.source_of_unnamed(write.references_of_others());
        touched.records.extend(unnamed.iter().map(|(source, _)| source.clone()));
        let unnamed = unnamed.map(|(_, reason)| reason);
        if let Some(reason) = self.unknown_temporary(write.references()).or(unnamed) {
            return Evaluated::Refused { touched, reason };
        }
        let outcomes = match self.outcomes(looking, write, &touched, Check::Always).await {
            Ok(outcomes) => outcomes,
            Err(reason) => return Evaluated::Refused { touched, reason },
        };
        // A row that another transaction changed meanwhile, and that it did not write: whether it would have written it
        // in the right world, and over which values, is not known.
        let reached = write
            .tables
            .iter()
            .zip(&outcomes)
            .flat_map(|(table, outcome)| outcome.right.keys().map(|key| (table.target.clone(), key.clone())));
        let is_changed_meanwhile = reached.into_iter().any(|record| hidden.contains(&record));
        match is_changed_meanwhile {
            true => {
                let reason = Refusal("reaches a row that another transaction changed meanwhile".to_owned());
                Evaluated::Refused { touched, reason }
            }
            false => Evaluated::Ran { touched, outcomes },
        }
    }

    async fn writes_rows(&mut self, write: &CompiledWrite, execution: Execution<'_>) -> bool {
        for table in &write.tables {
            let run = table.run(&mut self.worlds.tables, World::Actual, execution).await;
            if run.is_ok_and(|(effects, rows)| !effects.is_empty() || !rows.is_empty()) {
                return true;
            }
        }
        false
    }

    /// What becomes of each table that the statement writes: all of them from the state before it.
    pub(super) async fn outcomes(
        &mut self,
        looking: Looking<'_>,
        write: &CompiledWrite,
        touched: &Touched,
        check: Check,
    ) -> Result<Vec<Outcome>, Refusal> {
        let mut outcomes = Vec::with_capacity(write.tables.len());
        for table in &write.tables {
            outcomes.push(self.both_worlds(looking, table, touched, check).await?);
        }
        Ok(outcomes)
    }

    /// Runs the write over both worlds; refused where what it would do in the actual world is not what it did: then
    /// something is at work that its SQL does not tell.
    async fn both_worlds(
        &mut self,
        looking: Looking<'_>,
        write: &TableWrite,
        touched: &Touched,
        check: Check,
    ) -> Result<Outcome, Refusal> {
        let execution = execution(looking);
        let own = writes_of(looking.writes(), write);
        // Where it would lead from another value, no distortion tells: it may lead round in a circle for ever.
        if touched.unknown && write.is_recursive() {
            return Err(Refusal("is recursive over a value that is not known".to_owned()));
        }
        let matching = self.matching(&looking.statement.sql, write, touched)?;
        // Where only suspicion touches it, the right world is the actual one, and what it wrote there is recorded.
        if check == Check::WhereTouched
            && !touched.differs
            && !touched.unknown
            && let Some(recorded) = self.recorded_effects(&own, write)
        {
            let sensitivity = self.sensitivity(write, execution, touched, (&recorded, &recorded), &matching).await;
            return Ok(Outcome { actual: recorded.clone(), right: recorded, sensitivity });
        }
        let (mut actual, actual_rows) = write.run(&mut self.worlds.tables, World::Actual, execution).await?;
        // Where only suspicion touches the statement, the right world is the actual one.
        let (mut right, right_rows) = match touched.differs {
            true => write.run(&mut self.worlds.tables, World::Right, execution).await?,
            false => (actual.clone(), actual_rows.clone()),
        };
        if !actual_rows.is_empty() || !right_rows.is_empty() {
            name_rows(&own, (actual_rows, right_rows), &mut actual, &mut right, write.schema())?;
        }
        self.print_as_recorded(&own, &mut actual, write);
        self.print_as_recorded(&own, &mut right, write);
        self.agrees(&own, &actual, write)?;
        let sensitivity = self.sensitivity(write, execution, touched, (&actual, &right), &matching).await;
        Ok(Outcome { actual, right, sensitivity })
    }

    /// Takes the outcomes over into both worlds.
    #[expect(clippy::too_many_arguments, reason = "the statement with its place in the history, and what came of it")]
    fn take_over(
        &mut self,
        transaction: &Transaction,
        step: &Step,
        statement: &Statement,
        write: &CompiledWrite,
        touched: &Touched,
        outcomes: Vec<Outcome>,
        progress: &mut Progress,
    ) {
        let same_effects =
            outcomes.iter().all(|outcome| outcome.actual == outcome.right && outcome.sensitivity.is_empty());
        let mut differs = false;
        for (table, outcome) in write.tables.iter().zip(&outcomes) {
            let place = StatementPlace { transaction, step, statement };
            differs |= self.take_over_table(place, table, touched, outcome, progress);
        }
        // What the database did by itself: the same, unless the statement did something else.
        for one in step.writes.iter().filter(|one| write.of_table(&one.table).is_none()) {
            self.carry_side_effect(transaction, statement, one);
            if !same_effects && one.operation != Operation::Delete {
                let columns = self.not_key(&one.table, carry::changed_columns(one));
                if let Some(source) = touched.records.first() {
                    let origin = self.origin(source, Some(statement.sql.clone()));
                    let mut written = written_by(one);
                    written.tx.clone_from(&transaction.id);
                    self.possible(
                        &record_of(one),
                        columns,
                        &origin,
                        written,
                        "a trigger or cascade of an affected statement wrote it",
                    );
                }
            }
        }
        if write.returning
            && differs
            && let Some(source) = touched.records.first()
        {
            let origin = self.origin(source, Some(statement.sql.clone()));
            progress.diverged.get_or_insert(origin);
        }
    }

    /// The same of one table; whether the worlds then differ on what was written.
    fn take_over_table(
        &mut self,
        StatementPlace { transaction, step, statement }: StatementPlace<'_>,
        write: &TableWrite,
        touched: &Touched,
        outcome: &Outcome,
        progress: &mut Progress,
    ) -> bool {
        let own = writes_of(&step.writes, write);
        let changes = self.changes(&own, write, outcome);
        let mut in_right_alone = self.in_right_alone(&own, write, &outcome.right);
        let mut differs = false;
        for (key, change) in changes {
            let record = (write.target.clone(), key);
            let was_wrong = self.worlds.is_wrong(&record);
            if let Some((operation, key)) = in_right_alone.remove(&record.1) {
                let origin = self.origin(&self.likeliest_source(&record, touched), Some(statement.sql.clone()));
                let row = self.worlds.row(World::Right, &record).cloned();
                let before = Before { row, unknown: self.all_unknown_of(&record) };
                progress.unrecorded.push(UnrecordedWrite {
                    record: (record.0.clone(), key),
                    old: record.clone(),
                    operation,
                    before,
                    origin,
                });
            }
            self.worlds.set(&record, change.actual, change.right);
            self.after_rerun(&record, transaction, statement, &own, &change.columns, touched);
            differs |= self.worlds.is_wrong(&record);
            if self.worlds.is_wrong(&record) && !was_wrong {
                self.notes.affected(&statement.sql);
            }
        }
        differs
    }

    /// What the statement does in the right world to records that no recorded write is about, and the key of each after it.
    fn in_right_alone(
        &self,
        own: &[&Write],
        write: &TableWrite,
        right: &Effects,
    ) -> BTreeMap<RecordKey, (Operation, RecordKey)> {
        let recorded: BTreeSet<RecordKey> =
            own.iter().flat_map(|one| [self.old_record(one).1, one.key.clone()]).collect();
        let operation = |effect: &Effect| match effect {
            Effect::Insert(_) => Operation::Insert,
            Effect::Update(_) => Operation::Update,
            Effect::Delete => Operation::Delete,
        };
        let key_after = |key: &RecordKey, effect: &Effect| match effect {
            Effect::Update(Updated { values, .. }) => {
                key.to_row().overlaid(values).key(&write.schema().key).unwrap_or_else(|| key.clone())
            }
            Effect::Insert(_) | Effect::Delete => key.clone(),
        };
        let alone = right.iter().filter(|(key, _)| !recorded.contains(*key));
        alone.map(|(key, effect)| (key.clone(), (operation(effect), key_after(key, effect)))).collect()
    }

    /// Each record's rows after the statement, in both worlds.
    fn changes(&self, own: &[&Write], write: &TableWrite, outcome: &Outcome) -> BTreeMap<RecordKey, Change> {
        let target = &write.target;
        let mut changes: BTreeMap<RecordKey, Change> = BTreeMap::new();
        let by_old_key: BTreeMap<RecordKey, &Write> = own.iter().map(|one| (self.old_record(one).1, *one)).collect();
        let in_doubt = outcome.sensitivity.unknown.keys().chain(outcome.sensitivity.suspected.keys());
        let keys: BTreeSet<&RecordKey> = outcome.actual.keys().chain(outcome.right.keys()).chain(in_doubt).collect();
        for key in keys {
            let record = (target.clone(), key.clone());
            let actual_before = self.worlds.row(World::Actual, &record).cloned();
            let right_before = self.worlds.row(World::Right, &record).cloned();
            let one = by_old_key.get(key).copied();
            let actual = match one {
                None => actual_before.clone(),
                Some(one) if one.operation == Operation::Delete => None,
                Some(one) => {
                    let older = actual_before.as_deref().filter(|_| one.operation == Operation::Update);
                    self.whole(one, older, one.after.as_ref())
                }
            };
            let mut columns = Columns::default();
            let right = match outcome.right.get(key) {
                None => right_before.clone(),
                Some(effect) => self.right_row(&record, effect, one, right_before.as_deref(), &mut columns),
            };
            columns.unknown.extend(outcome.sensitivity.unknown.get(key).into_iter().flatten().cloned());
            columns.suspected.extend(outcome.sensitivity.suspected.get(key).into_iter().flatten().cloned());
            // Where nobody knows whether the record is there, it stands, with all that is not known of it.
            let may_stand = right.is_none() && self.worlds.doubts_existence(&record, &columns.unknown);
            let right = match may_stand {
                true => right_before.or_else(|| {
                    let row = outcome.sensitivity.rows.get(key)?;
                    Some(Arc::new(self.worlds.tables.table(target)?.whole(None, row)))
                }),
                false => right,
            };
            match outcome.right.get(key) {
                Some(Effect::Update(updated)) => columns.assigned.extend(updated.columns().cloned()),
                Some(Effect::Insert(_) | Effect::Delete) => {
                    columns.assigned.extend(write.schema().columns.iter().map(|column| column.name.clone()));
                }
                // The right world leaves it alone: what is unknown of it stays so.
                None => {}
            }
            place(&mut changes, key, actual, right, columns, self, target);
        }
        changes
    }

    /// The row as the statement leaves it in the right world. Columns that the statement does not assign are those the
    /// database gave in the actual world, where it wrote the record there too.
    fn right_row(
        &self,
        record: &RecordName,
        effect: &Effect,
        one: Option<&Write>,
        right_before: Option<&Row>,
        columns: &mut Columns,
    ) -> Option<Arc<Row>> {
        let table = self.worlds.tables.table(&record.0)?;
        match effect {
            Effect::Delete => None,
            Effect::Insert(row) => {
                let inserted = one.filter(|one| one.operation == Operation::Insert);
                let given = inserted.and_then(|one| one.after.as_ref());
                let row = given.map_or_else(|| row.clone(), |given| given.overlaid(row));
                if inserted.is_none() {
                    // Defaults of a row that was never written are not known.
                    let missing = table.schema().columns.iter().filter(|column| row.get(&column.name).is_none());
                    columns.unknown.extend(missing.map(|column| column.name.clone()));
                }
                let generated = table.schema().columns.iter().filter(|column| column.generated);
                if given.is_some_and(|given| {
                    crate::trace::worlds::differing(Some(&row), Some(given))
                        .is_none_or(|differing| !differing.is_empty())
                }) {
                    columns.unknown.extend(generated.map(|column| column.name.clone()));
                }
                Some(Arc::new(table.whole(None, &row)))
            }
            Effect::Update(Updated { values, given }) => {
                let mut row = table.whole(right_before, values);
                // Where the row was new, nothing that stood there before was changed.
                if let Some(one) = one.filter(|one| one.operation == Operation::Update) {
                    let by_itself =
                        carry::changed_columns(one).into_iter().filter(|column| values.get(column).is_none());
                    for column in by_itself {
                        if let Some(value) = one.value_after(&column) {
                            row.set(column.clone(), value.clone());
                        }
                        let differs = one.after.as_ref().is_none_or(|after| {
                            values.iter().any(|(name, value)| after.get(name).is_some_and(|written| written != value))
                        });
                        if differs && !given.contains(&column) {
                            columns.unknown.insert(column);
                        }
                    }
                }
                Some(Arc::new(row))
            }
        }
    }

    /// What is known of a record after a statement was run again on it.
    pub(super) fn after_rerun(
        &mut self,
        record: &RecordName,
        transaction: &Transaction,
        statement: &Statement,
        own: &[&Write],
        columns: &Columns,
        touched: &Touched,
    ) {
        let (unknown, suspected) = self.doubts_after(record, statement, columns);
        let known_wrong = self.worlds.tables.table(&record.0).is_some_and(|table| table.differs(&record.1));
        if !known_wrong && unknown.is_empty() && suspected.is_empty() {
            if self.worlds.difference(record).is_some() {
                self.worlds.set_unknown(record, unknown);
                self.worlds.set_suspected(record, suspected);
            }
            return;
        }
        let source = self.likeliest_source(record, touched);
        let Origin { cause, hops } = self.origin(&source, Some(statement.sql.clone()));
        let written = own.iter().find(|one| one.key == record.1).map_or_else(
            || unwritten_by(transaction),
            |one| WrittenBy { tx: transaction.id.clone(), ..written_by(one) },
        );
        let is_proved = known_wrong
            && !self.worlds.doubts_existence(record, &unknown)
            && !self.worlds.doubts_existence(record, &columns.suspected)
            && self
                .worlds
                .differing_columns(record)
                .is_none_or(|columns| columns.iter().any(|column| !unknown.contains(column)));
        let role = if is_proved { Role::Derived } else { Role::Possible };
        let was_wrong = self.worlds.is_wrong(record);
        let fresh = Difference::new(role, hops, written, Some(cause));
        let difference = self.worlds.difference_or(record, || fresh.clone());
        let upgraded = is_proved && difference.role == Role::Possible && source != *record;
        if upgraded {
            let kept = std::mem::take(&mut difference.last_wrong);
            *difference = Difference {
                last_wrong: kept,
                earlier: difference.earlier.take(),
                unknown: difference.unknown.clone(),
                suspected: difference.suspected.clone(),
                ..fresh
            };
        }
        if !unknown.is_empty() && !was_wrong {
            difference.why.get_or_insert_with(|| "it was computed from a value that is not known".into());
        }
        if !unknown.is_empty() || !suspected.is_empty() {
            self.doubtful.insert(record.clone());
        }
        self.worlds.set_unknown(record, unknown);
        self.worlds.set_suspected(record, suspected);
        self.worlds.note_wrong(record);
    }

    /// The columns of a record whose right value is not known after a statement was run again on it, and those suspected.
    fn doubts_after(
        &self,
        record: &RecordName,
        statement: &Statement,
        columns: &Columns,
    ) -> (BTreeSet<ColumnName>, BTreeSet<ColumnName>) {
        let exists =
            self.worlds.row(World::Right, record).is_some() || self.worlds.row(World::Actual, record).is_some();
        let kept = |known: &BTreeSet<ColumnName>| -> BTreeSet<ColumnName> {
            if exists { known.difference(&columns.assigned).cloned().collect() } else { BTreeSet::new() }
        };
        let (mut unknown, mut suspected) = match self.worlds.difference(record) {
            Some(difference) => (kept(&difference.unknown), kept(&difference.suspected)),
            None => (BTreeSet::new(), BTreeSet::new()),
        };
        // Of a record that is proved wrong, and that the statement may delete, no more is listed than that.
        let is_proved = |differing: Vec<ColumnName>| differing.iter().any(|column| !unknown.contains(column));
        let may_be_gone = columns.assigned.is_empty()
            && self.worlds.doubts_existence(record, &columns.unknown)
            && self.worlds.differing_columns(record).is_some_and(is_proved);
        match may_be_gone {
            true => unknown.extend(self.key_columns(&record.0)),
            false => unknown.extend(columns.unknown.iter().cloned()),
        }
        if statement.link.is_ambiguous() {
            unknown.extend(self.worlds.differing_columns(record).unwrap_or_default());
        }
        // What comes out otherwise, and is computed from a value that is only suspected, is not known.
        let differing = self.worlds.differing_columns(record);
        let wrong = differing.iter().flatten().filter(|column| columns.suspected.contains(*column));
        unknown.extend(wrong.cloned());
        suspected.extend(columns.suspected.difference(&unknown).cloned());
        (unknown, suspected)
    }

    /// Of the affected records that the statement read: the record itself, else the one that shares most values with
    /// the row written (its group, its foreign key).
    pub(super) fn likeliest_source(&self, record: &RecordName, touched: &Touched) -> RecordName {
        const LOOKED_AT: usize = 256;
        if touched.records.contains(record) && self.worlds.difference(record).is_some() {
            return record.clone();
        }
        let row = self.worlds.row(World::Actual, record).or_else(|| self.worlds.row(World::Right, record));
        let shared = |source: &&RecordName| {
            let other = self.worlds.row(World::Actual, source).or_else(|| self.worlds.row(World::Right, source));
            match (row, other) {
                (Some(row), Some(other)) => row
                    .iter()
                    .filter(|(_, value)| !value.is_null() && other.iter().any(|(_, held)| held == *value))
                    .count(),
                _ => 0,
            }
        };
        let sources = touched.records.iter().filter(|source| *source != record);
        sources.take(LOOKED_AT).max_by_key(shared).or(touched.records.first()).unwrap_or(record).clone()
    }
}

/// A statement with its place in the history.
#[derive(Clone, Copy)]
struct StatementPlace<'a> {
    transaction: &'a Transaction,
    step: &'a Step,
    statement: &'a Statement,
}

fn writes_of<'a>(writes: &'a [Write], write: &TableWrite) -> Vec<&'a Write> {
    writes.iter().filter(|one| one.table == write.target).collect()
}

fn execution(looking: Looking<'_>) -> Execution<'_> {
    Execution { parameters: &looking.statement.parameters, time: looking.transaction.started, overridden: None }
}

/// When a statement's effects in the actual world are held against what was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Where the worlds differ on what it touches: else it is the same in both.
    WhereTouched,
    /// Wherever it is run: what it saw is not sure.
    Always,
}

/// What came of a statement.
pub(super) enum Evaluated {
    /// It touches nothing on which the worlds differ.
    Untouched,
    /// It ran, and did in the actual world what was recorded.
    Ran {
        /// What it touches.
        touched: Touched,
        /// By table.
        outcomes: Vec<Outcome>,
    },
    /// It cannot be run, or does something else than was recorded.
    Refused {
        /// What it touches.
        touched: Touched,
        /// Why.
        reason: Refusal,
    },
}

/// What came of running a write over both worlds.
pub(super) struct Outcome {
    actual: Effects,
    right: Effects,
    sensitivity: Sensitivity,
}

/// Columns of one record after a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Columns {
    /// Given a value by the statement: what was unknown of them before is past.
    pub(super) assigned: BTreeSet<ColumnName>,
    /// Of a right value that is not known.
    pub(super) unknown: BTreeSet<ColumnName>,
    /// That may be wrong, with no evidence that they are.
    pub(super) suspected: BTreeSet<ColumnName>,
}

/// One record's rows after a statement.
struct Change {
    actual: Option<Arc<Row>>,
    right: Option<Arc<Row>>,
    columns: Columns,
}

/// A row goes where its key says in its world; where that is another key than before, the old one is vacated.
fn place(
    changes: &mut BTreeMap<RecordKey, Change>,
    key: &RecordKey,
    actual: Option<Arc<Row>>,
    right: Option<Arc<Row>>,
    columns: Columns,
    sweep: &Sweep,
    target: &crate::model::TableName,
) {
    let key_of = |row: &Option<Arc<Row>>| row.as_ref().and_then(|row| row.key(&sweep.worlds.schema(target)?.key));
    let (actual_key, right_key) = (key_of(&actual), key_of(&right));
    let current = |key: &RecordKey, world| sweep.worlds.row(world, &(target.clone(), key.clone())).cloned();
    let mut at = |key: &RecordKey, world: World, row: Option<Arc<Row>>| {
        let change = changes.entry(key.clone()).or_insert_with(|| Change {
            actual: current(key, World::Actual),
            right: current(key, World::Right),
            columns: Columns::default(),
        });
        match world {
            World::Actual => change.actual = row,
            World::Right => change.right = row,
        }
        change.columns.assigned.extend(columns.assigned.iter().cloned());
        change.columns.unknown.extend(columns.unknown.iter().cloned());
        change.columns.suspected.extend(columns.suspected.iter().cloned());
    };
    for (world, row, row_key) in [(World::Actual, actual, actual_key), (World::Right, right, right_key)] {
        match row_key {
            Some(row_key) if row_key != *key => {
                at(key, world, None);
                at(&row_key, world, row);
            }
            _ => at(key, world, row),
        }
    }
}
