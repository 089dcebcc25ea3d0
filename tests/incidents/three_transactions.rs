//! The three transactions that a revert of the first alone gets wrong: one sets 100 to 999, the next adds 10 to it, the
//! third stores a sum with it. Right are 110 and 310.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, prove};

struct ThreeTransactions;

impl Scenario for ThreeTransactions {
    fn name(&self) -> &'static str {
        "three transactions"
    }

    fn schema(&self) -> String {
        "CREATE TABLE accounts (id int PRIMARY KEY, amount int NOT NULL);
         CREATE TABLE sums (id int PRIMARY KEY, amount bigint);
         INSERT INTO accounts VALUES (1, 100), (2, 200);"
            .to_owned()
    }

    fn faults(&self) -> String {
        "release: v42
faults:
  - table: public.accounts
    where: id = 1
    set: { amount: before.amount }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        let amount = if stage.is_faulty() { 999_i64 } else { 100 };
        let set = "UPDATE accounts SET amount = $1 WHERE id = $2";
        stage.execute("bank@v42", set, &[amount.into(), 1_i64.into()]).await;
        stage.execute("bank@v41", "UPDATE accounts SET amount = amount + 10 WHERE id = 1", &[]).await;
        stage.execute("bank@v41", "INSERT INTO sums SELECT 1, sum(amount) FROM accounts", &[]).await;
    }
}

#[tokio::test]
async fn three_transactions_are_traced_repaired_and_undone() {
    prove(&ThreeTransactions, &[Telling::Log, Telling::Events]).await;
}
