//! The proof: histories run twice on a real PostgreSQL, once with the faulty release and once with it as it should have
//! been. What differs at the end is the truth that a trace and a repair are held against. `make incidents` prints the
//! figures.

mod answers;
mod cells;
mod figures;
#[path = "../postgres/mod.rs"]
mod postgres;
mod prediction;
mod proof;
mod recording;
mod shop;
mod stage;

mod deletes;
mod epinions;
mod in_between;
mod ledger;
mod omission;
mod pipeline;
mod random_history;
mod rankings;
mod releases;
mod reload;
mod scratch_server;
mod seats;
mod sessions;
mod slow_burner;
mod tatp;
mod tenants;
mod three_transactions;
mod time_zones;
mod tpc_b;
mod tpc_c;
mod upserts;

use std::collections::BTreeSet;

use figures::HEADING;
use postgres::Database;
use proof::{Histories, Incident};
use recording::{Recording, World};

struct Shop;

impl Incident for Shop {
    fn name(&self) -> &'static str {
        "shop"
    }

    fn release(&self) -> &'static str {
        "v42"
    }

    /// What the shipped dataset says of its tables, from `[audit]` on.
    fn settings(&self) -> String {
        let text = include_str!("../../datasets/shop/blast-radius.toml");
        let start = text.find("[audit]").expect("the dataset has rules");
        text[start..].to_owned()
    }

    fn files(&self) -> Vec<(&'static str, String)> {
        vec![
            ("rules/prices.yaml", include_str!("../../datasets/shop/rules/prices.yaml").to_owned()),
            ("rules/integrity.yaml", include_str!("../../datasets/shop/rules/integrity.yaml").to_owned()),
            ("faults.yaml", include_str!("../../datasets/shop/faults.yaml").to_owned()),
        ]
    }

    fn external_tables(&self) -> &'static [&'static str] {
        &["public.mails"]
    }

    async fn record(&self, database: &Database<'_>, world: World) -> Recording {
        shop::record(database, world, 42).await
    }
}

/// Every table that v42's prices reach, directly or by what is computed from them.
const SHOP_TABLES_REACHED: [&str; 10] = [
    "public.accounts",
    "public.category_sales",
    "public.customer_ranking",
    "public.customers",
    "public.daily_sales",
    "public.mails",
    "public.order_lines",
    "public.orders",
    "public.payments",
    "public.vouchers",
];

#[tokio::test]
async fn shop_is_traced_repaired_and_undone() {
    let histories = Histories::record(&Shop).await;
    assert!(!histories.truth.is_empty(), "the release broke nothing: there is no incident");
    let reached: BTreeSet<&str> = histories.truth.iter().map(|cell| cell.table.as_str()).collect();
    assert_eq!(reached, BTreeSet::from(SHOP_TABLES_REACHED));
    let existence: BTreeSet<(bool, bool)> = histories.truth.iter().map(|cell| histories.exists(cell)).collect();
    assert_eq!(existence.len(), 3, "of the wrong records some are live, some missing, some extra");

    histories.assert_rules_hold_in_right_world();
    let by_rules = histories.prove("rules", &[]).await;
    let by_faults = histories.prove("faults", &["--faults", "faults.yaml"]).await;
    println!("{HEADING}\n{by_rules}\n{by_faults}");
    by_rules.assert_proof();
    by_faults.assert_proof();
}
