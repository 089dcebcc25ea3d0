//! `postgres-jsonlog`: PostgreSQL's `log_destination = 'jsonlog'` (PostgreSQL 15 and newer).
//!
//! In: one JSON object a line; keys without a value are left out. Out: [`crate::model::LogEvent`]s, one for each
//! execution of a statement, each failure and each session's end, whatever mix of `log_statement`, `log_duration` and
//! `log_min_duration_statement` wrote the log. Lines that tell nothing of statements are passed over.

use serde::Deserialize;

use super::format::{Format, LineOutcome, LineReader};
use super::json_fields::json_reason;
use super::postgres_session::{LogLine, Sessions};
use crate::model::Recording;

/// The format `postgres-jsonlog`.
pub(super) struct PostgresJsonlog;

impl Format for PostgresJsonlog {
    fn name(&self) -> &'static str {
        "postgres-jsonlog"
    }

    fn recognises(&self, line: &str) -> bool {
        let line = line.trim_start();
        // Inside a JSON text these names would be escaped, so they are keys.
        line.starts_with('{')
            && (line.contains("\"error_severity\"") || line.contains("\"session_id\"") && line.contains("\"line_num\""))
    }

    fn reader(&self) -> Box<dyn LineReader> {
        Box::new(JsonlogReader::default())
    }
}

/// The keys that are read; the others say nothing of statements.
#[derive(Deserialize)]
struct JsonLine {
    timestamp: Option<String>,
    session_id: Option<String>,
    line_num: Option<u64>,
    vxid: Option<String>,
    txid: Option<u64>,
    error_severity: Option<String>,
    message: Option<String>,
    detail: Option<String>,
    context: Option<String>,
    statement: Option<String>,
    application_name: Option<String>,
    dbname: Option<String>,
    backend_type: Option<String>,
}

#[derive(Default)]
struct JsonlogReader {
    sessions: Sessions,
}

impl LineReader for JsonlogReader {
    fn read_line(&mut self, line: &str, recording: &mut Recording) -> Result<LineOutcome, String> {
        let line: JsonLine = serde_json::from_str(line).map_err(|error| json_reason(&error))?;
        let missing = |key: &str| format!("`{key}` is missing");
        let number = line.line_num.ok_or_else(|| missing("line_num"))?;
        let line = LogLine {
            time: line.timestamp.ok_or_else(|| missing("timestamp"))?,
            session: line.session_id.ok_or_else(|| missing("session_id"))?.into(),
            number,
            log_number: number,
            earlier_ended: None,
            next_number: number.checked_add(1),
            severity: line.error_severity.ok_or_else(|| missing("error_severity"))?,
            // PostgreSQL leaves out what is empty.
            message: line.message.unwrap_or_default(),
            detail: line.detail,
            context: line.context,
            statement: line.statement,
            transaction: line.txid.filter(|xid| *xid != 0),
            virtual_transaction: line.vxid,
            application_name: line.application_name,
            database: line.dbname,
            backend_type: line.backend_type,
        };
        self.sessions.read(line, &mut recording.log)
    }

    fn finish(&mut self, recording: &mut Recording) {
        self.sessions.finish(&mut recording.log);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LogEvent, LogEventKind, TransactionId, Value};

    /// Log lines of session `s` numbered from 1, each given by its severity, message and further keys.
    fn read(lines: &[(&str, &str, serde_json::Value)]) -> (Vec<LogEvent>, Vec<Result<LineOutcome, String>>) {
        let mut reader = JsonlogReader::default();
        let mut recording = Recording::default();
        let mut outcomes = Vec::new();
        for (number, (severity, message, rest)) in (1..).zip(lines) {
            let mut line = serde_json::json!({
                "timestamp": format!("2026-11-23 08:05:46.{number:03} UTC"), "session_id": "s", "line_num": number,
                "error_severity": severity, "message": message, "application_name": "shop@v42",
                "backend_type": "client backend",
            });
            if let (Some(line), Some(rest)) = (line.as_object_mut(), rest.as_object()) {
                line.extend(rest.clone());
            }
            outcomes.push(reader.read_line(&line.to_string(), &mut recording));
        }
        reader.finish(&mut recording);
        (recording.log, outcomes)
    }

    fn summary(events: &[LogEvent]) -> Vec<(u64, LogEventKind, &str, Option<&str>)> {
        let transaction = |event: &LogEvent| event.transaction.as_ref().map(|TransactionId(id)| id.to_string());
        events
            .iter()
            .map(|event| {
                let transaction: Option<&'static str> = transaction(event).map(|id| &*id.leak());
                (event.line, event.kind, event.sql.as_deref().unwrap_or_default(), transaction)
            })
            .collect()
    }

    #[test]
    fn a_line_with_its_duration_is_one_execution() {
        let (events, _) = read(&[
            ("LOG", "duration: 0.8 ms  parse <unnamed>: INSERT", serde_json::json!({"vxid": "3/1"})),
            ("LOG", "duration: 0.1 ms  bind <unnamed>: INSERT", serde_json::json!({"vxid": "3/1"})),
            (
                "LOG",
                "duration: 2.500 ms  execute <unnamed>: INSERT",
                serde_json::json!({"vxid": "3/1", "txid": 747, "detail": "parameters: $1 = 'it''s', $2 = NULL"}),
            ),
        ]);
        assert_eq!(summary(&events), [(3, LogEventKind::Statement, "INSERT", Some("747"))]);
        assert_eq!(events[0].parameters, [Some(Value::text("it's")), Some(Value::NULL)]);
        assert_eq!(events[0].ts.as_micros() - events[0].started.as_micros(), 2_500);
        assert_eq!(events[0].virtual_transaction.as_deref(), Some("3/1"));
        assert_eq!(events[0].application_name.as_deref(), Some("shop@v42"));
    }

    #[test]
    fn a_line_before_and_a_bare_duration_after_are_one_execution() {
        let (events, _) = read(&[
            ("LOG", "statement: BEGIN", serde_json::json!({"vxid": "3/1", "txid": 0})),
            ("LOG", "duration: 0.1 ms", serde_json::json!({"vxid": "3/1", "txid": 0})),
            ("LOG", "execute <unnamed>: INSERT", serde_json::json!({"vxid": "3/1", "detail": "parameters: $1 = '1'"})),
            ("NOTICE", "a trigger says so", serde_json::json!({"vxid": "3/1"})),
            ("LOG", "duration: 0.3 ms", serde_json::json!({"vxid": "3/1", "txid": 747})),
            ("LOG", "statement: COMMIT", serde_json::json!({"vxid": "3/1", "txid": 747})),
            ("LOG", "duration: 0.5 ms", serde_json::json!({"vxid": "3/0", "txid": 0})),
            ("LOG", "disconnection: session time: 0:00:00.009 user=a", serde_json::json!({})),
        ]);
        assert_eq!(
            summary(&events),
            [
                (1, LogEventKind::Statement, "BEGIN", None),
                (3, LogEventKind::Statement, "INSERT", Some("747")),
                (6, LogEventKind::Statement, "COMMIT", Some("747")),
                (8, LogEventKind::Disconnection, "", None),
            ]
        );
        assert_eq!(events[1].parameters, [Some(Value::text("1"))]);
        assert_eq!(events[1].ts.as_micros() - events[1].started.as_micros(), 2_000);
        assert_eq!(events[2].virtual_transaction.as_deref(), Some("3/1"), "the transaction it ended");
    }

    #[test]
    fn a_failure_is_one_event_with_the_statement_that_failed() {
        let (events, _) = read(&[
            ("LOG", "statement: SELECT 1/0", serde_json::json!({"vxid": "3/1", "txid": 779})),
            ("ERROR", "division by zero", serde_json::json!({"vxid": "3/1", "txid": 779, "statement": "SELECT 1/0"})),
            ("LOG", "statement: COMMIT", serde_json::json!({"vxid": "3/0", "txid": 779})),
            ("LOG", "duration: 0.03 ms", serde_json::json!({"vxid": "3/0"})),
            (
                "ERROR",
                "duplicate key",
                serde_json::json!({
                    "vxid": "3/2", "statement": "INSERT", "context": "unnamed portal with parameters: $1 = 'x'",
                }),
            ),
            ("FATAL", "terminating connection due to administrator command", serde_json::json!({})),
        ]);
        assert_eq!(
            summary(&events),
            [
                (1, LogEventKind::Error, "SELECT 1/0", Some("779")),
                (3, LogEventKind::Statement, "COMMIT", Some("779")),
                (5, LogEventKind::Error, "INSERT", None),
                (6, LogEventKind::Disconnection, "", None),
            ]
        );
        assert_eq!(events[0].message.as_deref(), Some("division by zero"));
        assert_eq!(events[1].virtual_transaction, None);
        assert_eq!(events[2].parameters, [Some(Value::text("x"))]);
    }

    #[test]
    fn an_execution_without_a_duration_is_kept() {
        let (events, _) = read(&[
            ("LOG", "statement: INSERT 1", serde_json::json!({"vxid": "3/1"})),
            ("LOG", "statement: INSERT 2", serde_json::json!({"vxid": "3/2"})),
            ("ERROR", "division by zero", serde_json::json!({"vxid": "3/3", "statement": "SELECT 1/0"})),
        ]);
        let kinds: Vec<_> = events.iter().map(|event| (event.line, event.kind)).collect();
        let expected = [(1, LogEventKind::Statement), (2, LogEventKind::Statement), (3, LogEventKind::Error)];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_cursor_that_is_fetched_from_is_one_execution() {
        let (events, _) = read(&[
            ("LOG", "execute s/c: SELECT 1", serde_json::json!({})),
            ("LOG", "duration: 0.1 ms", serde_json::json!({})),
            ("LOG", "execute fetch from s/c: SELECT 1", serde_json::json!({})),
            ("LOG", "duration: 0.1 ms", serde_json::json!({})),
            ("LOG", "duration: 0.1 ms  execute fetch from s/c: SELECT 1", serde_json::json!({})),
        ]);
        assert_eq!(summary(&events), [(1, LogEventKind::Statement, "SELECT 1", None)]);
    }

    #[test]
    fn what_auto_explain_tells_is_counted_once() {
        let plan =
            |sql: &str| format!("duration: 0.5 ms  plan:\n{}", serde_json::json!({"Query Text": sql, "Plan": {}}));
        let (insert, update, several) =
            ("INSERT INTO t VALUES (1)", "UPDATE t SET a = $1", "DELETE FROM t; DELETE FROM u");
        let at = |vxid: &str, txid: u64| serde_json::json!({"vxid": vxid, "txid": txid});
        let nested = serde_json::json!({"vxid": "3/1", "txid": 7, "context": "SQL statement"});
        let detail = serde_json::json!({"detail": "parameters: $1 = '5'"});
        let (events, _) = read(&[
            ("LOG", &plan("SELECT 1 FROM ONLY t FOR KEY SHARE"), nested),
            ("LOG", &plan(insert), at("3/1", 7)),
            ("LOG", &plan(insert), at("3/1", 7)),
            ("LOG", &plan(update), at("3/2", 8)),
            ("LOG", &format!("duration: 0.7 ms  execute <unnamed>: {update}"), detail),
            ("LOG", &format!("statement: {insert}"), at("3/3", 0)),
            ("LOG", &plan(insert), at("3/3", 9)),
            ("LOG", "duration: 0.7 ms", serde_json::json!({})),
            ("LOG", &plan(several), at("3/4", 10)),
            ("LOG", &plan(several), at("3/4", 10)),
        ]);
        assert_eq!(
            summary(&events),
            [
                (2, LogEventKind::Statement, insert, Some("7")),
                (3, LogEventKind::Statement, insert, Some("7")),
                (4, LogEventKind::Statement, update, Some("8")),
                (6, LogEventKind::Statement, insert, Some("9")),
                (9, LogEventKind::Statement, several, Some("10")),
            ]
        );
        assert_eq!(events[2].parameters, [Some(Value::text("5"))]);
    }

    #[test]
    fn what_pgaudit_tells_is_counted_once() {
        let (insert, update) = ("INSERT INTO t VALUES ($1)", "UPDATE t SET a = 1");
        let audit = |rest: &str| format!("AUDIT: {rest}");
        let at = |vxid: &str, txid: u64| serde_json::json!({"vxid": vxid, "txid": txid});
        let check = "READ,SELECT,TABLE,public.u,SELECT 1 FROM ONLY u FOR KEY SHARE";
        let (events, _) = read(&[
            ("LOG", &audit("SESSION,1,1,MISC,BEGIN,,,BEGIN,<none>,0"), at("3/1", 0)),
            // With rows, a statement is told when it ends: its trigger's and its foreign key's before it.
            ("LOG", &audit(&format!("OBJECT,2,1,{check},<none>,1")), at("3/1", 7)),
            ("LOG", &audit(&format!("SESSION,2,1,{check},<none>,1")), at("3/1", 7)),
            (
                "LOG",
                &audit("SESSION,2,2,WRITE,INSERT,TABLE,public.log,INSERT INTO log VALUES (1),<none>,1"),
                at("3/1", 7),
            ),
            ("LOG", &audit(&format!("SESSION,2,3,WRITE,INSERT,TABLE,public.t,{insert},5,1")), at("3/1", 7)),
            // The server tells it too.
            ("LOG", &format!("duration: 0.7 ms  execute <unnamed>: {insert}"), at("3/1", 7)),
            // Without rows, before what it makes run.
            ("LOG", &audit(&format!("SESSION,3,1,WRITE,UPDATE,TABLE,public.t,{update},<none>")), at("3/1", 7)),
            ("LOG", &audit(&format!("SESSION,3,2,{check},<none>")), at("3/1", 7)),
            ("LOG", &audit("SESSION,4,1,FUNCTION,DO,,,DO $$ x $$,<none>,0"), at("3/1", 7)),
            ("LOG", &audit("SESSION,4,2,WRITE,INSERT,TABLE,public.t,INSERT INTO t VALUES (1),<none>,1"), at("3/1", 7)),
            ("LOG", &format!("statement: {update}"), at("3/2", 0)),
            ("LOG", &audit(&format!("SESSION,5,1,WRITE,UPDATE,TABLE,public.t,{update},<none>,1")), at("3/2", 8)),
            ("LOG", "duration: 0.7 ms", serde_json::json!({})),
            ("LOG", &audit(&format!("SESSION,6,1,WRITE,UPDATE,TABLE,public.t,{update},<none>")), at("3/3", 9)),
            ("ERROR", "division by zero", serde_json::json!({"vxid": "3/3", "statement": update})),
        ]);
        assert_eq!(
            summary(&events),
            [
                (1, LogEventKind::Statement, "BEGIN", None),
                (5, LogEventKind::Statement, insert, Some("7")),
                (7, LogEventKind::Statement, update, Some("7")),
                (9, LogEventKind::Statement, "DO $$ x $$", Some("7")),
                (11, LogEventKind::Statement, update, Some("8")),
                (14, LogEventKind::Error, update, Some("9")),
            ]
        );
        assert_eq!(events[1].parameters, [Some(Value::text("5"))]);
    }

    #[test]
    fn a_plan_is_read_with_its_portals_parameters() {
        let plan =
            |sql: &str| format!("duration: 0.5 ms  plan:\n{}", serde_json::json!({"Query Text": sql, "Plan": {}}));
        let (update, insert) = ("UPDATE t SET a = $1 WHERE b = $2", "INSERT INTO t VALUES ($1)");
        let within = |context: &str| serde_json::json!({"vxid": "3/1", "txid": 7, "context": context});
        let (events, _) = read(&[
            ("LOG", &plan(update), within("unnamed portal with parameters: $1 = 'it''s; x', $2 = '2\nunnamed'")),
            ("LOG", &plan(update), within("portal \"c\" with parameters: $1 = NULL, $2 = '3'")),
            (
                "LOG",
                &plan(insert),
                within(
                    "SQL statement \"INSERT\"\nPL/pgSQL function f() line 1\nunnamed portal with parameters: $1 = '4'",
                ),
            ),
            ("LOG", &plan(insert), within("unnamed portal with parameters: $1 = '5'")),
            ("LOG", &plan(insert), within("unnamed portal with parameters: $1 = '5'")),
        ]);
        let parameters: Vec<_> = events.iter().map(|event| (event.line, event.parameters.clone())).collect();
        let text = |text: &str| Some(Value::text(text));
        assert_eq!(
            parameters,
            [
                (1, vec![text("it's; x"), text("2\nunnamed")]),
                (2, vec![Some(Value::NULL), text("3")]),
                (4, vec![text("5")]),
                (5, vec![text("5")]),
            ],
            "the same text and parameters once more are another execution"
        );
    }

    #[test]
    fn what_is_told_after_its_duration_is_counted_once() {
        let plan =
            |sql: &str| format!("duration: 0.5 ms  plan:\n{}", serde_json::json!({"Query Text": sql, "Plan": {}}));
        let call = "SELECT f($1)";
        let executed = || format!("duration: 0.7 ms  execute <unnamed>: {call}");
        let audited = |statement: u32, substatement: u32, sql: &str| {
            format!("AUDIT: SESSION,{statement},{substatement},READ,SELECT,,,{sql},<none>,1")
        };
        let at = |vxid: &str| serde_json::json!({"vxid": vxid, "txid": 7});
        let portal =
            serde_json::json!({"vxid": "3/1", "txid": 7, "context": "unnamed portal with parameters: $1 = '1'"});
        let detail = serde_json::json!({"vxid": "3/1", "txid": 7, "detail": "parameters: $1 = '1'"});
        let (events, _) = read(&[
            // The portal of a query is closed by the next bind, or by the end of the transaction.
            ("LOG", &executed(), detail.clone()),
            ("LOG", &plan(call), portal.clone()),
            ("LOG", "duration: 0.1 ms  bind <unnamed>: SELECT f($1)", detail.clone()),
            ("LOG", &executed(), detail.clone()),
            ("LOG", &plan(call), portal.clone()),
            // One plan is one execution.
            ("LOG", &plan(call), portal),
            ("LOG", &plan(call), at("3/2")),
            // With log_statement, and with pgaudit, which tells before it of what ran within.
            ("LOG", &format!("execute <unnamed>: {call}"), at("3/3")),
            ("LOG", "duration: 0.7 ms", at("3/3")),
            ("LOG", &audited(4, 1, call), at("3/3")),
            ("LOG", &plan(call), at("3/3")),
            ("LOG", &audited(5, 1, "SELECT nested"), at("3/4")),
            ("LOG", &executed(), at("3/4")),
            ("LOG", &audited(5, 2, call), at("3/4")),
            ("LOG", &audited(6, 1, "SELECT single"), at("3/4")),
            ("LOG", &executed(), at("3/4")),
            ("LOG", &audited(7, 1, call), at("3/4")),
            // Without ids nothing says that it is the same transaction.
            ("LOG", &executed(), serde_json::json!({})),
            ("LOG", &plan(call), serde_json::json!({})),
        ]);
        let mut lines: Vec<u64> = events.iter().map(|event| event.line).collect();
        lines.sort_unstable();
        assert_eq!(lines, [1, 4, 6, 7, 8, 13, 15, 16, 18, 19]);
    }

    #[test]
    fn what_a_prepared_statement_ran_is_known() {
        let (prepare, execute) = ("PREPARE p(int) AS INSERT INTO t VALUES ($1)", "EXECUTE p(7)");
        let plan = format!("duration: 0.5 ms  plan:\n{}", serde_json::json!({"Query Text": prepare, "Plan": {}}));
        let audit = |rest: &str| format!("AUDIT: SESSION,{rest}");
        let at = |vxid: &str| serde_json::json!({"vxid": vxid, "txid": 7});
        let detail = serde_json::json!({"detail": format!("prepare: {prepare}")});
        let (events, _) = read(&[
            // By its plan alone, then told by the server too, once after the plan and once before.
            ("LOG", &plan, at("3/1")),
            ("LOG", &plan, at("3/2")),
            ("LOG", &format!("duration: 0.7 ms  statement: {execute}"), detail.clone()),
            ("LOG", &format!("statement: {execute}"), detail),
            ("LOG", &plan, at("3/3")),
            ("LOG", "duration: 0.7 ms", serde_json::json!({})),
            // By pgaudit, which tells the EXECUTE after it, with rows and without.
            ("LOG", &audit(&format!("1,1,WRITE,PREPARE,,,{prepare},<none>,0")), at("3/4")),
            ("LOG", &audit(&format!("2,1,WRITE,INSERT,TABLE,public.t,{prepare},7,1")), at("3/5")),
            ("LOG", &audit(&format!("2,2,MISC,EXECUTE,,,{execute},<none>,0")), at("3/5")),
            ("LOG", &audit(&format!("3,1,WRITE,INSERT,TABLE,public.t,{prepare},8")), at("3/6")),
            ("LOG", &audit(&format!("3,2,MISC,EXECUTE,,,{execute},<none>")), at("3/6")),
        ]);
        let told = |event: &LogEvent| {
            let first = event.parameters.first().cloned().flatten().and_then(|value| Some(value.as_str()?.to_owned()));
            (event.line, event.prepared.as_deref() == Some(prepare), first)
        };
        let parameter = |text: &str| Some(text.to_owned());
        assert_eq!(
            events.iter().map(told).collect::<Vec<_>>(),
            [
                (1, true, None),
                (2, true, None),
                (4, true, None),
                (7, false, None),
                (9, true, parameter("7")),
                (10, true, parameter("8")),
            ]
        );
    }

    #[test]
    fn pgaudits_numbers_tell_statements_apart() {
        let audit = |rest: &str| format!("AUDIT: SESSION,{rest}");
        let at = |vxid: &str| serde_json::json!({"vxid": vxid, "txid": 7});
        let several = "DELETE FROM t; DELETE FROM u";
        let (events, _) = read(&[
            // Two statements of one text, the second of which fires a trigger.
            ("LOG", &audit(&format!("1,1,WRITE,DELETE,TABLE,public.t,{several},<none>")), at("3/1")),
            ("LOG", &audit(&format!("2,1,WRITE,DELETE,TABLE,public.u,{several},<none>")), at("3/1")),
            ("LOG", &audit("2,2,WRITE,INSERT,TABLE,public.log,INSERT INTO log VALUES (1),<none>"), at("3/1")),
            // The server tells of writes alone: what it does not tell of is a statement of its own.
            ("LOG", "statement: INSERT INTO t VALUES (1)", at("3/2")),
            ("LOG", &audit("3,1,WRITE,INSERT,TABLE,public.t,INSERT INTO t VALUES (1),<none>"), at("3/2")),
            ("LOG", &audit("3,2,WRITE,INSERT,TABLE,public.log,INSERT INTO log VALUES (1),<none>"), at("3/2")),
            ("LOG", &audit("4,1,READ,SELECT,,,SELECT f(),<none>"), at("3/2")),
            // With parameters, a text is one statement, whatever it looks like.
            ("LOG", &audit("5,1,WRITE,DELETE,TABLE,public.t,DELETE FROM t WHERE a = $1; x,1"), at("3/2")),
            ("LOG", &audit("6,1,WRITE,DELETE,TABLE,public.t,DELETE FROM t WHERE a = $1; x,1"), at("3/2")),
            ("LOG", &audit("7,1,WRITE,DELETE,TABLE,public.t,DELETE FROM t WHERE a = 'x; y',<none>"), at("3/3")),
            ("LOG", &audit("8,1,WRITE,DELETE,TABLE,public.t,DELETE FROM t WHERE a = 'x; y',<none>"), at("3/3")),
            // What is in no transaction that has an id is in none together.
            ("LOG", &audit(&format!("9,1,WRITE,DELETE,TABLE,public.t,{several},<none>")), at("3/0")),
            ("LOG", &audit(&format!("10,1,WRITE,DELETE,TABLE,public.t,{several},<none>")), at("3/0")),
        ]);
        let lines: Vec<u64> = events.iter().map(|event| event.line).collect();
        assert_eq!(lines, [1, 4, 7, 8, 9, 10, 11, 12, 13]);
    }

    #[test]
    fn lost_lines_are_not_bridged() {
        let mut reader = JsonlogReader::default();
        let mut recording = Recording::default();
        let line = |number: u64, message: &str, txid: u64| {
            let line = serde_json::json!({
                "timestamp": "2026-11-23 08:05:46.001 UTC", "session_id": "s", "line_num": number, "txid": txid,
                "error_severity": "LOG", "message": message,
            });
            line.to_string()
        };
        for (number, message, txid) in [(1, "statement: INSERT", 0), (4, "duration: 1.0 ms", 999)] {
            reader.read_line(&line(number, message, txid), &mut recording).expect("sound");
        }
        reader.finish(&mut recording);
        assert_eq!(
            summary(&recording.log),
            [(1, LogEventKind::Statement, "INSERT", None)],
            "999 is another statement's"
        );
    }

    #[test]
    fn damage_is_named_and_idle_talk_is_not_damage() {
        let zone = serde_json::json!({"timestamp": "2026-11-23 09:05:46.001 CET"});
        let (events, outcomes) = read(&[
            ("LOG", "checkpoint complete: wrote 3 buffers", zone.clone()),
            ("LOG", "statement: SELECT 1", zone),
            ("LOG", "statement: SELECT 1", serde_json::json!({"detail": "parameters: $1 = 'cut"})),
            ("LOG", "Dauer: 0.627 ms  Anweisung: SELECT 1", serde_json::json!({})),
            ("FEHLER", "Division durch Null", serde_json::json!({})),
            ("LOG", "statement: SELECT 2", serde_json::json!({"session_id": null})),
            ("ERROR", "boom", serde_json::json!({"backend_type": "parallel worker", "statement": "SELECT"})),
            ("LOG", "elapsed: 12 ms", serde_json::json!({"context": "PL/pgSQL function f() line 1 at RAISE"})),
        ]);
        assert_eq!(events, []);
        for idle_talk in [0, 6, 7] {
            assert_eq!(outcomes[idle_talk], Ok(LineOutcome::Ignored));
        }
        for (outcome, reason) in outcomes[1..6].iter().zip([
            "log_timezone = 'UTC'",
            "parameter $1 cannot be read",
            "lc_messages = 'C'",
            "lc_messages = 'C'",
            "`session_id` is missing",
        ]) {
            assert!(outcome.as_ref().is_err_and(|found| found.contains(reason)), "{outcome:?}");
        }
    }
}
