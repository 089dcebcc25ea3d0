//! `status`: what is recorded and how completely, what could not be traced or repaired, and how the rules came out.

use std::collections::BTreeSet;

use crate::audit::trends;
use crate::cli::ExitStatus;
use crate::cli::arguments::GlobalArguments;
use crate::cli::diagnostic::Failure;
use crate::cli::investigation::Investigation;
use crate::cli::output::write_result;
use crate::lineage::Coverage;
use crate::model::TableName;
use crate::report::status::{STATUS_FORMATS, Status};

/// Tells how the project that the current folder belongs to stands.
///
/// # Errors
/// An unknown format; a project, database, store or input that cannot be read.
pub async fn status(global: &GlobalArguments) -> Result<ExitStatus, Failure> {
    let format = global.format.as_deref().unwrap_or(STATUS_FORMATS[0]);
    if !STATUS_FORMATS.contains(&format) {
        return Err(Failure::new(format!("print as '{format}': no such format"))
            .with_help(format!("Formats: {}.", STATUS_FORMATS.join(", "))));
    }
    let investigation = Investigation::open().await?;
    let store = &investigation.store;
    let tables = investigation.project.tables.iter();
    let external: BTreeSet<TableName> =
        tables.filter(|(_, settings)| settings.external).map(|(table, _)| table.clone()).collect();
    let told = Status {
        store: store.location(),
        coverage: &Coverage::of(&investigation.history, investigation.schemas()),
        limits: &investigation.history.limits,
        rejected: store.rejected().await?.len(),
        external: &external,
        trends: &trends(&store.audits().await?),
    };
    write_result(global, |out| Ok(told.write(format, out)?))?;
    Ok(if told.finds_something() { ExitStatus::Found } else { ExitStatus::NothingFound })
}
