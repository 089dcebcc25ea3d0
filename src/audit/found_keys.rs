//! The keys of the rows in breach of a rule: the first of them held, the others in a file where they are many.

use std::sync::Arc;

use super::key_file::{KeyFile, KeyWriter};
use super::keys::compare_keys;
use crate::model::{RecordKey, TableSchema};

/// How many keys are held, and in which order they are counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding<'a> {
    /// The table that the keys are of.
    pub(super) table: &'a TableSchema,
    /// So many keys of one finding are held, the smallest.
    pub(super) most: usize,
}

/// The keys of one finding.
#[derive(Debug, Default)]
pub(super) struct FoundKeys {
    held: Vec<RecordKey>,
    rest: Option<KeyWriter>,
}

/// The same, complete; shared by all rules that it answers.
#[derive(Clone, Debug, Default)]
pub(super) struct SortedKeys {
    /// The smallest by key, in order.
    pub(super) held: Arc<[RecordKey]>,
    /// The others, where there are any, in no order.
    pub(super) rest: Option<Arc<KeyFile>>,
}

impl FoundKeys {
    /// Adds a key.
    ///
    /// # Errors
    /// A disk that does not take what is too much for memory.
    pub(super) fn push(&mut self, key: RecordKey, holding: Holding<'_>) -> Result<(), String> {
        self.held.push(key);
        if self.held.len() >= holding.most.saturating_mul(2) { self.settle(holding) } else { Ok(()) }
    }

    /// Sorts what is held, and puts into the file what is too much.
    fn settle(&mut self, holding: Holding<'_>) -> Result<(), String> {
        self.held.sort_by(|one, other| compare_keys(holding.table, one, other));
        if self.held.len() <= holding.most {
            return Ok(());
        }
        let refuse =
            |error: std::io::Error| format!("its violations are too many for memory, and for the disk: {error}");
        let mut rest = match self.rest.take() {
            Some(rest) => rest,
            None => KeyWriter::create().map_err(refuse)?,
        };
        for key in self.held.drain(holding.most..) {
            rest.push(&key).map_err(refuse)?;
        }
        self.rest = Some(rest);
        Ok(())
    }

    /// What was found, once all is.
    ///
    /// # Errors
    /// As [`FoundKeys::push`].
    pub(super) fn finish(mut self, holding: Holding<'_>) -> Result<SortedKeys, String> {
        self.settle(holding)?;
        let rest = self.rest.take().map(KeyWriter::finish).transpose();
        let rest =
            rest.map_err(|error| format!("its violations are too many for memory, and for the disk: {error}"))?;
        Ok(SortedKeys { held: self.held.into(), rest: rest.map(Arc::new) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnType, TableName, Value};

    #[test]
    fn the_smallest_keys_are_held_and_none_is_lost() {
        let column = Column { name: "id".into(), column_type: ColumnType::BigInt, not_null: true, generated: false };
        let table = TableSchema {
            name: TableName::new("public", "orders"),
            columns: vec![column],
            key: vec!["id".into()],
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
        };
        let key = |id: u64| RecordKey::new(vec![("id".into(), Value::text(id.to_string()))]);
        let holding = Holding { table: &table, most: 10 };
        let mut found = FoundKeys::default();
        // 37 is no divisor of 1,000: every number comes once, in no order.
        (0..1_000).for_each(|step| found.push(key(step * 37 % 1_000), holding).expect("there is room"));
        let sorted = found.finish(holding).expect("there is room");
        assert_eq!(sorted.held.to_vec(), (0..10).map(key).collect::<Vec<_>>());
        let rest = sorted.rest.expect("there are more");
        let mut numbers: Vec<u64> = Vec::new();
        let each = |key: RecordKey| {
            numbers.push(key.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok()).expect("a number"));
            Ok::<(), std::io::Error>(())
        };
        rest.for_each(each).expect("read");
        numbers.sort_unstable();
        assert_eq!(numbers, (10..1_000).collect::<Vec<_>>());
        let few = FoundKeys { held: vec![key(9), key(10)], rest: None }.finish(holding).expect("there is room");
        assert!(few.rest.is_none() && few.held.len() == 2);
    }
}
