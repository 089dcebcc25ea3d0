//! What must hold of every text that may be SQL: whoever reads it comes to an end, says nothing of what is not there, and
//! takes time in proportion to its length.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use blast_radius::model::{Column, ColumnType, TableName, TableSchema};
use blast_radius::sql::{
    Dialect, DroppedTables, Reads, Scanner, Schema, Schemas, Templates, TemporaryWrite, WriteForms, analyze,
    array_elements, comment_tags, literals, materialized_view, parse, refreshed_view, role_of, tables_named, template,
    temporary_table, view_query, write_targets,
};
use sqlparser::ast::Statement;

/// Every function that reads SQL from outside, on one text.
///
/// # Panics
/// Where one says what cannot be: that is a finding.
pub fn read_everyhow(sql: &str) {
    let mut scanner = Scanner::default();
    scanner.scan(sql);
    assert!(scanner.literals().iter().all(|literal| literal.start < literal.end && literal.end <= sql.len()));
    drop((template(sql), literals(sql), comment_tags(sql), array_elements(sql)));
    let schemas = tables();
    let schema = Schema::from(&schemas);
    for (schema, dialect) in [(&schema, Dialect::Postgres), (&Schema::default(), Dialect::Snowflake)] {
        let analyses = analyze(sql, schema, dialect);
        assert!(analyses.iter().all(|analysis| analysis.sql.len() <= sql.len()));
    }
    let schemas = Arc::new(schemas);
    let mut templates = Templates::new(schema, Arc::clone(&schemas));
    for _ in 0..2 {
        let execution = templates.execution(sql);
        execution.may_touch(&[], |_, key| key.is_some());
    }
    drop((refreshed_view(sql), materialized_view(sql), view_query(sql).is_ok()));
    for mut statement in parse(sql).unwrap_or_default() {
        drop((role_of(&statement), write_targets(&statement, &schemas), tables_named(&statement)));
        drop((temporary_table(&statement), DroppedTables::of(&statement), WriteForms::of(&statement, &schemas)));
        drop(TemporaryWrite::of(&statement, &schemas, |table| schemas.contains_key(table)));
        if let Statement::Query(query) = &mut statement {
            drop(Reads::resolve(query, &schemas, "read"));
        }
        // What is passed on can be copied and dropped on any stack.
        drop(statement.clone());
    }
}

/// How often the larger text repeats what the smaller one does.
const LARGER: usize = 16;

/// Reads a beginning, a middle so often that it has some thousand bytes, and an end; then the same with sixteen times as many:
/// where that takes a hundred times as long, the cost is no longer the length's.
///
/// # Panics
/// Where it does: that is a finding.
pub fn grow(beginning: &str, middle: &str, end: &str) {
    if middle.is_empty() {
        return;
    }
    let repeated = |times: usize| [beginning, &middle.repeat(times), end].concat();
    let times = 2_000_usize.div_ceil(middle.len());
    let (small, large) = (repeated(times), repeated(times * LARGER));
    let bound = |small: Duration| small.max(Duration::from_millis(2)) * 100;
    if cost(&large) > bound(cost(&small)) {
        // Once is chance.
        let least = |text: &str| (0..4).map(|_| cost(text)).min().unwrap_or_default();
        let (small, large) = (least(&small), least(&large));
        assert!(large <= bound(small), "{beginning:?} {middle:?} {end:?}: {small:?}, then {large:?}");
    }
}

/// The processor time that reading a text takes.
fn cost(sql: &str) -> Duration {
    let before = processor_time();
    read_everyhow(sql);
    processor_time().saturating_sub(before)
}

/// The time that this thread has run, as Linux counts it: what else the machine does is not in it.
fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(told.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}

fn tables() -> Schemas {
    let table = |name: &str, columns: &[(&str, ColumnType)]| {
        let column = |(name, column_type): &(&str, ColumnType)| Column {
            name: (*name).into(),
            column_type: column_type.clone(),
            not_null: false,
            generated: false,
        };
        let name = TableName::new("public", name);
        let columns: Vec<Column> = columns.iter().map(column).collect();
        let key = columns.iter().take(1).map(|column| column.name.clone()).collect();
        (name.clone(), Arc::new(TableSchema { name, columns, key, foreign_keys: Vec::new(), unique_keys: Vec::new() }))
    };
    BTreeMap::from([
        table("s", &[("id", ColumnType::Integer), ("a", ColumnType::Integer), ("b", ColumnType::Text)]),
        table("t", &[("id", ColumnType::BigInt), ("x", ColumnType::Numeric(Some((12, 2)))), ("y", ColumnType::Date)]),
        table("u", &[("id", ColumnType::Text), ("k", ColumnType::TimestampTz), ("j", ColumnType::Boolean)]),
    ])
}
