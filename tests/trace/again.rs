//! What the release gets wrong once more where it was wrong already: it shows in the right world alone.

use super::*;

const ORDER: &str = "INSERT INTO payments (id, account, amount) VALUES ($1, 1, $2)";
const PAY: &str = "UPDATE accounts SET balance = balance + $1 WHERE id = 1";

/// An account, and the payments that its balance is the sum of.
fn account() -> Story {
    let schemas = Schemas::from([
        table("accounts", &[("id", ColumnType::Integer), ("balance", money())], &["id"]),
        table(
            "payments",
            &[("id", ColumnType::Integer), ("account", ColumnType::Integer), ("amount", money())],
            &["id"],
        ),
    ]);
    let mut story = Story::new(schemas);
    story.one("v41", "INSERT INTO accounts VALUES (1, 0)", &[], &[("accounts", &[], &["1", "0.00"])]);
    story
}

async fn found(story: Story) -> BlastRadius {
    let name = |name: &str| name.parse::<TableName>().expect("a table name");
    let paid = "coalesce((SELECT sum(p.amount) FROM public.payments p WHERE p.account = accounts.id), 0)";
    let rule = SuspectingRule {
        id: "balance-is-paid".into(),
        table: name("accounts"),
        violating: Violating::Predicate(format!("balance IS DISTINCT FROM {paid}")),
        reads: [name("accounts"), name("payments")].into(),
        expected: vec![("balance".into(), paid.to_owned())],
        blamed: vec!["balance".into()],
        decides: Some("balance".into()),
        group: None,
        reference: None,
    };
    story.trace(Suspicion::Violating(&[rule])).await
}

#[tokio::test]
async fn what_is_forgotten_twice_is_mended_twice() {
    let mut story = account();
    story.one("v42", ORDER, &["11", "5"], &[("payments", &[], &["11", "1", "5.00"])]);
    story.one("v42", ORDER, &["12", "7"], &[("payments", &[], &["12", "1", "7.00"])]);

    let found = found(story).await;
    let account = record(&found, "accounts", "1");
    assert_eq!((account.role, cell(account, "balance")), (Role::Root, exactly("0.00", "12.00")), "{found:#?}");
}

#[tokio::test]
async fn what_is_written_wrongly_twice_is_mended_twice() {
    let mut story = account();
    for (payment, amount, booked, before, after) in
        [("11", "5.00", "500", "0.00", "500.00"), ("12", "7.00", "700", "500.00", "1200.00")]
    {
        let paid: WrittenRow<'_> = ("payments", &[], &[payment, "1", amount]);
        let paid = story.step("v42", Some(ORDER), &[payment, amount], &[paid]);
        let booked = story.step("v42", Some(PAY), &[booked], &[("accounts", &["1", before], &["1", after])]);
        story.commit(vec![paid, booked]);
    }

    let found = found(story).await;
    let account = record(&found, "accounts", "1");
    assert_eq!((account.role, cell(account, "balance")), (Role::Root, exactly("1200.00", "12.00")), "{found:#?}");
    assert_eq!(account.written.seq, Some(WriteSeq(5)), "the last write that was wrong");
}
