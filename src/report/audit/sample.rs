//! An outcome with a rule of each kind of ending, for the tests of the renderers.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::super::ReportError;
use super::{AuditFormat, AuditReport};
use crate::audit::{
    AuditOutcome, Location, ReleaseOutcome, RuleOutcome, RuleStatus, Schemas, Severity, Violation, WrittenBy,
};
use crate::catalog::DatabaseAddress;
use crate::model::{
    Column, ColumnName, ColumnType, RecordKey, Release, ReleaseName, ServiceName, TableName, TableSchema, Timestamp,
    TransactionId, Value, WriteSeq,
};

pub(super) fn schemas() -> Schemas {
    let column = |name: &str, column_type| Column { name: name.into(), column_type, not_null: true, generated: false };
    let table = |name: &str, columns: Vec<Column>| {
        let name = TableName::new("public", name);
        let key = columns.iter().map(|column| Arc::clone(&column.name)).collect();
        (name.clone(), Arc::new(TableSchema { name, columns, key, foreign_keys: Vec::new(), unique_keys: Vec::new() }))
    };
    BTreeMap::from([
        table("orders", vec![column("id", ColumnType::BigInt)]),
        table("prices", vec![column("sku", ColumnType::Text), column("day", ColumnType::Date)]),
    ])
}

pub(super) fn outcome() -> AuditOutcome {
    let release = Release { service: Some(ServiceName::new("shop")), name: ReleaseName::new("v42") };
    let order = |id: u64| Violation {
        rule: "total".into(),
        table: TableName::new("public", "orders"),
        key: RecordKey::new(vec![("id".into(), Value::text(id.to_string()))]),
        columns: [ColumnName::from("total")].into(),
        release: Some(release.clone()),
        written: Some(WrittenBy {
            seq: Some(WriteSeq(id)),
            ts: Timestamp::from_micros(1_772_446_530_000_000),
            tx: Some(TransactionId("733".into())),
            release: Some(release.clone()),
        }),
    };
    let price = Violation {
        rule: "price".into(),
        table: TableName::new("public", "prices"),
        key: RecordKey::new(vec![("sku".into(), Value::text("A<1>")), ("day".into(), Value::text("2026-03-02"))]),
        columns: [].into(),
        release: None,
        written: None,
    };
    AuditOutcome {
        rules: vec![
            rule("total", "orders", Severity::Error, RuleStatus::Fail, 12),
            rule("order-status-is-known", "orders", Severity::Error, RuleStatus::Pass, 0),
            rule("price", "prices", Severity::Warn, RuleStatus::Fail, 1),
            rule("odd", "prices", Severity::Error, RuleStatus::Error, 0),
        ],
        releases: vec![ReleaseOutcome {
            service: Some(ServiceName::new("shop")),
            release: ReleaseName::new("v42"),
            written: 40,
            violations: 12,
            lift: Some(7.5),
            p_value: Some(0.001),
        }],
        violations: (9..21).map(order).chain([price]).collect(),
        history_begins: Some(Timestamp::from_micros(1_772_000_000_000_000)),
        unlisted: Vec::new(),
        limits: Vec::new(),
    }
}

fn rule(id: &str, table: &str, severity: Severity, status: RuleStatus, violations: u64) -> RuleOutcome {
    RuleOutcome {
        id: id.into(),
        table: TableName::new("public", table),
        description: (id == "total").then(|| "The total is what the lines add up to.".to_owned()),
        severity,
        status,
        checked: if status == RuleStatus::Error { 0 } else { 4_200 },
        violations,
        message: (status == RuleStatus::Error).then(|| "Divide by zero error".to_owned()),
    }
}

/// What a format prints of the outcome.
pub(super) fn printed(format: &AuditFormat) -> String {
    printed_with(format, Severity::Error, false)
}

/// What a format prints of another outcome.
pub(super) fn printed_of(format: &AuditFormat, outcome: &AuditOutcome) -> String {
    print(format, outcome, Severity::Error, false)
}

pub(super) fn printed_with(format: &AuditFormat, fail_on: Severity, verbose: bool) -> String {
    print(format, &outcome(), fail_on, verbose)
}

fn print(format: &AuditFormat, outcome: &AuditOutcome, fail_on: Severity, verbose: bool) -> String {
    written_of(outcome, fail_on, verbose, |report, out| format.write(report, out))
}

/// What is written of the outcome.
pub(super) fn written(
    fail_on: Severity,
    verbose: bool,
    write: impl Fn(&AuditReport<'_>, &mut dyn Write) -> Result<(), ReportError>,
) -> String {
    written_of(&outcome(), fail_on, verbose, write)
}

fn written_of(
    outcome: &AuditOutcome,
    fail_on: Severity,
    verbose: bool,
    write: impl Fn(&AuditReport<'_>, &mut dyn Write) -> Result<(), ReportError>,
) -> String {
    let places: BTreeMap<Arc<str>, Location> = outcome
        .rules
        .iter()
        .zip(1..)
        .map(|(rule, position)| {
            let file: Arc<Path> = Path::new("/srv/shop/rules/a b,c.yaml").into();
            let location = Location { file, line: 10 * position, column: 5, line_text: "  - id: …".into() };
            (Arc::clone(&rule.id), location)
        })
        .collect();
    let report = AuditReport {
        outcome,
        fail_on,
        schemas: &schemas(),
        places: &places,
        folder: Path::new("/srv/shop"),
        address: &DatabaseAddress {
            namespace: "postgres://db.example.org:5432".to_owned(),
            database: "shop".to_owned(),
            server: "db.example.org:5432".to_owned(),
        },
        finished: Timestamp::from_micros(1_772_450_000_000_000),
        verbose,
    };
    let mut out = Vec::new();
    write(&report, &mut out).expect("it is written");
    String::from_utf8(out).expect("it is text")
}
