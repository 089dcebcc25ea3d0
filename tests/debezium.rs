//! Debezium's events as its connectors write them: what comes of each, and of each again.

use std::io::Cursor;
use std::ops::ControlFlow;

use blast_radius::capture::{FormatChoice, Input, read};
use blast_radius::model::{Operation, RecordedWrite, Recording, Row, Value};

const SOURCE: &str = r#"{"version":"2.7.0.Final","connector":"postgresql","name":"shop","ts_ms":1772446530123,"ts_us":1772446530123456,
    "snapshot":"false","db":"shop","sequence":"[\"24023119\",\"24023128\"]","schema":"public","table":"orders","txId":733,"lsn":24023128,"xmin":null}"#;

fn read_lines(lines: &[String]) -> Recording {
    let text: Vec<String> = lines.iter().map(|line| line.replace('\n', " ")).collect();
    let mut whole = Recording::default();
    let input = Input::from_reader("debezium.json", Cursor::new(text.join("\n")));
    let summary = read(input, &FormatChoice::AUTO, &mut |recording| {
        whole.writes.extend(recording.writes);
        whole.stamps.extend(recording.stamps);
        whole.rejected.extend(recording.rejected);
        ControlFlow::Continue(())
    })
    .expect("read");
    assert_eq!(summary.format, Some("debezium"));
    whole
}

fn one(line: &str) -> RecordedWrite {
    let mut recording = read_lines(&[line.to_owned()]);
    assert_eq!(recording.rejected, []);
    assert_eq!(recording.writes.len(), 1, "{line}");
    recording.writes.remove(0)
}

fn envelope(operation: &str, before: &str, after: &str) -> String {
    format!(r#"{{"before":{before},"after":{after},"source":{SOURCE},"op":"{operation}","ts_ms":1772446531000}}"#)
}

fn value(row: &Option<Row>, column: &str) -> Option<Option<String>> {
    row.as_ref()?.get(column).map(|value| value.as_str().map(str::to_owned))
}

fn some(text: &str) -> Option<Option<String>> {
    Some(Some(text.to_owned()))
}

#[test]
fn an_event_of_postgresql_is_a_write() {
    let write = one(&envelope("u", "null", r#"{"id":17,"total":"10.50","paid":true,"note":null}"#));
    assert_eq!(write.table.to_string(), "public.orders");
    assert_eq!(write.operation, Operation::Update);
    assert_eq!(write.ts.as_micros(), 1_772_446_530_123_456);
    assert_eq!(write.transaction.as_ref().map(ToString::to_string).as_deref(), Some("733"));
    assert_eq!(write.seq, Some(24_023_119 * 4_096));
    assert_eq!(value(&write.after, "total"), some("10.50"));
    assert_eq!(value(&write.after, "paid"), some("t"));
    assert_eq!(value(&write.after, "note"), Some(None));
    assert_eq!(write.before, None);
}

#[test]
fn with_its_schema_values_are_postgresql_s_text() {
    let fields = r#"[{"type":"int64","optional":false,"field":"id"},
        {"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2"},"optional":true,"field":"total"},
        {"type":"int32","name":"io.debezium.time.Date","optional":true,"field":"day"},
        {"type":"int64","name":"io.debezium.time.MicroTimestamp","optional":true,"field":"at"},
        {"type":"string","name":"io.debezium.time.ZonedTimestamp","optional":true,"field":"paid_at"},
        {"type":"array","items":{"type":"string","optional":true},"optional":true,"field":"labels"},
        {"type":"bytes","optional":true,"field":"photo"}]"#;
    let schema = format!(
        r#"{{"type":"struct","fields":[{{"type":"struct","fields":{fields},"optional":true,"name":"shop.public.orders.Value","field":"before"}},
            {{"type":"struct","fields":{fields},"optional":true,"name":"shop.public.orders.Value","field":"after"}}],"name":"shop.public.orders.Envelope"}}"#
    );
    let after = r#"{"id":17,"total":"AfQ=","day":18262,"at":1577836800000001,"paid_at":"2020-01-01T01:00:00.120Z","labels":["a b","c"],"photo":"AP8="}"#;
    let payload = envelope("c", "null", after);
    let write = one(&format!(r#"{{"schema":{schema},"payload":{payload}}}"#));
    for (column, printed) in [
        ("id", "17"),
        ("total", "5.00"),
        ("day", "2020-01-01"),
        ("at", "2020-01-01 00:00:00.000001"),
        ("paid_at", "2020-01-01 01:00:00.12+00"),
        ("labels", r#"{"a b",c}"#),
        ("photo", "\\x00ff"),
    ] {
        assert_eq!(value(&write.after, column), some(printed), "{column}");
    }
}

#[test]
fn what_did_not_change_is_unknown_or_comes_from_the_image_before() {
    let unavailable = r#"{"id":17,"total":"1","doc":"__debezium_unavailable_value"}"#;
    assert_eq!(value(&one(&envelope("u", "null", unavailable)).after, "doc"), None);
    let with_key = |before: &str| {
        let line = format!("{{\"id\":17}}\t{}", envelope("u", before, unavailable).replace('\n', " "));
        value(&one(&line).after, "doc")
    };
    assert_eq!(with_key(r#"{"id":17,"total":"2","doc":"long"}"#), some("long"));
}

#[test]
fn an_image_before_that_holds_only_the_key_claims_no_nulls() {
    // So PostgreSQL's connector tells a delete without REPLICA IDENTITY FULL.
    let bare = envelope("d", r#"{"id":17,"total":"","paid":false,"note":null}"#, "null");
    let write = one(&format!("{{\"id\":17}}\t{}", bare.replace('\n', " ")));
    assert_eq!(write.operation, Operation::Delete);
    assert_eq!(write.key.get("id"), Some(&Value::text("17")));
    assert_eq!(value(&write.before, "note"), None);
    let alone = one(&bare);
    assert_eq!((alone.before, alone.key.get("id")), (None, Some(&Value::text("17"))), "the key without a message key");
    // MySQL always tells it.
    let mysql = r#"{"before":{"id":17,"note":null},"after":null,"op":"d","source":{"connector":"mysql","name":"m","ts_ms":1772446530000,
        "db":"shop","table":"orders","server_id":1,"gtid":"3E11FA47:7","file":"mysql-bin.000003","pos":484,"row":1}}"#;
    let write = one(mysql);
    assert_eq!(value(&write.before, "note"), Some(None));
    assert_eq!(write.table.to_string(), "shop.orders");
    assert_eq!(write.seq, Some(3 << 43 | 484 << 11 | 1));
    assert_eq!(write.transaction.map(|id| id.to_string()).as_deref(), Some("3E11FA47:7"));
}

#[test]
fn a_default_before_a_delete_is_no_proof_of_the_whole_row() {
    let keyed = |event: &str| format!("{{\"id\":17}}\t{}", event.replace('\n', " "));
    // Without FULL the connector fills a column that cannot be NULL with its default.
    let delete = keyed(&envelope("d", r#"{"id":17,"total":"5.00","status":"open","note":null}"#, "null"));
    let update = keyed(&envelope(
        "u",
        r#"{"id":17,"total":"4.00","status":"paid","note":null}"#,
        r#"{"id":17,"total":"5.00","status":"paid","note":null}"#,
    ));
    let told = |write: &RecordedWrite| {
        let cells = write.before.iter().flat_map(Row::iter);
        cells.map(|(column, value)| format!("{column}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told(&one(&delete)), "id=17");
    // An update that leaves the key alone has an image before with FULL alone: from then on all of it is told.
    let writes = read_lines(&[delete.clone(), update, delete.clone()]).writes;
    assert_eq!(writes[0].id, writes[2].id, "delivered again it is the same write, whatever was learned meanwhile");
    assert_eq!([&writes[0], &writes[1]].map(told), ["id=17", "id=17 total=4.00 status=paid note=NULL"]);
    assert_eq!(told(&writes[2]), "id=17 total=5.00 status=open note=NULL");
    // With the schema it is known which values are defaults, and that others are none.
    let fields = r#"[{"type":"int64","optional":false,"field":"id"},{"type":"string","optional":false,"field":"total"},
        {"type":"string","optional":false,"default":"open","field":"status"},{"type":"string","optional":true,"field":"note"}]"#;
    let schema = format!(r#"{{"type":"struct","fields":[{{"type":"struct","fields":{fields},"field":"before"}}]}}"#);
    let event = envelope("d", r#"{"id":17,"total":"5.00","status":"open","note":null}"#, "null");
    let with_schema = keyed(&format!(r#"{{"schema":{schema},"payload":{event}}}"#));
    assert_eq!(told(&one(&with_schema)), "id=17 total=5.00");
}

#[test]
fn what_is_no_write_of_a_row_is_passed_over() {
    let stamp = r#"{"op":"m","source":{"connector":"postgresql","ts_ms":1772446530123,"txId":733,"lsn":7,"sequence":"[\"5\",\"7\"]"},
        "message":{"prefix":"blast_radius","content":"eyJhcHBsaWNhdGlvbl9uYW1lIjoic2hvcEB2NDIifQ=="}}"#;
    let recording = read_lines(&[
        envelope("r", "null", r#"{"id":1}"#),
        "null".to_owned(),
        "{\"id\":17}\tnull".to_owned(),
        r#"{"status":"BEGIN","id":"733:24023128","event_count":null,"data_collections":null}"#.to_owned(),
        r#"{"ts_ms":1772446531000}"#.to_owned(),
        r#"{"source":{"connector":"mysql"},"databaseName":"shop","ddl":"ALTER TABLE t"}"#.to_owned(),
        stamp.to_owned(),
        envelope("t", "null", "null"),
    ]);
    assert_eq!(recording.rejected, []);
    assert_eq!(recording.writes.iter().map(|write| write.operation).collect::<Vec<_>>(), [Operation::Truncate]);
    assert_eq!(recording.stamps[0].application_name.as_deref(), Some("shop@v42"));
    assert_eq!(Some(&recording.stamps[0].transaction), recording.writes[0].transaction.as_ref());
}

#[test]
fn unwrapped_rows_are_read_with_what_was_added_to_them() {
    let row = r#"{"id":17,"total":"5.00","__op":"u","__table":"orders","__source_schema":"public","__source_ts_ms":1772446530123,"__lsn":7,"__deleted":"false"}"#;
    let write = one(row);
    assert_eq!((write.table.to_string().as_str(), write.operation), ("public.orders", Operation::Update));
    assert_eq!(write.after.as_ref().map(|row| row.iter().len()), Some(2));
    let deleted = one(&row.replace(r#""false""#, r#""true""#).replace(r#""u""#, r#""d""#));
    assert_eq!((deleted.operation, deleted.after), (Operation::Delete, None));
    let from_topic = r#"{"topic":"shop.public.orders","partition":0,"offset":3,"ts":1772446530123,"key":"{\"id\":17}","payload":"{\"id\":17,\"total\":\"5.00\",\"__deleted\":\"false\"}"}"#;
    let write = one(from_topic);
    assert_eq!(write.table.to_string(), "public.orders");
    assert_eq!(write.key.get("id"), Some(&Value::text("17")));
    let recording = read_lines(&[r#"{"id":17,"__deleted":"false"}"#.to_owned()]);
    assert!(recording.rejected[0].reason.contains("add.fields"), "{:?}", recording.rejected);
}

#[test]
fn delivered_twice_it_is_one_write_and_two_changes_are_two() {
    let event = envelope("u", "null", r#"{"id":17,"total":"5.00"}"#);
    let again = event.replace("1772446531000", "1772446539999");
    let other = event.replace("\"lsn\":24023128", "\"lsn\":24023200");
    let recording = read_lines(&[event, again, other]);
    assert_eq!(recording.writes[0].id, recording.writes[1].id);
    assert_ne!(recording.writes[0].id, recording.writes[2].id);
    // Nothing but its content tells these apart.
    let row = r#"{"id":17,"n":1,"__op":"u","__table":"t","__ts_ms":1772446530123}"#.to_owned();
    let recording = read_lines(&[row.clone(), row]);
    assert_ne!(recording.writes[0].id, recording.writes[1].id);
}

#[test]
fn damage_is_named() {
    let sound = envelope("c", "null", r#"{"id":1}"#);
    let damaged = [
        (envelope("x", "null", "null"), "`op` is 'x'"),
        (envelope("c", "7", "null"), "`before` must be an object"),
        (envelope("c", "null", "null"), "which record"),
        (sound.replace(r#""table":"orders""#, r#""table":null"#), "`table` is missing"),
        (sound.replace("ts_ms", "at").replace("ts_us", "at_us"), "says not when"),
        ("{".to_owned(), "no valid JSON"),
        ("[]".to_owned(), "a JSON object"),
    ];
    let lines: Vec<String> = std::iter::once(sound).chain(damaged.iter().map(|(line, _)| line.clone())).collect();
    let recording = read_lines(&lines);
    assert_eq!(recording.writes.len(), 1);
    for (rejected, (line, reason)) in recording.rejected.iter().zip(&damaged) {
        assert!(rejected.reason.contains(reason), "{line}: {}", rejected.reason);
    }
    assert_eq!(recording.rejected.len(), damaged.len());
}
