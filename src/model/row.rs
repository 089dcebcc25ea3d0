//! A row image, and the key of a record.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::Value;

/// A column's name as the catalog spells it (folded or quoted, without the quotes).
pub type ColumnName = Arc<str>;

/// A row image: some or all columns of one version of a record, in the order they came.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Row(Vec<(ColumnName, Value)>);

impl Row {
    /// An image without columns.
    pub fn new() -> Self {
        Row::default()
    }

    /// An image without columns, and with room for so many.
    pub fn with_capacity(columns: usize) -> Self {
        Row(Vec::with_capacity(columns))
    }

    /// The column's value, or `None` where the image does not hold the column (which is not NULL: it is unknown).
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name.as_ref() == column).map(|(_, value)| value)
    }

    /// As [`Row::get`], looking at `position` first: rows of a table mostly hold their columns in its order.
    pub fn get_at(&self, position: usize, column: &str) -> Option<&Value> {
        match self.0.get(position) {
            Some((name, value)) if name.as_ref() == column => Some(value),
            _ => self.get(column),
        }
    }

    /// Appends a column that the image does not hold yet.
    pub fn push(&mut self, column: ColumnName, value: Value) {
        debug_assert!(self.get(&column).is_none(), "column {column} twice in one image");
        self.0.push((column, value));
    }

    /// Sets a column, replacing an earlier value of the same column.
    pub fn set(&mut self, column: ColumnName, value: Value) {
        match self.0.iter_mut().find(|(name, _)| *name == column) {
            Some((_, held)) => *held = value,
            None => self.0.push((column, value)),
        }
    }

    /// Columns and values in the order they came.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&ColumnName, &Value)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// Whether the image holds no column at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// This image with the columns of `newer` laid over it.
    pub fn overlaid(&self, newer: &Row) -> Row {
        let mut row = self.clone();
        for (column, value) in newer.iter() {
            row.set(column.clone(), value.clone());
        }
        row
    }

    /// The key made of `columns`, or `None` where the image lacks one of them.
    pub fn key(&self, columns: &[ColumnName]) -> Option<RecordKey> {
        let cells: Option<Vec<_>> =
            columns.iter().map(|column| Some((column.clone(), self.get(column)?.clone()))).collect();
        cells.map(RecordKey::new)
    }
}

impl FromIterator<(ColumnName, Value)> for Row {
    fn from_iter<I: IntoIterator<Item = (ColumnName, Value)>>(cells: I) -> Self {
        let mut row = Row::new();
        for (column, value) in cells {
            row.set(column, value);
        }
        row
    }
}

/// The key of a record: its key columns in the order the table declares them, with their values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKey(Vec<(ColumnName, Value)>);

/// By the values alone: the keys of a table share their columns, and keys are looked up more often than anything.
impl Hash for RecordKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|(_, value)| value.hash(state));
    }
}

impl RecordKey {
    /// A key of these columns; the caller gives them in the table's key order.
    pub fn new(cells: Vec<(ColumnName, Value)>) -> Self {
        RecordKey(cells)
    }

    /// Columns and values in key order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&ColumnName, &Value)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The value of one key column.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name.as_ref() == column).map(|(_, value)| value)
    }

    /// The key as an image holding just the key columns.
    pub fn to_row(&self) -> Row {
        self.0.iter().cloned().collect()
    }
}

/// `17` for a key of one column, `a=1,b=2` for more: what `explain` reads.
impl fmt::Display for RecordKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(_, value)] = self.0.as_slice() {
            return write!(formatter, "{value}");
        }
        for (position, (column, value)) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(formatter, "{comma}{column}={value}")?;
        }
        Ok(())
    }
}
