//! A tolerant scan: the tables that stand where tables stand, in a text that does not parse.

use sqlparser::ast::{Ident, ObjectName};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Word};

/// The tables named in the tokens, each with whether it is written. Common table expressions of the text are none.
pub fn scanned_tables(tokens: &[Token]) -> Vec<(ObjectName, bool)> {
    let tokens: Vec<&Token> = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    let uses_tables = matches!(
        tokens.first().and_then(|token| keyword(token)),
        Some(Keyword::DELETE | Keyword::MERGE | Keyword::WITH)
    );
    let mut found: Vec<(ObjectName, bool)> = Vec::new();
    let mut common: Vec<String> = Vec::new();
    for (place, token) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        if follows(&tokens, place + 1, Keyword::AS) && matches!(tokens.get(place + 2), Some(Token::LParen)) {
            common.push(word.value.to_lowercase());
        }
        let before = place.checked_sub(1).and_then(|place| tokens.get(place)).and_then(|token| keyword(token));
        let written = match word.keyword {
            Keyword::FROM if before == Some(Keyword::DELETE) => true,
            // IS DISTINCT FROM, extract(… FROM …) and the like name no table: a parenthesis or value may follow.
            Keyword::FROM if before == Some(Keyword::DISTINCT) => continue,
            // Elsewhere USING names columns, or a format.
            Keyword::USING if !uses_tables => continue,
            Keyword::FROM | Keyword::JOIN | Keyword::USING => false,
            Keyword::INTO | Keyword::TABLE | Keyword::TRUNCATE | Keyword::VIEW => true,
            Keyword::UPDATE if !matches!(before, Some(Keyword::FOR | Keyword::DO | Keyword::ON | Keyword::THEN)) => {
                true
            }
            _ => continue,
        };
        found.extend(names_at(&tokens, place + 1).into_iter().map(|name| (name, written)));
    }
    let is_common = |name: &ObjectName| match name.0.as_slice() {
        [part] => part.as_ident().is_some_and(|ident| common.contains(&ident.value.to_lowercase())),
        _ => false,
    };
    found.retain(|(name, _)| !is_common(name));
    found
}

fn keyword(token: &Token) -> Option<Keyword> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

fn follows(tokens: &[&Token], place: usize, wanted: Keyword) -> bool {
    tokens.get(place).and_then(|token| keyword(token)) == Some(wanted)
}

/// The names that stand from here on, with commas between them.
fn names_at(tokens: &[&Token], place: usize) -> Vec<ObjectName> {
    let mut names = Vec::new();
    let mut place = place;
    while matches!(
        tokens.get(place).and_then(|token| keyword(token)),
        Some(
            Keyword::TABLE
                | Keyword::ONLY
                | Keyword::IF
                | Keyword::NOT
                | Keyword::EXISTS
                | Keyword::LATERAL
                | Keyword::INTO
        )
    ) {
        place += 1;
    }
    loop {
        let mut parts = Vec::new();
        while let Some(Token::Word(word)) = tokens.get(place) {
            if parts.is_empty() && stops(word) {
                return names;
            }
            parts.push(Ident {
                value: word.value.clone(),
                quote_style: word.quote_style,
                span: sqlparser::tokenizer::Span::empty(),
            });
            place += 1;
            if !matches!(tokens.get(place), Some(Token::Period)) {
                break;
            }
            place += 1;
        }
        // A parenthesis after a name in FROM is a function's; after INTO it begins the columns.
        if parts.is_empty() {
            return names;
        }
        names.push(ObjectName::from(parts));
        if follows(tokens, place, Keyword::AS) {
            place += 1;
        }
        if matches!(tokens.get(place), Some(Token::Word(word)) if !stops(word)) {
            place += 1;
        }
        if !matches!(tokens.get(place), Some(Token::Comma)) {
            return names;
        }
        place += 1;
    }
}

/// Whether a word cannot be the name of a table here.
fn stops(word: &Word) -> bool {
    word.quote_style.is_none()
        && matches!(
            word.keyword,
            Keyword::SELECT
                | Keyword::WHERE
                | Keyword::SET
                | Keyword::ON
                | Keyword::GROUP
                | Keyword::ORDER
                | Keyword::JOIN
                | Keyword::LEFT
                | Keyword::RIGHT
                | Keyword::INNER
                | Keyword::CROSS
                | Keyword::FULL
                | Keyword::NATURAL
                | Keyword::UNION
                | Keyword::VALUES
                | Keyword::WITH
                | Keyword::USING
                | Keyword::LIMIT
                | Keyword::HAVING
                | Keyword::RETURNING
                | Keyword::FROM
                | Keyword::DEFAULT
        )
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::tokenizer::Tokenizer;

    use super::*;

    #[test]
    fn tables_are_seen_where_they_stand() {
        for (sql, expected) in [
            ("INSERT INTO a.t SELEC x FROM s, u AS v JOIN w ON", "a.t! s u w"),
            ("WITH c AS (SELECT 1 FROM s) UPDAT c FROM c", "s"),
            ("DELETE FROM t USING s WHERE a IS DISTINCT FROM b", "t! s"),
            ("TRUNCATE TABLE ONLY t, u", "t! u! t! u!"),
        ] {
            let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().expect("it has tokens");
            let shown = scanned_tables(&tokens)
                .into_iter()
                .map(|(name, written)| if written { format!("{name}!") } else { name.to_string() });
            assert_eq!(shown.collect::<Vec<_>>().join(" "), expected, "{sql}");
        }
    }
}
