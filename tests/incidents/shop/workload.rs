//! The ten days: which release runs when, and what happens on each day.

use super::catalogue::{FIRST_CUSTOMERS, Product};
use super::money::Money;
use super::orders::{self, Line, Order, Payment, Release};
use super::others;
use super::random::Random;
use super::session::Pool;
use crate::postgres::Database;
use crate::recording::World;

const DAYS: usize = 10;
const ORDERS_A_DAY: usize = 320;
const SESSIONS_A_RELEASE: usize = 3;
/// The first release takes orders until its last instance is drained; the others as [`Workload::release_at`] says.
const LAST_DAY_OF_V41: usize = 4;
const RANKING_DAYS: [usize; 3] = [3, 6, 9];
/// The day whose sales are reported once more, and when.
const REVISED_DAY: usize = 5;
const REVISION_DAY: usize = 8;

/// How the transaction that places an order goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// It is committed.
    Placed,
    /// So it is, after one line was refused and rolled back to a savepoint.
    Substituted,
    /// Another session's order is placed and committed while it is open.
    Overtaken,
    /// The customer leaves: an explicit rollback.
    Abandoned,
    /// A line is refused: the commit that follows rolls back.
    Refused,
    /// The connection breaks off.
    Lost,
}

/// The state of the shop as its application knows it.
pub struct Workload<'database> {
    database: &'database Database<'database>,
    world: World,
    random: Random,
    products: Vec<Product>,
    customers: i64,
    orders: Vec<Order>,
    next_order: i64,
    releases: [Pool; 3],
    mailer: Pool,
    loyalty: Pool,
    reports: Pool,
    console: Pool,
}

impl<'database> Workload<'database> {
    /// A shop with its goods and first customers, and no order yet.
    pub fn new(
        database: &'database Database<'database>,
        world: World,
        products: Vec<Product>,
        random: Random,
    ) -> Workload<'database> {
        let release = |application_name| Pool::new(application_name, SESSIONS_A_RELEASE);
        Workload {
            database,
            world,
            random,
            products,
            customers: FIRST_CUSTOMERS,
            orders: Vec::new(),
            next_order: 1,
            releases: [release("shop@v41"), release("shop@v42"), release("shop@v43")],
            mailer: Pool::new("mailer@12", 1),
            loyalty: Pool::new("loyalty@3", 1),
            reports: Pool::new("reports@7", 1),
            console: Pool::new("psql", 1),
        }
    }

    /// All days, one after the other.
    pub async fn run(mut self) {
        for day in 0..DAYS {
            self.register_customers(day).await;
            self.take_orders(day).await;
            self.top_up_accounts(day).await;
            self.ship_orders(day).await;
            self.take_back_and_cancel(day).await;
            if day >= 6 {
                self.correct_prices(day).await;
            }
            self.report(day).await;
            if day == LAST_DAY_OF_V41 {
                self.releases[0].shut_down();
            }
        }
    }

    /// v42 starts as a canary on the fourth day, and takes all orders from the next morning until v43 replaces it.
    fn release_at(&mut self, day: usize, order_of_day: usize) -> Release {
        match (day, order_of_day) {
            (0..=2, _) | (3, 0..=149) => Release::V41,
            (3, _) if !self.random.chance(1, 5) => Release::V41,
            (4, 0..=39) if self.random.chance(1, 2) => Release::V41,
            (3..=5, _) | (6, 0..=199) => Release::V42,
            _ => Release::V43,
        }
    }

    /// The release that does the day's other work, in the evening.
    fn evening_release(day: usize) -> Release {
        match day {
            0..=3 => Release::V41,
            4..=5 => Release::V42,
            _ => Release::V43,
        }
    }

    async fn register_customers(&mut self, day: usize) {
        for _ in 0..4 {
            self.customers += 1;
            let id = self.customers;
            let session = self.releases[Self::evening_release(day) as usize].session(self.database, 0).await;
            session.literal("BEGIN").await;
            let email = format!("customer{id}@example.com");
            session.execute("INSERT INTO customers (id, email) VALUES ($1, $2)", &[id.into(), (&email).into()]).await;
            session.execute("INSERT INTO accounts (customer_id) VALUES ($1)", &[id.into()]).await;
            session.literal("COMMIT").await;
        }
        let taken = format!("customer{}@example.com", 1 + self.random.below(400));
        let session = self.releases[Self::evening_release(day) as usize].session(self.database, 1).await;
        session
            .try_execute("INSERT INTO customers (id, email) VALUES ($1, $2)", &[100_000_i64.into(), (&taken).into()])
            .await
            .expect_err("the address is taken");
    }

    async fn take_orders(&mut self, day: usize) {
        for order_of_day in 0..ORDERS_A_DAY {
            let release = self.release_at(day, order_of_day);
            let order = self.draw_order(day, order_of_day, release);
            let course = match self.random.below(200) {
                0..=3 => Course::Abandoned,
                4..=5 => Course::Refused,
                6 => Course::Lost,
                7..=9 => Course::Substituted,
                10..=19 => Course::Overtaken,
                _ => Course::Placed,
            };
            let session = self.random.below(SESSIONS_A_RELEASE);
            match course {
                Course::Overtaken => {
                    let overtaking = self.draw_order(day, order_of_day, release);
                    self.overtake(&order, session, &overtaking).await;
                    self.orders.extend([order, overtaking]);
                }
                _ => {
                    self.place(&order, session, course).await;
                    if matches!(course, Course::Placed | Course::Substituted) {
                        self.orders.push(order);
                    }
                }
            }
        }
    }

    fn draw_order(&mut self, day: usize, order_of_day: usize, release: Release) -> Order {
        let id = self.next_order;
        self.next_order += 1;
        let mut products: Vec<usize> = Vec::new();
        for _ in 0..=self.random.below(4) {
            let product = self.random.below(self.products.len());
            if !products.contains(&product) {
                products.push(product);
            }
        }
        let lines = products.into_iter().zip(1_i64..).map(|(product, number)| Line {
            number,
            product: self.products[product].clone(),
            quantity: *self.random.pick(&[1, 1, 1, 2, 4]),
            corrected: false,
        });
        let lines = lines.collect();
        let percent_off = if self.random.chance(1, 4) { *self.random.pick(&[5, 10, 15]) } else { 0 };
        let customers = usize::try_from(self.customers).expect("customers are few");
        // Half of the orders come from a quarter of the customers.
        let among = if self.random.chance(1, 2) { customers / 4 } else { customers };
        Order {
            id,
            customer: 1 + i64::try_from(self.random.below(among)).expect("customers are few"),
            day,
            ordered_at: moment(day, 8 * 3600 + order_of_day * 120),
            percent_off,
            payment: if self.random.chance(2, 5) { Payment::Card } else { Payment::Account },
            release,
            lines,
            shipped: false,
            closed: false,
        }
    }

    async fn place(&mut self, order: &Order, number: usize, course: Course) {
        let pool = &mut self.releases[order.release as usize];
        let session = pool.session(self.database, number).await;
        orders::open(session, order, self.world).await;
        if course == Course::Substituted {
            session.literal("SAVEPOINT before_line").await;
            orders::order_unknown_product(session, order).await;
            session.literal("ROLLBACK TO SAVEPOINT before_line").await;
        }
        orders::charge(session, order, self.world).await;
        match course {
            Course::Placed | Course::Substituted | Course::Overtaken => drop(session.literal("COMMIT").await),
            Course::Abandoned => drop(session.literal("ROLLBACK").await),
            Course::Refused => {
                orders::order_unknown_product(session, order).await;
                session.literal("COMMIT").await;
            }
            Course::Lost => pool.lose(number),
        }
    }

    /// `first` begins before `second`, and is committed after it.
    async fn overtake(&mut self, first: &Order, number: usize, second: &Order) {
        let pool = &mut self.releases[first.release as usize];
        orders::open(pool.session(self.database, number).await, first, self.world).await;
        let other = (number + 1) % pool.size();
        self.place(second, other, Course::Placed).await;
        let session = self.releases[first.release as usize].session(self.database, number).await;
        orders::charge(session, first, self.world).await;
        session.literal("COMMIT").await;
    }

    async fn top_up_accounts(&mut self, day: usize) {
        for _ in 0..20 {
            let customer = 1 + i64::try_from(self.random.below(400)).expect("customers are few");
            let amount = Money::euros(*self.random.pick(&[50, 100, 250]));
            let session = self.releases[Self::evening_release(day) as usize].session(self.database, 0).await;
            session
                .execute(
                    "UPDATE accounts SET balance = balance + $1 WHERE customer_id = $2",
                    &[amount.into(), customer.into()],
                )
                .await;
        }
    }

    /// Ships what was ordered the day before; some customers get a mail about it, some get points for it.
    async fn ship_orders(&mut self, day: usize) {
        for position in 0..self.orders.len() {
            let order = &self.orders[position];
            if order.shipped || order.closed || order.day + 1 != day {
                continue;
            }
            let number = self.random.below(SESSIONS_A_RELEASE);
            let session = self.releases[Self::evening_release(day) as usize].session(self.database, number).await;
            orders::ship(session, order, &moment(day, 18 * 3600)).await;
            if self.random.chance(1, 10) {
                let mailer = self.mailer.session(self.database, 0).await;
                others::mail_about_order(mailer, order.id, &moment(day, 19 * 3600)).await;
            }
            if self.random.chance(1, 12) {
                let loyalty = self.loyalty.session(self.database, 0).await;
                others::grant_points(loyalty, order.id).await;
            }
            self.orders[position].shipped = true;
        }
    }

    /// A few orders that are in order, and a few that are wrong, as the two would come.
    async fn take_back_and_cancel(&mut self, day: usize) {
        for wrong in [false, false, true, true] {
            if let Some(position) =
                self.draw(|order| order.shipped && order.lines.len() > 1 && order.has_wrong_line() == wrong)
            {
                let order = &mut self.orders[position];
                let taken_back =
                    order.lines.iter().position(|line| order.is_wrong(line) == wrong).unwrap_or(order.lines.len() - 1);
                let line = order.lines.remove(taken_back);
                let session = self.releases[Self::evening_release(day) as usize].session(self.database, 1).await;
                orders::take_back(session, order, &line).await;
            }
            if let Some(position) = self.draw(|order| order.has_wrong_line() == wrong) {
                self.orders[position].closed = true;
                let session = self.releases[Self::evening_release(day) as usize].session(self.database, 2).await;
                orders::cancel(session, &self.orders[position]).await;
            }
        }
        for wrong in [false, true] {
            if let Some(position) = self.draw(|order| order.payment == Payment::Card && order.has_wrong_line() == wrong)
            {
                self.orders[position].closed = true;
                let session = self.releases[Self::evening_release(day) as usize].session(self.database, 0).await;
                orders::delete(session, &self.orders[position]).await;
            }
        }
        if day == REVISION_DAY {
            self.cancel_at_console().await;
        }
    }

    /// Somebody cancels an order by hand: a write that nothing ties to a release.
    async fn cancel_at_console(&mut self) {
        if let Some(position) = self.draw(|order| order.payment == Payment::Card && order.has_wrong_line()) {
            self.orders[position].closed = true;
            let id = self.orders[position].id;
            let console = self.console.session(self.database, 0).await;
            console.literal(&format!("UPDATE orders SET status = 'cancelled' WHERE id = {id}")).await;
        }
    }

    /// The back office has noticed. Most of its corrections are right; one, with v43's first form, is not.
    async fn correct_prices(&mut self, day: usize) {
        for attempt in 0..10 {
            let Some(position) = self.draw(Order::has_wrong_line) else { return };
            let order = &self.orders[position];
            let number = order.lines.iter().position(|line| order.is_wrong(line)).expect("it has a wrong line");
            let line = &order.lines[number];
            let right = order.right_price(line);
            let session = self.releases[Release::V43 as usize].session(self.database, 2).await;
            match attempt {
                0 if day == 7 => {
                    orders::correct_by_script(session, order, line, Money(right.0 + Money::euros(1).0)).await
                }
                1..=3 => orders::correct_by_script(session, order, line, right).await,
                _ => orders::correct_by_form(session, order, line, right).await,
            }
            self.orders[position].lines[number].corrected = true;
        }
    }

    async fn report(&mut self, day: usize) {
        let reports = self.reports.session(self.database, 0).await;
        others::report_sales(reports, &moment(day, 0), &moment(day + 1, 0)).await;
        if day == REVISION_DAY {
            others::revise_sales(reports, &moment(REVISED_DAY, 0), &moment(REVISED_DAY + 1, 0)).await;
        }
        others::rate_customers(reports).await;
        if RANKING_DAYS.contains(&day) {
            others::rank_customers(reports).await;
        }
        others::grant_vouchers(reports, &moment(day, 0), &moment(day + 1, 0)).await;
    }

    /// One of the orders that are still alive and like this, where there is any.
    fn draw(&mut self, wanted: impl Fn(&Order) -> bool) -> Option<usize> {
        let candidates: Vec<usize> =
            (0..self.orders.len()).filter(|&at| !self.orders[at].closed && wanted(&self.orders[at])).collect();
        (!candidates.is_empty()).then(|| *self.random.pick(&candidates))
    }
}

/// The first day is the second of March 2026.
fn moment(day: usize, seconds: usize) -> String {
    format!("2026-03-{:02} {:02}:{:02}:{:02}+00", day + 2, seconds / 3600, seconds / 60 % 60, seconds % 60)
}
