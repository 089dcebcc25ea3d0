//! How deep a statement may nest: known from its tokens, before anything recurses over what they become.
//!
//! Parentheses are bounded by the parser itself. What it reads in a loop is not: `a + a + a …`, `a::int::int …` and chains
//! of UNIONs become trees as deep as they are long, and copying or dropping such a tree takes a stack as deep.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// A set operation's tree takes that much more stack for each level than an operator's.
const SET_OPERATION: usize = 4;

/// What nests between one opening parenthesis and its end.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Operators since the last comma, and the deepest parenthesis among them.
    operators: usize,
    deepest_inside: usize,
    /// The deepest of what stands between commas.
    deepest: usize,
    set_operations: usize,
    /// Opened by a CASE, and so ended by its END.
    case: bool,
}

impl Level {
    fn comma(&mut self) {
        self.deepest = self.deepest.max(self.operators + self.deepest_inside);
        self.operators = 0;
        self.deepest_inside = 0;
    }

    fn depth(mut self) -> usize {
        self.comma();
        self.deepest + self.set_operations
    }
}

/// Deeper than this no statement is read where its tree is passed on: copying it, in the worst case, has to fit the stack
/// of any thread.
pub const MOST_NESTED: usize = 1_000;

/// No statement of these tokens nests deeper, in levels of operators.
pub fn nesting_bound(tokens: &[TokenWithSpan]) -> usize {
    let mut levels = vec![Level::default()];
    let mut deepest = 0;
    for token in tokens {
        let Some(level) = levels.last_mut() else { return deepest };
        match &token.token {
            Token::Whitespace(_) | Token::Period | Token::Number(..) | Token::SingleQuotedString(_) => {}
            Token::LParen => levels.push(Level::default()),
            Token::LBracket => {
                level.operators += 1;
                levels.push(Level::default());
            }
            Token::RParen | Token::RBracket => {
                while levels.last().is_some_and(|level| level.case) {
                    end(&mut levels);
                }
                end(&mut levels);
            }
            Token::Comma => level.comma(),
            Token::SemiColon => {
                deepest = deepest.max(closed(&mut levels));
            }
            Token::Word(word) => match word.keyword {
                Keyword::NoKeyword => {}
                Keyword::CASE => levels.push(Level { case: true, ..Level::default() }),
                Keyword::WHEN | Keyword::THEN | Keyword::ELSE if level.case => level.comma(),
                Keyword::END if level.case => end(&mut levels),
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS => {
                    level.comma();
                    level.set_operations += SET_OPERATION;
                }
                _ => level.operators += 1,
            },
            _ => level.operators += 1,
        }
    }
    deepest.max(closed(&mut levels))
}

/// Ends the innermost level, unless it is the statement itself.
fn end(levels: &mut Vec<Level>) {
    if levels.len() > 1 {
        let inside = levels.pop().map_or(0, Level::depth);
        if let Some(level) = levels.last_mut() {
            level.deepest_inside = level.deepest_inside.max(inside + 1);
        }
    }
}

/// What all open levels come to; the next statement begins anew.
fn closed(levels: &mut Vec<Level>) -> usize {
    let mut inside = 0;
    for mut level in levels.drain(..).rev() {
        level.deepest_inside = level.deepest_inside.max(inside);
        inside = level.depth() + 1;
    }
    levels.push(Level::default());
    inside
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn bound(sql: &str) -> usize {
        let mut tokens = Vec::new();
        Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location_into_buf(&mut tokens).expect("tokens");
        nesting_bound(&tokens)
    }

    #[test]
    fn chains_nest_and_lists_do_not() {
        assert!(bound(&format!("SELECT {}", vec!["a"; 5_000].join(" + "))) >= 4_999);
        assert!(bound(&format!("SELECT a{}", "::int".repeat(5_000))) >= 5_000);
        assert!(bound(&vec!["SELECT a, b FROM t"; 1_000].join(" UNION ALL ")) >= 999 * SET_OPERATION);
        assert!(bound(&format!("SELECT a{}", "[1]".repeat(500))) >= 500);
        assert!(bound(&format!("SELECT * FROM t WHERE id IN ({})", vec!["1 + 2"; 5_000].join(", "))) < 20);
        assert!(bound(&format!("INSERT INTO t VALUES {}", vec!["(now() - 1, 'x')"; 5_000].join(", "))) < 20);
        assert!(bound(&format!("SELECT CASE {} END", "WHEN a = 1 AND b = 2 THEN 3 ".repeat(5_000))) < 20);
        assert!(bound(&"UPDATE t SET a = b + c WHERE d = 1; ".repeat(5_000)) < 20);
    }

    #[test]
    fn what_stands_before_a_chain_is_nested_by_it() {
        let inner = format!("({})", vec!["a"; 100].join(" + "));
        assert!(bound(&format!("SELECT {inner}{}", " + b".repeat(100))) >= 199);
        assert!(bound(&format!("SELECT a{}", " + CASE WHEN b THEN c END".repeat(500))) >= 500);
        assert!(bound(&format!("SELECT a{}", " + f(\"end\", END, 1)".repeat(500))) >= 500);
        assert!(bound(&"(".repeat(100)) >= 100, "what is left open counts too");
    }
}
