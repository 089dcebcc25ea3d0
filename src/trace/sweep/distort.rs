//! What depends on a value that is not known.
//!
//! The cells of unknown right value are distorted in the right world, in two ways, and the statement is run on each:
//! whatever it then writes otherwise depends on them. Suspected cells, of which there may be many, are distorted in one way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Sweep;
use super::touch::Touched;
use crate::catalog::World;
use crate::model::{ColumnName, ColumnType, RecordKey, Row, TableSchema, Value};
use crate::trace::reenact::{Effect, Effects, Execution, TableWrite, Updated};
use crate::trace::worlds::RecordName;

/// The columns of each record written that depend on cells of unknown, or suspected, value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sensitivity {
    /// On cells of unknown value.
    pub unknown: BTreeMap<RecordKey, BTreeSet<ColumnName>>,
    /// On suspected cells.
    pub suspected: BTreeMap<RecordKey, BTreeSet<ColumnName>>,
}

impl Sensitivity {
    /// Whether nothing depends on anything unknown.
    pub fn is_empty(&self) -> bool {
        self.unknown.is_empty() && self.suspected.is_empty()
    }
}

/// What is put in place of a value that is not known.
#[derive(Clone, Copy)]
pub(super) enum Distortion {
    /// Another value, far away.
    Shift,
    /// NULL.
    Null,
    /// A small value, where NULL may not stand.
    Least,
    /// No row at all, where it is in doubt that there is one; else what stands.
    Absent,
}

impl Sweep {
    pub(super) async fn sensitivity(
        &mut self,
        write: &TableWrite,
        execution: Execution<'_>,
        touched: &Touched,
        right: &Effects,
    ) -> Sensitivity {
        let mut sensitivity = Sensitivity::default();
        if touched.unknown {
            sensitivity.unknown = self
                .depending(write, execution, touched, right, &[Distortion::Shift, Distortion::Null], |known| {
                    &known.unknown
                })
                .await;
        }
        if touched.suspected {
            sensitivity.suspected =
                self.depending(write, execution, touched, right, &[Distortion::Shift], |known| &known.suspected).await;
        }
        sensitivity
    }

    async fn depending(
        &mut self,
        write: &TableWrite,
        execution: Execution<'_>,
        touched: &Touched,
        right: &Effects,
        distortions: &[Distortion],
        cells: impl Fn(&crate::trace::worlds::Difference) -> &BTreeSet<ColumnName>,
    ) -> BTreeMap<RecordKey, BTreeSet<ColumnName>> {
        let records: BTreeSet<&RecordName> = touched.records.iter().collect();
        let mut depending: BTreeMap<RecordKey, BTreeSet<ColumnName>> = BTreeMap::new();
        let is_doubtful = |record: &&RecordName| {
            let known = self.worlds.difference(record);
            known.is_some_and(|known| self.worlds.doubts_existence(record, cells(known)))
        };
        let absent = records.iter().copied().any(|record| is_doubtful(&record)).then_some(&Distortion::Absent);
        for distortion in distortions.iter().chain(absent) {
            let restore = self.distort(records.iter().copied(), *distortion, &cells);
            let run = write.run(&mut self.worlds.tables, World::Right, execution).await;
            self.restore(restore);
            match run {
                Ok((effects, _)) => note_differences(right, &effects, write, &mut depending),
                // It fails on the distorted value: everything may depend on it.
                Err(_) => {
                    for key in right.keys() {
                        depending.entry(key.clone()).or_default().extend(write.assigned());
                    }
                }
            }
        }
        depending
    }

    /// Distorts those cells of the right world, and hands back what stood there.
    pub(super) fn distort<'a>(
        &mut self,
        records: impl Iterator<Item = &'a RecordName>,
        distortion: Distortion,
        cells: impl Fn(&crate::trace::worlds::Difference) -> &BTreeSet<ColumnName>,
    ) -> Vec<(RecordName, Option<Arc<Row>>)> {
        let mut restore: Vec<(RecordName, Option<Arc<Row>>)> = Vec::new();
        for record in records {
            let Some(columns) = self.worlds.difference(record).map(|difference| cells(difference).clone()) else {
                continue;
            };
            let Some(schema) = self.worlds.schema(&record.0) else { continue };
            let right = self.worlds.row(World::Right, record).cloned();
            let is_doubtful = self.worlds.doubts_existence(record, &columns);
            let distorted = match (distortion, &right) {
                (Distortion::Absent, _) if !is_doubtful => continue,
                (Distortion::Absent, _) | (_, None) => None,
                (_, Some(row)) => Some(Arc::new(distorted(row, &columns, &schema, distortion))),
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

fn note_differences(
    right: &Effects,
    distorted: &Effects,
    write: &TableWrite,
    depending: &mut BTreeMap<RecordKey, BTreeSet<ColumnName>>,
) {
    for key in right.keys().chain(distorted.keys()) {
        let columns: BTreeSet<ColumnName> = match (right.get(key), distorted.get(key)) {
            (
                Some(Effect::Insert(one) | Effect::Update(Updated { values: one, .. })),
                Some(Effect::Insert(other) | Effect::Update(Updated { values: other, .. })),
            ) => {
                let same = |column: &ColumnName, value: &Value| {
                    let column_type = write.schema().column(column).map(|column| &column.column_type);
                    other.get(column).is_some_and(|other| column_type.is_none_or(|known| known.is_same(value, other)))
                };
                let differing = one.iter().filter(|(column, value)| !same(column, value));
                differing.map(|(column, _)| column.clone()).collect()
            }
            (Some(Effect::Delete), Some(Effect::Delete)) => BTreeSet::new(),
            // Whether the row is written at all depends on it.
            _ => write.assigned(),
        };
        if !columns.is_empty() {
            depending.entry(key.clone()).or_default().extend(columns);
        }
    }
}

fn distorted(row: &Row, columns: &BTreeSet<ColumnName>, schema: &TableSchema, distortion: Distortion) -> Row {
    let mut distorted = row.clone();
    for column in columns {
        let Some(known) = schema.column(column) else { continue };
        if schema.key.contains(column) {
            continue;
        }
        let value = match distortion {
            Distortion::Null | Distortion::Absent => Value::NULL,
            Distortion::Least => least(&known.column_type),
            Distortion::Shift => row.get(column).map_or(Value::NULL, |value| shifted(value, &known.column_type)),
        };
        distorted.set(column.clone(), value);
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
    match column_type {
        ColumnType::Boolean => Value::text(if text == "t" { "f" } else { "t" }),
        ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Other(_) => Value::text(format!("{text}~")),
        ColumnType::Date => Value::text("2999-12-31"),
        ColumnType::Timestamp => Value::text("2999-12-31 23:59:59"),
        ColumnType::TimestampTz => Value::text("2999-12-31 23:59:59+00"),
        // Another digit in front: far away, and of the type's own scale.
        _ => {
            let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
            let first = if digits.starts_with('1') { "2" } else { "1" };
            let rest = digits.get(1..).unwrap_or_default();
            Value::text(format!("{sign}{first}{rest}"))
        }
    }
}
