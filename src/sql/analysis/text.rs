//! The text behind tokens.

use std::cell::Cell;

use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Whitespace};

/// The text behind the tokens.
pub(super) struct Text<'t> {
    sql: &'t str,
    lines: Vec<usize>,
    /// A place that is known: line and column, from 0, and the byte. Statements follow one another: the next is not far.
    known: Cell<(usize, usize, usize)>,
}

impl<'t> Text<'t> {
    pub(super) fn new(sql: &'t str) -> Self {
        let breaks = sql.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(place, _)| place + 1);
        Text { sql, lines: std::iter::once(0).chain(breaks).collect(), known: Cell::new((0, 0, 0)) }
    }

    fn offset(&self, location: Location) -> usize {
        let line = usize::try_from(location.line.saturating_sub(1)).unwrap_or(usize::MAX);
        let column = usize::try_from(location.column.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(begin) = self.lines.get(line) else { return self.sql.len() };
        let (known_line, known_column, known_place) = self.known.get();
        let near = known_line == line && known_column <= column;
        let (from, skipped) = if near { (known_place, known_column) } else { (*begin, 0) };
        let rest = self.sql.get(from..).unwrap_or_default();
        let place = from + rest.char_indices().nth(column - skipped).map_or(rest.len(), |(place, _)| place);
        self.known.set((line, column, place));
        place
    }

    /// What is written from one token up to another, without white space around it.
    pub(super) fn between(&self, tokens: &[TokenWithSpan], start: usize, end: usize) -> &'t str {
        let spelled = |token: &&TokenWithSpan| {
            !matches!(token.token, Token::Whitespace(Whitespace::Space | Whitespace::Newline | Whitespace::Tab))
        };
        let range = tokens.get(start..end.min(tokens.len())).unwrap_or_default();
        let (Some(first), Some(last)) = (range.iter().find(spelled), range.iter().rev().find(spelled)) else {
            return "";
        };
        self.sql.get(self.offset(first.span.start)..self.offset(last.span.end)).unwrap_or_default().trim()
    }
}
