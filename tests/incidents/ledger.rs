//! A ledger whose balances triggers keep: release v42 books fees with the wrong sign.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, prove};

const BOOKINGS: usize = 300;
const ACCOUNTS: usize = 20;

struct Ledger;

impl Scenario for Ledger {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn schema(&self) -> String {
        format!(
            "CREATE TABLE accounts (id int PRIMARY KEY, balance numeric(14,2) NOT NULL DEFAULT 0);
             CREATE TABLE entries (id bigint PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, kind text NOT NULL,
                 amount numeric(14,2) NOT NULL);
             CREATE TABLE statements (account_id int PRIMARY KEY, closing numeric(14,2), grade text);
             INSERT INTO accounts (id) SELECT n FROM generate_series(1, {ACCOUNTS}) n;
             CREATE FUNCTION book() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 UPDATE accounts SET balance = balance + NEW.amount WHERE id = NEW.account_id;
                 RETURN NULL;
             END $$;
             CREATE TRIGGER book AFTER INSERT ON entries FOR EACH ROW EXECUTE FUNCTION book();"
        )
    }

    fn rules(&self) -> String {
        "rules:
  - id: fees-are-taken
    table: public.entries
    where: kind = 'fee'
    check: { expression: amount <= 0 }
    columns: [amount]
    expect: { amount: -abs(amount) }
  - id: balance-adds-up
    table: public.accounts
    check:
      equals:
        column: balance
        sql: coalesce((SELECT sum(e.amount) FROM public.entries e WHERE e.account_id = accounts.id), 0)
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        for number in 0..BOOKINGS {
            let release = if (100..180).contains(&number) { "ledger@v42" } else { "ledger@v41" };
            let account = 1 + stage.random.below(ACCOUNTS);
            let is_fee = stage.random.chance(1, 4);
            let cents = 100 + stage.random.below(100_000);
            let is_wrong = is_fee && release == "ledger@v42" && stage.is_faulty();
            let sign = if is_fee && !is_wrong { "-" } else { "" };
            let amount = format!("{sign}{}.{:02}", cents / 100, cents % 100);
            stage
                .execute(
                    release,
                    "INSERT INTO entries (id, account_id, kind, amount) VALUES ($1, $2, $3, $4)",
                    &[number.into(), account.into(), if is_fee { "fee" } else { "deposit" }.into(), amount.into()],
                )
                .await;
        }
        stage
            .execute(
                "reports@1",
                "INSERT INTO statements SELECT id, balance, CASE WHEN balance > 6000 THEN 'good' ELSE 'plain' END FROM accounts",
                &[],
            )
            .await;
    }
}

#[tokio::test]
async fn fees_of_a_ledger_with_triggers_are_traced_repaired_and_undone() {
    prove(&Ledger, &[Telling::Log, Telling::Events]).await;
}
