//! What the database alone could give, learned from what was recorded: a run gives values that no table holds; where they
//! turn up, what was written there is what was given.

use std::collections::{BTreeMap, BTreeSet};

use super::replay::Recorded;
use super::run::{Given, Ran};
use crate::model::{ColumnName, ColumnType, Row, TableName, TableSchema, Timestamp, Value, micros_from_text};
use crate::sql::Schemas;
use crate::trace::worlds::RecordName;

/// How far from the largest value of a sequence those lie that no table holds: as `nextval` there says.
const FROM_THE_LARGEST: i64 = 100_000;
/// How far apart the times lie that `clock_timestamp()` gives there, in microseconds.
const BETWEEN_CLOCKS: i64 = 7 * 24 * 3_600 * 1_000_000 + 1;

/// Where a run and the recording differ.
#[derive(Clone, Debug, Default)]
pub(super) struct Differences {
    /// Cells of records that both have.
    pub(super) cells: Vec<(RecordName, ColumnName)>,
    /// Values that stand where others were recorded.
    values: Vec<(ColumnType, Value, Value)>,
    /// Rows that the run alone wrote …
    extra: Vec<RecordName>,
    /// … and rows that were recorded alone.
    missing: Vec<RecordName>,
}

impl Differences {
    /// Of a run and the recording of the same statement.
    pub(super) fn between(ran: &Ran, recorded: &Recorded, schemas: &Schemas) -> Self {
        let mut differences = Differences::default();
        let records: BTreeSet<&RecordName> = ran.rows.keys().chain(recorded.rows.keys()).collect();
        for record in records {
            let found = ran.rows.get(record).cloned().unwrap_or_else(|| recorded.before(record));
            let written = recorded.after(record);
            match (found, written) {
                (None, None) => {}
                (Some(_), None) => differences.extra.push(record.clone()),
                (None, Some(_)) => differences.missing.push(record.clone()),
                (Some(found), Some(written)) => {
                    for (column, column_type, one, other) in differing(&found, &written, recorded, record, schemas) {
                        differences.cells.push((record.clone(), column));
                        differences.values.push((column_type, one, other));
                    }
                }
            }
        }
        differences
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.is_of_cells_alone()
    }

    /// Whether both wrote the same records.
    pub(super) fn is_of_cells_alone(&self) -> bool {
        self.extra.is_empty() && self.missing.is_empty()
    }

    /// For a message: a record on which they differ.
    pub(super) fn example(&self) -> String {
        let cell = self.cells.first().map(|((table, key), column)| format!("{column} of {table} {key}"));
        let row =
            |records: &[RecordName], what: &str| records.first().map(|(table, key)| format!("{table} {key} {what}"));
        let row = row(&self.extra, "was written there alone").or_else(|| row(&self.missing, "was not written there"));
        cell.or(row).unwrap_or_default()
    }
}

fn differing(
    found: &Row,
    written: &Row,
    recorded: &Recorded,
    record: &RecordName,
    schemas: &Schemas,
) -> Vec<(ColumnName, ColumnType, Value, Value)> {
    let Some(schema) = schemas.get(&record.0) else { return Vec::new() };
    let mut differing = Vec::new();
    for column in schema.columns.iter().filter(|column| recorded.tells(record, &column.name)) {
        let (Some(one), Some(other)) = (found.get(&column.name), written.get(&column.name)) else { continue };
        if !column.column_type.is_same(one, other) {
            differing.push((column.name.clone(), column.column_type.clone(), one.clone(), other.clone()));
        }
    }
    differing
}

/// What a run was given and what was given really: what is to be given to the next one.
pub(super) struct Lesson<'a> {
    pub(super) now: Timestamp,
    pub(super) statement: Timestamp,
    pub(super) calls: &'a BTreeMap<String, i32>,
    pub(super) sequences: &'a BTreeMap<String, i64>,
}

/// What the database gave, as far as the differences tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Learned {
    pub(super) given: Given,
    pub(super) now: Option<Timestamp>,
}

impl Learned {
    /// Whether they tell nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.given.is_empty() && self.now.is_none()
    }
}

impl Lesson<'_> {
    /// Learns from the differences of a run.
    pub(super) fn learned(
        &self,
        differences: &Differences,
        ran: &Ran,
        recorded: &Recorded,
        schemas: &Schemas,
    ) -> Learned {
        let mut learned = Learned::default();
        for (column_type, found, written) in &differences.values {
            self.learn(column_type, found, written, &mut learned);
        }
        for (found, written, schema) in self.pairs(differences, ran, recorded, schemas) {
            for column in &schema.columns {
                let (Some(one), Some(other)) = (found.get(&column.name), written.get(&column.name)) else { continue };
                if !column.column_type.is_same(one, other) {
                    self.learn(&column.column_type, one, other, &mut learned);
                }
            }
        }
        learned
    }

    fn learn(&self, column_type: &ColumnType, found: &Value, written: &Value, learned: &mut Learned) {
        let (Some(found), Some(written)) = (found.as_str(), written.as_str()) else { return };
        if let Some(call) = self.call_of(found) {
            learned.given.entry(call).or_insert_with(|| written.to_owned());
            return;
        }
        let is_time = matches!(column_type, ColumnType::TimestampTz | ColumnType::Timestamp);
        if let (true, Some(found), Some(written)) = (is_time, micros_from_text(found), micros_from_text(written)) {
            let late = written.saturating_sub(found);
            learned.now.get_or_insert(Timestamp::from_micros(self.now.as_micros().saturating_add(late)));
        }
    }

    /// The call that gave a value that no table holds.
    fn call_of(&self, found: &str) -> Option<(String, i32)> {
        if let Some(digits) = found.strip_prefix("b1a57000-").and_then(|rest| rest.rsplit('-').next()) {
            return Some(("uuid".to_owned(), i32::from_str_radix(digits, 16).ok()?));
        }
        if let Ok(number) = found.parse::<i64>() {
            let of_sequence = |(kind, count): (&String, &i32)| {
                let largest = self.sequences.get(kind.strip_prefix("sequence ")?)?;
                let call = i32::try_from(number.checked_sub(largest.checked_sub(FROM_THE_LARGEST)?)?).ok()?;
                (1..=*count).contains(&call).then(|| (kind.clone(), call))
            };
            return self.calls.iter().find_map(of_sequence);
        }
        let since = micros_from_text(found)?.checked_sub(self.statement.as_micros())?;
        let is_clock = since > 0 && since % BETWEEN_CLOCKS == 0;
        is_clock.then(|| Some(("clock".to_owned(), i32::try_from(since / BETWEEN_CLOCKS).ok()?)))?
    }

    /// Rows that the run alone wrote with those that were recorded in their place: the same in all that was not given.
    fn pairs<'s>(
        &self,
        differences: &Differences,
        ran: &Ran,
        recorded: &Recorded,
        schemas: &'s Schemas,
    ) -> Vec<(Row, Row, &'s TableSchema)> {
        let mut free: BTreeMap<&TableName, Vec<(&RecordName, Row)>> = BTreeMap::new();
        for record in in_order(&differences.missing) {
            if let Some(written) = recorded.after(record) {
                free.entry(&record.0).or_default().push((record, written));
            }
        }
        let mut pairs = Vec::new();
        for record in in_order(&differences.extra) {
            let (Some(Some(found)), Some(schema)) = (ran.rows.get(record), schemas.get(&record.0)) else { continue };
            let Some(candidates) = free.get_mut(&record.0) else { continue };
            let is_given = |column_type: &ColumnType, value: &Value| {
                let is_time = matches!(column_type, ColumnType::TimestampTz | ColumnType::Timestamp);
                is_time || value.as_str().is_some_and(|text| self.call_of(text).is_some())
            };
            let fits = |(name, written): &(&RecordName, Row)| {
                schema.columns.iter().filter(|column| recorded.tells(name, &column.name)).all(|column| {
                    match (found.get(&column.name), written.get(&column.name)) {
                        (Some(one), Some(other)) => {
                            column.column_type.is_same(one, other) || is_given(&column.column_type, one)
                        }
                        _ => true,
                    }
                })
            };
            if let Some(place) = candidates.iter().position(fits) {
                let (_, written) = candidates.remove(place);
                pairs.push((found.clone(), written, schema.as_ref()));
            }
        }
        pairs
    }
}

/// By their keys, numbers as numbers: sequences count upwards.
fn in_order(records: &[RecordName]) -> Vec<&RecordName> {
    let mut ordered: Vec<&RecordName> = records.iter().collect();
    ordered.sort_by_key(|(table, key)| {
        let cells: Vec<(usize, String)> = key
            .iter()
            .map(|(_, value)| value.as_str().unwrap_or_default())
            .map(|text| (text.len(), text.to_owned()))
            .collect();
        (table.clone(), cells)
    });
    ordered
}
