//! The recordings beside the repository, read whole. Run by `make conformance`; without them it fails.
//!
//! They are looked for in `$BLAST_RADIUS_SHARED`, else in `../shared`.

mod change_streams;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use blast_radius::capture::{FormatChoice, Input, ReadSummary, read};
use blast_radius::model::{LogEvent, LogEventKind, Recording};

fn samples() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("BLAST_RADIUS_SHARED").map_or_else(beside, PathBuf::from);
    let samples = shared.join("samples");
    assert!(samples.is_dir(), "no recordings in {}: set BLAST_RADIUS_SHARED", samples.display());
    samples
}

fn read_log(name: &str) -> (ReadSummary, Vec<LogEvent>) {
    let input = Input::file(&samples().join(name), name).expect("a recording");
    let mut whole = Recording::default();
    let summary = read(input, FormatChoice::AUTO, &mut |recording| {
        whole.log.extend(recording.log);
        whole.rejected.extend(recording.rejected);
        ControlFlow::Continue(())
    })
    .expect("read");
    assert_eq!(whole.rejected, [], "{name}");
    (summary, whole.log)
}

/// What the workload did, session by session, whatever the server was told to log of it.
fn told(events: &[LogEvent]) -> Vec<String> {
    let mut sessions: Vec<(&str, Vec<&LogEvent>)> = Vec::new();
    for event in events {
        let session = event.session.0.as_ref();
        match sessions.iter_mut().find(|(held, _)| *held == session) {
            Some((_, held)) => held.push(event),
            None => sessions.push((session, vec![event])),
        }
    }
    let workload = |event: &&LogEvent| event.application_name.as_deref().is_some_and(|name| name.contains("@v"));
    // Its own first line bears the old name, and its duration's line the new one.
    let renames = |event: &&LogEvent| event.sql.as_deref().is_some_and(|sql| sql.starts_with("SET application_name"));
    let mut told = Vec::new();
    for (_, mut session) in sessions {
        session.sort_by_key(|event| event.line);
        // Which session came first is chance; what one did is not.
        let events: Vec<String> = session
            .into_iter()
            .filter(|event| workload(event) && !renames(event))
            .map(|event| {
                format!("{:?} {:?} {:?} {:?}", event.kind, event.application_name, event.sql, event.parameters)
            })
            .collect();
        told.push(events.join("\n"));
    }
    told.retain(|session| !session.is_empty());
    told.sort();
    told
}

#[test]
fn every_jsonlog_is_read_without_damage() {
    for folder in ["postgres-logs", "log+cdc-pairs"] {
        let mut names: Vec<_> = std::fs::read_dir(samples().join(folder))
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".json"))
            .collect();
        names.sort();
        assert!(!names.is_empty());
        for name in names {
            let (summary, events) = read_log(&format!("{folder}/{name}"));
            assert_eq!(summary.format, Some("postgres-jsonlog"));
            let disconnections = events.iter().filter(|event| event.kind == LogEventKind::Disconnection).count();
            assert!(disconnections > 0, "{folder}/{name}");
        }
    }
}

#[test]
fn one_workload_tells_the_same_whatever_was_logged_of_it() {
    let (_, with_statements) = read_log("log+cdc-pairs/A.json");
    let (_, with_durations) = read_log("log+cdc-pairs/B.json");
    let (with_statements, with_durations) = (told(&with_statements), told(&with_durations));
    assert_eq!(with_statements.len(), with_durations.len());
    for (left, right) in with_statements.iter().zip(&with_durations) {
        assert_eq!(left.lines().collect::<Vec<_>>(), right.lines().collect::<Vec<_>>());
    }
}

#[test]
fn transactions_are_named_as_often_as_the_log_names_them() {
    for (name, most) in [("log+cdc-pairs/A.json", 17), ("log+cdc-pairs/B.json", 17)] {
        let (_, events) = read_log(name);
        let mut named: Vec<_> = events.iter().filter_map(|event| event.transaction.clone()).collect();
        named.sort();
        named.dedup();
        // Beside the committed ones there are those that were rolled back.
        assert!(named.len() >= most, "{name}: {} transactions", named.len());
    }
}
