//! One query, planned once and run many times: over either world, with other parameters, on just the rows it needs.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::sql::parser::Statement as EngineStatement;
use sqlparser::ast::{Expr, Query, Statement, Value as SqlValue, Visit, Visitor, visit_expressions};
use tokio::sync::OnceCell;

use super::Refusal;
use super::answers::{Answers, Asked};
use super::parameters::parameter_types;
use super::row_subqueries::exist_rows;
use super::translate::{
    Language, expand_arrays, limit_fetched, name_apart, parameter_function, time_function, translate,
};
use crate::catalog::{RollingTables, World, array_from_values, arrow_schema, arrow_type, batch_from_rows};
use crate::engine::{LiveTable, ValueCell, assigned_in_zone};
use crate::model::{
    ColumnName, ColumnType, Row, TableName, TableSchema, TimeZone, Timestamp, Value, has_offset, time_of_text,
    without_offset,
};
use crate::sql::{Bound, ColumnsRead, Operand, Reads, Schemas, TableReference, reference_name};

/// Rows that stand in for what a reference would fetch, by the reference's place.
pub type OverriddenRows = HashMap<usize, Vec<Arc<Row>>>;

/// One run of a compiled query.
#[derive(Clone, Copy, Debug)]
pub struct Execution<'a> {
    /// `$1` and on.
    pub parameters: &'a [Value],
    /// What `now()` is.
    pub time: Timestamp,
    /// Rows given instead of fetched.
    pub overridden: Option<&'a OverriddenRows>,
}

/// In what a query means what it means: the engine's session, whose SQL it is, and the time zone of both.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// The engine's session, in that zone.
    pub context: &'a SessionContext,
    /// Whose SQL it is.
    pub language: Language,
    /// The time zone.
    pub zone: &'a TimeZone,
}

/// A planned query with its live tables and values.
pub struct CompiledQuery {
    reads: Reads,
    /// What each reference's live table holds: the columns used, in the table's order.
    shapes: Vec<Arc<TableSchema>>,
    tables: Vec<LiveTable>,
    parameters: Vec<(usize, ColumnType, ValueCell)>,
    time: ValueCell,
    context: SessionContext,
    zone: TimeZone,
    /// What its last columns are assigned to.
    assigned: Vec<ColumnType>,
    query: Query,
    prefix: String,
    /// Or why there is none: what was registered for it is there already.
    plan: OnceCell<Result<Plan, Refusal>>,
    /// Whether the plan holds parameter values in its text.
    inlined: bool,
    /// The literals in its text.
    constants: Vec<Value>,
    is_limited: bool,
    is_recursive: bool,
    /// What it has answered before, where that is remembered.
    answers: Option<Answers>,
}

/// A plan, and what it runs in: to make a context anew copies every function the engine knows.
struct Plan {
    root: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
    /// Whether its rows alone do not tell what it gives: the time and parameters count, too.
    is_volatile: bool,
}

impl CompiledQuery {
    /// Resolves and translates a query; it is planned when it first runs. `prefix` keeps its tables and functions apart from every other query's;
    /// `assigned` are the columns that its last output columns are assigned to.
    ///
    /// # Errors
    /// What the engine cannot run as PostgreSQL does.
    pub fn compile(
        setting: Setting<'_>,
        query: &Query,
        schemas: &Schemas,
        prefix: &str,
        assigned: &[(ColumnName, ColumnType)],
        parameters: &[Value],
    ) -> Result<CompiledQuery, Refusal> {
        let mut query = query.clone();
        let inlined = expand_arrays(&mut query, parameters);
        name_apart(&mut query);
        limit_fetched(&mut query);
        exist_rows(&mut query);
        let constants = constants(&query);
        let reads = Reads::resolve(&mut query, schemas, prefix)?;
        let schema_of = |reference: &TableReference| schemas.get(&reference.table).map(AsRef::as_ref);
        let used: Vec<&TableSchema> = reads.references.iter().filter_map(schema_of).collect();
        let types = parameter_types(&query, &used, assigned, parameters);
        let numbers = translate(&mut query, setting.language, prefix)?;
        let mut cells = Vec::with_capacity(numbers.len());
        for number in numbers {
            let column_type = types
                .get(&number)
                .cloned()
                .ok_or_else(|| Refusal(format!("has no value for the parameter ${number}")))?;
            let cell = ValueCell::new(parameter_function(prefix, number), arrow_type(&column_type))?;
            cells.push((number, column_type, cell));
        }
        let time = ValueCell::new(time_function(prefix), arrow_type(&ColumnType::TimestampTz))?;
        let shapes: Vec<Arc<TableSchema>> = reads
            .references
            .iter()
            .zip(&used)
            .map(|(reference, schema)| Arc::new(shape_of(reference, schema)))
            .collect();
        let tables = shapes.iter().map(|shape| LiveTable::new(arrow_schema(shape))).collect();
        let is_limited = |query: &Query| query.limit_clause.is_some() || query.fetch.is_some();
        let is_recursive = |query: &Query| query.with.as_ref().is_some_and(|with| with.recursive);
        let (is_limited, is_recursive) = (has_query(&query, is_limited), has_query(&query, is_recursive));
        Ok(CompiledQuery {
            reads,
            shapes,
            tables,
            parameters: cells,
            time,
            context: setting.context.clone(),
            zone: setting.zone.clone(),
            assigned: assigned.iter().map(|(_, column_type)| column_type.clone()).collect(),
            query,
            prefix: prefix.to_owned(),
            plan: OnceCell::new(),
            inlined,
            constants,
            is_limited,
            is_recursive,
            answers: None,
        })
    }

    /// From now on, what it is asked about rows that it was asked about before is not computed again.
    pub fn remembering(self) -> Self {
        CompiledQuery { answers: Some(Answers::default()), ..self }
    }

    /// The literals in its text: numbers, texts, truth values.
    pub fn constants(&self) -> &[Value] {
        &self.constants
    }

    /// Plans it now, so that what the engine has against it is told before it runs.
    ///
    /// # Errors
    /// What the engine cannot plan.
    pub async fn prepare(&self) -> Result<(), Refusal> {
        self.plan().await.map(|_| ())
    }

    /// The columns that it gives.
    ///
    /// # Errors
    /// What the engine cannot plan.
    pub async fn output(&self) -> Result<SchemaRef, Refusal> {
        Ok(self.plan().await?.root.schema())
    }

    /// Planned when it first runs: most statements touch nothing that matters, and never do.
    async fn plan(&self) -> Result<&Plan, Refusal> {
        self.plan.get_or_init(|| self.planned()).await.as_ref().map_err(Clone::clone)
    }

    async fn planned(&self) -> Result<Plan, Refusal> {
        for (_, _, cell) in &self.parameters {
            self.context.register_udf(cell.function());
        }
        self.context.register_udf(self.time.function());
        for (position, table) in self.tables.iter().enumerate() {
            self.context.register_table(reference_name(&self.prefix, position).as_str(), table.provider()?)?;
        }
        let state = self.context.state();
        let statement = EngineStatement::Statement(Box::new(Statement::Query(Box::new(self.query.clone()))));
        let logical = state.statement_to_plan(statement).await?;
        let assigned: Vec<_> = self.assigned.iter().map(assigned_type).collect();
        let logical = assigned_in_zone(logical, &self.zone, &assigned)?;
        let is_volatile = is_volatile(&logical)?;
        Ok(Plan { root: state.create_physical_plan(&logical).await?, task: state.task_ctx(), is_volatile })
    }

    /// The names of its columns as PostgreSQL gives them; `None` where they cannot be told.
    pub fn column_names(&self) -> Option<&[String]> {
        self.reads.output.as_deref()
    }

    /// The table references, with the rows that can matter.
    pub fn references(&self) -> &[TableReference] {
        &self.reads.references
    }

    /// The columns that conditions set equal to columns.
    pub fn equated_columns(&self) -> BTreeSet<(TableName, ColumnName)> {
        let mut equated = BTreeSet::new();
        for reference in self.references() {
            for Bound { column, operands } in &reference.bounds {
                for operand in operands {
                    let Operand::Column { reference: other, column: equal } = operand else { continue };
                    equated.insert((reference.table.clone(), column.clone()));
                    equated.extend(self.references().get(*other).map(|other| (other.table.clone(), equal.clone())));
                }
            }
        }
        equated
    }

    /// Whether the plan holds for its parameters' values alone.
    pub fn is_inlined(&self) -> bool {
        self.inlined
    }

    /// Whether it takes the first few of some rows, in any of its parts.
    pub fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// Whether it begins with common table expressions.
    pub fn has_parts(&self) -> bool {
        self.query.with.is_some()
    }

    /// Whether it has a part WITH RECURSIVE.
    pub fn is_recursive(&self) -> bool {
        self.is_recursive
    }

    /// Runs the query over one world.
    ///
    /// # Errors
    /// What PostgreSQL would refuse too (a division by zero), or a value that does not fit.
    pub async fn run(
        &self,
        tables: &mut RollingTables,
        world: World,
        execution: Execution<'_>,
    ) -> Result<Vec<RecordBatch>, Refusal> {
        let rows = self.rows(tables, world, execution);
        let asked = match &self.answers {
            Some(answers) if !self.plan().await?.is_volatile => Asked::about(&rows, &self.shapes).zip(Some(answers)),
            _ => None,
        };
        if let Some(known) = asked.as_ref().and_then(|(asked, answers)| answers.of(asked)) {
            return Ok(known);
        }
        for (position, (table, rows)) in self.tables.iter().zip(rows).enumerate() {
            table.set(self.batches(position, rows, tables, world)?);
        }
        for (number, column_type, cell) in &self.parameters {
            let value = number.checked_sub(1).and_then(|place| execution.parameters.get(place));
            cell.set(scalar(value.unwrap_or(&Value::NULL), column_type, &self.zone)?);
        }
        let micros = execution.time.as_micros();
        self.time.set(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
        let plan = self.plan().await?;
        let answer = collect(reset_plan_states(Arc::clone(&plan.root))?, Arc::clone(&plan.task)).await?;
        if let Some((asked, answers)) = asked {
            answers.keep(asked, &answer);
        }
        Ok(answer)
    }

    /// The rows of every reference that can matter: by index, and none of those without a bound, which are read whole.
    fn rows(&self, tables: &mut RollingTables, world: World, execution: Execution<'_>) -> Vec<Option<Vec<Arc<Row>>>> {
        let count = self.reads.references.len();
        let mut rows: Vec<Option<Vec<Arc<Row>>>> = vec![None; count];
        for (slot, reference) in rows.iter_mut().zip(&self.reads.references) {
            *slot = tables.temporary(&reference.table).map(|temporary| temporary.rows(world).to_vec());
        }
        if let Some(overridden) = execution.overridden {
            for (position, given) in overridden {
                if let Some(slot) = rows.get_mut(*position) {
                    *slot = Some(given.clone());
                }
            }
        }
        // A reference may be bound by the rows of another: go on while something new can be told.
        loop {
            let mut progressed = false;
            for position in 0..count {
                if rows[position].is_some() {
                    continue;
                }
                let reference = &self.reads.references[position];
                let Some((column, values)) =
                    tightest(&reference.bounds, &rows, tables, reference, execution.parameters)
                else {
                    continue;
                };
                let Some(table) = tables.table_mut(&reference.table) else { continue };
                rows[position] = Some(table.rows_where(world, &column, &values));
                progressed = true;
            }
            if !progressed {
                break;
            }
        }
        rows
    }

    fn batches(
        &self,
        position: usize,
        rows: Option<Vec<Arc<Row>>>,
        tables: &mut RollingTables,
        world: World,
    ) -> Result<Vec<RecordBatch>, Refusal> {
        let shape = &self.shapes[position];
        if let Some(rows) = rows {
            return Ok(vec![batch_from_rows(shape, rows.iter().map(AsRef::as_ref))?]);
        }
        let reference = &self.reads.references[position];
        let table = tables
            .table_mut(&reference.table)
            .ok_or_else(|| Refusal(format!("reads {}, whose rows are not known", reference.table)))?;
        let whole = table.batches(world)?;
        let places: Vec<usize> = shape
            .columns
            .iter()
            .filter_map(|column| table.schema().columns.iter().position(|known| known.name == column.name))
            .collect();
        let project = |batch: RecordBatch| batch.project(&places).map_err(|error| Refusal(error.to_string()));
        whole.into_iter().map(project).collect()
    }
}

fn is_volatile(plan: &LogicalPlan) -> Result<bool, Refusal> {
    let mut is_volatile = false;
    plan.apply_with_subqueries(|part| {
        part.apply_expressions(|expression| {
            is_volatile |= expression.is_volatile();
            Ok(if is_volatile { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(is_volatile)
}

/// Whether this holds of the query, or of one however deep within.
fn has_query(query: &Query, holds: impl Fn(&Query) -> bool) -> bool {
    Visit::visit(query, &mut Finder(holds)).is_break()
}

/// Breaks at a query, however deep within, of which this holds.
struct Finder<F>(F);

impl<F: Fn(&Query) -> bool> Visitor for Finder<F> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if (self.0)(query) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn constants(query: &Query) -> Vec<Value> {
    let mut constants = Vec::new();
    let _: ControlFlow<()> = visit_expressions(query, |expression| {
        if let Expr::Value(value) = expression {
            match &value.value {
                SqlValue::Number(text, _) | SqlValue::SingleQuotedString(text) => {
                    constants.push(Value::text(text.as_str()))
                }
                SqlValue::Boolean(is_true) => constants.push(Value::text(if *is_true { "t" } else { "f" })),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    });
    constants
}

/// Only the columns used; one at least, so that the rows can be counted.
fn shape_of(reference: &TableReference, schema: &TableSchema) -> TableSchema {
    let mut shape = schema.clone();
    if let ColumnsRead::Some(columns) = &reference.columns {
        let first = schema.columns.first().map(|column| column.name.clone());
        shape.columns.retain(|column| match columns.is_empty() {
            true => Some(&column.name) == first.as_ref(),
            false => columns.contains(&column.name),
        });
    }
    shape
}

/// The bound that lets the fewest rows through, of those that can be told now: one on the key first, then constants.
fn tightest(
    bounds: &[Bound],
    rows: &[Option<Vec<Arc<Row>>>],
    tables: &RollingTables,
    reference: &TableReference,
    parameters: &[Value],
) -> Option<(ColumnName, BTreeSet<Value>)> {
    let schema = tables.table(&reference.table)?.schema();
    let candidates = bounds.iter().filter_map(|bound| {
        let column_type = &schema.column(&bound.column)?.column_type;
        let values = bound_values(bound, rows, column_type, parameters)?;
        let is_key = [bound.column.clone()] == *schema.key;
        Some((!is_key, values.len(), bound.column.clone(), values))
    });
    candidates
        .min_by_key(|(other_than_key, count, _, _)| (*other_than_key, *count))
        .map(|(_, _, column, values)| (column, values))
}

/// The values that a bound allows; `None` where one of its operands cannot be told (yet).
fn bound_values(
    bound: &Bound,
    rows: &[Option<Vec<Arc<Row>>>],
    column_type: &ColumnType,
    parameters: &[Value],
) -> Option<BTreeSet<Value>> {
    let mut values = BTreeSet::new();
    for operand in &bound.operands {
        match operand {
            Operand::Literal(value) => {
                values.insert(value.clone());
            }
            Operand::Parameter(number) => {
                let value = parameters.get(number.checked_sub(1)?)?;
                // A NULL is equal to nothing.
                if let Some(text) = value.as_str() {
                    values.insert(crate::sql::canonical(text, column_type)?);
                }
            }
            Operand::Elements(number) => {
                let Some(text) = parameters.get(number.checked_sub(1)?)?.as_str() else { continue };
                for element in crate::sql::array_elements(text)?.into_iter().flatten() {
                    values.insert(crate::sql::canonical(&element, column_type)?);
                }
            }
            Operand::Column { reference, column } => {
                let rows = rows.get(*reference)?.as_ref()?;
                values.extend(rows.iter().filter_map(|row| row.get(column)).filter(|value| !value.is_null()).cloned());
            }
        }
    }
    Some(values)
}

/// The values that constants and parameters alone allow: see [`bound_values`].
pub fn constant_values(bound: &Bound, column_type: &ColumnType, parameters: &[Value]) -> Option<BTreeSet<Value>> {
    bound_values(bound, &[], column_type, parameters)
}

/// The type that the engine has for what a session's time zone gives a column.
fn assigned_type(column_type: &ColumnType) -> Option<DataType> {
    let depends = matches!(
        column_type,
        ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampTz | ColumnType::Text | ColumnType::Varchar(_)
    );
    depends.then(|| arrow_type(column_type))
}

fn scalar(value: &Value, column_type: &ColumnType, zone: &TimeZone) -> Result<ScalarValue, Refusal> {
    let refuse = |error: crate::model::ModelError| Refusal(format!("failed to {error}"));
    let text = value.as_str().unwrap_or_default();
    match column_type {
        ColumnType::TimestampTz if !value.is_null() => {
            let moment = zone.moment_of_text(text).ok_or_else(|| {
                Refusal(format!("has the parameter '{text}', of which no moment is known in the time zone {zone}"))
            })?;
            return Ok(ScalarValue::TimestampMicrosecond(Some(moment), Some("UTC".into())));
        }
        // PostgreSQL takes it for a text, whose offset counts for nothing, or for a moment, which has a time by its zone.
        ColumnType::Timestamp | ColumnType::Date if has_offset(text) => {
            let time = zone.moment_of_text(text).and_then(|moment| zone.time_at(moment));
            if time.is_none() || time != time_of_text(without_offset(text)) {
                return Err(Refusal(format!(
                    "has the parameter '{text}' where a time without a time zone stands: what it means depends on its type"
                )));
            }
        }
        _ => {}
    }
    let canonical = column_type.canonical(value).map_err(refuse)?;
    let array = array_from_values(column_type, std::iter::once(canonical.as_str())).map_err(refuse)?;
    Ok(ScalarValue::try_from_array(&array, 0)?)
}
