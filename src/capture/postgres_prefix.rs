//! What stands before the message on a line of PostgreSQL's plain log: `log_line_prefix`, as a pattern of fields.

use regex::{Captures, Regex};

/// Prefixes that servers are found with, the plainest last: of two that fit as many lines, the first is taken.
const COMMON: &[&str] = &[
    "%m [%p] %a %c %l %v %x ",
    "%m [%p] %c %l %v %x %a ",
    "%m [%p] %q[user=%u,db=%d,app=%a,client=%h,session=%c,line=%l,vxid=%v,xid=%x,qid=%Q,tag=%i] ",
    "%m [%p] %q%u@%d/%a ",
    "%m [%p] %q%u@%d ",
    "%m [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
    "%m [%p]: user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: user=%u,db=%d,app=%a,client=%h ",
    "%m [%p]: [%l-1] %quser=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: [%l-1] %quser=%u,db=%d,app=%a,client=%h ",
    "%m [%p]: [%l-1] db=%d,user=%u ",
    "%t [%p]: [%l-1] db=%d,user=%u ",
    "%m [%p]: [%l-1] user=%u,db=%d ",
    "%t [%p]: [%l-1] user=%u,db=%d ",
    "%m:%r:%u@%d:[%p]:%l:%e:%s:%v:%x:%c:%q%a:",
    "%t:%r:%u@%d:[%p]:",
    "%m:%r:%u@%d:[%p]:",
    "%t-%c-",
    "%m-%c-",
    "%m [%p-%l] %q%u@%d ",
    "%t [%p-%l] %q%u@%d ",
    "%t [%p] %q%u@%d ",
    "%m %u@%d [%p] ",
    "%t %u@%d [%p] ",
    "%m %q%u@%d %p ",
    "%m %c %v %x ",
    "%m %c ",
    "%t %c ",
    "< %m > [%p] ",
    "<%m>[%p] ",
    "%m [%p]: [%l-1] ",
    "%t [%p]: [%l-1] ",
    "%m [%p] ",
    "%t [%p] ",
    "%m [%p]: ",
    "%t [%p]: ",
    "%m %p ",
];

/// A `log_line_prefix`, ready to be found at the beginning of lines.
#[derive(Clone, Debug)]
pub(super) struct LogLinePrefix {
    lines: Regex,
}

/// The fields of one line's beginning; empty ones and `[unknown]` are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PrefixFields<'line> {
    pub(super) time: Option<&'line str>,
    /// Seconds since 1970 with three decimals, `%n`.
    pub(super) epoch: Option<&'line str>,
    pub(super) process: Option<&'line str>,
    pub(super) session: Option<&'line str>,
    pub(super) session_start: Option<&'line str>,
    pub(super) number: Option<&'line str>,
    pub(super) virtual_transaction: Option<&'line str>,
    pub(super) transaction: Option<&'line str>,
    pub(super) application_name: Option<&'line str>,
    pub(super) database: Option<&'line str>,
    pub(super) backend_type: Option<&'line str>,
    /// `LOG`, `ERROR` …, or what a further line of the same message is: `DETAIL`, `STATEMENT` …
    pub(super) kind: &'line str,
    /// What stands after it on the line.
    pub(super) text: &'line str,
}

impl LogLinePrefix {
    /// From the setting as `SHOW log_line_prefix` tells it.
    ///
    /// # Errors
    /// Why no line could be read with it.
    pub(super) fn parse(setting: &str) -> Result<Self, String> {
        let mut pattern = String::from("^");
        let mut fields: Vec<char> = Vec::new();
        let mut optional = false;
        let mut rest = setting.chars().peekable();
        while let Some(character) = rest.next() {
            if character != '%' {
                pattern.push_str(&regex::escape(character.encode_utf8(&mut [0; 4])));
                continue;
            }
            let mut padded = false;
            while rest.peek().is_some_and(|next| next.is_ascii_digit() || *next == '-') {
                padded = true;
                rest.next();
            }
            match rest.next() {
                Some('%') => pattern.push('%'),
                Some('q') if !optional => {
                    optional = true;
                    pattern.push_str("(?:");
                }
                Some('q') => {}
                Some(escape) => {
                    let field = field_pattern(escape)
                        .ok_or_else(|| format!("it has the escape %{escape}, which PostgreSQL does not know"))?;
                    let padding = if padded { " *" } else { "" };
                    let named =
                        if fields.contains(&escape) { format!("(?:{field})") } else { format!("(?<{escape}>{field})") };
                    pattern.push_str(&format!("{padding}{named}{padding}"));
                    fields.push(escape);
                }
                None => return Err("it ends in the middle of an escape".to_owned()),
            }
        }
        if optional {
            pattern.push_str(")?");
        }
        if !fields.iter().any(|field| matches!(field, 'm' | 't' | 'n')) {
            return Err("it holds no time: add %m".to_owned());
        }
        if !fields.iter().any(|field| matches!(field, 'c' | 'p')) {
            return Err("it holds neither %c nor %p, so that no line's session is known: add %c".to_owned());
        }
        pattern.push_str("(?<kind>[A-Z]+[1-5]?):  (?:00000: )?");
        let lines = Regex::new(&pattern).map_err(|error| format!("it makes no pattern: {error}"))?;
        Ok(LogLinePrefix { lines })
    }

    /// The common prefix that fits most of these lines; `None` where none fits any.
    pub(super) fn detect<'line>(lines: impl Iterator<Item = &'line str>) -> Option<Self> {
        let lines: Vec<&str> = lines.filter(|line| !line.starts_with('\t')).collect();
        let mut best: Option<(usize, LogLinePrefix)> = None;
        for prefix in COMMON.iter().filter_map(|setting| LogLinePrefix::parse(setting).ok()) {
            let fitting = lines.iter().filter(|line| prefix.fields(line).is_some()).count();
            if fitting > best.as_ref().map_or(0, |(most, _)| *most) {
                best = Some((fitting, prefix));
            }
        }
        best.map(|(_, prefix)| prefix)
    }

    /// The fields at the beginning of a line; `None` for a line that has not this prefix.
    pub(super) fn fields<'line>(&self, line: &'line str) -> Option<PrefixFields<'line>> {
        let found: Captures<'line> = self.lines.captures(line)?;
        let field = |name: &str| {
            let text = found.name(name)?.as_str().trim_matches(' ');
            (!text.is_empty() && text != "[unknown]").then_some(text)
        };
        let end = found.get(0)?.end();
        Some(PrefixFields {
            time: field("m").or_else(|| field("t")),
            epoch: field("n"),
            process: field("p"),
            session: field("c"),
            session_start: field("s"),
            number: field("l"),
            virtual_transaction: field("v"),
            transaction: field("x"),
            application_name: field("a"),
            database: field("d"),
            backend_type: field("b"),
            kind: found.name("kind")?.as_str(),
            text: line.get(end..)?,
        })
    }
}

/// What an escape prints, as a pattern.
fn field_pattern(escape: char) -> Option<&'static str> {
    Some(match escape {
        'a' | 'u' | 'd' | 'r' | 'h' | 'i' | 'b' | 'L' => ".*?",
        'p' => r"\d+",
        'P' => r"\d*",
        't' | 's' => r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [^\s\]:>-]+(?:-\d+)?",
        'm' => r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^\s\]:>-]+(?:-\d+)?|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} -\d+",
        'n' => r"\d+\.\d{3}",
        'e' => "[0-9A-Z]{5}",
        'c' => r"[0-9a-f]+\.[0-9a-f]+",
        'l' | 'x' => r"\d+",
        'v' => r"(?:-?\d+/\d+)?",
        'Q' => r"-?\d*",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_their_escapes() {
        let prefix = LogLinePrefix::parse("%m [%p] %q[user=%-10u,app=%a,session=%c,line=%l,vxid=%v,xid=%x,%%] ");
        let prefix = prefix.expect("a prefix");
        let line = "2026-11-23 08:05:47.522 UTC [12952] [user=shop      ,app=shop@v42: x,session=6b03f3db.3298,line=12,vxid=4/2,xid=749,%] LOG:  duration: 0.3 ms";
        let fields = prefix.fields(line).expect("a line");
        let expected = PrefixFields {
            time: Some("2026-11-23 08:05:47.522 UTC"),
            process: Some("12952"),
            session: Some("6b03f3db.3298"),
            number: Some("12"),
            virtual_transaction: Some("4/2"),
            transaction: Some("749"),
            application_name: Some("shop@v42: x"),
            kind: "LOG",
            text: "duration: 0.3 ms",
            ..PrefixFields::default()
        };
        assert_eq!(fields, expected);
        let background =
            prefix.fields("2026-11-23 08:05:47.522 +02 [7] LOG:  checkpoint starting: time").expect("a line");
        assert_eq!((background.session, background.text), (None, "checkpoint starting: time"));
        assert_eq!(prefix.fields("\tcontinued"), None);
        assert_eq!(prefix.fields("LOG:  redirecting"), None);
    }

    #[test]
    fn a_prefix_that_tells_too_little_is_refused() {
        for (setting, reason) in [
            ("%m ", "neither %c nor %p"),
            ("[%p] ", "no time"),
            ("%m [%p] %", "middle of an escape"),
            ("%m [%p] %y ", "%y"),
        ] {
            let refused = LogLinePrefix::parse(setting).expect_err("refused");
            assert!(refused.contains(reason), "{setting}: {refused}");
        }
    }

    #[test]
    fn common_prefixes_are_told_from_the_lines() {
        for (lines, session, application, database) in [
            (["2026-11-23 08:31:29.417 UTC [1665] LOG:  duration: 0.1 ms  statement: BEGIN"; 2], None, None, None),
            (
                [
                    "2026-11-23 08:31:31.770 UTC [1695] LOG:  checkpoint starting: time",
                    "2026-11-23 08:31:33.075 UTC [1701] postgres@shop LOG:  duration: 0.1 ms",
                ],
                None,
                None,
                Some("shop"),
            ),
            (
                ["2026-11-23 08:31:36 UTC:127.0.0.1(49182):postgres@shop:[1739]:LOG:  duration: 0.1 ms"; 2],
                None,
                None,
                Some("shop"),
            ),
            (
                ["2026-11-23 08:31:40 UTC [1779]: user=postgres,db=shop,app=shop@v41,client=127.0.0.1 LOG:  x"; 2],
                None,
                Some("shop@v41"),
                Some("shop"),
            ),
            (
                ["2026-11-23 08:31:44.023 UTC [1823] shop@v42 6b03f9ef.71f 46 4/37538 431472 LOG:  00000: x"; 2],
                Some("6b03f9ef.71f"),
                Some("shop@v42"),
                None,
            ),
            (["2026-11-23 08:31:44 UTC-6b03f9ef.71f-LOG:  x"; 2], Some("6b03f9ef.71f"), None, None),
        ] {
            let prefix = LogLinePrefix::detect(lines.into_iter()).expect("a prefix");
            let fields = prefix.fields(lines[1]).expect("a line");
            assert_eq!((fields.session, fields.application_name, fields.database), (session, application, database));
            assert!(fields.text.starts_with(['x', 'd']), "{}", fields.text);
        }
        assert!(LogLinePrefix::detect(["LOG:  nothing before it"].into_iter()).is_none());
    }
}
