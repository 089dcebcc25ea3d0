//! Running a statement again over one of the two worlds, as of its moment.
//!
//! In: a statement, its parameters, its transaction's time, and the rolling tables. Out: what it writes or returns
//! there. What the engine cannot evaluate as PostgreSQL does is refused with a reason, never approximated.

mod answers;
mod compiled;
mod derived;
mod display_scale;
mod expression;
mod parameters;
mod row_subqueries;
mod statement;
mod translate;
mod write;

pub use compiled::{CompiledQuery, Execution, OverriddenRows, constant_values};
pub use derived::DerivedQuery;
pub use expression::Evaluator;
pub use statement::{Compiled, SessionZones, Statements};
pub use translate::Language;
pub use write::{CompiledWrite, Effect, Effects, TableWrite, Updated};

/// Why a statement cannot be run again: a fragment that fits "… because it …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl From<crate::sql::SqlError> for Refusal {
    fn from(error: crate::sql::SqlError) -> Self {
        Refusal(format!("failed to {error}"))
    }
}

impl From<datafusion::error::DataFusionError> for Refusal {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        // What wraps it says where in the engine it came up.
        Refusal(error.find_root().strip_backtrace())
    }
}

impl From<crate::catalog::CatalogError> for Refusal {
    fn from(error: crate::catalog::CatalogError) -> Self {
        Refusal(format!("failed to {error}"))
    }
}
