//! `--html FILE`: the report as one page that needs nothing else: no script, no font, nothing from a network.

use std::io::Write;

use maud::{Markup, html};

use super::page::page;
use super::text::TextOptions;
use super::text::layout::{counted, number, time};
use super::wording::{facts, headline, limits, next_steps};
use super::{LISTED_RECORDS, Report, ReportError, ReportedColumn, ReportedRecord};

/// How many subjects the page names.
const NAMED_SUBJECTS: usize = 200;

/// Writes the page. It lists the first [`LISTED_RECORDS`] records; cells of personal columns are not in it.
///
/// # Errors
/// What the writer says.
pub fn write_html(report: &Report<'_>, options: &TextOptions, out: &mut dyn Write) -> Result<(), ReportError> {
    let title = format!("{}: blast radius", headline(report).release);
    out.write_all(page(&title, &body(report, options)).into_string().as_bytes())?;
    Ok(())
}

fn body(report: &Report<'_>, options: &TextOptions) -> Markup {
    let headline = headline(report);
    let tone = if headline.is_wrong_now { "wrong" } else { "right" };
    html! {
        h1 { code { (headline.release) } " " (headline.broke) span class=(tone) { (headline.now) } }
        dl.facts {
            @for (label, text) in facts(report, NAMED_SUBJECTS) { dt { (label) } dd { (text) } }
        }
        @if !report.is_clean() {
            (tables(report))
            (differences(report))
            (statements(report))
            (rules(report))
        }
        (undecided(report))
        (next(report, options))
        @if !report.blast_radius.records.is_empty() { (records(report)) }
    }
}

fn tables(report: &Report<'_>) -> Markup {
    let most = report.tables.iter().map(|table| table.root + table.derived + table.possible).max().unwrap_or(1);
    html! {
        h2 { "Where it went, from the release outward" }
        table {
            thead { tr {
                th { "table" } th { "" }
                @for column in ["root", "derived", "possible", "wrong now", "depth"] { th.number { (column) } }
            } }
            tbody {
                @for table in &report.tables {
                    tr {
                        td { code { (table.table) } }
                        td.bar { (bar([("root", table.root), ("derived", table.derived), ("possible", table.possible)], most)) }
                        @for count in [table.root, table.derived, table.possible, table.live] {
                            td.number { @if count == 0 { "–" } @else { (number(count)) } }
                        }
                        td.number { (table.depth) }
                    }
                }
            }
        }
    }
}

/// Counts drawn to scale, of which `most` is the whole width.
fn bar(parts: [(&str, u64); 3], most: u64) -> Markup {
    let width = |count: u64| u128::from(count) * 1_000 / u128::from(most.max(1));
    let mut next = 0;
    let placed = parts.map(|(role, count)| {
        let from = next;
        next += width(count);
        (role, from, width(count))
    });
    html! {
        svg viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" {
            @for (role, from, width) in placed {
                @if width > 0 { rect class=(role) x=(from) y="0" width=(width) height="10" {} }
            }
        }
    }
}

fn differences(report: &Report<'_>) -> Markup {
    let shown: Vec<_> = report.differences.iter().filter(|difference| difference.rows > 0).collect();
    html! {
        @if !shown.is_empty() {
            h2 { "How far sums are off" }
            p.note { "What they are now, less what they should be." }
            table {
                tbody {
                    @for difference in shown {
                        tr {
                            td { code { (difference.table) "." (difference.column) } }
                            td.number { (difference.difference) }
                            td.note {
                                "over " (counted(difference.rows, "row"))
                                @if difference.difference.left_out() > 0 {
                                    ", " (counted(difference.difference.left_out(), "value")) " not summed"
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn statements(report: &Report<'_>) -> Markup {
    let found = &report.blast_radius.statements;
    html! {
        @if !found.is_empty() {
            h2 { "Statements that carried it" }
            @for statement in found {
                details {
                    summary {
                        (counted(statement.affected, "record")) " wrong, ran " (counted(statement.executions, "time"))
                        ", " @if statement.exact { "recomputed" } @else { "not all recomputed" }
                        " " code.brief { (statement.statement.split_whitespace().collect::<Vec<_>>().join(" ")) }
                    }
                    pre { (statement.statement) }
                }
            }
        }
    }
}

fn rules(report: &Report<'_>) -> Markup {
    let found = &report.blast_radius.rules;
    html! {
        @if !found.is_empty() {
            h2 { "Rules that the release's writes broke" }
            table { tbody {
                @for (id, violations) in found { tr { td.number { (number(*violations)) } td { code { (id) } } } }
            } }
        }
    }
}

fn undecided(report: &Report<'_>) -> Markup {
    let limits = limits(report);
    html! {
        @if !limits.is_empty() {
            h2 { "What could not be decided" }
            ul { @for limit in &limits { li { (limit) } } }
        }
    }
}

fn next(report: &Report<'_>, options: &TextOptions) -> Markup {
    let steps = next_steps(report, options);
    html! {
        @if !steps.is_empty() {
            h2 { "Next" }
            @for step in &steps {
                p { (step.what) }
                @if let Some(command) = &step.command { pre { (command) } }
            }
        }
    }
}

fn records(report: &Report<'_>) -> Markup {
    let all = report.blast_radius.records.len();
    html! {
        h2 { "Records" }
        @if all > LISTED_RECORDS {
            p.note { "The first " (LISTED_RECORDS) " of " (all) "; " code { "--records FILE" } " writes all of them." }
        }
        table.records {
            thead { tr { @for column in ["record", "role", "now", "what is → what should be", "written", "from"] { th { (column) } } } }
            tbody {
                @for (affected, record) in report.records().take(LISTED_RECORDS) {
                    tr {
                        td { code { (record.table) " " (affected.key) } }
                        td class=(record.role) { (record.role) }
                        td { (record.state) }
                        td { (changes(&record)) }
                        td {
                            time datetime=(record.written.ts) { (time(affected.written.ts)) }
                            @if let Some(release) = record.written.release { " by " code { (release) } }
                            @for rule in &record.rules { br; "breaks " code { (rule) } }
                            @if let Some(why) = record.why { br; span.note { (why) } }
                        }
                        td {
                            @if let (Some(cause), Some(from)) = (&record.cause, &affected.cause) {
                                code { (cause.table) " " (from.key) }
                                @if let Some(statement) = &cause.statement { details { summary { "by statement" } pre { (statement) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn changes(record: &ReportedRecord<'_>) -> Markup {
    html! {
        @for column in &record.columns {
            div { code { (column.name) } " " (change(column, record.state)) }
        }
    }
}

fn change(column: &ReportedColumn<'_>, state: &str) -> Markup {
    let value = |value: Option<Option<&str>>, unknown: &'static str| match value {
        None => html! { span.note { (unknown) } },
        Some(None) => html! { span.note { "NULL" } },
        Some(Some(text)) => html! { (text) },
    };
    if column.personal {
        return html! { span.note { "(personal: not printed)" } };
    }
    let unknown = if state == "extra" { "(no row)" } else { "not known" };
    html! {
        span.wrong { @if state == "missing" { "(no row)" } @else { (value(column.current, "?")) } }
        " → "
        span.right { (value(column.expected, unknown)) }
        @if column.expected.is_some() && !column.exact { span.note { " (not certain)" } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::trace::BlastRadius;

    fn text(found: &BlastRadius) -> String {
        let (schemas, settings) = (sample::schemas(), sample::settings());
        let options = TextOptions { trace_arguments: "--release v42".to_owned(), ..TextOptions::default() };
        let mut out = Vec::new();
        write_html(&Report::new(found, &schemas, &settings), &options, &mut out).expect("a vector takes everything");
        String::from_utf8(out).expect("the page is UTF-8")
    }

    #[test]
    fn the_page_says_what_the_text_says_and_nothing_personal() {
        let page = text(&sample::blast_radius());
        assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
        assert!(page.contains("made 5 records wrong, and possibly 1 more; "), "{page}");
        assert!(page.contains("<span class=\"wrong\">1000.00</span> → <span class=\"right\">10.00</span>"), "{page}");
        assert!(page.contains("blast-radius repair --release v42 --out repair-v42"), "{page}");
        assert!(page.contains("status &lt;&gt; $1"), "what comes from outside is escaped: {page}");
        assert!(!page.contains("example.org"), "{page}");
    }

    #[test]
    fn the_page_asks_nothing_of_a_network() {
        let page = text(&sample::blast_radius());
        for outside in ["http:", "https:", "src=", "<script", "@import", "url("] {
            assert!(!page.contains(outside), "{outside} is in the page");
        }
    }

    #[test]
    fn a_clean_release_lists_no_records() {
        let page = text(&sample::clean());
        assert!(page.contains("wrote nothing that is known to be wrong"), "{page}");
        assert!(!page.contains("<h2>Records</h2>"), "{page}");
    }
}
