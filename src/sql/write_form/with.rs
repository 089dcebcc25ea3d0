//! The forms of a statement with common table expressions that write rows themselves.
//!
//! PostgreSQL runs all of its parts on the state before it, and what one hands to another are the rows it returns: so
//! each part is a form of its own, and in its place stands the query of what it returns.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Cte, ObjectName, Query, SetExpr, Statement, Visit, Visitor, With};

use super::{ConflictAction, SqlError, WriteForm, WriteForms, WriteKind, returning};
use crate::sql::{Schemas, folded};

/// # Errors
/// A part that has no form, or that returns what only the database could give.
pub(super) fn forms(query: &Query, schemas: &Schemas) -> Result<WriteForms, SqlError> {
    let mut tables: Vec<Cte> = Vec::new();
    let mut forms: Vec<WriteForm> = Vec::new();
    let recursive = query.with.as_ref().is_some_and(|with| with.recursive);
    let mut add = |statement: &Statement, tables: &[Cte]| -> Result<bool, SqlError> {
        let part = WriteForms::of(statement, schemas)?;
        for mut form in part.forms {
            see_tables(&mut form, tables, recursive);
            // Another part may read the column.
            form.arms.iter_mut().flat_map(|arm| &mut arm.assigned).for_each(|assigned| assigned.relative = false);
            match forms.iter_mut().find(|known| known.target == form.target) {
                Some(known) => known.arms.extend(form.arms),
                None => forms.push(form),
            }
        }
        Ok(part.returning)
    };
    for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
        let Some(statement) = modification(&cte.query.body) else {
            tables.push(cte.clone());
            continue;
        };
        if add(statement, &tables)? {
            let returned = returning::query(statement, schemas)?;
            tables.push(Cte { query: Box::new(returned), ..cte.clone() });
        }
    }
    let (returning, read) = match modification(&query.body) {
        Some(statement) => (add(statement, &tables)?, None),
        None => {
            let mut read = Query { with: None, ..query.clone() };
            see(&mut read, &tables, recursive);
            (true, Some(Box::new(read)))
        }
    };
    if forms.is_empty() {
        return Err(SqlError::Unsupported("a query that makes a table".to_owned()));
    }
    Ok(WriteForms { forms, returning, read })
}

fn modification(body: &SetExpr) -> Option<&Statement> {
    match body {
        SetExpr::Insert(statement)
        | SetExpr::Update(statement)
        | SetExpr::Delete(statement)
        | SetExpr::Merge(statement) => Some(statement),
        _ => None,
    }
}

/// The queries of the form see these tables, as far as they name them.
fn see_tables(form: &mut WriteForm, tables: &[Cte], recursive: bool) {
    for arm in &mut form.arms {
        see(&mut arm.query, tables, recursive);
        if let WriteKind::Insert { on_conflict: Some(conflict) } = &mut arm.kind
            && let ConflictAction::Update { query, .. } = &mut conflict.action
        {
            see(query, tables, recursive);
        }
    }
}

fn see(query: &mut Query, tables: &[Cte], recursive: bool) {
    let mut named = names(query);
    let mut seen = Vec::new();
    for table in tables.iter().rev().filter(|table| !table.alias.name.value.is_empty()) {
        if named.contains(&folded(&table.alias.name)) {
            named.extend(names(&table.query));
            seen.push(table.clone());
        }
    }
    if seen.is_empty() {
        return;
    }
    seen.reverse();
    let own = query.with.take();
    let recursive = recursive || own.as_ref().is_some_and(|with| with.recursive);
    let with_token = own.as_ref().map(|with| with.with_token.clone());
    seen.extend(own.into_iter().flat_map(|with| with.cte_tables));
    let with_token = with_token.unwrap_or_else(sqlparser::ast::helpers::attached_token::AttachedToken::empty);
    query.with = Some(With { with_token, recursive, cte_tables: seen });
}

/// The names of one part that stand where a table may.
fn names(query: &Query) -> BTreeSet<String> {
    struct Collect(BTreeSet<String>);
    impl Visitor for Collect {
        type Break = ();

        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            if let [only] = relation.0.as_slice() {
                self.0.extend(only.as_ident().map(folded));
            }
            ControlFlow::Continue(())
        }
    }
    let mut collect = Collect(BTreeSet::new());
    let _ = query.visit(&mut collect);
    collect.0
}
