//! Sessions in other time zones than UTC: what their dates and hours are.

use super::*;
use blast_radius::model::TimeZone;

const BERLIN: &str = "Europe/Berlin";
/// Half past midnight in Berlin is the day before in UTC.
const PAID_AT: &str = "2026-03-02 23:30:00+00";

fn bookings() -> Schemas {
    Schemas::from([
        table(
            "payments",
            &[("id", ColumnType::Integer), ("paid_at", ColumnType::TimestampTz), ("amount", money())],
            &["id"],
        ),
        table("daily", &[("day", ColumnType::Date), ("total", money())], &["day"]),
        table(
            "marks",
            &[("id", ColumnType::Integer), ("at", ColumnType::Timestamp), ("label", ColumnType::Text)],
            &["id"],
        ),
    ])
}

/// A payment of 1,000 instead of 10, at half past midnight in Berlin.
fn paid() -> Story {
    let mut story = Story::new(bookings());
    let insert = "INSERT INTO payments VALUES ($1, $2, $3)";
    story.one("v42", insert, &["1", PAID_AT, "1000"], &[("payments", &[], &["1", PAID_AT, "1000.00"])]);
    story
}

fn in_berlin(mut step: Step) -> Step {
    step.statement.as_mut().expect("it has one").time_zone = Some(BERLIN.into());
    step
}

async fn traced(story: Story) -> BlastRadius {
    story.trace(Suspicion::Faults(&[fault("payments", "amount = 1000", "amount", "10")])).await
}

#[tokio::test]
async fn a_day_is_the_sessions() {
    let mut story = paid();
    let sum = "INSERT INTO daily SELECT paid_at::date, sum(amount) FROM payments GROUP BY paid_at::date";
    let step = story.step("v43", Some(sum), &[], &[("daily", &[], &["2026-03-03", "1000.00"])]);
    story.commit(vec![in_berlin(step)]);
    let found = traced(story).await;
    assert_eq!(cell(record(&found, "daily", "2026-03-03"), "total"), exactly("1000.00", "10.00"));
    assert!(found.limits.is_empty(), "{:?}", found.limits);
}

#[tokio::test]
async fn a_session_that_sets_none_has_the_databases() {
    let mut story = paid();
    story.declarations.time_zone = TimeZone::named(BERLIN);
    let sql = "UPDATE daily SET total = (SELECT sum(amount) FROM payments WHERE paid_at >= $1 AND paid_at < $2) WHERE day = $3";
    let opened: WrittenRow<'_> = ("daily", &[], &["2026-03-03", "0.00"]);
    story.one("v41", "INSERT INTO daily VALUES ('2026-03-03', 0)", &[], &[opened]);
    let summed: WrittenRow<'_> = ("daily", &["2026-03-03", "0.00"], &["2026-03-03", "1000.00"]);
    story.one("v43", sql, &["2026-03-03", "2026-03-04 00:00:00", "2026-03-03"], &[summed]);
    let marked: WrittenRow<'_> = ("marks", &[], &["1", "2026-03-03 00:30:00", "2026-03-03 00:30:00+01"]);
    let mark = "INSERT INTO marks SELECT id, paid_at, paid_at::text FROM payments WHERE amount > 100";
    story.one("v43", mark, &[], &[marked]);
    let found = traced(story).await;
    assert_eq!(cell(record(&found, "daily", "2026-03-03"), "total"), exactly("1000.00", "10.00"));
    assert_eq!(record(&found, "marks", "1").state, RecordState::Extra, "{:?}", found.limits);
    assert!(found.limits.is_empty(), "{:?}", found.limits);
}

#[tokio::test]
async fn a_time_is_taken_to_the_zone_that_a_statement_names() {
    let mut story = paid();
    let sql =
        "INSERT INTO daily SELECT (paid_at AT TIME ZONE 'Europe/Berlin')::date, sum(amount) FROM payments GROUP BY 1";
    story.one("v43", sql, &[], &[("daily", &[], &["2026-03-03", "1000.00"])]);
    let sql =
        "INSERT INTO marks SELECT id, paid_at AT TIME ZONE 'Asia/Kolkata', 'late' FROM payments WHERE amount > 100";
    story.one("v43", sql, &[], &[("marks", &[], &["1", "2026-03-03 05:00:00", "late"])]);
    let found = traced(story).await;
    assert_eq!(cell(record(&found, "daily", "2026-03-03"), "total"), exactly("1000.00", "10.00"));
    assert_eq!(record(&found, "marks", "1").state, RecordState::Extra, "{:?}", found.limits);
    assert!(found.limits.is_empty(), "{:?}", found.limits);
}

/// The sum of the day is the same in either zone, the row that should have been written is not.
#[tokio::test]
async fn where_the_zone_is_not_known_nothing_is_guessed() {
    let mut story = paid();
    story.declarations.roles_elsewhere = vec!["reporting".into()];
    let sql = "UPDATE daily SET total = (SELECT sum(amount) FROM payments WHERE paid_at::date = daily.day)";
    story.one("v41", "INSERT INTO daily VALUES ('2026-03-02', 5)", &[], &[("daily", &[], &["2026-03-02", "5.00"])]);
    let summed: WrittenRow<'_> = ("daily", &["2026-03-02", "5.00"], &["2026-03-02", "1000.00"]);
    story.one("v43", sql, &[], &[summed]);
    let found = traced(story).await;
    let day = record(&found, "daily", "2026-03-02");
    assert_eq!((day.role, cell(day, "total").2), (Role::Possible, false));
    assert!(found.limits.iter().any(|limit| limit.contains("time zone")), "{:?}", found.limits);
}

#[tokio::test]
async fn a_fault_is_of_the_databases_zone() {
    let mut story = Story::new(bookings());
    story.declarations.time_zone = TimeZone::named(BERLIN);
    let insert = "INSERT INTO marks SELECT id, paid_at::timestamp, 'day' FROM payments";
    story.one(
        "v41",
        "INSERT INTO payments VALUES (1, $1, 5)",
        &[PAID_AT],
        &[("payments", &[], &["1", PAID_AT, "5.00"])],
    );
    story.one("v42", insert, &[], &[("marks", &[], &["1", "2026-03-03 00:30:00", "day"])]);
    let set = "(SELECT p.paid_at::date || '' FROM payments p WHERE p.id = marks.id)";
    let found = story.trace(Suspicion::Faults(&[fault("marks", "label = 'day'", "label", set)])).await;
    assert_eq!(cell(record(&found, "marks", "1"), "label"), exactly("day", "2026-03-03"));
}
