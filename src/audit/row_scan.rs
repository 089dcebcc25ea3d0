//! One scan of a table for all rules about its rows that need no subquery, and about how many there are.
//!
//! In: the rules. Out: of each, how many rows it is about, and the keys of those in breach. Every distinct predicate is
//! computed once for a row, however many rules share it; values that must not come twice are told apart beside it, and
//! references to whole numbers looked up in a set. Only the columns that somebody asks for are read. A second scan, of the
//! columns concerned, follows where values may have come twice.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use super::beyond_rows::tally_of_rows;
use super::checks::{AcrossRows, Reference, TableQuestion, Violating};
use super::evaluation::{AuditedTable, Tally, count};
use super::found_keys::{FoundKeys, SortedKeys};
use super::integer_set::IntegerSet;
use super::repeated::{RepeatedValues, SuspectRows, is_comparable};
use super::rule::Rule;
use super::sql_text::{has_subquery, parsed_condition, place_among, quoted_name, quoted_table};
use crate::catalog::{Catalog, arrow_type};
use crate::model::{ColumnName, RecordKey, TableName, TableSchema};

/// What a reference points to takes no more than this in memory: 192 MB are some fourteen million numbers far apart, or a
/// thousand million in a row. The engine joins on disk what is more.
const MOST_BYTES_OF_A_SET: usize = 192 << 20;

/// What the scan answers for one rule, told by places among the selected columns.
#[derive(Clone, Debug)]
struct Question {
    /// Whether a row is checked at all; `None`: every row is.
    filter: Option<usize>,
    breach: Answer,
}

/// Which of the scan's findings are a rule's.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// The rows for which this predicate holds: a place in [`RowScan::predicates`].
    Predicate(usize),
    /// A place in [`RowScan::repeated`].
    Repeated(usize),
    /// A place in [`RowScan::missing`].
    Missing(usize),
    /// The number of rows: a place in [`RowScan::counts`].
    Rows(usize),
}

/// Columns whose values must not come twice among the rows that a filter lets pass.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Repeated {
    columns: Vec<usize>,
    filter: Option<usize>,
}

/// A column whose numbers must be in another table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Missing {
    column: usize,
    filter: Option<usize>,
    table: TableName,
    key: ColumnName,
}

/// The scan of one table.
#[derive(Debug, Default)]
pub(super) struct RowScan {
    /// What is selected, each text once.
    selected: Vec<String>,
    places: HashMap<String, usize>,
    key: Vec<usize>,
    predicates: Vec<usize>,
    repeated: Vec<Repeated>,
    missing: Vec<Missing>,
    counts: Vec<TableQuestion>,
    questions: Vec<Question>,
}

impl RowScan {
    /// A scan that names rows by `key`; no rule is in it yet.
    pub(super) fn new(key: &[ColumnName]) -> Self {
        let mut scan = RowScan::default();
        scan.key = key.iter().map(|column| scan.select(quoted_name(column))).collect();
        scan
    }

    /// Takes a rule in, where one scan can answer it.
    pub(super) fn take(&mut self, rule: &Rule, table: &TableSchema, catalog: &Catalog) -> bool {
        if rule.filter.as_ref().is_some_and(|filter| has_subquery(&filter.expression)) {
            return false;
        }
        let predicate = match rule.violating(table) {
            Violating::Row(predicate) => predicate,
            Violating::Table(question) if question.whole_table().is_some() => {
                let filter = self.select_filter(rule);
                self.questions.push(Question { filter, breach: Answer::Rows(self.counts.len()) });
                self.counts.push(question);
                return true;
            }
            _ => return false,
        };
        let across = rule.across_rows().filter(|across| is_told_by_scan(across, table, catalog));
        let plain = parsed_condition(&predicate).is_some_and(|parsed| !has_subquery(&parsed));
        if across.is_none() && !plain {
            return false;
        }
        let filter = self.select_filter(rule);
        let breach = match across {
            Some(AcrossRows::Repeated { columns }) => {
                let columns = columns.iter().map(|column| self.select(quoted_name(column))).collect();
                Answer::Repeated(place_among(&mut self.repeated, Repeated { columns, filter }))
            }
            Some(AcrossRows::Missing(Reference { columns, table, key })) => {
                let column = columns.first().map(|column| quoted_name(column)).unwrap_or_default();
                let column = self.select(format!("CAST({column} AS BIGINT)"));
                let key = key.first().cloned().unwrap_or_else(|| "".into());
                Answer::Missing(place_among(&mut self.missing, Missing { column, filter, table, key }))
            }
            None => {
                let predicate = self.select(predicate);
                Answer::Predicate(place_among(&mut self.predicates, predicate))
            }
        };
        self.questions.push(Question { filter, breach });
        true
    }

    fn select_filter(&mut self, rule: &Rule) -> Option<usize> {
        rule.filter.as_ref().map(|filter| self.select(format!("({}) IS TRUE", filter.sql)))
    }

    fn select(&mut self, sql: String) -> usize {
        let next = self.selected.len();
        *self.places.entry(sql).or_insert_with_key(|sql| {
            self.selected.push(sql.clone());
            next
        })
    }

    fn sql(&self, table: &TableName, wanted: impl Fn(usize) -> bool) -> String {
        let columns: Vec<String> = self
            .selected
            .iter()
            .enumerate()
            .filter(|(place, _)| wanted(*place))
            .map(|(place, sql)| format!("({sql}) AS c_{place}"))
            .collect();
        let columns = if columns.is_empty() { "1".to_owned() } else { columns.join(", ") };
        format!("SELECT {columns} FROM {}", quoted_table(table))
    }

    /// Runs the scan; a tally for each rule, in the order they were taken in. `None` for what would take too much memory.
    ///
    /// # Errors
    /// What the engine says.
    pub(super) async fn run(
        &self,
        table: &AuditedTable<'_>,
        session: &SessionContext,
    ) -> Result<Vec<Option<Tally>>, DataFusionError> {
        let mut found = Findings::new(self, table, session).await?;
        // Who only counts rows names none.
        let names_rows = self.questions.iter().any(|question| !matches!(question.breach, Answer::Rows(_)));
        let sql = self.sql(&table.schema.name, |place| names_rows || !self.key.contains(&place));
        each_batch(session, &sql, |batch| found.look(self, table, batch)).await?;
        let mut repeated = Vec::with_capacity(self.repeated.len());
        for (wanted, values) in self.repeated.iter().zip(std::mem::take(&mut found.repeated)) {
            repeated.push(match values.suspects() {
                Some(suspects) => self.repeated_rows(table, session, wanted, suspects).await?,
                None => None,
            });
        }
        let (rows, checked_by_filter) = (found.rows, std::mem::take(&mut found.checked));
        let (predicates, missing) = found.sorted(table)?;
        let tallies = self.questions.iter().map(|question| {
            let checked = question.filter.map_or(rows, |filter| checked_by_filter.get(&filter).copied().unwrap_or(0));
            let keys = match question.breach {
                Answer::Rows(place) => {
                    return self.counts.get(place).map(|question| tally_of_rows(question, checked));
                }
                Answer::Predicate(place) => predicates.get(place).cloned(),
                Answer::Repeated(place) => repeated.get(place).cloned().flatten(),
                Answer::Missing(place) => missing.get(place).cloned().flatten(),
            };
            keys.map(|keys| Tally::of_rows(checked, keys))
        });
        Ok(tallies.collect())
    }

    /// The second scan, where there are suspects: the rows whose values really come twice; `None` where they are too many.
    async fn repeated_rows(
        &self,
        table: &AuditedTable<'_>,
        session: &SessionContext,
        wanted: &Repeated,
        mut suspects: SuspectRows,
    ) -> Result<Option<SortedKeys>, DataFusionError> {
        let is_wanted =
            |place: usize| self.key.contains(&place) || wanted.columns.contains(&place) || wanted.filter == Some(place);
        let sql = self.sql(&table.schema.name, is_wanted);
        if suspects.are_there() {
            each_batch(session, &sql, |batch| {
                suspects.look(batch, &arrays(batch, &wanted.columns)?, rivals(batch, wanted.filter)?)
            })
            .await?;
        }
        if suspects.are_too_many() {
            return Ok(None);
        }
        let places: Vec<usize> = (0..self.selected.len()).filter(|place| is_wanted(*place)).collect();
        let within: Vec<usize> =
            wanted.columns.iter().filter_map(|column| places.iter().position(|place| place == column)).collect();
        let mut keys = FoundKeys::default();
        for batch in suspects.repeated(&within)? {
            for row in 0..batch.num_rows() {
                push(&mut keys, self.key_at(table, &batch, row)?, table)?;
            }
        }
        keys.finish(table.holding()).map(Some).map_err(DataFusionError::Execution)
    }

    fn key_at(&self, table: &AuditedTable<'_>, batch: &RecordBatch, row: usize) -> Result<RecordKey, DataFusionError> {
        let names: Vec<String> = self.key.iter().map(|place| format!("c_{place}")).collect();
        table.named_cells_at(&table.key, &names, batch, row).map_err(DataFusionError::Execution)
    }
}

fn is_told_by_scan(across: &AcrossRows, table: &TableSchema, catalog: &Catalog) -> bool {
    let is_integer = |table: &TableSchema, column: &ColumnName| {
        table.column(column).is_some_and(|column| column.column_type.is_integer())
    };
    match across {
        AcrossRows::Repeated { columns } => columns
            .iter()
            .all(|column| table.column(column).is_some_and(|column| is_comparable(&arrow_type(&column.column_type)))),
        AcrossRows::Missing(Reference { columns, table: referenced, key }) => {
            match (columns.as_slice(), key.as_slice()) {
                ([column], [key]) => {
                    is_integer(table, column)
                        && catalog.schema(referenced).is_ok_and(|referenced| is_integer(referenced, key))
                }
                _ => false,
            }
        }
    }
}

/// What the scan has found so far.
struct Findings {
    rows: u64,
    /// By the place of the filter.
    checked: HashMap<usize, u64>,
    predicates: Vec<FoundKeys>,
    repeated: Vec<RepeatedValues>,
    missing: Vec<FoundKeys>,
    /// For each of the scan's references, the place of its set.
    referenced: Vec<usize>,
    /// `None`: its numbers are too many.
    sets: Vec<Option<IntegerSet>>,
}

impl Findings {
    async fn new(
        scan: &RowScan,
        table: &AuditedTable<'_>,
        session: &SessionContext,
    ) -> Result<Findings, DataFusionError> {
        let rows = table.catalog.row_count(&table.schema.name);
        let mut pairs: Vec<(&TableName, &ColumnName)> = Vec::new();
        let mut sets: Vec<Option<IntegerSet>> = Vec::new();
        let mut referenced = Vec::with_capacity(scan.missing.len());
        for missing in &scan.missing {
            let place = place_among(&mut pairs, (&missing.table, &missing.key));
            if place == sets.len() {
                sets.push(numbers_of(session, &missing.table, &missing.key).await?);
            }
            referenced.push(place);
        }
        Ok(Findings {
            rows: 0,
            checked: scan.questions.iter().filter_map(|question| Some((question.filter?, 0))).collect(),
            predicates: scan.predicates.iter().map(|_| FoundKeys::default()).collect(),
            repeated: scan.repeated.iter().map(|_| RepeatedValues::new(rows, scan.repeated.len())).collect(),
            missing: scan.missing.iter().map(|_| FoundKeys::default()).collect(),
            referenced,
            sets,
        })
    }

    fn look(&mut self, scan: &RowScan, table: &AuditedTable<'_>, batch: &RecordBatch) -> Result<(), DataFusionError> {
        self.rows += count(batch.num_rows());
        for (filter, checked) in &mut self.checked {
            *checked += count(boolean(batch, *filter)?.true_count());
        }
        for (place, found) in scan.predicates.iter().zip(&mut self.predicates) {
            let breach = boolean(batch, *place)?;
            if breach.true_count() == 0 {
                continue;
            }
            for row in (0..breach.len()).filter(|row| breach.is_valid(*row) && breach.value(*row)) {
                push(found, scan.key_at(table, batch, row)?, table)?;
            }
        }
        for (wanted, values) in scan.repeated.iter().zip(&mut self.repeated) {
            values.look(&arrays(batch, &wanted.columns)?, rivals(batch, wanted.filter)?)?;
        }
        for ((missing, set), found) in scan.missing.iter().zip(&self.referenced).zip(&mut self.missing) {
            let Some(set) = self.sets.get(*set).and_then(Option::as_ref) else { continue };
            let numbers = batch.column_by_name(&format!("c_{}", missing.column));
            let numbers = numbers.and_then(|array| array.as_primitive_opt::<Int64Type>());
            let numbers = numbers.ok_or_else(|| left_out(missing.column))?;
            let rivals = rivals(batch, missing.filter)?;
            for row in 0..numbers.len() {
                let is_checked = rivals.is_none_or(|rivals| rivals.is_valid(row) && rivals.value(row));
                if is_checked && numbers.is_valid(row) && !set.contains(numbers.value(row)) {
                    push(found, scan.key_at(table, batch, row)?, table)?;
                }
            }
        }
        Ok(())
    }

    /// The rows in breach of each predicate, and those of each reference, where it could be followed.
    fn sorted(self, table: &AuditedTable<'_>) -> Result<(Vec<SortedKeys>, Vec<Option<SortedKeys>>), DataFusionError> {
        let finished = |keys: FoundKeys| keys.finish(table.holding()).map_err(DataFusionError::Execution);
        let predicates = self.predicates.into_iter().map(finished).collect::<Result<_, _>>()?;
        let mut missing = Vec::with_capacity(self.missing.len());
        for (keys, set) in self.missing.into_iter().zip(&self.referenced) {
            let is_followed = self.sets.get(*set).is_some_and(Option::is_some);
            missing.push(if is_followed { Some(finished(keys)?) } else { None });
        }
        Ok((predicates, missing))
    }
}

fn push(keys: &mut FoundKeys, key: RecordKey, table: &AuditedTable<'_>) -> Result<(), DataFusionError> {
    keys.push(key, table.holding()).map_err(DataFusionError::Execution)
}

/// Every number in a column of a table; `None` where they are too many to be held.
async fn numbers_of(
    session: &SessionContext,
    table: &TableName,
    column: &ColumnName,
) -> Result<Option<IntegerSet>, DataFusionError> {
    let mut numbers = Some(IntegerSet::new());
    let sql = format!("SELECT CAST({} AS BIGINT) AS c_0 FROM {}", quoted_name(column), quoted_table(table));
    each_batch(session, &sql, |batch| {
        let array = batch.column_by_name("c_0").and_then(|array| array.as_primitive_opt::<Int64Type>());
        let array = array.ok_or_else(|| left_out(0))?;
        if let Some(set) = &mut numbers {
            array.iter().flatten().for_each(|number| set.insert(number));
            numbers = numbers.take().filter(|set| set.bytes() <= MOST_BYTES_OF_A_SET);
        }
        Ok(())
    })
    .await?;
    Ok(numbers)
}

async fn each_batch(
    session: &SessionContext,
    sql: &str,
    mut look: impl FnMut(&RecordBatch) -> Result<(), DataFusionError>,
) -> Result<(), DataFusionError> {
    let mut batches = session.sql(sql).await?.execute_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        look(&batch)?;
    }
    Ok(())
}

fn boolean(batch: &RecordBatch, place: usize) -> Result<&BooleanArray, DataFusionError> {
    let array = batch.column_by_name(&format!("c_{place}")).and_then(|array| array.as_boolean_opt());
    array.ok_or_else(|| left_out(place))
}

fn rivals(batch: &RecordBatch, filter: Option<usize>) -> Result<Option<&BooleanArray>, DataFusionError> {
    filter.map(|filter| boolean(batch, filter)).transpose()
}

fn arrays(batch: &RecordBatch, places: &[usize]) -> Result<Vec<ArrayRef>, DataFusionError> {
    let array = |place: &usize| batch.column_by_name(&format!("c_{place}")).cloned().ok_or_else(|| left_out(*place));
    places.iter().map(array).collect()
}

fn left_out(place: usize) -> DataFusionError {
    DataFusionError::Execution(format!("the engine left out column c_{place}, or gave it another type"))
}
