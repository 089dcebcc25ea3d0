//! Many small files become few: a recording that is pulled every few seconds leaves a file a table each time, and every
//! reader would have to open them all.

use std::num::NonZeroU64;

use deltalake::DeltaTable;
use deltalake::kernel::transaction::CommitProperties;
use futures::TryStreamExt as _;

use super::StoreError;
use super::delta::file_properties;

/// So many small files are too many.
pub(super) const TOO_MANY: usize = 64;

/// Files grow in steps, so that a row is written again once a step and no more: to about so many bytes. A file of less
/// than a quarter is small.
const STEPS: [NonZeroU64; 3] = [bytes(1 << 20), bytes(16 << 20), bytes(256 << 20)];

const fn bytes(number: u64) -> NonZeroU64 {
    match NonZeroU64::new(number) {
        Some(number) => number,
        None => NonZeroU64::MIN,
    }
}

/// The table with its small files put together in the order they came, where there are `too_many`: the same rows.
pub(super) async fn compact(name: &str, mut table: DeltaTable, too_many: usize) -> Result<DeltaTable, StoreError> {
    let mut is_compacted = false;
    for step in STEPS {
        if small_files(name, &table, step.get() / 4).await? < too_many {
            continue;
        }
        let failed = |error| StoreError::delta("put together the small files of", name, error);
        let properties = file_properties().map_err(|error| failed(error.into()))?;
        let optimize = table.optimize().with_target_size(step).with_writer_properties(properties);
        // One writer at a time: who finds the table changed lost a race.
        let one_writer = CommitProperties::default().with_max_retries(0);
        (table, _) = optimize.with_commit_properties(one_writer).await.map_err(failed)?;
        is_compacted = true;
    }
    if is_compacted {
        // Files that no newer version needs stay for a week, for whoever reads an older one.
        let vacuumed = table.vacuum().await;
        (table, _) = vacuumed.map_err(|error| StoreError::delta("clear away old files of", name, error))?;
    }
    Ok(table)
}

/// How many files are of less than so many bytes.
async fn small_files(name: &str, table: &DeltaTable, bytes: u64) -> Result<usize, StoreError> {
    let failed = |error| StoreError::delta("list the files of", name, error);
    let files = table.snapshot().map_err(failed)?.snapshot().file_views(table.log_store().as_ref(), None);
    let small = files.try_filter(|file| {
        let is_small = u64::try_from(file.size()).is_ok_and(|size| size < bytes);
        std::future::ready(is_small)
    });
    small.try_fold(0, |count, _| std::future::ready(Ok(count + 1))).await.map_err(failed)
}
