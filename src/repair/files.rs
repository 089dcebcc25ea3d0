//! The three files of a repair.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::RepairError;
use super::plan::{ChangeKind, ManualColumn, RepairPlan};
use super::quoting::comment;
use super::script::{Transaction, repair_transactions, undo_transactions};
use crate::model::Value;

/// Where the files of a repair were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairFiles {
    /// `repair.sql`.
    pub repair: PathBuf,
    /// `undo.sql`.
    pub undo: PathBuf,
    /// `manual.csv`.
    pub manual: PathBuf,
}

/// Writes `repair.sql`, `undo.sql` and `manual.csv` into `folder`, which is made where it is not there. Each file is
/// written whole or not at all.
///
/// # Errors
/// A file or folder that cannot be written.
pub fn write_files(plan: &RepairPlan, folder: &Path) -> Result<RepairFiles, RepairError> {
    fs::create_dir_all(folder).map_err(|error| refused(folder, &error))?;
    let files = RepairFiles {
        repair: folder.join("repair.sql"),
        undo: folder.join("undo.sql"),
        manual: folder.join("manual.csv"),
    };
    write_file(&files.repair, |file| write_repair(plan, file))?;
    write_file(&files.undo, |file| write_undo(plan, file))?;
    write_file(&files.manual, |file| write_manual(plan, file))?;
    Ok(files)
}

fn write_file(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), RepairError> {
    let partial = path.with_added_extension("partial");
    let written = File::create(&partial).and_then(|file| {
        let mut file = BufWriter::new(file);
        content(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&partial, path)
    });
    written.map_err(|error| {
        // Whether the half-written file can be removed changes nothing about the error.
        let _ = fs::remove_file(&partial);
        refused(path, &error)
    })
}

fn refused(path: &Path, error: &io::Error) -> RepairError {
    RepairError::File { path: path.to_owned(), reason: error.to_string() }
}

/// Writes `repair.sql`: run it with `psql -v ON_ERROR_STOP=1 -f repair.sql`, or statement by statement with any driver.
///
/// # Errors
/// What the writer says.
pub fn write_repair(plan: &RepairPlan, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "-- Repairs what release {} broke: repair {}.", comment(plan.release.as_str()), plan.id)?;
    for kind in [ChangeKind::Update, ChangeKind::Insert, ChangeKind::Delete] {
        writeln!(out, "--   {:>9} rows to {}", plan.changes_of(kind), kind.as_str())?;
    }
    write!(
        out,
        "--
-- Run:   psql -v ON_ERROR_STOP=1 -f repair.sql
-- Undo:  psql -v ON_ERROR_STOP=1 -f undo.sql
--
-- Each row is changed only while it holds what it held when it was traced; a row that somebody touched since is left
-- alone and listed at the end. Each row is copied to the schema blast_radius before it is changed. Each batch is one
-- transaction. Running this file again changes nothing. Triggers of the tables do not fire.

"
    )?;
    write_transactions(repair_transactions(plan), out)
}

/// Writes `undo.sql`: gives back what stood before `repair.sql`.
///
/// # Errors
/// What the writer says.
pub fn write_undo(plan: &RepairPlan, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "-- Undoes repair {} of release {}: every row that it changed is again what it was.
--
-- Run:   psql -v ON_ERROR_STOP=1 -f undo.sql
--
-- A row that somebody changed since the repair is left alone and listed at the end. Running this file again changes
-- nothing. Once undone, repair.sql may be run again.

",
        plan.id,
        comment(plan.release.as_str())
    )?;
    write_transactions(undo_transactions(plan), out)
}

fn write_transactions(transactions: impl Iterator<Item = Transaction>, out: &mut dyn Write) -> io::Result<()> {
    for Transaction { title, body } in transactions {
        write!(out, "-- {title}\nBEGIN ISOLATION LEVEL READ COMMITTED;\n{body}COMMIT;\n\n")?;
    }
    Ok(())
}

/// Writes `manual.csv`: one line per record that a person must decide. `columns` are names; `key`, `current` and
/// `expected` are JSON objects of PostgreSQL's texts, from which what is unknown or personal is absent.
///
/// # Errors
/// What the writer says.
pub fn write_manual(plan: &RepairPlan, out: &mut dyn Write) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(["table", "key", "state", "columns", "current", "expected", "why"])?;
    for record in &plan.manual {
        let key = object(record.key.iter().map(|(name, value)| (name.to_string(), Some(value))));
        let cells = |value: fn(&ManualColumn) -> Option<&Value>| {
            object(record.columns.iter().map(|column| (column.name.to_string(), value(column))))
        };
        let names: Vec<&str> = record.columns.iter().map(|column| column.name.as_ref()).collect();
        csv.write_record([
            record.table.to_string(),
            key,
            record.state.as_str().to_owned(),
            names.join(", "),
            cells(|column| column.current.as_ref()),
            cells(|column| column.expected.as_ref()),
            record.why.clone(),
        ])?;
    }
    csv.flush()
}

fn object<'a>(cells: impl Iterator<Item = (String, Option<&'a Value>)>) -> String {
    let known = cells.filter_map(|(name, value)| Some((name, value?)));
    let object: Map<String, Json> =
        known.map(|(name, value)| (name, value.as_str().map_or(Json::Null, Json::from))).collect();
    Json::Object(object).to_string()
}
