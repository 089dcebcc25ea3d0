//! INSERT, UPDATE, DELETE and MERGE: what each target column gets, and what decides it.

use std::rc::Rc;
use std::sync::Arc;

use sqlparser::ast::{
    ConflictTarget, Delete, Expr, FromTable, Insert, ObjectName, OnConflict, OnConflictAction, OnInsert, OutputClause,
    SelectItem, Statement, TableFactor, TableObject, TableWithJoins, Update, UpdateTableFromKind,
};

use super::arena::TableId;
use super::dependencies::{Dependencies, Role, settle_influences};
use super::outcome::{InfluenceKind, Via};
use super::routines::Event;
use super::schema::Shape;
use super::scope::{Body, Output, OutputColumn, Relation, Scope, spelled};
use super::walk::{Rows, Walk};
use crate::model::{ColumnName, TableName};
use crate::sql::SqlError;

/// The table a statement writes, and the name it goes by.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) id: TableId,
    pub(super) name: TableName,
    pub(super) alias: ColumnName,
    pub(super) shape: Option<Arc<Shape>>,
}

impl Walk<'_> {
    /// Takes in a write, and says what its RETURNING returns.
    pub(super) fn write(&mut self, statement: &Statement) -> Output {
        match statement {
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            Statement::Merge(merge) => self.merge_into(merge),
            other => {
                self.note(SqlError::Unsupported(format!("the write {other}")));
                Output::default()
            }
        }
    }

    pub(super) fn target(&mut self, name: &ObjectName, alias: Option<ColumnName>) -> Target {
        let table = self.schema.resolve(name, self.dialect);
        self.target_table(table, alias)
    }

    pub(super) fn target_table(&mut self, table: TableName, alias: Option<ColumnName>) -> Target {
        let id = self.arena.table(&table);
        self.writes(id);
        let alias = alias.unwrap_or_else(|| Arc::clone(&table.table));
        let shape = self.schema.shape(&table).cloned();
        Target { id, name: table, alias, shape }
    }

    fn insert(&mut self, insert: &Insert) -> Output {
        let TableObject::TableName(name) = &insert.table else {
            self.note(SqlError::Unsupported(format!("INSERT into {}", insert.table)));
            insert.source.iter().for_each(|source| drop(self.query(source)));
            return Output::default();
        };
        let alias = insert.table_alias.as_ref().map(|alias| ColumnName::from(spelled(&alias.alias)));
        let target = self.inserted_table(name, insert, alias);
        let source = match &insert.source {
            Some(source) => self.query(source),
            None => self.defaults(&target, insert),
        };
        let listed: Vec<ColumnName> = insert.columns.iter().filter_map(|name| self.set_column(name, &target)).collect();
        let values = self.placed(&target, &listed, &source);
        let mut rows = Dependencies { sources: Vec::new(), influences: source.rows.clone() };
        self.arbiter(insert, &target, &mut rows);
        let rows = shared(rows);
        self.assign_all(&target, &values, &rows);
        if insert.source.is_some() && source.columns.is_empty() && !rows.is_empty() {
            // Rows of defaults: what decides how many is all that there is to tell.
            self.assign(Some(target.id), &"*".into(), Dependencies::default(), &rows);
        }
        self.on_insert(insert, &target, &values, &rows);
        for assignment in &insert.assignments {
            self.assignment(assignment, &target, &rows);
        }
        self.fire(&target, Event::Insert, &rows);
        self.returned(&target, insert.returning.as_deref(), insert.output.as_ref(), &rows)
    }

    /// `DEFAULT VALUES`: a constant, or what the database makes, for each column.
    fn defaults(&self, target: &Target, insert: &Insert) -> Rc<Output> {
        let shape = target.shape.as_ref().filter(|_| insert.assignments.is_empty());
        let columns = shape
            .iter()
            .flat_map(|shape| &shape.columns)
            .map(|name| OutputColumn::Named { name: Arc::clone(name), dependencies: Dependencies::default() });
        Rc::new(Output { columns: columns.collect(), rows: Vec::new() })
    }

    fn inserted_table(&mut self, name: &ObjectName, insert: &Insert, alias: Option<ColumnName>) -> Target {
        // INSERT … SELECT may name its target's rows too: what stands in the partition clause is of the target.
        let target = self.target(name, alias);
        if let Some(partitions) = &insert.partitioned {
            let constants = partitions.iter().filter_map(|expression| match expression {
                Expr::BinaryOp { left, .. } => match left.as_ref() {
                    Expr::Identifier(ident) => Some(ColumnName::from(spelled(ident))),
                    _ => None,
                },
                _ => None,
            });
            let rows = shared(Dependencies::default());
            for column in constants.collect::<Vec<_>>() {
                self.assign(Some(target.id), &column, Dependencies::default(), &rows);
            }
        }
        target
    }

    /// The source's columns under the names of the target's: by the list, else by the table's shape, else by their own
    /// names, which is all that is known then.
    pub(super) fn placed(&mut self, target: &Target, listed: &[ColumnName], source: &Output) -> Vec<OutputColumn> {
        let shape = target.shape.clone();
        let names: &[ColumnName] = match (&shape, listed) {
            (Some(shape), []) => &shape.columns,
            _ => listed,
        };
        let mut placed = Vec::with_capacity(source.columns.len());
        let mut names = names.iter();
        let by_position = names.len() > 0;
        for column in &source.columns {
            match column {
                OutputColumn::Named { name, dependencies } => {
                    let name = if by_position { names.next() } else { Some(name) };
                    if let Some(name) = name {
                        placed.push(OutputColumn::Named { name: Arc::clone(name), dependencies: dependencies.clone() });
                    }
                }
                OutputColumn::AllOf(_) => {
                    let mut anywhere = Dependencies::default();
                    self.absorb_column(column, Role::Value(Via::Copy), &mut anywhere);
                    if by_position {
                        for name in names.by_ref() {
                            placed.push(OutputColumn::Named { name: Arc::clone(name), dependencies: anywhere.clone() });
                        }
                    } else {
                        placed.push(OutputColumn::Named { name: "*".into(), dependencies: anywhere });
                    }
                }
            }
        }
        placed
    }

    fn on_insert(&mut self, insert: &Insert, target: &Target, values: &[OutputColumn], rows: &Rows) {
        let excluded: ColumnName = match &insert.insert_alias {
            Some(aliases) => last_name(&aliases.row_alias).unwrap_or_else(|| "new".into()),
            None => "excluded".into(),
        };
        let proposed = Relation {
            alias: excluded,
            body: Body::Output(Rc::new(Output { columns: self.proposed(target, values), rows: Vec::new() })),
            merged: Vec::new(),
        };
        match &insert.on {
            None => {}
            Some(OnInsert::DuplicateKeyUpdate(assignments)) => {
                self.scopes.push(Scope { relations: vec![target.relation(), proposed], ..Scope::default() });
                assignments.iter().for_each(|assignment| self.assignment(assignment, target, rows));
                self.scopes.pop();
            }
            Some(OnInsert::OnConflict(conflict)) => {
                self.scopes.push(Scope { relations: vec![target.relation(), proposed], ..Scope::default() });
                self.on_conflict(conflict, target, rows);
                self.scopes.pop();
            }
            Some(other) => self.note(SqlError::Unsupported(format!("INSERT {other}"))),
        }
    }

    /// The row proposed for insertion: columns that the statement leaves out have their defaults.
    fn proposed(&self, target: &Target, values: &[OutputColumn]) -> Vec<OutputColumn> {
        let mut columns = values.to_vec();
        if let Some(shape) = &target.shape {
            let given: std::collections::HashSet<ColumnName> =
                values.iter().filter_map(OutputColumn::name).cloned().collect();
            let rest = shape.columns.iter().filter(|name| !given.contains(*name));
            columns.extend(
                rest.map(|name| OutputColumn::Named { name: Arc::clone(name), dependencies: Dependencies::default() }),
            );
        }
        columns
    }

    /// The columns whose conflict decides what happens to a row.
    fn arbiter(&mut self, insert: &Insert, target: &Target, rows: &mut Dependencies) {
        let Some(OnInsert::OnConflict(OnConflict { conflict_target: Some(ConflictTarget::Columns(columns)), .. })) =
            &insert.on
        else {
            return;
        };
        for column in columns {
            let column = self.arena.column(Some(target.id), &spelled(column));
            rows.add(column, Role::Influence(InfluenceKind::Filter));
        }
    }

    fn on_conflict(&mut self, conflict: &OnConflict, target: &Target, rows: &Rows) {
        let OnConflictAction::DoUpdate(update) = &conflict.action else { return };
        let mut decides = Dependencies { sources: Vec::new(), influences: rows.as_ref().clone() };
        if let Some(selection) = &update.selection {
            self.condition(selection, InfluenceKind::Filter, &mut decides);
        }
        let decides = shared(decides);
        update.assignments.iter().for_each(|assignment| self.assignment(assignment, target, &decides));
        self.generated_of_assignments(&update.assignments, target, &decides);
        let set = self.columns_set(&update.assignments, target);
        self.fire(target, Event::Update(&set), &decides);
    }

    pub(super) fn assign_all(&mut self, target: &Target, values: &[OutputColumn], rows: &Rows) {
        for column in values {
            if let OutputColumn::Named { name, dependencies } = column {
                self.assign(Some(target.id), name, dependencies.clone(), rows);
            }
        }
        self.generated(target, values, rows);
    }

    /// The columns that the database computes from a row about to be written.
    fn generated(&mut self, target: &Target, values: &[OutputColumn], rows: &Rows) {
        let Some(shape) = target.shape.clone().filter(|shape| !shape.generated.is_empty()) else { return };
        let columns = self.proposed(target, values);
        self.scopes.push(Scope::of(Body::Output(Rc::new(Output { columns, rows: Vec::new() }))));
        for (name, expression) in &shape.generated {
            let mut dependencies = Dependencies::default();
            self.expression(expression, Role::Value(Via::Transform), &mut dependencies);
            self.assign(Some(target.id), name, dependencies, rows);
        }
        self.scopes.pop();
    }

    fn update(&mut self, update: &Update) -> Output {
        let from = match &update.from {
            Some(UpdateTableFromKind::BeforeSet(from) | UpdateTableFromKind::AfterSet(from)) => from.as_slice(),
            None => &[],
        };
        let mut rows = Dependencies::default();
        self.scopes.push(Scope::default());
        let Some(target) = self.written_item(&update.table, from, &mut rows) else {
            update.selection.iter().for_each(|selection| self.condition(selection, InfluenceKind::Filter, &mut rows));
            self.scopes.pop();
            return Output::default();
        };
        if let Some(selection) = &update.selection {
            self.condition(selection, InfluenceKind::Filter, &mut rows);
        }
        if update.limit.is_some() {
            self.order(&update.order_by, Role::Influence(InfluenceKind::Sort), &mut rows);
        }
        let rows = shared(rows);
        update.assignments.iter().for_each(|assignment| self.assignment(assignment, &target, &rows));
        self.generated_of_assignments(&update.assignments, &target, &rows);
        let set = self.columns_set(&update.assignments, &target);
        self.fire(&target, Event::Update(&set), &rows);
        let output = self.returned_in_scope(&target, update.returning.as_deref(), update.output.as_ref(), &rows);
        self.scopes.pop();
        output
    }

    /// The table that an UPDATE or DELETE writes, in reach with what it is joined to. In some dialects the target is
    /// named by its alias in FROM.
    pub(super) fn written_item(
        &mut self,
        item: &TableWithJoins,
        from: &[TableWithJoins],
        rows: &mut Dependencies,
    ) -> Option<Target> {
        let TableFactor::Table { name, alias, args, .. } = &item.relation else {
            self.note(SqlError::Unsupported(format!("a write of {}", item.relation)));
            return None;
        };
        let name = match args {
            None => name.clone(),
            Some(args) => match super::from::named_by_text(name, &args.args) {
                Some(name) => name,
                None => {
                    self.note(SqlError::Unsupported(format!(
                        "the table {}, which is named at run time",
                        item.relation
                    )));
                    self.from(from, rows);
                    return None;
                }
            },
        };
        let name = match super::from::computed_name(&name) {
            Ok(name) => name.into_owned(),
            Err(error) => {
                self.note(error);
                self.from(from, rows);
                return None;
            }
        };
        let aliased = alias.as_ref().map(|alias| ColumnName::from(spelled(&alias.name)));
        if aliased.is_none()
            && let Some(table) = aliased_in(&name, from.iter().chain(std::iter::once(item)))
        {
            self.from(from, rows);
            let target = self.target(&table, last_name(&name));
            self.unread_target(&target);
            return Some(target);
        }
        let target = self.target(&name, aliased);
        self.add_relation(target.relation(), rows);
        let shown_by = self.rows_shown_by_view(&target);
        rows.influences.extend(shown_by);
        for join in &item.joins {
            let right = self.scopes.last().map_or(0, |scope| scope.relations.len());
            self.factor(&join.relation, rows);
            self.join(join, 0, right, rows);
        }
        self.from(from, rows);
        Some(target)
    }

    fn delete(&mut self, delete: &Delete) -> Output {
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let mut rows = Dependencies::default();
        self.scopes.push(Scope::default());
        let mut targets = Vec::new();
        if delete.tables.is_empty() {
            let (first, others) = match from.split_first() {
                Some((first, others)) => (Some(first), others),
                None => (None, &[][..]),
            };
            let using = delete.using.as_deref().unwrap_or_default();
            targets.extend(first.and_then(|first| self.written_item(first, using, &mut rows)));
            self.from(others, &mut rows);
        } else {
            // DELETE a, b FROM a JOIN b …
            self.from(from, &mut rows);
            for name in &delete.tables {
                let table = aliased_in(name, from.iter()).unwrap_or_else(|| name.clone());
                let target = self.target(&table, last_name(name));
                self.unread_target(&target);
                targets.push(target);
            }
        }
        if let Some(selection) = &delete.selection {
            self.condition(selection, InfluenceKind::Filter, &mut rows);
        }
        if delete.limit.is_some() {
            self.order(&delete.order_by, Role::Influence(InfluenceKind::Sort), &mut rows);
        }
        let rows = shared(rows);
        let mut output = Output::default();
        for target in &targets {
            self.assign(Some(target.id), &"*".into(), Dependencies::default(), &rows);
            self.fire(target, Event::Delete, &rows);
            output = self.returned_in_scope(target, delete.returning.as_deref(), delete.output.as_ref(), &rows);
        }
        self.scopes.pop();
        output
    }

    fn returned(
        &mut self,
        target: &Target,
        returning: Option<&[SelectItem]>,
        output: Option<&OutputClause>,
        rows: &Rows,
    ) -> Output {
        self.scopes.push(Scope { relations: vec![target.relation()], ..Scope::default() });
        let output = self.returned_in_scope(target, returning, output, rows);
        self.scopes.pop();
        output
    }

    pub(super) fn returned_in_scope(
        &mut self,
        target: &Target,
        returning: Option<&[SelectItem]>,
        output: Option<&OutputClause>,
        rows: &Rows,
    ) -> Output {
        let mut columns = Vec::new();
        if let Some(items) = returning {
            self.projection(items, &mut columns);
        }
        match output {
            None => {}
            Some(OutputClause::Returning { select_items, .. }) => self.projection(select_items, &mut columns),
            Some(OutputClause::Output { select_items, into_table, .. }) => {
                for alias in ["inserted", "deleted"] {
                    let relation = Relation { alias: alias.into(), ..target.relation() };
                    self.add_relation(relation, &mut Dependencies::default());
                }
                self.projection(select_items, &mut columns);
                if let Some(into) = into_table {
                    self.create_into(into, &Output { columns: columns.clone(), rows: Vec::new() });
                }
            }
        }
        Output { columns, rows: rows.as_ref().clone() }
    }
}

impl Target {
    pub(super) fn body(&self) -> Body {
        Body::Table { id: self.id, name: self.name.clone(), shape: self.shape.clone() }
    }

    pub(super) fn relation(&self) -> Relation {
        Relation { alias: Arc::clone(&self.alias), body: self.body(), merged: Vec::new() }
    }
}

impl OutputColumn {
    pub(super) fn name(&self) -> Option<&ColumnName> {
        match self {
            OutputColumn::Named { name, .. } => Some(name),
            OutputColumn::AllOf(_) => None,
        }
    }
}

/// What decides on rows, each once, to be shared by the columns of a write.
pub(super) fn shared(rows: Dependencies) -> Rows {
    let mut influences = rows.influences;
    settle_influences(&mut influences);
    Rc::new(influences)
}

pub(super) fn last_name(name: &ObjectName) -> Option<ColumnName> {
    name.0.last().and_then(|part| part.as_ident()).map(|ident| spelled(ident).into())
}

/// The table that a bare name stands for where it is an alias in one of these FROM items.
fn aliased_in<'q>(name: &ObjectName, items: impl Iterator<Item = &'q TableWithJoins>) -> Option<ObjectName> {
    let [_] = name.0.as_slice() else { return None };
    let wanted = last_name(name)?;
    let factors =
        items.flat_map(|item| std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)));
    factors
        .filter_map(|factor| match factor {
            TableFactor::Table { name, alias: Some(alias), .. } => {
                (*spelled(&alias.name) == *wanted).then(|| name.clone())
            }
            _ => None,
        })
        .next()
}
