//! One input from its first line to its last.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::format::{Beginning, FormatChoice, LineOutcome, LineReader, known_formats};
use super::input::ContentSeal;
use super::lines::{KEPT_OF_TOO_LONG, Line, Lines};
use super::{CaptureError, Input};
use crate::model::{Recording, RecordingId, RejectedLine};

/// A batch is handed on, and stored while the next is read, once it holds so many records …
const BATCH_RECORDS: usize = 8_000;
/// … or comes from so many bytes.
const BATCH_BYTES: usize = 64 * 1024 * 1024;
/// The format is told from so many first lines …
const PROBED_LINES: usize = 1_000;
/// … and so many bytes.
const PROBED_BYTES: usize = 4 * 1024 * 1024;

/// What was read of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadSummary {
    /// The format it is in; `None` for an input without a line.
    pub format: Option<&'static str>,
    /// How many lines it has: as many as are recorded, ignored, rejected and blank.
    pub lines: u64,
    /// How many of them say something that is recorded.
    pub recorded: u64,
    /// How many of them are sound and say nothing of writes or statements.
    pub ignored: u64,
    /// How many records could not be read …
    pub rejected: u64,
    /// … and of how many lines these are: a record may have several, and what is missing of a damaged archive has none.
    pub rejected_lines: u64,
    /// How many of the lines are blank.
    pub blank: u64,
    /// Its size as it is stored, in bytes.
    pub bytes: u64,
    /// The BLAKE3 hash of its bytes as they are stored.
    pub content: [u8; 32],
}

/// Reads an input to its end, a batch at a time; `sink` breaks to stop early.
///
/// # Errors
/// An input that breaks off, whose format cannot be told, or whose sink stopped. What was handed on before stays so.
pub fn read(
    input: Input,
    format: &FormatChoice,
    sink: &mut dyn FnMut(Recording) -> ControlFlow<()>,
) -> Result<ReadSummary, CaptureError> {
    let name = Arc::clone(input.name());
    let (content, seal) =
        input.content().map_err(|source| CaptureError::Read { input: Arc::clone(&name), line: 0, source })?;
    let mut lines = Lines::new(content);
    let probed = lines.look_ahead(PROBED_LINES, PROBED_BYTES);
    let is_blank = probed.iter().all(|line| line.bytes.trim_ascii().is_empty());
    let found = format.for_lines(probed.iter().map(|line| line.bytes.as_slice()));
    let Some(found) = found else {
        if is_blank && probed.len() < PROBED_LINES {
            return Reading::new(name, Box::new(Blank), None, sink).run(lines, seal);
        }
        return Err(CaptureError::UnknownContent { input: name, known: known_formats() });
    };
    let mut reader = found.reader();
    reader.prepare(&Beginning { input: &name, lines: probed, log_line_prefix: format.log_line_prefix() })?;
    Reading::new(name, reader, Some(found.name()), sink).run(lines, seal)
}

/// An input without a line to read.
struct Blank;

impl LineReader for Blank {
    fn read_line(&mut self, _line: &str, _recording: &mut Recording) -> Result<LineOutcome, String> {
        Ok(LineOutcome::Ignored)
    }

    fn finish(&mut self, _recording: &mut Recording) {}
}

struct Reading<'sink> {
    name: Arc<str>,
    reader: Box<dyn LineReader>,
    sink: &'sink mut dyn FnMut(Recording) -> ControlFlow<()>,
    recording: Recording,
    batch_bytes: usize,
    /// The record whose lines are being collected.
    record: Option<Record>,
    summary: ReadSummary,
}

/// How a record is read: as one that others follow, or as the input's last.
type ReadRecord = fn(&mut (dyn LineReader + 'static), &str, &mut Recording) -> Result<LineOutcome, String>;

/// A record that may go on with the next line.
struct Record {
    /// Its first line.
    number: u64,
    /// How many lines it has so far.
    lines: u64,
    bytes: Vec<u8>,
    /// Whether its last line ended in a carriage return.
    carriage_return: bool,
    /// Whether the input ended within its last line.
    unfinished: bool,
}

impl<'sink> Reading<'sink> {
    fn new(
        name: Arc<str>,
        reader: Box<dyn LineReader>,
        format: Option<&'static str>,
        sink: &'sink mut dyn FnMut(Recording) -> ControlFlow<()>,
    ) -> Self {
        let summary = ReadSummary {
            format,
            lines: 0,
            recorded: 0,
            ignored: 0,
            rejected: 0,
            rejected_lines: 0,
            blank: 0,
            bytes: 0,
            content: [0; 32],
        };
        Reading { name, reader, sink, recording: Recording::default(), batch_bytes: 0, record: None, summary }
    }

    fn run(mut self, mut lines: Lines, seal: ContentSeal) -> Result<ReadSummary, CaptureError> {
        loop {
            match lines.next() {
                Ok(Some(line)) => self.line(line)?,
                Ok(None) => break,
                // The rest of a damaged archive cannot be read; that it is missing is one rejected line.
                Err(error) if seal.is_damage() => {
                    self.end_record(LineReader::read_last);
                    let number = lines.last_number() + 1;
                    let reason = format!("the compressed input is damaged from here on: {error}");
                    self.reject(number, 0, reason, String::new());
                    break;
                }
                Err(source) => {
                    return Err(CaptureError::Read { input: self.name, line: lines.last_number(), source });
                }
            }
        }
        self.end_record(LineReader::read_last);
        self.summary.lines = lines.last_number();
        self.reader.finish(&mut self.recording);
        self.hand_on()?;
        // Of a damaged archive only the part that was read is hashed: mended, it is another input.
        (self.summary.content, self.summary.bytes) = seal.finish();
        Ok(self.summary)
    }

    fn line(&mut self, line: Line) -> Result<(), CaptureError> {
        self.batch_bytes += line.bytes.len();
        let continues = self.reader.continues(&line.bytes);
        if let Some(length) = line.too_long {
            self.end_record(LineReader::read_line);
            let text = String::from_utf8_lossy(&line.bytes).into_owned();
            let reason = format!("the line has {length} bytes, more than any sound line; this is its beginning");
            self.reject(line.number, 1, reason, text);
        } else {
            match self.record.as_mut().filter(|_| continues) {
                Some(record) => record.add(line),
                None => {
                    self.end_record(LineReader::read_line);
                    self.record = Some(Record::begun(line));
                }
            }
            if self.record.as_ref().is_some_and(|record| record.bytes.len() > self.reader.longest_record()) {
                self.end_record(LineReader::read_line);
            }
        }
        let Recording { writes, log, stamps, lineage, rejected } = &self.recording;
        let records = writes.len() + log.len() + stamps.len() + lineage.len() + rejected.len();
        if records >= BATCH_RECORDS || self.batch_bytes >= BATCH_BYTES {
            self.hand_on()?;
        }
        Ok(())
    }

    fn end_record(&mut self, read: ReadRecord) {
        let Some(record) = self.record.take() else { return };
        if record.bytes.trim_ascii().is_empty() {
            self.summary.blank += record.lines;
            return;
        }
        if record.bytes.len() > self.reader.longest_record() && record.lines > 1 {
            let (length, lines) = (record.bytes.len(), record.lines);
            let reason = format!("the record has {length} bytes in {lines} lines and no end; this is its beginning");
            let beginning = record.bytes.get(..KEPT_OF_TOO_LONG).unwrap_or(&record.bytes);
            self.reject(record.number, lines, reason, String::from_utf8_lossy(beginning).into_owned());
            return;
        }
        let text = match String::from_utf8(record.bytes) {
            Ok(text) => text,
            Err(error) => {
                let reason = format!("not UTF-8 from byte {} on", error.utf8_error().valid_up_to() + 1);
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                self.reject(record.number, record.lines, reason, text);
                return;
            }
        };
        match read(self.reader.as_mut(), &text, &mut self.recording) {
            Ok(LineOutcome::Used) => self.summary.recorded += record.lines,
            Ok(LineOutcome::Ignored) => self.summary.ignored += record.lines,
            Err(reason) if record.unfinished => {
                let reason = format!("the input ends in the middle of this line: {reason}");
                self.reject(record.number, record.lines, reason, text);
            }
            Err(reason) => self.reject(record.number, record.lines, reason, text),
        }
    }

    /// Rejects the record that begins with this line and has so many.
    fn reject(&mut self, line: u64, lines: u64, reason: String, text: String) {
        let mut hasher = blake3::Hasher::new();
        for part in [b"rejected".as_slice(), self.name.as_bytes(), &line.to_le_bytes(), text.as_bytes()] {
            hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hasher.update(part);
        }
        let id = identity(&hasher);
        self.summary.rejected += 1;
        self.summary.rejected_lines += lines;
        self.recording.rejected.push(RejectedLine { id, source: Arc::clone(&self.name), line, reason, text });
    }

    fn hand_on(&mut self) -> Result<(), CaptureError> {
        self.batch_bytes = 0;
        let recording = std::mem::take(&mut self.recording);
        if recording == Recording::default() {
            return Ok(());
        }
        match (self.sink)(recording) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(CaptureError::Stopped { input: Arc::clone(&self.name) }),
        }
    }
}

impl Record {
    fn begun(line: Line) -> Self {
        Record {
            number: line.number,
            lines: 1,
            bytes: line.bytes,
            carriage_return: line.carriage_return,
            unfinished: line.unfinished,
        }
    }

    fn add(&mut self, line: Line) {
        self.bytes.extend_from_slice(if self.carriage_return { b"\r\n" } else { b"\n" });
        self.bytes.extend_from_slice(&line.bytes);
        self.lines += 1;
        self.carriage_return = line.carriage_return;
        self.unfinished = line.unfinished;
    }
}

/// The first half of a hash: 128 bits leave no room for two facts with one identity.
pub(super) fn identity(hasher: &blake3::Hasher) -> RecordingId {
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    RecordingId(id)
}
