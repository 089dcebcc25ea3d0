//! The snapshot that every scan shares, and the tables in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use tokio_postgres::Client;

use super::constraints::{self, TableConstraints};
use super::definitions::{self, DatabaseDefinitions};
use super::scan::{Scan, ScanSource};
use super::{filter, schema};
use crate::catalog::lazy_table::{Part, RowSource, wrap_error};
use crate::catalog::now::OpenedTable;
use crate::catalog::{CatalogError, arrow_schema};
use crate::engine::postgres::{ConnectionSettings, Session, connect, described, open_session};
use crate::model::{Declarations, TableName, TableSchema};

/// Values print as [`crate::catalog::array_from_values`] reads them, and type names with their schema.
const SESSION: &str = "SET TimeZone = 'UTC'; SET standard_conforming_strings = on; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
                       SET extra_float_digits = 1; SET bytea_output = 'hex'; SET search_path = pg_catalog; \
                       SET idle_in_transaction_session_timeout = 0; SET row_security = off";

/// A server asks now and then whether we are still there, so that none of our statements outlives us.
const CHECK_CLIENT: &str = "SELECT set_config('client_connection_check_interval', '5s', false) FROM pg_settings \
                            WHERE name = 'client_connection_check_interval' AND version() LIKE '%linux%'";

pub(super) const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Keeps the transaction open whose snapshot every scan reads in; ends it when dropped.
#[derive(Debug)]
pub(in crate::catalog) struct Snapshot {
    /// The database's name.
    pub(in crate::catalog) database: String,
    _transaction: Session,
    settings: Arc<ConnectionSettings>,
    name: Arc<str>,
}

impl Snapshot {
    /// Runs a query in the snapshot, on the server; `result` describes what it selects, under the name of the table that
    /// a message would tell of.
    pub(in crate::catalog) fn select(&self, sql: &str, result: TableSchema) -> SendableRecordBatchStream {
        let projection = arrow_schema(&result);
        let source = ScanSource::Query(sql.to_owned());
        stream(&self.settings, &self.name, Arc::new(result), projection, source)
    }
}

/// A session of its own on the database at `url`, whose values print as every scan's do; its statements may take as long
/// as they need.
///
/// # Errors
/// A connection string that is wrong, a server that does not answer or refuses.
pub async fn connect_to(url: &str) -> Result<Client, CatalogError> {
    let client = connect(&ConnectionSettings::from_environment(url)?).await?;
    client.batch_execute(&format!("{SESSION}; SET statement_timeout = 0")).await.map_err(refused)?;
    Ok(client)
}

/// Connects, takes the snapshot, and reads the tables of `schemas`.
///
/// # Errors
/// A connection string that is wrong, a server that does not answer or refuses, a schema that does not exist.
pub(in crate::catalog) async fn open(
    url: &str,
    schemas: &[String],
) -> Result<(Vec<OpenedTable>, Declarations, Snapshot), CatalogError> {
    let settings = ConnectionSettings::from_environment(url)?;
    let session = prepared(&settings).await?;
    let client = session.client();
    client.batch_execute(BEGIN).await.map_err(refused)?;
    let sql = "SELECT pg_export_snapshot(), current_database()::text";
    let exported = client.query_one(sql, &[]).await.map_err(refused)?;
    let snapshot: Arc<str> = exported.try_get::<_, String>(0).map_err(refused)?.into();
    let database = exported.try_get(1).map_err(refused)?;
    let missing = schema::missing_schemas(client, schemas).await.map_err(refused)?;
    if let Some(missing) = missing.first() {
        return Err(CatalogError::Database(format!("there is no schema {missing}")));
    }
    let found = schema::read(client, schemas).await.map_err(refused)?;
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
    Ok((tables, found.declarations, Snapshot { database, _transaction: session, settings, name: snapshot }))
}

/// What the database declares of the rows of every table of `schemas`, beside keys and types.
///
/// # Errors
/// A connection string that is wrong, a server that does not answer or refuses.
pub async fn declared_constraints(
    url: &str,
    schemas: &[String],
) -> Result<BTreeMap<TableName, TableConstraints>, CatalogError> {
    constraints::read(session_on(url).await?.client(), schemas).await.map_err(refused)
}

/// The schemas of the database that hold tables.
///
/// # Errors
/// As [`declared_constraints`].
pub async fn populated_schemas(url: &str) -> Result<Vec<String>, CatalogError> {
    constraints::schemas_with_tables(session_on(url).await?.client()).await.map_err(refused)
}

/// Everything that the schemas of the database at `url` hold, but for their rows; and what tells this database, of this
/// running server, from every other.
///
/// # Errors
/// As [`declared_constraints`].
pub async fn definitions_of(url: &str) -> Result<(DatabaseDefinitions, String), CatalogError> {
    let session = session_on(url).await?;
    let definitions = definitions::read(session.client()).await.map_err(refused)?;
    Ok((definitions, identity(session.client()).await?))
}

/// A session on a scratch server, in a transaction that nothing commits; and what tells its database from every other.
///
/// # Errors
/// As [`declared_constraints`].
pub async fn scratch_session(url: &str) -> Result<(Session, String), CatalogError> {
    let session = session_on(url).await?;
    session
        .client()
        .batch_execute("SET statement_timeout = 0; BEGIN; SET LOCAL lock_timeout = '30s'")
        .await
        .map_err(refused)?;
    let identity = identity(session.client()).await?;
    Ok((session, identity))
}

/// Everything that the schemas hold that stand in the database of a session.
///
/// # Errors
/// What the database refuses.
pub async fn standing_definitions(session: &Session) -> Result<DatabaseDefinitions, CatalogError> {
    definitions::read(session.client()).await.map_err(refused)
}

/// The cluster, when its server was started, and the database in it.
async fn identity(client: &Client) -> Result<String, CatalogError> {
    let sql = "SELECT format('%s %s %s', system_identifier, extract(epoch FROM pg_postmaster_start_time()), oid)
               FROM pg_control_system(), pg_database WHERE datname = current_database()";
    client.query_one(sql, &[]).await.and_then(|row| row.try_get(0)).map_err(refused)
}

async fn session_on(url: &str) -> Result<Session, CatalogError> {
    prepared(&ConnectionSettings::from_environment(url)?).await
}

/// A session whose values print as they are read, and which ends with its use.
pub(super) async fn prepared(settings: &ConnectionSettings) -> Result<Session, CatalogError> {
    let session = open_session(settings).await?;
    session.client().batch_execute(&format!("{SESSION}; {CHECK_CLIENT}")).await.map_err(refused)?;
    Ok(session)
}

pub(super) fn refused(error: tokio_postgres::Error) -> CatalogError {
    CatalogError::Database(described(&error))
}

/// A table of the database, read in the snapshot on a connection of its own.
#[derive(Debug)]
struct PostgresTable {
    settings: Arc<ConnectionSettings>,
    snapshot: Arc<str>,
    schema: Arc<TableSchema>,
}

impl RowSource for PostgresTable {
    fn takes(&self, filter: &Expr) -> bool {
        filter::as_sql(filter, &self.schema).is_some()
    }

    fn read(&self, projection: SchemaRef, _part: Part, filters: &[Expr]) -> SendableRecordBatchStream {
        let filters = filters.iter().filter_map(|filter| filter::as_sql(filter, &self.schema)).collect();
        let source = ScanSource::Table { filters };
        stream(&self.settings, &self.snapshot, Arc::clone(&self.schema), projection, source)
    }
}

fn stream(
    settings: &Arc<ConnectionSettings>,
    snapshot: &Arc<str>,
    table: Arc<TableSchema>,
    projection: SchemaRef,
    source: ScanSource,
) -> SendableRecordBatchStream {
    let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&projection), 2);
    let scan = Scan {
        settings: Arc::clone(settings),
        snapshot: Arc::clone(snapshot),
        table,
        projection,
        source,
        batches: stream.tx(),
    };
    stream.spawn(async move { scan.run().await.map_err(wrap_error) });
    stream.build()
}
