//! Who made a violation, where that cannot be told of every one: what is found is told all the same.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::audit;

const PROJECT: &str = r#"
[database]
files = "data"
[ingest]
files = ["events.ndjson"]
[audit]
rules = ["rules.yaml"]
[tables."public.items"]
key = ["id"]
"#;

const RULES: &str = r#"
rules:
  - id: ratio
    table: items
    check: { expression: "10 / quantity > 0" }
  - id: once
    table: items
    check: { unique: [id] }
  - id: moves
    table: items
    check: { transition: { column: state, allowed: { open: [sent] }, initial: [open] } }
  - id: positive
    table: items
    check: { range: { column: quantity, min: 0 } }
"#;

/// The key 2 is there twice; 1 was once a row of which the first rule cannot be asked; nobody said who wrote 3.
fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    std::fs::create_dir(folder.path().join("data")).expect("a folder");
    write("blast-radius.toml", PROJECT);
    write("rules.yaml", RULES);
    write("data/items.csv", "id,quantity,state\n1,-5,open\n2,3,open\n2,4,open\n3,5,sent\n");
    let event = |seq: u32,
                 op: &str,
                 id: u32,
                 before: Option<i32>,
                 quantity: i32,
                 state: &str,
                 release: Option<&str>| {
        let image = |quantity: i32| json!({"id": id, "quantity": quantity, "state": state});
        let event = json!({"ts": "2026-03-02T11:00:00Z", "seq": seq, "tx": seq.to_string(), "table": "items", "op": op,
                           "key": {"id": id}, "before": before.map(image), "after": image(quantity), "release": release});
        let event: serde_json::Map<String, Json> =
            event.as_object().expect("an object").clone().into_iter().filter(|(_, value)| !value.is_null()).collect();
        format!("{}\n", Json::Object(event))
    };
    let events = [
        event(1, "insert", 1, None, 0, "open", Some("v41")),
        event(2, "insert", 2, None, 3, "open", Some("v41")),
        event(3, "insert", 3, None, 5, "sent", None),
        event(4, "update", 1, Some(0), -5, "open", Some("v42")),
        event(5, "insert", 2, None, 4, "open", Some("v43")),
    ];
    write("events.ndjson", &events.concat());
    folder
}

fn violations(project: &Path) -> Vec<(String, Json, Json, Json)> {
    let (status, out, err) = audit(project, &["--format", "json"]);
    assert_eq!((status, err.as_str()), (Some(1), ""), "{out}");
    let report: Json = serde_json::from_str(&out).expect("it is JSON");
    let told = |found: &Json| {
        let rule = found["rule"].as_str().expect("a rule").to_owned();
        (rule, found["key"]["id"].clone(), found["release"].clone(), found["written"]["seq"].clone())
    };
    report["violations"].as_array().expect("violations").iter().map(told).collect()
}

#[test]
fn what_cannot_be_followed_stops_nothing_and_names_nobody() {
    let project = project();
    let found = violations(project.path());
    let of = |rule: &str| -> Vec<(&Json, &Json, &Json)> {
        let of_rule = found.iter().filter(|(of, ..)| of == rule);
        of_rule.map(|(_, key, release, seq)| (key, release, seq)).collect()
    };
    let null = Json::Null;
    assert_eq!(of("ratio"), [(&json!(1), &null, &null)]);
    assert!(!of("once").is_empty() && of("once").iter().all(|told| *told == (&json!(2), &null, &null)), "{found:?}");
    // That nobody is known to have written it is no reason to leave out the write.
    assert_eq!(of("moves"), [(&json!(3), &null, &json!(3))]);
    assert_eq!(of("positive"), [(&json!(1), &json!("v42"), &json!(4))]);
    let (_, out, _) = audit(project.path(), &[]);
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "since when the rule ratio is broken cannot be told",
        "violations of public.items by 1 of its keys cannot be told: several rows have them",
    ] {
        assert!(words.contains(part), "{part} is not in:\n{out}");
    }
}
