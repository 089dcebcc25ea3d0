//! Tables computed by something that logs no SQL: the project file's `[[derive]]` says what they hold.
//!
//! Where the history tells when such a table was written, its query is evaluated in both worlds as of that moment;
//! where it does not, whenever a statement reads the table, and at the end. A row that the actual world's evaluation
//! reproduces is what the query gives: in the right world it is what the query gives there. A row that it does not
//! reproduce may be wrong, and what it should be is not known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::distort::Distortion;
use super::rerun::Columns;
use super::touch::Touched;
use super::{Progress, Sweep, record_of, unwritten_by, written_by};
use crate::catalog::World;
use crate::model::{
    ColumnName, CommitSeq, Derive, History, Operation, RecordKey, Row, Snapshots, Statement, StatementLink, Step,
    TableName, Timestamp, Transaction, Write,
};
use crate::sql::{self, Role as StatementRole};
use crate::trace::blast_radius::WrittenBy;
use crate::trace::error::TraceError;
use crate::trace::reenact::{Compiled, DerivedQuery, Execution, Refusal};
use crate::trace::worlds::{Difference, RecordName};

/// Every `[[derive]]` that the tables allow to follow; what one reads from another stands behind it.
#[derive(Default)]
pub struct Derivations {
    all: Vec<Derivation>,
    /// Whether the transaction at hand wrote something that one of them reads: it may be judged, and corrected, yet.
    sources_written: bool,
}

struct Derivation {
    derive: Derive,
    sql: Arc<str>,
    query: Result<DerivedQuery, Refusal>,
    sources: BTreeSet<TableName>,
    /// Whether the history tells when the table was written.
    recorded: bool,
    evaluation: Option<Arc<Evaluation>>,
}

/// The rows of a derived table, by the key of its `[[derive]]`.
type DerivedRows = BTreeMap<RecordKey, Row>;
/// A record, and how it stands in the actual world.
type Standing = (RecordName, Option<Arc<Row>>);
type ColumnsByKey = BTreeMap<RecordKey, BTreeSet<ColumnName>>;

/// What the query gives in both worlds.
struct Evaluation {
    /// In the actual world, as it is, and where the moment is not known, as it may have been.
    actual: Vec<DerivedRows>,
    right: DerivedRows,
    unknown: ColumnsByKey,
    suspected: ColumnsByKey,
    /// The keys of the rows on which the worlds differ, or may.
    differing: BTreeSet<RecordKey>,
    touched: Touched,
}

/// One computation of a derived table.
struct Computation<'a> {
    transaction: &'a Transaction,
    /// The writes of it that are known; `None`: every row may have been written.
    own: Option<Vec<&'a Write>>,
}

impl Sweep {
    /// Takes up the derived tables.
    ///
    /// # Errors
    /// A `[[derive]]` that is no query, or whose key its table does not have.
    pub async fn derive(&mut self, derives: &[Derive], history: &History) -> Result<(), TraceError> {
        let mut written: BTreeSet<&TableName> = BTreeSet::new();
        if !derives.is_empty() {
            written.extend(history.transactions.iter().flat_map(Transaction::writes).map(|write| &write.table));
        }
        let mut found = Vec::new();
        for derive in derives {
            let recorded = written.contains(&derive.table);
            found.extend(self.derivation(derive, recorded).await?);
        }
        self.derivations.all = in_order_of_use(found);
        Ok(())
    }

    async fn derivation(&mut self, derive: &Derive, recorded: bool) -> Result<Option<Derivation>, TraceError> {
        let wrong =
            |reason: String| TraceError::Evaluate { what: format!("the [[derive]] of {}", derive.table), reason };
        let statements = sql::parse(&derive.sql).map_err(|error| wrong(format!("failed to {error}")))?;
        let [statement @ sqlparser::ast::Statement::Query(query)] = statements.as_slice() else {
            return Err(wrong("its sql is not one query".to_owned()));
        };
        if sql::role_of(statement) != StatementRole::Read {
            return Err(wrong("its sql writes".to_owned()));
        }
        let Some(schema) = self.worlds.schema(&derive.table) else {
            self.notes.limit(format!(
                "{} is derived, and not followed: the database has no such table, or it has no key",
                derive.table
            ));
            return Ok(None);
        };
        if let Some(column) = derive.key.iter().find(|column| schema.column(column).is_none()) {
            return Err(wrong(format!("its key names the column {column}, which the table does not have")));
        }
        let mut sources = sql::tables_named(statement);
        let query = self.statements.derived_query(query, &schema, &derive.key).await;
        if let Ok(query) = &query {
            sources = query.references().iter().map(|reference| reference.table.clone()).collect();
            for column in query.surplus() {
                self.notes.limit(format!("the [[derive]] of {} yields {column}, a column it lacks", derive.table));
            }
        }
        sources.remove(&derive.table);
        let sql: Arc<str> = derive.sql.as_str().into();
        Ok(Some(Derivation { derive: derive.clone(), sql, query, sources, recorded, evaluation: None }))
    }

    /// Another transaction begins.
    pub(super) fn begin_derivations(&mut self) {
        self.derivations.sources_written = false;
    }

    /// What was evaluated holds no more.
    pub(super) fn forget_derivations(&mut self) {
        self.derivations.all.iter_mut().for_each(|derivation| derivation.evaluation = None);
    }

    /// Before a step that reads a derived table of which no write is recorded: it is what its query gives now.
    pub(super) async fn derive_before(&mut self, transaction: &Transaction, step: &Step) {
        let unrecorded = self.derivations.all.iter().any(|derivation| !derivation.recorded);
        if !unrecorded || !self.worlds.any_affected() {
            return;
        }
        let reads = self.tables_read(step);
        let concerns = |derivation: &Derivation| !derivation.recorded && reads.contains(&derivation.derive.table);
        if self.derivations.all.iter().any(concerns) {
            self.derive_unrecorded(transaction, false).await;
        }
    }

    /// After a step: a derived table that it wrote, by something other than its own SQL, holds what its query gives.
    pub(super) async fn derive_after(&mut self, transaction: &Transaction, step: &Step, progress: &Progress) {
        if self.derivations.all.is_empty() {
            return;
        }
        self.note_written_sources(step);
        for place in 0..self.derivations.all.len() {
            let Some(derivation) = self.derivations.all.get(place) else { break };
            let (table, sources) = (derivation.derive.table.clone(), derivation.sources.clone());
            let own: Vec<&Write> = step.writes.iter().filter(|write| write.table == table).collect();
            if own.is_empty() || self.explains(step, &sources) {
                continue;
            }
            let reads_unrecorded = |other: &Derivation| !other.recorded && sources.contains(&other.derive.table);
            if self.derivations.all.iter().any(reads_unrecorded) {
                self.derive_unrecorded(transaction, false).await;
            }
            self.recompute(place, &Computation { transaction, own: Some(own) }, &progress.roots, false).await;
        }
    }

    /// At the end of the history: derived tables of which no write is recorded, as they stand.
    pub(crate) async fn derive_at_end(&mut self, committed: Timestamp) {
        let nobodys = Transaction {
            commit: CommitSeq(0),
            id: None,
            session: None,
            started: committed,
            committed,
            snapshots: Snapshots::default(),
            attribution: None,
            steps: Vec::new(),
        };
        self.forget_derivations();
        self.derive_unrecorded(&nobodys, true).await;
    }

    async fn derive_unrecorded(&mut self, transaction: &Transaction, at_end: bool) {
        // Who computed it, and in which transaction, is not known.
        let nobodys = Transaction {
            commit: transaction.commit,
            id: None,
            session: None,
            started: transaction.started,
            committed: transaction.committed,
            snapshots: Snapshots::default(),
            attribution: None,
            steps: Vec::new(),
        };
        for place in 0..self.derivations.all.len() {
            if self.derivations.all.get(place).is_some_and(|derivation| !derivation.recorded) {
                let computation = Computation { transaction: &nobodys, own: None };
                self.recompute(place, &computation, &[], at_end).await;
            }
        }
    }

    fn tables_read(&mut self, step: &Step) -> BTreeSet<TableName> {
        let Some(statement) = &step.statement else { return BTreeSet::new() };
        match self.statements.statement(&statement.sql, &statement.parameters, statement.time_zone.as_ref()).as_ref() {
            Compiled::Write(write) => write.references().map(|reference| reference.table.clone()).collect(),
            Compiled::Read(query) => query.references().iter().map(|reference| reference.table.clone()).collect(),
            Compiled::Refused { tables, .. } => tables.iter().cloned().collect(),
            Compiled::Nothing => BTreeSet::new(),
        }
    }

    /// Whether the step's own SQL computes what it writes from the sources.
    fn explains(&mut self, step: &Step, sources: &BTreeSet<TableName>) -> bool {
        let Some(statement) = &step.statement else { return false };
        match self.statements.statement(&statement.sql, &statement.parameters, statement.time_zone.as_ref()).as_ref() {
            Compiled::Write(write) => write.references().any(|reference| sources.contains(&reference.table)),
            _ => false,
        }
    }

    fn note_written_sources(&mut self, step: &Step) {
        let mut written: BTreeSet<TableName> = step.writes.iter().map(|write| write.table.clone()).collect();
        if let Some(statement) = &step.statement
            && let Compiled::Write(write) =
                self.statements.statement(&statement.sql, &statement.parameters, statement.time_zone.as_ref()).as_ref()
        {
            written.extend(write.tables.iter().map(|table| table.target.clone()));
        }
        for derivation in &mut self.derivations.all {
            if !derivation.sources.is_disjoint(&written) {
                derivation.evaluation = None;
                self.derivations.sources_written = true;
            }
        }
    }

    async fn recompute(&mut self, place: usize, computation: &Computation<'_>, roots: &[RecordName], at_end: bool) {
        // Out of the list meanwhile: what it reads and what it changes is the sweep's.
        let Some(mut derivation) = self.derivations.all.get_mut(place).map(Derivation::take) else { return };
        match self.evaluated(&mut derivation, computation.transaction.committed, at_end).await {
            Ok(None) => {}
            Ok(Some(evaluation)) => self.take_over_derived(&derivation, &evaluation, computation, roots),
            Err(reason) => self.derived_in_doubt(&derivation, computation, &reason),
        }
        if self.derivations.sources_written || !derivation.recorded {
            derivation.evaluation = None;
        }
        if let Some(slot) = self.derivations.all.get_mut(place) {
            *slot = derivation;
        }
    }

    /// `None` where the sources are, and were, the same in both worlds.
    async fn evaluated(
        &mut self,
        derivation: &mut Derivation,
        time: Timestamp,
        at_end: bool,
    ) -> Result<Option<Arc<Evaluation>>, Refusal> {
        if let Some(evaluation) = &derivation.evaluation {
            return Ok(Some(Arc::clone(evaluation)));
        }
        let healed = if at_end { self.healed(&derivation.sources) } else { Vec::new() };
        let touched = match &derivation.query {
            Ok(query) => self.touched(query.references().iter(), &[]),
            Err(reason) => {
                let affected = derivation.sources.iter().any(|table| self.worlds.is_affected(table));
                return if affected || !healed.is_empty() { Err(reason.clone()) } else { Ok(None) };
            }
        };
        let stands = derivation.recorded || !self.worlds.is_affected(&derivation.derive.table);
        if touched.records.is_empty() && healed.is_empty() && stands {
            return Ok(None);
        }
        self.notes.executed(&derivation.sql);
        let query = derivation.query.as_ref().map_err(Clone::clone)?;
        let execution = Execution { parameters: &[], time, overridden: None };
        let table = &derivation.derive.table;
        let mut actual = vec![self.derived_rows(query, table, World::Actual, execution).await?];
        let right = self.derived_rows(query, table, World::Right, execution).await?;
        let mut touched = touched;
        if !healed.is_empty() {
            let restore = self.as_last_wrong(&healed);
            let wrong = self.derived_rows(query, table, World::Actual, execution).await;
            for (record, row) in restore {
                self.set_actual_only(&record, row);
            }
            actual.push(wrong?);
            touched.records.extend(healed);
        }
        let differing = differing_keys(&actual, &right);
        let mut evaluation = Evaluation {
            actual,
            right,
            unknown: ColumnsByKey::new(),
            suspected: ColumnsByKey::new(),
            differing,
            touched,
        };
        if evaluation.touched.unknown {
            let ways = Distortion::all(evaluation.touched.records.len(), std::iter::empty());
            evaluation.unknown =
                self.derived_depending((query, table), execution, &evaluation, &ways, |known| &known.unknown).await;
        }
        if evaluation.touched.suspected {
            evaluation.suspected = self
                .derived_depending((query, table), execution, &evaluation, &[Distortion::Above], |known| {
                    &known.suspected
                })
                .await;
        }
        evaluation.differing.extend(evaluation.unknown.keys().chain(evaluation.suspected.keys()).cloned());
        let evaluation = Arc::new(evaluation);
        derivation.evaluation = Some(Arc::clone(&evaluation));
        Ok(Some(evaluation))
    }

    /// The rows that the query gives in one world, printed as the table holds them.
    async fn derived_rows(
        &mut self,
        query: &DerivedQuery,
        table: &TableName,
        world: World,
        execution: Execution<'_>,
    ) -> Result<BTreeMap<RecordKey, Row>, Refusal> {
        let rows = query.run(&mut self.worlds.tables, world, execution).await?;
        let printed = |(key, row): (RecordKey, Row)| {
            let record = (table.clone(), key);
            let row = self.printed_as_held(&record, row);
            (record.1, row)
        };
        Ok(rows.into_iter().map(printed).collect())
    }

    /// The records of these tables that were wrong once, and on which the worlds agree now.
    fn healed(&self, tables: &BTreeSet<TableName>) -> Vec<RecordName> {
        let was_wrong = |(record, difference): &(&RecordName, &Difference)| {
            tables.contains(&record.0) && !difference.last_wrong.is_empty() && !self.worlds.is_wrong(record)
        };
        let mut healed: Vec<RecordName> =
            self.worlds.differences().filter(was_wrong).map(|(record, _)| record.clone()).collect();
        healed.sort();
        healed
    }

    /// Puts records into the actual world as they were when last wrong; what they were is handed back.
    fn as_last_wrong(&mut self, records: &[RecordName]) -> Vec<(RecordName, Option<Arc<Row>>)> {
        let mut restore = Vec::with_capacity(records.len());
        for record in records {
            let Some(difference) = self.worlds.difference(record) else { continue };
            let wrong: Row =
                difference.last_wrong.iter().map(|(column, cell)| (column.clone(), cell.actual.clone())).collect();
            let now = self.worlds.row(World::Actual, record).cloned();
            let Some(table) = self.worlds.tables.table(&record.0) else { continue };
            let row = Arc::new(table.whole(now.as_deref(), &record.1.to_row().overlaid(&wrong)));
            self.set_actual_only(record, Some(row));
            restore.push((record.clone(), now));
        }
        restore
    }

    fn set_actual_only(&mut self, record: &RecordName, row: Option<Arc<Row>>) {
        let right = self.worlds.row(World::Right, record).cloned();
        if let Some(table) = self.worlds.tables.table_mut(&record.0) {
            table.set_both(&record.1, row, right);
        }
    }

    /// The columns of each derived row that depend on cells of the sources whose right value is not known.
    async fn derived_depending(
        &mut self,
        (query, table): (&DerivedQuery, &TableName),
        execution: Execution<'_>,
        evaluation: &Evaluation,
        distortions: &[Distortion],
        cells: impl Fn(&Difference) -> &BTreeSet<ColumnName>,
    ) -> ColumnsByKey {
        let mut depending = ColumnsByKey::new();
        let all = |row: &Row| row.iter().map(|(column, _)| column.clone()).collect::<BTreeSet<_>>();
        for distortion in distortions {
            let restore = self.distort(evaluation.touched.records.iter(), distortion, &cells);
            let run = self.derived_rows(query, table, World::Right, execution).await;
            self.restore(restore);
            let Ok(distorted) = run else {
                // It fails on the distorted value: everything may depend on it.
                depending.extend(evaluation.right.iter().map(|(key, row)| (key.clone(), all(row))));
                continue;
            };
            for key in evaluation.right.keys().chain(distorted.keys()) {
                let columns = match (evaluation.right.get(key), distorted.get(key)) {
                    (Some(one), Some(other)) => differing(one, other),
                    (Some(row), None) | (None, Some(row)) => all(row),
                    (None, None) => BTreeSet::new(),
                };
                if !columns.is_empty() {
                    depending.entry(key.clone()).or_default().extend(columns);
                }
            }
        }
        depending
    }

    fn take_over_derived(
        &mut self,
        derivation: &Derivation,
        evaluation: &Evaluation,
        computation: &Computation<'_>,
        roots: &[RecordName],
    ) {
        let mut keys = evaluation.differing.clone();
        keys.extend(self.keys_at_hand(derivation, computation));
        let is_new = |key: &RecordKey| !evaluation.actual.iter().any(|rows| rows.contains_key(key));
        let whole = keys.iter().any(is_new) && self.is_whole(derivation, evaluation, computation);
        for key in &keys {
            match self.standing(derivation, key, evaluation) {
                Ok(Some((record, _))) if roots.contains(&record) => {}
                Ok(standing) => self.take_over_row(derivation, evaluation, computation, key, standing, whole),
                Err(reason) => self.notes.limit(reason),
            }
        }
    }

    /// The keys of the rows written; where those are not known, of the rows on which the worlds differ so far.
    fn keys_at_hand(&self, derivation: &Derivation, computation: &Computation<'_>) -> Vec<RecordKey> {
        let table = &derivation.derive.table;
        let records: Vec<RecordName> = match &computation.own {
            Some(own) => own.iter().map(|write| record_of(write)).collect(),
            None => self.worlds.affected(table).into_iter().map(|key| (table.clone(), key)).collect(),
        };
        let derived_key = |record: &RecordName| {
            let rows = [World::Actual, World::Right].map(|world| self.worlds.row(world, record));
            let known = rows.into_iter().flatten().find_map(|row| row.key(&derivation.derive.key));
            known.or_else(|| record.1.to_row().key(&derivation.derive.key))
        };
        records.iter().filter_map(derived_key).collect()
    }

    /// Whether the computation wrote the table from one end to the other, as its query gives it: then a row that the
    /// query gives in the right world alone is one that it would have written.
    fn is_whole(&mut self, derivation: &Derivation, evaluation: &Evaluation, computation: &Computation<'_>) -> bool {
        let Some(actual) = evaluation.actual.first() else { return false };
        let table = &derivation.derive.table;
        let count = self.worlds.tables.table(table).map_or(0, |rolling| rolling.rows(World::Actual).count());
        count == actual.len()
            && actual.iter().all(|(key, row)| {
                let standing = self.standing(derivation, key, evaluation).ok().flatten();
                standing.is_some_and(|(record, stands)| {
                    computation.wrote(&record) && stands.is_some_and(|stands| holds(&stands, row))
                })
            })
    }

    /// The record that a derived row is, and how it stands in the actual world; `None` for a row that is not there and
    /// whose primary key the query does not tell.
    fn standing(
        &mut self,
        derivation: &Derivation,
        key: &RecordKey,
        evaluation: &Evaluation,
    ) -> Result<Option<Standing>, String> {
        let table = &derivation.derive.table;
        let Some(schema) = self.worlds.schema(table) else { return Ok(None) };
        let rows = evaluation.actual.iter().chain([&evaluation.right]);
        if let Some(record_key) = rows.filter_map(|rows| rows.get(key)).find_map(|row| row.key(&schema.key)) {
            let record = (table.clone(), record_key);
            let stands = self.worlds.row(World::Actual, &record).cloned();
            return Ok(Some((record, stands)));
        }
        let mut found: BTreeMap<RecordKey, Option<Arc<Row>>> = BTreeMap::new();
        for world in [World::Right, World::Actual] {
            let Some((column, value)) = key.iter().next() else { continue };
            let Some(rolling) = self.worlds.tables.table_mut(table) else { continue };
            for row in rolling.rows_where(world, column, &BTreeSet::from([value.clone()])) {
                if key.iter().all(|(column, value)| row.get(column) == Some(value))
                    && let Some(record_key) = row.key(&schema.key)
                {
                    found.insert(record_key, (world == World::Actual).then_some(row));
                }
            }
        }
        if found.len() > 1 {
            return Err(format!(
                "{table} has several rows with the key {key} of its [[derive]]: they are not followed"
            ));
        }
        Ok(found.into_iter().next().map(|(record_key, stands)| ((table.clone(), record_key), stands)))
    }

    fn take_over_row(
        &mut self,
        derivation: &Derivation,
        evaluation: &Evaluation,
        computation: &Computation<'_>,
        key: &RecordKey,
        standing: Option<Standing>,
        whole: bool,
    ) {
        let right = evaluation.right.get(key);
        let none = BTreeSet::new();
        let mut columns = Columns {
            unknown: evaluation.unknown.get(key).unwrap_or(&none).clone(),
            suspected: evaluation.suspected.get(key).unwrap_or(&none).clone(),
            assigned: BTreeSet::new(),
        };
        let is_sure = columns.unknown.is_empty() && columns.suspected.is_empty();
        let Some((record, stands)) = standing else {
            if evaluation.actual.iter().all(|rows| rows.get(key) != right) && right.is_some() {
                self.notes.limit(format!(
                    "{} may lack a row that its query gives in the right world: its primary key is not in the query",
                    derivation.derive.table
                ));
            }
            return;
        };
        let given = |rows: &DerivedRows| match (rows.get(key), &stands) {
            (Some(row), Some(stands)) => holds(stands, row),
            (None, None) => true,
            _ => false,
        };
        let reproduced = evaluation.actual.iter().any(given);
        let agree = is_sure && evaluation.actual.iter().all(|rows| rows.get(key) == right);
        if reproduced && (computation.wrote(&record) || stands.is_none() && whole) {
            self.set_derived(derivation, evaluation, computation, &record, stands, right, &mut columns);
            return;
        }
        let is_right = is_sure && given(&evaluation.right);
        if stands.is_some() && is_right && computation.wrote(&record) {
            self.set_derived(derivation, evaluation, computation, &record, stands, right, &mut columns);
            return;
        }
        let later = stands.is_none() && !evaluation.actual.iter().all(|rows| !rows.contains_key(key));
        // A row that the query gives everywhere alike, that is not there yet, or that this computation left alone.
        if agree || later || !reproduced && !computation.wrote(&record) {
            return;
        }
        self.derived_row_in_doubt(derivation, evaluation, computation, key, &record, stands);
    }

    /// The row is what the query gives; so it is in the right world.
    #[expect(clippy::too_many_arguments, reason = "a row with both its values, and where they come from")]
    fn set_derived(
        &mut self,
        derivation: &Derivation,
        evaluation: &Evaluation,
        computation: &Computation<'_>,
        record: &RecordName,
        stands: Option<Arc<Row>>,
        right: Option<&Row>,
        columns: &mut Columns,
    ) {
        let was_wrong = self.worlds.is_wrong(record);
        let older = self.worlds.row(World::Right, record).cloned().or_else(|| stands.clone());
        let Some(table) = self.worlds.tables.table(&record.0) else { return };
        let whole = right.map(|right| Arc::new(table.whole(older.as_deref(), right)));
        if let (Some(right), None) = (right, &older) {
            // Columns that the query does not give, of a row that was never written.
            let missing = table.schema().columns.iter().filter(|column| right.get(&column.name).is_none());
            columns.unknown.extend(missing.map(|column| column.name.clone()));
        }
        let given = evaluation.actual.iter().chain([&evaluation.right]).find_map(|rows| rows.values().next());
        columns.assigned.extend(given.into_iter().flat_map(Row::iter).map(|(column, _)| column.clone()));
        self.worlds.set(record, stands, whole);
        let statement = Statement {
            sql: Arc::clone(&derivation.sql),
            parameters: Vec::new(),
            started: computation.transaction.started,
            link: StatementLink::Event,
            time_zone: None,
        };
        let own = computation.own.as_deref().unwrap_or_default();
        self.after_rerun(record, computation.transaction, &statement, own, columns, &evaluation.touched);
        self.worlds.forget_if_never_wrong(record);
        if self.worlds.is_wrong(record) && !was_wrong {
            self.notes.affected(&derivation.sql);
        }
    }

    /// The row is not what the query gives: what it would be in the right world is not known.
    fn derived_row_in_doubt(
        &mut self,
        derivation: &Derivation,
        evaluation: &Evaluation,
        computation: &Computation<'_>,
        key: &RecordKey,
        record: &RecordName,
        stands: Option<Arc<Row>>,
    ) {
        let right = evaluation.right.get(key);
        let mut columns: BTreeSet<ColumnName> = BTreeSet::new();
        for actual in evaluation.actual.iter().map(|rows| rows.get(key)) {
            match (actual, right) {
                (Some(actual), Some(right)) => columns.extend(differing(actual, right)),
                (Some(row), None) | (None, Some(row)) => columns.extend(row.iter().map(|(column, _)| column.clone())),
                (None, None) => {}
            }
        }
        columns.extend(evaluation.unknown.get(key).into_iter().flatten().cloned());
        columns.extend(evaluation.suspected.get(key).into_iter().flatten().cloned());
        let columns = self.not_key(&record.0, columns);
        if columns.is_empty() {
            return;
        }
        if let (None, Some(right), Some(table)) = (&stands, right, self.worlds.tables.table(&record.0)) {
            let whole = table.whole(None, right);
            self.worlds.set(record, None, Some(Arc::new(whole)));
        }
        let source = self.likeliest_source(record, &evaluation.touched);
        let origin = self.origin(&source, Some(Arc::clone(&derivation.sql)));
        let written = computation.written(record);
        let why = "it is not what its [[derive]] gives: it was computed earlier, or otherwise";
        self.possible(record, columns, &origin, written, why);
    }

    /// The query cannot be evaluated: every row computed with it may be wrong.
    fn derived_in_doubt(&mut self, derivation: &Derivation, computation: &Computation<'_>, reason: &Refusal) {
        let table = &derivation.derive.table;
        self.notes.inexact(&derivation.sql, &reason.to_string());
        let affected = derivation
            .sources
            .iter()
            .find_map(|source| Some((source.clone(), self.worlds.affected(source).into_iter().next()?)));
        let Some(source) = affected.or_else(|| self.healed(&derivation.sources).into_iter().next()) else { return };
        let origin = self.origin(&source, Some(Arc::clone(&derivation.sql)));
        let keys: BTreeSet<RecordKey> = match &computation.own {
            Some(own) => own.iter().filter(|write| write.after.is_some()).map(|write| write.key.clone()).collect(),
            None => self
                .worlds
                .tables
                .table(table)
                .map(|rolling| rolling.keys(World::Actual))
                .into_iter()
                .flatten()
                .collect(),
        };
        for key in keys {
            let record = (table.clone(), key);
            let Some(row) = self.worlds.row(World::Actual, &record).cloned() else { continue };
            let columns = self.not_key(table, row.iter().map(|(column, _)| column.clone()).collect());
            let why = "it is computed from affected records, and its [[derive]] could not be evaluated";
            self.possible(&record, columns, &origin, computation.written(&record), why);
        }
    }
}

impl Derivation {
    /// The derivation itself; an empty shell stays in its place.
    fn take(&mut self) -> Derivation {
        Derivation {
            derive: self.derive.clone(),
            sql: Arc::clone(&self.sql),
            query: std::mem::replace(&mut self.query, Err(Refusal("is being evaluated".to_owned()))),
            sources: self.sources.clone(),
            recorded: self.recorded,
            evaluation: self.evaluation.take(),
        }
    }
}

impl Computation<'_> {
    fn wrote(&self, record: &RecordName) -> bool {
        let is_it = |write: &&&Write| write.operation != Operation::Truncate && record_of(write) == *record;
        self.own.as_ref().is_none_or(|own| own.iter().any(|write| is_it(&write)))
    }

    fn written(&self, record: &RecordName) -> WrittenBy {
        let own = self.own.iter().flatten().rfind(|write| record_of(write) == *record);
        let transaction = self.transaction;
        match own {
            Some(write) => WrittenBy { tx: transaction.id.clone(), ..written_by(write) },
            None => unwritten_by(transaction),
        }
    }
}

fn holds(stands: &Row, given: &Row) -> bool {
    given.iter().all(|(column, value)| stands.get(column) == Some(value))
}

fn differing_keys(actual: &[DerivedRows], right: &DerivedRows) -> BTreeSet<RecordKey> {
    let mut keys = BTreeSet::new();
    for rows in actual {
        let all = rows.keys().chain(right.keys());
        keys.extend(all.filter(|key| rows.get(*key) != right.get(*key)).cloned());
    }
    keys
}

fn differing(one: &Row, other: &Row) -> BTreeSet<ColumnName> {
    let differs = one.iter().filter(|(column, value)| other.get(column) != Some(value));
    differs.map(|(column, _)| column.clone()).collect()
}

/// What one reads from another stands behind it; of those that read each other in a circle, the first goes first.
fn in_order_of_use(mut derivations: Vec<Derivation>) -> Vec<Derivation> {
    let mut ordered: Vec<Derivation> = Vec::with_capacity(derivations.len());
    while !derivations.is_empty() {
        let is_ready = |derivation: &Derivation| {
            !derivations.iter().any(|other| {
                derivation.sources.contains(&other.derive.table) && other.derive.table != derivation.derive.table
            })
        };
        let next = derivations.iter().position(is_ready).unwrap_or(0);
        ordered.push(derivations.remove(next));
    }
    ordered
}
