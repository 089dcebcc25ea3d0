//! What pgaudit writes into PostgreSQL's log: `AUDIT: SESSION,5,3,WRITE,INSERT,TABLE,public.t,"INSERT …",parameters[,rows]`.
//!
//! One statement has several such lines: one for each relation (`pgaudit.log_relation`), for what its triggers and
//! functions run, and for the checks of foreign keys. They share the statement's number.

use crate::model::Value;

/// One such line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AuditLine {
    /// The number of the statement in its session.
    pub(super) statement: u64,
    /// Whether the statement that was sent may still follow as a later line of the same number: with `pgaudit.log_rows`
    /// a query is told when it ends, after what it made run.
    pub(super) may_be_nested: bool,
    /// What it did, as pgaudit calls it.
    pub(super) command: String,
    pub(super) sql: String,
    /// `$1` and on. An empty value is not known: it may be an empty text, or NULL.
    pub(super) parameters: Vec<Option<Value>>,
}

/// What stands where the text was told by an earlier line, or is not to be told at all.
const WITHOUT_TEXT: [&str; 2] = ["<previously logged>", "<not logged>"];

/// Commands that are told when they end, where others are told when they begin.
const TOLD_AT_THE_END: [&str; 6] = ["SELECT", "INSERT", "UPDATE", "DELETE", "EXECUTE", "CALL"];

impl AuditLine {
    /// Reads what follows `AUDIT: `; `None` for a line that repeats another, or tells no text.
    ///
    /// # Errors
    /// A line that is not as pgaudit writes it.
    pub(super) fn parse(line: &str) -> Result<Option<AuditLine>, String> {
        let fields = csv_fields(line)?;
        let [kind, statement, _, _, command, _, _, sql, parameters, rest @ ..] = fields.as_slice() else {
            return Err("pgaudit's line has too few fields".to_owned());
        };
        let statement = statement.parse().map_err(|_| "pgaudit's line names no statement".to_owned())?;
        // OBJECT repeats what SESSION says, of the relations that are watched.
        if kind != "SESSION" || WITHOUT_TEXT.contains(&sql.as_str()) {
            return Ok(None);
        }
        let has_rows = !rest.is_empty();
        Ok(Some(AuditLine {
            statement,
            may_be_nested: has_rows && TOLD_AT_THE_END.contains(&command.as_str()),
            command: command.clone(),
            sql: sql.clone(),
            parameters: parameters_of(parameters)?,
        }))
    }

    /// Whether it is a foreign key's check, which the server makes by itself: one that is deferred has a number of its own.
    pub(super) fn is_foreign_key_check(&self) -> bool {
        self.sql.starts_with("SELECT 1 FROM ONLY ") && self.sql.ends_with(" FOR KEY SHARE OF x")
    }
}

fn parameters_of(field: &str) -> Result<Vec<Option<Value>>, String> {
    if field.is_empty() || field == "<none>" || WITHOUT_TEXT.contains(&field) {
        return Ok(Vec::new());
    }
    let known = |value: String| match value.as_str() {
        "" | "<long param suppressed>" => None,
        _ => Some(Value::text(value)),
    };
    Ok(csv_fields(field)?.into_iter().map(known).collect())
}

fn csv_fields(text: &str) -> Result<Vec<String>, String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(true) => Ok(record.iter().map(str::to_owned).collect()),
        Ok(false) => Err("pgaudit's line is empty".to_owned()),
        Err(error) => Err(format!("pgaudit's line cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_its_statement() {
        let line = |statement, may_be_nested, command: &str, sql: &str, parameters: &[Option<&str>]| {
            let parameters = parameters.iter().map(|parameter| parameter.map(Value::text)).collect();
            let (command, sql) = (command.to_owned(), sql.to_owned());
            Ok(Some(AuditLine { statement, may_be_nested, command, sql, parameters }))
        };
        for (text, expected) in [
            ("SESSION,1,1,MISC,BEGIN,,,BEGIN,<none>,0", line(1, false, "BEGIN", "BEGIN", &[])),
            (
                "SESSION,2,1,WRITE,INSERT,TABLE,public.t,\"INSERT INTO t VALUES ($1,$2,$3)\",\"a,,\"\"b, \"\"\"\"c\"\"\"\"\"\"\",1",
                line(2, true, "INSERT", "INSERT INTO t VALUES ($1,$2,$3)", &[Some("a"), None, Some("b, \"c\"")]),
            ),
            (
                "SESSION,3,1,WRITE,UPDATE,TABLE,public.t,\"UPDATE t\nSET a = 'it''s', b = 2\",<not logged>",
                line(3, false, "UPDATE", "UPDATE t\nSET a = 'it''s', b = 2", &[]),
            ),
            ("SESSION,4,1,FUNCTION,DO,,,DO $$ BEGIN END $$,<none>,0", line(4, false, "DO", "DO $$ BEGIN END $$", &[])),
            ("OBJECT,2,1,WRITE,UPDATE,TABLE,public.t,UPDATE t SET a = 1,<none>", Ok(None)),
            ("SESSION,2,2,READ,SELECT,TABLE,public.u,<previously logged>,<previously logged>", Ok(None)),
        ] {
            assert_eq!(AuditLine::parse(text), expected, "{text}");
        }
        let audit = |sql: &str| {
            let line = AuditLine::parse(&format!("SESSION,1,1,READ,SELECT,TABLE,public.t,\"{sql}\",<none>"));
            line.expect("sound").expect("it tells its text")
        };
        let check = "SELECT 1 FROM ONLY \"\"public\"\".\"\"t\"\" x WHERE \"\"id\"\" OPERATOR(pg_catalog.=) $1 FOR KEY SHARE OF x";
        assert!(audit(check).is_foreign_key_check() && !audit("SELECT 1 FROM ONLY t x").is_foreign_key_check());
        for damaged in ["SESSION,1,1,READ", "", "SESSION,x,1,READ,SELECT,,,SELECT 1,<none>"] {
            assert!(AuditLine::parse(damaged).is_err(), "{damaged}");
        }
    }
}
