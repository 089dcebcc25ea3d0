//! What was recorded, brought into the store: the inputs that the project file names, or that a command is given.

use std::collections::HashSet;
use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::diagnostic::{Failure, SourceLine};
use crate::capture::{self, CaptureError, FormatChoice, Input, ReadSummary};
use crate::model::{RejectedLine, Timestamp};
use crate::project::{FilePattern, Project, ProjectError, SourceLocation};
use crate::store::{Appended, Ingestion, KnownSources, Source, Store, StoreError};

/// So many rejected lines are shown; all of them are in the store.
const SHOWN_REJECTED: usize = 10;
/// Batches read ahead of the store.
const BATCHES_AHEAD: usize = 2;

/// An ingest that could not be done; nothing of it is stored. Messages fit "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Nothing to read.
    #[error("ingest: name files, or name them under [ingest] files in {project}")]
    NothingNamed {
        /// The project file.
        project: PathBuf,
    },
    /// A pattern of the project file that no file matches.
    #[error(
        "find a file for the pattern \"{pattern}\" ({}:{})", .location.file.display(), .location.line
    )]
    NoMatch {
        /// The pattern as it is written.
        pattern: String,
        /// Where it is written.
        location: Box<SourceLocation>,
    },
    /// A folder or a file that cannot be looked at.
    #[error("look at {path}: {reason}")]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Damaged lines, where none were allowed.
    #[error("ingest with --strict (damaged lines: {rejected}, so nothing is stored){}", shown(.first))]
    Damaged {
        /// How many there are.
        rejected: u64,
        /// The first of them.
        first: Vec<RejectedLine>,
    },
    /// An input that cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A store that cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The reader of an input broke down.
    #[error("read {input}: its reader broke down: {reason}")]
    Reader {
        /// The input's name.
        input: Arc<str>,
        /// What is known of it.
        reason: String,
    },
}

impl IngestError {
    /// The place in the project file that is meant, if one is.
    pub fn location(&self) -> Option<&SourceLocation> {
        match self {
            IngestError::NoMatch { location, .. } => Some(location),
            _ => None,
        }
    }
}

impl From<IngestError> for Failure {
    fn from(error: IngestError) -> Self {
        match error.location().map(source_line) {
            Some(line) => Failure::new(&error).at(line, "no file matches this", None),
            None => Failure::new(error),
        }
    }
}

impl From<ProjectError> for Failure {
    fn from(error: ProjectError) -> Self {
        match &error {
            ProjectError::Invalid { location, reason } => {
                Failure::new("understand the project file").at(source_line(location), reason, None)
            }
            ProjectError::Environment { location, name, problem } => {
                let what = format!("{name} {problem}");
                Failure::new("read the database URL from the environment").at(source_line(location), what, None)
            }
            ProjectError::NotFound { .. } | ProjectError::Unreadable { .. } => Failure::new(error),
        }
    }
}

fn source_line(location: &SourceLocation) -> SourceLine {
    SourceLine {
        file: location.file.display().to_string(),
        line: location.line,
        column: location.column,
        text: location.line_text.clone(),
    }
}

/// What came of an ingest.
#[derive(Clone, Debug, Default)]
pub struct IngestSummary {
    /// The inputs that were read, in order.
    pub inputs: Vec<InputSummary>,
    /// How many inputs were passed over, because nothing changed in them since they were read.
    pub unchanged: u64,
    /// The first lines that could not be read.
    pub first_rejected: Vec<RejectedLine>,
}

/// What came of one input.
#[derive(Clone, Debug)]
pub struct InputSummary {
    /// The input's name.
    pub name: Arc<str>,
    /// What was read.
    pub read: ReadSummary,
    /// What of it is new in the store.
    pub appended: Appended,
}

impl IngestSummary {
    /// How much is new in the store.
    pub fn appended(&self) -> Appended {
        let mut sum = Appended::default();
        self.inputs.iter().for_each(|input| sum += input.appended);
        sum
    }

    /// How many lines could not be read, those among them that the store knew already.
    pub fn rejected(&self) -> u64 {
        self.inputs.iter().map(|input| input.read.rejected).sum()
    }
}

/// For people: a line for each input, then the first rejected lines.
impl fmt::Display for IngestSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for InputSummary { name, read, appended } in &self.inputs {
            let format = read.format.unwrap_or("empty");
            let Appended { writes, log, lineage, duplicates, .. } = appended;
            write!(formatter, "{name} ({format}): lines {}, new writes {writes}, new log events {log}", read.lines)?;
            if *lineage > 0 {
                write!(formatter, ", new lineage statements {lineage}")?;
            }
            writeln!(formatter, ", known before {duplicates}, rejected {}", read.rejected)?;
        }
        if self.unchanged > 0 {
            writeln!(formatter, "inputs unchanged since they were read: {}", self.unchanged)?;
        }
        let rejected = self.rejected();
        if rejected > 0 {
            writeln!(formatter, "rejected lines: {rejected}{}", shown(&self.first_rejected))?;
        }
        Ok(())
    }
}

fn shown(lines: &[RejectedLine]) -> String {
    let line = |line: &RejectedLine| format!("\n  {}:{}: {}", line.source, line.line, line.reason);
    lines.iter().map(line).collect()
}

/// Which inputs to read.
pub(super) enum Wanted {
    /// Every one.
    All,
    /// Those that are not as they were when they were last read.
    New,
}

/// Where an input comes from.
pub(super) enum Recorded {
    /// A file, and the name that it has in the store.
    File(PathBuf, Arc<str>),
    /// What can be read once, such as a named pipe.
    Stream(PathBuf),
    /// Standard input.
    StandardInput,
}

/// Reads the inputs of `[ingest] files`, where new or grown, into the store; to be called before every job.
///
/// # Errors
/// A pattern that no file matches, an input that cannot be read, a store that cannot be written: nothing is stored.
pub async fn read_new(project: &Project, store: &mut Store) -> Result<IngestSummary, IngestError> {
    let files = named_files(project)?;
    read_all(store, files, &FormatChoice::AUTO, &Wanted::New, false).await
}

/// The files that the patterns of the project file match, each once, in the order of the patterns and then by name.
pub(super) fn named_files(project: &Project) -> Result<Vec<Recorded>, IngestError> {
    let mut seen = HashSet::new();
    let mut files = Vec::new();
    for pattern in &project.ingest {
        for path in matches(pattern)? {
            let file = file(project, &path)?;
            if let Recorded::File(_, name) = &file
                && seen.insert(Arc::clone(name))
            {
                files.push(file);
            }
        }
    }
    Ok(files)
}

fn matches(pattern: &FilePattern) -> Result<Vec<PathBuf>, IngestError> {
    let no_match =
        || IngestError::NoMatch { pattern: pattern.written.clone(), location: Box::new(pattern.location.clone()) };
    let paths = glob::glob(&pattern.pattern).map_err(|_| no_match())?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|error| IngestError::Unreadable {
            path: error.path().to_owned(),
            reason: error.error().to_string(),
        })?;
        if !path.is_dir() {
            files.push(path);
        }
    }
    if files.is_empty() { Err(no_match()) } else { Ok(files) }
}

/// A file by the name that it has in the store: relative to the project where it lies in it, so that a project can be
/// moved with its store.
pub(super) fn file(project: &Project, path: &Path) -> Result<Recorded, IngestError> {
    if !metadata(path)?.is_file() {
        return Ok(Recorded::Stream(path.to_owned()));
    }
    let absolute = |path: &Path| path.canonicalize().map_err(|error| unreadable(path, &error));
    let path = absolute(path)?;
    let folder = absolute(&project.folder)?;
    let name = path.strip_prefix(&folder).unwrap_or(&path).to_string_lossy();
    let name = Arc::from(name.as_ref());
    Ok(Recorded::File(path, name))
}

fn metadata(path: &Path) -> Result<std::fs::Metadata, IngestError> {
    std::fs::metadata(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, reason: &impl ToString) -> IngestError {
    IngestError::Unreadable { path: path.to_owned(), reason: reason.to_string() }
}

/// Reads inputs into the store, as one ingest: seen whole or not at all.
pub(super) async fn read_all(
    store: &mut Store,
    inputs: Vec<Recorded>,
    format: &FormatChoice,
    wanted: &Wanted,
    strict: bool,
) -> Result<IngestSummary, IngestError> {
    let mut summary = IngestSummary::default();
    let mut sources = Vec::new();
    let known = store.sources().await?;
    let mut ingestion = store.begin();
    for input in inputs {
        let (input, modified) = match input {
            Recorded::StandardInput => (Input::standard_input(), None),
            Recorded::Stream(path) => (Input::file(&path, path.to_string_lossy())?, None),
            Recorded::File(path, name) => {
                let (bytes, modified) = size_and_time(&path)?;
                if matches!(wanted, Wanted::New) && is_read(&known, &path, &name, bytes, modified).await? {
                    summary.unchanged += 1;
                    continue;
                }
                (Input::file(&path, name)?, Some(modified))
            }
        };
        let name = Arc::clone(input.name());
        let (read, appended) = read_one(input, format.clone(), &mut ingestion, &mut summary.first_rejected).await?;
        if let Some(modified) = modified {
            sources.push(source(&name, &read, modified));
        }
        summary.inputs.push(InputSummary { name, read, appended });
    }
    if strict && summary.rejected() > 0 {
        return Err(IngestError::Damaged { rejected: summary.rejected(), first: summary.first_rejected });
    }
    ingestion.finish(&sources).await?;
    Ok(summary)
}

async fn read_one(
    input: Input,
    format: FormatChoice,
    ingestion: &mut Ingestion<'_>,
    first_rejected: &mut Vec<RejectedLine>,
) -> Result<(ReadSummary, Appended), IngestError> {
    let name = Arc::clone(input.name());
    let (sender, mut receiver) = tokio::sync::mpsc::channel(BATCHES_AHEAD);
    let reader = tokio::task::spawn_blocking(move || {
        capture::read(input, &format, &mut |recording| match sender.blocking_send(recording) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        })
    });
    let mut appended = Appended::default();
    while let Some(recording) = receiver.recv().await {
        let room = SHOWN_REJECTED.saturating_sub(first_rejected.len());
        first_rejected.extend(recording.rejected.iter().take(room).cloned());
        // Left with an error, the receiver is dropped, and the reader stops with its next batch.
        appended += ingestion.append(&recording).await?;
    }
    appended += ingestion.settle().await?;
    let read = reader.await.map_err(|error| IngestError::Reader { input: name, reason: error.to_string() })??;
    Ok((read, appended))
}

/// Whether the store has read the file as it is now: by size and time of change, or else by its content.
async fn is_read(
    known: &KnownSources,
    path: &Path,
    name: &Arc<str>,
    bytes: u64,
    modified: Option<Timestamp>,
) -> Result<bool, IngestError> {
    if known.is_unchanged(name, bytes, modified) {
        return Ok(true);
    }
    let Some(source) = known.get(name).filter(|source| source.bytes == bytes) else { return Ok(false) };
    let hashed_path = path.to_owned();
    let hash = tokio::task::spawn_blocking(move || {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(std::fs::File::open(hashed_path)?)?;
        Ok::<_, std::io::Error>(hasher.finalize())
    });
    let hash = hash.await.map_err(|error| unreadable(path, &error))?;
    Ok(hash.map_err(|error| unreadable(path, &error))? == source.content)
}

fn size_and_time(path: &Path) -> Result<(u64, Option<Timestamp>), IngestError> {
    let metadata = metadata(path)?;
    // Some file systems keep no time of change; then the content decides.
    let since_epoch = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let micros = since_epoch.and_then(|time| i64::try_from(time.as_micros()).ok());
    Ok((metadata.len(), micros.map(Timestamp::from_micros)))
}

fn source(name: &Arc<str>, read: &ReadSummary, modified: Option<Timestamp>) -> Source {
    Source {
        name: Arc::clone(name),
        bytes: read.bytes,
        modified,
        content: read.content,
        lines: read.lines,
        format: read.format.map(Arc::from),
        read: Timestamp::from_micros(jiff::Timestamp::now().as_microsecond()),
    }
}
