//! PostgreSQL's spellings that the parser does not know, as others that mean the same and that it knows.
//!
//! In: the tokens of a text. Out: tokens that can be parsed; each new one stands where the one it replaces stood.

mod clauses;

use std::collections::BTreeMap;

use sqlparser::ast::DollarQuotedString;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

/// The function that stands for `CURRENT OF` a cursor, which is its argument. No name of a catalog is spelled so.
pub(super) const CURRENT_OF: &str = "current of";

/// The column that a MERGE's DO NOTHING sets. No name of a catalog is spelled so.
pub(super) const DO_NOTHING: &str = "do nothing";

/// What stands behind a column of which an element is set, and the function of that element's place. No name of a catalog
/// is spelled so.
pub(super) const ELEMENT: &str = "element of";

/// The column that a MERGE's INSERT DEFAULT VALUES names. No name of a catalog is spelled so.
pub(super) const DEFAULTS: &str = "default values";

/// How many tokens the longest name has: catalog, schema, table, and the periods between.
const LONGEST_NAME: usize = 5;

/// How far is looked for what belongs to a word: a text of such words alone is read in time linear in its length.
const FARTHEST: usize = 2_000;

/// The tokens with what the parser does not know put in other words.
pub(super) fn understood(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let has_brackets = tokens.iter().any(|token| token.token == Token::LBracket);
    if !has_brackets && !tokens.iter().any(|token| keyword(token).is_some_and(is_of_interest)) {
        return tokens;
    }
    let mut rewriting = Rewriting { has_brackets, ..Rewriting::of(tokens) };
    let mut place = 0;
    while place < rewriting.tokens.len() {
        place = rewriting.step(place);
    }
    rewriting.end_of_view();
    rewriting.kept
}

fn is_of_interest(word: Keyword) -> bool {
    matches!(
        word,
        Keyword::CURRENT
            | Keyword::ROWS
            | Keyword::ONLY
            | Keyword::VALUE
            | Keyword::DATA
            | Keyword::PROCEDURE
            | Keyword::TABLE
            | Keyword::STDIN
            | Keyword::NOTHING
            | Keyword::ATOMIC
            | Keyword::VIEW
            | Keyword::TRIGGER
            | Keyword::VARIADIC
            | Keyword::SEARCH
            | Keyword::CYCLE
            | Keyword::COLLATE
            | Keyword::CONFLICT
            | Keyword::SYMMETRIC
            | Keyword::ASYMMETRIC
            | Keyword::EXCLUDE
            | Keyword::DISTINCT
            | Keyword::LEADING
            | Keyword::TRAILING
            | Keyword::BOTH
            | Keyword::DEFAULT
            | Keyword::USING
            | Keyword::PRECEDING
            | Keyword::FOLLOWING
    )
}

struct Rewriting {
    tokens: Vec<TokenWithSpan>,
    kept: Vec<TokenWithSpan>,
    /// The first word of the statement.
    first: Option<Keyword>,
    /// The name of the recursive view whose query is being read.
    view: Option<Vec<TokenWithSpan>>,
    /// A body was met that never ends: no later one does.
    unended: bool,
    has_brackets: bool,
    /// Where elements of columns are set: the bracket's place, and that of the equals sign.
    elements: BTreeMap<usize, usize>,
}

impl Rewriting {
    fn of(tokens: Vec<TokenWithSpan>) -> Self {
        Rewriting {
            kept: Vec::with_capacity(tokens.len() + 8),
            tokens,
            first: None,
            view: None,
            unended: false,
            has_brackets: false,
            elements: BTreeMap::new(),
        }
    }

    /// Takes over what begins here; the place after it.
    fn step(&mut self, place: usize) -> usize {
        let Some(TokenWithSpan { token, span }) = self.tokens.get(place) else { return place + 1 };
        let span = *span;
        let next = match token {
            Token::SemiColon => {
                self.end_of_view();
                self.first = None;
                None
            }
            Token::LBracket => self.element(place, span).or_else(|| self.element_inserted(place)),
            Token::Word(word) if word.quote_style.is_none() => {
                let word = word.keyword;
                self.first.get_or_insert(word);
                self.rewritten(word, place, span)
            }
            _ => None,
        };
        if let Some(next) = next {
            return next;
        }
        // What has been taken over is not looked at where it stood.
        if let Some(token) = self.tokens.get_mut(place) {
            self.kept.push(std::mem::replace(token, TokenWithSpan::new_eof()));
        }
        place + 1
    }

    fn rewritten(&mut self, word: Keyword, place: usize, span: Span) -> Option<usize> {
        match word {
            Keyword::CURRENT => self.current_of(place, span),
            Keyword::ROWS
                if matches!(self.before(), Some(Keyword::FROM | Keyword::JOIN | Keyword::LATERAL))
                    || self.before_token() == Some(&Token::Comma) =>
            {
                self.rows_from(place, span)
            }
            Keyword::SET if self.has_brackets => {
                self.elements_set(place);
                None
            }
            Keyword::SEARCH | Keyword::CYCLE => self.searched(place, span),
            // In a call it says that the last argument is many.
            Keyword::VARIADIC
                if !matches!(self.first, Some(Keyword::CREATE | Keyword::ALTER | Keyword::DROP | Keyword::COMMENT)) =>
            {
                Some(place + 1)
            }
            Keyword::COLLATE
            | Keyword::CONFLICT
            | Keyword::SYMMETRIC
            | Keyword::ASYMMETRIC
            | Keyword::EXCLUDE
            | Keyword::DISTINCT
            | Keyword::LEADING
            | Keyword::TRAILING
            | Keyword::BOTH
            | Keyword::DEFAULT => self.without_effect(word, place, span),
            Keyword::USING => self.joined_columns(place),
            Keyword::PRECEDING | Keyword::FOLLOWING => {
                self.bound_of_frame();
                None
            }
            Keyword::ONLY => self.only(place),
            Keyword::VALUE => self.overriding(place),
            Keyword::DATA => self.with_data(place),
            Keyword::FUNCTION | Keyword::PROCEDURE
                if self.first == Some(Keyword::CREATE) && self.before() == Some(Keyword::EXECUTE) =>
            {
                self.trigger_arguments(place)
            }
            Keyword::PROCEDURE if self.is_created() => {
                self.push_word("FUNCTION", span);
                Some(place + 1)
            }
            Keyword::TABLE if self.is_query() && self.names_table(self.after(place)) => {
                self.push_word("SELECT", span);
                self.push(Token::Mul, span);
                self.push_word("FROM", span);
                Some(place + 1)
            }
            Keyword::TABLE if self.first == Some(Keyword::CREATE) => self.columns_without_types(place),
            Keyword::STDIN => self.standard_input(place, span),
            Keyword::NOTHING => self.do_nothing(place, span),
            Keyword::ATOMIC if self.before() == Some(Keyword::BEGIN) => self.atomic(place, span),
            Keyword::RECURSIVE if self.keyword_at(self.after(place)) == Some(Keyword::VIEW) => {
                self.recursive_view(place)
            }
            _ => None,
        }
    }

    /// `ONLY t`: without its children, of which nothing is known here.
    fn only(&mut self, place: usize) -> Option<usize> {
        let before_table =
            matches!(self.before(), Some(Keyword::UPDATE | Keyword::FROM | Keyword::JOIN | Keyword::USING));
        let before_table = before_table || self.before_token() == Some(&Token::Comma);
        let next = self.after(place);
        if before_table && self.token(next) == Some(&Token::LParen) {
            // ONLY (t)
            let mut at = self.after(next);
            let mut name = Vec::new();
            while matches!(self.token(at), Some(Token::Word(_) | Token::Period)) && name.len() < LONGEST_NAME {
                name.push(self.tokens.get(at)?.clone());
                at = self.after(at);
            }
            let is_name = !name.is_empty() && self.token(at) == Some(&Token::RParen);
            if is_name {
                self.kept.append(&mut name);
            }
            return is_name.then_some(at + 1);
        }
        (before_table && matches!(self.token(next), Some(Token::Word(_)))).then_some(next)
    }

    /// `COPY … FROM STDIN`: behind it the parser would take the statements that follow for data.
    fn standard_input(&mut self, place: usize, span: Span) -> Option<usize> {
        if self.first != Some(Keyword::COPY) || self.before() != Some(Keyword::FROM) {
            return None;
        }
        self.push(Token::SingleQuotedString("stdin".to_owned()), span);
        Some(place + 1)
    }

    /// `OVERRIDING SYSTEM VALUE`, which says nothing of where values come from.
    fn overriding(&mut self, place: usize) -> Option<usize> {
        let mut words = self.kept.iter().enumerate().rev().filter(|(_, token)| !is_space(token));
        words.next().filter(|(_, token)| matches!(keyword(token), Some(Keyword::SYSTEM | Keyword::USER)))?;
        let (at, _) = words.next().filter(
            |(_, token)| matches!(&token.token, Token::Word(word) if word.value.eq_ignore_ascii_case("overriding")),
        )?;
        self.kept.truncate(at);
        Some(place + 1)
    }

    /// `WITH DATA`, `WITH NO DATA`: what a table is defined by is the same.
    fn with_data(&mut self, place: usize) -> Option<usize> {
        let mut words = self.kept.iter().enumerate().rev().filter(|(_, token)| !is_space(token)).peekable();
        words.next_if(|(_, token)| keyword(token) == Some(Keyword::NO));
        let (at, _) = words.next().filter(|(_, token)| keyword(token) == Some(Keyword::WITH))?;
        self.kept.truncate(at);
        Some(place + 1)
    }

    /// `WHERE CURRENT OF c`.
    fn current_of(&mut self, place: usize, span: Span) -> Option<usize> {
        let of = self.after(place);
        let cursor = self.after(of);
        if self.before() != Some(Keyword::WHERE) || self.keyword_at(of) != Some(Keyword::OF) {
            return None;
        }
        let name = self.tokens.get(cursor).filter(|token| matches!(token.token, Token::Word(_)))?.clone();
        self.push(quoted(CURRENT_OF), span);
        self.push(Token::LParen, span);
        let end = name.span;
        self.kept.push(name);
        self.push(Token::RParen, end);
        Some(cursor + 1)
    }

    /// `FROM ROWS FROM (f(…), g(…))`: all functions' columns come from all their arguments.
    fn rows_from(&mut self, place: usize, span: Span) -> Option<usize> {
        let from = self.after(place);
        let opens = self.tokens.get(self.after(from)).is_some_and(|token| token.token == Token::LParen);
        if self.keyword_at(from) != Some(Keyword::FROM) || !opens {
            return None;
        }
        self.push_word("rows_from", span);
        Some(from + 1)
    }

    /// Whether a TABLE here begins a query: `TABLE t` is `SELECT * FROM t`.
    fn is_query(&self) -> bool {
        let before = self.kept.iter().rev().find(|token| !is_space(token));
        match before.map(|token| &token.token) {
            None | Some(Token::SemiColon | Token::LParen) => true,
            Some(Token::RParen) => matches!(self.first, Some(Keyword::INSERT | Keyword::WITH)),
            Some(Token::Word(word)) => {
                matches!(
                    word.keyword,
                    Keyword::AS | Keyword::ALL | Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT
                ) || self.first == Some(Keyword::INSERT)
            }
            _ => false,
        }
    }

    fn names_table(&self, place: usize) -> bool {
        self.tokens.get(place).is_some_and(|token| matches!(token.token, Token::Word(_)))
    }

    fn is_created(&self) -> bool {
        self.first == Some(Keyword::CREATE) && matches!(self.before(), Some(Keyword::CREATE | Keyword::REPLACE))
    }

    /// `CREATE TABLE t (a, b) AS …`: the parser wants types.
    fn columns_without_types(&mut self, place: usize) -> Option<usize> {
        let mut at = self.after(place);
        while matches!(self.keyword_at(at), Some(Keyword::IF | Keyword::NOT | Keyword::EXISTS)) {
            at = self.after(at);
        }
        for _ in 0..LONGEST_NAME {
            if matches!(self.token(at), Some(Token::Word(_) | Token::Period)) {
                at = self.after(at);
            }
        }
        let open = at;
        let mut names = Vec::new();
        let close = loop {
            let name = self.after(at);
            if !matches!(self.token(name), Some(Token::Word(_))) {
                return None;
            }
            names.push(name);
            at = self.after(name);
            match self.token(at) {
                Some(Token::Comma) => {}
                Some(Token::RParen) => break at,
                _ => return None,
            }
        };
        let follows = self.keyword_at(self.after(close));
        let is_query =
            matches!(follows, Some(Keyword::AS | Keyword::WITH | Keyword::ON | Keyword::TABLESPACE | Keyword::USING));
        if self.token(open) != Some(&Token::LParen) || !is_query {
            return None;
        }
        for copied in place..=close {
            let token = self.tokens.get(copied)?.clone();
            let span = token.span;
            self.kept.push(token);
            if names.contains(&copied) {
                self.push_word("text", span);
            }
        }
        Some(close + 1)
    }

    /// `WHEN … THEN DO NOTHING` of a MERGE; what stands between decides on the arms after it.
    fn do_nothing(&mut self, place: usize, span: Span) -> Option<usize> {
        let mut words = self.kept.iter().enumerate().rev().filter(|(_, token)| !is_space(token));
        let (at, _) = words.next().filter(|(_, token)| keyword(token) == Some(Keyword::DO))?;
        words.next().filter(|(_, token)| keyword(token) == Some(Keyword::THEN))?;
        let arm: Vec<Option<Keyword>> = words
            .map(|(_, token)| keyword(token))
            .take(FARTHEST)
            .take_while(|word| *word != Some(Keyword::WHEN))
            .collect();
        let matched = arm.iter().rposition(|word| *word == Some(Keyword::MATCHED))?;
        let negated = arm.get(matched + 1) == Some(&Some(Keyword::NOT));
        let by_source = matched.checked_sub(2).and_then(|source| arm.get(source)) == Some(&Some(Keyword::SOURCE));
        self.kept.truncate(at);
        if negated && !by_source {
            self.push_word("INSERT", span);
            self.push(Token::LParen, span);
            self.push(quoted(DO_NOTHING), span);
            self.push(Token::RParen, span);
            self.push_word("VALUES", span);
            self.push(Token::LParen, span);
            self.push_word("NULL", span);
            self.push(Token::RParen, span);
        } else {
            self.push_word("UPDATE", span);
            self.push_word("SET", span);
            self.push(quoted(DO_NOTHING), span);
            self.push(Token::Eq, span);
            self.push_word("NULL", span);
        }
        Some(place + 1)
    }

    /// `BEGIN ATOMIC … END`: the body as a text, as other routines have theirs.
    fn atomic(&mut self, place: usize, span: Span) -> Option<usize> {
        if self.unended {
            return None;
        }
        let mut depth = 1_usize;
        let mut at = place + 1;
        while let Some(token) = self.tokens.get(at) {
            match keyword(token) {
                Some(Keyword::CASE | Keyword::BEGIN) => depth += 1,
                Some(Keyword::END) => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            at += 1;
        }
        if depth > 0 {
            self.unended = true;
            return None;
        }
        let body: String = self.tokens.get(place + 1..at)?.iter().map(|token| token.token.to_string()).collect();
        let begin = self.kept.iter().rposition(|token| keyword(token) == Some(Keyword::BEGIN))?;
        self.kept.truncate(begin);
        self.push_word("AS", span);
        let end = self.tokens.get(at).map_or(span, |token| token.span);
        self.push(Token::DollarQuotedString(DollarQuotedString { value: body, tag: None }), end);
        Some(at + 1)
    }

    /// `CREATE RECURSIVE VIEW v (a) AS q` is `CREATE VIEW v (a) AS WITH RECURSIVE v (a) AS (q) SELECT * FROM v`.
    fn recursive_view(&mut self, place: usize) -> Option<usize> {
        let view = self.after(place);
        let rest = self.tokens.get(view + 1..)?;
        let query = view + 1 + rest.iter().take(FARTHEST).position(|token| keyword(token) == Some(Keyword::AS))?;
        let head = self.tokens.get(view..=query)?.to_vec();
        let named = head.get(1..head.len().checked_sub(1)?)?.to_vec();
        let span = head.first()?.span;
        let name: Vec<TokenWithSpan> = named.iter().take_while(|token| token.token != Token::LParen).cloned().collect();
        self.kept.extend(head);
        self.push_word("WITH", span);
        self.push_word("RECURSIVE", span);
        // A common table expression's name has no schema.
        let last = name.iter().rposition(|token| matches!(token.token, Token::Word(_)))?;
        self.kept.extend(name.get(last..)?.iter().cloned());
        self.kept.extend(named.iter().skip(name.len()).cloned());
        self.push_word("AS", span);
        self.push(Token::LParen, span);
        self.view = Some(name.get(last..)?.to_vec());
        Some(query + 1)
    }

    fn end_of_view(&mut self) {
        let Some(name) = self.view.take() else { return };
        let span = name.first().map_or_else(Span::empty, |token| token.span);
        self.push(Token::RParen, span);
        self.push_word("SELECT", span);
        self.push(Token::Mul, span);
        self.push_word("FROM", span);
        self.kept.extend(name);
    }

    fn push(&mut self, token: Token, span: Span) {
        self.kept.push(TokenWithSpan { token, span });
    }

    fn push_word(&mut self, word: &str, span: Span) {
        self.push(Token::make_keyword(word), span);
    }

    /// What was taken over last.
    fn before_token(&self) -> Option<&Token> {
        self.kept.iter().rev().find(|token| !is_space(token)).map(|token| &token.token)
    }

    /// The keyword that was taken over last.
    fn before(&self) -> Option<Keyword> {
        self.kept.iter().rev().find(|token| !is_space(token)).and_then(keyword)
    }

    /// The next place that is no white space.
    fn after(&self, place: usize) -> usize {
        let rest = self.tokens.iter().enumerate().skip(place + 1);
        rest.into_iter().find(|(_, token)| !is_space(token)).map_or(self.tokens.len(), |(place, _)| place)
    }

    fn token(&self, place: usize) -> Option<&Token> {
        self.tokens.get(place).map(|token| &token.token)
    }

    fn keyword_at(&self, place: usize) -> Option<Keyword> {
        self.tokens.get(place).and_then(keyword)
    }
}

fn is_space(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Whitespace(_))
}

fn keyword(token: &TokenWithSpan) -> Option<Keyword> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

fn quoted(name: &str) -> Token {
    Token::Word(Word { value: name.to_owned(), quote_style: Some('"'), keyword: Keyword::NoKeyword })
}

/// What the parser would take for something else than it is, and no more: every `ONLY` before a table is taken out (it
/// leaves out the table's children, of which nothing is known here, and would be the table's name), the STDIN of a COPY
/// is a file of this name (the statements that follow would be its data), and the DO NOTHING of a MERGE, which the parser
/// does not know, sets a column that no table has.
pub fn unmistaken(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let merges = tokens.iter().any(|token| keyword(token) == Some(Keyword::MERGE));
    let is_mistaken = |token: &TokenWithSpan| match keyword(token) {
        Some(Keyword::ONLY | Keyword::STDIN) => true,
        Some(Keyword::NOTHING) => merges,
        _ => false,
    };
    if !tokens.iter().any(is_mistaken) {
        return tokens;
    }
    let mut rewriting = Rewriting::of(tokens);
    let mut place = 0;
    while let Some(token) = rewriting.tokens.get(place).cloned() {
        if token.token == Token::SemiColon {
            rewriting.first = None;
        }
        let word = keyword(&token);
        if let Some(word) = word {
            rewriting.first.get_or_insert(word);
        }
        let rewritten = match word {
            Some(Keyword::ONLY) => rewriting.only(place),
            Some(Keyword::STDIN) => rewriting.standard_input(place, token.span),
            Some(Keyword::NOTHING) => rewriting.do_nothing(place, token.span),
            _ => None,
        };
        place = rewritten.unwrap_or_else(|| {
            rewriting.kept.push(token);
            place + 1
        });
    }
    rewriting.kept
}

/// The text with the data of every `COPY … FROM stdin` blanked out, lines kept; `None` where there is none.
pub(super) fn without_copied_data(sql: &str) -> Option<String> {
    if !sql.contains("\n\\.") {
        return None;
    }
    let mut kept = String::with_capacity(sql.len());
    let mut data = false;
    for line in sql.split_inclusive('\n') {
        if data {
            data = line.trim_end() != "\\.";
            kept.push('\n');
            continue;
        }
        kept.push_str(line);
        let words = line.trim().to_ascii_lowercase();
        data = words.starts_with("copy ") && words.contains(" from stdin") && words.ends_with(';');
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;
    use sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn rewritten(sql: &str) -> String {
        let mut tokens = Vec::new();
        Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location_into_buf(&mut tokens).expect("tokens");
        let tokens = understood(tokens);
        let statement = Parser::new(&PostgreSqlDialect {}).with_tokens_with_locations(tokens).parse_statement();
        statement.map_or_else(|error| format!("{sql}: {error}"), |statement| statement.to_string())
    }

    #[test]
    fn what_the_parser_does_not_know_is_put_in_other_words() {
        for (sql, expected) in [
            ("DELETE FROM t WHERE CURRENT OF c", "DELETE FROM t WHERE \"current of\"(c)"),
            ("TABLE t", "SELECT * FROM t"),
            ("UPDATE ONLY t SET a = 1", "UPDATE t SET a = 1"),
            ("INSERT INTO t TABLE s", "INSERT INTO t SELECT * FROM s"),
            ("CREATE TABLE t (a, b) AS SELECT 1, 2", "CREATE TABLE t (a TEXT, b TEXT) AS SELECT 1, 2"),
            ("CREATE TABLE t (a int)", "CREATE TABLE t (a INT)"),
            ("COPY t FROM STDIN", "COPY t FROM 'stdin'"),
            ("INSERT INTO t OVERRIDING SYSTEM VALUE VALUES (1)", "INSERT INTO t VALUES (1)"),
            (
                "MERGE INTO t USING s ON a = b WHEN NOT MATCHED AND c = 1 THEN DO NOTHING WHEN MATCHED THEN DELETE",
                "MERGE INTO t USING s ON a = b WHEN NOT MATCHED AND c = 1 THEN INSERT (\"do nothing\") VALUES (NULL) \
                 WHEN MATCHED THEN DELETE",
            ),
            (
                "CREATE RECURSIVE VIEW v (n) AS SELECT 1 UNION ALL SELECT n + 1 FROM v",
                "CREATE VIEW v (n) AS WITH RECURSIVE v (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM v) SELECT * FROM v",
            ),
            (
                "CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION s.f('x', 1)",
                "CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION s.f()",
            ),
            ("SELECT * FROM ROWS FROM (f(1), g(2)) AS x", "SELECT * FROM rows_from(f(1), g(2)) AS x"),
        ] {
            assert_eq!(rewritten(sql), expected, "{sql}");
        }
        assert!(rewritten("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END").contains("SELECT 1;"));
    }

    #[test]
    fn data_between_statements_is_no_sql() {
        let text = "COPY t (a) FROM stdin;\nit's\n\\.\nSELECT 1;\n";
        assert_eq!(without_copied_data(text).as_deref(), Some("COPY t (a) FROM stdin;\n\n\nSELECT 1;\n"));
        assert_eq!(without_copied_data("SELECT 1"), None);
    }
}
