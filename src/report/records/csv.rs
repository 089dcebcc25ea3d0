//! One line a record. `key`, `current`, `expected` and `cause_key` are JSON objects, as a record has any number of
//! columns; what is unknown or personal is absent from them.

use std::io::Write;

use serde_json::{Map, Value as Json};

use crate::model::Value;
use crate::report::{Report, ReportError, ReportedColumn, ReportedRecord};

const HEADER: [&str; 20] = [
    "table",
    "key",
    "role",
    "state",
    "columns",
    "current",
    "expected",
    "exact",
    "hops",
    "rules",
    "written_seq",
    "written_ts",
    "written_tx",
    "written_release",
    "cause_table",
    "cause_key",
    "cause_statement",
    "repair",
    "why",
    "subject",
];

pub(super) fn write(report: &Report<'_>, out: &mut (dyn Write + Send)) -> Result<(), ReportError> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(HEADER)?;
    for (affected, record) in report.records() {
        csv.write_record(line(&record, report.printable_subject(affected))?)?;
    }
    csv.flush()?;
    Ok(())
}

fn line(record: &ReportedRecord<'_>, subject: Option<&Value>) -> Result<[String; 20], ReportError> {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let names: Vec<&str> = record.columns.iter().map(|column| column.name).collect();
    let cause = record.cause.as_ref();
    Ok([
        record.table.clone(),
        serde_json::to_string(&record.key)?,
        record.role.to_owned(),
        record.state.to_owned(),
        names.join(", "),
        cells(record, |column| column.current),
        cells(record, |column| column.expected),
        record.columns.iter().all(|column| column.exact).to_string(),
        record.hops.to_string(),
        record.rules.join(", "),
        record.written.seq.map(|seq| seq.to_string()).unwrap_or_default(),
        record.written.ts.clone(),
        text(record.written.tx),
        text(record.written.release),
        cause.map(|cause| cause.table.clone()).unwrap_or_default(),
        cause.map(|cause| serde_json::to_string(&cause.key)).transpose()?.unwrap_or_default(),
        text(cause.and_then(|cause| cause.statement.as_deref())),
        record.repair.to_owned(),
        text(record.why),
        text(subject.and_then(Value::as_str)),
    ])
}

fn cells<'a>(record: &ReportedRecord<'a>, value: fn(&ReportedColumn<'a>) -> Option<Option<&'a str>>) -> String {
    let known = record.columns.iter().filter_map(|column| Some((column.name.to_owned(), value(column)?)));
    let object: Map<String, Json> = known.map(|(name, text)| (name, text.map_or(Json::Null, Json::from))).collect();
    Json::Object(object).to_string()
}
