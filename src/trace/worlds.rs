//! Both worlds as of one commit, and what is known of every record on which they differ, or may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ahash::HashMap;

use super::blast_radius::{Cause, Role, WrittenBy};
use super::changes::{Changes, Earlier};
use crate::catalog::{RollingTable, RollingTables, World};
use crate::model::{ColumnName, Operation, RecordKey, Row, TableName, TableSchema, Value, Write};

/// A record's full name.
pub type RecordName = (TableName, RecordKey);

/// One column when it was last wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongCell {
    /// What it was.
    pub actual: Value,
    /// What it should have been; `None` where that is not known.
    pub right: Option<Value>,
}

/// What is known of a record on which the worlds differ, differed, or may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// How it came to be affected.
    pub role: Role,
    /// Steps from a root.
    pub hops: u32,
    /// The rules it broke.
    pub rules: BTreeSet<Arc<str>>,
    /// The write that made it wrong.
    pub written: WrittenBy,
    /// The step before.
    pub cause: Option<Cause>,
    /// Why a value is not known, or may be wrong.
    pub why: Option<Arc<str>>,
    /// Columns whose right value is not known; the overlay holds their actual value.
    pub unknown: BTreeSet<ColumnName>,
    /// Of those: what they would hold if the application copied or added up what it read.
    pub likely: BTreeMap<ColumnName, Value>,
    /// Columns that the application may have computed from something wrong, with no evidence that it did: listed as
    /// possible, taken as right for what is computed from them.
    pub suspected: BTreeSet<ColumnName>,
    /// The columns as they were when last wrong.
    pub last_wrong: BTreeMap<ColumnName, WrongCell>,
    /// Whether the record existed in only one world when it was last wrong.
    pub existence: bool,
    /// What was known of a record that had come right again before this doubt: it stands where the doubt does not.
    pub earlier: Option<Box<Difference>>,
}

impl Difference {
    /// A record of which nothing more is known yet.
    pub fn new(role: Role, hops: u32, written: WrittenBy, cause: Option<Cause>) -> Self {
        Difference {
            role,
            hops,
            rules: BTreeSet::new(),
            written,
            cause,
            why: None,
            unknown: BTreeSet::new(),
            likely: BTreeMap::new(),
            suspected: BTreeSet::new(),
            last_wrong: BTreeMap::new(),
            existence: false,
            earlier: None,
        }
    }
}

/// The rolling tables with their differences.
#[derive(Default)]
pub struct Worlds {
    /// The tables, both worlds.
    pub tables: RollingTables,
    differences: HashMap<RecordName, Difference>,
    /// Records with columns of unknown right value.
    unknown: BTreeMap<TableName, BTreeSet<RecordKey>>,
    suspected: BTreeMap<TableName, BTreeSet<RecordKey>>,
    /// What each record was before each of the changes that stand open, the innermost last.
    journals: Vec<Changes>,
    /// Tables with columns that are computed from their rows …
    watched_tables: BTreeSet<TableName>,
    /// … and their records of which a value, or whether it is known, has been set.
    watched: BTreeSet<RecordName>,
}

impl Worlds {
    /// Both worlds the same.
    pub fn new(tables: RollingTables) -> Self {
        Worlds { tables, ..Worlds::default() }
    }

    /// Whether the worlds differ, or may, on any record of the table.
    pub fn is_affected(&self, table: &TableName) -> bool {
        self.tables.table(table).is_some_and(RollingTable::has_overlay)
            || self.unknown.get(table).is_some_and(|keys| !keys.is_empty())
            || self.suspected.get(table).is_some_and(|keys| !keys.is_empty())
    }

    /// Whether the worlds differ, or may, on anything.
    pub fn any_affected(&self) -> bool {
        self.tables.iter().any(|(table, _)| self.is_affected(table))
    }

    /// What is known of a record.
    pub fn difference(&self, record: &RecordName) -> Option<&Difference> {
        self.differences.get(record)
    }

    /// Every record that is or was affected.
    pub fn differences(&self) -> impl Iterator<Item = (&RecordName, &Difference)> {
        self.differences.iter()
    }

    /// What is known of a record, to change; journalled.
    pub fn difference_or(&mut self, record: &RecordName, new: impl FnOnce() -> Difference) -> &mut Difference {
        self.remember(record);
        self.differences.entry(record.clone()).or_insert_with(new)
    }

    /// The record in one world.
    pub fn row(&self, world: World, record: &RecordName) -> Option<&Arc<Row>> {
        self.tables.table(&record.0)?.row(world, &record.1)
    }

    /// From now on, the records of these tables that are set, or come to be known or unknown, are remembered.
    pub fn watch(&mut self, tables: impl Iterator<Item = TableName>) {
        self.watched_tables.extend(tables);
    }

    /// The records of watched tables that were set since this was last asked.
    pub fn take_watched(&mut self) -> BTreeSet<RecordName> {
        std::mem::take(&mut self.watched)
    }

    /// Puts the record as it is now in both worlds.
    pub fn set(&mut self, record: &RecordName, actual: Option<Arc<Row>>, right: Option<Arc<Row>>) {
        self.remember(record);
        if self.watched_tables.contains(&record.0) {
            self.watched.insert(record.clone());
        }
        if let Some(table) = self.tables.table_mut(&record.0) {
            table.set_both(&record.1, actual, right);
        }
    }

    /// Does a write in the actual world alone, to be rolled back: the right world has not followed.
    pub fn apply_actual(&mut self, write: &Write) {
        let key = self.schema(&write.table).and_then(|schema| write.before.as_ref()?.key(&schema.key));
        let mut keys = vec![write.key.clone()];
        keys.extend(key);
        if write.operation == Operation::Truncate {
            keys = self.tables.table(&write.table).map(|table| table.keys(World::Actual)).unwrap_or_default();
        }
        for key in keys {
            self.remember(&(write.table.clone(), key));
        }
        self.tables.apply(write);
    }

    /// The columns on which the worlds differ now: `None` where the record exists in only one of them.
    pub fn differing_columns(&self, record: &RecordName) -> Option<Vec<ColumnName>> {
        differing(self.row(World::Actual, record).map(AsRef::as_ref), self.row(World::Right, record).map(AsRef::as_ref))
    }

    /// Whether the worlds differ on the record now, its values known or not.
    pub fn is_wrong(&self, record: &RecordName) -> bool {
        self.tables.table(&record.0).is_some_and(|table| table.differs(&record.1))
            || self.differences.get(record).is_some_and(|difference| !difference.unknown.is_empty())
    }

    /// Whether the worlds differ on the record now in a column that is read, or did when the innermost changes began; its
    /// values known or not.
    pub fn is_or_was_wrong_in(&self, record: &RecordName, reads: impl Fn(&str) -> bool) -> bool {
        let changes = self.journals.last();
        let earlier = changes.and_then(|changes| changes.of_record(&record.0, &record.1));
        let row = |world| self.row(world, record).map(AsRef::as_ref);
        differs_in(row(World::Actual), row(World::Right), self.differences.get(record), &reads)
            || earlier.is_some_and(|(_, earlier)| earlier.was_wrong_in(reads))
    }

    /// Whether they differed, in a column that is read, on any record of the table that has been set since the innermost
    /// changes began.
    pub fn was_affected_in(&self, table: &TableName, reads: impl Fn(&str) -> bool) -> bool {
        let changes = self.journals.last().into_iter().flat_map(|changes| changes.of_table(table));
        changes.into_iter().any(|(_, earlier)| earlier.was_wrong_in(&reads))
    }

    /// Whether it is in doubt that the record exists: a column of its key is among these.
    pub fn doubts_existence(&self, record: &RecordName, columns: &BTreeSet<ColumnName>) -> bool {
        let table = self.tables.table(&record.0).filter(|_| !columns.is_empty());
        table.is_some_and(|table| table.schema().key.iter().any(|column| columns.contains(column)))
    }

    /// Whether the record is wrong, or suspected, in one of the columns that a reference reads.
    pub fn touches(&self, record: &RecordName, reads: impl Fn(&str) -> bool) -> bool {
        let in_difference = self.differences.get(record).is_some_and(|difference| {
            difference.unknown.iter().chain(&difference.suspected).any(|column| reads(column))
                || self.doubts_existence(record, &difference.unknown)
                || self.doubts_existence(record, &difference.suspected)
        });
        in_difference
            || self.tables.table(&record.0).is_some_and(|table| table.differs(&record.1))
                && self.differing_columns(record).is_none_or(|columns| columns.iter().any(|column| reads(column)))
    }

    /// The affected records of a table: those on which the worlds differ, and those that may.
    pub fn affected(&self, table: &TableName) -> BTreeSet<RecordKey> {
        let Some(rolling) = self.tables.table(table) else { return BTreeSet::new() };
        let key = &rolling.schema().key;
        let mut keys: BTreeSet<RecordKey> =
            rolling.overlay().filter_map(|(actual, right)| actual.or(right)?.key(key)).collect();
        keys.extend(self.unknown.get(table).into_iter().flatten().cloned());
        keys.extend(self.suspected.get(table).into_iter().flatten().cloned());
        keys
    }

    /// The records of a table that have a column of unknown right value.
    pub fn unknown_records(&self, table: &TableName) -> impl Iterator<Item = RecordName> {
        self.unknown.get(table).into_iter().flatten().map(|key| (table.clone(), key.clone()))
    }

    /// Says which columns of a record have no known right value from now on.
    pub fn set_unknown(&mut self, record: &RecordName, columns: BTreeSet<ColumnName>) {
        self.remember(record);
        if self.watched_tables.contains(&record.0) {
            self.watched.insert(record.clone());
        }
        if let Some(difference) = self.differences.get_mut(record) {
            difference.likely.retain(|column, _| columns.contains(column));
            difference.unknown = columns;
        }
        self.index(record);
    }

    /// Says what columns of unknown right value would likely hold, in place of what was thought of them before.
    pub fn set_likely(
        &mut self,
        record: &RecordName,
        columns: &BTreeSet<ColumnName>,
        likely: Vec<(ColumnName, Value)>,
    ) {
        self.remember(record);
        if let Some(difference) = self.differences.get_mut(record) {
            difference.likely.retain(|column, _| !columns.contains(column));
            difference.likely.extend(likely.into_iter().filter(|(column, _)| difference.unknown.contains(column)));
        }
    }

    /// Says which columns of a record are suspected from now on.
    pub fn set_suspected(&mut self, record: &RecordName, columns: BTreeSet<ColumnName>) {
        self.remember(record);
        if let Some(difference) = self.differences.get_mut(record) {
            difference.suspected = columns;
        }
        self.index(record);
    }

    /// The record has another key now: what is known of it goes with it.
    pub fn rename(&mut self, old: &RecordName, new: &RecordName) {
        self.remember(old);
        self.remember(new);
        if let Some(difference) = self.differences.remove(old) {
            self.differences.insert(new.clone(), difference);
        }
        self.index(old);
        self.index(new);
    }

    /// A record that was wrong and has come right may be wrong again: what was known of it is kept beside the doubt.
    pub fn doubt_again(&mut self, record: &RecordName, doubt: Difference) {
        self.remember(record);
        if let Some(difference) = self.differences.get_mut(record) {
            let suspected = std::mem::take(&mut difference.suspected);
            let mut earlier = std::mem::replace(difference, Difference { suspected, ..doubt });
            difference.earlier = Some(earlier.earlier.take().unwrap_or_else(|| Box::new(earlier)));
        }
        self.index(record);
    }

    /// The record is proved wrong: what was possible is derived; one that the release itself had written wrong and that
    /// was corrected to another wrong value stays the root it was.
    pub fn prove(&mut self, record: &RecordName) {
        self.remember(record);
        let Some(difference) = self.differences.get_mut(record) else { return };
        difference.role = Role::Derived;
        difference.why = None;
        if let Some(earlier) = difference.earlier.take_if(|earlier| earlier.role == Role::Root) {
            difference.role = Role::Root;
            difference.hops = earlier.hops;
            difference.cause = earlier.cause;
            difference.rules = earlier.rules;
            difference.written = earlier.written;
        }
    }

    /// A record that was only possibly wrong and has turned out right was never wrong, but for what was known before.
    pub fn forget_if_never_wrong(&mut self, record: &RecordName) {
        let is_right = !self.is_wrong(record);
        self.remember(record);
        let only_possible =
            |difference: &Difference| difference.role == Role::Possible && difference.suspected.is_empty();
        if is_right && self.differences.get(record).is_some_and(only_possible) {
            let earlier = self.differences.remove(record).and_then(|difference| difference.earlier);
            self.differences.extend(earlier.map(|earlier| (record.clone(), *earlier)));
        }
        self.index(record);
    }

    fn index(&mut self, record: &RecordName) {
        let (unknown, suspected) = match self.differences.get(record) {
            Some(difference) => (!difference.unknown.is_empty(), !difference.suspected.is_empty()),
            None => (false, false),
        };
        for (index, belongs) in [(&mut self.unknown, unknown), (&mut self.suspected, suspected)] {
            let keys = index.entry(record.0.clone()).or_default();
            if belongs {
                keys.insert(record.1.clone());
            } else {
                keys.remove(&record.1);
            }
        }
    }

    /// Notes the cells that are wrong now, so that a record healed later can still be shown as it was.
    pub fn note_wrong(&mut self, record: &RecordName) {
        let columns = self.differing_columns(record);
        let actual = self.row(World::Actual, record).cloned();
        let right = self.row(World::Right, record).cloned();
        let schema = self.tables.table(&record.0).map(|table| table.schema().clone());
        let Some(difference) = self.differences.get_mut(record) else { return };
        let wrong: Vec<ColumnName> = match (&columns, &schema) {
            (Some(columns), _) => columns.iter().chain(&difference.unknown).cloned().collect(),
            (None, Some(schema)) => schema.columns.iter().map(|column| column.name.clone()).collect(),
            (None, None) => Vec::new(),
        };
        if wrong.is_empty() {
            return;
        }
        difference.existence = columns.is_none();
        difference.last_wrong = wrong
            .into_iter()
            .map(|column| {
                let value = |row: &Option<Arc<Row>>| row.as_ref().and_then(|row| row.get(&column).cloned());
                let known = !difference.unknown.contains(&column);
                let cell =
                    WrongCell { actual: value(&actual).unwrap_or(Value::NULL), right: value(&right).filter(|_| known) };
                (column, cell)
            })
            .collect();
    }

    /// From now on, every change can be taken back by [`Worlds::roll_back`]. Within changes that stand open, others may.
    pub fn begin(&mut self) {
        self.journals.push(Changes::default());
    }

    /// The changes since the last [`Worlds::begin`] stand: they are part of those that stand open around them.
    pub fn keep(&mut self) {
        let changes = self.journals.pop();
        if let Some(around) = self.journals.last_mut() {
            changes.into_iter().flatten().for_each(|(record, earlier)| around.insert(record, earlier));
        }
    }

    /// As [`Worlds::keep`], and hands them out.
    pub fn keep_and_tell(&mut self) -> Changes {
        let changes = self.journals.pop().unwrap_or_default();
        if let Some(around) = self.journals.last_mut() {
            changes.iter().for_each(|(record, earlier)| around.insert(record, earlier.clone()));
        }
        changes
    }

    /// The changes since the last [`Worlds::begin`] stand; hands them out.
    pub fn end(&mut self) -> Changes {
        self.journals.pop().unwrap_or_default()
    }

    /// Takes back every change since the last [`Worlds::begin`].
    pub fn roll_back(&mut self) {
        for (record, earlier) in self.journals.pop().into_iter().flatten() {
            self.put(&record, earlier);
        }
    }

    /// Puts a record back as it was; journalled.
    pub fn put_back(&mut self, record: &RecordName, earlier: &Earlier) {
        self.remember(record);
        self.put(record, earlier.clone());
    }

    fn put(&mut self, record: &RecordName, earlier: Earlier) {
        if let Some(table) = self.tables.table_mut(&record.0) {
            table.set_both(&record.1, earlier.actual, earlier.right);
        }
        match earlier.difference {
            Some(difference) => self.differences.insert(record.clone(), difference),
            None => self.differences.remove(record),
        };
        self.index(record);
    }

    fn remember(&mut self, record: &RecordName) {
        if self.journals.last().is_none_or(|journal| journal.contains(record)) {
            return;
        }
        let earlier = Earlier {
            actual: self.row(World::Actual, record).cloned(),
            right: self.row(World::Right, record).cloned(),
            difference: self.differences.get(record).cloned(),
        };
        if let Some(journal) = self.journals.last_mut() {
            journal.insert(record.clone(), earlier);
        }
    }

    /// The shape of a table.
    pub fn schema(&self, table: &TableName) -> Option<Arc<TableSchema>> {
        self.tables.table(table).map(|table| table.schema().clone())
    }
}

/// Whether a record is wrong in a column that is read: in its value, its existence, or in that its value is not known.
pub fn differs_in(
    actual: Option<&Row>,
    right: Option<&Row>,
    difference: Option<&Difference>,
    reads: impl Fn(&str) -> bool,
) -> bool {
    let in_doubt = difference.is_some_and(|difference| difference.unknown.iter().any(|column| reads(column)));
    in_doubt || differing(actual, right).is_none_or(|columns| columns.iter().any(|column| reads(column)))
}

/// The columns on which two rows differ; `None` where only one of them exists.
pub fn differing(actual: Option<&Row>, right: Option<&Row>) -> Option<Vec<ColumnName>> {
    match (actual, right) {
        (None, None) => Some(Vec::new()),
        (Some(actual), Some(right)) => Some(
            actual
                .iter()
                .enumerate()
                .filter(|(position, (column, value))| right.get_at(*position, column) != Some(value))
                .map(|(_, (column, _))| column.clone())
                .collect(),
        ),
        _ => None,
    }
}
