//! A small shop for the tests of the imports.

use std::collections::BTreeMap;

use crate::audit::{AuditError, RuleSet, run};
use crate::catalog::Catalog;
use crate::model::{DatabaseSource, History, TableName, TableSettings};

const ORDERS: &str = "\
id,status,total,sku,placed_at,parent
1,open,10.00,A,2026-03-02 10:00:00+00,
2,,20.00,B,2026-03-02 10:00:00+00,1
3,bad,,C,2026-03-02 11:00:00+00,
4,open,5.00,,2026-03-02 12:00:00+00,99
";
const PRICES: &str = "sku,amount\nA,9.00\nB,20.00\n";

/// What came of a file.
pub(super) struct Imported {
    pub(super) ids: Vec<String>,
    pub(super) notes: String,
}

async fn load(file: &str) -> (Catalog, Result<RuleSet, AuditError>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("orders.csv"), ORDERS).expect("orders");
    std::fs::write(folder.path().join("prices.csv"), PRICES).expect("prices");
    let path = folder.path().join("schema.yml");
    std::fs::write(&path, file).expect("the file");
    let key = |column: &str| TableSettings { key: vec![column.into()], ..TableSettings::default() };
    let settings = BTreeMap::from([
        (TableName::new("public", "orders"), key("id")),
        (TableName::new("public", "prices"), key("sku")),
    ]);
    let source = DatabaseSource::Folder(folder.path().to_owned());
    let catalog = Catalog::open(&source, &settings).await.expect("a catalog");
    let rules = RuleSet::load(&[path], catalog.schemas()).await;
    (catalog, rules, folder)
}

/// Reads a file of another tool's.
pub(super) async fn read(file: &str) -> Imported {
    let (_catalog, rules, _folder) = load(file).await;
    match rules {
        Ok(rules) => Imported {
            ids: rules.rules().iter().map(|rule| rule.id.to_string()).collect(),
            notes: rules.not_understood().to_string(),
        },
        Err(error) => Imported { ids: Vec::new(), notes: error.to_string() },
    }
}

/// How each rule of a file comes out; all of them are understood.
pub(super) async fn statuses(file: &str) -> Vec<&'static str> {
    let (catalog, rules, _folder) = load(file).await;
    let rules = match rules {
        Ok(rules) => rules,
        Err(error) => panic!("{file}\n{error}"),
    };
    assert!(rules.not_understood().is_empty(), "{file}\n{}", rules.not_understood());
    let outcome = run(&rules, &catalog, &History::default()).await.expect("an outcome");
    outcome.rules.iter().map(|rule| rule.status.as_str()).collect()
}

/// The ids of the orders in breach of the rules of a file, all of which are understood.
pub(super) async fn violating_ids(file: &str) -> Vec<String> {
    let (catalog, rules, _folder) = load(file).await;
    let rules = match rules {
        Ok(rules) => rules,
        Err(error) => panic!("{file}\n{error}"),
    };
    assert!(rules.not_understood().is_empty(), "{file}\n{}", rules.not_understood());
    let outcome = run(&rules, &catalog, &History::default()).await.expect("an outcome");
    assert!(outcome.rules.iter().all(|rule| rule.message.is_none()), "{:?}", outcome.rules);
    outcome.violations.iter().map(|violation| violation.key.to_string()).collect()
}
