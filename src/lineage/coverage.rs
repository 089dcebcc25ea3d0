//! How completely a history tells what happened, table by table.
//!
//! In: a history, and the shapes of the tables. Out: what of each table is recorded, and from when.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::LinkCounts;
use crate::model::{History, Operation, TableName, TableSchema, Timestamp, Transaction, Write};

/// What is recorded of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableCoverage {
    /// The table.
    pub table: TableName,
    /// Whether it has a key, by which its rows can be followed.
    pub has_key: bool,
    /// Recorded writes.
    pub writes: usize,
    /// The commits of the first and the last of them; `None` where nothing is recorded.
    pub recorded: Option<(Timestamp, Timestamp)>,
    /// Updates and deletes of which the row before is not known.
    pub without_before: usize,
    /// Truncates: what stood in the table before is not known.
    pub truncates: usize,
}

/// What is recorded as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Every table of the database, and those that are recorded and not there any more, by name.
    pub tables: Vec<TableCoverage>,
    /// Committed transactions.
    pub transactions: usize,
    /// Writes whose release is known.
    pub attributed: usize,
    /// All writes.
    pub writes: usize,
    /// The commits of the first and the last transaction.
    pub recorded: Option<(Timestamp, Timestamp)>,
    /// How surely transactions are joined to their statements.
    pub links: LinkCounts,
}

impl Coverage {
    /// Looks through a history.
    pub fn of(history: &History, schemas: &BTreeMap<TableName, Arc<TableSchema>>) -> Coverage {
        let nothing = |table: &TableName, has_key| TableCoverage {
            table: table.clone(),
            has_key,
            writes: 0,
            recorded: None,
            without_before: 0,
            truncates: 0,
        };
        let mut tables: BTreeMap<TableName, TableCoverage> =
            schemas.iter().map(|(name, schema)| (name.clone(), nothing(name, !schema.key.is_empty()))).collect();
        let mut coverage = Coverage {
            tables: Vec::new(),
            transactions: history.transactions.len(),
            attributed: 0,
            writes: 0,
            recorded: None,
            links: LinkCounts::of(history),
        };
        for transaction in &history.transactions {
            coverage.recorded = Some(widened(coverage.recorded, transaction.committed));
            for write in transaction.writes() {
                coverage.writes += 1;
                coverage.attributed += usize::from(write.attribution.is_some());
                let table = tables
                    .entry(write.table.clone())
                    .or_insert_with(|| nothing(&write.table, write.key.iter().len() > 0));
                table.add(transaction, write);
            }
        }
        coverage.tables = tables.into_values().collect();
        coverage
    }
}

impl TableCoverage {
    fn add(&mut self, transaction: &Transaction, write: &Write) {
        self.writes += 1;
        self.recorded = Some(widened(self.recorded, transaction.committed));
        match write.operation {
            Operation::Update | Operation::Delete => self.without_before += usize::from(write.before.is_none()),
            Operation::Truncate => self.truncates += 1,
            Operation::Insert => {}
        }
    }
}

fn widened(span: Option<(Timestamp, Timestamp)>, time: Timestamp) -> (Timestamp, Timestamp) {
    span.map_or((time, time), |(first, last)| (first.min(time), last.max(time)))
}
