//! Random histories over random tables with random SQL and a release that is wrong in a random way, each run in both
//! worlds and held to the proof, cell by cell.
//!
//! Unasked, the histories of the first seeds are run, as many on every machine: a share of few cells says little.
//! `BLAST_RADIUS_HISTORIES_SECONDS` says to run as many as there is time for, `BLAST_RADIUS_HISTORIES_SEED` with which seed to
//! begin, and `BLAST_RADIUS_HISTORIES_KEEP` where to keep the latest, as a project with its truth. A history that fails
//! is printed with its seed, cut down to the transactions that it takes.

mod grammar;
mod plan;
mod schema;
mod statements;

use std::env;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::FutureExt;

use crate::figures::LEAST_PRECISION;
use crate::proof::Histories;
use crate::stage::{Scenario, Stage, Staged};
use plan::{Plan, Transaction, plan};

const SECONDS: &str = "BLAST_RADIUS_HISTORIES_SECONDS";
const SEED: &str = "BLAST_RADIUS_HISTORIES_SEED";
const KEEP: &str = "BLAST_RADIUS_HISTORIES_KEEP";
/// As many as are run unasked.
const USUAL_HISTORIES: u64 = 32;
/// Where the histories of every run begin, so that a run can be repeated.
const FIRST_SEED: u64 = 1;

struct RandomHistory(Plan);

impl Scenario for RandomHistory {
    fn name(&self) -> &'static str {
        "random"
    }

    fn schema(&self) -> String {
        self.0.schema.clone()
    }

    fn faults(&self) -> String {
        self.0.faults.clone()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        for transaction in &self.0.transactions {
            perform(stage, transaction).await;
        }
    }
}

async fn perform(stage: &mut Stage<'_>, transaction: &Transaction) {
    let application = transaction.application;
    if let Some(begin) = transaction.begin {
        stage.execute(application, begin, &[]).await;
    }
    if let Some((look, beside)) = &transaction.beside {
        stage.query(application, look, &[]).await;
        Box::pin(perform(stage, beside)).await;
    }
    for planned in &transaction.statements {
        let sql = if stage.is_faulty() { Some(&planned.faulty) } else { planned.right.as_ref() };
        if let Some(sql) = sql {
            stage.query(application, sql, &[]).await;
        }
    }
    if let Some((query, write)) = &transaction.read {
        let rows = stage.query(application, query, &[]).await;
        let read = rows.first().and_then(|row| row.first().cloned()).flatten();
        stage.execute(application, write, &[read.into()]).await;
    }
    if transaction.begin.is_some() {
        stage.execute(application, if transaction.rolled_back { "ROLLBACK" } else { "COMMIT" }, &[]).await;
    }
}

/// What does not hold of the proof for one history, and what was claimed of it.
#[derive(Default)]
struct Outcome {
    failures: Vec<String>,
    /// What the trace said it could not do.
    limits: Vec<String>,
    /// Whether that is as much as there is to say.
    panicked: bool,
    claimed: usize,
    /// How many cells are of rows that it lacks and said that nobody can name.
    unnamed: usize,
    /// What was claimed and is right.
    false_claims: Vec<String>,
}

/// `None` where the release broke nothing. A history has few cells: its precision is held to the proof over all.
async fn outcome(history: &RandomHistory) -> Option<Outcome> {
    let attempt = AssertUnwindSafe(async {
        let staged = Staged::new(history, history.0.telling, 0);
        let histories = Histories::record(&staged).await;
        if histories.truth.is_empty() {
            return None;
        }
        if let Some(folder) = env::var_os(KEEP) {
            histories.keep(Path::new(&folder));
            std::fs::write(Path::new(&folder).join("schema.sql"), history.schema()).expect("a file can be written");
        }
        let mut figures = histories.prove("faults", &["--faults", "faults.yaml"]).await;
        let false_claims = figures.false_claims.iter().map(ToString::to_string).collect();
        let claimed = figures.claimed;
        let missed = figures.missed.len();
        figures.missed.retain(|cell| {
            let told = format!("{} may lack rows that nobody can name", cell.table);
            histories.exists(cell).0 || !figures.limits.iter().any(|limit| limit.starts_with(&told))
        });
        let unnamed = missed - figures.missed.len();
        let mut failures = figures.unsound();
        if !failures.is_empty() {
            failures.extend(figures.limits.iter().map(|limit| format!("  limit: {limit}")));
        }
        let limits = figures.limits;
        Some(Outcome { failures, limits, panicked: false, claimed, unnamed, false_claims })
    });
    attempt.catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned());
        Some(Outcome { failures: vec![text], panicked: true, ..Outcome::default() })
    })
}

/// The history without the transactions, and of those that are left without the statements, that the failure does not
/// take.
async fn shrunk(mut history: RandomHistory, panicked: bool, until: Instant) -> RandomHistory {
    let mut size = history.0.transactions.len() / 2;
    while size > 0 && Instant::now() < until {
        let mut end = history.0.transactions.len();
        while end > 0 && Instant::now() < until {
            let start = end.saturating_sub(size);
            let mut smaller = RandomHistory(history.0.clone());
            smaller.0.transactions.drain(start..end);
            if fails(&smaller, panicked).await {
                history = smaller;
            }
            end = start;
        }
        size /= 2;
    }
    let statements = |transaction: &Transaction| transaction.statements.len();
    let places: Vec<(usize, usize)> = history.0.transactions.iter().map(statements).enumerate().collect();
    for (place, of) in places.iter().rev().flat_map(|(place, count)| (0..*count).rev().map(|of| (*place, of))) {
        let mut smaller = RandomHistory(history.0.clone());
        smaller.0.transactions[place].statements.remove(of);
        if Instant::now() < until && fails(&smaller, panicked).await {
            history = smaller;
        }
    }
    history
}

/// In the same way: a part of a history may be none that PostgreSQL runs.
async fn fails(history: &RandomHistory, panicked: bool) -> bool {
    outcome(history).await.is_some_and(|outcome| !outcome.failures.is_empty() && outcome.panicked == panicked)
}

fn describe(seed: u64, history: &RandomHistory, failures: &[String]) -> String {
    let mut text = format!("seed {seed}:\n{}\n{}", failures.join("\n"), history.0.faults);
    let beside = |transaction: &Transaction| transaction.beside.clone().map(|(_, beside)| *beside);
    for transaction in history.0.transactions.iter().flat_map(|one| beside(one).into_iter().chain([one.clone()])) {
        let ends = if transaction.rolled_back { ", rolled back" } else { "" };
        let begin = transaction.begin.unwrap_or_default();
        text.push_str(&format!("-- {} {begin}{ends}\n", transaction.application));
        for planned in &transaction.statements {
            text.push_str(&format!("   {}\n", planned.faulty));
            if planned.right.as_ref() != Some(&planned.faulty) {
                text.push_str(&format!("   -- right: {:?}\n", planned.right));
            }
        }
        if let Some((query, write)) = &transaction.read {
            text.push_str(&format!("   {query}; {write}\n"));
        }
    }
    text
}

fn number(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).map_or(otherwise, |text| text.parse().expect("it is a number"))
}

#[tokio::test]
async fn random_histories_are_traced_repaired_and_undone() {
    let until = env::var_os(SECONDS).map(|_| Instant::now() + Duration::from_secs(number(SECONDS, 0)));
    let mut failed = Vec::new();
    let (mut proved, mut harmless) = (0, 0);
    let (mut claimed, mut false_claims, mut unnamed) = (0, 0, 0);
    let first = number(SEED, FIRST_SEED);
    for seed in first.. {
        if until.map_or(seed - first >= USUAL_HISTORIES, |until| Instant::now() > until) {
            break;
        }
        let history = RandomHistory(plan(seed));
        match outcome(&history).await {
            None => harmless += 1,
            Some(outcome) if outcome.failures.is_empty() => {
                proved += 1;
                unnamed += outcome.unnamed;
                // What cannot be run again adds, to what is proved wrong of a record, what more may be wrong of it.
                if !history.0.goes_beyond {
                    claimed += outcome.claimed;
                    false_claims += outcome.false_claims.len();
                }
                if !outcome.false_claims.is_empty() {
                    println!("seed {seed}: called wrong, and right: {}", outcome.false_claims.join(", "));
                    outcome.limits.iter().for_each(|limit| println!("  limit: {limit}"));
                }
            }
            Some(Outcome { panicked, failures, .. }) => {
                println!("seed {seed}, whole:\n{}", failures.join("\n"));
                let history = shrunk(history, panicked, Instant::now() + Duration::from_secs(100)).await;
                let now = outcome(&history).await.unwrap_or_default();
                println!("{}", describe(seed, &history, &now.failures));
                failed.push(seed);
            }
        }
    }
    let precision = 1.0 - false_claims as f64 / (claimed.max(1)) as f64;
    println!(
        "{proved} random histories proved, {harmless} in which nothing went wrong, failed: {failed:?}; \
         {claimed} cells claimed, precision {precision:.4}; {unnamed} cells of rows that nobody can name"
    );
    assert!(failed.is_empty(), "histories of these seeds fail the proof: {failed:?}");
    assert!(proved > 0, "not one history was proved in the time given");
    assert!(precision >= LEAST_PRECISION, "{false_claims} of {claimed} cells were called wrong and are right");
}
