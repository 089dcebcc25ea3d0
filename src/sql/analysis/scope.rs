//! What names mean where they stand: the relations of the queries around them.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use sqlparser::ast::Ident;

use super::arena::{ColumnId, TableId};
use super::dependencies::{Dependencies, Role};
use super::outcome::{InfluenceKind, Via};
use super::schema::Shape;
use super::walk::Walk;
use crate::model::{ColumnName, TableName};
use crate::sql::SqlError;

/// What a query returns.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) columns: Vec<OutputColumn>,
    /// What decides which rows it returns.
    pub(super) rows: Vec<(ColumnId, InfluenceKind)>,
}

/// One column of an output, or all the columns of a table whose shape is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OutputColumn {
    Named {
        name: ColumnName,
        dependencies: Dependencies,
    },
    /// Of several tables, where a UNION lays them on one another: columns of one name then are one column.
    AllOf(Vec<TableId>),
}

/// What stands in a FROM under one name.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    pub(super) alias: ColumnName,
    pub(super) body: Body,
    /// Columns that a USING or NATURAL join merged into one of the scope, and a `*` lists there.
    pub(super) merged: Vec<ColumnName>,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Table {
        id: TableId,
        name: TableName,
        shape: Option<Arc<Shape>>,
    },
    Output(Rc<Output>),
    /// A function in FROM: any column of it comes from its arguments.
    Function {
        names: Vec<ColumnName>,
        /// How many of the names a `*` lists; none are known of what returns rows of a type of its own.
        listed: usize,
        dependencies: Rc<Dependencies>,
    },
}

/// A column that a join made of one on each of its sides.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) name: ColumnName,
    pub(super) dependencies: Dependencies,
    /// Where the join's relations begin, and its right side: a `*` lists the columns of the last join first, before those of
    /// its relations.
    pub(super) start: usize,
    pub(super) right: usize,
}

/// The relations of one query.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) relations: Vec<Relation>,
    /// Columns that joins merged: what a bare name of this kind means.
    pub(super) merged: Vec<Merged>,
    /// Names of the SELECT list so far, where the dialect lets them be used again.
    pub(super) outputs: Vec<(ColumnName, Dependencies)>,
    /// NEW and OLD of a trigger: only their names bring their columns in reach.
    pub(super) rows_of_trigger: bool,
}

impl Scope {
    /// The scope of one nameless relation.
    pub(super) fn of(body: Body) -> Self {
        let relation = Relation { alias: "".into(), body, merged: Vec::new() };
        Scope { relations: vec![relation], ..Scope::default() }
    }
}

/// Whether a relation has a column.
enum Has {
    Yes,
    No,
    /// Its shape is not known.
    Perhaps,
}

/// An identifier as the database spells it: folded to lower case unless quoted.
pub(super) fn spelled(ident: &Ident) -> Cow<'_, str> {
    if ident.quote_style.is_some() || !ident.value.chars().any(char::is_uppercase) {
        Cow::Borrowed(&ident.value)
    } else {
        Cow::Owned(ident.value.to_lowercase())
    }
}

impl Relation {
    fn has(&self, column: &str) -> Has {
        match &self.body {
            Body::Table { shape: Some(shape), .. } => {
                if shape.has(column) {
                    Has::Yes
                } else {
                    Has::No
                }
            }
            Body::Table { shape: None, .. } => Has::Perhaps,
            Body::Output(output) => {
                let named = output
                    .columns
                    .iter()
                    .any(|known| matches!(known, OutputColumn::Named { name, .. } if same_name(name, column)));
                let open = output.columns.iter().any(|known| matches!(known, OutputColumn::AllOf(_)));
                match (named, open) {
                    (true, _) => Has::Yes,
                    (false, true) => Has::Perhaps,
                    (false, false) => Has::No,
                }
            }
            Body::Function { names, .. } => {
                if names.iter().any(|name| name.as_ref() == column) {
                    Has::Yes
                } else {
                    Has::No
                }
            }
        }
    }

    /// How many names are compared to tell whether it has a column.
    fn cost(&self) -> usize {
        match &self.body {
            Body::Table { .. } => 1,
            Body::Output(output) => 1 + output.columns.len(),
            Body::Function { names, .. } => 1 + names.len(),
        }
    }

    fn is_called(&self, qualifier: &[Ident]) -> bool {
        match (qualifier, &self.body) {
            ([alias], _) => same_name(&self.alias, &spelled(alias)),
            ([path @ .., table], Body::Table { name, .. }) => {
                let last_of_path = path.last().map(spelled).unwrap_or_default();
                same_name(&name.table, &spelled(table))
                    && (same_name(&name.schema, &last_of_path)
                        || name.schema.rsplit('.').next().is_some_and(|schema| same_name(schema, &last_of_path)))
            }
            _ => false,
        }
    }
}

/// Quoted names keep their case; that two differ in nothing else is a matter of dialect, never of meaning.
fn same_name(left: &str, right: &str) -> bool {
    left == right
}

/// A column name's meaning.
enum Meaning {
    In { scope: usize, relation: usize },
    Merged { scope: usize, place: usize },
    Ambiguous,
    Nothing,
}

impl Walk<'_> {
    /// Adds what a name depends on, in this role.
    pub(super) fn column(&mut self, parts: &[Ident], role: Role, into: &mut Dependencies) {
        match parts {
            [] => {}
            [name] => self.bare_column(name, role, into),
            [.., _, _] => self.qualified_column(parts, role, into),
        }
    }

    fn bare_column(&mut self, ident: &Ident, role: Role, into: &mut Dependencies) {
        let name = spelled(ident);
        if self.variable(&name, role, into) {
            return;
        }
        match self.meaning(&name) {
            Meaning::In { scope, relation } => self.column_of(scope, relation, &name, role, into),
            Meaning::Merged { scope, place } => {
                if let Some(merged) = self.scopes.get(scope).and_then(|scope| scope.merged.get(place)) {
                    into.absorb(&merged.dependencies, role);
                }
            }
            Meaning::Ambiguous => self.unresolved(&name, role, into),
            Meaning::Nothing => {
                if self.output_name(&name, role, into)
                    || self.whole_row(ident, role, into)
                    || self.system_column(&name, role, into)
                {
                    return;
                }
                if self.dialect_constant(&name) {
                    return;
                }
                self.unresolved(&name, role, into);
                self.note(SqlError::UnknownColumn(name.into_owned()));
            }
        }
    }

    /// A variable of a routine, unless a table surely has a column of the name.
    fn variable(&mut self, name: &str, role: Role, into: &mut Dependencies) -> bool {
        let Some(held) = self.variables.get(name).cloned() else { return false };
        let mut relations =
            self.scopes.iter().filter(|scope| !scope.rows_of_trigger).flat_map(|scope| &scope.relations);
        if relations.any(|relation| matches!(relation.has(name), Has::Yes)) {
            return false;
        }
        for column in &held.columns {
            self.absorb_column(column, role, into);
        }
        true
    }

    /// Names that PostgreSQL's grammar takes for functions without parentheses.
    fn dialect_constant(&self, name: &str) -> bool {
        matches!(
            name,
            "current_date"
                | "current_time"
                | "current_timestamp"
                | "current_user"
                | "current_role"
                | "current_catalog"
                | "current_schema"
                | "localtime"
                | "localtimestamp"
                | "session_user"
                | "user"
                | "default"
        )
    }

    fn output_name(&self, name: &str, role: Role, into: &mut Dependencies) -> bool {
        let found =
            self.scopes.last().and_then(|scope| scope.outputs.iter().rev().find(|(known, _)| known.as_ref() == name));
        if let Some((_, dependencies)) = found {
            into.absorb(dependencies, role);
        }
        found.is_some()
    }

    /// Innermost first: a relation that surely has the column wins over one that might, within one query; a query
    /// further out counts where none further in might have it.
    fn meaning(&self, name: &str) -> Meaning {
        for (scope_place, scope) in self.scopes.iter().enumerate().rev() {
            if let Some(place) = scope.merged.iter().position(|merged| merged.name.as_ref() == name) {
                return Meaning::Merged { scope: scope_place, place };
            }
            let (mut sure, mut perhaps) = (None, None);
            let (mut sure_count, mut perhaps_count) = (0_usize, 0_usize);
            if scope.rows_of_trigger {
                continue;
            }
            for (place, relation) in scope.relations.iter().enumerate() {
                if !self.look(relation.cost()) {
                    return Meaning::Ambiguous;
                }
                match relation.has(name) {
                    Has::Yes => {
                        sure.get_or_insert(place);
                        sure_count += 1;
                    }
                    Has::Perhaps => {
                        perhaps.get_or_insert(place);
                        perhaps_count += 1;
                    }
                    Has::No => {}
                }
            }
            match (sure, sure_count, perhaps, perhaps_count) {
                (Some(relation), 1, ..) => return Meaning::In { scope: scope_place, relation },
                (Some(_), ..) => return Meaning::Ambiguous,
                (None, _, Some(_), _) if self.has_output(scope_place, name) => return Meaning::Nothing,
                (None, _, Some(_), _) if self.whole_row_is_meant(name) => return Meaning::Nothing,
                (None, _, Some(relation), 1) => {
                    return if self.known_further_out(scope_place, name) {
                        Meaning::Ambiguous
                    } else {
                        Meaning::In { scope: scope_place, relation }
                    };
                }
                (None, _, Some(_), _) => return Meaning::Ambiguous,
                (None, ..) => {}
            }
        }
        Meaning::Nothing
    }

    /// Whether a relation of the innermost query surely has the column.
    pub(super) fn surely_has(&self, name: &str) -> bool {
        self.scopes.last().is_some_and(|scope| {
            scope.merged.iter().any(|merged| *merged.name == *name)
                || scope.relations.iter().any(|relation| matches!(relation.has(name), Has::Yes))
        })
    }

    fn has_output(&self, scope: usize, name: &str) -> bool {
        self.scopes.get(scope).is_some_and(|scope| scope.outputs.iter().any(|(known, _)| known.as_ref() == name))
    }

    fn known_further_out(&self, scope: usize, name: &str) -> bool {
        let further = self.scopes.iter().take(scope);
        further.flat_map(|scope| &scope.relations).any(|relation| matches!(relation.has(name), Has::Yes))
    }

    /// A bare name that is a relation's name is the whole row, unless a column is surely meant.
    fn whole_row_is_meant(&self, name: &str) -> bool {
        self.scopes.iter().flat_map(|scope| &scope.relations).any(|relation| relation.alias.as_ref() == name)
    }

    fn unresolved(&mut self, name: &str, role: Role, into: &mut Dependencies) {
        let column = self.arena.column(None, name);
        into.add(column, role);
    }

    /// A column that every table has, of the only one in reach.
    fn system_column(&mut self, name: &str, role: Role, into: &mut Dependencies) -> bool {
        let relations = self.scopes.last().map(|scope| scope.relations.as_slice()).unwrap_or_default();
        let mut tables = relations.iter().filter_map(|relation| match &relation.body {
            Body::Table { id, .. } => Some(*id),
            Body::Output(_) | Body::Function { .. } => None,
        });
        let (Some(table), None, true) = (tables.next(), tables.next(), is_system_column(name)) else { return false };
        let column = self.arena.column(Some(table), name);
        into.add(column, role);
        true
    }

    fn whole_row(&mut self, ident: &Ident, role: Role, into: &mut Dependencies) -> bool {
        let parts = std::slice::from_ref(ident);
        let Some((scope, place)) = self.relation_called(parts) else { return false };
        self.all_columns_of(scope, place, role.at_least(Via::Transform), into);
        true
    }

    /// Adds every column of a relation.
    pub(super) fn all_columns_of(&mut self, scope: usize, place: usize, role: Role, into: &mut Dependencies) {
        let Some(body) =
            self.scopes.get(scope).and_then(|scope| scope.relations.get(place)).map(|found| found.body.clone())
        else {
            return;
        };
        for column in self.listed(&body, &[]) {
            self.absorb_column(&column, role, into);
        }
    }

    pub(super) fn absorb_column(&mut self, column: &OutputColumn, role: Role, into: &mut Dependencies) {
        match column {
            OutputColumn::Named { dependencies, .. } => {
                if self.spend(dependencies) {
                    into.absorb(dependencies, role);
                }
            }
            OutputColumn::AllOf(tables) => {
                for table in tables {
                    let star = self.arena.column(Some(*table), "*");
                    into.add(star, role);
                }
            }
        }
    }

    /// The columns of a relation as a `*` lists them, without some.
    pub(super) fn listed(&mut self, body: &Body, without: &[ColumnName]) -> Vec<OutputColumn> {
        let left_out = |name: &ColumnName| without.contains(name);
        match body {
            Body::Table { id, shape: None, .. } => vec![OutputColumn::AllOf(vec![*id])],
            Body::Table { id, shape: Some(shape), .. } => shape
                .columns
                .iter()
                .filter(|name| !left_out(name))
                .map(|name| {
                    let column = self.arena.column(Some(*id), name);
                    OutputColumn::Named {
                        name: Arc::clone(name),
                        dependencies: Dependencies::of_column(column, Via::Copy),
                    }
                })
                .collect(),
            Body::Output(output) => output
                .columns
                .iter()
                .filter(|column| !matches!(column, OutputColumn::Named { name, .. } if left_out(name)))
                .cloned()
                .collect(),
            Body::Function { names, listed, dependencies } => {
                let column = |name| OutputColumn::Named { name, dependencies: Dependencies::clone(dependencies) };
                match names.get(..*listed) {
                    None | Some([]) => vec![column("?column?".into())],
                    Some(names) => names.iter().cloned().map(column).collect(),
                }
            }
        }
    }

    /// The innermost relation of this name.
    pub(super) fn relation_called(&self, qualifier: &[Ident]) -> Option<(usize, usize)> {
        self.scopes.iter().enumerate().rev().find_map(|(place, scope)| {
            if !self.look(scope.relations.len()) {
                return None;
            }
            let relation = scope.relations.iter().position(|relation| relation.is_called(qualifier))?;
            Some((place, relation))
        })
    }

    /// `alias.column`, `schema.table.column`; what follows the column is a field of it.
    fn qualified_column(&mut self, parts: &[Ident], role: Role, into: &mut Dependencies) {
        // The longest qualifier first would take a field for a column where an alias is named like a schema: shortest.
        for length in 1..parts.len() {
            let (Some(qualifier), Some(column)) = (parts.get(..length), parts.get(length)) else { continue };
            let Some((scope, relation)) = self.relation_called(qualifier) else { continue };
            let role = if length + 1 < parts.len() { role.at_least(Via::Transform) } else { role };
            self.column_of(scope, relation, &spelled(column), role, into);
            return;
        }
        // A parameter by its routine's name.
        if let [routine, variable] = parts
            && self.active.last().is_some_and(|active| *active.name.table == *spelled(routine))
            && self.variables.contains_key(spelled(variable).as_ref())
        {
            return self.bare_column(variable, role, into);
        }
        // A field of a row that a variable of a routine holds.
        if let [row, .., field] = parts
            && let Some(held) = self.variables.get(spelled(row).as_ref()).cloned()
        {
            let field = spelled(field);
            let named = held.columns.iter().any(|column| column.name().is_none_or(|name| **name == *field));
            if named {
                self.column_of_output(&held, &field, role, into);
            }
            return;
        }
        // No relation of that name: in some dialects the first part is a column, and what follows a field of it.
        if let Some(first) = parts.first()
            && matches!(self.meaning(&spelled(first)), Meaning::In { .. } | Meaning::Merged { .. })
            && self.dialect != super::Dialect::Postgres
        {
            self.bare_column(first, role.at_least(Via::Transform), into);
            return;
        }
        let Some(last) = parts.last() else { return };
        self.unresolved(&spelled(last), role, into);
        self.note(SqlError::UnknownColumn(
            parts.iter().map(|part| spelled(part).into_owned()).collect::<Vec<_>>().join("."),
        ));
    }

    /// Adds what a relation's column depends on.
    fn column_of(&mut self, scope: usize, place: usize, name: &str, role: Role, into: &mut Dependencies) {
        let Some(relation) = self.scopes.get(scope).and_then(|scope| scope.relations.get(place)) else { return };
        match &relation.body {
            Body::Table { id, shape, .. } => {
                let id = *id;
                let known = shape.as_ref().is_none_or(|shape| shape.has(name)) || is_system_column(name);
                let shown = (!known).then(|| format!("{}.{name}", relation.alias));
                let column = self.arena.column(if known { Some(id) } else { None }, name);
                into.add(column, role);
                if let Some(shown) = shown {
                    self.note(SqlError::UnknownColumn(shown));
                }
            }
            Body::Function { dependencies, .. } => into.absorb(dependencies, role.at_least(Via::Transform)),
            Body::Output(output) => {
                let output = Rc::clone(output);
                self.column_of_output(&output, name, role, into);
            }
        }
    }

    /// The column of this name among some relations of the innermost scope: the sure one, else each that may have it.
    pub(super) fn column_among(&mut self, name: &str, places: std::ops::Range<usize>, into: &mut Dependencies) {
        let Some(scope_place) = self.scopes.len().checked_sub(1) else { return };
        let relations = self.scopes.last().map(|scope| scope.relations.as_slice()).unwrap_or_default();
        let (mut sure, mut perhaps) = (None, Vec::new());
        for (place, relation) in relations.iter().enumerate().filter(|(place, _)| places.contains(place)) {
            match relation.has(name) {
                Has::Yes => sure = sure.or(Some(place)),
                Has::Perhaps => perhaps.push(place),
                Has::No => {}
            }
        }
        let found = sure.map_or(perhaps, |place| vec![place]);
        for place in &found {
            self.column_of(scope_place, *place, name, Role::Value(Via::Copy), into);
        }
        if found.is_empty() {
            self.unresolved(name, Role::Value(Via::Copy), into);
            self.note(SqlError::UnknownColumn(name.to_owned()));
        }
    }

    pub(super) fn column_of_output(&mut self, output: &Output, name: &str, role: Role, into: &mut Dependencies) {
        let mut open = Vec::new();
        if !self.look(output.columns.len()) {
            return self.unresolved(name, role, into);
        }
        for column in &output.columns {
            match column {
                OutputColumn::Named { name: known, dependencies } if same_name(known, name) => {
                    if self.spend(dependencies) {
                        into.absorb(dependencies, role);
                    }
                    return;
                }
                OutputColumn::Named { .. } => {}
                OutputColumn::AllOf(tables) => open.push(tables),
            }
        }
        open.dedup();
        match open.as_slice() {
            [tables] => {
                for table in *tables {
                    let column = self.arena.column(Some(*table), name);
                    into.add(column, role);
                }
            }
            [] => {
                self.unresolved(name, role, into);
                self.note(SqlError::UnknownColumn(name.to_owned()));
            }
            _ => self.unresolved(name, role, into),
        }
    }
}

fn is_system_column(name: &str) -> bool {
    matches!(name, "ctid" | "xmin" | "xmax" | "cmin" | "cmax" | "tableoid" | "oid")
}
