//! A small blast radius for the tests of the renderers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{
    Column, ColumnType, RecordKey, Release, ReleaseName, Row, ServiceName, TableName, TableSchema, TableSettings,
    TableSettingsByName, Timestamp, TransactionId, Value, WriteSeq,
};
use crate::trace::{
    AffectedColumn, AffectedRecord, AffectedStatement, BlastRadius, Cause, Onset, OnsetShape, RecordState,
    RepairAction, Role, WrittenBy,
};

/// 2026-03-02T10:15:30.123456Z, and so many minutes later.
fn at(minutes: i64) -> Timestamp {
    Timestamp::from_micros(1_772_446_530_123_456 + minutes * 60_000_000)
}

fn orders() -> TableName {
    TableName::new("public", "orders")
}

fn sales() -> TableName {
    TableName::new("public", "daily_sales")
}

fn key(column: &str, text: &str) -> RecordKey {
    RecordKey::new(vec![(column.into(), Value::text(text))])
}

fn column(name: &str, current: Value, expected: Option<Value>, exact: bool) -> AffectedColumn {
    AffectedColumn { name: name.into(), current, expected, exact }
}

fn record(table: TableName, key: RecordKey, role: Role, state: RecordState, repair: RepairAction) -> AffectedRecord {
    let release = Release { service: Some(ServiceName::new("shop")), name: ReleaseName::new("v42") };
    let tx = Some(TransactionId("733".into()));
    AffectedRecord {
        table,
        key,
        role,
        state,
        columns: vec![],
        hops: u32::from(role != Role::Root),
        rules: vec![],
        written: WrittenBy { seq: Some(WriteSeq(120_033)), ts: at(0), tx, release: Some(release) },
        cause: None,
        repair,
        why: None,
        current_row: None,
        subject: None,
        external: false,
    }
}

fn records() -> Vec<AffectedRecord> {
    let text = |text: &str| Value::text(text);
    let mut live = record(orders(), key("id", "17"), Role::Root, RecordState::Live, RepairAction::Update);
    live.columns = vec![
        column("total", text("1000.00"), Some(text("10.00")), true),
        column("email", text("eve@example.org"), Some(text("bob@example.org")), true),
        column("note", Value::NULL, None, false),
    ];
    live.rules = vec!["order-total-adds-up".into()];
    live.subject = Some(text("7"));
    let mut healed = record(orders(), key("id", "18"), Role::Root, RecordState::Healed, RepairAction::None);
    healed.columns = vec![column("total", text("2000.00"), Some(text("20.00")), true)];
    healed.rules = vec!["order-total-adds-up".into()];
    healed.subject = Some(text("8"));
    let mut extra = record(orders(), key("id", "19"), Role::Root, RecordState::Extra, RepairAction::Delete);
    extra.current_row = Some(Row::from_iter([("id".into(), text("19")), ("total".into(), text("0.50"))]));
    extra.columns = vec![column("total", text("0.50"), None, true)];
    extra.subject = Some(text("10"));
    let mut missing = record(orders(), key("id", "20"), Role::Root, RecordState::Missing, RepairAction::Insert);
    missing.columns = vec![column("total", Value::NULL, Some(text("5.25")), true)];
    missing.written.seq = None;
    missing.subject = Some(text("7"));
    let mut derived = record(sales(), key("day", "2026-03-02"), Role::Derived, RecordState::Live, RepairAction::Update);
    derived.columns = vec![column("revenue", text("1200.00"), Some(text("210.00")), true)];
    derived.cause = Some(Cause {
        table: orders(),
        key: key("id", "17"),
        statement: Some("INSERT INTO daily_sales\nSELECT day, sum(total) FROM orders GROUP BY day".into()),
    });
    let mut possible =
        record(sales(), key("day", "2026-03-03"), Role::Possible, RecordState::Live, RepairAction::Manual);
    possible.columns = vec![column("revenue", text("1.00"), None, false)];
    possible.why = Some("the application read an affected record, then wrote a literal".into());
    possible.external = true;
    vec![live, healed, extra, missing, derived, possible]
}

/// Root records in every state, one derived, one possible and external; a personal column.
pub(super) fn blast_radius() -> BlastRadius {
    BlastRadius {
        release: ReleaseName::new("v42"),
        service: Some(ServiceName::new("shop")),
        writes: BTreeMap::from([(orders(), 12_345), (sales(), 1)]),
        window: Some((at(-15), at(240))),
        onset: Some(Onset { first_wrong: at(0), last_wrong: at(200), shape: OnsetShape::Sudden }),
        rules: vec![("order-total-adds-up".into(), 2)],
        statements: vec![AffectedStatement {
            statement: "INSERT INTO daily_sales\n  SELECT day, sum(total) FROM orders WHERE status <> $1 GROUP BY day"
                .into(),
            executions: 1_200,
            affected: 1,
            exact: true,
        }],
        unattributed: 3,
        suspects: 40,
        limits: vec![
            "the statement of 2 writes to public.daily_sales is not in the log: what they read is not known".to_owned(),
        ],
        records: records(),
    }
}

/// The shapes of both tables.
pub(super) fn schemas() -> BTreeMap<TableName, Arc<TableSchema>> {
    let column = |name: &str, column_type| Column { name: name.into(), column_type, not_null: false, generated: false };
    let money = ColumnType::Numeric(Some((12, 2)));
    let table = |name: TableName, columns: Vec<Column>| {
        let key = columns.iter().take(1).map(|column| column.name.clone()).collect();
        (name.clone(), Arc::new(TableSchema { name, columns, key, foreign_keys: vec![], unique_keys: vec![] }))
    };
    BTreeMap::from([
        table(
            orders(),
            vec![
                column("id", ColumnType::BigInt),
                column("total", money.clone()),
                column("email", ColumnType::Text),
                column("note", ColumnType::Text),
            ],
        ),
        table(sales(), vec![column("day", ColumnType::Date), column("revenue", money)]),
    ])
}

/// Orders have customers, and an e-mail address that is never printed.
pub(super) fn settings() -> TableSettingsByName {
    let settings = TableSettings {
        subject: Some("customer_id".into()),
        personal: vec!["email".into()],
        ..TableSettings::default()
    };
    TableSettingsByName::from([(orders(), settings)])
}

/// Nothing wrong at all.
pub(super) fn clean() -> BlastRadius {
    BlastRadius {
        onset: None,
        rules: vec![],
        statements: vec![],
        unattributed: 0,
        suspects: 0,
        limits: vec![],
        records: vec![],
        ..blast_radius()
    }
}
