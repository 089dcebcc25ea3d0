//! Statements that run code of the database's own, and those that the built-in evaluator refuses, run again as they were on
//! a scratch server: with all that triggers and functions write, and all that foreign keys do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::distort::Distortion;
use super::judge::Before;
use super::rerun::Columns;
use super::snapshot::Looking;
use super::touch::Touched;
use super::unrecorded::UnrecordedWrite;
use super::{Progress, Sweep};
use crate::catalog::World;
use crate::model::{ColumnName, Operation, Row, StatementLink, Step, TableName, Transaction, Write};
use crate::sql::{ColumnsRead, TableReference};
use crate::trace::reach::Reached;
use crate::trace::reenact::Refusal;
use crate::trace::scratch::{Amendment, InRightWorld, Recorded, Replay, Replayed, Scratch, recorded_of};
use crate::trace::worlds::{Difference, RecordName};

/// What a statement did, and what it does in the right world.
pub(super) struct Both {
    pub(super) recorded: Recorded,
    pub(super) replayed: Replayed,
    pub(super) right: InRightWorld,
    /// The columns of each record that depend on what is not known.
    pub(super) unknown: Depending,
    /// And on what is suspected.
    pub(super) suspected: Depending,
}

/// Columns by record.
pub(super) type Depending = BTreeMap<RecordName, BTreeSet<ColumnName>>;

impl Sweep {
    /// From now on, what the built-in evaluator cannot run faithfully runs there.
    pub fn reenact_on(&mut self, mut scratch: Scratch) {
        self.reach = scratch.take_reach();
        scratch.set_zone(self.statements.database_zone());
        self.scratch = Some(scratch);
    }

    /// What broke the connection to the scratch server off, where anything did.
    pub fn broken_scratch(&self) -> Option<&str> {
        self.scratch.as_ref().and_then(Scratch::broken)
    }

    /// What a statement can come to on the scratch server, where there is one.
    pub(super) fn reached(&mut self, step: &Step) -> Option<Arc<Reached>> {
        let statement = step.statement.as_ref().filter(|_| self.scratch.is_some())?;
        Some(self.reach.from(&statement.sql))
    }

    /// What a statement can come to that lets the database run code of its own, where there is a scratch server to run it
    /// on.
    pub(super) fn code_of(&mut self, step: &Step) -> Option<Arc<Reached>> {
        self.reached(step).filter(|reached| reached.runs_code)
    }

    /// A statement that lets the database run code of its own.
    pub(super) async fn run_code(
        &mut self,
        looking: Looking<'_>,
        step: &Step,
        reached: &Reached,
        progress: &mut Progress,
    ) {
        if self.recent.is_empty() && !self.reaches_affected(step, reached) {
            self.carry_all(&step.writes, None);
        } else if let Err(reason) = self.reenact(looking, step, reached, progress).await {
            self.not_reenacted(looking, step, reached, &reason, progress);
        }
    }

    /// A statement that the built-in evaluator refuses, for this reason: whether it ran on a scratch server.
    pub(super) async fn is_reenacted(
        &mut self,
        looking: Looking<'_>,
        step: &Step,
        reason: &Refusal,
        progress: &mut Progress,
    ) -> bool {
        let Some(reached) = self.reached(step) else { return false };
        match self.reenact(looking, step, &reached, progress).await {
            Ok(()) => true,
            Err(there) => {
                self.notes.inexact(&looking.statement.sql, &format!("{reason}, and {there}"));
                false
            }
        }
    }

    /// Whether a query that the built-in evaluator refuses returns something else in the right world, over the state at
    /// hand; `None` where no scratch server can tell.
    pub(super) async fn reads_otherwise_there(&mut self, looking: Looking<'_>) -> Option<bool> {
        let step = looking.transaction.steps.get(looking.place)?;
        let reached = self.reached(step)?;
        match self.in_both_worlds(looking, step, &reached, &[]).await {
            Ok(both) => Some(both.right.returns_otherwise),
            Err(reason) => {
                self.notes.inexact(&looking.statement.sql, &reason.to_string());
                None
            }
        }
    }

    /// Whether the worlds differ, or may, on anything that can be reached.
    pub(super) fn reaches_affected(&self, step: &Step, reached: &Reached) -> bool {
        let concerns = |record: &RecordName| self.worlds.touches(record, |_| true);
        let wrote = |write: &Write| concerns(&super::record_of(write)) || concerns(&self.old_record(write));
        reached.read.iter().any(|table| self.worlds.is_affected(table)) || step.writes.iter().any(wrote)
    }

    /// The transaction with what one execution wrote in one step, where events tell their statement and triggers wrote a
    /// record more than once: by its text alone that could be several executions. `None` where nothing was open.
    pub(super) async fn whole_executions(&mut self, transaction: &Transaction) -> Option<Transaction> {
        let is_same = |one: &Step, other: &Step| match (&one.statement, &other.statement) {
            (Some(one), Some(other)) => {
                one.link == StatementLink::Event && one.sql == other.sql && one.parameters == other.parameters
            }
            _ => false,
        };
        let groups: Vec<&[Step]> = transaction.steps.chunk_by(is_same).collect();
        if self.scratch.is_none() || groups.iter().all(|group| group.len() == 1) {
            return None;
        }
        self.worlds.begin();
        let mut steps = Vec::with_capacity(transaction.steps.len());
        for group in groups {
            match self.one_execution(transaction, group).await {
                Some(step) => steps.push(step),
                None => steps.extend(group.iter().cloned()),
            }
            group.iter().flat_map(|step| &step.writes).for_each(|write| self.worlds.apply_actual(write));
        }
        self.worlds.roll_back();
        (steps.len() < transaction.steps.len()).then(|| Transaction { steps, ..transaction.clone() })
    }

    /// One step of several, where the statement does in one execution all that was recorded of them.
    async fn one_execution(&mut self, transaction: &Transaction, group: &[Step]) -> Option<Step> {
        let [first, _, ..] = group else { return None };
        let statement = first.statement.as_ref()?;
        let writes = group.iter().flat_map(|step| step.writes.iter().cloned()).collect();
        let step = Step { statement: first.statement.clone(), writes };
        let reached = self.code_of(&step)?;
        if !self.reaches_affected(&step, &reached) && !self.is_of_release(transaction) {
            return None;
        }
        let recorded = recorded_of(&self.worlds, &step.writes);
        let replay = Replay { transaction, statement, reached: &reached, recorded: &recorded };
        let Sweep { scratch, worlds, statements, .. } = self;
        let replayed = scratch.as_mut()?.replay(&mut worlds.tables, statements.schemas(), replay).await;
        replayed.is_ok().then_some(step)
    }

    /// Runs the statement again on the scratch server.
    ///
    /// # Errors
    /// Why it cannot be run there, or did not do there what was recorded.
    pub(super) async fn reenact(
        &mut self,
        looking: Looking<'_>,
        step: &Step,
        reached: &Reached,
        progress: &mut Progress,
    ) -> Result<(), Refusal> {
        let references = references(reached);
        let references: Vec<&TableReference> = references.iter().collect();
        let looking = Looking { references: &references, ..looking };
        let mut refused = None;
        for unseen in self.states(looking) {
            let hidden = self.hide(unseen, looking);
            let touched = self.touched_by(reached, step);
            let both = match touched.records.is_empty() {
                true => Ok(None),
                false => self.in_both_worlds(looking, step, reached, &[]).await.map(Some),
            };
            self.worlds.roll_back();
            let is_query = step.writes.is_empty();
            match both {
                Ok(None) if is_query => {}
                Ok(None) => {
                    self.carry_all(&step.writes, None);
                    return Ok(());
                }
                Ok(Some(both)) if both.right.rows.keys().any(|record| hidden.contains(record)) => {
                    let reason = "reaches a row that another transaction changed meanwhile";
                    refused.get_or_insert(Refusal(reason.to_owned()));
                }
                Ok(Some(both)) => {
                    self.take_over_both(looking, step, &both, &touched, progress);
                    // Nothing is recorded of a query: it has gone another way where one of the states says so.
                    if !is_query || progress.behind.is_some() {
                        return Ok(());
                    }
                }
                Err(reason) => _ = refused.get_or_insert(reason),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// A statement that could not be run there either: what it wrote may be wrong.
    pub(super) fn not_reenacted(
        &mut self,
        looking: Looking<'_>,
        step: &Step,
        reached: &Reached,
        reason: &Refusal,
        progress: &mut Progress,
    ) {
        let Looking { transaction, statement, .. } = looking;
        let tables: Vec<TableName> = reached.tables.iter().cloned().collect();
        let wrote = step.writes.iter().map(|write| write.table.clone());
        let tables: Vec<TableName> = tables.into_iter().chain(wrote).collect();
        let source = self.any_affected_record(&tables);
        let compiled = self.statements.statement(&statement.sql, &statement.parameters, statement.time_zone.as_ref());
        let targets = compiled.targets();
        if step.writes.is_empty() && targets.is_empty() {
            self.diverge_by_unknown_read(statement, source, progress, &reason.to_string());
        } else {
            self.affected_by_unknown(transaction, step, targets, source.as_ref(), &reason.to_string());
            self.doubt_what_it_may_write(transaction, (step, statement), targets, source, None);
        }
    }

    /// The affected records that can be reached, or that it wrote.
    pub(super) fn touched_by(&self, reached: &Reached, step: &Step) -> Touched {
        let mut touched = Touched::default();
        let written = step.writes.iter().flat_map(|write| [super::record_of(write), self.old_record(write)]);
        let written: BTreeSet<RecordName> = written
            .filter(|(table, _)| !reached.read.contains(table))
            .filter(|record| self.worlds.touches(record, |_| true))
            .collect();
        let of_table = |table: &TableName| {
            let table = table.clone();
            self.worlds.affected(&table).into_iter().map(move |key| (table.clone(), key))
        };
        for record in reached.read.iter().flat_map(of_table).chain(written) {
            let table = &record.0;
            touched.differs |= self.worlds.tables.table(table).is_some_and(|rolling| rolling.differs(&record.1));
            if let Some(difference) = self.worlds.difference(&record) {
                touched.unknown |= !difference.unknown.is_empty();
                touched.suspected |= !difference.suspected.is_empty();
            }
            touched.records.push(record);
        }
        touched
    }

    /// Runs it over both worlds as they stand.
    pub(super) async fn in_both_worlds(
        &mut self,
        looking: Looking<'_>,
        step: &Step,
        reached: &Reached,
        amendments: &[Amendment],
    ) -> Result<Both, Refusal> {
        let recorded = recorded_of(&self.worlds, &step.writes);
        let Looking { transaction, statement, .. } = looking;
        let replay = Replay { transaction, statement, reached, recorded: &recorded };
        let Sweep { scratch, worlds, statements, .. } = self;
        let Some(scratch) = scratch else { return Err(Refusal("has no scratch server".to_owned())) };
        let replayed = scratch.replay(&mut worlds.tables, statements.schemas(), replay).await?;
        let touched = self.touched_by(reached, step);
        let right = self.run_right(replay, &replayed, amendments).await?;
        let mut both = Both {
            recorded: Recorded::default(),
            replayed,
            right,
            unknown: Depending::new(),
            suspected: Depending::new(),
        };
        if touched.unknown {
            let distortions = [Distortion::Shift, Distortion::Least, Distortion::Absent];
            both.unknown = self
                .depending_on(replay, &mut both.right, &both.replayed, (&touched, amendments), &distortions, |known| {
                    &known.unknown
                })
                .await;
        }
        if touched.suspected {
            let distortions = [Distortion::Shift, Distortion::Absent];
            both.suspected = self
                .depending_on(replay, &mut both.right, &both.replayed, (&touched, amendments), &distortions, |known| {
                    &known.suspected
                })
                .await;
        }
        both.recorded = recorded;
        Ok(both)
    }

    async fn run_right(
        &mut self,
        replay: Replay<'_>,
        replayed: &Replayed,
        amendments: &[Amendment],
    ) -> Result<InRightWorld, Refusal> {
        let Sweep { scratch, worlds, .. } = self;
        let Some(scratch) = scratch else { return Err(Refusal("has no scratch server".to_owned())) };
        scratch.run_right(&worlds.tables, replay, replayed, amendments).await
    }

    /// The columns of each record that come out otherwise where cells that are not known are distorted.
    async fn depending_on(
        &mut self,
        replay: Replay<'_>,
        right: &mut InRightWorld,
        replayed: &Replayed,
        (touched, amendments): (&Touched, &[Amendment]),
        distortions: &[Distortion],
        cells: impl Fn(&Difference) -> &BTreeSet<ColumnName>,
    ) -> Depending {
        let mut depending = Depending::new();
        for distortion in distortions {
            let restore = self.distort(touched.records.iter(), distortion, &cells);
            if restore.is_empty() {
                continue;
            }
            let run = self.run_right(replay, replayed, amendments).await;
            let records: BTreeSet<RecordName> =
                right.rows.keys().chain(run.iter().flat_map(|run| run.rows.keys())).cloned().collect();
            let otherwise: Vec<(RecordName, Option<Row>)> = match &run {
                Ok(run) => records.iter().map(|record| (record.clone(), self.stands_after(run, record))).collect(),
                Err(_) => Vec::new(),
            };
            self.restore(restore);
            match run {
                Ok(run) => {
                    right.returns_otherwise |= run.returns_otherwise;
                    for (record, distorted) in otherwise {
                        let columns = self.moved(&record, self.stands_after(right, &record), distorted);
                        if !columns.is_empty() {
                            depending.entry(record).or_default().extend(columns);
                        }
                    }
                }
                // It fails on the distorted value: everything may depend on it.
                Err(_) => {
                    right.returns_otherwise = true;
                    for record in records {
                        let columns = self.not_key(&record.0, self.all_columns(&record.0));
                        depending.entry(record).or_default().extend(columns);
                    }
                }
            }
        }
        depending
    }

    /// The record in the right world after a run.
    fn stands_after(&self, run: &InRightWorld, record: &RecordName) -> Option<Row> {
        match run.rows.get(record) {
            Some(row) => row.clone(),
            None => self.worlds.row(World::Right, record).map(|row| row.as_ref().clone()),
        }
    }

    fn moved(&self, record: &RecordName, one: Option<Row>, other: Option<Row>) -> BTreeSet<ColumnName> {
        match crate::trace::worlds::differing(one.as_ref(), other.as_ref()) {
            Some(columns) => columns.into_iter().collect(),
            // Whether the row is there at all depends on it.
            None => self.all_columns(&record.0),
        }
    }

    fn all_columns(&self, table: &TableName) -> BTreeSet<ColumnName> {
        let schema = self.worlds.schema(table);
        schema.iter().flat_map(|schema| &schema.columns).map(|column| column.name.clone()).collect()
    }

    /// Takes over what came of it into both worlds.
    pub(super) fn take_over_both(
        &mut self,
        looking: Looking<'_>,
        step: &Step,
        both: &Both,
        touched: &Touched,
        progress: &mut Progress,
    ) {
        let statement = looking.statement;
        let written: BTreeSet<RecordName> =
            both.recorded.records().chain(both.replayed.rows.keys()).chain(both.right.rows.keys()).cloned().collect();
        for record in &written {
            self.take_over_record(looking, step, both, record, touched, progress);
        }
        // A write to a table that is not followed.
        for write in step.writes.iter().filter(|write| !written.contains(&super::record_of(write))) {
            self.carry(write, None);
        }
        if both.right.returns_otherwise
            && let Some(source) = touched.records.first()
        {
            // What it wrote itself came before.
            let origin = self.origin(source, Some(statement.sql.clone()));
            progress.behind.get_or_insert(origin);
        }
        // The server has computed them.
        self.worlds.take_watched();
        progress.reenacted = true;
    }

    fn take_over_record(
        &mut self,
        looking: Looking<'_>,
        step: &Step,
        both: &Both,
        record: &RecordName,
        touched: &Touched,
        progress: &mut Progress,
    ) {
        let Looking { transaction, statement, .. } = looking;
        let right_before = self.worlds.row(World::Right, record).cloned();
        let right = match both.right.rows.get(record) {
            Some(row) => row.clone().map(Arc::new),
            None => right_before.clone(),
        };
        let is_recorded = both.recorded.records().any(|one| one == record);
        let actual = match (both.replayed.rows.get(record), is_recorded) {
            (Some(row), _) => row.as_ref().map(|row| Arc::new(self.as_recorded(both, record, row))),
            (None, true) => both.recorded.after(record).map(Arc::new),
            (None, false) => self.worlds.row(World::Actual, record).cloned(),
        };
        let was_wrong = self.worlds.is_wrong(record);
        if !is_recorded && right != right_before {
            let operation = match (&right_before, &right) {
                (None, _) => Operation::Insert,
                (_, None) => Operation::Delete,
                _ => Operation::Update,
            };
            let origin = self.origin(&self.likeliest_source(record, touched), Some(statement.sql.clone()));
            let before = Before { row: right_before, unknown: self.all_unknown_of(record) };
            let (record, old) = (record.clone(), record.clone());
            progress.unrecorded.push(UnrecordedWrite { record, old, operation, before, origin });
        }
        let mut columns = Columns::default();
        if both.right.rows.contains_key(record) {
            columns.assigned = self.all_columns(&record.0);
        }
        let by_chance = both.right.unknown.iter().filter(|(one, _)| one == record);
        columns.unknown.extend(by_chance.map(|(_, column)| column.clone()));
        columns.unknown.extend(both.unknown.get(record).into_iter().flatten().cloned());
        columns.suspected.extend(both.suspected.get(record).into_iter().flatten().cloned());
        self.worlds.set(record, actual, right);
        let own: Vec<&Write> = step.writes.iter().filter(|write| write.table == record.0).collect();
        self.after_rerun(record, transaction, statement, &own, &columns, touched);
        if self.worlds.is_wrong(record) && !was_wrong {
            self.notes.affected(&statement.sql);
        }
    }

    /// What the server wrote there, in the digits of the recording.
    fn as_recorded(&self, both: &Both, record: &RecordName, row: &Row) -> Row {
        let mut row = row.clone();
        let Some(written) = both.recorded.after(record) else { return row };
        for (column, value) in written.iter().filter(|(column, _)| both.recorded.tells(record, column)) {
            row.set(column.clone(), value.clone());
        }
        row
    }
}

/// Every row of what can be reached.
pub(super) fn references(reached: &Reached) -> Vec<TableReference> {
    let whole =
        |table: &TableName| TableReference { table: table.clone(), columns: ColumnsRead::All, bounds: Vec::new() };
    reached.tables.iter().map(whole).collect()
}
