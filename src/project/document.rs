//! A TOML document read section by section: every key is asked for, and what nobody asked for is a mistake.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ProjectError, SourceLocation};

/// The text of a project file, for pointing into it.
pub(super) struct Document<'text> {
    file: PathBuf,
    text: &'text str,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// One table of the document. [`Section::finish`] must be called once all known keys were asked for.
pub(super) struct Section<'document, 'text> {
    document: &'document Document<'text>,
    table: &'document DeTable<'text>,
    known: BTreeSet<&'static str>,
}

impl<'text> Document<'text> {
    pub(super) fn new(file: &Path, text: &'text str) -> Self {
        Document { file: file.to_owned(), text }
    }

    /// Parses the text; [`Document::root`] reads what comes back.
    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'text>>, ProjectError> {
        DeTable::parse(self.text)
            .map_err(|error| self.mistake(error.span().unwrap_or(0..0), error.message().trim().replace('\n', ", ")))
    }

    pub(super) fn root<'document>(&'document self, root: &'document DeTable<'text>) -> Section<'document, 'text> {
        Section { document: self, table: root, known: BTreeSet::new() }
    }

    pub(super) fn location(&self, span: Range<usize>) -> SourceLocation {
        SourceLocation::of_span(self.file.clone(), self.text, span)
    }

    pub(super) fn mistake(&self, span: Range<usize>, reason: impl Into<String>) -> ProjectError {
        ProjectError::Invalid { location: self.location(span), reason: reason.into() }
    }

    fn wrong_type(&self, value: &Spanned<DeValue<'_>>, key: &str, wanted: &str) -> ProjectError {
        self.mistake(value.span(), format!("`{key}` must be {wanted}, not {}", described(value.get_ref())))
    }

    fn text_of(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<Located<String>, ProjectError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(Located { value: text.to_string(), span: value.span() }),
            _ => Err(self.wrong_type(value, key, "a text")),
        }
    }
}

impl<'document, 'text> Section<'document, 'text> {
    fn get(&mut self, key: &'static str) -> Option<&'document Spanned<DeValue<'text>>> {
        self.known.insert(key);
        self.table.get(key)
    }

    /// Where a key of this section stands, or its value where the key cannot be found.
    pub(super) fn key_span(&self, key: &str) -> Range<usize> {
        self.table.get_key_value(key).map_or(0..0, |(key, _)| key.span())
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<Located<String>>, ProjectError> {
        let document = self.document;
        self.get(key).map(|value| document.text_of(key, value)).transpose()
    }

    /// A text that must be there; `what` names the section in the message.
    pub(super) fn required_text(
        &mut self,
        key: &'static str,
        span: Range<usize>,
    ) -> Result<Located<String>, ProjectError> {
        let document = self.document;
        self.text(key)?.ok_or_else(|| document.mistake(span, format!("`{key}` is missing here")))
    }

    /// A text, or TOML's own date and time as text.
    pub(super) fn time_text(&mut self, key: &'static str) -> Result<Option<Located<String>>, ProjectError> {
        let document = self.document;
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Datetime(time) => Ok(Some(Located { value: time.to_string(), span: value.span() })),
            DeValue::String(text) => Ok(Some(Located { value: text.to_string(), span: value.span() })),
            _ => Err(document.wrong_type(value, key, "a time such as \"2026-03-02T10:00:00Z\"")),
        }
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, ProjectError> {
        let document = self.document;
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(boolean) => Ok(Some(*boolean)),
            _ => Err(document.wrong_type(value, key, "true or false")),
        }
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &'static str) -> Result<Option<Vec<Located<String>>>, ProjectError> {
        let document = self.document;
        let Some(value) = self.get(key) else { return Ok(None) };
        let DeValue::Array(items) = value.get_ref() else {
            return Err(document.wrong_type(value, key, "a list of texts, such as [\"a\"]"));
        };
        items.iter().map(|item| document.text_of(key, item)).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn section(&mut self, key: &'static str) -> Result<Option<Section<'document, 'text>>, ProjectError> {
        let document = self.document;
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Table(table) => Ok(Some(document.root(table))),
            _ => Err(document.wrong_type(value, key, &format!("a section: [{key}]"))),
        }
    }

    /// The sections under `key` by their free names, such as `[tables."public.orders"]`.
    pub(super) fn named_sections(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<(Located<String>, Section<'document, 'text>)>, ProjectError> {
        let document = self.document;
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let DeValue::Table(table) = value.get_ref() else {
            return Err(document.wrong_type(value, key, &format!("sections: [{key}.\"name\"]")));
        };
        table
            .iter()
            .map(|(name, value)| match value.get_ref() {
                DeValue::Table(table) => {
                    let name = Located { value: name.get_ref().to_string(), span: name.span() };
                    Ok((name, document.root(table)))
                }
                _ => Err(document.wrong_type(value, name.get_ref(), &format!("a section: [{key}.\"name\"]"))),
            })
            .collect()
    }

    /// The sections of a list, such as `[[deploy]]`, each with where it begins.
    pub(super) fn listed_sections(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<(Range<usize>, Section<'document, 'text>)>, ProjectError> {
        let document = self.document;
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let DeValue::Array(items) = value.get_ref() else {
            return Err(document.wrong_type(value, key, &format!("a list of sections, each begun with [[{key}]]")));
        };
        items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::Table(table) => Ok((item.span(), document.root(table))),
                _ => Err(document.wrong_type(item, key, &format!("a list of sections, each begun with [[{key}]]"))),
            })
            .collect()
    }

    /// Refuses the first key that nobody asked for.
    pub(super) fn finish(self) -> Result<(), ProjectError> {
        let mut unknown: Vec<_> =
            self.table.keys().filter(|key| !self.known.contains(key.get_ref().as_ref())).collect();
        unknown.sort_by_key(|key| key.span().start);
        match unknown.first() {
            None => Ok(()),
            Some(key) => {
                let name = key.get_ref();
                let suggestion = nearest(name, self.known.iter().copied());
                Err(self.document.mistake(key.span(), format!("unknown key `{name}`{suggestion}")))
            }
        }
    }
}

fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// `: did you mean …?`, or what may stand there where nothing is near.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = &'static str> + Clone) -> String {
    let similarity = |candidate: &str| strsim::jaro_winkler(&name.to_lowercase(), candidate);
    match known.clone().max_by(|left, right| similarity(left).total_cmp(&similarity(right))) {
        Some(candidate) if similarity(candidate) > 0.6 => format!(": did you mean `{candidate}`?"),
        Some(_) => format!(": expected one of {}", known.map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")),
        None => String::new(),
    }
}
