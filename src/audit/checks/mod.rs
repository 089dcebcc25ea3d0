//! The kinds of checks: one file each, and one line in [`KINDS`].
//!
//! In: the YAML of one `check:`, and the schema of the rule's table. Out: a [`Check`], which plans the SQL that finds
//! the rows in breach of it. A kind that is not here is refused when the rule is read.

use std::fmt::Debug;
use std::sync::Arc;

use super::document::Node;
use super::fields::{self, Fields};
use super::mistake::Mistakes;
use super::names::Names;
use super::sql_text::{SqlExpression, has_subquery, quoted_name, quoted_table, requalified};
use crate::model::{ColumnName, TableName, TableSchema};

mod balance;
mod drift;
mod equals;
mod expression;
mod freshness;
mod immutable;
pub(super) mod literal;
mod matches;
mod monotonic;
mod not_null;
mod range;
mod references;
mod sequence;
mod sql;
mod table_question;
mod transition;
mod unique;
mod values;
mod volume;

pub use drift::DriftQuestion;
pub(super) use drift::ReleaseValues;
pub use table_question::TableQuestion;
pub(super) use table_question::{RowBounds, shared_sql};

/// Every kind.
pub(super) const KINDS: &[CheckKind] = &[
    balance::KIND,
    drift::KIND,
    equals::KIND,
    expression::KIND,
    freshness::KIND,
    immutable::KIND,
    matches::KIND,
    monotonic::KIND,
    not_null::KIND,
    range::KIND,
    references::KIND,
    sequence::KIND,
    sql::KIND,
    transition::KIND,
    unique::KIND,
    values::KIND,
    volume::KIND,
];

/// A kind of check: the key it goes by, and how its YAML is read.
pub(super) struct CheckKind {
    pub(super) name: &'static str,
    /// Reads what stands behind the key; notes what is wrong with it.
    pub(super) read: fn(&CheckContext<'_>, &Node, &mut Mistakes) -> Option<Arc<dyn Check>>,
    /// Whether it looks at the recorded writes of its table, and so at its history.
    pub(super) judges_writes: bool,
}

/// What a check may ask while its YAML is read.
pub(super) struct CheckContext<'a> {
    pub(super) names: &'a Names<'a>,
    pub(super) table: &'a TableSchema,
}

impl CheckContext<'_> {
    fn fields<'d>(
        &'d self,
        node: &'d Node,
        what: &'static str,
        known: &'static [&'static str],
        mistakes: &mut Mistakes,
    ) -> Option<Fields<'d>> {
        self.names.document.fields(node, what, known, mistakes)
    }

    /// The columns of the rule's table that a list names; `None` where one of them is not there.
    fn columns(&self, node: &Node, what: &str, mistakes: &mut Mistakes) -> Option<Vec<ColumnName>> {
        columns_of(self.names, self.table, node, what, mistakes)
    }

    /// The column that the key `column` of a check names.
    fn column(&self, fields: &Fields<'_>, mistakes: &mut Mistakes) -> Option<ColumnName> {
        let node = fields.require("column", mistakes)?;
        let text = fields.text("column", mistakes)?;
        self.names.column(self.table, node, text, mistakes)
    }

    fn note(&self, node: &Node, message: impl Into<String>, help: Option<String>, mistakes: &mut Mistakes) {
        mistakes.push(self.names.document.location(node), message, help);
    }
}

/// The columns of `table` that a list names; `None` where one of them is not there.
pub(super) fn columns_of(
    names: &Names<'_>,
    table: &TableSchema,
    node: &Node,
    what: &str,
    mistakes: &mut Mistakes,
) -> Option<Vec<ColumnName>> {
    let texts = fields::texts(names.document, node, what, mistakes);
    let wanted = texts.len();
    let mut columns: Vec<ColumnName> = Vec::with_capacity(wanted);
    for (item, text) in texts {
        columns.extend(names.column(table, item, text, mistakes));
    }
    (wanted > 0 && columns.len() == wanted).then_some(columns)
}

/// The rows in breach of a rule, as SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violating {
    /// A predicate over a row of the table: true exactly for a row in breach, else false (never NULL). Columns are bare
    /// or qualified by the table's bare name; it may hold subqueries over the table itself and others.
    Row(String),
    /// A query that selects the key columns of the rows in breach, named as the table names them.
    Query(String),
    /// No row that stands, but a write of one: predicates over the row as written, in which the column
    /// `"before.<column>"` is what stood before.
    Write {
        /// True exactly for an insert in breach, else false or NULL.
        insert: String,
        /// True exactly for an update in breach, else false or NULL.
        update: String,
    },
    /// The table as a whole, or a group of its rows.
    Table(TableQuestion),
    /// The writes of a release as a whole.
    Release(DriftQuestion),
}

/// The rows with the same values as the row at hand: what stands in a subquery's FROM and WHERE.
struct Rivals {
    /// What they go by.
    alias: &'static str,
    from: String,
    same: String,
}

/// The rows a check is about.
pub(super) struct Target<'a> {
    /// Their table.
    pub(super) table: &'a TableSchema,
    /// Only these rows: the rule's `where`.
    pub(super) filter: Option<&'a SqlExpression>,
}

impl Target<'_> {
    /// `"schema"."table"`.
    fn table_sql(&self) -> String {
        quoted_table(&self.table.name)
    }

    /// A column of the row at hand, qualified, so that a subquery cannot take it for one of its own.
    fn row_column(&self, column: &str) -> String {
        format!("{}.{}", quoted_name(&self.table.name.table), quoted_name(column))
    }

    /// The rows with the same values in `columns` as the row at hand; those that the rule's `where` holds for.
    fn rivals(&self, columns: &[ColumnName]) -> Rivals {
        // Another name than the row's own, or each row would be compared with itself.
        let alias = if self.table.name.table.as_ref() == "grouped" { "grouped_row" } else { "grouped" };
        let mut same: Vec<String> = columns
            .iter()
            .map(|column| format!("{alias}.{} = {}", quoted_name(column), self.row_column(column)))
            .collect();
        let table = self.table_sql();
        let from = match self.filter {
            // Its subqueries know the row by the table's name.
            Some(filter) if has_subquery(&filter.expression) => {
                format!("(SELECT * FROM {table} WHERE ({}) IS TRUE) AS {alias}", filter.sql)
            }
            Some(filter) => {
                same.push(format!("({}) IS TRUE", requalified(&filter.expression, alias)));
                format!("{table} AS {alias}")
            }
            None => format!("{table} AS {alias}"),
        };
        let same = if same.is_empty() { "TRUE".to_owned() } else { same.join(" AND ") };
        Rivals { alias, from, same }
    }

    /// The rule's `where`, true or false.
    fn filter_sql(&self) -> Option<String> {
        self.filter.map(|filter| format!("({}) IS TRUE", filter.sql))
    }
}

/// A demand on rows together that one scan can answer; the SQL of [`Check::violating`] means the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AcrossRows {
    /// In breach: a row that has the same values in these columns as another, none of them NULL.
    Repeated {
        /// The columns.
        columns: Vec<ColumnName>,
    },
    /// In breach: a row whose values in these columns, none of them NULL, no row of `table` has in `key`.
    Missing(Reference),
}

/// Columns that refer to a row of another table; a row with a NULL among them refers to none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The columns that refer.
    pub columns: Vec<ColumnName>,
    /// The table referred to.
    pub table: TableName,
    /// Its columns, as many.
    pub key: Vec<ColumnName>,
}

/// A demand on the group of rows that a row is in; the SQL of [`Check::violating`] means the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupDemand {
    /// What makes a group; a row with a NULL among them is in none, and passes. Empty: the table is one.
    pub(super) by: Vec<ColumnName>,
    /// An aggregate over the rows of the group that the rule's `where` holds for.
    pub(super) measure: String,
    /// What has to equal the measure, as SQL over the row; `None`: the measure says itself whether the group is in breach.
    pub(super) equals: Option<String>,
}

/// What a rule demands of the rows of its table.
pub(super) trait Check: Debug + Send + Sync {
    /// The rows in breach. The rule adds its `where` to a [`Violating::Row`]; only a check that looks at other rows of
    /// the table, or plans a [`Violating::Query`], has to heed the target's filter itself.
    fn violating(&self, target: &Target<'_>) -> Violating;

    /// The same demand as one that a scan can answer without a subquery.
    fn across_rows(&self) -> Option<AcrossRows> {
        None
    }

    /// The same demand as one on groups, so that all that are about the same groups can be answered together.
    fn of_group(&self) -> Option<GroupDemand> {
        None
    }

    /// The columns it names: those to blame, unless the rule names others.
    fn columns(&self) -> Vec<ColumnName>;

    /// What a column should hold instead, as SQL over the row, where the check itself says so.
    fn expected(&self) -> Option<(ColumnName, String)> {
        None
    }

    /// The tables it reads beside the rule's own.
    fn tables_read(&self) -> Vec<TableName> {
        Vec::new()
    }

    /// The tables whose history its own SQL reads.
    fn histories_read(&self) -> Vec<TableName> {
        Vec::new()
    }

    /// The columns whose equal values make a group, where it is a group of rows that is in breach: which of its rows is
    /// wrong, the check cannot say.
    fn group(&self) -> Option<&[ColumnName]> {
        None
    }
}

/// What stood before in a column, in the predicates of [`Violating::Write`].
pub(super) fn before_column(column: &str) -> String {
    quoted_name(&format!("before.{column}"))
}

fn is_not_null(column: &str) -> String {
    format!("{} IS NOT NULL", quoted_name(column))
}

#[cfg(test)]
pub(in crate::audit) mod tests {
    //! What a check's YAML may not say. What a check finds is in `rules/cases`.

    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;

    use crate::audit::document::Document;
    use crate::audit::mistake::Mistakes;
    use crate::audit::names::Schemas;
    use crate::audit::rule_set::read_rules;
    use crate::model::{Column, ColumnType, TableName, TableSchema};

    /// What is wrong with a check, as it is shown.
    pub(in crate::audit) fn mistakes_of(check: &str) -> String {
        let document = Document::parse(
            Path::new("rules.yaml"),
            format!("rules:\n  - id: r\n    table: orders\n    check:\n      {check}\n"),
        )
        .expect(check);
        let mut mistakes = Mistakes::default();
        let rules = read_rules(&document, &schemas(), &mut mistakes);
        assert!(rules.is_empty(), "{rules:?}");
        mistakes.to_string()
    }

    /// Every key of every kind, with a wrong name, a wrong type and a wrong value.
    #[test]
    fn every_wrong_key_is_a_mistake_at_its_place() {
        let lists = ["not_null", "unique", "immutable"];
        let of_lists = lists.iter().flat_map(|kind| {
            ["{a: id}", "[idd]", "[[id]]", "[]", "[id, {a: b}]", "null"].map(|value| format!("{kind}: {value}"))
        });
        let fields = [
            (
                "values",
                "column: status, in: [open]",
                &["column: [status]", "column: state", "in: {a: b}", "in: []", "in: [[a]]", "colum: status"][..],
            ),
            (
                "range",
                "column: total, min: 1",
                &["column: status", "column: {}", "min: [1]", "min: low", "max: x", "maximum: 3"],
            ),
            ("matches", "column: status, regex: a", &["column: total", "regex: [a]", "regex: '('", "regexp: a"]),
            (
                "references",
                "columns: [sku], table: prices, key: [sku]",
                &[
                    "columns: [sk]",
                    "columns: {}",
                    "table: price",
                    "table: [prices]",
                    "key: [amoun]",
                    "key: [sku, amount]",
                    "keys: [sku]",
                ],
            ),
            (
                "equals",
                "column: total, sql: '1'",
                &["column: totl", "column: [total]", "sql: [1]", "sql: 'SELECT'", "sql: 'totl + 1'", "value: 1"],
            ),
            (
                "balance",
                "sum: total, by: [sku], equals: '0'",
                &["sum: [total]", "sum: 'totl'", "by: [skus]", "by: {}", "equals: ')'", "equals: {}", "group: [sku]"],
            ),
            (
                "sequence",
                "column: id, by: [sku], gaps: false",
                &["column: total", "by: [skus]", "gaps: maybe", "gaps: [true]", "gap: true"],
            ),
            (
                "transition",
                "column: status, allowed: {open: [paid]}, initial: [open]",
                &["column: state", "allowed: [open]", "allowed: {open: {a: b}}", "initial: {a: b}", "initals: [open]"],
            ),
            (
                "monotonic",
                "column: id, direction: increasing",
                &["column: idd", "direction: up", "direction: [increasing]", "way: up"],
            ),
            (
                "freshness",
                "column: placed_at, max_age: 1d",
                &["column: status", "max_age: soon", "max_age: [1]", "max_age: -1d", "age: 1d"],
            ),
            ("volume", "min: 1, max: 9", &["min: -1", "min: [1]", "max: many", "max: 1.5", "maximum: 3", "by: [skus]"]),
            (
                "drift",
                "column: total, against: earlier-releases",
                &["column: totl", "against: yesterday", "against: [x]", "versus: x"],
            ),
        ];
        let of_fields = fields.iter().flat_map(|(kind, right, wrong)| {
            let wrong = wrong.iter().map(move |wrong| {
                // The wrong entry stands for the right one of its name, or beside the right ones.
                let name = wrong.split(':').next().unwrap_or_default();
                let kept = entries(right).into_iter().filter(|entry| entry.split(':').next() != Some(name));
                let entries: Vec<&str> = kept.chain([*wrong]).collect();
                format!("{kind}: {{{}}}", entries.join(", "))
            });
            let shapes = ["[]", "text", "null"].map(|value| format!("{kind}: {value}"));
            wrong.chain(shapes)
        });
        let of_texts =
            ["expression: [a]", "expression: ')'", "expression: 'totl > 1'", "expression: null", "sql: {a: b}"]
                .into_iter()
                .chain([
                    "sql: 'DELETE FROM orders'",
                    "sql: 'SELECT id FROM order'",
                    "sql: 'SELECT ('",
                    "exprssion: 'a'",
                ])
                .map(str::to_owned);
        for check in of_lists.chain(of_fields).chain(of_texts) {
            let mistakes = mistakes_of(&check);
            assert!(mistakes.contains("rules.yaml:5:"), "{check}: {mistakes:?}");
        }
    }

    /// The entries of a flow mapping, at the commas outside of its lists and mappings.
    fn entries(mapping: &str) -> Vec<&str> {
        let (mut depth, mut begin, mut entries) = (0, 0, Vec::new());
        for (place, character) in mapping.char_indices() {
            match character {
                '[' | '{' => depth += 1,
                ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    entries.push(mapping[begin..place].trim());
                    begin = place + 1;
                }
                _ => {}
            }
        }
        entries.push(mapping[begin..].trim());
        entries
    }

    /// The shop's tables.
    fn schemas() -> Schemas {
        let column =
            |name: &str, column_type| Column { name: name.into(), column_type, not_null: false, generated: false };
        let table = |name: &str, key: &str, columns: Vec<Column>| {
            let name = TableName::new("public", name);
            let schema = TableSchema {
                name: name.clone(),
                columns,
                key: vec![key.into()],
                foreign_keys: Vec::new(),
                unique_keys: Vec::new(),
            };
            (name, Arc::new(schema))
        };
        BTreeMap::from([
            table(
                "orders",
                "id",
                vec![
                    column("id", ColumnType::BigInt),
                    column("status", ColumnType::Text),
                    column("total", ColumnType::Numeric(Some((12, 2)))),
                    column("sku", ColumnType::Text),
                    column("paid", ColumnType::Boolean),
                    column("placed_at", ColumnType::TimestampTz),
                    column("parent", ColumnType::BigInt),
                ],
            ),
            table(
                "prices",
                "sku",
                vec![column("sku", ColumnType::Text), column("amount", ColumnType::Numeric(Some((12, 2))))],
            ),
        ])
    }
}
