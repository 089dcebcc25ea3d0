//! The audit of TPC-H's `lineitem` and `orders`, with faults whose keys are known: thirteen rules, and 20 and 100 times as
//! many. Each run is the program as a user starts it, and is held against the known keys.
//!
//! ```text
//! cargo bench --bench audit                          # scale factor 1, five runs of each
//! SCALE=10 RUNS=3 TIMES=1 cargo bench --bench audit  # scale factor 10, thirteen rules only
//! PREPARE=1 cargo bench --bench audit                # write the tables and rules, and print their folder
//! ```
//!
//! `benches/audit/run PROGRAM` does all of it, and runs other tools on the same folders, in turns with this program.

mod fixture;
mod rules;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fixture::Keys;

fn main() {
    // `cargo test --benches` asks for the tests of a target that has none.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let scale: f64 = setting("SCALE", 1.0);
    let runs: usize = setting("RUNS", 5);
    let folder = fixture::prepare(scale);
    println!("tables, rules and known keys: {}", folder.display());
    if std::env::var_os("PREPARE").is_some() {
        return;
    }
    let expected = fixture::expected(&folder);
    let times = std::env::var("TIMES").unwrap_or_else(|_| "1,20,100".to_owned());
    for copies in times.split(',').map(|times| times.trim().parse::<usize>().expect("TIMES is a list of numbers")) {
        let mut took: Vec<Duration> = (0..runs).map(|_| audit(&folder, copies, &expected)).collect();
        took.sort();
        println!(
            "{:>5} rules, every failing key: median of {runs} {:.3} s, best {:.3} s",
            copies * rules::RULES,
            took[took.len() / 2].as_secs_f64(),
            took[0].as_secs_f64()
        );
    }
}

fn setting<T: std::str::FromStr>(name: &str, usual: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")),
        Err(_) => usual,
    }
}

/// Runs the program once, and holds what it lists against the known keys.
fn audit(folder: &Path, copies: usize, expected: &BTreeMap<String, Keys>) -> Duration {
    let project = folder.join(format!("rules-{copies}"));
    let records = project.join("violations.ndjson");
    let started = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_blast-radius"))
        .args(["-q", "-C"])
        .arg(&project)
        .args(["audit", "--format", "prometheus", "--output"])
        .arg(project.join("report.txt"))
        .arg("--records")
        .arg(&records)
        .status()
        .expect("the program runs");
    let took = started.elapsed();
    assert_eq!(status.code(), Some(1), "the faults are found");
    let found = fixture::listed(&records);
    for copy in 0..copies {
        for (rule, keys) in expected {
            let name = rules::id(rule, copy);
            let listed = found.get(&name).cloned().unwrap_or_default();
            assert!(listed == *keys, "{name}: {} keys are listed, {} are known", listed.len(), keys.len());
        }
    }
    took
}
