//! What was stored, forced to the disk: a system that loses its power must not lose it.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// Forces every file under `folder` that was written since `since` to the disk, and the folders that name them.
///
/// # Errors
/// What the system says.
pub(super) fn sync_since(folder: &Path, since: SystemTime) -> io::Result<()> {
    let mut has_new = false;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_since(&entry.path(), since)?;
            has_new = true;
        } else if kind.is_file() && entry.metadata()?.modified()? >= since {
            File::open(entry.path())?.sync_all()?;
            has_new = true;
        }
    }
    if has_new { File::open(folder)?.sync_all() } else { Ok(()) }
}
