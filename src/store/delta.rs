//! Delta Lake tables as the store uses them: opened at a version, appended to by one writer, read as batches.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use datafusion::common::Column;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::parquet::basic::{Compression, Encoding, ZstdLevel};
use deltalake::parquet::errors::ParquetError;
use deltalake::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use deltalake::parquet::schema::types::ColumnPath;
use deltalake::writer::{DeltaWriter as _, RecordBatchWriter, WriteMode};
use deltalake::{DeltaTable, DeltaTableBuilder, ensure_table_uri};
use futures::StreamExt as _;

use super::StoreError;
use super::batch::{ID, POSITION};
use super::writes_table::TS;
use crate::engine::session_context;

/// A table's version, as Delta Lake counts them.
pub(super) type Version = u64;

/// Hands out the tables of one store.
#[derive(Clone, Debug)]
pub(super) struct TableFolder {
    root: String,
}

impl TableFolder {
    /// `root`: a folder, made where it is missing, or the URL of an object store that is compiled in.
    pub(super) fn new(root: &str) -> Result<Self, StoreError> {
        ensure_table_uri(root)
            .map_err(|error| StoreError::Open { location: root.to_owned(), reason: error.to_string() })?;
        Ok(TableFolder { root: root.trim_end_matches('/').to_owned() })
    }

    pub(super) fn location(&self) -> &str {
        &self.root
    }

    fn unloaded(&self, table: &str) -> Result<DeltaTable, StoreError> {
        ensure_table_uri(format!("{}/{table}", self.root))
            .and_then(|url| DeltaTableBuilder::from_url(url)?.build())
            .map_err(|error| StoreError::delta("open", table, error))
    }

    /// The table at its newest version, or `None` where there is none.
    pub(super) async fn newest(&self, table: &str) -> Result<Option<DeltaTable>, StoreError> {
        let failed = |error| StoreError::delta("open", table, error);
        let mut delta = self.unloaded(table)?;
        if !delta.verify_deltatable_existence().await.map_err(failed)? {
            return Ok(None);
        }
        delta.load().await.map_err(failed)?;
        Ok(Some(delta))
    }

    /// The table as it was at `version`.
    pub(super) async fn at(&self, table: &str, version: Version) -> Result<DeltaTable, StoreError> {
        let mut delta = self.unloaded(table)?;
        delta.load_version(version).await.map_err(|error| StoreError::delta("open", table, error))?;
        Ok(delta)
    }

    /// The table, ready to be written to from `version` on (`None`: from nothing on). What is newer than that is
    /// what an ingest that never finished left there: it is taken back.
    pub(super) async fn for_writing(
        &self,
        table: &str,
        version: Option<Version>,
        schema: &Schema,
    ) -> Result<DeltaTable, StoreError> {
        let Some(delta) = self.newest(table).await? else { return self.create(table, schema).await };
        let base = version.unwrap_or_default();
        if delta.version() <= Some(base) {
            return Ok(delta);
        }
        let restored = delta.restore().with_version_to_restore(base).await;
        restored
            .map(|(restored, _)| restored)
            .map_err(|error| StoreError::delta("take back what is unfinished in", table, error))
    }

    async fn create(&self, table: &str, schema: &Schema) -> Result<DeltaTable, StoreError> {
        let columns: StructType = schema.try_into_kernel().map_err(|error| StoreError::record(table, error))?;
        let create = self.unloaded(table)?.create().with_table_name(table).with_columns(columns.fields().cloned());
        create.await.map_err(|error| StoreError::delta("create", table, error))
    }
}

/// One table with rows on their way into it.
pub(super) struct TableWriter {
    name: String,
    table: DeltaTable,
    writer: RecordBatchWriter,
    pending: bool,
}

impl TableWriter {
    pub(super) fn new(name: &str, table: DeltaTable) -> Result<Self, StoreError> {
        let failed = |error| StoreError::delta("write", name, error);
        let properties = file_properties().map_err(|error| failed(error.into()))?;
        let writer = RecordBatchWriter::for_table(&table)
            .map_err(failed)?
            .with_writer_properties(properties)
            // One writer at a time: who finds the table changed lost a race.
            .with_commit_properties(CommitProperties::default().with_max_retries(0));
        Ok(TableWriter { name: name.to_owned(), table, writer, pending: false })
    }

    /// For rows that stand for themselves: whoever else appends to the table does no harm.
    pub(super) fn beside_others(mut self) -> Self {
        self.writer = self.writer.with_commit_properties(CommitProperties::default());
        self
    }

    /// The table as of the last [`TableWriter::commit`].
    pub(super) fn table(&self) -> &DeltaTable {
        &self.table
    }

    /// Adds rows; columns that the table does not have yet are added to it.
    pub(super) async fn write(&mut self, batch: RecordBatch) -> Result<(), StoreError> {
        self.pending = true;
        let written = self.writer.write_with_mode(batch, WriteMode::MergeSchema).await;
        written.map_err(|error| StoreError::delta("write", &self.name, error))
    }

    /// Makes the rows written since the last time a version of the table; returns the newest version.
    pub(super) async fn commit(&mut self) -> Result<Version, StoreError> {
        if self.pending {
            let committed = self.writer.flush_and_commit(&mut self.table).await;
            committed.map_err(|error| StoreError::delta("write", &self.name, error))?;
            self.pending = false;
        }
        version_of(&self.name, &self.table)
    }
}

/// Which version of the table this is.
pub(super) fn version_of(name: &str, table: &DeltaTable) -> Result<Version, StoreError> {
    table.version().ok_or_else(|| StoreError::content(name, "it has no version"))
}

/// How a table's files are written. What hardly repeats gains nothing by a dictionary, and identities, which are hashes,
/// nothing by compression; places and times grow by little.
pub(super) fn file_properties() -> Result<WriterProperties, ParquetError> {
    const ZSTD_LEVEL: i32 = 3;
    const GROWING: [&str; 3] = [POSITION, TS, "_seq"];
    let id = ColumnPath::from(ID);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_column_compression(id.clone(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(id.clone(), false)
        .set_column_statistics_enabled(id, EnabledStatistics::None);
    let growing = |properties: WriterPropertiesBuilder, name: &str| {
        let column = ColumnPath::from(name);
        properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED)
    };
    Ok(GROWING.into_iter().fold(properties, growing).build())
}

/// Runs `each` over the batches of a table: all columns or only `columns`, all rows or only those `filter` lets pass.
pub(super) async fn scan(
    name: &str,
    table: &DeltaTable,
    columns: Option<&[&str]>,
    filter: Option<Expr>,
    mut each: impl FnMut(RecordBatch) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let failed = |source| StoreError::Query { table: name.to_owned(), source: Box::new(source) };
    let context: SessionContext = session_context();
    table.update_datafusion_session(&context.state()).map_err(|error| StoreError::delta("read", name, error))?;
    let provider = Arc::new(table.table_provider().build().await.map_err(failed)?);
    let mut rows = context.read_table(provider).map_err(failed)?;
    if let Some(filter) = filter {
        rows = rows.filter(filter).map_err(failed)?;
    }
    if let Some(columns) = columns {
        rows = rows.select(columns.iter().map(|column| exact_column(column))).map_err(failed)?;
    }
    let mut batches = rows.execute_stream().await.map_err(failed)?;
    while let Some(batch) = batches.next().await {
        each(batch.map_err(failed)?)?;
    }
    Ok(())
}

/// A column by its exact name.
pub(super) fn exact_column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}
