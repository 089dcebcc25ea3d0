//! A small incident in one file: a [`Scenario`] says what the database holds and what its applications do; the
//! [`Stage`] gives it sessions, chance and the world, runs and records it, and holds trace and repair to the proof.

use std::collections::HashMap;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, SimpleQueryMessage, Statement};

use crate::answers::{Answer, Row};

use crate::figures::{Figures, HEADING};
use crate::postgres::Database;
use crate::proof::{Histories, Incident};
use crate::recording::{self, Recording, Telling, World};
use crate::shop::random::Random;
use crate::shop::session::Parameter;

/// A history that went wrong, but for how it is recorded.
pub trait Scenario {
    /// Its name in the table of figures.
    fn name(&self) -> &'static str;

    /// The tables and their first rows, as SQL: before the history begins, and the same in both worlds.
    fn schema(&self) -> String;

    /// What a team demands of its data: the text of a rules file.
    fn rules(&self) -> String {
        String::new()
    }

    /// What a team knows of its release `v42`: the text of a faults file.
    fn faults(&self) -> String {
        String::new()
    }

    /// What follows `[audit]` in the project file.
    fn settings(&self) -> String {
        String::new()
    }

    /// Tables that a repair must leave alone.
    fn external_tables(&self) -> &'static [&'static str] {
        &[]
    }

    /// The history. Times and keys come from parameters and from the stage's chance, never from a clock.
    async fn run(&self, stage: &mut Stage<'_>);
}

/// Where a scenario runs.
pub struct Stage<'database> {
    /// The same sequence in both worlds.
    pub random: Random,
    world: World,
    telling: Telling,
    database: &'database Database<'database>,
    sessions: HashMap<String, Session>,
}

struct Session {
    client: Client,
    prepared: HashMap<String, Statement>,
}

impl Stage<'_> {
    /// Whether this is the world in which the release is wrong.
    pub fn is_faulty(&self) -> bool {
        self.world == World::Faulty
    }

    /// Runs a statement in the session of this name: an `application_name`, and after a `#` which of its sessions.
    /// Prepared and with parameters where the log tells the SQL, else with its values as literals. The rows written.
    ///
    /// # Panics
    /// Where the database refuses it.
    pub async fn execute(&mut self, session: &str, sql: &str, parameters: &[Parameter]) -> u64 {
        if !self.telling.is_prepared() {
            let counts = self.simple(session, sql, parameters).await.into_iter().filter_map(|message| match message {
                SimpleQueryMessage::CommandComplete(count) => Some(count),
                _ => None,
            });
            return counts.sum();
        }
        let values: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|one| one as &(dyn ToSql + Sync)).collect();
        let one = self.prepared(session, sql).await;
        let done = one.client.execute(&one.prepared[sql], &values).await;
        done.unwrap_or_else(|error| panic!("{sql} with {parameters:?}: {error:?}"))
    }

    /// Runs a query, or a write that returns rows, as [`Stage::execute`] runs a statement; its rows as text.
    ///
    /// # Panics
    /// Where the database refuses it.
    pub async fn query(&mut self, session: &str, sql: &str, parameters: &[Parameter]) -> Vec<Row> {
        if !self.telling.is_prepared() {
            let rows = self.simple(session, sql, parameters).await.into_iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
                }
                _ => None,
            });
            return rows.collect();
        }
        let values: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|one| one as &(dyn ToSql + Sync)).collect();
        let one = self.prepared(session, sql).await;
        let rows = one.client.query(&one.prepared[sql], &values).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql} with {parameters:?}: {error:?}"));
        let cells = |row: &tokio_postgres::Row| (0..row.len()).map(|column| row.get::<_, Answer>(column).0).collect();
        rows.iter().map(cells).collect()
    }

    /// The only value that a query returns, as a number of its smallest units: `12.34` is 1234.
    ///
    /// # Panics
    /// Where it returns anything else.
    pub async fn number(&mut self, session: &str, sql: &str, parameters: &[Parameter]) -> i64 {
        let rows = self.query(session, sql, parameters).await;
        let [row] = rows.as_slice() else { panic!("{sql} with {parameters:?} returns {rows:?}") };
        let text =
            row.first().cloned().flatten().unwrap_or_else(|| panic!("{sql} with {parameters:?} returns {row:?}"));
        text.replace('.', "").parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// A transaction of these statements.
    pub async fn transaction(&mut self, session: &str, statements: &[(&str, &[Parameter])]) {
        self.execute(session, "BEGIN", &[]).await;
        for (sql, parameters) in statements {
            self.execute(session, sql, parameters).await;
        }
        self.execute(session, "COMMIT", &[]).await;
    }

    async fn simple(&mut self, session: &str, sql: &str, parameters: &[Parameter]) -> Vec<SimpleQueryMessage> {
        let text = with_literals(sql, parameters);
        let client = &self.session(session).await.client;
        client.simple_query(&text).await.unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    async fn prepared(&mut self, session: &str, sql: &str) -> &mut Session {
        let one = self.session(session).await;
        if !one.prepared.contains_key(sql) {
            let prepared = one.client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            one.prepared.insert(sql.to_owned(), prepared);
        }
        one
    }

    async fn session(&mut self, name: &str) -> &mut Session {
        if !self.sessions.contains_key(name) {
            let application = name.split('#').next().unwrap_or(name);
            let client = self.database.client(application).await;
            self.sessions.insert(name.to_owned(), Session { client, prepared: HashMap::new() });
        }
        self.sessions.get_mut(name).expect("it has just been opened")
    }
}

/// So many hundredths, as PostgreSQL prints a `numeric` with two digits after the point.
pub fn decimal(hundredths: i64) -> String {
    let sign = if hundredths < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", hundredths.abs() / 100, hundredths.abs() % 100)
}

/// The statement with its `$n` as quoted literals, as drivers do that have no parameters.
fn with_literals(sql: &str, parameters: &[Parameter]) -> String {
    let mut text = sql.to_owned();
    for (place, parameter) in parameters.iter().enumerate().rev() {
        text = text.replace(&format!("${}", place + 1), &parameter.to_string());
    }
    text
}

/// A scenario, recorded in one way.
pub struct Staged<'scenario, S> {
    scenario: &'scenario S,
    telling: Telling,
    seed: u64,
}

impl<'scenario, S: Scenario> Staged<'scenario, S> {
    /// The scenario, with the chance of this seed, recorded in this way.
    pub fn new(scenario: &'scenario S, telling: Telling, seed: u64) -> Self {
        Staged { scenario, telling, seed }
    }
}

impl<S: Scenario> Incident for Staged<'_, S> {
    fn name(&self) -> &'static str {
        self.scenario.name()
    }

    fn release(&self) -> &'static str {
        "v42"
    }

    fn settings(&self) -> String {
        let rules = if self.scenario.rules().is_empty() { "" } else { "rules = [\"rules\"]\n" };
        format!("[audit]\n{rules}{}", self.scenario.settings())
    }

    fn files(&self) -> Vec<(&'static str, String)> {
        let files = [("rules/rules.yaml", self.scenario.rules()), ("faults.yaml", self.scenario.faults())];
        files.into_iter().filter(|(_, text)| !text.is_empty()).collect()
    }

    fn external_tables(&self) -> &'static [&'static str] {
        self.scenario.external_tables()
    }

    async fn record(&self, database: &Database<'_>, world: World) -> Recording {
        let recorder = database.client(recording::RECORDER).await;
        recorder.batch_execute(&self.scenario.schema()).await.unwrap_or_else(|error| panic!("schema: {error:?}"));
        drop(recorder);
        recording::begin(database).await;
        let random = Random::from_seed(self.seed);
        let mut stage = Stage { random, world, telling: self.telling, database, sessions: HashMap::new() };
        self.scenario.run(&mut stage).await;
        drop(stage);
        recording::end(database, self.telling).await
    }
}

/// Records the scenario in this way, and traces and repairs it by its rules and by its faults, as far as it has them.
pub async fn figures_of<S: Scenario>(scenario: &S, telling: Telling, seed: u64) -> Vec<Figures> {
    let incident = Staged::new(scenario, telling, seed);
    let histories = Histories::record(&incident).await;
    assert!(!histories.truth.is_empty(), "{} broke nothing: there is no incident", scenario.name());
    let mut figures = Vec::new();
    let told = |way: &str| match telling {
        Telling::Log => way.to_owned(),
        Telling::Decoded => format!("{way}, decoded"),
        Telling::Literals => format!("{way}, literals"),
        Telling::Events => format!("{way}, no log"),
    };
    if !scenario.rules().is_empty() {
        histories.assert_rules_hold_in_right_world();
        figures.push(histories.prove(&told("rules"), &[]).await);
    }
    if !scenario.faults().is_empty() {
        figures.push(histories.prove(&told("faults"), &["--faults", "faults.yaml"]).await);
    }
    figures
}

/// Prints the scenario's figures for each of these ways of recording it, holds them to the proof, and hands them on.
pub async fn prove<S: Scenario>(scenario: &S, ways: &[Telling]) -> Vec<Figures> {
    let mut all = Vec::new();
    for telling in ways {
        all.extend(figures_of(scenario, *telling, 42).await);
    }
    assert!(!all.is_empty(), "{} has neither rules nor faults", scenario.name());
    println!("{HEADING}");
    all.iter().for_each(|figures| println!("{figures}"));
    all.iter().for_each(Figures::assert_proof);
    all
}
