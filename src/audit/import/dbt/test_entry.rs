//! One entry under `data_tests`: a name, a mapping of a name to its arguments, or a mapping with `test_name`.

use super::super::{entries, entry};
use super::TestedTable;
use crate::audit::document::{Content, Node};

/// Keys of a test's `config`, which older files write beside the arguments.
const CONFIG_KEYS: [&str; 15] = [
    "alias",
    "database",
    "enabled",
    "error_if",
    "fail_calc",
    "group",
    "limit",
    "meta",
    "schema",
    "severity",
    "store_failures",
    "store_failures_as",
    "tags",
    "warn_if",
    "where",
];

/// A test as it is written.
pub(super) struct TestEntry<'d> {
    /// The test's name with its package: `not_null`, `dbt_utils.accepted_range`.
    pub(super) kind: &'d str,
    /// Where it stands.
    pub(super) place: &'d Node,
    /// The name that its author gave it.
    name: Option<&'d str>,
    /// Its description.
    pub(super) description: Option<&'d Node>,
    /// `column_name` of a test of a whole table.
    pub(super) column: Option<&'d Node>,
    pub(super) arguments: Vec<(&'d str, &'d Node)>,
    config: Vec<(&'d str, &'d Node)>,
}

/// Reads one entry.
///
/// # Errors
/// Why it is none.
pub(super) fn read(node: &Node) -> Result<TestEntry<'_>, String> {
    if let Some(kind) = node.text() {
        return Ok(TestEntry::new(kind, node));
    }
    let Content::Mapping(found) = &node.content else { return Err(format!("a test is {}", node.kind())) };
    let (mut test, body) = match (entry(node, "test_name"), found.as_slice()) {
        (Some(kind), _) => {
            let kind_text = kind.text().ok_or_else(|| format!("'test_name' is {}", kind.kind()))?;
            (TestEntry::new(kind_text, node), found.as_slice())
        }
        (None, [(key, value)]) => {
            let kind = key.text().ok_or_else(|| format!("the name of a test is {}", key.kind()))?;
            if value.text().is_some() || matches!(value.content, Content::Sequence(_)) {
                return Err(format!("the arguments of {kind} are {}", value.kind()));
            }
            (TestEntry::new(kind, key), entries(value))
        }
        _ => return Err("a test is one name with its arguments below it: check the indentation".to_owned()),
    };
    for (key, value) in body {
        test.add(key.text().unwrap_or_default(), value)?;
    }
    Ok(test)
}

impl<'d> TestEntry<'d> {
    fn new(kind: &'d str, place: &'d Node) -> Self {
        TestEntry {
            kind,
            place,
            name: None,
            description: None,
            column: None,
            arguments: Vec::new(),
            config: Vec::new(),
        }
    }

    fn add(&mut self, key: &'d str, value: &'d Node) -> Result<(), String> {
        match key {
            "test_name" => {}
            "name" => self.name = value.text(),
            "description" => self.description = Some(value),
            "column_name" => self.column = Some(value),
            "arguments" => {
                for (name, argument) in entries(value) {
                    match name.text() {
                        Some("column_name") => self.column = Some(argument),
                        name => self.arguments.push((name.unwrap_or_default(), argument)),
                    }
                }
            }
            "config" => {
                for (name, setting) in entries(value) {
                    self.configure(name.text().unwrap_or_default(), setting)?;
                }
            }
            _ if CONFIG_KEYS.contains(&key) => self.configure(key, value)?,
            _ => self.arguments.push((key, value)),
        }
        Ok(())
    }

    fn configure(&mut self, key: &'d str, value: &'d Node) -> Result<(), String> {
        if !CONFIG_KEYS.contains(&key) {
            return Err(format!("unknown config '{key}'"));
        }
        if self.config.iter().any(|(known, _)| *known == key) {
            return Err(format!("'{key}' is configured twice"));
        }
        self.config.push((key, value));
        Ok(())
    }

    /// What its config says.
    pub(super) fn config(&self, key: &str) -> Option<&'d Node> {
        let found = self.config.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
        found.filter(|value| !matches!(value.content, Content::Null))
    }

    /// Whether its author switched it off.
    pub(super) fn is_disabled(&self) -> bool {
        self.config("enabled").and_then(Node::text) == Some("false")
    }

    /// The author's name of it, else one as dbt makes them: `not_null_orders_id`.
    pub(super) fn id(&self, table: &TestedTable<'_>, column: Option<&Node>) -> String {
        if let Some(name) = self.name {
            return name.to_owned();
        }
        let column = column.and_then(Node::text).map(|column| format!("_{column}")).unwrap_or_default();
        // dbt puts `source_` before the name of the test.
        let (prefix, spelled) = match table.spelled.strip_prefix("source_") {
            Some(rest) => ("source_", rest),
            None => ("", table.spelled.as_str()),
        };
        format!("{prefix}{}_{spelled}{column}", self.kind.replace('.', "_"))
    }
}
