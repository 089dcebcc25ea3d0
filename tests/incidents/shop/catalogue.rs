//! What is there before the recording begins: the goods and the customers.

use tokio_postgres::Client;

use super::money::Money;
use super::random::Random;

const CATEGORIES: [&str; 6] = ["chairs", "desks", "lamps", "rugs", "shelves", "sofas"];
const PRODUCTS: i64 = 60;
/// How many customers there are on the first day.
pub const FIRST_CUSTOMERS: i64 = 400;

/// A product of the shop.
#[derive(Clone, Debug)]
pub struct Product {
    /// Its key.
    pub sku: String,
    /// What one costs without a coupon, from 19.90 to 499.90; a few cost 100.00 sharp.
    pub list_price: Money,
}

/// Creates the tables and their first rows; returns the products.
pub async fn stock(client: &Client, random: &mut Random) -> Vec<Product> {
    client.batch_execute(include_str!("schema.sql")).await.expect("the shop's tables can be created");
    let mut products = Vec::new();
    let mut rows = Vec::new();
    for number in 1..=PRODUCTS {
        let category = *random.pick(&CATEGORIES);
        let whole = i64::try_from(19 + random.below(481)).expect("a price is small");
        let list_price = if number % 12 == 0 { Money::euros(100) } else { Money(whole * 100 + 90) };
        let sku = format!("{}-{number:03}", category[..2].to_uppercase());
        rows.push(format!("('{sku}', 'Model {number}', '{category}', {list_price}, 1000)"));
        products.push(Product { sku, list_price });
    }
    insert(client, "products", &rows).await;
    let customers: Vec<String> =
        (1..=FIRST_CUSTOMERS).map(|id| format!("({id}, 'customer{id}@example.com')")).collect();
    insert(client, "customers (id, email)", &customers).await;
    let accounts: Vec<String> = (1..=FIRST_CUSTOMERS).map(|id| format!("({id}, {}.00)", random.below(500))).collect();
    insert(client, "accounts", &accounts).await;
    products
}

async fn insert(client: &Client, table: &str, rows: &[String]) {
    let sql = format!("INSERT INTO {table} VALUES {}", rows.join(", "));
    client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}
