//! What an application writes after it read something wrong, and what a statement saw that had begun before.

use super::*;

const DAY: &str = "2026-03-02";
const READ: &str = "SELECT balance FROM accounts WHERE id = $1";

/// Account 1 is set to 999 instead of 100; account 2 holds 200.
fn wrong_account() -> Story {
    let mut story = Story::new(shop());
    let opened: [WrittenRow<'_>; 2] = [("accounts", &[], &["1", "100.00"]), ("accounts", &[], &["2", "200.00"])];
    story.one("v41", "INSERT INTO accounts VALUES ($1, $2), ($3, $4)", &["1", "100", "2", "200"], &opened);
    let set: WrittenRow<'_> = ("accounts", &["1", "100.00"], &["1", "999.00"]);
    story.one("v42", "UPDATE accounts SET balance = $1 WHERE id = $2", &["999", "1"], &[set]);
    story
}

async fn found(story: Story) -> BlastRadius {
    story.trace(Suspicion::Faults(&[fault("accounts", "balance = 999", "balance", "before.balance")])).await
}

#[tokio::test]
async fn a_value_that_was_there_before_the_read_is_not_computed_from_it() {
    let mut story = wrong_account();
    let order: WrittenRow<'_> = ("orders", &[], &["7", DAY, "30.00", "new"]);
    let insert = "INSERT INTO orders (id, day, total, status) VALUES ($1, $2, $3, 'new')";
    let ordered = story.step("v41", Some(insert), &["7", DAY, "30"], &[order]);
    let read = story.step("v41", Some(READ), &["1"], &[]);
    let pay = "UPDATE accounts SET balance = balance - $1 WHERE id = $2";
    let paid = story.step("v41", Some(pay), &["30", "1"], &[("accounts", &["1", "999.00"], &["1", "969.00"])]);
    let set = "UPDATE accounts SET balance = $1 WHERE id = $2";
    let moved = story.step("v41", Some(set), &["969", "2"], &[("accounts", &["2", "200.00"], &["2", "969.00"])]);
    story.commit(vec![ordered, read, paid, moved]);

    let found = found(story).await;
    assert_eq!(cell(record(&found, "accounts", "1"), "balance"), exactly("969.00", "70.00"));
    let moved = record(&found, "accounts", "2");
    // 999 less 30 would have been 100 less 30, if that is how it came about: nobody knows.
    let likely = ("969.00".to_owned(), Some("70.00".to_owned()), false);
    assert_eq!((moved.role, cell(moved, "balance")), (Role::Possible, likely));
    assert_eq!(found.records.len(), 2, "{found:#?}");
}

#[tokio::test]
async fn a_copy_of_what_was_read_would_be_a_copy_of_what_is_right() {
    let mut story = wrong_account();
    let read = story.step("v41", Some("SELECT id, balance FROM accounts ORDER BY balance DESC"), &[], &[]);
    let set = "UPDATE accounts SET balance = $1 WHERE id = $2";
    let moved = story.step("v41", Some(set), &["999.00", "2"], &[("accounts", &["2", "200.00"], &["2", "999.00"])]);
    story.commit(vec![read, moved]);
    let found = found(story).await;
    let likely = ("999.00".to_owned(), Some("100.00".to_owned()), false);
    assert_eq!(cell(record(&found, "accounts", "2"), "balance"), likely);
}

#[tokio::test]
async fn a_null_may_be_one_that_was_read() {
    for (set, given) in [("NULL", &["2"][..]), ("$2", &["2", "NULL"])] {
        let mut story = wrong_account();
        let read = story.step("v41", Some("SELECT max(balance) FROM accounts WHERE balance = 100"), &[], &[]);
        let set = format!("UPDATE accounts SET balance = {set} WHERE id = $1");
        let moved = story.step("v41", Some(&set), given, &[("accounts", &["2", "200.00"], &["2", "NULL"])]);
        story.commit(vec![read, moved]);
        let found = found(story).await;
        let moved = record(&found, "accounts", "2");
        assert_eq!((moved.role, cell(moved, "balance")), (Role::Possible, ("NULL".to_owned(), None, false)));
    }
}

#[tokio::test]
async fn nothing_is_not_a_likely_value() {
    let mut story = wrong_account();
    let read = story.step("v41", Some("SELECT max(balance) FROM accounts WHERE balance > 900"), &[], &[]);
    let insert = "INSERT INTO orders VALUES (7, $1, 5, $2)";
    let order: WrittenRow<'_> = ("orders", &[], &["7", DAY, "5.00", "999.00"]);
    let ordered = story.step("v41", Some(insert), &[DAY, "999.00"], &[order]);
    story.commit(vec![read, ordered]);
    let found = found(story).await;
    let status = cell(record(&found, "orders", "7"), "status");
    assert_eq!(status, ("999.00".to_owned(), None, false));
}

#[tokio::test]
async fn what_stands_behind_writes_is_read_too() {
    let mut story = wrong_account();
    let read = "WITH noted AS (INSERT INTO ranking VALUES (7, 1)) SELECT balance FROM accounts WHERE id = 1";
    let read = story.step("v41", Some(read), &[], &[("ranking", &[], &["7", "1"])]);
    let set = "UPDATE accounts SET balance = $1 WHERE id = $2";
    let moved = story.step("v41", Some(set), &["999.00", "2"], &[("accounts", &["2", "200.00"], &["2", "999.00"])]);
    story.commit(vec![read, moved]);
    let found = found(story).await;
    let likely = ("999.00".to_owned(), Some("100.00".to_owned()), false);
    let moved = record(&found, "accounts", "2");
    assert_eq!((moved.role, cell(moved, "balance")), (Role::Possible, likely));
    assert_eq!(found.records.len(), 2, "{found:#?}");
}

#[tokio::test]
async fn keys_tell_that_nothing_wrong_was_touched_where_nothing_else_does() {
    let mut story = wrong_account();
    // No engine but PostgreSQL knows this function: the statement cannot be run again.
    let size = |id: u32| format!("UPDATE accounts SET balance = pg_column_size(balance) WHERE id = {id}");
    story.one("v41", &size(2), &[], &[("accounts", &["2", "200.00"], &["2", "5.00"])]);
    let copied = "INSERT INTO ranking SELECT id, pg_column_size(balance) FROM accounts WHERE id = 2";
    story.one("v41", copied, &[], &[("ranking", &[], &["2", "5"])]);
    let found = found(story).await;
    assert_eq!((found.records.len(), found.limits.len()), (1, 0), "{found:#?}");

    let mut story = wrong_account();
    story.one("v41", &size(1), &[], &[("accounts", &["1", "999.00"], &["1", "5.00"])]);
    let found = self::found(story).await;
    assert!(!record(&found, "accounts", "1").columns[0].exact, "{found:#?}");
}

#[tokio::test]
async fn where_several_values_would_fit_none_is_guessed() {
    let mut story = wrong_account();
    let read = story.step("v41", Some(READ), &["1"], &[]);
    let note = |amount: &str| format!("INSERT INTO ranking VALUES ({amount}, 0)");
    let one = story.step("v41", Some(&note("1")), &[], &[("ranking", &[], &["1", "0"])]);
    // 999 + 1 and 1999 - 999 are both 1000.
    let two = story.step("v41", Some(&note("1999")), &[], &[("ranking", &[], &["1999", "0"])]);
    let set = "UPDATE accounts SET balance = $1 WHERE id = $2";
    let moved = story.step("v41", Some(set), &["1000.00", "2"], &[("accounts", &["2", "200.00"], &["2", "1000.00"])]);
    story.commit(vec![read, one, two, moved]);
    let found = found(story).await;
    assert_eq!(cell(record(&found, "accounts", "2"), "balance"), ("1000.00".to_owned(), None, false));
}

#[tokio::test]
async fn a_row_that_may_not_have_been_written_may_not_be_there() {
    let mut story = wrong_account();
    let read = story.step("v41", Some(READ), &["1"], &[]);
    let insert = "INSERT INTO orders (id, day, total, status) VALUES ($1, $2, $3, 'to check')";
    let order: WrittenRow<'_> = ("orders", &[], &["7", DAY, "999.00", "to check"]);
    let ordered = story.step("v41", Some(insert), &["7", DAY, "999"], &[order]);
    story.commit(vec![read, ordered]);
    let count = "INSERT INTO daily SELECT day, count(*), 0 FROM orders GROUP BY day";
    story.one("v41", count, &[], &[("daily", &[], &[DAY, "1", "0.00"])]);

    let found = found(story).await;
    assert_eq!(cell(record(&found, "orders", "7"), "id"), ("7".to_owned(), None, false));
    assert_eq!(cell(record(&found, "daily", DAY), "orders"), ("1".to_owned(), None, false));
}

#[tokio::test]
async fn what_a_statement_saw_before_it_was_healed_is_carried_on() {
    let mut story = wrong_account();
    let began = story.now();
    let healed: WrittenRow<'_> = ("accounts", &["1", "999.00"], &["1", "50.00"]);
    story.one("v41", "UPDATE accounts SET balance = $1 WHERE id = ANY ($2)", &["50", "{1}"], &[healed]);
    let copy = "INSERT INTO ranking SELECT id, balance FROM accounts WHERE id = $1";
    let mut saw = story.step("v41", Some(copy), &["1"], &[("ranking", &[], &["1", "999"])]);
    let mut other = story.step("v41", Some(copy), &["2"], &[("ranking", &[], &["2", "200"])]);
    for statement in [saw.statement.as_mut(), other.statement.as_mut()].into_iter().flatten() {
        statement.started = began;
    }
    story.commit(vec![saw, other]);

    let found = found(story).await;
    let copy = record(&found, "ranking", "1");
    assert_eq!((copy.role, cell(copy, "place")), (Role::Derived, exactly("999", "100")));
    assert_eq!(found.records.len(), 2, "the account, healed, and its copy: {found:#?}");
    assert_eq!(found.limits.len(), 0, "{:?}", found.limits);
}
