//! What the built-in evaluator makes of a query of PostgreSQL's: the same path as a statement that is run again.

use super::{Compiled, Execution, Refusal, SessionZones, Statements};
use crate::catalog::{RollingTables, World, value_from_array};
use crate::model::{ColumnType, TimeZone, Timestamp, Value};
use crate::sql::Schemas;

/// Evaluates queries as a trace does.
pub struct Evaluator(Statements);

impl Evaluator {
    /// Over tables of these shapes, in a time zone.
    pub fn new(schemas: Schemas, zone: &TimeZone) -> Self {
        Evaluator(Statements::new(schemas, SessionZones { database: zone.clone(), session: zone.clone() }))
    }

    /// The rows of a query over the tables as they stand, its columns read as these types; `time` is what `now()` gives.
    ///
    /// # Errors
    /// What the evaluator does not run as PostgreSQL does, and values that it cannot compute.
    pub async fn rows(
        &mut self,
        tables: &mut RollingTables,
        sql: &str,
        types: &[ColumnType],
        time: Timestamp,
    ) -> Result<Vec<Vec<Value>>, Refusal> {
        let compiled = self.0.statement(&sql.into(), &[], None);
        let query = match compiled.as_ref() {
            Compiled::Read(query) => query,
            Compiled::Refused { reason, .. } => return Err(reason.clone()),
            Compiled::Write(_) | Compiled::Nothing => return Err(Refusal("is not a query".to_owned())),
        };
        let execution = Execution { parameters: &[], time, overridden: None };
        let mut rows = Vec::new();
        for batch in query.run(tables, World::Actual, execution).await? {
            for position in 0..batch.num_rows() {
                let cell = |(array, column_type)| {
                    value_from_array(array, position, column_type)
                        .map_err(|error| Refusal(format!("failed to {error}")))
                };
                rows.push(batch.columns().iter().zip(types).map(cell).collect::<Result<_, _>>()?);
            }
        }
        Ok(rows)
    }
}
