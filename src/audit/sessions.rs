//! Where an audit's queries run: in little memory; on disk where that will not do; and only then in as much as they take.

use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use super::AuditError;
use crate::catalog::{Catalog, CatalogError};
use crate::engine;

/// What sorting, grouping and joining may take. Scans take little beside it.
const MEMORY: usize = 192 << 20;

/// The sessions of one audit, all with the same tables.
pub(super) struct Sessions {
    /// Each is tried where those before have not enough memory, or do not know how to go on on disk.
    attempts: [SessionContext; 3],
    /// For scans whose rows may come in any order.
    parallel: SessionContext,
}

/// Why a query ended early.
pub(super) enum Stopped {
    /// The engine refused.
    Engine(DataFusionError),
    /// What came was not what was asked for.
    Answer(String),
}

impl Sessions {
    /// Sessions that know every table of the catalog.
    pub(super) fn open(catalog: &Catalog) -> Result<Sessions, AuditError> {
        let zone = &catalog.declarations().time_zone;
        let unbounded = engine::session_context_in(zone);
        catalog.register(&unbounded)?;
        let parallel = engine::parallel_session_context(zone);
        catalog.register(&parallel)?;
        let bounded = engine::in_memory_of(&unbounded, MEMORY).map_err(CatalogError::from)?;
        let on_disk = engine::joining_on_disk(&bounded);
        Ok(Sessions { attempts: [bounded, on_disk, unbounded], parallel })
    }

    /// The session for scans whose rows may come in any order.
    pub(super) fn parallel(&self) -> &SessionContext {
        &self.parallel
    }

    /// The session in which more tables can be made known, to all but the parallel one.
    pub(super) fn tables(&self) -> &SessionContext {
        &self.attempts[2]
    }

    /// Runs a query, and gathers what it gives batch by batch in a state that begins anew with each attempt. Rows may come
    /// in any order.
    pub(super) async fn fold<State: Default>(
        &self,
        sql: &str,
        look: impl FnMut(&mut State, &RecordBatch) -> Result<(), String>,
    ) -> Result<State, Stopped> {
        fold_on(&self.attempts.each_ref(), sql, look).await
    }

    /// The same of a query whose rows come in an order that matters.
    pub(super) async fn fold_in_order<State: Default>(
        &self,
        sql: &str,
        look: impl FnMut(&mut State, &RecordBatch) -> Result<(), String>,
    ) -> Result<State, Stopped> {
        let [bounded, _, unbounded] = &self.attempts;
        fold_on(&[bounded, unbounded], sql, look).await
    }
}

async fn fold_on<State: Default>(
    sessions: &[&SessionContext],
    sql: &str,
    mut look: impl FnMut(&mut State, &RecordBatch) -> Result<(), String>,
) -> Result<State, Stopped> {
    let mut last = None;
    for session in sessions {
        match gather(session, sql, &mut look).await {
            Err(Stopped::Engine(error)) if last.is_some() || engine::is_out_of_memory(&error) => last = Some(error),
            other => return other,
        }
    }
    let unasked = || DataFusionError::Execution("there is nowhere to run it".to_owned());
    Err(Stopped::Engine(last.unwrap_or_else(unasked)))
}

async fn gather<State: Default>(
    session: &SessionContext,
    sql: &str,
    look: &mut impl FnMut(&mut State, &RecordBatch) -> Result<(), String>,
) -> Result<State, Stopped> {
    let mut state = State::default();
    let mut batches = engine::stream_of(session, sql).await.map_err(Stopped::Engine)?;
    while let Some(batch) = batches.try_next().await.map_err(Stopped::Engine)? {
        look(&mut state, &batch).map_err(Stopped::Answer)?;
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, TimestampMicrosecondArray};
    use datafusion::datasource::MemTable;

    use super::*;

    /// Two tables of 200,000 rows, half of which have a partner: moments, and numbers of which one is none.
    fn sessions(memory: usize) -> Sessions {
        let unbounded = engine::session_context();
        for (name, from) in [("one", 0_i32), ("other", 100_000)] {
            let numbers: Vec<i32> = (from..from + 200_000).collect();
            let batch = |numbers: &[i32]| -> RecordBatch {
                let moments = numbers.iter().map(|number| i64::from(*number)).collect::<Vec<_>>();
                let moments: ArrayRef = Arc::new(TimestampMicrosecondArray::from(moments).with_timezone("UTC"));
                let floats = numbers.iter().map(|number| if *number == 7 { f64::NAN } else { f64::from(*number) });
                let floats: ArrayRef = Arc::new(Float64Array::from_iter_values(floats));
                RecordBatch::try_from_iter([("at", moments), ("x", floats)]).expect("a batch")
            };
            let batches: Vec<RecordBatch> = numbers.chunks(8_192).map(batch).collect();
            let table = MemTable::try_new(batches[0].schema(), vec![batches]).expect("a table");
            unbounded.register_table(name, Arc::new(table)).expect("registered");
        }
        let bounded = engine::in_memory_of(&unbounded, memory).expect("a session");
        let on_disk = engine::joining_on_disk(&bounded);
        Sessions { parallel: unbounded.clone(), attempts: [bounded, on_disk, unbounded] }
    }

    #[tokio::test]
    async fn what_cannot_be_joined_on_disk_takes_the_memory_it_needs() {
        let sessions = sessions(3_000_000);
        let count = |rows: &mut usize, batch: &RecordBatch| {
            *rows += batch.num_rows();
            Ok(())
        };
        for column in ["at", "x"] {
            let sql = format!(
                "SELECT {column} FROM one WHERE NOT EXISTS (SELECT 1 FROM other WHERE other.{column} = one.{column})"
            );
            let refused = gather::<usize>(&sessions.attempts[0], &sql, &mut count.clone()).await;
            let is_full =
                |stopped: &Stopped| matches!(stopped, Stopped::Engine(error) if engine::is_out_of_memory(error));
            assert!(refused.err().as_ref().is_some_and(is_full), "{column} fits");
            assert!(gather::<usize>(&sessions.attempts[1], &sql, &mut count.clone()).await.is_err(), "{column}");
            assert_eq!(sessions.fold(&sql, count).await.ok(), Some(100_000), "{column}");
        }
    }
}
