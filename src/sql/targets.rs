//! The tables a statement writes: what joins a statement of the log to the writes it made.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Expr, FromTable, Ident, Insert, ObjectName, OnConflictAction,
    OnInsert, Query, SetExpr, Statement, TableAliasColumnDef, TableFactor, TableObject, TableWithJoins,
    UpdateTableFromKind, Visit, Visitor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::Tokenizer;

use super::analysis::scanned_tables;
use super::bounds::{self, Operand};
use super::{Schemas, SqlError, folded, table_name};
use crate::model::{ColumnName, ColumnType, Operation, TableName, TableSchema};

/// One table that a statement writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteTarget {
    /// The table.
    pub table: TableName,
    /// What may happen to its rows.
    pub operations: Vec<Operation>,
    /// For an UPDATE: the columns it sets.
    pub assigned: Vec<ColumnName>,
    /// For an UPDATE: the constants among the values it sets.
    pub set: Vec<(ColumnName, Operand)>,
    /// For each column that the statement fixes to constants: the values a written row must have in it.
    pub fixed: Vec<(ColumnName, Vec<Operand>)>,
    /// For an INSERT that may meet a row: which, and what happens then.
    pub on_conflict: Option<Conflict>,
}

impl WriteTarget {
    /// The columns fixed to constants of which a row that was written so has one: a row that an upsert updated has the
    /// values proposed in the columns of its conflict alone.
    pub fn fixed_by(&self, operation: Operation) -> impl Iterator<Item = &(ColumnName, Vec<Operand>)> {
        let conflict = self.on_conflict.as_ref().filter(|_| operation == Operation::Update);
        self.fixed.iter().filter(move |(column, _)| conflict.is_none_or(|conflict| conflict.is_met_in(column)))
    }
}

/// `ON CONFLICT (columns) DO NOTHING`, `DO UPDATE SET assigned = …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The columns whose equality is a conflict: in these alone the row that is met has the values proposed. `None` where
    /// they are not known: a constraint is named, or any conflict counts.
    pub columns: Option<Vec<ColumnName>>,
    /// The columns it sets in the row that is met.
    pub assigned: Vec<ColumnName>,
    /// How many rows it proposes; `None` where it does not list them.
    pub rows: Option<usize>,
}

impl Conflict {
    /// Whether the row that is met is known to have the value proposed in this column.
    pub fn is_met_in(&self, column: &ColumnName) -> bool {
        self.columns.as_ref().is_some_and(|columns| columns.contains(column))
    }
}

/// The columns whose equality is a conflict for `ON CONFLICT …`: the table's key where none are named.
///
/// # Errors
/// A column that the table does not have, a constraint other than the key's: its columns are not known.
pub fn conflict_columns(conflict: Option<&ConflictTarget>, schema: &TableSchema) -> Result<Vec<ColumnName>, SqlError> {
    match conflict {
        None => Ok(schema.key.clone()),
        Some(ConflictTarget::Columns(columns)) => {
            let known = |column: &Ident| schema.column(&folded(column)).map(|column| column.name.clone());
            let unknown = |column: &Ident| SqlError::UnknownColumn(format!("{}.{}", schema.name, folded(column)));
            columns.iter().map(|column| known(column).ok_or_else(|| unknown(column))).collect()
        }
        Some(ConflictTarget::OnConstraint(name)) => {
            // The name that PostgreSQL gives a primary key.
            let primary_key = format!("{}_pkey", schema.name.table);
            let name = name.0.last().and_then(|part| part.as_ident()).map(folded);
            match name == Some(primary_key) {
                true => Ok(schema.key.clone()),
                false => {
                    Err(SqlError::Unsupported("ON CONFLICT ON CONSTRAINT of columns that are not known".to_owned()))
                }
            }
        }
    }
}

/// Whether the rows that it inserts are listed in its text, so that it inserts no others whatever it reads.
pub fn lists_its_rows(statement: &Statement) -> bool {
    match statement {
        Statement::Insert(insert) => {
            let body = insert.source.as_ref().map(|source| source.body.as_ref());
            body.is_none_or(|body| matches!(body, SetExpr::Values(_)))
        }
        _ => false,
    }
}

/// The tables that a statement writes itself (not those that triggers and cascades write), data-modifying common table
/// expressions included.
pub fn write_targets(statement: &Statement, schemas: &Schemas) -> Vec<WriteTarget> {
    struct Collect<'a> {
        schemas: &'a Schemas,
        targets: Vec<WriteTarget>,
    }
    impl Visitor for Collect<'_> {
        type Break = ();

        fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
            self.targets.extend(own_targets(statement, self.schemas));
            ControlFlow::Continue(())
        }
    }
    let mut collect = Collect { schemas, targets: Vec::new() };
    let _ = statement.visit(&mut collect);
    collect.targets
}

/// What a text that does not parse may write, by where names of known tables stand in it.
pub fn scanned_targets(sql: &str, schemas: &Schemas) -> Vec<WriteTarget> {
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize() else { return Vec::new() };
    let written = scanned_tables(&tokens).into_iter().filter(|(_, is_written)| *is_written);
    let tables: BTreeSet<TableName> = written.filter_map(|(name, _)| table_name(&name)).collect();
    let known = tables.into_iter().filter(|table| schemas.contains_key(table));
    let target = |table| WriteTarget {
        table,
        operations: vec![Operation::Insert, Operation::Update, Operation::Delete],
        assigned: Vec::new(),
        set: Vec::new(),
        fixed: Vec::new(),
        on_conflict: None,
    };
    known.map(target).collect()
}

fn own_targets(statement: &Statement, schemas: &Schemas) -> Vec<WriteTarget> {
    let target = |table: Option<TableName>, operations: &[Operation], fixed| {
        let one = table.map(|table| WriteTarget {
            table,
            operations: operations.to_vec(),
            assigned: Vec::new(),
            set: Vec::new(),
            fixed,
            on_conflict: None,
        });
        one.into_iter().collect::<Vec<_>>()
    };
    match statement {
        Statement::Insert(insert) => {
            let TableObject::TableName(name) = &insert.table else { return Vec::new() };
            let table = table_name(name);
            let schema = table.as_ref().and_then(|table| schemas.get(table));
            let on_conflict = conflict(insert, schema.map(Arc::as_ref));
            let updates = matches!(&insert.on, Some(OnInsert::OnConflict(conflict)) if matches!(conflict.action, OnConflictAction::DoUpdate(_)));
            let operations: &[Operation] =
                if updates { &[Operation::Insert, Operation::Update] } else { &[Operation::Insert] };
            let fixed = table.as_ref().map(|table| inserted_constants(insert, table, schemas)).unwrap_or_default();
            let mut targets = target(table, operations, fixed);
            targets.iter_mut().for_each(|target| target.on_conflict.clone_from(&on_conflict));
            targets
        }
        Statement::Update(update) => {
            let table = joined_table(&update.table);
            let fixed = match (&table, &update.selection) {
                (Some((table, alias)), Some(selection)) => {
                    let from = match &update.from {
                        Some(UpdateTableFromKind::BeforeSet(from) | UpdateTableFromKind::AfterSet(from)) => from,
                        None => &Vec::new(),
                    };
                    fixed_columns(selection, table, alias, &given_columns(from), schemas)
                }
                _ => Vec::new(),
            };
            let mut targets = target(table.map(|(table, _)| table), &[Operation::Update], fixed);
            for target in &mut targets {
                target.assigned = update.assignments.iter().flat_map(assigned_columns).collect();
                target.set = constants_set(&update.assignments, &target.table, schemas);
            }
            targets
        }
        Statement::Delete(delete) => {
            let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
            let table = from.first().and_then(joined_table);
            let fixed = match (&table, &delete.selection) {
                (Some((table, alias)), Some(selection)) => {
                    let given = given_columns(delete.using.as_deref().unwrap_or_default());
                    fixed_columns(selection, table, alias, &given, schemas)
                }
                _ => Vec::new(),
            };
            target(table.map(|(table, _)| table), &[Operation::Delete], fixed)
        }
        Statement::Merge(merge) => {
            let table = factor_table(&merge.table).map(|(table, _)| table);
            target(table, &[Operation::Insert, Operation::Update, Operation::Delete], Vec::new())
        }
        Statement::Truncate(truncate) => truncate
            .table_names
            .iter()
            .flat_map(|name| target(table_name(&name.name), &[Operation::Truncate], Vec::new()))
            .collect(),
        Statement::Copy { source: sqlparser::ast::CopySource::Table { table_name: name, .. }, to: false, .. } => {
            target(table_name(name), &[Operation::Insert], Vec::new())
        }
        _ => Vec::new(),
    }
}

fn conflict(insert: &Insert, schema: Option<&TableSchema>) -> Option<Conflict> {
    let Some(OnInsert::OnConflict(conflict)) = &insert.on else { return None };
    // DO NOTHING without columns is about any of the table's unique keys.
    let target = conflict.conflict_target.as_ref();
    let columns = schema.and_then(|schema| conflict_columns(Some(target?), schema).ok());
    let rows = match insert.source.as_ref().map(|source| source.body.as_ref()) {
        Some(SetExpr::Values(values)) => Some(values.rows.len()),
        _ => None,
    };
    let assigned = match &conflict.action {
        OnConflictAction::DoUpdate(update) => update.assignments.iter().flat_map(assigned_columns).collect(),
        OnConflictAction::DoNothing => Vec::new(),
    };
    Some(Conflict { columns, assigned, rows })
}

fn assigned_columns(assignment: &Assignment) -> Vec<ColumnName> {
    let names = match &assignment.target {
        AssignmentTarget::ColumnName(name) => std::slice::from_ref(name),
        AssignmentTarget::Tuple(names) => names,
    };
    names.iter().filter_map(|name| name.0.last()?.as_ident()).map(|ident| folded(ident).into()).collect()
}

fn constants_set(assignments: &[Assignment], table: &TableName, schemas: &Schemas) -> Vec<(ColumnName, Operand)> {
    let Some(schema) = schemas.get(table) else { return Vec::new() };
    let constant = |assignment: &Assignment| {
        let AssignmentTarget::ColumnName(name) = &assignment.target else { return None };
        let column = schema.column(&folded(name.0.last()?.as_ident()?))?;
        Some((column.name.clone(), bounds::constant(&assignment.value, &column.column_type)?))
    };
    assignments.iter().filter_map(constant).collect()
}

fn joined_table(item: &TableWithJoins) -> Option<(TableName, String)> {
    factor_table(&item.relation)
}

/// The table and the name it goes by in the statement.
fn factor_table(factor: &TableFactor) -> Option<(TableName, String)> {
    let TableFactor::Table { name, alias, .. } = factor else { return None };
    let table = table_name(name)?;
    let alias = alias.as_ref().map_or_else(|| table.table.to_string(), |alias| folded(&alias.name));
    Some((table, alias))
}

fn fixed_columns(
    selection: &Expr,
    table: &TableName,
    alias: &str,
    given: &[GivenColumn<'_>],
    schemas: &Schemas,
) -> Vec<(ColumnName, Vec<Operand>)> {
    let Some(schema) = schemas.get(table) else { return Vec::new() };
    let mut fixed = Vec::new();
    for (parts, operands) in bounds::equalities(selection) {
        let column = match parts {
            [column] => folded(column),
            [.., qualifier, column] if folded(qualifier) == alias => folded(column),
            _ => continue,
        };
        let Some(known) = schema.column(&column) else { continue };
        let constants: Option<Vec<Vec<Operand>>> = operands
            .iter()
            .map(|operand| match bounds::constant(operand, &known.column_type) {
                Some(constant) => Some(vec![constant]),
                None => given.iter().find(|column| column.is_meant_by(operand))?.operands(&known.column_type),
            })
            .collect();
        if let Some(constants) = constants {
            fixed.push((known.name.clone(), constants.into_iter().flatten().collect()));
        }
    }
    fixed
}

/// A column of a list that the statement is given: `(VALUES …) AS v(id)`, `unnest($1) AS v(id)`.
struct GivenColumn<'s> {
    relation: String,
    name: String,
    values: GivenValues<'s>,
}

enum GivenValues<'s> {
    Rows(Vec<&'s Expr>),
    Array(&'s Expr),
}

impl GivenColumn<'_> {
    fn is_meant_by(&self, expression: &Expr) -> bool {
        match expression {
            // A bare name may be a column of another table too.
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [relation, name] => folded(relation) == self.relation && folded(name) == self.name,
                _ => false,
            },
            Expr::Nested(inner) => self.is_meant_by(inner),
            _ => false,
        }
    }

    fn operands(&self, column_type: &ColumnType) -> Option<Vec<Operand>> {
        match &self.values {
            GivenValues::Rows(rows) => rows.iter().map(|value| bounds::constant(value, column_type)).collect(),
            GivenValues::Array(array) => Some(vec![Operand::Elements(bounds::elements(array, column_type)?)]),
        }
    }
}

fn given_columns(from: &[TableWithJoins]) -> Vec<GivenColumn<'_>> {
    from.iter().flat_map(|item| given_by(&item.relation)).collect()
}

fn given_by(factor: &TableFactor) -> Vec<GivenColumn<'_>> {
    match factor {
        TableFactor::Derived { subquery, alias: Some(alias), .. } => {
            let SetExpr::Values(values) = subquery.body.as_ref() else { return Vec::new() };
            // Of rows that a LIMIT leaves out nothing is lost: they are fewer.
            let column = |(place, column): (usize, &TableAliasColumnDef)| {
                let rows: Option<Vec<&Expr>> = values.rows.iter().map(|row| row.content.get(place)).collect();
                Some(GivenColumn {
                    relation: folded(&alias.name),
                    name: folded(&column.name),
                    values: GivenValues::Rows(rows?),
                })
            };
            alias.columns.iter().enumerate().filter_map(column).collect()
        }
        TableFactor::UNNEST { alias: Some(alias), array_exprs, .. } => {
            let relation = folded(&alias.name);
            let name = |place: usize| match alias.columns.get(place) {
                Some(column) => folded(&column.name),
                None => relation.clone(),
            };
            let column = |(place, array)| GivenColumn {
                relation: relation.clone(),
                name: name(place),
                values: GivenValues::Array(array),
            };
            array_exprs.iter().enumerate().map(column).collect()
        }
        _ => Vec::new(),
    }
}

fn inserted_constants(insert: &Insert, table: &TableName, schemas: &Schemas) -> Vec<(ColumnName, Vec<Operand>)> {
    let (Some(schema), Some(source)) = (schemas.get(table), &insert.source) else { return Vec::new() };
    let SetExpr::Values(values) = source.body.as_ref() else { return Vec::new() };
    let columns = inserted_columns(&insert.columns, schema);
    let mut fixed = Vec::new();
    for (place, name) in columns.iter().enumerate() {
        let Some(column) = schema.column(name) else { continue };
        let constants: Option<Vec<Operand>> =
            values.rows.iter().map(|row| bounds::constant(row.content.get(place)?, &column.column_type)).collect();
        if let Some(constants) = constants {
            fixed.push((column.name.clone(), constants));
        }
    }
    fixed
}

/// The columns that an INSERT gives values for, in order: those it names, else the table's.
pub fn inserted_columns(named: &[ObjectName], schema: &TableSchema) -> Vec<String> {
    if named.is_empty() {
        return schema
            .columns
            .iter()
            .filter(|column| !column.generated)
            .map(|column| column.name.to_string())
            .collect();
    }
    named.iter().filter_map(|name| name.0.last()?.as_ident()).map(folded).collect()
}

/// The tables that a statement names anywhere, written or read; not its common table expressions, nor a table that it
/// creates.
pub fn tables_named(statement: &Statement) -> BTreeSet<TableName> {
    #[derive(Default)]
    struct Collect {
        tables: BTreeSet<TableName>,
        common: BTreeSet<String>,
    }
    impl Visitor for Collect {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let common = query.with.iter().flat_map(|with| &with.cte_tables);
            self.common.extend(common.map(|table| folded(&table.alias.name)));
            ControlFlow::Continue(())
        }

        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            let table = table_name(relation);
            let is_common =
                relation.0.len() == 1 && table.as_ref().is_some_and(|table| self.common.contains(table.table.as_ref()));
            self.tables.extend(table.filter(|_| !is_common));
            ControlFlow::Continue(())
        }
    }
    let mut collect = Collect::default();
    let _ = statement.visit(&mut collect);
    if let Some(created) = created_table(statement) {
        collect.tables.remove(&created);
    }
    collect.tables
}

/// The table that the statement creates.
pub fn created_table(statement: &Statement) -> Option<TableName> {
    match statement {
        Statement::CreateTable(create) => table_name(&create.name),
        _ => None,
    }
}
