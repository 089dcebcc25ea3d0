//! What ran, counted: all that a graph needs to know of a history. However a history is cut, the counts of its parts add up
//! to those of the whole.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Usage;
use crate::model::{History, Release, ReleaseName, ServiceName, Statement, Step, TableName, Timestamp, Transaction};
use crate::sql::Scanner;

/// The executions of a history, by statement and release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executions {
    /// By what the statements of one template share.
    statements: BTreeMap<Arc<str>, Executed>,
    /// Rows that were written with no statement known, by table: a transaction counts once for each.
    unrecorded: BTreeMap<TableName, Runs>,
}

/// How often something ran, by the release that ran it, where that is known.
pub(super) type Runs = BTreeMap<Option<Release>, Usage>;

/// The executions of one template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Executed {
    /// The text of the first of them.
    pub(super) sql: Arc<str>,
    /// Into which tables they are known to have written rows, what triggers and cascades wrote included.
    pub(super) written: BTreeSet<TableName>,
    /// How often, and when.
    pub(super) runs: Runs,
}

impl Executed {
    /// The earliest, and of several at one time the least: whoever counts finds the same.
    fn first(&self) -> (Option<Timestamp>, &Arc<str>) {
        (self.runs.values().filter_map(|usage| usage.first).min(), &self.sql)
    }

    fn add(&mut self, more: Executed) {
        if more.first() < self.first() {
            self.sql = Arc::clone(&more.sql);
        }
        self.written.extend(more.written);
        add_runs(&mut self.runs, more.runs);
    }
}

fn add_runs(runs: &mut Runs, more: Runs) {
    for (release, usage) in more {
        runs.entry(release).or_default().add(&usage);
    }
}

impl Executions {
    /// Counts what a history tells.
    pub fn of(history: &History) -> Executions {
        let mut counting = Counting::default();
        history.transactions.iter().for_each(|transaction| counting.transaction(transaction));
        for reading in &history.readings {
            let usage = Usage { count: reading.executions, first: Some(reading.first), last: Some(reading.last) };
            counting.statement(&reading.sql, BTreeSet::new(), reading.release.as_ref(), usage);
        }
        counting.executions
    }

    /// Adds what another part of the history tells.
    pub fn add(&mut self, more: Executions) {
        for (key, executed) in more.statements {
            self.add_statement(key, executed);
        }
        for (table, runs) in more.unrecorded {
            add_runs(self.unrecorded.entry(table).or_default(), runs);
        }
    }

    fn add_statement(&mut self, key: Arc<str>, executed: Executed) {
        match self.statements.get_mut(&key) {
            Some(known) => known.add(executed),
            None => _ = self.statements.insert(key, executed),
        }
    }

    /// The statements.
    pub(super) fn statements(&self) -> impl Iterator<Item = &Executed> {
        self.statements.values()
    }

    /// The tables into which rows were written with no statement known.
    pub(super) fn unrecorded(&self) -> impl Iterator<Item = (&TableName, &Runs)> {
        self.unrecorded.iter()
    }

    /// As JSON, to be kept.
    ///
    /// # Errors
    /// None that is known: what is counted is text and numbers.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let statement = |(key, executed): (&Arc<str>, &Executed)| StoredStatement {
            key: key.to_string(),
            sql: executed.sql.to_string(),
            written: executed.written.iter().map(stored_name).collect(),
            runs: stored_runs(&executed.runs),
        };
        let stored = StoredExecutions {
            statements: self.statements.iter().map(statement).collect(),
            unrecorded: self.unrecorded.iter().map(|(table, runs)| (stored_name(table), stored_runs(runs))).collect(),
        };
        serde_json::to_string(&stored)
    }

    /// What [`Executions::to_json`] wrote.
    ///
    /// # Errors
    /// A text that is none of it.
    pub fn from_json(json: &str) -> Result<Executions, serde_json::Error> {
        let stored: StoredExecutions = serde_json::from_str(json)?;
        let statement = |statement: StoredStatement| {
            let executed = Executed {
                sql: statement.sql.into(),
                written: statement.written.into_iter().map(name_of).collect(),
                runs: runs_of(statement.runs),
            };
            (statement.key.into(), executed)
        };
        Ok(Executions {
            statements: stored.statements.into_iter().map(statement).collect(),
            unrecorded: stored.unrecorded.into_iter().map(|(table, runs)| (name_of(table), runs_of(runs))).collect(),
        })
    }
}

/// Counts one execution after the other.
#[derive(Default)]
struct Counting {
    executions: Executions,
    scanner: Scanner,
    /// The keys met before.
    keys: HashMap<Box<[u8]>, Arc<str>>,
}

impl Counting {
    fn transaction(&mut self, transaction: &Transaction) {
        for step in &transaction.steps {
            let attributed = step.writes.iter().find_map(|write| write.attribution.as_ref());
            let release = attributed.or(transaction.attribution.as_ref()).map(|attribution| &attribution.release);
            match &step.statement {
                Some(Statement { sql, started, .. }) => {
                    let written = step.writes.iter().map(|write| write.table.clone()).collect();
                    self.statement(sql, written, release, Usage::once(*started));
                }
                None => self.unrecorded(step, release),
            }
        }
    }

    fn statement(&mut self, sql: &Arc<str>, written: BTreeSet<TableName>, release: Option<&Release>, usage: Usage) {
        self.scanner.scan(sql);
        let key = match self.keys.get(self.scanner.key()) {
            Some(key) => Arc::clone(key),
            None => {
                let key: Arc<str> = String::from_utf8_lossy(self.scanner.key()).into();
                self.keys.insert(self.scanner.key().into(), Arc::clone(&key));
                key
            }
        };
        let runs = Runs::from([(release.cloned(), usage)]);
        self.executions.add_statement(key, Executed { sql: Arc::clone(sql), written, runs });
    }

    fn unrecorded(&mut self, step: &Step, release: Option<&Release>) {
        let tables: BTreeMap<&TableName, Timestamp> =
            step.writes.iter().map(|write| (&write.table, write.ts)).collect();
        for (table, at) in tables {
            let runs = Runs::from([(release.cloned(), Usage::once(at))]);
            add_runs(self.executions.unrecorded.entry(table.clone()).or_default(), runs);
        }
    }
}

/// Schema and table.
type StoredName = (String, String);

#[derive(Serialize, Deserialize)]
struct StoredExecutions {
    statements: Vec<StoredStatement>,
    unrecorded: Vec<(StoredName, Vec<StoredRun>)>,
}

#[derive(Serialize, Deserialize)]
struct StoredStatement {
    key: String,
    sql: String,
    written: Vec<StoredName>,
    runs: Vec<StoredRun>,
}

#[derive(Serialize, Deserialize)]
struct StoredRun {
    /// Service and release.
    release: Option<(Option<String>, String)>,
    count: u64,
    /// Microseconds.
    first: Option<i64>,
    last: Option<i64>,
}

fn stored_name(table: &TableName) -> StoredName {
    (table.schema.to_string(), table.table.to_string())
}

fn name_of((schema, table): StoredName) -> TableName {
    TableName::new(schema, table)
}

fn stored_runs(runs: &Runs) -> Vec<StoredRun> {
    let run = |(release, usage): (&Option<Release>, &Usage)| StoredRun {
        release: release
            .as_ref()
            .map(|release| (release.service.as_ref().map(ToString::to_string), release.name.to_string())),
        count: usage.count,
        first: usage.first.map(Timestamp::as_micros),
        last: usage.last.map(Timestamp::as_micros),
    };
    runs.iter().map(run).collect()
}

fn runs_of(runs: Vec<StoredRun>) -> Runs {
    let run = |run: StoredRun| {
        let release = run
            .release
            .map(|(service, name)| Release { service: service.map(ServiceName::new), name: ReleaseName::new(name) });
        let at = |micros: Option<i64>| micros.map(Timestamp::from_micros);
        (release, Usage { count: run.count, first: at(run.first), last: at(run.last) })
    };
    runs.into_iter().map(run).collect()
}
