//! Which records a repair changes, and which it leaves to a person, with the reason.

use super::plan::{ChangeKind, ManualColumn, ManualRecord, RepairOptions};
use crate::model::{Column, ColumnName, TableName, TableSchema, Value};
use crate::trace::{AffectedColumn, AffectedRecord, RecordState, RepairAction, Role};

/// One row to change, its cells with their names.
pub(super) struct RowChange {
    pub(super) table: TableName,
    pub(super) kind: ChangeKind,
    pub(super) key: Vec<(ColumnName, Value)>,
    pub(super) found: Vec<(ColumnName, Value)>,
    pub(super) right: Vec<(ColumnName, Value)>,
    /// What personal columns must still hold: only its digest leaves this room.
    pub(super) personal: Vec<(ColumnName, Value)>,
}

/// What becomes of one record: a change, a line for a person, both, or (where nothing is wrong now) neither.
#[derive(Default)]
pub(super) struct Decision {
    pub(super) change: Option<RowChange>,
    pub(super) manual: Option<ManualRecord>,
}

const PERSONAL: &str = "personal columns are not written to files: run again with --include personal";

/// Decides on one record.
pub(super) fn decide(record: &AffectedRecord, schema: Option<&TableSchema>, options: &RepairOptions<'_>) -> Decision {
    if record.role == Role::Suspect {
        return Decision::default();
    }
    if record.external {
        return left(record, options, "the table is external: what it says has left the company");
    }
    if !record.state.is_wrong_now() {
        return Decision::default();
    }
    if record.role == Role::Possible && !options.include_possible {
        return left(record, options, "only possible: something read an affected record before it wrote this one");
    }
    let Some(schema) = schema else {
        return left(record, options, "the table is not in the database");
    };
    if record.key.iter().len() == 0 || record.key.iter().any(|(_, value)| value.is_null()) {
        return left(record, options, "no key tells this row from others");
    }
    // The trace's own doubts count, save where they are about single columns: those are looked at one by one.
    let all_known = record.columns.iter().all(|column| is_known(column, record.role));
    let by_column = match record.state {
        RecordState::Extra => false,
        RecordState::Live => record.role == Role::Possible || !all_known,
        _ => !all_known,
    };
    if record.repair == RepairAction::Manual && !by_column {
        return left(record, options, "the trace leaves this record to a person");
    }
    match record.state {
        RecordState::Missing => insert(record, schema, options),
        RecordState::Extra => delete(record, schema, options),
        _ => update(record, schema, options),
    }
}

impl ManualRecord {
    /// The record with all of its columns, for a person to decide.
    pub(super) fn whole(record: &AffectedRecord, options: &RepairOptions<'_>, why: String) -> Self {
        let columns = record.columns.iter();
        let columns = columns.map(|column| ManualColumn::new(column, is_personal(record, &column.name, options)));
        ManualRecord {
            table: record.table.clone(),
            key: record.key.clone(),
            state: record.state,
            columns: columns.collect(),
            why,
        }
    }
}

fn left(record: &AffectedRecord, options: &RepairOptions<'_>, reason: &str) -> Decision {
    let why = match &record.why {
        Some(why) if record.external => format!("{reason}; {why}"),
        Some(why) => why.to_string(),
        None => reason.to_owned(),
    };
    Decision { manual: Some(ManualRecord::whole(record, options, why)), change: None }
}

fn is_personal(record: &AffectedRecord, column: &str, options: &RepairOptions<'_>) -> bool {
    let settings = options.settings.get(&record.table);
    settings.is_some_and(|settings| settings.personal.iter().any(|personal| personal.as_ref() == column))
}

/// Exact, or for a possible record (which is only repaired when asked for) at least expected.
fn is_known(column: &AffectedColumn, role: Role) -> bool {
    column.expected.is_some() && (column.exact || role == Role::Possible)
}

fn change(record: &AffectedRecord, kind: ChangeKind) -> RowChange {
    RowChange {
        table: record.table.clone(),
        kind,
        key: record.key.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        found: Vec::new(),
        right: Vec::new(),
        personal: Vec::new(),
    }
}

/// Sets the columns that are known, in the order of the schema; the others are left to a person.
fn update(record: &AffectedRecord, schema: &TableSchema, options: &RepairOptions<'_>) -> Decision {
    let mut update = change(record, ChangeKind::Update);
    let mut left = Vec::new();
    let mut reasons: Vec<String> = Vec::new();
    let mut columns: Vec<(Option<usize>, &AffectedColumn)> =
        record.columns.iter().map(|column| (position(schema, &column.name), column)).collect();
    columns.sort_by_key(|(position, _)| *position);
    for (position, column) in columns {
        let declared = position.and_then(|position| schema.columns.get(position));
        if declared.is_some_and(|declared| declared.generated) || column.expected.as_ref() == Some(&column.current) {
            continue;
        }
        let personal = is_personal(record, &column.name, options);
        let reason = if declared.is_none() {
            format!("{} is not a column of the table", column.name)
        } else if record.key.get(&column.name).is_some() {
            format!("{} is part of the key", column.name)
        } else if !is_known(column, record.role) {
            record.why.as_ref().map_or_else(|| format!("the right {} is not known", column.name), |why| why.to_string())
        } else if personal && !options.include_personal {
            PERSONAL.to_owned()
        } else {
            update.found.push((column.name.clone(), column.current.clone()));
            update.right.extend(column.expected.clone().map(|expected| (column.name.clone(), expected)));
            continue;
        };
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
        left.push(ManualColumn::new(column, personal));
    }
    let change = (!update.right.is_empty()).then_some(update);
    if change.is_none() && left.is_empty() {
        let why = "no column of it can be set: they are computed by the database, or not named".to_owned();
        return Decision { change: None, manual: Some(ManualRecord::whole(record, options, why)) };
    }
    let manual = (!left.is_empty()).then(|| ManualRecord {
        table: record.table.clone(),
        key: record.key.clone(),
        state: record.state,
        columns: left,
        why: reasons.join("; "),
    });
    Decision { change, manual }
}

/// Inserts the row, where every column that the database does not compute by itself is known.
fn insert(record: &AffectedRecord, schema: &TableSchema, options: &RepairOptions<'_>) -> Decision {
    let mut insert = change(record, ChangeKind::Insert);
    for column in schema.columns.iter().filter(|column| !column.generated) {
        let Some(value) = right_value(record, column) else {
            return left(record, options, &format!("the right {} is not known", column.name));
        };
        let personal = is_personal(record, &column.name, options) && record.key.get(&column.name).is_none();
        if personal && !options.include_personal && !value.is_null() {
            let why = PERSONAL.to_owned();
            return Decision { change: None, manual: Some(ManualRecord::whole(record, options, why)) };
        }
        insert.right.push((column.name.clone(), value.clone()));
    }
    if insert.right.is_empty() {
        return left(record, options, "the database computes the whole row: refresh it");
    }
    Decision { change: Some(insert), manual: None }
}

fn right_value<'a>(record: &'a AffectedRecord, column: &Column) -> Option<&'a Value> {
    let affected = record.columns.iter().find(|affected| affected.name == column.name);
    match affected {
        Some(affected) => affected.expected.as_ref().filter(|_| is_known(affected, record.role)),
        None => record.key.get(&column.name),
    }
}

/// Deletes the row, where it still is what it was: personal columns are compared by digest.
fn delete(record: &AffectedRecord, schema: &TableSchema, options: &RepairOptions<'_>) -> Decision {
    let mut delete = change(record, ChangeKind::Delete);
    for column in schema.columns.iter().filter(|column| !column.generated) {
        let affected = record.columns.iter().find(|affected| affected.name == column.name);
        let held = match &record.current_row {
            Some(row) => row.get(&column.name),
            None => affected.map(|affected| &affected.current),
        };
        let Some(held) = held else { continue };
        let personal = is_personal(record, &column.name, options) && record.key.get(&column.name).is_none();
        let guard = if personal && !options.include_personal { &mut delete.personal } else { &mut delete.found };
        guard.push((column.name.clone(), held.clone()));
    }
    if delete.found.is_empty() && delete.personal.is_empty() {
        return left(record, options, "what the row holds now is not known, so nothing could guard its deletion");
    }
    Decision { change: Some(delete), manual: None }
}

fn position(schema: &TableSchema, column: &str) -> Option<usize> {
    schema.columns.iter().position(|declared| declared.name.as_ref() == column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ColumnType, RecordKey, Row, TableSettings, TableSettingsByName, Timestamp};
    use crate::trace::WrittenBy;

    fn schema() -> TableSchema {
        let column = |name: &str, generated| Column {
            name: name.into(),
            column_type: ColumnType::Text,
            not_null: false,
            generated,
        };
        TableSchema {
            name: TableName::new("public", "orders"),
            columns: vec![column("id", false), column("total", false), column("note", false), column("sum", true)],
            key: vec!["id".into()],
            foreign_keys: vec![],
            unique_keys: vec![],
        }
    }

    fn affected(name: &str, current: &str, expected: Option<&str>, exact: bool) -> AffectedColumn {
        let expected = expected.map(Value::text);
        AffectedColumn { name: name.into(), current: Value::text(current), expected, exact }
    }

    fn record(role: Role, state: RecordState, columns: Vec<AffectedColumn>) -> AffectedRecord {
        AffectedRecord {
            table: TableName::new("public", "orders"),
            key: RecordKey::new(vec![("id".into(), Value::text("1"))]),
            role,
            state,
            columns,
            hops: 0,
            rules: vec![],
            written: WrittenBy { seq: None, ts: Timestamp::from_micros(0), tx: None, release: None },
            cause: None,
            repair: RepairAction::Update,
            why: None,
            current_row: None,
            subject: None,
            external: false,
        }
    }

    /// What is changed, and what a person is told.
    fn decided(record: &AffectedRecord, include_possible: bool) -> (Option<String>, Option<String>) {
        let personal = TableSettings { personal: vec!["note".into()], ..TableSettings::default() };
        let settings = TableSettingsByName::from([(record.table.clone(), personal)]);
        let options = RepairOptions { include_possible, ..RepairOptions::new(&settings) };
        let Decision { change, manual } = decide(record, Some(&schema()), &options);
        let cells = |cells: Vec<(ColumnName, Value)>| {
            cells.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
        };
        let change =
            change.map(|change| format!("{} {}→{}", change.kind.as_str(), cells(change.found), cells(change.right)));
        (change, manual.map(|manual| manual.why))
    }

    #[test]
    fn only_exact_values_of_writable_columns_are_set() {
        let wrong = vec![
            affected("sum", "9", Some("1"), true),
            affected("note", "eve", Some("bob"), true),
            affected("total", "9", Some("1"), true),
        ];
        let (change, manual) = decided(&record(Role::Root, RecordState::Live, wrong), false);
        assert_eq!(change.as_deref(), Some("update total=9→total=1"));
        assert_eq!(manual.as_deref(), Some(PERSONAL));
        let mut partly = record(
            Role::Derived,
            RecordState::Live,
            vec![affected("total", "9", Some("1"), true), affected("gone", "9", Some("1"), true)],
        );
        partly.repair = RepairAction::Manual;
        assert_eq!(decided(&partly, false).0, None, "the trace doubts a record all of whose columns are known");
        partly.columns[1].expected = None;
        let (change, manual) = decided(&partly, false);
        assert_eq!(change.as_deref(), Some("update total=9→total=1"));
        assert_eq!(manual.as_deref(), Some("gone is not a column of the table"));
        let guessed = record(Role::Derived, RecordState::Live, vec![affected("total", "9", Some("1"), false)]);
        assert_eq!(decided(&guessed, false), (None, Some("the right total is not known".to_owned())));
        let key = record(Role::Root, RecordState::Live, vec![affected("id", "1", Some("2"), true)]);
        assert_eq!(decided(&key, false), (None, Some("id is part of the key".to_owned())));
    }

    #[test]
    fn possible_records_are_repaired_only_when_asked_for() {
        let possible = record(Role::Possible, RecordState::Live, vec![affected("total", "9", Some("1"), false)]);
        assert!(matches!(decided(&possible, false), (None, Some(why)) if why.starts_with("only possible")));
        assert_eq!(decided(&possible, true), (Some("update total=9→total=1".to_owned()), None));
    }

    #[test]
    fn what_is_right_now_or_external_is_never_changed() {
        let wrong = || vec![affected("total", "9", Some("1"), true)];
        for state in [RecordState::Healed, RecordState::Gone] {
            assert_eq!(decided(&record(Role::Root, state, wrong()), false), (None, None));
        }
        assert_eq!(decided(&record(Role::Suspect, RecordState::Live, wrong()), true), (None, None));
        let mut external = record(Role::Root, RecordState::Healed, wrong());
        external.external = true;
        assert!(matches!(decided(&external, true), (None, Some(why)) if why.contains("external")));
        let mut keyless = record(Role::Root, RecordState::Live, wrong());
        keyless.key = RecordKey::new(vec![("id".into(), Value::NULL)]);
        assert!(matches!(decided(&keyless, true), (None, Some(why)) if why.contains("no key")));
    }

    #[test]
    fn rows_are_added_and_deleted_only_when_wholly_known() {
        let known = vec![affected("total", "", Some("1"), true), affected("note", "", None, true)];
        let (change, manual) = decided(&record(Role::Root, RecordState::Missing, known.clone()), false);
        assert_eq!((change, manual.as_deref()), (None, Some("the right note is not known")));
        let mut missing = record(Role::Root, RecordState::Missing, known);
        missing.columns[1].expected = Some(Value::NULL);
        // A computed column that is not known does not matter; an empty personal one gives nothing away.
        missing.columns.push(affected("sum", "", None, false));
        missing.repair = RepairAction::Manual;
        assert_eq!(decided(&missing, false).0.as_deref(), Some("insert →id=1,total=1,note=NULL"));
        missing.columns[1].expected = Some(Value::text("eve"));
        assert_eq!(decided(&missing, false), (None, Some(PERSONAL.to_owned())));

        let mut extra = record(Role::Root, RecordState::Extra, vec![]);
        assert!(matches!(decided(&extra, false), (None, Some(why)) if why.contains("nothing could guard")));
        extra.current_row = Some(Row::from_iter([("id".into(), Value::text("1")), ("total".into(), Value::NULL)]));
        assert_eq!(decided(&extra, false).0.as_deref(), Some("delete id=1,total=NULL→"));
        extra.repair = RepairAction::Manual;
        assert!(matches!(decided(&extra, false), (None, Some(_))));
    }
}
