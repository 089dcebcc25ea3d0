//! How many digits after the point PostgreSQL prints of a plain `numeric` that a statement computes.
//!
//! Sums and differences have as many as the operand with the most, products as many as both together, `round(a, n)` has
//! `n` (see "Numeric Types" in PostgreSQL's manual and numeric.c). Quotients and averages depend on their values, and
//! what other tables hold in a plain `numeric` is not known here: of those the digits that were recorded are the guide.

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Query, Select, SelectItem, SetExpr, TableFactor, UnaryOperator, Value as SqlValue,
};

use crate::model::{ColumnName, ColumnType, Row, TableSchema, Value};
use crate::sql::{ConflictAction, Schemas, WriteArm, WriteKind, folded, table_name};

/// The digits of each plain `numeric` column that a write assigns.
#[derive(Debug, Default)]
pub struct DisplayScales {
    assigned: Vec<(ColumnName, Option<Scale>)>,
    on_conflict: Vec<(ColumnName, Option<Scale>)>,
}

/// The digits of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scale {
    Digits(usize),
    /// As many as `$n` was given with.
    Parameter(usize),
    /// As many as the column holds in the row of this place.
    Held(usize, ColumnName),
    Most(Box<Scale>, Box<Scale>),
    Together(Box<Scale>, Box<Scale>),
}

impl Scale {
    fn of_row(&self, parameters: &[Value], rows: &[Option<&Row>]) -> Option<usize> {
        match self {
            Scale::Digits(digits) => Some(*digits),
            Scale::Parameter(number) => Some(parameters.get(number.checked_sub(1)?)?.decimals()),
            Scale::Held(place, column) => Some((*rows.get(*place)?)?.get(column)?.decimals()),
            Scale::Most(one, other) => Some(one.of_row(parameters, rows)?.max(other.of_row(parameters, rows)?)),
            Scale::Together(one, other) => Some(one.of_row(parameters, rows)? + other.of_row(parameters, rows)?),
        }
    }
}

impl DisplayScales {
    /// Those of a write to a table.
    pub fn of(arm: &WriteArm, schema: &TableSchema, schemas: &Schemas) -> DisplayScales {
        let is_plain = |column: &ColumnName| {
            schema.column(column).is_some_and(|column| column.column_type == ColumnType::Numeric(None))
        };
        // The rows that an UPDATE finds come first in its query: the key, then the values.
        let scales = |columns: Vec<ColumnName>, query: &Query, skipped: usize, found: usize| {
            let select = match query.body.as_ref() {
                SetExpr::Select(select) => Some(select),
                _ => None,
            };
            let scope = select.map(|select| Scope { found, ..Scope::of(select, schemas) });
            let scale = |place: usize| {
                let item = select?.projection.get(skipped + place)?;
                scope.as_ref()?.scale(item_value(item)?)
            };
            let columns = columns.into_iter().enumerate().filter(|(_, column)| is_plain(column));
            columns.map(|(place, column)| (column, scale(place))).collect::<Vec<_>>()
        };
        let names = |assigned: &[crate::sql::Assigned]| assigned.iter().map(|one| one.column.clone()).collect();
        let (skipped, found) = if arm.kind == WriteKind::Update { (schema.key.len(), 1) } else { (0, 0) };
        let on_conflict = match &arm.kind {
            WriteKind::Insert { on_conflict: Some(conflict) } => match &conflict.action {
                ConflictAction::Update { assigned, query } => scales(names(assigned), query, 0, 2),
                ConflictAction::Nothing => Vec::new(),
            },
            _ => Vec::new(),
        };
        DisplayScales { assigned: scales(names(&arm.assigned), &arm.query, skipped, found), on_conflict }
    }

    /// Whether the digits of the column are known, for every way in which it is assigned.
    pub fn knows(&self, column: &str) -> bool {
        let mut of_column = self.assigned.iter().chain(&self.on_conflict).filter(|(name, _)| name.as_ref() == column);
        of_column.all(|(_, scale)| scale.is_some())
    }

    /// Prints the values with their digits; `rows` are those that the write finds.
    pub fn print(&self, values: &mut Row, parameters: &[Value], rows: &[Option<&Row>]) {
        print(&self.assigned, values, parameters, rows);
    }

    /// The same of what is assigned when rows conflict: `rows` are the one met and the one proposed.
    pub fn print_on_conflict(&self, values: &mut Row, parameters: &[Value], rows: &[Option<&Row>]) {
        print(&self.on_conflict, values, parameters, rows);
    }
}

fn print(scales: &[(ColumnName, Option<Scale>)], values: &mut Row, parameters: &[Value], rows: &[Option<&Row>]) {
    for (column, scale) in scales {
        let digits = scale.as_ref().and_then(|scale| scale.of_row(parameters, rows));
        if let Some((digits, value)) = digits.zip(values.get(column)) {
            let printed = ColumnType::Numeric(None).with_decimals(value, digits);
            values.set(column.clone(), printed);
        }
    }
}

fn item_value(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } => Some(value),
        _ => None,
    }
}

/// What the names of a SELECT stand for: its tables in order, by the names they go by.
struct Scope<'a> {
    tables: Vec<(String, &'a TableSchema)>,
    /// How many of the first tables stand for rows that are at hand when the values are printed.
    found: usize,
    /// Whether it reads from something else, too.
    is_partial: bool,
    schemas: &'a Schemas,
}

impl<'a> Scope<'a> {
    fn of(select: &Select, schemas: &'a Schemas) -> Scope<'a> {
        let factors = select
            .from
            .iter()
            .flat_map(|item| std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)));
        let mut scope = Scope { tables: Vec::new(), found: 0, is_partial: false, schemas };
        for factor in factors {
            let table = match factor {
                TableFactor::Table { name, alias, .. } => table_name(name).and_then(|table| {
                    let shown = alias.as_ref().map_or_else(|| table.table.to_string(), |alias| folded(&alias.name));
                    Some((shown, schemas.get(&table)?.as_ref()))
                }),
                _ => None,
            };
            scope.is_partial |= table.is_none();
            scope.tables.extend(table);
        }
        scope
    }

    fn scale(&self, expression: &Expr) -> Option<Scale> {
        match expression {
            Expr::Nested(inner) => self.scale(inner),
            Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => self.scale(expr),
            Expr::Value(value) => literal_scale(&value.value),
            Expr::Identifier(name) => self.column_scale(None, &folded(name)),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., qualifier, name] => self.column_scale(Some(&folded(qualifier)), &folded(name)),
                _ => None,
            },
            Expr::BinaryOp { left, op, right } => {
                let (left, right) = (Box::new(self.scale(left)?), Box::new(self.scale(right)?));
                match op {
                    BinaryOperator::Plus | BinaryOperator::Minus | BinaryOperator::Modulo => {
                        Some(Scale::Most(left, right))
                    }
                    BinaryOperator::Multiply => Some(Scale::Together(left, right)),
                    _ => None,
                }
            }
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => match data_type {
                DataType::Numeric(ExactNumberInfo::None) | DataType::Decimal(ExactNumberInfo::None) => self.scale(expr),
                DataType::Numeric(ExactNumberInfo::PrecisionAndScale(_, scale))
                | DataType::Decimal(ExactNumberInfo::PrecisionAndScale(_, scale)) => {
                    usize::try_from(*scale).ok().map(Scale::Digits)
                }
                _ => None,
            },
            Expr::Case { conditions, else_result: Some(otherwise), .. } => {
                let first = self.scale(otherwise)?;
                let same = conditions.iter().all(|when| self.scale(&when.result).as_ref() == Some(&first));
                same.then_some(first)
            }
            Expr::Function(function) => self.function_scale(function),
            Expr::Subquery(query) => match query.body.as_ref() {
                SetExpr::Select(select) => match select.projection.as_slice() {
                    // Its rows are not those that the write finds.
                    [item] => without_rows(Scope::of(select, self.schemas).scale(item_value(item)?)?),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    fn column_scale(&self, qualifier: Option<&str>, name: &str) -> Option<Scale> {
        let mut found = self.tables.iter().enumerate().filter_map(|(place, (shown, schema))| {
            let is_meant = qualifier.is_none_or(|qualifier| qualifier == shown);
            schema.column(name).filter(|_| is_meant).map(|column| (place, column))
        });
        let (place, column) = found.next().filter(|_| qualifier.is_some() || !self.is_partial)?;
        match &column.column_type {
            ColumnType::Numeric(None) => (place < self.found).then(|| Scale::Held(place, column.name.clone())),
            ColumnType::Numeric(Some((_, scale))) => usize::try_from(*scale).ok().map(Scale::Digits),
            integer if integer.is_integer() => Some(Scale::Digits(0)),
            _ => None,
        }
    }

    fn function_scale(&self, function: &Function) -> Option<Scale> {
        let name = function.name.0.last()?.as_ident().map(folded)?;
        let FunctionArguments::List(list) = &function.args else { return None };
        let arguments: Option<Vec<&Expr>> = list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
                _ => None,
            })
            .collect();
        match (name.as_str(), arguments?.as_slice()) {
            ("abs", [one]) => self.scale(one),
            ("sum" | "min" | "max", [one]) => without_rows(self.scale(one)?),
            ("round" | "trunc" | "ceil" | "ceiling" | "floor", [_]) | ("count", _) => Some(Scale::Digits(0)),
            ("round" | "trunc", [_, Expr::Value(digits)]) => match &digits.value {
                SqlValue::Number(digits, _) => digits.parse().ok().map(Scale::Digits),
                _ => None,
            },
            ("coalesce" | "greatest" | "least", [first, rest @ ..]) => {
                let first = self.scale(first)?;
                let same = rest.iter().all(|one| self.scale(one).as_ref() == Some(&first));
                same.then_some(first)
            }
            _ => None,
        }
    }
}

/// The scale, where it does not rest on what single rows hold.
fn without_rows(scale: Scale) -> Option<Scale> {
    match &scale {
        Scale::Digits(_) | Scale::Parameter(_) => Some(scale),
        Scale::Held(..) => None,
        Scale::Most(one, other) | Scale::Together(one, other) => {
            without_rows(one.as_ref().clone()).and_then(|_| without_rows(other.as_ref().clone())).map(|_| scale)
        }
    }
}

fn literal_scale(value: &SqlValue) -> Option<Scale> {
    match value {
        SqlValue::Number(text, _) | SqlValue::SingleQuotedString(text) => {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-');
            plain.then(|| Scale::Digits(Value::text(text.as_str()).decimals()))
        }
        SqlValue::Placeholder(name) => name.strip_prefix('$')?.parse().ok().map(Scale::Parameter),
        _ => None,
    }
}
