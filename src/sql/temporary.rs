//! What a statement does to a temporary table or a materialized view: nothing that it writes there is ever recorded, so
//! their rows are only to be had by running the statements that made them.

use std::collections::HashMap;

use sqlparser::ast::{
    AssignmentTarget, CreateTable, Delete, DiscardObject, FromTable, Insert, ObjectName, ObjectType, OnCommit, Query,
    SetExpr, Statement, TableFactor, TableObject, TableWithJoins, Update,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;

use super::{Scanner, Schemas, folded, parse, table_name};
use crate::model::{ColumnName, TableName, TableSchema};

/// What becomes of a temporary table.
#[derive(Clone, Debug, PartialEq)]
pub struct TemporaryWrite {
    /// The table, under the name that finds it.
    pub table: TableName,
    /// What it does there.
    pub effect: TemporaryEffect,
}

/// What a statement does to a temporary table.
#[derive(Clone, Debug, PartialEq)]
pub enum TemporaryEffect {
    /// It makes the table.
    Made {
        /// Its rows, and by them its columns; a query without rows where its columns are declared.
        query: Box<Query>,
        /// Whether its columns have declared types, not those of the query's values.
        is_declared: bool,
        /// Other names for its first columns.
        columns: Vec<ColumnName>,
        /// What becomes of it at the transaction's end.
        at_commit: AtCommit,
    },
    /// It adds the query's rows; their values go to these columns, or to the first ones.
    Added {
        /// The columns named.
        columns: Vec<ColumnName>,
        /// The rows.
        query: Box<Query>,
    },
    /// The query yields every row as it is afterwards.
    Changed {
        /// All columns in their order.
        query: Box<Query>,
    },
    /// No row is left.
    Emptied,
    /// It is gone, and others with it.
    Dropped(DroppedTables),
    /// The table is there already, and stays as it is.
    Unchanged,
    /// What it does cannot be told from its text.
    NotTold,
}

/// The tables that a statement drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DroppedTables {
    /// Those named.
    Named(Vec<TableName>),
    /// Every temporary table of the session.
    EveryTemporary,
}

impl DroppedTables {
    /// Those that the statement drops.
    pub fn of(statement: &Statement) -> Option<DroppedTables> {
        match statement {
            Statement::Drop { object_type: ObjectType::Table, names, .. } => {
                Some(DroppedTables::Named(names.iter().filter_map(named).collect()))
            }
            Statement::Discard { object_type: DiscardObject::ALL | DiscardObject::TEMP } => {
                Some(DroppedTables::EveryTemporary)
            }
            _ => None,
        }
    }

    /// Whether a temporary table of this name is among them.
    pub fn contains(&self, table: &TableName) -> bool {
        match self {
            DroppedTables::Named(names) => names.contains(table),
            DroppedTables::EveryTemporary => true,
        }
    }
}

/// What becomes of a temporary table's rows when its transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtCommit {
    /// They stay for the session.
    Kept,
    /// The table is empty.
    Emptied,
    /// The table is gone.
    Dropped,
}

/// A materialized view that is refreshed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshedView {
    /// Its name.
    pub view: TableName,
    /// Whether it is filled; else it is empty, and cannot be read.
    pub with_data: bool,
}

/// The view of a `REFRESH MATERIALIZED VIEW`, which the parser does not know.
pub fn refreshed_view(sql: &str) -> Option<RefreshedView> {
    const REFRESH: &str = "refresh";
    if !sql.trim_start().get(..REFRESH.len())?.eq_ignore_ascii_case(REFRESH) {
        return None;
    }
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).ok()?;
    // The parser has no keyword for it.
    parser.advance_token();
    parser.expect_keywords(&[Keyword::MATERIALIZED, Keyword::VIEW]).ok()?;
    let _ = parser.parse_keyword(Keyword::CONCURRENTLY);
    let view = table_name(&parser.parse_object_name(false).ok()?)?;
    let with_data = !parser.parse_keywords(&[Keyword::WITH, Keyword::NO, Keyword::DATA]);
    Some(RefreshedView { view, with_data })
}

/// The materialized view that a statement defines, with its query.
pub fn materialized_view(sql: &str) -> Option<(TableName, Box<Query>)> {
    match parse(sql).ok()?.into_iter().next()? {
        Statement::CreateView(view) if view.materialized => Some((table_name(&view.name)?, view.query)),
        _ => None,
    }
}

/// The temporary table that a statement makes.
pub fn temporary_table(statement: &Statement) -> Option<TableName> {
    match statement {
        Statement::CreateTable(create) if create.temporary => named(&create.name),
        Statement::Query(query) => match query.body.as_ref() {
            SetExpr::Select(select) => named(&select.into.as_ref().filter(|into| into.temporary)?.name),
            _ => None,
        },
        _ => None,
    }
}

impl TemporaryWrite {
    /// What the statement does to a temporary table that it makes, or to one of those that are there.
    pub fn of(statement: &Statement, there: &Schemas, is_there: impl Fn(&TableName) -> bool) -> Option<TemporaryWrite> {
        if let Some(table) = temporary_table(statement) {
            let is_made_once = matches!(statement, Statement::CreateTable(create) if create.if_not_exists);
            if is_made_once && is_there(&table) {
                return Some(TemporaryWrite { table, effect: TemporaryEffect::Unchanged });
            }
            return Some(TemporaryWrite { table, effect: made(statement).unwrap_or(TemporaryEffect::NotTold) });
        }
        if let Some(dropped) = DroppedTables::of(statement) {
            let table = match &dropped {
                DroppedTables::Named(names) => names.iter().find(|name| is_there(name))?.clone(),
                DroppedTables::EveryTemporary => TableName::new("pg_temp", "*"),
            };
            return Some(TemporaryWrite { table, effect: TemporaryEffect::Dropped(dropped) });
        }
        let (table, effect) = match statement {
            Statement::Insert(insert) => {
                let TableObject::TableName(name) = &insert.table else { return None };
                (named(name)?, added(insert))
            }
            Statement::Update(update) => {
                let (table, alias) = only_table(&update.table)?;
                let schema = there.get(&table);
                (table, schema.and_then(|schema| updated(update, schema, &alias)))
            }
            Statement::Delete(delete) => {
                let (FromTable::WithFromKeyword(items) | FromTable::WithoutKeyword(items)) = &delete.from;
                let (table, alias) = only_table(items.first()?)?;
                let schema = there.get(&table);
                (table, schema.and_then(|schema| left_by(delete, schema, items, &alias)))
            }
            Statement::Truncate(truncate) => match truncate.table_names.as_slice() {
                [only] => (named(&only.name)?, Some(TemporaryEffect::Emptied)),
                _ => (truncate.table_names.iter().filter_map(|one| named(&one.name)).find(&is_there)?, None),
            },
            Statement::Copy { to: false, source: sqlparser::ast::CopySource::Table { table_name, .. }, .. } => {
                (named(table_name)?, None)
            }
            Statement::Merge(merge) => match &merge.table {
                TableFactor::Table { name, .. } => (named(name)?, None),
                _ => return None,
            },
            _ => return None,
        };
        is_there(&table).then(|| TemporaryWrite { table, effect: effect.unwrap_or(TemporaryEffect::NotTold) })
    }
}

/// So many templates are remembered; what is met after them is parsed each time.
const MOST_TEMPLATES: usize = 100_000;

/// Which statements may do something to a temporary table, by their templates: of the many that only read one, or a view,
/// no more than one text is parsed.
#[derive(Debug, Default)]
pub struct TemporaryTemplates {
    scanner: Scanner,
    known: HashMap<Box<[u8]>, Concern>,
}

/// What the statements of a template may write that is temporary.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Concern {
    Nothing,
    /// This table, where it is.
    Table(TableName),
    /// One that it makes or drops, or one of several.
    Any,
}

impl Concern {
    fn of(statements: &[Statement]) -> Concern {
        let [statement] = statements else { return Concern::Nothing };
        let is_of_one = matches!(
            statement,
            Statement::Query(_)
                | Statement::Insert(_)
                | Statement::Update(_)
                | Statement::Delete(_)
                | Statement::Merge(_)
        );
        if !is_of_one || temporary_table(statement).is_some() {
            return Concern::Any;
        }
        let write = TemporaryWrite::of(statement, &Schemas::new(), |_| true);
        write.map_or(Concern::Nothing, |write| Concern::Table(write.table))
    }
}

impl TemporaryTemplates {
    /// The statement, parsed, where it may write a temporary table that is there, or make or drop one.
    pub fn of_concern(&mut self, sql: &str, is_there: impl Fn(&TableName) -> bool) -> Option<Statement> {
        self.scanner.scan(sql);
        match self.known.get(self.scanner.key()) {
            Some(Concern::Nothing) => return None,
            Some(Concern::Table(table)) if !is_there(table) => return None,
            Some(_) | None => {}
        }
        let mut statements = parse(sql).unwrap_or_default();
        if self.known.len() < MOST_TEMPLATES && !self.known.contains_key(self.scanner.key()) {
            self.known.insert(self.scanner.key().into(), Concern::of(&statements));
        }
        let statement = statements.pop()?;
        statements.is_empty().then_some(statement)
    }
}

/// As an unqualified name is resolved: a temporary table is found before any other of its name.
fn named(name: &ObjectName) -> Option<TableName> {
    let table = table_name(name)?;
    match table.schema.as_ref() {
        "public" if name.0.len() == 1 => Some(table),
        "pg_temp" => Some(TableName::new("public", table.table.as_ref())),
        _ => None,
    }
}

fn made(statement: &Statement) -> Option<TemporaryEffect> {
    match statement {
        Statement::CreateTable(create) => {
            let at_commit = match create.on_commit {
                Some(OnCommit::Drop) => AtCommit::Dropped,
                Some(OnCommit::DeleteRows) => AtCommit::Emptied,
                Some(OnCommit::PreserveRows) | None => AtCommit::Kept,
            };
            let Some(query) = &create.query else {
                let (query, is_declared, columns) = (declared(create)?, true, Vec::new());
                return Some(TemporaryEffect::Made { query, is_declared, columns, at_commit });
            };
            let columns = create.columns.iter().map(|column| ColumnName::from(folded(&column.name))).collect();
            Some(TemporaryEffect::Made { query: query.clone(), is_declared: false, columns, at_commit })
        }
        Statement::Query(query) => {
            let mut query = query.clone();
            let SetExpr::Select(select) = query.body.as_mut() else { return None };
            select.into = None;
            let (is_declared, columns, at_commit) = (false, Vec::new(), AtCommit::Kept);
            Some(TemporaryEffect::Made { query, is_declared, columns, at_commit })
        }
        _ => None,
    }
}

/// A query without rows whose columns have the declared types.
fn declared(create: &CreateTable) -> Option<Box<Query>> {
    if create.like.is_some() || create.columns.is_empty() {
        return None;
    }
    let is_plain = |column: &sqlparser::ast::ColumnDef| {
        column.options.iter().all(|option| {
            use sqlparser::ast::ColumnOption;
            matches!(
                option.option,
                ColumnOption::Null | ColumnOption::NotNull | ColumnOption::PrimaryKey(_) | ColumnOption::Unique(_)
            )
        })
    };
    if !create.columns.iter().all(is_plain) {
        return None;
    }
    let item = |column: &sqlparser::ast::ColumnDef| {
        format!("CAST(NULL AS {}) AS {}", column.data_type, quoted(&folded(&column.name)))
    };
    let items: Vec<String> = create.columns.iter().map(item).collect();
    query_of(&format!("SELECT {} WHERE FALSE", items.join(", ")))
}

fn added(insert: &Insert) -> Option<TemporaryEffect> {
    if insert.on.is_some() || insert.returning.is_some() || !insert.assignments.is_empty() {
        return None;
    }
    let columns: Option<Vec<ColumnName>> =
        insert.columns.iter().map(|column| Some(ColumnName::from(folded(column.0.last()?.as_ident()?)))).collect();
    Some(TemporaryEffect::Added { columns: columns?, query: insert.source.clone()? })
}

fn updated(update: &Update, schema: &TableSchema, alias: &str) -> Option<TemporaryEffect> {
    let is_plain = update.from.is_none()
        && update.returning.is_none()
        && update.limit.is_none()
        && update.order_by.is_empty()
        && update.table.joins.is_empty();
    if !is_plain {
        return None;
    }
    let mut assigned: Vec<(String, String)> = Vec::new();
    for assignment in &update.assignments {
        let AssignmentTarget::ColumnName(name) = &assignment.target else { return None };
        let [column] = name.0.as_slice() else { return None };
        let value = assignment.value.to_string();
        if value.eq_ignore_ascii_case("default") {
            return None;
        }
        assigned.push((folded(column.as_ident()?), value));
    }
    if assigned.iter().any(|(column, _)| schema.column(column).is_none()) {
        return None;
    }
    let items = schema.columns.iter().map(|column| {
        let held = format!("{}.{}", quoted(alias), quoted(&column.name));
        let value = match assigned.iter().find(|(name, _)| *name == *column.name) {
            Some((_, value)) => match &update.selection {
                Some(condition) => format!("CASE WHEN ({condition}) THEN ({value}) ELSE {held} END"),
                None => format!("({value})"),
            },
            None => held,
        };
        format!("{value} AS {}", quoted(&column.name))
    });
    let items: Vec<String> = items.collect();
    let query = query_of(&format!("SELECT {} FROM {}", items.join(", "), update.table))?;
    Some(TemporaryEffect::Changed { query })
}

fn left_by(delete: &Delete, schema: &TableSchema, items: &[TableWithJoins], alias: &str) -> Option<TemporaryEffect> {
    let is_plain = delete.using.is_none() && delete.returning.is_none() && delete.limit.is_none();
    let [item] = items else { return None };
    if !is_plain || !item.joins.is_empty() {
        return None;
    }
    let Some(condition) = &delete.selection else { return Some(TemporaryEffect::Emptied) };
    let columns: Vec<String> =
        schema.columns.iter().map(|column| format!("{}.{}", quoted(alias), quoted(&column.name))).collect();
    let query = query_of(&format!("SELECT {} FROM {item} WHERE ({condition}) IS NOT TRUE", columns.join(", ")))?;
    Some(TemporaryEffect::Changed { query })
}

fn only_table(item: &TableWithJoins) -> Option<(TableName, String)> {
    let TableFactor::Table { name, alias, .. } = &item.relation else { return None };
    let table = named(name)?;
    let alias = alias.as_ref().map_or_else(|| table.table.to_string(), |alias| folded(&alias.name));
    Some((table, alias))
}

fn query_of(sql: &str) -> Option<Box<Query>> {
    match parse(sql).ok()?.into_iter().next()? {
        Statement::Query(query) => Some(query),
        _ => None,
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_writes_nothing_temporary_is_parsed_once_for_its_template() {
        let mut templates = TemporaryTemplates::default();
        let there = |table: &TableName| table.table.as_ref() == "temp_sums";
        let mut concerns = |sql: &str| templates.of_concern(sql, there).is_some();
        // Met for the first time, a text is parsed; what comes of it then is for the caller to see.
        for first in
            ["SELECT temperature FROM t WHERE id = 1", "UPDATE temps SET a = 1", "INSERT INTO temp_sums VALUES (1)"]
        {
            assert!(concerns(first));
        }
        assert!(!concerns("SELECT temperature FROM t WHERE id = 2"));
        assert!(!concerns("UPDATE temps SET a = 2"));
        assert!(concerns("INSERT INTO temp_sums VALUES (2)"));
        assert!(concerns("CREATE TEMP TABLE a AS SELECT 1") && concerns("CREATE TEMP TABLE a AS SELECT 1"));
        assert!(concerns("SELECT 1 INTO TEMP b") && concerns("SELECT 1 INTO TEMP b"));
        assert!(concerns("DISCARD TEMP") && concerns("DISCARD TEMP"));
        assert!(!concerns("SELEC temp"), "what is no SQL");
    }
}
