//! `capture uninstall`: everything that `install` made is gone, and what it changed is as it was.

use tokio_postgres::Client;

use super::database::{PUBLICATION, installation, refusal};
use super::install::with_lock;
use crate::capture::CaptureError;

/// Removes the recording from the database; false where there was none. What is in the slot and was not pulled is lost.
///
/// # Errors
/// A slot that somebody is reading, a table that stays locked, a missing right: running it again goes on from there.
pub async fn uninstall(client: &Client) -> Result<bool, CaptureError> {
    let failed = refusal("remove the recording");
    let slots = own_slots(client).await?;
    for slot in &slots {
        let sql =
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1::text::name";
        client.execute(sql, &[slot]).await.map_err(refusal(format!("drop the slot {slot}")))?;
    }
    client
        .batch_execute("SET lock_timeout = '2s'; DROP EVENT TRIGGER IF EXISTS blast_radius_cover_later")
        .await
        .map_err(&failed)?;
    let sql = "SELECT to_regprocedure('blast_radius_capture.uncover(oid)') IS NOT NULL,
                      EXISTS (SELECT FROM pg_publication WHERE pubname = $1)";
    let row = client.query_one(sql, &[&PUBLICATION]).await.map_err(&failed)?;
    let (has_functions, has_publication): (bool, bool) =
        row.try_get(0).and_then(|functions| Ok((functions, row.try_get(1)?))).map_err(&failed)?;
    if has_functions {
        // A partition that was attached later may have an identity of ours and no trigger any more.
        let covered = "SELECT tgrelid::oid, tgrelid::regclass::text FROM pg_trigger
                       WHERE tgfoid = 'blast_radius_capture.stamp'::regproc
                       UNION SELECT relation, relation::regclass::text FROM blast_radius_capture.changed_identity
                       ORDER BY 2";
        for row in client.query(covered, &[]).await.map_err(&failed)? {
            let (oid, name): (u32, String) =
                row.try_get(0).and_then(|oid| Ok((oid, row.try_get(1)?))).map_err(&failed)?;
            let statement = format!("SELECT blast_radius_capture.uncover({oid})");
            with_lock(client, &statement).await.map_err(refusal(format!("stop recording {name}")))?;
        }
    }
    client
        .batch_execute(&format!(
            "DROP PUBLICATION IF EXISTS {PUBLICATION}; DROP SCHEMA IF EXISTS blast_radius_capture CASCADE"
        ))
        .await
        .map_err(&failed)?;
    Ok(!slots.is_empty() || has_functions || has_publication)
}

/// The slots of this database that are ours: that of the installation, and any that bears our name, whatever the database
/// was called when it was made.
async fn own_slots(client: &Client) -> Result<Vec<String>, CaptureError> {
    let installed = installation(client).await?.map(|installation| installation.slot);
    let sql = "SELECT s.slot_name::text FROM pg_replication_slots s JOIN pg_database d ON d.datname = s.database
               WHERE d.datname = current_database()
                     AND (s.slot_name = $1::text::name OR s.slot_name ~ ('^blast_radius_.*_' || d.oid || '$')) ORDER BY 1";
    let rows = client.query(sql, &[&installed]).await;
    let names = rows.and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect());
    names.map_err(refusal("look for the slot"))
}
