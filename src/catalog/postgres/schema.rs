//! The tables of a database, from `pg_catalog`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_postgres::{Client, Error};

use crate::model::{
    Column, ColumnName, ColumnType, Declarations, ForeignKey, GeneratedColumn, ReferentialAction, TableName,
    TableSchema, TimeZone, UniqueKey, View,
};

/// Tables are ordinary, partitioned and foreign tables and materialised views; a partition is read with its parent.
pub(super) const TABLES: &str = "c.relkind IN ('r', 'p', 'f', 'm') AND NOT c.relispartition AND n.nspname = ANY($1)";

/// The tables of some schemas, and where a table has no primary key, the best unique key it has.
pub(super) struct DatabaseSchema {
    pub(super) tables: Vec<TableSchema>,
    pub(super) unique_keys: BTreeMap<TableName, Vec<ColumnName>>,
    pub(super) declarations: Declarations,
}

/// Reads the tables of the schemas.
///
/// # Errors
/// What the database refuses.
pub(super) async fn read(client: &Client, schemas: &[String]) -> Result<DatabaseSchema, Error> {
    let mut tables = read_columns(client, schemas).await?;
    let mut unique_keys = BTreeMap::new();
    for (name, is_primary, columns) in read_keys(client, schemas).await? {
        match tables.get_mut(&name) {
            Some(table) if is_primary => table.key = columns,
            // The first is the best: see the query's order.
            Some(_) => _ = unique_keys.entry(name).or_insert(columns),
            None => {}
        }
    }
    for (name, foreign_key) in read_foreign_keys(client, schemas).await? {
        if let Some(table) = tables.get_mut(&name) {
            table.foreign_keys.push(foreign_key);
        }
    }
    for (name, unique_key) in read_unique_keys(client, schemas).await? {
        if let Some(table) = tables.get_mut(&name) {
            table.unique_keys.push(unique_key);
        }
    }
    let declarations = Declarations {
        generated: read_generated_columns(client, schemas).await?,
        views: read_views(client, schemas).await?,
        definitions: read_definitions(client, schemas).await?,
        partitions: read_partitions(client, schemas).await?,
        ..read_time_zones(client).await?
    };
    Ok(DatabaseSchema { tables: tables.into_values().collect(), unique_keys, declarations })
}

/// The time zone of a session that sets none, and the roles whose sessions begin with another.
async fn read_time_zones(client: &Client) -> Result<Declarations, Error> {
    let sql = "SELECT coalesce(
                   (SELECT split_part(setting, '=', 2) FROM pg_db_role_setting s, unnest(s.setconfig) AS setting
                    WHERE s.setrole = 0 AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                      AND setting ILIKE 'timezone=%'
                    ORDER BY s.setdatabase DESC LIMIT 1),
                   (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'))";
    let time_zone: String = client.query_one(sql, &[]).await?.try_get(0)?;
    let sql = "SELECT DISTINCT r.rolname::text
               FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) AS setting
               WHERE r.rolcanlogin AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                 AND setting ILIKE 'timezone=%' AND lower(split_part(setting, '=', 2)) <> lower($1::text)
               ORDER BY 1";
    let roles = client.query(sql, &[&time_zone]).await?;
    let roles = roles.iter().map(|row| row.try_get::<_, String>(0).map(Arc::from)).collect::<Result<_, _>>()?;
    Ok(Declarations { time_zone: TimeZone::named(&time_zone), roles_elsewhere: roles, ..Declarations::default() })
}

/// The schemas among `wanted` that the database does not have.
///
/// # Errors
/// What the database refuses.
pub(super) async fn missing_schemas(client: &Client, wanted: &[String]) -> Result<Vec<String>, Error> {
    let sql = "SELECT s FROM unnest($1::text[]) AS s WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = s)";
    let rows = client.query(sql, &[&wanted]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Every column with its base type: a domain is what it is a domain of.
async fn read_columns(client: &Client, schemas: &[String]) -> Result<BTreeMap<TableName, TableSchema>, Error> {
    let sql = format!(
        "WITH RECURSIVE resolved AS (
             SELECT a.attrelid, a.attnum, a.atttypid AS type_oid, a.atttypmod AS modifier, a.attnotnull AS not_null
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE {TABLES} AND a.attnum > 0 AND NOT a.attisdropped
             UNION ALL
             SELECT r.attrelid, r.attnum, t.typbasetype, t.typtypmod, r.not_null OR t.typnotnull
             FROM resolved r JOIN pg_type t ON t.oid = r.type_oid
             WHERE t.typtype = 'd'
         )
         SELECT n.nspname::text, c.relname::text, a.attname::text,
                CASE t.typname WHEN 'citext' THEN 'citext' ELSE format_type(r.type_oid, r.modifier) END,
                t.typtype = 'e', r.not_null,
                a.attgenerated <> '' OR c.relkind = 'm'
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN resolved r ON r.attrelid = c.oid
              AND NOT EXISTS (SELECT FROM pg_type d WHERE d.oid = r.type_oid AND d.typtype = 'd')
         LEFT JOIN pg_attribute a ON a.attrelid = r.attrelid AND a.attnum = r.attnum
         LEFT JOIN pg_type t ON t.oid = r.type_oid
         WHERE {TABLES}
         ORDER BY n.nspname, c.relname, a.attnum"
    );
    let mut tables: BTreeMap<TableName, TableSchema> = BTreeMap::new();
    for row in client.query(&sql, &[&schemas]).await? {
        let name = TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
        let table = tables.entry(name.clone()).or_insert_with(|| TableSchema {
            name,
            columns: Vec::new(),
            key: Vec::new(),
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
        });
        // A table without columns has one row here, of NULLs.
        let Some(column) = row.try_get::<_, Option<String>>(2)? else { continue };
        let is_like_text: bool = row.try_get(4)?;
        let type_name: String = row.try_get(3)?;
        table.columns.push(Column {
            name: column.into(),
            column_type: if is_like_text { ColumnType::Text } else { column_type(&type_name) },
            not_null: row.try_get(5)?,
            generated: row.try_get(6)?,
        });
    }
    Ok(tables)
}

/// Keys of tables: the primary key, and unique keys over columns that are never NULL, the narrowest first.
/// What must not repeat beside the primary key: what decides an `ON CONFLICT` of any constraint.
async fn read_unique_keys(client: &Client, schemas: &[String]) -> Result<Vec<(TableName, UniqueKey)>, Error> {
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text,
                ARRAY(SELECT a.attname::text FROM pg_attribute a
                      WHERE a.attrelid = c.oid AND a.attnum > 0
                        AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) ORDER BY a.attnum),
                NOT i.indisexclusion AND i.indpred IS NULL AND i.indexprs IS NULL
                AND NOT coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false)
         FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {TABLES} AND (i.indisunique OR i.indisexclusion) AND NOT i.indisprimary AND i.indisvalid AND i.indimmediate
         ORDER BY 1, 2, i.indexrelid"
    );
    let rows = client.query(&sql, &[&schemas]).await?;
    let unique_key = |row: &tokio_postgres::Row| {
        let name = TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
        Ok((name, UniqueKey { columns: column_names(row.try_get(2)?), is_plain: row.try_get(3)? }))
    };
    rows.iter().map(unique_key).collect()
}

async fn read_keys(client: &Client, schemas: &[String]) -> Result<Vec<(TableName, bool, Vec<ColumnName>)>, Error> {
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, i.indisprimary, array_agg(a.attname::text ORDER BY k.position)
         FROM pg_index i
         JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_class x ON x.oid = i.indexrelid
         CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, position)
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
         WHERE {TABLES} AND i.indisunique AND i.indisvalid AND (i.indimmediate OR i.indisprimary)
               AND i.indpred IS NULL AND i.indexprs IS NULL AND k.position <= i.indnkeyatts
         GROUP BY n.nspname, c.relname, x.relname, i.indisprimary, i.indnkeyatts
         HAVING i.indisprimary OR bool_and(a.attnotnull)
         ORDER BY n.nspname, c.relname, i.indnkeyatts, x.relname"
    );
    let rows = client.query(&sql, &[&schemas]).await?;
    let keys = rows.iter().map(|row| {
        let name = TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
        Ok((name, row.try_get(2)?, column_names(row.try_get(3)?)))
    });
    keys.collect()
}

/// Stored generated columns, each with the expression that computes it.
async fn read_generated_columns(client: &Client, schemas: &[String]) -> Result<Vec<GeneratedColumn>, Error> {
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, a.attname::text, pg_get_expr(d.adbin, d.adrelid)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_attribute a ON a.attrelid = c.oid
         JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE {TABLES} AND a.attgenerated = 's' AND NOT a.attisdropped
         ORDER BY n.nspname, c.relname, a.attnum"
    );
    let rows = client.query(&sql, &[&schemas]).await?;
    let columns = rows.iter().map(|row| {
        Ok(GeneratedColumn {
            table: TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?),
            column: row.try_get::<_, String>(2)?.into(),
            expression: row.try_get::<_, String>(3)?.into(),
        })
    });
    columns.collect()
}

/// Views, as they are now. What they read has its full name: the session's search path is empty.
async fn read_views(client: &Client, schemas: &[String]) -> Result<Vec<View>, Error> {
    let sql = "SELECT n.nspname::text, c.relname::text, pg_get_viewdef(c.oid)
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind = 'v' AND n.nspname = ANY($1)
               ORDER BY n.nspname, c.relname";
    let rows = client.query(sql, &[&schemas]).await?;
    let views = rows.iter().map(|row| {
        Ok(View {
            name: TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?),
            sql: row.try_get::<_, String>(2)?.into(),
        })
    });
    views.collect()
}

/// Materialized views, routines in SQL and PL/pgSQL and other languages that are text, and triggers that fire. What an
/// extension brings is its own affair.
async fn read_definitions(client: &Client, schemas: &[String]) -> Result<Vec<Arc<str>>, Error> {
    let sql = "SELECT format('CREATE MATERIALIZED VIEW %I.%I AS %s', n.nspname, c.relname, pg_get_viewdef(c.oid))
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind = 'm' AND n.nspname = ANY($1)
               UNION ALL
               SELECT pg_get_functiondef(p.oid)
               FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
               WHERE p.prokind IN ('f', 'p') AND l.lanname NOT IN ('c', 'internal') AND n.nspname = ANY($1)
                 AND NOT EXISTS (SELECT FROM pg_depend d
                                 WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
               UNION ALL
               SELECT pg_get_triggerdef(t.oid)
               FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace o ON o.oid = f.pronamespace
               WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND n.nspname = ANY($1)
                 -- What records writes changes none.
                 AND o.nspname <> 'blast_radius_capture'";
    let rows = client.query(sql, &[&schemas]).await?;
    rows.iter().map(|row| Ok(row.try_get::<_, String>(0)?.into())).collect()
}

/// The partitions, in whatever schema, of these schemas' tables. Some recordings tell a write under the partition's name.
async fn read_partitions(client: &Client, schemas: &[String]) -> Result<BTreeMap<TableName, TableName>, Error> {
    let sql = "SELECT pn.nspname::text, p.relname::text, n.nspname::text, c.relname::text
               FROM pg_class p JOIN pg_namespace pn ON pn.oid = p.relnamespace
               JOIN pg_class c ON c.oid = pg_partition_root(p.oid) JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE p.relispartition AND p.relkind IN ('r', 'p', 'f') AND n.nspname = ANY($1)";
    let rows = client.query(sql, &[&schemas]).await?;
    let name = |row: &tokio_postgres::Row, place: usize| -> Result<TableName, Error> {
        Ok(TableName::new(row.try_get::<_, String>(place)?, row.try_get::<_, String>(place + 1)?))
    };
    rows.iter().map(|row| Ok((name(row, 0)?, name(row, 2)?))).collect()
}

/// Foreign keys as they were declared: those that partitions inherit are left out.
async fn read_foreign_keys(client: &Client, schemas: &[String]) -> Result<Vec<(TableName, ForeignKey)>, Error> {
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, fn.nspname::text, fc.relname::text,
                array_agg(a.attname::text ORDER BY k.position), array_agg(fa.attname::text ORDER BY k.position),
                o.confdeltype::text, o.confupdtype::text
         FROM pg_constraint o
         JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_class fc ON fc.oid = o.confrelid JOIN pg_namespace fn ON fn.oid = fc.relnamespace
         CROSS JOIN LATERAL unnest(o.conkey, o.confkey) WITH ORDINALITY AS k (attnum, foreign_attnum, position)
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
         JOIN pg_attribute fa ON fa.attrelid = fc.oid AND fa.attnum = k.foreign_attnum
         WHERE {TABLES} AND o.contype = 'f' AND o.conparentid = 0
         GROUP BY n.nspname, c.relname, fn.nspname, fc.relname, o.conname, o.confdeltype, o.confupdtype
         ORDER BY n.nspname, c.relname, o.conname"
    );
    let rows = client.query(&sql, &[&schemas]).await?;
    let foreign_keys = rows.iter().map(|row| {
        let name = TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
        let referenced_table = TableName::new(row.try_get::<_, String>(2)?, row.try_get::<_, String>(3)?);
        let foreign_key = ForeignKey {
            columns: column_names(row.try_get(4)?),
            table: referenced_table,
            referenced: column_names(row.try_get(5)?),
            on_delete: referential_action(row.try_get(6)?),
            on_update: referential_action(row.try_get(7)?),
        };
        Ok((name, foreign_key))
    });
    foreign_keys.collect()
}

/// By `pg_constraint`'s letter.
fn referential_action(letter: &str) -> ReferentialAction {
    match letter {
        "c" => ReferentialAction::Cascade,
        "n" => ReferentialAction::SetNull,
        "d" => ReferentialAction::SetDefault,
        _ => ReferentialAction::Refuse,
    }
}

fn column_names(names: Vec<String>) -> Vec<ColumnName> {
    names.into_iter().map(ColumnName::from).collect()
}

/// A type by the name that `format_type` gives it.
fn column_type(name: &str) -> ColumnType {
    match name {
        "boolean" => ColumnType::Boolean,
        "smallint" => ColumnType::SmallInt,
        "integer" => ColumnType::Integer,
        "bigint" => ColumnType::BigInt,
        "numeric" => ColumnType::Numeric(None),
        "real" => ColumnType::Real,
        "double precision" => ColumnType::Double,
        "text" | "character varying" => ColumnType::Text,
        "date" => ColumnType::Date,
        _ => sized_type(name).unwrap_or_else(|| ColumnType::Other(name.to_owned())),
    }
}

/// A type whose name holds its size: `numeric(12,2)`, `character varying(20)`, `timestamp(3) with time zone`.
fn sized_type(name: &str) -> Option<ColumnType> {
    if let Some(size) = name.strip_prefix("numeric(").and_then(|rest| rest.strip_suffix(')')) {
        let (precision, scale) = size.split_once(',')?;
        // Scales that the engine has no type for stay text: exact, but not computed with.
        let precision = precision.parse::<u8>().ok().filter(|precision| *precision <= 76)?;
        let scale =
            scale.parse::<i8>().ok().filter(|scale| (0..=i8::try_from(precision).unwrap_or(76)).contains(scale))?;
        return Some(ColumnType::Numeric(Some((precision, scale))));
    }
    if let Some(size) = name.strip_prefix("character varying(").and_then(|rest| rest.strip_suffix(')')) {
        return size.parse().ok().map(ColumnType::Varchar);
    }
    let rest = name.strip_prefix("timestamp")?;
    match rest.strip_suffix(" with time zone") {
        Some(_) => Some(ColumnType::TimestampTz),
        None => rest.ends_with(" without time zone").then_some(ColumnType::Timestamp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names_are_understood() {
        for (name, expected) in [
            ("numeric(12,2)", ColumnType::Numeric(Some((12, 2)))),
            ("numeric(100,2)", ColumnType::Other("numeric(100,2)".to_owned())),
            ("numeric(5,-2)", ColumnType::Other("numeric(5,-2)".to_owned())),
            ("character varying(20)", ColumnType::Varchar(20)),
            ("timestamp(3) without time zone", ColumnType::Timestamp),
            ("timestamp with time zone", ColumnType::TimestampTz),
            ("timestamp with time zone[]", ColumnType::Other("timestamp with time zone[]".to_owned())),
            ("character(3)", ColumnType::Other("character(3)".to_owned())),
            ("jsonb", ColumnType::Other("jsonb".to_owned())),
        ] {
            assert_eq!(column_type(name), expected, "{name}");
        }
    }
}
