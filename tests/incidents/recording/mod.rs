//! A history on a real PostgreSQL, recorded as an application would record it.
//!
//! In: a database with its tables and first rows, and whatever runs between [`begin`] and [`end`]. Out: the write events
//! that an outbox collected, in commit order, and PostgreSQL's own log of the sessions that ran.

mod outbox;

use std::collections::HashSet;

use serde_json::Value;

use crate::postgres::Database;

/// The `application_name` of the sessions that set up and record, and are no part of the history.
pub const RECORDER: &str = "recorder";

/// Which of the two histories runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// What happened.
    Faulty,
    /// What would have happened had the release written what it should have.
    Right,
}

/// What a recording holds, a line each.
pub struct Recording {
    /// Write events of the contract's §4.
    pub events: Vec<String>,
    /// PostgreSQL's `jsonlog`; empty where the events tell the SQL.
    pub log: Vec<String>,
}

/// Begins to record every write to a table of the schema `public`.
pub async fn begin(database: &Database<'_>) {
    outbox::install(&database.client(RECORDER).await).await;
}

/// Where a recording tells the SQL of its writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// In PostgreSQL's log, which tells what was read, too: prepared statements with parameters.
    Log,
    /// The same; the events leave out what the database computes, as logical decoding does before PostgreSQL 18.
    Decoded,
    /// In PostgreSQL's log, the values as literals in their text.
    Literals,
    /// In the events; there is no log.
    Events,
}

/// The example takes the recording in and uses a part of it: this names the rest, so that nothing is unused.
const _: () = {
    let _ = (Telling::Decoded, Telling::Events, Telling::Literals, Telling::is_prepared);
};

impl Telling {
    /// Whether statements are prepared, and their values parameters.
    pub fn is_prepared(self) -> bool {
        matches!(self, Telling::Log | Telling::Decoded)
    }
}

/// Ends the recording, once every session but ours has ended, and removes all that it needed from the database.
pub async fn end(database: &Database<'_>, telling: Telling) -> Recording {
    database.settled().await;
    let client = database.client(RECORDER).await;
    let events = outbox::drain(&client, telling).await;
    outbox::remove(&client).await;
    drop(client);
    let log = match telling {
        Telling::Log | Telling::Decoded | Telling::Literals => without_recorder(database.jsonlog().await),
        Telling::Events => Vec::new(),
    };
    Recording { events, log }
}

fn without_recorder(log: Vec<String>) -> Vec<String> {
    let parse = |line: &String| serde_json::from_str::<Value>(line).expect("the harness hands out JSON lines");
    let session = |entry: &Value| entry["session_id"].as_str().expect("a session's line names it").to_owned();
    let ours: HashSet<String> = log
        .iter()
        .map(parse)
        .filter(|entry| entry["application_name"] == RECORDER)
        .map(|entry| session(&entry))
        .collect();
    log.into_iter().filter(|line| !ours.contains(&session(&parse(line)))).collect()
}
