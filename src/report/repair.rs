//! What a repair will do, for people and for scripts.

use std::io::{self, Write};

use owo_colors::OwoColorize;
use serde::Serialize;

use super::ReportError;
use super::difference::with_separators;
use crate::repair::{ChangeKind, LeftAlone, Rehearsal, RepairFiles, RepairPlan};

/// How many changes that a rehearsal left alone are listed for people.
const LISTED: usize = 20;

/// Writes what the plan does, where its files are, and what a rehearsal saw. `folder` goes before relative file names.
///
/// # Errors
/// What the writer says.
pub fn write_repair_text(
    plan: &RepairPlan,
    files: &RepairFiles,
    rehearsal: Option<&Rehearsal>,
    folder: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    let kinds =
        [(ChangeKind::Update, "to update"), (ChangeKind::Insert, "to insert"), (ChangeKind::Delete, "to delete")];
    let work: Vec<String> =
        kinds.iter().map(|(kind, what)| format!("{} {what}", count(plan.changes_of(*kind)))).collect();
    let headline = format!("Repair {} of {}: rows {}", plan.id, plan.release, work.join(", "));
    writeln!(out, "{}", headline.bold())?;
    let manual = match plan.manual.len() {
        0 => "nothing is left for a person to decide".to_owned(),
        1 => "1 record is left for a person to decide".to_owned(),
        records => format!("{} records are left for a person to decide", count(records)),
    };
    writeln!(out, "\n  {}{}  changes the rows, each only while it holds what it held", folder, files.repair.display())?;
    writeln!(out, "  {}{}    gives back what stood before", folder, files.undo.display())?;
    writeln!(out, "  {}{}  {manual}", folder, files.manual.display())?;
    if let Some(rehearsal) = rehearsal {
        rehearsed(rehearsal, out)?;
    }
    if plan.changes() > 0 {
        let psql = format!("psql \"$DATABASE_URL\" -v ON_ERROR_STOP=1 -f {folder}{}", files.repair.display());
        writeln!(out, "\n{}\n  {}", "Next".bold(), psql.cyan())?;
    }
    Ok(())
}

fn rehearsed(rehearsal: &Rehearsal, out: &mut dyn Write) -> io::Result<()> {
    let counts =
        format!("{} of {} changes can be made, {} taken back", rehearsal.changed, rehearsal.planned, rehearsal.undone);
    let verdict = if rehearsal.is_complete() { counts.green().to_string() } else { counts.yellow().to_string() };
    writeln!(out, "\n{} and rolled back: {verdict}", "Rehearsed on the database".bold())?;
    for LeftAlone { step, relation, key, operation, reason } in rehearsal.left_alone.iter().take(LISTED) {
        writeln!(out, "  {step} leaves alone: {operation} {relation} {key}: {reason}")?;
    }
    let hidden = rehearsal.left_alone.len().saturating_sub(LISTED);
    if hidden == 0 { Ok(()) } else { writeln!(out, "  and {} more", count(hidden)) }
}

fn count(number: usize) -> String {
    with_separators(&number.to_string())
}

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    id: &'a str,
    release: &'a str,
    application_name: String,
    update: usize,
    insert: usize,
    delete: usize,
    manual: usize,
    rehearsal: Option<RehearsalDocument<'a>>,
}

#[derive(Serialize)]
struct RehearsalDocument<'a> {
    planned: i64,
    changed: i64,
    undone: i64,
    left_alone: Vec<LeftAloneDocument<'a>>,
}

#[derive(Serialize)]
struct LeftAloneDocument<'a> {
    step: &'a str,
    table: &'a str,
    key: serde_json::Value,
    operation: &'a str,
    reason: &'a str,
}

/// Writes the same as JSON: `{"format": "repair/1", …}`.
///
/// # Errors
/// What the writer says.
pub fn write_repair_json(
    plan: &RepairPlan,
    rehearsal: Option<&Rehearsal>,
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    let document = Document {
        format: "repair/1",
        id: &plan.id,
        release: plan.release.as_str(),
        application_name: plan.application_name(),
        update: plan.changes_of(ChangeKind::Update),
        insert: plan.changes_of(ChangeKind::Insert),
        delete: plan.changes_of(ChangeKind::Delete),
        manual: plan.manual.len(),
        rehearsal: rehearsal.map(rehearsal_document).transpose()?,
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)?;
    Ok(())
}

fn rehearsal_document(rehearsal: &Rehearsal) -> Result<RehearsalDocument<'_>, ReportError> {
    let left_alone = rehearsal.left_alone.iter().map(|left| {
        Ok(LeftAloneDocument {
            step: &left.step,
            table: &left.relation,
            key: serde_json::from_str(&left.key)?,
            operation: &left.operation,
            reason: &left.reason,
        })
    });
    let left_alone = left_alone.collect::<Result<Vec<_>, ReportError>>()?;
    Ok(RehearsalDocument {
        planned: rehearsal.planned,
        changed: rehearsal.changed,
        undone: rehearsal.undone,
        left_alone,
    })
}
