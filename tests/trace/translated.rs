//! Statements that the engine has otherwise than PostgreSQL, or not at all: run again as they were meant.

use super::*;

const DAY: &str = "2026-03-02";

/// Order 1 was placed at 1000.00 instead of 10.00; accounts 1 and 2 hold 50.00 and 40.00.
fn story() -> Story {
    let mut story = Story::new(shop());
    let opened: [WrittenRow<'_>; 2] = [("accounts", &[], &["1", "50.00"]), ("accounts", &[], &["2", "40.00"])];
    story.one("v41", "INSERT INTO accounts VALUES (1, 50), (2, 40)", &[], &opened);
    let order = ["1", DAY, "1000.00", "open"];
    story.one("v42", "INSERT INTO orders VALUES (1, $1, 1000, 'open')", &[DAY], &[("orders", &[], &order)]);
    story
}

async fn found(story: Story) -> BlastRadius {
    story.trace(Suspicion::Faults(&[fault("orders", "total = 1000", "total", "10")])).await
}

#[tokio::test]
async fn a_table_may_go_by_the_name_of_a_column() {
    let mut story = story();
    // `daily` has a column of the name `orders`.
    let daily: WrittenRow<'_> = ("daily", &[], &[DAY, "1", "1000.00"]);
    let sum = "INSERT INTO daily SELECT orders.day, count(*), sum(orders.total) FROM orders GROUP BY orders.day";
    story.one("jobs", sum, &[], &[daily]);
    let update = "UPDATE orders SET status = (SELECT 'of ' || d.total FROM daily d WHERE d.day = orders.day)";
    let told: WrittenRow<'_> = ("orders", &["1", DAY, "1000.00", "open"], &["1", DAY, "1000.00", "of 1000.00"]);
    story.one("v43", update, &[], &[told]);
    let found = found(story).await;
    assert_eq!(cell(record(&found, "daily", DAY), "total"), exactly("1000.00", "10.00"));
    assert_eq!(cell(record(&found, "orders", "1"), "status"), exactly("of 1000.00", "of 10.00"));
}

#[tokio::test]
async fn whether_a_row_exists_may_be_a_value() {
    let mut story = story();
    let update = "UPDATE accounts SET balance = CASE WHEN EXISTS (SELECT 1 FROM orders o WHERE o.id = accounts.id AND \
                  o.total > accounts.balance * 3) THEN 1 ELSE 2 END";
    let set: [WrittenRow<'_>; 2] =
        [("accounts", &["1", "50.00"], &["1", "1.00"]), ("accounts", &["2", "40.00"], &["2", "2.00"])];
    story.one("v43", update, &[], &set);
    let found = found(story).await;
    assert_eq!(cell(record(&found, "accounts", "1"), "balance"), exactly("1.00", "2.00"));
    assert_eq!(found.records.len(), 2, "{found:#?}");
}

#[tokio::test]
async fn the_first_rows_may_be_fetched() {
    let mut story = story();
    let other = ["2", DAY, "20.00", "open"];
    story.one("v41", "INSERT INTO orders VALUES (2, $1, 20, 'open')", &[DAY], &[("orders", &[], &other)]);
    let update =
        "UPDATE accounts SET balance = 0 WHERE id IN (SELECT id FROM orders ORDER BY total DESC FETCH FIRST ROW ONLY)";
    story.one("v43", update, &[], &[("accounts", &["1", "50.00"], &["1", "0.00"])]);
    let found = found(story).await;
    assert_eq!(cell(record(&found, "accounts", "1"), "balance"), exactly("0.00", "50.00"));
    assert_eq!(cell(record(&found, "accounts", "2"), "balance"), exactly("40.00", "0.00"));
}
