//! The durable history: append, read. Delta Lake tables on a folder (or any object store that is compiled in).
//!
//! In: [`crate::model::Recording`]s, each fact with its identity, so that what comes twice is stored once.
//! Out: the same facts, in the order of the contract.
//!
//! | table | rows |
//! |---|---|
//! | `writes/<schema>.<table>` | the write events of one table: its own columns, each as text, before and after |
//! | `log` | the events of the SQL logs |
//! | `stamps` | what transactions say of themselves in the stream of their changes: session, `application_name`, tags |
//! | `lineage` | what other tools state of what they read and wrote |
//! | `rejected` | lines that could not be read, with the reason |
//! | `sources` | which inputs were read, and how they were then |
//! | `audits` | how each rule came out in each audit |
//! | `graph` | the lineage graph's counts, as they were kept last |
//! | `commits` | one row for each finished ingest: the version of every table that belongs to it, how far each slot is stored, and what is known to be lost |
//!
//! Readers take the tables as the last row of `commits` says, so an ingest is seen whole or not at all. What an ingest
//! that was cut off left in the tables is taken back before the next one writes to them. What many ingests leave in small files is
//! put together into larger ones by an ingest that finds too many. `audits` and `graph` go by themselves: an audit, or a
//! graph that is kept, is one commit of its table.

mod audits_table;
mod batch;
mod commits;
mod compaction;
mod delta;
mod durable;
mod error;
mod graph_table;
mod ingestion;
mod lineage_table;
mod log_table;
mod open;
mod order;
mod placed;
mod rejected_table;
mod slots;
mod sources_table;
mod stamps_table;
mod writes_table;

pub use error::StoreError;
pub use graph_table::KeptGraph;
pub use ingestion::{Appended, Ingestion};
pub use log_table::complete as complete_log;
pub use open::Store;
pub use placed::PlacedRecords;
pub use slots::{Gap, SlotPlace};
pub use sources_table::{KnownSources, Source};
