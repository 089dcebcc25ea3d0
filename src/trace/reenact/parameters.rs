//! The types of a statement's parameters: PostgreSQL infers them from where they stand; so do we.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, Query, Select, SetExpr, Value as SqlValue, Visit, Visitor};

use crate::model::{ColumnName, ColumnType, TableSchema, Value};
use crate::sql::folded;

/// Digits before and after the point that a decimal parameter's type has room for.
const ROOM: u8 = 30;

/// The type of each parameter that the query uses, by number from 1.
pub fn parameter_types(
    query: &Query,
    tables: &[&TableSchema],
    assigned: &[(ColumnName, ColumnType)],
    values: &[Value],
) -> HashMap<usize, ColumnType> {
    let mut inference = Inference { tables, contexts: HashMap::new() };
    inference.assigned_directly(query, assigned);
    let _ = query.visit(&mut inference);
    let typed = |(place, value): (usize, &Value)| {
        let number = place + 1;
        (number, settled(inference.contexts.get(&number), value))
    };
    values.iter().enumerate().map(typed).collect()
}

/// A decimal parameter has the scale it is written with, whatever column it meets.
fn settled(context: Option<&ColumnType>, value: &Value) -> ColumnType {
    let text = value.as_str().unwrap_or_default();
    let number_shape = || {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        (!whole.is_empty() && all_digits(whole) && all_digits(fraction)).then_some(fraction.len())
    };
    let numeric = |scale: usize| i8::try_from(scale).ok().map(|scale| ColumnType::Numeric(Some((ROOM, scale))));
    match context {
        Some(ColumnType::Numeric(_)) => number_shape().and_then(numeric).unwrap_or(ColumnType::Numeric(None)),
        Some(context) if context.is_integer() => match number_shape() {
            Some(0) | None => context.clone(),
            Some(scale) => numeric(scale).unwrap_or(ColumnType::Numeric(None)),
        },
        Some(context) => context.clone(),
        None => match number_shape() {
            Some(0) if text.parse::<i64>().is_ok() => ColumnType::BigInt,
            Some(scale) if scale > 0 => numeric(scale).unwrap_or(ColumnType::Text),
            _ => ColumnType::Text,
        },
    }
}

struct Inference<'a> {
    tables: &'a [&'a TableSchema],
    contexts: HashMap<usize, ColumnType>,
}

impl Inference<'_> {
    /// A select list item that is nothing but a parameter takes the type of the column it is assigned to.
    fn assigned_directly(&mut self, query: &Query, assigned: &[(ColumnName, ColumnType)]) {
        self.assigned_in(&query.body, assigned);
    }

    fn assigned_in(&mut self, body: &SetExpr, assigned: &[(ColumnName, ColumnType)]) {
        match body {
            SetExpr::Select(select) => self.assigned_items(select, assigned),
            SetExpr::SetOperation { left, right, .. } => {
                self.assigned_in(left, assigned);
                self.assigned_in(right, assigned);
            }
            _ => {}
        }
    }

    fn assigned_items(&mut self, select: &Select, assigned: &[(ColumnName, ColumnType)]) {
        // Key columns may stand before the assigned ones.
        let skipped = select.projection.len().saturating_sub(assigned.len());
        for (item, (_, column_type)) in select.projection.iter().skip(skipped).zip(assigned) {
            if let sqlparser::ast::SelectItem::ExprWithAlias { expr, .. }
            | sqlparser::ast::SelectItem::UnnamedExpr(expr) = item
            {
                self.meets(expr, column_type);
            }
        }
    }

    fn meets(&mut self, expression: &Expr, column_type: &ColumnType) {
        match expression {
            Expr::Nested(inner) => self.meets(inner, column_type),
            // Arithmetic, CASE and COALESCE pass the wanted type on to their operands.
            Expr::BinaryOp { left, op, right } if is_arithmetic(op) => {
                if column_type.is_numeric() {
                    self.meets(left, column_type);
                    self.meets(right, column_type);
                }
            }
            Expr::Case { conditions, else_result, .. } => {
                for condition in conditions {
                    self.meets(&condition.result, column_type);
                }
                if let Some(result) = else_result {
                    self.meets(result, column_type);
                }
            }
            _ => {
                if let Some(number) = parameter_number(expression) {
                    self.contexts.entry(number).or_insert_with(|| column_type.clone());
                }
            }
        }
    }

    fn column_type(&self, expression: &Expr) -> Option<ColumnType> {
        let column = match expression {
            Expr::Identifier(column) => column,
            Expr::CompoundIdentifier(parts) => parts.last()?,
            Expr::Nested(inner) => return self.column_type(inner),
            Expr::BinaryOp { left, op, right } if is_arithmetic(op) => {
                return self.column_type(left).or_else(|| self.column_type(right));
            }
            Expr::Function(_) | Expr::Subquery(_) => return None,
            _ => return None,
        };
        let column = folded(column);
        self.tables.iter().find_map(|table| table.column(&column)).map(|column| column.column_type.clone())
    }

    fn side_by_side(&mut self, one: &Expr, other: &Expr) {
        for (known, met) in [(one, other), (other, one)] {
            if let Some(column_type) = self.column_type(known) {
                self.meets(met, &column_type);
            }
        }
    }
}

impl Visitor for Inference<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            Expr::BinaryOp { left, right, .. } => self.side_by_side(left, right),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => self.side_by_side(left, right),
            Expr::InList { expr, list, .. } => list.iter().for_each(|item| self.side_by_side(expr, item)),
            Expr::Between { expr, low, high, .. } => {
                self.side_by_side(expr, low);
                self.side_by_side(expr, high);
            }
            Expr::Function(function) => {
                let arguments = match &function.args {
                    sqlparser::ast::FunctionArguments::List(list) => list.args.as_slice(),
                    _ => &[],
                };
                let expressions: Vec<&Expr> = arguments
                    .iter()
                    .filter_map(|argument| match argument {
                        sqlparser::ast::FunctionArg::Unnamed(sqlparser::ast::FunctionArgExpr::Expr(inner)) => {
                            Some(inner)
                        }
                        _ => None,
                    })
                    .collect();
                // coalesce, greatest, least, nullif: all arguments have one type.
                let name = function.name.to_string().to_ascii_lowercase();
                if matches!(name.as_str(), "coalesce" | "greatest" | "least" | "nullif") {
                    for pair in expressions.windows(2) {
                        self.side_by_side(pair[0], pair[1]);
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn is_arithmetic(operator: &BinaryOperator) -> bool {
    matches!(
        operator,
        BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
    )
}

fn parameter_number(expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Value(value) => match &value.value {
            SqlValue::Placeholder(name) => name.strip_prefix('$')?.parse().ok(),
            _ => None,
        },
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) => parameter_number(expr),
        // `$1::numeric` has the type it is cast to; its text stands for itself.
        _ => None,
    }
}
