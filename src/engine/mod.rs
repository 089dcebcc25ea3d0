//! Where queries run: here, or on a cluster. The only room that knows.
//!
//! In: nothing but a choice of engine. Out: a [`SessionContext`] whose SQL has PostgreSQL's meaning as far as ours goes.

mod single_row;
mod subqueries;

use std::sync::Arc;

use datafusion::prelude::{SessionConfig, SessionContext};

/// A session in which `12.30` is a decimal and not a binary float, and names fold to lower case as PostgreSQL folds them.
pub fn session_context() -> SessionContext {
    let config = SessionConfig::new()
        .with_information_schema(false)
        .with_target_partitions(1)
        .with_default_catalog_and_schema("blast_radius", "public")
        .set_bool("datafusion.sql_parser.parse_float_as_decimal", true)
        .set_str("datafusion.sql_parser.dialect", "PostgreSQL");
    let session = SessionContext::new_with_config(config);
    session.add_analyzer_rule(Arc::new(subqueries::PostgresSubqueries));
    session
}
