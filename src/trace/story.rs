//! One record's story: each version, who wrote it, from what, and which statements read it since.
//!
//! In: the history and the tables' shapes. Out: a [`Story`]. Nothing is run again: what a statement read is told by its
//! text and parameters alone, so this is provenance, not proof. What a release changed of it is the sweep's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::reenact::{Compiled, SessionZones, Statements, constant_values};
use crate::model::{
    ColumnName, History, RecordKey, Release, Row, Statement, Step, TableName, Timestamp, Transaction, TransactionId,
    Value, Write,
};
use crate::sql::{self, Operand, Schemas, TableReference};

/// One record through time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// The record's table.
    pub table: TableName,
    /// Its key, as asked for.
    pub key: RecordKey,
    /// Its writes, in commit order, also under keys that it had before.
    pub versions: Vec<Version>,
    /// Statements that read it after it was first written, in the order of their first reading.
    pub readers: Vec<Reader>,
}

/// One write of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The write.
    pub write: Write,
    /// Its transaction, where the source names it.
    pub transaction: Option<TransactionId>,
    /// When that was committed.
    pub committed: Timestamp,
    /// The statement's template, where the statement is known.
    pub statement: Option<Arc<str>>,
    /// What the statement read to make it, beside the record itself.
    pub sources: Vec<Source>,
}

/// Rows that a statement read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Their table.
    pub table: TableName,
    /// Which of its rows.
    pub rows: SourceRows,
}

/// Which rows of a table a statement read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceRows {
    /// Those whose column has one of these values.
    Where(ColumnName, BTreeSet<Value>),
    /// Those that a join leads to by this column.
    JoinedBy(ColumnName),
    /// Any of them.
    Any,
}

/// A statement that read the record, by template and release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The statement's template.
    pub statement: Arc<str>,
    /// Who ran it, where known.
    pub release: Option<Release>,
    /// How often it read the record.
    pub executions: u64,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// The rows that those executions wrote, by table.
    pub wrote: BTreeMap<TableName, u64>,
}

/// Tells the story of one record. A record that no write of the history is about has no versions.
pub fn story(history: &History, schemas: &Schemas, table: &TableName, key: &RecordKey) -> Story {
    let keys = keys_over_time(history, schemas, table, key);
    let mut teller =
        Teller { statements: Statements::new(schemas.clone(), SessionZones::default()), table, keys, row: None };
    let mut story = Story { table: table.clone(), key: key.clone(), versions: Vec::new(), readers: Vec::new() };
    for transaction in &history.transactions {
        for step in &transaction.steps {
            if !story.versions.is_empty() {
                teller.note_reading(transaction, step, &mut story.readers);
            }
            teller.note_versions(transaction, step, &mut story.versions);
        }
    }
    story
}

/// The keys that the record had: an update may give it another.
fn keys_over_time(history: &History, schemas: &Schemas, table: &TableName, key: &RecordKey) -> BTreeSet<RecordKey> {
    let mut keys = BTreeSet::from([key.clone()]);
    let Some(schema) = schemas.get(table) else { return keys };
    let moves: Vec<(RecordKey, &RecordKey)> = history
        .transactions
        .iter()
        .flat_map(Transaction::writes)
        .filter(|write| write.table == *table)
        .filter_map(|write| Some((write.before.as_ref()?.key(&schema.key)?, &write.key)))
        .filter(|(before, after)| before != *after)
        .collect();
    loop {
        let known = keys.len();
        for (before, after) in &moves {
            if keys.contains(before) || keys.contains(*after) {
                keys.insert(before.clone());
                keys.insert((*after).clone());
            }
        }
        if keys.len() == known {
            return keys;
        }
    }
}

struct Teller<'a> {
    statements: Statements,
    table: &'a TableName,
    keys: BTreeSet<RecordKey>,
    /// The record as it stands on the way.
    row: Option<Row>,
}

impl Teller<'_> {
    fn is_about(&self, write: &Write) -> bool {
        write.table == *self.table && self.keys.contains(&write.key)
    }

    fn note_versions(&mut self, transaction: &Transaction, step: &Step, versions: &mut Vec<Version>) {
        for write in &step.writes {
            if !self.is_about(write) {
                continue;
            }
            let sources = self.sources(step.statement.as_ref(), write);
            self.row = write.after.clone();
            versions.push(Version {
                write: write.clone(),
                transaction: transaction.id.clone(),
                committed: transaction.committed,
                statement: step.statement.as_ref().map(|statement| sql::template(&statement.sql).into()),
                sources,
            });
        }
    }

    /// What the write was computed from: what its event says, and what its statement reads.
    fn sources(&mut self, statement: Option<&Statement>, write: &Write) -> Vec<Source> {
        let mut sources: BTreeSet<Source> = BTreeSet::new();
        for read in &write.reads {
            let cell = read.key.iter().next().map(|(column, value)| (column.clone(), BTreeSet::from([value.clone()])));
            let rows = cell.map_or(SourceRows::Any, |(column, values)| SourceRows::Where(column, values));
            sources.insert(Source { table: read.table.clone(), rows });
        }
        let Some(statement) = statement else { return sources.into_iter().collect() };
        let compiled = self.statements.statement(&statement.sql, &statement.parameters, statement.time_zone.as_ref());
        for reference in references(&compiled) {
            let rows = self.source_rows(reference, &statement.parameters);
            let is_itself = reference.table == write.table
                && matches!(&rows, SourceRows::Where(column, values)
                    if values.iter().all(|value| write.key.get(column) == Some(value)));
            if !is_itself {
                sources.insert(Source { table: reference.table.clone(), rows });
            }
        }
        if let Compiled::Refused { tables, .. } = compiled.as_ref() {
            let others = tables.iter().filter(|table| **table != write.table);
            sources.extend(others.map(|table| Source { table: table.clone(), rows: SourceRows::Any }));
        }
        sources.into_iter().collect()
    }

    fn source_rows(&self, reference: &TableReference, parameters: &[Value]) -> SourceRows {
        let schema = self.statements.schemas().get(&reference.table);
        let constant = reference.bounds.iter().find_map(|bound| {
            let column_type = &schema?.column(&bound.column)?.column_type;
            Some(SourceRows::Where(bound.column.clone(), constant_values(bound, column_type, parameters)?))
        });
        let joined = || {
            let by_column = |operand: &Operand| matches!(operand, Operand::Column { .. });
            let bound = reference.bounds.iter().find(|bound| bound.operands.iter().all(by_column))?;
            Some(SourceRows::JoinedBy(bound.column.clone()))
        };
        constant.or_else(joined).unwrap_or(SourceRows::Any)
    }

    fn note_reading(&mut self, transaction: &Transaction, step: &Step, readers: &mut Vec<Reader>) {
        let Some(statement) = &step.statement else { return };
        let only_itself = !step.writes.is_empty() && step.writes.iter().all(|write| self.is_about(write));
        if only_itself || !self.reads_the_record(statement) {
            return;
        }
        let template: Arc<str> = sql::template(&statement.sql).into();
        let release = transaction.attribution.as_ref().map(|attribution| attribution.release.clone());
        let place = readers.iter().position(|reader| reader.statement == template && reader.release == release);
        let place = place.unwrap_or_else(|| {
            readers.push(Reader {
                statement: template,
                release,
                executions: 0,
                first: statement.started,
                last: statement.started,
                wrote: BTreeMap::new(),
            });
            readers.len() - 1
        });
        if let Some(reader) = readers.get_mut(place) {
            reader.executions += 1;
            reader.last = statement.started;
            for write in &step.writes {
                *reader.wrote.entry(write.table.clone()).or_default() += 1;
            }
        }
    }

    /// Whether the statement's text and parameters let the record, as it stands, through.
    fn reads_the_record(&mut self, statement: &Statement) -> bool {
        let compiled = self.statements.statement(&statement.sql, &statement.parameters, statement.time_zone.as_ref());
        if let Compiled::Refused { tables, .. } = compiled.as_ref() {
            return tables.contains(self.table);
        }
        let (Some(row), Some(schema)) = (&self.row, self.statements.schemas().get(self.table)) else { return false };
        references(&compiled).filter(|reference| reference.table == *self.table).any(|reference| {
            reference.bounds.iter().all(|bound| {
                let values = schema
                    .column(&bound.column)
                    .and_then(|column| constant_values(bound, &column.column_type, &statement.parameters));
                match (values, row.get(&bound.column)) {
                    (Some(values), Some(held)) => values.contains(held),
                    _ => true,
                }
            })
        })
    }
}

fn references(compiled: &Compiled) -> Box<dyn Iterator<Item = &TableReference> + '_> {
    match compiled {
        Compiled::Write(write) => Box::new(write.references()),
        Compiled::Read(query) => Box::new(query.references().iter()),
        Compiled::Refused { .. } | Compiled::Nothing => Box::new(std::iter::empty()),
    }
}
