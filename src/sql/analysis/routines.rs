//! Functions, procedures, triggers and DO blocks: what their bodies read and write, in SQL and PL/pgSQL.

use std::rc::Rc;
use std::sync::Arc;

use sqlparser::ast::{
    CreateFunction, CreateFunctionBody, CreateTrigger, Expr, ObjectName, Statement, TriggerEvent, Value,
};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::dependencies::{Dependencies, Role};
use super::outcome::Via;
use super::scan::scanned_tables;
use super::scope::{Output, OutputColumn, Relation, Scope, spelled};
use super::walk::Walk;
use super::writes::{Target, last_name, shared};
use crate::model::{ColumnName, TableName};
use crate::sql::SqlError;

/// A function or procedure that is defined.
#[derive(Clone, Debug)]
pub(super) struct Routine {
    pub(super) parameters: Vec<ColumnName>,
    pub(super) body: Arc<str>,
}

/// A trigger that is defined.
#[derive(Clone, Debug)]
pub(super) struct Trigger {
    pub(super) name: ColumnName,
    pub(super) events: Vec<TriggerEvent>,
    pub(super) routine: ColumnName,
}

/// What happens to a table's rows, as triggers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Insert,
    Update,
    Delete,
}

/// How deep routines and triggers may call one another.
const CALL_DEPTH: usize = 8;

/// The routine that a statement defines, where its body is a text.
pub(super) fn routine_of(create: &CreateFunction) -> Option<Routine> {
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
        CreateFunctionBody::AsBeginEnd(block) => block.to_string(),
    };
    let parameters = create.args.iter().flatten().filter_map(|argument| argument.name.as_ref());
    Some(Routine { parameters: parameters.map(|name| spelled(name).into()).collect(), body: body.into() })
}

pub(super) fn trigger_of(create: &CreateTrigger) -> Option<Trigger> {
    let routine = last_name(&create.exec_body.as_ref()?.func_desc.name)?;
    Some(Trigger { name: last_name(&create.name)?, events: create.events.clone(), routine })
}

impl Walk<'_> {
    /// What calling a routine reads and writes, where its body is known.
    pub(super) fn call(&mut self, name: &ObjectName) {
        let routine = last_name(name).and_then(|name| self.schema.routine(&name).cloned());
        match routine {
            Some(routine) => self.routine(&routine),
            None => self.note(SqlError::Unsupported(format!("what {name} does: its definition is not known"))),
        }
    }

    /// What the body of a routine reads and writes.
    pub(super) fn routine(&mut self, routine: &Routine) {
        if self.calls >= CALL_DEPTH {
            self.note(SqlError::Unsupported(format!("routines that call one another more than {CALL_DEPTH} deep")));
            return;
        }
        self.calls += 1;
        let outside = std::mem::take(&mut self.variables);
        for parameter in &routine.parameters {
            self.variables.insert(Arc::clone(parameter), Rc::default());
        }
        self.body(&routine.body);
        self.variables = outside;
        self.calls -= 1;
    }

    /// Takes in what the triggers of a table do when it is written.
    pub(super) fn fire(&mut self, target: &Target, event: Event) {
        let triggers: Vec<Trigger> = self.schema.triggers(&target.name).to_vec();
        for trigger in triggers.iter().filter(|trigger| trigger.events.iter().any(|of| fits(of, event))) {
            let Some(routine) = self.schema.routine(&trigger.routine).cloned() else {
                self.note(SqlError::Unsupported(format!(
                    "what trigger {} does: the definition of {} is not known",
                    trigger.name, trigger.routine
                )));
                continue;
            };
            let relations = ["new", "old"].map(|alias| Relation { alias: alias.into(), ..target.relation() });
            let scopes = std::mem::replace(&mut self.scopes, vec![Scope { rows_of_trigger: true, ..Scope::default() }]);
            if let Some(scope) = self.scopes.last_mut() {
                scope.relations.extend(relations);
            }
            let row = self.trigger_row.replace(target.id);
            self.routine(&routine);
            self.trigger_row = row;
            self.scopes = scopes;
        }
    }

    /// The statements of a body, twice: what a loop sets late it may use early.
    pub(super) fn body(&mut self, text: &str) {
        let mut tokens = Vec::new();
        if let Err(error) = Tokenizer::new(self.dialect.parser(), text).tokenize_with_location_into_buf(&mut tokens) {
            self.note(SqlError::Parse(error.to_string()));
            return;
        }
        tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
        for _ in 0..2 {
            let mut declaring = false;
            for piece in tokens.split(|token| token.token == Token::SemiColon) {
                self.piece(piece, &mut declaring);
            }
        }
    }

    fn piece(&mut self, piece: &[TokenWithSpan], declaring: &mut bool) {
        let mut piece = piece;
        while let Some((first, rest)) = piece.split_first() {
            match keyword(first) {
                Some(Keyword::DECLARE) => *declaring = true,
                Some(Keyword::BEGIN) => *declaring = false,
                _ => break,
            }
            piece = rest;
        }
        if *declaring && let Some(Token::Word(word)) = piece.first().map(|token| &token.token) {
            self.variables.entry(word.value.to_lowercase().into()).or_default();
        }
        if let Some(place) = piece.iter().position(|token| token.token == Token::Assignment) {
            let (Some(to), Some(value)) = (piece.get(..place), piece.get(place + 1..)) else { return };
            return self.set_variable(to, value);
        }
        match sql_within(piece) {
            Some(place) => self.statement_within(piece, place),
            None => self.scan(piece),
        }
    }

    /// A statement that stands in a control structure, or by itself.
    fn statement_within(&mut self, piece: &[TokenWithSpan], place: usize) {
        let (Some(before), Some(rest)) = (piece.get(..place), piece.get(place..)) else { return };
        self.scan(before);
        let end = rest.iter().position(|token| is_word(token, "loop")).unwrap_or(rest.len());
        let (sql, mut into) = without_into(rest.get(..end).unwrap_or_default());
        // FOR r IN SELECT …: r is each row in turn.
        if let [.., variable, within] = before
            && keyword(within) == Some(Keyword::IN)
            && let Token::Word(word) = &variable.token
        {
            into = vec![word.value.to_lowercase().into()];
        }
        let parsed = Parser::new(self.dialect.parser()).with_tokens_with_locations(sql.clone()).parse_statement();
        match parsed {
            Ok(Statement::Query(query)) => {
                let output = self.query(&query);
                self.receive(&into, &output);
            }
            Ok(statement) => {
                if into.is_empty() {
                    self.top(&statement);
                } else {
                    let output = Rc::new(self.write(&statement));
                    self.receive(&into, &output);
                }
            }
            Err(error) => {
                self.scan(&sql);
                self.note(SqlError::Parse(error.to_string()));
            }
        }
        if let Some(body) = rest.get(end + 1..).filter(|body| !body.is_empty()) {
            self.piece(body, &mut false);
        }
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
        let mut output = Output { columns: output.columns.clone(), rows: output.rows.clone() };
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
        let parsed = Parser::new(self.dialect.parser()).with_tokens_with_locations(value.to_vec()).parse_expr();
        let expression = match parsed {
            Ok(expression) => expression,
            Err(error) => return self.note(SqlError::Parse(error.to_string())),
        };
        let mut dependencies = Dependencies::default();
        self.expression(&expression, Role::Value(Via::Copy), &mut dependencies);
        let words: Vec<ColumnName> = to
            .iter()
            .filter_map(|token| match &token.token {
                Token::Word(word) => Some(word.value.to_lowercase().into()),
                _ => None,
            })
            .collect();
        match (words.as_slice(), self.trigger_row) {
            ([.., row, column], Some(table)) if **row == *"new" => {
                self.assign(Some(table), column, dependencies, &shared(Dependencies::default()));
            }
            ([.., variable], _) => {
                let name = Arc::clone(variable);
                let column = OutputColumn::Named { name: Arc::clone(variable), dependencies };
                self.add_to_variable(&name, &Output { columns: vec![column], rows: Vec::new() });
            }
            _ => {}
        }
    }

    /// The tables that a scan sees in tokens which are not analysed themselves.
    fn scan(&mut self, tokens: &[TokenWithSpan]) {
        let words: Vec<Token> = tokens.iter().map(|token| token.token.clone()).collect();
        if words.iter().any(|token| matches!(token, Token::Word(word) if word.keyword == Keyword::EXECUTE)) {
            self.note(SqlError::Unsupported("an EXECUTE of a text made at run time".to_owned()));
        }
        let tables = scanned_tables(&words);
        for (name, written) in tables {
            let table: TableName = self.schema.resolve(&name, self.dialect);
            let id = self.arena.table(&table);
            if written { self.writes(id) } else { self.reads(id) }
        }
    }
}

fn fits(trigger: &TriggerEvent, event: Event) -> bool {
    matches!(
        (trigger, event),
        (TriggerEvent::Insert, Event::Insert)
            | (TriggerEvent::Update(_), Event::Update)
            | (TriggerEvent::Delete, Event::Delete)
    )
}

fn keyword(token: &TokenWithSpan) -> Option<Keyword> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

/// Where a statement begins in a piece of PL/pgSQL: outside parentheses.
fn sql_within(piece: &[TokenWithSpan]) -> Option<usize> {
    let mut depth = 0_usize;
    piece.iter().position(|token| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let begins = matches!(
            keyword(token),
            Some(
                Keyword::SELECT
                    | Keyword::INSERT
                    | Keyword::UPDATE
                    | Keyword::DELETE
                    | Keyword::MERGE
                    | Keyword::WITH
                    | Keyword::TRUNCATE
                    | Keyword::CALL
            )
        );
        depth == 0 && (begins || is_perform(token))
    })
}

fn is_perform(token: &TokenWithSpan) -> bool {
    is_word(token, "perform")
}

fn is_word(token: &TokenWithSpan, wanted: &str) -> bool {
    matches!(&token.token, Token::Word(word) if word.value.eq_ignore_ascii_case(wanted))
}

/// The statement without the INTO of its variables, which are returned beside it.
fn without_into(tokens: &[TokenWithSpan]) -> (Vec<TokenWithSpan>, Vec<ColumnName>) {
    let (mut kept, mut into): (Vec<TokenWithSpan>, Vec<ColumnName>) = (Vec::new(), Vec::new());
    let mut rest = tokens.iter().peekable();
    let mut depth = 0_usize;
    while let Some(token) = rest.next() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let after_verb = kept.last().and_then(keyword);
        let of_verb = matches!(after_verb, Some(Keyword::INSERT | Keyword::MERGE | Keyword::OVERWRITE));
        if depth == 0 && keyword(token) == Some(Keyword::INTO) && !of_verb {
            loop {
                match rest.next_if(|next| matches!(&next.token, Token::Word(_))).map(|next| &next.token) {
                    Some(Token::Word(word)) if word.value.eq_ignore_ascii_case("strict") => continue,
                    Some(Token::Word(word)) => into.push(word.value.to_lowercase().into()),
                    _ => break,
                }
                while rest.next_if(|next| next.token == Token::Period).is_some() {
                    rest.next();
                }
                if rest.next_if(|next| next.token == Token::Comma).is_none() {
                    break;
                }
            }
        } else if is_perform(token) && kept.is_empty() {
            kept.push(TokenWithSpan { token: Token::make_keyword("SELECT"), span: token.span });
        } else {
            kept.push(token.clone());
        }
    }
    (kept, into)
}
