//! What release v42 forgot to write: stock that was not taken, points that were not given, an account without its limit.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, prove};

const ARTICLES: usize = 8;

struct Omission;

impl Scenario for Omission {
    fn name(&self) -> &'static str {
        "omission"
    }

    fn schema(&self) -> String {
        format!(
            "CREATE TABLE articles (id int PRIMARY KEY, stock bigint NOT NULL, received bigint NOT NULL);
             CREATE TABLE members (id int PRIMARY KEY, points bigint NOT NULL DEFAULT 0, grade text);
             CREATE TABLE sales (id int PRIMARY KEY, article int NOT NULL, member int NOT NULL, quantity int NOT NULL);
             CREATE TABLE reorders (article int PRIMARY KEY, stock bigint);
             INSERT INTO articles SELECT n, 200, 200 FROM generate_series(1, {ARTICLES}) n;
             INSERT INTO members (id) SELECT n FROM generate_series(1, 10) n;"
        )
    }

    fn rules(&self) -> String {
        "rules:
  - id: stock-is-what-is-left
    table: public.articles
    check:
      equals:
        column: stock
        sql: received - coalesce((SELECT sum(s.quantity) FROM public.sales s WHERE s.article = articles.id), 0)
  - id: points-for-every-sale
    table: public.members
    check:
      sql: >-
        SELECT m.id FROM public.members m LEFT JOIN (SELECT member, sum(quantity) AS sold FROM public.sales GROUP BY member) s
        ON s.member = m.id WHERE m.points <> coalesce(s.sold, 0) * 10
    columns: [points]
    expect: { points: \"coalesce((SELECT sum(s.quantity) FROM public.sales s WHERE s.member = members.id), 0) * 10\" }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        for number in 0..90_usize {
            let release = if (30..60).contains(&number) { "shop@v42" } else { "shop@v41" };
            let forgets = release == "shop@v42" && stage.is_faulty();
            let article = 1 + stage.random.below(ARTICLES);
            let member = 1 + stage.random.below(10);
            let quantity = i64::try_from(1 + stage.random.below(5)).expect("few");
            stage.execute(release, "BEGIN", &[]).await;
            let insert = "INSERT INTO sales VALUES ($1, $2, $3, $4)";
            stage.execute(release, insert, &[number.into(), article.into(), member.into(), quantity.into()]).await;
            if !(forgets && number % 4 == 0) {
                let take = "UPDATE articles SET stock = stock - $1 WHERE id = $2";
                stage.execute(release, take, &[quantity.into(), article.into()]).await;
            }
            if !(forgets && number % 6 == 0) {
                let give = "UPDATE members SET points = points + $1 * 10 WHERE id = $2";
                stage.execute(release, give, &[quantity.into(), member.into()]).await;
            }
            stage.execute(release, "COMMIT", &[]).await;
        }
        for report in [
            "UPDATE members SET grade = CASE WHEN points >= 250 THEN 'gold' WHEN points >= 150 THEN 'silver' END",
            "INSERT INTO reorders SELECT id, stock FROM articles WHERE stock < 170",
        ] {
            stage.execute("reports@1", report, &[]).await;
        }
    }
}

#[tokio::test]
async fn what_was_not_written_is_traced_repaired_and_undone() {
    prove(&Omission, &[Telling::Log, Telling::Events]).await;
}
