//! Clauses that the parser does not know: elements that are set, SEARCH and CYCLE.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::{DEFAULTS, ELEMENT, FARTHEST, LONGEST_NAME, Rewriting, is_space, keyword, quoted};

impl Rewriting {
    /// Behind a SET: `a[i] = …` sets an element, and is `a."element" = "element"(i) || …`. Notes where such begin, and
    /// where the value does.
    pub(super) fn elements_set(&mut self, place: usize) {
        let mut at = self.after(place);
        let end = self.tokens.len().min(place + FARTHEST);
        while at < end {
            if self.token(at) == Some(&Token::LParen) {
                // A row of columns.
                at = self.after(self.closed(at, end));
            }
            // A longer run of words is no name.
            for _ in 0..LONGEST_NAME {
                if matches!(self.token(at), Some(Token::Word(_) | Token::Period)) {
                    at = self.after(at);
                }
            }
            let bracket = at;
            while self.token(at) == Some(&Token::LBracket) && at < end {
                at = self.after(self.closed(at, end));
                while matches!(self.token(at), Some(Token::Word(_) | Token::Period)) && at < end {
                    at = self.after(at);
                }
            }
            if self.token(at) != Some(&Token::Eq) {
                return;
            }
            if at > bracket {
                self.elements.insert(bracket, at);
            }
            // To the comma before the next.
            while at < end {
                match self.token(at) {
                    Some(Token::LParen | Token::LBracket) => at = self.closed(at, end),
                    Some(Token::Comma) => break,
                    Some(Token::RParen | Token::SemiColon) | None => return,
                    Some(Token::Word(_))
                        if matches!(
                            self.keyword_at(at),
                            Some(Keyword::WHERE | Keyword::FROM | Keyword::RETURNING | Keyword::WHEN | Keyword::SET)
                        ) =>
                    {
                        return;
                    }
                    _ => {}
                }
                at = self.after(at);
            }
            at = self.after(at);
        }
    }

    /// Where the parenthesis or bracket that opens here is closed; the end where it is not, or none opens here.
    fn closed(&self, open: usize, end: usize) -> usize {
        let mut depth = 0_usize;
        for at in open..end {
            match self.token(at) {
                Some(Token::LParen | Token::LBracket) => depth += 1,
                Some(Token::RParen | Token::RBracket) if depth > 1 => depth -= 1,
                Some(Token::RParen | Token::RBracket) if depth == 1 => return at,
                _ if depth == 0 => break,
                _ => {}
            }
        }
        end
    }

    /// The element that is set here, put in other words; the place of its value.
    pub(super) fn element(&mut self, place: usize, span: Span) -> Option<usize> {
        let equals = self.elements.remove(&place)?;
        self.push(Token::Period, span);
        self.push(quoted(ELEMENT), span);
        self.push(Token::Eq, span);
        self.push(quoted(ELEMENT), span);
        self.push(Token::LParen, span);
        let mut depth = 0_usize;
        let mut is_first = true;
        for token in self.tokens.get(place..equals)?.to_vec() {
            match token.token {
                Token::LBracket if depth == 0 => {
                    if !is_first {
                        self.push(Token::Comma, token.span);
                    }
                    (depth, is_first) = (1, false);
                }
                Token::RBracket if depth == 1 => depth = 0,
                // A field of the element.
                _ if depth == 0 => {}
                // The bounds of a slice.
                Token::Colon if depth == 1 => self.push(Token::Comma, token.span),
                _ => {
                    match token.token {
                        Token::LBracket | Token::LParen => depth += 1,
                        Token::RBracket | Token::RParen => depth -= 1,
                        _ => {}
                    }
                    self.kept.push(token);
                }
            }
        }
        self.push(Token::RParen, span);
        self.push(Token::StringConcat, span);
        Some(equals + 1)
    }

    /// `INSERT INTO t (a[1], b)`: in the list of columns, which element it is says nothing.
    pub(super) fn element_inserted(&mut self, place: usize) -> Option<usize> {
        // Only names stand before it in the list: whatever else is met ends the look back.
        let is_listed = |token: &TokenWithSpan| {
            is_space(token) || matches!(token.token, Token::Word(_) | Token::Period | Token::Comma)
        };
        let back = self.kept.iter().rev().take(FARTHEST).position(|token| !is_listed(token))?;
        let opened = self.kept.len().checked_sub(back + 1)?;
        self.kept.get(opened).filter(|token| token.token == Token::LParen)?;
        let named = self.kept.get(..opened)?.iter().rev().filter(|token| !is_space(token)).take(LONGEST_NAME + 1);
        let into = named.take_while(|token| matches!(token.token, Token::Word(_) | Token::Period));
        let is_list = into.into_iter().any(|token| keyword(token) == Some(Keyword::INTO));
        is_list.then(|| self.closed(place, self.tokens.len().min(place + FARTHEST)) + 1)
    }

    /// `r AS (…) SEARCH DEPTH FIRST BY a SET o CYCLE b SET c USING p` is
    /// `r AS (…), r AS (SELECT *, ROW(a) AS o, ROW(b) AS c, ROW(b) AS p FROM r)`.
    pub(super) fn searched(&mut self, place: usize, span: Span) -> Option<usize> {
        if self.before_token() != Some(&Token::RParen) {
            return None;
        }
        let name = self.common_table_before()?;
        let mut added: Vec<(Vec<TokenWithSpan>, TokenWithSpan)> = Vec::new();
        let mut at = place;
        loop {
            match self.keyword_at(at) {
                Some(Keyword::SEARCH) => {
                    let by = (0..3).fold(at, |at, _| self.after(at));
                    if self.keyword_at(by) != Some(Keyword::BY) {
                        return None;
                    }
                    let (columns, set) = self.names_until(by, Keyword::SET)?;
                    let ordering = self.after(set);
                    added.push((columns, self.tokens.get(ordering)?.clone()));
                    at = self.after(ordering);
                }
                Some(Keyword::CYCLE) => {
                    let (columns, set) = self.names_until(at, Keyword::SET)?;
                    let mark = self.after(set);
                    let (_, using) = self.names_until(mark, Keyword::USING)?;
                    let path = self.after(using);
                    added.push((columns.clone(), self.tokens.get(mark)?.clone()));
                    added.push((columns, self.tokens.get(path)?.clone()));
                    at = self.after(path);
                }
                _ => break,
            }
        }
        self.push(Token::Comma, span);
        self.kept.push(name.clone());
        self.push_word("AS", span);
        self.push(Token::LParen, span);
        self.push_word("SELECT", span);
        self.push(Token::Mul, span);
        for (columns, column) in added {
            self.push(Token::Comma, span);
            self.push_word("ROW", span);
            self.push(Token::LParen, span);
            self.kept.extend(columns);
            self.push(Token::RParen, span);
            self.push_word("AS", span);
            self.kept.push(column);
        }
        self.push_word("FROM", span);
        self.kept.push(name);
        self.push(Token::RParen, span);
        Some(at)
    }

    /// `EXECUTE FUNCTION f('a', 1)` of a trigger: its function has no parameters, and what it is given no dependencies.
    pub(super) fn trigger_arguments(&mut self, place: usize) -> Option<usize> {
        let mut open = self.after(place);
        for _ in 0..LONGEST_NAME {
            if matches!(self.token(open), Some(Token::Word(_) | Token::Period)) {
                open = self.after(open);
            }
        }
        let closed = self.closed(open, self.tokens.len().min(open + FARTHEST));
        if self.token(open) != Some(&Token::LParen) || self.token(closed) != Some(&Token::RParen) {
            return None;
        }
        let call = self.tokens.get(place..=open)?.iter().chain(self.tokens.get(closed)).cloned();
        self.kept.extend(call);
        Some(closed + 1)
    }

    /// Words that say nothing of what flows where, or that the parser wants left out where they stand.
    pub(super) fn without_effect(&mut self, word: Keyword, place: usize, span: Span) -> Option<usize> {
        let next = self.after(place);
        match word {
            // COLLATE "C", COLLATE pg_catalog.default
            Keyword::COLLATE if matches!(self.token(next), Some(Token::Word(_))) => {
                let qualified = self.token(self.after(next)) == Some(&Token::Period);
                Some(if qualified { self.after(self.after(next)) + 1 } else { next + 1 })
            }
            Keyword::SYMMETRIC | Keyword::ASYMMETRIC if self.before() == Some(Keyword::BETWEEN) => Some(place + 1),
            Keyword::DISTINCT if self.before() == Some(Keyword::BY) => Some(place + 1),
            Keyword::EXCLUDE => self.excluded_from_frame(place),
            Keyword::LEADING | Keyword::TRAILING | Keyword::BOTH if self.keyword_at(next) == Some(Keyword::FROM) => {
                self.push_word(
                    if word == Keyword::LEADING {
                        "LEADING"
                    } else if word == Keyword::BOTH {
                        "BOTH"
                    } else {
                        "TRAILING"
                    },
                    span,
                );
                Some(next + 1)
            }
            Keyword::CONFLICT if self.before() == Some(Keyword::ON) => self.partial_conflict(place),
            // WHEN NOT MATCHED THEN INSERT DEFAULT VALUES
            Keyword::DEFAULT
                if self.first != Some(Keyword::INSERT)
                    && self.before() == Some(Keyword::INSERT)
                    && self.keyword_at(next) == Some(Keyword::VALUES) =>
            {
                for token in [Token::LParen, quoted(DEFAULTS), Token::RParen] {
                    self.push(token, span);
                }
                self.push_word("VALUES", span);
                self.push(Token::LParen, span);
                self.push_word("NULL", span);
                self.push(Token::RParen, span);
                Some(next + 1)
            }
            _ => None,
        }
    }

    /// `EXCLUDE TIES` of a window's frame: the place behind it.
    fn excluded_from_frame(&self, place: usize) -> Option<usize> {
        let next = self.after(place);
        let is = |at: usize, wanted: &str| matches!(self.token(at), Some(Token::Word(word)) if word.value.eq_ignore_ascii_case(wanted));
        if is(next, "ties") || is(next, "group") {
            return Some(next + 1);
        }
        let last = self.after(next);
        let of_two = (is(next, "current") && is(last, "row")) || (is(next, "no") && is(last, "others"));
        of_two.then_some(last + 1)
    }

    /// `JOIN … USING (a, b) AS j`: without the name that the columns have together.
    pub(super) fn joined_columns(&mut self, place: usize) -> Option<usize> {
        let mut close = self.after(place);
        if self.token(close) != Some(&Token::LParen) {
            return None;
        }
        while self.token(close) != Some(&Token::RParen) {
            let name = self.after(close);
            close = self.after(name);
            let is_listed = matches!(self.token(close), Some(Token::Comma | Token::RParen));
            if !matches!(self.token(name), Some(Token::Word(_))) || !is_listed {
                return None;
            }
        }
        let word = self.after(close);
        let alias = self.after(word);
        if self.keyword_at(word) != Some(Keyword::AS) || !matches!(self.token(alias), Some(Token::Word(_))) {
            return None;
        }
        let kept = self.tokens.get(place..=close)?.to_vec();
        self.kept.extend(kept);
        Some(alias + 1)
    }

    /// `'1 day'::interval PRECEDING`: the parser knows the bound of a frame without its type.
    pub(super) fn bound_of_frame(&mut self) {
        let behind_type =
            |token: &TokenWithSpan| is_space(token) || matches!(token.token, Token::Word(_) | Token::Period);
        let length = self.kept.iter().rev().take(2 * LONGEST_NAME).take_while(|token| behind_type(token)).count();
        let Some(cast) = self.kept.len().checked_sub(length + 1) else { return };
        let is_cast = self.kept.get(cast).is_some_and(|token| token.token == Token::DoubleColon);
        let of = cast.checked_sub(1).and_then(|before| self.kept.get(before));
        if is_cast && of.is_some_and(|token| matches!(token.token, Token::SingleQuotedString(_))) {
            let span = of.map_or_else(Span::empty, |token| token.span);
            self.kept.truncate(cast);
            self.push(Token::Whitespace(sqlparser::tokenizer::Whitespace::Space), span);
        }
    }

    /// `ON CONFLICT (a) WHERE …`: which index is meant decides on no row.
    fn partial_conflict(&mut self, place: usize) -> Option<usize> {
        let open = self.after(place);
        if self.token(open) != Some(&Token::LParen) {
            return None;
        }
        let end = self.tokens.len().min(place + FARTHEST);
        let closed = self.closed(open, end);
        let condition = self.after(closed);
        if self.keyword_at(condition) != Some(Keyword::WHERE) {
            return None;
        }
        let action = (condition..end).find(|at| self.keyword_at(*at) == Some(Keyword::DO))?;
        let kept = self.tokens.get(place..=closed)?.to_vec();
        self.kept.extend(kept);
        Some(action)
    }

    /// The names between a place and a word, with their commas, and the word's place.
    fn names_until(&self, place: usize, word: Keyword) -> Option<(Vec<TokenWithSpan>, usize)> {
        let mut names = Vec::new();
        let mut at = self.after(place);
        while self.keyword_at(at) != Some(word) {
            match self.token(at)? {
                Token::SemiColon | Token::LParen | Token::RParen => return None,
                _ => names.push(self.tokens.get(at)?.clone()),
            }
            at = self.after(at);
        }
        Some((names, at))
    }

    /// The name of the common table expression whose query has just been taken over.
    fn common_table_before(&self) -> Option<TokenWithSpan> {
        let mut words = self.kept.iter().rev().take(FARTHEST).filter(|token| !is_space(token));
        // Its parenthesis is the last that was closed.
        words.next()?;
        let mut depth = 1_usize;
        while depth > 0 {
            match words.next()?.token {
                Token::RParen => depth += 1,
                Token::LParen => depth -= 1,
                _ => {}
            }
        }
        let mut word = words.next()?;
        while matches!(keyword(word), Some(Keyword::MATERIALIZED | Keyword::NOT)) {
            word = words.next()?;
        }
        if keyword(word) != Some(Keyword::AS) {
            return None;
        }
        word = words.next()?;
        if word.token == Token::RParen {
            while word.token != Token::LParen {
                word = words.next()?;
            }
            word = words.next()?;
        }
        matches!(word.token, Token::Word(_)).then(|| word.clone())
    }
}
