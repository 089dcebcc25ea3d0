//! `stamps`: what transactions say of themselves in the stream of their changes.

use std::collections::BTreeMap;

use arrow::array::{RecordBatch, StringArray};

use super::StoreError;
use super::batch::{BatchBuilder, POSITION, ReadBatch, integer_at, text_at, time_at};
use super::writes_table::Texts;
use crate::model::{RecordedStamp, ReleaseName, ServiceName, SessionId, TransactionId};

/// The table's folder within the store.
pub(super) const FOLDER: &str = "stamps";

/// Stamps, each with its place in the order of arrival, as one batch.
pub(super) fn batch_of_stamps(rows: &[(i64, &RecordedStamp)]) -> Result<RecordBatch, StoreError> {
    let stamps = || rows.iter().map(|(_, stamp)| *stamp);
    let places: Result<Vec<Option<i64>>, _> = stamps().map(|stamp| stamp.seq.map(i64::try_from).transpose()).collect();
    let places = places.map_err(|_| StoreError::record(FOLDER, format!("its place is over {}", i64::MAX)))?;
    let tags: Result<Vec<Option<String>>, _> = stamps()
        .map(|stamp| (!stamp.tags.is_empty()).then(|| serde_json::to_string(&stamp.tags)).transpose())
        .collect();
    let tags = tags.map_err(|error| StoreError::record(FOLDER, error))?;
    let mut batch = BatchBuilder::default();
    batch.integer(POSITION, rows.iter().map(|(position, _)| Some(*position)));
    batch.integer("seq", places.into_iter());
    batch.time("ts", stamps().map(|stamp| Some(stamp.ts)));
    batch.text("tx", stamps().map(|stamp| Some(stamp.transaction.0.as_ref())));
    batch.text("session", stamps().map(|stamp| stamp.session.as_ref().map(|session| session.0.as_ref())));
    batch.integer("pid", stamps().map(|stamp| stamp.process_id.map(i64::from)));
    batch.text("application_name", stamps().map(|stamp| stamp.application_name.as_deref()));
    batch.text("user", stamps().map(|stamp| stamp.user.as_deref()));
    batch.text("release", stamps().map(|stamp| stamp.release.as_ref().map(ReleaseName::as_str)));
    batch.text("service", stamps().map(|stamp| stamp.service.as_ref().map(ServiceName::as_str)));
    batch.text("tags", tags.iter().map(Option::as_deref));
    batch.text("sql", stamps().map(|stamp| stamp.statement.as_deref()));
    batch.identities(stamps().map(|stamp| &stamp.id));
    batch.finish(FOLDER)
}

/// What [`batch_of_stamps`] wrote, read back.
pub(super) fn stamps_of_batch(batch: &RecordBatch, texts: &mut Texts) -> Result<Vec<(i64, RecordedStamp)>, StoreError> {
    let read = ReadBatch { batch, table: FOLDER };
    let ids = read.identities()?;
    let (positions, places, processes) = (read.integer(POSITION)?, read.integer("seq")?, read.integer("pid")?);
    let (times, transactions, sessions) = (read.time("ts")?, read.text("tx")?, read.text("session")?);
    let (applications, users, tags) = (read.text("application_name")?, read.text("user")?, read.text("tags")?);
    let (releases, services, statements) = (read.text("release")?, read.text("service")?, read.text("sql")?);
    let mut stamps = Vec::with_capacity(batch.num_rows());
    for (row, id) in ids.into_iter().enumerate() {
        let mut shared = |column: &StringArray| text_at(column, row).map(|text| texts.shared(text));
        let tags: Option<BTreeMap<String, String>> = text_at(&tags, row)
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| StoreError::content(FOLDER, error))?;
        let stamp = RecordedStamp {
            id,
            seq: integer_at(&places, row).and_then(|place| u64::try_from(place).ok()),
            ts: read.required(time_at(&times, row), "ts")?,
            transaction: TransactionId(read.required(shared(&transactions), "tx")?),
            session: shared(&sessions).map(SessionId),
            process_id: integer_at(&processes, row).and_then(|process| u32::try_from(process).ok()),
            application_name: shared(&applications),
            user: shared(&users),
            release: shared(&releases).map(ReleaseName::new),
            service: shared(&services).map(ServiceName::new),
            tags: tags.unwrap_or_default(),
            statement: shared(&statements),
        };
        stamps.push((read.required(integer_at(&positions, row), POSITION)?, stamp));
    }
    Ok(stamps)
}
