//! A folder of tables: `<table>.parquet|csv` is a table of schema public, `<schema>.<table>.parquet|csv` of `schema`.
//! Other files are not looked at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::now::OpenedTable;
use super::{CatalogError, csv_file, parquet_file};
use crate::model::TableName;

/// A format of table files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileFormat {
    Parquet,
    Csv,
}

impl FileFormat {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "parquet" => Some(FileFormat::Parquet),
            "csv" => Some(FileFormat::Csv),
            _ => None,
        }
    }
}

/// The tables of the folder; reads their schemas, and of a CSV every line once, to tell its columns' types.
///
/// # Errors
/// A folder that is not there or holds no table; a file that cannot be read; one table in two files.
pub(super) fn open(folder: &Path) -> Result<Vec<OpenedTable>, CatalogError> {
    let mut tables = Vec::new();
    for (name, (path, format)) in list(folder)? {
        tables.push(match format {
            FileFormat::Parquet => parquet_file::open(&path, name)?,
            FileFormat::Csv => csv_file::open(&path, name)?,
        });
    }
    Ok(tables)
}

fn list(folder: &Path) -> Result<BTreeMap<TableName, (PathBuf, FileFormat)>, CatalogError> {
    let refuse = |reason: String| CatalogError::Folder { path: folder.to_owned(), reason };
    let entries = std::fs::read_dir(folder).map_err(|error| refuse(error.to_string()))?;
    let mut files: BTreeMap<TableName, (PathBuf, FileFormat)> = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(|error| refuse(error.to_string()))?.path();
        let Some(format) = FileFormat::of(&path) else { continue };
        let refuse_file = |reason: String| CatalogError::File { path: path.clone(), reason };
        if path.is_dir() {
            return Err(refuse_file("expected a file: a table is one file".to_owned()));
        }
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let stem = stem.ok_or_else(|| refuse_file("its name is not UTF-8".to_owned()))?;
        let name = TableName::from_str(stem)
            .map_err(|_| refuse_file("expected a name such as orders.parquet or sales.orders.parquet".to_owned()))?;
        if let Some((other, _)) = files.get(&name) {
            let other = other.display();
            return Err(refuse_file(format!("{other} holds table {name} too: keep one of the two")));
        }
        files.insert(name, (path, format));
    }
    if files.is_empty() {
        return Err(refuse("it holds no .parquet or .csv file".to_owned()));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for file in files {
            std::fs::write(folder.path().join(file), "id,name\n1,a\n").expect("a file");
        }
        folder
    }

    #[test]
    fn a_file_s_name_is_its_table() {
        let folder = folder_with(&["orders.csv", "sales.Orders.CSV", "README.md"]);
        let names: Vec<String> =
            open(folder.path()).expect("two tables").iter().map(|table| table.schema.name.to_string()).collect();
        assert_eq!(names, ["public.orders", "sales.Orders"]);
    }

    #[test]
    fn two_files_of_one_table_are_refused() {
        let folder = folder_with(&["orders.csv", "public.orders.csv"]);
        let message = open(folder.path()).err().expect("an error").to_string();
        assert!(message.contains("public.orders") && message.contains("keep one"), "{message}");
    }

    #[test]
    fn a_folder_without_tables_says_so() {
        let folder = folder_with(&["README.md"]);
        let message = open(folder.path()).err().expect("an error").to_string();
        assert!(message.contains("no .parquet or .csv"), "{message}");
        let message = open(&folder.path().join("nowhere")).err().expect("an error").to_string();
        assert!(message.starts_with("open the data folder"), "{message}");
    }
}
