//! Statements that differ only in literals, comments and white space have one template.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

/// The statement with its literals as `?`, its keywords and names as written, its comments dropped and its white space
/// folded; a list of literals counts as one. Where literals are more than values, as the body of a DO is, they stay. What
/// the tokenizer does not know is its own template.
pub fn template(sql: &str) -> String {
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize() else {
        return sql.split_whitespace().collect::<Vec<_>>().join(" ");
    };
    let first = tokens.iter().find_map(|token| match token {
        Token::Word(word) => Some(word.value.to_ascii_lowercase()),
        _ => None,
    });
    let keeps_literals = matches!(first.as_deref(), Some("do" | "create" | "set" | "prepare" | "declare" | "copy"));
    let mut words: Vec<String> = Vec::new();
    for token in tokens {
        let word = match token {
            Token::Whitespace(Whitespace::Space | Whitespace::Newline | Whitespace::Tab) => " ".to_owned(),
            Token::Whitespace(_) | Token::SemiColon => continue,
            literal if keeps_literals => literal.to_string(),
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::Placeholder(_) => "?".to_owned(),
            other => other.to_string(),
        };
        if word == " " && words.last().is_none_or(|last| last == " ") {
            continue;
        }
        words.push(word);
    }
    let mut text = words.concat().trim().to_owned();
    while text.contains("?, ?") || text.contains("?,?") {
        text = text.replace("?, ?", "?").replace("?,?", "?");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::template;

    #[test]
    fn literals_comments_and_spaces_do_not_matter() {
        let one = template("UPDATE t /* a */ SET a = 1,\n  b = 'x' WHERE id IN (1, 2,3) -- why\n;");
        assert_eq!(one, template("UPDATE t SET a = $1, b = 'it''s' WHERE id IN ($3)"));
        assert_eq!(one, "UPDATE t SET a = ?, b = ? WHERE id IN (?)");
        assert_eq!(template("SELECT U&'ann', N'ann', B'01', X'1f', E'ann'"), "SELECT ?");
        assert_ne!(template("DO $$ BEGIN DELETE FROM t; END $$"), template("DO $$ BEGIN DELETE FROM u; END $$"));
    }
}
