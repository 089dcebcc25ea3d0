//! `sources`: which inputs were read, and how they were then.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};

use super::StoreError;
use super::batch::{BatchBuilder, POSITION, ReadBatch, integer_at, text_at, time_at};
use crate::model::Timestamp;

/// The table's folder within the store.
pub(super) const FOLDER: &str = "sources";

/// An input as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The input's name, as rejected lines call it.
    pub name: Arc<str>,
    /// Its size in bytes as it is stored.
    pub bytes: u64,
    /// When it was last changed, where the system says.
    pub modified: Option<Timestamp>,
    /// The BLAKE3 hash of its bytes as they are stored.
    pub content: [u8; 32],
    /// How many lines it has.
    pub lines: u64,
    /// The format it was read in; `None` for an input without a line.
    pub format: Option<Arc<str>>,
    /// When it was read.
    pub read: Timestamp,
}

/// The inputs that were read before, each as it was the last time.
#[derive(Clone, Debug, Default)]
pub struct KnownSources(HashMap<Arc<str>, (i64, Source)>);

impl KnownSources {
    /// The input of this name as it was when it was last read.
    pub fn get(&self, name: &str) -> Option<&Source> {
        self.0.get(name).map(|(_, source)| source)
    }

    /// Whether the input was read when it had this size and this time of change, so that nothing new is in it.
    /// Without a time of change that cannot be said.
    pub fn is_unchanged(&self, name: &str, bytes: u64, modified: Option<Timestamp>) -> bool {
        let same = |source: &Source| source.bytes == bytes && source.modified == modified;
        modified.is_some() && self.get(name).is_some_and(same)
    }

    pub(super) fn add(&mut self, position: i64, source: Source) {
        match self.0.get(&source.name) {
            Some((later, _)) if *later > position => {}
            _ => {
                self.0.insert(Arc::clone(&source.name), (position, source));
            }
        }
    }
}

/// Inputs, each with its place in the order of arrival, as one batch.
pub(super) fn batch_of_sources(rows: &[(i64, &Source)]) -> Result<RecordBatch, StoreError> {
    let integers = |number: fn(&Source) -> u64| -> Result<Vec<i64>, StoreError> {
        let integer = |row: &(i64, &Source)| i64::try_from(number(row.1));
        rows.iter().map(integer).collect::<Result<_, _>>().map_err(|error| StoreError::record(FOLDER, error))
    };
    let (bytes, lines) = (integers(|source| source.bytes)?, integers(|source| source.lines)?);
    let sources = || rows.iter().map(|(_, source)| *source);
    let hashes: Vec<String> = sources().map(|source| blake3::Hash::from_bytes(source.content).to_string()).collect();
    let mut batch = BatchBuilder::default();
    batch.integer(POSITION, rows.iter().map(|(position, _)| Some(*position)));
    batch.text("name", sources().map(|source| Some(source.name.as_ref())));
    batch.integer("bytes", bytes.into_iter().map(Some));
    batch.time("modified", sources().map(|source| source.modified));
    batch.text("blake3", hashes.iter().map(|hash| Some(hash.as_str())));
    batch.integer("lines", lines.into_iter().map(Some));
    batch.text("format", sources().map(|source| source.format.as_deref()));
    batch.time("read", sources().map(|source| Some(source.read)));
    batch.finish(FOLDER)
}

/// What [`batch_of_sources`] wrote, read back.
pub(super) fn sources_of_batch(batch: &RecordBatch, known: &mut KnownSources) -> Result<(), StoreError> {
    let read = ReadBatch { batch, table: FOLDER };
    let (positions, bytes, lines) = (read.integer(POSITION)?, read.integer("bytes")?, read.integer("lines")?);
    let (names, hashes, formats) = (read.text("name")?, read.text("blake3")?, read.text("format")?);
    let (modified, times) = (read.time("modified")?, read.time("read")?);
    for row in 0..names.len() {
        let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let hash = text_at(&hashes, row).and_then(|hash| blake3::Hash::from_hex(hash).ok());
        let source = Source {
            name: Arc::from(read.required(text_at(&names, row), "name")?),
            bytes: read.required(count(integer_at(&bytes, row)), "bytes")?,
            modified: time_at(&modified, row),
            content: read.required(hash, "blake3")?.into(),
            lines: read.required(count(integer_at(&lines, row)), "lines")?,
            format: text_at(&formats, row).map(Arc::from),
            read: read.required(time_at(&times, row), "read")?,
        };
        known.add(read.required(integer_at(&positions, row), POSITION)?, source);
    }
    Ok(())
}
