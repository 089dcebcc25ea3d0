//! The analysis of SQL: whatever the text, it ends, and says something of what is there.
#![no_main]

use blast_radius::sql::{Dialect, Scanner, Schema, analyze, parse, template};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(sql) = std::str::from_utf8(bytes) else { return };
    let mut scanner = Scanner::default();
    scanner.scan(sql);
    assert!(scanner.literals().iter().all(|literal| literal.start < literal.end && literal.end <= sql.len()));
    assert!(template(sql).len() <= 4 * sql.len() + 4);
    let analyses = analyze(sql, &Schema::default(), Dialect::Postgres);
    assert!(analyses.iter().all(|analysis| sql.contains(&*analysis.sql)));
    if let Ok(statements) = parse(sql) {
        drop(statements.clone());
    }
});
