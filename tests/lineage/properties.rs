//! What holds of every statement, written by hand or made up: rendering it again and renaming its aliases changes no
//! lineage, its template is the same whatever its spaces and case, and no text takes the analysis down.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use blast_radius::sql::{Analyzer, Dialect, Scanner, Schema, analyze, parse};
use proptest::prelude::*;
use sqlparser::ast::{TableFactor, Visit, Visitor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::statements::{cases, shown};

/// All statements of a text as one.
fn lineage(schema: &Schema, sql: &str) -> String {
    Analyzer::new(schema.clone(), Dialect::Postgres).analyze(sql).iter().map(|one| shown(one) + "\n").collect()
}

/// A condition over `one`, with literals that may be any.
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (0..3_usize, -50..50_i32).prop_map(|(column, value)| format!("one.{} = {value}", ["id", "a", "b"][column])),
        prop::collection::vec(0..100_u32, 1..6).prop_map(|list| {
            format!("one.id IN ({})", list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }),
        Just("one.c LIKE 'x%'".to_owned()),
        Just("EXISTS (SELECT 1 FROM u AS two WHERE two.k = one.a)".to_owned()),
        Just("one.a IN (SELECT two.k FROM u AS two WHERE two.id > one.b)".to_owned()),
        Just("one.b IS DISTINCT FROM one.a".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} AND {right})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} OR {right})")),
            inner.prop_map(|inner| format!("NOT ({inner})")),
        ]
    })
}

fn value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "one.a",
        "one.a + one.b",
        "CASE WHEN one.a > 1 THEN one.b ELSE 0 END",
        "(SELECT max(two.k) FROM u AS two WHERE two.id = one.id)",
        "coalesce(one.b, 7)",
        "row_number() OVER (PARTITION BY one.a ORDER BY one.id)",
        "'x'",
    ])
}

/// Statements whose aliases are `one` and `two`.
fn statement() -> impl Strategy<Value = String> {
    let values = prop::collection::vec(value(), 1..4);
    (values, condition(), 0..6_usize).prop_map(|(values, condition, shape)| {
        let listed = values.join(", ");
        let first = values.first().copied().unwrap_or("1");
        match shape {
            0 => format!("SELECT {listed} FROM s AS one WHERE {condition} ORDER BY 1 LIMIT 5"),
            1 => format!("INSERT INTO t (x) SELECT {first} FROM s AS one JOIN t AS two ON two.id = one.id WHERE {condition}"),
            2 => format!("UPDATE s AS one SET b = one.a + 1 WHERE {condition} RETURNING one.id, one.b"),
            3 => format!("DELETE FROM s AS one USING u AS two WHERE two.id = one.id AND {condition}"),
            4 => format!("WITH q AS (SELECT one.id, {first} AS n FROM s AS one WHERE {condition}) INSERT INTO u (id, k) SELECT two.id, two.n FROM q AS two ON CONFLICT (id) DO UPDATE SET k = excluded.k"),
            _ => format!("SELECT two.n FROM (SELECT count(*) AS n FROM s AS one WHERE {condition} GROUP BY one.a) AS two UNION ALL SELECT 1"),
        }
    })
}

/// The same statement in other case, with other white space and comments.
fn respelled(sql: &str, noise: &[u8]) -> String {
    let mut noise = noise.iter().cycle();
    let mut out = String::new();
    let mut quoted = false;
    for character in sql.chars() {
        quoted ^= character == '\'';
        let noise = noise.next().copied().unwrap_or_default();
        match character {
            ' ' if !quoted => {
                out.push_str(["  ", "\n", " /* a /* b */ ' */ ", "\t", " -- it's\n"][usize::from(noise % 5)])
            }
            character if !quoted && noise % 2 == 0 => out.extend(character.to_uppercase()),
            character if !quoted => out.extend(character.to_lowercase()),
            character => out.push(character),
        }
    }
    out + " ; "
}

fn template(sql: &str) -> String {
    let mut scanner = Scanner::default();
    scanner.scan(sql);
    scanner.text()
}

fn renamed(sql: &str, aliases: &BTreeSet<String>) -> String {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().expect("tokens");
    let spelled = tokens.into_iter().map(|token| match &token {
        Token::Word(word) if aliases.contains(&word.value) => format!("other_{}", word.value),
        _ => token.to_string(),
    });
    spelled.collect()
}

/// The aliases of tables and subqueries.
fn aliases(sql: &str) -> BTreeSet<String> {
    struct Aliases(BTreeSet<String>);
    impl Visitor for Aliases {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { alias: Some(alias), args: None, .. }
            | TableFactor::Derived { alias: Some(alias), .. } = factor
            {
                self.0.insert(alias.name.value.clone());
            }
            ControlFlow::Continue(())
        }
    }
    let mut found = Aliases(BTreeSet::new());
    for statement in parse(sql).unwrap_or_default() {
        let _: ControlFlow<()> = statement.visit(&mut found);
    }
    // A name that stands for something else too cannot be renamed word by word.
    let taken =
        ["s", "t", "u", "log", "gen", "id", "a", "b", "c", "k", "x", "y", "z", "j", "n", "m", "e", "v", "r", "q"];
    found.0.retain(|name| !taken.contains(&name.as_str()));
    found.0
}

#[test]
fn rendering_and_renaming_change_nothing_in_the_cases() {
    let (schema, cases) = cases();
    let (mut rendered_count, mut renamed_count) = (0, 0);
    for case in &cases {
        let Ok(statements) = parse(&case.sql) else { continue };
        let rendered: String = statements.iter().map(|statement| format!("{statement};\n")).collect();
        // Of a routine the renderer drops quotes and languages, and the data of a COPY begins behind it.
        let is_text = case.sql.contains("$$") || case.sql.contains("stdin");
        if !is_text && parse(&rendered).is_ok() {
            assert_eq!(lineage(&schema, &rendered), lineage(&schema, &case.sql), "{}", case.about);
            rendered_count += 1;
        }
        let aliases = aliases(&case.sql);
        if !aliases.is_empty() {
            assert_eq!(lineage(&schema, &renamed(&case.sql, &aliases)), lineage(&schema, &case.sql), "{}", case.about);
            renamed_count += 1;
        }
    }
    assert!(rendered_count > 40 && renamed_count > 0, "{rendered_count} rendered, {renamed_count} renamed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn rendering_and_renaming_change_nothing(sql in statement()) {
        let (schema, _) = cases();
        let found = lineage(&schema, &sql);
        prop_assert!(!found.contains("failed to"), "{sql}\n{found}");
        let rendered: String = parse(&sql).expect("SQL").iter().map(ToString::to_string).collect();
        prop_assert_eq!(&lineage(&schema, &rendered), &found);
        let aliases = ["one", "two"].map(str::to_owned).into();
        prop_assert_eq!(&lineage(&schema, &renamed(&sql, &aliases)), &found);
    }

    #[test]
    fn a_template_is_the_same_however_it_is_spelled(sql in statement(), noise in prop::collection::vec(any::<u8>(), 7..40)) {
        let (schema, _) = cases();
        let other = respelled(&sql, &noise);
        prop_assert_eq!(template(&other), template(&sql), "{}", other);
        prop_assert_eq!(lineage(&schema, &other), lineage(&schema, &sql), "{}", other);
    }

    #[test]
    fn the_lengths_of_lists_are_no_part_of_a_template(
        one in prop::collection::vec(-9..9_i32, 1..20),
        other in prop::collection::vec(-9..9_i32, 1..20),
    ) {
        let statement = |list: &[i32]| {
            let list: Vec<String> = list.iter().map(ToString::to_string).collect();
            let rows: Vec<String> = list.iter().map(|value| format!("({value}, 'q')")).collect();
            format!("DELETE FROM t WHERE id IN ({}) AND (x, z) IN ({})", list.join(","), rows.join(" , "))
        };
        prop_assert_eq!(template(&statement(&one)), template(&statement(&other)));
    }

    #[test]
    fn no_text_takes_the_analysis_down(
        words in prop::collection::vec(prop::sample::select(vec![
            "SELECT", "FROM", "WHERE", "WITH", "RECURSIVE", "AS", "(", ")", ",", "s", "t", "a", "b.c", "*", "'x'", "1", "$1", "$$",
            "UNION", "INSERT INTO", "VALUES", "UPDATE", "SET", "=", "CURRENT OF", "MERGE", "WHEN", "MATCHED", "THEN", "DO NOTHING",
            "CREATE", "FUNCTION", "BEGIN ATOMIC", "END", "VIEW", "TABLE", "ROWS FROM", "CASE", "IN", "[", "]", "::int", ";", "DO",
            "LANGUAGE plpgsql", "LOOP", "IF", ":=", "\"", "'", "/*", "--", "\n", "é", "ORDER BY", "ON CONFLICT", "COPY", "FROM stdin",
        ]), 0..40),
        cut in 0..200_usize,
    ) {
        let (schema, cases) = cases();
        let mut text = words.join(" ");
        let case = &cases[cut % cases.len()].sql;
        let end = case.char_indices().map(|(place, _)| place).nth(cut).unwrap_or(case.len());
        write!(text, " {}", &case[..end]).expect("a string takes all");
        template(&text);
        Analyzer::new(schema, Dialect::Postgres).analyze(&text);
        analyze(&text, &Schema::default(), Dialect::Snowflake);
    }
}

/// A text of so many parts.
type Shape = fn(usize) -> String;

/// Texts whose cost must grow as their length does.
const SHAPES: &[(&str, Shape)] = &[
    ("a list", |count| format!("SELECT a FROM s WHERE id IN ({})", vec!["1"; count].join(","))),
    ("rows", |count| format!("INSERT INTO t (id, x) VALUES {}", vec!["(1, 2)"; count].join(","))),
    ("columns of a subquery", |count| {
        let columns: Vec<String> = (0..count).map(|column| format!("c{column}")).collect();
        format!("SELECT {0} FROM (SELECT {0} FROM nowhere) x", columns.join(","))
    }),
    ("tables", |count| {
        let tables: Vec<String> = (0..count).map(|table| format!("t{table}")).collect();
        format!("SELECT {}.a FROM {0}", tables.join(", "))
    }),
    ("common table expressions", |count| {
        let tables: Vec<String> = (0..count).map(|table| format!("c{table} AS (SELECT a FROM s)")).collect();
        format!("WITH {} SELECT a FROM c0, c1", tables.join(", "))
    }),
    ("words", |count| "CREATE TABLE RECURSIVE VIEW BEGIN ATOMIC THEN DO NOTHING ".repeat(count / 8)),
    ("statements", |count| "UPDATE t SET x = 1 WHERE id = 2; ".repeat(count / 8)),
    ("open parentheses", |count| "SELECT (".repeat(count)),
    ("comments", |count| "/* */ ".repeat(count)),
    ("quotes", |count| "$a$ ' ".repeat(count)),
];

/// How long a text takes, the quickest of three times.
fn cost(schema: &Schema, text: &str) -> Duration {
    let measured = (0..3).map(|_| {
        let begun = Instant::now();
        template(text);
        Analyzer::new(schema.clone(), Dialect::Postgres).analyze(text);
        begun.elapsed()
    });
    measured.min().unwrap_or_default()
}

#[test]
fn brackets_cost_what_other_tokens_cost() {
    let (schema, _) = cases();
    let plain = cost(&schema, &"a, ".repeat(50_000)).max(Duration::from_millis(2));
    for text in ["[ ", "a [ ", "SET a [ ", "INSERT INTO t ( [ "] {
        let brackets = cost(&schema, &text.repeat(50_000));
        assert!(brackets < plain * 20, "{text}: {brackets:?}, where others take {plain:?}");
    }
}

#[test]
fn cost_grows_with_the_length_and_not_with_its_square() {
    let (schema, _) = cases();
    for (name, text) in SHAPES {
        let (small, large) = (cost(&schema, &text(1_000)), cost(&schema, &text(16_000)));
        // Sixteen times the text: a square would take 256 times as long.
        let most = small.max(Duration::from_millis(2)) * 160;
        assert!(large < most, "{name}: {small:?}, then {large:?}");
    }
}

#[test]
fn queries_over_queries_over_queries_stay_small() {
    let mut sql = "WITH c0 AS (SELECT a FROM s WHERE b = 1)".to_owned();
    for level in 1..60 {
        let before = level - 1;
        write!(sql, ", c{level} AS (SELECT x.a + y.a AS a FROM c{before} x, c{before} y WHERE x.a = y.a)")
            .expect("fits");
    }
    sql += " SELECT a FROM c59";
    let (schema, _) = cases();
    assert_eq!(lineage(&schema, &sql), "--> select writes [] reads [s]\n-->   a = transform(s.a) by [s.a, s.b]\n");
}

#[test]
fn what_nests_deeply_is_an_error_or_understood_and_never_the_end() {
    let (schema, _) = cases();
    for text in [
        format!("SELECT {} FROM s", vec!["a"; 50_000].join(" + ")),
        format!("SELECT a{} FROM s", "::int".repeat(20_000)),
        vec!["SELECT a FROM s"; 5_000].join(" UNION "),
        format!("SELECT {}1{}", "(".repeat(50_000), ")".repeat(50_000)),
        format!("PREPARE p AS SELECT {} FROM s; EXECUTE p", vec!["a"; 20_000].join(" + ")),
        format!("DO $$ BEGIN x := {}; END $$", vec!["a"; 20_000].join(" + ")),
        format!("SELECT {} FROM s", "NOT ".repeat(20_000)),
        "SELECT CASE WHEN ".repeat(5_000),
        "(".repeat(100_000),
    ] {
        assert!(!Analyzer::new(schema.clone(), Dialect::Postgres).analyze(&text).is_empty());
        template(&text);
    }
}
