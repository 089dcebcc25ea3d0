//! A query run again: where it returns something else in the right world, its transaction has gone another way.

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Progress, Sweep};
use crate::catalog::World;
use crate::model::{Statement, Transaction};
use crate::trace::reenact::{CompiledQuery, Execution, Refusal};

impl Sweep {
    /// A query: where it returns something else in the right world, what its transaction writes later may be wrong.
    pub(super) async fn rerun_read(
        &mut self,
        transaction: &Transaction,
        statement: &Statement,
        query: &CompiledQuery,
        progress: &mut Progress,
    ) {
        if progress.diverged.is_some() {
            return;
        }
        let touched = self.touched(query.references().iter(), &statement.parameters);
        let Some(source) = touched.records.first().cloned() else { return };
        let execution = Execution { parameters: &statement.parameters, time: transaction.started, overridden: None };
        let diverged = match self.results(query, execution).await {
            Ok((actual, right)) => touched.unknown || actual != right,
            Err(reason) => {
                self.notes.inexact(&statement.sql, &reason.to_string());
                true
            }
        };
        if diverged {
            progress.diverged = Some(self.origin(&source, Some(statement.sql.clone())));
        }
    }

    async fn results(
        &mut self,
        query: &CompiledQuery,
        execution: Execution<'_>,
    ) -> Result<(Vec<String>, Vec<String>), Refusal> {
        let actual = query.run(&mut self.worlds.tables, World::Actual, execution).await?;
        let right = query.run(&mut self.worlds.tables, World::Right, execution).await?;
        Ok((printed(&actual)?, printed(&right)?))
    }
}

/// The rows as text, sorted: their order means nothing.
fn printed(batches: &[RecordBatch]) -> Result<Vec<String>, Refusal> {
    let refuse = |error: arrow::error::ArrowError| Refusal(error.to_string());
    let options = FormatOptions::default().with_null("\u{0}");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).map_err(refuse))
            .collect::<Result<_, _>>()?;
        for position in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|column| column.value(position).to_string()).collect();
            rows.push(cells.join("\u{1}"));
        }
    }
    rows.sort();
    Ok(rows)
}
