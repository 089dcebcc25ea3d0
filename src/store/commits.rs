//! `commits`: one row for each finished ingest. The last row says which version of which table belongs to the store.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use datafusion::prelude::lit;
use deltalake::DeltaTable;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::batch::{BatchBuilder, ReadBatch, integer_at, text_at};
use super::delta::{Version, exact_column, scan};
use super::ingestion::Appended;
use super::slots::Slots;
use crate::model::{TableName, Timestamp};

/// The table's folder within the store.
pub(super) const FOLDER: &str = "commits";
/// The number of the row: the version of this table that brought it. Versions that put files together bring none.
const COMMIT: &str = "commit";
/// How far slots are stored, as JSON.
const SLOTS: &str = "slots";

/// What is in the store as of its last finished ingest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The version of this table.
    pub(super) commit: Version,
    /// The next place in the order of arrival.
    pub(super) next_position: i64,
    /// The version of each table, by its folder.
    pub(super) versions: BTreeMap<String, Version>,
    /// The folders of the tables' writes.
    pub(super) tables: BTreeMap<TableName, String>,
    /// How far slots are stored.
    pub(super) slots: Slots,
}

#[derive(Serialize, Deserialize)]
struct StoredTable {
    folder: String,
    version: Version,
    /// Schema and table, for a table of writes.
    writes: Option<(String, String)>,
}

/// One row, as a batch.
pub(super) fn batch_of_commit(
    contents: &Contents,
    appended: &Appended,
    at: Timestamp,
) -> Result<RecordBatch, StoreError> {
    let names: BTreeMap<&String, &TableName> = contents.tables.iter().map(|(name, folder)| (folder, name)).collect();
    let stored = |(folder, version): (&String, &Version)| StoredTable {
        folder: folder.clone(),
        version: *version,
        writes: names.get(folder).map(|name| (name.schema.to_string(), name.table.to_string())),
    };
    let tables: Vec<StoredTable> = contents.versions.iter().map(stored).collect();
    let tables = serde_json::to_string(&tables).map_err(|error| StoreError::record(FOLDER, error))?;
    let count = |number: u64| i64::try_from(number).map_err(|error| StoreError::record(FOLDER, error));
    let mut batch = BatchBuilder::default();
    batch.integer(COMMIT, [Some(count(contents.commit)?)].into_iter());
    batch.time("at", [Some(at)].into_iter());
    batch.integer("next_position", [Some(contents.next_position)].into_iter());
    batch.text("tables", [Some(tables.as_str())].into_iter());
    let slots = serde_json::to_string(&contents.slots).map_err(|error| StoreError::record(FOLDER, error))?;
    batch.text(SLOTS, [Some(slots.as_str())].into_iter());
    for (name, number) in [
        ("writes", appended.writes),
        ("log", appended.log),
        ("stamps", appended.stamps),
        ("lineage", appended.lineage),
        ("rejected", appended.rejected),
        ("duplicates", appended.duplicates),
    ] {
        batch.integer(name, [Some(count(number)?)].into_iter());
    }
    batch.finish(FOLDER)
}

/// What the last row says; nothing where there is none yet.
pub(super) async fn read_contents(table: &DeltaTable) -> Result<Contents, StoreError> {
    let version = table.version().unwrap_or_default();
    if version == 0 {
        return Ok(Contents::default());
    }
    let mut last = None;
    scan(FOLDER, table, Some(&[COMMIT]), None, |batch| {
        let numbers = ReadBatch { batch: &batch, table: FOLDER }.integer(COMMIT)?;
        last = last.max(arrow::compute::max(&numbers));
        Ok(())
    })
    .await?;
    let last = last.ok_or_else(|| StoreError::content(FOLDER, format!("version {version} has no row")))?;
    let mut contents = None;
    scan(FOLDER, table, None, Some(exact_column(COMMIT).eq(lit(last))), |batch| {
        if batch.num_rows() > 0 {
            contents = Some(contents_of_batch(&batch, version)?);
        }
        Ok(())
    })
    .await?;
    contents.ok_or_else(|| StoreError::content(FOLDER, format!("row {last} is missing")))
}

fn contents_of_batch(batch: &RecordBatch, commit: Version) -> Result<Contents, StoreError> {
    let read = ReadBatch { batch, table: FOLDER };
    let tables = read.text("tables")?;
    let tables: Vec<StoredTable> = serde_json::from_str(read.required(text_at(&tables, 0), "tables")?)
        .map_err(|error| StoreError::content(FOLDER, error))?;
    let next_position = read.required(integer_at(&read.integer("next_position")?, 0), "next_position")?;
    let mut contents = Contents { commit, next_position, ..Contents::default() };
    // The stores of earlier versions do not say.
    if batch.column_by_name(SLOTS).is_some()
        && let Some(slots) = text_at(&read.text(SLOTS)?, 0)
    {
        contents.slots = serde_json::from_str(slots).map_err(|error| StoreError::content(FOLDER, error))?;
    }
    for table in tables {
        if let Some((schema, name)) = table.writes {
            contents.tables.insert(TableName::new(schema, name), table.folder.clone());
        }
        contents.versions.insert(table.folder, table.version);
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::super::delta::{TableFolder, TableWriter};
    use super::super::{SlotPlace, Store};
    use super::*;

    #[tokio::test]
    async fn a_store_of_an_earlier_version_is_read_and_written_on() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let location = folder.path().to_string_lossy().into_owned();
        let contents = Contents { commit: 1, next_position: 5, ..Contents::default() };
        let batch = batch_of_commit(&contents, &Appended::default(), Timestamp::from_micros(0)).expect("a row");
        let known: Vec<usize> =
            (0..batch.num_columns()).filter(|place| batch.schema().field(*place).name() != SLOTS).collect();
        let batch = batch.project(&known).expect("the columns of then");
        let tables = TableFolder::new(&location).expect("a folder");
        let table = tables.for_writing(FOLDER, None, &batch.schema()).await.expect("a table");
        let mut writer = TableWriter::new(FOLDER, table).expect("a writer");
        writer.write(batch).await.expect("written");
        writer.commit().await.expect("committed");
        let mut store = Store::open(&location).await.expect("opened");
        assert_eq!((store.next_position(), store.gaps()), (5, &[][..]));
        let place = SlotPlace { position: 7, last_seq: 1 };
        let mut ingestion = store.begin();
        ingestion.note_slot("s", place, None);
        ingestion.finish(&[]).await.expect("finished");
        store.sync().await.expect("synced");
        let store = Store::open(&location).await.expect("opened again");
        assert_eq!(store.slot("s").await.expect("read"), Some(place));
    }
}
