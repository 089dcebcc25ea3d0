//! Releases one after the other and side by side: a canary of v42 beside v41, v43 wrong in its turn and computing from
//! v42's damage, a correction to another wrong value, and the deploy rolled back to v41.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, decimal, prove};

const PRODUCTS: usize = 12;

struct Releases;

impl Scenario for Releases {
    fn name(&self) -> &'static str {
        "releases"
    }

    fn schema(&self) -> String {
        format!(
            "CREATE TABLE products (id int PRIMARY KEY, price numeric(10,2) NOT NULL, discount numeric(10,2) NOT NULL DEFAULT 0, checked boolean NOT NULL DEFAULT false);
             CREATE TABLE baskets (id int PRIMARY KEY, product int NOT NULL, quantity int NOT NULL, amount numeric(12,2) NOT NULL, reduced numeric(12,2));
             CREATE TABLE days (day date PRIMARY KEY, amount numeric(14,2), best int);
             INSERT INTO products (id, price) SELECT n, 10 * n FROM generate_series(1, {PRODUCTS}) n;"
        )
    }

    fn faults(&self) -> String {
        // v43's own fault is another trace's business: it is part of both worlds.
        "release: v42
faults:
  - table: public.products
    where: discount > 0 and before.discount = 0
    set: { discount: \"round(price / 10, 2)\" }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        for number in 0..120_usize {
            // The canary takes one in four; then all of it is v42's; then v43's; then v41 is back.
            let release = match number {
                30..50 if number % 4 == 0 => "shop@v42",
                50..70 => "shop@v42",
                70..90 => "shop@v43",
                _ => "shop@v41",
            };
            let product = 1 + stage.random.below(PRODUCTS);
            if stage.random.chance(1, 3) {
                let wrong = release == "shop@v42" && stage.is_faulty();
                let share = if wrong { "5" } else { "10" };
                let reduce = "UPDATE products SET discount = round(price / $1, 2) WHERE id = $2 AND discount = 0";
                stage.execute(release, reduce, &[share.into(), product.into()]).await;
            }
            // What v43 gets wrong, it gets wrong in both worlds.
            let sign = if release == "shop@v43" && number % 5 == 0 { "+" } else { "-" };
            let insert = format!(
                "INSERT INTO baskets (id, product, quantity, amount) SELECT $1, id, $2::int, $2::int * (price {sign} discount) FROM products WHERE id = $3"
            );
            let quantity = 1 + stage.random.below(3);
            stage.execute(release, &insert, &[number.into(), quantity.into(), product.into()]).await;
            if number == 65 {
                // A person corrects one product by hand, to another wrong value, and another one rightly.
                let correct = "UPDATE products SET discount = 1.23, checked = true WHERE id = 3";
                stage.execute("psql", correct, &[]).await;
                stage.execute("psql", "UPDATE products SET discount = round(price / 10, 2) WHERE id = 4", &[]).await;
            }
            if number % 40 == 39 {
                let day = format!("2026-03-{:02}", 1 + number / 40);
                let insert = "INSERT INTO days SELECT $1::date, sum(amount), (SELECT product FROM baskets ORDER BY amount DESC, id LIMIT 1) FROM baskets";
                stage.execute("reports@1", insert, &[day.into()]).await;
            }
        }
        let less = decimal(50);
        let reduce = "UPDATE baskets b SET reduced = b.amount - $1 FROM products p WHERE p.id = b.product AND p.discount > p.price / 8";
        stage.execute("shop@v41", reduce, &[less.into()]).await;
        stage
            .execute("shop@v41", "DELETE FROM baskets WHERE amount < (SELECT avg(amount) FROM baskets) / 3", &[])
            .await;
    }
}

#[tokio::test]
async fn a_canary_two_releases_and_a_rollback_are_told_apart() {
    prove(&Releases, &[Telling::Log, Telling::Events]).await;
}
