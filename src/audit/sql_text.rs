//! SQL that somebody wrote in a rules or faults file: parsed, and asked what it names.
//!
//! In: a text. Out: its syntax tree, the tables it reads and the columns of the row at hand that it names, each with
//! its place in the text. Nothing is looked up here; that is [`super::names`]' task.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, SetExpr, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token};

use crate::engine::bind_distinct_from;
use crate::model::TableName;

/// An expression: as a tree, and as one line of SQL without comments, safe to stand between parentheses.
#[derive(Clone, Debug, PartialEq)]
pub struct SqlExpression {
    /// The SQL.
    pub sql: String,
    /// The same as a tree.
    pub expression: Expr,
}

/// A query, as [`SqlExpression`] is an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct SqlQuery {
    /// The SQL.
    pub sql: String,
    /// The same as a tree.
    pub query: Box<Query>,
}

/// What is wrong with a text, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SqlMistake {
    pub(super) message: String,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A name in SQL, and where it stands (line and column, 1 for the first; 0 where the parser does not say).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NamePlace {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A table that SQL reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TableRead {
    pub(super) place: NamePlace,
    /// The table; what is wrong with the name where it is none.
    pub(super) name: Result<TableName, String>,
    /// Whether it is the table's history that is read.
    pub(super) is_history: bool,
}

/// A column named outside of any subquery: one of the row at hand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowColumn {
    pub(super) place: NamePlace,
    /// The table or `before` in front of it, as written: `orders`, `public.orders`.
    pub(super) qualifier: Option<String>,
    pub(super) name: String,
}

impl SqlExpression {
    /// Parses an expression. A `SELECT` without parentheses is read as the scalar subquery it is meant to be.
    pub(super) fn parse(text: &str) -> Result<SqlExpression, SqlMistake> {
        let mut parser = parser(text)?;
        let starts_query = matches!(&parser.peek_token().token, Token::Word(word) if is_query_word(&word.value));
        let expression = if starts_query { parser.parse_query().map(Expr::Subquery) } else { parser.parse_expr() };
        let mut expression = expression.map_err(|error| mistake_of(&error))?;
        bind_distinct_from(&mut expression);
        expect_end(&mut parser, "expression")?;
        Ok(SqlExpression { sql: expression.to_string(), expression })
    }
}

impl SqlQuery {
    /// Parses one query; a statement that writes is a mistake.
    pub(super) fn parse(text: &str) -> Result<SqlQuery, SqlMistake> {
        let mut parser = parser(text)?;
        let mut query = parser.parse_query().map_err(|error| mistake_of(&error))?;
        bind_distinct_from(&mut query);
        _ = parser.consume_token(&Token::SemiColon);
        expect_end(&mut parser, "query")?;
        if is_writing(&query.body) {
            let message = "a rule only reads: write a SELECT".to_owned();
            return Err(SqlMistake { message, line: 1, column: 1 });
        }
        Ok(SqlQuery { sql: query.to_string(), query })
    }
}

fn parser(text: &str) -> Result<Parser<'static>, SqlMistake> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql(text).map_err(|error| mistake_of(&error))
}

fn is_query_word(word: &str) -> bool {
    word.eq_ignore_ascii_case("select") || word.eq_ignore_ascii_case("with")
}

fn is_writing(body: &SetExpr) -> bool {
    matches!(body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
}

fn expect_end(parser: &mut Parser<'_>, what: &str) -> Result<(), SqlMistake> {
    let next = parser.peek_token();
    if next.token == Token::EOF {
        return Ok(());
    }
    let Location { line, column } = next.span.start;
    let message = format!("this SQL does not parse: expected the end of the {what}, found {}", next.token);
    Err(SqlMistake { message, line: position(line), column: position(column) })
}

/// The parser tells the place at the end of its message: `… at Line: 1, Column: 9`.
fn mistake_of(error: &ParserError) -> SqlMistake {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "it is nested too deeply",
    };
    let told = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((message, line.trim().parse().ok()?, column.trim().parse().ok()?))
    });
    let (message, line, column) = told.unwrap_or((text, 1, 1));
    SqlMistake { message: format!("this SQL does not parse: {message}"), line, column }
}

/// Every table that an expression or query reads in a FROM, once; not the names of its own WITH queries.
pub(super) fn tables_read(sql: &impl Visit) -> BTreeSet<TableRead> {
    let mut reads = TableReads::default();
    // The visitor never breaks off.
    _ = sql.visit(&mut reads);
    reads.found
}

#[derive(Default)]
struct TableReads {
    found: BTreeSet<TableRead>,
    /// The WITH names of each query that is being visited, outermost first.
    with_names: Vec<Vec<String>>,
}

impl Visitor for TableReads {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let names = query.with.iter().flat_map(|with| &with.cte_tables).map(|table| folded(&table.alias.name));
        self.with_names.push(names.collect());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.with_names.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        // One with arguments is a function, such as generate_series.
        if let TableFactor::Table { name, args: None, .. } = factor {
            let own = match name.0.as_slice() {
                [ObjectNamePart::Identifier(name)] => {
                    self.with_names.iter().flatten().any(|known| *known == folded(name))
                }
                _ => false,
            };
            if !own {
                let (name, place) = (table_name(name), place_of_name(name));
                let is_history = matches!(name, Ok((_, true)));
                self.found.insert(TableRead { place, name: name.map(|(name, _)| name), is_history });
            }
        }
        ControlFlow::Continue(())
    }
}

fn place_of_name(name: &ObjectName) -> NamePlace {
    match name.0.first() {
        Some(ObjectNamePart::Identifier(ident)) => place_of(ident),
        _ => NamePlace { line: 0, column: 0 },
    }
}

fn place_of(ident: &Ident) -> NamePlace {
    NamePlace { line: position(ident.span.start.line), column: position(ident.span.start.column) }
}

fn position(number: u64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// The table, and whether its history is meant.
fn table_name(name: &ObjectName) -> Result<(TableName, bool), String> {
    let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(folded)).collect();
    match parts.as_deref() {
        Some([table]) => Ok((TableName::new("public", table.as_str()), false)),
        Some([schema, table]) => Ok((TableName::new(schema.as_str(), table.as_str()), false)),
        Some([first, schema, table]) if first == "history" => {
            Ok((TableName::new(schema.as_str(), table.as_str()), true))
        }
        _ => Err(format!("'{name}' is no table: expected table, schema.table or history.schema.table")),
    }
}

/// A name as PostgreSQL reads it: in lower case unless it is quoted.
pub(super) fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// Every column of the row at hand that an expression names outside of its subqueries.
pub(super) fn row_columns(expression: &Expr) -> BTreeSet<RowColumn> {
    let mut found = BTreeSet::new();
    // The look never breaks off.
    _ = outside_subqueries(expression, |expression| {
        match expression {
            Expr::Identifier(ident) => {
                found.insert(RowColumn { place: place_of(ident), qualifier: None, name: folded(ident) });
            }
            Expr::CompoundIdentifier(idents) => found.extend(qualified(idents)),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    found
}

/// Looks at every expression within another that is in none of its subqueries, until `look` breaks off.
fn outside_subqueries(expression: &Expr, look: impl FnMut(&Expr) -> ControlFlow<()>) -> ControlFlow<()> {
    struct Outside<Look> {
        look: Look,
        depth: usize,
    }
    impl<Look: FnMut(&Expr) -> ControlFlow<()>> Visitor for Outside<Look> {
        type Break = ();

        fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            if self.depth == 0 { (self.look)(expression) } else { ControlFlow::Continue(()) }
        }
    }
    expression.visit(&mut Outside { look, depth: 0 })
}

fn qualified(idents: &[Ident]) -> Option<RowColumn> {
    let (column, qualifier) = idents.split_last()?;
    let qualifier = qualifier.iter().map(folded).collect::<Vec<_>>().join(".");
    Some(RowColumn { place: place_of(idents.first()?), qualifier: Some(qualifier), name: folded(column) })
}

/// Whether a subquery stands where the engine can only filter by it, not print its answer: EXISTS, IN, ANY, ALL.
pub(super) fn asks_for_existence(expression: &Expr) -> bool {
    struct Existence;
    impl Visitor for Existence {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
                Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } if matches!(**right, Expr::Subquery(_)) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expression.visit(&mut Existence).is_break()
}

/// The tables whose history an expression or query reads.
pub(super) fn histories_read(sql: &impl Visit) -> Vec<TableName> {
    let histories = tables_read(sql).into_iter().filter(|read| read.is_history);
    histories.filter_map(|read| read.name.ok()).collect()
}

/// Whether an expression holds a subquery.
pub(super) fn has_subquery(expression: &Expr) -> bool {
    struct Subqueries;
    impl Visitor for Subqueries {
        type Break = ();
        fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    expression.visit(&mut Subqueries).is_break()
}

/// A condition that was planned for a rule, as a tree.
pub(super) fn parsed_condition(condition: &str) -> Option<Expr> {
    parser(condition).ok()?.parse_expr().ok()
}

/// Whether a condition holds a subquery or calls a function that need not give the same value tomorrow; so does what does
/// not parse.
pub(super) fn calls_function(condition: &str) -> bool {
    const STEADY: [&str; 12] = [
        "abs", "coalesce", "greatest", "least", "length", "lower", "nullif", "round", "trim", "upper", "ceil", "floor",
    ];
    let Some(parsed) = parsed_condition(condition) else { return true };
    has_subquery(&parsed)
        || outside_subqueries(&parsed, |expression| match expression {
            Expr::Function(function)
                if !STEADY.iter().any(|name| function.name.to_string().eq_ignore_ascii_case(name)) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        })
        .is_break()
}

/// Whether an expression holds an aggregate outside of its subqueries.
pub(super) fn has_aggregate(expression: &Expr) -> bool {
    const AGGREGATES: [&str; 7] = ["sum", "count", "min", "max", "avg", "bool_and", "bool_or"];
    outside_subqueries(expression, |expression| match expression {
        Expr::Function(function)
            if AGGREGATES.iter().any(|name| function.name.to_string().eq_ignore_ascii_case(name)) =>
        {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// An expression without subqueries, over the row that goes by `alias` instead of the row at hand.
pub(super) fn requalified(expression: &Expr, alias: &str) -> String {
    struct Columns<'a>(&'a str);
    impl VisitorMut for Columns<'_> {
        type Break = ();
        fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            let column = match expression {
                Expr::Identifier(column) => Some(column.clone()),
                Expr::CompoundIdentifier(parts) => parts.last().cloned(),
                _ => None,
            };
            if let Some(column) = column {
                *expression = Expr::CompoundIdentifier(vec![Ident::new(self.0), column]);
            }
            ControlFlow::Continue(())
        }
    }
    let mut expression = expression.clone();
    // The visitor never breaks off.
    _ = VisitMut::visit(&mut expression, &mut Columns(alias));
    expression.to_string()
}

/// The place of an item among others; it is added where it is missing.
pub(super) fn place_among<T: PartialEq>(items: &mut Vec<T>, item: T) -> usize {
    items.iter().position(|known| *known == item).unwrap_or_else(|| {
        items.push(item);
        items.len() - 1
    })
}

/// A name between double quotes, as it stands in the catalog.
pub(super) fn quoted_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"schema"."table"`.
pub(super) fn quoted_table(table: &TableName) -> String {
    format!("{}.{}", quoted_name(&table.schema), quoted_name(&table.table))
}

/// A text between single quotes.
pub(super) fn quoted_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(text: &str) -> SqlExpression {
        SqlExpression::parse(text).expect(text)
    }

    #[test]
    fn comments_are_gone_and_a_bare_select_is_a_subquery() {
        assert_eq!(expression("total > 0 -- never less").sql, "total > 0");
        assert_eq!(expression("SELECT 1").sql, "(SELECT 1)");
    }

    #[test]
    fn mistakes_have_their_place() {
        let mistake = SqlExpression::parse("total >\n  ) 0").expect_err("a stray parenthesis");
        assert_eq!((mistake.line, mistake.column), (2, 3), "{mistake:?}");
        let mistake = SqlExpression::parse("total > 0 total").expect_err("two expressions");
        assert_eq!((mistake.line, mistake.column), (1, 11), "{mistake:?}");
        let mistake = SqlExpression::parse("status = 'open").expect_err("an open quote");
        assert_eq!((mistake.line, mistake.column), (1, 10), "{mistake:?}");
        assert!(SqlQuery::parse("DELETE FROM t").is_err());
        assert!(SqlQuery::parse("SELECT 1; SELECT 2").is_err());
        assert!(SqlQuery::parse("SELECT 1;").is_ok());
    }

    #[test]
    fn tables_and_columns_are_found_where_they_are() {
        let parsed = expression(
            "orders.total = (WITH l AS (SELECT * FROM order_lines) SELECT sum(price) FROM l JOIN Shop.\"Prices\" p \
             ON p.id = l.id WHERE l.order_id = orders.id) AND Status IN ('a') AND EXISTS (SELECT 1 FROM generate_series(1, 2))",
        );
        let tables: Vec<TableName> =
            tables_read(&parsed.expression).into_iter().filter_map(|read| read.name.ok()).collect();
        assert_eq!(tables, [TableName::new("public", "order_lines"), TableName::new("shop", "Prices")]);
        let columns: Vec<(Option<String>, String)> =
            row_columns(&parsed.expression).into_iter().map(|column| (column.qualifier, column.name)).collect();
        assert_eq!(columns, [(Some("orders".to_owned()), "total".to_owned()), (None, "status".to_owned())]);
        assert!(asks_for_existence(&parsed.expression));
        assert!(!asks_for_existence(&expression("a = (SELECT max(b) FROM t)").expression));
        assert!(asks_for_existence(&expression("a = ANY (SELECT b FROM t)").expression));
    }
}
