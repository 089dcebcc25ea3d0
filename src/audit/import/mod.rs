//! Rules that other tools' files hold, read where they are: one folder or file a format, and one line in [`FORMATS`].
//!
//! In: a YAML document that is no rules file of ours. Out: rules, each translated to the YAML of a rule with the places of
//! what it stands for, and read as one. What cannot be translated is noted with its place: it is told, not skipped.

use super::document::{Content, Document, Node};
use super::mistake::Mistakes;
use super::names::Names;
use super::rule::Rule;
use super::rule_reader::read_rule;

mod dbt;
mod soda;
#[cfg(test)]
mod tests_support;

/// Every format.
const FORMATS: &[ImportFormat] = &[dbt::FORMAT, soda::FORMAT];

/// A format of another tool.
pub(super) struct ImportFormat {
    /// Whether a document is of this format.
    recognises: fn(&Document) -> bool,
    /// Reads its rules.
    read: fn(&mut Import<'_>),
}

/// One file on its way to rules.
pub(super) struct Import<'a> {
    names: &'a Names<'a>,
    /// What was not understood.
    notes: &'a mut Mistakes,
    rules: Vec<Rule>,
}

/// The rules of a document of another tool; `None` where it is of none that is known. What is not understood goes to
/// `notes`.
pub(super) fn read(names: &Names<'_>, notes: &mut Mistakes) -> Option<Vec<Rule>> {
    let format = FORMATS.iter().find(|format| (format.recognises)(names.document))?;
    let mut import = Import { names, notes, rules: Vec::new() };
    (format.read)(&mut import);
    Some(import.rules)
}

impl Import<'_> {
    fn note(&mut self, node: &Node, message: impl Into<String>, help: Option<String>) {
        self.notes.push(self.names.document.location(node), message, help);
    }

    /// Reads a rule in our own YAML; its id is made one of its own within the file.
    fn add(&mut self, id: &str, place: &Node, mut entries: Vec<(&'static str, Node)>) {
        let taken = |rules: &[Rule], id: &str| rules.iter().any(|rule| rule.id.as_ref() == id);
        let mut own = id.to_owned();
        let mut number = 2_u64;
        while taken(&self.rules, &own) {
            own = format!("{id}_{number}");
            number += 1;
        }
        entries.insert(0, ("id", place.text_here(own)));
        let rule = place.mapping_here(entries);
        self.rules.extend(read_rule(self.names, &rule, self.notes));
    }
}

/// The value of a key of a mapping; a key that holds nothing counts as left out.
fn entry<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    entries(node)
        .iter()
        .find(|(name, _)| name.text() == Some(key))
        .map(|(_, value)| value)
        .filter(|value| !matches!(value.content, Content::Null))
}

fn entry_text<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    entry(node, key)?.text()
}

fn entries(node: &Node) -> &[(Node, Node)] {
    match &node.content {
        Content::Mapping(entries) => entries,
        _ => &[],
    }
}

/// The items of a list; none where it is no list.
fn items(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.content) {
        Some(Content::Sequence(items)) => items,
        _ => &[],
    }
}
