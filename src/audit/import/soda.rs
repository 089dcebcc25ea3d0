//! Soda's data contracts (version 4): the checks of a dataset and of its columns.

use super::{Import, ImportFormat, entries, entry, entry_text, items};
use crate::audit::checks::literal::literal;
use crate::audit::document::{Content, Document, Node};
use crate::audit::sql_text::quoted_name;
use crate::catalog::nearest_table;
use crate::model::{TableName, TableSchema};

pub(super) const FORMAT: ImportFormat = ImportFormat { recognises, read };

/// Where a check stands.
struct Place<'a> {
    table: &'a TableSchema,
    column: Option<&'a Node>,
    /// The dataset's own filter.
    filter: Option<&'a str>,
    /// What the column says of missing and invalid values, for all of its checks.
    defaults: Vec<&'a (Node, Node)>,
}

/// A check of ours, and the keys of the check that say it.
struct Demand {
    kind: &'static str,
    value: Node,
    read: &'static [&'static str],
    /// Whether `threshold` says how many violations pass; else it is part of the demand.
    tolerates: bool,
}

/// Keys of a column that say nothing of how it is checked.
const PLAIN_COLUMN_KEYS: [&str; 5] = ["name", "data_type", "description", "optional", "checks"];

/// Keys that every check may have.
const COMMON_KEYS: [&str; 6] = ["name", "qualifier", "filter", "threshold", "attributes", "column"];

fn recognises(document: &Document) -> bool {
    entry(&document.root, "dataset").is_some()
}

fn read(import: &mut Import<'_>) {
    let root = &import.names.document.root;
    for (key, node) in entries(root) {
        let name = key.text().unwrap_or_default();
        if !["dataset", "filter", "columns", "checks", "owner", "description", "attributes"].contains(&name) {
            import.note(key, format!("'{name}' of a data contract is not understood"), None);
        } else if name == "columns" && !matches!(node.content, Content::Sequence(_)) {
            import.note(node, format!("columns is {}", node.kind()), None);
        }
    }
    let Some(dataset) = entry(root, "dataset") else { return };
    let parts: Vec<&str> = dataset.text().unwrap_or_default().split('/').collect();
    let name = match parts.as_slice() {
        [.., schema, table] => TableName::new(*schema, *table),
        [table] => TableName::new("public", *table),
        [] => return,
    };
    let Some(table) = import.names.schemas.get(&name) else {
        let nearest = nearest_table(&name, import.names.schemas.keys());
        let help = nearest.map(|nearest| format!("did you mean {nearest}?"));
        import.note(dataset, format!("there is no table {name}: none of its checks is made"), help);
        return;
    };
    let filter = entry_text(root, "filter");
    for check in items(entry(root, "checks")) {
        read_check(import, &Place { table, column: None, filter, defaults: Vec::new() }, check);
    }
    for column in items(entry(root, "columns")) {
        let Some(name) = entry(column, "name") else { continue };
        let defaults = entries(column).iter().filter(|(key, _)| is_default(key)).collect();
        for (key, _) in entries(column) {
            if !is_default(key) && !key.text().is_some_and(|key| PLAIN_COLUMN_KEYS.contains(&key)) {
                import.note(key, format!("'{}' of a column is not checked", key.text().unwrap_or_default()), None);
            }
        }
        let place = Place { table, column: Some(name), filter, defaults };
        for check in items(entry(column, "checks")) {
            read_check(import, &place, check);
        }
    }
}

/// Whether a key says which values are missing, valid or invalid.
fn is_default(key: &Node) -> bool {
    let is_one = |key: &str| ["missing_", "valid_", "invalid_"].iter().any(|prefix| key.starts_with(prefix));
    key.text().is_some_and(is_one)
}

/// The check's settings with those of its column.
///
/// # Errors
/// Those that would change what the check counts in a way that is not understood.
fn with_defaults(place: &Place<'_>, kind: &str, body: &Node) -> Result<Node, String> {
    let concerns = |key: &str| match kind {
        "missing" => key.starts_with("missing_"),
        "duplicate" => entry(body, "columns").is_none(),
        "invalid" => true,
        _ => false,
    };
    let of_column: Vec<&(Node, Node)> =
        place.defaults.iter().copied().filter(|(key, _)| key.text().is_some_and(concerns)).collect();
    let Some((key, _)) = of_column.first() else { return Ok(body.clone()) };
    let is_validity = |(key, _): &&(Node, Node)| key.text().is_some_and(|key| !key.starts_with("missing_"));
    let own = entries(body).iter().any(|(key, _)| is_default(key));
    if kind != "invalid" || own || !of_column.iter().all(is_validity) {
        return Err(format!("its column's '{}' is not understood for it", key.text().unwrap_or_default()));
    }
    let settings = entries(body).iter().chain(of_column).cloned().collect();
    Ok(body.here(Content::Mapping(settings)))
}

fn read_check(import: &mut Import<'_>, place: &Place<'_>, node: &Node) {
    let [(key, body)] = entries(node) else {
        return import.note(node, "a check is one name with its settings below it", None);
    };
    let kind = key.text().unwrap_or_default();
    let translated = with_defaults(place, kind, body).and_then(|body| translate(place, key, kind, &body));
    match translated {
        Ok(rule) => {
            let column = place.column.and_then(Node::text).map(|column| format!("_{column}")).unwrap_or_default();
            let qualifier = entry_text(body, "qualifier").map(|text| format!("_{text}")).unwrap_or_default();
            let id = format!("{kind}_{}{column}{qualifier}", place.table.name.table);
            import.add(&id, key, rule);
        }
        Err(message) => {
            let help = Some("write it as a rule of our own where it matters".to_owned());
            import.note(key, format!("check {kind} is not made: {message}"), help);
        }
    }
}

fn translate(place: &Place<'_>, key: &Node, kind: &str, body: &Node) -> Result<Vec<(&'static str, Node)>, String> {
    let demand = demand(place, key, kind, body)?;
    for (name, _) in entries(body) {
        let name = name.text().unwrap_or_default();
        if !COMMON_KEYS.contains(&name) && !demand.read.contains(&name) {
            return Err(format!("its '{name}' is not understood"));
        }
    }
    let mut rule = vec![("table", key.text_here(place.table.name.to_string()))];
    rule.extend(entry_text(body, "name").map(|name| ("description", key.text_here(name.to_owned()))));
    let filters: Vec<&str> = place.filter.into_iter().chain(entry_text(body, "filter")).collect();
    match filters.as_slice() {
        [] => {}
        [filter] => rule.push(("where", key.text_here((*filter).to_owned()))),
        _ => rule.push(("where", key.text_here(format!("({})", filters.join(") AND ("))))),
    }
    let threshold = entry(body, "threshold");
    let level = threshold.and_then(|node| entry_text(node, "level")).unwrap_or("fail");
    let severity = match level {
        "fail" => "error",
        "warn" => "warn",
        other => return Err(format!("its level '{other}' is neither fail nor warn")),
    };
    rule.push(("severity", key.text_here(severity.to_owned())));
    if demand.tolerates
        && let Some(tolerated) = threshold.map(tolerated).transpose()?.flatten()
    {
        rule.push(("tolerance", key.mapping_here(vec![(severity, key.text_here(tolerated))])));
    }
    rule.push(("check", key.mapping_here(vec![(demand.kind, demand.value)])));
    Ok(rule)
}

/// How many violations a threshold lets pass; `None` where it is none at all.
fn tolerated(threshold: &Node) -> Result<Option<String>, String> {
    let percent = match entry_text(threshold, "metric") {
        None | Some("count") => false,
        Some("percent") => true,
        Some(other) => return Err(format!("its metric '{other}' is not understood")),
    };
    let mut tolerated = None;
    for (key, value) in entries(threshold) {
        let text = value.text().unwrap_or_default();
        let rows = || text.parse::<u64>().map_err(|_| format!("'{text}' is no number of rows"));
        match key.text().unwrap_or_default() {
            "metric" | "level" => {}
            "must_be" if text == "0" => {}
            "must_be_less_than_or_equal" if percent => tolerated = Some(format!("{text}%")),
            "must_be_less_than_or_equal" => tolerated = Some(rows()?.to_string()),
            "must_be_less_than" if !percent => {
                let most = rows()?.checked_sub(1).ok_or("nothing is less than 0")?;
                tolerated = Some(most.to_string());
            }
            other => return Err(format!("its threshold '{other}: {text}' is not understood")),
        }
    }
    Ok(tolerated)
}

fn demand(place: &Place<'_>, key: &Node, kind: &str, body: &Node) -> Result<Demand, String> {
    let column = || place.column.cloned().ok_or_else(|| "it needs a column".to_owned());
    let of_column = |kind| {
        let column = column()?;
        Ok(Demand { kind, value: column.list_here(vec![column.clone()]), read: &[], tolerates: true })
    };
    match kind {
        "missing" => of_column("not_null"),
        "duplicate" => match entry(body, "columns") {
            Some(columns) => Ok(Demand { kind: "unique", value: columns.clone(), read: &["columns"], tolerates: true }),
            None => of_column("unique"),
        },
        "invalid" => invalid(place, key, body),
        "failed_rows" => match (entry(body, "expression"), entry(body, "query")) {
            (Some(expression), None) => {
                // What it says of a row is that it fails.
                let holds = format!("NOT ({})", expression.text().unwrap_or_default());
                let value = expression.text_here(holds);
                Ok(Demand { kind: "expression", value, read: &["expression"], tolerates: true })
            }
            (None, Some(query)) => Ok(Demand { kind: "sql", value: query.clone(), read: &["query"], tolerates: true }),
            _ => Err("it needs one of expression and query".to_owned()),
        },
        "row_count" => row_count(key, body),
        _ => Err("it is not understood".to_owned()),
    }
}

/// How many rows a table may have: what its threshold says, else any but none.
fn row_count(key: &Node, body: &Node) -> Result<Demand, String> {
    let mut bounds = Vec::new();
    for (name, value) in entry(body, "threshold").map_or(&[][..], entries) {
        let number = value.text().and_then(|text| text.parse::<u64>().ok());
        let bound = |key, number: Option<u64>| {
            Ok((key, value.text_here(number.ok_or("its threshold is no number of rows")?.to_string())))
        };
        let found: Result<(&'static str, Node), String> = match name.text().unwrap_or_default() {
            "level" | "metric" => continue,
            "must_be_greater_than" => bound("min", number.and_then(|number| number.checked_add(1))),
            "must_be_greater_than_or_equal" => bound("min", number),
            "must_be_less_than" => bound("max", number.and_then(|number| number.checked_sub(1))),
            "must_be_less_than_or_equal" => bound("max", number),
            "must_be" => {
                bounds.push(bound("min", number)?);
                bound("max", number)
            }
            other => Err(format!("its threshold '{other}' is not understood")),
        };
        bounds.push(found?);
    }
    if bounds.is_empty() {
        bounds.push(("min", key.text_here("1".to_owned())));
    }
    Ok(Demand { kind: "volume", value: key.mapping_here(bounds), read: &[], tolerates: false })
}

/// One way in which a column's values are invalid.
fn invalid(place: &Place<'_>, key: &Node, body: &Node) -> Result<Demand, String> {
    let column = place.column.ok_or("it needs a column")?;
    let name = column.text().unwrap_or_default();
    let declared = place.table.column(name).ok_or_else(|| format!("{} has no column '{name}'", place.table.name))?;
    let ways: Vec<&str> = entries(body)
        .iter()
        .filter_map(|(key, _)| key.text())
        .filter(|key| !COMMON_KEYS.contains(key) && *key != "invalid_values")
        .collect();
    let of = |kind, value, read| Ok(Demand { kind, value, read, tolerates: true });
    let with_column = |rest: Vec<(&'static str, Node)>| {
        let mut all = vec![("column", column.clone())];
        all.extend(rest);
        key.mapping_here(all)
    };
    let required = |name: &str| entry(body, name).cloned().ok_or_else(|| format!("its '{name}' is empty"));
    let sql = quoted_name(name);
    match ways.as_slice() {
        ["valid_values"] => of("values", with_column(vec![("in", required("valid_values")?)]), &["valid_values"]),
        ["valid_min"] => of("range", with_column(vec![("min", required("valid_min")?)]), &["valid_min"]),
        ["valid_max"] => of("range", with_column(vec![("max", required("valid_max")?)]), &["valid_max"]),
        ["valid_min", "valid_max"] | ["valid_max", "valid_min"] => {
            let bounds = vec![("min", required("valid_min")?), ("max", required("valid_max")?)];
            of("range", with_column(bounds), &["valid_min", "valid_max"])
        }
        ["valid_format"] => {
            let format = required("valid_format")?;
            let regex = entry(&format, "regex").cloned().ok_or("its valid_format has no regex")?;
            of("matches", with_column(vec![("regex", regex)]), &["valid_format"])
        }
        ["valid_reference_data"] => reference(column, key, &required("valid_reference_data")?),
        ["valid_length"] | ["valid_min_length"] | ["valid_max_length"] | ["valid_min_length", "valid_max_length"] => {
            lengths(&sql, key, body)
        }
        [] => {
            let literals: Result<Vec<String>, String> = items(entry(body, "invalid_values"))
                .iter()
                .map(|node| literal(&declared.column_type, node.text().unwrap_or_default()))
                .collect();
            let literals = literals?;
            if literals.is_empty() {
                return Err("it says of no value that it is invalid".to_owned());
            }
            let value = key.text_here(format!("{sql} NOT IN ({})", literals.join(", ")));
            of("expression", value, &["invalid_values"])
        }
        _ => Err(format!("'{}' together are not understood: make a check of each", ways.join("', '"))),
    }
}

fn reference(column: &Node, key: &Node, reference: &Node) -> Result<Demand, String> {
    let dataset = entry_text(reference, "dataset").unwrap_or_default();
    let mut parts = dataset.rsplit('/');
    let table = match (parts.next(), parts.next()) {
        (Some(table), Some(schema)) => format!("{schema}.{table}"),
        _ => dataset.to_owned(),
    };
    let referred = entry(reference, "column").cloned().ok_or("its valid_reference_data has no column")?;
    let entries = vec![
        ("columns", column.list_here(vec![column.clone()])),
        ("table", reference.text_here(table)),
        ("key", referred.list_here(vec![referred.clone()])),
    ];
    let value = key.mapping_here(entries);
    Ok(Demand { kind: "references", value, read: &["valid_reference_data"], tolerates: true })
}

fn lengths(column: &str, key: &Node, body: &Node) -> Result<Demand, String> {
    let mut bounds = Vec::new();
    for (name, comparison) in [("valid_length", "="), ("valid_min_length", ">="), ("valid_max_length", "<=")] {
        let Some(node) = entry(body, name) else { continue };
        let length: u64 = node.text().and_then(|text| text.parse().ok()).ok_or("a length is no number")?;
        bounds.push(format!("length({column}) {comparison} {length}"));
    }
    let value = key.text_here(bounds.join(" AND "));
    let read = &["valid_length", "valid_min_length", "valid_max_length"];
    Ok(Demand { kind: "expression", value, read, tolerates: true })
}

#[cfg(test)]
mod tests {
    use super::super::tests_support;

    async fn found(checks: &str) -> Vec<String> {
        tests_support::violating_ids(&format!("dataset: pg/shop/public/orders\n{checks}\n")).await
    }

    #[tokio::test]
    async fn each_check_finds_what_soda_would() {
        let of = |column: &str, check: &str| format!("columns: [{{name: {column}, checks: [{{{check}}}]}}]");
        for (checks, ids) in [
            (of("status", "missing: {}"), vec!["2"]),
            (of("status", "missing: {filter: \"id > 2\"}"), vec![]),
            (of("placed_at", "duplicate: {}"), vec!["1", "2"]),
            (of("status", "invalid: {valid_values: [open]}"), vec!["3"]),
            (of("status", "invalid: {invalid_values: [bad]}"), vec!["3"]),
            (of("total", "invalid: {valid_min: 6, valid_max: 15}"), vec!["2", "4"]),
            (of("status", "invalid: {valid_format: {name: o, regex: \"^o\"}}"), vec!["3"]),
            (of("status", "invalid: {valid_max_length: 3}"), vec!["1", "4"]),
            (of("sku", "invalid: {valid_reference_data: {dataset: pg/shop/public/prices, column: sku}}"), vec!["3"]),
            ("checks: [{failed_rows: {expression: \"total > 15\"}}]".to_owned(), vec!["2"]),
            (
                "checks: [{failed_rows: {query: \"SELECT id FROM public.orders WHERE total > 15\"}}]".to_owned(),
                vec!["2"],
            ),
            ("filter: id < 2\nchecks: [{duplicate: {columns: [placed_at]}}]".to_owned(), vec![]),
        ] {
            assert_eq!(found(&checks).await, ids, "{checks}");
        }
    }

    #[tokio::test]
    async fn what_a_column_says_of_its_values_is_applied_or_told() {
        assert_eq!(found("columns: [{name: status, valid_values: [open], checks: [{invalid: {}}]}]").await, ["3"]);
        assert_eq!(
            found("columns: [{name: total, valid_min: 6, valid_max: 15, checks: [{invalid: }]}]").await,
            ["2", "4"]
        );
        for (column, part) in [
            ("name: status, missing_values: ['-'], checks: [{missing: {}}]", "check missing is not made: its column's"),
            ("name: status, missing_values: ['-'], checks: [{invalid: {valid_values: [open]}}]", "'missing_values'"),
            ("name: status, valid_values: [bad], checks: [{invalid: {valid_values: [open]}}]", "'valid_values'"),
            ("name: status, valid_values: [bad], checks: [{duplicate: {}}]", "check duplicate is not made"),
            ("name: status, character_maximum_length: 4", "'character_maximum_length' of a column is not checked"),
        ] {
            let file = format!("dataset: pg/shop/public/orders\ncolumns: [{{{column}}}]\n");
            let imported = tests_support::read(&file).await;
            assert!(imported.ids.is_empty() && imported.notes.contains(part), "{column}: {}", imported.notes);
        }
    }

    #[tokio::test]
    async fn what_is_not_understood_is_told_with_its_line() {
        let imported = tests_support::read(
            "dataset: pg/shop/public/orders
columns:
  - name: status
    checks:
      - missing: {threshold: {metric: percent, must_be_less_than_or_equal: 30}}
      - missing: {threshold: {must_be_between: [1, 2]}}
checks:
  - schema: {}
",
        )
        .await;
        assert_eq!(imported.ids, ["missing_orders_status"]);
        for part in ["schema.yml:6:", "must_be_between", "schema.yml:8:", "check schema"] {
            assert!(imported.notes.contains(part), "{part} is not in\n{}", imported.notes);
        }
    }
}
