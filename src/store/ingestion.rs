//! One ingest: many recordings into many tables, seen whole or not at all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use deltalake::DeltaTable;
use futures::StreamExt as _;

use super::batch::{ID, ReadBatch};
use super::commits::{self, Contents};
use super::delta::{TableWriter, scan};
use super::{
    Source, Store, StoreError, lineage_table, log_table, rejected_table, sources_table, stamps_table, writes_table,
};
use crate::model::{
    LogEvent, RecordedStamp, RecordedWrite, Recording, RecordingId, RejectedLine, StatedLineage, TableName, Timestamp,
};

/// So many rows become a version of their table, so that they need no memory any more.
const ROWS_OF_A_VERSION: usize = 2_000_000;

/// So many identities of one table are held in memory, 16 bytes and little more each; past that they are asked on disk.
const MOST_HELD_IDENTITIES: usize = 24_000_000;

/// How much of what was given is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Write events that were not stored before.
    pub writes: u64,
    /// Log events that were not stored before.
    pub log: u64,
    /// Stamps of transactions that were not stored before.
    pub stamps: u64,
    /// What other tools state that was not stored before.
    pub lineage: u64,
    /// Rejected lines that were not stored before.
    pub rejected: u64,
    /// Records of any kind that were stored before, or came twice.
    pub duplicates: u64,
}

/// An ingest under way. Nothing of it is seen by anyone before [`Ingestion::finish`]; dropped, it leaves nothing.
pub struct Ingestion<'store> {
    store: &'store mut Store,
    contents: Contents,
    tables: BTreeMap<String, OpenTable>,
    appended: Appended,
    /// Nothing of what is appended is in the store.
    all_is_new: bool,
}

struct OpenTable {
    writer: TableWriter,
    known: KnownIdentities,
    /// Rows that are in no version yet.
    pending: usize,
}

/// The identities of a table's rows, as far as they are in memory.
#[derive(Default)]
struct KnownIdentities {
    held: HashSet<RecordingId, BuildHasherDefault<IdentityHasher>>,
    /// Whether those that the table's versions hold are among them; else they are asked on disk.
    is_loaded: bool,
}

/// An identity is a hash already: its first half is as good as any hash of it.
#[derive(Default)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn write(&mut self, bytes: &[u8]) {
        for half in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(half).for_each(|(word, byte)| *word = *byte);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Appended {
    /// How many records of any kind are new.
    pub fn total(&self) -> u64 {
        self.writes + self.log + self.stamps + self.lineage + self.rejected
    }
}

impl std::ops::AddAssign for Appended {
    fn add_assign(&mut self, other: Appended) {
        self.writes += other.writes;
        self.log += other.log;
        self.stamps += other.stamps;
        self.lineage += other.lineage;
        self.rejected += other.rejected;
        self.duplicates += other.duplicates;
    }
}

impl<'store> Ingestion<'store> {
    pub(super) fn new(store: &'store mut Store, contents: Contents) -> Self {
        Ingestion { store, contents, tables: BTreeMap::new(), appended: Appended::default(), all_is_new: false }
    }

    /// Adds a recording of which nothing is in the store: of a source that knows its own place, so that no identity has
    /// to be looked up. To be used for a whole ingest, or not at all.
    ///
    /// # Errors
    /// As [`Ingestion::append`].
    pub async fn append_new(&mut self, recording: &Recording) -> Result<Appended, StoreError> {
        self.all_is_new = true;
        self.append(recording).await
    }

    /// Adds what of a recording is new.
    ///
    /// # Errors
    /// A store that cannot be read or written, or a record that it cannot hold: the whole ingest is to be dropped then.
    pub async fn append(&mut self, recording: &Recording) -> Result<Appended, StoreError> {
        let mut appended = Appended::default();
        for (table, rows) in self.rows_by_table(&recording.writes) {
            let folder = writes_table::folder(table);
            self.contents.tables.entry(table.clone()).or_insert_with(|| folder.clone());
            let batch_of = |rows: &[(i64, &RecordedWrite)]| writes_table::batch_of_writes(&folder, rows);
            appended.writes += self.append_rows(&folder, rows, |write| (write.id, write.ts), batch_of).await?;
        }
        let log: Vec<(i64, &LogEvent)> = recording.log.iter().map(|event| (self.next_position(), event)).collect();
        appended.log +=
            self.append_rows(log_table::FOLDER, log, |event| (event.id, event.ts), log_table::batch_of_log).await?;
        let stamps: Vec<(i64, &RecordedStamp)> =
            recording.stamps.iter().map(|stamp| (self.next_position(), stamp)).collect();
        let identity = |stamp: &RecordedStamp| (stamp.id, stamp.ts);
        appended.stamps +=
            self.append_rows(stamps_table::FOLDER, stamps, identity, stamps_table::batch_of_stamps).await?;
        let lineage: Vec<(i64, &StatedLineage)> =
            recording.lineage.iter().map(|stated| (self.next_position(), stated)).collect();
        let stated_identity = |stated: &StatedLineage| (stated.id, stated.ts);
        appended.lineage +=
            self.append_rows(lineage_table::FOLDER, lineage, stated_identity, lineage_table::batch_of_lineage).await?;
        let rejected: Vec<(i64, &RejectedLine)> =
            recording.rejected.iter().map(|line| (self.next_position(), line)).collect();
        let identity = |line: &RejectedLine| (line.id, Timestamp::from_micros(0));
        appended.rejected +=
            self.append_rows(rejected_table::FOLDER, rejected, identity, rejected_table::batch_of_rejected).await?;
        let Recording { writes, log, stamps, lineage, rejected } = recording;
        let given = writes.len() + log.len() + stamps.len() + lineage.len() + rejected.len();
        let new = appended.total();
        appended.duplicates = (given as u64).saturating_sub(new);
        self.appended += appended;
        Ok(appended)
    }

    /// The writes of each table with their places in the order of arrival, by the tables' names.
    fn rows_by_table<'rows>(
        &mut self,
        writes: &'rows [RecordedWrite],
    ) -> Vec<(&'rows TableName, Vec<(i64, &'rows RecordedWrite)>)> {
        let mut places: HashMap<&TableName, usize> = HashMap::new();
        let mut by_table: Vec<(&TableName, Vec<(i64, &RecordedWrite)>)> = Vec::new();
        let mut last = None;
        for write in writes {
            let row = (self.next_position(), write);
            // Neighbours are mostly of one table.
            let is_last = |place: &usize| by_table.get(*place).is_some_and(|(table, _)| **table == write.table);
            let place = last.filter(is_last).unwrap_or_else(|| *places.entry(&write.table).or_insert(by_table.len()));
            last = Some(place);
            match by_table.get_mut(place) {
                Some((_, rows)) => rows.push(row),
                None => by_table.push((&write.table, vec![row])),
            }
        }
        by_table.sort_by_key(|(table, _)| *table);
        by_table
    }

    fn next_position(&mut self) -> i64 {
        let position = self.contents.next_position;
        self.contents.next_position += 1;
        position
    }

    /// Writes those rows whose identity is new; returns how many those are.
    async fn append_rows<'rows, Record>(
        &mut self,
        folder: &str,
        mut rows: Vec<(i64, &'rows Record)>,
        identity: impl Fn(&Record) -> (RecordingId, Timestamp),
        batch_of: impl Fn(&[(i64, &'rows Record)]) -> Result<RecordBatch, StoreError>,
    ) -> Result<u64, StoreError> {
        if rows.is_empty() {
            return Ok(0);
        }
        let schema = batch_of(&[])?.schema();
        let all_is_new = self.all_is_new;
        let table = self.open(folder, &schema).await?;
        if !all_is_new {
            table.load_identities(folder).await?;
            rows.retain(|(_, record)| table.known.held.insert(identity(record).0));
            table.remove_stored(folder, &mut rows, |record| identity(record).0).await?;
        }
        if rows.is_empty() {
            return Ok(0);
        }
        // Files whose rows are in time order have narrow statistics, which is what lets a reader skip them.
        rows.sort_by_key(|(position, record)| (identity(record).1, *position));
        table.writer.write(batch_of(&rows)?).await?;
        table.pending += rows.len();
        if table.pending >= ROWS_OF_A_VERSION {
            table.writer.commit().await?;
            table.pending = 0;
            if table.known.held.len() >= MOST_HELD_IDENTITIES {
                table.known = KnownIdentities::default();
            }
        }
        Ok(rows.len() as u64)
    }

    async fn open(&mut self, folder: &str, schema: &Schema) -> Result<&mut OpenTable, StoreError> {
        if !self.tables.contains_key(folder) {
            let version = self.contents.versions.get(folder).copied();
            let table = self.store.tables().for_writing(folder, version, schema).await?;
            let table =
                OpenTable { writer: TableWriter::new(folder, table)?, known: KnownIdentities::default(), pending: 0 };
            self.tables.insert(folder.to_owned(), table);
        }
        self.tables.get_mut(folder).ok_or_else(|| StoreError::content(folder, "it was closed"))
    }

    /// Makes everything that was appended visible at once, and notes the inputs it came from.
    ///
    /// # Errors
    /// A store that cannot be written, or that somebody else wrote to: nothing is stored then.
    pub async fn finish(mut self, sources: &[Source]) -> Result<Appended, StoreError> {
        let rows: Vec<(i64, &Source)> = sources.iter().map(|source| (self.next_position(), source)).collect();
        if !rows.is_empty() {
            let batch = sources_table::batch_of_sources(&rows)?;
            self.open(sources_table::FOLDER, &batch.schema()).await?.writer.write(batch).await?;
        }
        for (folder, table) in &mut self.tables {
            let version = table.writer.commit().await?;
            self.contents.versions.insert(folder.clone(), version);
        }
        if self.appended.total() == 0 && sources.is_empty() {
            return Ok(self.appended);
        }
        let last = self.contents.commit;
        self.contents.commit += 1;
        let batch = commits::batch_of_commit(&self.contents, &self.appended, now())?;
        let table = self.store.tables().newest(commits::FOLDER).await?;
        let table = match table {
            Some(table) if table.version() == Some(last) => table,
            None if last == 0 => self.store.tables().for_writing(commits::FOLDER, None, &batch.schema()).await?,
            _ => return Err(StoreError::Busy { table: commits::FOLDER.to_owned() }),
        };
        let mut writer = TableWriter::new(commits::FOLDER, table)?;
        writer.write(batch).await?;
        if writer.commit().await? != self.contents.commit {
            return Err(StoreError::Busy { table: commits::FOLDER.to_owned() });
        }
        self.store.set_contents(self.contents);
        Ok(self.appended)
    }
}

impl OpenTable {
    /// Loads the identities of every version, once, where there are not too many.
    async fn load_identities(&mut self, folder: &str) -> Result<(), StoreError> {
        if self.known.is_loaded {
            return Ok(());
        }
        let table = self.writer.table();
        if table.version().unwrap_or_default() == 0 {
            self.known.is_loaded = true;
            return Ok(());
        }
        if stored_rows(folder, table).await? >= MOST_HELD_IDENTITIES {
            return Ok(());
        }
        let held = &mut self.known.held;
        scan(folder, table, Some(&[ID]), None, |batch| {
            held.extend(ReadBatch { batch: &batch, table: folder }.identities()?);
            Ok(())
        })
        .await?;
        self.known.is_loaded = true;
        Ok(())
    }

    /// Takes those rows out that a version of the table holds, where that is not known from memory.
    async fn remove_stored<Record>(
        &self,
        folder: &str,
        rows: &mut Vec<(i64, &Record)>,
        identity: impl Fn(&Record) -> RecordingId,
    ) -> Result<(), StoreError> {
        if self.known.is_loaded || rows.is_empty() {
            return Ok(());
        }
        let mut new: HashSet<RecordingId> = rows.iter().map(|(_, record)| identity(record)).collect();
        scan(folder, self.writer.table(), Some(&[ID]), None, |batch| {
            for id in (ReadBatch { batch: &batch, table: folder }).identities()? {
                new.remove(&id);
            }
            Ok(())
        })
        .await?;
        rows.retain(|(_, record)| new.contains(&identity(record)));
        Ok(())
    }
}

/// How many rows a table has, by the statistics of its files.
async fn stored_rows(folder: &str, table: &DeltaTable) -> Result<usize, StoreError> {
    let failed = |error| StoreError::delta("read the statistics of", folder, error);
    let mut rows = 0_usize;
    let mut files = table.snapshot().map_err(failed)?.snapshot().file_views(table.log_store().as_ref(), None);
    while let Some(file) = files.next().await {
        // A file whose rows are not counted may have any number.
        rows = rows.saturating_add(file.map_err(failed)?.num_records().unwrap_or(usize::MAX));
    }
    Ok(rows)
}

fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Operation, Row, Value};

    fn write(id: u8, table: &str, cells: &[(&str, Value)]) -> RecordedWrite {
        RecordedWrite {
            id: RecordingId([id; 16]),
            seq: Some(u64::from(id)),
            ts: Timestamp::from_micros(1_000_000 + i64::from(id)),
            table: TableName::new("public", table),
            operation: Operation::Insert,
            key: Row::new(),
            before: None,
            after: Some(cells.iter().map(|(column, value)| ((*column).into(), value.clone())).collect()),
            reads: Vec::new(),
            transaction: None,
            session: None,
            trace: None,
            release: None,
            service: None,
            statement: None,
            parameters: Vec::new(),
        }
    }

    fn recording(writes: Vec<RecordedWrite>) -> Recording {
        Recording { writes, ..Recording::default() }
    }

    async fn empty_store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(&folder.path().to_string_lossy()).await.expect("opened");
        (folder, store)
    }

    async fn reopened(store: &Store) -> Store {
        Store::open(store.location()).await.expect("opened again")
    }

    #[tokio::test]
    async fn what_comes_twice_is_stored_once() {
        let (_folder, mut store) = empty_store().await;
        assert!(store.is_empty());
        let first = write(1, "orders", &[("id", Value::text("1"))]);
        let second = write(2, "orders", &[("id", Value::text("2")), ("Odd Name", Value::NULL)]);
        let appended = store.append(&recording(vec![first.clone(), first.clone()])).await.expect("stored");
        assert_eq!(appended, Appended { writes: 1, duplicates: 1, ..Appended::default() });
        let appended = store.append(&recording(vec![first.clone(), second.clone()])).await.expect("stored");
        assert_eq!(appended, Appended { writes: 1, duplicates: 1, ..Appended::default() });
        assert_eq!(store.writes().await.expect("read"), [first.clone(), second.clone()]);
        assert_eq!(reopened(&store).await.writes().await.expect("read"), [first, second]);
    }

    #[tokio::test]
    async fn within_one_ingest_too() {
        let (_folder, mut store) = empty_store().await;
        let first = write(1, "orders", &[("id", Value::text("1"))]);
        let mut ingestion = store.begin();
        for _ in 0..2 {
            ingestion.append(&recording(vec![first.clone()])).await.expect("appended");
        }
        // As when more identities came than are held in memory.
        for table in ingestion.tables.values_mut() {
            table.writer.commit().await.expect("committed");
            table.known = KnownIdentities::default();
        }
        ingestion.append(&recording(vec![first.clone()])).await.expect("appended");
        let appended = ingestion.finish(&[]).await.expect("finished");
        assert_eq!(appended, Appended { writes: 1, duplicates: 2, ..Appended::default() });
        assert_eq!(store.writes().await.expect("read"), [first]);
    }

    #[tokio::test]
    async fn an_ingest_that_is_cut_off_leaves_nothing() {
        let (_folder, mut store) = empty_store().await;
        let kept = write(1, "orders", &[("id", Value::text("1"))]);
        store.append(&recording(vec![kept.clone()])).await.expect("stored");

        let lost = [write(2, "orders", &[("lost", Value::NULL)]), write(3, "lines", &[("lost", Value::NULL)])];
        let mut ingestion = store.begin();
        ingestion.append(&recording(lost.to_vec())).await.expect("appended");
        for table in ingestion.tables.values_mut() {
            table.writer.commit().await.expect("committed");
        }
        drop(ingestion);
        assert_eq!(store.writes().await.expect("read"), std::slice::from_ref(&kept));

        let mut store = reopened(&store).await;
        assert_eq!(store.writes().await.expect("read"), std::slice::from_ref(&kept));
        let again = lost[1].clone();
        let appended = store.append(&recording(vec![again.clone()])).await.expect("stored");
        assert_eq!(appended.writes, 1, "what was cut off is new");
        let later = write(4, "orders", &[("id", Value::text("4"))]);
        store.append(&recording(vec![later.clone()])).await.expect("stored");
        assert_eq!(reopened(&store).await.writes().await.expect("read"), [kept, again, later]);
    }

    #[tokio::test]
    async fn of_two_ingests_at_once_one_is_stored_whole_and_one_not_at_all() {
        let (_folder, mut store) = empty_store().await;
        store.append(&recording(vec![write(1, "orders", &[("id", Value::text("1"))])])).await.expect("stored");
        let mut other = reopened(&store).await;
        let mut first = store.begin();
        let mut second = other.begin();
        first.append(&recording(vec![write(2, "orders", &[("id", Value::text("2"))])])).await.expect("appended");
        second.append(&recording(vec![write(3, "orders", &[("id", Value::text("3"))])])).await.expect("appended");
        first.finish(&[]).await.expect("the first to finish wins");
        let error = second.finish(&[]).await.expect_err("the second lost");
        assert!(matches!(error, StoreError::Busy { .. }), "{error}");
        let stored = reopened(&other).await.writes().await.expect("read");
        assert_eq!(stored.iter().map(|write| write.seq).collect::<Vec<_>>(), [Some(1), Some(2)]);
    }
}
