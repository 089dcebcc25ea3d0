//! A faults file: exactly what a release got wrong, where the team knows it.
//!
//! In: a YAML file, and the schemas of the tables. Out: [`Faults`], names looked up and SQL parsed: every mistake in
//! the file is told at once, with its place. What a fault means for a write is decided where the worlds are kept apart.

use std::path::Path;

use crate::audit::{
    AuditError, Content, Document, Fields, Location, Mistakes, Names, Node, Schemas, SqlExpression, read_assignments,
};
use crate::model::{ColumnName, Operation, ReleaseName, TableName, TableSchema};

/// The name under which an expression of a fault sees the row as it was before the write.
pub const BEFORE: &str = "before";

const FILE_KEYS: &[&str] = &["release", "faults"];
const FAULT_KEYS: &[&str] = &["table", "op", "where", "set", "written"];

/// What a release got wrong.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The release.
    pub release: ReleaseName,
    /// Its faults in the order of the file; at least one.
    pub faults: Vec<Fault>,
}

/// One fault: which writes, and what they should have been.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The table written.
    pub table: TableName,
    /// Only these operations.
    pub operations: Vec<Operation>,
    /// Only writes of which this is true: over the row as written (for a delete, the row as it was), and `before`.
    pub condition: SqlExpression,
    /// What should have happened.
    pub correction: Correction,
    /// Where the fault stands.
    pub location: Location,
}

/// What should have happened instead of a write.
#[derive(Clone, Debug)]
pub enum Correction {
    /// These columns should have been written with these values; at least one.
    Set(Vec<(ColumnName, SqlExpression)>),
    /// The write should not have happened at all.
    NotWritten,
}

impl Faults {
    /// Reads a faults file.
    ///
    /// # Errors
    /// A file that cannot be read or is no YAML; all other mistakes at once: unknown keys, tables and columns, SQL that
    /// does not parse, a fault that says neither or both of `set` and `written: false`.
    pub fn load(path: &Path, schemas: &Schemas) -> Result<Faults, AuditError> {
        let document = Document::read(path)?;
        let mut mistakes = Mistakes::default();
        let faults = read_faults(&document, schemas, &mut mistakes);
        match faults {
            Some(faults) if mistakes.is_empty() => Ok(faults),
            _ => Err(AuditError::Mistakes(mistakes.sorted())),
        }
    }
}

fn read_faults(document: &Document, schemas: &Schemas, mistakes: &mut Mistakes) -> Option<Faults> {
    let fields = document.fields(&document.root, "a faults file", FILE_KEYS, mistakes)?;
    let release = fields.require_text("release", mistakes).map(ReleaseName::new);
    let list = fields.require("faults", mistakes)?;
    let Content::Sequence(items) = &list.content else {
        let help = Some("begin each fault with '- table: …'".to_owned());
        mistakes.push(document.location(list), format!("faults is {}", list.kind()), help);
        return None;
    };
    if items.is_empty() {
        mistakes.push(document.location(list), "there is no fault", Some("write at least one".to_owned()));
    }
    let names = Names { document, schemas };
    let faults = items.iter().filter_map(|item| read_fault(&names, item, mistakes)).collect();
    Some(Faults { release: release?, faults })
}

fn read_fault(names: &Names<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Fault> {
    let fields = names.document.fields(node, "a fault", FAULT_KEYS, mistakes)?;
    let table_text = fields.require_text("table", mistakes);
    let operations = read_operations(names, &fields, mistakes);
    let where_text = fields.require_text("where", mistakes);
    let is_written = fields.boolean("written", mistakes);
    // Without its table no column can be looked up.
    let table = names.table(fields.get("table")?, table_text?, mistakes)?;
    let condition = names.expression(table, &[BEFORE], fields.get("where")?, where_text?, mistakes);
    let correction = read_correction(names, table, &fields, is_written, node, mistakes)?;
    let operations = operations?;
    if matches!(correction, Correction::Set(_)) && operations == [Operation::Delete] {
        let help = Some("say written: false, or leave op out".to_owned());
        mistakes.push(names.document.location(node), "a delete sets nothing", help);
        return None;
    }
    let location = names.document.location(node);
    Some(Fault { table: table.name.clone(), operations, condition: condition?, correction, location })
}

fn read_operations(names: &Names<'_>, fields: &Fields<'_>, mistakes: &mut Mistakes) -> Option<Vec<Operation>> {
    let Some(text) = fields.text("op", mistakes) else {
        // Nothing was said, or something that is already noted as no text.
        return fields.get("op").is_none().then(|| vec![Operation::Insert, Operation::Update]);
    };
    match Operation::from_contract(text) {
        Some(operation) if operation != Operation::Truncate => Some(vec![operation]),
        _ => {
            let help = Some("write insert, update or delete".to_owned());
            let place = names.document.location(fields.get("op")?);
            mistakes.push(place, format!("'{text}' is no operation that a fault can be about"), help);
            None
        }
    }
}

fn read_correction(
    names: &Names<'_>,
    table: &TableSchema,
    fields: &Fields<'_>,
    is_written: Option<bool>,
    node: &Node,
    mistakes: &mut Mistakes,
) -> Option<Correction> {
    let help = Some("say set: { column: \"SQL\" } for what it should have written, or written: false".to_owned());
    match (fields.get("set"), is_written) {
        (Some(set), None) if fields.get("written").is_none() => {
            let before = mistakes.len();
            let assignments = read_assignments(names, table, &[BEFORE], set, "set", mistakes);
            if assignments.is_empty() && mistakes.len() == before {
                mistakes.push(names.document.location(set), "set names no column", help);
            }
            (mistakes.len() == before).then_some(Correction::Set(assignments))
        }
        (Some(set), Some(_)) => {
            mistakes.push(names.document.location(set), "a fault says one of set and written, not both", help);
            None
        }
        (None, Some(false)) => Some(Correction::NotWritten),
        (None, Some(true)) => {
            mistakes.push(names.document.location(node), "written: true is no fault", help);
            None
        }
        // What `written` holds is already noted.
        (_, None) if fields.get("written").is_some() => None,
        (_, None) => {
            mistakes.push(names.document.location(node), "a fault does not say what should have happened", help);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::model::{Column, ColumnType};

    fn schemas() -> Schemas {
        let column =
            |name: &str| Column { name: name.into(), column_type: ColumnType::Text, not_null: false, generated: false };
        let table = |name: &str, columns: &[&str]| {
            let name = TableName::new("public", name);
            let columns = columns.iter().map(|name| column(name)).collect();
            (
                name.clone(),
                Arc::new(TableSchema {
                    name,
                    columns,
                    key: vec!["id".into()],
                    foreign_keys: Vec::new(),
                    unique_keys: Vec::new(),
                }),
            )
        };
        BTreeMap::from([
            table("orders", &["id", "coupon", "subtotal", "discount", "total"]),
            table("rates", &["id", "rate"]),
        ])
    }

    fn load(text: &str) -> Result<Faults, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("faults.yaml");
        std::fs::write(&path, text).expect("a file");
        Faults::load(&path, &schemas()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_contract_s_example_is_understood() {
        let faults = load(
            "release: v42\nfaults:\n  - table: public.orders\n    where: \"coupon IS NOT NULL\"\n    set: { total: \"subtotal - discount\" }\n  \
             - table: orders\n    op: delete\n    where: true\n    written: false\n  - table: orders\n    where: before.total <> orders.total\n    \
             set:\n      total: SELECT rate FROM rates WHERE rates.id = orders.id\n      coupon: NULL\n",
        )
        .expect("three faults");
        assert_eq!(faults.release.as_str(), "v42");
        assert_eq!(faults.faults[0].operations, [Operation::Insert, Operation::Update]);
        assert_eq!(faults.faults[0].condition.sql, "coupon IS NOT NULL");
        assert_eq!(faults.faults[1].operations, [Operation::Delete]);
        assert!(matches!(faults.faults[1].correction, Correction::NotWritten));
        let Correction::Set(assignments) = &faults.faults[2].correction else { panic!("a set") };
        assert_eq!(assignments[0].1.sql, "(SELECT rate FROM rates WHERE rates.id = orders.id)");
        assert_eq!(assignments[1].1.sql, "NULL");
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let message = load(
            "relese: v42\nfaults:\n  - table: orders\n    where: totl > 0\n    set: { total: \"1\" }\n    written: false\n  \
             - table: order\n    where: \"true\"\n    written: false\n  - table: orders\n    op: upsert\n    where: \"after.total = 1\"\n    \
             written: yes please\n  - table: orders\n    where: \"true\"\n  - table: orders\n    op: delete\n    where: \"true\"\n    set: { totl: '1' }\n",
        )
        .expect_err("nothing but mistakes");
        for expected in [
            ":1:1: unknown key 'relese'",
            "did you mean release?",
            ":4:12: public.orders has no column 'totl'",
            "did you mean total?",
            "one of set and written, not both",
            ":7:12: there is no table public.order",
            ":11:9: 'upsert' is no operation",
            ":12:13: 'after' is not the table at hand",
            ":13:14: 'written' is neither true nor false",
            ":14:5: a fault does not say what should have happened",
            ":19:12: public.orders has no column 'totl'",
        ] {
            assert!(message.contains(expected), "{expected} in\n{message}");
        }
    }
}
