//! How the keys that a template's executions touch are read off their literals and parameters.

use std::ops::ControlFlow;

use sqlparser::ast::{Query, Statement, Visit, Visitor};

use super::fingerprint::Literal;
use crate::model::{ColumnName, ColumnType, TableName, Value};
use crate::sql::{Bound, Operand, Reads, Schemas, array_elements, canonical, parse, write_targets};

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

/// The tables whose keys a template fixes. Its literals are taken for parameters, numbered by their slots.
pub(super) fn of_template(sql: &str, literals: &[Literal], schemas: &Schemas) -> Vec<KeysOfTable> {
    let mut text = String::with_capacity(sql.len() + literals.len());
    let mut from = 0;
    for literal in literals {
        text.push_str(sql.get(from..literal.start).unwrap_or_default());
        text.push('$');
        text.push_str(&(literal.slot + 1).to_string());
        from = literal.end;
    }
    text.push_str(sql.get(from..).unwrap_or_default());
    // Where a literal may stand but no parameter, as in DATE '…', the keys stay unknown.
    let Ok(statements) = parse(&text) else { return Vec::new() };
    statements.iter().flat_map(|statement| of_statement(statement, schemas)).collect()
}

fn of_statement(statement: &Statement, schemas: &Schemas) -> Vec<KeysOfTable> {
    let mut found = Vec::new();
    for target in write_targets(statement, schemas) {
        let fixed: Vec<(&ColumnName, &[Operand])> =
            target.fixed.iter().map(|(column, operands)| (column, operands.as_slice())).collect();
        found.extend(of_table(&target.table, true, &fixed, schemas));
    }
    for mut query in queries(statement) {
        let Ok(reads) = Reads::resolve(&mut query, schemas, "r") else { continue };
        for reference in reads.references {
            let bounds: Vec<(&ColumnName, &[Operand])> =
                reference.bounds.iter().map(|Bound { column, operands }| (column, operands.as_slice())).collect();
            found.extend(of_table(&reference.table, false, &bounds, schemas));
        }
    }
    found.dedup();
    found
}

/// The query that a statement is, or is fed by.
fn queries(statement: &Statement) -> Vec<Query> {
    struct Outermost(Vec<Query>);
    impl Visitor for Outermost {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            self.0.push(query.clone());
            ControlFlow::Break(())
        }
    }
    let mut outermost = Outermost(Vec::new());
    if matches!(statement, Statement::Query(_) | Statement::Insert(_)) {
        let _: ControlFlow<()> = statement.visit(&mut outermost);
    }
    outermost.0
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
pub(super) fn keys(of: &KeysOfTable, sql: &str, literals: &[Literal], parameters: &[Value]) -> Option<Vec<Vec<Value>>> {
    let mut keys: Vec<Vec<Value>> = vec![Vec::new()];
    let mut zipped: Option<usize> = None;
    for column in &of.columns {
        let (values, list) = values_of(column, sql, literals, parameters)?;
        // Columns of one list have their values in the same rows of it; of others, each with each.
        if list.is_some() && list == zipped && values.len() == keys.len() {
            keys.iter_mut().zip(values).for_each(|(key, value)| key.push(value));
            continue;
        }
        if keys.len().checked_mul(values.len())? > MOST_KEYS {
            return None;
        }
        zipped = if keys.len() == 1 { list } else { None };
        let each = keys.iter().flat_map(|key| {
            values.iter().map(move |value| key.iter().chain(std::iter::once(value)).cloned().collect())
        });
        keys = each.collect();
    }
    Some(keys)
}

/// The values that a column has in the execution, and the list that they stand in where it is one.
fn values_of(
    column: &KeyColumn,
    sql: &str,
    literals: &[Literal],
    parameters: &[Value],
) -> Option<(Vec<Value>, Option<usize>)> {
    let mut values = Vec::new();
    let mut list = None;
    for (slot, is_array) in &column.slots {
        for literal in literals.iter().filter(|literal| literal.slot == *slot) {
            list = (column.slots.len() == 1 && literal.list > 0).then_some(literal.list);
            let value = value_of(sql.get(literal.start..literal.end)?, parameters)?;
            let text = match value.as_str() {
                Some(text) => text,
                // NULL equals nothing.
                None => continue,
            };
            if *is_array {
                for element in array_elements(text)?.into_iter().flatten() {
                    values.push(canonical(&element, &column.column_type)?);
                }
            } else {
                values.push(canonical(text, &column.column_type)?);
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
