//! What PostgreSQL's log messages say, in whatever format the log is written.

use jiff::civil;
use jiff::tz::Offset;

use crate::model::{Timestamp, Value};

/// One log message, as far as it concerns statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message<'message> {
    /// `statement: SQL` and `execute NAME: SQL`: an execution begins (with `log_statement`).
    Begins {
        /// The SQL.
        sql: &'message str,
        /// Whether it runs by a portal, which may be closed only later.
        by_portal: bool,
    },
    /// `execute fetch from NAME/PORTAL: SQL`: more rows of an execution that has begun before.
    Fetches,
    /// `duration: X ms`: what began before is done (or, with `log_duration`, was parsed or bound).
    Done,
    /// `duration: X ms  statement: SQL` and `… execute NAME: SQL`: a whole execution (with
    /// `log_min_duration_statement`).
    Executed {
        /// How long it took, in microseconds.
        micros: i64,
        /// The SQL.
        sql: &'message str,
        /// Whether it ran by a portal, which may be closed only later.
        by_portal: bool,
    },
    /// `duration: X ms  plan: …`: a whole execution, and how (with `auto_explain`).
    Planned {
        /// How long it took, in microseconds.
        micros: i64,
        /// What follows.
        plan: &'message str,
    },
    /// `AUDIT: …`: an execution, or a part of one (with pgaudit).
    Audited {
        /// What follows.
        line: &'message str,
    },
    /// The session ended.
    Disconnection,
    /// A duration in another language than ours: the log cannot be read, and must not be passed over.
    Translated,
    /// Anything else.
    Other,
}

impl<'message> Message<'message> {
    pub(super) fn parse(message: &'message str) -> Message<'message> {
        if let Some(sql) = message.strip_prefix("statement: ") {
            return Message::Begins { sql, by_portal: false };
        }
        if message.starts_with("execute fetch from ") {
            return Message::Fetches;
        }
        if let Some(named) = message.strip_prefix("execute ") {
            let begins = |(_, sql)| Message::Begins { sql, by_portal: true };
            return named.split_once(": ").map_or(Message::Other, begins);
        }
        if let Some(duration) = message.strip_prefix("duration: ") {
            return Message::parse_duration(duration);
        }
        if let Some(line) = message.strip_prefix("AUDIT: ") {
            return Message::Audited { line };
        }
        if message.starts_with("disconnection: session time: ") {
            return Message::Disconnection;
        }
        if is_translated_duration(message) { Message::Translated } else { Message::Other }
    }

    fn parse_duration(duration: &'message str) -> Message<'message> {
        let Some((micros, what)) = duration.split_once(" ms") else { return Message::Other };
        let Some(micros) = micros_from_millis(micros) else { return Message::Other };
        let what = what.trim_start_matches(' ');
        if what.is_empty() {
            return Message::Done;
        }
        if let Some(sql) = what.strip_prefix("statement: ") {
            return Message::Executed { micros, sql, by_portal: false };
        }
        if let Some(plan) = what.strip_prefix("plan:") {
            return Message::Planned { micros, plan };
        }
        match what.strip_prefix("execute ") {
            // More rows of an execution whose first rows were logged as an execution of their own.
            Some(fetch) if fetch.starts_with("fetch from ") => Message::Other,
            Some(named) => {
                let executed = |(_, sql)| Message::Executed { micros, sql, by_portal: true };
                named.split_once(": ").map_or(Message::Other, executed)
            }
            None => Message::Other,
        }
    }
}

/// `Dauer: 0.627 ms`, `durée : 0.627 ms`: a word, a colon, a number, milliseconds.
fn is_translated_duration(message: &str) -> bool {
    let Some((word, rest)) = message.split_once(':') else { return false };
    let number = rest.trim_start();
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    let is_word = !word.trim_end().is_empty() && word.trim_end().chars().all(char::is_alphabetic);
    let fraction = number.get(digits..).and_then(|rest| rest.strip_prefix(['.', ','])).unwrap_or_default();
    let unit = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit()).trim_start();
    is_word && digits > 0 && (unit.starts_with("ms") || unit.starts_with("мс") || unit.starts_with("ミリ秒"))
}

fn is_number(digits: &str) -> bool {
    digits.bytes().all(|digit| digit.is_ascii_digit())
}

/// `0.627` milliseconds are 627 microseconds.
fn micros_from_millis(text: &str) -> Option<i64> {
    let (millis, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !is_number(millis) || !is_number(fraction) || fraction.len() > 3 {
        return None;
    }
    let micros: i64 = format!("{fraction:0<3}").parse().ok()?;
    millis.parse::<i64>().ok()?.checked_mul(1_000)?.checked_add(micros)
}

/// The parameters of a `DETAIL` such as `parameters: $1 = 'it''s', $2 = NULL`; none where it is about something else.
///
/// # Errors
/// Parameters that cannot be read to their end.
pub(super) fn parameters_of_detail(detail: &str) -> Result<Vec<Option<Value>>, String> {
    match detail.strip_prefix("parameters: ").or_else(|| detail.strip_prefix("Parameters: ")) {
        Some(parameters) => parse_parameters(parameters),
        None => Ok(Vec::new()),
    }
}

/// Whether a `CONTEXT` names nothing but the portal with its parameters: what it is about was sent by the client. Within a
/// function, the portal stands below what runs in it.
pub(super) fn is_of_portal_alone(context: &str) -> bool {
    let named = context.strip_prefix("portal \"").and_then(|name| name.split_once("\" with parameters: "));
    named.is_some_and(|(name, _)| !name.contains('\n')) || context.starts_with("unnamed portal with parameters: ")
}

/// The parameters of a `CONTEXT`: `unnamed portal with parameters: …`, `portal "x" with parameters: …`.
///
/// # Errors
/// Parameters that cannot be read to their end.
pub(super) fn parameters_of_context(context: &str) -> Result<Vec<Option<Value>>, String> {
    const MARK: &str = "with parameters: ";
    let mut start = 0;
    for line in context.split_inclusive('\n') {
        if line.starts_with("unnamed portal with parameters: ") || line.starts_with("portal \"") {
            let rest = &context[start..];
            return rest.find(MARK).map_or(Ok(Vec::new()), |mark| parse_parameters(&rest[mark + MARK.len()..]));
        }
        start += line.len();
    }
    Ok(Vec::new())
}

fn parse_parameters(text: &str) -> Result<Vec<Option<Value>>, String> {
    let mut values = Vec::new();
    let mut rest = text;
    loop {
        let number = values.len() + 1;
        let unreadable = || format!("parameter ${number} cannot be read");
        rest = rest.strip_prefix(&format!("${number} = ")).ok_or_else(unreadable)?;
        let value = if let Some(after) = rest.strip_prefix("NULL") {
            rest = after;
            Some(Value::NULL)
        } else {
            let (value, after) = parse_quoted(rest).ok_or_else(unreadable)?;
            rest = after;
            // How the log ends a value that `log_parameter_max_length` cut; a whole one that ends so is not told apart.
            (!value.ends_with("...")).then(|| Value::text(value))
        };
        values.push(value);
        if rest.is_empty() {
            return Ok(values);
        }
        rest = rest.strip_prefix(", ").ok_or_else(unreadable)?;
    }
}

/// A text in single quotes, which stand doubled inside it, and what follows.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('\'')?;
    let mut value = String::new();
    loop {
        let (part, after) = rest.split_once('\'')?;
        value.push_str(part);
        match after.strip_prefix('\'') {
            Some(after) => {
                value.push('\'');
                rest = after;
            }
            None => return Some((value, after)),
        }
    }
}

/// Where a session is connected to, as `connection authorized: …` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connection<'message> {
    pub(super) database: Option<&'message str>,
    pub(super) application_name: Option<&'message str>,
}

/// What `connection authorized: user=… database=… application_name=…` says; `None` for any other message.
pub(super) fn connection_of_message(message: &str) -> Option<Connection<'_>> {
    // What TLS or GSSAPI add stands in the same line.
    const ADDED: [&str; 2] = [" SSL enabled (", " GSS ("];
    let rest = message.strip_prefix("connection authorized: ")?;
    let end = ADDED.iter().filter_map(|mark| rest.find(mark)).min().unwrap_or(rest.len());
    let fields = rest.get(..end)?;
    let (fields, application_name) = match fields.split_once(" application_name=") {
        Some((fields, name)) => (fields, Some(name)),
        None => (fields, None),
    };
    let database = fields.split_once(" database=").map(|(_, database)| database);
    Some(Connection { database, application_name })
}

/// A log line's time, such as `2026-11-23 08:07:30.422 UTC`.
///
/// # Errors
/// A zone that only a country's rules (or a guess) could turn into an offset, or no time at all.
pub(super) fn parse_log_time(text: &str) -> Result<Timestamp, String> {
    let no_time = || format!("'{text}' is no time as PostgreSQL's log writes it, such as 2026-11-23 08:07:30.422 UTC");
    if let Some((seconds, millis)) = text.trim().split_once('.').filter(|(seconds, _)| is_number(seconds)) {
        // `%n` prints seconds since 1970 with three decimals.
        let micros = micros_from_millis(&format!("{seconds}{millis}")).filter(|_| millis.len() == 3);
        return micros.map(Timestamp::from_micros).ok_or_else(no_time);
    }
    let (time, zone) = text.trim().rsplit_once(' ').ok_or_else(no_time)?;
    let time: civil::DateTime = time.parse().map_err(|_| no_time())?;
    let offset = zone_offset(zone).ok_or_else(|| {
        format!("the time zone '{zone}' means different offsets in different places: set log_timezone = 'UTC'")
    })?;
    let time = offset.to_timestamp(time).map_err(|_| no_time())?;
    Ok(Timestamp::from_micros(time.as_microsecond()))
}

/// `UTC`, `GMT`, `+02`, `-0330`, `+05:30`.
fn zone_offset(zone: &str) -> Option<Offset> {
    if matches!(zone, "UTC" | "GMT" | "UCT" | "Z") {
        return Some(Offset::UTC);
    }
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits.replace(':', "")),
        ("-", digits) => (-1, digits.replace(':', "")),
        _ => return None,
    };
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let hours: i32 = digits[..2].parse().ok()?;
    let minutes: i32 = if digits.len() == 4 { digits[2..].parse().ok()? } else { 0 };
    Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let sql = "UPDATE t SET a = 'x: y'";
        for (message, expected) in [
            ("statement: UPDATE t SET a = 'x: y'", Message::Begins { sql, by_portal: false }),
            ("execute <unnamed>: UPDATE t SET a = 'x: y'", Message::Begins { sql, by_portal: true }),
            ("execute S_1/C_2: UPDATE t SET a = 'x: y'", Message::Begins { sql, by_portal: true }),
            ("execute fetch from S_1/C_2: SELECT 1", Message::Fetches),
            ("duration: 0.627 ms", Message::Done),
            (
                "duration: 12.5 ms  statement: UPDATE t SET a = 'x: y'",
                Message::Executed { micros: 12_500, sql, by_portal: false },
            ),
            (
                "duration: 3 ms  execute _pg3_0: UPDATE t SET a = 'x: y'",
                Message::Executed { micros: 3_000, sql, by_portal: true },
            ),
            ("duration: 3.000 ms  execute fetch from a/b: SELECT 1", Message::Other),
            ("duration: 0.834 ms  parse <unnamed>: SELECT 1", Message::Other),
            ("duration: 0.834 ms  bind <unnamed>: SELECT 1", Message::Other),
            ("duration: 0.834 ms  plan:\n{}", Message::Planned { micros: 834, plan: "\n{}" }),
            ("disconnection: session time: 0:00:00.009 user=a database=b host=[local]", Message::Disconnection),
            ("Dauer: 0.627 ms  Anweisung: SELECT 1", Message::Translated),
            ("durée : 0.627 ms", Message::Translated),
            ("checkpoint complete: wrote 3 buffers (0.0%); write=0.202 s", Message::Other),
            ("connection received: host=127.0.0.1 port=43274", Message::Other),
        ] {
            assert_eq!(Message::parse(message), expected, "{message}");
        }
    }

    #[test]
    fn parameters_are_read_exactly() {
        let detail =
            "parameters: $1 = '1', $2 = NULL, $3 = 'it''s a ''quote'', $1 = ''x''\nnewline', $4 = '', $5 = 'NULL'";
        let values = parameters_of_detail(detail).expect("sound");
        let text = |text: &str| Some(Value::text(text));
        let third = text("it's a 'quote', $1 = 'x'\nnewline");
        assert_eq!(values, [text("1"), Some(Value::NULL), third, text(""), text("NULL")]);
        let cut = parameters_of_detail("parameters: $1 = 'abcdefgh...', $2 = '2'").expect("sound");
        assert_eq!(cut, [None, text("2")]);
        assert_eq!(parameters_of_detail("prepare: PREPARE p AS SELECT 1").expect("none"), []);
        assert_eq!(parameters_of_detail("Parameters: $1 = 'a'").expect("as PostgreSQL 17 writes it"), [text("a")]);
        for damaged in ["parameters: $1 = 'a", "parameters: $2 = 'a'", "parameters: $1 = 'a' x", "parameters: "] {
            assert!(parameters_of_detail(damaged).is_err(), "{damaged}");
        }
        let context =
            "SQL statement \"UPDATE t\"\nPL/pgSQL function f() line 1\nunnamed portal with parameters: $1 = 'a\nb'";
        assert_eq!(parameters_of_context(context).expect("sound"), [text("a\nb")]);
        assert_eq!(
            parameters_of_context("portal \"c\" with parameters: $1 = NULL").expect("sound"),
            [Some(Value::NULL)]
        );
        assert_eq!(parameters_of_context("COPY dfr, line 2, column id: \"zz\"").expect("none"), []);
        for (context, is_alone) in [
            (context, false),
            ("unnamed portal with parameters: $1 = 'a\nb'", true),
            ("portal \"c \"1\"\" with parameters: $1 = NULL", true),
            ("portal \"c\" parameter $1", false),
            ("PL/pgSQL function f() line 1\nportal \"c\" with parameters: $1 = NULL", false),
        ] {
            assert_eq!(is_of_portal_alone(context), is_alone, "{context}");
        }
    }

    #[test]
    fn a_connection_tells_its_database_and_application() {
        let connection = |database, application_name| Some(Connection { database: Some(database), application_name });
        for (message, expected) in [
            ("connection authorized: user=a database=shop", connection("shop", None)),
            ("connection authorized: user=a database=shop application_name=a b", connection("shop", Some("a b"))),
            (
                "connection authorized: user=a database=shop application_name=x SSL enabled (protocol=TLSv1.3)",
                connection("shop", Some("x")),
            ),
            ("connection received: host=[local]", None),
        ] {
            assert_eq!(connection_of_message(message), expected, "{message}");
        }
    }

    #[test]
    fn times_need_an_offset() {
        let utc = parse_log_time("2026-11-23 08:07:30.422 UTC").expect("a time");
        assert_eq!(utc.to_string(), "2026-11-23T08:07:30.422Z");
        assert_eq!(parse_log_time("2026-11-23 08:07:30.422 GMT"), Ok(utc));
        assert_eq!(parse_log_time("2026-11-23 10:07:30.422 +02"), Ok(utc));
        assert_eq!(parse_log_time("2026-11-23 04:37:30.422 -0330"), Ok(utc));
        let refused = parse_log_time("2026-11-23 09:07:30.422 CET").expect_err("a guess");
        assert!(refused.contains("log_timezone = 'UTC'"), "{refused}");
        assert_eq!(parse_log_time("1795421250.422"), Ok(utc), "seconds since 1970");
        assert!(parse_log_time("yesterday").is_err());
        assert!(parse_log_time("2026-13-23 08:07:30 UTC").is_err());
    }
}
