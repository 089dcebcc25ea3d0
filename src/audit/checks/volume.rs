//! `volume: {min: 1, max: 9}`: the table has this many rows.
//!
//! **Why.** An import that brings nothing, or everything twice, leaves rows that are all right one by one.
//!
//! **Example.** `check: { volume: { min: 1000, max: 100000 } }`
//!
//! Either bound may be left out, and both belong to what is allowed. It counts the rows that the rule's `where` holds for:
//! of the whole table, or with `by: [day]` of each group of rows with the same values, and one violation for each that has
//! too few or too many.
//!
//! **Misses.** A group of `by` without any row. It names no record, so a trace does not use it.

use std::sync::Arc;

use super::{Check, CheckContext, CheckKind, RowBounds, TableQuestion, Target, Violating};
use crate::audit::document::Node;
use crate::audit::fields::Fields;
use crate::audit::mistake::Mistakes;
use crate::model::ColumnName;

pub(super) const KIND: CheckKind = CheckKind { name: "volume", read, judges_writes: false };

#[derive(Debug)]
struct Volume {
    min: Option<u64>,
    max: Option<u64>,
    by: Vec<ColumnName>,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let fields = context.fields(node, "volume", &["min", "max", "by"], mistakes)?;
    let before = mistakes.len();
    let min = bound(context, &fields, "min", mistakes);
    let max = bound(context, &fields, "max", mistakes);
    let by = match fields.get("by") {
        Some(list) => context.columns(list, "by", mistakes)?,
        None => Vec::new(),
    };
    if mistakes.len() > before {
        return None;
    }
    if min.is_none() && max.is_none() {
        context.note(node, "this volume has no bound", Some("add min, max or both".to_owned()), mistakes);
        return None;
    }
    if min.zip(max).is_some_and(|(min, max)| min > max) {
        context.note(node, "no number of rows is within these bounds", Some("swap min and max".to_owned()), mistakes);
        return None;
    }
    Some(Arc::new(Volume { min, max, by }))
}

fn bound(context: &CheckContext<'_>, fields: &Fields<'_>, key: &'static str, mistakes: &mut Mistakes) -> Option<u64> {
    let text = fields.text(key, mistakes)?;
    let rows = text.parse::<u64>().ok().filter(|rows| i64::try_from(*rows).is_ok());
    if rows.is_none() {
        let help = Some("write a whole number".to_owned());
        context.note(fields.get(key)?, format!("'{text}' is no number of rows"), help, mistakes);
    }
    rows
}

impl Check for Volume {
    fn violating(&self, target: &Target<'_>) -> Violating {
        let few = self.min.iter().map(|min| format!("count(*) < {min}"));
        let many = self.max.iter().map(|max| format!("count(*) > {max}"));
        let outside: Vec<String> = few.chain(many).collect();
        let demanded = match (self.min, self.max) {
            (Some(min), Some(max)) => format!("{min} to {max} are demanded"),
            (Some(min), None) => format!("{min} or more are demanded"),
            (None, Some(max)) => format!("{max} or fewer are demanded"),
            (None, None) => String::new(),
        };
        Violating::Table(TableQuestion {
            by: self.by.clone(),
            filter: target.filter.map(|filter| filter.sql.clone()),
            measure: "count(*)".to_owned(),
            breach: format!("({})", outside.join(" OR ")),
            rows: Some(RowBounds { min: self.min, max: self.max }),
            quotes: None,
            measured: "the number of rows is".to_owned(),
            demanded,
        })
    }

    fn columns(&self) -> Vec<ColumnName> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::tests::mistakes_of;

    #[test]
    fn bounds_are_numbers_of_rows() {
        assert!(mistakes_of("volume: {}").contains("no bound"));
        assert!(mistakes_of("volume: {min: 9, max: 1}").contains("swap"));
        assert!(mistakes_of("volume: {min: -1}").contains("'-1'"));
        assert!(mistakes_of("volume: {max: 1.5}").contains("'1.5'"));
    }
}
