//! `--reenact-on`: what the database computes itself, run again on a scratch server; and what is refused.

mod postgres;

use std::path::Path;
use std::process::Command;

use postgres::Database;
use serde_json::{Value, json};

/// A trigger with everything that only the database can give: the time, a sequence, chance.
const SCHEMA: &str = "
    CREATE TABLE items (id int PRIMARY KEY, price numeric(10,2) NOT NULL);
    CREATE TABLE sales (id bigserial PRIMARY KEY, item int NOT NULL, total numeric(10,2), at timestamptz, due date, ref uuid, luck float8);
    CREATE TABLE receipts (no int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sale bigint NOT NULL, text text);
    CREATE FUNCTION fill_in() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        SELECT price * 2 INTO NEW.total FROM items WHERE id = NEW.item;
        NEW.at := now();
        NEW.due := CURRENT_DATE + 30;
        NEW.ref := gen_random_uuid();
        NEW.luck := random();
        INSERT INTO receipts (sale, text) VALUES (NEW.id, format('%s on %s', NEW.total, to_char(CURRENT_TIMESTAMP, 'DD.MM.')));
        RETURN NEW;
    END $$;
    CREATE TRIGGER fill_in BEFORE INSERT ON sales FOR EACH ROW EXECUTE FUNCTION fill_in();";

const ROWS: &str = "
    INSERT INTO items VALUES (1, 100.00);
    ALTER TABLE sales DISABLE TRIGGER fill_in;
    INSERT INTO sales VALUES (4711, 1, 200.00, '2026-03-02 10:00:05.123456+00', '2026-04-01', '0b0d52a8-5a6d-4d4e-9d0e-7b1c4b6f2a11', 0.25);
    INSERT INTO receipts OVERRIDING SYSTEM VALUE VALUES (32, 4711, '200.00 on 02.03.');
    ALTER TABLE sales ENABLE TRIGGER fill_in;";

const FAULTS: &str =
    "release: v42\nfaults:\n  - table: public.items\n    where: price > 50\n    set: { price: price / 100 }\n";

/// What was recorded of it: the release's price, and a sale at that price.
fn events() -> String {
    let sale = "INSERT INTO sales (item) VALUES (1)";
    let events = [
        json!({"ts": "2026-03-02T10:00:00Z", "release": "v42", "tx": "1", "seq": 1, "table": "public.items", "op": "update",
               "key": {"id": 1}, "before": {"id": 1, "price": "50.00"}, "after": {"id": 1, "price": "100.00"},
               "statement": "UPDATE items SET price = 100 WHERE id = 1"}),
        json!({"ts": "2026-03-02T10:00:05.123Z", "release": "v41", "tx": "2", "seq": 2, "table": "public.receipts", "op": "insert",
               "key": {"no": 32}, "after": {"no": 32, "sale": 4711, "text": "200.00 on 02.03."}, "statement": sale}),
        json!({"ts": "2026-03-02T10:00:05.123Z", "release": "v41", "tx": "2", "seq": 3, "table": "public.sales", "op": "insert",
               "key": {"id": 4711},
               "after": {"id": 4711, "item": 1, "total": "200.00", "at": "2026-03-02T10:00:05.123456Z", "due": "2026-04-01",
                         "ref": "0b0d52a8-5a6d-4d4e-9d0e-7b1c4b6f2a11", "luck": 0.25},
               "statement": sale}),
    ];
    events.iter().map(|event| format!("{event}\n")).collect()
}

fn project(database: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let settings = format!("[database]\n{database}\n\n[ingest]\nfiles = [\"events.ndjson\"]\n");
    for (path, text) in
        [("blast-radius.toml", settings), ("events.ndjson", events()), ("faults.yaml", FAULTS.to_owned())]
    {
        std::fs::write(folder.path().join(path), text).expect("a file can be written");
    }
    folder
}

fn trace(project: &Path, scratch: Option<&str>) -> (Option<i32>, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blast-radius"));
    command.env("NO_COLOR", "1").args(["-C", project.to_str().expect("the path is text"), "--release", "v42"]);
    command.args(["--faults", "faults.yaml", "--format", "json"]);
    scratch.iter().for_each(|scratch| _ = command.args(["--reenact-on", scratch]));
    let output = command.output().expect("the program starts");
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (
        output.status.code(),
        report,
        String::from_utf8_lossy(&output.stderr).replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" "),
    )
}

/// A record's table, its role, and each of its columns with what it should hold, and whether that is exact.
type Found = (String, String, Vec<(String, Option<String>, bool)>);

/// Each record found.
fn found(report: &Value) -> Vec<Found> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let column = |column: &Value| {
        (text(&column["name"]).unwrap_or_default(), text(&column["expected"]), column["exact"] == true)
    };
    let record = |record: &Value| {
        let columns = record["columns"].as_array().into_iter().flatten().map(column).collect();
        (text(&record["table"]).unwrap_or_default(), text(&record["role"]).unwrap_or_default(), columns)
    };
    let mut records: Vec<_> = report["records"].as_array().into_iter().flatten().map(record).collect();
    records.sort();
    records
}

fn exact(table: &str, role: &str, column: &str, expected: &str) -> Found {
    (table.to_owned(), role.to_owned(), vec![(column.to_owned(), Some(expected.to_owned()), true)])
}

fn everything() -> Vec<Found> {
    vec![
        exact("public.items", "root", "price", "1.00"),
        exact("public.receipts", "derived", "text", "2.00 on 02.03."),
        exact("public.sales", "derived", "total", "2.00"),
    ]
}

async fn shop() -> Database<'static> {
    let database = Database::create("shop").await;
    let client = database.client("setup").await;
    client.batch_execute(&format!("{SCHEMA}{ROWS}")).await.expect("the shop can be set up");
    database
}

#[tokio::test]
async fn times_keys_and_chance_are_those_that_were_given() {
    let shop = shop().await;
    let scratch = Database::create("scratch").await;
    let project = project(&format!("url = \"{}\"\nschemas = [\"public\"]", shop.url()));
    let (status, report, err) = trace(project.path(), Some(&scratch.url()));
    assert_eq!(status, Some(1), "{err}");
    assert_eq!(found(&report), everything(), "{:?}", report["limits"]);
    assert_eq!(report["limits"], json!([]));

    let (_, alone, _) = trace(project.path(), None);
    let possible: Vec<String> =
        found(&alone).into_iter().filter(|(_, role, _)| role == "possible").map(|(table, _, _)| table).collect();
    assert_eq!(possible, ["public.receipts", "public.sales"], "without a scratch server, both may be wrong");
    assert!(alone["limits"].to_string().contains("--reenact-on URL"), "{:?}", alone["limits"]);
}

#[tokio::test]
async fn a_schema_that_stands_there_says_how_a_folder_s_tables_are_made() {
    let scratch = Database::create("scratch").await;
    let project = project("files = \"data\"");
    let data = project.path().join("data");
    std::fs::create_dir(&data).expect("a folder can be made");
    for (table, text) in [
        ("items", "id,price\n1,100.00\n"),
        (
            "sales",
            "id,item,total,at,due,ref,luck\n4711,1,200.00,2026-03-02 10:00:05.123456+00,2026-04-01,0b0d52a8-5a6d-4d4e-9d0e-7b1c4b6f2a11,0.25\n",
        ),
        ("receipts", "no,sale,text\n32,4711,200.00 on 02.03.\n"),
    ] {
        std::fs::write(data.join(format!("{table}.csv")), text).expect("a file can be written");
    }
    let settings = project.path().join("blast-radius.toml");
    let mut text = std::fs::read_to_string(&settings).expect("it is there");
    text.push_str("[tables.\"public.items\"]\nkey = [\"id\"]\n[tables.\"public.sales\"]\nkey = [\"id\"]\n[tables.\"public.receipts\"]\nkey = [\"no\"]\n");
    std::fs::write(&settings, text).expect("a file can be written");
    let (status, _, err) = trace(project.path(), Some(&scratch.url()));
    assert!(
        status == Some(2)
            && err.contains("nobody knows how the tables are made")
            && err.contains("pg_dump --schema-only"),
        "{err}"
    );

    let client = scratch.client("setup").await;
    let rows = "INSERT INTO items VALUES (7, 7.00); SELECT nextval('sales_id_seq')";
    client.batch_execute(&format!("{SCHEMA}{rows}")).await.expect("the schema can be restored");
    let (status, report, err) = trace(project.path(), Some(&scratch.url()));
    assert_eq!(status, Some(1), "{err}");
    assert_eq!(found(&report), everything(), "{:?}", report["limits"]);
    let sql = "SELECT (SELECT string_agg(i::text, ' ') FROM public.items i), (SELECT last_value FROM public.sales_id_seq),
                      (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'blast%'), (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'blast%')";
    let row = client.query_one(sql, &[]).await.expect("what stood there stands there");
    assert_eq!((row.get::<_, String>(0).as_str(), row.get::<_, i64>(1)), ("(7,7.00)", 1));
    assert_eq!((row.get::<_, i64>(2), row.get::<_, i64>(3)), (0, 0), "something is left there");
}

#[tokio::test]
async fn a_scratch_server_that_cannot_be_used_is_one_clear_error() {
    let shop = shop().await;
    let project = project(&format!("url = \"{}\"\nschemas = [\"public\"]", shop.url()));
    let client = shop.client("setup").await;
    client
        .batch_execute("CREATE DATABASE elsewhere TEMPLATE template0 LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'")
        .await
        .expect("it can be made");
    let elsewhere = shop.url().replace(shop.name(), "elsewhere");
    for (scratch, expected) in [
        ("postgres://postgres@127.0.0.1:1/scratch".to_owned(), "connect to 127.0.0.1:1"),
        (shop.url(), "it is the database under audit"),
        (shop.socket_url(), "it is the database under audit"),
        (shop.url().replace(shop.name(), "nowhere"), "database \"nowhere\" does not exist"),
        ("env:NO_SUCH_SCRATCH".to_owned(), "the variable NO_SUCH_SCRATCH is not set"),
        ("http://scratch".to_owned(), "expected a URL that begins with postgres://"),
        (elsewhere, "LC_COLLATE 'C' LC_CTYPE 'C'"),
    ] {
        let (status, report, err) = trace(project.path(), Some(&scratch));
        assert!(status == Some(2) && report == Value::Null && err.contains(expected), "{scratch}: {status:?} {err}");
        assert_eq!(err.matches("failed to").count(), 1, "{err}");
    }
}

#[tokio::test]
async fn what_reaches_outside_or_cannot_be_told_stays_possible() {
    let shop = shop().await;
    let client = shop.client("setup").await;
    let replaced = |body: &str| {
        let read = "SELECT price * 2 INTO NEW.total FROM items WHERE id = NEW.item;";
        let head = "CREATE OR REPLACE FUNCTION fill_in() RETURNS trigger LANGUAGE plpgsql";
        format!("{head} AS $$ BEGIN {read} {body} RETURN NEW; END $$")
    };
    let scratch = Database::create("scratch").await;
    let project = project(&format!("url = \"{}\"\nschemas = [\"public\"]", shop.url()));
    for (body, why) in [
        ("NEW.due := 'today'::date;", "may read the clock by the text 'today'"),
        (
            "EXECUTE 'UPDATE items SET price = price WHERE current_date > now()';",
            "reads the clock by current_date in a text of SQL",
        ),
        ("PERFORM dblink_exec('dbname=elsewhere', 'DELETE FROM items');", "dblink_exec"),
        ("PERFORM timeofday();", "timeofday() is not known"),
        ("TRUNCATE items;", "emptied by TRUNCATE"),
        ("NEW.total := 7;", "did something else on the scratch server than was recorded"),
    ] {
        client.batch_execute(&replaced(body)).await.expect("the function can be replaced");
        let (status, report, err) = trace(project.path(), Some(&scratch.url()));
        assert_eq!(status, Some(1), "{err}");
        let roles: Vec<(String, String)> = found(&report).into_iter().map(|(table, role, _)| (table, role)).collect();
        assert!(roles.contains(&("public.sales".to_owned(), "possible".to_owned())), "{body}: {roles:?}");
        assert!(report["limits"].to_string().contains(why), "{body}: {}", report["limits"]);
    }
}
