//! A statement of the release that wrote something wrong, run again with what it should have written: its triggers compute
//! what they would have computed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::judge::{Before, Pins};
use super::reenacted::{Both, references};
use super::snapshot::Looking;
use super::touch::Touched;
use super::{Progress, Sweep, record_of};
use crate::catalog::World;
use crate::model::{ColumnName, Operation, Row, Step, Transaction};
use crate::sql::TableReference;
use crate::trace::changes::Changes;
use crate::trace::error::TraceError;
use crate::trace::reach::Reached;
use crate::trace::reenact::Refusal;
use crate::trace::scratch::Amendment;
use crate::trace::worlds::RecordName;

/// What a statement can come to, where that runs code of the database's own.
type Code = Option<Arc<Reached>>;

/// What each root must hold in the columns that are mended; `None` where it should not have been written.
type Fixed = BTreeMap<RecordName, Option<Row>>;

/// Records as they stand in one world.
type Rows = BTreeMap<RecordName, Option<Arc<Row>>>;

/// A step of the release while it is judged.
struct Judged<'a> {
    /// What it can come to.
    reached: &'a Reached,
    /// The records that it changed, as they were before.
    changes: &'a Changes,
    /// The right world before the step …
    before: &'a BTreeMap<RecordName, Before>,
    /// … and after it, before it was judged.
    unjudged: &'a Rows,
    /// The roots found in it.
    roots: &'a [RecordName],
}

impl Sweep {
    /// Judges what a step of the release wrote; what its triggers make of what it should have written stands instead of what
    /// they made of what it wrote, where that can be told.
    pub(super) async fn judge(
        &mut self,
        transaction: &Transaction,
        place: usize,
        step: &Step,
        pins: &mut Pins,
        (before, code, not_run): (&BTreeMap<RecordName, Before>, Code, Code),
        progress: &mut Progress,
    ) -> Result<(), TraceError> {
        let known_roots = progress.roots.len();
        let unjudged = step.writes.iter().map(record_of);
        let unjudged: Rows =
            unjudged.map(|record| (record.clone(), self.worlds.row(World::Right, &record).cloned())).collect();
        self.judge_step(transaction, place, step, pins, before, progress).await?;
        let roots: Vec<RecordName> = progress.roots.get(known_roots..).unwrap_or_default().to_vec();
        let mut is_amended = false;
        if let (Some(reached), Some(statement)) = (&code, &step.statement) {
            let changes = self.worlds.keep_and_tell();
            let looking = Looking { transaction, place, statement, references: &[] };
            let judged = Judged { reached, changes: &changes, before, unjudged: &unjudged, roots: &roots };
            is_amended = !roots.is_empty() && self.is_amended(looking, step, &judged, pins, progress).await;
        }
        self.judge_unrecorded(transaction, step, progress).await?;
        if let Some(root) = roots.first().filter(|_| !is_amended) {
            progress.reenacted = false;
            self.doubt_side_effects(step, root, progress);
            if let Some(reached) = not_run.or(code) {
                let mended = self.mended_columns(&roots, &unjudged);
                self.doubt_code_of_roots(transaction, step, &reached, &roots, &mended);
            }
        }
        Ok(())
    }

    /// Lets the step's triggers run over what it should have written; whether that can be told.
    async fn is_amended(
        &mut self,
        looking: Looking<'_>,
        step: &Step,
        judged: &Judged<'_>,
        pins: &mut Pins,
        progress: &mut Progress,
    ) -> bool {
        match self.reenact_amended(looking, step, judged, pins, progress).await {
            Ok(()) => true,
            Err(reason) => {
                self.notes.inexact(&looking.statement.sql, &reason.to_string());
                false
            }
        }
    }

    /// Lets the step's triggers run over what it should have written.
    ///
    /// # Errors
    /// Why that cannot be told.
    async fn reenact_amended(
        &mut self,
        looking: Looking<'_>,
        step: &Step,
        judged: &Judged<'_>,
        pins: &mut Pins,
        progress: &mut Progress,
    ) -> Result<(), Refusal> {
        let (amendments, fixed) = self.amendments(looking, step, judged)?;
        let references = references(judged.reached);
        let references: Vec<&TableReference> = references.iter().collect();
        let looking = Looking { references: &references, ..looking };
        let mut refused = None;
        for unseen in self.states(looking) {
            self.worlds.begin();
            for (record, earlier) in judged.changes.iter() {
                self.worlds.put_back(&record, earlier);
            }
            let hidden = self.hide(unseen, looking);
            let both = self.in_both_worlds(looking, step, judged.reached, &amendments).await;
            self.worlds.roll_back();
            self.worlds.roll_back();
            match both {
                Ok(both) if both.right.rows.keys().any(|record| hidden.contains(record)) => {
                    let reason = "reaches a row that another transaction changed meanwhile";
                    refused.get_or_insert(Refusal(reason.to_owned()));
                }
                Ok(both) => {
                    self.take_over_amended(looking, step, judged, both, &fixed, pins, progress);
                    return Ok(());
                }
                Err(reason) => _ = refused.get_or_insert(reason),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// The columns of the roots that are mended.
    fn mended_columns(&self, roots: &[RecordName], unjudged: &Rows) -> BTreeSet<(RecordName, ColumnName)> {
        let mut mended = BTreeSet::new();
        for root in roots {
            let (right, unjudged) = (self.worlds.row(World::Right, root), unjudged.get(root).and_then(Option::as_ref));
            let differing = crate::trace::worlds::differing(right.map(AsRef::as_ref), unjudged.map(AsRef::as_ref));
            mended.extend(differing.into_iter().flatten().map(|column| (root.clone(), column)));
        }
        mended
    }

    /// What the statement should have written instead, and what each root must hold whatever the database makes of it.
    fn amendments(
        &mut self,
        looking: Looking<'_>,
        step: &Step,
        judged: &Judged<'_>,
    ) -> Result<(Vec<Amendment>, Fixed), Refusal> {
        let compiled = self.statements.statement(
            &looking.statement.sql,
            &looking.statement.parameters,
            looking.statement.time_zone.as_ref(),
        );
        let targets = compiled.targets();
        let mut amendments = Vec::new();
        let mut fixed = Fixed::new();
        for root in judged.roots {
            if !self.unknown_of(root).is_empty() {
                return Err(Refusal("should have written something that is not known".to_owned()));
            }
            let mended = self.worlds.row(World::Right, root).cloned();
            let unjudged = judged.unjudged.get(root).cloned().flatten();
            let before = judged.before.get(root).and_then(|before| before.row.clone());
            let write = step.writes.iter().rev().find(|write| record_of(write) == *root);
            let Some(write) = write else { return Err(Refusal("did not write what is wrong itself".to_owned())) };
            let is_unwritten = mended.is_none() && write.operation == Operation::Insert
                || write.operation != Operation::Insert && mended == before;
            let set = match (&mended, &unjudged) {
                _ if is_unwritten => None,
                (Some(mended), Some(unjudged)) => {
                    let differs =
                        |(column, value): &(&Arc<str>, &crate::model::Value)| unjudged.get(column) != Some(*value);
                    Some(
                        mended
                            .iter()
                            .filter(differs)
                            .map(|(column, value)| (column.clone(), value.clone()))
                            .collect::<Row>(),
                    )
                }
                _ => return Err(Refusal("should have written a row of which nothing is known".to_owned())),
            };
            fixed.insert(root.clone(), set.clone());
            // What a trigger wrote is not amended before it is written.
            if targets.is_empty() || targets.iter().any(|target| target.table == root.0) {
                let (_, key) = self.old_record(write);
                amendments.push(Amendment { table: root.0.clone(), key, operation: write.operation, set });
            }
        }
        Ok((amendments, fixed))
    }

    #[expect(clippy::too_many_arguments, reason = "the step with its place in the history, and what came of it")]
    fn take_over_amended(
        &mut self,
        looking: Looking<'_>,
        step: &Step,
        judged: &Judged<'_>,
        mut both: Both,
        fixed: &Fixed,
        pins: &mut Pins,
        progress: &mut Progress,
    ) {
        let mut touched = self.touched_by(judged.reached, step);
        let roots = judged.roots.iter().filter(|root| !touched.records.contains(root));
        touched.records = roots.cloned().chain(touched.records.iter().cloned()).collect();
        for (root, set) in fixed {
            let stands = self.worlds.row(World::Right, root).cloned();
            let unjudged = judged.unjudged.get(root).cloned().flatten();
            let written = both.right.rows.remove(root).flatten();
            both.replayed.rows.remove(root);
            both.recorded.forget(root);
            let (Some(set), Some(mut row)) = (set, written) else { continue };
            if let (Some(pin), Some(unjudged)) = (pins.get_mut(root), &unjudged) {
                let unmended =
                    set.iter().filter_map(|(column, _)| Some((column.clone(), unjudged.get(column)?.clone())));
                pin.written_in_right_world(Arc::new(row.overlaid(&unmended.collect())));
            }
            // A value that the database makes of what was written stands; one that it makes of anything does not.
            for (column, value) in set.iter() {
                let ignored = unjudged.as_ref().is_some_and(|unjudged| unjudged.get(column) == row.get(column));
                if ignored {
                    row.set(column.clone(), value.clone());
                }
            }
            let unknown = both.unknown.remove(root).unwrap_or_default();
            let actual = self.worlds.row(World::Actual, root).cloned();
            if stands.as_deref() != Some(&row) {
                self.worlds.set(root, actual, Some(Arc::new(row)));
            }
            self.worlds.set_unknown(root, self.not_key(&root.0, unknown));
            self.worlds.note_wrong(root);
        }
        self.take_over_again(looking, step, &both, &touched, progress, judged);
    }

    /// The other records are as they were before the step, and then what came of it.
    fn take_over_again(
        &mut self,
        looking: Looking<'_>,
        step: &Step,
        both: &Both,
        touched: &Touched,
        progress: &mut Progress,
        judged: &Judged<'_>,
    ) {
        for (record, earlier) in judged.changes.iter().filter(|(record, _)| !judged.roots.contains(record)) {
            self.worlds.put_back(&record, earlier);
        }
        let others: Vec<_> =
            step.writes.iter().filter(|write| !judged.roots.contains(&record_of(write))).cloned().collect();
        progress.unrecorded.clear();
        let others = Step { statement: step.statement.clone(), writes: others };
        self.take_over_both(looking, &others, both, touched, progress);
    }
}
