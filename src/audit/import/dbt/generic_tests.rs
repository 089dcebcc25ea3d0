//! What each generic test demands, in our own YAML: dbt's four, and those of dbt_utils and dbt_expectations that say
//! something of rows.

use super::is_nested;
use super::jinja::Renderer;
use super::test_entry::TestEntry;
use crate::audit::checks::literal::literal;
use crate::audit::document::{Content, Node};
use crate::audit::sql_text::{quoted_name, quoted_table};
use crate::model::{Column, TableSchema};

/// What a test demands.
struct Demand {
    kind: &'static str,
    value: Node,
    /// Only these rows, beside those of the test's own `where`.
    filter: Option<String>,
    /// How much is tolerated, where the test itself says so.
    tolerated: Option<String>,
}

/// A test, and the arguments of it that nobody has read yet.
struct Subject<'t> {
    test: &'t TestEntry<'t>,
    table: &'t TableSchema,
    column: Option<&'t Node>,
    renderer: &'t Renderer<'t>,
    unread: Vec<(&'t str, &'t Node)>,
    /// Only rows that meet all of these are tested: the test's own `where` and `row_condition`.
    conditions: Vec<String>,
}

type Translate = fn(&mut Subject<'_>) -> Result<Demand, String>;

/// Names without their package: dbt_utils and dbt_expectations share none.
const TESTS: &[(&str, Translate)] = &[
    ("not_null", not_null),
    ("unique", unique),
    ("accepted_values", accepted_values),
    ("relationships", relationships),
    ("unique_combination_of_columns", unique_combination),
    ("expression_is_true", expression_is_true),
    ("accepted_range", accepted_range),
    ("not_null_proportion", not_null_proportion),
    ("at_least_one", at_least_one),
    ("not_accepted_values", not_accepted_values),
    ("not_empty_string", not_empty_string),
    ("sequential_values", sequential_values),
    ("recency", recency),
    ("relationships_where", relationships_where),
    ("expect_column_values_to_not_be_null", not_null),
    ("expect_column_values_to_be_unique", unique),
    ("expect_column_values_to_be_in_set", accepted_values),
    ("expect_column_values_to_not_be_in_set", not_accepted_values),
    ("expect_column_values_to_be_between", accepted_range),
    ("expect_column_values_to_match_regex", matches),
    ("expect_column_value_lengths_to_be_between", lengths_between),
    ("expect_column_value_lengths_to_equal", length_equals),
    ("expect_compound_columns_to_be_unique", compound_columns_unique),
    ("expect_table_row_count_to_be_between", row_count_between),
    ("expect_table_row_count_to_equal", row_count_equals),
    ("expect_column_pair_values_A_to_be_greater_than_B", pair_greater),
    ("expect_column_pair_values_to_be_equal", pair_equal),
    ("expect_row_values_to_have_recent_data", recency),
];

const PACKAGES: [&str; 3] = ["dbt", "dbt_utils", "dbt_expectations"];

/// The entries of a rule, without its id, that demands what the test does.
///
/// # Errors
/// What of it is not understood.
pub(super) fn translate(
    test: &TestEntry<'_>,
    table: &TableSchema,
    column: Option<&Node>,
    renderer: &Renderer<'_>,
) -> Result<Vec<(&'static str, Node)>, String> {
    let bare = match test.kind.split_once('.') {
        Some((package, name)) if PACKAGES.contains(&package) => name,
        _ => test.kind,
    };
    let known = TESTS.iter().find(|(name, _)| *name == bare);
    let (_, demand) = known.ok_or("it is none of dbt's own, dbt_utils' or dbt_expectations' that are known")?;
    let own_filter = match test.config("where") {
        Some(node) => Some((node, renderer.sql(node.text().ok_or("its 'where' is no text")?)?)),
        None => None,
    };
    let conditions = own_filter.iter().map(|(_, sql)| sql.clone()).collect();
    let mut subject = Subject { test, table, column, renderer, unread: test.arguments.clone(), conditions };
    let row_condition = subject.sql_argument("row_condition")?;
    subject.conditions.extend(row_condition);
    let Demand { kind, value, filter, tolerated } = demand(&mut subject)?;
    if let Some((name, _)) = subject.unread.first() {
        return Err(format!("its argument '{name}' is not understood"));
    }
    let place = test.place;
    let mut rule = vec![("table", place.text_here(table.name.to_string()))];
    rule.extend(test.description.filter(|node| !is_nested(node)).map(|node| ("description", node.clone())));
    let filter_place = own_filter.as_ref().map_or(place, |(node, _)| *node);
    let conditions: Vec<String> = subject.conditions.into_iter().chain(filter).collect();
    if let [condition] = conditions.as_slice() {
        rule.push(("where", filter_place.text_here(condition.clone())));
    } else if !conditions.is_empty() {
        rule.push(("where", filter_place.text_here(format!("({})", conditions.join(") AND (")))));
    }
    rule.extend(strictness(test, tolerated)?);
    rule.push(("check", place.mapping_here(vec![(kind, value)])));
    Ok(rule)
}

/// `severity` and `tolerance` from a test's config.
fn strictness(test: &TestEntry<'_>, tolerated: Option<String>) -> Result<Vec<(&'static str, Node)>, String> {
    let place = test.place;
    if let Some(counted) = test.config("fail_calc").and_then(Node::text)
        && counted.replace(' ', "").to_lowercase() != "count(*)"
    {
        return Err(format!("its fail_calc '{counted}' is not understood"));
    }
    let condition = |key: &str| test.config(key).map(tolerated_rows).transpose();
    let (warn_if, error_if) = (condition("warn_if")?, condition("error_if")?);
    let severity = test.config("severity").and_then(Node::text).unwrap_or("error").to_lowercase();
    let mut tolerance = Vec::new();
    match (severity.as_str(), tolerated) {
        ("error", Some(_)) | ("warn", Some(_)) if warn_if.is_some() || error_if.is_some() => {
            return Err("its thresholds do not go with warn_if and error_if".to_owned());
        }
        ("error", Some(tolerated)) => tolerance.push(("error", place.text_here(tolerated))),
        ("warn", Some(tolerated)) => tolerance.push(("warn", place.text_here(tolerated))),
        ("error", None) if warn_if.is_some() || error_if.is_some() => {
            tolerance.push(("warn", place.text_here(warn_if.unwrap_or(0).to_string())));
            tolerance.push(("error", place.text_here(error_if.unwrap_or(0).to_string())));
        }
        ("warn", None) => tolerance.extend(warn_if.map(|rows| ("warn", place.text_here(rows.to_string())))),
        ("error", None) => {}
        _ => return Err(format!("its severity '{severity}' is neither error nor warn")),
    }
    let mut entries = vec![("severity", place.text_here(severity))];
    if !tolerance.is_empty() {
        entries.push(("tolerance", place.mapping_here(tolerance)));
    }
    Ok(entries)
}

/// How many rows `!=0`, `>10` or `>=10` tolerates.
fn tolerated_rows(node: &Node) -> Result<u64, String> {
    let text: String = node.text().unwrap_or_default().chars().filter(|character| !character.is_whitespace()).collect();
    let number = |prefix: &str| text.strip_prefix(prefix).and_then(|number| number.parse::<u64>().ok());
    let at_least = number(">=").and_then(|rows| rows.checked_sub(1));
    let other_than_none = number("!=").or_else(|| number("<>")).filter(|rows| *rows == 0);
    at_least
        .or_else(|| number(">"))
        .or(other_than_none)
        .ok_or_else(|| format!("the condition '{text}' is not understood: only !=0, >N and >=N are"))
}

impl Subject<'_> {
    fn argument(&mut self, name: &str) -> Option<&Node> {
        let position = self.unread.iter().position(|(known, _)| *known == name)?;
        let (_, node) = self.unread.remove(position);
        Some(node).filter(|node| !matches!(node.content, Content::Null))
    }

    fn required(&mut self, names: &[&str]) -> Result<&Node, String> {
        let found = self.unread.iter().position(|(known, _)| names.contains(known));
        match found {
            Some(position) => Ok(self.unread.remove(position).1),
            None => Err(format!("it has no '{}'", names.join("' or '"))),
        }
    }

    fn sql_argument(&mut self, name: &str) -> Result<Option<String>, String> {
        let renderer = self.renderer;
        match self.argument(name) {
            Some(node) => renderer.sql(node.text().ok_or_else(|| format!("its '{name}' is no text"))?).map(Some),
            None => Ok(None),
        }
    }

    fn required_sql(&mut self, name: &str) -> Result<String, String> {
        self.sql_argument(name)?.ok_or_else(|| format!("it has no '{name}'"))
    }

    /// A flag, `default` where it is left out.
    fn flag(&mut self, name: &str, default: bool) -> Result<bool, String> {
        match self.argument(name).map(|node| node.text().unwrap_or_default().to_lowercase()).as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(format!("its '{name}' is neither true nor false: '{other}'")),
        }
    }

    /// The column tested: that of the column's entry.
    fn column_node(&self) -> Result<Node, String> {
        self.column.cloned().ok_or_else(|| "it stands at a table, and needs a column".to_owned())
    }

    fn declared(&self) -> Result<&Column, String> {
        let node = self.column_node()?;
        let name = node.text().unwrap_or_default();
        self.table.column(name).ok_or_else(|| format!("{} has no column '{name}'", self.table.name))
    }

    /// The column as SQL, qualified, so that a subquery cannot take it for one of its own.
    fn column_sql(&self) -> Result<String, String> {
        let column = self.declared()?;
        Ok(format!("{}.{}", quoted_name(&self.table.name.table), quoted_name(&column.name)))
    }

    fn text(&self, text: impl Into<String>) -> Node {
        self.test.place.text_here(text.into())
    }

    fn demand(&self, kind: &'static str, value: Node) -> Result<Demand, String> {
        Ok(Demand { kind, value, filter: None, tolerated: None })
    }

    fn expression(&self, sql: String) -> Result<Demand, String> {
        self.demand("expression", self.text(sql))
    }

    fn mapping(&self, entries: Vec<(&'static str, Node)>) -> Node {
        self.test.place.mapping_here(entries)
    }
}

fn not_null(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let column = subject.column_node()?;
    subject.demand("not_null", column.list_here(vec![column.clone()]))
}

fn unique(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let column = subject.column_node()?;
    subject.demand("unique", column.list_here(vec![column.clone()]))
}

/// The values of a list, with their templates filled in.
fn listed_values(subject: &mut Subject<'_>) -> Result<Node, String> {
    // Texts are read as the column's type, quoted or not.
    subject.flag("quote", true)?;
    subject.flag("quote_values", true)?;
    let renderer = subject.renderer;
    let list = subject.required(&["values", "value_set"])?.clone();
    let Content::Sequence(values) = &list.content else { return Err("its values are no list".to_owned()) };
    let mut filled = Vec::with_capacity(values.len());
    for value in values {
        let text = value.text().ok_or("one of its values is no text")?;
        filled.push(value.text_here(renderer.sql(text)?));
    }
    Ok(list.list_here(filled))
}

fn accepted_values(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let values = listed_values(subject)?;
    subject.demand("values", subject.mapping(vec![("column", subject.column_node()?), ("in", values)]))
}

fn not_accepted_values(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let values = listed_values(subject)?;
    let column_type = &subject.declared()?.column_type;
    let Content::Sequence(values) = &values.content else { return Err("its values are no list".to_owned()) };
    let literals: Result<Vec<String>, String> =
        values.iter().map(|value| literal(column_type, value.text().unwrap_or_default())).collect();
    subject.expression(format!("{} NOT IN ({})", subject.column_sql()?, literals?.join(", ")))
}

fn relationships(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let renderer = subject.renderer;
    let to = renderer.table(subject.required(&["to"])?.text().ok_or("its 'to' is no text")?)?;
    let field = subject.required(&["field"])?.clone();
    let column = subject.column_node()?;
    let table = subject.text(to.name.to_string());
    let entries = vec![
        ("columns", column.list_here(vec![column.clone()])),
        ("table", table),
        ("key", field.list_here(vec![field.clone()])),
    ];
    subject.demand("references", subject.mapping(entries))
}

/// As `relationships`, over some rows of either side.
fn relationships_where(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let renderer = subject.renderer;
    let to = renderer.table(subject.required(&["to"])?.text().ok_or("its 'to' is no text")?)?;
    let field = subject.required(&["field"])?.text().ok_or("its 'field' is no text")?.to_owned();
    let filter = subject.sql_argument("from_condition")?;
    let condition = subject.sql_argument("to_condition")?.map(|sql| format!(" AND ({sql})")).unwrap_or_default();
    let column = subject.column_sql()?;
    let demand = subject.expression(format!(
        "{column} IS NULL OR EXISTS (SELECT 1 FROM {} AS referenced WHERE referenced.{} = {column}{condition})",
        quoted_table(&to.name),
        quoted_name(&field),
    ))?;
    Ok(Demand { filter, ..demand })
}

/// Here NULLs are equal, and a row of NULLs alone counts as any other.
fn unique_combination(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let list = subject.required(&["combination_of_columns"])?.clone();
    subject.flag("quote_columns", false)?;
    unique_with_nulls(subject, list, None)
}

/// Here NULLs are equal, too, but rows without any value are passed over, or those without one of them.
fn compound_columns_unique(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let list = subject.required(&["column_list"])?.clone();
    subject.flag("quote_columns", false)?;
    let ignored = subject.argument("ignore_row_if").and_then(Node::text).map(str::to_owned);
    match ignored.as_deref() {
        None | Some("all_values_are_missing") => unique_with_nulls(subject, list, Some(" OR ")),
        Some("any_value_is_missing") => subject.demand("unique", list),
        Some(other) => Err(format!("its ignore_row_if '{other}' is not understood")),
    }
}

/// `unique` passes over NULLs; so where a column may be NULL, a query says it. `present`: what joins the columns that must
/// have a value for a row to be looked at.
fn unique_with_nulls(subject: &Subject<'_>, list: Node, present: Option<&str>) -> Result<Demand, String> {
    let Content::Sequence(columns) = &list.content else { return Err("its columns are no list".to_owned()) };
    let table = subject.table;
    let may_be_null = |node: &Node| {
        let declared = node.text().and_then(|name| table.column(name));
        declared.is_some_and(|column| !column.not_null && !table.key.contains(&column.name))
    };
    if !columns.iter().any(may_be_null) {
        return subject.demand("unique", list);
    }
    if table.key.is_empty() {
        return Err(format!("its columns may be NULL, and {} has no key to name its rows by", table.name));
    }
    let names: Vec<String> = columns.iter().filter_map(Node::text).map(quoted_name).collect();
    let key: Vec<String> = table.key.iter().map(|column| quoted_name(column)).collect();
    let mut conditions: Vec<String> = subject.conditions.iter().map(|condition| format!("({condition})")).collect();
    let has_value: Vec<String> = names.iter().map(|name| format!("{name} IS NOT NULL")).collect();
    conditions.extend(present.map(|operator| format!("({})", has_value.join(operator))));
    let conditions = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    subject.demand(
        "sql",
        subject.text(format!(
            "SELECT {key} FROM (SELECT {key}, count(*) OVER (PARTITION BY {}) AS rows_alike FROM {}{conditions}) \
             AS counted WHERE rows_alike > 1",
            names.join(", "),
            quoted_table(&table.name),
            key = key.join(", "),
        )),
    )
}

fn expression_is_true(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let expression = subject.required_sql("expression")?;
    // At a column, dbt writes the column in front of it.
    let sql = if subject.column.is_some() { format!("{} {expression}", subject.column_sql()?) } else { expression };
    subject.expression(sql)
}

fn accepted_range(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let inclusive = subject.flag("inclusive", true)? && !subject.flag("strictly", false)?;
    let column = subject.column_sql()?;
    let or_equal = if inclusive { "=" } else { "" };
    let mut bounds = Vec::new();
    for (name, comparison) in [("min_value", ">"), ("max_value", "<")] {
        let bound = subject.sql_argument(name)?;
        bounds.extend(bound.map(|bound| format!("{column} {comparison}{or_equal} ({bound})")));
    }
    if bounds.is_empty() {
        return Err("it has neither 'min_value' nor 'max_value'".to_owned());
    }
    subject.expression(bounds.join(" AND "))
}

fn not_null_proportion(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let at_least = subject.required(&["at_least"])?.text().unwrap_or_default().to_owned();
    if subject.argument("at_most").is_some_and(|node| !matches!(node.text(), Some("1" | "1.0"))) {
        return Err("its 'at_most' is not understood".to_owned());
    }
    let tolerated = missing_percent(&at_least).ok_or_else(|| format!("its at_least '{at_least}' is no share"))?;
    Ok(Demand { tolerated: Some(tolerated), ..not_null(subject)? })
}

/// What a share such as `0.95` leaves, as a percentage: `5%`; exact.
fn missing_percent(share: &str) -> Option<String> {
    let (whole, fraction) = share.trim().split_once('.').unwrap_or((share.trim(), ""));
    let scale = u32::try_from(fraction.len()).ok().filter(|scale| *scale <= 12)?;
    let present: u64 = format!("{whole}{fraction}").parse().ok()?;
    let missing = 10_u64.pow(scale).checked_sub(present)?;
    let digits = format!("{:0width$}", missing * 100, width = fraction.len() + 1);
    let (percent, rest) = digits.split_at(digits.len() - fraction.len());
    Some(if rest.is_empty() { format!("{percent}%") } else { format!("{percent}.{rest}%") })
}

/// A table that holds none at all: one row of those that do is enough.
fn at_least_one(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let filter = Some(format!("{} IS NOT NULL", subject.column_sql()?));
    let volume = subject.mapping(vec![("min", subject.text("1"))]);
    Ok(Demand { filter, ..subject.demand("volume", volume)? })
}

fn not_empty_string(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let trimmed = subject.flag("trim_whitespace", true)?;
    let column = subject.column_sql()?;
    subject.expression(if trimmed { format!("trim({column}) <> ''") } else { format!("{column} <> ''") })
}

fn sequential_values(subject: &mut Subject<'_>) -> Result<Demand, String> {
    if subject.argument("interval").is_some_and(|node| node.text() != Some("1")) {
        return Err("only an interval of 1 is understood".to_owned());
    }
    let mut entries = vec![("column", subject.column_node()?), ("gaps", subject.text("false"))];
    entries.extend(subject.argument("group_by_columns").cloned().map(|by| ("by", by)));
    subject.demand("sequence", subject.mapping(entries))
}

fn recency(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let field = match subject.argument("field").cloned() {
        Some(field) => field,
        None => subject.column_node()?,
    };
    let unit = match subject.required(&["datepart"])?.text() {
        Some("minute") => "m",
        Some("hour") => "h",
        Some("day") => "d",
        Some(other) => return Err(format!("its datepart '{other}' is not understood")),
        None => return Err("its datepart is no text".to_owned()),
    };
    let interval = subject.required(&["interval"])?.text().ok_or("its interval is no number")?.to_owned();
    let age = subject.text(format!("{interval}{unit}"));
    subject.demand("freshness", subject.mapping(vec![("column", field), ("max_age", age)]))
}

fn matches(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let regex = subject.required(&["regex"])?.clone();
    // Whether backslashes are raw is a matter of warehouses that read them in strings.
    subject.flag("is_raw", true)?;
    subject.demand("matches", subject.mapping(vec![("column", subject.column_node()?), ("regex", regex)]))
}

fn lengths_between(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let strictly = subject.flag("strictly", false)?;
    let column = subject.column_sql()?;
    let or_equal = if strictly { "" } else { "=" };
    let mut bounds = Vec::new();
    for (name, comparison) in [("min_value", ">"), ("max_value", "<")] {
        let bound = subject.sql_argument(name)?;
        bounds.extend(bound.map(|bound| format!("length({column}) {comparison}{or_equal} ({bound})")));
    }
    if bounds.is_empty() { Err("it has no bound".to_owned()) } else { subject.expression(bounds.join(" AND ")) }
}

fn length_equals(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let length = subject.required_sql("value")?;
    subject.expression(format!("length({}) = ({length})", subject.column_sql()?))
}

fn row_count_between(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let mut entries = Vec::new();
    for (name, key) in [("min_value", "min"), ("max_value", "max")] {
        entries.extend(subject.argument(name).cloned().map(|bound| (key, bound)));
    }
    subject.demand("volume", subject.mapping(entries))
}

fn row_count_equals(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let value = subject.required(&["value"])?.clone();
    subject.demand("volume", subject.mapping(vec![("min", value.clone()), ("max", value)]))
}

fn pair(subject: &mut Subject<'_>, comparison: &str) -> Result<Demand, String> {
    let one = subject.required_sql("column_A")?;
    let other = subject.required_sql("column_B")?;
    subject.expression(format!("{one} {comparison} {other}"))
}

fn pair_greater(subject: &mut Subject<'_>) -> Result<Demand, String> {
    let comparison = if subject.flag("or_equal", false)? { ">=" } else { ">" };
    pair(subject, comparison)
}

fn pair_equal(subject: &mut Subject<'_>) -> Result<Demand, String> {
    pair(subject, "=")
}

#[cfg(test)]
mod tests {
    use super::super::super::tests_support::{self, Imported};
    use super::*;

    #[test]
    fn shares_leave_exact_percentages() {
        for (share, percent) in [("0.95", "5.00%"), ("1", "0%"), ("0.999", "0.100%"), ("0", "100%"), ("1.0", "0.0%")] {
            assert_eq!(missing_percent(share).as_deref(), Some(percent), "{share}");
        }
        assert_eq!(missing_percent("1.5"), None);
        assert_eq!(missing_percent("most"), None);
    }

    /// The ids of the orders that a test of the shop's orders finds.
    async fn found(test: &str) -> Vec<String> {
        tests_support::violating_ids(&format!("models:\n  - name: orders\n    {test}\n")).await
    }

    #[tokio::test]
    async fn each_test_finds_what_dbt_would() {
        let combination =
            |arguments: &str| format!("data_tests: [{{dbt_utils.unique_combination_of_columns: {{{arguments}}}}}]");
        let compound = |arguments: &str| {
            format!("data_tests: [{{dbt_expectations.expect_compound_columns_to_be_unique: {{{arguments}}}}}]")
        };
        let of = |column: &str, test: &str| format!("columns: [{{name: {column}, data_tests: [{{{test}}}]}}]");
        for (test, ids) in [
            (of("status", "not_null: {}"), vec!["2"]),
            (of("status", "not_null: {config: {where: \"id > 2\"}}"), vec![]),
            (of("placed_at", "unique: {}"), vec!["1", "2"]),
            (of("status", "accepted_values: {values: [open]}"), vec!["3"]),
            (of("status", "accepted_values: {arguments: {values: [open]}}"), vec!["3"]),
            (of("sku", "relationships: {to: \"ref('prices')\", field: sku}"), vec!["3"]),
            (of("sku", "dbt_utils.relationships_where: {to: \"ref('prices')\", field: sku, to_condition: \"amount > 10\"}"), vec!["1", "3"]),
            (of("total", "dbt_utils.accepted_range: {min_value: 10, inclusive: false}"), vec!["1", "4"]),
            (of("total", "dbt_utils.expression_is_true: {expression: \">= 10\"}"), vec!["4"]),
            (of("status", "dbt_utils.not_accepted_values: {values: [bad]}"), vec!["3"]),
            (of("status", "dbt_expectations.expect_column_values_to_match_regex: {regex: \"^o\"}"), vec!["3"]),
            (of("status", "dbt_expectations.expect_column_value_lengths_to_equal: {value: 4}"), vec!["3"]),
            ("data_tests: [{dbt_utils.unique_combination_of_columns: {combination_of_columns: [placed_at, parent]}}]".to_owned(), vec![]),
            (combination("combination_of_columns: [parent]"), vec!["1", "3"]),
            (combination("combination_of_columns: [parent], config: {where: \"id <> 1\"}"), vec![]),
            (combination("combination_of_columns: [parent], config: {where: \"orders.id <> 2\"}"), vec!["1", "3"]),
            (compound("column_list: [parent]"), vec![]),
            (compound("column_list: [placed_at, parent], row_condition: \"id < 3\""), vec![]),
            (compound("column_list: [status, parent], row_condition: \"id <> 3\""), vec![]),
            (compound("column_list: [placed_at], row_condition: \"id < 3\""), vec!["1", "2"]),
            (compound("column_list: [placed_at], row_condition: \"id > 1\""), vec![]),
            (compound("column_list: [placed_at], ignore_row_if: any_value_is_missing"), vec!["1", "2"]),
            ("data_tests: [{dbt_utils.expression_is_true: {expression: \"total > (select max(amount) from {{ ref('prices') }} p where p.sku = orders.sku)\"}}]".to_owned(), vec!["2"]),
        ] {
            assert_eq!(found(&test).await, ids, "{test}");
        }
    }

    #[tokio::test]
    async fn tests_of_a_table_as_a_whole_hold_or_not() {
        let of = |column: &str, test: &str| format!("columns: [{{name: {column}, data_tests: [{{{test}}}]}}]");
        let table = |test: &str| format!("data_tests: [{{{test}}}]");
        for (test, status) in [
            (of("status", "dbt_utils.at_least_one: {}"), "pass"),
            (of("status", "dbt_utils.at_least_one: {config: {where: \"id = 2\"}}"), "fail"),
            (of("id", "dbt_utils.sequential_values: {}"), "pass"),
            (of("parent", "dbt_utils.sequential_values: {interval: 1}"), "fail"),
            (of("id", "dbt_utils.sequential_values: {group_by_columns: [status]}"), "fail"),
            (table("dbt_utils.recency: {datepart: day, field: placed_at, interval: 1}"), "fail"),
            (table("dbt_utils.recency: {datepart: day, field: placed_at, interval: 100000}"), "pass"),
            (
                of(
                    "placed_at",
                    "dbt_expectations.expect_row_values_to_have_recent_data: {datepart: hour, interval: 2}",
                ),
                "fail",
            ),
            (of("status", "dbt_utils.not_null_proportion: {at_least: 0.75}"), "pass"),
            (of("status", "dbt_utils.not_null_proportion: {at_least: 0.9}"), "fail"),
            (of("status", "dbt_utils.not_empty_string: {}"), "pass"),
            (table("dbt_expectations.expect_table_row_count_to_equal: {value: 4}"), "pass"),
            (table("dbt_expectations.expect_table_row_count_to_equal: {value: 5}"), "fail"),
            (table("dbt_expectations.expect_table_row_count_to_be_between: {min_value: 1, max_value: 3}"), "fail"),
            (
                table(
                    "dbt_expectations.expect_column_pair_values_A_to_be_greater_than_B: {column_A: total, column_B: id}",
                ),
                "pass",
            ),
            (table("dbt_expectations.expect_column_pair_values_to_be_equal: {column_A: total, column_B: id}"), "fail"),
            (table("dbt_expectations.expect_compound_columns_to_be_unique: {column_list: [placed_at, sku]}"), "pass"),
            (
                of(
                    "status",
                    "dbt_expectations.expect_column_value_lengths_to_be_between: {min_value: 3, max_value: 3}",
                ),
                "fail",
            ),
            (of("total", "dbt_expectations.expect_column_values_to_be_between: {min_value: 5, max_value: 20}"), "pass"),
            (of("status", "dbt_expectations.expect_column_values_to_be_in_set: {value_set: [open, bad]}"), "pass"),
            (of("status", "dbt_expectations.expect_column_values_to_not_be_in_set: {value_set: [open]}"), "fail"),
            (of("status", "dbt_expectations.expect_column_values_to_not_be_null: {}"), "fail"),
            (of("id", "dbt_expectations.expect_column_values_to_be_unique: {}"), "pass"),
        ] {
            let file = format!("models:\n  - name: orders\n    {test}\n");
            assert_eq!(tests_support::statuses(&file).await, [status], "{test}");
        }
    }

    #[tokio::test]
    async fn what_is_not_understood_is_told_with_its_line() {
        for test in [
            "dbt_utils.equal_rowcount: {compare_model: \"ref('prices')\"}",
            "dbt_utils.mutually_exclusive_ranges: {lower_bound_column: id, upper_bound_column: total}",
            "dbt_utils.cardinality_equality: {field: sku, to: \"ref('prices')\"}",
            "our_own_test: {}",
            "dbt_expectations.expect_compound_columns_to_be_unique: {column_list: [id], ignore_row_if: never}",
            "dbt_utils.recency: {datepart: fortnight, field: placed_at, interval: 1}",
            "dbt_utils.recency: {datepart: day, field: placed_at, interval: 1, group_by_columns: [sku]}",
        ] {
            let file = format!("models:\n  - name: orders\n    data_tests:\n      - {test}\n");
            let Imported { ids, notes } = tests_support::read(&file).await;
            let name = test.split(':').next().unwrap_or_default();
            assert!(ids.is_empty() && notes.contains("schema.yml:4") && notes.contains(name), "{test}: {notes}");
        }
    }

    #[tokio::test]
    async fn thresholds_are_read_or_told() {
        let rules = tests_support::read(
            "
models:
  - name: orders
    columns:
      - name: status
        data_tests:
          - not_null: {config: {error_if: '>10', warn_if: '>= 5'}}
          - unique: {config: {error_if: 'between 1 and 2'}}
          - not_null: {config: {fail_calc: 'sum(x)'}, name: other}
",
        )
        .await;
        assert_eq!(rules.ids, ["not_null_orders_status"]);
        assert!(rules.notes.contains("between1and2") && rules.notes.contains("sum(x)"), "{}", rules.notes);
    }
}
