//! Expressions: which columns a value is computed from, and which decide it.

use std::rc::Rc;

use sqlparser::ast::{
    AccessExpr, Array, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, Ident, OrderByExpr, Query, Subscript, Value, WindowFrameBound, WindowSpec, WindowType,
};

use super::Dialect;
use super::dependencies::{Dependencies, Role};
use super::known_functions::only_computes;
use super::outcome::{InfluenceKind, Via};
use super::rewrite::{CURRENT_OF, ELEMENT};
use super::routines::{Active, Argument};
use super::scope::{Body, OutputColumn, Scope, spelled};
use super::walk::Walk;
use crate::sql::SqlError;

/// Functions that compute one value from the values of many rows.
const AGGREGATES: &[&str] = &[
    "any_value",
    "approx_count_distinct",
    "approx_distinct",
    "approx_percentile",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "collect_list",
    "collect_set",
    "corr",
    "count",
    "count_if",
    "countif",
    "covar_pop",
    "covar_samp",
    "every",
    "group_concat",
    "json_agg",
    "json_arrayagg",
    "json_object_agg",
    "json_objectagg",
    "jsonb_agg",
    "jsonb_object_agg",
    "listagg",
    "logical_and",
    "logical_or",
    "max",
    "median",
    "min",
    "mode",
    "percentile_cont",
    "percentile_disc",
    "range_agg",
    "range_intersect_agg",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var_pop",
    "var_samp",
    "variance",
    "xmlagg",
];

impl Walk<'_> {
    /// What decides on rows: the columns of a condition.
    pub(super) fn condition(&mut self, condition: &Expr, kind: InfluenceKind, rows: &mut Dependencies) {
        self.expression(condition, Role::Influence(kind), rows);
    }

    /// Adds what an expression depends on, in this role.
    pub(super) fn expression(&mut self, expression: &Expr, role: Role, into: &mut Dependencies) {
        let computed = role.at_least(Via::Transform);
        match expression {
            Expr::Identifier(ident) => self.column(std::slice::from_ref(ident), role, into),
            Expr::CompoundIdentifier(parts) => self.column(parts, role, into),
            Expr::Nested(inner) | Expr::Collate { expr: inner, .. } | Expr::Named { expr: inner, .. } => {
                self.expression(inner, role, into);
            }
            Expr::Value(value) if !self.variables.is_empty() => self.parameter(&value.value, role, into),
            Expr::Value(_) | Expr::TypedString(_) | Expr::MatchAgainst { .. } => {}
            Expr::BinaryOp { .. } => self.binary_operations(expression, computed, into),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), computed, into);
            }
            Expr::Function(function) => self.function(function, role, into),
            Expr::Subquery(query) => self.scalar_subquery(query, role, into),
            Expr::Exists { subquery, .. } => self.exists(subquery, role, into),
            Expr::InSubquery { expr, subquery, .. } => {
                self.expression(expr, computed, into);
                self.scalar_subquery(subquery, computed, into);
            }
            Expr::Wildcard(_) => {}
            Expr::QualifiedWildcard(name, _) => self.every_column(&idents(name), computed, into),
            Expr::CompoundFieldAccess { root, access_chain } => {
                let (name, within) = self.column_within(root, access_chain);
                match name {
                    Some(name) if within.is_empty() => self.column(&name, role, into),
                    Some(name) => self.column(&name, computed, into),
                    None => self.expression(root, computed, into),
                }
                within.iter().for_each(|access| self.access(access, role, into));
            }
            Expr::Lambda(lambda) => self.lambda(lambda, computed, into),
            other => self.operands(other, computed, into),
        }
    }

    /// Operators that only compute with their operands, and never end in themselves on the left.
    fn operands(&mut self, expression: &Expr, role: Role, into: &mut Dependencies) {
        match expression {
            Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::OuterJoin(inner)
            | Expr::Prior(inner)
            | Expr::IsNormalized { expr: inner, .. }
            | Expr::UnaryOp { expr: inner, .. }
            | Expr::Cast { expr: inner, .. }
            | Expr::Extract { expr: inner, .. }
            | Expr::Ceil { expr: inner, .. }
            | Expr::Floor { expr: inner, .. }
            | Expr::Prefixed { value: inner, .. }
            | Expr::JsonAccess { value: inner, .. } => {
                self.expression(inner, role, into);
            }
            Expr::IsDistinctFrom(left, right)
            | Expr::IsNotDistinctFrom(left, right)
            | Expr::AnyOp { left, right, .. }
            | Expr::AllOp { left, right, .. }
            | Expr::Like { expr: left, pattern: right, .. }
            | Expr::ILike { expr: left, pattern: right, .. }
            | Expr::SimilarTo { expr: left, pattern: right, .. }
            | Expr::RLike { expr: left, pattern: right, .. }
            | Expr::InUnnest { expr: left, array_expr: right, .. }
            | Expr::Position { expr: left, r#in: right }
            | Expr::AtTimeZone { timestamp: left, time_zone: right } => {
                self.expression(left, role, into);
                self.expression(right, role, into);
            }
            Expr::InList { expr, list, .. } => {
                self.expression(expr, role, into);
                self.expressions(list, role, into);
            }
            Expr::Between { expr, low, high, .. } => {
                for operand in [expr, low, high] {
                    self.expression(operand, role, into);
                }
            }
            Expr::Convert { expr, styles, .. } => {
                self.expression(expr, role, into);
                self.expressions(styles, role, into);
            }
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                self.expression(expr, role, into);
                for operand in [substring_from, substring_for].into_iter().flatten() {
                    self.expression(operand, role, into);
                }
            }
            Expr::Trim { expr, trim_what, trim_characters, .. } => {
                self.expression(expr, role, into);
                trim_what.iter().for_each(|what| self.expression(what, role, into));
                trim_characters.iter().for_each(|characters| self.expressions(characters, role, into));
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                for operand in [expr, overlay_what, overlay_from].into_iter().chain(overlay_for) {
                    self.expression(operand, role, into);
                }
            }
            other => self.collections(other, role, into),
        }
    }

    /// Expressions that hold many.
    fn collections(&mut self, expression: &Expr, role: Role, into: &mut Dependencies) {
        match expression {
            Expr::Tuple(elements)
            | Expr::Array(Array { elem: elements, .. })
            | Expr::Struct { values: elements, .. } => {
                self.expressions(elements, role, into);
            }
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                sets.iter().for_each(|set| self.expressions(set, role, into));
            }
            Expr::Dictionary(fields) => fields.iter().for_each(|field| self.expression(&field.value, role, into)),
            Expr::Map(map) => {
                for entry in &map.entries {
                    self.expression(&entry.key, role, into);
                    self.expression(&entry.value, role, into);
                }
            }
            Expr::Interval(interval) => self.expression(&interval.value, role, into),
            Expr::MemberOf(member) => {
                self.expression(&member.value, role, into);
                self.expression(&member.array, role, into);
            }
            other => self.note(SqlError::Unsupported(format!("the expression {other}"))),
        }
    }

    /// The parameters of a lambda stand for elements of what it is applied to, which is an argument beside it.
    fn lambda(&mut self, lambda: &sqlparser::ast::LambdaFunction, role: Role, into: &mut Dependencies) {
        let names = lambda.params.iter().map(|parameter| spelled(&parameter.name).into()).collect();
        self.scopes.push(Scope::of(Body::Function { names, listed: 0, dependencies: Rc::default() }));
        self.expression(&lambda.body, role, into);
        self.scopes.pop();
    }

    pub(super) fn expressions(&mut self, expressions: &[Expr], role: Role, into: &mut Dependencies) {
        for expression in expressions {
            self.expression(expression, role, into);
        }
    }

    /// A chain of operators is walked down its left side without recursion: ten thousand ORs are no deep nesting.
    fn binary_operations(&mut self, expression: &Expr, role: Role, into: &mut Dependencies) {
        let mut rights = Vec::new();
        let mut left = expression;
        while let Expr::BinaryOp { left: next, right, .. } = left {
            rights.push(right);
            left = next;
        }
        self.expression(left, role, into);
        for right in rights.into_iter().rev() {
            self.expression(right, role, into);
        }
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        branches: &[CaseWhen],
        otherwise: Option<&Expr>,
        role: Role,
        into: &mut Dependencies,
    ) {
        let deciding = role.deciding(InfluenceKind::Conditional);
        operand.into_iter().for_each(|operand| self.expression(operand, deciding, into));
        for branch in branches {
            self.expression(&branch.condition, deciding, into);
            self.expression(&branch.result, role, into);
        }
        otherwise.into_iter().for_each(|otherwise| self.expression(otherwise, role, into));
    }

    /// `t.a[1]`, or `(t).a` where t is a relation in reach: the column a of it, and what is taken of its value.
    fn column_within<'e>(&self, root: &Expr, access_chain: &'e [AccessExpr]) -> (Option<Vec<Ident>>, &'e [AccessExpr]) {
        let field = |access: &AccessExpr| match access {
            AccessExpr::Dot(Expr::Identifier(field)) => Some(field.clone()),
            _ => None,
        };
        let fields: Vec<Ident> = access_chain.iter().map_while(field).collect();
        let (row, names) = match root {
            Expr::Identifier(first) => (first, fields.len()),
            Expr::Nested(inner) => match inner.as_ref() {
                Expr::Identifier(row) if self.relation_called(std::slice::from_ref(row)).is_some() => (row, 1),
                _ => return (None, access_chain),
            },
            _ => return (None, access_chain),
        };
        if fields.is_empty() {
            return (None, access_chain);
        }
        let name = std::iter::once(row.clone()).chain(fields.into_iter().take(names)).collect();
        (Some(name), access_chain.get(names..).unwrap_or_default())
    }

    fn access(&mut self, access: &AccessExpr, role: Role, into: &mut Dependencies) {
        let AccessExpr::Subscript(subscript) = access else { return };
        let indexes = match subscript {
            Subscript::Index { index } => [Some(index), None, None],
            Subscript::Slice { lower_bound, upper_bound, stride } => {
                [lower_bound.as_ref(), upper_bound.as_ref(), stride.as_ref()]
            }
        };
        for index in indexes.into_iter().flatten() {
            self.expression(index, role.deciding(InfluenceKind::Conditional), into);
        }
    }

    fn scalar_subquery(&mut self, query: &Query, role: Role, into: &mut Dependencies) {
        let output = self.query(query);
        for column in &output.columns {
            self.absorb_column(column, role, into);
        }
        into.influences.extend_from_slice(&output.rows);
    }

    /// Of EXISTS only the rows matter, not what is selected of them.
    fn exists(&mut self, query: &Query, role: Role, into: &mut Dependencies) {
        let output = self.query(query);
        match role {
            Role::Value(_) => into.influences.extend_from_slice(&output.rows),
            Role::Influence(kind) => into.influences.extend(output.rows.iter().map(|(column, _)| (*column, kind))),
        }
    }

    /// `$1` in a routine.
    fn parameter(&mut self, value: &Value, role: Role, into: &mut Dependencies) {
        let Value::Placeholder(name) = value else { return };
        let held = self.variables.get(name.as_str()).cloned();
        for column in held.iter().flat_map(|held| &held.columns) {
            self.absorb_column(column, role, into);
        }
    }

    /// What the arguments of a call depend on.
    pub(super) fn arguments(&mut self, arguments: &FunctionArguments) -> Vec<Argument> {
        let FunctionArguments::List(list) = arguments else { return Vec::new() };
        self.listed_arguments(&list.args)
    }

    pub(super) fn listed_arguments(&mut self, arguments: &[FunctionArg]) -> Vec<Argument> {
        let mut listed = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let name = match argument {
                FunctionArg::Named { name, .. } => Some(spelled(name).into()),
                FunctionArg::ExprNamed { name: Expr::Identifier(name), .. } => Some(spelled(name).into()),
                FunctionArg::ExprNamed { .. } | FunctionArg::Unnamed(_) => None,
            };
            let mut value = Dependencies::default();
            self.argument(argument, Role::Value(Via::Copy), &mut value);
            listed.push(Argument { name, value });
        }
        listed
    }

    /// A call of a routine that is defined, followed into its body; `false` where it is none.
    fn routine_called(&mut self, function: &Function, role: Role, into: &mut Dependencies) -> bool {
        if self.schema.routines(&function.name, self.dialect).is_empty() {
            return false;
        }
        let arguments = self.arguments(&function.args);
        let Some(output) = self.called(&function.name, &arguments) else { return false };
        let role = role.at_least(Via::Transform);
        for column in &output.columns {
            self.absorb_column(column, role, into);
        }
        into.influences.extend_from_slice(&output.rows);
        true
    }

    /// `CURRENT OF` a cursor: the row is the one that its query has come to.
    fn current_of(&mut self, function: &Function, role: Role, into: &mut Dependencies) {
        let FunctionArguments::List(list) = &function.args else { return };
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(cursor)))] = list.args.as_slice() else {
            return;
        };
        let cursor = spelled(cursor);
        let output = match (self.variables.get(cursor.as_ref()), self.schema.cursor(&cursor)) {
            (Some(held), _) => Rc::clone(held),
            (None, Some(query)) => {
                let scopes = std::mem::take(&mut self.scopes);
                let output = self.query(&query);
                self.scopes = scopes;
                output
            }
            (None, None) => {
                self.note(SqlError::Unsupported(format!("the cursor {cursor}: it is not known")));
                return;
            }
        };
        let role = role.deciding(InfluenceKind::Filter);
        let mut rows = Dependencies { sources: Vec::new(), influences: output.rows.clone() };
        for column in &output.columns {
            // What a variable holds has what decided on its rows beside it.
            if let OutputColumn::Named { dependencies, .. } = column {
                rows.influences.extend_from_slice(&dependencies.influences);
            }
        }
        into.absorb(&rows, role);
    }

    fn function(&mut self, function: &Function, role: Role, into: &mut Dependencies) {
        if self.schema.has_routines() && self.routine_called(function, role, into) {
            return;
        }
        let name = function.name.0.last().and_then(|part| part.as_ident()).map(spelled).unwrap_or_default();
        if name == CURRENT_OF {
            return self.current_of(function, role, into);
        }
        if name == ELEMENT {
            let FunctionArguments::List(list) = &function.args else { return };
            let role = role.deciding(InfluenceKind::Conditional);
            return list.args.iter().for_each(|argument| self.argument(argument, role, into));
        }
        let count = match &function.args {
            FunctionArguments::List(list) => list.args.len(),
            FunctionArguments::None | FunctionArguments::Subquery(_) => 0,
        };
        self.note_unknown(&function.name, count);
        let aggregates = AGGREGATES.binary_search(&name.as_ref()).is_ok();
        let role = role.at_least(if aggregates { Via::Aggregate } else { Via::Transform });
        match &function.args {
            FunctionArguments::None => {}
            // The order of the rows is that of the elements.
            FunctionArguments::Subquery(query) => {
                self.ordered = true;
                self.scalar_subquery(query, role, into);
                self.ordered = false;
            }
            FunctionArguments::List(list) => {
                let chooses = matches!(name.as_ref(), "if" | "iff" | "iif") && list.args.len() > 1;
                for (place, argument) in list.args.iter().enumerate() {
                    let role = if chooses && place == 0 { role.deciding(InfluenceKind::Conditional) } else { role };
                    self.argument(argument, role, into);
                }
                list.clauses.iter().for_each(|clause| self.argument_clause(clause, role, into));
            }
        }
        if let Some(filter) = &function.filter {
            self.expression(filter, role.deciding(InfluenceKind::Conditional), into);
        }
        function.within_group.iter().for_each(|order| self.expression(&order.expr, role, into));
        match &function.over {
            None => {}
            Some(WindowType::NamedWindow(name)) => self.named_window(&spelled(name), role, into),
            Some(WindowType::WindowSpec(window)) => self.window(window, role, into),
        }
    }

    /// A function may read and write anything, unless it is known.
    pub(super) fn note_unknown(&mut self, name: &sqlparser::ast::ObjectName, arguments: usize) {
        // What a routine that calls itself does is known from the call around it.
        let meant = self.schema.routine_names(name, self.dialect);
        let called = |active: &Active| meant.contains(&active.name) && active.routine.takes(arguments);
        let is_itself = self.active.iter().any(called);
        if self.dialect == Dialect::Postgres && !is_itself && !only_computes(name) {
            self.note(SqlError::Unsupported(format!("what {name} does: its definition is not known")));
        }
    }

    pub(super) fn argument(&mut self, argument: &FunctionArg, role: Role, into: &mut Dependencies) {
        let (FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg)) =
            argument;
        match arg {
            FunctionArgExpr::Expr(expression) => self.expression(expression, role, into),
            FunctionArgExpr::QualifiedWildcard(name) => self.every_column(&idents(name), role, into),
            FunctionArgExpr::Wildcard | FunctionArgExpr::WildcardWithOptions(_) => self.every_row(role, into),
        }
    }

    fn argument_clause(&mut self, clause: &FunctionArgumentClause, role: Role, into: &mut Dependencies) {
        match clause {
            FunctionArgumentClause::OrderBy(order) => {
                order.iter().for_each(|order| self.expression(&order.expr, role.deciding(InfluenceKind::Sort), into));
            }
            FunctionArgumentClause::Limit(limit) => {
                self.expression(limit, role.deciding(InfluenceKind::Conditional), into);
            }
            FunctionArgumentClause::Having(bound) => {
                self.expression(&bound.1, role.deciding(InfluenceKind::Conditional), into);
            }
            FunctionArgumentClause::IgnoreOrRespectNulls(_)
            | FunctionArgumentClause::OnOverflow(_)
            | FunctionArgumentClause::Separator(_)
            | FunctionArgumentClause::JsonNullClause(_)
            | FunctionArgumentClause::JsonReturningClause(_) => {}
        }
    }

    /// `count(*)` counts the rows of every table of its query.
    fn every_row(&mut self, role: Role, into: &mut Dependencies) {
        let relations = self.scopes.last().map(|scope| scope.relations.as_slice()).unwrap_or_default();
        let tables: Vec<_> = relations
            .iter()
            .filter_map(|relation| match &relation.body {
                Body::Table { id, .. } => Some(*id),
                Body::Output(_) | Body::Function { .. } => None,
            })
            .collect();
        for table in tables {
            let star = self.arena.column(Some(table), "*");
            into.add(star, role);
        }
    }

    /// `alias.*` as one value.
    fn every_column(&mut self, qualifier: &[sqlparser::ast::Ident], role: Role, into: &mut Dependencies) {
        match self.relation_called(qualifier) {
            Some((scope, place)) => self.all_columns_of(scope, place, role, into),
            None => self.note(SqlError::UnknownColumn(format!(
                "{}.*",
                qualifier.iter().map(|part| spelled(part).into_owned()).collect::<Vec<_>>().join(".")
            ))),
        }
    }

    fn named_window(&mut self, name: &str, role: Role, into: &mut Dependencies) {
        let known = self.windows.iter().rev().find(|(known, _)| known.as_ref() == name);
        match known.map(|(_, dependencies)| Rc::clone(dependencies)) {
            Some(dependencies) => into.absorb(&dependencies, role.deciding(InfluenceKind::Window)),
            None => self.note(SqlError::Unsupported(format!("the window {name}, which is not defined"))),
        }
    }

    pub(super) fn window(&mut self, window: &WindowSpec, role: Role, into: &mut Dependencies) {
        let role = role.deciding(InfluenceKind::Window);
        if let Some(name) = &window.window_name {
            self.named_window(&spelled(name), role, into);
        }
        self.expressions(&window.partition_by, role, into);
        self.order(&window.order_by, role, into);
        if let Some(frame) = &window.window_frame {
            for bound in std::iter::once(&frame.start_bound).chain(&frame.end_bound) {
                if let WindowFrameBound::Preceding(Some(bound)) | WindowFrameBound::Following(Some(bound)) = bound {
                    self.expression(bound, role, into);
                }
            }
        }
    }

    pub(super) fn order(&mut self, order: &[OrderByExpr], role: Role, into: &mut Dependencies) {
        order.iter().for_each(|order| self.expression(&order.expr, role, into));
    }
}

pub(super) fn idents(name: &sqlparser::ast::ObjectName) -> Vec<sqlparser::ast::Ident> {
    name.0.iter().filter_map(|part| part.as_ident().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::AGGREGATES;

    #[test]
    fn the_aggregates_can_be_searched() {
        assert!(AGGREGATES.is_sorted());
    }
}
