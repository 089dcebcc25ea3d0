//! Write events: ours into the store, checked, each once; DuckDB from JSON to Parquet.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::measured::{Contender, print, python, run};
use crate::setting;

fn write_events(file: &Path, events: u64) {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file).expect("a file"));
    let mut line = String::new();
    for event in 0..events {
        line.clear();
        let (id, cents, second, micros) = (event % 1_000_000, event % 100_000, event / 1_000 % 60, event % 1_000);
        let (minute, hour) = (event / 60_000 % 60, event / 3_600_000 % 24);
        writeln!(
            line,
            "{{\"ts\":\"2026-03-02T{hour:02}:{minute:02}:{second:02}.{micros:06}Z\",\"release\":\"v42\",\"service\":\"shop\",\
             \"tx\":\"{tx}\",\"seq\":{event},\"table\":\"public.orders\",\"op\":\"update\",\"key\":{{\"id\":{id}}},\
             \"before\":{{\"id\":{id},\"total\":\"10.00\",\"status\":\"new\"}},\
             \"after\":{{\"id\":{id},\"total\":\"{}.{:02}\",\"status\":\"paid\"}}}}",
            cents / 100,
            cents % 100,
            tx = event / 3,
        )
        .expect("a text");
        out.write_all(line.as_bytes()).expect("written");
    }
    out.flush().expect("written");
}

/// Makes the events, and loads them with each contender in turn.
pub fn measure() {
    let events = setting("BENCH_EVENTS", 10_000_000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("events.ndjson");
    write_events(&file, events);
    let mut ours = Contender { name: "blast-radius ingest", runs: Vec::new() };
    let mut again = Contender { name: "the same events once more, under another name", runs: Vec::new() };
    let mut duckdb = Contender { name: "DuckDB `COPY (FROM read_json …) TO parquet`", runs: Vec::new() };
    for round in 0..setting("BENCH_ROUNDS", 3) {
        let project = folder.path().join(format!("project_{round}"));
        std::fs::create_dir(&project).expect("a folder");
        std::fs::write(project.join("blast-radius.toml"), "[database]\nfiles = \"data\"\n").expect("written");
        let ingest = |file: &Path| {
            let mut command = crate::program();
            command.arg("-C").arg(&project).args(["ingest", "--no-progress"]).arg(file);
            run(&mut command)
        };
        ours.runs.push(ingest(&file));
        let copy = folder.path().join("again.ndjson");
        std::fs::rename(&file, &copy).expect("renamed");
        again.runs.push(ingest(&copy));
        std::fs::rename(&copy, &file).expect("renamed");
        std::fs::remove_dir_all(&project).expect("removed");
        if let Some(python) = python() {
            let script = format!(
                "import duckdb; duckdb.execute(\"SET memory_limit = '4GB'\"); \
                 duckdb.execute(\"COPY (FROM read_json('{}')) TO '{}' (FORMAT parquet, COMPRESSION zstd)\")",
                file.display(),
                folder.path().join("events.parquet").display(),
            );
            duckdb.runs.push(run(Command::new(python).args(["-c", &script])));
        }
    }
    print(&format!("Loading {events} write events"), events, &[ours, again, duckdb]);
}
