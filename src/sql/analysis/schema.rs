//! The tables, views and routines that are defined when a statement runs.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use sqlparser::ast::{Expr, ObjectName, Query, Statement};

use super::routines::{Routine, Trigger};
use super::scope::spelled;
use super::{Analyzer, Dialect, StatementAnalysis};
use crate::model::{ColumnName, TableName};
use crate::sql::Schemas;

/// What is defined: tables and views with their columns, and where a bare name is looked for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schema {
    relations: Arc<BTreeMap<TableName, Arc<Shape>>>,
    search_path: Arc<[Arc<str>]>,
    routines: Arc<BTreeMap<ColumnName, Vec<Arc<Routine>>>>,
    triggers: Arc<BTreeMap<TableName, Vec<Trigger>>>,
    prepared: Arc<BTreeMap<ColumnName, Arc<Statement>>>,
    cursors: Arc<BTreeMap<ColumnName, Arc<Query>>>,
}

/// The schema of temporary tables.
const TEMPORARY: &str = "pg_temp";

/// What a table or view looks like.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    /// Its columns in order.
    pub(super) columns: Vec<ColumnName>,
    names: HashSet<ColumnName>,
    /// The columns that the database computes from others of the row, with their expressions.
    pub(super) generated: Vec<(ColumnName, Expr)>,
    /// For a materialized view: its query.
    pub(super) query: Option<Arc<Query>>,
}

impl Shape {
    pub(super) fn new(columns: Vec<ColumnName>) -> Self {
        let names = columns.iter().cloned().collect();
        Shape { columns, names, ..Shape::default() }
    }

    pub(super) fn has(&self, column: &str) -> bool {
        self.names.contains(column)
    }
}

impl Default for Schema {
    /// Nothing is defined; bare names are in `public`.
    fn default() -> Self {
        Schema {
            relations: Arc::default(),
            search_path: Arc::from([Arc::from("public")]),
            routines: Arc::default(),
            triggers: Arc::default(),
            prepared: Arc::default(),
            cursors: Arc::default(),
        }
    }
}

impl From<&Schemas> for Schema {
    fn from(schemas: &Schemas) -> Self {
        let relations = schemas.iter().map(|(name, table)| {
            let columns = table.columns.iter().map(|column| Arc::clone(&column.name)).collect();
            (name.clone(), Arc::new(Shape::new(columns)))
        });
        Schema { relations: Arc::new(relations.collect()), ..Schema::default() }
    }
}

impl Schema {
    /// What definitions in SQL define, and the analysis of each statement: those with an error defined nothing.
    pub fn from_definitions(sql: &str, dialect: Dialect) -> (Schema, Vec<StatementAnalysis>) {
        let mut analyzer = Analyzer::new(Schema::default(), dialect);
        let statements = analyzer.analyze(sql);
        (analyzer.into_schema(), statements)
    }

    /// Whether nothing was changed since the one was cloned from the other.
    pub fn is(&self, other: &Schema) -> bool {
        Arc::ptr_eq(&self.relations, &other.relations)
            && Arc::ptr_eq(&self.search_path, &other.search_path)
            && Arc::ptr_eq(&self.routines, &other.routines)
            && Arc::ptr_eq(&self.triggers, &other.triggers)
            && Arc::ptr_eq(&self.prepared, &other.prepared)
            && Arc::ptr_eq(&self.cursors, &other.cursors)
    }

    /// Whether nothing is defined.
    pub fn is_empty(&self) -> bool {
        self.relations.is_empty()
    }

    pub(super) fn shape(&self, table: &TableName) -> Option<&Arc<Shape>> {
        self.relations.get(table)
    }

    /// The table that a name means where it is read: the first on the search path that has it, else in the path's
    /// first schema.
    pub(super) fn resolve(&self, name: &ObjectName, dialect: Dialect) -> TableName {
        match parts(name, dialect).as_slice() {
            [table] => self.resolve_bare(table),
            [path @ .., table] => TableName::new(path.join("."), table.as_str()),
            [] => TableName::new("", ""),
        }
    }

    fn resolve_bare(&self, table: &str) -> TableName {
        let temporary = TableName::new(TEMPORARY, table);
        if self.relations.contains_key(&temporary) {
            return temporary;
        }
        let mut places = self.search_path.iter().map(|schema| TableName::new(Arc::clone(schema), table));
        places.find(|place| self.relations.contains_key(place)).unwrap_or_else(|| self.in_first_schema(table))
    }

    fn in_first_schema(&self, table: &str) -> TableName {
        let schema = self.search_path.first().map_or_else(|| Arc::from("public"), Arc::clone);
        TableName::new(schema, table)
    }

    /// The table that a name means where it is created.
    pub(super) fn created(&self, name: &ObjectName, temporary: bool, dialect: Dialect) -> TableName {
        match parts(name, dialect).as_slice() {
            [table] if temporary => TableName::new(TEMPORARY, table.as_str()),
            [table] => self.in_first_schema(table),
            _ => self.resolve(name, dialect),
        }
    }

    pub(super) fn define(&mut self, table: TableName, shape: Shape) {
        Arc::make_mut(&mut self.relations).insert(table, Arc::new(shape));
    }

    pub(super) fn forget(&mut self, table: &TableName) -> Option<Arc<Shape>> {
        Arc::make_mut(&mut self.relations).remove(table)
    }

    pub(super) fn rename(&mut self, from: &TableName, to: TableName) {
        if let Some(shape) = self.forget(from) {
            Arc::make_mut(&mut self.relations).insert(to, shape);
        }
    }

    /// Changes a table's columns; what is not defined stays so.
    pub(super) fn change(&mut self, table: &TableName, change: impl FnOnce(&mut Vec<ColumnName>)) {
        if let Some(shape) = Arc::make_mut(&mut self.relations).get_mut(table) {
            let mut changed = Shape::clone(shape);
            change(&mut changed.columns);
            changed.names = changed.columns.iter().cloned().collect();
            *shape = Arc::new(changed);
        }
    }

    pub(super) fn has_routines(&self) -> bool {
        !self.routines.is_empty()
    }

    /// The routines of this name, which take other arguments each.
    pub(super) fn routines(&self, name: &str) -> &[Arc<Routine>] {
        self.routines.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn define_routine(&mut self, name: ColumnName, routine: Routine) {
        let routines = Arc::make_mut(&mut self.routines).entry(name).or_default();
        routines.retain(|known| !known.is_of_types_of(&routine));
        routines.push(Arc::new(routine));
    }

    pub(super) fn forget_routines(&mut self, name: &str) {
        Arc::make_mut(&mut self.routines).remove(name);
    }

    pub(super) fn triggers(&self, table: &TableName) -> &[Trigger] {
        self.triggers.get(table).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn define_trigger(&mut self, table: TableName, trigger: Trigger) {
        let triggers = Arc::make_mut(&mut self.triggers).entry(table).or_default();
        triggers.retain(|known| known.name != trigger.name);
        triggers.push(trigger);
    }

    pub(super) fn forget_trigger(&mut self, name: &str) {
        for triggers in Arc::make_mut(&mut self.triggers).values_mut() {
            triggers.retain(|known| *known.name != *name);
        }
    }

    pub(super) fn prepared(&self, name: &str) -> Option<Arc<Statement>> {
        self.prepared.get(name).cloned()
    }

    pub(super) fn prepare(&mut self, name: ColumnName, statement: Statement) {
        Arc::make_mut(&mut self.prepared).insert(name, Arc::new(statement));
    }

    pub(super) fn cursor(&self, name: &str) -> Option<Arc<Query>> {
        self.cursors.get(name).cloned()
    }

    pub(super) fn declare_cursor(&mut self, name: ColumnName, query: Query) {
        Arc::make_mut(&mut self.cursors).insert(name, Arc::new(query));
    }

    /// `SET search_path`; the user's own schema is not known here.
    pub(super) fn search(&mut self, schemas: impl IntoIterator<Item = String>) {
        let path: Vec<Arc<str>> =
            schemas.into_iter().filter(|schema| schema != "$user" && !schema.is_empty()).map(Arc::from).collect();
        if !path.is_empty() {
            self.search_path = path.into();
        }
    }
}

/// The parts of a name as the database spells them. PostgreSQL allows a database before the schema where it is the
/// current one: it says nothing.
pub(super) fn parts(name: &ObjectName, dialect: Dialect) -> Vec<String> {
    let mut parts: Vec<String> = name
        .0
        .iter()
        .map(|part| match part.as_ident() {
            Some(ident) => spelled(ident).into_owned(),
            None => part.to_string(),
        })
        .filter(|part| !part.is_empty())
        .collect();
    if dialect == Dialect::Postgres && parts.len() > 2 {
        parts.drain(..parts.len() - 2);
    }
    parts
}
