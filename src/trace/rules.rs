//! The rules of an audit as a trace judges by them.

use std::sync::Arc;

use super::sweep::{SuspectingRule, Violating};
use crate::audit::{self, Rule, RuleSet};
use crate::sql::Schemas;

/// The rules as a trace needs them; one that names no record (about a table or a release as a whole) is left out.
pub fn suspecting_rules(set: &RuleSet, schemas: &Schemas) -> Vec<SuspectingRule> {
    let suspecting = |rule: &Rule| {
        let schema = schemas.get(&rule.table)?;
        let violating = match rule.violating(schema) {
            audit::Violating::Row(predicate) => Violating::Predicate(predicate),
            audit::Violating::Query(query) => Violating::Query(query),
            audit::Violating::Write { insert, update } => Violating::Write { insert, update },
            // It names no record: there is nothing that a trace could follow.
            audit::Violating::Table(_) | audit::Violating::Release(_) => return None,
        };
        Some(SuspectingRule {
            id: Arc::clone(&rule.id),
            table: rule.table.clone(),
            violating,
            reads: rule.tables_read().into_iter().collect(),
            expected: rule.expected(),
            blamed: rule.blamed_columns(),
            decides: rule.decided_column(),
            group: rule.group(),
            reference: rule.reference(),
        })
    };
    set.rules().iter().filter_map(suspecting).collect()
}
