//! A whole table: ours in one snapshot over several connections, `\copy … (format binary)`, connectorx.

use std::collections::BTreeMap;
use std::process::Command;

use blast_radius::catalog::Catalog;
use blast_radius::engine::session_context;
use blast_radius::model::DatabaseSource;
use futures::StreamExt as _;

use crate::measured::{Contender, print, python, run};
use crate::postgres::{Cluster, Database};
use crate::setting;

/// The argument with which this program does nothing but read.
pub const READ: &str = "--read-table";

/// Reads every row of the table as Arrow batches, and lets go of them.
pub async fn read(url: &str) {
    let source = DatabaseSource::Postgres { url: url.to_owned(), schemas: vec!["public".to_owned()] };
    let catalog = Catalog::open(&source, &BTreeMap::new()).await.expect("the catalog opens");
    let session = session_context();
    catalog.register(&session).expect("registered");
    let frame = session.sql("SELECT * FROM public.orders").await.expect("planned");
    let mut batches = frame.execute_stream().await.expect("begun");
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        rows += batch.expect("read").num_rows();
    }
    eprintln!("{rows} rows");
}

/// Makes the table, and reads it with each contender in turn.
pub async fn measure() {
    let rows = setting("BENCH_ROWS", 10_000_000);
    let database = Database::create("reading").await;
    let client = database.client("bench").await;
    let fill = format!(
        "CREATE TABLE orders (id bigint PRIMARY KEY, customer integer, total numeric(12,2), status text, placed timestamptz,
                              note text);
         INSERT INTO orders SELECT n, n % 100000, n % 100000 / 100.0, (ARRAY['new', 'paid', 'sent'])[1 + n % 3],
                                   timestamptz '2026-01-01' + n * interval '1 second', 'order ' || n
         FROM generate_series(1, {rows}) n; ANALYZE orders"
    );
    client.batch_execute(&fill).await.expect("a table");
    client.batch_execute("CHECKPOINT; SELECT count(*) FROM orders").await.expect("warm");
    let url = database.url();
    let mut ours = Contender { name: "blast-radius", runs: Vec::new() };
    let mut psql = Contender { name: "psql `\\copy … (format binary)`", runs: Vec::new() };
    let mut connectorx = Contender { name: "connectorx, 4 partitions, to Arrow", runs: Vec::new() };
    let script = format!(
        "import connectorx; connectorx.read_sql({url:?}, 'SELECT * FROM orders', return_type='arrow', \
         partition_on='id', partition_num=4)"
    );
    for _ in 0..setting("BENCH_ROUNDS", 3) {
        let program = std::env::current_exe().expect("this program");
        ours.runs.push(run(Command::new(program).args([READ, &url])));
        let copy = ["-X", "-q", &url, "-c", "\\copy orders to '/dev/null' (format binary)"];
        psql.runs.push(run(Command::new(Cluster::shared().program("psql")).args(copy)));
        if let Some(python) = python() {
            connectorx.runs.push(run(Command::new(python).args(["-c", &script])));
        }
    }
    print(&format!("Reading a table of {rows} rows"), rows, &[ours, psql, connectorx]);
}
