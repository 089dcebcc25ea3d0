//! Filters of a query, as far as the server may apply them: it may let more rows pass than the engine will, never fewer.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::catalog::{arrow_type, value_from_array};
use crate::engine::postgres::{quoted_identifier, quoted_text};
use crate::model::{Column, ColumnType, TableSchema};

/// The filter as PostgreSQL's SQL; `None` where it might mean something else there.
pub(super) fn as_sql(filter: &Expr, table: &TableSchema) -> Option<String> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            Some(format!("({} AND {})", as_sql(left, table)?, as_sql(right, table)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(format!("({} OR {})", as_sql(left, table)?, as_sql(right, table)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) => compared(table.column(&column.name)?, *op, value),
            (Expr::Literal(value, _), Expr::Column(column)) => compared(table.column(&column.name)?, op.swap()?, value),
            _ => None,
        },
        Expr::IsNull(inner) => Some(format!("{} IS NOT DISTINCT FROM NULL", column_of(inner, table)?)),
        Expr::IsNotNull(inner) => Some(format!("{} IS DISTINCT FROM NULL", column_of(inner, table)?)),
        Expr::InList(InList { expr, list, negated: false }) => {
            let Expr::Column(column) = expr.as_ref() else { return None };
            let column = table.column(&column.name)?;
            let each = list.iter().map(|item| match item {
                Expr::Literal(value, _) => compared(column, Operator::Eq, value),
                _ => None,
            });
            let each: Vec<String> = each.collect::<Option<_>>()?;
            (!each.is_empty()).then(|| format!("({})", each.join(" OR ")))
        }
        _ => None,
    }
}

fn column_of(expression: &Expr, table: &TableSchema) -> Option<String> {
    match expression {
        Expr::Column(column) => Some(quoted_identifier(&table.column(&column.name)?.name)),
        _ => None,
    }
}

fn compared(column: &Column, operator: Operator, value: &ScalarValue) -> Option<String> {
    let name = quoted_identifier(&column.name);
    // Floats are left to the engine (NaN), and so is the order of texts (collations).
    let (is_ordered, name) = match &column.column_type {
        ColumnType::SmallInt
        | ColumnType::Integer
        | ColumnType::BigInt
        | ColumnType::Numeric(_)
        | ColumnType::Date
        | ColumnType::Timestamp
        | ColumnType::TimestampTz => (true, name),
        ColumnType::Boolean | ColumnType::Varchar(_) => (false, name),
        // An enum knows its labels alone, and compares as a text with any other.
        ColumnType::Text => (false, format!("{name}::text")),
        ColumnType::Real | ColumnType::Double | ColumnType::Other(_) => return None,
    };
    let symbol = match operator {
        Operator::Eq => "=",
        Operator::Lt if is_ordered => "<",
        Operator::LtEq if is_ordered => "<=",
        Operator::Gt if is_ordered => ">",
        Operator::GtEq if is_ordered => ">=",
        _ => return None,
    };
    Some(format!("{name} {symbol} {}", literal(&column.column_type, value)?))
}

/// The value as a literal of the column's type; `None` where it is none.
fn literal(column_type: &ColumnType, value: &ScalarValue) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let is_text = matches!(value, ScalarValue::Utf8(_) | ScalarValue::Utf8View(_) | ScalarValue::LargeUtf8(_));
    let is_text_column = matches!(column_type, ColumnType::Text | ColumnType::Varchar(_));
    if is_text != is_text_column {
        return None;
    }
    // A number that the column would round is another one.
    let own_type = match column_type {
        ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt => &ColumnType::BigInt,
        ColumnType::Numeric(_) => &ColumnType::Numeric(None),
        other => other,
    };
    let has_own_type = value.data_type() == arrow_type(column_type);
    if matches!(column_type, ColumnType::Boolean | ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampTz)
        && !has_own_type
    {
        return None;
    }
    let is_integer = matches!(own_type, ColumnType::BigInt);
    if is_integer && !value.data_type().is_integer() {
        return None;
    }
    let array = value.to_array().ok()?;
    let text = value_from_array(&array, 0, own_type).ok()?;
    let text = text.as_str()?;
    match column_type {
        ColumnType::Text | ColumnType::Varchar(_) => Some(quoted_text(text)),
        ColumnType::Numeric(_) => Some(format!("{}::numeric", quoted_text(text))),
        ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt => {
            Some(format!("{}::bigint", quoted_text(text)))
        }
        other => Some(format!("{}::{other}", quoted_text(text))),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;
    use crate::model::TableName;

    fn table() -> TableSchema {
        let types = [
            ("id", ColumnType::Integer),
            ("total", ColumnType::Numeric(Some((10, 2)))),
            ("note", ColumnType::Text),
            ("weight", ColumnType::Double),
            ("odd \"name", ColumnType::Date),
        ];
        let column = |(name, column_type): (&str, ColumnType)| Column {
            name: name.into(),
            column_type,
            not_null: false,
            generated: false,
        };
        TableSchema {
            name: TableName::new("public", "t"),
            columns: types.into_iter().map(column).collect(),
            key: Vec::new(),
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
        }
    }

    #[test]
    fn what_means_the_same_is_asked_of_the_server() {
        let total = ScalarValue::Decimal128(Some(1050), 10, 2);
        let day = ScalarValue::Date32(Some(0));
        let odd = Expr::Column(datafusion::common::Column::from_name("odd \"name"));
        for (filter, sql) in [
            (col("id").eq(lit(7_i32)), Some("\"id\" = '7'::bigint")),
            (lit(7_i32).lt(col("id")), Some("\"id\" > '7'::bigint")),
            (col("total").gt_eq(lit(total)), Some("\"total\" >= '10.50'::numeric")),
            (col("note").eq(lit("it's")), Some("\"note\"::text = 'it''s'")),
            (odd.clone().lt_eq(lit(day)), Some("\"odd \"\"name\" <= '1970-01-01'::date")),
            (odd.is_null(), Some("\"odd \"\"name\" IS NOT DISTINCT FROM NULL")),
            (
                col("id").in_list(vec![lit(1_i32), lit(2_i32)], false).and(col("note").is_not_null()),
                Some("((\"id\" = '1'::bigint OR \"id\" = '2'::bigint) AND \"note\" IS DISTINCT FROM NULL)"),
            ),
            // What only looks alike is not.
            (col("note").gt(lit("a")), None),
            (col("note").not_eq(lit("a")), None),
            (col("weight").gt(lit(1.5)), None),
            (col("id").eq(lit(1.5)), None),
            (col("id").eq(lit("7")), None),
            (col("id").in_list(vec![lit(1_i32)], true), None),
            (col("id").eq(lit(ScalarValue::Int32(None))), None),
            (col("id").eq(col("total")), None),
        ] {
            assert_eq!(as_sql(&filter, &table()).as_deref(), sql, "{filter}");
        }
    }
}
