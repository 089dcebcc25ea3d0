//! Upserts, key changes, soft deletes and what the database gives by itself: sequences, defaults, generated columns.
//! Release v42 enters some articles under a wrong rate.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, decimal, prove};

struct Upserts;

impl Scenario for Upserts {
    fn name(&self) -> &'static str {
        "upserts"
    }

    fn schema(&self) -> String {
        "CREATE TABLE articles (sku text PRIMARY KEY, net numeric(10,2) NOT NULL, rate numeric(4,2) NOT NULL DEFAULT 0.19,
             gross numeric(12,4) GENERATED ALWAYS AS (net * (1 + rate)) STORED, deleted_at timestamptz, version int NOT NULL DEFAULT 1);
         CREATE TABLE sales (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sku text NOT NULL, gross numeric(12,2), note text DEFAULT 'web');
         CREATE TABLE counters (day date PRIMARY KEY, sales bigint NOT NULL DEFAULT 0, gross numeric(14,2) NOT NULL DEFAULT 0);
         CREATE TABLE catalogue (place serial PRIMARY KEY, sku text UNIQUE, gross numeric(12,2), label text);"
            .to_owned()
    }

    fn rules(&self) -> String {
        "rules:
  - id: rates-are-known
    table: public.articles
    check: { values: { column: rate, in: [0.07, 0.19] } }
    expect: { rate: \"CASE WHEN sku LIKE 'book%' THEN 0.07 ELSE 0.19 END\" }
"
        .to_owned()
    }

    fn faults(&self) -> String {
        "release: v42
faults:
  - table: public.articles
    where: rate = 0.20 and before.rate is null
    set: { rate: \"CASE WHEN sku LIKE 'book%' THEN 0.07 ELSE 0.19 END\" }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        for number in 0..60_usize {
            let release = if (20..40).contains(&number) { "shop@v42" } else { "shop@v41" };
            let kind = if stage.random.chance(1, 2) { "book" } else { "lamp" };
            let sku = format!("{kind} {}", stage.random.below(15));
            let net = decimal(i64::try_from(500 + stage.random.below(5_000)).expect("few"));
            let wrong = release == "shop@v42" && number % 3 == 0 && stage.is_faulty();
            let rate = if wrong {
                "0.20"
            } else if kind == "book" {
                "0.07"
            } else {
                "0.19"
            };
            let upsert = "INSERT INTO articles (sku, net, rate) VALUES ($1, $2, $3) ON CONFLICT (sku) DO UPDATE
                SET net = excluded.net, version = articles.version + 1, deleted_at = NULL";
            stage.execute(release, upsert, &[(&sku).into(), net.into(), rate.into()]).await;
            let other = format!("{kind} {}", stage.random.below(15));
            let sale =
                "INSERT INTO sales (sku, gross) SELECT sku, gross FROM articles WHERE sku = $1 AND deleted_at IS NULL";
            stage.execute(release, sale, &[(&other).into()]).await;
            if number % 4 == 0 {
                let dearer = "UPDATE articles SET net = net + 1 WHERE sku = $1";
                stage.transaction(release, &[(dearer, &[(&sku).into()]), (sale, &[(&sku).into()])]).await;
            }
            let day = format!("2026-03-{:02}", 1 + number / 12);
            let count =
                "INSERT INTO counters (day, sales, gross) SELECT $1::date, 1, gross FROM articles WHERE sku = $2
                ON CONFLICT (day) DO UPDATE SET sales = counters.sales + 1, gross = counters.gross + excluded.gross";
            stage.execute(release, count, &[day.into(), other.into()]).await;
            if number % 7 == 0 {
                let soft = "UPDATE articles SET deleted_at = '2026-03-01 10:00:00+00' WHERE sku = $1";
                stage.execute(release, soft, &[(&sku).into()]).await;
            }
            if number % 9 == 0 {
                let renamed = format!("{sku} (new)");
                let rename = "UPDATE articles SET sku = $1 WHERE sku = $2 AND NOT EXISTS (SELECT 1 FROM articles WHERE sku = $1)";
                stage.execute(release, rename, &[renamed.into(), sku.into()]).await;
            }
        }
        for report in [
            "INSERT INTO catalogue (sku, gross, label) SELECT sku, gross, upper(left(sku, 4)) || ' at ' || gross::text FROM articles
             WHERE deleted_at IS NULL ORDER BY sku",
            "UPDATE sales SET note = CASE WHEN gross > 40 THEN 'dear' ELSE note || '!' END",
            "DELETE FROM sales s WHERE gross < (SELECT avg(gross) FROM sales) / 4",
        ] {
            stage.execute("reports@1", report, &[]).await;
        }
    }
}

#[tokio::test]
async fn upserts_and_key_changes_are_traced_repaired_and_undone() {
    let all = prove(&Upserts, &[Telling::Log, Telling::Decoded, Telling::Events]).await;
    // What the database computes is no less known where it is not recorded.
    assert!(all.iter().all(|figures| figures.predicted == figures.true_cells && figures.remaining == 0));
}
