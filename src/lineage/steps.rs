//! A transaction's writes given to the statements that made them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlparser::ast;

use super::images::Images;
use super::sessions::{LoggedStatement, LoggedTransaction};
use crate::model::{ColumnName, ColumnType, Operation, RecordKey, RecordedWrite, Row, TableName, TableSchema, Value};
use crate::sql::{self, Operand, Schemas, WriteTarget};

/// Which statement made each write, and how surely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// For each write: the place of its statement; `None` where none fits.
    pub statement_of: Vec<Option<usize>>,
    /// Whether another distribution would fit as well.
    pub ambiguous: bool,
    /// Whether a statement tells what was written; else one of them (a call, a block) may have written anything.
    pub is_told: bool,
}

/// One write as the join sees it.
#[derive(Clone, Copy, Debug)]
pub struct JoinedWrite<'a> {
    /// As recorded.
    pub recorded: &'a RecordedWrite,
    /// Its canonical images.
    pub images: &'a Images,
}

/// What the statements of a log write, each text's looked up once.
#[derive(Debug)]
pub struct Targets<'a> {
    schemas: &'a Schemas,
    /// By the parsed statement, which all executions of one text share.
    by_statement: HashMap<*const ast::Statement, Vec<WriteTarget>>,
}

impl<'a> Targets<'a> {
    /// Of every one of these transactions.
    pub fn of<'log>(logged: impl Iterator<Item = &'log LoggedTransaction>, schemas: &'a Schemas) -> Self {
        let mut by_statement = HashMap::new();
        for parsed in logged.flat_map(|logged| &logged.statements).filter_map(|statement| statement.parsed.as_ref()) {
            by_statement.entry(Arc::as_ptr(parsed)).or_insert_with(|| sql::write_targets(parsed, schemas));
        }
        Targets { schemas, by_statement }
    }

    fn of_statement(&self, statement: &LoggedStatement) -> &[WriteTarget] {
        let known = statement.parsed.as_ref().and_then(|parsed| self.by_statement.get(&Arc::as_ptr(parsed)));
        known.map_or(&[], Vec::as_slice)
    }
}

/// Gives the writes to the statements in order. `None` where the transaction cannot have made them: a write that a
/// statement names fits none, or nothing fits at all.
pub fn assign(writes: &[JoinedWrite<'_>], transaction: &LoggedTransaction, known: &Targets<'_>) -> Option<Assignment> {
    let targets: Vec<&[WriteTarget]> =
        transaction.statements.iter().map(|statement| known.of_statement(statement)).collect();
    let statements = Statements { all: &transaction.statements, targets: &targets, schemas: known.schemas };
    let mut by_values = Assigning::new(statements, true);
    if let Some(assignment) = by_values.assignment(writes) {
        return Some(assignment);
    }
    // Triggers may have put other values there than those by which a statement was preferred to an earlier one.
    let in_order = by_values.preferred.then(|| Assigning::new(statements, false).assignment(writes)).flatten();
    in_order.map(|assignment| Assignment { ambiguous: true, ..assignment })
}

/// The statements of a transaction with what each writes.
#[derive(Clone, Copy)]
struct Statements<'a> {
    all: &'a [LoggedStatement],
    targets: &'a [&'a [WriteTarget]],
    schemas: &'a Schemas,
}

impl Statements<'_> {
    /// Calls, DO blocks and what the parser does not know may have written anything.
    fn is_opaque(&self, place: usize) -> bool {
        self.targets[place].is_empty() && self.all[place].role == sql::Role::Write
    }

    /// A trigger or a cascade may write a table that a statement of the same transaction names too, but only beside a
    /// write to another table.
    fn may_cascade(&self, write: &JoinedWrite<'_>) -> bool {
        self.targets.iter().copied().flatten().any(|target| target.table != write.recorded.table)
    }

    fn fits(&self, write: &JoinedWrite<'_>, place: usize) -> bool {
        self.targets[place].iter().any(|target| fits(write, target, &self.all[place], self.schemas))
    }

    /// An earlier statement may have found no row: whose values were written tells, where it sets any.
    fn holds(&self, write: &JoinedWrite<'_>, place: usize) -> bool {
        self.fits(write, place) && holds_set(write, self.targets[place], &self.all[place], self.schemas)
    }

    /// Whether constants of the statement say which rows it wrote so.
    fn fixes_rows(&self, write: &JoinedWrite<'_>, place: usize) -> bool {
        self.targets[place].iter().all(|target| target.fixed_by(write.recorded.operation).next().is_some())
    }

    /// Whether it updated a row that conflicts in columns that are not known.
    fn may_have_met_any(&self, write: &JoinedWrite<'_>, place: usize) -> bool {
        let is_met_anywhere = |target: &WriteTarget| {
            target.table == write.recorded.table
                && target.on_conflict.as_ref().is_some_and(|conflict| conflict.columns.is_none())
        };
        write.recorded.operation == Operation::Update && self.targets[place].iter().any(is_met_anywhere)
    }

    fn differ(&self, one: usize, other: usize) -> bool {
        let (one, other) = (&self.all[one], &self.all[other]);
        one.sql != other.sql || one.parameters != other.parameters
    }

    /// How many rows of the table an upsert proposes; `None` where that is not known, or the statement is another.
    fn rows_proposed(&self, table: &TableName, place: usize) -> Option<usize> {
        let of_table = self.targets[place].iter().filter(|target| target.table == *table);
        of_table.map(|target| target.on_conflict.as_ref()?.rows).sum()
    }
}

/// The writes of one transaction on their way to its statements.
struct Assigning<'a> {
    statements: Statements<'a>,
    targeted: HashSet<&'a TableName>,
    /// Whether a statement is preferred whose values were written.
    by_values: bool,
    /// Whether one was.
    preferred: bool,
    current: usize,
    /// A statement touches a record once: the same record again is the next statement's.
    touched: HashSet<(&'a TableName, &'a RecordKey)>,
    ambiguous: bool,
    fitted: bool,
}

impl<'a> Assigning<'a> {
    fn new(statements: Statements<'a>, by_values: bool) -> Self {
        Assigning {
            statements,
            targeted: statements.targets.iter().copied().flatten().map(|target| &target.table).collect(),
            by_values,
            preferred: false,
            current: 0,
            touched: HashSet::new(),
            ambiguous: false,
            fitted: false,
        }
    }

    fn assignment(&mut self, writes: &'a [JoinedWrite<'a>]) -> Option<Assignment> {
        let count = self.statements.targets.len();
        let mut statement_of = Vec::with_capacity(writes.len());
        for write in writes {
            match self.place_of(write) {
                Some(place) => {
                    if place != self.current {
                        self.touched.clear();
                    }
                    self.current = place;
                    self.touched.insert((&write.recorded.table, &write.images.key));
                    self.fitted |= !self.statements.is_opaque(place);
                    statement_of.push(Some(place));
                }
                None if self.targeted.contains(&write.recorded.table) && !self.statements.may_cascade(write) => {
                    return None;
                }
                // Work the database did by itself: a trigger, a cascade.
                None => statement_of.push((count > 0).then_some(self.current.min(count.saturating_sub(1)))),
            }
        }
        let anything_goes = (0..count).any(|place| self.statements.is_opaque(place));
        let Assigning { fitted: is_told, ambiguous, .. } = *self;
        (is_told || anything_goes).then_some(Assignment { statement_of, ambiguous, is_told })
    }

    fn place_of(&mut self, write: &JoinedWrite<'_>) -> Option<usize> {
        let Assigning { statements, by_values, current, .. } = *self;
        let count = statements.targets.len();
        let fits = |place: usize| statements.fits(write, place);
        let holds = |place: usize| if by_values { statements.holds(write, place) } else { fits(place) };
        let is_touched = self.touched.contains(&(&write.recorded.table, &write.images.key));
        let may_stay = current < count && fits(current) && !is_touched;
        let later = may_stay.then(|| (current + 1..count).find(|place| holds(*place))).flatten();
        let is_full = later.is_some() && self.is_full(&write.recorded.table);
        if may_stay && !is_full && (later.is_none() || holds(current)) {
            self.ambiguous |= self.has_rival(write, later);
            return Some(current);
        }
        let from = if is_touched || is_full { current + 1 } else { current };
        let is_named = self.targeted.contains(&write.recorded.table);
        let fitting = (from..count).find(|place| fits(*place) || statements.is_opaque(*place) && !is_named);
        let holding = match fitting.is_some_and(|place| fits(place) && !holds(place)) {
            true => (from..count).find(|place| holds(*place)),
            false => None,
        };
        self.preferred |= holding.is_some() || is_full;
        let place = holding.or(fitting)?;
        self.ambiguous |= self.may_be_of_another(write, place);
        Some(place)
    }

    /// Whether the statement that the write stays with is not the only one that could have made it.
    fn has_rival(&self, write: &JoinedWrite<'_>, later: Option<usize>) -> bool {
        let Assigning { statements, current, .. } = *self;
        // Where no insert lists its values, any later one could have made the row.
        let rival = match write.recorded.operation == Operation::Insert {
            true => (current + 1..statements.targets.len()).find(|place| statements.fits(write, *place)),
            false => later,
        };
        let is_other = |rival: usize| statements.all[rival].sql != statements.all[current].sql;
        rival.is_some_and(is_other) && !statements.fixes_rows(write, current) || self.may_be_of_another(write, current)
    }

    fn may_be_of_another(&self, write: &JoinedWrite<'_>, place: usize) -> bool {
        let statements = self.statements;
        let could_be = |other: usize| statements.differ(place, other) && statements.fits(write, other);
        statements.may_have_met_any(write, place) && (self.current..statements.targets.len()).any(could_be)
    }

    /// Whether the current statement has written as many rows of the table as it proposed.
    fn is_full(&self, table: &TableName) -> bool {
        let written = self.touched.iter().filter(|(touched, _)| *touched == table);
        self.statements.rows_proposed(table, self.current).is_some_and(|rows| written.count() >= rows)
    }
}

fn fits(write: &JoinedWrite<'_>, target: &WriteTarget, statement: &LoggedStatement, schemas: &Schemas) -> bool {
    let operation = write.recorded.operation;
    if target.table != write.recorded.table || !target.operations.contains(&operation) {
        return false;
    }
    let Some(schema) = schemas.get(&target.table) else { return true };
    // What an upsert proposed beside the key triggers may have put otherwise before it met a row.
    let is_upserted = operation == Operation::Update && target.on_conflict.is_some();
    let mut demanded = target.fixed_by(operation).filter(|(column, _)| !is_upserted || schema.key.contains(column));
    demanded.all(|fixed| holds_fixed(write, fixed, statement, schema))
        && (operation != Operation::Update || sets_what_changed(write, target))
}

/// Whether the row that was inserted, or that stood before, has one of the values that the statement fixes in a column.
fn holds_fixed(
    write: &JoinedWrite<'_>,
    (column, operands): &(ColumnName, Vec<Operand>),
    statement: &LoggedStatement,
    schema: &TableSchema,
) -> bool {
    let image = match write.recorded.operation {
        Operation::Insert => write.images.after.as_ref(),
        _ => write.images.before.as_ref(),
    };
    let value = image.and_then(|row| row.get(column)).or_else(|| write.images.key.get(column));
    let (Some(value), Some(known)) = (value, schema.column(column)) else { return true };
    operands.iter().any(|operand| operand_is(operand, value, statement, &known.column_type))
}

/// Whether an update wrote the constants that one of the statement's targets sets, or met a row by those that it
/// proposes; triggers may have put others there. An insert's values are told by its statement where that lists them.
fn holds_set(write: &JoinedWrite<'_>, targets: &[WriteTarget], statement: &LoggedStatement, schemas: &Schemas) -> bool {
    if write.recorded.operation == Operation::Insert {
        return targets.iter().any(|target| target.table == write.recorded.table && !target.fixed.is_empty());
    }
    let (Operation::Update, Some(after)) = (write.recorded.operation, &write.images.after) else { return true };
    let Some(schema) = schemas.get(&write.recorded.table) else { return true };
    targets.iter().filter(|target| target.table == write.recorded.table).any(|target| {
        if target.on_conflict.is_some() {
            return target.fixed_by(Operation::Update).all(|fixed| holds_fixed(write, fixed, statement, schema));
        }
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
    use crate::model::{Column, RecordingId, Snapshots, Timestamp};

    fn accounts() -> Schemas {
        let column =
            |name: &str, column_type| Column { name: name.into(), column_type, not_null: true, generated: false };
        let name = TableName::new("public", "accounts");
        let integers = ["id", "owner", "balance"].map(|name| column(name, ColumnType::Integer));
        let columns = integers.into_iter().chain([column("email", ColumnType::Text)]).collect();
        let schema = TableSchema {
            name: name.clone(),
            columns,
            key: vec!["id".into()],
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
        };
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
            time_zone: None,
        }
    }

    /// One update of the account 1, given to one of the statements.
    fn assigned(statements: Vec<LoggedStatement>, balance: &str) -> Option<Assignment> {
        assigned_all(statements, &[("1", balance)])
    }

    /// Updates of accounts with their new balances, given to the statements.
    fn assigned_all(statements: Vec<LoggedStatement>, updates: &[(&str, &str)]) -> Option<Assignment> {
        let account =
            |id: &str, balance: &str| row(&[("id", id), ("owner", "7"), ("balance", balance), ("email", "a@x")]);
        let recorded = |(id, balance): &(&str, &str)| RecordedWrite {
            id: RecordingId([0; 16]),
            seq: None,
            ts: Timestamp::from_micros(0),
            table: TableName::new("public", "accounts"),
            operation: Operation::Update,
            key: row(&[("id", id)]),
            before: Some(account(id, "5")),
            after: Some(account(id, balance)),
            reads: Vec::new(),
            transaction: None,
            session: None,
            trace: None,
            release: None,
            service: None,
            statement: None,
            parameters: Vec::new(),
        };
        let recorded: Vec<RecordedWrite> = updates.iter().map(recorded).collect();
        let images = |write: &RecordedWrite| Images {
            key: RecordKey::new(write.key.iter().map(|(column, value)| (column.clone(), value.clone())).collect()),
            before: write.before.clone(),
            after: write.after.clone(),
        };
        let images: Vec<Images> = recorded.iter().map(images).collect();
        let writes: Vec<JoinedWrite<'_>> =
            recorded.iter().zip(&images).map(|(recorded, images)| JoinedWrite { recorded, images }).collect();
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
        let schemas = accounts();
        let targets = Targets::of([&transaction].into_iter(), &schemas);
        assign(&writes, &transaction, &targets)
    }

    #[test]
    fn an_update_that_found_no_row_does_not_take_the_next_ones_write() {
        let of_owner = "UPDATE accounts SET balance = $1 WHERE owner > $2";
        let statements = || vec![logged(of_owner, &["10", "8"]), logged("UPDATE accounts SET balance = 20", &[])];
        let second = Assignment { statement_of: vec![Some(1)], ambiguous: false, is_told: true };
        assert_eq!(assigned(statements(), "20"), Some(second));
        let first = Assignment { statement_of: vec![Some(0)], ambiguous: false, is_told: true };
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
        let doubtful = Assignment { statement_of: vec![Some(0)], ambiguous: true, is_told: true };
        assert_eq!(assigned(statements, "20"), Some(doubtful));
    }

    /// An upsert of accounts, that conflicts in this.
    fn upsert(values: &str, conflict: &str) -> LoggedStatement {
        let update = "DO UPDATE SET balance = excluded.balance";
        logged(&format!("INSERT INTO accounts VALUES {values} ON CONFLICT {conflict} {update}"), &[])
    }

    #[test]
    fn an_upsert_by_the_keys_constraint_updates_the_row_of_that_key() {
        let of_other = || upsert("(3, 7, 20, 'a@x')", "ON CONSTRAINT accounts_pkey");
        let second = Assignment { statement_of: vec![Some(1)], ambiguous: false, is_told: true };
        let of_owner = logged("UPDATE accounts SET balance = balance + 15 WHERE owner = 7", &[]);
        assert_eq!(assigned(vec![of_other(), of_owner], "20"), Some(second));
        assert_eq!(assigned(vec![of_other()], "20"), None);
    }

    #[test]
    fn an_upsert_by_another_constraint_may_update_any_row() {
        let of_any = |values: &str| upsert(values, "ON CONSTRAINT accounts_owner_key");
        let sure = Assignment { statement_of: vec![Some(0)], ambiguous: false, is_told: true };
        assert_eq!(assigned(vec![of_any("(3, 7, 20, 'b@x')")], "20"), Some(sure));
        let doubtful = Assignment { statement_of: vec![Some(0)], ambiguous: true, is_told: true };
        let of_key = logged("UPDATE accounts SET balance = 20 WHERE id = 1", &[]);
        assert_eq!(assigned(vec![of_any("(3, 7, 20, 'b@x')"), of_key.clone()], "20"), Some(doubtful.clone()));
        assert_eq!(assigned(vec![of_any("(3, 7, 20, 'b@x')"), of_any("(4, 7, 20, 'c@x')")], "20"), Some(doubtful));
        // A row that another statement alone can have written is not its.
        let of_another = logged("UPDATE accounts SET balance = 20 WHERE id = 2", &[]);
        let first = Assignment { statement_of: vec![Some(0)], ambiguous: false, is_told: true };
        assert_eq!(assigned(vec![of_any("(3, 7, 20, 'b@x')"), of_another], "20"), Some(first));
    }

    #[test]
    fn an_upsert_meets_a_row_by_what_became_of_the_values_it_sent() {
        // A trigger writes all addresses in small letters.
        let spelled = || upsert("(3, 8, 20, 'A@X')", "(email)");
        let first = Assignment { statement_of: vec![Some(0)], ambiguous: false, is_told: true };
        assert_eq!(assigned(vec![spelled()], "20"), Some(first));
        let second = Assignment { statement_of: vec![Some(1)], ambiguous: false, is_told: true };
        assert_eq!(
            assigned(vec![upsert("(3, 8, 20, 'b@x')", "(email)"), upsert("(4, 8, 20, 'a@x')", "(email)")], "20"),
            Some(second)
        );
    }

    #[test]
    fn an_upsert_of_one_row_leaves_the_next_row_to_the_next_statement() {
        let of_any = |values: &str| upsert(values, "ON CONSTRAINT accounts_owner_key");
        let statements = || vec![of_any("(3, 7, 20, 'b@x')"), of_any("(4, 6, 20, 'c@x')")];
        let next = assigned_all(statements(), &[("1", "20"), ("2", "20")]);
        assert_eq!(next.map(|assignment| assignment.statement_of), Some(vec![Some(0), Some(1)]));
        let together = assigned_all(vec![of_any("(3, 7, 20, 'b@x'), (4, 6, 20, 'c@x')")], &[("1", "20"), ("2", "20")]);
        assert_eq!(together.map(|assignment| assignment.statement_of), Some(vec![Some(0), Some(0)]));
    }

    #[test]
    fn values_that_a_trigger_changed_cost_no_transaction_its_statements() {
        // The first wrote 'A@X' in small letters: by its values the first write is the second's, and the second nobody's.
        let statements = vec![
            upsert("(3, 8, 20, 'A@X')", "(email)"),
            logged("UPDATE accounts SET balance = balance + 1 WHERE id = 1", &[]),
        ];
        let in_order = Assignment { statement_of: vec![Some(0), Some(1)], ambiguous: true, is_told: true };
        assert_eq!(assigned_all(statements, &[("1", "20"), ("1", "21")]), Some(in_order));
    }
}
