//! The same rules as [`super::row_scan`], answered by the database server: only the keys in breach travel.
//!
//! In: the rules of a table that mean the same on the server. Out: as of the other scan. One query finds the rows in
//! breach of any rule about a row, with a truth value for each; one for each set of columns that must not repeat, and
//! one for each reference; and one counts the rows that each rule is about.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;

use super::beyond_rows::tally_of_rows;
use super::checks::{AcrossRows, Reference, TableQuestion, Violating};
use super::evaluation::{AuditedTable, Tally};
use super::found_keys::{FoundKeys, SortedKeys};
use super::rule::Rule;
use super::server_sql::{are_alike, server_column, server_condition};
use super::sql_text::{parsed_condition, place_among, quoted_name, quoted_table};
use crate::catalog::{Catalog, CatalogError};
use crate::model::{Column, ColumnName, ColumnType, RecordKey, TableName, TableSchema};

/// What the server answers for one rule.
#[derive(Clone, Debug)]
struct Question {
    /// The condition for a row to be checked: a place in [`ServerScan::filters`]; `None`: every row is.
    filter: Option<usize>,
    answer: Answer,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    /// A place in [`ServerScan::predicates`].
    Predicate(usize),
    /// A place in [`ServerScan::selections`].
    Selection(usize),
    /// The number of rows: a place in [`ServerScan::counts`].
    Rows(usize),
}

/// The queries about one table.
#[derive(Debug, Default)]
pub(super) struct ServerScan {
    filters: Vec<String>,
    predicates: Vec<String>,
    /// Conditions with a subquery, each worth a query of its own.
    selections: Vec<String>,
    counts: Vec<TableQuestion>,
    questions: Vec<Question>,
}

impl ServerScan {
    /// Takes a rule in, where the server can answer it.
    pub(super) fn take(&mut self, rule: &Rule, table: &TableSchema, catalog: &Catalog) -> bool {
        self.question(rule, table, catalog).map(|question| self.questions.push(question)).is_some()
    }

    fn question(&mut self, rule: &Rule, table: &TableSchema, catalog: &Catalog) -> Option<Question> {
        let filter = match &rule.filter {
            Some(filter) => Some(server_condition(&filter.expression, table)?),
            None => None,
        };
        let predicate = match rule.violating(table) {
            Violating::Row(predicate) => predicate,
            Violating::Table(question) if question.whole_table().is_some() => {
                let filter = filter.map(|filter| place_among(&mut self.filters, filter));
                self.counts.push(question);
                return Some(Question { filter, answer: Answer::Rows(self.counts.len() - 1) });
            }
            _ => return None,
        };
        let answer = match rule.across_rows() {
            Some(AcrossRows::Repeated { columns }) => {
                let selection = repeated(&columns, table, filter.as_deref())?;
                Answer::Selection(place_among(&mut self.selections, selection))
            }
            Some(AcrossRows::Missing(Reference { columns, table: referenced, key })) => {
                let referenced = catalog.schema(&referenced).ok()?;
                let selection = missing(&columns, table, &key, referenced, filter.as_deref())?;
                Answer::Selection(place_among(&mut self.selections, selection))
            }
            None => {
                let predicate = server_condition(&parsed_condition(&predicate)?, table)?;
                Answer::Predicate(place_among(&mut self.predicates, predicate))
            }
        };
        let filter = filter.map(|filter| place_among(&mut self.filters, filter));
        Some(Question { filter, answer })
    }

    /// Asks the server; a tally for each rule, in the order they were taken in. `None` where there is no server.
    ///
    /// # Errors
    /// What the server refuses.
    pub(super) async fn run(&self, table: &AuditedTable<'_>) -> Result<Option<Vec<Tally>>, CatalogError> {
        let Some((rows, checked)) = self.count(table).await? else { return Ok(None) };
        let predicates = self.rows_in_breach(table).await?;
        let mut selections = Vec::with_capacity(self.selections.len());
        for condition in &self.selections {
            let sql = format!("SELECT {} FROM {} WHERE {condition}", key_sql(table), quoted_table(&table.schema.name));
            let mut keys = FoundKeys::default();
            let look = |batch: &RecordBatch| {
                for row in 0..batch.num_rows() {
                    push(&mut keys, key_at(table, batch, row)?, table)?;
                }
                Ok(())
            };
            table.catalog.each_on_server(&sql, result(table, []), look).await?;
            selections.push(sorted(keys, table)?);
        }
        let tallies = self.questions.iter().map(|question| {
            let checked = question.filter.map_or(rows, |filter| checked.get(filter).copied().unwrap_or(0));
            let keys = match question.answer {
                Answer::Rows(place) => {
                    return self.counts.get(place).map(|question| tally_of_rows(question, checked)).unwrap_or_default();
                }
                Answer::Predicate(place) => predicates.get(place),
                Answer::Selection(place) => selections.get(place),
            };
            Tally::of_rows(checked, keys.cloned().unwrap_or_default())
        });
        Ok(Some(tallies.collect()))
    }

    /// How many rows there are, and how many of them each filter lets pass.
    async fn count(&self, table: &AuditedTable<'_>) -> Result<Option<(u64, Vec<u64>)>, CatalogError> {
        let filtered = self.filters.iter().map(|filter| format!("count(*) FILTER (WHERE {filter})"));
        let counts: Vec<String> = std::iter::once("count(*)".to_owned()).chain(filtered).collect();
        let columns = (0..counts.len()).map(|place| column(&format!("count_{place}"), ColumnType::BigInt));
        let shape = TableSchema { columns: columns.collect(), ..empty(&table.schema.name) };
        let sql = format!("SELECT {} FROM {}", counts.join(", "), quoted_table(&table.schema.name));
        let Some(batches) = table.catalog.select_on_server(&sql, shape).await? else { return Ok(None) };
        let mut found = Vec::with_capacity(counts.len());
        for place in 0..counts.len() {
            let array = batches.first().and_then(|batch| batch.columns().get(place));
            let number =
                array.and_then(|array| array.as_primitive_opt::<Int64Type>()).filter(|array| !array.is_empty());
            let number = number.and_then(|array| u64::try_from(array.value(0)).ok());
            found.push(number.ok_or_else(|| damaged(table, "the server did not count"))?);
        }
        let rows = found.first().copied().unwrap_or(0);
        Ok(Some((rows, found.split_off(1))))
    }

    /// The keys of the rows for which each predicate holds.
    async fn rows_in_breach(&self, table: &AuditedTable<'_>) -> Result<Vec<SortedKeys>, CatalogError> {
        if self.predicates.is_empty() {
            return Ok(Vec::new());
        }
        let mut found: Vec<FoundKeys> = self.predicates.iter().map(|_| FoundKeys::default()).collect();
        let bits: Vec<String> = self.predicates.iter().map(|predicate| format!("{predicate} IS TRUE")).collect();
        let sql = format!(
            "SELECT {}, {} FROM {} WHERE {}",
            key_sql(table),
            bits.join(", "),
            quoted_table(&table.schema.name),
            self.predicates.join(" OR ")
        );
        let flags = (0..bits.len()).map(|place| column(&format!("breach_{place}"), ColumnType::Boolean));
        let look = |batch: &RecordBatch| {
            for (place, found) in found.iter_mut().enumerate() {
                let name = format!("breach_{place}");
                let flags = batch.column_by_name(&name).and_then(|array| array.as_boolean_opt());
                let flags = flags.ok_or_else(|| damaged(table, "the server gave no truth value"))?;
                for row in (0..flags.len()).filter(|row| flags.is_valid(*row) && flags.value(*row)) {
                    push(found, key_at(table, batch, row)?, table)?;
                }
            }
            Ok(())
        };
        table.catalog.each_on_server(&sql, result(table, flags), look).await?;
        found.into_iter().map(|keys| sorted(keys, table)).collect()
    }
}

fn push(keys: &mut FoundKeys, key: RecordKey, table: &AuditedTable<'_>) -> Result<(), CatalogError> {
    keys.push(key, table.holding()).map_err(|reason| damaged(table, &reason))
}

fn sorted(keys: FoundKeys, table: &AuditedTable<'_>) -> Result<SortedKeys, CatalogError> {
    keys.finish(table.holding()).map_err(|reason| damaged(table, &reason))
}

/// The rows with the same values in these columns as another.
fn repeated(columns: &[ColumnName], table: &TableSchema, filter: Option<&str>) -> Option<String> {
    let values: Option<Vec<String>> = columns.iter().map(|column| server_column("", column, table)).collect();
    let values = values?.join(", ");
    let rivals = rivals(columns, filter);
    let from = quoted_table(&table.name);
    Some(format!(
        "{rivals} AND ({values}) IN (SELECT {values} FROM {from} WHERE {rivals} GROUP BY {values} HAVING count(*) > 1)"
    ))
}

/// The rows whose values no row of the other table has in its key.
fn missing(
    columns: &[ColumnName],
    table: &TableSchema,
    key: &[ColumnName],
    referenced: &TableSchema,
    filter: Option<&str>,
) -> Option<String> {
    let mut same = Vec::with_capacity(columns.len());
    for (own, other) in columns.iter().zip(key) {
        if !are_alike(own, table, other, referenced) {
            return None;
        }
        // Inside, a bare name is the other table's.
        let other = server_column("", other, referenced)?;
        let own = server_column(&format!("{}.", quoted_table(&table.name)), own, table)?;
        same.push(format!("{other} = {own}"));
    }
    // The row's own name would be the other row's.
    if table.name == referenced.name {
        return None;
    }
    let from = quoted_table(&referenced.name);
    Some(format!("{} AND NOT EXISTS (SELECT FROM {from} WHERE {})", rivals(columns, filter), same.join(" AND ")))
}

fn rivals(columns: &[ColumnName], filter: Option<&str>) -> String {
    let present = columns.iter().map(|column| format!("{} IS NOT NULL", quoted_name(column)));
    let filter = filter.map(|filter| format!("{filter} IS TRUE"));
    present.chain(filter).collect::<Vec<_>>().join(" AND ")
}

/// The columns that name a row; a constant where there is none.
fn key_sql(table: &AuditedTable<'_>) -> String {
    let names: Vec<String> = table.key.iter().map(|column| quoted_name(column)).collect();
    if names.is_empty() { "NULL".to_owned() } else { names.join(", ") }
}

/// What is selected: the key, and more columns behind it.
fn result(table: &AuditedTable<'_>, more: impl IntoIterator<Item = Column>) -> TableSchema {
    let mut columns: Vec<Column> = table
        .key
        .iter()
        .enumerate()
        .filter_map(|(place, name)| {
            let declared = table.schema.column(name)?;
            Some(column(&format!("key_{place}"), declared.column_type.clone()))
        })
        .collect();
    if columns.is_empty() {
        columns.push(column("nothing", ColumnType::Text));
    }
    columns.extend(more);
    TableSchema { columns, ..empty(&table.schema.name) }
}

fn key_at(table: &AuditedTable<'_>, batch: &RecordBatch, row: usize) -> Result<RecordKey, CatalogError> {
    table.cells_at(&table.key, batch, row).map_err(|reason| damaged(table, &reason))
}

fn column(name: &str, column_type: ColumnType) -> Column {
    Column { name: name.into(), column_type, not_null: false, generated: false }
}

fn empty(name: &TableName) -> TableSchema {
    TableSchema {
        name: name.clone(),
        columns: Vec::new(),
        key: Vec::new(),
        foreign_keys: Vec::new(),
        unique_keys: Vec::new(),
    }
}

fn damaged(table: &AuditedTable<'_>, reason: &str) -> CatalogError {
    CatalogError::Rows { table: table.schema.name.clone(), reason: reason.to_owned() }
}
