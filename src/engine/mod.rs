//! Where queries run: here, or on a cluster. The only room that knows.
//!
//! In: nothing but a choice of engine. Out: a [`SessionContext`] whose SQL has PostgreSQL's meaning as far as ours goes,
//! and what a query needs to run many times with other values: [`ValueCell`]s and [`LiveTable`]s. Where it runs on a
//! PostgreSQL, [`postgres`] makes the connection.

mod arithmetic;
mod conversion;
mod correlated_columns;
mod error;
mod intervals;
mod letters;
mod literals;
mod live;
mod memory;
mod numeric;
mod own_digits;
pub mod postgres;
mod precedence;
mod projected_exists;
mod single_row;
mod subqueries;
mod texts;
mod zone_functions;
mod zones;

pub use error::EngineError;
pub use live::{LiveTable, ValueCell};
pub use memory::{in_memory_of, is_out_of_memory, joining_on_disk, stream_of};
pub use precedence::bind_distinct_from;
pub use zone_functions::AT_TIME_ZONE;
pub use zones::assigned_in_zone;

use std::num::NonZero;
use std::sync::Arc;

use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::optimizer::Analyzer;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::model::TimeZone;
use texts::Digits;

/// A session in which `12.30` is a decimal and not a binary float, decimals divide as PostgreSQL divides them, and
/// names fold to lower case. Its time zone is UTC.
pub fn session_context() -> SessionContext {
    session_context_in(&TimeZone::utc())
}

/// The same in a time zone.
pub fn session_context_in(zone: &TimeZone) -> SessionContext {
    session_context_of(1, Digits::Trimmed, zone)
}

/// The same for statements that are run again: what rests on something that only their database knows is an error.
pub fn statement_context(zone: &TimeZone) -> SessionContext {
    let context = session_context_of(1, Digits::Refused, zone);
    letters::register(&context);
    context
}

/// The same for a query whose rows may come in any order: it uses every core that this process may use.
pub fn parallel_session_context(zone: &TimeZone) -> SessionContext {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    session_context_of(cores, Digits::Trimmed, zone)
}

fn session_context_of(partitions: usize, digits: Digits, zone: &TimeZone) -> SessionContext {
    let config = SessionConfig::new()
        .with_information_schema(false)
        .with_target_partitions(partitions)
        .with_default_catalog_and_schema("blast_radius", "public")
        .set_bool("datafusion.sql_parser.parse_float_as_decimal", true)
        .set_str("datafusion.sql_parser.dialect", "PostgreSQL")
        // A `timestamptz` in a text is of the type that a column of that type has; what it means is its zone's to say.
        .set_str("datafusion.execution.time_zone", "UTC")
        // Filters that a plan learns while it runs would be wrong when it runs again on other rows.
        .set_bool("datafusion.optimizer.enable_dynamic_filter_pushdown", false);
    let mut rules = Analyzer::new().rules;
    if digits == Digits::Refused {
        rules.insert(0, Arc::new(literals::IntegerLiterals));
    }
    rules.push(Arc::new(correlated_columns::CorrelatedColumns));
    rules.push(Arc::new(subqueries::PostgresSubqueries));
    rules.push(Arc::new(projected_exists::ProjectedExists));
    rules.push(Arc::new(zones::SessionZone { zone: zone.clone(), is_statement: digits == Digits::Refused }));
    rules.push(Arc::new(texts::PostgresCasts { digits }));
    let mut builder = SessionStateBuilder::new_with_default_features().with_config(config).with_analyzer_rules(rules);
    // The first planner that answers wins.
    let planners = builder.expr_planners().get_or_insert_default();
    planners.insert(0, Arc::new(numeric::DivisionPlanner));
    planners.insert(1, Arc::new(arithmetic::ArithmeticPlanner));
    if digits == Digits::Refused {
        planners.insert(0, Arc::new(arithmetic::LiteralPlanner));
    }
    let context = SessionContext::new_with_state(builder.build());
    conversion::register(&context);
    numeric::register(&context);
    zone_functions::register(&context);
    context
}
