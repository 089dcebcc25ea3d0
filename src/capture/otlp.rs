//! `otlp`: OpenTelemetry's traces and logs as its exporters write them in JSON, an export a line.
//!
//! In: `{"resourceSpans":[…]}` and `{"resourceLogs":[…]}`, with the database attributes of the stable semantic conventions
//! (`db.query.text`) or of those before (`db.statement`). Out: a [`LogEvent`] for each database span or record, in the
//! session of its service and trace, with the release that `service.version` names.
//!
//! A span tells what an application asked for and not what was committed: it has no transaction and no session of the
//! database. Row changes are joined to it by time and content.

use std::sync::Arc;

use serde_json::Value as Json;

use super::base64;
use super::change_stream::IdentityParts;
use super::format::{Format, LineOutcome, LineReader};
use super::json_fields::{self as fields, Object, member};
use super::names::Names;
use crate::model::{LogEvent, LogEventKind, Recording, SessionId, Timestamp, Value};

/// The format `otlp`.
pub(super) struct Otlp;

impl Format for Otlp {
    fn name(&self) -> &'static str {
        "otlp"
    }

    fn recognises(&self, line: &str) -> bool {
        let line = line.trim_start();
        line.starts_with('{')
            && ["\"resourceSpans\"", "\"resourceLogs\"", "\"resourceMetrics\""].iter().any(|name| line.contains(name))
    }

    fn reader(&self) -> Box<dyn LineReader> {
        Box::new(OtlpReader::default())
    }
}

#[derive(Default)]
struct OtlpReader {
    names: Names,
}

/// Who exported.
struct Resource {
    /// `service@version`, as an application would name itself to the database.
    application_name: Option<Arc<str>>,
}

/// What a span or a log record says of a statement.
struct Told {
    trace: String,
    span: String,
    started: Timestamp,
    ended: Timestamp,
    error: Option<String>,
}

impl LineReader for OtlpReader {
    /// What of an export can be read is recorded, whatever else stands in it.
    fn read_line(&mut self, line: &str, recording: &mut Recording) -> Result<LineOutcome, String> {
        let export = fields::object_of_line(line)?;
        let known = ["resourceSpans", "resourceLogs", "resourceMetrics"];
        if !known.iter().any(|name| export.contains_key(*name)) {
            return Err("neither `resourceSpans` nor `resourceLogs`".to_owned());
        }
        let before = recording.log.len();
        let mut damage: Vec<String> = Vec::new();
        for (resources, scopes, items) in
            [("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords")]
        {
            for resource in fields::list(&export, resources)? {
                let read = self.resource(resource, scopes, items, recording, &mut damage);
                damage.extend(read.err());
            }
        }
        match damage.first() {
            None if recording.log.len() > before => Ok(LineOutcome::Used),
            None => Ok(LineOutcome::Ignored),
            Some(first) if damage.len() == 1 => Err(first.clone()),
            Some(first) => Err(format!("{first} (and {} more such)", damage.len() - 1)),
        }
    }

    fn finish(&mut self, _recording: &mut Recording) {}
}

impl OtlpReader {
    fn resource(
        &mut self,
        json: &Json,
        scopes: &str,
        items: &str,
        recording: &mut Recording,
        damage: &mut Vec<String>,
    ) -> Result<(), String> {
        let Json::Object(object) = json else { return Err("each resource must be an object".to_owned()) };
        let resource = Resource { application_name: application_name(object)? };
        // Before 1.0 a scope was an instrumentation library.
        let older = scopes.replacen("scope", "instrumentationLibrary", 1);
        for scope in fields::list(object, scopes)?.iter().chain(fields::list(object, &older)?) {
            let Json::Object(scope) = scope else { return Err("each scope must be an object".to_owned()) };
            let of_older = if items == "logRecords" { fields::list(scope, "logs")? } else { &[] };
            for item in fields::list(scope, items)?.iter().chain(of_older) {
                let read = match item {
                    Json::Object(item) => self.item(item, &resource),
                    _ => Err(format!("each of `{items}` must be an object")),
                };
                match read {
                    Ok(event) => recording.log.extend(event),
                    Err(reason) => damage.push(reason),
                }
            }
        }
        Ok(())
    }

    /// A span or a record; `None` where it speaks of no statement.
    fn item(&mut self, item: &Object, resource: &Resource) -> Result<Option<LogEvent>, String> {
        let attributes = fields::list(item, "attributes")?;
        let Some(sql) = statement(attributes).filter(|sql| !sql.trim().is_empty()) else { return Ok(None) };
        // What a server tells of itself is told by its log; SERVER spans are not of databases.
        let told = told(item)?;
        let parameters = parameters(attributes)?;
        let kind = if told.error.is_some() { LogEventKind::Error } else { LogEventKind::Statement };
        let mut parts = IdentityParts::new("otlp");
        for part in
            [told.trace.as_bytes(), told.span.as_bytes(), &told.started.as_micros().to_le_bytes(), sql.as_bytes()]
        {
            parts.add(part);
        }
        // The order of a trace's statements is that of their ends.
        let line = u64::try_from(told.ended.as_micros()).unwrap_or_default();
        Ok(Some(LogEvent {
            id: parts.finish(),
            session: SessionId(self.names.shared(&format!("trace-{}", told.trace))),
            line,
            ts: told.ended,
            started: told.started,
            kind,
            transaction: None,
            virtual_transaction: None,
            application_name: resource.application_name.clone(),
            database: attribute(attributes, &["db.namespace", "db.name"]).map(|name| self.names.shared(&name)),
            sql: Some(self.names.shared(&with_trace(&sql, &told))),
            prepared: None,
            parameters,
            message: told.error.map(Arc::from),
        }))
    }
}

fn application_name(object: &Object) -> Result<Option<Arc<str>>, String> {
    let Some(resource) = fields::object(object, "resource")? else { return Ok(None) };
    let attributes = fields::list(resource, "attributes")?;
    let service = attribute(attributes, &["service.name"]);
    let version = attribute(attributes, &["service.version"]);
    Ok(match (service, version) {
        (Some(service), Some(version)) => Some(format!("{service}@{version}").into()),
        (service, _) => service.map(Arc::from),
    })
}

fn statement(attributes: &[Json]) -> Option<String> {
    attribute(attributes, &["db.query.text", "db.statement"])
}

/// Times and ids of a span (`startTimeUnixNano`, `endTimeUnixNano`) or a record (`timeUnixNano`).
fn told(item: &Object) -> Result<Told, String> {
    let time = |name: &str| -> Result<Option<Timestamp>, String> {
        let nanos = fields::integer(item, name)?.filter(|nanos| *nanos > 0);
        Ok(nanos.map(|nanos| Timestamp::from_micros(nanos.div_euclid(1_000))))
    };
    let at = time("timeUnixNano")?.or(time("observedTimeUnixNano")?);
    let started = time("startTimeUnixNano")?.or(at);
    let ended = time("endTimeUnixNano")?.or(at).or(started);
    let (Some(started), Some(ended)) = (started.or(ended), ended) else {
        return Err("a statement's span has neither `startTimeUnixNano` nor `timeUnixNano`".to_owned());
    };
    // A status is OK, or unset, unless it says ERROR, by number or by name.
    let status = fields::object(item, "status")?;
    let code = status.map(|status| fields::text(status, "code")).transpose()?.flatten();
    let failed = matches!(code.as_deref(), Some("2" | "STATUS_CODE_ERROR"));
    let message = status.map(|status| fields::text(status, "message")).transpose()?.flatten();
    Ok(Told {
        trace: hexadecimal_id(&fields::text(item, "traceId")?.unwrap_or_default(), 16)?,
        span: hexadecimal_id(&fields::text(item, "spanId")?.unwrap_or_default(), 8)?,
        started,
        ended,
        error: failed.then(|| message.unwrap_or_default()),
    })
}

/// OTLP/JSON writes ids in hexadecimal of either case; exporters that follow protobuf's JSON write base64.
fn hexadecimal_id(text: &str, bytes: usize) -> Result<String, String> {
    if text.is_empty() || text.len() == bytes * 2 && text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    match base64::decode(text).filter(|id| id.len() == bytes) {
        Some(id) => Ok(id.iter().map(|byte| format!("{byte:02x}")).collect()),
        None => Err(format!("'{text}' is no id of {bytes} bytes, neither in hexadecimal nor in base64")),
    }
}

/// The trace as a sqlcommenter tag, unless the statement bears one: so a write learns of it from its statement.
fn with_trace(sql: &str, told: &Told) -> String {
    if told.trace.is_empty() || sql.contains("traceparent") {
        return sql.to_owned();
    }
    let span = if told.span.is_empty() { "0000000000000000" } else { &told.span };
    format!("{sql} /*traceparent='00-{}-{span}-01'*/", told.trace)
}

/// `db.query.parameter.<key>` (`db.statement.parameters` is no convention): by number from 0, as the convention counts;
/// those with a name belong to no `$n`.
fn parameters(attributes: &[Json]) -> Result<Vec<Option<Value>>, String> {
    const MOST: usize = 65_535;
    let mut parameters: Vec<Option<Value>> = Vec::new();
    for attribute in attributes {
        let name = attribute.get("key").and_then(Json::as_str).and_then(|key| key.strip_prefix("db.query.parameter."));
        let Some(place) = name.and_then(|name| name.parse::<usize>().ok()) else { continue };
        if place >= MOST {
            return Err(format!("`db.query.parameter.{place}`: PostgreSQL knows no such parameter"));
        }
        if parameters.len() <= place {
            parameters.resize(place + 1, None);
        }
        if let (Some(slot), Some(value)) = (parameters.get_mut(place), attribute.get("value")) {
            *slot = any_value(value).map(Value::text);
        }
    }
    Ok(parameters)
}

/// The first attribute there is of these names.
fn attribute(attributes: &[Json], names: &[&str]) -> Option<String> {
    let named = |name: &&str| {
        let found = attributes.iter().find(|attribute| attribute.get("key").and_then(Json::as_str) == Some(*name))?;
        any_value(found.get("value")?)
    };
    names.iter().find_map(named)
}

/// `{"stringValue":"x"}`, `{"intValue":"7"}`, `{"boolValue":true}` …
fn any_value(value: &Json) -> Option<String> {
    let value = value.as_object()?;
    ["stringValue", "intValue", "doubleValue", "boolValue"].iter().find_map(|kind| match member(value, kind)? {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(boolean) => Some(if *boolean { "t" } else { "f" }.to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (Vec<LogEvent>, Result<LineOutcome, String>) {
        let mut recording = Recording::default();
        let outcome = OtlpReader::default().read_line(line, &mut recording);
        (recording.log, outcome)
    }

    fn export(span: &str) -> String {
        format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}},
               {{"key":"service.version","value":{{"stringValue":"v42"}}}}]}},"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#
        )
    }

    const STABLE: &str = r#"{"traceId":"5BD66EF5095369C7B0D1F8F4BD33716A","spanId":"c532cb4098ac3dd2","kind":3,
        "startTimeUnixNano":"1795421353761382123","endTimeUnixNano":1795421353766394000,"status":{},
        "attributes":[{"key":"db.query.text","value":{"stringValue":"UPDATE t SET a = $1 WHERE id = $2"}},
        {"key":"db.query.parameter.0","value":{"stringValue":"x"}},{"key":"db.query.parameter.1","value":{"intValue":"7"}}]}"#;

    #[test]
    fn both_conventions_and_both_encodings_tell_the_same() {
        let (stable, outcome) = read(&export(STABLE));
        assert_eq!(outcome, Ok(LineOutcome::Used));
        let event = &stable[0];
        assert_eq!(event.application_name.as_deref(), Some("shop@v42"));
        assert_eq!(event.parameters, [Some(Value::text("x")), Some(Value::text("7"))]);
        assert_eq!(event.started.as_micros(), 1_795_421_353_761_382);
        let sql = "UPDATE t SET a = $1 WHERE id = $2 /*traceparent='00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01'*/";
        assert_eq!(event.sql.as_deref(), Some(sql));
        let older = STABLE
            .replace("db.query.text", "db.statement")
            .replace("\"kind\":3", "\"kind\":\"SPAN_KIND_CLIENT\"")
            .replace("5BD66EF5095369C7B0D1F8F4BD33716A", "W9Zu9QlTacew0fj0vTNxag==")
            .replace("c532cb4098ac3dd2", "xTLLQJisPdI=");
        assert_eq!(read(&export(&older)).0, stable);
    }

    #[test]
    fn a_failed_statement_and_one_of_a_log_record_are_told() {
        let failed = STABLE.replace(r#""status":{}"#, r#""status":{"code":"STATUS_CODE_ERROR","message":"duplicate"}"#);
        let (events, _) = read(&export(&failed));
        assert_eq!((events[0].kind, events[0].message.as_deref()), (LogEventKind::Error, Some("duplicate")));
        let record = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1795421353766394000",
            "attributes":[{"key":"db.statement","value":{"stringValue":"DELETE FROM t"}}]}]}]}]}"#;
        let (events, _) = read(record);
        assert_eq!(events[0].sql.as_deref(), Some("DELETE FROM t"));
        assert_eq!(events[0].application_name, None);
    }

    #[test]
    fn what_speaks_of_no_statement_is_passed_over_and_damage_is_named() {
        let (events, outcome) = read(&export(r#"{"traceId":"zz","name":"GET /"}"#));
        assert_eq!((events.len(), outcome), (0, Ok(LineOutcome::Ignored)));
        let damaged = STABLE.replace("5BD66EF5095369C7B0D1F8F4BD33716A", "??");
        let (events, outcome) = read(&export(&format!("{damaged},{STABLE}")));
        assert_eq!(events.len(), 1, "the sound one is kept");
        assert!(outcome.expect_err("damage").contains("'??' is no id of 16 bytes"));
        assert!(read("{}").1.expect_err("no export").contains("resourceSpans"));
        let undated = STABLE.replace("TimeUnixNano", "Time");
        assert!(read(&export(&undated)).1.expect_err("no time").contains("startTimeUnixNano"));
    }
}
