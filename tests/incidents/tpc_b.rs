//! pgbench's own transactions, TPC-B in the main: release v42 books a withdrawal of more than 4,000 a hundredfold on the
//! account, and rightly everywhere else.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, prove};

const TRANSACTIONS: usize = 600;
const ACCOUNTS: usize = 200;
const TELLERS: usize = 10;

struct TpcB;

impl Scenario for TpcB {
    fn name(&self) -> &'static str {
        "TPC-B"
    }

    fn schema(&self) -> String {
        format!(
            "CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
             CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
             CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
             CREATE TABLE pgbench_history (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                 tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
             INSERT INTO pgbench_branches SELECT n, 0, '' FROM generate_series(1, 2) n;
             INSERT INTO pgbench_tellers SELECT n, n % 2 + 1, 0, '' FROM generate_series(1, {TELLERS}) n;
             INSERT INTO pgbench_accounts SELECT n, n % 2 + 1, 0, '' FROM generate_series(1, {ACCOUNTS}) n;"
        )
    }

    fn rules(&self) -> String {
        "rules:
  - id: balance-is-what-was-booked
    table: public.pgbench_accounts
    description: An account's balance is the sum of its history.
    check:
      equals:
        column: abalance
        sql: coalesce((SELECT sum(h.delta) FROM public.pgbench_history h WHERE h.aid = pgbench_accounts.aid), 0)
"
        .to_owned()
    }

    fn faults(&self) -> String {
        "release: v42
faults:
  - table: public.pgbench_accounts
    where: abalance - before.abalance < -4000
    set: { abalance: before.abalance + (abalance - before.abalance) / 100 }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        for number in 0..TRANSACTIONS {
            let release = if (200..300).contains(&number) { "bench@v42" } else { "bench@v41" };
            let account = i64::try_from(1 + stage.random.below(ACCOUNTS)).expect("few");
            let teller = i64::try_from(1 + stage.random.below(TELLERS)).expect("few");
            let branch = 1 + teller % 2;
            let delta = i64::try_from(stage.random.below(10_001)).expect("few") - 5_000;
            let is_wrong = release == "bench@v42" && stage.is_faulty() && delta < -4_000;
            let booked = if is_wrong { delta * 100 } else { delta };
            stage
                .transaction(
                    release,
                    &[
                        (
                            "UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2",
                            &[booked.into(), account.into()],
                        ),
                        ("SELECT abalance FROM pgbench_accounts WHERE aid = $1", &[account.into()]),
                        (
                            "UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2",
                            &[delta.into(), teller.into()],
                        ),
                        (
                            "UPDATE pgbench_branches SET bbalance = bbalance + $1 WHERE bid = $2",
                            &[delta.into(), branch.into()],
                        ),
                        (
                            "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, '2026-03-02')",
                            &[teller.into(), branch.into(), account.into(), delta.into()],
                        ),
                    ],
                )
                .await;
        }
        // The bank sends letters to those in debt, by what it reads then.
        stage
            .execute(
                "bench@v41",
                "UPDATE pgbench_accounts SET filler = CASE WHEN abalance < -20000 THEN 'in debt' ELSE 'in order' END",
                &[],
            )
            .await;
    }
}

#[tokio::test]
async fn a_wrong_delta_of_tpc_b_is_traced_repaired_and_undone() {
    prove(&TpcB, &[Telling::Log, Telling::Events]).await;
}
