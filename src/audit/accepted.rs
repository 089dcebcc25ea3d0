//! Violations that are known and accepted: a file to review, each entry with a reason and an end date.
//!
//! ```yaml
//! accepted:
//!   - rule: order-total-adds-up
//!     until: 2026-12-31
//!     reason: "orders of the old shop, see FIN-1204"
//!     keys:
//!       - { id: "17" }
//! ```

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use jiff::civil::Date;

use super::AuditError;
use super::document::{Content, Document, Node};
use super::key_file::KeyWriter;
use super::mistake::Mistakes;
use super::outcome::{AuditOutcome, RuleStatus, Violation};
use super::rule_set::RuleSet;
use crate::catalog::nearest_name;
use crate::model::{RecordKey, Value};

/// What a file accepts.
#[derive(Clone, Debug, Default)]
pub struct Accepted {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    rule: Arc<str>,
    /// The last day on which it is accepted.
    until: Date,
    reason: String,
    keys: Vec<Cells>,
}

/// The cells of a key by their columns.
type Cells = BTreeMap<Arc<str>, Value>;

/// Violations of one rule to accept.
#[derive(Clone, Copy, Debug)]
pub struct Acceptance<'a> {
    /// The rule's id.
    pub rule: &'a str,
    /// The last day on which they are accepted.
    pub until: Date,
    /// Why.
    pub reason: &'a str,
}

impl Accepted {
    /// Reads the file; one that is not there accepts nothing.
    ///
    /// # Errors
    /// A file that cannot be read, and all of its mistakes: an unknown rule, no reason, no date.
    pub fn read(path: &Path, rules: &RuleSet) -> Result<Accepted, AuditError> {
        if !path.exists() {
            return Ok(Accepted::default());
        }
        Accepted::of(&Document::read(path)?, rules)
    }

    fn of(document: &Document, rules: &RuleSet) -> Result<Accepted, AuditError> {
        let mut mistakes = Mistakes::default();
        let mut accepted = Accepted::default();
        if let Some(fields) =
            document.fields(&document.root, "the file of accepted violations", &["accepted"], &mut mistakes)
        {
            let list = fields.require("accepted", &mut mistakes);
            match list.map(|list| (&list.content, list)) {
                Some((Content::Sequence(items), _)) => {
                    accepted
                        .entries
                        .extend(items.iter().filter_map(|item| entry(document, item, rules, &mut mistakes)));
                }
                Some((_, list)) => {
                    let help = Some("begin each entry with '- rule: …'".to_owned());
                    mistakes.push(document.location(list), format!("accepted is {}", list.kind()), help);
                }
                None => {}
            }
        }
        if mistakes.is_empty() { Ok(accepted) } else { Err(AuditError::Mistakes(mistakes.sorted())) }
    }

    /// Takes what is accepted on this day out of the outcome, so that only what is new counts; says so of its rule.
    ///
    /// # Errors
    /// Violations too many for memory, and a disk that does not take them.
    pub fn apply(&self, outcome: &mut AuditOutcome, rules: &RuleSet, today: Date) -> Result<(), AuditError> {
        let mut valid: HashMap<(&str, &Cells), &Entry> = HashMap::new();
        for entry in self.entries.iter().filter(|entry| entry.until >= today) {
            valid.extend(entry.keys.iter().map(|key| ((entry.rule.as_ref(), key), entry)));
        }
        let mut taken: BTreeMap<Arc<str>, (u64, &Entry)> = BTreeMap::new();
        let mut is_accepted = |rule: &Arc<str>, key: &RecordKey| {
            let cells = cells_of(key);
            let Some(entry) = valid.get(&(rule.as_ref(), &cells)) else { return false };
            let (count, first_to_end) = taken.entry(Arc::clone(rule)).or_insert((0, entry));
            *count += 1;
            if entry.until < first_to_end.until {
                *first_to_end = entry;
            }
            true
        };
        outcome.violations.retain(|violation| !is_accepted(&violation.rule, &violation.key));
        for unlisted in
            outcome.unlisted.iter_mut().filter(|unlisted| valid.keys().any(|(rule, _)| *rule == &*unlisted.rule))
        {
            let mut left = KeyWriter::create()?;
            unlisted.keys.for_each(|key| if is_accepted(&unlisted.rule, &key) { Ok(()) } else { left.push(&key) })?;
            unlisted.keys = Arc::new(left.finish()?);
        }
        outcome.unlisted.retain(|unlisted| unlisted.keys.count() > 0);
        for told in &mut outcome.rules {
            let Some(rule) = rules.rules().iter().find(|rule| rule.id == told.id) else { continue };
            if told.status == RuleStatus::Error {
                continue;
            }
            let mut notes: Vec<String> = told.message.take().into_iter().collect();
            if let Some((count, entry)) = taken.get(&told.id) {
                told.violations = told.violations.saturating_sub(*count);
                let level = rule.level(told.violations, told.checked);
                told.status = if level.is_some() { RuleStatus::Fail } else { RuleStatus::Pass };
                told.severity = level.unwrap_or(rule.severity);
                notes.push(format!("{count} more accepted until {}: {}", entry.until, entry.reason));
            }
            if let Some(entry) = self.entries.iter().find(|entry| entry.rule == told.id && entry.until < today) {
                notes.push(format!("what was accepted until {} counts again: {}", entry.until, entry.reason));
            }
            told.message = (!notes.is_empty()).then(|| notes.join("; "));
        }
        Ok(())
    }

    /// Appends the violations of a rule that stand now to the file, and hands back how many. What stood in the file stays
    /// as it is.
    ///
    /// # Errors
    /// A file that cannot be written, or to which nothing can be appended.
    pub fn append(
        path: &Path,
        rules: &RuleSet,
        acceptance: Acceptance<'_>,
        violations: &[Violation],
    ) -> Result<usize, AuditError> {
        let refuse = |reason: String| AuditError::Accept { path: path.to_owned(), reason };
        let mut text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(refuse(error.to_string())),
        };
        let mut of_rule = violations.iter().filter(|violation| violation.rule.as_ref() == acceptance.rule).peekable();
        if of_rule.peek().is_none() {
            return Ok(0);
        }
        if text.trim().is_empty() {
            text = "# Violations that are known and accepted; after its last day an entry counts for nothing.\naccepted:\n".to_owned();
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let Acceptance { rule, until, reason } = acceptance;
        text.push_str(&format!(
            "  - rule: {}\n    until: {until}\n    reason: {}\n    keys:\n",
            quoted(rule),
            quoted(reason)
        ));
        let mut count = 0;
        for violation in of_rule {
            let cells: Vec<String> = violation
                .key
                .iter()
                .map(|(column, value)| {
                    format!("{}: {}", quoted(column), value.as_str().map_or("null".to_owned(), quoted))
                })
                .collect();
            text.push_str(&format!("      - {{ {} }}\n", cells.join(", ")));
            count += 1;
        }
        let read_again = Document::parse(path, text.clone()).and_then(|document| Accepted::of(&document, rules));
        read_again.map_err(|error| refuse(format!("nothing can be appended to it ({error})")))?;
        let partial = path.with_extension("yaml.partial");
        let written = std::fs::write(&partial, &text).and_then(|()| std::fs::rename(&partial, path));
        written.map_err(|error| refuse(error.to_string()))?;
        Ok(count)
    }
}

/// A text as YAML reads it back: JSON's quotes are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

fn cells_of(key: &RecordKey) -> Cells {
    key.iter().map(|(column, value)| (Arc::clone(column), value.clone())).collect()
}

fn entry(document: &Document, node: &Node, rules: &RuleSet, mistakes: &mut Mistakes) -> Option<Entry> {
    let before = mistakes.len();
    let fields = document.fields(node, "an accepted violation", &["rule", "until", "reason", "keys"], mistakes)?;
    let rule = fields.require_text("rule", mistakes);
    let reason = fields.require_text("reason", mistakes);
    let until = fields.require_text("until", mistakes);
    let keys = fields.require("keys", mistakes);
    let known = rule.and_then(|id| rules.rules().iter().find(|rule| rule.id.as_ref() == id));
    if let (Some(id), None, Some(place)) = (rule, known, fields.get("rule")) {
        let nearest = nearest_name(id, rules.rules().iter().map(|rule| rule.id.as_ref()));
        let help = nearest.map_or_else(
            || "take the entry out where the rule is gone".to_owned(),
            |nearest| format!("did you mean {nearest}?"),
        );
        mistakes.push(document.location(place), format!("there is no rule '{id}'"), Some(help));
    }
    let date = until.and_then(|text| text.parse::<Date>().ok());
    if let (Some(text), None, Some(place)) = (until, date, fields.get("until")) {
        let help = Some("write the last day, as 2026-12-31".to_owned());
        mistakes.push(document.location(place), format!("'{text}' is no date"), help);
    }
    let keys = key_list(document, keys?, mistakes);
    if mistakes.len() > before {
        return None;
    }
    Some(Entry { rule: Arc::clone(&known?.id), until: date?, reason: reason?.to_owned(), keys })
}

fn key_list(document: &Document, node: &Node, mistakes: &mut Mistakes) -> Vec<Cells> {
    let Content::Sequence(items) = &node.content else {
        let help = Some("write a list of keys: - { id: \"17\" }".to_owned());
        mistakes.push(document.location(node), format!("keys is {}", node.kind()), help);
        return Vec::new();
    };
    let mut keys = Vec::with_capacity(items.len());
    for item in items {
        let Content::Mapping(cells) = &item.content else {
            let help = Some("write each key column with its value: { id: \"17\" }".to_owned());
            mistakes.push(document.location(item), format!("a key is {}", item.kind()), help);
            continue;
        };
        let cell = |(column, value): &(Node, Node)| {
            let value = match &value.content {
                Content::Null => Value::NULL,
                _ => Value::text(value.text()?),
            };
            Some((Arc::from(column.text()?), value))
        };
        match cells.iter().map(cell).collect::<Option<Cells>>() {
            Some(cells) if cells.is_empty() => {
                let help =
                    Some("a table or a release as a whole is not accepted: give its rule other bounds".to_owned());
                mistakes.push(document.location(item), "a key names no column", help);
            }
            Some(cells) => keys.push(cells),
            None => mistakes.push(document.location(item), "a key holds something that is no text", None),
        }
    }
    keys
}
