//! Functions, procedures and triggers: which there are, and what calling them reads, writes and returns.

use std::rc::Rc;
use std::sync::Arc;

use sqlparser::ast::{
    ArgMode, CreateFunction, CreateFunctionBody, CreateTrigger, DataType, Expr, FunctionReturnType, Ident, ObjectName,
    TriggerEvent, TriggerPeriod, TriggerReferencingType, Value,
};

use super::dependencies::{Dependencies, Role};
use super::names::type_name;
use super::outcome::{InfluenceKind, Via};
use super::plpgsql::RETURNED;
use super::scope::{Output, OutputColumn, Relation, Scope, spelled};
use super::walk::{CommonTable, Rows, Walk};
use super::writes::{Target, last_name};
use crate::model::{ColumnName, TableName};
use crate::sql::SqlError;

/// The language of a routine's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Sql,
    PlPgSql,
    /// One that is not read here.
    Other,
}

/// A function or procedure that is defined.
#[derive(Clone, Debug)]
pub(super) struct Routine {
    /// The parameters that a call gives values for.
    pub(super) parameters: Vec<Parameter>,
    /// What it returns as a row: OUT parameters, or the columns of RETURNS TABLE.
    pub(super) columns: Vec<ColumnName>,
    pub(super) returns: Returns,
    pub(super) language: Language,
    pub(super) body: Arc<str>,
}

/// A parameter of a routine.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    /// Unnamed ones are known by their number alone.
    pub(super) name: Option<ColumnName>,
    type_name: String,
    has_default: bool,
    variadic: bool,
}

/// What a call gives for a parameter.
#[derive(Clone, Debug, Default)]
pub(super) struct Argument {
    /// `name => value`.
    pub(super) name: Option<ColumnName>,
    pub(super) value: Dependencies,
}

impl Parameter {
    /// What its value depends on: the argument in its place, or of its name; the last of many takes all the rest.
    fn given(&self, place: usize, arguments: &[Argument]) -> Dependencies {
        let named = |argument: &&Argument| argument.name.is_some() && argument.name == self.name;
        if let Some(argument) = arguments.iter().find(named) {
            return argument.value.clone();
        }
        let unnamed = arguments.iter().skip(place).filter(|argument| argument.name.is_none());
        let mut all = Dependencies::default();
        for argument in unnamed.take(if self.variadic { usize::MAX } else { 1 }) {
            all.absorb(&argument.value, Role::Value(Via::Copy));
        }
        all
    }
}

/// What becomes of a routine's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Returns {
    Nothing,
    Value,
    Trigger,
}

/// A trigger that is defined.
#[derive(Clone, Debug)]
pub(super) struct Trigger {
    pub(super) name: ColumnName,
    events: Vec<TriggerEvent>,
    routine: ObjectName,
    /// The names of the tables that hold the rows before and after.
    transition_tables: Vec<ColumnName>,
    condition: Option<Expr>,
    /// `INSTEAD OF` what happens to a view's rows.
    instead: bool,
    pub(super) enabled: bool,
}

impl Trigger {
    /// Whether it does what is told, and nothing else is done.
    pub(super) fn replaces(&self, event: Event<'_>) -> bool {
        self.instead && self.enabled && self.events.iter().any(|of| fits(of, event))
    }

    /// The same trigger where a column of its table has another name.
    pub(super) fn rename_column(&mut self, old: &str, new: &Ident) {
        for event in &mut self.events {
            if let TriggerEvent::Update(columns) = event {
                columns.iter_mut().filter(|column| spelled(column) == old).for_each(|column| *column = new.clone());
            }
        }
        if let Some(condition) = &mut self.condition {
            super::schema::rename_in(condition, old, new);
        }
    }
}

/// A routine that is being read.
pub(super) struct Active {
    pub(super) name: TableName,
    pub(super) routine: Arc<Routine>,
}

/// What happens to a table's rows, as triggers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event<'a> {
    Insert,
    /// These columns are set.
    Update(&'a [ColumnName]),
    Delete,
    Truncate,
}

impl Event<'_> {
    /// The same, whichever columns are set.
    pub(super) fn of_any_columns(self) -> Event<'static> {
        match self {
            Event::Insert => Event::Insert,
            Event::Update(_) => Event::Update(&[]),
            Event::Delete => Event::Delete,
            Event::Truncate => Event::Truncate,
        }
    }
}

/// How deep routines and triggers may call one another.
const CALL_DEPTH: usize = 8;

/// How many calls of routines are followed in one statement.
const CALLS: usize = 4_096;

/// The routine that a statement defines, where its body is a text.
pub(super) fn routine_of(create: &CreateFunction) -> Option<Routine> {
    let mut language = match create.language.as_ref().map(|language| language.value.to_ascii_lowercase()).as_deref() {
        Some("plpgsql") => Language::PlPgSql,
        Some("sql") | None => Language::Sql,
        Some(_) => Language::Other,
    };
    let body = match create.function_body.as_ref()? {
        CreateFunctionBody::AsBeforeOptions { body, .. } | CreateFunctionBody::AsAfterOptions(body) => match body {
            Expr::Value(value) => match &value.value {
                Value::DollarQuotedString(text) => text.value.clone(),
                Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => text.clone(),
                _ => return None,
            },
            _ => return None,
        },
        CreateFunctionBody::Return(expression) | CreateFunctionBody::AsReturnExpr(expression) => {
            format!("SELECT {expression}")
        }
        CreateFunctionBody::AsReturnSelect(select) => select.to_string(),
        CreateFunctionBody::AsBeginEnd(block) => {
            language = Language::PlPgSql;
            block.to_string()
        }
    };
    let arguments = || create.args.iter().flatten();
    let given = arguments().filter(|argument| !matches!(argument.mode, Some(ArgMode::Out)));
    let parameters = given.map(|argument| Parameter {
        name: argument.name.as_ref().map(|name| spelled(name).into()),
        type_name: type_of(&argument.data_type),
        has_default: argument.default_expr.is_some(),
        variadic: matches!(argument.mode, Some(ArgMode::Variadic)),
    });
    let out = arguments().filter(|argument| matches!(argument.mode, Some(ArgMode::Out | ArgMode::InOut)));
    let mut columns: Vec<ColumnName> =
        out.filter_map(|argument| Some(spelled(argument.name.as_ref()?).into())).collect();
    let mut returns = Returns::Value;
    match &create.return_type {
        Some(
            FunctionReturnType::DataType(DataType::Table(Some(table)))
            | FunctionReturnType::SetOf(DataType::Table(Some(table))),
        ) => {
            columns.extend(table.iter().map(|column| ColumnName::from(spelled(&column.name))));
        }
        Some(FunctionReturnType::DataType(other)) => match other.to_string().to_ascii_lowercase().as_str() {
            "trigger" | "event_trigger" => returns = Returns::Trigger,
            "void" => returns = Returns::Nothing,
            _ => {}
        },
        Some(FunctionReturnType::SetOf(_)) => {}
        None if columns.is_empty() => returns = Returns::Nothing,
        None => {}
    }
    Some(Routine { parameters: parameters.collect(), columns, returns, language, body: body.into() })
}

/// A parameter's type as the catalog tells it from others: `int` is `integer`, and lengths say nothing.
pub(super) fn type_of(data_type: &DataType) -> String {
    let of_element = type_name(data_type);
    if data_type.to_string().ends_with(']') { format!("{of_element}[]") } else { of_element.to_string() }
}

impl Routine {
    /// A procedure of a dialect whose parser reads its statements.
    pub(super) fn of_statements(parameters: Vec<ColumnName>, body: String) -> Self {
        let parameters = parameters.into_iter().map(|name| Parameter {
            name: Some(name),
            type_name: String::new(),
            has_default: true,
            variadic: false,
        });
        Routine {
            parameters: parameters.collect(),
            columns: Vec::new(),
            returns: Returns::Nothing,
            language: Language::PlPgSql,
            body: body.into(),
        }
    }

    /// Whether both take the same types, so that one replaces the other.
    pub(super) fn is_of_types_of(&self, other: &Routine) -> bool {
        let types = |routine: &Routine| -> Vec<String> {
            routine.parameters.iter().map(|parameter| parameter.type_name.clone()).collect()
        };
        types(self) == types(other)
    }

    /// Whether it is the one that DROP FUNCTION names by these types.
    pub(super) fn takes_types(&self, types: &[String]) -> bool {
        self.parameters.iter().map(|parameter| &parameter.type_name).eq(types)
    }

    pub(super) fn takes(&self, count: usize) -> bool {
        let required = self.parameters.iter().filter(|parameter| !parameter.has_default && !parameter.variadic).count();
        let any_number = self.parameters.iter().any(|parameter| parameter.variadic);
        required <= count && (count <= self.parameters.len() || any_number)
    }
}

pub(super) fn trigger_of(create: &CreateTrigger) -> Option<Trigger> {
    let routine = create.exec_body.as_ref()?.func_desc.name.clone();
    let transition_tables = create.referencing.iter().filter_map(|referencing| match referencing.refer_type {
        TriggerReferencingType::OldTable | TriggerReferencingType::NewTable => {
            last_name(&referencing.transition_relation_name)
        }
    });
    Some(Trigger {
        name: last_name(&create.name)?,
        events: create.events.clone(),
        routine,
        transition_tables: transition_tables.collect(),
        condition: create.condition.clone(),
        instead: create.period == Some(TriggerPeriod::InsteadOf),
        enabled: true,
    })
}

impl Walk<'_> {
    /// What calling a routine reads and writes, where its body is known.
    pub(super) fn call(&mut self, name: &ObjectName, arguments: &[Argument]) {
        if self.called(name, arguments).is_none() {
            self.note(SqlError::Unsupported(format!("what {name} does: its definition is not known")));
        }
    }

    /// What a call of this name returns; `None` where no routine of the name takes so many arguments.
    pub(super) fn called(&mut self, name: &ObjectName, arguments: &[Argument]) -> Option<Output> {
        let mut fitting = self.schema.routines(name, self.dialect);
        fitting.retain(|(_, routine)| routine.takes(arguments.len()));
        let mut output: Option<Output> = None;
        for (name, routine) in &fitting {
            let more = self.routine(name, routine, arguments);
            match &mut output {
                // Which of several is meant depends on types: it may be each.
                Some(output) => self.lay_on(output, more),
                None => output = Some(more),
            }
        }
        output
    }

    /// What a routine reads and writes when it is called with values of these dependencies, and what it returns.
    pub(super) fn routine(&mut self, name: &TableName, routine: &Arc<Routine>, arguments: &[Argument]) -> Output {
        let mut given = Dependencies::default();
        arguments.iter().for_each(|argument| given.absorb(&argument.value, Role::Value(Via::Transform)));
        given.settle();
        let unknown = |given: Dependencies| match routine.returns {
            Returns::Value => Output {
                columns: vec![OutputColumn::Named { name: Arc::clone(&name.table), dependencies: given }],
                rows: Vec::new(),
            },
            Returns::Nothing | Returns::Trigger => Output::default(),
        };
        if routine.language == Language::Other {
            let name = &name.table;
            self.note(SqlError::Unsupported(format!("what {name} does: its language is not SQL nor PL/pgSQL")));
            return unknown(given);
        }
        let itself = |active: &Active| active.name == *name && active.routine.is_of_types_of(routine);
        if self.active.iter().any(itself) {
            // What it reads and writes is known from the call around this one.
            return unknown(given);
        }
        self.calls += 1;
        if self.active.len() >= CALL_DEPTH || self.calls > CALLS {
            self.note(SqlError::Unsupported(format!(
                "routines that call one another more than {CALL_DEPTH} deep, or more than {CALLS} times"
            )));
            return unknown(given);
        }
        let returned = self.inside(name, routine, arguments);
        if returned.columns.is_empty() { unknown(given) } else { returned }
    }

    /// Reads the body where only its parameters are in reach.
    fn inside(&mut self, name: &TableName, routine: &Arc<Routine>, arguments: &[Argument]) -> Output {
        self.active.push(Active { name: name.clone(), routine: Arc::clone(routine) });
        let called = self.control.of_call();
        let control = std::mem::replace(&mut self.control, called);
        let variables = std::mem::take(&mut self.variables);
        let windows = std::mem::take(&mut self.windows);
        let scopes = match routine.returns {
            // NEW and OLD are in reach, put there by who fires it.
            Returns::Trigger => None,
            Returns::Value | Returns::Nothing => Some(std::mem::take(&mut self.scopes)),
        };
        let common_tables = match routine.returns {
            Returns::Trigger => None,
            Returns::Value | Returns::Nothing => Some(std::mem::take(&mut self.common_tables)),
        };
        for (place, parameter) in routine.parameters.iter().enumerate() {
            let dependencies = parameter.given(place, arguments);
            let name: ColumnName = parameter.name.clone().unwrap_or_else(|| RETURNED.into());
            let columns = vec![OutputColumn::Named { name: Arc::clone(&name), dependencies }];
            let held = Rc::new(Output { columns, rows: Vec::new() });
            if parameter.name.is_some() {
                self.variables.insert(name, Rc::clone(&held));
            }
            self.variables.insert(format!("${}", place + 1).into(), held);
        }
        for column in &routine.columns {
            self.variables.entry(Arc::clone(column)).or_default();
        }
        self.body(&routine.body, routine.language);
        let returned = self.value_of(routine);
        self.variables = variables;
        self.windows = windows;
        self.control = control;
        if let Some(scopes) = scopes {
            self.scopes = scopes;
        }
        if let Some(common_tables) = common_tables {
            self.common_tables = common_tables;
        }
        self.active.pop();
        returned
    }

    /// What a body has returned, under the names that its definition gives it.
    fn value_of(&mut self, routine: &Routine) -> Output {
        if routine.returns != Returns::Value {
            return Output::default();
        }
        let returned = self.variables.remove(RETURNED).unwrap_or_default();
        if returned.columns.is_empty() {
            // OUT parameters hold it.
            let held = |name: &ColumnName| {
                let mut dependencies = Dependencies::default();
                for column in self.variables.get(name).into_iter().flat_map(|held| &held.columns) {
                    if let OutputColumn::Named { dependencies: own, .. } = column {
                        dependencies.absorb(own, Role::Value(Via::Copy));
                    }
                }
                dependencies.settle();
                OutputColumn::Named { name: Arc::clone(name), dependencies }
            };
            return Output { columns: routine.columns.iter().map(held).collect(), rows: Vec::new() };
        }
        super::query::with_names(&returned, &routine.columns)
    }

    /// What a definition reads and writes once it is called, its parameters not known yet.
    pub(super) fn definition(&mut self, name: &TableName, routine: Routine) {
        // What a trigger's function does depends on the rows and tables it is fired for.
        if routine.language == Language::Other || routine.returns == Returns::Trigger {
            return;
        }
        self.routine(name, &Arc::new(routine), &[]);
    }

    /// Takes in what the triggers of a table do when the rows that these decide on are written.
    pub(super) fn fire(&mut self, target: &Target, event: Event<'_>, rows: &Rows) {
        if self.fire_through(target, event, rows) {
            return;
        }
        let triggers: Vec<Trigger> = self.schema.triggers(&target.name).to_vec();
        let fires = |trigger: &&Trigger| trigger.enabled && trigger.events.iter().any(|of| fits(of, event));
        for trigger in triggers.iter().filter(fires) {
            // A trigger's function takes no arguments.
            let mut routines = self.schema.routines(&trigger.routine, self.dialect);
            routines.retain(|(_, routine)| routine.parameters.is_empty());
            let Some((name, routine)) = routines.first() else {
                self.note(SqlError::Unsupported(format!(
                    "what trigger {} does: the definition of {} is not known",
                    trigger.name, trigger.routine
                )));
                continue;
            };
            let relations = ["new", "old"].map(|alias| Relation { alias: alias.into(), ..target.relation() });
            let row_scope = Scope { relations: relations.to_vec(), rows_of_trigger: true, ..Scope::default() };
            let scopes = std::mem::replace(&mut self.scopes, vec![row_scope]);
            let common_tables = std::mem::take(&mut self.common_tables);
            for name in &trigger.transition_tables {
                let output = Output { columns: self.listed(&target.body(), &[]), rows: Vec::new() };
                self.common_tables.push(CommonTable {
                    name: Arc::clone(name),
                    output: Rc::new(output),
                    reads: Vec::new(),
                });
            }
            let control = self.control.clone();
            self.control.add(Dependencies { sources: Vec::new(), influences: rows.as_ref().clone() });
            if let Some(condition) = &trigger.condition {
                let mut decides = Dependencies::default();
                self.condition(condition, InfluenceKind::Conditional, &mut decides);
                self.control.add(decides);
            }
            let row = self.trigger_row.replace(target.id);
            self.routine(name, routine, &[]);
            self.trigger_row = row;
            self.control = control;
            self.common_tables = common_tables;
            self.scopes = scopes;
        }
    }
}

fn fits(trigger: &TriggerEvent, event: Event<'_>) -> bool {
    match (trigger, event) {
        (TriggerEvent::Insert, Event::Insert)
        | (TriggerEvent::Delete, Event::Delete)
        | (TriggerEvent::Truncate, Event::Truncate) => true,
        (TriggerEvent::Update(of), Event::Update(set)) => {
            of.is_empty() || of.iter().any(|column| set.iter().any(|name| **name == *spelled(column)))
        }
        _ => false,
    }
}
