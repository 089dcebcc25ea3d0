//! Where bytes come from: files and standard input, plain or compressed.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::CaptureError;

const BUFFER_BYTES: usize = 256 * 1024;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// One input, opened.
pub struct Input {
    name: Arc<str>,
    bytes: Box<dyn Read + Send>,
}

impl Input {
    /// A file; `name` is what messages and the store call it.
    ///
    /// # Errors
    /// A file that cannot be opened, or a folder.
    pub fn file(path: &Path, name: impl Into<Arc<str>>) -> Result<Self, CaptureError> {
        let name = name.into();
        let open = || {
            let file = File::open(path)?;
            // A folder opens, and fails only once it is read.
            if file.metadata()?.is_dir() { Err(io::Error::from(io::ErrorKind::IsADirectory)) } else { Ok(file) }
        };
        match open() {
            Ok(file) => Ok(Input { name, bytes: Box::new(file) }),
            Err(source) => Err(CaptureError::Open { input: name, source }),
        }
    }

    /// Standard input.
    pub fn standard_input() -> Self {
        Input { name: "standard input".into(), bytes: Box::new(io::stdin()) }
    }

    /// Any bytes.
    pub fn from_reader(name: impl Into<Arc<str>>, bytes: impl Read + Send + 'static) -> Self {
        Input { name: name.into(), bytes: Box::new(bytes) }
    }

    /// What messages and the store call it.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The content, decompressed as its first bytes tell, and the seal that knows the bytes as they are stored.
    pub(super) fn content(self) -> io::Result<(Box<dyn BufRead>, ContentSeal)> {
        let state = Rc::new(RefCell::new(SealState::default()));
        let mut stored = SealingReader { bytes: self.bytes, state: Rc::clone(&state) };
        // A pipe may give less than asked for: `take` goes on until the magic bytes are whole or the input ends.
        let mut beginning = Vec::new();
        stored.by_ref().take(4).read_to_end(&mut beginning)?;
        let (is_gzip, is_zstd) = (beginning.starts_with(GZIP_MAGIC), beginning.starts_with(ZSTD_MAGIC));
        let stored = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(beginning).chain(stored));
        let seal = ContentSeal { state, compressed: is_gzip || is_zstd };
        let content: Box<dyn BufRead> = if is_gzip {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, flate2::bufread::MultiGzDecoder::new(stored)))
        } else if is_zstd {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, zstd::stream::read::Decoder::with_buffer(stored)?))
        } else {
            Box::new(stored)
        };
        Ok((content, seal))
    }
}

/// What is known of an input's stored bytes once they were read.
pub(super) struct ContentSeal {
    state: Rc<RefCell<SealState>>,
    compressed: bool,
}

#[derive(Default)]
struct SealState {
    hasher: blake3::Hasher,
    bytes: u64,
    failed: bool,
}

impl ContentSeal {
    /// Whether an error of the content is damage of a compressed stream, and not of the disk or pipe under it.
    pub(super) fn is_damage(&self) -> bool {
        self.compressed && !self.state.borrow().failed
    }

    /// The hash of the stored bytes read so far, and their number.
    pub(super) fn finish(self) -> ([u8; 32], u64) {
        let state = self.state.borrow();
        (state.hasher.finalize().into(), state.bytes)
    }
}

struct SealingReader {
    bytes: Box<dyn Read + Send>,
    state: Rc<RefCell<SealState>>,
}

impl Read for SealingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer);
        let mut state = self.state.borrow_mut();
        match &read {
            Ok(count) => {
                state.hasher.update(&buffer[..*count]);
                state.bytes += *count as u64;
            }
            Err(error) => state.failed |= error.kind() != io::ErrorKind::Interrupted,
        }
        read
    }
}
