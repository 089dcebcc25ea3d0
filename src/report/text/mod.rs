//! `--format text`: for the engineer on call. What broke, since when, how much of it is wrong now, what to do next.
//!
//! Styled with ANSI colours throughout: whoever opens the output strips them where it is no terminal.

pub(super) mod layout;

use std::io::{self, Write};

use layout::{Side, WIDTH, counted, number, one_line, table, wrapped};
use owo_colors::OwoColorize;

use super::wording::{Headline, facts, headline, limits, next_steps};
use super::{Report, ReportedColumn, ReportedRecord};

/// What the text repeats of the command line, so that the commands it proposes can be copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// Global options as they were given, each followed by a blank: `-C datasets/shop `.
    pub global_arguments: String,
    /// The options that name what is traced, as they were given: `--release v42 --faults faults.yaml`.
    pub trace_arguments: String,
    /// Where relative files of the proposed commands lie, seen from where the command was given: `datasets/shop/`.
    pub folder: String,
    /// Whether the project names a database to rehearse a repair on.
    pub can_rehearse: bool,
    /// Lists everything instead of the first few: statements, rules, subjects, examples.
    pub verbose: bool,
}

impl TextOptions {
    fn first(&self, few: usize) -> usize {
        if self.verbose { usize::MAX } else { few }
    }
}

/// Writes the report for people.
///
/// # Errors
/// What the writer says.
pub fn write_text(report: &Report<'_>, options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    write_headline(report, out)?;
    write_facts(report, options, out)?;
    if !report.is_clean() {
        tables(report, out)?;
        differences(report, options, out)?;
        statements(report, options, out)?;
        rules(report, options, out)?;
        examples(report, options, out)?;
    }
    write_limits(&limits(report), out)?;
    write_next_steps(report, options, out)
}

fn section(title: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{}", title.bold())
}

fn write_headline(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let Headline { release, broke, now, is_wrong_now } = headline(report);
    match (now.is_empty(), is_wrong_now) {
        (true, _) => writeln!(out, "{} {}", release.bold(), broke.green().bold()),
        (false, false) => writeln!(out, "{} {}{}", release.bold(), broke.bold(), now.green().bold()),
        (false, true) => writeln!(out, "{} {}{}", release.bold(), broke.bold(), now.red().bold()),
    }
}

fn write_facts(report: &Report<'_>, options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    for (label, text) in facts(report, options.first(6)) {
        // The label is padded before it is styled: escape codes have no width.
        let lines = wrapped(&format!("  {label:<8}"), &text);
        writeln!(out, "  {}{}", format!("{label:<8}").dimmed(), lines.get(10..).unwrap_or_default())?;
    }
    Ok(())
}

fn tables(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    section("Where it went, from the release outward", out)?;
    let count = |count: u64| if count == 0 { "-".to_owned() } else { number(count) };
    let header = ["table", "root", "derived", "possible", "wrong now", "depth"].map(str::to_owned).to_vec();
    let rows = report.tables.iter().map(|table| {
        let counts = [table.root, table.derived, table.possible, table.live].map(count);
        let mut row = vec![table.table.to_string()];
        row.extend(counts);
        row.push(table.depth.to_string());
        row
    });
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let sides = [Side::Left, Side::Right, Side::Right, Side::Right, Side::Right, Side::Right];
    let lines = table(&sides, &rows);
    for (position, line) in lines.iter().enumerate() {
        if position == 0 { writeln!(out, "{}", line.dimmed())? } else { writeln!(out, "{line}")? }
    }
    Ok(())
}

fn differences(report: &Report<'_>, options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    let shown: Vec<_> = report.differences.iter().filter(|difference| difference.rows > 0).collect();
    if shown.is_empty() {
        return Ok(());
    }
    section("How far sums are off (what they are now, less what they should be)", out)?;
    let limit = options.first(12);
    let rows = shown.iter().take(limit).map(|difference| {
        let left_out = match difference.difference.left_out() {
            0 => String::new(),
            values => format!(", {} not summed", counted(values, "value")),
        };
        let rows = format!("over {}{left_out}", counted(difference.rows, "row"));
        vec![format!("{}.{}", difference.table, difference.column), difference.difference.to_string(), rows]
    });
    for line in table(&[Side::Left, Side::Right, Side::Left], &rows.collect::<Vec<_>>()) {
        writeln!(out, "{line}")?;
    }
    more(shown.len(), limit, out)
}

fn statements(report: &Report<'_>, options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    let found = &report.blast_radius.statements;
    if found.is_empty() {
        return Ok(());
    }
    section("Statements that carried it", out)?;
    let limit = options.first(8);
    for statement in found.iter().take(limit) {
        let how = if statement.exact { "recomputed" } else { "not all recomputed" };
        let ran = format!("ran {}", counted(statement.executions, "time"));
        writeln!(out, "  {} wrong, {ran}, {how}", counted(statement.affected, "record"))?;
        let width = if options.verbose { usize::MAX } else { WIDTH - 4 };
        writeln!(out, "    {}", one_line(&statement.statement, width).cyan())?;
    }
    more(found.len(), limit, out)
}

fn rules(report: &Report<'_>, options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    let found = &report.blast_radius.rules;
    if found.is_empty() {
        return Ok(());
    }
    section("Rules that the release's writes broke", out)?;
    let limit = options.first(12);
    let rows = found.iter().take(limit).map(|(id, violations)| vec![number(*violations), id.to_string()]);
    for line in table(&[Side::Right, Side::Left], &rows.collect::<Vec<_>>()) {
        writeln!(out, "{line}")?;
    }
    more(found.len(), limit, out)
}

fn more(all: usize, shown: usize, out: &mut dyn Write) -> io::Result<()> {
    let hidden = u64::try_from(all.saturating_sub(shown)).unwrap_or(u64::MAX);
    if hidden == 0 { Ok(()) } else { writeln!(out, "  and {} more (-v lists all)", number(hidden)) }
}

/// A few records that are wrong now: of each role, the first of each table.
fn examples(report: &Report<'_>, options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    let tables_of_a_role = if options.verbose { 10 } else { 2 };
    let mut shown: Vec<(&str, String)> = Vec::new();
    let mut is_first = true;
    for (affected, record) in report.records() {
        let known = shown.iter().any(|(role, table)| *role == record.role && *table == record.table);
        let full = shown.iter().filter(|(role, _)| *role == record.role).count() >= tables_of_a_role;
        if !affected.state.is_wrong_now() || known || full || record.role == "suspect" {
            continue;
        }
        if is_first {
            section("Examples (what is → what should be)", out)?;
            is_first = false;
        }
        shown.push((record.role, record.table.clone()));
        example(&record, &affected.key.to_string(), out)?;
    }
    Ok(())
}

fn example(record: &ReportedRecord<'_>, key: &str, out: &mut dyn Write) -> io::Result<()> {
    let name = format!("{} {}", record.table, one_line(key, 40));
    writeln!(out, "  {} {} ({}, {})", "•".dimmed(), name.bold(), record.role, record.state)?;
    let shown: Vec<&ReportedColumn<'_>> = record.columns.iter().take(6).collect();
    let width = shown.iter().map(|column| column.name.chars().count()).max().unwrap_or(0);
    for column in &shown {
        writeln!(out, "      {:<width$}  {}", column.name, change(column, record.state))?;
    }
    let hidden = record.columns.len() - shown.len();
    if hidden > 0 {
        writeln!(out, "      and {hidden} more columns")?;
    }
    let release = record.written.release.map_or_else(String::new, |release| format!(" by {release}"));
    let rules = if record.rules.is_empty() { String::new() } else { format!("; breaks {}", record.rules.join(", ")) };
    let written = format!("{}{release}{rules}", record.written.ts.replace('T', " "));
    writeln!(out, "      {}", one_line(&written, WIDTH - 6).dimmed())?;
    if let Some(cause) = &record.cause {
        let key = serde_json::to_string(&cause.key).unwrap_or_default();
        let statement = cause.statement.as_ref().map_or_else(String::new, |statement| format!(" by {statement}"));
        let from = format!("from {} {key}{statement}", cause.table);
        writeln!(out, "      {}", one_line(&from, WIDTH - 6).dimmed())?;
    }
    Ok(())
}

fn change(column: &ReportedColumn<'_>, state: &str) -> String {
    if column.personal {
        return "(personal: not printed)".dimmed().to_string();
    }
    let value = |value: Option<Option<&str>>, unknown: &str| match value {
        None => unknown.to_owned(),
        Some(None) => "NULL".to_owned(),
        Some(Some(text)) => one_line(text, 28),
    };
    let current = if state == "missing" { "(no row)".to_owned() } else { value(column.current, "?") };
    let unknown = if state == "extra" { "(no row)" } else { "not known" };
    let guessed = if column.expected.is_some() && !column.exact { " (not certain)" } else { "" };
    format!("{} → {}{guessed}", current.red(), value(column.expected, unknown).green())
}

/// What could not be decided, under its heading; nothing where there is nothing.
pub(super) fn write_limits(limits: &[impl AsRef<str>], out: &mut dyn Write) -> io::Result<()> {
    if limits.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", "What could not be decided".yellow().bold())?;
    for line in limits {
        writeln!(out, "{}", wrapped("  - ", &one_line(line.as_ref(), usize::MAX)))?;
    }
    Ok(())
}

fn write_next_steps(report: &Report<'_>, options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    let steps = next_steps(report, options);
    if steps.is_empty() {
        return Ok(());
    }
    section("Next", out)?;
    for step in &steps {
        writeln!(out, "{}", wrapped("  ", &step.what))?;
        if let Some(command) = &step.command {
            writeln!(out, "    {}", command.cyan())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::trace::BlastRadius;

    fn text(found: &BlastRadius, verbose: bool) -> String {
        let (schemas, settings) = (sample::schemas(), sample::settings());
        let options = TextOptions {
            global_arguments: "-C datasets/shop ".to_owned(),
            trace_arguments: "--release v42".to_owned(),
            folder: "datasets/shop/".to_owned(),
            can_rehearse: true,
            verbose,
        };
        let mut out = Vec::new();
        write_text(&Report::new(found, &schemas, &settings), &options, &mut out).expect("a vector takes everything");
        let plain = anstream::adapter::strip_bytes(&out).into_vec();
        String::from_utf8(plain).expect("the text is UTF-8")
    }

    #[test]
    fn the_text_says_what_broke_and_what_to_do() {
        let text = text(&sample::blast_radius(), false);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH + 24), "{text}");
        assert!(!text.contains("example.org"), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_clean_release_says_so() {
        insta::assert_snapshot!(text(&sample::clean(), true));
    }
}
