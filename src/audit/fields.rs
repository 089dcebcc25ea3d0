//! The keys of a mapping, read one by one; what does not fit is noted, and the reading goes on.

use super::document::{Content, Document, Node};
use super::mistake::Mistakes;
use crate::catalog::nearest_name;

/// A mapping whose keys are all known.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'d> {
    document: &'d Document,
    node: &'d Node,
    what: &'static str,
    entries: &'d [(Node, Node)],
}

impl<'d> Fields<'d> {
    pub(super) fn read(
        document: &'d Document,
        node: &'d Node,
        what: &'static str,
        known: &'static [&'static str],
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let Content::Mapping(entries) = &node.content else {
            let help = format!("write a mapping of {}", known.join(", "));
            mistakes.push(document.location(node), format!("{what} is {}", node.kind()), Some(help));
            return None;
        };
        for (key, _) in entries {
            let name = key.text().unwrap_or_default();
            if !known.contains(&name) {
                let help = match nearest_name(name, known.iter().copied()) {
                    Some(nearest) => format!("did you mean {nearest}?"),
                    None => format!("known keys: {}", known.join(", ")),
                };
                mistakes.push(document.location(key), format!("unknown key '{name}' in {what}"), Some(help));
            }
        }
        Some(Fields { document, node, what, entries })
    }

    /// The node of a key; one that holds nothing counts as left out.
    pub fn get(&self, key: &str) -> Option<&'d Node> {
        let found = self.entries.iter().find(|(name, _)| name.text() == Some(key));
        found.map(|(_, value)| value).filter(|value| !matches!(value.content, Content::Null))
    }

    /// As [`Fields::get`], and a key left out is a mistake.
    pub fn require(&self, key: &'static str, mistakes: &mut Mistakes) -> Option<&'d Node> {
        let found = self.get(key);
        if found.is_none() {
            let place = self.document.location(self.node);
            mistakes.push(place, format!("{} has no '{key}'", self.what), Some(format!("add {key}: …")));
        }
        found
    }

    /// The text of a key; anything but a text is a mistake.
    pub fn text(&self, key: &'static str, mistakes: &mut Mistakes) -> Option<&'d str> {
        text_of(self.document, self.get(key)?, key, mistakes)
    }

    /// As [`Fields::text`], and a key left out is a mistake.
    pub fn require_text(&self, key: &'static str, mistakes: &mut Mistakes) -> Option<&'d str> {
        text_of(self.document, self.require(key, mistakes)?, key, mistakes)
    }

    /// The boolean of a key; anything but `true` and `false` is a mistake.
    pub fn boolean(&self, key: &'static str, mistakes: &mut Mistakes) -> Option<bool> {
        let node = self.get(key)?;
        match node.text() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => {
                let help = Some(format!("write {key}: true or {key}: false"));
                mistakes.push(self.document.location(node), format!("'{key}' is neither true nor false"), help);
                None
            }
        }
    }
}

fn text_of<'d>(document: &Document, node: &'d Node, key: &str, mistakes: &mut Mistakes) -> Option<&'d str> {
    let text = node.text().filter(|text| !text.trim().is_empty());
    if text.is_none() {
        let found = if node.text().is_some() { "empty" } else { node.kind() };
        mistakes.push(document.location(node), format!("'{key}' is {found}"), Some(format!("write a text: {key}: …")));
    }
    text
}

/// The texts of a list; a single text counts as a list of one, anything else is a mistake.
pub(super) fn texts<'d>(
    document: &Document,
    node: &'d Node,
    what: &str,
    mistakes: &mut Mistakes,
) -> Vec<(&'d Node, &'d str)> {
    let items: &[Node] = match &node.content {
        Content::Sequence(items) => items,
        _ => std::slice::from_ref(node),
    };
    if items.is_empty() {
        mistakes.push(
            document.location(node),
            format!("{what} is an empty list"),
            Some("name at least one".to_owned()),
        );
    }
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        match item.text() {
            Some(text) => texts.push((item, text)),
            None => {
                let message = format!("{what} holds {} where a text belongs", item.kind());
                mistakes.push(document.location(item), message, Some("write it in quotes".to_owned()));
            }
        }
    }
    texts
}
