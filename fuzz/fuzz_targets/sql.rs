//! The analysis of SQL: whatever the text, it ends, and says nothing of what is not there.
#![no_main]

use blast_radius::sql::{Dialect, Scanner, Schema, analyze, parse, template};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(sql) = std::str::from_utf8(bytes) else { return };
    let mut scanner = Scanner::default();
    scanner.scan(sql);
    assert!(scanner.literals().iter().all(|literal| literal.start < literal.end && literal.end <= sql.len()));
    drop(template(sql));
    let analyses = analyze(sql, &Schema::default(), Dialect::Postgres);
    assert!(analyses.iter().all(|analysis| analysis.sql.len() <= sql.len()));
    // What is passed on can be copied and dropped on any stack.
    if let Ok(statements) = parse(sql) {
        drop(statements.clone());
    }
});
