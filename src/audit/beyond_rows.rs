//! Rules that are not about the rows that stand: about writes, about tables as a whole, about releases.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType, UInt64Type};
use arrow::record_batch::RecordBatch;
use datafusion::prelude::SessionContext;

use super::checks::{DriftQuestion, ReleaseValues, TableQuestion};
use super::evaluation::{AuditedTable, Breach, Tally, true_rows};
use super::outcome::WrittenBy;
use super::planning::{select_violating, written_rows};
use super::rule::Rule;
use crate::model::{
    Column, ColumnType, RecordKey, Release, ReleaseName, ServiceName, TableSchema, Timestamp, TransactionId, WriteSeq,
};

/// How many groups a message tells of.
const FEW: usize = 5;

impl AuditedTable<'_> {
    /// The records that some write has put in breach: each once, with the first such write.
    pub(super) async fn check_writes(&self, session: &SessionContext, rule: &Rule) -> Result<Tally, String> {
        let mut tally = Tally { checked: self.writes_checked(session, rule).await?, ..Tally::default() };
        let key = &self.schema.key;
        if key.is_empty() {
            return Err(format!("{} has no key: its writes cannot be told apart", self.schema.name));
        }
        let mut known: HashSet<RecordKey> = HashSet::new();
        let sql = select_violating(rule, self.schema, key);
        self.for_each_batch(session, &sql, &[rule], |batch| {
            for row in 0..batch.num_rows() {
                let key = self.cells_at(key, batch, row)?;
                if known.insert(key.clone()) {
                    let written = written_at(batch, row)?;
                    tally.found.push(Breach { key, release: written.release.clone(), written: Some(written) });
                }
            }
            Ok(())
        })
        .await?;
        if tally.checked == 0 {
            tally.note = Some(format!("no write of {} is recorded that it could check", self.schema.name));
        }
        Ok(tally)
    }

    async fn writes_checked(&self, session: &SessionContext, rule: &Rule) -> Result<u64, String> {
        let filter = rule.filter.as_ref().map(|filter| format!(" WHERE ({}) IS TRUE", filter.sql)).unwrap_or_default();
        let sql = format!("SELECT count(*) AS checked FROM {}{filter}", written_rows(self.schema));
        let mut checked = 0;
        self.for_each_batch(session, &sql, &[rule], |batch| {
            checked +=
                (0..batch.num_rows()).map(|row| number_at(batch, "checked", row)).sum::<Result<u64, String>>()?;
            Ok(())
        })
        .await?;
        Ok(checked)
    }

    /// The groups of rows (or the table as one) that a question finds in breach.
    pub(super) async fn check_table(
        &self,
        session: &SessionContext,
        rule: &Rule,
        question: &TableQuestion,
    ) -> Result<Tally, String> {
        let personal = self.catalog.personal_columns(&self.schema.name);
        if let Some(column) = question.by.iter().find(|column| personal.contains(column)) {
            return Err(format!("{column} is personal: its values would be printed as names of groups"));
        }
        let quotable = question.quotes.as_ref().is_none_or(|column| !personal.contains(column));
        let mut tally = Tally::default();
        let mut told: Vec<String> = Vec::new();
        let look = |batch: &RecordBatch| {
            for row in 0..batch.num_rows() {
                tally.checked += number_at(batch, "checked", row)?;
            }
            for row in true_rows(batch, "breach")? {
                let key = self.cells_at(&question.by, batch, row)?;
                let measured = match text_at(batch, "measured", row)? {
                    _ if !quotable => "(personal)".to_owned(),
                    Some(measured) => measured,
                    None => "none".to_owned(),
                };
                let group = if question.by.is_empty() { String::new() } else { format!("{key}: ") };
                told.push(format!("{group}{} {measured}", question.measured));
                tally.found.push(Breach { key, release: None, written: None });
            }
            Ok(())
        };
        match self.ask_server(question).await {
            Some(batches) => batches.iter().try_for_each(look)?,
            None => self.for_each_batch(session, &question.sql, &[rule], look).await?,
        }
        if !told.is_empty() {
            let more = match told.len().saturating_sub(FEW) {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            told.truncate(FEW);
            tally.note = Some(format!("{}{more}; {}", told.join("; "), question.demanded));
        }
        Ok(tally)
    }

    /// What the server answers, where there is one that reads the question as we do.
    async fn ask_server(&self, question: &TableQuestion) -> Option<Vec<RecordBatch>> {
        if !question.is_portable {
            return None;
        }
        let column =
            |name: &str, column_type| Column { name: name.into(), column_type, not_null: false, generated: false };
        let columns = vec![
            column("checked", ColumnType::BigInt),
            column("measured", ColumnType::Text),
            column("breach", ColumnType::Boolean),
        ];
        let shape = TableSchema { name: self.schema.name.clone(), columns, key: Vec::new(), foreign_keys: Vec::new() };
        // What it refuses is asked here.
        self.catalog.select_on_server(&question.sql, shape).await.ok().flatten()
    }

    /// The releases whose writes as a whole differ.
    pub(super) async fn check_releases(
        &self,
        session: &SessionContext,
        rule: &Rule,
        question: &DriftQuestion,
    ) -> Result<Tally, String> {
        let mut values = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut checked = 0;
        self.for_each_batch(session, &question.sql, &[rule], |batch| {
            for row in 0..batch.num_rows() {
                let Some(release) = release_at(batch, row)? else { continue };
                // They come in the order of the values, so that places are in that order as well.
                let value = text_at(batch, "value", row)?.map(|value| {
                    let next = known.len();
                    *known.entry(value).or_insert(next)
                });
                let writes = number_at(batch, "writes", row)?;
                checked += writes;
                values.push(ReleaseValues { release, value, writes, first: number_at(batch, "first", row)? });
            }
            Ok(())
        })
        .await?;
        let drifts = question.judge(values);
        let told: Vec<&str> = drifts.iter().map(|drift| drift.description.as_str()).collect();
        let note = (!told.is_empty()).then(|| told.join("; "));
        let nothing = RecordKey::new(Vec::new());
        let found = drifts
            .iter()
            .map(|drift| Breach { key: nothing.clone(), release: Some(drift.release.clone()), written: None })
            .collect();
        Ok(Tally { checked, found, note })
    }
}

fn written_at(batch: &RecordBatch, row: usize) -> Result<WrittenBy, String> {
    let times = batch.column_by_name("_ts").and_then(|array| array.as_primitive_opt::<TimestampMicrosecondType>());
    let ts = times.ok_or_else(|| "the engine gave no time _ts".to_owned())?.value(row);
    Ok(WrittenBy {
        seq: Some(WriteSeq(number_at(batch, "_seq", row)?)),
        ts: Timestamp::from_micros(ts),
        tx: text_at(batch, "_tx", row)?.map(|tx| TransactionId(tx.into())),
        release: release_at(batch, row)?,
    })
}

fn release_at(batch: &RecordBatch, row: usize) -> Result<Option<Release>, String> {
    let service = text_at(batch, "_service", row)?.map(ServiceName::new);
    Ok(text_at(batch, "_release", row)?.map(|name| Release { service, name: ReleaseName::new(name) }))
}

fn number_at(batch: &RecordBatch, column: &str, row: usize) -> Result<u64, String> {
    let array = batch.column_by_name(column).ok_or_else(|| format!("the engine gave no {column}"))?;
    if let Some(numbers) = array.as_primitive_opt::<UInt64Type>() {
        return Ok(numbers.value(row));
    }
    let numbers = array.as_primitive_opt::<Int64Type>().ok_or_else(|| format!("the engine gave no number {column}"))?;
    u64::try_from(numbers.value(row)).map_err(|_| format!("the engine gave a negative {column}"))
}

fn text_at(batch: &RecordBatch, column: &str, row: usize) -> Result<Option<String>, String> {
    let array = batch.column_by_name(column).ok_or_else(|| format!("the engine gave no {column}"))?;
    if array.is_null(row) {
        return Ok(None);
    }
    let text = arrow::util::display::array_value_to_string(array, row);
    text.map(Some).map_err(|error| error.to_string())
}
