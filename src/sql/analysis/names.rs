//! The names of columns that nothing names: PostgreSQL's.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType, Expr, Function, SelectItem, SetExpr, TrimWhereField, Value,
};

use super::scope::spelled;
use crate::model::ColumnName;

/// The name of a column that nothing names.
const UNNAMED: &str = "?column?";

/// A type by the name that the catalog has for it.
pub(super) fn type_name(data_type: &DataType) -> ColumnName {
    let spelled = data_type.to_string().to_ascii_lowercase();
    let base = spelled.split(['(', '[']).next().unwrap_or_default().trim();
    match base {
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "smallint" => "int2",
        "boolean" => "bool",
        "real" => "float4",
        "double precision" | "float" => "float8",
        "decimal" => "numeric",
        "character varying" => "varchar",
        "timestamp with time zone" => "timestamptz",
        "timestamp without time zone" => "timestamp",
        other => other,
    }
    .into()
}

/// The name of an output column without an alias.
pub(super) fn postgres_name(expression: &Expr) -> ColumnName {
    figured(expression).map_or_else(|| UNNAMED.into(), |(name, _)| name)
}

/// The name that an expression suggests, and whether a cast or a CASE around it keeps that one before its own.
fn figured(expression: &Expr) -> Option<(ColumnName, bool)> {
    let strong = |name: &str| Some((ColumnName::from(name), true));
    match expression {
        Expr::Identifier(ident) => strong(&spelled(ident)),
        Expr::CompoundIdentifier(parts) => strong(&parts.last().map(spelled).unwrap_or_default()),
        Expr::QualifiedWildcard(name, _) => strong(&name.0.last().and_then(|part| part.as_ident()).map(spelled)?),
        Expr::Function(Function { name, .. }) => {
            let name = name.0.last().and_then(|part| part.as_ident()).map(spelled).unwrap_or_default();
            // The parser takes `(VALUES (1))` for a function's call.
            strong(if name == "values" { "column1" } else { &name })
        }
        Expr::Cast { expr, data_type, .. } => match figured(expr) {
            Some((name, true)) => Some((name, true)),
            _ => Some((type_name(data_type), false)),
        },
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figured) {
            Some((name, true)) => Some((name, true)),
            _ => Some(("case".into(), false)),
        },
        Expr::Nested(expr) | Expr::Collate { expr, .. } => figured(expr),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let mut fields = access_chain.iter().rev().filter_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(field)) => Some(ColumnName::from(spelled(field))),
                _ => None,
            });
            fields.next().map(|field| (field, true)).or_else(|| figured(root))
        }
        Expr::TypedString(typed) => Some((type_name(&typed.data_type), false)),
        Expr::Interval(_) => Some(("interval".into(), false)),
        Expr::Value(value) => matches!(value.value, Value::Boolean(_)).then(|| ("bool".into(), false)),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first()? {
                SelectItem::UnnamedExpr(expression) => figured(expression),
                SelectItem::ExprWithAlias { alias, .. } => strong(&spelled(alias)),
                _ => None,
            },
            SetExpr::Values(_) => strong("column1"),
            _ => None,
        },
        other => strong(of_construct(other)?),
    }
}

/// What the grammar has a function for.
fn of_construct(expression: &Expr) -> Option<&'static str> {
    Some(match expression {
        Expr::Position { .. } => "position",
        Expr::Overlay { .. } => "overlay",
        Expr::Ceil { .. } => "ceil",
        Expr::Floor { .. } => "floor",
        Expr::AtTimeZone { .. } => "timezone",
        Expr::Tuple(_) => "row",
        Expr::Trim { trim_where: Some(TrimWhereField::Leading), .. } => "ltrim",
        Expr::Trim { trim_where: Some(TrimWhereField::Trailing), .. } => "rtrim",
        Expr::Trim { .. } => "btrim",
        Expr::Array(_) => "array",
        Expr::Exists { negated: false, .. } => "exists",
        Expr::Extract { .. } => "extract",
        Expr::Substring { .. } => "substring",
        Expr::IsNormalized { negated: false, .. } => "is_normalized",
        Expr::BinaryOp { op: BinaryOperator::Overlaps, .. } => "overlaps",
        _ => return None,
    })
}
