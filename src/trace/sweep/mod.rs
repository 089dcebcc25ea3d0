//! The sweep: from the release's first write through every commit since, in order, keeping the two worlds apart.
//!
//! For each statement, the first that applies: it touches nothing on which the worlds differ, and is carried; it can
//! run again, and what it would have written against what it wrote is the new difference; it cannot, and what it set
//! is the same in both worlds unless its transaction read something affected. See the design's "Meanings".

mod amended;
mod application;
mod breach;
mod candidates;
mod carry;
mod cascade;
mod code;
mod derivation;
mod distort;
mod effects;
mod fill;
mod generated;
mod judge;
mod matching;
mod notes;
mod reenacted;
mod regroup;
mod repaired;
mod reread;
mod rerun;
mod snapshot;
mod suspicion;
mod temporary;
mod touch;
mod unnamed;
mod unrecorded;
mod untold;
mod value_flow;
mod written;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

pub use candidates::{Candidates, rows_of};
pub use fill::Filler;
pub use notes::{CarrierNotes, Notes};
pub use suspicion::{Foreseen, Judges, PlannedRule, SuspectingFault, SuspectingRule, Suspicion, Violating};

use super::blast_radius::{Cause, Role, WrittenBy};
use super::error::TraceError;
use super::reach::Reach;
use super::reenact::{Compiled, SessionZones, Statements};
use super::scratch::Scratch;
use super::worlds::{Difference, RecordName, Worlds};
use crate::catalog::{RollingTables, World};
use crate::model::{
    ColumnName, Operation, Release, ReleaseName, ServiceName, Step, TableName, Timestamp, TraceId, Transaction, Write,
};
use crate::sql::{Schemas, TableReference, WriteTarget};
use snapshot::{Looking, Recent};
use unrecorded::UnrecordedWrite;

/// Which release is traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub release: ReleaseName,
    /// Its service, where several services have a release of this name.
    pub service: Option<ServiceName>,
    /// Only its writes from this moment on.
    pub from: Option<Timestamp>,
    /// Only its writes before this moment.
    pub until: Option<Timestamp>,
}

impl Target {
    /// Whether this release is the one.
    pub fn is(&self, release: &Release) -> bool {
        release.name == self.release
            && (self.service.is_none() || release.service.is_none() || self.service == release.service)
    }

    /// Whether the release made the write.
    pub fn wrote(&self, write: &Write) -> bool {
        write.attribution.as_ref().is_some_and(|attribution| self.is(&attribution.release))
            && self.from.is_none_or(|from| from <= write.ts)
            && self.until.is_none_or(|until| write.ts < until)
    }
}

/// Where a difference comes from: the affected record read, and how far it is from a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    cause: Cause,
    hops: u32,
}

/// What a transaction has read so far.
#[derive(Default)]
struct Progress {
    /// It read something that the right world would not have shown it.
    diverged: Option<Origin>,
    /// The step at hand did, behind what it wrote.
    behind: Option<Origin>,
    /// The steps before it did, whose values it cannot have computed from that.
    known_until: Option<usize>,
    /// What it read of what the right world would have shown otherwise.
    flow: value_flow::ValueFlow,
    /// What those used, once it is asked for.
    known_values: Option<Arc<HashSet<String>>>,
    /// The records that a root write of this transaction made wrong.
    roots: Vec<RecordName>,
    /// Of those under a wrong key: the right one.
    elsewhere: BTreeMap<RecordName, RecordName>,
    /// Every write with the columns whose values may come from the application.
    from_application: Vec<(RecordName, BTreeSet<ColumnName>, WrittenBy)>,
    /// What the step at hand wrote in the right world alone.
    unrecorded: Vec<UnrecordedWrite>,
    /// Whether the step at hand ran on the scratch server: with all that triggers and foreign keys do.
    reenacted: bool,
    /// The same of the transaction, for what is judged when it commits.
    unrecorded_at_commit: Vec<UnrecordedWrite>,
}

/// The two worlds on their way through time.
pub struct Sweep {
    worlds: Worlds,
    statements: Statements,
    target: Target,
    judges: Judges,
    foreseen: Foreseen,
    /// Rules that say what a cell must hold.
    fillers: Vec<Filler>,
    /// Records that the current transaction left in doubt.
    doubtful: BTreeSet<RecordName>,
    notes: Notes,
    /// Tables that something computes which logs no SQL.
    derivations: derivation::Derivations,
    /// Columns that the database computes.
    generated: generated::GeneratedColumns,
    /// Foreign keys that do something by themselves.
    cascades: cascade::Cascades,
    /// The latest commits, in order: as far back as a statement to come may have begun.
    recent: VecDeque<Recent>,
    /// How exact the times of the SQL log are, in microseconds.
    log_precision: i64,
    /// Cells that no image tells.
    untold: untold::Untold,
    temporary: temporary::TemporaryTables,
    unnamed: unnamed::UnnamedRows,
    /// What statements can come to by triggers and functions.
    reach: Reach,
    /// Whether the database has any.
    runs_code: bool,
    /// Where statements run that the built-in evaluator cannot run.
    scratch: Option<Scratch>,
    /// Traces in which something affected was read.
    diverged_traces: HashMap<TraceId, Origin>,
}

impl Sweep {
    /// A sweep over tables as of just before the release's first write.
    ///
    /// # Errors
    /// Rules or faults that cannot be evaluated.
    pub async fn new(
        tables: RollingTables,
        schemas: &Schemas,
        target: Target,
        suspicion: &Suspicion<'_>,
        rules: &[SuspectingRule],
        zones: SessionZones,
    ) -> Result<Sweep, TraceError> {
        let mut statements = Statements::new(schemas.clone(), zones);
        let mut notes = Notes::default();
        let judges = Judges::compile(suspicion, &mut statements, &mut notes).await?;
        let mut fillers = Vec::new();
        for rule in rules {
            let Some(column) = &rule.decides else { continue };
            let only = SuspectingRule {
                expected: rule.expected.iter().filter(|(expected, _)| expected == column).cloned().collect(),
                ..rule.clone()
            };
            // Where the rules judge, one that cannot be planned is a limit already.
            let mut noted_already = Notes::default();
            let noted = match suspicion {
                Suspicion::Violating(_) => &mut noted_already,
                Suspicion::Faults(_) | Suspicion::All => &mut notes,
            };
            let planned = PlannedRule::compile(&only, &mut statements, noted).await;
            fillers.extend(planned.map(|rule| Filler { rule, column: column.clone() }));
        }
        Ok(Sweep {
            worlds: Worlds::new(tables),
            statements,
            target,
            judges,
            foreseen: Foreseen::default(),
            fillers,
            doubtful: BTreeSet::new(),
            notes,
            derivations: derivation::Derivations::default(),
            generated: generated::GeneratedColumns::default(),
            cascades: cascade::Cascades::of(schemas),
            recent: VecDeque::new(),
            log_precision: 1_000,
            untold: untold::Untold::new(),
            temporary: temporary::TemporaryTables::default(),
            unnamed: unnamed::UnnamedRows::new(),
            reach: Reach::default(),
            runs_code: false,
            scratch: None,
            diverged_traces: HashMap::new(),
        })
    }

    /// Both worlds as they stand, and what was noted on the way.
    pub fn finish(mut self) -> (Worlds, Notes) {
        self.tell_unnamed();
        if self.scratch.is_none() {
            self.notes.tell_of_scratch_servers();
        }
        (self.worlds, self.notes)
    }

    /// From now on, the log's times are this exact, in microseconds.
    pub fn read_log_at(&mut self, precision: i64) {
        self.log_precision = precision;
    }

    /// The committed transactions from the release's first write on, in the order of their commits.
    ///
    /// # Errors
    /// A rule or fault that cannot be evaluated for one of their rows.
    pub async fn transactions(&mut self, transactions: &[Transaction]) -> Result<(), TraceError> {
        self.foresee(transactions).await?;
        self.notice_refreshes(transactions);
        for (transaction, oldest_to_come) in transactions.iter().zip(snapshot::oldest_to_come(transactions)) {
            let overlaps = self.begin_recent(transaction.committed, oldest_to_come);
            self.enter_session(transaction);
            self.transaction(transaction).await?;
            self.leave_session(transaction);
            self.end_recent(transaction, overlaps, oldest_to_come);
        }
        self.tell_materialized();
        Ok(())
    }

    async fn transaction(&mut self, transaction: &Transaction) -> Result<(), TraceError> {
        self.begin_derivations();
        self.follow_untold(transaction);
        let is_release = self.is_of_release(transaction);
        if !is_release && Self::is_own_repair(transaction) {
            self.follow_own_repair(transaction);
            return Ok(());
        }
        let regrouped = self.regrouped(transaction).await;
        let transaction = regrouped.as_ref().unwrap_or(transaction);
        let whole = self.whole_executions(transaction).await;
        let transaction = whole.as_ref().unwrap_or(transaction);
        if !is_release {
            let mut progress = Progress::default();
            self.steps(transaction, &mut progress, None).await?;
            self.fill_in(transaction).await?;
            self.regenerate(transaction.started).await;
            return Ok(());
        }
        let mut pins = self.broken_rules(transaction).await?;
        let mut looked_at = breach::Breaches::new();
        // A right value may depend on what the transaction writes later: run it again until nothing moves.
        const ATTEMPTS: usize = 4;
        for attempt in 1..=ATTEMPTS {
            let kept_notes = self.notes.clone();
            let held = self.held();
            self.worlds.begin();
            let mut progress = Progress::default();
            self.steps(transaction, &mut progress, Some(&mut pins)).await?;
            self.judge_unrecorded_at_commit(transaction, &mut progress).await?;
            let moved = self.settle(transaction, &mut pins).await?;
            let breaches = self.broken_in_right_world(transaction, &pins, &looked_at).await?;
            if (moved || !breaches.is_empty()) && attempt < ATTEMPTS {
                self.worlds.roll_back();
                self.hold(held);
                self.forget_derivations();
                self.doubtful.clear();
                self.notes = kept_notes;
                self.pin_new_breaches(transaction, &breaches, &mut pins).await?;
                for (place, keys) in breaches {
                    looked_at.entry(place).or_default().extend(keys);
                }
                continue;
            }
            self.worlds.keep();
            self.unwritten_roots(transaction, &pins, &mut progress).await?;
            self.suspect_the_rest(&progress);
            self.fill_in(transaction).await?;
            self.regenerate(transaction.started).await;
            break;
        }
        Ok(())
    }

    async fn steps(
        &mut self,
        transaction: &Transaction,
        progress: &mut Progress,
        mut pins: Option<&mut judge::Pins>,
    ) -> Result<(), TraceError> {
        for (place, step) in transaction.steps.iter().enumerate() {
            self.notice_stated_reads(step, progress);
            if progress.diverged.is_some() {
                progress.known_until.get_or_insert(place);
            }
            self.derive_before(transaction, step).await;
            let before: BTreeMap<RecordName, judge::Before> = if pins.is_some() {
                step.writes.iter().map(|write| self.right_before(write)).collect()
            } else {
                BTreeMap::new()
            };
            progress.unrecorded.clear();
            progress.reenacted = false;
            let before_cascade = self.before_cascade(step);
            let code = if pins.is_some() { self.code_of(step) } else { None };
            let is_affected = pins.is_some() || self.worlds.any_affected();
            let not_run = if is_affected { self.code_not_run(step) } else { None };
            if code.is_some() {
                self.worlds.begin();
            }
            self.step(transaction, place, step, progress).await;
            if let Some(reached) = not_run.as_ref().filter(|_| self.worlds.any_affected()) {
                self.doubt_code(transaction, step, reached, progress);
            }
            if progress.diverged.is_some() {
                progress.known_until.get_or_insert(place + 1);
            }
            let alone = progress.unrecorded.clone();
            if let Some(pins) = pins.as_deref_mut() {
                self.judge(transaction, place, step, pins, (&before, code, not_run), progress).await?;
            }
            if !progress.reenacted {
                self.follow_cascades(transaction, step, &before_cascade, &alone, &progress.elsewhere);
                self.doubt_cascades(transaction, step);
            }
            self.regenerate(transaction.started).await;
            // What the application gave counts where something wrong was read, and where the release is suspected by it.
            if progress.diverged.is_some() || pins.is_some() {
                self.mark_diverged(transaction, step, progress);
            }
            if let Some(origin) = progress.behind.take() {
                progress.diverged.get_or_insert(origin);
                progress.known_until.get_or_insert(place + 1);
            }
            self.derive_after(transaction, step, progress).await;
        }
        Ok(())
    }

    /// What the database did by itself (triggers, cascades) when a statement wrote something wrong may be wrong, too.
    fn doubt_side_effects(&mut self, step: &Step, root: &RecordName, progress: &Progress) {
        let statement = step.statement.as_ref().map(|statement| statement.sql.clone());
        let origin = self.origin(root, statement);
        let by_itself = step.writes.iter().filter(|write| write.table != root.0);
        for write in by_itself.filter(|write| write.operation != Operation::Delete) {
            let record = record_of(write);
            let columns = self.not_key(&record.0, carry::changed_columns(write));
            if !progress.roots.contains(&record) && !columns.is_empty() {
                let why = "a trigger or cascade of an affected statement wrote it";
                self.possible(&record, columns, &origin, written_by(write), why);
            }
        }
    }

    fn right_before(&self, write: &Write) -> (RecordName, judge::Before) {
        let old = self.old_record(write);
        let row = self.worlds.row(World::Right, &old).cloned();
        let unknown = self.all_unknown_of(&old);
        (record_of(write), judge::Before { row, unknown })
    }

    /// The columns of a record, but for its key, whose right value is not known.
    fn unknown_of(&self, record: &RecordName) -> BTreeSet<ColumnName> {
        self.not_key(&record.0, self.all_unknown_of(record))
    }

    /// The same with its key: where a column of that is not known, nobody knows whether it is there.
    fn all_unknown_of(&self, record: &RecordName) -> BTreeSet<ColumnName> {
        self.worlds.difference(record).map(|difference| difference.unknown.clone()).unwrap_or_default()
    }

    /// The record's name before the write: an update may change the key.
    fn old_record(&self, write: &Write) -> RecordName {
        let key = self.worlds.schema(&write.table).and_then(|schema| write.before.as_ref()?.key(&schema.key));
        (write.table.clone(), key.unwrap_or_else(|| write.key.clone()))
    }

    async fn step(&mut self, transaction: &Transaction, place: usize, step: &Step, progress: &mut Progress) {
        let is_affected = self.worlds.any_affected() || self.is_temporary_affected() || !self.unnamed.is_empty();
        let temporary = match &step.statement {
            Some(statement) => self.temporary_write(&statement.sql),
            None => None,
        };
        if !is_affected && self.recent.is_empty() && temporary.is_none() {
            self.carry_all(&step.writes, None);
            return;
        }
        let Some(statement) = &step.statement else {
            self.unknown_statement(step, progress, "its SQL is not known");
            return;
        };
        if let Some(write) = temporary {
            let looking = Looking { transaction, place, statement, references: &[] };
            self.write_temporary(looking, write, progress).await;
            self.carry_all(&step.writes, None);
            return;
        }
        if is_affected {
            self.notes.executed(&statement.sql);
        }
        if let Some(reached) = self.code_of(step) {
            self.run_code(Looking { transaction, place, statement, references: &[] }, step, &reached, progress).await;
            return;
        }
        if self.recent.is_empty() && !self.may_touch_affected(step, statement) {
            self.carry_all(&step.writes, None);
            return;
        }
        let compiled = self.statements.statement(&statement.sql, &statement.parameters, statement.time_zone.as_ref());
        match compiled.as_ref() {
            Compiled::Write(write) => {
                if let Some(query) = &write.read {
                    let references = self.references_for_states(query.references().iter());
                    let looking = Looking { transaction, place, statement, references: &references };
                    self.rerun_behind(looking, query, progress).await;
                }
                let references = self.references_for_states(write.references());
                let looking = Looking { transaction, place, statement, references: &references };
                self.rerun_write(looking, step, write, progress).await;
            }
            Compiled::Read(query) => {
                let references = self.references_for_states(query.references().iter());
                let looking = Looking { transaction, place, statement, references: &references };
                self.rerun_read(looking, query, progress).await;
            }
            Compiled::Nothing => self.carry_all(&step.writes, None),
            Compiled::Refused { .. } if !is_affected => self.carry_all(&step.writes, None),
            Compiled::Refused { reason, tables, targets } => {
                let unknown = self.reads_unknown_table(tables, targets);
                let untold = tables.iter().find_map(|table| self.source_of_untold_view(table));
                // A function's body says what a text that names no table comes to.
                let of_code: Vec<TableName> = match self.code_not_run(step).filter(|_| tables.is_empty()) {
                    Some(reached) => reached.tables.iter().cloned().collect(),
                    None => Vec::new(),
                };
                let tables = if of_code.is_empty() { tables } else { &of_code };
                let source = untold.or_else(|| self.any_affected_record(if unknown { &[] } else { tables }));
                let looking = Looking { transaction, place, statement, references: &[] };
                if !tables.is_empty() && !unknown && source.is_none() {
                    self.carry_all(&step.writes, None);
                    return;
                }
                if source.is_some() && self.is_reenacted(looking, step, reason, progress).await {
                    return;
                }
                if step.writes.is_empty() && targets.is_empty() {
                    self.diverge_by_unknown_read(statement, source, progress, &reason.to_string());
                } else {
                    self.affected_by_unknown(transaction, step, targets, source.as_ref(), &reason.to_string());
                    self.doubt_what_it_may_write(transaction, (step, statement), targets, source, None);
                }
            }
        }
    }

    /// What a statement reads, where other transactions' commits may have to be hidden from it.
    fn references_for_states<'a>(
        &self,
        references: impl Iterator<Item = &'a TableReference>,
    ) -> Vec<&'a TableReference> {
        if self.recent.is_empty() { Vec::new() } else { references.collect() }
    }

    /// Whether a statement reads something of which nobody knows what it holds: a temporary table, a table without a key,
    /// one of a schema that is left out.
    fn reads_unknown_table(&self, tables: &[TableName], targets: &[WriteTarget]) -> bool {
        let is_system = |table: &TableName| {
            matches!(table.schema.as_ref(), "pg_catalog" | "information_schema") || table.table.starts_with("pg_")
        };
        let is_known = |table: &TableName| {
            self.worlds.tables.table(table).is_some() || self.is_sure_temporary(table) || is_system(table)
        };
        tables.iter().any(|table| !is_known(table) && !targets.iter().any(|target| target.table == *table))
    }

    /// Records that an event says its write was computed from.
    fn notice_stated_reads(&mut self, step: &Step, progress: &mut Progress) {
        for write in &step.writes {
            for read in &write.reads {
                let record = (read.table.clone(), read.key.clone());
                let reads =
                    |column: &str| read.columns.is_empty() || read.columns.iter().any(|name| name.as_ref() == column);
                if self.worlds.touches(&record, reads) {
                    let origin = self.origin(&record, step.statement.as_ref().map(|statement| statement.sql.clone()));
                    progress.diverged.get_or_insert(origin);
                }
            }
            if let Some(origin) = write.trace.as_ref().and_then(|trace| self.diverged_traces.get(trace)) {
                progress.diverged.get_or_insert(origin.clone());
            }
        }
    }

    fn origin(&self, record: &RecordName, statement: Option<Arc<str>>) -> Origin {
        let hops = self.worlds.difference(record).map_or(0, |difference| difference.hops);
        Origin {
            cause: Cause { table: record.0.clone(), key: record.1.clone(), statement },
            hops: hops.saturating_add(1),
        }
    }

    /// The record may be wrong in these columns, with no known right value.
    fn possible(
        &mut self,
        record: &RecordName,
        columns: BTreeSet<ColumnName>,
        origin: &Origin,
        written: WrittenBy,
        why: &str,
    ) {
        // It was wrong once, and has been mended since: what it holds now is no more than possibly wrong.
        let is_mended = !self.worlds.is_wrong(record);
        let doubt = possibility(origin, written, why);
        if is_mended && self.worlds.difference(record).is_some_and(|difference| difference.role != Role::Possible) {
            self.worlds.doubt_again(record, doubt.clone());
        }
        let difference = self.worlds.difference_or(record, || doubt);
        let unknown = difference.unknown.union(&columns).cloned().collect();
        self.worlds.set_unknown(record, unknown);
        self.worlds.set_likely(record, &columns, Vec::new());
        self.worlds.note_wrong(record);
        self.doubtful.insert(record.clone());
    }

    /// The other writes of a transaction of the release that wrote something wrong: the same code wrote them.
    fn suspect_the_rest(&mut self, progress: &Progress) {
        let Some(root) = progress.roots.first() else { return };
        let origin = self.origin(root, None);
        for (record, columns, written) in &progress.from_application {
            if progress.roots.contains(record) || columns.is_empty() || self.worlds.is_wrong(record) {
                continue;
            }
            self.suspected(
                record,
                columns.clone(),
                &origin,
                written.clone(),
                "the release wrote something wrong in the same transaction",
            );
        }
    }

    fn suspected(
        &mut self,
        record: &RecordName,
        columns: BTreeSet<ColumnName>,
        origin: &Origin,
        written: WrittenBy,
        why: &str,
    ) {
        let difference = self.worlds.difference_or(record, || possibility(origin, written, why));
        let suspected = difference.suspected.union(&columns).cloned().collect();
        self.worlds.set_suspected(record, suspected);
        self.doubtful.insert(record.clone());
    }
}

/// A record that may be wrong, for this reason; which of its columns is said next.
fn possibility(origin: &Origin, written: WrittenBy, why: &str) -> Difference {
    let why = Some(why.into());
    Difference { why, ..Difference::new(Role::Possible, origin.hops, written, Some(origin.cause.clone())) }
}

/// The record that a write is about.
pub(super) fn record_of(write: &Write) -> RecordName {
    (write.table.clone(), write.key.clone())
}

/// Who made the write.
pub(super) fn written_by(write: &Write) -> WrittenBy {
    WrittenBy {
        seq: Some(write.seq),
        ts: write.ts,
        tx: None,
        release: write.attribution.as_ref().map(|attribution| attribution.release.clone()),
    }
}

/// Who is answerable for a row that was not written, or is not known to have been: the transaction.
pub(super) fn unwritten_by(transaction: &Transaction) -> WrittenBy {
    WrittenBy {
        seq: None,
        ts: transaction.committed,
        tx: transaction.id.clone(),
        release: transaction.attribution.as_ref().map(|attribution| attribution.release.clone()),
    }
}
