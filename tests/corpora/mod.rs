//! The public cases of other engines, run whole against the analysis of SQL.
//!
//! A case that is not answered as its corpus expects stands in `waivers.tsv` with the reason. One that stands there and
//! is answered as expected is a failure too, so that the table says exactly what is missing.

mod conventions;

use std::collections::{BTreeMap, BTreeSet};

use blast_radius::model::{Column, ColumnType, TableName, TableSchema};
use blast_radius::sql::{Dialect, Schema, Schemas, StatementKind, analyze};
use serde_json::Value;

use conventions::{Edge, column_edges, tables};

const WAIVERS: &str = include_str!("waivers.tsv");

/// At least so many of a hundred cases that the parser knows must be answered as expected.
const TABLE_GOAL: usize = 97;
const COLUMN_GOAL: usize = 93;

/// How the reason of a case begins that is not counted: what it expects is not what its SQL means.
const CORPUS_IS_WRONG: &str = "the corpus is wrong: ";

/// One case of a corpus.
struct Case {
    id: String,
    by_column: bool,
    sql: String,
    dialect: Dialect,
    schema: Schema,
    expected: Expected,
}

/// What a corpus expects.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Tables { sources: BTreeSet<String>, targets: BTreeSet<String> },
    Columns(BTreeSet<Edge>),
}

fn dialect(name: &str) -> Dialect {
    match name {
        // Dialects that the parser has no description of, read as the nearest that it has.
        "greenplum" | "materialize" | "vertica" => Dialect::Postgres,
        "athena" | "teradata" | "db2" | "exasol" => Dialect::Generic,
        known => known.parse().unwrap_or_else(|error| panic!("{known}: {error}")),
    }
}

fn plain(name: &str) -> String {
    name.trim_start_matches("<default>.").trim_start_matches("public.").to_lowercase()
}

fn schema(value: &Value) -> Schema {
    let Some(tables) = value.as_object() else { return Schema::default() };
    let mut schemas = Schemas::new();
    for (name, columns) in tables {
        let name = match name.rsplit_once('.') {
            Some((path, table)) => TableName::new(path, table),
            None => TableName::new("public", name.as_str()),
        };
        let columns = columns.as_array().expect("a list of columns").iter().map(|column| Column {
            name: column.as_str().expect("a name").into(),
            column_type: ColumnType::Text,
            not_null: false,
            generated: false,
        });
        let table = TableSchema {
            name: name.clone(),
            columns: columns.collect(),
            key: Vec::new(),
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
        };
        schemas.insert(name, table.into());
    }
    Schema::from(&schemas)
}

fn names(value: &Value) -> BTreeSet<String> {
    let names = value.as_array().expect("a list of tables").iter().map(|name| plain(name.as_str().expect("a name")));
    names.filter(|name| !conventions::is_file(name)).collect()
}

fn edges(value: &Value) -> BTreeSet<Edge> {
    let end = |end: &Value| {
        let table = end["table"].as_str().map(plain);
        (table, end["column"].as_str().expect("a column").to_lowercase())
    };
    value
        .as_array()
        .expect("a list of edges")
        .iter()
        .map(|edge| Edge { from: end(&edge["from"]), to: end(&edge["to"]) })
        .collect()
}

fn cases(suite: &str) -> Vec<Case> {
    let path = super::shared().join("corpora").join(format!("{suite}.jsonl"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let case = |line: &str| {
        let case: Value = serde_json::from_str(line).expect("a case is JSON");
        let by_column = case["kind"] == "column";
        let sql = match &case["sql"] {
            Value::String(sql) => sql.clone(),
            _ => {
                let statements = case["sqls"].as_array().expect("statements").iter();
                statements.map(|sql| sql.as_str().expect("SQL")).collect::<Vec<_>>().join(";\n")
            }
        };
        let expect = &case["expect"];
        let expected = if by_column {
            Expected::Columns(edges(&expect["edges"]))
        } else {
            Expected::Tables { sources: names(&expect["sources"]), targets: names(&expect["targets"]) }
        };
        Case {
            id: case["id"].as_str().expect("an id").replace(['\t', '\n'], " "),
            by_column,
            sql,
            dialect: dialect(case["dialect"].as_str().expect("a dialect")),
            schema: schema(&case["schema"]),
            expected,
        }
    };
    text.lines().map(case).collect()
}

/// How many cases there are, how many count (the parser knows them, and the corpus is not wrong), how many of those are
/// right.
#[derive(Clone, Copy, Default)]
struct Tally {
    all: usize,
    parsed: usize,
    right: usize,
}

fn run(suite: &str) {
    let waived: BTreeMap<&str, &str> =
        WAIVERS.lines().filter_map(|line| line.strip_prefix(suite)?.strip_prefix('\t')?.split_once('\t')).collect();
    let mut tallies = [Tally::default(); 2];
    let (mut unexpected, mut mended) = (Vec::new(), Vec::new());
    for (number, case) in cases(suite).into_iter().enumerate() {
        // Cases of one id differ in their place.
        let id = format!("{}@{}", case.id, number + 1);
        let statements = analyze(&case.sql, &case.schema, case.dialect);
        let answer = match &case.expected {
            Expected::Tables { .. } => tables(&statements, suite),
            Expected::Columns(_) => Expected::Columns(column_edges(&statements, suite)),
        };
        let right = answer == case.expected;
        let parsed = statements.iter().all(|statement| statement.kind != StatementKind::Unparsed);
        let wrong = waived.get(id.as_str()).is_some_and(|reason| reason.starts_with(CORPUS_IS_WRONG));
        let parsed = parsed && !wrong;
        let tally = &mut tallies[usize::from(case.by_column)];
        tally.all += 1;
        tally.parsed += usize::from(parsed);
        tally.right += usize::from(parsed && right);
        match (right, waived.get(id.as_str())) {
            (true, None) | (false, Some(_)) => {}
            (true, Some(reason)) => mended.push(format!("{id}: waived ({reason}), but right")),
            (false, None) => unexpected.push(format!(
                "{id}\n  {}\n  expected {:?}\n  found    {answer:?}{}",
                case.sql,
                case.expected,
                if parsed { "" } else { "  (not parsed)" }
            )),
        }
    }
    for (what, tally, goal) in [("tables", tallies[0], TABLE_GOAL), ("columns", tallies[1], COLUMN_GOAL)] {
        println!(
            "{suite}, {what}: {} cases, {} parsed, {} right ({:.1} % of those parsed)",
            tally.all,
            tally.parsed,
            tally.right,
            100.0 * tally.right as f64 / tally.parsed as f64
        );
        assert!(tally.right * 100 >= tally.parsed * goal || !unexpected.is_empty(), "{suite}, {what}: below {goal} %");
    }
    assert!(unexpected.is_empty(), "{} not as expected:\n{}", unexpected.len(), unexpected.join("\n"));
    assert!(mended.is_empty(), "{}", mended.join("\n"));
}

#[test]
fn sqllineage_s_cases_are_answered() {
    run("sqllineage");
}

#[test]
fn openlineage_s_cases_are_answered() {
    run("openlineage");
}

/// What is said of a text apart from the text itself.
fn meanings(sql: &str, schema: &Schema, dialect: Dialect) -> Vec<String> {
    let meaning = |statement: blast_radius::sql::StatementAnalysis| {
        format!("{:?} {:?} {:?} {:?}", statement.kind, statement.targets, statement.sources, statement.columns)
    };
    analyze(sql, schema, dialect).into_iter().map(meaning).collect()
}

#[test]
fn a_statement_rendered_again_means_the_same() {
    let tpcds = std::fs::read_to_string(super::shared().join("corpora/tpcds.jsonl")).expect("TPC-DS");
    let mut texts: Vec<String> =
        tpcds.lines().map(|line| serde_json::from_str(line).expect("a statement is a string")).collect();
    assert_eq!(texts.len(), 99);
    let of_corpora = ["sqllineage", "openlineage"].into_iter().flat_map(cases);
    texts.extend(
        of_corpora.filter(|case| matches!(case.dialect, Dialect::Postgres | Dialect::Ansi)).map(|case| case.sql),
    );
    let mut rendered = 0;
    for sql in &texts {
        let Ok(statements) = blast_radius::sql::parse(sql) else { continue };
        let again = statements.iter().map(ToString::to_string).collect::<Vec<_>>().join(";\n");
        let before = meanings(sql, &Schema::default(), Dialect::Postgres);
        assert_eq!(meanings(&again, &Schema::default(), Dialect::Postgres), before, "{sql}");
        rendered += 1;
    }
    println!("{rendered} texts rendered again");
    assert!(rendered > 400, "only {rendered} texts parse");
}

#[test]
fn every_waiver_has_a_reason() {
    for line in WAIVERS.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        assert!(matches!(fields.as_slice(), [_, _, reason] if !reason.is_empty()), "{line}");
    }
}
