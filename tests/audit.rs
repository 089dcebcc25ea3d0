//! The audit as a nightly job runs it: over a folder of files, and over a live PostgreSQL.

#[path = "audit/attribution.rs"]
mod attribution;
mod postgres;
#[path = "audit/since.rs"]
mod since;
#[path = "audit/together.rs"]
mod together;

use std::collections::BTreeMap;
use std::path::Path;

use arrow::record_batch::RecordBatch;
use assert_cmd::Command;
use blast_radius::catalog::{Catalog, rows_from_batch};
use blast_radius::engine;
use blast_radius::model::{
    ColumnName, ColumnType, DatabaseSource, ForeignKey, ReferentialAction, Row, TableName, TableSettings,
    TableSettingsByName, Value,
};
use postgres::Database;
use serde_json::{Value as Json, json};

const ORDERS: &str = "\
id,customer_id,status,total,placed_at
1,7,open,10.00,2026-03-02 10:00:00+00
2,8,shipped,20.00,2026-03-02 11:00:00+00
3,9,lost,,2026-03-02 12:00:00+00
";
const CUSTOMERS: &str = "id,email\n7,ann@example.org\n8,bob@example.org\n";
const LINES: &str = "order_id,line_no,quantity,price\n1,1,1,4.00\n1,2,2,3.00\n2,1,1,19.99\n";

const PROJECT: &str = r#"
[database]
files = "data"

[audit]
rules = ["rules"]

[tables."public.orders"]
key = ["id"]

[tables."public.customers"]
key = ["id"]
personal = ["email"]

[tables."public.order_lines"]
key = ["order_id", "line_no"]
"#;

/// A project folder with the shop's tables as CSV files, and these rules.
fn project(rules: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("the folder can be made");
        std::fs::write(path, text).expect("the file can be written");
    };
    write("blast-radius.toml", PROJECT);
    write("data/orders.csv", ORDERS);
    write("data/customers.csv", CUSTOMERS);
    write("data/order_lines.csv", LINES);
    write("rules/shop.yaml", rules);
    folder
}

/// Exit status, standard output and standard error of `blast-radius audit`.
fn audit(project: &Path, options: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::cargo_bin("blast-radius").expect("the program is built");
    command.env("NO_COLOR", "1").arg("-C").arg(project).arg("audit").args(options);
    let output = command.output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const BROKEN: &str = r#"
rules:
  - id: order-total-adds-up
    table: public.orders
    description: The total is what the lines add up to.
    check:
      equals:
        column: total
        sql: SELECT sum(l.quantity * l.price) FROM public.order_lines l WHERE l.order_id = orders.id
  - id: order-has-a-customer
    table: public.orders
    check:
      references: { columns: [customer_id], table: public.customers, key: [id] }
  - id: status-is-known
    table: orders
    severity: warn
    where: placed_at >= '2026-03-02T11:00:00Z'
    check: { values: { column: status, in: [open, shipped] } }
  - id: line-has-a-price
    table: public.order_lines
    check: { range: { column: price, min: 5 } }
    tolerance: { warn: 0, error: "90%" }
"#;

#[test]
fn every_violating_key_is_named() {
    let project = project(BROKEN);
    let records = project.path().join("violations.ndjson");
    let (status, out, err) = audit(project.path(), &["--format", "json", "--records", &records.to_string_lossy()]);
    assert_eq!((status, err.as_str()), (Some(1), ""), "{out}");
    let report: Json = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(report["status"], "fail");
    let rules: Vec<Json> = report["rules"].as_array().expect("rules").clone();
    let told: Vec<[&Json; 5]> = rules
        .iter()
        .map(|rule| [&rule["id"], &rule["severity"], &rule["status"], &rule["checked"], &rule["violations"]])
        .collect();
    assert_eq!(
        json!(told),
        json!([
            ["order-total-adds-up", "error", "fail", 3, 1],
            ["order-has-a-customer", "error", "fail", 3, 1],
            ["status-is-known", "warn", "fail", 2, 1],
            ["line-has-a-price", "warn", "fail", 3, 2],
        ])
    );
    let violations = report["violations"].as_array().expect("violations");
    let keys: Vec<[&Json; 3]> =
        violations.iter().map(|violation| [&violation["rule"], &violation["key"], &violation["columns"]]).collect();
    assert_eq!(
        json!(keys),
        json!([
            ["order-total-adds-up", {"id": 2}, ["total"]],
            ["order-has-a-customer", {"id": 3}, ["customer_id"]],
            ["status-is-known", {"id": 3}, ["status"]],
            ["line-has-a-price", {"order_id": 1, "line_no": 1}, ["price"]],
            ["line-has-a-price", {"order_id": 1, "line_no": 2}, ["price"]],
        ])
    );
    let lines = std::fs::read_to_string(records).expect("the records are there");
    let listed: Vec<Json> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(&listed, violations);
}

#[test]
fn text_and_junit_say_the_same() {
    let project = project(BROKEN);
    let (status, out, _) = audit(project.path(), &[]);
    assert_eq!(status, Some(1));
    for part in ["public.orders\n", "order-total-adds-up", "of 3 rows", "The total is what", "order_id=1,line_no=2"] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    let (status, out, _) = audit(project.path(), &["--format", "junit"]);
    assert_eq!(status, Some(1));
    assert!(out.contains("tests=\"4\"") && out.contains("failures=\"2\""), "{out}");
}

/// A reader that went away makes what was found no less found.
#[test]
fn a_closed_pipe_changes_no_exit_status() {
    let project = project(BROKEN);
    for format in ["text", "json"] {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("blast-radius"));
        command.arg("-C").arg(project.path()).args(["audit", "--format", format]);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("the program starts");
        drop(child.stdout.take());
        assert_eq!(child.wait().expect("it ends").code(), Some(1), "{format}");
    }
}

#[test]
fn machines_get_every_character() {
    let rules = "rules:\n  - id: none\n    table: parts\n    check: { expression: \"amount < 0\" }\n";
    let project = project(rules);
    std::fs::write(project.path().join("data/parts.csv"), "sku,amount\nA\u{7f}B,1\n").expect("the file");
    let file = project.path().join("report.json");
    let (status, out, _) = audit(project.path(), &["--format", "json"]);
    assert_eq!(status, Some(1), "{out}");
    audit(project.path(), &["--format", "json", "-o", &file.to_string_lossy()]);
    for out in [out, std::fs::read_to_string(&file).expect("the report")] {
        let report: Json = serde_json::from_str(&out).expect("it is JSON");
        assert_eq!(report["violations"][0]["key"]["sku"], "A\u{7f}B");
    }
}

#[test]
fn nothing_found_is_0_and_a_warning_counts_where_the_project_says_so() {
    let warning = "rules:\n  - id: known\n    table: orders\n    severity: warn\n    check: { values: { column: status, in: [open, shipped] } }\n";
    let project = project(warning);
    assert_eq!(audit(project.path(), &[]).0, Some(0));
    let strict = PROJECT.replace("rules = [\"rules\"]", "rules = [\"rules\"]\nfail_on = \"warn\"");
    std::fs::write(project.path().join("blast-radius.toml"), strict).expect("the project file");
    assert_eq!(audit(project.path(), &[]).0, Some(1));
}

#[test]
fn what_is_accepted_counts_no_more_until_its_last_day() {
    let rules = "rules:\n  - id: known\n    table: orders\n    check: { values: { column: status, in: [open] } }\n";
    let project = project(rules);
    let path = |name: &str| project.path().join(name);
    let accept = ["--accept", "known", "--until", "2999-12-31", "--reason", "old: \"shop\""];
    let (status, out, err) = audit(project.path(), &accept);
    assert!(status == Some(2) && err.contains("names no file for them"), "{out}{err}");
    let settings = PROJECT.replace("rules = [\"rules\"]", "rules = [\"rules\"]\naccepted = \"accepted.yaml\"");
    std::fs::write(path("blast-radius.toml"), settings).expect("the project file");
    let (status, out, err) = audit(project.path(), &accept);
    assert!(status == Some(0) && err.contains("accepted 2 violations of known until 2999-12-31"), "{out}{err}");
    // Only what is new counts, and is listed.
    std::fs::write(path("data/orders.csv"), format!("{ORDERS}4,7,new,1.00,2026-03-02 13:00:00+00\n")).expect("orders");
    let (status, out, _) = audit(project.path(), &["--format", "json"]);
    let report: Json = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!((status, &report["rules"][0]["violations"]), (Some(1), &json!(1)), "{out}");
    assert_eq!(report["violations"][0]["key"], json!({"id": 4}));
    assert_eq!(report["rules"][0]["message"], "2 more accepted until 2999-12-31: old: \"shop\"");
    let accepted = std::fs::read_to_string(path("accepted.yaml")).expect("it was written");
    std::fs::write(path("accepted.yaml"), accepted.replace("2999", "2020")).expect("it can be written");
    let (status, out, _) = audit(project.path(), &[]);
    assert!(status == Some(1) && out.contains("counts again") && out.contains("id 2, 3, 4"), "{out}");
    std::fs::write(path("accepted.yaml"), "accepted:\n  - { rule: knwn, until: soon, reason: x, keys: [1] }\n")
        .expect("it can be written");
    let (status, _, err) = audit(project.path(), &[]);
    assert_eq!(status, Some(2));
    for part in ["did you mean known?", "'soon' is no date", "a key is a text", "accepted.yaml:2:"] {
        assert!(err.contains(part), "{part} is not in:\n{err}");
    }
}

/// A table as a whole has no key by which one violation could be told from the next.
#[test]
fn what_names_no_record_is_not_accepted() {
    let rules = "rules:\n  - id: few\n    table: orders\n    check: { volume: { max: 2 } }\n";
    let project = project(rules);
    let path = |name: &str| project.path().join(name);
    let settings = PROJECT.replace("rules = [\"rules\"]", "rules = [\"rules\"]\naccepted = \"accepted.yaml\"");
    std::fs::write(path("blast-radius.toml"), settings).expect("the project file");
    let accept = ["--accept", "few", "--until", "2999-12-31", "--reason", "a sale"];
    let (status, _, err) = audit(project.path(), &accept);
    assert!(status == Some(2) && err.contains("as a whole") && !path("accepted.yaml").exists(), "{err}");
    let accepted = "accepted:\n  - { rule: few, until: 2999-12-31, reason: a sale, keys: [{}] }\n";
    std::fs::write(path("accepted.yaml"), accepted).expect("it can be written");
    let (status, _, err) = audit(project.path(), &[]);
    assert!(status == Some(2) && err.contains("a key names no column"), "{err}");
}

#[test]
fn a_rule_that_cannot_be_run_is_2_and_the_others_are_reported() {
    let rules = r#"
rules:
  - id: known
    table: orders
    check: { values: { column: status, in: [open, shipped] } }
  - id: odd
    table: order_lines
    check: { expression: "10 / (quantity - 1) < 100" }
  - id: priced
    table: order_lines
    check: { not_null: [price] }
"#;
    let project = project(rules);
    let (status, out, err) = audit(project.path(), &["--format", "json"]);
    assert_eq!(status, Some(2), "{out}");
    assert!(err.contains("failed to run every rule: odd"), "{err}");
    let report: Json = serde_json::from_str(&out).expect("it is JSON");
    let statuses: Vec<&Json> = report["rules"].as_array().expect("rules").iter().map(|rule| &rule["status"]).collect();
    assert_eq!(json!(statuses), json!(["fail", "error", "pass"]));
}

#[test]
fn every_mistake_is_shown_where_it_stands() {
    let rules = r#"rules:
  - id: one
    table: public.order
    check: { not_null: [id] }
  - id: two
    table: orders
    sevrity: warn
    check: { not_null: [totl] }
  - id: two
    table: orders
    check: { expression: "total > ) 0" }
  - id: three
    table: orders
    check: { transition: { column: status, allowed: {} } }
  - id: four
    table: orders
    where: "totals > 0"
    check: { expresion: "total > 0" }
  - id: five
    table: orders
    check: { expression: "status > 5 + true" }
"#;
    let project = project(rules);
    let (status, out, err) = audit(project.path(), &[]);
    assert_eq!((status, out.as_str()), (Some(2), ""));
    for part in [
        "there is no table public.order",
        "did you mean public.orders?",
        "unknown key 'sevrity'",
        "did you mean severity?",
        "public.orders has no column 'totl'",
        "this SQL does not parse",
        "allowed lists no state",
        "did you mean expression?",
        "has no column 'totals'",
        "shop.yaml:3:12",
        "shop.yaml:7:5",
        "shop.yaml:8:25",
        "shop.yaml:11:35",
    ] {
        assert!(err.contains(part), "{part} is not in:\n{err}");
    }
}

#[test]
fn what_cannot_be_audited_is_one_clear_message() {
    let dbt = "version: 2\nmodels:\n  - name: orders\n";
    let twice = "rules:\n  - {id: a, table: orders, check: {not_null: [id]}}\n  - {id: a, table: orders, check: {not_null: [id]}}\n";
    let engine = "rules:\n  - {id: a, table: orders, check: {expression: 'id IN (SELECT line FROM order_lines)'}}\n";
    for (rules, message) in [
        (dbt, "find a rule in"),
        (twice, "rule id 'a' is taken by"),
        (engine, "the engine cannot run this rule"),
        ("rules: []\n", "find a rule in"),
        ("rules:\n  - id: [a\n", "this is no YAML"),
        ("", "a rules file"),
    ] {
        let project = project(rules);
        let (status, _, err) = audit(project.path(), &[]);
        assert_eq!(status, Some(2), "{rules}");
        assert!(err.contains(message), "{message} is not in:\n{err}");
    }
    let broken = project("rules:\n  - {id: a, table: orders, check: {not_null: [id]}}\n");
    let (status, _, err) = audit(broken.path(), &["--format", "yaml"]);
    assert!(status == Some(2) && err.contains("text, json, junit"), "{err}");
    std::fs::remove_dir_all(broken.path().join("data")).expect("the data can go");
    let (status, _, err) = audit(broken.path(), &[]);
    assert!(status == Some(2) && err.contains("open the data folder"), "{err}");
    std::fs::remove_dir_all(broken.path().join("rules")).expect("the rules can go");
    std::fs::create_dir(broken.path().join("data")).expect("a folder");
    std::fs::write(broken.path().join("data/orders.csv"), ORDERS).expect("orders");
    std::fs::write(broken.path().join("data/customers.csv"), CUSTOMERS).expect("customers");
    let (status, _, err) = audit(broken.path(), &[]);
    assert!(status == Some(2) && err.contains("failed to read") && err.contains("rules"), "{err}");
}

#[test]
fn personal_values_stay_inside() {
    let rules = "rules:\n  - id: odd\n    table: customers\n    check: { expression: \"CAST(email AS BIGINT) > 0\" }\n";
    let project = project(rules);
    let (status, out, err) = audit(project.path(), &["--format", "json"]);
    assert_eq!(status, Some(2));
    assert!(!out.contains("example.org") && !err.contains("example.org"), "{out}{err}");
    // Without a key a row is named by what it holds, but not by what is personal.
    std::fs::write(
        project.path().join("blast-radius.toml"),
        PROJECT.replace("[tables.\"public.customers\"]\nkey = [\"id\"]", "[tables.\"public.customers\"]"),
    )
    .expect("the project file");
    let rules = "rules:\n  - id: none\n    table: customers\n    check: { expression: \"id < 0\" }\n";
    std::fs::write(project.path().join("rules/shop.yaml"), rules).expect("rules");
    let (status, out, _) = audit(project.path(), &[]);
    assert_eq!(status, Some(1));
    assert!(out.contains("has no key") && out.contains("id 7, 8") && !out.contains("example.org"), "{out}");
}

const SCHEMA: &str = r#"
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN money_amount AS numeric(12,2) NOT NULL;
CREATE TABLE customers (id integer PRIMARY KEY, email varchar(40) UNIQUE, mood mood);
CREATE TABLE "Odd ""Table""" (
    "Key A" text, b date, amount money_amount, doubled numeric GENERATED ALWAYS AS (amount * 2) STORED,
    flag boolean, small smallint, big bigint, plain numeric, real_value real, double_value double precision,
    at timestamptz, local_at timestamp(3), document jsonb, bytes bytea, tags text[], span interval,
    customer integer REFERENCES customers (id), PRIMARY KEY (b, "Key A")
);
CREATE TABLE measured (day date NOT NULL, site integer NOT NULL, value integer) PARTITION BY RANGE (day);
CREATE TABLE measured_2026 PARTITION OF measured FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE UNIQUE INDEX ON measured (day, site);
CREATE TABLE bare ();
CREATE MATERIALIZED VIEW sums AS SELECT site, sum(value) AS total FROM measured GROUP BY site;
CREATE SCHEMA hidden; CREATE TABLE hidden.t (id integer);
INSERT INTO customers VALUES (1, 'ann@example.org', 'ok'), (2, NULL, NULL);
INSERT INTO "Odd ""Table""" ("Key A", b, amount, flag, small, big, plain, real_value, double_value, at, local_at,
    document, bytes, tags, span, customer)
VALUES (E'tab\there \\N "x"\nnext', '2026-03-02', 10.5, true, -7, 9223372036854775807, 10.500, 1.5, 1e-7,
    '2026-03-02 11:15:30.123456+01', '2026-03-02 11:15:30.5', '{"a": [1, null]}', '\x01ff', '{a,"b c"}', '1 day 02:00', 1),
    ('', '1969-12-31', -0.05, false, NULL, NULL, NULL, NULL, 'NaN', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO measured VALUES ('2026-05-01', 1, 10), ('2026-05-01', 2, 20);
REFRESH MATERIALIZED VIEW sums;
"#;

async fn rows(catalog: &Catalog, table: &TableName) -> Vec<Row> {
    let schema = catalog.schema(table).expect("the table is there");
    let batches = catalog.scan(table).await.expect("it can be read");
    batches.iter().flat_map(|batch| rows_from_batch(schema, batch).expect("rows")).collect()
}

fn names(columns: &[ColumnName]) -> Vec<&str> {
    columns.iter().map(AsRef::as_ref).collect()
}

async fn opened(database: &Database<'_>, settings: &TableSettingsByName) -> Catalog {
    let source = DatabaseSource::Postgres { url: database.url(), schemas: vec!["public".to_owned()] };
    Catalog::open(&source, settings).await.expect("the database can be opened")
}

#[tokio::test]
async fn a_live_database_is_what_it_says_it_is() {
    let database = Database::create("catalog").await;
    let client = database.client("tests").await;
    client.batch_execute(SCHEMA).await.expect("the schema");
    let keyless = TableName::new("public", "sums");
    let settings =
        BTreeMap::from([(keyless.clone(), TableSettings { key: vec!["site".into()], ..TableSettings::default() })]);
    let catalog = opened(&database, &settings).await;
    let tables: Vec<String> = catalog.schemas().keys().map(TableName::to_string).collect();
    assert_eq!(tables, ["public.Odd \"Table\"", "public.bare", "public.customers", "public.measured", "public.sums"]);
    let odd = catalog.schema(&TableName::new("public", "Odd \"Table\"")).expect("it is there");
    assert_eq!(names(&odd.key), ["b", "Key A"]);
    assert_eq!(
        odd.foreign_keys,
        [ForeignKey {
            columns: vec!["customer".into()],
            table: TableName::new("public", "customers"),
            referenced: vec!["id".into()],
            on_delete: ReferentialAction::Refuse,
            on_update: ReferentialAction::Refuse,
        }]
    );
    let column = |name: &str| odd.column(name).expect(name);
    assert_eq!(column("amount").column_type, ColumnType::Numeric(Some((12, 2))));
    assert!(column("amount").not_null && column("doubled").generated && !column("amount").generated);
    assert_eq!(column("local_at").column_type, ColumnType::Timestamp);
    assert_eq!(column("tags").column_type, ColumnType::Other("text[]".to_owned()));
    let customers = catalog.schema(&TableName::new("public", "customers")).expect("it is there");
    assert_eq!(names(&customers.key), ["id"]);
    assert_eq!(customers.column("mood").expect("mood").column_type, ColumnType::Text);
    assert_eq!(customers.column("email").expect("email").column_type, ColumnType::Varchar(40));
    assert_eq!(
        names(&catalog.schema(&TableName::new("public", "measured")).expect("it is there").key),
        ["day", "site"]
    );
    assert_eq!(names(&catalog.schema(&keyless).expect("it is there").key), ["site"]);

    // Every cell as PostgreSQL prints it.
    let mut found = rows(&catalog, &odd.name).await;
    found.sort_by(|one, other| one.get("b").cmp(&other.get("b")));
    let columns: Vec<String> = odd.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    let copied =
        client.simple_query(&format!("SELECT {} FROM \"Odd \"\"Table\"\"\" ORDER BY b", columns.join(", "))).await;
    let mut printed = Vec::new();
    for message in copied.expect("rows") {
        if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
            printed
                .push((0..row.len()).map(|place| Value::from(row.get(place).map(str::to_owned))).collect::<Vec<_>>());
        }
    }
    let cells: Vec<Vec<Value>> = found.iter().map(|row| row.iter().map(|(_, value)| value.clone()).collect()).collect();
    // A plain numeric is compared by value: 10.500 reads 10.5.
    let plain = odd.columns.iter().position(|column| column.name.as_ref() == "plain").expect("plain");
    let doubled = odd.columns.iter().position(|column| column.name.as_ref() == "doubled").expect("doubled");
    for row in &mut printed {
        for place in [plain, doubled] {
            let shortened = row[place].as_str().map(|text| text.trim_end_matches('0').trim_end_matches('.').to_owned());
            row[place] = Value::from(shortened);
        }
    }
    assert_eq!(cells, printed);
    assert_eq!(rows(&catalog, &TableName::new("public", "measured")).await.len(), 2);
    assert_eq!(rows(&catalog, &TableName::new("public", "bare")).await.len(), 0);
}

#[tokio::test]
async fn a_catalog_sees_one_moment_only() {
    let database = Database::create("snapshot").await;
    let client = database.client("tests").await;
    client
        .batch_execute("CREATE TABLE a (id integer PRIMARY KEY); CREATE TABLE b (id integer PRIMARY KEY)")
        .await
        .expect("tables");
    client
        .batch_execute("INSERT INTO a SELECT generate_series(1, 20000); INSERT INTO b VALUES (1)")
        .await
        .expect("rows");
    let catalog = opened(&database, &TableSettingsByName::new()).await;
    client.batch_execute("DELETE FROM a; INSERT INTO b VALUES (2)").await.expect("later writes");
    assert_eq!(rows(&catalog, &TableName::new("public", "a")).await.len(), 20_000);
    let session = engine::session_context();
    catalog.register(&session).expect("tables are taken");
    let joined = "SELECT count(*) FROM public.a x JOIN a y ON x.id = y.id WHERE x.id NOT IN (SELECT id FROM b)";
    let batches: Vec<RecordBatch> = session.sql(joined).await.expect(joined).collect().await.expect(joined);
    let counted = arrow::util::display::array_value_to_string(batches[0].column(0), 0).expect("a number");
    assert_eq!(counted, "19999");
}

#[tokio::test]
async fn a_database_that_refuses_says_why() {
    let database = Database::create("refusal").await;
    let open = async |url: String, schema: &str| {
        let source = DatabaseSource::Postgres { url, schemas: vec![schema.to_owned()] };
        Catalog::open(&source, &TableSettingsByName::new()).await.expect_err("it is refused").to_string()
    };
    let message = open(format!("{}_missing", database.url()), "public").await;
    assert!(message.contains("does not exist"), "{message}");
    let message = open(database.url(), "shop").await;
    assert!(message.contains("there is no schema shop"), "{message}");
    let message = open("postgresql://ann:secret@127.0.0.1:1/shop".to_owned(), "public").await;
    assert!(message.contains("connect to 127.0.0.1:1") && !message.contains("secret"), "{message}");
}

#[tokio::test]
async fn a_live_database_is_audited() {
    let database = Database::create("audit").await;
    let client = database.client("tests").await;
    client
        .batch_execute(
            "CREATE TABLE customers (id integer PRIMARY KEY, email text);
             CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer, status text, total numeric(12,2),
                 placed_at timestamptz);
             CREATE TABLE order_lines (order_id integer, line_no integer, quantity integer, price numeric(12,2),
                 PRIMARY KEY (order_id, line_no));
             INSERT INTO customers VALUES (7, 'ann@example.org'), (8, 'bob@example.org');
             INSERT INTO orders VALUES (1, 7, 'open', 10, '2026-03-02 10:00Z'), (2, 8, 'shipped', 20, '2026-03-02 11:00Z'),
                 (3, 9, 'lost', NULL, '2026-03-02 12:00Z');
             INSERT INTO order_lines VALUES (1, 1, 1, 4), (1, 2, 2, 3), (2, 1, 1, 19.99)",
        )
        .await
        .expect("the shop");
    let live = project(BROKEN);
    let toml = format!("[database]\nurl = \"{}\"\n[audit]\nrules = [\"rules\"]\n", database.socket_url());
    std::fs::write(live.path().join("blast-radius.toml"), toml).expect("the project file");
    let (status, out, err) = audit(live.path(), &["--format", "json"]);
    assert_eq!((status, err.as_str()), (Some(1), ""));
    // The same tables as files: the same findings.
    let (_, from_files, _) = audit(project(BROKEN).path(), &["--format", "json"]);
    assert_eq!(out, from_files);
}

#[test]
fn violations_too_many_to_hold_are_all_in_the_records() {
    let rules = "rules:\n  - id: never\n    table: orders\n    check: { expression: 'id < 0' }\n  \
                 - id: known\n    table: orders\n    check: { references: { columns: [status], table: customers, key: [email] } }\n";
    let folder = project(rules);
    let mut orders = String::from("id,customer_id,status,total,placed_at\n");
    (1..=120_000).rev().for_each(|id| orders.push_str(&format!("{id},7,open,10.00,2026-03-02 10:00:00+00\n")));
    std::fs::write(folder.path().join("data/orders.csv"), orders).expect("the file");
    let records = folder.path().join("violations.ndjson");
    let options = ["--format", "json", "--records", records.to_str().expect("a path")];
    let (status, out, err) = audit(folder.path(), &options);
    assert_eq!((status, err.as_str()), (Some(1), ""));
    let report: Json = serde_json::from_str(&out).expect("it is JSON");
    for rule in report["rules"].as_array().expect("rules") {
        assert_eq!((&rule["checked"], &rule["violations"]), (&json!(120_000), &json!(120_000)), "{rule}");
        assert!(rule["message"].as_str().is_some_and(|message| message.contains("--records FILE")), "{rule}");
    }
    let listed = report["violations"].as_array().expect("violations");
    assert_eq!(
        (listed.len(), &listed[0]["key"]["id"], &listed[99_999]["key"]["id"]),
        (200_000, &json!(1), &json!(100_000))
    );
    let mut ids: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in std::fs::read_to_string(&records).expect("records").lines() {
        let violation: Json = serde_json::from_str(line).expect("it is JSON");
        let rule = violation["rule"].as_str().expect("a rule").to_owned();
        ids.entry(rule).or_default().push(violation["key"]["id"].as_u64().expect("a number"));
    }
    for (rule, ids) in &mut ids {
        ids.sort_unstable();
        assert!(ids.iter().copied().eq(1..=120_000), "{rule}: {} records", ids.len());
    }
    // One that is listed and one that is not are accepted; all of them cannot be.
    let accepting = PROJECT.replace("rules = [\"rules\"]", "rules = [\"rules\"]\naccepted = \"accepted.yaml\"");
    std::fs::write(folder.path().join("blast-radius.toml"), accepting).expect("the project file");
    let accepted = "accepted:\n  - rule: never\n    until: 2999-12-31\n    reason: known\n    \
                    keys:\n      - { id: \"7\" }\n      - { id: \"111111\" }\n";
    std::fs::write(folder.path().join("accepted.yaml"), accepted).expect("the accepted");
    let (_, out, _) = audit(folder.path(), &options);
    let report: Json = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(report["rules"][0]["violations"], 119_998);
    let left = std::fs::read_to_string(&records).expect("records");
    let left: Vec<&str> = left.lines().filter(|line| line.contains("\"never\"")).collect();
    assert_eq!(left.len(), 119_998);
    assert!(!left.iter().any(|line| line.contains("{\"id\":7}") || line.contains("{\"id\":111111}")));
    let all = ["--accept", "never", "--until", "2999-01-01", "--reason", "all of them"];
    let (status, _, err) = audit(folder.path(), &all);
    assert!(status == Some(2) && err.contains("too many to be accepted"), "{err}");
}

#[tokio::test]
async fn numbers_that_nothing_is_computed_with_do_not_stop_an_audit() {
    let database = Database::create("numbers").await;
    let client = database.client("tests").await;
    client
        .batch_execute(
            "CREATE TABLE orders (id integer PRIMARY KEY, total numeric, paid numeric);
             INSERT INTO orders VALUES (1, 5, 5), (2, 'NaN', 5), (3, 1e-25, 1), (4, -1, 2), (5, NULL, NULL)",
        )
        .await
        .expect("the table");
    let rules = "rules:\n  - id: positive\n    table: orders\n    check: { range: { column: total, min: 0 } }\n  \
                 - id: rounded\n    table: orders\n    check: { expression: 'round(total) >= 0' }\n  \
                 - id: paid\n    table: orders\n    check: { expression: 'round(paid) > 1' }\n";
    let live = project(rules);
    let event = json!({"ts": "2026-03-02T11:00:00Z", "table": "orders", "op": "update", "key": {"id": 4},
                       "before": {"id": 4, "total": "1", "paid": "2"}, "after": {"id": 4, "total": "-1", "paid": "2"}, "release": "v42"});
    std::fs::write(live.path().join("events.ndjson"), format!("{event}\n")).expect("events");
    let url = database.socket_url();
    let toml = format!("[database]\nurl = \"{url}\"\n[ingest]\nfiles = [\"*.ndjson\"]\n[audit]\nrules = [\"rules\"]\n");
    std::fs::write(live.path().join("blast-radius.toml"), toml).expect("the project file");
    let (status, out, _) = audit(live.path(), &["--format", "json"]);
    assert_eq!(status, Some(2), "a rule could not be run");
    let report: Json = serde_json::from_str(&out).expect("it is JSON");
    // NaN is greater than every number: the server says so.
    assert_eq!(report["rules"][0]["violations"], 1, "{out}");
    let message = report["rules"][1]["message"].as_str().expect("a message");
    assert!(report["rules"][1]["status"] == "error" && message.contains("public.orders.total holds NaN"), "{message}");
    assert!(message.contains("in id=2; id=3") && !message.contains("id=1"), "{message}");
    assert_eq!(report["rules"][2]["violations"], 1, "the other column can be computed with: {out}");
    let made: Vec<(&Json, &Json)> = report["violations"]
        .as_array()
        .expect("violations")
        .iter()
        .map(|violation| (&violation["key"]["id"], &violation["release"]))
        .collect();
    assert_eq!(made, [(&json!(4), &json!("v42")), (&json!(3), &Json::Null)]);
}
