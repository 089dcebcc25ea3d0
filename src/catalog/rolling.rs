//! Tables that roll through time, in two worlds.
//!
//! The actual world is a table as of some commit: [`RollingTable::apply`] does a write, [`RollingTable::undo`] takes
//! it back. The right world is a sparse overlay: only records on which the worlds differ are in it. Rows are handed to
//! the query engine as typed batches; the batches of a stretch of rows are kept until one of its rows changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ahash::HashMap;
use arrow::record_batch::RecordBatch;

use super::{CatalogError, batch_from_rows};
use crate::model::{ColumnName, ColumnType, Operation, RecordKey, Row, TableName, TableSchema, Value, Write};

/// Which of the two worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum World {
    /// What happened.
    Actual,
    /// What would have happened had the release written what it should have.
    Right,
}

/// Rows per cached batch: small enough that one changed row costs little, large enough for the engine.
const STRETCH: usize = 1024;

#[derive(Clone, Debug, Default)]
struct Slot {
    actual: Option<Arc<Row>>,
    /// The row (or its absence) in the right world, where that differs.
    right: Option<Option<Arc<Row>>>,
}

impl Slot {
    fn row(&self, world: World) -> Option<&Arc<Row>> {
        match (world, &self.right) {
            (World::Right, Some(right)) => right.as_ref(),
            _ => self.actual.as_ref(),
        }
    }
}

#[derive(Debug, Default)]
struct CachedBatches {
    actual: Option<RecordBatch>,
    right: Option<RecordBatch>,
}

/// One table as of a commit, in both worlds.
#[derive(Debug)]
pub struct RollingTable {
    schema: Arc<TableSchema>,
    /// The columns of type plain `numeric`, whose values can be the same and yet be printed otherwise.
    plain_numerics: Vec<ColumnName>,
    slots: Vec<Slot>,
    by_key: HashMap<RecordKey, usize>,
    overlay: BTreeSet<usize>,
    /// Per column: the slots that hold, or once held, a value. Looked up values are checked again.
    indexes: HashMap<ColumnName, HashMap<Value, BTreeSet<usize>>>,
    cached: Vec<CachedBatches>,
    /// The records of the actual world that were set since they were last asked for, once anybody asks.
    followed: Option<BTreeSet<RecordKey>>,
}

impl RollingTable {
    /// An empty table of this shape.
    pub fn new(schema: Arc<TableSchema>) -> Self {
        let plain_numerics = schema.plain_numerics().cloned().collect();
        RollingTable {
            schema,
            plain_numerics,
            slots: Vec::new(),
            by_key: HashMap::default(),
            overlay: BTreeSet::new(),
            indexes: HashMap::default(),
            cached: Vec::new(),
            followed: None,
        }
    }

    /// The records of the actual world that may have changed since this was last asked; `None` the first time: all.
    pub fn take_changed(&mut self) -> Option<BTreeSet<RecordKey>> {
        self.followed.replace(BTreeSet::new())
    }

    fn follow(&mut self, key: &RecordKey, row: Option<&Arc<Row>>) {
        if self.followed.is_some() && self.row(World::Actual, key) != row {
            self.followed.get_or_insert_default().insert(key.clone());
        }
    }

    /// The table's shape.
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// The record as it stands in one world.
    pub fn row(&self, world: World, key: &RecordKey) -> Option<&Arc<Row>> {
        self.slots.get(*self.by_key.get(key)?)?.row(world)
    }

    /// Every row that exists in one world.
    pub fn rows(&self, world: World) -> impl Iterator<Item = &Arc<Row>> {
        self.slots.iter().filter_map(move |slot| slot.row(world))
    }

    /// Puts a row into the actual world, or removes it; the right world keeps what it had.
    pub fn set_actual(&mut self, key: &RecordKey, row: Option<Arc<Row>>) {
        self.follow(key, row.as_ref());
        let place = self.place(key);
        let Some(slot) = self.slots.get_mut(place) else { return };
        slot.actual = row;
        self.settle(place);
    }

    /// Says what the record is in the right world; where that is what it actually is, the record leaves the overlay.
    pub fn set_right(&mut self, key: &RecordKey, row: Option<Arc<Row>>) {
        let place = self.place(key);
        let Some(slot) = self.slots.get_mut(place) else { return };
        slot.right = Some(printed_alike(&self.plain_numerics, slot.actual.as_deref(), row));
        self.settle(place);
    }

    /// Both worlds at once.
    pub fn set_both(&mut self, key: &RecordKey, actual: Option<Arc<Row>>, right: Option<Arc<Row>>) {
        self.follow(key, actual.as_ref());
        let place = self.place(key);
        let Some(slot) = self.slots.get_mut(place) else { return };
        slot.right = Some(printed_alike(&self.plain_numerics, actual.as_deref(), right));
        slot.actual = actual;
        self.settle(place);
    }

    /// Whether the worlds differ on the record.
    pub fn differs(&self, key: &RecordKey) -> bool {
        self.by_key.get(key).is_some_and(|place| self.overlay.contains(place))
    }

    /// Whether the worlds differ on any record.
    pub fn has_overlay(&self) -> bool {
        !self.overlay.is_empty()
    }

    /// Both rows of every record on which the worlds differ: actual, then right.
    pub fn overlay(&self) -> impl Iterator<Item = (Option<&Arc<Row>>, Option<&Arc<Row>>)> {
        let slots = self.overlay.iter().filter_map(|place| self.slots.get(*place));
        slots.map(|slot| (slot.row(World::Actual), slot.row(World::Right)))
    }

    /// Does one write in the actual world. The right world keeps its own rows: what the write does there is for the
    /// sweep to say, and a record that it does not speak of follows the actual world.
    pub fn apply(&mut self, write: &Write) {
        match write.operation {
            Operation::Truncate => {
                for key in self.keys(World::Actual) {
                    self.set_actual(&key, None);
                }
            }
            Operation::Delete => self.set_actual(&write.key, None),
            Operation::Insert | Operation::Update => {
                let old_key = write.before.as_ref().and_then(|before| before.key(&self.schema.key));
                let from = old_key.as_ref().unwrap_or(&write.key);
                let old = self.row(World::Actual, from).filter(|_| write.operation == Operation::Update).cloned();
                let after = write.after.clone().unwrap_or_else(|| write.key.to_row());
                let row = self.whole(old.as_deref(), &after);
                if *from != write.key && write.operation == Operation::Update {
                    self.set_actual(&from.clone(), None);
                }
                self.set_actual(&write.key, Some(Arc::new(row)));
            }
        }
    }

    /// Takes one write back in the actual world: the image before stands again. Columns that no image tells stay as
    /// they are.
    pub fn undo(&mut self, write: &Write) {
        match write.operation {
            // What a truncate removed comes back by the deletes that the history lists beside it, if it does.
            Operation::Truncate => {}
            Operation::Insert => self.set_actual(&write.key, None),
            Operation::Delete => {
                let before = write.before.clone().unwrap_or_else(|| write.key.to_row());
                let row = self.whole(None, &before);
                self.set_actual(&write.key, Some(Arc::new(row)));
            }
            Operation::Update => {
                let Some(before) = &write.before else { return };
                let current = self.row(World::Actual, &write.key).cloned();
                let row = self.whole(current.as_deref(), before);
                let old_key = row.key(&self.schema.key).unwrap_or_else(|| write.key.clone());
                if old_key != write.key {
                    self.set_actual(&write.key, None);
                }
                self.set_actual(&old_key, Some(Arc::new(row)));
            }
        }
    }

    /// The keys of every row of one world.
    pub fn keys(&self, world: World) -> Vec<RecordKey> {
        self.rows(world).filter_map(|row| row.key(&self.schema.key)).collect()
    }

    /// A row in the order of the schema: `newer` laid over `older`; a column that neither holds is NULL.
    pub fn whole(&self, older: Option<&Row>, newer: &Row) -> Row {
        let mut row = Row::new();
        for column in &self.schema.columns {
            let value = newer.get(&column.name).or_else(|| older.and_then(|older| older.get(&column.name)));
            row.push(column.name.clone(), value.cloned().unwrap_or(Value::NULL));
        }
        row
    }

    /// Every row of one world as batches.
    ///
    /// # Errors
    /// A value that its column's type cannot hold.
    pub fn batches(&mut self, world: World) -> Result<Vec<RecordBatch>, CatalogError> {
        self.cached.resize_with(self.slots.len().div_ceil(STRETCH), CachedBatches::default);
        let mut batches = Vec::with_capacity(self.cached.len());
        for (stretch, cached) in self.slots.chunks(STRETCH).zip(&mut self.cached) {
            let differs = stretch.iter().any(|slot| slot.right.is_some());
            let world = if differs { world } else { World::Actual };
            let kept = match world {
                World::Actual => &mut cached.actual,
                World::Right => &mut cached.right,
            };
            let batch = match kept {
                Some(batch) => batch.clone(),
                None => {
                    let rows: Vec<&Row> =
                        stretch.iter().filter_map(|slot| slot.row(world)).map(AsRef::as_ref).collect();
                    kept.insert(batch_from_rows(&self.schema, rows.into_iter())?).clone()
                }
            };
            batches.push(batch);
        }
        Ok(batches)
    }

    /// The rows of one world whose `column` is one of `values`, each once.
    pub fn rows_where(&mut self, world: World, column: &ColumnName, values: &BTreeSet<Value>) -> Vec<Arc<Row>> {
        if [column.clone()] == *self.schema.key {
            let keys = values.iter().map(|value| RecordKey::new(vec![(column.clone(), value.clone())]));
            return keys.filter_map(|key| self.row(world, &key).cloned()).collect();
        }
        if !self.indexes.contains_key(column) {
            let mut index: HashMap<Value, BTreeSet<usize>> = HashMap::default();
            for (place, slot) in self.slots.iter().enumerate() {
                for value in slot_values(slot, column) {
                    index.entry(value).or_default().insert(place);
                }
            }
            self.indexes.insert(column.clone(), index);
        }
        let Some(index) = self.indexes.get(column) else { return Vec::new() };
        let places: BTreeSet<usize> = values.iter().filter_map(|value| index.get(value)).flatten().copied().collect();
        let rows = places.into_iter().filter_map(|place| self.slots.get(place)?.row(world));
        rows.filter(|row| row.get(column).is_some_and(|value| values.contains(value))).cloned().collect()
    }

    fn place(&mut self, key: &RecordKey) -> usize {
        if let Some(place) = self.by_key.get(key) {
            return *place;
        }
        let place = self.slots.len();
        self.slots.push(Slot::default());
        self.by_key.insert(key.clone(), place);
        place
    }

    /// After a slot changed: the overlay, the indexes and the kept batches follow.
    fn settle(&mut self, place: usize) {
        let Some(slot) = self.slots.get_mut(place) else { return };
        if slot.right.as_ref().is_some_and(|right| *right == slot.actual) {
            slot.right = None;
        }
        if slot.right.is_some() {
            self.overlay.insert(place);
        } else {
            self.overlay.remove(&place);
        }
        for (column, index) in &mut self.indexes {
            for value in slot_values(slot, column) {
                index.entry(value).or_default().insert(place);
            }
        }
        if let Some(cached) = self.cached.get_mut(place / STRETCH) {
            *cached = CachedBatches::default();
        }
    }
}

/// The row of the right world, with the numbers that are the same in both worlds printed as they were recorded.
fn printed_alike(columns: &[ColumnName], actual: Option<&Row>, right: Option<Arc<Row>>) -> Option<Arc<Row>> {
    let mut right = right?;
    for column in columns {
        let Some((recorded, value)) = actual.and_then(|actual| actual.get(column)).zip(right.get(column)) else {
            continue;
        };
        if recorded != value && ColumnType::Numeric(None).is_same(recorded, value) {
            let recorded = recorded.clone();
            Arc::make_mut(&mut right).set(column.clone(), recorded);
        }
    }
    Some(right)
}

fn slot_values(slot: &Slot, column: &ColumnName) -> BTreeSet<Value> {
    let rows = [slot.row(World::Actual), slot.row(World::Right)];
    rows.into_iter().flatten().filter_map(|row| row.get(column).cloned()).collect()
}

/// Every table that the sweep needs, as of one commit.
#[derive(Debug, Default)]
pub struct RollingTables {
    tables: BTreeMap<TableName, RollingTable>,
    temporary: BTreeMap<TableName, Arc<TemporaryRows>>,
}

/// The rows of a temporary table, which no key tells apart.
#[derive(Clone, Debug, Default)]
pub struct TemporaryRows {
    /// In the actual world.
    pub actual: Vec<Arc<Row>>,
    /// In the right world.
    pub right: Vec<Arc<Row>>,
}

impl TemporaryRows {
    /// Those of one world.
    pub fn rows(&self, world: World) -> &[Arc<Row>] {
        match world {
            World::Actual => &self.actual,
            World::Right => &self.right,
        }
    }
}

impl RollingTables {
    /// No tables yet.
    pub fn new() -> Self {
        RollingTables::default()
    }

    /// Adds a table as it stands; rows without a whole key are refused.
    ///
    /// # Errors
    /// A row that lacks a key column.
    pub fn load(&mut self, schema: Arc<TableSchema>, rows: Vec<Row>) -> Result<(), CatalogError> {
        let mut table = RollingTable::new(schema.clone());
        for row in rows {
            let key = row.key(&schema.key).ok_or_else(|| CatalogError::Rows {
                table: schema.name.clone(),
                reason: "a row lacks a column of the key".to_owned(),
            })?;
            table.set_actual(&key, Some(Arc::new(row)));
        }
        self.tables.insert(schema.name.clone(), table);
        Ok(())
    }

    /// One table.
    pub fn table(&self, name: &TableName) -> Option<&RollingTable> {
        self.tables.get(name)
    }

    /// One table, to change.
    pub fn table_mut(&mut self, name: &TableName) -> Option<&mut RollingTable> {
        self.tables.get_mut(name)
    }

    /// A temporary table that stands there, before any other of its name.
    pub fn temporary(&self, name: &TableName) -> Option<&TemporaryRows> {
        self.temporary.get(name).map(AsRef::as_ref)
    }

    /// From now on, this temporary table holds these rows; without any, it does not stand there.
    pub fn set_temporary(&mut self, name: &TableName, rows: Option<Arc<TemporaryRows>>) {
        match rows {
            Some(rows) => self.temporary.insert(name.clone(), rows),
            None => self.temporary.remove(name),
        };
    }

    /// From now on, no temporary table stands there.
    pub fn clear_temporary(&mut self) {
        self.temporary.clear();
    }

    /// Every table.
    pub fn iter(&self) -> impl Iterator<Item = (&TableName, &RollingTable)> {
        self.tables.iter()
    }

    /// Does one write in the actual world; a table that is not loaded is passed over.
    pub fn apply(&mut self, write: &Write) {
        if let Some(table) = self.tables.get_mut(&write.table) {
            table.apply(write);
        }
    }

    /// Takes one write back in the actual world.
    pub fn undo(&mut self, write: &Write) {
        if let Some(table) = self.tables.get_mut(&write.table) {
            table.undo(write);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnType, Timestamp, WriteSeq};

    fn schema() -> Arc<TableSchema> {
        let column =
            |name: &str, column_type| Column { name: name.into(), column_type, not_null: false, generated: false };
        Arc::new(TableSchema {
            name: TableName::new("public", "t"),
            columns: vec![column("id", ColumnType::Integer), column("a", ColumnType::Text)],
            key: vec!["id".into()],
            foreign_keys: vec![],
            unique_keys: vec![],
        })
    }

    fn row(id: &str, a: &str) -> Row {
        [("id".into(), Value::text(id)), ("a".into(), Value::text(a))].into_iter().collect()
    }

    fn write(operation: Operation, before: Option<Row>, after: Option<Row>) -> Write {
        let key = after.as_ref().or(before.as_ref()).and_then(|row| row.key(&["id".into()]));
        Write {
            seq: WriteSeq(1),
            ts: Timestamp::from_micros(0),
            table: TableName::new("public", "t"),
            operation,
            key: key.expect("the image holds the key"),
            before,
            after,
            reads: vec![],
            trace: None,
            attribution: None,
        }
    }

    #[test]
    fn undo_takes_back_what_apply_did() {
        let mut table = RollingTable::new(schema());
        let writes = [
            write(Operation::Insert, None, Some(row("1", "x"))),
            write(Operation::Update, Some(row("1", "x")), Some(row("1", "y"))),
            write(Operation::Update, Some(row("1", "y")), Some(row("2", "y"))),
            write(Operation::Delete, Some(row("2", "y")), None),
        ];
        let mut states = vec![table.rows(World::Actual).cloned().collect::<Vec<_>>()];
        for write in &writes {
            table.apply(write);
            states.push(table.rows(World::Actual).cloned().collect());
        }
        assert_eq!(states.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, 1, 1, 0]);
        for (write, state) in writes.iter().zip(&states).rev() {
            table.undo(write);
            assert_eq!(table.rows(World::Actual).cloned().collect::<Vec<_>>(), *state);
        }
    }

    #[test]
    fn what_has_changed_is_told_once() {
        let mut table = RollingTable::new(schema());
        let key = |id: &str| row(id, "x").key(&["id".into()]).expect("a key");
        let put = |table: &mut RollingTable, id: &str, a: &str| table.set_actual(&key(id), Some(Arc::new(row(id, a))));
        put(&mut table, "1", "x");
        assert_eq!(table.take_changed(), None, "whoever asks first has to look at all of them");
        put(&mut table, "1", "x");
        put(&mut table, "2", "x");
        table.set_right(&key("1"), None);
        assert_eq!(table.take_changed(), Some(BTreeSet::from([key("2")])), "the right world is no change");
        assert_eq!(table.take_changed(), Some(BTreeSet::new()));
        table.set_both(&key("1"), None, None);
        assert_eq!(table.take_changed(), Some(BTreeSet::from([key("1")])));
    }

    #[test]
    fn an_index_of_a_column_with_few_values_takes_many_rows() {
        let mut table = RollingTable::new(schema());
        let same = BTreeSet::from([Value::text("same")]);
        assert!(table.rows_where(World::Actual, &"a".into(), &same).is_empty());
        let began = std::time::Instant::now();
        let rows = 200_000;
        for id in 0..rows {
            table.apply(&write(Operation::Insert, None, Some(row(&id.to_string(), "same"))));
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
        let found = table.rows_where(World::Actual, &"a".into(), &same);
        assert_eq!(found.len(), rows);
        assert_eq!(found[7].get("id"), Some(&Value::text("7")), "in the order in which they came");
    }

    #[test]
    fn the_overlay_holds_only_what_differs() {
        let mut table = RollingTable::new(schema());
        let key = row("1", "x").key(&["id".into()]).expect("a key");
        table.set_actual(&key, Some(Arc::new(row("1", "x"))));
        table.set_right(&key, Some(Arc::new(row("1", "z"))));
        assert!(table.differs(&key));
        let right = table.batches(World::Right).expect("batches");
        let actual = table.batches(World::Actual).expect("batches");
        assert_ne!(right, actual);
        let wanted = BTreeSet::from([Value::text("z")]);
        assert_eq!(table.rows_where(World::Right, &"a".into(), &wanted).len(), 1);
        assert!(table.rows_where(World::Actual, &"a".into(), &wanted).is_empty());
        table.set_actual(&key, Some(Arc::new(row("1", "z"))));
        assert!(!table.differs(&key), "the actual world has caught up");
        assert_eq!(table.batches(World::Right).expect("batches"), table.batches(World::Actual).expect("batches"));
    }
}
