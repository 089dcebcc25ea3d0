//! The templates in dbt's SQL, as far as a schema file needs them: `ref`, `source` and `var`. Others are told, not guessed.

use std::path::Path;

use regex::Regex;

use super::super::{entries, entry};
use super::find_table;
use crate::audit::AuditError;
use crate::audit::document::{Content, Document, Node};
use crate::audit::names::Names;
use crate::audit::sql_text::quoted_table;
use crate::model::TableSchema;

/// Fills templates in for one file.
pub(super) struct Renderer<'a> {
    names: &'a Names<'a>,
}

impl<'a> Renderer<'a> {
    pub(super) fn new(names: &'a Names<'a>) -> Self {
        Renderer { names }
    }

    /// SQL with its templates filled in: a table as `"schema"."table"`, a variable as its value.
    ///
    /// # Errors
    /// The template that is not understood.
    pub(super) fn sql(&self, text: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            let (before, template) = rest.split_at(start);
            let end = template.find("}}").ok_or_else(|| format!("'{template}' has no end"))?;
            filled.push_str(before);
            filled.push_str(&self.value(template.get(2..end).unwrap_or_default().trim())?);
            rest = template.get(end + 2..).unwrap_or_default();
        }
        filled.push_str(rest);
        if filled.contains("{%") || filled.contains("{#") {
            return Err(format!("the template in '{}' is not understood", text.trim()));
        }
        Ok(filled)
    }

    /// The table that `ref('x')`, `source('a', 'b')` (in braces or not) or a bare name means.
    ///
    /// # Errors
    /// Something else, or no such table.
    pub(super) fn table(&self, text: &str) -> Result<&'a TableSchema, String> {
        let text = text.trim();
        let inner = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).unwrap_or(text).trim();
        let (schema, name) = match call(inner) {
            Some(("ref", arguments)) => match arguments.as_slice() {
                [name] | [_, name] => (None, name.clone()),
                _ => return Err(format!("'{inner}' is not understood")),
            },
            Some(("source", arguments)) => match arguments.as_slice() {
                [source, name] => {
                    let (schema, name) = self.source_table(source, name);
                    (Some(schema), name)
                }
                _ => return Err(format!("'{inner}' is not understood")),
            },
            Some(_) => return Err(format!("'{inner}' is not understood")),
            None => match inner.rsplit_once('.') {
                Some((schema, name)) => (Some(schema.to_owned()), name.to_owned()),
                None => (None, inner.to_owned()),
            },
        };
        find_table(self.names.schemas, schema.as_deref(), &name).ok_or_else(|| format!("there is no table {name}"))
    }

    /// What this file says of a source's schema and of the name its table goes by.
    fn source_table(&self, source: &str, table: &str) -> (String, String) {
        let named = |node: &&Node, name: &str| entry(node, "name").and_then(Node::text) == Some(name);
        let sources = super::items(entry(&self.names.document.root, "sources"));
        let declared = sources.iter().find(|node| named(node, source));
        let schema = declared.and_then(|node| entry(node, "schema")?.text()).unwrap_or(source);
        let tables = super::items(declared.and_then(|node| entry(node, "tables")));
        let declared_table = tables.iter().find(|node| named(node, table));
        let name = declared_table.and_then(|node| entry(node, "identifier")?.text()).unwrap_or(table);
        (schema.to_owned(), name.to_owned())
    }

    fn value(&self, template: &str) -> Result<String, String> {
        match call(template) {
            Some(("ref" | "source", _)) => Ok(quoted_table(&self.table(template)?.name)),
            Some(("var", arguments)) => match arguments.as_slice() {
                [name] => variable(self.names.document.file(), name)?
                    .ok_or_else(|| format!("no dbt_project.yml gives variable '{name}' a value")),
                [name, default] => {
                    let given = variable(self.names.document.file(), name)?;
                    Ok(given.unwrap_or_else(|| default.clone()))
                }
                _ => Err(format!("'{template}' is not understood")),
            },
            _ => Err(format!("the template '{{{{ {template} }}}}' is not understood")),
        }
    }
}

/// `name('a', "b", 3)` as its name and the texts of its arguments.
fn call(text: &str) -> Option<(&str, Vec<String>)> {
    let (name, rest) = text.split_once('(')?;
    let arguments = rest.trim_end().strip_suffix(')')?;
    let name = name.trim();
    if !matches!(name, "ref" | "source" | "var") {
        return Some((name, Vec::new()));
    }
    let argument = Regex::new(r#"^\s*(?:'([^']*)'|"([^"]*)"|(-?[0-9.]+))\s*(?:,|$)"#).ok()?;
    let mut found = Vec::new();
    let mut rest = arguments;
    while !rest.trim().is_empty() {
        let captures = argument.captures(rest)?;
        let text = captures.iter().skip(1).flatten().next()?;
        found.push(text.as_str().to_owned());
        rest = rest.get(captures.get(0)?.end()..)?;
    }
    Some((name, found))
}

/// A variable of the nearest `dbt_project.yml` above the file; one of any package of it. `None` where there is no such file,
/// or no such variable in it.
///
/// # Errors
/// A file that cannot be read: what it says of the variable is not known.
fn variable(file: &Path, name: &str) -> Result<Option<String>, String> {
    let projects = file.ancestors().skip(1).map(|folder| folder.join("dbt_project.yml"));
    let Some(project) = projects.into_iter().find(|path| path.exists()) else { return Ok(None) };
    let document = Document::read(&project);
    let told = |error: AuditError| error.to_string().replace('\n', " ");
    let document = document.map_err(|error| format!("variable '{name}' is not known: failed to {}", told(error)))?;
    let Some(variables) = entry(&document.root, "vars") else { return Ok(None) };
    let scalar = |node: &Node| match &node.content {
        Content::Scalar(text) => Some(text.clone()),
        _ => None,
    };
    let global = entry(variables, name).and_then(scalar);
    let of_package = || entries(variables).iter().find_map(|(_, package)| entry(package, name).and_then(scalar));
    Ok(global.or_else(of_package))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_not_guessed_where_its_file_cannot_be_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("models/schema.yml");
        assert_eq!(variable(&file, "most"), Ok(None));
        let project = |text: &str| std::fs::write(folder.path().join("dbt_project.yml"), text).expect("a file");
        project("vars:\n  most: 5\n  shop: {least: 2}\n");
        assert_eq!(variable(&file, "most"), Ok(Some("5".to_owned())));
        assert_eq!(variable(&file, "least"), Ok(Some("2".to_owned())));
        assert_eq!(variable(&file, "other"), Ok(None));
        project("vars: [\n");
        let error = variable(&file, "most").expect_err("it is no YAML");
        assert!(error.contains("'most' is not known") && error.contains("dbt_project.yml"), "{error}");
    }

    #[test]
    fn calls_are_read() {
        assert_eq!(call("ref('orders')"), Some(("ref", vec!["orders".to_owned()])));
        assert_eq!(call("source(\"shop\", 'orders')"), Some(("source", vec!["shop".to_owned(), "orders".to_owned()])));
        assert_eq!(call("var('max', 10)"), Some(("var", vec!["max".to_owned(), "10".to_owned()])));
        assert_eq!(call("ref(model)"), None);
        assert_eq!(call("orders"), None);
    }
}
