//! A transaction's writes given to the statements that made them.

use std::collections::HashSet;
use std::sync::Arc;

use super::images::Images;
use super::sessions::{LoggedStatement, LoggedTransaction};
use crate::model::{ColumnType, Operation, RecordKey, RecordedWrite, Row, TableName, Value};
use crate::sql::{self, Operand, Schemas, WriteTarget};

/// Which statement made each write, and how surely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// For each write: the place of its statement; `None` where none fits.
    pub statement_of: Vec<Option<usize>>,
    /// Whether another distribution would fit as well.
    pub ambiguous: bool,
}

/// One write as the join sees it.
#[derive(Clone, Copy, Debug)]
pub struct JoinedWrite<'a> {
    /// As recorded.
    pub recorded: &'a RecordedWrite,
    /// Its canonical images.
    pub images: &'a Images,
}

/// Gives the writes to the statements in order. `None` where the transaction cannot have made them: a write that a
/// statement names fits none, or nothing fits at all.
pub fn assign(writes: &[JoinedWrite<'_>], transaction: &LoggedTransaction, schemas: &Schemas) -> Option<Assignment> {
    let targets: Vec<Vec<WriteTarget>> = transaction
        .statements
        .iter()
        .map(|statement| statement.parsed.as_ref().map_or_else(Vec::new, |parsed| sql::write_targets(parsed, schemas)))
        .collect();
    // Calls, DO blocks and what the parser does not know may have written anything.
    let opaque = |place: usize| targets[place].is_empty() && transaction.statements[place].role == sql::Role::Write;
    let targeted: HashSet<&TableName> = targets.iter().flatten().map(|target| &target.table).collect();
    let mut statement_of = Vec::with_capacity(writes.len());
    let mut current = 0;
    let mut touched: HashSet<(&TableName, &RecordKey)> = HashSet::new();
    let mut ambiguous = false;
    let mut fitted = false;
    for write in writes {
        let record = (&write.recorded.table, &write.images.key);
        let fits = |place: usize| fits_any(write, &targets[place], &transaction.statements[place], schemas);
        // An earlier statement may have found no row: whose values were written tells, where it sets any.
        let holds =
            |place: usize| fits(place) && holds_set(write, &targets[place], &transaction.statements[place], schemas);
        // A statement touches a record once: the same record again is the next statement's.
        let may_stay = current < targets.len() && fits(current) && !touched.contains(&record);
        let later = may_stay.then(|| (current + 1..targets.len()).find(|place| holds(*place))).flatten();
        // Where no insert lists its values, any later one could have made the row.
        let is_insert = write.recorded.operation == Operation::Insert;
        let rival = match is_insert && may_stay {
            true => (current + 1..targets.len()).find(|place| fits(*place)),
            false => later,
        };
        let place = if may_stay && (later.is_none() || holds(current)) {
            ambiguous |= rival
                .is_some_and(|rival| transaction.statements[rival].sql != transaction.statements[current].sql)
                && !fixes_key(&targets[current], &transaction.statements[current]);
            Some(current)
        } else {
            let from = if touched.contains(&record) { current + 1 } else { current };
            let fitting = (from..targets.len())
                .find(|place| fits(*place) || opaque(*place) && !targeted.contains(&write.recorded.table));
            match fitting.is_some_and(|place| fits(place) && !holds(place)) {
                true => (from..targets.len()).find(|place| holds(*place)).or(fitting),
                false => fitting,
            }
        };
        match place {
            Some(place) => {
                if place != current {
                    touched.clear();
                }
                current = place;
                touched.insert(record);
                fitted |= !opaque(place);
                statement_of.push(Some(place));
            }
            None if targeted.contains(&write.recorded.table) && !may_cascade(write, &targets) => return None,
            // Work the database did by itself: a trigger, a cascade.
            None => statement_of
                .push((!transaction.statements.is_empty()).then_some(current.min(targets.len().saturating_sub(1)))),
        }
    }
    let anything_goes = (0..targets.len()).any(opaque);
    (fitted || anything_goes).then_some(Assignment { statement_of, ambiguous })
}

/// A trigger or a cascade may write a table that a statement of the same transaction names too, but only beside a
/// write to another table.
fn may_cascade(write: &JoinedWrite<'_>, targets: &[Vec<WriteTarget>]) -> bool {
    targets.iter().flatten().any(|target| target.table != write.recorded.table)
}

fn fixes_key(targets: &[WriteTarget], _statement: &LoggedStatement) -> bool {
    targets.iter().all(|target| !target.fixed.is_empty())
}

fn fits_any(write: &JoinedWrite<'_>, targets: &[WriteTarget], statement: &LoggedStatement, schemas: &Schemas) -> bool {
    targets.iter().any(|target| fits(write, target, statement, schemas))
}

fn fits(write: &JoinedWrite<'_>, target: &WriteTarget, statement: &LoggedStatement, schemas: &Schemas) -> bool {
    let operation = write.recorded.operation;
    if target.table != write.recorded.table || !target.operations.contains(&operation) {
        return false;
    }
    let Some(schema) = schemas.get(&target.table) else { return true };
    // A row that an upsert updates has the values proposed only in the columns whose conflict made it an update.
    let conflict = target.on_conflict.as_ref().filter(|_| operation == Operation::Update);
    let image = match operation {
        Operation::Insert => write.images.after.as_ref(),
        _ => write.images.before.as_ref(),
    };
    let holds_fixed = target.fixed.iter().all(|(column, operands)| {
        if conflict.is_some_and(|conflict| !conflict.columns.contains(column)) {
            return true;
        }
        let value = image.and_then(|row| row.get(column)).or_else(|| write.images.key.get(column));
        let (Some(value), Some(known)) = (value, schema.column(column)) else { return true };
        operands.iter().any(|operand| operand_is(operand, value, statement, &known.column_type))
    });
    holds_fixed && (operation != Operation::Update || sets_what_changed(write, target))
}

/// Whether an update wrote the constants that one of the statement's targets sets; triggers may have put others there.
/// An insert's values are told by its statement where that lists them.
fn holds_set(write: &JoinedWrite<'_>, targets: &[WriteTarget], statement: &LoggedStatement, schemas: &Schemas) -> bool {
    if write.recorded.operation == Operation::Insert {
        return targets.iter().any(|target| target.table == write.recorded.table && !target.fixed.is_empty());
    }
    let (Operation::Update, Some(after)) = (write.recorded.operation, &write.images.after) else { return true };
    let Some(schema) = schemas.get(&write.recorded.table) else { return true };
    targets.iter().filter(|target| target.table == write.recorded.table).any(|target| {
        target.set.iter().all(|(column, operand)| {
            let (Some(value), Some(known)) = (after.get(column), schema.column(column)) else { return true };
            operand_is(operand, value, statement, &known.column_type)
        })
    })
}

/// At least one changed column is one that the statement sets (triggers may have changed others).
fn sets_what_changed(write: &JoinedWrite<'_>, target: &WriteTarget) -> bool {
    let (Some(before), Some(after)) = (&write.images.before, &write.images.after) else { return true };
    let changed = changed_columns(before, after);
    target.assigned.is_empty() || changed.is_empty() || changed.iter().any(|column| target.assigned.contains(column))
}

fn changed_columns(before: &Row, after: &Row) -> Vec<Arc<str>> {
    let changed = after.iter().filter(|(column, value)| before.get(column).is_some_and(|old| old != *value));
    changed.map(|(column, _)| column.clone()).collect()
}

fn operand_is(operand: &Operand, value: &Value, statement: &LoggedStatement, column_type: &ColumnType) -> bool {
    match operand {
        Operand::Literal(literal) => literal == value,
        Operand::Parameter(number) => {
            let parameter = number.checked_sub(1).and_then(|place| statement.parameters.get(place)?.as_ref());
            // A parameter that the log cut or left out says nothing against it.
            parameter
                .is_none_or(|parameter| column_type.canonical(parameter).is_ok_and(|canonical| canonical == *value))
        }
        Operand::Elements(number) => {
            let array = number.checked_sub(1).and_then(|place| statement.parameters.get(place)?.as_ref());
            // A parameter that the log cut or left out says nothing against it, nor does one that is no plain array.
            let elements = array.map(|array| array.as_str().map_or(Some(Vec::new()), sql::array_elements));
            elements.flatten().is_none_or(|elements| {
                let is_value = |element: String| {
                    column_type.canonical(&Value::text(element)).is_ok_and(|canonical| canonical == *value)
                };
                elements.into_iter().flatten().any(is_value)
            })
        }
        Operand::Column { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, RecordingId, Snapshots, TableSchema, Timestamp};

    fn accounts() -> Schemas {
        let column = |name: &str| Column {
            name: name.into(),
            column_type: ColumnType::Integer,
            not_null: true,
            generated: false,
        };
        let name = TableName::new("public", "accounts");
        let columns = vec![column("id"), column("owner"), column("balance")];
        let schema = TableSchema { name: name.clone(), columns, key: vec!["id".into()], foreign_keys: Vec::new() };
        Schemas::from([(name, Arc::new(schema))])
    }

    fn row(cells: &[(&str, &str)]) -> Row {
        cells.iter().map(|(column, value)| (Arc::from(*column), Value::text(*value))).collect()
    }

    fn logged(sql: &str, parameters: &[&str]) -> LoggedStatement {
        let parsed = sql::parse(sql).expect("it parses").remove(0);
        LoggedStatement {
            sql: sql.into(),
            role: sql::role_of(&parsed),
            parsed: Some(Arc::new(parsed)),
            parameters: parameters.iter().map(|text| Some(Value::text(*text))).collect(),
            started: Timestamp::from_micros(0),
        }
    }

    /// One update of one account, given to one of the statements.
    fn assigned(statements: Vec<LoggedStatement>, balance: &str) -> Option<Assignment> {
        let before = row(&[("id", "1"), ("owner", "7"), ("balance", "5")]);
        let after = row(&[("id", "1"), ("owner", "7"), ("balance", balance)]);
        let recorded = RecordedWrite {
            id: RecordingId([0; 16]),
            seq: None,
            ts: Timestamp::from_micros(0),
            table: TableName::new("public", "accounts"),
            operation: Operation::Update,
            key: row(&[("id", "1")]),
            before: Some(before.clone()),
            after: Some(after.clone()),
            reads: Vec::new(),
            transaction: None,
            session: None,
            trace: None,
            release: None,
            service: None,
            statement: None,
            parameters: Vec::new(),
        };
        let images = Images {
            key: RecordKey::new(vec![("id".into(), Value::text("1"))]),
            before: Some(before),
            after: Some(after),
        };
        let transaction = LoggedTransaction {
            begun: Timestamp::from_micros(0),
            committed: Timestamp::from_micros(1),
            followed: None,
            transaction: None,
            snapshots: Snapshots::default(),
            application_name: None,
            database: None,
            statements,
        };
        assign(&[JoinedWrite { recorded: &recorded, images: &images }], &transaction, &accounts())
    }

    #[test]
    fn an_update_that_found_no_row_does_not_take_the_next_ones_write() {
        let of_owner = "UPDATE accounts SET balance = $1 WHERE owner > $2";
        let statements = || vec![logged(of_owner, &["10", "8"]), logged("UPDATE accounts SET balance = 20", &[])];
        let second = Assignment { statement_of: vec![Some(1)], ambiguous: false };
        assert_eq!(assigned(statements(), "20"), Some(second));
        let first = Assignment { statement_of: vec![Some(0)], ambiguous: false };
        assert_eq!(assigned(statements(), "10"), Some(first));
        // A trigger put another value there: nothing tells them apart.
        let either = assigned(statements(), "30");
        assert_eq!(either.map(|assignment| assignment.statement_of), Some(vec![Some(0)]));
    }

    #[test]
    fn what_computes_its_value_may_have_made_any_write() {
        let statements = vec![
            logged("UPDATE accounts SET balance = balance + 1 WHERE owner > 8", &[]),
            logged("UPDATE accounts SET balance = 20", &[]),
        ];
        let doubtful = Assignment { statement_of: vec![Some(0)], ambiguous: true };
        assert_eq!(assigned(statements, "20"), Some(doubtful));
    }
}
