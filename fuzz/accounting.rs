//! What must hold of every input, whatever is in it: it is read to its end, and each of its lines is accounted for.

use std::io::Cursor;
use std::ops::ControlFlow;

use blast_radius::capture::{CaptureError, FormatChoice, Input, ReadSummary, format_names, read};
use blast_radius::model::Recording;

/// A sound line of each format that has a record on every line.
const SOUND: &[(&str, &str)] = &[
    ("events", include_str!("seeds/events/sound-1.json")),
    ("debezium", include_str!("seeds/debezium/sound-1.json")),
    ("otlp", include_str!("seeds/otlp/sound-1.json")),
    ("postgres-jsonlog", include_str!("seeds/postgres_jsonlog/sound-1.json")),
];

/// Reads the bytes as the format of this name, and once more between two sound lines.
///
/// # Panics
/// Where the reading stops, a line is not accounted for, a rejected one has no reason, the counts do not agree, or the bytes
/// cost a sound line its record: that is a finding.
pub fn read_as(format: &str, bytes: &[u8]) {
    read_whole(format, bytes);
    let Some((_, sound)) = SOUND.iter().find(|(name, _)| *name == format) else { return };
    // What is after the bytes must not be the same fact as what is before them.
    let last =
        sound.replace("2026-03-02", "2027-03-02").replace("17724465", "17824465").replace("17954213", "17954214");
    let Some((_, alone)) = read_whole(format, format!("{sound}\n{last}").as_bytes()) else { return };
    let between = [sound.as_bytes(), bytes, last.as_bytes()].join(&b'\n');
    let Some((_, whole)) = read_whole(format, &between) else { return };
    assert!(alone.writes.iter().all(|sound| whole.writes.iter().any(|write| is_same_write(write, sound))));
    assert!(alone.log.iter().all(|sound| whole.log.iter().any(|event| event.id == sound.id)));
}

/// Places in the order of the input differ, and with them identities.
fn is_same_write(one: &blast_radius::model::RecordedWrite, other: &blast_radius::model::RecordedWrite) -> bool {
    (one.ts, &one.table, &one.before, &one.after) == (other.ts, &other.table, &other.before, &other.after)
}

/// `None` for a plain log of which no line tells the prefix: it can be read once the prefix is named.
fn read_whole(format: &str, bytes: &[u8]) -> Option<(ReadSummary, Recording)> {
    let format =
        FormatChoice::named(format).unwrap_or_else(|_| panic!("{format}: {:?}", format_names().collect::<Vec<_>>()));
    let mut whole = Recording::default();
    let input = Input::from_reader("fuzz", Cursor::new(bytes.to_vec()));
    let outcome = read(input, &format, &mut |recording| {
        whole.writes.extend(recording.writes);
        whole.log.extend(recording.log);
        whole.stamps.extend(recording.stamps);
        whole.lineage.extend(recording.lineage);
        whole.rejected.extend(recording.rejected);
        ControlFlow::Continue(())
    });
    let summary = match outcome {
        Ok(summary) => summary,
        Err(CaptureError::UnknownPrefix { .. }) => {
            assert_eq!(whole, Recording::default(), "nothing is told of what could not be read");
            return None;
        }
        Err(error) => panic!("damage is no error: {error}"),
    };
    assert!(
        whole.rejected.iter().all(|line| !line.reason.is_empty() && line.line > 0 && line.line <= summary.lines + 1)
    );
    assert_eq!(summary.rejected, whole.rejected.len() as u64);
    let says_something = summary.recorded + summary.ignored + summary.rejected_lines;
    assert_eq!(says_something + summary.blank, summary.lines, "each line is recorded, passed over, rejected or blank");
    Some((summary, whole))
}
