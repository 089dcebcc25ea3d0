//! What every part of the live recording asks of the database: how the recording is installed, and what went wrong.

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use crate::capture::CaptureError;
pub use crate::capture::change_stream::LogPosition;
use crate::engine::postgres::described;
use crate::model::TableName;

/// The publication that names the recorded tables.
pub(super) const PUBLICATION: &str = "blast_radius";

/// How a recording was installed in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Another one for each time that the recording began anew.
    pub id: String,
    /// Since when.
    pub installed: String,
    /// The schemas whose tables are recorded.
    pub schemas: Vec<String>,
    /// `full` or `default`.
    pub identity: String,
    /// `transaction` or `statement`.
    pub stamp: String,
    /// The slot's name.
    pub slot: String,
    /// Where the slot began in the write-ahead log: what was committed before is not recorded.
    pub slot_start: Option<LogPosition>,
}

impl LogPosition {
    /// How many bytes lie between this place and an earlier one; 0 where it is not earlier.
    pub fn bytes_since(self, earlier: LogPosition) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// As PostgreSQL prints it: `16/B374D848`.
impl std::fmt::Display for LogPosition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", PgLsn::from(self.0))
    }
}

impl From<PgLsn> for LogPosition {
    fn from(position: PgLsn) -> Self {
        LogPosition(position.into())
    }
}

impl From<LogPosition> for PgLsn {
    fn from(position: LogPosition) -> Self {
        PgLsn::from(position.0)
    }
}

/// The recording that is installed in the database.
///
/// # Errors
/// A database that does not answer.
pub async fn installation(client: &Client) -> Result<Option<Installation>, CaptureError> {
    let failed = refusal("look for the recording in the database");
    let exists = "SELECT to_regclass('blast_radius_capture.installation') IS NOT NULL";
    if !client.query_one(exists, &[]).await.and_then(|row| row.try_get::<_, bool>(0)).map_err(&failed)? {
        return Ok(None);
    }
    let sql = "SELECT id::text, date_trunc('second', installed)::text, schemas, identity, stamp, slot::text, slot_start
               FROM blast_radius_capture.installation";
    let Some(row) = client.query_opt(sql, &[]).await.map_err(&failed)? else { return Ok(None) };
    let read = || {
        Ok(Installation {
            id: row.try_get(0)?,
            installed: row.try_get(1)?,
            schemas: row.try_get(2)?,
            identity: row.try_get(3)?,
            stamp: row.try_get(4)?,
            slot: row.try_get(5)?,
            slot_start: row.try_get::<_, Option<PgLsn>>(6)?.map(LogPosition::from),
        })
    };
    read().map(Some).map_err(failed)
}

/// A table that could be recorded, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoveredTable {
    /// The table.
    pub name: TableName,
    /// Why its writes are not recorded; `None`: they are.
    pub missing: Option<String>,
    /// Whether it is a part of another table, under whose name its writes are recorded.
    pub is_partition: bool,
    pub(super) oid: u32,
    pub(super) kind: Kind,
    pub(super) is_owned: bool,
}

/// What of a table can be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its writes are in the write-ahead log.
    Logged,
    /// They are not, or are not told by logical decoding.
    Unlogged,
}

/// Every table of the schemas, in order of name.
///
/// # Errors
/// A database that does not answer.
pub(super) async fn tables(client: &Client, schemas: &[String]) -> Result<Vec<CoveredTable>, CaptureError> {
    let sql =
        "SELECT n.nspname::text, c.relname::text, c.oid, c.relkind::text, c.relpersistence::text, c.relispartition,
                      pg_has_role(c.relowner, 'USAGE'),
                      EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'blast_radius_stamp'
                                                             AND t.tgenabled IN ('O', 'A')),
                      EXISTS (SELECT FROM pg_publication_tables p
                              WHERE p.pubname = $2 AND p.schemaname = n.nspname AND p.tablename = c.relname)
                      OR EXISTS (SELECT FROM pg_partition_ancestors(c.oid) a
                                 JOIN pg_publication_rel r ON r.prrelid = a.relid
                                 JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = $2)
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p', 'f', 'm') ORDER BY 1, 2";
    let failed = refusal("list the tables");
    let rows = client.query(sql, &[&schemas, &PUBLICATION]).await.map_err(&failed)?;
    let table = |row: &tokio_postgres::Row| {
        let (kind, persistence): (String, String) = (row.try_get(3)?, row.try_get(4)?);
        let (is_stamped, is_published): (bool, bool) = (row.try_get(7)?, row.try_get(8)?);
        let cannot = match (kind.as_str(), persistence.as_str()) {
            ("f", _) => Some("a foreign table: it is written elsewhere"),
            ("m", _) => Some("a materialised view: PostgreSQL does not tell what REFRESH writes"),
            (_, "u") => Some("unlogged: its writes are not in the write-ahead log"),
            _ => None,
        };
        let missing = match (cannot, is_published, is_stamped) {
            (Some(reason), ..) => Some(reason),
            (None, false, _) => Some("not published: run blast-radius capture install again"),
            (None, true, false) => {
                Some("its writes are recorded, but not who wrote: run blast-radius capture install again")
            }
            (None, true, true) => None,
        };
        Ok(CoveredTable {
            name: TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?),
            missing: missing.map(str::to_owned),
            is_partition: row.try_get(5)?,
            oid: row.try_get(2)?,
            kind: if cannot.is_some() { Kind::Unlogged } else { Kind::Logged },
            is_owned: row.try_get(6)?,
        })
    };
    rows.iter().map(table).collect::<Result<_, tokio_postgres::Error>>().map_err(failed)
}

/// What was tried, as an error once the database refuses it.
pub(super) fn refusal(action: impl Into<String>) -> impl Fn(tokio_postgres::Error) -> CaptureError {
    let action = action.into();
    move |error| CaptureError::Database { action: action.clone(), reason: described(&error), lost: error.is_closed() }
}
