//! The form of MERGE: an arm for each of its actions, each over the rows that no action before it takes.

use sqlparser::ast::{
    BinaryOperator, Expr, Merge, MergeAction, MergeClause, MergeClauseKind, MergeInsertExpr, MergeInsertKind, Query,
    SelectItem, TableFactor, TableWithJoins,
};

use super::given::{constants, is_given};
use super::queries::{key_items, null, query_of, select, target, value_items};
use super::update::assignments;
use super::{Assigned, SqlError, WriteArm, WriteForm, WriteKind, known, target_schema};
use crate::model::TableSchema;
use crate::sql::Schemas;
use crate::sql::analysis::does_nothing;
use crate::sql::targets::inserted_columns;

/// # Errors
/// A table whose shape or key is not known; an action that only other databases have.
pub(super) fn form(merge: &Merge, schemas: &Schemas) -> Result<WriteForm, SqlError> {
    let (table, alias) = target(&merge.table)?;
    let schema = target_schema(table, &alias, schemas)?;
    let merging = Merging { merge, schema, alias: &alias };
    let mut arms = Vec::with_capacity(merge.clauses.len());
    for (place, clause) in merge.clauses.iter().enumerate().filter(|(_, clause)| !does_nothing(&clause.action)) {
        let earlier = merge.clauses[..place].iter().filter(|earlier| is_matched(earlier) == is_matched(clause));
        arms.push(merging.arm(clause, earlier)?);
    }
    Ok(WriteForm { target: schema.name.clone(), arms })
}

fn is_matched(clause: &MergeClause) -> bool {
    clause.clause_kind == MergeClauseKind::Matched
}

struct Merging<'a> {
    merge: &'a Merge,
    schema: &'a TableSchema,
    alias: &'a str,
}

impl Merging<'_> {
    fn arm<'c>(
        &self,
        clause: &MergeClause,
        earlier: impl Iterator<Item = &'c MergeClause>,
    ) -> Result<WriteArm, SqlError> {
        // The first action whose condition is true is taken.
        let not_taken = earlier.map(|earlier| match &earlier.predicate {
            Some(predicate) => Expr::IsNotTrue(Box::new(nested(predicate))),
            None => Expr::value(sqlparser::ast::Value::Boolean(false)),
        });
        let conditions: Vec<Expr> = clause.predicate.iter().map(nested).chain(not_taken).collect();
        match (&clause.clause_kind, &clause.action) {
            (MergeClauseKind::Matched, MergeAction::Update(update))
                if update.update_predicate.is_none() && update.delete_predicate.is_none() =>
            {
                let (assigned, values) = assignments(&update.assignments, self.schema)?;
                let items = key_items(self.schema, self.alias).into_iter().chain(value_items(values)).collect();
                Ok(WriteArm { kind: WriteKind::Update, assigned, query: Box::new(self.matched(items, conditions)) })
            }
            (MergeClauseKind::Matched, MergeAction::Delete { .. }) => {
                let query = Box::new(self.matched(key_items(self.schema, self.alias), conditions));
                Ok(WriteArm { kind: WriteKind::Delete, assigned: Vec::new(), query })
            }
            (MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget, MergeAction::Insert(insert))
                if insert.insert_predicate.is_none() =>
            {
                let (assigned, values) = self.inserted(insert)?;
                let query = Box::new(self.not_matched(value_items(values).collect(), conditions));
                Ok(WriteArm { kind: WriteKind::Insert { on_conflict: None }, assigned, query })
            }
            _ => Err(SqlError::Unsupported(format!("MERGE … {clause}"))),
        }
    }

    fn inserted(&self, insert: &MergeInsertExpr) -> Result<(Vec<Assigned>, Vec<Expr>), SqlError> {
        let MergeInsertKind::Values(values) = &insert.kind else {
            return Err(SqlError::Unsupported("MERGE … INSERT ROW".to_owned()));
        };
        let [row] = values.rows.as_slice() else {
            return Err(SqlError::Unsupported("MERGE … INSERT of several rows".to_owned()));
        };
        let columns = inserted_columns(&insert.columns, self.schema);
        let mut assigned = Vec::new();
        let mut proposed = Vec::new();
        for (column, value) in columns.iter().zip(&row.content) {
            let given = is_given(value);
            let from_application = constants(value);
            assigned.push(Assigned {
                column: known(self.schema, column)?,
                given,
                from_application,
                counts: false,
                relative: false,
            });
            proposed.push(if given { null() } else { value.clone() });
        }
        Ok((assigned, proposed))
    }

    /// The pairs of a row of the target and one of the source.
    fn matched(&self, items: Vec<SelectItem>, conditions: Vec<Expr>) -> Query {
        let from = vec![alone(&self.merge.table), alone(&self.merge.source)];
        let on = std::iter::once(nested(&self.merge.on));
        query_of(select(items, from, all_of(on.chain(conditions))))
    }

    /// The rows of the source that no row of the target answers to.
    fn not_matched(&self, items: Vec<SelectItem>, conditions: Vec<Expr>) -> Query {
        let one = SelectItem::UnnamedExpr(Expr::value(sqlparser::ast::Value::Number("1".to_owned(), false)));
        let answering = select(vec![one], vec![alone(&self.merge.table)], Some(nested(&self.merge.on)));
        let none = Expr::Exists { subquery: Box::new(query_of(answering)), negated: true };
        let from = vec![alone(&self.merge.source)];
        query_of(select(items, from, all_of(std::iter::once(none).chain(conditions))))
    }
}

fn alone(factor: &TableFactor) -> TableWithJoins {
    TableWithJoins { relation: factor.clone(), joins: Vec::new() }
}

fn nested(expression: &Expr) -> Expr {
    Expr::Nested(Box::new(expression.clone()))
}

fn all_of(conditions: impl Iterator<Item = Expr>) -> Option<Expr> {
    conditions.reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    })
}
