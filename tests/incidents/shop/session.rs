//! Database sessions of one application, as a driver with a statement cache uses them.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;

use bytes::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Error, SimpleQueryMessage, Statement};

use super::money::Money;
use crate::postgres::Database;

/// A parameter sent as text, whatever type the statement gives it: what most drivers do, and no digit gets lost.
#[derive(Debug)]
pub struct Parameter(Option<String>);

macro_rules! parameter_from {
    ($($source:ty),*) => {
        $(impl From<$source> for Parameter {
            fn from(value: $source) -> Self {
                Parameter(Some(value.to_string()))
            }
        })*
    };
}
parameter_from!(i64, usize, &str, &String, String, Money);

/// As an SQL literal.
impl fmt::Display for Parameter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(text) => write!(formatter, "'{}'", text.replace('\'', "''")),
            None => formatter.write_str("NULL"),
        }
    }
}

impl From<Option<String>> for Parameter {
    fn from(value: Option<String>) -> Self {
        Parameter(value)
    }
}

impl ToSql for Parameter {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let Some(text) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// One session.
pub struct Session {
    client: Client,
    prepared: HashMap<&'static str, Statement>,
}

impl Session {
    /// A new session under this `application_name`.
    pub async fn open(database: &Database<'_>, application_name: &str) -> Session {
        Session { client: database.client(application_name).await, prepared: HashMap::new() }
    }

    /// Runs a prepared statement, within the open transaction or else in one of its own; returns the rows written.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn try_execute(&mut self, sql: &'static str, parameters: &[Parameter]) -> Result<u64, Error> {
        let statement = match self.prepared.get(sql) {
            Some(statement) => statement.clone(),
            None => {
                let statement = self.client.prepare(sql).await?;
                self.prepared.insert(sql, statement.clone());
                statement
            }
        };
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|one| one as &(dyn ToSql + Sync)).collect();
        self.client.execute(&statement, &parameters).await
    }

    /// As [`Session::try_execute`], where the shop relies on the statement.
    pub async fn execute(&mut self, sql: &'static str, parameters: &[Parameter]) -> u64 {
        match self.try_execute(sql, parameters).await {
            Ok(rows) => rows,
            Err(error) => panic!("{sql} with {parameters:?}: {error:?}"),
        }
    }

    /// Runs SQL with its literals in it through the simple protocol, as drivers without parameters do, and returns the
    /// first row as text.
    pub async fn literal(&self, sql: &str) -> Option<Vec<String>> {
        let messages = self.client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect())
            }
            _ => None,
        })
    }
}

/// The few sessions that an application keeps open, each opened when it is first wanted.
pub struct Pool {
    application_name: &'static str,
    sessions: Vec<Option<Session>>,
}

impl Pool {
    /// A pool of `size` sessions, none of them open yet.
    pub fn new(application_name: &'static str, size: usize) -> Pool {
        Pool { application_name, sessions: (0..size).map(|_| None).collect() }
    }

    /// How many sessions it may hold.
    pub fn size(&self) -> usize {
        self.sessions.len()
    }

    /// The session of this number.
    pub async fn session(&mut self, database: &Database<'_>, number: usize) -> &mut Session {
        let session = &mut self.sessions[number];
        if session.is_none() {
            *session = Some(Session::open(database, self.application_name).await);
        }
        session.as_mut().expect("it has just been opened")
    }

    /// Breaks the session off where it stands; what it had not committed is rolled back.
    pub fn lose(&mut self, number: usize) {
        self.sessions[number] = None;
    }

    /// Ends every session, as the last instance of a release does when it is taken down.
    pub fn shut_down(&mut self) {
        self.sessions.iter_mut().for_each(|session| *session = None);
    }
}
