//! Rules over the tables as they stand: one scan for all row checks of a table that need no subquery, one query for each
//! other check.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::AuditError;
use super::checks::Violating;
use super::outcome::{AuditOutcome, RuleOutcome, RuleStatus, Violation, WrittenBy};
use super::planning::{engine_message, key_as_positions, select_violating};
use super::row_scan::RowScan;
use super::rule::{Rule, key_columns};
use super::rule_set::RuleSet;
use super::server_scan::ServerScan;
use super::sql_text::{SqlExpression, asks_for_existence, quoted_table};
use crate::catalog::{Catalog, register_history, value_from_array};
use crate::engine;
use crate::model::{ColumnName, History, RecordKey, Release, TableName, TableSchema, Value};

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
    let session = engine::session_context();
    catalog.register(&session)?;
    let parallel = engine::parallel_session_context();
    catalog.register(&parallel)?;
    for table in rules.iter().flat_map(|rule| rule.histories_read()) {
        register_history(&session, catalog.schema(&table)?, &history.transactions)?;
    }
    let mut by_table: BTreeMap<&TableName, Vec<usize>> = BTreeMap::new();
    for (position, rule) in rules.iter().enumerate() {
        by_table.entry(&rule.table).or_default().push(position);
    }
    let mut tallies: Vec<Result<Tally, String>> = rules.iter().map(|_| Ok(Tally::default())).collect();
    for (table, positions) in by_table {
        let audited = AuditedTable::new(catalog.schema(table)?, catalog, history);
        let of_table: Vec<&Rule> = positions.iter().map(|position| rules[*position]).collect();
        for (position, tally) in positions.iter().zip(audited.check(&session, &parallel, &of_table).await) {
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

impl Breach {
    pub(super) fn of_row(key: RecordKey) -> Breach {
        Breach { key, release: None, written: None }
    }
}

fn report(rule: &Rule, table: &TableSchema, tally: Result<Tally, String>, outcome: &mut AuditOutcome) {
    let (Tally { checked, mut found, note }, error) = match tally {
        Ok(tally) => (tally, None),
        Err(message) => (Tally::default(), Some(message)),
    };
    found.sort_by(|one, other| compare_keys(table, &one.key, &other.key));
    let violations = count(found.len());
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
    let columns: Arc<[ColumnName]> = rule.blamed_columns().into();
    outcome.violations.extend(found.into_iter().map(|breach| Violation {
        rule: Arc::clone(&rule.id),
        table: rule.table.clone(),
        key: breach.key,
        columns: Arc::clone(&columns),
        release: breach.release,
        written: breach.written,
    }));
}

/// By value where the key is a number: 9 before 10.
fn compare_keys(table: &TableSchema, one: &RecordKey, other: &RecordKey) -> Ordering {
    for ((column, value), (_, other_value)) in one.iter().zip(other.iter()) {
        let is_integer = table.column(column).is_some_and(|column| column.column_type.is_integer());
        let number = |value: &Value| value.as_str().filter(|_| is_integer).and_then(|text| text.parse::<i64>().ok());
        let order = number(value).cmp(&number(other_value)).then_with(|| value.cmp(other_value));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
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
}

/// What the scan of a table answers for one rule, each as an SQL predicate.
struct Question<'a> {
    rule: &'a Rule,
    /// Whether the row is in breach; `None` where a query of its own tells.
    breach: Option<String>,
    /// Whether the row is checked at all; `None` where every row is, or a query of its own counts them.
    filter: Option<String>,
}

impl<'a> Question<'a> {
    fn new(rule: &'a Rule, breach: Option<String>) -> Self {
        let filter = rule.filter.as_ref().filter(|filter| !asks_for_existence(&filter.expression));
        Question { rule, breach, filter: filter.map(|filter| format!("({}) IS TRUE", filter.sql)) }
    }

    /// The rule's `where`, where the scan cannot tell whether it holds.
    fn filter_beside_scan(&self) -> Option<&SqlExpression> {
        self.rule.filter.as_ref().filter(|_| self.filter.is_none())
    }
}

impl<'a> AuditedTable<'a> {
    pub(super) fn new(schema: &'a TableSchema, catalog: &'a Catalog, history: &'a History) -> Self {
        let mut key = key_columns(schema);
        if schema.key.is_empty() {
            // Keys are printed, personal values are not.
            let personal = catalog.personal_columns(&schema.name);
            key.retain(|column| !personal.contains(column));
        }
        AuditedTable { schema, key, catalog, history }
    }

    async fn check(
        &self,
        session: &SessionContext,
        parallel: &SessionContext,
        rules: &[&Rule],
    ) -> Vec<Result<Tally, String>> {
        let scanned = self.scan_rows(parallel, rules).await;
        let beside: Vec<&Rule> = rules
            .iter()
            .zip(&scanned)
            .filter(|(rule, scanned)| scanned.is_none() && self.is_about_rows(rule))
            .map(|(rule, _)| *rule)
            .collect();
        let mut beside = self.check_rows(session, &beside).await.into_iter();
        let mut tallies = Vec::with_capacity(rules.len());
        for (rule, scanned) in rules.iter().zip(scanned) {
            let tally = match (scanned, rule.violating(self.schema)) {
                (Some(tally), _) => Ok(tally),
                (None, Violating::Row(_) | Violating::Query(_)) => {
                    beside.next().unwrap_or_else(|| Ok(Tally::default()))
                }
                (None, Violating::Write { .. }) => self.check_writes(session, rule).await,
                (None, Violating::Table(question)) => self.check_table(session, rule, &question).await,
                (None, Violating::Release(question)) => self.check_releases(session, rule, &question).await,
            };
            tallies.push(self.refuse_without_history(rule).and(tally));
        }
        tallies
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
                place_tallies(&mut found, &taken, tallies);
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

    fn is_about_rows(&self, rule: &Rule) -> bool {
        matches!(rule.violating(self.schema), Violating::Row(_) | Violating::Query(_))
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

    async fn check_rows(&self, session: &SessionContext, rules: &[&Rule]) -> Vec<Result<Tally, String>> {
        if rules.is_empty() {
            return Vec::new();
        }
        let questions: Vec<Question<'_>> =
            rules.iter().map(|rule| Question::new(rule, self.breach_in_scan(rule))).collect();
        let mut tallies = match self.scan(session, &questions).await {
            Ok(tallies) => tallies.into_iter().map(Ok).collect(),
            // One of them spoils it for all: ask one by one, so that only that one fails.
            Err(_) if questions.len() > 1 => {
                let mut tallies = Vec::with_capacity(questions.len());
                for question in &questions {
                    let alone = self.scan(session, std::slice::from_ref(question)).await;
                    tallies.push(alone.map(|mut tallies| tallies.pop().unwrap_or_default()));
                }
                tallies
            }
            Err(message) => vec![Err(message)],
        };
        for (question, tally) in questions.iter().zip(&mut tallies) {
            if question.breach.is_none()
                && let Ok(found) = tally
            {
                match self.query(session, question.rule).await {
                    Ok(keys) => found.found = keys.into_iter().map(Breach::of_row).collect(),
                    Err(message) => *tally = Err(message),
                }
            }
            if let Some(filter) = question.filter_beside_scan()
                && let Ok(found) = tally
            {
                match self.count_where(session, question.rule, filter).await {
                    Ok(checked) => found.checked = checked,
                    Err(message) => *tally = Err(message),
                }
            }
        }
        tallies
    }

    /// The predicate to compute for every row; `None` where the engine only filters by such a predicate.
    fn breach_in_scan(&self, rule: &Rule) -> Option<String> {
        let Violating::Row(predicate) = rule.violating(self.schema) else { return None };
        let parsed =
            Parser::new(&PostgreSqlDialect {}).try_with_sql(&predicate).and_then(|mut parser| parser.parse_expr());
        parsed.is_ok_and(|parsed| !asks_for_existence(&parsed)).then_some(predicate)
    }

    /// One scan of the table that answers every question: rows checked, and the rows in breach where it tells them.
    async fn scan(&self, session: &SessionContext, questions: &[Question<'_>]) -> Result<Vec<Tally>, String> {
        let mut columns = vec![key_as_positions(&self.key)];
        if questions.iter().all(|question| question.breach.is_none()) {
            columns = vec!["1".to_owned()];
        }
        for (position, question) in questions.iter().enumerate() {
            columns.extend(question.filter.as_ref().map(|filter| format!("({filter}) AS checked_{position}")));
            columns.extend(question.breach.as_ref().map(|breach| format!("({breach}) AS breach_{position}")));
        }
        let sql = format!("SELECT {} FROM {}", columns.join(", "), quoted_table(&self.schema.name));
        let mut tallies: Vec<Tally> = questions.iter().map(|_| Tally::default()).collect();
        let rules: Vec<&Rule> = questions.iter().map(|question| question.rule).collect();
        self.for_each_batch(session, &sql, &rules, |batch| {
            for (position, (question, tally)) in questions.iter().zip(&mut tallies).enumerate() {
                tally.checked += match question.filter {
                    Some(_) => count(true_rows(batch, &format!("checked_{position}"))?.len()),
                    None => count(batch.num_rows()),
                };
                if question.breach.is_some() {
                    for row in true_rows(batch, &format!("breach_{position}"))? {
                        tally.found.push(Breach::of_row(self.key_at(batch, row)?));
                    }
                }
            }
            Ok(())
        })
        .await?;
        Ok(tallies)
    }

    /// The rows that a rule is about, where the scan could not tell.
    async fn count_where(&self, session: &SessionContext, rule: &Rule, filter: &SqlExpression) -> Result<u64, String> {
        let sql = format!("SELECT 1 FROM {} WHERE ({}) IS TRUE", quoted_table(&self.schema.name), filter.sql);
        let mut rows = 0;
        self.for_each_batch(session, &sql, &[rule], |batch| {
            rows += count(batch.num_rows());
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    /// The rows in breach of a rule that the scan could not tell.
    async fn query(&self, session: &SessionContext, rule: &Rule) -> Result<Vec<RecordKey>, String> {
        let sql = select_violating(rule, self.schema, &self.key);
        let mut keys = Vec::new();
        self.for_each_batch(session, &sql, &[rule], |batch| {
            for row in 0..batch.num_rows() {
                keys.push(self.key_at(batch, row)?);
            }
            Ok(())
        })
        .await?;
        Ok(keys)
    }

    pub(super) async fn for_each_batch(
        &self,
        session: &SessionContext,
        sql: &str,
        rules: &[&Rule],
        mut look: impl FnMut(&RecordBatch) -> Result<(), String>,
    ) -> Result<(), String> {
        let refuse = |error: DataFusionError| self.message_of(&error, rules);
        let mut batches = session.sql(sql).await.map_err(refuse)?.execute_stream().await.map_err(refuse)?;
        while let Some(batch) = batches.try_next().await.map_err(refuse)? {
            look(&batch)?;
        }
        Ok(())
    }

    fn key_at(&self, batch: &RecordBatch, row: usize) -> Result<RecordKey, String> {
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

    /// What the engine says; where the rules read a table with personal columns only that it failed, for it may quote a
    /// value.
    fn message_of(&self, error: &DataFusionError, rules: &[&Rule]) -> String {
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
fn place_tallies(found: &mut [Option<Tally>], taken: &[bool], tallies: Vec<Tally>) {
    let taken = found.iter_mut().zip(taken).filter(|(_, taken)| **taken);
    taken.zip(tallies).for_each(|((place, _), tally)| *place = Some(tally));
}

/// The rows of a boolean column that are true.
pub(super) fn true_rows(batch: &RecordBatch, column: &str) -> Result<Vec<usize>, String> {
    let array = batch.column_by_name(column).and_then(|array| array.as_boolean_opt());
    let array = array.ok_or_else(|| format!("the engine gave no boolean {column}"))?;
    Ok((0..array.len()).filter(|row| array.is_valid(*row) && array.value(*row)).collect())
}
