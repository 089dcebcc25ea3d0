//! A shop whose database computes nearly everything itself: triggers, PL/pgSQL, a procedure, extensions, a collation,
//! regular expressions, generated columns. A scratch server runs what the built-in evaluator refuses.

use crate::figures::HEADING;
use crate::postgres::Database;
use crate::proof::Histories;
use crate::recording::Telling;
use crate::stage::{Scenario, Stage, Staged, decimal};

const PRODUCTS: usize = 24;
const CUSTOMERS: usize = 9;
const ORDERS: usize = 120;

struct Workshop;

impl Scenario for Workshop {
    fn name(&self) -> &'static str {
        "scratch server"
    }

    fn schema(&self) -> String {
        "CREATE EXTENSION pgcrypto;
         CREATE EXTENSION unaccent;
         CREATE EXTENSION pg_trgm;
         CREATE TYPE tier AS ENUM ('small', 'middle', 'large');
         CREATE DOMAIN money_amount AS numeric(12,2) CHECK (VALUE >= 0);
         CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL, slug text, price numeric(10,2) NOT NULL, mark text,
             price_class text GENERATED ALWAYS AS (CASE WHEN price::text ~ '^[0-9]{1,2}[.]' THEN 'cheap' ELSE 'dear' END) STORED);
         CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, spent money_amount NOT NULL DEFAULT 0, tier tier);
         CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id int NOT NULL REFERENCES customers,
             product_id int NOT NULL REFERENCES products, quantity int NOT NULL, total money_amount, label text);
         CREATE TABLE movements (id serial PRIMARY KEY, customer_id int NOT NULL, amount numeric(12,2) NOT NULL, balance numeric(14,2));
         CREATE TABLE directory (place bigint PRIMARY KEY, product text, price numeric(10,2), near text);
         CREATE TABLE reports (day date PRIMARY KEY, urgent bigint, takings numeric(14,2), busiest text);
         CREATE TABLE discounts (customer_id int PRIMARY KEY REFERENCES customers ON DELETE CASCADE, percent int NOT NULL);

         CREATE FUNCTION slugged(name text) RETURNS text LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
             SELECT trim(BOTH '-' FROM regexp_replace(lower(unaccent(name)), '[^a-z0-9]+', '-', 'g'))
         $$;
         CREATE FUNCTION tier_of(spent numeric) RETURNS public.tier LANGUAGE plpgsql IMMUTABLE AS $$
         BEGIN
             IF spent > 20000 THEN RETURN 'large'; ELSIF spent > 8000 THEN RETURN 'middle'; END IF;
             RETURN 'small';
         END $$;
         CREATE FUNCTION mark_product() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             NEW.slug := slugged(NEW.name);
             NEW.mark := encode(digest(NEW.slug || ' ' || NEW.price, 'sha256'), 'hex');
             RETURN NEW;
         END $$;
         CREATE TRIGGER mark BEFORE INSERT OR UPDATE ON products FOR EACH ROW EXECUTE FUNCTION mark_product();
         CREATE FUNCTION price_order() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE
             product public.products;
             percent int;
         BEGIN
             SELECT * INTO STRICT product FROM public.products WHERE id = NEW.product_id;
             SELECT d.percent INTO percent FROM discounts d WHERE d.customer_id = NEW.customer_id;
             NEW.total := round(product.price * NEW.quantity * (100 - coalesce(percent, 0)) / 100, 2);
             NEW.label := format('%s x %s', NEW.quantity, product.slug);
             RETURN NEW;
         END $$;
         CREATE TRIGGER price BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION price_order();
         CREATE FUNCTION book_order() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE
             now_spent numeric;
         BEGIN
             UPDATE customers SET spent = spent + NEW.total WHERE id = NEW.customer_id RETURNING spent INTO now_spent;
             UPDATE customers SET tier = tier_of(now_spent) WHERE id = NEW.customer_id AND tier IS DISTINCT FROM tier_of(now_spent);
             INSERT INTO movements (customer_id, amount, balance) VALUES (NEW.customer_id, NEW.total, now_spent);
             RETURN NULL;
         END $$;
         CREATE TRIGGER book AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION book_order();
         CREATE PROCEDURE settle(customer int, paid numeric) LANGUAGE plpgsql AS $$
         DECLARE
             rest numeric;
         BEGIN
             SELECT spent - paid INTO rest FROM customers WHERE id = customer;
             IF rest < 0 THEN rest := 0; END IF;
             UPDATE customers SET spent = rest WHERE id = customer;
             IF rest > 5000 THEN
                 INSERT INTO discounts VALUES (customer, 5) ON CONFLICT (customer_id) DO UPDATE SET percent = discounts.percent + 1;
             END IF;
         END $$;
         CREATE FUNCTION give(customer int) RETURNS numeric LANGUAGE plpgsql AS $$
         DECLARE
             gift public.orders;
         BEGIN
             INSERT INTO public.orders (customer_id, product_id, quantity)
             SELECT customer, id, 1 FROM public.products WHERE name ~ '^[CÖ]' ORDER BY price, id LIMIT 1
             RETURNING * INTO gift;
             RETURN gift.total;
         END $$;"
            .to_owned()
    }

    fn faults(&self) -> String {
        "release: v42
faults:
  - table: public.products
    where: price > 1000
    set: { price: price / 100 }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        const NAMES: [&str; 6] = ["Schrank", "Öllampe", "Über-Tisch", "ärmel 3", "Zange", "Café Set"];
        for id in 1..=CUSTOMERS {
            let insert = "INSERT INTO customers (id, name, tier) VALUES ($1, $2, 'small')";
            stage.execute("shop@v41", insert, &[id.into(), format!("Customer {id}").into()]).await;
        }
        for id in 1..=PRODUCTS {
            let price = i64::try_from(500 + stage.random.below(60_000)).expect("few");
            let name = format!("{} {id}", NAMES[id % NAMES.len()]);
            let insert = "INSERT INTO products (id, name, price) VALUES ($1, $2, $3)";
            stage.execute("shop@v41", insert, &[id.into(), name.into(), decimal(price).into()]).await;
        }
        for number in 0..ORDERS {
            if number % 8 == 0 {
                let release = if (40..80).contains(&number) { "shop@v42" } else { "shop@v41" };
                let product = 1 + stage.random.below(PRODUCTS);
                let price = i64::try_from(1_100 + stage.random.below(60_000)).expect("few");
                let is_wrong = release == "shop@v42" && stage.is_faulty();
                let written = if is_wrong { price * 100 } else { price };
                let update = "UPDATE products SET price = $1 WHERE id = $2";
                stage.execute(release, update, &[decimal(written).into(), product.into()]).await;
            }
            let (customer, product) = (1 + stage.random.below(CUSTOMERS), 1 + stage.random.below(PRODUCTS));
            let quantity = 1 + stage.random.below(4);
            let insert = "INSERT INTO orders (customer_id, product_id, quantity) VALUES ($1, $2, $3)";
            stage.execute("shop@v41", insert, &[customer.into(), product.into(), quantity.into()]).await;
            if number % 15 == 14 {
                let paid = decimal(i64::try_from(20_000 + stage.random.below(200_000)).expect("few"));
                stage.execute("shop@v41", "CALL settle($1, $2)", &[customer.into(), paid.into()]).await;
            }
            if number % 11 == 10 {
                stage.query("shop@v41", "SELECT give($1)", &[customer.into()]).await;
            }
            if number % 40 == 39 {
                self.report(stage, 1 + number / 40).await;
            }
        }
    }
}

impl Workshop {
    async fn report(&self, stage: &mut Stage<'_>, day: usize) {
        let day = format!("2026-03-{day:02}");
        for (statement, has_day) in [
            ("DELETE FROM directory", false),
            (
                "INSERT INTO directory
                 SELECT row_number() OVER (ORDER BY p.price, p.name COLLATE \"de-x-icu\"), p.name, p.price,
                        (SELECT n.name FROM products n WHERE n.id <> p.id AND n.price <= p.price
                         ORDER BY similarity(n.name, p.name) DESC, n.id LIMIT 1)
                 FROM products p",
                false,
            ),
            (
                "INSERT INTO reports
                 SELECT $1::date, count(*) FILTER (WHERE label ~ '^[34] x .*(lampe|tisch)'), sum(total),
                        (SELECT string_agg(name, ', ' ORDER BY spent DESC) FROM customers WHERE tier >= 'middle')
                 FROM orders",
                true,
            ),
        ] {
            let parameters = [(&day).into()];
            stage.execute("reports@1", statement, if has_day { &parameters } else { &[] }).await;
        }
    }
}

#[tokio::test]
async fn what_the_database_computes_is_traced_repaired_and_undone_on_a_scratch_server() {
    println!("{HEADING}");
    for (telling, way) in [(Telling::Log, "scratch"), (Telling::Events, "scratch, no log")] {
        let incident = Staged::new(&Workshop, telling, 42);
        let histories = Histories::record(&incident).await;
        let scratch = Database::create("scratch").await;
        let before = schemas_of(&scratch).await;
        let url = scratch.url();
        let figures = histories.prove(way, &["--faults", "faults.yaml", "--reenact-on", &url]).await;
        println!("{figures}");
        figures.limits.iter().for_each(|limit| println!("    {limit}"));
        figures.assert_proof();
        assert_eq!(figures.expected_right, figures.true_cells, "every right value is known");
        assert_eq!(figures.remaining, 0, "everything is repaired");
        assert_eq!(schemas_of(&scratch).await, before, "nothing is left there");

        let alone = histories.prove("built-in", &["--faults", "faults.yaml"]).await;
        println!("{alone}");
        let failures = alone.unsound();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        assert!(alone.expected_right < alone.true_cells, "there is something that only a scratch server can tell");
        let hint = |limit: &String| limit.contains("--reenact-on");
        assert!(alone.limits.iter().any(hint), "nothing tells of a scratch server: {:?}", alone.limits);
        assert!(!figures.limits.iter().any(hint), "{:?}", figures.limits);
    }
}

/// What stands in the database.
async fn schemas_of(database: &Database<'_>) -> Vec<String> {
    let client = database.client("oracle").await;
    let sql = "SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^pg_' UNION ALL SELECT oid::regclass::text FROM pg_class
               WHERE relnamespace = 'public'::regnamespace UNION ALL SELECT rolname::text FROM pg_roles ORDER BY 1";
    let rows = client.query(sql, &[]).await.expect("the catalogs can be read");
    rows.iter().map(|row| row.get(0)).collect()
}
