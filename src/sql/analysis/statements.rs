//! A text, statement by statement.

use sqlparser::ast::{Ident, Statement};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::rewrite::{understood, without_copied_data};
use super::scan::scanned_tables;
use super::scope::spelled;
use super::text::Text;
use super::walk::Walk;
use super::{Dialect, Schema, StatementAnalysis, StatementKind};
use crate::sql::SqlError;
use crate::sql::nesting::nesting_bound;

/// What each statement of a text reads and writes. Definitions in it count for the statements after them.
pub fn analyze(sql: &str, schema: &Schema, dialect: Dialect) -> Vec<StatementAnalysis> {
    Analyzer::new(schema.clone(), dialect).analyze(sql)
}

/// What nests deeper gets a stack of its own, and is not kept for later.
pub(super) const NESTED: usize = 128;

/// What nests deeper is not read: its stack would be larger than can be asked for.
const MOST_NESTED: usize = 200_000;

/// How much stack one level may need. Of a stack only what is used takes memory.
const STACK_PER_LEVEL: usize = 8_192;

/// Analyses statements in the order in which they ran: what one defines, the next ones know.
#[derive(Clone, Debug)]
pub struct Analyzer {
    schema: Schema,
    dialect: Dialect,
    /// What was defined where the transaction began, and at each of its savepoints: a rollback leads back there.
    points: Vec<(Option<String>, Schema)>,
}

impl Analyzer {
    /// Begins with what is defined before the first statement.
    pub fn new(schema: Schema, dialect: Dialect) -> Self {
        Analyzer { schema, dialect, points: Vec::new() }
    }

    /// What is defined by now.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What is defined by now.
    pub fn into_schema(self) -> Schema {
        self.schema
    }

    /// What each statement of the text reads and writes. What nests deeply by operators, as deep as it is long, is read on
    /// a stack of its own.
    pub fn analyze(&mut self, sql: &str) -> Vec<StatementAnalysis> {
        let blanked = without_copied_data(sql);
        let sql = blanked.as_deref().unwrap_or(sql);
        let mut tokens = Vec::new();
        let tokenized = Tokenizer::new(self.dialect.parser(), sql).tokenize_with_location_into_buf(&mut tokens);
        if let Err(error) = tokenized {
            return vec![self.unparsed(&tokens, sql, SqlError::Parse(error.to_string()))];
        }
        let tokens = if self.dialect == Dialect::Postgres { understood(tokens) } else { tokens };
        let nested = nesting_bound(&tokens);
        if nested <= NESTED {
            return self.analyze_tokens(tokens, sql, nested);
        }
        let spawned = std::thread::scope(|scope| {
            let size = STACK_PER_LEVEL.saturating_mul(nested.min(MOST_NESTED) + NESTED);
            let builder = std::thread::Builder::new().name("sql".to_owned()).stack_size(size);
            builder.spawn_scoped(scope, || self.analyze_tokens(tokens, sql, nested)).map(|thread| thread.join())
        });
        match spawned {
            Ok(Ok(analyses)) => analyses,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => {
                let error = SqlError::Unsupported(format!("so deep a text: no thread for it: {error}"));
                vec![self.unparsed(&[], sql, error)]
            }
        }
    }

    fn analyze_tokens(&mut self, tokens: Vec<TokenWithSpan>, sql: &str, nested: usize) -> Vec<StatementAnalysis> {
        let text = Text::new(sql);
        let mut analyses = Vec::new();
        let mut parser = Parser::new(self.dialect.parser()).with_tokens_with_locations(tokens.clone());
        loop {
            while parser.consume_token(&Token::SemiColon) {}
            let start = parser.index();
            if parser.peek_token_ref().token == Token::EOF {
                return analyses;
            }
            let end = end_of_statement(&tokens, start);
            let words = tokens.get(start..end).unwrap_or_default();
            let deep = nested > NESTED && nesting_bound(words) > NESTED;
            if deep && nesting_bound(words) > MOST_NESTED {
                let error = SqlError::TooDeep { most: MOST_NESTED };
                let shown = text.between(&tokens, start, end);
                analyses.push(self.unparsed(words, shown, error));
                while parser.index() < end {
                    parser.advance_token();
                }
                continue;
            }
            let parsed =
                parser.parse_statement().and_then(|statement| ended(&parser, self.dialect).map(|()| statement));
            match parsed {
                Ok(statement) => {
                    let shown = text.between(&tokens, start, parser.index());
                    analyses.push(self.statement_of(&statement, shown, deep));
                }
                Err(error) => {
                    let end = end_of_statement(&tokens, start.max(parser.index().saturating_sub(1)));
                    let shown = text.between(&tokens, start, end);
                    let words = tokens.get(start..end).unwrap_or_default();
                    analyses.push(self.unparsed(words, shown, SqlError::Parse(error.to_string())));
                    while parser.index() < end && parser.peek_token_ref().token != Token::EOF {
                        parser.advance_token();
                    }
                }
            }
        }
    }

    /// What is known of a statement that the parser does not know: PostgreSQL's DO and REFRESH are read here, of all else
    /// the tables that a scan sees.
    fn unparsed(&self, tokens: &[TokenWithSpan], sql: &str, error: SqlError) -> StatementAnalysis {
        let tokens: Vec<Token> = tokens
            .iter()
            .filter(|token| !matches!(token.token, Token::Whitespace(_)))
            .map(|token| token.token.clone())
            .collect();
        let mut walk = Walk::new(&self.schema, self.dialect);
        let known = walk.beyond_the_parser(&tokens);
        if known.is_none() {
            for (name, written) in scanned_tables(&tokens) {
                let table = self.schema.resolve(&name, self.dialect);
                let id = walk.arena.table(&table);
                if written { walk.writes(id) } else { walk.reads(id) }
            }
            walk.note(error);
        }
        let findings = walk.finish();
        StatementAnalysis {
            sql: sql.into(),
            kind: known.unwrap_or(StatementKind::Unparsed),
            targets: findings.targets,
            sources: findings.sources,
            columns: findings.columns,
            scanned: known.is_none(),
            error: findings.error,
        }
    }

    /// What one parsed statement reads and writes, as of what is defined by now; `sql` is its text.
    pub fn statement(&mut self, statement: &Statement, sql: &str) -> StatementAnalysis {
        self.statement_of(statement, sql, false)
    }

    /// What is `deep` is not kept: whoever drops it has a stack like any other.
    fn statement_of(&mut self, statement: &Statement, sql: &str, deep: bool) -> StatementAnalysis {
        let mut walk = Walk::new(&self.schema, self.dialect);
        let kind = walk.top(statement);
        let findings = walk.finish();
        let analysis = StatementAnalysis {
            sql: sql.into(),
            kind,
            targets: findings.targets,
            sources: findings.sources,
            columns: findings.columns,
            scanned: false,
            error: findings.error,
        };
        self.schema.apply(statement, &analysis, self.dialect, deep);
        self.transaction(statement);
        analysis
    }

    /// What a transaction defined is no more once it is rolled back.
    fn transaction(&mut self, statement: &Statement) {
        let named = |name: &Ident| Some(spelled(name).into_owned());
        let place = |points: &[(Option<String>, Schema)], name: &Ident| {
            points.iter().rposition(|(known, _)| *known == named(name))
        };
        match statement {
            Statement::StartTransaction { .. } if self.points.is_empty() => {
                self.points.push((None, self.schema.clone()));
            }
            Statement::Savepoint { name } if !self.points.is_empty() => {
                self.points.push((named(name), self.schema.clone()));
            }
            Statement::ReleaseSavepoint { name } => {
                if let Some(place) = place(&self.points, name) {
                    self.points.truncate(place);
                }
            }
            Statement::Rollback { savepoint: Some(name), .. } => {
                if let Some(place) = place(&self.points, name) {
                    self.points.truncate(place + 1);
                    if let Some((_, earlier)) = self.points.last() {
                        self.schema.roll_back_to(earlier.clone());
                    }
                }
            }
            Statement::Rollback { chain, .. } => {
                if let Some((_, earlier)) = self.points.drain(..).next() {
                    self.schema.roll_back_to(earlier);
                }
                self.end_transaction(*chain);
            }
            Statement::Commit { chain, .. } => self.end_transaction(*chain),
            _ => {}
        }
    }

    fn end_transaction(&mut self, chain: bool) {
        self.points.clear();
        self.schema.end_transaction();
        if chain {
            self.points.push((None, self.schema.clone()));
        }
    }
}
/// Whether a statement ends where the parser stands.
fn ended(parser: &Parser<'_>, dialect: Dialect) -> Result<(), ParserError> {
    match &parser.peek_token_ref().token {
        Token::SemiColon | Token::EOF => Ok(()),
        // In some dialects the next statement may begin without a semicolon.
        Token::Word(word)
            if dialect != Dialect::Postgres
                && matches!(
                    word.keyword,
                    Keyword::SELECT
                        | Keyword::INSERT
                        | Keyword::UPDATE
                        | Keyword::DELETE
                        | Keyword::WITH
                        | Keyword::CREATE
                        | Keyword::DROP
                        | Keyword::ALTER
                        | Keyword::TRUNCATE
                        | Keyword::MERGE
                        | Keyword::END
                ) =>
        {
            Ok(())
        }
        other => Err(ParserError::ParserError(format!(
            "Expected: end of statement, found: {other} at {}",
            parser.peek_token_ref().span.start
        ))),
    }
}

/// The place of the semicolon that ends the statement, or of the end.
fn end_of_statement(tokens: &[TokenWithSpan], from: usize) -> usize {
    let rest = tokens.iter().enumerate().skip(from);
    rest.into_iter().find(|(_, token)| token.token == Token::SemiColon).map_or(tokens.len(), |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every statement on a line of its own: `kind targets <- sources; column <- via sources | influences; … ! error`.
    fn shown(sql: &str) -> String {
        let lines = analyze(sql, &Schema::default(), Dialect::Postgres).into_iter().map(|analysis| {
            let names = |names: Vec<String>| names.join(",");
            let mut line = format!(
                "{} {} <- {}",
                analysis.kind.as_str(),
                names(analysis.targets.iter().map(ToString::to_string).collect()),
                names(analysis.sources.iter().map(ToString::to_string).collect())
            );
            for column in &analysis.columns {
                let mut sources: Vec<String> = column.sources.iter().map(ToString::to_string).collect();
                sources.sort();
                let sources = names(sources);
                let mut influences: Vec<String> =
                    column.influences.iter().map(|influence| influence.column.to_string()).collect();
                influences.sort();
                influences.dedup();
                line += &format!("; {} <- {} {sources} | {}", column.target, column.via.as_str(), names(influences));
            }
            if let Some(error) = &analysis.error {
                line += &format!(" ! {error}");
            }
            line.replace("public.", "")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn writes_name_their_columns_sources_and_influences() {
        let definitions = "create table s(a int, b int, c int); \
             create table t(x int, y int, z int generated always as (x + y) stored); ";
        for (sql, expected) in [
            (
                "insert into t select a, sum(b) from s where c = 1 group by a",
                "insert t <- s; t.x <- copy s.a | s.a,s.c; t.y <- aggregate s.b | s.a,s.c; \
                 t.z <- aggregate s.a,s.b | s.a,s.c",
            ),
            (
                "insert into t(y, x) values (1, 2) on conflict (x) do update set y = t.y + excluded.y where t.x > 1",
                "insert t <- ; t.y <- transform t.y | t.x; t.x <- transform  | t.x; t.z <- transform t.x,t.y | t.x",
            ),
            (
                "update t set x = s.a from s where s.b = t.y",
                "update t <- s; t.x <- copy s.a | s.b,t.y; t.z <- transform s.a,t.y | s.b,t.y",
            ),
            ("delete from t using s where s.a = t.x", "delete t <- s; t.* <- transform  | s.a,t.x"),
            (
                "with m as (delete from s where a = 1 returning a, b) insert into t select a, b from m",
                "insert s,t <- s; s.* <- transform  | s.a; t.x <- copy s.a | s.a; t.y <- copy s.b | s.a; \
                 t.z <- transform s.a,s.b | s.a",
            ),
            (
                "merge into t using s on t.x = s.a when matched and s.c > 0 then delete \
                 when matched then update set y = s.b when not matched then insert (x, y) values (s.a, s.b)",
                "merge t <- s; t.* <- transform  | s.a,s.c,t.x; t.y <- copy s.b | s.a,s.c,t.x; \
                 t.z <- transform s.a,s.b,t.x | s.a,s.c,t.x; t.x <- copy s.a | s.a,t.x",
            ),
        ] {
            let all = shown(&format!("{definitions}{sql}"));
            assert_eq!(all.lines().last(), Some(expected), "{sql}");
        }
    }

    #[test]
    fn queries_name_what_they_return() {
        for (sql, expected) in [
            (
                "select a from s union select b from t except select c from u",
                "select  <- s,t,u; a <- copy s.a,t.b | s.a,t.b,u.c",
            ),
            (
                "with recursive r(n, p) as (select id, parent from tree where parent is null \
                 union all select t.id, t.parent from tree t join r on r.n = t.parent) select n from r",
                "select  <- tree; n <- copy tree.id | tree.id,tree.parent",
            ),
            (
                "select case when a > 0 then b else c end x, row_number() over (partition by d order by e) rn, \
                 count(*) filter (where f) n, (select max(z) from u where u.k = s.k) m from s",
                "select  <- s,u; x <- transform s.b,s.c | s.a; rn <- transform  | s.d,s.e; n <- aggregate s.* | s.f; \
                 m <- aggregate u.z | s.k,u.k",
            ),
            (
                "select e->>'x' v from orders, jsonb_array_elements(items) e",
                "select  <- orders; v <- transform orders.items | orders.items",
            ),
            ("select t from t", "select  <- t; t <- transform t.* | "),
            ("select (x).a n from t x", "select  <- t; n <- copy t.a | "),
            ("select a from s, t", "select  <- s,t; a <- copy ?.a | "),
            ("select q.a from s", "select  <- s; a <- copy ?.a |  ! find column q.a: no table in reach has it"),
        ] {
            assert_eq!(shown(sql), expected, "{sql}");
        }
    }

    #[test]
    fn routines_and_triggers_do_what_their_bodies_say() {
        let sql = "create table t(id int, total int); create table audit(id int, was int); \
            create function log() returns trigger language plpgsql as $$ declare n int; begin \
              select count(*) into n from limits where kind = 1; \
              if n > 0 then insert into audit(id, was) values (new.id, old.total); end if; return new; end $$; \
            create trigger g after update on t for each row execute function log(); \
            update t set total = 1 where id = 2; \
            do $$ declare r record; begin for r in select id, total from t loop \
              update s set x = r.total where s.id = r.id; end loop; end $$; \
            prepare p as insert into audit select * from t; execute p; \
            create materialized view m as select id from t; refresh materialized view m";
        let lines = shown(sql);
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(
            lines[4],
            "update t,audit <- limits,t; t.total <- transform  | t.id; audit.id <- copy t.id | limits.*,limits.kind,t.id; \
             audit.was <- copy t.total | limits.*,limits.kind,t.id"
        );
        assert_eq!(lines[5], "do s <- t; s.x <- copy t.total | s.id,t.id");
        assert_eq!(lines[7], "execute audit <- t; audit.id <- copy t.id | ; audit.was <- copy t.total | ");
        assert_eq!(lines[9], "refresh m <- t; m.id <- copy t.id | ");
    }

    /// The last line of what is shown of a text.
    fn last(sql: &str) -> String {
        shown(sql).lines().last().unwrap_or_default().to_owned()
    }

    #[test]
    fn rows_without_columns_are_decided_on_all_the_same() {
        assert_eq!(last("select from s where a = 1"), "select  <- s; * <- transform  | s.a");
        assert_eq!(last("select from s"), "select  <- s");
        let definition = "create table t(x int default 1); ";
        assert_eq!(
            last(&format!("{definition}insert into t select from s where a = 1")),
            "insert t <- s; t.* <- transform  | s.a"
        );
    }

    #[test]
    fn a_trigger_of_a_column_fires_where_an_element_of_it_is_set() {
        let definitions = "create table t(id int, tags text[], n int); create table log(id int); \
            create function note() returns trigger language plpgsql as \
              $$ begin insert into log(id) values (new.id); return new; end $$; \
            create trigger g after update of tags on t for each row execute function note('a', 1); ";
        let set = |set: &str| last(&format!("{definitions}update t set {set}"));
        assert!(set("tags[1] = 'a'").starts_with("update t,log <- "), "{}", set("tags[1] = 'a'"));
        assert!(set("(n, tags) = (1, '{}')").starts_with("update t,log <- "));
        assert!(set("n = 2").starts_with("update t <- "));
    }

    #[test]
    fn a_view_is_written_through_unless_a_trigger_stands_in_for_that() {
        let definitions = "create table t(id int, x int, k int); create table log(id int); \
            create view v as select id, x from t where k = 1; create view w as select id, x from v; \
            create function note() returns trigger language plpgsql as \
              $$ begin insert into log(id) values (new.id); return new; end $$; \
            create trigger g instead of update on v for each row execute function note(); ";
        let write = |write: &str| last(&format!("{definitions}{write}"));
        assert_eq!(
            write("insert into v values (1, 2)"),
            "insert v,t <- ; v.id <- transform  | ; v.x <- transform  | ; t.id <- transform  | ; t.x <- transform  | "
        );
        assert_eq!(
            write("update v set x = 2"),
            "update v,log <- v; v.x <- transform  | t.k; log.id <- copy v.id | t.k"
        );
        assert!(write("update w set x = 2").starts_with("update w,v,log <- v; w.x"), "{}", write("update w set x = 2"));
        assert!(
            write("delete from w").starts_with("delete w,t,v <- ")
                || write("delete from w").starts_with("delete w,v,t <- ")
        );
        // One that is switched off, and one that fires beside the write, stand in for nothing.
        let off = "alter table v disable trigger g; ";
        assert!(write(&format!("{off}update v set x = 2")).starts_with("update v,t <- "));
        let beside = "drop trigger g on v; create trigger h after update on v execute function note(); ";
        assert!(write(&format!("{beside}update v set x = 2")).starts_with("update v,t <- "));
    }

    #[test]
    fn views_follow_what_is_renamed() {
        let definitions = "create table t(id int, x int, k int); create view v as select id, x from t where k = 1; \
            create materialized view m as select id, x from t where k = 1; \
            create function note() returns trigger language plpgsql as \
              $$ begin insert into log(id) values (new.id); return new; end $$; \
            create trigger g after update of x on t for each row when (new.x > 1) execute function note(); \
            alter table t rename to tt; alter table tt rename column x to xx; alter table tt rename column k to kk; ";
        let after = |sql: &str| last(&format!("{definitions}{sql}"));
        assert_eq!(
            after("update v set x = 2"),
            "update v,tt,log <- tt; v.x <- transform  | tt.kk; log.id <- copy tt.id | tt.kk,tt.xx; \
             tt.xx <- transform  | tt.kk"
        );
        assert_eq!(
            after("refresh materialized view m"),
            "refresh m <- tt; m.id <- copy tt.id | tt.kk; m.x <- copy tt.xx | tt.kk"
        );
        let view = "alter table v rename to vv; alter table vv rename column x to y; ";
        assert!(
            after(&format!("{view}insert into vv (y) values (1)")).starts_with("insert vv,tt <- ; vv.y <- transform")
        );
        assert!(after(&format!("{view}insert into vv (y) values (1)")).contains("; tt.xx <- transform"));
        // Another table of the old name is another table.
        let other = "create table t(id int); ";
        assert_eq!(after(&format!("{other}insert into t values (1)")), "insert t <- ; t.id <- transform  | ");
    }

    #[test]
    fn a_function_is_itself_in_its_own_schema_alone() {
        let function = |body: &str| {
            last(&format!("create function app.total(n int) returns int language sql as $$ select {body} from s $$"))
        };
        assert_eq!(function("app.total(n)"), "create_routine  <- s");
        assert!(function("other.total(n)").ends_with("what other.total does: its definition is not known"));
        assert!(function("total(n)").ends_with("what total does: its definition is not known"));
    }

    #[test]
    fn depth_and_length_are_no_danger() {
        let chain = format!("select {} from t", vec!["a"; 100_000].join(" + "));
        let casts = format!("select a{} from t", "::int".repeat(50_000));
        let unions = vec!["select a from t"; 10_000].join(" union all ");
        let many = "insert into t select a from s where b in (1, 2, 3); ".repeat(10_000);
        for sql in [chain, casts, unions] {
            let analyses = analyze(&sql, &Schema::default(), Dialect::Postgres);
            assert_eq!(analyses[0].columns[0].sources.len(), 1);
        }
        assert_eq!(analyze(&many, &Schema::default(), Dialect::Postgres).len(), 10_000);
        let nested = format!("select {}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(analyze(&nested, &Schema::default(), Dialect::Postgres)[0].error.is_some());
    }

    #[test]
    fn what_does_not_parse_still_shows_its_tables() {
        assert_eq!(shown("insert into t selec a from s").split(" ! ").next(), Some("unparsed t <- s"));
    }

    #[test]
    fn definitions_count_for_what_follows() {
        let sql = "set search_path to app; create temp table y as select a, b from x; insert into z select * from y; \
                   alter table z rename to zz; select * from y";
        assert_eq!(
            shown(sql).lines().skip(1).collect::<Vec<_>>(),
            [
                "create_table pg_temp.y <- app.x; pg_temp.y.a <- copy app.x.a | ; pg_temp.y.b <- copy app.x.b | ",
                "insert app.z <- pg_temp.y; app.z.a <- copy pg_temp.y.a | ; app.z.b <- copy pg_temp.y.b | ",
                "alter app.zz <- app.z; app.zz.* <- copy app.z.* | ",
                "select  <- pg_temp.y; a <- copy pg_temp.y.a | ; b <- copy pg_temp.y.b | ",
            ]
        );
    }

    #[test]
    fn what_does_not_parse_hides_nothing_after_it() {
        let analyses = analyze("select a from x where ; select b from y", &Schema::default(), Dialect::Postgres);
        assert_eq!(
            analyses.iter().map(|analysis| analysis.sql.as_ref()).collect::<Vec<_>>(),
            ["select a from x where", "select b from y"]
        );
        assert!(matches!(analyses[0].error, Some(SqlError::Parse(_))) && analyses[1].error.is_none());
    }
}
