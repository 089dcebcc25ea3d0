//! What is not known: whether a record should be there at all, and what depends on a value that nobody can tell.

use blast_radius::model::{GeneratedColumn, View};

use super::*;

const PLACE: &str = "INSERT INTO orders VALUES ($1, $2, $3, $4)";

/// Orders 1 (10.00, should be 1.00) and 2 (5.00, right).
fn story() -> Story {
    let mut story = Story::new(shop());
    let right = ["2", "2026-03-02", "5.00", "open"];
    let wrong = ["1", "2026-03-02", "10.00", "open"];
    story.one("v41", PLACE, &right, &[("orders", &[], &right)]);
    story.one("v42", PLACE, &wrong, &[("orders", &[], &wrong)]);
    story
}

async fn traced(story: Story) -> BlastRadius {
    story.trace(Suspicion::Faults(&[fault("orders", "total = 10", "total", "1")])).await
}

fn columns(record: &AffectedRecord) -> Vec<&str> {
    record.columns.iter().map(|column| column.name.as_ref()).collect()
}

#[tokio::test]
async fn a_row_with_a_wrong_key_is_one_too_many_and_one_that_is_missing() {
    let mut story = Story::new(shop());
    let order = ["1", "2026-03-02", "10.00", "open"];
    story.one("v42", PLACE, &order, &[("orders", &[], &order)]);
    let daily: WrittenRow<'_> = ("daily", &[], &["2026-03-02", "1", "10.00"]);
    let sum = "INSERT INTO daily SELECT day, count(*), sum(total) FROM orders WHERE id < 100 GROUP BY day";
    story.one("jobs", sum, &[], &[daily]);
    let found = story.trace(Suspicion::Faults(&[fault("orders", "true", "id", "id + 100")])).await;
    let (here, elsewhere) = (record(&found, "orders", "1"), record(&found, "orders", "101"));
    assert_eq!((here.role, here.state, here.repair), (Role::Root, RecordState::Extra, RepairAction::Delete));
    assert_eq!((elsewhere.role, elsewhere.state), (Role::Root, RecordState::Missing));
    assert_eq!(cell(elsewhere, "total"), exactly("NULL", "10.00"));
    assert_eq!(record(&found, "daily", "2026-03-02").state, RecordState::Extra);
}

#[tokio::test]
async fn what_a_statement_deleted_that_cannot_be_run_again_may_still_have_to_be_there() {
    let mut story = story();
    let gone: WrittenRow<'_> = ("orders", &["2", "2026-03-02", "5.00", "open"], &[]);
    story.one("v43", "DELETE FROM orders WHERE our_rank(total) > 1", &[], &[gone]);
    let found = traced(story).await;
    let deleted = record(&found, "orders", "2");
    assert_eq!((deleted.role, deleted.state), (Role::Possible, RecordState::Missing));
    assert_eq!((columns(deleted).len(), deleted.repair), (4, RepairAction::Manual));
    assert!(deleted.columns.iter().all(|column| column.expected.is_none() && !column.exact), "{deleted:#?}");
}

#[tokio::test]
async fn what_a_statement_inserted_that_cannot_be_run_again_may_not_have_to_be_there() {
    let mut story = story();
    let inserted: WrittenRow<'_> = ("ranking", &[], &["1", "7"]);
    story.one("v43", "INSERT INTO ranking SELECT id, 7 FROM orders WHERE our_rank(total) > 1", &[], &[inserted]);
    let found = traced(story).await;
    let placed = record(&found, "ranking", "1");
    assert_eq!((placed.role, placed.state), (Role::Possible, RecordState::Live));
    assert_eq!(columns(placed), ["id", "place"]);
}

#[tokio::test]
async fn a_trigger_that_runs_in_the_right_world_alone_may_change_what_it_reads_nothing_for() {
    let mut story = story();
    story.declarations.definitions = vec![
        "CREATE OR REPLACE FUNCTION public.seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         NEW.status := 'seen'; RETURN NEW; END $$"
            .into(),
        "CREATE TRIGGER seen BEFORE UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.seen()".into(),
    ];
    story.one("v43", "UPDATE orders SET day = '2026-03-05' WHERE total < 3", &[], &[]);
    let found = traced(story).await;
    let order = record(&found, "orders", "1");
    assert_eq!(cell(order, "total"), exactly("10.00", "1.00"));
    assert_eq!(cell(order, "status"), ("open".to_owned(), None, false));
}

#[tokio::test]
async fn what_a_statement_set_to_the_value_it_had_may_have_had_to_change() {
    let mut story = story();
    story.one("v41", "INSERT INTO ranking VALUES (1, 7)", &[], &[("ranking", &[], &["1", "7"])]);
    let same: WrittenRow<'_> = ("ranking", &["1", "7"], &["1", "7"]);
    let update = "UPDATE ranking SET place = our_rank(orders.total) FROM orders WHERE orders.id = ranking.id";
    story.one("v43", update, &[], &[same]);
    let found = traced(story).await;
    let placed = record(&found, "ranking", "1");
    assert_eq!((placed.role, cell(placed, "place")), (Role::Possible, ("7".to_owned(), None, false)));
}

#[tokio::test]
async fn a_row_whose_key_is_computed_from_what_is_not_known_is_not_made_up() {
    let mut story = story();
    let moved: WrittenRow<'_> =
        ("orders", &["1", "2026-03-02", "10.00", "open"], &["1", "2026-03-05", "10.00", "open"]);
    story.one("v43", "UPDATE orders SET day = our_day(total) WHERE id = 1", &[], &[moved]);
    let daily: [WrittenRow<'_>; 2] =
        [("daily", &[], &["2026-03-02", "1", "5.00"]), ("daily", &[], &["2026-03-05", "1", "10.00"])];
    story.one("jobs", "INSERT INTO daily SELECT day, count(*), sum(total) FROM orders GROUP BY day", &[], &daily);
    let found = traced(story).await;
    let days = found.records.iter().filter(|found| found.table == "daily".parse().expect("it is a name"));
    let days: Vec<_> = days.map(|day| (day.key.clone(), day.role, day.state)).collect();
    let day = |day: &str| (record(&found, "daily", day).key.clone(), Role::Possible, RecordState::Live);
    assert_eq!(days, [day("2026-03-02"), day("2026-03-05")], "{:#?}", found.records);
    let told = "public.daily may lack rows that nobody can name: their keys are not known";
    assert!(found.limits.iter().any(|limit| limit == told), "{:?}", found.limits);
}

#[tokio::test]
async fn what_a_statement_may_write_that_does_not_parse_is_told_by_the_names_in_it() {
    let mut story = story();
    let account = ["2", "7.00"];
    story.one("v41", "INSERT INTO accounts VALUES (2, 7)", &[], &[("accounts", &[], &account)]);
    let update = "UPDATE accounts AS a SET balance = o.n FROM (SELECT id, sum(total) OVER (ORDER BY id ROWS BETWEEN 1 \
                  PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW) AS n FROM orders) AS o WHERE a.id = o.id AND o.n < 5";
    story.one("v43", update, &[], &[]);
    let found = traced(story).await;
    let account = record(&found, "accounts", "2");
    assert_eq!((account.role, account.state), (Role::Possible, RecordState::Live));
    assert!(found.limits.iter().any(|limit| limit.contains("failed to parse")), "{:?}", found.limits);
}

/// Order 1 with a status that nobody knows.
fn of_unknown_status() -> Story {
    let mut story = story();
    let before = ["1", "2026-03-02", "10.00", "open"];
    let after = ["1", "2026-03-02", "10.00", "paid"];
    let update = "UPDATE orders SET status = our_status(total) WHERE id = 1";
    story.one("v43", update, &[], &[("orders", &before, &after)]);
    story
}

#[tokio::test]
async fn a_value_that_is_not_known_may_be_the_one_that_a_statement_looks_for() {
    let mut story = of_unknown_status();
    let ranked: WrittenRow<'_> = ("ranking", &[], &["2", "1"]);
    story.one("jobs", "INSERT INTO ranking SELECT id, 1 FROM orders WHERE status = 'open'", &[], &[ranked]);
    let gone: WrittenRow<'_> = ("orders", &["2", "2026-03-02", "5.00", "open"], &[]);
    story.one("jobs", "DELETE FROM orders WHERE status = 'open'", &[], &[gone]);
    let found = traced(story).await;
    let ranked = record(&found, "ranking", "1");
    assert_eq!((ranked.role, ranked.state), (Role::Possible, RecordState::Missing));
    let order = record(&found, "orders", "1");
    assert!(columns(order).contains(&"status"), "{order:#?}");
}

#[tokio::test]
async fn the_first_of_rows_may_be_another_where_a_value_is_not_known() {
    let mut story = of_unknown_status();
    let first = "SELECT id FROM orders WHERE status <> 'gone' ORDER BY status DESC, id LIMIT 1";
    let ranked: WrittenRow<'_> = ("ranking", &[], &["1", "1"]);
    story.one("jobs", &format!("INSERT INTO ranking SELECT id, 1 FROM ({first}) AS first"), &[], &[ranked]);
    let found = traced(story).await;
    assert_eq!(record(&found, "ranking", "1").role, Role::Possible);
    let other = record(&found, "ranking", "2");
    assert_eq!((other.role, other.state), (Role::Possible, RecordState::Missing));
}

#[tokio::test]
async fn a_column_that_is_computed_from_what_is_not_known_is_not_known() {
    let schemas = Schemas::from([table(
        "articles",
        &[("sku", ColumnType::Text), ("net", money()), ("gross", money()), ("stock", ColumnType::Integer)],
        &["sku"],
    )]);
    let mut story = Story::new(schemas);
    let insert = "INSERT INTO articles (sku, net, stock) VALUES ($1, $2, 1)";
    story.one("v42", insert, &["a", "100"], &[("articles", &[], &["a", "100.00", "119.00", "1"])]);
    let raised = [("articles", ["a", "100.00", "119.00", "1"].as_slice(), ["a", "110.00", "130.90", "1"].as_slice())];
    story.one("v43", "UPDATE articles SET net = our_price(net) WHERE sku = 'a'", &[], &raised);
    story.declarations.generated.push(GeneratedColumn {
        table: "articles".parse().expect("a table name"),
        column: "gross".into(),
        expression: "net * 1.19".into(),
    });
    let found = story.trace(Suspicion::Faults(&[fault("articles", "net = 100", "net", "10")])).await;
    let article = record(&found, "articles", "a");
    assert_eq!(cell(article, "net"), ("110.00".to_owned(), None, false));
    assert_eq!(cell(article, "gross"), ("130.90".to_owned(), None, false));
}

#[tokio::test]
async fn a_value_that_is_not_known_may_be_the_one_that_rows_are_grouped_or_joined_by() {
    let mut story = story();
    for (id, status) in [("3", "paid"), ("4", "sent")] {
        let order = [id, "2026-03-02", "1.00", status];
        story.one("v41", PLACE, &order, &[("orders", &[], &order)]);
    }
    let sent = ["1", "2026-03-02", "10.00", "sent"];
    let update = "UPDATE orders SET status = our_status(total) WHERE id = 1";
    story.one("v43", update, &[], &[("orders", &["1", "2026-03-02", "10.00", "open"], &sent)]);
    let count =
        "INSERT INTO ranking SELECT min(id) + 10, count(*) FROM orders WHERE id > 1 OR total > 0 GROUP BY status";
    let counted: [WrittenRow<'_>; 3] =
        [("ranking", &[], &["12", "1"]), ("ranking", &[], &["13", "1"]), ("ranking", &[], &["11", "2"])];
    story.one("jobs", count, &[], &counted);
    let found = traced(story).await;
    // Order 1 may be paid: then it is counted there.
    assert_eq!(record(&found, "ranking", "13").role, Role::Possible);
}

#[tokio::test]
async fn what_is_proved_wrong_and_may_have_to_be_gone_has_no_exact_value() {
    let mut story = story();
    story.one("v43", "DELETE FROM orders WHERE our_rank(total) > 1", &[], &[]);
    let found = traced(story).await;
    let order = record(&found, "orders", "1");
    assert_eq!((order.role, order.state, columns(order).len()), (Role::Root, RecordState::Live, 4));
    assert!(order.columns.iter().all(|column| !column.exact), "{order:#?}");
}

#[tokio::test]
async fn what_is_computed_from_a_suspected_value_is_not_exact() {
    let mut story = Story::new(shop());
    let wrong = ["1", "2026-03-02", "10.00", "open"];
    let order = story.step("v42", Some(PLACE), &wrong, &[("orders", &[], &wrong)]);
    // The application computed it from the same wrong total.
    let account: WrittenRow<'_> = ("accounts", &[], &["1", "110.00"]);
    let account = story.step("v42", Some("INSERT INTO accounts VALUES ($1, $2)"), &["1", "110"], &[account]);
    story.commit(vec![order, account]);
    let sum = "INSERT INTO daily SELECT o.day, 1, a.balance - o.total FROM orders o, accounts a WHERE a.id = o.id";
    story.one("jobs", sum, &[], &[("daily", &[], &["2026-03-02", "1", "100.00"])]);
    let found = traced(story).await;
    let daily = record(&found, "daily", "2026-03-02");
    assert_eq!((daily.role, cell(daily, "total")), (Role::Possible, ("100.00".to_owned(), None, false)));
}

#[tokio::test]
async fn a_recursion_ends_whatever_is_not_known() {
    let schemas = Schemas::from([
        table("people", &[("id", ColumnType::Integer), ("chief", ColumnType::Integer)], &["id"]),
        table("teams", &[("id", ColumnType::Integer), ("depth", ColumnType::Integer)], &["id"]),
    ]);
    let mut story = Story::new(schemas);
    for (id, chief) in [("1", "9"), ("2", "1")] {
        story.one("v42", "INSERT INTO people VALUES ($1, $2)", &[id, chief], &[("people", &[], &[id, chief])]);
    }
    let moved: WrittenRow<'_> = ("people", &["1", "9"], &["1", "8"]);
    story.one("v43", "UPDATE people SET chief = our_chief(id) WHERE id = 1", &[], &[moved]);
    let team = "WITH RECURSIVE team AS (SELECT id, 1 AS depth FROM people WHERE id = 1 UNION ALL \
                SELECT p.id, t.depth + 1 FROM people p JOIN team t ON p.chief = t.id) INSERT INTO teams SELECT id, depth FROM team";
    story.one("jobs", team, &[], &[("teams", &[], &["1", "1"]), ("teams", &[], &["2", "2"])]);
    let found = story.trace(Suspicion::Faults(&[fault("people", "id = 1", "chief", "7")])).await;
    assert_eq!(record(&found, "teams", "2").role, Role::Possible);
}

#[tokio::test]
async fn what_is_written_through_a_view_is_written_to_its_table() {
    let mut story = story();
    story.declarations.views = vec![View {
        name: "dear".parse().expect("a name"),
        sql: "SELECT o.id, o.day, o.total FROM public.orders o WHERE (o.total > (4)::numeric);".into(),
    }];
    let before = [["1", "2026-03-02", "10.00", "open"], ["2", "2026-03-02", "5.00", "open"]];
    let after = [["1", "2026-03-02", "20.00", "open"], ["2", "2026-03-02", "10.00", "open"]];
    let doubled = [("orders", before[0].as_slice(), after[0].as_slice()), ("orders", &before[1], &after[1])];
    story.one("v43", "UPDATE dear SET total = dear.total * 2", &[], &doubled);
    let found = traced(story).await;
    let order = record(&found, "orders", "1");
    assert_eq!(cell(order, "total"), exactly("20.00", "1.00"));
    assert_eq!((found.records.len(), found.limits.len()), (1, 0), "{found:#?}");
}

/// A trigger that writes to the very row that was written.
const SUMMED: [&str; 2] = [
    "CREATE FUNCTION public.summed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
     UPDATE daily SET total = (SELECT sum(total) FROM orders) WHERE day = NEW.day; RETURN NULL; END $$;",
    "CREATE TRIGGER summed AFTER UPDATE OF orders ON public.daily FOR EACH ROW EXECUTE FUNCTION public.summed();",
];

#[tokio::test]
async fn what_a_trigger_wrote_to_the_row_that_its_statement_wrote_may_be_wrong() {
    let mut story = Story::new(shop());
    story.declarations.definitions.extend(SUMMED.map(Into::into));
    let [first, second, third] =
        [["2026-03-02", "1", "5.00"], ["2026-03-02", "2", "5.00"], ["2026-03-02", "2", "10.00"]];
    story.one("v41", "INSERT INTO daily VALUES ($1, $2, $3)", &first, &[("daily", &[], &first)]);
    let order = ["1", "2026-03-02", "10.00", "open"];
    story.one("v42", PLACE, &order, &[("orders", &[], &order)]);
    let writes: [WrittenRow<'_>; 2] = [("daily", &first, &second), ("daily", &second, &third)];
    story.one("v43", "UPDATE daily SET orders = 2 WHERE day = '2026-03-02'", &[], &writes);
    let found = traced(story).await;
    let daily = record(&found, "daily", "2026-03-02");
    assert_eq!((daily.role, columns(daily)), (Role::Possible, vec!["total"]));
    assert!(found.limits.iter().any(|limit| limit.contains("--reenact-on")), "{:?}", found.limits);
}
