//! One ingest: many recordings into many tables, seen whole or not at all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Schema;
use deltalake::DeltaTable;
use futures::StreamExt as _;

use super::batch::{ID, ReadBatch};
use super::commits::{self, Contents};
use super::delta::{TableWriter, scan, version_of};
use super::slots::{Gap, SlotPlace};
use super::{
    Source, Store, StoreError, compaction, lineage_table, log_table, rejected_table, sources_table, stamps_table,
    writes_table,
};
use crate::model::{
    LogEvent, RecordedStamp, RecordedWrite, Recording, RecordingId, RejectedLine, StatedLineage, TableName, Timestamp,
};

/// What an ingest holds in memory, and what it leaves on the disk.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// So many rows become a version of their table, so that they need no memory any more.
    rows_of_a_version: usize,
    /// So many identities of one table are held, 16 bytes and little more each; past that they are asked on disk, for
    /// many rows at once.
    held_identities: usize,
    /// So many bytes of rows wait at the most to be asked for.
    waiting_bytes: usize,
    /// So many small files of a table are put together.
    small_files: usize,
}

const BOUNDS: Bounds = Bounds {
    rows_of_a_version: 2_000_000,
    held_identities: 24_000_000,
    waiting_bytes: 512 << 20,
    small_files: compaction::TOO_MANY,
};

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
    /// A slot's place is to be noted.
    notes_slot: bool,
    bounds: Bounds,
}

struct OpenTable {
    writer: TableWriter,
    known: KnownIdentities,
    /// Rows that are in no version yet.
    pending: usize,
    waiting: WaitingRows,
}

/// Rows of which it is still to be asked whether they are stored.
#[derive(Default)]
struct WaitingRows {
    batches: Vec<WaitingBatch>,
    rows: usize,
    bytes: usize,
}

struct WaitingBatch {
    batch: RecordBatch,
    ids: Vec<RecordingId>,
    count: Count,
}

/// Where rows of a kind are counted.
type Count = fn(&mut Appended) -> &mut u64;

/// The identities of a table's rows, as far as they are in memory.
#[derive(Default)]
struct KnownIdentities {
    held: HashSet<RecordingId, BuildHasherDefault<IdentityHasher>>,
    /// Whether those that the table's versions hold are among them; else they are asked on disk.
    is_loaded: bool,
    /// Whether the table's versions hold too many for that.
    are_too_many: bool,
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
        Ingestion {
            store,
            contents,
            tables: BTreeMap::new(),
            appended: Appended::default(),
            all_is_new: false,
            notes_slot: false,
            bounds: BOUNDS,
        }
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

    /// Notes how far a slot is stored with this ingest, and which of its writes are lost.
    pub fn note_slot(&mut self, name: &str, place: SlotPlace, gap: Option<&str>) {
        self.notes_slot = true;
        self.contents.slots.places.insert(name.to_owned(), place);
        if let Some(text) = gap {
            // A place of its own: what is audited from here on knows of it.
            let noticed = self.next_position();
            self.contents.slots.gaps.push(Gap { noticed, text: text.to_owned() });
        }
    }

    /// Adds what of a recording is new. What is not known to be new or not is counted by [`Ingestion::settle`].
    ///
    /// # Errors
    /// A store that cannot be read or written, or a record that it cannot hold: the whole ingest is to be dropped then.
    pub async fn append(&mut self, recording: &Recording) -> Result<Appended, StoreError> {
        let mut appended = Appended::default();
        for (table, rows) in self.rows_by_table(&recording.writes) {
            let folder = writes_table::folder(table);
            self.contents.tables.entry(table.clone()).or_insert_with(|| folder.clone());
            let batch_of = |rows: &[(i64, &RecordedWrite)]| writes_table::batch_of_writes(&folder, rows);
            let identity = |write: &RecordedWrite| (write.id, write.ts);
            appended += self.append_rows(&folder, rows, |new| &mut new.writes, identity, batch_of).await?;
        }
        let log: Vec<(i64, &LogEvent)> = recording.log.iter().map(|event| (self.next_position(), event)).collect();
        let identity = |event: &LogEvent| (event.id, event.ts);
        let (folder, batch_of) = (log_table::FOLDER, log_table::batch_of_log);
        appended += self.append_rows(folder, log, |new| &mut new.log, identity, batch_of).await?;
        let stamps: Vec<(i64, &RecordedStamp)> =
            recording.stamps.iter().map(|stamp| (self.next_position(), stamp)).collect();
        let identity = |stamp: &RecordedStamp| (stamp.id, stamp.ts);
        let (folder, batch_of) = (stamps_table::FOLDER, stamps_table::batch_of_stamps);
        appended += self.append_rows(folder, stamps, |new| &mut new.stamps, identity, batch_of).await?;
        let lineage: Vec<(i64, &StatedLineage)> =
            recording.lineage.iter().map(|stated| (self.next_position(), stated)).collect();
        let identity = |stated: &StatedLineage| (stated.id, stated.ts);
        let (folder, batch_of) = (lineage_table::FOLDER, lineage_table::batch_of_lineage);
        appended += self.append_rows(folder, lineage, |new| &mut new.lineage, identity, batch_of).await?;
        let rejected: Vec<(i64, &RejectedLine)> =
            recording.rejected.iter().map(|line| (self.next_position(), line)).collect();
        let identity = |line: &RejectedLine| (line.id, Timestamp::from_micros(0));
        let (folder, batch_of) = (rejected_table::FOLDER, rejected_table::batch_of_rejected);
        appended += self.append_rows(folder, rejected, |new| &mut new.rejected, identity, batch_of).await?;
        self.appended += appended;
        Ok(appended)
    }

    /// Finds out of everything appended whether it is new; hands back what was not counted before.
    ///
    /// # Errors
    /// As [`Ingestion::append`].
    pub async fn settle(&mut self) -> Result<Appended, StoreError> {
        let mut appended = Appended::default();
        for (folder, table) in &mut self.tables {
            appended += table.look_up(folder).await?;
        }
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

    /// Writes those rows whose identity is new; returns how many those are, as far as that is known yet.
    async fn append_rows<'rows, Record>(
        &mut self,
        folder: &str,
        mut rows: Vec<(i64, &'rows Record)>,
        count: Count,
        identity: impl Fn(&Record) -> (RecordingId, Timestamp),
        batch_of: impl Fn(&[(i64, &'rows Record)]) -> Result<RecordBatch, StoreError>,
    ) -> Result<Appended, StoreError> {
        let mut appended = Appended::default();
        let given = rows.len();
        if rows.is_empty() {
            return Ok(appended);
        }
        let schema = batch_of(&[])?.schema();
        let (all_is_new, bounds) = (self.all_is_new, self.bounds);
        let table = self.open(folder, &schema).await?;
        if !all_is_new {
            table.load_identities(folder, bounds).await?;
            rows.retain(|(_, record)| table.known.held.insert(identity(record).0));
        }
        appended.duplicates = given.saturating_sub(rows.len()) as u64;
        if rows.is_empty() {
            return Ok(appended);
        }
        // Files whose rows are in time order have narrow statistics, which is what lets a reader skip them.
        rows.sort_by_key(|(position, record)| (identity(record).1, *position));
        let batch = batch_of(&rows)?;
        if all_is_new || table.known.is_loaded {
            *count(&mut appended) += rows.len() as u64;
            table.write(batch).await?;
        } else {
            let ids = rows.iter().map(|(_, record)| identity(record).0).collect();
            table.waiting.push(WaitingBatch { batch, ids, count });
            if table.waiting.rows >= bounds.rows_of_a_version || table.waiting.bytes >= bounds.waiting_bytes {
                appended += table.look_up(folder).await?;
            }
        }
        if table.pending >= bounds.rows_of_a_version {
            let forgets = table.known.held.len() >= bounds.held_identities;
            if forgets {
                // What is forgotten must be found on disk.
                appended += table.look_up(folder).await?;
            }
            table.writer.commit().await?;
            table.pending = 0;
            if forgets {
                table.known = KnownIdentities::default();
            }
        }
        Ok(appended)
    }

    async fn open(&mut self, folder: &str, schema: &Schema) -> Result<&mut OpenTable, StoreError> {
        if !self.tables.contains_key(folder) {
            let version = self.contents.versions.get(folder).copied();
            let table = self.store.tables().for_writing(folder, version, schema).await?;
            let table = OpenTable {
                writer: TableWriter::new(folder, table)?,
                known: KnownIdentities::default(),
                pending: 0,
                waiting: WaitingRows::default(),
            };
            self.tables.insert(folder.to_owned(), table);
        }
        self.tables.get_mut(folder).ok_or_else(|| StoreError::content(folder, "it was closed"))
    }

    /// Makes everything that was appended visible at once, and notes the inputs it came from.
    ///
    /// # Errors
    /// A store that cannot be written, or that somebody else wrote to: nothing is stored then.
    pub async fn finish(mut self, sources: &[Source]) -> Result<Appended, StoreError> {
        self.settle().await?;
        if self.appended.total() == 0 && sources.is_empty() && !self.notes_slot {
            return Ok(self.appended);
        }
        let rows: Vec<(i64, &Source)> = sources.iter().map(|source| (self.next_position(), source)).collect();
        if !rows.is_empty() {
            let batch = sources_table::batch_of_sources(&rows)?;
            self.open(sources_table::FOLDER, &batch.schema()).await?.writer.write(batch).await?;
        }
        for (folder, table) in &mut self.tables {
            table.writer.commit().await?;
            let table = compaction::compact(folder, table.writer.table().clone(), self.bounds.small_files).await?;
            self.contents.versions.insert(folder.clone(), version_of(folder, &table)?);
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
        let table = compaction::compact(commits::FOLDER, writer.table().clone(), self.bounds.small_files).await?;
        self.contents.commit = version_of(commits::FOLDER, &table)?;
        self.store.set_contents(self.contents);
        Ok(self.appended)
    }
}

impl WaitingRows {
    fn push(&mut self, batch: WaitingBatch) {
        self.rows += batch.batch.num_rows();
        self.bytes += batch.batch.get_array_memory_size();
        self.batches.push(batch);
    }
}

impl OpenTable {
    async fn write(&mut self, batch: RecordBatch) -> Result<(), StoreError> {
        self.pending += batch.num_rows();
        self.writer.write(batch).await
    }

    /// Loads the identities of every version, once, where there are not too many.
    async fn load_identities(&mut self, folder: &str, bounds: Bounds) -> Result<(), StoreError> {
        if self.known.is_loaded || self.known.are_too_many {
            return Ok(());
        }
        let table = self.writer.table();
        if table.version().unwrap_or_default() == 0 {
            self.known.is_loaded = true;
            return Ok(());
        }
        if stored_rows(folder, table).await? >= bounds.held_identities {
            self.known.are_too_many = true;
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

    /// Writes those of the waiting rows that no version of the table holds: one scan for all of them.
    async fn look_up(&mut self, folder: &str) -> Result<Appended, StoreError> {
        let mut appended = Appended::default();
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.rows == 0 {
            return Ok(appended);
        }
        let mut new: HashSet<RecordingId, BuildHasherDefault<IdentityHasher>> =
            waiting.batches.iter().flat_map(|waiting| &waiting.ids).copied().collect();
        scan(folder, self.writer.table(), Some(&[ID]), None, |batch| {
            for id in (ReadBatch { batch: &batch, table: folder }).identities()? {
                new.remove(&id);
            }
            Ok(())
        })
        .await?;
        for WaitingBatch { batch, ids, count } in waiting.batches {
            let is_new: BooleanArray = ids.iter().map(|id| Some(new.contains(id))).collect();
            let kept = filter_record_batch(&batch, &is_new).map_err(|error| StoreError::record(folder, error))?;
            *count(&mut appended) += kept.num_rows() as u64;
            appended.duplicates += batch.num_rows().saturating_sub(kept.num_rows()) as u64;
            if kept.num_rows() > 0 {
                self.write(kept).await?;
            }
        }
        Ok(appended)
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
    async fn identities_too_many_for_memory_are_looked_up_for_many_rows_at_once() {
        let (_folder, mut store) = empty_store().await;
        let writes: Vec<RecordedWrite> = (1..=9).map(|id| write(id, "orders", &[("id", Value::NULL)])).collect();
        store.append(&recording(writes[..3].to_vec())).await.expect("stored");
        let mut ingestion = store.begin();
        ingestion.bounds = Bounds { rows_of_a_version: 4, held_identities: 1, waiting_bytes: usize::MAX, ..BOUNDS };
        let mut append = async |places: std::ops::Range<usize>| {
            let appended = ingestion.append(&recording(writes[places].to_vec())).await.expect("appended");
            (appended.writes, appended.duplicates)
        };
        // What this ingest itself had is known at once; what the store had, once there are enough rows to ask for.
        assert_eq!(append(2..4).await, (0, 0));
        assert_eq!(append(3..5).await, (0, 1));
        assert_eq!(append(4..6).await, (3, 2));
        assert_eq!(append(1..8).await, (0, 4));
        let settled = ingestion.settle().await.expect("settled");
        assert_eq!((settled.writes, settled.duplicates), (2, 1));
        let appended = ingestion.finish(&[]).await.expect("finished");
        assert_eq!((appended.writes, appended.writes + appended.duplicates), (5, 13));
        assert_eq!(store.writes().await.expect("read"), writes[..8]);
    }

    #[tokio::test]
    async fn many_small_files_become_few_and_no_reader_notices() {
        let (_folder, mut store) = empty_store().await;
        let writes: Vec<RecordedWrite> = (1..=12).map(|id| write(id, "orders", &[("id", Value::NULL)])).collect();
        let mut early = None;
        for (place, write) in writes.iter().enumerate() {
            let mut ingestion = store.begin();
            ingestion.bounds.small_files = 5;
            ingestion.append(&recording(vec![write.clone()])).await.expect("appended");
            let position = u64::try_from(place).expect("a small number");
            ingestion.note_slot("s", SlotPlace { position, last_seq: 1 }, None);
            ingestion.finish(&[]).await.expect("finished");
            store.sync().await.expect("synced");
            let opened = reopened(&store).await;
            assert_eq!(opened.writes().await.expect("read"), writes[..=place]);
            assert_eq!(opened.slot("s").await.expect("read").map(|slot| slot.position), Some(position));
            if place == 3 {
                early = Some(opened);
            }
        }
        let early = early.expect("it was opened on the way");
        assert_eq!(early.writes().await.expect("read"), writes[..4], "who reads an older version still can");
        let folder = writes_table::folder(&TableName::new("public", "orders"));
        for name in [folder.as_str(), commits::FOLDER] {
            let table = store.tables().newest(name).await.expect("opened").expect("a table");
            assert!(table.get_file_uris().expect("files").count() <= 5, "{name}");
        }
        // Written on by a store that was opened before files were put together: refused, as after any other ingest.
        let mut late = early;
        let refused = late.append(&recording(vec![write(99, "orders", &[("id", Value::NULL)])])).await;
        assert!(matches!(refused, Err(StoreError::Busy { .. } | StoreError::Table { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn the_last_commit_says_how_far_slots_are_stored_and_what_is_lost() {
        let (_folder, mut store) = empty_store().await;
        store.append(&recording(vec![write(1, "orders", &[("id", Value::NULL)])])).await.expect("stored");
        assert_eq!(store.slot("s").await.expect("read"), None);
        let place = |position| SlotPlace { position, last_seq: u64::MAX };
        for (position, gap) in [(7, None), (u64::MAX, Some("lost"))] {
            let mut ingestion = store.begin();
            ingestion.note_slot("s", place(position), gap);
            ingestion.finish(&[]).await.expect("finished");
        }
        store.append(&recording(vec![write(2, "orders", &[("id", Value::NULL)])])).await.expect("stored");
        store.sync().await.expect("synced");
        let store = reopened(&store).await;
        assert_eq!(store.slot("s").await.expect("read"), Some(place(u64::MAX)));
        assert_eq!(store.gaps(), [Gap { noticed: 1, text: "lost".to_owned() }]);
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
