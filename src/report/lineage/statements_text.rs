//! `lineage --sql --format text`: each statement with its tables, and each target column with what it comes from.

use std::io::{self, Write};

use owo_colors::OwoColorize;

use super::super::text::layout::{Side, counted, table as aligned};
use super::statements_json::influencing;
use crate::model::TableName;
use crate::sql::StatementAnalysis;

/// How many characters of a statement are shown above what is known of it.
const SHOWN: usize = 100;

/// Writes the statements for people.
///
/// # Errors
/// What the writer says.
pub fn write_statements_text(statements: &[StatementAnalysis], out: &mut dyn Write) -> io::Result<()> {
    for statement in statements {
        writeln!(out, "{}", shortened(&statement.sql).bold())?;
        let names = |tables: &[TableName]| tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match (statement.targets.is_empty(), statement.sources.is_empty()) {
            (true, true) => writeln!(out, "  {}", statement.kind.as_str())?,
            (true, false) => writeln!(out, "  {} reads {}", statement.kind.as_str(), names(&statement.sources))?,
            (false, true) => writeln!(out, "  {} writes {}", statement.kind.as_str(), names(&statement.targets))?,
            (false, false) => writeln!(
                out,
                "  {} writes {} from {}",
                statement.kind.as_str(),
                names(&statement.targets),
                names(&statement.sources)
            )?,
        }
        if statement.scanned && !statement.targets.iter().chain(&statement.sources).collect::<Vec<_>>().is_empty() {
            writeln!(out, "  the tables are those that a scan of the text sees")?;
        }
        columns(statement, out)?;
        if let Some(error) = &statement.error {
            writeln!(out, "  {}", format!("failed to {error}").red())?;
        }
        writeln!(out)?;
    }
    let count = u64::try_from(statements.len()).unwrap_or(u64::MAX);
    let failed = statements.iter().filter(|statement| statement.error.is_some()).count();
    match failed {
        0 => writeln!(out, "{}", counted(count, "statement")),
        failed => writeln!(out, "{}, {failed} not wholly understood", counted(count, "statement")),
    }
}

fn columns(statement: &StatementAnalysis, out: &mut dyn Write) -> io::Result<()> {
    let cells: Vec<Vec<String>> = statement
        .columns
        .iter()
        .map(|column| {
            let sources: Vec<String> = column.sources.iter().map(ToString::to_string).collect();
            let sources = if sources.is_empty() { "no column".to_owned() } else { sources.join(", ") };
            let influences = influencing(&column.influences);
            let decided = if influences.is_empty() { String::new() } else { format!("by {}", influences.join(", ")) };
            vec![format!("  {}", column.target), column.via.as_str().to_owned(), sources, decided]
        })
        .collect();
    for line in aligned(&[Side::Left, Side::Left, Side::Left, Side::Left], &cells) {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A statement on one line: a terminal would obey control characters.
fn shortened(sql: &str) -> String {
    let words: String = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    let clean: String = words.chars().filter(|character| !character.is_control()).collect();
    match clean.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", clean.get(..end).unwrap_or(&clean)),
        None => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Dialect, Schema, analyze};

    #[test]
    fn it_reads_well() {
        let sql = "INSERT INTO t (c, d) SELECT a, 1 FROM s WHERE b > 0; BEGIN; SELEC 1";
        let mut out = Vec::new();
        write_statements_text(&analyze(sql, &Schema::default(), Dialect::Postgres), &mut out).expect("it is written");
        let text = anstream::adapter::strip_str(&String::from_utf8(out).expect("it is text")).to_string();
        insta::assert_snapshot!(text);
    }
}
