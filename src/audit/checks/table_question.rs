//! What is asked about a table as a whole, or about each group of its rows.

use super::{quoted_name, quoted_table};
use crate::model::{ColumnName, TableName};

/// A question about a table as a whole, or about each group of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableQuestion {
    /// What makes a group; empty: the table is one.
    pub by: Vec<ColumnName>,
    /// Only the rows for which this SQL is true; `None`: every row.
    pub filter: Option<String>,
    /// What is measured: an aggregate in SQL over the rows of a group.
    pub measure: String,
    /// Whether a group is in breach: true or false in SQL, over the same rows.
    pub breach: String,
    /// The bounds of the number of rows, where that is what is measured.
    pub(in crate::audit) rows: Option<RowBounds>,
    /// The column whose value `measure` quotes.
    pub quotes: Option<ColumnName>,
    /// What was measured, in words that end before the value.
    pub measured: String,
    /// What is demanded, in words.
    pub demanded: String,
}

/// How many rows there may be; both bounds are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audit) struct RowBounds {
    /// No fewer.
    pub(in crate::audit) min: Option<u64>,
    /// No more.
    pub(in crate::audit) max: Option<u64>,
}

impl RowBounds {
    /// Whether so many rows are too few or too many.
    pub(in crate::audit) fn are_broken_by(self, rows: u64) -> bool {
        self.min.is_some_and(|min| rows < min) || self.max.is_some_and(|max| rows > max)
    }
}

impl TableQuestion {
    /// The bounds of the number of rows of the table as a whole, where that is the question.
    pub(in crate::audit) fn whole_table(&self) -> Option<RowBounds> {
        self.rows.filter(|_| self.by.is_empty())
    }

    /// Whether one scan answers both: they are about the same groups of the same rows.
    pub(in crate::audit) fn shares_groups(&self, other: &TableQuestion) -> bool {
        self.by == other.by && self.filter == other.filter
    }
}

/// The SQL of questions about the same groups. Of each group: the columns of `by` as `key_0`, `key_1` and on, the number of
/// rows as `checked`, and for each question what was measured as text `measured_0` and on, and whether the group is in
/// breach as `breach_0` and on.
pub(in crate::audit) fn shared_sql(table: &TableName, questions: &[&TableQuestion]) -> String {
    let Some(first) = questions.first() else { return String::new() };
    let columns: Vec<String> = first.by.iter().map(|column| quoted_name(column)).collect();
    let keys = columns.iter().enumerate().map(|(place, column)| format!("{column} AS key_{place}"));
    let answers = questions.iter().enumerate().map(|(place, question)| {
        let TableQuestion { measure, breach, .. } = question;
        format!("CAST({measure} AS text) AS measured_{place}, {breach} AS breach_{place}")
    });
    let selected: Vec<String> = keys.chain(["count(*) AS checked".to_owned()]).chain(answers).collect();
    let filter = first.filter.as_ref().map(|filter| format!(" WHERE ({filter}) IS TRUE")).unwrap_or_default();
    let group = if columns.is_empty() { String::new() } else { format!(" GROUP BY {}", columns.join(", ")) };
    format!("SELECT {} FROM {}{filter}{group}", selected.join(", "), quoted_table(table))
}
