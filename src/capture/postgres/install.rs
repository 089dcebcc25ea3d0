//! `capture install`: checks the rights first, then does what [`script`] prints.

use std::time::Duration;

use tokio_postgres::Client;

use super::database::{CoveredTable, Installation, Kind, PUBLICATION, installation, refusal, tables};
use crate::capture::CaptureError;
use crate::engine::postgres::{quoted_table, quoted_text};
use crate::model::TableName;

/// Schema, tables and functions of the recording.
const CAPTURE_SQL: &str = include_str!("capture.sql");
/// The oldest version whose own output plugin tells logical messages.
const OLDEST_VERSION: i32 = 140_000;
/// A table is locked for a moment: where somebody holds it longer, we step back rather than make others queue behind us.
const LOCK_TIMEOUT: &str = "2s";
const LOCK_ATTEMPTS: u32 = 15;

/// How much of a row before a change is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedIdentity {
    /// All of it.
    Full,
    /// The primary key; all of it only where a table has none.
    Default,
}

/// What is stamped in the write-ahead log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamping {
    /// Each transaction, once.
    Transaction,
    /// Each statement, with its text.
    Statement,
}

/// What to install.
#[derive(Clone, Debug)]
pub struct InstallOptions {
    /// The schemas whose tables are recorded.
    pub schemas: Vec<String>,
    /// How much of a row before a change is recorded.
    pub identity: RecordedIdentity,
    /// What is stamped.
    pub stamping: Stamping,
}

/// What was installed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The recording.
    pub installation: Installation,
    /// Every table of its schemas.
    pub tables: Vec<CoveredTable>,
    /// Whether tables that are created later are covered by themselves.
    pub covers_later: bool,
}

/// The SQL that installs a recording, step by step, as a database administrator may run it.
struct Plan {
    /// What has to be one transaction.
    definitions: String,
    /// One statement for each table, with its name.
    tables: Vec<(TableName, String)>,
    /// What begins the recording.
    slot: Vec<String>,
}

/// The SQL of [`install`], for review: it may be run by a superuser in place of `install`.
///
/// # Errors
/// A database that does not answer, or cannot be recorded at all.
pub async fn script(client: &Client, options: &InstallOptions) -> Result<String, CaptureError> {
    let server = Server::read(client).await?;
    let (plan, _) = plan(client, options, &server).await?;
    let mut script = format!("BEGIN;\nSET LOCAL search_path = pg_catalog;\n{}COMMIT;\n", plan.definitions);
    script.push_str(&format!("\nSET lock_timeout = '{LOCK_TIMEOUT}';\n"));
    plan.tables.iter().for_each(|(_, statement)| script.push_str(&format!("{statement};\n")));
    script.push('\n');
    plan.slot.iter().for_each(|statement| script.push_str(&format!("{statement};\n")));
    Ok(script)
}

/// Installs the recording, or brings one that is there to these options.
///
/// # Errors
/// Missing rights or settings, all of them at once, before anything is done; a table that stays locked. What was done
/// until then stays, and installing again goes on from there.
pub async fn install(client: &Client, options: &InstallOptions) -> Result<Installed, CaptureError> {
    let server = Server::read(client).await?;
    let (plan, found) = plan(client, options, &server).await?;
    let missing = server.missing(&found);
    if !missing.is_empty() {
        return Err(CaptureError::MissingRights { role: server.role, missing });
    }
    let failed = refusal("install the recording");
    let definitions = format!("BEGIN; SET LOCAL search_path = pg_catalog; {} COMMIT;", plan.definitions);
    if let Err(error) = client.batch_execute(&definitions).await {
        // The failure is what counts; a connection that is gone has rolled back by itself.
        let _ = client.batch_execute("ROLLBACK").await;
        return Err(failed(error));
    }
    client.batch_execute(&format!("SET lock_timeout = '{LOCK_TIMEOUT}'")).await.map_err(&failed)?;
    for (table, statement) in &plan.tables {
        with_lock(client, statement).await.map_err(refusal(format!("record the writes of {table}")))?;
    }
    for statement in &plan.slot {
        client.batch_execute(statement).await.map_err(&failed)?;
    }
    let installation = installation(client).await?.ok_or(CaptureError::NotInstalled)?;
    Ok(Installed { installation, tables: tables(client, &options.schemas).await?, covers_later: server.is_superuser })
}

/// Runs a statement that needs a table's lock for a moment, and steps back where somebody else holds it.
pub(super) async fn with_lock(client: &Client, statement: &str) -> Result<(), tokio_postgres::Error> {
    let mut attempt = 1;
    loop {
        match client.batch_execute(statement).await {
            Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE) => {
                if attempt == LOCK_ATTEMPTS {
                    return Err(error);
                }
                attempt += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            outcome => return outcome,
        }
    }
}

/// What decides whether a server can be recorded by a role.
struct Server {
    version: i32,
    wal_level: String,
    encoding: String,
    in_recovery: bool,
    free_slots: i64,
    database: String,
    role: String,
    is_superuser: bool,
    may_replicate: bool,
    may_create: bool,
    may_stamp: bool,
}

impl Server {
    async fn read(client: &Client) -> Result<Self, CaptureError> {
        let sql = "SELECT current_setting('server_version_num')::int4, current_setting('wal_level'),
                          current_setting('server_encoding'), pg_is_in_recovery(),
                          current_setting('max_replication_slots')::int8 - (SELECT count(*) FROM pg_replication_slots),
                          current_database()::text, r.rolname::text, r.rolsuper,
                          r.rolreplication OR EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication'
                                                                             AND pg_has_role(g.oid, 'USAGE')),
                          has_database_privilege(current_database(), 'CREATE'),
                          (SELECT bool_and(has_function_privilege('public', p.oid, 'EXECUTE')) FROM pg_proc p
                           WHERE p.proname = 'pg_logical_emit_message')
                   FROM pg_roles r WHERE r.rolname = current_user";
        let failed = refusal("look at the server");
        let row = client.query_one(sql, &[]).await.map_err(&failed)?;
        let read = || {
            Ok(Server {
                version: row.try_get(0)?,
                wal_level: row.try_get(1)?,
                encoding: row.try_get(2)?,
                in_recovery: row.try_get(3)?,
                free_slots: row.try_get(4)?,
                database: row.try_get(5)?,
                role: row.try_get(6)?,
                is_superuser: row.try_get(7)?,
                may_replicate: row.try_get(8)?,
                may_create: row.try_get(9)?,
                may_stamp: row.try_get::<_, Option<bool>>(10)?.unwrap_or(false),
            })
        };
        read().map_err(failed)
    }

    /// What keeps this role from recording this server, each with what to do about it.
    fn missing(&self, found: &Found) -> Vec<String> {
        let mut missing = Vec::new();
        let mut needs = |holds: bool, what: String| {
            if !holds {
                missing.push(what);
            }
        };
        let (role, database) = (&self.role, &self.database);
        let version = self.version / 10_000;
        needs(
            self.version >= OLDEST_VERSION,
            format!("PostgreSQL 14 or newer: version {version} does not tell who wrote"),
        );
        needs(!self.in_recovery, "a primary server: this one is a standby".to_owned());
        needs(
            self.wal_level == "logical",
            format!(
                "wal_level = logical (it is {}): ALTER SYSTEM SET wal_level = 'logical', and restart",
                self.wal_level
            ),
        );
        needs(
            self.encoding == "UTF8" || self.encoding == "SQL_ASCII",
            format!("a database in UTF8: this one is in {}", self.encoding),
        );
        needs(
            self.free_slots > 0 || found.has_slot,
            "a free replication slot: raise max_replication_slots, and restart".to_owned(),
        );
        needs(self.is_superuser || self.may_replicate, format!("REPLICATION: ALTER ROLE {role} REPLICATION"));
        needs(self.may_create, format!("CREATE on the database: GRANT CREATE ON DATABASE {database} TO {role}"));
        needs(
            self.may_stamp,
            "EXECUTE on pg_logical_emit_message for every role that writes: GRANT EXECUTE ON FUNCTION \
             pg_logical_emit_message(boolean, text, text) TO PUBLIC"
                .to_owned(),
        );
        needs(!found.tables.is_empty(), format!("a table in {}", found.schemas.join(", ")));
        for table in found.tables.iter().filter(|table| !table.is_owned) {
            missing.push(format!("ownership of {}: run this as its owner, or GRANT its owner TO {role}", table.name));
        }
        missing
    }
}

/// What is there before the recording is installed.
struct Found {
    schemas: Vec<String>,
    tables: Vec<CoveredTable>,
    has_slot: bool,
}

async fn plan(client: &Client, options: &InstallOptions, server: &Server) -> Result<(Plan, Found), CaptureError> {
    let failed = refusal("look at the database");
    let mut found_tables = tables(client, &options.schemas).await?;
    found_tables.retain(|table| table.kind == Kind::Logged);
    let earlier = installation(client).await?;
    let slot = match &earlier {
        Some(earlier) if has_own_slot(client, &earlier.slot).await? => earlier.slot.clone(),
        _ => slot_name(client).await?,
    };
    let sql = "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1 AND wal_status <> 'lost'),
                      EXISTS (SELECT FROM pg_publication WHERE pubname = $2)";
    let row = client.query_one(sql, &[&slot, &PUBLICATION]).await.map_err(&failed)?;
    let (has_slot, has_publication): (bool, bool) =
        row.try_get(0).and_then(|slot| Ok((slot, row.try_get(1)?))).map_err(&failed)?;
    let goes_on = has_slot && earlier.is_some();
    let plan = Plan {
        definitions: definitions(options, server, &slot, goes_on, has_publication),
        tables: found_tables
            .iter()
            .map(|table| {
                let name = quoted_text(&quoted_table(&table.name));
                (table.name.clone(), format!("SELECT blast_radius_capture.cover({name}::regclass)"))
            })
            .collect(),
        slot: slot_statements(&slot, has_slot),
    };
    Ok((plan, Found { schemas: options.schemas.clone(), tables: found_tables, has_slot }))
}

/// Schema, functions, publication and event trigger.
fn definitions(options: &InstallOptions, server: &Server, slot: &str, goes_on: bool, has_publication: bool) -> String {
    let schemas: Vec<String> = options.schemas.iter().map(|schema| quoted_text(schema)).collect();
    let schemas = format!("ARRAY[{}]", schemas.join(", "));
    let identity = match options.identity {
        RecordedIdentity::Full => "full",
        RecordedIdentity::Default => "default",
    };
    let stamp = match options.stamping {
        Stamping::Transaction => "transaction",
        Stamping::Statement => "statement",
    };
    let mut sql = CAPTURE_SQL.to_owned();
    sql.push_str("\n-- How it is installed.\n");
    if goes_on {
        sql.push_str(&format!(
            "UPDATE blast_radius_capture.installation SET schemas = {schemas}, identity = '{identity}', stamp = '{stamp}';\n"
        ));
    } else {
        sql.push_str(&format!(
            "DELETE FROM blast_radius_capture.installation;\nINSERT INTO blast_radius_capture.installation \
             (schemas, identity, stamp, slot)\n    VALUES ({schemas}, '{identity}', '{stamp}', {});\n",
            quoted_text(slot)
        ));
    }
    if !has_publication {
        sql.push_str(&format!("CREATE PUBLICATION {PUBLICATION} WITH (publish_via_partition_root = true);\n"));
    }
    if server.is_superuser {
        sql.push_str(
            "DROP EVENT TRIGGER IF EXISTS blast_radius_cover_later;\n\
             CREATE EVENT TRIGGER blast_radius_cover_later ON ddl_command_end\n    \
             WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE')\n    \
             EXECUTE FUNCTION blast_radius_capture.cover_later();\n",
        );
    } else {
        sql.push_str("-- Only a superuser may make the event trigger that covers tables created later.\n");
    }
    sql
}

/// The slot comes last: from here on, the server keeps its write-ahead log until it is pulled.
fn slot_statements(slot: &str, has_slot: bool) -> Vec<String> {
    let name = quoted_text(slot);
    let mut statements = Vec::new();
    if !has_slot {
        // One that lost its log is of no use any more.
        statements.push(format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {name}"
        ));
        statements.push(format!("SELECT pg_create_logical_replication_slot({name}, 'pgoutput')"));
    }
    statements.push(format!(
        "UPDATE blast_radius_capture.installation SET slot_start = (SELECT confirmed_flush_lsn FROM \
         pg_replication_slots WHERE slot_name = {name}) WHERE slot_start IS NULL"
    ));
    statements
}

/// Whether the slot of an earlier installation is this database's: its name stays when the database is renamed, and a copy
/// of a database names the slot of the other.
async fn has_own_slot(client: &Client, slot: &str) -> Result<bool, CaptureError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_replication_slots
                              WHERE slot_name = $1::text::name AND database = current_database())";
    let row = client.query_one(sql, &[&slot]).await;
    row.and_then(|row| row.try_get(0)).map_err(refusal("look for the slot"))
}

/// A slot belongs to the whole server: its name says of which database.
async fn slot_name(client: &Client) -> Result<String, CaptureError> {
    let sql = "SELECT 'blast_radius_' || left(regexp_replace(lower(datname), '[^a-z0-9_]', '_', 'g'), 32) || '_' || oid
               FROM pg_database WHERE datname = current_database()";
    let row = client.query_one(sql, &[]).await;
    row.and_then(|row| row.try_get(0)).map_err(refusal("name the slot"))
}
