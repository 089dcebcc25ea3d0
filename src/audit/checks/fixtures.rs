//! A small shop for the tests of the checks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::audit::document::Document;
use crate::audit::mistake::Mistakes;
use crate::audit::names::Schemas;
use crate::audit::rule_set::{RuleSet, read_rules};
use crate::audit::run;
use crate::catalog::Catalog;
use crate::model::{Column, ColumnType, DatabaseSource, TableName, TableSchema, TableSettings};

const ORDERS: &str = "\
id,status,total,sku,paid,placed_at,parent
1,open,10.00,A,t,2026-03-02 10:00:00+00,
2,,20.00,B,f,2026-03-02 10:00:00+00,1
3,bad,,C,,2026-03-02 11:00:00+00,
4,open,5.00,,t,2026-03-02 12:00:00+00,99
";
const PRICES: &str = "sku,amount\nA,9.00\nB,20.00\n";

fn rules_file(check: &str, filter: Option<&str>) -> String {
    let filter = filter.map(|filter| format!("    where: {filter:?}\n")).unwrap_or_default();
    format!("rules:\n  - id: r\n    table: orders\n{filter}    check:\n      {check}\n")
}

/// The ids of the orders in breach of a check.
pub(in crate::audit) async fn violating_ids(check: &str) -> Vec<String> {
    audit(&rules_file(check, None)).await
}

/// The same with a `where`.
pub(in crate::audit) async fn violating_ids_where(check: &str, filter: &str) -> Vec<String> {
    audit(&rules_file(check, Some(filter))).await
}

async fn audit(rules: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("orders.csv"), ORDERS).expect("orders");
    std::fs::write(folder.path().join("prices.csv"), PRICES).expect("prices");
    let rules_path = folder.path().join("rules.yaml");
    std::fs::write(&rules_path, rules).expect("rules");
    let key = |column: &str| TableSettings { key: vec![column.into()], ..TableSettings::default() };
    let settings = BTreeMap::from([
        (TableName::new("public", "orders"), key("id")),
        (TableName::new("public", "prices"), key("sku")),
    ]);
    let source = DatabaseSource::Folder(folder.path().to_owned());
    let catalog = Catalog::open(&source, &settings).await.expect("a catalog");
    let rules = match RuleSet::load(&[rules_path], catalog.schemas()).await {
        Ok(rules) => rules,
        Err(error) => panic!("{error}"),
    };
    let outcome = run(&rules, &catalog).await.expect("an outcome");
    assert_eq!(outcome.rules[0].message, None, "{rules:?}");
    outcome.violations.iter().map(|violation| violation.key.to_string()).collect()
}

/// What is wrong with a check, as it is shown.
pub(in crate::audit) fn mistakes_of(check: &str) -> String {
    let document = Document::parse(Path::new("rules.yaml"), rules_file(check, None)).expect(check);
    let mut mistakes = Mistakes::default();
    let rules = read_rules(&document, &schemas(), &mut mistakes);
    assert!(rules.is_empty(), "{rules:?}");
    mistakes.to_string()
}

/// The shop's tables.
pub(in crate::audit) fn schemas() -> Schemas {
    let column = |name: &str, column_type| Column { name: name.into(), column_type, not_null: false, generated: false };
    let table = |name: &str, key: &str, columns: Vec<Column>| {
        let name = TableName::new("public", name);
        let schema = TableSchema { name: name.clone(), columns, key: vec![key.into()], foreign_keys: Vec::new() };
        (name, Arc::new(schema))
    };
    BTreeMap::from([
        table(
            "orders",
            "id",
            vec![
                column("id", ColumnType::BigInt),
                column("status", ColumnType::Text),
                column("total", ColumnType::Numeric(Some((12, 2)))),
                column("sku", ColumnType::Text),
                column("paid", ColumnType::Boolean),
                column("placed_at", ColumnType::TimestampTz),
                column("parent", ColumnType::BigInt),
            ],
        ),
        table(
            "prices",
            "sku",
            vec![column("sku", ColumnType::Text), column("amount", ColumnType::Numeric(Some((12, 2))))],
        ),
    ])
}
