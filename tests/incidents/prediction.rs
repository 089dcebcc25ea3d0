//! What the tool says of each cell, read from its `--records` file.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cells::{Cell, Snapshot, Table, Text};

/// What the tool expects of a cell that it calls wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It does not know.
    Unknown,
    /// It guesses, or has it from elsewhere than a recomputation.
    Guessed,
    /// It has recomputed this value.
    Exact(Text),
    /// It has found that the whole record should not be there.
    NoRecord,
}

/// A cell that the tool calls wrong now.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// `root`, `derived` or `possible`.
    pub role: String,
    /// What it should hold.
    pub expected: Expected,
}

/// Every cell that is wrong now, as the tool has it; and how many records of each role it lists.
pub struct Predictions {
    /// By cell.
    pub cells: BTreeMap<Cell, Prediction>,
    /// By role, records that healed or went among them.
    pub records: BTreeMap<String, u64>,
}

impl Predictions {
    /// From the lines of a `--records` file; `shape` tells the tables' columns and keys.
    pub fn read(records: &str, shape: &Snapshot) -> Predictions {
        let mut predictions = Predictions { cells: BTreeMap::new(), records: BTreeMap::new() };
        for line in records.lines() {
            let record: Value = serde_json::from_str(line).expect("a records file holds a JSON object a line");
            predictions.add(&record, shape);
        }
        predictions
    }

    fn add(&mut self, record: &Value, shape: &Snapshot) {
        let text = |field: &str| record[field].as_str().unwrap_or_else(|| panic!("{field} is missing: {record}"));
        let (name, role) = (text("table"), text("role"));
        *self.records.entry(role.to_owned()).or_default() += 1;
        let table = shape.0.get(name).unwrap_or_else(|| panic!("there is no such table: {record}"));
        let key = key_of(record, table);
        let listed: BTreeMap<&str, &Value> = record["columns"]
            .as_array()
            .unwrap_or_else(|| panic!("columns are missing: {record}"))
            .iter()
            .map(|column| (column["name"].as_str().expect("a column has a name"), column))
            .collect();
        let whole_row = || table.columns.iter().map(String::as_str).collect();
        let columns: Vec<&str> = match text("state") {
            "live" => listed.keys().copied().collect(),
            "missing" | "extra" => whole_row(),
            "healed" | "gone" => Vec::new(),
            other => panic!("there is no state {other}: {record}"),
        };
        for column in columns {
            let expected = match text("state") {
                "extra" if text("repair") == "delete" => Expected::NoRecord,
                "extra" => Expected::Unknown,
                _ => listed.get(column).map_or(Expected::Unknown, |column| expected_of(column)),
            };
            let cell = Cell { table: name.to_owned(), key: key.clone(), column: column.to_owned() };
            let before = self.cells.insert(cell, Prediction { role: role.to_owned(), expected });
            assert!(before.is_none(), "a record is listed twice: {record}");
        }
    }
}

fn key_of(record: &Value, table: &Table) -> Vec<Text> {
    let key = record["key"].as_object().unwrap_or_else(|| panic!("a record without a key: {record}"));
    let columns = table.key.iter().map(|position| &table.columns[*position]);
    columns.map(|column| text_of(key.get(column).unwrap_or_else(|| panic!("half a key: {record}")))).collect()
}

fn expected_of(column: &Value) -> Expected {
    match (column.get("expected"), &column["exact"]) {
        (None, _) => Expected::Unknown,
        (Some(expected), Value::Bool(true)) => Expected::Exact(text_of(expected)),
        (Some(_), _) => Expected::Guessed,
    }
}

fn text_of(value: &Value) -> Text {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_become_cells_with_what_is_expected_of_them() {
        let table = Table {
            columns: ["order_id", "line_no", "price"].map(str::to_owned).to_vec(),
            key: vec![0, 1],
            references: Vec::new(),
            rows: BTreeMap::new(),
        };
        let shape = Snapshot(BTreeMap::from([("public.lines".to_owned(), table)]));
        let record = |line_no: u64, state: &str, repair: &str, columns: &str| {
            format!(
                r#"{{"table":"public.lines","key":{{"line_no":{line_no},"order_id":7}},"role":"derived",
                "state":"{state}","repair":"{repair}","columns":[{columns}]}}"#
            )
            .replace('\n', "")
        };
        let records = [
            record(1, "live", "update", r#"{"name":"price","current":"1","expected":"2.00","exact":true}"#),
            record(2, "live", "manual", r#"{"name":"price","current":"1","exact":false}"#),
            record(3, "missing", "insert", r#"{"name":"price","current":null,"expected":null,"exact":true}"#),
            record(4, "extra", "delete", ""),
            record(5, "healed", "none", r#"{"name":"price","current":"1","expected":"2","exact":true}"#),
        ];
        let predictions = Predictions::read(&records.join("\n"), &shape);
        let price = |line_no: &str| {
            let key = vec![Some("7".to_owned()), Some(line_no.to_owned())];
            let cell = Cell { table: "public.lines".to_owned(), key, column: "price".to_owned() };
            predictions.cells.get(&cell).map(|prediction| prediction.expected.clone())
        };
        assert_eq!(price("1"), Some(Expected::Exact(Some("2.00".to_owned()))));
        assert_eq!(price("2"), Some(Expected::Unknown));
        assert_eq!(price("3"), Some(Expected::Exact(None)));
        assert_eq!(price("4"), Some(Expected::NoRecord));
        assert_eq!(price("5"), None);
        assert_eq!(predictions.cells.len(), 1 + 1 + 3 + 3, "of a missing or extra record, every cell");
        assert_eq!(predictions.records, BTreeMap::from([("derived".to_owned(), 5)]));
    }
}
