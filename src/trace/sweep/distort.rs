//! What depends on a value that is not known.
//!
//! The cells of unknown right value are distorted in the right world, in several ways, and the statement is run on each:
//! whatever it then writes otherwise depends on them. Suspected cells, of which there may be many, are distorted in two ways.
//! Where the statement moves such a cell by an amount, and looks at it for nothing else, no run is needed to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Sweep;
use super::matching::Matching;
use super::touch::Touched;
use crate::catalog::World;
use crate::model::{ColumnName, ColumnType, RecordKey, Row, TableName, TableSchema, Value};
use crate::trace::reenact::{Effect, Effects, Execution, TableWrite, Updated};
use crate::trace::worlds::{Difference, RecordName};

/// Of two records among so many, one is put before the other by one of the distortions, and behind it by another.
const MOST_APART: usize = 64;

/// Of so many constants, each is tried: an unknown value may be the one that the statement compares with.
const MOST_CONSTANTS: usize = 12;

/// The columns of each record written that depend on cells of unknown, or suspected, value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sensitivity {
    /// On cells of unknown value.
    pub unknown: BTreeMap<RecordKey, BTreeSet<ColumnName>>,
    /// On suspected cells.
    pub suspected: BTreeMap<RecordKey, BTreeSet<ColumnName>>,
    /// Rows that are not there, and may be.
    pub rows: BTreeMap<RecordKey, Row>,
}

impl Sensitivity {
    /// Whether nothing depends on anything unknown.
    pub fn is_empty(&self) -> bool {
        self.unknown.is_empty() && self.suspected.is_empty()
    }
}

/// What is put in place of a value that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Distortion {
    /// Another value that its column can hold.
    Shift,
    /// Another value, far above.
    Above,
    /// Another value, far below.
    Below,
    /// Far above for the records in whose place this bit is set, far below for the others; or the other way round.
    Apart {
        /// Which bit.
        bit: u32,
        /// Whether the other way round.
        inverse: bool,
    },
    /// NULL.
    Null,
    /// A small value, where NULL may not stand.
    Least,
    /// What the statement may compare with, where the column can hold it.
    Constant(Value),
    /// No row at all, where it is in doubt that there is one; else what stands.
    Absent,
}

impl Distortion {
    /// Whether it puts a value in place that may be the right one.
    fn may_be_real(&self) -> bool {
        matches!(self, Distortion::Null | Distortion::Constant(_) | Distortion::Absent)
    }

    /// Those that tell what depends on the unknown cells of so many records, in a statement with these constants.
    pub(super) fn all(records: usize, constants: impl Iterator<Item = Value>) -> Vec<Distortion> {
        let mut all = vec![Distortion::Above, Distortion::Below, Distortion::Null];
        let bits = usize::BITS - records.min(MOST_APART).saturating_sub(1).leading_zeros();
        all.extend((0..bits).flat_map(|bit| [false, true].map(|inverse| Distortion::Apart { bit, inverse })));
        let constants: BTreeSet<Value> = constants.filter(|value| !value.is_null()).collect();
        all.extend(constants.into_iter().take(MOST_CONSTANTS).map(Distortion::Constant));
        all
    }
}

impl Sweep {
    pub(super) async fn sensitivity(
        &mut self,
        write: &TableWrite,
        execution: Execution<'_>,
        touched: &Touched,
        (actual, right): (&Effects, &Effects),
        matching: &Matching,
    ) -> Sensitivity {
        let mut sensitivity = Sensitivity::default();
        let mut in_doubt: BTreeMap<RecordKey, BTreeSet<ColumnName>> = BTreeMap::new();
        for (key, effect) in actual.iter().chain(right) {
            in_doubt.entry(key.clone()).or_default().extend(write.in_doubt(effect));
        }
        // A distorted value may lead a recursion round in a circle for ever.
        if write.is_recursive() {
            let suspected = if touched.suspected { in_doubt } else { BTreeMap::new() };
            return Sensitivity { suspected, ..sensitivity };
        }
        if touched.unknown {
            let constants = write.constants().chain(execution.parameters).cloned();
            let mut ways = Distortion::all(touched.records.len(), constants);
            ways.extend(matching.values.iter().cloned().map(Distortion::Constant));
            (sensitivity.unknown, sensitivity.rows) =
                match self.moved_by_amounts(write, touched, right, |known| &known.unknown) {
                    Some(moved) => (moved, BTreeMap::new()),
                    None => {
                        let ways = (ways.as_slice(), matching.makes_keys);
                        self.depending(write, execution, touched, right, ways, |known| &known.unknown).await
                    }
                };
            if let (true, Some(source)) = (matching.makes_keys, touched.records.first()) {
                self.unnamed.entry(write.target.clone()).or_insert_with(|| source.clone());
            }
            // The first few of rows, of which one is not known: any of them may be another.
            if write.is_limited() {
                for (key, columns) in in_doubt {
                    sensitivity.unknown.entry(key).or_default().extend(columns);
                }
            }
        }
        if touched.suspected {
            let ways = [Distortion::Above, Distortion::Below];
            // A row that only a suspicion makes is not looked for.
            (sensitivity.suspected, _) = match self.moved_by_amounts(write, touched, right, |known| &known.suspected) {
                Some(moved) => (moved, BTreeMap::new()),
                None => {
                    self.depending(write, execution, touched, right, (&ways, false), |known| &known.suspected).await
                }
            };
        }
        sensitivity
    }

    /// What depends on those cells where that is plain without a run: the statement moves each of them by an amount, and
    /// looks at it for nothing else. `None` where it does more with one, or it is in doubt that its record is there.
    fn moved_by_amounts(
        &self,
        write: &TableWrite,
        touched: &Touched,
        right: &Effects,
        cells: impl Fn(&Difference) -> &BTreeSet<ColumnName>,
    ) -> Option<BTreeMap<RecordKey, BTreeSet<ColumnName>>> {
        let relative = write.relative();
        let is_known = |table: &TableName| self.worlds.schema(table).is_some() && !self.temporary.stands_before(table);
        if relative.is_empty() || !write.references().all(|reference| is_known(&reference.table)) {
            return None;
        }
        let mut moved: BTreeMap<RecordKey, BTreeSet<ColumnName>> = BTreeMap::new();
        for record in &touched.records {
            let Some(columns) = self.worlds.difference(record).map(&cells) else { continue };
            if self.worlds.doubts_existence(record, columns) {
                return None;
            }
            let is_read = |column: &&ColumnName| {
                let mut references = write.references().filter(|reference| reference.table == record.0);
                references.any(|reference| reference.columns.contains(column))
            };
            for column in columns.iter().filter(is_read) {
                if record.0 != write.target || !relative.contains(column) {
                    return None;
                }
                match right.get(&record.1) {
                    None => {}
                    // Moved by NULL, or by what is no number, it is the same wherever it was.
                    Some(Effect::Update(updated)) if updated.values.get(column).is_some_and(is_number) => {
                        moved.entry(record.1.clone()).or_default().insert(column.clone());
                    }
                    Some(_) => return None,
                }
            }
        }
        Some(moved)
    }

    async fn depending(
        &mut self,
        write: &TableWrite,
        execution: Execution<'_>,
        touched: &Touched,
        right: &Effects,
        (distortions, makes_keys): (&[Distortion], bool),
        cells: impl Fn(&Difference) -> &BTreeSet<ColumnName>,
    ) -> (BTreeMap<RecordKey, BTreeSet<ColumnName>>, BTreeMap<RecordKey, Row>) {
        let records: BTreeSet<&RecordName> = touched.records.iter().collect();
        let mut depending = Depending::new(write);
        let is_doubtful = |record: &&RecordName| {
            let known = self.worlds.difference(record);
            known.is_some_and(|known| self.worlds.doubts_existence(record, cells(known)))
        };
        let absent = records.iter().copied().any(|record| is_doubtful(&record)).then_some(&Distortion::Absent);
        for distortion in distortions.iter().chain(absent) {
            let restore = self.distort(records.iter().copied(), distortion, &cells);
            let run = write.run(&mut self.worlds.tables, World::Right, execution).await;
            let stood = run.as_ref().map(|(effects, _)| self.still_there(write, right, effects)).unwrap_or_default();
            self.restore(restore);
            match run {
                Ok((effects, _)) => {
                    let stands = self.still_there(write, right, &effects);
                    let names_rows = !makes_keys || distortion.may_be_real();
                    depending.compare((right, &stands), (&effects, &stood), names_rows);
                }
                // It fails on the distorted value: everything may depend on it.
                Err(_) => depending.all_of(right),
            }
        }
        (depending.columns, depending.rows)
    }

    /// Of the records that either run writes, those that are there in the right world.
    fn still_there(&self, write: &TableWrite, one: &Effects, other: &Effects) -> BTreeSet<RecordKey> {
        let keys = one.keys().chain(other.keys());
        let stands = |key: &&RecordKey| {
            let table = self.worlds.tables.table(&write.target);
            table.is_some_and(|table| table.row(World::Right, key).is_some())
        };
        keys.filter(stands).cloned().collect()
    }

    /// Distorts those cells of the right world, and hands back what stood there.
    pub(super) fn distort<'a>(
        &mut self,
        records: impl Iterator<Item = &'a RecordName>,
        distortion: &Distortion,
        cells: impl Fn(&Difference) -> &BTreeSet<ColumnName>,
    ) -> Vec<(RecordName, Option<Arc<Row>>)> {
        let mut restore: Vec<(RecordName, Option<Arc<Row>>)> = Vec::new();
        for (place, record) in records.enumerate() {
            let Some(columns) = self.worlds.difference(record).map(|difference| cells(difference).clone()) else {
                continue;
            };
            let Some(schema) = self.worlds.schema(&record.0) else { continue };
            let right = self.worlds.row(World::Right, record).cloned();
            let is_doubtful = self.worlds.doubts_existence(record, &columns);
            let distorted = match (distortion, &right) {
                (Distortion::Absent, _) if !is_doubtful => continue,
                (Distortion::Absent, _) | (_, None) => None,
                (_, Some(row)) => Some(Arc::new(distorted(row, &columns, &schema, distortion, place))),
            };
            if let (Some(_), Some(table)) = (&right, self.worlds.tables.table_mut(&record.0)) {
                table.set_right(&record.1, distorted);
                restore.push((record.clone(), right));
            }
        }
        restore
    }

    /// Puts back what [`Sweep::distort`] handed out.
    pub(super) fn restore(&mut self, restore: Vec<(RecordName, Option<Arc<Row>>)>) {
        for (record, right) in restore {
            if let Some(table) = self.worlds.tables.table_mut(&record.0) {
                table.set_right(&record.1, right);
            }
        }
    }
}

/// What of a statement's writes has been found to depend on the distorted cells.
struct Depending<'write> {
    write: &'write TableWrite,
    columns: BTreeMap<RecordKey, BTreeSet<ColumnName>>,
    rows: BTreeMap<RecordKey, Row>,
}

impl<'write> Depending<'write> {
    fn new(write: &'write TableWrite) -> Self {
        Depending { write, columns: BTreeMap::new(), rows: BTreeMap::new() }
    }

    /// Every cell that the statement writes.
    fn all_of(&mut self, effects: &Effects) {
        for (key, effect) in effects {
            self.columns.entry(key.clone()).or_default().extend(self.write.in_doubt(effect));
        }
    }

    /// What comes out otherwise: each with the records that stood before. `names_rows`: a row that comes out under another
    /// key may really have that.
    fn compare(
        &mut self,
        (right, stands): (&Effects, &BTreeSet<RecordKey>),
        (distorted, stood): (&Effects, &BTreeSet<RecordKey>),
        names_rows: bool,
    ) {
        for key in right.keys().chain(distorted.keys()) {
            let (one, other) = (right.get(key), distorted.get(key));
            let is_there = |effect: Option<&Effect>, before: &BTreeSet<RecordKey>| match effect {
                Some(Effect::Insert(_)) => true,
                Some(Effect::Delete) => false,
                Some(Effect::Update(_)) | None => before.contains(key),
            };
            let columns = match (is_there(one, stands), is_there(other, stood)) {
                (false, false) => continue,
                (true, true) => self.otherwise(one, other),
                // A key is never NULL.
                (false, true) if !names_rows || key.iter().any(|(_, value)| value.is_null()) => continue,
                (is_there, _) => {
                    if let (false, Some(Effect::Insert(row))) = (is_there, other) {
                        self.rows.insert(key.clone(), row.clone());
                    }
                    self.write.whole_row()
                }
            };
            if !columns.is_empty() {
                self.columns.entry(key.clone()).or_default().extend(columns);
            }
        }
    }

    /// The columns of a record, there in both runs, that come out otherwise.
    fn otherwise(&self, one: Option<&Effect>, other: Option<&Effect>) -> BTreeSet<ColumnName> {
        let schema = self.write.schema();
        match (one, other) {
            (
                Some(Effect::Insert(one) | Effect::Update(Updated { values: one, .. })),
                Some(Effect::Insert(other) | Effect::Update(Updated { values: other, .. })),
            ) => {
                let same = |column: &ColumnName, value: &Value| {
                    let column_type = schema.column(column).map(|column| &column.column_type);
                    other.get(column).is_some_and(|other| column_type.is_none_or(|known| known.is_same(value, other)))
                };
                let differing = one.iter().filter(|(column, value)| !same(column, value));
                differing.map(|(column, _)| column.clone()).collect()
            }
            // Whether it is written at all depends on it.
            (Some(Effect::Update(updated)), _) | (_, Some(Effect::Update(updated))) => {
                updated.columns().cloned().collect()
            }
            (Some(Effect::Insert(row)), _) | (_, Some(Effect::Insert(row))) => {
                row.iter().map(|(column, _)| column.clone()).filter(|column| !schema.key.contains(column)).collect()
            }
            (Some(Effect::Delete) | None, Some(Effect::Delete) | None) => BTreeSet::new(),
        }
    }
}

fn is_number(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.bytes().any(|byte| byte.is_ascii_digit()))
}

fn distorted(
    row: &Row,
    columns: &BTreeSet<ColumnName>,
    schema: &TableSchema,
    distortion: &Distortion,
    place: usize,
) -> Row {
    let mut distorted = row.clone();
    for column in columns {
        let Some(known) = schema.column(column) else { continue };
        if schema.key.contains(column) {
            continue;
        }
        let held = || row.get(column).cloned().unwrap_or(Value::NULL);
        let is_above = match distortion {
            Distortion::Null | Distortion::Absent => {
                distorted.set(column.clone(), Value::NULL);
                continue;
            }
            Distortion::Least => {
                distorted.set(column.clone(), least(&known.column_type));
                continue;
            }
            Distortion::Shift => {
                distorted.set(column.clone(), shifted(&held(), &known.column_type));
                continue;
            }
            Distortion::Constant(constant) => {
                distorted.set(column.clone(), known.column_type.canonical(constant).unwrap_or_else(|_| held()));
                continue;
            }
            Distortion::Above => true,
            Distortion::Below => false,
            Distortion::Apart { bit, inverse } => (place >> bit & 1 == 1) != *inverse,
        };
        distorted.set(column.clone(), far_away(&held(), &known.column_type, is_above));
    }
    distorted
}

fn least(column_type: &ColumnType) -> Value {
    Value::text(match column_type {
        ColumnType::Boolean => "f",
        ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Other(_) => "",
        ColumnType::Date => "1000-01-01",
        ColumnType::Timestamp => "1000-01-01 00:00:00",
        ColumnType::TimestampTz => "1000-01-01 00:00:00+00",
        _ => "0",
    })
}

fn shifted(value: &Value, column_type: &ColumnType) -> Value {
    let text = value.as_str().unwrap_or_default();
    let is_number = text.bytes().any(|byte| byte.is_ascii_digit());
    match column_type {
        ColumnType::Boolean
        | ColumnType::Text
        | ColumnType::Varchar(_)
        | ColumnType::Other(_)
        | ColumnType::Date
        | ColumnType::Timestamp
        | ColumnType::TimestampTz => far_away(value, column_type, true),
        _ if !is_number => value.clone(),
        // Another digit in front: of the type's own scale.
        _ => {
            let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
            let first = if digits.starts_with('1') { "2" } else { "1" };
            let rest = digits.get(1..).unwrap_or_default();
            Value::text(format!("{sign}{first}{rest}"))
        }
    }
}

/// A value far above, or below, whatever it is compared with, of the type's own scale.
fn far_away(value: &Value, column_type: &ColumnType, is_above: bool) -> Value {
    let text = value.as_str().unwrap_or_default();
    match column_type {
        ColumnType::Boolean => Value::text(if (text == "t") == is_above { "f" } else { "t" }),
        ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Other(_) if is_above => Value::text(format!("{text}~")),
        ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Other(_) => Value::text(""),
        ColumnType::Date => Value::text(if is_above { "2999-12-31" } else { "1000-01-01" }),
        ColumnType::Timestamp => Value::text(if is_above { "2999-12-31 23:59:59" } else { "1000-01-01 00:00:00" }),
        ColumnType::TimestampTz => {
            Value::text(if is_above { "2999-12-31 23:59:59+00" } else { "1000-01-01 00:00:00+00" })
        }
        // Digits in front.
        _ => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let digits = if digits.is_empty() { "0" } else { digits };
            Value::text(format!("{}{digits}", if is_above { "9000" } else { "-9000" }))
        }
    }
}
