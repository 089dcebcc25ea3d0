//! The recordings beside the repository, read whole. Run by `make conformance`; without them it fails.
//!
//! They are looked for in `$BLAST_RADIUS_SHARED`, else in `../shared`.

mod change_streams;
mod corpora;
mod joining;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use blast_radius::capture::{FormatChoice, Input, ReadSummary, read};
use blast_radius::model::{LogEvent, LogEventKind, Recording, RecordingId};

fn shared() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    std::env::var_os("BLAST_RADIUS_SHARED").map_or_else(beside, PathBuf::from)
}

fn samples() -> PathBuf {
    let samples = shared().join("samples");
    assert!(samples.is_dir(), "no recordings in {}: set BLAST_RADIUS_SHARED", samples.display());
    samples
}

fn read_log(name: &str) -> (ReadSummary, Vec<LogEvent>) {
    let input = Input::file(&samples().join(name), name).expect("a recording");
    let mut whole = Recording::default();
    let summary = read(input, &FormatChoice::AUTO, &mut |recording| {
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

/// The names of a folder's files that end so, sorted; there is one at least.
fn names(folder: &str, ending: &str) -> Vec<String> {
    let entries = std::fs::read_dir(samples().join(folder)).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(ending))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "{folder}");
    names
}

#[test]
fn every_log_is_read_without_damage() {
    for (ending, format) in [(".json", "postgres-jsonlog"), (".csv", "postgres-csvlog"), (".log", "postgres-stderr")] {
        for folder in ["postgres-logs", "log+cdc-pairs"] {
            for name in names(folder, ending) {
                let (summary, events) = read_log(&format!("{folder}/{name}"));
                assert_eq!(summary.format, Some(format));
                let disconnections = events.iter().filter(|event| event.kind == LogEventKind::Disconnection).count();
                assert!(disconnections > 0, "{folder}/{name}");
            }
        }
    }
}

/// Events with what only one rendering tells (or tells otherwise) taken out: the line numbers of the plain log count
/// the lines of a message.
fn alike(events: &[LogEvent]) -> Vec<LogEvent> {
    let mut sessions: BTreeMap<String, Vec<LogEvent>> = BTreeMap::new();
    for event in events {
        sessions.entry(event.session.0.to_string()).or_default().push(event.clone());
    }
    let mut alike = Vec::new();
    for (_, mut events) in sessions {
        events.sort_by_key(|event| event.line);
        let identity = RecordingId([0; 16]);
        let plain = (1..).zip(events).map(|(line, event)| LogEvent { id: identity, line, ..event });
        alike.extend(plain);
    }
    alike
}

#[test]
fn the_three_renderings_of_a_log_tell_the_same() {
    for folder in ["postgres-logs", "log+cdc-pairs"] {
        for name in names(folder, ".json") {
            let stem = name.trim_end_matches(".json");
            let [json, csv, plain] = ["json", "csv", "log"].map(|ending| {
                let (_, events) = read_log(&format!("{folder}/{stem}.{ending}"));
                alike(&events)
            });
            assert!(json.len() >= 10, "{folder}/{stem}: {} events", json.len());
            for (rendering, other) in [("csv", csv), ("log", plain)] {
                for (one, other) in json.iter().zip(&other) {
                    assert_eq!(one, other, "{folder}/{stem}.{rendering}");
                }
                assert_eq!(json.len(), other.len(), "{folder}/{stem}.{rendering}");
            }
        }
    }
}

#[test]
fn whatever_the_prefix_the_workload_is_the_same() {
    let (_, whole) = read_log("log+cdc-pairs/B.json");
    let workload = |events: &[LogEvent]| -> Vec<String> {
        let statement = |event: &LogEvent| Some(format!("{:?} {}", event.kind, event.sql.as_deref()?));
        let mut statements: Vec<String> = events.iter().filter_map(statement).collect();
        statements.sort();
        statements
    };
    let plain = names("postgres-logs", ".log");
    let logs: Vec<&String> = plain.iter().filter(|name| name.starts_with('G')).collect();
    assert_eq!(logs.len(), 5);
    let first = workload(&read_log(&format!("postgres-logs/{}", logs[0])).1);
    assert!(first.len() > 50 && first.len() < whole.len());
    for name in &logs {
        let (_, events) = read_log(&format!("postgres-logs/{name}"));
        assert_eq!(workload(&events), first, "{name}");
        // Each of the seven sessions of the workload is known by its process at least, and mostly its release is too.
        let named = events.iter().filter(|event| event.application_name.is_some()).count();
        assert!(named > 50, "{name}: {named}");
    }
    let (_, cut) = read_log(&format!("postgres-logs/{}", logs[4]));
    let unknown = cut.iter().flat_map(|event| &event.parameters).filter(|parameter| parameter.is_none()).count();
    assert!(unknown > 5, "the values of {} were cut at eight characters", logs[4]);
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
