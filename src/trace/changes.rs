//! What a stretch of the sweep changed: each record as it was before, in both worlds.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::HashMap;

use super::worlds::{Difference, RecordName, differs_in};
use crate::model::{RecordKey, Row, TableName};

/// A record as it was.
#[derive(Clone, Debug)]
pub struct Earlier {
    /// Its row in the actual world.
    pub actual: Option<Arc<Row>>,
    /// Its row in the right world.
    pub right: Option<Arc<Row>>,
    /// What was known of it.
    pub difference: Option<Difference>,
}

impl Earlier {
    /// Whether the worlds differed on it in a column that is read, its values known or not.
    pub fn was_wrong_in(&self, reads: impl Fn(&str) -> bool) -> bool {
        differs_in(self.actual.as_deref(), self.right.as_deref(), self.difference.as_ref(), reads)
    }
}

/// Each record that was changed, as it was before its first change.
#[derive(Debug, Default)]
pub struct Changes(BTreeMap<TableName, HashMap<RecordKey, Earlier>>);

impl Changes {
    /// Whether the record is among them.
    pub fn contains(&self, record: &RecordName) -> bool {
        self.0.get(&record.0).is_some_and(|records| records.contains_key(&record.1))
    }

    /// A record as it was; one that is among them already was changed before.
    pub fn insert(&mut self, record: RecordName, earlier: Earlier) {
        self.0.entry(record.0).or_default().entry(record.1).or_insert(earlier);
    }

    /// Those of a table.
    pub fn of_table(&self, table: &TableName) -> impl Iterator<Item = (&RecordKey, &Earlier)> {
        self.0.get(table).into_iter().flatten()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (RecordName, &Earlier)> {
        let named = |(table, records): (&TableName, _)| (table.clone(), records);
        let of_table = |(table, records): (TableName, _)| {
            let records: &HashMap<RecordKey, Earlier> = records;
            records.iter().map(move |(key, earlier)| ((table.clone(), key.clone()), earlier))
        };
        self.0.iter().map(named).flat_map(of_table)
    }

    /// One record.
    pub fn of_record(&self, table: &TableName, key: &RecordKey) -> Option<(&RecordKey, &Earlier)> {
        self.0.get(table)?.get_key_value(key)
    }
}

impl IntoIterator for Changes {
    type Item = (RecordName, Earlier);
    type IntoIter = Box<dyn Iterator<Item = (RecordName, Earlier)>>;

    fn into_iter(self) -> Self::IntoIter {
        let named = |(table, records): (TableName, HashMap<RecordKey, Earlier>)| {
            records.into_iter().map(move |(key, earlier)| ((table.clone(), key), earlier))
        };
        Box::new(self.0.into_iter().flat_map(named))
    }
}
