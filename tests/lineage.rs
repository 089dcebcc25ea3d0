//! `lineage` from the command line: a graph of events with their SQL, a `[[derive]]`, OpenLineage's events and dbt's
//! manifest, in every format.

#[path = "lineage/mutated.rs"]
mod mutated;
#[path = "lineage/properties.rs"]
mod properties;
#[path = "lineage/settled.rs"]
mod settled;
#[path = "lineage/shop.rs"]
mod shop;
#[path = "lineage/statements.rs"]
mod statements;

use std::path::Path;

use assert_cmd::Command;
use serde_json::{Value as Json, json};

const PROJECT: &str = r#"
[database]
files = "data"

[ingest]
files = ["events.ndjson", "openlineage.ndjson", "manifest.json"]

[tables.orders]
key = ["id"]

[tables.daily]
key = ["day"]

[[derive]]
table = "ranking"
key = ["place"]
sql = "SELECT 1 AS place, day AS day FROM daily"
"#;

/// Two orders and the sum of their day, by two releases.
fn events() -> String {
    let order = |id: u32, release: &str, total: &str| {
        json!({
            "ts": format!("2026-03-02T10:00:0{id}Z"), "release": release, "service": "shop", "table": "orders", "op": "insert",
            "after": {"id": id, "day": "2026-03-02", "total": total},
            "statement": "INSERT INTO orders (id, day, total) VALUES ($1, $2, $3)",
            "params": [id.to_string(), "2026-03-02", total],
        })
    };
    let daily = json!({
        "ts": "2026-03-02T11:00:00Z", "release": "v2", "service": "shop", "table": "daily", "op": "insert",
        "after": {"day": "2026-03-02", "total": "30.00"},
        "statement": "INSERT INTO daily (day, total) SELECT day, sum(total) FROM orders WHERE id > 0 GROUP BY day",
    });
    [order(1, "v1", "10.00"), order(2, "v2", "20.00"), daily].map(|event| event.to_string()).join("\n")
}

fn openlineage() -> String {
    let dataset = |name: &str| json!({"namespace": "warehouse", "name": name});
    let field = |field: &str, subtype: &str| {
        json!({"inputFields": [{"namespace": "warehouse", "name": "public.daily", "field": field,
               "transformations": [{"type": "DIRECT", "subtype": subtype}]}]})
    };
    let mut output = dataset("public.report");
    output["facets"] = json!({"columnLineage": {
        "_producer": "https://example.com", "_schemaURL": "https://openlineage.io/spec/facets/1-2-0/ColumnLineageDatasetFacet.json",
        "fields": {"month_total": field("total", "AGGREGATION"), "label": field("day", "IDENTITY")}}});
    json!({
        "eventType": "COMPLETE", "eventTime": "2026-03-02T12:00:00Z", "producer": "https://example.com",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": "0190c1c2-0000-7000-8000-000000000000"}, "job": {"namespace": "airflow", "name": "report"},
        "inputs": [dataset("public.daily")], "outputs": [output],
    })
    .to_string()
}

const MANIFEST: &str = r#"{"metadata": {"dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json", "generated_at": "2026-03-02T10:00:00Z"},
"nodes": {"model.shop.board": {"resource_type": "model", "schema": "marts", "name": "board", "config": {"materialized": "table"},
  "depends_on": {"nodes": ["source.shop.report"]}}},
"sources": {"source.shop.report": {"schema": "public", "name": "report"}}}"#;

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    std::fs::create_dir(folder.path().join("data")).expect("created");
    write("blast-radius.toml", PROJECT);
    write("data/orders.csv", "id,day,total\n1,2026-03-02,10.00\n2,2026-03-02,20.00\n");
    write("data/daily.csv", "day,total\n2026-03-02,30.00\n");
    write("events.ndjson", &events());
    write("openlineage.ndjson", &openlineage());
    write("manifest.json", MANIFEST);
    folder
}

fn lineage(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::cargo_bin("blast-radius").expect("the program");
    let output = command.arg("lineage").arg("-C").arg(folder).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn everything_known_is_in_one_graph() {
    let folder = project();
    let document: Json = serde_json::from_str(&lineage(folder.path(), &["--format", "json"])).expect("JSON");
    assert_eq!(document["format"], "lineage/1");
    assert_eq!(
        document["tables"],
        json!(["marts.board", "public.daily", "public.orders", "public.ranking", "public.report"])
    );
    let statements = document["statements"].as_array().expect("a list");
    let by = |origin: &str| -> Vec<&Json> { statements.iter().filter(|one| one["origin"] == origin).collect() };
    let inserts = by("sql");
    assert_eq!(inserts.len(), 2, "one template, one statement: {statements:#?}");
    assert_eq!((&inserts[0]["executions"], &inserts[0]["kind"]), (&json!(2), &json!("insert")));
    assert_eq!(inserts[0]["releases"].as_array().map(Vec::len), Some(2));
    assert_eq!((&inserts[1]["sources"], &inserts[1]["targets"]), (&json!(["public.orders"]), &json!(["public.daily"])));
    let total = json!({"target": "public.daily.total", "sources": ["public.orders.total"], "via": "aggregate",
                       "influences": ["public.orders.day", "public.orders.id"]});
    assert!(inserts[1]["columns"].as_array().is_some_and(|columns| columns.contains(&total)), "{:#}", inserts[1]);
    assert_eq!(by("derive")[0]["targets"], json!(["public.ranking"]));
    assert_eq!(by("dbt")[0]["sources"], json!(["public.report"]));
    let report = by("openlineage")[0];
    let column = json!({"target": "public.report.month_total", "sources": ["public.daily.total"], "via": "aggregate", "influences": []});
    assert!(report["columns"].as_array().is_some_and(|columns| columns.contains(&column)), "{report:#}");
}

#[test]
fn a_focus_leaves_out_what_does_not_matter() {
    let folder = project();
    let upstream = lineage(folder.path(), &["--table", "report", "--upstream"]);
    assert!(upstream.contains("public.orders") && !upstream.contains("marts.board"), "{upstream}");
    let downstream = lineage(folder.path(), &["--column", "daily.total", "--downstream", "--format", "mermaid"]);
    assert!(downstream.contains("month_total") && !downstream.contains("label"), "{downstream}");
    let through = lineage(folder.path(), &["--path", "orders.total", "report.month_total"]);
    assert!(
        through.starts_with("public.orders.total is aggregated into public.daily.total\n  by sql INSERT"),
        "{through}"
    );
    assert!(through.contains("public.daily.total is aggregated into public.report.month_total\n  by openlineage"));
    let path = lineage(folder.path(), &["--path", "daily.day", "public.report.label"]);
    assert!(
        path.starts_with("public.daily.day is copied to public.report.label\n  by openlineage airflow/report"),
        "{path}"
    );
}

#[test]
fn drawings_name_every_table() {
    let folder = project();
    for (format, begins) in [("dot", "digraph lineage {"), ("mermaid", "flowchart LR")] {
        let drawing = lineage(folder.path(), &["--format", format]);
        assert!(drawing.starts_with(begins), "{drawing}");
        for table in ["marts.board", "public.daily", "public.orders", "public.ranking", "public.report"] {
            assert!(drawing.contains(table), "{drawing}");
        }
    }
}

#[test]
fn events_for_other_tools_hold_to_their_schema() {
    let schema: Json = serde_json::from_str(include_str!("lineage/openlineage-2-0-2.schema.json")).expect("JSON");
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema");
    let folder = project();
    let events = lineage(folder.path(), &["--format", "openlineage"]);
    let mut kinds = Vec::new();
    for line in events.lines() {
        let event: Json = serde_json::from_str(line).expect("JSON");
        let mistakes: Vec<String> = validator.iter_errors(&event).map(|error| error.to_string()).collect();
        assert!(mistakes.is_empty(), "{mistakes:?}\n{event:#}");
        kinds.push(event["run"].is_object());
    }
    assert_eq!(kinds.iter().filter(|has_run| **has_run).count(), 3, "two statements and a job ran");
    assert_eq!(kinds.len(), 5, "a derive and a model are declared");
    assert_eq!(events, lineage_at(&events, folder.path()), "the same graph is the same events");
    let wrong = json!({"eventTime": "yesterday", "producer": "x", "schemaURL": "x", "run": {"runId": "1"}});
    assert!(!validator.is_valid(&wrong), "the schema refuses what is none");
}

/// The events again; what has no time of its own carries the present one, which is taken from the first.
fn lineage_at(first: &str, folder: &Path) -> String {
    let again = lineage(folder, &["--format", "openlineage"]);
    let lines = first.lines().zip(again.lines()).map(|(first, again)| {
        let (first, mut again): (Json, Json) =
            (serde_json::from_str(first).expect("JSON"), serde_json::from_str(again).expect("JSON"));
        if !again["run"].is_object() {
            again["eventTime"] = first["eventTime"].clone();
        }
        format!("{again}\n")
    });
    lines.collect()
}

#[test]
fn what_is_written_can_be_read_again() {
    let folder = project();
    let events = lineage(folder.path(), &["--format", "openlineage"]);
    let other = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(other.path().join("blast-radius.toml"), "[database]\nfiles = \".\"\n").expect("written");
    std::fs::write(other.path().join("daily.csv"), "day,total\n").expect("written");
    std::fs::write(other.path().join("events.ndjson"), events).expect("written");
    let mut command = Command::cargo_bin("blast-radius").expect("the program");
    let output = command.args(["ingest", "-C"]).arg(other.path()).arg("events.ndjson").output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("(openlineage): lines 5"), "{output:?}");
    let path = lineage(other.path(), &["--path", "daily.day", "report.label"]);
    assert!(path.starts_with("public.daily.day is copied to public.report.label"), "{path}");
}

#[test]
fn names_that_are_not_known_are_told() {
    let folder = project();
    for (arguments, told) in
        [(["--table", "orderz"], "find orderz in the lineage graph"), (["--format", "svg"], "no such format")]
    {
        let mut command = Command::cargo_bin("blast-radius").expect("the program");
        let output = command.arg("lineage").arg("-C").arg(folder.path()).args(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(told), "{output:?}");
    }
}
