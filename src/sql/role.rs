//! What a statement does in a session: a write, a read, or the control of a transaction.

use std::ops::ControlFlow;

use sqlparser::ast::{
    CopySource, DiscardObject, Expr, ObjectType, Query, SetExpr, Statement, TableFactor, Visit, Visitor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Tokenizer;

use super::SqlError;
use super::analysis::{only_computes, unmistaken};
use super::nesting::{MOST_NESTED, nesting_bound};
use crate::engine::bind_distinct_from;

/// A statement's part in its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// `BEGIN`, `START TRANSACTION`.
    Begin,
    /// `COMMIT`, `END`; `chain`: another transaction begins at once.
    Commit {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `ROLLBACK`, `ABORT`.
    Rollback {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `SAVEPOINT name`.
    Savepoint(String),
    /// `ROLLBACK TO name`.
    RollbackTo(String),
    /// `RELEASE name`.
    Release(String),
    /// A query that writes nothing.
    Read,
    /// It writes rows, or may.
    Write,
    /// It makes, fills or drops what no write is recorded of: a temporary table, a materialized view.
    Unrecorded,
    /// Settings, definitions, and what else changes no row.
    Other,
}

const DISTINCT: &[u8] = b"distinct";

/// The statements of a text, parsed as PostgreSQL's.
///
/// # Errors
/// Where the parser does not know the text; SQL nested too deeply is an error too.
pub fn parse(sql: &str) -> Result<Vec<Statement>, SqlError> {
    let dialect = PostgreSqlDialect {};
    let mut tokens = Vec::new();
    let tokenized = Tokenizer::new(&dialect, sql).tokenize_with_location_into_buf(&mut tokens);
    tokenized.map_err(|error| SqlError::Parse(error.to_string()))?;
    if nesting_bound(&tokens) > MOST_NESTED {
        return Err(SqlError::TooDeep { most: MOST_NESTED });
    }
    let parsed = Parser::new(&dialect).with_tokens_with_locations(unmistaken(tokens)).parse_statements();
    let mut statements = parsed.map_err(|error| SqlError::Parse(error.to_string()))?;
    // A walk over the whole statement, for the few that need it.
    if sql.as_bytes().windows(DISTINCT.len()).any(|word| word.eq_ignore_ascii_case(DISTINCT)) {
        bind_distinct_from(&mut statements);
    }
    Ok(statements)
}

/// A statement's part in its session.
pub fn role_of(statement: &Statement) -> Role {
    match statement {
        Statement::StartTransaction { .. } => Role::Begin,
        Statement::Commit { chain, .. } => Role::Commit { chain: *chain },
        Statement::Rollback { savepoint: Some(name), .. } => Role::RollbackTo(super::folded(name)),
        Statement::Rollback { chain, .. } => Role::Rollback { chain: *chain },
        Statement::Savepoint { name } => Role::Savepoint(super::folded(name)),
        Statement::ReleaseSavepoint { name } => Role::Release(super::folded(name)),
        Statement::Query(query) if !writes_inside(query) => Role::Read,
        Statement::Copy { to: true, source, .. } => match source {
            CopySource::Query(query) if writes_inside(query) => Role::Write,
            CopySource::Query(_) | CopySource::Table { .. } => Role::Read,
        },
        Statement::Query(_)
        | Statement::Insert(_)
        | Statement::Update(_)
        | Statement::Delete(_)
        | Statement::Merge(_)
        | Statement::Truncate(_)
        | Statement::Copy { .. }
        | Statement::Call(_)
        | Statement::Execute { .. } => Role::Write,
        // Rows come of it only where a query follows.
        Statement::CreateTable(table) if table.query.is_some() => Role::Write,
        Statement::CreateTable(table) if table.temporary => Role::Unrecorded,
        Statement::Drop { object_type: ObjectType::Table, .. }
        | Statement::Discard { object_type: DiscardObject::ALL | DiscardObject::TEMP } => Role::Unrecorded,
        _ => Role::Other,
    }
}

/// Whether a query does nothing but call functions of which one is not known to compute with its arguments alone: what it
/// writes, the function's body says.
pub fn may_write_by_call(statement: &Statement) -> bool {
    struct FindUnknown;
    impl Visitor for FindUnknown {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            match factor {
                TableFactor::Table { name, args: Some(_), .. } if !only_computes(name) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Function(function) if !only_computes(&function.name) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    let Statement::Query(query) = statement else { return false };
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let is_call = |factor: &TableFactor| matches!(factor, TableFactor::Table { args: Some(_), .. });
    let reads_none = select.from.iter().all(|from| from.joins.is_empty() && is_call(&from.relation));
    reads_none && query.with.is_none() && query.visit(&mut FindUnknown).is_break()
}

/// Whether a query holds a data-modifying common table expression, or is a SELECT INTO.
fn writes_inside(query: &Query) -> bool {
    struct FindWrite;
    impl Visitor for FindWrite {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let writes = match query.body.as_ref() {
                SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => true,
                SetExpr::Select(select) => select.into.is_some(),
                _ => false,
            };
            if writes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    query.visit(&mut FindWrite).is_break()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nests_too_deeply_is_an_error() {
        let chain = |count: usize| format!("SELECT {} FROM t", vec!["a"; count].join(" + "));
        assert!(parse(&chain(300)).is_ok());
        assert_eq!(parse(&chain(10_000)), Err(SqlError::TooDeep { most: MOST_NESTED }));
        assert_eq!(parse(&"SELECT 1 UNION ".repeat(10_000)), Err(SqlError::TooDeep { most: MOST_NESTED }));
        assert!(parse(&format!("SELECT * FROM t WHERE id IN ({})", vec!["1"; 100_000].join(", "))).is_ok());
        assert!(parse(&format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000))).is_err());
    }

    #[test]
    fn only_is_no_name() {
        for (sql, expected) in [
            ("UPDATE ONLY t SET a = 1", "UPDATE t SET a = 1"),
            ("DELETE FROM ONLY public.t WHERE a = 1", "DELETE FROM public.t WHERE a = 1"),
            ("SELECT a FROM ONLY t FETCH FIRST 3 ROWS ONLY", "SELECT a FROM t FETCH FIRST 3 ROWS ONLY"),
        ] {
            let statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(statements[0].to_string(), expected);
        }
    }

    #[test]
    fn what_follows_a_copy_is_no_data() {
        let statements =
            parse("COPY t (a) FROM stdin; UPDATE t SET a = 1; COPY t FROM STDIN WITH (FORMAT csv); SELECT 1");
        let shown: Vec<String> = statements.expect("it parses").iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            ["COPY t (a) FROM 'stdin'", "UPDATE t SET a = 1", "COPY t FROM 'stdin' (FORMAT csv)", "SELECT 1"]
        );
    }

    #[test]
    fn a_call_may_write() {
        for (sql, expected) in [
            ("SELECT place_order(1, 2)", true),
            ("SELECT * FROM app.place_order(1)", true),
            ("SELECT upper(app.place_order(1))", true),
            ("SELECT now(), upper('a'), count(*)", false),
            ("SELECT * FROM generate_series(1, 2)", false),
            ("SELECT price_of(id) FROM orders", false),
            ("UPDATE t SET a = place_order(1)", false),
        ] {
            let statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(may_write_by_call(&statements[0]), expected, "{sql}");
        }
    }

    #[test]
    fn every_statement_has_its_part() {
        for (sql, role) in [
            ("begin isolation level serializable", Role::Begin),
            ("COMMIT AND CHAIN", Role::Commit { chain: true }),
            ("END", Role::Commit { chain: false }),
            ("savepoint a", Role::Savepoint("a".to_owned())),
            ("rollback to savepoint A", Role::RollbackTo("a".to_owned())),
            ("release savepoint a", Role::Release("a".to_owned())),
            ("SELECT 1 FROM t FOR UPDATE", Role::Read),
            ("WITH gone AS (DELETE FROM t RETURNING *) SELECT count(*) FROM gone", Role::Write),
            ("UPDATE t SET a = 1", Role::Write),
            ("COPY t FROM STDIN", Role::Write),
            ("COPY (SELECT * FROM t) TO STDOUT", Role::Read),
            ("COPY t TO STDOUT", Role::Read),
            ("CREATE TABLE t AS SELECT 1", Role::Write),
            ("CREATE TABLE t (a int)", Role::Other),
            ("CREATE TEMP TABLE t (a int)", Role::Unrecorded),
            ("CREATE TEMP TABLE t AS SELECT 1", Role::Write),
            ("DROP TABLE IF EXISTS t", Role::Unrecorded),
            ("DROP VIEW v", Role::Other),
            ("DISCARD TEMP", Role::Unrecorded),
            ("DISCARD PLANS", Role::Other),
            ("SET application_name = 'x'", Role::Other),
        ] {
            let statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(statements.iter().map(role_of).collect::<Vec<_>>(), [role], "{sql}");
        }
    }
}
