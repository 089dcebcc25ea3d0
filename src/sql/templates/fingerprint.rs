//! What is left of a statement without its literals, white space, comments and case: one pass over its bytes.
//!
//! Statements that differ in nothing else share it, and so share their analysis. Numbers that name columns of the result
//! (`ORDER BY 2`) stay. Of the elements of an IN or ARRAY, and of the rows of a VALUES, those like the first are left out:
//! their literals take the slots of the first's.

use crate::sql::lexical::{
    end_of_comment, end_of_dollar_quoted, end_of_line, end_of_number, end_of_quoted, end_of_string, is_operator,
    is_word,
};

/// A literal or parameter of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Literal {
    /// Which of the template's literals it is, from 0. Elements of a list share slots.
    pub slot: usize,
    /// Where it stands in the text, as bytes, its sign and quotes included.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// In which list it stands whose elements share slots, from 1; 0 outside of such.
    pub list: usize,
}

/// Statements that begin so mean the same whatever their literals are.
const SHARES_LITERALS: &[&[u8]] = &[
    b"select", b"insert", b"update", b"delete", b"with", b"merge", b"values", b"table", b"execute", b"call", b"explain",
];

/// What stands in the template's text for a literal: no SQL holds it.
const LITERAL: u8 = 1;

/// The state of a pass; kept between passes for its memory.
#[derive(Clone, Debug, Default)]
pub struct Scanner {
    /// The text of the template.
    pub(super) text: Vec<u8>,
    /// The literals in the order of the text.
    pub(super) literals: Vec<Literal>,
    /// Whether another statement follows.
    pub(super) several: bool,
    /// Whether the statement is of a kind whose literals are more than values: the body of a DO, what a SET sets.
    keeps_literals: bool,
    slots: usize,
    lists_met: usize,
    depth: usize,
    lists: Vec<List>,
    /// At which depths a BY list is being read.
    by: Vec<usize>,
    spaced: bool,
    ended: bool,
    /// What the last word was, where it matters.
    last_word: LastWord,
}

/// A list whose elements may be alike.
#[derive(Clone, Debug)]
struct List {
    /// The depth at which its elements are separated.
    depth: usize,
    rows: bool,
    number: usize,
    element: Mark,
    first: Option<(Mark, Mark)>,
}

/// A place in the template's text, and in its literals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    text: usize,
    literal: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LastWord {
    #[default]
    Other,
    In,
    Array,
    Values,
    By,
    Distinct,
    On,
}

impl Scanner {
    /// Reads a statement: its template's text and its literals are here until the next.
    pub fn scan(&mut self, sql: &str) {
        self.text.clear();
        self.literals.clear();
        self.lists.clear();
        self.by.clear();
        self.several = false;
        self.keeps_literals = false;
        self.slots = 0;
        self.lists_met = 0;
        self.depth = 0;
        self.spaced = false;
        self.ended = false;
        self.last_word = LastWord::Other;
        let bytes = sql.as_bytes();
        let mut place = 0;
        while let Some(byte) = bytes.get(place) {
            place = self.token(bytes, place, *byte);
        }
        self.end_rows();
    }

    /// The literals in the order of the text.
    pub fn literals(&self) -> &[Literal] {
        &self.literals
    }

    /// What statements of one template share, to look them up by.
    pub fn key(&self) -> &[u8] {
        &self.text
    }

    /// The template's text: words in lower case, literals as `?`.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).replace(char::from(LITERAL), "?")
    }

    fn token(&mut self, bytes: &[u8], place: usize, byte: u8) -> usize {
        let next = bytes.get(place + 1).copied().unwrap_or_default();
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0c => {
                self.spaced = true;
                return place + 1;
            }
            b'-' if next == b'-' => {
                self.spaced = true;
                return end_of_line(bytes, place);
            }
            b'/' if next == b'*' => {
                self.spaced = true;
                return end_of_comment(bytes, place);
            }
            b';' => {
                self.ended = true;
                return place + 1;
            }
            _ => {}
        }
        if self.ended {
            self.ended = false;
            self.several = true;
            self.text.push(b';');
        }
        match byte {
            b'\'' => self.literal(bytes, place, end_of_string(bytes, place, false)),
            b'"' => self.verbatim(bytes, place, end_of_quoted(bytes, place)),
            b'$' if next.is_ascii_digit() => {
                let digits = bytes.iter().skip(place + 1).take_while(|byte| byte.is_ascii_digit()).count();
                self.literal(bytes, place, place + 1 + digits)
            }
            b'$' => match end_of_dollar_quoted(bytes, place) {
                Some(end) => self.literal(bytes, place, end),
                None => self.punctuation(byte, place),
            },
            b'0'..=b'9' => self.number(bytes, place, place),
            b'.' if next.is_ascii_digit() && !self.follows_name() => self.number(bytes, place, place),
            b'-' if (next.is_ascii_digit() || next == b'.') && self.begins_element() => {
                self.number(bytes, place, place + 1)
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => self.word(bytes, place),
            _ => self.punctuation(byte, place),
        }
    }

    /// Whether a sign here belongs to a number.
    fn begins_element(&self) -> bool {
        matches!(self.text.last(), Some(b'(' | b',' | b'['))
    }

    fn follows_name(&self) -> bool {
        !self.spaced && self.text.last().is_some_and(|last| is_word(*last) || matches!(last, b'"' | b')'))
    }

    fn word(&mut self, bytes: &[u8], place: usize) -> usize {
        let length = bytes.iter().skip(place).take_while(|byte| is_word(**byte)).count();
        let end = place + length;
        let word = bytes.get(place..end).unwrap_or_default();
        let quoted = bytes.get(end) == Some(&b'\'');
        if quoted && length == 1 && matches!(word, [b'e' | b'E' | b'b' | b'B' | b'x' | b'X' | b'n' | b'N']) {
            return self.literal(bytes, place, end_of_string(bytes, end, matches!(word, [b'e' | b'E'])));
        }
        self.end_rows();
        self.separate();
        let start = self.text.len();
        let first = start == 0 || self.text.last() == Some(&b';');
        self.text.extend(word.iter().map(u8::to_ascii_lowercase));
        let last_word = match self.text.get(start..).unwrap_or_default() {
            b"in" => LastWord::In,
            b"array" => LastWord::Array,
            b"values" => LastWord::Values,
            b"by" => LastWord::By,
            b"distinct" => LastWord::Distinct,
            b"on" if self.last_word == LastWord::Distinct => LastWord::On,
            b"limit" | b"offset" | b"fetch" | b"having" | b"window" | b"union" | b"except" | b"intersect" | b"for"
            | b"returning" | b"rows" | b"range" | b"groups" => {
                self.by.retain(|depth| *depth != self.depth);
                LastWord::Other
            }
            _ => LastWord::Other,
        };
        match last_word {
            LastWord::By => self.by.push(self.depth),
            LastWord::Values => self.begin_list(self.depth, true),
            _ => {}
        }
        self.last_word = last_word;
        if first {
            self.keeps_literals = !SHARES_LITERALS.contains(&self.text.get(start..).unwrap_or_default());
        }
        end
    }

    /// Rows of VALUES end where something else than a row follows.
    fn end_rows(&mut self) {
        if self.lists.last().is_some_and(|list| list.rows && list.depth == self.depth) {
            self.end_element();
            self.lists.pop();
        }
    }

    fn begin_list(&mut self, depth: usize, rows: bool) {
        self.lists_met += 1;
        self.lists.push(List { depth, rows, number: self.lists_met, element: self.mark(), first: None });
    }

    fn mark(&self) -> Mark {
        Mark { text: self.text.len(), literal: self.literals.len() }
    }

    fn verbatim(&mut self, bytes: &[u8], place: usize, end: usize) -> usize {
        self.end_rows();
        self.separate();
        self.text.extend_from_slice(bytes.get(place..end).unwrap_or_default());
        self.last_word = LastWord::Other;
        end
    }

    fn number(&mut self, bytes: &[u8], start: usize, digits: usize) -> usize {
        let end = end_of_number(bytes, digits);
        let by = self.by.last().copied().filter(|depth| self.depth >= *depth);
        let begins = self.last_word == LastWord::By || matches!(self.text.last(), Some(b',' | b'('));
        let in_list = |by: usize| self.lists.last().is_some_and(|list| !list.rows && list.depth > by);
        if begins && by.is_some_and(|by| !in_list(by)) {
            return self.verbatim(bytes, start, end);
        }
        self.literal(bytes, start, end)
    }

    fn literal(&mut self, bytes: &[u8], start: usize, end: usize) -> usize {
        if self.keeps_literals {
            return self.verbatim(bytes, start, end);
        }
        self.end_rows();
        self.separate();
        self.text.push(LITERAL);
        let list = self.lists.last().map_or(0, |list| list.number);
        self.literals.push(Literal { slot: self.slots, start, end, list });
        self.slots += 1;
        self.last_word = LastWord::Other;
        end
    }

    /// White space counts where the tokens around it would be one without it.
    fn separate(&mut self) {
        if self.text.last().is_some_and(|last| is_word(*last) || *last == b'"' || *last == LITERAL) {
            self.text.push(b' ');
        }
        self.spaced = false;
    }

    fn punctuation(&mut self, byte: u8, place: usize) -> usize {
        if self.spaced && is_operator(byte) && self.text.last().is_some_and(|last| is_operator(*last)) {
            self.text.push(b' ');
        }
        self.spaced = false;
        if !matches!(byte, b'(' | b',') {
            self.end_rows();
        }
        match byte {
            b'(' | b'[' => self.open(byte),
            b')' | b']' => self.close(byte),
            b',' => {
                let separates = self.lists.last().is_some_and(|list| list.depth == self.depth);
                if separates {
                    self.end_element();
                }
                self.text.push(b',');
                if separates {
                    self.begin_element();
                }
            }
            _ => self.text.push(byte),
        }
        self.last_word = LastWord::Other;
        place + 1
    }

    fn open(&mut self, byte: u8) {
        let word = self.last_word;
        self.text.push(byte);
        self.depth += 1;
        match (word, byte) {
            (LastWord::In, b'(') | (LastWord::Array, b'[') => self.begin_list(self.depth, false),
            (LastWord::On, b'(') => self.by.push(self.depth),
            _ => {}
        }
    }

    fn close(&mut self, byte: u8) {
        while self.lists.last().is_some_and(|list| list.depth >= self.depth) {
            if self.lists.last().is_some_and(|list| list.depth == self.depth) {
                self.end_element();
            }
            self.lists.pop();
        }
        self.depth = self.depth.saturating_sub(1);
        self.by.retain(|depth| *depth <= self.depth);
        self.text.push(byte);
    }

    fn begin_element(&mut self) {
        let mark = self.mark();
        if let Some(list) = self.lists.last_mut() {
            list.element = mark;
        }
    }

    /// Takes an element back that is like the first: its literals are more values of the first's.
    fn end_element(&mut self) {
        let end = self.mark();
        let Some(list) = self.lists.last_mut() else { return };
        let element = list.element;
        let Some((first, first_end)) = list.first else {
            list.first = Some((element, end));
            return;
        };
        let alike = self.text.get(first.text..first_end.text) == self.text.get(element.text..end.text);
        if !alike || first_end.literal - first.literal != end.literal - element.literal {
            return;
        }
        for offset in 0..end.literal - element.literal {
            let slot = self.literals.get(first.literal + offset).map(|literal| literal.slot);
            if let (Some(slot), Some(literal)) = (slot, self.literals.get_mut(element.literal + offset)) {
                literal.slot = slot;
            }
        }
        // The comma before it too.
        self.text.truncate(element.text.saturating_sub(1));
        self.slots -= end.literal - element.literal;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(sql: &str) -> (String, Vec<(usize, String)>) {
        let mut scanner = Scanner::default();
        scanner.scan(sql);
        let literals =
            scanner.literals.iter().map(|literal| (literal.slot, sql[literal.start..literal.end].to_owned()));
        (scanner.text(), literals.collect())
    }

    #[test]
    fn what_says_nothing_of_the_template_is_left_out() {
        let (template, literals) =
            scanned("UPDATE t /* a /* b */ */ SET A = 1,\n \"B\" = E'x\\'' WHERE id IN (1, -2,3) -- why\n;");
        assert_eq!(template, "update t set a=?,\"B\"=? where id in(?)");
        let literals: Vec<(usize, &str)> = literals.iter().map(|(slot, text)| (*slot, text.as_str())).collect();
        assert_eq!(literals, [(0, "1"), (1, "E'x\\''"), (2, "1"), (2, "-2"), (2, "3")]);
        for other in
            ["update T set a=$1, \"B\"=$$x$$ where id in ($3)", "Update t Set a = 1.5e-3,\"B\" ='' where ID IN(5,6)"]
        {
            assert_eq!(scanned(other).0, template, "{other}");
        }
    }

    #[test]
    fn rows_that_are_alike_are_one() {
        let (template, literals) = scanned("INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y') ON CONFLICT (a) DO NOTHING");
        assert_eq!(template, "insert into t(a,b)values(?,?)on conflict(a)do nothing");
        assert_eq!(literals.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), [0, 1, 0, 1]);
        assert_eq!(scanned("SELECT * FROM t WHERE (a, b) IN ((1, 2), (3, 4))").0, "select*from t where(a,b)in((?,?))");
        assert_ne!(scanned("INSERT INTO t VALUES (1, 2)").0, scanned("INSERT INTO t VALUES (1)").0);
        assert_eq!(scanned("SELECT 1 IN (1, a, 2)").0, "select ? in(?,a)");
    }

    #[test]
    fn what_says_something_stays() {
        for (one, other) in [
            ("SELECT a, b FROM t ORDER BY 1 LIMIT 5", "SELECT a, b FROM t ORDER BY 2 LIMIT 5"),
            (
                "SELECT a, b FROM t ORDER BY a, (SELECT 1 ORDER BY 1), 2",
                "SELECT a, b FROM t ORDER BY a, (SELECT 1 ORDER BY 1), 1",
            ),
            ("SELECT DISTINCT ON (1) a, b FROM t", "SELECT DISTINCT ON (2) a, b FROM t"),
            ("SELECT \"A\" FROM t", "SELECT a FROM t"),
            ("SELECT a - -b FROM t", "SELECT a + -b FROM t"),
            ("SELECT ab FROM t", "SELECT a b FROM t"),
            ("SELECT a FROM t", "SELECT a FROM u"),
            ("DO $$ BEGIN DELETE FROM t; END $$", "DO $$ BEGIN DELETE FROM u; END $$"),
            ("SET search_path = 'a'", "SET search_path = 'b'"),
            ("SELECT a; SELECT b", "SELECT a SELECT b"),
        ] {
            assert_ne!(scanned(one).0, scanned(other).0, "{one}");
        }
        assert_eq!(scanned("SELECT a FROM t ORDER BY a LIMIT 5").0, scanned("SELECT a FROM t ORDER BY a LIMIT 6").0);
    }

    #[test]
    fn damaged_texts_are_read_to_their_end() {
        for sql in
            ["'", "\"", "/*", "--", "$a$", "E'\\", "$", "1e", "(((", ")))", "in(1", "values(1),(", "é'ü", "[1]]", "0x"]
        {
            let mut scanner = Scanner::default();
            scanner.scan(sql);
            assert!(scanner.literals.iter().all(|literal| literal.end <= sql.len()), "{sql}");
        }
    }
}
