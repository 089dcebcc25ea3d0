//! `lineage`: what SQL reads and writes.

use std::io::Read;
use std::path::Path;

use super::trace::Format;
use crate::cli::ExitStatus;
use crate::cli::arguments::{GlobalArguments, LineageArguments};
use crate::cli::diagnostic::Failure;
use crate::cli::output::write_result;
use crate::report::lineage::{write_statements_json, write_statements_text};
use crate::sql::{Analyzer, Schema, StatementKind};

/// Analyses the SQL that the arguments name, and prints what each statement reads and writes. The exit status is 1 where
/// a statement could not be understood wholly: what could be is printed.
///
/// # Errors
/// A format that is not known, a file that cannot be read, a schema whose definitions cannot be understood.
pub fn run(global: &GlobalArguments, arguments: &LineageArguments) -> Result<ExitStatus, Failure> {
    let format = Format::named(global.format.as_deref())?;
    let mut schema = Schema::default();
    for path in &arguments.schema {
        schema = extended(schema, path, arguments)?;
    }
    let mut analyzer = Analyzer::new(schema, arguments.dialect);
    let mut statements = Vec::new();
    for path in &arguments.sql {
        statements.append(&mut analyzer.analyze(&text(path)?));
    }
    write_result(global, |out| match format {
        Format::Text => Ok(write_statements_text(&statements, out)?),
        Format::Json => Ok(write_statements_json(&statements, out)?),
    })?;
    let understood = statements.iter().all(|statement| statement.error.is_none());
    Ok(if understood { ExitStatus::NothingFound } else { ExitStatus::Found })
}

/// The schema with what a file defines. A table or view that does not parse would make answers wrong: it is refused.
/// What else a dump of a schema holds (owners, grants, extensions) is passed over.
fn extended(schema: Schema, path: &Path, arguments: &LineageArguments) -> Result<Schema, Failure> {
    let mut analyzer = Analyzer::new(schema, arguments.dialect);
    let statements = analyzer.analyze(&text(path)?);
    let failed = statements
        .iter()
        .filter(|statement| statement.kind == StatementKind::Unparsed && defines(&statement.sql))
        .find_map(|statement| Some((statement, statement.error.as_ref()?)));
    match failed {
        None => Ok(analyzer.into_schema()),
        Some((statement, error)) => {
            let begin: String = statement.sql.chars().take(60).collect();
            Err(Failure::new(format!("read the schema {}: failed to {error}, in: {begin}", path.display())).with_help(
                "--schema takes definitions: CREATE TABLE, CREATE VIEW and the like, as pg_dump -s writes them.",
            ))
        }
    }
}

/// Whether a text begins like the definition of a table or view.
fn defines(sql: &str) -> bool {
    let words: Vec<String> = sql.split_whitespace().take(6).map(str::to_ascii_uppercase).collect();
    words.first().is_some_and(|word| word == "CREATE" || word == "ALTER")
        && words.iter().any(|word| matches!(word.as_str(), "TABLE" | "VIEW"))
}

fn text(path: &Path) -> Result<String, Failure> {
    let (name, read) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes);
        ("standard input".to_owned(), read)
    } else {
        (path.display().to_string(), std::fs::read(path))
    };
    let bytes = read.map_err(|error| Failure::new(format!("read {name}: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Failure::new(format!("read {name}: line {line} is not UTF-8"))
    })
}
