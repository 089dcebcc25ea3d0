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
