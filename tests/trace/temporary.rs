//! Temporary tables: no write to them is recorded, and what is computed from them is followed all the same.

use blast_radius::model::SessionId;

use super::*;

/// An order with a wrong total (10.00, should be 1.00) and a right one (5.00).
fn story() -> Story {
    let mut story = Story::new(shop());
    let place = "INSERT INTO orders VALUES ($1, $2, $3, $4)";
    let right = ["1", "2026-03-02", "5.00", "open"];
    let wrong = ["2", "2026-03-02", "10.00", "open"];
    story.one("v41", place, &right, &[("orders", &[], &right)]);
    story.one("v42", place, &wrong, &[("orders", &[], &wrong)]);
    story
}

async fn traced(story: Story) -> BlastRadius {
    let faults = [fault("orders", "true", "total", "1")];
    story.trace(Suspicion::Faults(&faults)).await
}

fn of_session(story: &mut Story, steps: Vec<Step>) {
    story.commit(steps);
    let last = story.history.transactions.last_mut().expect("it was committed");
    last.session = Some(SessionId("a session".into()));
}

const DAILY: &str = "INSERT INTO daily SELECT day, orders, total FROM staging";

#[tokio::test]
async fn what_is_computed_by_way_of_a_temporary_table_is_derived() {
    let mut story = story();
    let fill = "CREATE TEMP TABLE staging ON COMMIT DROP AS \
                SELECT day, count(*) AS orders, sum(total) AS total FROM orders GROUP BY day";
    let steps = vec![
        story.step("jobs", Some(fill), &[], &[]),
        story.step("jobs", Some(DAILY), &[], &[("daily", &[], &["2026-03-02", "2", "15.00"])]),
    ];
    story.commit(steps);
    let found = traced(story).await;
    let daily = record(&found, "daily", "2026-03-02");
    assert_eq!(daily.role, Role::Derived);
    assert_eq!(cell(daily, "total"), exactly("15.00", "6.00"));
    assert_eq!(daily.columns.len(), 1, "as many orders in both worlds");
}

#[tokio::test]
async fn a_temporary_table_is_declared_filled_and_changed_over_several_transactions() {
    let mut story = story();
    let statements = [
        "CREATE TEMPORARY TABLE staging (day date, orders bigint, total numeric(12,2))",
        "INSERT INTO staging (total, day) SELECT total, day FROM orders",
        "UPDATE staging AS s SET orders = 1, total = s.total * 2 WHERE s.total < 8",
        "DELETE FROM staging WHERE total > 9.5 AND orders IS NULL",
    ];
    for sql in statements {
        let step = story.step("jobs", Some(sql), &[], &[]);
        of_session(&mut story, vec![step]);
    }
    // Actual: 5.00 becomes 10.00, 10.00 is deleted. Right: 10.00 and 2.00.
    let sum = "INSERT INTO daily SELECT day, count(*), sum(total) FROM staging GROUP BY day";
    let step = story.step("jobs", Some(sum), &[], &[("daily", &[], &["2026-03-02", "1", "10.00"])]);
    of_session(&mut story, vec![step]);
    let found = traced(story).await;
    let daily = record(&found, "daily", "2026-03-02");
    assert_eq!(cell(daily, "orders"), exactly("1", "2"));
    assert_eq!(cell(daily, "total"), exactly("10.00", "12.00"));
}

#[tokio::test]
async fn a_table_made_from_a_query_is_derived() {
    for made in [
        "CREATE TABLE daily AS SELECT day, count(*) AS orders, sum(total) AS total FROM orders GROUP BY day",
        "SELECT day, count(*) AS orders, sum(total) AS total INTO daily FROM orders GROUP BY day",
    ] {
        let mut story = story();
        story.one("jobs", made, &[], &[("daily", &[], &["2026-03-02", "2", "15.00"])]);
        let found = traced(story).await;
        let daily = record(&found, "daily", "2026-03-02");
        assert_eq!((daily.role, cell(daily, "total")), (Role::Derived, exactly("15.00", "6.00")), "{made}");
    }
}

#[tokio::test]
async fn a_temporary_table_that_is_there_stays_as_it_is() {
    let mut story = story();
    let steps = vec![
        story.step("jobs", Some("CREATE TEMP TABLE staging AS SELECT day, 2 AS orders, total FROM orders"), &[], &[]),
        story.step("jobs", Some("CREATE TEMP TABLE IF NOT EXISTS staging (day date)"), &[], &[]),
        story.step(
            "jobs",
            Some("INSERT INTO daily SELECT day, count(*), sum(total) FROM staging GROUP BY day"),
            &[],
            &[("daily", &[], &["2026-03-02", "2", "15.00"])],
        ),
    ];
    story.commit(steps);
    let found = traced(story).await;
    assert_eq!(cell(record(&found, "daily", "2026-03-02"), "total"), exactly("15.00", "6.00"));
}

#[tokio::test]
async fn what_is_wrong_in_a_temporary_table_stays_so_whatever_is_added_to_it() {
    for added in ["INSERT INTO staging VALUES (DATE '2026-03-03', 1, random())", "COPY staging FROM STDIN"] {
        let mut story = story();
        let steps = vec![
            story.step(
                "jobs",
                Some("CREATE TEMP TABLE staging AS SELECT day, 1 AS orders, total FROM orders"),
                &[],
                &[],
            ),
            story.step("jobs", Some(added), &[], &[]),
            story.step("jobs", Some(DAILY), &[], &[("daily", &[], &["2026-03-02", "1", "10.00"])]),
        ];
        story.commit(steps);
        let found = traced(story).await;
        assert_eq!(record(&found, "daily", "2026-03-02").role, Role::Possible, "{added}");
    }
}

#[tokio::test]
async fn a_recorded_table_is_read_again_once_the_temporary_one_of_its_name_is_dropped() {
    for dropped in ["DROP TABLE IF EXISTS orders", "DISCARD ALL"] {
        let mut story = story();
        let sum = "INSERT INTO daily SELECT day, count(*), sum(total) FROM orders GROUP BY day";
        let steps = vec![
            story.step("jobs", Some("CREATE TEMP TABLE orders AS SELECT 5 AS id"), &[], &[]),
            story.step("jobs", Some(dropped), &[], &[]),
            story.step("jobs", Some(sum), &[], &[("daily", &[], &["2026-03-02", "2", "15.00"])]),
        ];
        story.commit(steps);
        let found = traced(story).await;
        assert_eq!(cell(record(&found, "daily", "2026-03-02"), "total"), exactly("15.00", "6.00"), "{dropped}");
    }
}

#[tokio::test]
async fn what_comes_from_a_temporary_table_that_cannot_be_followed_is_possible() {
    let mut story = story();
    let steps = vec![
        story.step("jobs", Some("CREATE TEMP TABLE staging (day date, orders bigint, total numeric(12,2))"), &[], &[]),
        story.step("jobs", Some("INSERT INTO staging SELECT day, 1, total * random() FROM orders"), &[], &[]),
        story.step("jobs", Some(DAILY), &[], &[("daily", &[], &["2026-03-02", "2", "15.00"])]),
    ];
    story.commit(steps);
    let found = traced(story).await;
    assert_eq!(record(&found, "daily", "2026-03-02").role, Role::Possible);
}

#[tokio::test]
async fn a_temporary_table_of_what_is_right_leads_to_nothing() {
    let mut story = story();
    let fill = "CREATE TEMP TABLE staging AS SELECT day, count(*) AS orders, sum(total) AS total \
                FROM orders WHERE id = 1 GROUP BY day";
    let steps = vec![
        story.step("jobs", Some(fill), &[], &[]),
        story.step("jobs", Some(DAILY), &[], &[("daily", &[], &["2026-03-02", "1", "5.00"])]),
    ];
    story.commit(steps);
    let found = traced(story).await;
    assert_eq!(found.records.len(), 1, "the order alone: {:#?}", found.records);
}

#[tokio::test]
async fn a_temporary_table_hides_the_recorded_one_of_its_name() {
    let mut story = story();
    let hidden = "CREATE TEMP TABLE orders AS SELECT DATE '2026-03-02' AS day, 1 AS orders, 5.00 AS total";
    let sum = "INSERT INTO daily SELECT day, 1, total FROM orders";
    let steps = vec![
        story.step("jobs", Some(hidden), &[], &[]),
        story.step("jobs", Some(sum), &[], &[("daily", &[], &["2026-03-02", "1", "5.00"])]),
    ];
    story.commit(steps);
    let found = traced(story).await;
    assert!(found.records.iter().all(|record| record.role != Role::Derived), "{:#?}", found.records);
}

const SUMS: &str = "CREATE MATERIALIZED VIEW public.sums AS \
                    SELECT day, count(*) AS orders, sum(total) AS total FROM orders GROUP BY day;";
const REFRESH: &str = "REFRESH MATERIALIZED VIEW CONCURRENTLY sums";
const FROM_SUMS: &str = "INSERT INTO daily SELECT day, orders, total FROM sums";

fn with_view(mut story: Story) -> Story {
    let columns = [("day", ColumnType::Date), ("orders", ColumnType::BigInt), ("total", ColumnType::Numeric(None))];
    let (name, schema) = table("sums", &columns, &[]);
    story.schemas.insert(name, schema);
    story.declarations.definitions.push(SUMS.into());
    story
}

#[tokio::test]
async fn what_is_computed_from_a_materialized_view_is_derived_since_it_was_refreshed() {
    let mut story = with_view(story());
    // As of before the error.
    story.one("jobs", FROM_SUMS, &[], &[("daily", &[], &["2026-03-02", "1", "5.00"])]);
    let refresh = story.step("jobs", Some(REFRESH), &[], &[]);
    story.commit(vec![refresh]);
    story.one("jobs", "DELETE FROM daily", &[], &[("daily", &["2026-03-02", "1", "5.00"], &[])]);
    story.one("jobs", FROM_SUMS, &[], &[("daily", &[], &["2026-03-02", "2", "15.00"])]);
    let found = traced(story).await;
    let daily = record(&found, "daily", "2026-03-02");
    assert_eq!(daily.role, Role::Derived);
    assert_eq!(cell(daily, "total"), exactly("15.00", "6.00"));
    let told = "the materialized view public.sums holds what was computed from wrong records: refresh it once they are repaired";
    assert!(found.limits.iter().any(|limit| limit == told), "{:?}", found.limits);
}

#[tokio::test]
async fn a_view_that_was_not_refreshed_since_is_as_it_was() {
    let mut story = with_view(story());
    story.one("jobs", FROM_SUMS, &[], &[("daily", &[], &["2026-03-02", "1", "5.00"])]);
    let refresh = story.step("jobs", Some("REFRESH MATERIALIZED VIEW sums WITH NO DATA"), &[], &[]);
    story.commit(vec![refresh]);
    let found = traced(story).await;
    assert_eq!(found.records.len(), 1, "the order alone: {:#?}", found.records);
}

#[tokio::test]
async fn a_view_of_which_nobody_knows_when_it_was_refreshed_may_hold_anything() {
    let mut story = with_view(story());
    story.one("jobs", FROM_SUMS, &[], &[("daily", &[], &["2026-03-02", "2", "15.00"])]);
    let found = traced(story).await;
    assert_eq!(record(&found, "daily", "2026-03-02").role, Role::Possible);
    assert!(found.limits.iter().any(|limit| limit.contains("public.sums may hold")), "{:?}", found.limits);
}

#[tokio::test]
async fn a_key_of_such_a_view_tells_nothing_of_its_rows() {
    let mut story = with_view(story());
    let columns = [("day", ColumnType::Date), ("orders", ColumnType::BigInt), ("total", ColumnType::Numeric(None))];
    let (name, schema) = table("sums", &columns, &["day"]);
    story.tables.load(schema.clone(), vec![]).expect("a table");
    story.schemas.insert(name, schema);
    let of_day = "INSERT INTO daily SELECT day, orders, total FROM sums WHERE day = '2026-03-02'";
    story.one("jobs", of_day, &[], &[("daily", &[], &["2026-03-02", "2", "15.00"])]);
    let found = traced(story).await;
    assert_eq!(record(&found, "daily", "2026-03-02").role, Role::Possible);
}

/// The engine has no regular expressions: the statement is not run again.
const NOT_RUN_AGAIN: &str = " WHERE day::text ~ '^2026'";

#[tokio::test]
async fn a_statement_that_cannot_be_run_again_over_what_is_wrong_in_a_temporary_table_is_possible() {
    let sql = format!("{DAILY}{NOT_RUN_AGAIN}");
    let mut story = story();
    let fill =
        "CREATE TEMP TABLE staging AS SELECT day, count(*) AS orders, sum(total) AS total FROM orders GROUP BY day";
    let steps = vec![
        story.step("jobs", Some(fill), &[], &[]),
        story.step("jobs", Some(&sql), &[], &[("daily", &[], &["2026-03-02", "2", "15.00"])]),
    ];
    story.commit(steps);
    assert_eq!(record(&traced(story).await, "daily", "2026-03-02").role, Role::Possible);
}

#[tokio::test]
async fn a_statement_that_cannot_be_run_again_over_a_view_is_possible() {
    let sql = format!("{FROM_SUMS}{NOT_RUN_AGAIN}");
    for is_refreshed in [true, false] {
        let mut story = with_view(story());
        if is_refreshed {
            let refresh = story.step("jobs", Some(REFRESH), &[], &[]);
            story.commit(vec![refresh]);
        }
        story.one("jobs", &sql, &[], &[("daily", &[], &["2026-03-02", "2", "15.00"])]);
        assert_eq!(record(&traced(story).await, "daily", "2026-03-02").role, Role::Possible, "{is_refreshed}");
    }
}

#[tokio::test]
async fn a_temporary_table_of_unknown_columns_is_in_doubt_once_something_wrong_is_added_to_it() {
    for (condition, total, is_wrong) in [("true", "15.00", true), ("id = 1", "5.00", false)] {
        let mut story = story();
        let fill =
            format!("INSERT INTO staging (day, orders, total) SELECT day, 1, total FROM orders WHERE {condition}");
        let made = "CREATE TEMP TABLE staging (number serial, day date, orders bigint, total numeric(12,2))";
        let steps = vec![
            story.step("jobs", Some(made), &[], &[]),
            story.step("jobs", Some(&fill), &[], &[]),
            story.step("jobs", Some(DAILY), &[], &[("daily", &[], &["2026-03-02", "1", total])]),
        ];
        story.commit(steps);
        let found = traced(story).await;
        let daily = found.records.iter().find(|record| record.table.table.as_ref() == "daily");
        assert_eq!(daily.map(|record| record.role), is_wrong.then_some(Role::Possible), "{condition}");
    }
}
