//! The tables as they stand now.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::catalog::{MemorySchemaProvider, TableProvider};
use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use super::lazy_table::{LazyTable, Part, RowSource, unwrap_engine_error};
use super::{CatalogError, arrow_schema, folder, postgres};
use crate::model::{ColumnName, DatabaseSource, Declarations, TableName, TableSchema, TableSettingsByName, TimeZone};

/// The tables of a database (live, or a folder of files) as they stand now.
///
/// Opening reads schemas only; rows are read when they are asked for. A live database is seen in one snapshot, taken
/// when the catalog was opened, however many tables are read and however long that takes.
#[derive(Debug)]
pub struct Catalog {
    schemas: BTreeMap<TableName, Arc<TableSchema>>,
    pub(super) rows: BTreeMap<TableName, Arc<dyn RowSource>>,
    settings: TableSettingsByName,
    declarations: Declarations,
    database_name: Option<String>,
    /// Keeps a live database's snapshot until the catalog is dropped.
    snapshot: Option<postgres::Snapshot>,
}

/// A table as its source declares it.
pub(super) struct OpenedTable {
    /// Its key is empty where no primary key is declared.
    pub(super) schema: TableSchema,
    /// A unique key over columns that are never NULL: the key where neither the source nor a setting names one.
    pub(super) unique_key: Vec<ColumnName>,
    /// Where its rows come from.
    pub(super) rows: Arc<dyn RowSource>,
}

impl Catalog {
    /// Opens the database and reads the schema of every table in it. A key of `settings` stands where the database
    /// declares no primary key.
    ///
    /// # Errors
    /// A database or folder that cannot be read; a setting that names a column its table does not have.
    pub async fn open(source: &DatabaseSource, settings: &TableSettingsByName) -> Result<Catalog, CatalogError> {
        let (tables, declarations, snapshot) = match source {
            DatabaseSource::Folder(path) => (folder::open(path)?, Declarations::default(), None),
            DatabaseSource::Postgres { url, schemas } => {
                let (tables, declarations, snapshot) = postgres::open(url, schemas).await?;
                (tables, declarations, Some(snapshot))
            }
        };
        let database_name = snapshot.as_ref().map(|snapshot| snapshot.database.clone());
        let mut catalog = Catalog {
            schemas: BTreeMap::new(),
            rows: BTreeMap::new(),
            settings: settings.clone(),
            declarations,
            database_name,
            snapshot,
        };
        for OpenedTable { mut schema, unique_key, rows } in tables {
            apply_settings(&mut schema, settings)?;
            if schema.key.is_empty() {
                schema.key = unique_key;
            }
            catalog.rows.insert(schema.name.clone(), rows);
            catalog.schemas.insert(schema.name.clone(), Arc::new(schema));
        }
        Ok(catalog)
    }

    /// The name of a live database, as the server's log writes it.
    pub fn database_name(&self) -> Option<&str> {
        self.database_name.as_deref()
    }

    /// The schema of every table, by name.
    pub fn schemas(&self) -> &BTreeMap<TableName, Arc<TableSchema>> {
        &self.schemas
    }

    /// What the database declares beside the shapes of its tables; nothing, of a folder.
    pub fn declarations(&self) -> &Declarations {
        &self.declarations
    }

    /// The same tables in a database whose sessions have this time zone, whatever it says itself.
    pub fn in_time_zone(mut self, zone: Option<&TimeZone>) -> Catalog {
        if let Some(zone) = zone {
            self.declarations.time_zone = zone.clone();
            self.declarations.roles_elsewhere.clear();
        }
        self
    }

    /// The schema of one table.
    ///
    /// # Errors
    /// [`CatalogError::UnknownTable`] with the nearest name there is.
    pub fn schema(&self, table: &TableName) -> Result<&Arc<TableSchema>, CatalogError> {
        self.schemas.get(table).ok_or_else(|| CatalogError::UnknownTable {
            table: table.clone(),
            nearest: nearest_table(table, self.schemas.keys()),
        })
    }

    /// Every row of a table: all columns in schema order, in the types of [`super::arrow_type`].
    ///
    /// # Errors
    /// An unknown table; a row that cannot be read, or holds a value that the engine cannot hold exactly.
    pub async fn scan(&self, table: &TableName) -> Result<Vec<RecordBatch>, CatalogError> {
        let schema = arrow_schema(self.schema(table)?);
        let Some(source) = self.rows.get(table) else { return Ok(Vec::new()) };
        source.read(schema, Part::WHOLE, &[]).try_collect().await.map_err(unwrap_engine_error)
    }

    /// As [`Catalog::scan`], of a table of no more than `most` rows; `None` where it has more, which are not held then.
    ///
    /// # Errors
    /// As [`Catalog::scan`].
    pub async fn scan_up_to(&self, table: &TableName, most: usize) -> Result<Option<Vec<RecordBatch>>, CatalogError> {
        let schema = arrow_schema(self.schema(table)?);
        let Some(source) = self.rows.get(table) else { return Ok(Some(Vec::new())) };
        let has_more = |rows: u64| usize::try_from(rows).map_or(true, |rows| rows > most);
        if source.row_count().is_some_and(has_more) {
            return Ok(None);
        }
        let (mut found, mut room) = (Vec::new(), most);
        let mut batches = source.read(schema, Part::WHOLE, &[]);
        while let Some(batch) = batches.try_next().await.map_err(unwrap_engine_error)? {
            let Some(left) = room.checked_sub(batch.num_rows()) else { return Ok(None) };
            room = left;
            found.push(batch);
        }
        Ok(Some(found))
    }

    /// Makes every table known to the session as `schema.table`; rows are read when a query runs, and only the
    /// columns that the query names.
    ///
    /// # Errors
    /// A session that takes no tables.
    pub fn register(&self, session: &SessionContext) -> Result<(), CatalogError> {
        for (name, schema) in &self.schemas {
            let Some(source) = self.rows.get(name) else { continue };
            let table = LazyTable { schema: arrow_schema(schema), source: Arc::clone(source) };
            register_table(session, name, Arc::new(table))?;
        }
        Ok(())
    }

    /// Whether the tables are on a server that can answer queries itself.
    pub fn has_server(&self) -> bool {
        self.snapshot.is_some()
    }

    /// What a query of the server's own SQL selects, in the one snapshot: `result` has the columns' names and types, and
    /// the name of the table that it is about. `None` where there is no server.
    ///
    /// # Errors
    /// What the server refuses; a row that does not have these columns.
    pub async fn select_on_server(
        &self,
        sql: &str,
        result: TableSchema,
    ) -> Result<Option<Vec<RecordBatch>>, CatalogError> {
        let Some(snapshot) = &self.snapshot else { return Ok(None) };
        snapshot.select(sql, result).try_collect().await.map(Some).map_err(unwrap_engine_error)
    }

    /// As [`Catalog::select_on_server`], batch by batch; whether there is a server.
    ///
    /// # Errors
    /// What the server refuses, and what `look` says.
    pub async fn each_on_server(
        &self,
        sql: &str,
        result: TableSchema,
        mut look: impl FnMut(&RecordBatch) -> Result<(), CatalogError>,
    ) -> Result<bool, CatalogError> {
        let Some(snapshot) = &self.snapshot else { return Ok(false) };
        let mut batches = snapshot.select(sql, result);
        while let Some(batch) = batches.try_next().await.map_err(unwrap_engine_error)? {
            look(&batch)?;
        }
        Ok(true)
    }

    /// How many rows a table has, where that is known without reading them.
    pub fn row_count(&self, table: &TableName) -> Option<u64> {
        self.rows.get(table).and_then(|rows| rows.row_count())
    }

    /// The columns of a table whose values are never printed.
    pub fn personal_columns(&self, table: &TableName) -> &[ColumnName] {
        self.settings.get(table).map_or(&[], |settings| settings.personal.as_slice())
    }

    /// The tables that the settings name and the database does not have, each with the nearest name it has: most
    /// likely misspelt, so that the setting is without effect.
    pub fn unknown_settings(&self) -> Vec<(TableName, Option<TableName>)> {
        let unknown = self.settings.keys().filter(|table| !self.schemas.contains_key(table));
        unknown.map(|table| (table.clone(), nearest_table(table, self.schemas.keys()))).collect()
    }
}

/// Makes a table known to the session as `schema.table`.
///
/// # Errors
/// A session that takes no tables, or has one of this name.
pub fn register_table(
    session: &SessionContext,
    name: &TableName,
    table: Arc<dyn TableProvider>,
) -> Result<(), CatalogError> {
    let default_catalog = session.copied_config().options().catalog.default_catalog.clone();
    let engine_catalog = session
        .catalog(&default_catalog)
        .ok_or_else(|| DataFusionError::Configuration(format!("the session has no catalog {default_catalog}")))?;
    if engine_catalog.schema(&name.schema).is_none() {
        engine_catalog.register_schema(&name.schema, Arc::new(MemorySchemaProvider::new()))?;
    }
    let reference = TableReference::partial(Arc::clone(&name.schema), Arc::clone(&name.table));
    session.register_table(reference, table)?;
    Ok(())
}

/// The project file's key stands in for a missing primary key; its other columns must exist, or a misspelt
/// `personal` would let a personal value out.
fn apply_settings(schema: &mut TableSchema, settings: &TableSettingsByName) -> Result<(), CatalogError> {
    let Some(table_settings) = settings.get(&schema.name) else { return Ok(()) };
    let named = table_settings
        .key
        .iter()
        .chain(&table_settings.updated_at)
        .chain(&table_settings.subject)
        .chain(&table_settings.personal);
    for column in named {
        if schema.column(column).is_none() {
            return Err(unknown_column(schema, column));
        }
    }
    if schema.key.is_empty() {
        schema.key = table_settings.key.clone();
    }
    Ok(())
}

pub(super) fn unknown_column(schema: &TableSchema, column: &ColumnName) -> CatalogError {
    let names = schema.columns.iter().map(|known| known.name.as_ref());
    CatalogError::UnknownColumn {
        table: schema.name.clone(),
        column: column.to_string(),
        nearest: nearest_name(column, names).map(str::to_owned),
    }
}

/// The table whose name is nearest to `table`, where one is near: `public.order` finds `public.orders`, and a bare or
/// misplaced name finds the same name in another schema.
pub fn nearest_table<'a>(table: &TableName, known: impl Iterator<Item = &'a TableName> + Clone) -> Option<TableName> {
    let same_name = known.clone().find(|name| name.table == table.table);
    same_name.cloned().or_else(|| {
        let wanted = table.to_string();
        let names: Vec<(String, &TableName)> = known.map(|name| (name.to_string(), name)).collect();
        let nearest = nearest_name(&wanted, names.iter().map(|(text, _)| text.as_str()))?.to_owned();
        names.into_iter().find(|(text, _)| *text == nearest).map(|(_, name)| name.clone())
    })
}

/// The name nearest to `wanted`, where one is near enough to be what was meant.
pub fn nearest_name<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let folded = wanted.to_lowercase();
    known
        .map(|name| (strsim::damerau_levenshtein(&folded, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (wanted.len().max(name.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_that_could_be_meant() {
        let known = ["id", "status", "total"];
        assert_eq!(nearest_name("totl", known.into_iter()), Some("total"));
        assert_eq!(nearest_name("STATUS", known.into_iter()), Some("status"));
        assert_eq!(nearest_name("customer", known.into_iter()), None);
    }

    #[test]
    fn a_table_is_found_in_another_schema_first() {
        let known = [TableName::new("public", "order"), TableName::new("shop", "orders")];
        let wanted = TableName::new("public", "orders");
        assert_eq!(nearest_table(&wanted, known.iter()), Some(TableName::new("shop", "orders")));
        assert_eq!(nearest_table(&TableName::new("public", "ordr"), known.iter()), Some(known[0].clone()));
    }
}
