//! `openlineage`: the events of <https://openlineage.io>, one a line, over many lines, or many in a list.
//!
//! In: RunEvents, JobEvents and DatasetEvents, with the `columnLineage` facet of 1-0 (`transformationType`) and of 1-1
//! and 1-2 (`transformations`, whole-dataset influences), and the job's `sql` facet. Out: [`StatedLineage`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::format::{Format, LineOutcome, LineReader};
use super::json_documents::{JsonDocuments, LONGEST_DOCUMENT};
use super::json_fields::json_reason;
use super::read::identity;
use crate::model::{FeedKind, Recording, StatedFeed, StatedLineage, TableColumn, TableName, Timestamp};

/// The format `openlineage`.
pub(super) struct OpenLineage;

const NAME: &str = "openlineage";

impl Format for OpenLineage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn recognises(&self, line: &str) -> bool {
        // Inside a JSON text these names would be escaped, so they are keys.
        let has = |key: &str| line.contains(key);
        has("\"schemaURL\"") && line.contains("openlineage.io/spec/")
            || has("\"eventTime\"") && (has("\"run\"") && has("\"job\"") || has("\"inputs\"") && has("\"outputs\""))
    }

    fn reader(&self) -> Box<dyn LineReader> {
        Box::new(OpenLineageReader::default())
    }
}

#[derive(Default)]
struct OpenLineageReader {
    documents: JsonDocuments,
}

impl LineReader for OpenLineageReader {
    fn continues(&mut self, line: &[u8]) -> bool {
        self.documents.continues(line)
    }

    fn longest_record(&self) -> usize {
        LONGEST_DOCUMENT
    }

    fn read_line(&mut self, document: &str, recording: &mut Recording) -> Result<LineOutcome, String> {
        let events: Vec<serde_json::Value> = if document.trim_start().starts_with('[') {
            serde_json::from_str(document).map_err(|error| json_reason(&error))?
        } else {
            vec![serde_json::from_str(document).map_err(|error| json_reason(&error))?]
        };
        let mut read = Vec::with_capacity(events.len());
        let mut refused = Vec::new();
        for (place, event) in (1..).zip(&events) {
            match stated(event) {
                Ok(event) => read.extend(event),
                Err(reason) if events.len() == 1 => refused.push(reason),
                Err(reason) => refused.push(format!("event {place}: {reason}")),
            }
        }
        let outcome = if read.is_empty() { LineOutcome::Ignored } else { LineOutcome::Used };
        recording.lineage.extend(read);
        if refused.is_empty() { Ok(outcome) } else { Err(refused.join("; ")) }
    }

    fn read_last(&mut self, document: &str, recording: &mut Recording) -> Result<LineOutcome, String> {
        let is_cut = self.documents.is_open();
        let reason =
            |reason| if is_cut { "the input ends in the middle of a JSON document".to_owned() } else { reason };
        self.read_line(document, recording).map_err(reason)
    }

    fn finish(&mut self, _recording: &mut Recording) {}
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "eventTime")]
    event_time: String,
    run: Option<Run>,
    job: Option<Job>,
    /// Of a DatasetEvent.
    dataset: Option<Dataset>,
    inputs: Option<Vec<Dataset>>,
    outputs: Option<Vec<Dataset>>,
}

#[derive(Deserialize)]
struct Run {
    #[serde(rename = "runId")]
    run_id: String,
}

#[derive(Deserialize)]
struct Job {
    namespace: String,
    name: String,
    facets: Option<JobFacets>,
}

#[derive(Deserialize)]
struct JobFacets {
    sql: Option<SqlFacet>,
}

#[derive(Deserialize)]
struct SqlFacet {
    query: String,
}

#[derive(Deserialize)]
struct Dataset {
    namespace: String,
    name: String,
    facets: Option<DatasetFacets>,
}

#[derive(Deserialize)]
struct DatasetFacets {
    #[serde(rename = "columnLineage")]
    column_lineage: Option<ColumnLineage>,
}

#[derive(Deserialize)]
struct ColumnLineage {
    fields: BTreeMap<String, Field>,
    /// What influences the whole dataset, since 1-2-0.
    dataset: Option<Vec<InputField>>,
}

#[derive(Deserialize)]
struct Field {
    #[serde(rename = "inputFields")]
    input_fields: Vec<InputField>,
    /// `IDENTITY` or `MASKED`, of 1-0.
    #[serde(rename = "transformationType")]
    transformation_type: Option<String>,
}

#[derive(Deserialize)]
struct InputField {
    namespace: String,
    name: String,
    field: String,
    /// Since 1-1-0.
    transformations: Option<Vec<Transformation>>,
}

#[derive(Deserialize)]
struct Transformation {
    #[serde(rename = "type")]
    kind: String,
    subtype: Option<String>,
}

/// `None` for an event that names no dataset.
fn stated(json: &serde_json::Value) -> Result<Option<StatedLineage>, String> {
    let event = Event::deserialize(json).map_err(|error| format!("no OpenLineage event: {error}"))?;
    let ts: Timestamp = event.event_time.parse().map_err(|error| format!("`eventTime`: failed to {error}"))?;
    let outputs: Vec<&Dataset> = event.outputs.iter().flatten().chain(&event.dataset).collect();
    let inputs: Vec<&Dataset> = event.inputs.iter().flatten().collect();
    if inputs.is_empty() && outputs.iter().all(|output| output.facets.is_none()) && event.job.is_none() {
        return Ok(None);
    }
    if inputs.is_empty() && outputs.is_empty() {
        return Ok(None);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(NAME.as_bytes());
    hasher.update(json.to_string().as_bytes());
    let job = match (&event.job, &event.dataset) {
        (Some(job), _) => format!("{}/{}", job.namespace, job.name),
        (None, Some(dataset)) => format!("{}/{}", dataset.namespace, dataset.name),
        (None, None) => return Err("no OpenLineage event: it names neither a job nor a dataset".to_owned()),
    };
    let sql = event.job.and_then(|job| job.facets?.sql).map(|sql| Arc::from(sql.query));
    Ok(Some(StatedLineage {
        id: identity(&hasher),
        ts,
        stated_by: NAME.into(),
        job: job.into(),
        run: event.run.map(|run| run.run_id.into()),
        sql,
        inputs: inputs.iter().map(|dataset| table_of(&dataset.namespace, &dataset.name)).collect(),
        outputs: outputs.iter().map(|dataset| table_of(&dataset.namespace, &dataset.name)).collect(),
        feeds: outputs.iter().flat_map(|dataset| feeds(dataset)).collect(),
    }))
}

fn feeds(dataset: &Dataset) -> Vec<StatedFeed> {
    let Some(lineage) = dataset.facets.as_ref().and_then(|facets| facets.column_lineage.as_ref()) else {
        return Vec::new();
    };
    let table = table_of(&dataset.namespace, &dataset.name);
    let mut feeds = Vec::new();
    for (column, field) in &lineage.fields {
        for input in &field.input_fields {
            let source = TableColumn::new(table_of(&input.namespace, &input.name), input.field.as_str());
            let feed = |kind| StatedFeed {
                table: table.clone(),
                column: Some(column.as_str().into()),
                source: source.clone(),
                kind,
            };
            feeds.extend(kinds(input, field.transformation_type.as_deref()).into_iter().map(feed));
        }
    }
    let whole = |input: &InputField| StatedFeed {
        table: table.clone(),
        column: None,
        source: TableColumn::new(table_of(&input.namespace, &input.name), input.field.as_str()),
        kind: FeedKind::Influence,
    };
    feeds.extend(lineage.dataset.iter().flatten().map(whole));
    feeds.sort();
    feeds.dedup();
    feeds
}

fn kinds(input: &InputField, transformation_type: Option<&str>) -> Vec<FeedKind> {
    let stated: Vec<FeedKind> = input.transformations.iter().flatten().map(kind).collect();
    if !stated.is_empty() {
        return stated;
    }
    vec![if transformation_type == Some("IDENTITY") { FeedKind::Copy } else { FeedKind::Transform }]
}

fn kind(transformation: &Transformation) -> FeedKind {
    match (transformation.kind.as_str(), transformation.subtype.as_deref()) {
        ("INDIRECT", _) => FeedKind::Influence,
        (_, Some("IDENTITY")) => FeedKind::Copy,
        (_, Some("AGGREGATION")) => FeedKind::Aggregate,
        _ => FeedKind::Transform,
    }
}

/// A dataset's name by OpenLineage's convention: `database.schema.table` in a database's namespace (and where the
/// namespace is no URL, as with many producers), of which the last two parts count. Elsewhere (`s3://bucket`, a path)
/// the namespace stands for the schema.
fn table_of(namespace: &str, name: &str) -> TableName {
    const DATABASES: [&str; 12] = [
        "postgres",
        "postgresql",
        "redshift",
        "mysql",
        "snowflake",
        "bigquery",
        "trino",
        "mssql",
        "sqlserver",
        "oracle",
        "cockroachdb",
        "duckdb",
    ];
    let scheme = namespace.split("://").next().filter(|_| namespace.contains("://"));
    if scheme.is_some_and(|scheme| !DATABASES.contains(&scheme)) || name.contains('/') {
        return TableName::new(namespace, name);
    }
    let mut parts = name.rsplit('.');
    match (parts.next(), parts.next()) {
        (Some(table), Some(schema)) if !table.is_empty() && !schema.is_empty() => TableName::new(schema, table),
        _ => TableName::new("public", name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{FormatChoice, Input};

    fn read(text: &str) -> (Vec<StatedLineage>, Vec<String>) {
        let mut recording = Recording::default();
        let input = Input::from_reader("test", std::io::Cursor::new(text.to_owned()));
        let format = FormatChoice::named(NAME).expect("a format");
        crate::capture::read(input, &format, &mut |part| {
            recording.lineage.extend(part.lineage);
            recording.rejected.extend(part.rejected);
            std::ops::ControlFlow::Continue(())
        })
        .expect("read");
        let refused = recording.rejected.iter().map(|line| format!("{}: {}", line.line, line.reason));
        (recording.lineage, refused.collect())
    }

    fn event(facet: &str) -> String {
        format!(
            r#"{{"eventType":"COMPLETE","eventTime":"2026-03-02T10:00:00Z","producer":"https://p","schemaURL":"https://openlineage.io/spec/2-0-2/OpenLineage.json",
              "run":{{"runId":"0190"}},"job":{{"namespace":"airflow","name":"daily","facets":{{"sql":{{"query":"SELECT 1"}}}}}},
              "inputs":[{{"namespace":"postgres://db:5432","name":"shop.public.orders"}}],
              "outputs":[{{"namespace":"postgres://db:5432","name":"shop.public.daily","facets":{{"columnLineage":{facet}}}}}]}}"#
        )
    }

    fn feed(column: Option<&str>, source: &str, kind: FeedKind) -> StatedFeed {
        let table = |name| TableName::new("public", name);
        StatedFeed {
            table: table("daily"),
            column: column.map(Into::into),
            source: TableColumn::new(table("orders"), source),
            kind,
        }
    }

    #[test]
    fn both_forms_of_the_facet_are_read() {
        let input = |field: &str| {
            format!(r#"{{"namespace":"postgres://db:5432","name":"shop.public.orders","field":"{field}""#)
        };
        let old =
            format!(r#"{{"fields":{{"day":{{"inputFields":[{}}}],"transformationType":"IDENTITY"}}}}}}"#, input("day"));
        let (stated, refused) = read(&event(&old));
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(stated[0].feeds, [feed(Some("day"), "day", FeedKind::Copy)]);
        assert_eq!((stated[0].job.as_ref(), stated[0].sql.as_deref()), ("airflow/daily", Some("SELECT 1")));
        assert_eq!(stated[0].inputs, [TableName::new("public", "orders")]);
        let new = format!(
            r#"{{"fields":{{"total":{{"inputFields":[{},"transformations":[{{"type":"DIRECT","subtype":"AGGREGATION"}},{{"type":"INDIRECT","subtype":"FILTER"}}]}}]}}}},"dataset":[{},"transformations":[{{"type":"INDIRECT","subtype":"GROUP_BY"}}]}}]}}"#,
            input("total"),
            input("day")
        );
        let (stated, refused) = read(&event(&new));
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(
            stated[0].feeds,
            [
                feed(None, "day", FeedKind::Influence),
                feed(Some("total"), "total", FeedKind::Aggregate),
                feed(Some("total"), "total", FeedKind::Influence)
            ]
        );
    }

    #[test]
    fn events_come_one_a_line_over_many_lines_and_in_lists() {
        let whole = event(r#"{"fields":{}}"#);
        let one_line = whole.replace('\n', " ");
        let listed = format!("[{whole},\n{one_line}]\n");
        let (stated, refused) = read(&format!("{one_line}\n{whole}\n{listed}"));
        assert_eq!((stated.len(), refused.len()), (4, 0), "{refused:?}");
        assert!(stated.iter().all(|one| one.id == stated[0].id), "the same event is the same fact");
        assert!(OpenLineage.recognises(&one_line) && !OpenLineage.recognises(r#"{"table":"t","op":"insert"}"#));
    }

    #[test]
    fn events_without_datasets_say_nothing_and_damaged_ones_are_refused() {
        let (stated, refused) = read(
            "{\"eventTime\":\"2026-03-02T10:00:00Z\",\"run\":{\"runId\":\"1\"},\"job\":{\"namespace\":\"a\",\"name\":\"b\"}}\n\
             {\"eventTime\":\"yesterday\",\"run\":{\"runId\":\"1\"},\"job\":{\"namespace\":\"a\",\"name\":\"b\"}}\n{\"run\":1}\n",
        );
        assert!(stated.is_empty());
        assert!(refused[0].contains("`eventTime`") && refused[1].contains("no OpenLineage event"), "{refused:?}");
    }

    #[test]
    fn one_damaged_event_does_not_take_others_with_it() {
        let sound = event(r#"{"fields":{}}"#).replace('\n', " ");
        let (cut, bad) = (&sound[..sound.len() / 2], sound.replace("2026-03-02T10:00:00Z", "yesterday"));
        let (stated, refused) = read(&format!("{sound}\n{cut}\n{sound}\n\n[{sound},\n{bad},{sound}]\n{sound}\n{cut}"));
        assert_eq!(stated.len(), 5, "{refused:?}");
        let reasons = ["2: ", "5: event 2: `eventTime`", "8: "];
        assert_eq!(refused.len(), reasons.len(), "{refused:?}");
        assert!(refused.iter().zip(reasons).all(|(refused, reason)| refused.starts_with(reason)), "{refused:?}");
        assert!(refused[2].ends_with("the input ends in the middle of a JSON document"), "{refused:?}");
    }

    #[test]
    fn datasets_outside_of_databases_keep_their_namespace() {
        assert_eq!(table_of("postgres://db:5432", "shop.billing.invoices").to_string(), "billing.invoices");
        assert_eq!(table_of("food_delivery", "public.orders").to_string(), "public.orders");
        assert_eq!(table_of("food_delivery", "orders").to_string(), "public.orders");
        assert_eq!(table_of("s3://lake", "raw/orders.v1").to_string(), "s3://lake.raw/orders.v1");
    }
}
