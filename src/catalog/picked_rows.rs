//! Some rows of a table, picked by their keys.

use std::collections::{BTreeSet, HashSet};

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use datafusion::error::DataFusionError;
use futures::TryStreamExt;

use super::lazy_table::{Part, unwrap_engine_error};
use super::{Catalog, CatalogError, array_from_values, arrow_schema, arrow_type};
use crate::engine::postgres::{quoted_identifier, quoted_table, quoted_text};
use crate::model::{ColumnName, RecordKey, TableName, TableSchema, Value};

/// Keys in one query.
const KEYS_PER_QUERY: usize = 1_000;

impl Catalog {
    /// The rows of these keys: all columns in schema order, in the types of [`super::arrow_type`]. A server is asked for
    /// them alone; a file is read through.
    ///
    /// # Errors
    /// An unknown table; a row that cannot be read, or holds a value that the engine cannot hold exactly.
    pub async fn rows_of(
        &self,
        table: &TableName,
        keys: &BTreeSet<RecordKey>,
    ) -> Result<Vec<RecordBatch>, CatalogError> {
        let schema = self.schema(table)?;
        let mut rows = Vec::new();
        if keys.is_empty() {
            return Ok(rows);
        }
        if self.has_server() {
            let keys: Vec<&RecordKey> = keys.iter().collect();
            for keys in keys.chunks(KEYS_PER_QUERY) {
                let picked = self.select_on_server(&picking(schema, keys), schema.as_ref().clone()).await?;
                rows.extend(picked.into_iter().flatten());
            }
            return Ok(rows);
        }
        let Some(source) = self.rows.get(table) else { return Ok(rows) };
        let wanted = WantedKeys::new(schema, keys)?;
        let mut batches = source.read(arrow_schema(schema), Part::WHOLE, &[]);
        while let Some(batch) = batches.try_next().await.map_err(unwrap_engine_error)? {
            let picked = wanted.pick(&batch).map_err(DataFusionError::from)?;
            rows.extend((picked.num_rows() > 0).then_some(picked));
        }
        Ok(rows)
    }
}

/// Selects the rows of these keys, in the server's SQL.
fn picking(table: &TableSchema, keys: &[&RecordKey]) -> String {
    let names = |names: &mut dyn Iterator<Item = &ColumnName>| {
        names.map(|name| quoted_identifier(name)).collect::<Vec<_>>().join(", ")
    };
    let columns = names(&mut table.columns.iter().map(|column| &column.name));
    let key = names(&mut table.key.iter());
    let values = keys.iter().map(|key| {
        let cells = key.iter().map(|(_, value)| value.as_str().map_or_else(|| "NULL".to_owned(), quoted_text));
        format!("({})", cells.collect::<Vec<_>>().join(", "))
    });
    let values = values.collect::<Vec<_>>().join(", ");
    format!("SELECT {columns} FROM {} WHERE ({key}) IN ({values})", quoted_table(&table.name))
}

/// Keys as rows of bytes that are equal where the keys are.
struct WantedKeys {
    converter: RowConverter,
    key: Vec<ColumnName>,
    rows: HashSet<Vec<u8>>,
}

impl WantedKeys {
    fn new(table: &TableSchema, keys: &BTreeSet<RecordKey>) -> Result<WantedKeys, CatalogError> {
        let types: Vec<_> = table.key.iter().filter_map(|name| table.column(name)).collect();
        let fields = types.iter().map(|column| SortField::new(arrow_type(&column.column_type)));
        let converter = RowConverter::new(fields.collect()).map_err(DataFusionError::from)?;
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(types.len());
        for column in &types {
            let values: Vec<Option<&str>> =
                keys.iter().map(|key| key.get(&column.name).and_then(Value::as_str)).collect();
            let array = array_from_values(&column.column_type, values.into_iter()).map_err(|source| {
                CatalogError::Value { table: table.name.clone(), column: column.name.to_string(), source }
            })?;
            arrays.push(array);
        }
        let rows = converter.convert_columns(&arrays).map_err(DataFusionError::from)?;
        let rows = rows.iter().map(|row| row.as_ref().to_vec()).collect();
        Ok(WantedKeys { converter, key: table.key.clone(), rows })
    }

    /// The rows of a batch that have one of the keys.
    fn pick(&self, batch: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.key.len());
        for name in &self.key {
            columns.push(batch.column(batch.schema().index_of(name)?).clone());
        }
        let rows = self.converter.convert_columns(&columns)?;
        let wanted: BooleanArray = rows.iter().map(|row| Some(self.rows.contains(row.as_ref()))).collect();
        if wanted.true_count() == 0 { Ok(batch.slice(0, 0)) } else { filter_record_batch(batch, &wanted) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::catalog::rows_from_batch;
    use crate::model::{Column, ColumnType, DatabaseSource, TableSettings};

    fn key(cells: &[(&str, Option<&str>)]) -> RecordKey {
        let value = |text: Option<&str>| text.map_or(Value::NULL, Value::text);
        RecordKey::new(cells.iter().map(|(name, text)| ((*name).into(), value(*text))).collect())
    }

    #[test]
    fn a_server_is_asked_by_key() {
        let column =
            |name: &str| Column { name: name.into(), column_type: ColumnType::Text, not_null: false, generated: false };
        let mut table = TableSchema {
            name: TableName::new("public", "orders"),
            columns: vec![column("id"), column("at")],
            key: vec!["id".into()],
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
        };
        let (one, other) = (key(&[("id", Some("1"))]), key(&[("id", Some("it's"))]));
        assert_eq!(
            picking(&table, &[&one, &other]),
            "SELECT \"id\", \"at\" FROM \"public\".\"orders\" WHERE (\"id\") IN (('1'), ('it''s'))"
        );
        table.key.push("at".into());
        let both = key(&[("id", Some("1")), ("at", None)]);
        assert!(picking(&table, &[&both]).ends_with("WHERE (\"id\", \"at\") IN (('1', NULL))"));
    }

    #[tokio::test]
    async fn a_file_is_read_through() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut lines = String::from("order_id,line_no,price\n");
        (1..=3_000).for_each(|order| lines.push_str(&format!("{order},1,4.50\n{order},2,1.25\n")));
        std::fs::write(folder.path().join("lines.csv"), lines).expect("the file");
        let name = TableName::new("public", "lines");
        let settings = TableSettings { key: vec!["order_id".into(), "line_no".into()], ..TableSettings::default() };
        let source = DatabaseSource::Folder(folder.path().to_owned());
        let catalog = Catalog::open(&source, &BTreeMap::from([(name.clone(), settings)])).await.expect("opened");
        let line = |order: &str, line: &str| key(&[("order_id", Some(order)), ("line_no", Some(line))]);
        let keys = BTreeSet::from([line("2999", "2"), line("7", "1"), line("9999", "1")]);
        let mut found = Vec::new();
        for batch in catalog.rows_of(&name, &keys).await.expect("read") {
            found.extend(rows_from_batch(catalog.schema(&name).expect("known"), &batch).expect("rows"));
        }
        let found: Vec<Option<RecordKey>> =
            found.iter().map(|row| row.key(&["order_id".into(), "line_no".into()])).collect();
        assert_eq!(found, [Some(line("7", "1")), Some(line("2999", "2"))]);
        assert!(catalog.rows_of(&name, &BTreeSet::new()).await.expect("nothing").is_empty());
    }
}
