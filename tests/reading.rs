//! Tables of a live PostgreSQL: every type exact, one snapshot, ranges of pages side by side, nothing left behind.

mod postgres;

use std::collections::BTreeMap;
use std::time::Duration;

use blast_radius::catalog::{Catalog, rows_from_batch};
use blast_radius::engine::session_context;
use blast_radius::model::{ColumnType, DatabaseSource, Row, TableName};
use futures::StreamExt as _;
use postgres::Database;

/// A type, and values of it as SQL writes them; NULL comes by itself.
const VALUES: [(&str, &[&str]); 53] = [
    ("boolean", &["true", "false"]),
    ("smallint", &["-32768", "32767"]),
    ("integer", &["-2147483648", "7"]),
    ("bigint", &["-9223372036854775808", "9223372036854775807"]),
    ("real", &["1.5", "'NaN'", "'-Infinity'", "1e-30", "0.1", "123456.79"]),
    ("double precision", &["0.1", "1e300", "'Infinity'", "1e15", "1e16", "-0.00001"]),
    ("numeric(12,2)", &["-0.05", "9999999999.99", "10000.5", "0"]),
    ("numeric(38,10)", &["-1234567890123456789012345678.0123456789"]),
    ("numeric(60,4)", &["12345678901234567890123456789012345678901234567890123456.1234", "-0.0001"]),
    ("numeric(100,2)", &["1e90", "-0.01", "'NaN'"]),
    ("numeric(5,-2)", &["12345"]),
    ("money", &["'$1,234.50'", "-1"]),
    ("text", &["''", "'it''s'", "E'a\\tb\\nc\\\\'", "'é漢🙂'"]),
    ("character varying(20)", &["'abc  '"]),
    ("character(5)", &["'ab'"]),
    ("\"char\"", &["'x'"]),
    ("name", &["'a name'"]),
    ("bytea", &["'\\x00ff10'", "''"]),
    ("date", &["'2026-03-02'", "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'20260-01-01'"]),
    ("time", &["'10:15:30.5'", "'24:00:00'"]),
    ("time with time zone", &["'10:15:30+01'"]),
    (
        "timestamp",
        &["'2026-03-02 10:15:30.123456'", "'infinity'", "'0001-12-31 23:59:59 BC'", "'294246-12-31 00:00:00'"],
    ),
    ("timestamp(0)", &["'2026-03-02 10:15:30.5'"]),
    (
        "timestamptz",
        &["'2026-03-02 10:15:30+01'", "'-infinity'", "'4713-12-01 00:00:00+00 BC'", "'1969-12-31 23:59:59.9Z'"],
    ),
    ("interval", &["'1 year 2 mons 3 days 04:05:06.7'", "'-1 day'"]),
    ("uuid", &["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"]),
    ("json", &["'{\"a\":  1}'"]),
    ("jsonb", &["'{\"b\": [1, null], \"a\": \"x\"}'", "'null'"]),
    ("jsonpath", &["'$.a'"]),
    ("xml", &["'<a>b</a>'"]),
    ("inet", &["'192.168.1.1'", "'::1/64'"]),
    ("cidr", &["'10.0.0.0/8'"]),
    ("macaddr", &["'08:00:2b:01:02:03'"]),
    ("macaddr8", &["'08:00:2b:01:02:03:04:05'"]),
    ("bit(3)", &["B'101'"]),
    ("bit varying", &["B'1'"]),
    ("point", &["'(1.5,2)'"]),
    ("box", &["'(1,1),(0,0)'"]),
    ("path", &["'[(0,0),(1,1)]'"]),
    ("circle", &["'<(0,0),1>'"]),
    ("tsvector", &["'a:1 b:2'"]),
    ("tsquery", &["'a & b'"]),
    ("int4range", &["'[1,5)'", "'empty'"]),
    ("tstzrange", &["'[2026-01-01 00:00+00,)'"]),
    ("nummultirange", &["'{[1,2),[3,4)}'"]),
    ("integer[]", &["'{1,NULL,3}'", "'{}'", "'{{1,2},{3,4}}'"]),
    ("text[]", &["ARRAY['a,b', 'it''s', NULL, '']"]),
    ("oid", &["4294967295"]),
    ("pg_lsn", &["'16/B374D848'"]),
    ("citext", &["'A@x'", "'a@X'"]),
    ("mood", &["'very happy'"]),
    ("positive", &["17"]),
    ("pair", &["ROW(NULL, NULL)::pair", "ROW(1, 'x')::pair"]),
];

fn source(database: &Database<'_>) -> DatabaseSource {
    DatabaseSource::Postgres { url: database.url(), schemas: vec!["public".to_owned()] }
}

async fn open(database: &Database<'_>) -> Catalog {
    Catalog::open(&source(database), &BTreeMap::new()).await.expect("the catalog opens")
}

async fn rows(catalog: &Catalog, table: &str) -> Vec<Row> {
    let name = TableName::new("public", table);
    let schema = catalog.schema(&name).expect("the table is there");
    let batches = catalog.scan(&name).await.expect("it can be read");
    batches.iter().flat_map(|batch| rows_from_batch(schema, batch).expect("its values print")).collect()
}

#[tokio::test]
async fn every_type_comes_out_as_postgresql_prints_it() {
    let database = Database::create("types").await;
    let client = database.client("tests").await;
    let types = "CREATE TYPE mood AS ENUM ('sad', 'very happy'); CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
                 CREATE TYPE pair AS (a integer, b text); CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext;
                 SET search_path = public, ext";
    client.batch_execute(types).await.expect("types");
    let columns: Vec<String> =
        (0..).zip(VALUES).map(|(place, (type_name, _)): (i32, _)| format!("c{place} {type_name}")).collect();
    let create = format!("CREATE TABLE t (id integer PRIMARY KEY, {})", columns.join(", "));
    client.batch_execute(&create).await.expect("a table of every type");
    let most = VALUES.iter().map(|(_, values)| values.len()).max().unwrap_or_default();
    for row in 0..=most {
        let values = VALUES.iter().map(|(_, values)| values.get(row).copied().unwrap_or("NULL"));
        let insert = format!("INSERT INTO t VALUES ({row}, {})", values.collect::<Vec<_>>().join(", "));
        client.batch_execute(&insert).await.expect(&insert);
    }
    client.batch_execute("SET TimeZone = 'UTC'; SET extra_float_digits = 1").await.expect("settings");
    let printed: Vec<String> = (0..VALUES.len())
        .map(|place| format!("CASE WHEN c{place} IS DISTINCT FROM NULL THEN format('%s', c{place}) END"))
        .collect();
    let expected = client.query(&format!("SELECT {} FROM t ORDER BY id", printed.join(", ")), &[]).await;
    let expected = expected.expect("PostgreSQL prints them");

    let catalog = open(&database).await;
    let schema = catalog.schema(&TableName::new("public", "t")).expect("the table is there");
    let types = schema.columns.iter().map(|column| &column.column_type);
    // Equal values of it have several texts, and the extension may be in any schema.
    assert_eq!(types.filter(|one| **one == ColumnType::Other("citext".to_owned())).count(), 1);
    let read = rows(&catalog, "t").await;
    assert_eq!(read.len(), expected.len());
    for (row, expected) in read.iter().zip(&expected) {
        for (place, (type_name, _)) in VALUES.iter().enumerate() {
            let value = row.get(&format!("c{place}")).expect("the column is there");
            assert_eq!(value.as_str(), expected.get::<_, Option<&str>>(place), "{type_name}");
        }
    }
}

#[tokio::test]
async fn a_large_table_is_read_whole_in_its_order_and_in_one_snapshot() {
    let database = Database::create("large").await;
    let client = database.client("tests").await;
    // More pages than three ranges have.
    let fill = "CREATE TABLE large (id integer PRIMARY KEY, note text, day date);
                INSERT INTO large SELECT n, repeat('x', 200), date '2026-01-01' + n % 10 FROM generate_series(1, 120000) n;
                CREATE TABLE \"Odd \"\"Name\" (\"select\" integer PRIMARY KEY); INSERT INTO \"Odd \"\"Name\" VALUES (1)";
    client.batch_execute(fill).await.expect("a large table");
    let catalog = open(&database).await;
    client
        .batch_execute("DELETE FROM large WHERE id % 2 = 0; INSERT INTO large VALUES (0, NULL, NULL)")
        .await
        .expect("later");

    let read = rows(&catalog, "large").await;
    let ids: Vec<i32> =
        read.iter().map(|row| row.get("id").and_then(|id| id.as_str()?.parse().ok()).expect("an id")).collect();
    assert_eq!(ids, (1..=120_000).collect::<Vec<_>>(), "as it was when the catalog was opened, in the table's order");
    assert_eq!(rows(&catalog, "Odd \"Name").await.len(), 1);

    let session = session_context();
    catalog.register(&session).expect("registered");
    let sql = "SELECT count(*), min(id), max(id) FROM public.large WHERE day = DATE '2026-01-04' AND id > 100 AND note IS NOT NULL";
    let answer = session.sql(sql).await.expect("planned").collect().await.expect("run");
    let told = arrow::util::pretty::pretty_format_batches(&answer).expect("printed").to_string();
    assert!(["11990", "103", "119993"].iter().all(|number| told.contains(&format!("| {number} "))), "{told}");
    let server = database.jsonlog().await.join("\n");
    assert!(server.contains(r#"\"day\" = '2026-01-04'::date"#), "the filter is the server's to apply");
}

#[tokio::test]
async fn a_reader_that_stops_leaves_no_session_and_a_read_only_role_is_enough() {
    let database = Database::create("stopped").await;
    let client = database.client("tests").await;
    let fill = "CREATE TABLE large (id integer PRIMARY KEY, note text);
                INSERT INTO large SELECT n, repeat('x', 200) FROM generate_series(1, 120000) n;
                DROP ROLE IF EXISTS auditor; CREATE ROLE auditor LOGIN;
                GRANT SELECT ON ALL TABLES IN SCHEMA public TO auditor; ALTER ROLE auditor SET statement_timeout = '10s'";
    client.batch_execute(fill).await.expect("a large table");
    drop(client);
    let url = database.url().replace("postgres@", "auditor@");
    let source = DatabaseSource::Postgres { url, schemas: vec!["public".to_owned()] };
    let catalog = Catalog::open(&source, &BTreeMap::new()).await.expect("the catalog opens");
    let session = session_context();
    catalog.register(&session).expect("registered");
    let frame = session.sql("SELECT * FROM public.large").await.expect("planned");
    let mut stream = frame.execute_stream().await.expect("begun");
    assert!(stream.next().await.expect("a first batch").is_ok());
    drop(stream);
    drop(session);
    drop(catalog);
    database.settled().await;

    let client = database.client("tests").await;
    client.batch_execute("ALTER ROLE auditor SET statement_timeout = '300ms'").await.expect("changed");
    client.batch_execute("BEGIN; LOCK TABLE large IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    let catalog = Catalog::open(&source, &BTreeMap::new()).await.expect("the catalog opens");
    let large = TableName::new("public", "large");
    let read = catalog.scan(&large);
    let error = tokio::time::timeout(Duration::from_secs(20), read).await.expect("in time").expect_err("a timeout");
    let message = error.to_string();
    assert!(message.contains("statement timeout") && message.contains("public.large"), "{message}");
    client.batch_execute("ROLLBACK").await.expect("unlocked");
}

#[tokio::test]
async fn a_change_of_the_table_that_waits_holds_nobody_up() {
    let database = Database::create("changed").await;
    let client = database.client("tests").await;
    let fill = "CREATE TABLE large (id integer PRIMARY KEY, note text);
                INSERT INTO large SELECT n, repeat('x', 200) FROM generate_series(1, 120000) n";
    client.batch_execute(fill).await.expect("a large table");
    let catalog = open(&database).await;
    let changer = database.client("changer").await;
    let changes = tokio::spawn(async move {
        let mut changes = 0;
        // Of the table, and of its index alone.
        for what in
            ["LOCK TABLE large IN ACCESS EXCLUSIVE MODE", "ALTER INDEX large_pkey SET (fillfactor = 90)"].iter().cycle()
        {
            changer.batch_execute(&format!("BEGIN; {what}; COMMIT")).await.expect(what);
            changes += 1;
            if changes % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    for _ in 0..8 {
        let read = tokio::time::timeout(Duration::from_secs(60), rows(&catalog, "large")).await;
        assert_eq!(read.expect("nobody waits for us who waits for them").len(), 120_000);
    }
    changes.abort();
}

#[tokio::test]
async fn a_table_that_was_rewritten_since_is_not_taken_for_empty() {
    let database = Database::create("rewritten").await;
    let client = database.client("tests").await;
    let fill = "CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10);
                CREATE TABLE u (id integer PRIMARY KEY) PARTITION BY RANGE (id);
                CREATE TABLE u_1 PARTITION OF u FOR VALUES FROM (0) TO (5);
                CREATE TABLE u_2 PARTITION OF u FOR VALUES FROM (5) TO (50); INSERT INTO u SELECT generate_series(1, 10);
                CREATE TABLE v (id integer PRIMARY KEY) PARTITION BY RANGE (id);
                CREATE TABLE v_1 PARTITION OF v FOR VALUES FROM (0) TO (5); INSERT INTO v VALUES (1);
                CREATE TABLE same (id integer PRIMARY KEY); INSERT INTO same VALUES (1)";
    client.batch_execute(fill).await.expect("tables");
    let catalog = open(&database).await;
    let change = "TRUNCATE t, u_2; ALTER TABLE v DETACH PARTITION v_1;
                  ALTER TABLE same ADD COLUMN added integer; DELETE FROM same";
    client.batch_execute(change).await.expect("changed");
    for table in ["t", "u", "v"] {
        let error = catalog.scan(&TableName::new("public", table)).await.expect_err("its rows are gone");
        let message = error.to_string();
        assert!(message.contains("truncated or rewritten") && message.contains(table), "{message}");
    }
    assert_eq!(rows(&catalog, "same").await.len(), 1, "what changes no row that the snapshot holds is no matter");
    let again = open(&database).await;
    assert_eq!((rows(&again, "t").await.len(), rows(&again, "u").await.len()), (0, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_partition_is_known_by_the_table_it_is_a_part_of() {
    let database = Database::create("partitions").await;
    let client = database.client("tests").await;
    let sql = "CREATE TABLE public.orders (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
               CREATE SCHEMA parts;
               CREATE TABLE parts.orders_2026 PARTITION OF public.orders FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')
                   PARTITION BY LIST (id);
               CREATE TABLE parts.orders_2026_a PARTITION OF parts.orders_2026 FOR VALUES IN (1);
               CREATE TABLE public.alone (id int PRIMARY KEY)";
    client.batch_execute(sql).await.expect("tables");
    let catalog = open(&database).await;
    let name = |schema: &str, table: &str| TableName::new(schema, table);
    let expected = ["orders_2026", "orders_2026_a"].map(|part| (name("parts", part), name("public", "orders")));
    assert_eq!(catalog.declarations().partitions, BTreeMap::from(expected));
}
