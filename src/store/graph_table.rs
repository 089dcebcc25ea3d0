//! `graph`: the lineage graph's counts, as they were kept last. Each row stands for itself: the newest counts.
//!
//! What it counts is said by the place in the order of arrival up to which it goes, so that it does not go by `commits`.

use arrow::array::RecordBatch;
use datafusion::prelude::lit;

use super::batch::{BatchBuilder, ReadBatch, integer_at, text_at, time_at};
use super::delta::{TableWriter, exact_column, scan};
use super::{Store, StoreError};
use crate::model::Timestamp;

/// The table's folder within the store.
const FOLDER: &str = "graph";
const AT: &str = "at";
const THROUGH: &str = "through";
const FINGERPRINT: &str = "fingerprint";

/// The counts of a lineage graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptGraph {
    /// When they were kept.
    pub at: Timestamp,
    /// What they were counted by, beside the records: by other settings and other tables, the counts are others.
    pub fingerprint: String,
    /// The place in the order of arrival before which every record is counted.
    pub through: i64,
    /// Which of the records are settled, as the lineage writes it.
    pub settled: String,
    /// What those count for.
    pub executions: String,
    /// What the others count for.
    pub open_executions: String,
}

impl Store {
    /// The newest counts with this fingerprint that go no further than the store does.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn kept_graph(&self, fingerprint: &str) -> Result<Option<KeptGraph>, StoreError> {
        let Some(table) = self.tables().newest(FOLDER).await? else { return Ok(None) };
        let mut newest: Option<(i64, Timestamp)> = None;
        scan(FOLDER, &table, Some(&[AT, THROUGH, FINGERPRINT]), None, |batch| {
            let read = ReadBatch { batch: &batch, table: FOLDER };
            let (times, places, fingerprints) = (read.time(AT)?, read.integer(THROUGH)?, read.text(FINGERPRINT)?);
            for row in 0..batch.num_rows() {
                let through = read.required(integer_at(&places, row), THROUGH)?;
                if text_at(&fingerprints, row) == Some(fingerprint) && through <= self.next_position() {
                    newest = newest.max(Some((through, read.required(time_at(&times, row), AT)?)));
                }
            }
            Ok(())
        })
        .await?;
        let Some((through, at)) = newest else { return Ok(None) };
        let mut kept = None;
        scan(FOLDER, &table, None, Some(exact_column(THROUGH).eq(lit(through))), |batch| {
            let found = graphs_of_batch(&batch)?.into_iter();
            kept = found.chain(kept.take()).find(|one| one.at == at && one.fingerprint == fingerprint);
            Ok(())
        })
        .await?;
        Ok(kept)
    }

    /// Keeps counts, whoever else writes to the store.
    ///
    /// # Errors
    /// A store that cannot be written: nothing is kept then.
    pub async fn keep_graph(&self, graph: &KeptGraph) -> Result<(), StoreError> {
        let batch = batch_of_graph(graph)?;
        let table = match self.tables().newest(FOLDER).await? {
            Some(table) => table,
            None => self.tables().for_writing(FOLDER, None, &batch.schema()).await?,
        };
        let mut writer = TableWriter::new(FOLDER, table)?.beside_others();
        writer.write(batch).await?;
        writer.commit().await.map(|_| ())
    }
}

fn batch_of_graph(graph: &KeptGraph) -> Result<RecordBatch, StoreError> {
    let mut batch = BatchBuilder::default();
    batch.time(AT, std::iter::once(Some(graph.at)));
    batch.integer(THROUGH, std::iter::once(Some(graph.through)));
    batch.text(FINGERPRINT, std::iter::once(Some(graph.fingerprint.as_str())));
    batch.text("settled", std::iter::once(Some(graph.settled.as_str())));
    batch.text("executions", std::iter::once(Some(graph.executions.as_str())));
    batch.text("open_executions", std::iter::once(Some(graph.open_executions.as_str())));
    batch.finish(FOLDER)
}

fn graphs_of_batch(batch: &RecordBatch) -> Result<Vec<KeptGraph>, StoreError> {
    let read = ReadBatch { batch, table: FOLDER };
    let (times, places, fingerprints) = (read.time(AT)?, read.integer(THROUGH)?, read.text(FINGERPRINT)?);
    let names = ["settled", "executions", "open_executions"];
    let [settled, executions, open] = names.map(|name| read.text(name));
    let (settled, executions, open) = (settled?, executions?, open?);
    let graph = |row: usize| {
        let text = |column, name| read.required(text_at(column, row).map(str::to_owned), name);
        Ok(KeptGraph {
            at: read.required(time_at(&times, row), AT)?,
            fingerprint: text(&fingerprints, FINGERPRINT)?,
            through: read.required(integer_at(&places, row), THROUGH)?,
            settled: text(&settled, "settled")?,
            executions: text(&executions, "executions")?,
            open_executions: text(&open, "open_executions")?,
        })
    };
    (0..batch.num_rows()).map(graph).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_that_was_counted_so_is_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(&folder.path().to_string_lossy()).await.expect("opened");
        assert_eq!(store.kept_graph("a").await.expect("read"), None);
        let graph = |at, fingerprint: &str, through| KeptGraph {
            at: Timestamp::from_micros(at),
            fingerprint: fingerprint.to_owned(),
            through,
            settled: format!("settled {at}"),
            executions: "[]".to_owned(),
            open_executions: "{}".to_owned(),
        };
        let kept = [graph(5, "a", 0), graph(7, "a", 0), graph(6, "a", 0), graph(8, "b", 0), graph(9, "a", 1)];
        for graph in &kept {
            store.keep_graph(graph).await.expect("kept");
        }
        assert_eq!(store.kept_graph("a").await.expect("read"), Some(kept[1].clone()), "the store has no place 1 yet");
        assert_eq!(store.kept_graph("b").await.expect("read"), Some(kept[3].clone()));
        assert_eq!(store.kept_graph("c").await.expect("read"), None);
    }
}
