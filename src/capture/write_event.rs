//! The write event as an application emits it: the types behind the documented format, and their JSON Schema.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::model::Timestamp;

/// One committed write of one record: a line of the format `events`.
///
/// Values are JSON: a number is kept to the last digit, a text is read as the column's type, `null` is NULL, and a column
/// that an image leaves out is not known. Which record it is, `key` says, or an image that holds the key's columns.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(extend("anyOf" = [
    {"required": ["key"]},
    {"required": ["before"]},
    {"required": ["after"]},
    {"properties": {"op": {"const": "truncate"}}}
]))]
pub struct WriteEvent {
    /// When it was written, or better, committed: RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub ts: String,
    /// The table: `schema.table`; a bare name is one of `public`.
    pub table: String,
    /// What happened to the record.
    pub op: WriteOperation,
    /// The record's key after the write.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub key: Map<String, Json>,
    /// Some or all columns of the record as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Map<String, Json>>,
    /// Some or all columns of the record as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Map<String, Json>>,
    /// The release that wrote, such as `v42`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The service that the release is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// PostgreSQL's transaction id, as its log writes it (32 bits).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx: Option<String>,
    /// The session, as PostgreSQL's log writes it (`%c`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Orders the writes; without it `ts` does, then the order in the file.
    #[schemars(range(max = 9_223_372_036_854_775_807_i64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The records that this write was computed from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<ReadRecord>,
    /// The distributed trace: a W3C trace id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The SQL that wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// `$1` and on of that SQL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Json>,
    /// Makes the event known again when it comes twice; without it its whole content does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// What a write did to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WriteOperation {
    /// The record is new.
    Insert,
    /// The record changed.
    Update,
    /// The record is gone.
    Delete,
    /// Every record of the table is gone.
    Truncate,
}

/// A record that a write was computed from.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ReadRecord {
    /// The table read.
    pub table: String,
    /// The key of the record read.
    #[schemars(extend("minProperties" = 1))]
    pub key: Map<String, Json>,
    /// The columns read; none named: any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

impl WriteEvent {
    /// A write of this moment; what else is known of it is the caller's to set.
    pub fn now(table: impl Into<String>, op: WriteOperation) -> Self {
        WriteEvent {
            ts: Timestamp::from_micros(jiff::Timestamp::now().as_microsecond()).to_string(),
            table: table.into(),
            op,
            key: Map::new(),
            before: None,
            after: None,
            release: None,
            service: None,
            tx: None,
            session: None,
            seq: None,
            reads: Vec::new(),
            trace: None,
            statement: None,
            params: Vec::new(),
            id: None,
        }
    }

    /// The JSON Schema of an event, as `docs/event.schema.json` holds it.
    pub fn json_schema() -> Json {
        schemars::schema_for!(WriteEvent).to_value()
    }
}
