//! `monotonic: {column: c, direction: increasing}`: no write moves the column the other way.
//!
//! **Why.** A version, a meter reading, a loyalty level, a `last_seen`: such a value that goes back is a lost update, or a
//! job that ran with old data.
//!
//! **Example.** `check: { monotonic: { column: version, direction: increasing } }`
//!
//! It needs the history. `direction` is `increasing` (the default) or `decreasing`; staying the same is neither. A move
//! from or to NULL passes.
//!
//! **Misses.** Moves before the history begins, updates whose old values were not recorded, and leaps that are too far in
//! the right direction.

use std::sync::Arc;

use super::{Check, CheckContext, CheckKind, Target, Violating, before_column};
use crate::audit::document::Node;
use crate::audit::mistake::Mistakes;
use crate::audit::sql_text::quoted_name;
use crate::model::ColumnName;

pub(super) const KIND: CheckKind = CheckKind { name: "monotonic", read, judges_writes: true };

#[derive(Debug)]
struct Monotonic {
    column: ColumnName,
    increasing: bool,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let fields = context.fields(node, "monotonic", &["column", "direction"], mistakes)?;
    let column = context.column(&fields, mistakes);
    let increasing = match (fields.text("direction", mistakes), fields.get("direction")) {
        (Some("increasing"), _) | (None, None) => true,
        (Some("decreasing"), _) => false,
        (Some(other), Some(place)) => {
            let help = Some("write increasing or decreasing".to_owned());
            context.note(place, format!("unknown direction '{other}'"), help, mistakes);
            return None;
        }
        _ => return None,
    };
    Some(Arc::new(Monotonic { column: column?, increasing }))
}

impl Check for Monotonic {
    fn violating(&self, _target: &Target<'_>) -> Violating {
        let backward = if self.increasing { "<" } else { ">" };
        let update = format!("{} {backward} {}", quoted_name(&self.column), before_column(&self.column));
        Violating::Write { insert: "FALSE".to_owned(), update }
    }

    fn columns(&self) -> Vec<ColumnName> {
        vec![Arc::clone(&self.column)]
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::tests::mistakes_of;

    #[test]
    fn a_direction_is_one_of_two() {
        assert!(mistakes_of("monotonic: {column: id, direction: up}").contains("increasing or decreasing"));
    }
}
