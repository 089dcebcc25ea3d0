//! An order's life: placed, shipped, returned in part, cancelled, corrected, deleted. Every step is a transaction.

use super::catalogue::Product;
use super::money::Money;
use super::session::{Parameter, Session};
use crate::recording::World;

/// How an order is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payment {
    /// From the customer's account, whose balance the database computes.
    Account,
    /// By card: the application writes down the amount that it charged.
    Card,
}

/// A release of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The one before.
    V41,
    /// The one that took a coupon's percent for euros.
    V42,
    /// The one that mends it.
    V43,
}

/// One line of an order.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its number within the order.
    pub number: i64,
    /// What is ordered.
    pub product: Product,
    /// How many.
    pub quantity: i64,
    /// Whether somebody has corrected its price.
    pub corrected: bool,
}

/// An order as the application knows it.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its key.
    pub id: i64,
    /// Who ordered.
    pub customer: i64,
    /// The day it was placed.
    pub day: usize,
    /// The simulated moment it was placed.
    pub ordered_at: String,
    /// What a coupon takes off each line; 0 without one.
    pub percent_off: i64,
    /// How it is paid.
    pub payment: Payment,
    /// Which release took it.
    pub release: Release,
    /// What is ordered.
    pub lines: Vec<Line>,
    /// Whether it has been shipped.
    pub shipped: bool,
    /// Whether it has been cancelled or deleted: nothing more happens to it.
    pub closed: bool,
}

impl Order {
    /// What one piece on this line should cost.
    pub fn right_price(&self, line: &Line) -> Money {
        line.product.list_price.less_percent(self.percent_off)
    }

    /// What v42 took for it.
    fn faulty_price(&self, line: &Line) -> Money {
        line.product.list_price.less_euros(self.percent_off)
    }

    /// What the release that took the order writes, in this world.
    fn written_price(&self, line: &Line, world: World) -> Money {
        match (self.release, world) {
            (Release::V42, World::Faulty) => self.faulty_price(line),
            _ => self.right_price(line),
        }
    }

    /// Whether the line has a wrong price in the faulty world, as far as nobody has corrected it.
    pub fn is_wrong(&self, line: &Line) -> bool {
        self.release == Release::V42 && !line.corrected && self.faulty_price(line) != self.right_price(line)
    }

    /// Whether any of its lines is wrong.
    pub fn has_wrong_line(&self) -> bool {
        self.lines.iter().any(|line| self.is_wrong(line))
    }
}

/// Opens the transaction that places an order, and writes the order and its lines.
pub async fn open(session: &mut Session, order: &Order, world: World) {
    session.literal("BEGIN").await;
    let skus: Vec<&str> = order.lines.iter().map(|line| line.product.sku.as_str()).collect();
    let skus = format!("{{{}}}", skus.join(","));
    session.execute("SELECT sku, list_price FROM products WHERE sku = ANY ($1)", &[(&skus).into()]).await;
    let coupon = (order.percent_off > 0).then(|| format!("SPRING{}", order.percent_off));
    session
        .execute(
            "INSERT INTO orders (id, customer_id, coupon, ordered_at) VALUES ($1, $2, $3, $4)",
            &[order.id.into(), order.customer.into(), coupon.into(), (&order.ordered_at).into()],
        )
        .await;
    for line in &order.lines {
        let inserted = insert_line(session, order, line, &line.product.sku, order.written_price(line, world)).await;
        inserted.expect("the line refers to a product");
    }
}

async fn insert_line(
    session: &mut Session,
    order: &Order,
    line: &Line,
    sku: &str,
    unit_price: Money,
) -> Result<u64, tokio_postgres::Error> {
    let parameters: [Parameter; 6] = [
        order.id.into(),
        line.number.into(),
        sku.into(),
        line.quantity.into(),
        order.percent_off.into(),
        unit_price.into(),
    ];
    session
        .try_execute(
            "INSERT INTO order_lines (order_id, line_no, sku, quantity, percent_off, unit_price) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            &parameters,
        )
        .await
}

/// A line for a product that is gone from the catalogue: refused by the foreign key.
pub async fn order_unknown_product(session: &mut Session, order: &Order) {
    let line = Line { number: 99, ..order.lines[0].clone() };
    let refused = insert_line(session, order, &line, "GONE-000", order.right_price(&line)).await;
    refused.expect_err("no product has this key");
}

/// Adds up the order and takes the money; the transaction is still open then.
pub async fn charge(session: &mut Session, order: &Order, world: World) {
    add_up(session, order).await;
    match order.payment {
        Payment::Account => {
            session
                .execute(
                    "UPDATE accounts SET balance = balance - (SELECT total FROM orders WHERE id = $1) \
                     WHERE customer_id = $2",
                    &[order.id.into(), order.customer.into()],
                )
                .await;
        }
        Payment::Card => {
            let amount: Money =
                order.lines.iter().map(|line| order.written_price(line, world).times(line.quantity)).sum();
            session
                .execute(
                    "INSERT INTO payments (order_id, amount, paid_at) VALUES ($1, $2, $3)",
                    &[order.id.into(), amount.into(), (&order.ordered_at).into()],
                )
                .await;
        }
    }
}

async fn add_up(session: &mut Session, order: &Order) {
    session
        .execute(
            "UPDATE orders SET total = (SELECT sum(quantity * unit_price) FROM order_lines WHERE order_id = $1) \
             WHERE id = $1",
            &[order.id.into()],
        )
        .await;
}

/// Ships the order: writes other columns of rows that may be wrong, and reads only their quantities.
pub async fn ship(session: &mut Session, order: &Order, shipped_at: &str) {
    session.literal("BEGIN").await;
    session
        .execute(
            "UPDATE orders SET status = 'shipped', shipped_at = $1 WHERE id = $2",
            &[shipped_at.into(), order.id.into()],
        )
        .await;
    session.execute("UPDATE order_lines SET picked = true WHERE order_id = $1", &[order.id.into()]).await;
    session
        .execute(
            "UPDATE products SET stock = stock - order_lines.quantity FROM order_lines \
             WHERE order_lines.order_id = $1 AND order_lines.sku = products.sku",
            &[order.id.into()],
        )
        .await;
    session.literal("COMMIT").await;
}

/// Takes a line back, and gives the money for it back.
pub async fn take_back(session: &mut Session, order: &Order, line: &Line) {
    session.literal("BEGIN").await;
    if order.payment == Payment::Account {
        session
            .execute(
                "UPDATE accounts SET balance = balance + \
                 (SELECT quantity * unit_price FROM order_lines WHERE order_id = $1 AND line_no = $2) \
                 WHERE customer_id = $3",
                &[order.id.into(), line.number.into(), order.customer.into()],
            )
            .await;
    }
    session
        .execute("DELETE FROM order_lines WHERE order_id = $1 AND line_no = $2", &[order.id.into(), line.number.into()])
        .await;
    add_up(session, order).await;
    if order.payment == Payment::Card {
        session
            .execute(
                "UPDATE payments SET amount = (SELECT total FROM orders WHERE id = $1) WHERE order_id = $1",
                &[order.id.into()],
            )
            .await;
    }
    session.literal("COMMIT").await;
}

/// Cancels the order, and gives back what was taken from the account.
pub async fn cancel(session: &mut Session, order: &Order) {
    session.literal("BEGIN").await;
    session.execute("UPDATE orders SET status = 'cancelled' WHERE id = $1", &[order.id.into()]).await;
    if order.payment == Payment::Account {
        session
            .execute(
                "UPDATE accounts SET balance = balance + orders.total FROM orders \
                 WHERE orders.id = $1 AND accounts.customer_id = orders.customer_id",
                &[order.id.into()],
            )
            .await;
    }
    session.literal("COMMIT").await;
}

/// Deletes a test order; its lines and payments go with it.
pub async fn delete(session: &mut Session, order: &Order) {
    session.execute("DELETE FROM orders WHERE id = $1", &[order.id.into()]).await;
}

/// Somebody at the back office looks at a price and, where it is not what they think right, sets it. The form is loaded
/// in one transaction and saved in another.
pub async fn correct_by_form(session: &mut Session, order: &Order, line: &Line, believed: Money) {
    if read_price(session, order, line).await == order.right_price(line).to_string() {
        return;
    }
    session.literal("BEGIN").await;
    session
        .execute(
            "UPDATE order_lines SET unit_price = $1 WHERE order_id = $2 AND line_no = $3",
            &[believed.into(), order.id.into(), line.number.into()],
        )
        .await;
    add_up(session, order).await;
    session.literal("COMMIT").await;
}

/// As [`correct_by_form`], but a script that looks and sets in one transaction, with the literals in its SQL.
pub async fn correct_by_script(session: &mut Session, order: &Order, line: &Line, believed: Money) {
    session.literal("BEGIN").await;
    if read_price(session, order, line).await != order.right_price(line).to_string() {
        let (id, number) = (order.id, line.number);
        session
            .literal(&format!(
                "UPDATE order_lines SET unit_price = {believed} WHERE order_id = {id} AND line_no = {number}"
            ))
            .await;
        session
            .literal(&format!(
                "UPDATE orders SET total = (SELECT sum(quantity * unit_price) FROM order_lines \
                 WHERE order_id = {id}) WHERE id = {id}"
            ))
            .await;
    }
    session.literal("COMMIT").await;
}

async fn read_price(session: &Session, order: &Order, line: &Line) -> String {
    let sql = format!("SELECT unit_price FROM order_lines WHERE order_id = {} AND line_no = {}", order.id, line.number);
    session.literal(&sql).await.expect("the line is there").swap_remove(0)
}
