//! Transactions that stand open across each other's commits: each statement is run over the state that it saw.

use blast_radius::model::SessionId;

use super::*;

const DAY: &str = "2026-03-02";

/// The last transaction was run by this session: its statements began at these moments, and it committed at that one, in
/// milliseconds.
fn timed(story: &mut Story, session: &str, started: &[i64], committed: i64) {
    let moment = |milliseconds: i64| Timestamp::from_micros(1_773_000_000_000_000 + milliseconds * 1_000);
    let transaction = story.history.transactions.last_mut().expect("it has committed");
    transaction.session = Some(SessionId(session.into()));
    transaction.committed = moment(committed);
    transaction.started = moment(started[0]);
    for (step, started) in transaction.steps.iter_mut().zip(started) {
        let statement = step.statement.as_mut().expect("it has one");
        statement.started = moment(*started);
        statement.link = StatementLink::SessionOrder;
    }
}

/// An order of 10.00 that v42 makes 500.00 at 1 s, where it should have made it 50.00.
fn wrong_order() -> (Story, [SuspectingFault; 1]) {
    let mut story = Story::new(shop());
    let insert = "INSERT INTO orders (id, day, total, status) VALUES ($1, $2, $3, $4)";
    story.one("v41", insert, &["1", DAY, "10", "new"], &[("orders", &[], &["1", DAY, "10.00", "new"])]);
    timed(&mut story, "a", &[0], 1);
    let wrong: [WrittenRow<'_>; 1] = [("orders", &["1", DAY, "10.00", "new"], &["1", DAY, "500.00", "new"])];
    story.one("v42", "UPDATE orders SET total = $2 WHERE id = $1", &["1", "500"], &wrong);
    timed(&mut story, "b", &[1_000], 1_001);
    (story, [fault("orders", "id = 1 AND total = 500", "total", "50.00")])
}

const COPY: &str = "INSERT INTO accounts SELECT id, total FROM orders WHERE id = $1";

fn mended(story: &mut Story) {
    let right: [WrittenRow<'_>; 1] = [("orders", &["1", DAY, "500.00", "new"], &["1", DAY, "50.00", "new"])];
    story.one("v43", "UPDATE orders SET total = $2 WHERE id = $1", &["1", "50"], &right);
}

#[tokio::test]
async fn what_is_mended_before_the_commit_was_wrong_when_the_statement_looked() {
    let (mut story, faults) = wrong_order();
    mended(&mut story);
    timed(&mut story, "a", &[2_100], 2_200);
    story.one("v43", COPY, &["1"], &[("accounts", &[], &["1", "500.00"])]);
    timed(&mut story, "b", &[2_000], 2_300);
    let found = story.trace(Suspicion::Faults(&faults)).await;
    assert_eq!(record(&found, "orders", "1").state, RecordState::Healed);
    let account = record(&found, "accounts", "1");
    assert_eq!((account.role, cell(account, "balance")), (Role::Derived, exactly("500.00", "50.00")));
    assert_eq!(found.limits.len(), 0, "{found:#?}");
}

#[tokio::test]
async fn what_goes_wrong_after_the_statement_looked_does_not_reach_it() {
    let (mut story, faults) = wrong_order();
    story.one("v43", COPY, &["1"], &[("accounts", &[], &["1", "10.00"])]);
    timed(&mut story, "c", &[900], 2_300);
    let found = story.trace(Suspicion::Faults(&faults)).await;
    assert_eq!((found.records.len(), found.limits.len()), (1, 0), "{found:#?}");
}

#[tokio::test]
async fn a_row_that_it_waited_for_is_as_the_other_left_it() {
    let (mut story, faults) = wrong_order();
    let more: [WrittenRow<'_>; 1] = [("orders", &["1", DAY, "500.00", "new"], &["1", DAY, "501.00", "new"])];
    story.one("v43", "UPDATE orders SET total = total + 1 WHERE id = $1", &["1"], &more);
    timed(&mut story, "c", &[900], 2_300);
    let found = story.trace(Suspicion::Faults(&faults)).await;
    assert_eq!(cell(record(&found, "orders", "1"), "total"), exactly("501.00", "51.00"));
    assert_eq!(found.limits.len(), 0, "{found:#?}");
}

#[tokio::test]
async fn what_it_wrote_tells_what_it_saw_where_the_clock_does_not() {
    for (seen, right) in [("500.00", Some("50.00")), ("50.00", None)] {
        let (mut story, faults) = wrong_order();
        mended(&mut story);
        timed(&mut story, "a", &[2_100], 2_200);
        story.one("v43", COPY, &["1"], &[("accounts", &[], &["1", seen])]);
        timed(&mut story, "b", &[2_201], 2_300);
        let found = story.trace(Suspicion::Faults(&faults)).await;
        match right {
            Some(right) => assert_eq!(cell(record(&found, "accounts", "1"), "balance"), exactly(seen, right)),
            None => assert_eq!(found.records.len(), 1, "{found:#?}"),
        }
        assert_eq!(found.limits.len(), 0, "{found:#?}");
    }
}

#[tokio::test]
async fn a_snapshot_of_the_whole_transaction_is_that_of_its_first_statement() {
    for (snapshots, seen, count) in [(Snapshots::OfTransaction, "500.00", 2), (Snapshots::OfStatements, "50.00", 1)] {
        let (mut story, faults) = wrong_order();
        mended(&mut story);
        timed(&mut story, "a", &[2_100], 2_200);
        let first = story.step("v43", Some("SELECT count(*) FROM accounts"), &[], &[]);
        let copy = story.step("v43", Some(COPY), &["1"], &[("accounts", &[], &["1", seen])]);
        story.commit(vec![first, copy]);
        timed(&mut story, "b", &[2_000, 2_250], 2_300);
        story.history.transactions.last_mut().expect("it has committed").snapshots = snapshots;
        let found = story.trace(Suspicion::Faults(&faults)).await;
        assert_eq!((found.records.len(), found.limits.len()), (count, 0), "{found:#?}");
        if count == 2 {
            assert_eq!(cell(record(&found, "accounts", "1"), "balance"), exactly("500.00", "50.00"));
        }
    }
}
