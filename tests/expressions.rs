//! Expressions as the built-in evaluator computes them, against PostgreSQL: what it does not refuse must be the same.
//!
//! Some thousand expressions are computed over a few rows of every type, by both. Each difference is listed.

#[path = "expressions/grammar.rs"]
mod grammar;
mod postgres;

use std::collections::BTreeMap;
use std::sync::Arc;

use blast_radius::catalog::RollingTables;
use blast_radius::model::{Column, ColumnType, Row, TableName, TableSchema, TimeZone, Timestamp, Value};
use blast_radius::trace::Evaluator;
use postgres::Database;

const SAMPLES: &str = include_str!("expressions/samples.sql");

/// A column of the samples; its type as PostgreSQL names it.
const COLUMNS: [(&str, ColumnType); 18] = [
    ("id", ColumnType::Integer),
    ("s", ColumnType::SmallInt),
    ("i", ColumnType::Integer),
    ("j", ColumnType::Integer),
    ("b", ColumnType::BigInt),
    ("n", ColumnType::Numeric(Some((12, 2)))),
    ("m", ColumnType::Numeric(Some((8, 4)))),
    ("p", ColumnType::Numeric(None)),
    ("f", ColumnType::Double),
    ("t", ColumnType::Text),
    ("u", ColumnType::Text),
    ("v", ColumnType::Varchar(10)),
    ("d", ColumnType::Date),
    ("e", ColumnType::Date),
    ("ts", ColumnType::Timestamp),
    ("tz", ColumnType::TimestampTz),
    ("o", ColumnType::Boolean),
    ("q", ColumnType::Boolean),
];

/// What PostgreSQL makes of an expression: its type, and for each row the value's text, or none where it fails.
struct Answer {
    column_type: ColumnType,
    rows: BTreeMap<i32, Option<Value>>,
}

async fn postgres_answers(client: &tokio_postgres::Client, queries: &[String]) -> Vec<Option<Answer>> {
    let mut answers = Vec::with_capacity(queries.len());
    for query in queries {
        let rows = client.query("SELECT * FROM answers($1)", &[query]).await.expect("the function catches errors");
        let mut answer: Option<Answer> = None;
        for row in rows {
            let (id, type_name, failed, text): (i32, Option<String>, bool, Option<String>) =
                (row.get(0), row.get(1), row.get(2), row.get(3));
            let value = (!failed).then(|| text.map_or(Value::NULL, Value::text));
            if let Some(known) = type_name.as_deref().map(column_type) {
                answer.get_or_insert_with(|| Answer { column_type: known, rows: BTreeMap::new() });
            }
            if let Some(answer) = &mut answer {
                answer.rows.insert(id, value);
            }
        }
        answers.push(answer);
    }
    answers
}

fn column_type(name: &str) -> ColumnType {
    match name {
        "boolean" => ColumnType::Boolean,
        "smallint" => ColumnType::SmallInt,
        "integer" => ColumnType::Integer,
        "bigint" => ColumnType::BigInt,
        "numeric" => ColumnType::Numeric(None),
        "double precision" => ColumnType::Double,
        "real" => ColumnType::Real,
        "text" | "character varying" | "unknown" => ColumnType::Text,
        "date" => ColumnType::Date,
        "timestamp without time zone" => ColumnType::Timestamp,
        "timestamp with time zone" => ColumnType::TimestampTz,
        other => ColumnType::Other(other.to_owned()),
    }
}

async fn samples(client: &tokio_postgres::Client) -> (RollingTables, BTreeMap<TableName, Arc<TableSchema>>) {
    let column = |(name, column_type): &(&str, ColumnType)| Column {
        name: (*name).into(),
        column_type: column_type.clone(),
        not_null: *name == "id",
        generated: false,
    };
    let schema = Arc::new(TableSchema {
        name: TableName::new("public", "samples"),
        columns: COLUMNS.iter().map(column).collect(),
        key: vec!["id".into()],
        foreign_keys: vec![],
        unique_keys: vec![],
    });
    let texts: Vec<String> = COLUMNS.iter().map(|(name, _)| format!("{name}::text")).collect();
    let rows = client.query(&format!("SELECT {} FROM samples ORDER BY id", texts.join(", ")), &[]).await;
    let cells = |row: &tokio_postgres::Row| -> Row {
        let value = |(place, (name, column_type)): (usize, &(&str, ColumnType))| {
            let text: Option<String> = row.get(place);
            let value = text.map_or(Value::NULL, Value::text);
            ((*name).into(), column_type.canonical(&value).expect("PostgreSQL prints values of the type"))
        };
        COLUMNS.iter().enumerate().map(value).collect()
    };
    let rows = rows.expect("the samples can be read").iter().map(cells).collect();
    let mut tables = RollingTables::new();
    tables.load(schema.clone(), rows).expect("the samples are of their types");
    (tables, BTreeMap::from([(schema.name.clone(), schema)]))
}

/// How many expressions are computed by one query: planning each alone takes the longest.
const TOGETHER: usize = 12;

/// Ours, by row: the value, or why there is none.
type OurAnswer = BTreeMap<i32, Result<Value, String>>;

struct Ours {
    evaluator: Evaluator,
    tables: RollingTables,
}

impl Ours {
    async fn rows(&mut self, sql: &str, types: &[ColumnType]) -> Result<Vec<(i32, Vec<Value>)>, String> {
        let time: Timestamp = NOW.parse().expect("a time");
        let rows = self.evaluator.rows(&mut self.tables, sql, types, time).await.map_err(|error| error.to_string())?;
        let id_of = |row: &[Value]| row.first().and_then(Value::as_str).and_then(|id| id.parse::<i32>().ok());
        Ok(rows.into_iter().filter_map(|mut row| Some((id_of(&row)?, row.split_off(1)))).collect())
    }

    /// Each of these alone where they cannot be computed together.
    async fn answers(&mut self, queries: &[(&String, &Answer)]) -> Vec<OurAnswer> {
        let listed: Vec<String> =
            queries.iter().enumerate().map(|(place, (query, _))| format!("{query} AS value_{place}")).collect();
        let types = std::iter::once(ColumnType::Integer);
        let types: Vec<ColumnType> =
            types.chain(queries.iter().map(|(_, answer)| answer.column_type.clone())).collect();
        match (self.rows(&format!("SELECT id, {} FROM samples", listed.join(", ")), &types).await, queries) {
            (Ok(rows), _) => {
                let of_place = |place: usize| rows.iter().map(move |(id, values)| (*id, Ok(values[place].clone())));
                (0..queries.len()).map(|place| of_place(place).collect()).collect()
            }
            (Err(refusal), [(query, answer)]) => vec![self.row_by_row(query, answer, &refusal).await],
            (Err(_), _) => {
                let (one, other) = queries.split_at(queries.len() / 2);
                let mut answers = Box::pin(self.answers(one)).await;
                answers.extend(Box::pin(self.answers(other)).await);
                answers
            }
        }
    }

    /// Where it fails for one row, the others may have values.
    async fn row_by_row(&mut self, query: &str, answer: &Answer, refusal: &str) -> OurAnswer {
        let types = [ColumnType::Integer, answer.column_type.clone()];
        let fails_somewhere = answer.rows.values().any(Option::is_none);
        let mut answers = OurAnswer::new();
        for id in answer.rows.keys() {
            let one = match fails_somewhere {
                true => {
                    let rows = self.rows(&format!("SELECT id, {query} FROM samples WHERE id = {id}"), &types).await;
                    let first = |rows: Vec<(i32, Vec<Value>)>| rows.into_iter().flat_map(|(_, values)| values).next();
                    rows.and_then(|rows| first(rows).ok_or("no row".to_owned()))
                }
                false => Err(refusal.to_owned()),
            };
            answers.insert(*id, one);
        }
        answers
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "an error".to_owned(),
        Some(value) => value.as_str().map_or("NULL".to_owned(), |text| format!("{text:?}")),
    }
}

/// What `now()` is.
const NOW: &str = "2026-02-25T06:13:20Z";

fn at_our_time(query: &str) -> String {
    let now = format!("timestamptz '{NOW}'");
    let of_type = |name: &str| format!("({now})::{name}");
    query
        .replace("now()", &now)
        .replace("current_date", &of_type("date"))
        .replace("localtimestamp", &of_type("timestamp"))
}

/// What one zone's comparison came to.
struct Compared {
    same: usize,
    different: Vec<String>,
    refusals: BTreeMap<String, usize>,
}

/// Compares expressions in a session of this time zone.
async fn compared(database: &Database<'_>, zone: &str, queries: &[String]) -> Compared {
    let client = database.client("expressions").await;
    client.batch_execute(SAMPLES).await.expect("the samples can be made");
    let (tables, schemas) = samples(&client).await;
    client.batch_execute(&format!("SET TIME ZONE '{zone}'")).await.expect("PostgreSQL knows the time zone");
    // Its clock stands as ours does.
    let asked: Vec<String> = queries.iter().map(|query| at_our_time(query)).collect();
    let answers = postgres_answers(&client, &asked).await;
    let mut ours = Ours { evaluator: Evaluator::new(schemas, &TimeZone::named(zone)), tables };
    let mut compared = Compared { same: 0, different: Vec::new(), refusals: BTreeMap::new() };
    let answered: Vec<(&String, &Answer)> =
        queries.iter().zip(&answers).filter_map(|(query, answer)| Some((query, answer.as_ref()?))).collect();
    let fail = queries.len() - answered.len();
    let mut computed = Vec::with_capacity(answered.len());
    for together in answered.chunks(TOGETHER) {
        computed.extend(ours.answers(together).await);
    }
    for ((query, answer), ours) in answered.into_iter().zip(computed) {
        compared.note(query, answer, &ours);
    }
    let refused: usize = compared.refusals.values().sum();
    println!(
        "{} expressions in {zone}: {} the same, {refused} refused, {fail} fail in PostgreSQL",
        queries.len(),
        compared.same
    );
    for (refusal, count) in &compared.refusals {
        println!("refused {count} times: {refusal}");
    }
    compared
}

impl Compared {
    fn note(&mut self, query: &str, answer: &Answer, ours: &OurAnswer) {
        let canonical = |value: &Value| answer.column_type.canonical(value).unwrap_or_else(|_| value.clone());
        let before = self.different.len();
        for (id, expected) in &answer.rows {
            let found = ours.get(id).and_then(|found| found.as_ref().ok());
            let is_same =
                |expected: &Value, found: &Value| answer.column_type.is_same(&canonical(expected), &canonical(found));
            let agrees = match (expected, found) {
                (_, None) => true,
                (Some(expected), Some(found)) => is_same(expected, found),
                (None, Some(_)) => false,
            };
            if !agrees {
                let (expected, found) = (shown(expected.as_ref()), shown(found));
                self.different.push(format!("{query} of row {id}: PostgreSQL {expected}, ours {found}"));
            }
        }
        let refused = answer.rows.iter().filter(|(_, expected)| expected.is_some());
        let mut refused = refused.filter_map(|(id, _)| ours.get(id).and_then(|found| found.as_ref().err()));
        match refused.next() {
            Some(refusal) => *self.refusals.entry(refusal.chars().take(70).collect()).or_default() += 1,
            None if self.different.len() == before => self.same += 1,
            None => {}
        }
    }

    fn assert(&self, least: usize) {
        assert!(self.same > least, "too few are computed at all: {}", self.same);
        let different = &self.different;
        assert!(different.is_empty(), "{} values differ:\n{}", different.len(), different.join("\n"));
    }
}

#[tokio::test]
async fn what_is_not_refused_is_what_postgres_computes() {
    let database = Database::create("expressions").await;
    compared(&database, "UTC", &grammar::expressions()).await.assert(1_500);
}

#[tokio::test]
async fn what_is_not_refused_is_what_postgres_computes_in_every_time_zone() {
    for (place, zone) in ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"].into_iter().enumerate() {
        let database = Database::create(&format!("zones_{place}")).await;
        compared(&database, zone, &grammar::of_zones()).await.assert(300);
    }
}
