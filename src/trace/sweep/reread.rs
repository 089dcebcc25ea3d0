//! A query run again: where it returns something else in the right world, its transaction has gone another way.

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::snapshot::Looking;
use super::value_flow::ValueFlow;
use super::{Progress, Sweep};
use crate::catalog::World;
use crate::trace::reenact::{CompiledQuery, Execution, Refusal};
use crate::trace::worlds::RecordName;

impl Sweep {
    /// A query: where it returns something else in the right world, what its transaction writes later may be wrong.
    ///
    /// Nothing tells which of several states it saw: that one of them was another in the right world is enough.
    pub(super) async fn rerun_read(&mut self, looking: Looking<'_>, query: &CompiledQuery, progress: &mut Progress) {
        // Once it has gone another way, what it reads is of use for the values alone that it writes later.
        let to_come = looking.transaction.steps.iter().skip(looking.place + 1);
        if progress.diverged.is_some() && to_come.into_iter().all(|step| step.writes.is_empty()) {
            return;
        }
        let states = self.states(looking);
        for unseen in states {
            self.hide(unseen, looking);
            let diverged = self.reads_otherwise(looking, query, &mut progress.flow).await;
            self.worlds.roll_back();
            if let Some(source) = diverged {
                let origin = self.origin(&source, Some(looking.statement.sql.clone()));
                progress.diverged.get_or_insert(origin);
                return;
            }
        }
    }

    /// A query behind common table expressions that write: what it returns comes after what they wrote.
    pub(super) async fn rerun_behind(&mut self, looking: Looking<'_>, query: &CompiledQuery, progress: &mut Progress) {
        let before = progress.diverged.take();
        self.rerun_read(looking, query, progress).await;
        progress.behind = std::mem::replace(&mut progress.diverged, before);
    }

    /// An affected record that makes the query return something else in the right world.
    async fn reads_otherwise(
        &mut self,
        looking: Looking<'_>,
        query: &CompiledQuery,
        flow: &mut ValueFlow,
    ) -> Option<RecordName> {
        let Looking { transaction, statement, .. } = looking;
        let mut touched = self.touched(query.references().iter(), &statement.parameters);
        let unnamed = self.source_of_unnamed(query.references().iter());
        touched.records.extend(unnamed.iter().map(|(source, _)| source.clone()));
        let source = touched.records.first().cloned()?;
        let unnamed = unnamed.map(|(_, reason)| reason);
        let execution = Execution { parameters: &statement.parameters, time: transaction.started, overridden: None };
        let results = match self.unknown_temporary(query.references().iter()).or(unnamed) {
            Some(refusal) => Err(refusal),
            None => self.results(query, execution).await,
        };
        let diverged = match results {
            Ok((actual, right)) => match (printed(&actual), printed(&right)) {
                (Ok(shown), Ok(right_shown)) if shown == right_shown => touched.unknown,
                _ => {
                    // Of what is not known, the right world holds the actual values.
                    if !touched.unknown && !touched.suspected {
                        flow.note_read(&actual, &right);
                    }
                    true
                }
            },
            Err(reason) => match self.reads_otherwise_there(looking).await {
                Some(diverged) => diverged,
                None => {
                    self.notes.inexact(&statement.sql, &reason.to_string());
                    true
                }
            },
        };
        diverged.then_some(source)
    }

    async fn results(
        &mut self,
        query: &CompiledQuery,
        execution: Execution<'_>,
    ) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), Refusal> {
        let actual = query.run(&mut self.worlds.tables, World::Actual, execution).await?;
        let right = query.run(&mut self.worlds.tables, World::Right, execution).await?;
        Ok((actual, right))
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
