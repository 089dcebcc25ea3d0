//! One trace: roll the tables back to the release's first write, sweep forward, report the difference.

use std::collections::BTreeSet;

use super::blast_radius::BlastRadius;
use super::error::TraceError;
use super::outcome;
use super::reenact::SessionZones;
use super::scratch::Scratch;
use super::sweep::{SuspectingRule, Suspicion, Sweep, Target};
use crate::catalog::RollingTables;
use crate::model::{Declarations, Derive, History, Release, TableSettingsByName, Transaction};
use crate::sql::Schemas;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Which release.
    pub target: &'a Target,
    /// Which of its writes count as wrong.
    pub suspicion: &'a Suspicion<'a>,
    /// Every rule: those that say what a cell must hold fill in what nothing else can tell.
    pub rules: &'a [SuspectingRule],
    /// Tables computed by something that logs no SQL.
    pub derives: &'a [Derive],
    /// What the database declares beside the shapes of its tables.
    pub declarations: &'a Declarations,
    /// Whether records with nothing known against them are listed too.
    pub list_suspects: bool,
    /// What the project file says of the tables.
    pub settings: &'a TableSettingsByName,
}

/// Traces a release through a history. `tables` are as they stand now, in the actual world.
///
/// # Errors
/// A release that wrote nothing, an empty history, rules or faults that cannot be evaluated.
pub async fn trace(
    history: &History,
    tables: RollingTables,
    schemas: &Schemas,
    question: Question<'_>,
) -> Result<BlastRadius, TraceError> {
    trace_on(history, tables, schemas, question, None).await
}

/// As [`trace`]; on `scratch` runs what the built-in evaluator cannot run.
///
/// # Errors
/// As there, and a scratch server that breaks the connection off.
pub async fn trace_on(
    history: &History,
    mut tables: RollingTables,
    schemas: &Schemas,
    question: Question<'_>,
    scratch: Option<Scratch>,
) -> Result<BlastRadius, TraceError> {
    if history.transactions.is_empty() {
        return Err(TraceError::EmptyHistory);
    }
    let wrote = |transaction: &Transaction| transaction.writes().any(|write| question.target.wrote(write));
    let Some(first) = history.transactions.iter().position(wrote) else {
        let known = known_releases(history).iter().map(Release::to_string).collect();
        return Err(TraceError::UnknownRelease { release: question.target.release.clone(), known });
    };
    for transaction in history.transactions[first..].iter().rev() {
        let writes: Vec<_> = transaction.writes().collect();
        writes.into_iter().rev().for_each(|write| tables.undo(write));
    }
    let zones = SessionZones::from(question.declarations);
    let mut sweep =
        Sweep::new(tables, schemas, question.target.clone(), question.suspicion, question.rules, zones).await?;
    sweep.declare(question.declarations).await;
    scratch.into_iter().for_each(|scratch| sweep.reenact_on(scratch));
    sweep.read_log_at(history.log_precision);
    sweep.derive(question.derives, history).await?;
    sweep.transactions(&history.transactions[first..]).await?;
    if let Some(last) = history.transactions.last() {
        sweep.derive_at_end(last.committed).await;
    }
    if let Some(reason) = sweep.broken_scratch() {
        let help = "Trace again; the server's log may say why it broke the connection off.".to_owned();
        return Err(TraceError::Scratch { reason: reason.to_owned(), help });
    }
    let (worlds, notes) = sweep.finish();
    Ok(outcome::blast_radius(history, &worlds, &notes, question))
}

/// Every release that a write of the history names.
pub fn known_releases(history: &History) -> BTreeSet<Release> {
    let writes = history.transactions.iter().flat_map(Transaction::writes);
    writes.filter_map(|write| write.attribution.as_ref()).map(|attribution| attribution.release.clone()).collect()
}
