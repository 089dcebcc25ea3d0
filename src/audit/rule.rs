//! One rule, and how much breach of it is tolerated.

use std::sync::Arc;

use super::checks::{AcrossRows, Check, GroupDemand, Reference, Target, Violating};
use super::mistake::Location;
use super::sql_text::{SqlExpression, histories_read, tables_read};
use crate::model::{ColumnName, TableName, TableSchema};

/// How much a violation matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; never fails an audit.
    Info,
    /// Fails an audit where the project says `fail_on = "warn"`.
    Warn,
    /// Fails an audit.
    Error,
}

impl Severity {
    /// The contract's spelling: `error`, `warn`, `info`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Error => "error",
        }
    }

    /// Reads the contract's spelling.
    pub fn from_contract(text: &str) -> Option<Self> {
        [Severity::Info, Severity::Warn, Severity::Error].into_iter().find(|severity| severity.as_str() == text)
    }
}

/// How many violations are tolerated: as rows, or as a share of the rows checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// At most this many rows.
    Rows(u64),
    /// At most this many parts of 10^`scale` percent: `1.5%` is 15 of scale 1.
    Percent {
        /// The number without its point.
        digits: u64,
        /// Digits after the point.
        scale: u32,
    },
}

impl Tolerance {
    /// Reads `0`, `100`, `1%`, `0.5%`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let Some(number) = text.trim().strip_suffix('%') else { return text.trim().parse().ok().map(Tolerance::Rows) };
        let (whole, fraction) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
        // More digits than a row in a trillion say nothing.
        let scale = u32::try_from(fraction.len()).ok().filter(|scale| *scale <= 12)?;
        let written = format!("{whole}{fraction}");
        let all_digits = !whole.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit());
        let digits = written.parse().ok().filter(|_| all_digits && written.len() <= 18)?;
        Some(Tolerance::Percent { digits, scale })
    }

    /// Whether there are more violations than that.
    pub(super) fn is_exceeded(self, violations: u64, checked: u64) -> bool {
        match self {
            Tolerance::Rows(rows) => violations > rows,
            Tolerance::Percent { digits, scale } => {
                // At most 2^64 · 10^14 < 2^127: exact.
                u128::from(violations) * 10_u128.pow(scale + 2) > u128::from(digits) * u128::from(checked)
            }
        }
    }
}

/// What is tolerated before a rule warns, and before it fails; `None`: any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tolerances {
    /// More than this is a warning.
    pub warn: Option<Tolerance>,
    /// More than this is an error.
    pub error: Option<Tolerance>,
}

/// A rule as a rules file states it, its names looked up and its SQL parsed.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique among the rules loaded together.
    pub id: Arc<str>,
    /// The table whose rows it is about.
    pub table: TableName,
    /// What it means, for people.
    pub description: Option<String>,
    /// How much a violation matters.
    pub severity: Severity,
    /// Only these rows are checked.
    pub filter: Option<SqlExpression>,
    /// How many violations are tolerated; `None`: none, at the rule's severity.
    pub tolerances: Option<Tolerances>,
    /// Where it stands.
    pub location: Location,
    /// The columns to blame as the rule names them; empty: those its check names.
    pub(super) columns: Vec<ColumnName>,
    /// What columns should hold instead.
    pub(super) expect: Vec<(ColumnName, SqlExpression)>,
    pub(super) check: Arc<dyn Check>,
    /// Whether the check looks at the recorded writes of its table.
    pub(super) judges_writes: bool,
    /// Where its check stands: what the engine has against it is shown there.
    pub(super) check_location: Location,
}

impl Rule {
    /// The rows in breach of its check, whether its `where` holds for them or not.
    pub(super) fn violating_of_check(&self, table: &TableSchema) -> Violating {
        self.check.violating(&Target { table, filter: self.filter.as_ref() })
    }

    /// The rows in breach, of `table`, which is the rule's own.
    pub fn violating(&self, table: &TableSchema) -> Violating {
        match (self.violating_of_check(table), self.filter.as_ref()) {
            (Violating::Row(predicate), Some(filter)) => {
                Violating::Row(format!("({}) IS TRUE AND ({predicate})", filter.sql))
            }
            (Violating::Write { insert, update }, Some(filter)) => {
                let both = |predicate: &str| format!("({}) IS TRUE AND ({predicate})", filter.sql);
                Violating::Write { insert: both(&insert), update: both(&update) }
            }
            (violating, _) => violating,
        }
    }

    /// What it demands of rows together, where one scan can answer that; its `where` comes on top.
    pub(super) fn across_rows(&self) -> Option<AcrossRows> {
        self.check.across_rows()
    }

    /// The rows of another table that its rows refer to, where that is what it demands; its `where` comes on top.
    pub fn reference(&self) -> Option<Reference> {
        match self.check.across_rows()? {
            AcrossRows::Missing(reference) => Some(reference),
            AcrossRows::Repeated { .. } => None,
        }
    }

    /// What it demands of the group that a row is in, where it is about groups; its `where` comes on top.
    pub(super) fn of_group(&self) -> Option<GroupDemand> {
        self.check.of_group()
    }

    /// What cells of a row in breach should hold, as SQL over the row: the rule's `expect`, and what the check itself
    /// says.
    pub fn expected(&self) -> Vec<(ColumnName, String)> {
        let mut expected: Vec<(ColumnName, String)> =
            self.expect.iter().map(|(column, value)| (Arc::clone(column), value.sql.clone())).collect();
        if let Some((column, sql)) = self.check.expected()
            && !expected.iter().any(|(known, _)| *known == column)
        {
            expected.push((column, sql));
        }
        expected
    }

    /// The column whose value the check itself says: where the rule holds, that cell is right.
    pub fn decided_column(&self) -> Option<ColumnName> {
        self.check.expected().map(|(column, _)| column)
    }

    /// The columns to blame for a violation; empty where neither the rule nor its check names any.
    pub fn blamed_columns(&self) -> Vec<ColumnName> {
        if self.columns.is_empty() { self.check.columns() } else { self.columns.clone() }
    }

    /// Every table whose rows decide whether a row is in breach or what it should hold: the rule's own first.
    pub fn tables_read(&self) -> Vec<TableName> {
        let mut tables = vec![self.table.clone()];
        let written = self.filter.iter().chain(self.expect.iter().map(|(_, value)| value));
        let in_subqueries = written.flat_map(|sql| tables_read(&sql.expression)).filter_map(|read| read.name.ok());
        for table in self.check.tables_read().into_iter().chain(in_subqueries) {
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
        tables
    }

    /// Every table whose history decides about a breach; a rule without one is about the tables as they stand.
    pub fn histories_read(&self) -> Vec<TableName> {
        let written = self.filter.iter().chain(self.expect.iter().map(|(_, value)| value));
        let mut histories = self.check.histories_read();
        histories.extend(self.judges_writes.then(|| self.table.clone()));
        histories.extend(written.flat_map(|sql| histories_read(&sql.expression)));
        histories.sort();
        histories.dedup();
        histories
    }

    /// The columns whose equal values make a group, where it is a group of rows that is in breach.
    pub fn group(&self) -> Option<Vec<ColumnName>> {
        self.check.group().map(<[ColumnName]>::to_vec)
    }

    /// What so many violations amount to; `None`: they are tolerated, or there is none.
    pub(super) fn level(&self, violations: u64, checked: u64) -> Option<Severity> {
        let Some(tolerances) = self.tolerances else { return (violations > 0).then_some(self.severity) };
        let exceeds = |tolerance: Option<Tolerance>| {
            tolerance.is_some_and(|tolerance| tolerance.is_exceeded(violations, checked))
        };
        if exceeds(tolerances.error) {
            return Some(Severity::Error);
        }
        exceeds(tolerances.warn).then_some(Severity::Warn)
    }
}

/// The columns that name a row: the table's key, or all of its columns where it has none.
pub fn key_columns(table: &TableSchema) -> Vec<ColumnName> {
    if table.key.is_empty() {
        return table.columns.iter().map(|column| Arc::clone(&column.name)).collect();
    }
    table.key.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_are_exact() {
        let percent = |text: &str| Tolerance::parse(text).expect(text);
        assert!(!percent("1%").is_exceeded(10, 1_000));
        assert!(percent("1%").is_exceeded(11, 1_000));
        assert!(!percent("0.5%").is_exceeded(5, 1_000));
        assert!(percent("0.5%").is_exceeded(6, 1_000));
        assert!(percent("0%").is_exceeded(1, u64::MAX));
        assert!(!percent("3").is_exceeded(3, 3));
        assert!(percent("3").is_exceeded(4, 4));
        for text in ["", "-1", "1.5", "%", "1,5%", "many"] {
            assert_eq!(Tolerance::parse(text), None, "{text}");
        }
    }
}
