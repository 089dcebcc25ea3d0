//! What transactions read that wrote nothing: counted by template, as there are many of them.

use std::collections::HashMap;

use super::attribution::Attributor;
use super::sessions::LoggedTransaction;
use crate::model::{Reading, Release};
use crate::sql::{Role, Scanner};

/// The queries of these transactions, in the order in which their templates were first met.
pub fn readings(transactions: &[&LoggedTransaction], attributor: &Attributor<'_>) -> Vec<Reading> {
    let mut readings: Vec<Reading> = Vec::new();
    let mut places: HashMap<(Box<[u8]>, Option<Release>), usize> = HashMap::new();
    let mut scanner = Scanner::default();
    for transaction in transactions {
        let texts: Vec<&str> = transaction.statements.iter().map(|statement| statement.sql.as_ref()).collect();
        let application_name = transaction.application_name.as_deref();
        let attribution = attributor.attribute_unwritten(&texts, application_name, transaction.committed);
        let release = attribution.map(|attribution| attribution.release);
        for statement in transaction.statements.iter().filter(|statement| statement.role == Role::Read) {
            scanner.scan(&statement.sql);
            let at = statement.started;
            let place = *places.entry((scanner.key().into(), release.clone())).or_insert(readings.len());
            match readings.get_mut(place) {
                Some(reading) => {
                    reading.executions += 1;
                    (reading.first, reading.last) = (reading.first.min(at), reading.last.max(at));
                }
                None => readings.push(Reading {
                    sql: statement.sql.clone(),
                    release: release.clone(),
                    executions: 1,
                    first: at,
                    last: at,
                }),
            }
        }
    }
    readings
}
