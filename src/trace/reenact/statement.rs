//! Statements compiled once per text and parameter types, and what they write when they run.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use sqlparser::ast;

use super::translate::Language;
use super::{CompiledQuery, Execution, Refusal};
use crate::catalog::{RollingTables, World, value_from_array};
use crate::model::{ColumnName, ColumnType, RecordKey, Row, TableName, TableSchema, Value};
use crate::sql::{
    self, Assigned, ColumnsRead, ConflictAction, OnConflict, Role, Schemas, WriteForm, WriteKind, WriteTarget,
};

/// What a statement does to one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A new row with these columns.
    Insert(Row),
    /// These columns get these values.
    Update(Row),
    /// The row goes.
    Delete,
}

/// A write that can run again.
pub struct CompiledWrite {
    /// Its form.
    pub form: WriteForm,
    /// The form's query.
    pub query: CompiledQuery,
    on_conflict: Option<CompiledQuery>,
    /// The rows that an insert may meet: those of the keys that it proposes, where they can be told.
    met: Option<sql::TableReference>,
    schema: Arc<TableSchema>,
    /// What its text says of the rows it writes.
    pub targets: Vec<WriteTarget>,
}

/// What became of a statement's text.
pub enum Compiled {
    /// A write.
    Write(Box<CompiledWrite>),
    /// A query.
    Read(Box<CompiledQuery>),
    /// It cannot be run again: why, and the tables it names.
    Refused {
        /// Why.
        reason: Refusal,
        /// The tables it names; empty where not even they are known.
        tables: Vec<TableName>,
        /// What it writes, as far as its text tells.
        targets: Vec<WriteTarget>,
    },
    /// It neither reads nor writes rows.
    Nothing,
}

/// Every statement compiled so far.
pub struct Statements {
    context: SessionContext,
    schemas: Schemas,
    compiled: HashMap<StatementIdentity, Arc<Compiled>>,
    next: usize,
}

/// A text, with what of its parameters decides the plan: the shape of each, or the very values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct StatementIdentity {
    sql: Arc<str>,
    parameters: Vec<ParameterShape>,
    values: Option<Vec<Value>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ParameterShape {
    Null,
    Digits { after_point: usize },
    Text,
}

impl Statements {
    /// Statements over tables of these shapes.
    pub fn new(schemas: Schemas) -> Self {
        Statements { context: crate::engine::session_context(), schemas, compiled: HashMap::new(), next: 0 }
    }

    /// The shapes of the tables.
    pub fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// The statement, compiled now or earlier.
    pub fn statement(&mut self, sql: &Arc<str>, parameters: &[Value]) -> Arc<Compiled> {
        let shapes = parameters.iter().map(shape).collect();
        let mut identity = StatementIdentity { sql: sql.clone(), parameters: shapes, values: None };
        if let Some(compiled) = self.compiled.get(&identity) {
            return compiled.clone();
        }
        identity.values = Some(parameters.to_vec());
        if let Some(compiled) = self.compiled.get(&identity) {
            return compiled.clone();
        }
        let compiled = Arc::new(self.compile(sql, parameters));
        let inlined = match compiled.as_ref() {
            Compiled::Write(write) => {
                write.query.is_inlined() || write.on_conflict.as_ref().is_some_and(CompiledQuery::is_inlined)
            }
            Compiled::Read(query) => query.is_inlined(),
            _ => false,
        };
        if !inlined {
            identity.values = None;
        }
        self.compiled.insert(identity, compiled.clone());
        compiled
    }

    /// A prefix that no other query has.
    pub fn next_prefix(&mut self) -> String {
        self.next += 1;
        format!("q{}_", self.next)
    }

    /// Plans a query of ours over the same tables; `extra` are tables that only it knows.
    ///
    /// # Errors
    /// What the engine cannot run as PostgreSQL does.
    pub async fn query(&mut self, query: &ast::Query, extra: &[Arc<TableSchema>]) -> Result<CompiledQuery, Refusal> {
        self.query_in(Language::Engine, query, extra).await
    }

    /// As [`Statements::query`], of a query that means what it means to PostgreSQL.
    ///
    /// # Errors
    /// What the engine cannot run as PostgreSQL does.
    pub async fn postgres_query(
        &mut self,
        query: &ast::Query,
        extra: &[Arc<TableSchema>],
    ) -> Result<CompiledQuery, Refusal> {
        self.query_in(Language::PostgreSql, query, extra).await
    }

    async fn query_in(
        &mut self,
        language: Language,
        query: &ast::Query,
        extra: &[Arc<TableSchema>],
    ) -> Result<CompiledQuery, Refusal> {
        let prefix = self.next_prefix();
        let mut schemas = self.schemas.clone();
        schemas.extend(extra.iter().map(|schema| (schema.name.clone(), schema.clone())));
        let query = CompiledQuery::compile(&self.context, query, &schemas, language, &prefix, &[], &[])?;
        query.prepare().await?;
        Ok(query)
    }

    fn compile(&mut self, sql: &str, parameters: &[Value]) -> Compiled {
        let statements = match sql::parse(sql) {
            Ok(statements) => statements,
            Err(error) => return Compiled::Refused { reason: error.into(), tables: Vec::new(), targets: Vec::new() },
        };
        let [statement] = statements.as_slice() else {
            let tables = statements.iter().flat_map(sql::tables_named).collect();
            let targets = statements.iter().flat_map(|one| sql::write_targets(one, &self.schemas)).collect();
            let reason = Refusal("is several statements in one text".to_owned());
            return Compiled::Refused { reason, tables, targets };
        };
        let tables = || sql::tables_named(statement).into_iter().collect();
        match sql::role_of(statement) {
            Role::Read => match statement {
                ast::Statement::Query(query) => match self.compile_read(query, parameters) {
                    Ok(query) => Compiled::Read(Box::new(query)),
                    Err(reason) => Compiled::Refused { reason, tables: tables(), targets: Vec::new() },
                },
                _ => Compiled::Nothing,
            },
            Role::Write => match self.compile_write(statement, parameters) {
                Ok(write) => Compiled::Write(Box::new(write)),
                Err(reason) => {
                    let targets = sql::write_targets(statement, &self.schemas);
                    Compiled::Refused { reason, tables: tables(), targets }
                }
            },
            _ => Compiled::Nothing,
        }
    }

    fn compile_read(&mut self, query: &ast::Query, parameters: &[Value]) -> Result<CompiledQuery, Refusal> {
        let prefix = self.next_prefix();
        CompiledQuery::compile(&self.context, query, &self.schemas, Language::PostgreSql, &prefix, &[], parameters)
    }

    fn compile_write(&mut self, statement: &ast::Statement, parameters: &[Value]) -> Result<CompiledWrite, Refusal> {
        let form = WriteForm::of(statement, &self.schemas)?;
        let schema =
            self.schemas.get(&form.target).cloned().ok_or_else(|| Refusal(format!("writes {}", form.target)))?;
        let prefix = self.next_prefix();
        let assigned = typed(&form.assigned, &schema);
        let query = CompiledQuery::compile(
            &self.context,
            &form.query,
            &self.schemas,
            Language::PostgreSql,
            &prefix,
            &assigned,
            parameters,
        )?;
        let on_conflict = match &form.kind {
            WriteKind::Insert {
                on_conflict: Some(OnConflict { action: ConflictAction::Update { assigned, query }, .. }),
            } => {
                let prefix = self.next_prefix();
                let mut schemas = self.schemas.clone();
                let excluded = TableSchema { name: TableName::new("public", "excluded"), ..schema.as_ref().clone() };
                schemas.insert(excluded.name.clone(), Arc::new(excluded));
                let assigned = typed(assigned, &schema);
                Some(CompiledQuery::compile(
                    &self.context,
                    query,
                    &schemas,
                    Language::PostgreSql,
                    &prefix,
                    &assigned,
                    parameters,
                )?)
            }
            _ => None,
        };
        let met = met_rows(statement, &form, on_conflict.as_ref(), &self.schemas);
        let targets = sql::write_targets(statement, &self.schemas);
        Ok(CompiledWrite { form, query, on_conflict, met, schema, targets })
    }
}

/// With ON CONFLICT, whether a row is there decides what an insert does.
fn met_rows(
    statement: &ast::Statement,
    form: &WriteForm,
    on_conflict: Option<&CompiledQuery>,
    schemas: &Schemas,
) -> Option<sql::TableReference> {
    let WriteKind::Insert { on_conflict: Some(OnConflict { columns: conflicting, .. }) } = &form.kind else {
        return None;
    };
    let columns = match on_conflict.and_then(|query| query.references().first()).map(|row| &row.columns) {
        Some(ColumnsRead::Some(read)) => ColumnsRead::Some(read.iter().chain(conflicting).cloned().collect()),
        Some(ColumnsRead::All) => ColumnsRead::All,
        None => ColumnsRead::Some(conflicting.iter().cloned().collect()),
    };
    let fixed = sql::write_targets(statement, schemas).into_iter().find(|target| target.table == form.target);
    let bound = |(column, operands): (ColumnName, Vec<sql::Operand>)| sql::Bound { column, operands };
    let bounds = fixed.into_iter().flat_map(|target| target.fixed).filter(|(column, _)| conflicting.contains(column));
    Some(sql::TableReference { table: form.target.clone(), columns, bounds: bounds.map(bound).collect() })
}

fn typed(assigned: &[Assigned], schema: &TableSchema) -> Vec<(ColumnName, ColumnType)> {
    let typed = assigned.iter().filter_map(|assigned| schema.column(&assigned.column));
    typed.map(|column| (column.name.clone(), column.column_type.clone())).collect()
}

fn shape(value: &Value) -> ParameterShape {
    let Some(text) = value.as_str() else { return ParameterShape::Null };
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !whole.is_empty() && whole.len() < 19 && all_digits(whole) && all_digits(fraction) {
        ParameterShape::Digits { after_point: fraction.len() }
    } else {
        ParameterShape::Text
    }
}

impl CompiledWrite {
    /// The columns given values in an update or an insert.
    pub fn assigned(&self) -> &[Assigned] {
        &self.form.assigned
    }

    /// Every reference it reads through, the conflict's included.
    pub fn references(&self) -> impl Iterator<Item = &sql::TableReference> {
        // The first two of a conflict's are the row met, which stands in `met`, and the row proposed.
        let of_conflict = self.on_conflict.iter().flat_map(|query| query.references().iter().skip(2));
        self.query.references().iter().chain(&self.met).chain(of_conflict)
    }

    /// What the statement does to each record when it runs over one world. Rows of an insert whose key only the
    /// database could give come without a key, in order.
    ///
    /// # Errors
    /// What PostgreSQL would refuse too, values that do not fit, an update that gives one row two values.
    pub async fn run(
        &self,
        tables: &mut RollingTables,
        world: World,
        execution: Execution<'_>,
    ) -> Result<(BTreeMap<RecordKey, Effect>, Vec<Row>), Refusal> {
        let batches = self.query.run(tables, world, execution).await?;
        let mut effects = BTreeMap::new();
        let mut without_key = Vec::new();
        match &self.form.kind {
            WriteKind::Delete => {
                for (key, _) in self.keyed_rows(&batches)? {
                    effects.insert(key, Effect::Delete);
                }
            }
            WriteKind::Update => {
                for (key, row) in self.keyed_rows(&batches)? {
                    let effect = Effect::Update(row);
                    if effects.get(&key).is_some_and(|earlier| *earlier != effect) {
                        return Err(Refusal("gives one row several values: which one wins is chance".to_owned()));
                    }
                    effects.insert(key, effect);
                }
            }
            WriteKind::Insert { on_conflict } => {
                for row in self.value_rows(&batches, 0, &self.form.assigned)? {
                    match row.key(&self.schema.key) {
                        Some(key) => {
                            let effect =
                                self.inserted(tables, world, execution, on_conflict.as_ref(), &key, row).await?;
                            effects.extend(effect);
                        }
                        None => without_key.push(row),
                    }
                }
            }
        }
        Ok((effects, without_key))
    }

    async fn inserted(
        &self,
        tables: &mut RollingTables,
        world: World,
        execution: Execution<'_>,
        on_conflict: Option<&OnConflict>,
        key: &RecordKey,
        row: Row,
    ) -> Result<Option<(RecordKey, Effect)>, Refusal> {
        let Some(on_conflict) = on_conflict else { return Ok(Some((key.clone(), Effect::Insert(row)))) };
        if on_conflict.columns != self.schema.key {
            return Err(Refusal("has an ON CONFLICT on columns other than the table's key".to_owned()));
        }
        let table = tables.table(&self.form.target);
        let Some(existing) = table.and_then(|table| table.row(world, key)).cloned() else {
            return Ok(Some((key.clone(), Effect::Insert(row))));
        };
        let (ConflictAction::Update { assigned, .. }, Some(query)) = (&on_conflict.action, &self.on_conflict) else {
            return Ok(None);
        };
        let proposed = table.map(|table| table.whole(None, &row)).unwrap_or(row);
        let overridden = HashMap::from([(0, vec![existing]), (1, vec![Arc::new(proposed)])]);
        let batches = query.run(tables, world, Execution { overridden: Some(&overridden), ..execution }).await?;
        let mut rows = self.value_rows(&batches, 0, assigned)?;
        Ok(rows.pop().map(|row| (key.clone(), Effect::Update(row))))
    }

    fn keyed_rows(&self, batches: &[RecordBatch]) -> Result<Vec<(RecordKey, Row)>, Refusal> {
        let width = self.schema.key.len();
        let mut keyed = Vec::new();
        let values = self.value_rows(batches, width, &self.form.assigned)?;
        let mut values = values.into_iter();
        for batch in batches {
            for position in 0..batch.num_rows() {
                let mut cells = Vec::with_capacity(width);
                for (place, name) in self.schema.key.iter().enumerate() {
                    cells.push((name.clone(), self.cell(batch, place, position, name)?));
                }
                keyed.extend(values.next().map(|row| (RecordKey::new(cells), row)));
            }
        }
        Ok(keyed)
    }

    /// The values of the assigned columns; those that only the database could give are left out.
    fn value_rows(&self, batches: &[RecordBatch], skipped: usize, assigned: &[Assigned]) -> Result<Vec<Row>, Refusal> {
        let mut rows = Vec::new();
        for batch in batches {
            for position in 0..batch.num_rows() {
                let mut row = Row::new();
                for (place, assigned) in assigned.iter().enumerate().filter(|(_, assigned)| !assigned.given) {
                    row.set(assigned.column.clone(), self.cell(batch, skipped + place, position, &assigned.column)?);
                }
                rows.push(row);
            }
        }
        Ok(rows)
    }

    fn cell(&self, batch: &RecordBatch, place: usize, position: usize, column: &str) -> Result<Value, Refusal> {
        let array = batch.columns().get(place).ok_or_else(|| Refusal("has fewer values than columns".to_owned()))?;
        let column = self.schema.column(column).ok_or_else(|| Refusal(format!("names the column {column}")))?;
        value_from_array(array, position, &column.column_type).map_err(|error| Refusal(format!("failed to {error}")))
    }
}
