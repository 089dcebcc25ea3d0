//! `explain --format text`: one record's story, oldest first, then what a traced release did to it.

use std::io::{self, Write};

use owo_colors::OwoColorize;

use super::{Change, Explanation};
use crate::model::{Operation, Value};
use crate::report::text::layout::{counted, number, one_line, time, wrapped};
use crate::report::text::write_limits;
use crate::trace::{AffectedRecord, Reader, Source, SourceRows, Version};

/// How many of each list are printed unless everything is asked for.
const FEW: usize = 10;

/// Writes the explanation for people.
///
/// # Errors
/// What the writer says.
pub fn write_explanation_text(explanation: &Explanation<'_>, verbose: bool, out: &mut dyn Write) -> io::Result<()> {
    let few = if verbose { usize::MAX } else { FEW };
    headline(explanation, out)?;
    for version in &explanation.story.versions {
        write_version(explanation, version, out)?;
    }
    if explanation.is_affected() {
        writeln!(out, "\n{}", "How it came to be so, back to where it began".bold())?;
        for record in &explanation.chain {
            write_record(explanation, record, out)?;
        }
    }
    if !explanation.derived.is_empty() {
        let title = format!("What was computed from it ({})", counted(count(explanation.derived.len()), "record"));
        writeln!(out, "\n{}", title.bold())?;
        for record in explanation.derived.iter().take(few) {
            write_record(explanation, record, out)?;
        }
        more(explanation.derived.len(), few, out)?;
    }
    let readers = &explanation.story.readers;
    if !readers.is_empty() {
        writeln!(out, "\n{}", "Who has read it".bold())?;
        for reader in readers.iter().take(few) {
            write_reader(reader, out)?;
        }
        more(readers.len(), few, out)?;
    }
    write_limits(explanation.blast_radius.map(|found| found.limits.as_slice()).unwrap_or_default(), out)
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn more(length: usize, few: usize, out: &mut dyn Write) -> io::Result<()> {
    match length.checked_sub(few) {
        None | Some(0) => Ok(()),
        Some(rest) => writeln!(out, "  … and {} more: -v lists them", number(count(rest))),
    }
}

fn headline(explanation: &Explanation<'_>, out: &mut dyn Write) -> io::Result<()> {
    let story = explanation.story;
    let name = format!("{} {}", story.table, story.key);
    let versions = counted(count(story.versions.len()), "recorded write");
    let verdict = match (explanation.blast_radius, explanation.chain.first()) {
        (None, _) => String::new(),
        (Some(found), None) => format!("; {}", format!("not touched by what {} broke", found.release).green()),
        (Some(found), Some(record)) => {
            let how = format!("{} of {}, {}", record.role.as_str(), found.release, record.state.as_str());
            format!("; {}", how.red().bold())
        }
    };
    writeln!(out, "{}: {versions}{verdict}", name.bold())?;
    if story.versions.is_empty() {
        writeln!(out, "  It is older than the history: no recorded write is about it.")?;
    }
    Ok(())
}

fn write_version(explanation: &Explanation<'_>, version: &Version, out: &mut dyn Write) -> io::Result<()> {
    let write = &version.write;
    let who = match &write.attribution {
        Some(attribution) => attribution.release.to_string(),
        None => "an unknown release".to_owned(),
    };
    let transaction = version.transaction.as_ref().map_or_else(String::new, |id| format!(", transaction {}", id.0));
    let did = format!("{} by {who}", write.operation.as_str());
    writeln!(out, "\n  {}  {}{transaction}, seq {}", time(write.ts), did.bold(), number(write.seq.0))?;
    if let Some(statement) = &version.statement {
        writeln!(out, "{}", wrapped("    ", &one_line(statement, 400)))?;
    }
    for change in explanation.changes(write) {
        writeln!(out, "    {}", one_line(&changed(&change, write.operation), 200))?;
    }
    for source in &version.sources {
        writeln!(out, "    from {}", one_line(&source_text(explanation, source), 200))?;
    }
    Ok(())
}

fn changed(change: &Change<'_>, operation: Operation) -> String {
    let shown = |value: Option<&Value>| match value {
        None => "?".to_owned(),
        Some(_) if change.personal => "(personal)".to_owned(),
        Some(value) => value.to_string(),
    };
    match operation {
        Operation::Insert => format!("{}: {}", change.column, shown(change.after)),
        Operation::Update => format!("{}: {} → {}", change.column, shown(change.before), shown(change.after)),
        Operation::Delete | Operation::Truncate => format!("{}: was {}", change.column, shown(change.before)),
    }
}

fn source_text(explanation: &Explanation<'_>, source: &Source) -> String {
    match &source.rows {
        SourceRows::Where(column, _) if explanation.context(&source.table).is_personal(column) => {
            format!("{}, by {column} (personal)", source.table)
        }
        SourceRows::Where(column, values) => {
            let shown: Vec<String> = values.iter().take(FEW).map(Value::to_string).collect();
            let more = if values.len() > FEW { format!(" and {} more", values.len() - FEW) } else { String::new() };
            format!("{} where {column} is {}{more}", source.table, shown.join(", "))
        }
        SourceRows::JoinedBy(column) => format!("{}, joined by {column}", source.table),
        SourceRows::Any => format!("{}, any row", source.table),
    }
}

fn write_record(explanation: &Explanation<'_>, record: &AffectedRecord, out: &mut dyn Write) -> io::Result<()> {
    let name = format!("{} {}", record.table, record.key);
    let by = record.written.release.as_ref().map_or_else(String::new, |release| format!(" by {release}"));
    let wrong_since = time(record.written.ts);
    writeln!(out, "  {}  {}, {}; {wrong_since}{by}", name.bold(), record.role.as_str(), record.state.as_str())?;
    let context = explanation.context(&record.table);
    for column in &record.columns {
        let line = match (&column.expected, context.is_personal(&column.name)) {
            (_, true) => format!("{}: (personal)", column.name),
            (Some(expected), _) => format!("{}: {}, should be {expected}", column.name, column.current),
            (None, _) => format!("{}: {}, what it should be is not known", column.name, column.current),
        };
        writeln!(out, "    {}", one_line(&line, 200))?;
    }
    if let Some(statement) = record.cause.as_ref().and_then(|cause| cause.statement.as_deref()) {
        writeln!(out, "{}", wrapped("    by ", &one_line(&crate::sql::template(statement), 400)))?;
    }
    if let Some(why) = &record.why {
        writeln!(out, "{}", wrapped("    because ", why))?;
    }
    Ok(())
}

fn write_reader(reader: &Reader, out: &mut dyn Write) -> io::Result<()> {
    let who = reader.release.as_ref().map_or_else(|| "an unknown release".to_owned(), ToString::to_string);
    let times = counted(reader.executions, "time");
    writeln!(out, "  {who}, {times}, {} to {}", time(reader.first), time(reader.last))?;
    writeln!(out, "{}", wrapped("    ", &one_line(&reader.statement, 400)))?;
    let wrote: Vec<String> =
        reader.wrote.iter().map(|(table, rows)| format!("{} in {table}", counted(*rows, "row"))).collect();
    if !wrote.is_empty() {
        writeln!(out, "{}", wrapped("    wrote ", &wrote.join(", ")))?;
    }
    Ok(())
}
