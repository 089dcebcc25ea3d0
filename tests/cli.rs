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
