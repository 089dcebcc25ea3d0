//! Connections, the snapshot they share, and the rows read in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use futures::{StreamExt, pin_mut};
use tokio::sync::mpsc::Sender;
use tokio_postgres::{Client, NoTls};

use super::connection::ConnectionSettings;
use super::constraints::{self, TableConstraints};
use super::copy_text::CopyRows;
use super::schema;
use crate::catalog::lazy_table::{Part, RowSource, wrap_error};
use crate::catalog::now::OpenedTable;
use crate::catalog::{CatalogError, array_from_values, arrow_schema};
use crate::model::{Declarations, TableName, TableSchema};

const ROWS_PER_BATCH: usize = 8192;

/// Values print as [`crate::catalog::array_from_values`] reads them, and type names with their schema.
const SESSION: &str = "SET TimeZone = 'UTC'; SET standard_conforming_strings = on; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
                       SET extra_float_digits = 1; SET bytea_output = 'hex'; SET search_path = pg_catalog; \
                       SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
                       SET row_security = off";

const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Keeps the transaction open whose snapshot every scan reads in; ends it when dropped.
#[derive(Debug)]
pub(in crate::catalog) struct Snapshot {
    /// The database's name.
    pub(in crate::catalog) database: String,
    _transaction: Client,
    settings: Arc<ConnectionSettings>,
    name: Arc<str>,
}

impl Snapshot {
    /// Runs a query in the snapshot, on the server; `result` describes what it selects, under the name of the table that
    /// a message would tell of.
    pub(in crate::catalog) fn select(&self, sql: &str, result: TableSchema) -> SendableRecordBatchStream {
        let projection = arrow_schema(&result);
        let statement = format!("COPY ({sql}) TO STDOUT");
        stream(&self.settings, &self.name, Arc::new(result), projection, statement)
    }
}

/// A session of its own on the database at `url`, whose values print as every scan's do.
///
/// # Errors
/// A connection string that is wrong, a server that does not answer or refuses.
pub async fn connect_to(url: &str) -> Result<Client, CatalogError> {
    let settings = ConnectionSettings::read(url, |name| std::env::var(name).ok()).map_err(CatalogError::Database)?;
    connect(&settings).await
}

/// Connects, takes the snapshot, and reads the tables of `schemas`.
///
/// # Errors
/// A connection string that is wrong, a server that does not answer or refuses, a schema that does not exist.
pub(in crate::catalog) async fn open(
    url: &str,
    schemas: &[String],
) -> Result<(Vec<OpenedTable>, Declarations, Snapshot), CatalogError> {
    let settings = ConnectionSettings::read(url, |name| std::env::var(name).ok()).map_err(CatalogError::Database)?;
    let client = connect(&settings).await?;
    client.batch_execute(BEGIN).await.map_err(refused)?;
    let sql = "SELECT pg_export_snapshot(), current_database()::text";
    let exported = client.query_one(sql, &[]).await.map_err(refused)?;
    let snapshot: Arc<str> = exported.try_get::<_, String>(0).map_err(refused)?.into();
    let database = exported.try_get(1).map_err(refused)?;
    let missing = schema::missing_schemas(&client, schemas).await.map_err(refused)?;
    if let Some(missing) = missing.first() {
        return Err(CatalogError::Database(format!("there is no schema {missing}")));
    }
    let found = schema::read(&client, schemas).await.map_err(refused)?;
    let settings = Arc::new(settings);
    let mut tables = Vec::new();
    for table in found.tables {
        let unique_key = found.unique_keys.get(&table.name).cloned().unwrap_or_default();
        let rows = PostgresTable {
            settings: Arc::clone(&settings),
            snapshot: Arc::clone(&snapshot),
            schema: Arc::new(table.clone()),
        };
        tables.push(OpenedTable { schema: table, unique_key, rows: Arc::new(rows) });
    }
    Ok((tables, found.declarations, Snapshot { database, _transaction: client, settings, name: snapshot }))
}

/// What the database declares of the rows of every table of `schemas`, beside keys and types.
///
/// # Errors
/// A connection string that is wrong, a server that does not answer or refuses.
pub async fn declared_constraints(
    url: &str,
    schemas: &[String],
) -> Result<BTreeMap<TableName, TableConstraints>, CatalogError> {
    constraints::read(&client_of(url).await?, schemas).await.map_err(refused)
}

/// The schemas of the database that hold tables.
///
/// # Errors
/// As [`declared_constraints`].
pub async fn populated_schemas(url: &str) -> Result<Vec<String>, CatalogError> {
    constraints::schemas_with_tables(&client_of(url).await?).await.map_err(refused)
}

async fn client_of(url: &str) -> Result<Client, CatalogError> {
    let settings = ConnectionSettings::read(url, |name| std::env::var(name).ok()).map_err(CatalogError::Database)?;
    connect(&settings).await
}

async fn connect(settings: &ConnectionSettings) -> Result<Client, CatalogError> {
    let (client, connection) =
        settings.config().connect(NoTls).await.map_err(|error| {
            CatalogError::Database(format!("connect to {}: {}", settings.target(), describe(&error)))
        })?;
    // It ends when the client is dropped; what goes wrong on it, the client's next call tells.
    tokio::spawn(async move { _ = connection.await });
    client.batch_execute(SESSION).await.map_err(refused)?;
    Ok(client)
}

fn refused(error: tokio_postgres::Error) -> CatalogError {
    CatalogError::Database(describe(&error))
}

/// What the server says, with its hint; else the error and what lies under it.
fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(refusal) = error.as_db_error() {
        let detail = refusal.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        let hint = refusal.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        return format!("{}{detail}{hint}", refusal.message());
    }
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

/// A table of the database, read in the snapshot on a connection of its own.
#[derive(Debug)]
struct PostgresTable {
    settings: Arc<ConnectionSettings>,
    snapshot: Arc<str>,
    schema: Arc<TableSchema>,
}

impl RowSource for PostgresTable {
    fn read(&self, projection: SchemaRef, _part: Part) -> SendableRecordBatchStream {
        let statement = copy_statement(&self.schema.name, &projection);
        stream(&self.settings, &self.snapshot, Arc::clone(&self.schema), projection, statement)
    }
}

/// What a statement sends, on a connection of its own.
fn stream(
    settings: &Arc<ConnectionSettings>,
    snapshot: &Arc<str>,
    schema: Arc<TableSchema>,
    projection: SchemaRef,
    statement: String,
) -> SendableRecordBatchStream {
    let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&projection), 2);
    let scan = Scan {
        settings: Arc::clone(settings),
        snapshot: Arc::clone(snapshot),
        schema,
        projection,
        statement,
        batches: stream.tx(),
    };
    stream.spawn(async move { scan.run().await.map_err(wrap_error) });
    stream.build()
}

fn copy_statement(table: &TableName, projection: &SchemaRef) -> String {
    let names: Vec<String> = projection.fields().iter().map(|field| quoted(field.name(), '"')).collect();
    // COPY has no row without a field: where no column is asked for, a NULL stands for each row.
    let columns = if names.is_empty() { "NULL".to_owned() } else { names.join(", ") };
    format!("COPY (SELECT {columns} FROM {}.{}) TO STDOUT", quoted(&table.schema, '"'), quoted(&table.table, '"'))
}

struct Scan {
    settings: Arc<ConnectionSettings>,
    snapshot: Arc<str>,
    schema: Arc<TableSchema>,
    projection: SchemaRef,
    /// A `COPY … TO STDOUT`.
    statement: String,
    batches: Sender<Result<RecordBatch, DataFusionError>>,
}

impl Scan {
    async fn run(&self) -> Result<(), CatalogError> {
        let client = connect(&self.settings).await?;
        client.batch_execute(BEGIN).await.map_err(refused)?;
        let snapshot = quoted(&self.snapshot, '\'');
        client.batch_execute(&format!("SET TRANSACTION SNAPSHOT {snapshot}")).await.map_err(refused)?;
        let pieces = client.copy_out(&self.statement).await.map_err(|error| self.refused_rows(&error))?;
        pin_mut!(pieces);
        let mut copy = CopyRows::default();
        let mut rows = Rows::new(self.projection.fields().len());
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.refused_rows(&error))?;
            copy.push(&piece, |fields| rows.push(fields)).map_err(|reason| self.damaged(reason))?;
            if rows.count >= ROWS_PER_BATCH && !self.send(&mut rows).await? {
                return Ok(());
            }
        }
        if !copy.is_complete() {
            return Err(self.damaged("the last row is cut off".to_owned()));
        }
        self.send(&mut rows).await?;
        Ok(())
    }

    /// Sends the rows gathered; false where nobody listens any more, because the query has what it needs.
    async fn send(&self, rows: &mut Rows) -> Result<bool, CatalogError> {
        if rows.count == 0 {
            return Ok(true);
        }
        let gathered = std::mem::replace(rows, Rows::new(self.projection.fields().len()));
        let batch = self.batch_of(gathered)?;
        Ok(self.batches.send(Ok(batch)).await.is_ok())
    }

    fn batch_of(&self, rows: Rows) -> Result<RecordBatch, CatalogError> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(rows.columns.len());
        for (field, values) in self.projection.fields().iter().zip(&rows.columns) {
            let column = self.schema.column(field.name());
            let column = column.ok_or_else(|| self.damaged(format!("it has no column {}", field.name())))?;
            let array = array_from_values(&column.column_type, values.iter().map(Option::as_deref));
            arrays.push(array.map_err(|source| CatalogError::Value {
                table: self.schema.name.clone(),
                column: field.name().clone(),
                source,
            })?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.count));
        RecordBatch::try_new_with_options(Arc::clone(&self.projection), arrays, &options)
            .map_err(|error| self.damaged(error.to_string()))
    }

    fn refused_rows(&self, error: &tokio_postgres::Error) -> CatalogError {
        CatalogError::Database(format!("{}: {}", self.schema.name, describe(error)))
    }

    fn damaged(&self, reason: String) -> CatalogError {
        CatalogError::Rows { table: self.schema.name.clone(), reason }
    }
}

/// Rows gathered for the next batch, column by column.
struct Rows {
    columns: Vec<Vec<Option<String>>>,
    count: usize,
}

impl Rows {
    fn new(columns: usize) -> Self {
        Rows { columns: vec![Vec::with_capacity(ROWS_PER_BATCH); columns], count: 0 }
    }

    fn push(&mut self, fields: &mut dyn Iterator<Item = Option<String>>) -> Result<(), String> {
        for column in &mut self.columns {
            column.push(fields.next().ok_or("a row has too few fields")?);
        }
        self.count += 1;
        Ok(())
    }
}

/// The text between quotes, with quotes within it doubled.
fn quoted(text: &str, quote: char) -> String {
    let doubled = text.replace(quote, &format!("{quote}{quote}"));
    format!("{quote}{doubled}{quote}")
}
