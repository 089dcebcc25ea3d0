//! What counts as wrong, planned: rules, faults, or every write of the release.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::carry::changed_columns;
use super::written::WritePredicates;
use super::{Candidates, Notes};
use crate::audit::Reference;
use crate::catalog::{RollingTables, World};
use crate::model::{ColumnName, Operation, RecordKey, Row, TableName, TableSchema, Timestamp, Value, Write, WriteSeq};
use crate::trace::error::TraceError;
use crate::trace::reenact::{Refusal, Statements};
use crate::trace::roots::{Fault, KeyQuery, RowProgram};

/// How a rule finds its violations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violating {
    /// A predicate over a row of the table that is true for a violating row.
    Predicate(String),
    /// A query for the keys of the violating rows.
    Query(String),
    /// No row that stands, but a write: a predicate over the row as written and `before.<column>`, for inserts and for
    /// updates.
    Write {
        /// True for an insert in breach.
        insert: String,
        /// True for an update in breach.
        update: String,
    },
}

/// A rule as the sweep needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspectingRule {
    /// Its id.
    pub id: Arc<str>,
    /// Its table.
    pub table: TableName,
    /// Its violations.
    pub violating: Violating,
    /// Every table that it looks at, its own included.
    pub reads: BTreeSet<TableName>,
    /// What its cells should hold.
    pub expected: Vec<(ColumnName, String)>,
    /// The cells to blame.
    pub blamed: Vec<ColumnName>,
    /// The column whose value the check itself says (`equals`): a cell that it does not violate is right.
    pub decides: Option<ColumnName>,
    /// The columns whose equal values make a group, where it is a group of rows that is in breach: then only those of
    /// its rows that the release wrote are blamed.
    pub group: Option<Vec<ColumnName>>,
    /// The rows referred to, where the rule demands that they are there.
    pub reference: Option<Reference>,
}

/// A fault as the sweep needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspectingFault {
    /// Its table.
    pub table: TableName,
    /// The operations it is about.
    pub operations: Vec<Operation>,
    /// Which writes.
    pub condition: String,
    /// What they should have written; `None`: they should not have happened.
    pub set: Option<Vec<(ColumnName, String)>>,
}

/// Which of the release's writes count as wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion<'a> {
    /// Those that broke one of these rules.
    Violating(&'a [SuspectingRule]),
    /// Those that one of these faults describes.
    Faults(&'a [SuspectingFault]),
    /// Every one.
    All,
}

/// A rule, planned.
pub struct PlannedRule {
    /// The rule.
    pub rule: SuspectingRule,
    /// Its violations among the rows that stand: none, for a rule about writes.
    pub keys: KeyQuery,
    /// Equal texts are equal values in the columns of both sides: a row that is found needs no query.
    reference: Option<Reference>,
    /// Whether a write is in breach of it: a rule about writes.
    pub(super) of_write: Option<WritePredicates>,
    /// The tables of which it reads a generated column: no image need tell that one changed.
    reads_generated: BTreeSet<TableName>,
    pub(super) expected: Option<RowProgram>,
}

impl PlannedRule {
    /// Plans a rule; one that cannot be evaluated over the history is a limit.
    pub async fn compile(rule: &SuspectingRule, statements: &mut Statements, notes: &mut Notes) -> Option<PlannedRule> {
        let schema = statements.schemas().get(&rule.table)?.clone();
        match compile_rule(rule, &schema, statements).await {
            Ok(planned) => Some(planned),
            Err(reason) => {
                notes.limit(format!("the rule {} was not followed through time: it {reason}", rule.id));
                None
            }
        }
    }

    /// What its cells should hold, planned.
    pub fn expected(&self) -> Option<&RowProgram> {
        self.expected.as_ref()
    }

    /// The keys of its violations, of these rows or (where none are given) of the whole query.
    ///
    /// # Errors
    /// What cannot be evaluated.
    pub async fn violations(
        &self,
        tables: &mut RollingTables,
        world: World,
        rows: Option<Vec<Arc<Row>>>,
        time: Timestamp,
    ) -> Result<Vec<RecordKey>, Refusal> {
        let rows = match (&self.reference, rows) {
            (Some(reference), Some(rows)) => {
                Some(rows.into_iter().filter(|row| !is_there(reference, row, tables, world)).collect())
            }
            (_, rows) => rows,
        };
        self.keys.run(tables, world, rows, time).await
    }

    /// Whether the write changed something that the rule looks at.
    pub fn is_concerned(&self, write: &Write) -> bool {
        let reads = |column: &ColumnName| self.keys.reads(&write.table, column);
        self.rule.reads.contains(&write.table)
            && match write.operation {
                Operation::Update => {
                    self.reads_generated.contains(&write.table) || changed_columns(write).iter().any(reads)
                }
                Operation::Insert | Operation::Delete | Operation::Truncate => true,
            }
    }

    /// The rows whose violation these writes, of which each is of concern, can have changed.
    pub fn candidates<'a>(&self, writes: impl Iterator<Item = &'a Write>) -> Candidates {
        let mut writes = writes.peekable();
        if !self.keys.is_tied() && writes.peek().is_some() {
            return Candidates::Query;
        }
        let mut keys: BTreeSet<RecordKey> = BTreeSet::new();
        let mut values: BTreeMap<ColumnName, BTreeSet<Value>> = BTreeMap::new();
        for write in writes {
            if write.operation == Operation::Truncate {
                return Candidates::EveryRow;
            }
            if write.table == self.rule.table {
                keys.insert(write.key.clone());
            }
            if self.rule.reads.contains(&write.table) {
                let Some(ties) = self.keys.ties(&write.table) else { return Candidates::EveryRow };
                for (column, at_hand) in ties {
                    let images = [write.value_before(&column), write.value_after(&column), write.key.get(&column)];
                    values.entry(at_hand).or_default().extend(images.into_iter().flatten().cloned());
                }
            }
        }
        Candidates::Rows { keys, values }
    }
}

/// Whether the row that this one refers to is there, told by its index alone.
fn is_there(reference: &Reference, row: &Row, tables: &mut RollingTables, world: World) -> bool {
    let held = |column: &ColumnName| row.get(column).filter(|value| !value.is_null()).cloned();
    let Some(values) = reference.columns.iter().map(held).collect::<Option<Vec<Value>>>() else { return false };
    let (Some(column), Some(value)) = (reference.key.first(), values.first()) else { return false };
    let Some(table) = tables.table_mut(&reference.table) else { return false };
    let found = table.rows_where(world, column, &BTreeSet::from([value.clone()]));
    found.iter().any(|found| reference.key.iter().zip(&values).all(|(column, value)| found.get(column) == Some(value)))
}

/// Suspicions, planned.
pub enum Judges {
    /// See [`Suspicion::Violating`].
    Rules(Arc<[PlannedRule]>),
    /// See [`Suspicion::Faults`].
    Faults(Arc<[Fault]>),
    /// See [`Suspicion::All`].
    All,
}

impl Judges {
    /// Plans them; a rule that cannot be evaluated over the history is a limit, a fault that cannot is an error.
    ///
    /// # Errors
    /// A fault that cannot be evaluated.
    pub async fn compile(
        suspicion: &Suspicion<'_>,
        statements: &mut Statements,
        notes: &mut Notes,
    ) -> Result<Judges, TraceError> {
        let schemas = statements.schemas().clone();
        match suspicion {
            Suspicion::All => Ok(Judges::All),
            Suspicion::Faults(faults) => {
                let mut compiled = Vec::with_capacity(faults.len());
                for fault in *faults {
                    let schema = schemas.get(&fault.table).ok_or_else(|| TraceError::Evaluate {
                        what: format!("the fault of {}", fault.table),
                        reason: "the database has no such table".to_owned(),
                    })?;
                    let operations = fault.operations.clone();
                    compiled.push(
                        Fault::compile(statements, schema, operations, &fault.condition, fault.set.as_deref()).await?,
                    );
                }
                Ok(Judges::Faults(compiled.into()))
            }
            Suspicion::Violating(rules) => {
                let mut compiled = Vec::with_capacity(rules.len());
                for rule in *rules {
                    compiled.extend(PlannedRule::compile(rule, statements, notes).await);
                }
                Ok(Judges::Rules(compiled.into()))
            }
        }
    }
}

async fn compile_rule(
    rule: &SuspectingRule,
    schema: &Arc<TableSchema>,
    statements: &mut Statements,
) -> Result<PlannedRule, Refusal> {
    if schema.key.is_empty() {
        return Err(Refusal("is about a table without a key".to_owned()));
    }
    let keys = match &rule.violating {
        Violating::Predicate(predicate) => KeyQuery::of_predicate(statements, schema, predicate).await?,
        Violating::Query(query) => KeyQuery::of_query(statements, schema, query).await?,
        Violating::Write { .. } => KeyQuery::of_predicate(statements, schema, "FALSE").await?,
    };
    let of_write = match &rule.violating {
        Violating::Write { insert, update } => {
            Some(WritePredicates::compile(statements, schema, insert, update).await?)
        }
        Violating::Predicate(_) | Violating::Query(_) => None,
    };
    let expressions: Vec<_> = rule
        .expected
        .iter()
        .filter_map(|(column, text)| Some((text.clone(), column.clone(), schema.column(column)?.column_type.clone())))
        .collect();
    let expected = match expressions.is_empty() {
        true => None,
        false => Some(RowProgram::compile(statements, schema, &expressions).await?),
    };
    let reads_generated = |table: &&TableName| {
        let schema = statements.schemas().get(table);
        schema.is_some_and(|schema| schema.columns.iter().any(|one| one.generated && keys.reads(table, &one.name)))
    };
    let reads_generated = rule.reads.iter().filter(reads_generated).cloned().collect();
    let is_of_one_type = |reference: &&Reference| {
        let referred = statements.schemas().get(&reference.table);
        reference.columns.iter().zip(&reference.key).all(|(column, key)| {
            let column = schema.column(column).map(|column| &column.column_type);
            column.is_some() && column == referred.and_then(|table| table.column(key)).map(|key| &key.column_type)
        })
    };
    let reference = rule.reference.as_ref().filter(is_of_one_type).cloned();
    Ok(PlannedRule { rule: rule.clone(), keys, reference, of_write, reads_generated, expected })
}

/// What rules that look at nothing but the row say of rows to come: judged all at once, not one by one.
#[derive(Default)]
pub struct Foreseen {
    /// By rule and row: whether it is in breach.
    pub(super) breaches: HashMap<usize, HashMap<Arc<Row>, bool>>,
    /// By a rule about writes: the writes in breach of it.
    pub(super) writes: HashMap<usize, HashSet<WriteSeq>>,
}

impl Foreseen {
    /// Whether each of these rows is in breach of the rule; `None` where one of them was not foreseen.
    pub(super) fn in_breach(&self, rule: usize, rows: &[Arc<Row>]) -> Option<Vec<bool>> {
        let breaches = self.breaches.get(&rule)?;
        rows.iter().map(|row| breaches.get(row).copied()).collect()
    }
}
