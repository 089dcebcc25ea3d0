//! Rules over the tables as they stand: one scan for all checks of a table that need no subquery, and few queries for the
//! others.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

use super::AuditError;
use super::checks::Violating;
use super::found_keys::{Holding, SortedKeys};
use super::key_file::KeyFile;
use super::keys::compare_keys;
use super::outcome::{AuditOutcome, RuleOutcome, RuleStatus, UnlistedViolations, Violation, WrittenBy};
use super::planning::engine_message;
use super::row_scan::RowScan;
use super::rule::{Rule, key_columns};
use super::rule_set::RuleSet;
use super::server_scan::ServerScan;
use super::sessions::{Sessions, Stopped};
use crate::catalog::{Catalog, register_history, value_from_array};
use crate::model::{ColumnName, History, RecordKey, Release, TableName, TableSchema};

/// Keys in breach that are held for all rules together, some hundred bytes each; at the most for one rule; and at least.
const MOST_HELD: usize = 1_000_000;
const MOST_HELD_OF_ONE: usize = 100_000;
const FEWEST_HELD: usize = 1_000;

/// Checks every rule against every row of its table, and its history where the rule looks at that.
///
/// A rule that fails while it is evaluated does not stop the others: its status says so.
///
/// # Errors
/// A rule of a table that the catalog does not have; a session that takes no tables.
pub async fn run(rules: &RuleSet, catalog: &Catalog, history: &History) -> Result<AuditOutcome, AuditError> {
    let rules: Vec<&Rule> = rules.rules().iter().collect();
    let tallies = evaluate(&rules, catalog, history).await?;
    outcome_of(&rules, tallies, catalog)
}

/// What is found of each rule, in their order.
///
/// # Errors
/// As [`run`].
pub(super) async fn evaluate(
    rules: &[&Rule],
    catalog: &Catalog,
    history: &History,
) -> Result<Vec<Result<Tally, String>>, AuditError> {
    let sessions = Sessions::open(catalog)?;
    for table in rules.iter().flat_map(|rule| rule.histories_read()) {
        register_history(sessions.tables(), catalog.schema(&table)?, &history.transactions)?;
    }
    let mut by_table: BTreeMap<&TableName, Vec<usize>> = BTreeMap::new();
    for (position, rule) in rules.iter().enumerate() {
        by_table.entry(&rule.table).or_default().push(position);
    }
    let mut tallies: Vec<Result<Tally, String>> = rules.iter().map(|_| Ok(Tally::default())).collect();
    for (table, positions) in by_table {
        let audited = AuditedTable::new(catalog.schema(table)?, catalog, history, rules.len());
        let of_table: Vec<&Rule> = positions.iter().map(|position| rules[*position]).collect();
        for (position, tally) in positions.iter().zip(audited.check(&sessions, &of_table).await) {
            tallies[*position] = tally;
        }
    }
    Ok(tallies)
}

/// The outcome of rules with what was found of each.
///
/// # Errors
/// A rule of a table that the catalog does not have.
pub(super) fn outcome_of(
    rules: &[&Rule],
    tallies: Vec<Result<Tally, String>>,
    catalog: &Catalog,
) -> Result<AuditOutcome, AuditError> {
    let mut outcome = AuditOutcome::default();
    for (rule, tally) in rules.iter().zip(tallies) {
        report(rule, catalog.schema(&rule.table)?, tally, &mut outcome);
    }
    Ok(outcome)
}

/// What was found of one rule.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Rows, or writes, that were looked at.
    pub(super) checked: u64,
    /// What is in breach.
    pub(super) found: Vec<Breach>,
    /// Rows in breach that are too many to be held.
    pub(super) rest: Option<Arc<KeyFile>>,
    /// What else there is to know.
    pub(super) note: Option<String>,
}

/// A row, a group of rows, or a release's writes in breach.
#[derive(Debug)]
pub(super) struct Breach {
    /// The row's key, or the group's values; empty for a table as a whole.
    pub(super) key: RecordKey,
    /// The release, where it is known already.
    pub(super) release: Option<Release>,
    /// The write, where it is known already.
    pub(super) written: Option<WrittenBy>,
}

impl Tally {
    /// So many rows checked, these in breach.
    pub(super) fn of_rows(checked: u64, keys: SortedKeys) -> Tally {
        let found = keys.held.iter().cloned().map(Breach::of_row).collect();
        Tally { checked, found, rest: keys.rest, note: None }
    }
}

impl Breach {
    pub(super) fn of_row(key: RecordKey) -> Breach {
        Breach { key, release: None, written: None }
    }
}

fn report(rule: &Rule, table: &TableSchema, tally: Result<Tally, String>, outcome: &mut AuditOutcome) {
    let (Tally { checked, mut found, rest, note }, error) = match tally {
        Ok(tally) => (tally, None),
        Err(message) => (Tally::default(), Some(message)),
    };
    found.sort_by(|one, other| compare_keys(table, &one.key, &other.key));
    let unlisted = rest.as_ref().map_or(0, |rest| rest.count());
    let violations = count(found.len()).saturating_add(unlisted);
    let level = rule.level(violations, checked);
    let status = match (&error, level) {
        (Some(_), _) => RuleStatus::Error,
        (None, Some(_)) => RuleStatus::Fail,
        (None, None) => RuleStatus::Pass,
    };
    let without_key = table.key.is_empty() && found.iter().any(|breach| breach.key.iter().len() > 0);
    let named = without_key.then(|| format!("{} has no key: a row is named by what it holds", table.name));
    outcome.rules.push(RuleOutcome {
        id: Arc::clone(&rule.id),
        table: rule.table.clone(),
        description: rule.description.clone(),
        severity: level.unwrap_or(rule.severity),
        status,
        checked,
        violations,
        message: error.or(note).or(named),
    });
    if let Some(told) = outcome.rules.last_mut().filter(|_| unlisted > 0) {
        let more = "it has more violations than are listed: --records FILE writes all of them";
        told.message = Some(told.message.take().map_or(more.to_owned(), |message| format!("{message}; {more}")));
    }
    let columns: Arc<[ColumnName]> = rule.blamed_columns().into();
    outcome.unlisted.extend(rest.map(|keys| UnlistedViolations {
        rule: Arc::clone(&rule.id),
        table: rule.table.clone(),
        columns: Arc::clone(&columns),
        keys,
    }));
    outcome.violations.extend(found.into_iter().map(|breach| Violation {
        rule: Arc::clone(&rule.id),
        table: rule.table.clone(),
        key: breach.key,
        columns: Arc::clone(&columns),
        release: breach.release,
        written: breach.written,
    }));
}

pub(super) fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

/// A table whose rules are checked together.
pub(super) struct AuditedTable<'a> {
    pub(super) schema: &'a TableSchema,
    /// What names a row.
    pub(super) key: Vec<ColumnName>,
    pub(super) catalog: &'a Catalog,
    pub(super) history: &'a History,
    /// How many keys in breach of one rule are held.
    most_held: usize,
}

impl<'a> AuditedTable<'a> {
    /// For so many rules that are checked together.
    pub(super) fn new(schema: &'a TableSchema, catalog: &'a Catalog, history: &'a History, rules: usize) -> Self {
        let mut key = key_columns(schema);
        if schema.key.is_empty() {
            // Keys are printed, personal values are not.
            let personal = catalog.personal_columns(&schema.name);
            key.retain(|column| !personal.contains(column));
        }
        // Who made a violation is asked of every one of them: where there is a history to ask, all are held.
        let most_held = match history.transactions.is_empty() {
            true => (MOST_HELD / rules.max(1)).clamp(FEWEST_HELD, MOST_HELD_OF_ONE),
            false => usize::MAX,
        };
        AuditedTable { schema, key, catalog, history, most_held }
    }

    /// How the keys of a finding are held.
    pub(super) fn holding(&self) -> Holding<'_> {
        Holding { table: self.schema, most: self.most_held }
    }

    async fn check(&self, sessions: &Sessions, rules: &[&Rule]) -> Vec<Result<Tally, String>> {
        let mut tallies: Vec<Option<Result<Tally, String>>> =
            self.scan_rows(sessions.parallel(), rules).await.into_iter().map(|tally| tally.map(Ok)).collect();
        let demands: Vec<Violating> = rules.iter().map(|rule| rule.violating(self.schema)).collect();
        let mut about_rows = Vec::new();
        let mut about_groups = Vec::new();
        for (place, (rule, violating)) in rules.iter().zip(&demands).enumerate() {
            if tallies[place].is_some() {
                continue;
            }
            let tally = match violating {
                Violating::Row(_) | Violating::Query(_) => {
                    about_rows.push((place, *rule));
                    continue;
                }
                Violating::Table(question) => {
                    about_groups.push((place, *rule, question));
                    continue;
                }
                Violating::Write { .. } => self.check_writes(sessions, rule).await,
                Violating::Release(question) => self.check_releases(sessions, rule, question).await,
            };
            tallies[place] = Some(tally);
        }
        let found = self.check_rows(sessions, &about_rows).await;
        for (place, tally) in found.into_iter().chain(self.check_groups(sessions, &about_groups).await) {
            tallies[place] = Some(tally);
        }
        let mut told = Vec::with_capacity(rules.len());
        for (rule, tally) in rules.iter().zip(tallies) {
            let tally = tally.unwrap_or_else(|| Err("nothing has checked it".to_owned()));
            told.push(match (self.refuse_without_history(rule), tally) {
                (Err(reason), _) => Err(reason),
                (Ok(()), Ok(tally)) => Ok(tally),
                (Ok(()), Err(message)) => Err(self.with_inexact_numbers(rule, message).await),
            });
        }
        told
    }

    /// The rules that one scan answers together: on the server where it reads them as we do, else here. `None` for every
    /// other rule, and for all of them where one spoils it for the others: then each is asked for itself.
    async fn scan_rows(&self, parallel: &SessionContext, rules: &[&Rule]) -> Vec<Option<Tally>> {
        let mut found: Vec<Option<Tally>> = rules.iter().map(|_| None).collect();
        if self.catalog.has_server() {
            let mut scan = ServerScan::default();
            let taken: Vec<bool> = rules.iter().map(|rule| scan.take(rule, self.schema, self.catalog)).collect();
            if taken.contains(&true)
                && let Ok(Some(tallies)) = scan.run(self).await
            {
                place_tallies(&mut found, &taken, tallies.into_iter().map(Some));
            }
        }
        let mut scan = RowScan::new(&self.key);
        let mut taken = Vec::with_capacity(rules.len());
        for (rule, found) in rules.iter().zip(&found) {
            taken.push(found.is_none() && scan.take(rule, self.schema, self.catalog));
        }
        if taken.contains(&true)
            && let Ok(tallies) = scan.run(self, parallel).await
        {
            place_tallies(&mut found, &taken, tallies);
        }
        found
    }

    /// A rule over a history that nobody recorded would always hold.
    fn refuse_without_history(&self, rule: &Rule) -> Result<(), String> {
        match rule.histories_read().first() {
            Some(table) if self.history.transactions.is_empty() => Err(format!(
                "it needs the history of {table}, and no write is recorded: ingest the database's writes, or capture them"
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn key_at(&self, batch: &RecordBatch, row: usize) -> Result<RecordKey, String> {
        self.cells_at(&self.key, batch, row)
    }

    /// The columns that the query selects as `key_0`, `key_1` and on.
    pub(super) fn cells_at(
        &self,
        columns: &[ColumnName],
        batch: &RecordBatch,
        row: usize,
    ) -> Result<RecordKey, String> {
        let names: Vec<String> = (0..columns.len()).map(|position| format!("key_{position}")).collect();
        self.named_cells_at(columns, &names, batch, row)
    }

    /// The columns that the query selects under these names.
    pub(super) fn named_cells_at(
        &self,
        columns: &[ColumnName],
        names: &[String],
        batch: &RecordBatch,
        row: usize,
    ) -> Result<RecordKey, String> {
        let mut cells = Vec::with_capacity(columns.len());
        for (column, name) in columns.iter().zip(names) {
            let array = batch.column_by_name(name);
            let (Some(array), Some(declared)) = (array, self.schema.column(column)) else {
                return Err(format!("the engine left out key column {column}"));
            };
            let value = value_from_array(array, row, &declared.column_type).map_err(|error| error.to_string())?;
            cells.push((Arc::clone(column), value));
        }
        Ok(RecordKey::new(cells))
    }

    /// What stopped a query; where the rules read a table with personal columns only that it failed, for the engine may
    /// quote a value.
    pub(super) fn message_of(&self, stopped: &Stopped, rules: &[&Rule]) -> String {
        let error = match stopped {
            Stopped::Engine(error) => error,
            Stopped::Answer(reason) => return reason.clone(),
        };
        let may_quote = !matches!(error.find_root(), DataFusionError::Plan(_));
        let read = rules.iter().flat_map(|rule| rule.tables_read());
        match read.into_iter().find(|table| !self.catalog.personal_columns(table).is_empty()) {
            Some(table) if may_quote => format!(
                "its SQL failed on some row (what the engine says is withheld: it may quote a personal value of {table})"
            ),
            _ => engine_message(error),
        }
    }
}

/// Gives each rule that was taken the next tally.
fn place_tallies(found: &mut [Option<Tally>], taken: &[bool], tallies: impl IntoIterator<Item = Option<Tally>>) {
    let taken = found.iter_mut().zip(taken).filter(|(_, taken)| **taken);
    taken.zip(tallies).for_each(|((place, _), tally)| *place = tally);
}

/// The rows of a boolean column that are true.
pub(super) fn true_rows(batch: &RecordBatch, column: &str) -> Result<Vec<usize>, String> {
    let array = batch.column_by_name(column).and_then(|array| array.as_boolean_opt());
    let array = array.ok_or_else(|| format!("the engine gave no boolean {column}"))?;
    Ok((0..array.len()).filter(|row| array.is_valid(*row) && array.value(*row)).collect())
}
