//! Traces a recorded incident with the real program, repairs, undoes, and holds each step against the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use crate::cells::{Cell, Snapshot};
use crate::figures::Figures;
use crate::postgres::Database;
use crate::prediction::{Expected, Predictions};
use crate::recording::{Recording, World};

/// The environment variable through which the project file names the database.
const DATABASE_URL: &str = "BLAST_RADIUS_INCIDENT_URL";

/// A history that went wrong, and what a team would know of it.
pub trait Incident {
    /// Its name in the table of figures.
    fn name(&self) -> &'static str;
    /// The release that went wrong.
    fn release(&self) -> &'static str;
    /// `blast-radius.toml` but for `[database]` and `[ingest]`.
    fn settings(&self) -> String;
    /// Other files of the project, by path: rules, faults.
    fn files(&self) -> Vec<(&'static str, String)>;
    /// Tables that a repair must leave alone.
    fn external_tables(&self) -> &'static [&'static str];
    /// Runs the history of this world on a fresh database.
    async fn record(&self, database: &Database<'_>, world: World) -> Recording;
}

/// Both histories of an incident, run and recorded.
pub struct Histories<'incident, I> {
    incident: &'incident I,
    faulty: Database<'static>,
    right: Database<'static>,
    recording: Recording,
    actual_state: Snapshot,
    right_state: Snapshot,
    /// The cells that are wrong at the end.
    pub truth: BTreeSet<Cell>,
}

impl<'incident, I: Incident> Histories<'incident, I> {
    /// Runs the history in both worlds.
    pub async fn record(incident: &'incident I) -> Self {
        let faulty = Database::create("faulty").await;
        let right = Database::create("right").await;
        let (recording, _) =
            tokio::join!(incident.record(&faulty, World::Faulty), incident.record(&right, World::Right));
        let (actual_state, right_state) = (Snapshot::take(&faulty).await, Snapshot::take(&right).await);
        let truth = actual_state.differences(&right_state);
        Histories { incident, faulty, right, recording, actual_state, right_state, truth }
    }

    /// Whether the record of this cell is there in the faulty world, and in the right one.
    pub fn exists(&self, cell: &Cell) -> (bool, bool) {
        (self.actual_state.get(cell).is_some(), self.right_state.get(cell).is_some())
    }

    /// A rule that the right history breaks would call right writes wrong.
    pub fn assert_rules_hold_in_right_world(&self) {
        let project = self.write_project();
        let output = self.run(project.path(), &self.right, &["audit", "--format", "json"]);
        assert_eq!(output.status.code(), Some(0), "the rules do not hold in the right world:\n{}", said(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the audit reports as JSON");
        let rules = report["rules"].as_array().expect("the audit lists its rules");
        assert!(!rules.is_empty() && rules.iter().all(|rule| rule["status"] == "pass"), "{rules:?}");
    }

    /// Traces with these options, repairs and undoes.
    pub async fn prove(&self, way: &str, options: &[&str]) -> Figures {
        let project = self.write_project();
        let records = project.path().join("records.ndjson");
        let records_path = records.to_str().expect("the path is text");
        let mut arguments = vec!["--release", self.incident.release(), "--format", "json", "--records", records_path];
        arguments.extend(options);
        let began = Instant::now();
        let output = self.run(project.path(), &self.faulty, &arguments);
        let seconds = began.elapsed().as_secs_f64();
        assert_eq!(output.status.code(), Some(1), "a trace that found something ends with 1:\n{}", said(&output));
        let records = fs::read_to_string(&records).expect("the trace wrote its records");
        let predictions = Predictions::read(&records, &self.actual_state);
        let report = check_summary(&output, &predictions);

        let mut figures = Figures::new(self.incident.name(), way, seconds);
        let limits = report["limits"].as_array().into_iter().flatten();
        figures.limits = limits.filter_map(|limit| limit.as_str().map(str::to_owned)).collect();
        self.judge_trace(&predictions, &mut figures);
        self.repair(project.path(), options, &predictions, &mut figures).await;
        figures
    }

    fn judge_trace(&self, predictions: &Predictions, figures: &mut Figures) {
        figures.true_cells = self.truth.len();
        figures.predicted = predictions.cells.len();
        figures.missed = self.truth.iter().filter(|cell| !predictions.cells.contains_key(cell)).cloned().collect();
        for (cell, prediction) in &predictions.cells {
            if prediction.role != "possible" {
                figures.claimed += 1;
                if !self.truth.contains(cell) {
                    figures.false_claims.push(cell.clone());
                }
            }
            let right = self.right_state.get(cell);
            let is_right = match &prediction.expected {
                Expected::Unknown | Expected::Guessed => continue,
                Expected::Exact(expected) => right == Some(expected),
                Expected::NoRecord => right.is_none(),
            };
            if is_right {
                figures.expected_right += 1;
            } else {
                figures.expected_wrong.push(format!("{cell}: {:?}, and right is {right:?}", prediction.expected));
            }
        }
    }

    async fn repair(&self, project: &Path, options: &[&str], predictions: &Predictions, figures: &mut Figures) {
        let mut arguments = vec!["repair", "--release", self.incident.release(), "--out", "repair"];
        arguments.extend(["--include", "possible"]);
        arguments.extend(options);
        let output = self.run(project, &self.faulty, &arguments);
        assert!(matches!(output.status.code(), Some(0 | 1)), "the repair is not planned:\n{}", said(&output));
        let script = |name: &str| self.faulty.psql(&project.join("repair").join(name));

        script("repair.sql").unwrap_or_else(|error| panic!("repair.sql fails: {error}"));
        let repaired = Snapshot::take(&self.faulty).await;
        script("repair.sql").unwrap_or_else(|error| panic!("a second repair.sql fails: {error}"));
        let repaired_twice = Snapshot::take(&self.faulty).await;
        figures.second_repair = repaired.differences(&repaired_twice).into_iter().collect();
        self.judge_repair(&repaired, predictions, figures);

        script("undo.sql").unwrap_or_else(|error| panic!("undo.sql fails: {error}"));
        let undone = Snapshot::take(&self.faulty).await;
        figures.not_undone = self.actual_state.differences(&undone).into_iter().collect();
        // The next trace of this database repairs it as if for the first time.
        let client = self.faulty.client("oracle").await;
        client.batch_execute("DROP SCHEMA blast_radius CASCADE").await.expect("the repair keeps its ledger there");
    }

    fn judge_repair(&self, repaired: &Snapshot, predictions: &Predictions, figures: &mut Figures) {
        let still_wrong = repaired.differences(&self.right_state);
        figures.repaired = self.truth.iter().filter(|cell| !still_wrong.contains(cell)).count();
        figures.remaining = self.truth.iter().filter(|cell| still_wrong.contains(cell)).count();
        let touched = repaired.differences(&self.actual_state);
        figures.collateral = touched.intersection(&still_wrong).cloned().collect();
        let external = self.incident.external_tables();
        // A record that is missing cannot be put back without a value that is not known.
        let unknown: BTreeSet<(&str, &[crate::cells::Text])> = predictions
            .cells
            .iter()
            .filter(|(_, prediction)| matches!(prediction.expected, Expected::Unknown | Expected::Guessed))
            .map(|(cell, _)| (cell.table.as_str(), cell.key.as_slice()))
            .collect();
        // One that should not be there cannot go while a record refers to it of which that is not known.
        let held: BTreeSet<(String, Vec<crate::cells::Text>)> = predictions
            .cells
            .iter()
            .filter(|(cell, _)| unknown.contains(&(cell.table.as_str(), cell.key.as_slice())))
            .flat_map(|(cell, _)| self.actual_state.referred(cell))
            .map(|cell| (cell.table, cell.key))
            .collect();
        let left = still_wrong.iter().filter(|cell| {
            let can_be_right = match predictions.cells.get(cell).map(|prediction| &prediction.expected) {
                Some(Expected::Exact(_)) => self.can_stand(cell, &unknown),
                Some(Expected::NoRecord) => !held.contains(&(cell.table.clone(), cell.key.clone())),
                Some(Expected::Unknown | Expected::Guessed) | None => false,
            };
            can_be_right && !external.contains(&cell.table.as_str())
        });
        figures.left_though_exact = left.cloned().collect();
    }

    /// Whether the record is there, or can be put back: whole, and what it then refers to as well.
    fn can_stand(&self, cell: &Cell, unknown: &BTreeSet<(&str, &[crate::cells::Text])>) -> bool {
        let is_there = self.actual_state.get(cell).is_some();
        let is_whole = is_there || !unknown.contains(&(cell.table.as_str(), cell.key.as_slice()));
        is_whole && self.right_state.referred(cell).iter().all(|referred| self.can_stand(referred, unknown))
    }

    /// Keeps the incident as a project that needs no database, with the tables of the right world in `truth`.
    pub fn keep(&self, folder: &Path) {
        self.write_project_in(folder, "files = \"data\"");
        for (state, name) in [(&self.actual_state, "data"), (&self.right_state, "truth")] {
            fs::create_dir_all(folder.join(name)).expect("a folder can be made");
            for (table, text) in state.as_csv() {
                fs::write(folder.join(name).join(format!("{table}.csv")), text).expect("a file can be written");
            }
        }
    }

    /// A project folder with the recording, as a team would have it.
    fn write_project(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        self.write_project_in(folder.path(), &format!("url = \"env:{DATABASE_URL}\"\nschemas = [\"public\"]"));
        folder
    }

    fn write_project_in(&self, folder: &Path, database: &str) {
        let write = |path: &str, text: &str| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
            fs::write(path, text).expect("a file can be written");
        };
        let source = format!("[database]\n{database}\n\n");
        let log = if self.recording.log.is_empty() { "" } else { ", \"log.json\"" };
        let ingest = format!("[ingest]\nfiles = [\"events.ndjson\"{log}]\n\n");
        write("blast-radius.toml", &format!("{source}{ingest}{}", self.incident.settings()));
        write("events.ndjson", &self.recording.events.join("\n"));
        if !self.recording.log.is_empty() {
            write("log.json", &self.recording.log.join("\n"));
        }
        for (path, text) in self.incident.files() {
            write(path, &text);
        }
    }

    fn run(&self, project: &Path, database: &Database<'_>, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_blast-radius"))
            .args(["-C", project.to_str().expect("the path is text")])
            .args(arguments)
            .env(DATABASE_URL, database.url())
            .current_dir(project)
            .output()
            .expect("the program starts")
    }
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(4_000).collect::<String>();
    format!("{}: {}{}", output.status, text(&output.stderr), text(&output.stdout))
}

/// The summary on standard output counts what the records file lists.
fn check_summary(output: &Output, predictions: &Predictions) -> serde_json::Value {
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("standard output is the JSON report");
    assert_eq!(report["format"], "blast-radius/1");
    let counted: BTreeMap<String, u64> = ["root", "derived", "possible"]
        .into_iter()
        .filter_map(|role| Some((role.to_owned(), report["summary"][role].as_u64()?)))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(counted, predictions.records, "the summary counts other records than are listed");
    report
}
