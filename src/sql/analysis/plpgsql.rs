//! The bodies of routines: SQL statement by statement, PL/pgSQL with its variables, loops, conditions and cursors.

use std::rc::Rc;
use std::sync::Arc;

use sqlparser::ast::{Expr, Statement};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::arena::ColumnId;
use super::dependencies::{Dependencies, Role};
use super::outcome::{InfluenceKind, Via};
use super::rewrite::understood;
use super::routines::Language;
use super::scan::scanned_tables;
use super::scope::{Output, OutputColumn};
use super::statements::NESTED;
use super::walk::Walk;
use super::words::{
    assigned_at, end_of, is_word, keyword, range_ends, split_at_commas, without_into, word, word_at, words,
};
use super::writes::shared;
use crate::model::{ColumnName, TableName};
use crate::sql::SqlError;
use crate::sql::nesting::nesting_bound;

/// The variable that holds what a routine returns. No variable is spelled so.
pub(super) const RETURNED: &str = "";

/// Variables that every routine has: they hold nothing of a table.
const GIVEN: &[&str] = &[
    "found",
    "sqlerrm",
    "sqlstate",
    "tg_argv",
    "tg_level",
    "tg_name",
    "tg_nargs",
    "tg_op",
    "tg_relid",
    "tg_relname",
    "tg_table_name",
    "tg_table_schema",
    "tg_when",
];

/// What decides whether a statement of a routine is run.
#[derive(Clone, Default)]
pub(super) struct Control {
    /// The conditions and loops that stand around it, each with what decides on what is inside.
    levels: Vec<Vec<(ColumnId, InfluenceKind)>>,
    /// Conditions under which it was not reached at all.
    stays: Vec<(ColumnId, InfluenceKind)>,
}

impl Control {
    pub(super) fn deciding(&self) -> impl Iterator<Item = (ColumnId, InfluenceKind)> {
        self.stays.iter().chain(self.levels.iter().flatten()).copied()
    }

    pub(super) fn add(&mut self, decides: Dependencies) {
        self.stays.extend(decides.influences);
    }

    /// The control of a routine that is called here.
    pub(super) fn of_call(&self) -> Control {
        Control { levels: Vec::new(), stays: self.deciding().collect() }
    }
}

/// Where in a body the next piece stands.
#[derive(Default)]
struct Place {
    declaring: bool,
    /// Among the handlers of a block, whose conditions are names of errors.
    handling: bool,
}

impl Walk<'_> {
    /// What the statements of a body read and write.
    pub(super) fn body(&mut self, text: &str, language: Language) {
        let mut tokens = Vec::new();
        if let Err(error) = Tokenizer::new(self.dialect.parser(), text).tokenize_with_location_into_buf(&mut tokens) {
            self.note(SqlError::Parse(error.to_string()));
            return;
        }
        if nesting_bound(&tokens) > NESTED {
            self.scan(&tokens);
            return self.note(SqlError::TooDeep { most: NESTED });
        }
        let mut tokens = understood(tokens);
        tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
        let pieces: Vec<&[TokenWithSpan]> = tokens.split(|token| token.token == Token::SemiColon).collect();
        if language == Language::Sql {
            self.sql_body(&pieces);
            return;
        }
        for name in GIVEN {
            self.variables.entry((*name).into()).or_default();
        }
        // Twice: what a loop sets late it may use early.
        for _ in 0..2 {
            let entered = self.control.clone();
            let mut place = Place::default();
            for piece in &pieces {
                self.piece(piece, &mut place);
            }
            self.control = entered;
        }
    }

    /// What the last statement returns, the routine returns.
    fn sql_body(&mut self, pieces: &[&[TokenWithSpan]]) {
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let output = self.run(piece);
            self.variables.insert(RETURNED.into(), output);
        }
    }

    /// One statement; what it returns.
    fn run(&mut self, tokens: &[TokenWithSpan]) -> Rc<Output> {
        let parsed = Parser::new(self.dialect.parser()).with_tokens_with_locations(tokens.to_vec()).parse_statement();
        match parsed {
            Ok(Statement::Query(query)) => self.query(&query),
            Ok(
                statement @ (Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) | Statement::Merge(_)),
            ) => Rc::new(self.write(&statement)),
            Ok(statement) => {
                self.top(&statement);
                Rc::default()
            }
            Err(error) => {
                self.scan(tokens);
                self.note(SqlError::Parse(error.to_string()));
                Rc::default()
            }
        }
    }

    /// What stands between two semicolons: conditions and loops that begin, and a statement.
    fn piece(&mut self, piece: &[TokenWithSpan], place: &mut Place) {
        let mut rest = piece;
        while let Some(after) = self.structure(rest, place) {
            rest = after;
        }
        if rest.is_empty() {
            return;
        }
        if place.declaring {
            return self.declaration(rest);
        }
        match word_at(rest, 0).as_deref() {
            Some("end") => {
                if matches!(word_at(rest, 1).as_deref(), Some("if" | "loop" | "case")) {
                    self.control.levels.pop();
                }
            }
            Some("return") => self.returns(rest.get(1..).unwrap_or_default()),
            Some("execute") => drop(self.dynamic(rest.get(1..).unwrap_or_default())),
            Some("open") => self.open(rest),
            Some("fetch" | "move") => self.fetch(rest),
            Some("exit" | "continue") => {
                if let Some(when) = rest.iter().position(|token| keyword(token) == Some(Keyword::WHEN)) {
                    self.decide(rest.get(when + 1..).unwrap_or_default());
                }
                self.control_stays();
            }
            Some("raise" | "assert" | "get" | "null" | "close" | "commit" | "rollback") => {
                self.scan(rest);
                if word_at(rest, 0).as_deref() == Some("raise") {
                    self.control_stays();
                }
            }
            Some(first) => {
                let is_statement = matches!(
                    first,
                    "select" | "insert" | "update" | "delete" | "merge" | "with" | "truncate" | "call" | "perform"
                );
                match assigned_at(rest).filter(|_| !is_statement) {
                    Some(at) => {
                        let (to, value) = rest.split_at(at);
                        self.set_variable(to, value.get(1..).unwrap_or_default());
                    }
                    None => self.statement(rest),
                }
            }
            None => self.scan(rest),
        }
    }

    /// What is left behind a word that only structures the body; `None` where a statement begins.
    fn structure<'t>(&mut self, piece: &'t [TokenWithSpan], place: &mut Place) -> Option<&'t [TokenWithSpan]> {
        if piece.first().is_some_and(|token| token.token == Token::ShiftLeft) {
            let end = piece.iter().position(|token| token.token == Token::ShiftRight)?;
            return piece.get(end + 1..);
        }
        let rest = piece.get(1..)?;
        match word_at(piece, 0)?.as_str() {
            "declare" => place.declaring = true,
            "begin" => *place = Place::default(),
            "exception" if !place.declaring => place.handling = true,
            "else" => {}
            "loop" => self.control.levels.push(Vec::new()),
            word @ ("if" | "elsif" | "elseif" | "while") => {
                let end = end_of(rest, &["then", "loop"])?;
                if matches!(word, "if" | "while") {
                    self.control.levels.push(Vec::new());
                }
                self.decide(rest.get(..end)?);
                return rest.get(end + 1..);
            }
            "case" => {
                let when = rest.iter().position(|token| keyword(token) == Some(Keyword::WHEN))?;
                self.control.levels.push(Vec::new());
                if when > 0 {
                    self.decide(rest.get(..when)?);
                }
                return rest.get(when..);
            }
            "when" => {
                let end = end_of(rest, &["then"])?;
                if !place.handling {
                    self.decide(rest.get(..end)?);
                }
                return rest.get(end + 1..);
            }
            "for" | "foreach" => {
                let end = end_of(rest, &["loop"])?;
                self.loops(rest.get(..end)?);
                return rest.get(end + 1..);
            }
            _ => return None,
        }
        Some(rest)
    }

    /// A condition that decides on what follows inside.
    fn decide(&mut self, tokens: &[TokenWithSpan]) {
        let Some(expression) = self.parsed_expression(tokens) else { return self.scan(tokens) };
        let mut decides = Dependencies::default();
        self.condition(&expression, InfluenceKind::Conditional, &mut decides);
        decides.settle();
        if let Some(level) = self.control.levels.last_mut() {
            level.append(&mut decides.influences);
        }
    }

    /// What has decided so far decides on all that follows too: the routine may have been left.
    fn control_stays(&mut self) {
        let Control { levels, stays } = &mut self.control;
        stays.extend(levels.iter().flatten());
        super::dependencies::settle_influences(stays);
    }

    /// `a int := 1`, `c CURSOR FOR SELECT …`.
    fn declaration(&mut self, piece: &[TokenWithSpan]) {
        let Some(name) = word_at(piece, 0).map(ColumnName::from) else { return };
        if let Some(cursor) = piece.iter().take(4).position(|token| is_word(token, "cursor")) {
            let rest = piece.get(cursor..).unwrap_or_default();
            let query = rest.iter().position(|token| matches!(keyword(token), Some(Keyword::FOR | Keyword::IS)));
            if let Some(query) = query.and_then(|at| rest.get(at + 1..)) {
                let output = self.run(query);
                self.variables.insert(name, output);
            }
            return;
        }
        self.variables.entry(Arc::clone(&name)).or_default();
        let given = piece.iter().position(|token| {
            matches!(token.token, Token::Assignment | Token::Eq) || keyword(token) == Some(Keyword::DEFAULT)
        });
        if let Some(value) = given.and_then(|at| piece.get(at + 1..)) {
            self.hold(&name, value);
        }
    }

    /// `FOR … IN …`, `FOREACH … IN ARRAY …` up to LOOP.
    fn loops(&mut self, head: &[TokenWithSpan]) {
        self.control.levels.push(Vec::new());
        let Some(within) = head.iter().position(|token| keyword(token) == Some(Keyword::IN)) else { return };
        let (Some(names), Some(mut over)) = (head.get(..within), head.get(within + 1..)) else { return };
        let names = words(names.split(|token| is_word(token, "slice")).next().unwrap_or_default());
        while word_at(over, 0).is_some_and(|word| matches!(word.as_str(), "reverse" | "array")) {
            over = over.get(1..).unwrap_or_default();
        }
        let output = match word_at(over, 0).as_deref() {
            Some("execute") => self.dynamic(over.get(1..).unwrap_or_default()),
            Some("select" | "with" | "values" | "insert" | "update" | "delete" | "merge") => self.run(over),
            Some(cursor) if over.len() == 1 || over.get(1).is_some_and(|token| token.token == Token::LParen) => {
                match self.variables.get(cursor) {
                    Some(held) if !held.columns.is_empty() => Rc::clone(held),
                    _ => self.held_value(over),
                }
            }
            _ => self.held_value(over),
        };
        if let Some(level) = self.control.levels.last_mut() {
            level.extend_from_slice(&output.rows);
        }
        self.receive(&names, &output);
    }

    /// The numbers or elements that a loop goes through, as one column.
    fn held_value(&mut self, tokens: &[TokenWithSpan]) -> Rc<Output> {
        let mut dependencies = Dependencies::default();
        for part in range_ends(tokens) {
            match self.parsed_expression(part) {
                Some(expression) => {
                    self.expression(&expression, Role::Value(Via::Transform), &mut dependencies);
                }
                None => self.scan(part),
            }
        }
        Rc::new(Output { columns: vec![OutputColumn::Named { name: RETURNED.into(), dependencies }], rows: Vec::new() })
    }

    fn open(&mut self, piece: &[TokenWithSpan]) {
        let query = piece.iter().position(|token| keyword(token) == Some(Keyword::FOR));
        let Some(query) = query.and_then(|at| piece.get(at + 1..)) else { return };
        let output = match word_at(query, 0).as_deref() {
            Some("execute") => self.dynamic(query.get(1..).unwrap_or_default()),
            _ => self.run(query),
        };
        if let Some(cursor) = word_at(piece, 1) {
            self.add_to_variable(&cursor.into(), &output);
        }
    }

    fn fetch(&mut self, piece: &[TokenWithSpan]) {
        let into = piece.iter().position(|token| keyword(token) == Some(Keyword::INTO));
        let (cursor, names) = match into {
            Some(at) => (piece.get(..at), words(piece.get(at + 1..).unwrap_or_default())),
            None => (Some(piece), Vec::new()),
        };
        let cursor = cursor.and_then(<[TokenWithSpan]>::last).and_then(word);
        if let Some(output) = cursor.and_then(|cursor| self.variables.get(cursor.as_str()).cloned()) {
            self.receive(&names, &output);
        }
    }

    /// `RETURN`, `RETURN NEXT`, `RETURN QUERY`.
    fn returns(&mut self, rest: &[TokenWithSpan]) {
        let rest_of = |from: usize| rest.get(from..).unwrap_or_default();
        match word_at(rest, 0).as_deref() {
            Some("query") => {
                let output = match word_at(rest, 1).as_deref() {
                    Some("execute") => self.dynamic(rest_of(2)),
                    _ => self.run(rest_of(1)),
                };
                self.return_columns(&output);
            }
            // What a trigger returns is its row.
            Some("new" | "old") if self.trigger_row.is_some() => {}
            Some("next") => self.hold_returned(rest_of(1)),
            _ => self.hold_returned(rest),
        }
        self.control_stays();
    }

    fn hold_returned(&mut self, value: &[TokenWithSpan]) {
        if let [token] = value
            && let Some(held) = word(token).and_then(|name| self.variables.get(name.as_str()).cloned())
        {
            return self.return_columns(&held);
        }
        if !value.is_empty() {
            self.hold(&RETURNED.into(), value);
        }
    }

    /// Lays returned columns on those returned before, by place.
    fn return_columns(&mut self, output: &Output) {
        let mut output = self.decided(output);
        let Some(held) = self.variables.get(RETURNED).filter(|held| !held.columns.is_empty()).cloned() else {
            self.variables.insert(RETURNED.into(), Rc::new(output));
            return;
        };
        for (column, before) in output.columns.iter_mut().zip(&held.columns) {
            if let (OutputColumn::Named { dependencies, .. }, OutputColumn::Named { dependencies: more, .. }) =
                (column, before)
            {
                dependencies.absorb(more, Role::Value(Via::Copy));
                dependencies.settle();
            }
        }
        output.rows.extend_from_slice(&held.rows);
        super::dependencies::settle_influences(&mut output.rows);
        self.variables.insert(RETURNED.into(), Rc::new(output));
    }

    /// The output with what decided that it is computed at all.
    fn decided(&self, output: &Output) -> Output {
        let mut decided = Output { columns: output.columns.clone(), rows: output.rows.clone() };
        decided.rows.extend(self.control.deciding());
        decided
    }

    /// A statement, with the variables that take what it returns.
    fn statement(&mut self, tokens: &[TokenWithSpan]) {
        let (sql, into) = without_into(tokens);
        let output = self.run(&sql);
        self.receive(&into, &output);
    }

    /// EXECUTE of a text: followed where the text is written there, with what USING gives for its parameters.
    fn dynamic(&mut self, rest: &[TokenWithSpan]) -> Rc<Output> {
        let end = rest
            .iter()
            .position(|token| matches!(keyword(token), Some(Keyword::INTO | Keyword::USING)))
            .unwrap_or(rest.len());
        let (text, tail) = rest.split_at(end);
        self.scan(text);
        let written = match text {
            [TokenWithSpan { token: Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text), .. }] => text,
            [TokenWithSpan { token: Token::DollarQuotedString(text), .. }] => &text.value,
            _ => {
                self.note(SqlError::Unsupported("an EXECUTE of a text made at run time".to_owned()));
                return Rc::default();
            }
        };
        let mut tokens = Vec::new();
        if let Err(error) = Tokenizer::new(self.dialect.parser(), written).tokenize_with_location_into_buf(&mut tokens)
        {
            self.note(SqlError::Parse(error.to_string()));
            return Rc::default();
        }
        if nesting_bound(&tokens) > NESTED {
            self.scan(&tokens);
            self.note(SqlError::TooDeep { most: NESTED });
            return Rc::default();
        }
        let using = tail.iter().position(|token| keyword(token) == Some(Keyword::USING));
        let given = using.and_then(|at| tail.get(at + 1..)).unwrap_or_default();
        let outside = self.give_parameters(given);
        let output = self.run(&understood(tokens));
        for (name, held) in outside {
            match held {
                Some(held) => self.variables.insert(name, held),
                None => self.variables.remove(&name),
            };
        }
        let into = tail.iter().position(|token| keyword(token) == Some(Keyword::INTO));
        if let Some(names) = into.and_then(|at| tail.get(at + 1..)) {
            let names = names.split(|token| keyword(token) == Some(Keyword::USING)).next().unwrap_or_default();
            self.receive(&words(names), &output);
        }
        output
    }

    /// Lets `$1`, `$2` … hold the values of USING; what they held before is returned.
    fn give_parameters(&mut self, given: &[TokenWithSpan]) -> Vec<(ColumnName, Option<Rc<Output>>)> {
        let mut outside = Vec::new();
        for (place, value) in split_at_commas(given).into_iter().enumerate().filter(|(_, value)| !value.is_empty()) {
            let held = self.held_value(value);
            let name: ColumnName = format!("${}", place + 1).into();
            outside.push((Arc::clone(&name), self.variables.insert(name, held)));
        }
        outside
    }

    /// One variable takes the whole row; several take a column each.
    fn receive(&mut self, into: &[ColumnName], output: &Rc<Output>) {
        match into {
            [] => {}
            [row] => self.add_to_variable(row, output),
            variables => {
                for (variable, column) in variables.iter().zip(&output.columns) {
                    self.add_to_variable(
                        variable,
                        &Output { columns: vec![column.clone()], rows: output.rows.clone() },
                    );
                }
            }
        }
    }

    fn add_to_variable(&mut self, variable: &ColumnName, output: &Output) {
        let mut output = self.decided(output);
        for column in &mut output.columns {
            if let OutputColumn::Named { dependencies, .. } = column {
                dependencies.influences.extend_from_slice(&output.rows);
                dependencies.settle();
            }
        }
        let held = self.variables.entry(Arc::clone(variable)).or_default();
        let mut columns = held.columns.clone();
        for column in output.columns {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        *held = Rc::new(Output { columns, rows: Vec::new() });
    }

    /// `v := value`, `NEW.column := value`.
    fn set_variable(&mut self, to: &[TokenWithSpan], value: &[TokenWithSpan]) {
        let names = words(to.split(|token| token.token == Token::LBracket).next().unwrap_or_default());
        match (names.as_slice(), self.trigger_row) {
            ([row, column], Some(table)) if **row == *"new" => {
                let mut dependencies = Dependencies::default();
                match self.parsed_expression(value) {
                    Some(expression) => self.expression(&expression, Role::Value(Via::Copy), &mut dependencies),
                    None => self.scan(value),
                }
                self.assign(Some(table), column, dependencies, &shared(Dependencies::default()));
            }
            // A definition alone says nothing of the row that it will be fired for.
            ([row, _], None) if **row == *"new" => {
                if let Some(expression) = self.parsed_expression(value) {
                    self.condition(&expression, InfluenceKind::Conditional, &mut Dependencies::default());
                }
            }
            ([variable, ..], _) => self.hold(variable, value),
            _ => self.scan(value),
        }
    }

    /// Lets a variable hold the value of an expression, or of a query without its SELECT.
    fn hold(&mut self, variable: &ColumnName, value: &[TokenWithSpan]) {
        let Some(expression) = self.parsed_expression(value) else {
            let Some(first) = value.first() else { return };
            let select = TokenWithSpan { token: Token::make_keyword("SELECT"), span: first.span };
            let query: Vec<TokenWithSpan> = std::iter::once(select).chain(value.iter().cloned()).collect();
            let output = self.run(&query);
            return self.add_to_variable(variable, &output);
        };
        let mut dependencies = Dependencies::default();
        self.expression(&expression, Role::Value(Via::Copy), &mut dependencies);
        let column = OutputColumn::Named { name: Arc::clone(variable), dependencies };
        self.add_to_variable(variable, &Output { columns: vec![column], rows: Vec::new() });
    }

    /// The expression that the tokens are, all of them.
    fn parsed_expression(&self, tokens: &[TokenWithSpan]) -> Option<Expr> {
        let mut parser = Parser::new(self.dialect.parser()).with_tokens_with_locations(tokens.to_vec());
        let expression = parser.parse_expr().ok()?;
        (parser.peek_token_ref().token == Token::EOF).then_some(expression)
    }

    /// The tables that a scan sees in tokens which are not analysed themselves.
    fn scan(&mut self, tokens: &[TokenWithSpan]) {
        let words: Vec<Token> = tokens.iter().map(|token| token.token.clone()).collect();
        for (name, written) in scanned_tables(&words) {
            let table: TableName = self.schema.resolve(&name, self.dialect);
            let id = self.arena.table(&table);
            if written { self.writes(id) } else { self.reads(id) }
        }
    }
}
