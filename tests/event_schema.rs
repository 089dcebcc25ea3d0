//! The published JSON Schema is the types', and agrees with what `ingest` reads.

use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::Path;

use blast_radius::capture::{FormatChoice, Input, WriteEvent, read};
use serde_json::Value as Json;

#[test]
fn the_published_schema_is_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/event.schema.json");
    let published = std::fs::read_to_string(&path).expect("published");
    let hint = "make it anew: cargo run --example write_events -- --schema > docs/event.schema.json";
    assert_eq!(published.trim_end(), format!("{:#}", WriteEvent::json_schema()), "{hint}");
}

#[test]
fn schema_and_reader_agree() {
    let validator = jsonschema::validator_for(&WriteEvent::json_schema()).expect("a schema");
    let whole = r#"{"ts":"2026-03-02T10:15:30.123456Z","release":"v42","service":"shop","tx":"733","seq":120033,"table":"public.orders","op":"update","key":{"id":17},"before":{"id":17,"total":"10.00"},"after":{"id":17,"total":1000.00},"reads":[{"table":"public.prices","key":{"sku":"A1"},"columns":["amount"]}],"trace":"4bf92f3577b34da6a3ce929d0e0e4736","session":"69a5b1c2.1a2b","statement":"UPDATE …","params":["1000.00",17,null],"id":"e"}"#;
    for (line, is_sound) in [
        (whole, true),
        (r#"{"ts":"2026-03-02T10:15:30Z","table":"t","op":"insert","after":{"id":1}}"#, true),
        (r#"{"ts":"2026-03-02T10:15:30Z","table":"t","op":"truncate"}"#, true),
        (r#"{"ts":"2026-03-02T10:15:30Z","table":"t","op":"insert"}"#, false),
        (r#"{"ts":"2026-03-02T10:15:30Z","table":"t","op":"upsert","key":{"id":1}}"#, false),
        (r#"{"ts":"2026-03-02T10:15:30Z","op":"insert","key":{"id":1}}"#, false),
        (r#"{"table":"t","op":"insert","key":{"id":1}}"#, false),
        (r#"{"ts":"2026-03-02T10:15:30Z","table":"t","op":"insert","key":7}"#, false),
        (r#"{"ts":"2026-03-02T10:15:30Z","table":"t","op":"insert","key":{"id":1},"seq":-1}"#, false),
        (r#"{"ts":"2026-03-02T10:15:30Z","table":"t","op":"insert","key":{"id":1},"reads":[{"table":"t"}]}"#, false),
    ] {
        let event: Json = serde_json::from_str(line).expect("JSON");
        assert_eq!(validator.is_valid(&event), is_sound, "{line}");
        let format = FormatChoice::named("events").expect("a format");
        let summary = read(Input::from_reader("line", Cursor::new(line)), &format, &mut |_| ControlFlow::Continue(()))
            .expect("read");
        assert_eq!(summary.rejected == 0, is_sound, "{line}");
    }
}
