//! The shop's neighbours: services of their own that read what the shop wrote.

use super::session::Session;

/// Tells the customer what the order cost: reads the total, and writes a text made of it.
pub async fn mail_about_order(mailer: &Session, order: i64, sent_at: &str) {
    mailer.literal("BEGIN").await;
    let seen = mailer.literal(&format!("SELECT customer_id, total FROM orders WHERE id = {order}")).await;
    let seen = seen.expect("the order is there");
    let (customer, total) = (&seen[0], &seen[1]);
    let body = format!("Your order {order} of {total} EUR is on its way.");
    mailer
        .literal(&format!("INSERT INTO mails (customer_id, body, sent_at) VALUES ({customer}, '{body}', '{sent_at}')"))
        .await;
    mailer.literal("COMMIT").await;
}

/// A point for every ten euros: reads the total, and adds a number that only the service's own code can explain.
pub async fn grant_points(loyalty: &Session, order: i64) {
    loyalty.literal("BEGIN").await;
    let seen = loyalty.literal(&format!("SELECT customer_id, total FROM orders WHERE id = {order}")).await;
    let seen = seen.expect("the order is there");
    let (customer, total) = (&seen[0], &seen[1]);
    let euros: i64 = total.split('.').next().and_then(|euros| euros.parse().ok()).expect("a total is a number");
    loyalty.literal(&format!("UPDATE customers SET points = points + {} WHERE id = {customer}", euros / 10)).await;
    loyalty.literal("COMMIT").await;
}

/// The day's sales, in all and by category.
pub async fn report_sales(reports: &mut Session, day: &str, next_day: &str) {
    reports.literal("BEGIN").await;
    reports
        .execute(
            "INSERT INTO daily_sales (day, orders, revenue) \
             SELECT ordered_at::date, count(*), sum(total) FROM orders \
             WHERE ordered_at >= $1 AND ordered_at < $2 AND status <> 'cancelled' \
             GROUP BY ordered_at::date",
            &[day.into(), next_day.into()],
        )
        .await;
    reports
        .execute(
            "INSERT INTO category_sales (day, category, units, revenue) \
             SELECT o.ordered_at::date, p.category, sum(l.quantity), sum(l.quantity * l.unit_price) \
             FROM orders o JOIN order_lines l ON l.order_id = o.id JOIN products p ON p.sku = l.sku \
             WHERE o.ordered_at >= $1 AND o.ordered_at < $2 AND o.status <> 'cancelled' \
             GROUP BY o.ordered_at::date, p.category",
            &[day.into(), next_day.into()],
        )
        .await;
    reports.literal("COMMIT").await;
}

/// The day's sales once more, after what has been returned and corrected since.
pub async fn revise_sales(reports: &mut Session, day: &str, next_day: &str) {
    reports
        .execute(
            "UPDATE daily_sales SET orders = s.orders, revenue = s.revenue \
             FROM (SELECT ordered_at::date AS day, count(*) AS orders, sum(total) AS revenue FROM orders \
                   WHERE ordered_at >= $1 AND ordered_at < $2 AND status <> 'cancelled' \
                   GROUP BY ordered_at::date) AS s \
             WHERE daily_sales.day = s.day",
            &[day.into(), next_day.into()],
        )
        .await;
}

/// What each customer has spent, and the tier that this makes.
pub async fn rate_customers(reports: &mut Session) {
    reports
        .execute(
            "UPDATE customers SET spent = s.spent, \
                    tier = CASE WHEN s.spent >= 15000 THEN 'gold' WHEN s.spent >= 5000 THEN 'silver' ELSE 'standard' END \
             FROM (SELECT customer_id, sum(total) AS spent FROM orders WHERE status <> 'cancelled' \
                   GROUP BY customer_id) AS s \
             WHERE s.customer_id = customers.id AND customers.spent <> s.spent",
            &[],
        )
        .await;
}

/// The ranking by spending, made anew.
pub async fn rank_customers(reports: &mut Session) {
    reports.literal("BEGIN").await;
    reports.execute("DELETE FROM customer_ranking", &[]).await;
    reports
        .execute(
            "INSERT INTO customer_ranking (customer_id, spent, place) \
             SELECT customer_id, sum(total), rank() OVER (ORDER BY sum(total) DESC, customer_id) \
             FROM orders WHERE status <> 'cancelled' GROUP BY customer_id",
            &[],
        )
        .await;
    reports.literal("COMMIT").await;
}

/// A voucher for the day's orders that nearly came to a thousand: a wrong total grants one, or withholds it.
pub async fn grant_vouchers(reports: &mut Session, day: &str, next_day: &str) {
    reports
        .execute(
            "INSERT INTO vouchers (order_id, customer_id, amount) \
             SELECT id, customer_id, 20.00 FROM orders \
             WHERE total >= 750 AND total < 1000 AND ordered_at >= $1 AND ordered_at < $2 AND status <> 'cancelled'",
            &[day.into(), next_day.into()],
        )
        .await;
}
