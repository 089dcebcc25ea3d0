//! One affected record as it is reported: the contract's names, in its order, personal cells left out.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::model::{ColumnName, RecordKey, TableName, TableSchema, TableSettings, Value};
use crate::trace::{AffectedRecord, Cause, WrittenBy};

/// A record as `--format json` and the records files tell it.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedRecord<'a> {
    /// `schema.table`.
    pub table: String,
    /// Its key.
    pub key: ReportedKey<'a>,
    /// `root`, `derived`, `possible` or `suspect`.
    pub role: &'static str,
    /// `live`, `healed`, `gone`, `missing` or `extra`.
    pub state: &'static str,
    /// The columns that are, or were last, wrong.
    pub columns: Vec<ReportedColumn<'a>>,
    /// Steps from a root write.
    pub hops: u32,
    /// The rules it broke.
    pub rules: Vec<&'a str>,
    /// The write that made it wrong.
    pub written: ReportedWrite<'a>,
    /// The step before.
    pub cause: Option<ReportedCause<'a>>,
    /// `update`, `insert`, `delete`, `none` or `manual`.
    pub repair: &'static str,
    /// Why, where there is something to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'a str>,
}

/// One column of a reported record.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedColumn<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it holds, NULL being `Some(None)`; `None` where that is personal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Option<&'a str>>,
    /// What it should hold; `None` where that is not known, or personal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Option<&'a str>>,
    /// Whether the right value was recomputed, not guessed.
    pub exact: bool,
    /// Whether the column's values are left out because they are personal.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub personal: bool,
}

/// The write that made a record wrong, as reported.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedWrite<'a> {
    /// Its place in the order of writes; `None` for a row that was not written.
    pub seq: Option<u64>,
    /// When, RFC 3339.
    pub ts: String,
    /// By which transaction.
    pub tx: Option<&'a str>,
    /// By which release.
    pub release: Option<&'a str>,
}

/// The step before, as reported.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedCause<'a> {
    /// `schema.table`.
    pub table: String,
    /// The key of the record this one was computed from.
    pub key: ReportedKey<'a>,
    /// The statement that carried the error, without its literals: they may be personal.
    pub statement: Option<String>,
}

/// A key as JSON writes it: integers of integer columns as numbers, everything else as PostgreSQL's text.
#[derive(Clone, Debug)]
pub struct ReportedKey<'a> {
    key: &'a RecordKey,
    schema: Option<&'a TableSchema>,
}

impl<'a> ReportedKey<'a> {
    pub(super) fn new(key: &'a RecordKey, schema: Option<&'a TableSchema>) -> Self {
        ReportedKey { key, schema }
    }

    fn integer(&self, column: &ColumnName, text: &str) -> Option<i64> {
        let declared = self.schema?.column(column)?;
        // Only where the number prints as the same text: nothing about a key may get lost.
        let number: i64 = declared.column_type.is_integer().then(|| text.parse().ok())??;
        (number.to_string() == text).then_some(number)
    }
}

impl Serialize for ReportedKey<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.key.iter().len()))?;
        for (column, value) in self.key.iter() {
            let text = value.as_str();
            match text.and_then(|text| self.integer(column, text)) {
                Some(number) => map.serialize_entry(column.as_ref(), &number)?,
                None => map.serialize_entry(column.as_ref(), &text)?,
            }
        }
        map.end()
    }
}

/// What is needed to report records of one table.
#[derive(Clone, Copy)]
pub(super) struct TableContext<'a> {
    pub(super) schema: Option<&'a TableSchema>,
    pub(super) settings: Option<&'a TableSettings>,
}

impl TableContext<'_> {
    pub(super) fn is_personal(&self, column: &str) -> bool {
        self.settings.is_some_and(|settings| settings.personal.iter().any(|personal| personal.as_ref() == column))
    }
}

impl<'a> ReportedRecord<'a> {
    pub(super) fn new(record: &'a AffectedRecord, context: impl Fn(&TableName) -> TableContext<'a>) -> Self {
        let own = context(&record.table);
        ReportedRecord {
            table: record.table.to_string(),
            key: ReportedKey::new(&record.key, own.schema),
            role: record.role.as_str(),
            state: record.state.as_str(),
            columns: columns(record, own),
            hops: record.hops,
            rules: record.rules.iter().map(AsRef::as_ref).collect(),
            written: written(&record.written),
            cause: record.cause.as_ref().map(|cause| reported_cause(cause, context(&cause.table).schema)),
            repair: record.repair.as_str(),
            why: record.why.as_deref(),
        }
    }
}

fn columns<'a>(record: &'a AffectedRecord, own: TableContext<'a>) -> Vec<ReportedColumn<'a>> {
    let column = |column: &'a crate::trace::AffectedColumn| {
        let personal = own.is_personal(&column.name);
        ReportedColumn {
            name: &column.name,
            current: (!personal).then(|| column.current.as_str()),
            expected: column.expected.as_ref().filter(|_| !personal).map(Value::as_str),
            exact: column.exact,
            personal,
        }
    };
    record.columns.iter().map(column).collect()
}

fn written(written: &WrittenBy) -> ReportedWrite<'_> {
    ReportedWrite {
        seq: written.seq.map(|seq| seq.0),
        ts: written.ts.to_string(),
        tx: written.tx.as_ref().map(|tx| tx.0.as_ref()),
        release: written.release.as_ref().map(|release| release.name.as_str()),
    }
}

fn reported_cause<'a>(cause: &'a Cause, schema: Option<&'a TableSchema>) -> ReportedCause<'a> {
    ReportedCause {
        table: cause.table.to_string(),
        key: ReportedKey::new(&cause.key, schema),
        statement: cause.statement.as_deref().map(crate::sql::template),
    }
}
