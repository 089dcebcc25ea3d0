//! Rows: the tables there hold those of the actual world, kept up as it rolls on; those of the right world are laid over
//! them for a run.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::server::{Scratch, ScratchTable};
use crate::catalog::{RollingTables, World};
use crate::engine::postgres::quoted_identifier;
use crate::model::{ColumnName, RecordKey, Row, TableName, Value};
use crate::trace::reenact::Refusal;

/// Rows sent at once.
const BATCH: usize = 2_000;

impl Scratch {
    /// Brings the tables up to the actual world as it stands.
    ///
    /// # Errors
    /// Rows that the server refuses.
    pub(super) async fn keep_up(
        &mut self,
        tables: &mut RollingTables,
        reached: &BTreeSet<TableName>,
    ) -> Result<(), Refusal> {
        for name in reached {
            let (Some(table), Some(rolling)) = (self.tables.get(name), tables.table_mut(name)) else { continue };
            let changed = rolling.take_changed();
            if changed.as_ref().is_some_and(BTreeSet::is_empty) {
                continue;
            }
            let (keys, rows): (Vec<RecordKey>, Vec<Arc<Row>>) = match changed {
                None => (Vec::new(), rolling.rows(World::Actual).cloned().collect()),
                Some(keys) => {
                    let rows = keys.iter().filter_map(|key| rolling.row(World::Actual, key).cloned()).collect();
                    (keys.into_iter().collect(), rows)
                }
            };
            let kept = self.put(table, &keys, &rows, "SAVEPOINT kept").await;
            let client = self.session.client();
            let ended = match &kept {
                Ok(()) => client.batch_execute("RELEASE kept").await,
                Err(error) if error.as_db_error().is_none() => Ok(()),
                Err(_) => client.batch_execute("ROLLBACK TO kept; RELEASE kept").await,
            };
            if let Err(error) = kept.and(ended) {
                let refusal = self.refused(&error);
                // What is there now is no world's.
                self.give_up(name, format!("its rows are refused: {refusal}"));
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Lays the right world's rows over the actual ones.
    pub(super) async fn overlay(
        &self,
        tables: &RollingTables,
        reached: &BTreeSet<TableName>,
    ) -> Result<(), tokio_postgres::Error> {
        for name in reached {
            let (Some(table), Some(rolling)) = (self.tables.get(name), tables.table(name)) else { continue };
            if !rolling.has_overlay() {
                continue;
            }
            let key = &table.schema.key;
            let keys: Vec<RecordKey> = rolling.overlay().filter_map(|(actual, _)| actual?.key(key)).collect();
            let rows: Vec<Arc<Row>> = rolling.overlay().filter_map(|(_, right)| right.cloned()).collect();
            self.put(table, &keys, &rows, "").await?;
        }
        Ok(())
    }

    /// Takes the rows of these keys away and puts others there, with no trigger the wiser.
    async fn put(
        &self,
        table: &ScratchTable,
        keys: &[RecordKey],
        rows: &[Arc<Row>],
        before: &str,
    ) -> Result<(), tokio_postgres::Error> {
        let client = self.session.client();
        let triggers = |what: &str| -> String {
            table.relations.iter().map(|relation| format!("ALTER TABLE {relation} {what} TRIGGER USER; ")).collect()
        };
        client.batch_execute(&format!("{before}; {}", triggers("DISABLE"))).await?;
        for keys in keys.chunks(BATCH) {
            let values = |column: &ColumnName| keys.iter().map(|key| text(key.get(column))).collect();
            let columns: Vec<Vec<Option<&str>>> = table.schema.key.iter().map(values).collect();
            let names: Vec<&ColumnName> = table.schema.key.iter().collect();
            let (list, source) = unnested(table, &names);
            let sql = format!("DELETE FROM {} WHERE ({list}) IN (SELECT {source})", table.name());
            execute(client, &sql, &columns).await?;
        }
        let written = table.schema.columns.iter().map(|column| &column.name);
        let written: Vec<&ColumnName> =
            written.filter(|name| !table.generated.iter().any(|one| **one == ***name)).collect();
        for rows in rows.chunks(BATCH) {
            let values = |column: &&ColumnName| rows.iter().map(|row| text(row.get(column))).collect();
            let columns: Vec<Vec<Option<&str>>> = written.iter().map(values).collect();
            let (list, source) = unnested(table, &written);
            let sql = format!("INSERT INTO {} ({list}) SELECT {source}", table.name());
            execute(client, &sql, &columns).await?;
        }
        client.batch_execute(&format!("{}{}", self.checks, triggers("ENABLE"))).await
    }
}

async fn execute(
    client: &tokio_postgres::Client,
    sql: &str,
    columns: &[Vec<Option<&str>>],
) -> Result<(), tokio_postgres::Error> {
    let parameters: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
        columns.iter().map(|column| column as &(dyn tokio_postgres::types::ToSql + Sync)).collect();
    client.execute(sql, &parameters).await.map(|_| ())
}

fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}

/// The columns' names, and the select list that has their values from an array of texts for each.
pub(super) fn unnested(table: &ScratchTable, columns: &[&ColumnName]) -> (String, String) {
    let list: Vec<String> = columns.iter().map(|column| quoted_identifier(column)).collect();
    let typed: Vec<String> =
        columns.iter().enumerate().map(|(place, column)| table.typed(column, &format!("u.c{place}"))).collect();
    let arrays: Vec<String> = (1..=columns.len()).map(|number| format!("${number}::text[]")).collect();
    let names: Vec<String> = (0..columns.len()).map(|place| format!("c{place}")).collect();
    (list.join(", "), format!("{} FROM unnest({}) AS u ({})", typed.join(", "), arrays.join(", "), names.join(", ")))
}
