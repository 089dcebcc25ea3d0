//! Statements that write in several ways: MERGE, and common table expressions that write rows themselves.

use super::*;

const DAY: &str = "2026-03-02";

fn wrong_order() -> (Story, [SuspectingFault; 1]) {
    let mut story = Story::new(shop());
    let orders: [WrittenRow<'_>; 2] =
        [("orders", &[], &["1", DAY, "10.00", "new"]), ("orders", &[], &["2", DAY, "500.00", "new"])];
    let insert = "INSERT INTO orders (id, day, total, status) VALUES ($1, $2, $3, $4)";
    story.one("v41", insert, &["1", DAY, "10", "new"], &orders[..1]);
    story.one("v42", insert, &["2", DAY, "500", "new"], &orders[1..]);
    (story, [fault("orders", "id = 2", "total", "50.00")])
}

#[tokio::test]
async fn each_action_of_a_merge_is_done_to_its_own_rows() {
    let (mut story, faults) = wrong_order();
    let opened: [WrittenRow<'_>; 1] = [("accounts", &[], &["1", "1.00"])];
    story.one("v41", "INSERT INTO accounts VALUES (1, 1.00)", &[], &opened);
    let merge = "MERGE INTO accounts AS a USING orders AS o ON a.id = o.id \
                 WHEN MATCHED AND o.total < 5 THEN DELETE \
                 WHEN MATCHED THEN UPDATE SET balance = a.balance + o.total \
                 WHEN NOT MATCHED AND o.total < 100 THEN INSERT (id, balance) VALUES (o.id, o.total)";
    story.one("v43", merge, &[], &[("accounts", &["1", "1.00"], &["1", "11.00"])]);
    let found = story.trace(Suspicion::Faults(&faults)).await;
    let account = record(&found, "accounts", "2");
    assert_eq!((account.role, account.state), (Role::Derived, RecordState::Missing));
    assert_eq!(cell(account, "balance").1.as_deref(), Some("50.00"));
    assert_eq!((found.records.len(), found.limits.len()), (2, 0), "{found:#?}");
}

#[tokio::test]
async fn what_a_merge_does_nothing_to_it_leaves_to_no_later_action() {
    let (mut story, faults) = wrong_order();
    let opened: [WrittenRow<'_>; 2] = [("accounts", &[], &["1", "1.00"]), ("accounts", &[], &["2", "2.00"])];
    story.one("v41", "INSERT INTO accounts VALUES (1, 1.00), (2, 2.00)", &[], &opened);
    let merge = "MERGE INTO accounts AS a USING orders AS o ON a.id = o.id \
                 WHEN MATCHED AND o.total > 100 THEN DO NOTHING \
                 WHEN MATCHED THEN UPDATE SET balance = a.balance + o.total \
                 WHEN NOT MATCHED THEN DO NOTHING";
    story.one("v43", merge, &[], &[("accounts", &["1", "1.00"], &["1", "11.00"])]);
    let found = story.trace(Suspicion::Faults(&faults)).await;
    assert_eq!(cell(record(&found, "accounts", "2"), "balance"), exactly("2.00", "52.00"));
    assert_eq!((found.records.len(), found.limits.len()), (2, 0), "{found:#?}");
}

#[tokio::test]
async fn what_one_part_returns_another_writes() {
    let (mut story, faults) = wrong_order();
    let book = "WITH paid AS (UPDATE orders SET status = 'paid', total = total * 2 WHERE total > $1 RETURNING id, total) \
                INSERT INTO accounts (id, balance) SELECT id, total + 1 FROM paid";
    let done: [WrittenRow<'_>; 2] = [
        ("orders", &["2", DAY, "500.00", "new"], &["2", DAY, "1000.00", "paid"]),
        ("accounts", &[], &["2", "1001.00"]),
    ];
    story.one("v43", book, &["20"], &done);
    let found = story.trace(Suspicion::Faults(&faults)).await;
    assert_eq!(cell(record(&found, "orders", "2"), "total"), exactly("1000.00", "100.00"));
    assert_eq!(cell(record(&found, "accounts", "2"), "balance"), exactly("1001.00", "101.00"));
    assert_eq!((found.records.len(), found.limits.len()), (2, 0), "{found:#?}");
}

#[tokio::test]
async fn rows_that_move_are_missing_where_they_should_be() {
    let (mut story, faults) = wrong_order();
    let archive = "WITH gone AS (DELETE FROM orders WHERE total < 100 RETURNING *) \
                   INSERT INTO accounts SELECT gone.id, gone.total FROM gone";
    let done: [WrittenRow<'_>; 2] = [("orders", &["1", DAY, "10.00", "new"], &[]), ("accounts", &[], &["1", "10.00"])];
    story.one("v43", archive, &[], &done);
    let found = story.trace(Suspicion::Faults(&faults)).await;
    assert_eq!(record(&found, "orders", "2").state, RecordState::Extra);
    assert_eq!(record(&found, "accounts", "2").state, RecordState::Missing);
    assert_eq!((found.records.len(), found.limits.len()), (2, 0), "{found:#?}");
}

#[tokio::test]
async fn a_table_that_is_only_read_may_stand_before_an_update() {
    let (mut story, faults) = wrong_order();
    let opened: [WrittenRow<'_>; 1] = [("accounts", &[], &["2", "0.00"])];
    story.one("v41", "INSERT INTO accounts VALUES (2, 0)", &[], &opened);
    let sums = "WITH sums AS (SELECT id, sum(total) AS total FROM orders GROUP BY id) \
                UPDATE accounts AS a SET balance = s.total FROM sums AS s WHERE s.id = a.id";
    story.one("v43", sums, &[], &[("accounts", &["2", "0.00"], &["2", "500.00"])]);
    let found = story.trace(Suspicion::Faults(&faults)).await;
    assert_eq!(cell(record(&found, "accounts", "2"), "balance"), exactly("500.00", "50.00"));
    assert_eq!(found.limits.len(), 0, "{found:#?}");
}

#[tokio::test]
async fn what_a_query_lists_twice_it_gives_twice() {
    let (mut story, faults) = wrong_order();
    let copy =
        "INSERT INTO daily (day, orders, total) SELECT '2026-03-04', count(*), count(*) FROM orders WHERE total > 100";
    story.one("v43", copy, &[], &[("daily", &[], &["2026-03-04", "1", "1.00"])]);
    let found = story.trace(Suspicion::Faults(&faults)).await;
    let day = record(&found, "daily", "2026-03-04");
    assert_eq!((cell(day, "orders"), cell(day, "total")), (exactly("1", "0"), exactly("1.00", "0.00")));
    assert_eq!(found.limits.len(), 0, "{found:#?}");
}

#[tokio::test]
async fn of_several_statements_each_is_given_what_it_does() {
    let (mut story, faults) = wrong_order();
    // The log cannot tell which of the two wrote: the first finds nothing.
    let silent = "UPDATE orders SET total = total * 3 WHERE total < 5";
    let loud = "UPDATE orders SET total = total + 1 WHERE total > 5";
    let written: [WrittenRow<'_>; 2] = [
        ("orders", &["1", DAY, "10.00", "new"], &["1", DAY, "11.00", "new"]),
        ("orders", &["2", DAY, "500.00", "new"], &["2", DAY, "501.00", "new"]),
    ];
    let mut steps = vec![story.step("v43", Some(silent), &[], &written), story.step("v43", Some(loud), &[], &[])];
    for step in &mut steps {
        step.statement.as_mut().expect("it has one").link = StatementLink::AmbiguousStatement;
    }
    story.commit(steps);
    let found = story.trace(Suspicion::Faults(&faults)).await;
    assert_eq!(cell(record(&found, "orders", "2"), "total"), exactly("501.00", "51.00"));
    assert_eq!((found.records.len(), found.limits.len()), (1, 0), "{found:#?}");
}

#[tokio::test]
async fn a_row_that_a_join_meets_twice_is_returned_once() {
    let (mut story, faults) = wrong_order();
    let ranked: [WrittenRow<'_>; 2] = [("ranking", &[], &["1", "1"]), ("ranking", &[], &["2", "1"])];
    story.one("v41", "INSERT INTO ranking VALUES (1, 1), (2, 1)", &[], &ranked);
    // Both rows of the ranking meet the order, which is paid once.
    let pay = "WITH paid AS (UPDATE orders AS o SET status = 'paid' FROM ranking AS r \
               WHERE r.place = 1 AND o.total > 100 RETURNING o.id, o.total) \
               INSERT INTO accounts (id, balance) SELECT max(id), sum(total) FROM paid";
    let done: [WrittenRow<'_>; 2] =
        [("orders", &["2", DAY, "500.00", "new"], &["2", DAY, "500.00", "paid"]), ("accounts", &[], &["2", "500.00"])];
    story.one("v43", pay, &[], &done);
    let faults = [SuspectingFault { set: Some(vec![("total".into(), "150.00".to_owned())]), ..faults[0].clone() }];
    let found = story.trace(Suspicion::Faults(&faults)).await;
    assert_eq!(cell(record(&found, "accounts", "2"), "balance"), exactly("500.00", "150.00"));
    assert_eq!(found.limits.len(), 0, "{found:#?}");
}

#[tokio::test]
async fn what_a_join_returns_by_chance_is_not_run_again() {
    let (mut story, faults) = wrong_order();
    let ranked: [WrittenRow<'_>; 2] = [("ranking", &[], &["1", "1"]), ("ranking", &[], &["2", "1"])];
    story.one("v41", "INSERT INTO ranking VALUES (1, 1), (2, 1)", &[], &ranked);
    let pay = "WITH paid AS (UPDATE orders AS o SET status = 'paid' FROM ranking AS r \
               WHERE r.place = 1 AND o.total > 100 RETURNING r.id, o.total) \
               INSERT INTO accounts (id, balance) SELECT id, total FROM paid";
    let done: [WrittenRow<'_>; 2] =
        [("orders", &["2", DAY, "500.00", "new"], &["2", DAY, "500.00", "paid"]), ("accounts", &[], &["1", "500.00"])];
    story.one("v43", pay, &[], &done);
    let found = story.trace(Suspicion::Faults(&faults)).await;
    let account = record(&found, "accounts", "1");
    assert_eq!((account.role, cell(account, "balance").2), (Role::Possible, false), "{found:#?}");
    assert!(found.limits.iter().any(|limit| limit.contains("may meet a row twice")), "{:?}", found.limits);
}
