//! MERGE: what each of its arms writes, and what decides which arm a row takes.

use sqlparser::ast::{
    AssignmentTarget, Merge, MergeAction, MergeClauseKind, MergeInsertExpr, MergeInsertKind, ObjectName, TableWithJoins,
};

use super::dependencies::Dependencies;
use super::outcome::InfluenceKind;
use super::rewrite::{DEFAULTS, DO_NOTHING};
use super::routines::Event;
use super::scope::{Output, OutputColumn, Scope};
use super::walk::{Rows, Walk};
use super::writes::{Target, last_name, shared};
use crate::model::ColumnName;

impl Walk<'_> {
    /// Takes in a MERGE, and says what its RETURNING returns.
    pub(super) fn merge_into(&mut self, merge: &Merge) -> Output {
        let mut rows = Dependencies::default();
        self.scopes.push(Scope::default());
        let item = TableWithJoins { relation: merge.table.clone(), joins: Vec::new() };
        let Some(target) = self.written_item(&item, &[], &mut rows) else {
            self.factor(&merge.source, &mut rows);
            self.scopes.pop();
            return Output::default();
        };
        self.factor(&merge.source, &mut rows);
        self.condition(&merge.on, InfluenceKind::Join, &mut rows);
        // A row takes the first arm whose condition holds: the conditions of the arms before decide too.
        let (mut of_matched, mut of_unmatched) = (rows.clone(), rows.clone());
        for clause in &merge.clauses {
            let so_far = match clause.clause_kind {
                MergeClauseKind::Matched | MergeClauseKind::NotMatchedBySource => &mut of_matched,
                MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget => &mut of_unmatched,
            };
            if let Some(predicate) = &clause.predicate {
                self.condition(predicate, InfluenceKind::Filter, so_far);
            }
            if does_nothing(&clause.action) {
                continue;
            }
            let mut decides = so_far.clone();
            match &clause.action {
                MergeAction::Insert(insert) => {
                    let decides = self.merge_insert(insert, &target, decides);
                    self.fire(&target, Event::Insert, &decides);
                }
                MergeAction::Update(update) => {
                    if let Some(predicate) = &update.update_predicate {
                        self.condition(predicate, InfluenceKind::Filter, &mut decides);
                    }
                    let decides = shared(decides);
                    update.assignments.iter().for_each(|assignment| self.assignment(assignment, &target, &decides));
                    self.generated_of_assignments(&update.assignments, &target, &decides);
                    let set = self.columns_set(&update.assignments, &target);
                    self.fire(&target, Event::Update(&set), &decides);
                    if let Some(predicate) = &update.delete_predicate {
                        let mut deletes = Dependencies { sources: Vec::new(), influences: decides.as_ref().clone() };
                        self.condition(predicate, InfluenceKind::Filter, &mut deletes);
                        self.assign(Some(target.id), &"*".into(), Dependencies::default(), &shared(deletes));
                    }
                }
                MergeAction::Delete { .. } => {
                    let decides = shared(decides);
                    self.assign(Some(target.id), &"*".into(), Dependencies::default(), &decides);
                    self.fire(&target, Event::Delete, &decides);
                }
            }
        }
        let output = match &merge.output {
            Some(clause) => self.returned_in_scope(&target, None, Some(clause), &shared(rows)),
            None => Output::default(),
        };
        self.scopes.pop();
        output
    }

    fn merge_insert(&mut self, insert: &MergeInsertExpr, target: &Target, mut decides: Dependencies) -> Rows {
        if let Some(predicate) = &insert.insert_predicate {
            self.condition(predicate, InfluenceKind::Filter, &mut decides);
        }
        let listed: Vec<ColumnName> = insert.columns.iter().filter_map(|name| self.set_column(name, target)).collect();
        if listed.iter().any(|name| **name == *DEFAULTS) {
            let columns = target.shape.iter().flat_map(|shape| shape.given()).cloned();
            let values: Vec<OutputColumn> =
                columns.map(|name| OutputColumn::Named { name, dependencies: Dependencies::default() }).collect();
            let rows = shared(decides);
            self.assign_all(target, &values, &rows);
            return rows;
        }
        let source = match &insert.kind {
            MergeInsertKind::Values(values) => self.values(values),
            MergeInsertKind::Row => {
                let body =
                    self.scopes.last().and_then(|scope| scope.relations.get(1)).map(|relation| relation.body.clone());
                Output { columns: body.map(|body| self.listed(&body, &[])).unwrap_or_default(), rows: Vec::new() }
            }
        };
        let rows = shared(decides);
        let values = self.placed(target, &listed, &source);
        self.assign_all(target, &values, &rows);
        rows
    }
}

/// Whether an arm of a MERGE stands for DO NOTHING.
pub fn does_nothing(action: &MergeAction) -> bool {
    let is_it = |name: &ObjectName| last_name(name).is_some_and(|name| *name == *DO_NOTHING);
    match action {
        MergeAction::Insert(insert) => insert.columns.iter().any(is_it),
        MergeAction::Update(update) => update
            .assignments
            .iter()
            .any(|assignment| matches!(&assignment.target, AssignmentTarget::ColumnName(name) if is_it(name))),
        MergeAction::Delete { .. } => false,
    }
}
