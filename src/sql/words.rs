//! The words of a text, whatever it says with them: enough to know what a function's body can be about.

use std::collections::BTreeSet;

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

/// Every word of the text, those of literals and comments too, as it stands and folded to lower case.
pub fn words(text: &str) -> BTreeSet<String> {
    let is_of_word = |character: char| character.is_alphanumeric() || character == '_' || character == '$';
    let mut words = BTreeSet::new();
    for word in text.split(|character| !is_of_word(character)).filter(|word| !word.is_empty()) {
        words.insert(word.to_lowercase());
        words.insert(word.to_owned());
    }
    words
}

/// The words that a parenthesis follows, as it stands and folded: what the text can call.
pub fn called(text: &str) -> BTreeSet<String> {
    let is_of_word = |character: char| character.is_alphanumeric() || character == '_' || character == '$';
    let mut called = BTreeSet::new();
    for (place, _) in text.match_indices('(') {
        let before = text[..place].trim_end();
        let before = before.strip_suffix('"').unwrap_or(before);
        let begins = before.char_indices().rev().take_while(|(_, character)| is_of_word(*character)).last();
        if let Some((begins, _)) = begins {
            called.insert(before[begins..].to_lowercase());
            called.insert(before[begins..].to_owned());
        }
    }
    called
}

/// The words that the text has only where rows are inserted into what they name.
pub fn inserted_into(text: &str) -> BTreeSet<String> {
    let is_of_word = |character: char| character.is_alphanumeric() || character == '_' || character == '$';
    let folded = text.to_lowercase();
    let all: Vec<&str> = folded.split(|character| !is_of_word(character)).filter(|word| !word.is_empty()).collect();
    // What is met may be read.
    if all.contains(&"conflict") {
        return BTreeSet::new();
    }
    let (mut inserted, mut otherwise) = (BTreeSet::new(), BTreeSet::new());
    for (place, word) in all.iter().enumerate() {
        let back = |count: usize| place.checked_sub(count).and_then(|before| all.get(before)).copied();
        let follows = |skipped: usize| back(skipped + 1) == Some("into") && back(skipped + 2) == Some("insert");
        // With its schema, or without.
        if follows(0) || follows(1) {
            inserted.insert((*word).to_owned())
        } else {
            otherwise.insert(*word)
        };
    }
    inserted.retain(|word| !otherwise.contains(word.as_str()));
    inserted
}

/// Whether the text can name this: as one of its words, or, where the name is no word, anywhere.
pub fn can_name(text: &str, words: &BTreeSet<String>, name: &str) -> bool {
    let is_word = name.chars().all(|character| character.is_alphanumeric() || character == '_' || character == '$');
    if is_word { words.contains(name) } else { text.contains(name) }
}

/// The word with which a statement begins, in lower case, after comments and parentheses; `None` for what is not
/// understood.
pub fn first_word(sql: &str) -> Option<String> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().ok()?;
    let mut tokens = tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_) | Token::LParen));
    match tokens.next()? {
        Token::Word(word) => Some(word.value.to_lowercase()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_wherever_it_stands() {
        let text =
            r#"EXECUTE 'DELETE FROM ' || quote_ident('Orders') /* prices */; SELECT "Odd Name".a FROM "Odd Name""#;
        let words = words(text);
        for name in ["Orders", "orders", "prices", "Odd Name", "a"] {
            assert!(can_name(text, &words, name), "{name}");
        }
        for name in ["order", "Odder Name", "b"] {
            assert!(!can_name(text, &words, name), "{name}");
        }
    }

    #[test]
    fn what_is_called_has_a_parenthesis() {
        let called = called(r#"SELECT Fee (2), s."Odd"(1), total FROM t WHERE total > (1)"#);
        for (word, expected) in [("fee", true), ("Odd", true), ("total", false), ("t", false)] {
            assert_eq!(called.contains(word), expected, "{word}");
        }
    }

    #[test]
    fn what_is_only_written_is_known() {
        let text = "INSERT INTO public.audit SELECT * FROM orders; insert into Log (a) VALUES (1); MERGE INTO t …; SELECT a INTO b";
        let inserted = inserted_into(text);
        for (word, expected) in [("audit", true), ("log", true), ("orders", false), ("t", false), ("b", false)] {
            assert_eq!(inserted.contains(word), expected, "{word}");
        }
        assert!(!inserted_into("INSERT INTO a SELECT * FROM a").contains("a"));
        assert!(!inserted_into("INSERT INTO a VALUES (1) ON CONFLICT DO NOTHING").contains("a"));
    }

    #[test]
    fn a_statement_is_known_by_its_first_word() {
        for (sql, first) in [
            (" /* a /* b */ */ -- c\n COMMIT", Some("commit")),
            ("(SELECT 1)", Some("select")),
            (";COMMIT", None),
            ("", None),
        ] {
            assert_eq!(first_word(sql).as_deref(), first, "{sql}");
        }
    }
}
