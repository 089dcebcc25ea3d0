//! What a query has answered before: rules and faults are asked about the very same values again and again.

use std::sync::{Arc, Mutex, PoisonError};

use ahash::HashMap;
use arrow::array::RecordBatch;

use crate::model::{Column, Row, TableSchema, Value};

/// What is asked about more rows than these is seldom asked again.
const MOST_ROWS: usize = 32;

/// So many answers are kept.
const MOST_ANSWERS: usize = 1024;

/// The rows of each reference, in the columns that the query reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    rows: Vec<usize>,
    values: Vec<Value>,
}

impl Asked {
    /// `None` where it is not worth remembering: a reference is read whole, or holds many rows.
    pub(super) fn about(rows: &[Option<Vec<Arc<Row>>>], shapes: &[Arc<TableSchema>]) -> Option<Asked> {
        let rows: Vec<&Vec<Arc<Row>>> = rows.iter().map(Option::as_ref).collect::<Option<_>>()?;
        let counts: Vec<usize> = rows.iter().map(|rows| rows.len()).collect();
        if counts.iter().sum::<usize>() > MOST_ROWS {
            return None;
        }
        let mut values = Vec::new();
        for (rows, shape) in rows.into_iter().zip(shapes) {
            for row in rows {
                let value = |(place, column): (usize, &Column)| row.get_at(place, &column.name).cloned();
                values.extend(shape.columns.iter().enumerate().map(|column| value(column).unwrap_or(Value::NULL)));
            }
        }
        Some(Asked { rows: counts, values })
    }
}

/// The answers of one query whose rows are all that they depend on.
#[derive(Default)]
pub(super) struct Answers(Mutex<HashMap<Asked, Vec<RecordBatch>>>);

impl Answers {
    pub(super) fn of(&self, asked: &Asked) -> Option<Vec<RecordBatch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(asked).cloned()
    }

    pub(super) fn keep(&self, asked: Asked, answer: &[RecordBatch]) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST_ANSWERS {
            answers.clear();
        }
        answers.insert(asked, answer.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ColumnType, TableName};

    fn shape() -> Arc<TableSchema> {
        let column = Column { name: "a".into(), column_type: ColumnType::Integer, not_null: false, generated: false };
        Arc::new(TableSchema {
            name: TableName::new("public", "t"),
            columns: vec![column],
            key: vec!["a".into()],
            foreign_keys: vec![],
            unique_keys: vec![],
        })
    }

    fn asked(rows: &[&[&str]]) -> Option<Asked> {
        let row = |value: &&str| {
            let beside = ("b".into(), Value::text(format!("beside {value}")));
            Arc::new([("a".into(), Value::text(*value)), beside].into_iter().collect::<Row>())
        };
        let rows: Vec<_> = rows.iter().map(|rows| Some(rows.iter().map(row).collect())).collect();
        Asked::about(&rows, &[shape(), shape()])
    }

    #[test]
    fn the_same_is_asked_where_each_reference_holds_the_same_values() {
        assert_eq!(asked(&[&["1"], &["2"]]), asked(&[&["1"], &["2"]]));
        for other in [[["1", "2"].as_slice(), &[]], [&[], &["1", "2"]], [&["2"], &["1"]], [&["1"], &["3"]]] {
            assert_ne!(asked(&[&["1"], &["2"]]), asked(&other), "{other:?}");
        }
    }

    #[test]
    fn what_is_read_whole_or_in_many_rows_is_not_remembered() {
        assert_eq!(Asked::about(&[None, Some(vec![])], &[shape(), shape()]), None);
        assert_eq!(asked(&[&["1"; MOST_ROWS], &["1"]]), None);
        assert!(asked(&[&["1"; MOST_ROWS], &[]]).is_some());
    }

    #[test]
    fn an_answer_is_kept_until_there_are_too_many() {
        let answers = Answers::default();
        let first = asked(&[&["0"], &[]]).expect("few rows");
        answers.keep(first.clone(), &[]);
        assert_eq!(answers.of(&first), Some(vec![]));
        for number in 1..=MOST_ANSWERS {
            answers.keep(asked(&[&[number.to_string().as_str()], &[]]).expect("few rows"), &[]);
        }
        assert_eq!(answers.of(&first), None);
    }
}
