//! A table that the query engine reads when a query runs, and only the columns that the query names.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};

use super::CatalogError;

/// Where a table's rows come from.
pub(super) trait RowSource: Debug + Send + Sync {
    /// The rows of one part, or those of them that may meet all `filters`, with the columns of `projection` (whose fields
    /// name columns of the table) in its order.
    fn read(&self, projection: SchemaRef, part: Part, filters: &[Expr]) -> SendableRecordBatchStream;

    /// Whether [`RowSource::read`] leaves rows out that do not meet this filter. It need not leave out all of them.
    fn takes(&self, _filter: &Expr) -> bool {
        false
    }

    /// How many parts can be read beside each other.
    fn parts(&self) -> usize {
        1
    }

    /// How many rows there are, where that is known without reading them.
    fn row_count(&self) -> Option<u64> {
        None
    }
}

/// One of the parts that a table is read in; together they hold every row once, in the order of the source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Counted from 0.
    pub(super) index: usize,
    /// How many there are, no more than [`RowSource::parts`].
    pub(super) of: usize,
}

impl Part {
    /// Every row.
    pub(super) const WHOLE: Part = Part { index: 0, of: 1 };

    /// Which of `pieces` (such as row groups) belong to the part.
    pub(super) fn range(self, pieces: usize) -> std::ops::Range<usize> {
        let bound = |index: usize| index * pieces / self.of.max(1);
        bound(self.index)..bound(self.index + 1)
    }
}

/// The engine's view of a [`RowSource`].
#[derive(Debug)]
pub(super) struct LazyTable {
    /// Every column of the table, as [`super::arrow_schema`] gives them.
    pub(super) schema: SchemaRef,
    /// Where its rows come from.
    pub(super) source: Arc<dyn RowSource>,
}

#[async_trait]
impl TableProvider for LazyTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        let taken = |filter: &&Expr| match self.source.takes(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(taken).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let projected = match projection {
            Some(positions) => Arc::new(self.schema.project(positions)?),
            None => Arc::clone(&self.schema),
        };
        let of = self.source.parts().min(state.config().target_partitions()).max(1);
        let part = |index| -> Arc<dyn PartitionStream> {
            let (schema, source) = (Arc::clone(&projected), Arc::clone(&self.source));
            Arc::new(ProjectedRows { schema, source, part: Part { index, of }, filters: filters.to_vec() })
        };
        let parts = (0..of).map(part).collect();
        Ok(Arc::new(StreamingTableExec::try_new(projected, parts, None, [], false, limit)?))
    }
}

#[derive(Debug)]
struct ProjectedRows {
    schema: SchemaRef,
    source: Arc<dyn RowSource>,
    part: Part,
    filters: Vec<Expr>,
}

impl PartitionStream for ProjectedRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.source.read(Arc::clone(&self.schema), self.part, &self.filters)
    }
}

/// Carries our error through the engine; [`unwrap_engine_error`] takes it out again.
pub(super) fn wrap_error(error: CatalogError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Our own error where the engine only carried it, else the engine's.
pub(super) fn unwrap_engine_error(error: DataFusionError) -> CatalogError {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<CatalogError>() {
            Ok(own) => *own,
            Err(other) => CatalogError::Engine(DataFusionError::External(other)),
        },
        other => CatalogError::Engine(other),
    }
}
