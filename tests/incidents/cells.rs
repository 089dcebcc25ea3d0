//! The oracle: what a database holds, cell by cell, read without any of the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::postgres::Database;

/// A cell's text as PostgreSQL prints it; `None` is NULL.
pub type Text = Option<String>;

/// What a table holds.
pub struct Table {
    /// Its columns in order.
    pub columns: Vec<String>,
    /// The positions of its key columns; empty where it has no primary key.
    pub key: Vec<usize>,
    /// What its rows refer to: the positions of their columns, and the table whose primary key these hold.
    pub references: Vec<(Vec<usize>, String)>,
    /// Its rows by key. Without a primary key a row is its own key, with a number to tell equal rows apart.
    pub rows: BTreeMap<Vec<Text>, Vec<Text>>,
}

/// What the tables of `public` hold, by `schema.table`.
pub struct Snapshot(pub BTreeMap<String, Table>);

/// One cell of one record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// `schema.table`.
    pub table: String,
    /// The record's key.
    pub key: Vec<Text>,
    /// The column.
    pub column: String,
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<&str> = self.key.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
        write!(formatter, "{}[{}].{}", self.table, key.join(","), self.column)
    }
}

impl Snapshot {
    /// Reads every table of the schema `public`.
    pub async fn take(database: &Database<'_>) -> Snapshot {
        let client = database.client("oracle").await;
        client.batch_execute("SET TimeZone = 'UTC'").await.expect("PostgreSQL knows UTC");
        let shapes = client
            .query(
                "SELECT relname::text, array_agg(attname::text ORDER BY attnum), \
                        coalesce((SELECT string_to_array(indkey::text, ' ')::int[] FROM pg_index \
                                  WHERE indrelid = pg_class.oid AND indisprimary), '{}') \
                 FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid \
                 WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition \
                       AND attnum > 0 AND NOT attisdropped \
                 GROUP BY pg_class.oid, relname",
                &[],
            )
            .await
            .expect("the catalog can be read");
        let mut tables = BTreeMap::new();
        for shape in shapes {
            let (name, columns): (String, Vec<String>) = (shape.get(0), shape.get(1));
            let key: Vec<usize> = shape.get::<_, Vec<i32>>(2).iter().map(|number| *number as usize - 1).collect();
            let select: Vec<String> = columns.iter().map(|column| format!("\"{column}\"")).collect();
            let sql = format!("SELECT {} FROM public.\"{name}\"", select.join(", "));
            let messages = client.simple_query(&sql).await.expect("the table can be read");
            let references = references(&client, &name).await;
            let mut table = Table { columns, key, references, rows: BTreeMap::new() };
            for message in &messages {
                if let SimpleQueryMessage::Row(row) = message {
                    table.add((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect());
                }
            }
            tables.insert(format!("public.{name}"), table);
        }
        Snapshot(tables)
    }

    /// The records that the row of this cell refers to, each as one of its cells.
    pub fn referred(&self, cell: &Cell) -> Vec<Cell> {
        let Some((table, row)) = self.0.get(&cell.table).and_then(|table| Some((table, table.rows.get(&cell.key)?)))
        else {
            return Vec::new();
        };
        let referred = |(columns, name): &(Vec<usize>, String)| {
            let key: Vec<Text> = columns.iter().map(|position| row[*position].clone()).collect();
            let column = self.0.get(name)?.columns.first()?.clone();
            key.iter().all(Option::is_some).then(|| Cell { table: name.clone(), key, column })
        };
        table.references.iter().filter_map(referred).collect()
    }

    /// Each table as CSV, NULL being an empty field without quotes.
    pub fn as_csv(&self) -> impl Iterator<Item = (&str, String)> {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        self.0.iter().map(move |(name, table)| {
            let header = table.columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(",");
            let line = |row: &Vec<Text>| {
                row.iter().map(|value| value.as_deref().map_or_else(String::new, quoted)).collect::<Vec<_>>().join(",")
            };
            let lines = std::iter::once(header).chain(table.rows.values().map(line));
            (name.as_str(), lines.collect::<Vec<_>>().join("\n"))
        })
    }

    /// The cells on which two states differ, NULL being equal to NULL: of a row that only one of them has, all.
    pub fn differences(&self, other: &Snapshot) -> BTreeSet<Cell> {
        let mut cells = BTreeSet::new();
        for (name, table) in &self.0 {
            let others = &other.0[name];
            assert_eq!(table.columns, others.columns, "{name} has other columns");
            for key in table.rows.keys().chain(others.rows.keys()) {
                let (ours, theirs) = (table.rows.get(key), others.rows.get(key));
                for (position, column) in table.columns.iter().enumerate() {
                    if ours.map(|row| &row[position]) != theirs.map(|row| &row[position]) {
                        cells.insert(Cell { table: name.clone(), key: key.clone(), column: column.clone() });
                    }
                }
            }
        }
        cells
    }

    /// What the cell holds; `None` where there is no such record.
    pub fn get(&self, cell: &Cell) -> Option<&Text> {
        let table = self.0.get(&cell.table)?;
        let position = table.columns.iter().position(|column| *column == cell.column)?;
        table.rows.get(&cell.key).map(|row| &row[position])
    }
}

/// The foreign keys of a table that refer to primary keys, in the order of these keys' columns.
async fn references(client: &Client, table: &str) -> Vec<(Vec<usize>, String)> {
    let rows = client
        .query(
            "SELECT (SELECT array_agg(held::int ORDER BY array_position(i.indkey::int2[], referred)) \
                     FROM unnest(f.conkey, f.confkey) AS pair (held, referred)), \
                    c.relname::text \
             FROM pg_constraint f JOIN pg_class c ON c.oid = f.confrelid \
                  JOIN pg_index i ON i.indexrelid = f.conindid AND i.indisprimary \
             WHERE f.contype = 'f' AND f.conrelid = format('public.%I', $1::text)::regclass",
            &[&table],
        )
        .await
        .expect("the foreign keys can be read");
    let positions = |held: Vec<i32>| held.iter().map(|number| *number as usize - 1).collect();
    rows.iter().map(|row| (positions(row.get(0)), format!("public.{}", row.get::<_, String>(1)))).collect()
}

impl Table {
    fn add(&mut self, row: Vec<Text>) {
        let mut key: Vec<Text> = self.key.iter().map(|position| row[*position].clone()).collect();
        if self.key.is_empty() {
            key.clone_from(&row);
            let numbered = |number: usize| row.iter().cloned().chain([Some(number.to_string())]).collect::<Vec<Text>>();
            key = (1..).map(numbered).find(|key| !self.rows.contains_key(key)).expect("numbers do not end");
        }
        assert!(self.rows.insert(key, row).is_none(), "a primary key is unique");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(rows: &[[Text; 2]], key: &[usize]) -> Snapshot {
        let columns = vec!["id".to_owned(), "total".to_owned()];
        let mut table = Table { columns, key: key.to_vec(), references: Vec::new(), rows: BTreeMap::new() };
        rows.iter().for_each(|row| table.add(row.to_vec()));
        Snapshot(BTreeMap::from([("public.t".to_owned(), table)]))
    }

    fn row(id: &str, total: Option<&str>) -> [Text; 2] {
        [Some(id.to_owned()), total.map(str::to_owned)]
    }

    fn differing(one: &Snapshot, other: &Snapshot) -> Vec<String> {
        one.differences(other).iter().map(Cell::to_string).collect()
    }

    #[test]
    fn a_cell_differs_from_another_value_from_null_and_from_no_record() {
        let one = state(&[row("1", Some("1.0")), row("2", None), row("3", None), row("4", None)], &[0]);
        let other = state(&[row("1", Some("1.00")), row("2", None), row("3", Some("")), row("5", None)], &[0]);
        let expected = ["[1].total", "[3].total", "[4].id", "[4].total", "[5].id", "[5].total"];
        assert_eq!(differing(&one, &other), expected.map(|cell| format!("public.t{cell}")));
        assert_eq!(differing(&one, &one), [""; 0]);
    }

    #[test]
    fn equal_rows_without_a_key_are_counted() {
        let twice = state(&[row("1", None), row("1", None)], &[]);
        let once = state(&[row("1", None)], &[]);
        assert_eq!(differing(&twice, &once), ["public.t[1,NULL,2].id", "public.t[1,NULL,2].total"]);
    }
}
