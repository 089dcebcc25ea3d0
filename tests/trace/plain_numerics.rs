//! Columns of type plain `numeric` keep the digits that they were given.

use super::*;

fn ledger() -> Schemas {
    let plain = || ColumnType::Numeric(None);
    BTreeMap::from([
        table("entries", &[("id", ColumnType::Integer), ("grp", ColumnType::Integer), ("amount", plain())], &["id"]),
        table("totals", &[("grp", ColumnType::Integer), ("total", plain()), ("mean", plain())], &["grp"]),
    ])
}

const INSERT: &str = "INSERT INTO entries (id, grp, amount) VALUES ($1, $2, $3)";

fn wrong_entry() -> Story {
    let mut story = Story::new(ledger());
    story.one("v41", INSERT, &["1", "7", "10.00"], &[("entries", &[], &["1", "7", "10.00"])]);
    story.one("v42", INSERT, &["2", "7", "99.50"], &[("entries", &[], &["2", "7", "99.50"])]);
    story
}

fn should_be(amount: &str) -> [SuspectingFault; 1] {
    [fault("entries", "id = 2", "amount", amount)]
}

#[tokio::test]
async fn sums_and_products_have_the_digits_of_their_operands() {
    let mut story = wrong_entry();
    let raise = "UPDATE entries SET amount = amount * 1.10 WHERE grp = $1";
    let raised: [WrittenRow<'_>; 2] = [
        ("entries", &["1", "7", "10.00"], &["1", "7", "11.0000"]),
        ("entries", &["2", "7", "99.50"], &["2", "7", "109.4500"]),
    ];
    story.one("v43", raise, &["7"], &raised);
    let add = "UPDATE entries SET amount = amount + $2 WHERE id = $1";
    story.one("v43", add, &["2", "0.5"], &[("entries", &["2", "7", "109.4500"], &["2", "7", "109.9500"])]);

    let found = story.trace(Suspicion::Faults(&should_be("20.50"))).await;
    assert_eq!(cell(record(&found, "entries", "2"), "amount"), exactly("109.9500", "23.0500"));
    assert_eq!((found.records.len(), found.limits.len()), (1, 0), "{found:#?}");
}

#[tokio::test]
async fn aggregates_have_the_digits_that_were_recorded_of_them() {
    let mut story = wrong_entry();
    let totals = "INSERT INTO totals SELECT grp, sum(amount), avg(amount) FROM entries GROUP BY grp";
    story.one("v43", totals, &[], &[("totals", &[], &["7", "109.50", "54.7500000000000000"])]);

    let found = story.trace(Suspicion::Faults(&should_be("20.5"))).await;
    assert_eq!(cell(record(&found, "entries", "2"), "amount"), exactly("99.50", "20.50"));
    let total = record(&found, "totals", "7");
    assert_eq!(total.role, Role::Derived);
    assert_eq!(cell(total, "total"), exactly("109.50", "30.50"));
    assert_eq!(cell(total, "mean"), exactly("54.7500000000000000", "15.2500000000000000"));
}

#[tokio::test]
async fn the_same_number_printed_otherwise_is_no_difference() {
    let mut story = wrong_entry();
    let set = "UPDATE entries SET amount = CASE WHEN amount > 0 THEN 5.000 ELSE 5 END WHERE id = $1";
    story.one("v43", set, &["2"], &[("entries", &["2", "7", "99.50"], &["2", "7", "5.000"])]);
    let found = story.trace(Suspicion::Faults(&should_be("-1"))).await;
    assert_eq!(record(&found, "entries", "2").state, RecordState::Healed, "{found:#?}");
    assert_eq!(found.limits.len(), 0);
}

#[tokio::test]
async fn digits_that_another_row_holds_are_not_taken_from_the_row_written() {
    let mut story = wrong_entry();
    let total = "INSERT INTO totals (grp, total, mean) VALUES ($1, $2, $3)";
    story.one("v41", total, &["7", "0", "0"], &[("totals", &[], &["7", "0", "0"])]);
    let copy = "UPDATE totals AS t SET total = e.amount * 2 FROM entries AS e WHERE e.id = $1 AND e.grp = t.grp";
    story.one("v43", copy, &["2"], &[("totals", &["7", "0", "0"], &["7", "199.00", "0"])]);
    let found = story.trace(Suspicion::Faults(&should_be("20.50"))).await;
    assert_eq!(cell(record(&found, "totals", "7"), "total"), exactly("199.00", "41.00"));
    assert_eq!((found.records.len(), found.limits.len()), (2, 0), "{found:#?}");
}
