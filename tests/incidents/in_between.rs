//! Applications in between: they read what release v42 got wrong, and write literals that they compute from it.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, decimal, prove};

const CUSTOMERS: usize = 20;

struct InBetween;

impl Scenario for InBetween {
    fn name(&self) -> &'static str {
        "in between"
    }

    fn schema(&self) -> String {
        format!(
            "CREATE TABLE prices (sku int PRIMARY KEY, price numeric(10,2) NOT NULL);
             CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, sku int NOT NULL, quantity int NOT NULL,
                 total numeric(10,2) NOT NULL, status text NOT NULL);
             CREATE TABLE customers (id int PRIMARY KEY, spent numeric(12,2) NOT NULL, tier text NOT NULL, orders int NOT NULL,
                 fees numeric(12,2) NOT NULL DEFAULT 0);
             CREATE TABLE letters (id int PRIMARY KEY, customer int, text text);
             INSERT INTO prices SELECT n, n * 3.5 FROM generate_series(1, 10) n;
             INSERT INTO customers SELECT n, 0, 'plain', 0 FROM generate_series(1, {CUSTOMERS}) n;"
        )
    }

    fn faults(&self) -> String {
        "release: v42
faults:
  - table: public.prices
    where: price > before.price * 5
    set: { price: before.price + 1 }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        for number in 0..100_usize {
            let sku = 1 + stage.random.below(10);
            if (40..60).contains(&number) && number % 10 == 0 {
                let price = stage.number("shop@v42", "SELECT price FROM prices WHERE sku = $1", &[sku.into()]).await;
                let next = if stage.is_faulty() { price * 10 } else { price + 100 };
                let update = "UPDATE prices SET price = $1 WHERE sku = $2";
                stage.execute("shop@v42", update, &[decimal(next).into(), sku.into()]).await;
            }
            let customer = 1 + stage.random.below(CUSTOMERS);
            let quantity = i64::try_from(1 + stage.random.below(4)).expect("few");
            let session = "shop@v41";
            stage.execute(session, "BEGIN", &[]).await;
            let price = stage
                .number(
                    session,
                    "SELECT \"price\" FROM \"public\".\"prices\" WHERE \"prices\".\"sku\" = $1 LIMIT 1",
                    &[sku.into()],
                )
                .await;
            let total = price * quantity;
            let status = if total > 10_000 { "to be checked" } else { "accepted" };
            let insert =
                "INSERT INTO \"public\".\"orders\" (\"id\", \"customer\", \"sku\", \"quantity\", \"total\", \"status\")
                VALUES ($1, $2, $3, $4, $5, $6)";
            stage
                .execute(
                    session,
                    insert,
                    &[
                        number.into(),
                        customer.into(),
                        sku.into(),
                        quantity.into(),
                        decimal(total).into(),
                        status.into(),
                    ],
                )
                .await;
            let spent =
                stage.number(session, "SELECT spent FROM customers WHERE id = $1", &[customer.into()]).await + total;
            let tier = if spent > 30_000 { "gold" } else { "plain" };
            let update = "UPDATE customers SET spent = $1, tier = $2, orders = orders + 1 WHERE id = $3";
            stage.execute(session, update, &[decimal(spent).into(), tier.into(), customer.into()]).await;
            stage.execute(session, "COMMIT", &[]).await;
            if number % 3 == 1 {
                // One service asks, another one writes: only the trace tells that they belong together.
                let trace = format!("/*traceparent='00-{number:032x}-00f067aa0ba902b7-01'*/");
                let ask = format!("SELECT price FROM prices WHERE sku = $1 {trace}");
                let fee = stage.number("pricing@7", &ask, &[sku.into()]).await / 10;
                let charge = format!("UPDATE customers SET fees = fees + $1 WHERE id = $2 {trace}");
                stage.execute("billing@3", &charge, &[decimal(fee).into(), customer.into()]).await;
            }
        }
        let gold =
            stage.query("letters@1", "SELECT id, spent FROM customers WHERE tier = 'gold' ORDER BY id", &[]).await;
        stage.execute("letters@1", "BEGIN", &[]).await;
        let again =
            stage.query("letters@1", "SELECT id, spent FROM customers WHERE tier = 'gold' ORDER BY id", &[]).await;
        assert_eq!(gold, again);
        for row in again {
            let id: i64 = row[0].as_deref().and_then(|id| id.parse().ok()).expect("a number");
            let text = format!("Dear {}, you spent {}", id, row[1].as_deref().unwrap_or_default());
            let insert = "INSERT INTO letters VALUES ($1, $2, $3)";
            stage.execute("letters@1", insert, &[(1000 + id).into(), id.into(), text.into()]).await;
        }
        stage.execute("letters@1", "COMMIT", &[]).await;
    }
}

#[tokio::test]
async fn what_applications_compute_in_between_is_found() {
    prove(&InBetween, &[Telling::Log, Telling::Literals]).await;
}
