//! `freshness: {column: c, max_age: "1d"}`: the newest value of the column is no older than this.
//!
//! **Why.** A job that no longer runs writes nothing wrong; it writes nothing. Everything computed from its table is right,
//! and of the day before yesterday.
//!
//! **Example.** `check: { freshness: { column: placed_at, max_age: "2h" } }`
//!
//! `max_age` is a number with `s`, `m`, `h`, `d` or `w`, or several of them: `1d 12h`. It looks at the table as a whole, or
//! with `by: [region]` at each group of rows with the same values, and counts one violation for each that is too old. A
//! table without any value in the column is too old. A date is as old as whole days tell: yesterday's is one day old all
//! day. The time is that of the audit.
//!
//! **Misses.** A group of `by` without any row, and a job that writes half of what it should. It names no record, so a trace
//! does not use it.

use std::sync::Arc;

use super::{Check, CheckContext, CheckKind, TableQuestion, Target, Violating};
use crate::audit::document::Node;
use crate::audit::mistake::Mistakes;
use crate::audit::sql_text::quoted_name;
use crate::model::{ColumnName, ColumnType};

pub(super) const KIND: CheckKind = CheckKind { name: "freshness", read, judges_writes: false };

#[derive(Debug)]
struct Freshness {
    column: ColumnName,
    is_date: bool,
    /// In seconds.
    max_age: u64,
    written: String,
    by: Vec<ColumnName>,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let fields = context.fields(node, "freshness", &["column", "max_age", "by"], mistakes)?;
    let column = context.column(&fields, mistakes);
    let written = fields.require_text("max_age", mistakes);
    let by = match fields.get("by") {
        Some(list) => context.columns(list, "by", mistakes)?,
        None => Vec::new(),
    };
    let column = context.table.column(&column?)?;
    if !matches!(column.column_type, ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampTz) {
        let message = format!("{} is {}: freshness wants a date or a time", column.name, column.column_type);
        context.note(fields.get("column")?, message, None, mistakes);
        return None;
    }
    let written = written?;
    let Some(max_age) = seconds(written) else {
        let help = Some("write a number with s, m, h, d or w: \"1d\", \"36h\", \"1d 12h\"".to_owned());
        context.note(fields.get("max_age")?, format!("'{written}' is no age"), help, mistakes);
        return None;
    };
    let is_date = column.column_type == ColumnType::Date;
    Some(Arc::new(Freshness { column: Arc::clone(&column.name), is_date, max_age, written: written.to_owned(), by }))
}

/// `1d 12h` in seconds; at most some ten thousand years.
fn seconds(text: &str) -> Option<u64> {
    const LONGEST: u64 = 10_000 * 366 * 86_400;
    let mut total: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?.trim_start();
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match rest.get(..letters)? {
            "s" | "second" | "seconds" => 1,
            "m" | "min" | "minute" | "minutes" => 60,
            "h" | "hour" | "hours" => 3_600,
            "d" | "day" | "days" => 86_400,
            "w" | "week" | "weeks" => 7 * 86_400,
            _ => return None,
        };
        rest = rest.get(letters..)?.trim_start();
        total = total.checked_add(count.checked_mul(unit)?)?;
    }
    (total <= LONGEST).then_some(total)
}

impl Check for Freshness {
    fn violating(&self, target: &Target<'_>) -> Violating {
        let newest = format!("max({})", quoted_name(&self.column));
        let limit = format!("now() - INTERVAL '{} seconds'", self.max_age);
        let limit = if self.is_date { format!("CAST({limit} AS date)") } else { limit };
        Violating::Table(TableQuestion {
            by: self.by.clone(),
            filter: target.filter.map(|filter| filter.sql.clone()),
            breach: format!("({newest} < {limit}) IS NOT FALSE"),
            measure: newest,
            rows: None,
            quotes: Some(Arc::clone(&self.column)),
            measured: format!("the newest {} is", self.column),
            demanded: format!("no older than {} is demanded", self.written),
        })
    }

    fn columns(&self) -> Vec<ColumnName> {
        vec![Arc::clone(&self.column)]
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;
    use crate::audit::checks::tests::mistakes_of;

    #[test]
    fn an_age_is_a_number_with_a_unit() {
        assert_eq!(seconds("1d"), Some(86_400));
        assert_eq!(seconds(" 1d 12h30m "), Some(131_400));
        assert_eq!(seconds("2 weeks"), Some(1_209_600));
        for text in ["", "d", "1", "1x", "-1d", "1.5h", "99999999999999999999d", "9999999w"] {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert!(mistakes_of("freshness: {column: placed_at, max_age: soon}").contains("'soon' is no age"));
        assert!(mistakes_of("freshness: {column: total, max_age: 1d}").contains("wants a date or a time"));
    }
}
