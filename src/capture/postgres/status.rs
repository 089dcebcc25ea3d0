//! How the recording stands: what waits in the slot, what the server keeps because of it, what is covered.

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use super::changes::Place;
use super::database::{CoveredTable, Installation, LogPosition, installation, refusal, tables};
use crate::capture::CaptureError;

/// How the recording of a database stands.
#[derive(Clone, Debug)]
pub struct CaptureStatus {
    /// The recording.
    pub installation: Installation,
    /// Its slot; `None` where somebody dropped it.
    pub slot: Option<SlotStatus>,
    /// Where the server's write-ahead log ends.
    pub log_end: LogPosition,
    /// Every table of the recorded schemas.
    pub tables: Vec<CoveredTable>,
    /// Whether tables that are created later are covered by themselves.
    pub covers_later: bool,
    /// Whether the server limits what it keeps for a slot; without a limit it keeps everything until its disk is full.
    pub has_keep_limit: bool,
}

/// How the slot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotStatus {
    /// Up to here its changes were pulled.
    pub confirmed: LogPosition,
    /// Bytes of the write-ahead log that were not pulled yet.
    pub lag_bytes: u64,
    /// Bytes of the write-ahead log that the server keeps because of it.
    pub kept_bytes: u64,
    /// The server threw away log that was not pulled: the slot is of no use any more.
    pub is_lost: bool,
    /// The process that reads it now.
    pub reader: Option<i32>,
}

impl SlotStatus {
    /// What was taken out of the slot and is not in the store: writes that nobody can tell us any more.
    pub fn gap(&self, installation: &Installation, stored: Option<Place>) -> Option<String> {
        let stored = stored.map(|place| place.position).or(installation.slot_start)?;
        (self.confirmed > stored).then(|| {
            format!(
                "writes between {stored} and {} of the write-ahead log were taken out of the slot {} by somebody \
                 else and are not in this store",
                self.confirmed, installation.slot
            )
        })
    }
}

/// How the recording stands; `None` where there is none.
///
/// # Errors
/// A database that does not answer.
pub async fn status(client: &Client) -> Result<Option<CaptureStatus>, CaptureError> {
    let Some(installation) = installation(client).await? else { return Ok(None) };
    let failed = refusal("look at the recording");
    let sql =
        "SELECT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'blast_radius_cover_later' AND evtenabled <> 'D'),
                      current_setting('max_slot_wal_keep_size') <> '-1'";
    let row = client.query_one(sql, &[]).await.map_err(&failed)?;
    let (covers_later, has_keep_limit) =
        row.try_get(0).and_then(|later| Ok((later, row.try_get(1)?))).map_err(&failed)?;
    let tables = tables(client, &installation.schemas).await?;
    let log_end = log_end(client).await?;
    let slot = slot(client, &installation.slot, log_end).await?;
    Ok(Some(CaptureStatus { installation, slot, log_end, tables, covers_later, has_keep_limit }))
}

/// How the slot stands; `None` where there is no such slot.
///
/// # Errors
/// A database that does not answer.
pub async fn slot(client: &Client, name: &str, log_end: LogPosition) -> Result<Option<SlotStatus>, CaptureError> {
    let sql = "SELECT confirmed_flush_lsn, restart_lsn, wal_status = 'lost', active_pid FROM pg_replication_slots
               WHERE slot_name = $1::text::name";
    let failed = refusal(format!("look at the slot {name}"));
    let Some(row) = client.query_opt(sql, &[&name]).await.map_err(&failed)? else { return Ok(None) };
    let read = || {
        let position = |column| row.try_get::<_, Option<PgLsn>>(column).map(|place| place.map(LogPosition::from));
        let (confirmed, restart) = (position(0)?.unwrap_or_default(), position(1)?);
        let is_lost = row.try_get::<_, Option<bool>>(2)?.unwrap_or(false);
        Ok(SlotStatus {
            confirmed,
            lag_bytes: log_end.bytes_since(confirmed),
            kept_bytes: restart.map_or(0, |restart| log_end.bytes_since(restart)),
            is_lost: is_lost || restart.is_none(),
            reader: row.try_get(3)?,
        })
    };
    read().map(Some).map_err(failed)
}

/// Where the server's write-ahead log ends now.
///
/// # Errors
/// A database that does not answer.
pub async fn log_end(client: &Client) -> Result<LogPosition, CaptureError> {
    let row = client.query_one("SELECT pg_current_wal_flush_lsn()", &[]).await;
    let position = row.and_then(|row| row.try_get::<_, PgLsn>(0)).map_err(refusal("find the end of the log"))?;
    Ok(position.into())
}
