//! The connection to a scratch server, and what is made there of the database under audit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::definitions::{self, Made};
use super::journal;
use crate::catalog::{CatalogError, DatabaseDefinitions, definitions_of, scratch_session, standing_definitions};
use crate::engine::postgres::{Session, described, quoted_identifier, quoted_text};
use crate::model::{CommitSeq, DatabaseSource, TableName, TableSchema, TimeZone, Timestamp, Transaction};
use crate::sql::Schemas;
use crate::trace::error::TraceError;
use crate::trace::reach::{Reach, Reached, is_partition};
use crate::trace::reenact::Refusal;

/// The schema that stands before `pg_catalog` there.
pub(super) const SHADOW: &str = "blast_radius_scratch";

/// Values print as everywhere else, and what stands before `pg_catalog` comes first.
pub(super) const OWN_SETTINGS: &str = "SET LOCAL search_path = blast_radius_scratch, pg_catalog; SET LOCAL TimeZone = 'UTC'; \
     SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL bytea_output = 'hex'; \
     SET LOCAL extra_float_digits = 1";

/// A scratch PostgreSQL with the definitions of the database under audit.
pub struct Scratch {
    pub(super) session: Session,
    reach: Reach,
    /// The tables whose rows are known, as they stand there.
    pub(super) tables: BTreeMap<TableName, ScratchTable>,
    /// Tables and views that are not there as they are in the database, and why.
    incomplete: BTreeMap<TableName, String>,
    /// Tables that are there without the rows that nobody knows.
    unknown_rows: BTreeSet<TableName>,
    /// Functions and the like that could not be made, by a word that names them.
    missing: BTreeMap<String, String>,
    /// What a session of the database has set.
    pub(super) session_settings: String,
    /// The time zone of a session that sets none.
    pub(super) zone: TimeZone,
    /// The largest value of each sequence, by its oid.
    pub(super) sequences: BTreeMap<String, i64>,
    /// The transaction whose time its own writes have told, and that time.
    time: Option<(CommitSeq, Timestamp)>,
    /// What has every constraint checked that would wait for the commit.
    pub(super) checks: String,
    /// What broke the connection off.
    broken: Option<String>,
}

/// A table of the scratch server whose rows are known.
pub(super) struct ScratchTable {
    /// Its number in the journal.
    pub(super) number: i32,
    pub(super) schema: Arc<TableSchema>,
    /// The type of each column, as the server names it.
    pub(super) types: BTreeMap<String, String>,
    /// Columns that the server computes itself.
    pub(super) generated: Vec<String>,
    /// The table and its partitions, in quotes.
    pub(super) relations: Vec<String>,
}

impl ScratchTable {
    /// The table itself, in quotes.
    pub(super) fn name(&self) -> String {
        crate::engine::postgres::quoted_table(&self.schema.name)
    }

    /// A text as a value of the column.
    pub(super) fn typed(&self, column: &str, text: &str) -> String {
        format!("{text}::{}", self.types.get(column).map_or("text", String::as_str))
    }
}

impl Scratch {
    /// Whether the server answers at all.
    ///
    /// # Errors
    /// As [`Scratch::open`].
    pub async fn reach(url: &str) -> Result<(), TraceError> {
        scratch_session(url).await.map(|_| ()).map_err(unreachable)
    }

    /// From now on, a session that sets no time zone has this one.
    pub fn set_zone(&mut self, zone: &TimeZone) {
        self.zone.clone_from(zone);
    }

    /// Connects, and makes there what the database holds: as it stands in the scratch database, where any of its tables
    /// does; else as the database itself says.
    ///
    /// # Errors
    /// A server that does not answer or refuses, the database under audit itself, definitions that nobody knows.
    pub async fn open(url: &str, database: &DatabaseSource, schemas: &Schemas) -> Result<Scratch, TraceError> {
        let failed = |reason: String, help: &str| TraceError::Scratch { reason, help: help.to_owned() };
        let (session, identity) = scratch_session(url).await.map_err(unreachable)?;
        let live = match database {
            DatabaseSource::Postgres { url, .. } => Some(definitions_of(url).await?),
            DatabaseSource::Folder(_) => None,
        };
        if live.as_ref().is_some_and(|(_, live)| *live == identity) {
            let reason = "it is the database under audit".to_owned();
            return Err(failed(reason, "Make another database for it: createdb scratch."));
        }
        let standing = standing_definitions(&session).await?;
        if let Some((live, _)) = &live
            && !live.text_order.is_same(&standing.text_order)
        {
            let reason =
                format!("it orders text otherwise ({}; the database: {})", standing.text_order, live.text_order);
            let [_, collate, classes] = &live.text_order.collation;
            let help = format!(
                "Make one that does: CREATE DATABASE scratch TEMPLATE template0 ENCODING '{}' LC_COLLATE '{collate}' LC_CTYPE '{classes}'.",
                live.text_order.encoding
            );
            return Err(failed(reason, &help));
        }
        let stands = standing.objects.iter().any(|object| {
            object.kind == "table" && object.part_of.as_ref().is_some_and(|table| schemas.contains_key(table))
        });
        let definitions = match (stands, live) {
            (true, _) => standing.clone(),
            (false, Some((live, _))) => live,
            (false, None) => {
                let reason =
                    "nobody knows how the tables are made: the data is a folder, and none of its tables stands there"
                        .to_owned();
                return Err(failed(
                    reason,
                    "Restore the database's schema there first: pg_dump --schema-only shop | psql scratch.",
                ));
            }
        };
        let mut scratch = Scratch::made(session, &definitions, &standing, schemas).await.map_err(|reason| {
            failed(
                reason,
                "Its role must own the scratch database, or be a superuser of a server that holds nothing else.",
            )
        })?;
        scratch.session_settings = settings_of(&definitions);
        Ok(scratch)
    }

    async fn made(
        session: Session,
        definitions: &DatabaseDefinitions,
        standing: &DatabaseDefinitions,
        schemas: &Schemas,
    ) -> Result<Scratch, String> {
        let Made { missing, incomplete } = definitions::make(&session, &definitions.objects, &standing.objects).await?;
        let mut scratch = Scratch {
            session,
            reach: Reach::new(&definitions.objects, schemas),
            tables: BTreeMap::new(),
            incomplete,
            unknown_rows: BTreeSet::new(),
            missing,
            session_settings: String::new(),
            zone: TimeZone::utc(),
            sequences: BTreeMap::new(),
            time: None,
            checks: String::new(),
            broken: None,
        };
        journal::install(&mut scratch, schemas).await?;
        let tables = definitions.objects.iter().filter(|object| object.kind == "table" && !is_partition(object));
        let tables = tables.filter_map(|object| object.part_of.clone());
        scratch.unknown_rows = tables.filter(|table| !scratch.tables.contains_key(table)).collect();
        let sequences = scratch.session.client().query("SELECT seqrelid::text, seqmax FROM pg_sequence", &[]).await;
        for row in sequences.map_err(|error| described(&error))? {
            scratch.sequences.insert(row.get(0), row.get(1));
        }
        let sql = "SELECT string_agg(format('%I.%I', nspname, conname), ', ') FROM pg_constraint o JOIN pg_namespace n ON n.oid = connamespace
                   WHERE condeferrable AND conname <> 'refuse_commit' AND nspname = ANY($1)";
        let schemas: Vec<&str> = definitions.objects.iter().map(|object| object.schema.as_str()).collect();
        let deferrable =
            scratch.session.client().query_one(sql, &[&schemas]).await.map_err(|error| described(&error))?;
        if let Some(constraints) = deferrable.get::<_, Option<String>>(0) {
            scratch.checks = format!("SET CONSTRAINTS {constraints} IMMEDIATE; ");
        }
        Ok(scratch)
    }

    /// What leads where there, handed out once.
    pub fn take_reach(&mut self) -> Reach {
        std::mem::take(&mut self.reach)
    }

    /// Whether what is reached is there as it is in the database, with rows that are known.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn knows(&self, reached: &Reached) -> Result<(), Refusal> {
        if let Some(reason) = &self.broken {
            return Err(Refusal(format!("could not be run on the scratch server: {reason}")));
        }
        for table in &reached.tables {
            if let Some(reason) = self.incomplete.get(table) {
                return Err(Refusal(format!(
                    "reaches {table}, which the scratch server has not as the database has it: {reason}"
                )));
            }
        }
        match reached.read.iter().find(|table| self.unknown_rows.contains(*table)) {
            Some(table) => Err(Refusal(format!("reads {table}, whose rows are not known"))),
            None => Ok(()),
        }
    }

    /// The transaction's time, where its own writes have told it: a log tells it to the millisecond.
    pub(super) fn learned_time(&self, transaction: &Transaction) -> Option<Timestamp> {
        self.time.filter(|(commit, _)| *commit == transaction.commit).map(|(_, time)| time)
    }

    /// A write of the transaction has told its time.
    pub(super) fn note_time(&mut self, transaction: &Transaction, time: Timestamp) {
        self.time = Some((transaction.commit, time));
    }

    /// A table that cannot be told from now on.
    pub(super) fn give_up(&mut self, table: &TableName, reason: String) {
        self.incomplete.entry(table.clone()).or_insert(reason);
    }

    /// What the server refused, with what was missing where that explains it.
    pub(super) fn refused(&mut self, error: &tokio_postgres::Error) -> Refusal {
        let mut reason = described(error);
        if error.as_db_error().is_none() {
            self.broken.get_or_insert_with(|| reason.clone());
        }
        let named = self.missing.iter().find(|(name, _)| reason.contains(name.as_str()));
        if let Some((_, why)) = named.filter(|_| reason.contains("does not exist")) {
            reason = format!("{reason}; {why}");
        }
        Refusal(format!("could not be run on the scratch server: {reason}"))
    }

    /// What broke the connection off, where anything did.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }
}

fn unreachable(error: CatalogError) -> TraceError {
    let reason = error.to_string();
    let reason = reason.strip_prefix("read the database: ").unwrap_or(&reason).to_owned();
    let help = "--reenact-on takes the URL of a PostgreSQL database that is there for nothing else, or env:NAME of a variable \
                that holds it.";
    TraceError::Scratch { reason, help: help.to_owned() }
}

/// What a session of the database has set before anything else: names are looked up after what stands before them.
fn settings_of(definitions: &DatabaseDefinitions) -> String {
    let mut text = String::new();
    for (name, value) in &definitions.settings {
        let set = match name.as_str() {
            "search_path" if value.is_empty() || value == "\"\"" => format!("search_path = {SHADOW}, pg_catalog"),
            "search_path" => format!("search_path = {SHADOW}, pg_catalog, {value}"),
            _ => format!("{} = {}", quoted_identifier(name), quoted_text(value)),
        };
        text.push_str(&format!("SET LOCAL {set}; "));
    }
    text
}
