//! The slot of a live database, brought into the store: stored first, taken out of the slot then.

use std::fmt;

use tokio::sync::mpsc;
use tokio_postgres::Client;

use super::diagnostic::Failure;
use crate::capture::CaptureError;
use crate::capture::postgres::{
    Installation, LogPosition, Place, SlotChanges, changes, confirm, installation, log_end, slot,
};
use crate::catalog::CatalogError;
use crate::model::Recording;
use crate::store::{Appended, SlotPlace, Store, StoreError};

/// So much log may pass without a recorded write before the slot is moved on.
const IDLE_BYTES: u64 = 16 << 20;
/// Batches read ahead of the store.
const BATCHES_AHEAD: usize = 2;

/// A pull that could not be done; what earlier ones stored stays. Messages fit "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// A slot that cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A database that cannot be reached.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A store that cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The reader of the slot broke down.
    #[error("read the slot: its reader broke down: {0}")]
    Reader(String),
}

impl PullError {
    /// Whether the same again, a little later and on another connection, may succeed.
    pub fn may_pass(&self) -> bool {
        match self {
            PullError::Capture(CaptureError::Database { .. }) | PullError::Catalog(_) => true,
            PullError::Store(error) => matches!(error, StoreError::Busy { .. }),
            PullError::Capture(_) | PullError::Reader(_) => false,
        }
    }
}

impl From<PullError> for Failure {
    fn from(error: PullError) -> Self {
        Failure::new(error)
    }
}

/// What came of a pull.
#[derive(Clone, Debug, Default)]
pub struct Pulled {
    /// Transactions that are new in the store.
    pub transactions: u64,
    /// What of them is new in the store.
    pub appended: Appended,
    /// Up to where the store has everything.
    pub position: LogPosition,
    /// Bytes of the log that the server wrote meanwhile.
    pub lag_bytes: u64,
    /// Writes that nobody can tell any more.
    pub gap: Option<String>,
}

/// A line for people.
impl fmt::Display for Pulled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Appended { writes, stamps, rejected, .. } = self.appended;
        write!(formatter, "transactions {}, writes {writes}, stamps {stamps}", self.transactions)?;
        if rejected > 0 {
            write!(formatter, ", rejected {rejected}")?;
        }
        write!(formatter, ", up to {}, behind by {} bytes", self.position, self.lag_bytes)?;
        self.gap.iter().try_for_each(|gap| write!(formatter, "\ngap: {gap}"))
    }
}

/// The place up to which the store has the changes of an installation; `None` before the first pull.
///
/// # Errors
/// A store that cannot be read.
pub async fn stored_place(store: &Store, installation: &Installation) -> Result<Option<Place>, StoreError> {
    let place = store.slot(&source_name(installation)).await?;
    Ok(place.map(|place| Place { position: LogPosition(place.position), last_seq: place.last_seq }))
}

/// What the store calls the slot: another name each time that the recording begins anew.
fn source_name(installation: &Installation) -> String {
    format!("slot {} of installation {}", installation.slot, installation.id)
}

/// Stores everything that was committed until now, and takes it out of the slot.
///
/// # Errors
/// A database without a recording, a slot that is lost or that somebody else reads, a store that cannot be written.
pub async fn pull(client: &Client, store: &mut Store) -> Result<Pulled, PullError> {
    let installation = installation(client).await?.ok_or(CaptureError::NotInstalled)?;
    let until = log_end(client).await?;
    let lost = |reason| CaptureError::SlotLost { slot: installation.slot.clone(), reason };
    let status = slot(client, &installation.slot, until).await?.ok_or_else(|| lost("it is gone"))?;
    if status.is_lost {
        return Err(lost("the server threw its log away").into());
    }
    let stored = stored_place(store, &installation).await?;
    let gap = status.gap(&installation, stored);
    let mut place = stored.unwrap_or_default();
    // What was taken out by somebody else will not come back: we go on from there.
    place.position = place.position.max(status.confirmed);
    let mut pulled = Pulled { gap: gap.clone(), ..Pulled::default() };
    // Told once; so it is stored with what is stored first.
    let mut unstored_gap = gap;
    loop {
        let gap = unstored_gap.take();
        let (told, messages, transactions) =
            round(client, store, &installation, place, until, gap.as_deref(), &mut pulled).await?;
        confirm(client, &installation, told.position).await?;
        // What moves nothing on would be told the same way once more.
        let is_at_its_end = messages == 0 || told.position >= until || told == place;
        place = told;
        pulled.transactions += transactions;
        if is_at_its_end {
            break;
        }
    }
    pulled.position = place.position;
    pulled.lag_bytes = log_end(client).await?.bytes_since(until);
    Ok(pulled)
}

/// Stores what the slot tells at once; gives the place up to which it is stored, and how much there was.
async fn round(
    client: &Client,
    store: &mut Store,
    installation: &Installation,
    known: Place,
    until: LogPosition,
    gap: Option<&str>,
    pulled: &mut Pulled,
) -> Result<(Place, u64, u64), PullError> {
    let slot_changes = changes(client, installation, known, until).await?;
    let (sender, mut recordings) = mpsc::channel(BATCHES_AHEAD);
    let reader = tokio::spawn(read(slot_changes, sender));
    let mut ingestion = store.begin();
    while let Some(recording) = recordings.recv().await {
        ingestion.append_new(&recording).await?;
    }
    let slot_changes = reader.await.map_err(|error| PullError::Reader(error.to_string()))??;
    let mut told = slot_changes.place();
    if slot_changes.messages() == 0 && until.bytes_since(told.position) > IDLE_BYTES {
        told.position = until;
    }
    if told == known && gap.is_none() {
        return Ok((told, slot_changes.messages(), 0));
    }
    let place = SlotPlace { position: told.position.0, last_seq: told.last_seq };
    ingestion.note_slot(&source_name(installation), place, gap);
    pulled.appended += ingestion.finish(&[]).await?;
    store.sync().await?;
    Ok((told, slot_changes.messages(), slot_changes.transactions()))
}

/// Reads ahead of the store.
async fn read(mut slot_changes: SlotChanges, sender: mpsc::Sender<Recording>) -> Result<SlotChanges, CaptureError> {
    while let Some(recording) = slot_changes.next().await? {
        if sender.send(recording).await.is_err() {
            break;
        }
    }
    Ok(slot_changes)
}
