//! The journal: which rows a statement writes, whoever writes them; and what foreign keys do by themselves, as triggers,
//! so that loading rows does not set it off.

use std::sync::Arc;

use super::server::{Scratch, ScratchTable};
use crate::engine::postgres::{described, quoted_identifier, quoted_table, quoted_text};
use crate::model::{ColumnName, ForeignKey, ReferentialAction, TableName, TableSchema};
use crate::sql::Schemas;

/// Lets every table whose rows are known tell its journal of what is written.
///
/// # Errors
/// What the server refuses.
pub(super) async fn install(scratch: &mut Scratch, schemas: &Schemas) -> Result<(), String> {
    let with_key = schemas.values().filter(|schema| !schema.key.is_empty());
    for (number, schema) in (0_i32..).zip(with_key) {
        match table(scratch, number, schema).await? {
            Ok(table) => {
                let sql = journal_of(&table);
                run(scratch, &sql).await?;
                scratch.tables.insert(schema.name.clone(), table);
            }
            Err(reason) => scratch.give_up(&schema.name, reason),
        }
    }
    let mut place = 0;
    for schema in schemas.values() {
        for key in &schema.foreign_keys {
            let sql = cascade_of(scratch, &schema.name, key, &mut place);
            run(scratch, &sql).await?;
        }
    }
    Ok(())
}

async fn run(scratch: &Scratch, sql: &str) -> Result<(), String> {
    scratch.session.client().batch_execute(sql).await.map_err(|error| described(&error))
}

/// A table as it stands there; why its rows cannot be known there, where they cannot.
async fn table(
    scratch: &Scratch,
    number: i32,
    schema: &Arc<TableSchema>,
) -> Result<Result<ScratchTable, String>, String> {
    let client = scratch.session.client();
    let sql = "SELECT attname::text, format_type(atttypid, atttypmod), attgenerated <> ''
               FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
    let columns = client.query(sql, &[&quoted_table(&schema.name)]).await.map_err(|error| described(&error))?;
    let mut table = ScratchTable {
        number,
        schema: Arc::clone(schema),
        types: columns.iter().map(|row| (row.get(0), row.get(1))).collect(),
        generated: columns.iter().filter(|row| row.get(2)).map(|row| row.get(0)).collect(),
        relations: Vec::new(),
    };
    if columns.is_empty() {
        return Ok(Err("it is not there".to_owned()));
    }
    let known: Vec<&str> = schema.columns.iter().map(|column| column.name.as_ref()).collect();
    let lacking = known.iter().find(|name| !table.types.contains_key(**name));
    let unknown = table.types.keys().find(|name| !known.contains(&name.as_str()));
    if let Some(column) = lacking.map(|name| (*name).to_owned()).or_else(|| unknown.cloned()) {
        return Ok(Err(format!("only one of the two has the column {column}")));
    }
    let sql = "SELECT relid::regclass::text FROM pg_partition_tree(to_regclass($1)) UNION SELECT to_regclass($1)::text";
    let relations = client.query(sql, &[&quoted_table(&schema.name)]).await.map_err(|error| described(&error))?;
    table.relations = relations.iter().map(|row| row.get(0)).collect();
    Ok(Ok(table))
}

/// Before any other trigger's, so that its image is nobody else's affair; the row at the end is read from the table.
fn journal_of(table: &ScratchTable) -> String {
    let key = |row: &str| {
        let text = |column: &ColumnName| format!("format('%s', {row}.{})", quoted_identifier(column));
        let cells: Vec<String> = table.schema.key.iter().map(text).collect();
        format!("INSERT INTO blast_radius_scratch.journal VALUES ({}, ARRAY[{}]);", table.number, cells.join(", "))
    };
    let (number, name) = (table.number, table.name());
    let emptied =
        quoted_text(&format!("{} is emptied by TRUNCATE, which is not followed", table.schema.name).replace('%', "%%"));
    format!(
        "CREATE FUNCTION blast_radius_scratch.journal_{number}() RETURNS trigger LANGUAGE plpgsql SET TimeZone = 'UTC'
             SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex' AS $journal$
         BEGIN
             IF TG_OP <> 'INSERT' THEN {} END IF;
             IF TG_OP <> 'DELETE' THEN {} END IF;
             RETURN NULL;
         END $journal$;
         CREATE TRIGGER \"!blast_radius_journal\" AFTER INSERT OR UPDATE OR DELETE ON {name}
             FOR EACH ROW EXECUTE FUNCTION blast_radius_scratch.journal_{number}();
         CREATE FUNCTION blast_radius_scratch.emptied_{number}() RETURNS trigger LANGUAGE plpgsql AS $journal$
         BEGIN
             RAISE EXCEPTION {emptied};
         END $journal$;
         CREATE TRIGGER \"!blast_radius_emptied\" BEFORE TRUNCATE ON {name}
             FOR EACH STATEMENT EXECUTE FUNCTION blast_radius_scratch.emptied_{number}();",
        key("OLD"),
        key("NEW"),
    )
}

/// What a foreign key does by itself; nothing, where one of its tables is not there.
fn cascade_of(scratch: &Scratch, of: &TableName, key: &ForeignKey, place: &mut u32) -> String {
    if !scratch.tables.contains_key(of) || !scratch.tables.contains_key(&key.table) {
        return String::new();
    }
    let columns = |names: &[ColumnName], prefix: &str| {
        let quoted: Vec<String> = names.iter().map(|name| format!("{prefix}{}", quoted_identifier(name))).collect();
        quoted.join(", ")
    };
    let (child, parent) = (quoted_table(of), quoted_table(&key.table));
    let refers = format!("({}) = ({})", columns(&key.columns, ""), columns(&key.referenced, "OLD."));
    let set = |value: &dyn Fn(usize) -> String| {
        let set: Vec<String> = key
            .columns
            .iter()
            .enumerate()
            .map(|(place, name)| format!("{} = {}", quoted_identifier(name), value(place)))
            .collect();
        format!("UPDATE {child} SET {} WHERE {refers}", set.join(", "))
    };
    let mut sql = String::new();
    for (event, action) in [("DELETE", key.on_delete), ("UPDATE", key.on_update)] {
        let does = match (action, event) {
            (ReferentialAction::Refuse, _) => continue,
            (ReferentialAction::Cascade, "DELETE") => format!("DELETE FROM {child} WHERE {refers}"),
            (ReferentialAction::Cascade, _) => set(&|place| {
                format!("NEW.{}", key.referenced.get(place).map(|name| quoted_identifier(name)).unwrap_or_default())
            }),
            (ReferentialAction::SetNull, _) => set(&|_| "NULL".to_owned()),
            (ReferentialAction::SetDefault, _) => set(&|_| "DEFAULT".to_owned()),
        };
        let changed =
            format!("({}) IS DISTINCT FROM ({})", columns(&key.referenced, "OLD."), columns(&key.referenced, "NEW."));
        let when = if event == "UPDATE" { format!("WHEN ({changed})") } else { String::new() };
        let number = *place;
        *place += 1;
        // PostgreSQL's own come before all others, too.
        sql.push_str(&format!(
            "CREATE FUNCTION blast_radius_scratch.cascade_{number}() RETURNS trigger LANGUAGE plpgsql AS $cascade$
             BEGIN {does}; RETURN NULL; END $cascade$;
             CREATE TRIGGER \"RI_ConstraintTrigger_a_{number:05}\" AFTER {event} ON {parent}
                 FOR EACH ROW {when} EXECUTE FUNCTION blast_radius_scratch.cascade_{number}();"
        ));
    }
    sql
}
