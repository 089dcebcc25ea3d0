//! One entry of `rules:`, read as far as it can be: every mistake is noted, not just the first.

use std::sync::Arc;

use super::checks::{Check, CheckContext, KINDS, columns_of};
use super::document::{Content, Node};
use super::fields::Fields;
use super::mistake::Mistakes;
use super::names::Names;
use super::rule::{Rule, Severity, Tolerance, Tolerances};
use super::sql_text::SqlExpression;
use crate::catalog::nearest_name;
use crate::model::{ColumnName, TableSchema};

const RULE_KEYS: &[&str] =
    &["id", "table", "description", "severity", "where", "columns", "check", "tolerance", "expect"];

/// Reads one rule; `None` where a mistake was noted that leaves nothing to run.
pub(super) fn read_rule(names: &Names<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Rule> {
    let before = mistakes.len();
    let fields = names.document.fields(node, "a rule", RULE_KEYS, mistakes)?;
    let id = fields.require_text("id", mistakes);
    let table_text = fields.require_text("table", mistakes);
    let severity = read_severity(names, &fields, mistakes);
    let tolerances = read_tolerances(names, &fields, mistakes);
    let description = fields.text("description", mistakes).map(str::to_owned);
    let check_node = fields.require("check", mistakes);
    // Without its table no other name of the rule can be looked up.
    let table = names.table(fields.get("table")?, table_text?, mistakes)?;
    let filter = read_filter(names, table, &fields, mistakes);
    let columns = match fields.get("columns") {
        Some(list) => columns_of(names, table, list, "columns", mistakes).unwrap_or_default(),
        None => Vec::new(),
    };
    let expect = read_expect(names, table, &fields, mistakes);
    let check_node = check_node?;
    let check = read_check(names, table, check_node, mistakes);
    if mistakes.len() > before {
        return None;
    }
    let (check, judges_writes) = check?;
    Some(Rule {
        id: id?.into(),
        table: table.name.clone(),
        description,
        severity,
        filter,
        tolerances,
        location: names.document.location(node),
        columns,
        expect,
        check,
        judges_writes,
        check_location: names.document.location(check_node),
    })
}

fn read_filter(
    names: &Names<'_>,
    table: &TableSchema,
    fields: &Fields<'_>,
    mistakes: &mut Mistakes,
) -> Option<SqlExpression> {
    let text = fields.text("where", mistakes)?;
    names.expression(table, &[], fields.get("where")?, text, mistakes)
}

fn read_severity(names: &Names<'_>, fields: &Fields<'_>, mistakes: &mut Mistakes) -> Severity {
    let Some(text) = fields.text("severity", mistakes) else { return Severity::Error };
    let severity = Severity::from_contract(text);
    if let (None, Some(node)) = (severity, fields.get("severity")) {
        let help = Some("write error, warn or info".to_owned());
        mistakes.push(names.document.location(node), format!("unknown severity '{text}'"), help);
    }
    severity.unwrap_or(Severity::Error)
}

fn read_tolerances(names: &Names<'_>, fields: &Fields<'_>, mistakes: &mut Mistakes) -> Option<Tolerances> {
    let node = fields.get("tolerance")?;
    let levels = names.document.fields(node, "tolerance", &["warn", "error"], mistakes)?;
    let mut read = |key: &'static str| {
        let text = levels.text(key, mistakes)?;
        let tolerance = Tolerance::parse(text);
        if let (None, Some(node)) = (tolerance, levels.get(key)) {
            let help = Some("write a number of rows, or a share such as \"1%\"".to_owned());
            mistakes.push(names.document.location(node), format!("'{text}' is no tolerance"), help);
        }
        tolerance
    };
    let tolerances = Tolerances { warn: read("warn"), error: read("error") };
    if tolerances == Tolerances::default() {
        let help = Some("write { warn: 0, error: \"1%\" }, or leave it out".to_owned());
        mistakes.push(names.document.location(node), "this tolerance lets everything pass", help);
    }
    Some(tolerances)
}

fn read_expect(
    names: &Names<'_>,
    table: &TableSchema,
    fields: &Fields<'_>,
    mistakes: &mut Mistakes,
) -> Vec<(ColumnName, SqlExpression)> {
    let Some(node) = fields.get("expect") else { return Vec::new() };
    read_assignments(names, table, &[], node, "expect", mistakes)
}

/// A mapping of columns to the SQL of what they should hold.
pub fn read_assignments(
    names: &Names<'_>,
    table: &TableSchema,
    row_aliases: &[&str],
    node: &Node,
    what: &str,
    mistakes: &mut Mistakes,
) -> Vec<(ColumnName, SqlExpression)> {
    let Content::Mapping(entries) = &node.content else {
        let help = Some(format!("write {what}: {{ column: \"SQL expression\" }}"));
        mistakes.push(names.document.location(node), format!("{what} is {}", node.kind()), help);
        return Vec::new();
    };
    let mut assignments = Vec::new();
    for (key, value) in entries {
        let column = names.column(table, key, key.text().unwrap_or_default(), mistakes);
        let text = match &value.content {
            Content::Scalar(text) => text,
            // YAML's own null, written without quotes, is SQL's.
            Content::Null => "NULL",
            Content::Sequence(_) | Content::Mapping(_) => {
                let help = Some("write an SQL expression".to_owned());
                mistakes.push(
                    names.document.location(value),
                    format!("the value of a column is {}", value.kind()),
                    help,
                );
                continue;
            }
        };
        let expression = names.expression(table, row_aliases, value, text, mistakes);
        assignments.extend(column.zip(expression));
    }
    assignments
}

/// The check, and whether its kind judges writes.
fn read_check(
    names: &Names<'_>,
    table: &TableSchema,
    node: &Node,
    mistakes: &mut Mistakes,
) -> Option<(Arc<dyn Check>, bool)> {
    let kinds = || KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
    let Content::Mapping(entries) = &node.content else {
        let help = Some(format!("write one of: {}", kinds()));
        mistakes.push(names.document.location(node), format!("check is {}", node.kind()), help);
        return None;
    };
    let [(key, value)] = entries.as_slice() else {
        let help = Some("make a rule of each".to_owned());
        mistakes.push(names.document.location(node), "a check has exactly one kind", help);
        return None;
    };
    let name = key.text().unwrap_or_default();
    if let Some(kind) = KINDS.iter().find(|kind| kind.name == name) {
        let check = (kind.read)(&CheckContext { names, table }, value, mistakes)?;
        return Some((check, kind.judges_writes));
    }
    let help = match nearest_name(name, KINDS.iter().map(|kind| kind.name)) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => format!("the checks are {}", kinds()),
    };
    mistakes.push(names.document.location(key), format!("unknown check '{name}'"), Some(help));
    None
}
