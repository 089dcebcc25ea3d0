//! `rejected`: lines that could not be read.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::StoreError;
use super::batch::{BatchBuilder, POSITION, ReadBatch, integer_at, text_at};
use crate::model::RejectedLine;

/// The table's folder within the store.
pub(super) const FOLDER: &str = "rejected";

/// Lines, each with its place in the order of arrival, as one batch.
pub(super) fn batch_of_rejected(rows: &[(i64, &RejectedLine)]) -> Result<RecordBatch, StoreError> {
    let numbers: Result<Vec<i64>, _> = rows.iter().map(|(_, line)| i64::try_from(line.line)).collect();
    let numbers = numbers.map_err(|_| StoreError::record(FOLDER, format!("its line number is over {}", i64::MAX)))?;
    let lines = || rows.iter().map(|(_, line)| *line);
    let mut batch = BatchBuilder::default();
    batch.integer(POSITION, rows.iter().map(|(position, _)| Some(*position)));
    batch.text("source", lines().map(|line| Some(line.source.as_ref())));
    batch.integer("line", numbers.into_iter().map(Some));
    batch.text("reason", lines().map(|line| Some(line.reason.as_str())));
    batch.text("text", lines().map(|line| Some(line.text.as_str())));
    batch.identities(lines().map(|line| &line.id));
    batch.finish(FOLDER)
}

/// What [`batch_of_rejected`] wrote, read back.
pub(super) fn rejected_of_batch(batch: &RecordBatch) -> Result<Vec<(i64, RejectedLine)>, StoreError> {
    let read = ReadBatch { batch, table: FOLDER };
    let ids = read.identities()?;
    let (positions, numbers) = (read.integer(POSITION)?, read.integer("line")?);
    let (sources, reasons, texts) = (read.text("source")?, read.text("reason")?, read.text("text")?);
    let mut lines = Vec::with_capacity(batch.num_rows());
    for (row, id) in ids.into_iter().enumerate() {
        let number = integer_at(&numbers, row).and_then(|line| u64::try_from(line).ok());
        let line = RejectedLine {
            id,
            source: Arc::from(read.required(text_at(&sources, row), "source")?),
            line: read.required(number, "line")?,
            reason: read.required(text_at(&reasons, row), "reason")?.to_owned(),
            text: read.required(text_at(&texts, row), "text")?.to_owned(),
        };
        lines.push((read.required(integer_at(&positions, row), POSITION)?, line));
    }
    Ok(lines)
}
