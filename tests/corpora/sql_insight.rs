#!/usr/bin/env -S cargo +nightly -Zscript
---
[package]
edition = "2024"

[dependencies]
serde_json = "1"
sql-insight = "=0.5.0"
---

//! sql-insight on statements of a corpus, for `compare.py`: a line `{"sql", "dialect"}` in, a line `[[read], [written]]`
//! out; `null` where it does not understand the text.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};

use serde_json::{Value, json};
use sql_insight::TableReference;
use sql_insight::extractor::extract_table_operations;
use sql_insight::sqlparser::dialect::{Dialect, GenericDialect, PostgreSqlDialect, dialect_from_str};

fn main() {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let case: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let answer = tables(case["sql"].as_str().expect("SQL"), case["dialect"].as_str().expect("a dialect"));
        let answer = answer.map_or(Value::Null, |(read, written)| json!([read, written]));
        writeln!(out, "{answer}").and_then(|()| out.flush()).expect("written");
    }
}

fn tables(sql: &str, dialect: &str) -> Option<(BTreeSet<String>, BTreeSet<String>)> {
    let dialect: Box<dyn Dialect> = match dialect {
        "greenplum" | "materialize" | "vertica" => Box::new(PostgreSqlDialect {}),
        "mariadb" => dialect_from_str("mysql")?,
        "tsql" => dialect_from_str("mssql")?,
        other => dialect_from_str(other).unwrap_or_else(|| Box::new(GenericDialect)),
    };
    let name = |table: &TableReference| {
        let parts = [table.catalog.as_ref(), table.schema.as_ref(), Some(&table.name)];
        parts.into_iter().flatten().map(|part| part.value.clone()).collect::<Vec<_>>().join(".")
    };
    let (mut read, mut written) = (BTreeSet::new(), BTreeSet::new());
    for statement in extract_table_operations(dialect.as_ref(), sql).ok()? {
        let statement = statement.ok()?;
        read.extend(statement.reads.iter().map(|one| name(&one.reference)));
        written.extend(statement.writes.iter().map(|one| name(&one.reference)));
    }
    Some((read, written))
}
