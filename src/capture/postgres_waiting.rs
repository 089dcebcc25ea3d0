//! What is known of a session's execution while more of its lines may follow: who told of it, and which line is the same
//! execution once more.

use std::sync::Arc;

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::postgres_audit::AuditLine;
use crate::model::{LogEvent, Timestamp, TransactionId};

/// Who told first of an execution. What an extension tells, the server may tell once more, with more about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Teller {
    Server,
    AutoExplain,
    Pgaudit,
}

/// What pgaudit last told of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Audited {
    /// The statement's number.
    pub(super) statement: u64,
    /// See [`AuditLine::may_be_nested`].
    pub(super) may_be_nested: bool,
}

/// An execution that the server has told to its end, and of which an extension may tell only when its portal is closed.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    sql: Arc<str>,
    virtual_transaction: Arc<str>,
    is_planned: bool,
    is_audited: bool,
}

/// What a line of pgaudit's is to the execution that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuditVerdict {
    /// That one, or what runs within it.
    Part,
    /// The statement within which what waits has run.
    Outer,
    /// Another one.
    Another,
}

/// A session's execution that has begun.
#[derive(Debug)]
pub(super) struct Waiting {
    /// As its first line tells it; `None` where it was told before: rows are fetched from it, or it has ended.
    pub(super) event: Option<LogEvent>,
    /// The number that the session's next line must have; `None` where the log does not number them.
    pub(super) next_number: Option<u64>,
    pub(super) teller: Teller,
    /// Whether it runs by a portal, which may be closed only after it has been told to its end.
    pub(super) by_portal: bool,
    /// Whether auto_explain has told of it.
    pub(super) is_planned: bool,
    pub(super) audited: Option<Audited>,
    /// Beside it, or in its place.
    pub(super) ended: Option<Ended>,
}

impl Waiting {
    pub(super) fn new(event: Option<LogEvent>, next_number: Option<u64>, teller: Teller) -> Waiting {
        let is_planned = teller == Teller::AutoExplain;
        Waiting { event, next_number, teller, by_portal: false, is_planned, audited: None, ended: None }
    }

    /// An execution by a portal that has just been told to its end, where an extension may still tell of it.
    pub(super) fn ended(
        ended: &LogEvent,
        is_planned: bool,
        is_audited: bool,
        next_number: Option<u64>,
    ) -> Option<Self> {
        let (sql, virtual_transaction) = (ended.sql.as_ref()?, ended.virtual_transaction.as_ref()?);
        let is_open = !(is_planned && is_audited) && closes_with_its_portal(sql);
        is_open.then(|| Waiting {
            ended: Some(Ended {
                sql: Arc::clone(sql),
                virtual_transaction: Arc::clone(virtual_transaction),
                is_planned,
                is_audited,
            }),
            ..Waiting::new(None, next_number, Teller::Server)
        })
    }

    pub(super) fn is_of(&self, sql: &str) -> bool {
        self.event.as_ref().is_some_and(|event| event.sql.as_deref() == Some(sql))
    }

    /// Whether it is known to be in this transaction: what has no id is in none that could be told.
    pub(super) fn is_in(&self, virtual_transaction: Option<&Arc<str>>) -> bool {
        let own = self.event.as_ref().and_then(|event| event.virtual_transaction.as_ref());
        own.is_some() && own == virtual_transaction
    }

    pub(super) fn started(&self) -> Option<Timestamp> {
        self.event.as_ref().map(|event| event.started)
    }

    /// Whether its text holds several statements, each of which is told, headed by the whole text.
    fn has_several_statements(&self) -> bool {
        let text =
            self.event.as_ref().filter(|event| event.parameters.is_empty()).and_then(|event| event.sql.as_deref());
        text.is_some_and(has_several_statements)
    }

    /// Whether it is an `EXECUTE`, which is planned under the text that prepared its statement.
    fn runs_prepared(&self) -> bool {
        self.event.as_ref().and_then(|event| event.sql.as_deref()).is_some_and(is_execute)
    }

    /// Whether the server, which tells this text, means the execution that an extension has told of before.
    pub(super) fn is_told_as(&self, sql: &str) -> bool {
        let is_prepared = self.event.as_ref().is_some_and(|event| event.prepared.is_some());
        self.teller != Teller::Server && self.ended.is_none() && (self.is_of(sql) || is_prepared && is_execute(sql))
    }

    /// Whether a plan of this text belongs to it: it was told by `log_statement` or pgaudit, or another of its several
    /// statements was planned before.
    pub(super) fn is_planned_by(&self, sql: &str, virtual_transaction: Option<&Arc<str>>) -> bool {
        let is_same = self.is_of(sql) || self.runs_prepared() && prepares(sql);
        is_same
            && (self.teller != Teller::AutoExplain || self.is_in(virtual_transaction) && self.has_several_statements())
    }

    /// What a line of pgaudit's in this transaction is to it.
    pub(super) fn verdict(&self, audit: &AuditLine, virtual_transaction: Option<&Arc<str>>) -> AuditVerdict {
        let is_part = match self.audited {
            Some(told) if told.statement == audit.statement => {
                let is_outer = self.teller == Teller::Pgaudit && told.may_be_nested;
                return if is_outer { AuditVerdict::Outer } else { AuditVerdict::Part };
            }
            Some(_) => {
                self.is_in(virtual_transaction)
                    && (self.teller == Teller::Server || self.is_of(&audit.sql))
                    && self.has_several_statements()
            }
            None => match self.teller {
                Teller::Server => self.is_of(&audit.sql) || self.is_in(virtual_transaction),
                Teller::AutoExplain | Teller::Pgaudit => self.is_of(&audit.sql) && self.is_in(virtual_transaction),
            },
        };
        if is_part { AuditVerdict::Part } else { AuditVerdict::Another }
    }

    /// Whether a plan of this text is of the execution that has ended; of each there is one.
    pub(super) fn takes_plan(&mut self, sql: &str, virtual_transaction: Option<&Arc<str>>) -> bool {
        let ended = self.ended.as_mut().filter(|ended| !ended.is_planned && ended.is(sql, virtual_transaction));
        ended.map(|ended| ended.is_planned = true).is_some()
    }

    /// Whether a line of pgaudit's is of the execution that has ended. What waits with its number has run within it.
    pub(super) fn takes_audit(&mut self, audit: &AuditLine, virtual_transaction: Option<&Arc<str>>) -> bool {
        let ended = self.ended.as_mut().filter(|ended| !ended.is_audited && ended.is(&audit.sql, virtual_transaction));
        let is_taken = ended.map(|ended| ended.is_audited = true).is_some();
        if is_taken && self.audited.is_some_and(|told| told.statement == audit.statement) {
            self.event = None;
        }
        is_taken
    }

    /// What another line of the same transaction names beside it.
    pub(super) fn note_transaction(&mut self, id: Option<TransactionId>, virtual_transaction: Option<&Arc<str>>) {
        if self.is_in(virtual_transaction)
            && let Some(event) = &mut self.event
        {
            event.transaction = event.transaction.take().or(id);
        }
    }

    /// What another line of the same execution tells: that it still ran.
    pub(super) fn note_time(&mut self, time: Timestamp) {
        if let Some(event) = &mut self.event {
            event.ts = event.ts.max(time);
        }
    }
}

impl Ended {
    fn is(&self, sql: &str, virtual_transaction: Option<&Arc<str>>) -> bool {
        self.sql.as_ref() == sql && Some(&self.virtual_transaction) == virtual_transaction
    }
}

/// Whether a statement goes on until its portal is closed, when more rows may be fetched from it: a query. All others have
/// ended when their execution is told.
fn closes_with_its_portal(sql: &str) -> bool {
    const ENDED: [&str; 4] = ["INSERT", "UPDATE", "DELETE", "MERGE"];
    let text = after_comments(sql);
    !text.is_empty() && !ENDED.iter().any(|ended| first_word(text).eq_ignore_ascii_case(ended))
}

/// The text from its first token on. Every line of a log is asked, so that no more of it is looked at than need be.
fn after_comments(sql: &str) -> &str {
    let mut rest = sql.trim_start();
    loop {
        rest = match (rest.strip_prefix("--"), rest.strip_prefix("/*")) {
            (Some(comment), _) => comment.split_once('\n').map_or("", |(_, after)| after),
            (None, Some(comment)) => after_comment(comment),
            (None, None) => return rest,
        };
        rest = rest.trim_start();
    }
}

/// What follows a comment whose beginning was read; comments may hold comments.
fn after_comment(comment: &str) -> &str {
    let (mut rest, mut depth) = (comment, 1);
    while depth > 0 {
        let Some((within, after)) = rest.split_once("*/") else { return "" };
        match within.find("/*").and_then(|start| rest.get(start + 2..)) {
            Some(inner) => (rest, depth) = (inner, depth + 1),
            None => (rest, depth) = (after, depth - 1),
        }
    }
    rest
}

fn first_word(text: &str) -> &str {
    text.split(|character: char| !character.is_ascii_alphabetic()).next().unwrap_or_default()
}

/// Whether a text prepares a statement, and nothing more: what runs under it is run by `EXECUTE`.
pub(super) fn prepares(sql: &str) -> bool {
    let is_prepare = |tokens: Vec<Token>| match tokens.as_slice() {
        [Token::Word(prepare), Token::Word(name), ..] => {
            prepare.value.eq_ignore_ascii_case("PREPARE") && !name.value.eq_ignore_ascii_case("TRANSACTION")
        }
        _ => false,
    };
    first_word(after_comments(sql)).eq_ignore_ascii_case("PREPARE")
        && !has_several_statements(sql)
        && tokens(sql).is_some_and(is_prepare)
}

/// Whether a text runs a statement that another prepared.
pub(super) fn is_execute(sql: &str) -> bool {
    first_word(after_comments(sql)).eq_ignore_ascii_case("EXECUTE")
}

fn has_several_statements(sql: &str) -> bool {
    // Most texts are told without a look at their tokens.
    sql.contains(';')
        && tokens(sql).is_some_and(|tokens| {
            let first = tokens.iter().position(|token| *token == Token::SemiColon);
            first.is_some_and(|first| tokens[first..].iter().any(|token| *token != Token::SemiColon))
        })
}

/// The tokens that are no blanks or comments; `None` for a text that we cannot read.
fn tokens(sql: &str) -> Option<Vec<Token>> {
    let mut tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().ok()?;
    tokens.retain(|token| !matches!(token, Token::Whitespace(_)));
    Some(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_holds_several_statements_only_where_a_semicolon_parts_them() {
        for (sql, several) in [
            ("UPDATE t SET a = 1", false),
            ("UPDATE t SET a = 1;", false),
            ("UPDATE t SET a = 1; -- the end\n /* of it */ ;", false),
            ("UPDATE t SET a = 'x; y'", false),
            ("UPDATE t SET \"a;b\" = 1", false),
            ("UPDATE t SET a = E'\\'; y'", false),
            ("UPDATE t SET a = 1 -- first; then", false),
            ("DO $$ BEGIN INSERT INTO t VALUES (1); END $$", false),
            ("DELETE FROM t; DELETE FROM u", true),
            ("DELETE FROM t WHERE a = 'x;' ;/* second */DELETE FROM u;", true),
        ] {
            assert_eq!(has_several_statements(sql), several, "{sql}");
        }
    }

    #[test]
    fn what_is_prepared_is_told_from_what_runs_it() {
        let prepare = "prepare \"p\"(int) AS INSERT INTO t VALUES ($1)";
        assert!(prepares(prepare) && !is_execute(prepare));
        assert!(is_execute("/* a */ EXECUTE p(1)") && !prepares("EXECUTE p(1)"));
        for other in ["PREPARE TRANSACTION 'x'", "PREPARE p AS SELECT 1; EXECUTE p", "SELECT 1", "-- EXECUTE p", ""] {
            assert!(!prepares(other) && !is_execute(other), "{other}");
        }
    }

    #[test]
    fn a_query_goes_on_until_its_portal_is_closed() {
        for (sql, closes) in [
            ("SELECT f()", true),
            ("/* a=1 */ with x as (select 1) select * from x", true),
            ("(SELECT 1)", true),
            ("/* a /* b */ INSERT */ -- c\n\tSELECT 1", true),
            ("/* a /* b */ SELECT */ INSERT INTO t VALUES (1)", false),
            ("/* never closed SELECT", false),
            ("UPDATED", true),
            ("insert into t values (1) returning a", false),
            ("-- why\nUPDATE t SET a = 1", false),
            ("", false),
        ] {
            assert_eq!(closes_with_its_portal(sql), closes, "{sql}");
        }
    }
}
