//! One whole statement, of whatever kind.

use sqlparser::ast::{CopyIntoSnowflakeKind, CopySource, ObjectType, Query, SetExpr, Statement};
use sqlparser::tokenizer::Token;

use super::StatementKind;
use super::dependencies::{Dependencies, Role};
use super::outcome::Via;
use super::routines::{Event, Language, routine_of};
use super::scope::OutputColumn;
use super::walk::{Rows, Walk};
use super::writes::shared;
use crate::sql::SqlError;

impl Walk<'_> {
    /// Takes in a whole statement.
    pub(super) fn top(&mut self, statement: &Statement) -> StatementKind {
        match statement {
            Statement::Query(query) => self.top_query(query),
            Statement::Insert(_) => self.top_write(statement, StatementKind::Insert),
            Statement::Update(_) => self.top_write(statement, StatementKind::Update),
            Statement::Delete(_) => self.top_write(statement, StatementKind::Delete),
            Statement::Merge(_) => self.top_write(statement, StatementKind::Merge),
            Statement::CreateTable(create) => {
                self.create_table(create);
                StatementKind::CreateTable
            }
            Statement::CreateView(create) => {
                self.create_view(create);
                if create.materialized { StatementKind::CreateMaterializedView } else { StatementKind::CreateView }
            }
            Statement::AlterTable(alter) => {
                self.alter_table(alter);
                StatementKind::Alter
            }
            Statement::RenameTable(renames) => {
                for rename in renames {
                    let from = self.schema.resolve(&rename.old_name, self.dialect);
                    let to = self.schema.created(&rename.new_name, false, self.dialect);
                    self.copy_of(&from, to);
                }
                StatementKind::Alter
            }
            Statement::Truncate(truncate) => {
                for table in &truncate.table_names {
                    let target = self.target(&table.name, None);
                    self.fire(&target, Event::Truncate, &Rows::default());
                }
                StatementKind::Truncate
            }
            Statement::Copy { source, to, .. } => {
                self.copy(source, *to);
                StatementKind::Copy
            }
            Statement::Drop { object_type, names, .. } => {
                if matches!(object_type, ObjectType::Table | ObjectType::View | ObjectType::MaterializedView) {
                    for name in names {
                        self.target(name, None);
                    }
                }
                StatementKind::Drop
            }
            other => self.top_other(other),
        }
    }

    /// Routines, and statements that run others.
    fn top_other(&mut self, statement: &Statement) -> StatementKind {
        match statement {
            Statement::CreateFunction(create) => {
                if let Some(routine) = routine_of(create) {
                    let name = self.schema.created(&create.name, false, self.dialect);
                    self.definition(&name, routine);
                }
                StatementKind::CreateRoutine
            }
            Statement::CreateProcedure { body, .. } => {
                for statement in body.statements() {
                    match statement {
                        Statement::Query(query) => drop(self.query(query)),
                        other => drop(self.top(other)),
                    }
                }
                StatementKind::CreateRoutine
            }
            Statement::CreateTrigger(_) => StatementKind::CreateTrigger,
            // Files are no tables: of a query that fills them only what it reads is known.
            Statement::Directory { source: query, .. } | Statement::Unload { query: Some(query), .. } => {
                self.query(query);
                StatementKind::Copy
            }
            Statement::Unload { query_text: Some(text), .. } => {
                self.body(text, Language::Sql);
                StatementKind::Copy
            }
            Statement::CopyIntoSnowflake { kind, into, from_query, .. } => {
                if *kind == CopyIntoSnowflakeKind::Table {
                    self.target(into, None);
                }
                if let Some(query) = from_query {
                    self.query(query);
                }
                StatementKind::Copy
            }
            Statement::Call(function) => {
                let arguments = self.arguments(&function.args);
                self.call(&function.name, &arguments);
                StatementKind::Call
            }
            Statement::Prepare { .. } => StatementKind::Prepare,
            Statement::Execute { name: Some(name), .. } => {
                match super::writes::last_name(name).and_then(|name| self.schema.prepared(&name)) {
                    Some(prepared) => drop(self.top(&prepared)),
                    None => self.note(SqlError::Unsupported(format!("the prepared statement {name}: it is not known"))),
                }
                StatementKind::Execute
            }
            Statement::Declare { stmts } => {
                for query in stmts.iter().filter_map(|declare| declare.for_query.as_ref()) {
                    self.top_query(query);
                }
                StatementKind::DeclareCursor
            }
            Statement::Fetch { name, .. } => {
                match self.schema.cursor(&super::scope::spelled(name)) {
                    Some(query) => drop(self.top_query(&query)),
                    None => self.note(SqlError::Unsupported(format!("the cursor {name}: it is not known"))),
                }
                StatementKind::Fetch
            }
            Statement::Explain { analyze, statement, .. } if *analyze => self.top(statement),
            _ => StatementKind::Other,
        }
    }

    /// Statements of PostgreSQL's that the parser does not know.
    pub(super) fn beyond_the_parser(&mut self, tokens: &[Token]) -> Option<StatementKind> {
        let is =
            |token: &Token, word: &str| matches!(token, Token::Word(found) if found.value.eq_ignore_ascii_case(word));
        let (first, rest) = tokens.split_first()?;
        if is(first, "do") {
            let body = rest.iter().find_map(|token| match token {
                Token::DollarQuotedString(text) => Some(text.value.as_str()),
                Token::SingleQuotedString(text) => Some(text.as_str()),
                _ => None,
            })?;
            self.body(body, Language::PlPgSql);
            return Some(StatementKind::Do);
        }
        let [materialized, view, rest @ ..] = rest else { return None };
        if !(is(first, "refresh") && is(materialized, "materialized") && is(view, "view")) {
            return None;
        }
        let mut parts = Vec::new();
        for token in rest {
            match token {
                Token::Word(word) if word.value.eq_ignore_ascii_case("concurrently") && parts.is_empty() => {}
                Token::Word(word) if word.value.eq_ignore_ascii_case("with") => break,
                Token::Word(word) => parts.push(word.to_ident(sqlparser::tokenizer::Span::empty())),
                Token::Period => {}
                _ => break,
            }
        }
        let table = self.schema.resolve(&sqlparser::ast::ObjectName::from(parts), self.dialect);
        match self.schema.shape(&table).and_then(|shape| shape.filled.clone()) {
            Some(filled) => self.refill(table, &filled),
            None => {
                self.target_table(table, None);
            }
        }
        Some(StatementKind::Refresh)
    }

    /// A query that returns its rows to the client; one around a write is that write.
    fn top_query(&mut self, query: &Query) -> StatementKind {
        let kind = match query.body.as_ref() {
            SetExpr::Insert(_) => StatementKind::Insert,
            SetExpr::Update(_) => StatementKind::Update,
            SetExpr::Delete(_) => StatementKind::Delete,
            SetExpr::Merge(_) => StatementKind::Merge,
            SetExpr::Select(select) if select.into.is_some() => StatementKind::CreateTable,
            _ => StatementKind::Select,
        };
        let output = self.query(query);
        if kind == StatementKind::Select {
            let rows = shared(Dependencies { sources: Vec::new(), influences: output.rows.clone() });
            for column in &output.columns {
                let name = column.name().cloned().unwrap_or_else(|| "*".into());
                let mut dependencies = Dependencies::default();
                match column {
                    OutputColumn::Named { dependencies: own, .. } => dependencies = own.clone(),
                    OutputColumn::AllOf(_) => self.absorb_column(column, Role::Value(Via::Copy), &mut dependencies),
                }
                self.assign(None, &name, dependencies, &rows);
            }
            if output.columns.is_empty() && !rows.is_empty() {
                self.assign(None, &"*".into(), Dependencies::default(), &rows);
            }
        }
        kind
    }

    fn top_write(&mut self, statement: &Statement, kind: StatementKind) -> StatementKind {
        self.write(statement);
        kind
    }

    fn copy(&mut self, source: &CopySource, to: bool) {
        match source {
            CopySource::Table { table_name, .. } if to => {
                self.relation_named(table_name, None);
            }
            CopySource::Table { table_name, columns } => {
                let target = self.target(table_name, None);
                let names = columns.iter().map(|column| super::scope::spelled(column).into());
                let names: Vec<_> = match (&target.shape, columns.as_slice()) {
                    (Some(shape), []) => shape.given().cloned().collect(),
                    (None, []) => vec!["*".into()],
                    _ => names.collect(),
                };
                let given =
                    names.into_iter().map(|name| OutputColumn::Named { name, dependencies: Dependencies::default() });
                let rows = shared(Dependencies::default());
                self.assign_all(&target, &given.collect::<Vec<_>>(), &rows);
                self.fire(&target, Event::Insert, &rows);
            }
            CopySource::Query(query) => {
                self.query(query);
            }
        }
    }
}
