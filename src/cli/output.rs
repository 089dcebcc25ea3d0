//! Where results go: standard output, or a file that is there whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anstream::adapter::StripBytes;
use anstream::{AutoStream, ColorChoice};

use super::arguments::{ColorArgument, GlobalArguments};
use super::diagnostic::Failure;

/// Whether to colour what goes to a stream.
pub(super) fn color_choice(color: ColorArgument) -> ColorChoice {
    match color {
        ColorArgument::Auto => ColorChoice::Auto,
        ColorArgument::Always => ColorChoice::Always,
        ColorArgument::Never => ColorChoice::Never,
    }
}

/// Runs `write` on the output that the arguments name. Colours are left out where it is no terminal; what is written for
/// machines has none, and stays as it is. A reader that went away is no error: the job still has its status.
///
/// # Errors
/// What `write` says, or an output that cannot be written.
pub fn write_result(
    arguments: &GlobalArguments,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let is_text = arguments.format.as_deref().is_none_or(|format| format == "text");
    // Stripping would take control characters out of values as well.
    let choice = if is_text { color_choice(arguments.color) } else { ColorChoice::AlwaysAnsi };
    match &arguments.output {
        None => {
            let mut out = BufWriter::new(AutoStream::new(io::stdout().lock(), choice));
            passing_closed_pipe(write(&mut out).and_then(|()| Ok(out.flush()?)))
        }
        Some(path) => write_file(path, |file| {
            if matches!(choice, ColorChoice::Always | ColorChoice::AlwaysAnsi) {
                return write(file);
            }
            write(&mut WithoutColors { inner: file, state: StripBytes::new() })
        }),
    }
}

fn passing_closed_pipe(written: Result<(), Failure>) -> Result<(), Failure> {
    written.or_else(|failure| if failure.is_closed_pipe() { Ok(()) } else { Err(failure) })
}

/// Leaves escape codes out of what is written through it.
struct WithoutColors<'w> {
    inner: &'w mut dyn Write,
    state: StripBytes,
}

impl Write for WithoutColors<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for printable in self.state.strip_next(bytes) {
            self.inner.write_all(printable)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Runs `write` on a new file beside `path`, and puts it in its place when all is written. Where it is a pipe whose reader
/// went away, that is no error.
///
/// # Errors
/// What `write` says, or a file that cannot be written.
pub fn write_file(
    path: &Path,
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::from(error),
        _ => Failure::new(format!("write {}: {error}", path.display())),
    };
    let mut file = PendingFile::create(path).map_err(refused)?;
    passing_closed_pipe(write(&mut file.writer).and_then(|()| file.keep().map_err(refused)))
}

/// A file under another name until it is complete; removed where it is not kept.
struct PendingFile {
    writer: BufWriter<File>,
    partial: Option<PathBuf>,
    path: PathBuf,
}

impl PendingFile {
    fn create(path: &Path) -> io::Result<Self> {
        // A device or a pipe cannot be replaced: it is written as it is.
        let is_special = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        if is_special {
            let file = File::options().write(true).open(path)?;
            return Ok(PendingFile { writer: BufWriter::new(file), partial: None, path: path.to_owned() });
        }
        let partial = path.with_added_extension(format!("partial-{}", std::process::id()));
        let file = File::create(&partial)?;
        Ok(PendingFile { writer: BufWriter::new(file), partial: Some(partial), path: path.to_owned() })
    }

    fn keep(mut self) -> io::Result<()> {
        self.writer.flush()?;
        if let Some(partial) = &self.partial {
            self.writer.get_ref().sync_all()?;
            fs::rename(partial, &self.path)?;
            self.partial = None;
        }
        Ok(())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            // The failure that brought us here is what the user hears of.
            let _ = fs::remove_file(partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("report.json");
        let failed = write_file(&path, |file| {
            file.write_all(b"half")?;
            Err(Failure::new("finish"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("the folder can be read").count(), 0);
        write_file(&path, |file| Ok(file.write_all(b"whole")?)).expect("the file can be written");
        assert_eq!(fs::read_to_string(&path).expect("the file is there"), "whole");
        assert_eq!(fs::read_dir(folder.path()).expect("the folder can be read").count(), 1);
    }
}
