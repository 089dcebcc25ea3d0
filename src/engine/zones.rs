//! Moments in a session's time zone: what PostgreSQL computes with the zone's clocks, the engine computes with UTC's.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

use super::zone_functions::{MOMENT, TIME, ZoneFunction, zone_call};
use crate::model::TimeZone;

/// Rewrites what depends on the zone, once the types are settled.
#[derive(Debug)]
pub(super) struct SessionZone {
    pub(super) zone: TimeZone,
    /// Whether it is a statement's that is run again: a text is read as PostgreSQL reads it.
    pub(super) is_statement: bool,
}

impl AnalyzerRule for SessionZone {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        if self.zone.is_utc() && !self.is_statement {
            return Ok(plan);
        }
        plan.transform_up_with_subqueries(|plan| self.rewrite(plan)).data()
    }

    fn name(&self) -> &str {
        "session_zone"
    }
}

/// A `timestamptz`, in whichever unit. Other zones than UTC are the engine's own.
pub(super) fn is_moment(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(zone)) if matches!(zone.as_ref(), "UTC" | "+00:00"))
}

/// The type of a `timestamptz`.
pub(super) fn moment_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The type of a `timestamp`.
pub(super) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn cast(expression: Expr, to: &DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expression), to.clone()))
}

impl SessionZone {
    fn rewrite(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let schema = match &plan {
            LogicalPlan::TableScan(scan) => {
                DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?
            }
            plan => merge_schema(&plan.inputs()),
        };
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let rewritten = expression.transform_up(|expression| self.of_zone(expression, &schema))?;
            Ok(rewritten.update_data(|expression| name.restore(expression)))
        })
    }

    /// Where moments stand beside times or dates, PostgreSQL's common type is a moment, of `nullif` its first argument's;
    /// the engine's may be another.
    fn refuse_other_type(&self, expression: &Expr, schema: &DFSchema) -> Result<()> {
        let is_converted = |value: &Expr, to_moment: Option<bool>| -> Result<bool> {
            let Expr::Cast(Cast { expr, field }) = value else { return Ok(false) };
            let from = match expr.as_ref() {
                Expr::ScalarFunction(call) if call.name() == TIME => true,
                Expr::ScalarFunction(call) if call.name() == MOMENT => false,
                other => is_moment(&other.get_type(schema)?),
            };
            let to = is_moment(field.data_type());
            Ok(from != to && to_moment.is_none_or(|wanted| wanted == to))
        };
        let (values, direction): (Vec<&Expr>, Option<bool>) = match expression {
            Expr::ScalarFunction(call) if call.name() == "nullif" => (call.args.iter().collect(), None),
            Expr::ScalarFunction(call) if matches!(call.name(), "coalesce" | "greatest" | "least") => {
                (call.args.iter().collect(), Some(false))
            }
            Expr::Case(case) => {
                let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
                (results.map(AsRef::as_ref).collect(), Some(false))
            }
            _ => return Ok(()),
        };
        for value in values {
            let is_of_time = |data_type: &DataType| {
                matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
            };
            let Expr::Cast(Cast { expr, field }) = value else { continue };
            if is_of_time(field.data_type()) && is_of_time(&expr.get_type(schema)?) && is_converted(value, direction)? {
                return plan_err!("it has moments beside times or dates, of which PostgreSQL makes another type");
            }
        }
        Ok(())
    }

    fn of_zone(&self, expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        if self.is_statement {
            self.refuse_other_type(&expression, schema)?;
        }
        match expression {
            Expr::Cast(_) => {}
            _ if self.zone.is_utc() => return Ok(Transformed::no(expression)),
            _ => {}
        }
        match expression {
            Expr::Cast(Cast { expr, field }) => {
                let from = expr.get_type(schema)?;
                if self.is_statement && is_text(&from) && matches!(field.data_type(), DataType::Timestamp(_, None)) {
                    let time = zone_call(ZoneFunction::ReadTime, &self.zone, vec![*expr]);
                    return Ok(Transformed::yes(cast(time, field.data_type())));
                }
                match self.converted(expr.as_ref(), &from, field.data_type())? {
                    Some(converted) => Ok(Transformed::yes(converted)),
                    None => Ok(Transformed::no(Expr::Cast(Cast { expr, field }))),
                }
            }
            Expr::BinaryExpr(binary) => {
                let types = [binary.left.get_type(schema)?, binary.right.get_type(schema)?];
                self.moved(binary, &types)
            }
            Expr::ScalarFunction(call) => self.of_clock(call, schema),
            other => Ok(Transformed::no(other)),
        }
    }

    /// A call of one of our functions in this zone.
    fn call(&self, function: ZoneFunction, arguments: Vec<Expr>) -> Result<Expr> {
        if !self.zone.is_known() {
            return plan_err!("it depends on the session's time zone, {}, which is not known here", self.zone);
        }
        Ok(zone_call(function, &self.zone, arguments))
    }

    /// What a cast between a moment and anything else gives.
    fn converted(&self, value: &Expr, from: &DataType, to: &DataType) -> Result<Option<Expr>> {
        if self.zone.is_utc() {
            return Ok(None);
        }
        let value = || vec![value.clone()];
        Ok(match (is_moment(from), is_moment(to)) {
            (true, false) if is_text(to) => Some(cast_where_needed(self.call(ZoneFunction::Print, value())?, to)),
            (true, false)
                if matches!(
                    to,
                    DataType::Date32
                        | DataType::Date64
                        | DataType::Timestamp(_, None)
                        | DataType::Time32(_)
                        | DataType::Time64(_)
                ) =>
            {
                Some(cast(self.call(ZoneFunction::Time, value())?, to))
            }
            (false, true) if is_text(from) => Some(cast(self.call(ZoneFunction::Read, value())?, to)),
            (false, true) if matches!(from, DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, None)) => {
                Some(cast(self.call(ZoneFunction::Moment, value())?, to))
            }
            _ => None,
        })
    }

    /// A moment and an interval: months and days are of the zone's calendar.
    fn moved(&self, binary: BinaryExpr, types: &[DataType; 2]) -> Result<Transformed<Expr>> {
        let is_span = |data_type: &DataType| matches!(data_type, DataType::Interval(_));
        let (function, [moment, span], data_type) = match (binary.op, types) {
            (Operator::Plus, [moment, span]) if is_moment(moment) && is_span(span) => {
                (ZoneFunction::Add, [binary.left, binary.right], moment)
            }
            (Operator::Plus, [span, moment]) if is_moment(moment) && is_span(span) => {
                (ZoneFunction::Add, [binary.right, binary.left], moment)
            }
            (Operator::Minus, [moment, span]) if is_moment(moment) && is_span(span) => {
                (ZoneFunction::Subtract, [binary.left, binary.right], moment)
            }
            _ => return Ok(Transformed::no(Expr::BinaryExpr(binary))),
        };
        let moved = self.call(function, vec![*moment, *span])?;
        Ok(Transformed::yes(cast(moved, data_type)))
    }

    /// Functions that look at a moment's date or time of day.
    fn of_clock(&self, mut call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let [field, moment] = call.args.as_slice() else { return Ok(Transformed::no(Expr::ScalarFunction(call))) };
        if !matches!(call.name(), "date_part" | "date_trunc") {
            return Ok(Transformed::no(Expr::ScalarFunction(call)));
        }
        let data_type = moment.get_type(schema)?;
        if !is_moment(&data_type) {
            return Ok(Transformed::no(Expr::ScalarFunction(call)));
        }
        let field = match field {
            Expr::Literal(ScalarValue::Utf8(Some(field)) | ScalarValue::Utf8View(Some(field)), _) => {
                field.to_ascii_lowercase()
            }
            _ => return plan_err!("it looks for a field of a moment that only the run tells"),
        };
        let moment = moment.clone();
        let time = self.call(ZoneFunction::Time, vec![moment.clone()])?;
        if call.name() == "date_part" {
            if field == "epoch" {
                return Ok(Transformed::no(Expr::ScalarFunction(call)));
            }
            call.args[1] = time;
            return Ok(Transformed::yes(Expr::ScalarFunction(call)));
        }
        call.args[1] = time;
        let cut = Expr::ScalarFunction(call);
        // Within an hour that clocks show twice, it stays the same one.
        let is_within_hour = matches!(
            field.as_str(),
            "hour" | "minute" | "second" | "millisecond" | "milliseconds" | "microsecond" | "microseconds"
        );
        let back = match is_within_hour {
            true => self.call(ZoneFunction::MomentBeside, vec![cut, moment])?,
            false => self.call(ZoneFunction::Moment, vec![cut])?,
        };
        Ok(Transformed::yes(cast(back, &data_type)))
    }
}

fn cast_where_needed(text: Expr, to: &DataType) -> Expr {
    if *to == DataType::Utf8 { text } else { cast(text, to) }
}

/// The plan with the columns that are assigned to a date, a time, a moment or a text as such: which moment a time is, and
/// which date a moment, its zone says. `assigned` are the types of the last columns.
///
/// # Errors
/// Where the engine refuses.
pub fn assigned_in_zone(plan: LogicalPlan, zone: &TimeZone, assigned: &[Option<DataType>]) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let skipped = schema.fields().len().saturating_sub(assigned.len());
    let mut changed = false;
    let mut items = Vec::with_capacity(schema.fields().len());
    for (place, (qualifier, field)) in schema.iter().enumerate() {
        let column = Expr::Column(datafusion::common::Column::new(qualifier.cloned(), field.name()));
        let wanted = place.checked_sub(skipped).and_then(|place| assigned.get(place)).and_then(Option::as_ref);
        let converts = |to: &&DataType| {
            let (from_moment, to_moment) = (is_moment(field.data_type()), is_moment(to));
            from_moment != to_moment && !field.data_type().is_null()
        };
        match wanted.filter(converts) {
            Some(to) if !zone.is_utc() => {
                changed = true;
                items.push(cast(column, to).alias(field.name()));
            }
            _ => items.push(column),
        }
    }
    if !changed {
        return Ok(plan);
    }
    datafusion::logical_expr::LogicalPlanBuilder::from(plan).project(items)?.build()
}
