//! Whatever is done to an input's lines, each of them is recorded, passed over or rejected with a reason: none stops the
//! reading, and none vanishes.

#[path = "../fuzz/accounting.rs"]
mod accounting;

use std::io::{Cursor, Read};
use std::ops::ControlFlow;

use blast_radius::capture::{FormatChoice, Input, ReadSummary, format_names, read};
use blast_radius::model::Recording;
use proptest::prelude::*;

/// A sound line of each format of lines.
const SOUND: &[(&str, &str)] = &[
    ("events", include_str!("../fuzz/seeds/events/sound-1.json")),
    ("wal2json", include_str!("../fuzz/seeds/wal2json/sound-1.json")),
    ("wal2json", include_str!("../fuzz/seeds/wal2json/sound-2.json")),
    ("debezium", include_str!("../fuzz/seeds/debezium/sound-1.json")),
    ("debezium", include_str!("../fuzz/seeds/debezium/sound-2.json")),
    ("otlp", include_str!("../fuzz/seeds/otlp/sound-1.json")),
    ("postgres-jsonlog", include_str!("../fuzz/seeds/postgres_jsonlog/sound-1.json")),
];

fn read_bytes(format: &FormatChoice, bytes: impl Read + Send + 'static) -> (ReadSummary, Recording) {
    let mut whole = Recording::default();
    let summary = read(Input::from_reader("input", bytes), format, &mut |recording| {
        whole.writes.extend(recording.writes);
        whole.log.extend(recording.log);
        whole.stamps.extend(recording.stamps);
        whole.rejected.extend(recording.rejected);
        ControlFlow::Continue(())
    })
    .expect("damage is no error");
    (summary, whole)
}

fn accounted(summary: &ReadSummary, whole: &Recording) -> u64 {
    let recorded = whole.writes.len() + whole.log.len() + whole.stamps.len();
    assert_eq!(whole.rejected.len() as u64, summary.rejected);
    assert!(whole.rejected.iter().all(|line| !line.reason.is_empty()));
    recorded as u64 + summary.ignored + summary.rejected
}

#[test]
fn sound_lines_are_recorded() {
    for (format, line) in SOUND {
        let (summary, whole) = read_bytes(&FormatChoice::AUTO, Cursor::new(*line));
        assert_eq!(summary.format, Some(*format), "{line}");
        assert_eq!(whole.rejected, [], "{line}");
        assert_eq!(accounted(&summary, &whole).min(1), 1, "{line}");
        assert!(!whole.writes.is_empty() || !whole.log.is_empty(), "{line}");
        assert!(format_names().any(|name| name == *format));
    }
}

/// What may happen to a line on its way.
#[derive(Clone, Debug)]
enum Damage {
    CutAt(usize),
    Remove(usize, usize),
    Overwrite(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    SpliceWith(usize, usize, usize),
    Nest(usize),
}

fn any_damage() -> impl Strategy<Value = Damage> {
    let place = || 0_usize..700;
    let bytes = || {
        prop_oneof![
            proptest::collection::vec(any::<u8>().prop_filter("one line", |byte| *byte != b'\n'), 1..6),
            prop_oneof![
                Just("null"),
                Just("\"\""),
                Just("-1"),
                Just("1e999"),
                Just("99999999999999999999"),
                Just("{}"),
                Just("[]"),
                Just("\\u0000"),
                Just("\0"),
                Just("\\ud800"),
                Just("é"),
                Just("\"a\":"),
                Just("true"),
                Just("."),
                Just("-"),
            ]
            .prop_map(|text| text.as_bytes().to_vec()),
        ]
    };
    prop_oneof![
        place().prop_map(Damage::CutAt),
        (place(), 1_usize..40).prop_map(|(at, length)| Damage::Remove(at, length)),
        (place(), bytes()).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        (place(), bytes()).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (place(), 0..SOUND.len(), place()).prop_map(|(at, other, from)| Damage::SpliceWith(at, other, from)),
        (1_usize..3_000).prop_map(Damage::Nest),
    ]
}

fn damaged(line: &str, damages: &[Damage]) -> Vec<u8> {
    let mut bytes = line.as_bytes().to_vec();
    for damage in damages {
        let within = |place: usize, bytes: &[u8]| place.min(bytes.len());
        match damage {
            Damage::CutAt(at) => bytes.truncate(*at),
            Damage::Remove(at, length) => {
                let from = within(*at, &bytes);
                bytes.drain(from..within(from + length, &bytes));
            }
            Damage::Overwrite(at, new) => {
                let from = within(*at, &bytes);
                let end = within(from + new.len(), &bytes);
                bytes.splice(from..end, new.iter().copied());
            }
            Damage::Insert(at, new) => {
                let from = within(*at, &bytes);
                bytes.splice(from..from, new.iter().copied());
            }
            Damage::SpliceWith(at, other, from) => {
                bytes.truncate(*at);
                let other = SOUND[*other].1.as_bytes();
                bytes.extend_from_slice(&other[within(*from, other)..]);
            }
            Damage::Nest(depth) => {
                let mut nested = format!("{{\"x\":{}", "[".repeat(*depth)).into_bytes();
                nested.append(&mut bytes);
                bytes = nested;
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_line_is_recorded_or_rejected(
        which in 0..SOUND.len(),
        damages in proptest::collection::vec(any_damage(), 1..4),
    ) {
        let (format, line) = SOUND[which];
        let bytes = damaged(line, &damages);
        let is_blank = bytes.trim_ascii().is_empty();
        let (summary, whole) = read_bytes(&FormatChoice::named(format).expect("a format"), Cursor::new(bytes));
        prop_assert!(is_blank || accounted(&summary, &whole) >= 1, "the line vanished");
    }

    #[test]
    fn a_damaged_line_between_sound_ones_costs_neither(
        which in 0..SOUND.len(),
        damages in proptest::collection::vec(any_damage(), 1..3),
    ) {
        let (format, line) = SOUND[which];
        // What is after the damage must not be taken for the same fact.
        let last = line.replace("2026-03-02", "2027-03-02").replace("17724465", "17824465").replace("17954213", "17954214");
        let bytes = [line.as_bytes(), &damaged(line, &damages), last.as_bytes()].join(&b'\n');
        let format = FormatChoice::named(format).expect("a format");
        let (summary, whole) = read_bytes(&format, Cursor::new(bytes));
        let (_, alone) = read_bytes(&format, Cursor::new([line, &last].join("\n")));
        prop_assert_eq!(summary.lines, 3);
        for write in &alone.writes {
            prop_assert!(whole.writes.iter().any(|held| held.ts == write.ts && held.after == write.after));
        }
        for event in &alone.log {
            prop_assert!(whole.log.iter().any(|held| held.id == event.id));
        }
    }
}

proptest! {
    // Telling a plain log's prefix takes its time.
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_format_it_is_taken_for_it_is_read_to_its_end(
        which in 0..SOUND.len(),
        damages in proptest::collection::vec(any_damage(), 0..3),
        copies in 1_usize..4,
        nth in any::<proptest::sample::Index>(),
    ) {
        let names: Vec<&str> = format_names().collect();
        let bytes = vec![damaged(SOUND[which].1, &damages); copies].join(&b'\n');
        accounting::read_as(names[nth.index(names.len())], &bytes);
    }
}

#[test]
fn an_enormous_line_is_cut_and_the_next_is_read() {
    for (format, line) in SOUND {
        let before = Cursor::new(format!("{line}\n"));
        let enormous = std::io::repeat(b'x').take(100 * 1024 * 1024);
        let after = Cursor::new(format!("\n{line}"));
        let input = before.chain(enormous).chain(after);
        let (summary, whole) = read_bytes(&FormatChoice::AUTO, input);
        assert_eq!((summary.format, summary.lines, summary.rejected), (Some(*format), 3, 1));
        assert_eq!(whole.rejected[0].line, 2);
        assert!(whole.rejected[0].reason.contains("104857600 bytes"), "{}", whole.rejected[0].reason);
        assert!(whole.rejected[0].text.len() <= 64 * 1024);
    }
}

#[test]
fn a_line_nested_without_end_is_rejected() {
    for (format, _) in SOUND {
        for open in ["[", "{\"a\":", "{\"after\":{\"a\":["] {
            let line = open.repeat(1_000_000);
            let (summary, _) = read_bytes(&FormatChoice::named(format).expect("a format"), Cursor::new(line));
            assert_eq!(summary.rejected, 1, "{format} {open}");
        }
    }
}
