//! Rules files: found, read, and checked against the tables that they are about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::AuditError;
use super::document::{Content, Document};
use super::import;
use super::mistake::{Mistake, Mistakes};
use super::names::{Names, Schemas};
use super::planning;
use super::rule::Rule;
use super::rule_reader::read_rule;

/// The rules of one or more files; there is at least one, and no two have the same id.
#[derive(Clone, Debug)]
pub struct RuleSet {
    rules: Vec<Rule>,
    not_understood: Mistakes,
}

impl RuleSet {
    /// Loads every rule of the files, and of every `.yaml` and `.yml` file in the folders, at any depth.
    ///
    /// # Errors
    /// A path that cannot be read; no rule at all; and all mistakes of all files at once, each with its place: keys,
    /// tables and columns that do not exist, SQL that does not parse or that the engine refuses, an id twice.
    pub async fn load(paths: &[PathBuf], schemas: &Schemas) -> Result<RuleSet, AuditError> {
        let mut rules = Vec::new();
        let mut mistakes = Mistakes::default();
        let mut not_understood = Mistakes::default();
        let mut foreign_files = BTreeSet::new();
        for file in files_of(paths)? {
            match Document::read(&file) {
                Ok(document) => match import::read(&Names { document: &document, schemas }, &mut not_understood) {
                    Some(imported) => {
                        rules.extend(imported);
                        foreign_files.insert(file);
                    }
                    None => rules.extend(read_rules(&document, schemas, &mut mistakes)),
                },
                Err(AuditError::Mistakes(found)) => mistakes.extend(found),
                Err(other) => return Err(other),
            }
        }
        note_repeated_ids(&rules, &mut mistakes);
        planning::note_refusals(&rules, schemas, &mut mistakes).await?;
        // What another tool's file says is not ours to correct: it is told, and the rest is checked.
        let is_foreign = |mistake: &Mistake| foreign_files.contains(mistake.location.file.as_ref());
        let (foreign, mistakes) = mistakes.split(is_foreign);
        rules.retain(|rule| {
            !foreign.iter().any(|mistake| [&rule.location, &rule.check_location].contains(&&mistake.location))
        });
        not_understood.extend(foreign);
        if !mistakes.is_empty() {
            return Err(AuditError::Mistakes(mistakes.sorted()));
        }
        if rules.is_empty() && !not_understood.is_empty() {
            return Err(AuditError::Mistakes(not_understood.sorted()));
        }
        if rules.is_empty() {
            return Err(AuditError::NoRules(paths.to_vec()));
        }
        Ok(RuleSet { rules, not_understood: not_understood.sorted() })
    }

    /// What stands in files of other tools (dbt, Soda) and is not checked, each with its place.
    pub fn not_understood(&self) -> &Mistakes {
        &self.not_understood
    }

    /// The rules in the order of the files, and within a file in its order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

/// The files in the order given, those of a folder by name.
fn files_of(paths: &[PathBuf]) -> Result<Vec<PathBuf>, AuditError> {
    let mut files = Vec::new();
    for path in paths {
        let refuse = |error: std::io::Error| AuditError::File { path: path.clone(), reason: error.to_string() };
        if std::fs::metadata(path).map_err(refuse)?.is_dir() {
            collect_files(path, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), AuditError> {
    let refuse = |error: std::io::Error| AuditError::File { path: folder.to_owned(), reason: error.to_string() };
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(refuse)? {
        entries.push(entry.map_err(refuse)?.path());
    }
    entries.sort();
    for path in entries {
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if path.is_dir() {
            collect_files(&path, files)?;
        } else if is_yaml {
            files.push(path);
        }
    }
    Ok(())
}

/// The rules of one file; notes what is wrong with it.
pub(super) fn read_rules(document: &Document, schemas: &Schemas, mistakes: &mut Mistakes) -> Vec<Rule> {
    let Some(fields) = document.fields(&document.root, "a rules file", &["rules"], mistakes) else { return Vec::new() };
    let Some(list) = fields.require("rules", mistakes) else { return Vec::new() };
    let Content::Sequence(items) = &list.content else {
        let help = Some("begin each rule with '- id: …'".to_owned());
        mistakes.push(document.location(list), format!("rules is {}", list.kind()), help);
        return Vec::new();
    };
    let names = Names { document, schemas };
    items.iter().filter_map(|item| read_rule(&names, item, mistakes)).collect()
}

fn note_repeated_ids(rules: &[Rule], mistakes: &mut Mistakes) {
    let mut first: BTreeMap<&Arc<str>, &Rule> = BTreeMap::new();
    for rule in rules {
        if let Some(earlier) = first.get(&rule.id) {
            let message = format!("rule id '{}' is taken by {}", rule.id, earlier.location);
            mistakes.push(rule.location.clone(), message, Some("give it an id of its own".to_owned()));
            continue;
        }
        first.insert(&rule.id, rule);
    }
}
