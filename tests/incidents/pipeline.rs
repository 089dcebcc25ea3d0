//! A pipeline of five layers as dbt runs one: staging views, tables made anew, increments, deletes and inserts, reports.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, decimal, prove};

struct Pipeline;

impl Scenario for Pipeline {
    fn name(&self) -> &'static str {
        "pipeline"
    }

    fn schema(&self) -> String {
        "CREATE TABLE raw_orders (id int PRIMARY KEY, customer int, day date, amount numeric(10,2), currency text);
         CREATE TABLE raw_rates (currency text PRIMARY KEY, rate numeric(8,4) NOT NULL);
         CREATE VIEW stg_orders AS SELECT o.id, o.customer, o.day, round(o.amount * r.rate, 2) AS euros
             FROM raw_orders o JOIN raw_rates r USING (currency);
         CREATE TABLE int_orders (id int PRIMARY KEY, customer int, day date, euros numeric(12,2), place bigint);
         CREATE TABLE fct_days (day date PRIMARY KEY, orders bigint, euros numeric(14,2), running numeric(16,2));
         CREATE TABLE dim_customers (customer int PRIMARY KEY, first_day date, orders bigint, euros numeric(14,2), class text);
         CREATE TABLE mart_classes (class text PRIMARY KEY, customers bigint, euros numeric(16,2), share numeric(10,4));
         CREATE TABLE top_customers (place bigint PRIMARY KEY, customer int, euros numeric(14,2));
         INSERT INTO raw_rates VALUES ('EUR', 1), ('USD', 0.9), ('GBP', 1.15);"
            .to_owned()
    }

    fn faults(&self) -> String {
        "release: v42
faults:
  - table: public.raw_orders
    where: currency = 'USD' and id % 2 = 0
    set: { currency: \"'GBP'\" }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        for day in 1..=6_usize {
            let loader = if (3..5).contains(&day) { "loader@v42" } else { "loader@v41" };
            for order in 0..15_usize {
                let id = day * 100 + order;
                let currency = *stage.random.pick(&["EUR", "USD", "GBP"]);
                // The right world's even dollars of v42 are pounds.
                let right = if loader == "loader@v42" && currency == "USD" && id % 2 == 0 { "GBP" } else { currency };
                let written = if stage.is_faulty() { currency } else { right };
                let customer = 1 + stage.random.below(12);
                let amount = decimal(i64::try_from(100 + stage.random.below(20_000)).expect("few"));
                let insert = "INSERT INTO raw_orders VALUES ($1, $2, $3, $4, $5)";
                let date = format!("2026-03-{day:02}");
                stage
                    .execute(loader, insert, &[id.into(), customer.into(), date.into(), amount.into(), written.into()])
                    .await;
            }
            let today = format!("2026-03-{day:02}");
            for (model, parameters) in [
                ("DELETE FROM int_orders WHERE day >= $1::date - 1", true),
                ("INSERT INTO int_orders SELECT s.id, s.customer, s.day, s.euros, row_number() OVER (PARTITION BY s.customer ORDER BY s.euros DESC, s.id)
                  FROM stg_orders s WHERE s.day >= $1::date - 1", true),
                ("DELETE FROM fct_days", false),
                ("INSERT INTO fct_days SELECT day, count(*), sum(euros), sum(sum(euros)) OVER (ORDER BY day) FROM int_orders GROUP BY day", false),
                ("INSERT INTO dim_customers (customer, first_day, orders, euros) SELECT customer, min(day), count(*), sum(euros) FROM int_orders GROUP BY customer
                  ON CONFLICT (customer) DO UPDATE SET orders = excluded.orders, euros = excluded.euros", false),
                ("UPDATE dim_customers SET class = CASE WHEN euros > 900 THEN 'large' WHEN euros > 400 THEN 'middle' ELSE 'small' END", false),
                ("DELETE FROM mart_classes", false),
                ("INSERT INTO mart_classes SELECT class, count(*), sum(euros), round(sum(euros) / (SELECT sum(euros) FROM dim_customers), 4)
                  FROM dim_customers GROUP BY class", false),
                ("DELETE FROM top_customers", false),
                ("INSERT INTO top_customers SELECT row_number() OVER (ORDER BY euros DESC, customer), customer, euros FROM dim_customers
                  ORDER BY euros DESC, customer LIMIT 5", false),
            ] {
                let parameter = [(&today).into()];
                stage.execute("dbt@1", model, if parameters { &parameter } else { &[] }).await;
            }
        }
    }
}

#[tokio::test]
async fn a_pipeline_of_five_layers_is_traced_repaired_and_undone() {
    prove(&Pipeline, &[Telling::Log, Telling::Events]).await;
}
