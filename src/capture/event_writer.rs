//! Where an application writes its events, from any thread.
//!
//! In: [`WriteEvent`]s. Out: a file, or any other output, that the format `events` reads without a rejected line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::events::check_event;
use super::{CaptureError, WriteEvent};

/// So many bytes are gathered before they go to the output.
const GATHERED_BYTES: usize = 64 * 1024;
/// So many bytes may wait for an output that takes none; past that, events are refused.
const MOST_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// Writes events, one a line. It is shared by reference among threads.
///
/// An event that [`EventWriter::write`] takes is in the output or waits in memory, and is never dropped: where the output
/// fails, the error says so, the events wait, and the next write or [`EventWriter::flush`] tries again. An event is refused
/// (and the error says why) that the format could not read, or where too many wait. Dropped, the writer flushes; what could
/// not be written then is counted on standard error.
///
/// ```
/// use blast_radius::capture::{EventWriter, WriteEvent, WriteOperation};
/// let folder = tempfile::tempdir()?;
/// let writer = EventWriter::append_to(&folder.path().join("events.ndjson"))?;
/// let mut event = WriteEvent::now("public.orders", WriteOperation::Insert);
/// event.release = Some("v42".to_owned());
/// event.key.insert("id".to_owned(), 17.into());
/// writer.write(&event)?;
/// writer.flush()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EventWriter {
    state: Mutex<State>,
}

struct State {
    output: Box<dyn Write + Send>,
    /// Lines that the output has not taken; the first may be the rest of one.
    waiting: Vec<u8>,
}

impl EventWriter {
    /// A writer to any output: a pipe, a socket, a compressor.
    pub fn new(output: impl Write + Send + 'static) -> Self {
        EventWriter { state: Mutex::new(State { output: Box::new(output), waiting: Vec::new() }) }
    }

    /// A writer that appends to a file, which is made where it is missing. What a process that died left there as the
    /// beginning of a line stays a line of its own.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn append_to(path: &Path) -> Result<Self, CaptureError> {
        let opened = || {
            let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
            let is_open_ended = ends_within_a_line(&mut file)?;
            Ok((file, is_open_ended))
        };
        let (file, is_open_ended) =
            opened().map_err(|source| CaptureError::Open { input: path.to_string_lossy().into(), source })?;
        let writer = EventWriter::new(file);
        if is_open_ended {
            writer.state().waiting.push(b'\n');
        }
        Ok(writer)
    }

    /// Takes an event.
    ///
    /// # Errors
    /// [`CaptureError::Event`] where it is refused; [`CaptureError::EventOutput`] where it was taken and waits.
    pub fn write(&self, event: &WriteEvent) -> Result<(), CaptureError> {
        let mut line =
            serde_json::to_string(event).map_err(|error| CaptureError::Event { reason: error.to_string() })?;
        check_event(&line).map_err(|reason| CaptureError::Event { reason })?;
        line.push('\n');
        let mut state = self.state();
        if state.waiting.len() >= MOST_WAITING_BYTES {
            // Once more, before an event is refused.
            state.drain().map_err(|error| CaptureError::Event {
                reason: format!(
                    "{} bytes of events wait already, and the output takes none: {error}",
                    state.waiting.len()
                ),
            })?;
        }
        state.waiting.extend_from_slice(line.as_bytes());
        if state.waiting.len() >= GATHERED_BYTES { state.written() } else { Ok(()) }
    }

    /// Hands every event that was taken to the output, and has the output hand on what it holds itself.
    ///
    /// # Errors
    /// An output that fails: what it did not take waits, to be flushed again.
    pub fn flush(&self) -> Result<(), CaptureError> {
        let mut state = self.state();
        state.written()?;
        state.output.flush().map_err(|source| CaptureError::EventOutput { waiting: 0, source })
    }

    /// A thread that panicked left whole lines: it changes them only by appending one.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits is flushed; what cannot be is not lost in silence.
impl Drop for EventWriter {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            // Nobody is left to tell; a closed standard error cannot be told either.
            let _ = writeln!(io::stderr(), "blast-radius: failed to {error}");
        }
    }
}

impl State {
    fn written(&mut self) -> Result<(), CaptureError> {
        self.drain().map_err(|source| {
            let waiting = self.waiting.iter().filter(|byte| **byte == b'\n').count();
            CaptureError::EventOutput { waiting, source }
        })
    }

    /// Writes what waits, and forgets of it exactly what the output took.
    fn drain(&mut self) -> io::Result<()> {
        let mut taken = 0;
        let mut outcome = Ok(());
        while taken < self.waiting.len() {
            match self.output.write(self.waiting.get(taken..).unwrap_or_default()) {
                Ok(0) => {
                    outcome = Err(io::Error::from(io::ErrorKind::WriteZero));
                    break;
                }
                Ok(count) => taken += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        self.waiting.drain(..taken.min(self.waiting.len()));
        outcome
    }
}

fn ends_within_a_line(file: &mut File) -> io::Result<bool> {
    if !file.metadata()?.is_file() || file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::capture::WriteOperation;

    fn event(id: u64) -> WriteEvent {
        let mut event = WriteEvent::now("orders", WriteOperation::Update);
        event.key.insert("id".to_owned(), id.into());
        event
    }

    /// Takes what it is told to, then fails.
    #[derive(Clone, Default)]
    struct Fickle(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Fickle {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = bytes.len().min(state.1);
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            state.1 -= count;
            state.0.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn many_threads_write_whole_lines_and_a_torn_one_stays_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("events.ndjson");
        std::fs::write(&path, "{\"ts\":\"20").expect("written");
        let writer = EventWriter::append_to(&path).expect("opened");
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let writer = &writer;
                scope.spawn(move || (0..500).for_each(|n| writer.write(&event(thread * 500 + n)).expect("taken")));
            }
        });
        drop(writer);
        let text = std::fs::read_to_string(&path).expect("read");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("{\"ts\":\"20"));
        assert_eq!(lines.map(|line| check_event(line).expect(line)).count(), 2_000);
    }

    #[test]
    fn an_output_that_fails_costs_no_event() {
        let output = Fickle::default();
        let writer = EventWriter::new(output.clone());
        (0..3).for_each(|id| writer.write(&event(id)).expect("gathered"));
        let error = writer.flush().expect_err("full");
        assert!(matches!(error, CaptureError::EventOutput { waiting: 3, .. }), "{error}");
        for room in [10, 40, 1_000] {
            output.0.lock().expect("no panic").1 = room;
            let _ = writer.flush();
        }
        let written = output.0.lock().expect("no panic").0.clone();
        let written = String::from_utf8(written).expect("UTF-8");
        assert_eq!(written.lines().map(|line| check_event(line).expect(line)).count(), 3);
    }

    #[test]
    fn an_event_that_could_not_be_read_is_refused() {
        let writer = EventWriter::new(io::sink());
        let without_key = WriteEvent::now("orders", WriteOperation::Insert);
        let undated = WriteEvent { ts: "today".to_owned(), ..event(1) };
        let unnamed = WriteEvent { table: "a.b.c".to_owned(), ..event(1) };
        for (event, reason) in [(without_key, "which record"), (undated, "`ts`"), (unnamed, "a.b.c")] {
            let error = writer.write(&event).expect_err(reason);
            assert!(error.to_string().contains(reason), "{error}");
        }
        writer.write(&WriteEvent::now("orders", WriteOperation::Truncate)).expect("needs no key");
    }
}
