//! `matches: {column: c, regex: "…"}`: the text holds a match of the regular expression.
//!
//! **Why.** An order number, a postal code, a reference that another system parses: a format is a promise.
//!
//! **Example.** `check: { matches: { column: sku, regex: '^[A-Z]{2}-\d{4}$' } }`
//!
//! The syntax is that of Rust's `regex` crate (no look-around, no back references). As with PostgreSQL's `~`, a match
//! anywhere in the text is enough: write `^…$` for the whole.
//!
//! **Misses.** NULL passes; a text of the right form can still be the wrong one.

use std::sync::Arc;

use regex::Regex;

use super::{Check, CheckContext, CheckKind, Target, Violating, is_not_null};
use crate::audit::document::Node;
use crate::audit::mistake::Mistakes;
use crate::audit::sql_text::{quoted_name, quoted_text};
use crate::model::{ColumnName, ColumnType};

pub(super) const KIND: CheckKind = CheckKind { name: "matches", read, judges_writes: false };

#[derive(Debug)]
struct Matches {
    column: ColumnName,
    regex: String,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let fields = context.fields(node, "matches", &["column", "regex"], mistakes)?;
    let column = context.column(&fields, mistakes);
    let text = fields.require_text("regex", mistakes)?;
    if let Err(error) = Regex::new(text) {
        // The message's last line says what is wrong; those before it draw the expression.
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        context.note(fields.get("regex")?, format!("this is no regular expression: {reason}"), None, mistakes);
        return None;
    }
    let column = context.table.column(&column?)?;
    if !matches!(column.column_type, ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Other(_)) {
        let message = format!("'{}' is {}: only a text can match", column.name, column.column_type);
        context.note(node, message, Some("use values or range".to_owned()), mistakes);
        return None;
    }
    Some(Arc::new(Matches { column: Arc::clone(&column.name), regex: text.to_owned() }))
}

impl Check for Matches {
    fn violating(&self, _target: &Target<'_>) -> Violating {
        let column = quoted_name(&self.column);
        Violating::Row(format!("{} AND {column} !~ {}", is_not_null(&self.column), quoted_text(&self.regex)))
    }

    fn columns(&self) -> Vec<ColumnName> {
        vec![Arc::clone(&self.column)]
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::tests::mistakes_of;

    #[test]
    fn what_is_no_expression_or_no_text_is_a_mistake() {
        assert!(mistakes_of("matches: {column: status, regex: '[a'}").contains("unclosed character class"));
        assert!(mistakes_of("matches: {column: id, regex: 'a'}").contains("only a text can match"));
    }
}
