//! `lineage`: what other tools state of what they read and wrote.

use std::sync::Arc;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::batch::{BatchBuilder, POSITION, ReadBatch, integer_at, text_at, time_at};
use crate::model::{FeedKind, StatedFeed, StatedLineage, TableColumn, TableName};

/// The table's folder within the store.
pub(super) const FOLDER: &str = "lineage";

/// Schema and table.
type StoredName = (String, String);

/// The JSON of `tables`.
#[derive(Serialize, Deserialize)]
struct StoredTables {
    inputs: Vec<StoredName>,
    outputs: Vec<StoredName>,
    feeds: Vec<StoredFeed>,
}

#[derive(Serialize, Deserialize)]
struct StoredFeed {
    table: StoredName,
    column: Option<String>,
    source_table: StoredName,
    source_column: String,
    kind: String,
}

/// Statements, each with its place in the order of arrival, as one batch.
pub(super) fn batch_of_lineage(rows: &[(i64, &StatedLineage)]) -> Result<RecordBatch, StoreError> {
    let stated = || rows.iter().map(|(_, stated)| *stated);
    let tables: Result<Vec<String>, _> = stated().map(|stated| serde_json::to_string(&stored(stated))).collect();
    let tables = tables.map_err(|error| StoreError::record(FOLDER, error))?;
    let mut batch = BatchBuilder::default();
    batch.integer(POSITION, rows.iter().map(|(position, _)| Some(*position)));
    batch.time("ts", stated().map(|stated| Some(stated.ts)));
    batch.text("stated_by", stated().map(|stated| Some(stated.stated_by.as_ref())));
    batch.text("job", stated().map(|stated| Some(stated.job.as_ref())));
    batch.text("run", stated().map(|stated| stated.run.as_deref()));
    batch.text("sql", stated().map(|stated| stated.sql.as_deref()));
    batch.text("tables", tables.iter().map(|json| Some(json.as_str())));
    batch.identities(stated().map(|stated| &stated.id));
    batch.finish(FOLDER)
}

fn stored(stated: &StatedLineage) -> StoredTables {
    let name = |table: &TableName| (table.schema.to_string(), table.table.to_string());
    let feed = |feed: &StatedFeed| StoredFeed {
        table: name(&feed.table),
        column: feed.column.as_deref().map(str::to_owned),
        source_table: name(&feed.source.table),
        source_column: feed.source.column.to_string(),
        kind: feed.kind.as_str().to_owned(),
    };
    StoredTables {
        inputs: stated.inputs.iter().map(name).collect(),
        outputs: stated.outputs.iter().map(name).collect(),
        feeds: stated.feeds.iter().map(feed).collect(),
    }
}

/// What [`batch_of_lineage`] wrote, read back.
pub(super) fn lineage_of_batch(batch: &RecordBatch) -> Result<Vec<(i64, StatedLineage)>, StoreError> {
    let read = ReadBatch { batch, table: FOLDER };
    let ids = read.identities()?;
    let (positions, times) = (read.integer(POSITION)?, read.time("ts")?);
    let (producers, jobs, runs) = (read.text("stated_by")?, read.text("job")?, read.text("run")?);
    let (statements, tables) = (read.text("sql")?, read.text("tables")?);
    let mut lineage = Vec::with_capacity(batch.num_rows());
    for (row, id) in ids.into_iter().enumerate() {
        let stored: StoredTables = serde_json::from_str(read.required(text_at(&tables, row), "tables")?)
            .map_err(|error| StoreError::content(FOLDER, error))?;
        let name = |(schema, table): StoredName| TableName::new(schema, table);
        let feed = |feed: StoredFeed| {
            Some(StatedFeed {
                table: name(feed.table),
                column: feed.column.map(Into::into),
                source: TableColumn::new(name(feed.source_table), feed.source_column),
                kind: FeedKind::from_name(&feed.kind)?,
            })
        };
        let feeds: Option<Vec<StatedFeed>> = stored.feeds.into_iter().map(feed).collect();
        let stated = StatedLineage {
            id,
            ts: read.required(time_at(&times, row), "ts")?,
            stated_by: Arc::from(read.required(text_at(&producers, row), "stated_by")?),
            job: Arc::from(read.required(text_at(&jobs, row), "job")?),
            run: text_at(&runs, row).map(Arc::from),
            sql: text_at(&statements, row).map(Arc::from),
            inputs: stored.inputs.into_iter().map(name).collect(),
            outputs: stored.outputs.into_iter().map(name).collect(),
            feeds: read.required(feeds, "tables")?,
        };
        lineage.push((read.required(integer_at(&positions, row), POSITION)?, stated));
    }
    Ok(lineage)
}
