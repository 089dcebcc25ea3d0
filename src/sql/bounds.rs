//! What a condition demands of a row: a column that must equal one of some values.

use sqlparser::ast::{ArrayElemTypeDef, BinaryOperator, DataType, Expr, Ident, UnaryOperator, Value as SqlValue};

use crate::model::{ColumnName, ColumnType, Value, has_offset};

/// A column's value must be one of the operands' (NULL never is).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The column.
    pub column: ColumnName,
    /// What it may be equal to.
    pub operands: Vec<Operand>,
}

/// A value that is known once the statement runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A literal, canonical for the column's type.
    Literal(Value),
    /// `$n`, from 1.
    Parameter(usize),
    /// Any element of the array `$n`.
    Elements(usize),
    /// Any value that this column has in the rows of another reference.
    Column {
        /// The reference's place in [`super::Reads::references`].
        reference: usize,
        /// Its column.
        column: ColumnName,
    },
}

/// Every `column = value`, `column IN (…)` and `column = ANY (…)` that must hold for the condition to hold, of row
/// values and of alternatives too; a column-to-column equality is given in both directions.
pub fn equalities(condition: &Expr) -> Vec<(&[Ident], Vec<&Expr>)> {
    let mut found = Vec::new();
    collect(condition, &mut found);
    found
}

fn collect<'a>(condition: &'a Expr, found: &mut Vec<(&'a [Ident], Vec<&'a Expr>)>) {
    match condition {
        Expr::Nested(inner) => collect(inner, found),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            collect(left, found);
            collect(right, found);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => match (left.as_ref(), right.as_ref()) {
            (Expr::Tuple(left), Expr::Tuple(right)) if left.len() == right.len() => {
                for (left, right) in left.iter().zip(right) {
                    equality(left, right, found);
                }
            }
            (left, right) => equality(left, right, found),
        },
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => alternatives(left, right, found),
        Expr::InList { expr, list, negated: false } => match expr.as_ref() {
            Expr::Tuple(columns) => row_values(columns, list, found),
            expr => {
                if let Some(parts) = column_ref(expr) {
                    found.push((parts, list.iter().collect()));
                }
            }
        },
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
            if let Some(parts) = column_ref(left) {
                match right.as_ref() {
                    Expr::Array(array) => found.push((parts, array.elem.iter().collect())),
                    // [`constant`] reads the array off it.
                    _ => found.push((parts, vec![condition])),
                }
            }
        }
        _ => {}
    }
}

/// A column that both sides fix must have a value of one of them.
fn alternatives<'a>(left: &'a Expr, right: &'a Expr, found: &mut Vec<(&'a [Ident], Vec<&'a Expr>)>) {
    let (of_left, of_right) = (equalities(left), equalities(right));
    for (parts, operands) in of_left {
        if let Some((_, others)) = of_right.iter().find(|(other, _)| *other == parts) {
            found.push((parts, operands.into_iter().chain(others.iter().copied()).collect()));
        }
    }
}

/// `(a, b) IN ((1, 2), (3, 4))`: each column must have one of the values in its place.
fn row_values<'a>(columns: &'a [Expr], rows: &'a [Expr], found: &mut Vec<(&'a [Ident], Vec<&'a Expr>)>) {
    for (place, column) in columns.iter().enumerate() {
        let value = |row: &'a Expr| match row {
            Expr::Tuple(values) if values.len() == columns.len() => values.get(place),
            _ => None,
        };
        let values: Option<Vec<&Expr>> = rows.iter().map(value).collect();
        if let (Some(parts), Some(values)) = (column_ref(column), values) {
            found.push((parts, values));
        }
    }
}

fn equality<'a>(left: &'a Expr, right: &'a Expr, found: &mut Vec<(&'a [Ident], Vec<&'a Expr>)>) {
    if let Some(parts) = column_ref(left) {
        found.push((parts, vec![right]));
    }
    if let Some(parts) = column_ref(right) {
        found.push((parts, vec![left]));
    }
}

fn column_ref(expression: &Expr) -> Option<&[Ident]> {
    match expression {
        Expr::Identifier(ident) => Some(std::slice::from_ref(ident)),
        Expr::CompoundIdentifier(parts) => Some(parts),
        Expr::Nested(inner) => column_ref(inner),
        _ => None,
    }
}

/// The name parts of a plain column reference.
pub fn column_parts(expression: &Expr) -> Option<Vec<Ident>> {
    column_ref(expression).map(<[Ident]>::to_vec)
}

/// A literal or parameter as an operand for a column of this type; `None` where its text may differ from the column's
/// although the values are equal.
pub fn constant(expression: &Expr, column_type: &ColumnType) -> Option<Operand> {
    if !has_one_text(column_type) {
        return None;
    }
    match expression {
        Expr::Nested(inner) => constant(inner, column_type),
        // A cast to another kind of type may change the value: '2026-03-02 10:00'::date is midnight.
        Expr::Cast { expr: inner, data_type, .. } if keeps_value(&data_type.to_string(), column_type) => {
            constant(inner, column_type)
        }
        Expr::Value(value) => match &value.value {
            SqlValue::Placeholder(name) => name.strip_prefix('$')?.parse().ok().map(Operand::Parameter),
            value => literal(value, column_type).map(Operand::Literal),
        },
        Expr::AnyOp { compare_op: BinaryOperator::Eq, right, .. } => {
            elements(right, column_type).map(Operand::Elements)
        }
        Expr::TypedString(typed) => literal(&typed.value.value, column_type).map(Operand::Literal),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(value) => match &value.value {
                SqlValue::Number(digits, _) => canonical(&format!("-{digits}"), column_type).map(Operand::Literal),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// The number of the parameter that is the array.
pub fn elements(array: &Expr, column_type: &ColumnType) -> Option<usize> {
    match array {
        Expr::Nested(inner) => elements(inner, column_type),
        Expr::Cast { expr: inner, data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(of, _)), .. }
            if keeps_value(&of.to_string(), column_type) =>
        {
            elements(inner, column_type)
        }
        Expr::Value(value) => match &value.value {
            SqlValue::Placeholder(name) => name.strip_prefix('$')?.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

fn literal(value: &SqlValue, column_type: &ColumnType) -> Option<Value> {
    match value {
        SqlValue::Number(digits, _) => canonical(digits, column_type),
        SqlValue::SingleQuotedString(text)
        | SqlValue::EscapedStringLiteral(text)
        | SqlValue::UnicodeStringLiteral(text) => canonical(text, column_type),
        SqlValue::DollarQuotedString(text) => canonical(&text.value, column_type),
        SqlValue::Boolean(value) => canonical(if *value { "t" } else { "f" }, column_type),
        _ => None,
    }
}

/// A constant text as the column would print it, provided that this loses nothing: `1.005` is not `1.01`.
pub fn canonical(text: &str, column_type: &ColumnType) -> Option<Value> {
    // Whether its offset counts depends on what it is, and on the session's time zone.
    if matches!(column_type, ColumnType::Date | ColumnType::Timestamp) && has_offset(text) {
        return None;
    }
    let value = column_type.canonical(&Value::text(text)).ok()?;
    let exact = match column_type {
        ColumnType::Numeric(Some(_)) => {
            let plain = |text: &str| ColumnType::Numeric(None).canonical(&Value::text(text)).ok();
            let digits = |value: Option<Value>| value.map(|value| trimmed(value.as_str().unwrap_or_default()));
            digits(plain(text)) == digits(Some(value.clone()))
        }
        _ => true,
    };
    exact.then_some(value)
}

fn trimmed(number: &str) -> String {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.').to_owned() } else { number.to_owned() }
}

fn keeps_value(cast_to: &str, column_type: &ColumnType) -> bool {
    let cast_to = cast_to.to_ascii_lowercase();
    match column_type {
        ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt => {
            matches!(cast_to.as_str(), "int" | "integer" | "int4" | "bigint" | "int8" | "smallint" | "int2")
        }
        ColumnType::Text | ColumnType::Varchar(_) => matches!(cast_to.as_str(), "text" | "varchar"),
        other => cast_to == other.to_string(),
    }
}

/// Whether equal values of this type always have the same text.
fn has_one_text(column_type: &ColumnType) -> bool {
    match column_type {
        ColumnType::Numeric(None) | ColumnType::Real | ColumnType::Double => false,
        ColumnType::Other(name) => name == "uuid",
        _ => true,
    }
}

/// Whether equal values of the two types always have the same text.
pub fn same_text(one: &ColumnType, other: &ColumnType) -> bool {
    let is_text = |column_type: &ColumnType| matches!(column_type, ColumnType::Text | ColumnType::Varchar(_));
    has_one_text(one) && (one == other || one.is_integer() && other.is_integer() || is_text(one) && is_text(other))
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    use super::*;

    /// Each bound on an integer column as `column: operands`; an operand that is no constant as `?`.
    fn bounds(condition: &str) -> Vec<String> {
        let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(condition);
        let expression = parser.and_then(|mut parser| parser.parse_expr()).expect("a condition");
        let shown = |operand: &&Expr| match constant(operand, &ColumnType::Integer) {
            Some(Operand::Literal(value)) => value.to_string(),
            Some(Operand::Parameter(number)) => format!("${number}"),
            Some(Operand::Elements(number)) => format!("any ${number}"),
            _ => "?".to_owned(),
        };
        let equality = |(parts, operands): (&[Ident], Vec<&Expr>)| {
            let names: Vec<String> = parts.iter().map(ToString::to_string).collect();
            format!("{}: {}", names.join("."), operands.iter().map(shown).collect::<Vec<_>>().join(" "))
        };
        equalities(&expression).into_iter().map(equality).collect()
    }

    #[test]
    fn what_must_hold_is_read_off_a_condition() {
        for (condition, expected) in [
            ("id = 7 AND b > 1", vec!["id: 7"]),
            ("$1 = t.id", vec!["t.id: $1"]),
            ("id IN (1, $2)", vec!["id: 1 $2"]),
            ("id = ANY($1)", vec!["id: any $1"]),
            ("id = ANY(($1)::int[])", vec!["id: any $1"]),
            ("id = ANY($1::text[])", vec!["id: ?"]),
            ("id = ANY(ARRAY[1, 2])", vec!["id: 1 2"]),
            ("id = ANY('{1,2}')", vec!["id: ?"]),
            ("id > ANY($1)", vec![]),
            ("(a, b) = (1, 2)", vec!["a: 1", "b: 2"]),
            ("(a, b) IN ((1, 2), ($1, 4))", vec!["a: 1 $1", "b: 2 4"]),
            ("(a, b) IN ((1, 2), (3))", vec![]),
            ("id = 1 OR id IN (2, 3)", vec!["id: 1 2 3"]),
            ("(id = 1 AND a = 4) OR (a = 5 AND id = 2)", vec!["id: 1 2", "a: 4 5"]),
            ("id = 1 OR a = 2", vec![]),
            ("NOT (id = 1)", vec![]),
            ("id NOT IN (1)", vec![]),
        ] {
            assert_eq!(bounds(condition), expected, "{condition}");
        }
    }
}
