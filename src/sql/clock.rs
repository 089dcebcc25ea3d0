//! The clock in a text: what SQL writes as a keyword becomes a call of a function that can be given the time.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Location, Token, Tokenizer, Word};

use super::words::words;

/// Keywords whose value is the transaction's time.
const KEYWORDS: [&str; 5] = ["current_timestamp", "current_date", "current_time", "localtimestamp", "localtime"];

/// Functions that can be given the time, a sequence's value or their chance; written with their schema, they could not.
const FUNCTIONS: [&str; 17] = [
    "now",
    "transaction_timestamp",
    "statement_timestamp",
    "clock_timestamp",
    "timeofday",
    "age",
    "random",
    "gen_random_uuid",
    "nextval",
    "currval",
    "lastval",
    "setval",
    "txid_current",
    "pg_current_xact_id",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
];

/// Texts that are a time to whoever reads them as one.
const SPECIAL_TIMES: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];

/// The text with every look at the clock as a call of a function of `schema`: `CURRENT_DATE` is
/// `<schema>."current_date"()`. `is_code`: its dollar-quoted strings are bodies of functions.
///
/// # Errors
/// Why the time cannot be given to it: a fragment that fits "it …".
pub fn with_given_time(sql: &str, schema: &str, is_code: bool) -> Result<String, String> {
    let mut spanned = Vec::new();
    let tokenized =
        Tokenizer::new(&PostgreSqlDialect {}, sql).with_unescape(false).tokenize_with_location_into_buf(&mut spanned);
    tokenized.map_err(|error| format!("is not understood: {error}"))?;
    let tokens: Vec<&Token> = spanned.iter().map(|spanned| &spanned.token).collect();
    let places = Places::of(sql);
    let mut given = String::with_capacity(sql.len());
    let mut taken = 0;
    for (place, token) in tokens.iter().enumerate() {
        let replacement = match token {
            Token::Word(word) => of_word(word, &tokens, place, schema),
            Token::DollarQuotedString(quoted) if is_code => {
                let body = with_given_time(&quoted.value, schema, false)?;
                let tag = quoted.tag.as_deref().unwrap_or_default();
                (body != quoted.value).then(|| format!("${tag}${body}${tag}$"))
            }
            other => {
                literal(other).map_or(Ok(()), can_be_given)?;
                None
            }
        };
        if let (Some(replacement), Some(span)) = (replacement, spanned.get(place).map(|spanned| spanned.span)) {
            given.push_str(sql.get(taken..places.of_location(span.start)).unwrap_or_default());
            given.push_str(&replacement);
            taken = places.of_location(span.end);
        }
    }
    given.push_str(sql.get(taken..).unwrap_or_default());
    Ok(given)
}

/// Where each character of a text stands in it, by its line.
struct Places(Vec<Vec<usize>>);

impl Places {
    fn of(sql: &str) -> Self {
        let mut lines = vec![Vec::new()];
        for (place, character) in sql.char_indices() {
            if let Some(line) = lines.last_mut() {
                line.push(place);
            }
            if character == '\n' {
                lines.push(Vec::new());
            }
        }
        if let Some(line) = lines.last_mut() {
            line.push(sql.len());
        }
        Places(lines)
    }

    /// In bytes.
    fn of_location(&self, location: Location) -> usize {
        let at = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        let end = self.0.last().and_then(|line| line.last()).copied().unwrap_or_default();
        let line = self.0.get(at(location.line));
        line.and_then(|line| line.get(at(location.column))).copied().unwrap_or(end)
    }
}

fn literal(token: &Token) -> Option<&str> {
    match token {
        Token::SingleQuotedString(text)
        | Token::EscapedStringLiteral(text)
        | Token::NationalStringLiteral(text)
        | Token::UnicodeStringLiteral(text) => Some(text),
        Token::DollarQuotedString(quoted) => Some(&quoted.value),
        _ => None,
    }
}

/// A literal may be a time, or SQL that is put together only when it runs.
fn can_be_given(text: &str) -> Result<(), String> {
    let trimmed = text.trim().to_ascii_lowercase();
    let of_dynamic_sql = || words(text).into_iter().find(|word| KEYWORDS.contains(&word.as_str()));
    match SPECIAL_TIMES.contains(&trimmed.as_str()) {
        true => Err(format!("may read the clock by the text '{trimmed}'")),
        false => of_dynamic_sql().map_or(Ok(()), |word| Err(format!("reads the clock by {word} in a text of SQL"))),
    }
}

fn of_word(word: &Word, tokens: &[&Token], place: usize, schema: &str) -> Option<String> {
    if word.quote_style.is_some() {
        return None;
    }
    let folded = word.value.to_ascii_lowercase();
    let next = |after: usize| {
        tokens[after..].iter().position(|token| !matches!(token, Token::Whitespace(_))).map(|skipped| after + skipped)
    };
    let follows = next(place + 1).and_then(|next| tokens.get(next)).copied();
    if KEYWORDS.contains(&folded.as_str()) {
        let call = if follows == Some(&Token::LParen) { "" } else { "()" };
        return Some(format!("{schema}.\"{folded}\"{call}"));
    }
    let is_of_catalog = folded == "pg_catalog" && follows == Some(&Token::Period);
    let function = next(place + 1).and_then(|period| next(period + 1)).and_then(|name| tokens.get(name)).copied();
    match function {
        Some(Token::Word(name)) if is_of_catalog && FUNCTIONS.contains(&name.value.to_ascii_lowercase().as_str()) => {
            Some(schema.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_becomes_a_function() {
        for (sql, expected) in [
            ("SELECT CURRENT_DATE - due, now()", "SELECT s.\"current_date\"() - due, now()"),
            ("SELECT current_timestamp (3)", "SELECT s.\"current_timestamp\" (3)"),
            ("SELECT pg_catalog.now(), pg_catalog . random()", "SELECT s.now(), s . random()"),
            ("SELECT \"current_date\", pg_catalog.lower('x')", "SELECT \"current_date\", pg_catalog.lower('x')"),
            (
                "SELECT E'it\\'s', U&'d\\0061t', $1, 'it''s' -- LOCALTIME\n, LOCALTIME",
                "SELECT E'it\\'s', U&'d\\0061t', $1, 'it''s' -- LOCALTIME\n, s.\"localtime\"()",
            ),
        ] {
            assert_eq!(with_given_time(sql, "s", false).as_deref(), Ok(expected));
        }
        let function = "CREATE FUNCTION f() AS $f$ BEGIN NEW.at := current_timestamp; RETURN NEW; END $f$";
        let given = with_given_time(function, "s", true).expect("it is understood");
        assert_eq!(given, "CREATE FUNCTION f() AS $f$ BEGIN NEW.at := s.\"current_timestamp\"(); RETURN NEW; END $f$");
        assert_eq!(with_given_time("SELECT $$a$$", "s", false).as_deref(), Ok("SELECT $$a$$"));
    }

    #[test]
    fn a_clock_that_cannot_be_given_the_time_is_told() {
        for sql in
            ["SELECT 'Today'::date", "EXECUTE 'UPDATE t SET at = CURRENT_TIMESTAMP'", "SELECT $q$ SELECT localtime $q$"]
        {
            assert!(with_given_time(sql, "s", false).is_err(), "{sql}");
        }
    }
}
