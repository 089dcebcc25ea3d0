//! One SELECT: its list, its conditions, its groups.

use std::rc::Rc;
use std::sync::Arc;

use sqlparser::ast::{
    ConnectByKind, Distinct, ExcludeSelectItem, Expr, GroupByExpr, GroupByWithModifier, Ident, NamedWindowExpr,
    RenameSelectItem, Select, SelectItem, SelectItemQualifiedWildcardKind, Value, WildcardAdditionalOptions,
};

use super::Dialect;
use super::dependencies::{Dependencies, Role};
use super::expression::idents;
use super::names::postgres_name;
use super::outcome::{InfluenceKind, Via};
use super::query::Around;
use super::scope::{Output, OutputColumn, Scope, spelled};
use super::walk::Walk;
use crate::model::ColumnName;
use crate::sql::SqlError;

impl Walk<'_> {
    pub(super) fn select(&mut self, select: &Select, around: Around<'_>) -> Output {
        self.scopes.push(Scope::default());
        let windows = self.windows.len();
        let mut rows = Dependencies::default();
        self.from(&select.from, &mut rows);
        self.lateral_views(select, &mut rows);
        for condition in [&select.prewhere, &select.selection].into_iter().flatten() {
            self.condition(condition, InfluenceKind::Filter, &mut rows);
        }
        self.hierarchy(select, &mut rows);
        self.define_windows(select);
        let mut columns = Vec::with_capacity(select.projection.len());
        self.projection(&select.projection, &mut columns);
        self.groups(select, &columns, &mut rows);
        for condition in [&select.having, &select.qualify].into_iter().flatten() {
            self.condition_over(condition, &columns, &mut rows);
        }
        self.distinct(select, around, &columns, &mut rows);
        self.windows.truncate(windows);
        self.scopes.pop();
        let output = Output { columns, rows: rows.influences };
        if let Some(into) = &select.into {
            self.create_into(into, &output);
        }
        output
    }

    fn hierarchy(&mut self, select: &Select, rows: &mut Dependencies) {
        for kind in &select.connect_by {
            match kind {
                ConnectByKind::ConnectBy { relationships, .. } => {
                    self.expressions(relationships, Role::Influence(InfluenceKind::Join), rows);
                }
                ConnectByKind::StartWith { condition, .. } => self.condition(condition, InfluenceKind::Filter, rows),
            }
        }
    }

    fn define_windows(&mut self, select: &Select) {
        for definition in &select.named_window {
            let mut dependencies = Dependencies::default();
            match &definition.1 {
                NamedWindowExpr::WindowSpec(window) => {
                    self.window(window, Role::Influence(InfluenceKind::Window), &mut dependencies);
                }
                NamedWindowExpr::NamedWindow(name) => {
                    let known = self.windows.iter().rev().find(|(known, _)| **known == *spelled(name));
                    if let Some((_, known)) = known {
                        dependencies = known.as_ref().clone();
                    }
                }
            }
            self.windows.push((spelled(&definition.0).into(), Rc::new(dependencies)));
        }
    }

    /// What a SELECT or RETURNING list returns.
    pub(super) fn projection(&mut self, items: &[SelectItem], columns: &mut Vec<OutputColumn>) {
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expression) => self.item(expression, self.output_name_of(expression), columns),
                SelectItem::ExprWithAlias { expr, alias } => self.item(expr, spelled(alias).into(), columns),
                SelectItem::ExprWithAliases { expr, aliases } => {
                    aliases.iter().for_each(|alias| self.item(expr, spelled(alias).into(), columns));
                }
                SelectItem::Wildcard(options) => {
                    let listed = self.listed_of_scope();
                    self.wildcard(listed, options, columns);
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    let listed = self.listed_of(&idents(name));
                    self.wildcard(listed, options, columns);
                }
                // (row).*: every field comes from the row.
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(expression), _) => {
                    self.item(expression, "*".into(), columns);
                }
            }
        }
    }

    fn item(&mut self, expression: &Expr, name: ColumnName, columns: &mut Vec<OutputColumn>) {
        let mut dependencies = Dependencies::default();
        self.expression(expression, Role::Value(Via::Copy), &mut dependencies);
        dependencies.settle();
        if !self.spend(&dependencies) {
            return;
        }
        if self.dialect.reuses_output_names()
            && let Some(scope) = self.scopes.last_mut()
        {
            scope.outputs.push((Arc::clone(&name), dependencies.clone()));
        }
        columns.push(OutputColumn::Named { name, dependencies });
    }

    fn listed_of_scope(&mut self) -> Vec<OutputColumn> {
        self.listed_of_relations(0..usize::MAX)
    }

    /// The columns of some relations of the innermost scope as a `*` lists them: what a join merged before its relations.
    pub(super) fn listed_of_relations(&mut self, places: std::ops::Range<usize>) -> Vec<OutputColumn> {
        let Some(scope) = self.scopes.last() else { return Vec::new() };
        let mut merged: Vec<_> = scope
            .merged
            .iter()
            .filter(|merged| places.contains(&merged.start) && merged.right < places.end)
            .map(|merged| {
                let (name, dependencies) = (Arc::clone(&merged.name), merged.dependencies.clone());
                (merged.start, std::cmp::Reverse(merged.right), OutputColumn::Named { name, dependencies })
            })
            .collect();
        merged.sort_by_key(|(start, right, _)| (*start, *right));
        let mut merged = merged.into_iter().peekable();
        let mut listed = Vec::new();
        for (place, relation) in scope.relations.clone().into_iter().enumerate() {
            if !places.contains(&place) {
                continue;
            }
            while let Some((_, _, column)) = merged.next_if(|(start, ..)| *start <= place) {
                listed.push(column);
            }
            listed.append(&mut self.listed(&relation.body, &relation.merged));
        }
        listed
    }

    fn listed_of(&mut self, qualifier: &[Ident]) -> Vec<OutputColumn> {
        let found = self.relation_called(qualifier);
        let body = found
            .and_then(|(scope, place)| self.scopes.get(scope)?.relations.get(place))
            .map(|relation| relation.body.clone());
        let held = match qualifier {
            [row] if body.is_none() => self.variables.get(spelled(row).as_ref()),
            _ => None,
        };
        match (body, held) {
            (Some(body), _) => self.listed(&body, &[]),
            (None, Some(held)) => held.columns.clone(),
            (None, None) => {
                let shown: Vec<_> = qualifier.iter().map(|part| spelled(part).into_owned()).collect();
                let mut dependencies = Dependencies::default();
                let star = self.arena.column(None, "*");
                dependencies.add(star, Role::Value(Via::Copy));
                self.note(SqlError::UnknownColumn(format!("{}.*", shown.join("."))));
                vec![OutputColumn::Named { name: "*".into(), dependencies }]
            }
        }
    }

    /// `* EXCLUDE (a) REPLACE (b + 1 AS b) RENAME (c AS d)`.
    fn wildcard(
        &mut self,
        listed: Vec<OutputColumn>,
        options: &WildcardAdditionalOptions,
        columns: &mut Vec<OutputColumn>,
    ) {
        let left_out = excluded(options);
        let renamed = renamed_columns(options);
        for mut column in listed {
            if let OutputColumn::Named { name, dependencies } = &mut column {
                if left_out.contains(name) {
                    continue;
                }
                let replaced = options.opt_replace.iter().flat_map(|replace| &replace.items);
                for element in replaced.filter(|element| spelled(&element.column_name) == name.as_ref()) {
                    *dependencies = Dependencies::default();
                    self.expression(&element.expr, Role::Value(Via::Copy), dependencies);
                }
                if let Some((_, new)) = renamed.iter().find(|(old, _)| old == name) {
                    *name = Arc::clone(new);
                }
            }
            columns.push(column);
        }
    }

    fn groups(&mut self, select: &Select, columns: &[OutputColumn], rows: &mut Dependencies) {
        let modifiers = match &select.group_by {
            GroupByExpr::All(modifiers) => {
                // Every column that is no aggregate groups.
                for column in columns {
                    if let OutputColumn::Named { dependencies, .. } = column
                        && dependencies.via() < Via::Aggregate
                    {
                        rows.absorb(dependencies, Role::Influence(InfluenceKind::GroupBy));
                    }
                }
                modifiers
            }
            GroupByExpr::Expressions(expressions, modifiers) => {
                expressions.iter().for_each(|expression| self.group(expression, columns, rows));
                modifiers
            }
        };
        for modifier in modifiers {
            if let GroupByWithModifier::GroupingSets(expression) = modifier {
                self.group(expression, columns, rows);
            }
        }
    }

    fn group(&mut self, expression: &Expr, columns: &[OutputColumn], rows: &mut Dependencies) {
        match expression {
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                sets.iter().flatten().for_each(|expression| self.group(expression, columns, rows));
            }
            Expr::Tuple(elements) => elements.iter().for_each(|element| self.group(element, columns, rows)),
            Expr::Nested(inner) => self.group(inner, columns, rows),
            _ => {
                // A name that the tables surely have is theirs in GROUP BY, and the result's in ORDER BY.
                let of_tables = matches!(expression, Expr::Identifier(ident) if self.surely_has(&spelled(ident)));
                if of_tables || !self.names_output(expression, columns, InfluenceKind::GroupBy, rows) {
                    self.condition(expression, InfluenceKind::GroupBy, rows);
                }
            }
        }
    }

    /// Whether an item of GROUP BY or ORDER BY is a column of the result, by name or by number; if so, adds it.
    pub(super) fn names_output(
        &mut self,
        expression: &Expr,
        columns: &[OutputColumn],
        kind: InfluenceKind,
        rows: &mut Dependencies,
    ) -> bool {
        let column = match expression {
            Expr::Value(value) => match &value.value {
                Value::Number(number, _) => {
                    number.to_string().parse::<usize>().ok().and_then(|place| columns.get(place.checked_sub(1)?))
                }
                _ => None,
            },
            Expr::Identifier(ident) if self.look(columns.len()) => {
                let name = spelled(ident);
                columns
                    .iter()
                    .find(|column| matches!(column, OutputColumn::Named { name: known, .. } if **known == *name))
            }
            _ => None,
        };
        let Some(column) = column else { return matches!(expression, Expr::Value(_)) };
        self.absorb_column(column, Role::Influence(kind), rows);
        true
    }

    /// HAVING and QUALIFY, which some dialects let name columns of the result.
    fn condition_over(&mut self, condition: &Expr, columns: &[OutputColumn], rows: &mut Dependencies) {
        if self.dialect == Dialect::Postgres {
            self.condition(condition, InfluenceKind::Filter, rows);
        } else {
            self.over_output(columns, |walk| walk.condition(condition, InfluenceKind::Filter, rows));
        }
    }

    /// Runs `within` where columns of the result are in reach too, behind those of the tables.
    fn over_output(&mut self, columns: &[OutputColumn], within: impl FnOnce(&mut Self)) {
        if let Some(scope) = self.scopes.last_mut() {
            let named = columns.iter().filter_map(|column| match column {
                OutputColumn::Named { name, dependencies } => Some((Arc::clone(name), dependencies.clone())),
                OutputColumn::AllOf(_) => None,
            });
            scope.outputs = named.collect();
        }
        within(self);
    }

    fn distinct(&mut self, select: &Select, around: Around<'_>, columns: &[OutputColumn], rows: &mut Dependencies) {
        match &select.distinct {
            None | Some(Distinct::All) => {}
            Some(Distinct::Distinct) => {
                for column in columns {
                    self.absorb_column(column, Role::Influence(InfluenceKind::GroupBy), rows);
                }
            }
            Some(Distinct::On(expressions)) => {
                for expression in expressions {
                    if !self.names_output(expression, columns, InfluenceKind::GroupBy, rows) {
                        self.condition(expression, InfluenceKind::GroupBy, rows);
                    }
                }
            }
        }
        self.order_of_select(select, around, columns, rows);
    }

    /// ORDER BY decides where only some rows are taken; what its expressions read is read in any case.
    fn order_of_select(
        &mut self,
        select: &Select,
        around: Around<'_>,
        columns: &[OutputColumn],
        rows: &mut Dependencies,
    ) {
        if around.limited || select.top.is_some() || matches!(select.distinct, Some(Distinct::On(_))) {
            for order in around.order.iter().chain(&select.sort_by) {
                if !self.names_output(&order.expr, columns, InfluenceKind::Sort, rows) {
                    self.over_output(columns, |walk| walk.condition(&order.expr, InfluenceKind::Sort, rows));
                }
            }
            return;
        }
        for order in around.order.iter().filter(|order| reads_itself(&order.expr)) {
            let mut no_matter = Dependencies::default();
            self.over_output(columns, |walk| walk.condition(&order.expr, InfluenceKind::Sort, &mut no_matter));
        }
    }

    /// The name of an output column without an alias: PostgreSQL's; in other dialects the text of what is no name.
    fn output_name_of(&self, expression: &Expr) -> ColumnName {
        match expression {
            Expr::Identifier(ident) => spelled(ident).into(),
            Expr::CompoundIdentifier(parts) => parts.last().map(spelled).unwrap_or_default().into(),
            Expr::Cast { expr, .. } if matches!(expr.as_ref(), Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => {
                postgres_name(expr)
            }
            _ if self.dialect != Dialect::Postgres => expression.to_string().into(),
            _ => postgres_name(expression),
        }
    }
}

/// Whether an expression may read tables by itself.
fn reads_itself(expression: &Expr) -> bool {
    !matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_))
}

fn excluded(options: &WildcardAdditionalOptions) -> Vec<ColumnName> {
    let mut names: Vec<ColumnName> = Vec::new();
    let last = |name: &sqlparser::ast::ObjectName| -> Option<ColumnName> {
        name.0.last().and_then(|part| part.as_ident()).map(|ident| spelled(ident).into())
    };
    match &options.opt_exclude {
        Some(ExcludeSelectItem::Single(name)) => names.extend(last(name)),
        Some(ExcludeSelectItem::Multiple(many)) => names.extend(many.iter().filter_map(last)),
        None => {}
    }
    if let Some(except) = &options.opt_except {
        let all = std::iter::once(&except.first_element).chain(&except.additional_elements);
        names.extend(all.map(|ident| ColumnName::from(spelled(ident))));
    }
    names
}

fn renamed_columns(options: &WildcardAdditionalOptions) -> Vec<(ColumnName, ColumnName)> {
    let pairs = match &options.opt_rename {
        Some(RenameSelectItem::Single(pair)) => std::slice::from_ref(pair),
        Some(RenameSelectItem::Multiple(pairs)) => pairs.as_slice(),
        None => &[],
    };
    pairs.iter().map(|pair| (spelled(&pair.ident).into(), spelled(&pair.alias).into())).collect()
}
