//! What a report says in sentences, the same in every form that people read.

use super::Report;
use super::difference::with_separators;
use super::text::TextOptions;
use super::text::layout::{counted, number, one_line, time};
use crate::repair::ChangeKind;
use crate::trace::{OnsetShape, RecordState};

/// The report in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Headline {
    /// The release, with its service where it is known: `shop@v42`.
    pub(super) release: String,
    /// What it did.
    pub(super) broke: String,
    /// How it stands now; empty where nothing was found.
    pub(super) now: String,
    /// Whether anything is wrong now.
    pub(super) is_wrong_now: bool,
}

/// The report in one sentence.
pub(super) fn headline(report: &Report<'_>) -> Headline {
    let found = report.blast_radius;
    let service = found.service.as_ref().map_or_else(String::new, |service| format!("{service}@"));
    let release = format!("{service}{}", found.release);
    let totals = report.summary;
    let proved = totals.root + totals.derived;
    let all = proved + totals.possible;
    if all == 0 {
        let broke = "wrote nothing that is known to be wrong".to_owned();
        return Headline { release, broke, now: String::new(), is_wrong_now: false };
    }
    let broke = match (proved, totals.possible) {
        (_, 0) => format!("made {} wrong; ", counted(proved, "record")),
        (0, possible) => format!("possibly made {} wrong; ", counted(possible, "record")),
        (_, possible) => format!("made {} wrong, and possibly {} more; ", counted(proved, "record"), number(possible)),
    };
    let now = match totals.live {
        0 => "none of them is wrong now".to_owned(),
        live if live == all => "all of them are wrong now".to_owned(),
        live => {
            let verb = if live == 1 { "is" } else { "are" };
            format!("{} of {} {verb} wrong now", number(live), number(all))
        }
    };
    Headline { release, broke, now, is_wrong_now: totals.live > 0 }
}

/// The facts below the headline, a label and a text each; of subjects, the first `few`.
pub(super) fn facts(report: &Report<'_>, few: usize) -> Vec<(&'static str, String)> {
    let found = report.blast_radius;
    let mut facts = Vec::new();
    let written: u64 = found.writes.values().sum();
    let tables = u64::try_from(found.writes.len()).unwrap_or(u64::MAX);
    let window = found.window.map_or_else(String::new, |(first, last)| format!(", {} to {}", time(first), time(last)));
    facts.push(("wrote", format!("{} in {}{window}", counted(written, "row"), counted(tables, "table"))));
    if let Some(onset) = found.onset {
        let shape = match onset.shape {
            OnsetShape::Sudden => "suddenly: most of its writes were wrong from the start",
            OnsetShape::Slow => "slowly: few of its writes were wrong at first, or at any time",
        };
        let (first, last) = (time(onset.first_wrong), time(onset.last_wrong));
        facts.push(("wrong", format!("{first} to {last}, {shape}")));
    }
    if !report.is_clean() {
        let totals = report.summary;
        let roles = format!(
            "{} written wrong by the release, {} derived from them, {} possibly",
            number(totals.root),
            number(totals.derived),
            number(totals.possible)
        );
        facts.push(("found", roles));
        facts.push(("now", states(report)));
    }
    facts.extend(report.subjects.iter().map(|subject| ("hurt", hurt(subject, few))));
    if report.summary.external > 0 {
        let external = counted(report.summary.external, "record");
        facts.push(("outside", format!("{external} of external tables: what it says has left the company")));
    }
    if report.summary.suspect > 0 {
        let suspects = counted(report.summary.suspect, "other record");
        facts.push(("suspect", format!("{suspects} written by the release, with nothing known against them")));
    }
    facts
}

fn hurt(subject: &super::SubjectSummary, few: usize) -> String {
    let shown: Vec<String> = subject.values.iter().take(few).map(|value| one_line(&value.to_string(), 24)).collect();
    let more = subject.count - u64::try_from(shown.len()).unwrap_or(subject.count).min(subject.count);
    let list = match (shown.is_empty(), more) {
        (true, _) => " (personal: not listed)".to_owned(),
        (false, 0) => format!(": {}", shown.join(", ")),
        (false, more) => format!(": {} and {} more", shown.join(", "), number(more)),
    };
    format!("{} distinct {}{list}", number(subject.count), subject.column)
}

fn states(report: &Report<'_>) -> String {
    let names = [
        (RecordState::Live, "live (hold a wrong value)"),
        (RecordState::Missing, "missing (should exist)"),
        (RecordState::Extra, "extra (should not exist)"),
        (RecordState::Healed, "healed (overwritten since)"),
        (RecordState::Gone, "gone (deleted since)"),
    ];
    let counts = names.iter().filter_map(|(state, name)| {
        let count = report.states.get(state)?;
        Some(format!("{} {name}", number(*count)))
    });
    counts.collect::<Vec<_>>().join(", ")
}

/// What could not be decided, a line each.
pub(super) fn limits(report: &Report<'_>) -> Vec<String> {
    let found = report.blast_radius;
    let unattributed = (found.unattributed > 0).then(|| {
        let writes = counted(found.unattributed, "write");
        format!("{writes} of that time carry no release: they could be {}'s.", found.release)
    });
    unattributed.into_iter().chain(found.limits.iter().cloned()).collect()
}

/// One thing to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NextStep {
    /// What for.
    pub(super) what: String,
    /// The command, ready to be copied; `None` where there is nothing to run.
    pub(super) command: Option<String>,
}

impl NextStep {
    fn run(what: impl Into<String>, command: String) -> NextStep {
        NextStep { what: what.into(), command: Some(command) }
    }
}

/// What to do next, in this order.
pub(super) fn next_steps(report: &Report<'_>, options: &TextOptions) -> Vec<NextStep> {
    let program = format!("blast-radius {}", options.global_arguments);
    let traced = &options.trace_arguments;
    if report.is_clean() {
        if traced.contains("--faults") {
            return Vec::new();
        }
        let text = "Rules find what they know of. If you know what the release got wrong, say so in a faults file:";
        return vec![NextStep::run(text, format!("{program}{traced} --faults FILE"))];
    }
    let mut steps = vec![NextStep::run(
        "Every record, for a spreadsheet or a script:",
        format!("{program}{traced} --records records.csv"),
    )];
    if report.summary.live == 0 {
        steps.push(NextStep { what: "Nothing is left to repair.".to_owned(), command: None });
        return steps;
    }
    let plain =
        |character: char| if character.is_alphanumeric() || "-_.+".contains(character) { character } else { '_' };
    let folder: String = format!("repair-{}", report.blast_radius.release).chars().map(plain).collect();
    let applied =
        |file: &str| format!("psql \"$DATABASE_URL\" -v ON_ERROR_STOP=1 -f {}{folder}/{file}", options.folder);
    let plan = report.repair_plan();
    let work = [
        (plan.changes_of(ChangeKind::Update), "to update"),
        (plan.changes_of(ChangeKind::Insert), "to insert"),
        (plan.changes_of(ChangeKind::Delete), "to delete"),
        (plan.manual.len(), "for a person to decide"),
    ];
    let work = work.iter().filter(|(rows, _)| *rows > 0);
    let work: Vec<String> = work.map(|(rows, what)| format!("{} {what}", with_separators(&rows.to_string()))).collect();
    let (and, verify) = if options.can_rehearse { (" and rehearse it", " --verify") } else { ("", "") };
    steps.push(NextStep::run(
        format!("Write the repair{and} ({}):", work.join(", ")),
        format!("{program}repair {traced} --out {folder}{verify}"),
    ));
    if plan.changes() > 0 {
        steps.push(NextStep::run("Apply it:", applied("repair.sql")));
        steps.push(NextStep::run("Take it back:", applied("undo.sql")));
    }
    steps
}
