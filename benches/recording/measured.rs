//! A program run to its end: how long it took, and the most memory that it held.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// From its start to its end.
    pub time: Duration,
    /// Its peak resident memory in bytes; 0 where the system does not tell.
    pub memory: u64,
}

/// Runs the program to its end.
///
/// # Panics
/// Where it does not start, or fails: a figure of something that did not happen is none.
pub fn run(command: &mut Command) -> Run {
    run_to(command, 0)
}

/// As [`run`], of a program that is to end with this exit status.
///
/// # Panics
/// Where it does not start, or ends otherwise.
pub fn run_to(command: &mut Command, ended: i32) -> Run {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let began = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let mut memory = 0;
    loop {
        memory = memory.max(peak_memory(child.id()));
        if let Some(status) = child.try_wait().expect("the system tells how it ended") {
            assert_eq!(status.code(), Some(ended), "{command:?} ended with {status}");
            return Run { time: began.elapsed(), memory };
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

/// A Python that has DuckDB and connectorx, where one is named.
pub fn python() -> Option<String> {
    std::env::var("BENCH_PYTHON").ok()
}

/// The runs of one contender.
pub struct Contender {
    /// Its name in the table.
    pub name: &'static str,
    /// Each of its runs.
    pub runs: Vec<Run>,
}

fn median(runs: &[Run]) -> Duration {
    let mut times: Vec<Duration> = runs.iter().map(|run| run.time).collect();
    times.sort();
    times[times.len() / 2]
}

/// Prints a table: the first contender is ours.
pub fn print(title: &str, items: u64, contenders: &[Contender]) {
    println!("\n### {title}\n\n| | median | a second | peak memory | ours takes |\n|---|---|---|---|---|");
    let ours = median(&contenders[0].runs);
    for Contender { name, runs } in contenders.iter().filter(|contender| !contender.runs.is_empty()) {
        let time = median(runs);
        let memory = runs.iter().map(|run| run.memory).max().unwrap_or_default() / (1 << 20);
        let rate = items as f64 / time.as_secs_f64();
        let ratio = ours.as_secs_f64() / time.as_secs_f64();
        println!("| {name} | {:.2} s | {rate:.0} | {memory} MB | {ratio:.2} × |", time.as_secs_f64());
    }
    println!("\n{items} items, runs of each: {}", contenders[0].runs.len());
}
