//! Statements compiled once per text and parameter types.

use std::collections::BTreeSet;
use std::sync::Arc;

use ahash::HashMap;
use datafusion::prelude::SessionContext;
use sqlparser::ast;

use super::compiled::Setting;
use super::display_scale::DisplayScales;
use super::translate::Language;
use super::write::{CompiledArm, CompiledWrite, TableWrite};
use super::{CompiledQuery, Refusal};
use crate::model::{
    ColumnName, ColumnType, Declarations, RecordKey, TableName, TableSchema, TimeZone, UniqueKey, Value, View,
};
use crate::sql::{
    self, Assigned, ColumnLineage, ColumnOwner, ColumnsRead, ConflictAction, Influence, InfluenceKind, OnConflict,
    QualifiedColumn, Role, Schema, Schemas, Templates, Views, WriteArm, WriteForms, WriteKind, WriteTarget,
};

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

impl Compiled {
    /// What it writes, as far as its text tells.
    pub fn targets(&self) -> &[WriteTarget] {
        match self {
            Compiled::Write(write) => &write.targets,
            Compiled::Refused { targets, .. } => targets,
            Compiled::Read(_) | Compiled::Nothing => &[],
        }
    }
}

/// Every statement compiled so far.
pub struct Statements {
    /// Where statements run, by their time zone: `None` for that of a session that has set none …
    contexts: HashMap<Option<Arc<str>>, (TimeZone, SessionContext)>,
    /// … and rules, in the database's.
    own: SessionContext,
    zones: SessionZones,
    /// The tables that are recorded …
    recorded: Schemas,
    /// … and the same with the temporary tables that stand before them.
    schemas: Schemas,
    /// Every set of temporary tables so far; the one at hand.
    temporary: Vec<Schemas>,
    temporary_at_hand: usize,
    views: Views,
    compiled: HashMap<StatementIdentity, Arc<Compiled>>,
    templates: Templates,
    next: usize,
}

/// A text, with what of its parameters decides the plan: the shape of each, or the very values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct StatementIdentity {
    sql: Arc<str>,
    zone: Option<Arc<str>>,
    temporary: usize,
    parameters: Vec<ParameterShape>,
    values: Option<Vec<Value>>,
}

/// The time zones of a database's sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionZones {
    /// The database's.
    pub database: TimeZone,
    /// That of a session that sets none: the same, where every role's sessions begin with it.
    pub session: TimeZone,
}

impl From<&Declarations> for SessionZones {
    fn from(declarations: &Declarations) -> Self {
        let database = declarations.time_zone.clone();
        let session = match declarations.roles_elsewhere.as_slice() {
            [] => database.clone(),
            roles => TimeZone::named(&format!("{database} or the one of {}", roles.join(", "))),
        };
        SessionZones { database, session }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ParameterShape {
    Null,
    Digits { after_point: usize },
    Text,
}

impl Statements {
    /// Statements over tables of these shapes, in sessions with these time zones.
    pub fn new(schemas: Schemas, zones: SessionZones) -> Self {
        Statements {
            contexts: HashMap::default(),
            own: crate::engine::session_context_in(&zones.database),
            zones,
            templates: Templates::new(Schema::from(&schemas), Arc::new(schemas.clone())),
            recorded: schemas.clone(),
            schemas,
            temporary: vec![Schemas::new()],
            temporary_at_hand: 0,
            views: Views::new(),
            compiled: HashMap::default(),
            next: 0,
        }
    }

    /// The shapes of the tables.
    pub fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// From now on, the view's name stands for its query.
    ///
    /// # Errors
    /// SQL that is not understood, or no query.
    pub fn declare(&mut self, view: &View) -> Result<(), sql::SqlError> {
        let query = sql::view_query(&view.sql)?;
        self.views.insert(view.name.clone(), Arc::new(query));
        Ok(())
    }

    /// Whether an execution may read or write a row that counts, as [`sql::Execution::may_touch`] says: by its template
    /// alone, so that a text met for the first time is neither parsed nor planned.
    pub fn may_touch(
        &mut self,
        sql: &str,
        parameters: &[Value],
        counts: impl Fn(&TableName, Option<&RecordKey>) -> bool,
    ) -> bool {
        self.templates.execution(sql).may_touch(parameters, counts)
    }

    /// The columns by whose values a text joins or groups rows, as far as it is understood.
    pub fn joined_or_grouped(&mut self, sql: &str) -> BTreeSet<(TableName, ColumnName)> {
        let template = self.templates.execution(sql).template;
        let lineages = template.analyses.iter().flat_map(|analysis| &analysis.columns);
        let influences = lineages.flat_map(|lineage| lineage.influences.iter());
        let matches = |influence: &&Influence| matches!(influence.kind, InfluenceKind::Join | InfluenceKind::GroupBy);
        influences.filter(matches).filter_map(|influence| of_table(&influence.column)).collect()
    }

    /// The columns whose values become part of the keys of rows that a text writes to the table, as far as it is understood.
    pub fn sources_of_key(&mut self, sql: &str, schema: &TableSchema) -> BTreeSet<(TableName, ColumnName)> {
        let template = self.templates.execution(sql).template;
        let is_of_key = |lineage: &&ColumnLineage| {
            lineage.target.owner == ColumnOwner::Table(schema.name.clone())
                && schema.key.contains(&lineage.target.column)
        };
        let of_key = template.analyses.iter().flat_map(|analysis| &analysis.columns).filter(is_of_key);
        of_key.flat_map(|lineage| &lineage.sources).filter_map(of_table).collect()
    }

    /// From now on, these temporary tables stand before the recorded ones.
    pub fn set_temporary(&mut self, temporary: &Schemas) {
        if self.temporary[self.temporary_at_hand] == *temporary {
            return;
        }
        let known = self.temporary.iter().position(|known| known == temporary);
        self.temporary_at_hand = known.unwrap_or_else(|| {
            self.temporary.push(temporary.clone());
            self.temporary.len() - 1
        });
        self.schemas.clone_from(&self.recorded);
        self.schemas.extend(temporary.iter().map(|(name, schema)| (name.clone(), schema.clone())));
    }

    /// The database's time zone.
    pub fn database_zone(&self) -> &TimeZone {
        &self.zones.database
    }

    /// The time zone that a session has which has set this one, or none.
    pub fn zone(&self, set: Option<&Arc<str>>) -> TimeZone {
        set.map_or_else(|| self.zones.session.clone(), |name| TimeZone::named(name))
    }

    /// The statement, compiled now or earlier; `zone` is the time zone that its session has set.
    pub fn statement(&mut self, sql: &Arc<str>, parameters: &[Value], zone: Option<&Arc<str>>) -> Arc<Compiled> {
        let shapes = parameters.iter().map(shape).collect();
        let mut identity = StatementIdentity {
            sql: sql.clone(),
            zone: zone.cloned(),
            temporary: self.temporary_at_hand,
            parameters: shapes,
            values: None,
        };
        if let Some(compiled) = self.compiled.get(&identity) {
            return compiled.clone();
        }
        identity.values = Some(parameters.to_vec());
        if let Some(compiled) = self.compiled.get(&identity) {
            return compiled.clone();
        }
        let compiled = Arc::new(self.compile(sql, parameters, zone));
        let inlined = match compiled.as_ref() {
            Compiled::Write(write) => write.is_inlined(),
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
        self.query_in(Language::Engine, query, extra, &[]).await
    }

    /// As [`Statements::query`], its last columns being assigned to columns of these types.
    ///
    /// # Errors
    /// What the engine cannot run as PostgreSQL does.
    pub async fn assigning_query(
        &mut self,
        query: &ast::Query,
        extra: &[Arc<TableSchema>],
        assigned: &[(ColumnName, ColumnType)],
    ) -> Result<CompiledQuery, Refusal> {
        self.query_in(Language::Engine, query, extra, assigned).await
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
        self.query_in(Language::PostgreSql, query, extra, &[]).await
    }

    async fn query_in(
        &mut self,
        language: Language,
        query: &ast::Query,
        extra: &[Arc<TableSchema>],
        assigned: &[(ColumnName, ColumnType)],
    ) -> Result<CompiledQuery, Refusal> {
        let prefix = self.next_prefix();
        let mut schemas = self.schemas.clone();
        schemas.extend(extra.iter().map(|schema| (schema.name.clone(), schema.clone())));
        let database = self.zones.database.clone();
        let (zone, context) = match language {
            Language::PostgreSql => {
                let name = Arc::clone(database.name());
                self.context(Some(&name))
            }
            Language::Engine => (database, self.own.clone()),
        };
        let setting = Setting { context: &context, language, zone: &zone };
        let query = CompiledQuery::compile(setting, query, &schemas, &prefix, assigned, &[])?.remembering();
        query.prepare().await?;
        Ok(query)
    }

    /// Where the statements run of sessions that have set this time zone, or none.
    fn context(&mut self, set: Option<&Arc<str>>) -> (TimeZone, SessionContext) {
        if let Some(known) = self.contexts.get(&set.cloned()) {
            return known.clone();
        }
        let zone = self.zone(set);
        let context = crate::engine::statement_context(&zone);
        self.contexts.insert(set.cloned(), (zone.clone(), context.clone()));
        (zone, context)
    }

    fn compile(&mut self, sql: &str, parameters: &[Value], zone: Option<&Arc<str>>) -> Compiled {
        let statements = match sql::parse(sql) {
            Ok(mut statements) => {
                statements.iter_mut().for_each(|statement| sql::expand_views(statement, &self.views));
                statements
            }
            Err(error) => {
                let targets = sql::scanned_targets(sql, &self.schemas);
                return Compiled::Refused { reason: error.into(), tables: Vec::new(), targets };
            }
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
                ast::Statement::Query(query) => match self.compile_read(query, parameters, zone) {
                    Ok(query) => Compiled::Read(Box::new(query)),
                    Err(reason) => Compiled::Refused { reason, tables: tables(), targets: Vec::new() },
                },
                _ => Compiled::Nothing,
            },
            Role::Write => match self.compile_write(statement, parameters, zone) {
                Ok(write) => Compiled::Write(Box::new(write)),
                Err(reason) => {
                    let targets = sql::write_targets(statement, &self.schemas);
                    Compiled::Refused { reason, tables: tables(), targets }
                }
            },
            _ => Compiled::Nothing,
        }
    }

    fn compile_read(
        &mut self,
        query: &ast::Query,
        parameters: &[Value],
        zone: Option<&Arc<str>>,
    ) -> Result<CompiledQuery, Refusal> {
        self.compile_assigning(query, &self.schemas.clone(), &[], (parameters, zone))
    }

    fn compile_write(
        &mut self,
        statement: &ast::Statement,
        parameters: &[Value],
        zone: Option<&Arc<str>>,
    ) -> Result<CompiledWrite, Refusal> {
        let WriteForms { forms, returning, read } = WriteForms::of(statement, &self.schemas)?;
        let targets = sql::write_targets(statement, &self.schemas);
        let mut tables = Vec::with_capacity(forms.len());
        for form in forms {
            let schema =
                self.schemas.get(&form.target).cloned().ok_or_else(|| Refusal(format!("writes {}", form.target)))?;
            let mut arms = Vec::with_capacity(form.arms.len());
            for arm in form.arms {
                arms.push(self.compile_arm(arm, &schema, &targets, (parameters, zone))?);
            }
            tables.push(TableWrite { target: form.target, schema, arms });
        }
        let read = read.map(|query| self.compile_read(&query, parameters, zone)).transpose()?.map(Box::new);
        Ok(CompiledWrite { tables, returning, read, targets })
    }

    fn compile_arm(
        &mut self,
        arm: WriteArm,
        schema: &Arc<TableSchema>,
        targets: &[WriteTarget],
        given: (&[Value], Option<&Arc<str>>),
    ) -> Result<CompiledArm, Refusal> {
        let assigned = typed(&arm.assigned, schema);
        let query = self.compile_assigning(&arm.query, &self.schemas.clone(), &assigned, given)?;
        let on_conflict = match &arm.kind {
            WriteKind::Insert {
                on_conflict: Some(OnConflict { action: ConflictAction::Update { assigned, query }, .. }),
            } => {
                let mut schemas = self.schemas.clone();
                let excluded = TableSchema { name: TableName::new("public", "excluded"), ..schema.as_ref().clone() };
                schemas.insert(excluded.name.clone(), Arc::new(excluded));
                Some(self.compile_assigning(query, &schemas, &typed(assigned, schema), given)?)
            }
            _ => None,
        };
        let met = met_rows(&arm, schema, on_conflict.as_ref(), targets);
        let met: Vec<sql::TableReference> = met.into_iter().chain(met_otherwise(&arm, schema, targets)).collect();
        let scales = DisplayScales::of(&arm, schema, &self.schemas);
        Ok(CompiledArm { kind: arm.kind, assigned: arm.assigned, query, on_conflict, met, scales })
    }

    /// A query whose last columns are assigned to columns of a table; `given` are its parameters and the time zone that its
    /// session has set.
    fn compile_assigning(
        &mut self,
        query: &ast::Query,
        schemas: &Schemas,
        assigned: &[(ColumnName, ColumnType)],
        (parameters, zone): (&[Value], Option<&Arc<str>>),
    ) -> Result<CompiledQuery, Refusal> {
        let prefix = self.next_prefix();
        let (zone, context) = self.context(zone);
        let setting = Setting { context: &context, language: Language::PostgreSql, zone: &zone };
        CompiledQuery::compile(setting, query, schemas, &prefix, assigned, parameters)
    }
}

/// With ON CONFLICT, whether a row is there decides what an insert does.
fn met_rows(
    arm: &WriteArm,
    schema: &TableSchema,
    on_conflict: Option<&CompiledQuery>,
    targets: &[WriteTarget],
) -> Option<sql::TableReference> {
    let WriteKind::Insert { on_conflict: Some(OnConflict { columns: conflicting, .. }) } = &arm.kind else {
        return None;
    };
    let columns = match on_conflict.and_then(|query| query.references().first()).map(|row| &row.columns) {
        Some(ColumnsRead::Some(read)) => ColumnsRead::Some(read.iter().chain(conflicting).cloned().collect()),
        Some(ColumnsRead::All) => ColumnsRead::All,
        None => ColumnsRead::Some(conflicting.iter().cloned().collect()),
    };
    let mut of_table = targets.iter().filter(|target| target.table == schema.name);
    let fixed = of_table.next().filter(|_| of_table.next().is_none()).map(|target| target.fixed.as_slice());
    let bound = |(column, operands): &(ColumnName, Vec<sql::Operand>)| sql::Bound {
        column: column.clone(),
        operands: operands.clone(),
    };
    let fixed = fixed.into_iter().flatten().filter(|(column, _)| conflicting.contains(column));
    Some(sql::TableReference { table: schema.name.clone(), columns, bounds: fixed.map(bound).collect() })
}

/// The rows that an insert may meet by another unique key than the table's.
fn met_otherwise(arm: &WriteArm, schema: &TableSchema, targets: &[WriteTarget]) -> Vec<sql::TableReference> {
    let WriteKind::Insert { on_conflict: Some(OnConflict { others, .. }) } = &arm.kind else { return Vec::new() };
    let mut of_table = targets.iter().filter(|target| target.table == schema.name);
    let fixed = of_table.next().filter(|_| of_table.next().is_none()).map(|target| target.fixed.as_slice());
    let reference = |unique: &UniqueKey| {
        // Any row may be one that is not like this one and yet in its way.
        let fixed =
            fixed.into_iter().flatten().filter(|(column, _)| unique.is_plain && unique.columns.contains(column));
        let bound = |(column, operands): &(ColumnName, Vec<sql::Operand>)| sql::Bound {
            column: column.clone(),
            operands: operands.clone(),
        };
        let columns = match unique.is_plain {
            true => ColumnsRead::Some(unique.columns.iter().cloned().collect()),
            false => ColumnsRead::All,
        };
        sql::TableReference { table: schema.name.clone(), columns, bounds: fixed.map(bound).collect() }
    };
    others.iter().map(reference).collect()
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

/// A column of a table that is known; `None` for any other.
fn of_table(column: &QualifiedColumn) -> Option<(TableName, ColumnName)> {
    match &column.owner {
        ColumnOwner::Table(table) => Some((table.clone(), column.column.clone())),
        ColumnOwner::Output | ColumnOwner::Unresolved => None,
    }
}
