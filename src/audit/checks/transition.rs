//! `transition: {column: c, allowed: {a: [b, c]}, initial: [a]}`: the column moves along the listed arrows only.
//!
//! **Why.** A state machine is a promise to everybody who acts on a state: a delivered order does not become open again,
//! a refused payment is not captured. The row as it stands looks fine; only its history shows the forbidden step.
//!
//! **Example.**
//!
//! ```yaml
//! check:
//!   transition:
//!     column: status
//!     allowed: { open: [paid, cancelled], paid: [shipped, refunded], shipped: [] }
//!     initial: [open]
//! ```
//!
//! It needs the history: every recorded update is a move from the old value to the new one, and one that leaves the value
//! as it is is none. A state that is not listed on the left allows no move. `initial`, which may be left out, says what an
//! insert may begin with. A move to NULL needs a `null` in the list; one from NULL counts as a beginning.
//!
//! **Misses.** Moves before the history begins, and updates whose old values were not recorded. It names the record once,
//! with the first forbidden move.

use std::sync::Arc;

use super::literal::exact_literal;
use super::{Check, CheckContext, CheckKind, Target, Violating, before_column};
use crate::audit::document::{Content, Node};
use crate::audit::fields;
use crate::audit::mistake::Mistakes;
use crate::audit::sql_text::quoted_name;
use crate::model::{ColumnName, ColumnType};

pub(super) const KIND: CheckKind = CheckKind { name: "transition", read, judges_writes: true };

#[derive(Debug)]
struct Transition {
    column: ColumnName,
    /// SQL literals: a state, and those it may move to.
    allowed: Vec<(String, States)>,
    /// `None`: a record may begin in any state.
    initial: Option<States>,
}

/// States that are allowed somewhere.
#[derive(Debug, Default)]
struct States {
    /// SQL literals.
    literals: Vec<String>,
    /// Whether NULL is one of them.
    null: bool,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let fields = context.fields(node, "transition", &["column", "allowed", "initial"], mistakes)?;
    let column = context.column(&fields, mistakes);
    let arrows = fields.require("allowed", mistakes)?;
    let Content::Mapping(entries) = &arrows.content else {
        let help = Some("write each state with those it may move to: { open: [paid, cancelled], paid: [] }".to_owned());
        context.note(arrows, format!("allowed is {}", arrows.kind()), help, mistakes);
        return None;
    };
    let column = context.table.column(&column?)?;
    let before = mistakes.len();
    let mut allowed = Vec::with_capacity(entries.len());
    for (from, to) in entries {
        let Some(text) = from.text() else {
            context.note(from, "a state is no text", Some("one from NULL counts as a beginning".to_owned()), mistakes);
            continue;
        };
        match exact_literal(&column.column_type, text) {
            Ok(from) => allowed.push((from, states(context, &column.column_type, to, mistakes))),
            Err(message) => context.note(from, message, None, mistakes),
        }
    }
    let initial = fields.get("initial").map(|list| states(context, &column.column_type, list, mistakes));
    if mistakes.len() > before {
        return None;
    }
    if allowed.is_empty() && initial.is_none() {
        context.note(arrows, "allowed lists no state", Some("write { open: [paid], paid: [] }".to_owned()), mistakes);
        return None;
    }
    Some(Arc::new(Transition { column: Arc::clone(&column.name), allowed, initial }))
}

/// A list of states, which may be empty; a single one counts as a list.
fn states(context: &CheckContext<'_>, column_type: &ColumnType, node: &Node, mistakes: &mut Mistakes) -> States {
    let items: &[Node] = match &node.content {
        Content::Null => &[],
        Content::Sequence(items) => items,
        Content::Scalar(_) | Content::Mapping(_) => std::slice::from_ref(node),
    };
    let is_null = |item: &&Node| matches!(item.content, Content::Null);
    let mut states = States { literals: Vec::new(), null: items.iter().any(|item| is_null(&item)) };
    for item in items.iter().filter(|item| !is_null(item)) {
        for (item, text) in fields::texts(context.names.document, item, "a list of states", mistakes) {
            match exact_literal(column_type, text) {
                Ok(literal) => states.literals.push(literal),
                Err(message) => context.note(item, message, None, mistakes),
            }
        }
    }
    states
}

impl States {
    /// Whether a column holds none of them; a NULL does where NULL is one of them.
    fn exclude(&self, column: &str) -> String {
        match (self.literals.is_empty(), self.null) {
            (true, true) => format!("{column} IS NOT NULL"),
            (true, false) => "TRUE".to_owned(),
            (false, true) => format!("({column} NOT IN ({})) IS TRUE", self.literals.join(", ")),
            (false, false) => format!("({column} NOT IN ({})) IS NOT FALSE", self.literals.join(", ")),
        }
    }
}

impl Check for Transition {
    fn violating(&self, _target: &Target<'_>) -> Violating {
        let (column, before) = (quoted_name(&self.column), before_column(&self.column));
        let begins = match &self.initial {
            Some(initial) => format!("({column} IS NOT NULL AND {})", initial.exclude(&column)),
            None => "FALSE".to_owned(),
        };
        let mut moves: Vec<String> = Vec::with_capacity(self.allowed.len() + 1);
        for (from, to) in &self.allowed {
            moves.push(format!("({before} = {from} AND {})", to.exclude(&column)));
        }
        let known: Vec<&str> = self.allowed.iter().map(|(from, _)| from.as_str()).collect();
        moves.push(match known.as_slice() {
            [] => format!("{before} IS NOT NULL"),
            known => format!("{before} NOT IN ({})", known.join(", ")),
        });
        moves.push(format!("({before} IS NULL AND {begins})"));
        Violating::Write {
            insert: begins,
            update: format!("({column} IS DISTINCT FROM {before}) AND ({})", moves.join(" OR ")),
        }
    }

    fn columns(&self) -> Vec<ColumnName> {
        vec![Arc::clone(&self.column)]
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::tests::mistakes_of;

    #[test]
    fn arrows_without_sense_are_mistakes() {
        assert!(mistakes_of("transition: {column: status, allowed: [open]}").contains("allowed is a list"));
        assert!(mistakes_of("transition: {column: status, allowed: {}}").contains("lists no state"));
        assert!(mistakes_of("transition: {column: total, allowed: {1: [two]}}").contains("'two'"));
        assert!(mistakes_of("transition: {column: statu, allowed: {}}").contains("did you mean status?"));
    }
}
