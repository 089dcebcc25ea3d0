//! How fast SQL is analysed: beside the parser alone, by template, and beside other engines.
//!
//! The full analysis parses too: 0.50 of the speed of parsing alone means that it takes as long again as the parser.
//!
//! `cargo bench --bench sql_analysis` prints a table of medians. With `ENGINES_PYTHON` naming a Python that has sqlglot,
//! sqllineage and openlineage_sql installed, the same statements go through them in the same run
//! (`sql_analysis/engines.py`). `ROUNDS=15` says how often each is measured.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blast_radius::model::{Column, ColumnType, TableName, TableSchema, Value};
use blast_radius::sql::{Analyzer, Dialect, Schema, Schemas, Templates};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// The statements of one line of the table.
struct Load {
    name: &'static str,
    statements: Vec<String>,
    schema: Schema,
}

fn main() {
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(15);
    let schemas = Arc::new(oltp_schemas());
    let loads = [
        Load { name: "TPC-DS", statements: tpcds(), schema: tpcds_schema() },
        Load { name: "OLTP", statements: oltp(), schema: Schema::from(schemas.as_ref()) },
    ];
    println!("| statements | engine | a second | of the speed of parsing alone |\n|---|---|---:|---:|");
    for load in &loads {
        let parsing = median(rounds, || {
            for sql in &load.statements {
                black_box(Parser::parse_sql(&PostgreSqlDialect {}, sql).expect("it parses"));
            }
        });
        row(load, "sqlparser, parsing alone", parsing, parsing);
        let analysis = median(rounds, || {
            let mut analyzer = Analyzer::new(load.schema.clone(), Dialect::Postgres);
            for sql in &load.statements {
                black_box(analyzer.analyze(sql));
            }
        });
        row(load, "blast-radius, full analysis", analysis, parsing);
        let mut templates = Templates::new(load.schema.clone(), Arc::clone(&schemas));
        let parameters: [Value; 0] = [];
        let mut by_template = || {
            for sql in &load.statements {
                let execution = templates.execution(sql);
                for keyed in &execution.template.keys {
                    black_box(execution.keys(keyed, &parameters));
                }
                black_box(&execution);
            }
        };
        by_template();
        row(load, "blast-radius, by template, with keys", median(rounds, by_template), parsing);
    }
    for load in &loads {
        engines(load);
    }
}

fn row(load: &Load, engine: &str, took: Duration, parsing: Duration) {
    let rate = load.statements.len() as f64 / took.as_secs_f64();
    let ratio = parsing.as_secs_f64() / took.as_secs_f64();
    println!("| {} | {engine} | {rate:.0} | {ratio:.2} |", load.name);
}

fn median(rounds: usize, mut work: impl FnMut()) -> Duration {
    work();
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[rounds / 2]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/sql_analysis")
}

fn tpcds() -> Vec<String> {
    let text = include_str!("sql_analysis/tpcds.sql");
    let without_licence: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
    let statements: Vec<String> = without_licence
        .join("\n")
        .split(";\n")
        .map(|sql| sql.trim().trim_end_matches(';').to_owned())
        .filter(|sql| !sql.is_empty())
        .collect();
    assert_eq!(statements.len(), 99);
    statements
}

fn tpcds_schema() -> Schema {
    Schema::from_definitions(include_str!("sql_analysis/tpcds_schema.sql"), Dialect::Postgres).0
}

/// Two thousand statements as an application runs them, with their literals in them.
fn oltp() -> Vec<String> {
    let statement = |number: usize| match number % 5 {
        0 => format!(
            "INSERT INTO orders (o_id, c_id, amount, status, created_at) \
             VALUES ({number}, {}, {}.50, 'new', '2026-01-01 10:00:00')",
            number % 97,
            number % 50
        ),
        1 => format!("UPDATE orders SET status = 'paid', amount = amount + {} WHERE o_id = {number}", number % 9),
        2 => format!("DELETE FROM cart_items WHERE cart_id = {number} AND sku = 'SKU-{}'", number % 30),
        3 => format!("SELECT amount, status FROM orders WHERE o_id IN ({number}, {}) ORDER BY o_id", number + 1),
        _ => format!(
            "INSERT INTO cart_items (cart_id, sku, quantity) VALUES ({number}, 'SKU-{}', 1) \
             ON CONFLICT (cart_id, sku) DO UPDATE SET quantity = cart_items.quantity + excluded.quantity",
            number % 30
        ),
    };
    (0..2_000).map(statement).collect()
}

fn oltp_schemas() -> Schemas {
    let table = |name: &str, columns: &[(&str, ColumnType)], key: &[&str]| {
        let column = |(name, column_type): &(&str, ColumnType)| Column {
            name: (*name).into(),
            column_type: column_type.clone(),
            not_null: true,
            generated: false,
        };
        let schema = TableSchema {
            name: TableName::new("public", name),
            columns: columns.iter().map(column).collect(),
            key: key.iter().map(|name| (*name).into()).collect(),
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
        };
        (schema.name.clone(), Arc::new(schema))
    };
    let orders = [
        ("o_id", ColumnType::BigInt),
        ("c_id", ColumnType::BigInt),
        ("amount", ColumnType::Numeric(Some((12, 2)))),
        ("status", ColumnType::Text),
        ("created_at", ColumnType::Timestamp),
    ];
    let items = [("cart_id", ColumnType::BigInt), ("sku", ColumnType::Text), ("quantity", ColumnType::Integer)];
    Schemas::from([table("orders", &orders, &["o_id"]), table("cart_items", &items, &["cart_id", "sku"])])
}

/// The same statements through the engines of others, where they are installed.
fn engines(load: &Load) {
    let Some(python) = std::env::var_os("ENGINES_PYTHON") else {
        println!("\n{}: name a Python with the other engines in ENGINES_PYTHON to measure them too", load.name);
        return;
    };
    let file = std::env::temp_dir().join(format!("blast-radius-bench-{}.jsonl", std::process::id()));
    let lines: Vec<String> = load.statements.iter().map(|sql| serde_json::json!(sql).to_string()).collect();
    std::fs::write(&file, lines.join("\n")).expect("written");
    let status = Command::new(python).arg(folder().join("engines.py")).arg(load.name).arg(&file).status();
    std::fs::remove_file(&file).expect("removed");
    assert!(status.expect("Python runs").success(), "the other engines could not be measured");
}
