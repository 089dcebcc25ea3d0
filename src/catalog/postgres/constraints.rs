//! What a database declares of its rows beside keys and types: uniqueness, CHECKs, the values of enums and domains.

use std::collections::BTreeMap;

use regex::Regex;
use tokio_postgres::{Client, Error};

use super::schema::TABLES;
use crate::model::{ColumnName, TableName};

/// What a database declares of one table's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableConstraints {
    /// Columns that no two rows share, the primary key's apart; partial indexes and those on expressions are left out.
    pub unique: Vec<Vec<ColumnName>>,
    /// CHECK constraints, those of its columns' domains among them.
    pub checks: Vec<CheckConstraint>,
    /// Columns of an enum type, with its labels in order.
    pub labels: Vec<(ColumnName, Vec<String>)>,
}

/// One CHECK constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckConstraint {
    /// Its name.
    pub name: String,
    /// Its condition, as PostgreSQL prints it.
    pub condition: String,
    /// Whether the rows there were when it was made keep to it, too: false for NOT VALID.
    pub is_validated: bool,
}

/// Reads what is declared of every table of the schemas.
///
/// # Errors
/// What the database refuses.
pub(super) async fn read(client: &Client, schemas: &[String]) -> Result<BTreeMap<TableName, TableConstraints>, Error> {
    let mut tables: BTreeMap<TableName, TableConstraints> = BTreeMap::new();
    for row in client.query(&unique_sql(), &[&schemas]).await? {
        let names: Vec<String> = row.try_get(2)?;
        tables.entry(table_name(&row)?).or_default().unique.push(names.into_iter().map(ColumnName::from).collect());
    }
    for row in client.query(&checks_sql(), &[&schemas]).await? {
        let condition: String = row.try_get(3)?;
        let check = CheckConstraint { name: row.try_get(2)?, condition, is_validated: row.try_get(4)? };
        tables.entry(table_name(&row)?).or_default().checks.push(check);
    }
    for row in client.query(&domain_checks_sql(), &[&schemas]).await? {
        let (column, definition): (String, String) = (row.try_get(3)?, row.try_get(4)?);
        let Some(condition) = domain_condition(&definition, &column) else { continue };
        let check = CheckConstraint { name: row.try_get(2)?, condition, is_validated: row.try_get(5)? };
        tables.entry(table_name(&row)?).or_default().checks.push(check);
    }
    for row in client.query(&labels_sql(), &[&schemas]).await? {
        let column: String = row.try_get(2)?;
        tables.entry(table_name(&row)?).or_default().labels.push((column.into(), row.try_get(3)?));
    }
    Ok(tables)
}

/// The schemas that hold tables: neither PostgreSQL's own nor ours.
///
/// # Errors
/// What the database refuses.
pub(super) async fn schemas_with_tables(client: &Client) -> Result<Vec<String>, Error> {
    let sql = "SELECT DISTINCT n.nspname::text
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind IN ('r', 'p', 'f', 'm') AND NOT c.relispartition
                     AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname !~ '^blast_radius'
                     AND has_schema_privilege(n.oid, 'USAGE')
               ORDER BY 1";
    client.query(sql, &[]).await?.iter().map(|row| row.try_get(0)).collect()
}

fn table_name(row: &tokio_postgres::Row) -> Result<TableName, Error> {
    Ok(TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?))
}

fn unique_sql() -> String {
    format!(
        "SELECT n.nspname::text, c.relname::text, array_agg(a.attname::text ORDER BY k.position)
         FROM pg_index i
         JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_class x ON x.oid = i.indexrelid
         CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, position)
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
         WHERE {TABLES} AND i.indisunique AND i.indisvalid AND NOT i.indisprimary
               AND i.indpred IS NULL AND i.indexprs IS NULL AND k.position <= i.indnkeyatts
         GROUP BY n.nspname, c.relname, x.relname
         ORDER BY n.nspname, c.relname, x.relname"
    )
}

fn checks_sql() -> String {
    format!(
        "SELECT n.nspname::text, c.relname::text, o.conname::text, pg_get_expr(o.conbin, o.conrelid), o.convalidated
         FROM pg_constraint o
         JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {TABLES} AND o.contype = 'c'
         ORDER BY n.nspname, c.relname, o.conname"
    )
}

fn domain_checks_sql() -> String {
    format!(
        "WITH RECURSIVE typed AS (
             SELECT a.attrelid, a.attnum, a.attname, a.atttypid AS type_oid
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE {TABLES} AND a.attnum > 0 AND NOT a.attisdropped
             UNION ALL
             SELECT r.attrelid, r.attnum, r.attname, t.typbasetype
             FROM typed r JOIN pg_type t ON t.oid = r.type_oid WHERE t.typtype = 'd'
         )
         SELECT n.nspname::text, c.relname::text, o.conname::text, r.attname::text, pg_get_constraintdef(o.oid),
                o.convalidated
         FROM typed r
         JOIN pg_class c ON c.oid = r.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_constraint o ON o.contypid = r.type_oid AND o.contype = 'c'
         ORDER BY n.nspname, c.relname, r.attnum, o.conname"
    )
}

fn labels_sql() -> String {
    format!(
        "SELECT n.nspname::text, c.relname::text, a.attname::text, array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
         FROM pg_attribute a
         JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_enum e ON e.enumtypid = a.atttypid
         WHERE {TABLES} AND a.attnum > 0 AND NOT a.attisdropped
         GROUP BY n.nspname, c.relname, a.attname, a.attnum
         ORDER BY n.nspname, c.relname, a.attnum"
    )
}

/// `CHECK ((VALUE > 0))` of a domain as a condition over a column of it.
fn domain_condition(definition: &str, column: &str) -> Option<String> {
    let condition = definition.strip_prefix("CHECK ")?.trim_end_matches(" NOT VALID");
    let quoted = format!("\"{}\"", column.replace('"', "\"\""));
    let value = Regex::new(r"\bVALUE\b").ok()?;
    Some(value.replace_all(condition, regex::NoExpand(&quoted)).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_s_value_is_the_column() {
        let condition = domain_condition("CHECK ((VALUE > (0)::numeric))", "unit price");
        assert_eq!(condition.as_deref(), Some("((\"unit price\" > (0)::numeric))"));
        assert_eq!(domain_condition("NOT NULL", "price"), None);
    }
}
