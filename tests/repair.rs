//! A repair on a real PostgreSQL: it makes the table right, touches nothing else, and takes itself back.

mod damage;
mod postgres;

use std::path::Path;

use blast_radius::model::{TableName, TableSettings, TableSettingsByName, Value};
use blast_radius::repair::{ChangeKind, RepairFiles, RepairOptions, RepairPlan, plan, verify, write_files};
use damage::{Change, Incident, Rows};
use postgres::Database;
use tokio_postgres::Client;

/// Writes the files and gives them back; the folder goes with the test.
fn files(plan: &RepairPlan, folder: &Path) -> RepairFiles {
    write_files(plan, folder).expect("the files can be written")
}

fn planned(incident: &Incident, batch_rows: usize) -> RepairPlan {
    let settings = TableSettingsByName::new();
    plan(&incident.blast_radius(), &incident.schemas(), RepairOptions { batch_rows, ..RepairOptions::new(&settings) })
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}\n{error:?}"));
}

/// Everything in the tables, as text.
async fn state(client: &Client, tables: &[&str]) -> Vec<String> {
    let mut state = Vec::new();
    for table in tables {
        let rows = client.query(&format!("SELECT t::text FROM {table} AS t ORDER BY 1"), &[]).await;
        let rows = rows.unwrap_or_else(|error| panic!("{table}: {error:?}"));
        state.extend(rows.iter().map(|row| format!("{table}: {}", row.get::<_, String>(0))));
    }
    state
}

async fn skipped(client: &Client, step: &str) -> Vec<(String, String)> {
    let sql = "SELECT relation || ' ' || key::text, reason FROM blast_radius.repair_skipped WHERE step = $1 ORDER BY 1";
    let rows = client.query(sql, &[&step]).await.expect("the skipped changes can be read");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// What the random incidents had in them: a test of nothing proves nothing.
#[derive(Debug, Default)]
struct Tally {
    updates: usize,
    inserts: usize,
    deletes: usize,
    left_alone: usize,
}

impl Tally {
    fn add(&mut self, plan: &RepairPlan, left_alone: usize) {
        self.updates += plan.changes_of(ChangeKind::Update);
        self.inserts += plan.changes_of(ChangeKind::Insert);
        self.deletes += plan.changes_of(ChangeKind::Delete);
        self.left_alone += left_alone;
    }
}

/// Rehearse, repair twice, undo twice, repair again; the states in between must be these.
async fn there_and_back(
    database: &Database<'_>,
    incident: &Incident,
    plan: &RepairPlan,
    right: &[String],
    seed: u64,
) -> usize {
    let client = database.client("test").await;
    let tables: Vec<&str> = incident.tables();
    let before = state(&client, &tables).await;
    let rehearsal = verify(&database.url(), plan).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert_eq!(state(&client, &tables).await, before, "seed {seed}: the rehearsal left something behind");
    assert_eq!(rehearsal.changed, rehearsal.undone, "seed {seed}: {rehearsal:?}");

    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let files = files(plan, folder.path());
    let psql = |file: &Path| database.psql(file).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    psql(&files.repair);
    assert_eq!(state(&client, &tables).await, right, "seed {seed}: repaired");
    let left_alone = skipped(&client, "repair").await;
    assert_eq!(
        i64::try_from(plan.changes()).expect("few changes") - rehearsal.changed,
        i64::try_from(left_alone.len()).expect("few changes"),
        "seed {seed}: {left_alone:?}"
    );
    psql(&files.repair);
    assert_eq!(state(&client, &tables).await, right, "seed {seed}: repaired twice");
    psql(&files.undo);
    assert_eq!(state(&client, &tables).await, before, "seed {seed}: undone");
    psql(&files.undo);
    assert_eq!(state(&client, &tables).await, before, "seed {seed}: undone twice");
    psql(&files.repair);
    assert_eq!(state(&client, &tables).await, right, "seed {seed}: repaired again");
    left_alone.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn random_damage_is_repaired_and_later_edits_are_left_alone() {
    let mut tally = Tally::default();
    for seed in 1..=20 {
        let mut incident = Incident::odd_types(seed);
        incident.damage();
        let plan = planned(&incident, [1, 3, 10_000][usize::try_from(seed % 3).expect("small")]);
        let mut expected = incident.right.clone();
        let now = incident.edited_since(&mut expected);
        let database = Database::create("edits").await;
        let client = database.client("shop@v42").await;
        run(&client, &incident.create(&expected)).await;
        let right = state(&client, &incident.tables()).await;
        run(&client, &incident.fill_again(&now)).await;
        tally.add(&plan, there_and_back(&database, &incident, &plan, &right, seed).await);
    }
    assert!(tally.updates > 20 && tally.inserts > 20 && tally.deletes > 20 && tally.left_alone > 20, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_damage_under_foreign_keys_is_repaired() {
    let mut tally = Tally::default();
    for seed in 1..=20 {
        let mut incident = Incident::family(seed);
        incident.damage();
        let plan = planned(&incident, [2, 5, 10_000][usize::try_from(seed % 3).expect("small")]);
        let database = Database::create("family").await;
        let client = database.client("shop@v42").await;
        run(&client, &incident.create(&incident.right)).await;
        let right = state(&client, &incident.tables()).await;
        run(&client, &incident.fill_again(&incident.actual)).await;
        tally.add(&plan, there_and_back(&database, &incident, &plan, &right, seed).await);
        assert!(skipped(&client, "repair").await.is_empty(), "seed {seed}");
    }
    assert!(tally.updates > 20 && tally.inserts > 20 && tally.deletes > 20, "{tally:?}");
}

const ORDERS: &str = "CREATE TABLE public.orders (id bigint PRIMARY KEY, total numeric(12,2), status text);
    INSERT INTO public.orders VALUES (1, 10.00, 'paid'), (2, 1000.00, 'paid'), (3, 7.00, 'new');";

fn one_wrong_total() -> Incident {
    Incident::by_hand("public.orders", &[("id", "bigint"), ("total", "numeric(12,2)"), ("status", "text")])
        .with(Change::update(&[("id", "2")], &[("total", Some("1000.00"), Some("10.00"))]))
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_do_not_fire_and_are_switched_back_on() {
    let database = Database::create("triggers").await;
    let client = database.client("test").await;
    run(&client, ORDERS).await;
    run(
        &client,
        "CREATE TABLE public.fired (id bigint);
         CREATE FUNCTION public.fire() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN INSERT INTO public.fired VALUES (new.id); RETURN new; END $$;
         CREATE TRIGGER plain AFTER UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.fire();
         CREATE TRIGGER \"Always\" AFTER UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.fire();
         ALTER TABLE public.orders ENABLE ALWAYS TRIGGER \"Always\";
         CREATE TRIGGER off AFTER UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.fire();
         ALTER TABLE public.orders DISABLE TRIGGER off;",
    )
    .await;
    let modes = "SELECT string_agg(tgname || ':' || tgenabled::text, ' ' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal";
    let before: String = client.query_one(modes, &[]).await.expect("triggers can be read").get(0);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let files = files(&planned(&one_wrong_total(), 10), folder.path());
    database.psql(&files.repair).expect("the repair runs");
    assert_eq!(
        state(&client, &["public.orders", "public.fired"]).await,
        ["public.orders: (1,10.00,paid)", "public.orders: (2,10.00,paid)", "public.orders: (3,7.00,new)"]
    );
    let after: String = client.query_one(modes, &[]).await.expect("triggers can be read").get(0);
    assert_eq!(before, after);
    assert_eq!(before, "Always:A off:D plain:O");
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_of_partitions_keep_their_own_modes() {
    let database = Database::create("partitions").await;
    let client = database.client("test").await;
    run(
        &client,
        "CREATE TABLE public.orders (id bigint PRIMARY KEY, total numeric(12,2), status text) PARTITION BY RANGE (id);
         CREATE TABLE public.orders_1 PARTITION OF public.orders FOR VALUES FROM (0) TO (10);
         CREATE TABLE public.orders_2 PARTITION OF public.orders FOR VALUES FROM (10) TO (20);
         INSERT INTO public.orders VALUES (2, 1000.00, 'paid'), (12, 7.00, 'new');
         CREATE TABLE public.fired (id bigint);
         CREATE FUNCTION public.fire() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN INSERT INTO public.fired VALUES (new.id); RETURN new; END $$;
         CREATE TRIGGER t AFTER UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.fire();
         ALTER TABLE ONLY public.orders_1 ENABLE ALWAYS TRIGGER t;
         ALTER TABLE ONLY public.orders_2 DISABLE TRIGGER t;",
    )
    .await;
    let modes = "SELECT string_agg(tgrelid::regclass || ':' || tgenabled::text, ' ' ORDER BY tgrelid::regclass::text) FROM pg_trigger WHERE tgname = 't'";
    let modes = async || client.query_one(modes, &[]).await.expect("triggers can be read").get::<_, String>(0);
    assert_eq!(modes().await, "orders:O orders_1:A orders_2:D");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    database.psql(&files(&planned(&one_wrong_total(), 10), folder.path()).repair).expect("the repair runs");
    assert_eq!(
        state(&client, &["public.orders", "public.fired"]).await,
        ["public.orders: (12,7.00,new)", "public.orders: (2,10.00,paid)"]
    );
    assert_eq!(modes().await, "orders:O orders_1:A orders_2:D");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_switch_triggers_off_nothing_is_changed() {
    let database = Database::create("rights").await;
    let client = database.client("test").await;
    run(&client, ORDERS).await;
    let role = format!("clerk_of_{}", database.name());
    run(
        &client,
        &format!(
            "CREATE FUNCTION public.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
             CREATE TRIGGER plain BEFORE UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.fire();
             CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {} TO {role};
             GRANT SELECT, UPDATE ON public.orders TO {role};",
            database.name()
        ),
    )
    .await;
    let before = state(&client, &["public.orders"]).await;
    let plan = planned(&one_wrong_total(), 10);
    let url = database.url().replace("postgres@", &format!("{role}@"));
    let error = verify(&url, &plan).await.expect_err("a clerk may not switch triggers off").to_string();
    assert!(error.contains("trigger plain of orders would fire") && error.contains("owner of the table"), "{error}");
    assert_eq!(state(&client, &["public.orders"]).await, before);
    run(&client, "DROP TRIGGER plain ON public.orders").await;
    assert_eq!(verify(&url, &plan).await.expect("no trigger, no objection").changed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repair_says_who_it_is_and_keeps_a_backup() {
    let database = Database::create("names").await;
    let client = database.client("test").await;
    run(&client, ORDERS).await;
    let plan = planned(&one_wrong_total(), 10);
    assert_eq!(plan.id, planned(&one_wrong_total(), 3).id, "the batch size is no part of what is repaired");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    database.psql(&files(&plan, folder.path()).repair).expect("the repair runs");
    let backup = state(&client, &[&format!("blast_radius.backup_{}_1", plan.id)]).await;
    assert_eq!(backup.len(), 1);
    assert!(backup[0].ends_with(": (1,2,1000.00,paid)"), "{backup:?}");
    let ledger = client.query_one("SELECT id, release, planned, changed, skipped FROM blast_radius.repair", &[]).await;
    let ledger = ledger.expect("the ledger can be read");
    assert_eq!(ledger.get::<_, String>(0), plan.id);
    assert_eq!((ledger.get::<_, i64>(2), ledger.get::<_, i64>(3), ledger.get::<_, i64>(4)), (1, 1, 0));
    let log = database.jsonlog().await;
    let applied: Vec<&String> = log.iter().filter(|line| line.contains("_apply(false, 1)")).collect();
    assert_eq!(applied.len(), 1, "{applied:?}");
    assert!(applied[0].contains(&format!("\"application_name\":\"{}\"", plan.application_name())), "{applied:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_others_refer_to_are_not_deleted_under_them() {
    let database = Database::create("cascade").await;
    let client = database.client("test").await;
    run(&client, ORDERS).await;
    run(
        &client,
        "CREATE TABLE public.lines (id int PRIMARY KEY, order_id bigint REFERENCES public.orders ON DELETE CASCADE);
         INSERT INTO public.lines VALUES (1, 2);",
    )
    .await;
    let incident =
        Incident::by_hand("public.orders", &[("id", "bigint"), ("total", "numeric(12,2)"), ("status", "text")])
            .with(Change::delete(
                &[("id", "2")],
                &[("id", Some("2")), ("total", Some("1000.00")), ("status", Some("paid"))],
            ))
            .with(Change::delete(
                &[("id", "3")],
                &[("id", Some("3")), ("total", Some("7.00")), ("status", Some("new"))],
            ));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let plan = planned(&incident, 10);
    let said = database.psql(&files(&plan, folder.path()).repair).expect("the repair runs");
    assert!(said.contains("rows of lines refer to it"), "{said}");
    assert_eq!(
        state(&client, &["public.orders", "public.lines"]).await,
        ["public.orders: (1,10.00,paid)", "public.orders: (2,1000.00,paid)", "public.lines: (1,2)"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanged_unique_values_and_broken_constraints() {
    let database = Database::create("ranks").await;
    let client = database.client("test").await;
    run(
        &client,
        "CREATE TABLE public.ranks (id int PRIMARY KEY, rank int UNIQUE NOT NULL CHECK (rank < 100), spent numeric);
         INSERT INTO public.ranks VALUES (1, 1, 50), (2, 2, 40), (3, 3, 30), (4, 4, 20), (5, 5, 10);",
    )
    .await;
    let incident = Incident::by_hand("public.ranks", &[("id", "integer"), ("rank", "integer"), ("spent", "numeric")])
        .with(Change::update(&[("id", "1")], &[("rank", Some("1"), Some("2"))]))
        .with(Change::update(&[("id", "2")], &[("rank", Some("2"), Some("1")), ("spent", Some("40"), Some("60.5"))]))
        .with(Change::update(&[("id", "3")], &[("rank", Some("3"), Some("300"))]))
        .with(Change::update(&[("id", "5")], &[("rank", Some("5"), Some("6"))]));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let files = files(&planned(&incident, 10), folder.path());
    let before = state(&client, &["public.ranks"]).await;
    database.psql(&files.repair).expect("the repair runs");
    // The third row breaks a check: the exchange goes on without it.
    assert_eq!(
        state(&client, &["public.ranks"]).await,
        ["(1,2,50)", "(2,1,60.5)", "(3,3,30)", "(4,4,20)", "(5,6,10)"].map(|row| format!("public.ranks: {row}"))
    );
    let left = skipped(&client, "repair").await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].1.contains("check constraint"), "{left:?}");
    // A later change of another column survives the undo.
    run(&client, "UPDATE public.ranks SET spent = 51 WHERE id = 1").await;
    database.psql(&files.undo).expect("the undo runs");
    let mut expected = before;
    expected[0] = "public.ranks: (1,1,51)".to_owned();
    assert_eq!(state(&client, &["public.ranks"]).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_leaves_alone_what_was_changed_since_the_repair() {
    let database = Database::create("since").await;
    let client = database.client("test").await;
    run(&client, ORDERS).await;
    let incident =
        Incident::by_hand("public.orders", &[("id", "bigint"), ("total", "numeric(12,2)"), ("status", "text")])
            .with(Change::update(&[("id", "2")], &[("total", Some("1000.00"), Some("10.00"))]))
            .with(Change::update(&[("id", "1")], &[("total", Some("10.00"), Some("11.00"))]))
            .with(Change::insert(&[("id", "9")], &[("id", Some("9")), ("total", Some("9.00")), ("status", None)]))
            .with(Change::insert(&[("id", "8")], &[("id", Some("8")), ("total", Some("8.00")), ("status", None)]));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let files = files(&planned(&incident, 10), folder.path());
    database.psql(&files.repair).expect("the repair runs");
    run(
        &client,
        "UPDATE public.orders SET total = 12 WHERE id = 2; UPDATE public.orders SET status = 'paid' WHERE id = 9",
    )
    .await;
    let said = database.psql(&files.undo).expect("the undo runs");
    assert!(said.contains("changed since the repair"), "{said}");
    assert_eq!(
        state(&client, &["public.orders"]).await,
        ["(1,10.00,paid)", "(2,12.00,paid)", "(3,7.00,new)", "(9,9.00,paid)"]
            .map(|row| format!("public.orders: {row}"))
    );
    let kept: Vec<String> = skipped(&client, "undo").await.into_iter().map(|(record, _)| record).collect();
    assert_eq!(kept, ["\"public\".\"orders\" {\"id\": 2}", "\"public\".\"orders\" {\"id\": 9}"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_the_one_traced_is_refused() {
    let database = Database::create("other").await;
    let client = database.client("test").await;
    run(&client, "CREATE TABLE public.orders (id bigint PRIMARY KEY, amount numeric)").await;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let plan = planned(&one_wrong_total(), 10);
    let error = database.psql(&files(&plan, folder.path()).repair).expect_err("there is no such column");
    assert!(error.contains("column t.total does not exist"), "{error}");
    let error = verify(&database.url(), &plan).await.expect_err("there is no such column").to_string();
    assert!(error.starts_with("rehearse the repair (prepare):"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_values_guard_a_deletion_without_being_written() {
    let database = Database::create("personal").await;
    let client = database.client("test").await;
    run(
        &client,
        "CREATE TABLE public.mails (id int PRIMARY KEY, address text, sent boolean);
         INSERT INTO public.mails VALUES (1, 'eve@example.org', true), (2, 'bob@example.org', false), (3, NULL, true);",
    )
    .await;
    let row = |id, address, sent| [("id", Some(id)), ("address", address), ("sent", Some(sent))];
    let incident = Incident::by_hand("public.mails", &[("id", "integer"), ("address", "text"), ("sent", "boolean")])
        .with(Change::delete(&[("id", "1")], &row("1", Some("eve@example.org"), "t")))
        .with(Change::delete(&[("id", "2")], &row("2", Some("bob@example.org"), "f")))
        .with(Change::delete(&[("id", "3")], &row("3", None, "t")))
        .with(Change::insert(&[("id", "4")], &row("4", Some("kim@example.org"), "t")));
    let settings = TableSettings { personal: vec!["address".into()], ..TableSettings::default() };
    let settings = TableSettingsByName::from([(TableName::new("public", "mails"), settings)]);
    let plan = plan(&incident.blast_radius(), &incident.schemas(), RepairOptions::new(&settings));
    assert_eq!((plan.changes(), plan.manual.len()), (3, 1));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let files = files(&plan, folder.path());
    for file in [&files.repair, &files.undo, &files.manual] {
        let text = std::fs::read_to_string(file).expect("the file is there");
        assert!(!text.contains("example.org"), "{text}");
    }
    run(&client, "UPDATE public.mails SET address = 'robert@example.org' WHERE id = 2").await;
    database.psql(&files.repair).expect("the repair runs");
    assert_eq!(state(&client, &["public.mails"]).await, ["public.mails: (2,robert@example.org,f)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_values_of_every_type_guard_by_what_their_output_prints() {
    let database = Database::create("digests").await;
    let client = database.client("test").await;
    run(
        &client,
        "CREATE DOMAIN public.amount AS numeric; CREATE TYPE public.pair AS (a int, b text);
         CREATE TABLE public.people (id int PRIMARY KEY, address inet, sent boolean, code char(4), paid public.amount, pair public.pair);
         INSERT INTO public.people VALUES (1, '10.0.0.1', true, 'ab', 10.500, (1, NULL)), (2, NULL, NULL, NULL, 100, NULL),
                                          (3, '10.0.0.3', true, 'ab', 10.500, (1, NULL));",
    )
    .await;
    let columns = [
        ("id", "integer"),
        ("address", "inet"),
        ("sent", "boolean"),
        ("code", "character(4)"),
        ("paid", "numeric"),
        ("pair", "public.pair"),
    ];
    let row = |id, address, paid, rest: [Option<&'static str>; 3]| {
        let [sent, code, pair] = rest;
        Change::delete(
            &[("id", id)],
            &[
                ("id", Some(id)),
                ("address", address),
                ("sent", sent),
                ("code", code),
                ("paid", Some(paid)),
                ("pair", pair),
            ],
        )
    };
    let rest = [Some("t"), Some("ab  "), Some("(1,)")];
    let incident = Incident::by_hand("public.people", &columns)
        .with(row("1", Some("10.0.0.1"), "10.50", rest))
        .with(row("2", None, "100.0", [None; 3]))
        .with(row("3", Some("10.0.0.3"), "10.51", rest));
    let personal = columns[1..].iter().map(|(name, _)| (*name).into()).collect();
    let settings = TableSettings { personal, ..TableSettings::default() };
    let settings = TableSettingsByName::from([(TableName::new("public", "people"), settings)]);
    let plan = plan(&incident.blast_radius(), &incident.schemas(), RepairOptions::new(&settings));
    assert_eq!(plan.changes_of(ChangeKind::Delete), 3);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    database.psql(&files(&plan, folder.path()).repair).expect("the repair runs");
    let left = state(&client, &["public.people"]).await;
    assert_eq!(left, ["public.people: (3,10.0.0.3,t,\"ab  \",10.500,\"(1,)\")"], "another amount is another row");
}

#[test]
fn what_the_database_holds_is_what_the_plan_expects() {
    // The model of the tests must itself hold what PostgreSQL prints.
    let incident = Incident::odd_types(7);
    assert!(incident.right.values().map(Rows::len).sum::<usize>() > 0);
    assert!(incident.right.values().flat_map(Rows::values).flatten().any(Value::is_null));
}
