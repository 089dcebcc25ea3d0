//! FROM: tables, subqueries, functions and joins, and the names they bring in reach.

use std::rc::Rc;
use std::sync::Arc;

use sqlparser::ast::{
    Expr, FunctionArg, Ident, Join, JoinConstraint, JoinOperator, JsonTableColumn, ObjectName, PivotValueSource,
    Select, TableAlias, TableFactor, TableWithJoins,
};

use super::dependencies::{Dependencies, Role};
use super::outcome::{InfluenceKind, Via};
use super::query::{relation_rows, renamed, with_names};
use super::scope::{Body, Merged, Output, OutputColumn, Relation, Scope, spelled};
use super::walk::Walk;
use super::writes::last_name;
use crate::model::ColumnName;
use crate::sql::SqlError;

/// Which side's value a merged column of USING has.
#[derive(Clone, Copy)]
enum Keeps {
    Left,
    Right,
    Either,
}

impl Walk<'_> {
    pub(super) fn from(&mut self, items: &[TableWithJoins], rows: &mut Dependencies) {
        for item in items {
            self.joined(item, rows);
        }
    }

    pub(super) fn joined(&mut self, item: &TableWithJoins, rows: &mut Dependencies) {
        let start = self.relations_in_reach();
        self.factor(&item.relation, rows);
        for join in &item.joins {
            let right = self.relations_in_reach();
            self.factor(&join.relation, rows);
            self.join(join, start, right, rows);
        }
    }

    fn relations_in_reach(&self) -> usize {
        self.scopes.last().map_or(0, |scope| scope.relations.len())
    }

    pub(super) fn add_relation(&mut self, relation: Relation, rows: &mut Dependencies) {
        rows.influences.extend(relation_rows(&relation.body));
        match self.scopes.last_mut() {
            Some(scope) => scope.relations.push(relation),
            None => self.scopes.push(Scope { relations: vec![relation], ..Scope::default() }),
        }
    }

    pub(super) fn factor(&mut self, factor: &TableFactor, rows: &mut Dependencies) {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let relation = self.relation_named(name, alias.as_ref());
                self.add_relation(relation, rows);
            }
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
                self.function_in_from(name, &args.args, alias.as_ref(), rows);
                self.count_rows(*with_ordinality, alias.as_ref());
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } => {
                self.function_in_from(name, args, alias.as_ref(), rows);
                self.count_rows(*with_ordinality, alias.as_ref());
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let output = if *lateral { self.query(subquery) } else { self.apart(|walk| walk.query(subquery)) };
                self.add_output(output, alias.as_ref(), rows);
            }
            TableFactor::NestedJoin { table_with_joins, alias } => match alias {
                None => self.joined(table_with_joins, rows),
                Some(alias) => {
                    let output = self.nested_output(|walk, rows| walk.joined(table_with_joins, rows));
                    self.add_output(Rc::new(output), Some(alias), rows);
                }
            },
            TableFactor::UNNEST { alias, array_exprs, with_offset_alias, .. } => {
                let mut dependencies = Dependencies::default();
                self.expressions(array_exprs, Role::Value(Via::Transform), &mut dependencies);
                let value =
                    alias.as_ref().map_or_else(|| "unnest".into(), |alias| ColumnName::from(spelled(&alias.name)));
                let mut names = vec![value];
                names.extend(with_offset_alias.iter().map(|ident| ColumnName::from(spelled(ident))));
                self.add_function(names, dependencies, alias.as_ref(), rows);
            }
            TableFactor::TableFunction { expr, alias } => {
                let mut dependencies = Dependencies::default();
                self.expression(expr, Role::Value(Via::Transform), &mut dependencies);
                self.add_function(Vec::new(), dependencies, alias.as_ref(), rows);
            }
            other => self.computed_factor(other, rows),
        }
    }

    /// FROM items that compute a table from a document or from another table.
    fn computed_factor(&mut self, factor: &TableFactor, rows: &mut Dependencies) {
        let mut dependencies = Dependencies::default();
        match factor {
            TableFactor::JsonTable { json_expr, columns, alias, .. } => {
                self.expression(json_expr, Role::Value(Via::Transform), &mut dependencies);
                let mut names = Vec::new();
                json_columns(columns, &mut names);
                let unnamed = called("json_table");
                self.add_function(names, dependencies, alias.as_ref().or(Some(&unnamed)), rows);
            }
            TableFactor::OpenJsonTable { json_expr, alias, .. } => {
                self.expression(json_expr, Role::Value(Via::Transform), &mut dependencies);
                self.add_function(Vec::new(), dependencies, alias.as_ref(), rows);
            }
            TableFactor::XmlTable { passing, alias, columns, .. } => {
                for argument in &passing.arguments {
                    self.expression(&argument.expr, Role::Value(Via::Transform), &mut dependencies);
                }
                let names = columns.iter().map(|column| spelled(&column.name).into()).collect();
                let unnamed = called("xmltable");
                self.add_function(names, dependencies, alias.as_ref().or(Some(&unnamed)), rows);
            }
            TableFactor::Pivot { table, aggregate_functions, value_column, value_source, alias, .. } => {
                let mut output = self.nested_output(|walk, rows| {
                    walk.factor(table, rows);
                    for column in value_column {
                        walk.condition(column, InfluenceKind::GroupBy, rows);
                    }
                    for function in aggregate_functions {
                        walk.expression(&function.expr, Role::Value(Via::Aggregate), &mut dependencies);
                    }
                });
                if let PivotValueSource::List(values) = value_source {
                    for value in values {
                        let name = value
                            .alias
                            .as_ref()
                            .map_or_else(|| value.expr.to_string(), |alias| spelled(alias).into_owned());
                        let name = name.trim_matches('\'').into();
                        output.columns.push(OutputColumn::Named { name, dependencies: dependencies.clone() });
                    }
                }
                self.add_output(Rc::new(output), alias.as_ref(), rows);
            }
            TableFactor::Unpivot { table, value, name, columns, alias, .. } => {
                let mut output = self.nested_output(|walk, rows| {
                    walk.factor(table, rows);
                    for column in columns {
                        walk.expression(&column.expr, Role::Value(Via::Copy), &mut dependencies);
                    }
                });
                let value = match value {
                    Expr::Identifier(ident) => spelled(ident).into(),
                    other => other.to_string().into(),
                };
                output.columns.push(OutputColumn::Named { name: value, dependencies });
                output
                    .columns
                    .push(OutputColumn::Named { name: spelled(name).into(), dependencies: Dependencies::default() });
                self.add_output(Rc::new(output), alias.as_ref(), rows);
            }
            other => self.note(SqlError::Unsupported(format!("the FROM item {other}"))),
        }
    }

    /// What FROM items bring together, seen from outside as one relation.
    fn nested_output(&mut self, within: impl FnOnce(&mut Self, &mut Dependencies)) -> Output {
        self.apart(|walk| {
            let mut rows = Dependencies::default();
            walk.scopes.push(Scope::default());
            within(walk, &mut rows);
            let columns = walk.listed_of_relations(0..usize::MAX);
            walk.scopes.pop();
            Output { columns, rows: rows.influences }
        })
    }

    /// Runs `within` where the relations of the FROM so far are out of reach, as they are for a subquery not LATERAL.
    fn apart<T>(&mut self, within: impl FnOnce(&mut Self) -> T) -> T {
        let hidden = self.scopes.pop();
        let result = within(self);
        self.scopes.extend(hidden);
        result
    }

    fn add_output(&mut self, output: Rc<Output>, alias: Option<&TableAlias>, rows: &mut Dependencies) {
        let output = match alias {
            Some(alias) => renamed(output, alias),
            None => output,
        };
        let alias = alias.map(|alias| spelled(&alias.name).into()).unwrap_or_else(|| ColumnName::from(""));
        self.add_relation(Relation { alias, body: Body::Output(output), merged: Vec::new() }, rows);
    }

    /// A common table expression, a table, or a view.
    pub(super) fn relation_named(&mut self, name: &ObjectName, alias: Option<&TableAlias>) -> Relation {
        let alias_name = alias.map(|alias| ColumnName::from(spelled(&alias.name)));
        if let [part] = name.0.as_slice()
            && let Some(ident) = part.as_ident()
        {
            let bare = spelled(ident);
            let known = self.look(self.common_tables.len());
            if !known {
                return Relation { alias: bare.into(), body: Body::Output(Rc::default()), merged: Vec::new() };
            }
            if let Some(common) = self.common_tables.iter().rev().find(|common| *common.name == *bare) {
                let (output, reads) = (Rc::clone(&common.output), common.reads.clone());
                reads.into_iter().for_each(|table| self.reads(table));
                let output = alias.map_or_else(|| Rc::clone(&output), |alias| renamed(Rc::clone(&output), alias));
                let alias = alias_name.unwrap_or_else(|| bare.into());
                return Relation { alias, body: Body::Output(output), merged: Vec::new() };
            }
        }
        let name = match computed_name(name) {
            Ok(name) => name,
            Err(error) => {
                self.note(error);
                let names: Vec<ColumnName> = alias_name.iter().cloned().collect();
                let body = Body::Function { listed: names.len(), names, dependencies: Rc::default() };
                return Relation { alias: alias_name.unwrap_or_default(), body, merged: Vec::new() };
            }
        };
        let table = self.schema.resolve(&name, self.dialect);
        let id = self.arena.table(&table);
        self.reads(id);
        let shape = self.schema.shape(&table).cloned();
        let relation_alias = alias_name.unwrap_or_else(|| Arc::clone(&table.table));
        let mut body = Body::Table { id, name: table, shape };
        if let Some(alias) = alias.filter(|alias| !alias.columns.is_empty()) {
            let names: Vec<ColumnName> = alias.columns.iter().map(|column| spelled(&column.name).into()).collect();
            body = Body::Output(Rc::new(self.columns_renamed(&body, &names)));
        }
        Relation { alias: relation_alias, body, merged: Vec::new() }
    }

    fn columns_renamed(&mut self, body: &Body, names: &[ColumnName]) -> Output {
        let listed = self.listed(body, &[]);
        if let [open @ OutputColumn::AllOf(_)] = listed.as_slice() {
            // Which of its columns the new names are is not known: each comes from somewhere in it.
            let mut anywhere = Dependencies::default();
            self.absorb_column(open, Role::Value(Via::Copy), &mut anywhere);
            let named =
                names.iter().map(|name| OutputColumn::Named { name: Arc::clone(name), dependencies: anywhere.clone() });
            return Output { columns: named.collect(), rows: Vec::new() };
        }
        with_names(&Output { columns: listed, rows: Vec::new() }, names)
    }

    fn function_in_from(
        &mut self,
        name: &ObjectName,
        arguments: &[FunctionArg],
        alias: Option<&TableAlias>,
        rows: &mut Dependencies,
    ) {
        if let Some(name) = named_by_text(name, arguments) {
            let relation = self.relation_named(&name, alias);
            self.add_relation(relation, rows);
            return;
        }
        if self.schema.has_routines() && self.routine_in_from(name, arguments, alias, rows) {
            return;
        }
        self.note_unknown(name, arguments.len());
        let mut dependencies = Dependencies::default();
        for argument in arguments {
            self.argument(argument, Role::Value(Via::Transform), &mut dependencies);
        }
        let function = name.0.last().and_then(|part| part.as_ident()).map(spelled).unwrap_or_default();
        let names: Vec<ColumnName> = match function.as_ref() {
            "jsonb_each" | "json_each" | "jsonb_each_text" | "json_each_text" => vec!["key".into(), "value".into()],
            "jsonb_array_elements"
            | "json_array_elements"
            | "jsonb_array_elements_text"
            | "json_array_elements_text" => {
                vec!["value".into()]
            }
            // One value goes by the alias, where there is one.
            _ if alias.is_some() => Vec::new(),
            _ => vec![function.into()],
        };
        self.add_function(names, dependencies, alias, rows);
    }

    /// A routine that is defined, as a table; `false` where it is none.
    fn routine_in_from(
        &mut self,
        name: &ObjectName,
        arguments: &[FunctionArg],
        alias: Option<&TableAlias>,
        rows: &mut Dependencies,
    ) -> bool {
        let Some(function) = last_name(name) else { return false };
        if self.schema.routines(name, self.dialect).is_empty() {
            return false;
        }
        let arguments = self.listed_arguments(arguments);
        let Some(output) = self.called(name, &arguments) else { return false };
        let mut output = match alias {
            Some(alias) if alias.columns.is_empty() && output.columns.len() == 1 => {
                // One value goes by the name of the function, and by the alias too.
                let [OutputColumn::Named { dependencies, .. }] = output.columns.as_slice() else {
                    self.add_output(Rc::new(output), Some(alias), rows);
                    return true;
                };
                let name = ColumnName::from(spelled(&alias.name));
                let column = OutputColumn::Named { name, dependencies: dependencies.clone() };
                Output { columns: output.columns.iter().cloned().chain([column]).collect(), rows: output.rows }
            }
            _ => output,
        };
        // How many rows there are is up to what they are computed from.
        for argument in &arguments {
            output.rows.extend(argument.value.sources.iter().map(|(column, _)| (*column, InfluenceKind::Join)));
        }
        match alias {
            Some(alias) => self.add_output(Rc::new(output), Some(alias), rows),
            None => self.add_relation(
                Relation { alias: function, body: Body::Output(Rc::new(output)), merged: Vec::new() },
                rows,
            ),
        }
        true
    }

    fn add_function(
        &mut self,
        mut names: Vec<ColumnName>,
        mut dependencies: Dependencies,
        alias: Option<&TableAlias>,
        rows: &mut Dependencies,
    ) {
        dependencies.settle();
        rows.absorb(&dependencies, Role::Influence(InfluenceKind::Join));
        let shown = names.first().cloned();
        let alias_name = alias.map(|alias| ColumnName::from(spelled(&alias.name)));
        if let Some(alias) = alias.filter(|alias| !alias.columns.is_empty()) {
            names = alias.columns.iter().map(|column| spelled(&column.name).into()).collect();
        } else if names.is_empty() {
            names.extend(alias_name.clone());
        }
        let listed = names.len();
        if alias.is_none_or(|alias| alias.columns.is_empty()) {
            names.extend(alias_name.clone());
            names.push("ordinality".into());
        }
        let body = Body::Function { names, listed, dependencies: Rc::new(dependencies) };
        let alias = alias_name.or(shown).unwrap_or_else(|| "".into());
        self.add_relation(Relation { alias, body, merged: Vec::new() }, rows);
    }

    /// `WITH ORDINALITY`: a `*` lists the number of each row too, where no alias names the columns.
    fn count_rows(&mut self, with_ordinality: bool, alias: Option<&TableAlias>) {
        let added = self.scopes.last_mut().and_then(|scope| scope.relations.last_mut());
        if let (true, Some(Relation { body: Body::Function { names, listed, .. }, .. })) = (with_ordinality, added)
            && alias.is_none_or(|alias| alias.columns.is_empty())
        {
            names.insert(*listed, "ordinality".into());
            *listed += 1;
        }
    }

    pub(super) fn lateral_views(&mut self, select: &Select, rows: &mut Dependencies) {
        for view in &select.lateral_views {
            let mut dependencies = Dependencies::default();
            self.expression(&view.lateral_view, Role::Value(Via::Transform), &mut dependencies);
            rows.absorb(&dependencies, Role::Influence(InfluenceKind::Join));
            let names = view.lateral_col_alias.iter().map(|ident| spelled(ident).into()).collect();
            let alias =
                view.lateral_view_name.0.last().and_then(|part| part.as_ident()).map(spelled).unwrap_or_default();
            let names: Vec<ColumnName> = names;
            let body = Body::Function { listed: names.len(), names, dependencies: Rc::new(dependencies) };
            self.add_relation(Relation { alias: alias.into(), body, merged: Vec::new() }, rows);
        }
    }

    pub(super) fn join(&mut self, join: &Join, start: usize, right: usize, rows: &mut Dependencies) {
        let (constraint, keeps) = match &join.join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint)
            | JoinOperator::CrossJoin(constraint)
            | JoinOperator::Semi(constraint)
            | JoinOperator::LeftSemi(constraint)
            | JoinOperator::Anti(constraint)
            | JoinOperator::LeftAnti(constraint)
            | JoinOperator::StraightJoin(constraint) => (constraint, Keeps::Left),
            JoinOperator::Right(constraint)
            | JoinOperator::RightOuter(constraint)
            | JoinOperator::RightSemi(constraint)
            | JoinOperator::RightAnti(constraint) => (constraint, Keeps::Right),
            JoinOperator::FullOuter(constraint) => (constraint, Keeps::Either),
            JoinOperator::AsOf { match_condition, constraint } => {
                self.condition(match_condition, InfluenceKind::Join, rows);
                (constraint, Keeps::Left)
            }
            JoinOperator::CrossApply
            | JoinOperator::OuterApply
            | JoinOperator::ArrayJoin
            | JoinOperator::LeftArrayJoin
            | JoinOperator::InnerArrayJoin => return,
        };
        match constraint {
            JoinConstraint::On(condition) => self.condition(condition, InfluenceKind::Join, rows),
            JoinConstraint::Using(names) => {
                for name in names {
                    if let Some(ident) = name.0.last().and_then(|part| part.as_ident()) {
                        self.merge(&spelled(ident), start, right, keeps, rows);
                    }
                }
            }
            JoinConstraint::Natural => self.natural(start, right, keeps, rows),
            JoinConstraint::None => {}
        }
    }

    /// NATURAL joins by every name that both sides have.
    fn natural(&mut self, start: usize, right: usize, keeps: Keeps, rows: &mut Dependencies) {
        let (left, other) = (self.listed_of_relations(start..right), self.listed_of_relations(right..usize::MAX));
        let names = |columns: &[OutputColumn]| -> Vec<ColumnName> {
            let named = columns.iter().filter_map(|column| match column {
                OutputColumn::Named { name, .. } => Some(Arc::clone(name)),
                OutputColumn::AllOf(_) => None,
            });
            named.collect()
        };
        let of_the_right: std::collections::HashSet<ColumnName> = names(&other).into_iter().collect();
        for name in names(&left).into_iter().filter(|name| of_the_right.contains(name)) {
            self.merge(&name, start, right, keeps, rows);
        }
        // Tables whose columns are not known are joined by any of them.
        for column in left.iter().chain(&other).filter(|column| matches!(column, OutputColumn::AllOf(_))) {
            self.absorb_column(column, Role::Influence(InfluenceKind::Join), rows);
        }
    }

    /// One column of USING: from here on the bare name means the merged one.
    fn merge(&mut self, name: &str, start: usize, right: usize, keeps: Keeps, rows: &mut Dependencies) {
        let left = self.merged_or_among(name, start..right);
        let other = self.merged_or_among(name, right..usize::MAX);
        rows.absorb(&left, Role::Influence(InfluenceKind::Join));
        rows.absorb(&other, Role::Influence(InfluenceKind::Join));
        let merged = match keeps {
            Keeps::Left => left,
            Keeps::Right => other,
            Keeps::Either => {
                let mut both = Dependencies::default();
                both.absorb(&left, Role::Value(Via::Transform));
                both.absorb(&other, Role::Value(Via::Transform));
                both
            }
        };
        let Some(scope) = self.scopes.last_mut() else { return };
        scope.merged.retain(|known| *known.name != *name || known.start < start);
        scope.merged.push(Merged { name: name.into(), dependencies: merged, start, right });
        for relation in scope.relations.iter_mut().skip(start) {
            relation.merged.push(name.into());
        }
    }
}

impl Walk<'_> {
    /// One side's column of USING: what an earlier join there merged, or a relation's.
    fn merged_or_among(&mut self, name: &str, places: std::ops::Range<usize>) -> Dependencies {
        let known = self.scopes.last().and_then(|scope| {
            scope.merged.iter().find(|merged| *merged.name == *name && places.contains(&merged.start))
        });
        if let Some(known) = known {
            return known.dependencies.clone();
        }
        let mut dependencies = Dependencies::default();
        self.column_among(name, places, &mut dependencies);
        dependencies
    }
}

/// The name that a function's rows have where they are given none.
fn called(name: &str) -> TableAlias {
    TableAlias { explicit: false, name: Ident::new(name), columns: Vec::new(), at: None }
}

fn json_columns(columns: &[JsonTableColumn], names: &mut Vec<ColumnName>) {
    for column in columns {
        match column {
            JsonTableColumn::Named(named) => names.push(spelled(&named.name).into()),
            JsonTableColumn::ForOrdinality(name) => names.push(spelled(name).into()),
            JsonTableColumn::Nested(nested) => json_columns(&nested.columns, names),
        }
    }
}

/// The name itself, or the one that `identifier('schema.table')` in its place gives.
pub(super) fn computed_name(name: &ObjectName) -> Result<std::borrow::Cow<'_, ObjectName>, SqlError> {
    use std::borrow::Cow;
    let Some(function) = name.0.iter().find_map(|part| match part {
        sqlparser::ast::ObjectNamePart::Function(function) => Some(function),
        sqlparser::ast::ObjectNamePart::Identifier(_) => None,
    }) else {
        return Ok(Cow::Borrowed(name));
    };
    named_by_text(&ObjectName::from(vec![function.name.clone()]), &function.args)
        .map(Cow::Owned)
        .ok_or_else(|| SqlError::Unsupported(format!("the table {name}, which is named at run time")))
}

/// `identifier('schema.table')` and its like, which some dialects have: the table that the text names.
pub(super) fn named_by_text(name: &ObjectName, arguments: &[FunctionArg]) -> Option<ObjectName> {
    use sqlparser::ast::{FunctionArgExpr, Ident, Value};
    let function = name.0.last()?.as_ident()?;
    if !function.value.eq_ignore_ascii_case("identifier") && !function.value.eq_ignore_ascii_case("table") {
        return None;
    }
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(expression))] = arguments else { return None };
    match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => {
                Some(ObjectName::from(text.split('.').map(Ident::new).collect::<Vec<_>>()))
            }
            _ => None,
        },
        Expr::Identifier(ident) => Some(ObjectName::from(vec![ident.clone()])),
        Expr::CompoundIdentifier(parts) => Some(ObjectName::from(parts.clone())),
        _ => None,
    }
}
