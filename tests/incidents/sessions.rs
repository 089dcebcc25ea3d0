//! Sixteen sessions at once under READ COMMITTED: transactions stand open across each other's commits, and every
//! statement sees what is committed when it begins.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, prove};

const SESSIONS: usize = 16;
const ROUNDS: usize = 12;

struct Sessions;

impl Scenario for Sessions {
    fn name(&self) -> &'static str {
        "sixteen sessions"
    }

    fn schema(&self) -> String {
        format!(
            "CREATE TABLE stocks (id int PRIMARY KEY, amount int NOT NULL, price int NOT NULL);
             CREATE TABLE copies (id int PRIMARY KEY, of int NOT NULL, amount int, total bigint);
             CREATE TABLE own (id int PRIMARY KEY, amount bigint NOT NULL);
             INSERT INTO stocks SELECT n, 100, n FROM generate_series(0, {last}) n;
             INSERT INTO own SELECT n, 0 FROM generate_series(0, {last}) n;",
            last = SESSIONS - 1
        )
    }

    fn faults(&self) -> String {
        "release: v42
faults:
  - table: public.stocks
    where: amount - before.amount >= 1000
    set: { amount: before.amount + (amount - before.amount) / 1000 }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        let mut next_copy = 0_usize;
        for round in 0..ROUNDS {
            let release = if (3..7).contains(&round) { "stock@v42" } else { "stock@v41" };
            let names: Vec<String> = (0..SESSIONS).map(|number| format!("{release}#{number}")).collect();
            for name in &names {
                stage.execute(name, "BEGIN", &[]).await;
            }
            // Everyone changes a row of its own, and copies another's: committed or not, as it happens to be.
            for step in 0..SESSIONS * 3 {
                let number = step % SESSIONS;
                let name = &names[number];
                let other = stage.random.below(SESSIONS);
                match step / SESSIONS {
                    0 => {
                        let wrong = release == "stock@v42" && number.is_multiple_of(5) && stage.is_faulty();
                        let more = if wrong { 1000_i64 } else { 1 };
                        let update = "UPDATE stocks SET amount = amount + $1 WHERE id = $2";
                        stage.execute(name, update, &[more.into(), number.into()]).await;
                    }
                    1 => {
                        let copy = "INSERT INTO copies SELECT $1, id, amount, (SELECT sum(amount) FROM stocks WHERE id <= $2) FROM stocks WHERE id = $2";
                        stage.execute(name, copy, &[next_copy.into(), other.into()]).await;
                        next_copy += 1;
                        // Every third commits at once: those that come later see it.
                        if number.is_multiple_of(3) {
                            stage.execute(name, "COMMIT", &[]).await;
                            stage.execute(name, "BEGIN", &[]).await;
                        }
                    }
                    _ => {
                        let add = "UPDATE own SET amount = own.amount + s.amount * s.price FROM stocks s WHERE own.id = $1 AND s.id = $2";
                        stage.execute(name, add, &[number.into(), other.into()]).await;
                        if number.is_multiple_of(2) {
                            stage.execute(name, "COMMIT", &[]).await;
                        }
                    }
                }
            }
            for number in (0..SESSIONS).filter(|number| number % 2 == 1) {
                stage.execute(&names[number], "COMMIT", &[]).await;
            }
        }
        // One mends what it finds while another, which began before, still copies what it saw.
        stage.execute("stock@v41#0", "BEGIN", &[]).await;
        stage.execute("stock@v41#1", "BEGIN", &[]).await;
        stage.execute("stock@v41#0", "UPDATE stocks SET amount = 50 WHERE amount > 0", &[]).await;
        let copy = "INSERT INTO copies SELECT $1 + id, id, amount, 0 FROM stocks";
        stage.execute("stock@v41#1", copy, &[1000_usize.into()]).await;
        stage.execute("stock@v41#0", "COMMIT", &[]).await;
        stage.execute("stock@v41#1", "COMMIT", &[]).await;
    }
}

#[tokio::test]
async fn sixteen_sessions_at_once_are_traced_repaired_and_undone() {
    prove(&Sessions, &[Telling::Log]).await;
}
