//! Statements that differ only in literals, comments and white space have one template.

use std::fmt::Write as _;

use super::lexical::{
    end_of_comment, end_of_dollar_quoted, end_of_line, end_of_number, end_of_quoted, end_of_string, is_word,
    opens_dollar_quote,
};

/// The statement with its literals as `?`, its keywords and names as written, its comments dropped and its white space
/// folded; a list of literals counts as one. The body of a DO or of a function is a template too. What is no SQL is read like
/// it: nothing that stands in quotes, closed or not, is left.
pub fn template(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    Pass { sql, bytes: sql.as_bytes(), first_word: None, last_word: "" }.run(&mut text);
    while text.ends_with(' ') {
        text.pop();
    }
    text
}

/// One pass over a text.
struct Pass<'sql> {
    sql: &'sql str,
    bytes: &'sql [u8],
    first_word: Option<&'sql str>,
    last_word: &'sql str,
}

impl<'sql> Pass<'sql> {
    fn run(mut self, out: &mut String) {
        let mut place = 0;
        while let Some(byte) = self.bytes.get(place).copied() {
            let next = self.bytes.get(place + 1).copied().unwrap_or_default();
            place = match byte {
                b'-' if next == b'-' => end_of_line(self.bytes, place),
                b'/' if next == b'*' => end_of_comment(self.bytes, place),
                _ if byte.is_ascii_whitespace() => {
                    if !out.is_empty() && !out.ends_with(' ') {
                        out.push(' ');
                    }
                    place + 1
                }
                b';' => place + 1,
                b'\'' => self.string(out, place, false),
                b'"' => self.verbatim(out, place, end_of_quoted(self.bytes, place)),
                b'$' if next.is_ascii_digit() => {
                    let digits = self.bytes.iter().skip(place + 1).take_while(|byte| byte.is_ascii_digit());
                    self.literal(out, place + 1 + digits.count())
                }
                b'$' => match end_of_dollar_quoted(self.bytes, place) {
                    Some(end) => self.dollar_quoted(out, place, end),
                    // What is cut off ends with the text.
                    None if opens_dollar_quote(self.bytes, place) => self.literal(out, self.bytes.len()),
                    None => self.verbatim(out, place, place + 1),
                },
                b'0'..=b'9' => self.literal(out, end_of_number(self.bytes, place)),
                b'.' if next.is_ascii_digit() && !out.ends_with(is_name_end) => {
                    self.literal(out, end_of_number(self.bytes, place))
                }
                _ if is_word(byte) => self.word(out, place),
                _ => self.verbatim(out, place, place + 1),
            };
        }
    }

    fn part(&self, start: usize, end: usize) -> &'sql str {
        self.sql.get(start..end).unwrap_or_default()
    }

    fn verbatim(&mut self, out: &mut String, start: usize, end: usize) -> usize {
        out.push_str(self.part(start, end));
        end
    }

    fn word(&mut self, out: &mut String, start: usize) -> usize {
        let end = start + self.bytes.iter().skip(start).take_while(|byte| is_word(**byte)).count();
        let word = self.part(start, end);
        if self.bytes.get(end) == Some(&b'\'')
            && ["e", "b", "x", "n"].iter().any(|prefix| word.eq_ignore_ascii_case(prefix))
        {
            return self.string(out, end, word.eq_ignore_ascii_case("e"));
        }
        let escapes_unicode = word.eq_ignore_ascii_case("u") && self.bytes.get(end) == Some(&b'&');
        if escapes_unicode && self.bytes.get(end + 1) == Some(&b'\'') {
            return self.string(out, end + 1, false);
        }
        self.first_word.get_or_insert(word);
        self.last_word = word;
        out.push_str(word);
        end
    }

    /// The quoted text of a routine is its code.
    fn string(&mut self, out: &mut String, quote: usize, escapes: bool) -> usize {
        let end = end_of_string(self.bytes, quote, escapes);
        if self.is_body() {
            let body = self.part(quote + 1, end).trim_end_matches('\'').replace("''", "'");
            push_body(out, &body);
            return end;
        }
        self.literal(out, end)
    }

    fn dollar_quoted(&mut self, out: &mut String, start: usize, end: usize) -> usize {
        if !self.is_body() {
            return self.literal(out, end);
        }
        let quoted = self.part(start, end);
        let quote = quoted.get(1..).and_then(|rest| rest.find('$')).map_or(0, |length| length + 2);
        push_body(out, quoted.get(quote..quoted.len().saturating_sub(quote)).unwrap_or_default());
        end
    }

    /// Whether a quoted text here is code: behind DO, or behind the AS of a CREATE FUNCTION.
    fn is_body(&self) -> bool {
        let is = |word: &str, other: &str| word.eq_ignore_ascii_case(other);
        self.first_word.is_some_and(|first| {
            is(first, "do") && !is(self.last_word, "language") || is(first, "create") && is(self.last_word, "as")
        })
    }

    /// Of a list of literals, the first stands for all.
    fn literal(&mut self, out: &mut String, end: usize) -> usize {
        let before = out.trim_end_matches(' ');
        let listed = before.strip_suffix(',').map(|before| before.trim_end_matches(' '));
        match listed.filter(|before| before.ends_with('?')) {
            Some(before) => out.truncate(before.len()),
            None => out.push('?'),
        }
        end
    }
}

fn push_body(out: &mut String, body: &str) {
    // A string takes all.
    let _ = write!(out, "$$ {} $$", template(body));
}

fn is_name_end(last: char) -> bool {
    last.is_alphanumeric() || matches!(last, '_' | '"' | ')' | ']' | '$')
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

    #[test]
    fn no_literal_is_left_wherever_it_stands() {
        for (sql, expected) in [
            (
                "DO $$ BEGIN UPDATE t SET a = 'ann' WHERE id = 7; END $$",
                "DO $$ BEGIN UPDATE t SET a = ? WHERE id = ? END $$",
            ),
            ("DO LANGUAGE plpgsql 'BEGIN PERFORM f(''ann''); END'", "DO LANGUAGE plpgsql $$ BEGIN PERFORM f(?) END $$"),
            (
                "DO $a$ BEGIN EXECUTE $b$ DELETE FROM ann $b$; END $a$ LANGUAGE 'plpgsql'",
                "DO $$ BEGIN EXECUTE ? END $$ LANGUAGE ?",
            ),
            (
                "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''ann'' || 5'",
                "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT ? || ? $$",
            ),
            ("PREPARE p AS SELECT * FROM t WHERE a = 'ann'", "PREPARE p AS SELECT * FROM t WHERE a = ?"),
            (
                "DECLARE c CURSOR FOR SELECT a FROM t WHERE a = 'ann'",
                "DECLARE c CURSOR FOR SELECT a FROM t WHERE a = ?",
            ),
            ("ALTER ROLE r PASSWORD 'ann'", "ALTER ROLE r PASSWORD ?"),
            ("COPY t FROM '/home/ann' WITH (DELIMITER ',')", "COPY t FROM ? WITH (DELIMITER ?)"),
            ("INSERT INTO t VALUES ($$ann$$, $x$ann$x$, 1.5e-3, .5, -2)", "INSERT INTO t VALUES (?, -?)"),
            ("UPDATE t SET a = 'ann", "UPDATE t SET a = ?"),
            ("UPDATE t SET a = $x$ann", "UPDATE t SET a = ?"),
            ("UPDATE t SET a = E'an\\'n", "UPDATE t SET a = ?"),
            ("SELECT a /* ann", "SELECT a"),
            ("SELECT t.a1, \"it's\", x2 FROM t", "SELECT t.a1, \"it's\", x2 FROM t"),
            ("é = 'ann' \u{1F980} 7", "é = ? \u{1F980} ?"),
        ] {
            assert_eq!(template(sql), expected);
            assert!(!expected.contains("ann"));
        }
    }
}
