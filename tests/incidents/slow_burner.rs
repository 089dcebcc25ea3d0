//! Release v42 loses one event in so many, over weeks; or every one, in a flash.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, prove};

const READINGS: usize = 800;
const METERS: usize = 10;

struct Meters {
    name: &'static str,
    /// Of v42's readings, the first that is wrong, and every how manyth after it, up to so many.
    first: usize,
    every: usize,
    wrong: usize,
}

impl Scenario for Meters {
    fn name(&self) -> &'static str {
        self.name
    }

    fn schema(&self) -> String {
        format!(
            "CREATE TABLE meters (id int PRIMARY KEY, total bigint NOT NULL DEFAULT 0, last_at timestamptz);
             CREATE TABLE readings (meter int, at timestamptz, used int NOT NULL, PRIMARY KEY (meter, at));
             CREATE TABLE weeks (meter int, week date, used bigint, readings bigint, average numeric, PRIMARY KEY (meter, week));
             CREATE TABLE bills (meter int PRIMARY KEY, amount numeric(12,2), tariff text);
             INSERT INTO meters (id) SELECT n FROM generate_series(1, {METERS}) n;"
        )
    }

    fn rules(&self) -> String {
        "rules:
  - id: used-is-plausible
    table: public.readings
    check: { range: { column: used, min: 0, max: 999 } }
    expect: { used: used / 1000 }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        let mut of_release = 0;
        let mut wrong = 0;
        for number in 0..READINGS {
            let release = if number < READINGS / 4 { "meters@v41" } else { "meters@v42" };
            of_release += usize::from(release == "meters@v42");
            let is_due =
                of_release >= self.first && (of_release - self.first).is_multiple_of(self.every) && wrong < self.wrong;
            wrong += usize::from(is_due);
            let meter = 1 + stage.random.below(METERS);
            let used = i64::try_from(1 + stage.random.below(99)).expect("few");
            let written = if is_due && stage.is_faulty() { used * 1000 } else { used };
            // Two readings an hour, over more than two weeks.
            let at = format!("2026-02-{:02} {:02}:{:02}:00+00", 1 + number / 48, number / 2 % 24, number % 2 * 30);
            let insert = "INSERT INTO readings VALUES ($1, $2, $3)";
            stage.execute(release, "BEGIN", &[]).await;
            stage.execute(release, insert, &[meter.into(), (&at).into(), written.into()]).await;
            let update = "UPDATE meters SET total = total + (SELECT used FROM readings WHERE meter = $1 AND at = $2), last_at = $2 WHERE id = $1";
            stage.execute(release, update, &[meter.into(), at.into()]).await;
            stage.execute(release, "COMMIT", &[]).await;
            if number % 336 == 335 {
                let week = format!("2026-02-{:02}", 1 + number / 48 - 6);
                let insert = "INSERT INTO weeks SELECT meter, $1::date, sum(used), count(*), avg(used) FROM readings
                    WHERE at >= $1::date AND at < $1::date + 7 GROUP BY meter";
                stage.execute("reports@1", insert, &[week.into()]).await;
            }
        }
        let bill = "INSERT INTO bills SELECT id, total * 0.31, CASE WHEN total > 5000 THEN 'large' ELSE 'small' END FROM meters";
        stage.execute("reports@1", bill, &[]).await;
    }
}

#[tokio::test]
async fn a_slow_burner_is_traced_repaired_and_undone() {
    prove(&Meters { name: "slow burner", first: 50, every: 270, wrong: 3 }, &[Telling::Log]).await;
}

#[tokio::test]
async fn a_sudden_flash_is_traced_repaired_and_undone() {
    prove(&Meters { name: "sudden flash", first: 200, every: 1, wrong: 40 }, &[Telling::Events]).await;
}
