//! The repair and its undo, run on the database and rolled back.

use tokio_postgres::{Client, Transaction as DatabaseTransaction};

use super::RepairError;
use super::plan::RepairPlan;
use super::script::{Transaction, repair_transactions, undo_transactions};
use crate::engine::postgres::{ConnectionSettings, connect, described};

/// A change that the repair, or its undo, would leave alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftAlone {
    /// `repair` or `undo`.
    pub step: String,
    /// The table, quoted as in SQL.
    pub relation: String,
    /// The key, as JSON.
    pub key: String,
    /// `update`, `insert` or `delete`.
    pub operation: String,
    /// Why.
    pub reason: String,
}

/// What a rehearsal saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsal {
    /// Changes planned.
    pub planned: i64,
    /// Rows that the repair would change.
    pub changed: i64,
    /// Rows that the undo would give back.
    pub undone: i64,
    /// What either would leave alone.
    pub left_alone: Vec<LeftAlone>,
}

impl Rehearsal {
    /// Whether everything planned would be done, and could be undone.
    pub fn is_complete(&self) -> bool {
        self.planned == self.changed && self.changed == self.undone && self.left_alone.is_empty()
    }
}

/// Connects to `url`, as psql would, and rehearses there: see [`rehearse`].
///
/// # Errors
/// A database that does not answer, or refuses the repair.
pub async fn verify(url: &str, plan: &RepairPlan) -> Result<Rehearsal, RepairError> {
    let mut client = connect(&ConnectionSettings::from_environment(url)?).await?;
    rehearse(&mut client, plan).await
}

/// Runs the whole repair and then the whole undo in one transaction, and rolls it back. The rows stay locked meanwhile.
///
/// # Errors
/// SQL of the repair that the database refuses: a missing right, a table that is not there, a full disk.
pub async fn rehearse(client: &mut Client, plan: &RepairPlan) -> Result<Rehearsal, RepairError> {
    let failed = |step: &str, error: &tokio_postgres::Error| RepairError::Rehearse {
        step: step.to_owned(),
        reason: described(error),
    };
    let transaction = client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::ReadCommitted)
        .start()
        .await
        .map_err(|error| failed("repair", &error))?;
    for step in repair_transactions(plan) {
        run(&transaction, "repair", &step).await?;
    }
    let (planned, changed, _) = counts(&transaction, plan).await.map_err(|error| failed("repair", &error))?;
    for step in undo_transactions(plan) {
        run(&transaction, "undo", &step).await?;
    }
    let (_, _, undone) = counts(&transaction, plan).await.map_err(|error| failed("undo", &error))?;
    let left_alone = left_alone(&transaction, plan).await.map_err(|error| failed("undo", &error))?;
    transaction.rollback().await.map_err(|error| failed("rollback", &error))?;
    Ok(Rehearsal { planned, changed, undone, left_alone })
}

async fn run(database: &DatabaseTransaction<'_>, name: &str, step: &Transaction) -> Result<(), RepairError> {
    database
        .batch_execute(&step.body)
        .await
        .map_err(|error| RepairError::Rehearse { step: format!("{name} ({})", step.title), reason: described(&error) })
}

async fn counts(
    database: &DatabaseTransaction<'_>,
    plan: &RepairPlan,
) -> Result<(i64, i64, i64), tokio_postgres::Error> {
    let sql = "SELECT planned, coalesce(changed, 0), coalesce(undone, 0) FROM blast_radius.repair WHERE id = $1";
    let row = database.query_one(sql, &[&plan.id]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

async fn left_alone(
    database: &DatabaseTransaction<'_>,
    plan: &RepairPlan,
) -> Result<Vec<LeftAlone>, tokio_postgres::Error> {
    let sql = "SELECT step, relation, key::text, operation, reason FROM blast_radius.repair_skipped
               WHERE repair = $1 ORDER BY step, change";
    let rows = database.query(sql, &[&plan.id]).await?;
    rows.iter()
        .map(|row| {
            Ok(LeftAlone {
                step: row.try_get(0)?,
                relation: row.try_get(1)?,
                key: row.try_get(2)?,
                operation: row.try_get(3)?,
                reason: row.try_get(4)?,
            })
        })
        .collect()
}
