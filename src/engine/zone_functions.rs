//! What a time zone's clocks say of moments: functions for the engine.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use super::zones::{is_moment, moment_type, time_type};
use crate::model::{TimeZone, text_from_micros, time_of_text, without_offset};

/// The name of `at_time_zone(value, 'zone')`, which is PostgreSQL's `value AT TIME ZONE 'zone'`.
pub const AT_TIME_ZONE: &str = "at_time_zone";

/// The name of what takes a moment for a time there.
pub(super) const TIME: &str = "time_in_zone";

/// The name of what takes a time there for a moment.
pub(super) const MOMENT: &str = "moment_in_zone";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ZoneFunction {
    /// A moment as a time there.
    Time,
    /// A date or a time there as a moment.
    Moment,
    /// A time there as a moment, by the clock that another moment was read from.
    MomentBeside,
    /// A text as a moment.
    Read,
    /// A text as a time: an offset in it counts for nothing.
    ReadTime,
    /// A moment as PostgreSQL prints it.
    Print,
    /// A moment and an interval.
    Add,
    Subtract,
}

pub(super) fn zone_call(function: ZoneFunction, zone: &TimeZone, arguments: Vec<Expr>) -> Expr {
    let signature = Signature::any(arguments.len(), Volatility::Immutable);
    let function = ScalarUDF::from(OfZone { function, zone: zone.clone(), signature });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), arguments))
}

/// Registers `at_time_zone`.
pub(super) fn register(context: &SessionContext) {
    context.register_udf(ScalarUDF::from(AtTimeZone(Signature::user_defined(Volatility::Immutable))));
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfZone {
    function: ZoneFunction,
    zone: TimeZone,
    signature: Signature,
}

impl OfZone {
    fn unknown(&self, micros: i64) -> datafusion::error::DataFusionError {
        exec_datafusion_err!("what the time zone {} shows at {} is not known", self.zone, text_from_micros(micros, ""))
    }

    fn each(
        &self,
        array: &ArrayRef,
        from: &DataType,
        to: &DataType,
        convert: impl Fn(i64) -> Option<i64>,
    ) -> Result<ArrayRef> {
        let micros = arrow::compute::cast(array, from)?;
        let micros = micros.as_primitive::<TimestampMicrosecondType>();
        let converted =
            micros.try_unary::<_, TimestampMicrosecondType, _>(|one| convert(one).ok_or_else(|| self.unknown(one)))?;
        Ok(Arc::new(converted.with_data_type(to.clone())))
    }

    fn beside(&self, times: &ArrayRef, moments: &ArrayRef) -> Result<ArrayRef> {
        let times = arrow::compute::cast(times, &time_type())?;
        let moments = arrow::compute::cast(moments, &moment_type())?;
        let pairs = times
            .as_primitive::<TimestampMicrosecondType>()
            .iter()
            .zip(moments.as_primitive::<TimestampMicrosecondType>());
        let one = |(time, moment): (Option<i64>, Option<i64>)| {
            let Some((time, moment)) = time.zip(moment) else { return Ok(None) };
            let moved = self.zone.ahead_at(moment).and_then(|ahead| time.checked_sub(ahead));
            moved.map(Some).ok_or_else(|| self.unknown(moment))
        };
        moments_of(pairs.map(one))
    }

    fn moved(&self, moments: &ArrayRef, spans: &ArrayRef) -> Result<ArrayRef> {
        let moments = arrow::compute::cast(moments, &moment_type())?;
        let spans = arrow::compute::cast(spans, &DataType::Interval(IntervalUnit::MonthDayNano))?;
        let pairs = moments
            .as_primitive::<TimestampMicrosecondType>()
            .iter()
            .zip(spans.as_primitive::<IntervalMonthDayNanoType>());
        let one = |(moment, span): (Option<i64>, Option<IntervalMonthDayNano>)| {
            let Some((moment, span)) = moment.zip(span) else { return Ok(None) };
            let sign = if self.function == ZoneFunction::Subtract { -1 } else { 1 };
            later(&self.zone, moment, span, sign).map(Some).ok_or_else(|| self.unknown(moment))
        };
        moments_of(pairs.map(one))
    }

    fn printed(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let moments = arrow::compute::cast(array, &moment_type())?;
        let mut builder = StringBuilder::new();
        for moment in moments.as_primitive::<TimestampMicrosecondType>() {
            let print = |moment: i64| {
                let offset = self.zone.offset_text(moment)?;
                Some(text_from_micros(self.zone.time_at(moment)?, &offset))
            };
            let text = moment.map(|moment| print(moment).ok_or_else(|| self.unknown(moment)));
            builder.append_option(text.transpose()?);
        }
        Ok(Arc::new(builder.finish()))
    }

    fn read(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let texts = arrow::compute::cast(array, &DataType::Utf8)?;
        let one = |text: Option<&str>| {
            let moment = |text: &str| {
                let moment = self.zone.moment_of_text(text);
                moment.ok_or_else(|| exec_datafusion_err!("'{text}' is no moment in {} as far as known", self.zone))
            };
            text.map(moment).transpose()
        };
        moments_of(texts.as_string::<i32>().iter().map(one))
    }
}

fn times_of(array: &ArrayRef) -> Result<ArrayRef> {
    let texts = arrow::compute::cast(array, &DataType::Utf8)?;
    let time = |text: &str| {
        let time = time_of_text(without_offset(text));
        time.ok_or_else(|| exec_datafusion_err!("'{text}' is no time as far as known"))
    };
    let times = texts.as_string::<i32>().iter().map(|text| text.map(time).transpose());
    let times: TimestampMicrosecondArray = times.collect::<Result<Vec<_>>>()?.into();
    Ok(Arc::new(times.with_data_type(time_type())))
}

fn moments_of(moments: impl Iterator<Item = Result<Option<i64>>>) -> Result<ArrayRef> {
    let moments: TimestampMicrosecondArray = moments.collect::<Result<Vec<_>>>()?.into();
    Ok(Arc::new(moments.with_data_type(moment_type())))
}

/// The moment so many months, days and microseconds later, as PostgreSQL counts: each by the clocks of the zone, but for
/// the last.
fn later(zone: &TimeZone, moment: i64, span: IntervalMonthDayNano, sign: i32) -> Option<i64> {
    const NANOS: i64 = 1_000;
    let mut moment = moment;
    if moment == i64::MAX || moment == i64::MIN {
        return Some(moment);
    }
    let shown = |moment: i64| {
        let time = jiff::Timestamp::from_microsecond(zone.time_at(moment)?).ok()?;
        Some(jiff::tz::Offset::UTC.to_datetime(time))
    };
    let back =
        |time: jiff::civil::DateTime| zone.moment_of(jiff::tz::Offset::UTC.to_timestamp(time).ok()?.as_microsecond());
    let months = span.months.checked_mul(sign)?;
    if months != 0 {
        // A day that the month does not have is its last.
        let time = shown(moment)?.checked_add(jiff::Span::new().try_months(months).ok()?).ok()?;
        moment = back(time)?;
    }
    let days = span.days.checked_mul(sign)?;
    if days != 0 {
        let time = shown(moment)?.checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
        moment = back(time)?;
    }
    if span.nanoseconds % NANOS != 0 {
        return None;
    }
    moment.checked_add((span.nanoseconds / NANOS).checked_mul(i64::from(sign))?)
}

impl ScalarUDFImpl for OfZone {
    fn name(&self) -> &str {
        match self.function {
            ZoneFunction::Time => TIME,
            ZoneFunction::Moment => MOMENT,
            ZoneFunction::MomentBeside => "moment_beside",
            ZoneFunction::Read => "moment_of_text",
            ZoneFunction::ReadTime => "time_of_text",
            ZoneFunction::Print => "moment_text",
            ZoneFunction::Add => "moment_add",
            ZoneFunction::Subtract => "moment_subtract",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.function {
            ZoneFunction::Time | ZoneFunction::ReadTime => time_type(),
            ZoneFunction::Print => DataType::Utf8,
            _ => moment_type(),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        Ok(ColumnarValue::Array(match (self.function, arrays.as_slice()) {
            (ZoneFunction::Time, [moments]) => {
                self.each(moments, &moment_type(), &time_type(), |moment| self.zone.time_at(moment))?
            }
            (ZoneFunction::Moment, [times]) => {
                self.each(times, &time_type(), &moment_type(), |time| self.zone.moment_of(time))?
            }
            (ZoneFunction::MomentBeside, [times, moments]) => self.beside(times, moments)?,
            (ZoneFunction::Read, [texts]) => self.read(texts)?,
            (ZoneFunction::ReadTime, [texts]) => times_of(texts)?,
            (ZoneFunction::Print, [moments]) => self.printed(moments)?,
            (ZoneFunction::Add | ZoneFunction::Subtract, [moments, spans]) => self.moved(moments, spans)?,
            _ => return exec_err!("{} does not take {} values", self.name(), arrays.len()),
        }))
    }
}

/// `value AT TIME ZONE 'zone'`: a moment as a time there, a time there as a moment.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AtTimeZone(Signature);

impl ScalarUDFImpl for AtTimeZone {
    fn name(&self) -> &str {
        AT_TIME_ZONE
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Timestamp(_, None), _] => Ok(vec![time_type(), DataType::Utf8]),
            [moment, _] if is_moment(moment) => Ok(vec![moment_type(), DataType::Utf8]),
            _ => exec_err!("only a timestamp or a timestamptz is taken to a time zone as PostgreSQL does"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [moment, _] if is_moment(moment) => Ok(time_type()),
            _ => Ok(moment_type()),
        }
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<arrow::datatypes::FieldRef> {
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(arrow::datatypes::Field::new(AT_TIME_ZONE, self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))] = arguments.args.as_slice() else {
            return exec_err!("the time zone is no literal");
        };
        let zone = TimeZone::named(name);
        // PostgreSQL reads a short name as an abbreviation, a number as POSIX does.
        if !zone.is_known() || !(zone.is_utc() || name.contains('/')) {
            return exec_err!("the time zone {name} is not known here");
        }
        let array = value.to_array(arguments.number_rows)?;
        let function = if is_moment(array.data_type()) { ZoneFunction::Time } else { ZoneFunction::Moment };
        let of_zone = OfZone { function, zone, signature: Signature::any(1, Volatility::Immutable) };
        let call = ScalarFunctionArgs { args: vec![ColumnarValue::Array(array)], ..arguments.clone() };
        of_zone.invoke_with_args(call)
    }
}
