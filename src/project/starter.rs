//! A project file to begin with.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use crate::model::{ColumnName, TableName, TableSchema};

/// The data under audit, as the project file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StarterDatabase {
    /// A PostgreSQL database.
    Postgres {
        /// A URL without a password, or `env:NAME`.
        url: String,
        /// Its schemas.
        schemas: Vec<String>,
    },
    /// A folder of files, relative or not.
    Folder(String),
}

/// The text of a project file over these tables, with comments on what else it may say. `keys` are guesses.
pub fn starter_project(
    database: &StarterDatabase,
    tables: &BTreeMap<TableName, Arc<TableSchema>>,
    keys: &[(TableName, Vec<ColumnName>)],
) -> String {
    let mut text = "\
# Written by `blast-radius init`. docs/project-file.md says what else may stand here.

[database]                       # the data under audit; it is only ever read, unless you run a repair yourself
"
    .to_owned();
    match database {
        StarterDatabase::Postgres { url, schemas } => {
            text.push_str(&format!("url = {}\n", quoted(url)));
            if !url.starts_with("env:") {
                text.push_str(
                    "# The password comes from PGPASSWORD or ~/.pgpass; or write url = \"env:DATABASE_URL\".\n",
                );
            }
            let schemas: Vec<String> = schemas.iter().map(|schema| quoted(schema)).collect();
            text.push_str(&format!("schemas = [{}]\n", schemas.join(", ")));
        }
        StarterDatabase::Folder(folder) => text.push_str(&format!("files = {}\n", quoted(folder))),
    }
    text.push_str(
        "
[audit]
rules = [\"rules\"]                # files or folders; dbt's schema.yml files and Soda's contracts are read as they are

# What happened: needed to tell which release wrote a record, and what was computed from it.
# [ingest]
# files = [\"events/*.ndjson.zst\", \"logs/*.json\"]

# What was live when, where writes carry no release themselves:
# [[deploy]]
# service = \"shop\"
# release = \"v42\"
# from = \"2026-03-02T10:00:00Z\"
# until = \"2026-03-02T14:30:00Z\"
",
    );
    for (name, table) in tables {
        table_section(&mut text, name, table, keys);
    }
    text
}

fn table_section(text: &mut String, name: &TableName, table: &TableSchema, keys: &[(TableName, Vec<ColumnName>)]) {
    let heading = format!("[tables.{}]", quoted(&name.to_string()));
    let suggestions = suggestions(table);
    match keys.iter().find(|(guessed, _)| guessed == name) {
        Some((_, key)) => {
            let columns: Vec<String> = key.iter().map(|column| quoted(column)).collect();
            let comment = "# a guess: no two rows share it, and it is never NULL";
            text.push_str(&format!("\n{heading}\nkey = [{}]   {comment}\n", columns.join(", ")));
        }
        None if table.key.is_empty() => {
            text.push_str("\n# No key of this table could be told: name one, or its rows cannot be followed.\n");
            text.push_str(&format!("# {heading}\n# key = [\"…\"]\n"));
        }
        None if suggestions.is_empty() => return,
        None => text.push_str(&format!("\n# {heading}\n")),
    }
    for suggestion in suggestions {
        text.push_str(&format!("# {suggestion}\n"));
    }
}

/// Settings that a table's columns suggest, for its owner to decide.
fn suggestions(table: &TableSchema) -> Vec<String> {
    const PERSONAL: [&str; 9] =
        ["email", "e_mail", "phone", "address", "street", "birth", "first_name", "last_name", "iban"];
    let names = || table.columns.iter().map(|column| column.name.as_ref());
    let personal: Vec<String> =
        names().filter(|name| PERSONAL.iter().any(|part| name.to_lowercase().contains(part))).map(quoted).collect();
    let subject = names().find(|name| ["customer_id", "user_id", "account_id", "patient_id"].contains(name));
    let updated = names().find(|name| ["updated_at", "modified_at", "last_modified"].contains(name));
    let mut lines = Vec::new();
    if !personal.is_empty() {
        lines.push(format!("personal = [{}]   # never printed, in no output: only keys are", personal.join(", ")));
    }
    lines.extend(subject.map(|name| format!("subject = {}   # who is hurt when a row is wrong", quoted(name))));
    lines.extend(updated.map(|name| format!("updated_at = {}   # dates a write that no event recorded", quoted(name))));
    lines
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => {
                // A text takes every character.
                let _ = write!(quoted, "\\u{:04X}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::Project;
    use super::*;
    use crate::model::{Column, ColumnType};

    #[test]
    fn the_file_is_one_that_is_understood() {
        let column =
            |name: &str| Column { name: name.into(), column_type: ColumnType::Text, not_null: false, generated: false };
        let table = |name: &str| {
            let name = TableName::new("public", name);
            let columns = vec![column("id"), column("email"), column("user_id")];
            (
                name.clone(),
                Arc::new(TableSchema {
                    name,
                    columns,
                    key: Vec::new(),
                    foreign_keys: Vec::new(),
                    unique_keys: Vec::new(),
                }),
            )
        };
        let tables = BTreeMap::from([table("users"), table("odd \"one\"\n")]);
        let keys = [(TableName::new("public", "users"), vec!["id".into()])];
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("blast-radius.toml");
        for database in [
            StarterDatabase::Folder("da\"ta".to_owned()),
            StarterDatabase::Postgres { url: "postgres://ann@db/shop".to_owned(), schemas: vec!["public".to_owned()] },
        ] {
            let text = starter_project(&database, &tables, &keys);
            std::fs::write(&file, &text).expect("the file can be written");
            let project = Project::load(&file).expect("it is understood");
            assert_eq!(project.tables.len(), 1, "{text}");
            assert!(text.contains("# personal = [\"email\"]"), "{text}");
        }
    }
}
