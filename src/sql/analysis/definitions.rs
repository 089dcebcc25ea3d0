//! What statements define: tables, views, their columns and names. First what flows by it, then how the schema changes.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use sqlparser::ast::{
    AlterTable, AlterTableOperation, ArgMode, ColumnOption, ContextModifier, CreateTable, CreateTableLikeKind,
    CreateView, Expr, FunctionDesc, Ident, ObjectName, ObjectType, OperateFunctionArg, RenameTableNameKind, Reset,
    SelectInto, Set, Statement, visit_expressions,
};

use super::arena::ColumnId;
use super::dependencies::{Dependencies, Role};
use super::outcome::{ColumnOwner, Influence, QualifiedColumn, Via};
use super::routines::{Routine, routine_of, trigger_of, type_of};
use super::schema::{Schema, Shape};
use super::scope::{Body, Output, OutputColumn, spelled};
use super::updatable::{Through, only_table};
use super::walk::{Rows, Walk};
use super::writes::{last_name, shared};
use super::{Dialect, StatementAnalysis, StatementKind};
use crate::model::{ColumnName, TableName};

impl Walk<'_> {
    /// CREATE TABLE, with what its query or its model puts in it.
    pub(super) fn create_table(&mut self, create: &CreateTable) {
        let table = self.schema.created(&create.name, create.temporary, self.dialect);
        if let Some(query) = &create.query {
            let output = self.query(query);
            let names = create.columns.iter().map(|column| spelled(&column.name).into()).collect();
            self.fill(table, names, &output);
            return;
        }
        let id = self.arena.table(&table);
        self.writes(id);
        let model = match &create.like {
            Some(CreateTableLikeKind::Plain(like) | CreateTableLikeKind::Parenthesized(like)) => Some(&like.name),
            None => None,
        };
        if let Some(model) = model.or(create.clone.as_ref()) {
            self.relation_named(model, None);
        }
        if let Some(cloned) = &create.clone {
            let source = self.schema.resolve(cloned, self.dialect);
            self.copy_of(&source, table);
        }
    }

    pub(super) fn create_view(&mut self, create: &CreateView) {
        let name = create.to.as_ref().unwrap_or(&create.name);
        let table = self.schema.created(name, create.temporary, self.dialect);
        let output = self.query(&create.query);
        let names = create.columns.iter().map(|column| spelled(&column.name).into()).collect();
        self.fill(table, names, &output);
    }

    /// SELECT … INTO a new table.
    pub(super) fn create_into(&mut self, into: &SelectInto, output: &Output) {
        let table = self.schema.created(&into.name, into.temporary, self.dialect);
        self.fill(table, Vec::new(), output);
    }

    /// All columns of a new table from what a query returns.
    pub(super) fn fill(&mut self, table: TableName, names: Vec<ColumnName>, output: &Output) {
        let mut target = self.target_table(table, None);
        self.defined.insert(target.id);
        // What stood there before under this name is not what is filled now.
        target.shape = None;
        let placed = self.placed(&target, &names, output);
        let rows = shared(Dependencies { sources: Vec::new(), influences: output.rows.clone() });
        for column in &placed {
            if let OutputColumn::Named { name, dependencies } = column {
                self.assign(Some(target.id), name, dependencies.clone(), &rows);
            }
        }
    }

    /// A materialized view filled again, as its definition says.
    pub(super) fn refill(&mut self, view: TableName, filled: &StatementAnalysis) {
        let target = self.target_table(view, None);
        self.defined.insert(target.id);
        for source in &filled.sources {
            let id = self.arena.table(source);
            self.reads(id);
        }
        if let Some(error) = &filled.error {
            self.note(error.clone());
        }
        // Columns that share what decides on their rows go on sharing it.
        let mut decided: HashMap<*const Influence, Rows> = HashMap::new();
        for lineage in &filled.columns {
            let known = decided.get(&lineage.influences.as_ptr()).cloned();
            let rows = known.unwrap_or_else(|| {
                let each = lineage.influences.iter().map(|one| (self.known_column(&one.column), one.kind));
                shared(Dependencies { sources: Vec::new(), influences: each.collect() })
            });
            decided.insert(lineage.influences.as_ptr(), Rc::clone(&rows));
            let mut dependencies = Dependencies::default();
            for source in &lineage.sources {
                let column = self.known_column(source);
                dependencies.add(column, Role::Value(lineage.via));
            }
            self.assign(Some(target.id), &lineage.target.column, dependencies, &rows);
        }
    }

    fn known_column(&mut self, column: &QualifiedColumn) -> ColumnId {
        let owner = match &column.owner {
            ColumnOwner::Table(table) => Some(self.arena.table(table)),
            ColumnOwner::Output | ColumnOwner::Unresolved => None,
        };
        self.arena.column(owner, &column.column)
    }

    /// Every column of one table as a column of another.
    pub(super) fn copy_of(&mut self, source: &TableName, target: TableName) {
        let id = self.arena.table(source);
        self.reads(id);
        let body = Body::Table { id, name: source.clone(), shape: self.schema.shape(source).cloned() };
        let output = Output { columns: self.listed(&body, &[]), rows: Vec::new() };
        self.fill(target, Vec::new(), &output);
    }

    /// A table renamed, swapped, or filled from another's partition.
    pub(super) fn alter_table(&mut self, alter: &AlterTable) {
        let table = self.schema.resolve(&alter.name, self.dialect);
        let mut renamed = false;
        for operation in &alter.operations {
            match operation {
                AlterTableOperation::RenameTable { table_name } => {
                    let new = renamed_to(&table, table_name);
                    self.copy_of(&table, new);
                    renamed = true;
                }
                AlterTableOperation::SwapWith { table_name } => {
                    let other = self.schema.resolve(table_name, self.dialect);
                    self.copy_of(&other, table.clone());
                    self.copy_of(&table, other);
                    renamed = true;
                }
                AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                    let id = self.arena.table(&table);
                    let old = self.arena.column(Some(id), &spelled(old_column_name));
                    let mut dependencies = Dependencies::default();
                    dependencies.add(old, Role::Value(Via::Copy));
                    self.assign(
                        Some(id),
                        &spelled(new_column_name).into(),
                        dependencies,
                        &shared(Dependencies::default()),
                    );
                }
                _ => {}
            }
        }
        if !renamed {
            let id = self.arena.table(&table);
            self.writes(id);
        }
    }
}

/// A table's new name: where no schema is named it stays in its own.
fn renamed_to(table: &TableName, new: &RenameTableNameKind) -> TableName {
    let (RenameTableNameKind::As(name) | RenameTableNameKind::To(name)) = new;
    let parts = super::schema::parts(name, Dialect::Generic);
    match parts.as_slice() {
        [path @ .., last] if !path.is_empty() => TableName::new(path.join("."), last.as_str()),
        [last] => TableName::new(Arc::clone(&table.schema), last.as_str()),
        _ => table.clone(),
    }
}

/// Whether an expression names one of these columns.
pub(super) fn mentions(expression: &Expr, columns: &[ColumnName]) -> bool {
    visit_expressions(expression, |part| {
        let named = match part {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        let found = named.is_some_and(|ident| columns.iter().any(|column| **column == *spelled(ident)));
        if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .is_break()
}

impl Schema {
    /// Changes as the statement changes what is defined. Its analysis names the columns of a table made by a query.
    /// What is `deep` is not kept as a tree.
    pub(super) fn apply(&mut self, statement: &Statement, analysis: &StatementAnalysis, dialect: Dialect, deep: bool) {
        match statement {
            Statement::CreateTable(create) => self.apply_create_table(create, analysis, dialect, deep),
            Statement::CreateView(create) => {
                let table = self.created(create.to.as_ref().unwrap_or(&create.name), create.temporary, dialect);
                let mut shape = columns_filled(analysis, &table);
                if create.materialized {
                    shape.get_or_insert_default().filled = Some(Arc::new(filling(analysis, &table)));
                }
                if let (false, Some(shape), Some(base)) = (create.materialized, &mut shape, only_table(&create.query)) {
                    let base = self.resolve(base, dialect);
                    shape.through = Through::of(base, &table, analysis).map(Arc::new);
                }
                self.redefine(table, shape);
            }
            Statement::AlterTable(alter) => self.apply_alter(alter, dialect, deep),
            Statement::Drop { object_type, names, .. } => {
                if matches!(object_type, ObjectType::Table | ObjectType::View | ObjectType::MaterializedView) {
                    for name in names {
                        let table = self.resolve(name, dialect);
                        self.drop_relation(&table);
                    }
                }
            }
            Statement::RenameTable(renames) => {
                for rename in renames {
                    let from = self.resolve(&rename.old_name, dialect);
                    let to = self.created(&rename.new_name, false, dialect);
                    self.rename(&from, to);
                }
            }
            Statement::CreateFunction(create) => {
                if let Some(routine) = routine_of(create) {
                    self.define_routine(self.created(&create.name, false, dialect), routine);
                }
            }
            Statement::CreateProcedure { name, params, body, .. } => {
                let parameters = params.iter().flatten().map(|parameter| spelled(&parameter.name).into()).collect();
                let statements: Vec<String> = body.statements().iter().map(ToString::to_string).collect();
                let routine = Routine::of_statements(parameters, statements.join(";\n"));
                self.define_routine(self.created(name, false, dialect), routine);
            }
            Statement::DropFunction(drop) => {
                drop.func_desc.iter().for_each(|function| self.forget_described(function, dialect));
            }
            Statement::DropProcedure { proc_desc, .. } => {
                proc_desc.iter().for_each(|procedure| self.forget_described(procedure, dialect));
            }
            Statement::CreateTrigger(create) if !deep => {
                if let Some(trigger) = trigger_of(create) {
                    let table = self.resolve(&create.table_name, dialect);
                    self.define_trigger(table, trigger);
                }
            }
            Statement::DropTrigger(drop) => {
                if let Some(name) = last_name(&drop.trigger_name) {
                    self.forget_trigger(&name);
                }
            }
            Statement::Prepare { name, statement, .. } if !deep => {
                self.prepare(spelled(name).into(), statement.as_ref().clone());
            }
            Statement::Declare { stmts } if !deep => {
                for declare in stmts {
                    if let (Some(name), Some(query)) = (declare.names.first(), &declare.for_query) {
                        self.declare_cursor(spelled(name).into(), query.as_ref().clone());
                    }
                }
            }
            Statement::Set(set) => self.apply_set(set),
            Statement::Reset(reset) => match &reset.reset {
                Reset::ALL => self.search_as_at_first(),
                Reset::ConfigurationParameter(name) if is_search_path(name) => self.search_as_at_first(),
                Reset::ConfigurationParameter(_) => {}
            },
            Statement::Use(used) => self.apply_use(used),
            Statement::Query(_) => {
                // SELECT … INTO, also inside.
                for table in analysis.targets.iter().filter(|_| analysis.kind == StatementKind::CreateTable) {
                    self.redefine(table.clone(), columns_filled(analysis, table));
                }
            }
            _ => {}
        }
    }

    fn forget_described(&mut self, routine: &FunctionDesc, dialect: Dialect) {
        let taken = |argument: &&OperateFunctionArg| !matches!(argument.mode, Some(ArgMode::Out));
        let types = routine.args.as_ref().map(|arguments| {
            arguments.iter().filter(taken).map(|argument| type_of(&argument.data_type)).collect::<Vec<_>>()
        });
        self.forget_routines(&routine.name, types.as_deref(), dialect);
    }

    fn redefine(&mut self, table: TableName, shape: Option<Shape>) {
        match shape {
            Some(shape) => self.define(table, shape),
            None => drop(self.forget(&table)),
        }
    }

    fn apply_create_table(&mut self, create: &CreateTable, analysis: &StatementAnalysis, dialect: Dialect, deep: bool) {
        let table = self.created(&create.name, create.temporary, dialect);
        if create.if_not_exists && self.shape(&table).is_some() {
            return;
        }
        if create.query.is_some() || create.clone.is_some() {
            self.redefine(table.clone(), columns_filled(analysis, &table));
            return;
        }
        let mut columns: Vec<ColumnName> = Vec::new();
        let models = create.inherits.iter().flatten().chain(&create.partition_of).chain(match &create.like {
            Some(CreateTableLikeKind::Plain(like) | CreateTableLikeKind::Parenthesized(like)) => Some(&like.name),
            None => None,
        });
        let mut known = true;
        for model in models {
            match self.shape(&self.resolve(model, dialect)) {
                Some(shape) => columns.extend(shape.columns.iter().cloned()),
                None => known = false,
            }
        }
        columns.extend(create.columns.iter().map(|column| ColumnName::from(spelled(&column.name))));
        let mut seen = HashSet::new();
        columns.retain(|column| seen.insert(Arc::clone(column)));
        let mut shape = Shape::new(columns);
        for column in &create.columns {
            for option in &column.options {
                if let ColumnOption::Generated { generation_expr: Some(expression), .. } = &option.option
                    && !deep
                {
                    shape.generated.push((spelled(&column.name).into(), expression.clone()));
                }
            }
        }
        let shape = Some(shape).filter(|shape| known && !shape.columns.is_empty());
        self.redefine(table, shape);
    }

    fn apply_alter(&mut self, alter: &AlterTable, dialect: Dialect, deep: bool) {
        let mut table = self.resolve(&alter.name, dialect);
        for operation in &alter.operations {
            match operation {
                AlterTableOperation::AddColumn { column_def, .. } => {
                    let name: ColumnName = spelled(&column_def.name).into();
                    self.change(&table, |columns| {
                        if !columns.contains(&name) {
                            columns.push(name);
                        }
                    });
                    for option in &column_def.options {
                        if let ColumnOption::Generated { generation_expr: Some(expression), .. } = &option.option
                            && !deep
                        {
                            self.generate(&table, spelled(&column_def.name).into(), expression.clone());
                        }
                    }
                }
                AlterTableOperation::DisableTrigger { name } => {
                    self.switch_trigger(&table, &spelled(name), false);
                }
                AlterTableOperation::EnableTrigger { name } | AlterTableOperation::EnableAlwaysTrigger { name } => {
                    self.switch_trigger(&table, &spelled(name), true);
                }
                AlterTableOperation::DropColumn { column_names, .. } => {
                    let dropped: Vec<_> = column_names.iter().map(spelled).collect();
                    self.change(&table, |columns| {
                        columns.retain(|column| !dropped.iter().any(|gone| **gone == **column))
                    });
                }
                AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                    self.rename_column(&table, old_column_name, new_column_name);
                }
                AlterTableOperation::ChangeColumn { old_name, new_name, .. } => {
                    self.rename_column(&table, old_name, new_name);
                }
                AlterTableOperation::RenameTable { table_name } => {
                    let new = renamed_to(&table, table_name);
                    self.rename(&table, new.clone());
                    table = new;
                }
                AlterTableOperation::SwapWith { table_name } => {
                    let other = self.resolve(table_name, dialect);
                    let (mine, its) = (self.forget(&table), self.forget(&other));
                    if let Some(shape) = its {
                        self.define(table.clone(), Shape::clone(&shape));
                    }
                    if let Some(shape) = mine {
                        self.define(other, Shape::clone(&shape));
                    }
                }
                _ => {}
            }
        }
    }

    fn apply_set(&mut self, set: &Set) {
        let Set::SingleAssignment { scope, variable, values, .. } = set else { return };
        if !is_search_path(variable) {
            return;
        }
        if let [Expr::Identifier(Ident { value, quote_style: None, .. })] = values.as_slice()
            && value.eq_ignore_ascii_case("default")
        {
            return self.search_as_at_first();
        }
        let schemas = values
            .iter()
            .filter_map(|value| match value {
                Expr::Identifier(ident) => Some(spelled(ident).into_owned()),
                Expr::Value(value) => value.value.clone().into_string(),
                _ => None,
            })
            .flat_map(|value| value.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>());
        match scope {
            Some(ContextModifier::Local) => self.search_in_transaction(schemas),
            _ => self.search(schemas),
        }
    }

    fn apply_use(&mut self, used: &sqlparser::ast::Use) {
        use sqlparser::ast::Use;
        match used {
            Use::Catalog(name) | Use::Schema(name) | Use::Database(name) | Use::Object(name) => {
                let parts: Vec<String> = super::schema::parts(name, Dialect::Generic);
                self.search([parts.join(".")]);
            }
            _ => {}
        }
    }
}

fn is_search_path(variable: &ObjectName) -> bool {
    last_name(variable).is_some_and(|name| *name == *"search_path")
}

/// What fills a view, by the analysis of its definition.
fn filling(definition: &StatementAnalysis, view: &TableName) -> StatementAnalysis {
    let owner = ColumnOwner::Table(view.clone());
    let mut filling = definition.clone();
    filling.columns.retain(|lineage| lineage.target.owner == owner);
    filling
}

/// The columns of a table that the statement made by a query; `None` where a `*` hides some.
fn columns_filled(analysis: &StatementAnalysis, table: &TableName) -> Option<Shape> {
    let owner = ColumnOwner::Table(table.clone());
    let of_table = analysis.columns.iter().filter(|lineage| lineage.target.owner == owner);
    let columns: Vec<ColumnName> = of_table.map(|lineage| Arc::clone(&lineage.target.column)).collect();
    (!columns.is_empty() && columns.iter().all(|column| **column != *"*")).then(|| Shape::new(columns))
}
