//! Every kind of check against its cases in `rules/cases`, and its page in `docs/rules` against its doc comment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde::Deserialize;
use serde_json::{Value as Json, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    tables: BTreeMap<String, Table>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    key: Vec<String>,
    /// CSV.
    rows: String,
}

/// One rule about `orders`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    check: String,
    r#where: Option<String>,
    /// Write events, one a line.
    events: Option<String>,
    /// The keys in breach, in order; of a table or a release as a whole, nothing.
    violating: Vec<String>,
    /// The release that made each.
    releases: Option<Vec<String>>,
    /// `pass`, `fail` or `error`, where the keys do not tell.
    status: Option<String>,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The kinds by name: each is a file whose doc comment begins with the check.
fn kinds() -> BTreeMap<String, Vec<String>> {
    let mut kinds = BTreeMap::new();
    for entry in std::fs::read_dir(folder("src/audit/checks")).expect("the checks are there") {
        let path = entry.expect("a file").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        if text.starts_with(&format!("//! `{name}: ")) {
            let doc = text.lines().map_while(|line| line.strip_prefix("//!"));
            kinds.insert(name, doc.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned()).collect());
        }
    }
    assert_eq!(kinds.len(), 17, "every kind of the contract has a file: {:?}", kinds.keys());
    kinds
}

fn audit(tables: &BTreeMap<String, Table>, case: &Case) -> Json {
    let project = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let path = project.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("the folder can be made");
        std::fs::write(path, text).expect("the file can be written");
    };
    let mut settings = "[database]\nfiles = \"data\"\n[audit]\nrules = [\"rules.yaml\"]\n".to_owned();
    if let Some(events) = &case.events {
        write("events.ndjson", events);
        settings.push_str("[ingest]\nfiles = [\"events.ndjson\"]\n");
    }
    for (name, table) in tables {
        write(&format!("data/{name}.csv"), &table.rows);
        settings.push_str(&format!("[tables.\"public.{name}\"]\nkey = {:?}\n", table.key));
    }
    write("blast-radius.toml", &settings);
    let filter = case.r#where.as_ref().map(|filter| format!("    where: {filter:?}\n")).unwrap_or_default();
    let check: String = case.check.lines().map(|line| format!("      {line}\n")).collect();
    write("rules.yaml", &format!("rules:\n  - id: case\n    table: orders\n{filter}    check:\n{check}"));
    let mut command = Command::cargo_bin("blast-radius").expect("the program is built");
    let output = command.arg("-C").arg(project.path()).args(["audit", "--format", "json"]).output();
    let output = output.expect("the program runs");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| json!({"violations": [], "rules": [{"message": String::from_utf8_lossy(&output.stderr)}]}))
}

fn key_of(violation: &Json) -> String {
    let values = violation["key"].as_object().expect("a key").values();
    values.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect::<Vec<_>>().join(",")
}

#[test]
fn every_case_of_every_kind() {
    let mut wrong = Vec::new();
    for name in kinds().keys() {
        let path = folder("rules/cases").join(format!("{name}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{name} has no cases"));
        let cases: Cases = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (is_broken, what) in [(true, "fails"), (false, "passes")] {
            if !cases.cases.iter().any(|case| case.violating.is_empty() != is_broken) {
                wrong.push(format!("{name} has no case that {what}"));
            }
        }
        for case in &cases.cases {
            let report = audit(&cases.tables, case);
            let violations = report["violations"].as_array().expect("violations");
            let keys: Vec<String> = violations.iter().map(key_of).collect();
            let status = case.status.as_deref().unwrap_or(if case.violating.is_empty() { "pass" } else { "fail" });
            let made_by: Vec<&str> = violations.iter().filter_map(|one| one["release"].as_str()).collect();
            let as_told = keys == case.violating
                && report["rules"][0]["status"] == status
                && report["rules"][0]["violations"] == keys.len()
                && case.releases.as_ref().is_none_or(|releases| made_by == *releases);
            if !as_told {
                wrong.push(format!("{name}: {}: found {keys:?} by {made_by:?}: {}", case.name, report["rules"][0]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `UPDATE_PAGES=1` writes the pages anew.
#[test]
fn the_pages_are_the_doc_comments() {
    let update = std::env::var_os("UPDATE_PAGES").is_some();
    for (name, doc) in kinds() {
        let page = format!("# {name}\n\n{}\n", doc.join("\n").trim_end());
        let path = folder("docs/rules").join(format!("{name}.md"));
        if update {
            std::fs::write(&path, &page).expect("the page can be written");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(found, page, "docs/rules/{name}.md is stale: UPDATE_PAGES=1 cargo nextest run --test rule_kinds");
        let summary = std::fs::read_to_string(folder("docs/SUMMARY.md")).expect("the summary");
        assert!(summary.contains(&format!("(rules/{name}.md)")), "docs/SUMMARY.md does not list rules/{name}.md");
    }
}
