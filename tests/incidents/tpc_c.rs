//! TPC-C's five transactions in their weights, on one warehouse: release v42 forgets the quantity in the amount of some
//! order lines; what customers are charged at delivery is computed from it.

use crate::recording::Telling;
use crate::shop::session::Parameter;
use crate::stage::{Scenario, Stage, decimal, prove};

const TRANSACTIONS: usize = 300;
const DISTRICTS: usize = 3;
const CUSTOMERS: usize = 8;
const ITEMS: usize = 40;

struct TpcC {
    name: &'static str,
    /// One of so many of v42's new orders is wrong; they are 45 of 100 transactions.
    wrong_of_new_orders: usize,
}

/// What runs one after the other.
struct Terminal<'stage, 'database> {
    stage: &'stage mut Stage<'database>,
    session: &'static str,
    day: String,
}

impl Terminal<'_, '_> {
    async fn run(&mut self, sql: &str, parameters: &[Parameter]) {
        self.stage.execute(self.session, sql, parameters).await;
    }

    async fn number(&mut self, sql: &str, parameters: &[Parameter]) -> i64 {
        self.stage.number(self.session, sql, parameters).await
    }

    async fn new_order(&mut self, is_wrong: bool) {
        let district = 1 + self.stage.random.below(DISTRICTS);
        let customer = 1 + self.stage.random.below(CUSTOMERS);
        let lines = 2 + self.stage.random.below(4);
        self.run("BEGIN", &[]).await;
        let customer_read = "SELECT c_discount, c_last, c_credit, w_tax FROM customer, warehouse
            WHERE w_id = 1 AND c_w_id = w_id AND c_d_id = $1 AND c_id = $2";
        self.stage.query(self.session, customer_read, &[district.into(), customer.into()]).await;
        let next = "SELECT d_next_o_id FROM district WHERE d_w_id = 1 AND d_id = $1 FOR UPDATE";
        let order = self.number(next, &[district.into()]).await;
        self.run(
            "UPDATE district SET d_next_o_id = d_next_o_id + 1 WHERE d_w_id = 1 AND d_id = $1",
            &[district.into()],
        )
        .await;
        let insert = "INSERT INTO orders (o_id, o_d_id, o_w_id, o_c_id, o_entry_d, o_ol_cnt, o_all_local)
            VALUES ($1, $2, 1, $3, $4, $5, 1)";
        let entry = self.day.clone();
        self.run(insert, &[order.into(), district.into(), customer.into(), entry.into(), lines.into()]).await;
        self.run("INSERT INTO new_order VALUES ($1, $2, 1)", &[order.into(), district.into()]).await;
        for line in 1..=lines {
            self.order_line(order, district, line, is_wrong).await;
        }
        // An unused item: one in a hundred orders is taken back.
        let end = if self.stage.random.chance(1, 100) { "ROLLBACK" } else { "COMMIT" };
        self.run(end, &[]).await;
    }

    async fn order_line(&mut self, order: i64, district: usize, line: usize, is_wrong: bool) {
        let item = 1 + self.stage.random.below(ITEMS);
        let quantity = i64::try_from(1 + self.stage.random.below(10)).expect("few");
        let price = self.number("SELECT i_price FROM item WHERE i_id = $1", &[item.into()]).await;
        let read = "SELECT s_quantity FROM stock WHERE s_i_id = $1 AND s_w_id = 1 FOR UPDATE";
        let stock = self.number(read, &[item.into()]).await;
        let left = if stock >= quantity + 10 { stock - quantity } else { stock - quantity + 91 };
        let update = "UPDATE stock SET s_quantity = $1, s_ytd = s_ytd + $2, s_order_cnt = s_order_cnt + 1
            WHERE s_i_id = $3 AND s_w_id = 1";
        self.run(update, &[left.into(), quantity.into(), item.into()]).await;
        let amount = if is_wrong && self.stage.is_faulty() { price } else { price * quantity };
        let insert = "INSERT INTO order_line (ol_o_id, ol_d_id, ol_w_id, ol_number, ol_i_id, ol_quantity, ol_amount)
            VALUES ($1, $2, 1, $3, $4, $5, $6)";
        let place: [Parameter; 3] = [order.into(), district.into(), line.into()];
        let [order, district, line] = place;
        self.run(insert, &[order, district, line, item.into(), quantity.into(), decimal(amount).into()]).await;
    }

    async fn payment(&mut self, number: usize) {
        let district = 1 + self.stage.random.below(DISTRICTS);
        let customer = 1 + self.stage.random.below(CUSTOMERS);
        let cents = i64::try_from(100 + self.stage.random.below(500_000)).expect("few");
        let amount = decimal(cents);
        self.run("BEGIN", &[]).await;
        self.run("UPDATE warehouse SET w_ytd = w_ytd + $1 WHERE w_id = 1", &[(&amount).into()]).await;
        let update = "UPDATE district SET d_ytd = d_ytd + $1 WHERE d_w_id = 1 AND d_id = $2";
        self.run(update, &[(&amount).into(), district.into()]).await;
        let read = "SELECT c_first, c_credit, c_balance FROM customer WHERE c_w_id = 1 AND c_d_id = $1 AND c_id = $2 FOR UPDATE";
        self.stage.query(self.session, read, &[district.into(), customer.into()]).await;
        let update = "UPDATE customer SET c_balance = c_balance - $1, c_ytd_payment = c_ytd_payment + $1,
            c_payment_cnt = c_payment_cnt + 1 WHERE c_w_id = 1 AND c_d_id = $2 AND c_id = $3";
        self.run(update, &[(&amount).into(), district.into(), customer.into()]).await;
        let insert = "INSERT INTO history (h_id, h_c_id, h_c_d_id, h_c_w_id, h_d_id, h_w_id, h_date, h_amount)
            VALUES ($1, $2, $3, 1, $3, 1, $4, $5)";
        let date = self.day.clone();
        self.run(insert, &[number.into(), customer.into(), district.into(), date.into(), amount.into()]).await;
        self.run("COMMIT", &[]).await;
    }

    async fn order_status(&mut self) {
        let district = 1 + self.stage.random.below(DISTRICTS);
        let customer = 1 + self.stage.random.below(CUSTOMERS);
        self.run("BEGIN", &[]).await;
        let balance = "SELECT c_balance, c_first FROM customer WHERE c_w_id = 1 AND c_d_id = $1 AND c_id = $2";
        self.stage.query(self.session, balance, &[district.into(), customer.into()]).await;
        let order = "SELECT o_id, o_carrier_id FROM orders WHERE o_w_id = 1 AND o_d_id = $1 AND o_c_id = $2
            ORDER BY o_id DESC LIMIT 1";
        let found = self.stage.query(self.session, order, &[district.into(), customer.into()]).await;
        if let Some(order) = found.first().and_then(|row| row[0].clone()) {
            let lines = "SELECT ol_i_id, ol_quantity, ol_amount FROM order_line
                WHERE ol_w_id = 1 AND ol_d_id = $1 AND ol_o_id = $2";
            self.stage.query(self.session, lines, &[district.into(), order.into()]).await;
        }
        self.run("COMMIT", &[]).await;
    }

    async fn delivery(&mut self) {
        let carrier = 1 + self.stage.random.below(10);
        for district in 1..=DISTRICTS {
            self.run("BEGIN", &[]).await;
            let oldest = "SELECT no_o_id FROM new_order WHERE no_w_id = 1 AND no_d_id = $1 ORDER BY no_o_id LIMIT 1";
            let found = self.stage.query(self.session, oldest, &[district.into()]).await;
            let Some(order) = found.first().and_then(|row| row[0].clone()) else {
                self.run("COMMIT", &[]).await;
                continue;
            };
            let of_order = || -> [Parameter; 2] { [district.into(), (&order).into()] };
            self.run("DELETE FROM new_order WHERE no_w_id = 1 AND no_d_id = $1 AND no_o_id = $2", &of_order()).await;
            let customer = "SELECT o_c_id FROM orders WHERE o_w_id = 1 AND o_d_id = $1 AND o_id = $2";
            let customer = self.number(customer, &of_order()).await;
            let update = "UPDATE orders SET o_carrier_id = $1 WHERE o_w_id = 1 AND o_d_id = $2 AND o_id = $3";
            self.run(update, &[carrier.into(), district.into(), (&order).into()]).await;
            let update = "UPDATE order_line SET ol_delivery_d = $1 WHERE ol_w_id = 1 AND ol_d_id = $2 AND ol_o_id = $3";
            let date = self.day.clone();
            self.run(update, &[date.into(), district.into(), (&order).into()]).await;
            let total = "SELECT sum(ol_amount) FROM order_line WHERE ol_w_id = 1 AND ol_d_id = $1 AND ol_o_id = $2";
            let total = self.number(total, &of_order()).await;
            let update = "UPDATE customer SET c_balance = c_balance + $1, c_delivery_cnt = c_delivery_cnt + 1
                WHERE c_w_id = 1 AND c_d_id = $2 AND c_id = $3";
            self.run(update, &[decimal(total).into(), district.into(), customer.into()]).await;
            self.run("COMMIT", &[]).await;
        }
    }

    async fn stock_level(&mut self) {
        let district = 1 + self.stage.random.below(DISTRICTS);
        let next = "SELECT d_next_o_id FROM district WHERE d_w_id = 1 AND d_id = $1";
        let order = self.number(next, &[district.into()]).await;
        let low = "SELECT count(DISTINCT s_i_id) FROM order_line, stock WHERE ol_w_id = 1 AND ol_d_id = $1
            AND ol_o_id < $2 AND ol_o_id >= $3 AND s_w_id = 1 AND s_i_id = ol_i_id AND s_quantity < 20";
        self.stage.query(self.session, low, &[district.into(), order.into(), (order - 20).into()]).await;
    }
}

impl Scenario for TpcC {
    fn name(&self) -> &'static str {
        self.name
    }

    fn schema(&self) -> String {
        format!(
            "CREATE TABLE warehouse (w_id int PRIMARY KEY, w_tax numeric(4,4), w_ytd numeric(12,2));
             CREATE TABLE district (d_id int, d_w_id int REFERENCES warehouse, d_tax numeric(4,4), d_ytd numeric(12,2),
                 d_next_o_id int, PRIMARY KEY (d_w_id, d_id));
             CREATE TABLE customer (c_id int, c_d_id int, c_w_id int, c_first varchar(16), c_last varchar(16),
                 c_credit char(2), c_discount numeric(4,4), c_balance numeric(12,2), c_ytd_payment numeric(12,2),
                 c_payment_cnt int, c_delivery_cnt int, PRIMARY KEY (c_w_id, c_d_id, c_id),
                 FOREIGN KEY (c_w_id, c_d_id) REFERENCES district);
             CREATE TABLE history (h_id int PRIMARY KEY, h_c_id int, h_c_d_id int, h_c_w_id int, h_d_id int, h_w_id int,
                 h_date timestamp, h_amount numeric(6,2));
             CREATE TABLE orders (o_id int, o_d_id int, o_w_id int, o_c_id int, o_entry_d timestamp, o_carrier_id int,
                 o_ol_cnt int, o_all_local int, PRIMARY KEY (o_w_id, o_d_id, o_id));
             CREATE TABLE new_order (no_o_id int, no_d_id int, no_w_id int, PRIMARY KEY (no_w_id, no_d_id, no_o_id));
             CREATE TABLE item (i_id int PRIMARY KEY, i_name varchar(24), i_price numeric(5,2));
             CREATE TABLE stock (s_i_id int REFERENCES item, s_w_id int, s_quantity int, s_ytd int, s_order_cnt int,
                 PRIMARY KEY (s_w_id, s_i_id));
             CREATE TABLE order_line (ol_o_id int, ol_d_id int, ol_w_id int, ol_number int, ol_i_id int,
                 ol_delivery_d timestamp, ol_quantity int, ol_amount numeric(8,2),
                 PRIMARY KEY (ol_w_id, ol_d_id, ol_o_id, ol_number));
             INSERT INTO warehouse VALUES (1, 0.05, 0);
             INSERT INTO district SELECT n, 1, 0.07, 0, 1 FROM generate_series(1, {DISTRICTS}) n;
             INSERT INTO customer SELECT n, d, 1, 'first ' || n, 'last ' || d, 'GC', 0.1, 0, 0, 0, 0
                 FROM generate_series(1, {DISTRICTS}) d, generate_series(1, {CUSTOMERS}) n;
             INSERT INTO item SELECT n, 'item ' || n, n + n / 100.0 FROM generate_series(1, {ITEMS}) n;
             INSERT INTO stock SELECT n, 1, 50 + n, 0, 0 FROM generate_series(1, {ITEMS}) n;"
        )
    }

    fn rules(&self) -> String {
        "rules:
  - id: line-amount
    table: public.order_line
    check:
      equals:
        column: ol_amount
        sql: ol_quantity * (SELECT i.i_price FROM public.item i WHERE i.i_id = order_line.ol_i_id)
  - id: customer-balance
    table: public.customer
    description: The tenth of TPC-C's consistency conditions.
    check:
      equals:
        column: c_balance
        sql: >-
          coalesce((SELECT sum(l.ol_amount) FROM public.order_line l JOIN public.orders o
            ON o.o_w_id = l.ol_w_id AND o.o_d_id = l.ol_d_id AND o.o_id = l.ol_o_id
            WHERE o.o_d_id = customer.c_d_id AND o.o_c_id = customer.c_id AND l.ol_delivery_d IS NOT NULL), 0)
          - coalesce((SELECT sum(h.h_amount) FROM public.history h
            WHERE h.h_c_d_id = customer.c_d_id AND h.h_c_id = customer.c_id), 0)
"
        .to_owned()
    }

    fn faults(&self) -> String {
        "release: v42
faults:
  - table: public.order_line
    op: insert
    where: ol_amount <> ol_quantity * (SELECT i.i_price FROM public.item i WHERE i.i_id = order_line.ol_i_id)
    set: { ol_amount: ol_quantity * (SELECT i.i_price FROM public.item i WHERE i.i_id = order_line.ol_i_id) }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        let mut new_orders = 0;
        for number in 0..TRANSACTIONS {
            let session = if (60..210).contains(&number) { "tpcc@v42" } else { "tpcc@v41" };
            let choice = stage.random.below(100);
            let day = format!("2026-03-{:02} 12:00:00", 1 + number / 15);
            let mut terminal = Terminal { stage, session, day };
            match choice {
                0..45 => {
                    let is_release = session == "tpcc@v42";
                    new_orders += usize::from(is_release);
                    let wrong = is_release && new_orders % self.wrong_of_new_orders == 1;
                    terminal.new_order(wrong).await;
                }
                45..88 => terminal.payment(number).await,
                88..92 => terminal.order_status().await,
                92..96 => terminal.delivery().await,
                _ => terminal.stock_level().await,
            }
        }
    }
}

#[tokio::test]
async fn one_in_a_hundred_transactions_of_tpc_c_is_wrong() {
    prove(&TpcC { name: "TPC-C 1 %", wrong_of_new_orders: 45 }, &[Telling::Log]).await;
}

#[tokio::test]
async fn one_in_ten_transactions_of_tpc_c_is_wrong() {
    prove(&TpcC { name: "TPC-C 10 %", wrong_of_new_orders: 4 }, &[Telling::Literals]).await;
}
