//! What PostgreSQL's statements read and write, case by case: `statements.sql` holds each with the answer.
//!
//! A case is a paragraph: what it is about, SQL, and behind `-->` what is found. The first paragraph is what is defined
//! before each. After a change that is meant, `UPDATE_CASES=1 cargo nextest run --test lineage` writes the answers
//! anew: read the difference.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use blast_radius::sql::{Analyzer, Dialect, Schema, StatementAnalysis};

const CASES: &str = include_str!("statements.sql");

/// One paragraph of the file.
pub struct Case {
    /// What it is about.
    pub about: String,
    /// Its statements.
    pub sql: String,
    expected: String,
}

/// What is defined before each case, and the cases.
pub fn cases() -> (Schema, Vec<Case>) {
    let mut paragraphs = CASES.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
    let definitions = paragraphs.next().expect("definitions");
    let (schema, defined) = Schema::from_definitions(definitions, Dialect::Postgres);
    assert!(defined.iter().all(|statement| statement.error.is_none()), "the definitions are understood");
    (schema, paragraphs.map(case).collect())
}

fn case(paragraph: &str) -> Case {
    let lines = |wanted: fn(&str) -> bool| paragraph.lines().filter(|line| wanted(line)).collect::<Vec<_>>().join("\n");
    let about = lines(|line| line.starts_with("-- "));
    let expected = lines(|line| line.starts_with("--> "));
    Case { about, sql: lines(|line| !line.starts_with("--")), expected }
}

/// A statement's analysis, a line for each target column; without the schema `public`, which says nothing here.
pub fn shown(analysis: &StatementAnalysis) -> String {
    let names = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
    let tables = |tables: &[blast_radius::model::TableName]| names(tables.iter().map(ToString::to_string).collect());
    let kind = analysis.kind.as_str();
    let mut text = format!("--> {kind} writes [{}] reads [{}]", tables(&analysis.targets), tables(&analysis.sources));
    for column in &analysis.columns {
        let sources = names(column.sources.iter().map(ToString::to_string).collect());
        let influences = names(column.influences.iter().map(|influence| influence.column.to_string()).collect());
        let via = column.via.as_str();
        write!(text, "\n-->   {} = {via}({sources}) by [{influences}]", column.target).expect("a string takes all");
    }
    if let Some(error) = &analysis.error {
        write!(text, "\n-->   failed to {error}").expect("a string takes all");
    }
    text.replace("public.", "")
}

#[test]
fn every_case_has_its_answer() {
    let (schema, cases) = cases();
    let definitions = CASES.split("\n\n").next().expect("definitions");
    let (mut wrong, mut written) = (Vec::new(), definitions.trim_end().to_owned());
    for case in &cases {
        let analyses = Analyzer::new(schema.clone(), Dialect::Postgres).analyze(&case.sql);
        let found = analyses.iter().map(shown).collect::<Vec<_>>().join("\n");
        if found != case.expected {
            wrong.push(format!("{}\n{}\nexpected\n{}\nfound\n{found}", case.about, case.sql, case.expected));
        }
        write!(written, "\n\n{}\n{}\n{found}", case.about, case.sql).expect("a string takes all");
    }
    if std::env::var_os("UPDATE_CASES").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lineage/statements.sql");
        std::fs::write(path, written + "\n").expect("written");
        return;
    }
    assert!(cases.len() >= 78, "all cases are read");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}
