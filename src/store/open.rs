//! The store itself: opened, read, appended to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::prelude::lit;

use super::StoreError;
use super::audits_table;
use super::batch::POSITION;
use super::commits::{self, Contents};
use super::delta::{TableFolder, TableWriter, Version, exact_column, scan};
use super::durable::{self, NewVersions};
use super::ingestion::{Appended, Ingestion};
use super::lineage_table::{self, lineage_of_batch};
use super::log_table::{self, complete, log_of_batch};
use super::order::in_contract_order;
use super::rejected_table::{self, rejected_of_batch};
use super::slots::{Gap, SlotPlace};
use super::sources_table::{self, KnownSources, sources_of_batch};
use super::stamps_table::{self, stamps_of_batch};
use super::writes_table::{Texts, writes_of_batch};
use crate::model::{
    AuditStart, AuditedRule, LogEvent, RecordedStamp, RecordedWrite, Recording, RejectedLine, StatedLineage, TableName,
    Timestamp,
};

/// A store, as of the last ingest that was finished when it was opened (or that it finished itself).
#[derive(Debug)]
pub struct Store {
    tables: TableFolder,
    contents: Contents,
    /// The version after which each table may not be on the disk; `None`: none of it.
    unsynced: BTreeMap<String, Option<Version>>,
    /// The uppermost folder that was made for it; of a store that is no folder, nothing.
    first_made: Option<PathBuf>,
}

impl Store {
    /// Opens the store at a folder, which is made where it is missing, or at the URL of an object store.
    ///
    /// # Errors
    /// A place where no store can be, or one that cannot be read.
    pub async fn open(location: &str) -> Result<Self, StoreError> {
        let first_made = (!location.contains("://")).then(|| durable::first_to_be_made(Path::new(location)));
        let first_made = first_made
            .transpose()
            .map_err(|error| StoreError::Open { location: location.to_owned(), reason: error.to_string() })?;
        let tables = TableFolder::new(location)?;
        let contents = match tables.newest(commits::FOLDER).await? {
            Some(table) => commits::read_contents(&table).await?,
            None => Contents::default(),
        };
        Ok(Store { tables, contents, unsynced: BTreeMap::new(), first_made })
    }

    /// Where it is.
    pub fn location(&self) -> &str {
        self.tables.location()
    }

    /// Whether nothing was ever stored in it.
    pub fn is_empty(&self) -> bool {
        self.contents.versions.is_empty()
    }

    /// The tables whose writes it holds.
    pub fn written_tables(&self) -> impl Iterator<Item = &TableName> {
        self.contents.tables.keys()
    }

    /// Every write event, in the order of the contract: by `seq`; without it by time, then as they came.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn writes(&self) -> Result<Vec<RecordedWrite>, StoreError> {
        let mut writes = Vec::new();
        let mut texts = Texts::default();
        for (table, folder) in &self.contents.tables {
            self.scan(folder, |batch| {
                writes.extend(writes_of_batch(folder, table, &batch, &mut texts)?);
                Ok(())
            })
            .await?;
        }
        Ok(in_contract_order(writes).into_iter().map(|(_, write)| write).collect())
    }

    /// Every log event, each execution once, in the order they came.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn log(&self) -> Result<Vec<LogEvent>, StoreError> {
        let mut events = Vec::new();
        let mut texts = Texts::default();
        self.scan(log_table::FOLDER, |batch| {
            events.extend(log_of_batch(&batch, &mut texts)?);
            Ok(())
        })
        .await?;
        Ok(complete(events))
    }

    /// Every stamp of a transaction, in the order they came.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn stamps(&self) -> Result<Vec<RecordedStamp>, StoreError> {
        let mut stamps = Vec::new();
        let mut texts = Texts::default();
        self.scan(stamps_table::FOLDER, |batch| {
            stamps.extend(stamps_of_batch(&batch, &mut texts)?);
            Ok(())
        })
        .await?;
        stamps.sort_by_key(|(position, _)| *position);
        Ok(stamps.into_iter().map(|(_, stamp)| stamp).collect())
    }

    /// What other tools state of what they read and wrote, in the order it came.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn lineage(&self) -> Result<Vec<StatedLineage>, StoreError> {
        let mut stated = Vec::new();
        self.scan(lineage_table::FOLDER, |batch| {
            stated.extend(lineage_of_batch(&batch)?);
            Ok(())
        })
        .await?;
        stated.sort_by_key(|(position, _)| *position);
        Ok(stated.into_iter().map(|(_, stated)| stated).collect())
    }

    /// Every line that could not be read, in the order they came.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn rejected(&self) -> Result<Vec<RejectedLine>, StoreError> {
        let mut lines = Vec::new();
        self.scan(rejected_table::FOLDER, |batch| {
            lines.extend(rejected_of_batch(&batch)?);
            Ok(())
        })
        .await?;
        lines.sort_by_key(|(position, _)| *position);
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    /// The inputs that were read, each as it was the last time.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn sources(&self) -> Result<KnownSources, StoreError> {
        let mut known = KnownSources::default();
        self.scan(sources_table::FOLDER, |batch| sources_of_batch(&batch, &mut known)).await?;
        Ok(known)
    }

    /// The place up to which a slot is stored; `None` where nothing of it is.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn slot(&self, name: &str) -> Result<Option<SlotPlace>, StoreError> {
        if let Some(place) = self.contents.slots.places.get(name) {
            return Ok(Some(*place));
        }
        // Earlier versions kept it among the inputs.
        let sources = self.sources().await?;
        Ok(sources.get(name).map(|source| SlotPlace { position: source.bytes, last_seq: source.lines }))
    }

    /// Writes that are known to be missing, in the order that was noticed.
    pub fn gaps(&self) -> &[Gap] {
        &self.contents.slots.gaps
    }

    /// The place that the next record will have in the order of arrival.
    pub fn next_position(&self) -> i64 {
        self.contents.next_position
    }

    /// The write events that came at or after a place in the order of arrival, in no order.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn writes_from(&self, position: i64) -> Result<Vec<RecordedWrite>, StoreError> {
        let mut writes = Vec::new();
        let mut texts = Texts::default();
        for (table, folder) in &self.contents.tables {
            let Some(version) = self.contents.versions.get(folder) else { continue };
            let stored = self.tables.at(folder, *version).await?;
            let later = exact_column(POSITION).gt_eq(lit(position));
            scan(folder, &stored, None, Some(later), |batch| {
                writes.extend(writes_of_batch(folder, table, &batch, &mut texts)?.into_iter().map(|(_, write)| write));
                Ok(())
            })
            .await?;
        }
        Ok(writes)
    }

    /// How every rule came out in every audit, in the order they were kept, those kept since the store was opened
    /// included.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn audits(&self) -> Result<Vec<AuditedRule>, StoreError> {
        let Some(table) = self.tables.newest(audits_table::FOLDER).await? else { return Ok(Vec::new()) };
        let mut audits = Vec::new();
        scan(audits_table::FOLDER, &table, Some(&audits_table::RESULT), None, |batch| {
            audits.extend(audits_table::results_of_batch(&batch)?);
            Ok(())
        })
        .await?;
        audits.sort_by_key(|(position, audited)| (audited.at, *position));
        Ok(audits.into_iter().map(|(_, audited)| audited).collect())
    }

    /// What the last audit of each of these rules left to start from; a rule that no audit had is not among them.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn audit_starts(
        &self,
        rules: impl IntoIterator<Item = Arc<str>>,
    ) -> Result<BTreeMap<Arc<str>, AuditStart>, StoreError> {
        let Some(table) = self.tables.newest(audits_table::FOLDER).await? else { return Ok(BTreeMap::new()) };
        let mut last: BTreeMap<Arc<str>, Option<Timestamp>> = rules.into_iter().map(|rule| (rule, None)).collect();
        scan(audits_table::FOLDER, &table, Some(&audits_table::NAME), None, |batch| {
            audits_table::note_last(&batch, &mut last)
        })
        .await?;
        let Some(earliest) = last.values().flatten().min() else { return Ok(BTreeMap::new()) };
        // The statistics of the files are cut to milliseconds: by them, a later moment would leave out too much.
        let from = earliest.as_micros() - earliest.as_micros().rem_euclid(1_000);
        let from = lit(ScalarValue::TimestampMicrosecond(Some(from), Some("UTC".into())));
        let mut starts = BTreeMap::new();
        let later = exact_column(audits_table::AT).gt_eq(from);
        scan(audits_table::FOLDER, &table, Some(&audits_table::START), Some(later), |batch| {
            starts.extend(audits_table::starts_of_batch(&batch, &last)?);
            Ok(())
        })
        .await?;
        Ok(starts)
    }

    /// Keeps how the rules came out in one audit, whoever else writes to the store.
    ///
    /// # Errors
    /// A store that cannot be written: nothing is kept then.
    pub async fn keep_audit(&self, rules: &[(AuditedRule, AuditStart)]) -> Result<(), StoreError> {
        if rules.is_empty() {
            return Ok(());
        }
        let batch = audits_table::batch_of_audit(rules)?;
        let table = match self.tables.newest(audits_table::FOLDER).await? {
            Some(table) => table,
            None => self.tables.for_writing(audits_table::FOLDER, None, &batch.schema()).await?,
        };
        let mut writer = TableWriter::new(audits_table::FOLDER, table)?.beside_others();
        writer.write(batch).await?;
        writer.commit().await.map(|_| ())
    }

    /// Begins an ingest. One at a time writes to a store: of two that overlap, one fails as a whole.
    pub fn begin(&mut self) -> Ingestion<'_> {
        let contents = self.contents.clone();
        Ingestion::new(self, contents)
    }

    /// Stores what of one recording is new, as an ingest of its own.
    ///
    /// # Errors
    /// A store that cannot be written; nothing is stored then.
    pub async fn append(&mut self, recording: &Recording) -> Result<Appended, StoreError> {
        let mut ingestion = self.begin();
        ingestion.append(recording).await?;
        ingestion.finish(&[]).await
    }

    /// Forces what this store's ingests stored to the disk, where the store is a folder: a source that then throws its own
    /// copy away must be able to rely on it. An object store has it once it says so.
    ///
    /// # Errors
    /// A disk that refuses.
    pub async fn sync(&mut self) -> Result<(), StoreError> {
        let Some(first_made) = self.first_made.clone().filter(|_| !self.unsynced.is_empty()) else { return Ok(()) };
        let folder = PathBuf::from(self.location());
        let versions = |(table, known): (&String, &Option<Version>)| {
            let last =
                if table == commits::FOLDER { Some(&self.contents.commit) } else { self.contents.versions.get(table) };
            let first = known.map_or(0, |known| known.saturating_add(1));
            last.map(|last| NewVersions { table: table.clone(), first, last: *last })
        };
        let versions: Vec<NewVersions> = self.unsynced.iter().filter_map(versions).collect();
        let failed = |reason: String| StoreError::Sync { location: self.location().to_owned(), reason };
        let synced = tokio::task::spawn_blocking(move || durable::sync(&folder, &first_made, &versions)).await;
        synced.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
        self.unsynced.clear();
        Ok(())
    }

    pub(super) fn contents(&self) -> &Contents {
        &self.contents
    }

    pub(super) fn tables(&self) -> &TableFolder {
        &self.tables
    }

    pub(super) fn set_contents(&mut self, contents: Contents) {
        let last = self.contents.commit;
        self.unsynced.entry(commits::FOLDER.to_owned()).or_insert((last > 0).then_some(last));
        for (folder, version) in &contents.versions {
            let known = self.contents.versions.get(folder).copied();
            if known != Some(*version) {
                self.unsynced.entry(folder.clone()).or_insert(known);
            }
        }
        self.contents = contents;
    }

    /// Runs `each` over a table as it belongs to the store; not once where the store has no such table.
    async fn scan(
        &self,
        folder: &str,
        each: impl FnMut(arrow::array::RecordBatch) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some(version) = self.contents.versions.get(folder) else { return Ok(()) };
        let table = self.tables.at(folder, *version).await?;
        scan(folder, &table, None, None, each).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{
        FeedKind, LogEventKind, Operation, RecordKey, RecordRead, RecordingId, ReleaseName, Row, ServiceName,
        SessionId, StatedFeed, TableColumn, Timestamp, TraceId, TransactionId, Value,
    };

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::NULL),
            Just(Value::text("")),
            Just(Value::text("NULL")),
            "[0-9]{1,30}\\.[0-9]{2}".prop_map(Value::text),
            "\\PC*".prop_map(Value::text),
            "['\"\\\\\n\t\u{0}\u{2028}é中🦀]*".prop_map(Value::text),
        ]
    }

    fn any_column() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z_]{1,8}",
            "[A-Z]{1,4}",
            "\\PC{0,6}",
            Just("id".to_owned()),
            Just("ID".to_owned()),
            Just("a.b,c;=".to_owned())
        ]
    }

    /// Columns in an order that is not the alphabet's.
    fn any_row() -> impl Strategy<Value = Row> {
        btree_map(any_column(), any_value(), 0..5).prop_map(|cells: BTreeMap<String, Value>| {
            cells.into_iter().rev().map(|(column, value)| (column.into(), value)).collect()
        })
    }

    fn any_table() -> impl Strategy<Value = TableName> {
        prop_oneof![Just("orders".to_owned()), Just("Orders".to_owned()), "\\PC{1,40}"]
            .prop_map(|table| TableName::new("public", table))
    }

    fn any_read() -> impl Strategy<Value = RecordRead> {
        (any_table(), vec((any_column(), any_value()), 1..3), vec(any_column(), 0..2)).prop_map(
            |(table, key, columns)| {
                let key = RecordKey::new(key.into_iter().map(|(column, value)| (column.into(), value)).collect());
                RecordRead { table, key, columns: columns.into_iter().map(Into::into).collect() }
            },
        )
    }

    prop_compose! {
        fn any_write()(
            table in any_table(),
            key in any_row(),
            before in option::of(any_row()),
            after in option::of(any_row()),
            reads in vec(any_read(), 0..2),
            parameters in vec(any_value(), 0..3),
            ts in -1_000_000_000_000_000_i64..4_000_000_000_000_000,
            names in vec(option::of("\\PC*"), 6),
            operation in prop_oneof![Just(Operation::Insert), Just(Operation::Update), Just(Operation::Delete), Just(Operation::Truncate)],
        ) -> RecordedWrite {
            let name = |position: usize| names[position].as_deref();
            RecordedWrite {
                id: RecordingId([0; 16]),
                seq: None,
                ts: Timestamp::from_micros(ts),
                table, operation, key, before, after, reads, parameters,
                transaction: name(0).map(|name| TransactionId(name.into())),
                session: name(1).map(|name| SessionId(name.into())),
                trace: name(2).map(|name| TraceId(name.into())),
                release: name(3).map(ReleaseName::new),
                service: name(4).map(ServiceName::new),
                statement: name(5).map(Into::into),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn every_write_comes_back_as_it_went(mut writes in vec(any_write(), 1..6), split in 0_usize..6) {
            for (number, write) in (1_u8..).zip(&mut writes) {
                write.id = RecordingId([number; 16]);
                write.seq = Some(u64::from(number));
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let read = runtime.block_on(async {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let mut store = Store::open(&folder.path().to_string_lossy()).await.expect("opened");
                // In two ingests, so that columns appear that earlier files do not have.
                let (first, second) = writes.split_at(split.min(writes.len()));
                for writes in [first, second] {
                    let recording = Recording { writes: writes.to_vec(), ..Recording::default() };
                    store.append(&recording).await.expect("stored");
                }
                Store::open(store.location()).await.expect("opened again").writes().await.expect("read")
            });
            prop_assert_eq!(read, writes);
        }
    }

    #[tokio::test]
    async fn log_events_stamps_rejected_lines_and_sources_come_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut store = Store::open(&folder.path().to_string_lossy()).await.expect("opened");
        let event = LogEvent {
            id: RecordingId([1; 16]),
            session: SessionId("69a5b1c2.1a2b".into()),
            line: 7,
            ts: Timestamp::from_micros(20),
            started: Timestamp::from_micros(10),
            kind: LogEventKind::Error,
            transaction: Some(TransactionId("747".into())),
            virtual_transaction: Some("3/175".into()),
            application_name: Some("shop@v42".into()),
            database: Some("shop".into()),
            sql: Some("UPDATE t\nSET a = 'it''s'".into()),
            prepared: Some("PREPARE p AS UPDATE t".into()),
            parameters: vec![Some(Value::NULL), None, Some(Value::text("")), Some(Value::text("\""))],
            message: Some("duplicate key".into()),
        };
        let disconnection = LogEvent {
            id: RecordingId([2; 16]),
            line: 8,
            kind: LogEventKind::Disconnection,
            transaction: None,
            virtual_transaction: None,
            application_name: None,
            database: None,
            sql: None,
            prepared: None,
            parameters: Vec::new(),
            message: None,
            ..event.clone()
        };
        let stamp = RecordedStamp {
            id: RecordingId([4; 16]),
            seq: Some(34_000_000),
            ts: Timestamp::from_micros(20),
            transaction: TransactionId("747".into()),
            session: Some(SessionId("69a5b1c2.1a2b".into())),
            process_id: Some(6_699),
            application_name: Some("shop@v42".into()),
            user: Some("shop".into()),
            release: Some(ReleaseName::new("v42")),
            service: Some(ServiceName::new("shop")),
            tags: BTreeMap::from([("route".to_owned(), "/a'b".to_owned())]),
            statement: Some("UPDATE t".into()),
        };
        let bare = RecordedStamp {
            id: RecordingId([5; 16]),
            seq: None,
            session: None,
            process_id: None,
            application_name: None,
            user: None,
            release: None,
            service: None,
            tags: BTreeMap::new(),
            statement: None,
            ..stamp.clone()
        };
        let rejected = RejectedLine {
            id: RecordingId([3; 16]),
            source: "events.ndjson".into(),
            line: 3,
            reason: "no valid JSON".to_owned(),
            text: "{".to_owned(),
        };
        let orders = TableName::new("public", "orders");
        let stated = StatedLineage {
            id: RecordingId([4; 16]),
            ts: Timestamp::from_micros(7),
            stated_by: "openlineage".into(),
            job: "airflow/daily".into(),
            run: None,
            sql: Some("SELECT 1".into()),
            inputs: vec![orders.clone()],
            outputs: vec![TableName::new("s3://lake", "a.b")],
            feeds: vec![StatedFeed {
                table: TableName::new("s3://lake", "a.b"),
                column: None,
                source: TableColumn::new(orders, "day"),
                kind: FeedKind::Influence,
            }],
        };
        let source = crate::store::Source {
            name: "events.ndjson".into(),
            bytes: 12,
            modified: Some(Timestamp::from_micros(5)),
            content: [9; 32],
            lines: 3,
            format: Some("events".into()),
            read: Timestamp::from_micros(6),
        };
        let recording = Recording {
            log: vec![event.clone(), disconnection.clone()],
            stamps: vec![stamp.clone(), bare.clone()],
            lineage: vec![stated.clone()],
            rejected: vec![rejected.clone()],
            ..Recording::default()
        };
        let mut ingestion = store.begin();
        ingestion.append(&recording).await.expect("appended");
        ingestion.finish(std::slice::from_ref(&source)).await.expect("finished");

        let store = Store::open(store.location()).await.expect("opened again");
        assert_eq!(store.log().await.expect("read"), [event, disconnection]);
        assert_eq!(store.stamps().await.expect("read"), [stamp, bare]);
        assert_eq!(store.lineage().await.expect("read"), [stated]);
        assert_eq!(store.rejected().await.expect("read"), [rejected]);
        let known = store.sources().await.expect("read");
        assert_eq!(known.get("events.ndjson"), Some(&source));
        assert!(known.is_unchanged("events.ndjson", 12, source.modified));
        assert!(!known.is_unchanged("events.ndjson", 13, source.modified));
        assert!(!known.is_unchanged("events.ndjson", 12, None));
    }

    #[tokio::test]
    async fn a_store_needs_a_place_it_can_be_in() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("written");
        for location in [file.to_string_lossy().into_owned(), "nowhere://bucket/store".to_owned()] {
            let error = Store::open(&location).await.expect_err("no place for a store");
            assert!(matches!(error, StoreError::Open { .. } | StoreError::Table { .. }), "{error}");
        }
    }
}
