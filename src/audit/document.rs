//! A YAML file with the place of everything in it.
//!
//! In: a file. Out: a [`Document`] of [`Node`]s, whose scalars are texts as they were written (a number never goes
//! through a float), each with its line and column, so that whoever reads the nodes can point at what is wrong.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::mistake::{Location, Mistakes};
use super::{AuditError, fields::Fields};

/// A file read and parsed.
#[derive(Debug)]
pub struct Document {
    /// What it holds.
    pub root: Node,
    lines: Lines,
}

/// The text of a file, to point into.
#[derive(Clone, Debug)]
struct Lines {
    file: Arc<Path>,
    text: Arc<str>,
}

/// One value of the file.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub content: Content,
    line: usize,
    column: usize,
    /// The bytes of the file that spell a scalar, quotes included.
    span: Option<Range<usize>>,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Content {
    /// `null`, `~`, or nothing at all.
    Null,
    /// A text, number or boolean, as text.
    Scalar(String),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order of the file.
    Mapping(Vec<(Node, Node)>),
}

impl Document {
    /// Reads a YAML file.
    ///
    /// # Errors
    /// A file that cannot be read ([`AuditError::File`]), or is no YAML ([`AuditError::Mistakes`]).
    pub fn read(file: &Path) -> Result<Document, AuditError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| AuditError::File { path: file.to_owned(), reason: error.to_string() })?;
        Document::parse(file, text)
    }

    /// Parses the text of a YAML file.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub fn parse(file: &Path, text: String) -> Result<Document, AuditError> {
        let lines = Lines { file: file.into(), text: text.into() };
        let options = serde_saphyr::options! { with_snippet: false };
        match serde_saphyr::from_str_with_options::<Spanned<Raw>>(&lines.text, options) {
            Ok(raw) => Ok(Document { root: node_of(raw, &lines), lines }),
            Err(error) => {
                let (line, column) =
                    error.location().map_or((1, 1), |place| (size(place.line()), size(place.column())));
                let mut mistakes = Mistakes::default();
                mistakes.push(lines.location(line, column), syntax_message(&error), None);
                Err(AuditError::Mistakes(mistakes))
            }
        }
    }

    /// The file.
    pub(super) fn file(&self) -> &Path {
        &self.lines.file
    }

    /// The place where a node begins.
    pub fn location(&self, node: &Node) -> Location {
        self.lines.location(node.line, node.column)
    }

    /// The place of a line and column (1 for the first) within the text of a scalar; where its spelling (folded
    /// lines, escapes) hides that place, where the scalar begins.
    pub fn location_within(&self, node: &Node, line: usize, column: usize) -> Location {
        self.place_within(node, line, column).unwrap_or_else(|| self.location(node))
    }

    fn place_within(&self, node: &Node, line: usize, column: usize) -> Option<Location> {
        let Content::Scalar(text) = &node.content else { return None };
        let wanted = text.lines().nth(line.checked_sub(1)?)?;
        let span = node.span.clone()?;
        // The line of the scalar stands as it is in one of the file's lines that the scalar covers.
        let start_of_line = self.lines.text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
        let covered = self.lines.text.get(start_of_line..span.end)?;
        let first = self.lines.text[..start_of_line].matches('\n').count() + 1;
        let mut candidates = covered.lines().enumerate().filter_map(|(position, file_line)| {
            let from = if position == 0 { span.start - start_of_line } else { 0 };
            let offset = from + file_line.get(from..)?.find(wanted)?;
            Some((first + position, file_line[..offset].chars().count()))
        });
        let (file_line, offset) = if line == 1 { candidates.next() } else { candidates.last() }?;
        Some(self.lines.location(file_line, offset + column))
    }

    /// The keys and values of a node that must be a mapping of `known` keys; what is not is noted in `mistakes`.
    pub fn fields<'d>(
        &'d self,
        node: &'d Node,
        what: &'static str,
        known: &'static [&'static str],
        mistakes: &mut Mistakes,
    ) -> Option<Fields<'d>> {
        Fields::read(self, node, what, known, mistakes)
    }
}

impl Node {
    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// A text that stands for what is written here.
    pub(super) fn text_here(&self, text: String) -> Node {
        self.here(Content::Scalar(text))
    }

    /// A list that stands for what is written here.
    pub(super) fn list_here(&self, items: Vec<Node>) -> Node {
        self.here(Content::Sequence(items))
    }

    /// A mapping that stands for what is written here.
    pub(super) fn mapping_here(&self, entries: Vec<(&'static str, Node)>) -> Node {
        let entries = entries.into_iter().map(|(key, value)| (self.text_here(key.to_owned()), value));
        self.here(Content::Mapping(entries.collect()))
    }

    /// Something that stands for what is written here.
    pub(super) fn here(&self, content: Content) -> Node {
        Node { content, line: self.line, column: self.column, span: None }
    }

    /// What the node is, in words.
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::Null => "nothing",
            Content::Scalar(_) => "a text",
            Content::Sequence(_) => "a list",
            Content::Mapping(_) => "a mapping",
        }
    }
}

impl Lines {
    fn location(&self, line: usize, column: usize) -> Location {
        let line_text = self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        Location { file: Arc::clone(&self.file), line, column, line_text: line_text.into() }
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX).max(1)
}

/// The parser's message without the place, which is told apart.
fn syntax_message(error: &serde_saphyr::Error) -> String {
    let message = error.without_snippet().to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    format!("this is no YAML: {}", message.trim_end_matches([' ', ':']))
}

/// A node as the YAML library hands it over.
enum Raw {
    Null,
    /// A text in quotes, or one that is no number and no boolean.
    Text(String),
    /// A number or boolean, whose spelling is in the file.
    Plain(String),
    Sequence(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

fn node_of(raw: Spanned<Raw>, lines: &Lines) -> Node {
    let place = raw.referenced;
    let spelling = raw.defined.span();
    let span = spelling.byte_offset().zip(spelling.byte_len()).and_then(|(offset, length)| {
        let start = usize::try_from(offset).ok()?;
        Some(start..start.checked_add(usize::try_from(length).ok()?)?)
    });
    let content = match raw.value {
        Raw::Null => Content::Null,
        Raw::Text(text) => Content::Scalar(text),
        Raw::Plain(parsed) => {
            let spelled = span.clone().and_then(|span| lines.text.get(span)).map(|text| text.trim().to_owned());
            Content::Scalar(spelled.unwrap_or(parsed))
        }
        Raw::Sequence(items) => Content::Sequence(items.into_iter().map(|item| node_of(item, lines)).collect()),
        Raw::Mapping(entries) => Content::Mapping(
            entries.into_iter().map(|(key, value)| (node_of(key, lines), node_of(value, lines))).collect(),
        ),
    };
    Node { content, line: size(place.line()), column: size(place.column()), span }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

macro_rules! visit_plain {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E>(self, value: $type) -> Result<Raw, E> { Ok(Raw::Plain(value.to_string())) })*
    };
}

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a text, a list or a mapping")
    }

    visit_plain!(visit_bool: bool, visit_i64: i64, visit_i128: i128, visit_u64: u64, visit_u128: u128, visit_f64: f64);

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut sequence = Vec::new();
        while let Some(item) = items.next_element()? {
            sequence.push(item);
        }
        Ok(Raw::Sequence(sequence))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut mapping = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            mapping.push(entry);
        }
        Ok(Raw::Mapping(mapping))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Document {
        Document::parse(Path::new("rules.yaml"), text.to_owned()).expect(text)
    }

    fn entry<'d>(document: &'d Document, wanted: &str) -> &'d Node {
        let Content::Mapping(entries) = &document.root.content else { panic!("a mapping") };
        &entries.iter().find(|(key, _)| key.text() == Some(wanted)).expect(wanted).1
    }

    #[test]
    fn scalars_keep_their_spelling_and_their_place() {
        let document =
            parse("a: 10.50\nb: '007'\nc: true\nd:\ne: [1e3, \"x\", 18446744073709551616]\nf: &n 2.0\ng: *n\n");
        assert_eq!(entry(&document, "a").text(), Some("10.50"));
        assert_eq!(entry(&document, "b").text(), Some("007"));
        assert_eq!(entry(&document, "c").text(), Some("true"));
        assert_eq!(entry(&document, "d").kind(), "nothing");
        assert_eq!(entry(&document, "g").text(), Some("2.0"));
        let Content::Sequence(items) = &entry(&document, "e").content else { panic!("a list") };
        assert_eq!(items.iter().filter_map(Node::text).collect::<Vec<_>>(), ["1e3", "x", "18446744073709551616"]);
        let place = document.location(&items[1]);
        assert_eq!(
            (place.line, place.column, place.line_text.as_ref()),
            (5, 10, "e: [1e3, \"x\", 18446744073709551616]")
        );
    }

    #[test]
    fn a_place_within_a_scalar_is_found() {
        let document =
            parse("a: total > 0\nb: \"total > 0\"\nc: |\n  SELECT\n    totl\n  FROM t\nd: >\n  total\n  > 0\n");
        let place = |key: &str, line, column| {
            let found = document.location_within(entry(&document, key), line, column);
            (found.line, found.column)
        };
        assert_eq!(place("a", 1, 7), (1, 10));
        assert_eq!(place("b", 1, 7), (2, 11));
        assert_eq!(place("c", 2, 3), (5, 5));
        // Folded lines are no longer the lines of the file.
        assert_eq!(place("d", 1, 7), (8, 3));
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_place() {
        for (text, line) in [("a: [1\nb: 2\n", 2), ("a: 1\na: 2\n", 2), ("a: 'open\n", 1)] {
            let error = Document::parse(Path::new("rules.yaml"), text.to_owned()).expect_err(text).to_string();
            assert!(error.contains(&format!("rules.yaml:{line}:")) && !error.contains(" at line "), "{error}");
        }
    }
}
