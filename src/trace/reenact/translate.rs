//! A query from PostgreSQL's SQL to the engine's, with the same meaning; what has no such translation is refused.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, CharacterLength, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, LimitClause, ObjectName, Query, SelectItem, SetExpr, UnaryOperator, Value as SqlValue,
    VisitMut, VisitorMut,
};

use super::Refusal;
use crate::engine::AT_TIME_ZONE;
use crate::model::Value;
use crate::sql::{array_elements, folded, function_call};

/// The engine's function for `$n`.
pub fn parameter_function(prefix: &str, number: usize) -> String {
    format!("{prefix}parameter_{number}")
}

/// The engine's function for the transaction's time.
pub fn time_function(prefix: &str) -> String {
    format!("{prefix}transaction_time")
}

/// Whose SQL a query is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// A statement's: what does not surely mean the same in the engine is refused.
    PostgreSql,
    /// A rule's or a fault's: the engine's own, with everything that the engine has.
    Engine,
}

/// Rewrites the query in place; the parameters that it uses, by number from 1.
///
/// # Errors
/// A function, operator or type that the engine does not evaluate as PostgreSQL does.
pub fn translate(query: &mut Query, language: Language, prefix: &str) -> Result<BTreeSet<usize>, Refusal> {
    let mut translation = Translation { language, prefix, used: BTreeSet::new(), refusal: None };
    query.locks.clear();
    let _ = query.visit(&mut translation);
    match translation.refusal {
        Some(refusal) => Err(refusal),
        None => Ok(translation.used),
    }
}

/// Names apart the items that a query lists twice: PostgreSQL lets them share a name, the engine does not.
pub fn name_apart(query: &mut Query) {
    name_items_apart(&mut query.body);
}

fn without_casts(value: &Expr) -> &Expr {
    match value {
        Expr::Cast { expr: inner, .. } | Expr::Nested(inner) => without_casts(inner),
        value => value,
    }
}

fn name_items_apart(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            let mut seen = BTreeSet::new();
            for (place, item) in select.projection.iter_mut().enumerate() {
                let SelectItem::UnnamedExpr(value) = item else { continue };
                // A cast goes by the name of what it casts.
                if !seen.insert(without_casts(value).to_string()) {
                    let alias = Ident::with_quote('"', format!("{value} again at {place}"));
                    *item = SelectItem::ExprWithAlias { expr: value.clone(), alias };
                }
            }
        }
        SetExpr::Query(query) => name_apart(query),
        SetExpr::SetOperation { left, right, .. } => {
            name_items_apart(left);
            name_items_apart(right);
        }
        _ => {}
    }
}

/// `FETCH FIRST n ROWS ONLY` as `LIMIT n`, which the engine has.
pub fn limit_fetched(query: &mut Query) {
    struct LimitFetched;
    impl VisitorMut for LimitFetched {
        type Break = ();

        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            let Some(fetch) = query.fetch.take_if(|fetch| !fetch.with_ties && !fetch.percent) else {
                return ControlFlow::Continue(());
            };
            let quantity = fetch.quantity.unwrap_or_else(|| Expr::value(SqlValue::Number("1".to_owned(), false)));
            match &mut query.limit_clause {
                Some(LimitClause::LimitOffset { limit, .. }) => *limit = Some(quantity),
                clause => {
                    *clause =
                        Some(LimitClause::LimitOffset { limit: Some(quantity), offset: None, limit_by: Vec::new() });
                }
            }
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut LimitFetched);
}

/// `= ANY (array)` as `IN (…)`, where the array's elements can be told; whether a parameter's value thereby became part
/// of the query, which then holds for that value alone.
pub fn expand_arrays(query: &mut Query, parameters: &[Value]) -> bool {
    let mut expansion = ArrayExpansion { parameters, inlined: false };
    let _ = query.visit(&mut expansion);
    expansion.inlined
}

struct ArrayExpansion<'a> {
    parameters: &'a [Value],
    inlined: bool,
}

/// Scalar, aggregate and window functions whose results agree with PostgreSQL's on the types that the catalog hands
/// the engine. Anything else is refused.
const AGREEING: [&str; 58] = [
    "abs",
    "avg",
    "bool_and",
    "bool_or",
    "btrim",
    "ceil",
    "ceiling",
    "char_length",
    "character_length",
    "chr",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "cume_dist",
    "current_date",
    "current_timestamp",
    "date_part",
    "date_trunc",
    "dense_rank",
    "every",
    "first_value",
    "floor",
    "greatest",
    "initcap",
    "lag",
    "last_value",
    "lead",
    "least",
    "left",
    "length",
    "localtimestamp",
    "lower",
    "lpad",
    "ltrim",
    "max",
    "md5",
    "min",
    "mod",
    "now",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "percent_rank",
    "rank",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "row_number",
    "rpad",
    "rtrim",
    "split_part",
    "strpos",
    "sum",
    "transaction_timestamp",
];
const AGREEING_MORE: [&str; 8] = ["substr", "substring", "starts_with", "trunc", "translate", "trim", "upper", "sign"];

struct Translation<'a> {
    language: Language,
    prefix: &'a str,
    used: BTreeSet<usize>,
    refusal: Option<Refusal>,
}

impl Translation<'_> {
    fn refuse(&mut self, what: impl Into<String>) -> ControlFlow<()> {
        if self.language == Language::Engine {
            return ControlFlow::Continue(());
        }
        self.refusal.get_or_insert(Refusal(format!("uses {}", what.into())));
        ControlFlow::Break(())
    }

    fn function(&mut self, function: &Function) -> Result<Option<Expr>, String> {
        let name = function.name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
        let own = name.starts_with(self.prefix)
            || matches!(name.as_str(), "numeric_divide" | "to_numeric" | "to_whole" | "to_sum" | AT_TIME_ZONE);
        if own {
            return Ok(None);
        }
        if self.language == Language::PostgreSql
            && !AGREEING.contains(&name.as_str())
            && !AGREEING_MORE.contains(&name.as_str())
        {
            return Err(format!("the function {name}, which the built-in evaluator does not run"));
        }
        if self.language == Language::PostgreSql
            && name == "date_part"
            && let Some(Expr::Value(field)) = arguments(function).first()
            && field.clone().into_string().is_some_and(|field| is_below_minutes(&field))
        {
            return Err("the seconds of a moment, which have fractions in PostgreSQL".to_owned());
        }
        let time = || function_call(&time_function(self.prefix), Vec::new());
        Ok(match name.as_str() {
            "now" | "current_timestamp" | "transaction_timestamp" => Some(time()),
            "current_date" => Some(cast(time(), DataType::Date)),
            "localtimestamp" => Some(cast(time(), DataType::Timestamp(None, sqlparser::ast::TimezoneInfo::None))),
            "every" => Some(renamed(function, "bool_and")),
            "ceiling" => Some(renamed(function, "ceil")),
            "sign" => Some(renamed(function, "signum")),
            "mod" => match arguments(function).as_slice() {
                [left, right] => Some(Expr::Nested(Box::new(Expr::BinaryOp {
                    left: Box::new(left.clone()),
                    op: BinaryOperator::Modulo,
                    right: Box::new(right.clone()),
                }))),
                _ => None,
            },
            "avg" => Some(average(function)),
            "sum" if self.language == Language::PostgreSql => Some(Expr::Function(summed(function))),
            // Which digits make no letter is an error to PostgreSQL.
            "chr" if !matches!(arguments(function).as_slice(), [Expr::Value(_)]) => {
                return Err("a letter by a number that is no literal".to_owned());
            }
            "abs" | "ceil" | "floor" | "round" | "trunc" => Some(with_numbers(function)),
            _ => None,
        })
    }
}

impl VisitorMut for Translation<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let replacement = match expression {
            Expr::Value(value) => match &value.value {
                SqlValue::Placeholder(name) => {
                    let Some(number) = name.strip_prefix('$').and_then(|digits| digits.parse().ok()) else {
                        return self.refuse(format!("the parameter {name}"));
                    };
                    self.used.insert(number);
                    function_call(&parameter_function(self.prefix, number), Vec::new())
                }
                _ => return ControlFlow::Continue(()),
            },
            Expr::Function(function) => match self.function(function) {
                Ok(Some(replacement)) => replacement,
                Ok(None) => return ControlFlow::Continue(()),
                Err(what) => return self.refuse(what),
            },
            Expr::BinaryOp { op, .. } if !is_plain(op) => return self.refuse(format!("the operator {op}")),
            Expr::BinaryOp { op, left, right } if matches!((&**left, &**right), (Expr::Tuple(_), Expr::Tuple(_))) => {
                match row_comparison(left, op, right) {
                    Some(comparison) => comparison,
                    None => return self.refuse(format!("a comparison of rows by {op}")),
                }
            }
            Expr::InList { expr, list, negated } if matches!(**expr, Expr::Tuple(_)) => {
                match row_in_list(expr, list, *negated) {
                    Some(comparison) => comparison,
                    None => return self.refuse("a list of rows"),
                }
            }
            Expr::BinaryOp { op, left, right } if is_arithmetic(op) => {
                quoted_number(left);
                quoted_number(right);
                return ControlFlow::Continue(());
            }
            Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus | UnaryOperator::Not, .. } => {
                return ControlFlow::Continue(());
            }
            Expr::UnaryOp { op, .. } => return self.refuse(format!("the operator {op}")),
            Expr::Cast { data_type: DataType::Char(_) | DataType::Character(_), .. } => {
                return self.refuse("a text padded with blanks");
            }
            Expr::AtTimeZone { timestamp, time_zone } => match time_zone.as_ref() {
                Expr::Value(value) if matches!(value.value, SqlValue::SingleQuotedString(_)) => {
                    function_call(AT_TIME_ZONE, vec![timestamp.as_ref().clone(), time_zone.as_ref().clone()])
                }
                _ => return self.refuse("a time zone that is no literal"),
            },
            Expr::Extract { field, .. } if is_below_minutes(&field.to_string()) => {
                return self.refuse(format!("the {field} of a moment"));
            }
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => {
                match cast_meaning(expr, data_type) {
                    Some(replacement) => replacement,
                    None => return ControlFlow::Continue(()),
                }
            }
            Expr::SimilarTo { .. }
            | Expr::RLike { .. }
            | Expr::JsonAccess { .. }
            | Expr::Array(_)
            | Expr::AnyOp { .. }
            | Expr::AllOp { .. } => {
                return self.refuse(format!("the expression {expression}"));
            }
            _ => return ControlFlow::Continue(()),
        };
        *expression = replacement;
        ControlFlow::Continue(())
    }
}

impl ArrayExpansion<'_> {
    fn any_of(&mut self, left: &Expr, right: &Expr) -> Option<Expr> {
        let text = match right {
            Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => return self.any_of(left, inner),
            Expr::Value(value) => match &value.value {
                SqlValue::Placeholder(name) => {
                    let number: usize = name.strip_prefix('$')?.parse().ok()?;
                    self.inlined = true;
                    self.parameters.get(number.checked_sub(1)?)?.as_str()?.to_owned()
                }
                SqlValue::SingleQuotedString(text) => text.clone(),
                _ => return None,
            },
            Expr::Array(array) => {
                return Some(Expr::InList { expr: Box::new(left.clone()), list: array.elem.clone(), negated: false });
            }
            _ => return None,
        };
        let elements = array_elements(&text)?;
        let list = elements
            .into_iter()
            .map(|element| Expr::value(element.map_or(SqlValue::Null, SqlValue::SingleQuotedString)));
        let list: Vec<Expr> = list.collect();
        if list.is_empty() {
            return Some(Expr::value(SqlValue::Boolean(false)));
        }
        Some(Expr::InList { expr: Box::new(left.clone()), list, negated: false })
    }
}

impl VisitorMut for ArrayExpansion<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } = expression {
            let (left, right) = (left.clone(), right.clone());
            if let Some(list) = self.any_of(&left, &right) {
                *expression = list;
            }
        }
        ControlFlow::Continue(())
    }
}

/// Seconds have fractions in PostgreSQL.
fn is_below_minutes(field: &str) -> bool {
    let name = field.to_ascii_lowercase();
    ["second", "millisecond", "microsecond"].iter().any(|unit| name.trim_matches('\'').starts_with(unit))
}

/// `(a, b) = (c, d)` as `a = c AND b = d`.
fn row_comparison(left: &Expr, operator: &BinaryOperator, right: &Expr) -> Option<Expr> {
    let (Expr::Tuple(left), Expr::Tuple(right)) = (left, right) else { return None };
    let joined = match operator {
        BinaryOperator::Eq => BinaryOperator::And,
        BinaryOperator::NotEq => BinaryOperator::Or,
        _ => return None,
    };
    let pairs = left.iter().zip(right).map(|(left, right)| binary(left.clone(), operator.clone(), right.clone()));
    let all = pairs.reduce(|one, other| binary(one, joined.clone(), other));
    (left.len() == right.len()).then_some(all).flatten()
}

fn row_in_list(row: &Expr, list: &[Expr], negated: bool) -> Option<Expr> {
    let equal = |other: &Expr| row_comparison(row, &BinaryOperator::Eq, other);
    let any = list.iter().map(equal).collect::<Option<Vec<_>>>()?;
    let any = any.into_iter().reduce(|one, other| binary(one, BinaryOperator::Or, other))?;
    Some(match negated {
        true => Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(any) })),
        false => any,
    })
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }))
}

fn is_plain(operator: &BinaryOperator) -> bool {
    use BinaryOperator::{And, Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Modulo, Multiply, NotEq, Or, Plus, StringConcat};
    matches!(
        operator,
        And | Divide | Eq | Gt | GtEq | Lt | LtEq | Minus | Modulo | Multiply | NotEq | Or | Plus | StringConcat
    )
}

fn is_arithmetic(operator: &BinaryOperator) -> bool {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus};
    matches!(operator, Divide | Minus | Modulo | Multiply | Plus)
}

/// A quoted number beside an arithmetic operator is of the other operand's type, and so a number.
fn quoted_number(operand: &mut Expr) {
    let Expr::Value(value) = operand else { return };
    let SqlValue::SingleQuotedString(text) = &value.value else { return };
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return;
    }
    let number = Expr::value(SqlValue::Number(unsigned.to_owned(), false));
    *operand = match unsigned.len() == text.len() {
        true => number,
        false => Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number) })),
    };
}

/// PostgreSQL rounds where the engine's casts cut off, and a plain `numeric` keeps every digit.
fn cast_meaning(inner: &Expr, data_type: &DataType) -> Option<Expr> {
    match data_type {
        DataType::Numeric(ExactNumberInfo::None) | DataType::Decimal(ExactNumberInfo::None) => {
            if let Some(size) = literal_size(inner) {
                return Some(cast(inner.clone(), DataType::Decimal(size)));
            }
            Some(function_call("to_numeric", vec![inner.clone()]))
        }
        DataType::Int(None)
        | DataType::Integer(None)
        | DataType::BigInt(None)
        | DataType::SmallInt(None)
        | DataType::Int2(None)
        | DataType::Int4(None)
        | DataType::Int8(None)
            if !is_text_or_whole(inner) =>
        {
            Some(cast(function_call("to_whole", vec![inner.clone()]), data_type.clone()))
        }
        // What is too long is cut off.
        DataType::Varchar(Some(CharacterLength::IntegerLength { length, .. }))
        | DataType::CharacterVarying(Some(CharacterLength::IntegerLength { length, .. })) => {
            let length = Expr::value(SqlValue::Number(length.to_string(), false));
            Some(function_call("left", vec![cast(inner.clone(), DataType::Text), length]))
        }
        _ => None,
    }
}

/// As many digits as a number in the text has: beside a column, it needs no more room.
fn literal_size(expression: &Expr) -> Option<ExactNumberInfo> {
    let text = match expression {
        Expr::Nested(inner) => return literal_size(inner),
        Expr::Value(value) => match &value.value {
            SqlValue::Number(text, _) | SqlValue::SingleQuotedString(text) => text,
            _ => return None,
        },
        _ => return None,
    };
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    const ROOM: usize = 38;
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || whole.len() + fraction.len() > ROOM {
        return None;
    }
    let precision = u64::try_from(whole.len() + fraction.len()).ok()?;
    Some(ExactNumberInfo::PrecisionAndScale(precision, i64::try_from(fraction.len()).ok()?))
}

/// A quoted literal is read as the type says, and a whole number has nothing to round.
fn is_text_or_whole(expression: &Expr) -> bool {
    match expression {
        Expr::Nested(inner) => is_text_or_whole(inner),
        Expr::Value(value) => !matches!(&value.value, SqlValue::Number(text, _) if text.contains(['.', 'e', 'E'])),
        _ => false,
    }
}

/// `avg(x)` as `sum(x) / count(x)`, which is how PostgreSQL rounds it.
fn average(function: &Function) -> Expr {
    function_call("numeric_divide", vec![Expr::Function(summed(function)), nullif_zero(renamed(function, "count"))])
}

/// `sum(x)`, of a `bigint` as a `numeric`.
fn summed(function: &Function) -> Function {
    let mut sum = Function { name: ObjectName::from(vec![Ident::new("sum")]), ..function.clone() };
    for expression in expressions(&mut sum) {
        *expression = function_call("to_sum", vec![expression.clone()]);
    }
    sum
}

/// A function of numbers: a quoted argument is one.
fn with_numbers(function: &Function) -> Expr {
    let mut function = function.clone();
    expressions(&mut function).for_each(quoted_number);
    Expr::Function(function)
}

fn expressions(function: &mut Function) -> impl Iterator<Item = &mut Expr> {
    let list = match &mut function.args {
        FunctionArguments::List(list) => list.args.as_mut_slice(),
        _ => &mut [],
    };
    list.iter_mut().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
        _ => None,
    })
}

fn nullif_zero(count: Expr) -> Expr {
    function_call("nullif", vec![count, Expr::value(SqlValue::Number("0".to_owned(), false))])
}

fn renamed(function: &Function, name: &str) -> Expr {
    Expr::Function(Function { name: ObjectName::from(vec![Ident::new(name)]), ..function.clone() })
}

fn arguments(function: &Function) -> Vec<Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let expression = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression.clone()),
        _ => None,
    };
    list.args.iter().filter_map(expression).collect()
}

fn cast(inner: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(inner), data_type, array: false, format: None }
}
