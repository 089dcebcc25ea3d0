//! What `--since last` looks at, and what it looks at whole.

use std::path::Path;

use assert_cmd::Command;
use blast_radius::store::{SlotPlace, Store};
use serde_json::{Value as Json, json};

use super::postgres::{Cluster, Database};
use super::{audit, project};

const NIGHTLY: &str = r#"
rules:
  - id: total-is-positive
    table: orders
    check: { range: { column: total, min: 0 } }
  - id: customer-once
    table: orders
    check: { unique: [customer_id] }
  - id: placed-in-the-past
    table: orders
    check: { expression: "placed_at < now()" }
  - id: named
    table: customers
    check: { not_null: [email] }
"#;

/// What `--since last` finds: the exit status, the ids of the rows in breach, and of each rule how many rows were checked
/// and its message.
type Found = (Option<i32>, Vec<Json>, Vec<(u64, String)>);

fn since_last(project: &Path) -> Found {
    let (status, out, err) = audit(project, &["--since", "last", "--format", "json"]);
    assert!(err.is_empty(), "{err}");
    let report: Json = serde_json::from_str(&out).expect("it is JSON");
    let list = |name: &str| report[name].as_array().expect("a list").clone();
    let keys = list("violations").iter().map(|found| found["key"]["id"].clone()).collect();
    let told: Vec<(u64, String)> = list("rules")
        .iter()
        .map(|rule| (rule["checked"].as_u64().expect("a number"), rule["message"].as_str().unwrap_or("").to_owned()))
        .collect();
    (status, keys, told)
}

/// A project about this database, which ingests every `.ndjson` in its folder.
fn write_settings(project: &Path, url: &str) {
    let toml = format!("[database]\nurl = \"{url}\"\n[ingest]\nfiles = [\"*.ndjson\"]\n[audit]\nrules = [\"rules\"]\n");
    std::fs::write(project.join("blast-radius.toml"), toml).expect("the project file");
}

#[tokio::test]
async fn only_what_changed_since_the_last_audit_is_looked_at() {
    let database = Database::create("since").await;
    let client = database.client("tests").await;
    client
        .batch_execute(
            "CREATE TABLE customers (id integer PRIMARY KEY, email text);
             CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer, total numeric(12,2), placed_at timestamptz);
             INSERT INTO orders SELECT i, i, i, '2026-03-02 10:00Z' FROM generate_series(1, 100) AS i;
             UPDATE orders SET total = -5 WHERE id = 2",
        )
        .await
        .expect("the shop");
    let live = project(NIGHTLY);
    write_settings(live.path(), &database.socket_url());
    let event = |seq: u32, op: &str, id: u32, total: &str| {
        let image = json!({"id": id, "customer_id": id, "total": total, "placed_at": "2026-03-02T10:00:00Z"});
        let event = json!({"ts": "2026-03-02T11:00:00Z", "seq": seq, "table": "public.orders", "op": op, "key": {"id": id},
                           "after": image, "release": "v42"});
        format!("{event}\n")
    };
    let record = |name: &str, events: String| std::fs::write(live.path().join(name), events).expect("events");
    record("first.ndjson", event(1, "insert", 1, "1"));
    let since = || since_last(live.path());
    // Nothing to start from: everything is looked at.
    let (status, keys, told) = since();
    assert_eq!((status, keys), (Some(1), vec![json!(2)]));
    assert!(told.iter().all(|(_, message)| message.contains("no earlier audit has it")), "{told:?}");
    assert_eq!(told[0].0, 100);
    // One is mended, one breaks, one comes broken.
    client
        .batch_execute(
            "UPDATE orders SET total = 2 WHERE id = 2; UPDATE orders SET total = -1 WHERE id = 7;
             INSERT INTO orders VALUES (101, 7, -3, '2026-03-02 11:00Z')",
        )
        .await
        .expect("writes");
    let events = [event(2, "update", 2, "2"), event(3, "update", 7, "-1"), event(4, "insert", 101, "-3")];
    record("second.ndjson", events.concat());
    let (status, keys, told) = since();
    assert_eq!((status, keys), (Some(1), vec![json!(7), json!(101), json!(7), json!(101)]));
    // The three, and the one whose write came while the first audit ran.
    assert_eq!(told[0].0, 4, "{told:?}");
    assert!(told[0].1.contains("4 rows looked at"), "{told:?}");
    for (rule, reason) in [(1, "more than the row"), (2, "more than the row"), (3, "no write of its table")] {
        assert!(told[rule].1.contains("checked whole") && told[rule].1.contains(reason), "{told:?}");
    }
    assert_eq!(told[1].0, 101);
    // Nothing new (what came while the last audit ran counts as new): what is broken stays told, as by a whole audit.
    let (_, keys, told) = since();
    assert_eq!((keys.len(), told[0].0), (4, 3), "{told:?}");
    let (_, out, _) = audit(live.path(), &["--format", "json"]);
    let report: Json = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(report["violations"].as_array().map(Vec::len), Some(4), "{out}");
    // Where writes are known to be missing, nobody can say which rows changed; after one audit that looked at all, one can.
    let mut store = Store::open(&live.path().join(".blast-radius").to_string_lossy()).await.expect("the store");
    let mut ingestion = store.begin();
    ingestion.note_slot("slot", SlotPlace::default(), Some("writes that somebody else took"));
    ingestion.finish(&[]).await.expect("noted");
    let (_, _, told) = since();
    assert!(told[0].1.contains("missing from the recording") && told[0].0 == 101, "{told:?}");
    let (_, _, told) = since();
    assert!(told[0].1.contains("rows looked at"), "{told:?}");
    // Another rule of the same name has nothing to start from.
    let other = NIGHTLY.replace("min: 0", "min: 1");
    std::fs::write(live.path().join("rules/shop.yaml"), other).expect("rules");
    let (_, _, told) = since();
    assert!(told[0].1.contains("not as it was") && told[0].0 == 101, "{told:?}");
    let mut command = Command::cargo_bin("blast-radius").expect("the program is built");
    let output = command.arg("-C").arg(live.path()).args(["status", "--format", "json"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let status: Json = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let rule = status["rules"].as_array().expect("rules").iter().find(|rule| rule["id"] == "total-is-positive");
    let rule = rule.expect("the rule is kept");
    assert_eq!([&rule["audits"], &rule["violations"], &rule["before"]], [&json!(7), &json!(2), &json!(2)]);
    assert!(rule["broken_since"] == rule["first_seen"] && rule["last_seen"] == rule["last_audit"], "{rule}");
    assert_eq!(status["recorded"]["writes"], 4);
    let told = status["untraceable"].to_string();
    assert!(told.contains("public.customers: no write is recorded"), "{told}");
}

const FAMILIES: &str = r#"
rules:
  - id: positive-payment
    table: payments
    check: { range: { column: total, min: 0 } }
  - id: positive-refund
    table: refunds
    check: { range: { column: total, min: 0 } }
  - id: positive-event
    table: events
    check: { range: { column: total, min: 0 } }
  - id: positive-loose
    table: loose
    check: { range: { column: total, min: 0 } }
"#;

/// A write is recorded under the table that holds the row: a table that is read with the rows of others is checked whole,
/// and so is one whose rows a key does not surely name.
#[tokio::test]
async fn rows_that_their_writes_do_not_name_are_looked_at_whole() {
    let database = Database::create("families").await;
    let client = database.client("tests").await;
    client
        .batch_execute(
            "CREATE TABLE payments (id integer PRIMARY KEY, total integer);
             CREATE TABLE refunds (PRIMARY KEY (id)) INHERITS (payments);
             CREATE TABLE events (id integer PRIMARY KEY, total integer) PARTITION BY RANGE (id);
             CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (100);
             CREATE TABLE loose (id integer, total integer);
             INSERT INTO payments VALUES (1, 5); INSERT INTO refunds VALUES (2, 6);
             INSERT INTO events VALUES (3, 7); INSERT INTO loose VALUES (4, 8)",
        )
        .await
        .expect("the tables");
    let live = project(FAMILIES);
    write_settings(live.path(), &database.socket_url());
    let settings = live.path().join("blast-radius.toml");
    let keyed = std::fs::read_to_string(&settings).expect("settings") + "[tables.\"public.loose\"]\nkey = [\"id\"]\n";
    std::fs::write(&settings, keyed).expect("settings");
    let mut events = String::new();
    for (seq, table) in (1..).zip(["payments", "refunds", "events", "loose"]) {
        let event = json!({"ts": "2026-03-02T11:00:00Z", "seq": seq, "table": table, "op": "insert",
                           "key": {"id": seq}, "after": {"id": seq, "total": "5"}, "release": "v42"});
        events.push_str(&format!("{event}\n"));
    }
    std::fs::write(live.path().join("events.ndjson"), events).expect("events");
    since_last(live.path());
    // What a child and a partition hold breaks, and no event names the parent's row.
    client
        .batch_execute(
            "UPDATE refunds SET total = -6; UPDATE events SET total = -7; UPDATE loose SET id = NULL, total = -8",
        )
        .await
        .expect("writes");
    let refund = json!({"ts": "2026-03-02T12:00:00Z", "seq": 9, "table": "refunds", "op": "update", "key": {"id": 2},
                        "after": {"id": 2, "total": "-6"}, "release": "v43"});
    std::fs::write(live.path().join("later.ndjson"), format!("{refund}\n")).expect("events");
    let (status, keys, told) = since_last(live.path());
    // The refund once for each of the two rules that are about it.
    assert_eq!((status, keys), (Some(1), vec![json!(2), json!(2), json!(3), Json::Null]));
    for (rule, reason) in [(0, "is inherited from"), (2, "has partitions"), (3, "key may be NULL")] {
        assert!(told[rule].1.contains("checked whole") && told[rule].1.contains(reason), "{told:?}");
    }
    assert!(told[1].1.contains("rows looked at"), "{told:?}");
    assert_eq!(told[0].0, 2, "the payment and the refund");
}

/// The same rule on a database of the same name on another server has nothing to start from.
#[tokio::test]
async fn another_server_is_another_database() {
    let other_server = Cluster::start("");
    let database = Database::create("twin").await;
    let other = Database::create_on(&other_server, "other").await;
    let twin = format!("CREATE DATABASE {}", database.name());
    other.client("tests").await.batch_execute(&twin).await.expect("a database of the same name");
    let urls = [database.url(), other.url().replace(other.name(), database.name())];
    for (url, id) in urls.iter().zip([1, 2]) {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connected");
        let connection = tokio::spawn(connection);
        let table = "CREATE TABLE loose (id integer PRIMARY KEY, total integer)";
        client.batch_execute(&format!("{table}; INSERT INTO loose VALUES ({id}, -1)")).await.expect("the table");
        drop(client);
        connection.await.expect("the task ends").expect("the connection ends");
    }
    let live = project("rules:\n  - id: r\n    table: loose\n    check: { range: { column: total, min: 0 } }\n");
    let event = json!({"ts": "2026-03-02T11:00:00Z", "table": "loose", "op": "insert", "key": {"id": 1},
                       "after": {"id": 1, "total": "-1"}, "release": "v42"});
    std::fs::write(live.path().join("events.ndjson"), format!("{event}\n")).expect("events");
    write_settings(live.path(), &urls[0]);
    assert_eq!(since_last(live.path()).1, [json!(1)]);
    assert!(since_last(live.path()).2[0].1.contains("rows looked at"));
    write_settings(live.path(), &urls[1]);
    let (_, keys, told) = since_last(live.path());
    assert_eq!(keys, [json!(2)]);
    assert!(told[0].1.contains("is not as it was"), "{told:?}");
}
