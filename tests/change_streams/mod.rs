//! Change streams: whatever decoded a workload, the same writes come of it.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use blast_radius::capture::{FormatChoice, Input, read};
use blast_radius::model::{Operation, RecordedWrite, Recording, Row, Value};

use super::samples;

fn read_changes(name: &str) -> Recording {
    let input = Input::file(&samples().join(name), name).expect("a recording");
    let mut whole = Recording::default();
    let summary = read(input, &FormatChoice::AUTO, &mut |recording| {
        whole.writes.extend(recording.writes);
        whole.stamps.extend(recording.stamps);
        whole.rejected.extend(recording.rejected);
        ControlFlow::Continue(())
    })
    .expect("read");
    assert_eq!(summary.format, Some("wal2json"), "{name}");
    whole
}

fn read_whole(name: &str) -> Recording {
    let recording = read_changes(name);
    assert_eq!(recording.rejected, [], "{name}");
    recording
}

/// Cells that are not NULL: format 1 leaves NULLs out of the image before.
fn told(image: Option<&Row>) -> Vec<(String, String)> {
    let cell = |(column, value): (&std::sync::Arc<str>, &Value)| Some((column.to_string(), value.as_str()?.to_owned()));
    image.into_iter().flat_map(Row::iter).filter_map(cell).collect()
}

type Told = (String, Operation, Vec<(String, String)>, Vec<(String, String)>);

fn what(write: &RecordedWrite) -> Told {
    (write.table.to_string(), write.operation, told(write.before.as_ref()), told(write.after.as_ref()))
}

#[test]
fn both_formats_with_all_their_options_tell_the_same() {
    for folder in ["cdc", "cdc-edge"] {
        let mut second = read_whole(&format!("{folder}/wal2json-v2.jsonl"));
        let first = read_whole(&format!("{folder}/wal2json-v1.jsonl"));
        // The one recording of format 1 was made with positions in the log, the other without.
        if folder == "cdc-edge" {
            assert!(second.writes.iter().all(|write| write.seq.is_some()));
            second.writes.iter_mut().for_each(|write| write.seq = None);
            second.stamps.iter_mut().for_each(|stamp| stamp.seq = None);
        }
        // Format 1 knows no truncate.
        let without_truncates: Vec<&RecordedWrite> =
            second.writes.iter().filter(|write| write.operation != Operation::Truncate).collect();
        assert!(without_truncates.len() >= 20, "{folder}");
        assert_eq!(first.writes.len(), without_truncates.len(), "{folder}");
        for (first, second) in first.writes.iter().zip(without_truncates) {
            assert_eq!(what(first), what(second), "{folder}");
            assert_eq!((first.id, first.ts, &first.transaction), (second.id, second.ts, &second.transaction));
            assert_eq!(first.seq, second.seq, "{folder}");
        }
        assert!(first.stamps.len() >= 20, "{folder}");
        assert_eq!(first.stamps, second.stamps, "{folder}");
    }
}

#[test]
fn without_options_the_same_writes_come_in_the_same_order() {
    let full = read_whole("cdc/wal2json-v2.jsonl");
    for name in ["wal2json-v2-defaults.jsonl", "wal2json-v1-defaults.jsonl", "wal2json-v1-chunks.txt"] {
        let told = read_whole(&format!("cdc/{name}"));
        let writes: Vec<Told> = told.writes.iter().map(what).collect();
        // Format 1 knows no truncate.
        let is_told = |write: &&RecordedWrite| name.contains("v2") || write.operation != Operation::Truncate;
        let expected: Vec<Told> = full.writes.iter().filter(is_told).map(what).collect();
        assert_eq!(writes, expected, "{name}");
        assert_eq!(told.stamps.len(), full.stamps.len(), "{name}");
        assert!(told.writes.is_sorted_by_key(|write| write.ts), "{name}: in the order of commits");
        let ids: BTreeSet<_> = told.writes.iter().map(|write| write.id).collect();
        assert_eq!(ids.len(), expected.len(), "{name}");
    }
}

#[test]
fn edges_are_known_or_unknown_and_never_wrong() {
    let edge = read_whole("cdc-edge/wal2json-v2.jsonl");
    let updates = |table: &str| -> Vec<&RecordedWrite> {
        let of_table = |write: &&RecordedWrite| write.table.table.as_ref() == table;
        edge.writes.iter().filter(of_table).filter(|write| write.operation == Operation::Update).collect()
    };
    // An oversized value that did not change: unknown with the default identity, known with the full one.
    assert_eq!(value(updates("toasty")[0], "big"), None);
    let full = updates("toasty_full");
    assert_eq!(value(full[0], "big").map(|text| text.map(|text| text.len())), Some(Some(9_000)));
    assert_eq!(value(full[1], "big"), Some(None), "set to NULL");
    assert_eq!(value(full[1], "big2").map(|text| text.is_some()), Some(true), "not told again, yet known");
    // A record whose key changed.
    let moved = updates("pkchg")[0];
    assert_eq!(moved.before.as_ref().and_then(|row| row.get("id")), Some(&Value::text("1")));
    assert_eq!(moved.key.get("id"), Some(&Value::text("2")));
    let truncated: Vec<String> = edge
        .writes
        .iter()
        .filter(|write| write.operation == Operation::Truncate)
        .map(|write| write.table.table.to_string())
        .collect();
    assert_eq!(truncated, ["toasty", "pkchg"]);
}

#[test]
fn what_cannot_be_dated_is_refused_with_what_to_do() {
    let recording = read_changes("cdc-edge/readset-siread-wal2json-v2.jsonl");
    assert_eq!(recording.writes, []);
    assert_eq!(recording.rejected.len(), 2);
    assert!(recording.rejected[0].reason.contains("include-timestamp"), "{}", recording.rejected[0].reason);
    let recording = read_whole("cdc-edge/pg_recvlogical-wal2json.jsonl");
    assert!(recording.writes.len() >= 3);
}

/// The value after, `Some(None)` for NULL, `None` where it is not known.
fn value<'write>(write: &'write RecordedWrite, column: &str) -> Option<Option<&'write str>> {
    write.after.as_ref()?.get(column).map(Value::as_str)
}
