//! Judging the release's writes: which are wrong by a fault or a rule, and what they should have been.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::candidates::{Candidates, rows_of};
use super::{Judges, PlannedRule, Progress, Sweep, Target, Violating, carry, record_of, unwritten_by, written_by};
use crate::catalog::World;
use crate::model::{ColumnName, Operation, RecordKey, Row, Step, TableName, Transaction, Value, Write};
use crate::trace::blast_radius::{Role, WrittenBy};
use crate::trace::error::TraceError;
use crate::trace::roots::{Fault, before_name, rows_meeting};
use crate::trace::worlds::{Difference, RecordName};

/// What the rules say of one record that a transaction wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// The rules broken, by their place, each with the writes to mend: their step, and their place in the step. None,
    /// where the transaction did not write the record.
    pub(super) rules: BTreeMap<usize, BTreeSet<(usize, usize)>>,
    /// The row as the statement leaves it in the right world, before it is mended.
    written: Option<Arc<Row>>,
    /// The right values found at the last attempt.
    values: Option<Row>,
}

/// A record in the right world just before a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Before {
    /// The row.
    pub(super) row: Option<Arc<Row>>,
    /// Its columns whose right value is not known.
    pub(super) unknown: BTreeSet<ColumnName>,
}

impl Pin {
    /// The rules that a write broke.
    fn broken_by(&self, write: (usize, usize)) -> Vec<usize> {
        self.rules.iter().filter(|(_, writes)| writes.contains(&write)).map(|(rule, _)| *rule).collect()
    }

    /// The row as the statement leaves it in the right world, once more before it is mended: what the database computes of
    /// it is computed from what it should have written.
    pub(super) fn written_in_right_world(&mut self, row: Arc<Row>) {
        self.written = Some(row);
    }

    fn is_written(&self) -> bool {
        self.rules.values().any(|writes| !writes.is_empty())
    }
}

/// The records that a transaction made violate a rule.
pub type Pins = BTreeMap<RecordName, Pin>;

impl Sweep {
    /// Judges the rows that the release will write, by the rules that look at nothing but the row.
    ///
    /// # Errors
    /// A rule that cannot be evaluated.
    pub(super) async fn foresee(&mut self, transactions: &[Transaction]) -> Result<(), TraceError> {
        let Judges::Rules(rules) = &self.judges else { return Ok(()) };
        let mut by_table: BTreeMap<TableName, Vec<usize>> = BTreeMap::new();
        let of_row_alone = |rule: &PlannedRule| rule.of_write.is_none() && rule.keys.is_of_row_alone();
        for (place, rule) in rules.iter().enumerate().filter(|(_, rule)| of_row_alone(rule)) {
            by_table.entry(rule.rule.table.clone()).or_default().push(place);
        }
        for (name, places) in by_table {
            let Some(table) = self.worlds.tables.table(&name) else { continue };
            let schema = table.schema().clone();
            let whole = |write: &Write| {
                let after = write.after.as_ref().filter(|after| after.iter().len() >= schema.columns.len())?;
                Some(Arc::new(table.whole(None, after)))
            };
            let of_release =
                transactions.iter().filter(|transaction| transaction.writes().any(|write| self.target.wrote(write)));
            let written =
                of_release.flat_map(Transaction::writes).filter(|write| write.table == name).filter_map(whole);
            let rows: Vec<Arc<Row>> = written.collect::<HashSet<_>>().into_iter().collect();
            let predicates: Vec<&str> = places
                .iter()
                .filter_map(|place| match &rules[*place].rule.violating {
                    Violating::Predicate(predicate) => Some(predicate.as_str()),
                    Violating::Query(_) | Violating::Write { .. } => None,
                })
                .collect();
            let met = rows_meeting(&mut self.statements, &schema, &predicates, &rows).await;
            let met = met.map_err(|refusal| evaluating(&rules[places[0]].rule.id, &refusal.to_string()))?;
            for (column, place) in places.iter().enumerate() {
                let breaches = rows.iter().cloned().zip(met.iter().map(|met| met[column])).collect();
                self.foreseen.breaches.insert(*place, breaches);
            }
        }
        self.foresee_writes(transactions).await
    }

    /// The records that violate a rule since this transaction's commit.
    pub(super) async fn broken_rules(&mut self, transaction: &Transaction) -> Result<Pins, TraceError> {
        let mut pins = self.broken_by_writes(transaction).await?;
        let Judges::Rules(rules) = &self.judges else { return Ok(pins) };
        let rules = rules.clone();
        let mut candidates: BTreeMap<usize, Candidates> = BTreeMap::new();
        for (place, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.of_write.is_none()) {
            let mut writes = transaction.writes().filter(|write| rule.is_concerned(write)).peekable();
            if writes.peek().is_some() {
                candidates.insert(place, rule.candidates(writes));
            }
        }
        if candidates.is_empty() {
            return Ok(pins);
        }
        self.worlds.begin();
        transaction.writes().for_each(|write| self.worlds.apply_actual(write));
        let mut after: Vec<(usize, Vec<RecordKey>)> = Vec::new();
        for (place, candidates) in &candidates {
            let rule = &rules[*place];
            let rows = candidates.after(rule, &mut self.worlds.tables, World::Actual);
            if rows.as_ref().is_some_and(Vec::is_empty) {
                continue;
            }
            if let Some(rows) = &rows
                && let Some(breaches) = self.foreseen.in_breach(*place, rows)
            {
                let key = &self.worlds.tables.table(&rule.rule.table).map(|table| table.schema().key.clone());
                let broken = rows.iter().zip(breaches).filter(|(_, in_breach)| *in_breach);
                let keys = broken.filter_map(|(row, _)| row.key(key.as_ref()?)).collect();
                after.push((*place, keys));
                continue;
            }
            let keys = rule.violations(&mut self.worlds.tables, World::Actual, rows, transaction.committed).await;
            after.push((*place, keys.map_err(|refusal| evaluating(&rule.rule.id, &refusal.to_string()))?));
        }
        self.worlds.roll_back();
        for (place, keys) in after {
            if keys.is_empty() {
                continue;
            }
            let rule = &rules[place];
            let rows =
                rule.keys.is_tied().then(|| rows_of(&self.worlds.tables, &rule.rule.table, &keys, World::Actual));
            let already = rule.violations(&mut self.worlds.tables, World::Actual, rows, transaction.committed).await;
            let already: BTreeSet<RecordKey> =
                already.map_err(|refusal| evaluating(&rule.rule.id, &refusal.to_string()))?.into_iter().collect();
            let broken = keys.into_iter().filter(|key| !already.contains(key));
            let broken = broken.map(|key| (rule.rule.table.clone(), key)).collect();
            let broken = self.decided(transaction, rule, broken);
            let blamed = match &rule.rule.group {
                Some(group) => self.blamed_of_group(transaction, &broken, group),
                None => broken
                    .into_iter()
                    .map(|record| (record.clone(), last_write(transaction, &record, &self.target)))
                    .collect(),
            };
            for (record, write) in blamed {
                pins.entry(record).or_default().rules.insert(place, write.into_iter().collect());
            }
        }
        Ok(pins)
    }

    /// Of the records of groups in breach, those that the release wrote; where it wrote none of a group, what it took
    /// out of it.
    pub(super) fn blamed_of_group(
        &self,
        transaction: &Transaction,
        broken: &[RecordName],
        group: &[ColumnName],
    ) -> Vec<(RecordName, Option<WritePlace>)> {
        let values_of = |row: &Row| group.iter().map(|column| row.get(column).cloned()).collect::<Option<Vec<Value>>>();
        let mut blamed = Vec::new();
        let mut explained: HashSet<Option<Vec<Value>>> = HashSet::new();
        let mut unexplained: HashSet<Vec<Value>> = HashSet::new();
        for record in broken {
            match last_write(transaction, record, &self.target) {
                Some(place) => {
                    let write = write_at(transaction, place);
                    explained.insert(write.and_then(|write| write.after.as_ref()).and_then(values_of));
                    blamed.push((record.clone(), Some(place)));
                }
                None => {
                    unexplained.extend(self.worlds.row(World::Actual, record).and_then(|row| values_of(row)));
                }
            }
        }
        unexplained.retain(|values| !explained.contains(&Some(values.clone())));
        for (place, step) in transaction.steps.iter().enumerate() {
            for (number, write) in step.writes.iter().enumerate() {
                let left = broken.first().is_some_and(|(table, _)| *table == write.table)
                    && self.target.wrote(write)
                    && write.before.as_ref().and_then(values_of).is_some_and(|values| unexplained.contains(&values));
                if left {
                    blamed.push((record_of(write), Some((place, number))));
                }
            }
        }
        blamed
    }

    /// Mends the writes of one step that are wrong.
    pub(super) async fn judge_step(
        &mut self,
        transaction: &Transaction,
        place: usize,
        step: &Step,
        pins: &mut Pins,
        before: &BTreeMap<RecordName, Before>,
        progress: &mut Progress,
    ) -> Result<(), TraceError> {
        for (number, write) in step.writes.iter().enumerate() {
            if !self.target.wrote(write) {
                continue;
            }
            let record = record_of(write);
            let before = before.get(&record).cloned().unwrap_or_default();
            let verdict = match &self.judges {
                Judges::All => Some(without_the_write(write, before)),
                Judges::Faults(_) => self.judged_by_faults(transaction, write, before).await?,
                Judges::Rules(_) => match pins.get_mut(&record) {
                    Some(pin) if !pin.broken_by((place, number)).is_empty() => {
                        pin.written = self.worlds.row(World::Right, &record).cloned();
                        let broken = pin.broken_by((place, number));
                        Some(self.judged_by_rules(transaction, write, (pin, &broken), before).await?)
                    }
                    _ => None,
                },
            };
            if let Some(verdict) = verdict {
                let rules = pins.get(&record).map(|pin| self.rule_ids(pin)).unwrap_or_default();
                let written = WrittenBy { tx: transaction.id.clone(), ..written_by(write) };
                self.mend(&record, verdict, rules, written, progress);
            }
        }
        Ok(())
    }

    pub(super) async fn judged_by_faults(
        &mut self,
        transaction: &Transaction,
        write: &Write,
        before: Before,
    ) -> Result<Option<Verdict>, TraceError> {
        let Judges::Faults(faults) = &self.judges else { return Ok(None) };
        let faults = faults.clone();
        let record = record_of(write);
        let unknown = self.unknown_of(&record);
        let unknown_before = self.not_key(&record.0, before.unknown.clone());
        let mut verdict: Option<Verdict> = None;
        for fault in
            faults.iter().filter(|fault| fault.table == write.table && fault.operations.contains(&write.operation))
        {
            // Over the row as the statement leaves it in the right world; for a delete, over the row as it was.
            let written = match write.operation {
                Operation::Delete => before.row.clone(),
                _ => self.worlds.row(World::Right, &record).cloned(),
            };
            let Some(row) = written else { continue };
            if self.is_undecided(fault.references(), &row, &unknown, &unknown_before) {
                if self.matches_actual(transaction, write, fault).await? {
                    let over = verdict.take().unwrap_or(Verdict { row: Some(row), unknown: unknown.clone() });
                    verdict = Some(self.without_values(write, fault, over));
                }
                continue;
            }
            let time = transaction.started;
            let set = fault.judge(&mut self.worlds.tables, World::Right, &row, before.row.as_deref(), time).await?;
            let Some(set) = set.map(|set| self.printed_as_held(&record, set)) else { continue };
            if !fault.written {
                return Ok(Some(without_write(write, before)));
            }
            let over = verdict.take().unwrap_or(Verdict { row: Some(row), unknown: unknown.clone() });
            let unknown = over.unknown.into_iter().filter(|column| set.get(column).is_none()).collect();
            verdict = Some(Verdict { row: over.row.map(|row| Arc::new(row.overlaid(&set))), unknown });
        }
        Ok(verdict)
    }

    /// Whether what is evaluated over the row reads a value that is not known.
    fn is_undecided(
        &mut self,
        references: &[crate::sql::TableReference],
        row: &Row,
        unknown: &BTreeSet<ColumnName>,
        unknown_before: &BTreeSet<ColumnName>,
    ) -> bool {
        reads_unknown_of_row(references, unknown, unknown_before)
            || self.reads_unknown(references.get(1..).unwrap_or_default(), row)
    }

    /// Whether the fault is about the write as it really was.
    async fn matches_actual(
        &mut self,
        transaction: &Transaction,
        write: &Write,
        fault: &Fault,
    ) -> Result<bool, TraceError> {
        let written = self.worlds.row(World::Actual, &record_of(write)).cloned();
        let before = write.before.clone().map(Arc::new);
        let row = if write.operation == Operation::Delete { before.clone() } else { written };
        let Some(row) = row else { return Ok(false) };
        let time = transaction.started;
        let set = fault.judge(&mut self.worlds.tables, World::Actual, &row, before.as_deref(), time).await?;
        Ok(set.is_some())
    }

    /// The write is wrong, and what it should have been is computed from values that are not known.
    fn without_values(&self, write: &Write, fault: &Fault, over: Verdict) -> Verdict {
        let mut unknown = over.unknown;
        match fault.written {
            true => unknown.extend(fault.assigned().cloned()),
            false => unknown.extend(self.not_key(&write.table, carry::changed_columns(write))),
        }
        Verdict { row: over.row, unknown }
    }

    pub(super) async fn judged_by_rules(
        &mut self,
        transaction: &Transaction,
        write: &Write,
        (pin, broken): (&Pin, &[usize]),
        before: Before,
    ) -> Result<Verdict, TraceError> {
        let record = record_of(write);
        let row = self.worlds.row(World::Right, &record).cloned();
        let (Some(row), Judges::Rules(rules)) = (row, &self.judges) else {
            return Ok(without_the_write(write, before));
        };
        let rules = rules.clone();
        let mut mended = row.as_ref().clone();
        let not_known = self.undetermined(&record);
        let unknown_before = self.not_key(&record.0, before.unknown.clone());
        let mut unknown = self.unknown_of(&record);
        for place in broken {
            let rule = &rules[*place];
            match &rule.expected {
                Some(program) if reads_unknown_of_row(program.references(), &not_known, &unknown_before) => {
                    unknown.extend(program.columns().cloned());
                }
                Some(program) => {
                    let values = program.run(
                        &mut self.worlds.tables,
                        World::Right,
                        &row,
                        before.row.as_deref(),
                        transaction.committed,
                    );
                    let values = values.await.map_err(|refusal| evaluating(&rule.rule.id, &refusal.to_string()))?;
                    let values = self.printed_as_held(&record, values);
                    unknown.retain(|column| values.get(column).is_none());
                    mended = mended.overlaid(&values);
                }
                None => {
                    let schema = self.worlds.schema(&record.0);
                    let key = schema.map(|schema| schema.key.clone()).unwrap_or_default();
                    for column in rule.rule.blamed.iter().filter(|column| !key.contains(column)) {
                        match before.row.as_ref().and_then(|before| before.get(column)) {
                            Some(value) if write.operation == Operation::Update && !before.unknown.contains(column) => {
                                unknown.remove(column);
                                mended.set(column.clone(), value.clone());
                            }
                            _ => {
                                unknown.insert(column.clone());
                            }
                        }
                    }
                }
            }
        }
        if let Some(values) = &pin.values {
            mended = mended.overlaid(values);
        }
        Ok(Verdict { row: Some(Arc::new(mended)), unknown })
    }

    /// The record as it should stand; where that is not how it stands, a root.
    fn mend(
        &mut self,
        record: &RecordName,
        verdict: Verdict,
        rules: BTreeSet<Arc<str>>,
        written: WrittenBy,
        progress: &mut Progress,
    ) {
        if let Some(elsewhere) = self.belongs_elsewhere(record, &verdict) {
            let nothing = Verdict { row: None, unknown: BTreeSet::new() };
            self.mend(record, nothing, rules.clone(), written.clone(), progress);
            progress.elsewhere.insert(record.clone(), elsewhere.clone());
            self.mend(&elsewhere, verdict, rules, written, progress);
            return;
        }
        let mut verdict = self.unless_it_collides(record, verdict);
        let actual = self.worlds.row(World::Actual, record).cloned();
        let unknown_already = self.all_unknown_of(record);
        self.keep_doubt(record, &mut verdict);
        self.worlds.set(record, actual.clone(), verdict.row.clone());
        // Nothing wrong with it but what it was computed from.
        if verdict.row == actual && verdict.unknown.is_subset(&unknown_already) {
            if self.worlds.difference(record).is_some() {
                self.worlds.set_unknown(record, verdict.unknown);
            }
            return;
        }
        let difference = self.worlds.difference_or(record, || Difference::new(Role::Root, 0, written.clone(), None));
        difference.role = Role::Root;
        difference.hops = 0;
        difference.cause = None;
        difference.earlier = None;
        difference.written = written;
        difference.why = (!verdict.unknown.is_empty()).then(|| "no rule and no fault says what it should hold".into());
        difference.rules.extend(rules);
        self.worlds.set_unknown(record, verdict.unknown);
        self.worlds.set_suspected(record, BTreeSet::new());
        self.worlds.note_wrong(record);
        progress.roots.push(record.clone());
    }

    /// The database would not have taken a row that repeats what must be unique, and nobody knows what had become of it.
    fn unless_it_collides(&mut self, record: &RecordName, verdict: Verdict) -> Verdict {
        let (Some(row), Some(schema)) = (&verdict.row, self.worlds.schema(&record.0)) else { return verdict };
        for unique in schema.unique_keys.iter().filter(|unique| unique.is_plain) {
            let values: Option<Vec<&Value>> = unique.columns.iter().map(|column| row.get(column)).collect();
            let Some(values) = values.filter(|values| values.iter().all(|value| !value.is_null())) else { continue };
            let (Some(first), Some(value)) = (unique.columns.first(), values.first()) else { continue };
            let value = BTreeSet::from([(*value).clone()]);
            let Some(table) = self.worlds.tables.table_mut(&record.0) else { continue };
            let rivals = table.rows_where(World::Right, first, &value);
            let is_rival = |rival: &Arc<Row>| {
                rival.key(&schema.key).is_some_and(|key| key != record.1)
                    && unique.columns.iter().zip(&values).all(|(column, value)| rival.get(column) == Some(*value))
            };
            if rivals.iter().any(is_rival) {
                return Verdict { unknown: self.whole_row(&record.0), row: verdict.row };
            }
        }
        verdict
    }

    /// What a record should hold says nothing of whether it should be there: a doubt of that stays.
    pub(super) fn keep_doubt(&self, record: &RecordName, verdict: &mut Verdict) {
        if verdict.row.is_some() {
            let key = self.key_columns(&record.0);
            verdict.unknown.extend(self.all_unknown_of(record).into_iter().filter(|column| key.contains(column)));
        }
    }

    /// The record that should have been written instead, where the release gave it a wrong key.
    fn belongs_elsewhere(&self, record: &RecordName, verdict: &Verdict) -> Option<RecordName> {
        let schema = self.worlds.schema(&record.0)?;
        let key = verdict.row.as_ref()?.key(&schema.key)?;
        let is_known = !schema.key.iter().any(|column| verdict.unknown.contains(column));
        (is_known && key != record.1).then(|| (record.0.clone(), key))
    }

    /// Evaluates the rules' expectations again, now that the transaction is done; whether a pinned value moved.
    pub(super) async fn settle(&mut self, transaction: &Transaction, pins: &mut Pins) -> Result<bool, TraceError> {
        let Judges::Rules(rules) = &self.judges else { return Ok(false) };
        let rules = rules.clone();
        let mut moved = false;
        for (record, pin) in pins.iter_mut().filter(|(_, pin)| pin.is_written()) {
            let (Some(written), Some(row)) = (&pin.written, self.worlds.row(World::Right, record).cloned()) else {
                continue;
            };
            let mut values = Row::new();
            for place in pin.rules.keys() {
                let rule = &rules[*place];
                let Some(program) = &rule.expected else { continue };
                if reads_unknown_of_row(program.references(), &self.undetermined(record), &BTreeSet::new()) {
                    continue;
                }
                let expected =
                    program.run(&mut self.worlds.tables, World::Right, written, None, transaction.committed).await;
                let expected = expected.map_err(|refusal| evaluating(&rule.rule.id, &refusal.to_string()))?;
                values = values.overlaid(&self.printed_as_held(record, expected));
            }
            let schema = self.worlds.schema(&record.0);
            let column_type = |column: &str| schema.as_ref()?.column(column).map(|column| column.column_type.clone());
            let stands = |column: &ColumnName, value: &Value| {
                let (held, column_type) = (row.get(column), column_type(column));
                held.is_some_and(|held| column_type.map_or(held == value, |known| known.is_same(held, value)))
            };
            if values.iter().any(|(column, value)| !stands(column, value)) {
                moved = true;
                pin.values = Some(values);
            }
        }
        Ok(moved)
    }

    /// Records that the transaction made violate a rule without writing them.
    pub(super) async fn unwritten_roots(
        &mut self,
        transaction: &Transaction,
        pins: &Pins,
        progress: &mut Progress,
    ) -> Result<(), TraceError> {
        for (record, pin) in pins.iter().filter(|(_, pin)| !pin.is_written()) {
            let Judges::Rules(rules) = &self.judges else { return Ok(()) };
            let rules = rules.clone();
            let Some(row) = self.worlds.row(World::Right, record).cloned() else { continue };
            let mut mended = row.as_ref().clone();
            let not_known = self.undetermined(record);
            let mut unknown = self.unknown_of(record);
            for place in pin.rules.keys() {
                let rule = &rules[*place];
                match &rule.expected {
                    Some(program) if reads_unknown_of_row(program.references(), &not_known, &BTreeSet::new()) => {
                        unknown.extend(program.columns().cloned());
                    }
                    Some(program) => {
                        let values =
                            program.run(&mut self.worlds.tables, World::Right, &row, None, transaction.committed).await;
                        let values = values.map_err(|refusal| evaluating(&rule.rule.id, &refusal.to_string()))?;
                        let values = self.printed_as_held(record, values);
                        unknown.retain(|column| values.get(column).is_none());
                        mended = mended.overlaid(&values);
                    }
                    None => unknown.extend(rule.rule.blamed.iter().cloned()),
                }
            }
            let schema = self.worlds.schema(&record.0);
            unknown.retain(|column| schema.as_ref().is_none_or(|schema| !schema.key.contains(column)));
            let written = unwritten_by(transaction);
            let ids = self.rule_ids(pin);
            self.mend(record, Verdict { row: Some(Arc::new(mended)), unknown }, ids, written, progress);
        }
        Ok(())
    }

    fn rule_ids(&self, pin: &Pin) -> BTreeSet<Arc<str>> {
        let Judges::Rules(rules) = &self.judges else { return BTreeSet::new() };
        pin.rules.keys().filter_map(|place| rules.get(*place)).map(|rule| rule.rule.id.clone()).collect()
    }
}

/// Whether what is evaluated over the row at hand reads a value of it, or of what stood before, that is not known.
fn reads_unknown_of_row(
    references: &[crate::sql::TableReference],
    unknown: &BTreeSet<ColumnName>,
    unknown_before: &BTreeSet<ColumnName>,
) -> bool {
    let reads = |column: &str| references.first().is_none_or(|at_hand| at_hand.columns.contains(column));
    unknown.iter().any(|column| reads(column)) || unknown_before.iter().any(|column| reads(&before_name(column)))
}

/// What should stand instead of a write.
pub(super) struct Verdict {
    pub(super) row: Option<Arc<Row>>,
    pub(super) unknown: BTreeSet<ColumnName>,
}

/// As if the write had not happened.
pub(super) fn without_write(write: &Write, before: Before) -> Verdict {
    match write.operation {
        Operation::Insert => Verdict { row: None, unknown: BTreeSet::new() },
        _ => Verdict { row: before.row, unknown: before.unknown },
    }
}

/// A write that is wrong as a whole: the image before, or for an insert nothing that anybody knows.
fn without_the_write(write: &Write, before: Before) -> Verdict {
    match write.operation {
        Operation::Insert => {
            let key: BTreeSet<ColumnName> = write.key.iter().map(|(column, _)| column.clone()).collect();
            let unknown = carry::changed_columns(write).difference(&key).cloned().collect();
            Verdict { row: write.after.clone().map(Arc::new), unknown }
        }
        _ => without_write(write, before),
    }
}

/// A write's step in its transaction, and its place in the step.
pub(super) type WritePlace = (usize, usize);

fn write_at(transaction: &Transaction, (step, number): WritePlace) -> Option<&Write> {
    transaction.steps.get(step)?.writes.get(number)
}

/// The release's last write of a record in a transaction.
pub(super) fn last_write(transaction: &Transaction, record: &RecordName, target: &Target) -> Option<WritePlace> {
    let steps = transaction.steps.iter().enumerate().rev();
    steps
        .flat_map(|(place, step)| {
            step.writes.iter().enumerate().rev().map(move |(number, write)| (place, number, write))
        })
        .find(|(_, _, write)| target.wrote(write) && record_of(write) == *record)
        .map(|(place, number, _)| (place, number))
}

pub(super) fn evaluating(id: &str, reason: &str) -> TraceError {
    TraceError::Evaluate { what: format!("the rule {id}"), reason: reason.to_owned() }
}
