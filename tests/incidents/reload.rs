//! Tables that are emptied and filled again, tables that live for a session, and tables made from a query.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, prove};

struct Reload;

impl Scenario for Reload {
    fn name(&self) -> &'static str {
        "reload"
    }

    fn schema(&self) -> String {
        "CREATE TABLE events (id int PRIMARY KEY, person int NOT NULL, weight int NOT NULL);
         CREATE TABLE scores (person int PRIMARY KEY, score bigint, grade text);
         CREATE TABLE board (place bigint PRIMARY KEY, person int, score bigint);
         CREATE TABLE kept (person int PRIMARY KEY, score bigint);
         CREATE TABLE averages (person int PRIMARY KEY, events int, weight numeric(8,2));
         CREATE MATERIALIZED VIEW heaviest AS SELECT person, max(weight) AS weight FROM events GROUP BY person;
         CREATE TABLE prizes (person int PRIMARY KEY, weight int, prize text);"
            .to_owned()
    }

    fn faults(&self) -> String {
        "release: v42
faults:
  - table: public.events
    where: weight > 100
    set: { weight: weight / 10 }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        for number in 0..90_usize {
            let release = if (30..45).contains(&number) { "app@v42" } else { "app@v41" };
            let person = 1 + stage.random.below(12);
            let weight = i64::try_from(11 + stage.random.below(80)).expect("few");
            let wrong = release == "app@v42" && stage.is_faulty();
            let written = if wrong { weight * 10 } else { weight };
            let insert = "INSERT INTO events VALUES ($1, $2, $3)";
            stage.execute(release, insert, &[number.into(), person.into(), written.into()]).await;
            if number % 30 == 29 {
                stage.execute("jobs@1", "BEGIN", &[]).await;
                for statement in [
                    "CREATE TEMP TABLE sums ON COMMIT DROP AS SELECT person, sum(weight) AS score FROM events GROUP BY person",
                    "DELETE FROM sums WHERE score < 60",
                    "TRUNCATE scores, board",
                    "INSERT INTO scores SELECT person, score, CASE WHEN score > 250 THEN 'high' ELSE 'low' END FROM sums",
                    "INSERT INTO board SELECT row_number() OVER (ORDER BY score DESC, person), person, score FROM scores",
                    "INSERT INTO kept SELECT person, score FROM sums WHERE score > 300 ON CONFLICT (person) DO NOTHING",
                ] {
                    stage.execute("jobs@1", statement, &[]).await;
                }
                stage.execute("jobs@1", "COMMIT", &[]).await;
                for statement in [
                    "CREATE TEMP TABLE IF NOT EXISTS loads (person int, events int, weight bigint)",
                    "TRUNCATE loads",
                    "INSERT INTO loads (weight, person) SELECT weight, person FROM events WHERE weight < 700",
                    "UPDATE loads SET events = CASE WHEN weight > 50 THEN 2 ELSE 1 END",
                    "DELETE FROM loads WHERE weight < 20",
                    "DELETE FROM averages",
                    "INSERT INTO averages SELECT person, sum(events), avg(weight) FROM loads GROUP BY person",
                    "REFRESH MATERIALIZED VIEW heaviest",
                    "DELETE FROM prizes",
                    "INSERT INTO prizes SELECT person, weight, CASE WHEN weight > 90 THEN 'cup' ELSE 'badge' END FROM heaviest",
                ] {
                    stage.execute("jobs@2", statement, &[]).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn tables_that_are_filled_again_are_traced_repaired_and_undone() {
    prove(&Reload, &[Telling::Literals]).await;
}
