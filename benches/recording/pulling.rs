//! Row changes out of a slot: ours into the store, `pg_recvlogical` to nowhere.

use std::path::Path;
use std::process::Command;

use crate::measured::{Contender, print, run};
use crate::postgres::{Cluster, Database};
use crate::setting;

/// Rows of one transaction.
const ROWS_PER_TRANSACTION: u64 = 1_000;

fn program(project: &Path, arguments: &[&str]) -> Command {
    let mut command = crate::program();
    command.arg("-C").arg(project).args(arguments);
    command
}

/// Records the changes in two slots, and reads each slot once.
pub async fn measure() {
    let changes = setting("BENCH_CHANGES", 5_000_000);
    let cluster = Cluster::start("log_min_duration_statement = -1\nmax_wal_size = 8GB\n");
    let database = Database::create_on(&cluster, "pulling").await;
    let client = database.client("bench").await;
    let table = "CREATE TABLE orders (id bigint PRIMARY KEY, customer integer, total numeric(12,2), status text)";
    client.batch_execute(table).await.expect("a table");
    let project = tempfile::tempdir().expect("a temporary folder");
    let text = format!("[database]\nurl = \"{}\"\n", database.url());
    std::fs::write(project.path().join("blast-radius.toml"), text).expect("written");
    run(&mut program(project.path(), &["capture", "install"]));
    client.batch_execute("SELECT pg_create_logical_replication_slot('rival', 'pgoutput')").await.expect("a slot");
    for transaction in 0..changes.div_ceil(ROWS_PER_TRANSACTION) {
        let (from, until) = (transaction * ROWS_PER_TRANSACTION, (transaction + 1) * ROWS_PER_TRANSACTION - 1);
        let insert = format!(
            "INSERT INTO orders SELECT n, n % 1000, n % 100000 / 100.0, 'new' FROM generate_series({from}, {until}) n"
        );
        client.batch_execute(&insert).await.expect("written");
    }
    let end = client.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).await.expect("told");
    let end: String = end.get(0);
    let mut ours = Contender { name: "blast-radius capture pull", runs: Vec::new() };
    let mut rival = Contender { name: "pg_recvlogical to /dev/null", runs: Vec::new() };
    let mut receive = Command::new(cluster.program("pg_recvlogical"));
    receive.args(["-d", &database.url(), "--slot", "rival", "--start", "-f", "/dev/null", "--endpos", &end]);
    receive.args(["-o", "proto_version=1", "-o", "publication_names=blast_radius", "-o", "messages=true"]);
    rival.runs.push(run(&mut receive));
    ours.runs.push(run(&mut program(project.path(), &["capture", "pull"])));
    print(&format!("Pulling {changes} row changes"), changes, &[ours, rival]);
}
