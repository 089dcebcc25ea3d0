//! Values that an application wrote as literals, and what they would likely have been: a plain copy of a value that the
//! right world would have shown otherwise, or one sum or difference with another value of its transaction.
//!
//! A guess, never exact: nobody knows the code between.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::model::{Statement, Transaction, Value};
use crate::sql;

/// How many values of a transaction are tried as the other operand.
const MOST_OPERANDS: usize = 64;

/// How many cells of its queries' results are followed.
const MOST_CELLS: usize = 256;

/// What a transaction's queries returned in the actual world where the right world would have returned something else.
#[derive(Debug, Default)]
pub(super) struct ValueFlow {
    cells: Vec<(Cell, Cell)>,
}

/// A cell of a query's result; `None` for NULL.
type Cell = Option<String>;

impl ValueFlow {
    /// The cells that differ, row by row: rows belong together by their first column, or where each world has just one.
    pub(super) fn note_read(&mut self, actual: &[RecordBatch], right: &[RecordBatch]) {
        let (actual, right) = (rows(actual), rows(right));
        let pairs: Vec<(&Vec<Cell>, &Vec<Cell>)> = match (actual.as_slice(), right.as_slice()) {
            ([one], [other]) => vec![(one, other)],
            _ => {
                let mut by_first: BTreeMap<&Cell, Vec<&Vec<Cell>>> = BTreeMap::new();
                for row in &right {
                    by_first.entry(&row[0]).or_default().push(row);
                }
                let only = |row: &Vec<Cell>| match by_first.get(&row[0])?.as_slice() {
                    [only] => Some(*only),
                    _ => None,
                };
                actual.iter().filter_map(|row| Some((row, only(row)?))).collect()
            }
        };
        let cells = pairs.into_iter().flat_map(|(one, other)| one.iter().zip(other));
        let differing = cells.filter(|(one, other)| one != other).map(|(one, other)| (one.clone(), other.clone()));
        self.cells.extend(differing.take(MOST_CELLS.saturating_sub(self.cells.len())));
    }

    /// What a value that the statement was given would have been; `None` where several answers fit, or none.
    pub(super) fn likely(&self, written: &Value, transaction: &Transaction, statement: &Statement) -> Option<Value> {
        let written = written.as_str()?;
        let number = Decimal::parse(written);
        let is_written = |text: &String| {
            text == written
                || number.is_some_and(|number| Decimal::parse(text).is_some_and(|other| other.equals(number)))
        };
        // It may have been one of which the right world holds nothing.
        if self.cells.iter().any(|(actual, right)| right.is_none() && actual.as_ref().is_some_and(is_written)) {
            return None;
        }
        let mut answers: Vec<String> = Vec::new();
        let cells = || self.cells.iter().filter_map(|(actual, right)| Some((actual.as_ref()?, right.as_ref()?)));
        answers.extend(cells().filter(|(actual, _)| is_written(actual)).map(|(_, right)| right.clone()));
        if answers.is_empty()
            && let Some(number) = number
        {
            for operand in operands(transaction, statement) {
                for (actual, right) in cells() {
                    let Some((actual, right)) = Decimal::parse(actual).zip(Decimal::parse(right)) else { continue };
                    let computed = [
                        (actual.plus(operand), right.plus(operand)),
                        (actual.minus(operand), right.minus(operand)),
                        (operand.minus(actual), operand.minus(right)),
                    ];
                    let fits = |(actual, right): (Option<Decimal>, Option<Decimal>)| {
                        actual.is_some_and(|actual| actual.equals(number)).then_some(right).flatten()
                    };
                    answers.extend(computed.into_iter().filter_map(fits).map(|right| right.to_string()));
                }
            }
        }
        let first = answers.first()?;
        let same = |other: &String| {
            let numbers = Decimal::parse(other).zip(Decimal::parse(first));
            other == first || numbers.is_some_and(|(one, other)| one.equals(other))
        };
        answers.iter().all(same).then(|| Value::text(first.as_str()))
    }
}

/// The numbers that the transaction's other statements were given; none twice, and not zero, which moves nothing.
fn operands(transaction: &Transaction, statement: &Statement) -> Vec<Decimal> {
    let others = transaction.steps.iter().filter_map(|step| step.statement.as_ref());
    let mut texts = BTreeSet::new();
    for other in others.filter(|other| *other != statement) {
        texts.extend(other.parameters.iter().filter_map(Value::as_str).map(str::to_owned));
        texts.extend(sql::literals(&other.sql));
    }
    let numbers = texts.iter().filter_map(|text| Decimal::parse(text)).filter(|number| number.digits != 0);
    numbers.take(MOST_OPERANDS).collect()
}

fn rows(batches: &[RecordBatch]) -> Vec<Vec<Cell>> {
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches.iter().filter(|batch| batch.num_columns() > 0) {
        let formatters = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).ok());
        let Some(formatters) = formatters.collect::<Option<Vec<ArrayFormatter<'_>>>>() else { continue };
        let cell = |position: usize| {
            move |(column, formatter): (&ArrayRef, &ArrayFormatter<'_>)| {
                column.is_valid(position).then(|| formatter.value(position).to_string())
            }
        };
        let columns = || batch.columns().iter().zip(&formatters);
        rows.extend((0..batch.num_rows()).map(|position| columns().map(cell(position)).collect()));
    }
    rows
}

/// A decimal number of up to 38 digits.
#[derive(Clone, Copy, Debug)]
struct Decimal {
    digits: i128,
    scale: u32,
}

impl Decimal {
    fn parse(text: &str) -> Option<Decimal> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let unsigned = whole.strip_prefix('-').unwrap_or(whole);
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if unsigned.is_empty() || !is_digits(unsigned) || !is_digits(fraction) {
            return None;
        }
        Some(Decimal { digits: format!("{whole}{fraction}").parse().ok()?, scale: u32::try_from(fraction.len()).ok()? })
    }

    /// Both with as many digits after the point as the one with more.
    fn aligned(self, other: Decimal) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        let widened = |one: Decimal| one.digits.checked_mul(10_i128.checked_pow(scale - one.scale)?);
        Some((widened(self)?, widened(other)?, scale))
    }

    fn equals(self, other: Decimal) -> bool {
        self.aligned(other).is_some_and(|(one, other, _)| one == other)
    }

    fn plus(self, other: Decimal) -> Option<Decimal> {
        let (one, other, scale) = self.aligned(other)?;
        Some(Decimal { digits: one.checked_add(other)?, scale })
    }

    fn minus(self, other: Decimal) -> Option<Decimal> {
        self.plus(Decimal { digits: other.digits.checked_neg()?, scale: other.scale })
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let places = usize::try_from(self.scale).unwrap_or_default();
        let digits = format!("{:0>width$}", self.digits.unsigned_abs(), width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let sign = if self.digits < 0 { "-" } else { "" };
        match fraction.is_empty() {
            true => write!(formatter, "{sign}{whole}"),
            false => write!(formatter, "{sign}{whole}.{fraction}"),
        }
    }
}
