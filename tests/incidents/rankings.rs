//! Rows that should not be there and rows that are missing: prizes go to the best by points that release v42 counts
//! twice for some; who is displaced, who crosses a threshold, and who never was invited.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, prove};

const PLAYERS: usize = 30;

struct Rankings;

impl Scenario for Rankings {
    fn name(&self) -> &'static str {
        "rankings"
    }

    fn schema(&self) -> String {
        format!(
            "CREATE TABLE players (id int PRIMARY KEY, team int NOT NULL, referred_by int, points int NOT NULL DEFAULT 0);
             CREATE TABLE games (id int PRIMARY KEY, player int NOT NULL, points int NOT NULL);
             CREATE TABLE prizes (place bigint PRIMARY KEY, player int, points int);
             CREATE TABLE invited (player int PRIMARY KEY, reason text NOT NULL);
             CREATE TABLE reminders (player int PRIMARY KEY, team int);
             CREATE TABLE strong_teams (team int PRIMARY KEY, points bigint, best int);
             CREATE TABLE best_of_team (team int PRIMARY KEY, player int, gap int);
             CREATE TABLE branches_of (player int PRIMARY KEY, depth int, points bigint);
             INSERT INTO players (id, team, referred_by) SELECT n, n % 5, n / 2 FROM generate_series(1, {PLAYERS}) n;"
        )
    }

    fn rules(&self) -> String {
        "rules:
  - id: points-add-up
    table: public.players
    check:
      equals:
        column: points
        sql: coalesce((SELECT sum(g.points) FROM public.games g WHERE g.player = players.id), 0)
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        for number in 0..120_usize {
            let release = if (60..90).contains(&number) { "league@v42" } else { "league@v41" };
            let player = 1 + stage.random.below(PLAYERS);
            let points = i64::try_from(1 + stage.random.below(50)).expect("few");
            let twice = release == "league@v42" && number % 3 == 0 && stage.is_faulty();
            stage.execute(release, "BEGIN", &[]).await;
            let insert = "INSERT INTO games VALUES ($1, $2, $3)";
            stage.execute(release, insert, &[number.into(), player.into(), points.into()]).await;
            let counted = if twice { points * 2 } else { points };
            let update = "UPDATE players SET points = points + $1 WHERE id = $2";
            stage.execute(release, update, &[counted.into(), player.into()]).await;
            stage.execute(release, "COMMIT", &[]).await;
        }
        for report in [
            "INSERT INTO prizes SELECT row_number() OVER (ORDER BY points DESC, id), id, points FROM players
             ORDER BY points DESC, id LIMIT 7",
            "INSERT INTO invited SELECT id, 'over 100' FROM players WHERE points > 100",
            "INSERT INTO invited SELECT id, 'chosen' FROM players p WHERE points BETWEEN 60 AND 100
             AND NOT EXISTS (SELECT 1 FROM prizes z WHERE z.player = p.id)
             AND id NOT IN (SELECT player FROM invited)",
            "INSERT INTO reminders SELECT id, team FROM players EXCEPT SELECT player, (SELECT team FROM players q WHERE q.id = i.player) FROM invited i",
            "INSERT INTO strong_teams SELECT team, sum(points), max(points) FROM players GROUP BY team HAVING sum(points) > 450",
            "INSERT INTO best_of_team SELECT DISTINCT ON (team) team, id, points - lead(points) OVER (PARTITION BY team ORDER BY points DESC, id)
             FROM players ORDER BY team, points DESC, id",
            "WITH RECURSIVE tree AS (
                 SELECT id AS root, id, 0 AS depth FROM players WHERE id <= 3
                 UNION ALL SELECT t.root, p.id, t.depth + 1 FROM tree t JOIN players p ON p.referred_by = t.id)
             INSERT INTO branches_of SELECT t.root, max(t.depth), sum(p.points) FROM tree t JOIN players p ON p.id = t.id GROUP BY t.root",
            "DELETE FROM reminders r USING players p WHERE p.id = r.player AND p.points < 20",
        ] {
            stage.execute("reports@1", report, &[]).await;
        }
    }
}

#[tokio::test]
async fn rankings_and_thresholds_are_traced_repaired_and_undone() {
    prove(&Rankings, &[Telling::Log, Telling::Events]).await;
}
