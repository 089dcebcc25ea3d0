//! The words of a routine's body: where a structure ends, what is assigned, which variables take a result.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::model::ColumnName;

/// The keyword that a token is, unless it is quoted.
pub(super) fn keyword(token: &TokenWithSpan) -> Option<Keyword> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

/// A word as a variable's name is spelled.
pub(super) fn word(token: &TokenWithSpan) -> Option<String> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_some() => Some(word.value.clone()),
        Token::Word(word) => Some(word.value.to_lowercase()),
        _ => None,
    }
}

pub(super) fn word_at(tokens: &[TokenWithSpan], place: usize) -> Option<String> {
    tokens.get(place).and_then(word)
}

pub(super) fn words(tokens: &[TokenWithSpan]) -> Vec<ColumnName> {
    tokens.iter().filter_map(word).filter(|word| word != "strict").map(ColumnName::from).collect()
}

pub(super) fn is_word(token: &TokenWithSpan, wanted: &str) -> bool {
    matches!(&token.token, Token::Word(word) if word.value.eq_ignore_ascii_case(wanted))
}

/// Where one of these words stands that belongs to what the tokens begin with: outside parentheses and CASEs.
pub(super) fn end_of(tokens: &[TokenWithSpan], ends: &[&str]) -> Option<usize> {
    let mut depth = 0_usize;
    tokens.iter().position(|token| {
        match (&token.token, keyword(token)) {
            (Token::LParen, _) | (_, Some(Keyword::CASE)) => depth += 1,
            (Token::RParen, _) | (_, Some(Keyword::END)) => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && ends.iter().any(|end| is_word(token, end))
    })
}

/// Where a piece that begins with a name assigns to it.
pub(super) fn assigned_at(piece: &[TokenWithSpan]) -> Option<usize> {
    let mut depth = 0_usize;
    let at = piece.iter().position(|token| {
        match token.token {
            Token::LBracket => depth += 1,
            Token::RBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && !matches!(token.token, Token::Word(_) | Token::Period | Token::RBracket)
    })?;
    piece.get(at).is_some_and(|token| matches!(token.token, Token::Assignment | Token::Eq)).then_some(at)
}

/// The two ends of `1 .. n`, without a BY; anything else is one part.
pub(super) fn range_ends(tokens: &[TokenWithSpan]) -> Vec<&[TokenWithSpan]> {
    // `1..n` is a number, a period and a name for the tokenizer.
    let is_dots = |token: &TokenWithSpan| {
        matches!(token.token, Token::Period) || matches!(&token.token, Token::Number(digits, _) if digits == ".")
    };
    let parts = tokens.split(|token| is_dots(token) || is_word(token, "by"));
    let is_range = tokens.iter().any(|token| {
        is_dots(token)
            || matches!(&token.token, Token::Number(digits, _) if digits.ends_with('.') || digits.starts_with('.'))
    });
    if is_range { parts.filter(|part| !part.is_empty()).collect() } else { vec![tokens] }
}

pub(super) fn split_at_commas(tokens: &[TokenWithSpan]) -> Vec<&[TokenWithSpan]> {
    let mut depth = 0_usize;
    tokens
        .split(|token| {
            match token.token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && token.token == Token::Comma
        })
        .collect()
}

/// The statement without the INTO of its variables, which are returned beside it; PERFORM is a SELECT.
pub(super) fn without_into(tokens: &[TokenWithSpan]) -> (Vec<TokenWithSpan>, Vec<ColumnName>) {
    let (mut kept, mut into): (Vec<TokenWithSpan>, Vec<ColumnName>) = (Vec::new(), Vec::new());
    let mut rest = tokens.iter().peekable();
    let mut depth = 0_usize;
    while let Some(token) = rest.next() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let after_verb = kept.last().and_then(keyword);
        let of_verb = matches!(after_verb, Some(Keyword::INSERT | Keyword::MERGE | Keyword::OVERWRITE));
        if depth == 0 && keyword(token) == Some(Keyword::INTO) && !of_verb {
            loop {
                match rest.next_if(|next| matches!(&next.token, Token::Word(_))).and_then(word) {
                    Some(word) if word == "strict" => continue,
                    Some(word) => into.push(word.into()),
                    None => break,
                }
                while rest.next_if(|next| next.token == Token::Period).is_some() {
                    rest.next();
                }
                if rest.next_if(|next| next.token == Token::Comma).is_none() {
                    break;
                }
            }
        } else if is_word(token, "perform") && kept.is_empty() {
            kept.push(TokenWithSpan { token: Token::make_keyword("SELECT"), span: token.span });
        } else {
            kept.push(token.clone());
        }
    }
    (kept, into)
}
