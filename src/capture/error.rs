//! What stops the reading of an input. A damaged line does not: it becomes a [`crate::model::RejectedLine`].

use std::sync::Arc;

/// An input that cannot be read at all, or whose format cannot be told. Messages fit "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// An input that cannot be opened.
    #[error("open {input}: {source}")]
    Open {
        /// The input's name.
        input: Arc<str>,
        /// What the system says.
        source: std::io::Error,
    },
    /// An input that broke off while it was read (a disk or a pipe, not its content).
    #[error("read {input} after line {line}: {source}")]
    Read {
        /// The input's name.
        input: Arc<str>,
        /// The last line that was read whole.
        line: u64,
        /// What the system says.
        source: std::io::Error,
    },
    /// Content that no format recognises.
    #[error("tell the format of {input}: its first lines look like none of {known}; name one with --format")]
    UnknownContent {
        /// The input's name.
        input: Arc<str>,
        /// The formats there are.
        known: String,
    },
    /// A plain log whose lines begin with no prefix that is known.
    #[error("tell the log_line_prefix of {input}: name what SHOW log_line_prefix prints with --log-line-prefix")]
    UnknownPrefix {
        /// The input's name.
        input: Arc<str>,
    },
    /// A `log_line_prefix` that no line could be read with.
    #[error("read the log_line_prefix '{setting}': {reason}")]
    LogLinePrefix {
        /// The setting as it was named.
        setting: String,
        /// What is wrong.
        reason: String,
    },
    /// A format's name that there is not.
    #[error("find the format '{name}': expected auto or one of {known}")]
    UnknownFormat {
        /// The name asked for.
        name: String,
        /// The formats there are.
        known: String,
    },
    /// Who takes the recordings wants no more.
    #[error("read {input} to its end: the receiving end stopped")]
    Stopped {
        /// The input's name.
        input: Arc<str>,
    },
    /// An event that is no write event, or for which there is no room: it was not taken.
    #[error("write the event: {reason}")]
    Event {
        /// What is wrong.
        reason: String,
    },
    /// Events that an output does not take: they wait in memory.
    #[error("write events ({waiting} wait in memory to be flushed again): {source}")]
    EventOutput {
        /// How many wait.
        waiting: usize,
        /// What the system says.
        source: std::io::Error,
    },
    /// A live database that refuses, or does not answer any more.
    #[error("{action}: {reason}")]
    Database {
        /// What was tried.
        action: String,
        /// What the server says.
        reason: String,
        /// Whether the connection is gone: trying again on another may succeed.
        lost: bool,
    },
    /// What a role or a server lacks to be recorded.
    #[error("install the recording as {role}; what is missing:{}", missing.iter().map(|one| format!("\n  {one}")).collect::<String>())]
    MissingRights {
        /// The role that tried.
        role: String,
        /// Each with what to do about it.
        missing: Vec<String>,
    },
    /// A database without a recording.
    #[error("find the recording of this database: run blast-radius capture install first")]
    NotInstalled,
    /// A slot that is gone, or that lost its log.
    #[error(
        "read the slot {slot}: {reason}; what was written since it was last pulled is not recorded: run blast-radius capture install to begin anew"
    )]
    SlotLost {
        /// The slot.
        slot: String,
        /// What happened to it.
        reason: &'static str,
    },
}
