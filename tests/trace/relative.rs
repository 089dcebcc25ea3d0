//! Updates that move a value by an amount: what depends on the value is told by their text, and is what runs on other
//! values find.

use super::*;

const PLACE: &str = "INSERT INTO orders VALUES ($1, $2, $3, $4)";

/// Order 1 with a total of which nobody knows what it should be, order 2 with one that is right.
fn of_unknown_total() -> Story {
    let mut story = Story::new(shop());
    for (release, id) in [("v42", "1"), ("v41", "2")] {
        let order = [id, "2026-03-02", "10.00", "open"];
        story.one(release, PLACE, &order, &[("orders", &[], &order)]);
    }
    let raised: WrittenRow<'_> =
        ("orders", &["1", "2026-03-02", "10.00", "open"], &["1", "2026-03-02", "12.00", "open"]);
    story.one("v43", "UPDATE orders SET total = our_total(total) WHERE id = 1", &[], &[raised]);
    let accounts: [WrittenRow<'_>; 2] = [("accounts", &[], &["1", "3.00"]), ("accounts", &[], &["2", "NULL"])];
    story.one("v41", "INSERT INTO accounts VALUES (1, 3), (2, NULL)", &[], &accounts);
    story
}

/// The update of both orders, and the sum of what then stands.
async fn traced(mut story: Story, update: &str, after: [&[&str]; 2]) -> BlastRadius {
    let before = [["1", "2026-03-02", "12.00", "open"], ["2", "2026-03-02", "10.00", "open"]];
    let written: Vec<WrittenRow<'_>> = before
        .iter()
        .zip(after)
        .filter(|(_, after)| !after.is_empty())
        .map(|(before, after)| ("orders", before.as_slice(), after))
        .collect();
    story.one("v43", update, &["1"], &written);
    story.trace(Suspicion::Faults(&[fault("orders", "total = 10", "total", "1")])).await
}

/// What was found, but for the texts of the statements.
fn told(mut found: BlastRadius) -> Vec<AffectedRecord> {
    for record in &mut found.records {
        if let Some(cause) = &mut record.cause {
            cause.statement = None;
        }
    }
    found.records
}

#[tokio::test]
async fn what_depends_on_a_value_that_is_moved_is_what_runs_on_other_values_find() {
    let less = ["11.00", "9.00"];
    let more = ["88.00", "90.00"];
    for (moved, tried, totals) in [
        ("total = total - 1", "total = total * 1 - 1", less),
        ("total = total - $1, status = 'paid'", "total = total * 1 - $1, status = 'paid'", less),
        ("total = 100 - orders.total", "total = 100 - total * 1", more),
        ("status = 'paid', total = 1 + total - 2", "status = 'paid', total = 1 + total * 1 - 2", less),
    ] {
        let status = if moved.contains("status") { "paid" } else { "open" };
        let after = [["1", "2026-03-02", totals[0], status], ["2", "2026-03-02", totals[1], status]];
        let mut both = Vec::new();
        for set in [moved, tried] {
            let update = format!("UPDATE orders SET {set}");
            both.push(told(traced(of_unknown_total(), &update, [&after[0], &after[1]]).await));
        }
        assert_eq!(both[0], both[1], "{moved}");
        let order = &both[0][0];
        assert_eq!(cell(order, "total"), (totals[0].to_owned(), None, false), "{moved}");
    }
}

#[tokio::test]
async fn a_suspected_value_that_is_moved_stays_suspected() {
    let mut both = Vec::new();
    for set in ["balance = balance - 1", "balance = balance * 1 - 1"] {
        let mut story = Story::new(shop());
        let wrong = ["1", "2026-03-02", "10.00", "open"];
        let order = story.step("v42", Some(PLACE), &wrong, &[("orders", &[], &wrong)]);
        // The application may have computed it from the same wrong total.
        let account: WrittenRow<'_> = ("accounts", &[], &["1", "110.00"]);
        let account = story.step("v42", Some("INSERT INTO accounts VALUES ($1, $2)"), &["1", "110"], &[account]);
        story.commit(vec![order, account]);
        let moved: WrittenRow<'_> = ("accounts", &["1", "110.00"], &["1", "109.00"]);
        story.one("v43", &format!("UPDATE accounts SET {set} WHERE id = 1"), &[], &[moved]);
        let sum = "INSERT INTO daily SELECT o.day, 1, a.balance - o.total FROM orders o, accounts a WHERE a.id = o.id";
        story.one("jobs", sum, &[], &[("daily", &[], &["2026-03-02", "1", "99.00"])]);
        let found = story.trace(Suspicion::Faults(&[fault("orders", "total = 10", "total", "1")])).await;
        let account = record(&found, "accounts", "1");
        assert_eq!((account.role, cell(account, "balance")), (Role::Possible, ("109.00".to_owned(), None, false)));
        let daily = record(&found, "daily", "2026-03-02");
        assert_eq!((daily.role, cell(daily, "total")), (Role::Possible, ("99.00".to_owned(), None, false)));
        both.push(told(found));
    }
    assert_eq!(both[0], both[1]);
}

#[tokio::test]
async fn where_the_value_decides_what_is_written_all_that_is_written_is_in_doubt() {
    let update = "UPDATE orders SET total = total - 1, status = 'paid' WHERE total > 11";
    let found = traced(of_unknown_total(), update, [&["1", "2026-03-02", "11.00", "paid"], &[]]).await;
    let order = record(&found, "orders", "1");
    assert_eq!(cell(order, "total"), ("11.00".to_owned(), None, false));
    assert_eq!(cell(order, "status"), ("paid".to_owned(), None, false));
}

#[tokio::test]
async fn another_row_that_is_moved_by_the_value_depends_on_it() {
    let update =
        "UPDATE orders SET total = orders.total + other.total FROM orders AS other WHERE other.id <> orders.id";
    let after = [["1", "2026-03-02", "22.00", "open"], ["2", "2026-03-02", "22.00", "open"]];
    let found = traced(of_unknown_total(), update, [&after[0], &after[1]]).await;
    for id in ["1", "2"] {
        assert_eq!(cell(record(&found, "orders", id), "total"), ("22.00".to_owned(), None, false), "{id}");
    }
}

#[tokio::test]
async fn a_value_that_is_moved_by_null_is_known() {
    let update = "UPDATE orders SET total = total - (SELECT balance FROM accounts WHERE id = 2)";
    let after = [["1", "2026-03-02", "NULL", "open"], ["2", "2026-03-02", "NULL", "open"]];
    let found = traced(of_unknown_total(), update, [&after[0], &after[1]]).await;
    let order = record(&found, "orders", "1");
    assert_eq!(order.state, RecordState::Healed, "{order:#?}");
}

#[tokio::test]
async fn a_value_that_is_moved_and_may_not_be_there_is_in_doubt_as_a_whole() {
    let mut story = Story::new(shop());
    let wrong = ["1", "2026-03-02", "10.00", "open"];
    story.one("v42", PLACE, &wrong, &[("orders", &[], &wrong)]);
    story.one(
        "v43",
        "INSERT INTO accounts SELECT id, 7 FROM orders WHERE our_rank(total) > 1",
        &[],
        &[("accounts", &[], &["1", "7.00"])],
    );
    let moved: WrittenRow<'_> = ("accounts", &["1", "7.00"], &["1", "6.00"]);
    story.one("v43", "UPDATE accounts SET balance = balance - 1", &[], &[moved]);
    let found = story.trace(Suspicion::Faults(&[fault("orders", "total = 10", "total", "1")])).await;
    let account = record(&found, "accounts", "1");
    assert_eq!((account.role, account.columns.len()), (Role::Possible, 2), "{account:#?}");
}
