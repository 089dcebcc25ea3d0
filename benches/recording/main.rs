//! What recording and reading cost, beside the tools that a user would otherwise use: `cargo bench --bench recording`.
//!
//! It starts a PostgreSQL of its own, and prints a table in Markdown: the median of each, its peak memory, and the ratio to
//! ours. `BENCH_ONLY` (`reading`, `ingest`, `pulling`, `stamping`) runs one part; `BENCH_ROWS`, `BENCH_EVENTS`,
//! `BENCH_CHANGES`, `BENCH_SECONDS` and `BENCH_ROUNDS` set the sizes; `BENCH_PROGRAM` names another build of the program.
//! DuckDB and connectorx are measured where `BENCH_PYTHON` names a Python that has them (`pip install duckdb connectorx
//! pyarrow pandas`).

mod ingest;
mod measured;
#[path = "../../tests/postgres/mod.rs"]
mod postgres;
mod pulling;
mod reading;
mod stamping;

/// The program that is measured: the one built with this, or `BENCH_PROGRAM`.
fn program() -> std::process::Command {
    let named = std::env::var_os("BENCH_PROGRAM");
    std::process::Command::new(named.unwrap_or_else(|| env!("CARGO_BIN_EXE_blast-radius").into()))
}

/// A number from the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => otherwise,
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // This program reads a table as one of the measured, so that its memory can be told from ours.
    if let [mode, url] = arguments.as_slice()
        && mode == reading::READ
    {
        return runtime.block_on(reading::read(url));
    }
    let only = std::env::var("BENCH_ONLY").ok();
    let is_wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    runtime.block_on(async {
        if is_wanted("reading") {
            reading::measure().await;
        }
        if is_wanted("ingest") {
            ingest::measure();
        }
        if is_wanted("pulling") {
            pulling::measure().await;
        }
        if is_wanted("stamping") {
            stamping::measure().await;
        }
    });
}
