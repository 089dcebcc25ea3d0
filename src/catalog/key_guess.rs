//! Keys and references of a folder of files, which declares none: guessed by name, kept where every row bears them out.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;

use super::{Catalog, CatalogError};
use crate::engine;
use crate::model::{ColumnName, ColumnType, ForeignKey, ReferentialAction, TableName, TableSchema};

/// Names of columns that are a key in most tables that have them.
const KEY_NAMES: [&str; 5] = ["id", "uuid", "key", "code", "sku"];

/// Keys of one or two leading columns are common; of more, rare.
const MOST_LEADING_COLUMNS: usize = 3;

/// A key for each table that has none, where one can be told: never NULL, and different in every row.
///
/// # Errors
/// A table that cannot be read.
pub async fn guessed_keys(catalog: &Catalog) -> Result<Vec<(TableName, Vec<ColumnName>)>, CatalogError> {
    let session = engine::session_context();
    catalog.register(&session)?;
    let mut keys = Vec::new();
    for (name, table) in catalog.schemas().iter().filter(|(_, table)| table.key.is_empty()) {
        for candidate in key_candidates(table) {
            if is_key(&session, name, &candidate).await? {
                keys.push((name.clone(), candidate));
                break;
            }
        }
    }
    Ok(keys)
}

/// Columns that name another table's key, where every value is a row there.
///
/// # Errors
/// As [`guessed_keys`].
pub async fn guessed_references(catalog: &Catalog) -> Result<BTreeMap<TableName, Vec<ForeignKey>>, CatalogError> {
    let session = engine::session_context();
    catalog.register(&session)?;
    let mut references: BTreeMap<TableName, Vec<ForeignKey>> = BTreeMap::new();
    for (name, table) in catalog.schemas() {
        for column in &table.columns {
            let targets = catalog.schemas().values().filter(|target| names_key_of(table, &column.name, target));
            for target in targets {
                if is_borne_out(&session, name, &column.name, target).await? {
                    references.entry(name.clone()).or_default().push(ForeignKey {
                        columns: vec![Arc::clone(&column.name)],
                        table: target.name.clone(),
                        referenced: target.key.clone(),
                        on_delete: ReferentialAction::Refuse,
                        on_update: ReferentialAction::Refuse,
                    });
                    break;
                }
            }
        }
    }
    Ok(references)
}

/// The likeliest first.
fn key_candidates(table: &TableSchema) -> Vec<Vec<ColumnName>> {
    let table_name = table.name.table.as_ref();
    let of_table = [format!("{table_name}_id"), format!("{}_id", singular(table_name))];
    let by_name = KEY_NAMES.iter().copied().chain(of_table.iter().map(String::as_str));
    let named = by_name.filter_map(|name| table.column(name)).map(|column| vec![Arc::clone(&column.name)]);
    let can_be_key = |column_type: &ColumnType| {
        !matches!(column_type, ColumnType::Real | ColumnType::Double | ColumnType::Numeric(_) | ColumnType::Boolean)
    };
    let leading: Vec<ColumnName> = table
        .columns
        .iter()
        .take(MOST_LEADING_COLUMNS)
        .take_while(|column| can_be_key(&column.column_type))
        .map(|column| Arc::clone(&column.name))
        .collect();
    let prefixes = (1..=leading.len()).map(|length| leading.iter().take(length).cloned().collect::<Vec<_>>());
    named.chain(prefixes).collect()
}

async fn is_key(session: &SessionContext, table: &TableName, key: &[ColumnName]) -> Result<bool, CatalogError> {
    let columns: Vec<String> = key.iter().map(|column| quoted(column)).collect();
    let present: Vec<String> = columns.iter().map(|column| format!("{column} IS NOT NULL")).collect();
    let from = format!("{}.{}", quoted(&table.schema), quoted(&table.table));
    let rows = number(session, &format!("SELECT count(*) FROM {from}")).await?;
    // One row proves nothing.
    if rows < 2 {
        return Ok(false);
    }
    let different = format!(
        "SELECT count(*) FROM (SELECT DISTINCT {} FROM {from} WHERE {}) AS different",
        columns.join(", "),
        present.join(" AND ")
    );
    Ok(number(session, &different).await? == rows)
}

fn names_key_of(table: &TableSchema, column: &ColumnName, target: &TableSchema) -> bool {
    let [key] = target.key.as_slice() else { return false };
    let is_own_key = table.key.as_slice() == std::slice::from_ref(column);
    let target_name = target.name.table.as_ref();
    let by_table = *column.as_ref() == *format!("{target_name}_id")
        || *column.as_ref() == *format!("{}_id", singular(target_name));
    let by_key =
        column == key && table.name != target.name && !KEY_NAMES.iter().take(4).any(|name| *name == key.as_ref());
    let same_type =
        table.column(column).map(|column| &column.column_type) == target.column(key).map(|column| &column.column_type);
    // Of two tables with one key, nobody can tell which refers to which, unless a name says so.
    same_type && (by_table && table.name != target.name || by_key && !is_own_key)
}

async fn is_borne_out(
    session: &SessionContext,
    table: &TableName,
    column: &ColumnName,
    target: &TableSchema,
) -> Result<bool, CatalogError> {
    let [key] = target.key.as_slice() else { return Ok(false) };
    let from = format!("{}.{}", quoted(&table.schema), quoted(&table.table));
    let to = format!("{}.{}", quoted(&target.name.schema), quoted(&target.name.table));
    let (column, key) = (quoted(column), quoted(key));
    let present = number(session, &format!("SELECT count({column}) FROM {from}")).await?;
    let orphans = format!(
        "SELECT count(*) FROM {from} AS referring LEFT ANTI JOIN {to} AS referred ON referring.{column} = referred.{key} \
         WHERE referring.{column} IS NOT NULL"
    );
    Ok(present > 0 && number(session, &orphans).await? == 0)
}

/// The number that a query of one row and column gives.
async fn number(session: &SessionContext, sql: &str) -> Result<i64, CatalogError> {
    let batches = session.sql(sql).await?.collect().await?;
    let column = batches.iter().find(|batch| batch.num_rows() > 0).and_then(|batch| batch.columns().first());
    let numbers = column.and_then(|column| column.as_primitive_opt::<Int64Type>());
    Ok(numbers.and_then(|numbers| numbers.iter().next().flatten()).unwrap_or(0))
}

fn singular(name: &str) -> String {
    match name.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => name.strip_suffix('s').unwrap_or(name).to_owned(),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DatabaseSource, TableSettings, TableSettingsByName};

    #[tokio::test]
    async fn keys_and_references_need_evidence() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
        write("customers.csv", "id,email\n1,a\n2,b\n");
        write("orders.csv", "id,customer_id,category_id\n7,1,5\n8,1,6\n9,,5\n");
        write("order_lines.csv", "order_id,line_no,quantity\n7,1,3\n7,2,3\n8,1,3\n");
        write("categories.csv", "id,name\n5,x\n4,y\n");
        write("notes.csv", "id,text\n1,a\n1,a\n");
        let source = DatabaseSource::Folder(folder.path().to_owned());
        let catalog = Catalog::open(&source, &TableSettingsByName::new()).await.expect("a catalog");
        let keys = guessed_keys(&catalog).await.expect("keys");
        let told: Vec<String> = keys.iter().map(|(table, key)| format!("{table} {}", key.join(","))).collect();
        assert_eq!(
            told,
            ["public.categories id", "public.customers id", "public.order_lines order_id,line_no", "public.orders id"]
        );
        let settings: TableSettingsByName =
            keys.into_iter().map(|(table, key)| (table, TableSettings { key, ..TableSettings::default() })).collect();
        let catalog = Catalog::open(&source, &settings).await.expect("a catalog");
        let references = guessed_references(&catalog).await.expect("references");
        let told: Vec<String> = references
            .iter()
            .flat_map(|(table, found)| {
                found.iter().map(move |found| format!("{table} {} {}", found.columns.join(","), found.table))
            })
            .collect();
        assert_eq!(told, ["public.order_lines order_id public.orders", "public.orders customer_id public.customers"]);
    }
}
