//! SEATS: airline reservations; release v42 charges some reservations the wrong price, and deletes some that it should not.

use crate::recording::Telling;
use crate::shop::session::Parameter;
use crate::stage::{Scenario, Stage, decimal, prove};

const TRANSACTIONS: usize = 240;
const FLIGHTS: usize = 6;
const CUSTOMERS: usize = 25;

struct Seats {
    name: &'static str,
    /// One of so many of v42's reservations is wrong.
    wrong_of_reservations: usize,
}

impl Scenario for Seats {
    fn name(&self) -> &'static str {
        self.name
    }

    fn schema(&self) -> String {
        format!(
            "CREATE TABLE customer (c_id int PRIMARY KEY, c_balance numeric(10,2) NOT NULL DEFAULT 0, c_miles bigint NOT NULL DEFAULT 0);
             CREATE TABLE flight (f_id int PRIMARY KEY, f_base_price numeric(8,2) NOT NULL, f_seats_total int NOT NULL, f_seats_left int NOT NULL);
             CREATE TABLE reservation (r_id int PRIMARY KEY, r_c_id int NOT NULL REFERENCES customer, r_f_id int NOT NULL REFERENCES flight,
                 r_seat int NOT NULL, r_price numeric(8,2) NOT NULL, r_iattr int NOT NULL DEFAULT 0, UNIQUE (r_f_id, r_seat));
             CREATE TABLE frequent_flyer (ff_c_id int PRIMARY KEY REFERENCES customer, ff_spent numeric(12,2), ff_class text);
             INSERT INTO customer (c_id) SELECT n FROM generate_series(1, {CUSTOMERS}) n;
             INSERT INTO flight SELECT n, 100 + 10 * n, 60, 60 FROM generate_series(1, {FLIGHTS}) n;"
        )
    }

    fn faults(&self) -> String {
        "release: v42
faults:
  - table: public.reservation
    op: insert
    where: r_price < 60
    set: { r_price: r_price * 10 }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        let mut reserved: Vec<(usize, usize)> = Vec::new();
        let mut reservations = 0;
        for number in 0..TRANSACTIONS {
            let release = if (60..190).contains(&number) { "seats@v42" } else { "seats@v41" };
            let (flight, customer) = (1 + stage.random.below(FLIGHTS), 1 + stage.random.below(CUSTOMERS));
            match stage.random.below(100) {
                0..50 => {
                    reservations += usize::from(release == "seats@v42");
                    let is_wrong = release == "seats@v42" && reservations % self.wrong_of_reservations == 1;
                    let price = i64::try_from(12_000 + 100 * flight).expect("few");
                    let written = if is_wrong && stage.is_faulty() { price / 10 } else { price };
                    stage.execute(release, "BEGIN", &[]).await;
                    let left = "SELECT f_seats_left FROM flight WHERE f_id = $1 FOR UPDATE";
                    stage.query(release, left, &[flight.into()]).await;
                    let insert = "INSERT INTO \"reservation\" (\"r_id\", \"r_c_id\", \"r_f_id\", \"r_seat\", \"r_price\") VALUES ($1, $2, $3, $4, $5)";
                    let values: [Parameter; 5] =
                        [number.into(), customer.into(), flight.into(), number.into(), decimal(written).into()];
                    stage.execute(release, insert, &values).await;
                    let update = "UPDATE flight SET f_seats_left = f_seats_left - 1 WHERE f_id = $1";
                    stage.execute(release, update, &[flight.into()]).await;
                    let charge = "UPDATE customer c SET c_balance = c.c_balance + r.r_price, c_miles = c_miles + round(r.r_price)
                        FROM reservation r WHERE r.r_id = $1 AND c.c_id = r.r_c_id";
                    stage.execute(release, charge, &[number.into()]).await;
                    stage.execute(release, "COMMIT", &[]).await;
                    reserved.push((number, flight));
                }
                50..60 if !reserved.is_empty() => {
                    let (reservation, of) = reserved.swap_remove(stage.random.below(reserved.len()));
                    stage.execute(release, "BEGIN", &[]).await;
                    let refund =
                        "UPDATE customer SET c_balance = c_balance - (SELECT r_price FROM reservation WHERE r_id = $1)
                        WHERE c_id = (SELECT r_c_id FROM reservation WHERE r_id = $1)";
                    stage.execute(release, refund, &[reservation.into()]).await;
                    stage.execute(release, "DELETE FROM reservation WHERE r_id = $1", &[reservation.into()]).await;
                    let update = "UPDATE flight SET f_seats_left = f_seats_left + 1 WHERE f_id = $1";
                    stage.execute(release, update, &[of.into()]).await;
                    stage.execute(release, "COMMIT", &[]).await;
                }
                60..75 if !reserved.is_empty() => {
                    let (reservation, _) = *stage.random.pick(&reserved);
                    let update = "UPDATE reservation SET r_iattr = r_iattr + $1 WHERE r_id = $2";
                    stage.execute(release, update, &[1_i64.into(), reservation.into()]).await;
                }
                75..85 => {
                    let miles = "UPDATE customer SET c_miles = c_miles + 100 WHERE c_id = $1";
                    stage.execute(release, miles, &[customer.into()]).await;
                }
                _ => {
                    let open =
                        "SELECT f_id, f_base_price + f_base_price * (f_seats_total - f_seats_left) / f_seats_total
                        FROM flight WHERE f_id = $1";
                    stage.query(release, open, &[flight.into()]).await;
                }
            }
        }
        let flyers = "INSERT INTO frequent_flyer SELECT c.c_id, (SELECT sum(r.r_price) FROM reservation r WHERE r.r_c_id = c.c_id),
            CASE WHEN c.c_miles > 600 THEN 'gold' WHEN c.c_miles > 300 THEN 'silver' ELSE 'plain' END FROM customer c WHERE c.c_balance > 0";
        stage.execute("reports@1", flyers, &[]).await;
    }
}

#[tokio::test]
async fn one_in_a_hundred_transactions_of_seats_is_wrong() {
    prove(&Seats { name: "SEATS 1 %", wrong_of_reservations: 50 }, &[Telling::Events]).await;
}

#[tokio::test]
async fn one_in_ten_transactions_of_seats_is_wrong() {
    prove(&Seats { name: "SEATS 10 %", wrong_of_reservations: 5 }, &[Telling::Log]).await;
}
