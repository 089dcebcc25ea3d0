//! The report: everything the renderers print, computed once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::difference::{ColumnDifference, DecimalSum};
use super::record::{ReportedRecord, TableContext};
use crate::model::{Column, ColumnName, TableName, TableSchema, TableSettingsByName, Value};
use crate::repair::{RepairOptions, RepairPlan, plan};
use crate::trace::{AffectedRecord, BlastRadius, RecordState, Role};

/// The totals of the contract's `summary`. Suspects count nowhere else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records written by the release, and wrong.
    pub root: u64,
    /// Records computed from affected ones.
    pub derived: u64,
    /// Records that may be affected.
    pub possible: u64,
    /// Records written by the release with nothing known against them.
    pub suspect: u64,
    /// Records that are wrong now: live, missing or extra.
    pub live: u64,
    /// Records overwritten since with what is right.
    pub healed: u64,
    /// Tables with affected records.
    pub tables: u64,
    /// Distinct subjects of records that are wrong now.
    pub subjects: u64,
    /// Affected records of external tables.
    pub external: u64,
}

/// One table's affected records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSummary {
    /// The table.
    pub table: TableName,
    /// Its root records.
    pub root: u64,
    /// Its derived records.
    pub derived: u64,
    /// Its possible records.
    pub possible: u64,
    /// Those wrong now: live, missing or extra.
    pub live: u64,
    /// The fewest steps from a root write to a record of this table.
    pub depth: u32,
}

/// Who is hurt: the distinct values of one subject column, over the records that are wrong now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectSummary {
    /// The subject column, such as `customer_id`; tables that name it alike share their subjects.
    pub column: ColumnName,
    /// Its distinct values, numbers in their order; empty where the column is personal.
    pub values: Vec<Value>,
    /// How many there are.
    pub count: u64,
}

/// Everything the renderers print.
pub struct Report<'a> {
    /// What the trace found.
    pub blast_radius: &'a BlastRadius,
    /// The totals.
    pub summary: Summary,
    /// The tables, the release's own first, then by depth and name.
    pub tables: Vec<TableSummary>,
    /// Affected records by how they stand now.
    pub states: BTreeMap<RecordState, u64>,
    /// Who is hurt, by subject column.
    pub subjects: Vec<SubjectSummary>,
    /// How far numeric columns are off now, those that cancel out included.
    pub differences: Vec<ColumnDifference>,
    schemas: &'a BTreeMap<TableName, Arc<TableSchema>>,
    settings: &'a TableSettingsByName,
}

impl<'a> Report<'a> {
    /// Computes the report. A table without schema has its keys printed as text.
    pub fn new(
        blast_radius: &'a BlastRadius,
        schemas: &'a BTreeMap<TableName, Arc<TableSchema>>,
        settings: &'a TableSettingsByName,
    ) -> Self {
        let mut report = Report {
            blast_radius,
            summary: Summary { suspect: blast_radius.suspects, ..Summary::default() },
            tables: Vec::new(),
            states: BTreeMap::new(),
            subjects: Vec::new(),
            differences: Vec::new(),
            schemas,
            settings,
        };
        report.count();
        report.subjects = report.hurt();
        report.summary.subjects = report.subjects.iter().map(|subject| subject.count).sum();
        report.differences = report.summed_differences();
        report
    }

    /// Every record as it is reported, suspects (listed with `--scope all`) included.
    pub fn records(&self) -> impl Iterator<Item = (&'a AffectedRecord, ReportedRecord<'a>)> {
        let (schemas, settings) = (self.schemas, self.settings);
        self.blast_radius.records.iter().map(move |record| {
            let context = |table: &TableName| TableContext {
                schema: schemas.get(table).map(Arc::as_ref),
                settings: settings.get(table),
            };
            (record, ReportedRecord::new(record, context))
        })
    }

    /// What a repair would do, were it asked for now with its defaults.
    pub fn repair_plan(&self) -> RepairPlan {
        plan(self.blast_radius, self.schemas, RepairOptions::new(self.settings))
    }

    /// Whether nothing was found: the exit status is 0.
    pub fn is_clean(&self) -> bool {
        self.summary.root + self.summary.derived + self.summary.possible == 0
    }

    /// Records whose subject may be printed: `None` where it is personal or there is none.
    pub fn printable_subject(&self, record: &'a AffectedRecord) -> Option<&'a Value> {
        let column = self.settings.get(&record.table)?.subject.as_ref()?;
        record.subject.as_ref().filter(|_| !self.context(&record.table).is_personal(column))
    }

    fn context(&self, table: &TableName) -> TableContext<'a> {
        TableContext { schema: self.schemas.get(table).map(Arc::as_ref), settings: self.settings.get(table) }
    }

    fn affected(&self) -> impl Iterator<Item = &'a AffectedRecord> + use<'a> {
        self.blast_radius.records.iter().filter(|record| record.role != Role::Suspect)
    }

    fn count(&mut self) {
        let mut tables: BTreeMap<&TableName, TableSummary> = BTreeMap::new();
        for record in self.affected() {
            let table = tables.entry(&record.table).or_insert_with(|| TableSummary {
                table: record.table.clone(),
                root: 0,
                derived: 0,
                possible: 0,
                live: 0,
                depth: record.hops,
            });
            let (own, all) = match record.role {
                Role::Root => (&mut table.root, &mut self.summary.root),
                Role::Derived => (&mut table.derived, &mut self.summary.derived),
                Role::Possible | Role::Suspect => (&mut table.possible, &mut self.summary.possible),
            };
            *own += 1;
            *all += 1;
            let live = u64::from(record.state.is_wrong_now());
            table.live += live;
            table.depth = table.depth.min(record.hops);
            self.summary.live += live;
            self.summary.healed += u64::from(record.state == RecordState::Healed);
            self.summary.external += u64::from(record.external);
            *self.states.entry(record.state).or_default() += 1;
        }
        self.tables = tables.into_values().collect();
        self.tables.sort_by(|one, other| (one.depth, &one.table).cmp(&(other.depth, &other.table)));
        self.summary.tables = u64::try_from(self.tables.len()).unwrap_or(u64::MAX);
    }

    fn hurt(&self) -> Vec<SubjectSummary> {
        let mut subjects: BTreeMap<&ColumnName, (BTreeSet<&Value>, bool)> = BTreeMap::new();
        for record in self.affected().filter(|record| record.state.is_wrong_now()) {
            let Some(column) = self.settings.get(&record.table).and_then(|settings| settings.subject.as_ref()) else {
                continue;
            };
            let Some(subject) = record.subject.as_ref().filter(|subject| !subject.is_null()) else { continue };
            let (values, personal) = subjects.entry(column).or_default();
            values.insert(subject);
            *personal |= self.context(&record.table).is_personal(column);
        }
        let summary = |(column, (values, personal)): (&ColumnName, (BTreeSet<&Value>, bool))| {
            let count = u64::try_from(values.len()).unwrap_or(u64::MAX);
            let mut values: Vec<Value> = if personal { Vec::new() } else { values.into_iter().cloned().collect() };
            values
                .sort_by_cached_key(|value| (value.as_str().and_then(|text| text.parse::<i64>().ok()), value.clone()));
            SubjectSummary { column: column.clone(), values, count }
        };
        subjects.into_iter().map(summary).collect()
    }

    fn summed_differences(&self) -> Vec<ColumnDifference> {
        let mut sums: BTreeMap<(&TableName, &ColumnName), (u64, DecimalSum)> = BTreeMap::new();
        for record in self.affected().filter(|record| record.state.is_wrong_now()) {
            let own = self.context(&record.table);
            let Some(schema) = own.schema else { continue };
            for column in schema.columns.iter().filter(|column| is_amount(schema, column)) {
                let is_subject =
                    self.settings.get(&record.table).is_some_and(|own| own.subject.as_ref() == Some(&column.name));
                if own.is_personal(&column.name) || is_subject {
                    continue;
                }
                let Some((current, expected)) = worlds(record, &column.name) else { continue };
                let (rows, sum) = sums.entry((&record.table, &column.name)).or_default();
                *rows += 1;
                current.and_then(Value::as_str).into_iter().for_each(|text| sum.add(text));
                expected.and_then(Value::as_str).into_iter().for_each(|text| sum.subtract(text));
            }
        }
        let difference = |((table, column), (rows, difference)): ((&TableName, &ColumnName), _)| ColumnDifference {
            table: table.clone(),
            column: column.clone(),
            rows,
            difference,
        };
        sums.into_iter().map(difference).collect()
    }
}

/// The column's value in the actual and in the right world (`None`: the row does not exist there), where both are known.
fn worlds<'r>(record: &'r AffectedRecord, column: &str) -> Option<(Option<&'r Value>, Option<&'r Value>)> {
    let affected = record.columns.iter().find(|affected| affected.name.as_ref() == column);
    match record.state {
        RecordState::Extra => {
            let row = record.current_row.as_ref().and_then(|row| row.get(column));
            Some((Some(row.or(affected.map(|affected| &affected.current))?), None))
        }
        RecordState::Missing => Some((None, Some(affected?.expected.as_ref()?))),
        _ => affected.and_then(|affected| Some((Some(&affected.current), Some(affected.expected.as_ref()?)))),
    }
}

/// A number that can mean an amount: no key, and no reference to one.
fn is_amount(schema: &TableSchema, column: &Column) -> bool {
    let refers = schema.foreign_keys.iter().any(|key| key.columns.contains(&column.name));
    column.column_type.is_numeric() && !schema.key.contains(&column.name) && !refers
}
