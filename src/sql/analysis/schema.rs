//! The tables, views and routines that are defined when a statement runs.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{Expr, Ident, ObjectName, Query, Statement, visit_expressions_mut};

use super::outcome::{ColumnOwner, QualifiedColumn};
use super::routines::{Routine, Trigger};
use super::scope::spelled;
use super::updatable::Through;
use super::{Analyzer, Dialect, StatementAnalysis, StatementKind};
use crate::model::{ColumnName, Declarations, GeneratedColumn, TableName};
use crate::sql::Schemas;

/// What is defined: tables and views with their columns, and where a bare name is looked for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schema {
    relations: Arc<BTreeMap<TableName, Arc<Shape>>>,
    has_updatable_views: bool,
    search_path: Arc<[Arc<str>]>,
    /// What the path is again once the transaction ends that set it for itself.
    path_of_session: Option<Arc<[Arc<str>]>>,
    /// By the name that each was defined under.
    routines: Arc<BTreeMap<TableName, Vec<Arc<Routine>>>>,
    triggers: Arc<BTreeMap<TableName, Vec<Trigger>>>,
    prepared: Arc<BTreeMap<ColumnName, Arc<Statement>>>,
    cursors: Arc<BTreeMap<ColumnName, Arc<Query>>>,
}

/// Where bare names are looked for at first.
const FIRST_SCHEMA: &str = "public";

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
    /// For a materialized view: what fills it.
    pub(super) filled: Option<Arc<StatementAnalysis>>,
    /// For a view over one table: what is written through it.
    pub(super) through: Option<Arc<Through>>,
}

impl Shape {
    pub(super) fn new(columns: Vec<ColumnName>) -> Self {
        let names = columns.iter().cloned().collect();
        Shape { columns, names, ..Shape::default() }
    }

    fn change_through(&mut self, change: impl Fn(&mut Through)) {
        if let Some(through) = &mut self.through {
            change(Arc::make_mut(through));
        }
    }

    /// Changes the columns that what fills the view comes from and is decided by.
    fn change_filled(&mut self, change: impl Fn(&mut QualifiedColumn)) {
        let Some(filled) = &mut self.filled else { return };
        for lineage in &mut Arc::make_mut(filled).columns {
            lineage.sources.iter_mut().for_each(&change);
            let mut influences = lineage.influences.to_vec();
            influences.iter_mut().for_each(|influence| change(&mut influence.column));
            lineage.influences = influences.into();
        }
    }

    pub(super) fn has(&self, column: &str) -> bool {
        self.names.contains(column)
    }

    /// The columns that a write gives values for: not those that the database computes.
    pub(super) fn given(&self) -> impl Iterator<Item = &ColumnName> {
        self.columns.iter().filter(|name| !self.generated.iter().any(|(generated, _)| generated == *name))
    }
}

impl Default for Schema {
    /// Nothing is defined; bare names are in `public`.
    fn default() -> Self {
        Schema {
            relations: Arc::default(),
            has_updatable_views: false,
            search_path: Arc::from([Arc::from(FIRST_SCHEMA)]),
            path_of_session: None,
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

    /// With what a database declares beside the shapes of its tables; and the analysis of each view's definition, and of
    /// each definition that does not parse.
    pub fn with(self, declared: &Declarations) -> (Schema, Vec<StatementAnalysis>) {
        let mut analyzer = Analyzer::new(self, Dialect::Postgres);
        let mut definitions = Vec::new();
        let name = |part: &str| Ident::with_quote('"', part).to_string();
        let full = |table: &TableName| format!("{}.{}", name(&table.schema), name(&table.table));
        for GeneratedColumn { table, column, expression } in &declared.generated {
            let column = name(column);
            let sql = format!(
                "ALTER TABLE {} ADD COLUMN {column} text GENERATED ALWAYS AS ({expression}) STORED",
                full(table)
            );
            definitions.append(&mut analyzer.analyze(&sql));
        }
        for definition in &declared.definitions {
            definitions.append(&mut analyzer.analyze(definition));
        }
        for view in &declared.views {
            definitions.append(&mut analyzer.analyze(&format!("CREATE VIEW {} AS {}", full(&view.name), view.sql)));
        }
        // What does not parse defined nothing: whoever writes its table is told less than what happens.
        definitions.retain(|one| {
            one.scanned || matches!(one.kind, StatementKind::CreateView | StatementKind::CreateMaterializedView)
        });
        (analyzer.into_schema(), definitions)
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
        self.has_updatable_views |= shape.through.is_some();
        Arc::make_mut(&mut self.relations).insert(table, Arc::new(shape));
    }

    pub(super) fn forget(&mut self, table: &TableName) -> Option<Arc<Shape>> {
        Arc::make_mut(&mut self.relations).remove(table)
    }

    pub(super) fn rename(&mut self, from: &TableName, to: TableName) {
        if let Some(triggers) = Arc::make_mut(&mut self.triggers).remove(from) {
            Arc::make_mut(&mut self.triggers).insert(to.clone(), triggers);
        }
        self.change_views(|shape| {
            shape.change_through(|through| through.rename_table(from, &to));
            shape.change_filled(|column| {
                if column.owner == ColumnOwner::Table(from.clone()) {
                    column.owner = ColumnOwner::Table(to.clone());
                }
            });
            if let Some(filled) = &mut shape.filled {
                let sources = &mut Arc::make_mut(filled).sources;
                sources.iter_mut().filter(|source| **source == *from).for_each(|source| *source = to.clone());
            }
        });
        if let Some(shape) = self.forget(from) {
            Arc::make_mut(&mut self.relations).insert(to, shape);
        }
    }

    /// Views know what they are over by more than its name: what is renamed is so in them.
    fn change_views(&mut self, change: impl Fn(&mut Shape)) {
        for shape in Arc::make_mut(&mut self.relations).values_mut() {
            if shape.through.is_some() || shape.filled.is_some() {
                change(Arc::make_mut(shape));
            }
        }
    }

    /// Changes a table's columns; what is not defined stays so.
    pub(super) fn change(&mut self, table: &TableName, change: impl FnOnce(&mut Vec<ColumnName>)) {
        if let Some(shape) = Arc::make_mut(&mut self.relations).get_mut(table) {
            let mut changed = Shape::clone(shape);
            change(&mut changed.columns);
            changed.names = changed.columns.iter().cloned().collect();
            changed.generated.retain(|(column, _)| changed.names.contains(column));
            *shape = Arc::new(changed);
        }
    }

    /// A column of a table that the database computes from others of the row.
    pub(super) fn generate(&mut self, table: &TableName, column: ColumnName, expression: Expr) {
        if let Some(shape) = Arc::make_mut(&mut self.relations).get_mut(table) {
            let mut changed = Shape::clone(shape);
            changed.generated.push((column, expression));
            *shape = Arc::new(changed);
        }
    }

    /// A column under a new name: what is computed from it names it so too.
    pub(super) fn rename_column(&mut self, table: &TableName, old: &Ident, new: &Ident) {
        let (from, to) = (spelled(old), ColumnName::from(spelled(new)));
        self.change_views(|shape| {
            shape.change_through(|through| through.rename_source(table, &from, &to));
            shape.change_filled(|column| {
                if column.owner == ColumnOwner::Table(table.clone()) && *column.column == *from {
                    column.column = Arc::clone(&to);
                }
            });
        });
        if let Some(triggers) = Arc::make_mut(&mut self.triggers).get_mut(table) {
            triggers.iter_mut().for_each(|trigger| trigger.rename_column(&from, new));
        }
        if let Some(shape) = Arc::make_mut(&mut self.relations).get_mut(table) {
            let mut changed = Shape::clone(shape);
            for column in &mut changed.columns {
                if **column == *from {
                    *column = Arc::clone(&to);
                }
            }
            for (column, expression) in &mut changed.generated {
                if **column == *from {
                    *column = Arc::clone(&to);
                }
                rename_in(expression, &from, new);
            }
            changed.change_through(|through| through.rename_own(&from, &to));
            changed.names = changed.columns.iter().cloned().collect();
            *shape = Arc::new(changed);
        }
    }

    /// Whether a write of a view may be one of the table behind it.
    pub(super) fn has_updatable_views(&self) -> bool {
        self.has_updatable_views
    }

    pub(super) fn has_routines(&self) -> bool {
        !self.routines.is_empty()
    }

    /// The full names that a call of this name may mean: of a bare name one in every schema on the search path.
    pub(super) fn routine_names(&self, name: &ObjectName, dialect: Dialect) -> Vec<TableName> {
        match parts(name, dialect).as_slice() {
            [] => Vec::new(),
            [bare] => self.search_path.iter().map(|schema| TableName::new(Arc::clone(schema), bare.as_str())).collect(),
            [path @ .., last] => vec![TableName::new(path.join("."), last.as_str())],
        }
    }

    /// The routines that a call of this name may mean, which take other arguments each: of a bare name those of every
    /// schema on the search path, where the first of equal types hides the others.
    pub(super) fn routines(&self, name: &ObjectName, dialect: Dialect) -> Vec<(TableName, Arc<Routine>)> {
        let mut found: Vec<(TableName, Arc<Routine>)> = Vec::new();
        for name in self.routine_names(name, dialect) {
            for routine in self.routines.get(&name).into_iter().flatten() {
                if !found.iter().any(|(_, known)| known.is_of_types_of(routine)) {
                    found.push((name.clone(), Arc::clone(routine)));
                }
            }
        }
        found
    }

    pub(super) fn define_routine(&mut self, name: TableName, routine: Routine) {
        let routines = Arc::make_mut(&mut self.routines).entry(name).or_default();
        routines.retain(|known| !known.is_of_types_of(&routine));
        routines.push(Arc::new(routine));
    }

    /// Forgets the routines of this name that take these types; without types all of the name.
    pub(super) fn forget_routines(&mut self, name: &ObjectName, types: Option<&[String]>, dialect: Dialect) {
        for (name, routine) in self.routines(name, dialect) {
            if types.is_none_or(|types| routine.takes_types(types))
                && let Some(routines) = Arc::make_mut(&mut self.routines).get_mut(&name)
            {
                routines.retain(|known| !Arc::ptr_eq(known, &routine));
            }
        }
    }

    pub(super) fn triggers(&self, table: &TableName) -> &[Trigger] {
        self.triggers.get(table).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn define_trigger(&mut self, table: TableName, trigger: Trigger) {
        let triggers = Arc::make_mut(&mut self.triggers).entry(table).or_default();
        triggers.retain(|known| known.name != trigger.name);
        triggers.push(trigger);
    }

    /// `DISABLE TRIGGER`, `ENABLE TRIGGER` of one, or of all.
    pub(super) fn switch_trigger(&mut self, table: &TableName, name: &str, enabled: bool) {
        let triggers = Arc::make_mut(&mut self.triggers).get_mut(table);
        for trigger in triggers.into_iter().flatten() {
            if *trigger.name == *name || matches!(name, "all" | "user") {
                trigger.enabled = enabled;
            }
        }
    }

    /// What is dropped takes its triggers with it.
    pub(super) fn drop_relation(&mut self, table: &TableName) {
        self.forget(table);
        Arc::make_mut(&mut self.triggers).remove(table);
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
            self.path_of_session = None;
        }
    }

    /// `SET LOCAL search_path`: until the transaction ends.
    pub(super) fn search_in_transaction(&mut self, schemas: impl IntoIterator<Item = String>) {
        let before = self.path_of_session.clone().unwrap_or_else(|| Arc::clone(&self.search_path));
        self.search(schemas);
        self.path_of_session = Some(before);
    }

    /// `RESET search_path`, `SET search_path TO DEFAULT`.
    pub(super) fn search_as_at_first(&mut self) {
        self.search([FIRST_SCHEMA.to_owned()]);
    }

    /// The end of a transaction: what was set for it alone is no more.
    pub(super) fn end_transaction(&mut self) {
        if let Some(path) = self.path_of_session.take() {
            self.search_path = path;
        }
    }

    /// What is defined again after a rollback to where `earlier` was defined: prepared statements outlive it.
    pub(super) fn roll_back_to(&mut self, earlier: Schema) {
        let prepared = std::mem::take(&mut self.prepared);
        *self = Schema { prepared, ..earlier };
    }
}

/// Gives a column its new name wherever an expression over its table names it.
pub(super) fn rename_in(expression: &mut Expr, old: &str, new: &Ident) {
    let _ = visit_expressions_mut(expression, |part| {
        let named = match part {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(parts) => parts.last_mut(),
            _ => None,
        };
        if let Some(ident) = named.filter(|ident| spelled(ident) == old) {
            *ident = new.clone();
        }
        ControlFlow::<()>::Continue(())
    });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::View;

    #[test]
    fn what_a_database_declares_counts_for_its_statements() {
        let (schema, _) = Schema::from_definitions("CREATE TABLE a (id int, x int, y int)", Dialect::Postgres);
        let declared = Declarations {
            generated: vec![GeneratedColumn {
                table: TableName::new("public", "a"),
                column: "y".into(),
                expression: "(x + 1)".into(),
            }],
            views: Vec::new(),
            definitions: vec![
                "CREATE OR REPLACE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $function$ \
                 BEGIN INSERT INTO log (id) VALUES (NEW.id); RETURN NEW; END $function$"
                    .into(),
                "CREATE TRIGGER note AFTER INSERT ON public.a FOR EACH ROW EXECUTE FUNCTION note()".into(),
            ],
            ..Declarations::default()
        };
        let (schema, views) = schema.with(&declared);
        assert!(views.is_empty());
        let analyses = Analyzer::new(schema, Dialect::Postgres).analyze("INSERT INTO a (id, x) VALUES (1, 2)");
        let targets: Vec<String> = analyses[0].targets.iter().map(ToString::to_string).collect();
        assert_eq!((targets, &analyses[0].error), (vec!["public.a".to_owned(), "public.log".to_owned()], &None));
        assert!(analyses[0].columns.iter().any(|column| column.target.to_string() == "public.a.y"));
    }

    #[test]
    fn what_a_database_declares_and_does_not_parse_is_told() {
        let (schema, _) = Schema::from_definitions("CREATE TABLE a (id int, x int, y int)", Dialect::Postgres);
        let generated = |column: &str, expression: &str| GeneratedColumn {
            table: TableName::new("public", "a"),
            column: column.into(),
            expression: expression.into(),
        };
        let declared = Declarations {
            generated: vec![generated("y", "(x + "), generated("x", "(id + 1)")],
            views: vec![View { name: TableName::new("public", "v"), sql: "SELECT (FROM a".into() }],
            definitions: vec!["CREATE TRIGGER note AFTER ON public.a".into()],
            ..Declarations::default()
        };
        let (_, told) = schema.with(&declared);
        let told: Vec<(bool, &str)> = told.iter().map(|one| (one.error.is_some(), one.sql.as_ref())).collect();
        let expected = [
            (true, "ALTER TABLE \"public\".\"a\" ADD COLUMN \"y\" text GENERATED ALWAYS AS ((x + ) STORED"),
            (true, "CREATE TRIGGER note AFTER ON public.a"),
            (true, "CREATE VIEW \"public\".\"v\" AS SELECT (FROM a"),
        ];
        assert_eq!(told, expected);
    }
}
