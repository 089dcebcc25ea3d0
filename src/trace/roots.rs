//! What the release got wrong, and what it should have written instead.
//!
//! A fault says it by a condition over the row as written; a rule by what it breaks when the transaction commits. Both
//! are evaluated in the right world: over what the statement would have written there.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, Statement, TableFactor,
    TableWithJoins, VisitMut, VisitorMut,
};

use super::error::TraceError;
use super::reenact::{CompiledQuery, Execution, Language, OverriddenRows, Refusal, Statements};
use crate::catalog::{RollingTables, World, value_from_array};
use crate::model::{
    Column, ColumnName, ColumnType, Operation, RecordKey, Row, TableName, TableSchema, Timestamp, Value,
};
use crate::sql;

/// The row at hand, for expressions of ours; its columns come first, `before.<column>` after them.
const ROW_AT_HAND: &str = "row_at_hand";
/// The keys at hand, for queries of others: their columns have names that no table has.
const KEY_AT_HAND: &str = "key_at_hand";
const AT_HAND_PREFIX: &str = "at hand ";

/// Expressions over one row: what it holds, what stood before, and every other table as of the moment.
pub struct RowProgram {
    query: CompiledQuery,
    columns: Vec<(ColumnName, ColumnType)>,
}

impl RowProgram {
    /// Plans expressions over a row of `table`; each yields a value of the type beside it.
    ///
    /// # Errors
    /// What the engine cannot run as PostgreSQL does.
    pub async fn compile(
        statements: &mut Statements,
        table: &TableSchema,
        expressions: &[(String, ColumnName, ColumnType)],
    ) -> Result<RowProgram, Refusal> {
        let items: Vec<String> = expressions
            .iter()
            .enumerate()
            .map(|(place, (text, _, _))| format!("({text}) AS \"value_{place}\""))
            .collect();
        let text = format!("SELECT {} FROM {ROW_AT_HAND} AS {}", items.join(", "), quoted(&table.name.table));
        let columns: Vec<(ColumnName, ColumnType)> =
            expressions.iter().map(|(_, name, column_type)| (name.clone(), column_type.clone())).collect();
        let at_hand = [Arc::new(row_at_hand(table))];
        let query = statements.assigning_query(&parsed_query(&text)?, &at_hand, &columns).await?;
        Ok(RowProgram { query, columns })
    }

    /// Plans what computes one column from its row, in PostgreSQL's SQL.
    ///
    /// # Errors
    /// What the engine cannot run as PostgreSQL does.
    pub async fn of_postgres(
        statements: &mut Statements,
        table: &TableSchema,
        (expression, column, column_type): &(String, ColumnName, ColumnType),
    ) -> Result<RowProgram, Refusal> {
        let text = format!("SELECT {expression} AS \"value_0\" FROM {ROW_AT_HAND} AS {}", quoted(&table.name.table));
        let query = statements.postgres_query(&parsed_query(&text)?, &[Arc::new(row_at_hand(table))]).await?;
        Ok(RowProgram { query, columns: vec![(column.clone(), column_type.clone())] })
    }

    /// What it reads: the row at hand first.
    pub fn references(&self) -> &[sql::TableReference] {
        self.query.references()
    }

    /// The columns that it yields.
    pub fn columns(&self) -> impl Iterator<Item = &ColumnName> {
        self.columns.iter().map(|(column, _)| column)
    }

    /// The values for one row in one world.
    ///
    /// # Errors
    /// What cannot be evaluated for this row.
    pub async fn run(
        &self,
        tables: &mut RollingTables,
        world: World,
        row: &Row,
        before: Option<&Row>,
        time: Timestamp,
    ) -> Result<Row, Refusal> {
        let overridden = OverriddenRows::from([(0, vec![Arc::new(with_before(row, before))])]);
        let execution = Execution { parameters: &[], time, overridden: Some(&overridden) };
        let batches = self.query.run(tables, world, execution).await?;
        let batch =
            batches.iter().find(|batch| batch.num_rows() > 0).ok_or_else(|| Refusal("yields no row".to_owned()))?;
        let mut values = Row::new();
        for (array, (name, column_type)) in batch.columns().iter().zip(&self.columns) {
            let value =
                value_from_array(array, 0, column_type).map_err(|error| Refusal(format!("failed to {error}")))?;
            values.set(name.clone(), value);
        }
        Ok(values)
    }
}

/// A predicate over rows of a table that yields the keys of those that meet it.
pub struct KeyQuery {
    query: CompiledQuery,
    table: Arc<TableSchema>,
    at_hand: AtHand,
}

/// What the query's first reference holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtHand {
    /// The rows at hand.
    Rows,
    /// Their keys alone, under names of their own.
    Keys,
    /// Nothing of ours: the query runs whole.
    Nothing,
}

impl KeyQuery {
    /// The keys of the rows at hand that meet `predicate`.
    ///
    /// # Errors
    /// What the engine cannot run as PostgreSQL does.
    pub async fn of_predicate(
        statements: &mut Statements,
        table: &Arc<TableSchema>,
        predicate: &str,
    ) -> Result<KeyQuery, Refusal> {
        let alias = quoted(&table.name.table);
        let keys: Vec<String> = table.key.iter().map(|column| format!("{alias}.{}", quoted(column))).collect();
        let text = format!("SELECT {} FROM {ROW_AT_HAND} AS {alias} WHERE ({predicate})", keys.join(", "));
        let query = statements.query(&parsed_query(&text)?, &[Arc::new(row_at_hand(table))]).await?;
        Ok(KeyQuery { query, table: table.clone(), at_hand: AtHand::Rows })
    }

    /// The keys that a query yields; tied to the rows at hand where its shape allows, so that it need not run whole.
    ///
    /// # Errors
    /// What the engine cannot run as PostgreSQL does.
    pub async fn of_query(
        statements: &mut Statements,
        table: &Arc<TableSchema>,
        sql: &str,
    ) -> Result<KeyQuery, Refusal> {
        let whole = parsed_query(sql)?;
        if let Some(tied) = tied_to_rows(&whole, table)? {
            let query = statements.query(&tied, &[Arc::new(key_at_hand(table))]).await?;
            return Ok(KeyQuery { query, table: table.clone(), at_hand: AtHand::Keys });
        }
        let query = statements.query(&whole, &[]).await?;
        Ok(KeyQuery { query, table: table.clone(), at_hand: AtHand::Nothing })
    }

    /// Whether the row at hand is all that is looked at.
    pub fn is_of_row_alone(&self) -> bool {
        self.at_hand == AtHand::Rows && self.query.references().len() == 1
    }

    /// Whether only rows at hand are looked at; else the query runs whole.
    pub fn is_tied(&self) -> bool {
        self.at_hand != AtHand::Nothing
    }

    /// Whether it looks at the column of that table.
    pub fn reads(&self, table: &TableName, column: &str) -> bool {
        self.query.references().iter().enumerate().any(|(place, reference)| {
            let is_at_hand = place == 0 && self.at_hand == AtHand::Rows && *table == self.table.name;
            (is_at_hand || reference.table == *table) && reference.columns.contains(column)
        })
    }

    /// How other tables' rows lead to rows at hand: their column, and the column at hand it must equal. `None` where a
    /// reference to that table is not tied to the row at hand: then any row may be concerned.
    pub fn ties(&self, other: &TableName) -> Option<Vec<(ColumnName, ColumnName)>> {
        let references = self.query.references();
        let positions = (1..references.len()).filter(|position| references[*position].table == *other);
        positions.map(|position| self.tie(position, 0)).collect()
    }

    /// Directly, or through another reference that is tied by the same column.
    fn tie(&self, position: usize, depth: usize) -> Option<(ColumnName, ColumnName)> {
        const CHAIN: usize = 8;
        let references = self.query.references();
        references.get(position)?.bounds.iter().find_map(|bound| match bound.operands.as_slice() {
            [sql::Operand::Column { reference: 0, column }] => {
                let at_hand = column.strip_prefix(AT_HAND_PREFIX).map_or_else(|| column.clone(), ColumnName::from);
                Some((bound.column.clone(), at_hand))
            }
            [sql::Operand::Column { reference, column }] if depth < CHAIN && *reference != position => {
                let (between, at_hand) = self.tie(*reference, depth + 1)?;
                (between == *column).then(|| (bound.column.clone(), at_hand))
            }
            _ => None,
        })
    }

    /// The keys met, of these rows or (where none are given) of the whole query.
    ///
    /// # Errors
    /// What cannot be evaluated.
    pub async fn run(
        &self,
        tables: &mut RollingTables,
        world: World,
        rows: Option<Vec<Arc<Row>>>,
        time: Timestamp,
    ) -> Result<Vec<RecordKey>, Refusal> {
        if rows.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let keys_of = |row: &Arc<Row>| -> Arc<Row> {
            let cells = self.table.key.iter().filter_map(|column| Some((key_name(column), row.get(column)?.clone())));
            Arc::new(cells.collect())
        };
        let overridden = rows.map(|rows| match self.at_hand {
            AtHand::Keys => OverriddenRows::from([(0, rows.iter().map(keys_of).collect())]),
            _ => OverriddenRows::from([(0, rows)]),
        });
        let execution = Execution { parameters: &[], time, overridden: overridden.as_ref() };
        let batches = self.query.run(tables, world, execution).await?;
        let mut keys = Vec::new();
        for batch in &batches {
            for position in 0..batch.num_rows() {
                let mut cells = Vec::with_capacity(self.table.key.len());
                for (array, name) in batch.columns().iter().zip(&self.table.key) {
                    let Some(column) = self.table.column(name) else { continue };
                    let value = value_from_array(array, position, &column.column_type)
                        .map_err(|error| Refusal(format!("failed to {error}")))?;
                    cells.push((name.clone(), value));
                }
                keys.push(RecordKey::new(cells));
            }
        }
        Ok(keys)
    }
}

/// Which of many rows meet each of some predicates that look at nothing but the row.
///
/// # Errors
/// What the engine cannot run as PostgreSQL does.
pub async fn rows_meeting(
    statements: &mut Statements,
    table: &Arc<TableSchema>,
    predicates: &[&str],
    rows: &[Arc<Row>],
) -> Result<Vec<Vec<bool>>, Refusal> {
    let expressions: Vec<(&str, &ColumnType)> = predicates.iter().map(|text| (*text, &ColumnType::Boolean)).collect();
    let values = values_of_rows(statements, Language::Engine, table, &expressions, rows).await?;
    let met = |values: &Vec<Value>| values.iter().map(|value| value.as_str() == Some("t")).collect();
    Ok(values.iter().map(met).collect())
}

/// For each of many rows what some expressions give, each of the type beside it, that look at nothing but the row.
///
/// # Errors
/// What the engine cannot run as PostgreSQL does.
pub async fn values_of_rows(
    statements: &mut Statements,
    language: Language,
    table: &TableSchema,
    expressions: &[(&str, &ColumnType)],
    rows: &[Arc<Row>],
) -> Result<Vec<Vec<Value>>, Refusal> {
    const ORDINAL: &str = "at hand ordinal";
    let alias = quoted(&table.name.table);
    let items: Vec<String> =
        expressions.iter().enumerate().map(|(place, (text, _))| format!("({text}) AS \"value_{place}\"")).collect();
    let text = format!("SELECT {}, {} FROM {ROW_AT_HAND} AS {alias}", quoted(ORDINAL), items.join(", "));
    let mut shape = row_at_hand(table);
    shape.columns.push(Column {
        name: ORDINAL.into(),
        column_type: ColumnType::BigInt,
        not_null: true,
        generated: false,
    });
    let (query, shape) = (parsed_query(&text)?, [Arc::new(shape)]);
    let query = match language {
        Language::PostgreSql => statements.postgres_query(&query, &shape).await?,
        Language::Engine => statements.query(&query, &shape).await?,
    };
    let numbered = rows.iter().enumerate().map(|(ordinal, row)| {
        let mut row = row.as_ref().clone();
        row.push(ORDINAL.into(), Value::text(ordinal.to_string()));
        Arc::new(row)
    });
    let overridden = OverriddenRows::from([(0, numbered.collect())]);
    let execution = Execution { parameters: &[], time: Timestamp::from_micros(0), overridden: Some(&overridden) };
    let batches = query.run(&mut RollingTables::new(), World::Actual, execution).await?;
    let mut values: Vec<Option<Vec<Value>>> = vec![None; rows.len()];
    for batch in &batches {
        for position in 0..batch.num_rows() {
            let cell = |place: usize, column_type: &ColumnType| {
                let array = batch.columns().get(place).ok_or_else(|| Refusal("yields too few columns".to_owned()))?;
                value_from_array(array, position, column_type).map_err(|error| Refusal(format!("failed to {error}")))
            };
            let ordinal = cell(0, &ColumnType::BigInt)?;
            let ordinal: Option<usize> = ordinal.as_str().and_then(|text| text.parse().ok());
            let Some(of_row) = ordinal.and_then(|ordinal| values.get_mut(ordinal)) else { continue };
            let cells = expressions.iter().enumerate().map(|(place, (_, column_type))| cell(place + 1, column_type));
            *of_row = Some(cells.collect::<Result<_, _>>()?);
        }
    }
    values.into_iter().map(|of_row| of_row.ok_or_else(|| Refusal("yields too few rows".to_owned()))).collect()
}

/// One fault of a faults file, planned.
pub struct Fault {
    /// The table it is about.
    pub table: TableName,
    /// The operations it is about.
    pub operations: Vec<Operation>,
    /// Whether the write should have happened at all.
    pub written: bool,
    program: RowProgram,
    label: String,
}

/// The name that the condition's value goes by in a fault's program.
const MATCHED: &str = " matched";

impl Fault {
    /// Plans a fault: its condition, and the values it sets.
    ///
    /// # Errors
    /// SQL that cannot be evaluated over the history.
    pub async fn compile(
        statements: &mut Statements,
        table: &TableSchema,
        operations: Vec<Operation>,
        condition: &str,
        set: Option<&[(ColumnName, String)]>,
    ) -> Result<Fault, TraceError> {
        let label = format!("the fault of {} where {condition}", table.name);
        let mut expressions = vec![(condition.to_owned(), ColumnName::from(MATCHED), ColumnType::Boolean)];
        for (column, text) in set.unwrap_or_default() {
            let known = table.column(column).map(|column| column.column_type.clone());
            let column_type = known.ok_or_else(|| TraceError::Evaluate {
                what: label.clone(),
                reason: format!("{} has no column {column}", table.name),
            })?;
            expressions.push((text.clone(), column.clone(), column_type));
        }
        let program = RowProgram::compile(statements, table, &expressions).await;
        let program =
            program.map_err(|refusal| TraceError::Evaluate { what: label.clone(), reason: refusal.to_string() })?;
        Ok(Fault { table: table.name.clone(), operations, written: set.is_some(), program, label })
    }

    /// What its condition and its values read: the row at hand first.
    pub fn references(&self) -> &[sql::TableReference] {
        self.program.references()
    }

    /// The columns that it sets.
    pub fn assigned(&self) -> impl Iterator<Item = &ColumnName> {
        self.program.columns.iter().map(|(column, _)| column).filter(|column| column.as_ref() != MATCHED)
    }

    /// What the fault says of one write: `None` where it is not about it, else the values that should stand.
    ///
    /// # Errors
    /// What cannot be evaluated for this row.
    pub async fn judge(
        &self,
        tables: &mut RollingTables,
        world: World,
        row: &Row,
        before: Option<&Row>,
        time: Timestamp,
    ) -> Result<Option<Row>, TraceError> {
        let values = self.program.run(tables, world, row, before, time).await;
        let values =
            values.map_err(|refusal| TraceError::Evaluate { what: self.label.clone(), reason: refusal.to_string() })?;
        if values.get(MATCHED).and_then(Value::as_str) != Some("t") {
            return Ok(None);
        }
        let set = values.iter().filter(|(column, _)| column.as_ref() != MATCHED);
        Ok(Some(set.map(|(column, value)| (column.clone(), value.clone())).collect()))
    }
}

/// The subquery that a select hands on as it is.
fn only_subquery(select: &Select) -> Option<&Query> {
    let [TableWithJoins { relation: TableFactor::Derived { subquery, .. }, joins }] = select.from.as_slice() else {
        return None;
    };
    let hands_on =
        joins.is_empty() && select.selection.is_none() && select.having.is_none() && select.distinct.is_none();
    hands_on.then_some(subquery)
}

/// `SELECT o.id FROM … WHERE …` with `FROM key_at_hand, …` before and `AND o.id = "at hand id"` behind: the same keys,
/// of the records at hand alone. `None` where the query's shape (a limit, a window, keys that are no plain columns) would
/// give it another meaning.
fn tied_to_rows(query: &Query, table: &TableSchema) -> Result<Option<Query>, Refusal> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(None) };
    if let Some(inner) = only_subquery(select) {
        let Some(tied_inner) = tied_to_rows(inner, table)? else { return Ok(None) };
        let mut tied = query.clone();
        if let SetExpr::Select(select) = tied.body.as_mut()
            && let [TableWithJoins { relation: TableFactor::Derived { subquery, .. }, .. }] = select.from.as_mut_slice()
        {
            **subquery = tied_inner;
        }
        return Ok(Some(tied));
    }
    let plain = query.with.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.distinct.as_ref().is_none_or(|distinct| matches!(distinct, Distinct::Distinct))
        && select.projection.len() == table.key.len()
        && select.qualify.is_none();
    let columns: Option<Vec<&Expr>> = select
        .projection
        .iter()
        .map(|item| match item {
            SelectItem::UnnamedExpr(column) | SelectItem::ExprWithAlias { expr: column, .. } => {
                matches!(column, Expr::Identifier(_) | Expr::CompoundIdentifier(_)).then_some(column)
            }
            _ => None,
        })
        .collect();
    let (true, Some(columns)) = (plain, columns) else { return Ok(None) };
    // A group must be made of one record's rows alone, or filtering before would change it.
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(groups, _) => {
            groups.is_empty() || columns.iter().all(|column| groups.contains(column))
        }
        GroupByExpr::All(_) => false,
    };
    if !grouped {
        return Ok(None);
    }
    let equal: Vec<String> =
        columns.iter().zip(&table.key).map(|(column, key)| format!("{column} = {}", quoted(&key_name(key)))).collect();
    let scaffold = parsed_query(&format!("SELECT 1 FROM {KEY_AT_HAND} WHERE {}", equal.join(" AND ")))?;
    let SetExpr::Select(scaffold) = *scaffold.body else { return Ok(None) };
    let mut tied = query.clone();
    if let SetExpr::Select(select) = tied.body.as_mut() {
        select.from.splice(0..0, scaffold.from);
        let both = |one: Expr, other: Expr| Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(one))),
            op: BinaryOperator::And,
            right: Box::new(other),
        };
        select.selection = match (select.selection.take(), scaffold.selection) {
            (Some(own), Some(tie)) => Some(both(own, tie)),
            (own, tie) => own.or(tie),
        };
    }
    Ok(Some(tied))
}

fn key_name(column: &str) -> ColumnName {
    format!("{AT_HAND_PREFIX}{column}").into()
}

fn key_at_hand(table: &TableSchema) -> TableSchema {
    let columns = table.key.iter().filter_map(|name| table.column(name));
    TableSchema {
        name: TableName::new("public", KEY_AT_HAND),
        columns: columns.map(|column| Column { name: key_name(&column.name), ..column.clone() }).collect(),
        key: table.key.iter().map(|column| key_name(column)).collect(),
        foreign_keys: Vec::new(),
        unique_keys: Vec::new(),
    }
}

fn row_at_hand(table: &TableSchema) -> TableSchema {
    let before = table.columns.iter().map(|column| Column { name: before_name(&column.name), ..column.clone() });
    TableSchema {
        name: TableName::new("public", ROW_AT_HAND),
        columns: table.columns.iter().cloned().chain(before).collect(),
        key: table.key.clone(),
        foreign_keys: Vec::new(),
        unique_keys: Vec::new(),
    }
}

/// The column of the row at hand that holds what stood before.
pub fn before_name(column: &str) -> ColumnName {
    format!("before.{column}").into()
}

/// A row with the one that stood before it, as `before.<column>`.
pub fn with_before(row: &Row, before: Option<&Row>) -> Row {
    let before = before.into_iter().flat_map(Row::iter).map(|(column, value)| (before_name(column), value.clone()));
    row.iter().map(|(column, value)| (column.clone(), value.clone())).chain(before).collect()
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

fn parsed_query(text: &str) -> Result<Query, Refusal> {
    let mut statements = sql::parse(text)?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(mut query)), true) => {
            let _ = query.visit(&mut BeforeColumns);
            Ok(*query)
        }
        _ => Err(Refusal("is not one expression".to_owned())),
    }
}

/// `before.<column>` as the one column that the row at hand has for it.
struct BeforeColumns;

impl VisitorMut for BeforeColumns {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expression
            && let [qualifier, column] = parts.as_slice()
            && sql::folded(qualifier) == "before"
        {
            *expression = Expr::Identifier(Ident::with_quote('"', before_name(&sql::folded(column)).to_string()));
        }
        ControlFlow::Continue(())
    }
}
