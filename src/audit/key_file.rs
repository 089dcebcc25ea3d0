//! Keys of rows in breach that are too many to be held: a file that nobody else sees, and that is gone with its last user.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::model::{ColumnName, RecordKey, Value};

/// The length that stands for NULL.
const NULL: u32 = u32::MAX;

/// Keys of one table in the order they came.
#[derive(Debug)]
pub struct KeyFile {
    /// The columns of every key.
    columns: Vec<ColumnName>,
    count: u64,
    file: File,
    /// Where it stands, where a file in use cannot be removed.
    left: Option<PathBuf>,
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct KeyWriter {
    out: BufWriter<File>,
    left: Option<PathBuf>,
    columns: Vec<ColumnName>,
    count: u64,
}

impl KeyWriter {
    /// A new file in the system's folder for such.
    pub(super) fn create() -> io::Result<KeyWriter> {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("blast-radius-keys-{}-{number}", std::process::id()));
        let file = private_file(&path)?;
        // Where a file in use can be removed, nothing is left of it however the process ends.
        let left = std::fs::remove_file(&path).is_err().then_some(path);
        Ok(KeyWriter { out: BufWriter::new(file), left, columns: Vec::new(), count: 0 })
    }

    /// Adds a key; all have the same columns.
    pub(super) fn push(&mut self, key: &RecordKey) -> io::Result<()> {
        if self.count == 0 {
            self.columns = key.iter().map(|(column, _)| Arc::clone(column)).collect();
        }
        for (_, value) in key.iter() {
            let text = value.as_str().map(str::as_bytes);
            let length = text.map_or(Ok(NULL), |text| u32::try_from(text.len())).map_err(io::Error::other)?;
            self.out.write_all(&length.to_le_bytes())?;
            self.out.write_all(text.unwrap_or_default())?;
        }
        self.count += 1;
        Ok(())
    }

    /// The file, to be read.
    pub(super) fn finish(mut self) -> io::Result<KeyFile> {
        self.out.flush()?;
        let file = self.out.get_ref().try_clone()?;
        let (columns, left) = (std::mem::take(&mut self.columns), self.left.take());
        Ok(KeyFile { columns, count: self.count, file, left })
    }
}

impl Drop for KeyWriter {
    fn drop(&mut self) {
        remove(self.left.as_deref());
    }
}

impl KeyFile {
    /// How many keys are in it.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Hands on every key in order.
    ///
    /// # Errors
    /// A file that cannot be read; what `each` says.
    pub fn for_each<E: From<io::Error>>(&self, mut each: impl FnMut(RecordKey) -> Result<(), E>) -> Result<(), E> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        let mut bytes = BufReader::new(file);
        for _ in 0..self.count {
            let mut cells = Vec::with_capacity(self.columns.len());
            for column in &self.columns {
                cells.push((Arc::clone(column), read_value(&mut bytes)?));
            }
            each(RecordKey::new(cells))?;
        }
        Ok(())
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        remove(self.left.as_deref());
    }
}

/// Two are the same only where they are one.
impl PartialEq for KeyFile {
    fn eq(&self, other: &KeyFile) -> bool {
        std::ptr::eq(self, other)
    }
}

fn remove(path: Option<&Path>) {
    if let Some(path) = path {
        // What cannot be removed is a file too many in a folder that the system empties.
        let _ = std::fs::remove_file(path);
    }
}

/// Keys are printed, but by the report alone.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create_new(true).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn read_value(bytes: &mut impl Read) -> io::Result<Value> {
    let mut length = [0; 4];
    bytes.read_exact(&mut length)?;
    let length = match u32::from_le_bytes(length) {
        NULL => return Ok(Value::NULL),
        length => usize::try_from(length).map_err(io::Error::other)?,
    };
    let mut text = vec![0; length];
    bytes.read_exact(&mut text)?;
    String::from_utf8(text).map(Value::text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_as_often_as_they_are_asked_for() {
        let key = |id: Option<&str>, day: &str| {
            RecordKey::new(vec![("id".into(), id.map_or(Value::NULL, Value::text)), ("day".into(), Value::text(day))])
        };
        let keys = [key(Some("17"), "2026-03-02"), key(None, ""), key(Some("é\n\"中"), "x")];
        let mut writer = KeyWriter::create().expect("a file");
        keys.iter().for_each(|key| writer.push(key).expect("written"));
        let file = writer.finish().expect("finished");
        for _ in 0..2 {
            let mut read = Vec::new();
            let each = |key| {
                read.push(key);
                Ok::<(), io::Error>(())
            };
            file.for_each(each).expect("read");
            assert_eq!(read, keys);
        }
        assert_eq!(file.count(), 3);
    }
}
