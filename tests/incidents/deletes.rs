//! Deletes that should not have been: release v42 closes dormant accounts by the wrong date, and with them go, by
//! cascade, their cards; totals are computed without them.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, prove};

const ACCOUNTS: usize = 40;

struct Deletes;

impl Scenario for Deletes {
    fn name(&self) -> &'static str {
        "deletes"
    }

    fn schema(&self) -> String {
        format!(
            "CREATE TABLE accounts (id int PRIMARY KEY, branch text NOT NULL, last_used date NOT NULL, owed numeric(10,2) NOT NULL);
             CREATE TABLE cards (id int PRIMARY KEY, account_id int NOT NULL REFERENCES accounts ON DELETE CASCADE, daily int);
             CREATE TABLE loans (id int PRIMARY KEY, account_id int REFERENCES accounts ON DELETE SET NULL, amount int);
             CREATE TABLE branches (name text PRIMARY KEY, accounts bigint, owed numeric(12,2), cards bigint);
             INSERT INTO accounts SELECT n, 'branch ' || n % 4, date '2025-01-01' + n * 10, n * 1.5 FROM generate_series(1, {ACCOUNTS}) n;
             INSERT INTO cards SELECT n, 1 + n % {ACCOUNTS}, 100 FROM generate_series(1, 60) n;
             INSERT INTO loans SELECT n, n * 2, 1000 * n FROM generate_series(1, 20) n;"
        )
    }

    fn faults(&self) -> String {
        "release: v42
faults:
  - table: public.accounts
    op: delete
    where: last_used >= '2025-03-01'
    written: false
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        let until = if stage.is_faulty() { "2025-05-01" } else { "2025-03-01" };
        stage.execute("bank@v41", "UPDATE cards SET daily = 200 WHERE id % 3 = 0", &[]).await;
        stage.execute("bank@v42", "DELETE FROM accounts WHERE last_used < $1", &[until.into()]).await;
        stage.execute("bank@v42", "UPDATE accounts SET owed = owed * 1.1", &[]).await;
        stage
            .execute(
                "bank@v43",
                "UPDATE accounts SET owed = round(owed + 1, 1) WHERE branch = $1",
                &["branch 1".into()],
            )
            .await;
        let totals = "INSERT INTO branches SELECT a.branch, count(DISTINCT a.id), sum(a.owed),
            (SELECT count(*) FROM cards c JOIN accounts b ON b.id = c.account_id WHERE b.branch = a.branch)
            FROM accounts a GROUP BY a.branch";
        stage.execute("reports@1", totals, &[]).await;
        stage.execute("bank@v43", "UPDATE loans SET amount = amount - 10 WHERE account_id IS NOT NULL", &[]).await;
    }
}

#[tokio::test]
async fn deletes_that_should_not_have_been_are_traced_repaired_and_undone() {
    prove(&Deletes, &[Telling::Log, Telling::Events]).await;
}
