//! `explain`: one record's story, and what a release did to it.

use super::trace::{Format, check, text_options, trace_in, write_beside};
use crate::cli::ExitStatus;
use crate::cli::arguments::{ExplainArguments, GlobalArguments};
use crate::cli::diagnostic::Failure;
use crate::cli::investigation::Investigation;
use crate::cli::output::write_result;
use crate::model::{ColumnName, RecordKey, TableName, TableSchema, Value};
use crate::report::Report;
use crate::report::explanation::{Explanation, write_explanation_json, write_explanation_text};
use crate::sql::Schemas;
use crate::trace::story;

/// Explains one record of the project that the current folder belongs to.
///
/// # Errors
/// Bad arguments, an unknown table or record, bad input, an unreachable database.
pub async fn explain(global: &GlobalArguments, arguments: &ExplainArguments) -> Result<ExitStatus, Failure> {
    let format = Format::named(global.format.as_deref())?;
    if let Some(trace) = &arguments.trace {
        check(global, trace)?;
    }
    let investigation = Investigation::open().await?;
    let schemas = investigation.schemas();
    let schema = schema_of(&arguments.table, schemas)?;
    let key = key_of(&arguments.key, schema)?;
    let story = story(&investigation.history, schemas, &schema.name, &key);
    let (tables, _) = investigation.tables().await?;
    let exists =
        tables.table(&schema.name).is_some_and(|table| table.row(crate::catalog::World::Actual, &key).is_some());
    if !exists && story.versions.is_empty() {
        return Err(Failure::new(format!("explain {} {key}: there is no such record, and never was", schema.name))
            .with_help("Its key is that of the table's primary key: 17, or a=1,b=2."));
    }
    let blast_radius = match &arguments.trace {
        Some(trace) => Some(trace_in(&investigation, trace).await?),
        None => None,
    };
    let settings = &investigation.project.tables;
    if let (Some(found), Some(trace)) = (&blast_radius, &arguments.trace) {
        let options = text_options(Some(&investigation.database), global, trace);
        write_beside(&Report::new(found, schemas, settings), &options, trace)?;
    }
    let explanation = Explanation::new(&story, blast_radius.as_ref(), schemas, settings);
    write_result(global, |out| match format {
        Format::Json => Ok(write_explanation_json(&explanation, out)?),
        Format::Text => Ok(write_explanation_text(&explanation, global.verbose, out)?),
    })?;
    Ok(if explanation.is_affected() { ExitStatus::Found } else { ExitStatus::NothingFound })
}

fn schema_of<'a>(name: &str, schemas: &'a Schemas) -> Result<&'a TableSchema, Failure> {
    let table: TableName = name.parse().map_err(|error| Failure::new(format!("explain {name}: {error}")))?;
    let Some(schema) = schemas.get(&table) else {
        let nearest = schemas.keys().map(ToString::to_string);
        let nearest = nearest.min_by_key(|known| strsim::damerau_levenshtein(known, &table.to_string()));
        let help = nearest.map_or_else(|| "The database has no table.".to_owned(), |known| format!("Is it {known}?"));
        return Err(Failure::new(format!("explain {table}: there is no such table")).with_help(help));
    };
    if schema.key.is_empty() {
        return Err(Failure::new(format!("explain {table}: it has no key, so its records cannot be told apart"))
            .with_help("Name one in blast-radius.toml: [tables.\"…\"] key = [\"…\"]."));
    }
    Ok(schema)
}

/// `17` for a key of one column; `a=1,b=2`, in any order, for more (and for one, where that is clearer).
fn key_of(text: &str, schema: &TableSchema) -> Result<RecordKey, Failure> {
    let wanted = || schema.key.iter().map(|column| format!("{column}=…")).collect::<Vec<_>>().join(",");
    let refused = |what: String| {
        Failure::new(format!("understand the key '{text}' of {}: {what}", schema.name))
            .with_help(format!("Write it as {}.", wanted()))
    };
    let mut given: Vec<(ColumnName, Value)> = Vec::new();
    let single = match schema.key.as_slice() {
        [column] if !text.starts_with(&format!("{column}=")) => Some(column.clone()),
        _ => None,
    };
    match single {
        Some(column) => given.push((column, Value::text(text))),
        None => {
            for part in text.split(',') {
                let (column, value) =
                    part.split_once('=').ok_or_else(|| refused(format!("'{part}' names no column")))?;
                given.push((column.trim().into(), Value::text(value)));
            }
        }
    }
    if let Some((column, _)) = given.iter().find(|(column, _)| !schema.key.contains(column)) {
        return Err(refused(format!("{column} is no column of the key")));
    }
    let mut cells = Vec::with_capacity(schema.key.len());
    for name in &schema.key {
        let value = given.iter().find(|(column, _)| column == name).map(|(_, value)| value);
        let (Some(value), Some(column)) = (value, schema.column(name)) else {
            return Err(refused(format!("{name} is missing")));
        };
        let value = column.column_type.canonical(value).map_err(|error| refused(error.to_string()))?;
        cells.push((name.clone(), value));
    }
    Ok(RecordKey::new(cells))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnType};

    fn lines() -> TableSchema {
        let column = |name: &str| Column {
            name: name.into(),
            column_type: ColumnType::Integer,
            not_null: true,
            generated: false,
        };
        TableSchema {
            name: TableName::new("public", "lines"),
            columns: vec![column("order_id"), column("line_no")],
            key: vec!["order_id".into(), "line_no".into()],
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
        }
    }

    #[test]
    fn keys_are_read_in_any_order_and_mistakes_say_what_to_write() {
        let schema = lines();
        let key = key_of("line_no=2,order_id=17", &schema).map(|key| key.to_string());
        assert_eq!(key.ok().as_deref(), Some("order_id=17,line_no=2"));
        for (text, said) in [
            ("17", "'17' names no column"),
            ("order_id=17", "line_no is missing"),
            ("order_id=17,no=2", "no is no column of the key"),
            ("order_id=x,line_no=2", "understand the key"),
        ] {
            let failure = key_of(text, &schema).map_err(|failure| failure.rendered(false));
            assert!(failure.as_ref().is_err_and(|shown| shown.contains(said)), "{text}: {failure:?}");
        }
        let schema = TableSchema { key: vec!["order_id".into()], ..schema };
        assert_eq!(key_of("17", &schema).map(|key| key.to_string()).ok().as_deref(), Some("17"));
        assert_eq!(key_of("order_id=17", &schema).map(|key| key.to_string()).ok().as_deref(), Some("17"));
    }
}
