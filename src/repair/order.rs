//! The order of tables by their foreign keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{TableName, TableSchema};

/// The rank of each table: a table comes after every table that it refers to; tables on a circle, and tables on one
/// level, by name. The SQL copes with any order; this one saves it from trying twice.
pub(super) fn parents_first(
    tables: &BTreeSet<TableName>,
    schemas: &BTreeMap<TableName, Arc<TableSchema>>,
) -> BTreeMap<TableName, usize> {
    let mut waiting: BTreeMap<&TableName, BTreeSet<&TableName>> = BTreeMap::new();
    for table in tables {
        let parents = schemas.get(table).into_iter().flat_map(|schema| &schema.foreign_keys);
        let parents = parents.map(|key| &key.table).filter(|parent| *parent != table && tables.contains(*parent));
        waiting.insert(table, parents.collect());
    }
    let mut ranks = BTreeMap::new();
    while !waiting.is_empty() {
        let free = waiting.iter().find(|(_, parents)| parents.is_empty()).map(|(table, _)| *table);
        let Some(next) = free.or_else(|| waiting.keys().next().copied()) else { break };
        waiting.remove(next);
        for parents in waiting.values_mut() {
            parents.remove(next);
        }
        ranks.insert(next.clone(), ranks.len());
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ForeignKey, ReferentialAction};

    #[test]
    fn parents_come_first_and_circles_end() {
        let name = |table: &str| TableName::new("public", table);
        let refers = |table: &str, parents: &[&str]| {
            let foreign_keys = parents
                .iter()
                .map(|parent| ForeignKey {
                    columns: vec![],
                    table: name(parent),
                    referenced: vec![],
                    on_delete: ReferentialAction::Refuse,
                    on_update: ReferentialAction::Refuse,
                })
                .collect();
            let schema =
                TableSchema { name: name(table), columns: vec![], key: vec![], foreign_keys, unique_keys: vec![] };
            (name(table), Arc::new(schema))
        };
        let schemas = BTreeMap::from([
            refers("a_line", &["order"]),
            refers("order", &["z_customer", "order"]),
            refers("z_customer", &[]),
            refers("x", &["y"]),
            refers("y", &["x"]),
        ]);
        let ranks = parents_first(&schemas.keys().cloned().collect(), &schemas);
        assert_eq!(ranks.len(), 5);
        assert!(ranks[&name("z_customer")] < ranks[&name("order")]);
        assert!(ranks[&name("order")] < ranks[&name("a_line")]);
    }
}
