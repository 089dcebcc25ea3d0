//! What a blast radius costs, beside what a person would do instead: `cargo bench --bench trace`.
//!
//! Histories of growing length of which 1 % is downstream of the release, and one length with growing damage; each row of
//! the tables in Markdown is the median of its runs. Beside it: replaying the whole history into a PostgreSQL of its own,
//! and DuckDB following precomputed edges from write to write with a recursive CTE, which computes no values.
//! `BENCH_TRANSACTIONS` is the longest history, `BENCH_ROUNDS` the runs of each, `BENCH_PROGRAM` another build of the
//! program. DuckDB is measured where `BENCH_PYTHON` names a Python that has it.

mod history;
#[path = "../recording/measured.rs"]
mod measured;
#[path = "../../tests/postgres/mod.rs"]
mod postgres;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use history::History;
use measured::{Contender, Run, print, python, run, run_to};
use postgres::{Cluster, Database};

/// The exit status of a trace that found something.
const FOUND: i32 = 1;

/// The program that is measured: the one built with this, or `BENCH_PROGRAM`.
fn program() -> Command {
    let named = std::env::var_os("BENCH_PROGRAM");
    Command::new(named.unwrap_or_else(|| env!("CARGO_BIN_EXE_blast-radius").into()))
}

/// A number from the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => otherwise,
    }
}

fn trace(project: &Path) -> Run {
    let mut command = program();
    command.arg("-C").arg(project).args(["--release", "v42", "--faults", "faults.yaml", "--no-progress", "--quiet"]);
    command.args(["--records", "records.csv"]);
    run_to(&mut command, FOUND)
}

/// Traces the history; asserts that every record it knows to be wrong is found, and no other.
fn traced(history: &History, project: &Path, rounds: u64) -> Vec<Run> {
    let mut ingest = program();
    ingest.arg("-C").arg(project).args(["ingest", "--no-progress", "--quiet", "events.ndjson"]);
    run(&mut ingest);
    let runs = (0..rounds).map(|_| trace(project)).collect();
    let mut records = csv::Reader::from_path(project.join("records.csv")).expect("the records were written");
    // What else the wrong transfers wrote may be wrong too, for all that anyone knows: it is possible, and traced as well.
    let found: BTreeSet<(String, String)> = records
        .records()
        .map(|record| record.expect("a record"))
        .filter(|record| &record[2] != "possible")
        .map(|record| (record[0].to_owned(), record[1].to_owned()))
        .collect();
    assert_eq!(found.len(), history.wrong_records, "the records found are those that are wrong");
    runs
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let rounds = setting("BENCH_ROUNDS", 3);
    let longest = setting("BENCH_TRANSACTIONS", 1_000_000);
    println!(
        "| transactions | row writes | downstream | records wrong | median | peak memory |\n|---|---|---|---|---|---|"
    );
    let lengths = [longest / 100, longest / 10, longest].map(|length| (length, 100));
    let damages = [1_000, 10].map(|one_in| (longest / 10, one_in));
    for (transactions, one_in) in lengths.into_iter().chain(damages) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let history = History::write(folder.path(), transactions, one_in);
        let mut runs = traced(&history, folder.path(), rounds);
        runs.sort_by_key(|run| run.time);
        let (time, memory) = (runs[runs.len() / 2].time, runs.iter().map(|run| run.memory).max().unwrap_or_default());
        let share = 100.0 * history.downstream_writes as f64 / history.writes as f64;
        println!(
            "| {transactions} | {} | {share:.2} % | {} | {:.2} s | {} MB |",
            history.writes,
            history.wrong_records,
            time.as_secs_f64(),
            memory >> 20
        );
    }
    runtime.block_on(beside(longest / 10, rounds));
}

/// The same history traced, replayed and followed.
async fn beside(transactions: u64, rounds: u64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let history = History::write(folder.path(), transactions, 100);
    let ours = Contender { name: "blast-radius --release v42", runs: traced(&history, folder.path(), rounds) };
    let mut replayed = Contender { name: "the whole history replayed into PostgreSQL", runs: Vec::new() };
    let mut followed = Contender { name: "DuckDB, a recursive CTE over precomputed edges", runs: Vec::new() };
    let cluster = Cluster::start("log_min_duration_statement = -1\n");
    for _ in 0..rounds {
        let database = Database::create_on(&cluster, "replayed").await;
        let mut replay = Command::new(cluster.program("psql"));
        replay.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &database.url()]).arg("-f");
        replayed.runs.push(run(replay.arg(folder.path().join("replay.sql"))));
        if let Some(python) = python() {
            let mut follow = Command::new(python);
            follow.args(["-c", FOLLOW]).arg(folder.path());
            followed.runs.push(run(&mut follow));
        }
    }
    print(&format!("A history of {transactions} transactions"), transactions, &[ours, replayed, followed]);
}

const FOLLOW: &str = "
import duckdb, sys
folder = sys.argv[1]
duckdb.execute(f\"CREATE TABLE edges AS FROM read_csv('{folder}/edges.csv')\")
duckdb.execute(f\"CREATE TABLE roots AS FROM read_csv('{folder}/roots.csv')\")
duckdb.execute('''WITH RECURSIVE downstream AS (SELECT write FROM roots UNION
    SELECT written FROM edges JOIN downstream ON edges.read = downstream.write) SELECT count(*) FROM downstream''')
";
