//! What was stored, forced to the disk: a system that loses its power must not lose it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::delta::Version;

/// Where a Delta Lake table keeps its versions.
const LOG: &str = "_delta_log";

/// Versions of one table that may not be on the disk yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewVersions {
    /// The table's folder within the store.
    pub(super) table: String,
    /// The first of them.
    pub(super) first: Version,
    /// The last.
    pub(super) last: Version,
}

/// One line of a version.
#[derive(Deserialize)]
struct Action {
    add: Option<DataFile>,
    remove: Option<DataFile>,
}

#[derive(Deserialize)]
struct DataFile {
    path: String,
}

/// The uppermost folder on the way to `folder` that is not there yet; `folder` where all are.
///
/// # Errors
/// What the system says.
pub(super) fn first_to_be_made(folder: &Path) -> io::Result<PathBuf> {
    let folder = std::path::absolute(folder)?;
    let missing = folder.ancestors().take_while(|level| !level.exists()).last();
    Ok(missing.unwrap_or(&folder).to_owned())
}

/// Forces versions of the store at `root` to the disk, and the folders that name their files, up to the one that holds
/// `first_made`. Nothing else of the store is looked at, however much it holds.
///
/// # Errors
/// What the system says.
pub(super) fn sync(root: &Path, first_made: &Path, versions: &[NewVersions]) -> io::Result<()> {
    let root = std::path::absolute(root)?;
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    for new in versions {
        let table = root.join(&new.table);
        sync_versions(&table, new)?;
        let within = table.ancestors().take_while(|level| level.starts_with(&root));
        folders.extend(within.map(Path::to_owned).chain([table.join(LOG)]));
    }
    for level in root.ancestors() {
        folders.extend(level.parent().map(Path::to_owned));
        if level == first_made {
            break;
        }
    }
    // The innermost first: a name is of use only where what it names is there.
    for folder in folders.iter().rev() {
        match File::open(folder) {
            // Who may not read the folder above the store did not make that one just now.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !folder.starts_with(&root) => {}
            opened => opened?.sync_all()?,
        }
    }
    Ok(())
}

fn sync_versions(table: &Path, new: &NewVersions) -> io::Result<()> {
    let log = table.join(LOG);
    let mut data: BTreeSet<String> = BTreeSet::new();
    let mut written: Vec<PathBuf> = Vec::new();
    for version in new.first..=new.last {
        let file = log.join(format!("{version:020}.json"));
        for line in fs::read_to_string(&file)?.lines() {
            let action: Action = serde_json::from_str(line)?;
            data.extend(action.add.map(|file| file.path));
            // What an ingest left that was cut off is taken back.
            action.remove.inspect(|file| _ = data.remove(&file.path));
        }
        written.push(file);
        written.extend(Some(log.join(format!("{version:020}.checkpoint.parquet"))).filter(|file| file.exists()));
    }
    written.extend(Some(log.join("_last_checkpoint")).filter(|file| file.exists()));
    written.extend(data.into_iter().map(|path| table.join(path)));
    written.iter().try_for_each(|file| File::open(file)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_looked_at_and_all_of_that() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let made = folder.path().join("a");
        let root = made.join("store");
        assert_eq!(first_to_be_made(&root).expect("a folder"), made);
        let log = root.join("log").join(LOG);
        fs::create_dir_all(&log).expect("folders");
        assert_eq!(first_to_be_made(&root).expect("a folder"), root);
        let write = |path: PathBuf, text: &str| fs::write(path, text).expect("a file");
        write(log.join("00000000000000000003.json"), "{\"add\":{\"path\":\"lost.parquet\"}}\n");
        let lines = "{\"remove\":{\"path\":\"lost.parquet\"}}\n{\"commitInfo\":{}}\n";
        write(log.join("00000000000000000004.json"), lines);
        write(log.join("00000000000000000005.json"), "{\"add\":{\"path\":\"new.parquet\"}}\n");
        let versions = |first, last| [NewVersions { table: "log".to_owned(), first, last }];
        // Of what was taken back nothing is needed; what was added must be there, and so must the version.
        sync(&root, &made, &versions(3, 4)).expect("synced");
        assert!(sync(&root, &made, &versions(3, 5)).is_err());
        write(root.join("log/new.parquet"), "rows");
        sync(&root, &made, &versions(3, 5)).expect("synced");
        assert!(sync(&root, &made, &versions(3, 6)).is_err());
    }
}
