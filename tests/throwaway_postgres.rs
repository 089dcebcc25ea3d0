//! The harness keeps its word: fresh databases, a complete log, and nothing left behind.

mod postgres;

use postgres::{Cluster, Database};

#[tokio::test]
async fn a_database_is_fresh_and_its_log_complete() {
    let first = Database::create("first").await;
    let second = Database::create("second").await;
    let client = first.client("shop@v42").await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("a table can be created");
    client.execute("INSERT INTO t VALUES ($1)", &[&7_i32]).await.expect("a row can be inserted");
    let elsewhere = second.client("shop@v42").await;
    elsewhere.batch_execute("SELECT 1").await.expect("the second database answers");
    let tables = elsewhere.query("SELECT 1 FROM pg_tables WHERE tablename = 't'", &[]).await.expect("it answers");
    assert!(tables.is_empty(), "a database is not shared");
    drop(client);
    first.settled().await;
    let log = first.jsonlog().await.join("\n");
    assert!(log.contains("INSERT INTO t VALUES ($1)") && log.contains("$1 = '7'"), "{log}");
    assert!(log.contains("connection received") && log.contains("disconnection"), "{log}");
    assert!(!log.contains("SELECT 1"), "another database's session is in the log: {log}");
}

#[test]
fn a_dropped_server_leaves_nothing() {
    let cluster = Cluster::start("max_connections = 7\n");
    let folder = cluster.socket_folder().to_owned();
    assert!(cluster.jsonlog_path().exists());
    drop(cluster);
    assert!(!folder.exists(), "{} is still there", folder.display());
}
