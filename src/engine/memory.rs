//! Queries in bounded memory: what does not fit goes on on disk, as far as it can.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::joins::SortMergeJoinExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::EngineError;

/// The same tables and the same meaning; but all queries of the session together take no more than so many bytes. Sorts and
/// groups that need more go on on disk; what cannot is refused: see [`is_out_of_memory`].
///
/// # Errors
/// A system without a folder for temporary files.
pub fn in_memory_of(session: &SessionContext, bytes: usize) -> Result<SessionContext, EngineError> {
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(bytes))).build_arc();
    let runtime = runtime.map_err(|error| EngineError::Memory(error.to_string()))?;
    // What a sort keeps for merging what it put on disk: its share of what there is.
    let config = session.copied_config().with_sort_spill_reservation_bytes(bytes / 32);
    Ok(with_same_tables(session, config, Some(runtime)))
}

/// The same as the session, but a join sorts both of its sides, which can be done on disk, instead of holding one of them
/// in memory. Rows come in any order. It does not know how to join by every type: run it by [`stream_of`].
pub fn joining_on_disk(session: &SessionContext) -> SessionContext {
    // Only a plan of several partitions may sort for a join.
    let config = session
        .copied_config()
        .set_bool("datafusion.optimizer.prefer_hash_join", false)
        .with_target_partitions(session.copied_config().target_partitions().max(2));
    with_same_tables(session, config, None)
}

fn with_same_tables(
    session: &SessionContext,
    config: SessionConfig,
    runtime: Option<Arc<RuntimeEnv>>,
) -> SessionContext {
    // Else an empty catalog would take the place of the one that both share.
    let config = config.with_create_default_catalog_and_schema(false);
    let mut state = SessionStateBuilder::new_from_existing(session.state()).with_config(config);
    if let Some(runtime) = runtime {
        state = state.with_runtime_env(runtime);
    }
    SessionContext::new_with_state(state.build())
}

/// Runs a query.
///
/// # Errors
/// What the engine says; a join on disk by floating-point numbers, where a NaN could end the whole process.
pub async fn stream_of(session: &SessionContext, sql: &str) -> Result<SendableRecordBatchStream, DataFusionError> {
    let query = session.sql(sql).await?;
    let context = Arc::new(query.task_ctx());
    let plan = query.create_physical_plan().await?;
    if merges_floats(plan.as_ref())? {
        return Err(DataFusionError::NotImplemented("a join on disk by floating-point numbers".to_owned()));
    }
    execute_stream(plan, context)
}

/// Whether a join that sorts its sides compares floating-point numbers.
fn merges_floats(plan: &dyn ExecutionPlan) -> Result<bool, DataFusionError> {
    if let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() {
        let schema = join.left().schema();
        for (key, _) in join.on() {
            if key.data_type(&schema)?.is_floating() {
                return Ok(true);
            }
        }
    }
    for child in plan.children() {
        if merges_floats(child.as_ref())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a query was refused because it needed more memory than its session has.
pub fn is_out_of_memory(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use arrow::record_batch::RecordBatch;
    use datafusion::datasource::MemTable;
    use futures::TryStreamExt;

    use super::*;
    use crate::engine::session_context;

    /// Half a million numbers in each of two tables, of which half are in both.
    fn session() -> SessionContext {
        let session = session_context();
        for (name, from) in [("one", 0), ("other", 250_000)] {
            let numbers: Vec<i64> = (from..from + 500_000).collect();
            let batch = |numbers: &[i64]| -> RecordBatch {
                let numbers: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
                RecordBatch::try_from_iter([("n", numbers)]).expect("a batch")
            };
            let batches: Vec<RecordBatch> = numbers.chunks(8_192).map(batch).collect();
            let table = MemTable::try_new(batches[0].schema(), vec![batches]).expect("a table");
            session.register_table(name, Arc::new(table)).expect("registered");
        }
        session
    }

    async fn rows(session: &SessionContext, sql: &str) -> Result<usize, DataFusionError> {
        let batches = session.sql(sql).await.expect(sql).collect().await?;
        Ok(batches.iter().map(RecordBatch::num_rows).sum())
    }

    #[tokio::test]
    async fn what_does_not_fit_is_sorted_on_disk() {
        let missing = "SELECT n FROM one WHERE NOT EXISTS (SELECT 1 FROM other WHERE other.n = one.n)";
        let unbounded = session();
        assert_eq!(rows(&unbounded, missing).await.expect("it fits"), 250_000);
        let bounded = in_memory_of(&unbounded, 6_000_000).expect("a session");
        let refused = rows(&bounded, missing).await.expect_err("a hash join holds one side");
        assert!(is_out_of_memory(&refused), "{refused}");
        assert_eq!(rows(&joining_on_disk(&bounded), missing).await.expect("it spills"), 250_000);
        let groups = "SELECT n, count(*) FROM (SELECT n FROM one UNION ALL SELECT n FROM other) GROUP BY n";
        assert_eq!(rows(&bounded, groups).await.expect("it spills"), 750_000);
        let by_floats = missing.replace("other.n = one.n", "CAST(other.n AS DOUBLE) = CAST(one.n AS DOUBLE)");
        let refused = stream_of(&joining_on_disk(&bounded), &by_floats).await.err().expect("NaN has no order there");
        assert!(!is_out_of_memory(&refused) && refused.to_string().contains("floating-point"), "{refused}");
        let found: Vec<RecordBatch> =
            stream_of(&unbounded, &by_floats).await.expect("in memory").try_collect().await.expect("it fits");
        assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 250_000);
        // The same names mean the same, division of whole numbers included.
        assert_eq!(rows(&joining_on_disk(&bounded), "SELECT n FROM one WHERE n / 2 = 3").await.expect("it fits"), 2);
    }
}
