//! A live PostgreSQL recorded from its write-ahead log: whole, once, with the release; and gone without a trace.

mod postgres;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use blast_radius::catalog::definitions_of;
use blast_radius::model::{Operation, RecordedStamp, RecordedWrite, Row, TableName};
use blast_radius::store::Store;
use postgres::{Cluster, Database};
use tokio_postgres::Client;

/// A project in a temporary folder, on a database of its own.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn on(database: &Database<'_>, more: &str) -> Project {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let project = format!("[database]\nurl = \"{}\"\n{more}", database.url());
        std::fs::write(folder.path().join("blast-radius.toml"), project).expect("a project file");
        Project { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PathBuf::from(env!("CARGO_BIN_EXE_blast-radius")));
        command.arg("-C").arg(self.path()).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs it and gives its standard output; it must end with this status.
    fn run(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(status), "{arguments:?}\n{}", said(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    async fn stored(&self) -> (Vec<RecordedWrite>, Vec<RecordedStamp>) {
        let location = self.path().join(".blast-radius");
        let store = Store::open(&location.to_string_lossy()).await.expect("the store opens");
        assert_eq!(store.rejected().await.expect("read"), [], "nothing was rejected");
        (store.writes().await.expect("read"), store.stamps().await.expect("read"))
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}\n{error:?}"));
}

fn cells(row: Option<&Row>) -> BTreeMap<String, String> {
    let cells = row.into_iter().flat_map(Row::iter);
    cells.map(|(column, value)| (column.to_string(), value.to_string())).collect()
}

fn of<'a>(writes: &'a [RecordedWrite], table: &str) -> Vec<&'a RecordedWrite> {
    writes.iter().filter(|write| write.table.to_string() == table).collect()
}

/// The database's own dump, without the lines that differ from run to run.
fn dump(cluster: &Cluster, database: &Database<'_>) -> String {
    let output = Command::new(cluster.program("pg_dump")).arg("--schema-only").arg(database.url()).output();
    let output = output.expect("pg_dump starts");
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .collect::<Vec<_>>()
        .join("\n")
}

const SCHEMA: &str = r#"
    CREATE TYPE public.mood AS ENUM ('sad', 'it''s ok');
    CREATE TYPE public.pair AS (a int, b text);
    CREATE DOMAIN public.positive AS numeric(12,3) CHECK (VALUE > 0);
    CREATE TABLE public.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, total numeric(12,2), note text);
    CREATE TABLE public.keyless (a int, b text);
    CREATE TABLE public.indexed (a int NOT NULL, b text);
    CREATE UNIQUE INDEX indexed_a ON public.indexed (a);
    ALTER TABLE public.indexed REPLICA IDENTITY USING INDEX indexed_a;
    CREATE TABLE public.nothing (id int PRIMARY KEY, b text);
    ALTER TABLE public.nothing REPLICA IDENTITY NOTHING;
    CREATE SCHEMA "Odd Schema";
    CREATE TABLE "Odd Schema"."It's ""a"".table" ("Id" int PRIMARY KEY, "naïve column" text);
    CREATE TABLE public.measured (day date NOT NULL, value int, PRIMARY KEY (day)) PARTITION BY RANGE (day);
    CREATE TABLE public.measured_1 PARTITION OF public.measured FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE public.measured_2 PARTITION OF public.measured FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
    CREATE UNLOGGED TABLE public.scratch (id int PRIMARY KEY);
    CREATE TABLE public.typed (id int PRIMARY KEY, s smallint, b bigint, n numeric, r real, d double precision,
        t text, v varchar(9), c char(5), y bytea, da date, ti time, tz timetz, ts timestamp, tstz timestamptz,
        i interval, bo boolean, u uuid, j json, jb jsonb, x xml, ip inet, ci cidr, ma macaddr, bi bit(3), vb varbit,
        po point, pg polygon, mo money, o oid, ts_v tsvector, ar int[], ta text[], ra int4range, mr nummultirange,
        e mood, co pair, dom positive);
"#;
const ODD: &str = "Odd Schema.It's \"a\".table";
const PROJECT: &str = "schemas = [\"public\", \"Odd Schema\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_recorded_once_as_it_was() {
    let database = Database::create("changes").await;
    let client = database.client("shop@v42").await;
    run(&client, SCHEMA).await;
    run(&client, "INSERT INTO public.keyless VALUES (0, 'before the recording')").await;
    let project = Project::on(&database, PROJECT);
    let installed = project.run(0, &["capture", "install"]);
    assert!(installed.contains("not recorded: public.scratch: unlogged"), "{installed}");
    assert_eq!(project.run(0, &["capture", "pull"]).split(',').next(), Some("transactions 0"), "nothing yet");

    run(&client, "INSERT INTO public.orders (total, note) VALUES (1.10, 'a'), (2.20, repeat('long', 5000))").await;
    run(&client, "ALTER TABLE public.orders ALTER note SET STORAGE EXTERNAL; UPDATE public.orders SET note = repeat('x', 9000) WHERE id = 2").await;
    run(&client, "UPDATE public.orders SET total = 3.30 WHERE id = 2").await;
    run(
        &client,
        "BEGIN; UPDATE public.orders SET total = 9; SAVEPOINT s; DELETE FROM public.orders; ROLLBACK TO s; COMMIT",
    )
    .await;
    run(&client, "BEGIN; DELETE FROM public.orders; ROLLBACK").await;
    run(&client, "INSERT INTO public.keyless VALUES (1, NULL), (1, NULL); UPDATE public.keyless SET b = 'x' WHERE a = 1; DELETE FROM public.keyless WHERE a = 1").await;
    run(&client, "INSERT INTO public.nothing VALUES (1, 'n'); UPDATE public.nothing SET id = 2").await;
    run(&client, "INSERT INTO \"Odd Schema\".\"It's \"\"a\"\".table\" VALUES (7, 'ü')").await;
    run(&client, "INSERT INTO public.measured VALUES ('2026-01-05', 1); UPDATE public.measured SET day = '2026-02-05'; TRUNCATE public.measured").await;
    project.run(0, &["capture", "pull"]);

    let (writes, stamps) = project.stored().await;
    let orders = of(&writes, "public.orders");
    let told: Vec<(&str, String, String)> = orders
        .iter()
        .map(|write| {
            let total = |row: Option<&Row>| cells(row).remove("total").unwrap_or_default();
            (write.operation.as_str(), total(write.before.as_ref()), total(write.after.as_ref()))
        })
        .collect();
    let expected = [
        ("insert", "", "1.10"),
        ("insert", "", "2.20"),
        ("update", "2.20", "2.20"),
        ("update", "2.20", "3.30"),
        ("update", "1.10", "9.00"),
        ("update", "3.30", "9.00"),
    ];
    assert_eq!(told, expected.map(|(operation, before, after)| (operation, before.to_owned(), after.to_owned())));
    let unchanged = cells(orders[3].after.as_ref());
    assert_eq!(unchanged["note"], "x".repeat(9000), "what is out of line and did not change is taken from before");
    let keyless: Vec<Operation> = of(&writes, "public.keyless").iter().map(|write| write.operation).collect();
    assert_eq!(keyless, [[Operation::Insert; 2], [Operation::Update; 2], [Operation::Delete; 2]].concat());
    let nothing = of(&writes, "public.nothing");
    assert_eq!(
        (cells(nothing[1].before.as_ref())["id"].as_str(), cells(nothing[1].after.as_ref())["id"].as_str()),
        ("1", "2")
    );
    assert_eq!(cells(of(&writes, ODD)[0].after.as_ref())["naïve column"], "ü");
    let measured: Vec<Operation> = of(&writes, "public.measured").iter().map(|write| write.operation).collect();
    assert_eq!(measured, [Operation::Insert, Operation::Delete, Operation::Insert, Operation::Truncate]);
    let order: Vec<u64> = writes.iter().map(|write| write.seq.expect("every write has its place")).collect();
    assert!(order.is_sorted_by(|one, other| one < other), "{order:?}");
    let by_transaction: BTreeMap<_, usize> = stamps.iter().fold(BTreeMap::new(), |mut counts, stamp| {
        *counts.entry(stamp.transaction.clone()).or_default() += 1;
        counts
    });
    assert!(writes.iter().all(|write| by_transaction.get(write.transaction.as_ref().expect("its id")) == Some(&1)));
    assert!(stamps.iter().all(|stamp| stamp.application_name.as_deref() == Some("shop@v42")));
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("its pid").get(0);
    let session = stamps[0].session.clone().expect("its session");
    assert!(session.0.ends_with(&format!(".{pid:x}")), "{session}");
    let logged = database.jsonlog().await;
    assert!(logged.iter().any(|line| line.contains(&format!("\"session_id\":\"{session}\""))), "as the log writes it");
    let before = writes.len();
    assert!(project.run(0, &["capture", "pull"]).starts_with("transactions 0, writes 0, stamps 0"));
    assert_eq!(project.stored().await.0.len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_text_exact() {
    let database = Database::create("types").await;
    let client = database.client("shop@v42").await;
    run(&client, SCHEMA).await;
    let project = Project::on(&database, PROJECT);
    project.run(0, &["capture", "install"]);
    run(&client, r#"SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET extra_float_digits = 0;
        INSERT INTO public.typed VALUES (1, -1, 9223372036854775807, 0.10000000000000000000000000001, 0.1, 0.1::float8 + 0.2,
        E'tab\tand\nline ''"\\', 'v', 'c', '\x00ff', '2026-03-02', '10:15:30.123456', '10:15:30+09', '2026-03-02 10:15:30.1',
        '2026-03-02 10:15:30+09', '1 day 02:03:04.5', true, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{"a" : 1}', '{"b":1.0,"a":2}',
        '<a/>', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', B'101', B'10101', '(1,2)', '((0,0),(1,1))', 12.34, 42,
        'fat & cat', '{1,NULL,3}', '{"a,b",NULL,"NULL",""}', '[1,5)', '{[1,2),[5,6)}', 'it''s ok', '(1,"x,y")', 1.5);
        INSERT INTO public.typed (id, s, b, n, r, d, t, v, c, y, da, ti, tz, ts, tstz) VALUES (2, NULL, NULL, 'NaN', '-Infinity', 'NaN', '', NULL, NULL, '', 'infinity', '24:00', NULL, '-infinity', 'infinity')"#).await;
    project.run(0, &["capture", "pull"]);
    let reader = blast_radius::catalog::connect_to(&database.url()).await.expect("a session for reading");
    let (writes, _) = project.stored().await;
    let typed = of(&writes, "public.typed");
    let columns: Vec<String> = cells(typed[0].after.as_ref()).into_keys().collect();
    assert_eq!(columns.len(), 38);
    for (write, id) in typed.iter().zip([1, 2]) {
        let recorded = cells(write.after.as_ref());
        for column in &columns {
            // As the output function prints it: a cast to text pads no char and spells booleans out.
            let sql = format!(
                "SELECT CASE WHEN \"{column}\" IS NULL THEN 'NULL' ELSE format('%s', \"{column}\") END
                 FROM public.typed WHERE id = {id}"
            );
            let stored: String = reader.query_one(&sql, &[]).await.expect(column).get(0);
            assert_eq!(recorded[column], stored, "{column} of row {id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_later_and_other_shapes() {
    let database = Database::create("ddl").await;
    let client = database.client("shop@v42").await;
    run(&client, SCHEMA).await;
    let project = Project::on(&database, PROJECT);
    project.run(0, &["capture", "install", "--identity", "default"]);
    run(
        &client,
        "CREATE TABLE public.later (a int); INSERT INTO public.later VALUES (1); UPDATE public.later SET a = 2",
    )
    .await;
    run(
        &client,
        "CREATE TABLE public.measured_3 PARTITION OF public.measured FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
                  INSERT INTO public.measured_3 VALUES ('2026-03-05', 5)",
    )
    .await;
    run(&client, "INSERT INTO public.orders (total, note) VALUES (1, 'one')").await;
    run(&client, "ALTER TABLE public.orders ADD extra int DEFAULT 7; UPDATE public.orders SET total = 2").await;
    run(&client, "ALTER TABLE public.orders RENAME note TO remark; UPDATE public.orders SET remark = 'two'").await;
    run(&client, "ALTER TABLE public.orders DROP extra; ALTER TABLE public.orders ALTER remark TYPE varchar(50); UPDATE public.orders SET total = 4").await;
    run(&client, "ALTER TABLE public.orders DROP CONSTRAINT orders_pkey; UPDATE public.orders SET total = 5").await;
    run(&client, "ALTER TABLE public.orders RENAME TO purchases; UPDATE public.purchases SET total = 6").await;
    project.run(0, &["capture", "pull"]);
    let (writes, stamps) = project.stored().await;
    let later: Vec<Operation> = of(&writes, "public.later").iter().map(|write| write.operation).collect();
    assert_eq!(later, [Operation::Insert, Operation::Update]);
    assert_eq!(cells(of(&writes, "public.measured")[0].after.as_ref())["value"], "5");
    let columns: Vec<String> = of(&writes, "public.orders")
        .iter()
        .map(|write| {
            cells(write.after.as_ref())
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(
        columns,
        [
            "id=1 note=one total=1.00",
            "extra=7 id=1 note=one total=2.00",
            "extra=7 id=1 remark=two total=2.00",
            "id=1 remark=two total=4.00",
            "id=1 remark=two total=5.00"
        ]
    );
    let renamed = of(&writes, "public.purchases");
    assert_eq!(cells(renamed[0].before.as_ref())["total"], "5.00", "without a key the whole row is recorded");
    assert_eq!(of(&writes, "public.orders")[1].before, None, "with --identity default it is not");
    assert!(
        writes.iter().all(|write| stamps.iter().any(|stamp| Some(&stamp.transaction) == write.transaction.as_ref()))
    );
    let status = project.run(1, &["capture", "status"]);
    assert!(status.contains("public.scratch: unlogged") && status.contains("recorded by themselves"), "{status}");
}

/// What a database is made of, as a trace sees it.
async fn objects(database: &Database<'_>) -> Vec<String> {
    let (definitions, _) = definitions_of(&database.url()).await.expect("they can be read");
    definitions.objects.into_iter().map(|object| format!("{} {}", object.kind, object.name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_leaves_nothing() {
    let database = Database::create("leave").await;
    let client = database.client("shop@v42").await;
    run(&client, SCHEMA).await;
    let before = dump(Cluster::shared(), &database);
    let own = objects(&database).await;
    let project = Project::on(&database, PROJECT);
    let script = project.run(0, &["capture", "install", "--dry-run"]);
    assert_eq!(dump(Cluster::shared(), &database), before, "a dry run does nothing");
    for stamp in ["transaction", "statement"] {
        project.run(0, &["capture", "install", "--stamp", stamp]);
    }
    assert_ne!(dump(Cluster::shared(), &database), before);
    // What records writes is no code of the database's that a trace would have to follow.
    assert_eq!(objects(&database).await, own);
    project.run(0, &["capture", "uninstall"]);
    assert_eq!(dump(Cluster::shared(), &database), before);
    assert!(project.run(0, &["capture", "uninstall"]).contains("nothing is installed"));
    let failed = project.command(&["capture", "pull"]).output().expect("it starts");
    assert_eq!(failed.status.code(), Some(2));
    assert!(said(&failed).contains("run blast-radius capture install first"), "{}", said(&failed));

    // The script does by hand what the command does.
    let file = project.path().join("install.sql");
    std::fs::write(&file, script).expect("a file");
    database.psql(&file).expect("the script runs");
    run(&client, "INSERT INTO public.nothing VALUES (1)").await;
    assert!(project.run(0, &["capture", "pull"]).starts_with("transactions 1, writes 1, stamps 1"));
    project.run(0, &["capture", "uninstall"]);
    assert_eq!(dump(Cluster::shared(), &database), before);
    let slots = client.query_one("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()", &[]);
    assert_eq!(slots.await.expect("slots").get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_checked_first() {
    let database = Database::create("rights").await;
    let client = database.client("shop@v42").await;
    run(&client, "CREATE TABLE public.orders (id int PRIMARY KEY); DROP ROLE IF EXISTS weak; CREATE ROLE weak LOGIN")
        .await;
    let before = dump(Cluster::shared(), &database);
    let project = Project::on(&database, "");
    let weak = project.command(&["capture", "install"]).env("PGUSER", "weak").output().expect("it starts");
    // The URL names its user: the variable does not override it.
    assert_eq!(weak.status.code(), Some(0), "{}", said(&weak));
    project.run(0, &["capture", "uninstall"]);
    let url = database.url().replace("postgres@", "weak@");
    std::fs::write(project.path().join("blast-radius.toml"), format!("[database]\nurl = \"{url}\"\n"))
        .expect("written");
    let refused = project.command(&["capture", "install"]).output().expect("it starts");
    assert_eq!(refused.status.code(), Some(2));
    let text = said(&refused);
    for missing in ["ALTER ROLE weak REPLICATION", "GRANT CREATE ON DATABASE", "ownership of public.orders"] {
        assert!(text.contains(missing), "{text}");
    }
    assert_eq!(dump(Cluster::shared(), &database), before, "nothing was done");
    run(
        &client,
        &format!(
            "ALTER ROLE weak REPLICATION; GRANT CREATE ON DATABASE {} TO weak; ALTER TABLE public.orders OWNER TO weak",
            database.name()
        ),
    )
    .await;
    let granted = dump(Cluster::shared(), &database);
    let installed = project.run(0, &["capture", "install"]);
    assert!(installed.contains("only a superuser"), "{installed}");
    run(&client, "INSERT INTO public.orders VALUES (1); CREATE TABLE public.later (id int)").await;
    assert!(project.run(0, &["capture", "pull"]).starts_with("transactions 1, writes 1, stamps 1"));
    assert!(project.run(1, &["capture", "status"]).contains("not recorded: public.later"));
    project.run(0, &["capture", "uninstall"]);
    run(&client, "DROP TABLE public.later").await;
    assert_eq!(dump(Cluster::shared(), &database), granted);
    run(&client, "DROP OWNED BY weak").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_nothing_is_lost_and_nothing_repeated() {
    let database = Database::create("killed").await;
    let client = database.client("shop@v42").await;
    run(
        &client,
        "CREATE TABLE public.orders (id int PRIMARY KEY, n int); CREATE TABLE public.lines (id int PRIMARY KEY)",
    )
    .await;
    let project = Project::on(&database, "");
    project.run(0, &["capture", "install"]);
    let mut written = 0;
    for attempt in 0..24_u64 {
        for _ in 0..4 {
            written += 1;
            run(&client, &format!("BEGIN; INSERT INTO public.orders VALUES ({written}, 0); UPDATE public.orders SET n = n + 1 WHERE id = {written};
                                   INSERT INTO public.lines VALUES ({written}); COMMIT")).await;
        }
        let mut pull = project
            .command(&["capture", "pull"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        tokio::time::sleep(Duration::from_millis(20 + attempt * 23)).await;
        pull.kill().expect("it can be killed");
        pull.wait().expect("it ends");
    }
    // The server notices that its reader is gone only when it writes to it.
    let began = Instant::now();
    loop {
        let output = project.command(&["capture", "pull"]).output().expect("it starts");
        if output.status.success() {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(30) && said(&output).contains("is active for PID"),
            "{}",
            said(&output)
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (writes, stamps) = project.stored().await;
    assert_eq!((of(&writes, "public.orders").len(), of(&writes, "public.lines").len()), (2 * written, written));
    assert_eq!(stamps.len(), written);
    let order: Vec<u64> = writes.iter().map(|write| write.seq.expect("a place")).collect();
    assert!(order.is_sorted_by(|one, other| one < other));
    let table = TableName::new("public", "lines");
    let ids: Vec<String> = writes
        .iter()
        .filter(|write| write.table == table)
        .map(|write| cells(write.after.as_ref())["id"].clone())
        .collect();
    assert_eq!(ids, (1..=written).map(|id| id.to_string()).collect::<Vec<_>>());
    assert!(project.run(0, &["capture", "status"]).contains("tables recorded: 2 of 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_statement_with_its_text_and_its_tags() {
    let database = Database::create("statements").await;
    let client = database.client("shop").await;
    run(&client, "CREATE TABLE public.orders (id int PRIMARY KEY, n int); CREATE TABLE public.lines (id int PRIMARY KEY REFERENCES public.orders ON DELETE CASCADE)").await;
    let project = Project::on(&database, "");
    project.run(0, &["capture", "install", "--stamp", "statement"]);
    let statements = [
        "INSERT INTO public.orders VALUES (1, 1), (2, 2) /*release='v42',service='shop'*/",
        "/*release='v42'*/ INSERT INTO public.lines VALUES (1)",
        "DELETE FROM public.orders WHERE id = 1",
    ];
    run(&client, "BEGIN").await;
    for statement in statements {
        run(&client, statement).await;
    }
    run(&client, "COMMIT").await;
    client.execute("UPDATE public.orders SET n = $1", &[&5]).await.expect("a prepared statement");
    // An old application's setting changes what a plain literal means, in our trigger's function too.
    run(&client, "SET standard_conforming_strings = off").await;
    let old = "UPDATE public.orders SET n = 6 /*release='v43'*/";
    run(&client, old).await;
    project.run(0, &["capture", "pull"]);
    let (writes, stamps) = project.stored().await;
    let texts: Vec<&str> = stamps.iter().filter_map(|stamp| stamp.statement.as_deref()).collect();
    assert_eq!(texts, [statements.as_slice(), &["UPDATE public.orders SET n = $1", old]].concat());
    let release = |place: usize| stamps[place].tags.get("release").map(String::as_str);
    assert_eq!([0, 1, 2, 3, 4].map(release), [Some("v42"), Some("v42"), None, None, Some("v43")]);
    let writes_before = |place: usize| writes.iter().filter(|write| write.seq < stamps[place].seq).count();
    assert_eq!((writes_before(0), writes_before(1), writes_before(2), writes_before(3)), (0, 2, 3, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_goes_on_until_it_is_stopped_and_survives_a_lost_connection() {
    let database = Database::create("follow").await;
    let client = database.client("shop@v42").await;
    run(&client, "CREATE TABLE public.orders (id int PRIMARY KEY)").await;
    let project = Project::on(&database, "");
    project.run(0, &["capture", "install"]);
    let follow = project
        .command(&["capture", "follow", "--interval", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let follow = follow.expect("it starts");
    let has = async |wanted: usize| {
        let began = Instant::now();
        while project.stored().await.0.len() < wanted {
            assert!(began.elapsed() < Duration::from_secs(30), "{wanted} writes were not stored");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    run(&client, "INSERT INTO public.orders VALUES (1)").await;
    has(1).await;
    run(&client, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'blast-radius' AND datname = current_database()").await;
    run(&client, "INSERT INTO public.orders VALUES (2)").await;
    has(2).await;
    let stopped = Command::new("kill").arg("-TERM").arg(follow.id().to_string()).status().expect("kill starts");
    assert!(stopped.success());
    let output = follow.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("writes/s"), "{}", said(&output));
    run(&client, "INSERT INTO public.orders VALUES (3)").await;
    assert!(project.run(0, &["capture", "pull"]).starts_with("transactions 1, writes 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_after_the_last_commit_is_told_once() {
    let database = Database::create("heartbeat").await;
    let client = database.client("shop@v42").await;
    run(&client, "CREATE TABLE public.orders (id int PRIMARY KEY)").await;
    let project = Project::on(&database, "");
    project.run(0, &["capture", "install"]);
    run(&client, "INSERT INTO public.orders VALUES (1)").await;
    // A message outside of any transaction: the program that sends it and what it says are not ours.
    for _ in 0..3 {
        run(&client, "SELECT pg_logical_emit_message(false, 'heartbeat', 'alive')").await;
    }
    assert!(project.run(0, &["capture", "pull"]).starts_with("transactions 1, writes 1"));
    assert!(project.run(0, &["capture", "pull"]).starts_with("transactions 0, writes 0"));
    run(&client, "INSERT INTO public.orders VALUES (2)").await;
    assert!(project.run(0, &["capture", "pull"]).starts_with("transactions 1, writes 1"));
    assert_eq!(project.stored().await.0.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_outlives_its_database_s_name() {
    let database = Database::create("named").await;
    let other = Database::create("other").await.client("administrator").await;
    let client = database.client("shop@v42").await;
    run(&client, "CREATE TABLE public.orders (id int PRIMARY KEY)").await;
    let project = Project::on(&database, "");
    project.run(0, &["capture", "install"]);
    run(&client, "INSERT INTO public.orders VALUES (1)").await;
    drop(client);
    database.settled().await;
    let renamed = format!("{}_renamed", database.name());
    run(&other, &format!("ALTER DATABASE {} RENAME TO {renamed}", database.name())).await;
    let url = database.url().replace(database.name(), &renamed);
    std::fs::write(project.path().join("blast-radius.toml"), format!("[database]\nurl = \"{url}\"\n"))
        .expect("written");
    let slots = async || {
        let count = "SELECT count(*) FROM pg_replication_slots WHERE database = $1";
        other.query_one(count, &[&renamed]).await.expect("slots").get::<_, i64>(0)
    };
    project.run(0, &["capture", "install"]);
    assert_eq!(slots().await, 1, "the recording goes on from its slot");
    assert!(project.run(0, &["capture", "pull"]).starts_with("transactions 1, writes 1"));
    project.run(0, &["capture", "uninstall"]);
    assert_eq!(slots().await, 0);
    // A slot that is left of a recording whose schema somebody dropped goes too.
    project.run(0, &["capture", "install"]);
    run(&other, &format!("ALTER DATABASE {renamed} RENAME TO {}", database.name())).await;
    run(&database.client("administrator").await, "DROP SCHEMA blast_radius_capture CASCADE").await;
    std::fs::write(project.path().join("blast-radius.toml"), format!("[database]\nurl = \"{}\"\n", database.url()))
        .expect("written");
    project.run(0, &["capture", "uninstall"]);
    let left = "SELECT count(*) FROM pg_replication_slots WHERE database = $1";
    assert_eq!(other.query_one(left, &[&database.name()]).await.expect("slots").get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_took_out_of_the_slot_is_told() {
    let database = Database::create("gap").await;
    let client = database.client("shop@v42").await;
    run(&client, "CREATE TABLE public.orders (id int PRIMARY KEY)").await;
    let project = Project::on(&database, "");
    project.run(0, &["capture", "install"]);
    run(&client, "INSERT INTO public.orders VALUES (1)").await;
    run(&client, "SELECT pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) FROM pg_replication_slots WHERE database = current_database()").await;
    assert!(project.run(1, &["capture", "status"]).contains("gap: writes between"));
    run(&client, "INSERT INTO public.orders VALUES (2)").await;
    assert!(project.run(1, &["capture", "pull"]).contains("gap: writes between"));
    // Told once by the pull, and from then on by everything that rests on the recording.
    project.run(0, &["capture", "pull"]);
    let told = project.run(1, &["status", "--format", "json"]);
    assert!(told.contains("not recorded: writes between"), "{told}");
    run(
        &client,
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()",
    )
    .await;
    assert!(project.run(1, &["capture", "status"]).contains("the slot is gone"));
    let failed = project.command(&["capture", "pull"]).output().expect("it starts");
    assert!(
        failed.status.code() == Some(2) && said(&failed).contains("run blast-radius capture install"),
        "{}",
        said(&failed)
    );
    project.run(0, &["capture", "install"]);
    run(&client, "INSERT INTO public.orders VALUES (3)").await;
    assert!(project.run(0, &["capture", "pull"]).starts_with("transactions 1, writes 1"));
    project.run(0, &["capture", "uninstall"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_release_broke_is_found_and_repaired_from_the_recording_alone() {
    broken_found_and_repaired("end_to_end", None).await;
}

/// Only a superuser's recording has an event trigger, which makes our own triggers anew when a table is altered.
#[tokio::test(flavor = "multi_thread")]
async fn a_repair_is_known_as_ours_without_an_event_trigger_too() {
    broken_found_and_repaired("no_superuser", Some("keeper")).await;
}

/// `owner`: the role that owns the tables and records them, where that is no superuser.
async fn broken_found_and_repaired(purpose: &str, owner: Option<&str>) {
    let database = Database::create(purpose).await;
    let client = database.client("setup").await;
    run(
        &client,
        "CREATE TABLE orders (id int PRIMARY KEY, total numeric(12,2));
         CREATE TABLE sums (id int PRIMARY KEY, total numeric(12,2))",
    )
    .await;
    let project = Project::on(&database, "");
    if let Some(owner) = owner {
        run(
            &client,
            &format!(
                "CREATE ROLE {owner} LOGIN REPLICATION; GRANT CREATE ON DATABASE {} TO {owner};
                 ALTER TABLE orders OWNER TO {owner}; ALTER TABLE sums OWNER TO {owner}",
                database.name()
            ),
        )
        .await;
        let url = database.url().replace("postgres@", &format!("{owner}@"));
        std::fs::write(project.path().join("blast-radius.toml"), format!("[database]\nurl = \"{url}\"\n"))
            .expect("a project file");
    }
    let installed = project.run(0, &["capture", "install", "--stamp", "statement"]);
    assert_eq!(installed.contains("only a superuser"), owner.is_some(), "{installed}");
    let as_release = async |release: &str, sql: &str| run(&database.client(release).await, sql).await;
    as_release("shop@v41", "INSERT INTO orders VALUES (1, 10), (2, 20)").await;
    as_release("shop@v42", "UPDATE orders SET total = total * 100 WHERE id = 1").await;
    as_release("reports@7", "INSERT INTO sums SELECT 1, sum(total) FROM orders").await;
    project.run(0, &["capture", "pull"]);

    let faults =
        "release: v42\nfaults:\n  - table: public.orders\n    where: \"true\"\n    set: { total: before.total }\n";
    std::fs::write(project.path().join("faults.yaml"), faults).expect("a faults file");
    let traced = ["--release", "v42", "--faults", "faults.yaml"];
    let found = project.run(1, &[&traced[..], &["--format", "json"]].concat());
    let found: serde_json::Value = serde_json::from_str(&found).expect("JSON");
    assert_eq!(found["records"].as_array().map(Vec::len), Some(2), "{found:#}");
    for (place, role, current, expected) in [(0, "root", "1000.00", "10.00"), (1, "derived", "1020.00", "30.00")] {
        let record = &found["records"][place];
        let column = serde_json::json!({"name": "total", "current": current, "expected": expected, "exact": true});
        assert_eq!(
            (record["role"].as_str(), &record["columns"]),
            (Some(role), &serde_json::json!([column])),
            "{found:#}"
        );
    }

    project.run(0, &[&["repair"], &traced[..], &["--out", "repair"]].concat());
    database.psql(&project.path().join("repair/repair.sql")).expect("the repair runs");
    let row =
        client.query_one("SELECT (SELECT total FROM orders WHERE id = 1)::text, (SELECT total FROM sums)::text", &[]);
    let row = row.await.expect("the rows are there");
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("10.00", "30.00"));
    // What repaired it is known as such, and so is what takes it back.
    for (script, live, healed) in [(None, 0, 2), (Some("repair/undo.sql"), 2, 0)] {
        if let Some(script) = script {
            database.psql(&project.path().join(script)).expect("the undo runs");
        }
        project.run(0, &["capture", "pull"]);
        let again = project.run(1, &[&traced[..], &["--format", "json"]].concat());
        let again: serde_json::Value = serde_json::from_str(&again).expect("JSON");
        let summary = &again["summary"];
        assert_eq!((&summary["live"], &summary["healed"]), (&live.into(), &healed.into()), "{again:#}");
        for place in 0..2 {
            assert_eq!(again["records"][place]["columns"], found["records"][place]["columns"], "{again:#}");
        }
    }
}
