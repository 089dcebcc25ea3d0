//! Starter rules: what a schema itself declares, as a rules file that holds on a sound database as it is.
//!
//! In: the tables' schemas, and what else their database declares of them. Out: YAML. A constraint that the engine cannot
//! evaluate is written too, commented out and with the reason, so that it is known to be unchecked.

use std::collections::BTreeMap;
use std::path::Path;

use regex::Regex;

use super::AuditError;
use super::document::Document;
use super::mistake::Mistakes;
use super::names::Schemas;
use super::planning;
use super::rule_set::read_rules;
use crate::catalog::{CheckConstraint, TableConstraints};
use crate::model::{ColumnName, ForeignKey, TableName, TableSchema};

/// A rule on its way to the file.
struct StarterRule {
    /// Without the indentation of the list; the first begins with `- `.
    lines: Vec<String>,
    /// Why it is commented out.
    refusal: Option<String>,
}

/// Foreign keys that nothing declares, but the data bears out.
pub type GuessedReferences = BTreeMap<TableName, Vec<ForeignKey>>;

/// The rules file for these tables. Keys in `guessed_keys` and `references` are marked as guesses.
///
/// # Errors
/// An engine that takes no tables.
pub async fn starter_rules(
    schemas: &Schemas,
    constraints: &BTreeMap<TableName, TableConstraints>,
    guessed_keys: &[TableName],
    references: &GuessedReferences,
) -> Result<String, AuditError> {
    let nothing = TableConstraints::default();
    let mut rules = Vec::new();
    for (name, table) in schemas {
        let declared = constraints.get(name).unwrap_or(&nothing);
        rules.extend(rules_of(table, declared, guessed_keys.contains(name)));
        for reference in references.get(name).into_iter().flatten() {
            let mut rule = reference_rule(table, reference);
            rule.lines.insert(1, "  # a guess: every value found has its row; no schema declares it".to_owned());
            rules.push(rule);
        }
    }
    give_own_ids(&mut rules);
    // Taking one rule out cannot make another wrong: the second round only confirms.
    for _ in 0..2 {
        if !refuse(&mut rules, schemas).await? {
            break;
        }
    }
    Ok(printed(&rules))
}

fn rules_of(table: &TableSchema, declared: &TableConstraints, key_is_guessed: bool) -> Vec<StarterRule> {
    let mut rules = Vec::new();
    let required: Vec<ColumnName> =
        table.columns.iter().filter(|column| column.not_null).map(|column| column.name.clone()).collect();
    if !required.is_empty() {
        rules.push(rule(table, "not-null", None, &format!("not_null: {}", list(&required))));
    }
    if !table.key.is_empty() {
        let mut key = rule(table, "key", None, &format!("unique: {}", list(&table.key)));
        if key_is_guessed {
            key.lines.insert(1, "  # a guess: no two rows share it, and it is never NULL".to_owned());
        }
        rules.push(key);
    }
    for unique in declared.unique.iter().filter(|unique| **unique != table.key) {
        rules.push(rule(table, &format!("unique-{}", unique.join("-")), None, &format!("unique: {}", list(unique))));
    }
    rules.extend(table.foreign_keys.iter().map(|reference| reference_rule(table, reference)));
    for (column, labels) in &declared.labels {
        let labels: Vec<String> = labels.iter().map(|label| quoted(label)).collect();
        let check = format!("values: {{ column: {}, in: [{}] }}", word(column), labels.join(", "));
        rules.push(rule(table, &format!("{column}-is-known"), None, &check));
    }
    rules.extend(declared.checks.iter().map(|check| check_rule(table, check)));
    rules
}

fn reference_rule(table: &TableSchema, reference: &ForeignKey) -> StarterRule {
    let check = format!(
        "references: {{ columns: {}, table: {}, key: {} }}",
        list(&reference.columns),
        quoted(&reference.table.to_string()),
        list(&reference.referenced)
    );
    rule(table, &format!("{}-exists", reference.columns.join("-")), None, &check)
}

fn check_rule(table: &TableSchema, check: &CheckConstraint) -> StarterRule {
    let demand = match listed_values(&check.condition) {
        Some((column, values)) if table.column(&column).is_some() => {
            let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
            format!("values: {{ column: {}, in: [{}] }}", word(&column), values.join(", "))
        }
        _ => format!("expression: {}", quoted(&engine_sql(&check.condition))),
    };
    let mut rule = rule(table, &check.name, Some(&format!("CHECK {}", check.condition)), &demand);
    if !check.is_validated {
        let severity = "  severity: warn   # NOT VALID: rows from before it was made may break it".to_owned();
        rule.lines.insert(2, severity);
    }
    rule
}

fn rule(table: &TableSchema, name: &str, description: Option<&str>, check: &str) -> StarterRule {
    let TableName { schema, table: table_name } = &table.name;
    let prefix = if schema.as_ref() == "public" { table_name.to_string() } else { table.name.to_string() };
    // A constraint's name mostly begins with its table's already.
    let id = if name.starts_with(table_name.as_ref()) { name.to_owned() } else { format!("{prefix}-{name}") };
    let mut lines = vec![format!("- id: {}", word(&id)), format!("  table: {}", quoted(&table.name.to_string()))];
    lines.extend(description.map(|description| format!("  description: {}", quoted(description))));
    lines.push(format!("  check: {{ {check} }}"));
    StarterRule { lines, refusal: None }
}

/// Two constraints of one name (of two schemas, or alike in two tables) get ids of their own.
fn give_own_ids(rules: &mut [StarterRule]) {
    let mut taken: BTreeMap<String, u64> = BTreeMap::new();
    for rule in rules {
        let Some(first) = rule.lines.first_mut() else { continue };
        let times = taken.entry(first.clone()).or_default();
        *times += 1;
        if *times > 1 {
            let id = first.trim_start_matches("- id: ").trim_matches('"').to_owned();
            *first = format!("- id: {}", word(&format!("{id}-{times}")));
        }
    }
}

/// Reads the rules as an audit would, and comments out those that it would refuse; whether there were any.
async fn refuse(rules: &mut [StarterRule], schemas: &Schemas) -> Result<bool, AuditError> {
    let file = Path::new("starter.yaml");
    let document = Document::parse(file, printed(rules))?;
    let mut mistakes = Mistakes::default();
    let read = read_rules(&document, schemas, &mut mistakes);
    planning::note_refusals(&read, schemas, &mut mistakes).await?;
    let refused = !mistakes.is_empty();
    for mistake in mistakes.iter() {
        let mut line = HEAD.lines().count();
        for rule in rules.iter_mut() {
            let length = rule.length();
            if (line + 1..=line + length).contains(&mistake.location.line) && rule.refusal.is_none() {
                rule.refusal = Some(mistake.message.clone());
                break;
            }
            line += length;
        }
    }
    Ok(refused)
}

const HEAD: &str = "\
# Written by `blast-radius init` from what the schema declares. It is yours: change it, and add what only you know,
# such as that a total is the sum of its lines. docs/rules.md lists every kind of check.
";

fn printed(rules: &[StarterRule]) -> String {
    let mut text = HEAD.to_owned();
    // A list of comments alone would be no list.
    let is_empty = rules.iter().all(|rule| rule.refusal.is_some());
    let mut lines: Vec<String> = vec![if is_empty { "rules: []".to_owned() } else { "rules:".to_owned() }];
    for rule in rules {
        match &rule.refusal {
            None => lines.extend(rule.lines.iter().map(|line| format!("  {line}"))),
            Some(reason) => {
                let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
                lines.push(format!("  # not checked: {reason}"));
                lines.extend(rule.lines.iter().map(|line| format!("  # {line}")));
            }
        }
        lines.push(String::new());
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    text.push_str(&lines.join("\n"));
    text.push('\n');
    text
}

impl StarterRule {
    /// Lines in the file, the empty one after it included.
    fn length(&self) -> usize {
        self.lines.len() + 1 + usize::from(self.refusal.is_some())
    }
}

/// `column = ANY (ARRAY['a'::text, …])`, as PostgreSQL prints `column IN ('a', …)`.
fn listed_values(condition: &str) -> Option<(String, Vec<String>)> {
    let form = Regex::new(
        r#"^\(*"?(\w+)"?\)?(?:::[a-z ]+)? = ANY \(+ARRAY\[((?:\(?'(?:[^']|'')*'(?:::[a-z ]+)?\)?(?:::[a-z ]+)?(?:, )?)+)\]\)?(?:::[a-z ]+\[\])?\)+$"#,
    )
    .ok()?;
    let found = form.captures(condition)?;
    let value = Regex::new(r"'((?:[^']|'')*)'").ok()?;
    let values = value.captures_iter(&found[2]).map(|value| value[1].replace("''", "'")).collect();
    Some((found[1].to_owned(), values))
}

/// PostgreSQL's printing of a condition in words that the engine shares.
fn engine_sql(condition: &str) -> String {
    condition
        .replace("::character varying", "::varchar")
        .replace("::timestamp with time zone", "::timestamptz")
        .replace("::timestamp without time zone", "::timestamp")
}

fn list(columns: &[ColumnName]) -> String {
    let words: Vec<String> = columns.iter().map(|column| word(column)).collect();
    format!("[{}]", words.join(", "))
}

/// A name as YAML: bare where nothing else could be meant.
fn word(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || "_-.".contains(character))
        && !matches!(name.to_lowercase().as_str(), "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null");
    if plain { name.to_owned() } else { quoted(name) }
}

/// A text in double quotes: JSON's are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Column, ColumnType, ReferentialAction};

    fn orders() -> TableSchema {
        let column =
            |name: &str, column_type, not_null| Column { name: name.into(), column_type, not_null, generated: false };
        TableSchema {
            name: TableName::new("public", "orders"),
            columns: vec![
                column("id", ColumnType::BigInt, true),
                column("status", ColumnType::Text, true),
                column("total", ColumnType::Numeric(Some((12, 2))), false),
                column("parent", ColumnType::BigInt, false),
            ],
            key: vec!["id".into()],
            foreign_keys: vec![ForeignKey {
                columns: vec!["parent".into()],
                table: TableName::new("public", "orders"),
                referenced: vec!["id".into()],
                on_delete: ReferentialAction::Refuse,
                on_update: ReferentialAction::Refuse,
            }],
            unique_keys: vec![],
        }
    }

    fn check(name: &str, condition: &str) -> CheckConstraint {
        CheckConstraint { name: name.to_owned(), condition: condition.to_owned(), is_validated: name != "old" }
    }

    #[tokio::test]
    async fn what_is_declared_becomes_rules_and_what_cannot_be_checked_is_said() {
        let schemas = Schemas::from([(orders().name, Arc::new(orders()))]);
        let constraints = TableConstraints {
            unique: vec![vec!["status".into(), "parent".into()]],
            checks: vec![
                check("orders_total_check", "(total >= (0)::numeric)"),
                check(
                    "old",
                    "(((status)::text = ANY ((ARRAY['open'::character varying, 'it''s'::character varying])::text[])))",
                ),
                check("odd", "public.is_fine(total)"),
            ],
            labels: Vec::new(),
        };
        let constraints = BTreeMap::from([(orders().name, constraints)]);
        let text = starter_rules(&schemas, &constraints, &[], &GuessedReferences::new()).await.expect("rules");
        insta::assert_snapshot!(text);
        let document = Document::parse(Path::new("rules.yaml"), text).expect("it is YAML");
        let mut mistakes = Mistakes::default();
        let rules = read_rules(&document, &schemas, &mut mistakes);
        assert!(mistakes.is_empty(), "{mistakes}");
        assert_eq!(rules.len(), 6);
    }

    #[test]
    fn lists_of_values_are_recognised() {
        let values = |condition: &str| listed_values(condition).map(|(column, values)| (column, values.join("|")));
        let expected = Some(("status".to_owned(), "a|b c".to_owned()));
        assert_eq!(values("(status = ANY (ARRAY['a'::text, 'b c'::text]))"), expected);
        assert_eq!(
            values("((status)::text = ANY ((ARRAY['a'::character varying, 'b c'::character varying])::text[]))"),
            expected
        );
        assert_eq!(values("(length(status) > 3)"), None);
    }
}
