//! The graph of `datasets/shop` against a count of its log's lines by other means: what each statement ran, for whom, when.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use assert_cmd::Command;
use jiff::Timestamp;
use regex::Regex;
use serde_json::Value as Json;

/// How often, first and last, and how often by each release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Count {
    executions: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    releases: BTreeMap<String, u64>,
}

impl Count {
    fn add(&mut self, at: Timestamp, release: &str) {
        self.executions += 1;
        self.first = self.first.into_iter().chain([at]).min();
        self.last = self.last.into_iter().chain([at]).max();
        // The one line by hand, with psql, names no release.
        if let Some((_, release)) = release.split_once('@') {
            *self.releases.entry(release.to_owned()).or_default() += 1;
        }
    }
}

fn shop() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/shop")
}

fn log_lines() -> Vec<Json> {
    let mut lines = Vec::new();
    for name in ["001.json.zst", "002.json.zst"] {
        let packed = std::fs::read(shop().join("logs").join(name)).expect("a log");
        let text = String::from_utf8(zstd::decode_all(packed.as_slice()).expect("zstd")).expect("UTF-8");
        lines.extend(text.lines().map(|line| serde_json::from_str::<Json>(line).expect("a line is JSON")));
    }
    lines
}

/// A statement without its literals, in small letters.
fn spelled(sql: &str) -> String {
    static PARTS: LazyLock<[(Regex, &str); 5]> = LazyLock::new(|| {
        let part = |pattern: &str| Regex::new(pattern).expect("a pattern");
        [
            (part(r"(?s)/\*.*?\*/"), " "),
            (part(r"'(?:[^']|'')*'|\$\d+|\b\d+(?:\.\d+)?\b"), "?"),
            (part(r"\s+"), " "),
            (part(r"\(\?(?:, ?\?)*\)"), "(?)"),
            (part(r"^ | $"), ""),
        ]
    });
    let spelled = PARTS.iter().fold(sql.to_owned(), |sql, (part, with)| part.replace_all(&sql, *with).into_owned());
    spelled.to_ascii_lowercase()
}

/// A session's open transaction: what it ran, and how much of that before each savepoint.
#[derive(Default)]
struct Open {
    ran: Vec<(String, Timestamp, String)>,
    savepoints: Vec<(String, usize)>,
    aborted: bool,
}

/// Every statement of committed transactions.
fn committed() -> Vec<(String, Timestamp, String)> {
    let line = Regex::new(r"(?s)^duration: ([\d.]+) ms  (?:statement|execute [^:]*): (.*)$").expect("a pattern");
    let mut sessions: BTreeMap<String, Open> = BTreeMap::new();
    let mut committed = Vec::new();
    for event in log_lines() {
        let text = |field: &str| event[field].as_str().unwrap_or_default();
        let session = text("session_id").to_owned();
        if text("error_severity") != "LOG" {
            sessions.entry(session).and_modify(|open| open.aborted = true);
            continue;
        }
        let Some(parts) = line.captures(text("message")) else {
            if text("message").starts_with("disconnection") {
                sessions.remove(&session);
            }
            continue;
        };
        let logged: Timestamp = text("timestamp").replace(" UTC", "Z").parse().expect("a time");
        let micros = (parts[1].parse::<f64>().expect("a duration") * 1000.0).round();
        let began = logged - std::time::Duration::from_micros(micros as u64);
        let words: Vec<String> =
            parts[2].split_whitespace().map(|word| word.trim_end_matches(';').to_owned()).collect();
        let last = words.last().cloned().unwrap_or_default();
        match words[0].to_ascii_uppercase().as_str() {
            "BEGIN" => _ = sessions.insert(session, Open::default()),
            "COMMIT" => {
                let open = sessions.remove(&session).unwrap_or_default();
                committed.extend(open.ran.into_iter().filter(|_| !open.aborted));
            }
            "ROLLBACK" if words.len() > 1 => {
                let open = sessions.get_mut(&session).expect("a transaction");
                let place = open.savepoints.iter().rposition(|(name, _)| *name == last).expect("a savepoint");
                open.ran.truncate(open.savepoints[place].1);
                open.savepoints.truncate(place + 1);
                open.aborted = false;
            }
            "ROLLBACK" => _ = sessions.remove(&session),
            "SAVEPOINT" => {
                let open = sessions.get_mut(&session).expect("a transaction");
                open.savepoints.push((last, open.ran.len()));
            }
            "SET" | "CREATE" | "ALTER" | "RELEASE" | "SHOW" => {}
            _ => {
                let ran = (spelled(&parts[2]), began, text("application_name").to_owned());
                match sessions.get_mut(&session) {
                    Some(open) => open.ran.push(ran),
                    None => committed.push(ran),
                }
            }
        }
    }
    committed
}

/// The table that the text of a write names.
fn written(statement: &str) -> Option<String> {
    static WRITE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^(?:insert into|update|delete from) (\w+)").expect("a pattern"));
    Some(format!("public.{}", &WRITE.captures(statement)?[1]))
}

#[test]
fn every_execution_of_the_shop_is_counted_for_its_release_and_table() {
    let mut expected: BTreeMap<String, Count> = BTreeMap::new();
    let mut by_table: BTreeMap<String, u64> = BTreeMap::new();
    for (statement, began, application) in committed() {
        if let Some(table) = written(&statement) {
            *by_table.entry(table).or_default() += 1;
        }
        expected.entry(statement).or_default().add(began, &application);
    }

    let folder = tempfile::tempdir().expect("a folder");
    for part in ["data", "events", "logs", "rules"] {
        let to = folder.path().join(part);
        std::fs::create_dir(&to).expect("a folder");
        for file in std::fs::read_dir(shop().join(part)).expect("the dataset").map(|file| file.expect("a file")) {
            std::fs::copy(file.path(), to.join(file.file_name())).expect("copied");
        }
    }
    std::fs::copy(shop().join("blast-radius.toml"), folder.path().join("blast-radius.toml")).expect("copied");
    let mut command = Command::cargo_bin("blast-radius").expect("the program");
    let output = command.args(["lineage", "--format", "json"]).current_dir(folder.path()).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let graph: Json = serde_json::from_slice(&output.stdout).expect("JSON");

    let mut counted: BTreeMap<String, Count> = BTreeMap::new();
    let mut counted_by_table: BTreeMap<String, u64> = BTreeMap::new();
    for statement in graph["statements"].as_array().expect("statements") {
        let time = |field: &str| statement[field].as_str().and_then(|text| text.parse().ok());
        let name = spelled(statement["sql"].as_str().expect("SQL"));
        let executions = statement["executions"].as_u64().expect("a number");
        let releases = statement["releases"].as_array().expect("releases").iter().map(|release| {
            let name = release["release"].as_str().expect("a name").to_owned();
            (name, release["executions"].as_u64().expect("a number"))
        });
        let count = Count { executions, first: time("first"), last: time("last"), releases: releases.collect() };
        let targets: BTreeSet<&str> =
            statement["targets"].as_array().expect("targets").iter().filter_map(Json::as_str).collect();
        if let Some(table) = written(&name) {
            // Cascades come on top of it.
            assert!(targets.contains(table.as_str()), "{name}");
            *counted_by_table.entry(table).or_default() += executions;
        }
        counted.insert(name, count);
    }
    assert_eq!(counted, expected);
    assert_eq!(counted_by_table, by_table);
    assert_eq!(
        counted.values().map(|count| count.executions).sum::<u64>(),
        expected.values().map(|count| count.executions).sum::<u64>()
    );
}
