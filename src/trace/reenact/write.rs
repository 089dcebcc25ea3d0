//! What a compiled write does to each record when it runs over one world.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::display_scale::DisplayScales;
use super::{CompiledQuery, Execution, Refusal};
use crate::catalog::{RollingTable, RollingTables, World, value_from_array};
use crate::model::{ColumnName, Operation, RecordKey, Row, TableName, TableSchema, Value};
use crate::sql::{self, Assigned, ConflictAction, OnConflict, WriteKind, WriteTarget};

/// What a statement does to one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A new row with these columns.
    Insert(Row),
    /// These columns get these values.
    Update(Updated),
    /// The row goes.
    Delete,
}

/// The columns that an update sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Updated {
    /// Those whose values can be computed.
    pub values: Row,
    /// Those whose values only the database could give.
    pub given: BTreeSet<ColumnName>,
}

impl Updated {
    /// Every column that it sets.
    pub fn columns(&self) -> impl Iterator<Item = &ColumnName> {
        self.values.iter().map(|(column, _)| column).chain(&self.given)
    }
}

/// What a statement does to each record of a table.
pub type Effects = BTreeMap<RecordKey, Effect>;

/// A statement that writes rows and can run again.
pub struct CompiledWrite {
    /// What it does, table by table: every part sees the state before the statement.
    pub tables: Vec<TableWrite>,
    /// Whether it hands rows back to the application.
    pub returning: bool,
    /// The query behind common table expressions that write: it sees the state before them.
    pub read: Option<Box<CompiledQuery>>,
    /// What its text says of the rows it writes.
    pub targets: Vec<WriteTarget>,
}

impl CompiledWrite {
    /// Every reference it reads through.
    pub fn references(&self) -> impl Iterator<Item = &sql::TableReference> {
        self.tables.iter().flat_map(TableWrite::references)
    }

    /// Every reference through which it reads more than the very rows that it updates or deletes.
    pub fn references_of_others(&self) -> impl Iterator<Item = &sql::TableReference> {
        self.tables.iter().flat_map(|write| write.arms.iter().flat_map(|arm| arm.references_of_others(&write.target)))
    }

    /// What it does to this table.
    pub fn of_table(&self, table: &TableName) -> Option<&TableWrite> {
        self.tables.iter().find(|write| write.target == *table)
    }

    /// Whether a plan holds for its parameters' values alone.
    pub(super) fn is_inlined(&self) -> bool {
        let mut queries =
            self.tables.iter().flat_map(|write| &write.arms).flat_map(|arm| arm.on_conflict.iter().chain([&arm.query]));
        queries.any(CompiledQuery::is_inlined) || self.read.as_deref().is_some_and(CompiledQuery::is_inlined)
    }
}

/// What a statement does to one table.
pub struct TableWrite {
    /// The table.
    pub target: TableName,
    pub(super) schema: Arc<TableSchema>,
    pub(super) arms: Vec<CompiledArm>,
}

/// One thing that it does there.
pub(super) struct CompiledArm {
    pub(super) kind: WriteKind,
    pub(super) assigned: Vec<Assigned>,
    pub(super) query: CompiledQuery,
    pub(super) on_conflict: Option<CompiledQuery>,
    /// The rows that an insert may meet: those of the keys that it proposes, where they can be told.
    pub(super) met: Vec<sql::TableReference>,
    pub(super) scales: DisplayScales,
}

impl CompiledArm {
    fn references(&self) -> impl Iterator<Item = &sql::TableReference> {
        // The first two of a conflict's are the row met, which stands in `met`, and the row proposed.
        let of_conflict = self.on_conflict.iter().flat_map(|query| query.references().iter().skip(2));
        self.query.references().iter().chain(&self.met).chain(of_conflict)
    }

    fn references_of_others(&self, target: &TableName) -> impl Iterator<Item = &sql::TableReference> {
        let writes_what_it_finds =
            matches!(self.kind, WriteKind::Update | WriteKind::Delete) && !self.query.has_parts();
        let is_own = self.query.references().first().is_some_and(|first| first.table == *target);
        self.references().skip(usize::from(writes_what_it_finds && is_own))
    }

    /// The columns that it gives values in a write of this kind.
    fn assigned_by(&self, operation: Operation) -> &[Assigned] {
        match (&self.kind, operation) {
            (WriteKind::Insert { .. }, Operation::Insert) | (WriteKind::Update, Operation::Update) => &self.assigned,
            (WriteKind::Insert { on_conflict: Some(conflict) }, Operation::Update) => match &conflict.action {
                ConflictAction::Update { assigned, .. } => assigned,
                ConflictAction::Nothing => &[],
            },
            _ => &[],
        }
    }
}

impl TableWrite {
    /// Every reference it reads through, a conflict's included.
    pub fn references(&self) -> impl Iterator<Item = &sql::TableReference> {
        self.arms.iter().flat_map(CompiledArm::references)
    }

    /// The columns that a write of this kind is given values for.
    pub fn assigned_by(&self, operation: Operation) -> impl Iterator<Item = &Assigned> {
        self.arms.iter().flat_map(move |arm| arm.assigned_by(operation))
    }

    /// Every column that it can give a value.
    pub fn assigned(&self) -> BTreeSet<ColumnName> {
        let operations = [Operation::Insert, Operation::Update];
        let assigned = operations.into_iter().flat_map(|operation| self.assigned_by(operation));
        assigned.map(|assigned| assigned.column.clone()).collect()
    }

    /// Whether updates and deletes alone are what it can do, in one way.
    pub fn only_arm(&self) -> Option<&WriteKind> {
        match self.arms.as_slice() {
            [arm] => Some(&arm.kind),
            _ => None,
        }
    }

    /// Whether the number of digits that it prints of the column is known without a look at what was recorded.
    pub fn prints(&self, column: &str) -> bool {
        self.arms.iter().all(|arm| arm.scales.knows(column))
    }

    /// The columns of a record of which nothing is known, where it is in doubt that the statement does this to it.
    pub fn in_doubt(&self, effect: &Effect) -> BTreeSet<ColumnName> {
        match effect {
            Effect::Update(updated) => updated.columns().cloned().collect(),
            Effect::Insert(_) | Effect::Delete => self.whole_row(),
        }
    }

    /// Every column of the table.
    pub fn whole_row(&self) -> BTreeSet<ColumnName> {
        self.schema.columns.iter().map(|column| column.name.clone()).collect()
    }

    /// Whether it may insert rows.
    pub fn inserts(&self) -> bool {
        self.arms.iter().any(|arm| matches!(arm.kind, WriteKind::Insert { .. }))
    }

    /// Whether it writes, or computes from, the first few of some rows alone.
    pub fn is_limited(&self) -> bool {
        self.arms.iter().any(|arm| arm.query.is_limited())
    }

    /// Whether it reads rows that it makes itself, over and over.
    pub fn is_recursive(&self) -> bool {
        self.arms.iter().any(|arm| arm.query.is_recursive())
    }

    /// The columns of its table that it moves by an amount, and looks at for nothing else; none, where it reads its table
    /// in another way, too.
    pub fn relative(&self) -> BTreeSet<&ColumnName> {
        let [CompiledArm { kind: WriteKind::Update, assigned, query, .. }] = self.arms.as_slice() else {
            return BTreeSet::new();
        };
        let is_own = |reference: &sql::TableReference| reference.table == self.target;
        let reads_own_once = query.references().first().is_some_and(is_own)
            && query.references().iter().filter(|reference| is_own(reference)).count() == 1;
        if !reads_own_once || query.has_parts() {
            return BTreeSet::new();
        }
        assigned.iter().filter(|assigned| assigned.relative).map(|assigned| &assigned.column).collect()
    }

    /// The columns that conditions set equal to columns.
    pub fn equated_columns(&self) -> BTreeSet<(TableName, ColumnName)> {
        let queries = self.arms.iter().flat_map(|arm| arm.on_conflict.iter().chain([&arm.query]));
        queries.flat_map(CompiledQuery::equated_columns).collect()
    }

    /// The literals in its text.
    pub fn constants(&self) -> impl Iterator<Item = &Value> {
        let queries = self.arms.iter().flat_map(|arm| arm.on_conflict.iter().chain([&arm.query]));
        queries.flat_map(CompiledQuery::constants)
    }

    /// The shape of the table.
    pub fn schema(&self) -> &TableSchema {
        &self.schema
    }

    /// What the statement does to each record when it runs over one world. Rows of an insert whose key only the
    /// database could give come without a key, in order.
    ///
    /// # Errors
    /// What PostgreSQL would refuse too, values that do not fit, an update that gives one row two values.
    pub async fn run(
        &self,
        tables: &mut RollingTables,
        world: World,
        execution: Execution<'_>,
    ) -> Result<(Effects, Vec<Row>), Refusal> {
        let mut done = (Effects::new(), Vec::new());
        for arm in &self.arms {
            let batches = arm.query.run(tables, world, execution).await?;
            match &arm.kind {
                WriteKind::Delete => {
                    for (key, _) in self.keyed_rows(&batches, arm)? {
                        add(&mut done.0, key, Effect::Delete)?;
                    }
                }
                WriteKind::Update => {
                    let given = given(&arm.assigned);
                    for (key, mut values) in self.keyed_rows(&batches, arm)? {
                        let before = tables.table(&self.target).and_then(|table| table.row(world, &key)).cloned();
                        arm.scales.print(&mut values, execution.parameters, &[before.as_deref()]);
                        add(&mut done.0, key, Effect::Update(Updated { values, given: given.clone() }))?;
                    }
                }
                WriteKind::Insert { on_conflict } => {
                    let proposed = self.value_rows(&batches, 0, &arm.assigned)?;
                    on_conflict.iter().try_for_each(|conflict| are_apart(conflict, &proposed))?;
                    for mut row in proposed {
                        arm.scales.print(&mut row, execution.parameters, &[]);
                        self.insert(tables, world, execution, (arm, on_conflict.as_ref()), row, &mut done).await?;
                    }
                }
            }
        }
        Ok(done)
    }

    async fn insert(
        &self,
        tables: &mut RollingTables,
        world: World,
        execution: Execution<'_>,
        (arm, on_conflict): (&CompiledArm, Option<&OnConflict>),
        row: Row,
        done: &mut (Effects, Vec<Row>),
    ) -> Result<(), Refusal> {
        let met = match on_conflict {
            Some(on_conflict) => self.row_met(tables, world, on_conflict, &row)?,
            None => None,
        };
        let Some(existing) = met else {
            match row.key(&self.schema.key) {
                Some(key) => add(&mut done.0, key, Effect::Insert(row))?,
                None => done.1.push(row),
            }
            return Ok(());
        };
        let (Some(ConflictAction::Update { assigned, .. }), Some(query)) =
            (on_conflict.map(|on_conflict| &on_conflict.action), &arm.on_conflict)
        else {
            return Ok(());
        };
        let key = existing.key(&self.schema.key).ok_or_else(|| Refusal("meets a row without a key".to_owned()))?;
        let proposed = tables.table(&self.target).map(|table| table.whole(None, &row)).unwrap_or(row);
        let proposed = Arc::new(proposed);
        let overridden = HashMap::from([(0, vec![Arc::clone(&existing)]), (1, vec![Arc::clone(&proposed)])]);
        let batches = query.run(tables, world, Execution { overridden: Some(&overridden), ..execution }).await?;
        if let Some(mut values) = self.value_rows(&batches, 0, assigned)?.pop() {
            arm.scales.print_on_conflict(&mut values, execution.parameters, &[Some(&existing), Some(&proposed)]);
            add(&mut done.0, key, Effect::Update(Updated { values, given: given(assigned) }))?;
        }
        Ok(())
    }

    /// The row that the proposed one conflicts with.
    fn row_met(
        &self,
        tables: &mut RollingTables,
        world: World,
        on_conflict: &OnConflict,
        proposed: &Row,
    ) -> Result<Option<Arc<Row>>, Refusal> {
        let Some(table) = tables.table_mut(&self.target) else { return Ok(None) };
        let met = match on_conflict.columns == self.schema.key {
            true => proposed.key(&self.schema.key).and_then(|key| table.row(world, &key).cloned()),
            false => row_equal_in(table, world, &on_conflict.columns, proposed)?,
        };
        if met.is_some() {
            return Ok(met);
        }
        for unique in &on_conflict.others {
            if !unique.is_plain {
                return Err(Refusal(
                    "has an ON CONFLICT of any constraint, of which one is no comparison of columns".to_owned(),
                ));
            }
            if let Some(met) = row_equal_in(table, world, &unique.columns, proposed)? {
                return Ok(Some(met));
            }
        }
        Ok(None)
    }

    fn keyed_rows(&self, batches: &[RecordBatch], arm: &CompiledArm) -> Result<Vec<(RecordKey, Row)>, Refusal> {
        let width = self.schema.key.len();
        let mut keyed = Vec::new();
        let values = self.value_rows(batches, width, &arm.assigned)?;
        let mut values = values.into_iter();
        for batch in batches {
            for position in 0..batch.num_rows() {
                let mut cells = Vec::with_capacity(width);
                for (place, name) in self.schema.key.iter().enumerate() {
                    cells.push((name.clone(), self.cell(batch, place, position, name)?));
                }
                keyed.extend(values.next().map(|row| (RecordKey::new(cells), row)));
            }
        }
        Ok(keyed)
    }

    /// The values of the assigned columns; those that only the database could give are left out.
    fn value_rows(&self, batches: &[RecordBatch], skipped: usize, assigned: &[Assigned]) -> Result<Vec<Row>, Refusal> {
        let mut rows = Vec::new();
        for batch in batches {
            for position in 0..batch.num_rows() {
                let mut row = Row::new();
                for (place, assigned) in assigned.iter().enumerate().filter(|(_, assigned)| !assigned.given) {
                    row.set(assigned.column.clone(), self.cell(batch, skipped + place, position, &assigned.column)?);
                }
                rows.push(row);
            }
        }
        Ok(rows)
    }

    fn cell(&self, batch: &RecordBatch, place: usize, position: usize, column: &str) -> Result<Value, Refusal> {
        let array = batch.columns().get(place).ok_or_else(|| Refusal("has fewer values than columns".to_owned()))?;
        let column = self.schema.column(column).ok_or_else(|| Refusal(format!("names the column {column}")))?;
        value_from_array(array, position, &column.column_type).map_err(|error| Refusal(format!("failed to {error}")))
    }
}

/// The row that has the same values in these columns.
fn row_equal_in(
    table: &mut RollingTable,
    world: World,
    columns: &[ColumnName],
    proposed: &Row,
) -> Result<Option<Arc<Row>>, Refusal> {
    let values: Option<Vec<(&ColumnName, &Value)>> =
        columns.iter().map(|column| Some((column, proposed.get(column)?))).collect();
    let Some(values) = values else {
        return Err(Refusal("has an ON CONFLICT on columns that only the database could give".to_owned()));
    };
    // NULLs do not conflict.
    let Some((first, value)) = values.first().filter(|_| values.iter().all(|(_, value)| !value.is_null())) else {
        return Ok(None);
    };
    let rows = table.rows_where(world, first, &BTreeSet::from([(*value).clone()]));
    let conflicts = |row: &Arc<Row>| values.iter().all(|(column, value)| row.get(column) == Some(value));
    Ok(rows.into_iter().find(conflicts))
}

/// Of rows that conflict with each other in another key than the primary one, the first is inserted: chance.
///
/// # Errors
/// Two such rows.
fn are_apart(on_conflict: &OnConflict, proposed: &[Row]) -> Result<(), Refusal> {
    for unique in on_conflict.others.iter().filter(|_| proposed.len() > 1) {
        let mut seen = BTreeSet::new();
        for row in proposed {
            let values: Vec<Option<&Value>> = unique.columns.iter().map(|column| row.get(column)).collect();
            let can_conflict = values.iter().all(|value| value.is_some_and(|value| !value.is_null()));
            if can_conflict && !seen.insert(values) {
                return Err(Refusal("proposes several rows of one key: which one it inserts is chance".to_owned()));
            }
        }
    }
    Ok(())
}

fn given(assigned: &[Assigned]) -> BTreeSet<ColumnName> {
    assigned.iter().filter(|assigned| assigned.given).map(|assigned| assigned.column.clone()).collect()
}

/// A row that is written twice is written once where both times say the same.
fn add(effects: &mut Effects, key: RecordKey, effect: Effect) -> Result<(), Refusal> {
    match effects.insert(key, effect.clone()) {
        Some(earlier) if earlier != effect => {
            Err(Refusal("gives one row several values: which one wins is chance".to_owned()))
        }
        _ => Ok(()),
    }
}
