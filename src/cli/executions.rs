//! What ran, counted for the lineage graph: kept in the store, so that only what came since is read.

use super::diagnostic::Failure;
use super::investigation::Opened;
use crate::lineage::graph::Executions;
use crate::lineage::{Advanced, Settled, Sources, advance, name_by_partitioned_table};
use crate::model::Timestamp;
use crate::sql::views;
use crate::store::{KeptGraph, PlacedRecords, StoreError};

/// What is kept is of one way of counting: where that changes, so does this number.
const COUNTED_BY: u32 = 1;

/// What is counted, and how much had to be read for it.
#[derive(Debug)]
pub struct Counted {
    /// Everything that ran.
    pub executions: Executions,
    /// How many records were read.
    pub read: usize,
}

/// Counts what ran, as far as the store knows.
///
/// # Errors
/// A store that cannot be read or written.
pub async fn counted(opened: &Opened) -> Result<Counted, Failure> {
    let fingerprint = fingerprint(opened);
    let through = opened.store.next_position();
    let kept = opened.store.kept_graph(&fingerprint).await?;
    let known = kept.as_ref().map(Known::read).transpose()?;
    let mut read = 0;
    let mut advanced = None;
    if let Some(known) = known {
        let mut executions = known.executions;
        if known.settled.through == through {
            executions.add(known.open);
            return Ok(Counted { executions, read });
        }
        let records = opened.store.records(known.settled.through, &known.settled.open).await?;
        read += records.len();
        if let Some(Advanced { settled, gained, open }) = advance_by(opened, &known.settled, records) {
            executions.add(gained);
            advanced = Some((settled, executions, open));
        }
    }
    let (settled, mut executions, open) = match advanced {
        Some(advanced) => advanced,
        // The first time, or something came that bears on what was settled.
        None => {
            let records = opened.store.records(0, &[]).await?;
            read += records.len();
            let nothing = Settled::default();
            let Advanced { settled, gained, open } = advance_by(opened, &nothing, records)
                .ok_or_else(|| Failure::new("count what ran: nothing is settled, and yet something bears on it"))?;
            (settled, gained, open)
        }
    };
    opened.store.keep_graph(&kept_graph(fingerprint, &settled, &executions, &open)?).await?;
    executions.add(open);
    Ok(Counted { executions, read })
}

/// What was kept, read.
struct Known {
    settled: Settled,
    executions: Executions,
    open: Executions,
}

impl Known {
    fn read(kept: &KeptGraph) -> Result<Known, StoreError> {
        let content = |error: serde_json::Error| StoreError::content("graph", error);
        Ok(Known {
            settled: serde_json::from_str(&kept.settled).map_err(content)?,
            executions: Executions::from_json(&kept.executions).map_err(content)?,
            open: Executions::from_json(&kept.open_executions).map_err(content)?,
        })
    }
}

fn kept_graph(
    fingerprint: String,
    settled: &Settled,
    executions: &Executions,
    open: &Executions,
) -> Result<KeptGraph, StoreError> {
    let record = |error: serde_json::Error| StoreError::record("graph", error);
    Ok(KeptGraph {
        at: Timestamp::from_micros(jiff::Timestamp::now().as_microsecond()),
        fingerprint,
        through: settled.through,
        settled: serde_json::to_string(settled).map_err(record)?,
        executions: executions.to_json().map_err(record)?,
        open_executions: open.to_json().map_err(record)?,
    })
}

fn advance_by(opened: &Opened, settled: &Settled, mut records: PlacedRecords) -> Option<Advanced> {
    let partitions = &opened.catalog.declarations().partitions;
    name_by_partitioned_table(records.writes.iter_mut().map(|(_, write)| write), partitions);
    let views = views(&opened.catalog.declarations().views);
    let context = Sources {
        writes: &[],
        stamps: &[],
        log: &[],
        schemas: opened.catalog.schemas(),
        views: &views,
        release: &opened.project.release,
        deploys: &opened.project.deploys,
        database: opened.catalog.database_name(),
    };
    advance(settled, records, opened.store.next_position(), &context)
}

/// Everything beside the records that the counts depend on.
fn fingerprint(opened: &Opened) -> String {
    let Opened { project, catalog, .. } = opened;
    let by = (
        (COUNTED_BY, env!("CARGO_PKG_VERSION")),
        catalog.schemas(),
        &catalog.declarations().partitions,
        catalog.database_name(),
        (&project.release, &project.deploys),
    );
    blake3::hash(format!("{by:?}").as_bytes()).to_hex().to_string()
}
