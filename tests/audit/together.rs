//! What rules find together, in scans that they share, is what each finds alone.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{audit, project};

/// Id, table, `where` and check.
const RULES: [(&str, &str, &str, &str); 16] = [
    (
        "lines-add-up",
        "order_lines",
        "",
        "balance: { sum: 'quantity * price', by: [order_id], \
         equals: 'SELECT o.total FROM public.orders o WHERE o.id = order_lines.order_id' }",
    ),
    ("three-pieces", "order_lines", "", "balance: { sum: quantity, by: [order_id], equals: '3' }"),
    ("priced-twice", "order_lines", "", "balance: { sum: price, by: [order_id], equals: 'sum(quantity) * 2' }"),
    ("by-the-row", "order_lines", "", "balance: { sum: quantity, by: [order_id], equals: 'line_no + 1' }"),
    ("all-pieces", "order_lines", "", "balance: { sum: quantity, equals: '4' }"),
    ("all-prices", "order_lines", "", "balance: { sum: price, equals: '26.99' }"),
    ("later-pieces", "order_lines", "line_no > 1", "balance: { sum: quantity, by: [order_id], equals: '2' }"),
    ("later-prices", "order_lines", "line_no > 1", "balance: { sum: price, by: [order_id], equals: '4' }"),
    ("known-address", "orders", "", "references: { columns: [status], table: customers, key: [email] }"),
    (
        "known-address-of-7",
        "orders",
        "customer_id = 7",
        "references: { columns: [status], table: customers, key: [email] }",
    ),
    ("known-address-later", "orders", "id > 1", "references: { columns: [status], table: customers, key: [email] }"),
    ("some-orders", "orders", "", "volume: { min: 4 }"),
    ("few-orders", "orders", "status <> 'lost'", "volume: { max: 1 }"),
    ("some-by-status", "orders", "", "volume: { min: 2, by: [status] }"),
    ("fresh-by-status", "orders", "", "freshness: { column: placed_at, max_age: 1d, by: [status] }"),
    ("no-line-left-out", "order_lines", "", "sequence: { column: line_no, by: [order_id] }"),
];

fn rules_file(rules: &[(&str, &str, &str, &str)]) -> String {
    let rule = |(id, table, filter, check): &(&str, &str, &str, &str)| {
        let filter = if filter.is_empty() { String::new() } else { format!("    where: \"{filter}\"\n") };
        format!("  - id: {id}\n    table: {table}\n{filter}    check: {{ {check} }}\n")
    };
    format!("rules:\n{}", rules.iter().map(rule).collect::<String>())
}

/// Of each rule, how many rows were checked, its status, its message, and the keys in breach.
fn found(rules: &[(&str, &str, &str, &str)]) -> BTreeMap<String, (Json, Json, Json, Vec<Json>)> {
    let (_, out, err) = audit(project(&rules_file(rules)).path(), &["--format", "json"]);
    let report: Json = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out} {err}"));
    let list = |name: &str| report[name].as_array().expect("a list").clone();
    let of_rule = |rule: &Json| {
        let of_this = list("violations").into_iter().filter(|violation| violation["rule"] == rule["id"]);
        let keys = of_this.map(|violation| violation["key"].clone()).collect();
        (rule["checked"].clone(), rule["status"].clone(), rule["message"].clone(), keys)
    };
    list("rules").iter().map(|rule| (rule["id"].as_str().expect("an id").to_owned(), of_rule(rule))).collect()
}

#[test]
fn rules_find_together_what_each_finds_alone() {
    let together = found(&RULES);
    for rule in RULES {
        let alone = found(&[rule]);
        assert_eq!(together.get(rule.0), alone.get(rule.0), "{}", rule.0);
    }
    let broken: Vec<(&str, usize)> =
        together.iter().map(|(id, (.., keys))| (id.as_str(), keys.len())).filter(|(_, keys)| *keys > 0).collect();
    let expected = [
        ("by-the-row", 2),
        ("few-orders", 1),
        ("fresh-by-status", 3),
        ("known-address", 3),
        ("known-address-later", 2),
        ("known-address-of-7", 1),
        ("later-prices", 1),
        ("lines-add-up", 1),
        ("priced-twice", 3),
        ("some-by-status", 3),
        ("some-orders", 1),
        ("three-pieces", 1),
    ];
    assert_eq!(broken, expected);
    assert!(together.values().all(|(_, status, ..)| status != "error"), "{together:?}");
}
