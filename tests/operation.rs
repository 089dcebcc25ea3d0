//! Setting up and running it: `init`, other tools' rules, every format of an audit, and the examples of the documentation.

mod postgres;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use blast_radius::cli::arguments::Arguments;
use clap::Parser;
use postgres::Database;

const ORDERS: &str = "\
id,customer_id,status,total
1,7,open,10.00
2,8,shipped,20.00
3,8,open,5.00
";
const CUSTOMERS: &str = "id,email\n7,ann@example.org\n8,bob@example.org\n";

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("the folder can be made");
    std::fs::write(path, text).expect("the file can be written");
}

fn data_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), "data/orders.csv", ORDERS);
    write(folder.path(), "data/customers.csv", CUSTOMERS);
    folder
}

/// Exit status, standard output and standard error of the program in a folder.
fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::cargo_bin("blast-radius").expect("the program is built");
    command.env("NO_COLOR", "1").env_remove("DATABASE_URL").current_dir(folder).args(arguments);
    let output = command.output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).expect(name)
}

#[test]
fn a_folder_is_set_up_and_audited_without_an_edit() {
    let folder = data_folder();
    let (status, out, err) = run(folder.path(), &["init"]);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    let rules = read(folder.path(), "rules/schema.yaml");
    for part in ["customer_id-exists", "orders-key", "a guess"] {
        assert!(rules.contains(part), "{part} is not in\n{rules}");
    }
    let (status, out, err) = run(folder.path(), &["audit"]);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    let before = read(folder.path(), "blast-radius.toml");
    let (status, _, err) = run(folder.path(), &["init", "data"]);
    assert!(status == Some(2) && err.contains("it is there already"), "{err}");
    assert_eq!(read(folder.path(), "blast-radius.toml"), before);
    let (status, _, err) = run(&folder.path().join("data"), &["init", "nowhere"]);
    assert!(status == Some(2) && err.contains("there is no folder nowhere"), "{err}");
    assert!(!folder.path().join("data/rules").exists());
}

const SHOP: &str = r#"
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN amount AS numeric(12,2) CHECK (VALUE >= 0) NOT NULL;
CREATE SCHEMA sales;
CREATE TABLE customers (id bigint PRIMARY KEY, email text UNIQUE, feels mood);
CREATE TABLE sales.orders (
    id bigint PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers,
    status varchar(20) NOT NULL CHECK (status IN ('open', 'it''s paid')),
    total amount, discount numeric(12,2), "odd name" int CHECK ("odd name" % 2 = 1),
    placed date CHECK (placed > '2020-01-01'), code text CHECK (code ~ '^[A-Z]+$'),
    CONSTRAINT discount_fits CHECK (discount IS NULL OR discount <= total),
    CHECK (upper(code) = code AND length(code) BETWEEN 1 AND 9),
    UNIQUE (customer_id, placed)
);
CREATE TABLE sales.order_lines (order_id bigint REFERENCES sales.orders, line_no int, PRIMARY KEY (order_id, line_no));
CREATE TABLE notes (text text);
ALTER TABLE notes ADD CONSTRAINT is_short CHECK (length(text) < 10) NOT VALID;
INSERT INTO customers VALUES (1, 'ann@example.org', 'glad'), (2, NULL, NULL);
INSERT INTO sales.orders VALUES (1, 1, 'open', 10, NULL, 3, '2026-01-01', 'AB'), (2, 2, 'it''s paid', 5, 5, NULL, NULL, NULL);
INSERT INTO sales.order_lines VALUES (1, 1), (1, 2), (2, 1);
INSERT INTO notes VALUES (NULL), ('x');
"#;

#[tokio::test]
async fn a_database_is_set_up_and_audited_without_an_edit() {
    let database = Database::create("setup").await;
    let client = database.client("shop@v41").await;
    client.batch_execute(SHOP).await.expect("the shop is there");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (status, out, err) = run(folder.path(), &["init", &database.url()]);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    let rules = read(folder.path(), "rules/schema.yaml");
    for part in [
        "orders_status_check",
        "in: [\"open\", \"it's paid\"]",
        "amount_check",
        "discount_fits",
        "odd name",
        "feels-is-known",
        "customer_id-exists",
        "NOT VALID",
        "sales.order_lines",
    ] {
        assert!(rules.contains(part), "{part} is not in\n{rules}");
    }
    let (status, out, err) = run(folder.path(), &["audit"]);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}\n{rules}");
    client.batch_execute("ALTER TABLE sales.orders DROP CONSTRAINT discount_fits; UPDATE sales.orders SET discount = 99 WHERE id = 1").await.expect("the fault is made");
    let (status, out, _) = run(folder.path(), &["audit"]);
    assert!(status == Some(1) && out.contains("discount_fits"), "{out}");
}

#[test]
fn dbt_and_soda_files_are_read_where_they_are() {
    let folder = data_folder();
    assert_eq!(run(folder.path(), &["init"]).0, Some(0));
    let toml = read(folder.path(), "blast-radius.toml").replace("[\"rules\"]", "[\"dbt\", \"contract.yaml\"]");
    write(folder.path(), "blast-radius.toml", &toml);
    write(folder.path(), "dbt/dbt_project.yml", "name: shop\nversion: '1.0'\nvars: {least: 6}\nmodels: {shop: {}}\n");
    write(
        folder.path(),
        "dbt/models/schema.yml",
        "version: 2
models:
  - name: orders
    columns:
      - name: status
        data_tests:
          - accepted_values: {arguments: {values: [open]}, config: {severity: warn}}
          - our_own_macro
      - name: total
        tests:
          - dbt_utils.accepted_range: {min_value: \"{{ var('least') }}\"}
",
    );
    let contract = "dataset: pg/shop/public/customers\ncolumns:\n  - name: email\n    checks:\n      - missing:\n";
    write(folder.path(), "contract.yaml", contract);
    let (status, out, err) = run(folder.path(), &["audit", "--quiet", "--format", "json"]);
    assert_eq!(status, Some(1), "{out}{err}");
    assert!(err.contains("schema.yml:8:") && err.contains("our_own_macro"), "{err}");
    let report: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    let found: Vec<String> = report["rules"]
        .as_array()
        .expect("rules")
        .iter()
        .map(|rule| format!("{} {} {}", rule["id"], rule["severity"], rule["violations"]).replace('"', ""))
        .collect();
    assert_eq!(
        found,
        [
            "accepted_values_orders_status warn 1",
            "dbt_utils_accepted_range_orders_total error 1",
            "missing_customers_email error 0"
        ]
    );
}

/// The commands of the documentation's fenced blocks, as words; `blast-radius` itself left out.
fn documented_commands(page: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut in_fence = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
            continue;
        }
        if !in_fence {
            continue;
        }
        if let Some(list) = line.trim().strip_prefix("command: [") {
            let words = list.trim_end_matches(']').split(", ").map(|word| word.trim_matches('"').to_owned());
            commands.push(words.skip(1).collect());
            continue;
        }
        let Some((_, rest)) = line.split_once("blast-radius ") else { continue };
        let end = [" ||", " &&", " |", " >", "\"", ";"].iter().filter_map(|end| rest.find(end)).min();
        let words = rest[..end.unwrap_or(rest.len())].split(" #").next().unwrap_or_default().split_whitespace();
        commands.push(words.map(str::to_owned).collect());
    }
    commands
}

fn documentation(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_examples_of_running_it_run() {
    let page = documentation("docs/running.md");
    let folder = data_folder();
    assert_eq!(run(folder.path(), &["init"]).0, Some(0));
    let commands: BTreeSet<Vec<String>> = documented_commands(&page).into_iter().collect();
    assert!(commands.len() >= 8, "{commands:?}");
    for command in commands {
        let local = |word: &String| word.replace("/var/lib/node_exporter/", "");
        let words: Vec<String> = command.iter().map(local).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (status, out, err) = run(folder.path(), &words);
        assert_eq!((status, err.as_str()), (Some(0), ""), "{words:?}: {out}");
    }
    for file in ["violations.ndjson", "audit.txt", "audit.xml", "audit.sarif", "blast_radius.prom", "event.json"] {
        assert!(folder.path().join(file).is_file(), "{file}");
    }
}

#[test]
fn the_examples_are_well_formed() {
    let page = documentation("docs/running.md");
    let mut kinds = BTreeSet::new();
    let mut fences = page.split("\n```");
    fences.next();
    while let (Some(block), Some(_)) = (fences.next(), fences.next()) {
        let (kind, text) = block.split_once('\n').expect("a fence has lines");
        kinds.insert(kind.to_owned());
        match kind {
            "yaml" => {
                let parsed: serde_json::Value = serde_saphyr::from_str(text).expect(text);
                assert!(parsed.is_object(), "{text}");
            }
            "ini" => {
                for line in text.lines().filter(|line| !line.is_empty()) {
                    assert!(line.starts_with('[') && line.ends_with(']') || line.contains('='), "{line}");
                }
                assert!(text.contains("ExecStart=/") || text.contains("OnCalendar="), "{text}");
            }
            "cron" => {
                let line = text.lines().find(|line| !line.starts_with('#')).expect("a line");
                assert!(line.split_whitespace().count() > 5, "{line}");
            }
            "python" => assert!(text.contains("BashOperator("), "{text}"),
            "sh" => {}
            other => panic!("a fence of {other}"),
        }
    }
    assert_eq!(kinds.len(), 5, "{kinds:?}");
}

#[test]
fn every_documented_command_is_understood() {
    for name in ["README.md", "docs/running.md", "docs/audit-in-ci.md", "docs/repair.md", "docs/first-look.md"] {
        for command in documented_commands(&documentation(name)) {
            let line = std::iter::once("blast-radius".to_owned()).chain(command.iter().cloned());
            let parsed = Arguments::try_parse_from(line);
            assert!(
                parsed.is_ok(),
                "{name}: {command:?}: {}",
                parsed.err().map(|error| error.to_string()).unwrap_or_default()
            );
        }
    }
}

#[test]
fn links_within_the_documentation_lead_somewhere() {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut checked = 0;
    let mut listed = 0;
    let summary = documentation("docs/SUMMARY.md");
    for entry in std::fs::read_dir(&docs).expect("docs is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "md") {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        assert!(name == "SUMMARY.md" || summary.contains(&format!("({name})")), "{name} is not in SUMMARY.md");
        listed += 1;
        let text = std::fs::read_to_string(&path).expect("it can be read");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || target.contains("://") {
                continue;
            }
            assert!(docs.join(file).exists(), "{name} links to {target}");
            checked += 1;
        }
    }
    assert!(checked > 10 && listed > 5, "{checked} links of {listed} pages");
}

#[test]
fn personal_values_are_in_no_output() {
    const PLANTED: &str = "ann.secret@example.org";
    let folder = data_folder();
    write(folder.path(), "data/customers.csv", &format!("id,email\n7,{PLANTED}\n8,\n"));
    write(
        folder.path(),
        "blast-radius.toml",
        "[database]\nfiles = \"data\"\n[ingest]\nfiles = [\"events.ndjson\"]\n[audit]\nrules = [\"rules.yaml\"]\n\
         [tables.\"public.customers\"]\nkey = [\"id\"]\npersonal = [\"email\"]\n[tables.\"public.orders\"]\nkey = [\"id\"]\n",
    );
    write(
        folder.path(),
        "rules.yaml",
        "rules:\n  - id: email-is-lost\n    table: customers\n    check: { expression: \"email NOT LIKE '%secret%'\" }\n",
    );
    let event = format!(
        r#"{{"ts":"2026-03-02T10:15:30Z","release":"v42","service":"shop","tx":"7","table":"public.customers","op":"update","key":{{"id":7}},"before":{{"id":7,"email":"old.private@example.org"}},"after":{{"id":7,"email":"{PLANTED}"}},"statement":"UPDATE customers SET email = '{PLANTED}' WHERE id = 7"}}"#
    );
    write(folder.path(), "events.ndjson", &format!("{event}\n"));
    let mut outputs = Vec::new();
    let formats = ["text", "json", "junit", "sarif", "github", "markdown", "prometheus", "openlineage"];
    for format in formats {
        let (status, out, err) = run(folder.path(), &["audit", "-v", "--format", format, "--records", "v.ndjson"]);
        assert_eq!(status, Some(1), "{format}: {out}{err}");
        outputs.push((format!("audit --format {format}"), format!("{out}{err}")));
    }
    outputs.push(("audit --records".to_owned(), read(folder.path(), "v.ndjson")));
    for format in ["text", "json"] {
        for scope in ["violating", "all"] {
            let trace = ["--release", "v42", "-v", "--scope", scope, "--format", format, "--records", "r.ndjson"];
            let (status, out, err) = run(folder.path(), &trace);
            assert_eq!(status, Some(1), "{out}{err}");
            outputs.push((format!("trace --format {format} --scope {scope}"), format!("{out}{err}")));
            outputs.push(("trace --records".to_owned(), read(folder.path(), "r.ndjson")));
        }
    }
    let (_, out, err) = run(folder.path(), &["repair", "--release", "v42", "--out", "repair"]);
    outputs.push(("repair".to_owned(), format!("{out}{err}")));
    // Without `--include personal`, the scripts hold none either: such records are left to a person.
    for file in ["repair.sql", "undo.sql", "manual.csv"] {
        outputs.push((file.to_owned(), read(folder.path(), &format!("repair/{file}"))));
    }
    for (what, text) in outputs {
        assert!(!text.contains("secret@") && !text.contains("private@"), "{what} holds a personal value:\n{text}");
        assert!(!text.is_empty(), "{what} says nothing");
    }
}
