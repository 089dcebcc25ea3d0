//! One run of a statement over one world; taken back as soon as its outcome is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type};

use super::amendment::{self, Amendment};
use super::rows::unnested;
use super::server::{OWN_SETTINGS, SHADOW, Scratch};
use crate::catalog::{RollingTables, World};
use crate::engine::postgres::{quoted_identifier, quoted_text};
use crate::model::{ColumnName, RecordKey, Row, TableName, Timestamp, Value};
use crate::sql::with_given_time;
use crate::trace::reenact::Refusal;
use crate::trace::worlds::RecordName;

/// What may be run: nothing that ends a transaction is, nor what gets its rows from elsewhere.
const RUN: [&str; 8] = ["select", "with", "insert", "update", "delete", "merge", "call", "values"];

/// What a call of the clock, a sequence or chance gave: by its kind, and the how manieth of its kind it was.
pub(super) type Given = BTreeMap<(String, i32), String>;

/// How a statement runs.
#[derive(Clone, Debug)]
pub(super) struct Asked<'a> {
    pub(super) sql: &'a str,
    pub(super) parameters: &'a [Value],
    /// Its session's time zone.
    pub(super) zone: Arc<str>,
    /// What `now()` is …
    pub(super) now: Timestamp,
    /// … and when the statement began.
    pub(super) statement: Timestamp,
    /// What `txid_current()` is.
    pub(super) transaction: Option<&'a str>,
    pub(super) given: Given,
    pub(super) seed: u32,
    pub(super) amendments: &'a [Amendment],
    pub(super) reached: &'a BTreeSet<TableName>,
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ran {
    /// Every row written, as it is in the end.
    pub(super) rows: BTreeMap<RecordName, Option<Row>>,
    /// What was handed back, as the server sends it.
    pub(super) returned: Vec<Vec<Option<Vec<u8>>>>,
    /// How often the clock, sequences and chance were called, by kind.
    pub(super) calls: BTreeMap<String, i32>,
}

impl Scratch {
    /// Runs the statement over one world, and takes back what it did.
    ///
    /// # Errors
    /// What the server refuses, what must not be run there.
    pub(super) async fn run(
        &mut self,
        tables: &RollingTables,
        world: World,
        asked: &Asked<'_>,
    ) -> Result<Ran, Refusal> {
        let sql = runnable(asked.sql)?;
        let ran = self.ran(tables, world, &sql, asked).await;
        let lost = ran.as_ref().is_err_and(|error| error.as_db_error().is_none());
        let taken_back = match lost {
            true => Ok(()),
            false => self.session.client().batch_execute("ROLLBACK TO run; RELEASE run").await,
        };
        if let Err(error) = taken_back {
            return Err(self.refused(&error));
        }
        ran.map_err(|error| self.refused(&error))
    }

    async fn ran(
        &self,
        tables: &RollingTables,
        world: World,
        sql: &str,
        asked: &Asked<'_>,
    ) -> Result<Ran, tokio_postgres::Error> {
        let client = self.session.client();
        client.batch_execute("SAVEPOINT run").await?;
        if world == World::Right {
            self.overlay(tables, asked.reached).await?;
        }
        client.batch_execute(&self.preparation(asked)).await?;
        let statement = client.prepare(sql).await?;
        let texts: Vec<TextParameter<'_>> =
            asked.parameters.iter().map(|value| TextParameter(value.as_str())).collect();
        let parameters = texts.iter().map(|text| text as &(dyn ToSql + Sync)).take(statement.params().len());
        let returned = client.query(&statement, &parameters.collect::<Vec<_>>()).await?;
        let cells = |row: &tokio_postgres::Row| (0..row.len()).map(|place| row.get::<_, Sent>(place).0).collect();
        let mut ran = Ran { returned: returned.iter().map(cells).collect(), ..Ran::default() };
        ran.returned.sort();
        client.batch_execute(&format!("{}{OWN_SETTINGS}", self.checks)).await?;
        for row in client.query("SELECT kind, count FROM blast_radius_scratch.calls", &[]).await? {
            ran.calls.insert(row.get(0), row.get(1));
        }
        let written = client.query("SELECT DISTINCT relation, key FROM blast_radius_scratch.journal", &[]).await?;
        let mut keys: BTreeMap<i32, Vec<Vec<Option<String>>>> = BTreeMap::new();
        for row in &written {
            keys.entry(row.get(0)).or_default().push(row.get(1));
        }
        for (number, keys) in keys {
            self.read_rows(number, &keys, &mut ran).await?;
        }
        Ok(ran)
    }

    /// All that stands before the statement: times, what is given, what is amended, and a session's own settings.
    fn preparation(&self, asked: &Asked<'_>) -> String {
        let mut settings = vec![
            ("blast_radius.now", asked.now.to_string()),
            ("blast_radius.statement", asked.statement.to_string()),
            ("blast_radius.seed", asked.seed.to_string()),
        ];
        settings.extend(asked.transaction.map(|id| ("blast_radius.transaction", id.to_owned())));
        let set = settings.iter().map(|(name, value)| format!("SET LOCAL {name} = {}; ", quoted_text(value)));
        let mut text: String = set.collect();
        if !asked.given.is_empty() {
            let given = asked.given.iter();
            let rows: Vec<String> = given
                .map(|((kind, place), value)| format!("({}, {place}, {})", quoted_text(kind), quoted_text(value)))
                .collect();
            text.push_str(&format!("INSERT INTO blast_radius_scratch.given VALUES {}; ", rows.join(", ")));
        }
        let mut by_table: BTreeMap<&TableName, Vec<&Amendment>> = BTreeMap::new();
        for amendment in asked.amendments {
            by_table.entry(&amendment.table).or_default().push(amendment);
        }
        for (table, amendments) in by_table {
            text.push_str(&amendment::trigger(self, table, &amendments).unwrap_or_default());
        }
        text.push_str(&self.session_settings);
        text.push_str(&format!("SET LOCAL TimeZone = {}", quoted_text(&asked.zone)));
        text
    }

    /// The rows of these keys as they stand; those that are gone, as gone.
    async fn read_rows(
        &self,
        number: i32,
        keys: &[Vec<Option<String>>],
        ran: &mut Ran,
    ) -> Result<(), tokio_postgres::Error> {
        let Some(table) = self.tables.values().find(|table| table.number == number) else { return Ok(()) };
        let names: Vec<&ColumnName> = table.schema.key.iter().collect();
        let value = |text: Option<String>| text.map_or(Value::NULL, Value::text);
        for key in keys {
            let cells = names.iter().zip(key).map(|(name, text)| ((*name).clone(), value(text.clone())));
            ran.rows.insert((table.schema.name.clone(), RecordKey::new(cells.collect())), None);
        }
        let columns: Vec<Vec<Option<&str>>> =
            (0..names.len()).map(|place| keys.iter().map(|key| key.get(place)?.as_deref()).collect()).collect();
        let (list, source) = unnested(table, &names);
        let printed: Vec<String> = table
            .schema
            .columns
            .iter()
            .map(|column| quoted_identifier(&column.name))
            .map(|name| format!("CASE WHEN {name} IS DISTINCT FROM NULL THEN format('%s', {name}) END"))
            .collect();
        let sql = format!("SELECT {} FROM {} WHERE ({list}) IN (SELECT {source})", printed.join(", "), table.name());
        let parameters: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
        for found in self.session.client().query(&sql, &parameters).await? {
            let mut row = Row::with_capacity(table.schema.columns.len());
            for (place, column) in table.schema.columns.iter().enumerate() {
                row.push(column.name.clone(), value(found.get(place)));
            }
            if let Some(key) = row.key(&table.schema.key) {
                ran.rows.insert((table.schema.name.clone(), key), Some(row));
            }
        }
        Ok(())
    }
}

/// The statement with the time given to it. One that could end our transaction is never sent.
fn runnable(sql: &str) -> Result<String, Refusal> {
    let first = crate::sql::first_word(sql).unwrap_or_default();
    if !RUN.contains(&first.as_str()) {
        return Err(Refusal(format!("is not run on a scratch server: it begins with {}", first.to_uppercase())));
    }
    with_given_time(sql, SHADOW, false).map_err(Refusal)
}

/// A parameter as the log prints it, whatever its type.
#[derive(Debug)]
struct TextParameter<'a>(Option<&'a str>);

impl ToSql for TextParameter<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut tokio_postgres::types::private::BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let Some(text) = self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

/// A value as the server sends it.
struct Sent(Option<Vec<u8>>);

impl<'a> FromSql<'a> for Sent {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Sent(Some(raw.to_vec())))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Sent(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
