//! The figures of the proof: printed as a table, and asserted.

use std::fmt::{self, Display};

use crate::cells::Cell;

/// How much of what is claimed as proved must be true. Recall, exact values, collateral and undo allow nothing at all.
pub const LEAST_PRECISION: f64 = 0.98;

/// How many examples of a failure are shown.
const EXAMPLES: usize = 10;

/// What one trace and repair of one incident came to; all counts and lists are of cells.
#[derive(Debug, Default)]
pub struct Figures {
    incident: &'static str,
    way: String,
    /// How long the trace took, ingest included.
    seconds: f64,
    /// Wrong at the end.
    pub true_cells: usize,
    /// Called wrong, as root, derived or possible.
    pub predicted: usize,
    /// Wrong, and not called so.
    pub missed: Vec<Cell>,
    /// Called wrong as root or derived.
    pub claimed: usize,
    /// Of these, the ones that are right.
    pub false_claims: Vec<Cell>,
    /// Exact expected values that are right.
    pub expected_right: usize,
    /// Exact expected values that are not, with what is right.
    pub expected_wrong: Vec<String>,
    /// Wrong before the repair, right after it.
    pub repaired: usize,
    /// Still wrong after it.
    pub remaining: usize,
    /// Of these, the ones whose right value was known exactly, outside of external tables.
    pub left_though_exact: Vec<Cell>,
    /// Written by the repair, and not right then.
    pub collateral: Vec<Cell>,
    /// Changed by a second run of the repair.
    pub second_repair: Vec<Cell>,
    /// Other after the undo than before the repair.
    pub not_undone: Vec<Cell>,
    /// What the trace said it could not do.
    pub limits: Vec<String>,
}

impl Figures {
    /// Figures still to be filled in.
    pub fn new(incident: &'static str, way: &str, seconds: f64) -> Figures {
        Figures { incident, way: way.to_owned(), seconds, ..Figures::default() }
    }

    fn recall(&self) -> f64 {
        share(self.true_cells - self.missed.len(), self.true_cells)
    }

    fn precision(&self) -> f64 {
        share(self.claimed - self.false_claims.len(), self.claimed)
    }

    /// Holds the figures against the proof.
    ///
    /// # Panics
    /// Where they do not hold, naming the first cells of each failure.
    pub fn assert_proof(&self) {
        let failures = self.failures();
        assert!(failures.is_empty(), "{} ({}):\n{}", self.incident, self.way, failures.join("\n"));
    }

    /// What does not hold of the proof, with the first cells of each failure.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = self.unsound();
        if self.precision() < LEAST_PRECISION {
            note(&mut failures, "called wrong and right", &self.false_claims);
        }
        failures
    }

    /// The same but for the precision, which is a share: it says little of a few cells.
    pub fn unsound(&self) -> Vec<String> {
        let mut failures = Vec::new();
        note(&mut failures, "wrong and not found", &self.missed);
        note(&mut failures, "exact value is not right", &self.expected_wrong);
        note(&mut failures, "exact value was not repaired", &self.left_though_exact);
        note(&mut failures, "made wrong by the repair", &self.collateral);
        note(&mut failures, "changed by a second repair", &self.second_repair);
        note(&mut failures, "not as before after the undo", &self.not_undone);
        failures
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

fn note<T: Display>(failures: &mut Vec<String>, what: &str, cells: &[T]) {
    if !cells.is_empty() {
        let examples: Vec<String> = cells.iter().take(EXAMPLES).map(|cell| format!("    {cell}")).collect();
        failures.push(format!("  {} cells: {what}:\n{}", cells.len(), examples.join("\n")));
    }
}

/// The heading of the table whose rows are [`Figures`].
pub const HEADING: &str = "\
incident              traced by       true cells  predicted  recall  precision  expected right  wrong  repaired  remaining  collateral  \
undo   seconds";

/// One row under [`HEADING`].
impl Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let undo = if self.not_undone.is_empty() { "exact" } else { "WRONG" };
        write!(
            formatter,
            "{:<20}  {:<14}  {:>10}  {:>9}  {:>6.4}  {:>9.4}  {:>14}  {:>5}  {:>8}  {:>9}  {:>10}  {undo}  {:>7.1}",
            self.incident,
            self.way,
            self.true_cells,
            self.predicted,
            self.recall(),
            self.precision(),
            self.expected_right,
            self.expected_wrong.len(),
            self.repaired,
            self.remaining,
            self.collateral.len(),
            self.seconds
        )
    }
}
