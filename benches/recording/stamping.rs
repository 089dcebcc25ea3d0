//! What the recording costs those who write: pgbench's TPC-B with and without it, in turns.

use std::path::Path;
use std::process::Command;

use crate::measured::run;
use crate::postgres::{Cluster, Database};
use crate::setting;

fn transactions_a_second(cluster: &Cluster, database: &Database<'_>, seconds: u64) -> f64 {
    let output = Command::new(cluster.program("pgbench"))
        .args(["-n", "-c", "8", "-j", "2", "-M", "prepared", "-T", &seconds.to_string(), &database.url()])
        .output()
        .expect("pgbench starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find_map(|line| line.strip_prefix("tps = ")).unwrap_or_else(|| panic!("{output:?}"));
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("pgbench tells a number")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs the three in turns, so that what else the machine does meets all of them.
pub async fn measure() {
    let seconds = setting("BENCH_SECONDS", 30);
    let settings = "log_min_duration_statement = -1\nfsync = on\nfull_page_writes = on\nmax_wal_size = 8GB\n";
    let cluster = Cluster::start(settings);
    let database = Database::create_on(&cluster, "stamping").await;
    run(Command::new(cluster.program("pgbench")).args(["-i", "-q", "-s", "20", &database.url()]));
    let project = tempfile::tempdir().expect("a temporary folder");
    let text = format!("[database]\nurl = \"{}\"\n", database.url());
    std::fs::write(project.path().join("blast-radius.toml"), text).expect("written");
    let capture = |arguments: &[&str]| {
        let folder: &Path = project.path();
        run(crate::program().arg("-C").arg(folder).arg("capture").args(arguments));
    };
    let (mut plain, mut stamped, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..setting("BENCH_ROUNDS", 3) {
        plain.push(transactions_a_second(&cluster, &database, seconds));
        capture(&["install"]);
        stamped.push(transactions_a_second(&cluster, &database, seconds));
        capture(&["uninstall"]);
        capture(&["install", "--stamp", "statement"]);
        texts.push(transactions_a_second(&cluster, &database, seconds));
        capture(&["uninstall"]);
    }
    let (plain, stamped, texts) = (median(plain), median(stamped), median(texts));
    println!(
        "\n### pgbench, TPC-B, 8 clients, {seconds} s a run\n\n| | transactions a second | less by |\n|---|---|---|"
    );
    println!("| not recorded | {plain:.0} | |");
    for (name, rate) in [("`capture install`", stamped), ("`--stamp statement`", texts)] {
        println!("| {name} | {rate:.0} | {:.1} % |", 100.0 * (1.0 - rate / plain));
    }
}
