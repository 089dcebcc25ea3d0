//! How the keys that a template's executions touch are read off their literals and parameters.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{Query, Statement, Visit, Visitor};

use super::fingerprint::Literal;
use crate::model::{ColumnName, ColumnType, Operation, RecordKey, TableName, TableSchema, Value};
use crate::sql::{
    Bound, ConflictAction, OnConflict, Operand, Reads, Role, Schemas, TableReference, WriteForms, WriteKind,
    WriteTarget, array_elements, canonical, parse, role_of, write_targets,
};

/// A table of which a template fixes the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysOfTable {
    /// The table.
    pub table: TableName,
    /// Whether its rows are written; else they are read.
    pub written: bool,
    /// The columns of the key, in order.
    pub columns: Vec<KeyColumn>,
}

/// Where the values of a key's column are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// The column.
    pub name: ColumnName,
    column_type: ColumnType,
    /// The literals' slots, and whether each is an array of values.
    slots: Vec<(usize, bool)>,
}

/// More keys than these one execution is not said to touch.
const MOST_KEYS: usize = 10_000;

/// What a template says of the keys that its executions touch.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    /// Where the keys are fixed, by each target and reference to a table.
    pub(super) fixed: Vec<KeysOfTable>,
    /// The tables of which it may touch any row all the same.
    pub(super) open: BTreeSet<TableName>,
    /// The tables to which it adds rows whose keys are not told.
    pub(super) added: BTreeSet<TableName>,
    /// Whether what it reads is told: else any table that it names is open.
    pub(super) reads_are_told: bool,
}

/// The tables whose keys a template fixes. Its literals are taken for parameters, numbered by their slots. `None` where a
/// literal may stand but no parameter, as in `DATE '…'`.
pub(super) fn of_template(sql: &str, literals: &[Literal], schemas: &Schemas) -> Option<Touched> {
    let mut text = String::with_capacity(sql.len() + literals.len());
    let mut from = 0;
    for literal in literals {
        text.push_str(sql.get(from..literal.start)?);
        text.push('$');
        text.push_str(&(literal.slot + 1).to_string());
        from = literal.end;
    }
    text.push_str(sql.get(from..)?);
    let statements = parse(&text).ok()?;
    let [statement] = statements.as_slice() else { return None };
    Some(of_statement(statement, schemas))
}

fn of_statement(statement: &Statement, schemas: &Schemas) -> Touched {
    let mut touched = Touched { reads_are_told: true, ..Touched::default() };
    for target in write_targets(statement, schemas) {
        touched.written(&target, schemas);
    }
    match references(statement, schemas) {
        Some(references) => references.iter().for_each(|reference| touched.read(reference, schemas)),
        None => touched.reads_are_told = false,
    }
    touched
}

impl Touched {
    fn written(&mut self, target: &WriteTarget, schemas: &Schemas) {
        let table = &target.table;
        let Some(schema) = schemas.get(table) else {
            self.open.insert(table.clone());
            return;
        };
        let is_key = |column: &ColumnName| schema.key.contains(column);
        // What conflicts in other columns than the key stands under a key of its own.
        let elsewhere =
            target.on_conflict.as_ref().is_some_and(|conflict| schema.key.iter().any(|key| !conflict.is_met_in(key)));
        let fixed: Vec<(&ColumnName, &[Operand])> =
            target.fixed.iter().map(|(column, operands)| (column, operands.as_slice())).collect();
        match of_table(table, true, &fixed, schemas).filter(|_| !elsewhere) {
            None if target.operations == [Operation::Insert] && target.on_conflict.is_none() => {
                self.added.insert(table.clone());
            }
            keys => self.add(table, true, keys),
        }
        if target.on_conflict.as_ref().is_some_and(|conflict| conflict.assigned.iter().any(is_key)) {
            self.open.insert(table.clone());
        }
        // An UPDATE of the key writes the row under the new one too.
        if target.assigned.iter().any(is_key) {
            let set = target.set.iter().map(|(column, operand)| (column, std::slice::from_ref(operand)));
            let kept = fixed.iter().copied().filter(|(column, _)| !target.assigned.contains(column));
            let new: Vec<(&ColumnName, &[Operand])> = set.chain(kept).collect();
            self.add(table, true, of_table(table, true, &new, schemas));
        }
    }

    fn read(&mut self, reference: &TableReference, schemas: &Schemas) {
        let bounds: Vec<(&ColumnName, &[Operand])> =
            reference.bounds.iter().map(|Bound { column, operands }| (column, operands.as_slice())).collect();
        self.add(&reference.table, false, of_table(&reference.table, false, &bounds, schemas));
    }

    fn add(&mut self, table: &TableName, written: bool, keys: Option<KeysOfTable>) {
        match keys {
            Some(keys) => self.fixed.push(KeysOfTable { written, ..keys }),
            None => _ = self.open.insert(table.clone()),
        }
    }
}

/// The references to tables in the queries that say what a statement reads; `None` where it has no such form.
fn references(statement: &Statement, schemas: &Schemas) -> Option<Vec<TableReference>> {
    let read = |mut query: Query, schemas: &Schemas| Some(Reads::resolve(&mut query, schemas, "r").ok()?.references);
    if let (Statement::Query(query), Role::Read) = (statement, role_of(statement)) {
        return read(query.as_ref().clone(), schemas);
    }
    if returns_what_it_reads(statement) {
        return None;
    }
    let WriteForms { forms, read: behind, .. } = WriteForms::of(statement, schemas).ok()?;
    let mut found = match behind {
        Some(query) => read(*query, schemas)?,
        None => Vec::new(),
    };
    for form in forms {
        for arm in form.arms {
            // Before all else an UPDATE and a DELETE read the rows that they write.
            let own = matches!(arm.kind, WriteKind::Update | WriteKind::Delete) && arm.query.with.is_none();
            let of_arm = read(*arm.query, schemas)?;
            let own = own && of_arm.first().is_some_and(|first| first.table == form.target);
            found.extend(of_arm.into_iter().skip(usize::from(own)));
            if let WriteKind::Insert {
                on_conflict: Some(OnConflict { action: ConflictAction::Update { query, .. }, .. }),
            } = arm.kind
            {
                let mut schemas = schemas.clone();
                let excluded = TableName::new("public", "excluded");
                let proposed = TableSchema { name: excluded.clone(), ..schemas.get(&form.target)?.as_ref().clone() };
                schemas.insert(excluded, Arc::new(proposed));
                // The first two are the row that is met, which is written, and the one proposed.
                found.extend(read(*query, &schemas)?.into_iter().skip(2));
            }
        }
    }
    Some(found)
}

/// Whether a subquery stands in what the statement, or a part of it, returns.
fn returns_what_it_reads(statement: &Statement) -> bool {
    struct InReturned;
    impl Visitor for InReturned {
        type Break = ();

        fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    struct EachPart;
    impl Visitor for EachPart {
        type Break = ();

        fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
            let returned = match statement {
                Statement::Insert(insert) => &insert.returning,
                Statement::Update(update) => &update.returning,
                Statement::Delete(delete) => &delete.returning,
                _ => &None,
            };
            returned.visit(&mut InReturned)
        }
    }
    statement.visit(&mut EachPart).is_break()
}

fn of_table(
    table: &TableName,
    written: bool,
    fixed: &[(&ColumnName, &[Operand])],
    schemas: &Schemas,
) -> Option<KeysOfTable> {
    let schema = schemas.get(table).filter(|schema| !schema.key.is_empty())?;
    let column = |name: &ColumnName| {
        let column_type = &schema.column(name)?.column_type;
        // Of several conditions on a column each alone bounds it.
        let mut all = fixed.iter().filter(|(column, _)| *column == name).map(|(_, operands)| slots(operands));
        Some(KeyColumn { name: name.clone(), column_type: column_type.clone(), slots: all.find_map(|slots| slots)? })
    };
    let columns: Option<Vec<KeyColumn>> = schema.key.iter().map(column).collect();
    Some(KeysOfTable { table: table.clone(), written, columns: columns? })
}

fn slots(operands: &[Operand]) -> Option<Vec<(usize, bool)>> {
    let slot = |operand: &Operand| match operand {
        Operand::Parameter(number) => Some((number.checked_sub(1)?, false)),
        Operand::Elements(number) => Some((number.checked_sub(1)?, true)),
        Operand::Literal(_) | Operand::Column { .. } => None,
    };
    let mut slots: Vec<(usize, bool)> = operands.iter().map(slot).collect::<Option<_>>()?;
    slots.sort_unstable();
    slots.dedup();
    Some(slots)
}

/// The keys of one execution.
pub(super) fn keys(of: &KeysOfTable, sql: &str, literals: &[Literal], parameters: &[Value]) -> Option<Vec<RecordKey>> {
    // A value of NULL equals nothing, and neither does the row that it stands in.
    let mut keys: Vec<Vec<Option<Value>>> = vec![Vec::new()];
    let mut zipped: Option<usize> = None;
    for (place, column) in of.columns.iter().enumerate() {
        let (values, list) = values_of(column, sql, literals, parameters)?;
        // Columns of one list have their values in the same rows of it; of others, each with each.
        if place > 0 && list.is_some() && list == zipped && values.len() == keys.len() {
            keys.iter_mut().zip(values).for_each(|(key, value)| key.push(value));
            continue;
        }
        if keys.len().checked_mul(values.len())? > MOST_KEYS {
            return None;
        }
        zipped = if place == 0 { list } else { None };
        let each = keys.iter().flat_map(|key| {
            values.iter().map(move |value| key.iter().chain(std::iter::once(value)).cloned().collect())
        });
        keys = each.collect();
    }
    let record = |key: Vec<Option<Value>>| {
        let cells: Option<Vec<(ColumnName, Value)>> =
            of.columns.iter().zip(key).map(|(column, value)| Some((column.name.clone(), value?))).collect();
        cells.map(RecordKey::new)
    };
    Some(keys.into_iter().filter_map(record).collect())
}

/// The values that a column has in the execution, and the list that they stand in where it is one: then one for each row
/// of it.
fn values_of(
    column: &KeyColumn,
    sql: &str,
    literals: &[Literal],
    parameters: &[Value],
) -> Option<(Vec<Option<Value>>, Option<usize>)> {
    let mut values = Vec::new();
    let mut list = None;
    for (slot, is_array) in &column.slots {
        for literal in literals.iter().filter(|literal| literal.slot == *slot) {
            list = (column.slots.len() == 1 && literal.list > 0 && !is_array).then_some(literal.list);
            let value = value_of(sql.get(literal.start..literal.end)?, parameters)?;
            match value.as_str() {
                None => values.push(None),
                Some(text) if *is_array => {
                    for element in array_elements(text)?.into_iter().flatten() {
                        values.push(Some(canonical(&element, &column.column_type)?));
                    }
                }
                Some(text) => values.push(Some(canonical(text, &column.column_type)?)),
            }
        }
    }
    Some((values, list))
}

fn value_of(literal: &str, parameters: &[Value]) -> Option<Value> {
    if let Some(number) =
        literal.strip_prefix('$').filter(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()))
    {
        return parameters.get(number.parse::<usize>().ok()?.checked_sub(1)?).cloned();
    }
    if let Some(inner) = literal.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return Some(if inner.contains("''") { Value::text(inner.replace("''", "'")) } else { Value::text(inner) });
    }
    if literal.starts_with('$') {
        let tag = literal.get(1..)?.find('$')? + 2;
        return Some(Value::text(literal.get(tag..literal.len().checked_sub(tag)?)?));
    }
    // Escapes and bits are not read here.
    literal
        .starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '.'))
        .then(|| Value::text(literal))
}
