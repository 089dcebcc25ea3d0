//! A throw-away PostgreSQL for tests: `mod postgres;` in a file of `tests/`, then
//!
//! ```text
//! let database = postgres::Database::create("orders").await;   // a fresh one, on a server shared by this process
//! let client = database.client("shop@v42").await;              // application_name = 'shop@v42'
//! ```
//!
//! The server logs every statement as `jsonlog` and decodes its WAL logically. It stops, and everything it wrote is
//! removed, when the process ends, however it ends. Without PostgreSQL 15 or newer a test fails and says how to get it.

mod cluster;

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub use cluster::Cluster;
use tokio_postgres::{Client, NoTls};

/// How long the server may take for what it does by itself (its log, its farewells).
const PATIENCE: Duration = Duration::from_secs(30);

/// Every test binary takes the whole harness in and uses a part of it: this names the rest, so that nothing is unused.
const _: () = {
    let _ = Cluster::shared;
    let _ = Cluster::start;
    let _ = Cluster::port;
    let _ = Database::create;
    let _ = Database::create_on;
    let _ = Database::name;
    let _ = Database::url;
    let _ = Database::socket_url;
    let _ = Database::client;
    let _ = Database::settled;
    let _ = Database::jsonlog;
    let _ = Database::psql;
};

/// A database of its own for one test.
pub struct Database<'cluster> {
    cluster: &'cluster Cluster,
    name: String,
}

impl Database<'static> {
    /// A fresh database on the shared server; `purpose` (a lower-case word) is part of its name.
    pub async fn create(purpose: &str) -> Database<'static> {
        Database::create_on(Cluster::shared(), purpose).await
    }
}

impl<'cluster> Database<'cluster> {
    /// A fresh database on this server.
    pub async fn create_on(cluster: &'cluster Cluster, purpose: &str) -> Database<'cluster> {
        static CREATED: AtomicU32 = AtomicU32::new(1);
        let name = format!("{purpose}_{}", CREATED.fetch_add(1, Ordering::Relaxed));
        let maintenance = Database { cluster, name: "postgres".to_owned() };
        let client = maintenance.client("tests").await;
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a fresh database can be created");
        Database { cluster, name }
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How to reach it over TCP; no password is asked for.
    pub fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{}", self.cluster.port(), self.name)
    }

    /// How to reach it through the server's Unix socket.
    pub fn socket_url(&self) -> String {
        let folder = self.cluster.socket_folder().display().to_string().replace('/', "%2F");
        format!("postgresql://postgres@{folder}:{}/{}", self.cluster.port(), self.name)
    }

    /// A session of this application, its connection driven by the current tokio runtime until the client is dropped.
    pub async fn client(&self, application_name: &str) -> Client {
        let mut config: tokio_postgres::Config = self.url().parse().expect("our own url is one");
        config.application_name(application_name);
        let (client, connection) = config.connect(NoTls).await.expect("the test server takes connections");
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("the connection to the test server broke: {error}");
            }
        });
        client
    }

    /// Waits until every other session of this database has ended (dropping a [`Client`] only begins that).
    pub async fn settled(&self) {
        let watcher = Database { cluster: self.cluster, name: "postgres".to_owned() }.client("tests").await;
        let began = Instant::now();
        loop {
            let sessions = watcher
                .query_one("SELECT count(*) FROM pg_stat_activity WHERE datname = $1", &[&self.name])
                .await
                .expect("the server tells its sessions");
            if sessions.get::<_, i64>(0) == 0 {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "sessions of {} are still open", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The server's `jsonlog`, a line each, of every session of this database; complete up to this call.
    pub async fn jsonlog(&self) -> Vec<String> {
        let log = self.log_up_to_now().await;
        let parsed: Vec<(&str, serde_json::Value)> = log
            .lines()
            .map(|line| (line, serde_json::from_str(line).expect("the server writes a JSON object a line")))
            .collect();
        // "connection received" comes before the session names its database: so by session, not line by line.
        let sessions: HashSet<&str> = parsed
            .iter()
            .filter(|(_, entry)| entry["dbname"] == self.name.as_str())
            .filter_map(|(_, entry)| entry["session_id"].as_str())
            .collect();
        let ours =
            parsed.iter().filter(|(_, entry)| entry["session_id"].as_str().is_some_and(|id| sessions.contains(id)));
        ours.map(|(line, _)| (*line).to_owned()).collect()
    }

    /// The log is written by a process of its own: leaves a mark in it, and waits until the mark is in the file.
    async fn log_up_to_now(&self) -> String {
        static MARKS: AtomicU32 = AtomicU32::new(1);
        let mark = format!("SELECT 'end of the log of {}, {}'", self.name, MARKS.fetch_add(1, Ordering::Relaxed));
        let maintenance = Database { cluster: self.cluster, name: "postgres".to_owned() }.client("tests").await;
        maintenance.batch_execute(&mark).await.expect("the server takes a statement");
        let began = Instant::now();
        loop {
            let log = std::fs::read_to_string(self.cluster.jsonlog_path()).expect("the server writes a log");
            if let Some(position) = log.find(&mark) {
                let end = log[..position].rfind('\n').map_or(0, |newline| newline + 1);
                return log[..end].to_owned();
            }
            assert!(began.elapsed() < PATIENCE, "the server's log does not come");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs a script with `psql`, stopping at its first error.
    ///
    /// # Errors
    /// What psql says, where it fails.
    pub fn psql(&self, script: &Path) -> Result<String, String> {
        let output = Command::new(self.cluster.program("psql"))
            .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", &self.url(), "--file"])
            .arg(script)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("psql does not start: {error}"))?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
    }
}
