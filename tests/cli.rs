//! The program as a script sees it: exit status, standard output, standard error.

use assert_cmd::Command;

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::cargo_bin("blast-radius").expect("the program is built");
    let output = command.env("NO_COLOR", "1").args(arguments).output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_and_version_are_no_errors() {
    let (status, out, err) = run(&["--help"]);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    for part in ["--release <RELEASE>", "-C, --project <DIR>", "repair", "Exit status: 0 nothing found"] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    assert_eq!(run(&["--version"]).0, Some(0));
    let (status, out, _) = run(&["repair", "--help"]);
    assert_eq!(status, Some(0));
    assert!(out.contains("--include <WHAT>") && out.contains("--verify"), "{out}");
}

#[test]
fn lineage_of_sql_needs_no_project() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("schema.sql"), "CREATE TABLE s (a int, b int); CREATE TABLE t (c int, d int);")
        .and_then(|()| std::fs::write(path("log.sql"), "INSERT INTO t SELECT * FROM s WHERE b > 0;"))
        .and_then(|()| std::fs::write(path("wrong.sql"), "SELEC 1"))
        .expect("the files can be written");
    let (status, out, err) =
        run(&["lineage", "--sql", &path("log.sql"), "--schema", &path("schema.sql"), "--format", "json"]);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    let document: serde_json::Value = serde_json::from_str(&out).expect("the document is JSON");
    let column = &document["statements"][0]["columns"][1];
    assert_eq!(column["target"], "public.t.d");
    assert_eq!(column["sources"], serde_json::json!(["public.s.b"]));
    assert_eq!(run(&["lineage", "--sql", &path("wrong.sql")]).0, Some(1));
    for (arguments, message) in [
        (vec!["lineage", "--sql", "no/such/file.sql"], "no/such/file.sql"),
        (vec!["lineage", "--sql", &path("log.sql"), "--dialect", "klingon"], "no such dialect"),
        (vec!["lineage", "--sql", &path("log.sql"), "--table", "t"], "cannot be used with"),
    ] {
        let (status, _, err) = run(&arguments);
        assert!(status == Some(2) && err.contains(message), "{arguments:?}: {err}");
    }
}

#[test]
fn bad_usage_is_2_and_says_what_to_do() {
    for (arguments, message) in [
        (&[][..], "Usage"),
        (&["--relase", "v42"], "--release"),
        (&["--release", "v42", "--scope", "some"], "violating, faults, all"),
        (&["--release", "v42", "--scope", "all", "--faults", "f.yaml"], "only --scope faults"),
        (
            &["explain", "t", "1", "--release", "v42", "--scope", "violating", "--faults", "f.yaml"],
            "only --scope faults",
        ),
        (&["explain", "t", "1", "--release", "v42", "--records", "records.xlsx"], ".ndjson, .csv, .parquet"),
        (&["--release", "v42", "--engine", "df://host:50050"], "not supported yet"),
        (&["--release", "v42", "--from", "yesterday"], "RFC 3339"),
        (&["--release", "v42", "--format", "yaml"], "Formats: text, json."),
        (&["--release", "v42", "--records", "records.xlsx"], ".ndjson, .csv, .parquet"),
        (&["--release", "v42", "repair", "--release", "v42", "--out", "r"], "after the command"),
        (&["-C", "no/such/folder", "--release", "v42"], "no/such/folder"),
    ] {
        let (status, out, err) = run(arguments);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        assert!(err.contains(message), "{arguments:?}: {err}");
        assert!(!err.contains('\u{1b}'), "{arguments:?} is coloured: {err}");
    }
}

fn write(folder: &tempfile::TempDir, name: &str, text: &str) {
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().expect("it has a parent")).expect("the folder can be made");
    std::fs::write(path, text).expect("the file can be written");
}

/// A release writes a price too high; an order is computed from it.
fn small_project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let write = |name: &str, text: &str| write(&folder, name, text);
    write(
        "blast-radius.toml",
        "[database]\nfiles = \"data\"\n[ingest]\nfiles = [\"events.ndjson\"]\n\
         [tables.\"public.prices\"]\nkey = [\"sku\"]\n[tables.\"public.orders\"]\nkey = [\"id\"]\npersonal = [\"email\"]\n",
    );
    write("data/prices.csv", "sku,amount\nA1,1000\n");
    write("data/orders.csv", "id,sku,total,email\n17,A1,2000,ann@example.org\n");
    write(
        "faults.yaml",
        "release: v42\nfaults:\n  - table: public.prices\n    where: \"sku = 'A1'\"\n    set: { amount: \"10\" }\n",
    );
    write(
        "events.ndjson",
        concat!(
            r#"{"ts":"2026-03-02T10:00:00Z","release":"v41","tx":"1","seq":1,"table":"prices","op":"insert","key":{"sku":"A1"},"after":{"sku":"A1","amount":9},"statement":"INSERT INTO prices VALUES ($1, $2)","params":["A1","9"]}"#,
            "\n",
            r#"{"ts":"2026-03-02T10:01:00Z","release":"v42","tx":"2","seq":2,"table":"prices","op":"update","key":{"sku":"A1"},"before":{"sku":"A1","amount":9},"after":{"sku":"A1","amount":1000},"statement":"UPDATE prices SET amount = $1 WHERE sku = $2","params":["1000","A1"]}"#,
            "\n",
            r#"{"ts":"2026-03-02T10:02:00Z","release":"v42","tx":"3","seq":3,"table":"orders","op":"insert","key":{"id":17},"after":{"id":17,"sku":"A1","total":2000,"email":"ann@example.org"},"statement":"INSERT INTO orders SELECT 17, sku, amount * 2, 'ann@example.org' FROM prices WHERE sku = 'A1'"}"#,
            "\n",
        ),
    );
    folder
}

#[test]
fn a_record_is_explained_back_to_its_root_and_forward() {
    let project = small_project();
    let folder = project.path().display().to_string();
    let traced = ["--release", "v42", "--faults", "faults.yaml"];
    let ask = |more: &[&str], traced: &[&str]| run(&[&["explain", "-C", &folder], more, traced].concat());

    let (status, out, err) = ask(&["orders", "17"], &traced);
    assert_eq!((status, err.as_str()), (Some(1), ""), "{out}");
    for part in ["derived of v42, live", "total: 2000, should be 20", "amount: 1000, should be 10", "email: (personal)"]
    {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    assert!(!out.contains("ann@example.org"), "{out}");

    let (status, out, _) = ask(&["prices", "A1", "--format", "json"], &traced);
    let document: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!((status, &document["affected"]["role"]), (Some(1), &"root".into()));
    assert_eq!(document["versions"].as_array().map(Vec::len), Some(2));
    assert_eq!(document["derived"][0]["table"], "public.orders");
    assert_eq!(document["readers"][0]["wrote"], serde_json::json!({"public.orders": 1}));

    let (status, out, _) = ask(&["prices", "sku=A1"], &[]);
    assert_eq!(status, Some(0), "{out}");
    assert!(out.contains("amount: 9 → 1000") && out.contains("update by v42"), "{out}");
    for (wrong, message) in [(["prics", "A1"], "Is it public.prices?"), (["prices", "B2"], "there is no such record")] {
        let (status, _, err) = ask(&wrong, &[]);
        assert_eq!(status, Some(2), "{err}");
        assert!(err.contains(message), "{err}");
    }
}

#[test]
fn explain_tells_limits_and_writes_records() {
    let project = small_project();
    let folder = project.path().display().to_string();
    write(&project, "data/loose.csv", "a\n1\n");
    let records = project.path().join("records.ndjson").display().to_string();
    let traced = ["--release", "v42", "--faults", "faults.yaml", "--records", &records];
    let (status, out, err) = run(&[&["explain", "-C", &folder, "orders", "17"], &traced[..]].concat());
    assert_eq!((status, err.as_str()), (Some(1), ""));
    assert!(out.contains("What could not be decided") && out.contains("public.loose has no key"), "{out}");
    let records = std::fs::read_to_string(records).expect("the records are there");
    assert_eq!(records.lines().count(), 2, "{records}");
}

/// A literal of a statement may be anybody's address.
#[test]
fn the_cause_of_a_record_is_told_without_literals() {
    let project = small_project();
    let folder = project.path().display().to_string();
    let records = |ending: &str| project.path().join(format!("records.{ending}"));
    for (format, ending) in [("text", "ndjson"), ("json", "csv")] {
        let file = records(ending).display().to_string();
        let traced = ["-C", &folder, "--release", "v42", "--faults", "faults.yaml", "-v", "--records", &file];
        let (status, out, err) = run(&[&traced[..], &["--format", format]].concat());
        assert_eq!((status, err.as_str()), (Some(1), ""));
        let listed = std::fs::read_to_string(records(ending)).expect("the records are there");
        for told in [out, listed] {
            assert!(told.contains("INSERT INTO orders SELECT ?") && !told.contains("ann@"), "{told}");
        }
    }
}

/// A release deletes an account; then an update finds no row, and so writes nothing that an event could tell. The log tells
/// times cut to milliseconds or seconds, in which the account may have been deleted, too.
#[test]
fn a_statement_that_found_no_row_is_known_from_the_log() {
    for (deleted, first, updated) in [
        ("10:02:00", "10:01:00.000", "10:03:00.000"),
        ("10:02:00.000141", "10:01:00.001", "10:02:00.000"),
        ("10:02:00.7", "10:01:00.000", "10:02:00.000"),
    ] {
        found_no_row(deleted, first, updated);
    }
}

/// One service asks, and another writes within the millisecond to which the log's times are cut: it asked first.
#[test]
fn a_trace_asks_before_it_writes() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let write = |name: &str, text: &str| write(&folder, name, text);
    write(
        "blast-radius.toml",
        "[database]\nfiles = \"data\"\n[ingest]\nfiles = [\"events.ndjson\", \"log.json\"]\n\
         [tables.\"public.prices\"]\nkey = [\"sku\"]\n[tables.\"public.fees\"]\nkey = [\"id\"]\n",
    );
    write("data/prices.csv", "sku,price\n1,999\n");
    write("data/fees.csv", "id,fee\n7,99\n");
    write("faults.yaml", "release: v42\nfaults:\n  - { table: prices, where: \"true\", set: { price: 100 } }\n");
    let event = |seq: u8, time: &str, release: &str, table: &str, key: &str, image: &str| {
        format!(
            "{{\"ts\":\"2026-03-02T10:0{seq}:{time}Z\",\"release\":\"{release}\",\"tx\":\"{seq}\",\"seq\":{seq},\
             \"table\":\"{table}\",\"op\":\"insert\",\"key\":{key},\"after\":{image},\"session\":\"{release}.1\"}}\n"
        )
    };
    let price = event(1, "00.001", "v42", "prices", r#"{"sku":1}"#, r#"{"sku":1,"price":999}"#);
    let fee = event(2, "00.000300", "billing", "fees", r#"{"id":7}"#, r#"{"id":7,"fee":99}"#);
    write("events.ndjson", &[price, fee].concat());
    let logged = |time: &str, session: &str, sql: &str| {
        format!(
            "{{\"timestamp\":\"2026-03-02 {time} UTC\",\"pid\":1,\"session_id\":\"{session}.1\",\"line_num\":1,\
             \"application_name\":\"{session}\",\"error_severity\":\"LOG\",\"message\":\"duration: 0.1 ms  statement: {sql}\"}}\n"
        )
    };
    let trace = format!("/*traceparent='00-{:032x}-00f067aa0ba902b7-01'*/", 5);
    write(
        "log.json",
        &[
            logged("10:01:00.001", "v42", "INSERT INTO prices VALUES (1, 999)"),
            logged("10:02:00.000", "pricing", &format!("SELECT price FROM prices WHERE sku = 1 {trace}")),
            logged("10:02:00.000", "billing", &format!("INSERT INTO fees VALUES (7, 99) {trace}")),
        ]
        .concat(),
    );
    let project = folder.path().display().to_string();
    let (status, out, err) = run(&["-C", &project, "--release", "v42", "--faults", "faults.yaml", "--format", "json"]);
    assert_eq!((status, err.as_str()), (Some(1), ""), "{out}");
    let found: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    let records = found["records"].as_array().expect("there are records");
    let roles: Vec<_> = records.iter().map(|record| (&record["table"], &record["role"])).collect();
    assert_eq!(
        roles,
        [(&"public.prices".into(), &"root".into()), (&"public.fees".into(), &"possible".into())],
        "{out}"
    );
}

fn found_no_row(deleted: &str, first_logged: &str, update_logged: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let write = |name: &str, text: &str| write(&folder, name, text);
    write(
        "blast-radius.toml",
        "[database]\nfiles = \"data\"\n[ingest]\nfiles = [\"events.ndjson\", \"log.json\"]\n\
         [tables.\"public.accounts\"]\nkey = [\"id\"]\n",
    );
    write("data/accounts.csv", "id,balance\n9,1\n");
    write(
        "faults.yaml",
        "release: v42\nfaults:\n  - { table: accounts, op: delete, where: \"true\", written: false }\n",
    );
    let event = |seq: u8, time: &str, release: &str, op: &str, id: u8, image: &str| {
        format!(
            "{{\"ts\":\"2026-03-02T{time}Z\",\"release\":\"{release}\",\"tx\":\"{seq}\",\"seq\":{seq},\
             \"table\":\"accounts\",\"op\":\"{op}\",\"key\":{{\"id\":{id}}},{image},\"session\":\"{release}.1\"}}\n"
        )
    };
    write(
        "events.ndjson",
        &[
            event(1, "10:01:00.001", "v41", "insert", 1, r#""after":{"id":1,"balance":100}"#),
            event(2, deleted, "v42", "delete", 1, r#""before":{"id":1,"balance":100}"#),
            event(4, "10:04:00", "v43", "insert", 9, r#""after":{"id":9,"balance":1}"#),
        ]
        .concat(),
    );
    let logged = |time: &str, release: &str, line: u8, sql: &str| {
        format!(
            "{{\"timestamp\":\"2026-03-02 {time} UTC\",\"pid\":1,\"session_id\":\"{release}.1\",\"line_num\":{line},\
             \"application_name\":\"shop@{release}\",\"error_severity\":\"LOG\",\"message\":\"duration: 0.1 ms  statement: {sql}\"}}\n"
        )
    };
    write(
        "log.json",
        &[
            logged(first_logged, "v41", 1, "INSERT INTO accounts VALUES (1, 100)"),
            logged("10:02:00.000", "v42", 1, "DELETE FROM accounts WHERE id = 1"),
            logged(update_logged, "v43", 1, "UPDATE accounts SET balance = balance + 5 WHERE id = 1"),
            logged("10:04:00.000", "v43", 2, "INSERT INTO accounts VALUES (9, 1)"),
        ]
        .concat(),
    );
    let project = folder.path().display().to_string();
    let (status, out, err) = run(&["-C", &project, "--release", "v42", "--faults", "faults.yaml", "--format", "json"]);
    assert_eq!((status, err.as_str()), (Some(1), ""), "{out}");
    let found: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(found["records"].as_array().map(Vec::len), Some(1), "{out}");
    let missing = &found["records"][0];
    assert_eq!((&missing["role"], &missing["state"]), (&"root".into(), &"missing".into()));
    let balance = serde_json::json!({"name": "balance", "current": null, "expected": "105", "exact": true});
    assert!(missing["columns"].as_array().is_some_and(|columns| columns.contains(&balance)), "{out}");
}
